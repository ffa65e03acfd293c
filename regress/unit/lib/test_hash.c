/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * Claim: SHA-256, HMAC and CRC-32C give the published test vectors, in pieces
 * and in threads too.
 */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/hash.h"

/* FIPS 180-2, appendix B. */
#define ABC "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
#define EMPTY "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

static void
test_sha256(void **state)
{
	char hex[HASH_HEX_LEN + 1];
	struct hash_ctx *c;
	struct hash h, g;

	(void)state;
	hash_bytes(&h, "abc", 3);
	hash_hex(&h, hex);
	assert_string_equal(hex, ABC);
	hash_bytes(&h, NULL, 0);
	hash_hex(&h, hex);
	assert_string_equal(hex, EMPTY);
	assert_non_null(c = hash_begin());
	hash_update(c, "a", 1);
	hash_bytes(&g, "in between", 10);
	hash_update(c, "", 0);
	hash_update(c, "bc", 2);
	hash_end(c, &h);
	hash_hex(&h, hex);
	assert_string_equal(hex, ABC);
}

static void
test_parse(void **state)
{
	char hex[HASH_HEX_LEN + 1] = ABC;
	struct hash h, g, zero = { { 0 } };

	(void)state;
	hash_bytes(&g, "abc", 3);
	assert_int_equal(hash_parse(&h, hex, 64), 0);
	assert_int_equal(hash_cmp(&h, &g), 0);
	assert_true(hash_equal_ct(&h, &g));
	assert_false(hash_is_zero(&h));
	assert_true(hash_is_zero(&zero));
	assert_false(hash_equal_ct(&h, &zero));
	assert_true(hash_cmp(&zero, &h) < 0);
	assert_int_equal(hash_parse(&h, hex, 63), -1);
	assert_int_equal(errno, EINVAL);
	hex[0] = 'B';
	assert_int_equal(hash_parse(&h, hex, 64), -1);
	hex[0] = 'g';
	assert_int_equal(hash_parse(&h, hex, 64), -1);
}

static void
test_hmac(void **state)
{
	char hex[HASH_HEX_LEN + 1];
	struct hash h;
	uint8_t key[131];

	(void)state;
	/* RFC 4231, cases 2 and 6. */
	hash_hmac(&h, "Jefe", 4, "what do ya want for nothing?", 28);
	hash_hex(&h, hex);
	assert_string_equal(hex,
	    "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
	memset(key, 0xaa, sizeof(key));
	hash_hmac(&h, key, sizeof(key),
	    "Test Using Larger Than Block-Size Key - Hash Key First", 54);
	hash_hex(&h, hex);
	assert_string_equal(hex,
	    "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

static void
test_crc32c(void **state)
{
	uint8_t buf[300], zero[32] = { 0 };
	size_t i, n;

	(void)state;
	/* RFC 3720, B.4. */
	assert_int_equal(crc32c(0, "123456789", 9), 0xe3069283);
	assert_int_equal(crc32c(0, zero, 32), 0x8a9136aa);
	assert_int_equal(crc32c(crc32c(0, "1234", 4), "56789", 5), 0xe3069283);
	assert_int_equal(crc32c(0, NULL, 0), 0);
	for (i = 0; i < sizeof(buf); i++)
		buf[i] = (uint8_t)(i * 37 + 11);
	for (i = 0; i < 16; i++) {
		for (n = 0; n + i <= sizeof(buf); n += 7)
			assert_int_equal(crc32c(7, buf + i, n),
			    crc32c_table(7, buf + i, n));
	}
}

static void *
hash_many(void *arg)
{
	struct hash *h = arg;
	int i;

	hash_bytes(h, "abc", 3);
	for (i = 0; i < 1000; i++)
		hash_bytes(h, h->b, HASH_LEN);
	return (NULL);
}

static void
test_threads(void **state)
{
	pthread_t t[4];
	struct hash h[5];
	int i;

	(void)state;
	for (i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&t[i], NULL, hash_many, &h[i]),
		    0);
	hash_many(&h[4]);
	for (i = 0; i < 4; i++) {
		assert_int_equal(pthread_join(t[i], NULL), 0);
		assert_int_equal(hash_cmp(&h[i], &h[4]), 0);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sha256),
		cmocka_unit_test(test_parse),
		cmocka_unit_test(test_hmac),
		cmocka_unit_test(test_crc32c),
		cmocka_unit_test(test_threads),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
