/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * Who swaps what was just made for something else gets no attributes set on
 * that; a tree that is deeper than a volume's may be is refused; of two that
 * make the same only one does, to its end, and what it leaves is taken up.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/path.h"
#include "sailvolctl/fetch_put.h"
#include "sailvolctl/rebuild.h"

static char top[] = "/tmp/test_rebuild.XXXXXX";
static int dir_fd;
static unsigned int deepest;
static enum swap { NOTHING, AT_ONCE, LATER } swap;
static int target_is_link;

/* ---- stand-ins --------------------------------------------------------------- */

void
failure_set(struct failure *f, const char *type, const char *code,
    const char *fmt, ...)
{
	(void)type;
	(void)fmt;
	snprintf(f->code, sizeof(f->code), "%s", code);
}

void
failure_clear(struct failure *f)
{
	(void)f;
}

/* Of what an earlier try has left: here there was none. */
int
remote_find(struct remote *r, const void *path, size_t len, struct entry *e,
    struct blob **keep, struct failure *f)
{
	(void)r;
	(void)path;
	(void)len;
	(void)e;
	(void)keep;
	(void)f;
	return -1;
}

/* Nobody interrupts. */
int
fetch_go_on(struct failure *f)
{
	(void)f;
	return 0;
}

struct chunklist *
fetch_hash_now(int fd, uint8_t shift, struct failure *f)
{
	(void)fd;
	(void)f;
	return chunklist_new(0, shift);
}

int
remote_xattrs(struct remote *r, const void *path, size_t len, struct entry *e,
    struct blob **keep, struct failure *f)
{
	(void)r;
	(void)path;
	(void)len;
	(void)e;
	(void)f;
	*keep = NULL;
	return 0;
}

int
download_file(struct download *d, struct remote *r, const void *path,
    size_t len, const struct entry *e, const struct chunklist *have,
    int (*sink)(void *, uint64_t, const void *, size_t, struct failure *),
    void *arg, struct failure *f)
{
	(void)d;
	(void)r;
	(void)path;
	(void)len;
	(void)e;
	(void)have;
	(void)sink;
	(void)arg;
	(void)f;
	return 0;
}

/* Each directory has another one, without an end. */
int
remote_each(struct remote *r, const void *path, size_t len,
    const struct entry *dir, remote_cb cb, void *arg, struct failure *f)
{
	unsigned int depth = (unsigned int)(len + 1) / 2;

	(void)r;
	(void)path;
	if (depth > deepest)
		deepest = depth;
	return cb(arg, (const uint8_t *)"d", 1, dir, f);
}

/* ---- who swaps --------------------------------------------------------------- */

static void
do_swap(void)
{
	assert_int_equal(unlinkat(dir_fd, "new", 0), 0);
	if (target_is_link)
		assert_int_equal(symlinkat("victim", dir_fd, "new"), 0);
	else
		assert_int_equal(linkat(dir_fd, "victim", dir_fd, "new", 0), 0);
}

int
mkfifoat(int dir, const char *name, mode_t mode)
{
	int rc = mknodat(dir, name, S_IFIFO | mode, 0);

	if (rc == 0 && swap == AT_ONCE)
		do_swap();
	return rc;
}

int
fchownat(int fd, const char *name, uid_t uid, gid_t gid, int flags)
{
	if (swap == LATER)
		do_swap();
	return (int)syscall(SYS_fchownat, fd, name, uid, gid, flags);
}

/* ---- tests ------------------------------------------------------------------- */

static int
make(const char *name, uint8_t type)
{
	struct rebuild r;
	struct failure f;
	struct entry e;

	memset(&r, 0, sizeof(r));
	memset(&f, 0, sizeof(f));
	memset(&e, 0, sizeof(e));
	e.type = type;
	e.mode = 0777;
	e.uid = getuid();
	e.gid = getgid();
	e.mtime.sec = 1000000000;
	return rebuild(&r, dir_fd, name, name, strlen(name), &e, &f);
}

static void
expect_untouched(void)
{
	struct stat st;

	assert_int_equal(fstatat(dir_fd, "victim", &st, AT_SYMLINK_NOFOLLOW),
	    0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_not_equal(st.st_mtim.tv_sec, 1000000000);
}

static void
test_swapped(void **state)
{
	(void)state;
	for (target_is_link = 0; target_is_link < 2; target_is_link++) {
		for (swap = AT_ONCE; swap <= LATER; swap++) {
			(void)make("new", ENTRY_FIFO);
			expect_untouched();
			assert_int_equal(unlinkat(dir_fd, "new", 0), 0);
		}
	}
	swap = NOTHING;
}

static void
test_plain(void **state)
{
	struct stat st;

	(void)state;
	assert_int_equal(make("fifo", ENTRY_FIFO), 0);
	assert_int_equal(fstatat(dir_fd, "fifo", &st, AT_SYMLINK_NOFOLLOW), 0);
	assert_true(S_ISFIFO(st.st_mode));
	assert_int_equal(st.st_mode & 07777, 0777);
	assert_int_equal(st.st_mtim.tv_sec, 1000000000);
	assert_int_equal(rebuild_remove(dir_fd, "fifo"), 0);
}

static void
test_depth(void **state)
{
	(void)state;
	assert_int_equal(make("d", ENTRY_DIR), -1);
	assert_int_equal(deepest, SAIL_DEPTH_MAX);
	assert_int_equal(rebuild_remove(dir_fd, "d"), 0);
	/* What is removed may shut its owner out. */
	assert_int_equal(mkdirat(dir_fd, "d", 0700), 0);
	assert_int_equal(mkdirat(dir_fd, "d/shut", 0), 0);
	assert_int_equal(rebuild_remove(dir_fd, "d"), 0);
}

static void
begin_get(struct rebuild *r, struct entry *e)
{
	memset(r, 0, sizeof(*r));
	r->resume = 1;
	r->lock = -1;
	memset(e, 0, sizeof(*e));
	e->type = ENTRY_FILE;
	e->mode = 0644;
	e->uid = getuid();
	e->gid = getgid();
	e->chunk_shift = CHUNK_SHIFT_MIN;
}

/*
 * From its beginning until it has its place, also when it looks like anybody's;
 * without it, it is taken up when it looks like ours.
 */
static void
test_two(void **state)
{
	struct rebuild a, b;
	struct failure f;
	struct entry e;
	struct stat st, now;
	int finished;

	(void)state;
	for (finished = 0; finished < 2; finished++) {
		begin_get(&a, &e);
		assert_int_equal(rebuild(&a, dir_fd, "t", "t", 1, &e, &f), 0);
		assert_int_equal(a.found, 0);
		if (finished)
			assert_int_equal(rebuild_finish(&a, dir_fd, "t", "t", 1,
					     &e, &f),
			    0);
		assert_int_equal(fstatat(dir_fd, "t", &st, 0), 0);
		assert_int_equal(st.st_mode & 0777, finished ? 0644 : 0600);
		begin_get(&b, &e);
		assert_int_equal(rebuild(&b, dir_fd, "t", "t", 1, &e, &f), -1);
		assert_string_equal(f.code, "busy");
		assert_int_equal(fstatat(dir_fd, "t", &now, 0), 0);
		assert_int_equal(st.st_ino, now.st_ino);
		rebuild_unfinish(&a);
		close(a.lock);
		begin_get(&b, &e);
		assert_int_equal(rebuild(&b, dir_fd, "t", "t", 1, &e, &f), 0);
		assert_int_equal(b.found, 1);
		/* Something else has its name: not that is finished. */
		assert_int_equal(unlinkat(dir_fd, "t", 0), 0);
		assert_int_equal(linkat(dir_fd, "victim", dir_fd, "t", 0), 0);
		assert_int_equal(rebuild_finish(&b, dir_fd, "t", "t", 1, &e,
				     &f),
		    -1);
		assert_string_equal(f.code, "busy");
		close(b.lock);
		assert_int_equal(unlinkat(dir_fd, "t", 0), 0);
	}
	expect_untouched();
}

/* ---- its place --------------------------------------------------------------- */

static int no_flags; /* as on NFS */

int
renameat2(int from_dir, const char *from, int to_dir, const char *to,
    unsigned int flags)
{
	if (no_flags) {
		errno = EINVAL;
		return -1;
	}
	return (int)syscall(SYS_renameat2, from_dir, from, to_dir, to, flags);
}

/* On any file system, or it says that it cannot. */
static void
test_place(void **state)
{
	struct entry e;
	struct stat st;

	(void)state;
	memset(&e, 0, sizeof(e));
	e.type = ENTRY_DIR;
	for (no_flags = 0; no_flags < 2; no_flags++) {
		assert_int_equal(mkdirat(dir_fd, "t", 0700), 0);
		assert_int_equal(rebuild_place(dir_fd, "t", "p", &e), 0);
		assert_int_equal(fstatat(dir_fd, "p", &st, 0), 0);
		assert_int_equal(mkdirat(dir_fd, "t", 0700), 0);
		errno = 0;
		assert_int_equal(rebuild_place(dir_fd, "t", "p", &e),
		    -no_flags);
		assert_int_equal(errno, no_flags ? ENOTSUP : 0);
		assert_int_equal(rebuild_remove(dir_fd, "t"), 0);
		assert_int_equal(rebuild_remove(dir_fd, "p"), 0);
	}
	no_flags = 0;
}

static int
setup(void **state)
{
	struct rlimit rl;
	int fd;

	(void)state;
	/* A directory is open for each level. */
	if (getrlimit(RLIMIT_NOFILE, &rl) == -1)
		return -1;
	rl.rlim_cur = rl.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &rl);
	if (mkdtemp(top) == NULL ||
	    (dir_fd = open(top, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) == -1 ||
	    (fd = openat(dir_fd, "victim", O_CREAT | O_WRONLY, 0600)) == -1)
		return -1;
	return close(fd);
}

static int
teardown(void **state)
{
	(void)state;
	(void)unlinkat(dir_fd, "victim", 0);
	close(dir_fd);
	return rmdir(top);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_swapped),
		cmocka_unit_test(test_plain),
		cmocka_unit_test(test_depth),
		cmocka_unit_test(test_two),
		cmocka_unit_test(test_place),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
