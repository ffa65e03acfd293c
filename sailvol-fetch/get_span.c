/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * get_span: brings a span of an object into memory; a thread checks its chunks
 * and writes the good ones to their places.  In sailvol-fetch.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "sailvol-fetch/get.h"
#include "sailvol-fetch/ops.h"

#define RUNNING_MAX 16 /* of one request */

struct piece {
	struct want *want;
	uint64_t offset; /* in the span */
	int error;       /* EBADMSG: not the bytes of its hash */
};

struct span {
	struct work work; /* first: its work is it */
	TAILQ_ENTRY(span) entry;
	struct get *get;
	struct http *http;
	struct hash object;
	char *url, *headers;
	size_t length, got;
	uint8_t *buf; /* NULL: waiting */
	int busy;     /* with a thread */
	int fd;
	uint8_t shift;
	struct piece *pieces;
	uint32_t npieces;
};

void
span_free(struct span *s)
{
	if (s == NULL)
		return;
	free(s->url);
	free(s->headers);
	free(s->pieces);
	free(s->buf);
	free(s);
}

/* Of one that was started. */
static void
span_end(struct span *s)
{
	struct get *g = s->get;

	TAILQ_REMOVE(&g->running, s, entry);
	g->nrunning--;
	http_cancel(s->http);
	budget_give(s->length);
	span_free(s);
}

/* ---- from the server's answer ----------------------------------------------------- */

static struct want *
want_find(struct get *g, uint64_t slot)
{
	size_t lo = 0, hi = g->n, mid;

	while (lo < hi) {
		mid = (lo + hi) / 2;
		if (g->wants[mid].chunk.slot == slot)
			return &g->wants[mid];
		if (g->wants[mid].chunk.slot < slot)
			lo = mid + 1;
		else
			hi = mid;
	}
	return NULL;
}

/* 1 when that chunk of the answer is one that we asked for, as it should be. */
static int
fits(const struct wire_span *ws, const struct wire_span_chunk *k,
    const struct want *w)
{
	return w != NULL && w->state == PART_ASKED && k->codec == 0 &&
	    k->plain == w->chunk.bytes && k->stored == k->plain &&
	    hash_cmp(&k->hash, &w->chunk.hash) == 0 &&
	    k->offset <= ws->length && k->stored <= ws->length - k->offset;
}

struct span *
span_new(struct get *g, const struct wire_span *ws)
{
	struct want *w;
	struct span *s;
	uint32_t i;

	errno = 0;
	if (ws->length == 0 || ws->length > FETCH_OBJECT_MAX)
		return NULL;
	if ((s = calloc(1, sizeof(*s))) == NULL)
		return NULL;
	s->get = g;
	s->object = ws->object;
	s->length = (size_t)ws->length;
	s->fd = g->fd;
	s->shift = g->shift;
	s->url = strndup((const char *)ws->url, ws->url_len);
	s->headers = strndup((const char *)ws->headers, ws->headers_len);
	s->pieces = calloc((size_t)ws->nchunks + 1, sizeof(*s->pieces));
	if (s->url == NULL || s->headers == NULL || s->pieces == NULL) {
		span_free(s);
		errno = ENOMEM;
		return NULL;
	}
	for (i = 0; i < ws->nchunks; i++) {
		w = want_find(g, ws->chunks[i].slot);
		if (!fits(ws, &ws->chunks[i], w))
			continue;
		w->state = PART_FOUND;
		s->pieces[s->npieces].want = w;
		s->pieces[s->npieces++].offset = ws->chunks[i].offset;
	}
	if (s->npieces == 0) {
		span_free(s);
		errno = 0;
		return NULL;
	}
	TAILQ_INSERT_TAIL(&g->waiting, s, entry);
	return s;
}

void
span_drop_waiting(struct get *g)
{
	struct span *s;
	uint32_t i;

	while ((s = TAILQ_FIRST(&g->waiting)) != NULL) {
		TAILQ_REMOVE(&g->waiting, s, entry);
		for (i = 0; i < s->npieces; i++)
			s->pieces[i].want->state = PART_PENDING;
		span_free(s);
	}
}

/* ---- in a thread -------------------------------------------------------------------- */

static int
span_run(struct work *w)
{
	struct span *s = (struct span *)w;
	const struct fetch_get_chunk *k;
	struct piece *p;
	struct hash h;
	uint32_t i;

	for (i = 0; i < s->npieces; i++) {
		p = &s->pieces[i];
		k = &p->want->chunk;
		p->error = 0;
		hash_bytes(&h, s->buf + p->offset, k->bytes);
		if (hash_cmp(&h, &k->hash) != 0)
			p->error = EBADMSG;
		else if (write_at(s->fd, s->buf + p->offset, k->bytes,
			     k->slot << s->shift) == -1)
			p->error = errno;
	}
	return 0;
}

/* ---- in the loop --------------------------------------------------------------------- */

static void
span_checked(struct work *w)
{
	struct span *s = (struct span *)w;
	struct get *g = s->get;
	struct piece *p;
	uint32_t i;

	s->busy = 0;
	for (i = 0; i < s->npieces && !g->abort; i++) {
		p = &s->pieces[i];
		if (p->error == 0)
			get_chunk_done(g, p->want);
		else if (p->error == EBADMSG)
			get_chunk_bad(g, p->want, &s->object, PROBLEM_CORRUPT);
		else
			get_abort(g, p->error, strerror(p->error));
	}
	span_end(s);
}

static void
all_bad(struct span *s, enum problem problem)
{
	uint32_t i;

	for (i = 0; i < s->npieces; i++)
		get_chunk_bad(s->get, s->pieces[i].want, &s->object, problem);
}

static void
span_rewind(void *arg)
{
	struct span *s = arg;

	s->got = 0;
}

static int
span_sink(void *arg, const void *data, size_t n)
{
	struct span *s = arg;

	if (n > s->length - s->got)
		return -1;
	memcpy(s->buf + s->got, data, n);
	s->got += n;
	return 0;
}

static void
span_done(const struct http_result *r, void *arg)
{
	struct span *s = arg;
	struct get *g = s->get;
	char what[256];
	uint32_t i;

	s->http = NULL;
	if ((r->status == 200 || r->status == 206) && s->got == s->length) {
		s->busy = 1;
		s->work.run = span_run;
		s->work.done = span_checked;
		worker_add(&s->work);
		return;
	}
	if (r->status == 200 || r->status == 206 || r->status == 416 ||
	    (r->status == 0 && (r->error == ECANCELED || r->error == EFBIG)))
		all_bad(s, PROBLEM_CORRUPT); /* shorter or longer */
	else if (r->status == 404 || r->status == 410)
		all_bad(s, PROBLEM_MISSING);
	else if (r->status == 403) {
		for (i = 0; i < s->npieces; i++)
			get_chunk_refused(g, s->pieces[i].want);
		/* The others of that answer are as old. */
		span_drop_waiting(g);
	} else {
		result_what(r, "store", what, sizeof(what));
		get_abort(g, result_errno(r), what);
	}
	span_end(s);
}

static int
span_start(struct span *s)
{
	struct http_spec spec = {
		.method = FETCH_METHOD_GET,
		.url = s->url,
		.headers = s->headers,
		.headers_len = strlen(s->headers),
		.repeat = 1,
		.max_answer = s->length + 1,
		.rewind = span_rewind,
		.sink = span_sink,
		.done = span_done,
		.arg = s,
	};

	if ((s->buf = big_alloc(s->length)) == NULL)
		return -1;
	s->http = http_start(&spec);
	return s->http != NULL ? 0 : -1;
}

void
span_start_waiting(struct get *g)
{
	struct span *s;

	while (g->nrunning < RUNNING_MAX &&
	    (s = TAILQ_FIRST(&g->waiting)) != NULL) {
		if (!budget_take(s->length))
			return;
		TAILQ_REMOVE(&g->waiting, s, entry);
		TAILQ_INSERT_TAIL(&g->running, s, entry);
		g->nrunning++;
		if (span_start(s) == -1) {
			get_abort(g, ENOMEM, "out of memory");
			span_end(s);
			return;
		}
	}
}

void
span_cancel_all(struct get *g)
{
	struct span *s, *next;

	span_drop_waiting(g);
	for (s = TAILQ_FIRST(&g->running); s != NULL; s = next) {
		next = TAILQ_NEXT(s, entry);
		if (!s->busy)
			span_end(s);
	}
}
