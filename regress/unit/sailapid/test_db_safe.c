/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * After a sync that has failed, whoever has heard of it, the log is written anew
 * before anything is taken for safe, and nothing of it is copied before.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>
#include <sqlite3.h>

#include "lib/log.h"
#include "sailapid/db_sql.h"
#include "regress/unit/sync_vfs.h"

static char dir[] = "/tmp/test_db_safe.XXXXXX";
static struct db *db, *other;
static unsigned int made;

/* What has failed is tried again later. */
static time_t later;

int
clock_gettime(clockid_t clock, struct timespec *ts)
{
	int rc = (int)syscall(SYS_clock_gettime, clock, ts);

	ts->tv_sec += later;
	return rc;
}

/* Of the log's new writing alone: SQLite has another name for it. */
static int anew, no_anew;

ssize_t
pwrite(int fd, const void *data, size_t len, off_t at)
{
	anew++;
	if (no_anew != 0) {
		errno = no_anew;
		return -1;
	}
	return syscall(SYS_pwrite64, fd, data, len, at);
}

static int
setup(void **state)
{
	(void)state;
	strlcpy(dir + sizeof(dir) - 7, "XXXXXX", 7);
	assert_non_null(mkdtemp(dir));
	assert_int_equal(chdir(dir), 0);
	assert_non_null(db = db_open(DB_FILE, 1));
	assert_non_null(other = db_open(DB_FILE, 0));
	assert_int_equal(db_begin(db), 0);
	assert_int_equal(db_end(db), 0);
	anew = 0;
	return 0;
}

static int
teardown(void **state)
{
	char cmd[64];

	(void)state;
	no_anew = sv.failing = 0;
	db_close(other);
	db_close(db);
	assert_int_equal(chdir("/"), 0);
	snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
	return system(cmd);
}

/* One org more: what begins or ends it says. */
static int
make(struct db *in, int lazy)
{
	uint8_t public[DB_PUBLIC_LEN] = { 0 };
	char name[32];
	int64_t id;

	memcpy(public, &made, sizeof(made));
	snprintf(name, sizeof(name), "org%u", made++);
	if ((lazy ? db_begin_lazy(in) : db_begin(in)) == -1)
		return -1;
	if (db_org_add(in, public, name, 1, &id) == 0)
		return db_end(in);
	db_abort(in);
	return -1;
}

static void
fail_once(void)
{
	sv.failing = 1;
	assert_int_equal(make(db, 0), -1);
	sv.failing = 0;
	assert_int_equal(anew, 0);
}

/* When something was written to the database itself. */
static int64_t
copied(void)
{
	struct stat st;

	assert_int_equal(stat(DB_FILE, &st), 0);
	return (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
}

static void
commit_fails(void **state)
{
	(void)state;
	fail_once();
	assert_int_equal(make(db, 1), 0);
	assert_int_equal(anew, 0);
	assert_int_equal(make(db, 0), 0);
	assert_true(anew > 0);
	anew = 0;
	assert_int_equal(make(db, 0), 0);
	assert_int_equal(anew, 0);
}

/* Nor is what another connection writes. */
static void
heard_elsewhere(void **state)
{
	(void)state;
	fail_once();
	assert_int_equal(make(other, 0), 0);
	assert_true(anew > 0);
}

/* Who settles hears it, and then makes sure by himself. */
static void
settle_fails(void **state)
{
	int64_t was;

	(void)state;
	assert_int_equal(make(db, 1), 0);
	was = copied();
	sv.failing = 1;
	assert_int_equal(db_settle(db), -1);
	sv.failing = 0;
	assert_int_equal(anew, 0);
	no_anew = EIO;
	assert_int_equal(db_settle(db), 0);
	assert_true(anew > 0);
	no_anew = 0;
	later += 10;
	assert_true(copied() == was);
	assert_int_equal(db_settle(db), 0);
	assert_int_equal(make(db, 0), 0);
}

/* What SQLite does in passing. */
static void
checkpoint_fails(void **state)
{
	struct stat st;

	(void)state;
	sv.failing = 1;
	do {
		assert_int_equal(make(db, 1), 0);
		assert_int_equal(stat(DB_FILE "-wal", &st), 0);
	} while (st.st_size < (off_t)34 << 20);
	sv.failing = 0;
	assert_int_equal(make(db, 0), 0);
	assert_true(anew > 0);
}

/* All of the log would be written for each attempt. */
static void
braked(void **state)
{
	int64_t was;
	int i;

	(void)state;
	fail_once();
	was = copied();
	no_anew = EIO;
	for (i = 0; i < 100; i++) {
		assert_int_equal(make(db, 0), -1);
		assert_int_equal(errno, EAGAIN);
		assert_int_equal(make(db, 1), 0);
		assert_int_equal(db_settle(db), 0);
		later += i % 10 == 9;
	}
	assert_true(anew >= 3 && anew <= 8);
	assert_true(copied() == was);
	no_anew = 0;
	later += 10;
	assert_int_equal(make(db, 0), 0);
	/* What has no room says so. */
	sv.failing = 1;
	assert_int_equal(make(db, 0), -1);
	sv.failing = 0;
	no_anew = ENOSPC;
	assert_int_equal(make(db, 0), -1);
	assert_int_equal(errno, ENOSPC);
	no_anew = 0;
	later += 1;
	assert_int_equal(make(db, 0), 0);
}

/* The process that has heard of it is not there any more; what it leaves is not
   copied by its end. */
static void
before_this(void **state)
{
	int64_t was;

	(void)state;
	assert_int_equal(make(db, 1), 0);
	fail_once();
	was = copied();
	db_close(other);
	db_close(db);
	assert_true(copied() == was);
	assert_non_null(db = db_open(DB_FILE, 0));
	assert_non_null(other = db_open(DB_FILE, 0));
	assert_int_equal(make(other, 0), 0);
	assert_true(anew > 0);
	anew = 0;
	assert_int_equal(make(db, 0), 0);
	assert_int_equal(anew, 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = { T(commit_fails), T(heard_elsewhere),
		T(settle_fails), T(checkpoint_fails), T(braked),
		T(before_this) };

	log_init("test_db_safe", 1, 0);
	sync_vfs_install();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
