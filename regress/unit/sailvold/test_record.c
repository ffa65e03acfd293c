/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * Every record comes back from its encoding as it went in, and an encoding that
 * is cut, changed in one bit or longer than it says is never taken for one.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "sailvold/record.h"

static const uint8_t name_a[] = "alpha", name_b[] = "beta";

static struct entry
file_entry(void)
{
	struct entry e;

	memset(&e, 0, sizeof(e));
	e.type = ENTRY_FILE;
	e.mode = 0644;
	e.uid = 1000;
	e.gid = 100;
	e.mtime.sec = -5;
	e.mtime.nsec = 999999999;
	e.ctime.sec = 1700000000;
	e.fileid = 77;
	e.chunk_shift = CHUNK_SHIFT_MIN;
	return e;
}

static struct record
make_record(uint8_t type)
{
	struct record r;

	memset(&r, 0, sizeof(r));
	r.type = type;
	r.unique = 0x1234567890;
	r.result = 0;
	r.parent = 1;
	r.parent2 = 9;
	r.ovl = 42;
	r.name = name_a;
	r.name_len = 5;
	r.name2 = name_b;
	r.name2_len = 4;
	r.flags = 1;
	r.time.sec = 12;
	r.entry = file_entry();
	r.origin_path = name_b;
	r.origin_path_len = 4;
	r.next = 1024;
	r.session = 3;
	r.line = name_a;
	r.line_len = 5;
	return r;
}

static void
round_trip(void **state)
{
	const char *why;
	struct record in, out;
	struct wbuf w, w2;
	size_t taken, i;
	uint8_t type;

	(void)state;
	for (type = RECORD_ALLOC; type <= RECORD_LOOK; type++) {
		wbuf_init(&w, 1 << 20);
		wbuf_init(&w2, 1 << 20);
		in = make_record(type);
		record_encode(&w, &in);
		assert_int_equal(w.error, 0);
		assert_int_equal(record_decode(w.data, w.len, &out, &taken,
				     &why),
		    1);
		assert_int_equal(taken, w.len);
		assert_int_equal(out.type, type);
		assert_int_equal(out.unique, in.unique);
		record_encode(&w2, &out);
		assert_int_equal(w2.len, w.len);
		assert_memory_equal(w2.data, w.data, w.len);
		/* A torn end asks for more, never more than that. */
		for (i = 0; i < w.len; i++)
			assert_int_equal(record_decode(w.data, i, &out, &taken,
					     &why),
			    0);
		for (i = 4; i < w.len; i++) {
			w.data[i] ^= 0x10;
			assert_int_equal(record_decode(w.data, w.len, &out,
					     &taken, &why),
			    -1);
			assert_non_null(why);
			w.data[i] ^= 0x10;
		}
		wbuf_free(&w);
		wbuf_free(&w2);
	}
}

static void
entries_are_whole(void **state)
{
	uint8_t *xattrs = NULL, big[3000];
	struct entry e = file_entry(), out;
	struct rbuf r;
	struct wbuf w;
	size_t len;

	(void)state;
	memset(big, 'x', sizeof(big));
	assert_int_equal(xattrs_set(NULL, 0, "user.big", big, sizeof(big), 0,
			     &xattrs, &len),
	    0);
	e.xattrs = xattrs;
	e.xattrs_len = len;
	e.size = 123456789; /* of an overlay file: no chunks */
	wbuf_init(&w, 1 << 20);
	record_entry_encode(&w, &e);
	assert_int_equal(w.error, 0);
	rbuf_init(&r, w.data, w.len);
	assert_int_equal(record_entry_decode(&r, &out), 0);
	assert_int_equal(rbuf_end(&r), 0);
	assert_int_equal(out.size, e.size);
	assert_int_equal(out.xattrs_len, len);
	assert_memory_equal(out.xattrs, xattrs, len);
	wbuf_free(&w);
	free(xattrs);

	e = file_entry();
	e.type = ENTRY_SOCKET;
	wbuf_init(&w, 1 << 20);
	record_entry_encode(&w, &e);
	rbuf_init(&r, w.data, w.len);
	assert_int_equal(record_entry_decode(&r, &out), 0);
	assert_int_equal(out.type, ENTRY_SOCKET);
	/* A type that the entry does not have. */
	w.data[0] = ENTRY_DIR;
	rbuf_init(&r, w.data, w.len);
	assert_int_equal(record_entry_decode(&r, &out), -1);
	wbuf_free(&w);
}

static void
refuse(struct record *rec)
{
	const char *why;
	struct record out;
	struct wbuf w;
	size_t taken;

	wbuf_init(&w, 1 << 20);
	record_encode(&w, rec);
	assert_int_equal(w.error, 0);
	assert_int_equal(record_decode(w.data, w.len, &out, &taken, &why), -1);
	assert_non_null(why);
	wbuf_free(&w);
}

/* One that is not written by us. */
static void
refuse_size(void)
{
	struct record r = make_record(RECORD_SETTLE), out;
	const char *why;
	struct wbuf w;
	size_t taken;

	r.entry.size = SAIL_SIZE_MAX;
	wbuf_init(&w, 1024);
	record_encode(&w, &r);
	assert_int_equal(w.error, 0);
	assert_int_equal(record_decode(w.data, w.len, &out, &taken, &why), 1);
	/* Behind length, type, unique number, result and object. */
	w.data[4 + 1 + 8 + 4 + 8] |= 1;
	wbuf_set_u32(&w, w.len - 4, crc32c(0, w.data, w.len - 4));
	assert_int_equal(record_decode(w.data, w.len, &out, &taken, &why), -1);
	assert_string_equal(why, "size out of range");
	wbuf_free(&w);
}

static void
refusals(void **state)
{
	struct record r;
	struct wbuf w;

	(void)state;
	r = make_record(RECORD_MAKE);
	r.name = (const uint8_t *)"a/b";
	r.name_len = 3;
	refuse(&r);
	r = make_record(RECORD_MAKE);
	r.name = (const uint8_t *)".sailvol";
	r.name_len = 8;
	refuse(&r);
	r = make_record(RECORD_REMOVE);
	r.parent = 0;
	refuse(&r);
	r = make_record(RECORD_RENAME);
	r.flags = 3;
	refuse(&r);
	r = make_record(RECORD_ATTR);
	r.flags = 0x40;
	refuse(&r);
	refuse_size();
	/* What could not be read again is not written. */
	r = make_record(RECORD_DROP);
	r.ovl = 0;
	wbuf_init(&w, 1024);
	record_encode(&w, &r);
	assert_int_equal(w.error, EINVAL);
	wbuf_free(&w);
	r = make_record(RECORD_SETTLE);
	r.entry.size = SAIL_SIZE_MAX + 1;
	wbuf_init(&w, 1024);
	record_encode(&w, &r);
	assert_int_equal(w.error, EFBIG);
	wbuf_free(&w);
	r = make_record(200);
	wbuf_init(&w, 1024);
	record_encode(&w, &r);
	assert_int_not_equal(w.error, 0);
	wbuf_free(&w);
}

static void
segments(void **state)
{
	uint8_t b[SEGMENT_HEADER_LEN];
	struct segment_header h, out;

	(void)state;
	memset(&h, 0, sizeof(h));
	memset(h.mount, 7, 16);
	memset(h.connection, 8, 16);
	h.first = 0x0102030405060708;
	h.version = SEGMENT_VERSION;
	segment_header_encode(b, &h);
	assert_null(segment_header_decode(b, sizeof(b), &out));
	assert_memory_equal(&h, &out, sizeof(h));
	assert_non_null(segment_header_decode(b, sizeof(b) - 1, &out));
	b[8] = SEGMENT_VERSION + 1;
	assert_non_null(segment_header_decode(b, sizeof(b), &out));
	b[8] = SEGMENT_VERSION_FIRST - 1;
	assert_non_null(segment_header_decode(b, sizeof(b), &out));
	b[8] = SEGMENT_VERSION_FIRST;
	assert_null(segment_header_decode(b, sizeof(b), &out));
	assert_int_equal(out.version, SEGMENT_VERSION_FIRST);
	b[0] = 'x';
	assert_non_null(segment_header_decode(b, sizeof(b), &out));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(round_trip),
		cmocka_unit_test(entries_are_whole),
		cmocka_unit_test(refusals),
		cmocka_unit_test(segments),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
