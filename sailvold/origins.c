/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * origins: before a reload moves what is open, the objects are asked for above
 * clean files of which nothing is in memory: where the content of these is, the
 * origin of the object says, and nothing else does; or, where that has moved
 * already, what comes with SWITCH.  In fuse.
 */
#include <stdlib.h>

#include "lib/log.h"
#include "sailvold/frontend.h"

static struct diff_origin *was;
static size_t nwas;

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

void
origins_end(void)
{
	free(was);
	was = NULL;
	nwas = 0;
}

int
origins_begin(const void *data, size_t len)
{
	struct diff_origin o, *more;
	struct rbuf r;
	int rc;

	origins_end();
	rbuf_init(&r, data, len);
	while ((rc = diff_origin_decode(&r, &o)) == 1) {
		/* Nothing below it was looked up. */
		if (inode_by_ovl(o.ovl) == 0)
			continue;
		if ((more = reallocarray(was, nwas + 1, sizeof(o))) == NULL)
			fatal("origins");
		was = more;
		was[nwas++] = o;
	}
	return rc;
}

int
origins_was(uint64_t ovl, struct diff_origin *o)
{
	size_t i;

	for (i = 0; i < nwas; i++)
		if (was[i].ovl == ovl) {
			*o = was[i];
			return 1;
		}
	return 0;
}
