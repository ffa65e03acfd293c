/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * late: see late.h.  In fuse.
 */
#include "sailvold/late.h"

#define READS 64
/* A shorter wait may be had again: what is asked for then may be there. */
#define LONG_MS 5000
/* The kernel asks at once, after a fault twice; who asks later means it. */
#define AGAIN_MS 1000
#define AGAIN 2

static struct {
	uint64_t nodeid, off, size;
	int error, left; /* 0: none */
	monotime_t at;
} reads[READS];
static unsigned int next;

void
late_failed(uint64_t nodeid, uint64_t off, uint64_t size, int error,
    monotime_t since)
{
	monotime_t at = monotime_now();

	if (monotime_diff_ms(at, since) < LONG_MS)
		return;
	reads[next].nodeid = nodeid;
	reads[next].off = off;
	reads[next].size = size;
	reads[next].error = error;
	reads[next].left = AGAIN;
	reads[next].at = at;
	next = (next + 1) % READS;
}

int
late_again(uint64_t nodeid, uint64_t off)
{
	unsigned int i;

	for (i = 0; i < READS; i++) {
		if (reads[i].left == 0 || reads[i].nodeid != nodeid ||
		    off < reads[i].off || off - reads[i].off >= reads[i].size)
			continue;
		if (monotime_diff_ms(monotime_now(), reads[i].at) >= AGAIN_MS) {
			reads[i].left = 0;
			continue;
		}
		reads[i].left--;
		return reads[i].error;
	}
	return 0;
}
