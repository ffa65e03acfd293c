/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * namespace: applies the records of a mount's journal to the rows of its
 * overlay.  Each record is checked as a stranger's would be.  In manifest.
 */
#include <errno.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/log.h"
#include "lib/tree.h"
#include "sailvold/job.h"
#include "sailvold/manifest.h"
#include "sailvold/obj_batch.h"

#define MODE_MASK 07777

struct apply {
	struct db *db;
	struct mount_row *row;
	const struct record *rec;
	uint64_t offset; /* behind the record */
	const char **why;
};

static int
refuse(struct apply *a, const char *why)
{
	*a->why = why;
	errno = EBADMSG;
	return -1;
}

static int
load(struct apply *a, uint64_t ovl, struct obj *o, const char *why)
{
	if (obj_batch_get(a->db, a->row->row, ovl, o) == 0)
		return 0;
	return errno == ENOENT ? refuse(a, why) : -1;
}

/* What has no encoding cannot come from the database. */
static int
save(struct apply *a, const struct obj *o)
{
	if (obj_batch_put(a->db, a->row->row, o) == 0)
		return 0;
	return errno == EINVAL || errno == EFBIG
	    ? refuse(a, "an entry that cannot be")
	    : -1;
}

/* Replaces the entry by a changed copy, whose views may be into the old one. */
static int
set_entry(struct obj *o, const struct entry *e)
{
	struct entry *copy;

	if ((copy = entry_dup(e)) == NULL)
		return -1;
	free(o->entry);
	o->entry = copy;
	return 0;
}

/* A file whose content is its overlay file: its chunks are one hole. */
static int
set_local_size(struct obj *o, struct entry *e, uint64_t size)
{
	struct chunklist *cl = NULL;
	struct wbuf w;
	uint64_t slots;
	int rc = -1;

	wbuf_init(&w, 4096);
	if (e->chunk_shift < CHUNK_SHIFT_MIN ||
	    e->chunk_shift > CHUNK_SHIFT_MAX)
		e->chunk_shift = chunk_shift_for(size);
	if ((cl = chunklist_new(size, e->chunk_shift)) == NULL)
		goto done;
	slots = chunklist_slots(cl);
	if (slots > 0 && chunklist_add_hole(cl, slots) == -1)
		goto done;
	if (chunklist_to_entry(cl, NULL, e, &w) == -1)
		goto done;
	rc = set_entry(o, e);
done:
	chunklist_free(cl);
	wbuf_free(&w);
	return rc;
}

/* The directory that a name stands in: it must be one, and gets new times. */
static int
touch_dir(struct apply *a, uint64_t dir, struct timens t, int *has_origin)
{
	struct obj o;
	struct entry e;
	int rc = -1;

	if (load(a, dir, &o, "no such directory") == -1)
		return -1;
	if (o.entry->type != ENTRY_DIR || o.links == 0) {
		refuse(a, "a name in what is not a directory, or gone");
		goto done;
	}
	if (has_origin != NULL)
		*has_origin = o.has_origin;
	e = *o.entry;
	e.mtime = e.ctime = t;
	if (set_entry(&o, &e) == -1)
		goto done;
	rc = save(a, &o);
done:
	obj_free(&o);
	return rc;
}

static int
check_name(struct apply *a, const uint8_t *name, size_t len)
{
	const char *why;

	if ((why = name_problem(name, len)) != NULL)
		return refuse(a, why);
	return 0;
}

/* 1: the origin of the directory has the name, or nobody knows; 0; -1. */
static int
origin_has(struct apply *a, uint64_t dir, const uint8_t *name, size_t len)
{
	struct node_store store;
	struct hash missing;
	struct entry e, d;
	struct blob *keep = NULL, *keep2 = NULL;
	struct obj o;
	size_t depth;
	int has = 1;

	if (obj_batch_get(a->db, a->row->row, dir, &o) == -1)
		return errno == ENOENT ? 1 : -1;
	if (!o.has_origin) {
		has = 0;
		goto done;
	}
	if (nodes_lookup(&o.origin_commit, o.origin_path, o.origin_path_len, &d,
		&keep, &depth) == -1) {
		has = errno == ENOMEM ? -1 : 1;
		goto done;
	}
	if (d.type != ENTRY_DIR)
		goto done;
	db_node_store(a->db, &store);
	if (tree_lookup(&store, &d.root, name, len, &e, &keep2, &missing) == -1)
		has = errno == ENOENT ? 0 : errno == ENOMEM ? -1 : 1;
done:
	blob_unref(keep);
	blob_unref(keep2);
	obj_free(&o);
	return has;
}

/*
 * Nothing is at (dir, name) any more.  Where the origin shows something, or
 * something may have been published there, that is said by a whiteout.
 */
static int
clear_name(struct apply *a, uint64_t dir, const uint8_t *name, size_t len)
{
	int has = 1;

	if (!(a->row->flags & ROW_SEEN) &&
	    (has = origin_has(a, dir, name, len)) == -1)
		return -1;
	if (!has)
		return db_name_delete(a->db, a->row->row, dir, name, len);
	return db_name_put(a->db, a->row->row, dir, name, len, 0, a->offset);
}

/* 1 when no object has a name in it, as for what is no directory. */
static int
is_empty(struct apply *a, const struct obj *o)
{
	int rc;

	if (o->entry->type != ENTRY_DIR)
		return 1;
	rc = db_name_any(a->db, a->row->row, o->ovl);
	return rc == -1 ? -1 : !rc;
}

/* An object loses a name; by: what takes its place, NULL: nothing. */
static int
drop_link(struct apply *a, uint64_t ovl, const struct obj *by, struct timens t)
{
	struct entry e;
	struct obj o;
	int rc = -1;

	if (load(a, ovl, &o, "a name of no object") == -1)
		return -1;
	if (o.links == 0) {
		refuse(a, "an object with a name and no links");
		goto done;
	}
	if ((rc = is_empty(a, &o)) != 1) {
		rc = rc == 0 ? refuse(a, "a directory that is not empty") : -1;
		goto done;
	}
	rc = -1;
	if (by != NULL &&
	    (by->entry->type == ENTRY_DIR) != (o.entry->type == ENTRY_DIR)) {
		refuse(a, "rename: over another type");
		goto done;
	}
	o.links--;
	e = *o.entry;
	e.ctime = t;
	if (set_entry(&o, &e) == -1)
		goto done;
	rc = save(a, &o);
done:
	obj_free(&o);
	return rc;
}

static int
new_number(struct apply *a, uint64_t ovl)
{
	struct obj o;

	if (ovl <= OVL_ROOT || ovl >= a->row->next)
		return refuse(a, "an overlay number that was not taken");
	if (obj_batch_get(a->db, a->row->row, ovl, &o) == 0) {
		obj_free(&o);
		return refuse(a, "an overlay number that is in use");
	}
	return errno == ENOENT ? 0 : -1;
}

static int
name_is_free(struct apply *a, uint64_t dir, const uint8_t *name, size_t len,
    int whiteout_is_free)
{
	struct name_row n;

	if (db_name_get(a->db, a->row->row, dir, name, len, &n) == -1)
		return errno == ENOENT ? 0 : -1;
	if (n.ovl == 0 && whiteout_is_free)
		return 0;
	return refuse(a, "a name that is taken");
}

/* Entry of a record as it stands in a row: a socket is a flagged fifo. */
static int
entry_of_record(struct apply *a, struct obj *o)
{
	struct entry e = a->rec->entry;

	if ((e.mode & ~MODE_MASK) != 0)
		return refuse(a, "mode");
	/* Clean content names its chunks; that of an overlay file begins at 0. */
	if (e.type == ENTRY_FILE && e.size != 0 &&
	    e.chunk_form == CHUNKS_INLINE && e.chunks_len == 0)
		return refuse(a, "a size without chunks");
	if (e.type == ENTRY_SOCKET) {
		e.type = ENTRY_FIFO;
		o->flags |= OBJ_SOCKET;
	}
	if ((o->entry = entry_dup(&e)) == NULL)
		return -1;
	return 0;
}

/* A name that is copied up is one of the origin of its directory. */
static int
check_origin(struct apply *a)
{
	const struct record *r = a->rec;
	size_t n;
	struct obj o;
	int rc = -1;

	if (load(a, r->parent, &o, "no such directory") == -1)
		return -1;
	n = o.origin_path_len + (o.origin_path_len > 0);
	if (o.entry->type != ENTRY_DIR || o.links == 0)
		refuse(a, "a name in what is not a directory, or gone");
	else if (!o.has_origin ||
	    hash_cmp(&o.origin_commit, &r->origin_commit) != 0 ||
	    r->origin_path_len != n + r->name_len ||
	    (n > 0 &&
		(memcmp(r->origin_path, o.origin_path, n - 1) != 0 ||
		    r->origin_path[n - 1] != '/')) ||
	    memcmp(r->origin_path + n, r->name, r->name_len) != 0)
		refuse(a, "copy up: not from the origin of its directory");
	else
		rc = 0;
	obj_free(&o);
	return rc;
}

static int
apply_copyup(struct apply *a)
{
	const struct record *r = a->rec;
	struct obj o;
	int rc = -1;

	memset(&o, 0, sizeof(o));
	if (check_name(a, r->name, r->name_len) == -1 ||
	    path_problem(r->origin_path, r->origin_path_len) != NULL)
		return refuse(a, "copy up: name or origin");
	if (new_number(a, r->ovl) == -1 || check_origin(a) == -1 ||
	    name_is_free(a, r->parent, r->name, r->name_len, 0) == -1)
		return -1;
	o.ovl = r->ovl;
	o.links = 1;
	o.has_origin = 1;
	o.origin_commit = r->origin_commit;
	o.origin_path_len = r->origin_path_len;
	if ((o.origin_path = malloc(r->origin_path_len + 1)) == NULL)
		return -1;
	if (r->origin_path_len > 0)
		memcpy(o.origin_path, r->origin_path, r->origin_path_len);
	if (entry_of_record(a, &o) == -1 || save(a, &o) == -1)
		goto done;
	rc = db_name_put(a->db, a->row->row, r->parent, r->name, r->name_len,
	    r->ovl, 0);
done:
	obj_free(&o);
	return rc;
}

static int
apply_make(struct apply *a)
{
	const struct record *r = a->rec;
	struct obj o;
	int rc = -1;

	memset(&o, 0, sizeof(o));
	if (check_name(a, r->name, r->name_len) == -1 ||
	    new_number(a, r->ovl) == -1 ||
	    name_is_free(a, r->parent, r->name, r->name_len, 1) == -1 ||
	    touch_dir(a, r->parent, r->entry.ctime, NULL) == -1)
		return -1;
	o.ovl = r->ovl;
	o.links = 1;
	o.changed_content = o.changed_attr = a->offset;
	if (r->entry.type == ENTRY_FILE) {
		if (r->entry.size != 0)
			return refuse(a, "a new file that is not empty");
		o.flags = OBJ_LOCAL;
	}
	if (entry_of_record(a, &o) == -1 || save(a, &o) == -1)
		goto done;
	rc = db_name_put(a->db, a->row->row, r->parent, r->name, r->name_len,
	    r->ovl, a->offset);
done:
	obj_free(&o);
	return rc;
}

static int
apply_link(struct apply *a)
{
	const struct record *r = a->rec;
	struct entry e;
	struct obj o;
	int rc = -1;

	if (check_name(a, r->name, r->name_len) == -1 ||
	    name_is_free(a, r->parent, r->name, r->name_len, 1) == -1 ||
	    touch_dir(a, r->parent, r->time, NULL) == -1 ||
	    load(a, r->ovl, &o, "link: no such object") == -1)
		return -1;
	if (o.entry->type == ENTRY_DIR || (o.flags & OBJ_DROPPED)) {
		refuse(a, "link to a directory, or to what is gone");
		goto done;
	}
	o.links++;
	e = *o.entry;
	e.ctime = r->time;
	if (set_entry(&o, &e) == -1 || save(a, &o) == -1)
		goto done;
	rc = db_name_put(a->db, a->row->row, r->parent, r->name, r->name_len,
	    r->ovl, a->offset);
done:
	obj_free(&o);
	return rc;
}

static int
apply_remove(struct apply *a)
{
	const struct record *r = a->rec;
	struct name_row n;
	int has_origin;

	if (check_name(a, r->name, r->name_len) == -1 ||
	    touch_dir(a, r->parent, r->time, &has_origin) == -1)
		return -1;
	if (db_name_get(a->db, a->row->row, r->parent, r->name, r->name_len,
		&n) == -1) {
		if (errno != ENOENT)
			return -1;
		if (!has_origin)
			return refuse(a, "remove: no such name");
	} else if (n.ovl == 0)
		return refuse(a, "remove: the name is gone already");
	else if (drop_link(a, n.ovl, NULL, r->time) == -1)
		return -1;
	return clear_name(a, r->parent, r->name, r->name_len);
}

/* 1 when dir is ovl or below it. */
static int
is_below(struct apply *a, uint64_t dir, uint64_t ovl)
{
	struct name_row *rows;
	size_t n, depth;

	for (depth = 0; depth <= SAIL_DEPTH_MAX; depth++) {
		if (dir == ovl)
			return 1;
		if (dir == OVL_ROOT)
			return 0;
		if (db_names_of_obj(a->db, a->row->row, dir, &rows, &n) == -1)
			return -1;
		if (n != 1) {
			free(rows);
			return refuse(a, "a directory without a place");
		}
		dir = rows[0].dir;
		free(rows);
	}
	return refuse(a, "too deep");
}

/* ovl, loaded into o (which the caller frees), may stand in directory to. */
static int
moved(struct apply *a, uint64_t ovl, uint64_t to, struct obj *o)
{
	struct entry e;
	int rc;

	if (load(a, ovl, o, "rename: a name of no object") == -1)
		return -1;
	if (o->entry->type == ENTRY_DIR) {
		if ((rc = is_below(a, to, ovl)) == -1)
			return -1;
		if (rc == 1)
			return refuse(a, "rename: a directory into itself");
	}
	e = *o->entry;
	e.ctime = a->rec->time;
	return set_entry(o, &e) == -1 ? -1 : save(a, o);
}

/* What stands at the new name: exchanged, or gone. */
static int
rename_other(struct apply *a, const struct obj *o, const struct name_row *to)
{
	const struct record *r = a->rec;
	struct obj other;
	int rc;

	if (r->flags & RENAME_EXCHANGE) {
		if (to == NULL || to->ovl == 0)
			return refuse(a, "exchange: no such object");
		memset(&other, 0, sizeof(other));
		rc = moved(a, to->ovl, r->parent, &other);
		obj_free(&other);
		return rc == -1 ? -1
				: db_name_put(a->db, a->row->row, r->parent,
				      r->name, r->name_len, to->ovl, a->offset);
	}
	if (to != NULL && to->ovl != 0) {
		if (r->flags & RENAME_NOREPLACE)
			return refuse(a, "a name that is taken");
		if (drop_link(a, to->ovl, o, r->time) == -1)
			return -1;
	}
	return clear_name(a, r->parent, r->name, r->name_len);
}

static int
apply_rename(struct apply *a)
{
	const struct record *r = a->rec;
	struct name_row from, to;
	int64_t m = a->row->row;
	struct obj o;
	int has_to, rc;

	if (r->parent == r->parent2 && r->name_len == r->name2_len &&
	    memcmp(r->name, r->name2, r->name_len) == 0)
		return refuse(a, "rename: onto itself");
	if (check_name(a, r->name, r->name_len) == -1 ||
	    check_name(a, r->name2, r->name2_len) == -1 ||
	    touch_dir(a, r->parent, r->time, NULL) == -1 ||
	    touch_dir(a, r->parent2, r->time, NULL) == -1)
		return -1;
	if (db_name_get(a->db, m, r->parent, r->name, r->name_len, &from) == -1)
		return errno == ENOENT ? refuse(a, "rename: no such object")
				       : -1;
	if (from.ovl == 0)
		return refuse(a, "rename: no such object");
	has_to =
	    db_name_get(a->db, m, r->parent2, r->name2, r->name2_len, &to) == 0;
	if (!has_to && errno != ENOENT)
		return -1;
	memset(&o, 0, sizeof(o));
	rc = moved(a, from.ovl, r->parent2, &o);
	if (rc == 0)
		rc = rename_other(a, &o, has_to ? &to : NULL);
	obj_free(&o);
	return rc == -1 ? -1
			: db_name_put(a->db, m, r->parent2, r->name2,
			      r->name2_len, from.ovl, a->offset);
}

static int
apply_attr(struct apply *a)
{
	const struct record *r = a->rec;
	uint32_t owner = RECORD_ATTR_MODE | RECORD_ATTR_UID | RECORD_ATTR_GID;
	struct entry e;
	struct obj o;
	int rc = -1;

	if (load(a, r->ovl, &o, "attributes of no object") == -1)
		return -1;
	e = *o.entry;
	if (r->flags & RECORD_ATTR_MODE)
		e.mode = r->entry.mode & MODE_MASK;
	if (r->flags & RECORD_ATTR_UID)
		e.uid = r->entry.uid;
	if (r->flags & RECORD_ATTR_GID)
		e.gid = r->entry.gid;
	if (r->flags & RECORD_ATTR_MTIME)
		e.mtime = r->entry.mtime;
	if (r->flags & RECORD_ATTR_CTIME)
		e.ctime = r->entry.ctime;
	/* A directory's times are in neither hash of what is seen. */
	if ((r->flags & owner) || e.type != ENTRY_DIR)
		o.changed_attr = a->offset;
	if (r->flags & RECORD_ATTR_SIZE) {
		if (!(o.flags & OBJ_LOCAL) || r->entry.size > SAIL_SIZE_MAX) {
			refuse(a, "size of what has no overlay file");
			goto done;
		}
		o.changed_content = a->offset;
		rc = set_local_size(&o, &e, r->entry.size);
	} else
		rc = set_entry(&o, &e);
	if (rc == 0)
		rc = save(a, &o);
done:
	obj_free(&o);
	return rc;
}

static int
apply_xattr(struct apply *a)
{
	const struct record *r = a->rec;
	struct entry e;
	struct obj o;
	int rc = -1;

	if (r->entry.xattrs_len > 0 &&
	    xattrs_check(r->entry.xattrs, r->entry.xattrs_len) == -1)
		return refuse(a, "extended attributes");
	if (load(a, r->ovl, &o, "extended attributes of no object") == -1)
		return -1;
	e = *o.entry;
	e.xattrs = r->entry.xattrs;
	e.xattrs_len = r->entry.xattrs_len;
	memset(&e.xattr_node, 0, sizeof(e.xattr_node));
	e.ctime = r->time;
	o.changed_attr = a->offset;
	if (set_entry(&o, &e) == 0)
		rc = save(a, &o);
	obj_free(&o);
	return rc;
}

/* CONTENT, SETTLE: size and times of an overlay file. */
static int
apply_size(struct apply *a)
{
	const struct record *r = a->rec;
	struct entry e;
	struct obj o;
	int rc = -1;

	if (obj_batch_get(a->db, a->row->row, r->ovl, &o) == -1) {
		if (errno != ENOENT)
			return -1;
		/* Asked for at the start, and swept before the record came. */
		return r->type != RECORD_CONTENT
		    ? 0
		    : refuse(a, "content of no object");
	}
	e = *o.entry;
	if (e.type != ENTRY_FILE || r->entry.size > SAIL_SIZE_MAX) {
		refuse(a, "content of what is not a file");
		goto done;
	}
	if (r->type == RECORD_CONTENT) {
		o.flags |= OBJ_LOCAL | OBJ_UNSETTLED;
		o.changed_content = o.changed_attr = a->offset;
	} else {
		if (!(o.flags & OBJ_LOCAL)) {
			refuse(a, "settling what has no overlay file");
			goto done;
		}
		if (r->type == RECORD_SETTLE)
			o.flags &= ~OBJ_UNSETTLED;
		else
			o.flags |= OBJ_UNSETTLED;
		if (e.size != r->entry.size)
			o.changed_content = a->offset;
		/* Times that moved: it was written to, whoever could not say. */
		if (timens_cmp(e.mtime, r->entry.mtime) != 0)
			o.changed_content = o.changed_attr = a->offset;
	}
	e.mtime = r->entry.mtime;
	e.ctime = r->entry.ctime;
	if (set_local_size(&o, &e, r->entry.size) == 0)
		rc = save(a, &o);
done:
	obj_free(&o);
	return rc;
}

static int
apply_flag(struct apply *a)
{
	struct obj o;
	int rc = -1;

	if (obj_batch_get(a->db, a->row->row, a->rec->ovl, &o) == -1) {
		if (errno != ENOENT)
			return -1;
		/* Dropped by the kernel's word and by a reload: swept between. */
		return a->rec->type == RECORD_DROP
		    ? 0
		    : refuse(a, "dirty, and no object");
	}
	if (a->rec->type == RECORD_DIRTY) {
		if (!(o.flags & OBJ_LOCAL)) {
			refuse(a, "dirty, and no overlay file");
			goto done;
		}
		o.flags |= OBJ_UNSETTLED;
		o.changed_content = o.changed_attr = a->offset;
	} else {
		/* It lost its name in the view before a reload that kept it. */
		if (o.links != 0) {
			rc = 0;
			goto done;
		}
		o.flags |= OBJ_DROPPED;
	}
	rc = save(a, &o);
done:
	obj_free(&o);
	return rc;
}

static int
apply_alloc(struct apply *a)
{
	if (a->rec->next < a->row->next || a->rec->next > INT64_MAX)
		return refuse(a, "overlay numbers that go back");
	a->row->next = a->rec->next;
	return 0;
}

static int
apply_ctl(struct apply *a)
{
	(void)a;
	return 0; /* a mark: the line itself comes by message */
}

int
namespace_apply(struct db *db, struct mount_row *row, const struct record *rec,
    uint64_t offset, const char **why)
{
	static int (*const table[])(struct apply *) = {
		[RECORD_ALLOC] = apply_alloc,
		[RECORD_COPYUP] = apply_copyup,
		[RECORD_MAKE] = apply_make,
		[RECORD_LINK] = apply_link,
		[RECORD_REMOVE] = apply_remove,
		[RECORD_RENAME] = apply_rename,
		[RECORD_ATTR] = apply_attr,
		[RECORD_XATTR] = apply_xattr,
		[RECORD_CONTENT] = apply_size,
		[RECORD_SETTLE] = apply_size,
		[RECORD_DIRTY] = apply_flag,
		[RECORD_DROP] = apply_flag,
		[RECORD_CTL] = apply_ctl,
		[RECORD_LOOK] = apply_size,
	};
	struct apply a = { db, row, rec, offset, why };

	*why = NULL;
	if (rec->type >= sizeof(table) / sizeof(table[0]) ||
	    table[rec->type] == NULL)
		return refuse(&a, "unknown record");
	if (rec->result != 0)
		return 0; /* a change that was refused: stands for its answer */
	return table[rec->type](&a);
}

/* ---- places ----------------------------------------------------------------- */

int
namespace_path(struct mount *m, uint64_t dir, const void *name, size_t len,
    uint8_t **path, size_t *path_len)
{
	uint8_t buf[SAIL_PATH_MAX];
	size_t at = sizeof(buf), n;
	struct name_row *rows;
	unsigned int depth;

	if (len > at)
		goto toolong;
	at -= len;
	if (len > 0)
		memcpy(buf + at, name, len);
	for (depth = 0; dir != OVL_ROOT; depth++) {
		if (depth > SAIL_DEPTH_MAX)
			goto toolong;
		if (db_names_of_obj(manifest_db, m->row.row, dir, &rows, &n) ==
		    -1)
			return -1;
		if (n == 0) {
			free(rows);
			errno = ENOENT;
			return -1;
		}
		if (rows[0].len + 1 > at) {
			free(rows);
			goto toolong;
		}
		if (at < sizeof(buf))
			buf[--at] = '/';
		at -= rows[0].len;
		memcpy(buf + at, rows[0].name, rows[0].len);
		dir = rows[0].dir;
		free(rows);
	}
	*path_len = sizeof(buf) - at;
	if ((*path = malloc(*path_len + 1)) == NULL)
		return -1;
	memcpy(*path, buf + at, *path_len);
	(*path)[*path_len] = '\0';
	return 0;
toolong:
	errno = ENAMETOOLONG;
	return -1;
}

/* ---- what nobody needs any more ------------------------------------------------ */

/* 1: nobody needs it any more, and *local; 0, and *left: nobody has let go of it;
   -1. */
static int
may_go(struct mount *m, uint64_t ovl, int *local, int *left)
{
	struct obj o;
	int rc;

	if (db_obj_get(manifest_db, m->row.row, ovl, &o) == -1)
		return -1;
	*local = (o.flags & OBJ_LOCAL) != 0;
	*left = (o.flags & OBJ_DROPPED) == 0;
	rc = (o.flags & OBJ_DROPPED) && !ovl_is_held(m, ovl);
	obj_free(&o);
	return rc;
}

static int
delete_rows(struct mount *m, const uint64_t *ovls, size_t n)
{
	size_t i;

	if (db_begin(manifest_db) == -1)
		return -1;
	for (i = 0; i < n; i++)
		if (db_name_delete_dir(manifest_db, m->row.row, ovls[i]) ==
			-1 ||
		    db_obj_delete(manifest_db, m->row.row, ovls[i]) == -1)
			goto fail;
	if (db_commit(manifest_db) == 0)
		return 0;
fail:
	db_rollback(manifest_db);
	return -1;
}

/*
 * What a reload took the names of fuse lets go, when it hears of that: one that
 * died may not have, and the next knows of those that are open.
 */
static void
tell_left(struct mount *m, const uint64_t *ovls, size_t n)
{
	struct ibuf *b;
	size_t i;

	b = ibuf_dynamic(2, 2 + 8 * NAMELESS_BATCH);
	if (b == NULL || ibuf_add_n16(b, (uint16_t)n) == -1)
		goto fail;
	for (i = 0; i < n; i++)
		if (ibuf_add_n64(b, ovls[i]) == -1)
			goto fail;
	if (chan_send_ibuf(m->fuse, IMSG_MANIFEST_FUSE_LET_GO, LET_GO_LEFT, -1,
		b) == 0 ||
	    errno == EPIPE)
		return;
	b = NULL;
fail:
	ibuf_free(b);
	log_warn("mount %s: letting go", m->row.path);
}

/* One that has moved the rows says itself what it lets go. */
static int
is_reloading(const struct mount *m)
{
	const struct job *j;

	TAILQ_FOREACH (j, &m->jobs, link)
		if (j->kind != JOB_COMMIT && j->state == JOB_PUBLISHING)
			return 1;
	return m->letting_go > 0;
}

/*
 * The rows and records of before need the files, which may be gone as soon as
 * fuse is told: what is known of them now is made safe from a loss of power
 * first.  Told before the rows go: a file that fuse did not hear of would stay
 * for ever.
 */
static int
sweep_some(struct mount *m, const uint64_t *ovls, size_t n)
{
	uint64_t gone[NAMELESS_BATCH], files[NAMELESS_BATCH];
	uint64_t left[NAMELESS_BATCH];
	size_t i, ngone = 0, nfiles = 0, nleft = 0;
	int local, is_left, rc;

	for (i = 0; i < n; i++) {
		if ((rc = may_go(m, ovls[i], &local, &is_left)) == -1)
			return -1;
		if (is_left)
			left[nleft++] = ovls[i];
		if (rc == 0)
			continue;
		gone[ngone++] = ovls[i];
		if (local)
			files[nfiles++] = ovls[i];
	}
	if (nleft > 0 && m->asking)
		tell_left(m, left, nleft);
	if (ngone == 0)
		return 0;
	if (nfiles > 0) {
		/* Where there is no room for that, these files give some. */
		if (journal_sync(m) == -1 && errno != ENOSPC)
			return -1;
		tell_unlink(m, files, nfiles);
	}
	return delete_rows(m, gone, ngone);
}

int
namespace_sweep_on(struct mount *m)
{
	uint64_t ovls[NAMELESS_BATCH];
	size_t n;

	if (m->fuse == NULL || !m->started || (m->swept == 0 && !m->unswept))
		return 0;
	if (m->swept == 0) {
		m->unswept = 0;
		m->asking = m->ask_left && !is_reloading(m);
		m->ask_left = 0;
	}
	if (db_obj_list_nameless(manifest_db, m->row.row, m->swept, ovls,
		NAMELESS_BATCH, &n) == -1)
		goto fail;
	if (sweep_some(m, ovls, n) == -1)
		goto fail;
	/* What was let go behind it meanwhile is looked at once more. */
	m->swept = n == NAMELESS_BATCH ? ovls[n - 1] : 0;
	return m->swept != 0 || m->unswept;
fail:
	m->swept = 0;
	m->unswept = 1;
	m->ask_left = m->asking;
	return -1;
}

int
namespace_sweep(struct mount *m)
{
	m->unswept = 1;
	return namespace_sweep_on(m);
}
