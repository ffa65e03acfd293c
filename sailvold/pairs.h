/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * pairs: pairs of directories that were compared and gave nothing: a few equal
 * nodes can stand for more of them than anybody could look at.  In manifest.
 */
#ifndef SAILVOLD_PAIRS_H
#define SAILVOLD_PAIRS_H

#include <stddef.h>

#include "lib/hash.h"

struct pairs { /* zero: none */
	struct hash (*v)[2];
	size_t n, cap;
};
void pairs_free(struct pairs *);
/* NULL: there is no directory on that side. */
int pairs_has(const struct pairs *, const struct hash *, const struct hash *);
/* May be forgotten when there are many, or no memory. */
void pairs_add(struct pairs *, const struct hash *, const struct hash *);

#endif
