/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * get_span: brings a span of an object.  A large chunk goes to its file as it
 * comes; other spans come into memory, where a thread checks their chunks and
 * writes the good ones to their files, or makes a bundle of them.  In
 * sailvol-fetch.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/lack.h"
#include "sailvol-fetch/get.h"
#include "sailvol-fetch/ops.h"
#include "sailvol-fetch/stream.h"

#define RUNNING_MAX 16 /* of one request */

struct piece {
	struct want *want; /* NULL: a neighbour */
	struct hash hash;
	uint32_t bytes;
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
	monotime_t url_came;
	size_t length, got;
	uint8_t *buf; /* NULL: waiting, or a stream */
	struct stream *stream;
	int busy;  /* with a thread */
	int memfd; /* of the pieces without a file; -1: there are none */
	int error; /* of making it */
	struct piece *pieces;
	uint32_t npieces;
	int first; /* its turn has come before */
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
	if (s->memfd != -1)
		close(s->memfd);
	free(s);
}

/* One chunk alone, that has a file. */
static int
is_stream(const struct span *s)
{
	return s->npieces == 1 && s->pieces[0].want != NULL &&
	    s->pieces[0].want->fd != -1 && s->pieces[0].offset == 0 &&
	    s->pieces[0].bytes == s->length && s->length > STREAM_MEMORY;
}

static size_t
span_memory(const struct span *s)
{
	return is_stream(s) ? STREAM_MEMORY : s->length;
}

/* Of one that was started. */
static void
span_end(struct span *s)
{
	struct get *g = s->get;

	TAILQ_REMOVE(&g->running, s, entry);
	g->nrunning--;
	http_cancel(s->http);
	budget_give(span_memory(s));
	span_free(s);
}

/* As soon as its thread lets go. */
static void
span_stop(struct span *s)
{
	http_cancel(s->http);
	s->http = NULL;
	if (!s->busy && stream_stop(s->stream))
		span_end(s);
}

/* ---- from the server's answer ----------------------------------------------------- */

/* 1 when that chunk of the answer is one that we asked for, as it should be. */
static int
fits(const struct wire_span *ws, const struct wire_span_chunk *k,
    const struct want *w)
{
	return w != NULL && w->state == PART_ASKED && k->codec == 0 &&
	    k->plain == w->chunk.bytes && k->stored == k->plain &&
	    hash_cmp(&k->hash, &w->chunk.hash) == 0 &&
	    k->offset <= ws->length && k->stored <= ws->length - k->offset &&
	    (w->fd != -1 || ws->length <= FETCH_BUNDLE_BYTES);
}

/* A chunk of another file, in a span that comes anyway; 1: taken. */
static int
is_neighbour(struct get *g, const struct wire_span *ws,
    const struct wire_span_chunk *k)
{
	if (k->slot != UINT64_MAX || k->codec != 0 || k->plain > g->budget ||
	    k->plain >= FETCH_BUNDLE_CHUNK || k->stored != k->plain ||
	    ws->length > FETCH_BUNDLE_BYTES)
		return 0;
	g->budget -= k->plain;
	return 1;
}

/* The pieces of a span; how many of them are wanted. */
static uint32_t
take_pieces(struct get *g, struct span *s, const struct wire_span *ws)
{
	const struct wire_span_chunk *k;
	struct want *w;
	struct piece *p;
	uint32_t i, wanted = 0;

	for (i = 0; i < ws->nchunks; i++) {
		k = &ws->chunks[i];
		w = want_find(g, k->slot);
		if (fits(ws, k, w)) {
			w->state = PART_FOUND;
			s->first |= w->first;
			wanted++;
		} else if (is_neighbour(g, ws, k))
			w = NULL;
		else
			continue;
		p = &s->pieces[s->npieces++];
		p->want = w;
		p->hash = k->hash;
		p->bytes = k->plain;
		p->offset = k->offset;
	}
	return wanted;
}

struct span *
span_new(struct get *g, const struct wire_span *ws)
{
	struct span *s;

	errno = 0;
	if (ws->length == 0 || ws->length > FETCH_OBJECT_MAX)
		return NULL;
	if ((s = calloc(1, sizeof(*s))) == NULL)
		return NULL;
	s->get = g;
	s->object = ws->object;
	s->length = (size_t)ws->length;
	s->memfd = -1;
	s->url_came = monotime_now();
	s->url = strndup((const char *)ws->url, ws->url_len);
	s->headers = strndup((const char *)ws->headers, ws->headers_len);
	s->pieces = calloc((size_t)ws->nchunks + 1, sizeof(*s->pieces));
	if (s->url == NULL || s->headers == NULL || s->pieces == NULL) {
		span_free(s);
		errno = ENOMEM;
		return NULL;
	}
	if (take_pieces(g, s, ws) == 0) {
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
			if (s->pieces[i].want != NULL)
				s->pieces[i].want->state = PART_PENDING;
		span_free(s);
	}
}

/* ---- in a thread -------------------------------------------------------------------- */

static int
span_run(struct work *w)
{
	struct span *s = (struct span *)w;
	struct piece *p;
	struct hash h;
	uint32_t i;
	int small = 0;

	for (i = 0; i < s->npieces; i++) {
		p = &s->pieces[i];
		p->error = 0;
		hash_bytes(&h, s->buf + p->offset, p->bytes);
		if (hash_cmp(&h, &p->hash) != 0)
			p->error = EBADMSG;
		else if (p->want == NULL || p->want->fd == -1)
			small = 1;
		else if (write_at(p->want->fd, s->buf + p->offset, p->bytes,
			     0) == -1)
			p->error = errno;
	}
	if (small && (s->memfd = memfd_new("chunks", s->buf, s->length)) == -1)
		s->error = errno;
	return 0;
}

/* ---- in the loop --------------------------------------------------------------------- */

/* Those without a file go together; the wrong ones are not named. */
static void
span_bundle(struct span *s)
{
	static struct fetch_bundle b;
	struct get *g = s->get;
	struct piece *p;
	uint32_t i;
	int fd;

	b.n = 0;
	for (i = 0; i < s->npieces; i++) {
		p = &s->pieces[i];
		if (p->error == 0 && (p->want == NULL || p->want->fd == -1)) {
			b.chunks[b.n].hash = p->hash;
			b.chunks[b.n].offset = (uint32_t)p->offset;
			b.chunks[b.n++].bytes = p->bytes;
		}
		if (b.n == 0 || (b.n < FETCH_BUNDLE_MAX && i + 1 < s->npieces))
			continue;
		fd = fcntl(s->memfd, F_DUPFD_CLOEXEC, 0);
		if (fd == -1 ||
		    fetch_bundle_send(g->req.peer, IMSG_FETCH_GET_BUNDLE,
			g->req.id, &b, fd) == -1) {
			if (fd != -1)
				close(fd);
			op_lost("get");
		}
		b.n = 0;
	}
}

/* A file that was given takes no bytes: that says nothing of the store. */
static void
unwritten(struct get *g, int error)
{
	int as_it_is = is_lack(error) || error == ENOSPC || error == EDQUOT ||
	    error == EROFS;

	get_abort(g, as_it_is ? error : FETCH_NO_FILE, strerror(error));
}

static void
span_checked(struct work *w)
{
	struct span *s = (struct span *)w;
	struct get *g = s->get;
	struct piece *p;
	uint32_t i;

	s->busy = 0;
	if (s->error != 0)
		get_abort(g, s->error, strerror(s->error));
	else if (s->memfd != -1 && g->req.peer != NULL && !g->abort)
		span_bundle(s);
	for (i = 0; i < s->npieces && !g->abort; i++) {
		p = &s->pieces[i];
		/* Of a neighbour that is wrong its own reader will say so. */
		if (p->want == NULL)
			continue;
		if (p->error == 0)
			get_chunk_done(g, p->want);
		else if (p->error == EBADMSG)
			get_chunk_bad(g, p->want, &s->object, PROBLEM_CORRUPT);
		else
			unwritten(g, p->error);
	}
	span_end(s);
}

static void
all_bad(struct span *s, enum problem problem)
{
	uint32_t i;

	for (i = 0; i < s->npieces; i++)
		if (s->pieces[i].want != NULL)
			get_chunk_bad(s->get, s->pieces[i].want, &s->object,
			    problem);
}

static void
span_rewind(void *arg)
{
	struct span *s = arg;

	s->got = 0;
	if (s->stream != NULL)
		stream_rewind(s->stream);
}

static int
span_sink(void *arg, const void *data, size_t n)
{
	struct span *s = arg;

	if (s->stream != NULL)
		return stream_take(s->stream, data, n);
	if (n > s->length - s->got)
		return -1;
	memcpy(s->buf + s->got, data, n);
	s->got += n;
	return 0;
}

static void
span_ready(void *arg)
{
	http_resume(((struct span *)arg)->http);
}

/* All of it is in its file, or it ends without. */
static void
span_written(void *arg, int error, const struct hash *h)
{
	struct span *s = arg;
	struct get *g = s->get;
	struct want *w = s->pieces[0].want;

	s->stream = NULL;
	if (error != 0 && error != ECANCELED)
		unwritten(g, error);
	else if (error == 0 && !g->abort) {
		if (hash_cmp(h, &w->chunk.hash) == 0)
			get_chunk_done(g, w);
		else
			get_chunk_bad(g, w, &s->object, PROBLEM_CORRUPT);
	}
	span_end(s);
}

static int
is_whole(const struct span *s)
{
	return s->stream != NULL ? stream_full(s->stream) : s->got == s->length;
}

static void
span_done(const struct http_result *r, void *arg)
{
	struct span *s = arg;
	struct get *g = s->get;
	uint32_t i;

	s->http = NULL;
	if ((r->status == 200 || r->status == 206) && is_whole(s)) {
		if (s->stream != NULL) {
			stream_end(s->stream);
			return;
		}
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
			if (s->pieces[i].want != NULL)
				get_chunk_refused(g, s->pieces[i].want,
				    http_was_fresh(r, s->url_came));
		/* The others of that answer are as old. */
		span_drop_waiting(g);
	} else
		get_unanswered(g, r, "store");
	span_stop(s);
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
		.first = s->first,
		.max_answer = s->length + 1,
		.rewind = span_rewind,
		.sink = span_sink,
		.done = span_done,
		.arg = s,
	};

	if (is_stream(s))
		s->stream = stream_new(s->pieces[0].want->fd, s->length,
		    span_ready, span_written, s);
	else
		s->buf = big_alloc(s->length);
	if (s->stream == NULL && s->buf == NULL)
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
		if (!budget_take(span_memory(s)))
			return;
		TAILQ_REMOVE(&g->waiting, s, entry);
		TAILQ_INSERT_TAIL(&g->running, s, entry);
		g->nrunning++;
		if (span_start(s) == -1) {
			get_abort(g, ENOMEM, "out of memory");
			span_stop(s);
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
		span_stop(s);
	}
}
