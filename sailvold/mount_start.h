/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * mount_start: beginning, start and end of a mount in manifest; called by
 * manifest.c.
 */
#ifndef SAILVOLD_MOUNT_START_H
#define SAILVOLD_MOUNT_START_H

#include "sailvold/manifest.h"

/* The running kernel's name for itself; "": it has none. */
void mount_boot(const char *id);
/* The parent's question; req is taken. */
int mount_begin(uint32_t id, struct mount_req *req);
/* Its fuse has handed over all segments: START follows. -1: not its fuse. */
int mount_hello(struct mount *, const uint8_t id[16], uint64_t end);
/*
 * It was unmounted.  Without unpublished changes nothing of its overlay is
 * kept, and the next mount there begins at the head.
 */
void mount_reset(struct mount *);
/* A HELLO that waits for the journal is not answered any more. */
void mount_fuse_down(struct mount *);
/* What of it is its own goes with the mount. */
void mount_start_free(struct mount *);
/* A mount that has not begun yet is given up. */
void mount_begin_gone(uint32_t instance);

/* manifest.c */
struct mount *mount_new(void);
void mount_free(struct mount *);
void mount_ready(struct mount *);   /* begun: it can be found from now on */
void mount_started(struct mount *); /* START was sent */

#endif
