/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * numbers: what was counted, and when the API answered last.  In sailvol-fetch.
 */
#include "lib/log.h"
#include "lib/monotime.h"
#include "sailvol-fetch/numbers.h"

struct fetch_numbers numbers;
static struct {
	int ever;
	monotime_t last;
} answered, unanswered;

void
numbers_api(int did)
{
	if (did) {
		answered.ever = 1;
		answered.last = monotime_now();
	} else {
		unanswered.ever = 1;
		unanswered.last = monotime_now();
	}
}

static uint64_t
since(int ever, monotime_t last)
{
	int64_t ms = monotime_diff_ms(monotime_now(), last);

	return !ever ? FETCH_NEVER : ms < 0 ? 0 : (uint64_t)ms;
}

int
op_numbers(struct chan *c, uint32_t id, struct imsg *imsg, struct ibuf *body)
{
	int api;

	(void)imsg;
	(void)body;
	for (api = 0; api < 2; api++)
		http_count(api, &NUMBERS_OF(api)->running,
		    &NUMBERS_OF(api)->waiting);
	numbers.answered_ms = since(answered.ever, answered.last);
	numbers.unanswered_ms = since(unanswered.ever, unanswered.last);
	if (fetch_numbers_send(c, id, &numbers) == -1)
		log_warn("numbers");
	return 0;
}
