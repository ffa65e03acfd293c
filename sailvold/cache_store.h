/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * cache_store: the files of the cache directory: HH/HEX62, a chunk each, named
 * by key (of chunk and volume), and HH/HEX62.b, a bundle of small ones; always
 * whole; tmp/N while they grow.  In cache.
 */
#ifndef SAILVOLD_CACHE_STORE_H
#define SAILVOLD_CACHE_STORE_H

#include <stddef.h>
#include <stdint.h>

#include "lib/hash.h"

#define CACHE_TMP_LEN 32 /* of a name below tmp/ */

enum cache_kind { CACHE_CHUNK = 0, CACHE_BUNDLE };

/* What is another when somebody has written to a file, or cut it. */
struct cache_stamp {
	uint64_t size;
	int64_t mtime_s;
	int64_t mtime_ns;
};
/* -1 and errno. */
int cache_store_stamp(int fd, struct cache_stamp *);
int cache_stamp_same(const struct cache_stamp *, const struct cache_stamp *);

/*
 * As root: the directory, and a read-only copy of its tree, through which all
 * files are opened that others get: what the kernel reopens for writing fails.
 */
int cache_store_prepare(int dirfd);
/* After the drop: one owner, folders, what is left from before is removed.
   -1 after a message. */
int cache_store_start(void);

/* A file for others, read-only; -1 and errno. */
int cache_store_open(const struct hash *, enum cache_kind,
    struct cache_stamp *);
void cache_store_remove(const struct hash *, enum cache_kind);
/* Marks it as used, for the order after a restart. */
void cache_store_touch(const struct hash *, enum cache_kind);
/* Calls f for each file of the folder i of 256, until f returns -1.  age: seconds
   since 1970 of its last use.  -1 and errno: not all of them. */
int cache_store_scan(unsigned int i,
    int (
	*f)(const struct hash *, enum cache_kind, uint64_t bytes, int64_t age));

/* A new empty file. */
int cache_store_tmp(char name[CACHE_TMP_LEN]);
/* The same file for others, read-only. */
int cache_store_tmp_open(const char *name);
void cache_store_tmp_drop(const char *name);
/* It is whole: from now on it has the name of its key. */
int cache_store_keep(const char *name, const struct hash *, enum cache_kind);
/* All of these bytes into it; -1 and errno. */
int cache_store_write(int fd, const void *, size_t);
/*
 * Copies size bytes of from, which begin at `at' there, to the beginning of
 * to, from *done on, a slice.  1: *done grew, more remain; 0: done; -1 and
 * errno (ENODATA: from is shorter).
 */
int cache_store_copy(int from, uint64_t at, int to, uint64_t *done,
    uint64_t size);

/* Bytes of the file system that may be filled, less `keep' (0: the larger of
   2 % and 1 GiB); negative when it is fuller than that.  -1: EROFS. */
int cache_store_free(uint64_t keep, int64_t *bytes);
/* Where it lies: st_dev of stat(2); 0: not known. */
uint64_t cache_store_device(void);

#endif
