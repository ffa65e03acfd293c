/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * meta_log: the history of a volume, and the leases by which mounts hold
 * commits of it.  In meta.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/log.h"
#include "sailapid/hex.h"
#include "sailapid/meta.h"

/* ---- commits ------------------------------------------------------------- */

#define LOOKED_MAX 1000 /* commits, for a page of a part of the volume */
#define STEP_COMMITS 16 /* of them, before others have their turn */
#define STEP_MS 5

struct log_page {
	struct req *req;
	json_t *list;
	uint32_t limit, n;
	struct hash last;
	/* of a part of the volume */
	uint64_t below; /* where the next step begins */
	int full;
	uint32_t rows; /* of this step */
	monotime_t end;
};

static void
page_free(void *arg)
{
	struct log_page *p = arg;

	if (p == NULL)
		return;
	json_decref(p->list);
	free(p);
}

/* more: there is a next page. */
static void
page_answer(struct log_page *p, int more)
{
	json_t *list = p->list;

	p->list = NULL;
	req_json(p->req, 200,
	    json_pack("{s:o, s:o}", "commits", list, "next",
		more ? json_hash(&p->last) : json_null()));
}

static int
log_decode(const uint8_t *data, size_t len, struct commit *c)
{
	const char *why = commit_decode(data, len, c);

	if (why == NULL)
		return 0;
	log_warnx("a commit in the database: %s", why);
	errno = EIO;
	return -1;
}

static int
log_append(void *arg, const struct hash *id, const uint8_t *data, size_t len)
{
	struct log_page *p = arg;
	struct commit c;

	/* One more than asked for says that there is a next page. */
	if (p->n++ == p->limit)
		return 0;
	p->last = *id;
	if (log_decode(data, len, &c) == -1)
		return -1;
	return json_array_append_new(p->list, json_commit(id, &c));
}

static void
log_whole(struct log_page *p)
{
	if (db_commit_each(meta_db(), p->req->vol.id, p->below,
		(int)p->limit + 1, log_append, p) == -1)
		req_errno(p->req, "commits");
	else
		page_answer(p, p->n > p->limit);
}

/* ---- of a part of the volume --------------------------------------------- */

/* What did nothing there is left out, so a page may be short, or empty. */
static int
log_append_cut(void *arg, const struct hash *id, const uint8_t *data,
    size_t len)
{
	struct log_page *p = arg;
	enum view_change change;
	struct commit c;
	struct view view;
	struct blob *b;
	int r = 0;

	if (p->n == LOOKED_MAX || json_array_size(p->list) == p->limit) {
		p->full = 1;
		errno = ECANCELED;
		return -1;
	}
	if (p->rows > 0 && monotime_reached(p->end)) {
		errno = ECANCELED;
		return -1;
	}
	if (log_decode(data, len, &c) == -1)
		return -1;
	p->n++;
	p->rows++;
	p->below = c.number;
	p->last = *id;
	req_view(p->req, &view);
	if ((b = view_history(&view, id, &c, &change)) == NULL) {
		r = -1;
		/* That word is said above alone. */
		if (errno == ECANCELED)
			errno = EIO;
	} else if (change != VIEW_NOTHING &&
	    json_array_append_new(p->list, json_commit(id, &c)) == -1) {
		r = -1;
		errno = ENOMEM;
	}
	blob_unref(b);
	view_free(&view);
	return r;
}

/* Each of them is two trees that are compared: some at a time. */
static void
log_step(struct req *req)
{
	struct log_page *p = req->state;
	int r;

	p->rows = 0;
	p->end = monotime_add_ms(monotime_now(), STEP_MS);
	r = db_commit_each(meta_db(), req->vol.id, p->below, STEP_COMMITS,
	    log_append_cut, p);
	if (r == -1 && errno != ECANCELED)
		req_errno(req, "commits");
	else if (p->full)
		page_answer(p, 1);
	else if (r == 0 && p->rows < STEP_COMMITS)
		page_answer(p, 0);
	else
		req_again(req, log_step);
}

void
meta_log_list(struct req *req)
{
	struct log_page *p;
	struct hash before;
	struct commit c;
	struct blob *b;
	int r;

	if ((p = calloc(1, sizeof(*p))) == NULL ||
	    (p->list = json_array()) == NULL) {
		free(p);
		errno = ENOMEM;
		req_errno(req, "commits");
		return;
	}
	req->state = p;
	req->state_free = page_free;
	p->req = req;
	p->limit = 100;
	p->below = UINT64_MAX;
	if ((r = req_query_hash(req, "before", &before)) == -1 ||
	    req_query_number(req, "limit", META_LIMIT_MAX, &p->limit) == -1)
		return;
	if (p->limit == 0) {
		req_error(req, 400, "bad_query", "limit: not 0");
		return;
	}
	if (r == 1) {
		b = commit_load(meta_db(), &req->vol, &before, &c);
		if (b == NULL) {
			meta_commit_failed(req);
			return;
		}
		p->below = c.number;
		blob_unref(b);
	}
	if (req_cut(req))
		log_step(req);
	else
		log_whole(p);
}

void
meta_log_show(struct req *req)
{
	enum view_change change;
	struct commit c;
	struct view view;
	struct hash id;
	struct blob *b = NULL;

	req_view(req, &view);
	if (hash_parse(&id, req->args[1], strlen(req->args[1])) == -1)
		errno = ENOENT;
	else
		b = view_history(&view, &id, &c, &change);
	if (b != NULL)
		req_json(req, 200, json_commit(&id, &c));
	else
		meta_commit_failed(req);
	blob_unref(b);
	view_free(&view);
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
	if (db_lease_bound(meta_db(), req->vol.id, mount, req->key.id) == -1)
		req_errno(req, "lease");
	else
		req_json(req, 200,
		    json_pack("{s:o}", "expires", json_time(expires)));
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
