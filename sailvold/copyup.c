/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * copyup: makes the content of a clean file its overlay file, before the first
 * change of it.  Of one with several chunks that is a file without bytes and a
 * list of what it lacks (lib/rest.h); each chunk comes when a change needs it.
 * In fuse.
 */
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <linux/fs.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/log.h"
#include "lib/rest.h"
#include "sailvold/change.h"
#include "sailvold/content.h"
#include "sailvold/frontend.h"
#include "sailvold/journal.h"
#include "sailvold/overlay.h"
#include "sailvold/overlay_use.h"
#include "sailvold/worker.h"

#define COPY_BYTES (1024 * 1024)
#define CHECK_BYTES (256 * 1024) /* fits the processor's cache */

/* A file that is being copied. */
struct copy {
	struct work work;
	struct vn *vn;  /* pinned */
	uint64_t ovl;   /* when it began */
	uint32_t inode; /* and its slot */
	struct waitq q;
	int from, to;
	off_t from_at; /* where the chunk is in it */
	off_t at, len;
	uint64_t slot;    /* the next, or that which is filled */
	struct hash hash; /* of it */
	int again;        /* it was bad, and is tried once more */
	int filling;      /* one chunk of what lacks */
	int syncing;      /* it has all */
	int lost;         /* what was written to it before is not on the disk */
	uint8_t *rest;    /* bytes of the file beside it */
	size_t rest_len;
	uint64_t size;
	struct timespec times[2];
	int *ended; /* of who begins it: its error, should it end at once */
};

/* ---- in a thread ----------------------------------------------------------------- */

static int
copy_plain(int from, off_t from_at, int to, off_t at, off_t end, off_t out)
{
	ssize_t n, w, done;
	uint8_t *buf;
	size_t want;
	int error = 0;

	if ((buf = malloc(COPY_BYTES)) == NULL)
		return ENOMEM;
	for (; at < end && error == 0; at += n) {
		want = end - at < COPY_BYTES ? (size_t)(end - at) : COPY_BYTES;
		if ((n = pread(from, buf, want, from_at + at)) <= 0) {
			error = n == -1 ? errno : EIO;
			break;
		}
		for (done = 0; done < n; done += w) {
			errno = 0;
			w = pwrite(to, buf + done, (size_t)(n - done),
			    out + at + done);
			if (w <= 0) {
				error = errno != 0 ? errno : ENOSPC;
				break;
			}
		}
	}
	free(buf);
	return error;
}

static int
is_whole(int fd, off_t len)
{
	struct stat st;

	return fstat(fd, &st) == 0 && st.st_size == len;
}

/* Of a file, whole but for a bundle, to that place in another: in the kernel, or
   through a buffer; or, cloned, not at all. */
static int
copy_chunk(int from, off_t from_at, int to, off_t out, off_t len, int *cloned)
{
	struct file_clone_range range = {
		.src_fd = from,
		.dest_offset = (uint64_t)out,
	};
	loff_t in = from_at, at = out, end = from_at + len;
	ssize_t n;

	/* Elsewhere its blocks have another's bytes too. */
	*cloned = from_at == 0 && is_whole(from, len) &&
	    ioctl(to, FICLONERANGE, &range) == 0;
	if (*cloned)
		return 0;
	while (in < end) {
		n = copy_file_range(from, &in, to, &at, (size_t)(end - in), 0);
		if (n > 0)
			continue;
		if (n == -1 &&
		    (errno == ENOSPC || errno == EDQUOT || errno == EIO))
			return errno;
		return copy_plain(from, from_at, to, in - from_at, len, out);
	}
	return 0;
}

int
content_check(int fd, off_t at, off_t len, const struct hash *want)
{
	off_t end = at + len;
	struct hash_ctx *ctx;
	struct hash h;
	ssize_t n = 1;
	uint8_t *buf;
	int error = 0;

	if ((buf = malloc(CHECK_BYTES)) == NULL)
		return ENOMEM;
	if ((ctx = hash_begin()) == NULL) {
		free(buf);
		return ENOMEM;
	}
	for (; at < end && error == 0; at += n) {
		n = pread(fd, buf,
		    end - at < CHECK_BYTES ? (size_t)(end - at) : CHECK_BYTES,
		    at);
		if (n > 0)
			hash_update(ctx, buf, (size_t)n);
		else
			error = EIO;
	}
	hash_end(ctx, &h);
	free(buf);
	if (error == 0 && hash_cmp(&h, want) != 0)
		error = EIO;
	return error;
}

static void
copy_run(struct work *w)
{
	struct copy *c = (struct copy *)w;
	int cloned;

	w->error =
	    copy_chunk(c->from, c->from_at, c->to, c->at, c->len, &cloned);
	/*
	 * What was copied is the chunk: a disk, or somebody, may have changed
	 * what it was verified to be, which a commit would publish as what
	 * somebody wrote.  Nothing was read of what is shared from now on.
	 */
	if (w->error == 0 && !cloned)
		w->error = content_check(c->to, c->at, c->len, &c->hash);
	/* A loss of power may take it, but not after it is said to be here. */
	if (w->error == 0 && c->filling && fdatasync(c->to) == -1) {
		w->error = errno;
		c->lost = 1;
		/* At once, as in fuse_sync.c: the kernel tells nobody again. */
		handle_lost(c->inode);
	}
}

/*
 * All of it is there.  The record that says so is safe with whatever else is
 * synced, and a loss of power then must not leave zeros of what was published,
 * if somebody only opened it.
 */
static void
whole_run(struct work *w)
{
	struct copy *c = (struct copy *)w;

	if (fdatasync(c->to) == -1)
		w->error = errno;
}

/* A file of its size, without its bytes, and beside it where these are. */
static void
lazy_run(struct work *w)
{
	struct copy *c = (struct copy *)w;
	size_t done = 0;
	ssize_t n;

	while (done < c->rest_len) {
		n = pwrite(c->from, c->rest + done, c->rest_len - done,
		    (off_t)done);
		if (n <= 0) {
			w->error = n == -1 ? errno : ENOSPC;
			return;
		}
		done += (size_t)n;
	}
	if (fdatasync(c->from) == -1 || fchmod(c->to, 0600 | REST_MODE) == -1 ||
	    ftruncate(c->to, (off_t)c->size) == -1 || fdatasync(c->to) == -1)
		w->error = errno;
}

/* ---- the end ---------------------------------------------------------------------- */

/* The overlay file has the content: from now on it counts. */
static int
content_is_local(struct vn *vn, int fd, struct timens mtime, uint64_t size)
{
	struct change c;
	struct record r;
	int error;

	memset(&c, 0, sizeof(c));
	wbuf_init(&c.w, RECORD_MAX_BYTES);
	memset(&r, 0, sizeof(r));
	r.type = RECORD_CONTENT;
	r.ovl = vn->ovl;
	r.entry.size = size;
	r.entry.mtime = mtime;
	r.entry.ctime = vn->ctime;
	change_add(&c, &r);
	if ((error = change_commit(&c)) != 0)
		return error;
	vn->flags |= VN_LOCAL | VN_UNSETTLED;
	vn->flags &= ~VN_CLEAN;
	vn->size = size;
	vn->mtime = mtime;
	vn->dirty = journal_end();
	vn_drop_clean(vn);
	overlay_fd_set(vn, fd, 1);
	return 0;
}

/* Who waits hears of it, and it is no more. */
static void
copy_free(struct copy *c, int error)
{
	struct vn *vn = c->vn;

	if (c->ended != NULL)
		*c->ended = error;
	waitq_wake(&c->q, error);
	free(c->rest);
	free(c);
	vn_unpin(vn);
}

static void
fill_end(struct copy *c, int error)
{
	struct vn *vn = c->vn;
	uint64_t from = c->slot;
	struct rest *r;
	int fd;

	vn->copy = NULL;
	close(c->to);
	if (error == 0 && vn->ovl == c->ovl &&
	    (error = content_rest(vn, &r, &fd)) == 0 && r != NULL)
		error = content_written(vn, from << chunklist_shift(r->list),
		    (from + 1) << chunklist_shift(r->list));
	copy_free(c, error);
}

/* A reload let the object go meanwhile: who waits looks its name up again. */
static void
copy_lost(struct copy *c)
{
	close(c->to);
	(void)overlay_unlink(c->ovl);
	copy_free(c, 0);
}

static void
copy_end(struct copy *c, int error)
{
	struct vn *vn = c->vn;
	struct timens mtime = vn->mtime;

	if (c->filling) {
		fill_end(c, error);
		return;
	}
	if (vn->ovl != c->ovl) {
		vn->copy = NULL;
		copy_lost(c);
		return;
	}
	memset(&now, 0, sizeof(now)); /* a record of no request */
	/* utimens(2) meanwhile: the file's own count from now on. */
	c->times[1].tv_sec = vn->mtime.sec;
	c->times[1].tv_nsec = (long)vn->mtime.nsec;
	if (error == 0 && overlay_set_times(c->to, c->times, &mtime) == -1)
		error = errno;
	vn->copy = NULL;
	if (error == 0)
		error = content_is_local(vn, c->to, mtime, vn->size);
	if (error != 0) {
		close(c->to);
		(void)overlay_unlink(vn->ovl);
	} else if (c->rest == NULL)
		vn->flags |= VN_WHOLE;
	copy_free(c, error);
}

/* ---- chunk by chunk ------------------------------------------------------------------ */

static void
copy_done(struct work *w)
{
	struct copy *c = (struct copy *)w;
	int bad = w->error == EIO && !c->lost;

	if (bad)
		content_bad(&c->hash, c->from);
	close(c->from);
	c->from = -1;
	if (bad && !c->again) {
		c->again = 1;
		copyup_step(c->vn, 0);
		return;
	}
	c->again = 0;
	if (c->filling) {
		fill_end(c, w->error);
		return;
	}
	if (w->error == 0)
		c->slot++;
	copyup_step(c->vn, w->error);
}

static void
whole_done(struct work *w)
{
	copy_end((struct copy *)w, w->error);
}

static void
lazy_done(struct work *w)
{
	struct copy *c = (struct copy *)w;

	close(c->from);
	c->from = -1;
	copy_end(c, w->error);
}

void
copyup_step(struct vn *vn, int error)
{
	struct copy *c = vn->copy;
	struct chunklist *list;
	struct hash h;
	int fd;

	/* Another chunk than that which is copied. */
	if (c == NULL || c->from != -1 || c->syncing)
		return;
	if (error == 0 && (error = content_list(vn, &list)) == 0) {
		if (!c->filling &&
		    !chunklist_next(list, c->slot, &c->slot, &h)) {
			c->syncing = 1;
			c->work.run = whole_run;
			c->work.done = whole_done;
			worker_submit(&c->work);
			return;
		}
		error = content_chunk(vn, c->slot, &fd, &c->from_at);
	}
	if (error == E_WAIT)
		return;
	if (error == 0 && (c->from = fcntl(fd, F_DUPFD_CLOEXEC, 0)) == -1)
		error = errno;
	if (error != 0) {
		copy_end(c, error);
		return;
	}
	(void)chunklist_get(list, c->slot, &c->hash);
	c->at = (off_t)(c->slot << chunklist_shift(list));
	c->len = (off_t)chunklist_slot_bytes(list, c->slot);
	worker_submit(&c->work);
}

static struct copy *
copy_new(struct vn *vn)
{
	struct copy *c;

	if ((c = calloc(1, sizeof(*c))) == NULL)
		return NULL;
	c->work.run = copy_run;
	c->work.done = copy_done;
	waitq_init(&c->q);
	c->vn = vn;
	c->ovl = vn->ovl;
	c->inode = vn->slot;
	c->size = vn->size;
	c->times[0].tv_nsec = UTIME_NOW;
	c->from = c->to = -1;
	vn->copy = c;
	vn_pin(vn);
	return c;
}

/* Before it began. */
static int
copy_undo(struct copy *c)
{
	int error = errno;

	if (c->from != -1)
		close(c->from);
	if (c->to != -1)
		close(c->to);
	c->vn->copy = NULL;
	c->vn->pins--;
	free(c->rest);
	free(c);
	return error;
}

/* The first step.  0: it ended at once, E_WAIT, or an errno. */
static int
copy_start(struct copy *c)
{
	struct vn *vn = c->vn;
	struct request saved = now; /* its record is not of the request */
	int error = 0;

	/* It is taken back below, or the copy is gone with it. */
	/* cppcheck-suppress autoVariables */
	c->ended = &error;
	copyup_step(vn, 0);
	now = saved;
	if (vn->copy == NULL)
		return error;
	vn->copy->ended = NULL;
	return wait_on(&vn->copy->q);
}

static int
copy_begin(struct vn *vn)
{
	struct copy *c;

	if ((c = copy_new(vn)) == NULL)
		return ENOMEM;
	if ((c->to = overlay_create(vn->ovl, 1)) == -1 ||
	    ftruncate(c->to, (off_t)vn->size) == -1)
		return copy_undo(c);
	return copy_start(c);
}

static int
lazy_begin(struct vn *vn, const struct chunklist *list)
{
	uint8_t path[SAIL_PATH_MAX];
	struct hash commit;
	struct copy *c;
	struct wbuf w;
	size_t len;

	if (vn_origin(vn, &commit, path, &len) == -1)
		return EIO;
	if ((c = copy_new(vn)) == NULL)
		return ENOMEM;
	c->work.run = lazy_run;
	c->work.done = lazy_done;
	wbuf_init(&w, (size_t)1 << 29);
	rest_encode(&w, &commit, path, len, list);
	if ((c->rest = wbuf_take(&w, &c->rest_len)) == NULL ||
	    (c->to = overlay_create(vn->ovl, 1)) == -1 ||
	    (c->from = overlay_rest_open(vn->ovl,
		 O_RDWR | O_CREAT | O_TRUNC)) == -1)
		return copy_undo(c);
	worker_submit(&c->work);
	return wait_on(&c->q);
}

int
copyup_fill(struct vn *vn, uint64_t slot)
{
	struct copy *c;

	if ((c = copy_new(vn)) == NULL)
		return ENOMEM;
	c->filling = 1;
	c->slot = slot;
	/* Of what programs wrote each open file hears for itself. */
	if ((c->to = overlay_open_file(vn->ovl, O_RDWR)) == -1)
		return copy_undo(c);
	return copy_start(c);
}

int
copyup_wait(struct vn *vn)
{
	return wait_on(&vn->copy->q);
}

static int
make_object(struct vn *vn)
{
	struct change c;
	uint64_t unique = now.unique;
	int error;

	if (vn->ovl != 0)
		return 0;
	if ((error = change_begin(&c)) != 0)
		return error;
	(void)change_object(&c, vn);
	now.unique = 0; /* the request is not done by that */
	error = change_commit(&c);
	now.unique = unique;
	return error;
}

static int
local_empty(struct vn *vn, int keep_time)
{
	uint64_t unique = now.unique;
	struct timens t = keep_time ? vn->mtime : change_time();
	struct timespec ts[2] = { { 0, UTIME_NOW }, { t.sec, (long)t.nsec } };
	int fd, error;

	if ((fd = overlay_create(vn->ovl, 1)) == -1)
		return errno;
	if (overlay_set_times(fd, ts, &t) == -1) {
		error = errno;
		close(fd);
		return error;
	}
	vn_keep_atime(vn);
	if (!keep_time)
		vn->ctime = t;
	now.unique = 0;
	error = content_is_local(vn, fd, t, 0);
	now.unique = unique;
	if (error != 0)
		close(fd);
	else
		vn->flags |= VN_WHOLE;
	return error;
}

int
content_local(struct vn *vn, int empty)
{
	struct chunklist *list;
	struct change c;
	uint64_t bytes;
	int error;

	if (vn->flags & VN_LOCAL)
		return 0;
	if ((error = change_begin(&c)) != 0)
		return error;
	change_abort(&c);
	if (now.error != 0)
		return now.error;
	if (vn->copy != NULL)
		return copyup_wait(vn);
	if (empty || vn->size == 0) {
		if ((error = make_object(vn)) != 0)
			return error;
		return local_empty(vn, !empty);
	}
	if ((error = content_list(vn, &list)) != 0 ||
	    (error = make_object(vn)) != 0)
		return error;
	if (chunklist_slots(list) > 1 && chunklist_hashes(list) > 0) {
		use_touch(vn->ovl);
		return lazy_begin(vn, list);
	}
	bytes = chunklist_hashes(list) << chunklist_shift(list);
	bytes = bytes < vn->size ? bytes : vn->size;
	if ((error = overlay_room(bytes)) != 0 ||
	    (error = use_room(bytes)) != 0)
		return error;
	use_touch(vn->ovl);
	return copy_begin(vn);
}
