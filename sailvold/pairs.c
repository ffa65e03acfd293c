/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * pairs: pairs of directories that were compared and gave nothing.  In
 * manifest.
 */
#include <stdlib.h>
#include <string.h>

#include "sailvold/pairs.h"

#define PAIRS_FIRST 64
#define PAIRS_MAX 65536 /* of slots, a power of two; half of them are used */

void
pairs_free(struct pairs *p)
{
	free(p->v);
	memset(p, 0, sizeof(*p));
}

static void
key_of(struct hash key[2], const struct hash *a, const struct hash *b)
{
	memset(key, 0, 2 * sizeof(key[0]));
	if (a != NULL)
		key[0] = *a;
	if (b != NULL)
		key[1] = *b;
}

/* The slot that has it, or where it belongs. */
static size_t
find(const struct pairs *p, const struct hash key[2])
{
	uint64_t a, b;
	size_t i;

	memcpy(&a, key[0].b, sizeof(a));
	memcpy(&b, key[1].b, sizeof(b));
	for (i = (size_t)(a ^ (b << 1)) & (p->cap - 1);
	     memcmp(p->v[i], key, 2 * sizeof(key[0])) != 0;
	     i = (i + 1) & (p->cap - 1))
		if (hash_is_zero(&p->v[i][0]) && hash_is_zero(&p->v[i][1]))
			break;
	return i;
}

int
pairs_has(const struct pairs *p, const struct hash *a, const struct hash *b)
{
	struct hash key[2];

	if (p->n == 0)
		return 0;
	key_of(key, a, b);
	return memcmp(p->v[find(p, key)], key, sizeof(key)) == 0;
}

static int
grow(struct pairs *p)
{
	struct pairs more = { NULL, p->n, 0 };
	size_t i;

	more.cap = p->cap == 0 ? PAIRS_FIRST : p->cap * 2;
	if (more.cap > PAIRS_MAX ||
	    (more.v = calloc(more.cap, sizeof(*more.v))) == NULL)
		return -1;
	for (i = 0; i < p->cap; i++)
		if (!hash_is_zero(&p->v[i][0]) || !hash_is_zero(&p->v[i][1]))
			memcpy(more.v[find(&more, p->v[i])], p->v[i],
			    sizeof(*p->v));
	free(p->v);
	*p = more;
	return 0;
}

void
pairs_add(struct pairs *p, const struct hash *a, const struct hash *b)
{
	struct hash key[2];

	if (pairs_has(p, a, b) || (p->n >= p->cap / 2 && grow(p) == -1))
		return;
	key_of(key, a, b);
	memcpy(p->v[find(p, key)], key, sizeof(key));
	p->n++;
}
