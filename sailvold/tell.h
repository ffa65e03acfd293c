/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * tell: what the kernel is to forget after a reload, for notify.  In fuse.
 */
#ifndef SAILVOLD_TELL_H
#define SAILVOLD_TELL_H

#include "sailvold/inode.h"
#include "sailvold/sailvold_imsg.h"

struct tell {
	struct wbuf w; /* tell_encode() */
	size_t room;   /* bytes for one thing after the other */
	uint32_t top;  /* told instead of them lately */
	int crowded, lost;
};
/* Up to max bytes; the last eighth is for what is told instead of many. */
void tell_begin(struct tell *, size_t max);
/*
 * Of a slot that the kernel knows, which is a directory where there is a name.
 * When there is no room for each, the name in the root is told that it is below:
 * the kernel forgets all below it.
 */
void tell_add(struct tell *, enum tell_kind, uint32_t idx, const void *name,
    size_t len);

#endif
