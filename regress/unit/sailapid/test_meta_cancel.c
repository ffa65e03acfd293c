/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * What nobody waits for any more is not fetched any more, for a store that
 * trickles would keep the place of what is needed; but a deletion goes on, and
 * who died is told nothing.
 */
#include <sys/syscall.h>
#include <time.h>

#include "meta_harness.h"

#define MANY (256 + 44) /* more than are asked of sailvol-fetch at a time */

static int64_t ahead_s;

/* Instead of the library's: our clock is ahead. */
int
clock_gettime(clockid_t which, struct timespec *ts)
{
	long r = syscall(SYS_clock_gettime, which, ts);

	if (r == 0 && which == CLOCK_MONOTONIC)
		ts->tv_sec += ahead_s;
	return (int)r;
}

static void
settle(void)
{
	int i;

	for (i = 0; i < 40; i++)
		pump();
}

static unsigned int
under_way(void)
{
	struct asked *a;
	unsigned int n = 0;

	TAILQ_FOREACH (a, &h.fetch, entry)
		n++;
	return n;
}

static void
after_s(int64_t s)
{
	ahead_s += s;
	meta_tick();
	settle();
}

static void
report(const char *content)
{
	struct hash chunk;
	char hex[HASH_HEX_LEN + 1], body[256];

	hash_bytes(&chunk, content, strlen(content));
	hash_hex(&chunk, hex);
	snprintf(body, sizeof(body),
	    "{\"object\":\"%s\",\"chunk\":\"%s\",\"problem\":\"corrupt\"}", hex,
	    hex);
	expect(API_POST, "/v1/volumes/data/report", h.read, body, 202, "");
	settle();
}

/* A volume with a file of that content; then nobody answers. */
static void
begin(void)
{
	static const struct change c[] = { { "a", "one", NULL } };
	struct hash base, id;

	make_volume("data", &base);
	publish("data", &base, c, 1, &id);
	store_ask();
	settle();
	h.cancels = 0;
	h.hold_fetch = 1;
}

static void
test_read(void **state)
{
	(void)state;
	begin();
	report("one");
	assert_int_equal(under_way(), 1);
	after_s(META_WAIT_MS / 1000 - 1);
	assert_int_equal(h.cancels, 0);
	after_s(2);
	assert_int_equal(h.cancels, 1);
	/* It is asked anew as if nothing had been. */
	h.hold_fetch = 0;
	h.verifies = 0;
	report("one");
	assert_int_equal(h.verifies, 1);
	assert_int_equal(h.cancels, 1);
}

static void
submit_commit(struct got *g, const char *session, const struct hash *base,
    const struct change *c, size_t n)
{
	char target[256];
	struct wbuf w;

	snprintf(target, sizeof(target), "/v1/volumes/data/sessions/%s/commit",
	    session);
	make_delta(&w, base, c, n);
	submit(g, API_POST, target, h.write, w.data, w.len);
	wbuf_free(&w);
	settle();
}

static void
test_look(void **state)
{
	static const struct change c = { "b", "two", NULL };
	char session[33];
	struct hash head;
	struct got g;

	(void)state;
	begin();
	head_of("data", &head);
	new_session(session);
	open_session("data", session, "{}");
	h.hold_fetch = 0;
	send_chunks("data", session, &c, 1, 1);
	h.hold_fetch = 1;
	submit_commit(&g, session, &head, &c, 1);
	assert_int_equal(under_way(), 1);
	after_s(META_WAIT_MS / 1000 + 1);
	assert_int_equal(g.done, 1);
	assert_int_equal(g.status, 503);
	assert_string_equal(code_of(&g), "timeout");
	got_clear(&g);
	assert_int_equal(h.cancels, 1);
}

/* Whether it was done nobody knows, but it is done once. */
static void
test_delete(void **state)
{
	struct hash chunk;

	(void)state;
	begin();
	hash_bytes(&chunk, "one", 3);
	store_set(&chunk, 2);
	h.hold_fetch = 2;
	report("one");
	assert_int_equal(h.deletes, 1);
	assert_int_equal(under_way(), 1);
	after_s(META_WAIT_MS / 1000 + 1);
	assert_int_equal(h.cancels, 0);
	assert_int_equal(under_way(), 1);
}

/* What was asked of it waits for the next one. */
static void
test_lost(void **state)
{
	(void)state;
	begin();
	report("one");
	assert_int_equal(under_way(), 1);
	h.fetch_down = 1;
	drop_asked(&h.fetch);
	meta_peer_lost(&h.fetch);
	after_s(META_WAIT_MS / 1000 + 1);
	assert_int_equal(h.cancels, 0);
}

/* The places of who is given up are given to who waits, at once. */
static void
test_places(void **state)
{
	static char names[MANY][8], texts[MANY][8];
	static struct change c[MANY];
	char session[33];
	struct hash head;
	struct got g;
	size_t i;

	(void)state;
	begin();
	head_of("data", &head);
	for (i = 0; i < MANY; i++) {
		snprintf(names[i], sizeof(names[i]), "m%03zu", i);
		snprintf(texts[i], sizeof(texts[i]), "t%03zu", i);
		c[i] = (struct change){ names[i], texts[i], NULL };
	}
	new_session(session);
	open_session("data", session, "{}");
	h.hold_fetch = 0;
	send_chunks("data", session, c, MANY, 1);
	h.hold_fetch = 1;
	submit_commit(&g, session, &head, c, MANY);
	assert_int_equal(under_way(), MANY - 44);
	ahead_s += META_WAIT_MS / 1000 - 5;
	report("one");
	assert_int_equal(under_way(), MANY - 44);
	after_s(6);
	assert_string_equal(code_of(&g), "timeout");
	got_clear(&g);
	assert_int_equal(h.cancels, MANY - 44);
	assert_int_equal(under_way(), 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { T(test_read), T(test_look),
		T(test_delete), T(test_lost), T(test_places) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
