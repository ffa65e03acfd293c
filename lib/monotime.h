/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * monotime: time that only goes forward, in a type that cannot be mixed up
 * with the time of day.
 */
#ifndef LIB_MONOTIME_H
#define LIB_MONOTIME_H

#include <stdint.h>
#include <time.h>

typedef struct {
	int64_t ns; /* CLOCK_MONOTONIC */
} monotime_t;

monotime_t monotime_now(void);
/* a - b in milliseconds, rounded down. */
int64_t monotime_diff_ms(monotime_t a, monotime_t b);
monotime_t monotime_add_ms(monotime_t a, int64_t ms);
/* 1 when t has come. */
int monotime_reached(monotime_t t);

/* Seconds and nanoseconds since 1970 of CLOCK_REALTIME, as files have them. */
struct timens {
	int64_t sec;
	uint32_t nsec; /* 0 to 999,999,999 */
};
struct timens timens_now(void);
struct timespec;
struct timens timens_of(struct timespec);
int timens_cmp(struct timens a, struct timens b);

#endif
