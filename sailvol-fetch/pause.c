/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * pause: see pause.h.  In sailvol-fetch.
 */
#include "lib/log.h"
#include "sailvol-fetch/pause.h"
#include "sailvol-fetch/worker.h"

#define PAUSE_MS 500 /* for each refusal */
#define PAUSE_MAX 2000

static void
on_over(int fd, short what, void *arg)
{
	struct pause *p = arg;

	(void)fd;
	(void)what;
	p->set = 0;
	pump_kick();
}

void
pause_begin(struct pause *p, unsigned int refused)
{
	int64_t ms = (int64_t)refused * PAUSE_MS;
	struct timeval tv;
	monotime_t until;

	if (ms > PAUSE_MAX)
		ms = PAUSE_MAX;
	until = monotime_add_ms(monotime_now(), ms);
	if (p->set && monotime_diff_ms(p->until, until) >= 0)
		return;
	pause_end(p);
	p->until = until;
	p->set = 1;
	tv.tv_sec = ms / 1000;
	tv.tv_usec = ms % 1000 * 1000;
	evtimer_set(&p->timer, on_over, p);
	if (evtimer_add(&p->timer, &tv) == -1)
		fatalx("evtimer_add");
}

int
pause_lasts(const struct pause *p)
{
	return p->set;
}

void
pause_end(struct pause *p)
{
	if (p->set)
		evtimer_del(&p->timer);
	p->set = 0;
}
