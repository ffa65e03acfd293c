/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * cache_ask: what cache asks of sailvol-fetch: chunks of a file, and whether a
 * file is what it should be.  Each question is kept until its answer, and asked
 * again when the sailvol-fetch that had it died.  In cache.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/log.h"
#include "lib/memfd.h"
#include "sailvold/sailvold_imsg.h"
#include "sailvold/cache.h"

#define NEAR_MIN (256 * 1024)
#define NEAR_MS 2000 /* between two questions that belong together */
/* What makes one sailvol-fetch die after the other, for long, is given up. */
#define TRIES_MAX 5
#define LOOK_S 1

struct ask {
	TAILQ_ENTRY(ask) entry;
	uint32_t number;
	struct chan *at; /* NULL: waits for a sailvol-fetch */
	monotime_t lone; /* since then; 0: not at all */
	monotime_t since;
	unsigned int tries; /* sailvol-fetches that died with it */
	/* GET: of which file, and which jobs still wait, by slot */
	struct place *place;
	TAILQ_HEAD(ask_jobs, job) jobs;
	unsigned int njobs;
	/* VERIFY */
	int fd;
};
TAILQ_HEAD(ask_list, ask);
static struct ask_list asks = TAILQ_HEAD_INITIALIZER(asks);
static struct ask *gathering; /* not sent yet */
static struct ask *handing;   /* one of its bundles is being handed out */
static uint32_t last_number;
static struct event look_ev;

static void on_look(int, short, void *);

static struct ask *
ask_find(struct chan *at, uint32_t number)
{
	struct ask *a;

	TAILQ_FOREACH (a, &asks, entry)
		if (a->number == number && a->at == at)
			return a;
	return NULL;
}

static struct ask *
ask_new(struct place *place)
{
	struct ask *a, *b;

	if ((a = calloc(1, sizeof(*a))) == NULL)
		return NULL;
	do {
		a->number = ++last_number;
		TAILQ_FOREACH (b, &asks, entry)
			if (b->number == a->number)
				break;
	} while (a->number == 0 || b != NULL);
	a->fd = -1;
	a->since = monotime_now();
	if ((a->place = place) != NULL)
		place->refs++;
	TAILQ_INIT(&a->jobs);
	TAILQ_INSERT_TAIL(&asks, a, entry);
	return a;
}

static void
job_leaves(struct job *j)
{
	TAILQ_REMOVE(&j->ask->jobs, j, in_ask);
	j->ask->njobs--;
	j->ask = NULL;
}

static void
ask_free(struct ask *a)
{
	while (!TAILQ_EMPTY(&a->jobs))
		job_leaves(TAILQ_FIRST(&a->jobs));
	TAILQ_REMOVE(&asks, a, entry);
	if (a == gathering)
		gathering = NULL;
	if (a->fd != -1)
		close(a->fd);
	place_unref(a->place);
	free(a);
}

/* ---- sending ---------------------------------------------------------------- */

static int
send_fd(int (*send)(struct chan *, uint32_t, struct ask *, struct job *, int),
    struct ask *a, struct job *j, int fd)
{
	int copy, saved;

	if ((copy = fcntl(fd, F_DUPFD_CLOEXEC, 0)) == -1)
		return -1;
	if (send(a->at, a->number, a, j, copy) == 0)
		return 0;
	saved = errno;
	close(copy);
	errno = saved;
	return -1;
}

static int
file_send(struct chan *c, uint32_t id, struct ask *a, struct job *j, int fd)
{
	(void)a;
	return fetch_get_file_send(c, id, j->slot, fd);
}

static int
verify_send(struct chan *c, uint32_t id, struct ask *a, struct job *j, int fd)
{
	(void)a;
	return j->bytes == 0 ? cache_bundle_verify(c, id, fd)
			     : fetch_verify_send(c, id, j->bytes, &j->hash, fd);
}

/*
 * Bytes of neighbours in its pack that come with a small chunk: few for one
 * file, more and more when one question follows the other.
 */
static uint32_t
near_budget(const struct ask *a)
{
	static uint32_t budget;
	static monotime_t last;
	const struct job *j = TAILQ_FIRST(&a->jobs);
	monotime_t now = monotime_now();

	if (j->bytes >= FETCH_BUNDLE_CHUNK)
		return 0;
	if (budget == 0 || monotime_diff_ms(now, last) > NEAR_MS)
		budget = NEAR_MIN;
	else if (budget < FETCH_BUNDLE_BYTES)
		budget *= 2;
	last = now;
	return budget;
}

static int
send_get(struct ask *a)
{
	static struct fetch_get g;
	struct job *j;
	int saved;

	g.volume = a->place->volume_id;
	g.volume_len = strlen(g.volume);
	g.commit = a->place->commit;
	g.path = a->place->path;
	g.path_len = a->place->path_len;
	g.budget = near_budget(a);
	g.n = 0;
	TAILQ_FOREACH (j, &a->jobs, in_ask) {
		if (j->fd != -1 && send_fd(file_send, a, j, j->fd) == -1)
			goto fail;
		g.chunks[g.n].slot = j->slot;
		g.chunks[g.n].bytes = j->bytes;
		g.chunks[g.n++].hash = j->hash;
	}
	if (fetch_get_send(a->at, a->number, &g) == 0)
		return 0;
fail:
	saved = errno;
	(void)fetch_cancel_send(a->at,
	    a->number); /* it has some of the files */
	errno = saved;
	return -1;
}

/* There is no sailvol-fetch: it waits for one, but not for ever. */
static void
ask_waits(struct ask *a)
{
	struct timeval tv = { LOOK_S, 0 };

	if (a->lone.ns == 0)
		a->lone = monotime_now();
	if (!evtimer_initialized(&look_ev))
		evtimer_set(&look_ev, on_look, NULL);
	if (!evtimer_pending(&look_ev, NULL))
		evtimer_add(&look_ev, &tv);
}

/* 0 also when there is no sailvol-fetch at the moment: it waits. */
static int
ask_send(struct ask *a)
{
	int rc;

	if (TAILQ_EMPTY(&a->jobs)) {
		ask_free(a);
		return 0;
	}
	if ((a->at = role_peer_any(ROLE_FETCH)) == NULL) {
		ask_waits(a);
		return 0;
	}
	a->lone.ns = 0;
	rc = a->place != NULL
	    ? send_get(a)
	    : send_fd(verify_send, a, TAILQ_FIRST(&a->jobs), a->fd);
	/* One that is dying: its end comes as an event. */
	return rc == -1 && errno == EPIPE ? 0 : rc;
}

static void
ask_failed(struct ask *a, int error, const char *what)
{
	struct job *j;

	while ((j = TAILQ_FIRST(&a->jobs)) != NULL) {
		job_leaves(j);
		job_got_not(j, error, what);
	}
	ask_free(a);
}

static void
on_look(int fd, short ev, void *arg)
{
	struct timeval tv = { LOOK_S, 0 };
	struct ask *a, *next;
	int left = 0, late = 0;

	(void)fd;
	(void)ev;
	(void)arg;
	TAILQ_FOREACH_SAFE (a, &asks, entry, next) {
		if (a->lone.ns == 0)
			continue;
		if (monotime_diff_ms(monotime_now(), a->lone) < CACHE_LATE_MS)
			left = 1;
		else {
			ask_failed(a, ETIMEDOUT, "there is no sailvol-fetch");
			late = 1;
		}
	}
	if (late)
		job_late();
	if (left)
		evtimer_add(&look_ev, &tv);
	job_run_queue();
}

void
ask_flush(void)
{
	struct ask *a = gathering;

	gathering = NULL;
	if (a != NULL && ask_send(a) == -1) {
		a->at = NULL;
		ask_failed(a, errno, strerror(errno));
	}
}

int
ask_get(struct job *j)
{
	struct job *k;

	if (gathering != NULL &&
	    (gathering->place != j->place ||
		gathering->njobs >= FETCH_GET_FILES))
		ask_flush();
	if (gathering == NULL && (gathering = ask_new(j->place)) == NULL)
		return -1;
	TAILQ_FOREACH_REVERSE(k, &gathering->jobs, ask_jobs, in_ask)
	if (k->slot < j->slot)
		break;
	if (k == NULL)
		TAILQ_INSERT_HEAD(&gathering->jobs, j, in_ask);
	else
		TAILQ_INSERT_AFTER(&gathering->jobs, k, j, in_ask);
	gathering->njobs++;
	j->ask = gathering;
	return 0;
}

int
ask_verify(struct job *j, int fd)
{
	struct ask *a;
	int saved;

	if ((a = ask_new(NULL)) == NULL) {
		close(fd);
		return -1;
	}
	a->fd = fd;
	TAILQ_INSERT_TAIL(&a->jobs, j, in_ask);
	a->njobs++;
	j->ask = a;
	if (ask_send(a) == -1) {
		saved = errno;
		ask_free(a);
		errno = saved;
		return -1;
	}
	return 0;
}

void
ask_leave(struct job *j)
{
	struct ask *a = j->ask;

	if (a == NULL)
		return;
	job_leaves(j);
	if (!TAILQ_EMPTY(&a->jobs) || a == gathering || a == handing)
		return;
	/* What of it has come is kept; the rest is not wanted. */
	if (a->at == NULL)
		ask_free(a);
	else if (fetch_cancel_send(a->at, a->number) == -1)
		log_debug("cache: cancel: %s", strerror(errno));
}

void
ask_fetch_up(void)
{
	struct ask *a, *next;

	for (a = TAILQ_FIRST(&asks); a != NULL; a = next) {
		next = TAILQ_NEXT(a, entry);
		if (a->at == NULL && a != gathering && ask_send(a) == -1)
			ask_failed(a, errno, strerror(errno));
	}
	job_run_queue();
}

void
ask_fetch_down(struct chan *c)
{
	struct ask *a, *next;

	for (a = TAILQ_FIRST(&asks); a != NULL; a = next) {
		next = TAILQ_NEXT(a, entry);
		if (a->at != c)
			continue;
		a->at = NULL;
		if (++a->tries >= TRIES_MAX &&
		    monotime_diff_ms(monotime_now(), a->since) >= CACHE_LATE_MS)
			ask_failed(a, EIO,
			    "each sailvol-fetch dies while it is asked");
		else if (ask_send(a) == -1)
			ask_failed(a, errno, strerror(errno));
	}
	job_run_queue();
}

/* ---- answers ------------------------------------------------------------------- */

int
ask_get_done(struct chan *c, uint32_t id, struct imsg *imsg, struct ibuf *body)
{
	struct ask *a;
	struct job *j;
	uint64_t slot;

	(void)imsg;
	if (fetch_get_done_recv(body, &slot) == -1 ||
	    (a = ask_find(c, id)) == NULL || a->place == NULL)
		return -1;
	TAILQ_FOREACH (j, &a->jobs, in_ask)
		if (j->slot == slot)
			break;
	if (j == NULL)
		return 0; /* not wanted any more */
	if (j->fd == -1)
		return -1;
	job_leaves(j);
	job_got(j);
	job_run_queue();
	return 0;
}

/* One that is alone, as most that are not small: a file of its own. */
static int
one_came(struct ask *a, const struct fetch_bundle_chunk *k, int fd)
{
	struct memfd_view bytes;
	int rc;

	rc = memfd_map(fd, FETCH_BUNDLE_BYTES, &bytes);
	close(fd);
	if (rc == -1)
		return -1;
	if (k->offset > bytes.len || k->bytes > bytes.len - k->offset)
		rc = -1;
	else
		job_bytes(a->place->volume_id, &k->hash, bytes.data + k->offset,
		    k->bytes);
	memfd_unmap(&bytes);
	return rc;
}

int
ask_get_bundle(struct chan *c, uint32_t id, struct imsg *imsg,
    struct ibuf *body)
{
	static struct fetch_bundle list;
	struct ask *a = ask_find(c, id);
	int fd = imsg_get_fd(imsg), rc;

	if (a == NULL || a->place == NULL ||
	    fetch_bundle_recv(body, &list) == -1) {
		close(fd);
		return -1;
	}
	handing = a;
	rc = list.n == 1 ? one_came(a, &list.chunks[0], fd)
			 : cache_bundle_came(a->place->volume_id, &list, fd);
	handing = NULL;
	job_run_queue();
	return rc;
}

int
ask_get_res(struct chan *c, uint32_t id, struct imsg *imsg, struct ibuf *body)
{
	struct ask *a;
	const char *text;
	char what[256];
	uint32_t error;
	size_t len;

	(void)imsg;
	if ((a = ask_find(c, id)) == NULL || a->place == NULL ||
	    fetch_get_res_recv(body, &error, &text, &len) == -1)
		return -1;
	snprintf(what, sizeof(what), "%.*s", (int)len, text);
	if (error == 0 && !TAILQ_EMPTY(&a->jobs)) {
		error = EIO;
		strlcpy(what, "an answer without a chunk", sizeof(what));
	}
	/* What is left of its jobs has failed. */
	ask_failed(a, error == FETCH_STILL ? ETIMEDOUT : (int)error, what);
	if (error == FETCH_STILL)
		job_late();
	job_run_queue();
	return 0;
}

int
ask_verify_res(struct chan *c, uint32_t id, struct imsg *imsg,
    struct ibuf *body)
{
	struct ask *a;
	struct job *j;
	uint32_t error;

	(void)imsg;
	if (fetch_verify_res_recv(body, &error) == -1 ||
	    (a = ask_find(c, id)) == NULL || a->place != NULL)
		return -1;
	j = TAILQ_FIRST(&a->jobs);
	ask_free(a);
	if (j != NULL)
		job_verified(j, error);
	job_run_queue();
	return 0;
}
