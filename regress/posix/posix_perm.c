/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * Cases of the POSIX test program: owners and permissions, among them what
 * clears setuid and setgid.  Those that become another user need root.
 */
#include <sys/wait.h>

#include "regress/posix/posix.h"

#define USER 60001
#define OTHER 60002

static void
need_root(void)
{
	if (geteuid() != 0)
		unsupported();
}

/* ---- modes and owners --------------------------------------------------- */

static void
chmod_all_bits(void)
{
	static const mode_t modes[] = { 0, 0400, 0644, 0777, 01777, 02755,
		04755, 06711, 07777 };
	size_t i;
	int fd;

	put("f", "x");
	OK(mkdir("d", 0755));
	for (i = 0; i < NITEMS(modes); i++) {
		OK(chmod("f", modes[i]));
		EQUAL(modes[i], MODE(stat_of("f")));
		OK(chmod("d", modes[i]));
		EQUAL(modes[i], MODE(stat_of("d")));
	}
	TRUE(S_ISREG(stat_of("f").st_mode));
	fd = OK(open("f", O_RDONLY));
	OK(fchmod(fd, 0600));
	EQUAL(0600, MODE(stat_of("f")));
	OK(symlink("f", "s"));
	OK(chmod("s", 0640));
	EQUAL(0640, MODE(stat_of("f")));
	EQUAL(0777, MODE(lstat_of("s")));
}

static void
chown_ids(void)
{
	int fd;

	need_root();
	put("f", "x");
	OK(chown("f", USER, OTHER));
	EQUAL(USER, stat_of("f").st_uid);
	EQUAL(OTHER, stat_of("f").st_gid);
	OK(chown("f", (uid_t)-1, 7));
	EQUAL(USER, stat_of("f").st_uid);
	EQUAL(7, stat_of("f").st_gid);
	OK(chown("f", 8, (gid_t)-1));
	EQUAL(8, stat_of("f").st_uid);
	EQUAL(7, stat_of("f").st_gid);
	fd = OK(open("f", O_RDONLY));
	OK(fchown(fd, 4000000000, 4000000001));
	EQUAL(4000000000, stat_of("f").st_uid);
	EQUAL(4000000001, stat_of("f").st_gid);
	OK(symlink("f", "s"));
	OK(lchown("s", USER, USER));
	EQUAL(USER, lstat_of("s").st_uid);
	EQUAL(4000000000, stat_of("f").st_uid);
}

static void
chown_clears_suid(void)
{
	need_root();
	put("f", "x");
	OK(chmod("f", 06755));
	OK(chown("f", USER, USER));
	EQUAL(0755, MODE(stat_of("f")));
	/* Without the group's x, setgid is not what it says: it stays. */
	OK(chmod("f", 04644));
	OK(chown("f", OTHER, (gid_t)-1));
	EQUAL(0644, MODE(stat_of("f")));
	OK(mkdir("d", 0755));
	OK(chmod("d", 06755));
	OK(chown("d", USER, USER));
	EQUAL(06755, MODE(stat_of("d")));
}

static void
write_one(void)
{
	int fd = OK(open("f", O_WRONLY));

	EQUAL(1, OK(pwrite(fd, "y", 1, 0)));
}

static void
write_clears_suid(void)
{
	need_root();
	put("f", "x");
	OK(chmod("f", 06777));
	as_user(USER, USER, write_one);
	EQUAL(0777, MODE(stat_of("f")));
	content("f", "y");
	/* Root keeps them. */
	OK(chmod("f", 06777));
	write_one();
	EQUAL(06777, MODE(stat_of("f")));
}

static void
truncate_one(void)
{
	OK(truncate("f", 0));
}

static void
truncate_clears_suid(void)
{
	need_root();
	put("f", "x");
	OK(chmod("f", 04777));
	as_user(USER, USER, truncate_one);
	EQUAL(0777, MODE(stat_of("f")));
}

/* Gets a descriptor that was open before the mode changed. */
static int inherited;

static void
write_inherited(void)
{
	EQUAL(1, OK(pwrite(inherited, "z", 1, 0)));
	EQUAL(1, OK(pwrite(inherited, "z", 1, 1)));
}

static void
write_open_clears_suid(void)
{
	need_root();
	put("f", "xx");
	inherited = OK(open("f", O_RDWR));
	EQUAL(1, OK(pwrite(inherited, "a", 1, 0)));
	OK(fchmod(inherited, 04755));
	as_user(USER, USER, write_inherited);
	EQUAL(0755, MODE(fd_stat(inherited)));
	content("f", "zz");
}

/* What changes a range, without a write. */
static int range_mode;

static void
range_one(void)
{
	int fd = OK(open("f", O_RDWR)), from;

	if (range_mode >= 0) {
		OK(fallocate(fd, range_mode, 0, 4096));
		return;
	}
	from = OK(open("from", O_RDONLY));
	EQUAL(4, OK(copy_file_range(from, NULL, fd, NULL, 4, 0)));
}

static void
range_clears_suid(void)
{
	static const int modes[] = { 0,
		FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, -1 };
	size_t i;

	need_root();
	put("f", "data");
	put("from", "from");
	for (i = 0; i < NITEMS(modes); i++) {
		range_mode = modes[i];
		OK(chmod("f", 06777));
		as_user(USER, USER, range_one);
		EQUAL(0777, MODE(stat_of("f")));
		/* Root keeps them. */
		OK(chmod("f", 06777));
		range_one();
		EQUAL(06777, MODE(stat_of("f")));
	}
	/* No owner, no group: a change all the same. */
	OK(chown("f", (uid_t)-1, (gid_t)-1));
	EQUAL(0777, MODE(stat_of("f")));
}

static void
stranger_chowns(void)
{
	int fd;

	/* It would clear bits that are not the caller's. */
	FAILS(EPERM, chown("both", (uid_t)-1, (gid_t)-1));
	FAILS(EPERM, chown("suid", (uid_t)-1, (gid_t)-1));
	fd = OK(open("sgid", O_RDONLY));
	FAILS(EPERM, fchown(fd, (uid_t)-1, (gid_t)-1));
	OK(close(fd));
	OK(chown("plain", (uid_t)-1, (gid_t)-1));
	OK(chown("d", (uid_t)-1, (gid_t)-1));
	OK(chown("theirs", (uid_t)-1, (gid_t)-1));
}

static void
chown_nobody_by_stranger(void)
{
	static const struct {
		const char *name;
		mode_t mode;
	} files[] = { { "both", 06777 }, { "suid", 04755 }, { "sgid", 02755 },
		{ "plain", 0777 }, { "theirs", 06755 } };
	size_t i;

	need_root();
	for (i = 0; i < NITEMS(files); i++) {
		put(files[i].name, "data");
		if (strcmp(files[i].name, "theirs") == 0)
			OK(chown(files[i].name, USER, USER));
		OK(chmod(files[i].name, files[i].mode));
	}
	OK(mkdir("d", 0755));
	OK(chmod("d", 06755));
	as_user(USER, USER, stranger_chowns);
	for (i = 0; i < NITEMS(files) - 1; i++)
		EQUAL(files[i].mode, MODE(stat_of(files[i].name)));
	EQUAL(06755, MODE(stat_of("d")));
	EQUAL(0755, MODE(stat_of("theirs")));
}

/* Setgid where the group has no x says nothing; who is not of the group takes it
   away all the same. */
static void
sgid_no_group_x(void)
{
	need_root();
	put("f", "x");
	OK(chown("f", OTHER, OTHER));
	OK(chmod("f", 02666));
	as_user(USER, OTHER, write_one);
	as_user(USER, OTHER, truncate_one);
	EQUAL(02666, MODE(stat_of("f")));
	as_user(USER, USER, write_one);
	EQUAL(0666, MODE(stat_of("f")));
	OK(chmod("f", 02666));
	as_user(USER, USER, truncate_one);
	EQUAL(0666, MODE(stat_of("f")));
	OK(chmod("f", 02666));
	write_one();
	range_mode = 0;
	range_one();
	OK(chown("f", OTHER, OTHER));
	EQUAL(02666, MODE(stat_of("f")));
	as_user(USER, USER, range_one);
	EQUAL(0666, MODE(stat_of("f")));
}

static void
setgid_dir_inherits(void)
{
	need_root();
	OK(mkdir("d", 0755));
	OK(chown("d", 0, 1234));
	OK(chmod("d", 02775));
	put("d/f", "x");
	EQUAL(1234, stat_of("d/f").st_gid);
	OK(mkdir("d/sub", 0755));
	EQUAL(1234, stat_of("d/sub").st_gid);
	EQUAL(02755, MODE(stat_of("d/sub")));
	OK(symlink("x", "d/s"));
	EQUAL(1234, lstat_of("d/s").st_gid);
	OK(mkfifo("d/p", 0644));
	EQUAL(1234, lstat_of("d/p").st_gid);
	OK(mkdir("e", 0755));
	put("e/f", "x");
	EQUAL(getegid(), stat_of("e/f").st_gid);
}

/* ---- other users -------------------------------------------------------- */

static void
create_as_user(void)
{
	put("mine", "x");
	OK(mkdir("dir", 0755));
	OK(symlink("x", "link"));
	EQUAL(USER, stat_of("mine").st_uid);
	EQUAL(OTHER, stat_of("mine").st_gid);
	OK(chmod("mine", 0600));
	content("mine", "x");
}

static void
owner_of_new(void)
{
	need_root();
	OK(chmod(".", 0777));
	as_user(USER, OTHER, create_as_user);
	EQUAL(USER, stat_of("mine").st_uid);
	EQUAL(USER, stat_of("dir").st_uid);
	EQUAL(OTHER, stat_of("dir").st_gid);
	EQUAL(USER, lstat_of("link").st_uid);
}

static void
refused(void)
{
	FAILS(EACCES, open("secret", O_RDONLY));
	FAILS(EACCES, open("readable", O_WRONLY));
	content("readable", "r");
	FAILS(EACCES, open("new", O_RDWR | O_CREAT, 0644));
	FAILS(EACCES, unlink("readable"));
	FAILS(EACCES, rename("readable", "other"));
	FAILS(EACCES, mkdir("d", 0755));
	FAILS(EACCES, symlink("x", "s"));
	FAILS(EACCES, open("closed/f", O_RDONLY));
	FAILS(EACCES, open("closed", O_RDONLY));
	FAILS(EPERM, chmod("readable", 0666));
	FAILS(EPERM, chown("readable", USER, USER));
	FAILS(EPERM,
	    utimensat(AT_FDCWD, "readable",
		(struct timespec[2]){ { 1, 1 }, { 1, 1 } }, 0));
	FAILS(EACCES, utimensat(AT_FDCWD, "readable", NULL, 0));
	FAILS(EACCES, truncate("readable", 0));
	FAILS(EACCES, access("secret", R_OK));
	OK(access("readable", R_OK));
	FAILS(EACCES, access("readable", X_OK));
}

static void
others_are_refused(void)
{
	need_root();
	put("secret", "s");
	OK(chmod("secret", 0600));
	put("readable", "r");
	OK(mkdir("closed", 0700));
	put("closed/f", "x");
	as_user(USER, USER, refused);
	content("readable", "r");
}

static void
group_reads(void)
{
	content("f", "x");
	FAILS(EACCES, open("f", O_WRONLY));
}

static void
owner_cannot(void)
{
	/* The owner's bits decide, though the group's would allow it. */
	FAILS(EACCES, open("f", O_RDONLY));
	OK(chmod("f", 0400));
	OK(close(OK(open("f", O_RDONLY))));
}

static void
class_of_user(void)
{
	need_root();
	put("f", "x");
	OK(chown("f", USER, OTHER));
	OK(chmod("f", 0040));
	as_user(OTHER, OTHER, group_reads);
	as_user(USER, OTHER, owner_cannot);
	content("f", "x");
}

static void
search_only(void)
{
	content("d/f", "x");
	FAILS(EACCES, open("d", O_RDONLY | O_DIRECTORY));
}

static void
list_only(void)
{
	TRUE(lists("d", "f"));
	FAILS(EACCES, open("d/f", O_RDONLY));
}

static void
dir_bits(void)
{
	need_root();
	OK(mkdir("d", 0755));
	put("d/f", "x");
	OK(chmod("d", 0711));
	as_user(USER, USER, search_only);
	OK(chmod("d", 0744));
	as_user(USER, USER, list_only);
}

static void
sticky_refused(void)
{
	put("d/mine", "x");
	FAILS(EPERM, unlink("d/theirs"));
	FAILS(EPERM, rename("d/theirs", "d/stolen"));
	FAILS(EPERM, rename("d/mine", "d/theirs"));
	FAILS(EPERM, rmdir("d/dir"));
	OK(rename("d/mine", "d/still_mine"));
	OK(unlink("d/still_mine"));
}

static void
sticky_dir(void)
{
	need_root();
	OK(mkdir("d", 0755));
	OK(chmod("d", 01777));
	put("d/theirs", "t");
	OK(chown("d/theirs", OTHER, OTHER));
	OK(mkdir("d/dir", 0777));
	as_user(USER, USER, sticky_refused);
	content("d/theirs", "t");
}

static void
group_change(void)
{
	OK(chmod("f", 0640));
	OK(chown("f", (uid_t)-1, OTHER));
	FAILS(EPERM, chown("f", (uid_t)-1, 5));
	FAILS(EPERM, chown("f", 5, (gid_t)-1));
	/* Setgid for a group that one is not in is taken away. */
	OK(chmod("g", 02755));
	EQUAL(0755, MODE(stat_of("g")));
	OK(chmod("f", 02755));
	EQUAL(02755, MODE(stat_of("f")));
}

static void
chown_by_owner(void)
{
	need_root();
	put("f", "x");
	OK(chown("f", USER, OTHER));
	put("g", "x");
	OK(chown("g", USER, 5));
	as_user(USER, OTHER, group_change);
}

static void
run_it(void)
{
	char *argv[] = { (char *)(uintptr_t) "prog", NULL };
	pid_t pid = OK(fork());
	int status;

	if (pid == 0) {
		execv("./prog", argv);
		_exit(errno == EACCES ? 77 : 78);
	}
	OK(waitpid(pid, &status, 0));
	OK(access(".", X_OK));
	EQUAL(access("prog", X_OK) == 0 ? 0 : 77, WEXITSTATUS(status));
}

static void
exec_bit(void)
{
	char buf[65536];
	int in = OK(open("/bin/true", O_RDONLY)), out;
	ssize_t n;

	out = OK(open("prog", O_WRONLY | O_CREAT, 0644));
	while ((n = OK(read(in, buf, sizeof(buf)))) > 0)
		EQUAL(n, write(out, buf, (size_t)n));
	OK(close(out));
	TRUE(access("prog", X_OK) == -1);
	run_it();
	OK(chmod("prog", 0755));
	OK(access("prog", X_OK));
	run_it();
}

const struct posix_case cases_perm[] = {
	{ "chmod_all_bits", chmod_all_bits, 0 },
	{ "chown_ids", chown_ids, 0 },
	{ "chown_clears_suid", chown_clears_suid, 0 },
	{ "write_clears_suid", write_clears_suid, 0 },
	{ "truncate_clears_suid", truncate_clears_suid, 0 },
	{ "range_clears_suid", range_clears_suid, 0 },
	{ "chown_nobody_by_stranger", chown_nobody_by_stranger, 0 },
	{ "write_open_clears_suid", write_open_clears_suid, 0 },
	{ "sgid_no_group_x", sgid_no_group_x, 0 },
	{ "setgid_dir_inherits", setgid_dir_inherits, 0 },
	{ "owner_of_new", owner_of_new, 0 },
	{ "others_are_refused", others_are_refused, 0 },
	{ "class_of_user", class_of_user, 0 },
	{ "dir_bits", dir_bits, 0 },
	{ "sticky_dir", sticky_dir, 0 },
	{ "chown_by_owner", chown_by_owner, 0 },
	{ "exec_bit", exec_bit, 0 },
	{ NULL, NULL, 0 },
};
