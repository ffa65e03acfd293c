/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * writers: whether another program may change a file of this machine while it
 * is read.  In sailvolctl.
 */
#ifndef SAILVOLCTL_WRITERS_H
#define SAILVOLCTL_WRITERS_H

#include <time.h>

enum writers {
	WRITERS_NONE,  /* a change from here on moves its ctime */
	WRITERS_DOUBT, /* one might not, and nobody can tell who has it open */
	WRITERS_SOME   /* it is open, or mapped, for writing */
};

/* Of a file that is open for reading alone, and was changed at ctime. */
enum writers writers_of(int fd, const struct timespec *ctime);
/* Of one that had none: are there some, now that it was read? */
int writers_came(int fd);

#endif
