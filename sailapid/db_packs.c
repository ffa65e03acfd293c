/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * db_packs: objects that hold many chunks: what clients have claimed of them,
 * what the store has confirmed, and which are still to be read and verified.
 * In meta.
 */
#include "sailapid/db_sql.h"

int
db_object_read(sqlite3_stmt *st, struct db_object *o)
{
	o->row = sqlite3_column_int64(st, 0);
	o->family = sqlite3_column_int64(st, 1);
	o->size = (uint64_t)sqlite3_column_int64(st, 3);
	o->state = (uint8_t)sqlite3_column_int(st, 4);
	o->pack = sqlite3_column_int(st, 5) != 0;
	o->condemned = sqlite3_column_int64(st, 6);
	return db_col_bytes(st, 2, o->hash.b, HASH_LEN);
}

int
db_object_find(struct db *db, int64_t family, const struct hash *hash,
    struct db_object *o)
{
	sqlite3_stmt *st = db_query(db, ST_OBJECT_FIND, "ih", family, hash);
	int r = db_next(db, st);

	if (r == 1) {
		if (db_object_read(st, o) == -1)
			r = -1;
		db_done(st);
	}
	return r;
}

int
db_object_of(struct db *db, int64_t family, const struct hash *chunk,
    const struct hash *object, struct db_object *o)
{
	sqlite3_stmt *st =
	    db_query(db, ST_PLACE_OBJECT, "ihh", family, chunk, object);
	int r = db_next(db, st);

	if (r == 1) {
		if (db_object_read(st, o) == -1)
			r = -1;
		db_done(st);
	}
	return r;
}

int
db_pack_claim(struct db *db, int64_t family, const struct hash *hash,
    uint64_t size, struct db_object *o)
{
	int stands;

	if (db_exec(db, ST_PACK_CLAIM, "ihi", family, hash, (int64_t)size) ==
	    -1)
		return -1;
	stands = db_changes(db) > 0;
	return db_object_find(db, family, hash, o) == 1 ? stands : -1;
}

int
db_pack_add(struct db *db, int64_t family, int64_t row,
    const struct hash *chunk, uint64_t offset, uint32_t bytes)
{
	return db_exec(db, ST_PACK_ADD, "ihiii", family, chunk, row,
	    (int64_t)offset, (int64_t)bytes);
}

static int
pack_count(struct db *db, int64_t row)
{
	sqlite3_stmt *st = db_query(db, ST_PACK_COUNT, "i", row);
	int n = -1;

	if (db_next(db, st) == 1) {
		n = sqlite3_column_int(st, 0);
		db_done(st);
	}
	return n;
}

int
db_pack_places(struct db *db, int64_t row, int max)
{
	int n = pack_count(db, row);

	if (n <= max)
		return n;
	if (db_exec(db, ST_PACK_TRIM, "i", row) == -1)
		return -1;
	return pack_count(db, row);
}

int
db_pack_confirm(struct db *db, int64_t row, int64_t session, uint64_t size)
{
	if (db_exec(db, ST_PACK_SIZE, "iii", (int64_t)LOCATION_CONFIRMED,
		(int64_t)size, row) == -1)
		return -1;
	return db_exec(db, ST_PACK_CONFIRM, "ii", row, session);
}

int
db_pack_due(struct db *db, int64_t after, struct db_object *o)
{
	sqlite3_stmt *st = db_query(db, ST_PACK_DUE, "i", after);
	int r = db_next(db, st);

	if (r == 1) {
		if (db_object_read(st, o) == -1 ||
		    db_col_bytes(st, 7, o->family_public, DB_ID_LEN) == -1)
			r = -1;
		db_done(st);
	}
	return r;
}

int
db_pack_each(struct db *db, int64_t row,
    int (*f)(void *, const struct hash *, const struct db_location *),
    void *arg)
{
	sqlite3_stmt *st = db_query(db, ST_PACK_EACH, "i", row);
	struct db_location l;
	struct hash h;
	int r;

	while ((r = db_next(db, st)) == 1) {
		if (db_place_read(st, &l) == -1 ||
		    db_col_bytes(st, 11, h.b, HASH_LEN) == -1 ||
		    f(arg, &h, &l) == -1) {
			r = -1;
			break;
		}
	}
	db_done(st);
	return r;
}

int
db_place_set(struct db *db, int64_t row, const struct hash *chunk,
    uint64_t offset, uint64_t bytes, uint8_t state)
{
	return db_exec(db, ST_PLACE_SET, "iihii", (int64_t)state, row, chunk,
	    (int64_t)offset, (int64_t)bytes);
}

int
db_object_condemn(struct db *db, int64_t row)
{
	return db_exec(db, ST_OBJECT_CONDEMN, "i", row);
}

/* also: a state that counts as good here. */
static int
pack_set_state(struct db *db, int64_t row, uint8_t also)
{
	sqlite3_stmt *st = db_query(db, ST_PACK_LEFT, "ii", row, (int64_t)also);
	int64_t due, left;
	uint8_t state = LOCATION_VERIFIED;

	if (db_next(db, st) != 1)
		return -1;
	due = sqlite3_column_int64(st, 0);
	left = sqlite3_column_int64(st, 1);
	db_done(st);
	if (due > 0)
		state = LOCATION_CONFIRMED;
	else if (left == 0)
		state = LOCATION_BAD;
	if (db_exec(db, ST_PACK_STATE, "ii", (int64_t)state, row) == -1)
		return -1;
	return left == 0;
}

int
db_pack_checked(struct db *db, int64_t row)
{
	return pack_set_state(db, row, LOCATION_CLAIMED);
}

int
db_pack_wrong(struct db *db, int64_t row)
{
	return pack_set_state(db, row, LOCATION_VERIFIED);
}
