/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * fuse_dir: operations on names: look-up, making, links.  In fuse.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <linux/fuse.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/log.h"
#include "sailvold/change.h"
#include "sailvold/frontend.h"
#include "sailvold/journal.h"
#include "sailvold/overlay.h"
#include "sailvold/overlay_use.h"
#include "sailvold/passthrough.h"

static int
name_error(const char *name)
{
	size_t len = strlen(name);

	if (len > SAIL_NAME_MAX)
		return ENAMETOOLONG;
	if (name_is_reserved(name, len))
		return EPERM;
	return name_problem(name, len) == NULL ? 0 : EINVAL;
}

/* Numbers that git and rsync know a file by. */
static uint64_t
new_fileid(void)
{
	static uint64_t pool[64];
	static size_t left;
	uint64_t id;

	do {
		if (left == 0) {
			if (getrandom(pool, sizeof(pool), 0) !=
			    (ssize_t)sizeof(pool))
				fatal("getrandom");
			left = sizeof(pool) / sizeof(pool[0]);
		}
		id = pool[--left];
	} while (id <= 1);
	return id;
}

void
op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fuse_entry_param e;
	struct vn *dir, *vn;
	int error;

	if (door_lookup(req, name, parent))
		return;
	if (strlen(name) > SAIL_NAME_MAX) {
		fuse_reply_err(req, ENAMETOOLONG);
		return;
	}
	if ((error = node_dir(parent, &dir)) != 0 ||
	    (error = query_name(dir, name, strlen(name), &vn)) != 0) {
		request_fail(req, error);
		return;
	}
	if (vn != NULL) {
		node_reply(req, vn);
		return;
	}
	memset(&e, 0, sizeof(e));
	/* A reserved name is not there, and not for ever: it is not ours. */
	e.entry_timeout = FOREVER;
	fuse_reply_entry(req, &e);
}

void
op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t n)
{
	node_forget(ino, n);
	fuse_reply_none(req);
}

void
op_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *f)
{
	size_t i;

	for (i = 0; i < count; i++)
		node_forget(f[i].ino, f[i].nlookup);
	fuse_reply_none(req);
}

/* ---- making ------------------------------------------------------------------- */

/* Directory and free name for something new. */
static int
place_for(fuse_ino_t parent, const char *name, struct vn **dir)
{
	struct vn *vn;
	int error;

	if ((error = name_error(name)) != 0 ||
	    (error = node_dir(parent, dir)) != 0)
		return error;
	if ((*dir)->flags & VN_GONE)
		return ENOENT;
	if ((error = node_path_error(*dir, strlen(name))) != 0 ||
	    (error = query_name(*dir, name, strlen(name), &vn)) != 0)
		return error;
	return vn == NULL ? overlay_room(0) : EEXIST;
}

/* Of one whose ids the volume cannot have nothing is made: EOVERFLOW, as in a
   user namespace. */
static int
inherit(struct vn *vn, struct vn *dir, fuse_req_t req, mode_t mode)
{
	const struct fuse_ctx *ctx = fuse_req_ctx(req);

	vn->mode = mode & 07777;
	if (idmap_in(frontend_ids(), ctx->uid, &vn->uid) == -1)
		return EOVERFLOW;
	if (dir->mode & S_ISGID) {
		vn->gid = dir->gid;
		if (vn->type == ENTRY_DIR)
			vn->mode |= S_ISGID;
	} else if (idmap_in(frontend_ids(), ctx->gid, &vn->gid) == -1)
		return EOVERFLOW;
	vn->fileid = new_fileid();
	vn->mtime = vn->ctime = change_time();
	return 0;
}

/* The new thing into journal and memory; file: its overlay file, given to it. */
static int
make(struct vn *dir, const char *name, struct vn *vn, int file, int dirty)
{
	struct record r;
	struct change c;
	uint64_t unique = now.unique;
	int error;

	memset(&r, 0, sizeof(r));
	if ((error = change_begin(&c)) != 0)
		return error;
	r.parent = change_object(&c, dir);
	r.type = RECORD_MAKE;
	r.name = (const uint8_t *)name;
	r.name_len = strlen(name);
	r.ovl = vn->plan;
	r.time = vn->ctime;
	if (vn_entry(vn, &r.entry) == -1)
		c.error = EIO;
	r.unique = unique;
	change_add(&c, &r);
	if (dirty) {
		/* What the request did is the record before. */
		memset(&r, 0, sizeof(r));
		r.type = RECORD_DIRTY;
		r.ovl = vn->plan;
		change_add(&c, &r);
		now.unique = 0;
	}
	error = change_commit(&c);
	now.unique = unique;
	if (error != 0)
		return error;
	vn_set_ovl(vn, vn->plan);
	vn->plan = 0;
	vn->dirty = journal_end();
	if (vn->type == ENTRY_FILE) {
		vn->flags |= VN_LOCAL | VN_WHOLE;
		if (dirty)
			vn->flags |= VN_UNSETTLED;
		overlay_fd_set(vn, file, 1);
	}
	if ((vn->type == ENTRY_DIR && view_set_empty(vn) == -1) ||
	    view_set(dir, name, strlen(name), vn) == -1)
		fatal("view");
	change_touch(dir, vn->ctime);
	return 0;
}

/* Of a file without a writer the entry counts: the first has the same time. */
static int
set_mtime(int fd, struct timens t)
{
	struct timespec ts[2] = { { 0, UTIME_OMIT }, { t.sec, (long)t.nsec } };

	return futimens(fd, ts);
}

/* 0 and the new thing. */
static int
make_at(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
    uint8_t type, const char *target, int dirty, struct vn **out)
{
	struct vn *dir, *vn;
	int error, fd = -1, pooled;

	if ((error = place_for(parent, name, &dir)) != 0)
		return error;
	if (frontend_readonly())
		return EROFS;
	if (type == ENTRY_FILE && (error = use_room(1)) != 0)
		return error;
	if ((vn = vn_new(type)) == NULL)
		return ENOMEM;
	if ((error = inherit(vn, dir, req, mode)) != 0)
		goto fail;
	if (target != NULL && vn_set_target(vn, target, strlen(target)) == -1) {
		error = ENOMEM;
		goto fail;
	}
	pooled = type == ENTRY_FILE && dirty && pool_take(&vn->plan, &fd) == 0;
	if (!pooled && (vn->plan = overlay_number()) == 0) {
		error = errno;
		goto fail;
	}
	if (type == ENTRY_FILE &&
	    ((!pooled && (fd = overlay_create(vn->plan, 0)) == -1) ||
		((!dirty || pooled) && set_mtime(fd, vn->mtime) == -1))) {
		error = errno;
		goto fail;
	}
	if ((error = make(dir, name, vn, fd, dirty)) != 0)
		goto fail;
	*out = vn;
	return 0;
fail:
	if (fd != -1) {
		close(fd);
		(void)overlay_unlink(vn->plan);
		passthrough_forget(vn->plan);
	}
	vn_free(vn);
	return error;
}

static void
make_and_reply(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
    uint8_t type, const char *target)
{
	struct vn *vn;
	int error;

	if (resent_answer(req))
		return;
	error = make_at(req, parent, name, mode, type, target, 0, &vn);
	if (error != 0)
		request_fail(req, error);
	else
		node_reply(req, vn);
}

void
op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
    dev_t rdev)
{
	uint8_t type;

	(void)rdev;
	switch (mode & S_IFMT) {
	case 0:
	case S_IFREG:
		type = ENTRY_FILE;
		break;
	case S_IFIFO:
		type = ENTRY_FIFO;
		break;
	case S_IFSOCK:
		type = ENTRY_SOCKET;
		break;
	default:
		fuse_reply_err(req, EPERM);
		return;
	}
	make_and_reply(req, parent, name, mode, type, NULL);
}

void
op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	make_and_reply(req, parent, name, mode, ENTRY_DIR, NULL);
}

void
op_symlink(fuse_req_t req, const char *target, fuse_ino_t parent,
    const char *name)
{
	if (strlen(target) > SAIL_TARGET_MAX) {
		fuse_reply_err(req, ENAMETOOLONG);
		return;
	}
	make_and_reply(req, parent, name, 0777, ENTRY_SYMLINK, target);
}

void
op_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
    struct fuse_file_info *fi)
{
	int error, writes = (fi->flags & O_ACCMODE) != O_RDONLY;
	struct fuse_entry_param e;
	struct fuse_open_out out;
	struct vn *vn;

	if (resent_answer(req))
		return;
	if (!handle_room()) { /* before the name is there */
		request_fail(req, ENFILE);
		return;
	}
	error = make_at(req, parent, name, mode, ENTRY_FILE, NULL, writes, &vn);
	/*
	 * The kernel took the name for free, before a reload, and has not asked
	 * whether the caller may open what is there: now it looks, and asks.
	 */
	if (error == EEXIST && !(fi->flags & O_EXCL))
		error = ESTALE;
	if (error != 0) {
		request_fail(req, error);
		return;
	}
	if ((error = node_entry(vn, &e)) != 0) {
		fuse_reply_err(req, error);
		return;
	}
	now.roomed = INT_MAX; /* it is made: not done again */
	if ((error = file_open_handle(vn, (uint32_t)fi->flags, &out)) != 0) {
		node_forget(e.ino, 1);
		request_fail(req, error);
		return;
	}
	if (file_reply_create(req, vn, &e, &out) == -1)
		node_forget(e.ino, 1);
}

/* ---- links --------------------------------------------------------------------------- */

void
op_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent, const char *name)
{
	struct vn *dir, *vn;
	struct record r;
	struct change c;
	int error;

	if (resent_answer(req))
		return;
	if ((error = place_for(parent, name, &dir)) != 0 ||
	    (error = node_get(ino, &vn)) != 0)
		goto fail;
	error = EPERM;
	if (vn->type == ENTRY_DIR)
		goto fail;
	error = ENOENT;
	if (vn->flags & VN_GONE)
		goto fail;
	if ((error = change_begin(&c)) != 0)
		goto fail;
	memset(&r, 0, sizeof(r));
	r.type = RECORD_LINK;
	r.parent = change_object(&c, dir);
	r.ovl = change_object(&c, vn);
	r.name = (const uint8_t *)name;
	r.name_len = strlen(name);
	r.time = change_time();
	change_add(&c, &r);
	if ((error = change_commit(&c)) != 0)
		goto fail;
	vn->links++;
	vn->ctime = r.time;
	vn->dirty = journal_end();
	if (view_set(dir, name, strlen(name), vn) == -1)
		fatal("view");
	change_touch(dir, r.time);
	node_reply(req, vn);
	return;
fail:
	request_fail(req, error);
}
