/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * api_answer: the memory of long answers that are not taken yet, shared by the
 * keys: when there is no room for more, whoever has most of it loses its oldest
 * one to whoever has less.  In api.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/log.h"
#include "sailapid/api.h"

/* A key with answers that are not taken. */
struct taker {
	RB_ENTRY(taker) entry;
	TAILQ_HEAD(, answer_share) shares; /* the oldest first */
	uint64_t bytes;
	struct hash key;
};

struct answer_share {
	TAILQ_ENTRY(answer_share) entry;
	struct taker *taker;
	struct api_call *call;
	uint64_t bytes;
};

static int
taker_cmp(const struct taker *a, const struct taker *b)
{
	return hash_cmp(&a->key, &b->key);
}

RB_HEAD(takers, taker);
RB_PROTOTYPE(takers, taker, entry, taker_cmp)
RB_GENERATE(takers, taker, entry, taker_cmp)

static struct takers takers = RB_INITIALIZER(&takers);
static uint64_t total;

static struct taker *
taker_get(const struct api_call *call)
{
	struct taker key, *t;

	/* meta gives no long answer to who has no key. */
	api_key_hash(call, &key.key);
	if ((t = RB_FIND(takers, &takers, &key)) != NULL)
		return t;
	if ((t = calloc(1, sizeof(*t))) == NULL)
		return NULL;
	t->key = key.key;
	TAILQ_INIT(&t->shares);
	RB_INSERT(takers, &takers, t);
	return t;
}

static void
taker_drop(struct taker *t)
{
	if (!TAILQ_EMPTY(&t->shares))
		return;
	RB_REMOVE(takers, &takers, t);
	free(t);
}

static struct taker *
most(void)
{
	struct taker *t, *found = NULL;

	RB_FOREACH (t, takers, &takers)
		if (found == NULL || t->bytes > found->bytes)
			found = t;
	return found;
}

/* 0: t would have most itself. */
static int
make_room(const struct taker *t, uint64_t bytes)
{
	struct taker *of;
	struct api_call *call;

	/* One that is larger than all of it has its place, when it is alone. */
	while (total > 0 && total + bytes > api_limits.max_answers) {
		of = most();
		if (of == t || of->bytes <= t->bytes + bytes)
			return 0;
		call = TAILQ_FIRST(&of->shares)->call;
		log_debug("an answer that is not taken gives way to another");
		httpd_end(call->conn);
		answer_free(call);
	}
	return 1;
}

int
answer_take(struct api_call *call, uint64_t bytes)
{
	struct answer_share *s = calloc(1, sizeof(*s));
	struct taker *t;

	if (s == NULL || (t = taker_get(call)) == NULL) {
		free(s);
		return -1;
	}
	if (!make_room(t, bytes)) {
		taker_drop(t);
		free(s);
		errno = ENOMEM;
		return -1;
	}
	s->taker = t;
	s->call = call;
	s->bytes = bytes;
	t->bytes += bytes;
	total += bytes;
	TAILQ_INSERT_TAIL(&t->shares, s, entry);
	call->answer = s;
	return 0;
}

void
answer_free(struct api_call *call)
{
	struct answer_share *s = call->answer;

	if (s == NULL)
		return;
	call->answer = NULL;
	total -= s->bytes;
	s->taker->bytes -= s->bytes;
	TAILQ_REMOVE(&s->taker->shares, s, entry);
	taker_drop(s->taker);
	free(s);
}
