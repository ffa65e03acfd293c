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
#include "sailvold/content.h"
#include "sailvold/frontend.h"
#include "sailvold/late.h"
#include "sailvold/overlay.h"
#include "sailvold/overlay_use.h"
#include "sailvold/passthrough.h"
#include "sailvold/worker.h"

#define READ_MAX (1024 * 1024)
#define OPEN_PASSTHROUGH (1U << 7) /* FOPEN_*, of a newer linux/fuse.h */

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
	use_look(vn->ovl);
	return content_was_cut(vn, 0);
}

/* A handle of the inode: all its opens are plain, or all are not. */
int
file_open_handle(struct vn *vn, uint32_t flags, struct fuse_open_out *out)
{
	int writes = (flags & O_ACCMODE) != O_RDONLY || (flags & O_TRUNC);
	struct inode_slot *s = inode_slot(vn->slot);
	int32_t id;
	int error;

	if (vn->type != ENTRY_FILE)
		return vn->type == ENTRY_DIR ? EISDIR : ENXIO;
	memset(out, 0, sizeof(*out));
	out->fh = now.resent ? handle_by_unique(now.unique, HANDLE_FILE) : 0;
	/* Before anything is cut. */
	if (out->fh == 0 && !handle_room())
		return ENFILE;
	if (writes && (error = content_local(vn, (flags & O_TRUNC) != 0)) != 0)
		return error;
	if ((error = passthrough_choose(vn, flags, &id)) != 0)
		return error;
	if (writes) {
		use_touch(vn->ovl);
		if ((error = writer_begin(vn)) != 0)
			return error;
		if ((flags & O_TRUNC) &&
		    ((error = content_prepare(vn, 0, 0, 0)) != 0 ||
			(error = cut(vn)) != 0))
			return error;
	}
	if (out->fh == 0) {
		if (s->mode == MODE_NONE)
			inode_set_mode(vn->slot,
			    id != 0 ? MODE_PASSTHROUGH : MODE_PLAIN);
		out->fh =
		    handle_new(HANDLE_FILE, vn->slot, flags, now.unique, 0);
	}
	if (out->fh == 0) {
		error = errno;
		if (inode_opens(vn->slot) == 0)
			inode_set_mode(vn->slot, MODE_NONE);
		writer_end(vn);
		return error;
	}
	out->open_flags = FOPEN_NOFLUSH;
	if (id != 0) {
		out->open_flags |= OPEN_PASSTHROUGH;
		out->padding = (uint32_t)id; /* backing_id */
		/*
		 * The kernel appends there for ever, also when fcntl(2) has
		 * taken the flag away: so the writes of such a handle come here.
		 * And of what is to be safe from a loss of power it syncs the
		 * file alone, and not the name, which stands in the journal.
		 */
		if (flags & (O_APPEND | O_DSYNC))
			out->open_flags |= FOPEN_DIRECT_IO;
	} else if (!(s->flags & INODE_PAGES))
		/* Its content changes by this kernel's own writes alone. */
		out->open_flags |= FOPEN_KEEP_CACHE;
	return 0;
}

/* The kernel did not take it: what it has of pages is as it was. */
static void
undo(struct vn *vn, uint64_t fh)
{
	uint8_t pages = inode_slot(vn->slot)->flags & INODE_PAGES;

	handle_free(fh);
	inode_slot(vn->slot)->flags |= pages;
	writer_end(vn);
}

static void
set_time(uint64_t *sec, uint32_t *nsec, double t)
{
	*sec = (uint64_t)t;
	*nsec = (uint32_t)((t - (double)*sec) * 1e9);
}

static void
set_attr(struct fuse_attr *a, const struct stat *st)
{
	a->ino = st->st_ino;
	a->size = (uint64_t)st->st_size;
	a->blocks = (uint64_t)st->st_blocks;
	a->atime = (uint64_t)st->st_atim.tv_sec;
	a->mtime = (uint64_t)st->st_mtim.tv_sec;
	a->ctime = (uint64_t)st->st_ctim.tv_sec;
	a->atimensec = (uint32_t)st->st_atim.tv_nsec;
	a->mtimensec = (uint32_t)st->st_mtim.tv_nsec;
	a->ctimensec = (uint32_t)st->st_ctim.tv_nsec;
	a->mode = st->st_mode;
	a->nlink = (uint32_t)st->st_nlink;
	a->uid = st->st_uid;
	a->gid = st->st_gid;
	a->blksize = (uint32_t)st->st_blksize;
}

/* As fuse_reply_create(3), which knows of no passthrough. */
int
file_reply_create(fuse_req_t req, struct vn *vn, struct fuse_entry_param *e,
    const struct fuse_open_out *o)
{
	struct {
		struct fuse_entry_out entry;
		struct fuse_open_out open;
	} out;

	/* It is new: what node_entry() said stands. */
	(void)node_stat(vn, &e->attr);
	memset(&out, 0, sizeof(out));
	out.entry.nodeid = e->ino;
	out.entry.generation = e->generation;
	set_time(&out.entry.entry_valid, &out.entry.entry_valid_nsec,
	    e->entry_timeout);
	set_time(&out.entry.attr_valid, &out.entry.attr_valid_nsec,
	    passthrough_attr_timeout(vn));
	set_attr(&out.entry.attr, &e->attr);
	out.open = *o;
	if (fuse_reply_buf(req, (const char *)&out, sizeof(out)) == 0)
		return 0;
	undo(vn, o->fh);
	return -1;
}

void
op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct fuse_open_out out;
	struct vn *vn;
	int error;

	if (door_is(ino)) {
		door_open(req, ino, fi);
		return;
	}
	if ((error = node_get(ino, &vn)) != 0 ||
	    (error = file_open_handle(vn, (uint32_t)fi->flags, &out)) != 0) {
		request_fail(req, error);
		return;
	}
	if (handle_writes(handle_get(out.fh)) && passthrough_writers(vn) &&
	    inode_writers(vn->slot) == 1)
		passthrough_attr_kept(vn);
	file_push(vn, (uint32_t)fi->flags, &out);
	if (fuse_reply_buf(req, (const char *)&out, sizeof(out)) != 0)
		undo(vn, out.fh);
	file_ahead(vn);
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
	if (handle_writes(h) && vn != NULL && passthrough_writers(vn)) {
		(void)node_refresh(vn);
		/* What was stored through a mapping the kernel does not know;
		   this request holds the inode. */
		if (inode_slot(idx)->untold)
			request_forget_attr(inode_id(idx));
	}
	handle_free(fi->fh);
	vn = inode_vn(idx);
	if (vn != NULL) {
		use_look(vn->ovl);
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
	int n, bad;         /* the first of x that failed */
	struct park *again; /* NULL: it is not done once more */
	struct extent x[EXTENTS_MAX];
	size_t got;
	char data[];
};

static int
read_extent(struct read_work *r, const struct extent *x)
{
	size_t got = 0;
	ssize_t n;

	if (x->fd == -1) {
		memset(r->data + r->got, 0, x->len);
		got = x->len;
	}
	while (got < x->len) {
		n = pread(x->fd, r->data + r->got + got, x->len - got,
		    x->at + (off_t)got);
		if (n == -1 && errno == EINTR)
			continue;
		if (n == -1)
			return errno;
		if (n == 0)
			break;
		got += (size_t)n;
	}
	if (got < x->len && x->clean)
		return EIO;
	r->got += got;
	if (x->give_up)
		(void)posix_fadvise(x->fd, x->at, (off_t)got,
		    POSIX_FADV_DONTNEED);
	return 0;
}

static void
read_run(struct work *w)
{
	struct read_work *r = (struct read_work *)w;
	int i;

	for (i = 0; i < r->n && w->error == 0; i++) {
		w->error = read_extent(r, &r->x[i]);
		r->bad = i;
	}
}

static void
read_free(struct read_work *r)
{
	int i;

	for (i = 0; i < r->n; i++)
		if (r->x[i].fd != -1)
			close(r->x[i].fd);
	request_copy_free(r->again);
	free(r);
}

static void
read_done(struct work *w)
{
	struct read_work *r = (struct read_work *)w;
	const struct extent *x = &r->x[r->bad];

	if (w->error == EIO && x->clean)
		content_bad(&x->hash, x->fd);
	else
		x = NULL;
	if (x != NULL && r->again != NULL) {
		request_again(r->req, r->again);
		r->again = NULL;
	} else if (w->error != 0)
		fuse_reply_err(r->req, w->error);
	else
		fuse_reply_buf(r->req, r->data, r->got);
	read_free(r);
}

/* What is in memory is answered at once. */
static int
read_now(fuse_req_t req, struct vn *vn, const struct extent *x)
{
	static char buf[READ_MAX];
	struct iovec iov = { buf, x->len };
	ssize_t n;

	n = preadv2(x->fd, &iov, 1, x->at, x->memory ? 0 : RWF_NOWAIT);
	if (n != (ssize_t)x->len &&
	    (n < 0 || !(vn->flags & VN_LOCAL) || (vn->flags & VN_UNSETTLED) ||
		(uint64_t)x->at + (uint64_t)n < vn->size))
		return 0;
	fuse_reply_buf(req, buf, (size_t)n);
	if (x->give_up)
		(void)posix_fadvise(x->fd, x->at, n, POSIX_FADV_DONTNEED);
	return 1;
}

/* The rest by a thread. */
static void
read_from(fuse_req_t req, struct vn *vn, const struct extent *x, int n)
{
	struct read_work *r;
	size_t size = 0;
	int i;

	if (n == 1 && x->fd != -1 && read_now(req, vn, x))
		return;
	for (i = 0; i < n; i++)
		size += x[i].len;
	if ((r = calloc(1, sizeof(*r) + size)) == NULL) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	r->work.run = read_run;
	r->work.done = read_done;
	r->req = req;
	for (i = 0; i < n; i++) {
		r->x[i] = x[i];
		if (x[i].clean && r->again == NULL)
			r->again = request_copy();
		if (x[i].fd != -1 &&
		    (r->x[i].fd = fcntl(x[i].fd, F_DUPFD_CLOEXEC, 0)) == -1) {
			fuse_reply_err(req, errno);
			r->n = i;
			read_free(r);
			return;
		}
	}
	r->n = n;
	worker_submit(&r->work);
}

void
op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
    struct fuse_file_info *fi)
{
	struct handle *h = handle_get(fi->fh);
	struct extent x[EXTENTS_MAX];
	struct vn *vn;
	int error, n;

	if (h != NULL && (h->kind == HANDLE_CTL || h->kind == HANDLE_INFO)) {
		door_read(req, h, size, off);
		return;
	}
	if (!now.woken && (error = late_again(ino, (uint64_t)off)) != 0)
		goto fail;
	if ((error = node_get(ino, &vn)) != 0)
		goto fail;
	if (vn->type != ENTRY_FILE) {
		error = EINVAL;
		goto fail;
	}
	if (size > READ_MAX)
		size = READ_MAX;
	if ((error = content_extents(vn, (uint64_t)off, size, x, &n)) != 0)
		goto fail;
	inode_slot(vn->slot)->pages = 1;
	if (n == 0)
		fuse_reply_buf(req, NULL, 0);
	else
		read_from(req, vn, x, n);
	file_ahead(vn);
	return;
fail:
	if (now.woken && error > 0)
		late_failed(ino, (uint64_t)off, size, error, now.since);
	request_fail(req, error);
}

/* ---- writing ------------------------------------------------------------------------ */

/* What is left up to the largest size: fewer bytes, or EFBIG. */
static int
size_room(off_t off, size_t *size)
{
	uint64_t left;

	if (off < 0)
		return EINVAL;
	left =
	    (uint64_t)off < SAIL_SIZE_MAX ? SAIL_SIZE_MAX - (uint64_t)off : 0;
	if (left == 0 && *size > 0)
		return EFBIG;
	if (*size > left)
		*size = (size_t)left;
	return 0;
}

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
	    (error = size_room(off, &size)) != 0 ||
	    (error = overlay_room(size)) != 0 ||
	    (error = content_local(vn, 0)) != 0 ||
	    (error = content_prepare(vn, (uint64_t)off, (uint64_t)off + size,
		 0)) != 0 ||
	    (error = writer_begin(vn)) != 0)
		goto fail;
	if (in != NULL && (in->write_flags & FUSE_WRITE_KILL_SUIDGID) &&
	    (error = writer_kill_priv(vn)) != 0)
		goto fail;
	if ((error = use_write(vn->ovl, (uint64_t)off, size)) != 0)
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
	use_look(vn->ovl);
	/* The handle's flags, or of the one call. */
	if (in != NULL && (in->flags & O_DSYNC))
		sync_begin(req, vn, fi->fh, 1, done);
	else
		fuse_reply_write(req, done);
	return;
fail:
	request_fail(req, error);
}
