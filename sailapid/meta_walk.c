/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * meta_walk: the nodes of a tree that another one lacks, breadth first by
 * directory and in order of names within one, to a budget.  Both trees are
 * walked side by side, and what is equal is not looked into: the cost is that
 * of the difference.  In meta.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "sailapid/hashset.h"
#include "sailapid/meta.h"

#define BUNDLE_NODE_OVERHEAD 4 /* length of a node in a bundle */

struct walking {
	TAILQ_ENTRY(walking) entry;
	enum { WORK_DIR, WORK_CHUNKS, WORK_XATTRS } kind;
	struct hash root, old;
	int has_old;
	uint32_t depth;
};
TAILQ_HEAD(work_list, walking);

struct walk {
	const struct node_store *store;
	struct wire_bundle_writer *out;
	size_t budget, used;
	struct hashset sent;
	struct work_list work;
	/*
	 * Each answer must bring its client further, whatever the budget: the
	 * way to the first two leaves (the first one may end right before the
	 * name in question) goes beside it, and one more node always.
	 */
	int leaves;
	int forced;
	const uint8_t *first;
	size_t first_len;
	struct walking *dir; /* under way */
};

/*
 * The place in an old directory: of each level the index node last looked
 * into, with the child that was found there.  Names come mostly in order.
 */
struct old_level {
	struct blob *blob;
	struct hash hash;
	struct node_index index;
	struct node_child child; /* the first not below the name; or over */
	const uint8_t *prev;     /* last name of the child before; or NULL */
	size_t prev_len;
	int over;
};
struct old_dir {
	struct hash root;
	uint8_t level; /* of root */
	struct old_level levels[NODE_LEVEL_MAX + 1];
	struct tree_iter *iter; /* over its names */
	const uint8_t *name;
	size_t name_len;
	struct entry entry;
	int over;
};

static int
name_cmp(const uint8_t *a, size_t alen, const uint8_t *b, size_t blen)
{
	int r = memcmp(a, b, alen < blen ? alen : blen);

	return r != 0 ? r : (alen > blen) - (alen < blen);
}

static struct blob *
walk_get(struct walk *w, const struct hash *h)
{
	struct blob *b = w->store->get(w->store->ctx, h);

	if (b == NULL && errno == ENOENT)
		errno = ENODATA;
	return b;
}

/* 1: it is in the bundle now or was before; 0: the budget is used up; -1. */
static int
walk_emit(struct walk *w, const struct hash *h, const struct blob *b)
{
	size_t cost = b->len + BUNDLE_NODE_OVERHEAD;
	uint32_t index;

	if (hashset_has(&w->sent, h))
		return 1;
	if (!w->forced && w->used > 0 && w->used + cost > w->budget)
		return 0;
	if (hashset_add(&w->sent, h, &index) == -1)
		return -1;
	if (!w->forced)
		w->used += cost;
	wire_bundle_add(w->out, b->data, b->len);
	return 1;
}

static int
walk_push(struct walk *w, int kind, const struct hash *root,
    const struct hash *old, uint32_t depth)
{
	struct walking *k;

	if ((k = calloc(1, sizeof(*k))) == NULL)
		return -1;
	k->kind = kind;
	k->root = *root;
	if (old != NULL) {
		k->old = *old;
		k->has_old = 1;
	}
	k->depth = depth;
	TAILQ_INSERT_TAIL(&w->work, k, entry);
	return 0;
}

/* What hangs on an entry that is not as the old one. */
static int
walk_entry(struct walk *w, const struct entry *e, const struct entry *old)
{
	const struct hash *o = NULL;

	if (!hash_is_zero(&e->xattr_node) &&
	    (old == NULL || hash_cmp(&e->xattr_node, &old->xattr_node) != 0) &&
	    walk_push(w, WORK_XATTRS, &e->xattr_node, NULL, 0) == -1)
		return -1;
	if (e->type == ENTRY_FILE && e->chunk_form == CHUNKS_TREE) {
		if (old != NULL && old->type == ENTRY_FILE &&
		    old->chunk_form == CHUNKS_TREE)
			o = &old->chunk_root;
		if (o == NULL || hash_cmp(o, &e->chunk_root) != 0)
			return walk_push(w, WORK_CHUNKS, &e->chunk_root, o, 0);
	}
	if (e->type == ENTRY_DIR && w->dir != NULL && w->dir->depth > 0) {
		if (old != NULL && old->type == ENTRY_DIR)
			o = &old->root;
		if (o == NULL || hash_cmp(o, &e->root) != 0)
			return walk_push(w, WORK_DIR, &e->root, o,
			    w->dir->depth - 1);
	}
	return 0;
}

/* ---- the old directory --------------------------------------------------- */

/* 1, or 0 when it cannot be compared with: then all counts as new. */
static int
old_begin(struct walk *w, struct old_dir *o, const struct hash *root)
{
	struct node_index index;
	struct blob *b;
	uint8_t kind;
	int r = 0;

	memset(o, 0, sizeof(*o));
	o->root = *root;
	if ((b = walk_get(w, root)) == NULL)
		return 0;
	if (node_header(b->data, b->len, &kind) == NULL) {
		if (kind == NODE_LEAF)
			r = 1;
		else if (kind == NODE_INDEX &&
		    node_index_open(&index, b->data, b->len) == 0 &&
		    index.level <= NODE_LEVEL_MAX) {
			o->level = index.level;
			r = 1;
		}
	}
	blob_unref(b);
	return r;
}

static void
old_end(struct old_dir *o)
{
	size_t i;

	for (i = 0; i <= NODE_LEVEL_MAX; i++)
		blob_unref(o->levels[i].blob);
	if (o->iter != NULL)
		tree_iter_end(o->iter);
	memset(o, 0, sizeof(*o));
}

static int
old_level_open(struct old_level *l)
{
	l->prev = NULL;
	l->prev_len = 0;
	l->over = 0;
	memset(&l->child, 0, sizeof(l->child));
	return node_index_open(&l->index, l->blob->data, l->blob->len);
}

/* The child that holds name: 1, 0 none, -1. */
static int
old_child(struct walk *w, struct old_level *l, const struct hash *node,
    const uint8_t *name, size_t len)
{
	int r;

	if (l->blob == NULL || hash_cmp(&l->hash, node) != 0) {
		blob_unref(l->blob);
		if ((l->blob = walk_get(w, node)) == NULL)
			return -1;
		l->hash = *node;
		if (old_level_open(l) == -1)
			return -1;
	} else if (l->prev != NULL &&
	    name_cmp(name, len, l->prev, l->prev_len) <= 0 &&
	    old_level_open(l) == -1)
		return -1;
	while (!l->over &&
	    (l->child.last == NULL ||
		name_cmp(l->child.last, l->child.last_len, name, len) < 0)) {
		l->prev = l->child.last;
		l->prev_len = l->child.last_len;
		if ((r = node_index_next(&l->index, &l->child)) == -1)
			return -1;
		l->over = r == 0;
	}
	return !l->over;
}

/*
 * Has the old directory that very node?  One that it has ends with the same
 * name, so it is found by it.
 */
static int
old_has(struct walk *w, struct old_dir *o, uint8_t level,
    const struct node_child *c)
{
	struct hash node = o->root;
	uint8_t l;
	int r;

	if (o->level < level)
		return 0;
	for (l = o->level; l > level; l--) {
		r = old_child(w, &o->levels[l], &node, c->last, c->last_len);
		if (r != 1)
			return r;
		node = o->levels[l].child.hash;
	}
	return hash_cmp(&node, &c->hash) == 0;
}

#define OLD_STEPS 32 /* names to pass over before it is looked up again */

/* The entry of that name in the old directory; names come in order. */
static const struct entry *
old_entry(struct walk *w, struct old_dir *o, const uint8_t *name, size_t len)
{
	int i, r, c;

	for (i = 0; i <= OLD_STEPS && !o->over; i++) {
		if (o->iter == NULL || i == OLD_STEPS) {
			if (o->iter != NULL)
				tree_iter_end(o->iter);
			o->iter =
			    tree_iter_begin(w->store, &o->root, name, len, 0);
			o->name = NULL;
		}
		if (o->iter == NULL)
			return NULL;
		if (o->name != NULL) {
			c = name_cmp(o->name, o->name_len, name, len);
			if (c >= 0)
				return c == 0 ? &o->entry : NULL;
		}
		r = tree_iter_next(o->iter, &o->name, &o->name_len, &o->entry);
		o->over = r != 1;
	}
	if (o->over || o->name == NULL ||
	    name_cmp(o->name, o->name_len, name, len) != 0)
		return NULL;
	return &o->entry;
}

/* ---- a directory --------------------------------------------------------- */

static int
entry_matters(const struct entry *e)
{
	return e->type == ENTRY_DIR || !hash_is_zero(&e->xattr_node) ||
	    (e->type == ENTRY_FILE && e->chunk_form == CHUNKS_TREE);
}

static int
walk_leaf(struct walk *w, const struct blob *b, struct old_dir *old)
{
	struct node_leaf leaf;
	struct entry e;
	const uint8_t *name;
	size_t len;
	int r;

	if (node_leaf_open(&leaf, b->data, b->len) == -1)
		return -1;
	while ((r = node_leaf_next(&leaf, &name, &len, &e)) == 1) {
		if (!entry_matters(&e) ||
		    name_cmp(name, len, w->first, w->first_len) < 0)
			continue;
		if (walk_entry(w, &e,
			old == NULL ? NULL : old_entry(w, old, name, len)) ==
		    -1)
			return -1;
	}
	return r == 0 ? 1 : -1;
}

/* 1: all of it; 0: the budget ended it; -1. */
static int
walk_node(struct walk *w, const struct hash *hash, struct old_dir *old,
    int level)
{
	struct node_index index;
	struct node_child c;
	struct blob *b;
	uint8_t kind;
	int r;

	if ((b = walk_get(w, hash)) == NULL)
		return -1;
	if ((r = walk_emit(w, hash, b)) != 1)
		goto out;
	r = -1;
	errno = EBADMSG;
	if (node_header(b->data, b->len, &kind) != NULL)
		goto out;
	if (kind == NODE_LEAF) {
		if (++w->leaves == 2)
			w->forced = 0;
		r = walk_leaf(w, b, old);
		goto out;
	}
	if (kind != NODE_INDEX ||
	    node_index_open(&index, b->data, b->len) == -1 ||
	    (level != -1 && index.level != level) ||
	    index.level > NODE_LEVEL_MAX || index.level == 0)
		goto out;
	while ((r = node_index_next(&index, &c)) == 1) {
		if (name_cmp(c.last, c.last_len, w->first, w->first_len) < 0)
			continue;
		/* An old node that is gone is no reason to fail. */
		if (old != NULL &&
		    old_has(w, old, (uint8_t)(index.level - 1), &c) == 1)
			continue;
		if ((r = walk_node(w, &c.hash, old, index.level - 1)) != 1)
			goto out;
	}
	r = r == 0 ? 1 : -1;
out:
	blob_unref(b);
	return r;
}

static int
walk_dir(struct walk *w, struct walking *k)
{
	struct old_dir old;
	int has_old, r;

	if (k->has_old && hash_cmp(&k->root, &k->old) == 0)
		return 1;
	has_old = k->has_old && old_begin(w, &old, &k->old);
	w->dir = k;
	r = walk_node(w, &k->root, has_old ? &old : NULL, -1);
	w->dir = NULL;
	if (has_old)
		old_end(&old);
	/* Only the directory that was asked for has a first name. */
	w->first_len = 0;
	return r;
}

/* ---- chunk trees --------------------------------------------------------- */

struct chunk_nodes {
	struct walk *walk;
	struct hashset *set;
	const struct hashset *skip;
};

static int
chunk_child(void *arg, const struct hash *h, uint8_t kind)
{
	struct chunk_nodes *c = arg;
	uint32_t index;

	(void)kind;
	if (c->skip != NULL && hashset_has(c->skip, h))
		return 0;
	return hashset_add(c->set, h, &index) == -1 ? -1 : 0;
}

/* All nodes of the old tree but those of its lowest level: what they name is
   what the new tree may share. */
static int
chunk_old(struct walk *w, const struct hash *root, struct hashset *set)
{
	struct chunk_nodes c = { w, set, NULL };
	struct blob *b;
	uint32_t i, index;
	uint8_t kind;
	int r;

	if (hashset_add(set, root, &index) == -1)
		return -1;
	for (i = 0; i < set->n; i++) {
		if ((b = walk_get(w, &set->keys[i])) == NULL)
			return 0;
		r = 0;
		if (node_header(b->data, b->len, &kind) != NULL ||
		    kind != NODE_CHUNK_INDEX)
			kind = NODE_CHUNK_LEAF;
		else
			r = node_references(b->data, b->len, chunk_child, &c);
		blob_unref(b);
		/* Its first leaf: all that follow are leaves. */
		if (r == -1 || kind == NODE_CHUNK_LEAF)
			return r;
	}
	return 0;
}

/* A tree of chunk nodes, level by level, or an attribute node. */
static int
walk_chunks(struct walk *w, const struct walking *k)
{
	struct hashset todo, skip;
	struct chunk_nodes c = { w, &todo, &skip };
	struct blob *b;
	uint32_t i, index;
	int r = -1;

	hashset_init(&todo);
	hashset_init(&skip);
	if ((k->has_old && chunk_old(w, &k->old, &skip) == -1) ||
	    (!hashset_has(&skip, &k->root) &&
		hashset_add(&todo, &k->root, &index) == -1))
		goto out;
	for (i = 0, r = 1; i < todo.n && r == 1; i++) {
		if ((b = walk_get(w, &todo.keys[i])) == NULL) {
			r = -1;
			break;
		}
		r = walk_emit(w, &todo.keys[i], b);
		w->forced = 0;
		if (r == 1 &&
		    node_references(b->data, b->len, chunk_child, &c) == -1)
			r = -1;
		blob_unref(b);
	}
out:
	hashset_free(&todo);
	hashset_free(&skip);
	return r;
}

/*
 * The extended attributes of the directory itself hang on none of its leaves:
 * who asks from its first name on gets them, beside the budget.
 */
static int
walk_own_xattrs(struct walk *w, const struct walk_target *t)
{
	const struct hash *h = &t->entry->xattr_node;
	struct blob *b;
	int r;

	if (w->first_len > 0 || hash_is_zero(h) ||
	    (t->old != NULL && hash_cmp(h, &t->old->xattr_node) == 0))
		return 0;
	if ((b = walk_get(w, h)) == NULL)
		return -1;
	r = walk_emit(w, h, b);
	blob_unref(b);
	return r == 1 ? 0 : -1;
}

static int
walk_begin(struct walk *w, const struct walk_target *t)
{
	const struct hash *old = NULL;

	if (t->entry->type != ENTRY_DIR)
		return walk_entry(w, t->entry, t->old);
	if (t->old != NULL && t->old->type == ENTRY_DIR)
		old = &t->old->root;
	if (walk_push(w, WORK_DIR, &t->entry->root, old, t->depth) == -1)
		return -1;
	return walk_own_xattrs(w, t);
}

/*
 * The directory in question gets half of the budget, when what is below is
 * wanted: so a client that lists a very wide one gets on with its
 * subdirectories too, many in one answer, from the name on that it asks for.
 */
int
meta_walk(const struct walk_target *t, struct wire_bundle_writer *out)
{
	struct walk w;
	struct walking *k;
	int r, top = 1, partial = 0;

	memset(&w, 0, sizeof(w));
	w.store = t->store;
	w.out = out;
	w.budget = t->budget;
	w.first = t->first == NULL ? (const uint8_t *)"" : t->first;
	w.first_len = t->first_len;
	w.forced = 1;
	hashset_init(&w.sent);
	TAILQ_INIT(&w.work);
	r = walk_begin(&w, t) == -1 ? -1 : 1;
	if (t->entry->type == ENTRY_DIR && t->depth > 0)
		w.budget /= 2;
	while ((k = TAILQ_FIRST(&w.work)) != NULL) {
		TAILQ_REMOVE(&w.work, k, entry);
		if (r == 1)
			r = k->kind == WORK_DIR ? walk_dir(&w, k)
						: walk_chunks(&w, k);
		if (top && r == 0 && t->depth > 0) {
			partial = 1;
			r = 1;
		}
		if (top) {
			/* What had to go beside it does not count here. */
			if (w.used < w.budget)
				w.budget = t->budget - w.used;
			w.used = 0;
		}
		top = 0;
		/* What was asked for is on its way: from here the budget. */
		w.forced = 0;
		free(k);
	}
	hashset_free(&w.sent);
	return r == 1 && partial ? 0 : r;
}
