/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * db_job: jobs of mounts in manifest's database, and what a commit records
 * beside the overlay.  In manifest.
 */
#include "sailvold/db.h"
#include "sailvold/db_bind.h"
#include "sailvold/db_sql.h"

int
db_names_published(struct db *db, int64_t mount, uint64_t offset)
{
	sqlite3_stmt *st;

	if ((st = db_stmt(db, DB_NAME_PUBLISHED)) == NULL)
		return -1;
	sqlite3_bind_int64(st, 1, mount);
	bind_u64(st, 2, offset);
	return db_exec_stmt(db, st);
}

static sqlite3_stmt *
link_stmt(struct db *db, enum db_statement which, int64_t mount, uint64_t ovl,
    uint64_t dir, const void *name, size_t len)
{
	sqlite3_stmt *st;

	if ((st = db_stmt(db, which)) == NULL)
		return NULL;
	sqlite3_bind_int64(st, 1, mount);
	bind_u64(st, 2, ovl);
	bind_u64(st, 3, dir);
	bind_blob(st, 4, name, len);
	return st;
}

int
db_link_id_get(struct db *db, int64_t mount, uint64_t ovl, uint64_t dir,
    const void *name, size_t len, uint64_t *fileid)
{
	sqlite3_stmt *st;
	int rc;

	st = link_stmt(db, DB_LINK_ID_GET, mount, ovl, dir, name, len);
	if (st == NULL)
		return -1;
	if ((rc = db_step(db, st)) != 1) {
		if (rc == 0)
			errno = ENOENT;
		return -1;
	}
	*fileid = column_u64(st, 0);
	sqlite3_reset(st);
	return 0;
}

int
db_link_id_put(struct db *db, int64_t mount, uint64_t ovl, uint64_t dir,
    const void *name, size_t len, uint64_t fileid)
{
	sqlite3_stmt *st;

	st = link_stmt(db, DB_LINK_ID_PUT, mount, ovl, dir, name, len);
	if (st == NULL)
		return -1;
	bind_u64(st, 5, fileid);
	return db_exec_stmt(db, st);
}

static int
exec_mount(struct db *db, enum db_statement which, int64_t mount)
{
	sqlite3_stmt *st;

	if ((st = db_stmt(db, which)) == NULL)
		return -1;
	sqlite3_bind_int64(st, 1, mount);
	return db_exec_stmt(db, st);
}

int
db_names_lose_all(struct db *db, int64_t mount, uint64_t **ovls, size_t *n)
{
	sqlite3_stmt *st;
	uint64_t *more;
	size_t cap = 0;
	int rc;

	*ovls = NULL;
	*n = 0;
	if ((st = db_stmt(db, DB_OBJ_LIST_NAMED)) == NULL)
		return -1;
	sqlite3_bind_int64(st, 1, mount);
	while ((rc = db_step(db, st)) == 1) {
		if (*n == cap) {
			cap = cap == 0 ? 64 : cap * 2;
			more = reallocarray(*ovls, cap, sizeof(**ovls));
			if (more == NULL) {
				sqlite3_reset(st);
				rc = -1;
				break;
			}
			*ovls = more;
		}
		(*ovls)[(*n)++] = column_u64(st, 0);
	}
	if (rc == -1 || exec_mount(db, DB_OBJ_LOSE_NAMES, mount) == -1 ||
	    exec_mount(db, DB_NAME_DELETE_ALL, mount) == -1 ||
	    exec_mount(db, DB_LINK_ID_CLEAR, mount) == -1 ||
	    exec_mount(db, DB_SEEN_CLEAR, mount) == -1) {
		free(*ovls);
		*ovls = NULL;
		*n = 0;
		return -1;
	}
	return 0;
}
