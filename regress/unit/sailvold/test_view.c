/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * What the view says of a directory is what a plain list of its names says,
 * however it was asked for, changed and dropped in between; it never says that
 * a name is not there when it does not know.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "regress/unit/seed.h"
#include "sailvold/inode.h"
#include "sailvold/view.h"

#define NAMES 200
#define STEPS 20000

static int present[NAMES];
static struct vn *root;

static void
name_of(int i, char out[16])
{
	/* Lengths and order differ from the numbers'. */
	snprintf(out, 16, "%c%0*d", 'a' + i % 7, 1 + i % 3, i);
}

static int
cmp(const void *a, const void *b)
{
	char x[16], y[16];

	name_of(*(const int *)a, x);
	name_of(*(const int *)b, y);
	return strcmp(x, y);
}

static void
item_of(struct item *it, int i, char *name)
{
	memset(it, 0, sizeof(*it));
	name_of(i, name);
	it->name = (const uint8_t *)name;
	it->name_len = strlen(name);
	it->ovl = (uint64_t)i + 10;
	it->links = 1;
	it->entry.type = ENTRY_FIFO;
	it->entry.fileid = (uint64_t)i + 1000;
}

static void
set_root(void)
{
	struct item it;

	memset(&it, 0, sizeof(it));
	it.ovl = OVL_ROOT;
	it.links = 1;
	it.entry.type = ENTRY_DIR;
	it.entry.fileid = 5;
	assert_int_equal(view_set_root(&it), 0);
	root = view_root();
}

static int
less(const char *name, const uint8_t *first, size_t len)
{
	size_t n = strlen(name), m = n < len ? n : len;
	int c = memcmp(name, first, m);

	return c != 0 ? c < 0 : n < len;
}

/* Answers as manifest does: names from first on, at most max. */
static void
answer(const uint8_t *first, size_t first_len, int max)
{
	int order[NAMES], i, n = 0, end = 1;
	const char *why;
	char name[16], last[16] = "";
	struct item it;
	struct rbuf r;
	struct wbuf w;

	for (i = 0; i < NAMES; i++)
		order[i] = i;
	qsort(order, NAMES, sizeof(order[0]), cmp);
	wbuf_init(&w, 1 << 20);
	for (i = 0; i < NAMES; i++) {
		if (!present[order[i]])
			continue;
		name_of(order[i], name);
		if (less(name, first, first_len))
			continue;
		if (n == max) {
			end = 0;
			break;
		}
		item_of(&it, order[i], name);
		item_encode(&w, &it);
		strlcpy(last, name, sizeof(last));
		n++;
	}
	rbuf_init(&r, w.data, w.len);
	assert_int_equal(view_fill(root, first, first_len, last,
			     end ? 0 : strlen(last), end, &r, &why),
	    0);
	wbuf_free(&w);
}

static void
check_list(int max)
{
	uint8_t from[SAIL_NAME_MAX], at[SAIL_NAME_MAX];
	int order[NAMES], i, rc, k = 0;
	struct vname *n;
	size_t len, at_len = 0;
	char name[16];

	for (i = 0; i < NAMES; i++)
		order[i] = i;
	qsort(order, NAMES, sizeof(order[0]), cmp);
	for (;;) {
		rc = view_next(root, at, at_len, at_len == 0, &n, from, &len);
		if (rc == -1) {
			answer(from, len, max);
			continue;
		}
		while (k < NAMES && !present[order[k]])
			k++;
		if (rc == 0)
			break;
		assert_true(k < NAMES);
		name_of(order[k++], name);
		assert_int_equal(n->len, strlen(name));
		assert_memory_equal(n->name, name, n->len);
		assert_ptr_equal(view_by_cookie(root, n->cookie), n);
		at_len = n->len;
		memcpy(at, n->name, at_len);
	}
	assert_int_equal(k, NAMES);
}

static void
lookup(int i)
{
	struct vn *vn;
	char name[16];
	int rc;

	name_of(i, name);
	rc = view_lookup(root, name, strlen(name), &vn);
	if (rc == -1) {
		answer((const uint8_t *)name, strlen(name), 1 + i % 20);
		rc = view_lookup(root, name, strlen(name), &vn);
	}
	assert_int_equal(rc, present[i]);
	if (rc == 1)
		assert_int_equal(vn->fileid, i + 1000);
}

static void
flip(int i)
{
	struct vn *vn;
	char name[16];
	struct item it;

	lookup(i);
	name_of(i, name);
	item_of(&it, i, name);
	if (present[i])
		assert_int_equal(view_set(root, name, strlen(name), NULL), 0);
	else {
		if ((vn = view_object((uint64_t)i + 10)) == NULL)
			vn = vn_from_item(&it);
		assert_non_null(vn);
		assert_int_equal(view_set(root, name, strlen(name), vn), 0);
	}
	present[i] = !present[i];
}

static void
model(void **state)
{
	int step;

	(void)state;
	seeded();
	set_root();
	for (step = 0; step < STEPS; step++) {
		int i = (int)(random() % NAMES);

		switch (random() % 64) {
		case 0:
			check_list(1 + (int)(random() % 30));
			break;
		case 1:
			/* All of it is in manifest: memory is short. */
			view_evict(UINT64_MAX);
			assert_null(root->dir);
			break;
		default:
			if (random() % 3 == 0)
				flip(i);
			else
				lookup(i);
		}
	}
	check_list(7);
}

static void
refusals(void **state)
{
	const char *why;
	struct item it;
	struct rbuf r;
	struct wbuf w;
	char name[16];

	(void)state;
	set_root();
	wbuf_init(&w, 1 << 16);
	item_of(&it, 3, name);
	item_encode(&w, &it);
	rbuf_init(&r, w.data, w.len);
	/* Behind the end of the answer, and before its beginning. */
	assert_int_equal(view_fill(root, "", 0, "a", 1, 0, &r, &why), -1);
	assert_non_null(why);
	rbuf_init(&r, w.data, w.len);
	assert_int_equal(view_fill(root, "zzz", 3, "", 0, 1, &r, &why), -1);
	wbuf_free(&w);
}

static void
origins(void **state)
{
	uint8_t path[SAIL_PATH_MAX];
	struct hash commit, from;
	struct vn *dir, *file;
	size_t len;

	(void)state;
	memset(from.b, 4, sizeof(from.b));
	dir = vn_new(ENTRY_DIR);
	file = vn_new(ENTRY_FILE);
	assert_int_equal(view_set(root, "dir", 3, dir), 0);
	assert_int_equal(view_set(dir, "file", 4, file), 0);
	assert_int_equal(vn_origin(file, &commit, path, &len), -1);
	assert_int_equal(vn_set_origin(root, &from, "", 0), 0);
	assert_int_equal(vn_origin(file, &commit, path, &len), 0);
	assert_int_equal(len, 8);
	assert_memory_equal(path, "dir/file", 8);
	assert_int_equal(vn_set_origin(root, &from, "sub/path", 8), 0);
	assert_int_equal(vn_origin(file, &commit, path, &len), 0);
	assert_memory_equal(path, "sub/path/dir/file", len);
	assert_memory_equal(&commit, &from, sizeof(from));
}

/* A directory of one file below the root; pinned: the kernel knows the file. */
static struct vn *
small_dir(int i, int pinned)
{
	struct vn *dir = vn_new(ENTRY_DIR), *file = vn_new(ENTRY_FILE);
	char name[16];

	snprintf(name, sizeof(name), "d%d", i);
	assert_int_equal(view_set(root, name, strlen(name), dir), 0);
	assert_int_equal(view_set(dir, "f", 1, file), 0);
	if (pinned)
		vn_pin(file);
	return file;
}

/* Many directories that must stay do not keep the others; and once all are
   looked at for nothing, there is no hurry. */
static void
evict_in_slices(void **state)
{
	enum { PINNED = 500, OTHERS = 1000 };
	struct vn *pinned[PINNED];
	int i, slices, more;

	(void)state;
	set_root();
	/* The first are the longest unused. */
	for (i = 0; i < PINNED; i++)
		pinned[i] = small_dir(i, 1);
	for (; i < PINNED + OTHERS; i++)
		small_dir(i, 0);
	for (slices = 0, more = 1; more; slices++) {
		assert_true(slices < 1000);
		more = view_evict(UINT64_MAX);
	}
	for (i = 0; i < PINNED + OTHERS; i++) {
		struct vn *vn;
		char name[16];

		snprintf(name, sizeof(name), "d%d", i);
		assert_int_equal(view_lookup(root, name, strlen(name), &vn), 1);
		assert_int_equal(vn->dir != NULL, i < PINNED);
	}
	assert_int_equal(view_evict(UINT64_MAX), 0);
	/* One that may go again is found, and then the others. */
	for (i = 0; i < PINNED; i++)
		vn_unpin(pinned[i]);
	for (i = 0; root->dir != NULL; i++) {
		assert_true(i < 1000);
		view_evict(UINT64_MAX);
	}
}

static uint64_t
allocated(void)
{
	return mallinfo2().uordblks;
}

/* What the view says that it takes is what it takes, and it gives it back. */
static void
accounts(void **state)
{
	enum { DIRS = 100, FILES = 200 };
	uint64_t before, heap, took;
	const char *why;
	struct item it;
	struct wbuf w;
	struct rbuf r;
	struct vn *dir;
	char name[16];
	int i, k;

	(void)state;
	set_root();
	view_forget_names();
	before = view_bytes();
	wbuf_init(&w, 1 << 20);
	for (k = 0; k < FILES; k++) {
		snprintf(name, sizeof(name), "file%05d", k);
		memset(&it, 0, sizeof(it));
		it.name = (const uint8_t *)name;
		it.name_len = strlen(name);
		it.links = 1;
		it.entry.type = k % 2 ? ENTRY_SYMLINK : ENTRY_FILE;
		it.entry.target = (const uint8_t *)"some/where/else";
		it.entry.target_len = k % 2 ? 15 : 0;
		it.entry.chunk_shift = 23;
		it.entry.fileid = 1000 + (uint64_t)k;
		item_encode(&w, &it);
	}
	assert_int_equal(w.error, 0);
	heap = allocated();
	for (i = 0; i < DIRS; i++) {
		snprintf(name, sizeof(name), "dir%05d", i);
		assert_non_null(dir = vn_new(ENTRY_DIR));
		assert_int_equal(view_set(root, name, strlen(name), dir), 0);
		rbuf_init(&r, w.data, w.len);
		if (view_fill(dir, "", 0, "", 0, 1, &r, &why) == -1)
			fail_msg("%s", why);
		assert_int_equal(view_set(dir, "new", 3, NULL), 0);
	}
	took = view_bytes() - before;
	/* Where malloc is another's it does not tell. */
	if (allocated() != heap) {
		heap = allocated() - heap;
		assert_in_range(took, heap - heap / 100, heap + heap / 100);
	}
	view_forget_names();
	assert_int_equal(view_bytes(), before);
	wbuf_free(&w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(model),
		cmocka_unit_test(refusals),
		cmocka_unit_test(origins),
		cmocka_unit_test(evict_in_slices),
		cmocka_unit_test(accounts),
	};
	int fd = memfd_create("table", MFD_CLOEXEC);

	if (fd == -1 || ftruncate(fd, (off_t)table_bytes(1024)) == -1 ||
	    inode_open(fd, 1024, 0) == -1)
		return 1;
	view_init(0);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
