/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * reload_after: what is left to do of a reload when the mount has moved, and
 * programs go on.  In manifest.
 */
#ifndef SAILVOLD_RELOAD_AFTER_H
#define SAILVOLD_RELOAD_AFTER_H

#include "sailvold/diff.h"
#include "sailvold/rebase.h"

/* Takes what is the same, and what is gone. */
void reload_after(struct mount *, struct snap_diff *, struct rebase_gone *);
/* After a restart: what has no name went with the switch, or before.  -1 and errno;
   the caller frees. */
int reload_gone_load(struct mount *, struct rebase_gone *);
/* For it (reload.c): a restore that waited for its end. */
void restore_go_on(struct reload_run *);

#endif
