/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * meta_commit: takes a delta: checks that each chunk may be named, and has the
 * store confirm the new objects; meta_publish.c merges it.  In meta.
 */
#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "lib/log.h"
#include "sailapid/hashset.h"
#include "sailapid/meta_apart.h"
#include "sailapid/meta_publish.h"

#define REPORT_MISSING 100
#define VERIFY_ROUND 16  /* packs that are read at a time, for one request */
#define ADOPT_ROUND 1024 /* chunks */
#define STEP_MS 10 /* of what was looked at; then others have their turn */
#define TRIM_BYTES (4 << 20) /* a delta after which memory is given back */

/* An object that the store must confirm. */
struct look {
	struct hash hash;
	uint32_t bytes;
	int64_t pack;   /* its row; 0: it is a chunk */
	uint8_t verify; /* read it: it was wrong before, or is a claim */
	uint8_t lacking;
	uint8_t resized; /* bytes was a claim, now it is the store's word */
	/* of a pack that is read: what is to be in it */
	struct fetch_part *parts;
	uint8_t *right;
	uint32_t nparts;
};

struct publish {
	struct merging merging; /* first: of meta_publish.c */
	/* what was wrong with it */
	const char *why;
	const uint8_t *blame;
	size_t blame_len;
	int error;             /* errno, or 0 */
	uint32_t said, really; /* bytes of a chunk */
	/* what the puts name, each once */
	struct hashset chunks;
	uint32_t *bytes;
	uint32_t nbytes;        /* room */
	uint32_t *needs;        /* number of its look + 1; 0: it is there */
	struct hashset objects; /* of looks */
	struct look *looks;
	uint32_t looked;
	size_t noted;       /* of this round: what came of it is written down */
	uint32_t confirmed; /* chunks that were, or are missing */
	/* the key may not see all: what it brings is in its annex */
	int apart;
	const char *outside; /* what it may not do */
	int has_mount;
	uint8_t mount[DB_ID_LEN];
	uint8_t *below; /* chunks that files name which it may see */
	struct apart_search *search;
	uint8_t *found;   /* by it */
	int searching;    /* there is more of it to be done */
	uint32_t adopted; /* the next to be */
	json_t *missing;
	uint32_t nmissing;
	int doubt;         /* by the store's word, which may lack its bucket */
	int in_way;        /* there is something wrong in its place */
	uint16_t answered; /* by the store, to what could not be confirmed */
};

/* By the thread, or when no thread has it. */
static void
search_end(struct publish *p)
{
	apart_free(p->search);
	p->search = NULL;
}

static void publish_round(struct req *);
static void publish_signed(struct req *);
static void publish_looked(struct req *);
static void publish_adopt(struct req *);

/* Of p->below. */
enum { CHUNK_BROUGHT = 0, CHUNK_WANTED, CHUNK_BELOW };

static void
look_clear(struct look *l)
{
	free(l->parts);
	free(l->right);
	l->parts = NULL;
	l->right = NULL;
	l->nparts = 0;
}

static void
publish_free(void *arg)
{
	struct publish *p = arg;
	uint32_t i;

	if (p == NULL)
		return;
	merging_clear(&p->merging);
	hashset_free(&p->chunks);
	free(p->bytes);
	free(p->needs);
	free(p->below);
	search_end(p);
	free(p->found);
	for (i = 0; p->looks != NULL && i < p->objects.n; i++)
		look_clear(&p->looks[i]);
	hashset_free(&p->objects);
	free(p->looks);
	json_decref(p->missing);
	/* Small pieces by the million, which malloc(3) would keep for ever. */
	if (p->merging.bytes_in >= TRIM_BYTES)
		malloc_trim(0);
	free(p);
}

/* ---- which chunks -------------------------------------------------------- */

/* -1 and errno, EINVAL: the same chunk with another size. */
static int
chunk_named(struct publish *p, const struct hash *h, uint32_t bytes)
{
	uint32_t *grown, index, n;
	int r;

	if ((r = hashset_add(&p->chunks, h, &index)) == -1)
		return -1;
	if (r == 0) {
		if (p->bytes[index] == bytes)
			return 0;
		errno = EINVAL;
		return -1;
	}
	if (index >= p->nbytes) {
		n = p->nbytes == 0 ? 64 : p->nbytes * 2;
		grown = reallocarray(p->bytes, n, sizeof(*grown));
		if (grown == NULL)
			return -1;
		p->bytes = grown;
		p->nbytes = n;
	}
	p->bytes[index] = bytes;
	return 0;
}

static int
chunks_of_list(struct publish *p, const struct chunklist *l)
{
	struct hash h;
	uint64_t slot;
	int r;

	for (slot = 0; (r = chunklist_next(l, slot, &slot, &h)) == 1; slot++) {
		if (chunk_named(p, &h, chunklist_slot_bytes(l, slot)) == -1)
			return -1;
	}
	return r;
}

static int
chunks_of_delta(struct publish *p)
{
	struct delta_op op;
	uint32_t i;
	int r = 0;

	for (i = 0; i < p->merging.delta->nops && r == 0; i++) {
		if (!p->merging.delta->ops[i].sets)
			continue;
		if ((r = delta_op_get(p->merging.delta, i, &op)) == 0 &&
		    op.kind == DELTA_PUT && op.chunks != NULL)
			r = chunks_of_list(p, op.chunks);
		delta_op_clear(&op);
	}
	return r;
}

static void
chunk_missing(struct publish *p, const struct hash *h)
{
	if (p->missing == NULL)
		p->missing = json_array();
	if (p->nmissing++ < REPORT_MISSING)
		json_array_append_new(p->missing, json_hash(h));
}

static void
publish_missing(struct req *req)
{
	struct publish *p = req->state;

	if (p->doubt && store_refuses(req))
		return;
	if (p->doubt && !store_judged_since(req->since)) {
		req_error(req, 503, "store_unavailable",
		    "it was not found out whether the object store is as it "
		    "was");
		return;
	}
	/* It would be refused if it was brought now. */
	if (p->in_way) {
		req_error(req, 503, "busy",
		    "what the store has of a chunk is wrong, and is being "
		    "deleted");
		return;
	}
	req_json(req, 409,
	    json_pack("{s:o, s:{s:I, s:O}}", "error",
		error_json(409, "missing_chunks",
		    "chunks are neither known nor uploaded in this session"),
		"missing", "count", (json_int_t)p->nmissing, "chunks",
		p->missing));
}

/* Chunk i is in that object, if the store has it; -1 and ENOMEM. */
static int
chunk_needs(struct publish *p, uint32_t i, const struct hash *object,
    uint32_t bytes, int64_t pack, int verify)
{
	struct look *l;
	uint32_t k;
	int r;

	if ((r = hashset_add(&p->objects, object, &k)) == -1)
		return -1;
	l = &p->looks[k];
	if (r == 1) {
		l->hash = *object;
		l->bytes = bytes;
	}
	if (pack != 0)
		l->pack = pack;
	l->verify |= (uint8_t)verify;
	p->needs[i] = k + 1;
	return 0;
}

/* What the session itself has brought: 1, 0 nothing, -1; best: the best place
   of all that is known, or NULL. */
static int
chunk_brought(struct publish *p, struct db *db, int64_t family, uint32_t i,
    const struct db_location *best)
{
	const struct hash *h = &p->chunks.keys[i];
	struct db_location loc;
	uint32_t pinned;
	int64_t pack;
	int r;

	r = db_session_pinned(db, p->merging.session, h, &pinned, &pack);
	if (r != 1 || pinned != p->bytes[i])
		return r == -1 ? -1 : 0;
	if (pack == 0) {
		r = db_chunk_own(db, family, h, &loc);
		if (r == -1)
			return -1;
		r = r == 1 && loc.state == LOCATION_BAD;
		return chunk_needs(p, i, h, pinned, 0, r) == -1 ? -1 : 1;
	}
	if (best != NULL && best->row == pack && best->plain == pinned) {
		loc = *best;
		r = 1;
	} else
		r = db_chunk_find_in(db, family, h, pack, pinned, &loc);
	if (r != 1 || loc.state > LOCATION_VERIFIED)
		return r == -1 ? -1 : 0;
	/* What others only claim is no length: db_pack_confirm() takes that of
	   the session. */
	if (loc.plain != pinned && loc.state != LOCATION_CLAIMED)
		return 0;
	if (loc.state == LOCATION_VERIFIED ||
	    (location_good(loc.state) && !p->apart))
		return 1;
	/* What was wrong is read again, not only looked at; and what a key says
	   that may not see all: a false word would bring it a chunk that others
	   have. */
	return chunk_needs(p, i, &loc.object, (uint32_t)loc.object_size, pack,
		   p->apart || loc.object_state == LOCATION_BAD) == -1
	    ? -1
	    : 1;
}

/* May the session name chunk i?  Here, to be confirmed, or missing; -1: said
   with another size, or errno. */
static int
chunk_allowed(struct publish *p, struct db *db, int64_t family, uint32_t i)
{
	const struct hash *h = &p->chunks.keys[i];
	struct db_location loc;
	int r, published;

	r = db_chunk_find_long(db, family, h, p->bytes[i], &loc);
	/* A client that has the bytes is told to bring them until the pack was
	   read; one that only knows them from a commit has them from there. */
	published = !p->apart && r == 1 && location_good(loc.state) &&
	    loc.plain == p->bytes[i];
	if (r == 1 && location_present(&loc)) {
		if (loc.plain == p->bytes[i])
			return 0;
		p->said = p->bytes[i];
		p->really = loc.plain;
		errno = EINVAL;
		return -1;
	}
	if (r != -1)
		r = chunk_brought(p, db, family, i, r == 1 ? &loc : NULL);
	if (r == -1)
		return -1;
	if (r == 1 || published)
		return 0;
	if (p->apart)
		p->below[i] = CHUNK_WANTED;
	else
		chunk_missing(p, h);
	return 0;
}

/* Looks for those that the key did not bring, some at a time: they must stand in
   what it sees, and lie somewhere. */
static int
publish_search(struct publish *p, struct db *db, const struct db_volume *vol,
    const struct db_grant *grant)
{
	struct apart_wanted w = { db, vol, grant, p->merging.delta,
		p->has_mount ? p->mount : NULL, &p->chunks, p->bytes, NULL, 0,
		0 };
	uint32_t i;
	int r;

	if (p->search == NULL) {
		free(p->found);
		p->found = calloc((size_t)p->chunks.n + 1, 1);
		if (p->found == NULL)
			return -1;
		for (i = 0; i < p->chunks.n; i++) {
			p->found[i] = p->below[i] != CHUNK_WANTED;
			w.lacking += p->below[i] == CHUNK_WANTED;
		}
		w.found = p->found;
		if ((p->search = apart_new(&w)) == NULL) {
			p->searching = errno == EAGAIN;
			return p->searching ? 0 : -1;
		}
	}
	r = apart_step(p->search, db, meta_stop());
	p->searching = r == 0;
	if (r != 0)
		search_end(p);
	return r == -1 ? -1 : 0;
}

static int
publish_found(struct publish *p, struct db *db, const struct db_volume *vol)
{
	struct db_location loc;
	uint32_t i;
	int r = 0;

	for (i = 0; i < p->chunks.n && r != -1; i++) {
		if (p->below[i] != CHUNK_WANTED)
			continue;
		p->below[i] = CHUNK_BELOW;
		r = db_chunk_find_long(db, vol->family, &p->chunks.keys[i],
		    p->bytes[i], &loc);
		if (!p->found[i] || r == 0 || !location_good(loc.state))
			chunk_missing(p, &p->chunks.keys[i]);
	}
	return r == -1 ? -1 : 0;
}

/* In the thread. */
static void
publish_find(struct req *req, struct db *db)
{
	struct publish *p = req->state;

	if (publish_search(p, db, &req->vol, req->grant) == -1 ||
	    (!p->searching && publish_found(p, db, &req->vol) == -1))
		p->error = errno;
}

static int
publish_check(struct publish *p, struct db *db, int64_t family)
{
	uint32_t i;
	int r = 0;

	p->needs = calloc((size_t)p->chunks.n + 1, sizeof(*p->needs));
	p->looks = calloc((size_t)p->chunks.n + 1, sizeof(*p->looks));
	p->below = calloc((size_t)p->chunks.n + 1, 1);
	if (p->needs == NULL || p->looks == NULL || p->below == NULL ||
	    db_view(db) == -1)
		return -1;
	for (i = 0; i < p->chunks.n && r == 0; i++)
		r = chunk_allowed(p, db, family, i);
	db_view_end(db);
	return r;
}

void
bad_delta(struct req *req, const char *why, const uint8_t *path, size_t len)
{
	json_t *error;

	error = error_json(400, "bad_delta", why == NULL ? "not a delta" : why);
	if (path != NULL)
		json_object_set_new(error, "path", json_name(path, len));
	req_json(req, 400, json_pack("{s:o}", "error", error));
}

/* Reads the body.  In the thread where it is large, or much may have to be
   looked at. */
static void
publish_read(struct req *req, struct db *db)
{
	struct publish *p = req->state;
	const struct db_grant *g = req->grant;

	hash_bytes(&p->merging.delta_hash, req->body.data, req->body.len);
	p->merging.delta = delta_decode_blame(req->body.data, req->body.len,
	    &p->why, &p->blame, &p->blame_len);
	if (p->merging.delta == NULL)
		return;
	if (req_cut(req)) {
		p->outside = merge_check_prefix(p->merging.delta, g->path,
		    g->len, &p->blame, &p->blame_len);
		if (p->outside != NULL)
			return;
		apart_cut_context(p->merging.delta, g->path, g->len);
	}
	if (chunks_of_delta(p) == -1 ||
	    publish_check(p, db, req_family(req).id) == -1)
		p->error = errno;
	else if (p->apart)
		publish_find(req, db);
}

static void
publish_outside(struct req *req)
{
	const struct publish *p = req->state;
	json_t *error = error_json(403, "key_limited", p->outside);

	if (p->blame != NULL)
		json_object_set_new(error, "path",
		    json_name(p->blame, p->blame_len));
	req_json(req, 403, json_pack("{s:o}", "error", error));
}

static void
publish_was_read(struct req *req)
{
	struct publish *p = req->state;

	req->search = REQ_NO_SEARCH;
	if (p->merging.delta == NULL)
		bad_delta(req, p->why, p->blame, p->blame_len);
	else if (p->outside != NULL)
		publish_outside(req);
	else if (p->error == EINVAL && p->said != p->really)
		req_error(req, 400, "bad_delta",
		    "a chunk is said to have %u bytes and has %u", p->said,
		    p->really);
	else if (p->error == EINVAL)
		req_error(req, 400, "bad_delta", "one chunk with two sizes");
	else if (p->error != 0) {
		errno = p->error;
		req_errno(req, "chunks");
	} else if (p->searching) {
		/* Behind those that wait for a thread. */
		req->search =
		    p->search == NULL ? REQ_WOULD_SEARCH : REQ_SEARCHES;
		req_work(req, publish_find, publish_was_read);
	} else if (p->nmissing > 0)
		publish_missing(req);
	else
		publish_round(req);
}

void
meta_commit(struct req *req)
{
	struct db_session s;
	struct publish *p;

	if (!req_session(req, &s))
		return;
	if (s.state == SESSION_PUBLISHED)
		req_text(req, 200, s.result == NULL ? "{}" : s.result);
	else if ((p = calloc(1, sizeof(*p))) == NULL)
		req_errno(req, "commit");
	else {
		hashset_init(&p->chunks);
		hashset_init(&p->objects);
		req->state = p;
		req->state_free = publish_free;
		p->merging.session = s.id;
		p->merging.bytes_in = req->body.len;
		p->apart = req->apart;
		p->has_mount = s.has_mount;
		memcpy(p->mount, s.mount, sizeof(p->mount));
		if (req->body.len > META_AT_ONCE || p->apart)
			req_work(req, publish_read, publish_was_read);
		else {
			publish_read(req, meta_db());
			publish_was_read(req);
		}
	}
	db_session_clear(&s);
}

/* ---- the store confirms -------------------------------------------------- */

/* Chunk i lies in the pack as it was confirmed: its length may be another than
   was claimed, and claims may be gone. */
static int
chunk_inside(const struct req *req, const struct publish *p, uint32_t i,
    int64_t pack)
{
	struct db_location loc;

	return db_chunk_find_in(meta_db(), req_family(req).id,
		   &p->chunks.keys[i], pack, p->bytes[i], &loc) == 1 &&
	    location_good(loc.state) && loc.plain == p->bytes[i];
}

static void
chunk_confirmed(const struct req *req, struct publish *p, uint32_t i)
{
	const struct look *l;

	if (p->needs[i] == 0)
		return;
	l = &p->looks[p->needs[i] - 1];
	if (l->lacking ||
	    ((l->resized || (l->pack != 0 && !p->apart)) &&
		!chunk_inside(req, p, i, l->pack)))
		chunk_missing(p, &p->chunks.keys[i]);
	else {
		metrics_add(NUMBER_CHUNKS, 1);
		metrics_add(NUMBER_CHUNK_BYTES, p->bytes[i]);
	}
}

/* All objects were looked at.  Some chunks at a time: there may be millions. */
static void
publish_confirmed(struct req *req)
{
	monotime_t end = monotime_add_ms(monotime_now(), STEP_MS);
	struct publish *p = req->state;

	while (p->confirmed < p->chunks.n) {
		chunk_confirmed(req, p, p->confirmed++);
		if (p->confirmed % 16 == 0 && monotime_reached(end)) {
			req_again(req, publish_confirmed);
			return;
		}
	}
	/* What was confirmed is kept also if others are missing. */
	if (p->nmissing > 0 && p->doubt)
		req_store(req, publish_missing, 1);
	else if (p->nmissing > 0)
		req_again(req, publish_missing);
	else
		req_again(req, p->apart ? publish_adopt : meta_publish);
}

/* What the key brought, and is proved to have had, others may read from now on.
   That they have it already makes no difference: see meta_place.h. */
static void
publish_adopt(struct req *req)
{
	struct publish *p = req->state;
	int64_t annex = req_family(req).id;
	uint32_t end = p->chunks.n, i;
	struct db_location loc;
	const struct hash *h;
	int r;

	if (req_write(req) == -1)
		return;
	if (end - p->adopted > ADOPT_ROUND)
		end = p->adopted + ADOPT_ROUND;
	for (i = p->adopted; i < end; i++) {
		if (p->below[i])
			continue;
		h = &p->chunks.keys[i];
		r = db_chunk_find_long(meta_db(), annex, h, p->bytes[i], &loc);
		if (r == 0 ||
		    (r == 1 &&
			(!location_present(&loc) || loc.plain != p->bytes[i])))
			chunk_missing(p, h);
		else if (r == -1 ||
		    db_chunk_adopt(meta_db(), req->vol.family, annex, h) ==
			-1) {
			req_errno(req, "chunk");
			return;
		}
	}
	p->adopted = end;
	if (end < p->chunks.n)
		req_again(req, publish_adopt);
	else
		req_again(req,
		    p->nmissing > 0 ? publish_missing : meta_publish);
}

static int
look_part(void *arg, const struct hash *h, const struct db_location *loc)
{
	struct look *l = arg;
	struct fetch_part *part = &l->parts[l->nparts];

	if (l->nparts == FETCH_PARTS_MAX || loc->offset > l->bytes ||
	    loc->stored > l->bytes - loc->offset ||
	    loc->state == LOCATION_VERIFIED)
		return 0;
	part->hash = *h;
	part->offset = (uint32_t)loc->offset;
	part->bytes = loc->stored;
	l->nparts++;
	return 0;
}

/* All that was said of a pack is compared with what is in it. */
static int
look_parts(struct look *l)
{
	look_clear(l);
	l->parts = calloc(FETCH_PARTS_MAX, sizeof(*l->parts));
	if (l->parts == NULL ||
	    db_pack_each(meta_db(), l->pack, look_part, l) == -1 ||
	    (l->right = calloc((size_t)l->nparts + 1, 1)) == NULL)
		return -1;
	return 0;
}

/* How many of the objects that are left are looked at together. */
static uint32_t
round_size(const struct publish *p)
{
	uint32_t n = p->objects.n - p->looked, i, packs = 0;

	if (n > META_ROUND)
		n = META_ROUND;
	for (i = 0; i < n && p->apart; i++) {
		packs += p->looks[p->looked + i].pack != 0;
		if (packs == VERIFY_ROUND)
			n = i + 1;
	}
	return n;
}

static void
publish_round(struct req *req)
{
	struct publish *p = req->state;
	uint32_t i, n = round_size(p);
	struct object_url *o;
	struct look *l;

	if (n == 0) {
		publish_confirmed(req);
		return;
	}
	if ((store_strange() && store_refuses(req)) ||
	    req_objects(req, n) == -1)
		return;
	for (i = 0; i < n; i++) {
		o = &req->objects[i];
		l = &p->looks[p->looked + i];
		o->hash = l->hash;
		o->bytes = l->bytes;
		o->use = l->verify ? OBJECT_VERIFY : OBJECT_LOOK;
		if (!p->apart || l->pack == 0)
			continue;
		if (look_parts(l) == -1) {
			req_errno(req, "pack");
			return;
		}
		o->index = l->parts;
		o->nindex = l->nparts;
		o->right = l->right;
	}
	req_sign(req, publish_signed);
}

static void
publish_signed(struct req *req)
{
	req_fetch(req, publish_looked);
}

/*
 * A pack was read: what is in it.  What was not as it should be is left to
 * meta_check.c, which reads it again before it condemns it, and deletes a pack
 * in which nothing is right: it would be in the way of the same one.
 */
static int
pack_was_read(struct req *req, const struct look *l, int64_t session,
    uint64_t size)
{
	uint32_t i, wrong = 0;

	if (db_pack_confirm(meta_db(), l->pack, session, size) == -1)
		return -1;
	for (i = 0; i < l->nparts; i++) {
		if (!l->right[i])
			wrong++;
		else if (db_place_set(meta_db(), l->pack, &l->parts[i].hash,
			     l->parts[i].offset, l->parts[i].bytes,
			     LOCATION_VERIFIED) == -1)
			return -1;
	}
	if (db_pack_checked(meta_db(), l->pack) == -1)
		return -1;
	return wrong > 0 ? check_now(req, req_family(req).id, &l->hash) : 0;
}

/* The store has it. */
static int
object_there(struct req *req, const struct publish *p, const struct look *l,
    const struct object_url *o)
{
	uint64_t size = o->equal ? l->bytes : 0;

	if (l->nparts > 0) {
		if (pack_was_read(req, l, p->merging.session, size) == -1)
			return -1;
		if (!hashset_has(&p->chunks, &l->hash))
			return 0;
	} else if (l->pack != 0) {
		if (db_pack_confirm(meta_db(), l->pack, p->merging.session,
			size) == -1)
			return -1;
		check_due(l->pack);
		if (!hashset_has(&p->chunks, &l->hash))
			return 0;
	}
	return db_chunk_set(meta_db(), req_family(req).id, &l->hash, l->bytes,
	    o->use == OBJECT_VERIFY ? LOCATION_VERIFIED : LOCATION_CONFIRMED);
}

/*
 * The length of a pack that nobody has seen is the word of whoever claimed it
 * first: where the store says another, that is looked for.  How many.
 */
static uint32_t
resize_packs(struct req *req, struct publish *p)
{
	const struct object_url *o;
	struct look *l;
	uint32_t i, n = 0;

	for (i = 0; i < req->nobjects; i++) {
		o = &req->objects[i];
		l = &p->looks[p->looked + i];
		if (o->status != 200 || l->pack == 0 || l->resized ||
		    o->said == 0 || o->said == l->bytes ||
		    o->said > WIRE_PACK_BYTES)
			continue;
		l->bytes = (uint32_t)o->said;
		l->resized = 1;
		n++;
	}
	return n;
}

static void
count_read(const struct req *req, const struct look *l,
    const struct object_url *o)
{
	int wrong = 0;
	uint32_t i;

	if (o->use != OBJECT_VERIFY)
		return;
	for (i = 0; i < l->nparts; i++)
		wrong |= !l->right[i];
	/* Of an annex it is looked at again, and counted then (meta_check.c). */
	if (!wrong || !req->apart)
		metrics_add(wrong ? NUMBER_WRONG : NUMBER_VERIFIED, 1);
}

static void
publish_unconfirmed(struct req *req)
{
	const struct publish *p = req->state;
	char key[OBJECT_KEY_LEN + 1];

	if (store_refuses(req))
		return;
	/* It was put there so that nobody can read it, and is in the way. */
	if (p->answered == 400) {
		object_key(&req->objects[p->noted - 1], key);
		log_warnx("volume %s: the store answers 400 of the object %s: "
			  "if nobody can read it, delete it there",
		    req->vol.name, key);
	}
	req_error(req, 503, "store_unavailable",
	    "the store answered %u when it was asked for a chunk", p->answered);
}

/* It was wrong, and is. */
static int
look_wrong(struct req *req, struct publish *p, const struct look *l)
{
	int r;

	r = check_in_way(req, req_family(req).id, &l->hash, l->bytes);
	if (r == -1)
		req_errno(req, "chunk");
	else
		p->in_way |= r;
	return r == -1 ? -1 : 0;
}

/* -1: the request was answered, or waits for what the store is found to be. */
static int
look_note(struct req *req, struct publish *p, struct look *l,
    const struct object_url *o)
{
	/* HEAD cannot say why there is no object. */
	p->doubt |= o->status == 404;
	l->lacking = o->status == 404 ||
	    (o->status == 200 && !o->equal && l->nparts == 0);
	if (l->lacking && o->status == 200 && l->verify)
		return look_wrong(req, p, l);
	if (l->lacking)
		return 0;
	if (o->status != 200) {
		p->answered = o->status;
		req_store(req, publish_unconfirmed, 1);
		return -1;
	}
	if (object_there(req, p, l, o) == -1) {
		req_errno(req, "chunk");
		return -1;
	}
	count_read(req, l, o);
	look_clear(l);
	return 0;
}

/* Some objects at a time: each may have thousands of chunks. */
static void
publish_note(struct req *req)
{
	monotime_t end = monotime_add_ms(monotime_now(), STEP_MS);
	struct publish *p = req->state;
	size_t i;

	/* It may have been found out since it was asked. */
	if ((store_strange() && store_refuses(req)) || req_write(req) == -1)
		return;
	while (p->noted < req->nobjects) {
		i = p->noted++;
		if (look_note(req, p, &p->looks[p->looked + i],
			&req->objects[i]) == -1)
			return;
		if (p->noted < req->nobjects && monotime_reached(end)) {
			req_again(req, publish_note);
			return;
		}
	}
	p->looked += (uint32_t)req->nobjects;
	publish_round(req);
}

static void
publish_looked(struct req *req)
{
	struct publish *p = req->state;

	p->noted = 0;
	if (resize_packs(req, p) > 0)
		publish_round(req);
	else
		publish_note(req);
}
