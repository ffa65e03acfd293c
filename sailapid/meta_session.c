/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * meta_session: upload sessions: which chunks the server lacks, and the URLs
 * to bring them by.  What a session was told stays pinned until it is
 * published or a day old.  In meta.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base64.h"
#include "sailapid/hex.h"
#include "sailapid/meta.h"

static int
session_key(struct req *req, uint8_t key[DB_ID_LEN])
{
	if (hex_decode(req->args[1], key, DB_ID_LEN) == 0)
		return 0;
	req_error(req, 400, "bad_session_key",
	    "the key of a session is 32 lower-case hexadecimal digits");
	return -1;
}

static void
session_answer(struct req *req, uint16_t status, const struct db_session *s)
{
	char hex[2 * DB_ID_LEN + 1];
	json_t *j;

	hex_encode(s->key, DB_ID_LEN, hex);
	j = json_pack("{s:s, s:s}", "key", hex, "state",
	    s->state == SESSION_PUBLISHED ? "published" : "open");
	if (s->state == SESSION_PUBLISHED)
		json_object_set_new(j, "result",
		    json_loads(s->result == NULL ? "{}" : s->result, 0, NULL));
	req_json(req, status, j);
}

int
req_session(struct req *req, struct db_session *s)
{
	uint8_t key[DB_ID_LEN];
	int r;

	memset(s, 0, sizeof(*s));
	if (session_key(req, key) == -1)
		return 0;
	r = db_session_find(meta_db(), req->vol.id, key, s);
	if (r == -1)
		req_errno(req, "session");
	else if (r == 0)
		req_error(req, 404, "session_not_found", "no such session");
	return r == 1;
}

void
meta_session_get(struct req *req)
{
	struct db_session s;

	if (req_session(req, &s))
		session_answer(req, 200, &s);
	db_session_clear(&s);
}

/* What its creator said of it; -1: answered. */
static int
session_words(struct req *req, json_t *body, const char **message,
    const char **author, int *if_unchanged, const char **mount)
{
	uint8_t raw[DB_ID_LEN] = { 0 };

	if (req_member_string(req, body, "message", message) == -1 ||
	    req_member_string(req, body, "author", author) == -1 ||
	    req_member_string(req, body, "mount", mount) == -1 ||
	    req_member_bool(req, body, "if_unchanged", if_unchanged) == -1)
		return -1;
	if (strlen(*message) > COMMIT_MESSAGE_MAX) {
		req_error(req, 400, "bad_message",
		    "message: longer than %d bytes", COMMIT_MESSAGE_MAX);
		return -1;
	}
	if (strlen(*author) > COMMIT_AUTHOR_MAX) {
		req_error(req, 400, "bad_author",
		    "author: longer than %d bytes", COMMIT_AUTHOR_MAX);
		return -1;
	}
	if (*mount != NULL && hex_decode(*mount, raw, DB_ID_LEN) == -1) {
		req_error(req, 400, "bad_mount",
		    "mount: not 32 hexadecimal digits");
		return -1;
	}
	return 0;
}

void
meta_session_put(struct req *req)
{
	const char *message = "", *author = req->key.name, *mount = NULL;
	uint8_t key[DB_ID_LEN], raw[DB_ID_LEN] = { 0 };
	struct db_session s;
	json_t *body;
	int r, if_unchanged = 0;

	memset(&s, 0, sizeof(s));
	if (session_key(req, key) == -1 || (body = req_body_json(req)) == NULL)
		return;
	if (session_words(req, body, &message, &author, &if_unchanged,
		&mount) == -1 ||
	    req_write(req) == -1)
		goto out;
	r = db_session_find(meta_db(), req->vol.id, key, &s);
	if (r == 1) {
		session_answer(req, 200, &s);
		goto out;
	}
	if (mount != NULL)
		hex_decode(mount, raw, DB_ID_LEN);
	if (r == -1 ||
	    db_session_add(meta_db(), req->vol.id, key, message, author,
		if_unchanged, mount == NULL ? NULL : raw, db_now()) == -1) {
		req_errno(req, "session");
		goto out;
	}
	memcpy(s.key, key, DB_ID_LEN);
	s.state = SESSION_OPEN;
	session_answer(req, 201, &s);
out:
	db_session_clear(&s);
	json_decref(body);
}

/* ---- chunks -------------------------------------------------------------- */

enum chunk_place {
	PLACE_HERE,
	PLACE_LACKING,
	PLACE_MAYBE /* the session asked before: it may have been sent since */
};

struct lookup {
	struct wire_chunk *chunks;
	uint32_t n;
	uint8_t *place; /* enum chunk_place, one each */
};

static void
lookup_free(void *arg)
{
	struct lookup *l = arg;

	if (l == NULL)
		return;
	free(l->chunks);
	free(l->place);
	free(l);
}

static void
lookup_answer(struct req *req)
{
	struct lookup *l = req->state;
	struct wire_upload u;
	struct object_url *o = req->objects;
	struct wbuf w;
	uint8_t *out;
	char headers[256], hex[HASH_HEX_LEN + 1], b64[BASE64_SIZE(HASH_LEN)];
	size_t len;
	uint32_t i;

	wbuf_init(&w, (size_t)WIRE_BATCH_MAX * (WIRE_URL_MAX + 1024));
	wire_uploads_begin(&w, l->n);
	for (i = 0; i < l->n; i++) {
		memset(&u, 0, sizeof(u));
		u.presence = WIRE_PRESENT;
		u.url = u.headers = (const uint8_t *)"";
		if (l->place[i] == PLACE_LACKING) {
			if (o->url == NULL || o->url[0] == '\0') {
				req_error(req, 503, "not_signed",
				    "no URL could be made for a chunk");
				wbuf_free(&w);
				return;
			}
			hash_hex(&o->hash, hex);
			base64_encode(o->hash.b, HASH_LEN, b64);
			snprintf(headers, sizeof(headers),
			    "if-none-match: *\nx-amz-checksum-sha256: %s\n"
			    "x-amz-content-sha256: %s\n",
			    b64, hex);
			u.presence = WIRE_UPLOAD;
			u.object = o->hash;
			u.url = (const uint8_t *)o->url;
			u.url_len = strlen(o->url);
			u.headers = (const uint8_t *)headers;
			u.headers_len = strlen(headers);
			o++;
		}
		wire_uploads_add(&w, &u);
	}
	out = wbuf_take(&w, &len);
	wbuf_free(&w);
	if (out == NULL)
		req_errno(req, "uploads");
	else
		req_binary(req, out, len);
}

/* Pins one, and says in l where it is; -1: answered. */
static int
lookup_one(struct req *req, const struct db_session *s, struct lookup *l,
    uint32_t i, int64_t now)
{
	const struct wire_chunk *c = &l->chunks[i];
	struct db_location loc;
	uint32_t pinned = 0;
	int r;

	if (c->bytes == 0 || c->bytes > META_CHUNK_MAX) {
		req_error(req, 400, "bad_chunk", "a chunk of %u bytes",
		    c->bytes);
		return -1;
	}
	r = db_chunk_find(meta_db(), req->vol.family, &c->hash, &loc);
	if (r == 1 && location_good(loc.state)) {
		if (loc.plain != c->bytes) {
			req_error(req, 400, "bad_chunk",
			    "a chunk of %u bytes that has %u", c->bytes,
			    loc.plain);
			return -1;
		}
	} else {
		l->place[i] = PLACE_LACKING;
		if (r == 1 && loc.state == LOCATION_CLAIMED &&
		    db_session_pinned(meta_db(), s->id, &c->hash, &pinned) ==
			1 &&
		    pinned == c->bytes)
			l->place[i] = PLACE_MAYBE;
	}
	if (r == -1 ||
	    (r == 0 &&
		db_chunk_set(meta_db(), req->vol.family, &c->hash, c->bytes,
		    LOCATION_CLAIMED) == -1) ||
	    db_session_pin(meta_db(), s->id, &c->hash, c->bytes, now) == -1) {
		req_errno(req, "chunk");
		return -1;
	}
	return 0;
}

/* The chunks of that place become the request's objects; -1: answered. */
static int
lookup_objects(struct req *req, enum chunk_place place, uint8_t use)
{
	const struct lookup *l = req->state;
	struct object_url *o;
	size_t n = 0;
	uint32_t i;

	for (i = 0; i < l->n; i++)
		n += l->place[i] == place;
	if (req_objects(req, n) == -1)
		return -1;
	for (i = 0, o = req->objects; i < l->n; i++) {
		if (l->place[i] != place)
			continue;
		o->hash = l->chunks[i].hash;
		o->bytes = l->chunks[i].bytes;
		o->use = use;
		o++;
	}
	return 0;
}

static void
lookup_sign(struct req *req)
{
	if (lookup_objects(req, PLACE_LACKING, OBJECT_UPLOAD) == 0)
		req_sign(req, lookup_answer);
}

/* What the store has need not be sent again. */
static void
lookup_looked(struct req *req)
{
	struct lookup *l = req->state;
	const struct object_url *o = req->objects;
	uint32_t i;

	if (req_write(req) == -1)
		return;
	for (i = 0; i < l->n; i++) {
		if (l->place[i] != PLACE_MAYBE)
			continue;
		l->place[i] =
		    o->status == 200 && o->equal ? PLACE_HERE : PLACE_LACKING;
		if (l->place[i] == PLACE_HERE &&
		    db_chunk_set(meta_db(), req->vol.family, &o->hash, o->bytes,
			LOCATION_CONFIRMED) == -1) {
			req_errno(req, "chunk");
			return;
		}
		o++;
	}
	lookup_sign(req);
}

static void
lookup_look(struct req *req)
{
	req_fetch(req, lookup_looked);
}

static void
lookup_begin(struct req *req, const struct db_session *s, struct lookup *l)
{
	int64_t now = db_now();
	uint32_t i;

	if (req_write(req) == -1)
		return;
	for (i = 0; i < l->n; i++) {
		if (lookup_one(req, s, l, i, now) == -1)
			return;
	}
	if (lookup_objects(req, PLACE_MAYBE, OBJECT_LOOK) == -1)
		return;
	if (req->nobjects > 0)
		req_sign(req, lookup_look);
	else
		lookup_sign(req);
}

void
meta_session_chunks(struct req *req)
{
	struct db_session s;
	struct lookup *l;
	const char *why;

	if (!req_session(req, &s))
		return;
	if (s.state != SESSION_OPEN) {
		req_error(req, 409, "session_published",
		    "the session was published");
		goto out;
	}
	if ((l = calloc(1, sizeof(*l))) == NULL) {
		req_errno(req, "chunks");
		goto out;
	}
	req->state = l;
	req->state_free = lookup_free;
	why = wire_chunks_decode(req->body.data, req->body.len, &l->chunks,
	    &l->n);
	if (why != NULL) {
		req_error(req, 400, "bad_request", "%s", why);
		goto out;
	}
	if ((l->place = calloc(l->n + 1, 1)) == NULL)
		req_errno(req, "chunks");
	else
		lookup_begin(req, &s, l);
out:
	db_session_clear(&s);
}
