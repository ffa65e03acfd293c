/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * What sailvold's processes read from files of each other: records and segments
 * of a journal, items, differences and notifications, numbers of metrics.  The
 * first byte says which.
 */
#include "regress/fuzz/fuzz.h"
#include "sailvold/metrics_imsg.h"
#include "sailvold/sailvold_imsg.h"

/* Each u16 length and bytes, with the length and sum that make it a record. */
static void
records(const uint8_t *p, size_t len)
{
	struct fuzz_in in = { p, len };
	struct record r;
	struct wbuf w, again;
	const uint8_t *bytes;
	const char *why;
	size_t n, at, taken;
	int rc;

	while (in.left > 2) {
		bytes = fuzz_bytes(&in, 65535, &n);
		wbuf_init(&w, 1 << 20);
		wbuf_u32(&w, (uint32_t)n);
		wbuf_bytes(&w, bytes, n);
		wbuf_u32(&w, crc32c(0, w.data, w.len));
		fuzz_check(w.error == 0);
		for (at = 0; at < w.len && at < 64; at++)
			fuzz_check(
			    record_decode(w.data, at, &r, &taken, &why) != 1);
		rc = record_decode(w.data, w.len, &r, &taken, &why);
		if (rc == 1) {
			fuzz_check(taken == w.len);
			wbuf_init(&again, 1 << 20);
			record_encode(&again, &r);
			fuzz_check(again.error == 0 && again.len == w.len &&
			    memcmp(again.data, w.data, w.len) == 0);
			wbuf_free(&again);
		}
		wbuf_free(&w);
	}
}

static void
raw(const uint8_t *p, size_t len)
{
	struct segment_header h;
	struct record r;
	const char *why;
	size_t taken;

	(void)segment_header_decode(p, len, &h);
	(void)record_decode(p, len, &r, &taken, &why);
}

static void
items(const uint8_t *p, size_t len)
{
	struct item it;
	struct rbuf r;
	struct wbuf w;

	size_t before;

	rbuf_init(&r, p, len);
	before = 0;
	while (item_decode(&r, &it) == 1) {
		wbuf_init(&w, 1 << 20);
		item_encode(&w, &it);
		fuzz_check(w.error == 0 && w.len == r.pos - before &&
		    memcmp(w.data, p + before, w.len) == 0);
		wbuf_free(&w);
		before = r.pos;
	}
}

static void
notifications(const uint8_t *p, size_t len)
{
	const uint8_t *name;
	struct diff_origin o;
	uint64_t id;
	uint8_t kind;
	size_t n;
	struct rbuf r;

	rbuf_init(&r, p, len);
	while (diff_decode(&r, &kind, &name, &n) == 1)
		fuzz_check(path_problem(name, n) == NULL);
	rbuf_init(&r, p, len);
	while (diff_origin_decode(&r, &o) == 1)
		fuzz_check(path_problem(o.path, o.len) == NULL);
	rbuf_init(&r, p, len);
	while (tell_decode(&r, &kind, &id, &name, &n) == 1)
		;
}

static void
numbers(const uint8_t *p, size_t len)
{
	struct metrics_parent mp;
	struct metrics_manifest mm;

	(void)metrics_parent_decode(p, len, &mp);
	metrics_parent_free(&mp);
	(void)metrics_manifest_decode(p, len, &mm);
	metrics_manifest_free(&mm);
}

static void
fuzz_one(const uint8_t *in, size_t len)
{
	static void (*const f[])(const uint8_t *, size_t) = { records, raw,
		items, notifications, numbers };

	fuzz_pick(f, sizeof(f) / sizeof(f[0]), in, len);
}
