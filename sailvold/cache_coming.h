/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * cache_coming: what was given up of the cache and is not free yet.  Pure: no
 * files, no messages.  In cache.
 */
#ifndef SAILVOLD_CACHE_COMING_H
#define SAILVOLD_CACHE_COMING_H

#include <stdint.h>

/* Bytes that will become free, as it seems when so many are. */
uint64_t cache_coming(int64_t now_free);
/* So many were given up; and were free before, and are free now. */
void cache_coming_add(uint64_t bytes, int64_t free_before, int64_t free_after);

#endif
