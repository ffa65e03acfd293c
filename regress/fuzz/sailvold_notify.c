/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/* The role notify: a hostile manifest. */
#include "regress/fuzz/role.h"
#include "sailvold/roles.h"
#include "sailvold/sailvold_imsg.h"

static void
configure(struct chan *parent_end)
{
	/* What is told goes nowhere. */
	int fd = open("/fuse", O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	if (chan_send(parent_end, IMSG_PARENT_NOTIFY_SESSION, 0, fd, NULL, 0) ==
	    -1)
		abort();
}

static const struct fuzz_role fuzz_role = {
	.def = &notify_role,
	.peers = { ROLE_MANIFEST },
	.configure = configure,
};

static void
fuzz_one(const uint8_t *p, size_t len)
{
	(void)role_fuzz(p, len);
}
