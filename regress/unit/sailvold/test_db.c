/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * Claim: no room for the database is ENOSPC, be it the disk, a quota or a limit
 * of the process; nothing of that transaction is kept, and the next one works;
 * and a database of the version before this one is taken over.
 */
#include <errno.h>
#include <setjmp.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "lib/log.h"
#include "sailvold/db.h"
#include "regress/unit/sync_vfs.h"

static char dir[] = "/tmp/test_db.XXXXXX";
static struct db *db;

static int
is_there(const struct hash *h)
{
	struct blob *b;

	if ((b = db_commit_get(db, h)) == NULL)
		return 0;
	blob_unref(b);
	return 1;
}

static void
before(void **state)
{
	struct mount_row m = { .flags = 5, .epoch = 7 }, got;
	char text[] = "x", name[80];
	struct db *old;
	sqlite3 *sql;
	int i;

	(void)state;
	snprintf(name, sizeof(name), "%s/old", dir);
	m.path = m.volume_id = m.volume = m.org = m.subpath = text;
	old = db_open(name);
	assert_non_null(old);
	assert_int_equal(db_mount_insert(old, &m), 0);
	db_close(old);
	assert_int_equal(sqlite3_open(name, &sql), SQLITE_OK);
	assert_int_equal(sqlite3_exec(sql,
			     "ALTER TABLE mount DROP COLUMN boot;"
			     " PRAGMA user_version = 2",
			     NULL, NULL, NULL),
	    SQLITE_OK);
	sqlite3_close(sql);
	for (i = 0; i < 2; i++) {
		old = db_open(name);
		assert_non_null(old);
		assert_int_equal(db_mount_find(old, m.id, &got), 0);
		assert_int_equal(got.epoch, 7);
		assert_int_equal(got.flags, 5);
		assert_string_equal(got.boot, i == 0 ? "" : "boot");
		snprintf(got.boot, sizeof(got.boot), "boot");
		assert_int_equal(db_mount_update(old, &got), 0);
		mount_row_free(&got);
		db_close(old);
	}
	unlink(name);
}

static void
no_room(void **state)
{
	static const struct {
		int system, error;
	} cases[] = { { ENOSPC, ENOSPC }, { EDQUOT, ENOSPC }, { EFBIG, ENOSPC },
		{ EIO, EIO } };
	static uint8_t bytes[5000];
	struct hash h;
	size_t i;

	(void)state;
	hash_bytes(&h, bytes, sizeof(bytes));
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(db_begin(db), 0);
		assert_int_equal(db_commit_put(db, &h, bytes, sizeof(bytes)),
		    0);
		sv.no_write = cases[i].system;
		errno = 0;
		assert_int_equal(db_commit(db), -1);
		assert_int_equal(errno, cases[i].error);
		sv.no_write = 0;
		db_rollback(db);
		assert_int_equal(is_there(&h), 0);
	}
	assert_int_equal(db_begin(db), 0);
	assert_int_equal(db_commit_put(db, &h, bytes, sizeof(bytes)), 0);
	assert_int_equal(db_commit(db), 0);
	assert_int_equal(is_there(&h), 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(no_room),
		cmocka_unit_test(before) };
	static const char *const ends[] = { "", "-wal", "-shm" };
	char path[64], name[80];
	size_t i;
	int rc;

	log_init("test_db", 1, 0);
	sync_vfs_install();
	if (mkdtemp(dir) == NULL)
		return 1;
	snprintf(path, sizeof(path), "%s/db", dir);
	if ((db = db_open(path)) == NULL)
		return 1;
	rc = cmocka_run_group_tests(tests, NULL, NULL);
	db_close(db);
	for (i = 0; i < 3; i++) {
		snprintf(name, sizeof(name), "%s%s", path, ends[i]);
		unlink(name);
	}
	rmdir(dir);
	return rc;
}
