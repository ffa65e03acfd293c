/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * rate: bytes a second, smoothed, and the time that the rest takes.  In
 * manifest.
 */
#include <string.h>

#include "sailvold/rate.h"

#define SMOOTH_S 5.0
#define LOOK_MS 50 /* looks that are closer say nothing */

void
rate_begin(struct rate *r, monotime_t now)
{
	memset(r, 0, sizeof(*r));
	r->at = now;
}

void
rate_look(struct rate *r, monotime_t now, uint64_t bytes)
{
	int64_t ms = monotime_diff_ms(now, r->at);
	double s, per_s;

	if (ms < LOOK_MS)
		return;
	if (bytes < r->bytes)
		bytes = r->bytes;
	/* Until the first bytes are through nothing is known. */
	if (r->looks == 0 && bytes == 0)
		return;
	s = (double)ms / 1000;
	per_s = (double)(bytes - r->bytes) / s;
	if (r->looks++ == 0)
		r->per_s = per_s;
	else
		r->per_s += (per_s - r->per_s) * (s / (SMOOTH_S + s));
	r->at = now;
	r->bytes = bytes;
}

uint64_t
rate_per_s(const struct rate *r)
{
	return (uint64_t)r->per_s;
}

int64_t
rate_left_s(const struct rate *r, uint64_t bytes)
{
	uint64_t per_s = rate_per_s(r);

	if (r->looks == 0)
		return -1;
	if (bytes == 0)
		return 0;
	if (per_s == 0)
		return -1;
	bytes /= per_s;
	return bytes < INT32_MAX ? (int64_t)bytes : INT32_MAX;
}
