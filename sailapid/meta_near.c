/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * meta_near: see meta_near.h.  Walks the tree from the path on in the order in
 * which a commit puts small files into packs: by their paths.  In meta.
 */
#include <errno.h>
#include <string.h>

#include "lib/chunklist.h"
#include "sailapid/meta_near.h"
#include "sailapid/meta_place.h"

#define WALK_MAX 8192 /* entries that are looked at */
#define MISSES_MAX \
	64 /* in a row: files of other packs, directories without any */
#define DEPTH_MAX 32 /* directories below the one that is walked */

struct near {
	const struct req *req;
	int64_t row;
	const struct node_store *store;
	uint32_t budget;
	unsigned int walked, misses;
	struct place *out;
	int n;
};

static int walk_dir(struct near *, const struct hash *, const uint8_t *, size_t,
    unsigned int);

/* 1: no more is wanted. */
static int
near_full(const struct near *k)
{
	return k->n == NEAR_MAX || k->walked >= WALK_MAX ||
	    k->misses >= MISSES_MAX;
}

/* In that pack: 1, 0, -1. */
static int
find_place(const struct near *k, const struct hash *h, uint32_t bytes,
    struct db_location *loc)
{
	int r = db_chunk_find_in(meta_db(), k->req->vol.family, h, k->row,
	    bytes, loc);

	if (r != 1 || !k->req->apart)
		return r;
	r = place_choose(k->req, h, bytes, loc);
	return r == 1 ? loc->row == k->row : r;
}

/* A file whose content is one small chunk; 0 or -1. */
static int
add_file(struct near *k, const struct entry *e)
{
	struct place *p = &k->out[k->n];
	struct chunklist *list;
	struct hash missing;
	int r;

	if (e->size == 0 || e->size >= WIRE_PACK_CHUNK)
		return 0;
	list = chunklist_from_entry(e, k->store, 1, &missing);
	if (list == NULL)
		return errno == ENOMEM ? -1 : 0;
	r = chunklist_get(list, 0, &p->hash);
	chunklist_free(list);
	if (r != 1)
		return 0;
	r = find_place(k, &p->hash, (uint32_t)e->size, &p->loc);
	if (r == -1)
		return -1;
	if (r == 0 || !location_good(p->loc.state) || p->loc.plain != e->size) {
		k->misses++;
		return 0;
	}
	if (p->loc.stored > k->budget) {
		k->walked = WALK_MAX;
		return 0;
	}
	k->misses = 0;
	k->budget -= p->loc.stored;
	p->slot = NEAR_SLOT;
	k->n++;
	return 0;
}

static int
add_entry(struct near *k, const struct entry *e, unsigned int depth)
{
	struct hash root;
	unsigned int misses = k->misses;
	int n = k->n, r;

	k->walked++;
	if (e->type == ENTRY_FILE)
		return add_file(k, e);
	if (e->type != ENTRY_DIR || depth == DEPTH_MAX)
		return 0;
	root = e->root;
	r = walk_dir(k, &root, (const uint8_t *)"", 0, depth + 1);
	/* To look into one takes as long. */
	if (k->n == n && k->misses == misses)
		k->misses++;
	return r;
}

/* The names of a directory behind one; 0 or -1. */
static int
walk_dir(struct near *k, const struct hash *root, const uint8_t *after,
    size_t len, unsigned int depth)
{
	struct tree_iter *it;
	const uint8_t *name;
	struct entry e;
	size_t n;
	int r = 1;

	if ((it = tree_iter_begin(k->store, root, after, len, 1)) == NULL)
		return -1;
	while (!near_full(k) && (r = tree_iter_next(it, &name, &n, &e)) == 1) {
		if (add_entry(k, &e, depth) == -1) {
			r = -1;
			break;
		}
	}
	tree_iter_end(it);
	return r == -1 ? -1 : 0;
}

int
near_find(const struct req *req, const struct node_store *store,
    const struct entry *root, const uint8_t *path, size_t len, int64_t row,
    uint32_t budget, struct place *out)
{
	struct near k = { req, row, store, budget, 0, 0, out, 0 };
	struct blob *keep;
	struct entry dir;
	struct hash hash;
	size_t end = len, at;

	/* What is behind it in its directory, then behind that one ... */
	while (end > 0 && !near_full(&k)) {
		for (at = end; at > 0 && path[at - 1] != '/'; at--)
			;
		if (tree_find(store, root, path, at > 0 ? at - 1 : 0, &dir,
			&keep) == -1)
			return -1;
		hash = dir.root;
		blob_unref(keep);
		if (walk_dir(&k, &hash, path + at, end - at, 0) == -1)
			return -1;
		end = at > 0 ? at - 1 : 0;
	}
	return k.n;
}
