/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * meta_clock: how far the store's clock is from ours, by the Date of what it
 * answers.  URLs are signed by the store's time, so that a server whose clock is
 * wrong goes on; it is told to set it.  In meta.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "lib/log.h"
#include "sailapid/meta.h"

#define CLOCK_SAY_MS 5000  /* less is said to nobody */
#define CLOCK_STEP_MS 1000 /* our own clock was set */
#define CLOCK_MAX_MS ((int64_t)SIGN_OFFSET_MAX * 1000)

static struct {
	int known; /* since our own clock was set */
	int64_t skew_ms;
	int64_t other_ms; /* the last that was farther from it */
	int64_t said_ms;
	int64_t wall_ms; /* time of day less monotonic time */
} self;

static int64_t
wall_ms(monotime_t now)
{
	struct timens t = timens_now();

	return t.sec * 1000 + t.nsec / 1000000 - now.ns / 1000000;
}

static void
say(int64_t skew_ms)
{
	int64_t s = llabs(skew_ms) / 1000;
	const char *where = skew_ms > 0 ? "behind" : "ahead of";

	if (llabs(skew_ms - self.said_ms) < CLOCK_SAY_MS)
		return;
	self.said_ms = skew_ms;
	if (llabs(skew_ms) < CLOCK_SAY_MS)
		log_info("clock: as that of the store again");
	else if (llabs(skew_ms) > CLOCK_MAX_MS)
		log_warnx("clock: %" PRId64 " s %s that of the store, which is "
			  "too much to sign URLs by: set the clock",
		    s, where);
	else
		log_warnx("clock: %" PRId64 " s %s that of the store: URLs are "
			  "signed by the store's; set the clock",
		    s, where);
}

void
clock_init(void)
{
	memset(&self, 0, sizeof(self));
	self.wall_ms = wall_ms(monotime_now());
}

void
clock_saw(int64_t skew_ms)
{
	/* One of the store's machines may have a clock of its own. */
	if (self.known && llabs(skew_ms - self.skew_ms) >= CLOCK_SAY_MS &&
	    llabs(skew_ms - self.other_ms) >= CLOCK_SAY_MS) {
		self.other_ms = skew_ms;
		return;
	}
	self.known = 1;
	self.skew_ms = self.other_ms = skew_ms;
	say(skew_ms);
}

int
clock_too_far(void)
{
	return llabs(self.skew_ms) > CLOCK_MAX_MS;
}

int32_t
clock_offset_s(void)
{
	if (clock_too_far())
		return 0;
	return (int32_t)(self.skew_ms / 1000);
}

void
clock_tick(void)
{
	int64_t wall = wall_ms(monotime_now());

	if (llabs(wall - self.wall_ms) > CLOCK_STEP_MS) {
		self.known = 0;
		store_ask_soon();
	}
	self.wall_ms = wall;
}
