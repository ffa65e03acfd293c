/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * fuse_ahead: who reads one small file after the other gets those behind what
 * is at hand before it comes there.  In fuse.
 */
#include "sailvold/bundle.h"
#include "sailvold/content.h"
#include "sailvold/frontend.h"

#define NAMES_MAX 4096 /* looked at, each time */

/* The next name in the order of paths, as far as it is in memory; NULL. */
static struct vname *
next_name(struct vname *n)
{
	uint8_t from[SAIL_NAME_MAX];
	struct vname *next, *at;
	size_t len;
	int rc;

	if (n->vn != NULL && n->vn->type == ENTRY_DIR && n->vn->dir != NULL &&
	    view_next(n->vn, "", 0, 1, &next, from, &len) == 1)
		return next;
	for (at = n; at != NULL; at = at->dir->name) {
		rc =
		    view_next(at->dir, at->name, at->len, 0, &next, from, &len);
		if (rc != 0)
			return rc == 1 ? next : NULL;
	}
	return NULL;
}

void
file_ahead(struct vn *vn)
{
	struct vname *n = vn->name;
	int i;

	if (!bundle_ran_half() || n == NULL)
		return;
	for (i = 0; i < NAMES_MAX; i++) {
		if ((n = next_name(n)) == NULL)
			return;
		if (n->vn != NULL && n->vn->type == ENTRY_FILE &&
		    content_bring_small(n->vn))
			return;
	}
}
