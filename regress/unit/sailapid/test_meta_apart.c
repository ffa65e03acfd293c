/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * Claim: a key that may not see all of a family may name the chunks of files
 * that it sees, in the head, in the commits that its delta names and in those
 * that its mount has a lease of; others, and a wrong length, are not found.
 */
#include "meta_harness.h"
#include "sailapid/meta_apart.h"

static const struct change first[] = { { "d/old", "what was", NULL },
	{ "secret", "not yours", NULL } };
static const struct change second[] = { { "d/deep/f", "deep down", NULL },
	{ "d/f", "in d", NULL }, { "d/old", NULL, "what was" },
	{ "e/f", "beside", NULL } };

static struct {
	struct hash base, ids[2];
	struct db_volume vol;
	struct db_grant grant;
	/* what is asked for */
	struct hashset chunks;
	uint32_t bytes[8];
	uint8_t found[8];
	uint32_t lacking;
} s;

static void
make(void)
{
	memset(&s, 0, sizeof(s));
	make_volume("data", &s.base);
	publish("data", &s.base, first, 2, &s.ids[0]);
	publish("data", &s.ids[0], second, 4, &s.ids[1]);
	/* The first org. */
	assert_int_equal(db_volume_find(h.db, 1, "data", &s.vol), 1);
	assert_int_equal(hash_cmp(&s.vol.head, &s.ids[1]), 0);
	s.grant.volume = s.vol.id;
	s.grant.len = 1;
	memcpy(s.grant.path, "d", 1);
}

static void
want_none(void)
{
	hashset_free(&s.chunks);
	hashset_init(&s.chunks);
	memset(s.found, 0, sizeof(s.found));
	s.lacking = 0;
}

static void
want(const char *content, uint32_t bytes)
{
	struct hash hash;
	uint32_t i;

	hash_bytes(&hash, content, strlen(content));
	assert_int_equal(hashset_add(&s.chunks, &hash, &i), 1);
	assert_true(i < sizeof(s.found));
	s.bytes[i] = bytes;
	s.lacking++;
}

static void
want_all(void)
{
	want_none();
	want("deep down", 9);
	want("in d", 4);
	want("what was", 8);
	want("beside", 6);
	want("not yours", 9);
	want("nowhere", 7);
}

/* By a delta that puts a file there, and names that commit; found: one digit
   each. */
static void
search(const struct hash *commit, const char *path, const uint8_t *mount,
    const char *found)
{
	const struct change c = { path, "in d", NULL };
	struct apart_wanted w = { NULL, &s.vol, &s.grant, NULL, mount,
		&s.chunks, s.bytes, s.found, s.lacking, 0 };
	struct apart_search *a;
	struct db *begun;
	atomic_int stop = 0;
	struct delta *d;
	struct wbuf b;
	const uint8_t *blame;
	const char *why = NULL;
	char got[9];
	size_t len;
	uint32_t i;
	int r, steps = 0;

	make_delta(&b, commit, &c, 1);
	d = delta_decode_blame(b.data, b.len, &why, &blame, &len);
	assert_null(why);
	assert_non_null(d);
	w.delta = d;
	/* Begun in one thread, with its connection, it goes on in another. */
	assert_non_null((w.db = begun = db_open(h.path, 0)));
	assert_non_null((a = apart_new(&w)));
	db_close(begun);
	while ((r = apart_step(a, h.db, &stop)) == 0)
		assert_true(++steps < 1000);
	assert_int_equal(r, 1);
	/* It is over. */
	assert_int_equal(apart_step(a, h.db, &stop), 1);
	for (i = 0; i < s.chunks.n; i++)
		got[i] = (char)('0' + s.found[i]);
	got[i] = '\0';
	assert_string_equal(got, found);
	apart_free(a);
	delta_free(d);
	wbuf_free(&b);
}

static void
test_found(void **state)
{
	uint8_t mount[DB_ID_LEN] = { 7 }, other[DB_ID_LEN] = { 8 };

	(void)state;
	make();
	/* What the head has below d, wherever the delta puts it. */
	want_all();
	search(&s.ids[1], "d/f", NULL, "110000");
	want_all();
	search(&s.ids[1], "d/new", NULL, "110000");
	/* What an older commit had, that the delta names. */
	want_all();
	search(&s.ids[0], "d/f", NULL, "111000");
	/* One that is not there is no matter. */
	want_all();
	search(&s.base, "d/f", NULL, "110000");
	/* What a mount has a lease of; another mount has not. */
	assert_int_equal(db_begin(h.db), 0);
	assert_int_equal(db_lease_add(h.db, s.vol.id, mount, &s.ids[0],
			     db_now() + 3600000000000),
	    0);
	assert_int_equal(db_end(h.db), 0);
	want_all();
	search(&s.ids[1], "d/f", mount, "111000");
	want_all();
	search(&s.ids[1], "d/f", other, "110000");
	want_none();
}

/* Without a delta, and by the mounts of a key. */
static void
search_of(int64_t key, const char *found)
{
	struct apart_wanted w = { h.db, &s.vol, &s.grant, NULL, NULL, &s.chunks,
		s.bytes, s.found, s.lacking, key };
	struct apart_search *a;
	atomic_int stop = 0;
	char got[9];
	uint32_t i;

	assert_non_null((a = apart_new(&w)));
	while (apart_step(a, h.db, &stop) == 0)
		;
	for (i = 0; i < s.chunks.n; i++)
		got[i] = (char)('0' + s.found[i]);
	got[i] = '\0';
	assert_string_equal(got, found);
	apart_free(a);
}

static void
test_mounts_of_a_key(void **state)
{
	uint8_t mount[DB_ID_LEN] = { 7 };

	(void)state;
	make();
	assert_int_equal(db_begin(h.db), 0);
	assert_int_equal(db_lease_add(h.db, s.vol.id, mount, &s.ids[0],
			     db_now() + 3600000000000),
	    0);
	want_all();
	search_of(5, "110000");
	assert_int_equal(db_lease_bound(h.db, s.vol.id, mount, 5), 0);
	want_all();
	search_of(5, "111000");
	want_all();
	search_of(6, "110000");
	/* Another that the mount has got by itself. */
	assert_int_equal(db_lease_clear(h.db, s.vol.id, mount), 0);
	assert_int_equal(db_lease_add(h.db, s.vol.id, mount, &s.ids[1],
			     db_now() + 3600000000000),
	    0);
	assert_int_equal(db_lease_bound(h.db, s.vol.id, mount, 5), 0);
	assert_int_equal(db_lease_add(h.db, s.vol.id, mount, &s.ids[0],
			     db_now() + 3600000000000),
	    0);
	assert_int_equal(db_end(h.db), 0);
	want_all();
	search_of(5, "111000");
	/* Of whatever length. */
	want_none();
	want("in d", APART_ANY_BYTES);
	want("beside", APART_ANY_BYTES);
	search_of(0, "10");
	want_none();
}

/* There are so many at a time. */
static void
test_few(void **state)
{
	struct apart_wanted w = { h.db, &s.vol, &s.grant, NULL, NULL, &s.chunks,
		s.bytes, s.found, 0, 0 };
	struct apart_search *a[META_SEARCHES];
	unsigned int i;

	(void)state;
	make();
	want_all();
	for (i = 0; i < META_SEARCHES; i++)
		assert_non_null((a[i] = apart_new(&w)));
	assert_null(apart_new(&w));
	assert_int_equal(errno, EAGAIN);
	apart_free(a[0]);
	assert_non_null((a[0] = apart_new(&w)));
	for (i = 0; i < META_SEARCHES; i++)
		apart_free(a[i]);
	want_none();
}

static void
test_lengths(void **state)
{
	(void)state;
	make();
	want_none();
	want("deep down", 8);
	want("in d", 4);
	search(&s.ids[1], "d/f", NULL, "01");
	/* What was found before is left as it is. */
	want_none();
	want("deep down", 9);
	want("in d", 4);
	s.found[0] = 1;
	s.lacking = 1;
	search(&s.ids[1], "d/f", NULL, "11");
	want_none();
}

/* Of another path, of the whole volume, and of one that is a file. */
static void
test_grants(void **state)
{
	(void)state;
	make();
	memcpy(s.grant.path, "e", 1);
	want_all();
	search(&s.ids[0], "e/f", NULL, "000100");
	s.grant.len = 0;
	want_all();
	search(&s.ids[0], "e/f", NULL, "111110");
	s.grant.len = 6;
	memcpy(s.grant.path, "secret", 6);
	want_all();
	search(&s.ids[0], "secret/f", NULL, "000000");
	want_none();
}

static void
test_stop(void **state)
{
	const struct change c = { "d/f", "in d", NULL };
	struct apart_search *a;
	struct apart_wanted w;
	atomic_int stop = 1;
	struct delta *d;
	struct wbuf b;
	const uint8_t *blame;
	const char *why = NULL;
	size_t len;

	(void)state;
	make();
	want_all();
	make_delta(&b, &s.ids[1], &c, 1);
	d = delta_decode_blame(b.data, b.len, &why, &blame, &len);
	assert_non_null(d);
	w = (struct apart_wanted){ h.db, &s.vol, &s.grant, d, NULL, &s.chunks,
		s.bytes, s.found, s.lacking, 0 };
	assert_non_null((a = apart_new(&w)));
	assert_int_equal(apart_step(a, h.db, &stop), -1);
	assert_int_equal(errno, ECANCELED);
	apart_free(a);
	/* Nothing is wanted: it is over at once. */
	w.lacking = 0;
	stop = 0;
	assert_non_null((a = apart_new(&w)));
	assert_int_equal(apart_step(a, h.db, &stop), 1);
	apart_free(a);
	delta_free(d);
	wbuf_free(&b);
	want_none();
}

/* The directories above the path, and beside it, are not the key's. */
static void
test_context(void **state)
{
	static const struct change c[] = { { "a/f", "1", NULL },
		{ "d/e/f", "2", NULL } };
	struct delta *d;
	struct wbuf b;
	const uint8_t *blame;
	const char *why = NULL;
	size_t len;

	(void)state;
	make();
	make_delta(&b, &s.ids[1], c, 2);
	d = delta_decode_blame(b.data, b.len, &why, &blame, &len);
	assert_non_null(d);
	assert_int_equal(d->ncontext, 3);
	apart_cut_context(d, (const uint8_t *)"d", 1);
	assert_int_equal(d->ncontext, 2);
	assert_int_equal(d->context[0].len, 1);
	assert_memory_equal(d->context[0].path, "d", 1);
	assert_memory_equal(d->context[1].path, "d/e", 3);
	apart_cut_context(d, (const uint8_t *)"d/e", 3);
	assert_int_equal(d->ncontext, 1);
	assert_memory_equal(d->context[0].path, "d/e", 3);
	delta_free(d);
	wbuf_free(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_found),
		T(test_mounts_of_a_key),
		T(test_few),
		T(test_lengths),
		T(test_grants),
		T(test_stop),
		T(test_context),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
