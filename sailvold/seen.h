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
};
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
struct seen_tree {
	struct place ref;
	struct seen_except *x; /* ascending by path_cmp */
	size_t n;
};
int seen_tree(struct seen_ctx *, const void *path, size_t len,
    const struct seen_at *, struct seen_tree *);
void seen_tree_free(struct seen_tree *);

#endif
