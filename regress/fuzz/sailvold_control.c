/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * The control protocol: a client of manifest sends lines of JSON.  Whatever they
 * are, manifest goes on.  The first byte says who the client is.
 */
#include "regress/fuzz/role.h"
#include "regress/fuzz/mount.h"

static const uint8_t *lines;
static size_t lines_len;

static void
greet(void)
{
	uint8_t who[46] = { 0 };

	mount_tell();
	mount_hello_said();
	if (lines_len > 0 && lines[0] & 1)
		who[3] = who[7] = 99;
	if (chan_send(fars[0].chan, IMSG_PARENT_MANIFEST_CLIENT, 0,
		socket_with(lines + 1, lines_len > 0 ? lines_len - 1 : 0), who,
		sizeof(who)) == -1)
		abort();
	role_pump();
	role_pump();
}

static const struct fuzz_role fuzz_role = {
	.def = &manifest_role,
	.peers = { ROLE_FUSE, ROLE_NOTIFY, ROLE_FETCH },
	.configure = mount_configure,
	.greet = greet,
};

static void
fuzz_one(const uint8_t *p, size_t len)
{
	lines = p;
	lines_len = len > 200000 ? 200000 : len;
	/* No message breaks a rule: it may not end. */
	fuzz_check(role_fuzz((const uint8_t *)"", 0) == 0);
}
