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
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "lib/hash.h"
#include "regress/unit/seed.h"
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
again_of(uint32_t slots)
{
	inode_close();
	assert_int_equal(inode_open(fd, slots, 1), 0);
	handle_open_table(1);
}

static void
again(void)
{
	again_of(SLOTS);
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

/* The one after it hears of which base the names are; nobody said so at first. */
static void
base(void **state)
{
	uint8_t commit[HASH_LEN], got[HASH_LEN];

	(void)state;
	assert_int_equal(inode_base(got), 0);
	memset(commit, 7, sizeof(commit));
	inode_set_base(UINT64_MAX, commit);
	again();
	assert_true(inode_base(got) == UINT64_MAX);
	assert_memory_equal(got, commit, sizeof(got));
}

/* A change of names that a kill has cut short anywhere. */
static void
moving(void **state)
{
	struct inode_move m = { .before = 7, .from = INODE_ROOT };
	uint32_t a, b;

	(void)state;
	a = inode_new(INODE_ROOT, "a", 1, 0);
	b = inode_new(INODE_ROOT, "b", 1, 0);
	inode_ref(a);
	inode_ref(b);
	m.moved = a;
	inode_move_begin(&m);
	/* Between two names, as of nothing that is not being moved. */
	inode_unname(a);
	inode_unname(b);
	again();
	assert_int_equal(inode_slot(a)->kind, INODE_NAMED);
	assert_int_equal(inode_slot(b)->kind, INODE_STALE);
	assert_non_null(inode_move_open());
	assert_int_equal(inode_move_open()->moved, a);
	assert_int_equal(inode_move_open()->before, 7);
	assert_int_equal(inode_rename(a, INODE_ROOT, "c", 1), 0);
	inode_move_end();
	inode_set_removed(a);
	again();
	assert_null(inode_move_open());
	assert_int_equal(inode_slot(a)->kind, INODE_NAMED);
	assert_int_equal(inode_by_name(INODE_ROOT, "c", 1), 0);
	b = inode_new(INODE_ROOT, "c", 1, 0);
	assert_int_equal(inode_by_name(INODE_ROOT, "c", 1), b);
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
	/* What they leave is cut up for short ones. */
	for (i = INODE_FIRST; i < SLOTS; i++)
		inode_try_free(i);
	for (i = INODE_FIRST; i < SLOTS; i++) {
		snprintf(name, sizeof(name), "short%u", i);
		assert_int_not_equal(inode_new(INODE_ROOT, name, strlen(name),
					 0),
		    0);
	}
	for (i = INODE_FIRST; i < SLOTS; i++) {
		snprintf(name, sizeof(name), "short%u", i);
		assert_int_not_equal(inode_by_name(INODE_ROOT, name,
					 strlen(name)),
		    0);
	}
}

/* More look-ups than can be counted: it stays, whatever is taken back. */
static void
lookups(void **state)
{
	uint32_t a;

	(void)state;
	a = inode_new(INODE_ROOT, "f", 1, 0);
	inode_slot(a)->nlookup = INODE_LOOKUPS_MAX - 1;
	assert_int_equal(inode_forget(a, INODE_LOOKUPS_MAX - 1), 1);
	inode_slot(a)->nlookup = INODE_LOOKUPS_MAX - 1;
	inode_ref(a);
	inode_ref(a);
	inode_ref(a);
	assert_int_equal(inode_forget(a, INODE_LOOKUPS_MAX), 0);
	assert_int_equal(inode_forget(a, 2), 0);
	assert_int_equal(inode_try_free(a), 0);
	assert_int_equal(inode_by_name(INODE_ROOT, "f", 1), a);
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
	d = handle_new(HANDLE_INFO, INODE_ROOT, 0, 102, 0);
	assert_int_equal(inode_opens(a), 2);
	assert_int_equal(inode_writers(a), 1);
	again();
	assert_int_equal(inode_opens(a), 2);
	assert_int_equal(inode_writers(a), 1);
	assert_int_equal(handle_by_unique(101, HANDLE_FILE), w);
	assert_int_equal(handle_by_unique(101, HANDLE_INFO), 0);
	handle_free(w);
	assert_null(handle_get(w));
	assert_int_equal(inode_writers(a), 0);
	assert_non_null(handle_get(r));
	assert_non_null(handle_get(d));
	assert_int_equal(inode_try_free(a), 0);
	/* One of a slot that was never used, and so is not looked at. */
	inode_slot(SLOTS - 1)->kind = INODE_NAMED;
	inode_slot(SLOTS - 1)->name_len = 5;
	inode_slot(SLOTS - 1)->name_off = UINT32_MAX;
	handle_get(r)->inode = SLOTS - 1;
	again();
	assert_null(handle_get(r));
	assert_non_null(handle_get(d));
}

/*
 * How a file is open lasts as long as its handles, also over a takeover, and
 * pages from before a time of passthrough are dropped by all plain opens until
 * the last of them has gone.
 */
static void
modes(void **state)
{
	uint64_t one, two;
	uint32_t a, b;

	(void)state;
	a = inode_new(INODE_ROOT, "f", 1, 3);
	b = inode_new(INODE_ROOT, "g", 1, 4);
	inode_set_mode(a, MODE_PASSTHROUGH);
	one = handle_new(HANDLE_FILE, a, 2, 100, 0);
	two = handle_new(HANDLE_FILE, a, 0, 101, 0);
	/* Its process died before there was a handle. */
	inode_set_mode(b, MODE_PLAIN);
	assert_int_equal(inode_passthrough(), 1);
	again();
	assert_int_equal(inode_passthrough(), 1);
	assert_int_equal(inode_slot(a)->mode, MODE_PASSTHROUGH);
	assert_int_equal(inode_slot(b)->mode, MODE_NONE);
	handle_free(one);
	assert_int_equal(inode_slot(a)->mode, MODE_PASSTHROUGH);
	handle_free(two);
	assert_int_equal(inode_slot(a)->mode, MODE_NONE);
	assert_int_equal(inode_passthrough(), 0);
	assert_true(inode_slot(a)->flags & INODE_PAGES);
	inode_set_mode(a, MODE_PLAIN);
	one = handle_new(HANDLE_FILE, a, 0, 102, 0);
	two = handle_new(HANDLE_FILE, a, 0, 103, 0);
	handle_free(one);
	assert_true(inode_slot(a)->flags & INODE_PAGES);
	handle_free(two);
	assert_false(inode_slot(a)->flags & INODE_PAGES);
	/* What has no overlay file cannot be passed through. */
	inode_set_mode(a, MODE_PASSTHROUGH);
	one = handle_new(HANDLE_FILE, a, 0, 104, 0);
	inode_set_named(a);
	again();
	assert_int_equal(inode_slot(a)->mode, MODE_PLAIN);
	assert_int_equal(inode_passthrough(), 0);
	/* A slot that is used again begins anew. */
	handle_free(one);
	assert_int_equal(inode_try_free(a), 1);
	assert_int_equal(inode_new(INODE_ROOT, "h", 1, 9), a);
	assert_int_equal(inode_slot(a)->flags, 0);
	assert_int_equal(inode_slot(a)->mode, MODE_NONE);
}

/* Who makes a file asks first: it is not left behind where none fits. */
static void
no_room(void **state)
{
	uint64_t fh = 0, last = 0;
	uint32_t n = 0;

	(void)state;
	while (handle_room()) {
		fh = handle_new(HANDLE_INFO, INODE_ROOT, 0, 1, 0);
		assert_int_not_equal(fh, 0);
		n++;
	}
	last = fh;
	assert_int_equal(n, table_handles(SLOTS));
	assert_int_equal(handle_new(HANDLE_INFO, INODE_ROOT, 0, 1, 0), 0);
	assert_int_equal(errno, ENFILE);
	handle_free(last);
	assert_int_equal(handle_room(), 1);
}

static uint32_t
long_name(uint32_t i, size_t len)
{
	char name[256];

	memset(name, 'x', sizeof(name));
	snprintf(name, sizeof(name), "%06u", i);
	name[6] = 'x';
	return inode_new(INODE_ROOT, name, len, 0);
}

/* Room that names left is used again after a takeover, wherever it lies. */
static void
room(void **state)
{
	uint32_t i, n, last = 0, all;

	(void)state;
	for (all = 0; (i = long_name(all, 255)) != 0; all++)
		last = i;
	assert_int_equal(errno, ENOSPC);
	for (i = INODE_FIRST; i < last; i++)
		assert_int_equal(inode_try_free(i), 1);
	again();
	for (n = 0; (i = long_name(n, 255)) != 0; n++)
		;
	assert_int_equal(n, all - 1);
	/* Every second one goes, and shorter ones get what it had. */
	for (i = INODE_FIRST; i < last; i += 2)
		assert_int_equal(inode_try_free(i), 1);
	again();
	for (n = 0; n < all / 2 * 6; n++)
		assert_int_not_equal(long_name(n, 40), 0);
}

/*
 * However often the process dies: names that take a third of the room, and come
 * and go, always find some.
 */
static void
room_always(void **state)
{
	enum { LIVE = 30, ROUNDS = 2000, CHANGES = 20 };
	unsigned int round, k;
	uint32_t live[LIVE] = { 0 }, i = 0;
	size_t len;

	(void)state;
	seeded();
	for (round = 0; round < ROUNDS; round++) {
		for (k = 0; k < CHANGES; k++, i++) {
			if (live[i % LIVE] != 0)
				inode_try_free(live[i % LIVE]);
			len = 7 + (size_t)random() % 80;
			live[i % LIVE] = long_name(i, len);
			assert_int_not_equal(live[i % LIVE], 0);
		}
		again();
		for (k = 0; k < LIVE && k < i; k++) {
			assert_int_equal(inode_slot(live[k])->kind,
			    INODE_NAMED);
			assert_memory_equal(inode_name(live[k], &len), "0", 1);
		}
	}
}

/* Two slots never have the same bytes as their names. */
static void
overlap(void **state)
{
	uint32_t a, b, c, d;

	(void)state;
	a = inode_new(INODE_ROOT, "aaaaaaaa", 8, 0);
	b = inode_new(INODE_ROOT, "bbbbbbbb", 8, 0);
	c = inode_new(INODE_ROOT, "cccc", 4, 0);
	d = inode_new(INODE_ROOT, "dddd", 4, 0);
	inode_slot(b)->name_off = inode_slot(a)->name_off + 1;
	inode_slot(d)->name_off = inode_slot(d)->name_off + 1; /* above all */
	again();
	assert_int_equal(inode_by_name(INODE_ROOT, "aaaaaaaa", 8), a);
	assert_int_equal(inode_by_name(INODE_ROOT, "cccc", 4), c);
	assert_int_equal(inode_slot(b)->kind, INODE_STALE);
	assert_int_equal(inode_slot(b)->name_len, 0);
	assert_int_equal(inode_slot(d)->kind, INODE_STALE);
	/* What is free then is nobody's. */
	assert_int_not_equal(inode_new(INODE_ROOT, "eeee", 4, 0), 0);
	assert_int_not_equal(inode_new(INODE_ROOT, "ffffffff", 8, 0), 0);
	assert_int_equal(inode_by_name(INODE_ROOT, "aaaaaaaa", 8), a);
	assert_int_equal(inode_by_name(INODE_ROOT, "cccc", 4), c);
}

/* Whatever stands in the table: it is taken over, or the process ends. */
static void
tampered(void **state)
{
	uint8_t commit[HASH_LEN] = { 0 };
	uint8_t *map, *copy;
	size_t bytes = table_bytes(SLOTS), len;
	char name[16];
	uint32_t i, idx;
	int try;

	(void)state;
	seeded();
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
			map[4096 + (size_t)random() % (32 * 60)] =
			    (uint8_t)random();
		map[4096 + SLOTS * 32 + (size_t)random() % (48 * 50)] =
		    (uint8_t)random();
		again();
		for (i = INODE_FIRST; i < 60; i++) {
			if (!inode_is(i))
				continue;
			(void)inode_name(i, &len);
			assert_true(inode_slot(i)->parent < SLOTS);
			if (len > 0 && inode_slot(i)->kind != INODE_STALE)
				(void)inode_by_name(inode_slot(i)->parent,
				    inode_name(i, &len), len);
			inode_make_stale(i);
		}
		/* What they leave is used again. */
		for (i = 0; i < 40; i++) {
			memset(name, (int)random(), sizeof(name));
			idx = inode_new(INODE_ROOT, name,
			    1 + (size_t)random() % sizeof(name), 0);
			if (idx != 0 && random() % 2)
				inode_try_free(idx);
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

/*
 * A file that the kernel has looked up, and that nothing else is known of,
 * takes 32 bytes, its name, and 12 that are private; a takeover takes no more.
 */
static void
memory(void **state)
{
#ifdef __SANITIZE_ADDRESS__
	/* Its shadow is an eighth of what is touched. */
	enum { N = 200000, OPEN = 100, MAX_KIB = N * 60 / 1024 * 9 / 8 };
#else
	enum { N = 200000, OPEN = 100, MAX_KIB = N * 60 / 1024 };
#endif
	uint32_t i, idx;
	char name[16];
	long before;

	(void)state;
	fresh_of(4 << 20);
	handle_open_table(0);
	before = resident_kib();
	for (i = 0; i < N; i++) {
		snprintf(name, sizeof(name), "name-%06u", i);
		idx = inode_new(INODE_ROOT, name, 11, 0);
		assert_int_not_equal(idx, 0);
		inode_ref(idx);
		if (i < OPEN)
			assert_int_not_equal(handle_new(HANDLE_FILE, idx, 0, i,
						 0),
			    0);
	}
	assert_in_range(resident_kib() - before, 0, MAX_KIB);
	again_of(4 << 20);
	assert_in_range(resident_kib() - before, 0, MAX_KIB);
	assert_int_equal(inode_by_name(INODE_ROOT, name, 11), idx);
}

/* ---- each moment at which a process may die ---------------------------------- */

static const uint8_t a_commit[HASH_LEN] = { 7 };

static void
to_detached(uint32_t idx)
{
	(void)inode_detach(idx, a_commit, "some/path", 9);
}

/* After each instruction of f, the table is as before it or as behind it. */
static void
step_through(uint32_t idx, void (*f)(uint32_t), uint8_t behind)
{
	size_t len, bytes = table_bytes(SLOTS);
	uint8_t *map, *was, kind;
	unsigned int before = 0, states = 0;
	int status, mine = fd, copy;
	const uint8_t *name;
	pid_t pid;

	if ((pid = fork()) == 0) {
		if (ptrace(PTRACE_TRACEME, 0, 0, 0) == -1)
			_exit(1);
		raise(SIGSTOP);
		f(idx);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	inode_close();
	copy = memfd_create("copy", MFD_CLOEXEC);
	map = mmap(NULL, bytes, PROT_READ, MAP_SHARED, mine, 0);
	was = calloc(1, bytes);
	assert_true(copy != -1 && map != MAP_FAILED && was != NULL);
	fd = copy;
	for (;;) {
		assert_int_equal(ptrace(PTRACE_SINGLESTEP, pid, 0, 0), 0);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		if (!WIFSTOPPED(status))
			break;
		if (memcmp(map, was, bytes) == 0)
			continue;
		memcpy(was, map, bytes);
		states++;
		assert_int_equal(pwrite(fd, was, bytes, 0), (ssize_t)bytes);
		assert_int_equal(inode_open(fd, SLOTS, 1), 0);
		kind = inode_slot(idx)->kind;
		if (kind != behind) {
			assert_int_equal(inode_by_name(INODE_ROOT, "name", 4),
			    idx);
			before++;
		} else if (behind == INODE_DETACHED) {
			name = inode_name(idx, &len);
			assert_int_equal(len, HASH_LEN + 9);
			assert_memory_equal(name, a_commit, HASH_LEN);
			assert_memory_equal(name + HASH_LEN, "some/path", 9);
		} else
			assert_int_equal(inode_slot(idx)->ovl, 0);
		inode_close();
	}
	assert_int_equal(status, 0);
	assert_true(before > 0 && states > before);
	close(copy);
	munmap(map, bytes);
	free(was);
	fd = mine;
	assert_int_equal(inode_open(fd, SLOTS, 1), 0);
	assert_int_equal(inode_slot(idx)->kind, behind);
}

static void
dies_detaching(void **state)
{
	uint32_t idx = inode_new(INODE_ROOT, "name", 4, 0);

	(void)state;
	inode_ref(idx);
	step_through(idx, to_detached, INODE_DETACHED);
}

static void
dies_naming(void **state)
{
	uint32_t idx = inode_new(INODE_ROOT, "name", 4, 77);

	(void)state;
	inode_ref(idx);
	step_through(idx, inode_set_named, INODE_NAMED);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(names_and_numbers, fresh, gone),
		cmocka_unit_test_setup_teardown(kinds, fresh, gone),
		cmocka_unit_test_setup_teardown(base, fresh, gone),
		cmocka_unit_test_setup_teardown(moving, fresh, gone),
		cmocka_unit_test_setup_teardown(full, fresh, gone),
		cmocka_unit_test_setup_teardown(lookups, fresh, gone),
		cmocka_unit_test_setup_teardown(handles, fresh, gone),
		cmocka_unit_test_setup_teardown(modes, fresh, gone),
		cmocka_unit_test_setup_teardown(no_room, fresh, gone),
		cmocka_unit_test_setup_teardown(room, fresh, gone),
		cmocka_unit_test_setup_teardown(room_always, fresh, gone),
		cmocka_unit_test_setup_teardown(overlap, fresh, gone),
		cmocka_unit_test_setup_teardown(tampered, fresh, gone),
		cmocka_unit_test_setup_teardown(many, fresh, gone),
		cmocka_unit_test_setup_teardown(churn, fresh, gone),
		cmocka_unit_test_setup_teardown(memory, fresh, gone),
		cmocka_unit_test_setup_teardown(dies_detaching, fresh, gone),
		cmocka_unit_test_setup_teardown(dies_naming, fresh, gone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
