/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * fuse_file: operations on open files: open, read, write, release.  In fuse.
 */
#include <sys/uio.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/log.h"
#include "sailvold/change.h"
#include "sailvold/frontend.h"
#include "sailvold/overlay.h"
#include "sailvold/worker.h"

#define READ_MAX (1024 * 1024)

/* Cut to nothing at open; O_TRUNC is the kernel's wish here. */
static int
cut(struct vn *vn)
{
	const struct fuse_open_in *in = request_body(sizeof(*in));
	int fd;

	if (in != NULL && now.opcode == FUSE_OPEN &&
	    (in->open_flags & FUSE_OPEN_KILL_SUIDGID))
		(void)writer_kill_priv(vn);
	if ((fd = overlay_fd(vn)) == -1 || ftruncate(fd, 0) == -1)
		return errno;
	return 0;
}

/* A handle of the inode: all its opens are plain, or all are not. */
int
file_open_handle(struct vn *vn, uint32_t flags, struct fuse_file_info *fi)
{
	int writes = (flags & O_ACCMODE) != O_RDONLY || (flags & O_TRUNC);
	int error;

	if (vn->type != ENTRY_FILE)
		return vn->type == ENTRY_DIR ? EISDIR : ENXIO;
	if (writes) {
		if ((error = content_local(vn, (flags & O_TRUNC) != 0)) != 0 ||
		    (error = writer_begin(vn)) != 0)
			return error;
		if ((flags & O_TRUNC) && (error = cut(vn)) != 0)
			return error;
	}
	fi->fh = now.resent ? handle_by_unique(now.unique, HANDLE_FILE) : 0;
	if (fi->fh == 0)
		fi->fh =
		    handle_new(HANDLE_FILE, vn->slot, flags, now.unique, 0);
	if (fi->fh == 0) {
		error = errno;
		writer_end(vn);
		return error;
	}
	/* Its content changes by this kernel's own writes alone. */
	fi->keep_cache = 1;
	fi->noflush = 1;
	return 0;
}

void
op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct vn *vn;
	int error;

	if (door_is(ino)) {
		door_open(req, ino, fi);
		return;
	}
	if ((error = node_get(ino, &vn)) != 0 ||
	    (error = file_open_handle(vn, (uint32_t)fi->flags, fi)) != 0) {
		request_fail(req, error);
		return;
	}
	if (fuse_reply_open(req, fi) != 0) {
		handle_free(fi->fh);
		writer_end(vn);
	}
}

void
op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct handle *h = handle_get(fi->fh);
	struct vn *vn = NULL;
	uint32_t idx;
	int error;

	(void)ino;
	if (h == NULL) {
		fuse_reply_err(req, 0);
		return;
	}
	if (h->kind == HANDLE_CTL || h->kind == HANDLE_INFO) {
		door_release(h);
		handle_free(fi->fh);
		fuse_reply_err(req, 0);
		return;
	}
	idx = h->inode;
	/* Of one that writes, size and times are to be written down. */
	if (handle_writes(h) && (error = node_get_slot(idx, &vn)) == E_WAIT) {
		request_fail(req, error);
		return;
	}
	handle_free(fi->fh);
	vn = inode_priv(idx)->vn;
	if (vn != NULL) {
		writer_end(vn);
		if (inode_slot(idx)->nlookup == 0)
			node_drop_if_unused(vn);
	} else
		inode_try_free(idx);
	fuse_reply_err(req, 0);
}

/* ---- reading ------------------------------------------------------------------- */

struct read_work {
	struct work work;
	fuse_req_t req;
	int fd, give_up; /* give_up: pages of the cache's file */
	size_t size, got;
	off_t off;
	char data[];
};

static void
read_run(struct work *w)
{
	struct read_work *r = (struct read_work *)w;
	ssize_t n;

	while (r->got < r->size) {
		n = pread(r->fd, r->data + r->got, r->size - r->got,
		    r->off + (off_t)r->got);
		if (n == -1) {
			if (errno == EINTR)
				continue;
			w->error = errno;
			return;
		}
		if (n == 0)
			break;
		r->got += (size_t)n;
	}
	if (r->give_up)
		(void)posix_fadvise(r->fd, r->off, (off_t)r->got,
		    POSIX_FADV_DONTNEED);
}

static void
read_done(struct work *w)
{
	struct read_work *r = (struct read_work *)w;

	if (w->error != 0)
		fuse_reply_err(r->req, w->error);
	else
		fuse_reply_buf(r->req, r->data, r->got);
	close(r->fd);
	free(r);
}

/* What is in memory is answered at once, the rest by a thread. */
static void
read_from(fuse_req_t req, struct vn *vn, size_t size, off_t off)
{
	static char buf[READ_MAX];
	struct iovec iov = { buf, size < READ_MAX ? size : READ_MAX };
	struct read_work *r;
	ssize_t n;

	n = preadv2(vn->fd, &iov, 1, off, RWF_NOWAIT);
	if (n == (ssize_t)iov.iov_len ||
	    (n >= 0 && !(vn->flags & VN_UNSETTLED) &&
		(uint64_t)off + (uint64_t)n >= vn->size)) {
		fuse_reply_buf(req, buf, (size_t)n);
		if (!vn->fd_local)
			(void)posix_fadvise(vn->fd, off, n,
			    POSIX_FADV_DONTNEED);
		return;
	}
	if ((r = calloc(1, sizeof(*r) + iov.iov_len)) == NULL) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	r->work.run = read_run;
	r->work.done = read_done;
	r->req = req;
	r->size = iov.iov_len;
	r->off = off;
	r->give_up = !vn->fd_local;
	if ((r->fd = fcntl(vn->fd, F_DUPFD_CLOEXEC, 0)) == -1) {
		fuse_reply_err(req, errno);
		free(r);
		return;
	}
	worker_submit(&r->work);
}

void
op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
    struct fuse_file_info *fi)
{
	struct handle *h = handle_get(fi->fh);
	struct vn *vn;
	int error;

	if (h != NULL && (h->kind == HANDLE_CTL || h->kind == HANDLE_INFO)) {
		door_read(req, h, size, off);
		return;
	}
	if ((error = node_get(ino, &vn)) != 0)
		goto fail;
	if (vn->type != ENTRY_FILE) {
		error = EINVAL;
		goto fail;
	}
	if (!(vn->flags & VN_LOCAL) && (uint64_t)off >= vn->size) {
		fuse_reply_buf(req, NULL, 0);
		return;
	}
	if ((error = content_fd(vn)) != 0)
		goto fail;
	read_from(req, vn, size, off);
	return;
fail:
	request_fail(req, error);
}

/* ---- writing ------------------------------------------------------------------------ */

void
op_write(fuse_req_t req, fuse_ino_t ino, const char *data, size_t size,
    off_t off, struct fuse_file_info *fi)
{
	const struct fuse_write_in *in = request_body(sizeof(*in));
	struct handle *h = handle_get(fi->fh);
	size_t done = 0;
	struct vn *vn;
	ssize_t n;
	int error, fd;

	if (h != NULL && h->kind == HANDLE_CTL) {
		door_write(req, h, data, size, off);
		return;
	}
	if ((error = node_get(ino, &vn)) != 0 ||
	    (error = overlay_room(size)) != 0 ||
	    (error = content_local(vn, 0)) != 0 ||
	    (error = writer_begin(vn)) != 0)
		goto fail;
	if (in != NULL && (in->write_flags & FUSE_WRITE_KILL_SUIDGID) &&
	    (error = writer_kill_priv(vn)) != 0)
		goto fail;
	if ((fd = overlay_fd(vn)) == -1) {
		error = errno;
		goto fail;
	}
	while (done < size) {
		n = pwrite(fd, data + done, size - done, off + (off_t)done);
		if (n == -1 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		done += (size_t)n;
	}
	if (done == 0 && size > 0) {
		error = errno;
		goto fail;
	}
	fuse_reply_write(req, done);
	return;
fail:
	request_fail(req, error);
}
