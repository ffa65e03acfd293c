/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * db_nodes: the nodes of a family, as the store that tree, chunklist and merge
 * read from and write to.  In meta.
 */
#include <errno.h>

#include "sailapid/db_sql.h"

static int
nodes_limited(struct db_nodes *n)
{
	if (n->left == 0 || --n->left > 0)
		return 0;
	n->left = 1;
	errno = EOVERFLOW;
	return 1;
}

static struct blob *
nodes_get(void *ctx, const struct hash *hash)
{
	struct db_nodes *n = ctx;
	sqlite3_stmt *st;
	struct blob *b;
	int r;

	if (nodes_limited(n))
		return NULL;
	st = db_query(n->db, ST_NODE_GET, "ih", n->family, hash);
	if ((r = db_next(n->db, st)) != 1) {
		if (r == 0)
			errno = ENOENT;
		return NULL;
	}
	b = blob_new(sqlite3_column_blob(st, 0),
	    (size_t)sqlite3_column_bytes(st, 0));
	db_done(st);
	return b;
}

static int
nodes_put(void *ctx, const struct hash *hash, const uint8_t *data, size_t len)
{
	struct db_nodes *n = ctx;
	sqlite3_stmt *st;
	uint8_t kind;
	int r;

	if (nodes_limited(n))
		return -1;
	/* A look is cheaper than building the row that is there already. */
	st = db_query(n->db, ST_NODE_KNOWN, "ih", n->family, hash);
	if ((r = db_next(n->db, st)) != 0) {
		if (r == 1)
			db_done(st);
		return r == 1 ? 0 : -1;
	}
	if (node_header(data, len, &kind) != NULL) {
		errno = EBADMSG;
		return -1;
	}
	return db_exec(n->db, ST_NODE_PUT, "ihib", n->family, hash,
	    (int64_t)kind, data, len);
}

void
db_nodes_init(struct db_nodes *n, struct db *db, int64_t family)
{
	n->db = db;
	n->family = family;
	n->left = 0;
	n->store.get = nodes_get;
	n->store.put = nodes_put;
	n->store.ctx = n;
}

void
db_nodes_limit(struct db_nodes *n, uint32_t most)
{
	n->left = most == 0 ? 0 : most + 1;
}
