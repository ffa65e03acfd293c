/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */

/*
 * Claim: buffers never read or write beyond their bounds, refuse what does
 * not fit with the documented errno and unchanged, and own one descriptor.
 */

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "imsg/imsg.h"
#include "regress/unit/seed.h"

#define REFUSED(err, expr)                      \
	do {                                    \
		errno = 0;                      \
		assert_int_equal((expr), -1);   \
		assert_int_equal(errno, (err)); \
	} while (0)

#define REFUSED_NULL(err, expr)                 \
	do {                                    \
		errno = 0;                      \
		assert_null((expr));            \
		assert_int_equal(errno, (err)); \
	} while (0)

static void
fixed_and_dynamic(void **state)
{
	struct ibuf *b;
	char big[200];
	int i;

	(void)state;
	memset(big, 'x', sizeof(big));
	assert_non_null(b = ibuf_open(4));
	assert_int_equal(ibuf_size(b), 0);
	assert_int_equal(ibuf_left(b), 4);
	REFUSED(ERANGE, ibuf_add(b, "12345", 5));
	assert_int_equal(ibuf_size(b), 0);
	assert_int_equal(ibuf_add(b, "1234", 4), 0);
	assert_int_equal(ibuf_left(b), 0);
	REFUSED(ERANGE, ibuf_add_n8(b, 1));
	REFUSED(ERANGE, ibuf_add(b, "x", SIZE_MAX));
	assert_memory_equal(ibuf_data(b), "1234", 4);
	ibuf_free(b);

	assert_non_null(b = ibuf_open(0));
	assert_int_equal(ibuf_add(b, NULL, 0), 0);
	assert_int_equal(ibuf_add_zero(b, 0), 0);
	assert_non_null(ibuf_seek(b, 0, 0));
	REFUSED(ERANGE, ibuf_add_zero(b, 1));
	ibuf_free(b);

	REFUSED_NULL(EINVAL, ibuf_dynamic(0, 0));
	REFUSED_NULL(EINVAL, ibuf_dynamic(5, 4));
	assert_non_null(b = ibuf_dynamic(0, 1000));
	for (i = 0; i < 5; i++)
		assert_int_equal(ibuf_add(b, big, sizeof(big)), 0);
	assert_int_equal(ibuf_size(b), 1000);
	REFUSED(ERANGE, ibuf_add(b, big, 1));
	REFUSED(EINVAL, ibuf_add(b, NULL, 1));
	assert_memory_equal((char *)ibuf_data(b) + 800, big, 200);
	ibuf_free(b);

	errno = 77;
	ibuf_free(NULL);
	assert_int_equal(errno, 77);
}

static void
numbers(void **state)
{
	static const unsigned char want[] = { 0xab, 0x12, 0x34, 0x12, 0x34,
		0x56, 0x78, 1, 2, 3, 4, 5, 6, 7, 8 };
	struct ibuf *b;
	uint8_t n8;
	uint16_t n16;
	uint32_t n32;
	uint64_t n64;

	(void)state;
	assert_non_null(b = ibuf_dynamic(1, 100));
	assert_int_equal(ibuf_add_n8(b, 0xab), 0);
	assert_int_equal(ibuf_add_n16(b, 0x1234), 0);
	assert_int_equal(ibuf_add_n32(b, 0x12345678), 0);
	assert_int_equal(ibuf_add_n64(b, 0x0102030405060708), 0);
	assert_int_equal(ibuf_size(b), sizeof(want));
	assert_memory_equal(ibuf_data(b), want, sizeof(want));
	REFUSED(EINVAL, ibuf_add_n8(b, 0x100));
	REFUSED(EINVAL, ibuf_add_n16(b, 0x10000));
	REFUSED(EINVAL, ibuf_add_n32(b, 0x100000000));
	REFUSED(EINVAL, ibuf_add_h16(b, 0x10000));
	REFUSED(EINVAL, ibuf_add_h32(b, 0x100000000));
	assert_int_equal(ibuf_size(b), sizeof(want));
	assert_int_equal(ibuf_add_h16(b, 0xfffe), 0);
	assert_int_equal(ibuf_add_h32(b, 0xfffffffd), 0);
	assert_int_equal(ibuf_add_h64(b, UINT64_MAX), 0);

	assert_int_equal(ibuf_get_n8(b, &n8), 0);
	assert_int_equal(n8, 0xab);
	assert_int_equal(ibuf_get_n16(b, &n16), 0);
	assert_int_equal(n16, 0x1234);
	assert_int_equal(ibuf_get_n32(b, &n32), 0);
	assert_int_equal(n32, 0x12345678);
	assert_int_equal(ibuf_get_n64(b, &n64), 0);
	assert_true(n64 == 0x0102030405060708);
	assert_int_equal(ibuf_get_h16(b, &n16), 0);
	assert_int_equal(n16, 0xfffe);
	assert_int_equal(ibuf_get_h32(b, &n32), 0);
	assert_true(n32 == 0xfffffffd);
	assert_int_equal(ibuf_get_h64(b, &n64), 0);
	assert_true(n64 == UINT64_MAX);
	assert_int_equal(ibuf_size(b), 0);

	/* Short: each width, with one byte too few, and nothing is read. */
	ibuf_rewind(b);
	REFUSED(EBADMSG, ibuf_skip(b, ibuf_size(b) + 1));
	assert_int_equal(ibuf_truncate(b, 7), 0);
	REFUSED(EBADMSG, ibuf_get_n64(b, &n64));
	REFUSED(EBADMSG, ibuf_get_h64(b, &n64));
	assert_int_equal(ibuf_truncate(b, 3), 0);
	REFUSED(EBADMSG, ibuf_get_n32(b, &n32));
	REFUSED(EBADMSG, ibuf_get_h32(b, &n32));
	assert_int_equal(ibuf_truncate(b, 1), 0);
	REFUSED(EBADMSG, ibuf_get_n16(b, &n16));
	REFUSED(EBADMSG, ibuf_get_h16(b, &n16));
	assert_int_equal(ibuf_size(b), 1);
	assert_int_equal(ibuf_skip(b, 1), 0);
	REFUSED(EBADMSG, ibuf_get_n8(b, &n8));
	REFUSED(EBADMSG, ibuf_skip(b, SIZE_MAX));
	ibuf_free(b);
}

static void
strings(void **state)
{
	struct ibuf *b;
	char s[8], *p;

	(void)state;
	assert_non_null(b = ibuf_dynamic(0, 64));
	assert_int_equal(ibuf_add_strbuf(b, "abc", 8), 0);
	assert_int_equal(ibuf_add_strbuf(b, "1234567", 8), 0);
	REFUSED(EOVERFLOW, ibuf_add_strbuf(b, "12345678", 8));
	REFUSED(EOVERFLOW, ibuf_add_strbuf(b, "", 0));
	REFUSED(ERANGE, ibuf_add_strbuf(b, "abc", 60));
	assert_int_equal(ibuf_size(b), 16);
	assert_memory_equal(ibuf_data(b), "abc\0\0\0\0\0", 8);
	assert_int_equal(ibuf_get_strbuf(b, s, 8), 0);
	assert_string_equal(s, "abc");
	assert_int_equal(ibuf_get_strbuf(b, s, 8), 0);
	assert_string_equal(s, "1234567");
	REFUSED(EBADMSG, ibuf_get_strbuf(b, s, 8));
	REFUSED(EINVAL, ibuf_get_strbuf(b, s, 0));

	assert_int_equal(ibuf_add(b, "12345678ab\0cdefg", 16), 0);
	REFUSED(EOVERFLOW, ibuf_get_strbuf(b, s, 8));
	assert_string_equal(s, "1234567");
	assert_int_equal(ibuf_get_strbuf(b, s, 8), 0);
	assert_memory_equal(s, "ab\0\0\0\0\0\0", 8);

	assert_int_equal(ibuf_add(b, "name\0x", 6), 0);
	REFUSED_NULL(EBADMSG, ibuf_get_string(b, 7));
	REFUSED_NULL(EBADMSG, ibuf_get_string(b, SIZE_MAX));
	REFUSED_NULL(EBADMSG, ibuf_get_string(b, 5));
	assert_non_null(p = ibuf_get_string(b, 4));
	assert_string_equal(p, "name");
	free(p);
	assert_non_null(p = ibuf_get_string(b, 0));
	assert_string_equal(p, "");
	free(p);
	assert_int_equal(ibuf_size(b), 2);
	ibuf_free(b);
}

static void
places(void **state)
{
	struct ibuf *b;
	char *p, out[8];

	(void)state;
	assert_non_null(b = ibuf_dynamic(0, 16));
	assert_non_null(p = ibuf_reserve(b, 4));
	assert_memory_equal(p, "\0\0\0\0", 4);
	memcpy(p, "size", 4);
	assert_int_equal(ibuf_add(b, "abcdef", 6), 0);
	assert_int_equal(ibuf_set(b, 0, "SIZE", 4), 0);
	assert_int_equal(ibuf_set(b, 10, "", 0), 0);
	REFUSED(ERANGE, ibuf_set(b, 7, "wxyz", 4));
	REFUSED(ERANGE, ibuf_set(b, SIZE_MAX, "w", 1));
	REFUSED(ERANGE, ibuf_set(b, 1, "w", SIZE_MAX));
	REFUSED(EINVAL, ibuf_set(b, 0, NULL, 1));
	assert_memory_equal(ibuf_data(b), "SIZEabcdef", 10);

	/* Positions count from the first unread byte. */
	assert_int_equal(ibuf_skip(b, 4), 0);
	assert_memory_equal(ibuf_seek(b, 2, 4), "cdef", 4);
	REFUSED_NULL(ERANGE, ibuf_seek(b, 2, 5));
	REFUSED_NULL(ERANGE, ibuf_seek(b, 7, 0));
	assert_int_equal(ibuf_set(b, 0, "A", 1), 0);
	assert_int_equal(ibuf_get(b, out, 6), 0);
	assert_memory_equal(out, "Abcdef", 6);
	REFUSED(EBADMSG, ibuf_get(b, out, 1));
	assert_int_equal(ibuf_get(b, NULL, 0), 0);

	/* What was cut off does not come back. */
	ibuf_rewind(b);
	assert_int_equal(ibuf_truncate(b, 2), 0);
	assert_int_equal(ibuf_truncate(b, 16), 0);
	assert_memory_equal(ibuf_data(b), "SI\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 16);
	REFUSED(ERANGE, ibuf_truncate(b, 17));
	REFUSED_NULL(ERANGE, ibuf_reserve(b, 1));
	assert_int_equal(ibuf_truncate(b, 0), 0);
	assert_int_equal(ibuf_add_zero(b, 16), 0);
	ibuf_free(b);
}

static void
views(void **state)
{
	static const char bytes[] = "0123456789";
	struct ibuf *b, v, w;
	char out[4];
	int fd;

	(void)state;
	ibuf_from_buffer(&v, bytes, 10);
	assert_int_equal(ibuf_size(&v), 10);
	assert_int_equal(ibuf_left(&v), 0);
	assert_ptr_equal(ibuf_data(&v), bytes);
	REFUSED(EINVAL, ibuf_add(&v, "x", 1));
	REFUSED(EINVAL, ibuf_set(&v, 0, "x", 1));
	REFUSED_NULL(EINVAL, ibuf_reserve(&v, 1));
	REFUSED(ERANGE, ibuf_truncate(&v, 11));
	assert_int_equal(ibuf_get(&v, out, 2), 0);
	assert_int_equal(ibuf_get_ibuf(&v, 4, &w), 0);
	assert_memory_equal(ibuf_data(&w), "2345", 4);
	REFUSED(EBADMSG, ibuf_skip(&w, 5));
	REFUSED(EBADMSG, ibuf_get_ibuf(&v, 5, &w));
	assert_int_equal(ibuf_size(&v), 4);
	ibuf_from_ibuf(&w, &v);
	assert_int_equal(ibuf_skip(&w, 4), 0);
	assert_int_equal(ibuf_size(&v), 4);
	assert_int_equal(ibuf_truncate(&v, 3), 0);

	assert_non_null(b = ibuf_open(5));
	assert_int_equal(ibuf_add_ibuf(b, &v), 0);
	assert_int_equal(ibuf_size(&v), 3);
	assert_memory_equal(ibuf_data(b), "678", 3);
	REFUSED(EINVAL, ibuf_add_ibuf(b, b));
	REFUSED(ERANGE, ibuf_add_ibuf(b, &v));

	assert_int_not_equal(fd = open("/dev/null", O_RDONLY), -1);
	REFUSED(EINVAL, ibuf_fd_set(&v, fd));
	assert_int_equal(close(fd), 0);
	assert_int_equal(ibuf_fd_get(&v), -1);
	ibuf_free(&v);
	assert_int_equal(ibuf_size(&v), 3);
	ibuf_free(b);

	ibuf_from_buffer(&v, NULL, 0);
	assert_int_equal(ibuf_size(&v), 0);
	assert_int_equal(ibuf_get_ibuf(&v, 0, &w), 0);
	REFUSED(EBADMSG, ibuf_get(&v, out, 1));
}

static void
descriptors(void **state)
{
	struct ibuf *b;
	int fd, other;

	(void)state;
	assert_non_null(b = ibuf_open(1));
	assert_int_equal(ibuf_fd_avail(b), 0);
	assert_int_equal(ibuf_fd_get(b), -1);
	assert_int_not_equal(fd = open("/dev/null", O_RDONLY), -1);
	assert_int_not_equal(other = open("/dev/null", O_RDONLY), -1);
	assert_int_equal(ibuf_fd_set(b, fd), 0);
	assert_int_equal(ibuf_fd_avail(b), 1);
	assert_int_equal(ibuf_fd_set(b, other), 0);
	REFUSED(EBADF, fcntl(fd, F_GETFD));
	assert_int_equal(ibuf_fd_get(b), other);
	assert_int_equal(ibuf_fd_avail(b), 0);
	assert_int_equal(ibuf_fd_get(b), -1);
	REFUSED(EINVAL, ibuf_fd_set(b, -2));
	assert_int_equal(ibuf_fd_set(b, other), 0);
	errno = 77;
	ibuf_free(b);
	assert_int_equal(errno, 77);
	REFUSED(EBADF, fcntl(other, F_GETFD));
}

/* Random calls against an array with two indices. */
static void
random_calls(void **state)
{
	unsigned char model[512], in[64], out[64];
	struct ibuf *b;
	size_t rpos = 0, wpos = 0, n, i;
	int round, full;

	(void)state;
	seeded();
	assert_non_null(b = ibuf_dynamic(3, sizeof(model)));
	for (round = 0; round < 20000; round++) {
		n = (size_t)random() % sizeof(in);
		switch (random() % 5) {
		case 0:
		case 1:
			for (i = 0; i < n; i++)
				in[i] = (unsigned char)random();
			full = n > sizeof(model) - wpos;
			assert_int_equal(ibuf_add(b, in, n), full ? -1 : 0);
			if (!full) {
				memcpy(model + wpos, in, n);
				wpos += n;
			}
			break;
		case 2:
			if (n > wpos - rpos) {
				REFUSED(EBADMSG, ibuf_get(b, out, n));
				break;
			}
			assert_int_equal(ibuf_get(b, out, n), 0);
			assert_memory_equal(out, model + rpos, n);
			rpos += n;
			break;
		case 3:
			if (random() % 4 == 0) {
				ibuf_rewind(b);
				rpos = 0;
			}
			break;
		default:
			if (n > wpos - rpos)
				break;
			assert_int_equal(ibuf_truncate(b, n), 0);
			wpos = rpos + n;
		}
		assert_int_equal(ibuf_size(b), wpos - rpos);
		assert_int_equal(ibuf_left(b), sizeof(model) - wpos);
		assert_memory_equal(ibuf_data(b), model + rpos, wpos - rpos);
	}
	ibuf_free(b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fixed_and_dynamic),
		cmocka_unit_test(numbers),
		cmocka_unit_test(strings),
		cmocka_unit_test(places),
		cmocka_unit_test(views),
		cmocka_unit_test(descriptors),
		cmocka_unit_test(random_calls),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
