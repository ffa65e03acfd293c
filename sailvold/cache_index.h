/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * cache_index: what the cache holds, by key and by age, and its limit.
 * Pure: no files, no messages.  In cache.
 */
#ifndef SAILVOLD_CACHE_INDEX_H
#define SAILVOLD_CACHE_INDEX_H

#include <sys/queue.h>
#include <sys/tree.h>
#include <stdint.h>

#include "lib/hash.h"
#include "sailvold/cache_store.h"

/* A chunk of a bundle. */
struct cache_part {
	RB_ENTRY(cache_part) node;
	struct hash key;        /* of content and volume */
	struct cache_entry *of; /* NULL: a younger bundle has it too */
};

struct cache_bundle;
/* A file: of one chunk, or of many (cache_bundle.c). */
struct cache_entry {
	RB_ENTRY(cache_entry) node;
	TAILQ_ENTRY(cache_entry) age;
	struct hash key;  /* of content and volume: its name */
	uint64_t bytes;   /* on the disk */
	int64_t touched;  /* second when the file was marked as used */
	uint8_t verified; /* since this process runs, and as `is' says */
	struct cache_stamp is;
	uint8_t busy;    /* being verified, or written: stays */
	uint16_t nparts; /* of a bundle; 0: one chunk, that of its name */
	struct cache_part *parts;
	struct cache_bundle *unwritten; /* its file is not there yet */
};

RB_HEAD(cache_tree, cache_entry);
RB_HEAD(cache_part_tree, cache_part);
TAILQ_HEAD(cache_ages, cache_entry);
struct cache_index {
	struct cache_tree tree;
	struct cache_part_tree parts;
	struct cache_ages ages; /* the longest unused first */
	uint64_t used;          /* bytes of all */
	uint64_t reserved;      /* bytes of those to come */
	uint64_t limit;
	uint64_t files;
};

void cache_index_init(struct cache_index *, uint64_t limit);
/* Frees all entries. */
void cache_index_clear(struct cache_index *);
struct cache_entry *cache_index_find(struct cache_index *, const struct hash *);
/* As the one used last; or, when oldest is set, as the longest unused.  NULL:
   EEXIST, ENOMEM. */
struct cache_entry *cache_index_add(struct cache_index *, const struct hash *,
    uint64_t bytes, int verified, int oldest);
/*
 * It is a bundle of these chunks; parts: from malloc(3), zeroed, taken.  A chunk
 * that another bundle has too is from now on this one's; or stays that one's,
 * when oldest is set.
 */
void cache_index_add_parts(struct cache_index *, struct cache_entry *,
    struct cache_part *parts, uint16_t n, int oldest);
/* The file that has a chunk: of that name, or a bundle; NULL. */
struct cache_entry *cache_index_having(struct cache_index *,
    const struct hash *);
/* It was used now. */
void cache_index_touch(struct cache_index *, struct cache_entry *);
/* Forgets and frees it. */
void cache_index_remove(struct cache_index *, struct cache_entry *);
/*
 * The next to be evicted so that `need' more bytes, with what is reserved,
 * stay below the limit, and `lack' more bytes of the file system become free;
 * NULL: nothing has to go, or nothing can.
 */
struct cache_entry *cache_index_victim(struct cache_index *, uint64_t need,
    uint64_t lack);
/* 1 when that many more bytes fit the limit. */
int cache_index_fits(const struct cache_index *, uint64_t need);
/* 1 when there is one that is not given up before its work is done. */
int cache_index_busy(const struct cache_index *);

#endif
