/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * A log line has no control character, is cut at 1,024 bytes between two
 * characters, goes where it should, and never disturbs errno.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <sys/wait.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/log.h"

static char last[4096];
static int last_priority, lines;

static void
keep(int priority, const char *line, void *arg)
{
	assert_ptr_equal(arg, last);
	last_priority = priority;
	strlcpy(last, line, sizeof(last));
	lines++;
	errno = EDOM;
}

static int
setup(void **state)
{
	(void)state;
	log_init("test", 1, 0);
	log_set_sink(keep, last);
	lines = 0;
	return 0;
}

static void
test_control_characters(void **state)
{
	const char *p;

	(void)state;
	log_warnx("a\nb\033[31m\t\x7f%s", "\001\xff");
	for (p = last; *p != '\0'; p++)
		assert_true(*p >= ' ' && *p < 0x7f);
	assert_true(strncmp(last, "a\\nb\\^[[31m\\t", 12) == 0);
	assert_int_equal(last_priority, LOG_WARNING);
	log_warnx("%s", "back\\slash stays");
	assert_string_equal(last, "back\\slash stays");
}

static void
test_cut(void **state)
{
	char big[5000];
	size_t i;

	(void)state;
	memset(big, 'x', sizeof(big));
	big[sizeof(big) - 1] = '\0';
	log_info("%s", big);
	assert_int_equal(strlen(last), 1024);
	for (i = 0; i < 8; i++) {
		memset(big, '\001', sizeof(big) - 1);
		memset(big, 'x', i);
		log_info("%s", big);
		assert_in_range(strlen(last), 1018, 1024);
		/* The last escape is whole: \^A or \001. */
		assert_true(last[strlen(last) - 1] == 'A' ||
		    last[strlen(last) - 1] == '1');
	}
}

static void
test_errno(void **state)
{
	(void)state;
	errno = ENOENT;
	log_warn("volume %s", "x");
	assert_int_equal(errno, ENOENT);
	assert_string_equal(last, "volume x: No such file or directory");
	assert_int_equal(last_priority, LOG_ERR);
	log_warnx("y");
	assert_int_equal(errno, ENOENT);
	log_info("y");
	assert_int_equal(errno, ENOENT);
}

static void
test_debug(void **state)
{
	(void)state;
	log_debug("hidden");
	assert_int_equal(lines, 0);
	log_set_verbose(1);
	assert_int_equal(log_verbose(), 1);
	log_debug("shown");
	assert_int_equal(lines, 1);
	log_set_verbose(0);
}

/* Runs f in a child and gives what it wrote to standard error. */
static int
in_child(void (*f)(void), char *out, size_t size)
{
	int fds[2], status;
	size_t used = 0;
	ssize_t n;
	pid_t pid;

	assert_int_equal(pipe(fds), 0);
	pid = fork();
	if (pid == 0) {
		dup2(fds[1], 2);
		close(fds[0]);
		close(fds[1]);
		f();
		_exit(0);
	}
	close(fds[1]);
	while ((n = read(fds[0], out + used, size - 1 - used)) > 0)
		used += (size_t)n;
	out[used] = '\0';
	close(fds[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void
say_fatal(void)
{
	log_set_sink(NULL, NULL);
	errno = EPERM;
	fatal("mount %d", 7);
}

static void
say_line(void)
{
	log_set_sink(NULL, NULL);
	log_line(LOG_INFO, "fuse x", "it\\n said\nthis");
	log_line(LOG_INFO, NULL, "alone");
}

static void
test_stderr(void **state)
{
	char out[4096];

	(void)state;
	assert_int_equal(in_child(say_fatal, out, sizeof(out)), 1);
	assert_string_equal(out,
	    "test: fatal: mount 7: Operation not permitted\n");
	assert_int_equal(in_child(say_line, out, sizeof(out)), 0);
	assert_string_equal(out,
	    "test: fuse x: it\\n said\\nthis\ntest: alone\n");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_control_characters, setup),
		cmocka_unit_test_setup(test_cut, setup),
		cmocka_unit_test_setup(test_errno, setup),
		cmocka_unit_test_setup(test_debug, setup),
		cmocka_unit_test_setup(test_stderr, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
