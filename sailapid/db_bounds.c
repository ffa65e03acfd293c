/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * db_bounds: what a key may have of what costs it nothing: open sessions, the
 * chunks that they pin, and leases.  In meta.
 */
#include "sailapid/db_sql.h"

/* *n: the first column of the only row. */
static int
one_number(struct db *db, sqlite3_stmt *st, uint64_t *n)
{
	if (db_next(db, st) != 1)
		return -1;
	*n = (uint64_t)sqlite3_column_int64(st, 0);
	db_done(st);
	return 0;
}

int
db_session_room(struct db *db, int64_t maker)
{
	uint64_t n;

	if (one_number(db, db_query(db, ST_SESSION_COUNT_OF, "i", maker), &n) ==
	    -1)
		return -1;
	return n < DB_SESSIONS_MAX;
}

int
db_session_made(struct db *db, int64_t volume, const uint8_t key[DB_ID_LEN],
    int64_t maker)
{
	return db_exec(db, ST_SESSION_MADE, "iib", maker, volume, key,
	    (size_t)DB_ID_LEN);
}

int
db_session_charge(struct db *db, int64_t id, uint32_t chunks, int64_t maker)
{
	uint64_t n;

	if (db_exec(db, ST_SESSION_CHARGE, "ii", (int64_t)chunks, id) == -1 ||
	    one_number(db, db_query(db, ST_SESSION_PINS_OF, "i", maker), &n) ==
		-1)
		return -1;
	return n <= DB_PINS_MAX;
}

int
db_lease_bound(struct db *db, int64_t volume, const uint8_t mount[DB_ID_LEN],
    int64_t maker)
{
	if (db_exec(db, ST_LEASE_MADE, "iib", maker, volume, mount,
		(size_t)DB_ID_LEN) == -1)
		return -1;
	return db_exec(db, ST_LEASE_BOUND, "ii", maker, (int64_t)DB_LEASES_MAX);
}
