/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * Claim: the numbers for metrics are read as they were written, cut or
 * impossible ones are refused, and the text says each, and nothing of what did
 * not come.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "sailvold/metrics.h"

static uint8_t *
parent_bytes(size_t *len, uint8_t role, uint32_t instance, uint32_t nprocs,
    uint32_t nmounts)
{
	struct metrics_proc p = { .role = role,
		.instance = instance,
		.ready = 1,
		.starts = 3 };
	struct metrics_mount m = { .instance = 7, .up = 1 };
	struct wbuf w;
	uint8_t *data;

	m.tally.requests[1] = UINT64_MAX;
	m.tally.awake_us = 1234567;
	m.tally.bursts = 5;
	m.tally.pool = 6;
	wbuf_init(&w, 1 << 20);
	wbuf_u64(&w, 1700000000);
	wbuf_u32(&w, nprocs);
	metrics_proc_encode(&w, &p);
	wbuf_u32(&w, nmounts);
	metrics_mount_encode(&w, &m);
	assert_non_null(data = wbuf_take(&w, len));
	return data;
}

static uint8_t *
manifest_bytes(size_t *len, uint32_t n, int64_t committed)
{
	struct metrics_work k = { .instance = 7,
		.jobs = 1,
		.counted = 1,
		.names = 2,
		.objects = 3,
		.journal = 4,
		.overlay_used = 5,
		.limit = 6,
		.done = { 0, 10, 11, 12 },
		.failed = { 0, 20, 21, 22 },
		.committed = committed };
	struct wbuf w;
	uint8_t *data;

	wbuf_init(&w, 1 << 20);
	wbuf_u32(&w, n);
	metrics_work_encode(&w, &k);
	assert_non_null(data = wbuf_take(&w, len));
	return data;
}

static void
parent_refused(uint8_t *data, size_t len)
{
	struct metrics_parent m;

	errno = 0;
	assert_int_equal(metrics_parent_decode(data, len, &m), -1);
	assert_int_equal(errno, EBADMSG);
	metrics_parent_free(&m);
}

static void
test_parent(void **state)
{
	struct metrics_parent m;
	size_t len, n;
	uint8_t *data = parent_bytes(&len, ROLE_FETCH, 63, 1, 1);

	(void)state;
	assert_int_equal(metrics_parent_decode(data, len, &m), 0);
	assert_int_equal(m.started, 1700000000);
	assert_int_equal(m.nprocs, 1);
	assert_int_equal(m.procs[0].role, ROLE_FETCH);
	assert_int_equal(m.procs[0].instance, 63);
	assert_int_equal(m.procs[0].starts, 3);
	assert_int_equal(m.nmounts, 1);
	assert_int_equal(m.mounts[0].instance, 7);
	assert_true(m.mounts[0].tally.requests[1] == UINT64_MAX);
	assert_int_equal(m.mounts[0].tally.awake_us, 1234567);
	assert_int_equal(m.mounts[0].tally.pool, 6);
	metrics_parent_free(&m);
	for (n = 0; n < len; n++)
		parent_refused(data, n);
	data[8 + 4 + 5] = 2; /* ready */
	parent_refused(data, len);
	free(data);
	data = parent_bytes(&len, ROLE_FETCH, METRICS_FETCHERS, 1, 1);
	parent_refused(data, len);
	free(data);
	data = parent_bytes(&len, ROLE_MAX, 0, 1, 1);
	parent_refused(data, len);
	free(data);
	data = parent_bytes(&len, ROLE_CACHE, 0, UINT32_MAX, 1);
	parent_refused(data, len);
	free(data);
	data = parent_bytes(&len, ROLE_CACHE, 0, 1, UINT32_MAX);
	parent_refused(data, len);
	free(data);
	data = parent_bytes(&len, ROLE_CACHE, 0, 1, 0);
	parent_refused(data, len);
	free(data);
}

static void
manifest_refused(const uint8_t *data, size_t len)
{
	struct metrics_manifest m;

	errno = 0;
	assert_int_equal(metrics_manifest_decode(data, len, &m), -1);
	assert_int_equal(errno, EBADMSG);
	metrics_manifest_free(&m);
}

static void
test_manifest(void **state)
{
	struct metrics_manifest m;
	size_t len, n;
	uint8_t *data = manifest_bytes(&len, 1, 99);

	(void)state;
	assert_int_equal(metrics_manifest_decode(data, len, &m), 0);
	assert_int_equal(m.nworks, 1);
	assert_int_equal(m.works[0].instance, 7);
	assert_int_equal(m.works[0].limit, 6);
	assert_int_equal(m.works[0].done[JOB_KINDS], 12);
	assert_int_equal(m.works[0].failed[1], 20);
	assert_int_equal(m.works[0].committed, 99);
	metrics_manifest_free(&m);
	for (n = 0; n < len; n++)
		manifest_refused(data, n);
	free(data);
	data = manifest_bytes(&len, 0, 99);
	manifest_refused(data, len);
	free(data);
	data = manifest_bytes(&len, UINT32_MAX, 99);
	manifest_refused(data, len);
	free(data);
	data = manifest_bytes(&len, 1, -1);
	manifest_refused(data, len);
	free(data);
}

static char *
text_of(const struct metrics_all *a)
{
	size_t len;
	char *text, *copy;

	assert_non_null(text = metrics_text(a, &len));
	assert_non_null(copy = strndup(text, len));
	free(text);
	return copy;
}

static void
has(const char *text, const char *line)
{
	if (strstr(text, line) == NULL)
		fail_msg("%s is not in %s", line, text);
}

static void
has_not(const char *text, const char *line)
{
	if (strstr(text, line) != NULL)
		fail_msg("%s is in %s", line, text);
}

static void
test_text(void **state)
{
	static struct metrics_all a;
	size_t len;
	uint8_t *data = parent_bytes(&len, ROLE_FETCH, 2, 1, 1);
	char *text;

	(void)state;
	assert_int_equal(metrics_parent_decode(data, len, &a.parent), 0);
	free(data);
	data = manifest_bytes(&len, 1, 99);
	assert_int_equal(metrics_manifest_decode(data, len, &a.manifest), 0);
	free(data);
	a.fetch[2].of[FETCH_OBJECTS].sent = 17;
	a.fetch[2].answered_ms = 1500;
	a.fetch[2].unanswered_ms = FETCH_NEVER;
	a.manifest_in = a.cache_in = a.fetch_in[2] = 1;
	text = text_of(&a);
	has(text, "\nsailvold_start_time_seconds 1700000000\n");
	has(text, "\nsailvold_up{role=\"fetch\",fetcher=\"2\"} 1\n");
	has(text, "\nsailvold_starts_total{role=\"fetch\",fetcher=\"2\"} 3\n");
	has(text,
	    "\nsailvold_mount_requests_total{mount=\"7\",operation=\"LOOKUP\"}"
	    " 18446744073709551615\n");
	has(text, "\nsailvold_mount_awake_seconds_total{mount=\"7\"} 1.234\n");
	has(text,
	    "\nsailvold_mount_jobs_ended_total{mount=\"7\",kind=\"restore\","
	    "result=\"failed\"} 22\n");
	has(text,
	    "\nsailvold_mount_last_commit_time_seconds{mount=\"7\"} 99\n");
	has(text, "\nsailvold_mount_overlay_limit_bytes{mount=\"7\"} 6\n");
	has(text, "\nsailvold_cache_bytes 0\n");
	has(text,
	    "\nsailvold_fetch_sent_bytes_total{fetcher=\"2\",kind=\"object\"} "
	    "17\n");
	has(text, "\nsailvold_server_reachable 1\n");
	has(text, "\nsailvold_server_answer_age_seconds 1.500\n");
	free(text);
	/* It failed after that. */
	a.fetch[2].unanswered_ms = 1499;
	text = text_of(&a);
	has(text, "\nsailvold_server_reachable 0\n");
	free(text);
	/* Those that did not answer. */
	a.manifest_in = a.cache_in = a.fetch_in[2] = 0;
	text = text_of(&a);
	has(text, "\nsailvold_up{role=\"fetch\",fetcher=\"2\"} 0\n");
	has(text, "\nsailvold_mount_up{mount=\"7\"} 1\n");
	has_not(text, "\nsailvold_mount_dirty_names{");
	has_not(text, "\nsailvold_cache_bytes ");
	has_not(text, "\nsailvold_fetch_sent_bytes_total{");
	has_not(text, "\nsailvold_server_reachable ");
	free(text);
	metrics_parent_free(&a.parent);
	metrics_manifest_free(&a.manifest);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parent),
		cmocka_unit_test(test_manifest),
		cmocka_unit_test(test_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
