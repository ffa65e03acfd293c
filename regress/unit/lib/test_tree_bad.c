/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * Claim: a directory whose nodes contradict each other, or are not there, is
 * refused by whoever reads it, and an edit that is not proper changes nothing.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "lib/tree.h"
#include "regress/unit/lib/memstore.h"

static const uint8_t salt[TREE_SALT_LEN];

/* A leaf of one-letter names, each a file of 3 bytes of zeros. */
static struct node_child
put_leaf(struct memstore *s, const char *names)
{
	struct entry e = { .type = ENTRY_FILE,
		.fileid = 2,
		.size = 3,
		.chunk_shift = 23,
		.chunks = (const uint8_t *)"\x02\0\0\0",
		.chunks_len = 4 };
	struct node_child c;
	struct wbuf w;
	size_t i;

	memset(&c, 0, sizeof(c));
	wbuf_init(&w, 1 << 16);
	node_leaf_begin(&w);
	for (i = 0; names[i] != '\0'; i++)
		node_leaf_add(&w, (const uint8_t *)names + i, 1, &e);
	node_leaf_end(&w, (uint32_t)i);
	assert_int_equal(node_put(&s->store, w.data, w.len, &c.hash), 0);
	wbuf_free(&w);
	c.last = (const uint8_t *)names + i - 1;
	c.last_len = 1;
	c.entries = c.files = i;
	c.bytes = 3 * i;
	return (c);
}

static struct node_child
put_index(struct memstore *s, uint8_t level, const struct node_child *v,
    uint32_t n)
{
	struct node_child c = v[n - 1];
	struct wbuf w;
	uint32_t i;

	wbuf_init(&w, 1 << 16);
	node_index_begin(&w, level);
	c.entries = c.files = c.bytes = 0;
	for (i = 0; i < n; i++) {
		node_index_add(&w, &v[i]);
		c.entries += v[i].entries;
		c.files += v[i].files;
		c.bytes += v[i].bytes;
	}
	node_index_end(&w, n);
	assert_int_equal(node_put(&s->store, w.data, w.len, &c.hash), 0);
	wbuf_free(&w);
	return (c);
}

static int
on_diff(void *arg, const uint8_t *name, size_t len, const struct entry *a,
    const struct entry *b)
{
	(void)arg;
	(void)name;
	(void)len;
	(void)a;
	(void)b;
	return (0);
}

/* errno of reading all, 0 when nothing is wrong. */
static int
iterate(struct memstore *s, const struct hash *root, const char *from)
{
	struct tree_iter *it;
	const uint8_t *name;
	struct entry e;
	size_t len;
	int r;

	it = tree_iter_begin(&s->store, root, from, strlen(from), 0);
	assert_non_null(it);
	while ((r = tree_iter_next(it, &name, &len, &e)) == 1)
		;
	if (r == -1) {
		r = errno;
		/* It stays at an end. */
		assert_int_equal(tree_iter_next(it, &name, &len, &e), -1);
		assert_int_equal(errno, r);
	}
	tree_iter_end(it);
	return (r);
}

static int
delete_names(struct memstore *s, const struct hash *root, const char *names)
{
	struct tree_edit v[26];
	struct tree_sums sums;
	struct hash out;
	size_t i;

	for (i = 0; names[i] != '\0'; i++) {
		v[i].name = names + i;
		v[i].len = 1;
		v[i].entry = NULL;
	}
	return (tree_apply(&s->store, salt, root, v, i, &out, &sums) == -1
		? errno
		: 0);
}

static void
assert_refused(struct memstore *s, const struct hash *root, const char *what)
{
	int got;

	if ((got = iterate(s, root, "")) != EBADMSG)
		fail_msg("%s: iteration: %s", what, strerror(got));
	if ((got = delete_names(s, root, "ae")) != EBADMSG)
		fail_msg("%s: edit: %s", what, strerror(got));
	if (tree_diff(&s->store, NULL, root, on_diff, NULL) != -1 ||
	    errno != EBADMSG)
		fail_msg("%s: comparison", what);
}

static void
test_contradictions(void **state)
{
	struct node_child v[2], good[2], top[2];
	struct memstore s;
	struct hash root;

	(void)state;
	memstore_init(&s);
	good[0] = put_leaf(&s, "abc");
	good[1] = put_leaf(&s, "def");
	root = put_index(&s, 1, good, 2).hash;
	assert_int_equal(iterate(&s, &root, ""), 0);
	assert_int_equal(delete_names(&s, &root, "ae"), 0);

#define REFUSED(what, change)                       \
	do {                                        \
		memcpy(v, good, sizeof(v));         \
		change;                             \
		root = put_index(&s, 1, v, 2).hash; \
		assert_refused(&s, &root, what);    \
	} while (0)
	REFUSED("entries of a child", v[0].entries = 2);
	REFUSED("files of a child", v[1].files = 2);
	REFUSED("bytes of a child", v[0].bytes = 8);
	REFUSED("last name of a child", v[1].last = (const uint8_t *)"g");
	REFUSED("names of two leaves", v[1] = put_leaf(&s, "bef"));
	REFUSED("index as a leaf", (v[1].hash = root));
	REFUSED("not a node",
	    (memstore_put(&s, &root, (const uint8_t *)"x", 1),
		hash_bytes(&v[0].hash, "x", 1),
		memstore_put(&s, &v[0].hash, (const uint8_t *)"x", 1)));
	root = put_index(&s, 1, good, 1).hash;
	assert_refused(&s, &root, "root of one child");
	root = good[0].hash;
	hash_bytes(&root, "x", 1);
	assert_refused(&s, &root, "root that is no node");

	/* Two levels: sums, level and names of an index node below. */
	v[0] = put_leaf(&s, "ghi");
	v[1] = put_leaf(&s, "jkl");
	top[0] = put_index(&s, 1, good, 2);
	top[1] = put_index(&s, 1, v, 2);
	root = put_index(&s, 2, top, 2).hash;
	assert_int_equal(iterate(&s, &root, ""), 0);
	top[0].entries++;
	root = put_index(&s, 2, top, 2).hash;
	assert_refused(&s, &root, "entries of an index");
	top[0].entries--;
	root = put_index(&s, 3, top, 2).hash;
	assert_refused(&s, &root, "level of an index");
	v[0] = put_leaf(&s, "bcd");
	top[1] = put_index(&s, 1, v, 2);
	root = put_index(&s, 2, top, 2).hash;
	assert_refused(&s, &root, "names of two indices");
	memstore_free(&s);
}

static void
test_missing(void **state)
{
	struct node_child v[2];
	struct memstore s;
	struct tree_iter *it;
	struct tree_sums sums;
	struct entry e;
	struct blob *keep;
	struct hash root, missing;
	const uint8_t *name;
	size_t len;

	(void)state;
	memstore_init(&s);
	v[0] = put_leaf(&s, "abc");
	v[1] = put_leaf(&s, "def");
	root = put_index(&s, 1, v, 2).hash;
	memstore_lose(&s, &v[1].hash);
	assert_int_equal(tree_lookup(&s.store, &root, "a", 1, &e, &keep,
			     &missing),
	    0);
	blob_unref(keep);
	assert_int_equal(tree_lookup(&s.store, &root, "d", 1, &e, &keep,
			     &missing),
	    -1);
	assert_int_equal(errno, ENODATA);
	assert_memory_equal(&missing, &v[1].hash, sizeof(missing));
	assert_int_equal(tree_lookup(&s.store, &root, "x", 1, &e, &keep,
			     &missing),
	    -1);
	assert_int_equal(errno, ENOENT);
	it = tree_iter_begin(&s.store, &root, "c", 1, 0);
	assert_int_equal(tree_iter_next(it, &name, &len, &e), 1);
	assert_int_equal(tree_iter_next(it, &name, &len, &e), -1);
	assert_int_equal(errno, ENODATA);
	assert_memory_equal(tree_iter_missing(it), &v[1].hash, HASH_LEN);
	tree_iter_end(it);
	assert_null(tree_iter_begin(&s.store, &root, salt, 256, 0));
	/* What an edit does not touch need not be here. */
	assert_int_equal(delete_names(&s, &root, "e"), ENODATA);
	assert_int_equal(tree_diff(&s.store, &root, NULL, on_diff, NULL), -1);
	assert_int_equal(errno, ENODATA);
	assert_int_equal(tree_get_sums(&s.store, &root, &sums), 0);
	assert_int_equal(sums.bytes, 18);
	memstore_lose(&s, &root);
	assert_int_equal(tree_get_sums(&s.store, &root, &sums), -1);
	assert_int_equal(errno, ENODATA);
	assert_int_equal(delete_names(&s, &root, "e"), ENODATA);
	memstore_free(&s);
}

static int
full_put(void *ctx, const struct hash *h, const uint8_t *data, size_t len)
{
	(void)ctx;
	(void)h;
	(void)data;
	(void)len;
	errno = ENOSPC;
	return (-1);
}

static void
test_edits(void **state)
{
	uint8_t big[1100] = { 0 };
	struct entry good = { .type = ENTRY_FIFO, .fileid = 2 }, e;
	struct tree_edit v[2] = { { "a", 1, &good }, { "b", 1, &good } };
	struct memstore s;
	struct tree_sums sums;
	struct hash root = { { 9 } }, same = root;

	(void)state;
	memstore_init(&s);
#define EDIT_REFUSED(why)                                                      \
	do {                                                                   \
		assert_int_equal(tree_apply(&s.store, salt, NULL, v, 2, &root, \
				     &sums),                                   \
		    -1);                                                       \
		assert_int_equal(errno, why);                                  \
		assert_memory_equal(&root, &same, sizeof(root));               \
	} while (0)
	v[1].name = "a";
	EDIT_REFUSED(EINVAL);
	v[1].name = "A";
	EDIT_REFUSED(EINVAL);
	v[1].name = "b/";
	v[1].len = 2;
	EDIT_REFUSED(EINVAL);
	v[1].name = ".sailvol";
	v[1].len = 8;
	EDIT_REFUSED(EINVAL);
	v[1].name = "b";
	v[1].len = 1;
	v[1].entry = &e;
	e = good;
	e.mode = 010000;
	EDIT_REFUSED(EINVAL);
	e = good;
	e.fileid = 1;
	EDIT_REFUSED(EINVAL);
	e = good;
	e.type = ENTRY_DIR;
	EDIT_REFUSED(EINVAL);
	e = good;
	e.xattrs = big;
	e.xattrs_len = sizeof(big);
	EDIT_REFUSED(EINVAL);
	e = good;
	s.store.put = full_put;
	EDIT_REFUSED(ENOSPC);
	memstore_free(&s);
}

/* Sums end where they would overflow, in any order of adding. */
static void
test_huge_sums(void **state)
{
	struct entry e = { .type = ENTRY_DIR,
		.fileid = 2,
		.root = { { 1 } },
		.files = UINT64_MAX - 1,
		.bytes = UINT64_MAX };
	struct tree_edit v[3] = { { "a", 1, &e }, { "b", 1, &e },
		{ "c", 1, &e } };
	struct memstore s;
	struct tree_sums sums;
	struct hash root;

	(void)state;
	memstore_init(&s);
	assert_int_equal(tree_apply(&s.store, salt, NULL, v, 3, &root, &sums),
	    0);
	assert_true(sums.files == UINT64_MAX && sums.bytes == UINT64_MAX);
	assert_int_equal(iterate(&s, &root, ""), 0);
	memstore_free(&s);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_contradictions),
		cmocka_unit_test(test_missing),
		cmocka_unit_test(test_edits),
		cmocka_unit_test(test_huge_sums),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
