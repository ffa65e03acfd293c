/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * stream: hashes and writes what comes a part at a time, so that neither the
 * last byte is waited for, nor a whole chunk is held in memory.  In
 * sailvol-fetch.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "sailvol-fetch/http.h"
#include "sailvol-fetch/ops.h"
#include "sailvol-fetch/stream.h"
#include "sailvol-fetch/worker.h"

struct part {
	TAILQ_ENTRY(part) entry;
	size_t len, offset;
	uint8_t data[STREAM_PART];
};
TAILQ_HEAD(part_list, part);

struct stream {
	struct work work; /* first: its work is it */
	int fd;
	size_t length, got;
	struct part *filling;
	struct part_list full;
	unsigned int nparts; /* all of its parts */
	int busy;            /* with a thread */
	int stale;           /* what that does is of an earlier try */
	int paused, ended, stopped;
	void (*ready)(void *);
	void (*done)(void *, int, const struct hash *);
	void *arg;
	/* of the work */
	struct part_list writing;
	struct hash_ctx *ctx;
	int error;
};

/* Parts that were used lately: their pages need not be made again. */
static struct part_list spare = TAILQ_HEAD_INITIALIZER(spare);
static unsigned int nstreams;

/* ---- parts ----------------------------------------------------------------- */

static void
parts_free(struct stream *s, struct part_list *list)
{
	struct part *p;

	while ((p = TAILQ_FIRST(list)) != NULL) {
		TAILQ_REMOVE(list, p, entry);
		TAILQ_INSERT_HEAD(&spare, p, entry);
		s->nparts--;
	}
}

static struct part *
part_new(struct stream *s)
{
	struct part *p;

	if ((p = TAILQ_FIRST(&spare)) != NULL)
		TAILQ_REMOVE(&spare, p, entry);
	else if ((p = malloc(sizeof(*p))) == NULL)
		return NULL;
	p->len = 0;
	p->offset = s->got;
	s->nparts++;
	return p;
}

/* ---- in a thread ----------------------------------------------------------- */

static int
stream_run(struct work *w)
{
	struct stream *s = (struct stream *)w;
	struct part *p;

	TAILQ_FOREACH (p, &s->writing, entry) {
		if (s->ctx == NULL && (s->ctx = hash_begin()) == NULL)
			s->error = ENOMEM;
		if (s->error != 0)
			break;
		hash_update(s->ctx, p->data, p->len);
		if (write_at(s->fd, p->data, p->len, p->offset) == -1)
			s->error = errno;
	}
	return 0;
}

/* ---- in the loop ------------------------------------------------------------- */

static void
hash_drop(struct stream *s)
{
	struct hash h;

	if (s->ctx != NULL)
		hash_end(s->ctx, &h);
	s->ctx = NULL;
}

static void
stream_free(struct stream *s)
{
	struct part *p;

	hash_drop(s);
	if (s->filling != NULL)
		TAILQ_INSERT_TAIL(&s->full, s->filling, entry);
	parts_free(s, &s->full);
	free(s);
	if (--nstreams > 0)
		return;
	while ((p = TAILQ_FIRST(&spare)) != NULL) {
		TAILQ_REMOVE(&spare, p, entry);
		free(p);
	}
}

static void
finish(struct stream *s, int error)
{
	void (*done)(void *, int, const struct hash *) = s->done;
	void *arg = s->arg;
	struct hash h;

	memset(&h, 0, sizeof(h));
	if (error == 0)
		hash_end(s->ctx, &h);
	if (error == 0)
		s->ctx = NULL;
	stream_free(s);
	done(arg, error, &h);
}

static void
write_on(struct stream *s)
{
	if (s->busy || TAILQ_EMPTY(&s->full))
		return;
	TAILQ_CONCAT(&s->writing, &s->full, entry);
	s->busy = 1;
	worker_add(&s->work);
}

static void
stream_written(struct work *w)
{
	struct stream *s = (struct stream *)w;

	s->busy = 0;
	parts_free(s, &s->writing);
	if (s->stale) {
		s->stale = s->error = 0;
		hash_drop(s);
	}
	if (s->stopped || s->error != 0) {
		finish(s, s->stopped ? ECANCELED : s->error);
		return;
	}
	write_on(s);
	if (s->ended && !s->busy)
		finish(s, 0);
	else if (s->paused) {
		s->paused = 0;
		s->ready(s->arg); /* may be its end */
	}
}

struct stream *
stream_new(int fd, size_t length, void (*ready)(void *),
    void (*done)(void *, int, const struct hash *), void *arg)
{
	struct stream *s;

	if ((s = calloc(1, sizeof(*s))) == NULL)
		return NULL;
	s->fd = fd;
	s->length = length;
	s->ready = ready;
	s->done = done;
	s->arg = arg;
	s->work.run = stream_run;
	s->work.done = stream_written;
	TAILQ_INIT(&s->full);
	TAILQ_INIT(&s->writing);
	nstreams++;
	return s;
}

int
stream_take(struct stream *s, const void *data, size_t n)
{
	const uint8_t *from = data;
	size_t room = (STREAM_PARTS - s->nparts) * STREAM_PART, some;

	if (n > s->length - s->got)
		return -1;
	if (s->filling != NULL)
		room += STREAM_PART - s->filling->len;
	/* All of it, or nothing. */
	if (room < n) {
		s->paused = 1;
		return HTTP_SINK_PAUSE;
	}
	for (; n > 0; n -= some, from += some) {
		if (s->filling == NULL && (s->filling = part_new(s)) == NULL)
			return HTTP_SINK_NO_MEMORY;
		some = STREAM_PART - s->filling->len;
		if (some > n)
			some = n;
		memcpy(s->filling->data + s->filling->len, from, some);
		s->filling->len += some;
		s->got += some;
		if (s->filling->len < STREAM_PART)
			continue;
		TAILQ_INSERT_TAIL(&s->full, s->filling, entry);
		s->filling = NULL;
		write_on(s);
	}
	return 0;
}

void
stream_rewind(struct stream *s)
{
	if (s->filling != NULL)
		TAILQ_INSERT_TAIL(&s->full, s->filling, entry);
	s->filling = NULL;
	parts_free(s, &s->full);
	s->got = 0;
	s->paused = 0;
	if (s->busy)
		s->stale = 1;
	else
		hash_drop(s);
}

int
stream_full(const struct stream *s)
{
	return s->got == s->length;
}

void
stream_end(struct stream *s)
{
	s->ended = 1;
	if (s->filling != NULL)
		TAILQ_INSERT_TAIL(&s->full, s->filling, entry);
	s->filling = NULL;
	write_on(s);
	if (!s->busy)
		finish(s, 0);
}

int
stream_stop(struct stream *s)
{
	if (s == NULL)
		return 1;
	s->stopped = 1;
	if (s->busy)
		return 0;
	stream_free(s);
	return 1;
}
