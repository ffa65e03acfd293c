/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * memstore: a node store in memory that counts what is asked of it, and the
 * random numbers of the tests, which SAIL_SEED repeats.
 */
#ifndef REGRESS_MEMSTORE_H
#define REGRESS_MEMSTORE_H

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lib/node.h"
#include "regress/unit/seed.h"

struct memstore {
	struct memnode {
		struct hash hash;
		struct blob *blob;
		unsigned int gets;
	} * v;
	size_t n, cap;
	unsigned int gets, puts;
	struct node_store store;
};

static struct memnode *
memstore_find(struct memstore *m, const struct hash *h)
{
	size_t i;

	memcpy(&i, h->b, sizeof(i));
	for (i &= m->cap - 1; m->v[i].blob != NULL; i = (i + 1) & (m->cap - 1))
		if (hash_cmp(&m->v[i].hash, h) == 0)
			break;
	return (&m->v[i]);
}

static struct blob *
memstore_get(void *arg, const struct hash *h)
{
	struct memstore *m = arg;
	struct memnode *n = memstore_find(m, h);

	m->gets++;
	if (n->blob == NULL || n->blob->len == 0) {
		errno = ENOENT;
		return (NULL);
	}
	n->gets++;
	return (blob_ref(n->blob));
}

static int
memstore_put(void *arg, const struct hash *h, const uint8_t *data, size_t len)
{
	struct memstore *m = arg;
	struct memnode *n, *old = m->v;
	size_t i, cap = m->cap;

	if ((m->n + 1) * 2 > cap) {
		m->cap = cap * 2;
		m->v = calloc(m->cap, sizeof(*m->v));
		for (i = 0; i < cap; i++)
			if (old[i].blob != NULL)
				*memstore_find(m, &old[i].hash) = old[i];
		free(old);
	}
	m->puts++;
	n = memstore_find(m, h);
	if (n->blob != NULL) {
		if (n->blob->len == 0) {
			blob_unref(n->blob);
			n->blob = blob_new(data, len);
		}
		return (0);
	}
	n->hash = *h;
	n->blob = blob_new(data, len);
	m->n++;
	return (n->blob == NULL ? -1 : 0);
}

static inline void
memstore_init(struct memstore *m)
{
	memset(m, 0, sizeof(*m));
	m->cap = 1024;
	m->v = calloc(m->cap, sizeof(*m->v));
	m->store.get = memstore_get;
	m->store.put = memstore_put;
	m->store.ctx = m;
}

static inline void
memstore_free(struct memstore *m)
{
	size_t i;

	for (i = 0; i < m->cap; i++)
		blob_unref(m->v[i].blob);
	free(m->v);
}

/* It is not here any more. */
static inline void
memstore_lose(struct memstore *m, const struct hash *h)
{
	struct memnode *n = memstore_find(m, h);

	if (n->blob != NULL) {
		blob_unref(n->blob);
		n->blob = blob_new(NULL, 0);
	}
}

static uint64_t rnd_state;

static inline void
rnd_seed(void)
{
	rnd_state = (uint64_t)seeded() * 1000003u;
}

/* splitmix64 */
static inline uint64_t
rnd64(void)
{
	uint64_t z = (rnd_state += 0x9e3779b97f4a7c15u);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return (z ^ (z >> 31));
}

/* 0 to n - 1 */
static inline uint64_t
rnd(uint64_t n)
{
	return (rnd64() % n);
}

#endif
