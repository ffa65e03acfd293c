/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * kept: what the parent of sailvold(8) knows of a session with the kernel, in
 * memory that outlives it: the parent after it goes on with the session, and no
 * program sees that anything ended.  In the parent.
 */
#ifndef SAILVOLD_KEPT_H
#define SAILVOLD_KEPT_H

#include <stdint.h>

#include "sailvold/config.h"
#include "sailvold/privileged.h"
#include "sailvold/sailvold_imsg.h"

/*
 * Of the record, and of all else that one sailvold leaves to the next beside
 * it: the table of inode.h and tally.h.  A smaller number can go on with
 * nothing, and this one with what is not older than the other.  Since 3 the
 * table says of which base its names are; since 4 the names of what is handed
 * over are others (mounts_kept.c); since 5 a handle of ctl says where the last
 * line of its answer begins, and a kept line may not be whole (lines.h).
 */
#define KEPT_VERSION 5
#define KEPT_OLDEST 2

/* A file that is registered for passthrough (backing.h). */
struct kept_backing {
	uint64_t ovl;
	uint32_t id; /* of the kernel */
	uint32_t used;
};

/* Shared memory, of one machine and as long as that runs. */
struct kept {
	char magic[8];
	uint32_t version;
	uint32_t gone; /* unmounted, and still in use elsewhere */
	uint32_t uid;  /* who mounted it */
	uint32_t fuse_uid;
	uint32_t flags; /* MOUNT_* */
	uint32_t passthrough;
	uint64_t mount_id;
	uint8_t connection[16];
	uint8_t init[512];
	uint32_t init_len;
	uint32_t volume_len;
	char volume_id[64];
	char folder[1200];
	char volume[16384]; /* by config_print_volume() */
	struct kept_backing backings[BACKING_MAX];
};

/* An empty one, and its descriptor; NULL and errno. */
struct kept *kept_new(int *fd);
/*
 * One that came by that descriptor, which stays the caller's; with strings that
 * end and lengths that fit; from now on it is of this version.  NULL and errno:
 * EPROTONOSUPPORT another version, EBADMSG not one.
 */
struct kept *kept_open(int fd);
void kept_free(struct kept *);
/* Fills in volume and flags; -1 and errno. */
int kept_set_volume(struct kept *, const struct conf_volume *);
/* The same volume, the caller's; NULL and errno. */
struct conf_volume *kept_volume(const struct kept *);
void kept_set_session(struct kept *, const struct session *);
/* All but its descriptors. */
void kept_session(const struct kept *, struct session *);

#endif
