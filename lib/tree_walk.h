/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * tree_walk: a position among the nodes of one level of a directory, shared by
 * look-up, iteration, comparison and edit.  Private to lib/tree*.c.
 */
#ifndef LIB_TREE_WALK_H
#define LIB_TREE_WALK_H

#include "lib/tree.h"

struct walk_frame {
	struct blob *blob; /* an index node of this level */
	struct hash hash;
	struct node_index x; /* has read up to and with cur */
	struct node_child cur;
	uint64_t entries, files, bytes; /* sums up to and with cur */
	struct node_child claim; /* what the parent says; last NULL: a root */
	const uint8_t *lower;    /* last name before this node; NULL: none */
	size_t lower_len;
	const uint8_t *prev; /* last name before cur; NULL: none */
	size_t prev_len;
	uint64_t prev_entries; /* of the child before cur; 0: unknown */
};

/* Index nodes of one call that were read already. */
#define WALK_CACHE 32
struct walk_cache {
	struct hash hash[WALK_CACHE];
	struct blob *blob[WALK_CACHE];
	unsigned int next;
};

struct walk {
	const struct node_store *store;
	struct walk_cache *cache; /* may be NULL */
	uint8_t level;            /* of the nodes that it stands on */
	uint8_t top;              /* of the root */
	struct hash root;
	struct walk_frame f[NODE_LEVEL_MAX + 1];
	struct node_child pos; /* the node; last is NULL when it is the root */
	struct hash missing;
};

int walk_name_cmp(const void *, size_t, const void *, size_t);
/* errno: ENODATA and *missing; EBADMSG; the store's. */
struct blob *walk_get(const struct node_store *, const struct hash *,
    struct hash *missing);
/* cache may be NULL. */
struct blob *walk_get_cached(const struct node_store *, struct walk_cache *,
    const struct hash *, struct hash *missing);
void walk_cache_free(struct walk_cache *);
/* NULL and errno; *level is that of the root. */
struct blob *walk_root(const struct node_store *, struct walk_cache *,
    const struct hash *, uint8_t *level, struct hash *missing);

/* Stands on the first node of that level, which is not above the root's. */
int walk_begin(struct walk *, const struct node_store *, struct walk_cache *,
    const struct hash *root, uint8_t level);
/* On the first node whose last name is not less, or the last node. */
int walk_to(struct walk *, const void *name, size_t len);
/* 1, or 0 when there is none. */
int walk_next(struct walk *);
/* Last name before the node, NULL when it is the first; *entries: of the node
   before, or 0 when that is not known. */
const uint8_t *walk_before(const struct walk *, size_t *len, uint64_t *entries);
void walk_end(struct walk *);

/* A leaf, read against what its parent claims (claim->last NULL: a root). */
struct leaf_reader {
	struct node_leaf l;
	const struct node_child *claim;
	const uint8_t *lower; /* last name before the leaf; NULL: none */
	size_t lower_len;
	uint64_t files, bytes;
	const uint8_t *raw; /* of the last item read, with its name */
	size_t raw_len;
};
int leaf_open(struct leaf_reader *, const struct blob *,
    const struct node_child *claim, const uint8_t *lower, size_t lower_len);
int leaf_next(struct leaf_reader *, const uint8_t **name, size_t *len,
    struct entry *);
void entry_sums(const struct entry *, uint64_t *files, uint64_t *bytes);

#endif
