/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * fuse_sync: what is to be safe from a loss of power before it is answered:
 * fsync(2), and writes with O_DSYNC or O_SYNC.  First the file, then the journal,
 * by a thread.  In fuse.
 *
 * Of pages that it could not write the kernel tells once for each descriptor;
 * then it takes them for clean, and the next fdatasync(2) says that all is well.
 * So of one file only one runs at a time, and of the journal: who comes after
 * one that failed is begun when that is known.  Where the process that ran one of
 * the journal was killed nobody knows: who asks waits until manifest has all.
 */
#include <sys/stat.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/monotime.h"
#include "sailvold/content.h"
#include "sailvold/frontend.h"
#include "sailvold/journal.h"
#include "sailvold/overlay.h"
#include "sailvold/worker.h"

#define DOUBT_MS 30000 /* then it is an error */
#define MEND_MS 1000

struct sync_work {
	struct work work;
	TAILQ_ENTRY(sync_work) link;
	fuse_req_t req;
	uint64_t fh;   /* 0: of no handle */
	uint64_t ovl;  /* of the file */
	uint32_t slot; /* the same */
	int fd, fd2;   /* of it, and of what lies beside it; -1: none */
	int is_write;  /* answered with what was written */
	size_t wrote;
};
TAILQ_HEAD(sync_list, sync_work);

struct journal_work {
	struct work work;
	struct sync_list list; /* who waits for it */
	int *fds;              /* of segments */
	size_t nfds;
	uint64_t end;
	int mark_error;
};

/* In order; of each file the first one runs. */
static struct sync_list files = TAILQ_HEAD_INITIALIZER(files);
/* Their files are safe. */
static struct sync_list waiting = TAILQ_HEAD_INITIALIZER(waiting);
static int journal_runs;
static int doubted; /* they wait for manifest, until then: */
static monotime_t doubt_end, mend_next;

static void
sync_free(struct sync_work *s)
{
	if (s->fd != -1)
		close(s->fd);
	if (s->fd2 != -1)
		close(s->fd2);
	free(s);
}

static void
sync_answer(struct sync_work *s, int error)
{
	if (error == 0 && s->is_write)
		fuse_reply_write(s->req, s->wrote);
	else
		fuse_reply_err(s->req, error);
	sync_free(s);
}

/* ---- the journal ---------------------------------------------------------------- */

static void
answer_all(struct sync_list *list, int error)
{
	struct sync_work *s;

	while ((s = TAILQ_FIRST(list)) != NULL) {
		TAILQ_REMOVE(list, s, link);
		sync_answer(s, error);
	}
}

/* Of a folder fdatasync(2) need not write the names. */
static int
segment_sync(int fd)
{
	struct stat st;

	if (fstat(fd, &st) == 0 && S_ISDIR(st.st_mode))
		return fsync(fd);
	return fdatasync(fd);
}

static void
journal_run(struct work *w)
{
	struct journal_work *j = (struct journal_work *)w;
	size_t i;

	for (i = 0; i < j->nfds && w->error == 0; i++)
		if (segment_sync(j->fds[i]) == -1) {
			w->error = errno;
			j->mark_error = journal_mark_unsafe();
		}
}

void
sync_mend(int anew)
{
	enum journal_safety safety = journal_safety();
	int i;

	if (anew && safety == JOURNAL_UNSAFE_BEHIND)
		(void)overlay_say_again();
	/* The first may have to go into one that is unsafe. */
	for (i = 0; i < 2 && safety == JOURNAL_UNSAFE; i++) {
		if (overlay_say_again() == -1)
			break;
		safety = journal_safety();
	}
}

static void journal_begin(void);

static void
journal_done(struct work *w)
{
	struct journal_work *j = (struct journal_work *)w;

	if (w->error == 0)
		journal_synced(j->end);
	else {
		journal_not_synced(j->mark_error);
		sync_mend(0);
	}
	answer_all(&j->list, w->error);
	while (j->nfds > 0)
		close(j->fds[--j->nfds]);
	free(j->fds);
	free(j);
	journal_runs = 0;
	journal_begin();
}

/* 1: they wait on. */
static int
doubt_wait(void)
{
	if (!doubted)
		doubt_end = monotime_add_ms(monotime_now(), DOUBT_MS);
	doubted = !monotime_reached(doubt_end);
	return doubted;
}

/* One for all that wait. */
static void
journal_begin(void)
{
	struct journal_work *j;
	int error;

	if (journal_runs || TAILQ_EMPTY(&waiting))
		return;
	if (journal_is_synced()) {
		answer_all(&waiting, 0);
		return;
	}
	if ((j = calloc(1, sizeof(*j))) == NULL ||
	    journal_unsynced(&j->fds, &j->nfds, &j->end) == -1) {
		error = errno;
		free(j);
		/* While they wait this is looked at with all that is applied. */
		if (!doubted || monotime_reached(mend_next)) {
			mend_next = monotime_add_ms(monotime_now(), MEND_MS);
			sync_mend(0);
		}
		if (error == EAGAIN && doubt_wait())
			return;
		answer_all(&waiting, error == EAGAIN ? EIO : error);
		return;
	}
	doubted = 0;
	j->work.run = journal_run;
	j->work.done = journal_done;
	TAILQ_INIT(&j->list);
	TAILQ_CONCAT(&j->list, &waiting, link);
	journal_runs = 1;
	worker_submit(&j->work);
}

void
sync_go_on(void)
{
	if (doubted)
		journal_begin();
}

static void
journal_wait(struct sync_work *s)
{
	TAILQ_INSERT_TAIL(&waiting, s, link);
	journal_begin();
}

/* ---- the file ------------------------------------------------------------------- */

static void
file_run(struct work *w)
{
	struct sync_work *s = (struct sync_work *)w;

	if (fdatasync(s->fd) == 0 && (s->fd2 == -1 || fdatasync(s->fd2) == 0))
		return;
	w->error = errno;
	/* At once, as the kernel tells nobody again: who dies now leaves that. */
	handle_lost(s->slot);
}

static struct sync_work *
file_first(uint64_t ovl)
{
	struct sync_work *s;

	TAILQ_FOREACH (s, &files, link)
		if (s->ovl == ovl)
			break;
	return s;
}

/* Each handle hears once of what was lost before, as it does from the kernel. */
static int
file_error(const struct sync_work *s)
{
	struct handle *h = handle_get(s->fh);
	int error = s->work.error;

	if (h == NULL || !h->lost || h->inode != s->slot)
		return error;
	h->lost = 0;
	return error != 0 ? error : EIO;
}

static void
file_done(struct work *w)
{
	struct sync_work *s = (struct sync_work *)w, *next;
	int error = file_error(s);

	TAILQ_REMOVE(&files, s, link);
	if ((next = file_first(s->ovl)) != NULL)
		worker_submit(&next->work);
	if (error != 0)
		sync_answer(s, error);
	else
		journal_wait(s);
}

static int
file_fds(struct vn *vn, struct sync_work *s)
{
	struct rest *rest;
	int error, fd;

	if ((fd = overlay_fd(vn)) == -1 ||
	    (s->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0)) == -1)
		return errno;
	if ((error = content_rest(vn, &rest, &fd)) != 0)
		return error;
	if (rest != NULL && (s->fd2 = fcntl(fd, F_DUPFD_CLOEXEC, 0)) == -1)
		return errno;
	return 0;
}

void
sync_begin(fuse_req_t req, struct vn *vn, uint64_t fh, int is_write,
    size_t wrote)
{
	struct sync_work *s;
	int error;

	if ((s = calloc(1, sizeof(*s))) == NULL) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	s->work.run = file_run;
	s->work.done = file_done;
	s->req = req;
	s->fh = fh;
	s->fd = s->fd2 = -1;
	s->is_write = is_write;
	s->wrote = wrote;
	if (vn == NULL || !(vn->flags & VN_LOCAL)) {
		journal_wait(s);
		return;
	}
	if ((error = file_fds(vn, s)) != 0) {
		sync_answer(s, error);
		return;
	}
	s->ovl = vn->ovl;
	s->slot = vn->slot;
	TAILQ_INSERT_TAIL(&files, s, link);
	if (file_first(s->ovl) == s)
		worker_submit(&s->work);
}

int
sync_wanted(const struct fuse_file_info *fi)
{
	const struct handle *h = fi != NULL ? handle_get(fi->fh) : NULL;

	return h != NULL && (h->flags & O_DSYNC) != 0;
}

void
op_fsync(fuse_req_t req, fuse_ino_t ino, int datasync,
    struct fuse_file_info *fi)
{
	struct vn *vn;
	int error;

	(void)datasync;
	if (door_is(ino)) {
		fuse_reply_err(req, 0);
		return;
	}
	if ((error = node_get(ino, &vn)) != 0) {
		request_fail(req, error);
		return;
	}
	sync_begin(req, vn, fi->fh, 0, 0);
}

void
op_fsyncdir(fuse_req_t req, fuse_ino_t ino, int datasync,
    struct fuse_file_info *fi)
{
	(void)ino;
	(void)datasync;
	(void)fi;
	sync_begin(req, NULL, 0, 0, 0);
}
