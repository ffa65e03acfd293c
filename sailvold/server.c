/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * server: what manifest asks of sailvol-fetch: requests to the API, hashes and
 * uploads.  Each is kept until its answer came, and asked again when the
 * sailvol-fetch that had it died.  In manifest.
 */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/log.h"
#include "sailvold/manifest.h"
#include "sailvold/server.h"

/* A file that makes one sailvol-fetch die after the other is given up. */
#define TRIES_MAX 5
#define CLOCK_SAY_MS 60000 /* less is said to nobody */

enum question_kind { Q_API, Q_HASH, Q_UPLOAD };

struct question {
	TAILQ_ENTRY(question) link;
	uint32_t number;
	enum question_kind kind;
	struct chan *at; /* who has it; NULL: waits for a sailvol-fetch */
	int retry;
	unsigned int tries; /* sailvol-fetches that died with it */
	int lost;           /* the last one did, or it could not be sent */
	/* API: the body; HASH: the file */
	int fd;
	int rest_fd; /* HASH: what it lacks, or -1 */
	struct fetch_api api;
	char *target, *content_type;
	uint8_t shift, flags;
	int keep; /* bytes, or they are kept: it is the keeper's */
	struct upload_file *files;
	uint32_t nfiles, nchunks;
	struct fetch_upload_chunk *chunks;
	char *volume, *session;
	server_cb api_f;
	hash_cb hash_f;
	hash_progress_cb hashed_f;
	hash_chunks_cb chunks_f;
	upload_cb upload_f;
	upload_progress_cb progress_f;
	void *arg;
};
static TAILQ_HEAD(, question) questions = TAILQ_HEAD_INITIALIZER(questions);
static uint32_t last_number;
/* Keeps the bytes of small files between hash and upload. */
static struct chan *keeper;

static struct question *
question_find(uint32_t number)
{
	struct question *q;

	TAILQ_FOREACH (q, &questions, link)
		if (q->number == number)
			return q;
	return NULL;
}

static struct question *
question_new(enum question_kind kind, int fd, void *arg)
{
	struct question *q;

	if ((q = calloc(1, sizeof(*q))) == NULL)
		return NULL;
	/* At random first: what answers an earlier manifest finds nothing. */
	if (last_number == 0)
		last_number = arc4random();
	do
		q->number = ++last_number;
	while (q->number == 0 || question_find(q->number) != NULL);
	q->kind = kind;
	q->fd = fd;
	q->rest_fd = -1;
	q->arg = arg;
	TAILQ_INSERT_TAIL(&questions, q, link);
	return q;
}

/* Out of the queue: the callback may cancel it, and ask anew. */
static void
question_take(struct question *q)
{
	TAILQ_REMOVE(&questions, q, link);
}

static void
question_end(struct question *q)
{
	uint32_t i;

	if (q->fd != -1)
		close(q->fd);
	if (q->rest_fd != -1)
		close(q->rest_fd);
	for (i = 0; i < q->nfiles; i++)
		if (q->files[i].fd != -1)
			close(q->files[i].fd);
	free(q->files);
	free(q->chunks);
	free(q->target);
	free(q->content_type);
	free(q->volume);
	free(q->session);
	free(q);
}

static void
question_free(struct question *q)
{
	int saved = errno;

	question_take(q);
	question_end(q);
	errno = saved;
}

/* ---- sending ------------------------------------------------------------------- */

static int
dup_fd(int fd)
{
	return fcntl(fd, F_DUPFD_CLOEXEC, 0);
}

static int
send_api(struct question *q)
{
	int fd = -1;

	if (q->fd != -1 && (fd = dup_fd(q->fd)) == -1)
		return -1;
	if (fetch_api_send(q->at, q->number, &q->api, fd) == -1) {
		if (fd != -1)
			close(fd);
		return -1;
	}
	return 0;
}

static int
send_hash(struct question *q)
{
	int fd, saved;

	if (q->rest_fd != -1 &&
	    ((fd = dup_fd(q->rest_fd)) == -1 ||
		fetch_hash_rest_send(q->at, q->number, fd) == -1))
		goto fail;
	if ((fd = dup_fd(q->fd)) != -1 &&
	    fetch_hash_send(q->at, q->number, q->shift, q->flags, fd) == 0)
		return 0;
fail:
	saved = errno;
	if (fd != -1)
		close(fd);
	(void)fetch_cancel_send(q->at, q->number); /* it has what lacks */
	errno = saved;
	return -1;
}

static int
send_upload(struct question *q)
{
	uint32_t i;
	int fd = -1, saved;

	for (i = 0; i < q->nfiles; i++) {
		if ((fd = dup_fd(q->files[i].fd)) == -1 ||
		    fetch_upload_file_send(q->at, q->number, i, fd) == -1)
			goto fail;
	}
	fd = -1;
	if (fetch_upload_send(q->at, q->number, q->volume, q->session,
		q->chunks, q->nchunks) == 0)
		return 0;
fail:
	saved = errno;
	if (fd != -1)
		close(fd);
	(void)fetch_cancel_send(q->at,
	    q->number); /* it has some of the files */
	errno = saved;
	return -1;
}

/* 0 also when there is no sailvol-fetch at the moment: it waits. */
static int
question_send(struct question *q)
{
	int rc = -1;

	if (q->keep && keeper == NULL)
		keeper = role_peer_any(ROLE_FETCH);
	q->at = q->keep ? keeper : role_peer_any(ROLE_FETCH);
	if (q->at == NULL)
		return 0;
	switch (q->kind) {
	case Q_API:
		rc = send_api(q);
		break;
	case Q_HASH:
		rc = send_hash(q);
		break;
	case Q_UPLOAD:
		rc = send_upload(q);
		break;
	}
	if (rc == -1)
		q->at = NULL;
	/* One that is dying: after its end this is asked as the first time. */
	return rc == -1 && errno == EPIPE ? 0 : rc;
}

/* ---- the questions ---------------------------------------------------------------- */

uint32_t
server_request(uint8_t method, const char *target, const char *content_type,
    int body_fd, int retry, uint64_t max_answer, server_cb f, void *arg)
{
	struct question *q;

	if ((q = question_new(Q_API, body_fd, arg)) == NULL)
		goto fail;
	q->api_f = f;
	q->retry = retry;
	q->target = strdup(target);
	q->content_type = strdup(content_type != NULL ? content_type : "");
	if (q->target == NULL || q->content_type == NULL)
		goto fail_question;
	q->api.method = method;
	q->api.retry = retry != 0;
	q->api.max_answer = max_answer;
	q->api.target = q->target;
	q->api.target_len = strlen(q->target);
	q->api.content_type = q->content_type;
	q->api.content_type_len = strlen(q->content_type);
	if (question_send(q) == -1)
		goto fail_question;
	return q->number;
fail_question:
	question_free(q);
	return 0;
fail:
	if (body_fd != -1)
		close(body_fd);
	return 0;
}

uint32_t
server_hash(uint8_t shift, uint8_t flags, int fd, int rest_fd, hash_cb f,
    void *arg)
{
	struct question *q;

	if ((q = question_new(Q_HASH, fd, arg)) == NULL) {
		close(fd);
		if (rest_fd != -1)
			close(rest_fd);
		return 0;
	}
	q->rest_fd = rest_fd;
	q->hash_f = f;
	q->shift = shift;
	q->flags = flags;
	q->keep = (flags & FETCH_HASH_KEEP) != 0;
	if (question_send(q) == -1) {
		question_free(q);
		return 0;
	}
	return q->number;
}

uint32_t
server_upload(const char *volume_id, const char *session,
    struct upload_file *files, uint32_t nfiles,
    const struct fetch_upload_chunk *chunks, uint32_t n,
    upload_progress_cb progress, upload_cb f, void *arg)
{
	struct question *q;
	uint32_t i;

	if ((q = question_new(Q_UPLOAD, -1, arg)) == NULL)
		goto fail;
	q->upload_f = f;
	q->progress_f = progress;
	q->volume = strdup(volume_id);
	q->session = strdup(session);
	q->files = reallocarray(NULL, nfiles + 1, sizeof(*files));
	q->chunks = reallocarray(NULL, n + 1, sizeof(*chunks));
	if (q->volume == NULL || q->session == NULL || q->files == NULL ||
	    q->chunks == NULL)
		goto fail_question;
	memcpy(q->files, files, nfiles * sizeof(*files));
	q->nfiles = nfiles;
	memcpy(q->chunks, chunks, n * sizeof(*chunks));
	q->nchunks = n;
	for (i = 0; i < n; i++)
		q->keep |= chunks[i].file == FETCH_UPLOAD_KEPT;
	if (question_send(q) == -1) {
		question_free(q); /* and the files */
		return 0;
	}
	return q->number;
fail_question:
	question_free(q);
fail:
	for (i = 0; i < nfiles; i++)
		close(files[i].fd);
	return 0;
}

void
server_cancel(uint32_t number)
{
	struct question *q;

	if ((q = question_find(number)) == NULL)
		return;
	if (q->at != NULL)
		(void)fetch_cancel_send(q->at, q->number);
	question_free(q);
}

/* ---- the answers -------------------------------------------------------------------- */

static void
answer_none(struct question *q, const char *what)
{
	struct server_answer a;

	memset(&a, 0, sizeof(a));
	a.data = (const uint8_t *)"";
	if ((a.what = strdup(what)) == NULL)
		a.what = strdup("");
	q->api_f(q->arg, &a);
	free(a.what);
}

static void
upload_none(struct question *q, const char *what)
{
	struct server_answer a;
	char text[256];

	memset(&a, 0, sizeof(a));
	snprintf(text, sizeof(text), "%s", what);
	a.what = text;
	q->upload_f(q->arg, EIO, &a, (const uint8_t *)"", 0);
}

/* The server's clock less ours: once for each time that it is another. */
static void
clock_saw(int64_t skew_ms)
{
	static int64_t said_ms;

	if (llabs(skew_ms - said_ms) < CLOCK_SAY_MS)
		return;
	said_ms = skew_ms;
	if (llabs(skew_ms) < CLOCK_SAY_MS)
		log_info("clock: as that of the server again");
	else
		log_warnx("clock: %lld s %s that of the server: times of files "
			  "that are written here are as far off; set the clock",
		    llabs(skew_ms) / 1000, skew_ms > 0 ? "behind" : "ahead of");
}

int
server_api_res(struct chan *ch, uint32_t id, struct imsg *im, struct ibuf *body)
{
	static const struct memfd_view none = { (const uint8_t *)"", 0, 0 };
	struct fetch_api_res res;
	struct memfd_view view = none;
	struct server_answer a;
	struct question *q;
	int fd = imsg_get_fd(im), bad = 0;

	memset(&a, 0, sizeof(a));
	if (fetch_api_res_recv(body, &res) == -1) {
		if (fd != -1)
			close(fd);
		return -1;
	}
	/* One without a Date says nothing of it. */
	if (res.status != 0 && res.dated)
		clock_saw(res.skew_ms);
	q = question_find(id);
	if (q == NULL || q->kind != Q_API || q->at != ch)
		goto done; /* cancelled meanwhile */
	if (fd != -1 && memfd_map(fd, q->api.max_answer, &view) == -1) {
		view = none;
		bad = 1;
	}
	a.status = bad ? 0 : res.status;
	a.type = res.type;
	a.untrusted = res.untrusted;
	a.repeated = res.repeated || q->tries > 0;
	a.skew_ms = res.skew_ms;
	a.data = view.data;
	a.len = view.len;
	a.what = bad ? strdup("an answer that is too large")
		     : strndup(res.what, res.what_len);
	question_take(q);
	if (a.what != NULL)
		q->api_f(q->arg, &a);
	else
		answer_none(q, "out of memory");
	question_end(q);
	free(a.what);
	if (view.mapped || view.len > 0)
		memfd_unmap(&view);
done:
	if (fd != -1)
		close(fd);
	return 0;
}

int
server_hash_res(struct chan *ch, uint32_t id, struct imsg *im,
    struct ibuf *body)
{
	struct fetch_hash_res res;
	struct question *q;
	int fd = imsg_get_fd(im);

	if (fetch_hash_res_recv(body, &res) == -1) {
		if (fd != -1)
			close(fd);
		return -1;
	}
	q = question_find(id);
	if (q == NULL || q->kind != Q_HASH || q->at != ch) {
		if (fd != -1)
			close(fd);
		return 0;
	}
	question_take(q);
	q->hash_f(q->arg, &res, fd); /* fd is the callee's */
	question_end(q);
	return 0;
}

void
server_hash_watch(uint32_t number, hash_progress_cb progress,
    hash_chunks_cb chunks)
{
	struct question *q = question_find(number);

	if (q == NULL || q->kind != Q_HASH)
		return;
	q->hashed_f = progress;
	q->chunks_f = chunks;
}

int
server_hash_progress(struct chan *ch, uint32_t id, struct imsg *im,
    struct ibuf *body)
{
	struct question *q;
	uint64_t bytes;

	(void)im;
	if (fetch_hash_progress_recv(body, &bytes) == -1)
		return -1;
	q = question_find(id);
	if (q != NULL && q->kind == Q_HASH && q->at == ch &&
	    q->hashed_f != NULL)
		q->hashed_f(q->arg, bytes);
	return 0;
}

int
server_hash_chunks(struct chan *ch, uint32_t id, struct imsg *im,
    struct ibuf *body)
{
	static struct fetch_hash_chunks chunks;
	struct question *q;

	(void)im;
	if (fetch_hash_chunks_recv(body, &chunks) == -1)
		return -1;
	q = question_find(id);
	if (q != NULL && q->kind == Q_HASH && q->at == ch &&
	    q->chunks_f != NULL)
		q->chunks_f(q->arg, &chunks);
	return 0;
}

int
server_upload_progress(struct chan *ch, uint32_t id, struct imsg *im,
    struct ibuf *body)
{
	uint64_t bytes, sent;
	struct question *q;
	uint32_t chunks;

	(void)im;
	if (fetch_upload_progress_recv(body, &chunks, &bytes, &sent) == -1)
		return -1;
	q = question_find(id);
	if (q != NULL && q->kind == Q_UPLOAD && q->at == ch &&
	    q->progress_f != NULL)
		q->progress_f(q->arg, chunks, bytes, sent);
	return 0;
}

int
server_upload_res(struct chan *ch, uint32_t id, struct imsg *im,
    struct ibuf *body)
{
	static const struct memfd_view none = { (const uint8_t *)"", 0, 0 };
	struct fetch_upload_res res;
	struct memfd_view view = none;
	struct server_answer a;
	struct question *q;
	char what[256];
	int fd = imsg_get_fd(im);

	if (fetch_upload_res_recv(body, &res) == -1) {
		if (fd != -1)
			close(fd);
		return -1;
	}
	q = question_find(id);
	if (q == NULL || q->kind != Q_UPLOAD || q->at != ch)
		goto done;
	if (fd != -1 && memfd_map(fd, q->nchunks, &view) == -1) {
		view = none;
		res.error = EBADMSG;
	}
	if (res.error == 0 && view.len != q->nchunks)
		res.error = EBADMSG;
	snprintf(what, sizeof(what), "%.*s",
	    (int)(res.what_len > 255 ? 255 : res.what_len), res.what);
	memset(&a, 0, sizeof(a));
	a.what = what;
	a.status = res.status;
	a.type = 1;
	a.data = (const uint8_t *)res.refusal;
	a.len = res.refusal_len;
	question_take(q);
	q->upload_f(q->arg, res.error, &a, view.data, (uint32_t)view.len);
	question_end(q);
	if (view.mapped || view.len > 0)
		memfd_unmap(&view);
done:
	if (fd != -1)
		close(fd);
	return 0;
}

/* It will not be asked any more: its callback hears so. */
static void
give_up(struct question *q, const char *what)
{
	struct fetch_hash_res res;

	question_take(q);
	switch (q->kind) {
	case Q_API:
		answer_none(q, what);
		break;
	case Q_HASH:
		memset(&res, 0, sizeof(res));
		res.error = EIO;
		q->hash_f(q->arg, &res, -1);
		break;
	case Q_UPLOAD:
		upload_none(q, what);
		break;
	}
	question_end(q);
}

/* One by one: each callback may end others. */
static void
give_up_lost(const char *what)
{
	struct question *q;

	do {
		TAILQ_FOREACH (q, &questions, link)
			if (q->lost)
				break;
		if (q != NULL)
			give_up(q, what);
	} while (q != NULL);
}

void
server_fetch_up(struct chan *ch)
{
	struct question *q;

	(void)ch;
	TAILQ_FOREACH (q, &questions, link)
		if (q->at == NULL && question_send(q) == -1) {
			log_warn("sailvol-fetch: asking again");
			q->lost = 1;
		}
	give_up_lost("sailvol-fetch cannot be asked");
}

void
server_fetch_down(struct chan *ch)
{
	struct question *q;

	if (keeper == ch)
		keeper = NULL;
	TAILQ_FOREACH (q, &questions, link) {
		if (q->at != ch)
			continue;
		q->at = NULL;
		if ((q->kind == Q_API && !q->retry) || ++q->tries == TRIES_MAX)
			q->lost = 1;
	}
	give_up_lost("sailvol-fetch died while it was asked");
	server_fetch_up(NULL);
}

void
server_error(const struct server_answer *a, char *out, size_t size, char *code,
    size_t code_size)
{
	const char *message = NULL, *c = NULL;
	json_t *root = NULL, *error;

	if (a->status == 0) {
		snprintf(out, size, "%s", a->what);
		snprintf(code, code_size, "no_answer");
		return;
	}
	if (a->type == 1)
		root = json_loadb((const char *)a->data, a->len, 0, NULL);
	error = json_object_get(root, "error");
	message = json_string_value(json_object_get(error, "message"));
	c = json_string_value(json_object_get(error, "code"));
	if (message != NULL)
		snprintf(out, size, "%s", message);
	else
		snprintf(out, size, "the server answered %u", a->status);
	snprintf(code, code_size, "%s", c != NULL ? c : "unknown");
	json_decref(root);
}
