/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * control_client: the clients of the control socket, and the requests that
 * only they can make.  In manifest.
 */
#ifndef SAILVOLD_CONTROL_CLIENT_H
#define SAILVOLD_CONTROL_CLIENT_H

#include "sailvold/asker.h"

void control_mount(struct asker *, struct mount *, json_t *request);
void control_umount(struct asker *, struct mount *, json_t *request);
/* The parent's processes first, then the answer. */
void control_ask_status(struct asker *);
/* The commit before an umount has ended with that answer. */
void control_commit_done(struct asker *, const char *answer);

#endif
