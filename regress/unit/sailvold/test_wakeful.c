/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * Processors are kept awake from the fourth request of a burst until none came
 * for a while; the device is a pipe here.  What fuse counts reads as it was
 * counted.
 */
#include <sys/mman.h>
#include <errno.h>
#include <event.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "sailvold/wakeful.h"

static int
device(int *end)
{
	int fds[2];

	assert_int_equal(pipe2(fds, O_CLOEXEC | O_NONBLOCK), 0);
	*end = fds[0];
	return fds[1];
}

/* What was written; 1, or 0: nothing. */
static int
told(int end, int32_t *us)
{
	ssize_t n = read(end, us, sizeof(*us));

	if (n == -1 && errno == EAGAIN)
		return 0;
	assert_int_equal(n, sizeof(*us));
	return 1;
}

static void
came(int fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
	event_loopbreak();
}

/* Runs the loop until something is written. */
static int32_t
next_told(int end)
{
	struct event ev;
	int32_t us;

	event_set(&ev, end, EV_READ, came, NULL);
	assert_int_equal(event_add(&ev, NULL), 0);
	while (!told(end, &us))
		assert_int_equal(event_loop(EVLOOP_ONCE), 0);
	event_del(&ev);
	return us;
}

/* Requests until they are a burst: on a busy machine four take longer. */
static void
burst(int end)
{
	int32_t us = 1;
	int i;

	for (i = 0; i < 100000; i++) {
		wakeful_request();
		if (told(end, &us)) {
			assert_int_equal(us, 0);
			return;
		}
	}
	fail_msg("never a burst");
}

static void
test_device(void **state)
{
	struct tally t;
	int32_t us;
	int end;

	(void)state;
	memset(&t, 0, sizeof(t));
	tally_use(&t);
	wakeful_set(WAKEFUL_LATENCY, device(&end));
	assert_int_equal(t.wakeful, WAKEFUL_LATENCY);
	wakeful_request();
	wakeful_request();
	wakeful_request();
	assert_false(told(end, &us));
	assert_false(wakeful_look());
	burst(end);
	assert_int_equal(t.bursts, 1);
	/* Once: not for each request. */
	wakeful_request();
	assert_false(told(end, &us));
	assert_int_equal(next_told(end), -1);
	assert_true(t.awake_us >= 4000);
	burst(end);
	assert_int_equal(t.bursts, 2);
	/* Another setting lets go first, and closes what it had. */
	wakeful_set(WAKEFUL_OFF, -1);
	assert_true(told(end, &us));
	assert_int_equal(us, -1);
	assert_int_equal(read(end, &us, 1), 0);
	close(end);
	wakeful_request();
	wakeful_request();
	wakeful_request();
	wakeful_request();
	assert_int_equal(t.bursts, 2);
}

static void
test_device_fails(void **state)
{
	struct tally t;
	int fd;

	(void)state;
	memset(&t, 0, sizeof(t));
	tally_use(&t);
	assert_int_not_equal(fd = open("/dev/full", O_WRONLY | O_CLOEXEC), -1);
	wakeful_set(WAKEFUL_LATENCY, fd);
	while (t.wakeful == WAKEFUL_LATENCY)
		wakeful_request();
	assert_int_equal(t.wakeful, WAKEFUL_LOOK);
	assert_int_equal(fcntl(fd, F_GETFD), -1);
	wakeful_set(WAKEFUL_OFF, -1);
}

static void
test_look(void **state)
{
	struct tally t;
	int i, looked = 0;

	(void)state;
	memset(&t, 0, sizeof(t));
	tally_use(&t);
	wakeful_set(WAKEFUL_LOOK, -1);
	assert_false(wakeful_look());
	wakeful_request();
	assert_false(wakeful_look());
	for (i = 0; i < 100000 && !looked; i++) {
		wakeful_request();
		looked = wakeful_look();
	}
	assert_true(looked);
	assert_true(i >= 3);
	assert_true(t.bursts >= 1);
	/* Not for long. */
	while (wakeful_look())
		;
	assert_true(t.awake_us >= 100);
	assert_false(wakeful_look());
}

static void
test_tally(void **state)
{
	json_t *j, *r;
	uint8_t *p;
	int fd, i;

	(void)state;
	assert_int_not_equal(fd = memfd_create("table", MFD_CLOEXEC), -1);
	assert_int_equal(ftruncate(fd, 8192), 0);
	p = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(p, MAP_FAILED);
	tally_use((struct tally *)(void *)(p + TALLY_OFFSET));
	for (i = 0; i < 3; i++)
		tally_request(FUSE_LOOKUP);
	tally_request(FUSE_CREATE);
	tally_request(4096);
	tally_request(UINT32_MAX);
	tally_request(63);
	tally->wakeful = 77; /* fuse may write what it likes */
	assert_non_null(j = tally_json(fd));
	r = json_object_get(j, "requests");
	assert_int_equal(json_object_size(r), 3);
	assert_int_equal(json_integer_value(json_object_get(r, "LOOKUP")), 3);
	assert_int_equal(json_integer_value(json_object_get(r, "CREATE")), 1);
	assert_int_equal(json_integer_value(json_object_get(r, "OTHER")), 3);
	r = json_object_get(json_object_get(j, "awake"), "by");
	assert_string_equal(json_string_value(r), "no");
	json_decref(j);
	munmap(p, 8192);
	close(fd);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_device),
		cmocka_unit_test(test_device_fails),
		cmocka_unit_test(test_look),
		cmocka_unit_test(test_tally),
	};

	event_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
