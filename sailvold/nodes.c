/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * nodes: commits and nodes of the server in manifest's database, and the
 * questions for those that are missing.  In manifest.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/log.h"
#include "lib/tree.h"
#include "lib/wire.h"
#include "sailvold/manifest.h"

#define NODES_BUDGET (1024 * 1024)
#define NODES_DEPTH 16
#define NODES_ANSWER_MAX (WIRE_BUDGET_MAX + 1024 * 1024)

int
nodes_commit_root(const struct hash *id, struct entry *root, struct blob **keep)
{
	struct commit c;
	const char *why;

	if ((*keep = db_commit_get(manifest_db, id)) == NULL) {
		if (errno == ENOENT)
			errno = ENODATA;
		return -1;
	}
	if ((why = commit_decode((*keep)->data, (*keep)->len, &c)) != NULL) {
		log_warnx("database: a bad commit: %s", why);
		blob_unref(*keep);
		*keep = NULL;
		errno = EBADMSG;
		return -1;
	}
	*root = c.root;
	return 0;
}

int
nodes_lookup(const struct hash *commit, const void *path, size_t len,
    struct entry *e, struct blob **keep, size_t *depth)
{
	const uint8_t *p = path, *slash;
	struct blob *next;
	struct node_store store;
	struct hash missing;
	size_t at = 0, n;

	*depth = 0;
	db_node_store(manifest_db, &store);
	if (nodes_commit_root(commit, e, keep) == -1)
		return -1;
	while (at < len) {
		if (e->type != ENTRY_DIR) {
			errno = ENOTDIR;
			goto fail;
		}
		slash = memchr(p + at, '/', len - at);
		n = slash != NULL ? (size_t)(slash - p) - at : len - at;
		*depth = at == 0 ? 0 : at - 1;
		if (tree_lookup(&store, &e->root, p + at, n, e, &next,
			&missing) == -1)
			goto fail;
		blob_unref(*keep);
		*keep = next;
		at += n + (slash != NULL);
	}
	return 0;
fail:
	blob_unref(*keep);
	*keep = NULL;
	return -1;
}

/* ---- bundles ------------------------------------------------------------------ */

static const char *
take_nodes(struct wire_bundle *b)
{
	const uint8_t *data;
	struct hash h;
	uint8_t kind;
	size_t len;
	int rc;

	while ((rc = wire_bundle_next(b, &data, &len, &h, &kind)) == 1)
		if (db_node_put(manifest_db, &h, data, len) == -1)
			return "the database does not take it";
	return rc == -1 ? b->r.error : NULL;
}

/* The bytes of a commit that are its own, not those that were cut for a key. */
static int
is_whole(const struct hash *id, const struct blob *b)
{
	struct hash h;

	hash_bytes(&h, b->data, b->len);
	return hash_cmp(&h, id) == 0;
}

int
nodes_commit_whole(const struct hash *id)
{
	struct blob *b = db_commit_get(manifest_db, id);
	int whole = b != NULL && is_whole(id, b);

	blob_unref(b);
	return whole;
}

/* One that is whole stays; one that was cut for an earlier key does not. */
static int
take_commit(const struct wire_bundle *b)
{
	struct blob *old = db_commit_get(manifest_db, &b->commit);
	int known = old != NULL && is_whole(&b->commit, old);

	blob_unref(old);
	return known ? 0
		     : db_commit_put(manifest_db, &b->commit, b->commit_bytes,
			   b->commit_len);
}

static int
is_of_volume(const struct commit *c, const char *volume_id)
{
	char id[4 + 2 * sizeof(c->volume) + 1] = "vol_";
	size_t i;

	for (i = 0; i < sizeof(c->volume); i++)
		snprintf(id + 4 + 2 * i, 3, "%02x", c->volume[i]);
	return strcmp(id, volume_id) == 0;
}

int
nodes_of_volume(const struct hash *commit, const char *volume_id)
{
	struct commit c;
	struct blob *b;
	int rc;

	if ((b = db_commit_get(manifest_db, commit)) == NULL)
		return errno == ENOENT ? 1 : -1;
	rc = commit_decode(b->data, b->len, &c) == NULL &&
	    is_of_volume(&c, volume_id);
	blob_unref(b);
	return rc;
}

const char *
nodes_take_bundle(const char *volume_id, const uint8_t *data, size_t len,
    struct hash *commit, int *complete)
{
	struct wire_bundle b;
	struct commit c;
	const char *why;

	if ((why = wire_bundle_open(&b, data, len)) != NULL)
		return why;
	if (b.commit_len > 0 &&
	    (why = commit_decode(b.commit_bytes, b.commit_len, &c)) != NULL)
		return why;
	/* An answer that was meant for another question, perhaps. */
	if (b.commit_len > 0 ? !is_of_volume(&c, volume_id)
			     : nodes_of_volume(&b.commit, volume_id) == 0)
		return "a commit of another volume";
	if (db_begin(manifest_db) == -1)
		return "the database does not take it";
	if ((why = take_nodes(&b)) != NULL)
		goto fail;
	why = "the database does not take it";
	if (b.commit_len > 0 && take_commit(&b) == -1)
		goto fail;
	if (db_commit(manifest_db) == -1)
		goto fail;
	*commit = b.commit;
	*complete = b.complete;
	return NULL;
fail:
	db_rollback(manifest_db);
	return why;
}

/* ---- questions ------------------------------------------------------------------ */

struct want_waiter {
	TAILQ_ENTRY(want_waiter) link;
	nodes_cb f;
	void *arg;
};

struct want {
	TAILQ_ENTRY(want) link;
	TAILQ_HEAD(, want_waiter) waiters;
	char volume_id[64];
	struct hash commit;
	uint8_t *path; /* and behind it `first' */
	size_t path_len, first_len;
	uint32_t number;
};
static TAILQ_HEAD(, want) wants = TAILQ_HEAD_INITIALIZER(wants);

static void
want_done(struct want *w, int error)
{
	struct want_waiter *x;

	TAILQ_REMOVE(&wants, w, link);
	while ((x = TAILQ_FIRST(&w->waiters)) != NULL) {
		TAILQ_REMOVE(&w->waiters, x, link);
		x->f(x->arg, error);
		free(x);
	}
	free(w->path);
	free(w);
}

static void
want_answer(void *arg, const struct server_answer *a)
{
	struct want *w = arg;
	struct hash commit;
	const char *why;
	char what[256], code[64];
	int complete;

	if (a->status != 200) {
		server_error(a, what, sizeof(what), code, sizeof(code));
		log_warnx("volume %s: nodes: %s", w->volume_id, what);
		want_done(w, a->status == 404 ? ENOENT : EIO);
		return;
	}
	why = nodes_take_bundle(w->volume_id, a->data, a->len, &commit,
	    &complete);
	if (why == NULL && hash_cmp(&commit, &w->commit) != 0)
		why = "nodes of another commit";
	if (why != NULL)
		log_warnx("volume %s: nodes: the server sent %s", w->volume_id,
		    why);
	want_done(w, why != NULL ? EIO : 0);
}

static struct want *
want_find(const char *volume_id, const struct hash *commit, const void *path,
    size_t len, const void *first, size_t first_len)
{
	struct want *w;

	TAILQ_FOREACH (w, &wants, link)
		if (hash_cmp(&w->commit, commit) == 0 && w->path_len == len &&
		    w->first_len == first_len &&
		    strcmp(w->volume_id, volume_id) == 0 &&
		    (len == 0 || memcmp(w->path, path, len) == 0) &&
		    (first_len == 0 ||
			memcmp(w->path + len, first, first_len) == 0))
			return w;
	return NULL;
}

static int
want_send(struct want *w, const struct hash *have)
{
	struct wire_nodes_req req;
	struct wbuf body;
	char target[128];
	int fd = -1;

	memset(&req, 0, sizeof(req));
	req.commit = w->commit;
	if (have != NULL) {
		req.has_have = 1;
		req.have = *have;
	}
	req.budget = NODES_BUDGET;
	req.depth = NODES_DEPTH;
	req.path = w->path;
	req.path_len = w->path_len;
	req.first = w->path + w->path_len;
	req.first_len = w->first_len;
	wbuf_init(&body, 64 * 1024);
	wire_nodes_req_encode(&body, &req);
	if (body.error == 0)
		fd = memfd_new("nodes", body.data, body.len);
	wbuf_free(&body);
	if (fd == -1)
		return -1;
	snprintf(target, sizeof(target), "/v1/volumes/%s/nodes", w->volume_id);
	w->number = server_request(3, target, WIRE_CONTENT_TYPE, fd, 1,
	    NODES_ANSWER_MAX, want_answer, w);
	return w->number == 0 ? -1 : 0;
}

static struct want *
want_new(const char *volume_id, const struct hash *commit, const void *path,
    size_t len, const void *first, size_t first_len)
{
	struct want *w;

	if ((w = calloc(1, sizeof(*w))) == NULL)
		return NULL;
	TAILQ_INIT(&w->waiters);
	snprintf(w->volume_id, sizeof(w->volume_id), "%s", volume_id);
	w->commit = *commit;
	w->path_len = len;
	w->first_len = first_len;
	if ((w->path = malloc(len + first_len + 1)) == NULL) {
		free(w);
		return NULL;
	}
	if (len > 0)
		memcpy(w->path, path, len);
	if (first_len > 0)
		memcpy(w->path + len, first, first_len);
	return w;
}

int
nodes_want(const char *volume_id, const struct hash *commit,
    const struct hash *have, const void *path, size_t len, const void *first,
    size_t first_len, nodes_cb f, void *arg)
{
	struct want_waiter *x;
	struct want *w;

	if ((x = calloc(1, sizeof(*x))) == NULL)
		return -1;
	x->f = f;
	x->arg = arg;
	w = want_find(volume_id, commit, path, len, first, first_len);
	if (w == NULL) {
		w = want_new(volume_id, commit, path, len, first, first_len);
		if (w == NULL || want_send(w, have) == -1) {
			if (w != NULL)
				free(w->path);
			free(w);
			free(x);
			return -1;
		}
		TAILQ_INSERT_TAIL(&wants, w, link);
	}
	TAILQ_INSERT_TAIL(&w->waiters, x, link);
	return 0;
}
