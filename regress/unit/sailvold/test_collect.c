/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * Claim: what a mount has changed is collected in slices with others' turns
 * between them, and is of one moment: the journal is held meanwhile, and what
 * changes the rows all the same has it begin anew; a diff of a mount waits for
 * the one before, and a reload for none.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "regress/unit/sailvold/fake_mount.h"
#include "regress/unit/sailvold/fake_rows.h"
#include "sailvold/collect.h"
#include "sailvold/control.h"
#include "sailvold/delta_names.h"
#include "sailvold/stash.h"
#include "sailvold/turns.h"

#define NAMES 300

struct chan *
role_parent(void)
{
	return NULL;
}

static struct delta_set got;
static int got_error, got_n;

static void
taken(void *arg, int error, struct delta_set *set, struct node_miss *miss)
{
	(void)arg;
	got = *set;
	got_error = error;
	got_n++;
	node_miss_free(miss);
}

static void
make_dir(uint64_t ovl, uint64_t parent, const char *name, uint8_t type)
{
	struct record r;

	memset(&r, 0, sizeof(r));
	r.type = RECORD_MAKE;
	r.parent = parent;
	r.name = (const uint8_t *)name;
	r.name_len = strlen(name);
	r.ovl = ovl;
	r.entry.type = type;
	r.entry.mode = 0755;
	r.entry.fileid = 1000 + ovl;
	if (type == ENTRY_DIR)
		tree_empty_root(&r.entry.root);
	r.entry.mtime = r.entry.ctime = timens_now();
	put(&r);
}

/* A file, and d/ of many. */
static void
fill(void)
{
	char name[16];
	uint64_t i;

	mnt.row.next = 2000;
	make_file(2, "c", "hello");
	make_dir(3, OVL_ROOT, "d", ENTRY_DIR);
	for (i = 0; i < NAMES; i++) {
		snprintf(name, sizeof(name), "%03u",
		    (unsigned int)(i * 7 % NAMES));
		make_dir(4 + i, 3, name, ENTRY_FIFO);
	}
}

static unsigned int
loop_once(void)
{
	event_base_loop(base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
	return 1;
}

static int
begin(void **state)
{
	setup(state);
	fill();
	memset(&got, 0, sizeof(got));
	got_error = got_n = 0;
	turn_ms = 0; /* each step is a slice */
	delta_page = 10;
	return 0;
}

static int
end(void **state)
{
	turn_ms = 5;
	delta_page = PAGE_NAMES;
	delta_set_free(&got);
	return teardown(state);
}

/* As in one go. */
static void
assert_same(void)
{
	struct node_miss miss;
	struct delta_set set;
	size_t i;

	memset(&miss, 0, sizeof(miss));
	assert_int_equal(delta_collect(manifest_db, &mnt.row, &set, &miss, 0, 0,
			     NULL, NULL),
	    0);
	assert_int_equal(got.n, set.n);
	assert_int_equal(got.mark, set.mark);
	for (i = 0; i < set.n; i++) {
		assert_string_equal(got.items[i].path, set.items[i].path);
		assert_int_equal(got.items[i].kind, set.items[i].kind);
		assert_int_equal(got.items[i].ovl, set.items[i].ovl);
		if (i > 0)
			assert_true(strcmp((char *)got.items[i - 1].path,
					(char *)got.items[i].path) < 0);
	}
	assert_int_equal(got.ncontext, set.ncontext);
	delta_set_free(&set);
}

static unsigned int others;

static int
other_step(void *arg)
{
	(void)arg;
	others++;
	return 1;
}

static void
in_slices(void **state)
{
	struct collecting *c = NULL;
	struct turn other;
	unsigned int slices = 0;

	(void)state;
	memset(&other, 0, sizeof(other));
	others = 0;
	assert_int_equal(turn_begin(&other, other_step, NULL), 0);
	assert_int_equal(collect_begin(&mnt, &c, 0, taken, NULL), 0);
	while (got_n == 0) {
		assert_non_null(c);
		assert_int_equal(mnt.held, 1);
		slices += loop_once();
	}
	assert_null(c);
	assert_int_equal(mnt.held, 0);
	assert_int_equal(got_error, 0);
	assert_in_range(slices, NAMES, 4 * NAMES);
	assert_in_range(others, slices / 2, slices);
	turn_end(&other);
	assert_int_equal(got.n, NAMES + 2);
	assert_same();
}

static void
begins_anew(void **state)
{
	struct collecting *c = NULL;
	unsigned int i;

	(void)state;
	assert_int_equal(collect_begin(&mnt, &c, 0, taken, NULL), 0);
	for (i = 0; i < NAMES; i++)
		loop_once();
	assert_int_equal(got_n, 0);
	/* What was looked at, and what was not. */
	remove_name("b");
	make_dir(1000, 3, "000x", ENTRY_FIFO);
	make_dir(1001, 3, "299x", ENTRY_FIFO);
	mnt.rows_changed++;
	while (got_n == 0)
		loop_once();
	assert_int_equal(got_error, 0);
	assert_int_equal(got.n, NAMES + 5);
	assert_same();
}

static void
not_for_ever(void **state)
{
	struct collecting *c = NULL;
	unsigned int i;

	(void)state;
	assert_int_equal(collect_begin(&mnt, &c, 0, taken, NULL), 0);
	for (i = 0; i < 100 && got_n == 0; i++) {
		mnt.rows_changed++;
		loop_once();
	}
	assert_int_equal(got_n, 1);
	assert_int_equal(got_error, EBUSY);
	assert_int_equal(mnt.held, 0);
}

static void
stopped(void **state)
{
	struct collecting *c = NULL, *c2 = NULL;
	unsigned int i;

	(void)state;
	assert_int_equal(collect_begin(&mnt, &c, 0, taken, NULL), 0);
	assert_int_equal(collect_begin(&mnt, &c2, 0, taken, NULL), 0);
	for (i = 0; i < NAMES; i++)
		loop_once();
	assert_int_equal(mnt.held, 2);
	collect_stop(c);
	assert_null(c);
	assert_int_equal(mnt.held, 1);
	assert_int_equal(got_n, 0);
	collect_mount_gone(&mnt);
	assert_null(c2);
	assert_int_equal(mnt.held, 0);
	assert_int_equal(got_n, 1);
	assert_int_equal(got_error, ENODEV);
}

static void
heard(struct listener *l, const char *text, int last)
{
	(void)l;
	if (last && strstr(text, "error") != NULL)
		fail_msg("%s", text);
}

/* A commit of the mount ends in the middle of another's collection. */
static void
commit_between(void **state)
{
	static struct listener l;
	struct collecting *c = NULL;
	json_t *req = json_loads("{\"request\":\"commit\"}", 0, NULL);
	struct job *j;

	(void)state;
	assert_int_equal(collect_begin(&mnt, &c, 0, taken, NULL), 0);
	loop_once();
	memset(&l, 0, sizeof(l));
	assert_non_null(j = job_add(&mnt, JOB_COMMIT, 0, offset, 0, 0, req));
	l.line = heard;
	job_listen(j, &l);
	while (published_count == 0 || !TAILQ_EMPTY(&mnt.jobs)) {
		assert_int_equal(got_n, 0);
		turn_ms = 1000; /* the commit is the faster one */
		if (!one_step()) {
			turn_ms = 0;
			usleep(2000); /* it waits for a timer */
			loop_once();
		}
		turn_ms = 0;
	}
	while (got_n == 0)
		loop_once();
	assert_int_equal(got_error, 0);
	assert_int_equal(delta_set_count(&got), 0);
	assert_same();
	/* And what it published is not there for the next one. */
	assert_non_null(j = job_add(&mnt, JOB_COMMIT, 0, offset, 0, 0, req));
	job_listen(j, &l);
	json_decref(req);
	run_all();
	assert_int_equal(published_count, 1);
}

/* A file of very many names is no work for each pair of them. */
static void
many_links(void **state)
{
	struct node_miss miss;
	struct record r;
	char name[16];
	size_t i, own = 0;

	(void)state;
	turn_ms = 5;
	delta_page = 3;
	for (i = 0; i < 2000; i++) {
		snprintf(name, sizeof(name), "l%04zu", i);
		memset(&r, 0, sizeof(r));
		r.type = RECORD_LINK;
		r.parent = OVL_ROOT;
		r.name = (const uint8_t *)name;
		r.name_len = 5;
		r.ovl = 2;
		r.time = timens_now();
		put(&r);
	}
	memset(&miss, 0, sizeof(miss));
	assert_int_equal(delta_collect(manifest_db, &mnt.row, &got, &miss, 0, 0,
			     NULL, NULL),
	    0);
	assert_int_equal(got.n, NAMES + 2 + 2000);
	for (i = 0; i < got.n; i++)
		own +=
		    got.items[i].ovl == 2 && got.items[i].entry->fileid == 1002;
	assert_int_equal(own, 1);
	assert_int_equal(got.items[0].entry->fileid, 1002); /* "c" */
	assert_same();
}

/* ---- a reload whose fuse dies while it collects ---------------------------------- */

static unsigned int ended;

static void
ended_so(struct listener *l, const char *text, int last)
{
	(void)l;
	ended += (unsigned int)last;
	if (last && strstr(text, "\"result\"") == NULL)
		fail_msg("%s", text);
}

static void
reload_begin(void)
{
	static struct listener l;
	json_t *req = json_loads("{\"request\":\"reload\"}", 0, NULL);
	struct job *j;

	ended = 0;
	parks = 0;
	memset(&l, 0, sizeof(l));
	assert_non_null(j = job_add(&mnt, JOB_RELOAD, 0, offset, 0, 0, req));
	json_decref(req);
	l.line = ended_so;
	job_listen(j, &l);
	while (!parked_now)
		assert_true(one_step());
}

/* It knows of no reload. */
static void
other_fuse(void)
{
	mnt.fuses++;
	parked_now = 0;
	remove_name("b");
	mnt.rows_changed++;
}

/* It stood still again before anything moved, and what it did is not lost. */
static void
assert_parked_again(void)
{
	uint64_t items;

	assert_int_equal(switches, 0);
	while (!parked_now) {
		assert_int_equal(switches, 0);
		if (!one_step())
			loop_once();
	}
	turn_ms = 5;
	run_all();
	assert_int_equal(ended, 1);
	assert_int_equal(parks, 2);
	assert_int_equal(switches, 1);
	assert_int_equal(db_stash_item_count(manifest_db, 1, &items), 0);
	assert_int_equal(items, NAMES + 3);
}

static void
fuse_dies_between(void **state)
{
	unsigned int i;

	(void)state;
	reload_begin();
	while (mnt.held == 0)
		assert_true(one_step());
	for (i = 0; i < NAMES; i++)
		loop_once();
	assert_int_equal(mnt.held, 1);
	other_fuse();
	assert_parked_again();
}

/* Programs that are parked wait for no stranger's diff: it is over later. */
static void
reload_first(void **state)
{
	struct collecting *c = NULL, *late = NULL;
	unsigned int i;

	(void)state;
	assert_int_equal(collect_begin(&mnt, &c, 0, taken, NULL), 0);
	for (i = 0; i < NAMES / 2; i++)
		loop_once();
	assert_int_equal(mnt.held, 1);
	reload_begin();
	assert_int_equal(mnt.held, 0);
	assert_int_equal(collect_begin(&mnt, &late, 0, taken, NULL), 0);
	assert_int_equal(mnt.held, 0);
	while (switches == 0) {
		assert_int_equal(got_n, 0);
		if (!one_step())
			loop_once();
	}
	assert_non_null(c);
	assert_non_null(late);
	collect_stop(late);
	while (got_n == 0 || ended == 0)
		if (!one_step())
			loop_once();
	assert_int_equal(got_error, 0);
	assert_int_equal(got.n, 0); /* it moved to the stash */
	assert_int_equal(mnt.held, 0);
	assert_same();
	turn_ms = 5;
	run_all();
}

/* While it is started, and its journal applied, nobody begins anew for each of
   its batches. */
static void
fuse_starts(void **state)
{
	struct collecting *c = NULL, *c2 = NULL;
	unsigned int i;

	(void)state;
	assert_int_equal(collect_begin(&mnt, &c, 0, taken, NULL), 0);
	for (i = 0; i < NAMES; i++)
		loop_once();
	mnt.started = 0;
	assert_int_equal(collect_begin(&mnt, &c2, 0, taken, NULL), 0);
	for (i = 0; i < NAMES; i++) {
		mnt.rows_changed++;
		loop_once();
	}
	collect_go_on(&mnt); /* it has not */
	loop_once();
	assert_int_equal(got_n, 0);
	remove_name("b");
	mnt.started = 1;
	collect_go_on(&mnt);
	collect_stop(c2);
	while (got_n == 0)
		loop_once();
	assert_int_equal(got_error, 0);
	assert_int_equal(mnt.held, 0);
	assert_same();
	delta_set_free(&got);
	/* One that never will be: it is broken. */
	mnt.started = 0;
	assert_int_equal(collect_begin(&mnt, &c, 0, taken, NULL), 0);
	loop_once();
	mnt.broken = 1;
	collect_go_on(&mnt);
	while (got_n == 1)
		loop_once();
	assert_int_equal(got_error, 0);
	assert_same();
	delta_set_free(&got);
	/* And one that goes. */
	mnt.broken = 0;
	assert_int_equal(collect_begin(&mnt, &c, 0, taken, NULL), 0);
	collect_mount_gone(&mnt);
	assert_int_equal(got_error, ENODEV);
	assert_int_equal(mnt.held, 0);
}

/* A node is waited for meanwhile. */
static void
fuse_dies_waiting(void **state)
{
	(void)state;
	reload_begin();
	lost = db_node_get(manifest_db, &head_root->root);
	assert_non_null(lost);
	assert_int_equal(db_node_trim(manifest_db, 0), 0);
	while (TAILQ_FIRST(&steps) == NULL ||
	    TAILQ_FIRST(&steps)->target == NULL) {
		assert_int_equal(switches, 0);
		if (!one_step())
			loop_once();
	}
	assert_int_equal(mnt.held, 0);
	other_fuse();
	assert_parked_again();
	assert_null(lost);
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, begin, end)
	const struct CMUnitTest tests[] = {
		T(in_slices),
		T(begins_anew),
		T(not_for_ever),
		T(stopped),
		T(commit_between),
		T(many_links),
		T(fuse_starts),
		T(reload_first),
		T(fuse_dies_between),
		T(fuse_dies_waiting),
	};

	assert_int_equal(proc_base_init(), 0);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
