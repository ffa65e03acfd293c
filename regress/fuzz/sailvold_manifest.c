/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/* The role manifest: hostile fuse, notify and sailvol-fetch. */
#include "regress/fuzz/role.h"
#include "regress/fuzz/mount.h"

static int hello_said; /* else the input begins with the journal */

static void
greet(void)
{
	mount_tell();
	if (hello_said)
		mount_hello_said();
}

/* Where a journal is expected it has the mount's header and right sums. */
static int
descriptor(uint32_t type, const uint8_t *p, size_t len)
{
	struct fuzz_in in = { p, len };
	const uint8_t *r;
	uint32_t sum;
	uint8_t head[4];
	size_t n;
	int fd;

	if (type != IMSG_FUSE_MANIFEST_SEGMENT)
		return -1;
	fd = segment_file(0);
	while (in.left > 0) {
		r = fuzz_bytes(&in, 65535, &n);
		if (n == 0)
			break;
		head[0] = (uint8_t)n;
		head[1] = (uint8_t)(n >> 8);
		head[2] = head[3] = 0;
		sum = crc32c(crc32c(0, head, 4), r, n);
		if (write(fd, head, 4) != 4 || write(fd, r, n) != (ssize_t)n ||
		    write(fd, &sum, 4) != 4)
			abort();
	}
	return fd;
}

static const struct fuzz_role fuzz_role = {
	.def = &manifest_role,
	.peers = { ROLE_FUSE, ROLE_NOTIFY, ROLE_FETCH },
	.configure = mount_configure,
	.greet = greet,
	.descriptor = descriptor,
};

static void
fuzz_one(const uint8_t *p, size_t len)
{
	if (len == 0)
		return;
	hello_said = p[0] & 1;
	(void)role_fuzz(p + 1, len - 1);
}
