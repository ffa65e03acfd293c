/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * seen: what a mount saw at a path: the row of the path, or what the nearest
 * row above says of it, or what the base has there (sailvol-format(5),
 * MERGE).  In manifest.
 */
#ifndef SAILVOLD_SEEN_H
#define SAILVOLD_SEEN_H

#include "sailvold/place.h"

struct seen_at {
	struct seen seen;
	int has_tree; /* a directory: its names are those of tree, less rows;
			 0: rows alone */
	struct place tree;
};
void seen_at_free(struct seen_at *);

struct seen_ctx {
	struct db *db;
	const struct mount_row *row;
	struct node_miss *miss;
	unsigned int attempt; /* which side of a difference is asked for */
	size_t names;         /* where directories as seen differed, so far */
	size_t bytes;         /* of exceptions, so far */
};
/*
 * As many names may differ in all directories of a delta between what the merge
 * takes as seen and what was seen, not counting what this mount published, and
 * the exceptions fit a delta; else EFBIG, and miss has the directory's path.
 */
#define SEEN_MAX_NAMES ((size_t)1 << 20)
extern size_t seen_names_max; /* SEEN_MAX_NAMES, for tests */
/* Paths are paths in the volume.  0, or -1: ENODATA (miss), ENOMEM, EIO. */
int seen_root(struct seen_ctx *, struct seen_at *);
int seen_child(struct seen_ctx *, const struct seen_at *parent,
    const void *path, size_t len, const void *name, size_t name_len,
    struct seen_at *);
int seen_lookup(struct seen_ctx *, const void *path, size_t len,
    struct seen_at *);

/*
 * A delete tree of a directory that was seen: the reference, and by relative
 * path what was seen there instead.  A directory that has no tree, only what
 * this mount published in it, refers to its own path in the base: mostly there
 * is no directory, and nothing was seen by that alone; else it excepts every
 * name of it.
 */
struct seen_except {
	uint8_t *path;
	size_t len;
	struct seen seen;
};
/* Says of which directory that is too much, for who asked. */
void seen_too_many(const struct node_miss *, char *text, size_t size);
struct seen_tree {
	struct place ref;
	struct seen_except *x; /* ascending by path_cmp */
	size_t n;
};
int seen_tree(struct seen_ctx *, const void *path, size_t len,
    const struct seen_at *, struct seen_tree *);
void seen_tree_free(struct seen_tree *);

#endif
