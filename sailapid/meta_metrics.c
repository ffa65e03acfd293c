/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * meta_metrics: counts what is kept: what a step did counts when the step is
 * not undone, and the turn is in the database.  In meta.
 */
#include <string.h>

#include "sailapid/meta.h"

static struct {
	uint64_t step[META_NUMBERS_COUNT], turn[META_NUMBERS_COUNT],
	    all[META_NUMBERS_COUNT];
	struct timens start;
	monotime_t since;
} self;

void
metrics_init(void)
{
	memset(&self, 0, sizeof(self));
	self.start = timens_now();
	self.since = monotime_now();
}

void
metrics_add(enum meta_number what, uint64_t n)
{
	self.step[what] += n;
}

void
metrics_answered(enum meta_number what)
{
	self.turn[what]++;
}

static void
move(uint64_t *from, uint64_t *to, int kept)
{
	size_t i;

	for (i = 0; i < META_NUMBERS_COUNT && kept; i++)
		to[i] += from[i];
	memset(from, 0, sizeof(self.all));
}

void
metrics_step(int kept)
{
	move(self.step, self.turn, kept);
}

void
metrics_turn(int kept)
{
	move(self.turn, self.all, kept);
}

/* Nobody has shown a key: whoever comes by that socket gets numbers, and nothing
   else is asked or answered. */
void
meta_metrics(struct req *req)
{
	struct meta_numbers m;
	uint8_t *out;
	size_t len;

	if (req->method != API_GET || strcmp(req->target, "/metrics") != 0) {
		req_error(req, 404, "no_such_route", "there is nothing here");
		return;
	}
	m.start_ms =
	    (uint64_t)self.start.sec * 1000 + self.start.nsec / 1000000;
	m.uptime_ms = (uint64_t)monotime_diff_ms(monotime_now(), self.since);
	memcpy(m.n, self.all, sizeof(m.n));
	survey_numbers(m.n);
	if (db_session_open_count(meta_db(), &m.n[NUMBER_SESSIONS]) == -1)
		req_errno(req, "sessions");
	else if ((out = meta_numbers_encode(&m, &len)) == NULL)
		req_errno(req, "metrics");
	else
		req_binary(req, out, len);
}
