/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * tree_diff: what differs between two states of a directory.  From the roots
 * down, level by level, the nodes that both sides have are struck out by last
 * name and hash before anything below is read; so none of them is loaded, also
 * where the cuts differ.  Used by manifest, meta and tools.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/tree_walk.h"

/* Nodes of one side at one level, ascending, that the other has not. */
struct side {
	struct node_child *v; /* last: memory of its own */
	size_t n, cap;
	uint8_t level;
};

struct diff {
	const struct node_store *store;
	const void *from; /* names before it are passed over */
	size_t from_len;
	struct side s[2];
	struct hash missing;
};

static void
side_free(struct side *s)
{
	size_t i;

	for (i = 0; i < s->n; i++)
		free((void *)(uintptr_t)s->v[i].last);
	free(s->v);
	memset(s, 0, sizeof(*s));
}

static int
side_add(struct side *s, const struct node_child *c)
{
	struct node_child *v;
	uint8_t *name;
	size_t cap;

	if (s->n == s->cap) {
		cap = s->cap == 0 ? 16 : s->cap * 2;
		if ((v = reallocarray(s->v, cap, sizeof(*v))) == NULL)
			return (-1);
		s->v = v;
		s->cap = cap;
	}
	if ((name = malloc(c->last_len + 1)) == NULL)
		return (-1);
	memcpy(name, c->last, c->last_len);
	s->v[s->n] = *c;
	s->v[s->n++].last = name;
	return (0);
}

static int
before_from(const struct diff *d, const void *name, size_t len)
{
	return (d->from_len > 0 &&
	    walk_name_cmp(name, len, d->from, d->from_len) < 0);
}

/* Adds the children of an index node, checked against the claim. */
static int
add_children(const struct diff *d, struct side *out, const struct blob *b,
    uint8_t level, const struct node_child *claim)
{
	uint64_t entries = 0, files = 0, bytes = 0;
	struct node_index x;
	struct node_child c;
	int r;

	if (node_index_open(&x, b->data, b->len) == -1 || x.level != level)
		goto bad;
	while ((r = node_index_next(&x, &c)) == 1) {
		/* Also across nodes: names ascend in the whole level. */
		if (out->n > 0 &&
		    walk_name_cmp(out->v[out->n - 1].last,
			out->v[out->n - 1].last_len, c.last, c.last_len) >= 0)
			goto bad;
		if (!before_from(d, c.last, c.last_len) &&
		    side_add(out, &c) == -1)
			return (-1);
		entries = entry_sum_add(entries, c.entries);
		files = entry_sum_add(files, c.files);
		bytes = entry_sum_add(bytes, c.bytes);
	}
	if (r == -1)
		return (-1);
	if (claim != NULL &&
	    (entries != claim->entries || files != claim->files ||
		bytes != claim->bytes ||
		walk_name_cmp(x.last, x.last_len, claim->last,
		    claim->last_len) != 0))
		goto bad;
	return (0);
bad:
	errno = EBADMSG;
	return (-1);
}

/* A root that is a leaf, as the child that a parent would have had. */
static int
add_leaf_root(struct side *s, const struct blob *b, const struct hash *root)
{
	static const struct node_child none;
	const uint8_t *name;
	struct leaf_reader l;
	struct node_child c;
	struct entry e;
	size_t len;
	int r;

	if (leaf_open(&l, b, &none, NULL, 0) == -1)
		return (-1);
	while ((r = leaf_next(&l, &name, &len, &e)) == 1)
		;
	if (r == -1 || l.l.count == 0)
		return (r);
	c.last = l.l.last;
	c.last_len = l.l.last_len;
	c.hash = *root;
	c.entries = l.l.count;
	c.files = l.files;
	c.bytes = l.bytes;
	return (side_add(s, &c));
}

/* The root's children, or the root itself when it is a leaf. */
static int
side_begin(struct diff *d, struct side *s, const struct hash *root)
{
	struct blob *b;
	uint8_t level;
	int r;

	if (root == NULL)
		return (0);
	if ((b = walk_root(d->store, NULL, root, &level, &d->missing)) == NULL)
		return (-1);
	if (level == 0) {
		r = add_leaf_root(s, b, root);
	} else {
		s->level = level - 1;
		r = add_children(d, s, b, level, NULL);
	}
	blob_unref(b);
	return (r);
}

/* Strikes out what both have. */
static void
strike_equal(struct side *a, struct side *b)
{
	size_t i = 0, j = 0, ni = 0, nj = 0;
	int c;

	while (i < a->n || j < b->n) {
		if (i == a->n)
			c = 1;
		else if (j == b->n)
			c = -1;
		else
			c = walk_name_cmp(a->v[i].last, a->v[i].last_len,
			    b->v[j].last, b->v[j].last_len);
		if (c == 0 && hash_cmp(&a->v[i].hash, &b->v[j].hash) == 0) {
			free((void *)(uintptr_t)a->v[i++].last);
			free((void *)(uintptr_t)b->v[j++].last);
			continue;
		}
		if (c <= 0)
			a->v[ni++] = a->v[i++];
		else
			b->v[nj++] = b->v[j++];
	}
	a->n = ni;
	b->n = nj;
}

/* Its nodes are replaced by their children. */
static int
side_expand(struct diff *d, struct side *s)
{
	struct side out;
	struct blob *b;
	size_t i;
	int r = 0;

	memset(&out, 0, sizeof(out));
	out.level = s->level - 1;
	for (i = 0; i < s->n && r == 0; i++) {
		if ((b = walk_get(d->store, &s->v[i].hash, &d->missing)) ==
		    NULL)
			r = -1;
		else
			r = add_children(d, &out, b, s->level, &s->v[i]);
		blob_unref(b);
	}
	side_free(s);
	*s = out;
	return (r);
}

/* The entries of the leaves of one side. */
struct stream {
	const struct side *s;
	size_t next; /* leaf */
	struct blob *leaf;
	struct leaf_reader r;
	int end;
	const uint8_t *name;
	size_t len;
	struct entry e;
};

static int
stream_next(struct diff *d, struct stream *t)
{
	const struct node_child *c, *before;
	int r;

	for (;;) {
		if (t->leaf != NULL) {
			r = leaf_next(&t->r, &t->name, &t->len, &t->e);
			if (r != 0)
				return (r == 1 ? 0 : -1);
			blob_unref(t->leaf);
			t->leaf = NULL;
		}
		if (t->next == t->s->n) {
			t->end = 1;
			return (0);
		}
		before = t->next == 0 ? NULL : &t->s->v[t->next - 1];
		c = &t->s->v[t->next++];
		if ((t->leaf = walk_get(d->store, &c->hash, &d->missing)) ==
			NULL ||
		    leaf_open(&t->r, t->leaf, c,
			before == NULL ? NULL : before->last,
			before == NULL ? 0 : before->last_len) == -1)
			return (-1);
	}
}

static int
merge(struct diff *d, tree_diff_cb f, void *arg)
{
	struct stream a, b;
	int c, r = -1;

	memset(&a, 0, sizeof(a));
	memset(&b, 0, sizeof(b));
	a.s = &d->s[0];
	b.s = &d->s[1];
	if (stream_next(d, &a) == -1 || stream_next(d, &b) == -1)
		goto fail;
	while (!a.end || !b.end) {
		if (a.end)
			c = 1;
		else if (b.end)
			c = -1;
		else
			c = walk_name_cmp(a.name, a.len, b.name, b.len);
		if ((c == 0 && a.r.raw_len == b.r.raw_len &&
			memcmp(a.r.raw, b.r.raw, a.r.raw_len) == 0) ||
		    before_from(d, c <= 0 ? a.name : b.name,
			c <= 0 ? a.len : b.len))
			r = 0;
		else
			r = f(arg, c <= 0 ? a.name : b.name,
			    c <= 0 ? a.len : b.len, c <= 0 ? &a.e : NULL,
			    c >= 0 ? &b.e : NULL);
		if (r == -1)
			goto fail;
		r = -1;
		if ((c <= 0 && stream_next(d, &a) == -1) ||
		    (c >= 0 && stream_next(d, &b) == -1))
			goto fail;
	}
	r = 0;
fail:
	blob_unref(a.leaf);
	blob_unref(b.leaf);
	return (r);
}

int
tree_diff(const struct node_store *store, const struct hash *a,
    const struct hash *b, tree_diff_cb f, void *arg)
{
	return (tree_diff_from(store, a, b, "", 0, f, arg));
}

int
tree_diff_from(const struct node_store *store, const struct hash *a,
    const struct hash *b, const void *from, size_t len, tree_diff_cb f,
    void *arg)
{
	struct diff d;
	int r = -1;

	if (a != NULL && b != NULL && hash_cmp(a, b) == 0)
		return (0);
	memset(&d, 0, sizeof(d));
	d.store = store;
	d.from = from;
	d.from_len = len;
	if (side_begin(&d, &d.s[0], a) == -1 ||
	    side_begin(&d, &d.s[1], b) == -1)
		goto fail;
	for (;;) {
		if (d.s[0].level == d.s[1].level) {
			strike_equal(&d.s[0], &d.s[1]);
			if (d.s[0].level == 0)
				break;
		}
		if (d.s[0].level > d.s[1].level) {
			if (side_expand(&d, &d.s[0]) == -1)
				goto fail;
		} else if (d.s[1].level > d.s[0].level) {
			if (side_expand(&d, &d.s[1]) == -1)
				goto fail;
		} else if (side_expand(&d, &d.s[0]) == -1 ||
		    side_expand(&d, &d.s[1]) == -1)
			goto fail;
	}
	r = merge(&d, f, arg);
fail:
	side_free(&d.s[0]);
	side_free(&d.s[1]);
	return (r);
}
