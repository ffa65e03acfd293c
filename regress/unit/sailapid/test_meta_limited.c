/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * Claim: what keys that may not see all of a family bring is adopted by it within
 * bounds, and each is sent to what it could have known of.
 */
#include "meta_harness.h"

/* A key of that path, as it is in the database: its grant. */
static void
grant_new(const char *path, struct db_grant *g)
{
	char secret[DB_SECRET_LEN + 1];
	struct db_volume vol;
	struct db_key key;
	struct key_new n = { .org = 1, .name = "limited", .role = KEY_WRITE };

	assert_int_equal(db_volume_find(h.db, 1, "v", &vol), 1);
	memset(g, 0, sizeof(*g));
	g->volume = vol.id;
	g->len = strlen(path);
	memcpy(g->path, path, g->len);
	n.grants = g;
	n.ngrants = 1;
	assert_int_equal(db_key_mint(h.db, &n, secret, &key), 0);
	assert_int_equal(db_grant_find(h.db, key.id, vol.id, g), 1);
}

/* It brings the chunk: how many places the family has then. */
static int
bring(int64_t family, const struct db_grant *g, const struct hash *chunk)
{
	struct db_location all[64];

	assert_int_equal(db_chunk_set(h.db, g->annex.id, chunk, 10,
			     LOCATION_CONFIRMED),
	    0);
	assert_int_equal(db_chunk_adopt(h.db, family, g->annex.id, chunk), 0);
	return db_chunk_places(h.db, family, chunk, all, 64);
}

/* Where a key of that path is sent first. */
static int64_t
sent_to(int64_t family, const char *path, const struct hash *chunk,
    struct db_location *l)
{
	struct db_location all[LOCATIONS_MAX];
	struct db_grant g;

	grant_new(path, &g);
	assert_true(db_chunk_places_for(h.db, family, &g, chunk, all,
			LOCATIONS_MAX) > 0);
	*l = all[0];
	return l->family;
}

static void
test_adopted(void **state)
{
	enum { N = ADOPTED_MAX + 4 };
	struct db_grant grants[N], twin, other;
	struct db_location l, all[64];
	struct db_volume vol;
	struct hash head, chunk;
	int64_t f;
	char path[16];
	int i;

	(void)state;
	make_volume("v", &head);
	assert_int_equal(db_volume_find(h.db, 1, "v", &vol), 1);
	f = vol.family;
	hash_bytes(&chunk, "popular", 7);
	assert_int_equal(db_begin(h.db), 0);
	/* The family's own comes before all others for whoever sees all. */
	grant_new("d", &grants[0]);
	assert_int_equal(bring(f, &grants[0], &chunk), 1);
	assert_int_equal(db_chunk_set(h.db, f, &chunk, 10, LOCATION_CONFIRMED),
	    0);
	assert_int_equal(bring(f, &grants[0], &chunk), 2);
	assert_int_equal(db_chunk_places(h.db, f, &chunk, all, 64), 2);
	assert_int_equal(all[0].family, f);
	/* One for a path, whoever has brought it. */
	grant_new("d", &twin);
	assert_int_equal(bring(f, &twin, &chunk), 2);
	/* So many in all. */
	for (i = 1; i < N; i++) {
		snprintf(path, sizeof(path), i == 1 ? "d/x" : "d%d", i);
		grant_new(path, &grants[i]);
		assert_int_equal(bring(f, &grants[i], &chunk),
		    1 + (i < ADOPTED_MAX ? i + 1 : ADOPTED_MAX));
	}
	/* Its own path, those below, those above, and what is no annex. */
	assert_int_equal(sent_to(f, "d/x", &chunk, &l), grants[1].annex.id);
	assert_int_equal(sent_to(f, "d/x/y", &chunk, &l), grants[1].annex.id);
	assert_int_equal(sent_to(f, "d/y", &chunk, &l), grants[0].annex.id);
	assert_int_equal(sent_to(f, "d3/y/z", &chunk, &l), grants[3].annex.id);
	assert_int_equal(sent_to(f, "d3x", &chunk, &l), f);
	assert_int_equal(sent_to(f, "D", &chunk, &l), f);
	assert_true(sent_to(f, "", &chunk, &l) != f);
	/* A path of another volume is none. */
	make_volume("u", &head);
	assert_int_equal(db_volume_find(h.db, 1, "u", &vol), 1);
	grant_new("d", &other);
	other.volume = vol.id;
	assert_true(db_chunk_places_for(h.db, f, &other, &chunk, all,
			LOCATIONS_MAX) > 0);
	assert_int_equal(all[0].family, f);
	/* What is wrong is wrong for all, and comes last; another takes its
	   place, and it comes back. */
	sent_to(f, "d", &chunk, &l);
	while (
	    l.family == grants[0].annex.id || l.family == grants[1].annex.id) {
		assert_int_equal(db_place_set(h.db, l.row, &chunk, 0, 10,
				     LOCATION_BAD),
		    0);
		assert_int_equal(db_chunk_find(h.db, l.family, &chunk, &l), 1);
		assert_int_equal(l.state, LOCATION_BAD);
		sent_to(f, "d", &chunk, &l);
	}
	assert_int_equal(l.family, f);
	bring(f, &twin, &chunk);
	assert_int_equal(sent_to(f, "d", &chunk, &l), twin.annex.id);
	bring(f, &grants[1], &chunk);
	assert_int_equal(sent_to(f, "d/x", &chunk, &l), grants[1].annex.id);
	assert_int_equal(db_end(h.db), 0);
}

/* What others adopt of a pack are no claims upon it. */
static void
test_adopted_of_a_pack(void **state)
{
	struct db_volume vol;
	struct db_object o;
	struct db_grant g;
	struct hash head, pack, chunk;
	int i;

	(void)state;
	make_volume("v", &head);
	assert_int_equal(db_volume_find(h.db, 1, "v", &vol), 1);
	hash_bytes(&pack, "pack", 4);
	assert_int_equal(db_begin(h.db), 0);
	grant_new("d", &g);
	assert_int_equal(db_pack_claim(h.db, g.annex.id, &pack, 40, &o), 1);
	for (i = 0; i < 4; i++) {
		hash_bytes(&chunk, &i, sizeof(i));
		assert_int_equal(db_pack_add(h.db, g.annex.id, o.row, &chunk,
				     (uint64_t)i * 10, 10),
		    0);
		assert_int_equal(db_place_set(h.db, o.row, &chunk,
				     (uint64_t)i * 10, 10, LOCATION_VERIFIED),
		    0);
		assert_int_equal(db_chunk_adopt(h.db, vol.family, g.annex.id,
				     &chunk),
		    0);
	}
	assert_int_equal(db_pack_places(h.db, o.row, 64), 4);
	assert_int_equal(db_end(h.db), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { T(test_adopted),
		T(test_adopted_of_a_pack) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
