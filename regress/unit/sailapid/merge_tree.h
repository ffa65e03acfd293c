/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * merge_tree: from the model's trees and deltas to real ones and back, and the
 * merge of both with a comparison, for the tests of the merge.
 */
#ifndef REGRESS_MERGE_TREE_H
#define REGRESS_MERGE_TREE_H

#include "regress/unit/sailapid/merge_model.h"
#include "sailapid/merge.h"

/* A store in memory. */
struct mem_store {
	struct node_store store;
	struct mem_node **slot;
	size_t nslots, n;
	uint64_t gets;
};
void mem_store_init(struct mem_store *);
void mem_store_free(struct mem_store *);
void mem_store_remove(struct mem_store *, const struct hash *);

/* A published state, both ways. */
struct state {
	struct mtree flat;
	struct entry root; /* views into mem */
	struct entry *mem;
	struct hash id;
};

extern const uint8_t test_salt[TREE_SALT_LEN];

/* Puts the tree into the store. */
void state_build(struct mem_store *, struct state *, uint32_t id);
void state_name(struct state *, uint32_t id);
void state_free(struct state *);
/* Reads a real tree; checks sums on the way. */
void tree_read(struct mem_store *, const struct entry *root, struct mtree *);
struct delta *delta_of(struct mem_store *, const struct mdelta *,
    const struct state *const *commits, uint32_t ncommits, uint8_t **bytes,
    size_t *len);
/*
 * Merges the delta with bytes changed by rnd, so many times: what
 * is still a delta has to be merged or refused; a crash is the failure.  How
 * many were merged.
 */
uint64_t merge_flipped(struct mem_store *, const struct state *head,
    const struct mdelta *, const struct state *const *commits,
    uint32_t ncommits, unsigned int times, uint32_t (*rnd)(uint32_t));

/*
 * Merges by both, compares everything, and gives the new state (id is the
 * caller's) and the report.  0, or 1 with a description on standard error.
 */
int merge_both(struct mem_store *, const struct state *head,
    const struct mdelta *, const struct state *const *commits,
    uint32_t ncommits, int if_unchanged, struct state *result,
    struct mreport *);
void mdelta_print(const struct mdelta *);
void mtree_print(const char *what, const struct mtree *);

#endif
