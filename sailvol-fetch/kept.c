/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * kept: see kept.h.  One copy for each peer and hash.  In sailvol-fetch.
 */
#include <sys/cdefs.h>
#include <sys/queue.h>
#include <sys/tree.h>
#include <errno.h>
#include <event.h>
#include <stdlib.h>
#include <string.h>

#include "lib/log.h"
#include "lib/monotime.h"
#include "sailvol-fetch/kept.h"
#include "sailvol-fetch/worker.h"

#define LIFE_MS 60000 /* without anybody who holds it */
#define SWEEP_S 10

struct kept {
	RB_ENTRY(kept) node;
	TAILQ_ENTRY(kept) entry; /* by last use, while nobody holds it */
	struct chan *peer;
	struct hash hash;
	uint8_t *data;
	uint32_t bytes;
	unsigned int held;
	int done;
	monotime_t used;
};
RB_HEAD(kept_tree, kept);
static struct kept_tree tree = RB_INITIALIZER(&tree);
static TAILQ_HEAD(, kept) idle = TAILQ_HEAD_INITIALIZER(idle);
static size_t total;
static struct event sweep_ev;

static int
kept_cmp(const struct kept *a, const struct kept *b)
{
	if (a->peer != b->peer)
		return (uintptr_t)a->peer < (uintptr_t)b->peer ? -1 : 1;
	return hash_cmp(&a->hash, &b->hash);
}

RB_PROTOTYPE(kept_tree, kept, node, kept_cmp)
RB_GENERATE(kept_tree, kept, node, kept_cmp)

static struct kept *
kept_find(struct chan *peer, const struct hash *h)
{
	struct kept key;

	key.peer = peer;
	key.hash = *h;
	return RB_FIND(kept_tree, &tree, &key);
}

/* Of one that nobody holds. */
static void
kept_drop(struct kept *k)
{
	TAILQ_REMOVE(&idle, k, entry);
	RB_REMOVE(kept_tree, &tree, k);
	total -= k->bytes;
	free(k->data);
	free(k);
}

static void
sweep_later(void)
{
	struct timeval tv = { SWEEP_S, 0 };

	if (evtimer_add(&sweep_ev, &tv) == -1)
		fatalx("kept: evtimer_add");
}

static void
on_sweep(int fd, short ev, void *arg)
{
	monotime_t now = monotime_now();
	struct kept *k;

	(void)fd;
	(void)ev;
	(void)arg;
	while ((k = TAILQ_FIRST(&idle)) != NULL &&
	    monotime_diff_ms(now, k->used) >= LIFE_MS)
		kept_drop(k);
	if (!RB_EMPTY(&tree))
		sweep_later();
}

static void
kept_idle(struct kept *k)
{
	k->used = monotime_now();
	TAILQ_INSERT_TAIL(&idle, k, entry);
}

int
kept_room(size_t n)
{
	return n <= kept_max() && total <= kept_max() - n;
}

int
kept_add(struct chan *peer, const struct hash *h, uint8_t *data, uint32_t n)
{
	struct kept *k;

	if ((k = kept_find(peer, h)) != NULL) {
		k->done = 0;
		free(data);
		return 0;
	}
	if (!kept_room(n) || (k = calloc(1, sizeof(*k))) == NULL) {
		free(data);
		return -1;
	}
	k->peer = peer;
	k->hash = *h;
	k->data = data;
	k->bytes = n;
	total += n;
	RB_INSERT(kept_tree, &tree, k);
	kept_idle(k);
	if (!event_initialized(&sweep_ev))
		evtimer_set(&sweep_ev, on_sweep, NULL);
	if (!evtimer_pending(&sweep_ev, NULL))
		sweep_later();
	return 0;
}

struct kept *
kept_hold(struct chan *peer, const struct hash *h, uint32_t n)
{
	struct kept *k = kept_find(peer, h);

	if (k == NULL || k->bytes != n)
		return NULL;
	if (k->held++ == 0)
		TAILQ_REMOVE(&idle, k, entry);
	return k;
}

const uint8_t *
kept_data(const struct kept *k)
{
	return k->data;
}

void
kept_release(struct kept *k, int done)
{
	if (k == NULL)
		return;
	k->done |= done;
	if (--k->held > 0)
		return;
	kept_idle(k);
	if (k->done || k->peer == NULL)
		kept_drop(k);
}

void
kept_peer_down(struct chan *peer)
{
	struct kept *k, *next;

	for (k = RB_MIN(kept_tree, &tree); k != NULL; k = next) {
		next = RB_NEXT(kept_tree, &tree, k);
		if (k->peer != peer)
			continue;
		/* Those that are held go with their uploads, which end now. */
		k->done = 1;
		if (k->held == 0)
			kept_drop(k);
	}
}
