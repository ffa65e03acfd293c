/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * api_body: the memory of large bodies, shared by the keys: when there is no
 * room for more, whoever has most of it gives some up to whoever has less; and
 * how much of it meta may have.  In api.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "sailapid/api.h"

/* All bodies of a key at meta together, if there are several. */
#define KEY_AT_META ((uint64_t)16 << 20)
/* Up to there (a full question for chunks has 147 KiB) none waits for another:
   there are as many as requests. */
#define SMALL_BYTES ((uint64_t)1 << 20)

/* A key with large bodies here, or at meta. */
struct holder {
	RB_ENTRY(holder) entry;
	TAILQ_HEAD(, body_share) shares; /* the oldest first */
	uint64_t bytes, at_meta;
	struct hash key;
};

/* What one body has. */
struct body_share {
	TAILQ_ENTRY(body_share) entry;
	struct holder *holder;
	struct api_call *call; /* NULL: it is meta's alone */
	uint64_t bytes;
	int at_meta;
};

static int
holder_cmp(const struct holder *a, const struct holder *b)
{
	return hash_cmp(&a->key, &b->key);
}

RB_HEAD(holders, holder);
RB_PROTOTYPE(holders, holder, entry, holder_cmp)
RB_GENERATE(holders, holder, entry, holder_cmp)

static struct holders holders = RB_INITIALIZER(&holders);
static uint64_t total, at_meta;

static uint64_t
room(void)
{
	return 2 * api_limits.max_body;
}

static int
is_small(const struct body_share *s)
{
	return s->bytes <= SMALL_BYTES;
}

/* ---- keys ------------------------------------------------------------------ */

static struct holder *
holder_get(const struct api_call *call)
{
	struct holder key, *h;

	/* meta has said that it is one. */
	api_key_hash(call, &key.key);
	if ((h = RB_FIND(holders, &holders, &key)) != NULL)
		return h;
	if ((h = calloc(1, sizeof(*h))) == NULL)
		return NULL;
	h->key = key.key;
	TAILQ_INIT(&h->shares);
	RB_INSERT(holders, &holders, h);
	return h;
}

/* The one with most, and what of it is here can be taken away: the oldest. */
static struct body_share *
most(const struct holder **of)
{
	struct body_share *s, *found = NULL;
	struct holder *h;

	*of = NULL;
	RB_FOREACH (h, holders, &holders) {
		if (*of != NULL && h->bytes <= (*of)->bytes)
			continue;
		TAILQ_FOREACH (s, &h->shares, entry)
			if (!s->at_meta)
				break;
		if (s != NULL) {
			*of = h;
			found = s;
		}
	}
	return found;
}

/* ---- bodies ----------------------------------------------------------------- */

static struct body_share *
share_new(struct api_call *call)
{
	struct body_share *s = calloc(1, sizeof(*s));

	if (s == NULL || (s->holder = holder_get(call)) == NULL) {
		free(s);
		return NULL;
	}
	s->call = call;
	TAILQ_INSERT_TAIL(&s->holder->shares, s, entry);
	return s;
}

void
body_free(struct body_share *s)
{
	struct holder *h;

	if (s == NULL)
		return;
	h = s->holder;
	if (s->at_meta && !is_small(s)) {
		at_meta -= s->bytes;
		h->at_meta -= s->bytes;
	}
	if (s->call != NULL)
		s->call->share = NULL;
	total -= s->bytes;
	h->bytes -= s->bytes;
	TAILQ_REMOVE(&h->shares, s, entry);
	free(s);
	if (TAILQ_EMPTY(&h->shares)) {
		RB_REMOVE(holders, &holders, h);
		free(h);
	}
}

int
body_grow(struct api_call *call, size_t len)
{
	const struct holder *of;
	struct body_share *s;

	if (call->share == NULL && (call->share = share_new(call)) == NULL)
		return -1;
	while (total + len > room()) {
		s = most(&of);
		if (s == NULL || of == call->share->holder ||
		    of->bytes <= call->share->holder->bytes + len) {
			errno = ENOMEM;
			return -1;
		}
		api_take_body(s->call);
	}
	call->share->bytes += len;
	call->share->holder->bytes += len;
	total += len;
	return 0;
}

/* ---- meta ------------------------------------------------------------------- */

int
body_may_go(const struct body_share *s)
{
	if (s == NULL || is_small(s))
		return 1;
	return (s->holder->at_meta == 0 ||
		   s->holder->at_meta + s->bytes <= KEY_AT_META) &&
	    (at_meta == 0 || at_meta + s->bytes <= api_limits.max_body);
}

void
body_goes(struct body_share *s)
{
	if (s == NULL)
		return;
	s->at_meta = 1;
	if (is_small(s))
		return;
	s->holder->at_meta += s->bytes;
	at_meta += s->bytes;
}

void
body_leave(struct api_call *call)
{
	if (call->share == NULL)
		return;
	call->share->call = NULL;
	call->share = NULL;
}
