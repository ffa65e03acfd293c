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

static int
part_cmp(struct cache_part *a, struct cache_part *b)
{
	return hash_cmp(&a->key, &b->key);
}

RB_PROTOTYPE(cache_part_tree, cache_part, node, part_cmp)
RB_GENERATE(cache_part_tree, cache_part, node, part_cmp)

void
cache_index_init(struct cache_index *x, uint64_t limit)
{
	RB_INIT(&x->tree);
	RB_INIT(&x->parts);
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

void
cache_index_add_parts(struct cache_index *x, struct cache_entry *e,
    struct cache_part *parts, uint16_t n, int oldest)
{
	struct cache_part *old;
	uint16_t i;

	e->parts = parts;
	e->nparts = n;
	for (i = 0; i < n; i++) {
		/* The younger bundle stays longer. */
		if ((old = RB_FIND(cache_part_tree, &x->parts, &parts[i])) !=
		    NULL) {
			if (oldest)
				continue;
			RB_REMOVE(cache_part_tree, &x->parts, old);
			old->of = NULL;
		}
		parts[i].of = e;
		RB_INSERT(cache_part_tree, &x->parts, &parts[i]);
	}
}

struct cache_entry *
cache_index_having(struct cache_index *x, const struct hash *key)
{
	struct cache_entry *e = cache_index_find(x, key);
	struct cache_part part = { .key = *key }, *p;

	if (e != NULL && e->nparts == 0)
		return e;
	p = RB_FIND(cache_part_tree, &x->parts, &part);
	return p != NULL ? p->of : NULL;
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
	uint16_t i;

	for (i = 0; i < e->nparts; i++)
		if (e->parts[i].of == e)
			RB_REMOVE(cache_part_tree, &x->parts, &e->parts[i]);
	free(e->parts);
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

int
cache_index_busy(const struct cache_index *x)
{
	const struct cache_entry *e;

	TAILQ_FOREACH (e, &x->ages, age)
		if (e->busy)
			return 1;
	return 0;
}
