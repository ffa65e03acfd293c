/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * diff: compares what a mount showed before a reload and shows after it, only
 * where the overlay has names or the bases differ.  In manifest.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/chunklist.h"
#include "sailvold/diff.h"

/* What of an entry matters. */
struct look {
	int present;
	uint8_t type;
	struct hash content, attr;
	struct timens mtime, ctime;
	uint64_t fileid, size;
};

struct snap {
	uint8_t *name;
	size_t len;
	struct look look;
	uint64_t ovl;
	int clean_local; /* a published overlay file */
	int has_place;
	struct place place;    /* names of a directory, behind the overlay's */
	struct snap *children; /* sorted */
	size_t n;
};

static void
look_of(struct look *l, const struct entry *e)
{
	memset(l, 0, sizeof(*l));
	if (e == NULL)
		return;
	l->present = 1;
	l->type = e->type;
	entry_content_hash(e, &l->content);
	entry_attr_hash(e, &l->attr);
	l->mtime = e->mtime;
	l->ctime = e->ctime;
	l->fileid = e->fileid;
	l->size = e->size;
}

static void
snap_clear(struct snap *s)
{
	size_t i;

	for (i = 0; i < s->n; i++)
		snap_clear(&s->children[i]);
	free(s->children);
	free(s->name);
	place_free(&s->place);
}

void
snap_free(struct snap *s)
{
	if (s == NULL)
		return;
	snap_clear(s);
	free(s);
}

/* A local file's content: its chunks when they are known, else itself. */
static int
local_content(struct snap *s, const struct obj *o)
{
	struct node_store store;
	struct chunklist *cl;
	struct entry e = *o->entry;
	struct rbuf r;
	struct wbuf w;
	int rc = -1;

	if (o->changed_content != 0 || o->chunks == NULL ||
	    (o->flags & (OBJ_UNSETTLED | OBJ_SUSPECT))) {
		hash_bytes(&s->look.content, &o->ovl, sizeof(o->ovl));
		return 0;
	}
	rbuf_init(&r, o->chunks, o->chunks_len);
	if ((cl = chunklist_decode(&r, (uint64_t)1 << 31)) == NULL) {
		errno = EIO;
		return -1;
	}
	db_node_store(manifest_db, &store);
	wbuf_init(&w, 65536);
	if (chunklist_to_entry(cl, &store, &e, &w) == 0) {
		entry_content_hash(&e, &s->look.content);
		s->look.size = e.size;
		s->clean_local = 1;
		rc = 0;
	}
	wbuf_free(&w);
	chunklist_free(cl);
	return rc;
}

static int snap_dir(struct db *, const struct mount_row *, struct snap *,
    unsigned int depth, struct node_miss *);

static int
snap_object(struct db *db, const struct mount_row *row, struct snap *s,
    unsigned int depth, struct node_miss *miss)
{
	struct obj o;
	int rc = 0;

	if (db_obj_get(db, row->row, s->ovl, &o) == -1)
		return -1;
	look_of(&s->look, o.entry);
	if (o.flags & OBJ_SOCKET)
		s->look.type = ENTRY_SOCKET;
	if (o.flags & OBJ_LOCAL)
		rc = local_content(s, &o);
	if (rc == 0 && o.entry->type == ENTRY_DIR) {
		s->has_place = o.has_origin;
		if (o.has_origin)
			rc = place_open(&s->place, &o.origin_commit,
			    o.origin_path, o.origin_path_len, miss);
		if (rc == 0)
			rc = snap_dir(db, row, s, depth + 1, miss);
	}
	obj_free(&o);
	return rc;
}

static int
snap_dir(struct db *db, const struct mount_row *row, struct snap *s,
    unsigned int depth, struct node_miss *miss)
{
	struct name_row *rows;
	struct snap *c;
	size_t n, i;
	int rc = 0;

	if (depth > SAIL_DEPTH_MAX) {
		errno = ENAMETOOLONG;
		return -1;
	}
	if (db_names_of_dir(db, row->row, s->ovl, "", 0, 0, SIZE_MAX, &rows,
		&n) == -1)
		return -1;
	if ((s->children = calloc(n + 1, sizeof(*s->children))) == NULL) {
		free(rows);
		return -1;
	}
	for (i = 0; i < n && rc == 0; i++) {
		c = &s->children[s->n++];
		c->ovl = rows[i].ovl;
		c->len = rows[i].len;
		if ((c->name = mem_dup(rows[i].name, rows[i].len)) == NULL)
			rc = -1;
		else if (c->ovl != 0)
			rc = snap_object(db, row, c, depth, miss);
	}
	free(rows);
	return rc;
}

struct snap *
snap_take(struct db *db, const struct mount_row *row, struct node_miss *miss)
{
	struct snap *s;

	if ((s = calloc(1, sizeof(*s))) == NULL)
		return NULL;
	s->ovl = OVL_ROOT;
	if (snap_object(db, row, s, 0, miss) == -1) {
		snap_free(s);
		return NULL;
	}
	return s;
}

struct snap *
snap_of_base(const struct mount_row *row, const struct hash *commit,
    struct node_miss *miss)
{
	struct entry root;
	struct snap *s;

	if ((s = calloc(1, sizeof(*s))) == NULL)
		return NULL;
	memset(&root, 0, sizeof(root));
	root.type = ENTRY_DIR;
	root.fileid = 2;
	look_of(&s->look, &root);
	s->has_place = 1;
	if (place_open(&s->place, commit, row->subpath, strlen(row->subpath),
		miss) == -1) {
		snap_free(s);
		return NULL;
	}
	return s;
}

/* ---- comparing ------------------------------------------------------------------------ */

/* A name on one side. */
struct side {
	struct look look;
	const struct snap *snap; /* or NULL: from a place */
	int has_place;
	struct place place;
	int owned;
};

struct both {
	uint8_t *name;
	size_t len;
};
struct names {
	struct both *v;
	size_t n, cap;
};

struct compare {
	struct snap_diff *d;
	struct node_miss *miss;
	unsigned int attempt, depth;
	struct pathbuf path;
};

static int
add_name(void *arg, const uint8_t *name, size_t len, const struct entry *a,
    const struct entry *b)
{
	struct names *ns = arg;
	struct both *more;

	(void)a;
	(void)b;
	if (ns->n == ns->cap) {
		ns->cap = ns->cap == 0 ? 16 : ns->cap * 2;
		more = reallocarray(ns->v, ns->cap, sizeof(*more));
		if (more == NULL)
			return -1;
		ns->v = more;
	}
	if ((ns->v[ns->n].name = mem_dup(name, len)) == NULL)
		return -1;
	ns->v[ns->n++].len = len;
	return 0;
}

static int
name_qcmp(const void *a, const void *b)
{
	const struct both *x = a, *y = b;
	int c = memcmp(x->name, y->name, x->len < y->len ? x->len : y->len);

	return c != 0 ? c : x->len < y->len ? -1 : x->len > y->len;
}

static int
add_children(struct names *ns, const struct snap *s)
{
	size_t i;

	for (i = 0; s != NULL && i < s->n; i++)
		if (add_name(ns, s->children[i].name, s->children[i].len, NULL,
			NULL) == -1)
			return -1;
	return 0;
}

static const struct snap *
child_of(const struct snap *s, const struct both *name)
{
	struct both key;
	size_t lo = 0, hi = s != NULL ? s->n : 0, mid;
	int c;

	while (lo < hi) {
		mid = lo + (hi - lo) / 2;
		key.name = s->children[mid].name;
		key.len = s->children[mid].len;
		if ((c = name_qcmp(&key, name)) == 0)
			return &s->children[mid];
		if (c < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return NULL;
}

static int
side_of(struct compare *c, const struct side *dir, const struct both *name,
    struct side *out)
{
	const struct snap *s = child_of(dir->snap, name);
	struct blob *keep;
	struct entry e;
	int rc;

	memset(out, 0, sizeof(*out));
	if (s != NULL) {
		out->snap = s;
		out->look = s->look;
		out->has_place = s->has_place;
		out->place = s->place;
		return 0;
	}
	if (!dir->has_place)
		return 0;
	rc =
	    place_child(&dir->place, name->name, name->len, &e, &keep, c->miss);
	if (rc != 1)
		return rc;
	look_of(&out->look, &e);
	rc = 0;
	if (e.type == ENTRY_DIR) {
		out->has_place = out->owned = 1;
		rc = place_down(&dir->place, name->name, name->len, &e,
		    &out->place);
	}
	blob_unref(keep);
	return rc;
}

static void
side_free(struct side *s)
{
	if (s->owned)
		place_free(&s->place);
}

static int
emit(struct compare *c, uint8_t kind)
{
	diff_encode(&c->d->out, kind, c->path.b, c->path.len);
	c->d->count++;
	if (c->d->out.error != 0) {
		errno = c->d->out.error;
		return -1;
	}
	return 0;
}

static int
same_content(struct compare *c, const struct side *a)
{
	struct snap_diff *d = c->d;
	struct snap_same *more;

	if (a->snap == NULL || !a->snap->clean_local)
		return 0;
	if (d->nsame == d->same_cap) {
		d->same_cap = d->same_cap == 0 ? 16 : d->same_cap * 2;
		more = reallocarray(d->same, d->same_cap, sizeof(*more));
		if (more == NULL)
			return -1;
		d->same = more;
	}
	d->same[d->nsame].ovl = a->snap->ovl;
	d->same[d->nsame].content = a->look.content;
	d->same[d->nsame++].size = a->look.size;
	return 0;
}

static int
attr_same(const struct look *a, const struct look *b)
{
	return hash_cmp(&a->attr, &b->attr) == 0 && a->fileid == b->fileid &&
	    timens_cmp(a->mtime, b->mtime) == 0 &&
	    timens_cmp(a->ctime, b->ctime) == 0;
}

static int compare_dirs(struct compare *, const struct side *,
    const struct side *);

static int
compare_one(struct compare *c, const struct side *a, const struct side *b)
{
	uint64_t ovl_a = a->snap != NULL ? a->snap->ovl : 0;
	uint64_t ovl_b = b->snap != NULL ? b->snap->ovl : 0;

	if (!a->look.present || !b->look.present)
		return a->look.present ? emit(c, DIFF_GONE)
		    : b->look.present  ? emit(c, DIFF_NEW)
				       : 0;
	if (a->look.type != b->look.type)
		return emit(c, DIFF_OTHER);
	if (a->look.type != ENTRY_DIR) {
		if (hash_cmp(&a->look.content, &b->look.content) != 0)
			return emit(c, DIFF_OTHER);
		if (ovl_a != ovl_b && same_content(c, a) == -1)
			return -1;
	}
	/* Another object behind the same path: fuse has to look at it.  Of other
	   names in it these tell. */
	if ((ovl_a != ovl_b || !attr_same(&a->look, &b->look)) &&
	    emit(c, DIFF_ATTR) == -1)
		return -1;
	return a->look.type == ENTRY_DIR ? compare_dirs(c, a, b) : 0;
}

static int
compare_dirs(struct compare *c, const struct side *a, const struct side *b)
{
	struct names ns = { NULL, 0, 0 };
	struct side x, y;
	size_t i;
	long before;
	int rc = -1;

	if (++c->depth > SAIL_DEPTH_MAX + 1) {
		errno = ENAMETOOLONG;
		return -1;
	}
	if (place_diff(a->has_place ? &a->place : NULL,
		b->has_place ? &b->place : NULL, c->attempt, add_name, &ns,
		c->miss) == -1 ||
	    add_children(&ns, a->snap) == -1 ||
	    add_children(&ns, b->snap) == -1)
		goto done;
	if (ns.n > 1)
		qsort(ns.v, ns.n, sizeof(*ns.v), name_qcmp);
	for (i = 0; i < ns.n; i++) {
		if (i > 0 && name_qcmp(&ns.v[i - 1], &ns.v[i]) == 0)
			continue;
		before = pathbuf_push(&c->path, ns.v[i].name, ns.v[i].len);
		if (before == -1)
			goto done;
		memset(&y, 0, sizeof(y));
		rc = side_of(c, a, &ns.v[i], &x);
		if (rc == 0)
			rc = side_of(c, b, &ns.v[i], &y);
		if (rc == 0)
			rc = compare_one(c, &x, &y);
		side_free(&x);
		side_free(&y);
		pathbuf_pop(&c->path, before);
		if (rc == -1)
			goto done;
	}
	rc = 0;
done:
	for (i = 0; i < ns.n; i++)
		free(ns.v[i].name);
	free(ns.v);
	c->depth--;
	return rc;
}

static void
side_of_root(struct side *s, const struct snap *snap)
{
	memset(s, 0, sizeof(*s));
	s->snap = snap;
	s->look = snap->look;
	s->has_place = snap->has_place;
	s->place = snap->place;
}

int
snap_diff(const struct snap *before, const struct snap *after,
    unsigned int attempt, struct snap_diff *d, struct node_miss *miss)
{
	struct compare c;
	struct side a, b;

	memset(d, 0, sizeof(*d));
	memset(&c, 0, sizeof(c));
	wbuf_init(&d->out, (size_t)1 << 30);
	c.d = d;
	c.miss = miss;
	c.attempt = attempt;
	side_of_root(&a, before);
	side_of_root(&b, after);
	if (compare_one(&c, &a, &b) == -1) {
		snap_diff_free(d);
		return -1;
	}
	return 0;
}

void
snap_diff_free(struct snap_diff *d)
{
	wbuf_free(&d->out);
	free(d->same);
	d->same = NULL;
	d->nsame = 0;
}
