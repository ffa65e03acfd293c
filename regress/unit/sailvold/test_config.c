/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * sailvold.conf(5) is read as it says, what is printed is read back equal, and
 * every refusal names file, line and thing.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "sailvold/config.h"
#include "sailvold/sailvold_imsg.h"
#include "regress/unit/conf_test.h"

#define ZEROS                              \
	"00000000000000000000000000000000" \
	"00000000000000000000000000000000"
#define API "api \"https://sail.example.org:8443\" { key file \"/k\" } "

static void
test_round(void **state)
{
	(void)state;
	expect_round(API);
	expect_round(
	    "api \"http://127.0.0.1:8470\" {\n\tkey file \"/k \\\"\"\n"
	    "\tca \"/etc/ssl/sail.pem\"\n}\nstate \"/s\" cache \"/c\" size 3G "
	    "keep free 1M control \"/run/x\" owner bin group adm mode 660 "
	    "users from 7000 fetchers 3 transfers 7 transfer memory 20M stash size 1G stash total 5G stash keep 3d log debug "
	    "passthrough no pid file \"/p\" user cache \"nobody\" user fuse daemon");
	expect_round(API "metrics listen on 127.0.0.1 port 9101");
	expect_round(API "metrics listen on localhost port 0 port file \"/p\" "
			 "user metrics \"nobody\"");
	expect_round(API "metrics listen on \"::1\" port 65535");
	expect_round(API
	    "volume \"shared-data\" { mount \"/mnt/shared\" create }"
	    "volume other { mount \"/mnt/o\" subpath \"/a/b\" read only suid noexec }"
	    "volume c { mount \"/c\" commit every 90m commit on umount overlay size 3G }"
	    "volume box { mount \"/mnt/b\" uids 100000 65536 }");
	expect_round(
	    API "volume v { mount \"/m\" commit \"0123456789abcdef"
		"0123456789abcdef0123456789abcdef0123456789abcdef\" }");
}

static void
test_values(void **state)
{
	struct conf_volume *v;
	struct config *c;
	uid_t uid;
	gid_t gid;

	(void)state;
	c = parse(API);
	assert_non_null(c);
	assert_string_equal(c->state, "/var/db/sailvol");
	assert_string_equal(c->cache, "/var/cache/sailvol");
	assert_string_equal(c->control, "/run/sailvold.sock");
	assert_int_equal(c->control_mode, -1);
	assert_int_equal(c->fetchers, 2);
	assert_int_equal(c->transfers, 16);
	assert_true(c->transfer_memory == 128 << 20);
	assert_int_equal(c->passthrough, 1);
	assert_int_equal(c->metrics, 0);
	config_free(c);
	c = parse(API "metrics listen on 127.0.0.1 port 9101 port file \"/p\" "
		      "users from 100");
	assert_non_null(c);
	assert_int_equal(c->metrics, 1);
	assert_int_equal(inaddr_port(&c->metrics_at), 9101);
	assert_string_equal(c->metrics_port_file, "/p");
	assert_int_equal(config_user(c, CONF_METRICS, &uid, &gid), 0);
	assert_int_equal(uid, 104);
	config_free(c);
	c = parse(API "users from 100 control \"/c\" mode 0640 "
		      "volume v { mount \"/m\" subpath \"/a\" create }");
	assert_non_null(c);
	assert_int_equal(c->control_mode, 0640);
	assert_int_equal(config_user(c, CONF_FETCH, &uid, &gid), 0);
	assert_int_equal(uid, 103);
	assert_int_equal(gid, 103);
	v = TAILQ_FIRST(&c->volumes);
	assert_string_equal(v->subpath, "a");
	assert_int_equal(v->flags, MOUNT_CREATE);
	config_free(c);
}

/* The file of mounts that commands made says whose each is. */
static void
test_owner(void **state)
{
	struct conf_volume *v;
	struct config *c;
	FILE *f;

	(void)state;
	c = parse(API "volume v { mount \"/m\" create }");
	assert_non_null(c);
	v = TAILQ_FIRST(&c->volumes);
	assert_int_equal(v->owner, 0);
	v->owner = 4000000000U;
	f = fopen(path, "w");
	assert_non_null(f);
	config_print_volume(v, f);
	assert_int_equal(fclose(f), 0);
	config_free(c);
	c = config_parse_volumes(path);
	assert_non_null(c);
	v = TAILQ_FIRST(&c->volumes);
	assert_int_equal(v->owner, 4000000000U);
	assert_int_equal(v->flags, MOUNT_CREATE);
	config_free(c);
	f = fopen(path, "w");
	assert_non_null(f);
	fputs("volume v { mount \"/m\" owner 0 }", f);
	assert_int_equal(fclose(f), 0);
	assert_null(config_parse_volumes(path));
}

static void
test_refused(void **state)
{
	static const struct conf_refusal t[] = {
		{ "", "no api: the server's URL is needed" },
		{ "api \"https://x\" { }", "api: no key file" },
		{ "api \"http://10.0.0.1\" { key file \"/k\" }",
		    "1: api: http://10.0.0.1: plain http is for loopback only" },
		{ "api \"http://127.evil.org\" { key file \"/k\" }",
		    "plain http is for loopback only" },
		{ "api \"http://localhost.evil.org\" { key file \"/k\" }",
		    "plain http is for loopback only" },
		{ "api \"https://a@b\" { key file \"/k\" }", "not a URL" },
		{ "api \"ftp://x\" { key file \"/k\" }", "neither http://" },
		{ "api \"https://\" { key file \"/k\" }", "no host" },
		{ "api \"https://x:0\" { key file \"/k\" }",
		    "the port is not 1" },
		{ "api \"https://x/y\" { key file \"/k\" }", "a path behind" },
		{ API API, "api is there twice" },
		{ "api \"https://x\" { key file \"k\" }",
		    "key file: k: not an absolute path" },
		{ API "state \"/a/../b\"", "state: /a/../b: has a component" },
		{ API "state \"/a\" cache \"/a\"", "the same folder" },
		{ API "cache \"/c\" size 63M", "cache size: less than 64M" },
		{ API "cache \"/c\" size 3d", "a size is expected" },
		{ API "users from 0", "users from: not 1" },
		{ API "log info\nuser fuse \"root\"\n\nlog info",
		    "2: user fuse root: it is root" },
		{ API "\nuser cache \"no such\"\n\n",
		    "2: user cache no such: there is no such account" },
		{ API "\ncontrol \"/k\" owner \"no such\"\n\n",
		    "2: control owner no such: there is no such account" },
		{ API "\ncontrol \"/k\" group \"no such\"\n\n",
		    "2: control group no such: there is no such group" },
		{ API "user nobody \"x\"", "no such role: nobody" },
		{ API "passthrough 1", "yes" },
		{ API "fetchers 0", "fetchers: not 1 to 64" },
		{ API "transfers 257", "transfers: not 1 to 256" },
		{ API "transfer memory 1M", "transfer memory: not 16M to 64G" },
		{ API "control \"/c\" mode 888", "mode: not 0 to 777" },
		{ API "volume \"a/b\" { mount \"/m\" }", "volume a/b: " },
		{ API "\nvolume v { }", "2: volume v: no mount" },
		{ API "volume v { mount \"m\" }", "not an absolute path" },
		{ API "volume v { mount \"/m\" } volume w { mount \"/m\" }",
		    "volume w: /m is mounted on already" },
		{ API "volume v { mount \"/m\" subpath \"a/../b\" }",
		    "subpath: a/../b: " },
		{ API "volume v { mount \"/m\" commit every 0 }",
		    "commit every: not 1s to 366d" },
		{ API "volume v { mount \"/m\" commit every 367d }",
		    "commit every: not 1s to 366d" },
		{ API "volume v { mount \"/m\" overlay size 1023K }",
		    "overlay size: less than 1M" },
		{ API "volume v { mount \"/m\" overlay size 10s }",
		    "a size is expected" },
		{ API "volume v { mount \"/m\" commit every 1G }",
		    "a time is expected" },
		{ API "volume v { mount \"/m\" read only commit every 1s }",
		    "volume v: commit every, or on umount: it is read only" },
		{ API "volume v { mount \"/m\" commit on umount commit \"" ZEROS
		      "\" }",
		    "volume v: commit every, or on umount: it is read only" },
		{ API "volume v { mount \"/m\" commit \"12\" }",
		    "commit: not 64 hexadecimal digits" },
		{ API "volume v { mount \"/m\" uids 0 10 }",
		    "uids: the range cannot begin at root" },
		{ API "volume v { mount \"/m\" uids 10 4294967296 }",
		    "uids: not 1 to 65536 ids" },
		{ API "volume v { mount \"/m\" uids 10 10s }",
		    "a number without a unit" },
		{ API "volume v { mount \"/m\" owner 1000 }",
		    "owner: only sailvold writes it" },
		{ API "\nvolume v {\n create\n\n}\n\n",
		    "2: volume v: no mount" },
		{ API "\nstate \"s\"\n# why\n\n",
		    "2: state: s: not an absolute" },
		{ API "\nvolume v {\n mount m\n\n subpath ..\n}\n\n",
		    "3: mount: m: not an absolute" },
		{ API "\nvolume v {\n mount m\n\n subpath ..\n}\n\n",
		    "5: subpath: ..: " },
		{ API "volume v { mount \"/m\" create commit \"" ZEROS "\" }",
		    "1: volume v: commit and create: a new volume has no" },
		{ API "nonsense", "1: syntax error: nonsense is not expected" },
		{ API "cache\n\nsize",
		    "3: syntax error: size is not expected, "
		    "but a string" },
		{ API "volume v { mount \"/m\"",
		    "syntax error: the end of the file is not expected" },
	};

	(void)state;
	expect_refusals(t, sizeof(t) / sizeof(t[0]));
}

static void
test_metrics_refused(void **state)
{
	static const struct conf_refusal t[] = {
		{ API "\nmetrics listen on * port 1",
		    "2: metrics listen on *: not a loopback address" },
		{ API "metrics listen on 0.0.0.0 port 1",
		    "metrics listen on 0.0.0.0: not a loopback address" },
		{ API "metrics listen on \"::\" port 1",
		    "metrics listen on ::: not a loopback address" },
		{ API "metrics listen on 192.168.1.1 port 1 port file \"/p\"",
		    "metrics listen on 192.168.1.1: not a loopback address" },
		{ API "metrics listen on example.org port 1",
		    "metrics listen on example.org: not an address" },
		{ API "metrics listen on 127.0.0.1 port 65536",
		    "port is not 0 to 65535" },
		{ API "metrics listen on 127.0.0.1 port 1s",
		    "a number without a unit is expected" },
		{ API "metrics listen on 127.0.0.1", "port" },
		{ API "metrics listen on 127.0.0.1 port 1 port file \"p\"",
		    "port file: p: not an absolute path" },
		{ API "metrics listen on 127.0.0.1 port 1\n"
		      "metrics listen on 127.0.0.1 port 2",
		    "2: metrics is there twice" },
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
		cmocka_unit_test(test_owner),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_metrics_refused),
	};

	return cmocka_run_group_tests_name("sailvold.conf", tests, setup,
	    teardown);
}
