/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * diff: what a mount showed, what it shows, and what differs between them, for
 * fuse and the kernel.  In manifest.
 */
#ifndef SAILVOLD_DIFF_H
#define SAILVOLD_DIFF_H

#include "sailvold/place.h"

/* The names of the overlay as they are shown, and the places behind them. */
struct snap;
/* NULL: ENODATA (miss), ENOMEM, EIO. */
struct snap *snap_take(struct db *, const struct mount_row *,
    struct node_miss *);
/* Of a commit alone, without any overlay. */
struct snap *snap_of_base(const struct mount_row *, const struct hash *commit,
    struct node_miss *);
void snap_free(struct snap *);

/*
 * Published overlay files whose content stands at the same path afterwards: the
 * cache may have them.  The caller frees.
 */
struct snap_same {
	uint64_t ovl;
	struct hash content;
	uint64_t size;
};
struct snap_diff {
	struct wbuf out; /* diff_encode() */
	uint64_t count;
	struct snap_same *same;
	size_t nsame, same_cap;
};
int snap_diff(const struct snap *before, const struct snap *after,
    unsigned int attempt, struct snap_diff *, struct node_miss *);
void snap_diff_free(struct snap_diff *);

#endif
