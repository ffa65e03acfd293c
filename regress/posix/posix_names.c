/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * Cases of the POSIX test program: names.  Rename, hard links, symbolic
 * links, special files, and what a name may be.
 */
#include <sys/socket.h>
#include <sys/sysmacros.h>
#include <sys/un.h>

#include <limits.h>

#include "regress/posix/posix.h"

/* ---- rename ------------------------------------------------------------- */

static void
rename_file(void)
{
	ino_t ino;

	put("a", "content of a");
	ino = stat_of("a").st_ino;
	OK(rename("a", "b"));
	TRUE(!exists("a"));
	content("b", "content of a");
	EQUAL(ino, stat_of("b").st_ino);
	FAILS(ENOENT, rename("a", "c"));
}

static void
rename_over(void)
{
	put("a", "new");
	put("b", "old");
	OK(rename("a", "b"));
	content("b", "new");
	TRUE(!exists("a"));
	EQUAL(1, stat_of("b").st_nlink);
}

static void
rename_over_open(void)
{
	int old, new;

	put("a", "new");
	put("b", "old");
	old = OK(open("b", O_RDWR));
	new = OK(open("a", O_RDWR));
	OK(rename("a", "b"));
	fd_content(old, "old");
	fd_content(new, "new");
	EQUAL(0, fd_stat(old).st_nlink);
	EQUAL(4, OK(pwrite(old, "OLD!", 4, 0)));
	EQUAL(4, OK(pwrite(new, "NEW!", 4, 0)));
	fd_content(old, "OLD!");
	content("b", "NEW!");
}

static void
rename_same_inode(void)
{
	put("a", "x");
	OK(link("a", "b"));
	/* Two names of one file: nothing happens. */
	OK(rename("a", "b"));
	TRUE(exists("a"));
	TRUE(exists("b"));
	EQUAL(2, stat_of("a").st_nlink);
	OK(rename("a", "a"));
	TRUE(exists("a"));
}

static void
rename_between_dirs(void)
{
	OK(mkdir("from", 0755));
	OK(mkdir("to", 0755));
	put("from/f", "x");
	OK(rename("from/f", "to/g"));
	TRUE(!exists("from/f"));
	content("to/g", "x");
	TRUE(!lists("from", "f"));
	TRUE(lists("to", "g"));
}

static void
rename_noreplace(void)
{
	put("a", "of a");
	put("b", "of b");
	FAILS(EEXIST,
	    renameat2(AT_FDCWD, "a", AT_FDCWD, "b", RENAME_NOREPLACE));
	content("a", "of a");
	content("b", "of b");
	OK(renameat2(AT_FDCWD, "a", AT_FDCWD, "c", RENAME_NOREPLACE));
	content("c", "of a");
	TRUE(!exists("a"));
}

static void
rename_exchange(void)
{
	put("a", "of a");
	put("b", "of b");
	OK(renameat2(AT_FDCWD, "a", AT_FDCWD, "b", RENAME_EXCHANGE));
	content("a", "of b");
	content("b", "of a");
	FAILS(ENOENT,
	    renameat2(AT_FDCWD, "a", AT_FDCWD, "none", RENAME_EXCHANGE));
	FAILS(EINVAL,
	    renameat2(AT_FDCWD, "a", AT_FDCWD, "b",
		RENAME_EXCHANGE | RENAME_NOREPLACE));
	content("a", "of b");
}

/* ---- hard links --------------------------------------------------------- */

static void
link_shares_inode(void)
{
	put("a", "one");
	OK(link("a", "b"));
	EQUAL(2, stat_of("a").st_nlink);
	EQUAL(2, stat_of("b").st_nlink);
	EQUAL(stat_of("a").st_ino, stat_of("b").st_ino);
	put("b", "changed");
	content("a", "changed");
	OK(chmod("a", 0600));
	EQUAL(0600, MODE(stat_of("b")));
}

static void
link_unlink_one(void)
{
	put("a", "one");
	OK(link("a", "b"));
	OK(unlink("a"));
	content("b", "one");
	EQUAL(1, stat_of("b").st_nlink);
	FAILS(ENOENT, link("a", "c"));
	OK(link("b", "a"));
	EQUAL(2, stat_of("b").st_nlink);
}

static void
link_errors(void)
{
	put("a", "a");
	put("b", "b");
	OK(mkdir("d", 0755));
	FAILS(EEXIST, link("a", "b"));
	FAILS(EEXIST, link("a", "a"));
	FAILS(EPERM, link("d", "e"));
	FAILS(ENOENT, link("none", "e"));
	FAILS(ENOTDIR, link("a/x", "e"));
	content("b", "b");
}

static void
link_other_dir(void)
{
	OK(mkdir("d", 0755));
	OK(mkdir("d/e", 0755));
	put("f", "x");
	OK(link("f", "d/e/g"));
	OK(unlink("f"));
	content("d/e/g", "x");
	OK(rename("d", "h"));
	content("h/e/g", "x");
	EQUAL(1, stat_of("h/e/g").st_nlink);
}

static void
link_many(void)
{
	char name[32];
	int i;

	put("f", "x");
	for (i = 0; i < 200; i++) {
		snprintf(name, sizeof(name), "l%d", i);
		OK(link("f", name));
	}
	EQUAL(201, stat_of("f").st_nlink);
	for (i = 0; i < 200; i++) {
		snprintf(name, sizeof(name), "l%d", i);
		OK(unlink(name));
	}
	EQUAL(1, stat_of("f").st_nlink);
}

static void
link_to_symlink(void)
{
	OK(symlink("nowhere", "s"));
	OK(link("s", "t"));
	EQUAL(lstat_of("s").st_ino, lstat_of("t").st_ino);
	put("f", "x");
	OK(symlink("f", "to_f"));
	OK(linkat(AT_FDCWD, "to_f", AT_FDCWD, "g", AT_SYMLINK_FOLLOW));
	EQUAL(stat_of("f").st_ino, lstat_of("g").st_ino);
}

/* ---- symbolic links ----------------------------------------------------- */

static void
symlink_read(void)
{
	char buf[64];

	put("f", "x");
	OK(symlink("f", "s"));
	EQUAL(1, readlink("s", buf, sizeof(buf)));
	EQUAL('f', buf[0]);
	EQUAL(1, lstat_of("s").st_size);
	TRUE(S_ISLNK(lstat_of("s").st_mode));
	content("s", "x");
	FAILS(EEXIST, symlink("g", "s"));
	FAILS(EINVAL, readlink("f", buf, sizeof(buf)));
	FAILS(ENOENT, symlink("", "t"));
	OK(unlink("s"));
	content("f", "x");
}

static void
symlink_4095(void)
{
	char *target = malloc(PATH_MAX + 1), *got = malloc(PATH_MAX + 1);
	size_t i;

	for (i = 0; i < PATH_MAX; i++)
		target[i] = i % 50 == 49 ? '/' : 'a' + i % 26;
	target[PATH_MAX] = '\0';
	FAILS(ENAMETOOLONG, symlink(target, "longer"));
	target[PATH_MAX - 1] = '\0';
	/* Other file systems than this one may have a lower limit. */
	if (symlink(target, "s") == -1) {
		EQUAL(ENAMETOOLONG, errno);
		unsupported();
	}
	EQUAL(PATH_MAX - 1, readlink("s", got, PATH_MAX + 1));
	TRUE(memcmp(target, got, PATH_MAX - 1) == 0);
	EQUAL(PATH_MAX - 1, lstat_of("s").st_size);
	EQUAL(10, readlink("s", got, 10));
}

static void
symlink_loop(void)
{
	OK(symlink("b", "a"));
	OK(symlink("a", "b"));
	FAILS(ELOOP, open("a", O_RDONLY));
	FAILS(ELOOP, chmod("a", 0600));
	OK(symlink("self/x", "self"));
	FAILS(ELOOP, access("self", F_OK));
	TRUE(exists("a"));
}

static void
symlink_dangling(void)
{
	struct stat st;

	OK(symlink("not_there", "s"));
	FAILS(ENOENT, stat("s", &st));
	FAILS(ENOENT, open("s", O_RDONLY));
	FAILS(EEXIST, open("s", O_RDWR | O_CREAT | O_EXCL, 0644));
	FAILS(EEXIST, mkdir("s", 0755));
	put("s", "through");
	content("not_there", "through");
	TRUE(S_ISLNK(lstat_of("s").st_mode));
}

static void
symlink_to_dir(void)
{
	OK(mkdir("d", 0755));
	put("d/f", "x");
	OK(symlink("d", "s"));
	content("s/f", "x");
	FAILS(ENOTDIR, rmdir("s"));
	OK(rename("s", "t"));
	content("t/f", "x");
	OK(rename("d", "e"));
	FAILS(ENOENT, open("t/f", O_RDONLY));
	OK(unlink("t"));
	content("e/f", "x");
}

static void
symlink_bytes(void)
{
	static const char target[] = "\xff\xfe/\n \x01\x80";
	char buf[64];

	OK(symlink(target, "s"));
	EQUAL(sizeof(target) - 1, readlink("s", buf, sizeof(buf)));
	TRUE(memcmp(buf, target, sizeof(target) - 1) == 0);
}

/* ---- special files ------------------------------------------------------ */

static void
write_fifo(void)
{
	int fd = OK(open("fifo", O_WRONLY));

	EQUAL(5, write(fd, "hello", 5));
	close(fd);
}

static void
fifo(void)
{
	char buf[16];
	pid_t pid;
	int fd;

	OK(mkfifo("fifo", 0640));
	TRUE(S_ISFIFO(lstat_of("fifo").st_mode));
	EQUAL(0640, MODE(lstat_of("fifo")));
	FAILS(ENXIO, open("fifo", O_WRONLY | O_NONBLOCK));
	pid = start_child(write_fifo);
	fd = OK(open("fifo", O_RDONLY));
	EQUAL(5, read(fd, buf, sizeof(buf)));
	TRUE(memcmp(buf, "hello", 5) == 0);
	EQUAL(0, read(fd, buf, sizeof(buf)));
	end_child(pid);
	OK(rename("fifo", "other"));
	TRUE(S_ISFIFO(lstat_of("other").st_mode));
	OK(unlink("other"));
}

static void
socket_name(void)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	char byte = 'x';
	int l, c, s;

	memcpy(sun.sun_path, "sock", sizeof("sock"));
	l = OK(socket(AF_UNIX, SOCK_STREAM, 0));
	OK(bind(l, (struct sockaddr *)&sun, sizeof(sun)));
	TRUE(S_ISSOCK(lstat_of("sock").st_mode));
	OK(listen(l, 1));
	c = OK(socket(AF_UNIX, SOCK_STREAM, 0));
	OK(connect(c, (struct sockaddr *)&sun, sizeof(sun)));
	s = OK(accept(l, NULL, NULL));
	EQUAL(1, write(c, &byte, 1));
	byte = 0;
	EQUAL(1, read(s, &byte, 1));
	EQUAL('x', byte);
	FAILS(ENXIO, open("sock", O_RDONLY));
	FAILS(EADDRINUSE,
	    bind(OK(socket(AF_UNIX, SOCK_STREAM, 0)), (struct sockaddr *)&sun,
		sizeof(sun)));
	OK(unlink("sock"));
	FAILS(ENOENT,
	    connect(OK(socket(AF_UNIX, SOCK_STREAM, 0)),
		(struct sockaddr *)&sun, sizeof(sun)));
}

static void
mknod_file(void)
{
	OK(mknod("f", S_IFREG | 0644, 0));
	TRUE(S_ISREG(stat_of("f").st_mode));
	EQUAL(0, stat_of("f").st_size);
	put("f", "x");
	content("f", "x");
	FAILS(EEXIST, mknod("f", S_IFREG | 0644, 0));
	OK(mknod("p", S_IFIFO | 0600, 0));
	TRUE(S_ISFIFO(lstat_of("p").st_mode));
}

/* ---- what a name may be ------------------------------------------------- */

static void
name_length(void)
{
	char name[258];

	memset(name, 'n', sizeof(name));
	name[256] = '\0';
	FAILS(ENAMETOOLONG, open(name, O_RDWR | O_CREAT, 0644));
	FAILS(ENAMETOOLONG, mkdir(name, 0755));
	FAILS(ENAMETOOLONG, symlink("x", name));
	FAILS(ENAMETOOLONG, access(name, F_OK));
	put("f", "x");
	FAILS(ENAMETOOLONG, rename("f", name));
	FAILS(ENAMETOOLONG, link("f", name));
	name[255] = '\0';
	put(name, "of 255");
	content(name, "of 255");
	TRUE(lists(".", name));
	OK(rename(name, "g"));
	OK(mkdir(name, 0755));
	OK(rmdir(name));
}

static void
name_bytes(void)
{
	/* Latin-1, cut UTF-8, a surrogate, control characters, new lines. */
	static const char *const names[] = { "\xe9t\xe9", "\xf0\x9f\x98",
		"\xed\xa0\x80", "a\nb", "\n", "\x01\x02\x7f", "-rf", " ", "*?[",
		"\\", "\"'", "...", "~", "\xff\xff\xff", "CON", "a:b" };
	size_t i;

	for (i = 0; i < NITEMS(names); i++)
		put(names[i], names[i]);
	for (i = 0; i < NITEMS(names); i++) {
		content(names[i], names[i]);
		TRUE(lists(".", names[i]));
	}
	for (i = 0; i < NITEMS(names); i++)
		OK(unlink(names[i]));
}

static void
name_case(void)
{
	put("Name", "upper");
	put("name", "lower");
	content("Name", "upper");
	content("name", "lower");
	/* Composed and decomposed: two names. */
	put("\xc3\xa9", "composed");
	put("e\xcc\x81", "decomposed");
	content("\xc3\xa9", "composed");
	content("e\xcc\x81", "decomposed");
}

static void
name_trailing_slash(void)
{
	put("f", "x");
	OK(mkdir("d", 0755));
	FAILS(ENOTDIR, open("f/", O_RDONLY));
	FAILS(EISDIR, open("new/", O_RDWR | O_CREAT, 0644));
	FAILS(ENOTDIR, unlink("f/"));
	FAILS(ENOTDIR, rename("f", "g/"));
	OK(rename("d/", "e/"));
	OK(mkdir("h/", 0755));
	OK(rmdir("h/"));
	FAILS(EINVAL, rmdir("e/."));
	FAILS(ENOTEMPTY, rmdir("e/.."));
	FAILS(ENOENT, open("", O_RDONLY));
}

const struct posix_case cases_names[] = {
	{ "rename_file", rename_file, 0 },
	{ "rename_over", rename_over, 0 },
	{ "rename_over_open", rename_over_open, 0 },
	{ "rename_same_inode", rename_same_inode, 0 },
	{ "rename_between_dirs", rename_between_dirs, 0 },
	{ "rename_noreplace", rename_noreplace, 0 },
	{ "rename_exchange", rename_exchange, 0 },
	{ "link_shares_inode", link_shares_inode, 0 },
	{ "link_unlink_one", link_unlink_one, 0 },
	{ "link_errors", link_errors, 0 },
	{ "link_other_dir", link_other_dir, 0 },
	{ "link_many", link_many, 0 },
	{ "link_to_symlink", link_to_symlink, 0 },
	{ "symlink_read", symlink_read, 0 },
	{ "symlink_4095", symlink_4095, 0 },
	{ "symlink_loop", symlink_loop, 0 },
	{ "symlink_dangling", symlink_dangling, 0 },
	{ "symlink_to_dir", symlink_to_dir, 0 },
	{ "symlink_bytes", symlink_bytes, 0 },
	{ "fifo", fifo, 0 },
	{ "socket", socket_name, 0 },
	{ "mknod_file", mknod_file, 0 },
	{ "name_length", name_length, 0 },
	{ "name_bytes", name_bytes, 0 },
	{ "name_case", name_case, 0 },
	{ "name_trailing_slash", name_trailing_slash, 0 },
	{ NULL, NULL, 0 },
};
