/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * delta_save: what a commit will have published, kept as items of its job
 * before the delta is sent: so much that a manifest that is started anew can
 * record it.  In manifest.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/chunklist.h"
#include "lib/delta.h"
#include "sailvold/commit.h"
#include "sailvold/delta_set.h"
#include "sailvold/job.h"

#define SAVE_AFTER 1
#define SAVE_LOCAL 2
#define SAVE_LEFT 4
#define SAVE_WRITERS 8
#define SAVE_CHUNKS 16
#define SAVE_ENTRY 32

static void
save_item(struct wbuf *w, const struct delta_item *it)
{
	size_t i;

	wbuf_str16(w, it->path, it->len);
	wbuf_u8(w, it->kind);
	wbuf_u8(w,
	    (uint8_t)((it->has_after ? SAVE_AFTER : 0) |
		(it->local ? SAVE_LOCAL : 0) | (it->left ? SAVE_LEFT : 0) |
		(it->writers ? SAVE_WRITERS : 0) |
		(it->chunks != NULL ? SAVE_CHUNKS : 0) |
		(it->entry != NULL ? SAVE_ENTRY : 0)));
	wbuf_u64(w, it->ovl);
	wbuf_time(w, it->hashed_ctime);
	wbuf_time(w, it->hash_began);
	wbuf_u64(w, it->hashed_size);
	if (it->entry != NULL)
		entry_encode(w, it->entry);
	if (it->chunks != NULL)
		chunklist_encode(w, it->chunks);
	if (it->has_after) {
		wbuf_hash(w, &it->after.commit);
		wbuf_str16(w, it->after.path, it->after.len);
	}
	wbuf_u32(w, (uint32_t)it->nref_x);
	for (i = 0; i < it->nref_x; i++)
		wbuf_str16(w, it->ref_x[i].path, it->ref_x[i].len);
}

/* The number of its first item. */
static uint64_t
first_of(enum delta_saved which)
{
	return which == DELTA_BEFORE ? (uint64_t)1 << 40 : 0;
}

int
delta_save(struct db *db, int64_t job, enum delta_saved which,
    const struct delta_set *s, const struct hash *sent)
{
	uint64_t first = first_of(which);
	struct wbuf w;
	size_t i;
	int rc = -1;

	if (which == DELTA_SENT && db_job_items_delete(db, job) == -1)
		return -1;
	wbuf_init(&w, (size_t)1 << 30);
	wbuf_u64(&w, s->mark);
	wbuf_hash(&w, sent);
	if (w.error != 0 ||
	    db_job_item_put(db, job, first, 0, w.data, w.len) == -1)
		goto done;
	for (i = 0; i < s->n; i++) {
		w.len = 0;
		save_item(&w, &s->items[i]);
		if (w.error != 0) {
			errno = w.error;
			goto done;
		}
		if (db_job_item_put(db, job, first + i + 1,
			s->items[i].local ? s->items[i].ovl : 0, w.data,
			w.len) == -1)
			goto done;
	}
	rc = 0;
done:
	wbuf_free(&w);
	return rc;
}

static int
load_refs(struct rbuf *r, struct delta_item *it)
{
	const uint8_t *p;
	uint32_t n, i;
	size_t len;

	n = rbuf_u32(r);
	if (r->error != NULL || n > rbuf_left(r))
		return -1;
	if (n == 0)
		return 0;
	if ((it->ref_x = calloc(n, sizeof(*it->ref_x))) == NULL)
		return -1;
	for (i = 0; i < n; i++) {
		p = rbuf_str16(r, SAIL_PATH_MAX, &len);
		if (p == NULL || (it->ref_x[i].path = mem_dup(p, len)) == NULL)
			return -1;
		it->ref_x[i].len = len;
		it->nref_x++;
	}
	return 0;
}

static int
load_item(struct delta_set *s, struct rbuf *r)
{
	struct delta_item *it;
	const uint8_t *p;
	struct entry e;
	uint8_t flags;
	size_t len;

	p = rbuf_str16(r, SAIL_PATH_MAX, &len);
	if (p == NULL || (it = delta_set_add(s, p, len)) == NULL)
		return -1;
	it->kind = rbuf_u8(r);
	flags = rbuf_u8(r);
	it->has_after = (flags & SAVE_AFTER) != 0;
	it->local = (flags & SAVE_LOCAL) != 0;
	it->left = (flags & SAVE_LEFT) != 0;
	it->writers = (flags & SAVE_WRITERS) != 0;
	it->ovl = rbuf_u64(r);
	it->hashed_ctime = rbuf_time(r);
	it->hash_began = rbuf_time(r);
	it->hashed_size = rbuf_u64(r);
	if ((flags & SAVE_ENTRY) &&
	    (entry_decode(r, &e) == -1 || (it->entry = entry_dup(&e)) == NULL))
		return -1;
	if ((flags & SAVE_CHUNKS) &&
	    (it->chunks = chunklist_decode(r, DELTA_MAX_HASHES)) == NULL)
		return -1;
	if (it->has_after) {
		rbuf_hash(r, &it->after.commit);
		p = rbuf_str16(r, SAIL_PATH_MAX, &len);
		if (p == NULL || (it->after.path = mem_dup(p, len)) == NULL)
			return -1;
		it->after.len = len;
	}
	if (load_refs(r, it) == -1)
		return -1;
	return rbuf_end(r);
}

int
delta_load(struct db *db, int64_t job, enum delta_saved which,
    struct delta_set *s, struct hash *sent)
{
	const uint64_t first = first_of(which);
	struct rbuf r;
	uint8_t *data;
	uint64_t seq;
	size_t len;
	int rc;

	memset(s, 0, sizeof(*s));
	for (seq = first;; seq++) {
		if (db_job_item_get(db, job, seq, &data, &len) == -1) {
			if (errno != ENOENT || seq == first)
				break;
			return 0;
		}
		rbuf_init(&r, data, len);
		if (seq == first) {
			s->mark = rbuf_u64(&r);
			rbuf_hash(&r, sent);
			rc = rbuf_end(&r);
		} else
			rc = load_item(s, &r);
		free(data);
		if (rc == -1) {
			errno = EIO;
			break;
		}
	}
	delta_set_free(s);
	return -1;
}
