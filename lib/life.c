/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * life: how long something is to live, as people write it.  A number without a
 * unit is none: of seconds or days, nobody knows.
 */
#include <string.h>

#include "lib/life.h"

int64_t
life_parse(const char *s)
{
	static const struct {
		char unit;
		int64_t seconds;
	} units[] = { { 's', 1 }, { 'm', 60 }, { 'h', 3600 }, { 'd', 86400 } };
	int64_t n = 0;
	size_t i;

	for (; *s >= '0' && *s <= '9'; s++) {
		n = n * 10 + (*s - '0');
		if (n > LIFE_MAX_S)
			return -1;
	}
	for (i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		if (*s != units[i].unit || s[1] != '\0')
			continue;
		n *= units[i].seconds;
		return n >= 1 && n <= LIFE_MAX_S ? n : -1;
	}
	return -1;
}
