/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * monotime: the clock that only goes forward, and the time of day in
 * nanoseconds.  In every process.
 */
#include "lib/log.h"
#include "lib/monotime.h"

#define NS_PER_MS 1000000LL
#define NS_PER_S 1000000000LL

monotime_t
monotime_now(void)
{
	struct timespec ts;
	monotime_t t;

	if (clock_gettime(CLOCK_MONOTONIC, &ts) == -1)
		fatal("clock_gettime");
	t.ns = (int64_t)ts.tv_sec * NS_PER_S + ts.tv_nsec;
	return t;
}

int64_t
monotime_diff_ms(monotime_t a, monotime_t b)
{
	int64_t d = a.ns - b.ns;
	int64_t ms = d / NS_PER_MS;

	/* C rounds towards zero. */
	if (d % NS_PER_MS < 0)
		ms--;
	return ms;
}

monotime_t
monotime_add_ms(monotime_t a, int64_t ms)
{
	a.ns += ms * NS_PER_MS;
	return a;
}

int
monotime_reached(monotime_t t)
{
	return monotime_now().ns >= t.ns;
}

struct timens
timens_now(void)
{
	struct timespec ts;

	if (clock_gettime(CLOCK_REALTIME, &ts) == -1)
		fatal("clock_gettime");
	return timens_of(ts);
}

struct timens
timens_of(struct timespec ts)
{
	struct timens t = { ts.tv_sec, (uint32_t)ts.tv_nsec };

	return t;
}

int
timens_cmp(struct timens a, struct timens b)
{
	if (a.sec != b.sec)
		return a.sec < b.sec ? -1 : 1;
	if (a.nsec != b.nsec)
		return a.nsec < b.nsec ? -1 : 1;
	return 0;
}
