/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * meta_chunks: which chunks of a session the server lacks, the packs that the
 * client makes of the small ones, and the URLs to bring objects by.  What a
 * session was told stays pinned until it is published or a day old.  In meta.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base64.h"
#include "sailapid/hashset.h"
#include "sailapid/meta.h"

#define STEP_MS 10 /* of what was written down; then others have their turn */

/* Places that clients may have claimed in one pack, of all their sessions. */
#define PACK_PLACES_MAX (4 * WIRE_PACK_MAX)

enum chunk_place {
	PLACE_HERE,
	PLACE_LACKING, /* to be an object of its own */
	PLACE_PACK,    /* to be put into a pack */
	PLACE_MAYBE /* the session asked before: it may have been sent since */
};

struct lookup {
	int64_t session;
	struct wire_chunk *chunks;
	uint32_t n;
	uint32_t next;  /* to be looked up */
	uint32_t pins;  /* of this step, that the session did not have */
	size_t claimed; /* of the objects of the request */
	uint8_t *place; /* enum chunk_place, one each */
	/* of those that may be there: the object, its size and row (0: it is
	   the chunk) */
	struct hashset objects;
	uint32_t *object; /* its number, one each */
	struct db_object *look;
};

static void
lookup_free(void *arg)
{
	struct lookup *l = arg;

	if (l == NULL)
		return;
	hashset_free(&l->objects);
	free(l->chunks);
	free(l->place);
	free(l->object);
	free(l->look);
	free(l);
}

/* ---- answers ------------------------------------------------------------- */

/* The headers that go with the URL of an upload. */
static void
upload_lines(const struct hash *hash, char *out, size_t size)
{
	char hex[HASH_HEX_LEN + 1], b64[BASE64_SIZE(HASH_LEN)];

	hash_hex(hash, hex);
	base64_encode(hash->b, HASH_LEN, b64);
	snprintf(out, size,
	    "if-none-match: *\nx-amz-checksum-sha256: %s\n"
	    "x-amz-content-sha256: %s\n",
	    b64, hex);
}

/* Adds an answer; o: the object to upload.  -1: the request was answered. */
static int
add_upload(struct req *req, struct wbuf *w, uint8_t presence,
    const struct object_url *o)
{
	struct wire_upload u;
	char headers[256];

	memset(&u, 0, sizeof(u));
	u.presence = presence;
	u.url = u.headers = (const uint8_t *)"";
	if (presence == WIRE_UPLOAD) {
		if (o->url == NULL || o->url[0] == '\0') {
			req_error(req, 503, "not_signed",
			    "no URL could be made for a chunk");
			return -1;
		}
		upload_lines(&o->hash, headers, sizeof(headers));
		u.object = o->hash;
		u.url = (const uint8_t *)o->url;
		u.url_len = strlen(o->url);
		u.headers = (const uint8_t *)headers;
		u.headers_len = strlen(headers);
	}
	wire_uploads_add(w, &u);
	return 0;
}

static void
uploads_answer(struct req *req, struct wbuf *w)
{
	uint8_t *out;
	size_t len;

	out = wbuf_take(w, &len);
	wbuf_free(w);
	if (out == NULL)
		req_errno(req, "uploads");
	else
		req_binary(req, out, len);
}

static void
lookup_answer(struct req *req)
{
	static const uint8_t presence[] = { [PLACE_HERE] = WIRE_PRESENT,
		[PLACE_LACKING] = WIRE_UPLOAD,
		[PLACE_PACK] = WIRE_PACK };
	const struct lookup *l = req->state;
	const struct object_url *o = req->objects;
	struct wbuf w;
	uint32_t i;

	wbuf_init(&w, (size_t)WIRE_BATCH_MAX * (WIRE_URL_MAX + 1024));
	wire_uploads_begin(&w, l->n);
	for (i = 0; i < l->n; i++) {
		if (add_upload(req, &w, presence[l->place[i]], o) == -1) {
			wbuf_free(&w);
			return;
		}
		o += l->place[i] == PLACE_LACKING;
	}
	uploads_answer(req, &w);
}

/* ---- what is lacking ----------------------------------------------------- */

/* The object that chunk i may be in is to be looked at: a pack, or (loc NULL)
   one of its own.  -1 and ENOMEM. */
static int
lookup_maybe(struct lookup *l, uint32_t i, const struct db_location *loc)
{
	const struct wire_chunk *c = &l->chunks[i];
	const struct hash *object = loc != NULL ? &loc->object : &c->hash;
	struct db_object *o;
	uint32_t k;
	int r;

	if ((r = hashset_add(&l->objects, object, &k)) == -1)
		return -1;
	o = &l->look[k];
	if (r == 1) {
		o->row = 0;
		o->hash = *object;
		o->size = loc != NULL ? loc->object_size : c->bytes;
	}
	if (loc != NULL)
		o->row = loc->row;
	l->object[i] = k;
	l->place[i] = PLACE_MAYBE;
	return 0;
}

/*
 * Where chunk i lies for this session.  What nobody has verified is there only
 * for the session that put it there.  0, or -1 and errno; EINVAL: *known is
 * its length.
 */
static int
lookup_place(const struct req *req, struct lookup *l, uint32_t i,
    uint32_t *known)
{
	const struct wire_chunk *c = &l->chunks[i];
	struct db *db = meta_db();
	struct db_location loc;
	uint32_t pinned = 0;
	int64_t pack = 0;
	int r, known_good;

	if ((r = db_chunk_find(db, req_family(req).id, &c->hash, &loc)) == -1)
		return -1;
	known_good = r == 1 && location_good(loc.state);
	if (r == 1 && location_present(&loc)) {
		*known = loc.plain;
		errno = EINVAL;
		return loc.plain == c->bytes ? 0 : -1;
	}
	l->place[i] = PLACE_LACKING;
	r = db_session_pinned(db, l->session, &c->hash, &pinned, &pack);
	if (r != 1 || pinned != c->bytes)
		return r == -1 ? -1 : 0;
	if (pack == 0) {
		if (known_good)
			return 0;
		r = db_chunk_own(db, req_family(req).id, &c->hash, &loc);
		/* Whoever has claimed it first, and with what length. */
		if (r == 1 && loc.state == LOCATION_CLAIMED)
			return lookup_maybe(l, i, NULL);
		return r == -1 ? -1 : 0;
	}
	r = db_chunk_find_in(db, req_family(req).id, &c->hash, pack, c->bytes,
	    &loc);
	/* To look at a pack that was wrong says nothing. */
	if (r != 1 || loc.object_state == LOCATION_BAD)
		return r == -1 ? -1 : 0;
	if (loc.state == LOCATION_CLAIMED)
		return lookup_maybe(l, i, &loc);
	if (loc.plain != c->bytes)
		return 0;
	/* Of what a key brings apart only what was read counts. */
	if (location_good(loc.state) &&
	    (!req->apart || loc.state == LOCATION_VERIFIED))
		l->place[i] = PLACE_HERE;
	return 0;
}

/* Pins one, and says in l where it is; -1: answered. */
static int
lookup_one(struct req *req, struct lookup *l, uint32_t i, int64_t now)
{
	const struct wire_chunk *c = &l->chunks[i];
	uint32_t known = 0, pinned;
	int64_t pack;
	int r;

	if (c->bytes == 0 || c->bytes > META_CHUNK_MAX) {
		req_error(req, 400, "bad_chunk", "a chunk of %u bytes",
		    c->bytes);
		return -1;
	}
	if (lookup_place(req, l, i, &known) == -1) {
		if (errno == EINVAL)
			req_error(req, 400, "bad_chunk",
			    "a chunk of %u bytes that has %u", c->bytes, known);
		else
			req_errno(req, "chunk");
		return -1;
	}
	r = db_session_pinned(meta_db(), l->session, &c->hash, &pinned, &pack);
	if (r == -1 ||
	    db_session_pin(meta_db(), l->session, &c->hash, c->bytes, now) ==
		-1) {
		req_errno(req, "chunk");
		return -1;
	}
	l->pins += r == 0;
	return 0;
}

/* Small ones go into packs, if there are several. */
static void
lookup_pack(struct lookup *l)
{
	uint32_t i, last = 0, n = 0;

	for (i = 0; i < l->n; i++) {
		if (l->place[i] == PLACE_LACKING &&
		    l->chunks[i].bytes < WIRE_PACK_CHUNK) {
			l->place[i] = PLACE_PACK;
			last = i;
			n++;
		}
	}
	if (n == 1)
		l->place[last] = PLACE_LACKING;
}

/*
 * A chunk of the session will come as an object of its own, whatever was said of
 * that object by who has not brought it; -1: answered.
 */
static int
claim_own(struct req *req, int64_t session, const struct hash *hash,
    uint32_t bytes)
{
	struct db *db = meta_db();
	struct db_location loc;
	struct db_object o;
	int r;

	r = db_object_find(db, req_family(req).id, hash, &o);
	if (r == 1 && o.pack && location_good(o.state) && o.size != bytes) {
		req_error(req, 400, "bad_chunk",
		    "a chunk of %u bytes whose object has %llu", bytes,
		    (unsigned long long)o.size);
		return -1;
	}
	if (r != -1 &&
	    (r = db_chunk_own(db, req_family(req).id, hash, &loc)) == 0)
		r = db_chunk_set(db, req_family(req).id, hash, bytes,
		    LOCATION_CLAIMED);
	if (r != -1 &&
	    db_session_packed(db, session, hash, bytes, 0, db_now()) == 0)
		return 0;
	req_errno(req, "chunk");
	return -1;
}

/* The open session of the path: 1, or the request was answered: 0. */
static int
open_session(struct req *req, struct db_session *s)
{
	if (!req_session(req, s))
		return 0;
	if (s->state == SESSION_OPEN)
		return 1;
	req_error(req, 409, "session_published", "the session was published");
	db_session_clear(s);
	return 0;
}

/* Begins another step that writes for the session: 1, or answered: 0. */
static int
goes_on(struct req *req, int64_t session)
{
	struct db_session s;
	int same;

	if (!open_session(req, &s))
		return 0;
	same = s.id == session;
	db_session_clear(&s);
	/* It went between two steps, and another has its name. */
	if (!same)
		req_error(req, 404, "session_not_found", "no such session");
	return same && req_write_lazy(req) == 0;
}

/* Some at a time. */
static void
lookup_claim(struct req *req)
{
	monotime_t end = monotime_add_ms(monotime_now(), STEP_MS);
	struct lookup *l = req->state;
	const struct object_url *o;

	if (l->claimed < req->nobjects && !goes_on(req, l->session))
		return;
	while (l->claimed < req->nobjects) {
		o = &req->objects[l->claimed++];
		if (claim_own(req, l->session, &o->hash, o->bytes) == -1)
			return;
		if (l->claimed < req->nobjects && monotime_reached(end)) {
			req_again(req, lookup_claim);
			return;
		}
	}
	req_upload(req, lookup_answer);
}

static void
lookup_sign(struct req *req)
{
	struct lookup *l = req->state;
	struct object_url *o;
	uint32_t i;
	size_t n = 0;

	lookup_pack(l);
	for (i = 0; i < l->n; i++)
		n += l->place[i] == PLACE_LACKING;
	if (req_objects(req, n) == -1)
		return;
	for (i = 0, o = req->objects; i < l->n; i++) {
		if (l->place[i] != PLACE_LACKING)
			continue;
		o->hash = l->chunks[i].hash;
		o->bytes = l->chunks[i].bytes;
		o->use = OBJECT_UPLOAD;
		o++;
	}
	lookup_claim(req);
}

/* The store has that object; of a pack whose length nobody has seen it says it. */
static int
lookup_there(const struct lookup *l, const struct object_url *o, uint32_t i)
{
	if (o->status != 200)
		return 0;
	return o->equal ||
	    (l->look[i].row != 0 && o->said > 0 && o->said <= WIRE_PACK_BYTES);
}

/* Chunk i, that was in question, is there. */
static int
lookup_found(const struct req *req, const struct lookup *l, uint32_t i)
{
	const struct wire_chunk *c = &l->chunks[i];
	const struct object_url *o = &req->objects[l->object[i]];
	struct db_location loc;

	if (!lookup_there(l, o, l->object[i]))
		return 0;
	return o->equal ||
	    (db_chunk_find_in(meta_db(), req_family(req).id, &c->hash,
		 l->look[l->object[i]].row, c->bytes, &loc) == 1 &&
		location_good(loc.state) && loc.plain == c->bytes);
}

/* What the store has need not be sent again. */
static void
lookup_looked(struct req *req)
{
	struct lookup *l = req->state;
	const struct object_url *o;
	uint32_t i;
	int r = 0;

	if (!goes_on(req, l->session))
		return;
	for (i = 0; i < req->nobjects && r == 0; i++) {
		o = &req->objects[i];
		if (!lookup_there(l, o, i))
			continue;
		if (l->look[i].row != 0) {
			r = db_pack_confirm(meta_db(), l->look[i].row,
			    l->session, o->equal ? o->bytes : o->said);
			check_due(l->look[i].row);
		} else
			r = db_chunk_set(meta_db(), req_family(req).id,
			    &o->hash, o->bytes, LOCATION_CONFIRMED);
	}
	if (r == -1) {
		req_errno(req, "chunk");
		return;
	}
	for (i = 0; i < l->n; i++) {
		if (l->place[i] != PLACE_MAYBE)
			continue;
		l->place[i] =
		    lookup_found(req, l, i) ? PLACE_HERE : PLACE_LACKING;
		if (l->place[i] == PLACE_HERE) {
			metrics_add(NUMBER_CHUNKS, 1);
			metrics_add(NUMBER_CHUNK_BYTES, l->chunks[i].bytes);
		}
	}
	lookup_sign(req);
}

static void
lookup_look(struct req *req)
{
	req_fetch(req, lookup_looked);
}

/* Some at a time. */
static void
lookup_some(struct req *req)
{
	monotime_t end = monotime_add_ms(monotime_now(), STEP_MS);
	struct lookup *l = req->state;
	int64_t now = db_now();
	uint32_t i;

	if (!goes_on(req, l->session))
		return;
	l->pins = 0;
	while (l->next < l->n) {
		if (lookup_one(req, l, l->next++, now) == -1)
			return;
		if (monotime_reached(end))
			break;
	}
	if (session_charge(req, l->session, l->pins) == -1)
		return;
	if (l->next < l->n) {
		req_again(req, lookup_some);
		return;
	}
	if (l->objects.n == 0) {
		lookup_sign(req);
		return;
	}
	if (req_objects(req, l->objects.n) == -1)
		return;
	for (i = 0; i < l->objects.n; i++) {
		req->objects[i].hash = l->look[i].hash;
		req->objects[i].bytes = (uint32_t)l->look[i].size;
		req->objects[i].use = OBJECT_LOOK;
	}
	req_sign(req, lookup_look);
}

void
meta_session_chunks(struct req *req)
{
	struct db_session s;
	struct lookup *l;
	const char *why;

	if (!open_session(req, &s))
		return;
	if ((l = calloc(1, sizeof(*l))) == NULL) {
		req_errno(req, "chunks");
		goto out;
	}
	hashset_init(&l->objects);
	l->session = s.id;
	req->state = l;
	req->state_free = lookup_free;
	why = wire_chunks_decode(req->body.data, req->body.len, &l->chunks,
	    &l->n);
	if (why != NULL) {
		req_error(req, 400, "bad_request", "%s", why);
		goto out;
	}
	l->place = calloc((size_t)l->n + 1, sizeof(*l->place));
	l->object = calloc((size_t)l->n + 1, sizeof(*l->object));
	l->look = calloc((size_t)l->n + 1, sizeof(*l->look));
	if (l->place == NULL || l->object == NULL || l->look == NULL)
		req_errno(req, "chunks");
	else
		lookup_some(req);
out:
	db_session_clear(&s);
}

/* ---- packs --------------------------------------------------------------- */

struct packing {
	struct wire_pack *pack;
	int64_t session;
	/* to be written down next */
	uint32_t next;
	uint64_t offset;
};

static void
pack_free(void *arg)
{
	struct packing *g = arg;

	wire_pack_free(g->pack);
	free(g);
}

static void
pack_answer(struct req *req)
{
	struct wbuf w;

	wbuf_init(&w, WIRE_URL_MAX + 1024);
	wire_uploads_begin(&w, 1);
	if (add_upload(req, &w, WIRE_UPLOAD, req->objects) == -1)
		wbuf_free(&w);
	else
		uploads_answer(req, &w);
}

/* 1 when the session did not have it, 0, or -1: answered. */
static int
pack_chunk(struct req *req, const struct packing *g, const struct db_object *o,
    int64_t now)
{
	const struct wire_chunk *c = &g->pack->chunks[g->next];
	struct db *db = meta_db();
	struct db_location loc;
	uint32_t pinned;
	int64_t pack;
	int r, had;

	r = db_chunk_find(db, req_family(req).id, &c->hash, &loc);
	if (r == 1 && location_present(&loc) && loc.plain != c->bytes) {
		req_error(req, 400, "bad_chunk",
		    "a chunk of %u bytes that has %u", c->bytes, loc.plain);
		return -1;
	}
	had = db_session_pinned(db, g->session, &c->hash, &pinned, &pack);
	if (r != -1 && had != -1 &&
	    db_pack_add(db, req_family(req).id, o->row, &c->hash, g->offset,
		c->bytes) == 0 &&
	    db_session_packed(db, g->session, &c->hash, c->bytes, o->row,
		now) == 0)
		return had == 0;
	req_errno(req, "pack");
	return -1;
}

/* Some of them; 0, or -1: answered. */
static int
pack_chunks(struct req *req, struct packing *g, const struct db_object *o)
{
	monotime_t end = monotime_add_ms(monotime_now(), STEP_MS);
	int64_t now = db_now();
	uint32_t pins = 0;
	int r;

	while (g->next < g->pack->n) {
		if ((r = pack_chunk(req, g, o, now)) == -1)
			return -1;
		pins += (uint32_t)r;
		g->offset += g->pack->chunks[g->next++].bytes;
		if (monotime_reached(end))
			break;
	}
	return session_charge(req, g->session, pins);
}

/* 0, or -1: answered. */
static int
pack_claim(struct req *req, struct packing *g)
{
	const struct wire_pack *p = g->pack;
	struct db_object o;
	int n;

	n = db_pack_claim(meta_db(), req_family(req).id, &p->object, p->length,
	    &o);
	if (n == -1) {
		req_errno(req, "pack");
		return -1;
	}
	if (n == 0) {
		req_error(req, 400, "bad_pack",
		    "an object of %u bytes that has %llu", p->length,
		    (unsigned long long)o.size);
		return -1;
	}
	if (pack_chunks(req, g, &o) == -1)
		return -1;
	n = db_pack_places(meta_db(), o.row, PACK_PLACES_MAX);
	if (n >= 0 && n <= PACK_PLACES_MAX)
		return 0;
	if (n == -1)
		req_errno(req, "pack");
	else
		req_error(req, 409, "pack_claimed",
		    "too much was said of what lies in this object");
	return -1;
}

/* Some at a time.  Each step claims the object again: it may have become another
   meanwhile. */
static void
pack_some(struct req *req)
{
	struct packing *g = req->state;
	const struct wire_pack *p = g->pack;

	if (!goes_on(req, g->session))
		return;
	if (p->n == 1) {
		/* An object of its own after all. */
		if (hash_cmp(&p->object, &p->chunks[0].hash) != 0) {
			req_error(req, 400, "bad_pack",
			    "a pack of one chunk is that chunk");
			return;
		}
		if (claim_own(req, g->session, &p->object, p->length) == -1)
			return;
	} else if (check_running(req_family(req).id, &p->object)) {
		/* It may be deleted yet, if it is wrong. */
		req_error(req, 503, "busy", "the object is being read");
		return;
	} else if (pack_claim(req, g) == -1)
		return;
	else if (g->next < p->n) {
		req_again(req, pack_some);
		return;
	}
	if (req_objects(req, 1) == -1)
		return;
	req->objects[0].hash = p->object;
	req->objects[0].bytes = p->length;
	req->objects[0].use = OBJECT_UPLOAD;
	req_upload(req, pack_answer);
}

void
meta_session_packs(struct req *req)
{
	struct db_session s;
	struct packing *g;
	const char *why;

	if (!open_session(req, &s))
		return;
	if ((g = calloc(1, sizeof(*g))) == NULL ||
	    (g->pack = calloc(1, sizeof(*g->pack))) == NULL) {
		free(g);
		req_errno(req, "pack");
		goto out;
	}
	g->session = s.id;
	req->state = g;
	req->state_free = pack_free;
	why = wire_pack_decode(req->body.data, req->body.len, g->pack);
	if (why != NULL)
		req_error(req, 400, "bad_pack", "%s", why);
	else
		pack_some(req);
out:
	db_session_clear(&s);
}
