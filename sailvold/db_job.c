/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * db_job: jobs of mounts in manifest's database, and what a commit records
 * beside the overlay.  In manifest.
 */
#include "sailvold/db.h"
#include "sailvold/db_bind.h"
#include "sailvold/db_sql.h"
#include "sailvold/job.h"

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

/* ---- jobs ------------------------------------------------------------------- */

int
db_job_insert(struct db *db, struct job *j, const char *request)
{
	sqlite3_stmt *st;

	if ((st = db_stmt(db, DB_JOB_INSERT)) == NULL)
		return -1;
	sqlite3_bind_int64(st, 1, j->m->row.row);
	sqlite3_bind_int(st, 2, j->kind);
	bind_u64(st, 3, j->session);
	bind_blob(st, 4, j->key, sizeof(j->key));
	bind_u64(st, 5, j->mark);
	bind_u64(st, 6, j->uid);
	bind_u64(st, 7, j->gid);
	sqlite3_bind_int64(st, 8, j->created);
	sqlite3_bind_text(st, 9, request, -1, SQLITE_STATIC);
	if (db_exec_stmt(db, st) == -1)
		return -1;
	j->id = sqlite3_last_insert_rowid(sqlite3_db_handle(st));
	return 0;
}

int
db_job_state(struct db *db, int64_t id, uint8_t state, const char *answer)
{
	sqlite3_stmt *st;

	if ((st = db_stmt(db, DB_JOB_STATE)) == NULL)
		return -1;
	sqlite3_bind_int64(st, 1, id);
	sqlite3_bind_int(st, 2, state);
	if (answer != NULL)
		sqlite3_bind_text(st, 3, answer, -1, SQLITE_STATIC);
	return db_exec_stmt(db, st);
}

int
db_job_answer(struct db *db, int64_t mount, int64_t id, char **answer)
{
	sqlite3_stmt *st;
	int rc;

	*answer = NULL;
	if ((st = db_stmt(db, DB_JOB_ANSWER)) == NULL)
		return -1;
	sqlite3_bind_int64(st, 1, mount);
	sqlite3_bind_int64(st, 2, id);
	if ((rc = db_step(db, st)) != 1) {
		if (rc == 0)
			errno = ENOENT;
		return -1;
	}
	rc = 0;
	if (sqlite3_column_type(st, 0) != SQLITE_NULL &&
	    (*answer = column_dup(st, 0, NULL)) == NULL)
		rc = -1;
	sqlite3_reset(st);
	return rc;
}

int
db_job_of_session(struct db *db, int64_t mount, uint64_t session, uint64_t mark,
    int64_t *id)
{
	sqlite3_stmt *st;
	int rc;

	if ((st = db_stmt(db, DB_JOB_OF_SESSION)) == NULL)
		return -1;
	sqlite3_bind_int64(st, 1, mount);
	bind_u64(st, 2, session);
	bind_u64(st, 3, mark);
	if ((rc = db_step(db, st)) != 1) {
		if (rc == 0)
			errno = ENOENT;
		return -1;
	}
	*id = sqlite3_column_int64(st, 0);
	sqlite3_reset(st);
	return 0;
}

int
db_job_pending(struct db *db, int64_t mount,
    int (*f)(void *, struct job *, const char *), void *arg)
{
	sqlite3_stmt *st;
	struct job j;
	int rc;

	if ((st = db_stmt(db, DB_JOB_PENDING)) == NULL)
		return -1;
	sqlite3_bind_int64(st, 1, mount);
	while ((rc = db_step(db, st)) == 1) {
		memset(&j, 0, sizeof(j));
		j.id = sqlite3_column_int64(st, 0);
		j.kind = (uint8_t)sqlite3_column_int(st, 1);
		j.state = (uint8_t)sqlite3_column_int(st, 2);
		j.session = column_u64(st, 3);
		if (sqlite3_column_bytes(st, 4) == sizeof(j.key))
			memcpy(j.key, sqlite3_column_blob(st, 4),
			    sizeof(j.key));
		j.mark = column_u64(st, 5);
		j.uid = (uint32_t)column_u64(st, 6);
		j.gid = (uint32_t)column_u64(st, 7);
		j.created = sqlite3_column_int64(st, 8);
		if (f(arg, &j, (const char *)sqlite3_column_text(st, 9)) ==
		    -1) {
			sqlite3_reset(st);
			return -1;
		}
	}
	return rc;
}

int
db_job_trim(struct db *db, int64_t before)
{
	sqlite3_stmt *st;

	if ((st = db_stmt(db, DB_JOB_TRIM)) == NULL)
		return -1;
	sqlite3_bind_int64(st, 1, before);
	return db_exec_stmt(db, st);
}

int
db_job_item_put(struct db *db, int64_t job, uint64_t seq, uint64_t ovl,
    const void *data, size_t len)
{
	sqlite3_stmt *st;

	if ((st = db_stmt(db, DB_JOB_ITEM_PUT)) == NULL)
		return -1;
	sqlite3_bind_int64(st, 1, job);
	bind_u64(st, 2, seq);
	bind_u64(st, 3, ovl);
	bind_blob(st, 4, data, len);
	return db_exec_stmt(db, st);
}

int
db_job_item_get(struct db *db, int64_t job, uint64_t seq, uint8_t **data,
    size_t *len)
{
	sqlite3_stmt *st;
	int rc;

	if ((st = db_stmt(db, DB_JOB_ITEM_GET)) == NULL)
		return -1;
	sqlite3_bind_int64(st, 1, job);
	bind_u64(st, 2, seq);
	if ((rc = db_step(db, st)) != 1) {
		if (rc == 0)
			errno = ENOENT;
		return -1;
	}
	*data = column_dup(st, 0, len);
	sqlite3_reset(st);
	return *data == NULL ? -1 : 0;
}

int
db_job_items_delete(struct db *db, int64_t job)
{
	sqlite3_stmt *st;

	if ((st = db_stmt(db, DB_JOB_ITEMS_DELETE)) == NULL)
		return -1;
	sqlite3_bind_int64(st, 1, job);
	return db_exec_stmt(db, st);
}

int
db_ovl_is_held(struct db *db, const uint8_t mount_id[16], int64_t mount,
    uint64_t ovl)
{
	sqlite3_stmt *st;
	int rc;

	if ((st = db_stmt(db, DB_OVL_HELD)) == NULL)
		return 1;
	bind_blob(st, 1, mount_id, 16);
	sqlite3_bind_int64(st, 2, mount);
	bind_u64(st, 3, ovl);
	rc = db_step(db, st);
	if (rc == 1)
		sqlite3_reset(st);
	return rc != 0; /* when in doubt it is held */
}

int
db_commits_used(struct db *db, int64_t mount, const uint8_t mount_id[16],
    int (*f)(void *, const struct hash *), void *arg)
{
	sqlite3_stmt *st;
	struct hash h;
	int rc;

	if ((st = db_stmt(db, DB_COMMITS_USED)) == NULL)
		return -1;
	sqlite3_bind_int64(st, 1, mount);
	bind_blob(st, 2, mount_id, 16);
	while ((rc = db_step(db, st)) == 1) {
		if (column_hash(st, 0, &h) == -1 || f(arg, &h) == -1) {
			sqlite3_reset(st);
			return -1;
		}
	}
	return rc;
}
