/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */

/*
 * Claim: what is shown is printable, of each length of buffer as much as fits in
 * whole characters, and no byte behind the buffer is touched.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <vis.h>

#include "lib/shown.h"

static void
of_each_size(void **state)
{
	static const char src[] = "ab\n\tc\\d\033[2J\x80\xff\0end";
	char all[128], buf[128], back[128];
	size_t size, n;
	int whole;

	(void)state;
	assert_int_equal(shown_encode(all, sizeof(all), src, sizeof(src) - 1,
			     0),
	    1);
	assert_int_equal(strunvis(back, all), sizeof(src) - 1);
	assert_memory_equal(back, src, sizeof(src) - 1);
	for (n = 0; all[n] != '\0'; n++)
		assert_true(all[n] >= ' ' && all[n] <= '~');
	for (size = 1; size <= n + 2; size++) {
		memset(buf, 'x', sizeof(buf));
		whole = shown_encode(buf, size, src, sizeof(src) - 1, 0);
		assert_int_equal(whole, size > n);
		assert_true(strlen(buf) < size && size - strlen(buf) <= 4 + 1);
		assert_memory_equal(buf, all, strlen(buf));
		assert_int_equal(buf[size], 'x');
		/* Not in an escape: what is there can be read back. */
		assert_true(strunvis(back, buf) >= 0);
	}
}

static void
of_nothing(void **state)
{
	char buf[2] = "x";

	(void)state;
	assert_int_equal(shown_encode(buf, 1, "", 0, 0), 1);
	assert_string_equal(buf, "");
	assert_int_equal(shown_encode(buf, 1, "a", 1, 0), 0);
	assert_string_equal(buf, "");
}

static void
not_twice(void **state)
{
	char once[64], twice[64];

	(void)state;
	assert_int_equal(shown_encode(once, sizeof(once), "a\nb", 3, 0), 1);
	assert_string_equal(once, "a\\nb");
	assert_int_equal(shown_encode(twice, sizeof(twice), once, strlen(once),
			     1),
	    1);
	assert_string_equal(twice, once);
	assert_int_equal(shown_encode(twice, sizeof(twice), once, strlen(once),
			     0),
	    1);
	assert_string_equal(twice, "a\\\\nb");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(of_each_size),
		cmocka_unit_test(of_nothing),
		cmocka_unit_test(not_twice),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
