/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * The inode table says after a takeover what it said before, a node id that was
 * forgotten never comes back as another thing, and a table that was tampered
 * with is not followed anywhere.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "lib/hash.h"
#include "sailvold/handle.h"
#include "sailvold/inode.h"

#define SLOTS 256
#define TRIES 20000

static int fd = -1;

static int
fresh(void **state)
{
	(void)state;
	fd = memfd_create("table", MFD_CLOEXEC);
	assert_int_not_equal(fd, -1);
	assert_int_equal(ftruncate(fd, (off_t)table_bytes(SLOTS)), 0);
	assert_int_equal(inode_open(fd, SLOTS, 0), 0);
	handle_open_table(0);
	return 0;
}

static int
gone(void **state)
{
	(void)state;
	inode_close();
	close(fd);
	return 0;
}

static void
again(void)
{
	inode_close();
	assert_int_equal(inode_open(fd, SLOTS, 1), 0);
	handle_open_table(1);
}

static void
names_and_numbers(void **state)
{
	uint64_t id, id2, obj;
	uint32_t a, b, c;
	size_t len;

	(void)state;
	a = inode_new(INODE_ROOT, "dir", 3, 0);
	b = inode_new(a, "file", 4, 0);
	c = inode_new(a, "object", 6, 77);
	inode_ref(a);
	inode_ref(b);
	inode_ref(c);
	id = inode_id(b);
	obj = inode_id(c);
	assert_int_equal(inode_by_name(INODE_ROOT, "dir", 3), a);
	assert_int_equal(inode_by_name(a, "file", 4), b);
	assert_int_equal(inode_by_ovl(77), c);
	again();
	assert_int_equal(inode_index(id), b);
	assert_int_equal(inode_by_name(a, "file", 4), b);
	assert_int_equal(inode_by_ovl(77), c);
	assert_memory_equal(inode_name(b, &len), "file", 4);
	/* A directory is not let go while something below it is known. */
	assert_int_equal(inode_forget(a, 1), 1);
	assert_int_equal(inode_try_free(a), 0);
	assert_int_equal(inode_rename(b, INODE_ROOT, "other", 5), 0);
	assert_int_equal(inode_by_name(a, "file", 4), 0);
	assert_int_equal(inode_by_name(INODE_ROOT, "other", 5), b);
	/* The id of a slot that is used again is another one. */
	assert_int_equal(inode_forget(b, 1), 1);
	assert_int_equal(inode_try_free(b), 1);
	assert_int_equal(inode_index(id), 0);
	assert_int_equal(inode_new(INODE_ROOT, "new", 3, 0), b);
	id2 = inode_id(b);
	assert_int_not_equal(id, id2);
	assert_int_equal(inode_index(id), 0);
	assert_int_equal(inode_index(obj), c);
}

static void
kinds(void **state)
{
	uint8_t commit[HASH_LEN];
	uint32_t a;
	size_t len;

	(void)state;
	memset(commit, 9, sizeof(commit));
	a = inode_new(INODE_ROOT, "f", 1, 0);
	inode_ref(a);
	inode_set_ovl(a, 5);
	assert_int_equal(inode_by_ovl(5), a);
	inode_set_named(a);
	assert_int_equal(inode_by_ovl(5), 0);
	assert_int_equal(inode_by_name(INODE_ROOT, "f", 1), a);
	assert_int_equal(inode_detach(a, commit, "x/y", 3), 0);
	assert_int_equal(inode_by_name(INODE_ROOT, "f", 1), 0);
	again();
	assert_int_equal(inode_slot(a)->kind, INODE_DETACHED);
	assert_memory_equal(inode_name(a, &len) + HASH_LEN, "x/y", 3);
	assert_int_equal(len, HASH_LEN + 3);
	inode_make_stale(a);
	assert_int_equal(inode_slot(a)->kind, INODE_STALE);
}

static void
full(void **state)
{
	uint32_t i, n = 0;
	char name[256];

	(void)state;
	for (i = 0; i < SLOTS + 10; i++) {
		snprintf(name, sizeof(name), "name%u", i);
		if (inode_new(INODE_ROOT, name, strlen(name), 0) != 0)
			n++;
	}
	assert_int_equal(n, SLOTS - INODE_FIRST);
	/* Long names run out of room before slots do, and give it back. */
	for (i = INODE_FIRST; i < SLOTS; i++)
		inode_try_free(i);
	memset(name, 'x', 255);
	for (n = 0; inode_new(INODE_ROOT, name, 255, 0) != 0; n++)
		;
	assert_true(n >= 10 && n < SLOTS);
	for (i = INODE_FIRST; i < SLOTS; i++)
		inode_try_free(i);
	for (i = 0; inode_new(INODE_ROOT, name, 255, 0) != 0; i++)
		;
	assert_int_equal(i, n);
}

static void
handles(void **state)
{
	uint64_t r, w, d;
	uint32_t a;

	(void)state;
	a = inode_new(INODE_ROOT, "f", 1, 3);
	r = handle_new(HANDLE_FILE, a, 0, 100, 0);
	w = handle_new(HANDLE_FILE, a, 2, 101, 0);
	d = handle_new(HANDLE_DIR, INODE_ROOT, 0, 102, 0);
	assert_int_equal(inode_priv(a)->opens, 2);
	assert_int_equal(inode_priv(a)->writers, 1);
	again();
	assert_int_equal(inode_priv(a)->opens, 2);
	assert_int_equal(inode_priv(a)->writers, 1);
	assert_int_equal(handle_by_unique(101, HANDLE_FILE), w);
	assert_int_equal(handle_by_unique(101, HANDLE_DIR), 0);
	handle_free(w);
	assert_null(handle_get(w));
	assert_int_equal(inode_priv(a)->writers, 0);
	assert_non_null(handle_get(r));
	assert_non_null(handle_get(d));
	assert_int_equal(inode_try_free(a), 0);
}

/* Who makes a file asks first: it is not left behind where none fits. */
static void
no_room(void **state)
{
	uint64_t fh = 0, last = 0;
	uint32_t n = 0;

	(void)state;
	while (handle_room()) {
		fh = handle_new(HANDLE_DIR, INODE_ROOT, 0, 1, 0);
		assert_int_not_equal(fh, 0);
		n++;
	}
	last = fh;
	assert_int_equal(n, table_handles(SLOTS));
	assert_int_equal(handle_new(HANDLE_DIR, INODE_ROOT, 0, 1, 0), 0);
	assert_int_equal(errno, ENFILE);
	handle_free(last);
	assert_int_equal(handle_room(), 1);
}

/* Whatever stands in the table: it is taken over, or the process ends. */
static void
tampered(void **state)
{
	uint8_t commit[HASH_LEN] = { 0 };
	unsigned int seed = (unsigned int)time(NULL);
	uint8_t *map, *copy;
	size_t bytes = table_bytes(SLOTS), len;
	char name[16];
	uint32_t i, idx;
	int try;

	(void)state;
	if (getenv("SEED") != NULL)
		seed = (unsigned int)strtoul(getenv("SEED"), NULL, 10);
	printf("SEED=%u\n", seed);
	srandom(seed);
	for (i = 0; i < 40; i++) {
		snprintf(name, sizeof(name), "n%u", i);
		idx = inode_new(i < 4 ? INODE_ROOT : INODE_FIRST + i / 4, name,
		    strlen(name), i % 3 == 0 ? i + 2 : 0);
		if (i > 35)
			inode_detach(idx, commit, "a/b", 3);
		handle_new(HANDLE_FILE, idx, i % 3, i, 0);
	}
	map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(map, MAP_FAILED);
	copy = malloc(bytes);
	assert_non_null(copy);
	memcpy(copy, map, bytes);
	for (try = 0; try < TRIES; try++) {
		/* Slots, handles, names; the header ends the process. */
		for (i = 0; i < 4; i++)
			map[4096 + (size_t)random() % (48 * 60)] =
			    (uint8_t)random();
		map[4096 + SLOTS * 48 + (size_t)random() % (48 * 50)] =
		    (uint8_t)random();
		again();
		for (i = INODE_FIRST; i < 60; i++) {
			if (inode_slot(i)->kind == INODE_FREE)
				continue;
			(void)inode_name(i, &len);
			if (len > 0 && inode_slot(i)->kind != INODE_STALE)
				(void)inode_by_name(inode_slot(i)->parent,
				    inode_name(i, &len), len);
			inode_make_stale(i);
		}
		memcpy(map, copy, bytes);
	}
	free(copy);
	munmap(map, bytes);
	again();
}

/* A table of its own, as large as a mount's may be. */
static void
fresh_of(uint32_t slots)
{
	gone(NULL);
	fd = memfd_create("table", MFD_CLOEXEC);
	assert_int_not_equal(fd, -1);
	assert_int_equal(ftruncate(fd, (off_t)table_bytes(slots)), 0);
	assert_int_equal(inode_open(fd, slots, 0), 0);
}

static uint32_t
new_number(uint32_t i)
{
	char name[16];

	snprintf(name, sizeof(name), "%u", i);
	return inode_new(INODE_ROOT, name, strlen(name), 1000 + i);
}

static void
check_number(uint32_t i, uint32_t want)
{
	char name[16];

	snprintf(name, sizeof(name), "%u", i);
	assert_int_equal(inode_by_name(INODE_ROOT, name, strlen(name)), want);
	assert_int_equal(inode_by_ovl(1000 + i), want);
}

/* All are found while the table fills, empties, and is taken over. */
static void
many(void **state)
{
	enum { N = 5000 };
	static uint32_t idx[N];
	uint32_t i, k;

	(void)state;
	fresh_of(2 * N);
	for (i = 0; i < N; i++) {
		assert_int_not_equal(idx[i] = new_number(i), 0);
		inode_ref(idx[i]);
		check_number(i / 2, idx[i / 2]);
	}
	for (i = 0; i < N; i++)
		check_number(i, idx[i]);
	for (i = 0; i < N; i += 3) {
		inode_forget(idx[i], 1);
		assert_int_equal(inode_try_free(idx[i]), 1);
		idx[i] = 0;
	}
	for (k = 0; k < 2; k++) {
		for (i = 0; i < N; i++)
			check_number(i, idx[i]);
		inode_close();
		assert_int_equal(inode_open(fd, 2 * N, 1), 0);
	}
}

static long
resident_kib(void)
{
	long all, here = 0;
	FILE *f = fopen("/proc/self/statm", "re");

	assert_non_null(f);
	assert_int_equal(fscanf(f, "%ld %ld", &all, &here), 2);
	fclose(f);
	return here * (sysconf(_SC_PAGESIZE) / 1024);
}

/* Things that come and go take no memory with time, however large the table. */
static void
churn(void **state)
{
	enum { SOME = 100, ROUNDS = 200000 };
	uint32_t live[SOME] = { 0 }, i;
	long before = 0;

	(void)state;
	fresh_of(4 << 20);
	for (i = 0; i < ROUNDS; i++) {
		if (live[i % SOME] != 0)
			assert_int_equal(inode_try_free(live[i % SOME]), 1);
		live[i % SOME] = new_number(i);
		assert_int_not_equal(live[i % SOME], 0);
		if (i == SOME * 10)
			before = resident_kib();
	}
	assert_in_range(resident_kib() - before, 0, 256);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(names_and_numbers, fresh, gone),
		cmocka_unit_test_setup_teardown(kinds, fresh, gone),
		cmocka_unit_test_setup_teardown(full, fresh, gone),
		cmocka_unit_test_setup_teardown(handles, fresh, gone),
		cmocka_unit_test_setup_teardown(no_room, fresh, gone),
		cmocka_unit_test_setup_teardown(tampered, fresh, gone),
		cmocka_unit_test_setup_teardown(many, fresh, gone),
		cmocka_unit_test_setup_teardown(churn, fresh, gone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
