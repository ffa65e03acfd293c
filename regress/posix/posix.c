/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * posix [-ls] DIR [CASE ...]: tries what POSIX and Linux promise of a file
 * system, in subdirectories of DIR.  -l lists the cases, -s says that DIR is
 * in a mount of Sail Volumes: its rules are tried too.
 */
#include <sys/wait.h>

#include <dirent.h>
#include <grp.h>
#include <limits.h>
#include <stdarg.h>
#include <time.h>

#include "regress/posix/posix.h"

#define CASE_SECONDS 90
#define EXIT_FAILED 1
#define EXIT_UNSUPPORTED 3

int sail;
const char *top_dir;
static int report_fd = -1;

static const struct posix_case *const tables[] = { cases_names, cases_dirs,
	cases_files, cases_attr, cases_perm, cases_io, cases_optional,
	cases_own };

/* ---- how a case ends ---------------------------------------------------- */

void
fail(const char *fmt, ...)
{
	char text[1024];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (n > (int)sizeof(text) - 1)
		n = sizeof(text) - 1;
	if (n > 0 && write(report_fd, text, n) == -1)
		_exit(EXIT_FAILED);
	_exit(EXIT_FAILED);
}

void
unsupported(void)
{
	_exit(EXIT_UNSUPPORTED);
}

const char *
errno_name(int error)
{
	const char *name = error == 0 ? "success" : strerrorname_np(error);

	return name == NULL ? "an unknown errno" : name;
}

static const char *
base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash == NULL ? path : slash + 1;
}

long long
check_ok(long long result, const char *what, const char *file, int line)
{
	int error = errno;

	if (result < 0)
		fail("expected success, got %s (%s:%d: %s)", errno_name(error),
		    base_name(file), line, what);
	return result;
}

void
check_error(long long result, int want, const char *what, const char *file,
    int line)
{
	int error = errno;

	if (result >= 0)
		fail("expected %s, got success (%s:%d: %s)", errno_name(want),
		    base_name(file), line, what);
	if (error != want)
		fail("expected %s, got %s (%s:%d: %s)", errno_name(want),
		    errno_name(error), base_name(file), line, what);
}

void
check_equal(long long want, long long got, const char *what, const char *file,
    int line)
{
	if (want != got)
		fail("expected %lld, got %lld (%s:%d: %s)", want, got,
		    base_name(file), line, what);
}

void
check_true(int good, const char *what, const char *file, int line)
{
	if (!good)
		fail("expected %s, got the contrary (%s:%d)", what,
		    base_name(file), line);
}

/* ---- helpers of cases --------------------------------------------------- */

void
put(const char *name, const char *text)
{
	size_t len = strlen(text);
	int fd = OK(open(name, O_WRONLY | O_CREAT | O_TRUNC, 0644));

	if (len > 0)
		EQUAL(len, write(fd, text, len));
	OK(close(fd));
}

void
fd_content(int fd, const char *want)
{
	char buf[8192];
	size_t len = strlen(want);
	ssize_t n = OK(pread(fd, buf, sizeof(buf), 0));

	if ((size_t)n != len || memcmp(buf, want, len) != 0)
		fail("expected the content \"%.100s\", got %zd bytes: \"%.*s\"",
		    want, n, n > 100 ? 100 : (int)n, buf);
}

void
content(const char *name, const char *want)
{
	int fd = OK(open(name, O_RDONLY));

	fd_content(fd, want);
	OK(close(fd));
}

void
fill(void *buf, size_t size, size_t offset, unsigned int seed)
{
	unsigned char *p = buf;
	size_t i;

	for (i = 0; i < size; i++)
		p[i] = (unsigned char)(((offset + i) * 2654435761U + seed) >>
		    (7 + (offset + i) % 5));
}

void
put_filled(const char *name, size_t size, unsigned int seed)
{
	char buf[65536];
	size_t done, part;
	int fd = OK(open(name, O_WRONLY | O_CREAT | O_TRUNC, 0644));

	for (done = 0; done < size; done += part) {
		part = size - done < sizeof(buf) ? size - done : sizeof(buf);
		fill(buf, part, done, seed);
		EQUAL(part, write(fd, buf, part));
	}
	OK(close(fd));
}

int
exists(const char *name)
{
	struct stat st;

	if (lstat(name, &st) == 0)
		return 1;
	if (errno != ENOENT)
		fail("expected ENOENT or success, got %s (lstat of %.100s)",
		    errno_name(errno), name);
	return 0;
}

struct stat
stat_of(const char *name)
{
	struct stat st;

	OK(stat(name, &st));
	return st;
}

struct stat
lstat_of(const char *name)
{
	struct stat st;

	OK(lstat(name, &st));
	return st;
}

struct stat
fd_stat(int fd)
{
	struct stat st;

	OK(fstat(fd, &st));
	return st;
}

int64_t
ns(struct timespec t)
{
	return t.tv_sec * NSEC + t.tv_nsec;
}

void
tick(void)
{
	struct timespec pause = { 0, 20 * 1000 * 1000 };

	nanosleep(&pause, NULL);
}

pid_t
start_child(void (*run)(void))
{
	pid_t pid = OK(fork());

	if (pid == 0) {
		alarm(CASE_SECONDS);
		run();
		_exit(0);
	}
	return pid;
}

void
end_child(pid_t pid)
{
	int status;

	OK(waitpid(pid, &status, 0));
	if (WIFSIGNALED(status))
		fail("expected the end of a child, got signal %d",
		    WTERMSIG(status));
	if (WEXITSTATUS(status) != 0)
		/* The child has said why. */
		_exit(WEXITSTATUS(status));
}

void
as_user(uid_t uid, gid_t gid, void (*run)(void))
{
	pid_t pid = OK(fork());

	if (pid == 0) {
		alarm(CASE_SECONDS);
		OK(setgroups(0, NULL));
		OK(setresgid(gid, gid, gid));
		OK(setresuid(uid, uid, uid));
		run();
		_exit(0);
	}
	end_child(pid);
}

int
open_dir(const char *name)
{
	return OK(open(name, O_RDONLY | O_DIRECTORY));
}

int
lists(const char *dir, const char *name)
{
	struct dirent *e;
	int found = 0;
	DIR *d = opendir(dir);

	TRUE(d != NULL);
	while ((e = readdir(d)) != NULL)
		if (strcmp(e->d_name, name) == 0)
			found = 1;
	closedir(d);
	return found;
}

/* ---- running ------------------------------------------------------------ */

/* Step by step: a path may be longer than the kernel takes. */
static void
remove_tree(int parent, const char *name)
{
	struct dirent *e;
	DIR *d = NULL;
	int fd;

	if (unlinkat(parent, name, 0) == 0)
		return;
	fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
	if (fd == -1 || (d = fdopendir(fd)) == NULL)
		return;
	while ((e = readdir(d)) != NULL)
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			remove_tree(fd, e->d_name);
	closedir(d);
	unlinkat(parent, name, AT_REMOVEDIR);
}

static void
run_child(const struct posix_case *c, const char *dir)
{
	/* What a case starts is killed with its process group. */
	setpgid(0, 0);
	umask(022);
	if (chdir(dir) == -1)
		fail("expected a working directory, got %s", errno_name(errno));
	alarm(CASE_SECONDS);
	c->run();
	_exit(0);
}

enum { PASSED, FAILED, SKIPPED, OUTCOMES };

/* text: of a failure. */
static int
outcome(int status, const char *said, char *text, size_t size)
{
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
		snprintf(text, size, "expected an end in %d s, got none",
		    CASE_SECONDS);
	else if (WIFSIGNALED(status))
		snprintf(text, size, "expected an end, got signal %d",
		    WTERMSIG(status));
	else if (WEXITSTATUS(status) == EXIT_UNSUPPORTED)
		return SKIPPED;
	else if (WEXITSTATUS(status) == 0)
		return PASSED;
	else
		snprintf(text, size, "%s",
		    said[0] == '\0' ? "expected success, got a silent failure"
				    : said);
	return FAILED;
}

static int
run_case(const struct posix_case *c)
{
	char dir[PATH_MAX], said[1024], text[1024];
	ssize_t n;
	int fds[2], status, end;
	pid_t pid;

	snprintf(dir, sizeof(dir), "%s/%s.XXXXXX", top_dir, c->name);
	if (mkdtemp(dir) == NULL || chmod(dir, 0755) == -1 ||
	    pipe2(fds, O_CLOEXEC | O_NONBLOCK) == -1) {
		printf("FAIL %s: expected a directory %s, got %s\n", c->name,
		    dir, errno_name(errno));
		return FAILED;
	}
	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		report_fd = fds[1];
		run_child(c, dir);
	}
	close(fds[1]);
	if (pid == -1 || waitpid(pid, &status, 0) != pid)
		status = W_EXITCODE(EXIT_FAILED, 0);
	if (pid != -1)
		kill(-pid, SIGKILL);
	n = read(fds[0], said, sizeof(said) - 1);
	said[n > 0 ? n : 0] = '\0';
	close(fds[0]);
	remove_tree(AT_FDCWD, dir);
	end = outcome(status, said, text, sizeof(text));
	if (end == FAILED)
		printf("FAIL %s: %s\n", c->name, text);
	else
		printf("%s %s\n", end == PASSED ? "ok" : "skip", c->name);
	return end;
}

/* Whether the case is wanted: by its name, or by no name at all. */
static int
wanted(const struct posix_case *c, char **names)
{
	if (c->sail && !sail)
		return 0;
	if (*names == NULL)
		return 1;
	for (; *names != NULL; names++)
		if (strcmp(*names, c->name) == 0)
			return 1;
	return 0;
}

static void
usage(void)
{
	fprintf(stderr, "usage: posix [-ls] DIR [CASE ...]\n");
	exit(2);
}

int
main(int argc, char **argv)
{
	const struct posix_case *c;
	static char path[PATH_MAX];
	int ch, list = 0, count[OUTCOMES] = { 0 };
	size_t i;

	while ((ch = getopt(argc, argv, "ls")) != -1) {
		if (ch == 'l')
			list = 1;
		else if (ch == 's')
			sail = 1;
		else
			usage();
	}
	argv += optind;
	if (!list && (*argv == NULL || realpath(*argv++, path) == NULL))
		usage();
	top_dir = path;
	for (i = 0; i < NITEMS(tables); i++) {
		for (c = tables[i]; c->name != NULL; c++) {
			if (list)
				printf("%s\n", c->name);
			else if (!wanted(c, argv))
				continue;
			else
				count[run_case(c)]++;
		}
	}
	if (!list)
		printf("%d passed, %d failed, %d skipped\n", count[PASSED],
		    count[FAILED], count[SKIPPED]);
	/* A case that is not there is not one that passed. */
	return count[FAILED] != 0 || (!list && count[PASSED] == 0);
}
