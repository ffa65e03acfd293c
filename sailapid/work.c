/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * work: two queues between the loop and its threads.  In store and meta.
 */
#include <sys/eventfd.h>
#include <errno.h>
#include <event.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <unistd.h>

#include "lib/log.h"
#include "sailapid/work.h"

STAILQ_HEAD(work_list, work);

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static struct work_list todo = STAILQ_HEAD_INITIALIZER(todo);
static struct work_list finished = STAILQ_HEAD_INITIALIZER(finished);
static pthread_cond_t idle = PTHREAD_COND_INITIALIZER;
static unsigned int running;
static int wake_fd = -1;
static struct event wake;

static void *
worker(void *arg)
{
	const uint64_t one = 1;
	struct work *w;

	(void)arg;
	pthread_mutex_lock(&lock);
	for (;;) {
		while ((w = STAILQ_FIRST(&todo)) == NULL)
			pthread_cond_wait(&cond, &lock);
		STAILQ_REMOVE_HEAD(&todo, entry);
		running++;
		pthread_mutex_unlock(&lock);
		w->run(w);
		pthread_mutex_lock(&lock);
		if (--running == 0)
			pthread_cond_signal(&idle);
		STAILQ_INSERT_TAIL(&finished, w, entry);
		/* Its count cannot be full: it is read to 0 each time. */
		(void)!write(wake_fd, &one, sizeof(one));
	}
	return NULL;
}

static void
on_wake(int fd, short what, void *arg)
{
	struct work_list list = STAILQ_HEAD_INITIALIZER(list);
	struct work *w;
	uint64_t n;

	(void)what;
	(void)arg;
	(void)!read(fd, &n, sizeof(n));
	pthread_mutex_lock(&lock);
	STAILQ_CONCAT(&list, &finished);
	pthread_mutex_unlock(&lock);
	while ((w = STAILQ_FIRST(&list)) != NULL) {
		STAILQ_REMOVE_HEAD(&list, entry);
		w->done(w);
	}
}

int
work_init(unsigned int n, size_t stack)
{
	pthread_attr_t attr;
	sigset_t none, old;
	pthread_t t;

	if ((wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) == -1) {
		log_warn("eventfd");
		return -1;
	}
	event_set(&wake, wake_fd, EV_READ | EV_PERSIST, on_wake, NULL);
	if (event_add(&wake, NULL) == -1 || pthread_attr_init(&attr) != 0 ||
	    pthread_attr_setstacksize(&attr, stack) != 0)
		return -1;
	/* Signals are the loop's. */
	sigfillset(&none);
	pthread_sigmask(SIG_SETMASK, &none, &old);
	while (n-- > 0)
		if ((errno = pthread_create(&t, &attr, worker, NULL)) != 0) {
			log_warn("worker");
			return -1;
		}
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attr);
	return 0;
}

void
work_queue(struct work *w)
{
	pthread_mutex_lock(&lock);
	STAILQ_INSERT_TAIL(&todo, w, entry);
	pthread_cond_signal(&cond);
	pthread_mutex_unlock(&lock);
}

int
work_cancel(struct work *w)
{
	struct work *t;

	pthread_mutex_lock(&lock);
	STAILQ_FOREACH (t, &todo, entry)
		if (t == w)
			break;
	if (t != NULL)
		STAILQ_REMOVE(&todo, w, work, entry);
	pthread_mutex_unlock(&lock);
	return t != NULL;
}

void
work_end(void)
{
	pthread_mutex_lock(&lock);
	STAILQ_INIT(&todo);
	while (running > 0)
		pthread_cond_wait(&idle, &lock);
	STAILQ_INIT(&finished);
	pthread_mutex_unlock(&lock);
}
