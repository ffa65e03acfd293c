/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * The lexer gives the tokens of sailvold.conf(5), names file and line of what
 * it refuses, and reads back what it prints.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <sys/stat.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/conf_lex.h"
#include "lib/log.h"

enum { T_STRING = 300, T_NUMBER, T_CACHE, T_SIZE, T_VOLUME };

static const struct conf_keyword keywords[] = {
	{ "cache", T_CACHE },
	{ "size", T_SIZE },
	{ "volume", T_VOLUME },
};

static char last[2048], dir[64], path[128];

static void
keep(int priority, const char *line, void *arg)
{
	(void)priority;
	(void)arg;
	strlcpy(last, line, sizeof(last));
}

static int
setup(void **state)
{
	(void)state;
	log_set_sink(keep, NULL);
	last[0] = '\0';
	strlcpy(dir, "/tmp/conf_lex.XXXXXX", sizeof(dir));
	if (mkdtemp(dir) == NULL)
		return -1;
	snprintf(path, sizeof(path), "%s/f", dir);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	unlink(path);
	return rmdir(dir);
}

static int
try_open(struct conf_lex *l, int secret)
{
	return conf_lex_open(l, path, secret, keywords,
	    sizeof(keywords) / sizeof(keywords[0]), T_STRING, T_NUMBER);
}

static void
write_file(const void *text, size_t len)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	assert_int_equal(fwrite(text, 1, len, f), len);
	assert_int_equal(fclose(f), 0);
}

static void
open_text(struct conf_lex *l, const char *text)
{
	write_file(text, strlen(text));
	assert_int_equal(try_open(l, 0), 0);
}

static void
expect_error(const char *what)
{
	char want[256];

	snprintf(want, sizeof(want), "%s:%s", path, what);
	assert_string_equal(last, want);
}

static void
test_tokens(void **state)
{
	struct conf_lex l;

	(void)state;
	open_text(&l, "# one\ncache \"/a b\" size 20G{x,}\n*:80 127.0.0.1\n");
	assert_int_equal(conf_lex_next(&l), T_CACHE);
	assert_int_equal(l.line, 2);
	assert_int_equal(conf_lex_next(&l), T_STRING);
	assert_string_equal(l.string, "/a b");
	assert_int_equal(conf_lex_next(&l), T_SIZE);
	assert_int_equal(conf_lex_next(&l), T_NUMBER);
	assert_int_equal(l.number, 20LL << 30);
	assert_int_equal(l.unit, 'G');
	assert_int_equal(conf_lex_next(&l), '{');
	assert_int_equal(conf_lex_next(&l), T_STRING);
	assert_string_equal(l.string, "x");
	assert_int_equal(conf_lex_next(&l), ',');
	assert_int_equal(conf_lex_next(&l), '}');
	assert_int_equal(conf_lex_next(&l), T_STRING);
	assert_int_equal(l.line, 3);
	assert_string_equal(l.string, "*:80");
	assert_int_equal(conf_lex_next(&l), T_STRING);
	assert_string_equal(l.string, "127.0.0.1");
	assert_int_equal(conf_lex_next(&l), 0);
	assert_int_equal(conf_lex_next(&l), 0);
	assert_int_equal(l.errors, 0);
	conf_lex_error(&l, "bad %s", "thing");
	assert_int_equal(l.errors, 1);
	expect_error("4: bad thing");
	conf_lex_close(&l);
}

static void
test_units(void **state)
{
	static const struct {
		const char *text;
		int64_t number;
		char unit;
	} t[] = {
		{ "0", 0, 0 },
		{ "7K", 7 << 10, 'K' },
		{ "7M", 7 << 20, 'M' },
		{ "2T", 2LL << 40, 'T' },
		{ "60s", 60, 's' },
		{ "2m", 120, 'm' },
		{ "2h", 7200, 'h' },
		{ "2d", 172800, 'd' },
		{ "9223372036854775807", INT64_MAX, 0 },
	};
	struct conf_lex l;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		open_text(&l, t[i].text);
		assert_int_equal(conf_lex_next(&l), T_NUMBER);
		assert_int_equal(l.number, t[i].number);
		assert_int_equal(l.unit, t[i].unit);
		conf_lex_close(&l);
	}
	open_text(&l, "\n9223372036854775808 8388608T 7KB 7k -7");
	assert_int_equal(conf_lex_next(&l), T_NUMBER);
	expect_error("2: number is too large: 9223372036854775808");
	assert_int_equal(conf_lex_next(&l), T_NUMBER);
	expect_error("2: number is too large: 8388608T");
	assert_int_equal(l.errors, 2);
	assert_int_equal(conf_lex_next(&l), T_STRING);
	assert_int_equal(conf_lex_next(&l), T_STRING);
	assert_int_equal(conf_lex_next(&l), T_STRING);
	conf_lex_close(&l);
}

static void
test_strings(void **state)
{
	struct conf_lex l;

	(void)state;
	open_text(&l, "\"a\\\"b\\\\c\" \"cache\" \"\" \"\\q\"");
	assert_int_equal(conf_lex_next(&l), T_STRING);
	assert_string_equal(l.string, "a\"b\\c");
	assert_int_equal(conf_lex_next(&l), T_STRING);
	assert_string_equal(l.string, "cache");
	assert_int_equal(conf_lex_next(&l), T_STRING);
	assert_string_equal(l.string, "");
	assert_int_equal(conf_lex_next(&l), T_STRING);
	expect_error("1: unknown escape in string: \\q");
	conf_lex_close(&l);

	open_text(&l, "\n\"endless\nfor ever");
	assert_int_equal(conf_lex_next(&l), 0);
	expect_error("2: string is not closed");
	conf_lex_close(&l);
	open_text(&l, "\"ends in \\");
	assert_int_equal(conf_lex_next(&l), 0);
	expect_error("1: string is not closed");
	conf_lex_close(&l);
	open_text(&l, "x \001 y");
	assert_int_equal(conf_lex_next(&l), T_STRING);
	assert_int_equal(conf_lex_next(&l), T_STRING);
	assert_string_equal(l.string, "y");
	expect_error("1: control character 0x01");
	conf_lex_close(&l);
}

static void
test_files(void **state)
{
	struct conf_lex l;
	char *big;

	(void)state;
	assert_int_equal(try_open(&l, 0), -1);
	expect_error(" No such file or directory");
	write_file("a\nb\0c", 5);
	assert_int_equal(try_open(&l, 0), -1);
	expect_error("2: NUL byte");

	big = malloc(1024 * 1024 + 1);
	assert_non_null(big);
	memset(big, ' ', 1024 * 1024 + 1);
	write_file(big, 1024 * 1024);
	assert_int_equal(try_open(&l, 0), 0);
	conf_lex_close(&l);
	write_file(big, 1024 * 1024 + 1);
	assert_int_equal(try_open(&l, 0), -1);
	expect_error(" larger than 1048576 bytes");
	free(big);

	write_file("x", 1);
	assert_int_equal(chmod(path, 0640), 0);
	assert_int_equal(try_open(&l, 1), -1);
	expect_error(" open to group or others");
	assert_int_equal(chmod(path, 0600), 0);
	assert_int_equal(try_open(&l, 1), 0);
	conf_lex_close(&l);

	unlink(path);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(try_open(&l, 0), -1);
	expect_error(" not a regular file");
	conf_lex_close(&l);
}

static void
test_print(void **state)
{
	static const char *s[] = { "", "plain", "with \"quotes\"", "back\\",
		"\\\"", "new\nline", "# { } ,", "\xc3\xa9" };
	struct conf_lex l;
	size_t i;
	FILE *f;

	(void)state;
	assert_non_null(f = fopen(path, "w"));
	for (i = 0; i < sizeof(s) / sizeof(s[0]); i++)
		conf_print_string(f, s[i]);
	assert_int_equal(fclose(f), 0);
	assert_int_equal(try_open(&l, 0), 0);
	for (i = 0; i < sizeof(s) / sizeof(s[0]); i++) {
		assert_int_equal(conf_lex_next(&l), T_STRING);
		assert_string_equal(l.string, s[i]);
	}
	assert_int_equal(conf_lex_next(&l), 0);
	assert_int_equal(l.errors, 0);
	conf_lex_close(&l);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_tokens, setup, teardown),
		cmocka_unit_test_setup_teardown(test_units, setup, teardown),
		cmocka_unit_test_setup_teardown(test_strings, setup, teardown),
		cmocka_unit_test_setup_teardown(test_files, setup, teardown),
		cmocka_unit_test_setup_teardown(test_print, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
