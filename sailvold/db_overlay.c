/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * db_overlay: objects and names of the overlays in manifest's database.  In
 * manifest.
 */
#include "sailvold/db.h"
#include "sailvold/db_bind.h"
#include "sailvold/db_sql.h"

/* ---- objects -------------------------------------------------------------- */

void
obj_free(struct obj *o)
{
	free(o->entry);
	free(o->origin_path);
	free(o->chunks);
	o->entry = NULL;
	o->origin_path = o->chunks = NULL;
}

static int
obj_read_entry(sqlite3_stmt *st, int i, struct obj *o)
{
	struct entry e;
	struct rbuf r;

	rbuf_init(&r, sqlite3_column_blob(st, i),
	    (size_t)sqlite3_column_bytes(st, i));
	if (entry_decode(&r, &e) == -1 || rbuf_end(&r) == -1) {
		errno = EIO;
		return -1;
	}
	return (o->entry = entry_dup(&e)) == NULL ? -1 : 0;
}

static int
obj_read(sqlite3_stmt *st, struct obj *o)
{
	o->flags = (uint32_t)column_u64(st, 0);
	o->links = (uint32_t)column_u64(st, 1);
	if (obj_read_entry(st, 2, o) == -1)
		return -1;
	o->has_origin = sqlite3_column_type(st, 3) != SQLITE_NULL;
	if (o->has_origin &&
	    (column_hash(st, 3, &o->origin_commit) == -1 ||
		(o->origin_path = column_dup(st, 4, &o->origin_path_len)) ==
		    NULL))
		return -1;
	o->changed_content = column_u64(st, 5);
	o->changed_attr = column_u64(st, 6);
	if (sqlite3_column_type(st, 7) != SQLITE_NULL &&
	    (o->chunks = column_dup(st, 7, &o->chunks_len)) == NULL)
		return -1;
	o->hashed_ctime.sec = sqlite3_column_int64(st, 8);
	o->hashed_ctime.nsec = (uint32_t)column_u64(st, 9);
	o->hash_began.sec = sqlite3_column_int64(st, 10);
	o->hash_began.nsec = (uint32_t)column_u64(st, 11);
	o->hashed_size = column_u64(st, 12);
	return 0;
}

int
db_obj_get(struct db *db, int64_t mount, uint64_t ovl, struct obj *o)
{
	sqlite3_stmt *st;
	int rc;

	memset(o, 0, sizeof(*o));
	o->ovl = ovl;
	if ((st = db_stmt(db, DB_OBJ_GET)) == NULL)
		return -1;
	sqlite3_bind_int64(st, 1, mount);
	bind_u64(st, 2, ovl);
	if ((rc = db_step(db, st)) != 1) {
		if (rc == 0)
			errno = ENOENT;
		return -1;
	}
	rc = obj_read(st, o);
	sqlite3_reset(st);
	if (rc == -1)
		obj_free(o);
	return rc;
}

static void
obj_bind(sqlite3_stmt *st, const struct obj *o)
{
	bind_u64(st, 3, o->flags);
	bind_u64(st, 4, o->links);
	if (o->has_origin) {
		bind_hash(st, 6, &o->origin_commit);
		bind_blob(st, 7, o->origin_path, o->origin_path_len);
	}
	bind_u64(st, 8, o->changed_content);
	bind_u64(st, 9, o->changed_attr);
	if (o->chunks != NULL)
		bind_blob(st, 10, o->chunks, o->chunks_len);
	sqlite3_bind_int64(st, 11, o->hashed_ctime.sec);
	sqlite3_bind_int64(st, 12, o->hashed_ctime.nsec);
	sqlite3_bind_int64(st, 13, o->hash_began.sec);
	sqlite3_bind_int64(st, 14, o->hash_began.nsec);
	bind_u64(st, 15, o->hashed_size);
}

int
db_obj_put(struct db *db, int64_t mount, const struct obj *o)
{
	sqlite3_stmt *st;
	struct wbuf w;
	int rc = -1;

	wbuf_init(&w, SAIL_XATTRS_MAX + 64 * 1024);
	entry_encode(&w, o->entry);
	if (w.error != 0) {
		errno = w.error;
		goto done;
	}
	if ((st = db_stmt(db, DB_OBJ_PUT)) == NULL)
		goto done;
	sqlite3_bind_int64(st, 1, mount);
	bind_u64(st, 2, o->ovl);
	bind_blob(st, 5, w.data, w.len);
	obj_bind(st, o);
	rc = db_exec_stmt(db, st);
done:
	wbuf_free(&w);
	return rc;
}

int
db_obj_delete(struct db *db, int64_t mount, uint64_t ovl)
{
	sqlite3_stmt *st;

	if ((st = db_stmt(db, DB_OBJ_DELETE)) == NULL)
		return -1;
	sqlite3_bind_int64(st, 1, mount);
	bind_u64(st, 2, ovl);
	if (db_exec_stmt(db, st) == -1 ||
	    (st = db_stmt(db, DB_LINK_ID_DELETE)) == NULL)
		return -1;
	sqlite3_bind_int64(st, 1, mount);
	bind_u64(st, 2, ovl);
	return db_exec_stmt(db, st);
}

static int
list_ovls(struct db *db, enum db_statement which, int64_t mount,
    const uint64_t *most, uint64_t **ovls, size_t *n)
{
	sqlite3_stmt *st;
	uint64_t *more;
	size_t cap = 0;
	int rc;

	*ovls = NULL;
	*n = 0;
	if ((st = db_stmt(db, which)) == NULL)
		return -1;
	sqlite3_bind_int64(st, 1, mount);
	if (most != NULL)
		bind_u64(st, 2, *most);
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
	if (rc == -1) {
		free(*ovls);
		*ovls = NULL;
		*n = 0;
	}
	return rc;
}

int
db_obj_list_dirty(struct db *db, int64_t mount, uint64_t **ovls, size_t *n)
{
	return list_ovls(db, DB_OBJ_LIST_DIRTY, mount, NULL, ovls, n);
}

static int
list_after(struct db *db, enum db_statement which, int64_t mount,
    uint64_t after, uint64_t *ovls, size_t most, size_t *n)
{
	sqlite3_stmt *st;
	int rc;

	*n = 0;
	if ((st = db_stmt(db, which)) == NULL)
		return -1;
	sqlite3_bind_int64(st, 1, mount);
	bind_u64(st, 2, after);
	bind_u64(st, 3, most);
	while ((rc = db_step(db, st)) == 1)
		ovls[(*n)++] = column_u64(st, 0);
	return rc;
}

int
db_obj_list_nameless(struct db *db, int64_t mount, uint64_t after,
    uint64_t *ovls, size_t most, size_t *n)
{
	return list_after(db, DB_OBJ_LIST_NAMELESS, mount, after, ovls, most,
	    n);
}

int
db_obj_dirty_after(struct db *db, int64_t mount, uint64_t after, uint64_t *ovls,
    size_t most, size_t *n)
{
	return list_after(db, DB_OBJ_DIRTY_AFTER, mount, after, ovls, most, n);
}

int
db_obj_sockets_after(struct db *db, int64_t mount, uint64_t after,
    uint64_t *ovls, size_t most, size_t *n)
{
	return list_after(db, DB_OBJ_SOCKETS_AFTER, mount, after, ovls, most,
	    n);
}

int
db_obj_list_local(struct db *db, int64_t mount, uint64_t most, uint64_t **ovls,
    size_t *n)
{
	return list_ovls(db, DB_OBJ_LIST_LOCAL, mount, &most, ovls, n);
}

int
db_obj_list_unsettled(struct db *db, int64_t mount, uint64_t **ovls, size_t *n)
{
	return list_ovls(db, DB_OBJ_LIST_UNSETTLED, mount, NULL, ovls, n);
}

int
db_obj_list_settled(struct db *db, int64_t mount, uint64_t **ovls, size_t *n)
{
	return list_ovls(db, DB_OBJ_LIST_SETTLED, mount, NULL, ovls, n);
}

static int
count_rows(struct db *db, enum db_statement which, int64_t mount, uint64_t most,
    uint64_t *n)
{
	sqlite3_stmt *st;

	if ((st = db_stmt(db, which)) == NULL)
		return -1;
	sqlite3_bind_int64(st, 1, mount);
	bind_u64(st, 2, most);
	if (db_step(db, st) != 1)
		return -1;
	*n = column_u64(st, 0);
	sqlite3_reset(st);
	return 0;
}

int
db_dirty_count_most(struct db *db, int64_t mount, uint64_t most,
    uint64_t *names, uint64_t *objects)
{
	if (count_rows(db, DB_NAME_COUNT_DIRTY, mount, most, names) == -1)
		return -1;
	return count_rows(db, DB_OBJ_COUNT_DIRTY, mount, most, objects);
}

int
db_dirty_count(struct db *db, int64_t mount, uint64_t *names, uint64_t *objects)
{
	return db_dirty_count_most(db, mount, INT64_MAX, names, objects);
}

int
db_overlay_reset(struct db *db, int64_t mount)
{
	static const enum db_statement all[] = { DB_OBJ_DROP_ALL,
		DB_NAME_DELETE_ALL, DB_SEEN_CLEAR };
	sqlite3_stmt *st;
	size_t i;

	for (i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		if ((st = db_stmt(db, all[i])) == NULL)
			return -1;
		sqlite3_bind_int64(st, 1, mount);
		if (db_exec_stmt(db, st) == -1)
			return -1;
	}
	return 0;
}

/* ---- names ---------------------------------------------------------------- */

int
db_name_get(struct db *db, int64_t mount, uint64_t dir, const void *name,
    size_t len, struct name_row *n)
{
	sqlite3_stmt *st;
	int rc;

	if ((st = db_stmt(db, DB_NAME_GET)) == NULL)
		return -1;
	sqlite3_bind_int64(st, 1, mount);
	bind_u64(st, 2, dir);
	bind_blob(st, 3, name, len);
	if ((rc = db_step(db, st)) != 1) {
		if (rc == 0)
			errno = ENOENT;
		return -1;
	}
	n->dir = dir;
	n->ovl = column_u64(st, 0);
	n->changed = column_u64(st, 1);
	n->name = name;
	n->len = len;
	sqlite3_reset(st);
	return 0;
}

int
db_name_put(struct db *db, int64_t mount, uint64_t dir, const void *name,
    size_t len, uint64_t ovl, uint64_t changed)
{
	sqlite3_stmt *st;

	if ((st = db_stmt(db, DB_NAME_PUT)) == NULL)
		return -1;
	sqlite3_bind_int64(st, 1, mount);
	bind_u64(st, 2, dir);
	bind_blob(st, 3, name, len);
	bind_u64(st, 4, ovl);
	bind_u64(st, 5, changed);
	return db_exec_stmt(db, st);
}

int
db_name_delete(struct db *db, int64_t mount, uint64_t dir, const void *name,
    size_t len)
{
	sqlite3_stmt *st;

	if ((st = db_stmt(db, DB_NAME_DELETE)) == NULL)
		return -1;
	sqlite3_bind_int64(st, 1, mount);
	bind_u64(st, 2, dir);
	bind_blob(st, 3, name, len);
	return db_exec_stmt(db, st);
}

int
db_name_delete_dir(struct db *db, int64_t mount, uint64_t dir)
{
	sqlite3_stmt *st;

	if ((st = db_stmt(db, DB_NAME_DELETE_DIR)) == NULL)
		return -1;
	sqlite3_bind_int64(st, 1, mount);
	bind_u64(st, 2, dir);
	return db_exec_stmt(db, st);
}

int
db_name_any(struct db *db, int64_t mount, uint64_t dir)
{
	sqlite3_stmt *st;
	int rc;

	if ((st = db_stmt(db, DB_NAME_ANY)) == NULL)
		return -1;
	sqlite3_bind_int64(st, 1, mount);
	bind_u64(st, 2, dir);
	if ((rc = db_step(db, st)) == 1)
		sqlite3_reset(st);
	return rc;
}

/*
 * All rows of a stepped statement (dir, ovl, changed, name) in one piece of
 * memory: the rows, and behind them the names.
 */
static int
collect_names(struct db *db, sqlite3_stmt *st, struct name_row **rows,
    size_t *n)
{
	struct name_row *tmp = NULL, *more;
	struct wbuf text;
	size_t cap = 0, i, at = 0;
	int rc;

	*rows = NULL;
	*n = 0;
	wbuf_init(&text, SIZE_MAX / 2);
	while ((rc = db_step(db, st)) == 1) {
		if (*n == cap) {
			cap = cap == 0 ? 64 : cap * 2;
			more = reallocarray(tmp, cap, sizeof(*tmp));
			if (more == NULL)
				goto fail;
			tmp = more;
		}
		tmp[*n].dir = column_u64(st, 0);
		tmp[*n].ovl = column_u64(st, 1);
		tmp[*n].changed = column_u64(st, 2);
		tmp[*n].len = (size_t)sqlite3_column_bytes(st, 3);
		wbuf_bytes(&text, sqlite3_column_blob(st, 3), tmp[*n].len);
		(*n)++;
	}
	if (rc == -1 || text.error != 0)
		goto fail;
	if ((more = realloc(tmp, *n * sizeof(*tmp) + text.len + 1)) == NULL)
		goto fail;
	if (text.len > 0)
		memcpy(more + *n, text.data, text.len);
	for (i = 0; i < *n; i++) {
		more[i].name = (const uint8_t *)(more + *n) + at;
		at += more[i].len;
	}
	wbuf_free(&text);
	*rows = more;
	return 0;
fail:
	sqlite3_reset(st);
	free(tmp);
	wbuf_free(&text);
	*n = 0;
	if (errno == 0)
		errno = ENOMEM;
	return -1;
}

int
db_names_of_dir(struct db *db, int64_t mount, uint64_t dir, const void *from,
    size_t len, int after, size_t max, struct name_row **rows, size_t *n)
{
	sqlite3_stmt *st;

	st = db_stmt(db, after ? DB_NAMES_AFTER : DB_NAMES_FROM);
	if (st == NULL)
		return -1;
	sqlite3_bind_int64(st, 1, mount);
	bind_u64(st, 2, dir);
	bind_blob(st, 3, from, len);
	bind_u64(st, 4, max > INT64_MAX ? INT64_MAX : max);
	return collect_names(db, st, rows, n);
}

static int
names_of(struct db *db, enum db_statement which, int64_t mount, uint64_t ovl,
    struct name_row **rows, size_t *n)
{
	sqlite3_stmt *st;

	if ((st = db_stmt(db, which)) == NULL)
		return -1;
	sqlite3_bind_int64(st, 1, mount);
	bind_u64(st, 2, ovl);
	return collect_names(db, st, rows, n);
}

int
db_names_of_obj(struct db *db, int64_t mount, uint64_t ovl,
    struct name_row **rows, size_t *n)
{
	return names_of(db, DB_NAMES_OF_OBJ, mount, ovl, rows, n);
}

int
db_name_oldest(struct db *db, int64_t mount, uint64_t ovl,
    struct name_row **rows, size_t *n)
{
	return names_of(db, DB_NAME_OLDEST, mount, ovl, rows, n);
}

int
db_names_changed(struct db *db, int64_t mount, const struct name_row *after,
    size_t max, struct name_row **rows, size_t *n)
{
	sqlite3_stmt *st;

	if (after != NULL) {
		if ((st = db_stmt(db, DB_NAMES_CHANGED_AT)) == NULL)
			return -1;
		sqlite3_bind_int64(st, 1, mount);
		bind_u64(st, 2, after->changed);
		bind_u64(st, 3, after->dir);
		bind_blob(st, 4, after->name, after->len);
		bind_u64(st, 5, max);
		if (collect_names(db, st, rows, n) == -1 || *n > 0)
			return *n > 0 ? 0 : -1;
		free(*rows);
	}
	if ((st = db_stmt(db, DB_NAMES_CHANGED_AFTER)) == NULL)
		return -1;
	sqlite3_bind_int64(st, 1, mount);
	bind_u64(st, 2, after != NULL ? after->changed : 0);
	bind_u64(st, 3, max);
	return collect_names(db, st, rows, n);
}
