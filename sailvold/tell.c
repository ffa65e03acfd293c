/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * tell: what the kernel is to forget after a reload, for notify.  In fuse.
 */
#include <string.h>

#include "lib/log.h"
#include "lib/path.h"
#include "sailvold/tell.h"

void
tell_begin(struct tell *t, size_t max)
{
	memset(t, 0, sizeof(*t));
	wbuf_init(&t->w, max);
	t->room = max - max / 8;
}

static void
encode(struct tell *t, enum tell_kind kind, uint32_t idx, const void *name,
    size_t len)
{
	if (t->w.error == 0 && t->w.len + TELL_HEAD_BYTES + len <= t->w.max) {
		tell_encode(&t->w, (uint8_t)kind, inode_id(idx), name, len);
		return;
	}
	if (!t->lost)
		log_warnx("reload: more names changed than the kernel can be "
			  "told of");
	t->lost = 1;
}

/* The name in the root that it is below, 0: none. */
static uint32_t
top_of(uint32_t idx)
{
	int depth;

	for (depth = 0; depth <= SAIL_DEPTH_MAX; depth++) {
		if (idx == 0 || idx == INODE_ROOT ||
		    inode_slot(idx)->kind == INODE_DETACHED ||
		    inode_slot(idx)->name_len == 0)
			return 0;
		if (inode_slot(idx)->parent == INODE_ROOT)
			return idx;
		idx = inode_slot(idx)->parent;
	}
	return 0;
}

void
tell_add(struct tell *t, enum tell_kind kind, uint32_t idx, const void *name,
    size_t len)
{
	const uint8_t *top_name;
	uint32_t top;

	if (t->w.len + TELL_HEAD_BYTES + len <= t->room) {
		encode(t, kind, idx, name, len);
		return;
	}
	if (!t->crowded)
		log_info("reload: the kernel forgets whole directories");
	t->crowded = 1;
	if ((top = top_of(idx)) == 0) {
		encode(t, kind, idx, name, len);
		return;
	}
	if (top == t->top)
		return;
	t->top = top;
	top_name = inode_name(top, &len);
	encode(t, TELL_ENTRY, INODE_ROOT, top_name, len);
}
