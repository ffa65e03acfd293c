/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * Claim: a lease names all commits that its mount needs or is not sent; one is
 * under way at a time, so that the last one counts; and what fails is tried again
 * soon, and later and later.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "sailvold/job.h"

struct db *manifest_db;
static struct mount mnt;
static struct event_base *base;

/* ---- stand-ins ------------------------------------------------------------- */

static int64_t turn_ms; /* of the timer that is not that of each day */
static struct event *turn;
static unsigned int sent, cancelled;
static server_cb answer;
static void *answer_arg;
static char body[1024];
static int unreadable, unsent;

int
event_add(struct event *ev, const struct timeval *tv)
{
	int64_t ms = (int64_t)tv->tv_sec * 1000 + tv->tv_usec / 1000;

	if (event_get_events(ev) & EV_PERSIST)
		return 0;
	turn = ev;
	turn_ms = ms;
	return 0;
}

struct event_base *
proc_base(void)
{
	return base;
}

void
mount_foreach(void (*f)(struct mount *, void *), void *arg)
{
	f(&mnt, arg);
}

json_t *
json_hash(const struct hash *h)
{
	char hex[HASH_HEX_LEN + 1];

	hash_hex(h, hex);
	return json_string(hex);
}

void
hex_of(const uint8_t *b, size_t n, char *out)
{
	(void)b;
	memset(out, '0', 2 * n);
	out[2 * n] = '\0';
}

int
db_commits_used(struct db *db, int64_t mount, const uint8_t mount_id[16],
    int (*f)(void *, const struct hash *), void *arg)
{
	static const struct hash h = { { 0xcc } };

	(void)db;
	(void)mount;
	(void)mount_id;
	if (f(arg, &h) == -1)
		return -1;
	errno = EIO;
	return unreadable ? -1 : 0;
}

uint32_t
server_request(uint8_t method, const char *target, const char *type, int fd,
    int retry, uint64_t max, server_cb f, void *arg)
{
	ssize_t n = pread(fd, body, sizeof(body) - 1, 0);

	(void)retry;
	(void)max;
	(void)type;
	assert_int_equal(method, 2);
	assert_non_null(strstr(target, "/leases/"));
	body[n > 0 ? n : 0] = '\0';
	close(fd);
	if (unsent)
		return 0;
	assert_null(answer); /* one at a time */
	answer = f;
	answer_arg = arg;
	return ++sent;
}

void
server_cancel(uint32_t number)
{
	assert_int_equal(number, sent);
	cancelled++;
	answer = NULL;
}

void
server_error(const struct server_answer *a, char *out, size_t size, char *code,
    size_t code_size)
{
	snprintf(out, size, "status %u", a->status);
	snprintf(code, code_size, "none");
}

static void
answered(uint16_t status)
{
	struct server_answer a = { .status = status };
	server_cb f = answer;

	assert_non_null(f);
	answer = NULL;
	f(answer_arg, &a);
}

/* The timer is over, and what it was for is due. */
static void
its_turn(void)
{
	event_callback_fn f = event_get_callback(turn);

	mnt.lease_at = monotime_now();
	turn_ms = 0;
	f(-1, EV_TIMEOUT, event_get_callback_arg(turn));
}

static int
setup(void **state)
{
	(void)state;
	memset(&mnt, 0, sizeof(mnt));
	mnt.started = 1;
	mnt.row.path = (char *)(uintptr_t) "/mnt";
	mnt.row.volume_id = (char *)(uintptr_t) "vol";
	if (base == NULL)
		base = event_base_new();
	sent = cancelled = 0;
	answer = NULL;
	turn_ms = 0;
	unreadable = unsent = 0;
	return 0;
}

/* ---- tests ------------------------------------------------------------------ */

static void
whole(void **state)
{
	(void)state;
	mnt.row.has_last = 1;
	mnt.row.last.b[0] = 0xbb;
	lease_renew(&mnt);
	assert_int_equal(sent, 1);
	assert_non_null(strstr(body, "\"cc00"));
	assert_non_null(strstr(body, "\"bb00"));
	assert_non_null(strstr(body, "\"0000"));
	answered(200);
	assert_int_equal(turn_ms, 0);
	/* Of what the database does not say nothing would be kept. */
	unreadable = 1;
	lease_renew(&mnt);
	assert_int_equal(sent, 1);
	assert_in_range(turn_ms, 29000, 61000);
	unreadable = 0;
	its_turn();
	assert_int_equal(sent, 2);
	answered(200);
	assert_int_equal(turn_ms, 0);
}

static void
one_at_a_time(void **state)
{
	(void)state;
	lease_renew(&mnt);
	mnt.row.base.b[0] = 0xaa;
	lease_renew(&mnt);
	lease_renew(&mnt);
	assert_int_equal(sent, 1);
	answered(200);
	assert_int_equal(sent, 2);
	assert_non_null(strstr(body, "\"aa00"));
	answered(200);
	assert_int_equal(sent, 2);
	/* Nobody hears it when the mount is gone. */
	lease_renew(&mnt);
	lease_stop(&mnt);
	assert_int_equal(cancelled, 1);
}

static void
again(void **state)
{
	int64_t last = 0;
	unsigned int i;

	(void)state;
	lease_renew(&mnt);
	for (i = 0; i < 12; i++) {
		answered(i % 2 ? 503 : 0);
		assert_in_range(turn_ms, 29000, 3601000);
		/* Chance takes a half away. */
		assert_true(turn_ms * 3 > last || turn_ms > 1700000);
		last = turn_ms;
		its_turn();
		assert_int_equal(sent, i + 2);
	}
	assert_true(last > 1700000);
	answered(200);
	assert_int_equal(turn_ms, 0);
	unsent = 1;
	lease_renew(&mnt);
	assert_in_range(turn_ms, 29000, 61000);
	/* Who is due earlier is first. */
	mnt.lease_at.ns = 0;
	unsent = 0;
	lease_soon(&mnt);
	assert_in_range(turn_ms, 59000, 61000);
	its_turn();
	answered(200);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(whole, setup),
		cmocka_unit_test_setup(one_at_a_time, setup),
		cmocka_unit_test_setup(again, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
