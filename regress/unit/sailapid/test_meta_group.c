/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/* Many commits in one turn are as many commits one after the other, durable
   before the first answer, with one sync. */

#include "meta_harness.h"
#include "sailapid/db_sql.h"
#include "regress/unit/sync_vfs.h"

#define N 48

static const char target_fmt[] = "/v1/volumes/data/sessions/%.32s/commit";

static struct writer {
	char path[24], content[24], session[33];
	struct change c;
	struct got got;
} w[N];

static void
writer_begin(struct writer *k, const char *path, const char *content,
    const char *seen, const char *options)
{
	memset(k, 0, sizeof(*k));
	strlcpy(k->path, path, sizeof(k->path));
	strlcpy(k->content, content, sizeof(k->content));
	k->c.path = k->path;
	k->c.content = k->content;
	k->c.seen = seen;
	new_session(k->session);
	open_session("data", k->session, options);
	send_chunks("data", k->session, &k->c, 1, 1);
}

static void
writer_commit(struct writer *k, const struct hash *base)
{
	char target[256];
	struct wbuf body;

	snprintf(target, sizeof(target), target_fmt, k->session);
	make_delta(&body, base, &k->c, 1);
	submit(&k->got, API_POST, target, h.write, body.data, body.len);
	wbuf_free(&body);
}

static void
run_all(void)
{
	while (pump())
		;
}

static json_int_t
overwritten(const struct writer *k)
{
	return json_integer_value(
	    json_object_get(json_object_get(k->got.json, "overwritten"),
		"count"));
}

/* Each commit is in the history once, below the one that came after it. */
static void
expect_history(const struct hash *first, int commits)
{
	char parent[HASH_HEX_LEN + 1] = "", hex[HASH_HEX_LEN + 1];
	int i, k, n, found[N] = { 0 };
	struct got g;
	json_t *list, *c;

	call(&g, API_GET, "/v1/volumes/data/commits?limit=1000", h.read, NULL,
	    0);
	assert_int_equal(g.status, 200);
	list = json_object_get(g.json, "commits");
	n = (int)json_array_size(list);
	assert_int_equal(n, commits + 1);
	for (i = 0; i < n; i++) {
		c = json_array_get(list, (size_t)i);
		if (i > 0)
			assert_string_equal(member(c, "id"), parent);
		strlcpy(parent, member(c, "parent"), sizeof(parent));
		assert_int_equal(json_integer_value(
				     json_object_get(c, "number")),
		    n - 1 - i);
		for (k = 0; k < N; k++)
			found[k] += w[k].got.status == 200 &&
			    strcmp(member(w[k].got.json, "commit"),
				member(c, "id")) == 0;
	}
	hash_hex(first, hex);
	assert_string_equal(member(json_array_get(list, (size_t)n - 1), "id"),
	    hex);
	for (k = 0; k < N; k++)
		assert_int_equal(found[k], w[k].got.status == 200);
	got_clear(&g);
}

static void
expect_files(int files)
{
	struct got g;

	call(&g, API_GET, "/v1/volumes/data", h.read, NULL, 0);
	assert_int_equal(json_integer_value(json_object_get(g.json, "files")),
	    files);
	got_clear(&g);
}

static void
clear_writers(void)
{
	int i;

	for (i = 0; i < N; i++)
		got_clear(&w[i].got);
	memset(w, 0, sizeof(w));
}

static void
many_begin(int n)
{
	char path[24];
	int i;

	for (i = 0; i < n; i++) {
		snprintf(path, sizeof(path), "w%02d", i);
		writer_begin(&w[i], path, path, NULL, "{}");
	}
}

/* Many commits have some syncs; each is in the history. */
static void
test_one_sync(void **state)
{
	struct hash base;
	int i;

	(void)state;
	make_volume("data", &base);
	many_begin(N);
	sv.syncs = 0;
	for (i = 0; i < N; i++)
		writer_commit(&w[i], &base);
	run_all();
	/* One for each turn; a slow machine has some more. */
	assert_in_range(sv.syncs, 1, N / 4);
	for (i = 0; i < N; i++)
		assert_int_equal(w[i].got.status, 200);
	expect_history(&base, N);
	expect_files(N);
	clear_writers();
}

/* Nothing but the commit itself waits for the disk; a lease does. */
static void
test_lazy_session(void **state)
{
	static const char lease[] =
	    "/v1/volumes/data/leases/0123456789abcdef0123456789abcdef";
	char body[128], hex[HASH_HEX_LEN + 1];
	struct hash base;
	int syncs;

	(void)state;
	make_volume("data", &base);
	sv.syncs = 0;
	writer_begin(&w[0], "a", "one", NULL, "{}");
	assert_int_equal(sv.syncs, 0);
	writer_commit(&w[0], &base);
	run_all();
	assert_int_equal(w[0].got.status, 200);
	assert_int_equal(sv.syncs, 1);
	hash_hex(&base, hex);
	snprintf(body, sizeof(body), "{\"commits\":[\"%s\"]}", hex);
	expect(API_PUT, lease, h.write, body, 200, "");
	assert_int_equal(sv.syncs, 2);
	/* That of a mount has its lease with it. */
	writer_begin(&w[3], "m", "mine", NULL,
	    "{\"mount\":\"0123456789abcdef0123456789abcdef\"}");
	writer_commit(&w[3], &base);
	run_all();
	assert_int_equal(w[3].got.status, 200);
	assert_int_equal(sv.syncs, 3);
	assert_int_equal(db_lease_count(h.db, 1, db_now()), 2);
	/* A new one does not take that from what follows it. */
	writer_begin(&w[1], "b", "two", NULL, "{}");
	assert_int_equal(sv.syncs, 3);
	expect(API_POST, "/v1/volumes", h.write, "{\"name\":\"x\"}", 201, "");
	assert_int_equal(sv.syncs, 4);
	/* When nobody else brings a sync, the clock does, once. */
	writer_begin(&w[2], "c", "three", NULL, "{}");
	assert_int_equal(sv.syncs, 4);
	meta_tick();
	syncs = sv.syncs;
	assert_in_range(syncs, 5, 7);
	meta_tick();
	assert_int_equal(sv.syncs, syncs);
	clear_writers();
}

/* One path, in one turn: each is merged with what the one before it made; those
   that are refused or malformed leave nothing behind. */
static void
test_one_path(void **state)
{
	struct hash base;
	struct got bad;
	char target[256];

	(void)state;
	make_volume("data", &base);
	writer_begin(&w[0], "p", "first", NULL, "{}");
	writer_begin(&w[1], "p", "second", NULL, "{}");
	writer_begin(&w[2], "p", "third", NULL, "{\"if_unchanged\":true}");
	writer_begin(&w[3], "q", "beside", NULL, "{\"if_unchanged\":true}");
	writer_begin(&w[4], "p", "fourth", "second", "{\"if_unchanged\":true}");
	writer_begin(&w[5], "p", "fifth", "second", "{}");
	writer_begin(&w[6], "r", "never", NULL, "{}");
	snprintf(target, sizeof(target), target_fmt, w[6].session);
	writer_commit(&w[0], &base);
	writer_commit(&w[1], &base);
	submit(&bad, API_POST, target, h.write, "junk", 4);
	writer_commit(&w[2], &base);
	writer_commit(&w[3], &base);
	writer_commit(&w[4], &base);
	writer_commit(&w[5], &base);
	run_all();
	assert_int_equal(bad.status, 400);
	got_clear(&bad);
	assert_int_equal(w[0].got.status, 200);
	assert_int_equal(overwritten(&w[0]), 0);
	assert_int_equal(w[1].got.status, 200);
	assert_int_equal(overwritten(&w[1]), 1);
	assert_int_equal(w[2].got.status, 409);
	assert_string_equal(code_of(&w[2].got), "overwritten");
	assert_int_equal(w[3].got.status, 200);
	assert_int_equal(w[4].got.status, 200);
	assert_int_equal(overwritten(&w[4]), 0);
	assert_int_equal(w[5].got.status, 200);
	assert_int_equal(overwritten(&w[5]), 1);
	assert_int_equal(number(NUMBER_COMMITS), 5);
	assert_int_equal(number(NUMBER_REFUSED), 1);
	assert_int_equal(number(NUMBER_OVERWRITTEN), 2);
	expect_history(&base, 5);
	expect_files(2);
	clear_writers();
}

/* The disk refuses the sync: nobody is told that it is kept, whoever looked in
   between is told nothing; all can be repeated. */
static void
test_sync_fails(void **state)
{
	enum { SOME = 12 };
	struct hash base, now;
	struct got look, made;
	int i;

	(void)state;
	make_volume("data", &base);
	many_begin(SOME);
	for (i = 0; i < SOME; i++)
		writer_commit(&w[i], &base);
	/* Until the store has confirmed all. */
	pump();
	pump();
	sv.failing = 1;
	submit(&look, API_GET, "/v1/volumes/data", h.read, NULL, 0);
	submit(&made, API_POST, "/v1/volumes", h.write, "{\"name\":\"x\"}", 12);
	run_all();
	sv.failing = 0;
	for (i = 0; i < SOME; i++) {
		assert_int_equal(w[i].got.status, 503);
		assert_string_equal(code_of(&w[i].got), "database");
		got_clear(&w[i].got);
	}
	/* On a slow machine it may have had a turn of its own. */
	if (look.status != 503)
		assert_int_equal(json_integer_value(
				     json_object_get(look.json, "number")),
		    0);
	assert_int_equal(made.status, 503);
	got_clear(&look);
	got_clear(&made);
	head_of("data", &now);
	assert_int_equal(hash_cmp(&base, &now), 0);
	assert_int_equal(number(NUMBER_COMMITS), 0);
	for (i = 0; i < SOME; i++)
		writer_commit(&w[i], &base);
	run_all();
	for (i = 0; i < SOME; i++)
		assert_int_equal(w[i].got.status, 200);
	expect_history(&base, SOME);
	expect_files(SOME);
	assert_int_equal(number(NUMBER_COMMITS), SOME);
	clear_writers();
}

static int
refuse_once(void *arg)
{
	int *n = arg;

	return (*n)-- > 0;
}

/* What may be lost was lost in the middle of a turn: all of it is said to be. */
static void
test_lazy_fails(void **state)
{
	struct hash base, now;
	struct got open;
	char target[256], session[33];
	int refuse = 1;

	(void)state;
	make_volume("data", &base);
	new_session(session);
	snprintf(target, sizeof(target), "/v1/volumes/data/sessions/%.32s",
	    session);
	writer_begin(&w[0], "a", "", NULL, "{}");
	sqlite3_commit_hook(h.db->h, refuse_once, &refuse);
	submit(&open, API_PUT, target, h.write, NULL, 0);
	writer_commit(&w[0], &base);
	run_all();
	assert_int_equal(open.status, 503);
	assert_int_equal(w[0].got.status, 503);
	got_clear(&open);
	got_clear(&w[0].got);
	expect(API_GET, target, h.read, NULL, 404, "session_not_found");
	head_of("data", &now);
	assert_int_equal(hash_cmp(&base, &now), 0);
	expect(API_PUT, target, h.write, NULL, 201, "");
	writer_commit(&w[0], &base);
	run_all();
	assert_int_equal(w[0].got.status, 200);
	expect_history(&base, 1);
	clear_writers();
}

int
main(void)
{
	const struct CMUnitTest tests[] = { T(test_one_sync),
		T(test_lazy_session), T(test_one_path), T(test_sync_fails),
		T(test_lazy_fails) };

	sync_vfs_install();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
