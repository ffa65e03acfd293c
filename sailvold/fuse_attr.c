/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * fuse_attr: operations on attributes, and what a symlink points to.  In fuse.
 */
#include <sys/stat.h>
#include <errno.h>
#include <linux/fuse.h>
#include <string.h>
#include <unistd.h>

#include "sailvold/change.h"
#include "sailvold/content.h"
#include "sailvold/frontend.h"
#include "sailvold/journal.h"
#include "sailvold/overlay.h"
#include "sailvold/overlay_use.h"
#include "sailvold/passthrough.h"

static void
reply_attr(fuse_req_t req, struct vn *vn)
{
	struct stat st;
	int error;

	if ((error = node_stat(vn, &st)) != 0)
		request_fail(req, error);
	else
		fuse_reply_attr(req, &st, passthrough_attr_timeout(vn));
}

void
op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct vn *vn;
	int error;

	(void)fi;
	if (door_is(ino)) {
		if ((error = door_getattr(req, ino)) != 0)
			request_fail(req, error);
		return;
	}
	if ((error = node_get(ino, &vn)) != 0)
		request_fail(req, error);
	else
		reply_attr(req, vn);
}

void
op_readlink(fuse_req_t req, fuse_ino_t ino)
{
	struct vn *vn;
	int error;

	if ((error = node_get(ino, &vn)) == 0 && vn->type != ENTRY_SYMLINK)
		error = EINVAL;
	if (error != 0)
		request_fail(req, error);
	else
		fuse_reply_readlink(req, vn->target);
}

/* ---- setattr ------------------------------------------------------------------ */

/*
 * A request that sets nothing is what the kernel sends before fallocate and
 * copy_file_range by one who may not keep the bits, and for chown(-1, -1).
 */
static int
sets_nothing(void)
{
	const struct fuse_setattr_in *in = request_body(sizeof(*in));

	return in != NULL && (in->valid & ~(uint32_t)FATTR_FH) == 0;
}

static int
kill_priv_wanted(void)
{
	const struct fuse_setattr_in *in = request_body(sizeof(*in));

	return in != NULL &&
	    ((in->valid & FATTR_KILL_SUIDGID) || sets_nothing());
}

/*
 * A chown(-1, -1) that takes the bits away is for the owner; one who writes may
 * always do it.  The kernel checks neither, and does not say which it is: where
 * nobody has the file open for writing it is a chown.
 */
static int
is_chown_of_stranger(fuse_req_t req, const struct vn *vn)
{
	uid_t uid = fuse_req_ctx(req)->uid;

	return sets_nothing() && vn->type != ENTRY_DIR &&
	    writer_without_priv(vn, vn->mode) != vn->mode && uid != 0 &&
	    uid != idmap_out(frontend_ids(), vn->uid) &&
	    (vn->slot == 0 || inode_writers(vn->slot) == 0);
}

static int
set_size(struct vn *vn, off_t size)
{
	int error, fd;

	if (vn->type != ENTRY_FILE)
		return vn->type == ENTRY_DIR ? EISDIR : EINVAL;
	if (size < 0 || (uint64_t)size > SAIL_SIZE_MAX)
		return EFBIG;
	if ((error = content_local(vn, size == 0)) != 0 ||
	    (error = content_prepare_size(vn, (uint64_t)size)) != 0 ||
	    (error = writer_begin(vn)) != 0)
		return error;
	use_touch(vn->ovl);
	if ((fd = overlay_fd(vn)) == -1 || ftruncate(fd, size) == -1)
		error = errno;
	else
		error = content_was_cut(vn, (uint64_t)size);
	use_look(vn->ovl);
	writer_end(vn);
	return error;
}

/* What is asked for, as a record; its flags are 0 when nothing is.  EINVAL: an
   owner that the volume cannot have. */
static int
wanted(struct record *r, const struct vn *vn, const struct stat *st, int set,
    int size_too)
{
	uint16_t mode;

	r->type = RECORD_ATTR;
	r->entry.mode = vn->mode;
	r->entry.uid = vn->uid;
	r->entry.gid = vn->gid;
	r->entry.mtime = vn->mtime;
	if (set & FUSE_SET_ATTR_MODE) {
		r->flags |= RECORD_ATTR_MODE;
		r->entry.mode = st->st_mode & 07777;
	}
	if (set & FUSE_SET_ATTR_UID) {
		r->flags |= RECORD_ATTR_UID;
		if (idmap_in(frontend_ids(), st->st_uid, &r->entry.uid) == -1)
			return EINVAL;
	}
	if (set & FUSE_SET_ATTR_GID) {
		r->flags |= RECORD_ATTR_GID;
		if (idmap_in(frontend_ids(), st->st_gid, &r->entry.gid) == -1)
			return EINVAL;
	}
	if (set & FUSE_SET_ATTR_MTIME) {
		r->flags |= RECORD_ATTR_MTIME;
		r->entry.mtime = timens_of(st->st_mtim);
	}
	/* Both come with a truncate: then the file's own time is that. */
	if ((set & FUSE_SET_ATTR_MTIME_NOW) && !size_too) {
		r->flags |= RECORD_ATTR_MTIME;
		r->entry.mtime = change_time();
	}
	if (kill_priv_wanted() && vn->type != ENTRY_DIR &&
	    (mode = writer_without_priv(vn, r->entry.mode)) != r->entry.mode) {
		r->flags |= RECORD_ATTR_MODE;
		r->entry.mode = mode;
	}
	return 0;
}

static void
take(struct vn *vn, const struct record *r)
{
	vn->mode = r->entry.mode;
	vn->uid = r->entry.uid;
	vn->gid = r->entry.gid;
	vn->mtime = r->entry.mtime;
	vn->ctime = r->entry.ctime;
	vn->dirty = journal_end();
}

/* utimens(2) sets those of the overlay file too: they count from the next open
   for writing. */
static int
set_file_times(struct vn *vn, struct timens *t)
{
	struct timespec ts[2] = { { 0, UTIME_OMIT },
		{ t->sec, (long)t->nsec } };
	int fd;

	if (!(vn->flags & VN_LOCAL))
		return 0;
	if ((fd = overlay_fd(vn)) == -1 || overlay_set_times(fd, ts, t) == -1)
		return errno;
	return 0;
}

static void
set_atime(struct vn *vn, const struct vn *old, const struct stat *st, int set)
{
	struct timens before = old->flags & VN_ATIME ? old->atime : old->mtime;

	/* Kept when the request wrote to it. */
	if (vn->flags & VN_ATIME)
		before = vn->atime;
	if (set & FUSE_SET_ATTR_ATIME_NOW)
		before = change_time();
	else if (set & FUSE_SET_ATTR_ATIME)
		before = timens_of(st->st_atim);
	else if (!(set & (FUSE_SET_ATTR_MTIME | FUSE_SET_ATTR_MTIME_NOW)))
		return;
	/* Setting mtime alone leaves it as it was. */
	vn->atime = before;
	vn->flags |= VN_ATIME;
}

static int
set_attr(struct vn *vn, const struct stat *st, int set)
{
	int size_too = (set & FUSE_SET_ATTR_SIZE) != 0, atime_alone;
	struct record r;
	struct change c;
	int error;

	if (size_too && (error = set_size(vn, st->st_size)) != 0)
		return error;
	memset(&r, 0, sizeof(r));
	if ((error = wanted(&r, vn, st, set, size_too)) != 0)
		return error;
	/* A chown(2) that names nobody moves ctime still, as does a new atime. */
	if (r.flags == 0 && size_too)
		return frontend_readonly() ? EROFS : 0;
	atime_alone = r.flags == 0 &&
	    (set & (FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_ATIME_NOW));
	r.flags |= RECORD_ATTR_CTIME;
	r.entry.ctime = change_time();
	if ((error = change_begin(&c)) != 0)
		return error;
	/* Clean and without a name: nobody will see it but who has it open.  A new
	   atime, which is in memory alone, is no change of what is clean either. */
	if (vn->ovl == 0 && (atime_alone || (vn->flags & VN_GONE))) {
		change_abort(&c);
		take(vn, &r);
		return 0;
	}
	r.ovl = change_object(&c, vn);
	/* What the file system below cannot hold would be another tomorrow. */
	if ((r.flags & RECORD_ATTR_MTIME) &&
	    ((error = set_file_times(vn, &r.entry.mtime)) != 0 ||
		/* It hides a write that is passed through. */
		(passthrough_writers(vn) && (error = writer_begin(vn)) != 0))) {
		change_abort(&c);
		return error;
	}
	change_add(&c, &r);
	if ((error = change_commit(&c)) != 0)
		return error;
	take(vn, &r);
	return 0;
}

void
op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *st, int set,
    struct fuse_file_info *fi)
{
	struct vn *vn, before;
	int error;

	(void)fi;
	if (door_is(ino)) {
		/* O_TRUNC of a shell's redirection comes with the open. */
		fuse_reply_err(req, EPERM);
		return;
	}
	if ((error = node_get(ino, &vn)) != 0)
		goto fail;
	before = *vn;
	if (is_chown_of_stranger(req, vn)) {
		error = EPERM;
		goto fail;
	}
	if ((error = set_attr(vn, st, set)) != 0)
		goto fail;
	set_atime(vn, &before, st, set);
	reply_attr(req, vn);
	return;
fail:
	request_fail(req, error);
}
