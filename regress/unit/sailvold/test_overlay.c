/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * Claim: the probe tells a file system where a store through a mapping shows in
 * ctime from one where it does not, and leaves no file.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sys/stat.h>
#include <sys/vfs.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "lib/log.h"
#include "sailvold/overlay.h"

static void
probe(void **state)
{
	static const char *const tops[] = { "/tmp", "/var/tmp", "/dev/shm" };
	char dir[64];
	struct statfs fs;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(tops) / sizeof(tops[0]); i++) {
		snprintf(dir, sizeof(dir), "%s/test_overlay.XXXXXX", tops[i]);
		if (mkdtemp(dir) == NULL)
			continue;
		assert_int_equal(chdir(dir), 0);
		assert_int_equal(statfs(".", &fs), 0);
		assert_int_equal(overlay_open(), 0);
		assert_int_equal(overlay_probe(), fs.f_type != TMPFS_MAGIC);
		/* Empty again. */
		assert_int_equal(rmdir("files"), 0);
		assert_int_equal(chdir("/"), 0);
		assert_int_equal(rmdir(dir), 0);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(probe) };

	log_init("test_overlay", 1, 0);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
