/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * db_sessions: upload sessions with the chunks that they pin, and the leases
 * of mounts.  In meta.
 */
#include <stdlib.h>
#include <string.h>

#include "sailapid/db_sql.h"

#define UNPIN_MAX 1000 /* pins that go in one step */

int
db_session_add(struct db *db, int64_t volume, const uint8_t key[DB_ID_LEN],
    const char *message, const char *author, int if_unchanged,
    const uint8_t *mount, int64_t owner, int64_t now)
{
	return db_exec(db, ST_SESSION_ADD, "ibittibi", volume, key,
	    (size_t)DB_ID_LEN, now, message, author, (int64_t)if_unchanged,
	    mount, mount == NULL ? (size_t)0 : (size_t)DB_ID_LEN, owner);
}

int
db_session_find(struct db *db, int64_t volume, const uint8_t key[DB_ID_LEN],
    struct db_session *s)
{
	sqlite3_stmt *st;
	int r;

	memset(s, 0, sizeof(*s));
	st =
	    db_query(db, ST_SESSION_FIND, "ib", volume, key, (size_t)DB_ID_LEN);
	if ((r = db_next(db, st)) != 1)
		return r;
	s->volume = volume;
	memcpy(s->key, key, DB_ID_LEN);
	s->id = sqlite3_column_int64(st, 0);
	s->state = (uint8_t)sqlite3_column_int(st, 1);
	s->created = sqlite3_column_int64(st, 2);
	s->if_unchanged = sqlite3_column_int(st, 5);
	s->owner = sqlite3_column_int64(st, 8);
	s->has_mount = sqlite3_column_type(st, 7) != SQLITE_NULL;
	if ((s->has_mount &&
		db_col_bytes(st, 7, s->mount, sizeof(s->mount)) == -1) ||
	    db_col_dup(st, 3, &s->message) == -1 ||
	    db_col_dup(st, 4, &s->author) == -1 ||
	    db_col_dup(st, 6, &s->result) == -1)
		r = -1;
	db_done(st);
	if (r == -1)
		db_session_clear(s);
	return r;
}

void
db_session_clear(struct db_session *s)
{
	free(s->message);
	free(s->author);
	free(s->result);
	memset(s, 0, sizeof(*s));
}

int
db_session_published(struct db *db, int64_t id, const char *result)
{
	if (db_exec(db, ST_SESSION_PUBLISHED, "ti", result, id) == -1)
		return -1;
	return db_session_unpin(db, id);
}

int
db_session_unpin(struct db *db, int64_t id)
{
	if (db_exec(db, ST_SESSION_UNPIN, "ii", id, (int64_t)UNPIN_MAX) == -1)
		return -1;
	return db_changes(db) == UNPIN_MAX;
}

int
db_session_expire(struct db *db, int64_t now)
{
	if (db_exec(db, ST_SESSION_EXPIRE_PINS, "ii", now - SESSION_LIFE_NS,
		now - SESSION_RESULT_LIFE_NS) == -1)
		return -1;
	return db_exec(db, ST_SESSION_EXPIRE, "ii", now - SESSION_LIFE_NS,
	    now - SESSION_RESULT_LIFE_NS);
}

int
db_session_pin(struct db *db, int64_t id, const struct hash *hash,
    uint32_t bytes, int64_t now)
{
	return db_exec(db, ST_SESSION_PIN, "ihii", id, hash, (int64_t)bytes,
	    now);
}

int
db_session_packed(struct db *db, int64_t id, const struct hash *hash,
    uint32_t bytes, int64_t pack, int64_t now)
{
	return db_exec(db, ST_SESSION_PACKED, "ihiii", id, hash, (int64_t)bytes,
	    now, pack);
}

int
db_session_pinned(struct db *db, int64_t id, const struct hash *hash,
    uint32_t *bytes, int64_t *pack)
{
	sqlite3_stmt *st = db_query(db, ST_SESSION_PINNED, "ih", id, hash);
	int r = db_next(db, st);

	if (r == 1) {
		*bytes = (uint32_t)sqlite3_column_int64(st, 0);
		*pack = sqlite3_column_int64(st, 1);
		db_done(st);
	}
	return r;
}

int
db_session_open_count(struct db *db, uint64_t *n)
{
	sqlite3_stmt *st = db_query(db, ST_SESSION_OPEN, "");

	if (db_next(db, st) != 1)
		return -1;
	*n = (uint64_t)sqlite3_column_int64(st, 0);
	db_done(st);
	return 0;
}

int
db_lease_clear(struct db *db, int64_t volume, const uint8_t mount[DB_ID_LEN])
{
	return db_exec(db, ST_LEASE_CLEAR, "ib", volume, mount,
	    (size_t)DB_ID_LEN);
}

int
db_lease_add(struct db *db, int64_t volume, const uint8_t mount[DB_ID_LEN],
    const struct hash *commit, int64_t expires)
{
	return db_exec(db, ST_LEASE_ADD, "ibhi", volume, mount,
	    (size_t)DB_ID_LEN, commit, expires);
}

int
db_lease_has(struct db *db, int64_t volume, const uint8_t mount[DB_ID_LEN],
    const struct hash *commit)
{
	sqlite3_stmt *st = db_query(db, ST_LEASE_HAS, "ibh", volume, mount,
	    (size_t)DB_ID_LEN, commit);
	int r = db_next(db, st);

	if (r == 1)
		db_done(st);
	return r;
}

/* The ids that a query gives, to f. */
static int
each_commit(struct db *db, sqlite3_stmt *st,
    int (*f)(void *, const struct hash *), void *arg)
{
	struct hash h;
	int r;

	while ((r = db_next(db, st)) == 1) {
		if (db_col_bytes(st, 0, h.b, HASH_LEN) == -1 ||
		    f(arg, &h) == -1) {
			db_done(st);
			return -1;
		}
	}
	return r;
}

int
db_lease_each(struct db *db, int64_t volume, const uint8_t mount[DB_ID_LEN],
    int limit, int (*f)(void *, const struct hash *), void *arg)
{
	return each_commit(db,
	    db_query(db, ST_LEASE_EACH, "ibi", volume, mount, (size_t)DB_ID_LEN,
		(int64_t)limit),
	    f, arg);
}

int
db_lease_each_of(struct db *db, int64_t volume, int64_t maker, int limit,
    int (*f)(void *, const struct hash *), void *arg)
{
	return each_commit(db,
	    db_query(db, ST_LEASE_EACH_OF, "iii", volume, maker,
		(int64_t)limit),
	    f, arg);
}

int
db_lease_count(struct db *db, int64_t volume, int64_t now)
{
	sqlite3_stmt *st = db_query(db, ST_LEASE_COUNT, "ii", volume, now);
	int r = db_next(db, st);

	if (r == 1) {
		r = sqlite3_column_int(st, 0);
		db_done(st);
	}
	return r;
}

int
db_lease_expire(struct db *db, int64_t now)
{
	return db_exec(db, ST_LEASE_EXPIRE, "i", now);
}
