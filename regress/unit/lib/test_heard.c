/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * Claim: what a try says is new in the first, and old in each that follows until
 * one does not say it; numbers make no difference; and what there is no room for
 * is always new.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "lib/heard.h"

static void
tries(void **state)
{
	struct heard h;
	int i;

	(void)state;
	memset(&h, 0, sizeof(h));
	assert_int_equal(heard_line(&h, "pid 17 died"), 0);
	assert_int_equal(heard_line(&h, "pid 18 died"), 1);
	assert_int_equal(heard_line(&h, "pid 18 died of it"), 0);
	for (i = 0; i < 3; i++) {
		heard_next(&h);
		assert_int_equal(heard_line(&h, "pid 19 died"), 1);
		assert_int_equal(heard_line(&h, "pid died of it"), i > 0);
		assert_int_equal(heard_line(&h, "pid died of it"), 1);
	}
	heard_next(&h);
	assert_int_equal(heard_line(&h, "another reason"), 0);
	heard_next(&h);
	assert_int_equal(heard_line(&h, "pid 20 died"), 0);
}

static void
room(void **state)
{
	char line[32] = "";
	struct heard h;
	int i, n;

	(void)state;
	memset(&h, 0, sizeof(h));
	for (n = 0; n < 3; n++) {
		for (i = 0; i < 26; i++) {
			snprintf(line, sizeof(line), "line %c", 'a' + i);
			assert_int_equal(heard_line(&h, line),
			    n > 0 && i < HEARD_MAX);
		}
		assert_int_equal(heard_line(&h, line), 0);
		heard_next(&h);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tries),
		cmocka_unit_test(room),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
