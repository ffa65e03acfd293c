/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * Cases of the POSIX test program: opening files, unlinking them while they
 * are open, locks, and making what was written durable.
 */
#include <sys/file.h>
#include <sys/vfs.h>

#include "regress/posix/posix.h"

/* ---- open --------------------------------------------------------------- */

static void
open_excl(void)
{
	int fd = OK(open("f", O_RDWR | O_CREAT | O_EXCL, 0640));

	EQUAL(0640, MODE(fd_stat(fd)));
	FAILS(EEXIST, open("f", O_RDWR | O_CREAT | O_EXCL, 0644));
	OK(mkdir("d", 0755));
	FAILS(EEXIST, open("d", O_RDWR | O_CREAT | O_EXCL, 0644));
	OK(symlink("nowhere", "s"));
	FAILS(EEXIST, open("s", O_RDWR | O_CREAT | O_EXCL, 0644));
	OK(unlink("f"));
	OK(close(OK(open("f", O_RDWR | O_CREAT | O_EXCL, 0600))));
	EQUAL(0600, MODE(stat_of("f")));
}

static void
open_errors(void)
{
	put("f", "x");
	OK(mkdir("d", 0755));
	FAILS(ENOENT, open("none", O_RDWR));
	FAILS(ENOENT, open("none/f", O_RDWR | O_CREAT, 0644));
	FAILS(ENOTDIR, open("f/g", O_RDWR | O_CREAT, 0644));
	FAILS(EISDIR, open("d", O_RDWR));
	FAILS(EISDIR, open("d", O_RDONLY | O_CREAT, 0644));
	FAILS(EISDIR, open("d", O_WRONLY | O_TRUNC));
	/* The failed ones made negative names: now they are there. */
	put("none", "x");
	content("none", "x");
}

static void
open_trunc(void)
{
	int other;

	put("f", "something");
	other = OK(open("f", O_RDONLY));
	OK(close(OK(open("f", O_WRONLY | O_TRUNC))));
	EQUAL(0, stat_of("f").st_size);
	EQUAL(0, fd_stat(other).st_size);
	fd_content(other, "");
	put("f", "new");
	fd_content(other, "new");
}

static void
open_append(void)
{
	int a, b;

	put("f", "0");
	a = OK(open("f", O_WRONLY | O_APPEND));
	b = OK(open("f", O_WRONLY | O_APPEND));
	EQUAL(1, write(a, "1", 1));
	EQUAL(1, write(b, "2", 1));
	EQUAL(0, lseek(a, 0, SEEK_SET));
	EQUAL(1, write(a, "3", 1));
	EQUAL(4, lseek(a, 0, SEEK_CUR));
	content("f", "0123");
	OK(truncate("f", 2));
	EQUAL(1, write(b, "4", 1));
	content("f", "014");
}

static void
append_both(void)
{
	int fd = OK(open("log", O_WRONLY | O_CREAT | O_APPEND, 0644)), i;
	char line[16];

	for (i = 0; i < 200; i++) {
		memset(line, 'x', sizeof(line));
		EQUAL(sizeof(line), write(fd, line, sizeof(line)));
	}
}

static void
append_processes(void)
{
	pid_t a, b;

	put("log", "");
	a = start_child(append_both);
	b = start_child(append_both);
	end_child(a);
	end_child(b);
	/* None has overwritten what the other wrote. */
	EQUAL(2 * 200 * 16, stat_of("log").st_size);
}

static void
open_directory(void)
{
	put("f", "x");
	OK(mkdir("d", 0755));
	OK(symlink("d", "s"));
	FAILS(ENOTDIR, open("f", O_RDONLY | O_DIRECTORY));
	OK(close(OK(open("d", O_RDONLY | O_DIRECTORY))));
	OK(close(OK(open("s", O_RDONLY | O_DIRECTORY))));
	FAILS(ENOTDIR, open("s", O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
}

static void
open_nofollow(void)
{
	int fd;

	put("f", "x");
	OK(symlink("f", "s"));
	FAILS(ELOOP, open("s", O_RDONLY | O_NOFOLLOW));
	OK(close(OK(open("f", O_RDONLY | O_NOFOLLOW))));
	fd = OK(open("s", O_PATH | O_NOFOLLOW));
	TRUE(S_ISLNK(fd_stat(fd).st_mode));
}

static void
open_modes(void)
{
	char c;
	int fd;

	put("f", "x");
	fd = OK(open("f", O_RDONLY));
	FAILS(EBADF, write(fd, "y", 1));
	FAILS(EINVAL, ftruncate(fd, 0));
	OK(close(fd));
	fd = OK(open("f", O_WRONLY));
	FAILS(EBADF, read(fd, &c, 1));
	fd = OK(open("d_none", O_RDONLY | O_CREAT, 0));
	EQUAL(0, MODE(stat_of("d_none")));
	FAILS(EBADF, write(fd, "y", 1));
	/* The mode is for the next open, not for this one. */
	fd = OK(open("ro", O_RDWR | O_CREAT, 0400));
	EQUAL(1, write(fd, "y", 1));
	content("ro", "y");
}

static void
open_umask(void)
{
	umask(027);
	OK(close(OK(open("f", O_RDWR | O_CREAT, 0666))));
	EQUAL(0640, MODE(stat_of("f")));
	OK(mkdir("d", 0777));
	EQUAL(0750, MODE(stat_of("d")));
	OK(mkfifo("p", 0666));
	EQUAL(0640, MODE(stat_of("p")));
}

static void
tmpfile_flag(void)
{
	char path[64];
	int fd = open(".", O_TMPFILE | O_RDWR, 0600);

	if (fd == -1) {
		EQUAL(EOPNOTSUPP, errno);
		unsupported();
	}
	EQUAL(0, fd_stat(fd).st_nlink);
	EQUAL(5, write(fd, "hello", 5));
	fd_content(fd, "hello");
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	OK(linkat(AT_FDCWD, path, AT_FDCWD, "named", AT_SYMLINK_FOLLOW));
	content("named", "hello");
	EQUAL(1, stat_of("named").st_nlink);
}

/* ---- unlinked while open ------------------------------------------------ */

static void
unlink_open(void)
{
	int fd = OK(open("f", O_RDWR | O_CREAT, 0644));
	ino_t ino;

	EQUAL(5, write(fd, "first", 5));
	ino = fd_stat(fd).st_ino;
	OK(unlink("f"));
	TRUE(!exists("f"));
	FAILS(ENOENT, open("f", O_RDWR));
	fd_content(fd, "first");
	EQUAL(6, OK(pwrite(fd, "second", 6, 5)));
	fd_content(fd, "firstsecond");
	EQUAL(11, fd_stat(fd).st_size);
	EQUAL(0, fd_stat(fd).st_nlink);
	EQUAL(ino, fd_stat(fd).st_ino);
	OK(ftruncate(fd, 3));
	fd_content(fd, "fir");
	OK(fsync(fd));
}

static void
unlink_open_attr(void)
{
	struct timespec times[2] = { { 5, 6 }, { 7, 8 } };
	int fd = OK(open("f", O_RDWR | O_CREAT, 0644));

	OK(unlink("f"));
	OK(fchmod(fd, 0600));
	if (geteuid() != 0)
		unsupported();
	OK(fchown(fd, 1234, 5678));
	OK(futimens(fd, times));
	EQUAL(0600, MODE(fd_stat(fd)));
	EQUAL(1234, fd_stat(fd).st_uid);
	EQUAL(5678, fd_stat(fd).st_gid);
	EQUAL(7 * NSEC + 8, ns(fd_stat(fd).st_mtim));
}

static void
unlink_open_again(void)
{
	int old, new;

	put("f", "old");
	old = OK(open("f", O_RDWR));
	OK(unlink("f"));
	put("f", "new one");
	new = OK(open("f", O_RDWR));
	TRUE(fd_stat(old).st_ino != fd_stat(new).st_ino);
	EQUAL(3, OK(pwrite(old, "OLD", 3, 0)));
	fd_content(old, "OLD");
	fd_content(new, "new one");
	OK(close(old));
	content("f", "new one");
}

static void
unlink_open_twice(void)
{
	int a, b;

	put("f", "x");
	a = OK(open("f", O_RDONLY));
	b = OK(open("f", O_RDWR));
	OK(unlink("f"));
	OK(close(a));
	EQUAL(1, OK(pwrite(b, "y", 1, 1)));
	fd_content(b, "xy");
}

static void
unlink_reopen_proc(void)
{
	char path[64];
	int fd, again;

	put("f", "x");
	fd = OK(open("f", O_RDONLY));
	OK(unlink("f"));
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	again = OK(open(path, O_RDWR));
	EQUAL(1, OK(pwrite(again, "z", 1, 0)));
	fd_content(fd, "z");
	FAILS(ENOENT, linkat(AT_FDCWD, path, AT_FDCWD, "g", AT_SYMLINK_FOLLOW));
}

static void
fd_flags(void)
{
	int fd;

	put("f", "x");
	fd = OK(open("f", O_RDONLY | O_CLOEXEC));
	EQUAL(FD_CLOEXEC, fcntl(fd, F_GETFD));
	EQUAL(O_RDONLY, fcntl(fd, F_GETFL) & O_ACCMODE);
	fd = OK(open("f", O_WRONLY | O_APPEND));
	OK(fcntl(fd, F_SETFL, 0));
	EQUAL(1, OK(pwrite(fd, "y", 1, 0)));
	content("f", "y");
	OK(fcntl(fd, F_SETFL, O_APPEND));
	EQUAL(1, write(fd, "z", 1));
	content("f", "yz");
}

/* ---- locks -------------------------------------------------------------- */

static void
flock_held(void)
{
	int fd = OK(open("f", O_RDWR));

	FAILS(EWOULDBLOCK, flock(fd, LOCK_EX | LOCK_NB));
	FAILS(EWOULDBLOCK, flock(fd, LOCK_SH | LOCK_NB));
}

static void
flock_shared(void)
{
	int fd = OK(open("f", O_RDWR));

	OK(flock(fd, LOCK_SH | LOCK_NB));
	FAILS(EWOULDBLOCK, flock(fd, LOCK_EX | LOCK_NB));
}

static void
flock_wait(void)
{
	int fd = OK(open("f", O_RDWR));

	OK(flock(fd, LOCK_EX));
	fd_content(fd, "released");
}

static void
flock_processes(void)
{
	pid_t pid;
	int fd;

	put("f", "x");
	fd = OK(open("f", O_RDWR));
	OK(flock(fd, LOCK_EX));
	end_child(start_child(flock_held));
	OK(flock(fd, LOCK_SH));
	end_child(start_child(flock_shared));
	OK(flock(fd, LOCK_EX));
	pid = start_child(flock_wait);
	tick();
	EQUAL(8, OK(pwrite(fd, "released", 8, 0)));
	OK(flock(fd, LOCK_UN));
	end_child(pid);
}

static int
lock(int fd, int cmd, int type, off_t start, off_t len)
{
	struct flock fl = { .l_type = (short)type,
		.l_whence = SEEK_SET,
		.l_start = start,
		.l_len = len };

	return fcntl(fd, cmd, &fl);
}

static void
fcntl_held(void)
{
	struct flock fl = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	int fd = OK(open("f", O_RDWR));

	FAILS(EAGAIN, lock(fd, F_SETLK, F_WRLCK, 15, 1));
	FAILS(EAGAIN, lock(fd, F_SETLK, F_RDLCK, 0, 0));
	OK(lock(fd, F_SETLK, F_WRLCK, 0, 10));
	OK(lock(fd, F_SETLK, F_WRLCK, 20, 0));
	fl.l_start = 10;
	fl.l_len = 10;
	OK(fcntl(fd, F_GETLK, &fl));
	EQUAL(F_WRLCK, fl.l_type);
	EQUAL(getppid(), fl.l_pid);
}

static void
fcntl_wait(void)
{
	int fd = OK(open("f", O_RDWR));

	OK(lock(fd, F_SETLKW, F_WRLCK, 10, 10));
	fd_content(fd, "released");
}

static void
fcntl_processes(void)
{
	pid_t pid;
	int fd;

	put("f", "x");
	fd = OK(open("f", O_RDWR));
	OK(lock(fd, F_SETLK, F_WRLCK, 10, 10));
	end_child(start_child(fcntl_held));
	pid = start_child(fcntl_wait);
	tick();
	EQUAL(8, OK(pwrite(fd, "released", 8, 0)));
	OK(lock(fd, F_SETLK, F_UNLCK, 0, 0));
	end_child(pid);
}

static void
ofd_locks(void)
{
	int a, b;

	put("f", "x");
	a = OK(open("f", O_RDWR));
	b = OK(open("f", O_RDWR));
	OK(lock(a, F_OFD_SETLK, F_WRLCK, 0, 0));
	FAILS(EAGAIN, lock(b, F_OFD_SETLK, F_RDLCK, 0, 0));
	OK(close(a));
	OK(lock(b, F_OFD_SETLK, F_RDLCK, 0, 0));
}

/* ---- durability, and the file system ------------------------------------ */

static void
fsync_all(void)
{
	int fd = OK(open("f", O_RDWR | O_CREAT, 0644)), dir = open_dir(".");

	EQUAL(1, write(fd, "x", 1));
	OK(fsync(fd));
	OK(fdatasync(fd));
	OK(fsync(dir));
	OK(fdatasync(dir));
	OK(syncfs(dir));
	OK(close(fd));
	fd = OK(open("f", O_RDONLY));
	OK(fsync(fd));
	fd = OK(open("s", O_RDWR | O_CREAT | O_SYNC, 0644));
	EQUAL(1, write(fd, "y", 1));
	content("s", "y");
}

static void
statfs_sane(void)
{
	struct statfs fs, again;
	int fd;

	OK(statfs(".", &fs));
	TRUE(fs.f_bsize > 0);
	TRUE(fs.f_blocks > 0);
	TRUE(fs.f_bfree <= fs.f_blocks);
	TRUE(fs.f_bavail <= fs.f_bfree);
	EQUAL(255, fs.f_namelen);
	put("f", "x");
	fd = OK(open("f", O_RDONLY));
	OK(fstatfs(fd, &again));
	EQUAL(fs.f_type, again.f_type);
	EQUAL(fs.f_bsize, again.f_bsize);
}

static void
one_device(void)
{
	OK(mkdir("d", 0755));
	put("d/f", "x");
	EQUAL(stat_of(top_dir).st_dev, stat_of("d/f").st_dev);
	EQUAL(stat_of(".").st_dev, stat_of("d").st_dev);
	TRUE(stat_of("d").st_ino != stat_of("d/f").st_ino);
	TRUE(stat_of("d").st_ino != 0);
}

const struct posix_case cases_files[] = {
	{ "open_excl", open_excl, 0 },
	{ "open_errors", open_errors, 0 },
	{ "open_trunc", open_trunc, 0 },
	{ "open_append", open_append, 0 },
	{ "append_processes", append_processes, 0 },
	{ "open_directory", open_directory, 0 },
	{ "open_nofollow", open_nofollow, 0 },
	{ "open_modes", open_modes, 0 },
	{ "open_umask", open_umask, 0 },
	{ "tmpfile", tmpfile_flag, 0 },
	{ "unlink_open", unlink_open, 0 },
	{ "unlink_open_attr", unlink_open_attr, 0 },
	{ "unlink_open_again", unlink_open_again, 0 },
	{ "unlink_open_twice", unlink_open_twice, 0 },
	{ "unlink_reopen_proc", unlink_reopen_proc, 0 },
	{ "fd_flags", fd_flags, 0 },
	{ "flock_processes", flock_processes, 0 },
	{ "fcntl_processes", fcntl_processes, 0 },
	{ "ofd_locks", ofd_locks, 0 },
	{ "fsync", fsync_all, 0 },
	{ "statfs", statfs_sane, 0 },
	{ "one_device", one_device, 0 },
	{ NULL, NULL, 0 },
};
