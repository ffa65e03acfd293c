/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * rebuild: makes files and directories of a commit in a directory: content,
 * modes, owners, times, extended attributes.  In sailvolctl.
 */
#ifndef SAILVOLCTL_REBUILD_H
#define SAILVOLCTL_REBUILD_H

#include "sailvolctl/download.h"

struct rebuild {
	struct remote *remote;
	struct download *download;
	const struct output *out; /* hears of the progress */
	uint64_t files, bytes;    /* so far */
	uint64_t files_total, bytes_total;
	uint64_t owners; /* that could not be set: only root may */
	/*
	 * What an earlier try has left is taken up: files with those chunks that
	 * are right, directories with those names that are in the commit.  Then
	 * xattrs counts extended attributes that the file system does not have,
	 * nothing is synced, and lock is a descriptor of what was made that
	 * keeps others from the same, for close(2) in the end.  Its own
	 * attributes are put on last, by rebuild_finish(): until then it is
	 * known as ours by its mode.  found: there was something.
	 */
	int resume, lock, found;
	uint64_t xattrs;
	uint64_t came; /* bytes of files that were not there before */
	int depth;     /* its own */
};

/*
 * Makes what the entry at that path says as name in the directory dir, where
 * nothing is; the contents of files are synced, dir is not.  Nothing outside of dir is ever touched: no link is
 * followed.  -1: failure is set, and what was made stays for rebuild_remove().
 */
int rebuild(struct rebuild *, int dir, const char *name, const void *path,
    size_t len, const struct entry *, struct failure *);
/* The attributes alone, of a directory. */
int rebuild_attributes(struct rebuild *, int dir_fd, const void *path,
    size_t len, const struct entry *, struct failure *);
/* With resume, of what rebuild() has made as name: that it is still that, and
   its attributes; all of it is synced. */
int rebuild_finish(struct rebuild *, int dir, const char *name,
    const void *path, size_t len, const struct entry *, struct failure *);
/* And back, when it does not get its place: the next try takes it up. */
void rebuild_unfinish(struct rebuild *);
/* Shows how far it is. */
void rebuild_tell(struct rebuild *);
/* Renames to name, both in dir.  What was there before is at temp afterwards, or
   gone.  -1 and errno; ENOTSUP: the file system cannot exchange two names. */
int rebuild_place(int dir, const char *temp, const char *name,
    const struct entry *);
/* A directory is open for each level. */
void rebuild_more_files(void);
/* name in dir, and all that is below it; 0 too when nothing is there.  -1 and
   errno. */
int rebuild_remove(int dir, const char *name);

#endif
