/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * Claim: a copy_file_range from a chunk that lacks bytes is done once more, and
 * is an error then, as where it cannot be done once more, and never the end of the
 * file; a whole chunk that is not what it was is not copied; an error of the other
 * file says nothing of the chunk.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sys/mman.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "sailvold/content.h"
#include "sailvold/frontend.h"
#include "sailvold/overlay.h"
#include "sailvold/overlay_use.h"
#include "sailvold/worker.h"

#define LEN 8192

/* ---- stand-ins ------------------------------------------------------------------- */

struct fuse_req {
	int error, answers;
	size_t wrote;
};

static struct vn from, to;
static struct extent extent;
static struct work *submitted;
static int copies, again, bad, to_fd, writer_error;

void
worker_submit(struct work *w)
{
	assert_null(submitted);
	submitted = w;
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

int
fuse_reply_lseek(fuse_req_t req, off_t off)
{
	(void)off;
	return fuse_reply_err(req, 0);
}

int
fuse_reply_statfs(fuse_req_t req, const struct statvfs *st)
{
	(void)st;
	return fuse_reply_err(req, 0);
}

void
request_fail(fuse_req_t req, int error)
{
	(void)fuse_reply_err(req, error);
}

/* One is to be had, if any. */
struct park *
request_copy(void)
{
	static char park;

	return copies-- > 0 ? (struct park *)(void *)&park : NULL;
}

void
request_copy_free(struct park *p)
{
	(void)p;
}

void
request_again(fuse_req_t req, struct park *p)
{
	(void)req;
	assert_non_null(p);
	again++;
}

int
node_get(fuse_ino_t ino, struct vn **vn)
{
	*vn = ino == 1 ? &from : &to;
	return 0;
}

int
overlay_fd(struct vn *vn)
{
	assert_ptr_equal(vn, &to);
	return to_fd;
}

int
overlay_room(uint64_t bytes)
{
	(void)bytes;
	return 0;
}

int
overlay_statvfs(struct statvfs *st)
{
	(void)st;
	return -1;
}

void
use_statvfs(struct statvfs *st)
{
	(void)st;
}

void
use_touch(uint64_t ovl)
{
	(void)ovl;
}

void
use_look(uint64_t ovl)
{
	(void)ovl;
}

int
use_write(uint64_t ovl, uint64_t off, uint64_t len)
{
	(void)ovl;
	(void)off;
	(void)len;
	return 0;
}

void
vn_pin(struct vn *vn)
{
	vn->pins++;
}

void
vn_unpin(struct vn *vn)
{
	vn->pins--;
}

/* It is asked before the copy, and after it. */
int
writer_begin(struct vn *vn)
{
	assert_ptr_equal(vn, &to);
	return submitted != NULL ? writer_error : 0;
}

int
sync_wanted(const struct fuse_file_info *fi)
{
	(void)fi;
	return 0;
}

void
sync_begin(fuse_req_t req, struct vn *vn, uint64_t fh, int is_write, size_t n)
{
	(void)req;
	(void)vn;
	(void)fh;
	(void)is_write;
	(void)n;
	fail();
}

int
content_is_whole(struct vn *vn)
{
	(void)vn;
	return 0;
}

int
content_seek(struct vn *vn, uint64_t off, int data, uint64_t *at)
{
	(void)vn;
	(void)off;
	(void)data;
	(void)at;
	return EIO;
}

int
content_local(struct vn *vn, int empty)
{
	(void)vn;
	(void)empty;
	return 0;
}

int
content_prepare(struct vn *vn, uint64_t off, uint64_t end, int in_full)
{
	(void)vn;
	(void)off;
	(void)end;
	(void)in_full;
	return 0;
}

void
content_busy(struct vn *vn)
{
	(void)vn;
}

void
content_idle(struct vn *vn)
{
	(void)vn;
}

int
content_written(struct vn *vn, uint64_t off, uint64_t end)
{
	(void)vn;
	(void)off;
	(void)end;
	return 0;
}

int
content_extents(struct vn *vn, uint64_t off, size_t size, struct extent *x,
    int *n)
{
	assert_ptr_equal(vn, &from);
	(void)off;
	(void)size;
	*x = extent;
	*n = 1;
	return 0;
}

void
content_bad(const struct hash *h, int fd)
{
	assert_int_equal(hash_cmp(h, &extent.hash), 0);
	assert_true(fd >= 0);
	bad++;
}

int
content_check(int fd, off_t at, off_t len, const struct hash *want)
{
	char buf[LEN];
	struct hash h;
	ssize_t n = pread(fd, buf, (size_t)len, at);

	if (n != len)
		return EIO;
	hash_bytes(&h, buf, (size_t)n);
	return hash_cmp(&h, want) == 0 ? 0 : EIO;
}

/* ---- the tests ------------------------------------------------------------------- */

static char data[LEN];

static int
setup(void **state)
{
	(void)state;
	memset(data, 'x', sizeof(data));
	memset(&extent, 0, sizeof(extent));
	extent.fd = memfd_create("from", MFD_CLOEXEC);
	extent.clean = 1;
	hash_bytes(&extent.hash, data, sizeof(data));
	to_fd = memfd_create("to", MFD_CLOEXEC);
	assert_true(extent.fd != -1 && to_fd != -1);
	assert_int_equal(write(extent.fd, data, sizeof(data)), sizeof(data));
	from.size = sizeof(data);
	copies = again = bad = writer_error = 0;
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	close(extent.fd);
	close(to_fd);
	return 0;
}

static struct fuse_req
copy(off_t at, size_t len)
{
	struct fuse_req req = { 0, 0, 0 };
	struct fuse_file_info fi;
	struct work *w;

	memset(&fi, 0, sizeof(fi));
	extent.at = at;
	extent.len = len;
	op_copy_file_range(&req, 1, at, &fi, 2, 0, &fi, len, 0);
	w = submitted;
	assert_non_null(w);
	w->run(w);
	w->done(w);
	submitted = NULL;
	assert_int_equal(to.pins, 0);
	return req;
}

static void
test_cut(void **state)
{
	struct fuse_req req;

	(void)state;
	assert_int_equal(ftruncate(extent.fd, 100), 0);
	copies = 1;
	req = copy(4096, 4096);
	assert_int_equal(req.answers, 0);
	assert_int_equal(again, 1);
	assert_int_equal(bad, 1);
	/* The second time, or without memory. */
	req = copy(4096, 4096);
	assert_int_equal(req.answers, 1);
	assert_int_equal(req.error, EIO);
	assert_int_equal(again, 1);
	assert_int_equal(bad, 2);
	/* What is there of it is copied. */
	req = copy(50, 4096);
	assert_int_equal(req.error, 0);
	assert_int_equal(req.wrote, 50);
	/* No chunk ends where the file is cut. */
	extent.clean = 0;
	req = copy(4096, 4096);
	assert_int_equal(req.error, 0);
	assert_int_equal(req.wrote, 0);
	assert_int_equal(bad, 2);
}

static void
test_other(void **state)
{
	struct fuse_req req;
	char buf[LEN];

	(void)state;
	extent.whole = 1;
	req = copy(0, LEN);
	assert_int_equal(req.wrote, LEN);
	assert_int_equal(pread(to_fd, buf, LEN, 0), LEN);
	assert_memory_equal(buf, data, LEN);
	assert_int_equal(ftruncate(to_fd, 0), 0);
	assert_int_equal(pwrite(extent.fd, "y", 1, 77), 1);
	copies = 1;
	req = copy(0, LEN);
	assert_int_equal(req.answers, 0);
	assert_int_equal(again, 1);
	req = copy(0, LEN);
	assert_int_equal(req.error, EIO);
	assert_int_equal(bad, 2);
	assert_int_equal(pread(to_fd, buf, LEN, 0), 0);
}

static void
test_writer(void **state)
{
	struct fuse_req req;

	(void)state;
	writer_error = EIO;
	copies = 1;
	req = copy(0, 4096);
	assert_int_equal(req.error, EIO);
	assert_int_equal(req.answers, 1);
	assert_int_equal(again + bad, 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_cut),
		T(test_other),
		T(test_writer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
