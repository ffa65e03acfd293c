/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * policy: what a mount does by itself, as sailvold.conf(5) says; it can change
 * while the mount lives.
 */
#ifndef SAILVOLD_POLICY_H
#define SAILVOLD_POLICY_H

#include <stdint.h>

#define COMMIT_EVERY_MAX ((uint32_t)366 * 86400)

#define OVERLAY_LIMIT_MIN ((uint64_t)1 << 20)

struct mount_policy {
	uint32_t commit_every; /* seconds; 0: never */
	int commit_on_umount;
	uint64_t overlay_limit; /* bytes; 0: none */
};

static inline int
policy_equal(const struct mount_policy *a, const struct mount_policy *b)
{
	return a->commit_every == b->commit_every &&
	    a->commit_on_umount == b->commit_on_umount &&
	    a->overlay_limit == b->overlay_limit;
}

#endif
