/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * turns: long work in slices, one after the other.  In manifest.
 */
#include <event2/event.h>

#include "lib/log.h"
#include "lib/monotime.h"
#include "lib/proc.h"
#include "sailvold/turns.h"

unsigned int turn_ms = 5;

static TAILQ_HEAD(, turn) turns = TAILQ_HEAD_INITIALIZER(turns);
static struct event *next; /* while somebody is in line */

/* 1: it is in line still. */
static int
slice(struct turn *t)
{
	monotime_t until = monotime_add_ms(monotime_now(), turn_ms);

	do
		if (t->step(t->arg) == 0)
			return 0;
	while (!monotime_reached(until));
	return 1;
}

static void
next_turn(evutil_socket_t fd, short what, void *arg)
{
	struct timeval now = { 0, 0 };
	struct turn *t = TAILQ_FIRST(&turns);

	(void)fd;
	(void)what;
	(void)arg;
	if (event_add(next, &now) == -1)
		fatalx("no timer for the turns");
	TAILQ_REMOVE(&turns, t, link);
	TAILQ_INSERT_TAIL(&turns, t, link);
	(void)slice(t);
}

int
turn_begin(struct turn *t, int (*step)(void *), void *arg)
{
	struct timeval now = { 0, 0 };

	t->step = step;
	t->arg = arg;
	if (next == NULL) {
		next = evtimer_new(proc_base(), next_turn, NULL);
		if (next == NULL || event_add(next, &now) == -1) {
			if (next != NULL)
				event_free(next);
			next = NULL;
			return -1;
		}
	}
	t->in_line = 1;
	TAILQ_INSERT_TAIL(&turns, t, link);
	(void)slice(t);
	return 0;
}

void
turn_end(struct turn *t)
{
	if (!t->in_line)
		return;
	t->in_line = 0;
	TAILQ_REMOVE(&turns, t, link);
	if (TAILQ_EMPTY(&turns)) {
		event_free(next);
		next = NULL;
	}
}
