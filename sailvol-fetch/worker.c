/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * worker: two threads that take works from a queue, and an eventfd that tells
 * the loop what is done.  In sailvol-fetch.
 */
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <errno.h>
#include <event.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "lib/log.h"
#include "sailvol-fetch/worker.h"

#define NTHREADS 2
#define MEMORY_BYTES ((size_t)128 * 1024 * 1024)
#define HUGE_PAGE ((size_t)2 * 1024 * 1024)
#define IDLE_S 2 /* then memory goes back to the system */

TAILQ_HEAD(works, work);

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t more = PTHREAD_COND_INITIALIZER;
static struct works todo = TAILQ_HEAD_INITIALIZER(todo);
static struct works todo_slow = TAILQ_HEAD_INITIALIZER(todo_slow);
static struct works finished = TAILQ_HEAD_INITIALIZER(finished);
static int slow_running;
static int wake_fd = -1;
static struct event wake_ev;

static TAILQ_HEAD(, pump) pumps = TAILQ_HEAD_INITIALIZER(pumps);
/* Those that wait for memory; a piece each, and it is behind the others. */
static TAILQ_HEAD(, pump) turns = TAILQ_HEAD_INITIALIZER(turns);
static struct pump *pumping; /* that is called */
static unsigned int pump_round;
static struct event pump_ev;
static int pump_set;
static size_t budget_used;
static size_t budget_bytes = MEMORY_BYTES / 4 * 3;
static struct event idle_ev;

/* ---- threads ------------------------------------------------------------- */

/* With the lock held. */
static void
enqueue(struct work *w)
{
	if (w->slow)
		TAILQ_INSERT_TAIL(&todo_slow, w, entry);
	else
		TAILQ_INSERT_TAIL(&todo, w, entry);
	pthread_cond_signal(&more);
}

static struct work *
dequeue(void)
{
	struct work *w;

	for (;;) {
		/* Syncs side by side share a commit of the file system, but
		   one thread is left to who only computes. */
		if ((slow_running == 0 || TAILQ_EMPTY(&todo)) &&
		    (w = TAILQ_FIRST(&todo_slow)) != NULL) {
			TAILQ_REMOVE(&todo_slow, w, entry);
			slow_running++;
			return w;
		}
		if ((w = TAILQ_FIRST(&todo)) != NULL) {
			TAILQ_REMOVE(&todo, w, entry);
			return w;
		}
		pthread_cond_wait(&more, &lock);
	}
}

static void
wake(void)
{
	uint64_t one = 1;

	while (write(wake_fd, &one, sizeof(one)) == -1 && errno == EINTR)
		;
}

/* With the lock held. */
static void
finish(struct work *w)
{
	int first = TAILQ_EMPTY(&finished);

	TAILQ_INSERT_TAIL(&finished, w, entry);
	if (first)
		wake();
}

static void *
thread_main(void *arg)
{
	struct work *w;
	int again, was_slow;

	(void)arg;
	pthread_mutex_lock(&lock);
	for (;;) {
		w = dequeue();
		was_slow = w->slow;
		pthread_mutex_unlock(&lock);
		again = w->run(w);
		pthread_mutex_lock(&lock);
		if (was_slow) {
			slow_running--;
			if (!TAILQ_EMPTY(&todo_slow))
				pthread_cond_signal(&more);
		}
		if (again) {
			enqueue(w);
			continue;
		}
		finish(w);
	}
	return NULL;
}

static void
on_wake(int fd, short ev, void *arg)
{
	struct works list = TAILQ_HEAD_INITIALIZER(list);
	struct work *w;
	uint64_t n;

	(void)ev;
	(void)arg;
	if (read(fd, &n, sizeof(n)) == -1 && errno != EAGAIN)
		fatal("worker: eventfd");
	pthread_mutex_lock(&lock);
	TAILQ_CONCAT(&list, &finished, entry);
	pthread_mutex_unlock(&lock);
	while ((w = TAILQ_FIRST(&list)) != NULL) {
		TAILQ_REMOVE(&list, w, entry);
		w->done(w);
	}
}

static void on_pump(int, short, void *);
static void on_idle(int, short, void *);

void
worker_start(void)
{
	sigset_t all, old;
	pthread_t t;
	int i;

	if ((wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) == -1)
		fatal("worker: eventfd");
	event_set(&wake_ev, wake_fd, EV_READ | EV_PERSIST, on_wake, NULL);
	if (event_add(&wake_ev, NULL) == -1)
		fatalx("worker: event_add");
	evtimer_set(&pump_ev, on_pump, NULL);
	evtimer_set(&idle_ev, on_idle, NULL);
	pump_set = 1;
	/* Signals are the loop's. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	for (i = 0; i < NTHREADS; i++)
		if ((errno = pthread_create(&t, NULL, thread_main, NULL)) != 0)
			fatal("worker: thread");
	pthread_sigmask(SIG_SETMASK, &old, NULL);
}

void
worker_add(struct work *w)
{
	pthread_mutex_lock(&lock);
	enqueue(w);
	pthread_mutex_unlock(&lock);
}

void
worker_end(struct work *w)
{
	pthread_mutex_lock(&lock);
	finish(w);
	pthread_mutex_unlock(&lock);
}

/* ---- memory -------------------------------------------------------------- */

static void
turn_end(struct pump *p)
{
	if (!p->refused)
		return;
	TAILQ_REMOVE(&turns, p, turn);
	p->refused = 0;
}

/* The next of this round: those that wait for memory first. */
static struct pump *
pump_next(void)
{
	struct pump *p;

	TAILQ_FOREACH (p, &turns, turn)
		if (p->round != pump_round)
			return p;
	p = TAILQ_FIRST(&pumps);
	return p != NULL && p->round != pump_round ? p : NULL;
}

static void
on_pump(int fd, short ev, void *arg)
{
	struct pump *p;

	(void)fd;
	(void)ev;
	(void)arg;
	pump_round++;
	/* Each once.  A pump may end itself and others. */
	while ((p = pump_next()) != NULL) {
		TAILQ_REMOVE(&pumps, p, entry);
		TAILQ_INSERT_TAIL(&pumps, p, entry);
		p->round = pump_round;
		p->asked = 0;
		pumping = p;
		p->fn(p->arg);
		/* It wants none any more. */
		if (pumping != NULL && !p->asked)
			turn_end(p);
		pumping = NULL;
	}
}

void
pump_kick(void)
{
	struct timeval now = { 0, 0 };

	if (pump_set && !evtimer_pending(&pump_ev, NULL))
		evtimer_add(&pump_ev, &now);
}

void
pump_add(struct pump *p, void (*fn)(void *), void *arg)
{
	p->fn = fn;
	p->arg = arg;
	p->round = pump_round;
	TAILQ_INSERT_TAIL(&pumps, p, entry);
	pump_kick();
}

void
pump_del(struct pump *p)
{
	if (p->fn == NULL)
		return;
	TAILQ_REMOVE(&pumps, p, entry);
	p->fn = NULL;
	if (p == pumping)
		pumping = NULL;
	if (p->refused)
		pump_kick();
	turn_end(p);
}

void *
big_alloc(size_t n)
{
	void *p;

	if (n < HUGE_PAGE)
		return malloc(n);
	if ((errno = posix_memalign(&p, HUGE_PAGE, n)) != 0)
		return NULL;
	/* A fault for each 4 KiB would take longer than the network. */
	(void)madvise(p, n / HUGE_PAGE * HUGE_PAGE, MADV_HUGEPAGE);
	return p;
}

void
budget_set(uint64_t bytes)
{
	if (bytes == 0 || bytes > SIZE_MAX / 2)
		bytes = MEMORY_BYTES;
	budget_bytes = (size_t)bytes / 4 * 3;
	pump_kick();
}

size_t
kept_max(void)
{
	return budget_bytes / 3;
}

int
budget_take(size_t n)
{
	struct pump *first = TAILQ_FIRST(&turns);

	if ((first == NULL || first == pumping) &&
	    (budget_used == 0 ||
		(n <= budget_bytes && budget_used <= budget_bytes - n))) {
		budget_used += n;
		if (first != NULL)
			turn_end(first);
		return 1;
	}
	if (pumping == NULL)
		return 0;
	pumping->asked = 1;
	if (!pumping->refused) {
		pumping->refused = 1;
		TAILQ_INSERT_TAIL(&turns, pumping, turn);
	}
	return 0;
}

static void
on_idle(int fd, short ev, void *arg)
{
	(void)fd;
	(void)ev;
	(void)arg;
	if (budget_used == 0)
		malloc_trim(0);
}

void
budget_give(size_t n)
{
	struct timeval tv = { IDLE_S, 0 };

	budget_used -= n;
	if (budget_used == 0 && pump_set)
		evtimer_add(&idle_ev, &tv);
	pump_kick();
}
