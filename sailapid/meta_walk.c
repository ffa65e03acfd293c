/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * meta_walk: the nodes of a tree that another one lacks, breadth first by
 * directory and in order of names within one, to a budget.  Both trees are
 * walked side by side, and what is equal is not looked into: the cost is that
 * of the difference.  A node is looked into once, however often it is named:
 * directories may be equal a thousand times on each level.  In meta.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "sailapid/hashset.h"
#include "sailapid/meta.h"

#define BUNDLE_NODE_OVERHEAD 4 /* length of a node in a bundle */
/*
 * Nodes of the old tree that are looked at, and those for each that is sent:
 * after that all counts as new.
 */
#define LOOKS_FREE 65536
#define LOOKS_EACH 16
#define LOOKS_SEARCH 4 /* of a name from the root of a directory */

struct walking {
	TAILQ_ENTRY(walking) entry;
	enum { WORK_DIR, WORK_CHUNKS, WORK_XATTRS } kind;
	struct hash root, old;
	int has_old;
	uint32_t depth;
};
TAILQ_HEAD(work_list, walking);

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

struct meta_walk {
	const struct node_store *store;
	struct wire_bundle_writer *out;
	size_t whole; /* budget */
	size_t budget, used;
	int below; /* what is below the directory is wanted */
	struct hashset sent;
	uint64_t looks; /* at nodes of the old tree */
	struct work_list work;
	int top;     /* what was asked for is under way */
	int partial; /* it was not all */
	/*
	 * Each answer must bring its client further, whatever the budget: the
	 * way to the first two leaves (the first one may end right before the
	 * name in question) goes beside it, and one more node always.
	 */
	int leaves;
	int forced;
	const uint8_t *first;
	size_t first_len;
	struct walking *now; /* under way, or NULL */
	/* a directory: index nodes on the way to the next */
	struct {
		struct blob *blob;
		struct node_index index;
	} levels[NODE_LEVEL_MAX + 1];
	unsigned int nlevels;
	struct old_dir old;
	int has_old;
	/* chunk nodes; those that the old tree has */
	struct hashset todo, skip;
	uint32_t at;
};

/* What came of a step, besides 1: that is all, 0: the budget ended it, -1. */
#define MORE WALK_MORE

static int
name_cmp(const uint8_t *a, size_t alen, const uint8_t *b, size_t blen)
{
	int r = memcmp(a, b, alen < blen ? alen : blen);

	return r != 0 ? r : (alen > blen) - (alen < blen);
}

static struct blob *
walk_get(struct meta_walk *w, const struct hash *h)
{
	struct blob *b = w->store->get(w->store->ctx, h);

	if (b == NULL && errno == ENOENT)
		errno = ENODATA;
	return b;
}

/* One of the old tree. */
static struct blob *
old_get(struct meta_walk *w, const struct hash *h)
{
	w->looks++;
	return walk_get(w, h);
}

static int
looked_enough(const struct meta_walk *w)
{
	return w->looks >= LOOKS_FREE + (uint64_t)LOOKS_EACH * w->sent.n;
}

/* 1: it is in the bundle now or was before; 0: the budget is used up; -1. */
static int
walk_emit(struct meta_walk *w, const struct hash *h, const struct blob *b)
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
walk_push(struct meta_walk *w, int kind, const struct hash *root,
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
walk_entry(struct meta_walk *w, const struct entry *e, const struct entry *old)
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
	if (e->type == ENTRY_DIR && w->now != NULL && w->now->depth > 0) {
		if (old != NULL && old->type == ENTRY_DIR)
			o = &old->root;
		if (o == NULL || hash_cmp(o, &e->root) != 0)
			return walk_push(w, WORK_DIR, &e->root, o,
			    w->now->depth - 1);
	}
	return 0;
}

/* ---- the old directory --------------------------------------------------- */

/* 1, or 0 when it cannot be compared with: then all counts as new. */
static int
old_begin(struct meta_walk *w, struct old_dir *o, const struct hash *root)
{
	struct node_index index;
	struct blob *b;
	uint8_t kind;
	int r = 0;

	memset(o, 0, sizeof(*o));
	o->root = *root;
	if (looked_enough(w) || (b = old_get(w, root)) == NULL)
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
old_child(struct meta_walk *w, struct old_level *l, const struct hash *node,
    const uint8_t *name, size_t len)
{
	int r;

	if (l->blob == NULL || hash_cmp(&l->hash, node) != 0) {
		blob_unref(l->blob);
		if ((l->blob = old_get(w, node)) == NULL)
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
old_has(struct meta_walk *w, struct old_dir *o, uint8_t level,
    const struct node_child *c)
{
	struct hash node = o->root;
	uint8_t l;
	int r;

	if (o->level < level || looked_enough(w))
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
old_entry(struct meta_walk *w, struct old_dir *o, const uint8_t *name,
    size_t len)
{
	int i, r, c;

	if (looked_enough(w))
		return NULL;
	for (i = 0; i <= OLD_STEPS && !o->over; i++) {
		if (o->iter == NULL || i == OLD_STEPS) {
			if (o->iter != NULL)
				tree_iter_end(o->iter);
			w->looks += LOOKS_SEARCH;
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
walk_leaf(struct meta_walk *w, const struct blob *b, struct old_dir *old)
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

/* A node of the directory under way. */
static int
dir_node(struct meta_walk *w, const struct hash *hash, int level)
{
	struct node_index index;
	struct blob *b;
	uint8_t kind;
	int r;

	/* All that it names was on its way then, and from further above. */
	if (hashset_has(&w->sent, hash))
		return MORE;
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
		if (walk_leaf(w, b, w->has_old ? &w->old : NULL) == 1)
			r = MORE;
		goto out;
	}
	if (kind != NODE_INDEX ||
	    node_index_open(&index, b->data, b->len) == -1 ||
	    (level != -1 && index.level != level) ||
	    index.level > NODE_LEVEL_MAX || index.level == 0)
		goto out;
	w->levels[w->nlevels].blob = b;
	w->levels[w->nlevels++].index = index;
	return MORE;
out:
	blob_unref(b);
	return r;
}

static int
dir_begin(struct meta_walk *w)
{
	const struct walking *k = w->now;

	if (hashset_has(&w->sent, &k->root) ||
	    (k->has_old && hash_cmp(&k->root, &k->old) == 0))
		return 1;
	w->has_old = k->has_old && old_begin(w, &w->old, &k->old);
	return dir_node(w, &k->root, -1);
}

static int
dir_step(struct meta_walk *w)
{
	struct node_index *index;
	struct node_child c;
	int r;

	if (w->nlevels == 0)
		return 1;
	index = &w->levels[w->nlevels - 1].index;
	if ((r = node_index_next(index, &c)) == -1)
		return -1;
	if (r == 0) {
		blob_unref(w->levels[--w->nlevels].blob);
		return MORE;
	}
	/* An old node that is gone is no reason to fail. */
	if (name_cmp(c.last, c.last_len, w->first, w->first_len) < 0 ||
	    (w->has_old &&
		old_has(w, &w->old, (uint8_t)(index->level - 1), &c) == 1))
		return MORE;
	return dir_node(w, &c.hash, index->level - 1);
}

static void
dir_end(struct meta_walk *w)
{
	while (w->nlevels > 0)
		blob_unref(w->levels[--w->nlevels].blob);
	if (w->has_old)
		old_end(&w->old);
	w->has_old = 0;
	/* Only the directory that was asked for has a first name. */
	w->first_len = 0;
}

/* ---- chunk trees --------------------------------------------------------- */

struct chunk_nodes {
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
chunk_old(struct meta_walk *w, const struct hash *root)
{
	struct chunk_nodes c = { &w->skip, NULL };
	struct hash h;
	struct blob *b;
	uint32_t i, index;
	uint8_t kind;
	int r;

	if (hashset_add(&w->skip, root, &index) == -1)
		return -1;
	for (i = 0; i < w->skip.n && !looked_enough(w); i++) {
		h = w->skip.keys[i];
		if ((b = old_get(w, &h)) == NULL)
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
chunks_begin(struct meta_walk *w)
{
	const struct walking *k = w->now;
	uint32_t index;

	w->at = 0;
	if ((k->has_old && chunk_old(w, &k->old) == -1) ||
	    (!hashset_has(&w->skip, &k->root) &&
		hashset_add(&w->todo, &k->root, &index) == -1))
		return -1;
	return MORE;
}

static int
chunks_step(struct meta_walk *w)
{
	struct chunk_nodes c = { &w->todo, &w->skip };
	struct hash h;
	struct blob *b;
	int r;

	if (w->at == w->todo.n)
		return 1;
	h = w->todo.keys[w->at++];
	if (hashset_has(&w->sent, &h))
		return MORE;
	if ((b = walk_get(w, &h)) == NULL)
		return -1;
	r = walk_emit(w, &h, b);
	w->forced = 0;
	if (r == 1)
		r = node_references(b->data, b->len, chunk_child, &c) == -1
		    ? -1
		    : MORE;
	blob_unref(b);
	return r;
}

static void
chunks_end(struct meta_walk *w)
{
	hashset_free(&w->todo);
	hashset_free(&w->skip);
	hashset_init(&w->todo);
	hashset_init(&w->skip);
}

/* ---- all of it ----------------------------------------------------------- */

/*
 * The extended attributes of the directory itself hang on none of its leaves:
 * who asks from its first name on gets them, beside the budget.
 */
static int
walk_own_xattrs(struct meta_walk *w, const struct walk_target *t)
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
walk_top(struct meta_walk *w, const struct walk_target *t)
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
struct meta_walk *
meta_walk_begin(const struct walk_target *t, struct wire_bundle_writer *out)
{
	struct meta_walk *w;

	if ((w = calloc(1, sizeof(*w))) == NULL)
		return NULL;
	w->store = t->store;
	w->out = out;
	w->whole = w->budget = t->budget;
	w->below = t->depth > 0;
	w->first = t->first == NULL ? (const uint8_t *)"" : t->first;
	w->first_len = t->first_len;
	w->forced = w->top = 1;
	hashset_init(&w->sent);
	hashset_init(&w->todo);
	hashset_init(&w->skip);
	TAILQ_INIT(&w->work);
	if (walk_top(w, t) == -1) {
		meta_walk_end(w);
		return NULL;
	}
	if (t->entry->type == ENTRY_DIR && w->below)
		w->budget /= 2;
	return w;
}

static void
now_end(struct meta_walk *w)
{
	if (w->now == NULL)
		return;
	if (w->now->kind == WORK_DIR)
		dir_end(w);
	else
		chunks_end(w);
	free(w->now);
	w->now = NULL;
}

void
meta_walk_end(struct meta_walk *w)
{
	struct walking *k;

	if (w == NULL)
		return;
	now_end(w);
	while ((k = TAILQ_FIRST(&w->work)) != NULL) {
		TAILQ_REMOVE(&w->work, k, entry);
		free(k);
	}
	hashset_free(&w->sent);
	hashset_free(&w->todo);
	hashset_free(&w->skip);
	free(w);
}

static int
now_step(struct meta_walk *w)
{
	if (w->now != NULL)
		return w->now->kind == WORK_DIR ? dir_step(w) : chunks_step(w);
	if ((w->now = TAILQ_FIRST(&w->work)) == NULL)
		return 1;
	TAILQ_REMOVE(&w->work, w->now, entry);
	return w->now->kind == WORK_DIR ? dir_begin(w) : chunks_begin(w);
}

/* One of the work list is done, with 1, or 0: the budget ended it. */
static int
now_done(struct meta_walk *w, int r)
{
	now_end(w);
	if (w->top && r == 0 && w->below) {
		w->partial = 1;
		r = 1;
	}
	if (w->top) {
		/* What had to go beside it does not count here. */
		if (w->used < w->budget)
			w->budget = w->whole - w->used;
		w->used = 0;
	}
	/* What was asked for is on its way: from here the budget. */
	w->top = w->forced = 0;
	return r;
}

int
meta_walk_step(struct meta_walk *w, monotime_t until)
{
	int r;

	while (w->now != NULL || !TAILQ_EMPTY(&w->work)) {
		r = now_step(w);
		if (r == -1 || (r != MORE && now_done(w, r) == 0))
			return r;
		if (monotime_reached(until))
			return MORE;
	}
	return !w->partial;
}
