/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */

/* The seed of a random unit test. */

#ifndef UNIT_SEED_H
#define UNIT_SEED_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/*
 * Seeds random(3) and says with what: SAIL_SEED=n in the environment, or any
 * with SAIL_SEED=random, which make soak sets; else always the same, so that
 * what make check finds is of the change that it checks.
 */
static inline unsigned int
seeded(void)
{
	const char *s = getenv("SAIL_SEED");
	unsigned int seed = 1;

	if (s != NULL && strcmp(s, "random") == 0)
		seed = (unsigned int)time(NULL);
	else if (s != NULL)
		seed = (unsigned int)strtoul(s, NULL, 10);
	printf("SAIL_SEED=%u\n", seed);
	fflush(stdout);
	srandom(seed);
	return seed;
}

#endif /* UNIT_SEED_H */
