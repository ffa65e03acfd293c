/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * db_stage: the nodes of a family for a merge that takes long: what it puts is
 * gathered, and written in short transactions of its own, so that others come
 * in between.  A node that no commit names does no harm.  In the thread of meta.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "sailapid/db.h"

#define STAGE_NODES 1024
#define STAGE_BYTES (512 * 1024)

struct staged {
	struct hash hash;
	struct blob *blob;
};

static int
stage_stopped(const struct db_stage *s)
{
	if (!atomic_load(s->stop) && !atomic_load(s->also))
		return 0;
	errno = ECANCELED;
	return 1;
}

static struct blob *
stage_get(void *ctx, const struct hash *hash)
{
	struct db_stage *s = ctx;
	size_t i;

	if (stage_stopped(s))
		return NULL;
	for (i = s->n; i > 0; i--)
		if (hash_cmp(&s->v[i - 1].hash, hash) == 0)
			return blob_ref(s->v[i - 1].blob);
	return s->nodes.store.get(s->nodes.store.ctx, hash);
}

static void
stage_drop(struct db_stage *s)
{
	while (s->n > 0)
		blob_unref(s->v[--s->n].blob);
	s->bytes = 0;
}

int
db_stage_flush(struct db_stage *s)
{
	struct node_store *to = &s->nodes.store;
	int r = 0, error;
	size_t i;

	if (s->n == 0)
		return 0;
	if (db_begin(s->nodes.db) == -1)
		return -1;
	for (i = 0; i < s->n && r == 0; i++)
		r = to->put(to->ctx, &s->v[i].hash, s->v[i].blob->data,
		    s->v[i].blob->len);
	if (r == 0)
		r = db_end(s->nodes.db);
	else {
		error = errno;
		db_abort(s->nodes.db);
		errno = error;
	}
	stage_drop(s);
	return r;
}

static int
stage_put(void *ctx, const struct hash *hash, const uint8_t *data, size_t len)
{
	struct db_stage *s = ctx;
	struct blob *b;

	if (stage_stopped(s) ||
	    ((s->n == STAGE_NODES || s->bytes + len > STAGE_BYTES) &&
		db_stage_flush(s) == -1) ||
	    (b = blob_new(data, len)) == NULL)
		return -1;
	s->v[s->n].hash = *hash;
	s->v[s->n++].blob = b;
	s->bytes += len;
	return 0;
}

int
db_stage_init(struct db_stage *s, struct db *db, int64_t family,
    const atomic_int *stop, const atomic_int *also)
{
	memset(s, 0, sizeof(*s));
	if ((s->v = calloc(STAGE_NODES, sizeof(*s->v))) == NULL)
		return -1;
	db_nodes_init(&s->nodes, db, family);
	s->stop = stop;
	s->also = also;
	s->store.get = stage_get;
	s->store.put = stage_put;
	s->store.ctx = s;
	return 0;
}

void
db_stage_free(struct db_stage *s)
{
	stage_drop(s);
	free(s->v);
	s->v = NULL;
}
