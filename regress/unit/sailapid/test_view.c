/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * Claim: what a key that is limited to a path sees of a commit is that directory
 * and the names that lead to it; words and counts only of commits that did
 * nothing else; and a path that is not there is an empty directory.
 */
#include "meta_harness.h"
#include "sailapid/view.h"

/* The volume, its commits, and a key of a path. */
static struct {
	struct hash base, id;
	struct db_volume vol;
	struct db_grant grant;
	struct view view;
} s;

static void
make(const struct change *c, size_t n)
{
	make_volume("data", &s.base);
	publish("data", &s.base, c, n, &s.id);
	memset(&s.vol, 0, sizeof(s.vol));
	/* The first org. */
	assert_int_equal(db_volume_find(h.db, 1, "data", &s.vol), 1);
}

static void
see(const char *path)
{
	memset(&s.grant, 0, sizeof(s.grant));
	s.grant.volume = s.vol.id;
	s.grant.len = strlen(path);
	memcpy(s.grant.path, path, s.grant.len);
	view_init(&s.view, h.db, &s.vol, &s.grant);
}

/* With words of its own. */
static void
publish_words(const struct change *c, size_t n)
{
	struct got g;
	char session[33];

	new_session(session);
	open_session("data", session,
	    "{\"message\":\"why\",\"author\":\"who\"}");
	send_chunks("data", session, c, n, 1);
	send_commit(&g, "data", session, &s.id, c, n);
	assert_int_equal(g.status, 200);
	parse_hash(&s.id, member(g.json, "commit"));
	got_clear(&g);
}

/* The names of the directory at a path, as the view has them; NULL: it is none. */
static void
assert_names(const char *path, const char *want)
{
	struct tree_iter *it;
	struct commit c;
	struct entry e;
	struct blob *b, *keep;
	const uint8_t *name;
	char got[256] = "";
	size_t len;
	int r;

	b = view_commit(&s.view, &s.id, &c);
	assert_non_null(b);
	r = tree_find(&s.view.store, &c.root, (const uint8_t *)path,
	    strlen(path), &e, &keep);
	if (want == NULL) {
		assert_int_equal(r, -1);
		assert_int_equal(errno, ENOENT);
		assert_null(keep);
		blob_unref(b);
		return;
	}
	assert_int_equal(r, 0);
	assert_int_equal(e.type, ENTRY_DIR);
	it = tree_iter_begin(&s.view.store, &e.root, "", 0, 0);
	assert_non_null(it);
	while ((r = tree_iter_next(it, &name, &len, &e)) == 1)
		snprintf(got + strlen(got), sizeof(got) - strlen(got), "%.*s ",
		    (int)len, name);
	assert_int_equal(r, 0);
	assert_string_equal(got, want);
	tree_iter_end(it);
	blob_unref(keep);
	blob_unref(b);
}

static const struct change tree[] = { { "a", "file", NULL },
	{ "d/e/f", "deep", NULL }, { "d/e/g", "deeper", NULL },
	{ "d/x", "beside", NULL }, { "z", "last", NULL } };
#define NTREE (sizeof(tree) / sizeof(tree[0]))

static void
test_whole(void **state)
{
	struct commit c;
	struct hash hash;
	struct blob *b;

	(void)state;
	make(tree, NTREE);
	view_init(&s.view, h.db, &s.vol, NULL);
	assert_int_equal(view_is_cut(&s.view), 0);
	b = view_commit(&s.view, &s.id, &c);
	assert_non_null(b);
	hash_bytes(&hash, b->data, b->len);
	assert_int_equal(hash_cmp(&hash, &s.id), 0);
	assert_int_equal(c.puts, NTREE);
	blob_unref(b);
	assert_names("", "a d z ");
	view_free(&s.view);
	/* A grant of the whole volume is none. */
	see("");
	assert_int_equal(view_is_cut(&s.view), 0);
	assert_names("d", "e x ");
	hash_bytes(&hash, "none", 4);
	assert_null(view_commit(&s.view, &hash, &c));
	assert_int_equal(errno, ENOENT);
	view_free(&s.view);
}

static void
test_cut(void **state)
{
	struct commit c;
	struct hash hash;
	struct entry e;
	struct blob *b, *keep, *node;

	(void)state;
	make(tree, NTREE);
	see("d/e");
	assert_int_equal(view_is_cut(&s.view), 1);
	assert_names("", "d ");
	assert_names("d", "e ");
	assert_names("d/e", "f g ");
	assert_names("a", NULL);
	assert_names("d/x", NULL);
	assert_names("z", NULL);
	b = view_commit(&s.view, &s.id, &c);
	assert_non_null(b);
	hash_bytes(&hash, b->data, b->len);
	assert_int_not_equal(hash_cmp(&hash, &s.id), 0);
	assert_int_equal(c.author_len + c.message_len, 0);
	assert_int_equal(c.puts + c.deletes + c.overwritten, 0);
	assert_int_equal(c.root.mode, 0755);
	assert_int_equal(c.root.uid + c.root.gid, 0);
	assert_int_equal(c.root.mtime.sec + c.root.ctime.sec, 0);
	assert_int_equal(c.root.fileid, 2);
	assert_int_equal(c.root.files, 2);
	assert_int_equal(c.root.bytes, 10);
	/* The same again has the same nodes; and nothing is stored. */
	node = s.view.store.get(s.view.store.ctx, &c.root.root);
	assert_non_null(node);
	blob_unref(node);
	assert_null(
	    s.view.nodes.store.get(s.view.nodes.store.ctx, &c.root.root));
	assert_int_equal(s.view.store.put(s.view.store.ctx, &hash, b->data,
			     b->len),
	    -1);
	assert_int_equal(errno, EROFS);
	/* What is at the path is the directory itself. */
	assert_int_equal(tree_find(&s.view.store, &c.root,
			     (const uint8_t *)"d/e/f", 5, &e, &keep),
	    0);
	assert_int_equal(e.size, 4);
	blob_unref(keep);
	assert_int_equal(tree_find(&s.view.store, &c.root,
			     (const uint8_t *)"d/e/f/g", 7, &e, &keep),
	    -1);
	assert_int_equal(errno, ENOENT);
	assert_null(keep);
	blob_unref(b);
	view_free(&s.view);
}

/* Not there, and no directory: both are empty. */
static void
test_not_there(void **state)
{
	static const char *const paths[] = { "n", "d/n/m", "a", "a/b",
		"d/e/f/x" };
	size_t i;

	(void)state;
	make(tree, NTREE);
	for (i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		see(paths[i]);
		assert_names("", "");
		assert_names("a", NULL);
		assert_names("d", NULL);
		view_free(&s.view);
	}
	assert_int_equal(db_volume_find(h.db, s.vol.org, "data", &s.vol), 1);
	assert_int_equal(view_has_dir(h.db, &s.vol, (const uint8_t *)"d/e", 3),
	    1);
	assert_int_equal(view_has_dir(h.db, &s.vol, (const uint8_t *)"d/x", 3),
	    0);
	assert_int_equal(view_has_dir(h.db, &s.vol, (const uint8_t *)"n", 1),
	    0);
	assert_int_equal(view_has_dir(h.db, &s.vol, NULL, 0), 1);
}

static void
assert_history(enum view_change want)
{
	enum view_change change;
	struct commit c;
	struct blob *b;

	b = view_history(&s.view, &s.id, &c, &change);
	assert_non_null(b);
	assert_int_equal(change, want);
	/* Words and counts tell of all of it. */
	assert_int_equal(c.message_len, want == VIEW_ALL ? 3 : 0);
	assert_int_equal(c.author_len, want == VIEW_ALL ? 3 : 0);
	assert_int_equal(c.puts + c.deletes > 0, want == VIEW_ALL);
	blob_unref(b);
}

static void
test_history(void **state)
{
	static const struct {
		const char *path;
		enum view_change want;
		struct change c[2];
		size_t n;
	} steps[] = {
		{ "d/e", VIEW_ALL, { { "d/e/h", "new", NULL } }, 1 },
		{ "d/e", VIEW_NOTHING, { { "d/y", "beside", NULL } }, 1 },
		{ "d/e", VIEW_NOTHING, { { "y", "above", NULL } }, 1 },
		{ "d/e", VIEW_PART,
		    { { "d/e/i", "both", NULL }, { "d/z", "both", NULL } }, 2 },
		{ "d/e", VIEW_PART,
		    { { "d/e/j", "both", NULL }, { "zz", "both", NULL } }, 2 },
		/* A directory on the way that comes is not the key's. */
		{ "n/m", VIEW_PART, { { "n/m/f", "new", NULL } }, 1 },
		{ "n/m", VIEW_ALL, { { "n/m/f", NULL, "new" } }, 1 },
	};
	size_t i;

	(void)state;
	make(tree, NTREE);
	see("d/e");
	/* It made the root, too. */
	assert_history(VIEW_PART);
	view_free(&s.view);
	for (i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		publish_words(steps[i].c, steps[i].n);
		see(steps[i].path);
		assert_history(steps[i].want);
		view_free(&s.view);
		/* To who sees all it is all. */
		view_init(&s.view, h.db, &s.vol, NULL);
		assert_history(VIEW_ALL);
		view_free(&s.view);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_whole),
		T(test_cut),
		T(test_not_there),
		T(test_history),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
