/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * delta_make: walks the changed names and objects of an overlay and decides
 * what has to be published for each, name by name: the caller may do something
 * else between two of them.  In manifest.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/tree.h"
#include "sailvold/delta_make.h"
#include "sailvold/delta_names.h"
#include "sailvold/delta_set.h"

/* What stands at a name when no operation says anything else. */
enum mode {
	MODE_SEEN,    /* what was seen */
	MODE_NOTHING, /* the directory is put, empty */
	MODE_TREE     /* it is put by reference */
};

struct level {
	enum mode mode;
	const struct place *tree; /* MODE_TREE */
	size_t ref_item;          /* the item that has the reference */
	size_t ref_len;           /* length of its path */
	int full;                 /* all names: the directory's place changed */
};

/* A directory as the mount shows it. */
struct vdir {
	uint64_t ovl; /* 0: clean */
	int has_origin;
	struct place origin;
};

/* What the mount shows at a name. */
struct view {
	int present, is_dir, socket;
	uint64_t changed; /* of the name's row */
	int has_row;
	struct obj o; /* of an object */
	int has_obj;
	struct entry clean; /* without an object */
	struct blob *keep;
	struct vdir dir;
};

/* What stands there without an operation. */
struct base {
	struct seen seen;
	int has_tree;
	struct place tree;
};

/* A name that is looked at, and what is below it. */
struct at {
	struct look look;
	struct seen_at s;
	struct base b;
	struct view w;
	long before; /* of the path */
	size_t had;  /* items before it */
	enum keep keep;
};

enum fill { FILL_CHILDREN, FILL_NAMES, FILL_SEEN, FILL_DONE };

/* A directory that is walked. */
struct frame {
	struct frame *up;
	const struct vdir *v;
	const struct seen_at *s;
	struct level lv;
	size_t context, had; /* before it */
	enum fill fill;
	struct tnode *child; /* the next one that is filled in */
	struct looks looks;
	uint8_t *last; /* the name, or the path of what was seen, so far */
	size_t last_len;
	int in_name;
	struct at at;
};

struct delta_walk {
	struct db *db;
	const struct mount_row *row;
	struct delta_set set;
	struct seen_ctx seen;
	struct node_miss *miss; /* of this step */
	struct delta_names names;
	int gathered, begun;
	struct pathbuf path;
	unsigned int depth;
	struct at root;
	struct frame *top;
	int all;
	delta_keep_cb keep;
	void *keep_arg;
};

/* ---- one name ---------------------------------------------------------------------- */

static void
view_free(struct view *w)
{
	if (w->has_obj)
		obj_free(&w->o);
	blob_unref(w->keep);
	place_free(&w->dir.origin);
}

static const struct entry *
view_entry(const struct view *w)
{
	return w->has_obj ? w->o.entry : &w->clean;
}

static int
view_of(struct delta_walk *k, const struct vdir *v, const void *name,
    size_t len, struct view *w)
{
	struct name_row r;
	int rc;

	memset(w, 0, sizeof(*w));
	if (v->ovl != 0) {
		if (db_name_get(k->db, k->row->row, v->ovl, name, len, &r) ==
		    0) {
			w->changed = r.changed;
			w->has_row = 1;
			if (r.ovl == 0)
				return 0;
			if (db_obj_get(k->db, k->row->row, r.ovl, &w->o) == -1)
				return -1;
			w->has_obj = 1;
			w->socket = (w->o.flags & OBJ_SOCKET) != 0;
			w->present = !w->socket;
			w->is_dir = w->o.entry->type == ENTRY_DIR;
			w->dir.ovl = r.ovl;
			w->dir.has_origin = w->is_dir && w->o.has_origin;
			return 0;
		}
		if (errno != ENOENT)
			return -1;
	}
	if (!v->has_origin)
		return 0;
	rc = place_child(&v->origin, name, len, &w->clean, &w->keep, k->miss);
	if (rc != 1)
		return rc;
	w->present = 1;
	w->is_dir = w->clean.type == ENTRY_DIR;
	w->dir.has_origin = w->is_dir;
	if (w->is_dir &&
	    place_down(&v->origin, name, len, &w->clean, &w->dir.origin) ==
		-1) {
		view_free(w);
		return -1;
	}
	return 0;
}

/* The origin of a directory object, by a place that is known if it is that. */
static int
view_origin(struct delta_walk *k, struct view *w, const struct place *known)
{
	if (!w->has_obj || !w->dir.has_origin || w->dir.origin.path != NULL)
		return 0;
	if (known != NULL &&
	    place_is(known, &w->o.origin_commit, w->o.origin_path,
		w->o.origin_path_len))
		return place_copy(&w->dir.origin, known);
	return place_open(&w->dir.origin, &w->o.origin_commit, w->o.origin_path,
	    w->o.origin_path_len, k->miss);
}

static int
base_of(struct delta_walk *k, const struct level *lv, const struct seen_at *s,
    const void *name, size_t len, struct base *b)
{
	struct blob *keep;
	struct entry e;
	int rc;

	memset(b, 0, sizeof(*b));
	if (lv->mode == MODE_SEEN) {
		b->seen = s->seen;
		b->has_tree = s->has_tree;
		return s->has_tree ? place_copy(&b->tree, &s->tree) : 0;
	}
	if (lv->mode == MODE_NOTHING)
		return 0;
	rc = place_child(lv->tree, name, len, &e, &keep, k->miss);
	if (rc != 1)
		return rc;
	seen_of(&e, &b->seen);
	rc = 0;
	if (e.type == ENTRY_DIR) {
		b->has_tree = 1;
		rc = place_down(lv->tree, name, len, &e, &b->tree);
	}
	blob_unref(keep);
	return rc;
}

static int
add_tree(struct delta_walk *k, struct delta_item *it, const struct seen_at *s)
{
	it->has_tree = 1;
	return seen_tree(&k->seen, k->path.b, k->path.len, s, &it->tree);
}

/* The reference above does not bring this name. */
static int
add_ref_except(struct delta_walk *k, const struct level *lv)
{
	struct delta_item *it = &k->set.items[lv->ref_item];
	size_t skip = lv->ref_len + (lv->ref_len > 0), cap;
	struct seen_except *x;

	if (it->nref_x == it->ref_x_cap) {
		cap = it->ref_x_cap == 0 ? 8 : it->ref_x_cap * 2;
		if ((x = reallocarray(it->ref_x, cap, sizeof(*x))) == NULL)
			return -1;
		it->ref_x = x;
		it->ref_x_cap = cap;
	}
	x = &it->ref_x[it->nref_x];
	memset(x, 0, sizeof(*x));
	x->len = k->path.len - skip;
	if ((x->path = mem_dup(k->path.b + skip, x->len)) == NULL)
		return -1;
	it->nref_x++;
	return 0;
}

/* Hard links: of those without a number of their own, the oldest has the
   file's. */
static int
link_fileid(struct delta_walk *k, const struct obj *o, uint64_t dir,
    const void *name, size_t len, uint64_t *fileid)
{
	const struct oldest *first;

	if (db_link_id_get(k->db, k->row->row, o->ovl, dir, name, len,
		fileid) == 0)
		return 0;
	if (errno != ENOENT ||
	    (first = delta_names_oldest(&k->names, o->ovl)) == NULL)
		return -1;
	if (first->dir == dir && first->len == len &&
	    memcmp(first->name, name, len) == 0)
		return 0;
	return delta_link_new(k->db, k->row, o, dir, name, len, fileid);
}

/* A new item at the path of the walk. */
static struct delta_item *
item_add(struct delta_walk *k, const struct seen_at *s, const struct base *b,
    const struct view *w, const uint8_t *name, size_t name_len, uint64_t dir)
{
	struct delta_item *it;

	it = delta_set_add(&k->set, k->path.b, k->path.len);
	if (it == NULL)
		return NULL;
	it->seen = s->seen;
	it->base = b->seen;
	if (!w->present)
		return it;
	if ((it->entry = entry_dup(view_entry(w))) == NULL)
		return NULL;
	if (!w->has_obj)
		return it;
	it->ovl = w->o.ovl;
	if (!w->is_dir && w->o.links > 1 &&
	    link_fileid(k, &w->o, dir, name, name_len, &it->entry->fileid) ==
		-1)
		return NULL;
	if (w->o.has_origin && !w->is_dir) {
		it->has_origin = 1;
		it->origin_commit = w->o.origin_commit;
		it->origin_len = w->o.origin_path_len;
		it->origin_path = mem_dup(w->o.origin_path, it->origin_len);
		if (it->origin_path == NULL)
			return NULL;
	}
	return it;
}

static int
absent(struct delta_walk *k, const struct level *lv, const struct seen_at *s,
    const struct base *b, const struct view *w)
{
	struct delta_item *it;

	if (w->socket &&
	    delta_set_not_kept(&k->set, k->path.b, k->path.len) == -1)
		return -1;
	if (!b->seen.present)
		return 0;
	if (lv->mode == MODE_TREE)
		return add_ref_except(k, lv);
	if ((it = item_add(k, s, b, w, NULL, 0, 0)) == NULL)
		return -1;
	it->kind = s->seen.is_dir ? DELTA_TREE : DELTA_DELETE;
	return s->seen.is_dir ? add_tree(k, it, s) : 0;
}

/*
 * What came from this very path, or was published by this mount before, was
 * moved away and back: it is not made again.
 */
static int
is_back(const struct delta_walk *k, const struct view *w)
{
	if (!w->has_obj)
		return 0;
	if (!w->o.has_origin)
		return w->o.chunks != NULL;
	return w->o.origin_path_len == k->path.len &&
	    memcmp(w->o.origin_path, k->path.b, k->path.len) == 0;
}

/* Not a directory. */
static int
leaf(struct delta_walk *k, const struct level *lv, const struct seen_at *s,
    const struct base *b, const struct view *w, uint64_t dir,
    const uint8_t *name, size_t len)
{
	struct delta_item *it;

	if ((it = item_add(k, s, b, w, name, len, dir)) == NULL)
		return -1;
	it->renamed = w->changed > 0 && !is_back(k, w);
	if (lv->mode == MODE_SEEN && s->seen.is_dir && add_tree(k, it, s) == -1)
		return -1;
	if (!w->has_obj || !(w->o.flags & OBJ_LOCAL))
		return delta_item_decide(it);
	it->local = 1;
	if (w->o.changed_content > 0 || w->o.chunks == NULL ||
	    (w->o.flags & OBJ_UNSETTLED)) {
		it->hash = HASH_NEEDED;
		return 0;
	}
	if (w->o.flags & OBJ_SUSPECT) {
		it->hash = HASH_SUSPECT;
		return 0;
	}
	return delta_item_known(it, w->o.chunks, w->o.chunks_len);
}

static int
attr_differs(const struct entry *e, const struct seen *s)
{
	struct seen v;

	seen_of(e, &v);
	return hash_cmp(&v.attr, &s->attr) != 0;
}

/* *same: it is the directory that is there without an operation. */
static int
same_directory(struct delta_walk *k, const struct base *b, struct view *w,
    int *same)
{
	*same = 0;
	if (view_origin(k, w, b->has_tree ? &b->tree : NULL) == -1)
		return -1;
	if (!b->seen.present || !b->seen.is_dir)
		return 0;
	if (b->has_tree != w->dir.has_origin)
		return 0;
	*same = !b->has_tree || place_same(&b->tree, &w->dir.origin);
	return 0;
}

/* Says below which directory; -1. */
static int
too_long(struct delta_walk *k)
{
	k->miss->path = mem_dup(k->path.b, k->path.len);
	k->miss->path_len = k->miss->path != NULL ? k->path.len : 0;
	errno = ENAMETOOLONG;
	return -1;
}

/* The names of the directory at the path come next. */
static int
frame_push(struct delta_walk *k, const struct vdir *v, const struct entry *e,
    const struct seen_at *s, const struct level *lv, struct tnode *t)
{
	struct frame *f;

	if (++k->depth > SAIL_DEPTH_MAX + 1) /* and the root */
		return too_long(k);
	if ((f = calloc(1, sizeof(*f))) == NULL)
		return -1;
	f->context = k->set.ncontext;
	f->had = k->set.n;
	f->v = v;
	f->s = s;
	f->lv = *lv;
	f->child = t != NULL ? t->children : NULL;
	f->up = k->top;
	k->top = f;
	return k->path.len > 0
	    ? delta_set_context(&k->set, k->path.b, k->path.len, e)
	    : 0;
}

/* 1: its names come next. */
static int
directory(struct delta_walk *k, struct frame *f, struct at *a)
{
	struct level down = f->lv;
	struct delta_item *it = NULL;
	struct view *w = &a->w;
	int same;

	if (same_directory(k, &a->b, w, &same) == -1)
		return -1;
	down.full = f->lv.full || w->changed > 0;
	if (same) {
		a->keep = KEEP_PASS;
		if (f->lv.mode == MODE_TREE)
			down.tree = &a->b.tree;
		if (attr_differs(view_entry(w), &a->b.seen)) {
			it = item_add(k, &a->s, &a->b, w, NULL, 0, 0);
			if (it == NULL)
				return -1;
			it->kind = DELTA_ATTR;
			a->keep = KEEP_ATTR;
		}
		if (it != NULL && a->b.has_tree) {
			it->has_after = 1;
			if (place_copy(&it->after, &a->b.tree) == -1)
				return -1;
		}
	} else {
		a->keep = KEEP_OWN;
		if (f->lv.mode == MODE_TREE && a->b.seen.present &&
		    add_ref_except(k, &f->lv) == -1)
			return -1;
		it = item_add(k, &a->s, &a->b, w, NULL, 0, 0);
		if (it == NULL)
			return -1;
		it->kind = DELTA_PUT;
		if (f->lv.mode == MODE_SEEN && a->s.seen.is_dir &&
		    add_tree(k, it, &a->s) == -1)
			return -1;
		down.mode = MODE_NOTHING;
		if (w->dir.has_origin) {
			down.mode = MODE_TREE;
			down.tree = &w->dir.origin;
			down.ref_item = (size_t)(it - k->set.items);
			down.ref_len = k->path.len;
			it->has_ref = it->has_after = 1;
			if (place_copy(&it->ref, &w->dir.origin) == -1 ||
			    place_copy(&it->after, &w->dir.origin) == -1)
				return -1;
		}
		down.full = 1;
	}
	if (w->dir.ovl == 0 && down.mode == MODE_SEEN && !down.full &&
	    a->look.t == NULL)
		return 0;
	return frame_push(k, &w->dir, view_entry(w), &a->s, &down, a->look.t) ==
		-1
	    ? -1
	    : 1;
}

/* Of a name that is no directory; it: its item, or NULL. */
static enum keep
keep_of(const struct view *w, const struct delta_item *it)
{
	if (w->socket)
		return KEEP_SOCKET;
	if (it == NULL || (it->kind == 0 && it->hash == HASH_KNOWN))
		return KEEP_NOT;
	if (!w->present)
		return KEEP_GONE;
	return it->kind == DELTA_ATTR ? KEEP_FILE : KEEP_OWN;
}

static void
at_free(struct at *a)
{
	view_free(&a->w);
	seen_at_free(&a->s);
	place_free(&a->b.tree);
}

/* With all that is below it. */
static int
name_end(struct delta_walk *k, struct frame *f)
{
	struct at *a = &f->at;
	int rc = 0;

	if (a->keep == KEEP_NOT)
		a->keep = keep_of(&a->w,
		    k->set.n > a->had ? &k->set.items[k->set.n - 1] : NULL);
	/* A name below a directory that is put is kept with it. */
	if (f->lv.mode != MODE_SEEN)
		a->keep = KEEP_OWN;
	if (k->keep != NULL &&
	    (a->w.has_row ||
		(f->v->ovl != 0 && !a->w.present && a->keep != KEEP_NOT)))
		rc = k->keep(k->keep_arg, f->v->ovl, a->look.name, a->look.len,
		    k->path.b, k->path.len, a->w.has_obj ? a->w.o.ovl : 0,
		    a->keep, &a->s.seen);
	f->in_name = 0;
	at_free(a);
	pathbuf_pop(&k->path, a->before);
	return rc;
}

static int
name_begin(struct delta_walk *k, struct frame *f, const struct look *look)
{
	struct at *a = &f->at;
	int rc;

	memset(a, 0, sizeof(*a));
	a->look = *look;
	a->had = k->set.n;
	a->keep = KEEP_NOT;
	a->before = pathbuf_push(&k->path, look->name, look->len);
	if (a->before == -1)
		return errno == ENAMETOOLONG ? too_long(k) : -1;
	if (view_of(k, f->v, look->name, look->len, &a->w) == -1)
		return -1;
	f->in_name = 1; /* what it holds is freed with it */
	if (seen_child(&k->seen, f->s, k->path.b, k->path.len, look->name,
		look->len, &a->s) == -1 ||
	    base_of(k, &f->lv, &a->s, look->name, look->len, &a->b) == -1)
		return -1;
	if (!a->w.present)
		rc = absent(k, &f->lv, &a->s, &a->b, &a->w);
	else if (a->w.is_dir)
		rc = directory(k, f, a);
	else
		rc = leaf(k, &f->lv, &a->s, &a->b, &a->w, f->v->ovl, look->name,
		    look->len);
	return rc != 0 ? rc : name_end(k, f);
}

static void
frame_pop(struct delta_walk *k)
{
	struct frame *f = k->top;

	k->top = f->up;
	k->depth--;
	looks_free(&f->looks);
	free(f->last);
	free(f);
}

static int
last_is(struct frame *f, const uint8_t *p, size_t len)
{
	free(f->last);
	f->last_len = len;
	return (f->last = mem_dup(p, len)) == NULL ? -1 : 0;
}

/* A page of the overlay's names.  1: there are more. */
static int
fill_names(struct delta_walk *k, struct frame *f)
{
	struct name_row *rows;
	size_t n, i;
	int rc = -1;

	if (db_names_of_dir(k->db, k->row->row, f->v->ovl,
		f->last != NULL ? f->last : (const uint8_t *)"", f->last_len,
		f->last != NULL, delta_page, &rows, &n) == -1)
		return -1;
	for (i = 0; i < n; i++)
		if (looks_add_copy(&f->looks, &k->names, rows[i].name,
			rows[i].len) == -1)
			goto done;
	if (n > 0 && last_is(f, rows[n - 1].name, rows[n - 1].len) == -1)
		goto done;
	rc = n == delta_page;
done:
	free(rows);
	return rc;
}

/* The same of what was seen. */
static int
fill_seen(struct delta_walk *k, struct frame *f)
{
	size_t off = k->path.len + (k->path.len > 0), n, i, len, had = 0;
	const uint8_t *name, *before = NULL, *slash;
	struct seen_row *rows;
	int rc = -1;

	if (db_seen_below_after(k->db, k->row->row, k->path.b, k->path.len,
		f->last, f->last_len, delta_page, &rows, &n) == -1)
		return -1;
	for (i = 0; i < n; i++) {
		name = rows[i].path + off;
		slash = memchr(name, '/', rows[i].len - off);
		len =
		    slash != NULL ? (size_t)(slash - name) : rows[i].len - off;
		if (before != NULL && had == len &&
		    memcmp(before, name, len) == 0)
			continue;
		if (looks_add_copy(&f->looks, &k->names, name, len) == -1)
			goto done;
		before = name;
		had = len;
	}
	if (n > 0 && last_is(f, rows[n - 1].path, rows[n - 1].len) == -1)
		goto done;
	rc = n == delta_page;
done:
	free(rows);
	return rc;
}

/* Some of the names that are looked at. */
static int
frame_fill(struct delta_walk *k, struct frame *f)
{
	unsigned int n;
	int rc = 0;

	switch (f->fill) {
	case FILL_CHILDREN:
		for (n = 0; f->child != NULL && n < delta_page; n++) {
			if (looks_add(&f->looks, f->child->name, f->child->len,
				f->child) == -1)
				return -1;
			f->child = f->child->next;
		}
		rc = f->child != NULL;
		break;
	case FILL_NAMES:
		if ((f->lv.full || k->all) && f->v->ovl != 0)
			rc = fill_names(k, f);
		break;
	case FILL_SEEN:
		if (f->lv.full && f->lv.mode == MODE_SEEN)
			rc = fill_seen(k, f);
		break;
	case FILL_DONE:
		break;
	}
	if (rc == 0) {
		free(f->last);
		f->last = NULL;
		f->last_len = 0;
		f->fill++;
	}
	return rc;
}

/* One thing of the directory that is walked. */
static int
walk_one(struct delta_walk *k)
{
	struct frame *f = k->top;
	struct look look;

	if (f->fill != FILL_DONE)
		return frame_fill(k, f) == -1 ? -1 : 1;
	if (looks_take(&f->looks, &look))
		return name_begin(k, f, &look) == -1 ? -1 : 1;
	if (k->set.n == f->had)
		delta_set_context_cut(&k->set, f->context);
	frame_pop(k);
	if (k->top == NULL)
		return 0;
	return name_end(k, k->top) == -1 ? -1 : 1;
}

/* The directories above the mount's root. */
static int
context_above(struct delta_walk *k)
{
	const char *sub = k->row->subpath;
	size_t len = strlen(sub), i, depth;
	struct blob *keep;
	struct entry e;
	int rc;

	for (i = 1; i < len; i++) {
		if (sub[i] != '/')
			continue;
		if (nodes_lookup(&k->row->base, sub, i, &e, &keep, &depth) ==
		    -1)
			return errno == ENODATA
			    ? miss_set(k->miss, &k->row->base, sub, depth, "",
				  0)
			    : -1;
		rc = delta_set_context(&k->set, (const uint8_t *)sub, i, &e);
		blob_unref(keep);
		if (rc == -1)
			return -1;
	}
	return 0;
}

static int
walk_root(struct delta_walk *k)
{
	struct level lv = { MODE_SEEN, NULL, 0, 0, 0 };
	size_t len = strlen(k->row->subpath);
	struct at *a = &k->root;
	struct delta_item *it;
	int same;

	k->begun = 1;
	if (db_obj_get(k->db, k->row->row, OVL_ROOT, &a->w.o) == -1)
		return -1;
	a->w.has_obj = a->w.present = a->w.is_dir = 1;
	a->w.dir.ovl = OVL_ROOT;
	a->w.dir.has_origin = a->w.o.has_origin;
	memcpy(k->path.b, k->row->subpath, len);
	k->path.len = len;
	if (seen_lookup(&k->seen, k->row->subpath, len, &a->s) == -1 ||
	    base_of(k, &lv, &a->s, "", 0, &a->b) == -1 ||
	    context_above(k) == -1 ||
	    same_directory(k, &a->b, &a->w, &same) == -1)
		return -1;
	if (a->b.seen.present && attr_differs(a->w.o.entry, &a->b.seen)) {
		if ((it = item_add(k, &a->s, &a->b, &a->w, NULL, 0, 0)) == NULL)
			return -1;
		it->kind = DELTA_ATTR;
		it->has_after = a->b.has_tree;
		if (a->b.has_tree && place_copy(&it->after, &a->b.tree) == -1)
			return -1;
	}
	return frame_push(k, &a->w.dir, a->w.o.entry, &a->s, &lv,
		   k->names.root) == -1
	    ? -1
	    : 1;
}

/* ---- step by step ---------------------------------------------------------------------- */

struct delta_walk *
delta_walk_begin(struct db *db, const struct mount_row *row,
    unsigned int attempt, int all, delta_keep_cb f, void *arg)
{
	struct delta_walk *k;

	if ((k = calloc(1, sizeof(*k))) == NULL)
		return NULL;
	if (delta_names_begin(&k->names, db, row->row) == -1) {
		free(k);
		return NULL;
	}
	k->db = db;
	k->row = row;
	k->set.mark = row->applied;
	k->all = all;
	k->keep = f;
	k->keep_arg = arg;
	k->seen.db = db;
	k->seen.row = row;
	k->seen.attempt = attempt;
	return k;
}

int
delta_walk_step(struct delta_walk *k, struct node_miss *miss)
{
	int rc;

	k->miss = k->seen.miss = miss;
	if (!k->gathered) {
		if ((rc = delta_names_step(&k->names)) == 0)
			k->gathered = 1;
		return rc == -1 ? -1 : 1;
	}
	return k->begun ? walk_one(k) : walk_root(k);
}

void
delta_walk_take(struct delta_walk *k, struct delta_set *set)
{
	*set = k->set;
	memset(&k->set, 0, sizeof(k->set));
}

void
delta_walk_free(struct delta_walk *k)
{
	if (k == NULL)
		return;
	while (k->top != NULL) {
		if (k->top->in_name)
			at_free(&k->top->at);
		frame_pop(k);
	}
	at_free(&k->root);
	delta_names_free(&k->names);
	delta_set_free(&k->set);
	free(k);
}

int
delta_collect(struct db *db, const struct mount_row *row, struct delta_set *set,
    struct node_miss *miss, unsigned int attempt, int all, delta_keep_cb f,
    void *arg)
{
	struct delta_walk *k;
	int rc, saved;

	memset(set, 0, sizeof(*set));
	if ((k = delta_walk_begin(db, row, attempt, all, f, arg)) == NULL)
		return -1;
	while ((rc = delta_walk_step(k, miss)) == 1)
		;
	saved = errno;
	if (rc == 0)
		delta_walk_take(k, set);
	delta_walk_free(k);
	errno = saved;
	return rc;
}
