/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * Claim: a file that somebody may write to, by a descriptor or a mapping, is
 * never taken for one that nobody has.
 */
#include <sys/mman.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "sailvolctl/writers.h"

static const struct timespec old = { 1000000000, 0 };

/* In that folder; open, mapped, and then nobody's. */
static void
all_of(const char *folder, int size, int known)
{
	struct timespec now;
	char path[128];
	void *p;
	int fd, ours;

	snprintf(path, sizeof(path), "%s/sail-writers.XXXXXX", folder);
	if ((fd = mkstemp(path)) == -1)
		skip();
	assert_int_not_equal(ours = open(path, O_RDONLY | O_CLOEXEC), -1);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(ftruncate(fd, size), 0);
	assert_int_equal(writers_of(ours, &old), WRITERS_SOME);
	assert_true(writers_came(ours));
	p = mmap(NULL, 1, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(p, MAP_FAILED);
	close(fd);
	assert_int_not_equal(writers_of(ours, &old), WRITERS_NONE);
	munmap(p, 1);
	if (known) {
		assert_int_equal(clock_gettime(CLOCK_REALTIME, &now), 0);
		assert_int_equal(writers_of(ours, &now), WRITERS_DOUBT);
		now.tv_sec++;
		assert_int_equal(writers_of(ours, &now), WRITERS_DOUBT);
		assert_int_equal(writers_of(ours, &old), WRITERS_NONE);
		assert_false(writers_came(ours));
	} else
		assert_int_equal(writers_of(ours, &old), WRITERS_DOUBT);
	close(ours);
}

static void
test_tmpfs(void **state)
{
	(void)state;
	all_of("/dev/shm", 4096, 1);
	all_of("/dev/shm", 1 << 20, 0);
}

/* Of a kind where nobody can tell: a descriptor that no lease is given on. */
static void
test_no_lease(void **state)
{
	int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);

	(void)state;
	assert_int_not_equal(fd, -1);
	assert_int_not_equal(writers_of(fd, &old), WRITERS_NONE);
	close(fd);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tmpfs),
		cmocka_unit_test(test_no_lease),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
