/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * tree_edit: changes of a directory, sailvol-format(5), CUT RULE.  Level by
 * level from the leaves up: the nodes that a change touches are read and cut
 * anew, until the cuts fall where they fell before; what replaced what is the
 * list of changes of the level above.  Used by meta and tools.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/path.h"
#include "lib/tree_walk.h"

#define ITEM_MAX (16 * 1024) /* more than any encoded item */
#define ITEMS_AT (NODE_HEADER_LEN + 4)

/* A node of the level below: to be put into this level, or to be taken out. */
struct change {
	struct node_child c; /* last: memory of its own */
	int del;
	int struck; /* the old node is the new one: no change */
};
struct changes {
	struct change *v;
	size_t n, cap;
};

struct apply {
	const struct node_store *store;
	const uint8_t *salt;
	const struct hash *root; /* NULL: there was nothing */
	int top;                 /* its level, -1: none */
	struct walk_cache cache;
	struct hash missing;
};

/* One level under work. */
struct level {
	struct apply *a;
	uint8_t level;
	const struct tree_edit *edits; /* at level 0 */
	const struct changes *in;      /* above */
	size_t next, n;                /* of either */
	struct walk walk;
	/* the node that is being filled */
	struct wbuf w;
	uint32_t count;
	struct tree_sums sums;
	uint8_t last[SAIL_NAME_MAX];
	size_t last_len;
	struct wbuf scratch;
	/* the last node that was finished is put when it is known not to be
	   an index over one node */
	struct wbuf pending;
	struct hash pending_hash;
	int has_pending;
	uint32_t pending_count;
	struct node_child only; /* hash and sums of the last child added */
	struct changes made, gone;
	size_t gone_at;
	int reused; /* an old node stays untouched */
	/* last name of the old node that was read last */
	uint8_t done[SAIL_NAME_MAX];
	size_t done_len;
	int has_done;
};

static void
changes_free(struct changes *c)
{
	size_t i;

	for (i = 0; i < c->n; i++)
		free((void *)(uintptr_t)c->v[i].c.last);
	free(c->v);
	memset(c, 0, sizeof(*c));
}

static int
changes_add(struct changes *l, const struct node_child *c, int del)
{
	struct change *v;
	uint8_t *name;
	size_t cap;

	if (l->n == l->cap) {
		cap = l->cap == 0 ? 16 : l->cap * 2;
		if ((v = reallocarray(l->v, cap, sizeof(*v))) == NULL)
			return (-1);
		l->v = v;
		l->cap = cap;
	}
	if ((name = malloc(c->last_len + 1)) == NULL)
		return (-1);
	memcpy(name, c->last, c->last_len);
	v = &l->v[l->n++];
	v->c = *c;
	v->c.last = name;
	v->del = del;
	v->struck = 0;
	return (0);
}

/* 1 when a name may end a node of that level. */
static int
is_cut(const struct level *l, const uint8_t *name, size_t len)
{
	uint8_t buf[TREE_SALT_LEN + SAIL_NAME_MAX];
	struct hash h;

	memcpy(buf, l->a->salt, TREE_SALT_LEN);
	memcpy(buf + TREE_SALT_LEN, name, len);
	hash_bytes(&h, buf, TREE_SALT_LEN + len);
	return (h.b[l->level] == 0);
}

static void
node_start(struct level *l)
{
	l->w.len = 0;
	if (l->level == 0)
		node_leaf_begin(&l->w);
	else
		node_index_begin(&l->w, l->level);
	l->count = 0;
	memset(&l->sums, 0, sizeof(l->sums));
}

static int
put_pending(struct level *l)
{
	if (!l->has_pending)
		return (0);
	l->has_pending = 0;
	return (l->a->store->put(l->a->store->ctx, &l->pending_hash,
	    l->pending.data, l->pending.len));
}

/* 1 when the old tree has that node at that place: nothing to put. */
static int
is_old(struct level *l, const struct node_child *c)
{
	struct change *g;

	if (l->a->root != NULL && l->level == l->a->top)
		return (hash_cmp(&c->hash, l->a->root) == 0);
	for (; l->gone_at < l->gone.n; l->gone_at++) {
		g = &l->gone.v[l->gone_at];
		if (walk_name_cmp(g->c.last, g->c.last_len, c->last,
			c->last_len) >= 0)
			break;
	}
	if (l->gone_at == l->gone.n)
		return (0);
	g = &l->gone.v[l->gone_at];
	if (walk_name_cmp(g->c.last, g->c.last_len, c->last, c->last_len) !=
		0 ||
	    hash_cmp(&g->c.hash, &c->hash) != 0)
		return (0);
	g->struck = 1;
	return (1);
}

/* Ends the node that is being filled. */
static int
node_finish(struct level *l)
{
	struct node_child c;
	struct wbuf w;

	if (put_pending(l) == -1)
		return (-1);
	if (l->level == 0)
		node_leaf_end(&l->w, l->count);
	else
		node_index_end(&l->w, l->count);
	if (l->w.error != 0) {
		errno = l->w.error;
		return (-1);
	}
	hash_bytes(&c.hash, l->w.data, l->w.len);
	c.last = l->last;
	c.last_len = l->last_len;
	c.entries = l->sums.entries;
	c.files = l->sums.files;
	c.bytes = l->sums.bytes;
	if (changes_add(&l->made, &c, 0) == -1)
		return (-1);
	l->pending_count = l->count;
	if (is_old(l, &c))
		l->made.v[l->made.n - 1].struck = 1;
	else {
		w = l->pending;
		l->pending = l->w;
		l->w = w;
		l->pending_hash = c.hash;
		l->has_pending = 1;
	}
	node_start(l);
	return (0);
}

/* 1 when a node ends before an item of that length. */
static int
must_cut(const struct level *l, size_t len)
{
	return (l->count > 0 &&
	    (l->count == NODE_LEAF_MAX ||
		l->w.len - ITEMS_AT + len > NODE_LEAF_BYTES));
}

static int
add_item(struct level *l, const uint8_t *raw, size_t raw_len,
    const uint8_t *name, size_t len, const struct tree_sums *s)
{
	if (must_cut(l, raw_len) && node_finish(l) == -1)
		return (-1);
	wbuf_bytes(&l->w, raw, raw_len);
	if (l->w.error != 0) {
		errno = l->w.error;
		return (-1);
	}
	l->sums.entries = entry_sum_add(l->sums.entries, s->entries);
	l->sums.files = entry_sum_add(l->sums.files, s->files);
	l->sums.bytes = entry_sum_add(l->sums.bytes, s->bytes);
	memcpy(l->last, name, len);
	l->last_len = len;
	l->count++;
	/* A full node ends whatever comes: no need to wait for the next. */
	if (l->count == NODE_LEAF_MAX ||
	    (l->count >= NODE_LEAF_MIN && is_cut(l, name, len)))
		return (node_finish(l));
	return (0);
}

static int
add_child(struct level *l, const uint8_t *raw, size_t raw_len,
    const struct node_child *c)
{
	struct tree_sums s = { c->entries, c->files, c->bytes };

	l->only = *c;
	return (add_item(l, raw, raw_len, c->last, c->last_len, &s));
}

/* An entry of the caller: only what a decoder takes goes in. */
static int
add_entry(struct level *l, const struct tree_edit *t)
{
	struct tree_sums s = { 1, 0, 0 };
	struct entry e;
	struct rbuf r;

	l->scratch.len = 0;
	node_leaf_add(&l->scratch, t->name, t->len, t->entry);
	if (l->scratch.error != 0) {
		errno = l->scratch.error == ENOMEM ? ENOMEM : EINVAL;
		return (-1);
	}
	rbuf_init(&r, l->scratch.data, l->scratch.len);
	(void)rbuf_bytes(&r, 1 + t->len);
	if (entry_decode(&r, &e) == -1 || rbuf_end(&r) == -1) {
		errno = EINVAL;
		return (-1);
	}
	entry_sums(&e, &s.files, &s.bytes);
	return (
	    add_item(l, l->scratch.data, l->scratch.len, t->name, t->len, &s));
}

static int
edit_name(const struct level *l, const uint8_t **name, size_t *len)
{
	if (l->next == l->n)
		return (0);
	if (l->level == 0) {
		*name = l->edits[l->next].name;
		*len = l->edits[l->next].len;
	} else {
		*name = l->in->v[l->next].c.last;
		*len = l->in->v[l->next].c.last_len;
	}
	return (1);
}

/* The next edit takes place here; there: an old item of its name. */
static int
take_edit(struct level *l, int there)
{
	const struct change *c;
	const struct tree_edit *t;

	if (l->level == 0) {
		t = &l->edits[l->next++];
		return (t->entry == NULL ? 0 : add_entry(l, t));
	}
	c = &l->in->v[l->next++];
	if (c->del) {
		if (there)
			return (0);
		errno = EBADMSG;
		return (-1);
	}
	l->scratch.len = 0;
	node_index_add(&l->scratch, &c->c);
	if (l->scratch.error != 0) {
		errno = l->scratch.error;
		return (-1);
	}
	return (add_child(l, l->scratch.data, l->scratch.len, &c->c));
}

/* An old node of this level, item by item. */
struct reader {
	uint8_t level;
	struct blob *blob;
	struct leaf_reader leaf;
	struct node_index x;
	const struct node_child *claim;
	const uint8_t *lower;
	size_t lower_len;
	struct tree_sums sums;
	/* the item */
	const uint8_t *name, *raw;
	size_t len, raw_len;
	struct tree_sums item;
	struct node_child child;
};

static int
reader_open(struct level *l, struct reader *r)
{
	struct walk *w = &l->walk;
	uint64_t entries;

	memset(r, 0, sizeof(*r));
	r->level = l->level;
	r->claim = &w->pos;
	r->lower = walk_before(w, &r->lower_len, &entries);
	if ((r->blob = walk_get_cached(l->a->store, &l->a->cache, &w->pos.hash,
		 &l->a->missing)) == NULL)
		return (-1);
	if (r->level == 0)
		return (leaf_open(&r->leaf, r->blob, r->claim, r->lower,
		    r->lower_len));
	if (node_index_open(&r->x, r->blob->data, r->blob->len) == -1)
		return (-1);
	if (r->x.level != r->level) {
		errno = EBADMSG;
		return (-1);
	}
	return (0);
}

static int
reader_next_leaf(struct reader *r)
{
	struct entry e;
	int n;

	if ((n = leaf_next(&r->leaf, &r->name, &r->len, &e)) != 1)
		return (n);
	r->raw = r->leaf.raw;
	r->raw_len = r->leaf.raw_len;
	r->item.entries = 1;
	entry_sums(&e, &r->item.files, &r->item.bytes);
	return (1);
}

static int
reader_next(struct reader *r)
{
	struct node_child *c = &r->child;
	size_t at = r->x.r.pos;
	int n;

	if (r->level == 0)
		return (reader_next_leaf(r));
	if ((n = node_index_next(&r->x, c)) == -1)
		return (-1);
	if (n == 0) {
		if (r->claim->last != NULL &&
		    (r->sums.entries != r->claim->entries ||
			r->sums.files != r->claim->files ||
			r->sums.bytes != r->claim->bytes ||
			walk_name_cmp(r->x.last, r->x.last_len, r->claim->last,
			    r->claim->last_len) != 0))
			goto bad;
		return (0);
	}
	if (r->x.next == 1 && r->lower != NULL &&
	    walk_name_cmp(c->last, c->last_len, r->lower, r->lower_len) <= 0)
		goto bad;
	r->sums.entries = entry_sum_add(r->sums.entries, c->entries);
	r->sums.files = entry_sum_add(r->sums.files, c->files);
	r->sums.bytes = entry_sum_add(r->sums.bytes, c->bytes);
	r->name = c->last;
	r->len = c->last_len;
	r->raw = r->x.r.data + at;
	r->raw_len = r->x.r.pos - at;
	return (1);
bad:
	errno = EBADMSG;
	return (-1);
}

static int
add_old(struct level *l, struct reader *r)
{
	if (l->level > 0)
		return (add_child(l, r->raw, r->raw_len, &r->child));
	return (add_item(l, r->raw, r->raw_len, r->name, r->len, &r->item));
}

/* How the next edit stands to the reader's item: < 0 before it. */
static int
edit_cmp(const struct level *l, const struct reader *r)
{
	const uint8_t *name;
	size_t len;

	if (!edit_name(l, &name, &len))
		return (1);
	return (walk_name_cmp(name, len, r->name, r->len));
}

/*
 * Merges an old node with the edits.  1 when the node was not begun, for the
 * new cuts have met the old ones before it; 0 when it is done, -1.
 */
static int
merge_node(struct level *l)
{
	struct walk *w = &l->walk;
	struct reader r;
	int n, c, ret = -1;

	if (reader_open(l, &r) == -1 || (n = reader_next(&r)) == -1)
		goto fail;
	if (n == 1 && must_cut(l, r.raw_len) && edit_cmp(l, &r) > 0) {
		ret = node_finish(l) == -1 ? -1 : 1;
		goto fail;
	}
	if (l->level < l->a->top && changes_add(&l->gone, &w->pos, 1) == -1)
		goto fail;
	for (; n == 1; n = reader_next(&r)) {
		while ((c = edit_cmp(l, &r)) < 0) {
			if (take_edit(l, 0) == -1)
				goto fail;
		}
		if ((c == 0 ? take_edit(l, 1) : add_old(l, &r)) == -1)
			goto fail;
	}
	ret = n;
	if (w->pos.last != NULL) {
		memcpy(l->done, w->pos.last, w->pos.last_len);
		l->done_len = w->pos.last_len;
		l->has_done = 1;
	}
fail:
	blob_unref(r.blob);
	return (ret);
}

/* 1 when old nodes lie between the last one that was read and the walk's. */
static int
has_skipped(const struct level *l)
{
	const uint8_t *before;
	uint64_t entries;
	size_t len;

	before = walk_before(&l->walk, &len, &entries);
	if (before == NULL)
		return (0);
	return (!l->has_done ||
	    walk_name_cmp(before, len, l->done, l->done_len) != 0);
}

/*
 * Goes to the node of the next edit, past those that stay as they are.  A node
 * that ended only because the next item did not fit depends on that item: then
 * the work begins there.
 */
static int
skip_to_edit(struct level *l)
{
	struct walk *w = &l->walk;
	const uint8_t *name, *before;
	uint8_t copy[SAIL_NAME_MAX];
	uint64_t entries;
	size_t len;
	int own;

	if (!edit_name(l, &name, &len) || walk_to(w, name, len) == -1)
		return (-1);
	if (!has_skipped(l))
		return (0);
	before = walk_before(w, &len, &entries);
	own = l->level == 0 ? entries == NODE_LEAF_MAX ||
		(entries >= NODE_LEAF_MIN && is_cut(l, before, len))
			    : is_cut(l, before, len);
	if (!own) {
		memcpy(copy, before, len);
		if (walk_to(w, copy, len) == -1)
			return (-1);
	}
	if (has_skipped(l))
		l->reused = 1;
	return (0);
}

/* The old nodes of the level, as far as edits touch them. */
static int
level_merge(struct level *l)
{
	struct walk *w = &l->walk;
	const uint8_t *name;
	size_t len;
	int r;

	if (walk_begin(w, l->a->store, &l->a->cache, l->a->root, l->level) ==
	    -1)
		return (-1);
	for (;;) {
		if (l->count == 0) {
			if (!edit_name(l, &name, &len)) {
				l->reused = 1;
				return (0);
			}
			if (skip_to_edit(l) == -1)
				return (-1);
		}
		if ((r = merge_node(l)) == -1)
			return (-1);
		if (r == 1)
			continue;
		if ((r = walk_next(w)) != 1)
			return (r);
	}
}

static int
level_run(struct level *l)
{
	node_start(l);
	if (l->level <= l->a->top && level_merge(l) == -1)
		return (-1);
	while (l->next < l->n) {
		if (take_edit(l, 0) == -1)
			return (-1);
	}
	return (l->count > 0 ? node_finish(l) : 0);
}

/* What this level's nodes became is what happens to the level above. */
static int
level_changes(const struct level *l, struct changes *out)
{
	const struct changes *g = &l->gone, *m = &l->made;
	size_t i = 0, j = 0;
	int c, up = l->level < l->a->top;

	while (i < g->n || j < m->n) {
		if (i < g->n && g->v[i].struck) {
			i++;
			continue;
		}
		if (up && j < m->n && m->v[j].struck) {
			j++;
			continue;
		}
		if (i == g->n)
			c = 1;
		else if (j == m->n)
			c = -1;
		else
			c = walk_name_cmp(g->v[i].c.last, g->v[i].c.last_len,
			    m->v[j].c.last, m->v[j].c.last_len);
		if (changes_add(out, c < 0 ? &g->v[i].c : &m->v[j].c, c < 0) ==
		    -1)
			return (-1);
		i += c <= 0;
		j += c >= 0;
	}
	return (0);
}

static void
level_init(struct level *l, struct apply *a, uint8_t level)
{
	memset(l, 0, sizeof(*l));
	l->a = a;
	l->level = level;
	wbuf_init(&l->w, NODE_MAX_BYTES);
	wbuf_init(&l->pending, NODE_MAX_BYTES);
	wbuf_init(&l->scratch, ITEM_MAX);
}

static void
level_free(struct level *l)
{
	walk_end(&l->walk);
	wbuf_free(&l->w);
	wbuf_free(&l->pending);
	wbuf_free(&l->scratch);
	changes_free(&l->made);
	changes_free(&l->gone);
}

/* Down from an index over one node to what it stands for. */
static int
collapse(struct apply *a, struct hash *root)
{
	struct node_child c;
	struct node_index x;
	struct blob *b;
	uint8_t kind;
	int one = 1;

	while (one) {
		if ((b = walk_get_cached(a->store, &a->cache, root,
			 &a->missing)) == NULL)
			return (-1);
		one = node_header(b->data, b->len, &kind) == NULL &&
		    kind == NODE_INDEX &&
		    node_index_open(&x, b->data, b->len) == 0 && x.count == 1;
		if (one && node_index_next(&x, &c) == 1)
			*root = c.hash;
		else
			one = 0;
		blob_unref(b);
	}
	return (0);
}

static void
sums_of(struct tree_sums *s, const struct node_child *c)
{
	s->entries = c->entries;
	s->files = c->files;
	s->bytes = c->bytes;
}

/* 1 when the level's nodes are the whole tree: root and sums; 0 when there is
   a level above, -1. */
static int
level_root(struct level *l, struct hash *root, struct tree_sums *s)
{
	if (!l->reused && l->made.n == 0) {
		memset(s, 0, sizeof(*s));
		tree_empty_root(root);
		return (tree_put_empty(l->a->store) == -1 ? -1 : 1);
	}
	if (!l->reused && l->made.n == 1 && l->level > 0 &&
	    l->pending_count == 1) {
		*root = l->only.hash;
		sums_of(s, &l->only);
		return (collapse(l->a, root) == -1 ? -1 : 1);
	}
	if (put_pending(l) == -1)
		return (-1);
	if (!l->reused && l->made.n == 1) {
		*root = l->made.v[0].c.hash;
		sums_of(s, &l->made.v[0].c);
		return (1);
	}
	return (0);
}

static int
check_edits(const struct tree_edit *e, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++) {
		if (name_problem(e[i].name, e[i].len) != NULL ||
		    (i > 0 &&
			walk_name_cmp(e[i - 1].name, e[i - 1].len, e[i].name,
			    e[i].len) >= 0)) {
			errno = EINVAL;
			return (-1);
		}
	}
	return (0);
}

static int
apply_levels(struct apply *a, const struct tree_edit *edits, size_t n,
    struct hash *newroot, struct tree_sums *s)
{
	struct changes in = { NULL, 0, 0 }, out;
	struct level l;
	int k, r = -1;

	for (k = 0; r == -1; k++) {
		if (k > NODE_LEVEL_MAX) {
			errno = EBADMSG;
			break;
		}
		memset(&out, 0, sizeof(out));
		level_init(&l, a, (uint8_t)k);
		l.edits = edits;
		l.in = &in;
		l.n = k == 0 ? n : in.n;
		if (level_run(&l) == -1 ||
		    (r = level_root(&l, newroot, s)) == -1 ||
		    (r == 0 && level_changes(&l, &out) == -1)) {
			level_free(&l);
			changes_free(&out);
			r = -1;
			break;
		}
		level_free(&l);
		changes_free(&in);
		in = out;
		if (r == 0 && in.n == 0) {
			*newroot = *a->root;
			r = tree_get_sums(a->store, newroot, s) == -1 ? -1 : 1;
			break;
		}
		if (r == 0)
			r = -1;
	}
	changes_free(&in);
	return (r == 1 ? 0 : -1);
}

int
tree_apply(const struct node_store *store, const uint8_t salt[TREE_SALT_LEN],
    const struct hash *root, const struct tree_edit *edits, size_t n,
    struct hash *newroot, struct tree_sums *sums)
{
	struct apply a;
	struct hash empty, result;
	struct blob *b;
	uint8_t level;
	int r = -1;

	if (check_edits(edits, n) == -1)
		return (-1);
	memset(&a, 0, sizeof(a));
	a.store = store;
	a.salt = salt;
	a.top = -1;
	tree_empty_root(&empty);
	if (root != NULL && hash_cmp(root, &empty) != 0) {
		if ((b = walk_root(store, &a.cache, root, &level,
			 &a.missing)) == NULL)
			goto done;
		blob_unref(b);
		a.root = root;
		a.top = level;
		if (n == 0) {
			result = *root;
			r = tree_get_sums(store, root, sums);
			goto done;
		}
	}
	r = apply_levels(&a, edits, n, &result, sums);
done:
	walk_cache_free(&a.cache);
	if (r == 0)
		*newroot = result;
	return (r);
}
