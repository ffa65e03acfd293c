/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * meta_pace: how much the reports of a key may have the server read for nothing.
 * What is read is charged, and given back where the report was right; the rest
 * is forgotten by and by.  In meta.
 */
#include <sys/tree.h>
#include <stdlib.h>

#include "sailapid/meta.h"

#define PACE_BYTES ((uint64_t)128 << 20) /* charged at a time */
#define PACE_RATE ((uint64_t)1 << 20)    /* forgotten in a second */
#define PACE_RUNNING 8                   /* reports that are followed */

/* A key that something is charged to. */
struct pace {
	RB_ENTRY(pace) entry;
	int64_t key;
	uint64_t bytes;
	monotime_t since; /* they are as many */
	unsigned int running;
};

static int
pace_cmp(const struct pace *a, const struct pace *b)
{
	return a->key < b->key ? -1 : a->key > b->key;
}

RB_HEAD(paces, pace);
RB_PROTOTYPE(paces, pace, entry, pace_cmp)
RB_GENERATE(paces, pace, entry, pace_cmp)

static struct paces paces = RB_INITIALIZER(&paces);

void
pace_init(void)
{
	struct pace *p;

	while ((p = RB_MIN(paces, &paces)) != NULL) {
		RB_REMOVE(paces, &paces, p);
		free(p);
	}
}

static void
pace_settle(struct pace *p)
{
	monotime_t now = monotime_now();
	int64_t ms = monotime_diff_ms(now, p->since);
	uint64_t gone;

	/* Whole seconds, so that nothing is lost by looking often. */
	if (ms < 1000)
		return;
	gone = (uint64_t)ms / 1000 * PACE_RATE;
	p->bytes -= gone < p->bytes ? gone : p->bytes;
	p->since = monotime_add_ms(p->since, ms / 1000 * 1000);
}

static struct pace *
pace_of(int64_t key)
{
	struct pace find = { .key = key };

	return RB_FIND(paces, &paces, &find);
}

int
pace_take(int64_t key, uint64_t bytes)
{
	struct pace *p = pace_of(key);

	if (p == NULL) {
		if ((p = calloc(1, sizeof(*p))) == NULL)
			return 0;
		p->key = key;
		p->since = monotime_now();
		RB_INSERT(paces, &paces, p);
	}
	pace_settle(p);
	if (p->running == PACE_RUNNING ||
	    (p->bytes > 0 && p->bytes + bytes > PACE_BYTES))
		return 0;
	p->bytes += bytes;
	p->running++;
	return 1;
}

void
pace_end(int64_t key, uint64_t back)
{
	struct pace *p = pace_of(key);

	if (p == NULL)
		return;
	pace_settle(p);
	p->bytes -= back < p->bytes ? back : p->bytes;
	p->running--;
}

void
pace_tick(void)
{
	struct pace *p, *next;

	RB_FOREACH_SAFE (p, paces, &paces, next) {
		pace_settle(p);
		if (p->bytes > 0 || p->running > 0)
			continue;
		RB_REMOVE(paces, &paces, p);
		free(p);
	}
}
