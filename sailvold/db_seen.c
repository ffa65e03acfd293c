/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * db_seen: what a mount saw at a path, where that is not what its base has
 * there (sailvol-format(5), MERGE).  In manifest.
 */
#include "sailvold/db.h"
#include "sailvold/db_bind.h"
#include "sailvold/db_sql.h"

static int
seen_read(sqlite3_stmt *st, struct seen_row *s)
{
	memset(s, 0, sizeof(*s));
	s->path = sqlite3_column_blob(st, 0);
	s->len = (size_t)sqlite3_column_bytes(st, 0);
	s->seen.present = sqlite3_column_int(st, 1);
	s->seen.is_dir = sqlite3_column_int(st, 2);
	if (s->seen.present &&
	    (column_hash(st, 3, &s->seen.content) == -1 ||
		column_hash(st, 4, &s->seen.attr) == -1))
		return -1;
	s->has_tree = sqlite3_column_type(st, 5) != SQLITE_NULL;
	if (s->has_tree && column_hash(st, 5, &s->tree_commit) == -1)
		return -1;
	s->tree_path = sqlite3_column_blob(st, 6);
	s->tree_path_len = (size_t)sqlite3_column_bytes(st, 6);
	return 0;
}

int
db_seen_get(struct db *db, int64_t mount, const void *path, size_t len,
    struct seen_row *s, void **mem)
{
	sqlite3_stmt *st;
	uint8_t *copy;
	int rc;

	*mem = NULL;
	if ((st = db_stmt(db, DB_SEEN_GET)) == NULL)
		return -1;
	sqlite3_bind_int64(st, 1, mount);
	bind_blob(st, 2, path, len);
	if ((rc = db_step(db, st)) != 1) {
		if (rc == 0)
			errno = ENOENT;
		return -1;
	}
	if (seen_read(st, s) == -1 ||
	    (copy = malloc(s->len + s->tree_path_len + 1)) == NULL) {
		sqlite3_reset(st);
		return -1;
	}
	if (s->len > 0)
		memcpy(copy, s->path, s->len);
	if (s->tree_path_len > 0)
		memcpy(copy + s->len, s->tree_path, s->tree_path_len);
	s->path = copy;
	s->tree_path = copy + s->len;
	sqlite3_reset(st);
	*mem = copy;
	return 0;
}

int
db_seen_put(struct db *db, int64_t mount, const struct seen_row *s)
{
	sqlite3_stmt *st;

	if ((st = db_stmt(db, DB_SEEN_PUT)) == NULL)
		return -1;
	sqlite3_bind_int64(st, 1, mount);
	bind_blob(st, 2, s->path, s->len);
	sqlite3_bind_int(st, 3, s->seen.present);
	sqlite3_bind_int(st, 4, s->seen.is_dir);
	if (s->seen.present) {
		bind_hash(st, 5, &s->seen.content);
		bind_hash(st, 6, &s->seen.attr);
	}
	if (s->has_tree) {
		bind_hash(st, 7, &s->tree_commit);
		bind_blob(st, 8, s->tree_path, s->tree_path_len);
	}
	return db_exec_stmt(db, st);
}

int
db_seen_delete(struct db *db, int64_t mount, const void *path, size_t len)
{
	sqlite3_stmt *st;

	if ((st = db_stmt(db, DB_SEEN_DELETE)) == NULL)
		return -1;
	sqlite3_bind_int64(st, 1, mount);
	bind_blob(st, 2, path, len);
	return db_exec_stmt(db, st);
}

int
db_seen_clear(struct db *db, int64_t mount)
{
	sqlite3_stmt *st;

	if ((st = db_stmt(db, DB_SEEN_CLEAR)) == NULL)
		return -1;
	sqlite3_bind_int64(st, 1, mount);
	return db_exec_stmt(db, st);
}

/*
 * What is strictly below a path lies, by memcmp, between path + '/' and path +
 * '0', the byte after '/'; below the root between "" and what no path begins
 * with: paths are at most 4,096 bytes and a blob of 0xff sorts behind all that
 * are shorter or do not consist of 0xff alone.
 */
struct range {
	uint8_t from[SAIL_PATH_MAX + 1], to[SAIL_PATH_MAX + 1];
	size_t from_len, to_len;
};

static int
range_below(struct range *r, const void *path, size_t len)
{
	if (len > SAIL_PATH_MAX) {
		errno = ENAMETOOLONG;
		return -1;
	}
	if (len == 0) {
		r->from_len = 0;
		memset(r->to, 0xff, sizeof(r->to));
		r->to_len = sizeof(r->to);
		return 0;
	}
	memcpy(r->from, path, len);
	r->from[len] = '/';
	memcpy(r->to, path, len);
	r->to[len] = '/' + 1;
	r->from_len = r->to_len = len + 1;
	return 0;
}

static sqlite3_stmt *
stmt_below(struct db *db, enum db_statement which, int64_t mount,
    const struct range *r)
{
	sqlite3_stmt *st;

	if ((st = db_stmt(db, which)) == NULL)
		return NULL;
	sqlite3_bind_int64(st, 1, mount);
	bind_blob(st, 2, r->from, r->from_len);
	bind_blob(st, 3, r->to, r->to_len);
	return st;
}

int
db_seen_delete_below(struct db *db, int64_t mount, const void *path, size_t len)
{
	struct range r;

	if (range_below(&r, path, len) == -1)
		return -1;
	return db_exec_stmt(db,
	    stmt_below(db, DB_SEEN_DELETE_BELOW, mount, &r));
}

static int
collect_seen(struct db *db, sqlite3_stmt *st, struct seen_row **rows, size_t *n)
{
	struct seen_row *tmp = NULL, *more;
	struct wbuf text;
	size_t cap = 0, i, at = 0;
	int rc;

	wbuf_init(&text, SIZE_MAX / 2);
	while ((rc = db_step(db, st)) == 1) {
		if (*n == cap) {
			cap = cap == 0 ? 64 : cap * 2;
			if ((more = reallocarray(tmp, cap, sizeof(*tmp))) ==
			    NULL)
				goto fail;
			tmp = more;
		}
		if (seen_read(st, &tmp[*n]) == -1)
			goto fail;
		wbuf_bytes(&text, tmp[*n].path, tmp[*n].len);
		wbuf_bytes(&text, tmp[*n].tree_path, tmp[*n].tree_path_len);
		(*n)++;
	}
	if (rc == -1 || text.error != 0)
		goto fail;
	if ((more = realloc(tmp, *n * sizeof(*tmp) + text.len + 1)) == NULL)
		goto fail;
	if (text.len > 0)
		memcpy(more + *n, text.data, text.len);
	for (i = 0; i < *n; i++) {
		more[i].path = (const uint8_t *)(more + *n) + at;
		at += more[i].len;
		more[i].tree_path = (const uint8_t *)(more + *n) + at;
		at += more[i].tree_path_len;
	}
	wbuf_free(&text);
	*rows = more;
	return 0;
fail:
	sqlite3_reset(st);
	free(tmp);
	wbuf_free(&text);
	*n = 0;
	return -1;
}

int
db_seen_below_after(struct db *db, int64_t mount, const void *path, size_t len,
    const void *after, size_t after_len, size_t max, struct seen_row **rows,
    size_t *n)
{
	sqlite3_stmt *st;
	struct range r;

	*rows = NULL;
	*n = 0;
	if (range_below(&r, path, len) == -1)
		return -1;
	if ((st = stmt_below(db, DB_SEEN_BELOW, mount, &r)) == NULL)
		return -1;
	if (after != NULL)
		bind_blob(st, 2, after, after_len);
	bind_u64(st, 4, max > INT64_MAX ? INT64_MAX : max);
	return collect_seen(db, st, rows, n);
}

int
db_seen_below(struct db *db, int64_t mount, const void *path, size_t len,
    struct seen_row **rows, size_t *n)
{
	return db_seen_below_after(db, mount, path, len, NULL, 0, SIZE_MAX,
	    rows, n);
}
