/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * resent: a request that the kernel sends again after a takeover, and that the
 * journal says was done, is answered from there: it is done once.  In fuse.
 */
#include <fcntl.h>
#include <linux/fuse.h>
#include <string.h>

#include "sailvold/frontend.h"
#include "sailvold/journal.h"

static int
object_of(const struct journal_done *d, struct vn **vn)
{
	uint32_t idx;

	if ((*vn = view_object(d->ovl)) != NULL)
		return 0;
	if ((idx = inode_by_ovl(d->ovl)) != 0)
		return node_get_slot(idx, vn);
	return query_object(d->ovl);
}

static void
created(fuse_req_t req, struct vn *vn)
{
	const struct fuse_create_in *in = request_body(sizeof(*in));
	struct fuse_entry_param e;
	struct fuse_open_out out;
	int error;

	if ((error = node_entry(vn, &e)) != 0) {
		fuse_reply_err(req, error);
		return;
	}
	error = file_open_handle(vn,
	    in != NULL ? in->flags & ~(uint32_t)O_TRUNC : 0, &out);
	if (error != 0) {
		node_forget(e.ino, 1);
		request_fail(req, error);
		return;
	}
	if (file_reply_create(req, vn, &e, &out) == -1)
		node_forget(e.ino, 1);
}

int
resent_answer(fuse_req_t req)
{
	const struct journal_done *d;
	struct vn *vn;
	int error;

	if (!now.resent || (d = journal_find(now.unique)) == NULL)
		return 0;
	if ((error = torn_wait()) != 0) {
		request_fail(req, error);
		return 1;
	}
	if (d->result != 0 ||
	    (d->type != RECORD_MAKE && d->type != RECORD_LINK)) {
		fuse_reply_err(req, d->result);
		return 1;
	}
	if ((error = object_of(d, &vn)) != 0) {
		request_fail(req, error);
		return 1;
	}
	if (now.opcode == FUSE_CREATE)
		created(req, vn);
	else
		node_reply(req, vn);
	return 1;
}
