/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * cache_ask: what cache asks of sailvol-fetch: chunks, and whether a file is
 * what it should be.  Each question is kept until its answer, and asked again
 * when the sailvol-fetch that had it died.  In cache.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/log.h"
#include "sailvold/sailvold_imsg.h"
#include "sailvold/cache.h"

#define ASK_BYTES ((uint64_t)64 * 1024 * 1024)

struct ask {
	TAILQ_ENTRY(ask) entry;  /* of all */
	TAILQ_ENTRY(ask) in_job; /* of its job */
	uint32_t number;
	struct job *job; /* NULL: cancelled, the answer is not wanted */
	struct chan *at; /* NULL: waits for a sailvol-fetch */
	int fd;          /* VERIFY: the file; GET: the job's */
	uint64_t bytes;
	struct fetch_get *get; /* NULL: VERIFY */
};
static TAILQ_HEAD(, ask) asks = TAILQ_HEAD_INITIALIZER(asks);
static uint32_t last_number;

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
ask_new(struct job *j)
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
	a->job = j;
	TAILQ_INSERT_TAIL(&asks, a, entry);
	TAILQ_INSERT_TAIL(&j->asks, a, in_job);
	j->nasks++;
	return a;
}

static void
ask_leave(struct ask *a)
{
	if (a->job == NULL)
		return;
	TAILQ_REMOVE(&a->job->asks, a, in_job);
	a->job->nasks--;
	a->job = NULL;
}

static void
ask_free(struct ask *a)
{
	ask_leave(a);
	TAILQ_REMOVE(&asks, a, entry);
	if (a->fd != -1)
		close(a->fd);
	free(a->get);
	free(a);
}

/* ---- sending ---------------------------------------------------------------- */

static int
send_verify(struct ask *a, int fd)
{
	int list;

	list = memfd_new("chunks", a->job->flat, a->job->flat_len);
	if (list == -1)
		return -1;
	return fetch_verify_send(a->at, a->number, a->job->size, list, fd);
}

/* 0 also when there is no sailvol-fetch at the moment: it waits. */
static int
ask_send(struct ask *a)
{
	int fd, rc;

	if ((a->at = role_peer_any(ROLE_FETCH)) == NULL)
		return 0;
	if ((fd = fcntl(a->fd, F_DUPFD_CLOEXEC, 0)) == -1)
		return -1;
	rc = a->get != NULL ? fetch_get_send(a->at, a->number, a->get, fd)
			    : send_verify(a, fd);
	if (rc == -1) {
		close(fd);
		/* It is dying: its end comes as an event. */
		if (errno == EPIPE)
			return 0;
	}
	return rc;
}

static void
fill_get(struct job *j, struct ask *a)
{
	struct fetch_get *g = a->get;
	struct fetch_get_chunk *k;
	uint64_t slot;

	g->volume = j->volume_id;
	g->volume_len = strlen(j->volume_id);
	g->commit = j->commit;
	g->path = j->path;
	g->path_len = j->path_len;
	g->shift = chunklist_shift(j->list);
	while (g->n < FETCH_GET_MAX && a->bytes < ASK_BYTES) {
		k = &g->chunks[g->n];
		if (!chunklist_next(j->list, j->next, &slot, &k->hash)) {
			j->no_more = 1;
			break;
		}
		k->slot = slot;
		k->bytes = chunklist_slot_bytes(j->list, slot);
		a->bytes += k->bytes;
		g->n++;
		j->next = slot + 1;
		if (j->next >= chunklist_slots(j->list)) {
			j->no_more = 1;
			break;
		}
	}
}

int
ask_get(struct job *j)
{
	struct ask *a;
	int saved;

	if (j->no_more)
		return 1;
	if ((a = ask_new(j)) == NULL)
		return -1;
	a->get = calloc(1, sizeof(*a->get));
	a->fd = fcntl(j->fd, F_DUPFD_CLOEXEC, 0);
	if (a->get == NULL || a->fd == -1)
		goto fail;
	fill_get(j, a);
	if (a->get->n == 0) {
		ask_free(a);
		return 1;
	}
	if (ask_send(a) == -1)
		goto fail;
	return 0;

fail:
	saved = errno;
	ask_free(a);
	errno = saved;
	return -1;
}

int
ask_verify(struct job *j, int fd)
{
	struct ask *a;
	int saved;

	if ((a = ask_new(j)) == NULL) {
		close(fd);
		return -1;
	}
	a->fd = fd;
	if (ask_send(a) == -1) {
		saved = errno;
		ask_free(a);
		errno = saved;
		return -1;
	}
	return 0;
}

void
ask_cancel_all(struct job *j)
{
	struct ask *a;

	while ((a = TAILQ_FIRST(&j->asks)) != NULL) {
		ask_leave(a);
		if (a->at == NULL) {
			ask_free(a);
			continue;
		}
		/* What its views point to goes with the job. */
		free(a->get);
		a->get = NULL;
		if (fetch_cancel_send(a->at, a->number) == -1)
			log_debug("cache: cancel: %s", strerror(errno));
	}
}

void
ask_fetch_up(void)
{
	struct ask *a;

	TAILQ_FOREACH (a, &asks, entry)
		if (a->at == NULL && ask_send(a) == -1)
			log_warn("cache: question to fetch");
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
		if (a->job == NULL)
			ask_free(a);
		else if (ask_send(a) == -1)
			log_warn("cache: question to fetch");
	}
}

/* ---- answers ------------------------------------------------------------------- */

int
ask_get_done(struct chan *c, uint32_t id, struct imsg *imsg, struct ibuf *body)
{
	uint64_t slot;

	(void)c;
	(void)id;
	(void)imsg;
	/* A file is served when it is whole. */
	return fetch_get_done_recv(body, &slot);
}

int
ask_get_res(struct chan *c, uint32_t id, struct imsg *imsg, struct ibuf *body)
{
	struct ask *a;
	struct job *j;
	const char *what;
	char text[256];
	uint32_t error;
	uint64_t bytes;
	size_t len;

	(void)imsg;
	if (fetch_get_res_recv(body, &error, &what, &len) == -1 ||
	    (a = ask_find(c, id)) == NULL)
		return -1;
	if (len >= sizeof(text))
		len = sizeof(text) - 1;
	memcpy(text, what, len);
	text[len] = '\0';
	j = a->job;
	bytes = a->bytes;
	if (j != NULL && a->get == NULL)
		return -1; /* an answer to another question */
	ask_free(a);
	if (j != NULL)
		job_got(j, bytes, error, text);
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
	    (a = ask_find(c, id)) == NULL)
		return -1;
	j = a->job;
	if (j != NULL && a->get != NULL)
		return -1;
	ask_free(a);
	if (j != NULL)
		job_verified(j, error);
	return 0;
}
