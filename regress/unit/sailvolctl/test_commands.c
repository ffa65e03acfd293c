/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * Claim: what is typed is understood with options before or after operands, or
 * refused with words, and what usage shows is what the table allows.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "sailvolctl/commands.h"
#include "sailvolctl/output.h"

#define WORDS_MAX 16

/* Cut at blanks; "_" is an empty word. */
static int
parse(struct invocation *inv, const char *line, char *why, size_t size)
{
	static char copies[8][256];
	static char program[] = "sailvolctl";
	static int turn;
	char *argv[WORDS_MAX + 1] = { program }, *p, *w;
	int argc = 1;

	p = copies[turn++ % 8];
	snprintf(p, sizeof(copies[0]), "%s", line);
	while ((w = strsep(&p, " ")) != NULL && argc < WORDS_MAX) {
		if (strcmp(w, "_") == 0)
			*w = '\0';
		argv[argc++] = w;
	}
	return invocation_parse(inv, argc, argv, why, size);
}

static void
good(const char *line, const char *word, int operands, uint32_t options)
{
	struct invocation inv;
	char why[256] = "";
	uint32_t got = 0;
	int o;

	if (parse(&inv, line, why, sizeof(why)) == -1)
		fail_msg("%s: %s", line, why);
	assert_string_equal(inv.command->words[0], word);
	assert_int_equal(inv.noperands, operands);
	for (o = 0; o < OPT_COUNT; o++)
		if (inv.opt[o] != NULL)
			got |= OPT_BIT(o);
	assert_int_equal(got, options);
}

static void
bad(const char *line, const char *words)
{
	struct invocation inv;
	char why[256] = "";

	if (parse(&inv, line, why, sizeof(why)) == 0)
		fail_msg("%s was understood", line);
	if (strstr(why, words) == NULL)
		fail_msg("%s: expected '%s', actual '%s'", line, words, why);
	assert_non_null(inv.out);
}

static void
test_order(void **state)
{
	struct invocation inv;
	char why[256];

	(void)state;
	good("commit /x", "commit", 1, 0);
	good("commit /x -m hello", "commit", 1, OPT_BIT(OPT_MESSAGE));
	good("-m hello commit /x", "commit", 1, OPT_BIT(OPT_MESSAGE));
	good("commit -m hello --if-unchanged /x -j", "commit", 1,
	    OPT_BIT(OPT_MESSAGE) | OPT_BIT(OPT_IF_UNCHANGED) |
		OPT_BIT(OPT_JSON));
	good("-j -j status", "status", 0, OPT_BIT(OPT_JSON));
	good("-s /sock mount v:/a /x -c 12 -r", "mount", 2,
	    OPT_BIT(OPT_SOCKET) | OPT_BIT(OPT_AT) | OPT_BIT(OPT_READONLY));
	good("mount v -r /x --create", "mount", 2,
	    OPT_BIT(OPT_READONLY) | OPT_BIT(OPT_CREATE));
	good("umount --commit /x", "umount", 1, OPT_BIT(OPT_COMMIT));
	good("volume -u http://x create -k /k v --mint-if-missing", "volume", 1,
	    OPT_BIT(OPT_URL) | OPT_BIT(OPT_KEYFILE) | OPT_BIT(OPT_MINT));
	good("stash show /x 7", "stash", 2, 0);
	good("stash list", "stash", 0, 0);
	good("key create read name", "key", 2, 0);
	good("ls -lR v:/d -1", "ls", 1,
	    OPT_BIT(OPT_LONG) | OPT_BIT(OPT_RECURSIVE) | OPT_BIT(OPT_ONE));
	good("put - v:d -m x", "put", 2, OPT_BIT(OPT_MESSAGE));
	good("rm -r v:d -m x", "rm", 1,
	    OPT_BIT(OPT_READONLY) | OPT_BIT(OPT_MESSAGE));
	good("get v@head:d - --force", "get", 2, OPT_BIT(OPT_FORCE));

	assert_int_equal(parse(&inv, "commit -m -- -- --keep", why,
			     sizeof(why)),
	    0);
	assert_string_equal(inv.opt[OPT_MESSAGE], "--");
	assert_string_equal(inv.operand[0], "--keep");
	assert_int_equal(parse(&inv, "commit -m _ /x", why, sizeof(why)), 0);
	assert_string_equal(inv.opt[OPT_MESSAGE], "");
	assert_ptr_equal(inv.out, &output_text);
	assert_int_equal(parse(&inv, "reload . -j", why, sizeof(why)), 0);
	assert_ptr_equal(inv.out, &output_json);
}

static void
test_refused(void **state)
{
	struct invocation inv;
	char why[256];

	(void)state;
	bad("-j", "a command is needed");
	bad("dance", "unknown command: dance");
	bad("volume", "what of it");
	bad("volume dance", "unknown command: volume dance");
	bad("commit", "too few");
	bad("commit /x /y", "too many");
	bad("commit /x /y /z /a /b /c /d", "too many");
	bad("commit --keep /x", "no option --keep");
	bad("status -r", "no option -r");
	bad("mount --create v /x -c 12", "exclude each other");
	bad("reload --keep --if-clean /x", "exclude each other");
	bad("umount --force --commit /x", "exclude each other");
	bad("commit -m a -m b /x", "twice");
	bad("commit /x -m", "needs an argument");
	bad("commit -z /x", "unknown option");
	bad("commit --nothing /x", "unknown option: --nothing");
	bad("commit -jz /x", "unknown option: -z");
	bad("commit -jm", "-m needs an argument");
	bad("umount --force=1 /x", "--force=1");
	assert_int_equal(parse(&inv, "commit --nothing /x -j", why,
			     sizeof(why)),
	    -1);
	assert_ptr_equal(inv.out, &output_json);
	/* Said as JSON when that was asked for anywhere. */
	assert_int_equal(parse(&inv, "commit -z /x -j", why, sizeof(why)), -1);
	assert_int_equal(parse(&inv, "dance -j", why, sizeof(why)), -1);
	assert_ptr_equal(inv.out, &output_json);
}

/* Whether usage() has that option in its text. */
static int
shows(const struct command *c, int o)
{
	char want[64], c1;
	const char *p;
	size_t n;

	if (option_defs[o].letter != 0)
		snprintf(want, sizeof(want), "-%c", option_defs[o].letter);
	else
		snprintf(want, sizeof(want), "--%s", option_defs[o].name);
	n = strlen(want);
	for (p = c->options; (p = strstr(p, want)) != NULL; p += n) {
		c1 = p[n];
		if ((p == c->options || p[-1] == '[' || p[-1] == ' ') &&
		    (c1 == ']' || c1 == ' ' || c1 == '\0'))
			return 1;
	}
	return 0;
}

static void
test_table(void **state)
{
	const struct command *c;
	size_t i;
	int o;

	(void)state;
	for (i = 0; i < ncommands; i++) {
		c = &commands[i];
		for (o = OPT_URL; o < OPT_COUNT; o++)
			if (shows(c, o) != ((c->allowed & OPT_BIT(o)) != 0))
				fail_msg("%s: option %d: usage and table",
				    c->words[0], o);
		assert_int_equal(c->exclusive & ~c->allowed, 0);
		assert_true(c->min <= c->max && c->max <= OPERANDS_MAX);
		assert_non_null(c->run);
		assert_non_null(c->text);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_table),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
