/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * meta_clock: what the store is asked about itself: how far its clock is from
 * ours, by the Date of what it answers, and how it reads signatures.  URLs are signed by the store's time, so that a server whose clock is
 * wrong goes on; it is told to set it.  In meta.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "lib/log.h"
#include "sailapid/meta.h"

#define CLOCK_SAY_MS 5000    /* less is said to nobody */
#define CLOCK_AGE_MS 600000  /* without an answer of the store's */
#define CLOCK_AGAIN_MS 10000 /* after a question without an answer */
#define CLOCK_STEP_MS 1000   /* our own clock was set */
#define CLOCK_MAX_MS ((int64_t)SIGN_OFFSET_MAX * 1000)

static struct {
	int64_t skew_ms;
	int64_t said_ms;
	int64_t wall_ms; /* time of day less monotonic time */
	monotime_t due;  /* the store is to be asked */
	int asking;
	int absent;        /* it reads names of headers that must not be sent */
	int known;         /* whether it does */
	const char *wrong; /* what it said of us, or NULL */
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
	self.due = monotime_now();
	self.wall_ms = wall_ms(self.due);
}

void
clock_saw(int64_t skew_ms)
{
	self.skew_ms = skew_ms;
	if (self.wrong == NULL && self.known)
		self.due = monotime_add_ms(monotime_now(), CLOCK_AGE_MS);
	say(skew_ms);
}

int
clock_store_known(void)
{
	return self.known;
}

int
clock_store_absent(void)
{
	return self.absent;
}

int32_t
clock_offset_s(void)
{
	if (llabs(self.skew_ms) > CLOCK_MAX_MS)
		return 0;
	return (int32_t)(self.skew_ms / 1000);
}

/* ---- what is wrong with the store ---------------------------------------- */

static const struct {
	const char *code, *why;
} errors[] = {
	{ "NoSuchBucket",
	    "does not have the bucket: make it, or mend \"bucket\" in "
	    "sailapid.conf" },
	{ "InvalidAccessKeyId",
	    "does not know the access key: mend the credentials" },
	{ "SignatureDoesNotMatch",
	    "says that the secret access key is not that of the access key: "
	    "mend the credentials" },
};
#define NERRORS (sizeof(errors) / sizeof(errors[0]))

void
clock_said(uint16_t status, const char *code)
{
	size_t i;

	for (i = 0; i < NERRORS; i++) {
		if (strcmp(code, errors[i].code) != 0)
			continue;
		if (self.wrong != errors[i].code)
			log_warnx("store: it %s", errors[i].why);
		self.wrong = errors[i].code;
		self.due = monotime_add_ms(monotime_now(), CLOCK_AGAIN_MS);
	}
	if (self.wrong == NULL ||
	    (status != 200 && status != 206 && strcmp(code, "NoSuchKey") != 0))
		return;
	log_info("store: it takes our requests again");
	self.wrong = NULL;
}

/* ---- asking -------------------------------------------------------------- */

/* It refuses a signature, and not the object, which it does not have either. */
static void
asked_absent(struct req *req)
{
	uint16_t status = req->objects[0].status;

	if (status == 404 && !self.absent)
		log_info("store: signed absence of headers is understood");
	/* Some stores say 400 of such a signature; others will do later. */
	if ((status >= 400 && status < 500 && status != 408 && status != 429) ||
	    status == 501) {
		self.absent = status == 404;
		self.known = 1;
	}
	req_none(req, 202);
	meta_peer_found();
}

static void
absent_look(struct req *req)
{
	req_fetch(req, asked_absent);
}

static void
asked(struct req *req)
{
	if (req->objects[0].status != 404) {
		/* It takes nothing of ours: what it reads is no matter. */
		self.known |= req->objects[0].status != 0;
		req_none(req, 202);
		meta_peer_found();
		return;
	}
	if (req_objects(req, 1) == -1)
		return;
	req->objects[0].use = OBJECT_LOOK;
	req->objects[0].bytes = 1;
	req->objects[0].absent = 1;
	req_sign(req, absent_look);
}

static void
ask_look(struct req *req)
{
	req_fetch(req, asked);
}

/* For an object that there is not: the answer has its Date, and an error. */
static void
ask_begin(struct req *req)
{
	if (req_objects(req, 1) == -1)
		return;
	req->objects[0].use = OBJECT_VERIFY;
	req->objects[0].bytes = 1;
	req_sign(req, ask_look);
}

static void
ask_end(void *arg)
{
	(void)arg;
	self.asking = 0;
}

void
clock_tick(void)
{
	static const uint8_t none[DB_ID_LEN];
	monotime_t now = monotime_now();
	int64_t wall = wall_ms(now);
	struct req *req;

	if (llabs(wall - self.wall_ms) > CLOCK_STEP_MS)
		self.due = now;
	self.wall_ms = wall;
	if (self.asking || monotime_diff_ms(now, self.due) < 0)
		return;
	self.due = monotime_add_ms(now, CLOCK_AGAIN_MS);
	if ((req = req_own("-", 0, none, ask_begin)) == NULL)
		return;
	self.asking = 1;
	req->state = &self;
	req->state_free = ask_end;
}
