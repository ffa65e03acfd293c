/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * db_volumes: families, volumes, and the commits of volumes.  In meta.
 */
#include <errno.h>
#include <string.h>

#include "lib/log.h"
#include "sailapid/db_sql.h"
#include "sailapid/hex.h"

int
db_family_add(struct db *db, const uint8_t public[DB_ID_LEN],
    const uint8_t salt[TREE_SALT_LEN], int64_t *id)
{
	if (db_exec(db, ST_FAMILY_ADD, "bb", public, (size_t)DB_ID_LEN, salt,
		(size_t)TREE_SALT_LEN) == -1)
		return -1;
	*id = sqlite3_last_insert_rowid(db->h);
	return 0;
}

int
db_family_find(struct db *db, int64_t id, struct db_family *f)
{
	sqlite3_stmt *st = db_query(db, ST_FAMILY_FIND, "i", id);
	int r = db_next(db, st);

	if (r == 1) {
		f->id = id;
		if (db_col_bytes(st, 1, f->public, DB_ID_LEN) == -1)
			r = -1;
		db_done(st);
	}
	return r;
}

int
db_family_shared(struct db *db, const struct db_volume *v)
{
	sqlite3_stmt *st =
	    db_query(db, ST_FAMILY_SHARED, "ii", v->family, v->id);
	int r = db_next(db, st);

	if (r == 1)
		db_done(st);
	return r;
}

int
db_volume_add(struct db *db, const struct db_volume *v, int64_t *id)
{
	struct wbuf w;
	int r = -1;

	wbuf_init(&w, 4096);
	volume_header_encode(&w, &v->header);
	if (w.error != 0)
		errno = w.error;
	else
		r = db_exec(db, ST_VOLUME_ADD, "bitiihbi", v->public,
		    (size_t)DB_ID_LEN, v->org, v->name, v->family, v->created,
		    &v->head, w.data, w.len, v->origin);
	wbuf_free(&w);
	if (r == 0)
		*id = sqlite3_last_insert_rowid(db->h);
	return r;
}

static int
volume_row(sqlite3_stmt *st, struct db_volume *v)
{
	struct rbuf r;
	const char *why;

	memset(v, 0, sizeof(*v));
	v->id = sqlite3_column_int64(st, 0);
	v->org = sqlite3_column_int64(st, 2);
	v->family = sqlite3_column_int64(st, 4);
	v->created = sqlite3_column_int64(st, 7);
	v->deleted = sqlite3_column_int64(st, 10);
	if (db_col_bytes(st, 1, v->public, DB_ID_LEN) == -1 ||
	    db_col_text(st, 3, v->name, sizeof(v->name)) == -1 ||
	    db_col_bytes(st, 5, v->family_public, DB_ID_LEN) == -1 ||
	    db_col_bytes(st, 6, v->salt, TREE_SALT_LEN) == -1 ||
	    db_col_bytes(st, 8, v->head.b, HASH_LEN) == -1)
		return -1;
	rbuf_init(&r, sqlite3_column_blob(st, 9),
	    (size_t)sqlite3_column_bytes(st, 9));
	why = volume_header_decode(&r, &v->header);
	if (why != NULL || rbuf_end(&r) == -1) {
		log_warnx("database: volume %s: header: %s", v->name,
		    why != NULL ? why : "bytes left over");
		errno = EIO;
		return -1;
	}
	return 1;
}

static int
volume_one(struct db *db, sqlite3_stmt *st, struct db_volume *v)
{
	int r = db_next(db, st);

	if (r == 1) {
		r = volume_row(st, v);
		db_done(st);
	}
	return r;
}

int
db_volume_by_name(struct db *db, int64_t org, const char *name,
    struct db_volume *v)
{
	return volume_one(db, db_query(db, ST_VOLUME_BY_NAME, "it", org, name),
	    v);
}

int
db_volume_by_public(struct db *db, int64_t org, const uint8_t public[DB_ID_LEN],
    struct db_volume *v)
{
	return volume_one(db,
	    db_query(db, ST_VOLUME_BY_PUBLIC, "bi", public, (size_t)DB_ID_LEN,
		org),
	    v);
}

int
db_volume_find(struct db *db, int64_t org, const char *text,
    struct db_volume *v)
{
	uint8_t public[DB_ID_LEN];

	if (hex_id("vol_", text, public, sizeof(public)) == 0)
		return db_volume_by_public(db, org, public, v);
	return db_volume_by_name(db, org, text, v);
}

static int
volume_all(struct db *db, sqlite3_stmt *st,
    int (*f)(void *, const struct db_volume *), void *arg)
{
	struct db_volume v;
	int r;

	while ((r = db_next(db, st)) == 1) {
		if (volume_row(st, &v) == -1 || f(arg, &v) == -1) {
			db_done(st);
			return -1;
		}
	}
	return r;
}

int
db_volume_each(struct db *db, int64_t org, int64_t key, const char *after,
    int limit, int (*f)(void *, const struct db_volume *), void *arg)
{
	return volume_all(db,
	    db_query(db, ST_VOLUME_EACH, "iiti", org, key, after,
		(int64_t)limit),
	    f, arg);
}

int
db_volume_trash(struct db *db, int64_t org, const uint8_t public[DB_ID_LEN],
    int64_t since, struct db_volume *v)
{
	return volume_one(db,
	    db_query(db, ST_VOLUME_TRASH, "bii", public, (size_t)DB_ID_LEN, org,
		since),
	    v);
}

int
db_volume_trash_each(struct db *db, int64_t org, int64_t key, int64_t since,
    int64_t after, int limit, int (*f)(void *, const struct db_volume *),
    void *arg)
{
	return volume_all(db,
	    db_query(db, ST_VOLUME_TRASH_EACH, "iiiii", org, key, since, after,
		(int64_t)limit),
	    f, arg);
}

int
db_volume_restored(struct db *db, int64_t id, const char *name)
{
	return db_exec(db, ST_VOLUME_RESTORED, "ti", name, id);
}

int
db_volume_renamed(struct db *db, int64_t id, const char *name)
{
	return db_exec(db, ST_VOLUME_RENAMED, "ti", name, id);
}

int
db_volume_deleted(struct db *db, int64_t id, int64_t now)
{
	return db_exec(db, ST_VOLUME_DELETED, "ii", now, id);
}

int
db_volume_swap(struct db *db, int64_t id, const struct hash *from,
    const struct hash *to)
{
	if (db_exec(db, ST_VOLUME_SWAP, "hih", to, id, from) == -1)
		return -1;
	return db_changes(db) == 1;
}

int
db_commit_add(struct db *db, int64_t volume, const struct hash *hash,
    uint64_t number, const void *data, size_t len)
{
	return db_exec(db, ST_COMMIT_ADD, "ihib", volume, hash, (int64_t)number,
	    data, len);
}

struct blob *
db_commit_get(struct db *db, int64_t volume, const struct hash *hash)
{
	sqlite3_stmt *st = db_query(db, ST_COMMIT_GET, "ih", volume, hash);
	struct blob *b;
	int r = db_next(db, st);

	if (r != 1) {
		if (r == 0)
			errno = ENOENT;
		return NULL;
	}
	b = blob_new(sqlite3_column_blob(st, 0),
	    (size_t)sqlite3_column_bytes(st, 0));
	db_done(st);
	return b;
}

int
db_commit_known(struct db *db, int64_t volume, const struct hash *hash)
{
	sqlite3_stmt *st = db_query(db, ST_COMMIT_KNOWN, "ih", volume, hash);
	int r = db_next(db, st);

	if (r == 1)
		db_done(st);
	return r;
}

int
db_commit_each(struct db *db, int64_t volume, uint64_t below, int limit,
    int (*f)(void *, const struct hash *, const uint8_t *, size_t), void *arg)
{
	sqlite3_stmt *st;
	struct hash h;
	int r;

	if (below > INT64_MAX)
		below = INT64_MAX;
	st = db_query(db, ST_COMMIT_EACH, "iii", volume, (int64_t)below,
	    (int64_t)limit);
	while ((r = db_next(db, st)) == 1) {
		if (db_col_bytes(st, 0, h.b, HASH_LEN) == -1 ||
		    f(arg, &h, sqlite3_column_blob(st, 1),
			(size_t)sqlite3_column_bytes(st, 1)) == -1) {
			db_done(st);
			return -1;
		}
	}
	return r;
}
