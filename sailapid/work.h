/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * work: a few threads for what blocks (fsync, above all).  In store.
 */
#ifndef SAILAPID_WORK_H
#define SAILAPID_WORK_H

#include <sys/queue.h>
#include <stddef.h>

/* Embedded in what is worked on. */
struct work {
	void (*run)(struct work *);  /* in a thread: touches only its own */
	void (*done)(struct work *); /* in the loop, afterwards */
	STAILQ_ENTRY(work) entry;
};

/* Starts n threads with stacks of that many bytes; -1 after a message. */
int work_init(unsigned int n, size_t stack);
void work_queue(struct work *);
/* 1: it had not begun, and will not. */
int work_cancel(struct work *);
/* Forgets what waits, and returns when nothing runs any more: nothing is done
   afterwards. */
void work_end(void);

#endif
