/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * work: a few threads for what blocks (fsync, above all).  In store.
 */
#ifndef SAILAPID_WORK_H
#define SAILAPID_WORK_H

#include <sys/queue.h>

/* Embedded in what is worked on. */
struct work {
	void (*run)(struct work *);  /* in a thread: touches only its own */
	void (*done)(struct work *); /* in the loop, afterwards */
	STAILQ_ENTRY(work) entry;
};

/* Starts n threads; -1 after a message. */
int work_init(unsigned int n);
void work_queue(struct work *);

#endif
