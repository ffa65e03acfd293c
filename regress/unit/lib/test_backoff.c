/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * Claim: a pause grows with the tries to a largest, has chance in it, and is
 * never shorter than what the other side asks for, within reason.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "lib/backoff.h"

#define SAMPLES 500
#define FIRST 200
#define MOST 10000

/* The least and the largest of many. */
static void
spread(unsigned int tries, int64_t *least, int64_t *largest)
{
	int64_t ms;
	int i;

	*least = INT64_MAX;
	*largest = 0;
	for (i = 0; i < SAMPLES; i++) {
		ms = backoff_ms(tries, FIRST, MOST);
		if (ms < *least)
			*least = ms;
		if (ms > *largest)
			*largest = ms;
	}
}

static void
test_growth_and_chance(void **state)
{
	int64_t whole = FIRST, least, largest;
	unsigned int tries;

	(void)state;
	for (tries = 1; tries < 40; tries++) {
		spread(tries, &least, &largest);
		assert_in_range(least, whole / 2, whole * 6 / 10);
		assert_in_range(largest, whole * 9 / 10, whole);
		whole = whole * 2 < MOST ? whole * 2 : MOST;
	}
	assert_int_equal(whole, MOST);
}

static void
test_ends(void **state)
{
	int64_t least, largest;

	(void)state;
	/* None has failed; and so many that a number would run over. */
	spread(0, &least, &largest);
	assert_in_range(largest, FIRST / 2, FIRST);
	spread(4000000000U, &least, &largest);
	assert_in_range(least, MOST / 2, MOST);
	assert_in_range(largest, MOST / 2, MOST);
	assert_int_equal(backoff_ms(1, 1, 1), 1);
	/* A first that is more than the most. */
	assert_in_range(backoff_ms(1, 2 * MOST, MOST), MOST / 2, MOST);
}

/* Where so much is asked for: never less, and at most that much later. */
static void
asked(int64_t ms, int64_t ask, int64_t min, int64_t later)
{
	int64_t got, least = INT64_MAX, largest = 0;
	int i;

	for (i = 0; i < SAMPLES; i++) {
		got = backoff_asked_ms(ms, ask, 30000);
		if (got < least)
			least = got;
		if (got > largest)
			largest = got;
	}
	assert_in_range(least, min, min + later / 10);
	assert_in_range(largest, min + later * 9 / 10, min + later);
}

static void
test_asked(void **state)
{
	(void)state;
	assert_int_equal(backoff_asked_ms(700, 0, 30000), 700);
	assert_int_equal(backoff_asked_ms(700, -1000, 30000), 700);
	/* All who are told the same do not come at the same moment. */
	asked(700, 600, 600, 700);
	asked(700, 5000, 5000, 2500);
	asked(700, 30000, 30000, 15000);
	asked(700, 3600 * 1000, 30000, 15000);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_growth_and_chance),
		cmocka_unit_test(test_ends),
		cmocka_unit_test(test_asked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
