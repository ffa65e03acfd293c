/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * The difference of two commits names each path that differs, once, in order,
 * with its letter, whatever the pages are; against a model.
 */
#include "meta_harness.h"

#define FILES 700
#define COMMITS 6

/* One file of the model: its content in each commit, or NULL. */
static struct {
	char path[48];
	const char *content[COMMITS];
} files[FILES];
static const char *const contents[] = { NULL, "one", "two", "three" };
static struct hash commits[COMMITS];

/* Some alone in the root, some many in one directory, some deep. */
static void
name_files(void)
{
	int i;

	for (i = 0; i < FILES; i++) {
		memset(&files[i], 0, sizeof(files[i]));
		if (i < 10)
			snprintf(files[i].path, 48, "a.%03d", i);
		else if (i < 400)
			snprintf(files[i].path, 48, "b/f%05d", i);
		else
			snprintf(files[i].path, 48, "d%02d/e%02d/f%03d",
			    (i - 400) / 60, (i - 400) / 5 % 12, i);
	}
}

/* Commit n: every so manieth file gets another content, or none. */
static void
make_commit(int n, int every)
{
	struct change c[FILES];
	size_t m = 0;
	int i;

	for (i = 0; i < FILES; i++) {
		files[i].content[n] = files[i].content[n - 1];
		if (arc4random_uniform((uint32_t)every) != 0)
			continue;
		files[i].content[n] = contents[arc4random_uniform(4)];
		if (files[i].content[n] == files[i].content[n - 1])
			continue;
		c[m].path = files[i].path;
		c[m].content = files[i].content[n];
		c[m++].seen = files[i].content[n - 1];
	}
	if (m == 0) {
		commits[n] = commits[n - 1];
		return;
	}
	publish("data", &commits[n - 1], c, m, &commits[n]);
}

static int
is_directory(const json_t *change)
{
	const json_t *e = json_object_get(change, "now");

	if (json_is_null(e))
		e = json_object_get(change, "was");
	return strcmp(member(e, "type"), "directory") == 0;
}

/* One page behind next, onto all; 1 when another follows. */
static int
ask_page(int a, int b, const char *path, int limit, char next[64], json_t *all)
{
	char body[512], ha[HASH_HEX_LEN + 1], hb[HASH_HEX_LEN + 1];
	struct got g;
	json_t *j;
	int more;

	hash_hex(&commits[a], ha);
	hash_hex(&commits[b], hb);
	snprintf(body, sizeof(body),
	    "{\"from\":\"%s\",\"to\":\"%s\",\"path\":\"%s\",\"limit\":%d%s%s%s}",
	    ha, hb, path, limit, *next != '\0' ? ",\"after\":\"" : "", next,
	    *next != '\0' ? "\"" : "");
	call(&g, API_POST, "/v1/volumes/data/diff", h.read, body, strlen(body));
	if (g.status != 200)
		print_error("diff: %u %s\n", g.status, (char *)g.body);
	assert_int_equal(g.status, 200);
	assert_string_equal(member(g.json, "from"), ha);
	assert_string_equal(member(g.json, "to"), hb);
	j = json_object_get(g.json, "changes");
	assert_true(json_array_size(j) <= (size_t)limit);
	assert_int_equal(json_array_extend(all, j), 0);
	if ((more = json_is_string(json_object_get(g.json, "next"))))
		snprintf(next, 64, "%s", member(g.json, "next"));
	got_clear(&g);
	return more;
}

static json_t *
ask_all(int a, int b, const char *path, int limit)
{
	json_t *all = json_array();
	char next[64] = "";

	while (ask_page(a, b, path, limit, next, all))
		;
	return all;
}

/* The letter that the model has for a file; 0: it is the same. */
static char
letter(int i, int a, int b)
{
	const char *x = files[i].content[a], *y = files[i].content[b];

	if (x == y)
		return '\0';
	return x == NULL ? 'A' : y == NULL ? 'D' : 'M';
}

static void
check(int a, int b, const char *path, int limit)
{
	json_t *all = ask_all(a, b, path, limit), *change;
	const char *name, *last = NULL;
	size_t n;
	int i = 0;

	json_array_foreach(all, n, change)
	{
		name = member(change, "path");
		if (last != NULL)
			assert_true(path_cmp(last, strlen(last), name,
					strlen(name)) < 0);
		last = name;
		if (is_directory(change)) {
			assert_non_null(
			    strchr("AD", *member(change, "change")));
			continue;
		}
		while (i < FILES &&
		    (letter(i, a, b) == '\0' ||
			!path_is_below(files[i].path, strlen(files[i].path),
			    path, strlen(path))))
			i++;
		if (i == FILES) {
			fail_msg("%s: not in the model", name);
			break;
		}
		assert_string_equal(files[i].path, name);
		assert_int_equal(*member(change, "change"), letter(i, a, b));
		assert_int_equal(json_is_null(json_object_get(change, "was")),
		    letter(i, a, b) == 'A');
		i++;
	}
	for (; i < FILES; i++)
		if (path_is_below(files[i].path, strlen(files[i].path), path,
			strlen(path)))
			assert_int_equal(letter(i, a, b), 0);
	json_decref(all);
}

static int
diff_setup(void **state)
{
	int n, r;

	if ((r = setup(state)) != 0)
		return r;
	name_files();
	make_volume("data", &commits[0]);
	for (n = 1; n < COMMITS; n++)
		make_commit(n, n == 1 ? 1 : n * 20);
	return 0;
}

static void
test_model(void **state)
{
	static const int limits[] = { 1, 2, 17, 1000 };
	static const char *const paths[] = { "", "b", "d01", "d01/e02",
		"a.003" };
	size_t i;
	int a, b;

	(void)state;
	for (a = 0; a < COMMITS; a++)
		for (b = 0; b < COMMITS; b++)
			check(a, b, "", a + b > 2 ? 13 : 1000);
	for (i = 0; i < 4; i++)
		check(1, COMMITS - 1, "", limits[i]);
	for (i = 1; i < 4; i++) {
		check(1, COMMITS - 1, paths[i], 3);
		check(0, 1, paths[i], 7);
		check(1, 0, paths[i], 1000);
	}
}

/* Without a first commit it is the parent's. */
static void
test_parent(void **state)
{
	char body[256], hex[HASH_HEX_LEN + 1], parent[HASH_HEX_LEN + 1];
	struct got g;
	json_t *all, *page;
	size_t i;

	(void)state;
	hash_hex(&commits[1], hex);
	hash_hex(&commits[0], parent);
	snprintf(body, sizeof(body), "{\"to\":\"%s\"}", hex);
	call(&g, API_POST, "/v1/volumes/data/diff", h.read, body, strlen(body));
	assert_int_equal(g.status, 200);
	assert_string_equal(member(g.json, "from"), parent);
	all = ask_all(0, 1, "", 1000);
	assert_true(json_array_size(all) > 100);
	/* A page ends early on a slow machine. */
	page = json_object_get(g.json, "changes");
	assert_true(json_array_size(page) > 0);
	for (i = 0; i < json_array_size(page); i++)
		assert_true(json_equal(json_array_get(all, i),
		    json_array_get(page, i)));
	assert_int_equal(json_is_null(json_object_get(g.json, "next")),
	    json_array_size(page) == json_array_size(all));
	got_clear(&g);
	json_decref(all);
	/* The first one has none, and did nothing. */
	snprintf(body, sizeof(body), "{\"to\":\"%s\"}", parent);
	call(&g, API_POST, "/v1/volumes/data/diff", h.read, body, strlen(body));
	assert_int_equal(g.status, 200);
	assert_true(json_is_null(json_object_get(g.json, "from")));
	assert_int_equal(json_array_size(json_object_get(g.json, "changes")),
	    0);
	got_clear(&g);
}

/* A file becomes a directory, and back. */
static void
test_type(void **state)
{
	struct change file = { "t", "one", NULL }, gone = { "t", NULL, "one" },
		      below = { "t/x", "two", NULL };
	static const char *const there[] = { "Tt", "At/x" };
	static const char *const back[] = { "Tt", "Dt/x" };
	json_t *all;
	size_t i;

	(void)state;
	publish("data", &commits[0], &file, 1, &commits[1]);
	publish("data", &commits[1], &gone, 1, &commits[2]);
	publish("data", &commits[2], &below, 1, &commits[3]);
	all = ask_all(1, 3, "t", 1);
	assert_int_equal(json_array_size(all), 2);
	for (i = 0; i < 2; i++) {
		assert_int_equal(*member(json_array_get(all, i), "change"),
		    there[i][0]);
		assert_string_equal(member(json_array_get(all, i), "path"),
		    there[i] + 1);
	}
	json_decref(all);
	all = ask_all(3, 1, "t", 1);
	assert_int_equal(json_array_size(all), 2);
	for (i = 0; i < 2; i++) {
		assert_int_equal(*member(json_array_get(all, i), "change"),
		    back[i][0]);
		assert_string_equal(member(json_array_get(all, i), "path"),
		    back[i] + 1);
	}
	json_decref(all);
}

/* What is no question is refused; nobody else's commits are compared. */
static void
test_refused(void **state)
{
	static const char *const bad[] = { "", "{}", "{\"to\":3}",
		"{\"to\":\"x\"}" };
	static const char *const more[] = { "\"from\":\"y\"", "\"from\":1",
		"\"path\":\"..\"", "\"path\":\"/b\"",
		"\"path\":{\"b64\":\"?\"}", "\"after\":\"b//c\"",
		"\"path\":\"b\",\"after\":\"c\"", "\"limit\":0",
		"\"limit\":1001", "\"limit\":\"1\"" };
	char body[512], hex[HASH_HEX_LEN + 1];
	struct hash other;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		expect(API_POST, "/v1/volumes/data/diff", h.read, bad[i], 400,
		    "bad_json");
	hash_hex(&commits[1], hex);
	for (i = 0; i < sizeof(more) / sizeof(more[0]); i++) {
		snprintf(body, sizeof(body), "{\"to\":\"%s\",%s}", hex,
		    more[i]);
		expect(API_POST, "/v1/volumes/data/diff", h.read, body, 400,
		    "bad_json");
	}
	snprintf(body, sizeof(body), "{\"to\":\"%s\",\"path\":\"no/where\"}",
	    hex);
	expect(API_POST, "/v1/volumes/data/diff", h.read, body, 404,
	    "path_not_found");
	make_volume("more", &other);
	snprintf(body, sizeof(body), "{\"to\":\"%s\"}", hex);
	expect(API_POST, "/v1/volumes/more/diff", h.read, body, 404,
	    "commit_not_found");
	expect(API_POST, "/v1/volumes/data/diff", h.other, body, 404,
	    "volume_not_found");
	hash_hex(&other, hex);
	snprintf(body, sizeof(body), "{\"to\":\"%s\"}", hex);
	expect(API_POST, "/v1/volumes/data/diff", h.read, body, 404,
	    "commit_not_found");
	expect(API_GET, "/v1/volumes/data/diff", h.read, NULL, 405,
	    "method_not_allowed");
}

#define TD(f) cmocka_unit_test_setup_teardown(f, diff_setup, teardown)

int
main(void)
{
	static const struct CMUnitTest tests[] = { TD(test_model),
		TD(test_parent), TD(test_type), TD(test_refused) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
