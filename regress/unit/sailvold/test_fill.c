/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * Claim: a directory is shown as its base with the overlay's names upon it,
 * page by page without a gap or a double, and where a node is missing fill says
 * where it can be had.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sqlite3.h>

#include "regress/unit/sailvold/manifest_harness.h"

/* ---- stand-ins ------------------------------------------------------------------ */

uint32_t
server_request(uint8_t method, const char *target, const char *type, int fd,
    int retry, uint64_t max, server_cb f, void *arg)
{
	(void)method;
	(void)target;
	(void)type;
	(void)fd;
	(void)retry;
	(void)max;
	(void)f;
	(void)arg;
	fail_msg("the server was asked");
	return 0;
}

void
server_error(const struct server_answer *a, char *out, size_t size, char *code,
    size_t code_size)
{
	(void)a;
	(void)out;
	(void)size;
	(void)code;
	(void)code_size;
}

int
ovl_is_held(struct mount *m, uint64_t ovl)
{
	(void)m;
	(void)ovl;
	return 0;
}

void
tell_unlink(struct mount *m, const uint64_t *ovls, size_t n)
{
	(void)m;
	(void)ovls;
	(void)n;
}

/* ---- small things ------------------------------------------------------------------ */

#define BIG 10000

static struct entry file, with_xattrs, dir_d, dir_big, dir_top, root;
static struct hash base, xattr_node;
static char big_names[BIG][8];

/*
 * Base: a, b (files), big/ (n00000 to n09999), d/f, d/x (with an xattr node),
 * top/d/f: where a mount of a subpath begins.
 */
static int
make_base(void **state)
{
	static struct tree_edit in_big[BIG];
	struct tree_edit in_d[2], in_top[1], in_root[5];
	char value[5000];
	struct node_store store;
	uint8_t *x = NULL;
	size_t len;
	unsigned int i;

	(void)state;
	h_open();
	file = h_entry(ENTRY_FILE);
	memset(value, 'v', sizeof(value));
	with_xattrs = file;
	assert_int_equal(xattrs_set(NULL, 0, "user.big", value, sizeof(value),
			     0, &x, &len),
	    0);
	with_xattrs.xattrs = x;
	with_xattrs.xattrs_len = len;
	db_node_store(manifest_db, &store);
	assert_int_equal(node_xattrs_store(&store, &with_xattrs), 0);
	xattr_node = with_xattrs.xattr_node;
	free(x);
	for (i = 0; i < BIG; i++) {
		snprintf(big_names[i], sizeof(big_names[i]), "n%05u", i);
		in_big[i] = h_edit(big_names[i], &file);
	}
	dir_big = h_dir(in_big, BIG);
	in_d[0] = h_edit("f", &file);
	in_d[1] = h_edit("x", &with_xattrs);
	dir_d = h_dir(in_d, 2);
	in_top[0] = h_edit("d", &dir_d);
	dir_top = h_dir(in_top, 1);
	in_root[0] = h_edit("a", &file);
	in_root[1] = h_edit("b", &file);
	in_root[2] = h_edit("big", &dir_big);
	in_root[3] = h_edit("d", &dir_d);
	in_root[4] = h_edit("top", &dir_top);
	root = h_dir(in_root, 5);
	base = h_commit(&root, 0);
	return 0;
}

static int
setup(void **state)
{
	make_base(state);
	h_mount_begin(&base, "", &root);
	return 0;
}

static int
setup_subpath(void **state)
{
	make_base(state);
	h_mount_begin(&base, "top", &dir_top);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	h_close();
	return 0;
}

static void
ok(struct record r)
{
	static uint64_t offset;
	const char *why = NULL;

	offset += 100;
	assert_int_equal(db_begin(manifest_db), 0);
	if (namespace_apply(manifest_db, &h_mount.row, &r, offset, &why) == -1)
		fail_msg("refused: %s", why != NULL ? why : "the database");
	assert_int_equal(db_commit(manifest_db), 0);
}

static void
forget(const struct hash *h)
{
	sqlite3 *sql = *(sqlite3 **)(void *)manifest_db;
	sqlite3_stmt *st;

	assert_int_equal(sqlite3_prepare_v2(sql,
			     "DELETE FROM node WHERE"
			     " hash = ?1",
			     -1, &st, NULL),
	    SQLITE_OK);
	sqlite3_bind_blob(st, 1, h->b, HASH_LEN, SQLITE_STATIC);
	assert_int_equal(sqlite3_step(st), SQLITE_DONE);
	assert_int_equal(sqlite3_changes(sql), 1);
	sqlite3_finalize(st);
}

static int
find(const char *path, struct item *it, void **keep)
{
	struct node_miss miss;

	return fill_path(&h_mount, path, strlen(path), it, keep, &miss);
}

static void
open_dir(const char *path, struct shown_dir *d)
{
	struct item it;
	void *keep;

	assert_int_equal(find(path, &it, &keep), 1);
	assert_int_equal(shown_dir_of_item(&it, d), 0);
	free(keep);
}

/* All names, joined by blanks, in pages of max. */
static char *
names_of(const char *path, uint32_t max)
{
	static char out[512];
	char first[SAIL_NAME_MAX];
	struct node_miss miss;
	struct shown_dir d;
	size_t first_len = 0, at = 0;
	struct item it;
	struct rbuf r;
	struct wbuf w;
	uint32_t count;
	int end = 0, after = 0;

	open_dir(path, &d);
	out[0] = '\0';
	while (!end) {
		wbuf_init(&w, 1 << 24);
		assert_int_equal(fill_dir(&h_mount, &d, first, first_len, after,
				     max, 1 << 20, &w, &count, &end, &miss),
		    0);
		assert_true(count <= max);
		assert_true(end || count > 0);
		rbuf_init(&r, w.data, w.len);
		while (item_decode(&r, &it) == 1) {
			assert_true(at + it.name_len + 2 < sizeof(out));
			at += (size_t)snprintf(out + at, sizeof(out) - at,
			    "%s%.*s", at > 0 ? " " : "", (int)it.name_len,
			    (const char *)it.name);
			memcpy(first, it.name, it.name_len);
			first_len = it.name_len;
			after = 1;
		}
		assert_null(r.error);
		wbuf_free(&w);
	}
	shown_dir_free(&d);
	return out;
}

/* ---- tests ----------------------------------------------------------------------------- */

static void
test_merged(void **state)
{
	uint32_t max;

	(void)state;
	assert_string_equal(names_of("", 100), "a b big d top");
	ok(h_alloc(100));
	ok(h_named(RECORD_REMOVE, 1, "a", 0));
	ok(h_make(1, "aa", 10, ENTRY_FILE));
	ok(h_make(1, "zz", 11, ENTRY_DIR));
	ok(h_copyup(1, "b", 12, &file, &base, "b"));
	ok(h_copyup(1, "d", 13, &dir_d, &base, "d"));
	ok(h_rename(1, "d", 11, "moved", 0));
	ok(h_named(RECORD_REMOVE, 1, "top", 0));
	ok(h_make(1, "top", 14, ENTRY_DIR)); /* replaced: shows nothing below */
	for (max = 1; max < 7; max++) {
		assert_string_equal(names_of("", max), "aa b big top zz");
		assert_string_equal(names_of("zz/moved", max), "f x");
		assert_string_equal(names_of("top", max), "");
	}
	ok(h_named(RECORD_REMOVE, 13, "f", 0));
	ok(h_make(13, "g", 15, ENTRY_FIFO));
	assert_string_equal(names_of("zz/moved", 1), "g x");
}

static void
test_items(void **state)
{
	struct item it;
	void *keep;

	(void)state;
	ok(h_alloc(100));
	ok(h_make(1, "s", 10, ENTRY_SOCKET));
	ok(h_make(1, "new", 11, ENTRY_FILE));
	ok(h_copyup(1, "d", 12, &dir_d, &base, "d"));
	ok(h_make(1, "e", 14, ENTRY_DIR));
	ok(h_rename(1, "d", 14, "d2", 0));
	assert_int_equal(find("s", &it, &keep), 1);
	assert_int_equal(it.entry.type, ENTRY_SOCKET);
	free(keep);
	assert_int_equal(find("new", &it, &keep), 1);
	assert_int_equal(it.flags, ITEM_LOCAL);
	assert_int_equal(it.ovl, 11);
	free(keep);
	/* A clean name below a moved directory comes from where it was. */
	assert_int_equal(find("e/d2/x", &it, &keep), 1);
	assert_int_equal(it.ovl, 0);
	assert_int_equal(it.origin_path_len, 3);
	assert_memory_equal(it.origin_path, "d/x", 3);
	assert_true(it.entry.xattrs_len > 5000);
	assert_true(hash_is_zero(&it.entry.xattr_node));
	free(keep);
	assert_int_equal(find("d/x", &it, &keep), 0);
	assert_int_equal(find("nothing/x", &it, &keep), 0);
	assert_null(keep);
	assert_int_equal(find("a/x", &it, &keep), 0);
	assert_int_equal(find("", &it, &keep), 1);
	assert_int_equal(it.ovl, OVL_ROOT);
	free(keep);
}

static void
test_big(void **state)
{
	struct node_miss miss;
	struct shown_dir d;
	struct item it;
	struct rbuf r;
	struct wbuf w;
	char first[SAIL_NAME_MAX] = "", last[SAIL_NAME_MAX + 1] = "";
	size_t first_len = 0;
	uint32_t count, sum = 0, i;
	int end = 0, after = 0;

	(void)state;
	ok(h_alloc(100000));
	ok(h_copyup(1, "big", 10, &dir_big, &base, "big"));
	/* Every third of the base is gone, and there are as many new ones. */
	for (i = 0; i < BIG; i += 3) {
		char name[16];

		ok(h_named(RECORD_REMOVE, 10, big_names[i], 0));
		snprintf(name, sizeof(name), "%s.new", big_names[i]);
		ok(h_make(10, name, 20 + i, ENTRY_FILE));
	}
	open_dir("big", &d);
	while (!end) {
		wbuf_init(&w, 1 << 24);
		assert_int_equal(fill_dir(&h_mount, &d, first, first_len, after,
				     700, 20000, &w, &count, &end, &miss),
		    0);
		assert_true(w.len < 20000 + 1000);
		sum += count;
		rbuf_init(&r, w.data, w.len);
		while (item_decode(&r, &it) == 1) {
			memcpy(first, it.name, it.name_len);
			first_len = it.name_len;
			first[first_len] = '\0';
			assert_true(strcmp(last, first) < 0);
			strlcpy(last, first, sizeof(last));
		}
		after = 1;
		wbuf_free(&w);
	}
	assert_int_equal(sum, BIG);
	/* From a name in the middle, itself included. */
	wbuf_init(&w, 1 << 24);
	assert_int_equal(fill_dir(&h_mount, &d, "n05001", 6, 0, 1, 1 << 20, &w,
			     &count, &end, &miss),
	    0);
	rbuf_init(&r, w.data, w.len);
	assert_int_equal(item_decode(&r, &it), 1);
	assert_memory_equal(it.name, "n05001.new", it.name_len);
	wbuf_free(&w);
	shown_dir_free(&d);
}

static void
assert_miss(struct node_miss *miss, const char *path, const char *first)
{
	assert_int_equal(hash_cmp(&miss->commit, &base), 0);
	assert_int_equal(miss->path_len, strlen(path));
	assert_memory_equal(miss->path, path, strlen(path));
	assert_int_equal(miss->first_len, strlen(first));
	assert_memory_equal(miss->first, first, strlen(first));
	node_miss_free(miss);
}

static int
fill_all(const struct shown_dir *d, const char *first, struct node_miss *miss)
{
	struct wbuf w;
	uint32_t count;
	int end, rc;

	wbuf_init(&w, 1 << 24);
	rc = fill_dir(&h_mount, d, first, strlen(first), 0, 100000, 1 << 24, &w,
	    &count, &end, miss);
	wbuf_free(&w);
	return rc;
}

static void
test_missing(void **state)
{
	struct node_miss miss;
	struct shown_dir d;
	struct item it;
	void *keep;

	(void)state;
	/* An xattr node: asked for with the name that has it. */
	open_dir("d", &d);
	forget(&xattr_node);
	assert_int_equal(fill_all(&d, "", &miss), -1);
	assert_int_equal(errno, ENODATA);
	assert_miss(&miss, "d", "x");
	assert_int_equal(fill_one(&h_mount, &d, "x", 1, &it, &keep, &miss), -1);
	assert_int_equal(errno, ENODATA);
	assert_miss(&miss, "d", "x");
	shown_dir_free(&d);
	/* The same of an object, wherever it stands now. */
	ok(h_alloc(100));
	ok(h_copyup(1, "d", 10, &dir_d, &base, "d"));
	ok(h_copyup(10, "x", 11, &with_xattrs, &base, "d/x"));
	ok(h_rename(10, "x", 1, "y", 0));
	open_dir("", &d);
	assert_int_equal(fill_all(&d, "c", &miss), -1);
	assert_int_equal(errno, ENODATA);
	assert_miss(&miss, "d", "x");
	assert_int_equal(fill_object(&h_mount, 11, &it, &keep, &miss), -1);
	assert_miss(&miss, "d", "x");
	/* A directory: the names before it are not in the way. */
	shown_dir_free(&d);
	open_dir("top/d", &d);
	forget(&dir_d.root);
	assert_int_equal(fill_all(&d, "", &miss), -1);
	assert_int_equal(errno, ENODATA);
	assert_miss(&miss, "top/d", "");
	assert_int_equal(fill_one(&h_mount, &d, "f", 1, &it, &keep, &miss), -1);
	assert_miss(&miss, "top/d", "f");
	assert_int_equal(fill_path(&h_mount, "top/d/f", 7, &it, &keep, &miss),
	    -1);
	assert_miss(&miss, "top/d", "f");
	/* One above it. */
	forget(&dir_top.root);
	assert_int_equal(fill_all(&d, "", &miss), -1);
	assert_int_equal(errno, ENODATA);
	assert_miss(&miss, "top", "d");
	forget(&root.root);
	assert_int_equal(fill_all(&d, "", &miss), -1);
	assert_miss(&miss, "", "top");
	shown_dir_free(&d);
}

/* The leaves of a big directory go one by one: each question is new. */
static void
test_missing_leaves(void **state)
{
	sqlite3 *sql = *(sqlite3 **)(void *)manifest_db;
	struct node_miss miss;
	struct shown_dir d;

	(void)state;
	open_dir("big", &d);
	assert_int_equal(sqlite3_exec(sql,
			     "DELETE FROM node WHERE"
			     " instr(data, CAST('n05000' AS BLOB)) > 0 AND"
			     " instr(data, CAST('n00000' AS BLOB)) = 0",
			     NULL, NULL, NULL),
	    SQLITE_OK);
	assert_int_equal(fill_all(&d, "", &miss), -1);
	assert_int_equal(errno, ENODATA);
	assert_int_equal(miss.path_len, 3);
	assert_int_equal(miss.first_len, 6);
	assert_true(memcmp(miss.first, "n05000", 6) < 0);
	assert_true(memcmp(miss.first, "n03000", 6) > 0);
	node_miss_free(&miss);
	shown_dir_free(&d);
}

static void
test_subpath(void **state)
{
	struct node_miss miss;
	struct item it;
	void *keep;

	(void)state;
	assert_string_equal(names_of("", 10), "d");
	assert_string_equal(names_of("d", 10), "f x");
	assert_int_equal(find("d/f", &it, &keep), 1);
	assert_int_equal(it.origin_path_len, 7);
	assert_memory_equal(it.origin_path, "top/d/f", 7);
	free(keep);
	assert_int_equal(find("a", &it, &keep), 0);
	ok(h_alloc(100));
	ok(h_copyup(1, "d", 10, &dir_d, &base, "top/d"));
	assert_string_equal(names_of("d", 1), "f x");
	forget(&dir_d.root);
	assert_int_equal(fill_path(&h_mount, "d/f", 3, &it, &keep, &miss), -1);
	assert_int_equal(errno, ENODATA);
	assert_miss(&miss, "top/d", "f");
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_merged),
		T(test_items),
		T(test_big),
		T(test_missing),
		T(test_missing_leaves),
		cmocka_unit_test_setup_teardown(test_subpath, setup_subpath,
		    teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
