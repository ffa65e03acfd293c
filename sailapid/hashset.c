/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * hashset: an open table over an array of hashes; the place of a hash depends
 * on random numbers, for clients choose what stands in it.  In meta.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "sailapid/hashset.h"

void
hashset_init(struct hashset *s)
{
	memset(s, 0, sizeof(*s));
	arc4random_buf(&s->seed, sizeof(s->seed));
	arc4random_buf(&s->mul, sizeof(s->mul));
	s->mul |= 1;
}

void
hashset_free(struct hashset *s)
{
	free(s->keys);
	free(s->slots);
	memset(s, 0, sizeof(*s));
}

/* The slot where it is or would be. */
static uint32_t
hashset_slot(const struct hashset *s, const struct hash *h)
{
	uint64_t w[4], v;
	uint32_t i;

	memcpy(w, h->b, sizeof(w));
	v = (w[0] ^ s->seed) * s->mul;
	v = ((v >> 29) ^ v ^ w[1]) * s->mul;
	v = ((v >> 31) ^ v ^ w[2]) * s->mul;
	v = ((v >> 30) ^ v ^ w[3]) * s->mul;
	i = (uint32_t)(v >> 32) & (s->nslots - 1);
	while (s->slots[i] != 0 &&
	    memcmp(&s->keys[s->slots[i] - 1], h, sizeof(*h)) != 0)
		i = (i + 1) & (s->nslots - 1);
	return i;
}

static int
hashset_grow(struct hashset *s)
{
	struct hash *keys;
	uint32_t *slots, i, nslots;

	if (s->n == s->nkeys) {
		if (s->nkeys > UINT32_MAX / 8) {
			errno = ENOMEM;
			return -1;
		}
		i = s->nkeys == 0 ? 64 : s->nkeys * 2;
		keys = reallocarray(s->keys, i, sizeof(*keys));
		if (keys == NULL)
			return -1;
		s->keys = keys;
		s->nkeys = i;
	}
	if (s->nslots / 2 > s->n)
		return 0;
	nslots = s->nslots == 0 ? 128 : s->nslots * 2;
	if ((slots = calloc(nslots, sizeof(*slots))) == NULL)
		return -1;
	free(s->slots);
	s->slots = slots;
	s->nslots = nslots;
	for (i = 0; i < s->n; i++)
		slots[hashset_slot(s, &s->keys[i])] = i + 1;
	return 0;
}

int
hashset_add(struct hashset *s, const struct hash *h, uint32_t *index)
{
	uint32_t slot;

	if (hashset_grow(s) == -1)
		return -1;
	slot = hashset_slot(s, h);
	if (s->slots[slot] != 0) {
		*index = s->slots[slot] - 1;
		return 0;
	}
	s->keys[s->n] = *h;
	*index = s->n++;
	s->slots[slot] = s->n;
	return 1;
}

int
hashset_find(const struct hashset *s, const struct hash *h, uint32_t *index)
{
	uint32_t slot;

	if (s->nslots == 0 || s->slots[slot = hashset_slot(s, h)] == 0)
		return 0;
	*index = s->slots[slot] - 1;
	return 1;
}

int
hashset_has(const struct hashset *s, const struct hash *h)
{
	return s->nslots != 0 && s->slots[hashset_slot(s, h)] != 0;
}
