/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * content: a small file whole, for diff -p: of a commit, or of a mount.  In
 * sailvolctl.
 */
#ifndef SAILVOLCTL_CONTENT_H
#define SAILVOLCTL_CONTENT_H

#include "sailvolctl/download.h"
#include "sailvolctl/patch.h"

enum content {
	CONTENT_FAILED = -1, /* failure is set */
	CONTENT_NONE = 0,    /* no file: nothing, a directory, a fifo */
	CONTENT_HERE,        /* for content_free() */
	CONTENT_LARGE        /* more than PATCH_MAX */
};
/* What is at that path of the commit; of a symlink its target.  wanted NULL, or
   the content's hash: CONTENT_NONE when it is another. */
enum content content_of_commit(struct remote *, struct download *,
    const void *path, size_t len, const struct hash *wanted, struct version *,
    struct failure *);
/* The same below the directory root: no link on the way is followed. */
enum content content_of_mount(int root, const void *path, size_t len,
    struct version *, struct failure *);
void content_free(struct version *);

/* open(2) of a path that stays below the directory root, and goes through no
   link; flags and mode as there. -1 and errno. */
int open_below(int root, const char *path, int flags, unsigned int mode);

#endif
