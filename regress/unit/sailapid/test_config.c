/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * sailapid.conf(5) is read as it says, what is printed is read back equal, and
 * every refusal names file, line and thing.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "sailapid/config.h"
#include "regress/unit/conf_test.h"

static void
test_round(void **state)
{
	(void)state;
	expect_round("");
	expect_round("listen on ::1 port 1 port file \"/a \\\"b\\\"\"\n"
		     "listen on 127.1.2.3 port 65535\n");
	expect_round(
	    "store \"/o\" listen on 127.0.0.1 port 0 port file \"/p\""
	    " users from 7000 url life 2s log debug pid file \"/p i d\"");
	expect_round(
	    "store \"/o\" { listen on ::1 port 9 } user api \"nobody\"\n"
	    "user store \"bin\" user tls daemon\n"
	    "limits { connections 7 per peer 3, body size 3M, idle 2m }");
}

static void
test_values(void **state)
{
	struct config *c;

	(void)state;
	c = parse("");
	assert_non_null(c);
	assert_int_equal(c->napi, 1);
	assert_int_equal(config_listen_port(&c->api[0]), 8470);
	assert_int_equal(config_listen_port(&c->store), 0);
	assert_string_equal(c->database, "/var/db/sailapi/db");
	assert_string_equal(c->objects, "/var/db/sailapi/objects");
	assert_int_equal(c->url_life_s, 900);
	assert_int_equal(c->users_from, -1);
	assert_string_equal(c->users[CONF_FETCH], "_sailvolnet");
	config_free(c);

	/* On the next line it is the API's. */
	c = parse("store \"/o\"\nlisten on 127.0.0.1 port 5\n");
	assert_non_null(c);
	assert_int_equal(config_listen_port(&c->api[0]), 5);
	assert_int_equal(config_listen_port(&c->store), 0);
	config_free(c);
	c = parse("store \"/o\" listen on 127.0.0.1 port 5\n"
		  "listen on localhost port 6 users from 100");
	assert_non_null(c);
	assert_int_equal(config_listen_port(&c->api[0]), 6);
	assert_int_equal(config_listen_port(&c->store), 5);
	{
		uid_t uid;
		gid_t gid;

		assert_int_equal(config_user(c, CONF_STORE, &uid, &gid), 0);
		assert_int_equal(uid, 105);
		assert_int_equal(gid, 105);
	}
	config_free(c);
}

static void
test_refused(void **state)
{
	static const struct conf_refusal t[] = {
		{ "listen on 10.0.0.1 port 1",
		    "1: listen on 10.0.0.1: plain "
		    "HTTP is for loopback addresses only" },
		{ "listen on * port 1", "1: listen on *: plain HTTP is" },
		{ "listen on 0.0.0.0 port 1", "plain HTTP is" },
		{ "listen on ::ffff:127.0.0.1 port 1", "plain HTTP is" },
		{ "listen on example.org port 1", "not an address" },
		{ "listen on 127.0.0.1 port 65536", "port is not 0 to 65535" },
		{ "listen on 127.0.0.1 port 1K", "a number without a unit" },
		{ "\nlisten on * tls port 1", "2: tls: this build has no tls" },
		{ "store s3 \"https://x\" { bucket \"b\" }",
		    "store s3: this build has only" },
		{ "store \"o\"", "store: o: path does not begin with /" },
		{ "database \"/a/../b\"", "path has . or .." },
		{ "database \"/\"", "path is /" },
		{ "database \"/a\" database \"/b\"",
		    "database is there twice" },
		{ "database \"/a\" store \"/a\"", "the same folder" },
		{ "log info\nuser api \"root\"\n\nlog info",
		    "2: user api root: it is root" },
		{ "user meta \"no such\"\n\n",
		    "1: user meta no such: there is no such account" },
		{ "user nobody \"x\"", "no such role: nobody" },
		{ "user api \"\"", "user for api: empty name" },
		{ "users from 0", "users from: not 1" },
		{ "url life 0", "url life: not 1 to 604800" },
		{ "url life 1K", "a time is expected" },
		{ "limits { idle 0 }", "idle: not 1 to 86400" },
		{ "limits { body size 5 }", "body size: not 1K to 1G" },
		{ "limits { body size 5h }", "a size is expected" },
		{ "limits { connections 0 }", "connections: not 1" },
		{ "listen on * port 1\n# why\n\nlog info\n",
		    "1: listen on *: plain HTTP is" },
		{ "log info\nstore \"o\"\n\nlog info\n", "2: store: o: path" },
		{ "limits {\n idle 0\n\n body size 5\n}\n\n",
		    "2: idle: not 1 to 86400" },
		{ "limits {\n idle 0\n\n body size 5\n}\n\n",
		    "4: body size: not 1K" },
		{ "nonsense", "1: syntax error: nonsense is not expected" },
		{ "log \"x\"",
		    "1: syntax error: \"x\" is not expected, but "
		    "debug or info" },
		{ "log info\nlimits\n\nidle",
		    "4: syntax error: idle is not "
		    "expected, but '{'" },
		{ "limits { idle 3",
		    "1: syntax error: the end of the file is "
		    "not expected" },
		{ "url life\n\n",
		    "3: syntax error: the end of the file is not "
		    "expected, but a number" },
		{ "log info\nstore \"a\\x\"\n\n", "2: unknown escape" },
	};

	(void)state;
	expect_refusals(t, sizeof(t) / sizeof(t[0]));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round),
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_refused),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
