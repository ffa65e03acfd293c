/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * node: node ids and the things that they stand for; look-ups given to the
 * kernel and taken back.  In fuse.
 */
#include <errno.h>
#include <string.h>

#include "lib/chunklist.h"
#include "lib/log.h"
#include "lib/rest.h"
#include "sailvold/change.h"
#include "sailvold/frontend.h"
#include "sailvold/given.h"
#include "sailvold/journal.h"
#include "sailvold/overlay.h"
#include "sailvold/overlay_use.h"
#include "sailvold/passthrough.h"

static void
bind_slot(uint32_t idx, struct vn *vn)
{
	vn->slot = idx;
	inode_set_vn(idx, vn);
}

static int resolve(uint32_t, struct vn **, int);

/*
 * The name of a clean thing was taken away by a fuse that died before it had
 * written here where its content is: in its directory's origin, under the name.
 */
static int
resolve_removed(uint32_t idx, int depth)
{
	uint8_t path[SAIL_PATH_MAX + 1 + SAIL_NAME_MAX];
	struct inode_slot *s = inode_slot(idx);
	struct hash commit;
	const uint8_t *name;
	struct vn *dir;
	size_t len, n;
	int error;

	if ((error = resolve(s->parent, &dir, depth + 1)) != 0)
		return error;
	name = inode_name(idx, &n);
	if (dir->type != ENTRY_DIR || vn_origin(dir, &commit, path, &len) == -1)
		goto stale;
	if (len > 0)
		path[len++] = '/';
	memcpy(path + len, name, n);
	if (inode_detach(idx, commit.b, path, len + n) == -1)
		goto stale;
	return query_detached(idx);
stale:
	inode_make_stale(idx);
	return ESTALE;
}

/*
 * Of a slot that a process before this one filled, or whose thing was dropped
 * from memory: asked for from the root down.  ENOENT: it went, or a directory
 * above it, and nothing has its name.
 */
static int
resolve(uint32_t idx, struct vn **vn, int depth)
{
	struct inode_slot *s = inode_slot(idx);
	const uint8_t *name;
	struct vn *dir;
	size_t len;
	int error;

	if ((*vn = inode_vn(idx)) != NULL)
		return 0;
	switch (s->kind) {
	case INODE_OBJECT:
		if ((*vn = view_object(s->ovl)) != NULL) {
			bind_slot(idx, *vn);
			return 0;
		}
		return query_object(s->ovl);
	case INODE_DETACHED:
		return query_detached(idx);
	case INODE_NAMED:
		break;
	default:
		return s->flags & INODE_GONE ? ENOENT : ESTALE;
	}
	if (depth > SAIL_DEPTH_MAX)
		return ESTALE;
	if (s->flags & INODE_REMOVED)
		return resolve_removed(idx, depth);
	if ((error = resolve(s->parent, &dir, depth + 1)) != 0)
		return error;
	if (dir->type != ENTRY_DIR)
		return ESTALE;
	name = inode_name(idx, &len);
	if ((error = query_name(dir, (const char *)name, len, vn)) != 0)
		return error;
	if (*vn == NULL || ((*vn)->slot != 0 && (*vn)->slot != idx))
		return ESTALE;
	bind_slot(idx, *vn);
	if ((*vn)->ovl != 0)
		inode_set_ovl(idx, (*vn)->ovl);
	return 0;
}

int
node_path_error(const struct vn *dir, size_t len)
{
	const struct origin *top = view_root()->origin;
	uint32_t idx;
	size_t n;
	int depth = 1;

	if (top != NULL && top->len > 0)
		len += top->len + (size_t)1;
	for (idx = dir->slot; idx != 0 && idx != INODE_ROOT;
	     idx = inode_slot(idx)->parent) {
		(void)inode_name(idx, &n);
		len += n + 1;
		if (++depth > SAIL_DEPTH_MAX || len > SAIL_PATH_MAX)
			return ENAMETOOLONG;
	}
	return 0;
}

int
node_get_slot(uint32_t idx, struct vn **vn)
{
	int error;

	*vn = NULL;
	error = resolve(idx, vn, 0);
	return error == ENOENT ? ESTALE : error;
}

static int
get(fuse_ino_t ino, struct vn **vn)
{
	uint32_t idx = inode_index(ino);

	*vn = NULL;
	if (door_is(ino))
		return EPERM; /* nothing of it can be changed */
	if (idx == 0)
		return ESTALE;
	return resolve(idx, vn, 0);
}

/* ESTALE: the kernel looks the name up and opens again. */
int
node_get(fuse_ino_t ino, struct vn **vn)
{
	int error = get(ino, vn);

	return error == ENOENT ? ESTALE : error;
}

/*
 * In a directory that went there is nothing, as in one that was removed: not
 * ESTALE, after which the kernel does not try mkdir, symlink, mknod and link
 * again, nor anything where a program stands in it.
 */
int
node_dir(fuse_ino_t ino, struct vn **vn)
{
	int error;

	if ((error = get(ino, vn)) != 0)
		return error;
	return (*vn)->type == ENTRY_DIR ? 0 : ENOTDIR;
}

/* An object whose slot lost the name that it had has another. */
static void
renew_name(struct vn *vn)
{
	struct inode_slot *s = inode_slot(vn->slot);

	if (s->kind != INODE_OBJECT || s->name_len != 0 || vn->name == NULL ||
	    vn->name->dir->slot == 0 || vn->slot < INODE_FIRST)
		return;
	if (inode_rename(vn->slot, vn->name->dir->slot, vn->name->name,
		vn->name->len) == -1)
		log_warn("inode table");
}

/*
 * The slot that the kernel has it under, of a fuse before this one, or since
 * before a reload, or before it was dropped from memory; 0: none.
 */
static uint32_t
known_slot(const struct vn *vn, uint32_t parent)
{
	uint32_t idx = 0;

	if (vn->ovl != 0 && (idx = inode_by_ovl(vn->ovl)) != 0)
		return idx;
	if (parent == 0 || vn->name == NULL)
		return 0;
	idx = inode_by_name(parent, vn->name->name, vn->name->len);
	if (idx == 0 || inode_slot(idx)->kind != INODE_NAMED ||
	    inode_vn(idx) != NULL)
		return 0;
	return idx;
}

static void
bind_known(uint32_t idx, struct vn *vn)
{
	bind_slot(idx, vn);
	if (vn->ovl != 0 && inode_slot(idx)->kind == INODE_NAMED)
		inode_set_ovl(idx, vn->ovl);
}

void
node_known(struct vn *vn)
{
	uint32_t idx;

	if (vn->slot != 0 || vn->name == NULL)
		return;
	if ((idx = known_slot(vn, vn->name->dir->slot)) != 0)
		bind_known(idx, vn);
}

uint32_t
node_slot(struct vn *vn)
{
	const char *name = vn->name != NULL ? vn->name->name : "";
	size_t len = vn->name != NULL ? vn->name->len : 0;
	uint32_t idx, parent = 0;

	if (vn->slot != 0) {
		renew_name(vn);
		return vn->slot;
	}
	if (vn->name != NULL && (parent = vn->name->dir->slot) == 0)
		parent = node_slot(vn->name->dir);
	if ((idx = known_slot(vn, parent)) == 0) {
		if (parent == 0 && vn->ovl == 0) {
			errno = ESTALE;
			return 0;
		}
		idx = inode_new(parent == 0 ? INODE_ROOT : parent, name,
		    parent == 0 ? 0 : len, vn->ovl);
		if (idx == 0)
			return 0;
	}
	bind_known(idx, vn);
	return idx;
}

/* ---- attributes ------------------------------------------------------------------ */

/* 1: st is that of the overlay file; 0: nobody needs it; -1: it cannot be had,
   and what was known before may be less than what programs have written. */
static int
refresh(struct vn *vn, struct stat *st)
{
	struct entry e = { .size = vn->size,
		.mtime = vn->mtime,
		.ctime = vn->ctime };
	int fd;

	if (!(vn->flags & VN_LOCAL) ||
	    (!(vn->flags & VN_UNSETTLED) && !passthrough_writers(vn)))
		return 0;
	if ((fd = overlay_fd(vn)) == -1 || fstat(fd, st) == -1)
		return -1;
	if (!writer_look(vn->ovl, &e, st))
		return 1;
	if (vn->slot != 0)
		inode_slot(vn->slot)->untold = 1;
	/* Settled, and written to since: no write told us. */
	if (!(vn->flags & VN_UNSETTLED) && writer_begin(vn) != 0)
		log_warnx("object %llu was written to: no room to say so",
		    (unsigned long long)vn->ovl);
	vn_keep_atime(vn);
	vn->size = e.size;
	vn->mtime = e.mtime;
	vn->ctime = e.ctime;
	return 1;
}

int
node_refresh(struct vn *vn)
{
	struct stat st;

	return refresh(vn, &st) == -1 ? errno : 0;
}

#define HOLES_FROM 65536 /* bytes of a file that is looked at for its holes */

/* What st_blocks says of a file: without its holes, as far as that is known. */
static blkcnt_t
blocks(struct vn *vn)
{
	uint64_t bytes = vn->size;
	struct stat st;
	struct entry e;

	int known = -1;

	if ((vn->flags & VN_LOCAL) && vn->fd != -1 && vn->fd_local)
		known = fstat(vn->fd, &st);
	else if ((vn->flags & VN_LOCAL) && vn->size > HOLES_FROM)
		known = overlay_stat(vn->ovl, &st);
	if (known == 0 && !(st.st_mode & REST_MODE))
		return st.st_blocks;
	if (vn->enc != NULL && vn_entry(vn, &e) == 0 &&
	    e.chunk_form == CHUNKS_INLINE)
		bytes = chunks_inline_bytes(e.chunks, e.chunks_len, e.size,
		    e.chunk_shift);
	return (blkcnt_t)((bytes + 511) / 512);
}

int
node_stat(struct vn *vn, struct stat *st)
{
	struct stat file;
	int known;

	if ((known = refresh(vn, &file)) == -1)
		return errno;
	if (vn->slot != 0)
		inode_slot(vn->slot)->untold = 0;
	memset(st, 0, sizeof(*st));
	st->st_ino = vn->fileid;
	st->st_mode = vn_ifmt(vn->type) | vn->mode;
	/* Directories do not count theirs: 1, as in other file systems that
	   do not. */
	st->st_nlink = vn->type == ENTRY_DIR && vn->links > 0 ? 1 : vn->links;
	st->st_uid = idmap_out(frontend_ids(), vn->uid);
	st->st_gid = idmap_out(frontend_ids(), vn->gid);
	st->st_size = vn->type == ENTRY_DIR ? 4096 : (off_t)vn->size;
	st->st_blksize = 4096;
	if (known && !(file.st_mode & REST_MODE))
		st->st_blocks = file.st_blocks;
	else
		st->st_blocks = vn->type == ENTRY_FILE
		    ? blocks(vn)
		    : (st->st_size + 511) / 512;
	st->st_mtim.tv_sec = st->st_atim.tv_sec = vn->mtime.sec;
	st->st_mtim.tv_nsec = st->st_atim.tv_nsec = vn->mtime.nsec;
	if (vn->flags & VN_ATIME) {
		st->st_atim.tv_sec = vn->atime.sec;
		st->st_atim.tv_nsec = vn->atime.nsec;
	}
	st->st_ctim.tv_sec = vn->ctime.sec;
	st->st_ctim.tv_nsec = vn->ctime.nsec;
	return 0;
}

/* ---- look-ups -------------------------------------------------------------------- */

int
node_entry(struct vn *vn, struct fuse_entry_param *e)
{
	uint32_t idx;
	int error;

	memset(e, 0, sizeof(*e));
	if ((idx = node_slot(vn)) == 0)
		return errno;
	inode_ref(idx);
	given_note(idx);
	e->ino = inode_id(idx);
	e->generation = 0;
	e->entry_timeout = FOREVER;
	e->attr_timeout = passthrough_attr_timeout(vn);
	if ((error = node_stat(vn, &e->attr)) != 0)
		node_forget(e->ino, 1);
	return error;
}

void
node_unref(struct vn *vn)
{
	if (vn->slot != 0)
		node_forget(inode_id(vn->slot), 1);
}

void
node_reply(fuse_req_t req, struct vn *vn)
{
	struct fuse_entry_param e;
	int error;

	if ((error = node_entry(vn, &e)) != 0) {
		fuse_reply_err(req, error);
		return;
	}
	/* Interrupted meanwhile: the kernel did not take it. */
	if (fuse_reply_entry(req, &e) != 0)
		node_forget(e.ino, 1);
}

void
node_forget(fuse_ino_t ino, uint64_t n)
{
	uint32_t idx = inode_index(ino);
	struct vn *vn;

	if (idx == 0)
		return;
	given_drop(idx);
	if (!inode_forget(idx, n))
		return;
	if (inode_opens(idx) != 0)
		return;
	if ((vn = inode_vn(idx)) == NULL) {
		if (inode_slot(idx)->kind == INODE_OBJECT &&
		    inode_slot(idx)->name_len == 0 &&
		    inode_slot(idx)->ovl != 0) {
			/* Lost its names under another process of ours. */
			struct change c;
			struct record r;

			memset(&r, 0, sizeof(r));
			r.type = RECORD_DROP;
			r.ovl = inode_slot(idx)->ovl;
			memset(&c, 0, sizeof(c));
			wbuf_init(&c.w, RECORD_MAX_BYTES);
			change_add(&c, &r);
			if (change_commit(&c) != 0)
				log_warnx("object %llu is not dropped",
				    (unsigned long long)r.ovl);
		}
		inode_try_free(idx);
		return;
	}
	node_drop_if_unused(vn);
}

/* Nobody can reach it any more: its overlay file may go. */
void
node_drop_if_unused(struct vn *vn)
{
	uint32_t idx = vn->slot;
	struct record r;
	struct change c;
	int error, nameless;

	if (idx != 0 &&
	    (inode_slot(idx)->nlookup != 0 || inode_opens(idx) != 0))
		return;
	if (vn->pins != 0 || vn == view_root())
		return;
	/* Or it lost its name in a reload, and manifest died before it said what
	   has gone: it knows whether there is another. */
	nameless = idx != 0 && inode_slot(idx)->kind == INODE_OBJECT &&
	    inode_slot(idx)->name_len == 0 && vn->names == 0;
	if (((vn->flags & VN_GONE) || nameless) && vn->ovl != 0) {
		memset(&c, 0, sizeof(c));
		wbuf_init(&c.w, RECORD_MAX_BYTES);
		memset(&r, 0, sizeof(r));
		r.type = RECORD_DROP;
		r.ovl = vn->ovl;
		change_add(&c, &r);
		/* Without room it stays until the next start of the mount. */
		if ((error = change_commit(&c)) != 0)
			log_warnx("object %llu is not dropped: %s",
			    (unsigned long long)vn->ovl, strerror(error));
		else if ((vn->flags & VN_GONE) && (vn->flags & VN_LOCAL))
			use_dropped(vn->ovl);
	}
	if (idx != 0) {
		inode_set_vn(idx, NULL);
		vn->slot = 0;
		inode_try_free(idx);
	}
	vn_release(vn);
}

void
node_lost_name(struct vn *vn)
{
	if (vn->links > 0)
		vn->links--;
	if (vn->ovl != 0 && vn->links > 0)
		return;
	vn->links = 0;
	vn->flags |= VN_GONE;
	if (vn->slot == 0)
		return;
	if (vn->ovl != 0)
		inode_unname(vn->slot);
	else if (vn->origin != NULL &&
	    inode_detach(vn->slot, vn->origin->commit.b, vn->origin->path,
		vn->origin->len) == -1)
		inode_make_stale(vn->slot);
}
