/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * hashset: a set of hashes that may have been chosen by somebody else, each
 * with a number.
 */
#ifndef SAILAPID_HASHSET_H
#define SAILAPID_HASHSET_H

#include "lib/hash.h"

struct hashset {
	struct hash *keys; /* in the order in which they came */
	uint32_t n;
	uint32_t *slots; /* index + 1, 0: free */
	uint32_t nslots, nkeys;
	uint64_t seed, mul;
};

void hashset_init(struct hashset *);
void hashset_free(struct hashset *);
/* 1 and its index when it was new, 0 and its index when it was there; -1 and
   ENOMEM. */
int hashset_add(struct hashset *, const struct hash *, uint32_t *index);
/* 1 and its index when it is there, or 0. */
int hashset_find(const struct hashset *, const struct hash *, uint32_t *index);
int hashset_has(const struct hashset *, const struct hash *);

#endif
