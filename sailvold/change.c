/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * change: from an operation to records in the journal.  In fuse.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lib/log.h"
#include "sailvold/change.h"
#include "sailvold/frontend.h"
#include "sailvold/inode.h"
#include "sailvold/journal.h"
#include "sailvold/overlay.h"

#define CHANGE_BYTES (4 * 1024 * 1024)

static int held;
static struct waitq held_q = { TAILQ_HEAD_INITIALIZER(held_q.parks) };

struct timens
change_time(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME_COARSE, &ts);
	return timens_of(ts);
}

void
change_hold(int on)
{
	held = on;
	if (!on)
		waitq_wake(&held_q, 0);
}

int
change_begin(struct change *c)
{
	memset(c, 0, sizeof(*c));
	if (frontend_readonly())
		return EROFS;
	if (held)
		return wait_on(&held_q);
	wbuf_init(&c->w, CHANGE_BYTES);
	return 0;
}

void
change_abort(struct change *c)
{
	size_t i;

	for (i = 0; i < c->nup; i++)
		c->up[i]->plan = 0;
	free(c->up);
	wbuf_free(&c->w);
	c->up = NULL;
	c->nup = 0;
}

uint64_t
change_number(struct change *c)
{
	uint64_t ovl;

	if (c->error != 0)
		return 0;
	if ((ovl = overlay_number()) == 0)
		c->error = errno;
	return ovl;
}

static int
will_be(struct change *c, struct vn *vn, uint64_t ovl)
{
	struct vn **p;

	if (c->nup == c->cap) {
		c->cap = c->cap == 0 ? 16 : c->cap * 2;
		p = reallocarray(c->up, c->cap, sizeof(*p));
		if (p == NULL)
			return ENOMEM;
		c->up = p;
	}
	c->up[c->nup++] = vn;
	vn->plan = ovl;
	return 0;
}

/* One that is clean yet: its directory is an object, or will be. */
static uint64_t
copy_up(struct change *c, struct vn *vn)
{
	uint8_t path[SAIL_PATH_MAX];
	struct record r;

	memset(&r, 0, sizeof(r));
	r.type = RECORD_COPYUP;
	r.parent =
	    vn->name->dir->ovl != 0 ? vn->name->dir->ovl : vn->name->dir->plan;
	r.name = (const uint8_t *)vn->name->name;
	r.name_len = vn->name->len;
	if ((r.ovl = change_number(c)) == 0)
		return 0;
	if (vn_origin(vn, &r.origin_commit, path, &r.origin_path_len) == -1 ||
	    vn_entry(vn, &r.entry) == -1 ||
	    (c->error = will_be(c, vn, r.ovl)) != 0) {
		c->error = errno;
		return 0;
	}
	r.origin_path = path;
	record_encode(&c->w, &r);
	return r.ovl;
}

uint64_t
change_object(struct change *c, struct vn *vn)
{
	struct vn *v, *chain[SAIL_DEPTH_MAX + 1];
	size_t n = 0;
	uint64_t ovl = 0;

	if (c->error != 0)
		return 0;
	for (v = vn; v->ovl == 0 && v->plan == 0; v = v->name->dir) {
		if (v->name == NULL || n > SAIL_DEPTH_MAX) {
			c->error = ESTALE;
			return 0;
		}
		chain[n++] = v;
	}
	if (n == 0)
		return vn->ovl != 0 ? vn->ovl : vn->plan;
	while (n > 0)
		if ((ovl = copy_up(c, chain[--n])) == 0)
			return 0;
	return ovl;
}

void
change_add(struct change *c, struct record *r)
{
	if (c->error == 0)
		record_encode(&c->w, r);
}

/* The unique number goes into the last record: front of 4 + 1 bytes. */
static void
set_unique(struct change *c, size_t at)
{
	uint64_t u = now.unique;
	uint32_t len, crc;
	int i;

	len = (uint32_t)(c->w.len - at - 8);
	for (i = 0; i < 8; i++)
		c->w.data[at + 5 + (size_t)i] = (uint8_t)(u >> (8 * i));
	crc = crc32c(0, c->w.data + at, (size_t)len + 4);
	wbuf_set_u32(&c->w, c->w.len - 4, crc);
}

static size_t
last_record(const struct change *c)
{
	struct rbuf r;
	size_t at = 0, next = 0;

	while (next < c->w.len) {
		at = next;
		rbuf_init(&r, c->w.data + at, 4);
		next = at + rbuf_u32(&r) + 8;
	}
	return at;
}

int
change_commit(struct change *c)
{
	struct vn *vn;
	uint64_t end;
	size_t i;

	if (c->error == 0)
		c->error = c->w.error;
	if (c->error == 0 && c->w.len > 0) {
		set_unique(c, last_record(c));
		if (journal_append(c->w.data, c->w.len) == -1)
			c->error = errno;
	}
	if (c->error != 0) {
		int error = c->error;

		change_abort(c);
		return error;
	}
	end = journal_end();
	for (i = 0; i < c->nup; i++) {
		uint8_t path[SAIL_PATH_MAX];
		struct hash commit;
		size_t len;

		vn = c->up[i];
		if (vn->origin == NULL &&
		    vn_origin(vn, &commit, path, &len) == 0 &&
		    vn_set_origin(vn, &commit, path, len) == -1)
			fatal("change");
	}
	for (i = 0; i < c->nup; i++) {
		vn = c->up[i];
		vn_set_ovl(vn, vn->plan);
		vn->plan = 0;
		vn->dirty = end;
		vn->flags |= VN_CLEAN;
		vn->name->dir->dir->dirty = end;
		if (vn->slot != 0)
			inode_set_ovl(vn->slot, vn->ovl);
	}
	c->nup = 0;
	change_abort(c);
	return 0;
}

void
change_touch(struct vn *dir, struct timens t)
{
	vn_keep_atime(dir);
	dir->mtime = dir->ctime = t;
	dir->dirty = journal_end();
	if (dir->dir != NULL)
		dir->dir->dirty = dir->dirty;
}
