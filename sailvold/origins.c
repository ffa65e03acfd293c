/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * origins: before a reload moves what is open, the objects are asked for above
 * clean files of which nothing is in memory: where the content of these is, the
 * origin of the object says, and nothing else does.  In fuse.
 */
#include "sailvold/frontend.h"

struct asking {
	int again; /* nothing is asked for that is not yet */
	int waits;
};

static uint32_t
object_above(uint32_t idx)
{
	int depth;

	if (inode_slot(idx)->kind != INODE_NAMED || inode_vn(idx) != NULL)
		return 0;
	for (depth = 0; depth <= SAIL_DEPTH_MAX; depth++) {
		if (idx == INODE_ROOT || inode_slot(idx)->name_len == 0)
			return 0;
		idx = inode_slot(idx)->parent;
		if (inode_slot(idx)->kind != INODE_NAMED)
			break;
	}
	return inode_slot(idx)->kind == INODE_OBJECT ? idx : 0;
}

static void
look(struct handle *h, void *arg)
{
	struct asking *a = arg;
	uint32_t idx = object_above(h->inode);
	struct vn *vn;

	if (idx == 0 || (a->again && !query_asks(inode_slot(idx)->ovl)))
		return;
	a->waits |= node_get_slot(idx, &vn) == E_WAIT;
}

int
origins_ask(int again)
{
	struct asking a = { .again = again };

	handle_foreach(look, &a);
	return a.waits;
}
