/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * Claim: one mount has only so many questions and bytes of lists that wait, a
 * list that alone is larger than these excepted; and a content has another key
 * in another volume.
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
	for (i = 0; i < CACHE_PUTS_MAX; i++) {
		assert_int_equal(cache_mount_room(&m, 1, 100), 0);
		cache_mount_waits(&m, 1, 100);
	}
	assert_int_equal(cache_mount_room(&m, 1, 100), -1);
	for (i = 0; i < CACHE_GETS_MAX; i++) {
		assert_int_equal(cache_mount_room(&m, 0, 100), 0);
		cache_mount_waits(&m, 0, 100);
	}
	assert_int_equal(cache_mount_room(&m, 0, 100), -1);
	while (i-- > 0)
		cache_mount_answered(&m, 0, 100);
	/* A large one comes when no other waits, and none comes then. */
	assert_int_equal(cache_mount_room(&m, 0, CACHE_LISTS_MAX * 2), 0);
	cache_mount_waits(&m, 0, CACHE_LISTS_MAX * 2);
	assert_int_equal(cache_mount_room(&m, 0, 1), -1);
	cache_mount_answered(&m, 0, CACHE_LISTS_MAX * 2);
	cache_mount_waits(&m, 0, CACHE_LISTS_MAX - 10);
	assert_int_equal(cache_mount_room(&m, 0, 10), 0);
	assert_int_equal(cache_mount_room(&m, 0, 11), -1);
}

static void
keys(void **state)
{
	struct cache_mount a = { .instance = 1, .volume_id = "vol_a" },
			   b = { .instance = 2, .volume_id = "vol_b" },
			   c = { .instance = 3, .volume_id = "vol_a" };
	struct hash content, of_a, of_b, of_c;

	(void)state;
	hash_bytes(&content, "x", 1);
	cache_mount_key(&a, &content, &of_a);
	cache_mount_key(&b, &content, &of_b);
	cache_mount_key(&c, &content, &of_c);
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

	hash_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
