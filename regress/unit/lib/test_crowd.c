/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/* crowd: who gives way to whom, and that none is counted twice or forgotten. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/crowd.h"

#define MAX 16
#define PER_PEER 8

static struct crowd crowd;
static struct guest g[64];
static unsigned int gone[64], ngone;

static const struct sockaddr *
addr(const char *text)
{
	static struct sockaddr_in6 six;
	static struct sockaddr_in four;

	memset(&six, 0, sizeof(six));
	memset(&four, 0, sizeof(four));
	four.sin_family = AF_INET;
	six.sin6_family = AF_INET6;
	if (inet_pton(AF_INET, text, &four.sin_addr) == 1)
		return (void *)&four;
	assert_int_equal(inet_pton(AF_INET6, text, &six.sin6_addr), 1);
	return (void *)&six;
}

static void
end(struct guest *go)
{
	gone[ngone++] = (unsigned int)(go - g);
	crowd_leave(&crowd, go);
}

/* 1: it came in. */
static int
come(unsigned int i, const char *from)
{
	struct guest *go;

	while (!crowd_room(&crowd, addr(from), &go)) {
		if (go == NULL)
			return 0;
		end(go);
	}
	assert_int_equal(crowd_enter(&crowd, &g[i], addr(from)), 0);
	return 1;
}

static int
know(unsigned int i, uint8_t key)
{
	struct hash h = { { key } };
	struct guest *go;
	int r;

	while (!(r = crowd_know(&crowd, &g[i], key == 0 ? NULL : &h, &go)) &&
	    go != NULL)
		end(go);
	return r;
}

static int
setup(void **state)
{
	(void)state;
	memset(g, 0, sizeof(g));
	ngone = 0;
	crowd_init(&crowd, MAX, PER_PEER);
	return 0;
}

static int
teardown(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < 64; i++)
		crowd_leave(&crowd, &g[i]);
	assert_int_equal(crowd.n, 0);
	assert_int_equal(crowd.known, 0);
	assert_true(RB_EMPTY(&crowd.peers));
	assert_true(RB_EMPTY(&crowd.owners));
	return 0;
}

/* The oldest without a key goes, of the address with most of them. */
static void
test_unknown(void **state)
{
	unsigned int i;

	(void)state;
	for (i = 0; i < 2; i++)
		assert_true(come(i, "10.0.0.9"));
	for (i = 2; i < 10; i++)
		assert_true(come(i, "10.0.0.1"));
	assert_true(know(2, 1)); /* not that one */
	assert_int_equal(ngone, 0);
	/* The address is full. */
	assert_true(come(10, "10.0.0.1"));
	assert_int_equal(ngone, 1);
	assert_int_equal(gone[0], 3);
	for (i = 11; i < 17; i++)
		assert_true(come(i, "10.0.0.2"));
	assert_int_equal(ngone, 1);
	/* All is full. */
	assert_true(come(17, "10.0.0.3"));
	assert_int_equal(ngone, 2);
	assert_int_equal(gone[1], 4);
	assert_int_equal(crowd.n, MAX);
}

/* Who is served stays, whoever comes without a key; and those without one have
   their eighth. */
static void
test_known(void **state)
{
	static const char *const from[] = { "10.0.0.1", "10.0.0.2",
		"10.0.0.3" };
	unsigned int i;

	(void)state;
	for (i = 0; i < 14; i++) {
		assert_true(come(i, from[i / 6]));
		crowd_busy(&g[i], 1);
		assert_true(know(i, 1));
	}
	/* That key has its share. */
	assert_true(come(14, "10.0.0.4"));
	assert_false(know(14, 1));
	assert_int_equal(ngone, 0);
	for (i = 15; i < 40; i++)
		assert_true(come(i, "10.0.0.5"));
	assert_int_equal(crowd.known, 14);
	/* Another key: one of those that the first has too many of. */
	ngone = 0;
	assert_true(know(39, 2));
	assert_int_equal(ngone, 1);
	assert_true(gone[0] < 14);
	assert_int_equal(crowd.known, 14);
}

/* First those go that have nothing to do, the longest so first. */
static void
test_idle(void **state)
{
	unsigned int i;

	(void)state;
	crowd.per_peer = MAX;
	for (i = 0; i < 14; i++) {
		assert_true(come(i, "10.0.0.1"));
		crowd_busy(&g[i], 1);
		assert_true(know(i, i < 10 ? 1 : 2));
	}
	g[12].idle.ns = 3;
	g[5].idle.ns = 2;
	g[7].idle.ns = 1;
	g[12].busy = g[5].busy = g[7].busy = 0;
	assert_true(come(14, "10.0.0.1"));
	assert_true(know(14, 3));
	assert_true(come(15, "10.0.0.1"));
	assert_true(know(15, 3));
	assert_true(come(16, "10.0.0.1"));
	assert_true(know(16, 3));
	assert_int_equal(ngone, 3);
	assert_int_equal(gone[0], 7);
	assert_int_equal(gone[1], 5);
	assert_int_equal(gone[2], 12);
	/* A key that is none any more. */
	crowd_forget(&crowd, &g[0]);
	assert_int_equal(crowd.known, 13);
	assert_true(know(0, 1));
	/* Another one of the same connection. */
	assert_true(know(0, 4));
	assert_int_equal(crowd.known, 14);
	assert_int_equal(ngone, 3);
}

/* Where there is one place, and who has it is served, there is none. */
static void
test_no_place(void **state)
{
	(void)state;
	crowd.max = crowd.per_peer = 1;
	assert_true(come(0, "::ffff:10.0.0.1"));
	crowd_busy(&g[0], 1);
	assert_true(know(0, 0));
	assert_false(come(1, "10.0.0.1"));
	assert_false(come(1, "10.0.0.2"));
	crowd_busy(&g[0], 0);
	assert_true(come(1, "10.0.0.1"));
	assert_int_equal(gone[0], 0);
}

/* However few places there are, but one, who comes has time to show a key. */
static void
test_few_places(void **state)
{
	unsigned int n, i;

	for (n = 2; n < 8; n++) {
		setup(state);
		crowd.max = n + 1;
		crowd.per_peer = n;
		for (i = 0; i < n; i++) {
			assert_true(come(i, "10.0.0.1"));
			crowd_busy(&g[i], 1);
			assert_int_equal(know(i, 1), i + 1 < n);
		}
		assert_int_equal(ngone, 0);
		for (i = 0; i < n; i++)
			crowd_busy(&g[i], 0);
		/* Of that address, and of another. */
		assert_true(come(n, "10.0.0.1"));
		assert_true(know(n, 2));
		assert_true(come(n + 1, "10.0.0.2"));
		assert_true(know(n + 1, 3));
		assert_true(come(n + 2, "10.0.0.3"));
		assert_true(know(n + 2, 4));
		teardown(state);
	}
}

/* A network of 64 bits is one address, and no address of IPv4. */
static void
test_six(void **state)
{
	(void)state;
	crowd.per_peer = 1;
	assert_true(come(0, "2001:db8::1"));
	assert_true(come(1, "2001:db8:0:1::1"));
	assert_true(come(2, "0.0.0.0"));
	assert_true(come(3, "::1"));
	assert_int_equal(ngone, 0);
	assert_true(come(4, "2001:db8::ffff:2"));
	assert_int_equal(ngone, 1);
	assert_int_equal(gone[0], 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_unknown, setup, teardown),
		cmocka_unit_test_setup_teardown(test_known, setup, teardown),
		cmocka_unit_test_setup_teardown(test_idle, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_place, setup, teardown),
		cmocka_unit_test_setup_teardown(test_few_places, setup,
		    teardown),
		cmocka_unit_test_setup_teardown(test_six, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
