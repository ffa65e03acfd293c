/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * Claim: names and paths that must not stand in a volume are refused with the
 * reason, and paths sort so that what is below a directory follows it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/path.h"

#define WHY(call, word)                          \
	do {                                     \
		const char *why_ = (call);       \
		assert_non_null(why_);           \
		assert_string_equal(why_, word); \
	} while (0)

static void
test_names(void **state)
{
	char longname[256];

	(void)state;
	memset(longname, 'x', sizeof(longname));
	assert_null(name_problem("a", 1));
	assert_null(name_problem("...", 3));
	assert_null(name_problem(".sailvol2", 9));
	assert_null(name_problem("\xff\x01", 2));
	assert_null(name_problem(longname, 255));
	WHY(name_problem("", 0), "empty name");
	WHY(name_problem(longname, 256), "name is too long");
	WHY(name_problem("a/b", 3), "name has a slash");
	WHY(name_problem("a\0b", 3), "name has a NUL");
	WHY(name_problem(".", 1), "name is . or ..");
	WHY(name_problem("..", 2), "name is . or ..");
	WHY(name_problem(".sailvol", 8), "name is reserved");
	WHY(name_problem(".sail_volume.json", 17), "name is reserved");
	assert_true(name_is_reserved(".sailvol", 8));
	assert_false(name_is_reserved(".sailvo", 7));
}

static void
test_paths(void **state)
{
	char deep[SAIL_PATH_MAX + 1];
	size_t i;

	(void)state;
	assert_null(path_problem("", 0));
	assert_null(path_problem("a/b/c", 5));
	WHY(path_problem("/a", 2), "empty name");
	WHY(path_problem("a/", 2), "empty name");
	WHY(path_problem("a//b", 4), "empty name");
	WHY(path_problem("a/../b", 6), "name is . or ..");
	WHY(path_problem("a/.sailvol", 10), "name is reserved");
	for (i = 0; i < sizeof(deep); i++)
		deep[i] = i % 2 ? '/' : 'a';
	assert_null(path_problem(deep, 2 * SAIL_DEPTH_MAX - 1));
	WHY(path_problem(deep, 2 * SAIL_DEPTH_MAX + 1), "path is too deep");
	for (i = 0; i < sizeof(deep); i++)
		deep[i] = i % 200 == 199 ? '/' : 'a';
	assert_null(path_problem(deep, SAIL_PATH_MAX));
	WHY(path_problem(deep, SAIL_PATH_MAX + 1), "path is too long");
}

static void
test_order(void **state)
{
	static const char *const sorted[] = { "", "a", "a/b", "a/b/c", "a/b!",
		"a/c", "a!", "a!/b", "a.b", "aa", "b" };
	int i, j, c, n = sizeof(sorted) / sizeof(sorted[0]);

	(void)state;
	for (i = 0; i < n; i++) {
		for (j = 0; j < n; j++) {
			c = path_cmp(sorted[i], strlen(sorted[i]), sorted[j],
			    strlen(sorted[j]));
			assert_int_equal((c > 0) - (c < 0), (i > j) - (i < j));
		}
	}
	assert_true(path_is_below("a/b", 3, "a", 1));
	assert_true(path_is_below("a", 1, "a", 1));
	assert_true(path_is_below("a", 1, "", 0));
	assert_false(path_is_below("ab", 2, "a", 1));
	assert_false(path_is_below("a", 1, "a/b", 3));
}

static void
test_parts(void **state)
{
	const char *b;
	size_t n;

	(void)state;
	assert_int_equal(path_parent("a/b/c", 5), 3);
	assert_int_equal(path_parent("a", 1), 0);
	assert_int_equal(path_parent("", 0), 0);
	b = path_base("a/bc", 4, &n);
	assert_int_equal(n, 2);
	assert_memory_equal(b, "bc", 2);
	b = path_base("abc", 3, &n);
	assert_int_equal(n, 3);
	assert_memory_equal(b, "abc", 3);
}

static void
test_volume_names(void **state)
{
	char longname[129];

	(void)state;
	memset(longname, 'v', sizeof(longname));
	assert_null(volume_name_problem("shared-data_1.2", 15));
	assert_null(volume_name_problem(longname, 128));
	WHY(volume_name_problem(longname, 129), "name of a volume is too long");
	WHY(volume_name_problem("", 0), "empty name of a volume");
	WHY(volume_name_problem("-a", 2),
	    "name of a volume begins with no letter or digit");
	WHY(volume_name_problem("a/b", 3),
	    "name of a volume has a forbidden character");
	WHY(volume_name_problem("a\0b", 3),
	    "name of a volume has a forbidden character");
}

static void
test_utf8(void **state)
{
	static const char *const good[] = { "", "abc", "\xc3\xa9",
		"\xe2\x82\xac", "\xf0\x9f\x98\x80", "\xf4\x8f\xbf\xbf",
		"\xed\x9f\xbf" };
	static const char *const bad[] = { "\x80", "\xc0\x80", "\xc1\xbf",
		"\xe0\x80\x80", "\xe0\x9f\xbf", "\xed\xa0\x80",
		"\xf0\x80\x80\x80", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80",
		"\xc3", "\xe2\x82", "a\xff", "\xc3(" };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		assert_true(utf8_valid(good[i], strlen(good[i])));
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(utf8_valid(bad[i], strlen(bad[i])));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_paths),
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_parts),
		cmocka_unit_test(test_volume_names),
		cmocka_unit_test(test_utf8),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
