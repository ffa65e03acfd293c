/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * db_chunks: the chunks of a family, the objects that hold them, and where in
 * them each lies and in which state.  In meta.
 */
#include "sailapid/db_sql.h"

/* The columns of PLACE_COLUMNS; 0 or -1. */
int
db_place_read(sqlite3_stmt *st, struct db_location *l)
{
	l->row = sqlite3_column_int64(st, 0);
	l->object_size = (uint64_t)sqlite3_column_int64(st, 2);
	l->offset = (uint64_t)sqlite3_column_int64(st, 3);
	l->stored = (uint32_t)sqlite3_column_int64(st, 4);
	l->plain = (uint32_t)sqlite3_column_int64(st, 5);
	l->codec = (uint8_t)sqlite3_column_int(st, 6);
	l->state = (uint8_t)sqlite3_column_int(st, 7);
	l->own = sqlite3_column_int(st, 8) != 0;
	l->object_state = (uint8_t)sqlite3_column_int(st, 9);
	l->family = sqlite3_column_int64(st, 10);
	return db_col_bytes(st, 1, l->object.b, HASH_LEN);
}

/* At most max rows of a query; -1. */
static int
places_read(struct db *db, sqlite3_stmt *st, struct db_location *out, int max)
{
	int n, r = 0;

	for (n = 0; n < max && (r = db_next(db, st)) == 1; n++) {
		if (db_place_read(st, &out[n]) == -1) {
			r = -1;
			break;
		}
	}
	if (r == -1)
		n = -1;
	db_done(st);
	return n;
}

/* Nearly every chunk has one place, or none yet: those need no order, for which
   SQLite would make a table each time.  2: there are more. */
static int
places_few(struct db *db, int64_t family, const struct hash *hash,
    struct db_location *out, int max)
{
	struct db_location few[2];
	int n = places_read(db, db_query(db, ST_CHUNK_FEW, "ih", family, hash),
	    few, 2);

	if (n != -1 && max < 1)
		return 0;
	if (n == 1)
		out[0] = few[0];
	return n;
}

int
db_chunk_places(struct db *db, int64_t family, const struct hash *hash,
    struct db_location *out, int max)
{
	int n = places_few(db, family, hash, out, max);

	if (n != 2)
		return n;
	return places_read(db,
	    db_query(db, ST_CHUNK_PLACES, "ihi", family, hash, (int64_t)max),
	    out, max);
}

int
db_chunk_places_for(struct db *db, int64_t family, const struct db_grant *g,
    const struct hash *hash, struct db_location *out, int max)
{
	int n = places_few(db, family, hash, out, max);

	if (n != 2)
		return n;
	return places_read(db,
	    db_query(db, ST_CHUNK_PLACES_FOR, "ihibi", family, hash, g->volume,
		g->path, g->len, (int64_t)max),
	    out, max);
}

int
db_chunk_find(struct db *db, int64_t family, const struct hash *hash,
    struct db_location *l)
{
	return db_chunk_places(db, family, hash, l, 1);
}

int
db_chunk_find_long(struct db *db, int64_t family, const struct hash *hash,
    uint32_t bytes, struct db_location *l)
{
	struct db_location all[LOCATIONS_MAX];
	int i, n = db_chunk_places(db, family, hash, all, LOCATIONS_MAX);

	if (n < 1)
		return n;
	*l = all[0];
	if (location_present(l))
		return 1;
	for (i = 0; i < n && location_good(all[i].state); i++) {
		if (all[i].plain == bytes) {
			*l = all[i];
			break;
		}
	}
	return 1;
}

/* The only row of a query. */
static int
place_one(struct db *db, sqlite3_stmt *st, struct db_location *l)
{
	int r = db_next(db, st);

	if (r == 1) {
		if (db_place_read(st, l) == -1)
			r = -1;
		db_done(st);
	}
	return r;
}

int
db_chunk_find_in(struct db *db, int64_t family, const struct hash *hash,
    int64_t row, uint32_t bytes, struct db_location *l)
{
	return place_one(db,
	    db_query(db, ST_CHUNK_FIND_IN, "ihii", family, hash, row,
		(int64_t)bytes),
	    l);
}

int
db_chunk_own(struct db *db, int64_t family, const struct hash *hash,
    struct db_location *l)
{
	return place_one(db, db_query(db, ST_CHUNK_OWN, "ih", family, hash), l);
}

int
db_chunk_set(struct db *db, int64_t family, const struct hash *hash,
    uint32_t bytes, uint8_t state)
{
	if (db_exec(db, ST_OBJECT_SET, "ihii", family, hash, (int64_t)bytes,
		(int64_t)state) == -1)
		return -1;
	return db_exec(db, ST_LOCATION_SET, "ihii", family, hash,
	    (int64_t)bytes, (int64_t)state);
}

int
db_chunk_adopt(struct db *db, int64_t family, int64_t from,
    const struct hash *hash)
{
	return db_exec(db, ST_PLACE_ADOPT, "iihi", family, from, hash,
	    (int64_t)ADOPTED_MAX);
}

int
location_present(const struct db_location *l)
{
	return l->state == LOCATION_VERIFIED ||
	    (l->state == LOCATION_CONFIRMED && l->own);
}
