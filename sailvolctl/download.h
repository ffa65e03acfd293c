/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * download: the bytes of files of a commit, each chunk checked before any byte
 * of it is handed on.  In sailvolctl.
 */
#ifndef SAILVOLCTL_DOWNLOAD_H
#define SAILVOLCTL_DOWNLOAD_H

#include "sailvolctl/remote.h"

/* Small chunks that came with others: files of one directory, one after the
   other, come in few requests. */
struct download;
struct download *download_new(void);
void download_free(struct download *);

/*
 * All bytes of the file at that path, ascending; holes are left out.  f returns
 * 0, or -1 with failure set.  have: NULL, or the chunks of what is there already:
 * what is as it should be is left out, and f gets NULL for what should be a hole.
 */
typedef int (*download_cb)(void *, uint64_t offset, const void *, size_t,
    struct failure *);
int download_file(struct download *, struct remote *, const void *path,
    size_t len, const struct entry *, const struct chunklist *have,
    download_cb f, void *, struct failure *);

#endif
