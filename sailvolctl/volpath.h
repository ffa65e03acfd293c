/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * volpath: VOLUME[@COMMIT]:PATH, as people type it.  In sailvolctl.
 */
#ifndef SAILVOLCTL_VOLPATH_H
#define SAILVOLCTL_VOLPATH_H

#include "lib/path.h"
#include "sailvolctl/remote.h"

struct volpath {
	char volume[SAIL_VOLUME_NAME_MAX + 1];
	char *commit; /* as typed; NULL: the newest */
	char *path;   /* checked; "": the root */
	size_t len;
	int slash; /* at its end: a directory is meant */
};

/* -1 with failure set: it is not one.  volpath_free() in every case. */
int volpath_parse(struct volpath *, const char *text, struct failure *);
/* -1 with failure set: it names a commit, which nobody changes. */
int volpath_writable(const struct volpath *, struct failure *);
void volpath_free(struct volpath *);
/* The commit that it names; NULL: failure is set. */
struct remote *volpath_open(const struct invocation *, const struct volpath *,
    struct failure *);
/* What is there: remote_find(), but that a slash wants a directory. */
int volpath_find(const struct volpath *, struct remote *, struct entry *,
    struct blob **keep, struct failure *);
/* The last name of it; of the root the volume's.  For free(3), NULL and
   failure set. */
char *volpath_base(const struct volpath *, struct failure *);

/* What the key or server lacks, said with what to do about it: in the place of
   the server's words. */
void volpath_explain(const char *volume, struct failure *);

#endif
