/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * db_node: nodes and commits in manifest's database: copies of what the server
 * has, which can be asked again.  In manifest.
 */
#include <time.h>

#include "sailvold/db.h"
#include "sailvold/db_bind.h"
#include "sailvold/db_sql.h"

/* "Used" is a day: good enough to forget by, and seldom written. */
static int64_t
today(void)
{
	return (int64_t)time(NULL) / 86400;
}

static void
node_touch(struct db *db, const struct hash *h)
{
	sqlite3_stmt *st;

	if ((st = db_stmt(db, DB_NODE_USED)) == NULL)
		return;
	bind_hash(st, 1, h);
	sqlite3_bind_int64(st, 2, today());
	db_exec_stmt(db, st);
}

static struct blob *
get_blob(struct db *db, enum db_statement which, const struct hash *h,
    int64_t *used)
{
	sqlite3_stmt *st;
	struct blob *b;
	int rc;

	if ((st = db_stmt(db, which)) == NULL)
		return NULL;
	bind_hash(st, 1, h);
	if ((rc = db_step(db, st)) != 1) {
		if (rc == 0)
			errno = ENOENT;
		return NULL;
	}
	b = blob_new(sqlite3_column_blob(st, 0),
	    (size_t)sqlite3_column_bytes(st, 0));
	if (used != NULL)
		*used = sqlite3_column_int64(st, 1);
	sqlite3_reset(st);
	return b;
}

struct blob *
db_node_get(struct db *db, const struct hash *h)
{
	struct blob *b;
	int64_t used;

	b = get_blob(db, DB_NODE_GET, h, &used);
	if (b != NULL && used < today())
		node_touch(db, h);
	return b;
}

int
db_node_put(struct db *db, const struct hash *h, const uint8_t *data,
    size_t len)
{
	sqlite3_stmt *st;

	if ((st = db_stmt(db, DB_NODE_PUT)) == NULL)
		return -1;
	bind_hash(st, 1, h);
	sqlite3_bind_int64(st, 2, today());
	bind_blob(st, 3, data, len);
	return db_exec_stmt(db, st);
}

static struct blob *
store_get(void *ctx, const struct hash *h)
{
	return db_node_get(ctx, h);
}

static int
store_put(void *ctx, const struct hash *h, const uint8_t *data, size_t len)
{
	return db_node_put(ctx, h, data, len);
}

void
db_node_store(struct db *db, struct node_store *store)
{
	store->get = store_get;
	store->put = store_put;
	store->ctx = db;
}

static int
node_delete(struct db *db, const struct hash *h)
{
	sqlite3_stmt *st;

	if ((st = db_stmt(db, DB_NODE_DELETE)) == NULL)
		return -1;
	bind_hash(st, 1, h);
	return db_exec_stmt(db, st);
}

/* Up to a thousand of the oldest; returns the bytes that went, or -1. */
static int64_t
trim_some(struct db *db, uint64_t excess)
{
	struct hash hashes[1000];
	sqlite3_stmt *st;
	uint64_t sum = 0;
	size_t n = 0, i;
	int rc;

	if ((st = db_stmt(db, DB_NODE_OLDEST)) == NULL)
		return -1;
	while (sum < excess && n < 1000 && (rc = db_step(db, st)) == 1) {
		if (column_hash(st, 0, &hashes[n++]) == -1)
			break;
		sum += column_u64(st, 1);
	}
	sqlite3_reset(st);
	for (i = 0; i < n; i++)
		if (node_delete(db, &hashes[i]) == -1)
			return -1;
	return (int64_t)sum;
}

int
db_node_trim(struct db *db, uint64_t max_bytes)
{
	sqlite3_stmt *st;
	uint64_t sum;
	int64_t went;

	if ((st = db_stmt(db, DB_NODE_SUM)) == NULL || db_step(db, st) != 1)
		return -1;
	sum = column_u64(st, 0);
	sqlite3_reset(st);
	while (sum > max_bytes) {
		if ((went = trim_some(db, sum - max_bytes)) == -1)
			return -1;
		if (went == 0)
			break;
		sum -= (uint64_t)went;
	}
	return 0;
}

struct blob *
db_commit_get(struct db *db, const struct hash *id)
{
	return get_blob(db, DB_COMMIT_GET, id, NULL);
}

int
db_commit_put(struct db *db, const struct hash *id, const uint8_t *data,
    size_t len)
{
	sqlite3_stmt *st;

	if ((st = db_stmt(db, DB_COMMIT_PUT)) == NULL)
		return -1;
	bind_hash(st, 1, id);
	bind_blob(st, 2, data, len);
	return db_exec_stmt(db, st);
}
