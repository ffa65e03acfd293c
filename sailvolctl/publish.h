/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * publish: a commit without a mount: a session, and the delta that ends it
 * (sailapi(7), COMMITS).  In sailvolctl.
 */
#ifndef SAILVOLCTL_PUBLISH_H
#define SAILVOLCTL_PUBLISH_H

#include "lib/delta.h"
#include "sailvolctl/commands.h"
#include "sailvolctl/output.h"

struct publish {
	const struct invocation *inv; /* -m, --if-unchanged */
	const char *volume;
	char session[33];
};
/* Chooses a session's key. */
void publish_new_session(struct publish *);
/* Begins that session, or takes it up: 0, 1 when it was published before, -1
   with failure set. */
int publish_begin(struct publish *, struct failure *);
/* The sink of delta_begin(): int *arg is a memfd. */
int publish_write(void *arg, const void *, size_t);
/* Seals the memfd, which it takes, and publishes: what the server says, or NULL
   with failure set. */
json_t *publish_delta(struct publish *, int fd, struct failure *);

#endif
