/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * remote: nodes of a commit by path (sailapi(7), TREES), kept in memory, so
 * that what was looked at once is not asked for again.  In sailvolctl.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/fetch_imsg.h"
#include "lib/json_name.h"
#include "lib/tree.h"
#include "lib/wire.h"
#include "sailvolctl/api.h"
#include "sailvolctl/fetch.h"
#include "sailvolctl/remote.h"

#define TARGET_MAX 256
#define FIND_BUDGET (256 * 1024)
#define LIST_BUDGET (2 * 1024 * 1024)
#define KEPT_BYTES ((size_t)64 * 1024 * 1024) /* then all is forgotten */

/* Nodes by hash: open addressing. */
struct kept {
	struct {
		struct hash hash;
		struct blob *blob; /* NULL: free */
	} * v;
	size_t cap, n, bytes;
};

struct remote {
	char volume[129];
	struct hash id;
	struct blob *bytes; /* of the commit */
	struct commit commit;
	struct kept kept;
	struct node_store store;
	/* the key sees that directory alone; or NULL */
	char *limit;
	size_t limit_len;
	int cut; /* so the server says of the commit */
};

/* ---- what is here ---------------------------------------------------------------- */

static size_t
kept_slot(const struct kept *k, const struct hash *h)
{
	uint64_t n;
	size_t i;

	memcpy(&n, h->b, sizeof(n));
	for (i = n & (k->cap - 1); k->v[i].blob != NULL;
	     i = (i + 1) & (k->cap - 1))
		if (hash_cmp(&k->v[i].hash, h) == 0)
			break;
	return i;
}

static void
kept_clear(struct kept *k)
{
	size_t i;

	for (i = 0; i < k->cap; i++)
		blob_unref(k->v[i].blob);
	free(k->v);
	memset(k, 0, sizeof(*k));
}

static int
kept_grow(struct kept *k)
{
	struct kept bigger = { .cap = k->cap == 0 ? 256 : 2 * k->cap };
	size_t i, at;

	if ((bigger.v = calloc(bigger.cap, sizeof(*bigger.v))) == NULL)
		return -1;
	for (i = 0; i < k->cap; i++) {
		if (k->v[i].blob == NULL)
			continue;
		at = kept_slot(&bigger, &k->v[i].hash);
		bigger.v[at] = k->v[i];
	}
	free(k->v);
	k->v = bigger.v;
	k->cap = bigger.cap;
	return 0;
}

static int
kept_add(struct kept *k, const struct hash *h, const uint8_t *p, size_t len)
{
	size_t at;

	if (2 * (k->n + 1) > k->cap && kept_grow(k) == -1)
		return -1;
	at = kept_slot(k, h);
	if (k->v[at].blob != NULL)
		return 0;
	if ((k->v[at].blob = blob_new(p, len)) == NULL)
		return -1;
	k->v[at].hash = *h;
	k->n++;
	k->bytes += len;
	return 0;
}

static struct blob *
store_get(void *ctx, const struct hash *h)
{
	const struct kept *k = ctx;
	size_t at;

	if (k->cap > 0 && k->v[at = kept_slot(k, h)].blob != NULL)
		return blob_ref(k->v[at].blob);
	errno = ENOENT;
	return NULL;
}

/* Nobody changes a commit. */
static int
store_put(void *ctx, const struct hash *h, const uint8_t *p, size_t len)
{
	(void)ctx;
	(void)h;
	(void)p;
	(void)len;
	errno = EROFS;
	return -1;
}

/* ---- what is asked for -------------------------------------------------------------- */

static void
bad_answer(struct failure *f, const char *why)
{
	failure_set(f, "", "answer", "nodes: the server's answer: %s", why);
}

/* The commit itself, in the first answer. */
static int
take_commit(struct remote *r, const struct wire_bundle *b, struct failure *f)
{
	const char *why = "without the commit";

	if (hash_cmp(&b->commit, &r->id) != 0)
		why = "another commit";
	else if (b->commit_len > 0 &&
	    (r->bytes = blob_new(b->commit_bytes, b->commit_len)) != NULL)
		why = commit_decode(r->bytes->data, r->bytes->len, &r->commit);
	r->cut = b->cut;
	if (why != NULL)
		bad_answer(f, why);
	return why != NULL ? -1 : 0;
}

static int
take_bundle(struct remote *r, const struct memfd_view *v, struct failure *f)
{
	struct wire_bundle b;
	const uint8_t *p;
	const char *why;
	struct hash h;
	size_t len;
	uint8_t kind;
	int rc;

	if ((why = wire_bundle_open(&b, v->data, v->len)) != NULL) {
		bad_answer(f, why);
		return -1;
	}
	if (r->bytes == NULL && take_commit(r, &b, f) == -1)
		return -1;
	if (r->kept.bytes > KEPT_BYTES)
		kept_clear(&r->kept);
	while ((rc = wire_bundle_next(&b, &p, &len, &h, &kind)) == 1)
		if (kept_add(&r->kept, &h, p, len) == -1) {
			return failure_memory(f);
		}
	if (rc == -1)
		bad_answer(f, b.r.error != NULL ? b.r.error : "malformed");
	return rc;
}

static int
ask_nodes(struct remote *r, const void *path, size_t len, const void *first,
    size_t first_len, uint16_t depth, uint32_t budget, struct failure *f)
{
	struct wire_nodes_req q = { .commit = r->id,
		.budget = budget,
		.depth = depth,
		.path = path,
		.path_len = len,
		.first = first,
		.first_len = first_len };
	struct memfd_view v;
	char target[TARGET_MAX];
	struct wbuf w;
	int rc = -1;

	wbuf_init(&w, 64 * 1024);
	wire_nodes_req_encode(&w, &q);
	snprintf(target, sizeof(target), "/v1/volumes/%s/nodes", r->volume);
	if (w.error != 0)
		failure_set(f, "", "memory", "%s", strerror(w.error));
	else if (api_post(target, w.data, w.len, &v, f) == 0) {
		rc = take_bundle(r, &v, f);
		memfd_unmap(&v);
	}
	wbuf_free(&w);
	return rc;
}

/* Nodes lack: 0 after they were asked for; else failure is set.  *missing is
   what the last answer should have brought. */
static int
want_nodes(struct remote *r, const void *path, size_t len, const void *first,
    size_t first_len, uint16_t depth, uint32_t budget,
    const struct hash *missing, struct failure *f)
{
	struct blob *b;

	if (errno != ENODATA) {
		failure_set(f, "", "nodes", "a directory of the commit: %s",
		    errno == EBADMSG ? "damaged" : strerror(errno));
		return -1;
	}
	if (ask_nodes(r, path, len, first, first_len, depth, budget, f) == -1)
		return -1;
	if ((b = store_get(&r->kept, missing)) == NULL) {
		bad_answer(f, "does not bring what was asked for");
		return -1;
	}
	blob_unref(b);
	return 0;
}

/* ---- a commit ------------------------------------------------------------------------- */

/* What the server says of the volume: its newest commit, which is taken if none
   was named, and what the key is for. */
static int
ask_volume(const struct invocation *inv, struct remote *r, int head,
    struct failure *f)
{
	char target[TARGET_MAX];
	const char *text;
	json_t *j;
	int rc = -1;

	snprintf(target, sizeof(target), "/v1/volumes/%s", r->volume);
	j = api_request(inv, FETCH_METHOD_GET, 1, target, NULL, f);
	if (j == NULL)
		return -1;
	text = json_string_value(json_object_get(j, "head"));
	free(r->limit);
	r->limit = json_name_get(json_object_get(j, "path"), &r->limit_len);
	if (!head)
		rc = 0;
	else if (text == NULL || hash_parse(&r->id, text, strlen(text)) == -1)
		bad_answer(f, "no head of the volume");
	else
		rc = 0;
	json_decref(j);
	return rc;
}

struct remote *
remote_open(const struct invocation *inv, const char *volume,
    const struct hash *commit, struct failure *f)
{
	struct remote *r;

	if (api_direct(inv, f) == -1)
		return NULL;
	if ((r = calloc(1, sizeof(*r))) == NULL) {
		failure_memory(f);
		return NULL;
	}
	strlcpy(r->volume, volume, sizeof(r->volume));
	r->store.get = store_get;
	r->store.put = store_put;
	r->store.ctx = &r->kept;
	if (commit != NULL)
		r->id = *commit;
	if ((commit == NULL && ask_volume(inv, r, 1, f) == -1) ||
	    ask_nodes(r, "", 0, "", 0, 0, FIND_BUDGET, f) == -1 ||
	    (r->cut && r->limit == NULL && ask_volume(inv, r, 0, f) == -1)) {
		remote_free(r);
		return NULL;
	}
	return r;
}

void
remote_free(struct remote *r)
{
	if (r == NULL)
		return;
	kept_clear(&r->kept);
	blob_unref(r->bytes);
	free(r->limit);
	free(r);
}

const char *
remote_volume(const struct remote *r)
{
	return r->volume;
}

int
remote_allows(const struct remote *r, const void *path, size_t len,
    struct failure *f)
{
	if (r->limit == NULL ||
	    path_is_below(path, len, r->limit, r->limit_len))
		return 0;
	failure_set(f, "permission", "key_limited",
	    "volume %s: the key is limited to a directory of it: %s:/%s",
	    r->volume, r->volume, r->limit);
	return -1;
}

const struct hash *
remote_id(const struct remote *r)
{
	return &r->id;
}

const struct commit *
remote_commit(const struct remote *r)
{
	return &r->commit;
}

/* ---- paths ----------------------------------------------------------------------------- */

static int
not_there(const struct remote *r, const uint8_t *path, size_t len,
    struct failure *f)
{
	char hex[HASH_HEX_LEN + 1];

	hash_hex(&r->id, hex);
	failure_set(f, "not_found", "path_not_found",
	    "%.*s: not in commit %.12s of volume %s", (int)len,
	    (const char *)path, hex, r->volume);
	return -1;
}

/* One name of the directory dir, which is at the path up to at. */
static int
find_name(struct remote *r, const uint8_t *path, size_t at, size_t len,
    const struct hash *dir, size_t n, struct entry *e, struct blob **blob,
    struct failure *f)
{
	const uint8_t *name = path + at + (at > 0), *p;
	struct hash missing;
	uint16_t below = 0;

	for (p = name; p < path + len; p++)
		below += *p == '/';
	while (tree_lookup(&r->store, dir, name, n, e, blob, &missing) == -1) {
		if (errno == ENOENT)
			return not_there(r, path, len, f);
		/* With what is on the way, if there is room. */
		if (want_nodes(r, path, at, name, n, below, FIND_BUDGET,
			&missing, f) == -1)
			return -1;
	}
	return 0;
}

int
remote_find(struct remote *r, const void *where, size_t len, struct entry *e,
    struct blob **keep, struct failure *f)
{
	const uint8_t *path = where, *slash;
	size_t at = 0, from = 0, n;
	struct blob *blob;
	struct hash dir;

	*keep = NULL;
	*e = r->commit.root;
	while (from < len) {
		if (e->type != ENTRY_DIR) {
			blob_unref(*keep);
			*keep = NULL;
			return not_there(r, path, len, f);
		}
		slash = memchr(path + from, '/', len - from);
		n = slash != NULL ? (size_t)(slash - path) - from : len - from;
		dir = e->root;
		if (find_name(r, path, at, len, &dir, n, e, &blob, f) == -1) {
			blob_unref(*keep);
			*keep = NULL;
			return -1;
		}
		blob_unref(*keep);
		*keep = blob;
		at = from + n;
		from = at + 1;
	}
	return 0;
}

/* From the name that is behind last on: 0 the end, 1 nodes lack, -1. */
static int
each_from(struct remote *r, const struct hash *dir, uint8_t *last,
    size_t *last_len, struct hash *missing, remote_cb cb, void *arg,
    struct failure *f)
{
	struct tree_iter *it;
	const uint8_t *name;
	struct entry e;
	size_t len;
	int rc, saved;

	it = tree_iter_begin(&r->store, dir, last, *last_len, *last_len > 0);
	if (it == NULL) {
		return failure_memory(f);
	}
	while ((rc = tree_iter_next(it, &name, &len, &e)) == 1) {
		memcpy(last, name, len);
		*last_len = len;
		if (cb(arg, name, len, &e, f) == -1) {
			tree_iter_end(it);
			return -1;
		}
	}
	saved = errno;
	if (rc == -1 && errno == ENODATA)
		*missing = *tree_iter_missing(it);
	tree_iter_end(it);
	errno = saved;
	return rc == -1 ? 1 : 0;
}

int
remote_each(struct remote *r, const void *path, size_t len,
    const struct entry *dir, remote_cb cb, void *arg, struct failure *f)
{
	struct hash root = dir->root, missing;
	uint8_t last[SAIL_NAME_MAX];
	size_t n = 0;
	int rc;

	while ((rc = each_from(r, &root, last, &n, &missing, cb, arg, f)) == 1)
		if (want_nodes(r, path, len, last, n, SAIL_DEPTH_MAX,
			LIST_BUDGET, &missing, f) == -1)
			return -1;
	return rc;
}

/* ---- files -------------------------------------------------------------------------------- */

struct chunklist *
remote_chunks(struct remote *r, const void *path, size_t len,
    const struct entry *e, struct failure *f)
{
	struct chunklist *l;
	struct hash missing;

	while ((l = chunklist_from_entry(e, &r->store, FETCH_CHUNKS_MAX,
		    &missing)) == NULL) {
		if (errno == EFBIG) {
			failure_set(f, "too_large", "too_many_chunks",
			    "%.*s: it has more than %lu chunks, which only a "
			    "mount of the volume reads",
			    (int)len, (const char *)path, FETCH_CHUNKS_MAX);
			return NULL;
		}
		if (want_nodes(r, path, len, "", 0, 0, WIRE_BUDGET_MAX,
			&missing, f) == -1)
			return NULL;
	}
	return l;
}

int
remote_xattrs(struct remote *r, const void *path, size_t len, struct entry *e,
    struct blob **keep, struct failure *f)
{
	struct hash missing;

	while (node_xattrs_load(&r->store, e, keep, &missing) == -1)
		if (want_nodes(r, path, len, "", 0, 0, FIND_BUDGET, &missing,
			f) == -1)
			return -1;
	return 0;
}
