/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * db_survey: when the object store is surveyed, and all objects in the order in
 * which it lists them.  In meta.
 */
#include <string.h>

#include "sailapid/db_sql.h"

#define FAMILIES_MAX 256 /* that are looked into at a time */

int
db_survey_due(struct db *db, int64_t *due)
{
	sqlite3_stmt *st = db_query(db, ST_SURVEY_DUE, "");

	if (db_next(db, st) != 1)
		return -1;
	*due = sqlite3_column_int64(st, 0);
	db_done(st);
	return 0;
}

int
db_survey_put_off(struct db *db, int64_t from, int64_t to)
{
	if (db_exec(db, ST_SURVEY_PUT_OFF, "ii", from, to) == -1)
		return -1;
	return db_changes(db) > 0;
}

int
db_survey_ask(struct db *db)
{
	return db_exec(db, ST_SURVEY_ASK, "i", (int64_t)SURVEY_ASKED);
}

/* 1, 0 there is none, -1. */
static int
next_family(struct db *db, struct db_order *at)
{
	sqlite3_stmt *st = db_query(db, ST_FAMILY_AFTER, "b", at->public,
	    at->any ? (size_t)DB_ID_LEN : (size_t)0);
	int r = db_next(db, st);

	if (r != 1)
		return r;
	at->family = sqlite3_column_int64(st, 0);
	at->any = 1;
	at->some = 0;
	if (db_col_bytes(st, 1, at->public, DB_ID_LEN) == -1)
		r = -1;
	db_done(st);
	return r;
}

static int
objects_of(struct db *db, struct db_order *at, struct db_object *o, int max)
{
	sqlite3_stmt *st = db_query(db, ST_OBJECT_AFTER, "ibi", at->family,
	    at->hash.b, at->some ? (size_t)HASH_LEN : (size_t)0, (int64_t)max);
	int n, r = 0;

	for (n = 0; n < max && (r = db_next(db, st)) == 1; n++) {
		if (db_object_read(st, &o[n]) == -1) {
			r = -1;
			break;
		}
		memcpy(o[n].family_public, at->public, DB_ID_LEN);
	}
	db_done(st);
	if (r == -1)
		return -1;
	if (n > 0)
		db_order_set(at, &o[n - 1]);
	return n;
}

int
db_objects_after(struct db *db, struct db_order *at, struct db_object *o,
    int max)
{
	int i, r, n = 0;

	at->end = 0;
	for (i = 0; i < FAMILIES_MAX && n < max; i++) {
		if (at->family == 0 && (r = next_family(db, at)) != 1) {
			at->end = r == 0;
			return r == -1 ? -1 : n;
		}
		if ((r = objects_of(db, at, o + n, max - n)) == -1)
			return -1;
		n += r;
		if (n < max)
			at->family = 0;
	}
	return n;
}

void
db_order_set(struct db_order *at, const struct db_object *o)
{
	at->family = o->family;
	memcpy(at->public, o->family_public, DB_ID_LEN);
	at->hash = o->hash;
	at->any = at->some = 1;
	at->end = 0;
}
