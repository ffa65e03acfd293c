/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * Cases of the POSIX test program: time stamps and extended attributes.
 */
#include <sys/xattr.h>

#include <time.h>

#include "regress/posix/posix.h"

/* ---- time stamps set ---------------------------------------------------- */

static void
utimens_ns(void)
{
	struct timespec times[2] = { { 1111111111, 123456789 },
		{ 1222222222, 987654321 } };
	int fd;

	put("f", "x");
	OK(utimensat(AT_FDCWD, "f", times, 0));
	EQUAL(ns(times[1]), ns(stat_of("f").st_mtim));
	fd = OK(open("f", O_RDWR));
	times[1].tv_nsec = 1;
	OK(futimens(fd, times));
	EQUAL(ns(times[1]), ns(fd_stat(fd).st_mtim));
	EQUAL(ns(times[1]), ns(stat_of("f").st_mtim));
	OK(mkdir("d", 0755));
	OK(utimensat(AT_FDCWD, "d", times, 0));
	EQUAL(ns(times[1]), ns(stat_of("d").st_mtim));
	times[0].tv_nsec = NSEC;
	FAILS(EINVAL, utimensat(AT_FDCWD, "f", times, 0));
}

static void
utimens_now(void)
{
	struct timespec times[2] = { { 5, 0 }, { 5, 0 } }, now;

	put("f", "x");
	OK(utimensat(AT_FDCWD, "f", times, 0));
	times[0].tv_nsec = UTIME_NOW;
	times[1].tv_nsec = UTIME_NOW;
	OK(utimensat(AT_FDCWD, "f", times, 0));
	OK(clock_gettime(CLOCK_REALTIME, &now));
	TRUE(ns(now) - ns(stat_of("f").st_mtim) < 5 * NSEC);
	OK(utimensat(AT_FDCWD, "f", NULL, 0));
	TRUE(ns(now) - ns(stat_of("f").st_mtim) < 5 * NSEC);
}

static void
utimens_omit(void)
{
	struct timespec times[2] = { { 1000, 1 }, { 2000, 2 } };

	put("f", "x");
	OK(utimensat(AT_FDCWD, "f", times, 0));
	times[0].tv_nsec = UTIME_OMIT;
	times[1].tv_sec = 3000;
	OK(utimensat(AT_FDCWD, "f", times, 0));
	EQUAL(3000 * NSEC + 2, ns(stat_of("f").st_mtim));
	times[0] = (struct timespec){ 4000, 0 };
	times[1].tv_nsec = UTIME_OMIT;
	OK(utimensat(AT_FDCWD, "f", times, 0));
	EQUAL(3000 * NSEC + 2, ns(stat_of("f").st_mtim));
}

static void
utimens_atime(void)
{
	struct timespec times[2] = { { 1000, 1 }, { 2000, 2 } };

	put("f", "x");
	OK(utimensat(AT_FDCWD, "f", times, 0));
	EQUAL(ns(times[0]), ns(stat_of("f").st_atim));
	times[0].tv_nsec = UTIME_OMIT;
	times[1].tv_sec = 3000;
	OK(utimensat(AT_FDCWD, "f", times, 0));
	EQUAL(1000 * NSEC + 1, ns(stat_of("f").st_atim));
	times[0] = (struct timespec){ 4000, 4 };
	times[1].tv_nsec = UTIME_OMIT;
	OK(utimensat(AT_FDCWD, "f", times, 0));
	EQUAL(4000 * NSEC + 4, ns(stat_of("f").st_atim));
}

static void
utimens_symlink(void)
{
	struct timespec times[2] = { { 77, 1 }, { 88, 2 } };

	put("f", "x");
	OK(symlink("f", "s"));
	OK(utimensat(AT_FDCWD, "s", times, AT_SYMLINK_NOFOLLOW));
	EQUAL(88 * NSEC + 2, ns(lstat_of("s").st_mtim));
	TRUE(ns(stat_of("f").st_mtim) > 1000 * NSEC);
	OK(utimensat(AT_FDCWD, "s", times, 0));
	EQUAL(88 * NSEC + 2, ns(stat_of("f").st_mtim));
}

static void
utimens_range(void)
{
	/* Before 1970 and after 2038. */
	struct timespec times[2] = { { -1000, 5 }, { -1000, 5 } };

	put("f", "x");
	OK(utimensat(AT_FDCWD, "f", times, 0));
	EQUAL(-1000 * NSEC + 5, ns(stat_of("f").st_mtim));
	times[1] = (struct timespec){ 5000000000, 7 };
	OK(utimensat(AT_FDCWD, "f", times, 0));
	EQUAL(5000000000 * NSEC + 7, ns(stat_of("f").st_mtim));
}

static void
utimens_open_writer(void)
{
	struct timespec times[2] = { { 100, 1 }, { 200, 2 } };
	int fd = OK(open("f", O_RDWR | O_CREAT, 0644));

	/* What tar does: write, set the times, close. */
	EQUAL(1, write(fd, "x", 1));
	OK(futimens(fd, times));
	EQUAL(200 * NSEC + 2, ns(fd_stat(fd).st_mtim));
	OK(close(fd));
	EQUAL(200 * NSEC + 2, ns(stat_of("f").st_mtim));
	tick();
	OK(close(OK(open("f", O_RDWR))));
	EQUAL(200 * NSEC + 2, ns(stat_of("f").st_mtim));
}

/* Past what the kernel remembers. */
static int64_t
mtime_of(const char *path)
{
	struct statx st;

	OK(statx(AT_FDCWD, path, AT_STATX_FORCE_SYNC, STATX_MTIME, &st));
	return st.stx_mtime.tv_sec * 1000000000 + st.stx_mtime.tv_nsec;
}

/* An open for writing that writes nothing leaves mtime as it was set. */
static void
utimens_then_open(void)
{
	struct timespec times[2] = { { 1000000001, 1 }, { 1000000002, 2 } };

	put("f", "x");
	OK(utimensat(AT_FDCWD, "f", times, 0));
	EQUAL(1000000002000000002, mtime_of("f"));
	OK(close(OK(open("f", O_RDWR))));
	EQUAL(1000000002000000002, mtime_of("f"));
}

/* Nor does it move that of a file that nobody wrote to yet. */
static void
times_open_empty(void)
{
	int64_t before;

	OK(mknod("f", S_IFREG | 0644, 0));
	before = mtime_of("f");
	OK(close(OK(open("f", O_RDWR))));
	EQUAL(before, mtime_of("f"));
	OK(close(OK(open("g", O_RDONLY | O_CREAT, 0644))));
	before = mtime_of("g");
	OK(close(OK(open("g", O_RDWR))));
	EQUAL(before, mtime_of("g"));
}

/* In seconds, and past what the kernel remembers. */
static long long
mtime_seconds(const char *path)
{
	struct statx st;

	OK(statx(AT_FDCWD, path, AT_STATX_FORCE_SYNC, STATX_MTIME, &st));
	return st.stx_mtime.tv_sec;
}

/* What a file system cannot hold is cut at once, and then stands. */
static void
utimens_beyond(void)
{
	static const long long seconds[] = { 1LL << 40, -(1LL << 40) };
	struct timespec times[2] = { { 5, 0 }, { 0, 7 } };
	long long set;
	size_t i;

	put("f", "x");
	for (i = 0; i < NITEMS(seconds); i++) {
		times[1].tv_sec = seconds[i];
		OK(utimensat(AT_FDCWD, "f", times, 0));
		set = mtime_seconds("f");
		TRUE((set < 0) == (seconds[i] < 0));
		OK(close(OK(open("f", O_RDWR))));
		EQUAL(set, mtime_seconds("f"));
	}
}

static void
utimens_moves_ctime(void)
{
	struct timespec times[2] = { { 1000, 1 }, { 0, UTIME_OMIT } };
	struct stat before, after;

	put("f", "x");
	OK(mkdir("d", 0755));
	before = stat_of("f");
	tick();
	/* What touch -a does. */
	OK(utimensat(AT_FDCWD, "f", times, 0));
	after = stat_of("f");
	EQUAL(1000 * NSEC + 1, ns(after.st_atim));
	EQUAL(ns(before.st_mtim), ns(after.st_mtim));
	TRUE(ns(after.st_ctim) > ns(before.st_ctim));
	tick();
	times[0].tv_nsec = UTIME_NOW;
	OK(utimensat(AT_FDCWD, "f", times, 0));
	TRUE(ns(stat_of("f").st_ctim) > ns(after.st_ctim));
	before = stat_of("d");
	tick();
	OK(utimensat(AT_FDCWD, "d", times, 0));
	TRUE(ns(stat_of("d").st_ctim) > ns(before.st_ctim));
	/* That of nothing changes nothing. */
	before = stat_of("d");
	tick();
	times[0].tv_nsec = UTIME_OMIT;
	OK(utimensat(AT_FDCWD, "d", times, 0));
	EQUAL(ns(before.st_ctim), ns(stat_of("d").st_ctim));
}

/* ---- time stamps that change by themselves ------------------------------ */

static void
times_write(void)
{
	struct stat before, after;
	int fd;

	put("f", "x");
	fd = OK(open("f", O_RDWR));
	before = stat_of("f");
	tick();
	EQUAL(1, write(fd, "y", 1));
	after = stat_of("f");
	TRUE(ns(after.st_mtim) > ns(before.st_mtim));
	TRUE(ns(after.st_ctim) > ns(before.st_ctim));
	tick();
	OK(close(fd));
	EQUAL(ns(after.st_mtim), ns(stat_of("f").st_mtim));
	tick();
	content("f", "y");
	EQUAL(ns(after.st_mtim), ns(stat_of("f").st_mtim));
	EQUAL(ns(after.st_ctim), ns(stat_of("f").st_ctim));
}

static void
times_truncate(void)
{
	struct stat before, after;

	put("f", "xyz");
	before = stat_of("f");
	tick();
	OK(truncate("f", 1));
	after = stat_of("f");
	TRUE(ns(after.st_mtim) > ns(before.st_mtim));
	TRUE(ns(after.st_ctim) > ns(before.st_ctim));
	tick();
	OK(close(OK(open("f", O_WRONLY | O_TRUNC))));
	TRUE(ns(stat_of("f").st_mtim) > ns(after.st_mtim));
}

static void
times_chmod(void)
{
	struct stat before, after;

	put("f", "x");
	before = stat_of("f");
	tick();
	OK(chmod("f", 0600));
	after = stat_of("f");
	EQUAL(ns(before.st_mtim), ns(after.st_mtim));
	TRUE(ns(after.st_ctim) > ns(before.st_ctim));
	before = after;
	tick();
	OK(link("f", "g"));
	after = stat_of("f");
	TRUE(ns(after.st_ctim) > ns(before.st_ctim));
	before = after;
	tick();
	OK(unlink("g"));
	after = stat_of("f");
	TRUE(ns(after.st_ctim) > ns(before.st_ctim));
	EQUAL(ns(before.st_mtim), ns(after.st_mtim));
}

/* To write is no access, nor is a new name in a directory. */
static void
write_keeps_atime(void)
{
	struct stat before;
	int fd;

	put("f", "x");
	OK(mkdir("d", 0755));
	fd = OK(open("f", O_RDWR));
	before = stat_of("f");
	tick();
	EQUAL(1, write(fd, "y", 1));
	EQUAL(ns(before.st_atim), ns(fd_stat(fd).st_atim));
	TRUE(ns(before.st_mtim) < ns(fd_stat(fd).st_mtim));
	OK(close(fd));
	EQUAL(ns(before.st_atim), ns(stat_of("f").st_atim));
	tick();
	OK(truncate("f", 0));
	EQUAL(ns(before.st_atim), ns(stat_of("f").st_atim));
	before = stat_of("d");
	tick();
	put("d/f", "x");
	EQUAL(ns(before.st_atim), ns(stat_of("d").st_atim));
	TRUE(ns(before.st_mtim) < ns(stat_of("d").st_mtim));
}

/* A directory's mtime and ctime grew since they were last looked at. */
static void
dir_changed(const char *name, int want)
{
	static struct timespec last_m, last_c;
	struct stat st = stat_of(name);

	if (want) {
		TRUE(ns(st.st_mtim) > ns(last_m));
		TRUE(ns(st.st_ctim) > ns(last_c));
	} else {
		EQUAL(ns(last_m), ns(st.st_mtim));
		EQUAL(ns(last_c), ns(st.st_ctim));
	}
	last_m = st.st_mtim;
	last_c = st.st_ctim;
	tick();
}

static void
times_dir(void)
{
	OK(mkdir("d", 0755));
	dir_changed("d", 1);
	put("d/f", "x");
	dir_changed("d", 1);
	put("d/f", "y");
	OK(chmod("d/f", 0600));
	content("d/f", "y");
	dir_changed("d", 0);
	OK(rename("d/f", "d/g"));
	dir_changed("d", 1);
	OK(link("d/g", "d/h"));
	dir_changed("d", 1);
	OK(symlink("x", "d/s"));
	dir_changed("d", 1);
	OK(unlink("d/h"));
	dir_changed("d", 1);
	OK(mkdir("d/e", 0755));
	dir_changed("d", 1);
	put("d/e/f", "x");
	dir_changed("d", 0);
	OK(unlink("d/e/f"));
	OK(rmdir("d/e"));
	dir_changed("d", 1);
	OK(rename("d/g", "out"));
	dir_changed("d", 1);
	OK(rename("out", "d/g"));
	dir_changed("d", 1);
}

static void
times_rename(void)
{
	struct stat before, after;

	put("f", "x");
	before = stat_of("f");
	tick();
	OK(rename("f", "g"));
	after = stat_of("g");
	EQUAL(ns(before.st_mtim), ns(after.st_mtim));
	/* POSIX leaves open whether ctime grows; it never goes back. */
	TRUE(ns(after.st_ctim) >= ns(before.st_ctim));
}

static void
times_chown_nobody(void)
{
	struct stat before;

	put("f", "x");
	before = stat_of("f");
	tick();
	OK(chown("f", (uid_t)-1, (gid_t)-1));
	TRUE(ns(stat_of("f").st_ctim) > ns(before.st_ctim));
	EQUAL(ns(before.st_mtim), ns(stat_of("f").st_mtim));
}

static void
times_create(void)
{
	struct timespec from, to;
	struct stat st;

	OK(clock_gettime(CLOCK_REALTIME_COARSE, &from));
	put("f", "");
	OK(clock_gettime(CLOCK_REALTIME, &to));
	st = stat_of("f");
	/* The kernel's coarse clock is up to a tick behind. */
	TRUE(ns(st.st_mtim) >= ns(from) - NSEC / 50);
	TRUE(ns(st.st_mtim) <= ns(to));
	TRUE(ns(st.st_ctim) >= ns(from) - NSEC / 50);
	TRUE(ns(st.st_ctim) <= ns(to));
}

/* ---- extended attributes ------------------------------------------------ */

static void
need_xattr(void)
{
	put("f", "x");
	if (setxattr("f", "user.probe", "1", 1, 0) == -1) {
		EQUAL(EOPNOTSUPP, errno);
		if (sail)
			fail("expected user xattrs, got EOPNOTSUPP");
		unsupported();
	}
	OK(removexattr("f", "user.probe"));
}

static void
xattr_create_replace(void)
{
	char buf[16];

	need_xattr();
	FAILS(ENODATA, setxattr("f", "user.a", "1", 1, XATTR_REPLACE));
	OK(setxattr("f", "user.a", "one", 3, XATTR_CREATE));
	FAILS(EEXIST, setxattr("f", "user.a", "2", 1, XATTR_CREATE));
	EQUAL(3, getxattr("f", "user.a", buf, sizeof(buf)));
	TRUE(memcmp(buf, "one", 3) == 0);
	OK(setxattr("f", "user.a", "three", 5, XATTR_REPLACE));
	EQUAL(5, getxattr("f", "user.a", buf, sizeof(buf)));
	TRUE(memcmp(buf, "three", 5) == 0);
	OK(setxattr("f", "user.a", "", 0, 0));
	EQUAL(0, getxattr("f", "user.a", buf, sizeof(buf)));
}

static void
xattr_list(void)
{
	char buf[256];
	ssize_t n;

	need_xattr();
	EQUAL(0, listxattr("f", NULL, 0));
	OK(setxattr("f", "user.b", "2", 1, 0));
	OK(setxattr("f", "user.a", "1", 1, 0));
	EQUAL(14, listxattr("f", NULL, 0));
	FAILS(ERANGE, listxattr("f", buf, 13));
	n = OK(listxattr("f", buf, sizeof(buf)));
	EQUAL(14, n);
	TRUE(memmem(buf, 14, "user.a", 7) != NULL);
	TRUE(memmem(buf, 14, "user.b", 7) != NULL);
	OK(removexattr("f", "user.a"));
	EQUAL(7, listxattr("f", buf, sizeof(buf)));
	TRUE(memcmp(buf, "user.b", 7) == 0);
}

static void
xattr_errors(void)
{
	char name[300] = "user.", buf[4];

	need_xattr();
	FAILS(ENODATA, getxattr("f", "user.none", buf, sizeof(buf)));
	FAILS(ENODATA, removexattr("f", "user.none"));
	OK(setxattr("f", "user.a", "0123456789", 10, 0));
	FAILS(ERANGE, getxattr("f", "user.a", buf, sizeof(buf)));
	EQUAL(10, getxattr("f", "user.a", NULL, 0));
	OK(removexattr("f", "user.a"));
	FAILS(ENODATA, getxattr("f", "user.a", buf, sizeof(buf)));
	FAILS(ENOENT, getxattr("none", "user.a", buf, sizeof(buf)));
	memset(name + 5, 'x', sizeof(name) - 6);
	FAILS(ERANGE, setxattr("f", name, "1", 1, 0));
	OK(symlink("f", "s"));
	FAILS(EPERM, lsetxattr("s", "user.a", "1", 1, 0));
	FAILS(EOPNOTSUPP, setxattr("f", "nonsense", "1", 1, 0));
}

static void
xattr_binary(void)
{
	char value[2000], got[2000];
	int fd;

	need_xattr();
	fill(value, sizeof(value), 0, 11);
	OK(mkdir("d", 0755));
	OK(setxattr("d", "user.bin", value, sizeof(value), 0));
	EQUAL(sizeof(value), getxattr("d", "user.bin", got, sizeof(got)));
	TRUE(memcmp(value, got, sizeof(value)) == 0);
	fd = OK(open("f", O_RDWR));
	OK(fsetxattr(fd, "user.bin", value, sizeof(value), 0));
	OK(rename("f", "g"));
	OK(link("g", "h"));
	memset(got, 0, sizeof(got));
	EQUAL(sizeof(value), getxattr("h", "user.bin", got, sizeof(got)));
	TRUE(memcmp(value, got, sizeof(value)) == 0);
	OK(unlink("g"));
	OK(unlink("h"));
	EQUAL(sizeof(value), fgetxattr(fd, "user.bin", got, sizeof(got)));
	OK(fremovexattr(fd, "user.bin"));
	EQUAL(0, flistxattr(fd, NULL, 0));
}

static void
xattr_keeps_mtime(void)
{
	struct stat before, after;

	need_xattr();
	before = stat_of("f");
	tick();
	OK(setxattr("f", "user.a", "1", 1, 0));
	after = stat_of("f");
	EQUAL(ns(before.st_mtim), ns(after.st_mtim));
	TRUE(ns(after.st_ctim) > ns(before.st_ctim));
	content("f", "x");
	/* The same value may be no change: not before, at least. */
	OK(setxattr("f", "user.a", "1", 1, 0));
	TRUE(ns(stat_of("f").st_ctim) >= ns(after.st_ctim));
}

static void
xattr_other_spaces(void)
{
	char buf[64];

	put("f", "x");
	FAILS(EOPNOTSUPP, setxattr("f", "security.sail", "1", 1, 0));
	FAILS(EOPNOTSUPP, setxattr("f", "trusted.sail", "1", 1, 0));
	TRUE(getxattr("f", "trusted.sail", buf, sizeof(buf)) == -1);
	TRUE(getxattr("f", "security.capability", buf, sizeof(buf)) == -1);
	EQUAL(0, listxattr("f", buf, sizeof(buf)));
}

const struct posix_case cases_attr[] = {
	{ "utimens_ns", utimens_ns, 0 },
	{ "utimens_now", utimens_now, 0 },
	{ "utimens_omit", utimens_omit, 0 },
	{ "utimens_atime", utimens_atime, 0 },
	{ "utimens_symlink", utimens_symlink, 0 },
	{ "utimens_range", utimens_range, 0 },
	{ "utimens_open_writer", utimens_open_writer, 0 },
	{ "utimens_then_open", utimens_then_open, 0 },
	{ "utimens_beyond", utimens_beyond, 0 },
	{ "utimens_moves_ctime", utimens_moves_ctime, 0 },
	{ "times_open_empty", times_open_empty, 0 },
	{ "times_write", times_write, 0 },
	{ "times_truncate", times_truncate, 0 },
	{ "times_chmod", times_chmod, 0 },
	{ "write_keeps_atime", write_keeps_atime, 0 },
	{ "times_dir", times_dir, 0 },
	{ "times_rename", times_rename, 0 },
	{ "times_chown_nobody", times_chown_nobody, 0 },
	{ "times_create", times_create, 0 },
	{ "xattr_create_replace", xattr_create_replace, 0 },
	{ "xattr_list", xattr_list, 0 },
	{ "xattr_errors", xattr_errors, 0 },
	{ "xattr_binary", xattr_binary, 0 },
	{ "xattr_keeps_mtime", xattr_keeps_mtime, 0 },
	{ "xattr_other_spaces", xattr_other_spaces, 1 },
	{ NULL, NULL, 0 },
};
