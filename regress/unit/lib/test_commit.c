/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * Claim: a commit and a volume's header have one encoding, and every other is
 * refused with the reason.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "lib/commit.h"
#include "lib/node.h"
#include "regress/unit/lib/corrupt.h"
#include "regress/unit/lib/memstore.h"

/* Offsets; the root entry of a commit with a parent begins at 65. */
#define AT_NUMBER 24
#define AT_MARK 32
#define AT_PARENT 33
#define AT_ROOT 65
#define AT_TIME (AT_ROOT + 94)
#define AT_AUTHOR (AT_TIME + 12)
#define AT_MESSAGE (AT_AUTHOR + 4)
#define AT_TAIL (AT_MESSAGE + 5 + 24)
#define AT_END (AT_TAIL + 2 + 7)

static const struct commit second = { .volume = "0123456789abcdef",
	.has_parent = 1,
	.parent = { { 1 } },
	.number = 1,
	.root = { .type = ENTRY_DIR,
	    .mode = 0755,
	    .fileid = 2,
	    .root = { { 1 } },
	    .files = 3,
	    .bytes = 4 },
	.time = { 1700000000, 5 },
	.author = (const uint8_t *)"me",
	.author_len = 2,
	.message = (const uint8_t *)"why",
	.message_len = 3,
	.puts = 7,
	.deletes = 8,
	.overwritten = 9,
	.tail = (const uint8_t *)"\x05\0\x01\0\0\0x",
	.tail_len = 7 };
static const struct commit first = { .volume = "0123456789abcdef",
	.root = { .type = ENTRY_DIR,
	    .mode = 0755,
	    .fileid = 2,
	    .root = { { 1 } } } };

static const struct refusal refusals[] = {
	{ "magic", &second, 0, "X", 1, "bad magic of a node" },
	{ "kind", &second, 4, "\x01", 1, "not a commit" },
	{ "version", &second, 5, "\x02", 1, "unknown version of a node" },
	{ "hash algorithm", &second, 6, "\x02", 1, "unknown hash algorithm" },
	{ "level", &second, 7, "\x01", 1, "level of a node that is no index" },
	{ "header", &second, 7, NULL, CUT_HERE,
	    "node is shorter than its header" },
	{ "number of a commit with a parent", &second, AT_NUMBER, "\0", 1,
	    "first commit has a parent" },
	{ "number of a commit without one", &first, AT_NUMBER, "\x01", 1,
	    "commit without a parent has a number" },
	{ "mark of the parent", &second, AT_MARK, "\x02", 1,
	    "bad mark of a parent" },
	{ "parent", &second, AT_PARENT, "\0", 1, "parent without a hash" },
	{ "root's type", &second, AT_ROOT, "\x05", 1, "unknown type of entry" },
	{ "root's fileid", &second, AT_ROOT + 35, "\x01", 1,
	    "file id is 0 or 1" },
	{ "root's hash", &first, 33 + 43, "\0", 1,
	    "directory without a root in a node" },
	{ "time", &second, AT_TIME + 8, "\xff\xff\xff\xff", 4,
	    "nanoseconds of a second or more" },
	{ "author", &second, AT_AUTHOR, "\x00\x01", 2, "string is too long" },
	{ "message", &second, AT_MESSAGE, "\x01\x10", 2, "string is too long" },
	{ "tail", &second, AT_TAIL, "\x01\x04", 2, "string is too long" },
	{ "tag", &second, AT_TAIL + 3, "\x80", 1,
	    "tag that a reader must know" },
	{ "end", &second, AT_END - 1, NULL, CUT_HERE, "truncated" },
	{ "bytes behind", &second, AT_END, "\0", 1, "trailing bytes" },
};

static void
encode(struct wbuf *w, const void *c)
{
	commit_encode(w, c);
}

static const char *
decode(const uint8_t *data, size_t len)
{
	struct commit c;

	return (commit_decode(data, len, &c));
}

static void
test_refusals(void **state)
{
	struct commit c = first;
	struct wbuf w;
	uint8_t big[1100] = { 0 };

	(void)state;
	check_refusals(refusals, sizeof(refusals) / sizeof(refusals[0]), encode,
	    decode);
	/* A root that is no directory. */
	c.root.type = ENTRY_FIFO;
	wbuf_init(&w, 1 << 16);
	commit_encode(&w, &c);
	assert_string_equal(decode(w.data, w.len),
	    "root of a commit is not a directory");
	wbuf_free(&w);
	c = first;
	c.root.xattrs = big;
	c.root.xattrs_len = sizeof(big);
	wbuf_init(&w, 1 << 16);
	commit_encode(&w, &c);
	assert_int_equal(w.error, EINVAL);
	wbuf_free(&w);
}

static void
look(const uint8_t *data, size_t len)
{
	struct commit c;
	struct wbuf w;

	if (commit_decode(data, len, &c) != NULL)
		return;
	wbuf_init(&w, 1 << 16);
	commit_encode(&w, &c);
	assert_int_equal(w.len, len);
	assert_memory_equal(w.data, data, len);
	wbuf_free(&w);
}

static void
test_damage(void **state)
{
	struct wbuf w;

	(void)state;
	wbuf_init(&w, 1 << 16);
	commit_encode(&w, &second);
	check_damage(w.data, w.len, 20000, rnd64, look);
	wbuf_free(&w);
}

static int
on_reference(void *arg, const struct hash *h, uint8_t kind)
{
	int *n = arg;

	assert_int_equal(kind, 0);
	assert_memory_equal(h, &second.root.root, sizeof(*h));
	(*n)++;
	return (0);
}

static void
test_round_trip(void **state)
{
	struct commit c;
	struct wbuf w;
	uint8_t kind;
	int n = 0;

	(void)state;
	wbuf_init(&w, 1 << 16);
	commit_encode(&w, &second);
	assert_null(commit_decode(w.data, w.len, &c));
	assert_memory_equal(c.volume, second.volume, 16);
	assert_int_equal(c.number, 1);
	assert_memory_equal(&c.parent, &second.parent, sizeof(c.parent));
	assert_int_equal(c.root.files, 3);
	assert_int_equal(c.time.nsec, 5);
	assert_memory_equal(c.author, "me", c.author_len);
	assert_memory_equal(c.message, "why", c.message_len);
	assert_int_equal(c.puts, 7);
	assert_int_equal(c.deletes, 8);
	assert_int_equal(c.overwritten, 9);
	assert_int_equal(c.tail_len, 7);
	assert_null(node_check(w.data, w.len, &kind));
	assert_int_equal(kind, NODE_COMMIT);
	assert_int_equal(node_references(w.data, w.len, on_reference, &n), 0);
	assert_int_equal(n, 1);
	look(w.data, w.len);
	wbuf_free(&w);
}

static void
encode_header(struct wbuf *w, const void *h)
{
	volume_header_encode(w, h);
}

static const char *
decode_header(const uint8_t *data, size_t len)
{
	struct volume_header h;
	struct rbuf r;

	rbuf_init(&r, data, len);
	return (volume_header_decode(&r, &h));
}

static void
test_volume_header(void **state)
{
	static const struct volume_header good = { VOLUME_VERSION, 0xff00, 0 };
	static const struct refusal r[] = {
		{ "magic", &good, 3, "x", 1, "bad magic of a volume's header" },
		{ "version", &good, 4, "\x02", 1,
		    "unknown version of a volume" },
		{ "features", &good, 21, "\x80", 1,
		    "volume has features that a reader must know" },
		{ "end", &good, 21, NULL, CUT_HERE, "truncated" },
	};

	(void)state;
	check_refusals(r, sizeof(r) / sizeof(r[0]), encode_header,
	    decode_header);
}

static int
setup(void **state)
{
	(void)state;
	rnd_seed();
	return (0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_damage),
		cmocka_unit_test(test_volume_header),
	};

	return (cmocka_run_group_tests(tests, setup, NULL));
}
