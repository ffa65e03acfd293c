/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * A commit is published once and whole or not at all: repeated, after a lost
 * answer, beside others, with chunks that are not where they should be, and
 * while sign or fetch is away.
 */
#include "meta_harness.h"
#include "sailapid/db_sql.h"

static const char target_fmt[] = "/v1/volumes/data/sessions/%.32s/commit";

static uint64_t
number_of(const struct got *g, const char *name)
{
	return (uint64_t)json_integer_value(json_object_get(g->json, name));
}

static void
test_sessions(void **state)
{
	static const char s[] =
	    "/v1/volumes/data/sessions/0123456789abcdef0123456789abcdef";
	struct hash head;
	struct got g;
	char long_message[COMMIT_MESSAGE_MAX + 64];

	(void)state;
	make_volume("data", &head);
	expect(API_PUT, "/v1/volumes/data/sessions/x", h.write, NULL, 400,
	    "bad_session_key");
	expect(API_PUT, s, h.read, NULL, 403, "role");
	expect(API_GET, s, h.read, NULL, 404, "session_not_found");
	expect(API_PUT, s, h.write, "{\"message\":1}", 400, "bad_json");
	expect(API_PUT, s, h.write, "{\"mount\":\"1\"}", 400, "bad_mount");
	snprintf(long_message, sizeof(long_message), "{\"message\":\"%0*d\"}",
	    COMMIT_MESSAGE_MAX + 1, 1);
	expect(API_PUT, s, h.write, long_message, 400, "bad_message");
	call(&g, API_PUT, s, h.write, NULL, 0);
	assert_int_equal(g.status, 201);
	assert_string_equal(member(g.json, "state"), "open");
	got_clear(&g);
	expect(API_PUT, s, h.write, NULL, 200, "");
	expect(API_GET, s, h.read, NULL, 200, "");
	expect(API_POST,
	    "/v1/volumes/data/sessions/0123456789abcdef0123456789abcdef/chunks",
	    h.write, "junk", 400, "bad_request");
	expect(API_POST,
	    "/v1/volumes/data/sessions/0123456789abcdef0123456789abcdef/commit",
	    h.write, "junk", 400, "bad_delta");
}

/* The sums of sparse files pass what JSON has numbers for. */
static void
test_large_sums(void **state)
{
	struct commit c;
	struct hash id;
	json_t *j;

	(void)state;
	memset(&c, 0, sizeof(c));
	memset(&id, 1, sizeof(id));
	c.author = c.message = (const uint8_t *)"";
	c.root.files = (uint64_t)1 << 62;
	c.root.bytes = UINT64_MAX;
	assert_non_null(j = json_commit(&id, &c));
	assert_true(json_integer_value(json_object_get(j, "files")) ==
	    (json_int_t)1 << 62);
	assert_true(
	    json_integer_value(json_object_get(j, "bytes")) == INT64_MAX);
	json_decref(j);
}

static void
test_publish(void **state)
{
	static const struct change c[] = { { "a", "one", NULL },
		{ "d/e/f", "two", NULL }, { "z", "", NULL } };
	struct hash base, id, now;
	struct got g, again;
	char session[33], target[256];

	(void)state;
	make_volume("data", &base);
	new_session(session);
	open_session("data", session,
	    "{\"message\":\"hello\",\"author\":\"me\"}");
	assert_int_equal(send_chunks("data", session, c, 3, 1), 2);
	send_commit(&g, "data", session, &base, c, 3);
	assert_int_equal(g.status, 200);
	assert_true(json_is_true(json_object_get(g.json, "changed")));
	assert_int_equal(number_of(&g, "number"), 1);
	assert_int_equal(number_of(&g, "puts"), 3);
	parse_hash(&id, member(g.json, "commit"));
	head_of("data", &now);
	assert_int_equal(hash_cmp(&id, &now), 0);
	assert_int_equal(h.looks, 2);
	assert_non_null(strstr(h.last_url, "http://127.0.0.1:9000/sail/"));

	/* The answer was lost: the same one comes, and nothing is done. */
	send_commit(&again, "data", session, &base, c, 3);
	assert_int_equal(again.status, 200);
	assert_string_equal((char *)again.body, (char *)g.body);
	got_clear(&again);
	head_of("data", &now);
	assert_int_equal(hash_cmp(&id, &now), 0);
	assert_int_equal(h.looks, 2);
	snprintf(target, sizeof(target), "/v1/volumes/data/sessions/%.32s",
	    session);
	call(&again, API_GET, target, h.read, NULL, 0);
	assert_string_equal(member(again.json, "state"), "published");
	assert_string_equal(member(json_object_get(again.json, "result"),
				"commit"),
	    member(g.json, "commit"));
	got_clear(&again);
	expect(API_PUT, target, h.write, NULL, 200, "");
	got_clear(&g);

	snprintf(target, sizeof(target), "/v1/volumes/data");
	call(&g, API_GET, target, h.read, NULL, 0);
	assert_int_equal(number_of(&g, "files"), 3);
	assert_int_equal(number_of(&g, "bytes"), 6);
	got_clear(&g);
}

static void
test_restart(void **state)
{
	static const struct change c[] = { { "a", "one", NULL } };
	struct hash base, id, now;
	struct got g;
	char session[33];

	(void)state;
	make_volume("data", &base);
	new_session(session);
	open_session("data", session, "{}");
	send_chunks("data", session, c, 1, 1);
	end_meta();
	begin_meta();
	send_commit(&g, "data", session, &base, c, 1);
	assert_int_equal(g.status, 200);
	parse_hash(&id, member(g.json, "commit"));
	got_clear(&g);
	end_meta();
	begin_meta();
	head_of("data", &now);
	assert_int_equal(hash_cmp(&id, &now), 0);
	send_commit(&g, "data", session, &base, c, 1);
	assert_int_equal(g.status, 200);
	assert_int_equal(number_of(&g, "number"), 1);
	got_clear(&g);
}

static void
test_nothing(void **state)
{
	static const struct change c[] = { { "a", "one", NULL } };
	static const struct change same[] = { { "a", "one", "one" } };
	struct hash base, id;
	struct got g;
	char session[33];

	(void)state;
	make_volume("data", &base);
	publish("data", &base, c, 1, &id);
	new_session(session);
	open_session("data", session, "{}");
	assert_int_equal(send_chunks("data", session, same, 1, 0), 0);
	send_commit(&g, "data", session, &id, same, 1);
	assert_int_equal(g.status, 200);
	assert_true(json_is_false(json_object_get(g.json, "changed")));
	assert_int_equal(number_of(&g, "number"), 1);
	got_clear(&g);
}

static void
test_missing(void **state)
{
	static const struct change c[] = { { "a", "one", NULL },
		{ "b", "two", NULL } };
	struct hash base, now, hash;
	struct got g;
	char session[33];

	(void)state;
	make_volume("data", &base);
	new_session(session);
	open_session("data", session, "{}");

	/* Never heard of. */
	send_commit(&g, "data", session, &base, c, 2);
	assert_int_equal(g.status, 409);
	assert_string_equal(code_of(&g), "missing_chunks");
	assert_int_equal(number_of(&g, "none"), 0);
	got_clear(&g);

	/* Claimed, and the store says 404. */
	assert_int_equal(send_chunks("data", session, c, 2, 0), 2);
	hash_bytes(&hash, "one", 3);
	store_set(&hash, 1);
	send_commit(&g, "data", session, &base, c, 2);
	assert_int_equal(g.status, 409);
	assert_string_equal(code_of(&g), "missing_chunks");
	got_clear(&g);
	head_of("data", &now);
	assert_int_equal(hash_cmp(&base, &now), 0);

	/* The store does not answer well: nothing, and again later. */
	hash_bytes(&hash, "two", 3);
	store_set(&hash, 1);
	h.store_status = 503;
	send_commit(&g, "data", session, &base, c, 2);
	assert_int_equal(g.status, 503);
	assert_string_equal(code_of(&g), "store_unavailable");
	got_clear(&g);
	head_of("data", &now);
	assert_int_equal(hash_cmp(&base, &now), 0);
	h.store_status = 0;
	h.looks = 0;
	send_commit(&g, "data", session, &base, c, 2);
	assert_int_equal(g.status, 200);
	/* What was confirmed before is not asked again. */
	assert_int_equal(h.looks, 1);
	got_clear(&g);
}

/*
 * A URL of the server's own that the store refuses is made anew, by the store's
 * time, and not for ever.
 */
static void
test_old_urls(void **state)
{
	static const struct change c[] = { { "a", "one", NULL },
		{ "b", "two", NULL } };
	char session[33];
	struct hash base;
	struct got g;

	(void)state;
	make_volume("data", &base);
	new_session(session);
	open_session("data", session, "{}");
	assert_int_equal(send_chunks("data", session, c, 2, 1), 2);
	assert_int_equal(h.last_offset_s, 0);
	h.refuse = 6;
	send_commit(&g, "data", session, &base, c, 2);
	assert_int_equal(g.status, 503);
	assert_string_equal(code_of(&g), "store_unavailable");
	got_clear(&g);
	assert_int_equal(h.looks, 6);
	h.refuse = 4;
	h.store_skew_ms = -3600900;
	send_commit(&g, "data", session, &base, c, 2);
	assert_int_equal(g.status, 200);
	got_clear(&g);
	assert_int_equal(h.looks, 12);
	assert_int_equal(h.last_offset_s, -3600);
	/* One answer that says otherwise is no clock yet. */
	clock_saw(0);
	assert_int_equal(clock_offset_s(), -3600);
	clock_saw(-3599000);
	assert_int_equal(clock_offset_s(), -3599);
	clock_saw(3600000);
	assert_int_equal(clock_offset_s(), -3599);
	clock_saw(3601000);
	assert_int_equal(clock_offset_s(), 3601);
	/* Too far. */
	clock_saw((int64_t)-2 * 24 * 3600 * 1000);
	assert_int_equal(clock_offset_s(), 3601);
	clock_saw((int64_t)-2 * 24 * 3600 * 1000);
	assert_int_equal(clock_offset_s(), 0);
	assert_int_equal(clock_too_far(), 1);
	clock_saw(0);
	clock_saw(0);
	assert_int_equal(clock_offset_s(), 0);
	assert_int_equal(clock_too_far(), 0);
}

/* Asked again by a session, what the store has is not to be sent again. */
static void
test_resumed(void **state)
{
	static const struct change c[] = { { "a", "one", NULL },
		{ "b", "two", NULL }, { "c", "three", NULL } };
	struct hash base, hash;
	char session[33];
	struct got g;

	(void)state;
	make_volume("data", &base);
	new_session(session);
	open_session("data", session, "{}");
	assert_int_equal(send_chunks("data", session, c, 3, 0), 3);
	assert_int_equal(h.looks, 0);
	hash_bytes(&hash, "two", 3);
	store_set(&hash, 1);
	assert_int_equal(send_chunks("data", session, c, 3, 0), 2);
	assert_int_equal(h.looks, 3);
	/* A store that does not answer: it is sent, if need be once more. */
	h.store_status = 503;
	assert_int_equal(send_chunks("data", session, c, 3, 1), 2);
	h.store_status = 0;
	send_commit(&g, "data", session, &base, c, 3);
	assert_int_equal(g.status, 200);
	got_clear(&g);
}

/* Uploaded by one session and not yet confirmed, a chunk is no other's. */
static void
test_claims(void **state)
{
	static const struct change c[] = { { "a", "one", NULL } };
	struct hash base;
	struct got g;
	char one[33], two[33];

	(void)state;
	make_volume("data", &base);
	new_session(one);
	new_session(two);
	open_session("data", one, "{}");
	open_session("data", two, "{}");
	assert_int_equal(send_chunks("data", one, c, 1, 1), 1);
	assert_int_equal(send_chunks("data", two, c, 1, 0), 1);
	send_commit(&g, "data", one, &base, c, 1);
	assert_int_equal(g.status, 200);
	got_clear(&g);
	assert_int_equal(send_chunks("data", two, c, 1, 0), 0);

	/* Nor another family's. */
	make_volume("second", &base);
	new_session(two);
	open_session("second", two, "{}");
	send_commit(&g, "second", two, &base, c, 1);
	assert_int_equal(g.status, 409);
	assert_string_equal(code_of(&g), "missing_chunks");
	got_clear(&g);
	assert_int_equal(send_chunks("second", two, c, 1, 0), 1);
}

static void
test_refused(void **state)
{
	static const struct change one[] = { { "a", "one", NULL } };
	static const struct change two[] = { { "a", "two", NULL },
		{ "b", "two", NULL } };
	struct hash base, id, now;
	struct got g;
	json_t *over;
	char session[33];

	(void)state;
	make_volume("data", &base);
	publish("data", &base, one, 1, &id);
	new_session(session);
	open_session("data", session, "{\"if_unchanged\":true}");
	send_chunks("data", session, two, 2, 1);
	send_commit(&g, "data", session, &base, two, 2);
	assert_int_equal(g.status, 409);
	assert_string_equal(code_of(&g), "overwritten");
	assert_string_equal(member(json_object_get(g.json, "error"), "type"),
	    "refused");
	over = json_object_get(g.json, "overwritten");
	assert_int_equal(json_integer_value(json_object_get(over, "count")), 1);
	assert_string_equal(json_string_value(
				json_array_get(json_object_get(over, "paths"),
				    0)),
	    "a");
	got_clear(&g);
	head_of("data", &now);
	assert_int_equal(hash_cmp(&id, &now), 0);

	/* The same without the condition overwrites, and says so. */
	new_session(session);
	open_session("data", session, "{}");
	send_commit(&g, "data", session, &base, two, 2);
	assert_int_equal(g.status, 200);
	over = json_object_get(g.json, "overwritten");
	assert_int_equal(json_integer_value(json_object_get(over, "count")), 1);
	got_clear(&g);
}

/* Writers of different paths, all on the same base and at the same time. */
static void
test_concurrent(void **state)
{
	enum { N = 64 };
	static struct got g[N];
	static char path[N][16], content[N][16], session[N][33];
	struct change c;
	struct hash base;
	struct wbuf w;
	char target[256];
	int i, left = N;

	(void)state;
	make_volume("data", &base);
	for (i = 0; i < N; i++) {
		snprintf(path[i], sizeof(path[i]), "w%02d/file", i);
		snprintf(content[i], sizeof(content[i]), "by %d", i);
		new_session(session[i]);
		open_session("data", session[i], "{}");
		c.path = path[i];
		c.content = content[i];
		c.seen = NULL;
		send_chunks("data", session[i], &c, 1, 1);
	}
	for (i = 0; i < N; i++) {
		c.path = path[i];
		c.content = content[i];
		snprintf(target, sizeof(target), target_fmt, session[i]);
		make_delta(&w, &base, &c, 1);
		submit(&g[i], API_POST, target, h.write, w.data, w.len);
		wbuf_free(&w);
	}
	while (pump())
		;
	for (i = 0; i < N; i++) {
		assert_true(g[i].done);
		assert_int_equal(g[i].status, 200);
		left--;
		got_clear(&g[i]);
	}
	assert_int_equal(left, 0);
	call(&g[0], API_GET, "/v1/volumes/data", h.read, NULL, 0);
	assert_int_equal(number_of(&g[0], "files"), N);
	assert_int_equal(number_of(&g[0], "number"), N);
	got_clear(&g[0]);
}

/* The same commit twice at the same time is one commit. */
static void
test_twice_at_once(void **state)
{
	static const struct change c[] = { { "a", "one", NULL } };
	struct hash base;
	struct got a, b;
	struct wbuf w;
	char session[33], target[256];

	(void)state;
	make_volume("data", &base);
	new_session(session);
	open_session("data", session, "{}");
	send_chunks("data", session, c, 1, 1);
	snprintf(target, sizeof(target), target_fmt, session);
	make_delta(&w, &base, c, 1);
	submit(&a, API_POST, target, h.write, w.data, w.len);
	submit(&b, API_POST, target, h.write, w.data, w.len);
	wbuf_free(&w);
	while (pump())
		;
	assert_int_equal(a.status, 200);
	assert_int_equal(b.status, 200);
	assert_string_equal((char *)a.body, (char *)b.body);
	assert_int_equal(number_of(&a, "number"), 1);
	got_clear(&a);
	got_clear(&b);
}

/* The path of an operation that the decoder refuses stands in the error. */
static void
test_blame(void **state)
{
	static const struct change c[] = { { "a", "one", NULL },
		{ "b", "two", NULL } };
	struct hash base;
	struct got g;
	struct wbuf w;
	char session[33], target[256];
	json_t *error;

	(void)state;
	make_volume("data", &base);
	new_session(session);
	open_session("data", session, "{}");
	snprintf(target, sizeof(target), target_fmt, session);
	make_delta(&w, &base, c, 2);
	call(&g, API_POST, target, h.write, w.data, w.len - 1);
	error = json_object_get(g.json, "error");
	assert_int_equal(g.status, 400);
	assert_string_equal(member(error, "code"), "bad_delta");
	assert_string_equal(member(error, "path"), "b");
	got_clear(&g);
	call(&g, API_POST, target, h.write, "junk", 4);
	error = json_object_get(g.json, "error");
	assert_string_equal(member(error, "code"), "bad_delta");
	assert_null(json_object_get(error, "path"));
	got_clear(&g);
	wbuf_free(&w);
}

/* Sign and fetch die in the middle: asked again. */
static void
test_peers(void **state)
{
	static const struct change c[] = { { "a", "one", NULL } };
	struct hash base;
	struct got g;
	struct wbuf w;
	char session[33], target[256];

	(void)state;
	make_volume("data", &base);
	new_session(session);
	open_session("data", session, "{}");
	send_chunks("data", session, c, 1, 1);
	snprintf(target, sizeof(target), target_fmt, session);
	make_delta(&w, &base, c, 1);
	h.sign_down = 1;
	submit(&g, API_POST, target, h.write, w.data, w.len);
	wbuf_free(&w);
	while (pump())
		;
	assert_false(g.done);
	h.sign_down = 0;
	meta_peer_found();
	assert_false(TAILQ_EMPTY(&h.sign));
	drop_asked(&h.sign);
	h.fetch_down = 1;
	meta_peer_lost(&h.sign);
	while (pump())
		;
	assert_false(g.done);
	h.fetch_down = 0;
	meta_peer_found();
	assert_int_equal(h.looks, 1);
	drop_asked(&h.fetch);
	meta_peer_lost(&h.fetch);
	assert_int_equal(h.looks, 2);
	while (pump())
		;
	assert_true(g.done);
	assert_int_equal(g.status, 200);
	got_clear(&g);
}

/* A chunk of one size cannot be said to have another. */
static void
test_sizes(void **state)
{
	static const struct change c[] = { { "a", "one", NULL } };
	struct wire_chunk chunk;
	struct hash base, id;
	struct wbuf w;
	struct got g;
	char session[33], target[256];

	(void)state;
	make_volume("data", &base);
	publish("data", &base, c, 1, &id);
	new_session(session);
	open_session("data", session, "{}");
	snprintf(target, sizeof(target),
	    "/v1/volumes/data/sessions/%.32s/chunks", session);
	hash_bytes(&chunk.hash, "one", 3);
	chunk.bytes = 4;
	wbuf_init(&w, 4096);
	wire_chunks_encode(&w, &chunk, 1);
	call(&g, API_POST, target, h.write, w.data, w.len);
	assert_int_equal(g.status, 400);
	got_clear(&g);
	wbuf_free(&w);
}

static void
test_log(void **state)
{
	struct change c = { "a", NULL, NULL };
	struct hash base, id, ids[8];
	struct got g;
	json_t *list, *j;
	char content[16], was[16] = "", target[256], hex[HASH_HEX_LEN + 1];
	int i, n = 0;

	(void)state;
	make_volume("data", &base);
	id = ids[0] = base;
	for (i = 1; i < 8; i++) {
		snprintf(content, sizeof(content), "%d", i);
		c.content = content;
		c.seen = i == 1 ? NULL : was;
		publish("data", &id, &c, 1, &ids[i]);
		id = ids[i];
		strlcpy(was, content, sizeof(was));
	}
	strlcpy(target, "/v1/volumes/data/commits?limit=3", sizeof(target));
	for (;;) {
		call(&g, API_GET, target, h.read, NULL, 0);
		assert_int_equal(g.status, 200);
		list = json_object_get(g.json, "commits");
		for (i = 0; i < (int)json_array_size(list); i++) {
			j = json_array_get(list, (size_t)i);
			hash_hex(&ids[7 - n], hex);
			assert_string_equal(member(j, "id"), hex);
			assert_int_equal(json_integer_value(
					     json_object_get(j, "number")),
			    7 - n);
			n++;
		}
		if (member(g.json, "next")[0] == '\0')
			break;
		snprintf(target, sizeof(target),
		    "/v1/volumes/data/commits?limit=3&before=%s",
		    member(g.json, "next"));
		got_clear(&g);
	}
	got_clear(&g);
	assert_int_equal(n, 8);
	hash_hex(&ids[3], hex);
	snprintf(target, sizeof(target), "/v1/volumes/data/commits/%s", hex);
	call(&g, API_GET, target, h.read, NULL, 0);
	assert_string_equal(member(g.json, "author"), "ci");
	assert_int_equal(number_of(&g, "puts"), 1);
	got_clear(&g);
	make_volume("second", &base);
	snprintf(target, sizeof(target), "/v1/volumes/second/commits/%s", hex);
	expect(API_GET, target, h.read, NULL, 404, "commit_not_found");
	snprintf(target, sizeof(target), "/v1/volumes/second/commits?before=%s",
	    hex);
	expect(API_GET, target, h.read, NULL, 404, "commit_not_found");
}

/* Until something runs in the thread; lets the one before go. */
static void
until_thread(const struct got *g)
{
	struct work *w = h.working;

	h.working = NULL;
	if (w != NULL)
		w->done(w);
	while (h.working == NULL && !g->done)
		pump();
}

enum { MANY = 3000 };
static char many_name[MANY][32], many_content[MANY][8];
static struct change many[MANY];

/* So many files in each directory. */
static void
make_many(int each)
{
	int i;

	for (i = 0; i < MANY; i++) {
		snprintf(many_name[i], sizeof(many_name[i]), "d%04d/%0*d",
		    i / each, 20, i);
		snprintf(many_content[i], sizeof(many_content[i]), "%d", i % 7);
		many[i].path = many_name[i];
		many[i].content = many_content[i];
		many[i].seen = NULL;
	}
}

/* While a large commit is merged others publish, in the same volume too; it
   overwrites what they made of its paths, and says so. */
static void
test_between(void **state)
{
	static const struct change other[] = { { "a", "one", NULL },
		{ "d0001/00000000000000000100", "two", NULL } };
	static const struct change more[] = { { "z", "three", NULL } };
	struct hash base, id;
	char session[33], target[256];
	struct got g, v;
	struct wbuf w;
	int merges = 0;

	(void)state;
	make_many(100);
	make_volume("data", &base);
	new_session(session);
	open_session("data", session, "{}");
	send_chunks("data", session, many, MANY, 1);
	make_delta(&w, &base, many, MANY);
	snprintf(target, sizeof(target),
	    "/v1/volumes/data/sessions/%.32s/commit", session);
	h.hold_work = 1;
	submit(&g, API_POST, target, h.write, w.data, w.len);
	wbuf_free(&w);
	until_thread(&g); /* read */
	until_thread(&g); /* merged */
	assert_non_null(h.working);
	publish("data", &base, other, 2, &id);
	publish("data", &id, more, 1, &id);
	for (; !g.done; merges++)
		until_thread(&g);
	/* What came between was little: no need to go to the thread again. */
	assert_int_equal(merges, 1);
	assert_int_equal(g.status, 200);
	assert_int_equal(number_of(&g, "number"), 3);
	assert_int_equal(number_of(&g, "puts"), MANY);
	/* One file, and the 29 directories of the context that are not there
	   and were said to be. */
	assert_int_equal(json_integer_value(
			     json_object_get(json_object_get(g.json,
						 "overwritten"),
				 "count")),
	    30);
	got_clear(&g);
	call(&v, API_GET, "/v1/volumes/data", h.read, NULL, 0);
	assert_int_equal(number_of(&v, "files"), MANY + 2);
	got_clear(&v);
}

/* A small delta that has much to look at goes to the thread. */
static void
test_small_but_long(void **state)
{
	static const struct change c[] = { { "d", "x", NULL } };
	static char name[MANY][40];
	struct hash base, id;
	char session[33], target[256];
	struct got g;
	struct wbuf w;
	int i;

	(void)state;
	make_many(2);
	for (i = 0; i < MANY; i++) {
		snprintf(name[i], sizeof(name[i]), "d/%.31s", many_name[i]);
		many[i].path = name[i];
	}
	make_volume("data", &base);
	publish("data", &base, many, MANY, &id);
	new_session(session);
	open_session("data", session, "{}");
	send_chunks("data", session, c, 1, 1);
	make_delta(&w, &base, c, 1);
	snprintf(target, sizeof(target),
	    "/v1/volumes/data/sessions/%.32s/commit", session);
	h.hold_work = 1;
	submit(&g, API_POST, target, h.write, w.data, w.len);
	wbuf_free(&w);
	until_thread(&g);
	assert_non_null(h.working);
	until_thread(&g);
	assert_true(g.done);
	assert_int_equal(g.status, 200);
	/* The files, the directories, and the one that held them. */
	assert_int_equal(json_integer_value(
			     json_object_get(json_object_get(g.json,
						 "overwritten"),
				 "count")),
	    MANY + MANY / 2 + 1);
	got_clear(&g);
}

/* meta ends while something runs in the thread. */
static void
test_end_in_thread(void **state)
{
	struct hash base, now;
	char session[33], target[256];
	struct got g;
	struct wbuf w;

	(void)state;
	make_many(100);
	make_volume("data", &base);
	new_session(session);
	open_session("data", session, "{}");
	send_chunks("data", session, many, MANY, 1);
	make_delta(&w, &base, many, MANY);
	snprintf(target, sizeof(target),
	    "/v1/volumes/data/sessions/%.32s/commit", session);
	h.hold_work = 1;
	submit(&g, API_POST, target, h.write, w.data, w.len);
	until_thread(&g);
	until_thread(&g);
	assert_non_null(h.working);
	end_meta();
	h.hold_work = 0;
	begin_meta();
	head_of("data", &now);
	assert_int_equal(hash_cmp(&base, &now), 0);
	call(&g, API_POST, target, h.write, w.data, w.len);
	assert_int_equal(g.status, 200);
	got_clear(&g);
	wbuf_free(&w);
}

/* A full disk: 503, nothing is half done, and it works when there is room. */
static void
test_full_disk(void **state)
{
	enum { N = 3000 };
	static char name[N][32], content[N][8];
	static struct change c[N];
	static struct got g[4];
	struct hash base, now;
	char session[33], target[256], text[64];
	struct wbuf w;
	int i, pages;

	(void)state;
	for (i = 0; i < N; i++) {
		snprintf(name[i], sizeof(name[i]), "d%03d/%0*d", i / 100, 20,
		    i);
		snprintf(content[i], sizeof(content[i]), "%d", i % 7);
		c[i].path = name[i];
		c[i].content = content[i];
	}
	make_volume("data", &base);
	new_session(session);
	open_session("data", session, "{}");
	send_chunks("data", session, c, N, 1);
	send_chunks("data", session, c, N, 0);
	for (pages = 1; pages < 4000; pages = pages * 3 / 2 + 1) {
		snprintf(text, sizeof(text), "PRAGMA max_page_count=%d", pages);
		assert_int_equal(sqlite3_exec(h.db->h, text, NULL, NULL, NULL),
		    SQLITE_OK);
		assert_int_equal(sqlite3_exec(h.thread_db->h, text, NULL, NULL,
				     NULL),
		    SQLITE_OK);
		snprintf(target, sizeof(target), target_fmt, session);
		make_delta(&w, &base, c, N);
		submit(&g[0], API_GET, "/v1/whoami", h.read, NULL, 0);
		submit(&g[1], API_POST, target, h.write, w.data, w.len);
		submit(&g[2], API_POST, "/v1/volumes", h.write,
		    "{\"name\":\"x\",\"mint_if_missing\":true}", 35);
		wbuf_free(&w);
		while (pump())
			;
		assert_true(g[0].done && g[1].done && g[2].done);
		assert_true(g[2].status == 201 || g[2].status == 200 ||
		    g[2].status == 503);
		got_clear(&g[0]);
		got_clear(&g[2]);
		i = g[1].status;
		got_clear(&g[1]);
		if (i == 200)
			break;
		assert_int_equal(i, 503);
		head_of("data", &now);
		assert_int_equal(hash_cmp(&base, &now), 0);
	}
	assert_int_equal(i, 200);
	assert_true(pages > 20);
	call(&g[0], API_GET, "/v1/volumes/data", h.read, NULL, 0);
	assert_int_equal(number_of(&g[0], "files"), N);
	got_clear(&g[0]);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { T(test_sessions), T(test_publish),
		T(test_restart), T(test_nothing), T(test_missing),
		T(test_old_urls), T(test_resumed), T(test_claims),
		T(test_refused), T(test_concurrent), T(test_twice_at_once),
		T(test_blame), T(test_peers), T(test_sizes), T(test_log),
		T(test_full_disk), T(test_between), T(test_small_but_long),
		T(test_end_in_thread), T(test_large_sums) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
