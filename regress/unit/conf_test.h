/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * conf_test: what the tests of both configurations share: a file with a text,
 * its messages, printing and reading back.  Included behind the daemon's own
 * config.h.
 */
#ifndef REGRESS_UNIT_CONF_TEST_H
#define REGRESS_UNIT_CONF_TEST_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/log.h"

static char dir[64], path[128], messages[4096];

static void
keep(int priority, const char *line, void *arg)
{
	(void)priority;
	(void)arg;
	strlcat(messages, line, sizeof(messages));
	strlcat(messages, "\n", sizeof(messages));
}

static int
setup(void **state)
{
	(void)state;
	log_set_sink(keep, NULL);
	strlcpy(dir, "/tmp/test_config.XXXXXX", sizeof(dir));
	if (mkdtemp(dir) == NULL)
		return -1;
	snprintf(path, sizeof(path), "%s/conf", dir);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	unlink(path);
	return rmdir(dir);
}

static struct config *
parse(const char *text)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	assert_int_equal(fputs(text, f) < 0, 0);
	assert_int_equal(fclose(f), 0);
	messages[0] = '\0';
	return config_parse(path);
}

static char *
print(const struct config *c)
{
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	assert_non_null(f);
	config_print(c, f);
	assert_int_equal(fclose(f), 0);
	return text;
}

/* Printed, read, printed again. */
static void
expect_round(const char *text)
{
	struct config *a = parse(text), *b;
	char *one, *two;

	if (a == NULL)
		fail_msg("%s: %s", text, messages);
	one = print(a);
	b = parse(one);
	if (b == NULL)
		fail_msg("%s: %s", one, messages);
	two = print(b);
	assert_string_equal(one, two);
	free(one);
	free(two);
	config_free(a);
	config_free(b);
}

struct conf_refusal {
	const char *text, *want;
};

/* Each is refused, with file, line and thing. */
static void
expect_refusals(const struct conf_refusal *t, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++) {
		assert_null(parse(t[i].text));
		if (strstr(messages, t[i].want) == NULL ||
		    strncmp(messages, path, strlen(path)) != 0)
			fail_msg("%s: got %s, want %s", t[i].text, messages,
			    t[i].want);
	}
}

#endif
