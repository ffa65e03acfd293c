/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * Claim: directories that are equal a thousand times on each level, of which a
 * few nodes stand for 10^9 names, do not hold up a reload or a commit: what
 * gives nothing is looked at once, what gives too much is refused, and the
 * mount goes on.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "regress/unit/sailvold/fake_mount.h"
#include "regress/unit/sailvold/fake_rows.h"
#include "sailvold/seen.h"

#define WIDE 1000

static char last_line[8192];

static void
heard(struct listener *l, const char *text, int last)
{
	(void)l;
	if (last)
		snprintf(last_line, sizeof(last_line), "%s", text);
}

/* To its end; which code its error has, "": none. */
static const char *
run(uint8_t kind, const char *request)
{
	static struct listener l;
	static char code[64];
	json_t *req = json_loads(request, 0, NULL), *r;
	struct job *j;

	last_line[0] = '\0';
	memset(&l, 0, sizeof(l));
	l.line = heard;
	assert_non_null(j = job_add(&mnt, kind, 0, offset, 0, 0, req));
	job_listen(j, &l);
	json_decref(req);
	run_all();
	while (one_step())
		;
	assert_non_null(r = json_loads(last_line, 0, NULL));
	req = json_object_get(json_object_get(r, "error"), "code");
	snprintf(code, sizeof(code), "%s",
	    req != NULL ? json_string_value(req) : "");
	json_decref(r);
	return code;
}

static struct entry
directory(const struct hash *root)
{
	struct entry e;

	memset(&e, 0, sizeof(e));
	e.type = ENTRY_DIR;
	e.mode = 0755;
	e.fileid = 5;
	e.root = *root;
	return e;
}

/* wide names, each of which is the entry. */
static struct entry
row_of(const struct entry *each, size_t wide)
{
	static char names[WIDE][8];
	static struct tree_edit edits[WIDE];
	struct node_store store;
	struct tree_sums sums;
	struct hash root;
	size_t i;

	for (i = 0; i < wide; i++) {
		snprintf(names[i], sizeof(names[i]), "%04zu", i);
		edits[i] = (struct tree_edit){ names[i], 4, each };
	}
	db_node_store(manifest_db, &store);
	assert_int_equal(tree_apply(&store, salt, NULL, edits, wide, &root,
			     &sums),
	    0);
	return directory(&root);
}

static struct entry
tower(const struct entry *leaf, size_t wide, int levels)
{
	struct entry e = *leaf;

	while (levels-- > 0)
		e = row_of(&e, wide);
	return e;
}

static struct entry
fifo(uint32_t mode)
{
	struct entry e;

	memset(&e, 0, sizeof(e));
	e.type = ENTRY_FIFO;
	e.mode = mode;
	e.fileid = 9;
	return e;
}

/* The head gets a name. */
static void
foreign(const char *name, const struct entry *e)
{
	struct entry root = *head_root;
	struct tree_edit edit = { name, strlen(name), e };
	struct node_store store;
	struct tree_sums sums;

	db_node_store(manifest_db, &store);
	assert_int_equal(tree_apply(&store, salt, &root.root, &edit, 1,
			     &root.root, &sums),
	    0);
	commit_new(&root);
}

/* The differences of the last switch that are of that kind. */
static size_t
count(uint8_t want)
{
	const uint8_t *p;
	struct rbuf r;
	uint8_t kind;
	size_t len, n = 0;

	rbuf_init(&r, diff_bytes, diff_len);
	while (diff_decode(&r, &kind, &p, &len) == 1)
		n += kind == want;
	return n;
}

static int
begin(void **state)
{
	diff_names_max = DIFF_MAX_NAMES;
	seen_names_max = SEEN_MAX_NAMES;
	return setup(state);
}

/* Sums are another, and nothing that is shown. */
static void
reload_of_nothing(void **state)
{
	struct entry leaf = fifo(0600), e;

	(void)state;
	leaf = tower(&leaf, 1, 1);
	leaf.files = 1;
	e = tower(&leaf, WIDE, 3);
	foreign("t", &e);
	assert_string_equal(run(JOB_RELOAD, "{}"), "");
	leaf.files = 7;
	e = tower(&leaf, WIDE, 3);
	foreign("t", &e);
	assert_string_equal(run(JOB_RELOAD, "{}"), "");
	assert_int_equal(switches, 2);
	assert_int_equal(count(DIFF_OTHER) + count(DIFF_NEW) + count(DIFF_GONE),
	    0);
	/* Also where the overlay has a name beside it. */
	leaf.files = 8;
	e = tower(&leaf, WIDE, 3);
	foreign("t", &e);
	make_file(2, "f", "hello");
	assert_string_equal(run(JOB_RELOAD, "{}"), "");
	assert_int_equal(switches, 3);
}

/* More names than are told: nothing has changed, and the mount goes on. */
static void
reload_of_too_many(void **state)
{
	struct entry leaf = fifo(0600), e = tower(&leaf, WIDE, 3);
	struct hash was;

	(void)state;
	foreign("t", &e);
	assert_string_equal(run(JOB_RELOAD, "{}"), "");
	was = mnt.row.base;
	leaf = fifo(0640);
	e = tower(&leaf, WIDE, 3);
	foreign("t", &e);
	diff_names_max = 20000;
	assert_string_equal(run(JOB_RELOAD, "{}"), "reload_too_large");
	assert_non_null(strstr(last_line, "mount it again"));
	assert_int_equal(switches, 1);
	assert_false(parked_now);
	assert_int_equal(hash_cmp(&was, &mnt.row.base), 0);
	make_file(2, "f", "hello");
	assert_string_equal(run(JOB_COMMIT, "{\"request\":\"commit\"}"), "");
	assert_int_equal(published_count, 1);
	/* The same, once it is less. */
	leaf = fifo(0600);
	e = tower(&leaf, WIDE, 3);
	foreign("t", &e);
	assert_string_equal(run(JOB_RELOAD, "{}"), "");
	assert_int_equal(switches, 2);
}

static void
copyup(uint64_t parent, const char *name, uint64_t ovl, const struct entry *e,
    const char *path)
{
	struct record r;

	memset(&r, 0, sizeof(r));
	r.type = RECORD_COPYUP;
	r.parent = parent;
	r.name = (const uint8_t *)name;
	r.name_len = strlen(name);
	r.ovl = ovl;
	r.entry = *e;
	r.origin_commit = mnt.row.base;
	r.origin_path = (const uint8_t *)path;
	r.origin_path_len = strlen(path);
	put(&r);
}

/* What was compared before is taken over below clean directories, and only
   there: all of it is told, once. */
static void
reload_tells_all(void **state)
{
	struct entry leaf = fifo(0600), e = tower(&leaf, 30, 2);

	(void)state;
	foreign("a", &e);
	foreign("t", &e);
	assert_string_equal(run(JOB_RELOAD, "{}"), "");
	leaf = fifo(0640);
	e = tower(&leaf, 30, 2);
	foreign("a", &e);
	foreign("t", &e);
	make_file(2, "f", "hello");
	remove_name("b");
	/* One directory of it is in the overlay. */
	copyup(OVL_ROOT, "t", 3, &e, "t");
	assert_string_equal(run(JOB_RELOAD, "{}"), "");
	/* a, its 900, and the root with t and its 900. */
	assert_in_range(count(DIFF_ATTR), 1800, 1803);
	assert_int_equal(count(DIFF_GONE), 1); /* f, in the stash */
	assert_int_equal(count(DIFF_NEW), 1);  /* b */
	assert_int_equal(count(DIFF_OTHER), 0);
}

static void
rename_it(uint64_t parent, const char *from, uint64_t parent2, const char *to)
{
	struct record r;

	memset(&r, 0, sizeof(r));
	r.type = RECORD_RENAME;
	r.parent = parent;
	r.name = (const uint8_t *)from;
	r.name_len = strlen(from);
	r.parent2 = parent2;
	r.name2 = (const uint8_t *)to;
	r.name2_len = strlen(to);
	r.time = timens_now();
	put(&r);
}

/* a/ takes the place of p/b/, is published, and p/ is moved. */
static void
moved_twice(const struct entry *a, const struct entry *b)
{
	struct tree_edit edit = { "b", 1, b };
	struct node_store store;
	struct tree_sums sums;
	struct hash root;
	struct entry p;

	db_node_store(manifest_db, &store);
	assert_int_equal(tree_apply(&store, salt, NULL, &edit, 1, &root, &sums),
	    0);
	p = directory(&root);
	foreign("a", a);
	foreign("p", &p);
	assert_string_equal(run(JOB_RELOAD, "{}"), "");
	copyup(OVL_ROOT, "p", 2, &p, "p");
	copyup(2, "b", 3, b, "p/b");
	copyup(OVL_ROOT, "a", 4, a, "a");
	rename_it(2, "b", OVL_ROOT, "c");
	rename_it(OVL_ROOT, "a", 2, "b");
	assert_string_equal(run(JOB_COMMIT, "{\"request\":\"commit\"}"), "");
	assert_int_equal(published_count, 1);
	rename_it(OVL_ROOT, "p", OVL_ROOT, "q");
}

static void
commit_of_too_many(void **state)
{
	struct entry x = fifo(0600), y = fifo(0640);
	struct entry a = tower(&x, 200, 2), b = tower(&y, 200, 2);

	(void)state;
	seen_names_max = 20000;
	moved_twice(&a, &b);
	assert_string_equal(run(JOB_COMMIT, "{\"request\":\"commit\"}"),
	    "too_many_seen");
	assert_non_null(strstr(last_line, "\"p: more than"));
	assert_int_equal(published_count, 1);
	assert_string_equal(run(JOB_RELOAD, "{}"), "too_many_seen");
	assert_false(parked_now);
	assert_string_equal(run(JOB_RELOAD, "{\"keep\":true}"),
	    "too_many_seen");
	/* As it says. */
	rename_it(OVL_ROOT, "q", OVL_ROOT, "p");
	assert_string_equal(run(JOB_RELOAD, "{}"), "");
	assert_false(parked_now);
	make_file(9, "f", "hello");
	assert_string_equal(run(JOB_COMMIT, "{\"request\":\"commit\"}"), "");
	assert_int_equal(published_count, 2);
}

/* Towers that differ in what a merge does not look at. */
static void
commit_of_nothing(void **state)
{
	struct entry x = fifo(0600), y = fifo(0600), a, b;
	struct node_miss miss;
	struct delta_set set;

	(void)state;
	x.mtime.sec = 1;
	y.mtime.sec = 2;
	a = tower(&x, WIDE, 3);
	b = tower(&y, WIDE, 3);
	moved_twice(&a, &b);
	memset(&miss, 0, sizeof(miss));
	assert_int_equal(delta_collect(manifest_db, &mnt.row, &set, &miss, 0, 0,
			     NULL, NULL),
	    0);
	assert_int_equal(delta_set_count(&set), 3);
	delta_set_free(&set);
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, begin, teardown)
	const struct CMUnitTest tests[] = {
		T(reload_of_nothing),
		T(reload_of_too_many),
		T(reload_tells_all),
		T(commit_of_too_many),
		T(commit_of_nothing),
	};

	assert_int_equal(proc_base_init(), 0);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
