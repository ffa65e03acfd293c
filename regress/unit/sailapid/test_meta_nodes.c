/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * A client that asks by path and budget gets every node of a tree, and with
 * what it has of another commit only the difference, whose size does not
 * depend on that of the volume.
 */
#include "meta_harness.h"
#include "regress/unit/seed.h"

/* What a client has: nodes by hash. */
static struct {
	struct hashset set;
	struct blob **blobs;
	uint32_t cap;
	struct node_store store;
	unsigned int requests;
	size_t nodes, bytes; /* of the last answer */
	int complete;
	struct hash commit;
	struct blob *commit_bytes;
} client;

static struct blob *
client_get(void *ctx, const struct hash *hash)
{
	uint32_t i;

	(void)ctx;
	if (!hashset_has(&client.set, hash)) {
		errno = ENOENT;
		return NULL;
	}
	assert_int_equal(hashset_add(&client.set, hash, &i), 0);
	return blob_ref(client.blobs[i]);
}

/* For what a client would not keep. */
static int
client_drop(void *ctx, const struct hash *hash, const uint8_t *p, size_t len)
{
	(void)ctx;
	(void)hash;
	(void)p;
	(void)len;
	return 0;
}

static void
client_clear(void)
{
	uint32_t i;

	for (i = 0; i < client.set.n; i++)
		blob_unref(client.blobs[i]);
	free(client.blobs);
	blob_unref(client.commit_bytes);
	hashset_free(&client.set);
	memset(&client, 0, sizeof(client));
	hashset_init(&client.set);
	client.store.get = client_get;
}

static int
nodes_setup(void **state)
{
	client_clear();
	return setup(state);
}

static int
nodes_teardown(void **state)
{
	client_clear();
	return teardown(state);
}

#define TN(f) cmocka_unit_test_setup_teardown(f, nodes_setup, nodes_teardown)

/* Takes what came; how many nodes were new. */
static size_t
client_take(struct got *g)
{
	struct wire_bundle b;
	struct hash hash;
	const uint8_t *p;
	size_t len, fresh = 0;
	uint32_t i;
	uint8_t kind;
	int r;

	assert_int_equal(g->status, 200);
	assert_null(wire_bundle_open(&b, g->body, g->len));
	client.commit = b.commit;
	blob_unref(client.commit_bytes);
	client.commit_bytes = blob_new(b.commit_bytes, b.commit_len);
	client.complete = b.complete;
	client.nodes = client.bytes = 0;
	client.requests++;
	while ((r = wire_bundle_next(&b, &p, &len, &hash, &kind)) == 1) {
		client.nodes++;
		client.bytes += len;
		if (hashset_add(&client.set, &hash, &i) == 0)
			continue;
		fresh++;
		if (i >= client.cap) {
			client.cap = client.cap * 2 + 64;
			client.blobs = reallocarray(client.blobs, client.cap,
			    sizeof(*client.blobs));
			assert_non_null(client.blobs);
		}
		client.blobs[i] = blob_new(p, len);
	}
	assert_int_equal(r, 0);
	return fresh;
}

static void
ask_head(const char *query)
{
	char target[256];
	struct got g;

	snprintf(target, sizeof(target), "/v1/volumes/data/head%s", query);
	call(&g, API_GET, target, h.read, NULL, 0);
	client_take(&g);
	got_clear(&g);
}

static size_t
ask_nodes(const struct hash *commit, const struct hash *have, const char *path,
    const void *first, size_t first_len, uint32_t budget, uint16_t depth)
{
	struct wire_nodes_req q;
	struct wbuf w;
	struct got g;
	size_t fresh;

	memset(&q, 0, sizeof(q));
	q.commit = *commit;
	if (have != NULL) {
		q.has_have = 1;
		q.have = *have;
	}
	q.budget = budget;
	q.depth = depth;
	q.path = (const uint8_t *)path;
	q.path_len = strlen(path);
	q.first = first;
	q.first_len = first_len;
	wbuf_init(&w, 65536);
	wire_nodes_req_encode(&w, &q);
	call(&g, API_POST, "/v1/volumes/data/nodes", h.read, w.data, w.len);
	fresh = client_take(&g);
	wbuf_free(&w);
	got_clear(&g);
	return fresh;
}

/* Reads all of a directory and what is below, asking for what is not there;
   the number of files and directories. */
static size_t
client_walk(const struct hash *commit, const char *path,
    const struct hash *root, uint32_t budget)
{
	struct tree_iter *it;
	struct entry e;
	const uint8_t *name;
	char sub[SAIL_PATH_MAX], last[SAIL_NAME_MAX + 1] = "";
	size_t len, n = 0, last_len = 0;
	int r;

	for (;;) {
		it = tree_iter_begin(&client.store, root, last, last_len,
		    last_len > 0);
		assert_non_null(it);
		while ((r = tree_iter_next(it, &name, &len, &e)) == 1) {
			n++;
			memcpy(last, name, len);
			last_len = len;
			if (e.type != ENTRY_DIR)
				continue;
			snprintf(sub, sizeof(sub), "%s%s%.*s", path,
			    path[0] == '\0' ? "" : "/", (int)len, last);
			/* With its neighbours: not a request a directory. */
			if (!hashset_has(&client.set, &e.root))
				assert_true(
				    ask_nodes(commit, NULL, path, last,
					last_len, budget, SAIL_DEPTH_MAX) > 0);
			n += client_walk(commit, sub, &e.root, budget);
		}
		assert_true(r == 0 || errno == ENODATA);
		tree_iter_end(it);
		if (r == 0)
			return n;
		/* Every answer brings something. */
		assert_true(ask_nodes(commit, NULL, path, last, last_len,
				budget, SAIL_DEPTH_MAX) > 0);
	}
}

static size_t
client_walk_all(const struct hash *commit, uint32_t budget)
{
	struct commit c;

	assert_null(commit_decode(client.commit_bytes->data,
	    client.commit_bytes->len, &c));
	return client_walk(commit, "", &c.root.root, budget);
}

/* n files, per in a directory, one content. */
static void
fill(const struct hash *base, int n, int per, struct hash *id)
{
	struct change *c = calloc((size_t)n, sizeof(*c));
	char *names = calloc((size_t)n, 32);
	int i;

	assert_non_null(c);
	assert_non_null(names);
	for (i = 0; i < n; i++) {
		if (per == 0)
			snprintf(names + i * 32, 32, "f%07d", i);
		else
			snprintf(names + i * 32, 32, "d%05d/f%05d", i / per,
			    i % per);
		c[i].path = names + i * 32;
		c[i].content = "same";
	}
	publish("data", base, c, (size_t)n, id);
	free(c);
	free(names);
}

static void
test_empty(void **state)
{
	struct hash base;
	char query[128], hex[HASH_HEX_LEN + 1];

	(void)state;
	make_volume("data", &base);
	ask_head("");
	assert_true(client.complete);
	assert_int_equal(client.nodes, 1);
	assert_int_equal(hash_cmp(&client.commit, &base), 0);
	hash_hex(&base, hex);
	snprintf(query, sizeof(query), "?have=%s", hex);
	ask_head(query);
	assert_true(client.complete);
	assert_int_equal(client.nodes, 0);
	/* Unknown: as if nothing was there. */
	hex[0] = hex[0] == '0' ? '1' : '0';
	snprintf(query, sizeof(query), "?have=%s", hex);
	ask_head(query);
	assert_int_equal(client.nodes, 1);
}

static void
test_walk(void **state)
{
	static const uint32_t budgets[] = { 0, 20000, 1 << 20 };
	unsigned int requests[3];
	struct hash base, id;
	char query[64];
	size_t i;

	(void)state;
	make_volume("data", &base);
	fill(&base, 6000, 2, &id);
	for (i = 0; i < 3; i++) {
		client_clear();
		snprintf(query, sizeof(query), "?budget=%u", budgets[i]);
		ask_head(query);
		assert_int_equal(client_walk_all(&id, budgets[i]), 9000);
		requests[i] = client.requests;
	}
	print_message("3,000 directories: %u, %u, %u requests\n", requests[0],
	    requests[1], requests[2]);
	assert_true(requests[0] > requests[1]);
	assert_true(requests[1] < 120);
	assert_true(requests[2] <= 3);
}

static void
test_wide(void **state)
{
	struct hash base, id;

	(void)state;
	make_volume("data", &base);
	fill(&base, 20000, 0, &id);
	ask_head("?budget=0");
	assert_false(client.complete);
	assert_int_equal(client_walk_all(&id, 0), 20000);
	client_clear();
	ask_head("?budget=100000");
	assert_int_equal(client_walk_all(&id, 100000), 20000);
	assert_true(client.requests < 30);
}

static void
test_depth(void **state)
{
	static const struct change c[] = { { "a/b/c/d/file", "x", NULL } };
	struct hash base, id;

	(void)state;
	make_volume("data", &base);
	publish("data", &base, c, 1, &id);
	ask_nodes(&id, NULL, "", "", 0, 65536, 0);
	assert_int_equal(client.nodes, 1);
	assert_true(client.complete);
	ask_nodes(&id, NULL, "a", "", 0, 65536, 2);
	assert_int_equal(client.nodes, 3);
	ask_nodes(&id, NULL, "a/b/c/d", "", 0, 65536, 9);
	assert_int_equal(client.nodes, 1);
	ask_nodes(&id, NULL, "a/b/c/d/file", "", 0, 65536, 9);
	assert_int_equal(client.nodes, 0);
	assert_true(client.complete);
	/* The old commit has no such path: all of it. */
	ask_nodes(&id, &base, "a", "", 0, 65536, 9);
	assert_int_equal(client.nodes, 4);
}

/* The bytes of a difference of one changed name in a volume of n. */
static size_t
difference(int n, int per, const char *name)
{
	struct change c = { NULL, "other", "same" };
	struct hash base, id, next;
	char query[128], hex[HASH_HEX_LEN + 1];
	size_t bytes;

	c.path = name;
	make_volume("data", &base);
	fill(&base, n, per, &id);
	ask_head("?budget=8000000");
	assert_true(client.complete);
	publish("data", &id, &c, 1, &next);
	hash_hex(&id, hex);
	snprintf(query, sizeof(query), "?have=%s&budget=1000000", hex);
	ask_head(query);
	assert_true(client.complete);
	assert_int_equal(hash_cmp(&client.commit, &next), 0);
	bytes = client.bytes;
	client.requests = 0;
	client_walk_all(&next, 0);
	assert_int_equal(client.requests, 0);
	client_clear();
	expect(API_DELETE, "/v1/volumes/data", h.admin, NULL, 204, "");
	return bytes;
}

static void
test_difference(void **state)
{
	size_t small, large, wide_small, wide;

	(void)state;
	/* A leaf, and what is above it, is what one change costs. */
	small = difference(3000, 10, "d00050/f00005");
	large = difference(30000, 10, "d00050/f00005");
	print_message("one change: %zu bytes of 3,000 files, %zu of 30,000\n",
	    small, large);
	assert_true(large < 128 * 1024);
	wide_small = difference(3000, 0, "f0001500");
	wide = difference(30000, 0, "f0001500");
	print_message("in one directory: %zu of 3,000, %zu of 30,000\n",
	    wide_small, wide);
	assert_true(wide < 128 * 1024);
}

/* Publishes a file of n chunks, of which one is another. */
static void
publish_big(const struct hash *base, uint32_t n, uint32_t other,
    const struct seen *seen, struct seen *now, struct hash *id)
{
	struct wire_chunk *v = calloc(n, sizeof(*v));
	struct delta_writer dw;
	struct delta_op op;
	struct wire_upload *up;
	struct wbuf w, tree;
	struct entry e;
	struct got g;
	char session[33], target[256];
	uint32_t i;

	assert_non_null(v);
	memset(&op, 0, sizeof(op));
	op.path = (const uint8_t *)"big";
	op.len = 3;
	op.kind = DELTA_PUT;
	op.seen = *seen;
	op.entry.type = ENTRY_FILE;
	op.entry.mode = 0644;
	op.entry.fileid = 7;
	op.entry.size = (uint64_t)n << CHUNK_SHIFT_MAX;
	op.entry.chunk_shift = CHUNK_SHIFT_MAX;
	op.chunks = chunklist_new(op.entry.size, CHUNK_SHIFT_MAX);
	assert_non_null(op.chunks);
	new_session(session);
	open_session("data", session, "{}");
	for (i = 0; i < n; i++) {
		v[i].bytes = 1u << CHUNK_SHIFT_MAX;
		snprintf(target, sizeof(target), "chunk %u %d", i, i == other);
		hash_bytes(&v[i].hash, target, strlen(target));
		store_set(&v[i].hash, 1);
		assert_int_equal(chunklist_add(op.chunks, &v[i].hash), 0);
	}
	snprintf(target, sizeof(target),
	    "/v1/volumes/data/sessions/%.32s/chunks", session);
	wbuf_init(&w, 1 << 20);
	wire_chunks_encode(&w, v, n);
	call(&g, API_POST, target, h.write, w.data, w.len);
	assert_int_equal(g.status, 200);
	assert_null(wire_uploads_decode(g.body, g.len, n, &up));
	free(up);
	got_clear(&g);
	w.len = 0;
	assert_int_equal(delta_begin(&dw, delta_sink, &w, base, 1, 0, 1), 0);
	assert_int_equal(delta_add_op(&dw, &op), 0);
	assert_int_equal(delta_end(&dw), 0);
	snprintf(target, sizeof(target),
	    "/v1/volumes/data/sessions/%.32s/commit", session);
	call(&g, API_POST, target, h.write, w.data, w.len);
	assert_int_equal(g.status, 200);
	parse_hash(id, member(g.json, "commit"));
	got_clear(&g);
	/* What is seen there now. */
	e = op.entry;
	wbuf_init(&tree, 1 << 20);
	client.store.put = client_drop;
	assert_int_equal(chunklist_to_entry(op.chunks, &client.store, &e,
			     &tree),
	    0);
	seen_of(&e, now);
	wbuf_free(&tree);
	wbuf_free(&w);
	chunklist_free(op.chunks);
	free(v);
}

static void
test_chunk_trees(void **state)
{
	struct wire_locate_req q;
	struct wire_span *spans;
	struct seen seen, now;
	struct hash base, id, next, want;
	struct wbuf w;
	struct got g;
	uint64_t slots[2] = { 2047, 2500 };
	uint32_t n;
	char query[128], hex[HASH_HEX_LEN + 1];

	(void)state;
	make_volume("data", &base);
	memset(&seen, 0, sizeof(seen));
	publish_big(&base, 3000, UINT32_MAX, &seen, &now, &id);
	ask_head("");
	assert_true(client.complete);
	/* The directory, an index of chunks and three leaves. */
	assert_int_equal(client.nodes, 5);
	ask_nodes(&id, NULL, "big", "", 0, 1 << 20, 0);
	assert_int_equal(client.nodes, 4);

	seen = now;
	publish_big(&id, 3000, 1500, &seen, &now, &next);
	hash_hex(&id, hex);
	snprintf(query, sizeof(query), "?have=%s", hex);
	ask_head(query);
	assert_true(client.complete);
	assert_int_equal(client.nodes, 3);
	ask_nodes(&next, &id, "big", "", 0, 1 << 20, 0);
	assert_int_equal(client.nodes, 2);
	ask_nodes(&next, NULL, "big", "", 0, 0, 0);
	assert_false(client.complete);
	assert_int_equal(client.nodes, 2);

	/* It shrinks to one leaf, which was there: the directory alone. */
	seen = now;
	publish_big(&next, 1024, UINT32_MAX, &seen, &now, &base);
	hash_hex(&next, hex);
	snprintf(query, sizeof(query), "?have=%s", hex);
	ask_head(query);
	assert_true(client.complete);
	assert_int_equal(client.nodes, 1);

	memset(&q, 0, sizeof(q));
	q.commit = next;
	q.path = (const uint8_t *)"big";
	q.path_len = 3;
	q.nslots = 2;
	q.slots = slots;
	wbuf_init(&w, 65536);
	wire_locate_req_encode(&w, &q);
	call(&g, API_POST, "/v1/volumes/data/locate", h.read, w.data, w.len);
	assert_int_equal(g.status, 200);
	assert_null(wire_spans_decode(g.body, g.len, &spans, &n));
	assert_int_equal(n, 2);
	hash_bytes(&want, "chunk 2500 0", 12);
	assert_int_equal(hash_cmp(&spans[1].chunks[0].hash, &want), 0);
	wire_spans_free(spans, n);
	got_clear(&g);
	wbuf_free(&w);
}

/*
 * Random histories: whoever has all nodes of one commit and takes the
 * difference to another has all nodes of that.
 */
enum { PATHS = 5000, ROUNDS = 8 };

static void
random_commit(struct hash *head, uint8_t *now, uint8_t round)
{
	static char names[PATHS][32], content[PATHS][8], was[PATHS][8];
	static struct change c[PATHS];
	long chance = (const long[]){ 900, 5, 300, 1 }[random() % 4];
	size_t n = 0;
	int i;

	for (i = 0; i < PATHS; i++) {
		if (random() % 1000 >= chance)
			continue;
		if (i < 2000)
			snprintf(names[i], 32, "d%04d/f%d", i / 5, i % 5);
		else
			snprintf(names[i], 32, "w/%04d", i);
		c[n].path = names[i];
		snprintf(was[i], 8, "%u", now[i]);
		c[n].seen = now[i] == 0 ? NULL : was[i];
		now[i] = now[i] != 0 && random() % 2 == 0 ? 0 : round;
		snprintf(content[i], 8, "%u", now[i]);
		c[n].content = now[i] == 0 ? NULL : content[i];
		if (c[n].content != NULL || c[n].seen != NULL)
			n++;
	}
	publish("data", head, c, n, head);
}

static void
test_random(void **state)
{
	static uint8_t now[PATHS];
	struct hash commits[ROUNDS + 1], head;
	int i, a, b;

	(void)state;
	seeded();
	memset(now, 0, sizeof(now));
	make_volume("data", &head);
	commits[0] = head;
	for (i = 1; i <= ROUNDS; i++) {
		random_commit(&head, now, (uint8_t)i);
		commits[i] = head;
	}
	for (i = 0; i < 20; i++) {
		a = (int)(random() % (ROUNDS + 1));
		b = (int)(random() % (ROUNDS + 1));
		client_clear();
		ask_nodes(&commits[a], NULL, "", "", 0, WIRE_BUDGET_MAX,
		    SAIL_DEPTH_MAX);
		assert_true(client.complete);
		ask_nodes(&commits[b], &commits[a], "", "", 0, WIRE_BUDGET_MAX,
		    SAIL_DEPTH_MAX);
		assert_true(client.complete);
		client.requests = 0;
		client_walk_all(&commits[b], WIRE_BUDGET_MAX);
		assert_int_equal(client.requests, 0);
	}
}

static void
test_refused(void **state)
{
	struct wire_nodes_req q;
	struct hash base;
	struct wbuf w;
	struct got g;

	(void)state;
	make_volume("data", &base);
	memset(&q, 0, sizeof(q));
	q.commit = base;
	q.path = (const uint8_t *)"nothing";
	q.path_len = 7;
	q.first = (const uint8_t *)"";
	wbuf_init(&w, 4096);
	wire_nodes_req_encode(&w, &q);
	call(&g, API_POST, "/v1/volumes/data/nodes", h.read, w.data, w.len);
	assert_int_equal(g.status, 404);
	assert_string_equal(code_of(&g), "path_not_found");
	got_clear(&g);
	/* A hash of a node, or of another volume's commit, opens nothing. */
	tree_empty_root(&q.commit);
	q.path_len = 0;
	w.len = 0;
	wire_nodes_req_encode(&w, &q);
	call(&g, API_POST, "/v1/volumes/data/nodes", h.read, w.data, w.len);
	assert_int_equal(g.status, 404);
	assert_string_equal(code_of(&g), "commit_not_found");
	got_clear(&g);
	make_volume("second", &q.commit);
	w.len = 0;
	wire_nodes_req_encode(&w, &q);
	call(&g, API_POST, "/v1/volumes/data/nodes", h.read, w.data, w.len);
	assert_int_equal(g.status, 404);
	got_clear(&g);
	wbuf_free(&w);
	expect(API_POST, "/v1/volumes/data/nodes", h.read, "junk", 400,
	    "bad_request");
	expect(API_GET, "/v1/volumes/data/head?have=x", h.read, NULL, 400,
	    "bad_query");
}

int
main(void)
{
	const struct CMUnitTest tests[] = { TN(test_empty), TN(test_walk),
		TN(test_wide), TN(test_depth), TN(test_difference),
		TN(test_chunk_trees), TN(test_random), TN(test_refused) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
