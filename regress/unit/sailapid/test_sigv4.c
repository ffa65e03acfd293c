/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * Signatures are those of AWS's published examples, a presigned URL is
 * accepted as it is, and every single change of it is refused.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "sailapid/sigv4.h"

/* The examples of "Authenticating Requests" in the S3 API reference. */
static const struct sigv4_keys aws = { "AKIAIOSFODNN7EXAMPLE",
	"wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "us-east-1", NULL };
#define EMPTY "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define HOST "examplebucket.s3.amazonaws.com"
#define DAY "20130524T000000Z"

static void
expect_signature(const struct sigv4_request *r, const char *names,
    const char *payload, const char *want)
{
	char sig[SIGV4_SIGNATURE_LEN + 1];
	struct wbuf w;

	wbuf_init(&w, SIGV4_CANONICAL_MAX);
	assert_int_equal(sigv4_canonical(&w, r, names, payload), 0);
	assert_int_equal(sigv4_signature(&aws, DAY, w.data, w.len, sig), 0);
	assert_string_equal(sig, want);
	wbuf_free(&w);
}

static void
test_published(void **state)
{
	static const struct sigv4_header get[] = { { "Host", HOST },
		{ "Range", "bytes=0-9" }, { "x-amz-content-sha256", EMPTY },
		{ "X-Amz-Date", DAY } };
	static const struct sigv4_header put[] = {
		{ "date", "Fri, 24 May 2013 00:00:00 GMT" }, { "host", HOST },
		{ "x-amz-content-sha256",
		    "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803"
		    "f8b072" },
		{ "x-amz-date", DAY },
		{ "x-amz-storage-class", "REDUCED_REDUNDANCY" }
	};
	struct sigv4_request r = { "GET", "/test.txt", get, 4 };

	(void)state;
	expect_signature(&r, "host;range;x-amz-content-sha256;x-amz-date",
	    EMPTY,
	    "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41");
	r.method = "PUT";
	r.target = "/test%24file.text";
	r.headers = put;
	r.nheaders = 5;
	expect_signature(&r,
	    "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
	    put[2].value,
	    "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd");
	/* Not escaped by the client, the same. */
	r.target = "/test$file.text";
	expect_signature(&r,
	    "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
	    put[2].value,
	    "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd");
	r.method = "GET";
	r.headers = get;
	r.nheaders = 4;
	r.target = "/?lifecycle";
	expect_signature(&r, "host;x-amz-content-sha256;x-amz-date", EMPTY,
	    "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543");
	r.target = "/?prefix=J&max-keys=2";
	expect_signature(&r, "host;x-amz-content-sha256;x-amz-date", EMPTY,
	    "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7");
}

static void
test_published_url(void **state)
{
	static const char want[] =
	    "https://" HOST "/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256"
	    "&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3"
	    "%2Faws4_request&X-Amz-Date=" DAY "&X-Amz-Expires=86400"
	    "&X-Amz-SignedHeaders=host&X-Amz-Signature="
	    "aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404";
	struct wbuf w;
	int64_t t;

	(void)state;
	assert_int_equal(sigv4_date_parse(DAY, 16, &t), 0);
	assert_int_equal(t, 1369353600);
	wbuf_init(&w, 4096);
	assert_int_equal(sigv4_presign(&w, &aws, "GET", "https://" HOST,
			     "/test.txt", NULL, 0, t, 86400),
	    0);
	wbuf_u8(&w, 0);
	assert_string_equal((char *)w.data, want);
	wbuf_free(&w);
}

/* It is signed, as a parameter of its own, and what is signed with another is
   not the same. */
static void
test_token(void **state)
{
	static const char param[] = "&X-Amz-Security-Token=a%2F%2B%3D&";
	struct sigv4_keys k = aws;
	struct wbuf with, other, none;

	(void)state;
	wbuf_init(&with, 4096);
	wbuf_init(&other, 4096);
	wbuf_init(&none, 4096);
	k.token = "a/+=";
	assert_int_equal(sigv4_presign(&with, &k, "GET", "https://" HOST,
			     "/test.txt", NULL, 0, 1369353600, 86400),
	    0);
	k.token = "a/+-";
	assert_int_equal(sigv4_presign(&other, &k, "GET", "https://" HOST,
			     "/test.txt", NULL, 0, 1369353600, 86400),
	    0);
	k.token = "";
	assert_int_equal(sigv4_presign(&none, &k, "GET", "https://" HOST,
			     "/test.txt", NULL, 0, 1369353600, 86400),
	    0);
	assert_non_null(memmem(with.data, with.len, param, strlen(param)));
	assert_null(memmem(none.data, none.len, "Token", 5));
	assert_memory_not_equal(with.data + with.len - SIGV4_SIGNATURE_LEN,
	    other.data + other.len - SIGV4_SIGNATURE_LEN, SIGV4_SIGNATURE_LEN);
	assert_memory_not_equal(with.data + with.len - SIGV4_SIGNATURE_LEN,
	    none.data + none.len - SIGV4_SIGNATURE_LEN, SIGV4_SIGNATURE_LEN);
	wbuf_free(&with);
	wbuf_free(&other);
	wbuf_free(&none);
}

static void
test_dates(void **state)
{
	static const char *bad[] = { "20130431T000000Z", "20130229T000000Z",
		"20131301T000000Z", "19691231T235959Z", "20130524T240000Z",
		"20130524 000000Z", "20130524T00000Z", "2013052xT000000Z" };
	char s[SIGV4_DATE_LEN + 1];
	int64_t t, back;
	size_t i;

	(void)state;
	for (t = 0; t < 253402300799LL; t += 86400 * 9 + 3607) {
		sigv4_date(t, s);
		assert_int_equal(sigv4_date_parse(s, strlen(s), &back), 0);
		assert_int_equal(back, t);
	}
	sigv4_date(951825600, s);
	assert_string_equal(s, "20000229T120000Z");
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(sigv4_date_parse(bad[i], strlen(bad[i]), &t),
		    -1);
}

/* ---- verification -------------------------------------------------------- */

static char url[4096];
static const char *target; /* in url */
static const int64_t now = 1369353600;
static const struct sigv4_header put_headers[] = {
	{ "Host", "h:80" },
	{ "Content-Length", "3" },
	{ "x-amz-content-sha256", EMPTY },
	{ "If-None-Match", "*" },
	{ "X-Other", "not signed" },
};

/* A page of the bucket behind any key: signed as it stands, and no other. */
static void
test_list_query(void **state)
{
	static const char *const keys[] = { "a", "%+&=?#/ \t\x7f",
		"\xc3\xa9~-._", "\n\x01", "%2F" };
	static const char *const bad[] = { "a=b c", "a=b#", "a=?b", "a=/",
		"a=\xc3", "a=b\n" };
	static const char base[] = "list-type=2&encoding-type=url&start-after=";
	struct sigv4_header host = { "host", "h:80" };
	struct sigv4_request r = { "GET", NULL, &host, 1 };
	struct sigv4_result res;
	struct wbuf q, w;
	char *at;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		wbuf_init(&q, 4096);
		wbuf_init(&w, 4096);
		wbuf_bytes(&q, base, strlen(base));
		sigv4_encode(&q, keys[i], strlen(keys[i]), 0);
		wbuf_u8(&q, 0);
		assert_int_equal(sigv4_presign_query(&w, &aws, "GET",
				     "http://h:80", i % 2 == 0 ? "/sail" : "/",
				     (char *)q.data, NULL, 0, 1369353600, 60),
		    0);
		wbuf_u8(&w, 0);
		assert_int_equal(w.error, 0);
		r.target = (char *)w.data + strlen("http://h:80");
		assert_int_equal(sigv4_verify(&r, &aws, 1369353601, &res),
		    SIGV4_OK);
		/* Another key, another kind of question. */
		at = strstr((char *)w.data, "start-after=");
		assert_non_null(at);
		at[strlen("start-after=")] ^= 1;
		assert_int_not_equal(sigv4_verify(&r, &aws, 1369353601, &res),
		    SIGV4_OK);
		wbuf_free(&q);
		wbuf_free(&w);
	}
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		wbuf_init(&w, 4096);
		assert_int_equal(sigv4_presign_query(&w, &aws, "GET",
				     "http://h:80", "/sail", bad[i], NULL, 0,
				     1369353600, 60),
		    -1);
		assert_int_equal(errno, EINVAL);
		wbuf_free(&w);
	}
}

static void
make_url(void)
{
	struct wbuf w;

	wbuf_init(&w, sizeof(url) - 1);
	assert_int_equal(sigv4_presign(&w, &aws, "PUT", "http://h:80",
			     "/sail/a b/\xc3\xa9+", put_headers + 1, 3, now,
			     100),
	    0);
	memcpy(url, w.data, w.len);
	url[w.len] = '\0';
	target = url + strlen("http://h:80");
	wbuf_free(&w);
}

static enum sigv4_verdict
verify(const char *method, const char *t, const struct sigv4_header *h,
    size_t n, int64_t at, const struct sigv4_keys *k)
{
	struct sigv4_request r = { method, t, h, n };
	struct sigv4_result res;

	return sigv4_verify(&r, k, at, &res);
}

static void
test_verify(void **state)
{
	static const struct sigv4_keys other = { "AKIAIOSFODNN7EXAMPLE", "x",
		"us-east-1", NULL };
	static const struct sigv4_keys unknown = { "AKIA", "x", "us-east-1",
		NULL };
	struct sigv4_request r = { "PUT", NULL, put_headers, 5 };
	struct sigv4_header h[6];
	struct sigv4_result res;

	(void)state;
	make_url();
	r.target = target;
	assert_int_equal(sigv4_verify(&r, &aws, now, &res), SIGV4_OK);
	assert_int_equal(res.in_query, 1);
	assert_string_equal(res.payload, EMPTY);
#define V(m, t, hh, n, at, k) verify(m, t, hh, n, at, k)
	assert_int_equal(V("PUT", target, put_headers, 5, now + 100, &aws),
	    SIGV4_OK);
	assert_int_equal(V("PUT", target, put_headers, 5, now + 101, &aws),
	    SIGV4_EXPIRED);
	assert_int_equal(V("PUT", target, put_headers, 5, now - 900, &aws),
	    SIGV4_OK);
	assert_int_equal(V("PUT", target, put_headers, 5, now - 901, &aws),
	    SIGV4_SKEWED);
	assert_int_equal(V("GET", target, put_headers, 5, now, &aws),
	    SIGV4_MISMATCH);
	assert_int_equal(V("PUT", target, put_headers, 5, now, &other),
	    SIGV4_MISMATCH);
	assert_int_equal(V("PUT", target, put_headers, 5, now, &unknown),
	    SIGV4_KEY);
	assert_int_equal(V("PUT", target, put_headers, 3, now, &aws),
	    SIGV4_HEADER);
	assert_int_equal(V("PUT", "/sail/x", put_headers, 5, now, &aws),
	    SIGV4_NONE);
	memcpy(h, put_headers, sizeof(put_headers));
	h[1].value = "4";
	assert_int_equal(V("PUT", target, h, 5, now, &aws), SIGV4_MISMATCH);
	h[1].value = " 3 ";
	assert_int_equal(V("PUT", target, h, 5, now, &aws), SIGV4_OK);
	h[5].name = "content-length";
	h[5].value = "3";
	assert_int_equal(V("PUT", target, h, 6, now, &aws), SIGV4_HEADER);
}

/* Every byte of the URL counts. */
static void
test_every_byte(void **state)
{
	char t[4096];
	size_t i, len;

	(void)state;
	make_url();
	len = strlen(target);
	for (i = 0; i < len; i++) {
		strlcpy(t, target, sizeof(t));
		/* The case of the digits of an escape means nothing. */
		t[i] = t[i] == 'x' ? 'y' : 'x';
		assert_int_not_equal(verify("PUT", t, put_headers, 5, now,
					 &aws),
		    SIGV4_OK);
		strlcpy(t, target, sizeof(t));
		t[i] = '\0';
		assert_int_not_equal(verify("PUT", t, put_headers, 5, now,
					 &aws),
		    SIGV4_OK);
	}
	strlcpy(t, target, sizeof(t));
	strlcat(t, "&a=b", sizeof(t));
	assert_int_equal(verify("PUT", t, put_headers, 5, now, &aws),
	    SIGV4_MISMATCH);
	strlcpy(t, target, sizeof(t));
	strlcat(t, "&X-Amz-Expires=100", sizeof(t));
	assert_int_equal(verify("PUT", t, put_headers, 5, now, &aws),
	    SIGV4_MALFORMED);
}

static void
test_header(void **state)
{
	char auth[512];
	struct sigv4_header h[] = { { "host", HOST }, { "range", "bytes=0-9" },
		{ "x-amz-content-sha256", EMPTY }, { "x-amz-date", DAY },
		{ "Authorization", auth } };
	static const char fmt[] =
	    "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/"
	    "us-east-1/s3/aws4_request,SignedHeaders=host;range;"
	    "x-amz-content-sha256;x-amz-date, Signature=";

	(void)state;
	snprintf(auth, sizeof(auth), "%s%s", fmt,
	    "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41");
	assert_int_equal(verify("GET", "/test.txt", h, 5, now, &aws), SIGV4_OK);
	assert_int_equal(verify("GET", "/test.txt", h, 5, now + 901, &aws),
	    SIGV4_SKEWED);
	assert_int_equal(verify("GET", "/test.txt", h, 5, now - 901, &aws),
	    SIGV4_SKEWED);
	h[1].value = "bytes=0-8";
	assert_int_equal(verify("GET", "/test.txt", h, 5, now, &aws),
	    SIGV4_MISMATCH);
	h[1].value = "bytes=0-9";
	h[2].name = "x";
	assert_int_equal(verify("GET", "/test.txt", h, 5, now, &aws),
	    SIGV4_HEADER);
	strlcpy(auth, "Basic abc", sizeof(auth));
	assert_int_equal(verify("GET", "/test.txt", h, 5, now, &aws),
	    SIGV4_MALFORMED);
}

static void
test_presign_refuses(void **state)
{
	static const struct sigv4_header bad[] = { { "a b", "x" },
		{ "a", "x\ny" }, { "", "x" }, { "host", "twice" } };
	struct wbuf w;
	size_t i;

	(void)state;
	wbuf_init(&w, 4096);
	for (i = 0; i < 4; i++) {
		errno = 0;
		assert_int_equal(sigv4_presign(&w, &aws, "GET", "http://h",
				     "/k", &bad[i], 1, now, 10),
		    -1);
		assert_int_equal(errno, EINVAL);
	}
	assert_int_equal(sigv4_presign(&w, &aws, "GET", "h", "/k", NULL, 0, now,
			     10),
	    -1);
	assert_int_equal(sigv4_presign(&w, &aws, "GET", "http://h/x", "/k",
			     NULL, 0, now, 10),
	    -1);
	assert_int_equal(sigv4_presign(&w, &aws, "GET", "http://h", "k", NULL,
			     0, now, 10),
	    -1);
	assert_int_equal(sigv4_presign(&w, &aws, "GET", "http://h", "/k", NULL,
			     0, now, 0),
	    -1);
	assert_int_equal(sigv4_presign(&w, &aws, "GET", "http://h", "/k", NULL,
			     0, now, 604801),
	    -1);
	assert_int_equal(w.len, 0);
	wbuf_free(&w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_published),
		cmocka_unit_test(test_published_url),
		cmocka_unit_test(test_token),
		cmocka_unit_test(test_list_query),
		cmocka_unit_test(test_dates),
		cmocka_unit_test(test_verify),
		cmocka_unit_test(test_every_byte),
		cmocka_unit_test(test_header),
		cmocka_unit_test(test_presign_refuses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
