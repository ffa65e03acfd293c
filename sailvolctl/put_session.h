/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * put_session: remembers the session of a put that has not ended, so that the
 * same put takes it up, and nothing is sent twice.  In sailvolctl.
 */
#ifndef SAILVOLCTL_PUT_SESSION_H
#define SAILVOLCTL_PUT_SESSION_H

#include "sailvolctl/publish.h"

struct put_session {
	int fd; /* of its file, locked; -1: there is none */
	char path[4096];
};

/* That of a put of the same to the same, or a new one; where no file can be
   kept it is a new one. */
void put_session_find(struct put_session *, struct publish *, const char *from,
    const char *to);
/* Another one in its place. */
void put_session_renew(struct put_session *, struct publish *);
/* It was published. */
void put_session_end(struct put_session *);
void put_session_close(struct put_session *);

#endif
