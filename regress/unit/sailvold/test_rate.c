/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * Claim: a rate is steady where the bytes are, follows a change within some
 * seconds, and neither it nor the time that is left is ever nonsense.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "sailvold/rate.h"

static monotime_t
at_ms(int64_t ms)
{
	monotime_t t = { ms * 1000000 };

	return t;
}

static void
test_steady(void **state)
{
	struct rate r;
	int i;

	(void)state;
	rate_begin(&r, at_ms(1000));
	assert_int_equal(rate_per_s(&r), 0);
	assert_int_equal(rate_left_s(&r, 5), -1);
	assert_int_equal(rate_left_s(&r, 0), -1);
	for (i = 1; i < 100; i++) {
		rate_look(&r, at_ms(1000 + i * 200), (uint64_t)i * 200000);
		assert_true(
		    rate_per_s(&r) >= 999999 && rate_per_s(&r) <= 1000001);
	}
	assert_int_equal(rate_left_s(&r, 10500000), 10);
	assert_int_equal(rate_left_s(&r, 0), 0);
}

static void
test_change(void **state)
{
	struct rate r;
	uint64_t bytes = 0, before, per_s = 1000000;
	int i;

	(void)state;
	rate_begin(&r, at_ms(0));
	for (i = 1; i <= 50; i++)
		rate_look(&r, at_ms(i * 200), bytes += per_s / 5);
	/* Ten times slower: nearer at each look, there after half a minute. */
	for (; i <= 250; i++) {
		before = rate_per_s(&r);
		rate_look(&r, at_ms(i * 200), bytes += per_s / 50);
		assert_true(rate_per_s(&r) <= before);
		assert_true(before - rate_per_s(&r) < per_s / 10);
	}
	assert_true(rate_per_s(&r) < per_s / 8);
	/* Nothing comes any more. */
	for (; i <= 5000; i++)
		rate_look(&r, at_ms(i * 200), bytes);
	assert_int_equal(rate_per_s(&r), 0);
	assert_int_equal(rate_left_s(&r, 1), -1);
}

static void
test_nonsense(void **state)
{
	struct rate r;

	(void)state;
	rate_begin(&r, at_ms(100));
	rate_look(&r, at_ms(100), 50);
	rate_look(&r, at_ms(99), 50);
	assert_int_equal(rate_per_s(&r), 0);
	rate_look(&r, at_ms(1100), 1000);
	assert_int_equal(rate_per_s(&r), 1000);
	rate_look(&r, at_ms(2100), 10); /* backwards */
	assert_true(rate_per_s(&r) < 1000);
	rate_look(&r, at_ms(2100), UINT64_MAX);
	rate_look(&r, at_ms(90000000), UINT64_MAX);
	assert_true(rate_left_s(&r, UINT64_MAX) >= 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_steady),
		cmocka_unit_test(test_change),
		cmocka_unit_test(test_nonsense) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
