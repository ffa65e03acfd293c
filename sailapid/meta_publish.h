/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * meta_publish: a delta whose chunks are all in the store becomes the head.  A
 * large one is merged in the thread, beside what others do; when another commit
 * came between, only what that changed is merged again.  In meta.
 */
#ifndef SAILAPID_META_PUBLISH_H
#define SAILAPID_META_PUBLISH_H

#include "sailapid/merge.h"
#include "sailapid/meta.h"

/* Larger deltas are read and merged in the thread: others would notice. */
#define META_AT_ONCE ((size_t)128 * 1024)

/* The state of a request that publishes begins with it. */
struct merging {
	struct delta *delta;
	size_t bytes_in; /* of its encoding */
	struct hash delta_hash;
	int64_t session;
	/* the merge that was done in the thread, and with which head */
	int has_prior;
	struct hash head;
	struct entry *head_root;
	struct merge_out out;
	/* the one that is under way there */
	struct db_volume vol;
	int if_unchanged;
	struct entry *next_root;
	struct merge_out next;
	int error; /* errno, or 0 */
};
void merging_clear(struct merging *);

/* A step: merges, swaps the head, answers. */
void meta_publish(struct req *);

/* An answer; path: of the operation that is to blame, or NULL. */
void bad_delta(struct req *, const char *why, const uint8_t *path, size_t);

#endif
