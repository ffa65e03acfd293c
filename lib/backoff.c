/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * backoff: how long to wait before what failed is tried again.
 */
#include <stdlib.h>

#include "lib/backoff.h"

int64_t
backoff_ms(unsigned int tries, int64_t first_ms, int64_t max_ms)
{
	int64_t ms = first_ms;
	unsigned int i;

	for (i = 1; i < tries && ms < max_ms; i++)
		ms *= 2;
	if (ms > max_ms)
		ms = max_ms;
	return ms - (int64_t)arc4random_uniform((uint32_t)(ms / 2 + 1));
}

int64_t
backoff_asked_ms(int64_t ms, int64_t asked_ms, int64_t asked_max_ms)
{
	int64_t later;

	if (asked_ms <= 0)
		return ms;
	if (asked_ms > asked_max_ms)
		asked_ms = asked_max_ms;
	later = asked_ms / 2 > ms ? asked_ms / 2 : ms;
	return asked_ms + (int64_t)arc4random_uniform((uint32_t)later + 1);
}
