/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * errand: something that may block, done by a short-lived child of the parent
 * of sailvold(8), which hands back an answer and perhaps a descriptor.
 */
#ifndef SAILVOLD_ERRAND_H
#define SAILVOLD_ERRAND_H

#include <stddef.h>

/*
 * In a child: run(arg, answer) fills answer (size bytes, zeroed before; plain
 * bytes, no pointers) and returns a descriptor to hand back, or -1.  In the
 * parent, from the event loop, once: done(arg, answer, fd); the descriptor is
 * the callee's.  When the child dies before, answer is all zero and fd -1.
 * 0, or -1 and errno: nothing will be called.
 */
int errand_run(int (*run)(void *arg, void *answer),
    void (*done)(void *arg, void *answer, int fd), void *arg, size_t size);
/* A descriptor of the parent that no such child keeps. */
void errand_closes(int fd);

#endif
