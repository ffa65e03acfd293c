/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * backoff: how long to wait before what failed is tried again.
 */
#ifndef LIB_BACKOFF_H
#define LIB_BACKOFF_H

#include <stdint.h>

/*
 * After so many tries that failed: twice as long each time, from first_ms to
 * max_ms, of which chance takes up to a half away, lest all come at the same
 * moment.
 */
int64_t backoff_ms(unsigned int tries, int64_t first_ms, int64_t max_ms);
/*
 * The same where the other side has asked for a pause, 0: has not; it is
 * believed up to asked_max_ms.  All whom it told the same do not come at the same
 * moment either: chance adds up to half of it, or up to ms where that is more.
 */
int64_t backoff_asked_ms(int64_t ms, int64_t asked_ms, int64_t asked_max_ms);

#endif
