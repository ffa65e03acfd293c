/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * A life is a number and its unit, of a second to ten years, and nothing else
 * is one.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "lib/life.h"

static void
test_life(void **state)
{
	static const char *const bad[] = { "", "0s", "0", "7", "s", "d7", "-1s",
		"+1s", " 1s", "1s ", "1.5h", "1w", "1ms", "1S", "3651d",
		"315360001s", "99999999999999999999s", "87601h" };
	size_t i;

	(void)state;
	assert_int_equal(life_parse("1s"), 1);
	assert_int_equal(life_parse("90s"), 90);
	assert_int_equal(life_parse("15m"), 900);
	assert_int_equal(life_parse("12h"), 43200);
	assert_int_equal(life_parse("007d"), 7 * 86400);
	assert_int_equal(life_parse("3650d"), LIFE_MAX_S);
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(life_parse(bad[i]), -1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_life) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
