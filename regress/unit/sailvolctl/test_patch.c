/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * A patch names its file as patch(1) and git(1) read it, whatever the name is;
 * what is no text is named and not shown.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "sailvolctl/patch.h"

static void
expect(const char *path, const char *was, size_t was_len, const char *now,
    size_t now_len, const char *want)
{
	struct version a = { NULL, was_len }, b = { NULL, now_len };
	size_t len;
	char *out;

	if (was != NULL && (a.data = malloc(was_len + 1)) != NULL)
		memcpy(a.data, was, was_len);
	if (now != NULL && (b.data = malloc(now_len + 1)) != NULL)
		memcpy(b.data, now, now_len);
	out = patch_make(path, strlen(path), &a, &b, &len);
	assert_non_null(out);
	assert_int_equal(len, strlen(want));
	assert_memory_equal(out, want, len);
	free(out);
	free(a.data);
	free(b.data);
}

static void
test_names(void **state)
{
	(void)state;
	expect("d/f", "x\n", 2, "y\n", 2,
	    "--- a/d/f\n+++ b/d/f\n@@ -1 +1 @@\n-x\n+y\n");
	expect("a b", NULL, 0, "y\n", 2,
	    "--- /dev/null\n+++ b/a b\t\n@@ -0,0 +1 @@\n+y\n");
	expect("a\nb", "y\n", 2, NULL, 0,
	    "--- \"a/a\\012b\"\n+++ /dev/null\n@@ -1 +0,0 @@\n-y\n");
	expect("q\"\\", "\0", 1, "", 0,
	    "Binary files \"a/q\\\"\\\\\" and \"b/q\\\"\\\\\" differ\n");
	expect("\xff", NULL, 0, "\0", 1,
	    "Binary files /dev/null and b/\xff differ\n");
}

static void
test_equal(void **state)
{
	(void)state;
	expect("f", "x", 1, "x", 1, "");
	expect("f", "\0", 1, "\0", 1, "");
	expect("f", NULL, 0, NULL, 0, "");
	expect("f", NULL, 0, "", 0, "");
	expect("f", "", 0, NULL, 0, "");
}

int
main(void)
{
	static const struct CMUnitTest tests[] = { cmocka_unit_test(test_names),
		cmocka_unit_test(test_equal) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
