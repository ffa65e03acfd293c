/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * Claim: who asks for a sync is answered once; 0 when the file and the journal are
 * on the disk, and an error otherwise; after one of the journal that failed all is
 * safe as soon as what is written then by itself is in the database, and not
 * before; where a process before was killed in the middle of one, who asks waits
 * for that; each handle of a file hears once of what was lost.  With the journal
 * itself, and a disk that fails when it is told to.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sys/stat.h>
#include <sys/syscall.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sailvold/content.h"
#include "sailvold/frontend.h"
#include "sailvold/journal.h"
#include "sailvold/overlay.h"
#include "sailvold/worker.h"

#include "regress/unit/sailvold/few_files.h"

/* ---- stand-ins ------------------------------------------------------------------- */

#define WAITS (-1)

struct fuse_req {
	int error;
	size_t wrote;
	int answers;
};

static TAILQ_HEAD(, work) works = TAILQ_HEAD_INITIALIZER(works);
static struct vn file;
static struct handle handles[2];
static int file_fd, fail_file, fail_journal;
static unsigned int syncs, said;

int
fdatasync(int fd)
{
	struct stat a, b;

	assert_int_equal(fstat(fd, &a), 0);
	assert_int_equal(fstat(file_fd, &b), 0);
	syncs++;
	if (a.st_ino == b.st_ino ? !fail_file : !fail_journal)
		return 0;
	errno = EIO;
	return -1;
}

void
worker_submit(struct work *w)
{
	w->error = 0;
	TAILQ_INSERT_TAIL(&works, w, link);
}

int
fuse_reply_err(fuse_req_t req, int error)
{
	req->error = error;
	req->answers++;
	return 0;
}

int
fuse_reply_write(fuse_req_t req, size_t n)
{
	req->wrote = n;
	return fuse_reply_err(req, 0);
}

void
request_fail(fuse_req_t req, int error)
{
	(void)fuse_reply_err(req, error);
}

int
door_is(fuse_ino_t ino)
{
	return ino == 99;
}

int
node_get(fuse_ino_t ino, struct vn **vn)
{
	*vn = &file;
	return ino == 1 ? 0 : ESTALE;
}

struct handle *
handle_get(uint64_t fh)
{
	return fh == 0 ? NULL : &handles[fh - 1];
}

void
handle_lost(uint32_t inode)
{
	assert_int_equal(inode, file.slot);
	handles[0].lost = handles[1].lost = 1;
}

int
overlay_fd(struct vn *vn)
{
	assert_ptr_equal(vn, &file);
	errno = EMFILE;
	return files_left == 0 ? -1 : file_fd;
}

int
content_rest(struct vn *vn, struct rest **rest, int *fd)
{
	(void)vn;
	(void)fd;
	*rest = NULL;
	return 0;
}

int
overlay_say_again(void)
{
	struct record r;
	struct wbuf w;
	int rc;

	memset(&r, 0, sizeof(r));
	r.type = RECORD_ALLOC;
	wbuf_init(&w, RECORD_MAX_BYTES);
	record_encode(&w, &r);
	rc = journal_append(w.data, w.len);
	wbuf_free(&w);
	said += rc == 0;
	return rc;
}

/* ---- requests --------------------------------------------------------------------- */

static char dir[] = "/tmp/test_fuse_sync.XXXXXX";

static const uint8_t id[16] = { 1 };

static int
setup(void **state)
{
	(void)state;
	strlcpy(dir, "/tmp/test_fuse_sync.XXXXXX", sizeof(dir));
	assert_non_null(mkdtemp(dir));
	assert_int_equal(chdir(dir), 0);
	file_fd = open("file", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_true(file_fd != -1);
	memset(&file, 0, sizeof(file));
	memset(handles, 0, sizeof(handles));
	file.flags = VN_LOCAL;
	file.ovl = 10;
	file.slot = handles[0].inode = handles[1].inode = 5;
	fail_file = fail_journal = 0;
	said = 0;
	return journal_open("journal", id, id, 0);
}

static int
teardown(void **state)
{
	char cmd[64];

	(void)state;
	assert_true(TAILQ_EMPTY(&works));
	journal_close();
	close(file_fd);
	assert_int_equal(chdir("/"), 0);
	snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
	return system(cmd);
}

/* A program's fsync(2) of the file. */
static void
ask(struct fuse_req *req, uint64_t fh)
{
	struct fuse_file_info fi = { .fh = fh };

	memset(req, 0, sizeof(*req));
	req->error = WAITS;
	op_fsync(req, 1, 0, &fi);
}

static void
one(void)
{
	struct work *w = TAILQ_FIRST(&works);

	TAILQ_REMOVE(&works, w, link);
	w->run(w);
	w->done(w);
}

static void
work(void)
{
	while (!TAILQ_EMPTY(&works))
		one();
}

static int
synced(void)
{
	struct fuse_req req;

	ask(&req, 1);
	work();
	assert_int_equal(req.answers, 1);
	return req.error;
}

static void
change(void)
{
	assert_int_equal(overlay_say_again(), 0);
	said--;
}

/* ---- tests ------------------------------------------------------------------------- */

static void
all_is_well(void **state)
{
	struct fuse_req a, b, c, d;
	struct fuse_file_info fi = { 0 };

	(void)state;
	change();
	syncs = 0;
	ask(&a, 1);
	ask(&b, 2);
	assert_int_equal(a.answers, 0);
	memset(&c, 0, sizeof(c));
	sync_begin(&c, &file, 1, 1, 123);
	op_fsyncdir((memset(&d, 0, sizeof(d)), &d), 1, 0, &fi);
	work();
	assert_int_equal(a.error, 0);
	assert_int_equal(b.error, 0);
	assert_int_equal(c.wrote, 123);
	assert_int_equal(a.answers + b.answers + c.answers + d.answers, 4);
	/* The file for each, the journal once. */
	assert_int_equal(syncs, 4);
	/* What is safe is not synced again. */
	assert_int_equal(synced(), 0);
	assert_int_equal(syncs, 5);
	assert_int_equal(said, 0);
	ask(&a, 1);
	op_fsync(&b, 99, 0, &fi);
	op_fsync(&c, 7, 0, &fi);
	assert_int_equal(b.error, 0);
	assert_int_equal(c.error, ESTALE);
	work();
}

static void
journal_fails(void **state)
{
	struct fuse_req a, b;

	(void)state;
	change();
	assert_int_equal(synced(), 0);
	change();
	fail_journal = 1;
	ask(&a, 1);
	one(); /* the file; the journal is next */
	ask(&b, 2);
	work();
	assert_int_equal(a.error, EIO);
	assert_int_equal(b.error, EIO);
	fail_journal = 0;
	/* What the database is to have is there at once, and once. */
	assert_int_equal(said, 1);
	assert_int_equal(journal_safety(), JOURNAL_UNSAFE_BEHIND);
	assert_int_equal(synced(), EIO);
	assert_int_equal(said, 1);
	journal_cut(journal_end());
	assert_int_equal(synced(), 0);
	assert_int_equal(said, 1);
}

static int64_t later_ms;

int
clock_gettime(clockid_t clock, struct timespec *ts)
{
	int rc = (int)syscall(SYS_clock_gettime, clock, ts);

	ts->tv_sec += later_ms / 1000;
	return rc;
}

/* Nobody knows how a sync of a process before this went. */
static void
killed_meanwhile(void **state)
{
	struct fuse_req a, b;
	uint64_t end;
	size_t n;
	int *fds, i;

	(void)state;
	for (i = 0; i < 2; i++) {
		change();
		assert_int_equal(journal_unsynced(&fds, &n, &end), 0);
		while (n > 0)
			close(fds[--n]);
		free(fds);
		journal_close();
		assert_int_equal(journal_open("journal", id, id, 1), 0);
		said = 0;
		ask(&a, 1);
		work();
		memset(&b, 0, sizeof(b));
		sync_begin(&b, &file, 1, 1, 123);
		work();
		assert_int_equal(a.answers + b.answers, 0);
		assert_int_equal(said, 1);
		later_ms += i == 0 ? 20000 : 31000;
		sync_go_on();
		work();
		if (i == 1) {
			/* Manifest says nothing. */
			assert_int_equal(a.error, EIO);
			assert_int_equal(b.error, EIO);
			break;
		}
		assert_int_equal(a.answers + b.answers, 0);
		journal_cut(journal_end());
		sync_go_on();
		work();
		assert_int_equal(a.error, 0);
		assert_int_equal(b.wrote, 123);
		assert_int_equal(a.answers + b.answers, 2);
		assert_int_equal(said, 1);
	}
	ask(&a, 1);
	work();
	assert_int_equal(a.answers, 0);
	journal_cut(journal_end());
	sync_go_on();
	work();
	assert_int_equal(a.error, 0);
	/* Another failure is one. */
	change();
	fail_journal = 1;
	assert_int_equal(synced(), EIO);
	assert_int_equal(synced(), EIO);
}

/* Where nothing was ever changed, and nothing will be by anybody else: as in a mount
   that is read-only. */
static void
empty_journal_fails(void **state)
{
	(void)state;
	fail_journal = 1;
	assert_int_equal(synced(), EIO);
	fail_journal = 0;
	assert_int_equal(said, 2);
	assert_int_equal(synced(), EIO);
	journal_cut(journal_end());
	assert_int_equal(synced(), 0);
}

/* A manifest that comes may not have said what the one before it applied. */
static void
another_manifest(void **state)
{
	(void)state;
	sync_mend(1);
	assert_int_equal(said, 0);
	change();
	fail_journal = 1;
	assert_int_equal(synced(), EIO);
	assert_int_equal(said, 1);
	sync_mend(1);
	assert_int_equal(said, 2);
	sync_mend(0);
	assert_int_equal(said, 2);
}

/* Nor can it be noted for a process after this one. */
static void
not_noted(void **state)
{
	struct fuse_req a;
	int later;

	(void)state;
	for (later = 0; later < 2; later++) {
		change();
		fail_journal = 1;
		ask(&a, 1);
		one(); /* the file */
		files_left = 0;
		one();
		files_left = later ? 0 : -1;
		assert_int_equal(a.error, EIO);
		fail_journal = 0;
		assert_int_equal(access("journal/unsafe", F_OK), -1);
		journal_cut(journal_end());
		files_left = -1;
		/* It is an error until it is noted, and that is applied. */
		assert_int_equal(synced(), EIO);
		assert_int_equal(access("journal/unsafe", F_OK), 0);
		assert_int_equal(journal_safety(), JOURNAL_UNSAFE_BEHIND);
		assert_int_equal(synced(), EIO);
		journal_cut(journal_end());
		assert_int_equal(synced(), 0);
		assert_int_equal(access("journal/unsafe", F_OK), -1);
	}
}

static void
file_fails(void **state)
{
	struct fuse_req a, b;

	(void)state;
	change();
	fail_file = 1;
	ask(&a, 1);
	ask(&b, 1);
	/* The first of them: then the kernel has forgotten it. */
	one();
	fail_file = 0;
	work();
	assert_int_equal(a.error, EIO);
	assert_int_equal(b.error, 0); /* the handle has heard of it */
	ask(&b, 2);
	work();
	assert_int_equal(b.error, EIO);
	ask(&b, 2);
	work();
	assert_int_equal(b.error, 0);
	/* Also without room for a descriptor. */
	files_left = 0;
	ask(&a, 1);
	files_left = -1;
	assert_int_equal(a.error, EMFILE);
	assert_int_equal(said, 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = { T(all_is_well), T(journal_fails),
		T(killed_meanwhile), T(empty_journal_fails),
		T(another_manifest), T(not_noted), T(file_fails) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
