/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * Claim: one mount has only so many chunks and PUTs that wait; and a chunk has
 * another key in another volume.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "sailvold/cache.h"
#include "sailvold/sailvold_imsg.h"

static void
room(void **state)
{
	struct cache_mount m = { .instance = 1 };
	unsigned int i;

	(void)state;
	for (i = 0; i < CACHE_PUTS_MAX; i++, m.puts++)
		assert_int_equal(cache_mount_room(&m, 1, 1), 0);
	assert_int_equal(cache_mount_room(&m, 1, 1), -1);
	for (i = 0; i < CACHE_GETS_MAX; i++, m.gets++)
		assert_int_equal(cache_mount_room(&m, 0, 1), 0);
	assert_int_equal(cache_mount_room(&m, 0, 1), -1);
	m.gets = 10;
	assert_int_equal(cache_mount_room(&m, 0, CACHE_GETS_MAX - 10), 0);
	assert_int_equal(cache_mount_room(&m, 0, CACHE_GETS_MAX - 9), -1);
}

static void
keys(void **state)
{
	struct hash chunk, of_a, of_b, of_c;

	(void)state;
	hash_bytes(&chunk, "x", 1);
	cache_key("vol_a", &chunk, &of_a);
	cache_key("vol_b", &chunk, &of_b);
	cache_key("vol_a", &chunk, &of_c);
	assert_int_not_equal(hash_cmp(&of_a, &of_b), 0);
	assert_int_equal(hash_cmp(&of_a, &of_c), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(room),
		cmocka_unit_test(keys),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
