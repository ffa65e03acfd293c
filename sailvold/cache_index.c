/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * cache_index: entries in a tree by key and in a list by age.  In cache.
 */
#include <errno.h>
#include <stdlib.h>

#include "sailvold/cache_index.h"

static int
entry_cmp(struct cache_entry *a, struct cache_entry *b)
{
	return hash_cmp(&a->key, &b->key);
}

RB_PROTOTYPE(cache_tree, cache_entry, node, entry_cmp)
RB_GENERATE(cache_tree, cache_entry, node, entry_cmp)

void
cache_index_init(struct cache_index *x, uint64_t limit)
{
	RB_INIT(&x->tree);
	TAILQ_INIT(&x->ages);
	x->used = x->reserved = x->files = 0;
	x->limit = limit;
}

void
cache_index_clear(struct cache_index *x)
{
	struct cache_entry *e;

	while ((e = TAILQ_FIRST(&x->ages)) != NULL)
		cache_index_remove(x, e);
}

struct cache_entry *
cache_index_find(struct cache_index *x, const struct hash *key)
{
	struct cache_entry e = { .key = *key };

	return RB_FIND(cache_tree, &x->tree, &e);
}

struct cache_entry *
cache_index_add(struct cache_index *x, const struct hash *key, uint64_t bytes,
    int verified, int oldest)
{
	struct cache_entry *e;

	if ((e = calloc(1, sizeof(*e))) == NULL)
		return NULL;
	e->key = *key;
	e->bytes = bytes;
	e->verified = verified != 0;
	if (RB_INSERT(cache_tree, &x->tree, e) != NULL) {
		free(e);
		errno = EEXIST;
		return NULL;
	}
	if (oldest)
		TAILQ_INSERT_HEAD(&x->ages, e, age);
	else
		TAILQ_INSERT_TAIL(&x->ages, e, age);
	x->used += bytes;
	x->files++;
	return e;
}

void
cache_index_touch(struct cache_index *x, struct cache_entry *e)
{
	TAILQ_REMOVE(&x->ages, e, age);
	TAILQ_INSERT_TAIL(&x->ages, e, age);
}

void
cache_index_remove(struct cache_index *x, struct cache_entry *e)
{
	RB_REMOVE(cache_tree, &x->tree, e);
	TAILQ_REMOVE(&x->ages, e, age);
	x->used -= e->bytes;
	x->files--;
	free(e);
}

int
cache_index_fits(const struct cache_index *x, uint64_t need)
{
	uint64_t have = x->used + x->reserved;

	return have <= x->limit && need <= x->limit - have;
}

struct cache_entry *
cache_index_victim(struct cache_index *x, uint64_t need, uint64_t lack)
{
	struct cache_entry *e;

	if (lack == 0 && cache_index_fits(x, need))
		return NULL;
	/* All of it would not make that much room: it is not given up. */
	if (x->reserved > x->limit || need > x->limit - x->reserved)
		return NULL;
	TAILQ_FOREACH (e, &x->ages, age)
		if (!e->busy)
			return e;
	return NULL;
}
