/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * Claim: what wbuf writes rbuf reads, and both stop at their first error.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/bytes.h"
#include "lib/hash.h"
#include "lib/monotime.h"

static void
test_round_trip(void **state)
{
	struct timens t = { -5, 999999999 }, u;
	struct hash h, g;
	struct rbuf r;
	struct wbuf w;
	uint8_t *data;
	size_t len, n;
	static const uint8_t head[] = { 1, 3, 2, 7, 6, 5, 4 };

	(void)state;
	hash_bytes(&h, "x", 1);
	wbuf_init(&w, 1000);
	wbuf_u8(&w, 1);
	wbuf_u16(&w, 0x0203);
	wbuf_u32(&w, 0x04050607);
	wbuf_u64(&w, UINT64_MAX - 1);
	wbuf_i64(&w, -2);
	wbuf_time(&w, t);
	wbuf_hash(&w, &h);
	wbuf_str16(&w, "ab", 2);
	wbuf_str32(&w, "", 0);
	wbuf_bytes(&w, "zz", 2);
	wbuf_set_u32(&w, 3, 0x08090a0b);
	wbuf_set_u32(&w, 3, 0x04050607);
	assert_non_null(data = wbuf_take(&w, &len));
	assert_int_equal(len, 1 + 2 + 4 + 8 + 8 + 12 + 32 + 4 + 4 + 2);
	assert_memory_equal(data, head, sizeof(head));

	rbuf_init(&r, data, len);
	assert_int_equal(rbuf_u8(&r), 1);
	assert_int_equal(rbuf_u16(&r), 0x0203);
	assert_int_equal(rbuf_u32(&r), 0x04050607);
	assert_true(rbuf_u64(&r) == UINT64_MAX - 1);
	assert_true(rbuf_i64(&r) == -2);
	u = rbuf_time(&r);
	assert_int_equal(u.sec, -5);
	assert_int_equal(u.nsec, 999999999);
	rbuf_hash(&r, &g);
	assert_int_equal(hash_cmp(&g, &h), 0);
	assert_memory_equal(rbuf_str16(&r, 2, &n), "ab", 2);
	assert_non_null(rbuf_str32(&r, 9, &n));
	assert_int_equal(n, 0);
	assert_int_equal(rbuf_left(&r), 2);
	assert_int_equal(rbuf_end(&r), -1);
	assert_int_equal(errno, EBADMSG);
	assert_string_equal(r.error, "trailing bytes");
	free(data);
}

static void
test_reader_refuses(void **state)
{
	static const uint8_t nsec[12] = { [8] = 0, 0xca, 0x9a, 0x3b };
	static const uint8_t str[4] = { 2, 0, 'a', 'b' };
	struct rbuf r;
	size_t n;

	(void)state;
	rbuf_init(&r, nsec, sizeof(nsec));
	(void)rbuf_time(&r);
	assert_string_equal(r.error, "nanoseconds of a second or more");

	rbuf_init(&r, str, sizeof(str));
	assert_null(rbuf_str16(&r, 1, &n));
	assert_string_equal(r.error, "string is too long");
	/* Sticks: what follows reads nothing and does not change the word. */
	assert_int_equal(rbuf_u8(&r), 0);
	rbuf_fail(&r, "other");
	assert_string_equal(r.error, "string is too long");
	assert_int_equal(rbuf_left(&r), 0);

	rbuf_init(&r, str, 3);
	assert_null(rbuf_str16(&r, 9, &n));
	assert_string_equal(r.error, "truncated");
	assert_int_equal(n, 0);

	rbuf_init(&r, NULL, 0);
	assert_non_null(rbuf_bytes(&r, 0));
	assert_int_equal(rbuf_end(&r), 0);
}

static void
test_writer_limits(void **state)
{
	struct wbuf w;
	size_t len;
	uint8_t *p;

	(void)state;
	wbuf_init(&w, 4);
	wbuf_u32(&w, 1);
	assert_int_equal(w.error, 0);
	wbuf_u8(&w, 1);
	assert_int_equal(w.error, EFBIG);
	wbuf_u8(&w, 1);
	assert_int_equal(w.len, 4);
	assert_null(wbuf_take(&w, &len));
	assert_int_equal(errno, EFBIG);

	wbuf_init(&w, 1 << 20);
	wbuf_str16(&w, "", 65536);
	assert_int_equal(w.error, EFBIG);
	wbuf_free(&w);

	wbuf_init(&w, 100);
	wbuf_u16(&w, 1);
	wbuf_set_u32(&w, 0, 1);
	assert_int_equal(w.error, EFBIG);
	wbuf_free(&w);

	wbuf_init(&w, 100);
	assert_non_null(p = wbuf_take(&w, &len));
	assert_int_equal(len, 0);
	free(p);
	wbuf_free(NULL);
}

static void
test_blob(void **state)
{
	struct blob *b;

	(void)state;
	assert_non_null(b = blob_new("abc", 3));
	assert_memory_equal(b->data, "abc", 3);
	assert_ptr_equal(blob_ref(b), b);
	assert_int_equal(b->refs, 2);
	blob_unref(b);
	blob_unref(b);
	blob_unref(NULL);
	assert_null(blob_new(NULL, SIZE_MAX));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_reader_refuses),
		cmocka_unit_test(test_writer_limits),
		cmocka_unit_test(test_blob),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
