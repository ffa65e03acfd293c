/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * db_bind: small words for binding and reading of SQLite values, shared by the
 * db_*.c files of manifest.
 */
#ifndef SAILVOLD_DB_BIND_H
#define SAILVOLD_DB_BIND_H

#include <errno.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

#include "lib/hash.h"

static inline void
bind_u64(sqlite3_stmt *st, int i, uint64_t v)
{
	sqlite3_bind_int64(st, i, (sqlite3_int64)v);
}

/* The bytes must stay until the statement was stepped. */
static inline void
bind_blob(sqlite3_stmt *st, int i, const void *p, size_t len)
{
	sqlite3_bind_blob64(st, i, p != NULL ? p : "", len, SQLITE_STATIC);
}

static inline void
bind_hash(sqlite3_stmt *st, int i, const struct hash *h)
{
	sqlite3_bind_blob(st, i, h->b, HASH_LEN, SQLITE_STATIC);
}

static inline uint64_t
column_u64(sqlite3_stmt *st, int i)
{
	return (uint64_t)sqlite3_column_int64(st, i);
}

/* 0, or -1 when the column does not hold a hash. */
static inline int
column_hash(sqlite3_stmt *st, int i, struct hash *h)
{
	const void *p = sqlite3_column_blob(st, i);

	if (p == NULL || sqlite3_column_bytes(st, i) != HASH_LEN) {
		memset(h, 0, sizeof(*h));
		errno = EIO;
		return -1;
	}
	memcpy(h->b, p, HASH_LEN);
	return 0;
}

/* A copy that the caller frees, with a NUL behind it; NULL and ENOMEM. */
static inline void *
column_dup(sqlite3_stmt *st, int i, size_t *len)
{
	const void *p = sqlite3_column_blob(st, i);
	size_t n = (size_t)sqlite3_column_bytes(st, i);
	char *copy;

	if ((copy = malloc(n + 1)) == NULL)
		return NULL;
	if (n > 0)
		memcpy(copy, p, n);
	copy[n] = '\0';
	if (len != NULL)
		*len = n;
	return copy;
}

#endif
