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
	expect_round("survey every 6h");
	expect_round("survey never log debug");
	expect_round("listen on ::1 port 1 port file \"/a \\\"b\\\"\"\n"
		     "listen on 127.1.2.3 port 65535\n");
	expect_round("metrics listen on ::1 port 0 port file \"/m\"\n"
		     "listen on ::1 port 1\n");
	expect_round("store \"/o\" listen on ::1 port 1\n"
		     "metrics listen on localhost port 9100\n");
	expect_round(
	    "store \"/o\" listen on 127.0.0.1 port 0 port file \"/p\""
	    " users from 7000 url life 2s log debug pid file \"/p i d\"");
	expect_round(
	    "store s3 \"https://s3.example.org/\" { bucket \"a.b\" region \"eu-1\""
	    " credentials file \"/c\" ca file \"/ca\" }");
	expect_round("store s3 \"http://localhost:7480\" {\nstyle virtual\n"
		     "bucket \"b\"\n}\n");
	expect_round(
	    "store \"/o\" { listen on ::1 port 9 } user api \"nobody\"\n"
	    "user store \"bin\" user tls daemon\n"
	    "limits { connections 7 per peer 3, body size 3M, idle 2m,"
	    " handshake 3s requests 9 per peer 2, header size 8K, rate 1M,"
	    " answers size 33M }");
	expect_round("listen on * tls port 8443 listen on ::1 port 1\n"
		     "listen on 10.0.0.1 tls port 2 port file \"/p\"\n"
		     "listen on :: tls port 3\n"
		     "tls { certificate file \"/c\" key file \"/k\" }\n");
	expect_round("tls { key file \"/k\" certificate file \"/c\" }\n"
		     "store \"/o\" listen on * tls port 5\n");
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
	assert_int_equal(c->survey_s, 86400);
	assert_int_equal(c->requests, 256);
	assert_int_equal(c->requests_per_peer, 128);
	assert_int_equal(c->header_size, 64 * 1024);
	assert_int_equal(c->rate, 4096);
	assert_int_equal(c->max_answers, 512 << 20);
	assert_int_equal(c->users_from, -1);
	assert_int_equal(c->metrics.at.len, 0);
	assert_string_equal(c->users[CONF_FETCH], "_sailvolnet");
	config_free(c);

	c = parse("store s3 \"https://s3.example.org/\" { bucket \"b\" }");
	assert_non_null(c);
	assert_string_equal(c->s3_url, "https://s3.example.org");
	assert_string_equal(c->s3_region, "us-east-1");
	assert_int_equal(c->s3_virtual, 0);
	assert_null(c->s3_credentials);
	config_free(c);

	/* Of the store, too, when nothing else is said. */
	c = parse("listen on * tls port 8443\n"
		  "tls { certificate file \"/c\" key file \"/k\" }");
	assert_non_null(c);
	assert_int_equal(c->api[0].tls && c->api[0].any, 1);
	assert_int_equal(c->store.tls && c->store.any, 1);
	assert_int_equal(config_listen_port(&c->store), 0);
	assert_int_equal(c->handshake_s, 10);
	config_free(c);

	c = parse("metrics listen on 127.0.0.1 port 9 port file \"/m\"\n");
	assert_non_null(c);
	assert_int_equal(c->napi, 1);
	assert_int_equal(config_listen_port(&c->api[0]), 8470);
	assert_int_equal(config_listen_port(&c->metrics), 9);
	assert_int_equal(c->metrics.tls, 0);
	assert_string_equal(c->metrics.port_file, "/m");
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
		{ "store s3 \"https://x\" { }",
		    "store s3: no bucket is named" },
		{ "store s3 \"https://x\"", "is not expected, but '{'" },
		{ "store s3 { bucket \"b\" }",
		    "{ is not expected, but a string" },
		{ "store s3 \"http://x\" { bucket \"b\" }",
		    "1: store s3: http://x: plain http is for loopback only" },
		{ "store s3 \"https://x/b\" { bucket \"b\" }",
		    "store s3: https://x/b: a path behind the host" },
		{ "store s3 \"https://x\" {\nbucket \"a/b\" }",
		    "2: bucket: a/b: not the name of a bucket" },
		{ "store s3 \"https://x\" { bucket \"\" }",
		    "bucket: : not 1 to 63 characters" },
		{ "store s3 \"https://x\" { bucket \"b\" bucket \"b\" }",
		    "bucket is there twice" },
		{ "store s3 \"https://x\" { bucket \"b\" region \"a b\" }",
		    "region: a b: not the name of a region" },
		{ "store s3 \"https://x\" { bucket \"b\" style path "
		  "style path }",
		    "style is there twice" },
		{ "store s3 \"https://x\" { bucket \"b\" credentials file "
		  "\"c\" }",
		    "credentials file: c: path does not begin with /" },
		{ "store s3 \"https://1.2.3.4:5\" { bucket \"b\" "
		  "style virtual }",
		    "style virtual: a bucket cannot stand before an address" },
		{ "store s3 \"https://[::1]\" { bucket \"b\" "
		  "style virtual }",
		    "style virtual: a bucket cannot stand before an address" },
		{ "store s3 \"https://x.org\" { bucket \"a.b\" "
		  "style virtual }",
		    "style virtual: the bucket's name cannot be a label" },
		{ "store \"/o\" store s3 \"https://x\" { bucket \"b\" }",
		    "store is there twice" },
		{ "store s3 \"https://x\" { bucket \"b\" } store \"/o\"",
		    "store is there twice" },
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
		{ "survey every 59s", "survey every: not 60 seconds to" },
		{ "survey every 367d", "survey every: not 60 seconds to" },
		{ "survey every 1M", "a time is expected" },
		{ "survey 6h", "expected, but every or never" },
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

static void
test_metrics_refused(void **state)
{
	static const struct conf_refusal t[] = {
		{ "\nmetrics listen on 10.0.0.1 port 1",
		    "2: listen on 10.0.0.1: plain HTTP is for loopback "
		    "addresses only" },
		{ "metrics listen on * port 1", "1: listen on *: plain HTTP" },
		{ "metrics listen on 0.0.0.0 port 1", "plain HTTP is" },
		{ "metrics listen on :: port 1", "plain HTTP is" },
		{ "metrics listen on ::ffff:127.0.0.1 port 1", "plain HTTP" },
		{ "metrics listen on x.example port 1", "not an address" },
		{ "metrics listen on 127.0.0.1 tls port 1",
		    "tls is not expected, but port" },
		{ "metrics listen on 127.0.0.1", "not expected, but port" },
		{ "metrics on 127.0.0.1 port 1", "not expected, but listen" },
		{ "metrics listen on 127.0.0.1 port 65536",
		    "port is not 0 to 65535" },
		{ "metrics listen on ::1 port 1 port file \"m\"",
		    "port file: m: path does not begin with /" },
		{ "metrics listen on ::1 port 1\nmetrics listen on ::1 port 2",
		    "2: metrics is there twice" },
	};

	(void)state;
	expect_refusals(t, sizeof(t) / sizeof(t[0]));
}

static void
test_tls_refused(void **state)
{
	static const struct conf_refusal t[] = {
		{ "\nlisten on * tls port 1",
		    "2: listen with tls: no certificate and key are named" },
		{ "store \"/o\" listen on 127.0.0.1 tls port 1",
		    "listen with tls: no certificate and key are named" },
		{ "listen on example.org tls port 1", "not an address" },
		{ "tls { key file \"/k\" }",
		    "1: tls: no certificate file is named" },
		{ "tls { certificate file \"/k\" }",
		    "1: tls: no key file is named" },
		{ "tls { key file \"k\" certificate file \"/c\" }",
		    "key file: k: path does not begin with /" },
		{ "tls { key file \"/k\" key file \"/k\" }",
		    "key file is there twice" },
		{ "tls { key file \"/k\" certificate file \"/c\" } tls { }",
		    "tls is there twice" },
		{ "listen on * tls port 1\n"
		  "tls { key file \"/k\" certificate file \"/c\" }\n"
		  "store \"/o\" listen on 127.0.0.1 port 2",
		    "store: listens without tls" },
		{ "limits { handshake 0s }", "handshake: not 1 to 3600" },
		{ "limits { requests 0 }", "requests: not 1 to 65536" },
		{ "limits { requests 9 per peer 0 }",
		    "requests per peer: not 1" },
		{ "limits { answers size 1023K }",
		    "answers size: not 1M to 1T" },
		{ "limits { header size 4095 }", "header size: not 4K to 1M" },
		{ "limits { rate 0 }", "rate: not 1 to 1G" },
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
		cmocka_unit_test(test_metrics_refused),
		cmocka_unit_test(test_tls_refused),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
