/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * cache_coming: bytes of files that were given up, and that are not free yet:
 * somebody has such a file open still, or its file system frees later.  In cache.
 */
#include "lib/monotime.h"
#include "sailvold/cache_coming.h"

/*
 * What does not come in that time is not waited for: others may have taken it
 * meanwhile, which nobody can tell.  Twice as long after each time that little
 * came, for btrfs frees with each transaction, every 30 s.
 */
#define WAIT_MS 200
#define WAIT_MAX_MS 32000

static struct {
	uint64_t bytes, old; /* since `since', and of the time before */
	uint64_t came;       /* of all these */
	monotime_t since;
	int64_t wait_ms;
	int64_t free; /* when it was looked at last */
} c = { .wait_ms = WAIT_MS };

static void
take(uint64_t *from, uint64_t *n)
{
	uint64_t k = *n < *from ? *n : *from;

	*from -= k;
	*n -= k;
	c.came += k;
}

static void
next_time(void)
{
	if (c.old > c.came)
		c.wait_ms =
		    c.wait_ms < WAIT_MAX_MS ? c.wait_ms * 2 : WAIT_MAX_MS;
	else if (c.came > 0 && c.wait_ms > WAIT_MS)
		c.wait_ms /= 2;
	c.old = c.bytes;
	c.bytes = c.came = 0;
	c.since = monotime_now();
}

uint64_t
cache_coming(int64_t now_free)
{
	uint64_t grown = now_free > c.free ? (uint64_t)(now_free - c.free) : 0;

	c.free = now_free;
	take(&c.old, &grown);
	take(&c.bytes, &grown);
	if ((c.old == 0 && c.bytes == 0) ||
	    monotime_reached(monotime_add_ms(c.since, c.wait_ms)))
		next_time();
	return c.old + c.bytes;
}

void
cache_coming_add(uint64_t bytes, int64_t free_before, int64_t free_after)
{
	uint64_t grown =
	    free_after > free_before ? (uint64_t)(free_after - free_before) : 0;

	c.free = free_after;
	if (bytes <= grown)
		return;
	if (c.old == 0 && c.bytes == 0)
		c.since = monotime_now();
	c.bytes += bytes - grown;
}
