/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * A change of names that fuse was killed in is finished by the next, and what
 * lost its name is asked for before anything is answered, also when the next is
 * killed before it could.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "lib/hash.h"
#include "sailvold/frontend.h"
#include "sailvold/journal.h"

#define SLOTS 256

static int fd = -1;
static struct record in_journal; /* type 0: there is none */
static uint32_t asked[4];        /* slots */
static unsigned int nasked;
static int parent_waits; /* the directory must be asked for first */

/* ---- in place of the journal, and of what knows where content is --------------- */

void
journal_since(uint64_t before, void (*f)(const struct record *, void *),
    void *arg)
{
	(void)before;
	if (in_journal.type != 0)
		f(&in_journal, arg);
}

int
node_get_slot(uint32_t idx, struct vn **vn)
{
	static const uint8_t commit[HASH_LEN] = { 1 };
	unsigned int i;

	*vn = NULL;
	if (parent_waits)
		return E_WAIT;
	for (i = 0; i < nasked; i++)
		if (asked[i] == idx)
			return 0;
	assert_true(nasked < 4);
	asked[nasked++] = idx;
	assert_int_equal(inode_slot(idx)->kind, INODE_NAMED);
	assert_int_equal(inode_detach(idx, commit, "n", 1), 0);
	return E_WAIT;
}

/* ---- kills --------------------------------------------------------------------- */

static int
fresh(void **state)
{
	(void)state;
	fd = memfd_create("table", MFD_CLOEXEC);
	assert_int_not_equal(fd, -1);
	assert_int_equal(ftruncate(fd, (off_t)table_bytes(SLOTS)), 0);
	assert_int_equal(inode_open(fd, SLOTS, 0), 0);
	memset(&in_journal, 0, sizeof(in_journal));
	nasked = 0;
	parent_waits = 0;
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

/* Killed when the removal of a clean thing stood in the journal. */
static uint32_t
cut_short(const char *name)
{
	struct inode_move m = { .before = 7, .from = INODE_ROOT };

	m.moved = inode_new(INODE_ROOT, name, strlen(name), 0);
	inode_ref(m.moved);
	inode_move_begin(&m);
	in_journal.type = RECORD_REMOVE;
	in_journal.name = (const uint8_t *)name;
	in_journal.name_len = strlen(name);
	return m.moved;
}

static void
take_over(void)
{
	inode_close();
	assert_int_equal(inode_open(fd, SLOTS, 1), 0);
}

static void
starts(void)
{
	take_over();
	torn_mend();
}

/* A process that is killed as soon as it has started: what it knew is gone. */
static void
starts_and_dies(void)
{
	pid_t pid;
	int status;

	if ((pid = fork()) == 0) {
		inode_close();
		if (inode_open(fd, SLOTS, 1) == -1)
			_exit(1);
		torn_mend();
		_exit(0);
	}
	assert_int_not_equal(pid, -1);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	take_over();
}

static void
waits_once(void **state)
{
	uint32_t a;

	(void)state;
	a = cut_short("a");
	starts();
	assert_int_equal(inode_by_name(INODE_ROOT, "a", 1), 0);
	assert_int_equal(torn_wait(), E_WAIT);
	assert_int_equal(nasked, 1);
	assert_int_equal(asked[0], a);
	assert_int_equal(torn_wait(), 0);
}

/* It was open, and became an object by that: it is found by its number. */
static void
open_one(void **state)
{
	uint32_t a;

	(void)state;
	a = cut_short("a");
	in_journal.ovl = 77;
	starts();
	assert_int_equal(inode_by_name(INODE_ROOT, "a", 1), 0);
	assert_int_equal(inode_by_ovl(77), a);
	assert_int_equal(torn_wait(), 0);
	assert_int_equal(nasked, 0);
}

static void
killed_again(void **state)
{
	uint32_t a;

	(void)state;
	a = cut_short("a");
	starts_and_dies();
	starts();
	assert_int_equal(torn_wait(), E_WAIT);
	assert_int_equal(nasked, 1);
	assert_int_equal(asked[0], a);
	assert_int_equal(torn_wait(), 0);
	/* The table says where it is. */
	starts();
	assert_int_equal(torn_wait(), 0);
}

static void
killed_while_asking(void **state)
{
	uint32_t a;

	(void)state;
	a = cut_short("a");
	parent_waits = 1;
	starts_and_dies();
	starts();
	assert_int_equal(torn_wait(), E_WAIT);
	starts();
	assert_int_equal(torn_wait(), E_WAIT);
	assert_int_equal(nasked, 0);
	parent_waits = 0;
	assert_int_equal(torn_wait(), E_WAIT);
	assert_int_equal(asked[0], a);
	assert_int_equal(torn_wait(), 0);
}

/* Another change is cut short before what the first left was asked for. */
static void
two(void **state)
{
	uint32_t a, b;

	(void)state;
	a = cut_short("a");
	starts_and_dies();
	b = cut_short("b");
	starts();
	assert_int_equal(torn_wait(), E_WAIT);
	assert_int_equal(torn_wait(), E_WAIT);
	assert_int_equal(torn_wait(), 0);
	assert_int_equal(nasked, 2);
	assert_int_equal(asked[0], a);
	assert_int_equal(asked[1], b);
}

static void
gone_meanwhile(void **state)
{
	uint32_t a;

	(void)state;
	a = cut_short("a");
	starts_and_dies();
	starts();
	inode_make_stale(a);
	assert_int_equal(torn_wait(), 0);
	assert_int_equal(nasked, 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, fresh, gone)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(waits_once),
		TEST(open_one),
		TEST(killed_again),
		TEST(killed_while_asking),
		TEST(two),
		TEST(gone_meanwhile),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
