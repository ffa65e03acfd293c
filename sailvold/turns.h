/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * turns: long work in slices, so that nobody else's request waits for it; each
 * work has its turn after the others, and between two the loop has its own.  In
 * manifest.
 */
#ifndef SAILVOLD_TURNS_H
#define SAILVOLD_TURNS_H

#include <sys/queue.h>

struct turn { /* zero: not in line */
	TAILQ_ENTRY(turn) link;
	/* A step, much shorter than a slice.  1: there is more to do; 0: it is
	   in line no more, and may be gone. */
	int (*step)(void *arg);
	void *arg;
	int in_line;
};
/* Its first slice comes at once: most work has no second.  -1: it is not in
   line for the others: out of memory. */
int turn_begin(struct turn *, int (*step)(void *), void *arg);
void turn_end(struct turn *);

extern unsigned int turn_ms; /* a slice, for tests */

#endif
