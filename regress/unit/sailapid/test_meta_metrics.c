/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/* Whoever comes by the socket of /metrics gets numbers of what was done, and
   nothing else; nobody else gets them. */

#include "meta_harness.h"

static const char mount_a[] =
    "{\"mount\":\"0123456789abcdef0123456789abcdef\"}";
static const char mount_b[] =
    "{\"mount\":\"fedcba9876543210fedcba9876543210\"}";

static void
commit_as(const char *options, const struct hash *base, const struct change *c,
    size_t n, uint16_t status)
{
	char session[33];
	struct got g;

	new_session(session);
	open_session("data", session, options);
	send_chunks("data", session, c, n, 1);
	send_commit(&g, "data", session, base, c, n);
	assert_int_equal(g.status, status);
	got_clear(&g);
}

/* A key opens nothing there, and the number of no route. */
static void
test_walls(void **state)
{
	static const char *const others[] = { "/", "/metrics/", "/metrics?x",
		"/v1/metrics", "/v1/whoami", "/v1/volumes", "/v1/keys" };
	struct hash base;
	size_t i;

	(void)state;
	make_volume("data", &base);
	expect(API_GET, "/metrics", "", NULL, 401, "bad_key");
	expect(API_GET, "/metrics", h.admin, NULL, 404, "no_such_route");
	expect(API_GET, "/v1/metrics", h.admin, NULL, 404, "no_such_route");
	h.metrics = 1;
	for (i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		expect(API_GET, others[i], h.admin, NULL, 404, "no_such_route");
	expect(API_HEAD, "/metrics", h.admin, NULL, 404, "no_such_route");
	expect(API_POST, "/metrics", h.admin, "{}", 404, "no_such_route");
	expect(API_POST, "/v1/volumes", h.admin, "{\"name\":\"x\"}", 404,
	    "no_such_route");
	h.metrics = 0;
	expect(API_GET, "/v1/volumes/x", h.admin, NULL, 404,
	    "volume_not_found");
}

static void
test_commits(void **state)
{
	static const struct change one[] = { { "a", "one", NULL },
		{ "b", "four", NULL } };
	static const struct change two[] = { { "a", "two", "one" } };
	static const struct change three[] = { { "c", "", NULL } };
	static const struct change four[] = { { "c", "x", NULL } };
	struct hash base, head;
	char session[33];

	(void)state;
	make_volume("data", &base);
	assert_int_equal(number(NUMBER_SESSIONS), 0);
	new_session(session);
	open_session("data", session, "{}");
	assert_int_equal(number(NUMBER_SESSIONS), 1);
	commit_as("{}", &base, one, 2, 200);
	assert_int_equal(number(NUMBER_SESSIONS), 1);
	assert_int_equal(number(NUMBER_COMMITS), 1);
	assert_int_equal(number(NUMBER_CHUNKS), 2);
	assert_int_equal(number(NUMBER_CHUNK_BYTES), 7);
	/* Who is no mount, says nothing of what it has seen. */
	assert_int_equal(number(NUMBER_MERGED), 0);
	head_of("data", &head);
	commit_as(mount_a, &head, two, 1, 200);
	assert_int_equal(number(NUMBER_MERGED), 1);
	head_of("data", &head);
	commit_as(mount_a, &head, three, 1, 200);
	assert_int_equal(number(NUMBER_MERGED), 1);
	commit_as(mount_b, &base, four, 1, 200);
	assert_int_equal(number(NUMBER_MERGED), 2);
	assert_int_equal(number(NUMBER_COMMITS), 4);
	assert_int_equal(number(NUMBER_OVERWRITTEN), 1);
	/* The same again changes nothing. */
	commit_as("{}", &base, four, 1, 200);
	assert_int_equal(number(NUMBER_COMMITS), 4);
	assert_int_equal(number(NUMBER_REFUSED), 0);
	commit_as("{\"if_unchanged\":true}", &base, two, 1, 200);
	commit_as("{\"if_unchanged\":true}", &base, three, 1, 409);
	assert_int_equal(number(NUMBER_REFUSED), 1);
	assert_int_equal(number(NUMBER_COMMITS), 4);
}

/* What never came is not counted; what came, once. */
static void
test_chunks(void **state)
{
	static const struct change c[] = { { "a", "one", NULL },
		{ "b", "three", NULL } };
	char session[33];
	struct hash base, object;
	struct got g;

	(void)state;
	make_volume("data", &base);
	new_session(session);
	open_session("data", session, "{}");
	send_chunks("data", session, c, 2, 0);
	hash_bytes(&object, "one", 3);
	store_set(&object, 1);
	send_commit(&g, "data", session, &base, c, 2);
	assert_int_equal(g.status, 409);
	got_clear(&g);
	assert_int_equal(number(NUMBER_CHUNKS), 1);
	assert_int_equal(number(NUMBER_COMMITS), 0);
	send_chunks("data", session, c, 2, 1);
	send_commit(&g, "data", session, &base, c, 2);
	assert_int_equal(g.status, 200);
	got_clear(&g);
	assert_int_equal(number(NUMBER_CHUNKS), 2);
	assert_int_equal(number(NUMBER_CHUNK_BYTES), 8);
}

/* A report is looked into: right, or wrong. */
static void
test_reports(void **state)
{
	static const struct change c[] = { { "a", "one", NULL } };
	char body[512], hex[HASH_HEX_LEN + 1];
	struct hash base, object, id;
	int i;

	(void)state;
	make_volume("data", &base);
	publish("data", &base, c, 1, &id);
	hash_bytes(&object, "one", 3);
	hash_hex(&object, hex);
	snprintf(body, sizeof(body),
	    "{\"object\":\"%s\",\"chunk\":\"%s\",\"problem\":\"corrupt\"}", hex,
	    hex);
	expect(API_POST, "/v1/volumes/data/report", h.read, body, 202, "");
	for (i = 0; i < 100; i++)
		pump();
	assert_int_equal(number(NUMBER_VERIFIED), 1);
	assert_int_equal(number(NUMBER_WRONG), 0);
	store_set(&object, 2);
	expect(API_POST, "/v1/volumes/data/report", h.read, body, 202, "");
	for (i = 0; i < 100; i++)
		pump();
	assert_int_equal(number(NUMBER_VERIFIED), 1);
	assert_int_equal(number(NUMBER_WRONG), 1);
}

static void
test_encoding(void **state)
{
	struct meta_numbers m = { 1, 2, { 3 } }, n;
	uint8_t *data, *longer;
	size_t len, i;

	(void)state;
	m.n[META_NUMBERS_COUNT - 1] = UINT64_MAX;
	assert_non_null(data = meta_numbers_encode(&m, &len));
	assert_int_equal(meta_numbers_decode(&n, data, len), 0);
	assert_memory_equal(&m, &n, sizeof(m));
	for (i = 0; i < len; i++)
		assert_int_equal(meta_numbers_decode(&n, data, i), -1);
	longer = calloc(1, len + 1);
	assert_non_null(longer);
	memcpy(longer, data, len);
	assert_int_equal(meta_numbers_decode(&n, longer, len + 1), -1);
	free(longer);
	free(data);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { T(test_walls), T(test_commits),
		T(test_chunks), T(test_reports),
		cmocka_unit_test(test_encoding) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
