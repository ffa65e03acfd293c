/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * Claim: promtext writes the text form of Prometheus as its description has it,
 * and refuses what has no place in it.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/promtext.h"

static void
assert_text(struct promtext *p, const char *want)
{
	char *got;
	size_t len;

	wbuf_u8(&p->out, '\0');
	assert_non_null(got = (char *)wbuf_take(&p->out, &len));
	assert_string_equal(got, want);
	assert_int_equal(len, strlen(want) + 1);
	free(got);
}

static void
test_text(void **state)
{
	static const struct promtext_label labels[] = { { "role", "fuse" },
		{ "mount", "3" } };
	struct promtext p;

	(void)state;
	promtext_init(&p, 4096);
	promtext_family(&p, "a_starts_total", PROMTEXT_COUNTER, "How often.");
	promtext_sample(&p, labels, 2, UINT64_MAX);
	promtext_sample(&p, labels, 1, 0);
	promtext_family(&p, "a_age_seconds", PROMTEXT_GAUGE, "Since.");
	promtext_sample_milli(&p, NULL, 0, 61007);
	promtext_sample_milli(&p, NULL, 0, 9);
	assert_text(&p,
	    "# HELP a_starts_total How often.\n"
	    "# TYPE a_starts_total counter\n"
	    "a_starts_total{role=\"fuse\",mount=\"3\"} 18446744073709551615\n"
	    "a_starts_total{role=\"fuse\"} 0\n"
	    "# HELP a_age_seconds Since.\n"
	    "# TYPE a_age_seconds gauge\n"
	    "a_age_seconds 61.007\n"
	    "a_age_seconds 0.009\n");
}

static void
test_histogram(void **state)
{
	static const uint64_t bounds[] = { 500, 2500000, 10000000 };
	static const uint64_t counts[] = { 1, 2, 0, 4 };
	struct promtext p;

	(void)state;
	promtext_init(&p, 4096);
	promtext_family(&p, "a_seconds", PROMTEXT_HISTOGRAM, "How long.");
	promtext_histogram(&p, bounds, counts, 3, 61000070);
	assert_text(&p,
	    "# HELP a_seconds How long.\n"
	    "# TYPE a_seconds histogram\n"
	    "a_seconds_bucket{le=\"0.0005\"} 1\n"
	    "a_seconds_bucket{le=\"2.5\"} 3\n"
	    "a_seconds_bucket{le=\"10\"} 3\n"
	    "a_seconds_bucket{le=\"+Inf\"} 7\n"
	    "a_seconds_sum 61.00007\n"
	    "a_seconds_count 7\n");
}

static void
test_escapes(void **state)
{
	static const struct promtext_label label = { "l",
		"a\"b\\c\nd\xc3\xbc" };
	struct promtext p;

	(void)state;
	promtext_init(&p, 4096);
	promtext_family(&p, "x", PROMTEXT_GAUGE, "a\"b\\c\nd");
	promtext_sample(&p, &label, 1, 1);
	assert_text(&p,
	    "# HELP x a\"b\\\\c\\nd\n"
	    "# TYPE x gauge\n"
	    "x{l=\"a\\\"b\\\\c\\nd\xc3\xbc\"} 1\n");
}

static void
assert_refused(struct promtext *p, int error)
{
	size_t len;

	assert_null(wbuf_take(&p->out, &len));
	assert_int_equal(errno, error);
}

static void
family_refused(const char *name, enum promtext_type type, const char *help)
{
	struct promtext p;

	promtext_init(&p, 4096);
	promtext_family(&p, name, type, help);
	assert_refused(&p, EINVAL);
}

static void
label_refused(const char *name, const char *value)
{
	struct promtext_label label = { name, value };
	struct promtext p;

	promtext_init(&p, 4096);
	promtext_family(&p, "x", PROMTEXT_GAUGE, "x");
	promtext_sample(&p, &label, 1, 1);
	assert_refused(&p, EINVAL);
}

static void
test_refusals(void **state)
{
	static const uint64_t one = 1;
	struct promtext p;

	(void)state;
	family_refused("", PROMTEXT_GAUGE, "x");
	family_refused("1x", PROMTEXT_GAUGE, "x");
	family_refused("x-y", PROMTEXT_GAUGE, "x");
	family_refused("x:y", PROMTEXT_GAUGE, "x");
	family_refused("x\n", PROMTEXT_GAUGE, "x");
	family_refused("x", PROMTEXT_COUNTER, "x");
	family_refused("_total", PROMTEXT_COUNTER, "x");
	family_refused("x_total", PROMTEXT_GAUGE, "x");
	family_refused("x", PROMTEXT_GAUGE, "\xff");
	label_refused("", "x");
	label_refused("a-b", "x");
	label_refused("__name__", "x");
	label_refused("a", "\xc3");
	promtext_init(&p, 4096);
	promtext_sample(&p, NULL, 0, 1);
	assert_refused(&p, EINVAL);
	promtext_init(&p, 4096);
	promtext_family(&p, "x", PROMTEXT_HISTOGRAM, "x");
	promtext_sample(&p, NULL, 0, 1);
	assert_refused(&p, EINVAL);
	promtext_init(&p, 4096);
	promtext_family(&p, "x", PROMTEXT_GAUGE, "x");
	promtext_histogram(&p, NULL, &one, 0, 1);
	assert_refused(&p, EINVAL);
}

static void
test_limit(void **state)
{
	struct promtext p;

	(void)state;
	promtext_init(&p, 20);
	promtext_family(&p, "x", PROMTEXT_GAUGE, "x");
	promtext_sample(&p, NULL, 0, 1);
	assert_refused(&p, EFBIG);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_text),
		cmocka_unit_test(test_histogram),
		cmocka_unit_test(test_escapes),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
