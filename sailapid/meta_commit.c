/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * meta_commit: publishes a delta: checks that each chunk may be named, has the
 * store confirm the new objects, merges, and swaps the head.  In meta.
 */
#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "lib/log.h"
#include "sailapid/hashset.h"
#include "sailapid/merge.h"
#include "sailapid/meta.h"

#define SWAP_TRIES 8
#define REPORT_PATHS 1000
#define REPORT_MISSING 100
#define TRIM_BYTES (4 << 20) /* a delta after which memory is given back */

struct publish {
	struct delta *delta;
	size_t bytes_in; /* of its encoding */
	int64_t session;
	/* what the puts name, each once */
	struct hashset chunks;
	uint32_t *bytes;
	uint32_t nbytes; /* room */
	/* indices of those that the store must confirm */
	uint32_t *look;
	uint8_t *verify;
	uint32_t nlook, looked;
	json_t *missing;
	uint32_t nmissing;
};

static void publish_round(struct req *);
static void publish_signed(struct req *);
static void publish_looked(struct req *);
static void publish_merge(struct req *);

static void
publish_free(void *arg)
{
	struct publish *p = arg;

	if (p == NULL)
		return;
	delta_free(p->delta);
	hashset_free(&p->chunks);
	free(p->bytes);
	free(p->look);
	free(p->verify);
	json_decref(p->missing);
	/* Small pieces by the million, which malloc(3) would keep for ever. */
	if (p->bytes_in >= TRIM_BYTES)
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
chunks_of_delta(struct publish *p)
{
	const struct chunklist *l;
	struct hash h;
	uint64_t slot;
	uint32_t i;
	int r;

	for (i = 0; i < p->delta->nops; i++) {
		if (p->delta->ops[i].kind != DELTA_PUT ||
		    (l = p->delta->ops[i].chunks) == NULL)
			continue;
		for (slot = 0; (r = chunklist_next(l, slot, &slot, &h)) == 1;
		     slot++) {
			if (chunk_named(p, &h, chunklist_slot_bytes(l, slot)) ==
			    -1)
				return -1;
		}
		if (r == -1)
			return -1;
	}
	return 0;
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

	req_json(req, 409,
	    json_pack("{s:o, s:{s:I, s:O}}", "error",
		error_json(409, "missing_chunks",
		    "chunks are neither known nor uploaded in this session"),
		"missing", "count", (json_int_t)p->nmissing, "chunks",
		p->missing));
}

/* May the session name chunk i?  Here, to be confirmed, or missing; -1:
   answered. */
static int
chunk_allowed(struct req *req, struct publish *p, uint32_t i)
{
	const struct hash *h = &p->chunks.keys[i];
	struct db_location loc;
	uint32_t pinned;
	int r;

	r = db_chunk_find(meta_db(), req->vol.family, h, &loc);
	if (r == 1 && location_good(loc.state)) {
		if (loc.plain == p->bytes[i])
			return 0;
		req_error(req, 400, "bad_delta",
		    "a chunk is said to have %u bytes and has %u", p->bytes[i],
		    loc.plain);
		return -1;
	}
	if (r != -1) {
		p->verify[p->nlook] = r == 1 && loc.state == LOCATION_BAD;
		r = db_session_pinned(meta_db(), p->session, h, &pinned);
	}
	if (r == -1) {
		req_errno(req, "chunk");
		return -1;
	}
	if (r == 0 || pinned != p->bytes[i])
		chunk_missing(p, h);
	else
		p->look[p->nlook++] = i;
	return 0;
}

static void
publish_check(struct req *req, struct publish *p)
{
	uint32_t i;

	p->look = calloc((size_t)p->chunks.n + 1, sizeof(*p->look));
	p->verify = calloc((size_t)p->chunks.n + 1, 1);
	if (p->look == NULL || p->verify == NULL) {
		req_errno(req, "chunks");
		return;
	}
	for (i = 0; i < p->chunks.n; i++) {
		if (chunk_allowed(req, p, i) == -1)
			return;
	}
	if (p->nmissing > 0)
		publish_missing(req);
	else
		publish_round(req);
}

/* path: of the operation that is to blame, or NULL. */
static void
bad_delta(struct req *req, const char *why, const uint8_t *path, size_t len)
{
	json_t *error;

	error = error_json(400, "bad_delta", why == NULL ? "not a delta" : why);
	if (path != NULL)
		json_object_set_new(error, "path", json_name(path, len));
	req_json(req, 400, json_pack("{s:o}", "error", error));
}

void
meta_commit(struct req *req)
{
	struct db_session s;
	struct publish *p;
	const uint8_t *blame;
	const char *why = NULL;
	size_t blame_len;

	if (!req_session(req, &s))
		return;
	if (s.state == SESSION_PUBLISHED) {
		req_text(req, 200, s.result == NULL ? "{}" : s.result);
		goto out;
	}
	if ((p = calloc(1, sizeof(*p))) == NULL) {
		req_errno(req, "commit");
		goto out;
	}
	hashset_init(&p->chunks);
	req->state = p;
	req->state_free = publish_free;
	p->session = s.id;
	p->bytes_in = req->body.len;
	p->delta = delta_decode_blame(req->body.data, req->body.len, &why,
	    &blame, &blame_len);
	if (p->delta == NULL)
		bad_delta(req, why, blame, blame_len);
	else if (chunks_of_delta(p) == -1) {
		if (errno == EINVAL)
			req_error(req, 400, "bad_delta",
			    "one chunk with two sizes");
		else
			req_errno(req, "chunks");
	} else
		publish_check(req, p);
out:
	db_session_clear(&s);
}

/* ---- the store confirms -------------------------------------------------- */

static void
publish_round(struct req *req)
{
	struct publish *p = req->state;
	uint32_t i, n = p->nlook - p->looked;
	struct object_url *o;

	if (n == 0) {
		req_again(req, publish_merge);
		return;
	}
	if (n > META_ROUND)
		n = META_ROUND;
	if (req_objects(req, n) == -1)
		return;
	for (i = 0; i < n; i++) {
		o = &req->objects[i];
		o->hash = p->chunks.keys[p->look[p->looked + i]];
		o->bytes = p->bytes[p->look[p->looked + i]];
		o->use = p->verify[p->looked + i] ? OBJECT_VERIFY : OBJECT_LOOK;
	}
	req_sign(req, publish_signed);
}

static void
publish_signed(struct req *req)
{
	req_fetch(req, publish_looked);
}

static void
publish_looked(struct req *req)
{
	struct publish *p = req->state;
	const struct object_url *o;
	size_t i;

	if (req_write(req) == -1)
		return;
	for (i = 0; i < req->nobjects; i++) {
		o = &req->objects[i];
		if (o->status == 404 || (o->status == 200 && !o->equal)) {
			chunk_missing(p, &o->hash);
			continue;
		}
		if (o->status != 200) {
			req_error(req, 503, "store_unavailable",
			    "the store answered %u when it was asked for a "
			    "chunk",
			    o->status);
			return;
		}
		if (db_chunk_set(meta_db(), req->vol.family, &o->hash, o->bytes,
			o->use == OBJECT_VERIFY ? LOCATION_VERIFIED
						: LOCATION_CONFIRMED) == -1) {
			req_errno(req, "chunk");
			return;
		}
	}
	p->looked += (uint32_t)req->nobjects;
	/* What was confirmed is kept also if others are missing. */
	if (p->nmissing > 0)
		req_again(req, publish_missing);
	else
		publish_round(req);
}

/* ---- merge --------------------------------------------------------------- */

static int
commit_root(void *arg, const struct hash *hash, struct entry *root,
    struct blob **keep)
{
	struct req *req = arg;
	struct commit c;

	if ((*keep = meta_commit_load(&req->vol, hash, &c)) == NULL)
		return -1;
	*root = c.root;
	return 0;
}

static json_t *
overwritten_json(const struct merge_out *out)
{
	json_t *paths = json_array();
	size_t i;

	for (i = 0; i < out->npaths; i++)
		json_array_append_new(paths,
		    json_name(out->paths[i].path, out->paths[i].len));
	return json_pack("{s:I, s:o}", "count", (json_int_t)out->overwritten,
	    "paths", paths);
}

static void
publish_refused(struct req *req, const struct merge_out *out)
{
	json_t *error = error_json(409, "overwritten",
	    "the commit would overwrite what others have published");

	json_object_set_new(error, "type", json_string("refused"));
	req_json(req, 409,
	    json_pack("{s:o, s:o}", "error", error, "overwritten",
		overwritten_json(out)));
}

static void
publish_merge_failed(struct req *req, const struct merge_out *out)
{
	char hex[HASH_HEX_LEN + 1];

	switch (errno) {
	case EINVAL:
		bad_delta(req, out->why, out->why_path, out->why_path_len);
		return;
	case ENODATA:
		hash_hex(&out->missing, hex);
		log_warnx("volume %s: node %s is missing", req->vol.name, hex);
		errno = EIO;
		break;
	case EBADMSG:
		log_warnx("volume %s: a damaged node: %s", req->vol.name,
		    out->why == NULL ? "?" : out->why);
		errno = EIO;
		break;
	}
	req_errno(req, "merge");
}

/* The commit's encoding in w, its id in id. */
static int
publish_encode(const struct req *req, const struct db_session *s,
    const struct commit *head, const struct merge_out *out, struct commit *c,
    struct wbuf *w, struct hash *id)
{
	memset(c, 0, sizeof(*c));
	memcpy(c->volume, req->vol.public, sizeof(c->volume));
	c->has_parent = 1;
	c->parent = req->vol.head;
	c->number = head->number + 1;
	c->root = out->root;
	c->time = timens_now();
	c->author = (const uint8_t *)s->author;
	c->author_len = strlen(s->author);
	c->message = (const uint8_t *)s->message;
	c->message_len = strlen(s->message);
	c->puts = out->puts;
	c->deletes = out->deletes;
	c->overwritten = out->overwritten;
	commit_encode(w, c);
	if (w->error != 0) {
		errno = w->error;
		return -1;
	}
	hash_bytes(id, w->data, w->len);
	return 0;
}

static char *
publish_result(const struct hash *id, const struct commit *c,
    const struct merge_out *out)
{
	char *text;
	json_t *j;

	j = json_pack("{s:o, s:I, s:o, s:b, s:I, s:I, s:o}", "commit",
	    json_hash(id), "number", (json_int_t)c->number, "parent",
	    c->has_parent ? json_hash(&c->parent) : json_null(), "changed",
	    out->changed, "puts", (json_int_t)out->puts, "deletes",
	    (json_int_t)out->deletes, "overwritten", overwritten_json(out));
	text = j == NULL ? NULL : json_dumps(j, JSON_COMPACT);
	json_decref(j);
	if (text == NULL)
		errno = ENOMEM;
	return text;
}

/* What was merged becomes the head: 1, 0 another came between, -1. */
static int
publish_swap(struct req *req, const struct db_session *s,
    const struct commit *head, const struct merge_out *out)
{
	struct commit c = *head;
	struct hash id = req->vol.head;
	struct wbuf w;
	char *text = NULL;
	int r = 1;

	wbuf_init(&w, NODE_MAX_BYTES);
	if (out->changed) {
		r = publish_encode(req, s, head, out, &c, &w, &id);
		if (r == 0)
			r = db_volume_swap(meta_db(), req->vol.id,
			    &req->vol.head, &id);
		if (r == 1 &&
		    db_commit_add(meta_db(), req->vol.id, &id, c.number, w.data,
			w.len) == -1)
			r = -1;
	}
	if (r == 1) {
		text = publish_result(&id, &c, out);
		if (text == NULL ||
		    db_session_published(meta_db(), s->id, text) == -1)
			r = -1;
		else
			req_text(req, 200, text);
	}
	wbuf_free(&w);
	free(text);
	return r;
}

/* 1: answered; 0: another commit came between; -1 and errno. */
static int
publish_try(struct req *req, const struct db_session *s)
{
	struct publish *p = req->state;
	struct db_nodes nodes;
	struct merge_out out;
	struct merge_in in;
	struct commit head;
	struct blob *b;
	int r;

	if ((b = meta_commit_load(&req->vol, &req->vol.head, &head)) == NULL)
		return -1;
	db_nodes_init(&nodes, meta_db(), req->vol.family);
	memset(&in, 0, sizeof(in));
	memset(&out, 0, sizeof(out));
	in.store = &nodes.store;
	in.salt = req->vol.salt;
	in.head_root = &head.root;
	in.commit_root = commit_root;
	in.arg = req;
	in.delta = p->delta;
	in.if_unchanged = s->if_unchanged;
	in.max_report = REPORT_PATHS;
	r = 1;
	if (merge_apply(&in, &out) == -1)
		publish_merge_failed(req, &out);
	else if (out.refused)
		publish_refused(req, &out);
	else
		r = publish_swap(req, s, &head, &out);
	merge_out_free(&out);
	blob_unref(b);
	return r;
}

static void
publish_merge(struct req *req)
{
	struct db_session s;
	int i, r = 0;

	/* From here on nobody else writes: head and session are what they
	   are. */
	memset(&s, 0, sizeof(s));
	if (req_write(req) == -1 || !req_session(req, &s))
		return;
	if (s.state == SESSION_PUBLISHED) {
		req_text(req, 200, s.result == NULL ? "{}" : s.result);
		goto out;
	}
	for (i = 0; i < SWAP_TRIES && r == 0; i++) {
		r = db_volume_by_public(meta_db(), req->key.org.id,
		    req->vol.public, &req->vol);
		if (r == 0) {
			req_error(req, 404, "volume_not_found",
			    "the volume was deleted");
			goto out;
		}
		if (r == 1)
			r = publish_try(req, &s);
	}
	if (r == 0)
		req_error(req, 503, "busy", "other commits came between");
	else if (r == -1)
		req_errno(req, "commit");
out:
	db_session_clear(&s);
}
