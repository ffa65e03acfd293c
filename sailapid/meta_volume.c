/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * meta_volume: the routes that list, make, show and delete volumes.  In meta.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "sailapid/hex.h"
#include "sailapid/meta.h"

/* NULL when it cannot be shown (errno). */
static json_t *
volume_json(const struct req *req, const struct db_volume *v)
{
	struct commit c;
	struct blob *b;
	json_t *j;

	if ((b = meta_commit_load(v, &v->head, &c)) == NULL)
		return NULL;
	j = json_pack("{s:o, s:s, s:{s:o, s:s}, s:o, s:o, s:I, s:I, s:I, "
		      "s:{s:i, s:I, s:I}}",
	    "id", json_id("vol_", v->public, DB_ID_LEN), "name", v->name, "org",
	    "id", json_id("org_", req->key.org.public, DB_PUBLIC_LEN), "name",
	    req->key.org.name, "created", json_time(v->created), "head",
	    json_hash(&v->head), "number", (json_int_t)c.number, "files",
	    json_count(c.root.files), "bytes", json_count(c.root.bytes),
	    "format", "version", (int)v->header.version, "may_ignore",
	    (json_int_t)v->header.may_ignore, "must_know",
	    (json_int_t)v->header.must_know);
	blob_unref(b);
	if (j == NULL)
		errno = ENOMEM;
	return j;
}

static void
volume_answer(struct req *req, uint16_t status, const struct db_volume *v)
{
	json_t *j = volume_json(req, v);

	if (j == NULL)
		req_errno(req, "volume");
	else
		req_json(req, status, j);
}

struct listing {
	struct db_volume *v;
	size_t n;
};

static int
volume_append(void *arg, const struct db_volume *v)
{
	struct listing *l = arg;

	l->v[l->n++] = *v;
	return 0;
}

void
meta_volume_list(struct req *req)
{
	char after[SAIL_VOLUME_NAME_MAX + 1] = "";
	uint32_t limit = 100;
	struct listing l = { NULL, 0 };
	json_t *list = NULL, *j;
	size_t i, n;

	if (req_query_number(req, "limit", META_LIMIT_MAX, &limit) == -1)
		return;
	if (limit == 0 || req_query(req, "after", after, sizeof(after)) == -1) {
		req_error(req, 400, "bad_query", "after, limit: out of range");
		return;
	}
	if ((l.v = calloc(limit + 1, sizeof(*l.v))) == NULL ||
	    db_volume_each(meta_db(), req->key.org.id, after, (int)limit + 1,
		volume_append, &l) == -1)
		goto fail;
	n = l.n > limit ? limit : l.n;
	if ((list = json_array()) == NULL)
		goto fail;
	for (i = 0; i < n; i++) {
		if ((j = volume_json(req, &l.v[i])) == NULL ||
		    json_array_append_new(list, j) == -1)
			goto fail;
	}
	req_json(req, 200,
	    json_pack("{s:o, s:o}", "volumes", list, "next",
		l.n > n ? json_string(l.v[n - 1].name) : json_null()));
	free(l.v);
	return;
fail:
	req_errno(req, "volumes");
	json_decref(list);
	free(l.v);
}

void
meta_volume_show(struct req *req)
{
	volume_answer(req, 200, &req->vol);
}

void
meta_volume_delete(struct req *req)
{
	if (req_write(req) == -1)
		return;
	if (db_volume_deleted(meta_db(), req->vol.id, db_now()) == -1)
		req_errno(req, "volume");
	else
		req_none(req, 204);
}

/* The first commit: an empty root directory. */
static int
volume_first_commit(struct db_volume *v, struct wbuf *w)
{
	static const char author[] = "sailapid";
	struct db_nodes nodes;
	struct commit c;

	db_nodes_init(&nodes, meta_db(), v->family);
	if (tree_put_empty(&nodes.store) == -1)
		return -1;
	memset(&c, 0, sizeof(c));
	memcpy(c.volume, v->public, DB_ID_LEN);
	c.time = timens_now();
	c.root.type = ENTRY_DIR;
	c.root.mode = 0755;
	c.root.mtime = c.root.ctime = c.time;
	while (c.root.fileid < 2)
		arc4random_buf(&c.root.fileid, sizeof(c.root.fileid));
	tree_empty_root(&c.root.root);
	c.author = (const uint8_t *)author;
	c.author_len = sizeof(author) - 1;
	c.message = (const uint8_t *)"";
	commit_encode(w, &c);
	if (w->error != 0) {
		errno = w->error;
		return -1;
	}
	hash_bytes(&v->head, w->data, w->len);
	return 0;
}

static int
volume_make(struct req *req, const char *name)
{
	struct db_volume *v = &req->vol;
	struct wbuf w;
	int r = -1;

	wbuf_init(&w, NODE_MAX_BYTES);
	memset(v, 0, sizeof(*v));
	strlcpy(v->name, name, sizeof(v->name));
	v->org = req->key.org.id;
	v->created = db_now();
	v->header.version = VOLUME_VERSION;
	arc4random_buf(v->public, sizeof(v->public));
	arc4random_buf(v->family_public, sizeof(v->family_public));
	arc4random_buf(v->salt, sizeof(v->salt));
	if (db_family_add(meta_db(), v->family_public, v->salt, &v->family) ==
		0 &&
	    volume_first_commit(v, &w) == 0 &&
	    db_volume_add(meta_db(), v, &v->id) == 0 &&
	    db_commit_add(meta_db(), v->id, &v->head, 0, w.data, w.len) == 0)
		r = 0;
	wbuf_free(&w);
	return r;
}

static void
volume_create(struct req *req, const char *name, int mint)
{
	int r;

	if (req_write(req) == -1)
		return;
	r = db_volume_by_name(meta_db(), req->key.org.id, name, &req->vol);
	if (r == 1 && mint)
		volume_answer(req, 200, &req->vol);
	else if (r == 1)
		req_error(req, 409, "volume_exists",
		    "there is a volume of that name");
	else if (r == -1 || volume_make(req, name) == -1)
		req_errno(req, "volume");
	else
		volume_answer(req, 201, &req->vol);
}

void
meta_volume_create(struct req *req)
{
	const char *name = NULL, *why = NULL;
	uint8_t public[DB_ID_LEN];
	json_t *body;
	int mint = 0;

	if ((body = req_body_json(req)) == NULL)
		return;
	if (req_member_string(req, body, "name", &name) == -1 ||
	    req_member_bool(req, body, "mint_if_missing", &mint) == -1)
		goto out;
	if (name == NULL)
		why = "missing";
	else if ((why = volume_name_problem(name, strlen(name))) == NULL &&
	    hex_id("vol_", name, public, sizeof(public)) == 0)
		why = "has the form of an id";
	if (why != NULL)
		req_error(req, 400, "bad_name", "name: %s", why);
	else
		volume_create(req, name, mint);
out:
	json_decref(body);
}
