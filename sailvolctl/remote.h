/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * remote: the tree of a commit, read from the API server as far as it is
 * looked at.  In sailvolctl.
 */
#ifndef SAILVOLCTL_REMOTE_H
#define SAILVOLCTL_REMOTE_H

#include "lib/chunklist.h"
#include "lib/commit.h"
#include "sailvolctl/commands.h"
#include "sailvolctl/output.h"

struct remote;

/* volume: a name or id.  commit NULL: the newest one.  NULL: failure is set. */
struct remote *remote_open(const struct invocation *, const char *volume,
    const struct hash *commit, struct failure *);
void remote_free(struct remote *);
const char *remote_volume(const struct remote *);
/* 0 when the key is for that path; -1: failure is set. */
int remote_allows(const struct remote *, const void *path, size_t len,
    struct failure *);
const struct hash *remote_id(const struct remote *);
const struct commit *remote_commit(const struct remote *);

/*
 * What is at a path ("": the root directory), which has been checked.  The
 * entry's views need *keep, which the caller unrefs.  -1: failure is set, with
 * the code path_not_found when nothing is there.
 */
int remote_find(struct remote *, const void *path, size_t len, struct entry *,
    struct blob **keep, struct failure *);
/*
 * Every name of the directory dir at that path, in order; f returns 0, or -1
 * with failure set.  The entry's views live until f returns, and f may ask for
 * other things meanwhile.
 */
typedef int (*remote_cb)(void *, const uint8_t *name, size_t len,
    const struct entry *, struct failure *);
int remote_each(struct remote *, const void *path, size_t len,
    const struct entry *dir, remote_cb f, void *, struct failure *);
/* The chunks of the file at that path; NULL: failure is set. */
struct chunklist *remote_chunks(struct remote *, const void *path, size_t len,
    const struct entry *, struct failure *);
/* e's extended attributes are whole afterwards; *keep as above. */
int remote_xattrs(struct remote *, const void *path, size_t len, struct entry *,
    struct blob **keep, struct failure *);

#endif
