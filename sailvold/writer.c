/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * writer: files that are open for writing: dirty at the first, settled at the
 * last.  In fuse.
 */
#include <sys/stat.h>
#include <string.h>

#include "lib/log.h"
#include "sailvold/change.h"
#include "sailvold/frontend.h"
#include "sailvold/journal.h"

static int
one_record(struct record *r)
{
	uint64_t unique = now.unique;
	struct change c;
	int error;

	memset(&c, 0, sizeof(c));
	wbuf_init(&c.w, RECORD_MAX_BYTES);
	change_add(&c, r);
	now.unique = 0;
	error = change_commit(&c);
	now.unique = unique;
	return error;
}

int
writer_begin(struct vn *vn)
{
	struct record r;
	int error;

	if (!(vn->flags & VN_LOCAL) || (vn->flags & VN_UNSETTLED))
		return 0;
	memset(&r, 0, sizeof(r));
	r.type = RECORD_DIRTY;
	r.ovl = vn->ovl;
	if ((error = one_record(&r)) != 0)
		return error;
	vn->flags |= VN_UNSETTLED;
	vn->flags &= ~VN_CLEAN;
	vn->dirty = journal_end();
	return 0;
}

int
writer_settle(struct vn *vn)
{
	struct record r;

	if (!(vn->flags & VN_LOCAL) || !(vn->flags & VN_UNSETTLED))
		return 0;
	node_refresh(vn);
	memset(&r, 0, sizeof(r));
	r.type = RECORD_SETTLE;
	r.ovl = vn->ovl;
	r.entry.size = vn->size;
	r.entry.mtime = vn->mtime;
	r.entry.ctime = vn->ctime;
	return one_record(&r);
}

void
writer_end(struct vn *vn)
{
	int error;

	if (vn->slot != 0 && inode_priv(vn->slot)->writers > 0)
		return;
	if (!(vn->flags & VN_UNSETTLED))
		return;
	/* Without room it stays unsettled: fstat tells, as after a crash. */
	if ((error = writer_settle(vn)) != 0) {
		log_warnx("object %llu is not settled: %s",
		    (unsigned long long)vn->ovl, strerror(error));
		return;
	}
	vn->flags &= ~VN_UNSETTLED;
	vn->dirty = journal_end();
}

static void
settle_one(struct handle *h, void *arg)
{
	struct vn *vn = inode_priv(h->inode)->vn;

	(void)arg;
	/* The next write makes it dirty again. */
	if (handle_writes(h) && vn != NULL && (vn->flags & VN_UNSETTLED) &&
	    writer_settle(vn) == 0) {
		vn->flags &= ~VN_UNSETTLED;
		vn->dirty = journal_end();
	}
}

void
writer_settle_all(void)
{
	handle_foreach(settle_one, NULL);
}

int
writer_kill_priv(struct vn *vn)
{
	uint16_t mode = vn->mode & ~S_ISUID;
	struct record r;
	int error;

	if (mode & S_IXGRP)
		mode &= ~S_ISGID;
	if (mode == vn->mode || vn->ovl == 0)
		return 0;
	memset(&r, 0, sizeof(r));
	r.type = RECORD_ATTR;
	r.ovl = vn->ovl;
	r.flags = RECORD_ATTR_MODE | RECORD_ATTR_CTIME;
	r.entry.mode = mode;
	r.entry.ctime = change_time();
	if ((error = one_record(&r)) != 0)
		return error;
	vn->mode = mode;
	vn->ctime = r.entry.ctime;
	vn->dirty = journal_end();
	return 0;
}
