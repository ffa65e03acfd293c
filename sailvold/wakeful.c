/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * wakeful: bursts of requests, and the processors kept awake meanwhile.  In
 * fuse.
 */
#include <errno.h>
#include <event.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include "lib/log.h"
#include "lib/monotime.h"
#include "sailvold/wakeful.h"

#define BURST_REQUESTS 4
#define BURST_NS 1000000
#define QUIET_MS 4
#define LOOK_NS 100000
#define AS_ALWAYS (-1) /* the kernel's word for no wish */

static enum wakeful_mode mode = WAKEFUL_OFF;
static int device = -1;
static int64_t times[BURST_REQUESTS]; /* of the last requests */
static unsigned int at;               /* the oldest of them */
static int held, looking;
static monotime_t last, since;
static struct event ev_quiet;
static int have_event;

static void
tell(int32_t us)
{
	/* In binary, as wide as that, says the kernel's pm_qos_interface. */
	if (write(device, &us, sizeof(us)) != (ssize_t)sizeof(us)) {
		log_warn("/dev/cpu_dma_latency: not used any more");
		close(device); /* which takes back what it held */
		device = -1;
		mode = WAKEFUL_LOOK;
		tally->wakeful = mode;
	}
}

static void
let_go(void)
{
	if (!held)
		return;
	held = 0;
	tally->awake_us += (uint64_t)((monotime_now().ns - since.ns) / 1000);
	if (device != -1)
		tell(AS_ALWAYS);
}

static void
wait_for_quiet(int64_t ms)
{
	struct timeval tv = { 0, (suseconds_t)ms * 1000 };

	if (evtimer_add(&ev_quiet, &tv) == -1)
		let_go();
}

/* Armed once, not for each request. */
static void
on_quiet(int fd, short what, void *arg)
{
	int64_t ms = monotime_diff_ms(monotime_now(), last);

	(void)fd;
	(void)what;
	(void)arg;
	if (ms >= QUIET_MS)
		let_go();
	else
		wait_for_quiet(QUIET_MS - ms);
}

static void
hold(void)
{
	held = 1;
	since = last;
	tally->bursts++;
	tell(0);
	if (device == -1)
		held = 0;
	else
		wait_for_quiet(QUIET_MS);
}

void
wakeful_set(enum wakeful_mode m, int fd)
{
	if (!have_event) {
		evtimer_set(&ev_quiet, on_quiet, NULL);
		have_event = 1;
	}
	evtimer_del(&ev_quiet);
	let_go();
	if (device != -1)
		close(device);
	device = fd;
	looking = 0;
	memset(times, 0, sizeof(times));
	mode = m;
	tally->wakeful = mode;
}

void
wakeful_request(void)
{
	int burst;

	if (mode == WAKEFUL_OFF)
		return;
	last = monotime_now();
	burst = last.ns - times[(at + 1) % BURST_REQUESTS] <= BURST_NS;
	times[at] = last.ns;
	at = (at + 1) % BURST_REQUESTS;
	if (mode == WAKEFUL_LATENCY) {
		if (burst && !held)
			hold();
	} else {
		if (burst && !looking)
			tally->bursts++;
		looking = burst;
	}
}

int
wakeful_look(void)
{
	int64_t ns;

	if (!looking)
		return 0;
	ns = monotime_now().ns - last.ns;
	if (ns < LOOK_NS)
		return 1;
	tally->awake_us += (uint64_t)(ns / 1000);
	looking = 0;
	return 0;
}
