/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * A read that failed after a long wait fails at once when the kernel asks for a
 * part of it again, and for nothing else, and not for long.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <unistd.h>

#include "sailvold/late.h"

static void
parts(void **state)
{
	monotime_t now = monotime_now();

	(void)state;
	late_failed(7, 4096, 8192, EIO, now);
	assert_int_equal(late_again(7, 4096), 0); /* it was not long */
	late_failed(7, 4096, 8192, EIO, monotime_add_ms(now, -30000));
	assert_int_equal(late_again(8, 4096), 0);
	assert_int_equal(late_again(7, 0), 0);
	assert_int_equal(late_again(7, 12288), 0);
	assert_int_equal(late_again(7, 8192), EIO);
	assert_int_equal(late_again(7, 4096), EIO);
	assert_int_equal(late_again(7, 4096), 0);
}

static void
over(void **state)
{
	monotime_t now = monotime_now();

	(void)state;
	late_failed(9, 0, 4096, ENOMEM, monotime_add_ms(now, -30000));
	sleep(1);
	assert_int_equal(late_again(9, 0), 0);
}

static void
many(void **state)
{
	monotime_t long_ago = monotime_add_ms(monotime_now(), -30000);
	unsigned int i;

	(void)state;
	for (i = 0; i < 1000; i++)
		late_failed(i, 0, 1, EIO, long_ago);
	assert_int_equal(late_again(999, 0), EIO);
	assert_int_equal(late_again(1, 0), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(parts),
		cmocka_unit_test(over),
		cmocka_unit_test(many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
