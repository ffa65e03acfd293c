/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * Plain HTTP goes to loopback only, whatever a server announces, and no header
 * of its making reaches for other parts of a request.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "sailvol-fetch/resolve.h"
#include "sailvol-fetch/url.h"

static const char *
check(const char *url, struct url_host *h)
{
	return url_check(url, strlen(url), h);
}

static void
test_urls(void **state)
{
	static const char *const good[] = { "https://a.example/x?y=z",
		"https://10.0.0.1:9000/b/k", "http://127.0.0.1/",
		"http://127.9.9.9:80/", "http://localhost:8470/v1/",
		"http://[::1]:1/x", "https://[2001:db8::1]/",
		"http://LOCALHOST/" };
	static const char *const bad[] = { "", "http://", "http://example.org/",
		"http://10.0.0.1/", "http://0.0.0.0/", "http://[::]/",
		"http://127.0.0.1.example.org/", "http://localhost.example/",
		"http://127.0.0.1@example.org/", "https://user@host/",
		"https://user:pw@host/", "ftp://127.0.0.1/",
		"file:///etc/passwd", "gopher://127.0.0.1/", "//127.0.0.1/",
		"127.0.0.1/x", "https://host/a b", "https://host/\r\nx: y",
		"https://host/#f", "https://host\\@other/",
		"http://2130706434.example/" };
	struct url_host h;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		if (check(good[i], &h) != NULL)
			fail_msg("%s: %s", good[i], check(good[i], &h));
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (check(bad[i], &h) == NULL)
			fail_msg("\"%s\" was taken", bad[i]);
	assert_null(check("https://Store.Example:444/x", &h));
	assert_string_equal(h.host, "store.example");
	assert_string_equal(h.port, "444");
	assert_true(h.https);
	assert_false(h.literal);
	assert_null(check("https://[2001:DB8::1]/", &h));
	assert_string_equal(h.host, "2001:db8::1");
	assert_string_equal(h.port, "443");
	assert_true(h.literal);
}

static void
test_headers(void **state)
{
	static const char *const good[] = { "Range: bytes=0-5",
		"x-amz-content-sha256: ab", "If-None-Match: *",
		"content-type: x" };
	static const char *const bad[] = { "", "Host: x", "Content-Length: 1",
		"Authorization: Bearer x", "Transfer-Encoding: chunked",
		"Connection: close", "range", ": x", "range : x",
		"range: a\r\nhost: b", "x-amz-: \x7f", "x-amz-", "x_amz-a: b" };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		assert_null(url_header_check(good[i], strlen(good[i])));
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (url_header_check(bad[i], strlen(bad[i])) == NULL)
			fail_msg("\"%s\" was taken", bad[i]);
	assert_true(url_plain("vol_09af", 8));
	assert_false(url_plain("", 0));
	assert_false(url_plain("..", 2));
	assert_false(url_plain("a/b", 3));
	assert_false(url_plain("a?b", 3));
}

static void
test_hosts(void **state)
{
	static const char text[] = "# all\n127.0.0.1 localhost\n"
				   "10.1.1.1\tA.example a # b\n"
				   "fe80::zz b\n2001:db8::5 a.example\n"
				   "nonsense a\n10.2.2.2 last";
	char out[256];

	(void)state;
	assert_int_equal(resolve_hosts(text, strlen(text), "a.example", out,
			     sizeof(out)),
	    2);
	assert_string_equal(out, "10.1.1.1,[2001:db8::5]");
	assert_int_equal(resolve_hosts(text, strlen(text), "b", out,
			     sizeof(out)),
	    0);
	assert_int_equal(resolve_hosts(text, strlen(text), "last", out,
			     sizeof(out)),
	    1);
	assert_int_equal(resolve_hosts("", 0, "x", out, sizeof(out)), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_urls),
		cmocka_unit_test(test_headers),
		cmocka_unit_test(test_hosts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
