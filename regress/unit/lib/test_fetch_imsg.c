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
		.dated = 1,
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
	assert_int_equal(q.dated, 1);
	assert_int_equal(q.untrusted, 0);
	assert_int_equal(q.repeated, 0);
	assert_memory_equal(q.what, "why", 3);
	REFUSES(fetch_api_res_recv(&b, &q));
	body[3] = 3; /* an answer of who is not trusted */
	v = view();
	assert_int_equal(fetch_api_res_recv(&v, &q), -1);
	s.status = 0;
	s.dated = 0;
	s.untrusted = 1;
	s.repeated = 1;
	assert_int_equal(fetch_api_res_send(out, 8, &s, -1), 0);
	receive();
	v = view();
	assert_int_equal(fetch_api_res_recv(&v, &q), 0);
	assert_int_equal(q.dated, 0);
	assert_int_equal(q.untrusted, 1);
	assert_int_equal(q.repeated, 1);
	body[3] = 8;
	v = view();
	assert_int_equal(fetch_api_res_recv(&v, &q), -1);
}

static void
test_hash(void **state)
{
	struct fetch_hash_res s = { .error = 5,
		.size = (uint64_t)1 << 40,
		.ctime = { -3, 999999999 },
		.before = { (int64_t)1 << 40, 1 },
		.changed = 1,
		.kept = 1,
		.list = (const uint8_t *)"list",
		.list_len = 4 },
			      r;
	struct hash h = { .b = { 1, 2, 3 } }, got;
	struct ibuf v;
	uint32_t error, bytes;
	uint8_t shift, keep;

	(void)state;
	assert_int_equal(fetch_hash_send(out, 1, 25, 1, dup(0)), 0);
	receive();
	v = view();
	assert_int_equal(fetch_hash_recv(&v, &shift, &keep), 0);
	assert_int_equal(shift, 25);
	assert_int_equal(keep, 1);
	REFUSES(fetch_hash_recv(&b, &shift, &keep));
	assert_int_equal(fetch_hash_res_send(out, 1, &s, -1), 0);
	receive();
	v = view();
	assert_int_equal(fetch_hash_res_recv(&v, &r), 0);
	assert_true(r.size == s.size);
	assert_int_equal(timens_cmp(r.ctime, s.ctime), 0);
	assert_int_equal(timens_cmp(r.before, s.before), 0);
	assert_int_equal(r.kept, 1);
	assert_int_equal(r.list_len, 4);
	assert_memory_equal(r.list, "list", 4);
	REFUSES(fetch_hash_res_recv(&b, &r));
	assert_int_equal(fetch_verify_send(out, 2, 99, &h, dup(0)), 0);
	receive();
	v = view();
	assert_int_equal(fetch_verify_recv(&v, &bytes, &got), 0);
	assert_int_equal(bytes, 99);
	assert_int_equal(hash_cmp(&h, &got), 0);
	REFUSES(fetch_verify_recv(&b, &bytes, &got));
	assert_int_equal(fetch_verify_send(out, 2, 0, &h, dup(0)), 0);
	receive();
	v = view();
	assert_int_equal(fetch_verify_recv(&v, &bytes, &got), -1);
	assert_int_equal(fetch_verify_res_send(out, 2, 74), 0);
	receive();
	v = view();
	assert_int_equal(fetch_verify_res_recv(&v, &error), 0);
	assert_int_equal(error, 74);
	REFUSES(fetch_verify_res_recv(&b, &error));
}

static void
test_hash_chunks(void **state)
{
	/* Two of 8 MiB and one byte, with a hole between them. */
	static const struct fetch_hash_chunks good = {
		.size = ((uint64_t)3 << 23) + 1,
		.shift = 23,
		.n = 3,
		.chunks = { { .slot = 0, .hash = { .b = { 1 } } },
		    { .slot = 2, .hash = { .b = { 2 } } },
		    { .slot = 3, .hash = { .b = { 3 } } } }
	};
	static struct fetch_hash_chunks s, r;
	struct ibuf v;
	int i;

	(void)state;
	assert_int_equal(fetch_hash_chunks_send(out, 1, &good), 0);
	receive();
	v = view();
	assert_int_equal(fetch_hash_chunks_recv(&v, &r), 0);
	assert_true(r.size == good.size && r.shift == 23 && r.n == 3);
	assert_int_equal(r.chunks[1].slot, 2);
	assert_int_equal(r.chunks[1].bytes, 1 << 23);
	assert_int_equal(r.chunks[2].bytes, 1);
	assert_int_equal(hash_cmp(&r.chunks[2].hash, &good.chunks[2].hash), 0);
	REFUSES(fetch_hash_chunks_recv(&b, &r));
	for (i = 0; i < 8; i++) {
		s = good;
		if (i == 0)
			s.n = 0;
		else if (i == 1)
			s.size = ((uint64_t)3 << 23); /* none is in slot 3 */
		else if (i == 2)
			s.shift = 22;
		else if (i == 3)
			s.shift = 27;
		else if (i == 4)
			s.chunks[1].slot = 0; /* twice */
		else if (i == 5)
			s.chunks[2].slot = 1; /* backwards */
		else if (i == 6)
			s.chunks[2].slot = UINT64_MAX;
		else
			s.chunks[0].hash.b[0] = 0; /* a hole has no hash */
		assert_int_equal(fetch_hash_chunks_send(out, 1, &s), 0);
		receive();
		v = view();
		assert_int_equal(fetch_hash_chunks_recv(&v, &r), -1);
	}
}

/* Who refused says so with an error; what is too long is left out. */
static void
test_upload_refusal(void **state)
{
	struct fetch_upload_res s = { .error = 2, .what = "no", .what_len = 2 },
				r;
	struct ibuf v;
	uint32_t n;

	(void)state;
	s.status = 401;
	s.refusal = "{}";
	s.refusal_len = 2;
	assert_int_equal(fetch_upload_res_send(out, 3, &s, -1), 0);
	receive();
	v = view();
	assert_int_equal(fetch_upload_res_recv(&v, &r), 0);
	assert_int_equal(r.status, 401);
	assert_int_equal(r.refusal_len, 2);
	assert_memory_equal(r.refusal, "{}", 2);
	REFUSES(fetch_upload_res_recv(&b, &r));
	s.refusal_len = FETCH_REFUSAL_MAX + 1;
	assert_int_equal(fetch_upload_res_send(out, 3, &s, -1), 0);
	receive();
	v = view();
	assert_int_equal(fetch_upload_res_recv(&v, &r), 0);
	assert_int_equal(r.refusal_len, 0);
	for (n = 0; n < 4; n++) {
		s.status = n == 0 ? 0 : n == 1 ? 399 : n == 2 ? 500 : 404;
		s.error = n != 3;
		s.refusal_len = n == 0;
		assert_int_equal(fetch_upload_res_send(out, 3, &s, -1), 0);
		receive();
		v = view();
		assert_int_equal(fetch_upload_res_recv(&v, &r), -1);
	}
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
	assert_int_equal(fetch_hash_progress_send(out, 3, 7), 0);
	receive();
	v = view();
	assert_int_equal(fetch_hash_progress_recv(&v, &done), 0);
	assert_int_equal(done, 7);
	REFUSES(fetch_hash_progress_recv(&b, &done));
	assert_int_equal(fetch_upload_progress_send(out, 3, 1, 2, 3), 0);
	receive();
	v = view();
	assert_int_equal(fetch_upload_progress_recv(&v, &n, &done, &sent), 0);
	assert_true(n == 1 && done == 2 && sent == 3);
	REFUSES(fetch_upload_progress_recv(&b, &n, &done, &sent));
}

static void
bundle_is(struct fetch_bundle *u, int rc)
{
	static struct fetch_bundle r;
	struct ibuf v;

	assert_int_equal(fetch_bundle_send(out, IMSG_FETCH_GET_BUNDLE, 5, u,
			     dup(0)),
	    0);
	receive();
	v = view();
	assert_int_equal(fetch_bundle_recv(&v, &r), rc);
	if (rc == 0) {
		assert_int_equal(r.n, u->n);
		assert_memory_equal(r.chunks, u->chunks,
		    u->n * sizeof(u->chunks[0]));
	}
}

static void
test_bundle(void **state)
{
	static struct fetch_bundle u, r;
	struct fetch_bundle_chunk *k = &u.chunks[1];
	uint16_t i;

	(void)state;
	for (i = 0; i < FETCH_BUNDLE_MAX; i++) {
		u.chunks[i].hash.b[3] = (uint8_t)i;
		u.chunks[i].offset = i * 4096u;
		u.chunks[i].bytes = 4000;
	}
	u.n = FETCH_BUNDLE_MAX;
	bundle_is(&u, 0);
	u.n = 2;
	bundle_is(&u, 0);
	REFUSES(fetch_bundle_recv(&b, &r));
	k->bytes = 0;
	bundle_is(&u, -1);
	k->bytes = FETCH_BUNDLE_CHUNK;
	bundle_is(&u, -1);
	k->bytes = 5000;
	k->offset = FETCH_BUNDLE_BYTES - 5000;
	bundle_is(&u, 0);
	k->offset++;
	bundle_is(&u, -1);
	k->offset = UINT32_MAX;
	bundle_is(&u, -1);
	u.n = 0;
	bundle_is(&u, -1);
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
	g.budget = 77;
	g.n = FETCH_GET_MAX;
	for (i = 0; i < FETCH_GET_MAX; i++) {
		g.chunks[i].slot = i * 3;
		g.chunks[i].bytes = 1 << 23;
		g.chunks[i].hash.b[5] = (uint8_t)i;
	}
	assert_int_equal(fetch_get_send(out, 4, &g), 0);
	receive();
	v = view();
	assert_int_equal(fetch_get_recv(&v, &r), 0);
	assert_int_equal(r.n, FETCH_GET_MAX);
	assert_int_equal(r.budget, 77);
	assert_memory_equal(r.path, "a/b", 3);
	for (i = 0; i < FETCH_GET_MAX; i++) {
		assert_true(r.chunks[i].slot == i * 3);
		assert_int_equal(hash_cmp(&r.chunks[i].hash, &g.chunks[i].hash),
		    0);
	}
	REFUSES(fetch_get_recv(&b, &r));
	g.n = 2;
	g.chunks[1].slot = 0; /* not ascending */
	assert_int_equal(fetch_get_send(out, 4, &g), 0);
	receive();
	v = view();
	assert_int_equal(fetch_get_recv(&v, &r), -1);
	g.chunks[1].slot = 1;
	g.chunks[1].bytes = FETCH_CHUNK_MAX + 1;
	assert_int_equal(fetch_get_send(out, 4, &g), 0);
	receive();
	v = view();
	assert_int_equal(fetch_get_recv(&v, &r), -1);
	g.chunks[1].bytes = 1;
	g.chunks[1].slot = UINT64_MAX - 1;
	assert_int_equal(fetch_get_send(out, 4, &g), 0);
	receive();
	v = view();
	assert_int_equal(fetch_get_recv(&v, &r), -1);
	g.chunks[1].slot = 1;
	g.path = (const uint8_t *)"../b";
	g.path_len = 4;
	assert_int_equal(fetch_get_send(out, 4, &g), 0);
	receive();
	v = view();
	assert_int_equal(fetch_get_recv(&v, &r), -1);
	assert_int_equal(fetch_get_file_send(out, 4, 76, dup(0)), 0);
	receive();
	v = view();
	assert_int_equal(fetch_get_file_recv(&v, &slot), 0);
	assert_true(slot == 76);
	REFUSES(fetch_get_file_recv(&b, &slot));
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
		.verify = 1,
		.deadline_ms = 70000 },
			 r;
	struct fetch_settings s = { .url = "https://a",
		.url_len = 9,
		.key = "sk_x",
		.key_len = 4,
		.concurrency = 3,
		.deadline_ms = 4,
		.memory = (uint64_t)5 << 32 },
			      q;
	struct fetch_url_res res = { .status = 200,
		.equal = 1,
		.dated = 1,
		.skew_ms = -3600000,
		.length = (uint64_t)7 << 32,
		.what = "x\n\xc3",
		.code = "NoSuchKey",
		.elsewhere = "eu-west-1.x" },
			     got;
	struct ibuf v;
	uint32_t id;

	(void)state;
	assert_int_equal(fetch_url_send(out, 5, &u), 0);
	receive();
	v = view();
	assert_int_equal(fetch_url_recv(&v, &r), 0);
	assert_memory_equal(r.url, u.url, 10);
	assert_int_equal(r.deadline_ms, 70000);
	REFUSES(fetch_url_recv(&b, &r));
	body[0] = FETCH_METHOD_POST;
	v = view();
	assert_int_equal(fetch_url_recv(&v, &r), -1);
	assert_int_equal(fetch_url_res_send(out, 5, &res, -1), 0);
	receive();
	v = view();
	assert_int_equal(fetch_url_res_recv(&v, &got), 0);
	assert_int_equal(got.status, 200);
	assert_int_equal(got.equal, 1);
	assert_int_equal(got.dated, 1);
	assert_true(got.skew_ms == -3600000);
	assert_true(got.length == (uint64_t)7 << 32);
	assert_string_equal(got.code, "NoSuchKey");
	assert_string_equal(got.elsewhere, "eu-west-1.x");
	assert_string_equal(got.said, "x??");
	REFUSES(fetch_url_res_recv(&b, &got));
	body[body_len - 1] = '/'; /* of elsewhere */
	v = view();
	assert_int_equal(fetch_url_res_recv(&v, &got), -1);
	body[body_len - 1] = 'y';
	body[body_len - 14] = '-'; /* of the code */
	v = view();
	assert_int_equal(fetch_url_res_recv(&v, &got), -1);
	body[body_len - 14] = 'y';
	body[3] = 2; /* dated */
	v = view();
	assert_int_equal(fetch_url_res_recv(&v, &got), -1);
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
	assert_true(q.memory == s.memory);
	assert_memory_equal(q.key, "sk_x", 4);
	REFUSES(fetch_settings_recv(&b, &q));
}

static void
test_list(void **state)
{
	static char url[FETCH_LIST_URL_MAX + 1];
	struct fetch_list page = { .more = 1, .n = 2 }, *got;
	uint32_t deadline;
	const char *u;
	uint8_t *data, *copy;
	struct ibuf v;
	size_t len, i;

	(void)state;
	memset(url, 'u', sizeof(url));
	assert_int_equal(fetch_list_send(out, 5, url, sizeof(url), 1), -1);
	assert_int_equal(fetch_list_send(out, 5, url, 0, 1), -1);
	assert_int_equal(fetch_list_send(out, 5, url, sizeof(url) - 1, 1), 0);
	receive();
	v = view();
	assert_int_equal(fetch_list_recv(&v, &u, &len, &deadline), 0);
	assert_int_equal(fetch_list_send(out, 5, "http://h/b", 10, 70000), 0);
	receive();
	v = view();
	assert_int_equal(fetch_list_recv(&v, &u, &len, &deadline), 0);
	assert_int_equal(len, 10);
	assert_memory_equal(u, "http://h/b", 10);
	assert_int_equal(deadline, 70000);
	REFUSES(fetch_list_recv(&b, &u, &len, &deadline));

	page.keys[0] = (struct fetch_listed){ "a\0b", 3, 7, -1 };
	page.keys[1] = (struct fetch_listed){ "a\0\xff", 3, INT64_MAX, 99 };
	data = fetch_list_encode(&page, &len);
	assert_non_null(data);
	got = fetch_list_decode(data, len);
	assert_non_null(got);
	assert_int_equal(got->more, 1);
	assert_int_equal(got->n, 2);
	assert_memory_equal(got->keys[1].key, "a\0\xff", 3);
	assert_true(got->keys[1].bytes == INT64_MAX);
	assert_true(got->keys[0].written_s == -1);
	fetch_list_free(got);
	copy = malloc(len + 1);
	assert_non_null(copy);
	memcpy(copy, data, len);
	copy[len] = 0;
	for (i = 0; i <= len + 1; i++)
		if (i != len)
			assert_null(fetch_list_decode(copy, i));
	copy[0] = 2; /* more */
	assert_null(fetch_list_decode(copy, len));
	memcpy(copy, data, len);
	copy[7] = 0xff; /* behind the second key */
	assert_null(fetch_list_decode(copy, len));
	free(copy);
	free(data);
	page.n = 0;
	assert_null(fetch_list_encode(&page, &len));
}

static void
test_numbers(void **state)
{
	struct fetch_numbers n, m;
	struct ibuf v;
	size_t i;

	(void)state;
	memset(&n, 0, sizeof(n));
	for (i = 0; i < sizeof(n); i++)
		((uint8_t *)&n)[i] = (uint8_t)(i + 1);
	assert_int_equal(fetch_numbers_send(out, 7, &n), 0);
	receive();
	assert_int_equal(body_len, FETCH_NUMBERS_LEN);
	v = view();
	assert_int_equal(fetch_numbers_recv(&v, &m), 0);
	assert_memory_equal(&n, &m, sizeof(n));
	REFUSES(fetch_numbers_recv(&b, &m));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_api),
		cmocka_unit_test(test_hash),
		cmocka_unit_test(test_hash_chunks),
		cmocka_unit_test(test_upload_refusal),
		cmocka_unit_test(test_upload),
		cmocka_unit_test(test_get),
		cmocka_unit_test(test_bundle),
		cmocka_unit_test(test_url),
		cmocka_unit_test(test_list),
		cmocka_unit_test(test_numbers),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
