/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * obj_batch: objects in memory between the records of a batch.  In manifest.
 */
#include <sys/tree.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "sailvold/obj_batch.h"

#define BYTES_MAX ((size_t)8 * 1024 * 1024) /* written early beyond that */

struct kept {
	RB_ENTRY(kept) tree;
	struct obj obj;
	size_t bytes;
	int changed;
};
RB_HEAD(kept_tree, kept);

static struct kept_tree all = RB_INITIALIZER(&all);
static size_t all_bytes;
static int64_t batch_mount;
static int active;

static int
kept_cmp(const struct kept *a, const struct kept *b)
{
	return a->obj.ovl < b->obj.ovl ? -1 : a->obj.ovl > b->obj.ovl;
}

RB_PROTOTYPE(kept_tree, kept, tree, kept_cmp)
RB_GENERATE(kept_tree, kept, tree, kept_cmp)

static uint8_t *
bytes_dup(const uint8_t *p, size_t len)
{
	uint8_t *copy;

	if ((copy = malloc(len + 1)) != NULL && len > 0)
		memcpy(copy, p, len);
	return copy;
}

/* A copy of its own; -1: no memory, and nothing of it is left. */
static int
obj_dup(struct obj *to, const struct obj *o)
{
	*to = *o;
	to->entry = entry_dup(o->entry);
	to->origin_path = o->origin_path == NULL
	    ? NULL
	    : bytes_dup(o->origin_path, o->origin_path_len);
	to->chunks =
	    o->chunks == NULL ? NULL : bytes_dup(o->chunks, o->chunks_len);
	if (to->entry != NULL &&
	    (o->origin_path == NULL) == (to->origin_path == NULL) &&
	    (o->chunks == NULL) == (to->chunks == NULL))
		return 0;
	obj_free(to);
	errno = ENOMEM;
	return -1;
}

static void
forget(struct kept *k)
{
	RB_REMOVE(kept_tree, &all, k);
	all_bytes -= k->bytes;
	obj_free(&k->obj);
	free(k);
}

/* o: taken over, also when there is no memory; bytes: of its encoding. */
static int
keep(struct obj *o, size_t bytes, int changed)
{
	struct kept *k, *there;

	if ((k = calloc(1, sizeof(*k))) == NULL) {
		obj_free(o);
		return -1;
	}
	k->obj = *o;
	k->changed = changed;
	k->bytes = sizeof(*k) + 2 * bytes + o->origin_path_len + o->chunks_len;
	if ((there = RB_FIND(kept_tree, &all, k)) != NULL) {
		k->changed |= there->changed;
		forget(there);
	}
	RB_INSERT(kept_tree, &all, k);
	all_bytes += k->bytes;
	return 0;
}

static void
forget_all(void)
{
	struct kept *k;

	while ((k = RB_ROOT(&all)) != NULL)
		forget(k);
}

void
obj_batch_begin(int64_t mount)
{
	forget_all();
	batch_mount = mount;
	active = 1;
}

void
obj_batch_end(void)
{
	forget_all();
	active = 0;
}

int
obj_batch_flush(struct db *db)
{
	struct kept *k;

	RB_FOREACH (k, kept_tree, &all) {
		if (!k->changed)
			continue;
		if (db_obj_put(db, batch_mount, &k->obj) == -1)
			return -1;
		k->changed = 0;
	}
	return 0;
}

int
obj_batch_get(struct db *db, int64_t mount, uint64_t ovl, struct obj *o)
{
	struct kept *k, key;

	if (!active || mount != batch_mount)
		return db_obj_get(db, mount, ovl, o);
	key.obj.ovl = ovl;
	if ((k = RB_FIND(kept_tree, &all, &key)) != NULL)
		return obj_dup(o, &k->obj);
	return db_obj_get(db, mount, ovl, o);
}

int
obj_batch_put(struct db *db, int64_t mount, const struct obj *o)
{
	struct obj copy;
	struct wbuf w;
	size_t len;

	if (!active || mount != batch_mount)
		return db_obj_put(db, mount, o);
	wbuf_init(&w, SAIL_XATTRS_MAX + 64 * 1024);
	entry_encode(&w, o->entry);
	len = w.len;
	if (w.error != 0) {
		errno = w.error;
		wbuf_free(&w);
		return -1;
	}
	wbuf_free(&w);
	if (obj_dup(&copy, o) == -1 || keep(&copy, len, 1) == -1)
		return -1;
	if (all_bytes <= BYTES_MAX)
		return 0;
	if (obj_batch_flush(db) == -1)
		return -1;
	forget_all();
	return 0;
}
