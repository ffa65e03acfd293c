/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * arena: the memory of names of the shared inode table.  In fuse.
 *
 * Freed pieces are chained by size: the heads are private, the next one stands
 * in the piece.  Gaps between the names of a table that was taken over are used
 * up from the front, like what was never used: where they were cut up by size,
 * each takeover would leave pieces of sizes that nobody asks for.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/log.h"
#include "sailvold/arena.h"

#define CLASSES (ARENA_LEN_MAX / ARENA_UNIT + 2)
#define NO_PIECE UINT32_MAX
#define GAPS_LOOK 8 /* that are too small, of one name */

/* It stands in itself. */
struct gap {
	uint32_t next;
	uint32_t units;
};
#define GAP_MIN (sizeof(struct gap) / ARENA_UNIT)

static struct {
	uint8_t *memory;
	uint32_t units;
	uint32_t *top;
	uint32_t freed[CLASSES];
	uint32_t gap, gap_units; /* what is left of the first */
	uint32_t gap_next;       /* NO_PIECE: there is no other */
	uint8_t *claimed;        /* a bit for each unit below top; or NULL */
} a;

void
arena_open(uint8_t *memory, uint32_t units, uint32_t *top)
{
	uint32_t i;

	a.memory = memory;
	a.units = units;
	a.top = top;
	a.gap_units = 0;
	a.gap_next = NO_PIECE;
	free(a.claimed);
	a.claimed = NULL;
	for (i = 0; i < CLASSES; i++)
		a.freed[i] = NO_PIECE;
}

uint32_t
arena_units(size_t len)
{
	return (uint32_t)((len + ARENA_UNIT - 1) / ARENA_UNIT);
}

static uint8_t *
at(uint32_t off)
{
	return a.memory + (size_t)off * ARENA_UNIT;
}

const uint8_t *
arena_at(uint32_t off)
{
	return at(off);
}

/* Nobody writes there: so it ends, and the next process makes all of it anew. */
static void
check_link(uint32_t next, uint32_t n)
{
	if (next != NO_PIECE && (next >= a.units || n > a.units - next))
		fatalx("inode table: a free piece is not sound");
}

/* The first of a size. */
static int
take_piece(uint32_t n, uint32_t *off)
{
	if ((*off = a.freed[n]) == NO_PIECE)
		return -1;
	memcpy(&a.freed[n], at(*off), sizeof(a.freed[n]));
	check_link(a.freed[n], n);
	return 0;
}

static void
give_piece(uint32_t off, uint32_t n)
{
	memcpy(at(off), &a.freed[n], sizeof(off));
	a.freed[n] = off;
}

static void
next_gap(void)
{
	struct gap g;

	if (a.gap_units > 0)
		give_piece(a.gap, a.gap_units);
	memcpy(&g, at(a.gap_next), sizeof(g));
	check_link(a.gap_next, g.units);
	check_link(g.next, GAP_MIN);
	a.gap = a.gap_next;
	a.gap_units = g.units;
	a.gap_next = g.next;
}

/* Those that are too small, look of them at most, become pieces. */
static int
take_gap(uint32_t n, uint32_t *off, uint32_t look)
{
	for (; n > a.gap_units; next_gap())
		if (a.gap_next == NO_PIECE || look-- == 0)
			return -1;
	*off = a.gap;
	a.gap += n;
	a.gap_units -= n;
	return 0;
}

static int
take_new(uint32_t n, uint32_t *off)
{
	if (n > a.units - *a.top)
		return -1;
	*off = *a.top;
	*a.top += n;
	return 0;
}

/* The end of a larger one. */
static int
take_part(uint32_t n, uint32_t *off)
{
	uint32_t i;

	for (i = n + 1; i < CLASSES; i++) {
		if (take_piece(i, off) == -1)
			continue;
		give_piece(*off, i - n);
		*off += i - n;
		return 0;
	}
	return -1;
}

int
arena_take(const void *name, size_t len, uint32_t *off)
{
	uint32_t n = arena_units(len);

	if (n == 0 || n >= CLASSES) {
		errno = ENAMETOOLONG;
		return -1;
	}
	if (take_piece(n, off) == -1 && take_gap(n, off, GAPS_LOOK) == -1 &&
	    take_new(n, off) == -1 && take_part(n, off) == -1 &&
	    take_gap(n, off, UINT32_MAX) == -1) {
		errno = ENOSPC;
		return -1;
	}
	memcpy(at(*off), name, len);
	return 0;
}

void
arena_give(uint32_t off, size_t len)
{
	uint32_t n = arena_units(len);

	/* Not before the slot has lost it. */
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	if (n != 0 && n < CLASSES)
		give_piece(off, n);
}

/* ---- after a takeover ----------------------------------------------------- */

static int
is_claimed(uint32_t off)
{
	return a.claimed[off / 8] >> off % 8 & 1;
}

int
arena_has(uint32_t off, size_t len)
{
	return off < *a.top && arena_units(len) <= *a.top - off;
}

int
arena_claims(void)
{
	if ((a.claimed = calloc(*a.top / 8 + (size_t)1, 1)) == NULL)
		return -1;
	return 0;
}

int
arena_claim(uint32_t off, size_t len)
{
	uint32_t n = arena_units(len), i;

	if (!arena_has(off, len))
		return -1;
	for (i = off; i < off + n; i++)
		if (is_claimed(i))
			return -1;
	for (i = off; i < off + n; i++)
		a.claimed[i / 8] |= (uint8_t)(1 << i % 8);
	return 0;
}

/* The first that is like that, or end. */
static uint32_t
next_like(int claimed, uint32_t off, uint32_t end)
{
	uint8_t none = claimed ? 0 : 0xff;

	while (off < end && is_claimed(off) != claimed)
		off += off % 8 == 0 && a.claimed[off / 8] == none ? 8 : 1;
	return off < end ? off : end;
}

void
arena_claimed(void)
{
	uint32_t off, end = *a.top, to, last = NO_PIECE;
	struct gap g = { NO_PIECE, 0 };

	for (off = 0;; off = to) {
		off = next_like(0, off, end);
		if ((to = next_like(1, off, end)) == end)
			break;
		if ((g.units = to - off) < GAP_MIN) {
			give_piece(off, g.units);
			continue;
		}
		memcpy(at(off), &g, sizeof(g));
		/* Behind that which was the last. */
		if (last == NO_PIECE)
			a.gap_next = off;
		else
			memcpy(at(last), &off, sizeof(off));
		last = off;
	}
	*a.top = off;
	free(a.claimed);
	a.claimed = NULL;
}
