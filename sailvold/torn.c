/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * torn: a change of names that stands in the journal, and of which a fuse before
 * this one had not written all into the inode table, is written there: the
 * kernel goes on with its node ids under other names.  In fuse.
 */
#include <linux/fs.h>
#include <string.h>

#include "lib/log.h"
#include "sailvold/frontend.h"
#include "sailvold/journal.h"

/* Slots among which are clean things whose name is gone, and of which is still to
   be asked where their content is. */
static uint32_t removed_at, removed_end;

static int
is_at(uint32_t idx, uint32_t dir, const uint8_t *name, size_t len)
{
	const uint8_t *p;
	size_t n;

	p = inode_name(idx, &n);
	return inode_slot(idx)->parent == dir && n == len &&
	    memcmp(p, name, len) == 0;
}

/* It has the name no longer; of an object that has others one of them will do. */
static void
take_name(uint32_t idx, uint32_t dir, const uint8_t *name, size_t len)
{
	if (!inode_is(idx) || !is_at(idx, dir, name, len))
		return;
	if (inode_slot(idx)->kind == INODE_OBJECT)
		inode_unname(idx);
	else if (inode_slot(idx)->kind == INODE_NAMED)
		inode_set_removed(idx);
}

static void
give_name(uint32_t idx, uint32_t dir, const uint8_t *name, size_t len)
{
	uint8_t kind;

	if (!inode_is(idx) || idx == dir || is_at(idx, dir, name, len))
		return;
	kind = inode_slot(idx)->kind;
	if (kind != INODE_OBJECT && kind != INODE_NAMED)
		return;
	if (inode_rename(idx, dir, name, len) == -1)
		log_warn("inode table");
}

/* An open clean file, by the change that takes its name. */
static void
became_object(uint32_t idx, uint32_t dir, const struct record *r)
{
	if (r->ovl != 0 && inode_is(idx) &&
	    inode_slot(idx)->kind == INODE_NAMED &&
	    is_at(idx, dir, r->name, r->name_len))
		inode_set_ovl(idx, r->ovl);
}

/* Whatever of it was done already is not done again. */
static void
redo(const struct record *r, void *arg)
{
	struct inode_move *m = arg;

	if (!m->begun)
		return;
	if (r->type == RECORD_REMOVE) {
		became_object(m->moved, m->from, r);
		take_name(m->moved, m->from, r->name, r->name_len);
	} else if (r->type == RECORD_RENAME && m->to != 0) {
		if (r->flags & RENAME_EXCHANGE)
			give_name(m->target, m->from, r->name, r->name_len);
		else
			take_name(m->target, m->to, r->name2, r->name2_len);
		give_name(m->moved, m->to, r->name2, r->name2_len);
	} else
		return;
	log_debug("inode table: a change of names is done");
	m->begun = 0; /* the others are of later changes */
}

/* One that got no name is nothing any more. */
static void
check(uint32_t idx)
{
	if (inode_is(idx) && inode_slot(idx)->kind == INODE_NAMED &&
	    inode_slot(idx)->name_len == 0)
		inode_make_stale(idx);
}

static void
mend_names(void)
{
	struct inode_move m;

	if (inode_move_open() == NULL)
		return;
	m = *inode_move_open();
	/* The kernel has them: they are not free. */
	if (inode_is(m.from) && (m.to == 0 || inode_is(m.to)))
		journal_since(m.before, redo, &m);
	check(m.moved);
	check(m.target);
	inode_move_end();
}

static int
is_removed(uint32_t idx)
{
	return inode_is(idx) && inode_slot(idx)->kind == INODE_NAMED &&
	    (inode_slot(idx)->flags & INODE_REMOVED);
}

static void
note_removed(uint32_t idx, void *arg)
{
	(void)arg;
	if (!is_removed(idx))
		return;
	if (removed_end == 0)
		removed_at = idx;
	removed_end = idx + 1;
}

/* The change was finished now, or by a fuse that was killed, too. */
void
torn_mend(void)
{
	mend_names();
	removed_at = removed_end = 0;
	inode_foreach(note_removed, NULL);
}

int
torn_wait(void)
{
	struct vn *vn;

	/* Once its directory is here its slot itself says where the content is. */
	for (; removed_at < removed_end; removed_at++)
		if (is_removed(removed_at) &&
		    node_get_slot(removed_at, &vn) == E_WAIT)
			return E_WAIT;
	return 0;
}
