/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * db_stash: stashes in manifest's database.  In manifest.
 */
#include "sailvold/db.h"
#include "sailvold/db_bind.h"
#include "sailvold/db_sql.h"
#include "sailvold/stash.h"

void
stash_row_free(struct stash_row *s)
{
	free(s->path);
	free(s->volume_id);
	free(s->volume);
	s->path = s->volume_id = s->volume = NULL;
}

void
stash_item_free(struct stash_item *it)
{
	free(it->path);
	free(it->entry);
	free(it->origin_path);
	it->path = it->origin_path = NULL;
	it->entry = NULL;
}

int
db_stash_insert(struct db *db, struct stash_row *s)
{
	sqlite3_stmt *st;

	if ((st = db_stmt(db, DB_STASH_INSERT)) == NULL)
		return -1;
	bind_blob(st, 1, s->mount, sizeof(s->mount));
	sqlite3_bind_text(st, 2, s->path, -1, SQLITE_STATIC);
	sqlite3_bind_text(st, 3, s->volume_id, -1, SQLITE_STATIC);
	sqlite3_bind_text(st, 4, s->volume, -1, SQLITE_STATIC);
	bind_hash(st, 5, &s->base);
	sqlite3_bind_int64(st, 6, s->created);
	bind_u64(st, 7, s->files);
	bind_u64(st, 8, s->bytes);
	if (db_exec_stmt(db, st) == -1)
		return -1;
	s->id = sqlite3_last_insert_rowid(sqlite3_db_handle(st));
	return 0;
}

static int
stash_read(sqlite3_stmt *st, struct stash_row *s)
{
	memset(s, 0, sizeof(*s));
	s->id = sqlite3_column_int64(st, 0);
	if (sqlite3_column_bytes(st, 1) != sizeof(s->mount)) {
		errno = EIO;
		return -1;
	}
	memcpy(s->mount, sqlite3_column_blob(st, 1), sizeof(s->mount));
	if ((s->path = column_dup(st, 2, NULL)) == NULL ||
	    (s->volume_id = column_dup(st, 3, NULL)) == NULL ||
	    (s->volume = column_dup(st, 4, NULL)) == NULL ||
	    column_hash(st, 5, &s->base) == -1) {
		stash_row_free(s);
		return -1;
	}
	s->created = sqlite3_column_int64(st, 6);
	s->files = column_u64(st, 7);
	s->bytes = column_u64(st, 8);
	return 0;
}

int
db_stash_get(struct db *db, int64_t id, struct stash_row *s)
{
	sqlite3_stmt *st;
	int rc;

	if ((st = db_stmt(db, DB_STASH_GET)) == NULL)
		return -1;
	sqlite3_bind_int64(st, 1, id);
	if ((rc = db_step(db, st)) != 1) {
		if (rc == 0)
			errno = ENOENT;
		return -1;
	}
	rc = stash_read(st, s);
	sqlite3_reset(st);
	return rc;
}

int
db_stash_foreach(struct db *db, const uint8_t *mount,
    int (*f)(void *, const struct stash_row *), void *arg)
{
	struct stash_row s;
	sqlite3_stmt *st;
	int rc;

	if ((st = db_stmt(db, DB_STASH_ALL)) == NULL)
		return -1;
	if (mount != NULL)
		bind_blob(st, 1, mount, 16);
	while ((rc = db_step(db, st)) == 1) {
		if (stash_read(st, &s) == -1) {
			sqlite3_reset(st);
			return -1;
		}
		rc = f(arg, &s);
		stash_row_free(&s);
		if (rc != 0) {
			sqlite3_reset(st);
			return rc == 1 ? 0 : -1;
		}
	}
	return rc;
}

int
db_stash_excess(struct db *db, int64_t before, uint64_t bytes, int64_t *id,
    int64_t *created)
{
	sqlite3_stmt *st;
	int rc;

	*id = *created = 0;
	if ((st = db_stmt(db, DB_STASH_EXCESS)) == NULL)
		return -1;
	sqlite3_bind_int64(st, 1, before);
	bind_u64(st, 2, bytes > INT64_MAX ? INT64_MAX : bytes);
	if ((rc = db_step(db, st)) != 1)
		return rc;
	*id = sqlite3_column_int64(st, 0);
	*created = sqlite3_column_int64(st, 1);
	sqlite3_reset(st);
	return 0;
}

int
db_stash_excess_of_all(struct db *db, uint64_t bytes, int64_t *id)
{
	sqlite3_stmt *st;
	int rc;

	*id = 0;
	if ((st = db_stmt(db, DB_STASH_EXCESS_OF_ALL)) == NULL)
		return -1;
	bind_u64(st, 1, bytes > INT64_MAX ? INT64_MAX : bytes);
	if ((rc = db_step(db, st)) != 1)
		return rc;
	*id = sqlite3_column_int64(st, 0);
	sqlite3_reset(st);
	return 0;
}

int
db_stash_newest(struct db *db, const uint8_t mount[16], int64_t since,
    uint64_t *bytes)
{
	sqlite3_stmt *st;

	if ((st = db_stmt(db, DB_STASH_NEWEST)) == NULL)
		return -1;
	bind_blob(st, 1, mount, 16);
	sqlite3_bind_int64(st, 2, since);
	if (db_step(db, st) != 1)
		return -1;
	*bytes = column_u64(st, 0);
	sqlite3_reset(st);
	return 0;
}

int
db_stash_was(struct db *db, int64_t id)
{
	sqlite3_stmt *st;
	int was;

	if ((st = db_stmt(db, DB_STASH_LAST)) == NULL || db_step(db, st) != 1)
		return 0;
	was = id > 0 && id <= sqlite3_column_int64(st, 0);
	sqlite3_reset(st);
	return was;
}

int
db_stash_delete(struct db *db, int64_t id)
{
	static const enum db_statement both[] = { DB_STASH_DELETE_ITEMS,
		DB_STASH_DELETE };
	sqlite3_stmt *st;
	size_t i;

	for (i = 0; i < 2; i++) {
		if ((st = db_stmt(db, both[i])) == NULL)
			return -1;
		sqlite3_bind_int64(st, 1, id);
		if (db_exec_stmt(db, st) == -1)
			return -1;
	}
	return 0;
}

int
db_stash_item_put(struct db *db, int64_t id, uint64_t seq,
    const struct stash_item *it)
{
	sqlite3_stmt *st;
	struct wbuf w;
	int rc = -1;

	wbuf_init(&w, SAIL_XATTRS_MAX + 64 * 1024);
	if (it->entry != NULL)
		entry_encode(&w, it->entry);
	if (w.error != 0) {
		errno = w.error;
		goto done;
	}
	if ((st = db_stmt(db, DB_STASH_ITEM_PUT)) == NULL)
		goto done;
	sqlite3_bind_int64(st, 1, id);
	bind_u64(st, 2, seq);
	bind_blob(st, 3, it->path, it->len);
	sqlite3_bind_int(st, 4, it->kind);
	bind_u64(st, 5, it->ovl);
	if (it->entry != NULL)
		bind_blob(st, 6, w.data, w.len);
	if (it->has_origin) {
		bind_hash(st, 7, &it->origin_commit);
		bind_blob(st, 8, it->origin_path, it->origin_len);
	}
	rc = db_exec_stmt(db, st);
done:
	wbuf_free(&w);
	return rc;
}

int
db_stash_item_count(struct db *db, int64_t id, uint64_t *n)
{
	sqlite3_stmt *st;

	if ((st = db_stmt(db, DB_STASH_ITEM_COUNT)) == NULL)
		return -1;
	sqlite3_bind_int64(st, 1, id);
	if (db_step(db, st) != 1)
		return -1;
	*n = column_u64(st, 0);
	sqlite3_reset(st);
	return 0;
}

static int
item_read(sqlite3_stmt *st, struct stash_item *it)
{
	struct rbuf r;
	struct entry e;

	if ((it->path = column_dup(st, 0, &it->len)) == NULL)
		return -1;
	it->kind = (uint8_t)sqlite3_column_int(st, 1);
	it->ovl = column_u64(st, 2);
	if (sqlite3_column_type(st, 3) != SQLITE_NULL) {
		rbuf_init(&r, sqlite3_column_blob(st, 3),
		    (size_t)sqlite3_column_bytes(st, 3));
		if (entry_decode(&r, &e) == -1 || rbuf_end(&r) == -1) {
			errno = EIO;
			return -1;
		}
		if ((it->entry = entry_dup(&e)) == NULL)
			return -1;
	}
	it->has_origin = sqlite3_column_type(st, 4) != SQLITE_NULL;
	if (it->has_origin &&
	    (column_hash(st, 4, &it->origin_commit) == -1 ||
		(it->origin_path = column_dup(st, 5, &it->origin_len)) == NULL))
		return -1;
	return 0;
}

int
db_stash_item_get(struct db *db, int64_t id, uint64_t seq,
    struct stash_item *it)
{
	sqlite3_stmt *st;
	int rc;

	memset(it, 0, sizeof(*it));
	if ((st = db_stmt(db, DB_STASH_ITEM_GET)) == NULL)
		return -1;
	sqlite3_bind_int64(st, 1, id);
	bind_u64(st, 2, seq);
	if ((rc = db_step(db, st)) != 1) {
		if (rc == 0)
			errno = ENOENT;
		return -1;
	}
	rc = item_read(st, it);
	sqlite3_reset(st);
	if (rc == -1)
		stash_item_free(it);
	return rc;
}
