/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * Claim: what keys that may not see all of a family bring is adopted by it within
 * bounds, and each is sent to what it could have known of.
 */
#include "meta_harness.h"

/* A key of that path of a volume, as it is in the database: its grant. */
static void
grant_of(const char *volume, const char *path, struct db_grant *g)
{
	char secret[DB_SECRET_LEN + 1];
	struct db_volume vol;
	struct db_key key;
	struct key_new n = { .org = 1, .name = "limited", .role = KEY_WRITE };

	assert_int_equal(db_volume_find(h.db, 1, volume, &vol), 1);
	memset(g, 0, sizeof(*g));
	g->volume = vol.id;
	g->len = strlen(path);
	memcpy(g->path, path, g->len);
	n.grants = g;
	n.ngrants = 1;
	assert_int_equal(db_key_mint(h.db, &n, secret, &key), 0);
	assert_int_equal(db_grant_find(h.db, key.id, vol.id, g), 1);
}

static void
grant_new(const char *path, struct db_grant *g)
{
	grant_of("v", path, g);
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
sent_of(int64_t family, const char *volume, const char *path,
    const struct hash *chunk, struct db_location *l)
{
	struct db_location all[LOCATIONS_MAX];
	struct db_grant g;

	grant_of(volume, path, &g);
	assert_true(db_chunk_places_for(h.db, family, &g, chunk, all,
			LOCATIONS_MAX) > 0);
	*l = all[0];
	return l->family;
}

static int64_t
sent_to(int64_t family, const char *path, const struct hash *chunk,
    struct db_location *l)
{
	return sent_of(family, "v", path, chunk, l);
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

/* What a key has brought is in forks that are made later: those who see them are
   sent where it is sent, the next volume first; and not the other way round. */
static void
test_adopted_and_forked(void **state)
{
	struct db_grant of_v, of_w;
	struct db_location l;
	struct db_volume vol;
	struct hash head, chunk;
	int64_t f;

	(void)state;
	make_volume("v", &head);
	expect(API_POST, "/v1/volumes/v/fork", h.write, "{\"name\":\"w\"}", 201,
	    "");
	expect(API_POST, "/v1/volumes/w/fork", h.write, "{\"name\":\"x\"}", 201,
	    "");
	expect(API_POST, "/v1/volumes/v/fork", h.write, "{\"name\":\"y\"}", 201,
	    "");
	assert_int_equal(db_volume_find(h.db, 1, "v", &vol), 1);
	f = vol.family;
	hash_bytes(&chunk, "a guess", 7);
	assert_int_equal(db_begin(h.db), 0);
	assert_int_equal(db_chunk_set(h.db, f, &chunk, 10, LOCATION_CONFIRMED),
	    0);
	grant_of("w", "d", &of_w);
	assert_int_equal(bring(f, &of_w, &chunk), 2);
	assert_int_equal(sent_of(f, "v", "d", &chunk, &l), f);
	assert_int_equal(sent_of(f, "y", "d", &chunk, &l), f);
	assert_int_equal(sent_of(f, "x", "d", &chunk, &l), of_w.annex.id);
	assert_int_equal(sent_of(f, "x", "e", &chunk, &l), f);
	grant_of("v", "", &of_v);
	assert_int_equal(bring(f, &of_v, &chunk), 3);
	assert_int_equal(sent_of(f, "v", "d", &chunk, &l), of_v.annex.id);
	assert_int_equal(sent_of(f, "y", "d", &chunk, &l), of_v.annex.id);
	assert_int_equal(sent_of(f, "w", "", &chunk, &l), of_w.annex.id);
	assert_int_equal(sent_of(f, "x", "d/d", &chunk, &l), of_w.annex.id);
	assert_int_equal(sent_of(f, "x", "e", &chunk, &l), of_v.annex.id);
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

/* ---- what comes between --------------------------------------------------- */

/* From now on h.write is a key in the words of the body; the old one into old. */
static void
become(const char *body, char old[DB_SECRET_LEN + 1])
{
	struct got g;

	memcpy(old, h.write, DB_SECRET_LEN + 1);
	call(&g, API_POST, "/v1/keys", h.admin, body, strlen(body));
	assert_int_equal(g.status, 201);
	strlcpy(h.write, member(g.json, "key"), sizeof(h.write));
	got_clear(&g);
}

static void
become_again(char secret[DB_SECRET_LEN + 1])
{
	char now[DB_SECRET_LEN + 1];

	memcpy(now, h.write, sizeof(now));
	memcpy(h.write, secret, sizeof(now));
	memcpy(secret, now, sizeof(now));
}

/* A delta that the thread reads: many files below a directory, and those. */
static void
submit_many(struct got *g, const char *session, const struct hash *base,
    const char *dir, const struct change *last)
{
	enum { N = 4000 };
	static char names[N][32];
	static struct change c[N + 1];
	char target[256];
	struct wbuf w;
	int i;

	for (i = 0; i < N; i++) {
		snprintf(names[i], sizeof(names[i]), "%s/f%05d", dir, i);
		c[i].path = names[i];
		c[i].content = "";
	}
	c[N] = *last;
	make_delta(&w, base, c, N + 1);
	assert_true(w.len > 128 * 1024);
	snprintf(target, sizeof(target), "/v1/volumes/v/sessions/%s/commit",
	    session);
	submit(g, API_POST, target, h.write, w.data, w.len);
	wbuf_free(&w);
}

static void
pump_until_held(void)
{
	int i;

	for (i = 0; i < 1000 && h.working == NULL; i++)
		pump();
	assert_non_null(h.working);
}

static void
pump_until(const struct got *g)
{
	int i;

	for (i = 0; i < 100000 && !g->done; i++)
		pump();
	assert_true(g->done);
}

/* A key of a whole volume names a chunk by its hash alone.  Meanwhile the volume
   is forked, and the fork gets that chunk. */
static void
forked_meanwhile(int hold)
{
	static const struct change secret = { "x", "of the fork alone", NULL };
	static const struct change stolen = { "z/stolen", "of the fork alone",
		NULL };
	char all[DB_SECRET_LEN + 1], session[33], again[33];
	struct hash head, fork, id;
	struct got g;

	make_volume("v", &head);
	become("{\"role\":\"write\",\"volumes\":[{\"volume\":\"v\"}]}", all);
	new_session(session);
	new_session(again);
	open_session("v", session, "{}");
	h.hold_work = hold;
	submit_many(&g, session, &head, "z", &stolen);
	pump_until_held();
	h.hold_work = 0;
	become_again(all);
	expect(API_POST, "/v1/volumes/v/fork", h.write, "{\"name\":\"fork\"}",
	    201, "");
	head_of("fork", &fork);
	publish("fork", &fork, &secret, 1, &id);
	let_work(hold == 2);
	pump_until(&g);
	assert_int_equal(g.status, 503);
	assert_string_equal(code_of(&g), "busy");
	got_clear(&g);
	head_of("v", &id);
	assert_int_equal(hash_cmp(&id, &head), 0);
	/* It repeats, and is told that it has to bring it. */
	become_again(all);
	submit_many(&g, session, &head, "z", &stolen);
	pump_until(&g);
	assert_int_equal(g.status, 409);
	assert_string_equal(code_of(&g), "missing_chunks");
	got_clear(&g);
	assert_int_equal(send_chunks("v", session, &stolen, 1, 1), 1);
	submit_many(&g, session, &head, "z", &stolen);
	pump_until(&g);
	assert_int_equal(g.status, 200);
	got_clear(&g);
	/* Whoever sees all is not disturbed. */
	become_again(all);
	head_of("v", &head);
	open_session("v", again, "{}");
	h.hold_work = hold;
	submit_many(&g, again, &head, "y",
	    &(struct change){ "y/mine", "of the fork alone", NULL });
	pump_until_held();
	h.hold_work = 0;
	expect(API_POST, "/v1/volumes/v/fork", h.write, "{\"name\":\"two\"}",
	    201, "");
	let_work(hold == 2);
	pump_until(&g);
	assert_int_equal(g.status, 200);
	got_clear(&g);
}

static void
test_forked_before_it_is_read(void **state)
{
	(void)state;
	forked_meanwhile(2);
}

static void
test_forked_when_it_was_read(void **state)
{
	(void)state;
	forked_meanwhile(1);
}

/* Publishes that the directory e goes. */
static void
remove_dir(const struct hash *base)
{
	struct delta_writer dw;
	struct delta_op op;
	char session[33], target[256];
	struct wbuf w;
	struct got g;

	new_session(session);
	open_session("v", session, "{}");
	memset(&op, 0, sizeof(op));
	op.path = op.tree.path = (const uint8_t *)"e";
	op.len = op.tree.len = 1;
	op.kind = DELTA_TREE;
	op.seen.present = op.seen.is_dir = op.has_tree = 1;
	wbuf_init(&w, 65536);
	assert_int_equal(delta_begin(&dw, delta_sink, &w, base, 1, 0, 1), 0);
	assert_int_equal(delta_add_op(&dw, &op), 0);
	assert_int_equal(delta_end(&dw), 0);
	snprintf(target, sizeof(target), "/v1/volumes/v/sessions/%s/commit",
	    session);
	call(&g, API_POST, target, h.write, w.data, w.len);
	wbuf_free(&w);
	if (g.status != 200)
		print_error("%u %s\n", g.status, (char *)g.body);
	assert_int_equal(g.status, 200);
	got_clear(&g);
}

/* Its directory goes away while the thread merges: the key hears that, not that
   its delta is wrong. */
static void
test_path_gone(void **state)
{
	static const struct change first = { "e/d/f", "x", NULL };
	static const struct change last = { "e/d/z", "", NULL };
	char all[DB_SECRET_LEN + 1], session[33], again[33];
	struct hash head, id, now;
	struct got g;

	(void)state;
	make_volume("v", &head);
	publish("v", &head, &first, 1, &id);
	become("{\"role\":\"write\",\"volumes\":[{\"volume\":\"v\","
	       "\"path\":\"e/d\"}]}",
	    all);
	new_session(session);
	new_session(again);
	open_session("v", session, "{}");
	open_session("v", again, "{}");
	h.hold_work = 2;
	submit_many(&g, session, &id, "e/d", &last);
	/* It is read, and then to be merged. */
	pump_until_held();
	let_work(1);
	pump_until_held();
	become_again(all);
	remove_dir(&id);
	head_of("v", &now);
	h.hold_work = 0;
	let_work(1);
	pump_until(&g);
	assert_int_equal(g.status, 409);
	assert_string_equal(code_of(&g), "path_gone");
	got_clear(&g);
	head_of("v", &id);
	assert_int_equal(hash_cmp(&id, &now), 0);
	/* It is there again, and the delta is wrong for another reason. */
	publish("v", &id, &first, 1, &id);
	become_again(all);
	submit_many(&g, again, &id, "e/d/none",
	    &(struct change){ "e/d/none/f", "", NULL });
	pump_until(&g);
	assert_int_equal(g.status, 400);
	assert_string_equal(code_of(&g), "bad_delta");
	got_clear(&g);
}

/* ---- reports ---------------------------------------------------------------- */

/* The key reports it: how many objects are read for that. */
static unsigned int
report(const char *object, const char *chunk)
{
	unsigned int was = h.verifies;
	char hex[2][HASH_HEX_LEN + 1], body[256];
	struct hash o, c;
	int i;

	hash_bytes(&o, object, strlen(object));
	hash_bytes(&c, chunk, strlen(chunk));
	hash_hex(&o, hex[0]);
	hash_hex(&c, hex[1]);
	snprintf(body, sizeof(body),
	    "{\"object\":\"%s\",\"chunk\":\"%s\",\"problem\":\"corrupt\"}",
	    hex[0], hex[1]);
	expect(API_POST, "/v1/volumes/v/report", h.write, body, 202, "");
	for (i = 0; i < 1000 && pump(); i++)
		;
	return h.verifies - was;
}

/* Publishes in one pack. */
static void
publish_pack(const struct hash *base, const struct change *c, uint32_t n,
    const char *object, struct hash *id)
{
	struct wire_chunk chunks[8];
	struct packed *k = &h.packs[h.npacks++];
	char session[33];
	struct got g;
	uint32_t i, at = 0;

	new_session(session);
	open_session("v", session, "{}");
	hash_bytes(&k->object, object, strlen(object));
	k->n = n;
	for (i = 0; i < n; i++) {
		chunks[i].bytes = k->parts[i].bytes =
		    (uint32_t)strlen(c[i].content);
		hash_bytes(&chunks[i].hash, c[i].content, chunks[i].bytes);
		k->parts[i].hash = chunks[i].hash;
		k->parts[i].offset = at;
		at += chunks[i].bytes;
	}
	claim_pack("v", session, &k->object, chunks, n, 200, "");
	store_set(&k->object, 1);
	send_commit(&g, "v", session, base, c, n);
	assert_int_equal(g.status, 200);
	parse_hash(id, member(g.json, "commit"));
	got_clear(&g);
}

/* Only what locate tells a limited key of is read when it reports it. */
static void
test_reports(void **state)
{
	static const struct change first[] = { { "d/f", "seen", NULL },
		{ "d/old", "seen once", NULL }, { "e/s", "hidden", NULL },
		{ "e/t", "hidden, too", NULL } };
	static const struct change later[] = { { "d/old", NULL, "seen once" } };
	static const struct change guess[] = { { "d/g", "hidden", NULL },
		{ "d/h", "nobody has it", NULL } };
	static const struct change again[] = { { "d/i", "hidden", NULL },
		{ "d/j", "nobody has it", NULL } };
	char all[DB_SECRET_LEN + 1], other[DB_SECRET_LEN + 1], body[256],
	    hex[HASH_HEX_LEN + 1];
	struct hash head, id;

	(void)state;
	make_volume("v", &head);
	publish("v", &head, first, 4, &head);
	publish("v", &head, later, 1, &id);
	assert_int_equal(report("hidden", "hidden"), 1);
	assert_int_equal(report("seen once", "seen once"), 1);
	become("{\"role\":\"write\",\"volumes\":[{\"volume\":\"v\","
	       "\"path\":\"d\"}]}",
	    all);
	assert_int_equal(report("seen", "seen"), 1);
	assert_int_equal(report("hidden", "hidden"), 0);
	assert_int_equal(report("hidden", "seen"), 0);
	assert_int_equal(report("seen", "hidden"), 0);
	assert_int_equal(report("nobody has it", "nobody has it"), 0);
	/* What a mount of the key may still show. */
	assert_int_equal(report("seen once", "seen once"), 0);
	hash_hex(&head, hex);
	snprintf(body, sizeof(body), "{\"commits\":[\"%s\"]}", hex);
	expect(API_PUT, "/v1/volumes/v/leases/0123456789abcdef0123456789abcdef",
	    h.write, body, 200, "");
	assert_int_equal(report("seen once", "seen once"), 1);
	/* It brings a guess in a pack: that is where it lies for it, and not in
	   the object that others have. */
	publish_pack(&id, guess, 2, "a pack", &id);
	assert_int_equal(report("hidden", "hidden"), 0);
	assert_int_equal(report("nobody has it", "nobody has it"), 0);
	assert_int_equal(report("a pack", "hidden"), 1);
	assert_int_equal(report("a pack", "nobody has it"), 1);
	/* Another key of that directory is sent to its own, too. */
	become("{\"role\":\"write\",\"volumes\":[{\"volume\":\"v\","
	       "\"path\":\"d\"}]}",
	    other);
	assert_int_equal(report("a pack", "hidden"), 1);
	publish_pack(&id, again, 2, "another pack", &id);
	assert_int_equal(report("a pack", "hidden"), 0);
	assert_int_equal(report("another pack", "hidden"), 1);
	become_again(other);
	assert_int_equal(report("a pack", "hidden"), 1);
	assert_int_equal(report("another pack", "hidden"), 0);
	become_again(all);
	assert_int_equal(report("hidden", "hidden"), 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { T(test_adopted),
		T(test_adopted_and_forked), T(test_adopted_of_a_pack),
		T(test_forked_before_it_is_read),
		T(test_forked_when_it_was_read), T(test_path_gone),
		T(test_reports) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
