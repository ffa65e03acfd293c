/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * db_mount: the rows of mounts in manifest's database.  In manifest.
 */
#include <stdio.h>

#include "sailvold/db.h"
#include "sailvold/db_bind.h"
#include "sailvold/db_sql.h"

void
mount_row_free(struct mount_row *m)
{
	free(m->path);
	free(m->volume_id);
	free(m->volume);
	free(m->org);
	free(m->subpath);
	m->path = m->volume_id = m->volume = m->org = m->subpath = NULL;
}

static void
mount_bind(sqlite3_stmt *st, const struct mount_row *m)
{
	bind_blob(st, 1, m->id, sizeof(m->id));
	sqlite3_bind_text(st, 2, m->path, -1, SQLITE_STATIC);
	sqlite3_bind_text(st, 3, m->volume_id, -1, SQLITE_STATIC);
	sqlite3_bind_text(st, 4, m->volume, -1, SQLITE_STATIC);
	sqlite3_bind_text(st, 5, m->org, -1, SQLITE_STATIC);
	bind_blob(st, 6, m->subpath, strlen(m->subpath));
	bind_hash(st, 7, &m->base);
	bind_u64(st, 8, m->base_number);
	bind_u64(st, 9, m->epoch);
	bind_u64(st, 10, m->applied);
	bind_u64(st, 11, m->next);
	if (m->has_last)
		bind_hash(st, 12, &m->last);
	bind_u64(st, 13, m->last_number);
	bind_blob(st, 14, m->lease, sizeof(m->lease));
	bind_u64(st, 15, m->flags);
	sqlite3_bind_text(st, 16, m->boot, -1, SQLITE_STATIC);
}

static int
column_id(sqlite3_stmt *st, int i, uint8_t id[16])
{
	if (sqlite3_column_bytes(st, i) != 16) {
		errno = EIO;
		return -1;
	}
	memcpy(id, sqlite3_column_blob(st, i), 16);
	return 0;
}

static int
mount_read(sqlite3_stmt *st, struct mount_row *m)
{
	const char *boot;

	memset(m, 0, sizeof(*m));
	m->row = sqlite3_column_int64(st, 0);
	if (column_id(st, 1, m->id) == -1 ||
	    (m->path = column_dup(st, 2, NULL)) == NULL ||
	    (m->volume_id = column_dup(st, 3, NULL)) == NULL ||
	    (m->volume = column_dup(st, 4, NULL)) == NULL ||
	    (m->org = column_dup(st, 5, NULL)) == NULL ||
	    (m->subpath = column_dup(st, 6, NULL)) == NULL ||
	    column_hash(st, 7, &m->base) == -1 ||
	    column_id(st, 14, m->lease) == -1)
		goto fail;
	m->base_number = column_u64(st, 8);
	m->epoch = column_u64(st, 9);
	m->applied = column_u64(st, 10);
	m->next = column_u64(st, 11);
	m->has_last = sqlite3_column_type(st, 12) != SQLITE_NULL;
	if (m->has_last && column_hash(st, 12, &m->last) == -1)
		goto fail;
	m->last_number = column_u64(st, 13);
	m->flags = (uint32_t)column_u64(st, 15);
	boot = (const char *)sqlite3_column_text(st, 16);
	snprintf(m->boot, sizeof(m->boot), "%s", boot != NULL ? boot : "");
	return 0;
fail:
	mount_row_free(m);
	return -1;
}

int
db_mount_find(struct db *db, const uint8_t id[16], struct mount_row *m)
{
	sqlite3_stmt *st;
	int rc;

	if ((st = db_stmt(db, DB_MOUNT_FIND)) == NULL)
		return -1;
	bind_blob(st, 1, id, 16);
	if ((rc = db_step(db, st)) != 1) {
		if (rc == 0)
			errno = ENOENT;
		return -1;
	}
	rc = mount_read(st, m);
	sqlite3_reset(st);
	return rc;
}

int
db_mount_insert(struct db *db, struct mount_row *m)
{
	sqlite3_stmt *st;

	if ((st = db_stmt(db, DB_MOUNT_INSERT)) == NULL)
		return -1;
	mount_bind(st, m);
	if (db_exec_stmt(db, st) == -1)
		return -1;
	m->row = sqlite3_last_insert_rowid(sqlite3_db_handle(st));
	return 0;
}

int
db_mount_update(struct db *db, const struct mount_row *m)
{
	sqlite3_stmt *st;

	/* It sets the indexed id, too: a row that is as before is written, and with
	   it what journal_sync() is to make safe. */
	if ((st = db_stmt(db, DB_MOUNT_UPDATE)) == NULL)
		return -1;
	mount_bind(st, m);
	sqlite3_bind_int64(st, 17, m->row);
	return db_exec_stmt(db, st);
}

int
db_mount_delete(struct db *db, int64_t row)
{
	static const enum db_statement all[] = { DB_MOUNT_DELETE_JOB_ITEM,
		DB_MOUNT_DELETE_JOB, DB_SEEN_CLEAR, DB_LINK_ID_CLEAR,
		DB_MOUNT_DELETE_NAME, DB_MOUNT_DELETE_OBJ, DB_MOUNT_DELETE };
	sqlite3_stmt *st;
	size_t i;

	for (i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		if ((st = db_stmt(db, all[i])) == NULL)
			return -1;
		sqlite3_bind_int64(st, 1, row);
		if (db_exec_stmt(db, st) == -1)
			return -1;
	}
	return 0;
}

int
db_mount_foreach(struct db *db, int (*f)(void *, const struct mount_row *),
    void *arg)
{
	struct mount_row m;
	sqlite3_stmt *st;
	int rc;

	if ((st = db_stmt(db, DB_MOUNT_ALL)) == NULL)
		return -1;
	while ((rc = db_step(db, st)) == 1) {
		if (mount_read(st, &m) == -1) {
			sqlite3_reset(st);
			return -1;
		}
		rc = f(arg, &m);
		mount_row_free(&m);
		if (rc == -1) {
			sqlite3_reset(st);
			return -1;
		}
	}
	return rc;
}
