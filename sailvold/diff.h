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
	struct place a, b; /* the roots that were compared */
};
void snap_diff_free(struct snap_diff *);

/*
 * Compares in steps.  Both are taken, also when it is NULL (ENOMEM, EFBIG).
 * known: the differences between the bases, which must live as long: what is as
 * there is not compared again.
 */
struct snap_cmp;
struct snap_cmp *snap_cmp_begin(struct snap *before, struct snap *after,
    const struct snap_diff *known);
/*
 * So many names: 1: there are more; 0: that was all.  -1: ENODATA: a node is
 * missing, the same step may be done again when it came; EFBIG: more than
 * DIFF_MAX_NAMES or DIFF_MAX_BYTES.
 */
int snap_cmp_step(struct snap_cmp *, size_t names, struct node_miss *);
/* Its differences; frees it. */
void snap_cmp_take(struct snap_cmp *, struct snap_diff *);
void snap_cmp_free(struct snap_cmp *);

extern size_t diff_names_max; /* DIFF_MAX_NAMES, for tests */

#endif
