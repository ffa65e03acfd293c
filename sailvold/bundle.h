/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * bundle: small chunks that the cache has handed over together, a descriptor for
 * many: what is read next to what was read is here already.  In fuse.
 */
#ifndef SAILVOLD_BUNDLE_H
#define SAILVOLD_BUNDLE_H

#include <sys/stat.h>

#include "lib/fetch_imsg.h"

/*
 * Bounds of all that a mount holds.  What is not written to the cache yet is
 * memory, of no process's own: at most so many bytes of the 128 MiB of all, and
 * none of it a few seconds after the last use.
 */
#define BUNDLES_MAX 16
#define BUNDLES_BYTES ((uint64_t)32 << 20)
#define BUNDLES_IDLE_MS 3000
#define BUNDLE_MANY 16 /* chunks */

/* fd (taken, also on failure) has these; -1 and errno: it has not. */
int bundle_take(const struct fetch_bundle *, int fd);
/*
 * Where that chunk is: 1, and the descriptor, which stays its owner's, and
 * whether it is memory; 0.
 */
int bundle_find(const struct hash *, uint32_t bytes, int *fd, off_t *at,
    int *memory);
/* 1: it is in one; nothing is used by that. */
int bundle_has(const struct hash *, uint32_t bytes);
/* 1, once of each: half of the chunks of one of many were found there. */
int bundle_ran_half(void);
/* Those that nobody used lately go. */
void bundle_tidy(void);
/* Those whose file the cache has given up go. */
void bundle_let_go(void);
/* That which is this file goes. */
void bundle_bad(const struct stat *);
void bundle_drop_all(void);
unsigned int bundle_count(void);

#endif
