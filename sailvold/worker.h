/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * worker: two threads for what may block: fdatasync, copies, fallocate, reads
 * from disk.  They get descriptors and buffers, and touch no map.  In fuse.
 */
#ifndef SAILVOLD_WORKER_H
#define SAILVOLD_WORKER_H

#include <sys/queue.h>

struct work {
	TAILQ_ENTRY(work) link;
	void (*run)(struct work *);  /* in a thread */
	void (*done)(struct work *); /* in the loop; owns the work */
	int error;                   /* set by run */
};

/* Starts the threads; -1 and errno. */
int worker_start(void);
void worker_submit(struct work *);
/* Takes fd: the kernel gives up its pages of that file, whose writing that may
   begin, and it is closed. */
void worker_give_up(int fd);

#endif
