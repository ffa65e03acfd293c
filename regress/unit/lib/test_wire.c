/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * Claim: every body of the API comes back from its encoding as it was, every
 * truncation and every wrong field is refused with a reason, and no change of
 * single bytes makes a decoder misbehave.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "lib/node.h"
#include "lib/wire.h"
#include "regress/unit/seed.h"

#define U8(s) ((const uint8_t *)(s))

static struct hash
hash_no(unsigned int n)
{
	struct hash h;

	hash_bytes(&h, &n, sizeof(n));
	return h;
}

/* ---- decoders as one form ---- */

static const char *
dec_nodes_req(const uint8_t *data, size_t len)
{
	struct wire_nodes_req q;

	return wire_nodes_req_decode(data, len, &q);
}

static const char *
dec_bundle(const uint8_t *data, size_t len)
{
	struct wire_bundle b;
	const uint8_t *node;
	const char *why;
	struct hash h;
	uint8_t kind;
	size_t n;
	int rc;

	if ((why = wire_bundle_open(&b, data, len)) != NULL)
		return why;
	while ((rc = wire_bundle_next(&b, &node, &n, &h, &kind)) == 1)
		;
	return rc == 0 ? NULL : b.r.error;
}

static const char *
dec_chunks(const uint8_t *data, size_t len)
{
	struct wire_chunk *c;
	const char *why;
	uint32_t n;

	why = wire_chunks_decode(data, len, &c, &n);
	free(c);
	return why;
}

static const char *
dec_uploads(const uint8_t *data, size_t len)
{
	struct wire_upload *u;
	const char *why;

	why = wire_uploads_decode(data, len, 2, &u);
	free(u);
	return why;
}

static const char *
dec_locate(const uint8_t *data, size_t len)
{
	struct wire_locate_req q;
	const char *why;

	why = wire_locate_req_decode(data, len, &q);
	free(q.slots);
	return why;
}

static const char *
dec_spans(const uint8_t *data, size_t len)
{
	struct wire_span *s;
	const char *why;
	uint32_t n;

	why = wire_spans_decode(data, len, &s, &n);
	wire_spans_free(s, n);
	return why;
}

/* ---- a good body of each ---- */

static void
make_nodes_req(struct wbuf *w)
{
	struct wire_nodes_req q = { .commit = hash_no(1),
		.has_have = 1,
		.have = hash_no(2),
		.budget = 65536,
		.depth = 3,
		.path = U8("a/b"),
		.path_len = 3,
		.first = U8("x"),
		.first_len = 1 };

	wire_nodes_req_encode(w, &q);
}

static void
make_bundle(struct wbuf *w)
{
	struct wire_bundle_writer b;
	struct wbuf leaf;
	struct hash id;
	uint8_t *data;
	size_t len;

	hash_bytes(&id, "commit", 6);
	wbuf_init(&leaf, NODE_MAX_BYTES);
	node_leaf_begin(&leaf);
	node_leaf_end(&leaf, 0);
	wire_bundle_begin(&b, &id, U8("commit"), 6);
	wire_bundle_add(&b, leaf.data, leaf.len);
	wire_bundle_add(&b, leaf.data, leaf.len);
	data = wire_bundle_end(&b, 1, &len);
	assert_non_null(data);
	wbuf_bytes(w, data, len);
	free(data);
	wbuf_free(&leaf);
}

static void
make_chunks(struct wbuf *w)
{
	struct wire_chunk c[2] = { { hash_no(1), 100 }, { hash_no(2), 1 } };

	wire_chunks_encode(w, c, 2);
}

static void
make_uploads(struct wbuf *w)
{
	struct wire_upload u = { .presence = WIRE_UPLOAD,
		.object = hash_no(7),
		.url = U8("http://h/o?s=1"),
		.url_len = 14,
		.headers = U8("If-None-Match: *\n"),
		.headers_len = 17 };
	struct wire_upload there = { .presence = WIRE_PRESENT };

	wire_uploads_begin(w, 2);
	wire_uploads_add(w, &there);
	wire_uploads_add(w, &u);
}

static void
make_locate(struct wbuf *w)
{
	uint64_t slots[3] = { 0, 5, 9 };
	struct wire_locate_req q = { .commit = hash_no(1),
		.path = U8("f"),
		.path_len = 1,
		.nslots = 3,
		.slots = slots };

	wire_locate_req_encode(w, &q);
}

static struct wire_span_chunk span_chunks[2];
static struct wire_span
good_span(void)
{
	struct wire_span s = { .object = hash_no(1),
		.offset = 4096,
		.length = 300,
		.url = U8("http://h/o"),
		.url_len = 10,
		.headers = U8("Range: bytes=4096-4395\n"),
		.headers_len = 23,
		.nchunks = 2,
		.chunks = span_chunks };

	span_chunks[0] =
	    (struct wire_span_chunk){ 3, hash_no(4), 0, 100, 100, 0 };
	span_chunks[1] = (struct wire_span_chunk){ UINT64_MAX, hash_no(5), 100,
		200, 400, 1 };
	return s;
}

static void
make_spans(struct wbuf *w)
{
	struct wire_span s = good_span();

	wire_spans_begin(w, 1);
	wire_spans_add(w, &s);
}

static const struct body {
	const char *name;
	void (*make)(struct wbuf *);
	const char *(*decode)(const uint8_t *, size_t);
} bodies[] = {
	{ "nodes request", make_nodes_req, dec_nodes_req },
	{ "bundle", make_bundle, dec_bundle },
	{ "chunks", make_chunks, dec_chunks },
	{ "uploads", make_uploads, dec_uploads },
	{ "locate", make_locate, dec_locate },
	{ "spans", make_spans, dec_spans },
};
#define NBODIES (sizeof(bodies) / sizeof(bodies[0]))

/* ---- tests ---- */

static void
values_come_back(void **state)
{
	struct wire_nodes_req q;
	struct wire_locate_req lq;
	struct wire_chunk *c;
	struct wire_upload *u;
	struct wire_span *s;
	struct wbuf w;
	uint32_t n;

	(void)state;
	wbuf_init(&w, 1 << 20);
	make_nodes_req(&w);
	assert_null(wire_nodes_req_decode(w.data, w.len, &q));
	assert_int_equal(q.has_have, 1);
	assert_int_equal(q.budget, 65536);
	assert_int_equal(q.depth, 3);
	assert_memory_equal(q.path, "a/b", q.path_len);
	assert_memory_equal(q.first, "x", q.first_len);
	w.len = 0;
	make_chunks(&w);
	assert_null(wire_chunks_decode(w.data, w.len, &c, &n));
	assert_int_equal(n, 2);
	assert_int_equal(c[0].bytes, 100);
	free(c);
	w.len = 0;
	make_uploads(&w);
	assert_null(wire_uploads_decode(w.data, w.len, 2, &u));
	assert_int_equal(u[0].presence, WIRE_PRESENT);
	assert_int_equal(u[1].presence, WIRE_UPLOAD);
	assert_memory_equal(u[1].url, "http://h/o?s=1", 14);
	assert_int_equal(u[1].headers_len, 17);
	free(u);
	w.len = 0;
	make_locate(&w);
	assert_null(wire_locate_req_decode(w.data, w.len, &lq));
	assert_int_equal(lq.nslots, 3);
	assert_int_equal(lq.slots[2], 9);
	free(lq.slots);
	w.len = 0;
	make_spans(&w);
	assert_null(wire_spans_decode(w.data, w.len, &s, &n));
	assert_int_equal(n, 1);
	assert_int_equal(s[0].offset, 4096);
	assert_int_equal(s[0].chunks[1].plain, 400);
	assert_true(s[0].chunks[1].slot == UINT64_MAX);
	wire_spans_free(s, n);
	wbuf_free(&w);
}

static void
bundle_comes_back(void **state)
{
	struct wire_bundle b;
	const uint8_t *node;
	struct hash h, empty;
	struct wbuf w;
	uint8_t kind;
	size_t len;

	(void)state;
	wbuf_init(&w, 1 << 20);
	make_bundle(&w);
	assert_null(wire_bundle_open(&b, w.data, w.len));
	assert_int_equal(b.complete, 1);
	assert_int_equal(b.count, 2);
	assert_int_equal(b.commit_len, 6);
	assert_int_equal(wire_bundle_next(&b, &node, &len, &h, &kind), 1);
	assert_int_equal(kind, NODE_LEAF);
	hash_bytes(&empty, node, len);
	assert_int_equal(hash_cmp(&h, &empty), 0);
	assert_int_equal(wire_bundle_next(&b, &node, &len, &h, &kind), 1);
	assert_int_equal(wire_bundle_next(&b, &node, &len, &h, &kind), 0);
	wbuf_free(&w);
}

/* Copies the bytes, so that a read past the end is seen by a sanitizer. */
static const char *
decode_copy(const struct body *b, const uint8_t *data, size_t len)
{
	uint8_t *copy = malloc(len + (len == 0));
	const char *why;

	assert_non_null(copy);
	memcpy(copy, data, len);
	why = b->decode(copy, len);
	free(copy);
	return why;
}

static void
no_truncation_and_no_tail(void **state)
{
	struct wbuf w;
	size_t i, n;

	(void)state;
	for (i = 0; i < NBODIES; i++) {
		wbuf_init(&w, 1 << 20);
		bodies[i].make(&w);
		assert_int_equal(w.error, 0);
		assert_null(decode_copy(&bodies[i], w.data, w.len));
		for (n = 0; n < w.len; n++)
			assert_non_null(decode_copy(&bodies[i], w.data, n));
		wbuf_u8(&w, 0);
		assert_non_null(decode_copy(&bodies[i], w.data, w.len));
		w.data[0] ^= 1;
		assert_non_null(decode_copy(&bodies[i], w.data, w.len - 1));
		wbuf_free(&w);
	}
}

static void
one_is_not_another(void **state)
{
	struct wbuf w;
	size_t i, k;

	(void)state;
	for (i = 0; i < NBODIES; i++) {
		wbuf_init(&w, 1 << 20);
		bodies[i].make(&w);
		for (k = 0; k < NBODIES; k++)
			assert_int_equal(k == i,
			    decode_copy(&bodies[k], w.data, w.len) == NULL);
		wbuf_free(&w);
	}
}

static void
random_flips(void **state)
{
	struct wbuf w;
	size_t i, n, k, at;
	uint8_t was[4];

	(void)state;
	seeded();
	for (i = 0; i < NBODIES; i++) {
		wbuf_init(&w, 1 << 20);
		bodies[i].make(&w);
		for (n = 0; n < 20000; n++) {
			at = (size_t)random() % (w.len - 3);
			memcpy(was, w.data + at, 4);
			for (k = 0; k < 1 + (size_t)random() % 4; k++)
				w.data[at + k] = random() % 3 == 0
				    ? 0xff
				    : (uint8_t)random();
			(void)decode_copy(&bodies[i], w.data, w.len);
			memcpy(w.data + at, was, 4);
		}
		wbuf_free(&w);
	}
}

static void
bad_span(struct wire_span *s, const char *why)
{
	struct wbuf w;

	wbuf_init(&w, 1 << 20);
	wire_spans_begin(&w, 1);
	wire_spans_add(&w, s);
	assert_string_equal(dec_spans(w.data, w.len), why);
	wbuf_free(&w);
	*s = good_span();
}

static void
refusals_of_spans(void **state)
{
	struct wire_span s = good_span();

	(void)state;
	s.chunks[1].offset = 99;
	bad_span(&s, "span: chunks overlap or are not in order");
	s.length = 299;
	bad_span(&s, "span: chunk outside of it");
	s.chunks[1].offset = UINT64_MAX - 100;
	bad_span(&s, "span: chunk outside of it");
	s.chunks[0].plain = 99;
	bad_span(&s, "span: a raw chunk of two sizes");
	s.chunks[0].plain = 0;
	bad_span(&s, "span: size of a chunk out of range");
	s.chunks[0].slot = SAIL_SIZE_MAX;
	bad_span(&s, "span: slot out of range");
	s.length = 0;
	bad_span(&s, "span: out of range");
	s.offset = UINT64_MAX;
	bad_span(&s, "span: out of range");
	s.nchunks = 0;
	bad_span(&s, "spans: too many");
	s.url_len = 0;
	bad_span(&s, "url: empty");
	s.url = U8("http://h/\n");
	bad_span(&s, "url: character out of range");
}

static void
bad_headers(const char *headers, const char *why)
{
	struct wire_span s = good_span();

	s.headers = U8(headers);
	s.headers_len = strlen(headers);
	bad_span(&s, why);
}

static void
refusals_of_headers(void **state)
{
	(void)state;
	bad_headers("Range: x", "header: line does not end");
	bad_headers("Range:x\n", "header: not of the form name: value");
	bad_headers(": x\n", "header: not of the form name: value");
	bad_headers("\n", "header: not of the form name: value");
	bad_headers("A b: x\n", "header: not of the form name: value");
	bad_headers("A: x\r\n", "header: character out of range");
	bad_headers("A: x\nB\n", "header: not of the form name: value");
}

static void
refusals_of_requests(void **state)
{
	struct wire_nodes_req q = { .budget = WIRE_BUDGET_MAX + 1 };
	uint64_t slots[2] = { 4, 4 };
	struct wire_locate_req l = { .path = U8("f"),
		.path_len = 1,
		.nslots = 2,
		.slots = slots };
	struct wire_chunk c = { .bytes = 0 };
	struct wbuf w;

	(void)state;
	wbuf_init(&w, 1 << 20);
	wire_nodes_req_encode(&w, &q);
	assert_string_equal(dec_nodes_req(w.data, w.len),
	    "nodes request: budget too large");
	q.budget = 1;
	q.depth = SAIL_DEPTH_MAX + 1;
	w.len = 0;
	wire_nodes_req_encode(&w, &q);
	assert_string_equal(dec_nodes_req(w.data, w.len),
	    "nodes request: too deep");
	q.depth = 0;
	q.path = U8("a/../b");
	q.path_len = 6;
	w.len = 0;
	wire_nodes_req_encode(&w, &q);
	assert_string_equal(dec_nodes_req(w.data, w.len), "name is . or ..");
	w.len = 0;
	wire_locate_req_encode(&w, &l);
	assert_string_equal(dec_locate(w.data, w.len),
	    "locate: slots not in order");
	slots[1] = SAIL_SIZE_MAX;
	w.len = 0;
	wire_locate_req_encode(&w, &l);
	assert_string_equal(dec_locate(w.data, w.len),
	    "locate: slot out of range");
	l.path_len = 0;
	w.len = 0;
	wire_locate_req_encode(&w, &l);
	assert_string_equal(dec_locate(w.data, w.len),
	    "locate: the root is not a file");
	w.len = 0;
	wire_chunks_encode(&w, &c, 1);
	assert_string_equal(dec_chunks(w.data, w.len),
	    "chunks: size of a chunk out of range");
	wbuf_free(&w);
}

static void
refusals_of_bundles(void **state)
{
	struct wire_bundle b;
	struct wbuf w;

	(void)state;
	wbuf_init(&w, 1 << 20);
	make_bundle(&w);
	w.data[6] |= 4;
	assert_string_equal(dec_bundle(w.data, w.len), "bundle: unknown flags");
	w.data[6] &= 1;
	w.data[10] = 1;
	assert_string_equal(dec_bundle(w.data, w.len),
	    "bundle: bytes left over");
	w.data[10] = 255;
	w.data[13] = 255;
	assert_string_equal(dec_bundle(w.data, w.len),
	    "bundle: count of nodes too large");
	w.data[10] = 2;
	w.data[13] = 0;
	w.data[14] ^= 1;
	assert_string_equal(dec_bundle(w.data, w.len),
	    "bundle: commit is not what its id says");
	/* One that was cut for a key is not. */
	w.data[6] |= 2;
	assert_null(dec_bundle(w.data, w.len));
	assert_null(wire_bundle_open(&b, w.data, w.len));
	assert_true(b.cut);
	wbuf_free(&w);
}

/* The bytes of its chunks are all of a pack, or are followed by the tail. */
static void
lengths_of_packs(void **state)
{
	static const char why[] = "pack: length is not that of its chunks";
	struct wire_chunk chunks[2] = { { hash_no(2), 1000 },
		{ hash_no(3), 24 } };
	struct wire_pack in = { hash_no(1), 0, 2, chunks }, out;
	const uint32_t good[] = { 1024, 1024 + WIRE_PACK_TAIL };
	const uint32_t bad[] = { 0, 1000, 1023, 1025, 1024 + 31, 1024 + 33,
		1024 + 64, WIRE_PACK_BYTES };
	struct wbuf w;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		in.length = good[i];
		wbuf_init(&w, 4096);
		wire_pack_encode(&w, &in);
		assert_null(wire_pack_decode(w.data, w.len, &out));
		assert_int_equal(out.length, good[i]);
		assert_int_equal(out.n, 2);
		assert_int_equal(out.chunks[1].bytes, 24);
		free(out.chunks);
		wbuf_free(&w);
	}
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		in.length = bad[i];
		wbuf_init(&w, 4096);
		wire_pack_encode(&w, &in);
		assert_string_equal(wire_pack_decode(w.data, w.len, &out), why);
		wbuf_free(&w);
	}
	/* One chunk is an object of its own. */
	in.n = 1;
	in.length = 1000 + WIRE_PACK_TAIL;
	wbuf_init(&w, 4096);
	wire_pack_encode(&w, &in);
	assert_string_equal(wire_pack_decode(w.data, w.len, &out), why);
	wbuf_free(&w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(values_come_back),
		cmocka_unit_test(bundle_comes_back),
		cmocka_unit_test(no_truncation_and_no_tail),
		cmocka_unit_test(one_is_not_another),
		cmocka_unit_test(random_flips),
		cmocka_unit_test(refusals_of_spans),
		cmocka_unit_test(refusals_of_headers),
		cmocka_unit_test(refusals_of_requests),
		cmocka_unit_test(refusals_of_bundles),
		cmocka_unit_test(lengths_of_packs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
