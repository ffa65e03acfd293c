/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * tree_walk: the walk over the nodes of one level of a directory, in which each
 * node is checked against what its parent says of it.  Pure but for the store;
 * used by whoever reads trees.
 */
#include "lib/tree_walk.h"

#include <errno.h>
#include <string.h>

int
walk_name_cmp(const void *a, size_t alen, const void *b, size_t blen)
{
	int c = memcmp(a, b, alen < blen ? alen : blen);

	if (c != 0)
		return (c);
	return (alen < blen ? -1 : alen > blen);
}

static int
bad_node(void)
{
	errno = EBADMSG;
	return (-1);
}

struct blob *
walk_get(const struct node_store *s, const struct hash *h, struct hash *missing)
{
	struct blob *b;

	if ((b = s->get(s->ctx, h)) == NULL && errno == ENOENT) {
		*missing = *h;
		errno = ENODATA;
	}
	return (b);
}

struct blob *
walk_get_cached(const struct node_store *s, struct walk_cache *c,
    const struct hash *h, struct hash *missing)
{
	struct blob *b;
	unsigned int i;

	if (c == NULL)
		return (walk_get(s, h, missing));
	for (i = 0; i < WALK_CACHE; i++) {
		if (c->blob[i] != NULL && hash_cmp(&c->hash[i], h) == 0)
			return (blob_ref(c->blob[i]));
	}
	if ((b = walk_get(s, h, missing)) == NULL)
		return (NULL);
	i = c->next++ % WALK_CACHE;
	blob_unref(c->blob[i]);
	c->blob[i] = blob_ref(b);
	c->hash[i] = *h;
	return (b);
}

void
walk_cache_free(struct walk_cache *c)
{
	unsigned int i;

	for (i = 0; i < WALK_CACHE; i++)
		blob_unref(c->blob[i]);
	memset(c, 0, sizeof(*c));
}

/* The level of a directory node; -1 EBADMSG when it is none. */
static int
dir_level(const struct blob *b, uint8_t *level)
{
	uint8_t kind;

	if (node_header(b->data, b->len, &kind) != NULL ||
	    (kind != NODE_LEAF && kind != NODE_INDEX))
		return (bad_node());
	*level = node_level(b->data);
	return (0);
}

struct blob *
walk_root(const struct node_store *s, struct walk_cache *c,
    const struct hash *h, uint8_t *level, struct hash *missing)
{
	struct node_index x;
	struct blob *b;

	if ((b = walk_get_cached(s, c, h, missing)) == NULL)
		return (NULL);
	if (dir_level(b, level) == -1)
		goto fail;
	/* An index over one node is not the encoding of any directory. */
	if (*level > 0 &&
	    (node_index_open(&x, b->data, b->len) == -1 || x.count < 2)) {
		errno = EBADMSG;
		goto fail;
	}
	return (b);
fail:
	blob_unref(b);
	return (NULL);
}

/* Reads the next child into f->cur: 1; 0 at the end, where the sums and the
   last name must be those that the parent claimed. */
static int
frame_next(struct walk_frame *f)
{
	struct node_child c;
	int r;

	if ((r = node_index_next(&f->x, &c)) == -1)
		return (-1);
	if (r == 0) {
		if (f->claim.last != NULL &&
		    (f->entries != f->claim.entries ||
			f->files != f->claim.files ||
			f->bytes != f->claim.bytes ||
			walk_name_cmp(f->x.last, f->x.last_len, f->claim.last,
			    f->claim.last_len) != 0))
			return (bad_node());
		return (0);
	}
	if (f->x.next == 1) {
		if (f->lower != NULL &&
		    walk_name_cmp(c.last, c.last_len, f->lower, f->lower_len) <=
			0)
			return (bad_node());
		f->prev = f->lower;
		f->prev_len = f->lower_len;
		f->prev_entries = 0;
	} else {
		f->prev = f->cur.last;
		f->prev_len = f->cur.last_len;
		f->prev_entries = f->cur.entries;
	}
	f->entries = entry_sum_add(f->entries, c.entries);
	f->files = entry_sum_add(f->files, c.files);
	f->bytes = entry_sum_add(f->bytes, c.bytes);
	f->cur = c;
	return (1);
}

/* Begins to read f's node, on its first child. */
static int
frame_rewind(struct walk_frame *f)
{
	if (node_index_open(&f->x, f->blob->data, f->blob->len) == -1)
		return (-1);
	f->entries = f->files = f->bytes = 0;
	return (frame_next(f) == 1 ? 0 : -1);
}

/* Loads the node that the frame above stands on, unless it is there. */
static int
frame_load(struct walk *w, uint8_t level)
{
	struct walk_frame *f = &w->f[level], *up = &w->f[level + 1];
	struct blob *b;
	uint8_t got;

	if (f->blob == NULL || hash_cmp(&f->hash, &up->cur.hash) != 0) {
		if ((b = walk_get_cached(w->store, w->cache, &up->cur.hash,
			 &w->missing)) == NULL)
			return (-1);
		if (dir_level(b, &got) == -1 || got != level) {
			blob_unref(b);
			return (bad_node());
		}
		blob_unref(f->blob);
		f->blob = b;
		f->hash = up->cur.hash;
	}
	f->claim = up->cur;
	f->lower = up->prev;
	f->lower_len = up->prev_len;
	return (frame_rewind(f));
}

static void
set_pos(struct walk *w)
{
	if (w->level < w->top)
		w->pos = w->f[w->level + 1].cur;
}

/* From the frame of that level down, each on its first child. */
static int
descend(struct walk *w, uint8_t level)
{
	for (; level > w->level + 1; level--) {
		if (frame_load(w, level - 1) == -1)
			return (-1);
	}
	set_pos(w);
	return (0);
}

int
walk_begin(struct walk *w, const struct node_store *s, struct walk_cache *c,
    const struct hash *root, uint8_t level)
{
	struct walk_frame *f;
	struct blob *b;

	memset(w, 0, sizeof(*w));
	w->store = s;
	w->cache = c;
	w->level = level;
	w->root = *root;
	w->pos.hash = *root;
	if ((b = walk_root(s, c, root, &w->top, &w->missing)) == NULL)
		return (-1);
	if (w->top == level) {
		blob_unref(b);
		return (0);
	}
	f = &w->f[w->top];
	f->blob = b;
	f->hash = *root;
	if (level > w->top)
		return (bad_node());
	return (frame_rewind(f) == -1 ? -1 : descend(w, w->top));
}

/* In f, on the first child whose last name is not less, or the last child. */
static int
frame_seek(struct walk_frame *f, const void *name, size_t len)
{
	while (walk_name_cmp(f->cur.last, f->cur.last_len, name, len) < 0) {
		if (f->x.next == f->x.count)
			return (0);
		if (frame_next(f) == -1)
			return (-1);
	}
	return (0);
}

int
walk_to(struct walk *w, const void *name, size_t len)
{
	struct walk_frame *f;
	struct hash old;
	uint8_t l;
	int fresh = 0;

	for (l = w->top; l > w->level; l--) {
		f = &w->f[l];
		/* Backwards: the wanted child lies before the current one. */
		if (!fresh && f->prev != NULL &&
		    walk_name_cmp(name, len, f->prev, f->prev_len) <= 0 &&
		    frame_rewind(f) == -1)
			return (-1);
		old = f->cur.hash;
		if (frame_seek(f, name, len) == -1)
			return (-1);
		if (l - 1 == w->level)
			break;
		if (fresh || hash_cmp(&old, &f->cur.hash) != 0 ||
		    f->prev != w->f[l - 1].lower) {
			fresh = 1;
			if (frame_load(w, l - 1) == -1)
				return (-1);
		}
	}
	set_pos(w);
	return (0);
}

int
walk_next(struct walk *w)
{
	uint8_t l;
	int r;

	for (l = w->level + 1; l <= w->top; l++) {
		if ((r = frame_next(&w->f[l])) == -1)
			return (-1);
		if (r == 1)
			return (descend(w, l) == -1 ? -1 : 1);
	}
	return (0);
}

const uint8_t *
walk_before(const struct walk *w, size_t *len, uint64_t *entries)
{
	const struct walk_frame *f;

	*len = 0;
	*entries = 0;
	if (w->level == w->top)
		return (NULL);
	f = &w->f[w->level + 1];
	*len = f->prev_len;
	*entries = f->prev_entries;
	return (f->prev);
}

void
walk_end(struct walk *w)
{
	unsigned int i;

	for (i = 0; i <= NODE_LEVEL_MAX; i++) {
		blob_unref(w->f[i].blob);
		w->f[i].blob = NULL;
	}
}

void
entry_sums(const struct entry *e, uint64_t *files, uint64_t *bytes)
{
	switch (e->type) {
	case ENTRY_DIR:
		*files = e->files;
		*bytes = e->bytes;
		break;
	case ENTRY_FILE:
		*files = 1;
		*bytes = e->size;
		break;
	default:
		*files = 1;
		*bytes = 0;
	}
}

int
leaf_open(struct leaf_reader *r, const struct blob *b,
    const struct node_child *claim, const uint8_t *lower, size_t lower_len)
{
	memset(r, 0, sizeof(*r));
	r->claim = claim;
	r->lower = lower;
	r->lower_len = lower_len;
	if (node_leaf_open(&r->l, b->data, b->len) == -1)
		return (-1);
	if (claim->last != NULL && r->l.count != claim->entries)
		return (bad_node());
	return (0);
}

int
leaf_next(struct leaf_reader *r, const uint8_t **name, size_t *len,
    struct entry *e)
{
	uint64_t files, bytes;
	size_t at = r->l.r.pos;
	int n;

	if ((n = node_leaf_next(&r->l, name, len, e)) == -1)
		return (-1);
	if (n == 0) {
		if (r->claim->last != NULL &&
		    (r->files != r->claim->files ||
			r->bytes != r->claim->bytes ||
			walk_name_cmp(r->l.last, r->l.last_len, r->claim->last,
			    r->claim->last_len) != 0))
			return (bad_node());
		return (0);
	}
	if (r->l.next == 1 && r->lower != NULL &&
	    walk_name_cmp(*name, *len, r->lower, r->lower_len) <= 0)
		return (bad_node());
	r->raw = r->l.r.data + at;
	r->raw_len = r->l.r.pos - at;
	entry_sums(e, &files, &bytes);
	r->files = entry_sum_add(r->files, files);
	r->bytes = entry_sum_add(r->bytes, bytes);
	return (1);
}
