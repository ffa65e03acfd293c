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
#include "sailvold/db_bind.h"
#include "sailvold/db_sql.h"
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

/* -1: it has none. */
static int
head_type(const char *name)
{
	struct node_store store;
	struct hash missing;
	struct blob *keep;
	struct entry e;

	db_node_store(manifest_db, &store);
	if (tree_lookup(&store, &head_root->root, name, strlen(name), &e, &keep,
		&missing) == -1)
		return -1;
	blob_unref(keep);
	return e.type;
}

static int
head_has(const char *name)
{
	return head_type(name) != -1;
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

/* What this process lacks for a moment leaves no file out. */
static void
commit_lacks(void **state)
{
	json_t *r;

	(void)state;
	make_file(2, "f", "hello");
	make_file(3, "g", "world");
	no_hashes = 2;
	ask(JOB_COMMIT, "{\"request\":\"commit\"}");
	run_all();
	r = result();
	assert_int_equal(no_hashes, 0);
	assert_int_equal(json_array_size(json_object_get(r, "left_dirty")), 0);
	json_decref(r);
	assert_true(head_has("f") && head_has("g"));
	assert_int_equal(dirty(), 0);
}

/* An upload that the server refuses is not tried again. */
static void
commit_upload_refused(void **state)
{
	static char none[] = "";

	(void)state;
	make_file(2, "f", "hello");
	upload_answer.what = none;
	upload_answer.status = 401;
	ask(JOB_COMMIT, "{\"request\":\"commit\"}");
	run_all();
	expect_error("authentication");
	assert_int_equal(uploads, 1);
	assert_int_equal(published_count, 0);
	memset(&upload_answer, 0, sizeof(upload_answer));
	ask(JOB_COMMIT, "{\"request\":\"commit\"}");
	run_all();
	json_decref(result());
	assert_true(head_has("f"));
}

/* A batch to which its first chunk could not be added is not sent. */
static void
commit_empty_batch(void **state)
{
	struct commit_run c;
	struct hash h = { { 1 } };
	struct cfile f;
	struct job j;

	(void)state;
	memset(&c, 0, sizeof(c));
	memset(&f, 0, sizeof(f));
	memset(&j, 0, sizeof(j));
	j.m = &mnt;
	c.job = &j;
	c.waiting_tail = &c.waiting;
	f.fd = -1;
	assert_int_equal(commit_batch_add(&c, &f, 0, 8 << 20, &h), -1);
	assert_int_equal(commit_batch_add(&c, &f, 0, 4096, &h), -1);
	assert_int_equal(c.filling[BATCH_PACKS]->small, 0);
	commit_batch_idle(&c);
	assert_true(TAILQ_EMPTY(&steps));
	commit_files_stop(&c);
}

/* One that nobody asked for does not wait for its server, and one of a person
   that waits behind it does: it is not told that nobody knows. */
static void
commit_behind_automatic(void **state)
{
	json_t *r;

	(void)state;
	make_file(2, "f", "hello");
	ask(JOB_COMMIT, "{\"request\":\"commit\",\"automatic\":true}");
	lost_answers = 1;
	while (posts == 0)
		assert_true(next_step());
	/* With nobody behind it, it stands in the queue. */
	assert_false(jobs_running(&mnt) && TAILQ_FIRST(&mnt.jobs)->running);
	assert_true(jobs_running(&mnt));
	make_file(3, "g", "world");
	unavailable = 2;
	ask(JOB_COMMIT, "{\"request\":\"commit\"}");
	run_all();
	r = result();
	json_decref(r);
	assert_int_equal(published_count, 2);
	assert_true(head_has("f") && head_has("g"));
	assert_int_equal(dirty(), 0);
}

/* How often a chunk of that hash and place was sent; *early: before the end of
   any hash. */
static unsigned int
times_sent(const struct hash *h, uint64_t at, uint32_t bytes, int *early)
{
	unsigned int i, n = 0;

	*early = 0;
	for (i = 0; i < nsent; i++)
		if (hash_cmp(&sent_chunks[i].chunk.hash, h) == 0) {
			assert_int_equal(sent_chunks[i].chunk.offset, at);
			assert_int_equal(sent_chunks[i].chunk.bytes, bytes);
			*early |= sent_chunks[i].hashes == 0;
			n++;
		}
	return n;
}

static void
tell(unsigned int i, unsigned int from, unsigned int to)
{
	struct fetch_hash_chunks *t = &tells[i];

	t->size = ((uint64_t)3 << CHUNK_SHIFT_MIN) + 1000;
	t->shift = CHUNK_SHIFT_MIN;
	for (t->n = 0; from <= to; from++) {
		t->chunks[t->n].slot = from;
		t->chunks[t->n].bytes = from < 3 ? 1 << CHUNK_SHIFT_MIN : 1000;
		t->chunks[t->n++].hash = told_list[from];
	}
	ntells = i + 1;
}

static void
large_file(uint64_t ovl, const char *name)
{
	make_file(ovl, name, "large");
	assert_int_equal(ftruncate(files[ovl],
			     ((off_t)3 << CHUNK_SHIFT_MIN) + 1000),
	    0);
}

static void
told_begin(void)
{
	unsigned int i;

	for (i = 0; i < 4; i++)
		memset(&told_list[i], (int)(17 + i), sizeof(told_list[i]));
	ntold = 4;
}

/* Chunks of a large file go up while it is hashed, each once; what its hash
   says in the end counts. */
static void
commit_while_hashed(void **state)
{
	const uint32_t whole = 1 << CHUNK_SHIFT_MIN;
	struct hash wrong;
	unsigned int i;
	int early;

	(void)state;
	told_begin();
	tell(0, 0, 1);
	tell(1, 0, 2); /* another sailvol-fetch begins anew */
	tell(2, 1, 3);
	memset(&wrong, 99, sizeof(wrong));
	tells[1].chunks[2].hash = wrong; /* it changes later */
	large_file(2, "f");
	ask(JOB_COMMIT, "{\"request\":\"commit\"}");
	run_all();
	json_decref(result());
	for (i = 0; i < 4; i++) {
		assert_int_equal(times_sent(&told_list[i], (uint64_t)i * whole,
				     i < 3 ? whole : 1000, &early),
		    1);
		assert_int_equal(early, i < 2);
	}
	assert_int_equal(times_sent(&wrong, 2 * (uint64_t)whole, whole, &early),
	    1);
	assert_int_equal(dirty(), 0);
	assert_int_equal(published_count, 1);
}

/* Several files side by side, whose chunks meet in one upload; some of them
   change, while they are hashed and when they are sent. */
static void
commit_side_by_side(void **state)
{
	unsigned int i;

	(void)state;
	told_begin();
	for (i = 0; i < 4; i++)
		tell(i, i, i);
	large_file(2, "f");
	large_file(3, "g");
	large_file(4, "h");
	stale_uploads = 3;
	changes_while_hashed = 1;
	ask(JOB_COMMIT, "{\"request\":\"commit\"}");
	run_all();
	json_decref(result());
	assert_true(hashes > 3);
	assert_true(head_has("f") && head_has("g") && head_has("h"));
	assert_int_equal(dirty(), 0);
	/* Given up in the middle of it all. */
	large_file(5, "i");
	large_file(6, "j");
	ask(JOB_COMMIT, "{\"request\":\"commit\"}");
	i = hashes;
	nsent = 0;
	while (nsent < 3 && next_step())
		;
	assert_int_equal(hashes, i);
	job_cancel(TAILQ_FIRST(&mnt.jobs));
	run_all();
	assert_false(head_has("i"));
	assert_true(dirty() > 0);
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
	while (hashes < 6 && next_step())
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
	usleep(50 * 1000); /* its ctime is not young any more */
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

/* The process dies, and comes again. */
static void
die(void)
{
	jobs_mount_gone(&mnt);
	drop_steps();
	mount_row_free(&mnt.row);
	memset(&mnt.row, 0, sizeof(mnt.row));
	assert_int_equal(db_mount_find(manifest_db, (const uint8_t[16]){ 0 },
			     &mnt.row),
	    0);
}

/*
 * A delta comes through when its job has begun again with what was changed
 * since: that is what was published, also when the process dies once more.  What
 * another one does then is not overwritten by the next.
 */
static void
commit_late(void **state)
{
	int64_t id;
	char *text;
	unsigned int i, k;

	teardown(state);
	for (k = 0; k < 2; k++) {
		setup(state);
		make_file(2, "f", "hello");
		hold_next = 1;
		id = ask(JOB_COMMIT, "{\"request\":\"commit\"}");
		for (i = 0; i < 200 && held == NULL && next_step(); i++)
			;
		assert_non_null(held);
		die();
		make_file(3, "g", "more");
		lost_answers = k;
		jobs_mount_started(&mnt);
		for (i = 0; k == 1 && held != NULL; i++)
			assert_true(i < 200 && next_step());
		if (k == 1) {
			die();
			jobs_mount_started(&mnt);
		}
		run_all();
		assert_int_equal(published_count, 1);
		assert_true(head_has("f") && !head_has("g"));
		assert_int_equal(db_job_answer(manifest_db, mnt.row.row, id,
				     &text),
		    0);
		assert_non_null(text);
		assert_non_null(strstr(text, "\"result\""));
		free(text);
		assert_true(dirty() > 0);
		/* Another one, and then the next, which brings the rest. */
		foreign_file("f");
		ask(JOB_COMMIT, "{\"request\":\"commit\"}");
		run_all();
		json_decref(result());
		assert_true(head_has("f") && head_has("g"));
		assert_int_equal(head_type("f"), ENTRY_FIFO);
		assert_int_equal(dirty(), 0);
		teardown(state);
	}
	setup(state);
}

/* Old answers go some at a time, those of today stay, and so does what is not
   done yet. */
static void
answers_go(void **state)
{
	enum { N = 200 };
	struct job j = { .m = &mnt, .kind = JOB_COMMIT };
	int64_t id[N];
	char *text;
	int i, gone, rounds;

	(void)state;
	for (i = 0; i < N; i++) {
		j.created = i < 150 ? 1000 : 5000;
		assert_int_equal(db_job_insert(manifest_db, &j, "{}"), 0);
		id[i] = j.id;
		if (i != 3)
			assert_int_equal(db_job_state(manifest_db, j.id,
					     JOB_DONE, "{}"),
			    0);
	}
	for (rounds = 0; rounds < 10; rounds++)
		assert_int_equal(db_job_trim(manifest_db, 2000), 0);
	for (gone = i = 0; i < N; i++) {
		if (db_job_answer(manifest_db, mnt.row.row, id[i], &text) ==
		    -1) {
			gone++;
			assert_true(i < 150 && i != 3);
		} else
			free(text);
	}
	assert_int_equal(gone, 149);
}

/* ---- reloads ------------------------------------------------------------------------------------ */

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

/*
 * A node is missing when fuse stands still already, and comes after a while.  By
 * then it may be another fuse, which does not know that it is to stand still: it
 * is told so, and what it did is applied, before anything moves.
 */
static void
reload_parks_again(void **state)
{
	struct hash before = head_root->root;
	struct blob *b;

	(void)state;
	b = db_node_get(manifest_db, &before);
	assert_non_null(b);
	make_file(2, "f", "hello");
	foreign_file("other");
	parks = 0;
	ask(JOB_RELOAD, "{\"request\":\"reload\"}");
	while (!parked_now)
		if (!one_step())
			event_base_loop(base, EVLOOP_ONCE);
	lost = db_node_get(manifest_db, &head_root->root);
	assert_non_null(lost);
	assert_int_equal(db_node_trim(manifest_db, 0), 0);
	assert_int_equal(db_node_put(manifest_db, &before, b->data, b->len), 0);
	blob_unref(b);
	while (lost != NULL)
		assert_true(next_step());
	parked_now = 0; /* the new one */
	assert_int_equal(switches, 0);
	run_all();
	json_decref(result());
	assert_int_equal(parks, 2);
	assert_int_equal(switches, 1);
	assert_true(shows("other") && !shows("f"));
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

/* What waits for a journal that breaks is told, and its mount goes on. */
static void
journal_breaks(void **state)
{
	(void)state;
	make_file(2, "f", "hello");
	broken_next = 1;
	ask(JOB_COMMIT, "{\"request\":\"commit\"}");
	run_all();
	expect_error("unavailable");
	assert_false(jobs_running(&mnt));
	/* Nobody waits for it any more. */
	broken_next = 1;
	ask(JOB_COMMIT, "{\"request\":\"commit\"}");
	while (broken_next)
		assert_true(next_step());
	assert_int_equal(job_cancel(job_find(&mnt, 0)), 0);
	expect_error("cancelled");
	while (one_step())
		;
	assert_int_equal(published_count, 0);
	ask(JOB_COMMIT, "{\"request\":\"commit\"}");
	run_all();
	json_decref(result());
	broken_next = 1; /* is there anything to do? */
	ask(JOB_RELOAD, "{\"request\":\"reload\"}");
	run_all();
	expect_error("unavailable");
	foreign_file("other");
	broken_next = 1; /* fuse stands still */
	ask(JOB_RELOAD, "{\"request\":\"reload\"}");
	run_all();
	expect_error("unavailable");
	assert_int_equal(switches, 0);
	assert_false(parked_now);
	ask(JOB_RELOAD, "{\"request\":\"reload\"}");
	run_all();
	json_decref(result());
	assert_int_equal(switches, 1);
	assert_true(shows("other"));
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

static void
database_writes(int on)
{
	sqlite3_stmt *st = db_stmt(manifest_db, DB_MOUNT_FIND);

	assert_non_null(st);
	assert_int_equal(sqlite3_exec(sqlite3_db_handle(st),
			     on ? "PRAGMA query_only=0" : "PRAGMA query_only=1",
			     NULL, NULL, NULL),
	    SQLITE_OK);
}

/* Of a job that somebody was told is cancelled nothing is done, when the database
   did not take that. */
static void
cancelled_unkept(void **state)
{
	char *text = NULL;
	int64_t id;
	int i;

	(void)state;
	make_file(2, "f", "hello");
	id = ask(JOB_COMMIT, "{\"request\":\"commit\"}");
	one_step();
	database_writes(0);
	assert_int_equal(job_cancel(job_find(&mnt, 0)), 0);
	expect_error("cancelled");
	while (one_step())
		;
	jobs_mount_gone(&mnt);
	drop_steps();
	jobs_mount_started(&mnt);
	assert_null(job_find(&mnt, 0));
	database_writes(1);
	/* After a failure it is not asked for a while. */
	for (i = 0; i < 200 && text == NULL; i++) {
		usleep(50000);
		jobs_mount_started(&mnt);
		assert_null(job_find(&mnt, 0));
		assert_int_equal(db_job_answer(manifest_db, mnt.row.row, id,
				     &text),
		    0);
	}
	assert_non_null(text);
	assert_non_null(strstr(text, "cancelled"));
	free(text);
	assert_int_equal(published_count, 0);
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(count_bound),
		T(commit_plain),
		T(commit_faults),
		T(commit_lacks),
		T(commit_upload_refused),
		T(commit_behind_automatic),
		T(commit_empty_batch),
		T(commit_while_hashed),
		T(commit_side_by_side),
		T(commit_leaves_what_changes),
		T(commit_refused),
		T(commit_suspect),
		T(commit_hidden_stores),
		T(commit_crashes),
		T(commit_late),
		T(cancelled_unkept),
		T(answers_go),
		T(reload_plain_and_quick),
		T(reload_stashes_and_restores),
		T(reload_keeps),
		T(reload_parks_again),
		T(reload_crashes),
		T(journal_breaks),
		T(cancelled),
	};

	assert_int_equal(proc_base_init(), 0);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
