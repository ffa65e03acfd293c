/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * No binary body, however damaged, ends meta or gets an internal error: it is
 * refused, or it is another good request.
 */
#include "meta_harness.h"
#include "regress/unit/seed.h"

enum { ROUNDS = 400 };

static const struct change tree[] = { { "a", "one", NULL },
	{ "d/e/f", "two", NULL }, { "d/g", "three", NULL } };

/* Some damage: flipped bits, cut, longer, or a piece somewhere else. */
static uint8_t *
damage(const uint8_t *p, size_t len, size_t *out)
{
	size_t room = len + 16, a, b, n;
	uint8_t *m = calloc(1, room);
	int i;

	assert_non_null(m);
	memcpy(m, p, len);
	*out = len;
	switch (random() % 5) {
	case 0:
		*out = (size_t)random() % len;
		break;
	case 1:
		*out = len + 1 + (size_t)random() % 15;
		break;
	case 2:
		a = (size_t)random() % len;
		b = (size_t)random() % len;
		n = (size_t)random() % (len - (a > b ? a : b));
		memmove(m + a, m + b, n);
		break;
	default:
		for (i = (int)(random() % 3); i >= 0; i--)
			m[(size_t)random() % len] ^=
			    (uint8_t)(1 << random() % 8);
		break;
	}
	return m;
}

static void
damaged(const char *target, const uint8_t *p, size_t len)
{
	struct got g;
	uint8_t *m;
	size_t n;
	int i;

	for (i = 0; i < ROUNDS; i++) {
		m = damage(p, len, &n);
		call(&g, API_POST, target, h.write, m, n);
		if (g.status != 200 && g.status != 400 && g.status != 404 &&
		    g.status != 409)
			print_error("%s: %u %s\n", target, g.status,
			    (char *)g.body);
		assert_true(g.status < 500);
		got_clear(&g);
		free(m);
	}
}

static void
test_mutated(void **state)
{
	struct wire_nodes_req q;
	struct wire_locate_req l;
	struct wire_chunk chunk;
	struct hash base, id;
	struct wbuf w;
	uint64_t slot = 0;
	char session[33], target[256];
	int i;

	(void)state;
	seeded();
	make_volume("data", &base);
	publish("data", &base, tree, 3, &id);
	wbuf_init(&w, 1 << 20);
	memset(&q, 0, sizeof(q));
	q.commit = id;
	q.has_have = 1;
	q.have = base;
	q.budget = 65536;
	q.depth = 9;
	q.path = (const uint8_t *)"d/e";
	q.path_len = 3;
	q.first = (const uint8_t *)"f";
	q.first_len = 1;
	wire_nodes_req_encode(&w, &q);
	damaged("/v1/volumes/data/nodes", w.data, w.len);

	memset(&l, 0, sizeof(l));
	l.commit = id;
	l.path = (const uint8_t *)"d/g";
	l.path_len = 3;
	l.nslots = 1;
	l.slots = &slot;
	w.len = 0;
	wire_locate_req_encode(&w, &l);
	damaged("/v1/volumes/data/locate", w.data, w.len);

	new_session(session);
	open_session("data", session, "{}");
	snprintf(target, sizeof(target),
	    "/v1/volumes/data/sessions/%.32s/chunks", session);
	hash_bytes(&chunk.hash, "one", 3);
	chunk.bytes = 3;
	w.len = 0;
	wire_chunks_encode(&w, &chunk, 1);
	damaged(target, w.data, w.len);
	wbuf_free(&w);

	make_delta(&w, &id, tree, 3);
	for (i = 0; i < 8; i++) {
		new_session(session);
		open_session("data", session, "{}");
		snprintf(target, sizeof(target),
		    "/v1/volumes/data/sessions/%.32s/commit", session);
		damaged(target, w.data, w.len);
	}
	wbuf_free(&w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { T(test_mutated) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
