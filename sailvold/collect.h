/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * collect: what a mount has changed, collected while others are served.  In
 * manifest.
 */
#ifndef SAILVOLD_COLLECT_H
#define SAILVOLD_COLLECT_H

#include "sailvold/delta_make.h"

struct collecting;
/*
 * error: 0, and the set, to be taken, as it was at set->mark; or as of
 * delta_collect(), and what it says of miss, which is the callee's to free;
 * ENODEV: the mount goes; EBUSY: others change what was collected all the time.
 */
typedef void (*collect_cb)(void *arg, int error, struct delta_set *set,
    struct node_miss *miss);
/* *c while it goes on, NULL before f is called, which may be at once.  -1: it
   is not, out of memory. */
int collect_begin(struct mount *, struct collecting **c, unsigned int attempt,
    collect_cb f, void *arg);
/*
 * A reload whose programs are parked: until the end of that no others of the mount
 * look at its rows or hold its journal, those that had begun begin anew then, and
 * the reload's own is begun by the second.
 */
struct collect_first {
	TAILQ_ENTRY(collect_first) link;
	struct mount *m; /* NULL: it is none */
};
void collect_first(struct collect_first *, struct mount *);
int collect_begin_first(struct collect_first *, struct collecting **c,
    unsigned int attempt, collect_cb f, void *arg);
/* Also when it is none. */
void collect_first_end(struct collect_first *);
/* f is not called.  NULL: nothing happens. */
void collect_stop(struct collecting *);
/* Its fuse is started, or never will be: what waited for that goes on. */
void collect_go_on(struct mount *);
/* The mount goes: who waits is called. */
void collect_mount_gone(struct mount *);
/* A set that nobody needs: a large one goes bit by bit. */
void collect_drop(struct delta_set *);

#endif
