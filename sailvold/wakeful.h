/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * wakeful: keeps processors from halting while a burst of requests runs, since
 * waking one costs more than all the rest of a request.  With the descriptor of
 * /dev/cpu_dma_latency the kernel is told so: from the fourth request within a
 * millisecond until none came for four.  Without it this process looks for the
 * next request for 100 microseconds before it sleeps.  In fuse.
 */
#ifndef SAILVOLD_WAKEFUL_H
#define SAILVOLD_WAKEFUL_H

#include "sailvold/tally.h"

/* How, from now on; fd: /dev/cpu_dma_latency, for that mode alone, else -1.
   Takes fd over. */
void wakeful_set(enum wakeful_mode, int fd);
/* A request that somebody waits for was answered, or parked. */
void wakeful_request(void);
/* No request is there: 1: look again, 0: sleep. */
int wakeful_look(void);

#endif
