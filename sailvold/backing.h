/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * backing: overlay files of a mount that are registered with the kernel for
 * passthrough, by their number.  In the parent.
 */
#ifndef SAILVOLD_BACKING_H
#define SAILVOLD_BACKING_H

#include <sys/tree.h>
#include <sys/types.h>

#include "sailvold/sailvold_imsg.h"

struct backing;
struct kept_backing;
RB_HEAD(backing_tree, backing);

/* Of one mount: all zero but folder_fd is an empty one. */
struct backings {
	struct backing_tree tree;
	unsigned int n;
	int folder_fd; /* the mount's folder, O_PATH; -1 */
	/* BACKING_MAX of kept.h, where they are for the next parent; NULL. */
	struct kept_backing *kept;
	unsigned int free; /* where to look for a free one of those */
};

void backing_init(uid_t fuse_uid, gid_t fuse_gid);
/* All that the kernel had of the session, which has ended. */
void backing_free(struct backings *);
/* What the parent before had registered stands in kept. */
int backing_adopt(struct backings *); /* -1 and errno */
/* For a new fuse: what the one before had registered; -1 and errno. */
int backing_tell(struct backings *, struct chan *);
/* From the fuse of the mount with that session. */
int backing_ask(struct backings *, int fuse_fd, struct chan *, uint32_t id,
    struct ibuf *);
int backing_close(struct backings *, int fuse_fd, struct ibuf *);

#endif
