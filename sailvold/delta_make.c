/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * delta_make: walks the changed names and objects of an overlay and decides
 * what has to be published for each.  In manifest.
 */
#include <sys/tree.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/tree.h"
#include "sailvold/delta_make.h"
#include "sailvold/delta_set.h"

/* ---- what changed, as a tree of names ------------------------------------------ */

struct tnode {
	RB_ENTRY(tnode) by_ovl;  /* directories */
	struct tnode *up, *next; /* next: of the same directory */
	struct tnode *children;
	size_t nchildren;
	uint64_t ovl;
	int placed; /* it is shown */
	uint8_t *name;
	size_t len;
};
RB_HEAD(ovl_tree, tnode);
RB_PROTOTYPE(ovl_tree, tnode, by_ovl, tnode_cmp)

static int
tnode_cmp(const struct tnode *a, const struct tnode *b)
{
	return a->ovl < b->ovl ? -1 : a->ovl > b->ovl;
}
RB_GENERATE(ovl_tree, tnode, by_ovl, tnode_cmp)

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

struct make {
	struct db *db;
	const struct mount_row *row;
	struct delta_set *set;
	struct seen_ctx seen;
	struct node_miss *miss;
	struct ovl_tree dirs;
	struct tnode root;
	uint64_t *whole; /* objects whose only name is in the tree */
	size_t nwhole;
	struct pathbuf path;
	unsigned int depth;
	int all;
	delta_keep_cb keep;
	void *keep_arg;
};

static struct tnode *
tnode_add(struct tnode *up, const void *name, size_t len)
{
	struct tnode *t;

	if ((t = calloc(1, sizeof(*t))) == NULL)
		return NULL;
	if ((t->name = mem_dup(name, len)) == NULL) {
		free(t);
		return NULL;
	}
	t->len = len;
	t->up = up;
	if (up != NULL) {
		t->next = up->children;
		up->children = t;
		up->nchildren++;
		t->placed = up->placed;
	}
	return t;
}

static struct tnode *
tnode_of_dir(struct make *k, uint64_t ovl, unsigned int depth)
{
	struct tnode key, *t, *up = NULL;
	struct name_row *rows;
	size_t n;

	key.ovl = ovl;
	if ((t = RB_FIND(ovl_tree, &k->dirs, &key)) != NULL)
		return t;
	if (depth > SAIL_DEPTH_MAX) {
		errno = ELOOP;
		return NULL;
	}
	if (db_names_of_obj(k->db, k->row->row, ovl, &rows, &n) == -1)
		return NULL;
	if (n > 0) {
		if ((up = tnode_of_dir(k, rows[0].dir, depth + 1)) != NULL)
			t = tnode_add(up, rows[0].name, rows[0].len);
	} else
		t = tnode_add(NULL, "", 0);
	free(rows);
	if (t == NULL)
		return NULL;
	t->ovl = ovl;
	RB_INSERT(ovl_tree, &k->dirs, t);
	/* Those without a place are freed through the table alone. */
	return t;
}

/* whole: room for one more, or NULL. */
static int
add_name(struct make *k, const struct name_row *r, uint64_t *whole)
{
	struct tnode *dir;
	struct obj o;
	int is_dir = 0;

	if ((dir = tnode_of_dir(k, r->dir, 0)) == NULL)
		return -1;
	if (!dir->placed)
		return 0;
	if (r->ovl != 0) {
		if (db_obj_get(k->db, k->row->row, r->ovl, &o) == -1)
			return errno == ENOENT ? 0 : -1;
		is_dir = o.entry->type == ENTRY_DIR;
		if (whole != NULL && o.links == 1 && !is_dir)
			whole[k->nwhole++] = r->ovl;
		obj_free(&o);
	}
	if (is_dir)
		return tnode_of_dir(k, r->ovl, 0) == NULL ? -1 : 0;
	return tnode_add(dir, r->name, r->len) == NULL ? -1 : 0;
}

static int
add_object(struct make *k, uint64_t ovl)
{
	struct name_row *rows;
	size_t n, i;
	int rc = 0;

	if (ovl == OVL_ROOT)
		return 0; /* the walk begins there */
	if (k->nwhole > 0 &&
	    bsearch(&ovl, k->whole, k->nwhole, sizeof(ovl), delta_ovl_cmp) !=
		NULL)
		return 0;
	if (db_names_of_obj(k->db, k->row->row, ovl, &rows, &n) == -1)
		return -1;
	for (i = 0; i < n && rc == 0; i++)
		rc = add_name(k, &rows[i], NULL);
	free(rows);
	return rc;
}

static int
gather_objects(struct make *k,
    int (*list)(struct db *, int64_t, uint64_t **, size_t *))
{
	uint64_t *ovls = NULL;
	size_t n, i;
	int rc = 0;

	if (list(k->db, k->row->row, &ovls, &n) == -1)
		return -1;
	for (i = 0; i < n && rc == 0; i++)
		rc = add_object(k, ovls[i]);
	free(ovls);
	return rc;
}

static int
gather(struct make *k)
{
	struct name_row *rows = NULL;
	size_t n, i;
	int rc = 0;

	if (db_names_changed(k->db, k->row->row, &rows, &n) == -1)
		return -1;
	if ((k->whole = reallocarray(NULL, n + 1, sizeof(*k->whole))) == NULL)
		rc = -1;
	for (i = 0; i < n && rc == 0; i++)
		rc = add_name(k, &rows[i], k->whole);
	free(rows);
	if (k->nwhole > 1)
		qsort(k->whole, k->nwhole, sizeof(*k->whole), delta_ovl_cmp);
	if (rc == -1 || gather_objects(k, db_obj_list_dirty) == -1)
		return -1;
	/* Each commit and reload names them. */
	return gather_objects(k, db_obj_list_sockets);
}

static void
tnode_free(struct tnode *t)
{
	struct tnode *c;

	while ((c = t->children) != NULL) {
		t->children = c->next;
		tnode_free(c);
		free(c->name);
		free(c);
	}
}

static void
gather_free(struct make *k)
{
	struct tnode *t, *next;

	/* First those that hang in no directory that is shown. */
	for (t = RB_MIN(ovl_tree, &k->dirs); t != NULL; t = next) {
		next = RB_NEXT(ovl_tree, &k->dirs, t);
		RB_REMOVE(ovl_tree, &k->dirs, t);
		if (t->up == NULL && t != &k->root) {
			t->next = k->root.next;
			k->root.next = t;
		}
	}
	while ((t = k->root.next) != NULL) {
		k->root.next = t->next;
		tnode_free(t);
		free(t->name);
		free(t);
	}
	tnode_free(&k->root);
	free(k->whole);
}

/* ---- the names of a directory that are looked at ---------------------------------- */

struct look {
	const uint8_t *name;
	size_t len;
	struct tnode *t; /* or NULL */
};
struct looks {
	struct look *v;
	size_t n;
	struct name_row *rows; /* memory of the names */
	struct seen_row *seen_rows;
};

static int
look_cmp(const void *a, const void *b)
{
	const struct look *x = a, *y = b;
	int c = memcmp(x->name, y->name, x->len < y->len ? x->len : y->len);

	if (c != 0)
		return c;
	return x->len < y->len ? -1 : x->len > y->len;
}

static void
looks_free(struct looks *l)
{
	free(l->v);
	free(l->rows);
	free(l->seen_rows);
}

/* Sorted, each once; one with a tnode that has children is kept. */
static void
looks_sort(struct looks *l)
{
	size_t i, k = 0;

	if (l->n > 1)
		qsort(l->v, l->n, sizeof(*l->v), look_cmp);
	for (i = 0; i < l->n; i++) {
		if (k > 0 && look_cmp(&l->v[k - 1], &l->v[i]) == 0) {
			if (l->v[k - 1].t == NULL ||
			    l->v[k - 1].t->children == NULL)
				l->v[k - 1].t = l->v[i].t;
			continue;
		}
		l->v[k++] = l->v[i];
	}
	l->n = k;
}

static int
looks_make(struct make *k, const struct vdir *v, const struct level *lv,
    struct tnode *t, struct looks *l)
{
	size_t nrows = 0, nseen = 0, i, off;
	const uint8_t *slash;
	struct tnode *c;

	memset(l, 0, sizeof(*l));
	if ((lv->full || k->all) && v->ovl != 0 &&
	    db_names_of_dir(k->db, k->row->row, v->ovl, "", 0, 0, SIZE_MAX,
		&l->rows, &nrows) == -1)
		return -1;
	if (lv->full && lv->mode == MODE_SEEN &&
	    db_seen_below(k->db, k->row->row, k->path.b, k->path.len,
		&l->seen_rows, &nseen) == -1)
		goto fail;
	l->v = calloc(nrows + nseen + (t != NULL ? t->nchildren : 0) + 1,
	    sizeof(*l->v));
	if (l->v == NULL)
		goto fail;
	for (i = 0; i < nrows; i++) {
		l->v[l->n].name = l->rows[i].name;
		l->v[l->n++].len = l->rows[i].len;
	}
	off = k->path.len + (k->path.len > 0);
	for (i = 0; i < nseen; i++) {
		l->v[l->n].name = l->seen_rows[i].path + off;
		slash = memchr(l->v[l->n].name, '/', l->seen_rows[i].len - off);
		l->v[l->n++].len = slash != NULL
		    ? (size_t)(slash - l->seen_rows[i].path) - off
		    : l->seen_rows[i].len - off;
	}
	for (c = t != NULL ? t->children : NULL; c != NULL; c = c->next) {
		l->v[l->n].name = c->name;
		l->v[l->n].t = c;
		l->v[l->n++].len = c->len;
	}
	looks_sort(l);
	return 0;
fail:
	looks_free(l);
	return -1;
}

/* ---- one name ---------------------------------------------------------------------- */

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
view_of(struct make *k, const struct vdir *v, const void *name, size_t len,
    struct view *w)
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
view_origin(struct make *k, struct view *w, const struct place *known)
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

/* What stands there without an operation. */
struct base {
	struct seen seen;
	int has_tree;
	struct place tree;
};

static int
base_of(struct make *k, const struct level *lv, const struct seen_at *s,
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
add_tree(struct make *k, struct delta_item *it, const struct seen_at *s)
{
	it->has_tree = 1;
	return seen_tree(&k->seen, k->path.b, k->path.len, s, &it->tree);
}

/* The reference above does not bring this name. */
static int
add_ref_except(struct make *k, const struct level *lv)
{
	struct delta_item *it = &k->set->items[lv->ref_item];
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

/* A new item at the path of the walk. */
static struct delta_item *
item_add(struct make *k, const struct seen_at *s, const struct base *b,
    const struct view *w, const uint8_t *name, size_t name_len, uint64_t dir)
{
	struct delta_item *it;

	it = delta_set_add(k->set, k->path.b, k->path.len);
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
	    delta_link_fileid(k->db, k->row, &w->o, dir, name, name_len,
		&it->entry->fileid) == -1)
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
absent(struct make *k, const struct level *lv, const struct seen_at *s,
    const struct base *b, const struct view *w)
{
	struct delta_item *it;

	if (w->socket &&
	    delta_set_not_kept(k->set, k->path.b, k->path.len) == -1)
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
is_back(const struct make *k, const struct view *w)
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
leaf(struct make *k, const struct level *lv, const struct seen_at *s,
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

static int walk_dir(struct make *, const struct vdir *, const struct entry *,
    const struct seen_at *, const struct level *, struct tnode *);

static int
attr_differs(const struct entry *e, const struct seen *s)
{
	struct seen v;

	seen_of(e, &v);
	return hash_cmp(&v.attr, &s->attr) != 0;
}

/* *same: it is the directory that is there without an operation. */
static int
same_directory(struct make *k, const struct base *b, struct view *w, int *same)
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

static int
directory(struct make *k, const struct level *lv, const struct seen_at *s,
    const struct base *b, struct view *w, struct tnode *t, int full,
    enum keep *keep)
{
	struct level down = *lv;
	struct delta_item *it = NULL;
	int same;

	if (same_directory(k, b, w, &same) == -1)
		return -1;
	down.full = full;
	if (same) {
		*keep = KEEP_PASS;
		if (lv->mode == MODE_TREE)
			down.tree = &b->tree;
		if (attr_differs(view_entry(w), &b->seen)) {
			if ((it = item_add(k, s, b, w, NULL, 0, 0)) == NULL)
				return -1;
			it->kind = DELTA_ATTR;
			*keep = KEEP_ATTR;
		}
		if (it != NULL && b->has_tree) {
			it->has_after = 1;
			if (place_copy(&it->after, &b->tree) == -1)
				return -1;
		}
	} else {
		*keep = KEEP_OWN;
		if (lv->mode == MODE_TREE && b->seen.present &&
		    add_ref_except(k, lv) == -1)
			return -1;
		if ((it = item_add(k, s, b, w, NULL, 0, 0)) == NULL)
			return -1;
		it->kind = DELTA_PUT;
		if (lv->mode == MODE_SEEN && s->seen.is_dir &&
		    add_tree(k, it, s) == -1)
			return -1;
		down.mode = MODE_NOTHING;
		if (w->dir.has_origin) {
			down.mode = MODE_TREE;
			down.tree = &w->dir.origin;
			down.ref_item = (size_t)(it - k->set->items);
			down.ref_len = k->path.len;
			it->has_ref = it->has_after = 1;
			if (place_copy(&it->ref, &w->dir.origin) == -1 ||
			    place_copy(&it->after, &w->dir.origin) == -1)
				return -1;
		}
		down.full = 1;
	}
	if (w->dir.ovl == 0 && down.mode == MODE_SEEN && !down.full &&
	    t == NULL)
		return 0;
	return walk_dir(k, &w->dir, view_entry(w), s, &down, t);
}

/* Says below which directory; -1. */
static int
too_long(struct make *k)
{
	k->miss->path = mem_dup(k->path.b, k->path.len);
	k->miss->path_len = k->miss->path != NULL ? k->path.len : 0;
	errno = ENAMETOOLONG;
	return -1;
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

static int
walk_name(struct make *k, const struct vdir *v, const struct seen_at *parent,
    const struct level *lv, const struct look *lk)
{
	struct seen_at s;
	struct base b;
	struct view w;
	size_t before_items = k->set->n;
	enum keep keep = KEEP_NOT;
	long before;
	int rc = -1;

	memset(&s, 0, sizeof(s));
	memset(&b, 0, sizeof(b));
	if ((before = pathbuf_push(&k->path, lk->name, lk->len)) == -1)
		return errno == ENAMETOOLONG ? too_long(k) : -1;
	if (view_of(k, v, lk->name, lk->len, &w) == -1) {
		pathbuf_pop(&k->path, before);
		return -1;
	}
	if (seen_child(&k->seen, parent, k->path.b, k->path.len, lk->name,
		lk->len, &s) == -1 ||
	    base_of(k, lv, &s, lk->name, lk->len, &b) == -1)
		goto done;
	if (!w.present)
		rc = absent(k, lv, &s, &b, &w);
	else if (w.is_dir)
		rc = directory(k, lv, &s, &b, &w, lk->t,
		    lv->full || w.changed > 0, &keep);
	else
		rc = leaf(k, lv, &s, &b, &w, v->ovl, lk->name, lk->len);
	if (keep == KEEP_NOT)
		keep = keep_of(&w,
		    k->set->n > before_items ? &k->set->items[k->set->n - 1]
					     : NULL);
	/* A name below a directory that is put is kept with it. */
	if (lv->mode != MODE_SEEN)
		keep = KEEP_OWN;
	if (rc == 0 && k->keep != NULL &&
	    (w.has_row || (v->ovl != 0 && !w.present && keep != KEEP_NOT)))
		rc = k->keep(k->keep_arg, v->ovl, lk->name, lk->len, k->path.b,
		    k->path.len, w.has_obj ? w.o.ovl : 0, keep, &s.seen);
done:
	view_free(&w);
	seen_at_free(&s);
	place_free(&b.tree);
	pathbuf_pop(&k->path, before);
	return rc;
}

static int
walk_dir(struct make *k, const struct vdir *v, const struct entry *e,
    const struct seen_at *s, const struct level *lv, struct tnode *t)
{
	size_t at = k->set->ncontext, had = k->set->n, i;
	struct looks l;
	int rc = -1;

	if (++k->depth > SAIL_DEPTH_MAX + 1) /* and the root */
		return too_long(k);
	if (k->path.len > 0 &&
	    delta_set_context(k->set, k->path.b, k->path.len, e) == -1)
		return -1;
	if (looks_make(k, v, lv, t, &l) == -1)
		return -1;
	for (i = 0; i < l.n; i++)
		if (walk_name(k, v, s, lv, &l.v[i]) == -1)
			goto done;
	if (k->set->n == had)
		delta_set_context_cut(k->set, at);
	rc = 0;
done:
	looks_free(&l);
	k->depth--;
	return rc;
}

/* The directories above the mount's root. */
static int
context_above(struct make *k)
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
		rc = delta_set_context(k->set, (const uint8_t *)sub, i, &e);
		blob_unref(keep);
		if (rc == -1)
			return -1;
	}
	return 0;
}

static int
walk_root(struct make *k)
{
	struct level lv = { MODE_SEEN, NULL, 0, 0, 0 };
	size_t len = strlen(k->row->subpath);
	struct delta_item *it;
	struct seen_at s;
	struct base b;
	struct view w;
	int same, rc = -1;

	memset(&b, 0, sizeof(b));
	memset(&w, 0, sizeof(w));
	if (db_obj_get(k->db, k->row->row, OVL_ROOT, &w.o) == -1)
		return -1;
	w.has_obj = w.present = w.is_dir = 1;
	w.dir.ovl = OVL_ROOT;
	w.dir.has_origin = w.o.has_origin;
	memcpy(k->path.b, k->row->subpath, len);
	k->path.len = len;
	if (seen_lookup(&k->seen, k->row->subpath, len, &s) == -1) {
		view_free(&w);
		return -1;
	}
	if (base_of(k, &lv, &s, "", 0, &b) == -1 || context_above(k) == -1 ||
	    same_directory(k, &b, &w, &same) == -1)
		goto done;
	if (b.seen.present && attr_differs(w.o.entry, &b.seen)) {
		if ((it = item_add(k, &s, &b, &w, NULL, 0, 0)) == NULL)
			goto done;
		it->kind = DELTA_ATTR;
		it->has_after = b.has_tree;
		if (b.has_tree && place_copy(&it->after, &b.tree) == -1)
			goto done;
	}
	rc = walk_dir(k, &w.dir, w.o.entry, &s, &lv, &k->root);
done:
	seen_at_free(&s);
	place_free(&b.tree);
	view_free(&w);
	return rc;
}

int
delta_collect(struct db *db, const struct mount_row *row, struct delta_set *set,
    struct node_miss *miss, unsigned int attempt, int all, delta_keep_cb f,
    void *arg)
{
	struct make k;
	int rc, saved;

	memset(set, 0, sizeof(*set));
	memset(&k, 0, sizeof(k));
	set->mark = row->applied;
	k.db = db;
	k.row = row;
	k.set = set;
	k.miss = miss;
	k.all = all;
	k.keep = f;
	k.keep_arg = arg;
	k.seen.db = db;
	k.seen.row = row;
	k.seen.miss = miss;
	k.seen.attempt = attempt;
	RB_INIT(&k.dirs);
	k.root.ovl = OVL_ROOT;
	k.root.placed = 1;
	RB_INSERT(ovl_tree, &k.dirs, &k.root);
	rc = gather(&k);
	if (rc == 0)
		rc = walk_root(&k);
	saved = errno;
	gather_free(&k);
	if (rc == -1)
		delta_set_free(set);
	errno = saved;
	return rc;
}
