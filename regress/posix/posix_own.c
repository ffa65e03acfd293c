/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * Cases of the POSIX test program that only a mount of Sail Volumes passes:
 * the rules of .sailvol, sailvol-ctl(5).
 */
#include <limits.h>

#include "regress/posix/posix.h"

/* Goes to the root of the mount that DIR is in. */
static void
go_to_root(void)
{
	struct stat here, above;

	OK(chdir(top_dir));
	for (;;) {
		here = stat_of(".");
		above = stat_of("..");
		if (here.st_dev != above.st_dev || here.st_ino == above.st_ino)
			return;
		OK(chdir(".."));
	}
}

static void
sailvol_found(void)
{
	struct stat root, st;

	go_to_root();
	root = stat_of(".");
	st = lstat_of(".sailvol");
	TRUE(S_ISDIR(st.st_mode));
	EQUAL(root.st_dev, st.st_dev);
	EQUAL(root.st_uid, st.st_uid);
	EQUAL(root.st_gid, st.st_gid);
	EQUAL(root.st_ino, stat_of(".sailvol/..").st_ino);
	TRUE(S_ISREG(lstat_of(".sailvol/ctl").st_mode));
	TRUE(S_ISREG(lstat_of(".sailvol/volume.json").st_mode));
}

static void
sailvol_not_listed(void)
{
	go_to_root();
	OK(access(".sailvol", F_OK));
	OK(access(".sail_volume.json", F_OK));
	TRUE(!lists(".", ".sailvol"));
	TRUE(!lists(".", ".sail_volume.json"));
}

static void
sailvol_volume_json(void)
{
	char a[8192], b[8192];
	ssize_t n;

	go_to_root();
	n = OK(read(OK(open(".sailvol/volume.json", O_RDONLY)), a, sizeof(a)));
	TRUE(n > 2 && a[0] == '{');
	EQUAL(n, read(OK(open(".sail_volume.json", O_RDONLY)), b, sizeof(b)));
	TRUE(memcmp(a, b, (size_t)n) == 0);
	EQUAL(n, stat_of(".sailvol/volume.json").st_size);
	TRUE(open(".sailvol/volume.json", O_WRONLY) == -1);
	TRUE(errno == EACCES || errno == EPERM || errno == EROFS);
}

static void
sailvol_ctl_mode(void)
{
	mode_t mode, write;

	go_to_root();
	write = stat_of(".").st_mode & 0222;
	mode = MODE(stat_of(".sailvol/ctl"));
	EQUAL(write | write << 1, mode);
}

static void
sailvol_name_below(void)
{
	static const char name[] = ".sailvol";

	put("f", "x");
	OK(mkdir("d", 0755));
	FAILS(EPERM, rename("f", name));
	FAILS(EPERM, rename("d", name));
	FAILS(EPERM,
	    renameat2(AT_FDCWD, "f", AT_FDCWD, name, RENAME_NOREPLACE));
	FAILS(EPERM, mkdir(name, 0755));
	FAILS(EPERM, symlink("x", name));
	FAILS(EPERM, link("f", name));
	FAILS(EPERM, mkfifo(name, 0600));
	FAILS(EPERM, open(name, O_RDWR | O_CREAT, 0644));
	TRUE(!exists(name));
	FAILS(ENOENT, unlink(name));
	/* Only that name. */
	put(".sailvolx", "x");
	put(".sailvo", "x");
	content(".sailvolx", "x");
}

static void
sailvol_name_in_root(void)
{
	go_to_root();
	put("sail_f", "x");
	OK(mkdir("sail_d", 0755));
	FAILS(EPERM, rename("sail_d", ".sailvol"));
	FAILS(EPERM,
	    renameat2(AT_FDCWD, "sail_f", AT_FDCWD, ".sailvol",
		RENAME_EXCHANGE));
	FAILS(EPERM, rename("sail_f", ".sail_volume.json"));
	/* These the kernel refuses by itself: it is there. */
	FAILS(EISDIR, rename("sail_f", ".sailvol"));
	FAILS(EEXIST, link("sail_f", ".sailvol"));
	FAILS(EEXIST, mkdir(".sailvol", 0755));
	FAILS(EEXIST, symlink("x", ".sailvol"));
	OK(unlink("sail_f"));
	OK(rmdir("sail_d"));
	TRUE(S_ISDIR(lstat_of(".sailvol").st_mode));
}

static void
sailvol_stays(void)
{
	char here[PATH_MAX], path[PATH_MAX + 8];

	TRUE(getcwd(here, sizeof(here)) != NULL);
	snprintf(path, sizeof(path), "%s/moved", here);
	go_to_root();
	FAILS(EPERM, rename(".sailvol", path));
	TRUE(rmdir(".sailvol") == -1);
	FAILS(EPERM, unlink(".sailvol/ctl"));
	FAILS(EPERM, unlink(".sailvol/volume.json"));
	FAILS(EPERM, rename(".sailvol/ctl", path));
	FAILS(EPERM, link(".sailvol/volume.json", path));
	TRUE(open(".sailvol/new", O_RDWR | O_CREAT, 0644) == -1);
	TRUE(mkdir(".sailvol/new", 0755) == -1);
	FAILS(EPERM, chmod(".sailvol/ctl", 0777));
	FAILS(EPERM, unlink(".sail_volume.json"));
	TRUE(!exists(path));
	OK(access(".sailvol/ctl", F_OK));
}

const struct posix_case cases_own[] = {
	{ "sailvol_found", sailvol_found, 1 },
	{ "sailvol_not_listed", sailvol_not_listed, 1 },
	{ "sailvol_volume_json", sailvol_volume_json, 1 },
	{ "sailvol_ctl_mode", sailvol_ctl_mode, 1 },
	{ "sailvol_name_below", sailvol_name_below, 1 },
	{ "sailvol_name_in_root", sailvol_name_in_root, 1 },
	{ "sailvol_stays", sailvol_stays, 1 },
	{ NULL, NULL, 0 },
};
