/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * Differences of monotonic times round down, also below zero, and times of
 * day are ordered by second, then by nanosecond.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "lib/monotime.h"

static void
test_diff(void **state)
{
	monotime_t a = { 5000000 }, b = { 2500000 };

	(void)state;
	assert_int_equal(monotime_diff_ms(a, b), 2);
	assert_int_equal(monotime_diff_ms(b, a), -3);
	assert_int_equal(monotime_diff_ms(a, a), 0);
	assert_int_equal(monotime_add_ms(a, -5).ns, 0);
	assert_int_equal(monotime_diff_ms(monotime_add_ms(a, 7), a), 7);
}

static void
test_now(void **state)
{
	monotime_t a = monotime_now();

	(void)state;
	assert_true(monotime_reached(a));
	assert_false(monotime_reached(monotime_add_ms(a, 100000)));
	assert_true(monotime_diff_ms(monotime_now(), a) >= 0);
	assert_true(timens_now().sec > 1700000000);
}

static void
test_cmp(void **state)
{
	struct timens a = { -1, 999999999 }, b = { 0, 0 }, c = { 0, 1 };

	(void)state;
	assert_int_equal(timens_cmp(a, b), -1);
	assert_int_equal(timens_cmp(c, b), 1);
	assert_int_equal(timens_cmp(c, c), 0);
	assert_int_equal(timens_cmp(b, a), 1);
	assert_int_equal(timens_cmp(b, c), -1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_diff),
		cmocka_unit_test(test_now),
		cmocka_unit_test(test_cmp),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
