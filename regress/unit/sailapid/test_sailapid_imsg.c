/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * Each message of sailapid is read as it was written, and one that is cut
 * anywhere, or has a byte too much, is refused.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "sailapid/sailapid_imsg.h"

static uint8_t sent[PROC_MAX_BODY];
static size_t sent_len;
static uint32_t sent_type;

/* In place of the channel. */
int
chan_send_ibuf(struct chan *c, uint32_t type, uint32_t id, int fd,
    struct ibuf *b)
{
	(void)c;
	(void)id;
	(void)fd;
	sent_type = type;
	sent_len = ibuf_size(b);
	memcpy(sent, ibuf_data(b), sent_len);
	ibuf_free(b);
	return 0;
}

static int
recv_limits(struct ibuf *b)
{
	struct api_config c;

	return api_config_recv(b, &c);
}

static int
recv_s3(struct ibuf *b)
{
	struct s3_config c;

	return s3_config_recv(b, &c);
}

static int
recv_meta(struct ibuf *b)
{
	struct meta_config c;

	return meta_config_recv(b, &c);
}

static int
recv_request(struct ibuf *b)
{
	struct api_request r;

	return api_request_recv(b, &r);
}

static int
recv_response(struct ibuf *b)
{
	struct api_response r;

	return api_response_recv(b, &r);
}

static int
recv_sign(struct ibuf *b)
{
	struct sign_url u[SIGN_URLS_MAX];
	uint16_t n = SIGN_URLS_MAX;

	return sign_urls_recv(b, u, &n);
}

static int
recv_signed(struct ibuf *b)
{
	struct api_str u[SIGN_URLS_MAX];
	uint16_t n = SIGN_URLS_MAX;

	return signed_urls_recv(b, u, &n);
}

static int
recv_tls_limits(struct ibuf *b)
{
	struct tls_limits l;

	return tls_limits_recv(b, &l);
}

static int
recv_tls_listen(struct ibuf *b)
{
	uint8_t service;

	return tls_listen_recv(b, &service);
}

static int
recv_tls_pair(struct ibuf *b)
{
	uint32_t len;

	return tls_pair_recv(b, &len);
}

static int
recv_tls_client(struct ibuf *b)
{
	struct tls_client t;

	return tls_client_recv(b, &t);
}

/* What was sent last, and every wrong length of it. */
static void
expect_exact(uint32_t type, int (*recv)(struct ibuf *))
{
	struct ibuf b;
	size_t len;
	uint8_t *copy;

	assert_int_equal(sent_type, type);
	for (len = 0; len <= sent_len + 1; len++) {
		/* Of its own, so that a sanitizer sees a byte too far. */
		copy = calloc(1, len == 0 ? 1 : len);
		assert_non_null(copy);
		memcpy(copy, sent, len < sent_len ? len : sent_len);
		ibuf_from_buffer(&b, copy, len);
		assert_int_equal(recv(&b), len == sent_len ? 0 : -1);
		free(copy);
	}
}

static void
test_exact(void **state)
{
	struct api_config limits = { 1, 2, 3, 4, 5, 6, 7, (uint64_t)1 << 40,
		9 };
	struct s3_config s3 = { api_str("a"), api_str("b"), api_str("c"),
		api_str(""), api_str("t") };
	struct meta_config meta = { 80, 1, api_str("http://x"), 900, 60 };
	struct api_request req = { API_PUT, 1, api_str("/v1"), api_str("h"),
		api_str("Bearer x"), api_str("127.0.0.1") };
	struct tls_limits tls = { 1, 2, 3, 4, 5 };
	struct tls_client client = { 6, { 1, 2 }, 443 };
	struct api_response res = { 200, API_TYPE_JSON, api_str("{}"), 0 };
	struct sign_url urls[2] = { { API_GET, api_str("http://h"),
					api_str("k"), api_str("q=1"),
					api_str("A:b\n"), 60, 0 },
		{ API_HEAD, api_str("http://h"), api_str("k2"), api_str(""),
		    api_str(""), 1, -SIGN_OFFSET_MAX } };
	struct api_str done[2] = { api_str("http://h/k?x"), api_str("") };

	(void)state;
	assert_int_equal(api_config_send(NULL, IMSG_PARENT_STORE_LIMITS,
			     &limits),
	    0);
	expect_exact(IMSG_PARENT_STORE_LIMITS, recv_limits);
	assert_int_equal(s3_config_send(NULL, IMSG_PARENT_SIGN_CONFIG, &s3), 0);
	expect_exact(IMSG_PARENT_SIGN_CONFIG, recv_s3);
	assert_int_equal(meta_config_send(NULL, &meta), 0);
	expect_exact(IMSG_PARENT_META_CONFIG, recv_meta);
	assert_int_equal(api_request_send(NULL, 1, &req, -1), 0);
	expect_exact(IMSG_API_META_REQUEST, recv_request);
	req.whence = API_METRICS;
	assert_int_equal(api_request_send(NULL, 1, &req, -1), 0);
	expect_exact(IMSG_API_META_REQUEST, recv_request);
	assert_int_equal(api_response_send(NULL, 1, &res, -1), 0);
	expect_exact(IMSG_META_API_RESPONSE, recv_response);
	assert_int_equal(sign_urls_send(NULL, 1, urls, 2), 0);
	expect_exact(IMSG_META_SIGN_URLS, recv_sign);
	assert_int_equal(signed_urls_send(NULL, 1, done, 2), 0);
	expect_exact(IMSG_SIGN_META_URLS, recv_signed);
	assert_int_equal(tls_limits_send(NULL, &tls), 0);
	expect_exact(IMSG_PARENT_TLS_CONFIG, recv_tls_limits);
	assert_int_equal(tls_listen_send(NULL, TLS_FOR_STORE, -1), 0);
	expect_exact(IMSG_PARENT_TLS_LISTEN, recv_tls_listen);
	assert_int_equal(tls_pair_send(NULL, 1000, -1), 0);
	expect_exact(IMSG_PARENT_TLS_PAIR, recv_tls_pair);
	assert_int_equal(tls_client_send(NULL, IMSG_TLS_API_CONNECTION, &client,
			     -1),
	    0);
	assert_int_equal(sent_len, TLS_CLIENT_LEN);
	expect_exact(IMSG_TLS_API_CONNECTION, recv_tls_client);
}

static void
test_values(void **state)
{
	struct sign_url in = { API_PUT, api_str("http://h"), api_str("key"),
		api_str("q=v"), api_str("N:v\n"), 77, -3600 },
			out[SIGN_URLS_MAX];
	struct ibuf b;
	uint16_t n = SIGN_URLS_MAX;

	(void)state;
	assert_int_equal(sign_urls_send(NULL, 1, &in, 1), 0);
	ibuf_from_buffer(&b, sent, sent_len);
	assert_int_equal(sign_urls_recv(&b, out, &n), 0);
	assert_int_equal(n, 1);
	assert_int_equal(out[0].method, API_PUT);
	assert_int_equal(out[0].life_s, 77);
	assert_int_equal(out[0].offset_s, -3600);
	in.offset_s = SIGN_OFFSET_MAX + 1;
	assert_int_equal(sign_urls_send(NULL, 1, &in, 1), 0);
	ibuf_from_buffer(&b, sent, sent_len);
	assert_int_equal(sign_urls_recv(&b, out, &n), -1);
	in.offset_s = 0;
	assert_int_equal(sign_urls_send(NULL, 1, &in, 1), 0);
	ibuf_from_buffer(&b, sent, sent_len);
	n = SIGN_URLS_MAX;
	assert_int_equal(sign_urls_recv(&b, out, &n), 0);
	assert_int_equal(out[0].key.len, 3);
	assert_memory_equal(out[0].key.p, "key", 3);
	assert_int_equal(out[0].query.len, 3);
	assert_memory_equal(out[0].query.p, "q=v", 3);
	assert_memory_equal(out[0].headers.p, "N:v\n", 4);
}

static void
test_refused(void **state)
{
	static char big[API_ANSWER_INLINE + 1];
	struct api_request req = { 0, 0, api_str("/"), api_str(""), api_str(""),
		api_str("") };
	struct tls_client client = { 5, { 0 }, 0 };
	struct api_response res = { 199, API_TYPE_NONE, { big, 0 }, 0 };
	struct sign_url u = { API_GET, api_str("h"), api_str("k"), api_str(""),
		api_str(""), 1, 0 };
	struct ibuf b;
	uint16_t n = 0;

	(void)state;
	assert_int_equal(api_request_send(NULL, 1, &req, -1), 0);
	ibuf_from_buffer(&b, sent, sent_len);
	assert_int_equal(recv_request(&b), -1);
	assert_int_equal(errno, EBADMSG);
	req.method = API_GET;
	req.whence = API_METRICS + 1;
	assert_int_equal(api_request_send(NULL, 1, &req, -1), 0);
	ibuf_from_buffer(&b, sent, sent_len);
	errno = 0;
	assert_int_equal(recv_request(&b), -1);
	assert_int_equal(errno, EBADMSG);
	assert_int_equal(api_response_send(NULL, 1, &res, -1), 0);
	ibuf_from_buffer(&b, sent, sent_len);
	assert_int_equal(recv_response(&b), -1);
	res.status = 200;
	res.body.len = sizeof(big);
	assert_int_equal(api_response_send(NULL, 1, &res, -1), -1);
	assert_int_equal(errno, ERANGE);
	assert_int_equal(sign_urls_send(NULL, 1, &u, 0), -1);
	assert_int_equal(sign_urls_send(NULL, 1, &u, SIGN_URLS_MAX + 1), -1);
	/* No such service, no such family. */
	assert_int_equal(tls_listen_send(NULL, TLS_SERVICES, -1), 0);
	ibuf_from_buffer(&b, sent, sent_len);
	assert_int_equal(recv_tls_listen(&b), -1);
	assert_int_equal(tls_client_send(NULL, IMSG_TLS_API_CONNECTION, &client,
			     -1),
	    0);
	ibuf_from_buffer(&b, sent, sent_len);
	assert_int_equal(recv_tls_client(&b), -1);
	/* More than there is room for. */
	assert_int_equal(sign_urls_send(NULL, 1, &u, 1), 0);
	ibuf_from_buffer(&b, sent, sent_len);
	assert_int_equal(sign_urls_recv(&b, &u, &n), -1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_exact),
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
