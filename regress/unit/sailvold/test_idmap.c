/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * Ids of a range go in and come out as themselves; all others are nobody, and
 * cannot come in; what cannot be a range is said.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "sailvold/idmap.h"

static void
test_none(void **state)
{
	const struct idmap m = { 0, 0 };
	const uint32_t ids[] = { 0, 1, 65534, 65536, UINT32_MAX };
	uint32_t id;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
		assert_int_equal(idmap_in(&m, ids[i], &id), 0);
		assert_int_equal(id, ids[i]);
		assert_int_equal(idmap_out(&m, ids[i]), ids[i]);
		assert_int_equal(idmap_name(&m, ids[i]), ids[i]);
	}
}

static void
test_range(void **state)
{
	const struct idmap m = { 100000, 65536 };
	uint32_t id, n;

	(void)state;
	for (n = 0; n < 65536; n++) {
		assert_int_equal(idmap_in(&m, 100000 + n, &id), 0);
		assert_int_equal(id, n);
		assert_int_equal(idmap_out(&m, n), 100000 + n);
		assert_int_equal(idmap_name(&m, 100000 + n), n);
	}
	id = 7;
	assert_int_equal(idmap_in(&m, 0, &id), -1);
	assert_int_equal(idmap_in(&m, 99999, &id), -1);
	assert_int_equal(idmap_in(&m, 165536, &id), -1);
	assert_int_equal(idmap_in(&m, UINT32_MAX, &id), -1);
	assert_int_equal(id, 7);
	assert_int_equal(idmap_name(&m, 0), 65534);
	assert_int_equal(idmap_out(&m, 65536), 165534);
	assert_int_equal(idmap_out(&m, 100000), 165534);
	assert_int_equal(idmap_out(&m, UINT32_MAX), 165534);
}

/* One without a nobody of its own has the machine's. */
static void
test_small(void **state)
{
	const struct idmap m = { 200000, 1 },
			   last = { UINT32_MAX - 1000, 1000 };
	uint32_t id;

	(void)state;
	assert_int_equal(idmap_in(&m, 200000, &id), 0);
	assert_int_equal(id, 0);
	assert_int_equal(idmap_in(&m, 200001, &id), -1);
	assert_int_equal(idmap_in(&m, 199999, &id), -1);
	assert_int_equal(idmap_out(&m, 0), 200000);
	assert_int_equal(idmap_out(&m, 1), 65534);
	assert_int_equal(idmap_out(&m, 200000), 65534);
	assert_int_equal(idmap_in(&last, UINT32_MAX - 1, &id), 0);
	assert_int_equal(id, 999);
	assert_int_equal(idmap_in(&last, UINT32_MAX, &id), -1);
	assert_int_equal(idmap_out(&last, 999), UINT32_MAX - 1);
}

static void
test_problems(void **state)
{
	static const struct {
		uint64_t base, count;
		int good;
	} t[] = {
		{ 1, 1, 1 },
		{ 1, 65536, 1 },
		{ 0, 1, 0 },
		{ 0, 65536, 0 },
		{ 1000, 0, 0 },
		{ 1000, 65537, 0 },
		{ 1000, UINT64_MAX, 0 },
		{ UINT32_MAX - 65536, 65536, 1 },
		{ UINT32_MAX - 65535, 65536, 0 },
		{ UINT32_MAX - 1, 1, 1 },
		{ UINT32_MAX, 1, 0 },
		{ UINT64_MAX, 1, 0 },
		{ (uint64_t)1 << 32, 10, 0 },
		/* Nobody is inside. */
		{ 65534, 1, 0 },
		{ 65535, 1, 1 },
		{ 65533, 1, 1 },
		{ 65533, 2, 0 },
		{ 1, 65534, 0 },
		{ 1, 65535, 1 },
		{ 1, 65533, 1 },
	};
	struct idmap m;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(t) / sizeof(t[0]); i++)
		assert_int_equal(idmap_problem(t[i].base, t[i].count) == NULL,
		    t[i].good);
	m.base = m.count = 0;
	assert_true(idmap_valid(&m));
	m.base = 5;
	assert_false(idmap_valid(&m));
	m.count = 5;
	assert_true(idmap_valid(&m));
	m.base = 0;
	assert_false(idmap_valid(&m));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_none),
		cmocka_unit_test(test_range),
		cmocka_unit_test(test_small),
		cmocka_unit_test(test_problems),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
