/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * errand: something that may block, done by a short-lived child of the parent
 * of sailvold(8), which hands back an answer and perhaps a descriptor.
 */
#ifndef SAILVOLD_ERRAND_H
#define SAILVOLD_ERRAND_H

#include <sys/types.h>

#include <stddef.h>

struct errand_spec {
	/* In the child, which has no other descriptor of the parent's than the
	   first three: fills answer (size bytes, zeroed before; plain bytes, no
	   pointers) and returns a descriptor to hand back, or -1. */
	int (*run)(void *arg, void *answer);
	/* In the parent, from the event loop, once; the descriptor is the
	   callee's.  Where there is no answer it is all zero, fd -1, and errno
	   EAGAIN: the child died, or ETIMEDOUT: it was late. */
	void (*done)(void *arg, void *answer, int fd);
	void *arg;
	size_t size;
	unsigned int seconds; /* then it is late, and killed */
	const char *about;    /* a path */
	uid_t uid;            /* for whom */
};

/*
 * 0, or -1 and errno: nothing will be called.  One that is late and cannot be
 * killed, for the kernel waits for a file system that does not answer, is waited
 * for no longer; as long as it lives there is no second one about the same path,
 * and for others than root there are not many: ETIMEDOUT.
 */
int errand_run(const struct errand_spec *);

#endif
