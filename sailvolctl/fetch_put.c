/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * fetch_put: the questions of a put, which go on side by side, and their
 * answers.  In sailvolctl.
 */
#include <sys/queue.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sailvolctl/fetch_put.h"

#define NUMBER_FIRST 16 /* before: fetch.c */
#define LIST_BYTES ((size_t)1 << 30)

struct question {
	TAILQ_ENTRY(question) entry;
	uint32_t number;
	void *arg;
	fetch_hash_cb hashed; /* NULL: an upload */
	fetch_told_cb told;
	struct fetch_upload_cbs upload;
	uint32_t n; /* chunks of it */
	uint64_t sent;
};
static TAILQ_HEAD(, question) questions = TAILQ_HEAD_INITIALIZER(questions);

static struct question *
question_new(void *arg)
{
	static uint32_t last = NUMBER_FIRST;
	struct question *q = calloc(1, sizeof(*q));

	if (q == NULL)
		return NULL;
	q->number = ++last;
	q->arg = arg;
	TAILQ_INSERT_TAIL(&questions, q, entry);
	return q;
}

static void
question_free(struct question *q)
{
	TAILQ_REMOVE(&questions, q, entry);
	free(q);
}

static struct question *
question_find(uint32_t number, int hash)
{
	struct question *q;

	TAILQ_FOREACH (q, &questions, entry)
		if (q->number == number && (q->hashed != NULL) == hash)
			return q;
	return NULL;
}

static int
not_asked(struct question *q, struct failure *f)
{
	failure_set(f, "", "fetch", "sailvol-fetch: %s", strerror(errno));
	if (q != NULL)
		question_free(q);
	return -1;
}

static int
dup_fd(int fd)
{
	return fcntl(fd, F_DUPFD_CLOEXEC, 0);
}

/* ---- hashes --------------------------------------------------------------------- */

int
fetch_hash(int fd, uint8_t shift, int sync, fetch_told_cb told,
    fetch_hash_cb cb, void *arg, struct failure *f)
{
	struct chan *c = fetch_chan();
	struct question *q;
	int copy, saved;

	if (c == NULL)
		errno = EPIPE;
	if (c == NULL || (q = question_new(arg)) == NULL)
		return not_asked(NULL, f);
	q->hashed = cb;
	q->told = told;
	if ((copy = dup_fd(fd)) == -1)
		return not_asked(q, f);
	if (fetch_hash_send(c, q->number, shift,
		(sync ? FETCH_HASH_SYNC : 0) |
		    (told != NULL ? FETCH_HASH_TELL : 0),
		copy) == -1) {
		saved = errno;
		close(copy);
		errno = saved;
		return not_asked(q, f);
	}
	return 0;
}

static struct chunklist *
list_decode(const void *p, size_t len, uint64_t size)
{
	struct chunklist *l;
	struct rbuf r;

	rbuf_init(&r, p, len);
	l = chunklist_decode(&r, FETCH_CHUNKS_MAX);
	if (l != NULL && rbuf_end(&r) == 0 && chunklist_size(l) == size)
		return l;
	if (l != NULL) {
		chunklist_free(l);
		errno = EBADMSG;
	}
	return NULL;
}

int
fetch_on_hashed(struct chan *c, uint32_t id, struct imsg *imsg,
    struct ibuf *body)
{
	struct question *q = question_find(id, 1);
	struct chunklist *l = NULL;
	struct fetch_hash_res res;
	struct memfd_view v;
	int fd = imsg_get_fd(imsg), error, saved;

	(void)c;
	if (q == NULL || fetch_hash_res_recv(body, &res) == -1) {
		if (fd != -1)
			close(fd);
		return -1;
	}
	error = res.error != 0 ? (int)res.error : res.changed ? EAGAIN : 0;
	if (error == 0 && fd == -1)
		l = list_decode(res.list, res.list_len, res.size);
	else if (error == 0 && memfd_map(fd, LIST_BYTES, &v) == 0) {
		l = list_decode(v.data, v.len, res.size);
		memfd_unmap(&v);
	}
	saved = errno;
	if (fd != -1)
		close(fd);
	errno = saved;
	if (error == 0 && l == NULL) {
		if (errno != EFBIG)
			return -1;
		error = EFBIG;
	}
	q->hashed(q->arg, error, l);
	question_free(q);
	return 0;
}

int
fetch_on_hash_chunks(struct chan *c, uint32_t id, struct imsg *imsg,
    struct ibuf *body)
{
	static struct fetch_hash_chunks m;
	struct question *q = question_find(id, 1);

	(void)c;
	(void)imsg;
	if (q == NULL || q->told == NULL ||
	    fetch_hash_chunks_recv(body, &m) == -1)
		return -1;
	q->told(q->arg, &m);
	return 0;
}

int
fetch_on_hash_progress(struct chan *c, uint32_t id, struct imsg *imsg,
    struct ibuf *body)
{
	uint64_t bytes;

	(void)c;
	(void)imsg;
	return question_find(id, 1) == NULL
	    ? -1
	    : fetch_hash_progress_recv(body, &bytes);
}

struct hash_wait {
	int done, error;
	struct chunklist *list;
};

static void
hash_came(void *arg, int error, struct chunklist *l)
{
	struct hash_wait *w = arg;

	w->done = 1;
	w->error = error;
	w->list = l;
}

struct chunklist *
fetch_hash_now(int fd, uint8_t shift, struct failure *f)
{
	static struct hash_wait w; /* may be answered late */

	memset(&w, 0, sizeof(w));
	if (fetch_hash(fd, shift, 0, NULL, hash_came, &w, f) == -1)
		return NULL;
	while (!w.done)
		if (fetch_turn(f) == -1)
			return NULL;
	if (w.list == NULL)
		failure_set(f, "", "read", "%s",
		    w.error == EAGAIN ? "it changes while it is read"
				      : strerror(w.error));
	return w.list;
}

/* ---- uploads -------------------------------------------------------------------- */

static int
send_files(struct chan *c, uint32_t number, const int *fds, uint32_t n)
{
	uint32_t i;
	int fd, saved;

	for (i = 0; i < n; i++) {
		if ((fd = dup_fd(fds[i])) == -1)
			return -1;
		if (fetch_upload_file_send(c, number, i, fd) == -1) {
			saved = errno;
			close(fd);
			errno = saved;
			return -1;
		}
	}
	return 0;
}

int
fetch_upload(const char *volume, const char *session, const int *fds,
    uint32_t nfds, const struct fetch_upload_chunk *chunks, uint32_t n,
    const struct fetch_upload_cbs *cbs, void *arg, struct failure *f)
{
	struct chan *c = fetch_chan();
	struct question *q;
	int saved;

	if (c == NULL)
		errno = EPIPE;
	if (c == NULL || (q = question_new(arg)) == NULL)
		return not_asked(NULL, f);
	q->upload = *cbs;
	q->n = n;
	if (send_files(c, q->number, fds, nfds) == -1 ||
	    fetch_upload_send(c, q->number, volume, session, chunks, n) == -1) {
		saved = errno;
		(void)fetch_cancel_send(c, q->number);
		errno = saved;
		return not_asked(q, f);
	}
	return 0;
}

int
fetch_on_upload_progress(struct chan *c, uint32_t id, struct imsg *imsg,
    struct ibuf *body)
{
	struct question *q = question_find(id, 0);
	uint64_t bytes, sent;
	uint32_t chunks;

	(void)c;
	(void)imsg;
	if (q == NULL ||
	    fetch_upload_progress_recv(body, &chunks, &bytes, &sent) == -1)
		return -1;
	if (sent > q->sent) {
		q->upload.sent(q->arg, sent - q->sent);
		q->sent = sent;
	}
	return 0;
}

int
fetch_on_uploaded(struct chan *c, uint32_t id, struct imsg *imsg,
    struct ibuf *body)
{
	struct question *q = question_find(id, 0);
	struct fetch_upload_res res;
	struct memfd_view v = { .mapped = 0 };
	int fd = imsg_get_fd(imsg), rc = -1;

	(void)c;
	if (q != NULL && fetch_upload_res_recv(body, &res) == 0 &&
	    (fd == -1 || memfd_map(fd, q->n, &v) == 0) &&
	    (res.error != 0 || v.len == q->n)) {
		q->upload.done(q->arg, &res, res.error != 0 ? NULL : v.data);
		rc = 0;
	}
	if (v.data != NULL)
		memfd_unmap(&v);
	if (fd != -1)
		close(fd);
	if (q != NULL)
		question_free(q);
	return rc;
}
