/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * history: commits of a volume as people name them, and what differs between
 * two of them.  In sailvolctl.
 */
#ifndef SAILVOLCTL_HISTORY_H
#define SAILVOLCTL_HISTORY_H

#include "lib/hash.h"
#include "sailvolctl/commands.h"
#include "sailvolctl/output.h"

#define HISTORY_SHORT 6 /* digits that name a commit, at least */

/*
 * "head", the whole id, or its first digits, if they are those of one commit
 * alone.  -1 with failure set.
 */
int history_resolve(const struct invocation *, const char *volume,
    const char *word, struct hash *, struct failure *);
/*
 * Each change from one commit (NULL: the parent of the other) to another, as
 * sailapi(7) has it; f returns 0, or -1 with failure set.
 */
typedef int (*history_cb)(void *, json_t *change, struct failure *);
int history_diff(const struct invocation *, const char *volume,
    const struct hash *from, const struct hash *to, history_cb f, void *,
    struct failure *);

#endif
