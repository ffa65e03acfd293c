/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * Claim: the chunks of a file come back from each encoding as they went in,
 * sparse or full, and the tree's form is the one that its slots fix.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>

#include <cmocka.h>

#include "lib/chunklist.h"
#include "lib/path.h"
#include "regress/unit/lib/corrupt.h"
#include "regress/unit/lib/memstore.h"

#define MIB8 ((uint64_t)1 << 23)

static struct hash
hash_of(uint64_t i)
{
	struct hash h;

	hash_bytes(&h, &i, sizeof(i));
	return (h);
}

/* slots of 8 MiB, one in `one_in' of them with a hash, at most max. */
static struct chunklist *
make(uint64_t slots, uint64_t one_in, uint64_t max)
{
	struct chunklist *c = chunklist_new(slots * MIB8 - 1, 23);
	struct hash h;
	uint64_t i;

	for (i = 0; i < slots; i++) {
		h = hash_of(i);
		if (chunklist_hashes(c) < max && rnd(one_in) == 0)
			assert_int_equal(chunklist_add(c, &h), 0);
		else
			assert_int_equal(chunklist_add_hole(c, 1), 0);
	}
	return (c);
}

static void
assert_same(const struct chunklist *a, const struct chunklist *b)
{
	uint64_t i = 0, j = 0;
	struct hash g, h;
	int r;

	assert_int_equal(chunklist_size(a), chunklist_size(b));
	assert_int_equal(chunklist_shift(a), chunklist_shift(b));
	assert_int_equal(chunklist_hashes(a), chunklist_hashes(b));
	while ((r = chunklist_next(a, i, &i, &g)) == 1) {
		assert_int_equal(chunklist_next(b, j, &j, &h), 1);
		assert_int_equal(i, j);
		assert_memory_equal(&g, &h, sizeof(g));
		i++;
		j++;
	}
	assert_int_equal(chunklist_next(b, j, &j, &h), 0);
}

static void
test_slots(void **state)
{
	struct chunklist *c;
	struct hash h = hash_of(1), zero = { { 0 } }, got;
	uint64_t at;

	(void)state;
	assert_null(chunklist_new(1, 24));
	assert_null(chunklist_new(SAIL_SIZE_MAX + 1, 26));
	assert_non_null(c = chunklist_new(2 * MIB8 + 5, 23));
	assert_int_equal(chunklist_slots(c), 3);
	assert_int_equal(chunklist_slot_bytes(c, 0), MIB8);
	assert_int_equal(chunklist_slot_bytes(c, 2), 5);
	assert_int_equal(chunklist_slot_bytes(c, 3), 0);
	assert_int_equal(chunklist_add(c, &zero), -1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(chunklist_add_hole(c, 0), 0);
	assert_int_equal(chunklist_add_hole(c, 4), -1);
	assert_int_equal(chunklist_add_hole(c, 2), 0);
	assert_int_equal(chunklist_add(c, &h), 0);
	assert_int_equal(chunklist_add(c, &h), -1);
	assert_int_equal(chunklist_get(c, 1, &got), 0);
	assert_int_equal(chunklist_get(c, 2, &got), 1);
	assert_memory_equal(&got, &h, sizeof(h));
	assert_int_equal(chunklist_get(c, 3, &got), -1);
	assert_int_equal(errno, ERANGE);
	assert_int_equal(chunklist_next(c, 0, &at, &got), 1);
	assert_int_equal(at, 2);
	chunklist_free(c);
	chunklist_free(NULL);
	assert_non_null(c = chunklist_new(0, 26));
	assert_int_equal(chunklist_slots(c), 0);
	chunklist_free(c);
	assert_int_equal(chunk_tree_level(1024), 0);
	assert_int_equal(chunk_tree_level(1025), 1);
	assert_int_equal(chunk_tree_level(1 << 20), 1);
	assert_int_equal(chunk_tree_level((1 << 20) + 1), 2);
	assert_int_equal(chunk_tree_level(1 << 30), 2);
}

/* Slots one by one: what the list says, with one look at each node. */
static void
assert_found(const struct chunklist *c, const struct entry *e,
    struct memstore *s)
{
	uint64_t slots = chunklist_slots(c), slot, step = slots / 500 + 1;
	struct chunk_finder f;
	struct hash want, got;
	unsigned int before = s->gets;
	int r;

	chunk_finder_init(&f, e, &s->store);
	assert_int_equal(chunk_finder_get(&f, slots, &got), -1);
	assert_int_equal(errno, ERANGE);
	for (slot = 0; slot < slots; slot += step) {
		r = chunklist_get(c, slot, &want);
		assert_int_equal(chunk_finder_get(&f, slot, &got), r);
		if (r == 1)
			assert_memory_equal(&got, &want, sizeof(got));
		assert_int_equal(chunk_slot_bytes(e->size, e->chunk_shift,
				     slot),
		    chunklist_slot_bytes(c, slot));
	}
	chunk_finder_free(&f);
	assert_true(s->gets - before <= s->puts);
	before = s->gets;
	chunk_finder_init(&f, e, &s->store);
	if (chunklist_next(c, slots / 2, &slot, &want)) {
		assert_int_equal(chunk_finder_get(&f, slot, &got), 1);
		assert_memory_equal(&got, &want, sizeof(got));
	}
	chunk_finder_free(&f);
	assert_true(s->gets - before <= CHUNK_LEVELS_MAX);
}

static void
round_trip(const struct chunklist *c)
{
	struct chunk_finder f;
	struct chunklist *back;
	struct memstore s;
	struct entry e, d;
	struct wbuf w, entry;
	struct rbuf r;
	struct hash missing;

	memstore_init(&s);
	memset(&e, 0, sizeof(e));
	e.type = ENTRY_FILE;
	e.fileid = 2;
	wbuf_init(&w, 1 << 16);
	wbuf_init(&entry, 1 << 16);
	assert_int_equal(chunklist_to_entry(c, &s.store, &e, &w), 0);
	assert_int_equal(e.chunk_form, chunklist_hashes(c) > 8);
	entry_encode(&entry, &e);
	rbuf_init(&r, entry.data, entry.len);
	assert_int_equal(entry_decode(&r, &d), 0);
	back = chunklist_from_entry(&d, &s.store, UINT64_MAX, &missing);
	assert_non_null(back);
	assert_same(c, back);
	assert_found(c, &d, &s);
	chunklist_free(back);
	if (chunklist_hashes(c) > 0) {
		assert_null(chunklist_from_entry(&d, &s.store,
		    chunklist_hashes(c) - 1, &missing));
		assert_int_equal(errno, EFBIG);
	}
	if (e.chunk_form == CHUNKS_TREE) {
		memstore_lose(&s, &e.chunk_root);
		assert_null(
		    chunklist_from_entry(&d, &s.store, UINT64_MAX, &missing));
		assert_int_equal(errno, ENODATA);
		assert_memory_equal(&missing, &e.chunk_root, sizeof(missing));
		chunk_finder_init(&f, &d, &s.store);
		assert_int_equal(chunk_finder_get(&f, 0, &missing), -1);
		assert_int_equal(errno, ENODATA);
		chunk_finder_free(&f);
	}
	wbuf_free(&w);
	wbuf_free(&entry);
	wbuf_init(&w, 64 << 20);
	chunklist_encode(&w, c);
	assert_int_equal(w.error, 0);
	rbuf_init(&r, w.data, w.len);
	assert_non_null(back = chunklist_decode(&r, UINT64_MAX));
	assert_int_equal(rbuf_end(&r), 0);
	assert_same(c, back);
	chunklist_free(back);
	wbuf_free(&w);
	memstore_free(&s);
}

static void
test_round_trips(void **state)
{
	static const uint64_t slots[] = { 1, 8, 9, 100, 1023, 1024, 1025,
		5000 };
	static const uint64_t one_in[] = { 1, 2, 50 };
	struct chunklist *c;
	struct hash h;
	size_t i, j;

	(void)state;
	assert_non_null(c = chunklist_new(0, 23));
	round_trip(c);
	chunklist_free(c);
	for (i = 0; i < sizeof(slots) / sizeof(slots[0]); i++) {
		for (j = 0; j < 3; j++) {
			c = make(slots[i], one_in[j], UINT64_MAX);
			round_trip(c);
			chunklist_free(c);
			c = make(slots[i], one_in[j], 8);
			round_trip(c);
			chunklist_free(c);
		}
	}
	/* The largest file, nine chunks in it. */
	assert_non_null(c = chunklist_new(SAIL_SIZE_MAX, 23));
	for (i = 0; i < 9; i++) {
		h = hash_of(i);
		assert_int_equal(chunklist_add_hole(c, i * 1000000 + 1), 0);
		assert_int_equal(chunklist_add(c, &h), 0);
	}
	assert_int_equal(chunklist_add_hole(c, (1 << 30) - 36000018), 0);
	round_trip(c);
	chunklist_free(c);
}

/* One chunk of 10 TiB changed: the path of it is new, nothing else. */
static void
test_one_change(void **state)
{
	struct chunklist *c;
	struct memstore s;
	struct entry e = { .type = ENTRY_FILE };
	struct hash h;
	struct wbuf w;
	uint64_t i, slots = 163840;
	size_t before;
	int round;

	(void)state;
	memstore_init(&s);
	wbuf_init(&w, 1000);
	for (round = 0; round < 2; round++) {
		before = s.n;
		c = chunklist_new(slots << 26, 26);
		for (i = 0; i < slots; i++) {
			h = hash_of(i == 100000 && round ? slots : i);
			assert_int_equal(chunklist_add(c, &h), 0);
		}
		assert_int_equal(chunklist_to_entry(c, &s.store, &e, &w), 0);
		chunklist_free(c);
	}
	assert_int_equal(s.n - before, 2);
	wbuf_free(&w);
	memstore_free(&s);
}

static void
test_unfinished(void **state)
{
	struct chunklist *c = chunklist_new(2 * MIB8, 23);
	struct memstore s;
	struct entry e;
	struct wbuf w;

	(void)state;
	memstore_init(&s);
	wbuf_init(&w, 1000);
	assert_int_equal(chunklist_add_hole(c, 1), 0);
	assert_int_equal(chunklist_to_entry(c, &s.store, &e, &w), -1);
	assert_int_equal(errno, EINVAL);
	chunklist_encode(&w, c);
	assert_int_equal(w.error, EINVAL);
	wbuf_free(&w);
	memstore_free(&s);
	chunklist_free(c);
}

/* Puts a chunk node of these runs (pairs: count, hashes) and tells its name. */
static struct hash
put_node(struct memstore *s, uint8_t kind, uint8_t level, uint32_t slots,
    uint32_t run, const struct hash *h, uint32_t n)
{
	struct hash out;
	struct wbuf w;
	uint32_t i;

	wbuf_init(&w, NODE_MAX_BYTES);
	node_begin(&w, kind, level);
	wbuf_u32(&w, slots);
	wbuf_u32(&w, run);
	if (run >> 1 < slots)
		wbuf_u32(&w, (slots - (run >> 1)) << 1 | !(run & 1));
	for (i = 0; i < n; i++)
		wbuf_hash(&w, h);
	assert_int_equal(node_put(&s->store, w.data, w.len, &out), 0);
	wbuf_free(&w);
	return (out);
}

static void
assert_bad_tree(struct memstore *s, uint64_t slots, struct hash root)
{
	struct entry e = { .type = ENTRY_FILE,
		.fileid = 2,
		.chunk_shift = 23,
		.chunk_form = CHUNKS_TREE,
		.size = slots * MIB8 };
	struct hash missing;

	e.chunk_root = root;
	assert_null(chunklist_from_entry(&e, &s->store, UINT64_MAX, &missing));
	assert_int_equal(errno, EBADMSG);
}

static void
assert_bad_slot(struct memstore *s, uint64_t slots, struct hash root)
{
	struct entry e = { .type = ENTRY_FILE,
		.chunk_shift = 23,
		.chunk_form = CHUNKS_TREE,
		.size = slots * MIB8 };
	struct chunk_finder f;
	struct hash h;

	assert_bad_tree(s, slots, root);
	e.chunk_root = root;
	chunk_finder_init(&f, &e, &s->store);
	assert_int_equal(chunk_finder_get(&f, 0, &h), -1);
	assert_int_equal(errno, EBADMSG);
	chunk_finder_free(&f);
}

static void
test_tree_refusals(void **state)
{
	struct memstore s;
	struct entry e = { .type = ENTRY_FILE, .chunk_shift = 24 };
	struct hash h = hash_of(1), leaf, full, missing;

	(void)state;
	memstore_init(&s);
	leaf = put_node(&s, NODE_CHUNK_LEAF, 0, 10, 8 << 1 | 1, &h, 8);
	/* Eight hashes belong into the entry. */
	assert_bad_tree(&s, 10, leaf);
	/* Slots other than those of the size. */
	leaf = put_node(&s, NODE_CHUNK_LEAF, 0, 10, 10 << 1 | 1, &h, 10);
	assert_bad_slot(&s, 11, leaf);
	/* A leaf where an index must be, and the other way round. */
	full = put_node(&s, NODE_CHUNK_LEAF, 0, 1024, 1024 << 1 | 1, &h, 1024);
	assert_bad_slot(&s, 1025, full);
	assert_bad_slot(&s, 10,
	    put_node(&s, NODE_CHUNK_INDEX, 1, 10, 10 << 1 | 1, &leaf, 10));
	/* An index of one level too many. */
	assert_bad_slot(&s, 2048,
	    put_node(&s, NODE_CHUNK_INDEX, 2, 2, 2 << 1 | 1, &full, 2));
	/* A child with fewer slots than its place has. */
	assert_bad_slot(&s, 2048,
	    put_node(&s, NODE_CHUNK_INDEX, 1, 2, 2 << 1 | 1, &leaf, 2));
	/* Not a node of chunks. */
	assert_int_equal(memstore_put(&s, &h, (const uint8_t *)"x", 1), 0);
	assert_bad_slot(&s, 10, h);
	assert_null(chunklist_from_entry(&e, &s.store, 9, &missing));
	assert_int_equal(errno, EBADMSG);
	memstore_free(&s);
}

/* A few equal nodes stand for more chunks than may be held: that is seen before
   they are loaded. */
static void
test_tree_of_equals(void **state)
{
	struct entry e = { .type = ENTRY_FILE, .chunk_shift = CHUNK_SHIFT_MIN };
	struct hash many[1024], root, missing;
	struct rusage before, after;
	struct memstore s;
	uint8_t level;
	size_t i;

	(void)state;
	memstore_init(&s);
	root = hash_of(1);
	for (level = 0; level < 3; level++) {
		for (i = 0; i < 1024; i++)
			many[i] = root;
		root = put_node(&s,
		    level == 0 ? NODE_CHUNK_LEAF : NODE_CHUNK_INDEX, level,
		    1024, 1024 << 1 | 1, many, 1024);
	}
	e.size = (uint64_t)1 << (30 + CHUNK_SHIFT_MIN);
	e.chunk_form = CHUNKS_TREE;
	e.chunk_root = root;
	assert_int_equal(getrusage(RUSAGE_SELF, &before), 0);
	assert_null(
	    chunklist_from_entry(&e, &s.store, (uint64_t)1 << 22, &missing));
	assert_int_equal(errno, EFBIG);
	assert_int_equal(getrusage(RUSAGE_SELF, &after), 0);
	/* KiB; they would take 128 MiB and more. */
	if (after.ru_maxrss - before.ru_maxrss > 65536)
		fail_msg("%ld KiB", after.ru_maxrss - before.ru_maxrss);
	memstore_free(&s);
}

static struct chunklist *flat; /* hole, hash, hash, hole */

static void
encode(struct wbuf *w, const void *arg)
{
	(void)arg;
	chunklist_encode(w, flat);
}

static const char *
decode(const uint8_t *data, size_t len)
{
	struct chunklist *c;
	struct rbuf r;

	rbuf_init(&r, data, len);
	if ((c = chunklist_decode(&r, 100)) == NULL) {
		assert_non_null(r.error);
		return (r.error);
	}
	chunklist_free(c);
	return (rbuf_end(&r) == 0 ? NULL : r.error);
}

static const struct refusal refusals[] = {
	{ "size", NULL, 0, "\x01\0\0\0\0\0\x20\0", 8, "file is too large" },
	{ "shift", NULL, 8, "\x16", 1, "bad chunk size" },
	{ "empty run", NULL, 9, "\0", 1, "empty run of slots" },
	{ "long run", NULL, 17, "\x04", 1, "runs have more than the slots" },
	{ "kind of a run", NULL, 13, "\x04", 1, "adjacent runs of one kind" },
	{ "first hash", NULL, 21,
	    "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
	    32, "slot without a hash that is no hole" },
	{ "last hash", NULL, 84, NULL, CUT_HERE, "truncated" },
	{ "runs", NULL, 11, NULL, CUT_HERE, "truncated" },
	{ "header", NULL, 8, NULL, CUT_HERE, "truncated" },
	{ "bytes behind", NULL, 85, "\0", 1, "trailing bytes" },
};

static void
look(const uint8_t *data, size_t len)
{
	struct chunklist *c;
	struct rbuf r;
	struct wbuf w;

	rbuf_init(&r, data, len);
	if ((c = chunklist_decode(&r, 1000)) == NULL)
		return;
	wbuf_init(&w, 1 << 20);
	chunklist_encode(&w, c);
	assert_int_equal(w.len, r.pos);
	assert_memory_equal(w.data, data, w.len);
	wbuf_free(&w);
	chunklist_free(c);
}

static void
test_flat(void **state)
{
	struct hash h = hash_of(3);
	struct wbuf w;

	(void)state;
	flat = chunklist_new(4 * MIB8, 23);
	chunklist_add_hole(flat, 1);
	chunklist_add(flat, &h);
	chunklist_add(flat, &h);
	chunklist_add_hole(flat, 1);
	check_refusals(refusals, sizeof(refusals) / sizeof(refusals[0]), encode,
	    decode);
	wbuf_init(&w, 1000);
	encode(&w, NULL);
	check_damage(w.data, w.len, 20000, rnd64, look);
	wbuf_free(&w);
	chunklist_free(flat);
	assert_string_equal(chunks_inline_check(NULL, 0, 0, 24),
	    "bad chunk size");
}

/* The bytes that are there are those of the slots with a hash. */
static void
test_inline_bytes(void **state)
{
	struct chunklist *c;
	struct entry e;
	struct wbuf w;
	uint64_t slots, i, want, n;
	struct hash h;

	(void)state;
	for (n = 0; n < 200; n++) {
		slots = 1 + rnd(30);
		c = make(slots, 1 + rnd(5), CHUNK_INLINE_MAX);
		for (want = 0, i = 0; i < slots; i++)
			if (chunklist_get(c, i, &h) == 1)
				want += chunklist_slot_bytes(c, i);
		memset(&e, 0, sizeof(e));
		wbuf_init(&w, 1000);
		assert_int_equal(chunklist_to_entry(c, NULL, &e, &w), 0);
		assert_int_equal(chunks_inline_bytes(e.chunks, e.chunks_len,
				     e.size, e.chunk_shift),
		    want);
		wbuf_free(&w);
		chunklist_free(c);
	}
	assert_int_equal(chunks_inline_bytes(NULL, 0, 0, 23), 0);
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
		cmocka_unit_test(test_slots),
		cmocka_unit_test(test_round_trips),
		cmocka_unit_test(test_one_change),
		cmocka_unit_test(test_unfinished),
		cmocka_unit_test(test_tree_refusals),
		cmocka_unit_test(test_tree_of_equals),
		cmocka_unit_test(test_flat),
		cmocka_unit_test(test_inline_bytes),
	};

	return (cmocka_run_group_tests(tests, setup, NULL));
}
