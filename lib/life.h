/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/* life: how long something is to live, as people write it: 90s, 15m, 12h, 7d. */
#ifndef LIB_LIFE_H
#define LIB_LIFE_H

#include <stdint.h>

#define LIFE_MAX_S ((int64_t)3650 * 86400)

/* Seconds, 1 to LIFE_MAX_S; -1: it is none. */
int64_t life_parse(const char *);

#endif
