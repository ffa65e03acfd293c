/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * worker: the threads, their queue, and the way back into the loop.  In fuse.
 */
#include <sys/eventfd.h>
#include <errno.h>
#include <event.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include "lib/log.h"
#include "sailvold/worker.h"

#define THREADS 2

TAILQ_HEAD(work_list, work);

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t more = PTHREAD_COND_INITIALIZER;
static struct work_list todo = TAILQ_HEAD_INITIALIZER(todo);
static struct work_list finished = TAILQ_HEAD_INITIALIZER(finished);
static int wake = -1;
static struct event ev_wake;

static void *
worker(void *arg)
{
	const uint64_t one = 1;
	struct work *w;

	(void)arg;
	for (;;) {
		pthread_mutex_lock(&lock);
		while ((w = TAILQ_FIRST(&todo)) == NULL)
			pthread_cond_wait(&more, &lock);
		TAILQ_REMOVE(&todo, w, link);
		pthread_mutex_unlock(&lock);
		w->run(w);
		pthread_mutex_lock(&lock);
		TAILQ_INSERT_TAIL(&finished, w, link);
		pthread_mutex_unlock(&lock);
		if (write(wake, &one, sizeof(one)) == -1)
			continue; /* it is full: the loop is awake */
	}
	return NULL;
}

static void
on_wake(int fd, short ev, void *arg)
{
	uint64_t n;
	struct work *w;

	(void)ev;
	(void)arg;
	if (read(fd, &n, sizeof(n)) == -1 && errno != EAGAIN)
		log_warn("worker");
	for (;;) {
		pthread_mutex_lock(&lock);
		if ((w = TAILQ_FIRST(&finished)) != NULL)
			TAILQ_REMOVE(&finished, w, link);
		pthread_mutex_unlock(&lock);
		if (w == NULL)
			return;
		w->done(w);
	}
}

int
worker_start(void)
{
	sigset_t all, old;
	pthread_t t;
	int i, rc = 0;

	if ((wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) == -1)
		return -1;
	event_set(&ev_wake, wake, EV_READ | EV_PERSIST, on_wake, NULL);
	if (event_add(&ev_wake, NULL) == -1)
		return -1;
	/* Signals are the loop's. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	for (i = 0; i < THREADS && rc == 0; i++)
		if ((rc = pthread_create(&t, NULL, worker, NULL)) == 0)
			pthread_detach(t);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	errno = rc;
	return rc == 0 ? 0 : -1;
}

void
worker_submit(struct work *w)
{
	w->error = 0;
	pthread_mutex_lock(&lock);
	TAILQ_INSERT_TAIL(&todo, w, link);
	pthread_cond_signal(&more);
	pthread_mutex_unlock(&lock);
}

/* ---- pages ------------------------------------------------------------------------ */

struct give_up {
	struct work work;
	int fd;
};

static void
give_up_run(struct work *w)
{
	(void)posix_fadvise(((struct give_up *)w)->fd, 0, 0,
	    POSIX_FADV_DONTNEED);
}

static void
give_up_done(struct work *w)
{
	close(((struct give_up *)w)->fd);
	free(w);
}

void
worker_give_up(int fd)
{
	struct give_up *g;

	if ((g = calloc(1, sizeof(*g))) == NULL) {
		close(fd);
		return;
	}
	g->fd = fd;
	g->work.run = give_up_run;
	g->work.done = give_up_done;
	worker_submit(&g->work);
}
