/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * The keys of an S3 store: what a file and the environment may say, and what is
 * refused.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "sailapid/credentials.h"

static void
expect(const char *text, const char *key, const char *secret, const char *token)
{
	struct store_keys k;

	assert_null(credentials_parse(text, &k));
	assert_string_equal(k.access_key, key);
	assert_string_equal(k.secret, secret);
	assert_string_equal(k.token, token);
}

static void
test_files(void **state)
{
	(void)state;
	expect("aws_access_key_id=A\naws_secret_access_key=s/+=\n", "A",
	    "s/+=", "");
	expect("AWS_ACCESS_KEY_ID = A\r\n AWS_Secret_Access_Key\t= s \r\n", "A",
	    "s", "");
	expect("# mine\n[other]\naws_access_key_id=O\n\n[default]\n; now\n"
	       "region = nowhere\naws_access_key_id=A\naws_session_token=t==\n"
	       "aws_secret_access_key=s\n[third]\naws_access_key_id=T",
	    "A", "s", "t==");
	expect("aws_access_key_id=A\naws_secret_access_key=s\n"
	       "aws_session_token =\n",
	    "A", "s", "");
	/* What comes last counts. */
	expect("aws_access_key_id=A\naws_access_key_id=B\n"
	       "aws_secret_access_key=s",
	    "B", "s", "");
}

static void
test_refused(void **state)
{
	static const struct {
		const char *text, *why;
	} t[] = {
		{ "", "no access key" },
		{ "aws_secret_access_key=s", "no access key" },
		{ "aws_access_key_id=A", "no secret access key" },
		{ "[x]\naws_access_key_id=A\naws_secret_access_key=s",
		    "no access key" },
		{ "AKIA:secret\n", "a line is neither" },
		{ "aws_access_key_id=\naws_secret_access_key=s",
		    "a value is empty" },
		{ "aws_access_key_id=A B\naws_secret_access_key=s",
		    "a value has a character" },
		{ "aws_access_key_id=\xc3\xa9\naws_secret_access_key=s",
		    "a value has a character" },
	};
	char text[S3_SECRET_MAX + 64];
	struct store_keys k;
	const char *why;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		why = credentials_parse(t[i].text, &k);
		assert_non_null(why);
		assert_memory_equal(why, t[i].why, strlen(t[i].why));
		assert_int_equal(k.access_key[0] | k.secret[0], 0);
	}
	/* As long as it may be, and one more. */
	strlcpy(text,
	    "aws_access_key_id=A\naws_secret_access_key=", sizeof(text));
	i = strlen(text);
	memset(text + i, 's', S3_SECRET_MAX + 1);
	text[i + S3_SECRET_MAX] = '\0';
	assert_null(credentials_parse(text, &k));
	assert_int_equal(strlen(k.secret), S3_SECRET_MAX);
	text[i + S3_SECRET_MAX] = 's';
	text[i + S3_SECRET_MAX + 1] = '\0';
	assert_string_equal(credentials_parse(text, &k), "a value is too long");
}

static void
test_environment(void **state)
{
	struct store_keys k;

	(void)state;
	unsetenv("AWS_SESSION_TOKEN");
	setenv("AWS_ACCESS_KEY_ID", "A", 1);
	unsetenv("AWS_SECRET_ACCESS_KEY");
	assert_int_equal(credentials_read(NULL, &k), -1);
	setenv("AWS_SECRET_ACCESS_KEY", "s", 1);
	assert_int_equal(credentials_read(NULL, &k), 0);
	assert_string_equal(k.token, "");
	setenv("AWS_SESSION_TOKEN", "", 1);
	assert_int_equal(credentials_read(NULL, &k), 0);
	assert_string_equal(k.token, "");
	setenv("AWS_SESSION_TOKEN", "t", 1);
	assert_int_equal(credentials_read(NULL, &k), 0);
	assert_string_equal(k.access_key, "A");
	assert_string_equal(k.secret, "s");
	assert_string_equal(k.token, "t");
	credentials_clear_environment();
	assert_null(getenv("AWS_SECRET_ACCESS_KEY"));
	assert_int_equal(credentials_read(NULL, &k), -1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_files),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_environment),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
