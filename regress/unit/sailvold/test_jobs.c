/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * Claim: a commit publishes what changed exactly once, whatever is lost or dies
 * in between; a reload stashes, keeps or refuses, and switches exactly once; a
 * stash comes back.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "regress/unit/sailvold/fake_mount.h"
#include "regress/unit/sailvold/fake_rows.h"
#include "sailvold/stash.h"

/* ---- asking ------------------------------------------------------------------------------- */

static char last_line[8192];
static int got_last;

static void
heard(struct listener *l, const char *text, int last)
{
	(void)l;
	if (!last)
		return;
	snprintf(last_line, sizeof(last_line), "%s", text);
	got_last = 1;
}

static int64_t
ask(uint8_t kind, const char *request)
{
	static struct listener l;
	json_t *req = json_loads(request, 0, NULL);
	struct job *j;
	int64_t id;

	assert_non_null(req);
	got_last = 0;
	last_line[0] = '\0';
	memset(&l, 0, sizeof(l));
	l.line = heard;
	j = job_add(&mnt, kind, 0, offset, 0, 0, req);
	assert_non_null(j);
	id = j->id;
	job_listen(j, &l);
	json_decref(req);
	return id;
}

static json_t *
result(void)
{
	json_t *r = json_loads(last_line, 0, NULL), *x;

	x = json_object_get(r, "result");
	if (x == NULL)
		fail_msg("no result: %s", last_line);
	json_incref(x);
	json_decref(r);
	return x;
}

static void
expect_error(const char *type)
{
	json_t *r = json_loads(last_line, 0, NULL);
	const char *t = json_string_value(
	    json_object_get(json_object_get(r, "error"), "type"));

	if (t == NULL || strcmp(t, type) != 0)
		fail_msg("expected %s, got %s", type, last_line);
	json_decref(r);
}

static int
head_has(const char *name)
{
	struct node_store store;
	struct hash missing;
	struct blob *keep;
	struct entry e;

	db_node_store(manifest_db, &store);
	if (tree_lookup(&store, &head_root->root, name, strlen(name), &e, &keep,
		&missing) == -1)
		return 0;
	blob_unref(keep);
	return 1;
}

static int
shows(const char *name)
{
	struct node_miss miss;
	struct item it;
	void *keep = NULL;
	int rc;

	rc = fill_path(&mnt, name, strlen(name), &it, &keep, &miss);
	free(keep);
	return rc == 1;
}

static uint64_t
dirty(void)
{
	uint64_t names, objects;

	assert_int_equal(db_dirty_count(manifest_db, mnt.row.row, &names,
			     &objects),
	    0);
	return names + objects;
}

/* status looks no further than it is told. */
static void
count_bound(void **state)
{
	uint64_t names, objects, *ovls;
	size_t n;

	(void)state;
	make_file(2, "f", "hello");
	make_file(3, "g", "world");
	assert_int_equal(db_dirty_count_most(manifest_db, mnt.row.row, 1,
			     &names, &objects),
	    0);
	assert_true(names == 1 && objects == 1);
	assert_int_equal(db_dirty_count_most(manifest_db, mnt.row.row, 100,
			     &names, &objects),
	    0);
	assert_true(names == 2 && objects == 2);
	assert_int_equal(db_obj_list_local(manifest_db, mnt.row.row, 1, &ovls,
			     &n),
	    0);
	assert_int_equal(n, 1);
	free(ovls);
}

/* ---- commits ---------------------------------------------------------------------------------- */

static void
commit_plain(void **state)
{
	json_t *r;

	(void)state;
	make_file(2, "f", "hello");
	make_file(3, "g", "world");
	remove_name("b");
	ask(JOB_COMMIT, "{\"request\":\"commit\"}");
	run_all();
	r = result();
	assert_int_equal(json_integer_value(json_object_get(r, "files")), 2);
	assert_int_equal(json_integer_value(json_object_get(r, "deletes")), 1);
	json_decref(r);
	assert_true(head_has("f") && head_has("g") && !head_has("b"));
	assert_int_equal(dirty(), 0);
	/* Nothing to publish: no request, the last commit. */
	posts = 0;
	steps_done = 0;
	ask(JOB_COMMIT, "{\"request\":\"commit\"}");
	run_all();
	r = result();
	assert_false(json_is_true(json_object_get(r, "changed")));
	json_decref(r);
	assert_int_equal(posts, 0);
	assert_int_equal(published_count, 1);
}

static void
commit_faults(void **state)
{
	json_t *r;

	(void)state;
	make_file(2, "f", "hello");
	unavailable = 2;
	lost_answers = 2;
	changes_while_hashed = 1;
	stale_uploads = 1;
	ask(JOB_COMMIT, "{\"request\":\"commit\"}");
	run_all();
	r = result();
	json_decref(r);
	assert_int_equal(published_count, 1);
	assert_true(posts >= 3);
	assert_int_equal(hashes, 3);
	assert_true(head_has("f"));
	assert_int_equal(dirty(), 0);
}

static void
commit_leaves_what_changes(void **state)
{
	json_t *r;

	(void)state;
	make_file(2, "f", "hello");
	make_file(3, "g", "busy");
	changes_while_hashed = 100;
	ask(JOB_COMMIT, "{\"request\":\"commit\"}");
	while (hashes < 6 && one_step())
		;
	changes_while_hashed = 0;
	run_all();
	r = result();
	assert_int_equal(json_array_size(json_object_get(r, "left_dirty")), 2);
	json_decref(r);
	assert_true(dirty() > 0);
	ask(JOB_COMMIT, "{\"request\":\"commit\"}");
	run_all();
	r = result();
	assert_int_equal(json_array_size(json_object_get(r, "left_dirty")), 0);
	json_decref(r);
	assert_true(head_has("f") && head_has("g"));
	assert_int_equal(dirty(), 0);
}

static void
commit_refused(void **state)
{
	(void)state;
	make_file(2, "f", "hello");
	refuse_next = 1;
	ask(JOB_COMMIT, "{\"request\":\"commit\",\"if_unchanged\":true}");
	run_all();
	expect_error("refused");
	assert_int_equal(published_count, 0);
	assert_true(dirty() > 0);
}

static void
commit_suspect(void **state)
{
	(void)state;
	make_file(2, "f", "hello");
	writers[2] = 1;
	ask(JOB_COMMIT, "{\"request\":\"commit\"}");
	run_all();
	json_decref(result());
	/* Its writer lives: it is hashed again, and is what it was. */
	ask(JOB_COMMIT, "{\"request\":\"commit\"}");
	run_all();
	assert_int_equal(hashes, 2);
	assert_int_equal(published_count, 1);
	/* A store through a mapping, without any record. */
	assert_int_equal(pwrite(files[2], "HELLO", 5, 0), 5);
	writers[2] = 0;
	ask(JOB_COMMIT, "{\"request\":\"commit\"}");
	run_all();
	assert_int_equal(published_count, 2);
	assert_int_equal(dirty(), 0);
}

/* ctime that did not move says nothing where stores do not show in it. */
static void
commit_hidden_stores(void **state)
{
	unsigned int first;

	(void)state;
	mnt.stores_show = 0;
	make_file(2, "f", "hello");
	writers[2] = 1;
	ask(JOB_COMMIT, "{\"request\":\"commit\"}");
	run_all();
	writers[2] = 0;
	first = hashes;
	usleep(50 * 1000);
	ask(JOB_COMMIT, "{\"request\":\"commit\"}");
	run_all();
	assert_int_equal(hashes, first + 1);
}

/* The process dies after each step in turn. */
static void
commit_crashes(void **state)
{
	unsigned int k, i;
	int64_t id;
	char *text;

	teardown(state);
	for (k = 0; k < 40; k++) {
		setup(state);
		make_file(2, "f", "hello");
		make_file(3, "g", "more");
		lost_answers = k % 2;
		id = ask(JOB_COMMIT, "{\"request\":\"commit\"}");
		for (i = 0; i < k && one_step(); i++)
			;
		if (got_last) {
			teardown(state);
			break;
		}
		jobs_mount_gone(&mnt);
		drop_steps();
		mount_row_free(&mnt.row);
		memset(&mnt.row, 0, sizeof(mnt.row));
		assert_int_equal(db_mount_find(manifest_db,
				     (const uint8_t[16]){ 0 }, &mnt.row),
		    0);
		jobs_mount_started(&mnt);
		run_all();
		if (published_count != 1)
			fail_msg("crash after %u steps: published %u times", k,
			    published_count);
		assert_int_equal(db_job_answer(manifest_db, mnt.row.row, id,
				     &text),
		    0);
		assert_non_null(text);
		assert_non_null(strstr(text, "\"result\""));
		free(text);
		assert_true(head_has("f") && head_has("g"));
		assert_int_equal(dirty(), 0);
		teardown(state);
	}
	assert_true(k > 5);
	setup(state);
}

/* ---- reloads ------------------------------------------------------------------------------------ */

static void
foreign_file(const char *name)
{
	struct entry root = *head_root, e;
	struct tree_edit edit;
	struct tree_sums sums;
	struct node_store store;

	db_node_store(manifest_db, &store);
	memset(&e, 0, sizeof(e));
	e.type = ENTRY_FIFO;
	e.mode = 0600;
	e.fileid = 99;
	edit.name = name;
	edit.len = strlen(name);
	edit.entry = &e;
	assert_int_equal(tree_apply(&store, salt, &root.root, &edit, 1,
			     &root.root, &sums),
	    0);
	commit_new(&root);
}

static int
diff_names(const char *path, uint8_t want)
{
	const uint8_t *p;
	struct rbuf r;
	uint8_t kind;
	size_t len;

	rbuf_init(&r, diff_bytes, diff_len);
	while (diff_decode(&r, &kind, &p, &len) == 1)
		if (len == strlen(path) && memcmp(p, path, len) == 0)
			return kind == want;
	return 0;
}

static void
reload_plain_and_quick(void **state)
{
	json_t *r;

	(void)state;
	ask(JOB_RELOAD, "{\"request\":\"reload\"}");
	run_all();
	assert_int_equal(switches, 0); /* nothing is new */
	make_file(2, "f", "hello");
	ask(JOB_COMMIT, "{\"request\":\"commit\"}");
	run_all();
	foreign_file("other");
	ask(JOB_RELOAD, "{\"request\":\"reload\",\"if_clean\":true}");
	run_all();
	r = result();
	assert_true(json_is_true(json_object_get(r, "changed")));
	assert_true(json_is_null(json_object_get(r, "stash")));
	json_decref(r);
	assert_int_equal(switches, 1);
	assert_int_equal(told_now, 1);
	assert_true(diff_names("other", DIFF_NEW));
	assert_true(diff_names("f", DIFF_ATTR)); /* the same, now clean */
	assert_true(shows("f") && shows("other"));
	while (one_step())
		;
	assert_int_equal(cache_puts, 1);
}

static void
reload_stashes_and_restores(void **state)
{
	json_t *r;
	char text[128];
	int64_t id;

	(void)state;
	make_file(2, "f", "hello");
	remove_name("b");
	foreign_file("other");
	ask(JOB_RELOAD, "{\"request\":\"reload\",\"if_clean\":true}");
	run_all();
	expect_error("refused");
	assert_true(shows("f") && !parked_now);
	ask(JOB_RELOAD, "{\"request\":\"reload\"}");
	run_all();
	r = result();
	id = json_integer_value(
	    json_object_get(json_object_get(r, "stash"), "id"));
	assert_int_equal(json_integer_value(
			     json_object_get(json_object_get(r, "stash"),
				 "files")),
	    1);
	json_decref(r);
	assert_true(!shows("f") && shows("b") && shows("other"));
	assert_true(diff_names("f", DIFF_GONE) && diff_names("b", DIFF_NEW));
	assert_true(ovl_is_held(&mnt, 2));
	assert_int_equal(dirty(), 0);
	snprintf(text, sizeof(text),
	    "{\"request\":\"stash\",\"action\":"
	    "\"restore\",\"id\":%lld}",
	    (long long)id);
	ask(JOB_RESTORE, text);
	run_all();
	json_decref(result());
	assert_true(shows("f") && !shows("b") && shows("other"));
	ask(JOB_COMMIT, "{\"request\":\"commit\"}");
	run_all();
	json_decref(result());
	assert_true(head_has("f") && !head_has("b") && head_has("other"));
}

static void
reload_keeps(void **state)
{
	(void)state;
	make_file(2, "f", "hello");
	foreign_file("other");
	ask(JOB_RELOAD, "{\"request\":\"reload\",\"keep\":true}");
	run_all();
	json_decref(result());
	assert_true(shows("f") && shows("other"));
	assert_true(dirty() > 0);
	ask(JOB_COMMIT, "{\"request\":\"commit\"}");
	run_all();
	json_decref(result());
	assert_true(head_has("f") && head_has("other"));
}

static void
reload_crashes(void **state)
{
	unsigned int k, i;

	teardown(state);
	for (k = 0; k < 20; k++) {
		setup(state);
		make_file(2, "f", "hello");
		foreign_file("other");
		ask(JOB_RELOAD, "{\"request\":\"reload\"}");
		for (i = 0; i < k && one_step(); i++)
			;
		if (got_last) {
			teardown(state);
			break;
		}
		jobs_mount_gone(&mnt);
		drop_steps();
		mount_row_free(&mnt.row);
		memset(&mnt.row, 0, sizeof(mnt.row));
		assert_int_equal(db_mount_find(manifest_db,
				     (const uint8_t[16]){ 0 }, &mnt.row),
		    0);
		jobs_mount_started(&mnt);
		run_all();
		assert_true(switches >= 1 && !parked_now);
		assert_true(shows("other") && !shows("f"));
		assert_true(ovl_is_held(&mnt, 2)); /* stashed */
		teardown(state);
	}
	assert_true(k > 3);
	setup(state);
}

static void
cancelled(void **state)
{
	(void)state;
	make_file(2, "f", "hello");
	ask(JOB_COMMIT, "{\"request\":\"commit\"}");
	one_step();
	assert_int_equal(job_cancel(job_find(&mnt, 0)), 0);
	expect_error("cancelled");
	while (one_step())
		;
	assert_int_equal(published_count, 0);
	assert_true(dirty() > 0);
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(count_bound),
		T(commit_plain),
		T(commit_faults),
		T(commit_leaves_what_changes),
		T(commit_refused),
		T(commit_suspect),
		T(commit_hidden_stores),
		T(commit_crashes),
		T(reload_plain_and_quick),
		T(reload_stashes_and_restores),
		T(reload_keeps),
		T(reload_crashes),
		T(cancelled),
	};

	hash_init();
	assert_int_equal(proc_base_init(), 0);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
