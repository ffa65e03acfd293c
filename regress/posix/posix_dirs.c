/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * Cases of the POSIX test program: directories.  Their renames, reading them
 * while they change, depth, and directories that are removed while in use.
 */
#include <dirent.h>
#include <limits.h>

#include "regress/posix/posix.h"

#define MANY 3000

/* ---- making and removing ------------------------------------------------ */

static void
mkdir_rmdir(void)
{
	OK(mkdir("d", 0750));
	TRUE(S_ISDIR(stat_of("d").st_mode));
	EQUAL(0750, MODE(stat_of("d")));
	FAILS(EEXIST, mkdir("d", 0755));
	FAILS(EISDIR, unlink("d"));
	FAILS(EISDIR, open("d", O_WRONLY));
	OK(rmdir("d"));
	FAILS(ENOENT, rmdir("d"));
	put("f", "x");
	FAILS(ENOTDIR, rmdir("f"));
	FAILS(EEXIST, mkdir("f", 0755));
	FAILS(ENOENT, mkdir("no/d", 0755));
	FAILS(ENOTDIR, mkdir("f/d", 0755));
}

static void
rmdir_not_empty(void)
{
	OK(mkdir("d", 0755));
	put("d/f", "x");
	FAILS(ENOTEMPTY, rmdir("d"));
	OK(unlink("d/f"));
	OK(mkdir("d/e", 0755));
	FAILS(ENOTEMPTY, rmdir("d"));
	OK(rmdir("d/e"));
	OK(symlink("x", "d/s"));
	FAILS(ENOTEMPTY, rmdir("d"));
	OK(unlink("d/s"));
	OK(rmdir("d"));
}

static void
dir_nlink(void)
{
	nlink_t before;

	OK(mkdir("d", 0755));
	before = stat_of("d").st_nlink;
	/* One for all is allowed (btrfs); else each directory counts. */
	if (before == 1)
		unsupported();
	EQUAL(2, before);
	OK(mkdir("d/a", 0755));
	OK(mkdir("d/b", 0755));
	EQUAL(4, stat_of("d").st_nlink);
	OK(mkdir("e", 0755));
	OK(rename("d/a", "e/a"));
	EQUAL(3, stat_of("d").st_nlink);
	EQUAL(3, stat_of("e").st_nlink);
	OK(rmdir("d/b"));
	EQUAL(2, stat_of("d").st_nlink);
}

static void
dot_dot(void)
{
	OK(mkdir("a", 0755));
	OK(mkdir("a/b", 0755));
	OK(mkdir("c", 0755));
	EQUAL(stat_of("a").st_ino, stat_of("a/b/..").st_ino);
	EQUAL(stat_of("a").st_ino, stat_of("a/.").st_ino);
	OK(rename("a/b", "c/b"));
	EQUAL(stat_of("c").st_ino, stat_of("c/b/..").st_ino);
	TRUE(lists("c/b", "."));
	TRUE(lists("c/b", ".."));
}

/* ---- rename ------------------------------------------------------------- */

static void
rename_dir(void)
{
	int fd;

	OK(mkdir("a", 0755));
	OK(mkdir("a/sub", 0755));
	put("a/sub/f", "deep");
	fd = OK(open("a/sub/f", O_RDWR));
	OK(rename("a", "b"));
	content("b/sub/f", "deep");
	FAILS(ENOENT, open("a/sub/f", O_RDONLY));
	EQUAL(4, OK(pwrite(fd, "DEEP", 4, 0)));
	content("b/sub/f", "DEEP");
	OK(mkdir("a", 0755));
	TRUE(!exists("a/sub"));
}

static void
rename_dir_over_empty(void)
{
	int fd;

	OK(mkdir("a", 0755));
	put("a/f", "x");
	OK(mkdir("b", 0755));
	fd = open_dir("b");
	OK(rename("a", "b"));
	content("b/f", "x");
	TRUE(!exists("a"));
	FAILS(ENOENT, openat(fd, "g", O_RDWR | O_CREAT, 0644));
}

static void
rename_dir_into_itself(void)
{
	OK(mkdir("a", 0755));
	OK(mkdir("a/b", 0755));
	FAILS(EINVAL, rename("a", "a/b/c"));
	FAILS(EINVAL, rename("a", "a/c"));
	OK(mkdir("a/b/c", 0755));
	FAILS(EINVAL,
	    renameat2(AT_FDCWD, "a", AT_FDCWD, "a/b/c", RENAME_EXCHANGE));
	FAILS(ENOTEMPTY, rename("a/b/c", "a"));
	TRUE(exists("a/b/c"));
}

static void
rename_dir_errors(void)
{
	OK(mkdir("a", 0755));
	OK(mkdir("full", 0755));
	put("full/f", "x");
	put("f", "f");
	FAILS(ENOTEMPTY, rename("a", "full"));
	FAILS(EISDIR, rename("f", "a"));
	FAILS(ENOTDIR, rename("a", "f"));
	FAILS(ENOENT, rename("a", "no/b"));
	FAILS(ENOTDIR, rename("a", "f/b"));
	FAILS(EBUSY, rename("a/.", "b"));
	content("f", "f");
	content("full/f", "x");
}

static void
rename_exchange_dirs(void)
{
	OK(mkdir("a", 0755));
	OK(mkdir("b", 0755));
	OK(mkdir("b/in", 0755));
	put("a/x", "of a");
	put("b/in/y", "of b");
	OK(renameat2(AT_FDCWD, "a", AT_FDCWD, "b", RENAME_EXCHANGE));
	content("b/x", "of a");
	content("a/in/y", "of b");
	OK(renameat2(AT_FDCWD, "a/in", AT_FDCWD, "b", RENAME_EXCHANGE));
	content("a/in/x", "of a");
	content("b/y", "of b");
	EQUAL(stat_of("a").st_ino, stat_of("a/in/..").st_ino);
}

static void
rename_exchange_kinds(void)
{
	put("f", "file");
	OK(mkdir("d", 0755));
	put("d/in", "in");
	OK(renameat2(AT_FDCWD, "f", AT_FDCWD, "d", RENAME_EXCHANGE));
	content("d", "file");
	content("f/in", "in");
	OK(symlink("d", "s"));
	OK(renameat2(AT_FDCWD, "s", AT_FDCWD, "f", RENAME_EXCHANGE));
	content("f", "file");
	content("s/in", "in");
}

/* ---- reading ------------------------------------------------------------ */

static void
readdir_types(void)
{
	struct dirent *e;
	int seen = 0;
	DIR *d;

	put("file", "");
	OK(mkdir("dir", 0755));
	OK(symlink("x", "link"));
	OK(mkfifo("fifo", 0600));
	d = opendir(".");
	TRUE(d != NULL);
	while ((e = readdir(d)) != NULL) {
		if (e->d_name[0] == '.')
			continue;
		seen++;
		EQUAL(lstat_of(e->d_name).st_ino, e->d_ino);
		if (e->d_type != DT_UNKNOWN)
			EQUAL(lstat_of(e->d_name).st_mode & S_IFMT,
			    DTTOIF(e->d_type));
	}
	EQUAL(4, seen);
	closedir(d);
}

static void
readdir_changing(void)
{
	unsigned char *seen = calloc(MANY, 1);
	struct dirent *e;
	char name[32];
	int i, n = 0, twice = 0, missing = 0;
	DIR *d;

	OK(mkdir("d", 0755));
	OK(chdir("d"));
	for (i = 0; i < MANY; i++) {
		snprintf(name, sizeof(name), "k%d", i);
		OK(close(OK(open(name, O_CREAT | O_WRONLY, 0644))));
	}
	d = opendir(".");
	TRUE(d != NULL);
	/* Those named k stay: each must be read once, whatever comes and
	 * goes beside them. */
	while ((e = readdir(d)) != NULL) {
		if (e->d_name[0] == 'k') {
			i = (int)strtol(e->d_name + 1, NULL, 10);
			TRUE(i >= 0 && i < MANY);
			twice += seen[i];
			seen[i] = 1;
		}
		snprintf(name, sizeof(name), "t%d", n);
		if (++n % 3 == 0)
			OK(close(OK(open(name, O_CREAT | O_WRONLY, 0644))));
		snprintf(name, sizeof(name), "t%d", n - 30);
		if (n > 30 && n % 3 == 0)
			unlink(name);
		TRUE(n < 4 * MANY);
	}
	for (i = 0; i < MANY; i++)
		missing += !seen[i];
	EQUAL(0, twice);
	EQUAL(0, missing);
	closedir(d);
}

static void
readdir_remove_all(void)
{
	struct dirent *e;
	char name[32];
	DIR *d;
	int i;

	OK(mkdir("d", 0755));
	OK(chdir("d"));
	for (i = 0; i < 1000; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		OK(close(OK(open(name, O_CREAT | O_WRONLY, 0644))));
	}
	/* What rm -r does: one pass must suffice. */
	d = opendir(".");
	TRUE(d != NULL);
	while ((e = readdir(d)) != NULL)
		if (e->d_name[0] != '.')
			OK(unlink(e->d_name));
	closedir(d);
	OK(chdir(".."));
	OK(rmdir("d"));
}

static void
seekdir_telldir(void)
{
	static char after[200][32];
	struct dirent *e;
	char name[32];
	long at[200];
	int i, n = 0;
	DIR *d;

	for (i = 0; i < 150; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		put(name, "");
	}
	d = opendir(".");
	TRUE(d != NULL);
	for (;;) {
		at[n] = telldir(d);
		if ((e = readdir(d)) == NULL)
			break;
		TRUE(n < 199);
		snprintf(after[n++], sizeof(after[0]), "%.30s", e->d_name);
	}
	EQUAL(152, n);
	for (i = n - 1; i >= 0; i -= 7) {
		seekdir(d, at[i]);
		e = readdir(d);
		TRUE(e != NULL);
		if (strcmp(e->d_name, after[i]) != 0)
			fail("expected %s after seekdir, got %s", after[i],
			    e->d_name);
	}
	rewinddir(d);
	e = readdir(d);
	TRUE(e != NULL && strcmp(e->d_name, after[0]) == 0);
	closedir(d);
}

static void
rewinddir_new(void)
{
	struct dirent *e;
	int found = 0;
	DIR *d = opendir(".");

	TRUE(d != NULL);
	while (readdir(d) != NULL)
		continue;
	put("new", "x");
	rewinddir(d);
	while ((e = readdir(d)) != NULL)
		found += strcmp(e->d_name, "new") == 0;
	EQUAL(1, found);
	OK(unlink("new"));
	rewinddir(d);
	while ((e = readdir(d)) != NULL)
		TRUE(strcmp(e->d_name, "new") != 0);
	closedir(d);
}

/* ---- depth and length --------------------------------------------------- */

static void
deep_60(void)
{
	char path[60 * 4 + 8] = "";
	size_t len = 0;
	int i;

	for (i = 0; i < 60; i++) {
		len += (size_t)snprintf(path + len, sizeof(path) - len, "%sd%d",
		    i == 0 ? "" : "/", i);
		OK(mkdir(path, 0755));
	}
	snprintf(path + len, sizeof(path) - len, "/f");
	put(path, "bottom");
	content(path, "bottom");
	OK(rename("d0", "e0"));
	path[0] = 'e';
	content(path, "bottom");
	OK(unlink(path));
	for (i = 0; i < 60; i++) {
		*strrchr(path, '/') = '\0';
		OK(rmdir(path));
		if (strchr(path, '/') == NULL)
			break;
	}
	TRUE(!exists("e0"));
}

static void
path_4095(void)
{
	char path[PATH_MAX + 2], part[201];
	size_t len = 0;

	memset(part, 'p', 200);
	part[200] = '\0';
	while (len + 201 < PATH_MAX - 2) {
		len += (size_t)snprintf(path + len, sizeof(path) - len, "%s/",
		    part);
		OK(mkdir(path, 0755));
	}
	memset(path + len, 'f', PATH_MAX - len);
	path[PATH_MAX] = '\0';
	FAILS(ENAMETOOLONG, open(path, O_RDWR | O_CREAT, 0644));
	path[PATH_MAX - 1] = '\0';
	EQUAL(4095, strlen(path));
	put(path, "far");
	content(path, "far");
	OK(unlink(path));
}

/* ---- removed while in use ----------------------------------------------- */

static void
openat_removed_dir(void)
{
	struct stat st;
	int fd;

	OK(mkdir("d", 0755));
	fd = open_dir("d");
	OK(rmdir("d"));
	FAILS(ENOENT, openat(fd, "f", O_RDWR | O_CREAT, 0644));
	FAILS(ENOENT, mkdirat(fd, "e", 0755));
	FAILS(ENOENT, symlinkat("x", fd, "s"));
	FAILS(ENOENT, openat(fd, "f", O_RDONLY));
	put("g", "x");
	FAILS(ENOENT, renameat(AT_FDCWD, "g", fd, "g"));
	FAILS(ENOENT, linkat(AT_FDCWD, "g", fd, "g", 0));
	OK(fstat(fd, &st));
	EQUAL(0, st.st_nlink);
	OK(fchmod(fd, 0700));
	EQUAL(0700, MODE(fd_stat(fd)));
}

static void
cwd_removed(void)
{
	char buf[PATH_MAX];
	DIR *d;

	OK(mkdir("d", 0755));
	OK(chdir("d"));
	OK(rmdir("../d"));
	TRUE(getcwd(buf, sizeof(buf)) == NULL);
	EQUAL(ENOENT, errno);
	FAILS(ENOENT, open("f", O_RDWR | O_CREAT, 0644));
	FAILS(ENOENT, mkdir("e", 0755));
	OK(access(".", F_OK));
	d = opendir(".");
	TRUE(d != NULL);
	while (readdir(d) != NULL)
		continue;
	closedir(d);
}

static void
readdir_removed(void)
{
	int fd;
	DIR *d;

	OK(mkdir("d", 0755));
	fd = open_dir("d");
	d = fdopendir(fd);
	TRUE(d != NULL);
	OK(rmdir("d"));
	OK(mkdir("d", 0755));
	put("d/other", "x");
	/* The one of the same name is another directory. */
	for (;;) {
		struct dirent *e = readdir(d);

		if (e == NULL)
			break;
		TRUE(strcmp(e->d_name, "other") != 0);
	}
	closedir(d);
}

static void
openat_renamed_dir(void)
{
	int fd, f;

	OK(mkdir("d", 0755));
	fd = open_dir("d");
	OK(mkdir("e", 0755));
	OK(rename("d", "e/d"));
	f = OK(openat(fd, "f", O_RDWR | O_CREAT, 0644));
	OK(close(f));
	TRUE(exists("e/d/f"));
	OK(renameat(fd, "f", fd, "g"));
	TRUE(exists("e/d/g"));
	OK(unlinkat(fd, "g", 0));
	OK(fsync(fd));
}

const struct posix_case cases_dirs[] = {
	{ "mkdir_rmdir", mkdir_rmdir, 0 },
	{ "rmdir_not_empty", rmdir_not_empty, 0 },
	{ "dir_nlink", dir_nlink, 0 },
	{ "dot_dot", dot_dot, 0 },
	{ "rename_dir", rename_dir, 0 },
	{ "rename_dir_over_empty", rename_dir_over_empty, 0 },
	{ "rename_dir_into_itself", rename_dir_into_itself, 0 },
	{ "rename_dir_errors", rename_dir_errors, 0 },
	{ "rename_exchange_dirs", rename_exchange_dirs, 0 },
	{ "rename_exchange_kinds", rename_exchange_kinds, 0 },
	{ "readdir_types", readdir_types, 0 },
	{ "readdir_changing", readdir_changing, 0 },
	{ "readdir_remove_all", readdir_remove_all, 0 },
	{ "seekdir_telldir", seekdir_telldir, 0 },
	{ "rewinddir_new", rewinddir_new, 0 },
	{ "deep_60", deep_60, 0 },
	{ "path_4095", path_4095, 0 },
	{ "openat_removed_dir", openat_removed_dir, 0 },
	{ "cwd_removed", cwd_removed, 0 },
	{ "readdir_removed", readdir_removed, 0 },
	{ "openat_renamed_dir", openat_renamed_dir, 0 },
	{ NULL, NULL, 0 },
};
