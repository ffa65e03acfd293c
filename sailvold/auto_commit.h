/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * auto_commit: commits that nobody asks for: by a timer (`commit every'), and
 * the last ones before the daemon ends (`commit on umount').  In manifest.
 */
#ifndef SAILVOLD_AUTO_COMMIT_H
#define SAILVOLD_AUTO_COMMIT_H

#include "sailvold/manifest.h"

/* Its fuse has START (again): from now on it can be committed. */
void auto_commit_started(struct mount *);
/* Its policy is another. */
void auto_commit_changed(struct mount *);
void auto_commit_gone(struct mount *);
/*
 * Each mount that is to be committed at umount is, once, if it has something;
 * done is called when that is over, well or not.
 */
void auto_commit_last(void (*done)(void));

#endif
