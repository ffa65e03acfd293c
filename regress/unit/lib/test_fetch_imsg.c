/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * What is sent of a message of sailvol-fetch is what is received, and a body
 * that is cut, longer or changed is refused or read within its bounds.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <sys/socket.h>
#include <errno.h>
#include <event.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/bytes.h"
#include "lib/fetch_imsg.h"
#include "lib/memfd.h"

static struct chan *out, *in;
static uint8_t body[PROC_MAX_BODY];
static size_t body_len;
static uint32_t body_id;
static int body_fd = -1;
static unsigned int nmessages;

static int
on_message(struct chan *c, uint32_t id, struct imsg *imsg, struct ibuf *b)
{
	(void)c;
	body_id = id;
	body_len = ibuf_size(b);
	if (body_len > 0)
		assert_int_equal(ibuf_get(b, body, body_len), 0);
	if (body_fd != -1)
		close(body_fd);
	body_fd = imsg_get_fd(imsg);
	nmessages++;
	return 0;
}

#define X(name, number, fd)                                         \
	{ IMSG_##name, ROLE_MANIFEST, CHAN_MAYFD, 0, PROC_MAX_BODY, \
		on_message, #name },
static const struct msg_rule rules[] = { FETCH_MESSAGES(X) };
#undef X

static int
setup(void **state)
{
	struct chan_ops ops = { .rules = rules,
		.nrules = sizeof(rules) / sizeof(rules[0]) };
	int sv[2];

	(void)state;
	assert_non_null(event_init());
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
	out = chan_new(sv[0], ROLE_FETCH, 0, PROC_MAX_BODY, &ops, NULL);
	in = chan_new(sv[1], ROLE_MANIFEST, 0, PROC_MAX_BODY, &ops, NULL);
	assert_non_null(out);
	assert_non_null(in);
	return 0;
}

static void
receive(void)
{
	unsigned int before = nmessages, i;

	for (i = 0; i < 1000 && nmessages == before; i++)
		event_loop(EVLOOP_ONCE | EVLOOP_NONBLOCK);
	assert_int_not_equal(nmessages, before);
}

static struct ibuf
view(void)
{
	struct ibuf b;

	ibuf_from_buffer(&b, body, body_len);
	return b;
}

/* Every body of another length is refused. */
#define REFUSES(call)                                              \
	do {                                                       \
		size_t whole = body_len;                           \
		struct ibuf b;                                     \
		for (body_len = 0; body_len < whole; body_len++) { \
			b = view();                                \
			assert_int_equal(call, -1);                \
		}                                                  \
		body[whole] = 0;                                   \
		body_len = whole + 1;                              \
		b = view();                                        \
		assert_int_equal(call, -1);                        \
		body_len = whole;                                  \
	} while (0)

static void
test_api(void **state)
{
	struct fetch_api a = { .method = FETCH_METHOD_PUT,
		.retry = 1,
		.deadline_ms = 70000,
		.max_answer = (uint64_t)1 << 33,
		.target = "/v1/volumes?x=1",
		.target_len = 15,
		.content_type = "application/json",
		.content_type_len = 16 },
			 r;
	struct fetch_api_res s = { .status = 404,
		.type = 1,
		.skew_ms = -12345,
		.what = "why",
		.what_len = 3 },
			     q;
	struct ibuf v;

	(void)state;
	assert_int_equal(fetch_api_send(out, 7, &a, memfd_new("b", "body", 4)),
	    0);
	receive();
	assert_int_equal(body_id, 7);
	assert_int_not_equal(body_fd, -1);
	v = view();
	assert_int_equal(fetch_api_recv(&v, &r), 0);
	assert_int_equal(r.method, a.method);
	assert_int_equal(r.retry, 1);
	assert_int_equal(r.deadline_ms, 70000);
	assert_true(r.max_answer == a.max_answer);
	assert_int_equal(r.target_len, 15);
	assert_memory_equal(r.target, a.target, 15);
	assert_int_equal(r.content_type_len, 16);
	REFUSES(fetch_api_recv(&b, &r));
	body[0] = 5;
	v = view();
	assert_int_equal(fetch_api_recv(&v, &r), -1);
	assert_int_equal(fetch_api_res_send(out, 8, &s, -1), 0);
	receive();
	v = view();
	assert_int_equal(fetch_api_res_recv(&v, &q), 0);
	assert_int_equal(q.status, 404);
	assert_true(q.skew_ms == -12345);
	assert_memory_equal(q.what, "why", 3);
	REFUSES(fetch_api_res_recv(&b, &q));
}

static void
test_hash(void **state)
{
	struct fetch_hash_res s = { .error = 5,
		.size = (uint64_t)1 << 40,
		.ctime = { -3, 999999999 },
		.before = { (int64_t)1 << 40, 1 },
		.changed = 1 },
			      r;
	struct ibuf v;
	uint64_t size;
	uint32_t error;
	uint8_t shift;

	(void)state;
	assert_int_equal(fetch_hash_send(out, 1, 25, dup(0)), 0);
	receive();
	v = view();
	assert_int_equal(fetch_hash_recv(&v, &shift), 0);
	assert_int_equal(shift, 25);
	REFUSES(fetch_hash_recv(&b, &shift));
	assert_int_equal(fetch_hash_res_send(out, 1, &s, -1), 0);
	receive();
	v = view();
	assert_int_equal(fetch_hash_res_recv(&v, &r), 0);
	assert_true(r.size == s.size);
	assert_int_equal(timens_cmp(r.ctime, s.ctime), 0);
	assert_int_equal(timens_cmp(r.before, s.before), 0);
	REFUSES(fetch_hash_res_recv(&b, &r));
	assert_int_equal(fetch_verify_send(out, 2, 99, memfd_new("l", "x", 1),
			     dup(0)),
	    0);
	receive();
	if (body_len == 0)
		receive();
	v = view();
	assert_int_equal(fetch_verify_recv(&v, &size), 0);
	assert_true(size == 99);
	REFUSES(fetch_verify_recv(&b, &size));
	assert_int_equal(fetch_verify_res_send(out, 2, 74), 0);
	receive();
	v = view();
	assert_int_equal(fetch_verify_res_recv(&v, &error), 0);
	assert_int_equal(error, 74);
	REFUSES(fetch_verify_res_recv(&b, &error));
}

static void
test_upload(void **state)
{
	struct fetch_upload_chunk c[3], *d;
	struct fetch_upload_res s = { .error = 2, .what = "no", .what_len = 2 },
				r;
	struct memfd_view m;
	struct fetch_upload u;
	struct ibuf v;
	uint8_t copy[4 + 3 * FETCH_UPLOAD_CHUNK_LEN];
	uint64_t done, sent;
	uint32_t n, file;
	size_t len;

	(void)state;
	memset(c, 0, sizeof(c));
	for (n = 0; n < 3; n++) {
		c[n].file = n;
		c[n].offset = (uint64_t)n << 40;
		c[n].bytes = FETCH_CHUNK_MAX - n;
		c[n].hash.b[0] = (uint8_t)n;
	}
	assert_int_equal(fetch_upload_file_send(out, 3, 255, dup(0)), 0);
	receive();
	v = view();
	assert_int_equal(fetch_upload_file_recv(&v, &file), 0);
	assert_int_equal(file, 255);
	REFUSES(fetch_upload_file_recv(&b, &file));
	body[2] = 1; /* 256 files are 0 to 255 */
	v = view();
	assert_int_equal(fetch_upload_file_recv(&v, &file), -1);
	assert_int_equal(fetch_upload_send(out, 3, "vol_1", "aa", c, 3), 0);
	receive();
	v = view();
	assert_int_equal(fetch_upload_recv(&v, &u), 0);
	assert_memory_equal(u.volume, "vol_1", 5);
	REFUSES(fetch_upload_recv(&b, &u));
	assert_int_equal(memfd_map(body_fd, 1 << 20, &m), 0);
	assert_int_equal(m.len, sizeof(copy));
	assert_int_equal(fetch_upload_list_decode(m.data, m.len, &d, &n), 0);
	assert_int_equal(n, 3);
	assert_true(d[2].offset == c[2].offset);
	assert_int_equal(d[2].bytes, c[2].bytes);
	free(d);
	memcpy(copy, m.data, m.len);
	memfd_unmap(&m);
	for (len = 0; len < sizeof(copy); len++)
		assert_int_equal(fetch_upload_list_decode(copy, len, &d, &n),
		    -1);
	copy[0] = 2; /* count and length differ */
	assert_int_equal(fetch_upload_list_decode(copy, sizeof(copy), &d, &n),
	    -1);
	copy[0] = 3;
	copy[5] = 1; /* file 256 */
	assert_int_equal(fetch_upload_list_decode(copy, sizeof(copy), &d, &n),
	    -1);
	assert_int_equal(fetch_upload_send(out, 3, "v", "a", c, 5000), -1);
	assert_int_equal(fetch_upload_res_send(out, 3, &s, -1), 0);
	receive();
	v = view();
	assert_int_equal(fetch_upload_res_recv(&v, &r), 0);
	REFUSES(fetch_upload_res_recv(&b, &r));
	assert_int_equal(fetch_upload_progress_send(out, 3, 1, 2, 3), 0);
	receive();
	v = view();
	assert_int_equal(fetch_upload_progress_recv(&v, &n, &done, &sent), 0);
	assert_true(n == 1 && done == 2 && sent == 3);
	REFUSES(fetch_upload_progress_recv(&b, &n, &done, &sent));
}

static void
test_get(void **state)
{
	static struct fetch_get g, r;
	const char *what;
	struct ibuf v;
	uint64_t slot;
	uint32_t error;
	size_t len, i;

	(void)state;
	g.volume = "vol_2";
	g.volume_len = 5;
	g.path = (const uint8_t *)"a/b";
	g.path_len = 3;
	g.shift = 23;
	g.n = FETCH_GET_MAX;
	for (i = 0; i < FETCH_GET_MAX; i++) {
		g.chunks[i].slot = i * 3;
		g.chunks[i].bytes = 1 << 23;
		g.chunks[i].hash.b[5] = (uint8_t)i;
	}
	assert_int_equal(fetch_get_send(out, 4, &g, dup(0)), 0);
	receive();
	v = view();
	assert_int_equal(fetch_get_recv(&v, &r), 0);
	assert_int_equal(r.n, FETCH_GET_MAX);
	assert_memory_equal(r.path, "a/b", 3);
	for (i = 0; i < FETCH_GET_MAX; i++) {
		assert_true(r.chunks[i].slot == i * 3);
		assert_int_equal(hash_cmp(&r.chunks[i].hash, &g.chunks[i].hash),
		    0);
	}
	REFUSES(fetch_get_recv(&b, &r));
	g.n = 2;
	g.chunks[1].slot = 0; /* not ascending */
	assert_int_equal(fetch_get_send(out, 4, &g, dup(0)), 0);
	receive();
	v = view();
	assert_int_equal(fetch_get_recv(&v, &r), -1);
	g.chunks[1].slot = 1;
	g.chunks[1].bytes = (1 << 23) + 1;
	assert_int_equal(fetch_get_send(out, 4, &g, dup(0)), 0);
	receive();
	v = view();
	assert_int_equal(fetch_get_recv(&v, &r), -1);
	g.chunks[1].bytes = 1;
	g.chunks[1].slot = UINT64_MAX - 1;
	assert_int_equal(fetch_get_send(out, 4, &g, dup(0)), 0);
	receive();
	v = view();
	assert_int_equal(fetch_get_recv(&v, &r), -1);
	g.chunks[1].slot = 1;
	g.path = (const uint8_t *)"../b";
	g.path_len = 4;
	assert_int_equal(fetch_get_send(out, 4, &g, dup(0)), 0);
	receive();
	v = view();
	assert_int_equal(fetch_get_recv(&v, &r), -1);
	assert_int_equal(fetch_get_done_send(out, 4, 77), 0);
	receive();
	v = view();
	assert_int_equal(fetch_get_done_recv(&v, &slot), 0);
	assert_true(slot == 77);
	REFUSES(fetch_get_done_recv(&b, &slot));
	assert_int_equal(fetch_get_res_send(out, 4, 5, "why"), 0);
	receive();
	v = view();
	assert_int_equal(fetch_get_res_recv(&v, &error, &what, &len), 0);
	assert_int_equal(error, 5);
	assert_memory_equal(what, "why", 3);
	REFUSES(fetch_get_res_recv(&b, &error, &what, &len));
}

static void
test_url(void **state)
{
	struct fetch_url u = { .method = FETCH_METHOD_HEAD,
		.url = "https://x/",
		.url_len = 10,
		.length = 9,
		.verify = 1 },
			 r;
	struct fetch_settings s = { .url = "https://a",
		.url_len = 9,
		.key = "sk_x",
		.key_len = 4,
		.concurrency = 3,
		.deadline_ms = 4 },
			      q;
	struct ibuf v;
	uint32_t id;
	uint16_t status;
	uint8_t equal;

	(void)state;
	assert_int_equal(fetch_url_send(out, 5, &u), 0);
	receive();
	v = view();
	assert_int_equal(fetch_url_recv(&v, &r), 0);
	assert_memory_equal(r.url, u.url, 10);
	REFUSES(fetch_url_recv(&b, &r));
	body[0] = FETCH_METHOD_PUT;
	v = view();
	assert_int_equal(fetch_url_recv(&v, &r), -1);
	assert_int_equal(fetch_url_res_send(out, 5, 200, 1, "x"), 0);
	receive();
	v = view();
	assert_int_equal(fetch_url_res_recv(&v, &status, &equal), 0);
	assert_int_equal(status, 200);
	REFUSES(fetch_url_res_recv(&b, &status, &equal));
	assert_int_equal(fetch_cancel_send(out, 6), 0);
	receive();
	v = view();
	assert_int_equal(fetch_cancel_recv(&v, &id), 0);
	assert_int_equal(id, 6);
	REFUSES(fetch_cancel_recv(&b, &id));
	assert_int_equal(fetch_settings_send(out, &s), 0);
	receive();
	v = view();
	assert_int_equal(fetch_settings_recv(&v, &q), 0);
	assert_int_equal(q.concurrency, 3);
	assert_memory_equal(q.key, "sk_x", 4);
	REFUSES(fetch_settings_recv(&b, &q));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_api),
		cmocka_unit_test(test_hash),
		cmocka_unit_test(test_upload),
		cmocka_unit_test(test_get),
		cmocka_unit_test(test_url),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
