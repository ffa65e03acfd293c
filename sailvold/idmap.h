/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * idmap: the range of the machine's user and group ids that a mount shows its
 * volume's ids 0 to count-1 as.  All ids of files go through it on their way in
 * and out; without a range they are the same on both sides.
 */
#ifndef SAILVOLD_IDMAP_H
#define SAILVOLD_IDMAP_H

#include <stdint.h>

#define IDMAP_COUNT_MAX 65536
/* Nobody: who is outside, as the kernel too has it (its overflowuid). */
#define IDMAP_NOBODY 65534

struct idmap {
	uint32_t base, count; /* count 0: no range, and base 0 */
};

/* NULL, or why that cannot be a range. */
const char *idmap_problem(uint64_t base, uint64_t count);
/* 1 when it is one, or none. */
int idmap_valid(const struct idmap *);

/* From the machine to the volume: 0, or -1: an id outside, which the volume
   cannot have. */
int idmap_in(const struct idmap *, uint32_t machine, uint32_t *volume);
/* The same, for what only names somebody: nobody when outside. */
uint32_t idmap_name(const struct idmap *, uint32_t machine);
/* From the volume to the machine: nobody when outside, the volume's own where
   it has that id. */
uint32_t idmap_out(const struct idmap *, uint32_t volume);

#endif
