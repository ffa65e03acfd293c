/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/* The role metrics: numbers of a hostile manifest, cache or sailvol-fetch. */
#include "regress/fuzz/role.h"
#include "sailvold/roles.h"
#include "sailvold/sailvold_imsg.h"

static const uint32_t passed_on[] = { IMSG_PARENT_METRICS_PARENT,
	IMSG_PARENT_METRICS_MANIFEST, IMSG_PARENT_METRICS_CACHE,
	IMSG_PARENT_METRICS_FETCH, 0 };

static void
configure(struct chan *parent_end)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd == -1 || listen(fd, 1) == -1 ||
	    chan_send(parent_end, IMSG_PARENT_METRICS_LISTEN, 0, fd, NULL, 0) ==
		-1)
		abort();
}

static const struct fuzz_role fuzz_role = {
	.def = &metrics_role,
	.peers = { 0 },
	.configure = configure,
	.parents = passed_on,
};

static void
fuzz_one(const uint8_t *p, size_t len)
{
	(void)role_fuzz(p, len);
}
