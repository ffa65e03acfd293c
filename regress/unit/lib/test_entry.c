/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * Claim: an entry has one encoding, every other is refused with the reason, and
 * the two hashes of what was seen depend on what they must and nothing else.
 */
#include <sys/xattr.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "lib/chunklist.h"
#include "lib/path.h"
#include "lib/tree.h"
#include "regress/unit/lib/corrupt.h"
#include "regress/unit/lib/memstore.h"

/* Offsets in an encoding: the fixed part, then that of the type. */
#define AT_TYPE 0
#define AT_MODE 1
#define AT_MTIME_NS 19
#define AT_CTIME_NS 31
#define AT_FILEID 35
#define AT_PART 43
/* a file of one chunk */
#define AT_SIZE 43
#define AT_SHIFT 51
#define AT_FORM 52
#define AT_CHUNKS_LEN 53
#define AT_RUN 55
#define AT_HASH 59
#define AT_F_XATTRS 91
#define AT_F_TAIL 92
/* a fifo */
#define AT_P_XATTRS 43

static uint8_t chunks1[4 + HASH_LEN] = { 3, [4] = 7 };
static uint8_t holes[8 + HASH_LEN] = { 4, 0, 0, 0, 3, [8] = 7 };
static const uint8_t xattrs[] = "\x06user.a\x02\x00xy\x06user.b\x00\x00";
static const uint8_t tail[] =
    "\x01\x00\x01\x00\x00\x00v\x02\x00\x00\x00\x00\x00";

static struct entry file1 = { .type = ENTRY_FILE,
	.mode = 0644,
	.fileid = 2,
	.size = 5,
	.chunk_shift = 23,
	.chunks = chunks1,
	.chunks_len = sizeof(chunks1) };
static struct entry sparse = { .type = ENTRY_FILE,
	.mode = 0644,
	.fileid = 2,
	.size = (3 << 23) - 1,
	.chunk_shift = 23,
	.chunks = holes,
	.chunks_len = sizeof(holes) };
static struct entry large = { .type = ENTRY_FILE,
	.mode = 0600,
	.fileid = 9,
	.size = (uint64_t)9 << 23,
	.chunk_shift = 23,
	.chunk_form = CHUNKS_TREE,
	.chunk_root = { { 1 } } };
static struct entry dir = { .type = ENTRY_DIR,
	.mode = 01777,
	.fileid = 3,
	.root = { { 1 } },
	.files = 1,
	.bytes = SAIL_SIZE_MAX };
static struct entry symlnk = { .type = ENTRY_SYMLINK,
	.mode = 0777,
	.fileid = 4,
	.target = (const uint8_t *)"ab",
	.target_len = 2 };
static struct entry fifo = { .type = ENTRY_FIFO,
	.mode = 07777,
	.fileid = UINT64_MAX,
	.uid = UINT32_MAX,
	.mtime = { INT64_MIN, 999999999 } };
static struct entry with_xattrs = { .type = ENTRY_FIFO,
	.fileid = 5,
	.xattrs = xattrs,
	.xattrs_len = sizeof(xattrs) - 1 };
static struct entry with_node = { .type = ENTRY_FIFO,
	.fileid = 5,
	.xattr_node = { { 1 } } };
static struct entry with_tail = { .type = ENTRY_FIFO,
	.fileid = 5,
	.tail = tail,
	.tail_len = sizeof(tail) - 1 };

static const struct entry *const all[] = { &file1, &sparse, &large, &dir,
	&symlnk, &fifo, &with_xattrs, &with_node, &with_tail };
#define NALL (sizeof(all) / sizeof(all[0]))

static const struct refusal refusals[] = {
	{ "type 0", &fifo, AT_TYPE, "\x00", 1, "unknown type of entry" },
	{ "type socket", &fifo, AT_TYPE, "\x05", 1, "unknown type of entry" },
	{ "type device", &fifo, AT_TYPE, "\x07", 1, "unknown type of entry" },
	{ "mode", &fifo, AT_MODE, "\x00\x10", 2,
	    "mode has more than permissions" },
	{ "mtime", &fifo, AT_MTIME_NS, "\x00\xca\x9a\x3b", 4,
	    "nanoseconds of a second or more" },
	{ "ctime", &fifo, AT_CTIME_NS, "\x00\xca\x9a\x3b", 4,
	    "nanoseconds of a second or more" },
	{ "fileid 0", &file1, AT_FILEID, "\x00", 1, "file id is 0 or 1" },
	{ "fileid 1", &file1, AT_FILEID, "\x01", 1, "file id is 0 or 1" },
	{ "fixed part", &file1, AT_PART - 1, NULL, CUT_HERE, "truncated" },
	{ "size", &file1, AT_SIZE, "\x01\0\0\0\0\0\x20\0", 8,
	    "file is too large" },
	{ "shift 24", &file1, AT_SHIFT, "\x18", 1, "bad chunk size" },
	{ "shift 27", &file1, AT_SHIFT, "\x1b", 1, "bad chunk size" },
	{ "form of chunks", &file1, AT_FORM, "\x02", 1,
	    "unknown form of chunks" },
	{ "empty run", &file1, AT_RUN, "\x01", 1, "empty run of slots" },
	{ "run too long", &file1, AT_RUN, "\x05", 1,
	    "runs have more than the slots" },
	{ "slots too few", &file1, AT_SIZE, "\x01\0\x80\0\0\0\0\0", 8,
	    "runs have more than the slots" },
	{ "adjacent runs", &sparse, AT_RUN + 4, "\x02", 1,
	    "adjacent runs of one kind" },
	{ "size 0 with a chunk", &file1, AT_SIZE, "\0", 1, "trailing bytes" },
	{ "hole that has a hash", &file1, AT_RUN, "\x02", 1, "trailing bytes" },
	{ "hash of zero", &file1, AT_HASH, "\0", 1,
	    "slot without a hash that is no hole" },
	{ "nine hashes", &file1, AT_SIZE,
	    "\x00\x00\x80\x04\0\0\0\0\x17\x00\x24\x00\x13", 13,
	    "more than 8 hashes in an entry" },
	{ "length of chunks", &file1, AT_CHUNKS_LEN, "\x23", 1, "truncated" },
	{ "chunks too long", &file1, AT_CHUNKS_LEN, "\xff\xff", 2,
	    "string is too long" },
	{ "tree of 8 slots", &large, AT_SIZE, "\0\0\0\x04\0\0\0\0", 8,
	    "chunk tree of a file of 8 slots or less" },
	{ "tree's hash", &large, AT_FORM + 1, "\0", 1,
	    "chunk tree without a hash" },
	{ "bytes of a directory", &dir, AT_PART + 40, "\x01", 1,
	    "sums contradict: more bytes than the files can have" },
	{ "files of a directory", &dir, AT_PART + 32, "\x00", 1,
	    "sums contradict: more bytes than the files can have" },
	{ "root of a directory", &dir, AT_PART, "\x00", 1,
	    "sums contradict: files below nothing" },
	{ "root that is empty", &dir, AT_PART,
	    "\xac\xb8\xfd\xa7\xab\x12\x10\x6a\x86\x59\xc7\xdb\xf3\xe3\xdb\x7d"
	    "\x6c\x14\x1c\x16\xd5\x78\xc5\x50\x3a\x76\x5d\x0e\x99\xa9\x09\x2d",
	    32, "sums contradict: files below nothing" },
	{ "length of a target", &symlnk, AT_PART, "\x00", 1, "empty target" },
	{ "target too long", &symlnk, AT_PART, "\x00\x10", 2,
	    "string is too long" },
	{ "byte of a target", &symlnk, AT_PART + 3, "\x00", 1,
	    "target has a NUL" },
	{ "form of xattrs", &fifo, AT_P_XATTRS, "\x03", 1,
	    "unknown form of xattrs" },
	{ "length of xattrs", &with_xattrs, AT_P_XATTRS + 1, "\0", 1,
	    "whole xattrs without one" },
	{ "xattrs too long", &with_xattrs, AT_P_XATTRS + 1, "\x01\0\x01\0", 4,
	    "string is too long" },
	{ "prefix of an xattr", &with_xattrs, AT_P_XATTRS + 6, "U", 1,
	    "xattr is not below user." },
	{ "xattr of the prefix alone", &with_xattrs, AT_P_XATTRS + 5,
	    "\x05user.\x0c\0", 8, "xattr is not below user." },
	{ "name of an xattr", &with_xattrs, AT_P_XATTRS + 11, "\0", 1,
	    "name of an xattr has a NUL" },
	{ "order of xattrs", &with_xattrs, AT_P_XATTRS + 11, "c", 1,
	    "xattrs are not strictly ascending" },
	{ "xattr twice", &with_xattrs, AT_P_XATTRS + 11, "b", 1,
	    "xattrs are not strictly ascending" },
	{ "length of a value", &with_xattrs, AT_P_XATTRS + 12, "\xff", 1,
	    "truncated" },
	{ "hash of an xattr node", &with_node, AT_P_XATTRS + 1, "\0", 1,
	    "xattr node without a hash" },
	{ "tail too long", &with_tail, AT_P_XATTRS + 1, "\x01\x04", 2,
	    "string is too long" },
	{ "order of tags", &with_tail, AT_P_XATTRS + 3, "\x03", 1,
	    "tags are not strictly ascending" },
	{ "tag twice", &with_tail, AT_P_XATTRS + 3, "\x02", 1,
	    "tags are not strictly ascending" },
	{ "tag that must be known", &with_tail, AT_P_XATTRS + 11, "\x80", 1,
	    "tag that a reader must know" },
	{ "length of a tag's value", &with_tail, AT_P_XATTRS + 12, "\x01", 1,
	    "truncated" },
	{ "length of a tag's value", &with_tail, AT_P_XATTRS + 12, "\x01\x04",
	    2, "string is too long" },
	{ "bytes behind", &fifo, 46, "\0", 1, "trailing bytes" },
	{ "end", &file1, AT_F_TAIL + 1, NULL, CUT_HERE, "truncated" },
	{ "before xattrs", &file1, AT_F_XATTRS, NULL, CUT_HERE, "truncated" },
};

static void
encode(struct wbuf *w, const void *e)
{
	entry_encode(w, e);
}

static const char *
decode(const uint8_t *data, size_t len)
{
	struct entry e;
	struct rbuf r;

	rbuf_init(&r, data, len);
	if (entry_decode(&r, &e) == -1) {
		assert_int_equal(errno, EBADMSG);
		return (r.error);
	}
	return (rbuf_end(&r) == 0 ? NULL : r.error);
}

static void
test_refusals(void **state)
{
	(void)state;
	check_refusals(refusals, sizeof(refusals) / sizeof(refusals[0]), encode,
	    decode);
}

static void
assert_encodes_to(const struct entry *e, const uint8_t *data, size_t len)
{
	struct wbuf w;

	wbuf_init(&w, 1 << 20);
	entry_encode(&w, e);
	assert_int_equal(w.error, 0);
	assert_int_equal(w.len, len);
	assert_memory_equal(w.data, data, len);
	wbuf_free(&w);
}

static void
test_round_trip(void **state)
{
	struct entry e, *dup;
	struct rbuf r;
	struct wbuf w;
	size_t i;

	(void)state;
	for (i = 0; i < NALL; i++) {
		wbuf_init(&w, 1 << 16);
		entry_encode(&w, all[i]);
		rbuf_init(&r, w.data, w.len);
		assert_int_equal(entry_decode(&r, &e), 0);
		assert_int_equal(rbuf_end(&r), 0);
		assert_encodes_to(&e, w.data, w.len);
		/* The copy stands on its own. */
		assert_non_null(dup = entry_dup(&e));
		memset(w.data, 0xff, w.len);
		w.len = 0;
		entry_encode(&w, all[i]);
		assert_encodes_to(dup, w.data, w.len);
		free(dup);
		wbuf_free(&w);
	}
}

static void
look(const uint8_t *data, size_t len)
{
	struct entry e;
	struct rbuf r;

	rbuf_init(&r, data, len);
	if (entry_decode(&r, &e) == 0)
		assert_encodes_to(&e, data, r.pos);
}

static void
test_damage(void **state)
{
	struct wbuf w;
	size_t i;

	(void)state;
	for (i = 0; i < NALL; i++) {
		wbuf_init(&w, 1 << 16);
		entry_encode(&w, all[i]);
		check_damage(w.data, w.len, 3000, rnd64, look);
		wbuf_free(&w);
	}
}

static void
test_delta_forms(void **state)
{
	struct entry e = with_xattrs, d = dir;
	struct wbuf w;

	(void)state;
	assert_null(entry_node_problem(&e));
	assert_null(entry_node_problem(&dir));
	memset(&d.root, 0, sizeof(d.root));
	d.files = d.bytes = 0;
	wbuf_init(&w, 1 << 17);
	entry_encode(&w, &d);
	assert_null(decode(w.data, w.len));
	assert_string_equal(entry_node_problem(&d),
	    "directory without a root in a node");
	wbuf_free(&w);
}

static void
test_encode_refuses(void **state)
{
	struct entry e = fifo;
	struct wbuf w;

	(void)state;
	e.type = 5;
	wbuf_init(&w, 1000);
	entry_encode(&w, &e);
	assert_int_equal(w.error, EINVAL);
	wbuf_free(&w);
}

#define DIFFERS(fn, base, change)                                \
	do {                                                     \
		struct entry a_ = (base), b_ = (base), *e = &b_; \
		struct hash x_, y_;                              \
		change;                                          \
		fn(&a_, &x_);                                    \
		fn(&b_, &y_);                                    \
		differs = hash_cmp(&x_, &y_) != 0;               \
	} while (0)

static void
test_seen_hashes(void **state)
{
	int differs;

	(void)state;
#define DIFFERENT(fn, base, change)        \
	DIFFERS(entry_##fn, base, change); \
	assert_true(differs)
#define SAME(fn, base, change)             \
	DIFFERS(entry_##fn, base, change); \
	assert_false(differs)
	DIFFERENT(content_hash, file1, e->size = 6);
	DIFFERENT(content_hash, sparse, e->chunk_shift = 25);
	DIFFERENT(content_hash, large, e->chunk_root.b[0] = 2);
	DIFFERENT(content_hash, symlnk, e->target_len = 1);
	DIFFERENT(content_hash, fifo, e->type = ENTRY_DIR);
	SAME(content_hash, file1,
	    (e->mode = 0600, e->mtime.sec = 9, e->uid = 8, e->fileid = 77,
		e->ctime.sec = 4));
	SAME(content_hash, dir, (e->root.b[0] = 2, e->files = 9, e->bytes = 9));
	DIFFERENT(attr_hash, file1, e->mode = 0600);
	DIFFERENT(attr_hash, file1, e->uid = 1);
	DIFFERENT(attr_hash, file1, e->gid = 1);
	DIFFERENT(attr_hash, file1, e->mtime.sec = 1);
	DIFFERENT(attr_hash, file1, e->mtime.nsec = 1);
	DIFFERENT(attr_hash, with_xattrs, e->xattrs_len = 11);
	SAME(attr_hash, dir, e->mtime.sec = 1);
	SAME(attr_hash, file1, (e->ctime.sec = 1, e->fileid = 8, e->size = 1));

	/* An empty file has one content. */
	struct entry empty = { .type = ENTRY_FILE, .chunk_shift = 23 };
	SAME(content_hash, empty, e->chunk_shift = 26);
}

static void
test_xattr_forms(void **state)
{
	uint8_t value[1500] = { 0 }, *big;
	struct entry e = fifo, back;
	struct memstore s;
	struct blob *keep;
	struct hash whole, node, missing;
	struct wbuf w;
	size_t len;
	int i;

	(void)state;
	memstore_init(&s);
	for (i = 0; i < 2; i++) {
		assert_int_equal(xattrs_set(NULL, 0, "user.v", value,
				     i == 0 ? 1024 - 9 : 1024 - 8, 0, &big,
				     &len),
		    0);
		assert_int_equal(len, 1024 + i);
		e.xattrs = big;
		e.xattrs_len = len;
		memset(&e.xattr_node, 0, sizeof(e.xattr_node));
		entry_attr_hash(&e, &whole);
		wbuf_init(&w, 1 << 16);
		entry_encode(&w, &e);
		assert_null(decode(w.data, w.len));
		wbuf_free(&w);
		if (i == 1)
			assert_string_equal(entry_node_problem(&e),
			    "whole xattrs of over 1 KiB in a node");
		assert_int_equal(node_xattrs_store(&s.store, &e), 0);
		assert_int_equal(s.puts, (unsigned int)i);
		assert_null(entry_node_problem(&e));
		assert_int_equal(hash_is_zero(&e.xattr_node), i == 0);
		entry_attr_hash(&e, &node);
		assert_memory_equal(&whole, &node, sizeof(node));
		back = e;
		assert_int_equal(node_xattrs_load(&s.store, &back, &keep,
				     &missing),
		    0);
		assert_int_equal(back.xattrs_len, len);
		assert_memory_equal(back.xattrs, big, len);
		assert_true(hash_is_zero(&back.xattr_node));
		blob_unref(keep);
		free(big);
	}
	memstore_lose(&s, &e.xattr_node);
	assert_int_equal(node_xattrs_load(&s.store, &e, &keep, &missing), -1);
	assert_int_equal(errno, ENODATA);
	assert_memory_equal(&missing, &e.xattr_node, sizeof(missing));
	memstore_free(&s);
}

/* Sets and removes against what the kernel does. */
static void
test_xattr_set(void **state)
{
	char longname[300];
	uint8_t *a, *b, *big = calloc(1, 70000);
	const uint8_t *v;
	const char *name;
	struct xattr_iter it;
	size_t alen, blen, n, l;

	(void)state;
	assert_int_equal(xattrs_set(NULL, 0, "user.b", "1", 1, 0, &a, &alen),
	    0);
	assert_int_equal(xattrs_set(a, alen, "user.a", "22", 2, XATTR_CREATE,
			     &b, &blen),
	    0);
	free(a);
	assert_int_equal(xattrs_check(b, blen), 0);
	assert_int_equal(xattrs_set(b, blen, "user.a", "3", 1, XATTR_CREATE, &a,
			     &alen),
	    -1);
	assert_int_equal(errno, EEXIST);
	assert_int_equal(xattrs_set(b, blen, "user.c", "3", 1, XATTR_REPLACE,
			     &a, &alen),
	    -1);
	assert_int_equal(errno, ENODATA);
	assert_int_equal(xattrs_set(b, blen, "user.c", NULL, 0, 0, &a, &alen),
	    -1);
	assert_int_equal(errno, ENODATA);
	assert_int_equal(xattrs_set(b, blen, "system.acl", "", 0, 0, &a, &alen),
	    -1);
	assert_int_equal(errno, EOPNOTSUPP);
	assert_int_equal(xattrs_set(b, blen, "user.", "", 0, 0, &a, &alen), -1);
	assert_int_equal(errno, EOPNOTSUPP);
	memset(longname, 'x', sizeof(longname));
	memcpy(longname, "user.", 5);
	longname[256] = '\0';
	assert_int_equal(xattrs_set(b, blen, longname, "", 0, 0, &a, &alen),
	    -1);
	assert_int_equal(errno, ERANGE);
	assert_int_equal(xattrs_set(b, blen, "user.c", big, 65536, 0, &a,
			     &alen),
	    -1);
	assert_int_equal(errno, ENOSPC);
	assert_int_equal(xattrs_set(b, blen, "user.c", big, 65500, 0, &a,
			     &alen),
	    0);
	free(a);
	assert_int_equal(xattrs_set(b, blen, "user.a", "3", 1, XATTR_REPLACE,
			     &a, &alen),
	    0);
	free(b);
	v = xattrs_get(a, alen, "user.a", &n);
	assert_int_equal(n, 1);
	assert_memory_equal(v, "3", 1);
	assert_null(xattrs_get(a, alen, "user.", &n));
	assert_int_equal(errno, ENODATA);
	xattrs_first(&it, a, alen);
	assert_int_equal(xattrs_next(&it, &name, &n, &v, &l), 1);
	assert_memory_equal(name, "user.a", n);
	assert_int_equal(xattrs_next(&it, &name, &n, &v, &l), 1);
	assert_memory_equal(name, "user.b", n);
	assert_int_equal(xattrs_next(&it, &name, &n, &v, &l), 0);
	assert_int_equal(xattrs_set(a, alen, "user.b", NULL, 0, 0, &b, &blen),
	    0);
	free(a);
	assert_int_equal(xattrs_set(b, blen, "user.a", NULL, 0, 0, &a, &alen),
	    0);
	assert_null(a);
	assert_int_equal(alen, 0);
	/* Not canonical: nothing is mended. */
	b[1] = 'U';
	assert_int_equal(xattrs_check(b, blen), -1);
	assert_int_equal(errno, EBADMSG);
	assert_int_equal(xattrs_set(b, blen, "user.b", "", 0, 0, &a, &alen),
	    -1);
	assert_int_equal(errno, EBADMSG);
	assert_string_equal(xattrs_problem(big, 65537), "xattrs are too long");
	free(b);
	free(big);
}

static void
test_shift(void **state)
{
	(void)state;
	assert_int_equal(chunk_shift_for(0), 23);
	assert_int_equal(chunk_shift_for(1 << 30), 23);
	assert_int_equal(chunk_shift_for((1 << 30) + 1), 25);
	assert_int_equal(chunk_shift_for((uint64_t)1 << 36), 25);
	assert_int_equal(chunk_shift_for(((uint64_t)1 << 36) + 1), 26);
	assert_true(entry_sum_add(UINT64_MAX, 1) == UINT64_MAX);
	assert_true(entry_sum_add(1, 2) == 3);
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
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_damage),
		cmocka_unit_test(test_delta_forms),
		cmocka_unit_test(test_encode_refuses),
		cmocka_unit_test(test_seen_hashes),
		cmocka_unit_test(test_xattr_forms),
		cmocka_unit_test(test_xattr_set),
		cmocka_unit_test(test_shift),
	};

	return (cmocka_run_group_tests(tests, setup, NULL));
}
