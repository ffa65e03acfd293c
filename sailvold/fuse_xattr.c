/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * fuse_xattr: extended attributes: user.* alone; the others are refused, never
 * accepted and forgotten.  In fuse.
 */
#include <sys/xattr.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/log.h"
#include "sailvold/change.h"
#include "sailvold/frontend.h"
#include "sailvold/journal.h"
#include "sailvold/overlay.h"

static int
is_user(const char *name)
{
	return strncmp(name, "user.", 5) == 0 && name[5] != '\0';
}

static int
change_xattr(fuse_ino_t ino, const char *name, const void *value, size_t size,
    int flags)
{
	uint8_t *out = NULL;
	struct record r;
	struct change c;
	struct vn *vn;
	size_t len = 0;
	int error;

	if (!is_user(name))
		return EOPNOTSUPP;
	if (door_is(ino))
		return EPERM;
	if ((error = node_get(ino, &vn)) != 0 ||
	    (value != NULL && (error = overlay_room(size)) != 0) ||
	    (error = change_begin(&c)) != 0)
		return error;
	if (xattrs_set(vn->xattrs, vn->xattrs_len, name, value, size, flags,
		&out, &len) == -1) {
		error = errno;
		change_abort(&c);
		return error;
	}
	/* The same value is no change, as of ext4(5): its ctime stays. */
	if (len == vn->xattrs_len &&
	    (len == 0 || memcmp(out, vn->xattrs, len) == 0)) {
		change_abort(&c);
		free(out);
		return 0;
	}
	memset(&r, 0, sizeof(r));
	r.type = RECORD_XATTR;
	r.time = change_time();
	r.entry.xattrs = out;
	r.entry.xattrs_len = len;
	if (vn->ovl == 0 && (vn->flags & VN_GONE))
		change_abort(&c);
	else {
		r.ovl = change_object(&c, vn);
		change_add(&c, &r);
		error = change_commit(&c);
	}
	if (error == 0) {
		if (vn_set_xattrs(vn, out, len) == -1)
			fatal("xattrs");
		vn->ctime = r.time;
		vn->dirty = journal_end();
	}
	free(out);
	return error;
}

void
op_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value,
    size_t size, int flags)
{
	if (!resent_answer(req))
		request_fail(req, change_xattr(ino, name, value, size, flags));
}

void
op_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
	if (!resent_answer(req))
		request_fail(req, change_xattr(ino, name, NULL, 0, 0));
}

void
op_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
	const uint8_t *value;
	struct vn *vn;
	size_t len;
	int error;

	error = EOPNOTSUPP;
	if (!is_user(name))
		goto fail;
	error = ENODATA;
	if (door_is(ino))
		goto fail;
	if ((error = node_get(ino, &vn)) != 0)
		goto fail;
	value = xattrs_get(vn->xattrs, vn->xattrs_len, name, &len);
	if (value == NULL) {
		error = ENODATA;
		goto fail;
	}
	if (size == 0)
		fuse_reply_xattr(req, len);
	else if (size < len)
		fuse_reply_err(req, ERANGE);
	else
		fuse_reply_buf(req, (const char *)value, len);
	return;
fail:
	request_fail(req, error);
}

void
op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
	struct xattr_iter it;
	const char *name;
	const uint8_t *value;
	size_t len, vlen, total = 0;
	struct vn *vn;
	char *buf;
	int error;

	if (door_is(ino)) {
		if (size == 0)
			fuse_reply_xattr(req, 0);
		else
			fuse_reply_buf(req, NULL, 0);
		return;
	}
	if ((error = node_get(ino, &vn)) != 0) {
		request_fail(req, error);
		return;
	}
	if ((buf = malloc(vn->xattrs_len + 1)) == NULL) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	xattrs_first(&it, vn->xattrs, vn->xattrs_len);
	/* Each has a length of its own in the encoding: NULs find room. */
	while (xattrs_next(&it, &name, &len, &value, &vlen) == 1) {
		memcpy(buf + total, name, len);
		buf[total + len] = '\0';
		total += len + 1;
	}
	if (size == 0)
		fuse_reply_xattr(req, total);
	else if (size < total)
		fuse_reply_err(req, ERANGE);
	else
		fuse_reply_buf(req, buf, total);
	free(buf);
}
