/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * view: commits of a volume, entries by path in their trees, and what a key
 * that is limited to a path sees of them.  In meta, and in commands of the
 * parent.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "sailapid/view.h"

#define WAY_MODE 0755
#define WAY_FILEID 2

struct made_node {
	struct hash hash;
	struct blob *blob;
};

/* ---- commits and paths --------------------------------------------------- */

struct blob *
commit_load(struct db *db, const struct db_volume *v, const struct hash *hash,
    struct commit *c)
{
	struct blob *b;
	const char *why;

	if ((b = db_commit_get(db, v->id, hash)) == NULL)
		return NULL;
	if ((why = commit_decode(b->data, b->len, c)) == NULL)
		return b;
	db_warn("volume %s: a commit: %s", v->name, why);
	blob_unref(b);
	errno = EIO;
	return NULL;
}

static int
find_failed(const struct hash *missing)
{
	char hex[HASH_HEX_LEN + 1];

	if (errno == ENODATA) {
		hash_hex(missing, hex);
		db_warn("node %s is missing", hex);
		errno = EIO;
	} else if (errno == EBADMSG) {
		db_warn("a node is damaged");
		errno = EIO;
	}
	return -1;
}

/* Bytes of the first name of a path. */
static size_t
first_name(const uint8_t *path, size_t len)
{
	const uint8_t *slash = len == 0 ? NULL : memchr(path, '/', len);

	return slash == NULL ? len : (size_t)(slash - path);
}

int
tree_find(const struct node_store *store, const struct entry *root,
    const uint8_t *path, size_t len, struct entry *e, struct blob **keep)
{
	const uint8_t *end = path + len;
	struct blob *blob;
	struct hash missing, dir;
	size_t n;
	int r;

	*keep = NULL;
	*e = *root;
	while (path < end) {
		if (e->type != ENTRY_DIR) {
			blob_unref(*keep);
			*keep = NULL;
			errno = ENOENT;
			return -1;
		}
		n = first_name(path, (size_t)(end - path));
		dir = e->root;
		r = tree_lookup(store, &dir, path, n, e, &blob, &missing);
		blob_unref(*keep);
		*keep = NULL;
		if (r == -1)
			return find_failed(&missing);
		*keep = blob;
		path += n;
		if (path < end)
			path++;
	}
	return 0;
}

int
view_has_dir(struct db *db, const struct db_volume *v, const uint8_t *path,
    size_t len)
{
	struct db_nodes nodes;
	struct blob *b, *keep;
	struct commit c;
	struct entry e;
	int r = 0;

	db_nodes_init(&nodes, db, v->family);
	if ((b = commit_load(db, v, &v->head, &c)) == NULL)
		return -1;
	if (tree_find(&nodes.store, &c.root, path, len, &e, &keep) == 0) {
		r = e.type == ENTRY_DIR;
		blob_unref(keep);
	} else if (errno != ENOENT)
		r = -1;
	blob_unref(b);
	return r;
}

/* ---- the view ------------------------------------------------------------ */

static struct blob *
view_get(void *ctx, const struct hash *hash)
{
	struct view *v = ctx;
	size_t i;

	for (i = 0; i < v->nmade; i++)
		if (hash_cmp(&v->made[i].hash, hash) == 0)
			return blob_ref(v->made[i].blob);
	return v->nodes.store.get(v->nodes.store.ctx, hash);
}

static int
view_put(void *ctx, const struct hash *hash, const uint8_t *data, size_t len)
{
	(void)ctx;
	(void)hash;
	(void)data;
	(void)len;
	errno = EROFS;
	return -1;
}

void
view_init(struct view *v, struct db *db, const struct db_volume *vol,
    const struct db_grant *grant)
{
	memset(v, 0, sizeof(*v));
	v->db = db;
	v->vol = vol;
	db_nodes_init(&v->nodes, db, vol->family);
	v->store = v->nodes.store;
	if (grant == NULL || grant->len == 0)
		return;
	v->path = grant->path;
	v->len = grant->len;
	v->store.get = view_get;
	v->store.put = view_put;
	v->store.ctx = v;
}

void
view_free(struct view *v)
{
	while (v->nmade > 0)
		blob_unref(v->made[--v->nmade].blob);
	free(v->made);
	v->made = NULL;
}

int
view_is_cut(const struct view *v)
{
	return v->path != NULL;
}

/* ---- a commit that is cut ------------------------------------------------ */

/* A directory of one name: its node, and *dir is what names it. */
static int
make_way(struct view *v, const uint8_t *name, size_t len, const struct entry *e,
    struct entry *dir)
{
	struct made_node *grown, *m;
	struct wbuf w;
	int r = -1;

	grown = reallocarray(v->made, v->nmade + 1, sizeof(*grown));
	if (grown == NULL)
		return -1;
	v->made = grown;
	m = &grown[v->nmade];
	wbuf_init(&w, NODE_MAX_BYTES);
	node_leaf_begin(&w);
	node_leaf_add(&w, name, len, e);
	node_leaf_end(&w, 1);
	if (w.error != 0)
		errno = w.error;
	else if ((m->blob = blob_new(w.data, w.len)) != NULL) {
		hash_bytes(&m->hash, w.data, w.len);
		v->nmade++;
		memset(dir, 0, sizeof(*dir));
		dir->type = ENTRY_DIR;
		dir->mode = WAY_MODE;
		dir->fileid = WAY_FILEID;
		dir->root = m->hash;
		dir->files = e->files;
		dir->bytes = e->bytes;
		r = 0;
	}
	wbuf_free(&w);
	return r;
}

/* The root directory, with the way to the path alone. */
static int
cut_root(struct view *v, const struct entry *root, struct entry *cut)
{
	struct blob *keep;
	struct entry e;
	size_t at = v->len, end;
	int r = 0;

	if (tree_find(&v->nodes.store, root, v->path, v->len, &e, &keep) ==
	    -1) {
		if (errno != ENOENT)
			return -1;
		keep = NULL;
		e.type = 0;
	}
	if (e.type != ENTRY_DIR) {
		memset(cut, 0, sizeof(*cut));
		cut->type = ENTRY_DIR;
		cut->mode = WAY_MODE;
		cut->fileid = WAY_FILEID;
		tree_empty_root(&cut->root);
		at = 0;
	}
	while (at > 0 && r == 0) {
		for (end = at; at > 0 && v->path[at - 1] != '/'; at--)
			;
		r = make_way(v, v->path + at, end - at, &e, cut);
		e = *cut;
		if (at > 0)
			at--;
	}
	blob_unref(keep);
	return r;
}

/* words: with its author, message and counts. */
static struct blob *
cut_commit(struct view *v, const struct commit *whole, int words,
    struct commit *c)
{
	struct blob *b = NULL;
	struct wbuf w;

	*c = *whole;
	c->tail = NULL;
	c->tail_len = 0;
	if (!words) {
		c->author = c->message = (const uint8_t *)"";
		c->author_len = c->message_len = 0;
		c->puts = c->deletes = c->overwritten = 0;
	}
	if (cut_root(v, &whole->root, &c->root) == -1)
		return NULL;
	wbuf_init(&w, NODE_MAX_BYTES);
	commit_encode(&w, c);
	if (w.error != 0)
		errno = w.error;
	else if ((b = blob_new(w.data, w.len)) != NULL &&
	    commit_decode(b->data, b->len, c) != NULL) {
		db_warn("volume %s: a commit that was cut", v->vol->name);
		blob_unref(b);
		b = NULL;
		errno = EIO;
	}
	wbuf_free(&w);
	return b;
}

struct blob *
view_commit(struct view *v, const struct hash *hash, struct commit *c)
{
	struct blob *b, *cut;
	struct commit whole;

	b = commit_load(v->db, v->vol, hash, view_is_cut(v) ? &whole : c);
	if (b == NULL || !view_is_cut(v))
		return b;
	cut = cut_commit(v, &whole, 0, c);
	blob_unref(b);
	return cut;
}

/* ---- what a commit did --------------------------------------------------- */

static int
same_entry(const struct entry *a, const struct entry *b)
{
	struct wbuf x, y;
	int r = -1;

	wbuf_init(&x, NODE_MAX_BYTES);
	wbuf_init(&y, NODE_MAX_BYTES);
	entry_encode(&x, a);
	entry_encode(&y, b);
	if (x.error == 0 && y.error == 0)
		r = x.len == y.len && memcmp(x.data, y.data, x.len) == 0;
	else
		errno = x.error != 0 ? x.error : y.error;
	wbuf_free(&x);
	wbuf_free(&y);
	return r;
}

struct other_name {
	const uint8_t *name;
	size_t len;
	int found;
};

static int
not_the_way(void *arg, const uint8_t *name, size_t len, const struct entry *a,
    const struct entry *b)
{
	struct other_name *o = arg;

	(void)a;
	(void)b;
	if (len == o->len && memcmp(name, o->name, len) == 0)
		return 0;
	o->found = 1;
	errno = ECANCELED;
	return -1;
}

/* The directories differ in that name alone: 1, 0, -1. */
static int
differ_there(struct view *v, const struct entry *a, const struct entry *b,
    const uint8_t *name, size_t len)
{
	struct other_name o = { name, len, 0 };
	struct hash x, y;

	/* Their times and sums are those of what is below. */
	entry_attr_hash(a, &x);
	entry_attr_hash(b, &y);
	if (hash_cmp(&x, &y) != 0)
		return 0;
	if (tree_diff(&v->nodes.store, &a->root, &b->root, not_the_way, &o) ==
		-1 &&
	    !o.found)
		return -1;
	return !o.found;
}

/* The directory at the first len bytes of the path: 1, 0 there is none, -1. */
static int
way_there(struct view *v, const struct entry *root, size_t len, struct entry *e,
    struct blob **keep)
{
	blob_unref(*keep);
	if (tree_find(&v->nodes.store, root, v->path, len, e, keep) == -1)
		return errno == ENOENT ? 0 : -1;
	return e->type == ENTRY_DIR;
}

/* Two trees differ at the path or below it alone: 1, 0, -1. */
static int
differ_below(struct view *v, const struct entry *a, const struct entry *b)
{
	struct blob *akeep = NULL, *bkeep = NULL;
	struct entry x = *a, y = *b;
	size_t at = 0, n;
	int r;

	do {
		n = first_name(v->path + at, v->len - at);
		r = differ_there(v, &x, &y, v->path + at, n);
		at += n + 1;
		if (r != 1 || at > v->len)
			break;
		/* A directory on the way that came or went is not the key's. */
		r = way_there(v, a, at - 1, &x, &akeep);
		if (r == 1)
			r = way_there(v, b, at - 1, &y, &bkeep);
	} while (r == 1);
	blob_unref(akeep);
	blob_unref(bkeep);
	return r;
}

/* Of the trees of a commit and its parent. */
static int
change_of(struct view *v, const struct entry *a, const struct entry *b,
    enum view_change *change)
{
	struct blob *akeep = NULL, *bkeep = NULL;
	struct entry x, y;
	int has_a, has_b = 0, r = -1;

	/* Of what is no directory there the key sees nothing. */
	if ((has_a = way_there(v, a, v->len, &x, &akeep)) != -1 &&
	    (has_b = way_there(v, b, v->len, &y, &bkeep)) != -1)
		r = has_a && has_b ? same_entry(&x, &y) : has_a == has_b;
	blob_unref(akeep);
	blob_unref(bkeep);
	if (r == -1)
		return -1;
	*change = VIEW_NOTHING;
	if (r == 1)
		return 0;
	if ((r = differ_below(v, a, b)) == -1)
		return -1;
	*change = r == 1 ? VIEW_ALL : VIEW_PART;
	return 0;
}

struct blob *
view_history(struct view *v, const struct hash *hash, struct commit *c,
    enum view_change *change)
{
	struct blob *b, *parent = NULL, *cut = NULL;
	struct commit whole, before;
	struct entry nothing;
	int r;

	*change = VIEW_ALL;
	if (!view_is_cut(v))
		return view_commit(v, hash, c);
	if ((b = commit_load(v->db, v->vol, hash, &whole)) == NULL)
		return NULL;
	if (whole.has_parent) {
		parent = commit_load(v->db, v->vol, &whole.parent, &before);
		r = parent == NULL
		    ? -1
		    : change_of(v, &before.root, &whole.root, change);
	} else {
		/* It made the root, which is not the key's. */
		memset(&nothing, 0, sizeof(nothing));
		nothing.type = ENTRY_DIR;
		tree_empty_root(&nothing.root);
		r = change_of(v, &nothing, &whole.root, change);
		if (*change == VIEW_ALL)
			*change = VIEW_PART;
	}
	if (r == 0)
		cut = cut_commit(v, &whole, *change == VIEW_ALL, c);
	blob_unref(parent);
	blob_unref(b);
	return cut;
}
