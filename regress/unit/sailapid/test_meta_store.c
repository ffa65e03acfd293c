/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * A reader finds the chunks of a file by (commit, path, slot) and in no other
 * way; a chunk that is said to be missing or corrupt is looked at, quarantined
 * when that is true, and healed by the next session that has its bytes.
 */
#include "meta_harness.h"

static void
locate(struct got *g, const char *key, const struct hash *commit,
    const char *path, uint64_t slot)
{
	struct wire_locate_req q;
	struct wbuf w;

	memset(&q, 0, sizeof(q));
	q.commit = *commit;
	q.path = (const uint8_t *)path;
	q.path_len = strlen(path);
	q.nslots = 1;
	q.slots = &slot;
	wbuf_init(&w, 65536);
	wire_locate_req_encode(&w, &q);
	call(g, API_POST, "/v1/volumes/data/locate", key, w.data, w.len);
	wbuf_free(&w);
}

static uint32_t
located(const struct hash *commit, const char *path)
{
	struct wire_span *spans;
	struct got g;
	uint32_t n;

	locate(&g, h.read, commit, path, 0);
	assert_int_equal(g.status, 200);
	assert_null(wire_spans_decode(g.body, g.len, &spans, &n));
	wire_spans_free(spans, n);
	got_clear(&g);
	return n;
}

static void
refused(const struct hash *commit, const char *path, uint64_t slot,
    uint16_t status, const char *code)
{
	struct got g;

	locate(&g, h.read, commit, path, slot);
	assert_int_equal(g.status, status);
	assert_string_equal(code_of(&g), code);
	got_clear(&g);
}

static void
test_locate(void **state)
{
	static const struct change c[] = { { "d/a", "one", NULL } };
	struct wire_span *spans;
	struct hash base, id, chunk;
	struct got g;
	uint32_t n;
	char url[256];

	(void)state;
	make_volume("data", &base);
	publish("data", &base, c, 1, &id);
	locate(&g, h.read, &id, "d/a", 0);
	assert_int_equal(g.status, 200);
	assert_null(wire_spans_decode(g.body, g.len, &spans, &n));
	assert_int_equal(n, 1);
	hash_bytes(&chunk, "one", 3);
	assert_int_equal(hash_cmp(&spans[0].object, &chunk), 0);
	assert_int_equal(spans[0].length, 3);
	assert_int_equal(spans[0].nchunks, 1);
	assert_int_equal(spans[0].chunks[0].slot, 0);
	assert_int_equal(spans[0].chunks[0].plain, 3);
	assert_int_equal(hash_cmp(&spans[0].chunks[0].hash, &chunk), 0);
	/* The store's port on the host that the client came by. */
	snprintf(url, sizeof(url), "%.*s", (int)spans[0].url_len,
	    (const char *)spans[0].url);
	assert_int_equal(strncmp(url, "http://api.example:9000/sail/", 29), 0);
	wire_spans_free(spans, n);
	got_clear(&g);

	refused(&id, "d/b", 0, 404, "path_not_found");
	refused(&id, "d/a/b", 0, 404, "path_not_found");
	refused(&id, "d", 0, 400, "not_a_file");
	refused(&id, "d/a", 1, 400, "bad_slot");
	refused(&base, "d/a", 0, 404, "path_not_found");
	refused(&chunk, "d/a", 0, 404, "commit_not_found");
	expect(API_POST, "/v1/volumes/data/locate", h.read, "junk", 400,
	    "bad_request");
}

/*
 * A store that speaks TLS is named so to all but those who are on this machine
 * and came without.
 */
static void
test_locate_tls(void **state)
{
	static const struct change c[] = { { "a", "one", NULL } };
	static const struct {
		const char *host;
		uint8_t tls;
		const char *want;
	} t[] = {
		{ "api.example:8443", 1, "https://api.example:9000/sail/" },
		{ "127.0.0.1", 1, "https://127.0.0.1:9000/sail/" },
		{ "[::1]:8443", 1, "https://[::1]:9000/sail/" },
		/* Through a proxy that speaks TLS. */
		{ "api.example", 0, "https://api.example:9000/sail/" },
		{ "127.0.0.9:80", 0, "http://127.0.0.1:9000/sail/" },
		{ "localhost", 0, "http://127.0.0.1:9000/sail/" },
		{ "[::1]:8470", 0, "http://127.0.0.1:9000/sail/" },
		{ "127.0.0.1.example", 0,
		    "https://127.0.0.1.example:9000/sail/" },
	};
	struct wire_span *spans;
	struct hash base, id;
	struct got g;
	uint32_t n;
	char url[256];
	size_t i;

	(void)state;
	make_volume("data", &base);
	publish("data", &base, c, 1, &id);
	end_meta();
	h.store_tls = 1;
	begin_meta();
	for (i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		h.host = t[i].host;
		h.tls = t[i].tls;
		locate(&g, h.read, &id, "a", 0);
		assert_int_equal(g.status, 200);
		assert_null(wire_spans_decode(g.body, g.len, &spans, &n));
		snprintf(url, sizeof(url), "%.*s", (int)strlen(t[i].want),
		    (const char *)spans[0].url);
		assert_string_equal(url, t[i].want);
		wire_spans_free(spans, n);
		got_clear(&g);
	}
}

static void
report(const char *content, const char *problem, uint16_t status)
{
	struct hash chunk;
	char hex[HASH_HEX_LEN + 1], body[256];
	int i;

	hash_bytes(&chunk, content, strlen(content));
	hash_hex(&chunk, hex);
	snprintf(body, sizeof(body),
	    "{\"object\":\"%s\",\"chunk\":\"%s\",\"problem\":\"%s\"}", hex, hex,
	    problem);
	expect(API_POST, "/v1/volumes/data/report", h.read, body, status,
	    status == 202       ? ""
		: status == 404 ? "chunk_not_found"
				: "bad_json");
	for (i = 0; i < 20; i++)
		pump();
}

static void
test_report(void **state)
{
	static const struct change one[] = { { "a", "one", NULL } };
	static const struct change again[] = { { "b", "one", NULL } };
	struct hash base, id, chunk;
	struct got g;
	char session[33];

	(void)state;
	h.marked = 1;
	make_volume("data", &base);
	publish("data", &base, one, 1, &id);
	hash_bytes(&chunk, "one", 3);
	report("never", "missing", 404);
	report("one", "ugly", 400);

	/* Not true: verified, and as good as before. */
	report("one", "corrupt", 202);
	assert_int_equal(h.verifies, 1);
	assert_int_equal(located(&id, "a"), 1);

	/* The store is away: nothing is concluded. */
	h.store_status = 503;
	report("one", "missing", 202);
	h.store_status = 0;
	assert_int_equal(located(&id, "a"), 1);

	/* Corrupt: quarantined, and deleted so that it can be brought anew. */
	store_set(&chunk, 2);
	report("one", "corrupt", 202);
	assert_int_equal(h.deletes, 1);
	assert_int_equal(located(&id, "a"), 0);
	new_session(session);
	open_session("data", session, "{}");
	assert_int_equal(send_chunks("data", session, again, 1, 0), 1);

	/* Not believed before it has been read. */
	store_set(&chunk, 2);
	send_commit(&g, "data", session, &id, again, 1);
	assert_int_equal(g.status, 503);
	assert_string_equal(code_of(&g), "busy");
	got_clear(&g);
	store_set(&chunk, 1);
	send_commit(&g, "data", session, &id, again, 1);
	assert_int_equal(g.status, 200);
	got_clear(&g);
	assert_int_equal(located(&id, "a"), 1);

	/* Missing. */
	store_set(&chunk, 0);
	report("one", "missing", 202);
	assert_int_equal(h.deletes, 1);
	assert_int_equal(located(&id, "a"), 0);
}

static void
settle(void)
{
	int i;

	for (i = 0; i < 30; i++)
		pump();
}

/* The same commit again, which nothing can be brought for; the code of what is
   said to it. */
static void
commit_again(const char *session, const struct hash *base,
    const struct change *c, const char *code)
{
	struct got g;

	send_commit(&g, "data", session, base, c, 1);
	if (strcmp(code_of(&g), code) != 0)
		print_error("%u %s\n", g.status, (char *)g.body);
	assert_string_equal(code_of(&g), code);
	assert_int_equal(g.status, *code == '\0' ? 200 : 503);
	got_clear(&g);
	settle();
}

/* What is wrong and was not deleted would be in the way for ever of who brings
   it: it is read and deleted again, not all the time. */
static void
test_not_deleted(void **state)
{
	static const struct change one[] = { { "a", "one", NULL } };
	static const struct change again[] = { { "b", "one", NULL } };
	struct hash base, id, chunk;
	time_t end = time(NULL) + 120;
	char session[33];
	unsigned int verifies;
	int i;

	(void)state;
	h.marked = 1;
	make_volume("data", &base);
	publish("data", &base, one, 1, &id);
	hash_bytes(&chunk, "one", 3);
	store_set(&chunk, 2);
	h.fail_deletes = 1;
	report("one", "corrupt", 202);
	assert_int_equal(h.deletes, 1);
	assert_int_equal(located(&id, "a"), 0);

	new_session(session);
	open_session("data", session, "{}");
	assert_int_equal(send_chunks("data", session, again, 1, 0), 1);
	/* Each who has it is looked at, and nothing more. */
	verifies = h.verifies;
	for (i = 0; i < 10; i++)
		commit_again(session, &id, again, "busy");
	assert_int_equal(h.verifies - verifies, 10);
	assert_int_equal(h.deletes, 1);
	/* After some seconds; and again, when who is asked to do it dies. */
	h.lose_delete = 1;
	while (h.deletes < 2 && time(NULL) < end) {
		usleep(100000);
		commit_again(session, &id, again, "busy");
	}
	assert_int_equal(h.deletes, 2);
	/* Or the server did, before it was done. */
	end_meta();
	begin_meta();
	commit_again(session, &id, again, "busy");
	assert_int_equal(h.deletes, 3);
	assert_int_equal(send_chunks("data", session, again, 1, 1), 1);
	commit_again(session, &id, again, "");
	assert_int_equal(located(&id, "a"), 1);
	assert_int_equal(h.deletes, 3);
}

/* What was lost is looked for again, not all the time, when somebody wants it. */
static void
test_there_again(void **state)
{
	static const struct change one[] = { { "a", "one", NULL } };
	struct hash base, id, chunk;
	int i;

	(void)state;
	h.marked = 1;
	make_volume("data", &base);
	publish("data", &base, one, 1, &id);
	hash_bytes(&chunk, "one", 3);

	/* Its bucket is missing, or something before the store is wrong. */
	h.store_status = 404;
	h.store_code = "NoSuchBucket";
	report("one", "missing", 202);
	assert_int_equal(located(&id, "a"), 1);
	h.store_code = "";
	report("one", "missing", 202);
	assert_int_equal(located(&id, "a"), 1);
	h.store_status = 0;
	h.store_code = NULL;

	/* It was looked for a moment ago. */
	store_set(&chunk, 0);
	report("one", "missing", 202);
	h.verifies = 0;
	store_set(&chunk, 1);
	assert_int_equal(located(&id, "a"), 0);
	assert_int_equal(h.verifies, 0);

	/* A new start forgets that. */
	end_meta();
	begin_meta();
	store_set(&chunk, 0);
	refused(&id, "a", 0, 503, "busy");
	for (i = 0; i < 20; i++)
		pump();
	assert_int_equal(h.verifies, 1);
	assert_int_equal(located(&id, "a"), 0);
	assert_int_equal(h.verifies, 1);
	end_meta();
	begin_meta();
	store_set(&chunk, 1);
	refused(&id, "a", 0, 503, "busy");
	for (i = 0; i < 20; i++)
		pump();
	assert_int_equal(located(&id, "a"), 1);
	assert_int_equal(h.deletes, 0);

	/* There, and wrong: out of the way of who brings it. */
	store_set(&chunk, 0);
	report("one", "missing", 202);
	end_meta();
	begin_meta();
	store_set(&chunk, 2);
	refused(&id, "a", 0, 503, "busy");
	for (i = 0; i < 20; i++)
		pump();
	assert_int_equal(h.deletes, 1);
	assert_int_equal(located(&id, "a"), 0);
}

/* Several at once are one look; and not more than some at a time, of a key
   and of all. */
static void
test_many_reports(void **state)
{
	enum { N = 30 };
	const char *const keys[] = { h.read, h.write, h.admin };
	static char content[N][8], name[N][8];
	static struct change c[N];
	struct got g[2 * N];
	struct hash base, id, chunk;
	char hex[HASH_HEX_LEN + 1], body[256];
	int i, busy = 0;

	(void)state;
	for (i = 0; i < N; i++) {
		snprintf(content[i], sizeof(content[i]), "%d", 100 + i);
		snprintf(name[i], sizeof(name[i]), "f%d", 100 + i);
		c[i].path = name[i];
		c[i].content = content[i];
	}
	make_volume("data", &base);
	publish("data", &base, c, N, &id);
	for (i = 0; i < 2 * N; i++) {
		hash_bytes(&chunk, content[i / 2], 3);
		hash_hex(&chunk, hex);
		snprintf(body, sizeof(body),
		    "{\"object\":\"%s\","
		    "\"chunk\":\"%s\",\"problem\":\"corrupt\"}",
		    hex, hex);
		submit(&g[i], API_POST, "/v1/volumes/data/report", keys[i / 20],
		    body, strlen(body));
	}
	while (pump())
		;
	for (i = 0; i < 2 * N; i++) {
		busy += g[i].status == 503;
		got_clear(&g[i]);
	}
	assert_int_equal(h.verifies, 16);
	/* Of each key 8 were taken, and then there was no room. */
	assert_int_equal(busy, 4 + 4 + 20);
	report(content[N - 1], "corrupt", 202);
	assert_int_equal(h.verifies, 17);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { T(test_locate), T(test_locate_tls),
		T(test_report), T(test_not_deleted), T(test_there_again),
		T(test_many_reports) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
