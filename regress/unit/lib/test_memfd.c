/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * A bulk payload is read whole or refused, whatever descriptor a hostile peer
 * sends in its place.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <sys/mman.h>
#include <sys/socket.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/memfd.h"

#define BIG (300 * 1000)

static uint8_t bytes[BIG];

static int
setup(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < BIG; i++)
		bytes[i] = (uint8_t)(i * 7 + i / 251);
	return 0;
}

static void
expect(int fd, const void *data, size_t len, int mapped)
{
	struct memfd_view v;

	assert_int_equal(memfd_map(fd, BIG, &v), 0);
	close(fd);
	assert_int_equal(v.len, len);
	assert_int_equal(v.mapped, mapped);
	assert_non_null(v.data);
	assert_memory_equal(v.data, data, len);
	memfd_unmap(&v);
	assert_null(v.data);
	memfd_unmap(&v);
}

static void
refuse(int fd, int error)
{
	struct memfd_view v;

	assert_int_not_equal(fd, -1);
	errno = 0;
	assert_int_equal(memfd_map(fd, BIG, &v), -1);
	assert_int_equal(errno, error);
	memfd_unmap(&v);
	close(fd);
}

static void
test_good(void **state)
{
	int fd;

	(void)state;
	fd = memfd_new("t", NULL, 0);
	assert_int_equal(lseek(fd, 0, SEEK_CUR), 0);
	expect(fd, "", 0, 0);
	expect(memfd_new("t", "hello", 5), "hello", 5, 0);
	fd = memfd_new("t", bytes, BIG);
	assert_int_equal(lseek(fd, 0, SEEK_CUR), 0);
	assert_int_equal(ftruncate(fd, 1), -1);
	assert_int_equal(pwrite(fd, "x", 1, 0), -1);
	assert_int_equal(pwrite(fd, "x", 1, BIG), -1);
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	expect(fd, bytes, BIG, 1);
}

static void
test_not_sealed(void **state)
{
	struct memfd_view v;
	int fd;

	(void)state;
	fd = memfd_create("t", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	assert_int_equal(write(fd, bytes, BIG), BIG);
	/* A seal against writing alone still lets it shrink. */
	assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), 0);
	assert_int_equal(memfd_map(fd, BIG, &v), 0);
	assert_int_equal(v.mapped, 0);
	assert_int_equal(ftruncate(fd, 0), 0);
	assert_memory_equal(v.data, bytes, BIG);
	memfd_unmap(&v);
	close(fd);
}

static void
test_too_large(void **state)
{
	int fd;

	(void)state;
	fd = memfd_create("t", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	assert_int_equal(ftruncate(fd, BIG + 1), 0);
	refuse(fd, EFBIG);
	fd = memfd_create("t", MFD_CLOEXEC);
	assert_int_equal(ftruncate(fd, (off_t)1 << 50), 0);
	refuse(fd, EFBIG);
}

static void
test_other_files(void **state)
{
	int fds[2];

	(void)state;
	assert_int_equal(pipe(fds), 0);
	refuse(fds[0], EBADMSG);
	close(fds[1]);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	refuse(fds[0], EBADMSG);
	close(fds[1]);
	refuse(open("/", O_RDONLY | O_DIRECTORY), EBADMSG);
	refuse(open("/dev/zero", O_RDONLY), EBADMSG);
	/* A regular file, but only a name of it. */
	refuse(open("/etc/passwd", O_PATH), EBADMSG);
}

static void
test_write_only(void **state)
{
	char path[] = "/tmp/memfd.XXXXXX";
	int fd, wr;

	(void)state;
	assert_int_not_equal(fd = mkstemp(path), -1);
	wr = open(path, O_WRONLY);
	unlink(path);
	assert_int_equal(write(fd, "hello", 5), 5);
	refuse(wr, EBADMSG);
	expect(fd, "hello", 5, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),
		cmocka_unit_test(test_not_sealed),
		cmocka_unit_test(test_too_large),
		cmocka_unit_test(test_other_files),
		cmocka_unit_test(test_write_only),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
