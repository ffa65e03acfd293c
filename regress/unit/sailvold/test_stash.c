/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/* Claim: a stash is dropped whole, or is there whole. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <sqlite3.h>

#include "sailvold/db.h"
#include "sailvold/delta_make.h"
#include "sailvold/stash.h"

struct db *manifest_db;

static char path[64];

static void
statement(const char *text)
{
	sqlite3 *sql;

	assert_int_equal(sqlite3_open(path, &sql), SQLITE_OK);
	assert_int_equal(sqlite3_exec(sql, text, NULL, NULL, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_close(sql), SQLITE_OK);
}

static void
test_drop(void **state)
{
	static uint8_t name[] = "f";
	static char word[] = "x";
	struct stash_row s = { .path = word,
		.volume_id = word,
		.volume = word };
	struct stash_item it = { .path = name, .len = 1, .kind = STASH_HIDDEN };
	char command[80], dir[] = "/tmp/test_stash.XXXXXX";
	struct db *db;
	uint64_t n;

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/db", dir);
	assert_non_null(db = db_open(path));
	assert_int_equal(db_stash_insert(db, &s), 0);
	assert_int_equal(db_stash_item_put(db, s.id, 0, &it), 0);
	db_close(db);
	/* It ends in the middle of it, as a kill does. */
	statement("CREATE TRIGGER t BEFORE DELETE ON stash"
		  " BEGIN SELECT RAISE(ABORT, 'no'); END");
	assert_non_null(db = db_open(path));
	assert_int_equal(stash_drop(db, s.id), -1);
	db_close(db);
	statement("DROP TRIGGER t");
	assert_non_null(db = db_open(path));
	assert_int_equal(db_stash_item_count(db, s.id, &n), 0);
	assert_int_equal(n, 1);
	assert_int_equal(stash_drop(db, s.id), 0);
	assert_int_equal(db_stash_item_count(db, s.id, &n), 0);
	assert_int_equal(n, 0);
	assert_int_equal(db_stash_get(db, s.id, &s), -1);
	db_close(db);
	snprintf(command, sizeof(command), "rm -r %s", dir);
	assert_int_equal(system(command), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_drop) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
