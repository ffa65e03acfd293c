/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * Cases of the POSIX test program that a file system may refuse, each with the
 * errno that says so: then the case cannot be tried there.
 */
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <sys/xattr.h>

#include <grp.h>
#include <linux/fs.h>

#include "regress/posix/posix.h"

#define BLOCK 4096
#define XATTR_MOST 65536 /* XATTR_SIZE_MAX of linux/limits.h */

/* The call was done, or refused with that errno. */
static void
done_or(int error, long long result)
{
	if (result == 0)
		return;
	EQUAL(error, errno);
	unsupported();
}

static void
mknod_device(void)
{
	/* Who lacks CAP_MKNOD gets it from the kernel. */
	done_or(EPERM, mknod("c", S_IFCHR | 0600, makedev(1, 3)));
	EQUAL(makedev(1, 3), lstat_of("c").st_rdev);
	OK(mknod("b", S_IFBLK | 0600, makedev(7, 0)));
	TRUE(S_ISBLK(lstat_of("b").st_mode));
}

static void
rename_whiteout(void)
{
	struct stat st;

	put("a", "1");
	done_or(EINVAL,
	    renameat2(AT_FDCWD, "a", AT_FDCWD, "b", RENAME_WHITEOUT));
	content("b", "1");
	st = lstat_of("a");
	TRUE(S_ISCHR(st.st_mode));
	EQUAL(0, st.st_rdev);
}

static void
collapse_range(void)
{
	char *want = malloc(4 * BLOCK), *got = malloc(4 * BLOCK);
	int fd;

	put_filled("f", 4 * BLOCK, 3);
	fd = OK(open("f", O_RDWR));
	EQUAL(4 * BLOCK, pread(fd, want, 4 * BLOCK, 0));
	done_or(EOPNOTSUPP,
	    fallocate(fd, FALLOC_FL_COLLAPSE_RANGE, BLOCK, BLOCK));
	EQUAL(3 * BLOCK, fd_stat(fd).st_size);
	EQUAL(3 * BLOCK, pread(fd, got, 4 * BLOCK, 0));
	TRUE(memcmp(want, got, BLOCK) == 0);
	TRUE(memcmp(want + 2 * BLOCK, got + BLOCK, 2 * BLOCK) == 0);
}

static void
insert_range(void)
{
	char *want = malloc(2 * BLOCK), *got = malloc(3 * BLOCK);
	int fd;

	put_filled("f", 2 * BLOCK, 4);
	fd = OK(open("f", O_RDWR));
	EQUAL(2 * BLOCK, pread(fd, want, 2 * BLOCK, 0));
	done_or(EOPNOTSUPP,
	    fallocate(fd, FALLOC_FL_INSERT_RANGE, BLOCK, BLOCK));
	EQUAL(3 * BLOCK, pread(fd, got, 3 * BLOCK, 0));
	TRUE(memcmp(want, got, BLOCK) == 0);
	TRUE(memcmp(want + BLOCK, got + 2 * BLOCK, BLOCK) == 0);
}

static void
inode_flags(void)
{
	int fd = OK(open("f", O_RDWR | O_CREAT, 0644)), flags = 0;

	done_or(ENOTTY, ioctl(fd, FS_IOC_GETFLAGS, &flags));
	flags |= FS_NODUMP_FL;
	OK(ioctl(fd, FS_IOC_SETFLAGS, &flags));
	flags = 0;
	OK(ioctl(fd, FS_IOC_GETFLAGS, &flags));
	TRUE(flags & FS_NODUMP_FL);
}

static void
read_moves_atime(void)
{
	/* Older than the change: relatime of mount(8) moves it, too. */
	struct timespec times[2] = { { 5, 0 }, { 0, UTIME_OMIT } };
	char buf[1];

	put("f", "x");
	OK(utimensat(AT_FDCWD, "f", times, 0));
	EQUAL(5 * NSEC, ns(stat_of("f").st_atim));
	EQUAL(1, read(OK(open("f", O_RDONLY)), buf, 1));
	if (ns(stat_of("f").st_atim) == 5 * NSEC)
		unsupported();
	TRUE(ns(stat_of("f").st_atim) > 5 * NSEC);
}

#define USER 60001
#define GROUP 60002

/* Who may write by a supplementary group is of the group: setgid stays. */
static void
sgid_supplementary(void)
{
	gid_t group = GROUP;
	int fd, status;
	pid_t pid;

	if (geteuid() != 0)
		unsupported();
	put("f", "x");
	OK(chown("f", 0, GROUP));
	OK(chmod("f", 02664));
	if ((pid = OK(fork())) == 0) {
		OK(setgroups(1, &group));
		OK(setresgid(USER, USER, USER));
		OK(setresuid(USER, USER, USER));
		fd = OK(open("f", O_WRONLY));
		EQUAL(1, OK(pwrite(fd, "y", 1, 0)));
		_exit(0);
	}
	OK(waitpid(pid, &status, 0));
	EQUAL(0, status);
	content("f", "y");
	if (MODE(stat_of("f")) == 0664)
		unsupported();
	EQUAL(02664, MODE(stat_of("f")));
}

/* Attributes that a space has, or refuses. */
static void
space(const char *name)
{
	char buf[4];

	put("f", "x");
	done_or(EOPNOTSUPP, setxattr("f", name, "one", 3, 0));
	EQUAL(3, getxattr("f", name, buf, sizeof(buf)));
	TRUE(memcmp(buf, "one", 3) == 0);
	OK(removexattr("f", name));
}

static void
xattr_trusted(void)
{
	space("trusted.probe");
}

static void
xattr_security(void)
{
	space("security.probe");
}

static void
xattr_acl(void)
{
	/* Version 2; user, group, mask, others: acl(5). */
	static const uint8_t acl[] = { 2, 0, 0, 0, /* user: rw- */
		1, 0, 6, 0, 255, 255, 255, 255,    /* user 1234: rwx */
		2, 0, 7, 0, 210, 4, 0, 0,          /* group: r-- */
		4, 0, 4, 0, 255, 255, 255, 255,    /* mask: rwx */
		16, 0, 7, 0, 255, 255, 255, 255,   /* others: --- */
		32, 0, 0, 0, 255, 255, 255, 255 };

	put("f", "x");
	done_or(EOPNOTSUPP,
	    setxattr("f", "system.posix_acl_access", acl, sizeof(acl), 0));
	/* The mask shows as the group's bits. */
	EQUAL(0670, MODE(stat_of("f")));
}

static void
xattr_large(void)
{
	static char value[XATTR_MOST + 1], got[XATTR_MOST];

	put("f", "x");
	fill(value, sizeof(value), 0, 9);
	/* The kernel's own limit. */
	FAILS(E2BIG, setxattr("f", "user.a", value, sizeof(value), 0));
	done_or(ENOSPC, setxattr("f", "user.a", value, XATTR_MOST - 100, 0));
	EQUAL(XATTR_MOST - 100, getxattr("f", "user.a", got, sizeof(got)));
	TRUE(memcmp(value, got, XATTR_MOST - 100) == 0);
	/* All of a file together. */
	FAILS(ENOSPC, setxattr("f", "user.b", value, 4096, 0));
	EQUAL(XATTR_MOST - 100, getxattr("f", "user.a", NULL, 0));
}

const struct posix_case cases_optional[] = {
	{ "mknod_device", mknod_device, 0 },
	{ "rename_whiteout", rename_whiteout, 0 },
	{ "collapse_range", collapse_range, 0 },
	{ "insert_range", insert_range, 0 },
	{ "inode_flags", inode_flags, 0 },
	{ "read_moves_atime", read_moves_atime, 0 },
	{ "sgid_supplementary", sgid_supplementary, 0 },
	{ "xattr_trusted", xattr_trusted, 0 },
	{ "xattr_security", xattr_security, 0 },
	{ "xattr_acl", xattr_acl, 0 },
	{ "xattr_large", xattr_large, 0 },
	{ NULL, NULL, 0 },
};
