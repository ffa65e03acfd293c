/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * meta_volume: the routes that list, make, show, rename, fork, delete and restore
 * volumes.  In meta.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sailapid/hex.h"
#include "sailapid/meta.h"

/* As far as the key sees it.  NULL when it cannot be shown (errno). */
static json_t *
volume_json(const struct req *req, const struct db_volume *v)
{
	struct view view;
	struct db_grant g;
	struct commit c;
	struct blob *b;
	json_t *j;

	memset(&g, 0, sizeof(g));
	if (req_sees(req, v, &g) != 1) {
		errno = EIO;
		return NULL;
	}
	view_init(&view, meta_db(), v, &g);
	b = view_commit(&view, &v->head, &c);
	view_free(&view);
	if (b == NULL)
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
	if (j != NULL && g.len > 0)
		json_object_set_new(j, "path", json_name(g.path, g.len));
	if (j != NULL && v->deleted != 0) {
		json_object_set_new(j, "deleted", json_time(v->deleted));
		json_object_set_new(j, "until",
		    json_time(v->deleted + VOLUME_DELETED_LIFE_NS));
	}
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

/* The answer of a page; next: the value to go on with, of the last one shown. */
static void
listing_answer(struct req *req, const struct listing *l, uint32_t limit,
    json_t *(*next)(const struct db_volume *))
{
	json_t *list = json_array(), *j;
	size_t i, n = l->n > limit ? limit : l->n;

	for (i = 0; i < n; i++) {
		if ((j = volume_json(req, &l->v[i])) == NULL ||
		    json_array_append_new(list, j) == -1) {
			req_errno(req, "volumes");
			json_decref(list);
			return;
		}
	}
	req_json(req, 200,
	    json_pack("{s:o, s:o}", "volumes", list, "next",
		l->n > n ? next(&l->v[n - 1]) : json_null()));
}

static json_t *
next_name(const struct db_volume *v)
{
	return json_string(v->name);
}

static json_t *
next_id(const struct db_volume *v)
{
	return json_id("vol_", v->public, DB_ID_LEN);
}

/* Those that were deleted and can come back, in the order they were made. */
static int
list_deleted(struct req *req, const char *after, uint32_t limit,
    struct listing *l)
{
	int64_t since = db_now() - VOLUME_DELETED_LIFE_NS;
	uint8_t public[DB_ID_LEN];
	struct db_volume last;
	struct db_grant g;
	int r;

	memset(&last, 0, sizeof(last));
	if (*after != '\0') {
		r = hex_id("vol_", after, public, sizeof(public)) == -1
		    ? 0
		    : db_volume_trash(meta_db(), req->key.org.id, public, since,
			  &last);
		if (r == 1)
			r = req_sees(req, &last, &g);
		if (r == -1)
			return -1;
		if (r == 0) {
			req_error(req, 400, "bad_query",
			    "after: no deleted volume of that id");
			return 0;
		}
	}
	return db_volume_trash_each(meta_db(), req->key.org.id,
	    req_limited(req), since, last.id, (int)limit + 1, volume_append, l);
}

void
meta_volume_list(struct req *req)
{
	char after[SAIL_VOLUME_NAME_MAX + 1] = "";
	uint32_t limit = 100, deleted = 0;
	struct listing l = { NULL, 0 };
	int r;

	if (req_query_number(req, "limit", META_LIMIT_MAX, &limit) == -1 ||
	    req_query_number(req, "deleted", 1, &deleted) == -1)
		return;
	if (limit == 0 || req_query(req, "after", after, sizeof(after)) == -1) {
		req_error(req, 400, "bad_query", "after, limit: out of range");
		return;
	}
	if ((l.v = calloc(limit + 1, sizeof(*l.v))) == NULL)
		r = -1;
	else if (deleted)
		r = list_deleted(req, after, limit, &l);
	else
		r = db_volume_each(meta_db(), req->key.org.id, req_limited(req),
		    after, (int)limit + 1, volume_append, &l);
	if (r == -1)
		req_errno(req, "volumes");
	else if (!req->finished)
		listing_answer(req, &l, limit, deleted ? next_id : next_name);
	free(l.v);
}

void
meta_volume_show(struct req *req)
{
	volume_answer(req, 200, &req->vol);
}

/*
 * Before the volume is changed: another server may have renamed it, deleted it or
 * brought it back since the route found it.  deleted: it may be since then.  -1:
 * the request was answered.
 */
static int
volume_write(struct req *req, int deleted)
{
	struct db_volume v;
	int r = 0;

	if (req_write(req) == -1)
		return -1;
	if (req->vol.deleted == 0)
		r = db_volume_find(meta_db(), req->key.org.id, req->args[0],
		    &v);
	if (r == 0 && (req->vol.deleted != 0 || deleted))
		r = db_volume_trash(meta_db(), req->key.org.id, req->vol.public,
		    db_now() - VOLUME_DELETED_LIFE_NS, &v);
	if (r == -1)
		req_errno(req, "volume");
	else if (r == 0 || v.id != req->vol.id)
		req_error(req, 404, "volume_not_found",
		    "another server has changed the volume at the same time");
	else {
		req->vol = v;
		return 0;
	}
	return -1;
}

void
meta_volume_delete(struct req *req)
{
	if (volume_write(req, 1) == -1)
		return;
	if (req->vol.deleted != 0)
		req_none(req, 204); /* since then, and no change */
	else if (db_volume_deleted(meta_db(), req->vol.id, db_now()) == -1)
		req_errno(req, "volume");
	else {
		req_audit_volume(req, "volume-delete", NULL);
		req_none(req, 204);
	}
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

/* ---- names ------------------------------------------------------------------- */

/* The member name of the body; NULL: answered, or not there when that is fine. */
static const char *
take_name(struct req *req, json_t *body, int needed)
{
	const char *name = NULL, *why = NULL;
	uint8_t public[DB_ID_LEN];

	if (req_member_string(req, body, "name", &name) == -1)
		return NULL;
	if (name == NULL)
		why = needed ? "missing" : NULL;
	else if ((why = volume_name_problem(name, strlen(name))) == NULL &&
	    hex_id("vol_", name, public, sizeof(public)) == 0)
		why = "has the form of an id";
	if (why == NULL)
		return name;
	req_error(req, 400, "bad_name", "name: %s", why);
	return NULL;
}

/* 1 when the name is free, or that volume's own; 0: answered. */
static int
name_is_free(struct req *req, const char *name, int64_t id)
{
	struct db_volume other;
	int r;

	r = db_volume_by_name(meta_db(), req->key.org.id, name, &other);
	if (r == 0 || (r == 1 && other.id == id))
		return 1;
	if (r == 1)
		req_error(req, 409, "volume_exists",
		    "there is a volume of that name");
	else
		req_errno(req, "volume");
	return 0;
}

/* A limited key makes none, and does not hear which are there besides those it
   may see. */
static void
volume_mint_limited(struct req *req, const char *name, int mint)
{
	struct db_grant g;
	int r;

	r = db_volume_by_name(meta_db(), req->key.org.id, name, &req->vol);
	if (r == 1)
		r = req_sees(req, &req->vol, &g);
	if (r == -1)
		req_errno(req, "volume");
	else if (r == 1 && mint)
		volume_answer(req, 200, &req->vol);
	else
		req_error(req, 403, "key_limited",
		    "this needs a key that is not limited to volumes");
}

static void
volume_create(struct req *req, const char *name, int mint)
{
	int r;

	if (req->key.limited) {
		volume_mint_limited(req, name, mint);
		return;
	}
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
	else {
		req_audit_volume(req, "volume-create", NULL);
		volume_answer(req, 201, &req->vol);
	}
}

void
meta_volume_create(struct req *req)
{
	const char *name;
	json_t *body;
	int mint = 0;

	if ((body = req_body_json(req)) == NULL)
		return;
	if (req_member_bool(req, body, "mint_if_missing", &mint) != -1 &&
	    (name = take_name(req, body, 1)) != NULL)
		volume_create(req, name, mint);
	json_decref(body);
}

void
meta_volume_rename(struct req *req)
{
	const char *name;
	json_t *body;

	if ((body = req_body_json(req)) == NULL)
		return;
	name = take_name(req, body, 1);
	if (name != NULL && strcmp(name, req->vol.name) == 0)
		volume_answer(req, 200, &req->vol);
	else if (name != NULL && volume_write(req, 0) == 0 &&
	    name_is_free(req, name, req->vol.id)) {
		req_audit_volume(req, "volume-rename", "to=%s", name);
		strlcpy(req->vol.name, name, sizeof(req->vol.name));
		if (db_volume_renamed(meta_db(), req->vol.id, name) == -1)
			req_errno(req, "volume");
		else
			volume_answer(req, 200, &req->vol);
	}
	json_decref(body);
}

/* Of one that was deleted, under its old name unless told. */
static void
volume_restore(struct req *req, const char *name)
{
	if (volume_write(req, 0) == -1)
		return;
	if (name != NULL)
		strlcpy(req->vol.name, name, sizeof(req->vol.name));
	if (!name_is_free(req, req->vol.name, req->vol.id))
		return;
	req->vol.deleted = 0;
	if (db_volume_restored(meta_db(), req->vol.id, req->vol.name) == -1)
		req_errno(req, "volume");
	else {
		req_audit_volume(req, "volume-restore", NULL);
		volume_answer(req, 200, &req->vol);
	}
}

void
meta_volume_restore(struct req *req)
{
	const char *name;
	json_t *body;

	if ((body = req_body_json(req)) == NULL)
		return;
	name = take_name(req, body, 0);
	if (!req->finished)
		volume_restore(req, name);
	json_decref(body);
}

/* ---- forks ------------------------------------------------------------------- */

/* The first commit of a fork: the tree of another volume's, which it names by
   its id: the name is not for those who see the fork alone. */
static int
fork_commit(struct req *req, struct db_volume *fork, const struct hash *id,
    const struct commit *of)
{
	char message[256], hex[HASH_HEX_LEN + 1], public[2 * DB_ID_LEN + 1];
	struct commit c;
	struct wbuf w;
	int r = -1;

	memset(&c, 0, sizeof(c));
	memcpy(c.volume, fork->public, DB_ID_LEN);
	c.time = timens_now();
	c.root = of->root;
	c.author = (const uint8_t *)req->key.name;
	c.author_len = strlen(req->key.name);
	hash_hex(id, hex);
	hex_encode(req->vol.public, DB_ID_LEN, public);
	snprintf(message, sizeof(message), "fork of vol_%s at %s", public, hex);
	c.message = (const uint8_t *)message;
	c.message_len = strlen(message);
	wbuf_init(&w, NODE_MAX_BYTES);
	commit_encode(&w, &c);
	if (w.error != 0)
		errno = w.error;
	else {
		hash_bytes(&fork->head, w.data, w.len);
		if (db_volume_add(meta_db(), fork, &fork->id) == 0 &&
		    db_commit_add(meta_db(), fork->id, &fork->head, 0, w.data,
			w.len) == 0)
			r = 0;
	}
	wbuf_free(&w);
	return r;
}

/* A volume of the same family: nodes and chunks are shared, nothing is copied. */
static void
volume_fork(struct req *req, const char *name, const struct hash *id)
{
	struct db_volume fork;
	char hex[2 * DB_ID_LEN + 1];
	struct commit c;
	struct blob *b;

	if (volume_write(req, 0) == -1 || !name_is_free(req, name, -1))
		return;
	fork = req->vol;
	fork.origin = req->vol.id;
	strlcpy(fork.name, name, sizeof(fork.name));
	arc4random_buf(fork.public, sizeof(fork.public));
	fork.created = db_now();
	if ((b = commit_load(meta_db(), &req->vol, id, &c)) == NULL) {
		meta_commit_failed(req);
		return;
	}
	if (fork_commit(req, &fork, id, &c) == -1)
		req_errno(req, "volume");
	else {
		hex_encode(fork.public, DB_ID_LEN, hex);
		req_audit_volume(req, "volume-fork", "to=vol_%s as=%s", hex,
		    fork.name);
		volume_answer(req, 201, &fork);
	}
	blob_unref(b);
}

void
meta_volume_fork(struct req *req)
{
	const char *name, *commit = NULL;
	struct hash id = req->vol.head;
	json_t *body;

	if ((body = req_body_json(req)) == NULL)
		return;
	if ((name = take_name(req, body, 1)) != NULL &&
	    req_member_string(req, body, "commit", &commit) != -1) {
		if (commit != NULL &&
		    hash_parse(&id, commit, strlen(commit)) == -1)
			req_error(req, 400, "bad_json", "commit: not a hash");
		else
			volume_fork(req, name, &id);
	}
	json_decref(body);
}
