/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * arena: the names of the shared inode table (inode.h), in memory that the
 * parent keeps, in units of 4 bytes.  What is free is known to this process
 * alone: after a takeover the names say it, each of which is claimed.  In fuse.
 */
#ifndef SAILVOLD_ARENA_H
#define SAILVOLD_ARENA_H

#include <stddef.h>
#include <stdint.h>

#include "lib/hash.h"
#include "lib/path.h"

#define ARENA_UNIT 4
#define ARENA_LEN_MAX (HASH_LEN + SAIL_PATH_MAX) /* bytes of a name */

/* top, in the table: no unit from there on was ever used. */
void arena_open(uint8_t *memory, uint32_t units, uint32_t *top);
uint32_t arena_units(size_t len);
const uint8_t *arena_at(uint32_t off);
/* Puts a name there.  -1 and ENOSPC. */
int arena_take(const void *name, size_t len, uint32_t *off);
/*
 * Something is written into the piece: no slot may have it any more, whenever
 * this process ends.
 */
void arena_give(uint32_t off, size_t len);

/* ---- after a takeover, before anything is taken */
/* 1: a name can be there. */
int arena_has(uint32_t off, size_t len);
int arena_claims(void); /* they begin; -1 and ENOMEM */
/* A name is there.  -1: it cannot be, or another has a part of that. */
int arena_claim(uint32_t off, size_t len);
/* Those were all: what lies between them is free. */
void arena_claimed(void);

#endif
