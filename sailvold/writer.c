/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * writer: files that are open for writing: dirty at the first, settled at the
 * last.  In fuse.
 */
#include <sys/stat.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <string.h>
#include <unistd.h>

#include "lib/log.h"
#include "sailvold/change.h"
#include "sailvold/frontend.h"
#include "sailvold/journal.h"
#include "sailvold/overlay.h"

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
writer_look(uint64_t ovl, struct entry *e, const struct stat *st)
{
	struct timens mtime = timens_of(st->st_mtim);
	struct timens ctime = timens_of(st->st_ctim);
	uint64_t size = (uint64_t)st->st_size;

	if (size > SAIL_SIZE_MAX) {
		if (e->size != SAIL_SIZE_MAX)
			log_warnx("object %llu was written to behind the "
				  "largest size of a file: it is in no commit",
			    (unsigned long long)ovl);
		size = SAIL_SIZE_MAX;
	}
	if (e->size == size && timens_cmp(e->mtime, mtime) == 0)
		return 0;
	e->size = size;
	e->mtime = mtime;
	if (timens_cmp(ctime, e->ctime) > 0)
		e->ctime = ctime;
	return 1;
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
	int writers, error;

	if (!(vn->flags & VN_LOCAL) ||
	    !(vn->flags & (VN_UNSETTLED | VN_LOOKED)))
		return 0;
	if ((error = node_refresh(vn)) != 0)
		return error;
	writers = vn->slot != 0 && inode_writers(vn->slot) > 0;
	memset(&r, 0, sizeof(r));
	r.type = writers ? RECORD_LOOK : RECORD_SETTLE;
	r.ovl = vn->ovl;
	r.entry.size = vn->size;
	r.entry.mtime = vn->mtime;
	r.entry.ctime = vn->ctime;
	if ((error = one_record(&r)) != 0)
		return error;
	vn->flags &= ~VN_LOOKED;
	if (writers)
		vn->flags |= VN_LOOKED;
	return 0;
}

void
writer_end(struct vn *vn)
{
	int error;

	if (vn->slot != 0 && inode_writers(vn->slot) > 0)
		return;
	if (!(vn->flags & (VN_UNSETTLED | VN_LOOKED)))
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

/* e is what is known of it. */
static int
settle_file(uint64_t ovl, struct entry *e, uint8_t type)
{
	struct record r;
	struct stat st;
	int error = 0, fd;

	if ((fd = overlay_open_file(ovl, O_RDONLY)) == -1)
		return errno;
	if (fstat(fd, &st) == -1)
		error = errno;
	close(fd);
	if (error != 0)
		return error;
	memset(&r, 0, sizeof(r));
	r.type = type;
	r.ovl = ovl;
	(void)writer_look(ovl, e, &st);
	r.entry.size = e->size;
	r.entry.mtime = e->mtime;
	r.entry.ctime = e->ctime;
	return one_record(&r);
}

/* One that is written to past us and is not in memory. */
static void
settle_unseen(const struct inode_slot *s)
{
	struct entry e = { .ctime = change_time() };
	int error;

	if (s->mode == MODE_PASSTHROUGH && s->kind == INODE_OBJECT &&
	    (error = settle_file(s->ovl, &e, RECORD_LOOK)) != 0)
		log_warnx("object %llu is not settled: %s",
		    (unsigned long long)s->ovl, strerror(error));
}

static void
settle_one(struct handle *h, void *arg)
{
	struct vn *vn = inode_vn(h->inode);

	(void)arg;
	if (!handle_writes(h))
		return;
	if (vn == NULL) {
		settle_unseen(inode_slot(h->inode));
		return;
	}
	(void)node_refresh(vn);
	/* The next write makes it dirty again; of one that is passed through,
	   the next look at it (node_refresh). */
	if ((vn->flags & VN_UNSETTLED) && writer_settle(vn) == 0) {
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
writer_settle_closed(uint64_t ovl, struct entry *e)
{
	uint32_t idx = inode_by_ovl(ovl);
	struct vn *vn = view_object(ovl);

	if (idx != 0 && inode_writers(idx) > 0)
		return 0;
	if (vn != NULL) {
		writer_end(vn);
		return 0;
	}
	return settle_file(ovl, e, RECORD_SETTLE);
}

void
writer_mapped(uint64_t ovl)
{
	struct vn *vn = view_object(ovl);
	uint32_t idx = inode_by_ovl(ovl);
	struct entry e = { .ctime = change_time() };
	int error;

	if (idx != 0 && inode_writers(idx) > 0)
		return;
	if (vn != NULL) {
		e.size = vn->size;
		e.mtime = vn->mtime;
		e.ctime = vn->ctime;
	}
	if ((error = settle_file(ovl, &e, RECORD_SETTLE)) != 0) {
		log_warnx("object %llu is not settled: %s",
		    (unsigned long long)ovl, strerror(error));
		return;
	}
	if (vn != NULL) {
		vn->size = e.size;
		vn->mtime = e.mtime;
		vn->ctime = e.ctime;
		vn->dirty = journal_end();
	}
	if (idx != 0)
		request_forget_attr(inode_id(idx));
}

/*
 * Without the group's x setgid stays for root and for who is of the group, as
 * far as that is the group that the request says: of others that the caller is
 * in the kernel says nothing.
 */
uint16_t
writer_without_priv(const struct vn *vn, uint16_t mode)
{
	struct fuse_in_header h;

	mode &= ~S_ISUID;
	if (mode & S_IXGRP)
		return mode & ~S_ISGID;
	if (now.len < sizeof(h))
		return mode;
	memcpy(&h, now.raw, sizeof(h));
	if (h.uid != 0 && h.gid != idmap_out(frontend_ids(), vn->gid))
		mode &= ~S_ISGID;
	return mode;
}

int
writer_kill_priv(struct vn *vn)
{
	uint16_t mode = writer_without_priv(vn, vn->mode);
	struct record r;
	int error;

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
