/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * db_store: by which the object store of this database is known again.  In meta.
 */
#include <string.h>

#include "sailapid/db_sql.h"

int
db_store_get(struct db *db, struct db_store *s)
{
	sqlite3_stmt *st = db_query(db, ST_STORE_GET, "");
	int r = db_next(db, st);

	if (r != 1)
		return -1;
	r = db_col_bytes(st, 0, s->public, DB_ID_LEN);
	s->mark = (uint8_t)sqlite3_column_int(st, 1);
	db_done(st);
	return r;
}

int
db_store_mark(struct db *db, uint8_t mark)
{
	return db_exec(db, ST_STORE_MARK, "i", (int64_t)mark);
}

int
db_store_known(struct db *db, struct db_object *out, int max)
{
	sqlite3_stmt *st =
	    db_query(db, ST_STORE_KNOWN, "i", (int64_t)(max + 1) / 2);
	struct db_object *o;
	int n, r = 0;

	for (n = 0; n < max && (r = db_next(db, st)) == 1; n++) {
		o = &out[n];
		memset(o, 0, sizeof(*o));
		o->row = sqlite3_column_int64(st, 0);
		o->family = sqlite3_column_int64(st, 1);
		if (db_col_bytes(st, 2, o->hash.b, HASH_LEN) == -1 ||
		    db_col_bytes(st, 3, o->family_public, DB_ID_LEN) == -1) {
			r = -1;
			break;
		}
	}
	db_done(st);
	return r == -1 ? -1 : n;
}
