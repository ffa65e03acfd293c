/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * fuse_push: the kernel gets the bytes of a small file that are at hand before
 * its open is answered, so that it does not ask for them.  In fuse.
 */
#include <sys/uio.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <string.h>

#include "lib/log.h"
#include "sailvold/content.h"
#include "sailvold/frontend.h"

#define PUSH_MAX (64 * 1024)

static int refused; /* a kernel that cannot */

/*
 * A page that is being read is locked until the READ is answered, and a store
 * waits for it: from this process that would be for ever.  But each
 * READ, also one that reads ahead, and each mapping hold the file that they
 * came through, and its RELEASE comes after them; so of a file that had no
 * handle before this one none is under way, nor after a takeover, since the
 * table of handles outlives this process.  The node cannot be on its way out
 * either: the open that waits for us holds it.  What else locks pages
 * (reclaim, dropping of caches) waits for nobody when they are clean, and those
 * of a clean file are.
 *
 * The bytes are all of the file, so its size stays what the look-up said.
 */
void
file_push(struct vn *vn, uint32_t flags, const struct fuse_open_out *out)
{
	static char buf[PUSH_MAX];
	struct iovec iov = { buf, 0 };
	struct inode_slot *s = inode_slot(vn->slot);
	struct extent x;

	if (refused || inode_opens(vn->slot) != 1 || s->pages || now.resent ||
	    !(out->open_flags & FOPEN_KEEP_CACHE) ||
	    (flags & (O_DIRECT | O_TRUNC)) || vn->size == 0 ||
	    vn->size > sizeof(buf) || !content_at_hand(vn, &x) ||
	    x.len != vn->size)
		return;
	iov.iov_len = x.len;
	if (preadv2(x.fd, &iov, 1, x.at, x.memory ? 0 : RWF_NOWAIT) !=
	    (ssize_t)x.len)
		return;
	s->pages = 1;
	/* ENOENT: it does not know the node (any more). */
	if (request_store(inode_id(vn->slot), buf, x.len) == 0 ||
	    errno == ENOENT || errno == ENODEV || errno == ENOMEM)
		return;
	log_warn("content for the kernel's cache");
	refused = 1;
}
