/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * A line of ctl that is kept is had back as it was, also by another process, until
 * it is dropped or nobody knows its session; one that was cut short is none, and
 * without room there is an error, which another process knows of.
 */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "sailvold/lines.h"
#include "sailvold/record.h"

static char dir[] = "/tmp/test_lines.XXXXXX";
static unsigned int got;

static int
in_dir(void **state)
{
	(void)state;
	strlcpy(dir, "/tmp/test_lines.XXXXXX", sizeof(dir));
	assert_non_null(mkdtemp(dir));
	got = 0;
	return chdir(dir);
}

static int
out_of_dir(void **state)
{
	char cmd[64];

	(void)state;
	assert_int_equal(chdir("/"), 0);
	snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
	return system(cmd);
}

static void
on_line(uint64_t session, uint32_t uid, uint32_t gid, const uint8_t *line,
    size_t len, uint64_t offset, void *arg)
{
	const char *want = arg;

	assert_int_equal(uid, 1000);
	assert_int_equal(gid, 1001);
	assert_int_equal(len, strlen(want));
	assert_memory_equal(line, want, len);
	assert_int_equal(offset, session + 7);
	got++;
}

static int
put(uint64_t session, const char *line)
{
	return lines_put(session, 1000, 1001, (const uint8_t *)line,
	    strlen(line), session + 7);
}

static int
is_there(uint64_t session, const char *line)
{
	got = 0;
	lines_get(session, on_line, (void *)(uintptr_t)line);
	return (int)got;
}

static int
is_odd(uint64_t session)
{
	return session & 1;
}

static void
kept(void **state)
{
	static char longest[RECORD_LINE_MAX];

	(void)state;
	memset(longest, 'x', sizeof(longest) - 1);
	lines_tidy(is_odd);
	assert_false(is_there(1, ""));
	lines_drop(1);
	assert_int_equal(put(1, "{}"), 0);
	assert_int_equal(put(UINT64_MAX, longest), 0);
	assert_int_equal(put(2, "two"), 0);
	assert_true(is_there(1, "{}"));
	assert_true(is_there(UINT64_MAX, longest));
	assert_true(is_there(2, "two"));
	assert_false(is_there(3, ""));
	lines_tidy(is_odd);
	assert_false(is_there(2, "two"));
	assert_true(is_there(1, "{}"));
	assert_int_equal(put(1, "again"), 0);
	assert_true(is_there(1, "again"));
	lines_drop(1);
	assert_false(is_there(1, "again"));
}

static void
cut_short(void **state)
{
	static const char path[] = "lines/0000000000000005";
	struct stat st;
	off_t n;

	(void)state;
	assert_int_equal(put(5, "a line"), 0);
	assert_int_equal(stat(path, &st), 0);
	for (n = st.st_size - 1; n >= 0; n--) {
		assert_int_equal(truncate(path, n), 0);
		assert_false(is_there(5, "a line"));
	}
	assert_int_equal(put(5, "a line"), 0);
	assert_int_equal(rename(path, "lines/0000000000000006"), 0);
	assert_false(is_there(6, "a line"));
}

static void
no_room(void **state)
{
	struct rlimit old, rl;
	rlim_t n;

	(void)state;
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	for (n = 0; n < 60; n += 20) {
		rl = old;
		rl.rlim_cur = n;
		assert_int_equal(setrlimit(RLIMIT_FSIZE, &rl), 0);
		assert_int_equal(put(5, "a line that is somewhat long"), -1);
		assert_true(errno == EFBIG || errno == ENOSPC);
		assert_false(is_there(5, ""));
	}
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	assert_int_equal(put(5, "a line"), 0);
	assert_true(is_there(5, "a line"));
	lines_drop(5);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(kept, in_dir, out_of_dir),
		cmocka_unit_test_setup_teardown(cut_short, in_dir, out_of_dir),
		cmocka_unit_test_setup_teardown(no_room, in_dir, out_of_dir),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
