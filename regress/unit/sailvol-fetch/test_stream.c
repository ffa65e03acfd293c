/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * What comes of a large chunk is in its file, with its hash, whatever the speed
 * of the disk and however often it begins anew; and little of it in memory.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "sailvol-fetch/http.h"
#include "sailvol-fetch/ops.h"
#include "sailvol-fetch/stream.h"
#include "sailvol-fetch/worker.h"

#define LENGTH ((size_t)5 * 1024 * 1024 + 77)

/* ---- stand-ins: a thread that works when it is told, and a file ---------------- */

static struct work *queued;
static uint8_t file[LENGTH];
static int disk_error;

void
worker_add(struct work *w)
{
	assert_null(queued);
	queued = w;
}

int
write_at(int fd, const void *buf, size_t n, uint64_t offset)
{
	assert_int_equal(fd, 9);
	assert_true(offset <= LENGTH && n <= LENGTH - offset);
	if (disk_error != 0) {
		errno = disk_error;
		return -1;
	}
	memcpy(file + offset, buf, n);
	return 0;
}

static int no_memory; /* for a part */

void *__real_malloc(size_t);
void *__wrap_malloc(size_t);

void *
__wrap_malloc(size_t n)
{
	return no_memory && n > STREAM_PART ? NULL : __real_malloc(n);
}

static int
work(void)
{
	struct work *w = queued;

	if (w == NULL)
		return 0;
	assert_int_equal(w->run(w), 0);
	queued = NULL;
	w->done(w);
	return 1;
}

/* ---- the owner -------------------------------------------------------------------- */

static uint8_t bytes[LENGTH];
static struct stream *stream;
static unsigned int ready, ended;
static int last_error;
static struct hash last_hash;

static void
on_ready(void *arg)
{
	assert_ptr_equal(arg, bytes);
	ready++;
}

static void
on_done(void *arg, int error, const struct hash *h)
{
	assert_ptr_equal(arg, bytes);
	ended++;
	last_error = error;
	last_hash = *h;
	stream = NULL;
}

static int
begin(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < LENGTH; i++)
		bytes[i] = (uint8_t)(i * 31 + (i >> 12));
	memset(file, 0, sizeof(file));
	ready = ended = 0;
	disk_error = 0;
	queued = NULL;
	stream = stream_new(9, LENGTH, on_ready, on_done, bytes);
	return stream == NULL ? -1 : 0;
}

/* From *at on, as much as it takes; at most `most' pieces of n bytes. */
static void
send_some(size_t *at, size_t n, size_t most)
{
	size_t some;

	for (; *at < LENGTH && most > 0; most--, *at += some) {
		some = LENGTH - *at < n ? LENGTH - *at : n;
		if (stream_take(stream, bytes + *at, some) == HTTP_SINK_PAUSE)
			return;
	}
}

static void
is_good(void)
{
	struct hash h;

	while (stream != NULL && work())
		;
	assert_int_equal(ended, 1);
	assert_int_equal(last_error, 0);
	hash_bytes(&h, bytes, LENGTH);
	assert_int_equal(hash_cmp(&h, &last_hash), 0);
	assert_memory_equal(file, bytes, LENGTH);
}

/* ---- tests ------------------------------------------------------------------------- */

static void
test_slow_disk(void **state)
{
	size_t at = 0, before, waits = 0;

	(void)state;
	while (at < LENGTH) {
		before = at;
		send_some(&at, 16 * 1024, SIZE_MAX);
		assert_true(at - before <= STREAM_MEMORY);
		if (at == LENGTH)
			break;
		/* It is full, and says when it is not any more. */
		waits++;
		assert_int_equal(ready, waits - 1);
		assert_true(work());
		assert_int_equal(ready, waits);
	}
	assert_true(waits > 1 && stream_full(stream));
	stream_end(stream);
	assert_int_equal(ended, 0);
	is_good();
}

static void
test_fast_disk(void **state)
{
	size_t at = 0;

	(void)state;
	while (at < LENGTH) {
		send_some(&at, 100001, 1);
		work();
	}
	assert_int_equal(ready, 0);
	assert_int_equal(stream_take(stream, bytes, 1), -1); /* too long */
	stream_end(stream);
	is_good();
}

/* That is not the fault of what comes. */
static void
test_no_memory(void **state)
{
	(void)state;
	no_memory = 1;
	assert_int_equal(stream_take(stream, bytes, 1), HTTP_SINK_NO_MEMORY);
	no_memory = 0;
	assert_int_equal(stream_take(stream, bytes, STREAM_PART), 0);
	no_memory = 1;
	assert_int_equal(stream_take(stream, bytes, 1), HTTP_SINK_NO_MEMORY);
	no_memory = 0;
	assert_int_equal(stream_stop(stream), 0);
	assert_true(work());
	assert_int_equal(last_error, ECANCELED);
}

/* Other bytes came first: in part written, with the thread, and to come. */
static void
test_again(void **state)
{
	size_t at = 0;

	(void)state;
	bytes[5] ^= 1;
	bytes[STREAM_PART + 5] ^= 1;
	send_some(&at, 16 * 1024, STREAM_PART / (16 * 1024));
	assert_true(work());
	send_some(&at, 16 * 1024, SIZE_MAX);
	bytes[5] ^= 1;
	bytes[STREAM_PART + 5] ^= 1;
	stream_rewind(stream); /* while the thread has some */
	assert_false(stream_full(stream));
	at = 0;
	while (at < LENGTH) {
		send_some(&at, 16 * 1024, SIZE_MAX);
		work();
	}
	stream_rewind(stream); /* and while it has the last ones, or none */
	work();
	at = 0;
	while (at < LENGTH) {
		send_some(&at, 200000, SIZE_MAX);
		work();
	}
	stream_end(stream);
	is_good();
}

static void
test_ends(void **state)
{
	size_t at = 0;

	(void)state;
	/* Nobody works for it: it ends at once. */
	send_some(&at, 1000, 1);
	assert_int_equal(stream_stop(stream), 1);
	assert_int_equal(stream_stop(NULL), 1);
	assert_int_equal(ended, 0);
	/* The thread has some: then. */
	assert_int_equal(begin(state), 0);
	at = 0;
	send_some(&at, STREAM_PART, 2);
	assert_int_equal(stream_stop(stream), 0);
	assert_int_equal(stream_stop(stream), 0);
	assert_int_equal(ended, 0);
	assert_true(work());
	assert_true(ended == 1 && last_error == ECANCELED);
	assert_null(queued);
	/* The disk is full. */
	assert_int_equal(begin(state), 0);
	at = 0;
	send_some(&at, STREAM_PART, 2);
	disk_error = ENOSPC;
	assert_true(work());
	assert_true(ended == 1 && last_error == ENOSPC);
	/* It was, of a try that nobody wants any more. */
	assert_int_equal(begin(state), 0);
	at = 0;
	send_some(&at, STREAM_PART, 1);
	stream_rewind(stream);
	disk_error = ENOSPC;
	assert_true(work());
	disk_error = 0;
	for (at = 0; at < LENGTH; work())
		send_some(&at, STREAM_PART, 1);
	stream_end(stream);
	is_good();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_slow_disk, begin),
		cmocka_unit_test_setup(test_fast_disk, begin),
		cmocka_unit_test_setup(test_no_memory, begin),
		cmocka_unit_test_setup(test_again, begin),
		cmocka_unit_test_setup(test_ends, begin),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
