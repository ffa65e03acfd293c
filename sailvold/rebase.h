/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * rebase: the rows of a mount are moved to another base: what a reload does
 * while fuse is parked.  A function of rows and nodes.  In manifest.
 */
#ifndef SAILVOLD_REBASE_H
#define SAILVOLD_REBASE_H

#include <jansson.h>

#include "sailvold/delta_make.h"

struct rebase_gone {
	uint64_t *ovls; /* lost their last name; the caller frees */
	size_t n, cap;
	json_t *sockets;     /* names of those that go; the caller's */
	struct wbuf origins; /* of what has another now (DIFF_ORIGIN) */
};

/*
 * Inside of the caller's transaction; row gets the new base and a new epoch, and
 * is stored.  -1: ENOENT: the new base has no directory for this mount; ENODATA
 * (miss).
 *
 * rebase_drop: nothing of the overlay is in view any more.  rebase_keep: what
 * is not published stays in view above the new base, and what was seen there
 * stays as it was; names that are as seen go, and what a merge would make nothing
 * of.  sockets: of a mount that is clean, they alone stay.
 */
int rebase_drop(struct db *, struct mount_row *, const struct hash *base,
    uint64_t number, struct rebase_gone *, struct node_miss *);
int rebase_keep(struct db *, struct mount_row *, const struct hash *base,
    uint64_t number, int sockets, unsigned int attempt, struct rebase_gone *,
    struct node_miss *);
/* Origins are put in front of the differences; -1 and errno: EFBIG. */
int rebase_origins(struct rebase_gone *, struct wbuf *diff);

#endif
