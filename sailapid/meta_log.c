/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * meta_log: the history of a volume, and the leases by which mounts hold
 * commits of it.  In meta.
 */
#include <errno.h>
#include <string.h>

#include "lib/log.h"
#include "sailapid/hex.h"
#include "sailapid/meta.h"

/* ---- commits ------------------------------------------------------------- */

struct log_page {
	json_t *list;
	uint32_t limit, n;
	struct hash last;
};

static int
log_append(void *arg, const struct hash *id, const uint8_t *data, size_t len)
{
	struct log_page *p = arg;
	struct commit c;
	const char *why;

	/* One more than asked for says that there is a next page. */
	if (p->n++ == p->limit)
		return 0;
	p->last = *id;
	if ((why = commit_decode(data, len, &c)) != NULL) {
		log_warnx("a commit in the database: %s", why);
		errno = EIO;
		return -1;
	}
	return json_array_append_new(p->list, json_commit(id, &c));
}

void
meta_log_list(struct req *req)
{
	struct log_page p = { NULL, 100, 0, { { 0 } } };
	struct hash before;
	struct commit c;
	struct blob *b;
	uint64_t below = UINT64_MAX;
	int r;

	if ((r = req_query_hash(req, "before", &before)) == -1 ||
	    req_query_number(req, "limit", META_LIMIT_MAX, &p.limit) == -1)
		return;
	if (p.limit == 0) {
		req_error(req, 400, "bad_query", "limit: not 0");
		return;
	}
	if (r == 1) {
		b = meta_commit_load(&req->vol, &before, &c);
		if (b == NULL) {
			if (errno == ENOENT)
				req_error(req, 404, "commit_not_found",
				    "the volume has no such commit");
			else
				req_errno(req, "commit");
			return;
		}
		below = c.number;
		blob_unref(b);
	}
	p.list = json_array();
	if (db_commit_each(meta_db(), req->vol.id, below, (int)p.limit + 1,
		log_append, &p) == -1) {
		json_decref(p.list);
		req_errno(req, "commits");
		return;
	}
	req_json(req, 200,
	    json_pack("{s:o, s:o}", "commits", p.list, "next",
		p.n > p.limit ? json_hash(&p.last) : json_null()));
}

void
meta_log_show(struct req *req)
{
	struct commit c;
	struct hash id;
	struct blob *b = NULL;

	if (hash_parse(&id, req->args[1], strlen(req->args[1])) == -1)
		errno = ENOENT;
	else
		b = meta_commit_load(&req->vol, &id, &c);
	if (b != NULL)
		req_json(req, 200, json_commit(&id, &c));
	else if (errno == ENOENT)
		req_error(req, 404, "commit_not_found",
		    "the volume has no such commit");
	else
		req_errno(req, "commit");
	blob_unref(b);
}

/* ---- leases -------------------------------------------------------------- */

static int
lease_mount(struct req *req, uint8_t mount[DB_ID_LEN])
{
	if (hex_decode(req->args[1], mount, DB_ID_LEN) == 0)
		return 0;
	req_error(req, 400, "bad_mount",
	    "a mount is named by 32 lower-case hexadecimal digits");
	return -1;
}

/* -1: answered. */
static int
lease_one(struct req *req, const uint8_t *mount, json_t *j, int64_t expires)
{
	const char *text = json_string_value(j);
	struct hash h;
	int r;

	if (text == NULL || hash_parse(&h, text, strlen(text)) == -1) {
		req_error(req, 400, "bad_json", "commits: not a hash");
		return -1;
	}
	r = db_commit_known(meta_db(), req->vol.id, &h);
	if (r == 0) {
		req_error(req, 404, "commit_not_found",
		    "the volume has no commit %s", text);
		return -1;
	}
	if (r == -1 ||
	    db_lease_add(meta_db(), req->vol.id, mount, &h, expires) == -1) {
		req_errno(req, "lease");
		return -1;
	}
	return 0;
}

void
meta_lease_put(struct req *req)
{
	uint8_t mount[DB_ID_LEN];
	int64_t expires = db_now() + LEASE_LIFE_NS;
	json_t *body, *list;
	size_t i;

	if (lease_mount(req, mount) == -1 ||
	    (body = req_body_json(req)) == NULL)
		return;
	list = json_object_get(body, "commits");
	if (!json_is_array(list) || json_array_size(list) > META_LIMIT_MAX) {
		req_error(req, 400, "bad_json",
		    "commits: not an array of at most %d", META_LIMIT_MAX);
		goto out;
	}
	if (req_write(req) == -1)
		goto out;
	if (db_lease_clear(meta_db(), req->vol.id, mount) == -1) {
		req_errno(req, "lease");
		goto out;
	}
	for (i = 0; i < json_array_size(list); i++) {
		if (lease_one(req, mount, json_array_get(list, i), expires) ==
		    -1)
			goto out;
	}
	req_json(req, 200, json_pack("{s:o}", "expires", json_time(expires)));
out:
	json_decref(body);
}

void
meta_lease_delete(struct req *req)
{
	uint8_t mount[DB_ID_LEN];

	if (lease_mount(req, mount) == -1 || req_write(req) == -1)
		return;
	if (db_lease_clear(meta_db(), req->vol.id, mount) == -1)
		req_errno(req, "lease");
	else
		req_none(req, 204);
}
