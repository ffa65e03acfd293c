/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * parent: the parent of the roles of sailapid(8).
 */
#ifndef SAILAPID_PARENT_H
#define SAILAPID_PARENT_H

#include "sailapid/config.h"

/*
 * Makes folders, sockets and the secret; goes into the background unless
 * foreground is set; starts the roles and runs until it is told to stop.  conf
 * is taken; path is read again on SIGHUP.  The exit status.
 */
int parent_run(struct config *conf, const char *path, int foreground,
    int verbose);

#endif
