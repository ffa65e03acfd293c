/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * tree: looking up and iterating a directory, sailvol-format(5), DIRECTORIES.
 * Used by manifest, fuse, meta and tools.
 */
#include "lib/tree.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/path.h"
#include "lib/tree_walk.h"

/* SHA-256 of a leaf without entries. */
static const struct hash empty_root = { { 0xac, 0xb8, 0xfd, 0xa7, 0xab, 0x12,
    0x10, 0x6a, 0x86, 0x59, 0xc7, 0xdb, 0xf3, 0xe3, 0xdb, 0x7d, 0x6c, 0x14,
    0x1c, 0x16, 0xd5, 0x78, 0xc5, 0x50, 0x3a, 0x76, 0x5d, 0x0e, 0x99, 0xa9,
    0x09, 0x2d } };

void
tree_empty_root(struct hash *h)
{
	*h = empty_root;
}

int
tree_put_empty(const struct node_store *s)
{
	struct hash h;
	struct wbuf w;
	int r = -1;

	wbuf_init(&w, NODE_MAX_BYTES);
	node_leaf_begin(&w);
	node_leaf_end(&w, 0);
	if (w.error != 0)
		errno = w.error;
	else
		r = node_put(s, w.data, w.len, &h);
	wbuf_free(&w);
	return (r);
}

/* In a leaf: 0 and the entry, or -1 and ENOENT or EBADMSG. */
static int
leaf_find(const struct blob *b, const void *name, size_t len, struct entry *e)
{
	const uint8_t *n;
	struct node_leaf l;
	size_t nlen;
	int r, c;

	if (node_leaf_open(&l, b->data, b->len) == -1)
		return (-1);
	while ((r = node_leaf_next(&l, &n, &nlen, e)) == 1) {
		c = walk_name_cmp(n, nlen, name, len);
		if (c == 0)
			return (0);
		if (c > 0)
			break;
	}
	if (r != -1)
		errno = ENOENT;
	return (-1);
}

/* In an index: 0 and the child that may have the name, or -1. */
static int
index_find(const struct blob *b, const void *name, size_t len,
    struct node_child *c)
{
	struct node_index x;
	int r;

	if (node_index_open(&x, b->data, b->len) == -1)
		return (-1);
	while ((r = node_index_next(&x, c)) == 1) {
		if (walk_name_cmp(c->last, c->last_len, name, len) >= 0)
			return (0);
	}
	if (r != -1)
		errno = ENOENT;
	return (-1);
}

int
tree_lookup(const struct node_store *s, const struct hash *root,
    const void *name, size_t len, struct entry *e, struct blob **keep,
    struct hash *missing)
{
	struct node_child c;
	struct blob *b, *next;
	uint8_t level, kind;

	*keep = NULL;
	if ((b = walk_root(s, NULL, root, &level, missing)) == NULL)
		return (-1);
	for (; level > 0; level--) {
		if (index_find(b, name, len, &c) == -1)
			goto fail;
		if ((next = walk_get(s, &c.hash, missing)) == NULL)
			goto fail;
		blob_unref(b);
		b = next;
		if (node_header(b->data, b->len, &kind) != NULL ||
		    kind != (level == 1 ? NODE_LEAF : NODE_INDEX) ||
		    node_level(b->data) != level - 1) {
			errno = EBADMSG;
			goto fail;
		}
	}
	if (leaf_find(b, name, len, e) == -1)
		goto fail;
	*keep = b;
	return (0);
fail:
	blob_unref(b);
	return (-1);
}

struct tree_iter {
	struct walk w;
	struct blob *leaf;
	struct leaf_reader r;
	int open, end; /* w stands somewhere; nothing more follows */
	int error;     /* errno that ended it */
	int after;
	struct hash root;
	size_t from_len;
	uint8_t from[SAIL_NAME_MAX];
};

struct tree_iter *
tree_iter_begin(const struct node_store *s, const struct hash *root,
    const void *from, size_t len, int after)
{
	struct tree_iter *it;

	if (len > SAIL_NAME_MAX) {
		errno = ENAMETOOLONG;
		return (NULL);
	}
	if ((it = calloc(1, sizeof(*it))) == NULL)
		return (NULL);
	it->w.store = s;
	it->root = *root;
	it->after = after;
	it->from_len = len;
	if (len != 0)
		memcpy(it->from, from, len);
	return (it);
}

/* Loads the leaf that the walk stands on. */
static int
iter_leaf(struct tree_iter *it)
{
	struct walk *w = &it->w;
	const uint8_t *lower;
	uint64_t entries;
	size_t len;

	blob_unref(it->leaf);
	if ((it->leaf = walk_get(w->store, &w->pos.hash, &w->missing)) == NULL)
		return (-1);
	lower = walk_before(w, &len, &entries);
	return (leaf_open(&it->r, it->leaf, &w->pos, lower, len));
}

static int
iter_start(struct tree_iter *it)
{
	if (walk_begin(&it->w, it->w.store, NULL, &it->root, 0) == -1 ||
	    walk_to(&it->w, it->from, it->from_len) == -1 ||
	    iter_leaf(it) == -1)
		return (-1);
	it->open = 1;
	return (0);
}

int
tree_iter_next(struct tree_iter *it, const uint8_t **name, size_t *len,
    struct entry *e)
{
	int r, c;

	if (it->error != 0) {
		errno = it->error;
		return (-1);
	}
	if (it->end)
		return (0);
	if (!it->open && iter_start(it) == -1)
		goto fail;
	for (;;) {
		while ((r = leaf_next(&it->r, name, len, e)) == 1) {
			c = walk_name_cmp(*name, *len, it->from, it->from_len);
			if (c > 0 || (c == 0 && !it->after))
				return (1);
		}
		if (r == -1 || (r = walk_next(&it->w)) == -1)
			goto fail;
		if (r == 0) {
			it->end = 1;
			return (0);
		}
		if (iter_leaf(it) == -1)
			goto fail;
	}
fail:
	it->error = errno;
	return (-1);
}

const struct hash *
tree_iter_missing(const struct tree_iter *it)
{
	return (&it->w.missing);
}

void
tree_iter_end(struct tree_iter *it)
{
	if (it == NULL)
		return;
	walk_end(&it->w);
	blob_unref(it->leaf);
	free(it);
}

int
tree_get_sums(const struct node_store *s, const struct hash *root,
    struct tree_sums *sums)
{
	static const struct node_child none;
	const uint8_t *name;
	struct hash missing;
	struct leaf_reader l;
	struct node_child c;
	struct node_index x;
	struct entry e;
	struct blob *b;
	uint8_t level;
	size_t len;
	int r = -1;

	memset(sums, 0, sizeof(*sums));
	if ((b = walk_root(s, NULL, root, &level, &missing)) == NULL)
		return (-1);
	if (level == 0) {
		if (leaf_open(&l, b, &none, NULL, 0) == -1)
			goto fail;
		while ((r = leaf_next(&l, &name, &len, &e)) == 1)
			;
		sums->entries = l.l.count;
		sums->files = l.files;
		sums->bytes = l.bytes;
		goto fail;
	}
	if (node_index_open(&x, b->data, b->len) == -1)
		goto fail;
	while ((r = node_index_next(&x, &c)) == 1) {
		sums->entries = entry_sum_add(sums->entries, c.entries);
		sums->files = entry_sum_add(sums->files, c.files);
		sums->bytes = entry_sum_add(sums->bytes, c.bytes);
	}
fail:
	blob_unref(b);
	return (r);
}
