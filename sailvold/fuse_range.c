/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * fuse_range: operations on a file that a thread does: fallocate,
 * copy_file_range; and lseek, statfs.  In fuse.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sailvold/change.h"
#include "sailvold/content.h"
#include "sailvold/frontend.h"
#include "sailvold/overlay.h"
#include "sailvold/overlay_use.h"
#include "sailvold/worker.h"

#define COPY_BYTES (1024 * 1024)

struct range_work {
	struct work work;
	fuse_req_t req;
	int fd, fd2; /* -1: none */
	int mode;
	off_t off, off2, len;
	size_t copied;
	int clean;          /* fd is of a chunk, and has that to copy */
	int whole;          /* it is all of the chunk */
	struct hash from;   /* its hash */
	struct park *again; /* NULL: it is not done once more */
	struct vn *busy;    /* whose overlay file it changes, pinned */
	uint64_t sync_fh;   /* it is to be safe before it is answered; 0 */
};

static struct range_work *
range_new(fuse_req_t req, void (*run)(struct work *),
    void (*done)(struct work *))
{
	struct range_work *r;

	if ((r = calloc(1, sizeof(*r))) == NULL)
		return NULL;
	r->work.run = run;
	r->work.done = done;
	r->req = req;
	r->fd = r->fd2 = -1;
	return r;
}

static void
range_free(struct range_work *r)
{
	if (r->fd != -1)
		close(r->fd);
	if (r->fd2 != -1)
		close(r->fd2);
	request_copy_free(r->again);
	free(r);
}

/* vn: as range_idle() gave it. */
static void
range_answer(struct range_work *r, struct vn *vn, int is_write)
{
	if (r->work.error != 0)
		fuse_reply_err(r->req, r->work.error);
	else if (vn != NULL && r->sync_fh != 0)
		sync_begin(r->req, vn, r->sync_fh, is_write, r->copied);
	else if (is_write)
		fuse_reply_write(r->req, r->copied);
	else
		fuse_reply_err(r->req, 0);
	if (vn != NULL)
		vn_unpin(vn);
	range_free(r);
}

/* Nothing else changes the file until it is done. */
static void
range_busy(struct range_work *r, struct vn *vn)
{
	r->busy = vn;
	vn_pin(vn);
	content_busy(vn);
}

/*
 * The file, still pinned; NULL.  Who settled it in the meantime saw a part of
 * what was done: its size and times are what they are now.
 */
static struct vn *
range_idle(struct range_work *r)
{
	struct vn *vn = r->busy;
	int error;

	if (vn == NULL)
		return NULL;
	content_idle(vn);
	use_look(vn->ovl);
	if ((error = writer_begin(vn)) != 0 && r->work.error == 0)
		r->work.error = error;
	return vn;
}

static int
dup_fd(int fd)
{
	return fcntl(fd, F_DUPFD_CLOEXEC, 0);
}

/* ---- fallocate ----------------------------------------------------------------- */

static void
fallocate_run(struct work *w)
{
	struct range_work *r = (struct range_work *)w;

	if (fallocate(r->fd, r->mode, r->off, r->len) == -1)
		w->error = errno;
}

/* What it made zeros is here now. */
static void
fallocate_done(struct work *w)
{
	struct range_work *r = (struct range_work *)w;
	struct vn *vn = range_idle(r);

	if (vn != NULL && w->error == 0 &&
	    (r->mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE)))
		w->error = content_written(vn, (uint64_t)r->off,
		    (uint64_t)(r->off + r->len));
	range_answer(r, vn, 0);
}

void
op_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t off, off_t len,
    struct fuse_file_info *fi)
{
	const int zeros = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE;
	const int known =
	    FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE;
	struct range_work *r;
	struct vn *vn;
	int error, fd;

	error = EOPNOTSUPP;
	if (mode & ~known)
		goto fail;
	error = EFBIG;
	if (off < 0 || len < 0 || (uint64_t)off > SAIL_SIZE_MAX ||
	    (uint64_t)len > SAIL_SIZE_MAX - (uint64_t)off)
		goto fail;
	if ((error = node_get(ino, &vn)) != 0 ||
	    (!(mode & FALLOC_FL_PUNCH_HOLE) &&
		(error = overlay_room((uint64_t)len)) != 0) ||
	    (error = content_local(vn, 0)) != 0 ||
	    (error = content_prepare(vn, (uint64_t)off, (uint64_t)(off + len),
		 (mode & zeros) != 0)) != 0 ||
	    (error = writer_begin(vn)) != 0)
		goto fail;
	use_touch(vn->ovl);
	if (!(mode & FALLOC_FL_PUNCH_HOLE) &&
	    (error = use_write(vn->ovl, (uint64_t)off, (uint64_t)len)) != 0)
		goto fail;
	error = ENOMEM;
	if ((r = range_new(req, fallocate_run, fallocate_done)) == NULL)
		goto fail;
	r->mode = mode;
	r->sync_fh = sync_wanted(fi) ? fi->fh : 0;
	r->off = off;
	r->len = len;
	if ((fd = overlay_fd(vn)) == -1 || (r->fd = dup_fd(fd)) == -1) {
		error = errno;
		range_free(r);
		goto fail;
	}
	range_busy(r, vn);
	worker_submit(&r->work);
	return;
fail:
	request_fail(req, error);
}

/* ---- copy_file_range ---------------------------------------------------------------- */

/* Zeros over what is there; the file grows when it is shorter. */
static int
copy_zeros(int fd, off_t at, off_t len)
{
	static const char zeros[64 * 1024];
	ssize_t n;

	if (fallocate(fd, FALLOC_FL_ZERO_RANGE, at, len) == 0)
		return 0;
	while (len > 0) {
		n = pwrite(fd, zeros,
		    len < (off_t)sizeof(zeros) ? (size_t)len : sizeof(zeros),
		    at);
		if (n <= 0)
			return -1;
		at += n;
		len -= n;
	}
	return 0;
}

/* Between file systems: from memory, for one. */
static ssize_t
copy_by_hand(int from, off_t in, int to, off_t out, size_t len)
{
	char *buf;
	ssize_t n;

	if (len > COPY_BYTES)
		len = COPY_BYTES;
	if ((buf = malloc(len)) == NULL)
		return -1;
	if ((n = pread(from, buf, len, in)) > 0)
		n = pwrite(to, buf, (size_t)n, out);
	free(buf);
	return n;
}

static ssize_t
copy_some(const struct range_work *r)
{
	loff_t in = r->off + (off_t)r->copied, out = r->off2 + (off_t)r->copied;
	size_t len = (size_t)r->len - r->copied;
	ssize_t n;

	n = copy_file_range(r->fd, &in, r->fd2, &out, len, 0);
	if (n == -1 &&
	    (errno == EXDEV || errno == EINVAL || errno == EOPNOTSUPP))
		n = copy_by_hand(r->fd, in, r->fd2, out, len);
	return n;
}

/*
 * A chunk that another file has from now on, and a commit publishes, is looked
 * at before.  Of one the caller's next part would not be whole: all of it.
 */
static void
copy_run(struct work *w)
{
	struct range_work *r = (struct range_work *)w;
	ssize_t n = 1;

	if (r->fd == -1) {
		r->copied = (size_t)r->len;
		if (copy_zeros(r->fd2, r->off2, r->len) == -1)
			w->error = errno;
		return;
	}
	if (r->whole &&
	    (w->error = content_check(r->fd, r->off, r->len, &r->from)) != 0)
		return;
	do {
		if ((n = copy_some(r)) > 0)
			r->copied += (size_t)n;
	} while (n > 0 && r->whole && r->copied < (size_t)r->len);
	if (r->copied > 0)
		return;
	if (n == -1)
		w->error = errno;
	else if (r->clean)
		w->error = EIO; /* a chunk that ends before it should */
}

static void
copy_done(struct work *w)
{
	struct range_work *r = (struct range_work *)w;
	int bad = r->clean && w->error == EIO;
	struct vn *vn = range_idle(r);

	/* Or it was the other's disk: then it is looked at in vain. */
	if (bad)
		content_bad(&r->from, r->fd);
	if (bad && r->again != NULL) {
		request_again(r->req, r->again);
		r->again = NULL;
		if (vn != NULL)
			vn_unpin(vn);
		range_free(r);
		return;
	}
	range_answer(r, vn, 1);
}

void
op_copy_file_range(fuse_req_t req, fuse_ino_t ino, off_t off,
    struct fuse_file_info *fi, fuse_ino_t ino2, off_t off2,
    struct fuse_file_info *fi2, size_t len, int flags)
{
	struct extent x[EXTENTS_MAX];
	struct vn *from, *to;
	struct range_work *r;
	int error, fd, n;

	(void)fi;
	error = EINVAL;
	if (flags != 0 || off < 0 || off2 < 0)
		goto fail;
	error = EFBIG;
	if ((uint64_t)off2 >= SAIL_SIZE_MAX)
		goto fail;
	if (len > SAIL_SIZE_MAX - (uint64_t)off2)
		len = SAIL_SIZE_MAX - (uint64_t)off2;
	if ((error = node_get(ino, &from)) != 0 ||
	    (error = node_get(ino2, &to)) != 0 ||
	    (error = overlay_room(len < from->size ? len : from->size)) != 0 ||
	    (error = content_local(to, 0)) != 0 ||
	    (error = writer_begin(to)) != 0)
		goto fail;
	/* No more than one chunk of each: the caller goes on. */
	if ((!content_is_whole(from) || !content_is_whole(to)) &&
	    len > EXTENTS_BYTES)
		len = EXTENTS_BYTES;
	if ((error = content_prepare(to, (uint64_t)off2, (uint64_t)off2 + len,
		 0)) != 0 ||
	    (error = content_extents(from, (uint64_t)off, len, x, &n)) != 0)
		goto fail;
	if (n == 0) {
		fuse_reply_write(req, 0);
		return;
	}
	if ((error = use_write(to->ovl, (uint64_t)off2, x->len)) != 0)
		goto fail;
	error = ENOMEM;
	if ((r = range_new(req, copy_run, copy_done)) == NULL)
		goto fail;
	r->off = x->at;
	r->off2 = off2;
	r->len = (off_t)x->len;
	if ((r->clean = x->clean)) {
		r->whole = x->whole;
		r->from = x->hash;
		r->again = request_copy();
	}
	r->sync_fh = sync_wanted(fi2) ? fi2->fh : 0;
	if ((x->fd != -1 && (r->fd = dup_fd(x->fd)) == -1) ||
	    (fd = overlay_fd(to)) == -1 || (r->fd2 = dup_fd(fd)) == -1) {
		error = errno;
		range_free(r);
		goto fail;
	}
	range_busy(r, to);
	worker_submit(&r->work);
	return;
fail:
	request_fail(req, error);
}

/* ---- the rest ---------------------------------------------------------------------------- */

void
op_lseek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence,
    struct fuse_file_info *fi)
{
	struct vn *vn;
	uint64_t found;
	off_t at;
	int error, fd;

	(void)fi;
	error = EINVAL;
	if (whence != SEEK_HOLE && whence != SEEK_DATA)
		goto fail;
	if ((error = node_get(ino, &vn)) != 0)
		goto fail;
	if (!(vn->flags & VN_LOCAL) && (off < 0 || (uint64_t)off >= vn->size)) {
		error = ENXIO;
		goto fail;
	}
	if (!content_is_whole(vn)) {
		error = content_seek(vn, (uint64_t)off, whence == SEEK_DATA,
		    &found);
		if (error != 0)
			goto fail;
		fuse_reply_lseek(req, (off_t)found);
		return;
	}
	if ((fd = overlay_fd(vn)) == -1 || (at = lseek(fd, off, whence)) == -1)
		fuse_reply_err(req, errno);
	else
		fuse_reply_lseek(req, at);
	return;
fail:
	request_fail(req, error);
}

void
op_statfs(fuse_req_t req, fuse_ino_t ino)
{
	struct statvfs st;

	(void)ino;
	if (overlay_statvfs(&st) == -1) {
		fuse_reply_err(req, errno);
		return;
	}
	use_statvfs(&st);
	st.f_namemax = SAIL_NAME_MAX;
	fuse_reply_statfs(req, &st);
}
