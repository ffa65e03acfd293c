/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * fill: a directory as the mount shows it, its base (the origin) and its
 * overlay merged name by name.  In manifest.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/tree.h"
#include "sailvold/manifest.h"

#define NAME_BATCH 512

void
shown_dir_free(struct shown_dir *d)
{
	if (d == NULL)
		return;
	free(d->origin_path);
	d->origin_path = NULL;
}

void
node_miss_free(struct node_miss *miss)
{
	free(miss->path);
	miss->path = NULL;
}

int
shown_dir_of_item(const struct item *it, struct shown_dir *d)
{
	memset(d, 0, sizeof(*d));
	if (it->entry.type != ENTRY_DIR) {
		errno = ENOTDIR;
		return -1;
	}
	d->ovl = it->ovl;
	d->has_origin = it->has_origin;
	if (!it->has_origin)
		return 0;
	d->origin_commit = it->origin_commit;
	d->origin_path_len = it->origin_path_len;
	if ((d->origin_path = malloc(it->origin_path_len + 1)) == NULL)
		return -1;
	if (it->origin_path_len > 0)
		memcpy(d->origin_path, it->origin_path, it->origin_path_len);
	return 0;
}

/* What has to be asked for: the directory's nodes from a name on. */
static int
set_miss(struct node_miss *miss, const struct hash *commit, const void *path,
    size_t len, const void *first, size_t first_len)
{
	node_miss_free(miss);
	miss->commit = *commit;
	miss->path_len = len;
	if ((miss->path = malloc(len + 1)) == NULL)
		return -1;
	if (len > 0)
		memcpy(miss->path, path, len);
	miss->first_len = first_len <= sizeof(miss->first) ? first_len : 0;
	if (miss->first_len > 0)
		memcpy(miss->first, first, miss->first_len);
	errno = ENODATA;
	return -1;
}

/*
 * The root node of the origin.  0 and the hash; 1: the directory has no origin;
 * -1 (ENODATA: miss says what to ask for).
 */
static int
origin_root(const struct shown_dir *d, struct hash *root,
    struct node_miss *miss)
{
	struct blob *keep = NULL;
	struct entry e;
	size_t depth, at;

	if (!d->has_origin)
		return 1;
	if (nodes_lookup(&d->origin_commit, d->origin_path, d->origin_path_len,
		&e, &keep, &depth) == -1) {
		if (errno != ENODATA)
			return -1;
		/* The name that is looked for in the directory that misses. */
		at = depth == 0 ? 0 : depth + 1;
		if (at > d->origin_path_len)
			at = d->origin_path_len;
		const uint8_t *rest = d->origin_path + at;
		const uint8_t *slash =
		    memchr(rest, '/', d->origin_path_len - at);
		return set_miss(miss, &d->origin_commit, d->origin_path, depth,
		    rest,
		    slash != NULL ? (size_t)(slash - rest)
				  : d->origin_path_len - at);
	}
	*root = e.root;
	blob_unref(keep);
	if (e.type != ENTRY_DIR) {
		errno = ENOTDIR;
		return -1;
	}
	return 0;
}

/* Path of a name of the origin, within the limits of a path: a directory that
   was moved may have brought its names deeper than that. */
static int
origin_child(const struct shown_dir *d, const void *name, size_t len,
    uint8_t *out, size_t size, size_t *out_len)
{
	size_t n = d->origin_path_len;

	if (n + 1 + len > size) {
		errno = ENAMETOOLONG;
		return -1;
	}
	if (n > 0) {
		memcpy(out, d->origin_path, n);
		out[n++] = '/';
	}
	memcpy(out + n, name, len);
	*out_len = n + len;
	if (path_problem(out, *out_len) != NULL) {
		errno = ENAMETOOLONG;
		return -1;
	}
	return 0;
}

static void
clean_item(struct item *it, const struct shown_dir *d, const void *name,
    size_t len, const struct entry *e, const uint8_t *path, size_t path_len)
{
	memset(it, 0, sizeof(*it));
	it->name = name;
	it->name_len = len;
	it->links = 1;
	it->has_origin = 1;
	it->origin_commit = d->origin_commit;
	it->origin_path = path;
	it->origin_path_len = path_len;
	it->entry = *e;
}

/* Views into the object. */
static void
object_item(struct item *it, const void *name, size_t len, const struct obj *o)
{
	memset(it, 0, sizeof(*it));
	it->name = name;
	it->name_len = len;
	it->ovl = o->ovl;
	it->links = o->links;
	if (o->flags & OBJ_LOCAL)
		it->flags |= ITEM_LOCAL;
	if (o->flags & OBJ_UNSETTLED)
		it->flags |= ITEM_UNSETTLED;
	if (o->changed_content == 0)
		it->flags |= ITEM_CLEAN;
	it->has_origin = o->has_origin;
	it->origin_commit = o->origin_commit;
	it->origin_path = o->origin_path;
	it->origin_path_len = o->origin_path_len;
	it->entry = *o->entry;
	if (o->flags & OBJ_SOCKET)
		it->entry.type = ENTRY_SOCKET;
}

/* ---- attributes of their own node ------------------------------------------ */

/*
 * Extended attributes over 1 KiB are a node: they are put into the entry here,
 * so that nobody behind has to ask.  *keep: memory of the views.
 */
static int
load_xattrs(struct entry *e, struct blob **keep)
{
	struct node_store store;
	struct hash missing;

	db_node_store(manifest_db, &store);
	return node_xattrs_load(&store, e, keep, &missing);
}

/* ---- many names -------------------------------------------------------------- */

struct fill {
	struct mount *m;
	const struct shown_dir *d;
	struct node_store store; /* the iterator looks into it */
	struct tree_iter *base;  /* NULL: none, or at its end */
	const uint8_t *base_name;
	size_t base_len;
	struct entry base_entry;
	uint8_t base_last[SAIL_NAME_MAX]; /* the one before: where to ask on */
	size_t base_last_len;
	struct name_row *rows; /* a batch of the overlay */
	size_t nrows, row;
	uint8_t last[SAIL_NAME_MAX]; /* the last of the batch before */
	size_t last_len;
	int rows_end;
	struct wbuf *w;
	uint32_t count;
	struct node_miss *miss;
};

static int
next_base(struct fill *f)
{
	int rc;

	if (f->base == NULL)
		return 0;
	if (f->base_name != NULL && f->base_len <= sizeof(f->base_last)) {
		memcpy(f->base_last, f->base_name, f->base_len);
		f->base_last_len = f->base_len;
	}
	rc = tree_iter_next(f->base, &f->base_name, &f->base_len,
	    &f->base_entry);
	if (rc == 1)
		return 0;
	if (rc == 0) {
		tree_iter_end(f->base);
		f->base = NULL;
		return 0;
	}
	return -1;
}

static int
next_rows(struct fill *f, const void *first, size_t len, int after)
{
	free(f->rows);
	f->rows = NULL;
	f->row = f->nrows = 0;
	if (f->d->ovl == 0 || f->rows_end) {
		f->rows_end = 1;
		return 0;
	}
	if (db_names_of_dir(manifest_db, f->m->row.row, f->d->ovl, first, len,
		after, NAME_BATCH, &f->rows, &f->nrows) == -1)
		return -1;
	if (f->nrows < NAME_BATCH)
		f->rows_end = 1;
	if (f->nrows > 0) {
		const struct name_row *r = &f->rows[f->nrows - 1];

		if (r->len > sizeof(f->last)) {
			errno = EIO;
			return -1;
		}
		memcpy(f->last, r->name, r->len);
		f->last_len = r->len;
	}
	return 0;
}

static int
next_row(struct fill *f)
{
	if (++f->row < f->nrows || f->rows_end)
		return 0;
	return next_rows(f, f->last, f->last_len, 1);
}

/*
 * A node of an object's extended attributes is not here: it is asked for where
 * the object comes from.
 */
static int
miss_of_object(struct node_miss *miss, const struct obj *o)
{
	size_t parent, name;

	if (!o->has_origin) {
		errno = EIO;
		return -1;
	}
	parent = path_parent(o->origin_path, o->origin_path_len);
	name = parent > 0 ? parent + 1 : 0;
	return set_miss(miss, &o->origin_commit, o->origin_path, parent,
	    o->origin_path + name, o->origin_path_len - name);
}

static int
add_base(struct fill *f)
{
	uint8_t path[SAIL_PATH_MAX + SAIL_NAME_MAX + 1];
	struct blob *keep;
	struct item it;
	size_t len;

	if (origin_child(f->d, f->base_name, f->base_len, path, sizeof(path),
		&len) == -1)
		return -1;
	clean_item(&it, f->d, f->base_name, f->base_len, &f->base_entry, path,
	    len);
	if (load_xattrs(&it.entry, &keep) == -1) {
		if (errno != ENODATA)
			return -1;
		return set_miss(f->miss, &f->d->origin_commit,
		    f->d->origin_path, f->d->origin_path_len, f->base_name,
		    f->base_len);
	}
	item_encode(f->w, &it);
	blob_unref(keep);
	f->count++;
	return 0;
}

static int
add_row(struct fill *f)
{
	const struct name_row *r = &f->rows[f->row];
	struct blob *keep;
	struct item it;
	struct obj o;
	int rc = 0;

	if (r->ovl == 0)
		return 0;
	if (db_obj_get(manifest_db, f->m->row.row, r->ovl, &o) == -1) {
		if (errno == ENOENT)
			errno = EIO;
		return -1;
	}
	object_item(&it, r->name, r->len, &o);
	if (load_xattrs(&it.entry, &keep) == -1) {
		rc = -1;
		if (errno == ENODATA)
			miss_of_object(f->miss, &o);
	} else {
		item_encode(f->w, &it);
		blob_unref(keep);
		f->count++;
	}
	obj_free(&o);
	return rc;
}

/* The lesser of both sides; the overlay masks the base. 1: done. */
static int
step(struct fill *f)
{
	int have_row = f->row < f->nrows, c;

	if (f->base == NULL && !have_row)
		return 1;
	if (f->base == NULL)
		c = 1;
	else if (!have_row)
		c = -1;
	else {
		const struct name_row *r = &f->rows[f->row];
		size_t n = f->base_len < r->len ? f->base_len : r->len;

		c = memcmp(f->base_name, r->name, n);
		if (c == 0)
			c = f->base_len < r->len ? -1 : f->base_len > r->len;
	}
	if (c < 0)
		return add_base(f) == -1 || next_base(f) == -1 ? -1 : 0;
	if (add_row(f) == -1)
		return -1;
	if (c == 0 && next_base(f) == -1)
		return -1;
	return next_row(f);
}

static int
fill_begin(struct fill *f, const void *first, size_t len, int after)
{
	struct hash root;
	int rc;

	if ((rc = origin_root(f->d, &root, f->miss)) == -1)
		return -1;
	if (rc == 0) {
		db_node_store(manifest_db, &f->store);
		f->base = tree_iter_begin(&f->store, &root, first, len, after);
		if (f->base == NULL)
			return -1;
		if (next_base(f) == -1)
			return -1;
	}
	return next_rows(f, first, len, after);
}

int
fill_dir(struct mount *m, const struct shown_dir *d, const void *first,
    size_t first_len, int after, size_t max, size_t max_bytes, struct wbuf *w,
    uint32_t *count, int *end, struct node_miss *miss)
{
	struct fill f;
	int rc;

	memset(&f, 0, sizeof(f));
	memset(miss, 0, sizeof(*miss));
	f.m = m;
	f.d = d;
	f.w = w;
	f.miss = miss;
	*end = 0;
	rc = fill_begin(&f, first, first_len, after);
	while (rc == 0 && f.count < max && w->len < max_bytes)
		rc = step(&f);
	if (rc == 0 && f.base == NULL && f.row >= f.nrows && f.rows_end)
		rc = 1;
	if (rc == 1) {
		*end = 1;
		rc = 0;
	}
	/* The base's own iterator says where a node of it is missing. */
	if (rc == -1 && errno == ENODATA && miss->path == NULL) {
		if (f.base_last_len > 0)
			set_miss(miss, &d->origin_commit, d->origin_path,
			    d->origin_path_len, f.base_last, f.base_last_len);
		else
			set_miss(miss, &d->origin_commit, d->origin_path,
			    d->origin_path_len, first, first_len);
	}
	if (rc == 0 && w->error != 0) {
		errno = w->error;
		rc = -1;
	}
	*count = f.count;
	{
		int saved = errno;

		tree_iter_end(f.base);
		free(f.rows);
		errno = saved;
	}
	return rc;
}

/* ---- one name ------------------------------------------------------------------ */

/* Encodes and decodes, so that the views live in one piece of memory. */
static int
keep_item(struct item *it, void **keep)
{
	struct rbuf r;
	struct wbuf w;
	size_t len;

	wbuf_init(&w, 1024 * 1024);
	item_encode(&w, it);
	if ((*keep = wbuf_take(&w, &len)) == NULL)
		return -1;
	rbuf_init(&r, *keep, len);
	if (item_decode(&r, it) != 1) {
		free(*keep);
		*keep = NULL;
		errno = EIO;
		return -1;
	}
	return 1;
}

static int
one_object(struct mount *m, uint64_t ovl, const void *name, size_t len,
    struct item *it, void **keep, struct node_miss *miss)
{
	struct blob *xattrs;
	struct obj o;
	int rc;

	if (db_obj_get(manifest_db, m->row.row, ovl, &o) == -1)
		return -1;
	object_item(it, name, len, &o);
	if (load_xattrs(&it->entry, &xattrs) == -1) {
		rc = -1;
		if (errno == ENODATA)
			miss_of_object(miss, &o);
	} else {
		rc = keep_item(it, keep);
		blob_unref(xattrs);
	}
	obj_free(&o);
	return rc;
}

int
fill_object(struct mount *m, uint64_t ovl, struct item *it, void **keep,
    struct node_miss *miss)
{
	memset(miss, 0, sizeof(*miss));
	*keep = NULL;
	return one_object(m, ovl, "", 0, it, keep, miss);
}

int
fill_one(struct mount *m, const struct shown_dir *d, const void *name,
    size_t len, struct item *it, void **keep, struct node_miss *miss)
{
	uint8_t path[SAIL_PATH_MAX + SAIL_NAME_MAX + 1];
	struct blob *blob = NULL, *xattrs = NULL;
	struct node_store store;
	struct hash root, missing;
	struct name_row row;
	struct entry e;
	size_t path_len;
	int rc;

	memset(miss, 0, sizeof(*miss));
	*keep = NULL;
	if (d->ovl != 0 &&
	    db_name_get(manifest_db, m->row.row, d->ovl, name, len, &row) == 0)
		return row.ovl == 0
		    ? 0
		    : one_object(m, row.ovl, name, len, it, keep, miss);
	if (d->ovl != 0 && errno != ENOENT)
		return -1;
	if ((rc = origin_root(d, &root, miss)) != 0)
		return rc == 1 ? 0 : -1;
	db_node_store(manifest_db, &store);
	if (tree_lookup(&store, &root, name, len, &e, &blob, &missing) == -1) {
		if (errno == ENOENT)
			return 0;
		return errno != ENODATA
		    ? -1
		    : set_miss(miss, &d->origin_commit, d->origin_path,
			  d->origin_path_len, name, len);
	}
	rc = -1;
	if (origin_child(d, name, len, path, sizeof(path), &path_len) == -1)
		goto done;
	clean_item(it, d, name, len, &e, path, path_len);
	if (load_xattrs(&it->entry, &xattrs) == -1) {
		if (errno == ENODATA)
			set_miss(miss, &d->origin_commit, d->origin_path,
			    d->origin_path_len, name, len);
		goto done;
	}
	rc = keep_item(it, keep);
done:
	blob_unref(blob);
	blob_unref(xattrs);
	return rc;
}

int
fill_path(struct mount *m, const void *path, size_t len, struct item *it,
    void **keep, struct node_miss *miss)
{
	const uint8_t *p = path, *slash;
	struct shown_dir d;
	void *mem = NULL;
	size_t at = 0, n;
	int rc;

	*keep = NULL;
	if ((rc = fill_object(m, OVL_ROOT, it, &mem, miss)) != 1)
		return rc;
	while (at < len) {
		slash = memchr(p + at, '/', len - at);
		n = slash != NULL ? (size_t)(slash - p) - at : len - at;
		rc = shown_dir_of_item(it, &d);
		free(mem);
		mem = NULL;
		if (rc == -1)
			return errno == ENOTDIR ? 0 : -1;
		rc = fill_one(m, &d, p + at, n, it, &mem, miss);
		shown_dir_free(&d);
		if (rc != 1)
			return rc;
		at += n + (slash != NULL);
	}
	*keep = mem;
	return 1;
}
