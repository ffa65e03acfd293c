/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * Claim: each kind of node is read as it was written, names what is below it,
 * and is refused with the reason when one part of it is not canonical.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "lib/chunklist.h"
#include "lib/node.h"
#include "regress/unit/lib/corrupt.h"
#include "regress/unit/lib/memstore.h"

enum what { LEAF, INDEX, INDEX2, CHUNK_LEAF, CHUNK_INDEX, XATTRS, WHATS };
static const enum what whats[WHATS] = { LEAF, INDEX, INDEX2, CHUNK_LEAF,
	CHUNK_INDEX, XATTRS };

/* A leaf's first name is at 13, its entry at 14; the second at 61. */
static void
encode_leaf(struct wbuf *w)
{
	struct entry e = { .type = ENTRY_FIFO, .fileid = 2 };

	node_leaf_begin(w);
	node_leaf_add(w, (const uint8_t *)"a", 1, &e);
	e.type = ENTRY_DIR;
	e.root.b[0] = 1;
	node_leaf_add(w, (const uint8_t *)"b", 1, &e);
	e.type = ENTRY_FILE;
	e.size = (uint64_t)2000 << 23;
	e.chunk_shift = 23;
	e.chunk_form = CHUNKS_TREE;
	e.chunk_root.b[0] = 2;
	node_leaf_add(w, (const uint8_t *)"c", 1, &e);
	e.size = (uint64_t)20 << 23;
	e.chunk_root.b[0] = 3;
	e.xattr_node.b[0] = 4;
	node_leaf_add(w, (const uint8_t *)"d", 1, &e);
	node_leaf_end(w, 4);
}

/* A child: length, "m", hash, entries, files, bytes: 58 bytes, from 12 on. */
static void
encode_index(struct wbuf *w, uint8_t level)
{
	struct node_child c = { .last = (const uint8_t *)"m",
		.last_len = 1,
		.entries = 100,
		.files = 100,
		.bytes = 5 };

	node_index_begin(w, level);
	c.hash.b[0] = 1;
	node_index_add(w, &c);
	c.last = (const uint8_t *)"x";
	c.hash.b[0] = 2;
	node_index_add(w, &c);
	node_index_end(w, 2);
}

static void
encode_chunks(struct wbuf *w, uint8_t kind, uint8_t level)
{
	struct hash h = { { 1 } };

	node_begin(w, kind, level);
	wbuf_u32(w, 3);
	wbuf_u32(w, 1 << 1);
	wbuf_u32(w, 2 << 1 | 1);
	wbuf_hash(w, &h);
	h.b[0] = 2;
	wbuf_hash(w, &h);
}

static void
encode_xattrs(struct wbuf *w)
{
	static uint8_t zero[1100];
	uint8_t *x;
	size_t len;

	assert_int_equal(xattrs_set(NULL, 0, "user.a", zero, sizeof(zero), 0,
			     &x, &len),
	    0);
	node_xattrs_encode(w, x, len);
	free(x);
}

static void
encode(struct wbuf *w, const void *what)
{
	switch (*(const enum what *)what) {
	case LEAF:
		encode_leaf(w);
		break;
	case INDEX:
		encode_index(w, 1);
		break;
	case INDEX2:
		encode_index(w, 2);
		break;
	case CHUNK_LEAF:
		encode_chunks(w, NODE_CHUNK_LEAF, 0);
		break;
	case CHUNK_INDEX:
		encode_chunks(w, NODE_CHUNK_INDEX, 1);
		break;
	default:
		encode_xattrs(w);
	}
}

static const char *
decode(const uint8_t *data, size_t len)
{
	uint8_t kind;

	return (node_check(data, len, &kind));
}

#define ZERO8 "\0\0\0\0\0\0\0\0"
static const struct refusal refusals[] = {
	{ "header", &whats[LEAF], 7, NULL, CUT_HERE,
	    "node is shorter than its header" },
	{ "magic", &whats[LEAF], 0, "s", 1, "bad magic of a node" },
	{ "kind 0", &whats[LEAF], 4, "\0", 1, "unknown kind of node" },
	{ "kind 7", &whats[LEAF], 4, "\x07", 1, "unknown kind of node" },
	{ "version", &whats[LEAF], 5, "\x00", 1, "unknown version of a node" },
	{ "algorithm", &whats[LEAF], 6, "\x00", 1, "unknown hash algorithm" },
	{ "level of a leaf", &whats[LEAF], 7, "\x01", 1,
	    "level of a node that is no index" },
	{ "level 0 of an index", &whats[INDEX], 7, "\x00", 1,
	    "bad level of an index node" },
	{ "level 9 of an index", &whats[INDEX], 7, "\x09", 1,
	    "bad level of an index node" },
	{ "level of chunks", &whats[CHUNK_INDEX], 7, "\x00", 1,
	    "bad level of an index node" },
	{ "count of a leaf", &whats[LEAF], 8, "\x01\x04", 2,
	    "node has too many items" },
	{ "count too small", &whats[LEAF], 8, "\x03", 1, "trailing bytes" },
	{ "count too large", &whats[LEAF], 8, "\x05", 1, "truncated" },
	{ "count's end", &whats[LEAF], 11, NULL, CUT_HERE, "truncated" },
	{ "bytes of a leaf", &whats[LEAF], 12 + NODE_LEAF_BYTES, "\0", 1,
	    "items of a node are too long" },
	{ "bytes of a node", &whats[LEAF], NODE_MAX_BYTES, "\0", 1,
	    "node is too long" },
	{ "length of a name", &whats[LEAF], 12, "\0", 1, "empty name" },
	{ "slash", &whats[LEAF], 13, "/", 1, "name has a slash" },
	{ "NUL", &whats[LEAF], 13, "\0", 1, "name has a NUL" },
	{ "dot", &whats[LEAF], 13, ".", 1, "name is . or .." },
	{ "reserved name", &whats[LEAF], 12, "\x08.sailvol", 9,
	    "name is reserved" },
	{ "order of names", &whats[LEAF], 13, "c", 1,
	    "names are not strictly ascending" },
	{ "name twice", &whats[LEAF], 13, "b", 1,
	    "names are not strictly ascending" },
	{ "an entry", &whats[LEAF], 14, "\x05", 1, "unknown type of entry" },
	{ "bytes behind a leaf", &whats[LEAF], 369, "\0", 1, "trailing bytes" },
	{ "count of an index", &whats[INDEX], 8, "\0", 1,
	    "index node without children" },
	{ "order of children", &whats[INDEX], 13, "y", 1,
	    "names are not strictly ascending" },
	{ "hash of a child", &whats[INDEX], 14, "\0", 1,
	    "child without a hash" },
	{ "entries of a child", &whats[INDEX], 46, "\0", 1,
	    "sums contradict: child without entries" },
	{ "too many entries of a leaf", &whats[INDEX], 46, "\x01\x04", 2,
	    "sums contradict: too many for a leaf" },
	{ "files of a child", &whats[INDEX], 54, "\0", 1,
	    "sums contradict: more bytes than the files can have" },
	{ "bytes of a child", &whats[INDEX2], 62,
	    "\xff\xff\xff\xff\xff\xff\xff"
	    "\xff",
	    8, "sums contradict: more bytes than the files can have" },
	{ "end of a child", &whats[INDEX], 127, NULL, CUT_HERE, "truncated" },
	{ "bytes behind an index", &whats[INDEX], 128, "\0", 1,
	    "trailing bytes" },
	{ "no slots", &whats[CHUNK_LEAF], 8, "\0", 1,
	    "bad number of slots of a chunk node" },
	{ "too many slots", &whats[CHUNK_LEAF], 8, "\x01\x04", 2,
	    "bad number of slots of a chunk node" },
	{ "empty run", &whats[CHUNK_LEAF], 12, "\0", 1, "empty run of slots" },
	{ "adjacent runs", &whats[CHUNK_INDEX], 16, "\x04", 1,
	    "adjacent runs of one kind" },
	{ "long run", &whats[CHUNK_INDEX], 12, "\x08", 1,
	    "runs have more than the slots" },
	{ "holes alone", &whats[CHUNK_LEAF], 12, "\x06", 1,
	    "chunk node of holes alone" },
	{ "hash of zero", &whats[CHUNK_LEAF], 20, "\0", 1,
	    "slot without a hash that is no hole" },
	{ "end of the hashes", &whats[CHUNK_LEAF], 83, NULL, CUT_HERE,
	    "truncated" },
	{ "bytes behind chunks", &whats[CHUNK_LEAF], 84, "\0", 1,
	    "trailing bytes" },
	{ "xattrs of 1 KiB", &whats[XATTRS], 8 + 1024, NULL, CUT_HERE,
	    "node of xattrs of 1 KiB or less" },
	{ "name of an xattr", &whats[XATTRS], 9, "S", 1,
	    "xattr is not below user." },
	{ "length of a value", &whats[XATTRS], 15, "\xff\xff", 2, "truncated" },
};

static void
test_refusals(void **state)
{
	(void)state;
	check_refusals(refusals, sizeof(refusals) / sizeof(refusals[0]), encode,
	    decode);
}

/* What entry_decode takes for deltas is refused in a node. */
static void
test_delta_forms(void **state)
{
	struct entry e = { .type = ENTRY_DIR, .fileid = 2 };
	uint8_t *x, zero[1100] = { 0 };
	struct wbuf w;
	size_t len;
	int i;

	(void)state;
	assert_int_equal(xattrs_set(NULL, 0, "user.a", zero, sizeof(zero), 0,
			     &x, &len),
	    0);
	for (i = 0; i < 2; i++) {
		wbuf_init(&w, 1 << 16);
		node_leaf_begin(&w);
		wbuf_u8(&w, 1);
		wbuf_u8(&w, 'a');
		entry_encode(&w, &e);
		node_leaf_end(&w, 1);
		assert_string_equal(decode(w.data, w.len),
		    i == 0 ? "directory without a root in a node"
			   : "whole xattrs of over 1 KiB in a node");
		node_leaf_add(&w, (const uint8_t *)"b", 1, &e);
		assert_int_equal(w.error, EINVAL);
		wbuf_free(&w);
		e.root.b[0] = 1;
		e.xattrs = x;
		e.xattrs_len = len;
	}
	e.xattrs_len = 0;
	wbuf_init(&w, 1 << 16);
	node_leaf_begin(&w);
	node_leaf_add(&w, (const uint8_t *)"a/b", 3, &e);
	assert_int_equal(w.error, EINVAL);
	wbuf_free(&w);
	free(x);
}

struct seen_refs {
	int n;
	uint8_t first[8], kind[8];
	int stop;
};

static int
on_reference(void *arg, const struct hash *h, uint8_t kind)
{
	struct seen_refs *s = arg;

	s->first[s->n] = h->b[0];
	s->kind[s->n++] = kind;
	return (s->n == s->stop ? -1 : 0);
}

static void
references(enum what what, struct seen_refs *s, int want)
{
	struct wbuf w;

	wbuf_init(&w, 1 << 16);
	encode(&w, &what);
	assert_int_equal(node_references(w.data, w.len, on_reference, s), want);
	wbuf_free(&w);
}

static void
test_references(void **state)
{
	struct seen_refs s = { 0 };

	(void)state;
	references(LEAF, &s, 0);
	assert_int_equal(s.n, 4);
	assert_memory_equal(s.first, "\x01\x02\x04\x03", 4);
	assert_memory_equal(s.kind,
	    ((uint8_t[]){ 0, NODE_CHUNK_INDEX, NODE_XATTRS, NODE_CHUNK_LEAF }),
	    4);
	memset(&s, 0, sizeof(s));
	references(INDEX, &s, 0);
	assert_int_equal(s.n, 2);
	assert_int_equal(s.kind[1], NODE_LEAF);
	memset(&s, 0, sizeof(s));
	references(INDEX2, &s, 0);
	assert_int_equal(s.kind[1], NODE_INDEX);
	memset(&s, 0, sizeof(s));
	references(CHUNK_INDEX, &s, 0);
	assert_int_equal(s.n, 2);
	assert_memory_equal(s.first, "\x01\x02", 2);
	assert_int_equal(s.kind[0], NODE_CHUNK_LEAF);
	memset(&s, 0, sizeof(s));
	references(CHUNK_LEAF, &s, 0);
	references(XATTRS, &s, 0);
	assert_int_equal(s.n, 0);
	s.stop = 1;
	references(LEAF, &s, -1);
	assert_int_equal(s.n, 1);
	assert_int_equal(node_references((const uint8_t *)"x", 1, on_reference,
			     &s),
	    -1);
	assert_int_equal(errno, EBADMSG);
}

/* What a leaf or an index gives is what it was made from. */
static void
rebuild(const uint8_t *data, size_t len, uint8_t kind)
{
	struct node_child c;
	struct node_index x;
	struct node_leaf l;
	struct entry e;
	const uint8_t *name;
	struct wbuf w;
	size_t n;

	wbuf_init(&w, NODE_MAX_BYTES);
	if (kind == NODE_LEAF) {
		assert_int_equal(node_leaf_open(&l, data, len), 0);
		node_leaf_begin(&w);
		while (node_leaf_next(&l, &name, &n, &e) == 1)
			node_leaf_add(&w, name, n, &e);
		node_leaf_end(&w, l.count);
	} else {
		assert_int_equal(node_index_open(&x, data, len), 0);
		node_index_begin(&w, x.level);
		while (node_index_next(&x, &c) == 1)
			node_index_add(&w, &c);
		node_index_end(&w, x.count);
	}
	assert_int_equal(w.len, len);
	assert_memory_equal(w.data, data, len);
	wbuf_free(&w);
}

static int
count_reference(void *arg, const struct hash *h, uint8_t kind)
{
	(void)arg;
	(void)h;
	assert_true(kind <= NODE_XATTRS);
	return (0);
}

static void
look(const uint8_t *data, size_t len)
{
	uint8_t kind;

	if (node_check(data, len, &kind) != NULL) {
		(void)node_references(data, len, count_reference, NULL);
		return;
	}
	assert_int_equal(node_references(data, len, count_reference, NULL), 0);
	if (kind == NODE_LEAF || kind == NODE_INDEX)
		rebuild(data, len, kind);
}

static void
test_damage(void **state)
{
	struct wbuf w;
	int i;

	(void)state;
	for (i = 0; i < WHATS; i++) {
		wbuf_init(&w, 1 << 16);
		encode(&w, &whats[i]);
		look(w.data, w.len);
		check_damage(w.data, w.len, 8000, rnd64, look);
		wbuf_free(&w);
	}
}

/* The right calls for the wrong kind. */
static void
test_other_kind(void **state)
{
	const uint8_t *p;
	struct node_index x;
	struct node_leaf l;
	struct wbuf w;
	uint64_t n;
	size_t len;

	(void)state;
	wbuf_init(&w, 1 << 16);
	encode_index(&w, 1);
	assert_int_equal(node_leaf_open(&l, w.data, w.len), -1);
	assert_int_equal(errno, EBADMSG);
	assert_string_equal(l.r.error, "node of another kind");
	assert_string_equal(chunk_node_check(w.data, w.len, &n),
	    "node of another kind");
	assert_string_equal(node_xattrs_open(w.data, w.len, &p, &len),
	    "node of another kind");
	w.len = 0;
	encode_leaf(&w);
	assert_int_equal(node_index_open(&x, w.data, w.len), -1);
	assert_string_equal(x.r.error, "node of another kind");
	wbuf_free(&w);
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
		cmocka_unit_test(test_delta_forms),
		cmocka_unit_test(test_references),
		cmocka_unit_test(test_damage),
		cmocka_unit_test(test_other_kind),
	};

	return (cmocka_run_group_tests(tests, setup, NULL));
}
