/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * Claim: a mount holds so many bundles and bytes and no more, those that were
 * used last; a list that does not fit its file is refused, whatever is in it.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/memfd.h"
#include "sailvold/bundle.h"

static struct fetch_bundle list;
static int memory;
static off_t at;

static struct hash
name(unsigned int i)
{
	struct hash h;

	hash_bytes(&h, &i, sizeof(i));
	return h;
}

/* n chunks, from that one on, of a file of that size. */
static int
take(unsigned int first, uint16_t n, size_t size)
{
	uint8_t *data = calloc(1, size);
	uint16_t i;
	int fd;

	assert_non_null(data);
	list.n = n;
	for (i = 0; i < n; i++) {
		list.chunks[i].hash = name(first + i);
		list.chunks[i].offset = i * 10u;
		list.chunks[i].bytes = 10;
	}
	fd = memfd_new("test", data, size);
	free(data);
	assert_int_not_equal(fd, -1);
	return bundle_take(&list, fd);
}

static int
has(unsigned int i)
{
	struct hash h = name(i);
	int fd;

	return bundle_find(&h, 10, &fd, &at, &memory);
}

static void
test_find(void **state)
{
	struct hash h = name(7);
	unsigned int i;
	int fd;

	(void)state;
	assert_int_equal(take(0, FETCH_BUNDLE_MAX, 10 * FETCH_BUNDLE_MAX), 0);
	for (i = 0; i < FETCH_BUNDLE_MAX; i++) {
		assert_true(has(i));
		assert_int_equal(at, i * 10);
		assert_true(memory);
	}
	assert_false(has(FETCH_BUNDLE_MAX));
	/* The hash of a chunk of another length is none. */
	assert_false(bundle_find(&h, 11, &fd, &at, &memory));
	/* The same once more is one. */
	assert_int_equal(take(0, FETCH_BUNDLE_MAX, 10 * FETCH_BUNDLE_MAX), 0);
	assert_int_equal(bundle_count(), 1);
	bundle_tidy();
	assert_int_equal(bundle_count(), 1);
	bundle_drop_all();
	assert_int_equal(bundle_count(), 0);
	assert_false(has(7));
}

/* Once, and only of one of many; looking is no use. */
static void
test_half(void **state)
{
	struct hash h = name(3);
	unsigned int i;

	(void)state;
	(void)bundle_ran_half(); /* of another test */
	assert_int_equal(take(0, BUNDLE_MANY, 1000), 0);
	assert_int_equal(take(1000, BUNDLE_MANY - 1, 1000), 0);
	for (i = 0; i < BUNDLE_MANY; i++) {
		assert_true(bundle_has(&h, 10));
		assert_false(bundle_has(&h, 9));
		assert_true(has(i));
		assert_int_equal(bundle_ran_half(), i + 1 == BUNDLE_MANY / 2);
	}
	for (i = 0; i < BUNDLE_MANY - 1; i++) {
		assert_true(has(1000 + i));
		assert_false(bundle_ran_half());
	}
	bundle_drop_all();
}

static void
test_bounds(void **state)
{
	unsigned int i;

	(void)state;
	for (i = 0; i < BUNDLES_MAX; i++)
		assert_int_equal(take(100 * i, 5, 50), 0);
	assert_true(has(0));
	assert_int_equal(take(9000, 5, 50), 0);
	assert_int_equal(bundle_count(), BUNDLES_MAX);
	assert_true(has(0)); /* used since */
	assert_false(has(100));
	assert_true(has(200));
	/* Bytes: of files, whatever of them the chunks are. */
	for (i = 0; i < 2 * BUNDLES_BYTES / FETCH_BUNDLE_BYTES; i++)
		assert_int_equal(take(100000 + i, 1, FETCH_BUNDLE_BYTES), 0);
	assert_int_equal(bundle_count(), BUNDLES_BYTES / FETCH_BUNDLE_BYTES);
	assert_true(has(100000 + i - 1));
	bundle_drop_all();
}

static void
test_hostile(void **state)
{
	uint16_t i;
	int p[2];

	(void)state;
	assert_int_equal(take(0, 5, 49), -1);
	assert_int_equal(errno, EIO);
	assert_int_equal(take(0, 1, 2 * (size_t)FETCH_BUNDLE_BYTES + 1), -1);
	assert_int_equal(errno, EBADMSG);
	/* Not a file at all. */
	assert_int_equal(pipe(p), 0);
	close(p[1]);
	assert_int_equal(bundle_take(&list, p[0]), -1);
	assert_int_equal(fcntl(p[0], F_GETFD), -1); /* taken */
	assert_int_equal(bundle_count(), 0);
	/* All in one place of the table, and all the same. */
	list.n = FETCH_BUNDLE_MAX;
	for (i = 0; i < list.n; i++) {
		memset(&list.chunks[i], 0, sizeof(list.chunks[i]));
		list.chunks[i].bytes = 1;
		list.chunks[i].hash.b[31] = i & 1;
	}
	assert_int_equal(bundle_take(&list, memfd_new("test", "x", 1)), 0);
	assert_false(has(3));
	bundle_drop_all();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_find),
		cmocka_unit_test(test_half),
		cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_hostile),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
