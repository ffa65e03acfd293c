/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * given: look-ups that are counted for an answer that is not written yet.  In
 * fuse.
 */
#include <stdlib.h>

#include "lib/log.h"
#include "sailvold/frontend.h"
#include "sailvold/given.h"
#include "sailvold/inode.h"

struct list {
	uint32_t *idx;
	size_t n, cap;
};

static struct list given;     /* by the answer that is made now */
static struct list unwritten; /* by that of the fuse before this one */
static uint64_t unwritten_unique;

/* A look-up that finds no room here is one that is never forgotten if fuse dies
   just now: not worth an error. */
static int
list_add(struct list *l, uint32_t idx)
{
	size_t cap = l->cap == 0 ? 64 : l->cap * 2;
	uint32_t *p;

	if (l->n == l->cap) {
		if ((p = reallocarray(l->idx, cap, sizeof(*p))) == NULL)
			return -1;
		l->idx = p;
		l->cap = cap;
	}
	l->idx[l->n++] = idx;
	return 0;
}

static void
set_flag(uint32_t idx, int on)
{
	struct inode_slot *s = inode_slot(idx);

	__atomic_store_n(&s->flags,
	    on ? s->flags | INODE_GIVEN : s->flags & ~INODE_GIVEN,
	    __ATOMIC_SEQ_CST);
}

/*
 * The flag goes before the request has come again, since nobody tells when it
 * will not: what this process does not come to is counted for ever.
 */
static void
find(uint32_t idx, void *arg)
{
	(void)arg;
	if (!(inode_slot(idx)->flags & INODE_GIVEN))
		return;
	set_flag(idx, 0);
	(void)list_add(&unwritten, idx);
}

void
given_open(int takeover)
{
	given.n = unwritten.n = 0;
	if (!takeover)
		return;
	unwritten_unique = *inode_giving();
	inode_foreach(find, NULL);
}

void
given_begin(uint64_t unique, int resent)
{
	size_t i;

	/* Any other was answered, or nobody waits for it. */
	if (resent && unique == unwritten_unique && unwritten.n > 0) {
		log_debug("%zu look-ups were not answered", unwritten.n);
		for (i = 0; i < unwritten.n; i++)
			node_forget(inode_id(unwritten.idx[i]), 1);
		unwritten.n = 0;
	}
	__atomic_store_n(inode_giving(), unique, __ATOMIC_SEQ_CST);
}

void
given_note(uint32_t idx)
{
	if (idx >= INODE_FIRST && !(inode_slot(idx)->flags & INODE_GIVEN) &&
	    list_add(&given, idx) == 0)
		set_flag(idx, 1);
}

void
given_drop(uint32_t idx)
{
	if (inode_slot(idx)->flags & INODE_GIVEN)
		set_flag(idx, 0);
}

void
given_end(void)
{
	size_t i;

	for (i = 0; i < given.n; i++)
		given_drop(given.idx[i]);
	given.n = 0;
}
