/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * fuse_names: operations that take names away or move them: unlink, rmdir,
 * rename.  In fuse.
 */
#include <errno.h>
#include <linux/fs.h>
#include <string.h>

#include "lib/log.h"
#include "sailvold/change.h"
#include "sailvold/frontend.h"
#include "sailvold/journal.h"
#include "sailvold/view_names.h"

static int
is_empty(struct vn *dir)
{
	uint8_t from[SAIL_NAME_MAX];
	size_t len;
	int rc;

	if ((rc = view_is_empty(dir, from, &len)) == -1)
		return query_load(dir, from, len);
	return rc ? 0 : ENOTEMPTY;
}

/*
 * What is there: 0, ENOENT, E_WAIT.  ESTALE: the kernel means another, which a
 * reload took away; it has never looked this one up, and so has not asked whether
 * the caller may (whose it is, where the directory is sticky).  It looks, and
 * tries again.
 */
static int
find(fuse_ino_t parent, const char *name, struct vn **dir, struct vn **vn)
{
	int error;

	if (strlen(name) > SAIL_NAME_MAX)
		return ENAMETOOLONG;
	if (name_is_reserved(name, strlen(name)))
		return EPERM;
	if ((error = node_dir(parent, dir)) != 0)
		return error;
	if ((error = query_name(*dir, name, strlen(name), vn)) != 0)
		return error;
	/* What the kernel has it under goes with its name. */
	if (*vn != NULL)
		node_known(*vn);
	if (*vn != NULL &&
	    ((*vn)->slot == 0 || inode_slot((*vn)->slot)->nlookup == 0))
		return ESTALE;
	return 0;
}

/* The name is gone from memory; the thing stays for who has it. */
static void
take_name(struct vn *dir, const char *name, struct vn *vn, struct timens t)
{
	/* One of several names, known to the table: another will do. */
	if (vn->slot != 0 && vn->ovl != 0 && vn->links > 1) {
		size_t len;
		const uint8_t *p = inode_name(vn->slot, &len);

		if (inode_slot(vn->slot)->parent == dir->slot &&
		    len == strlen(name) && memcmp(p, name, len) == 0)
			inode_unname(vn->slot);
	}
	(void)vn_keep_origin(vn);
	vn_pin(vn);
	if (view_set(dir, name, strlen(name), NULL) == -1)
		fatal("view");
	vn->ctime = t;
	vn->dirty = journal_end();
	node_lost_name(vn);
	vn->pins--;
	if (vn->flags & VN_GONE)
		node_drop_if_unused(vn);
	else
		vn_release(vn);
}

/* The table says what is about to change in it, until inode_move_end(). */
static int
commit_move(struct change *c, const struct vn *from, const struct vn *to,
    const struct vn *vn, const struct vn *target)
{
	struct inode_move m = { .before = journal_end(),
		.from = from->slot,
		.to = to != NULL ? to->slot : 0,
		.moved = vn->slot,
		.target = target != NULL ? target->slot : 0 };
	int error;

	inode_move_begin(&m);
	if ((error = change_commit(c)) != 0)
		inode_move_end();
	return error;
}

/*
 * A clean one that is open and is about to lose its name becomes an object: it
 * has its place in the journal then for who opens it again to write, by
 * /proc/PID/fd.
 */
static void
keep_open(struct change *c, struct vn *vn)
{
	if (vn->ovl == 0 && vn->type == ENTRY_FILE && vn->slot != 0 &&
	    inode_opens(vn->slot) > 0)
		(void)change_object(c, vn);
}

static int
remove_name(fuse_ino_t parent, const char *name, int want_dir)
{
	struct vn *dir, *vn;
	struct record r;
	struct change c;
	int error;

	if ((error = find(parent, name, &dir, &vn)) != 0)
		return error;
	if (vn == NULL)
		return ENOENT;
	if (want_dir && vn->type != ENTRY_DIR)
		return ENOTDIR;
	if (!want_dir && vn->type == ENTRY_DIR)
		return EISDIR;
	if (want_dir && (error = is_empty(vn)) != 0)
		return error;
	if ((error = change_begin(&c)) != 0)
		return error;
	memset(&r, 0, sizeof(r));
	r.type = RECORD_REMOVE;
	r.parent = change_object(&c, dir);
	keep_open(&c, vn);
	r.ovl = vn->ovl != 0 ? vn->ovl : vn->plan;
	r.name = (const uint8_t *)name;
	r.name_len = strlen(name);
	r.time = change_time();
	change_add(&c, &r);
	if ((error = commit_move(&c, dir, NULL, vn, NULL)) != 0)
		return error;
	take_name(dir, name, vn, r.time);
	inode_move_end();
	change_touch(dir, r.time);
	return 0;
}

void
op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	if (!resent_answer(req))
		request_fail(req, remove_name(parent, name, 0));
}

void
op_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	if (!resent_answer(req))
		request_fail(req, remove_name(parent, name, 1));
}

/* ---- rename ----------------------------------------------------------------- */

struct move {
	struct vn *from, *to; /* directories */
	struct vn *vn, *target;
	const char *name, *name2;
	unsigned int flags;
};

/* 1 when dir is vn or below it, by the table: directories have one name. */
static int
is_below(const struct vn *dir, const struct vn *vn)
{
	uint32_t idx = dir->slot;
	int depth;

	for (depth = 0; idx != 0 && depth <= SAIL_DEPTH_MAX; depth++) {
		if (idx == vn->slot)
			return 1;
		if (idx == INODE_ROOT)
			return 0;
		idx = inode_slot(idx)->parent;
	}
	return 0;
}

static int
may_move(struct move *m)
{
	if (m->vn->type == ENTRY_DIR && is_below(m->to, m->vn))
		return EINVAL;
	if (m->flags & RENAME_EXCHANGE) {
		if (m->target == NULL)
			return ENOENT;
		return m->target->type == ENTRY_DIR &&
			is_below(m->from, m->target)
		    ? EINVAL
		    : 0;
	}
	if (m->target == NULL)
		return 0;
	if (m->flags & RENAME_NOREPLACE)
		return EEXIST;
	if (m->target->type == ENTRY_DIR) {
		if (m->vn->type != ENTRY_DIR)
			return EISDIR;
		return is_empty(m->target);
	}
	return m->vn->type == ENTRY_DIR ? ENOTDIR : 0;
}

static void
new_place(struct vn *vn, struct vn *dir, const char *name)
{
	if (vn->slot == 0)
		return;
	if (dir->slot == 0 && node_slot(dir) == 0)
		inode_unname(vn->slot);
	else if (inode_rename(vn->slot, dir->slot, name, strlen(name)) == -1)
		log_warn("inode table");
}

static void
apply_move(struct move *m, struct timens t)
{
	struct vn *vn = m->vn, *other = m->target;

	vn_pin(vn);
	if (other != NULL)
		vn_pin(other);
	if (m->flags & RENAME_EXCHANGE) {
		if (view_set(m->from, m->name, strlen(m->name), other) == -1)
			fatal("view");
		new_place(other, m->from, m->name);
		other->ctime = t;
		other->dirty = journal_end();
	} else {
		if (other != NULL)
			take_name(m->to, m->name2, other, t);
		if (view_set(m->from, m->name, strlen(m->name), NULL) == -1)
			fatal("view");
	}
	if (view_set(m->to, m->name2, strlen(m->name2), vn) == -1)
		fatal("view");
	new_place(vn, m->to, m->name2);
	vn->ctime = t;
	vn->dirty = journal_end();
	change_touch(m->from, t);
	change_touch(m->to, t);
	vn->pins--;
	if (other != NULL) {
		other->pins--;
		if (other->flags & VN_GONE)
			node_drop_if_unused(other);
	}
}

static int
rename_name(struct move *m, fuse_ino_t parent, fuse_ino_t parent2)
{
	struct record r;
	struct change c;
	int error;

	if (m->flags & ~(unsigned int)(RENAME_NOREPLACE | RENAME_EXCHANGE))
		return EINVAL;
	if ((error = find(parent, m->name, &m->from, &m->vn)) != 0 ||
	    (error = find(parent2, m->name2, &m->to, &m->target)) != 0)
		return error;
	if (m->vn == NULL)
		return ENOENT;
	if (m->to->flags & VN_GONE)
		return ENOENT;
	if ((error = node_path_error(m->to, strlen(m->name2))) != 0)
		return error;
	/* Two names of one object: nothing happens, rename(2). */
	if (m->vn == m->target)
		return m->flags & RENAME_NOREPLACE ? EEXIST : 0;
	if ((error = may_move(m)) != 0 || (error = change_begin(&c)) != 0)
		return error;
	memset(&r, 0, sizeof(r));
	r.type = RECORD_RENAME;
	r.parent = change_object(&c, m->from);
	r.parent2 = change_object(&c, m->to);
	r.ovl = change_object(&c, m->vn);
	if (m->flags & RENAME_EXCHANGE)
		(void)change_object(&c, m->target);
	else if (m->target != NULL)
		keep_open(&c, m->target);
	r.name = (const uint8_t *)m->name;
	r.name_len = strlen(m->name);
	r.name2 = (const uint8_t *)m->name2;
	r.name2_len = strlen(m->name2);
	r.flags = m->flags;
	r.time = change_time();
	change_add(&c, &r);
	if ((error = commit_move(&c, m->from, m->to, m->vn, m->target)) != 0)
		return error;
	apply_move(m, r.time);
	inode_move_end();
	return 0;
}

void
op_rename(fuse_req_t req, fuse_ino_t parent, const char *name,
    fuse_ino_t parent2, const char *name2, unsigned int flags)
{
	struct move m;

	if (resent_answer(req))
		return;
	memset(&m, 0, sizeof(m));
	m.name = name;
	m.name2 = name2;
	m.flags = flags;
	request_fail(req, rename_name(&m, parent, parent2));
}
