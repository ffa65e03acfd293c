/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * worker: the threads of sailvol-fetch(8) that read, hash and write files, so
 * that its loop never waits for a disk; and the memory that all transfers
 * share.
 */
#ifndef SAILVOL_FETCH_WORKER_H
#define SAILVOL_FETCH_WORKER_H

#include <sys/queue.h>
#include <stdatomic.h>
#include <stddef.h>

/*
 * One piece of work.  Its owner keeps it until done() was called, which always
 * happens, in the event loop.
 */
struct work {
	TAILQ_ENTRY(work) entry;
	/* In a thread: touches only what the work was given.  1: again, behind
	   the others; 0: done. */
	int (*run)(struct work *);
	void (*done)(struct work *);
	/* Waits for a disk and little else: not in all threads. */
	int slow;
	atomic_int cancel; /* set by the owner; run() looks at it */
};

/* After the sandbox was entered. */
void worker_start(void);
/* From any thread. */
void worker_add(struct work *);
/* From a thread: done() is called as if it had run. */
void worker_end(struct work *);

/*
 * Memory for transfers under way, and of kept.h: a quarter.  pump_add: fn is called, from the loop, when
 * memory has become free, and at once after the call.
 */
struct pump {
	TAILQ_ENTRY(pump) entry, turn;
	void (*fn)(void *);
	void *arg;
	unsigned int round; /* the last in which it was called */
	int refused;        /* it has its turn with memory */
	int asked;          /* and wants it still */
};
void pump_add(struct pump *, void (*fn)(void *), void *arg);
void pump_del(struct pump *);
void pump_kick(void);
/*
 * From a pump.  1: taken; 0: wait: who was refused first is the next to take, and
 * what becomes free until then is kept for it.  Nothing is too much when nothing
 * is taken.
 */
int budget_take(size_t);
void budget_give(size_t);
/* Bytes for both; 0: the built-in. */
void budget_set(uint64_t);
size_t kept_max(void);
/* malloc(3) for what was taken; free(3) ends it. */
void *big_alloc(size_t);

#endif
