/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * meta_session: upload sessions: made and shown.  In meta.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

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

/* Keys that are not limited share the sessions of a volume. */
static int64_t
session_owner(const struct req *req)
{
	return req_limited(req);
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
	/* One of another key is as none. */
	if (r == 1 && s->owner != session_owner(req)) {
		db_session_clear(s);
		r = 0;
	}
	if (r == -1)
		req_errno(req, "session");
	else if (r == 0)
		req_error(req, 404, "session_not_found", "no such session");
	return r == 1;
}

int
session_charge(struct req *req, int64_t session, uint32_t chunks)
{
	int r = db_session_charge(meta_db(), session, chunks, req->key.id);

	if (r == 1)
		return 0;
	if (r == -1)
		req_errno(req, "session");
	else
		req_error(req, 409, "too_many_chunks",
		    "the open sessions of the key were asked for too many "
		    "chunks: publish or end one of them, or wait: one that is "
		    "left alone ends after a day");
	return -1;
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

/* A new one; -1: answered. */
static int
session_make(struct req *req, const uint8_t *key, const char *message,
    const char *author, int if_unchanged, const uint8_t *mount)
{
	int r = db_session_room(meta_db(), req->key.id);

	if (r == 0) {
		req_error(req, 409, "too_many_sessions",
		    "the key has %d open sessions already", DB_SESSIONS_MAX);
		return -1;
	}
	if (r == -1 ||
	    db_session_add(meta_db(), req->vol.id, key, message, author,
		if_unchanged, mount, session_owner(req), db_now()) == -1 ||
	    db_session_made(meta_db(), req->vol.id, key, req->key.id) == -1) {
		req_errno(req, "session");
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
	    req_write_lazy(req) == -1)
		goto out;
	r = db_session_find(meta_db(), req->vol.id, key, &s);
	if (r == 1 && s.owner != session_owner(req)) {
		req_error(req, 400, "bad_session_key",
		    "the key of a session is 32 random digits of its own");
		goto out;
	}
	if (r == 1) {
		session_answer(req, 200, &s);
		goto out;
	}
	if (mount != NULL)
		hex_decode(mount, raw, DB_ID_LEN);
	if (r == -1) {
		req_errno(req, "session");
		goto out;
	}
	if (session_make(req, key, message, author, if_unchanged,
		mount == NULL ? NULL : raw) == -1)
		goto out;
	memcpy(s.key, key, DB_ID_LEN);
	s.state = SESSION_OPEN;
	session_answer(req, 201, &s);
out:
	db_session_clear(&s);
	json_decref(body);
}
