/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * idmap: ids of the machine to ids of a volume, and back.  In fuse, for files;
 * in manifest, for who asks; in the parent, for what is to be a range.
 */
#include <stddef.h>

#include "sailvold/idmap.h"

const char *
idmap_problem(uint64_t base, uint64_t count)
{
	if (count < 1 || count > IDMAP_COUNT_MAX)
		return "not 1 to 65536 ids";
	if (base < 1)
		return "the range cannot begin at root";
	/* UINT32_MAX is no id: chown(2). */
	if (base > UINT32_MAX - count)
		return "the range goes beyond the last id";
	/* Else who is outside would be shown as one who is inside. */
	if (count <= IDMAP_NOBODY && base <= IDMAP_NOBODY &&
	    IDMAP_NOBODY - base < count)
		return "the range has 65534 in it, which is nobody";
	return NULL;
}

int
idmap_valid(const struct idmap *m)
{
	return m->count == 0 ? m->base == 0
			     : idmap_problem(m->base, m->count) == NULL;
}

int
idmap_in(const struct idmap *m, uint32_t machine, uint32_t *volume)
{
	if (m->count == 0) {
		*volume = machine;
		return 0;
	}
	if (machine < m->base || machine - m->base >= m->count)
		return -1;
	*volume = machine - m->base;
	return 0;
}

uint32_t
idmap_name(const struct idmap *m, uint32_t machine)
{
	uint32_t id;

	return idmap_in(m, machine, &id) == 0 ? id : IDMAP_NOBODY;
}

uint32_t
idmap_out(const struct idmap *m, uint32_t volume)
{
	if (m->count == 0)
		return volume;
	if (volume < m->count)
		return m->base + volume;
	return IDMAP_NOBODY < m->count ? m->base + IDMAP_NOBODY : IDMAP_NOBODY;
}
