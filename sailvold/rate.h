/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * rate: bytes a second of something that goes on, smoothed over some seconds,
 * and the time that the rest will take.  Pure.
 */
#ifndef SAILVOLD_RATE_H
#define SAILVOLD_RATE_H

#include "lib/monotime.h"

struct rate {
	monotime_t at; /* of the last look */
	uint64_t bytes;
	double per_s;
	int looks;
};

void rate_begin(struct rate *, monotime_t now);
/* So many bytes are through now; fewer than before count as as many. */
void rate_look(struct rate *, monotime_t now, uint64_t bytes);
uint64_t rate_per_s(const struct rate *);
/* Seconds that so many more bytes will take; -1: nobody knows. */
int64_t rate_left_s(const struct rate *, uint64_t bytes);

#endif
