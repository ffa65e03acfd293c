/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * Claim: addresses are read, told apart and written as configurations have them,
 * those of loopback alone where only these are wanted, and sockets listen there.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/inaddr.h"

static void
assert_problem(const char *address, int64_t port, const char *want)
{
	struct inaddr l;
	const char *why = inaddr_set_loopback(&l, address, port);

	if (why == NULL || strstr(why, want) == NULL)
		fail_msg("%s: %s", address, why == NULL ? "taken" : why);
}

static void
test_refused(void **state)
{
	static const char *const other[] = { "*", "0.0.0.0", "10.0.0.1",
		"128.0.0.1", "126.255.255.255", "::", "::2", "fe80::1",
		"::ffff:10.0.0.1", "::ffff:127.0.0.1" };
	static const char *const none[] = { "", "127.1", "127.0.0.1 ", "x",
		"localhost.example.org", "[::1]", "127.0.0.1:80" };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(other) / sizeof(other[0]); i++)
		assert_problem(other[i], 1, "not a loopback address");
	for (i = 0; i < sizeof(none) / sizeof(none[0]); i++)
		assert_problem(none[i], 1, "not an address");
	assert_problem("127.0.0.1", -1, "port is not");
	assert_problem("127.0.0.1", 65536, "port is not");
}

static void
assert_taken(const char *address, int64_t port, const char *want)
{
	struct inaddr l;
	char text[128];

	assert_null(inaddr_set_loopback(&l, address, port));
	inaddr_text(&l, text, sizeof(text));
	assert_string_equal(text, want);
}

static void
test_taken(void **state)
{
	struct inaddr a, b;

	(void)state;
	assert_taken("127.0.0.1", 0, "127.0.0.1 port 0");
	assert_taken("127.3.2.1", 65535, "127.3.2.1 port 65535");
	assert_taken("localhost", 80, "127.0.0.1 port 80");
	assert_taken("::1", 9100, "::1 port 9100");
	assert_null(inaddr_set_loopback(&a, "127.0.0.1", 1));
	assert_null(inaddr_set_loopback(&b, "localhost", 1));
	assert_true(inaddr_equal(&a, &b));
	assert_null(inaddr_set_loopback(&b, "127.0.0.1", 2));
	assert_false(inaddr_equal(&a, &b));
	assert_null(inaddr_set_loopback(&b, "::1", 1));
	assert_false(inaddr_equal(&a, &b));
}

static void
test_listen(void **state)
{
	struct inaddr l, got;
	uint16_t port;
	int fd, client;

	(void)state;
	assert_null(inaddr_set_loopback(&l, "127.0.0.1", 0));
	fd = inaddr_listen(&l, 0, 5);
	assert_true(fd != -1);
	assert_int_equal(inaddr_of(&got, fd), 0);
	assert_true((port = inaddr_port(&got)) != 0);
	assert_false(inaddr_equal(&l, &got));
	inaddr_set_port(&l, port);
	assert_true(inaddr_equal(&l, &got));
	assert_null(inaddr_set_loopback(&l, "127.0.0.1", port));
	assert_int_equal(inaddr_listen(&l, 0, 5), -1);
	assert_int_equal(errno, EADDRINUSE);
	client = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(connect(client, &l.u.sa, l.len), 0);
	close(client);
	close(fd);
}

static void
test_any_address(void **state)
{
	static const struct {
		const char *address, *host;
		int six, loopback;
	} taken[] = { { "127.0.0.1", "127.0.0.1", 0, 1 },
		{ "localhost", "127.0.0.1", 0, 1 },
		{ "128.0.0.1", "128.0.0.1", 0, 0 },
		{ "0.0.0.0", "0.0.0.0", 0, 0 }, { "::1", "::1", 1, 1 },
		{ "::", "::", 1, 0 },
		{ "2001:db8:0::1", "2001:db8::1", 1, 0 } };
	static const char *const refused[] = { "", "*", "x", "[::1]", "1.2.3",
		"1.2.3.4.5", "::1%lo" };
	struct inaddr a;
	char host[INET6_ADDRSTRLEN];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(taken) / sizeof(taken[0]); i++) {
		assert_null(inaddr_set(&a, taken[i].address, 65535));
		inaddr_host(&a, host, sizeof(host));
		assert_string_equal(host, taken[i].host);
		assert_int_equal(inaddr_port(&a), 65535);
		assert_int_equal(inaddr_is_six(&a), taken[i].six);
		assert_int_equal(!!inaddr_is_loopback(&a), taken[i].loopback);
	}
	for (i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		assert_string_equal(inaddr_set(&a, refused[i], 1),
		    "not an address");
		assert_int_equal(a.len, 0);
	}
	inaddr_set_any4(&a, 80);
	inaddr_text(&a, host, sizeof(host));
	assert_string_equal(host, "0.0.0.0 port 80");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_taken),
		cmocka_unit_test(test_listen),
		cmocka_unit_test(test_any_address),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
