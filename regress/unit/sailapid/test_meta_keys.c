/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * A key does what its role allows in its own org and nothing else: unknown and
 * revoked keys are refused, another org's volumes are not there, and names of
 * volumes that may not be are refused.
 */
#include "meta_harness.h"

static void
test_routes(void **state)
{
	(void)state;
	expect(API_GET, "/v1/nothing", h.read, NULL, 404, "no_such_route");
	expect(API_GET, "/", h.read, NULL, 404, "no_such_route");
	expect(API_GET, "/v1/", h.read, NULL, 404, "no_such_route");
	expect(API_GET, "/v1/volumes/", h.read, NULL, 404, "no_such_route");
	expect(API_GET, "/v1/volumes/a/b/c/d/e/f/g/h", h.read, NULL, 404,
	    "no_such_route");
	expect(API_GET, "/v1/vol%00umes", h.read, NULL, 404, "no_such_route");
	expect(API_GET, "/v1/vol%zz", h.read, NULL, 404, "no_such_route");
	expect(API_PUT, "/v1/volumes", h.read, NULL, 405, "method_not_allowed");
	expect(API_HEAD, "/v1/volumes?limit=0", h.read, NULL, 400, "bad_query");
	expect(API_HEAD, "/v1/volumes/x/nodes", h.read, NULL, 405,
	    "method_not_allowed");
	expect(API_GET, "/v1/volumes?limit=x", h.read, NULL, 400, "bad_query");
	expect(API_GET, "/v1/volumes?limit=0", h.read, NULL, 400, "bad_query");
	expect(API_POST, "/v1/volumes", h.write, "[]", 400, "bad_json");
	expect(API_POST, "/v1/volumes", h.write, "{", 400, "bad_json");
}

static void
test_auth(void **state)
{
	struct got g;
	char bad[DB_SECRET_LEN + 1];
	json_t *j;

	(void)state;
	expect(API_GET, "/v1/whoami", "", NULL, 401, "bad_key");
	expect(API_GET, "/v1/whoami", "sk_", NULL, 401, "bad_key");
	strlcpy(bad, h.read, sizeof(bad));
	bad[10] = bad[10] == '0' ? '1' : '0';
	expect(API_GET, "/v1/whoami", bad, NULL, 401, "bad_key");
	call(&g, API_GET, "/v1/whoami", h.read, NULL, 0);
	assert_int_equal(g.status, 200);
	j = json_object_get(g.json, "key");
	assert_string_equal(member(j, "role"), "read");
	assert_string_equal(member(j, "name"), "look");
	assert_int_equal(strncmp(member(j, "id"), "key_", 4), 0);
	assert_string_equal(member(json_object_get(g.json, "org"), "name"),
	    "acme");
	got_clear(&g);
}

static void
test_keys(void **state)
{
	struct got g;
	char secret[DB_SECRET_LEN + 1], target[64];

	(void)state;
	expect(API_GET, "/v1/keys", h.write, NULL, 403, "role");
	expect(API_POST, "/v1/keys", h.write, "{\"role\":\"read\"}", 403,
	    "role");
	expect(API_POST, "/v1/keys", h.admin, "{}", 400, "bad_role");
	expect(API_POST, "/v1/keys", h.admin, "{\"role\":\"god\"}", 400,
	    "bad_role");
	expect(API_POST, "/v1/keys", h.admin, "{\"role\":3}", 400, "bad_json");
	call(&g, API_POST, "/v1/keys", h.admin,
	    "{\"role\":\"write\",\"name\":\"x\"}", 27);
	assert_int_equal(g.status, 201);
	strlcpy(secret, member(g.json, "key"), sizeof(secret));
	assert_int_equal(strlen(secret), DB_SECRET_LEN);
	snprintf(target, sizeof(target), "/v1/keys/%s", member(g.json, "id"));
	got_clear(&g);
	expect(API_GET, "/v1/whoami", secret, NULL, 200, "");
	expect(API_DELETE, target, h.other, NULL, 404, "key_not_found");
	expect(API_DELETE, target, secret, NULL, 403, "role");
	expect(API_GET, "/v1/whoami", secret, NULL, 200, "");
	expect(API_DELETE, target, h.admin, NULL, 204, "");
	expect(API_GET, "/v1/whoami", secret, NULL, 401, "bad_key");
	expect(API_DELETE, "/v1/keys/key_0", h.admin, NULL, 404,
	    "key_not_found");
	call(&g, API_GET, "/v1/keys", h.admin, NULL, 0);
	assert_int_equal(json_array_size(json_object_get(g.json, "keys")), 4);
	assert_null(strstr((char *)g.body, "sk_"));
	got_clear(&g);
}

/* A key in the words of the body. */
static void
new_key(const char *body, char secret[DB_SECRET_LEN + 1])
{
	struct got g;

	call(&g, API_POST, "/v1/keys", h.admin, body, strlen(body));
	if (g.status != 201)
		print_error("%s: %u %s\n", body, g.status, (char *)g.body);
	assert_int_equal(g.status, 201);
	strlcpy(secret, member(g.json, "key"), DB_SECRET_LEN + 1);
	got_clear(&g);
}

/* A key that is limited to volumes has those and no others; and what is the
   org's is not its. */
static void
test_limited(void **state)
{
	static const char *const bad[] = { "{\"role\":\"read\",\"volumes\":1}",
		"{\"role\":\"read\",\"volumes\":[]}",
		"{\"role\":\"read\",\"volumes\":[\"v\"]}",
		"{\"role\":\"read\",\"volumes\":[{}]}",
		"{\"role\":\"read\",\"volumes\":[{\"volume\":1}]}",
		"{\"role\":\"read\",\"volumes\":[{\"volume\":\"v\"},"
		"{\"volume\":\"v\"}]}" };
	char key[DB_SECRET_LEN + 1], both[DB_SECRET_LEN + 1], back[128];
	struct hash head;
	struct got g;
	json_t *list;
	size_t i;

	(void)state;
	make_volume("u", &head);
	make_volume("v", &head);
	make_volume("w", &head);
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		expect(API_POST, "/v1/keys", h.admin, bad[i], 400, "bad_json");
	expect(API_POST, "/v1/keys", h.admin,
	    "{\"role\":\"read\",\"volumes\":[{\"volume\":\"none\"}]}", 404,
	    "volume_not_found");
	new_key("{\"role\":\"admin\",\"volumes\":[{\"volume\":\"v\"}]}", key);
	new_key("{\"role\":\"read\",\"volumes\":[{\"volume\":\"v\"},"
		"{\"volume\":\"w\"}]}",
	    both);
	expect(API_GET, "/v1/volumes/v", key, NULL, 200, "");
	expect(API_GET, "/v1/volumes/v/head", key, NULL, 200, "");
	expect(API_GET, "/v1/volumes/w", key, NULL, 404, "volume_not_found");
	expect(API_GET, "/v1/volumes/w/head", key, NULL, 404,
	    "volume_not_found");
	expect(API_GET, "/v1/volumes/none", key, NULL, 404, "volume_not_found");
	expect(API_GET, "/v1/volumes/w", both, NULL, 200, "");
	call(&g, API_GET, "/v1/volumes", both, NULL, 0);
	list = json_object_get(g.json, "volumes");
	assert_int_equal(json_array_size(list), 2);
	assert_string_equal(member(json_array_get(list, 0), "name"), "v");
	got_clear(&g);
	/* It says what it is for. */
	call(&g, API_GET, "/v1/whoami", both, NULL, 0);
	list = json_object_get(json_object_get(g.json, "key"), "volumes");
	assert_int_equal(json_array_size(list), 2);
	assert_string_equal(member(json_array_get(list, 1), "name"), "w");
	got_clear(&g);
	/* Not what is the org's, whatever its role. */
	expect(API_GET, "/v1/keys", key, NULL, 403, "key_limited");
	expect(API_POST, "/v1/keys", key, "{\"role\":\"read\"}", 403,
	    "key_limited");
	expect(API_DELETE, "/v1/keys/key_0", key, NULL, 403, "key_limited");
	expect(API_POST, "/v1/volumes", key, "{\"name\":\"x\"}", 403,
	    "key_limited");
	expect(API_POST, "/v1/volumes", key, "{\"name\":\"w\"}", 403,
	    "key_limited");
	expect(API_POST, "/v1/volumes/v/fork", key, "{\"name\":\"x\"}", 403,
	    "key_limited");
	expect(API_POST, "/v1/volumes/w/fork", key, "{\"name\":\"x\"}", 403,
	    "key_limited");
	expect(API_POST, "/v1/volumes", key,
	    "{\"name\":\"v\",\"mint_if_missing\":true}", 200, "");
	expect(API_POST, "/v1/volumes", key,
	    "{\"name\":\"w\",\"mint_if_missing\":true}", 403, "key_limited");
	/* Nor a new name: it would hear which there are. */
	expect(API_POST, "/v1/volumes/v/rename", both, "{\"name\":\"x\"}", 403,
	    "role");
	expect(API_POST, "/v1/volumes/v/rename", key, "{\"name\":\"w\"}", 403,
	    "key_limited");
	expect(API_POST, "/v1/volumes/v/rename", key, "{\"name\":\"x\"}", 403,
	    "key_limited");
	/* What is the volume's is, if the role says so. */
	call(&g, API_GET, "/v1/volumes/v", key, NULL, 0);
	snprintf(back, sizeof(back), "/v1/volumes/%s/restore",
	    member(g.json, "id"));
	got_clear(&g);
	expect(API_DELETE, "/v1/volumes/v", key, NULL, 204, "");
	/* To bring it back says whether another has its name by now. */
	expect(API_POST, back, key, "{\"name\":\"w\"}", 403, "key_limited");
	expect(API_POST, back, key, NULL, 403, "key_limited");
	make_volume("v", &head);
	expect(API_POST, back, key, NULL, 403, "key_limited");
	expect(API_POST, back, h.admin, NULL, 409, "volume_exists");
	call(&g, API_GET, "/v1/volumes?deleted=1", both, NULL, 0);
	assert_int_equal(json_array_size(json_object_get(g.json, "volumes")),
	    1);
	got_clear(&g);
	expect(API_DELETE, "/v1/volumes/w", h.admin, NULL, 204, "");
	call(&g, API_GET, "/v1/volumes?deleted=1", key, NULL, 0);
	assert_int_equal(json_array_size(json_object_get(g.json, "volumes")),
	    1);
	got_clear(&g);
}

static void
test_life(void **state)
{
	char key[DB_SECRET_LEN + 1];
	struct got g;
	json_t *j;

	(void)state;
	expect(API_POST, "/v1/keys", h.admin, "{\"role\":\"read\",\"life\":0}",
	    400, "bad_life");
	expect(API_POST, "/v1/keys", h.admin, "{\"role\":\"read\",\"life\":-1}",
	    400, "bad_life");
	expect(API_POST, "/v1/keys", h.admin,
	    "{\"role\":\"read\",\"life\":1.5}", 400, "bad_life");
	expect(API_POST, "/v1/keys", h.admin,
	    "{\"role\":\"read\",\"life\":315360001}", 400, "bad_life");
	new_key("{\"role\":\"read\",\"life\":60}", key);
	call(&g, API_GET, "/v1/whoami", key, NULL, 0);
	assert_int_equal(g.status, 200);
	j = json_object_get(json_object_get(g.json, "key"), "expires");
	assert_true(json_number_value(j) > (double)time(NULL) + 55);
	assert_true(json_number_value(j) < (double)time(NULL) + 65);
	got_clear(&g);
	mint(1, "late", KEY_READ, -1, key);
	expect(API_GET, "/v1/whoami", key, NULL, 401, "bad_key");
}

/* While a request waits for others its key is revoked: it gets nothing. */
static void
test_revoked_meanwhile(void **state)
{
	char key[DB_SECRET_LEN + 1], target[128];
	struct hash head, chunk, hash;
	struct wire_chunk c;
	struct db_key k;
	struct wbuf w;
	struct got g;

	(void)state;
	make_volume("v", &head);
	new_key("{\"role\":\"write\",\"name\":\"thief\"}", key);
	snprintf(target, sizeof(target),
	    "/v1/volumes/v/sessions/0123456789abcdef0123456789abcdef");
	expect(API_PUT, target, key, NULL, 201, "");
	strlcat(target, "/chunks", sizeof(target));
	hash_bytes(&chunk, "x", 1);
	c.hash = chunk;
	c.bytes = 1;
	wbuf_init(&w, 4096);
	wire_chunks_encode(&w, &c, 1);
	submit(&g, API_POST, target, key, w.data, w.len);
	meta_turn(); /* sign is asked for a URL */
	assert_false(g.done);
	assert_false(TAILQ_EMPTY(&h.sign));
	hash_bytes(&hash, key, DB_SECRET_LEN);
	assert_int_equal(db_key_by_hash(h.db, &hash, &k), 1);
	assert_int_equal(db_key_revoked(h.db, k.id, db_now()), 0);
	while (!g.done)
		pump();
	assert_int_equal(g.status, 401);
	assert_string_equal(code_of(&g), "bad_key");
	got_clear(&g);
	/* The same with a key that is good. */
	expect(API_PUT,
	    "/v1/volumes/v/sessions/1123456789abcdef0123456789abcdef", h.write,
	    NULL, 201, "");
	call(&g, API_POST,
	    "/v1/volumes/v/sessions/1123456789abcdef0123456789abcdef/chunks",
	    h.write, w.data, w.len);
	assert_int_equal(g.status, 200);
	got_clear(&g);
	wbuf_free(&w);
}

static void
test_volume_names(void **state)
{
	(void)state;
	expect(API_POST, "/v1/volumes", h.read, "{\"name\":\"a\"}", 403,
	    "role");
	expect(API_POST, "/v1/volumes", h.write, "{}", 400, "bad_name");
	expect(API_POST, "/v1/volumes", h.write, "{\"name\":\"\"}", 400,
	    "bad_name");
	expect(API_POST, "/v1/volumes", h.write, "{\"name\":\"../x\"}", 400,
	    "bad_name");
	expect(API_POST, "/v1/volumes", h.write, "{\"name\":\"a b\"}", 400,
	    "bad_name");
	expect(API_POST, "/v1/volumes", h.write,
	    "{\"name\":\"vol_0123456789abcdef0123456789abcdef\"}", 400,
	    "bad_name");
	expect(API_POST, "/v1/volumes", h.write, "{\"name\":\"a\"}", 201, "");
	expect(API_POST, "/v1/volumes", h.write, "{\"name\":\"a\"}", 409,
	    "volume_exists");
	expect(API_POST, "/v1/volumes", h.write,
	    "{\"name\":\"a\",\"mint_if_missing\":true}", 200, "");
	expect(API_POST, "/v1/volumes", h.write,
	    "{\"name\":\"b\",\"mint_if_missing\":true}", 201, "");
	expect(API_POST, "/v1/volumes", h.write,
	    "{\"name\":\"c\",\"mint_if_missing\":1}", 400, "bad_json");
	/* Another org has names of its own. */
	expect(API_POST, "/v1/volumes", h.other, "{\"name\":\"a\"}", 201, "");
}

static void
test_volumes(void **state)
{
	static const char *const routes[] = { "", "/head", "/commits" };
	struct got g;
	char id[64], target[256];
	struct hash head;
	size_t i;

	(void)state;
	make_volume("data", &head);
	call(&g, API_GET, "/v1/volumes/data", h.read, NULL, 0);
	assert_int_equal(g.status, 200);
	assert_string_equal(member(g.json, "name"), "data");
	assert_int_equal(json_integer_value(json_object_get(g.json, "number")),
	    0);
	strlcpy(id, member(g.json, "id"), sizeof(id));
	assert_int_equal(strlen(id), 36);
	got_clear(&g);
	for (i = 0; i < 3; i++) {
		snprintf(target, sizeof(target), "/v1/volumes/%s%s", id,
		    routes[i]);
		expect(API_GET, target, h.read, NULL, 200, "");
		expect(API_GET, target, h.other, NULL, 404, "volume_not_found");
		snprintf(target, sizeof(target), "/v1/volumes/data%s",
		    routes[i]);
		expect(API_GET, target, h.read, NULL, 200, "");
		expect(API_GET, target, h.other, NULL, 404, "volume_not_found");
	}
	expect(API_DELETE, "/v1/volumes/data", h.write, NULL, 403, "role");
	expect(API_DELETE, "/v1/volumes/data", h.other, NULL, 404,
	    "volume_not_found");
	expect(API_DELETE, "/v1/volumes/data", h.admin, NULL, 204, "");
	expect(API_GET, "/v1/volumes/data", h.read, NULL, 404,
	    "volume_not_found");
	make_volume("data", &head);
}

static void
test_list(void **state)
{
	struct got g;
	struct hash head;
	char name[16], target[64] = "/v1/volumes?limit=3";
	json_t *list;
	int i, seen = 0;

	(void)state;
	for (i = 0; i < 8; i++) {
		snprintf(name, sizeof(name), "v%d", i);
		make_volume(name, &head);
	}
	for (;;) {
		call(&g, API_GET, target, h.read, NULL, 0);
		assert_int_equal(g.status, 200);
		list = json_object_get(g.json, "volumes");
		for (i = 0; i < (int)json_array_size(list); i++) {
			snprintf(name, sizeof(name), "v%d", seen++);
			assert_string_equal(member(json_array_get(list,
						       (size_t)i),
						"name"),
			    name);
		}
		if (member(g.json, "next")[0] == '\0')
			break;
		snprintf(target, sizeof(target), "/v1/volumes?limit=3&after=%s",
		    member(g.json, "next"));
		got_clear(&g);
	}
	got_clear(&g);
	assert_int_equal(seen, 8);
	call(&g, API_GET, "/v1/volumes", h.other, NULL, 0);
	assert_int_equal(json_array_size(json_object_get(g.json, "volumes")),
	    0);
	got_clear(&g);
}

static void
test_leases(void **state)
{
	static const char good[] =
	    "/v1/volumes/data/leases/0123456789abcdef0123456789abcdef";
	char body[256], hex[HASH_HEX_LEN + 1];
	struct hash head;
	struct got g;

	(void)state;
	make_volume("data", &head);
	hash_hex(&head, hex);
	snprintf(body, sizeof(body), "{\"commits\":[\"%s\"]}", hex);
	expect(API_PUT, "/v1/volumes/data/leases/xyz", h.read, body, 400,
	    "bad_mount");
	expect(API_PUT, good, h.read, "{}", 400, "bad_json");
	expect(API_PUT, good, h.read, "{\"commits\":[1]}", 400, "bad_json");
	call(&g, API_PUT, good, h.read, body, strlen(body));
	assert_int_equal(g.status, 200);
	assert_true(json_real_value(json_object_get(g.json, "expires")) >
	    (double)time(NULL) + 6.9 * 86400);
	got_clear(&g);
	assert_int_equal(db_lease_count(h.db, 1, db_now()), 1);
	body[14] = body[14] == '0' ? '1' : '0';
	expect(API_PUT, good, h.read, body, 404, "commit_not_found");
	/* The refused one left what was there. */
	assert_int_equal(db_lease_count(h.db, 1, db_now()), 1);
	expect(API_DELETE, good, h.read, NULL, 204, "");
	assert_int_equal(db_lease_count(h.db, 1, db_now()), 0);
}

static void
test_forgotten(void **state)
{
	struct got a, b;
	int i;

	(void)state;
	submit(&a, API_GET, "/v1/whoami", h.read, NULL, 0);
	submit(&b, API_GET, "/v1/whoami", h.read, NULL, 0);
	meta_forget(&a);
	for (i = 0; i < 10; i++)
		pump();
	assert_false(a.done);
	assert_true(b.done);
	got_clear(&b);
}

static void
test_full(void **state)
{
	static struct got g[META_QUEUE_MAX + 1];
	size_t i;

	(void)state;
	for (i = 0; i <= META_QUEUE_MAX; i++)
		submit(&g[i], API_GET, "/v1/whoami", h.read, NULL, 0);
	assert_true(g[META_QUEUE_MAX].done);
	assert_int_equal(g[META_QUEUE_MAX].status, 503);
	while (pump())
		;
	for (i = 0; i < META_QUEUE_MAX; i++) {
		assert_int_equal(g[i].status, 200);
		got_clear(&g[i]);
	}
	got_clear(&g[i]);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { T(test_routes), T(test_auth),
		T(test_keys), T(test_limited), T(test_life),
		T(test_revoked_meanwhile), T(test_volume_names),
		T(test_volumes), T(test_list), T(test_leases),
		T(test_forgotten), T(test_full) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
