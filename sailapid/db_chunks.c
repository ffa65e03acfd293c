/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * db_chunks: the chunks of a family, the objects that hold them, and where in
 * them each lies and in which state.  In meta.
 */
#include "sailapid/db_sql.h"

int
db_chunk_find(struct db *db, int64_t family, const struct hash *hash,
    struct db_location *l)
{
	sqlite3_stmt *st = db_query(db, ST_CHUNK_FIND, "ih", family, hash);
	int r = db_next(db, st);

	if (r != 1)
		return r;
	r = db_col_bytes(st, 0, l->object.b, HASH_LEN) == -1 ? -1 : 1;
	l->object_size = (uint64_t)sqlite3_column_int64(st, 1);
	l->offset = (uint64_t)sqlite3_column_int64(st, 2);
	l->stored = (uint32_t)sqlite3_column_int64(st, 3);
	l->plain = (uint32_t)sqlite3_column_int64(st, 4);
	l->codec = (uint8_t)sqlite3_column_int(st, 5);
	l->state = (uint8_t)sqlite3_column_int(st, 6);
	db_done(st);
	return r;
}

int
db_chunk_set(struct db *db, int64_t family, const struct hash *hash,
    uint32_t bytes, uint8_t state)
{
	if (db_exec(db, ST_CHUNK_SET, "ihi", family, hash, (int64_t)bytes) ==
		-1 ||
	    db_exec(db, ST_OBJECT_SET, "ihii", family, hash, (int64_t)bytes,
		(int64_t)state) == -1)
		return -1;
	return db_exec(db, ST_LOCATION_SET, "ihii", family, hash,
	    (int64_t)bytes, (int64_t)state);
}
