/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * stash: what a reload took out of view is put away, and brought back.  In
 * manifest.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lib/log.h"
#include "sailvold/stash.h"

static uint64_t limit_bytes = (uint64_t)10 << 30;
static uint64_t limit_total; /* of all mounts; 0: none */
static uint32_t limit_days = 30;

void
stash_limits(uint64_t bytes, uint64_t total, uint32_t days)
{
	limit_bytes = bytes;
	limit_total = total;
	limit_days = days;
	if (manifest_db != NULL)
		stash_trim(manifest_db);
}

/* ---- putting away -------------------------------------------------------------------- */

static int
put_item(struct db *db, int64_t id, uint64_t *seq, const struct delta_item *it)
{
	struct stash_item s;
	size_t i;

	memset(&s, 0, sizeof(s));
	s.path = it->path;
	s.len = it->len;
	s.kind = it->kind != 0 ? it->kind : DELTA_PUT;
	s.entry = it->entry;
	if (it->local) {
		s.ovl = it->ovl;
	} else if (it->has_ref) {
		s.has_origin = 1;
		s.origin_commit = it->ref.commit;
		s.origin_path = it->ref.path;
		s.origin_len = it->ref.len;
	} else if (it->has_origin) {
		s.has_origin = 1;
		s.origin_commit = it->origin_commit;
		s.origin_path = it->origin_path;
		s.origin_len = it->origin_len;
	}
	if (db_stash_item_put(db, id, (*seq)++, &s) == -1)
		return -1;
	for (i = 0; i < it->nref_x; i++) {
		struct pathbuf p;

		memset(&s, 0, sizeof(s));
		memcpy(p.b, it->path, it->len);
		p.len = it->len;
		if (pathbuf_push(&p, it->ref_x[i].path, it->ref_x[i].len) == -1)
			return -1;
		s.path = p.b;
		s.len = p.len;
		s.kind = STASH_HIDDEN;
		if (db_stash_item_put(db, id, (*seq)++, &s) == -1)
			return -1;
	}
	return 0;
}

static int64_t
oldest_kept(void)
{
	return (int64_t)time(NULL) - (int64_t)limit_days * 86400;
}

/* The newest of each mount stays as long as it is promised: what would be too
   much with them is not put away. */
static int
total_allows(struct db *db, const struct stash_row *s)
{
	uint64_t kept;

	if (limit_total == 0)
		return 0;
	if (db_stash_newest(db, s->mount, oldest_kept(), &kept) == -1)
		return -1;
	if (s->bytes <= limit_total && kept <= limit_total - s->bytes)
		return 0;
	errno = EDQUOT;
	return -1;
}

void
stash_full_text(char *text, size_t size)
{
	snprintf(text, size,
	    "the stashes of all mounts would be more than `stash total' of the "
	    "configuration, %llu bytes, the newest of each counted: drop some "
	    "(sailvolctl stash list), commit the changes, or keep them in view "
	    "(sailvolctl reload --keep)",
	    (unsigned long long)limit_total);
}

int
stash_put(struct db *db, const struct mount_row *row,
    const struct delta_set *set, int64_t *id, uint64_t *files)
{
	struct stash_row s;
	uint64_t seq = 0;
	size_t i, n = 0;

	*id = 0;
	*files = 0;
	memset(&s, 0, sizeof(s));
	for (i = 0; i < set->n; i++) {
		if (set->items[i].kind == 0 && set->items[i].hash == HASH_KNOWN)
			continue;
		n++;
		if (set->items[i].entry != NULL &&
		    set->items[i].entry->type != ENTRY_DIR) {
			s.files++;
			s.bytes += set->items[i].entry->size;
		}
	}
	if (n == 0)
		return 0;
	memcpy(s.mount, row->id, sizeof(s.mount));
	s.path = row->path;
	s.volume_id = row->volume_id;
	s.volume = row->volume;
	s.base = row->base;
	s.created = (int64_t)time(NULL);
	if (total_allows(db, &s) == -1 || db_stash_insert(db, &s) == -1)
		return -1;
	for (i = 0; i < set->n; i++)
		if ((set->items[i].kind != 0 ||
			set->items[i].hash != HASH_KNOWN) &&
		    put_item(db, s.id, &seq, &set->items[i]) == -1)
			return -1;
	*id = s.id;
	*files = s.files;
	return 0;
}

/* ---- keeping within the limits ---------------------------------------------------------- */

int
stash_drop(struct db *db, int64_t id)
{
	if (db_begin(db) == -1)
		return -1;
	if (db_stash_delete(db, id) == 0 && db_commit(db) == 0)
		return 0;
	db_rollback(db);
	return -1;
}

static int
trim_all(struct db *db)
{
	int64_t id;

	while (limit_total != 0) {
		if (db_stash_excess_of_all(db, limit_total, &id) == -1)
			return -1;
		if (id == 0)
			break;
		log_info("stash %lld goes: too much of all mounts is stashed",
		    (long long)id);
		if (stash_drop(db, id) == -1)
			return -1;
	}
	return 0;
}

int
stash_trim(struct db *db)
{
	int64_t old = oldest_kept(), id, created;

	for (;;) {
		if (db_stash_excess(db, old, limit_bytes, &id, &created) == -1)
			return -1;
		if (id == 0)
			return trim_all(db);
		log_info("stash %lld goes: %s", (long long)id,
		    created < old ? "it is too old"
				  : "too much of its mount is stashed");
		if (stash_drop(db, id) == -1)
			return -1;
	}
}

/* ---- bringing back ------------------------------------------------------------------------ */

struct restore {
	struct db *db;
	struct mount_row *row;
	struct node_miss *miss;
	uint64_t changed; /* offset that marks a change */
};

static uint64_t
new_number(struct restore *r)
{
	return r->row->next++;
}

static int
put_object(struct restore *r, struct obj *o)
{
	return db_obj_put(r->db, r->row->row, o);
}

/* What stood at the name loses it. */
static int
drop_old(struct restore *r, uint64_t dir, const uint8_t *name, size_t len)
{
	struct name_row n;
	struct obj o;
	int rc;

	if (db_name_get(r->db, r->row->row, dir, name, len, &n) == -1)
		return errno == ENOENT ? 0 : -1;
	if (n.ovl == 0)
		return 0;
	if (db_obj_get(r->db, r->row->row, n.ovl, &o) == -1)
		return -1;
	if (o.links > 0)
		o.links--;
	rc = put_object(r, &o);
	obj_free(&o);
	return rc;
}

static int
set_name(struct restore *r, uint64_t dir, const uint8_t *name, size_t len,
    uint64_t ovl)
{
	if (drop_old(r, dir, name, len) == -1)
		return -1;
	return db_name_put(r->db, r->row->row, dir, name, len, ovl, r->changed);
}

/*
 * The object at a name: of the overlay, or copied up from the directory's
 * origin.  1 and obj (the caller frees), 0 nothing is shown, -1.
 */
static int
object_at(struct restore *r, const struct obj *dir, const uint8_t *name,
    size_t len, struct obj *o)
{
	struct place p, d;
	struct name_row n;
	struct blob *keep;
	struct entry e;
	int rc;

	if (db_name_get(r->db, r->row->row, dir->ovl, name, len, &n) == 0) {
		if (n.ovl == 0)
			return 0;
		return db_obj_get(r->db, r->row->row, n.ovl, o) == 0 ? 1 : -1;
	}
	if (errno != ENOENT)
		return -1;
	if (!dir->has_origin)
		return 0;
	if (place_open(&p, &dir->origin_commit, dir->origin_path,
		dir->origin_path_len, r->miss) == -1)
		return -1;
	memset(&d, 0, sizeof(d));
	if ((rc = place_child(&p, name, len, &e, &keep, r->miss)) != 1)
		goto done;
	rc = -1;
	memset(o, 0, sizeof(*o));
	o->ovl = new_number(r);
	o->links = 1;
	if (place_down(&p, name, len, &e, &d) == -1 ||
	    (o->entry = entry_dup(&e)) == NULL)
		goto unref;
	o->has_origin = 1;
	o->origin_commit = p.commit;
	o->origin_path = d.path;
	o->origin_path_len = d.len;
	d.path = NULL;
	if (put_object(r, o) == 0 &&
	    db_name_put(r->db, r->row->row, dir->ovl, name, len, o->ovl, 0) ==
		0)
		rc = 1;
	else
		obj_free(o);
unref:
	blob_unref(keep);
	place_free(&d);
done:
	place_free(&p);
	return rc;
}

static int
make_directory(struct restore *r, uint64_t dir, const uint8_t *name, size_t len,
    struct obj *o)
{
	struct entry e;

	memset(&e, 0, sizeof(e));
	e.type = ENTRY_DIR;
	e.mode = 0755;
	e.mtime = e.ctime = timens_now();
	do
		arc4random_buf(&e.fileid, sizeof(e.fileid));
	while (e.fileid <= 1);
	memset(o, 0, sizeof(*o));
	o->ovl = new_number(r);
	o->links = 1;
	o->changed_attr = r->changed;
	if ((o->entry = entry_dup(&e)) == NULL)
		return -1;
	if (put_object(r, o) == -1 ||
	    set_name(r, dir, name, len, o->ovl) == -1) {
		obj_free(o);
		return -1;
	}
	return 0;
}

/* The directory above a path, all of it made objects; *name: the last
   component. */
static int
parent_of(struct restore *r, const struct stash_item *it, struct obj *dir,
    const uint8_t **name, size_t *len)
{
	size_t at = strlen(r->row->subpath), n;
	const uint8_t *slash;
	struct obj next;
	int rc;

	if (db_obj_get(r->db, r->row->row, OVL_ROOT, dir) == -1)
		return -1;
	at += at > 0;
	for (;;) {
		slash = at < it->len ? memchr(it->path + at, '/', it->len - at)
				     : NULL;
		*name = it->path + at;
		*len = it->len > at ? it->len - at : 0;
		if (slash == NULL)
			return 0;
		n = (size_t)(slash - *name);
		rc = object_at(r, dir, *name, n, &next);
		if (rc == 1 && next.entry->type != ENTRY_DIR) {
			obj_free(&next);
			rc = 0;
		}
		if (rc == 0 &&
		    make_directory(r, dir->ovl, *name, n, &next) == -1)
			rc = -1;
		obj_free(dir);
		if (rc == -1)
			return -1;
		*dir = next;
		at += n + 1;
	}
}

/* Attributes of the stashed entry on what stands there. */
static int
set_attributes(struct restore *r, struct obj *o, const struct entry *from)
{
	struct entry e = *o->entry, *copy;

	e.mode = from->mode;
	e.uid = from->uid;
	e.gid = from->gid;
	e.mtime = from->mtime;
	e.ctime = timens_now();
	e.xattrs = from->xattrs;
	e.xattrs_len = from->xattrs_len;
	e.xattr_node = from->xattr_node;
	if ((copy = entry_dup(&e)) == NULL)
		return -1;
	free(o->entry);
	o->entry = copy;
	o->changed_attr = r->changed;
	return put_object(r, o);
}

/* A new object with the stashed entry; an overlay file keeps its number. */
static int
put_entry(struct restore *r, uint64_t dir, const uint8_t *name, size_t len,
    const struct stash_item *it)
{
	struct entry e = *it->entry, *copy;
	struct obj o;
	int rc = -1;

	if (it->ovl == 0 || db_obj_get(r->db, r->row->row, it->ovl, &o) == -1) {
		/* What cannot be read may have other names. */
		if (it->ovl != 0 && errno != ENOENT)
			return -1;
		memset(&o, 0, sizeof(o));
		o.ovl = it->ovl != 0 ? it->ovl : new_number(r);
	}
	/* Its writers went on into the file since it was put away. */
	if (o.entry != NULL && (o.flags & OBJ_LOCAL) &&
	    o.entry->type == ENTRY_FILE && e.type == ENTRY_FILE) {
		e.size = o.entry->size;
		e.mtime = o.entry->mtime;
		e.ctime = o.entry->ctime;
	}
	if ((copy = entry_dup(&e)) == NULL)
		goto done;
	free(o.entry);
	o.entry = copy;
	o.links++;
	o.flags &= ~(uint32_t)OBJ_DROPPED;
	o.changed_attr = o.changed_content = r->changed;
	if (it->ovl != 0)
		o.flags |= OBJ_LOCAL;
	if (it->has_origin) {
		free(o.origin_path);
		o.has_origin = 1;
		o.origin_commit = it->origin_commit;
		o.origin_path_len = it->origin_len;
		o.origin_path = mem_dup(it->origin_path, it->origin_len);
		if (o.origin_path == NULL)
			goto done;
	}
	if (put_object(r, &o) == 0)
		rc = set_name(r, dir, name, len, o.ovl);
done:
	obj_free(&o);
	return rc;
}

static int
restore_item(struct restore *r, const struct stash_item *it)
{
	const uint8_t *name;
	struct obj dir, o;
	size_t len;
	int there, is_dir, rc = -1;

	if (parent_of(r, it, &dir, &name, &len) == -1)
		return -1;
	if (len == 0) { /* the root: its attributes */
		rc = it->entry != NULL ? set_attributes(r, &dir, it->entry) : 0;
		obj_free(&dir);
		return rc;
	}
	if ((there = object_at(r, &dir, name, len, &o)) == -1)
		goto done;
	is_dir = there && o.entry->type == ENTRY_DIR;
	switch (it->kind) {
	case DELTA_PUT:
		if (is_dir && it->entry != NULL &&
		    it->entry->type == ENTRY_DIR && !it->has_origin)
			rc = set_attributes(r, &o, it->entry);
		else
			rc = it->entry != NULL
			    ? put_entry(r, dir.ovl, name, len, it)
			    : 0;
		break;
	case DELTA_ATTR:
		rc = there && it->entry != NULL &&
			o.entry->type == it->entry->type
		    ? set_attributes(r, &o, it->entry)
		    : 0;
		break;
	case DELTA_DELETE:
		rc = there && !is_dir ? set_name(r, dir.ovl, name, len, 0) : 0;
		break;
	default:
		rc = there ? set_name(r, dir.ovl, name, len, 0) : 0;
		break;
	}
	if (there)
		obj_free(&o);
done:
	obj_free(&dir);
	return rc;
}

int
stash_restore(struct db *db, struct mount_row *row, int64_t id,
    struct node_miss *miss)
{
	struct restore r = { db, row, miss,
		row->applied > 0 ? row->applied : 1 };
	struct stash_item it;
	struct stash_row s;
	uint64_t seq;
	int rc;

	if (db_stash_get(db, id, &s) == -1)
		return -1;
	rc = memcmp(s.mount, row->id, sizeof(s.mount));
	stash_row_free(&s);
	if (rc != 0) {
		errno = ENOENT;
		return -1;
	}
	for (seq = 0; db_stash_item_get(db, id, seq, &it) == 0; seq++) {
		rc = restore_item(&r, &it);
		stash_item_free(&it);
		if (rc == -1)
			return -1;
	}
	if (errno != ENOENT)
		return -1;
	row->epoch++;
	if (db_stash_delete(db, id) == -1)
		return -1;
	return db_mount_update(db, row);
}
