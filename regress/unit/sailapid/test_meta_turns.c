/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * Claim: while a commit of very many small chunks is written down, other
 * requests have their turn: none waits for more than a part of it.  However
 * many requests of one key wait, another key's waits for one step of them.
 */
#include <time.h>

#include "meta_harness.h"

#define PACKS 12
#define FILES ((size_t)PACKS * WIRE_PACK_MAX)
#define BYTES 12

static char names[FILES][12], texts[FILES][BYTES + 1];
static struct change changes[FILES];
static uint64_t
cpu_us(void)
{
	struct timespec t;

	assert_int_equal(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t), 0);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static void
make_files(void)
{
	size_t i;

	for (i = 0; i < FILES; i++) {
		snprintf(names[i], sizeof(names[i]), "f%06zu", i);
		snprintf(texts[i], sizeof(texts[i]), "content%05zu", i);
		changes[i].path = names[i];
		changes[i].content = texts[i];
	}
}

/* All in the store, and claimed. */
static void
bring_packs(const char *session)
{
	struct wire_chunk *chunks;
	struct hash_ctx *ctx;
	struct hash object;
	size_t at;
	uint32_t i;

	chunks = calloc(WIRE_PACK_MAX, sizeof(*chunks));
	assert_non_null(chunks);
	for (at = 0; at < FILES; at += WIRE_PACK_MAX) {
		ctx = hash_begin();
		assert_non_null(ctx);
		for (i = 0; i < WIRE_PACK_MAX; i++) {
			chunks[i].bytes = BYTES;
			hash_bytes(&chunks[i].hash, texts[at + i], BYTES);
			hash_update(ctx, texts[at + i], BYTES);
		}
		hash_end(ctx, &object);
		claim_pack("data", session, &object, chunks, WIRE_PACK_MAX, 200,
		    "");
		store_set(&object, 1);
	}
	free(chunks);
}

static void
test_many_small(void **state)
{
	struct hash base;
	struct got g, other;
	struct wbuf w;
	char session[33], target[256];
	uint64_t began, took, longest = 0, sum = 0, others = 0, before;
	int i, busy;

	(void)state;
	make_files();
	make_volume("data", &base);
	new_session(session);
	open_session("data", session, "{}");
	bring_packs(session);
	snprintf(target, sizeof(target),
	    "/v1/volumes/data/sessions/%.32s/commit", session);
	make_delta(&w, &base, changes, FILES);
	submit(&g, API_POST, target, h.write, w.data, w.len);
	wbuf_free(&w);
	while (!g.done) {
		/* Somebody else asks, and has the answer soon. */
		submit(&other, API_GET, "/v1/volumes/data", h.read, NULL, 0);
		for (i = 0; !other.done; i++) {
			before = h.works;
			began = cpu_us();
			busy = pump();
			took = cpu_us() - began;
			assert_true(busy || other.done);
			/* What a thread does holds up nobody. */
			if (h.works != before || g.done)
				continue;
			sum += took;
			if (took > longest)
				longest = took;
		}
		assert_int_equal(other.status, 200);
		assert_true(i <= 3);
		others++;
		got_clear(&other);
	}
	if (g.status != 200)
		print_error("commit: %u %s\n", g.status, (char *)g.body);
	assert_int_equal(g.status, 200);
	got_clear(&g);
	assert_int_equal(number(NUMBER_CHUNKS), FILES);
	print_message("longest turn %llu us of %llu, %llu others\n",
	    (unsigned long long)longest, (unsigned long long)sum,
	    (unsigned long long)others);
	assert_true(longest < sum / 4);
}

/* What is asked in one request: the longest turn, of all. */
static void
assert_steps(const char *session, const char *what, const struct wbuf *w)
{
	uint64_t began, took, longest = 0, sum = 0;
	char target[256];
	struct got g;

	snprintf(target, sizeof(target), "/v1/volumes/data/sessions/%.32s/%s",
	    session, what);
	submit(&g, API_POST, target, h.write, w->data, w->len);
	while (!g.done) {
		began = cpu_us();
		pump();
		took = cpu_us() - began;
		sum += took;
		if (took > longest)
			longest = took;
	}
	assert_int_equal(g.status, 200);
	got_clear(&g);
	print_message("%s: longest turn %llu us of %llu\n", what,
	    (unsigned long long)longest, (unsigned long long)sum);
	/* A turn has 20 ms, and its last step 10. */
	assert_true(sum < 60000 || longest < sum * 3 / 4);
}

/* As many as one request may name, each an object of its own; the caller frees
   them, and the question in w. */
static struct wire_chunk *
many_chunks(struct wbuf *w)
{
	struct wire_chunk *chunks = calloc(WIRE_BATCH_MAX, sizeof(*chunks));
	uint32_t i;

	assert_non_null(chunks);
	for (i = 0; i < WIRE_BATCH_MAX; i++) {
		chunks[i].bytes = 4 << 20;
		hash_bytes(&chunks[i].hash, &i, sizeof(i));
	}
	wbuf_init(w, 1 << 20);
	wire_chunks_encode(w, chunks, WIRE_BATCH_MAX);
	return chunks;
}

/* One request that names as many chunks as one may. */
static void
test_many_chunks(void **state)
{
	struct wire_chunk *chunks;
	struct wire_pack p = { .n = WIRE_BATCH_MAX };
	struct hash base;
	struct wbuf w;
	char session[33];
	uint32_t i;

	(void)state;
	make_volume("data", &base);
	new_session(session);
	open_session("data", session, "{}");
	chunks = many_chunks(&w);
	assert_steps(session, "chunks", &w);
	wbuf_free(&w);
	for (i = 0; i < WIRE_BATCH_MAX; i++) {
		chunks[i].bytes = 1000;
		chunks[i].hash.b[0] ^= 1;
		p.length += chunks[i].bytes;
	}
	p.chunks = chunks;
	hash_bytes(&p.object, "object", 6);
	wbuf_init(&w, 1 << 20);
	wire_pack_encode(&w, &p);
	assert_steps(session, "packs", &w);
	wbuf_free(&w);
	free(chunks);
}

/* A session that goes while it is asked about, and comes again by its name, is
   another. */
static void
test_session_goes(void **state)
{
	struct hash base;
	struct wbuf w;
	struct got g;
	struct db_session old;
	char session[33], target[256];
	uint8_t key[DB_ID_LEN];

	(void)state;
	make_volume("data", &base);
	new_session(session);
	open_session("data", session, "{}");
	free(many_chunks(&w));
	snprintf(target, sizeof(target),
	    "/v1/volumes/data/sessions/%.32s/chunks", session);
	submit(&g, API_POST, target, h.write, w.data, w.len);
	wbuf_free(&w);
	meta_turn();
	assert_int_equal(g.done, 0);
	assert_int_equal(hex_decode(session, key, sizeof(key)), 0);
	assert_int_equal(db_begin(h.db), 0);
	assert_int_equal(db_session_find(h.db, 1, key, &old), 1);
	assert_int_equal(db_session_expire(h.db,
			     db_now() + 2 * SESSION_LIFE_NS),
	    0);
	assert_int_equal(db_session_add(h.db, 1, key, "", "", 0, NULL,
			     old.owner, db_now()),
	    0);
	assert_int_equal(db_end(h.db), 0);
	db_session_clear(&old);
	while (!g.done)
		pump();
	assert_int_equal(g.status, 404);
	got_clear(&g);
}

static int order[200], answers;

static void
note_order(void *arg, uint32_t id, const struct meta_answer *a)
{
	(void)arg;
	assert_int_equal(a->status, id == 999 ? 401 : 200);
	order[answers++] = (int)id;
}

static void
ask_whoami(uint32_t id, const char *key)
{
	struct meta_request in;
	char auth[256];

	memset(&in, 0, sizeof(in));
	snprintf(auth, sizeof(auth), "Bearer %s", key);
	in.method = API_GET;
	in.target = "/v1/whoami";
	in.host = "api.example:8470";
	in.authorization = auth;
	in.peer = "127.0.0.1";
	meta_submit(&in, note_order, NULL, id);
}

/* Where in the order the answer came. */
static int
place_of(int id)
{
	int i;

	for (i = 0; i < answers; i++)
		if (order[i] == id)
			return i;
	return -1;
}

static void
test_keys_alternate(void **state)
{
	int i;

	(void)state;
	for (i = 0; i < 100; i++)
		ask_whoami((uint32_t)i, h.write);
	for (i = 100; i < 103; i++)
		ask_whoami((uint32_t)i, h.read);
	ask_whoami(999, "sk_nobody");
	for (i = 0; i < 1000 && answers < 104; i++)
		pump();
	assert_int_equal(answers, 104);
	/* Of nobody's there is nothing to be done. */
	assert_int_equal(place_of(999), 0);
	/* Each of the other's waits for one more of the hundred. */
	for (i = 0; i < 3; i++)
		assert_int_equal(place_of(100 + i), 2 + 2 * i);
	for (i = 1; i < 100; i++)
		assert_true(place_of(i - 1) < place_of(i));
}

/* What has not begun does not begin any more; what has goes on to its end. */
static void
test_unwanted(void **state)
{
	struct wire_chunk chunk = { .bytes = 4 << 20 };
	struct hash base;
	struct got g, other;
	struct wbuf w;
	char session[33], target[256];

	(void)state;
	make_volume("data", &base);
	new_session(session);
	snprintf(target, sizeof(target), "/v1/volumes/data/sessions/%.32s",
	    session);
	submit(&g, API_PUT, target, h.write, "{}", 2);
	submit(&other, API_GET, "/v1/whoami", h.write, NULL, 0);
	meta_unwanted(&g, 2);
	meta_unwanted(&h, 1);
	assert_int_equal(g.done, 0);
	meta_unwanted(&g, 1);
	assert_int_equal(g.status, 503);
	meta_unwanted(&g, 1);
	got_clear(&g);
	while (!other.done)
		pump();
	assert_int_equal(other.status, 200);
	got_clear(&other);
	call(&g, API_GET, target, h.write, NULL, 0);
	assert_int_equal(g.status, 404);
	got_clear(&g);

	open_session("data", session, "{}");
	wbuf_init(&w, 1 << 10);
	wire_chunks_encode(&w, &chunk, 1);
	strlcat(target, "/chunks", sizeof(target));
	submit(&g, API_POST, target, h.write, w.data, w.len);
	wbuf_free(&w);
	meta_turn();
	meta_unwanted(&g, 1);
	assert_int_equal(g.done, 0);
	while (!g.done)
		pump();
	assert_int_equal(g.status, 200);
	got_clear(&g);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_many_chunks),
		T(test_keys_alternate),
		T(test_many_small),
		T(test_unwanted),
		T(test_session_goes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
