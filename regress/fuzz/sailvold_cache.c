/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/* The role cache: hostile fuse and sailvol-fetch. */
#include "regress/fuzz/role.h"
#include "sailvold/roles.h"
#include "sailvold/sailvold_imsg.h"

static void
configure(struct chan *parent_end)
{
	static const uint8_t config[16] = { 0, 0, 0, 0, 4 }; /* 64 MiB */
	static const uint8_t volume[] = { 0, 0, 0, 1, 0, 5, 'v', 'o', 'l', '_',
		'1' };

	if (chan_send(parent_end, IMSG_PARENT_CACHE_CONFIG, 0, -1, config,
		sizeof(config)) == -1 ||
	    chan_send(parent_end, IMSG_PARENT_CACHE_VOLUME, 0, -1, volume,
		sizeof(volume)) == -1)
		abort();
}

static const struct fuzz_role fuzz_role = {
	.def = &cache_role,
	.peers = { ROLE_FUSE, ROLE_FETCH },
	.configure = configure,
};

static void
fuzz_one(const uint8_t *p, size_t len)
{
	(void)role_fuzz(p, len);
}
