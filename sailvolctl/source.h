/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * source: what a put is to publish: files of this machine, beside what is in the
 * newest commit at the same paths.  In sailvolctl.
 */
#ifndef SAILVOLCTL_SOURCE_H
#define SAILVOLCTL_SOURCE_H

#include "lib/delta.h"
#include "sailvolctl/remote.h"

enum item_use {
	ITEM_NONE = 0, /* nothing is to be done */
	ITEM_CONTEXT,  /* a directory that is as it is there */
	ITEM_ATTR,     /* a directory that is there with other attributes */
	ITEM_PUT
};

struct item {
	uint8_t *path; /* in the volume */
	size_t len;
	size_t rel;          /* from here on it is that below the source */
	struct entry *entry; /* of a file without its chunks */
	struct seen seen;
	uint8_t use;            /* enum item_use */
	uint8_t needed;         /* a context, by what is below it */
	size_t above;           /* its directory's item; SIZE_MAX: the root */
	struct chunklist *list; /* of a file, once it was hashed */
	int changed;            /* while it was read */
};

struct source {
	struct remote *remote;
	struct item *items; /* in the order of a delta */
	size_t n, size;
	json_t *not_kept; /* paths */
	int root;         /* a directory, or the file itself */
	int is_dir;
	uint64_t files, bytes;
	/* where it is */
	uint8_t path[SAIL_PATH_MAX];
	size_t len, rel, above;
	int there; /* the directory is in the volume */
};

/* The directories above a path that has been checked: those that lack are made.
   -1 with failure set, as of all of these. */
int source_above(struct source *, const void *path, size_t len,
    struct failure *);
/* root at that path; with contents, of a directory only what is in it. */
int source_walk(struct source *, const void *path, size_t len, int contents,
    struct failure *);
/* The bytes of a stream will be at that path. */
int source_stream(struct source *, const void *path, size_t len,
    struct failure *);
/* The file of an item, for close(2), and when it was changed; its attributes are
   taken anew, but for extended ones. */
int source_open(struct source *, struct item *, struct timespec *ctime,
    struct failure *);
/* The list of a file's item is here: is it another than there?  Takes it. */
int source_hashed(struct item *, struct chunklist *, struct failure *);
/* All of it as a delta in a memfd. */
int source_delta(struct source *, struct failure *);
/* How many operations. */
size_t source_count(const struct source *);
void source_free(struct source *);

#endif
