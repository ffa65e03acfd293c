/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * commit_chunks: which chunks of a file go up: while it is hashed those that are
 * known, then the rest; not those that were published with it before.  In
 * manifest.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/chunklist.h"
#include "lib/log.h"
#include "lib/rest.h"
#include "lib/wire.h"
#include "sailvold/commit.h"
#include "sailvold/delta_set.h"

#define EARLY_MAX 65536 /* chunks of one file that are sent before its end */

/* ---- what was published before ---------------------------------------------------------- */

struct old_chunks {
	size_t n;
	struct hash h[]; /* sorted */
};

static int
hash_qcmp(const void *a, const void *b)
{
	return hash_cmp(a, b);
}

static struct chunklist *
old_list(const struct obj *o)
{
	struct node_store store;
	struct chunklist *cl;
	struct blob *keep;
	struct hash missing;
	struct entry e;
	struct rbuf r;
	size_t depth;

	if (o->chunks != NULL) {
		rbuf_init(&r, o->chunks, o->chunks_len);
		return chunklist_decode(&r, COMMIT_LIST_SLOTS);
	}
	if (!o->has_origin ||
	    nodes_lookup(&o->origin_commit, o->origin_path, o->origin_path_len,
		&e, &keep, &depth) == -1)
		return NULL;
	db_node_store(manifest_db, &store);
	cl = e.type == ENTRY_FILE
	    ? chunklist_from_entry(&e, &store, COMMIT_LIST_SLOTS, &missing)
	    : NULL;
	blob_unref(keep);
	return cl;
}

static void
add_old(struct old_chunks *out, const struct chunklist *cl)
{
	uint64_t slot = 0, found;
	struct hash h;

	while (chunklist_next(cl, slot, &found, &h)) {
		out->h[out->n++] = h;
		slot = found + 1;
	}
}

/* Chunks that were published with this file before; NULL: none is known. */
static struct old_chunks *
old_chunks(struct commit_run *c, const struct cfile *f, const struct obj *o)
{
	/* The server has lost some of these: all that is here is asked for. */
	struct chunklist *cl = c->missing > 0 ? NULL : old_list(o);
	struct old_chunks *old;
	size_t n;

	n = (cl != NULL ? chunklist_hashes(cl) : 0) +
	    (f->rest != NULL ? chunklist_hashes(f->rest->list) : 0);
	if ((old = malloc(sizeof(*old) + n * sizeof(old->h[0]))) != NULL) {
		old->n = 0;
		if (cl != NULL)
			add_old(old, cl);
		if (f->rest != NULL)
			add_old(old, f->rest->list);
		if (old->n > 1)
			qsort(old->h, old->n, sizeof(old->h[0]), hash_qcmp);
	}
	chunklist_free(cl);
	return old;
}

void
commit_chunks_begin(struct commit_run *c, struct cfile *f, const struct obj *o)
{
	free(f->old);
	f->old = old_chunks(c, f, o);
}

/* 1 when it has no need to go up. */
static int
is_old(const struct cfile *f, const struct hash *h)
{
	return f->old != NULL && f->old->n > 0 &&
	    bsearch(h, f->old->h, f->old->n, sizeof(*h), hash_qcmp) != NULL;
}

void
commit_chunks_free(struct cfile *f)
{
	free(f->old);
	f->old = NULL;
	free(f->early);
	f->early = NULL;
	f->nearly = f->early_size = 0;
}

/* ---- what goes up ---------------------------------------------------------------------------- */

static int
early_add(struct cfile *f, const struct fetch_get_chunk *k)
{
	struct fetch_get_chunk *more;
	size_t size;

	if (f->nearly == f->early_size) {
		size = f->early_size == 0 ? 16 : f->early_size * 2;
		if ((more = reallocarray(f->early, size, sizeof(*more))) ==
		    NULL)
			return -1;
		f->early = more;
		f->early_size = size;
	}
	f->early[f->nearly++] = *k;
	return 0;
}

/*
 * A small one waits for the list: it shares a pack.  Of a hash that was begun
 * anew those that came again are passed over: what counts is the list.
 */
void
commit_chunks_some(struct commit_run *c, struct cfile *f,
    const struct fetch_hash_chunks *m)
{
	const struct fetch_get_chunk *k;
	uint16_t i;

	for (i = 0; i < m->n && f->nearly < EARLY_MAX; i++) {
		k = &m->chunks[i];
		if ((f->nearly > 0 &&
			k->slot <= f->early[f->nearly - 1].slot) ||
		    k->bytes < WIRE_PACK_CHUNK || is_old(f, &k->hash))
			continue;
		/* Without memory it goes with the rest, or nothing does. */
		if (early_add(f, k) == -1)
			break;
		if (commit_batch_add(c, f, k->slot << m->shift, k->bytes,
			&k->hash) == -1) {
			f->nearly--;
			break;
		}
	}
	commit_batch_idle(c);
}

int
commit_chunks_all(struct commit_run *c, struct cfile *f,
    const struct chunklist *cl)
{
	const struct fetch_get_chunk *e = f->early, *end = e + f->nearly;
	uint64_t slot, found;
	struct hash h;
	uint32_t bytes;

	for (slot = 0; chunklist_next(cl, slot, &found, &h); slot = found + 1) {
		bytes = chunklist_slot_bytes(cl, found);
		while (e < end && e->slot < found)
			e++;
		if (e < end && e->slot == found && e->bytes == bytes &&
		    hash_cmp(&e->hash, &h) == 0)
			continue; /* it is on its way */
		if (is_old(f, &h))
			c->skipped += bytes;
		else if (commit_batch_add(c, f, found << chunklist_shift(cl),
			     bytes, &h) == -1)
			return -1;
	}
	return 0;
}
