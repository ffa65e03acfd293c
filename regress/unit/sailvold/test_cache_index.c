/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * The cache's index gives up the longest unused first, never passes its limit,
 * and takes up what is left from before as the oldest, unverified.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sailvold/cache_index.h"
#include "regress/unit/seed.h"

static struct hash
name(unsigned int i)
{
	struct hash h;

	hash_bytes(&h, &i, sizeof(i));
	return h;
}

static struct cache_entry *
add(struct cache_index *x, unsigned int i, uint64_t bytes)
{
	struct hash h = name(i);

	return cache_index_add(x, &h, bytes, 1, 0);
}

static struct cache_entry *
find(struct cache_index *x, unsigned int i)
{
	struct hash h = name(i);

	return cache_index_find(x, &h);
}

/* Evicts until need fits; how many went. */
static int
evict(struct cache_index *x, uint64_t need)
{
	struct cache_entry *e;
	int n = 0;

	while ((e = cache_index_victim(x, need, 0)) != NULL) {
		cache_index_remove(x, e);
		n++;
	}
	return n;
}

static void
test_order(void **state)
{
	struct cache_index x;
	unsigned int i;

	(void)state;
	cache_index_init(&x, 100);
	for (i = 0; i < 10; i++)
		assert_non_null(add(&x, i, 10));
	assert_null(add(&x, 3, 10));
	assert_int_equal(errno, EEXIST);
	assert_int_equal(x.used, 100);
	cache_index_touch(&x, find(&x, 0));
	assert_int_equal(evict(&x, 25), 3);
	assert_null(find(&x, 1));
	assert_null(find(&x, 2));
	assert_null(find(&x, 3));
	assert_non_null(find(&x, 0));
	assert_non_null(find(&x, 4));
	assert_true(cache_index_fits(&x, 30));
	assert_false(cache_index_fits(&x, 31));
	/* What is larger than all costs nobody his place. */
	assert_int_equal(evict(&x, 101), 0);
	assert_int_equal(x.files, 7);
	/* Nor does what is reserved count as room. */
	x.reserved = 90;
	assert_int_equal(evict(&x, 20), 0);
	assert_int_equal(evict(&x, 10), 7);
	x.reserved = 0;
	cache_index_clear(&x);
	assert_int_equal(x.used, 0);
}

static void
test_busy_and_full_disk(void **state)
{
	struct cache_index x;
	struct cache_entry *e;

	(void)state;
	cache_index_init(&x, 100);
	add(&x, 1, 50);
	add(&x, 2, 50);
	find(&x, 1)->busy = 1;
	e = cache_index_victim(&x, 10, 0);
	assert_ptr_equal(e, find(&x, 2));
	cache_index_remove(&x, e);
	assert_null(cache_index_victim(&x, 60, 0));
	/* The limit has room, the file system has none. */
	assert_null(cache_index_victim(&x, 10, 0));
	find(&x, 1)->busy = 0;
	assert_ptr_equal(cache_index_victim(&x, 10, 1), find(&x, 1));
	cache_index_clear(&x);
}

static void
test_restart(void **state)
{
	struct cache_index x;
	struct hash h;

	(void)state;
	cache_index_init(&x, 100);
	add(&x, 9, 10); /* asked for before the scan has ended */
	h = name(2);
	cache_index_add(&x, &h, 10, 0, 1); /* younger first */
	h = name(1);
	cache_index_add(&x, &h, 10, 0, 1);
	assert_false(find(&x, 1)->verified);
	assert_true(find(&x, 9)->verified);
	x.limit = 10;
	assert_ptr_equal(cache_index_victim(&x, 0, 0), find(&x, 1));
	assert_int_equal(evict(&x, 0), 2);
	assert_non_null(find(&x, 9));
	cache_index_clear(&x);
}

/* Against a model: an array in the order of use. */
static void
test_random(void **state)
{
	unsigned int order[64] = { 0 }, n = 0, i, k, what, round;
	struct cache_index x;
	struct cache_entry *e;
	struct hash h;

	(void)state;
	seeded();
	cache_index_init(&x, 40);
	for (round = 0; round < 20000; round++) {
		what = (unsigned int)random() % 64;
		for (i = 0; i < n && order[i] != what; i++)
			;
		e = find(&x, what);
		assert_int_equal(e != NULL, i < n);
		if (e != NULL) {
			cache_index_touch(&x, e);
			memmove(&order[i], &order[i + 1],
			    (n - i - 1) * sizeof(order[0]));
			order[n - 1] = what;
			continue;
		}
		for (k = 0; n == 40; k++) {
			e = cache_index_victim(&x, 1, 0);
			assert_non_null(e);
			h = name(order[0]);
			assert_int_equal(hash_cmp(&h, &e->key), 0);
			cache_index_remove(&x, e);
			memmove(&order[0], &order[1], --n * sizeof(order[0]));
		}
		assert_null(cache_index_victim(&x, 1, 0));
		assert_non_null(add(&x, what, 1));
		order[n++] = what;
		assert_int_equal(x.used, n);
		assert_int_equal(x.files, n);
	}
	cache_index_clear(&x);
}

static struct cache_entry *
bundle_at(struct cache_index *x, unsigned int i, unsigned int first, uint16_t n,
    int oldest)
{
	struct cache_part *p = calloc(n, sizeof(*p));
	struct hash h = name(i);
	struct cache_entry *e = cache_index_add(x, &h, 10, 1, oldest);
	uint16_t k;

	assert_non_null(p);
	assert_non_null(e);
	for (k = 0; k < n; k++)
		p[k].key = name(first + k);
	cache_index_add_parts(x, e, p, n, oldest);
	return e;
}

static struct cache_entry *
bundle(struct cache_index *x, unsigned int i, unsigned int first, uint16_t n)
{
	return bundle_at(x, i, first, n, 0);
}

static struct cache_entry *
having(struct cache_index *x, unsigned int i)
{
	struct hash h = name(i);

	return cache_index_having(x, &h);
}

static void
test_bundles(void **state)
{
	struct cache_entry *a, *b, *c;
	struct cache_index x;

	(void)state;
	cache_index_init(&x, 100);
	a = bundle(&x, 1, 100, 10);
	b = bundle(&x, 2, 105, 10);
	c = add(&x, 100, 10);
	assert_ptr_equal(having(&x, 100), c); /* a file of its own first */
	assert_ptr_equal(having(&x, 101), a);
	assert_ptr_equal(having(&x, 105), b); /* the younger */
	assert_null(having(&x, 1));           /* its name is no chunk's */
	assert_null(having(&x, 115));
	cache_index_remove(&x, c);
	assert_ptr_equal(having(&x, 100), a);
	cache_index_remove(&x, a);
	assert_null(having(&x, 100));
	assert_ptr_equal(having(&x, 109), b);
	assert_int_equal(x.used, 10);
	cache_index_clear(&x);
	assert_null(having(&x, 105));
	assert_int_equal(x.used, 0);
}

/* Those from before come the youngest first, and behind what came since. */
static void
test_bundles_from_before(void **state)
{
	struct cache_entry *old, *older, *since;
	struct cache_index x;

	(void)state;
	cache_index_init(&x, 30);
	since = bundle(&x, 1, 100, 10);
	old = bundle_at(&x, 2, 105, 10, 1);
	older = bundle_at(&x, 3, 110, 10, 1);
	assert_ptr_equal(having(&x, 105), since);
	assert_ptr_equal(having(&x, 110), old);
	assert_ptr_equal(having(&x, 119), older);
	/* What is given up first takes none of theirs along. */
	assert_ptr_equal(cache_index_victim(&x, 1, 0), older);
	assert_int_equal(evict(&x, 1), 1);
	assert_null(having(&x, 119));
	assert_ptr_equal(having(&x, 110), old);
	assert_int_equal(evict(&x, 20), 1);
	assert_null(having(&x, 110));
	assert_ptr_equal(having(&x, 105), since);
	cache_index_clear(&x);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_bundles),
		cmocka_unit_test(test_bundles_from_before),
		cmocka_unit_test(test_busy_and_full_disk),
		cmocka_unit_test(test_restart),
		cmocka_unit_test(test_random),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
