/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * Look-ups of an answer that fuse died over are taken back when the request
 * comes again, once, and no others: not those of an answer that was written, nor
 * those of another request, nor one that was taken back before.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "sailvold/frontend.h"
#include "sailvold/given.h"
#include "sailvold/handle.h"
#include "sailvold/inode.h"

#define SLOTS 256
#define UNIQUE 1234

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
	given_open(0);
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
another_fuse(void)
{
	inode_close();
	assert_int_equal(inode_open(fd, SLOTS, 1), 0);
	handle_open_table(1);
	given_open(1);
}

static void
give(uint32_t idx)
{
	inode_ref(idx);
	given_note(idx);
}

/* Two look-ups: one before, one of the answer that is made. */
static uint32_t
known(const char *name)
{
	uint32_t idx = inode_new(INODE_ROOT, name, 1, 0);

	assert_int_not_equal(idx, 0);
	inode_ref(idx);
	return idx;
}

static uint32_t
count(uint32_t idx)
{
	return inode_slot(idx)->nlookup;
}

static void
taken_back(void **state)
{
	uint32_t i, many[100], old, was;
	uint64_t id;
	char name;

	(void)state;
	old = known("o");
	was = known("w");
	given_begin(UNIQUE - 1, 0);
	give(was);
	given_end();
	given_begin(UNIQUE, 0);
	give(old);
	for (i = 0; i < 100; i++) {
		name = (char)(i + 128);
		many[i] = inode_new(old, &name, 1, 0);
		give(many[i]);
	}
	id = inode_id(many[99]);
	another_fuse();
	/* Of others, and of one with that number which is a new one. */
	given_begin(UNIQUE - 1, 1);
	given_end();
	given_begin(UNIQUE, 0);
	given_end();
	assert_int_equal(count(old), 2);
	assert_int_equal(count(many[50]), 1);
	given_begin(UNIQUE, 1);
	assert_int_equal(count(old), 1);
	assert_int_equal(count(was), 2);
	assert_int_equal(inode_index(id), 0);
	for (i = 0; i < 100; i++)
		assert_false(inode_is(many[i]));
	given_end();
	/* It waited, and goes on. */
	given_begin(UNIQUE, 1);
	assert_int_equal(count(old), 1);
	give(old);
	given_end();
	another_fuse();
	given_begin(UNIQUE, 1);
	assert_int_equal(count(old), 2);
	given_end();
}

/* It is answered; or what it gave it took back, because the kernel did not want
   it. */
static void
nothing_left(void **state)
{
	uint32_t a = known("a"), b = known("b");

	(void)state;
	given_begin(UNIQUE, 0);
	give(a);
	give(b);
	node_forget(inode_id(b), 1);
	given_drop(a); /* as far as given_end() came */
	another_fuse();
	given_begin(UNIQUE, 1);
	assert_int_equal(count(a), 2);
	assert_int_equal(count(b), 1);
	given_end();
}

/* Door and root are not counted. */
static void
always_there(void **state)
{
	uint32_t n = count(INODE_ROOT);

	(void)state;
	given_begin(UNIQUE, 0);
	given_note(INODE_ROOT);
	another_fuse();
	given_begin(UNIQUE, 1);
	given_end();
	assert_int_equal(count(INODE_ROOT), n);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(taken_back, fresh, gone),
		cmocka_unit_test_setup_teardown(nothing_left, fresh, gone),
		cmocka_unit_test_setup_teardown(always_there, fresh, gone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
