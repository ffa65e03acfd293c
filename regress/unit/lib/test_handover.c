/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * Claim: what is kept arrives by exec under its name, in any order of numbers,
 * and nothing else does; what LISTEN_* say of another process, or with names
 * that are none, is not taken; the environment is clean afterwards; and what
 * exec cannot take is known before, when nothing has ended yet.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "lib/handover.h"
#include "lib/log.h"

#define N 40

static char self[4096];

static int
memory(const char *text)
{
	int fd = memfd_create("test", MFD_CLOEXEC);

	assert_int_not_equal(fd, -1);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	return fd;
}

/* 1 when that is what is in it. */
static int
holds(int fd, const char *text)
{
	char buf[64];
	ssize_t n = pread(fd, buf, sizeof(buf), 0);

	return n == (ssize_t)strlen(text) && memcmp(buf, text, (size_t)n) == 0;
}

/* What the program looks at that was executed; an exit status. */
static int
after_exec(int stray)
{
	char name[HANDOVER_NAME_MAX];
	int i, fd, left = 0;

	handover_init();
	if (handover_times() != 1 || getenv("LISTEN_FDS") != NULL ||
	    getenv("LISTEN_PID") != NULL || getenv("LISTEN_FDNAMES") != NULL)
		return 2;
	for (i = 0; i < N; i += 2) {
		snprintf(name, sizeof(name), "kept-%d", i);
		fd = handover_take(name);
		if (fd == -1 || !holds(fd, name) ||
		    !(fcntl(fd, F_GETFD) & FD_CLOEXEC))
			return 3;
	}
	for (; handover_next("kept-", name); left++)
		close(handover_take(name));
	if (left != N / 2 || handover_take("dropped") != -1)
		return 4;
	/* It was not kept, and not close-on-exec either. */
	if (stray >= 3 + N && fcntl(stray, F_GETFD) != -1)
		return 5;
	return 0;
}

static int
after_many(int n)
{
	char name[HANDOVER_NAME_MAX];

	handover_init();
	for (; handover_next("n", name); n--)
		close(handover_take(name));
	return n != 0;
}

static void
by_exec(void **state)
{
	char name[HANDOVER_NAME_MAX], number[16], word[] = "after";
	char *argv[] = { self, word, number, NULL };
	int i, fds[N], stray, status, dropped;
	pid_t pid;

	(void)state;
	dropped = memory("dropped");
	for (i = N - 1; i >= 0; i--) {
		snprintf(name, sizeof(name), "kept-%d", i);
		fds[i] = memory(name);
	}
	for (i = 0; i < N; i++) {
		snprintf(name, sizeof(name), "kept-%d", i);
		assert_int_equal(handover_keep(name, fds[i], HANDOVER_EXEC), 0);
	}
	assert_int_equal(handover_keep("kept-1", fds[0], HANDOVER_EXEC), -1);
	assert_int_equal(errno, EEXIST);
	assert_int_equal(handover_keep("dropped", dropped, HANDOVER_EXEC), 0);
	handover_drop("dropped");
	stray = fcntl(fds[0], F_DUPFD, 3 + N);
	snprintf(number, sizeof(number), "%d", stray);
	if ((pid = fork()) == 0) {
		/* Another first: nothing is lost by it. */
		handover_exec("/nowhere/sailvold", argv);
		handover_exec(self, argv);
		_exit(100);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	for (i = 0; i < N; i++) {
		snprintf(name, sizeof(name), "kept-%d", i);
		handover_drop(name);
		close(fds[i]);
	}
}

static int
open_count(void)
{
	int fd, n = 0;

	for (fd = 0; fd < 32768; fd++)
		n += fcntl(fd, F_GETFD) != -1;
	return n;
}

static void
name_number(char name[HANDOVER_NAME_MAX], int i)
{
	memset(name, 'n', HANDOVER_NAME_MAX);
	snprintf(name + HANDOVER_NAME_MAX - 6, 6, "%05d", i);
}

static void
keep_numbers(int fd, int from, int to)
{
	char name[HANDOVER_NAME_MAX];
	int i;

	for (i = from; i < to; i++) {
		name_number(name, i);
		assert_int_equal(handover_keep(name, fd, HANDOVER_EXEC), 0);
	}
}

static void
drop_numbers(int n)
{
	char name[HANDOVER_NAME_MAX];
	int i;

	for (i = 0; i < n; i++) {
		name_number(name, i);
		handover_drop(name);
	}
}

static void
limit_files(rlim_t n)
{
	struct rlimit rl;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &rl), 0);
	rl.rlim_cur = n;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &rl), 0);
}

/* As many names of 63 bytes as go into 128 KiB, and one more. */
static void
too_many_names(void **state)
{
	char word[] = "count", number[16];
	char *argv[] = { self, word, number, NULL };
	int before, fits = 131072 / HANDOVER_NAME_MAX - 1, status;
	int fd = memory("x");
	struct rlimit rl;
	pid_t pid;

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &rl), 0);
	if (rl.rlim_max < 8192 || sysconf(_SC_PAGESIZE) != 4096)
		skip();
	limit_files(8192);
	before = open_count();
	keep_numbers(fd, 0, fits + 1);
	assert_int_equal(handover_prepare(), -1);
	assert_int_equal(errno, E2BIG);
	assert_int_equal(open_count(), before);
	drop_numbers(fits + 1);
	keep_numbers(fd, 0, fits);
	assert_int_equal(handover_prepare(), 0);
	assert_int_equal(handover_prepare(), 0);
	snprintf(number, sizeof(number), "%d", fits);
	if ((pid = fork()) == 0) {
		/* What was taken for it is enough; those that load the
		   program need some. */
		limit_files((rlim_t)(3 + fits + 8));
		handover_exec(self, argv);
		_exit(100);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	drop_numbers(fits);
	assert_int_equal(open_count(), before);
	close(fd);
	limit_files(rl.rlim_cur);
}

static void
no_descriptors(void **state)
{
	int before, fd = memory("x");
	struct rlimit rl;

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &rl), 0);
	before = open_count();
	keep_numbers(fd, 0, N);
	limit_files(3 + N + 10);
	assert_int_equal(handover_prepare(), -1);
	assert_int_equal(errno, EMFILE);
	assert_int_equal(open_count(), before);
	limit_files(3 + N - 10);
	assert_int_equal(handover_prepare(), -1);
	assert_int_equal(errno, EMFILE);
	limit_files(rl.rlim_cur);
	assert_int_equal(handover_prepare(), 0);
	drop_numbers(N);
	assert_int_equal(open_count(), before);
	close(fd);
}

static void
names(void **state)
{
	char longest[HANDOVER_NAME_MAX + 2];
	int fd = memory("x");

	(void)state;
	memset(longest, 'n', sizeof(longest));
	longest[HANDOVER_NAME_MAX] = '\0';
	assert_int_equal(handover_keep(longest, fd, HANDOVER_EXEC), -1);
	assert_int_equal(errno, EINVAL);
	longest[HANDOVER_NAME_MAX - 1] = '\0';
	assert_int_equal(handover_keep(longest, fd, HANDOVER_EXEC), 0);
	handover_drop(longest);
	assert_int_equal(handover_keep("", fd, HANDOVER_EXEC), -1);
	assert_int_equal(handover_keep("a:b", fd, HANDOVER_EXEC), -1);
	assert_int_equal(handover_keep("a\nFDSTORE=1", fd, HANDOVER_EXEC), -1);
	close(fd);
}

/* In a child, whose descriptors from 3 on are memories of "x". */
static int
environment(const char *pid, const char *fds, const char *fdnames)
{
	char own[16], name[HANDOVER_NAME_MAX];
	int i, fd, status, n = 0;
	pid_t child;

	if ((child = fork()) == 0) {
		fd = memfd_create("x", 0);
		for (i = 3; i < 8; i++)
			dup2(fd, i);
		snprintf(own, sizeof(own), "%d", (int)getpid());
		setenv("LISTEN_PID", pid != NULL ? pid : own, 1);
		if (fds != NULL)
			setenv("LISTEN_FDS", fds, 1);
		if (fdnames != NULL)
			setenv("LISTEN_FDNAMES", fdnames, 1);
		handover_init();
		if (getenv("LISTEN_FDNAMES") != NULL)
			_exit(100);
		while (handover_next("", name)) {
			fd = handover_take(name);
			n += fd >= 3 && fcntl(fd, F_GETFD) == FD_CLOEXEC;
		}
		_exit(n);
	}
	waitpid(child, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void
strange(void **state)
{
	(void)state;
	assert_int_equal(environment(NULL, "3", "a:b:c"), 3);
	assert_int_equal(environment("1", "3", "a:b:c"), 0);
	assert_int_equal(environment("", "3", "a:b:c"), 0);
	assert_int_equal(environment(NULL, "3", "a::c"), 2);
	assert_int_equal(environment(NULL, "3", "a"), 1);
	assert_int_equal(environment(NULL, "3", ""), 0);
	assert_int_equal(environment(NULL, "3", NULL), 0);
	assert_int_equal(environment(NULL, "2", "a:b:c:d"), 2);
	assert_int_equal(environment(NULL, "3", "a:b/c:d"), 2);
	assert_int_equal(environment(NULL, NULL, "a:b"), 0);
	assert_int_equal(environment(NULL, "-1", "a"), 0);
	assert_int_equal(environment(NULL, "3x", "a:b:c"), 0);
	assert_int_equal(environment(NULL, "99999999999999999999", "a"), 0);
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(by_exec),
		cmocka_unit_test(too_many_names),
		cmocka_unit_test(no_descriptors),
		cmocka_unit_test(names),
		cmocka_unit_test(strange),
	};
	ssize_t n;

	log_init("test", 1, 0);
	if (argc == 3 && strcmp(argv[1], "after") == 0)
		return after_exec((int)strtol(argv[2], NULL, 10));
	if (argc == 3 && strcmp(argv[1], "count") == 0)
		return after_many((int)strtol(argv[2], NULL, 10));
	n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	if (n <= 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
