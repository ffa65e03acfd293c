/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * diff: compares what a mount showed before a reload and shows after it, only
 * where the overlay has names or the bases differ, step by step: directories
 * that are equal a thousand times on each level have more names than anybody
 * could look at.  In manifest.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/chunklist.h"
#include "lib/delta.h"
#include "sailvold/diff.h"
#include "sailvold/pairs.h"

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
	if ((cl = chunklist_decode(&r, DELTA_MAX_HASHES)) == NULL) {
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

/* A name where two directories differ, or that the overlay has in one. */
struct both {
	uint8_t *name; /* and the nodes of both, if it is to be looked into */
	size_t len;
	int looked; /* by the nodes: what follows is known */
	uint8_t kind;
	uint8_t into;
};
struct names {
	struct both *v;
	size_t n, cap;
};

/* A directory that is compared. */
struct level {
	struct side a, b;
	struct names ns;
	size_t at;
	long before;    /* of the path */
	int open;       /* all names are there */
	uint64_t count; /* differences when it began */
};

struct snap_cmp {
	struct snap *before, *after;
	struct snap_diff d;
	const struct snap_diff *known; /* of the bases alone; or NULL */
	struct rbuf known_at;
	struct level *levels;
	size_t n, cap;
	size_t names;   /* that were found, of all levels */
	size_t in_step; /* of this step */
	unsigned int attempt;
	struct pairs same;
	struct pathbuf path;
};

size_t diff_names_max = DIFF_MAX_NAMES;

static int
emit(struct snap_cmp *c, uint8_t kind)
{
	diff_encode(&c->d.out, kind, c->path.b, c->path.len);
	c->d.count++;
	if (c->d.out.error != 0) {
		errno = c->d.out.error;
		return -1;
	}
	return 0;
}

static int
attr_same(const struct look *a, const struct look *b)
{
	return hash_cmp(&a->attr, &b->attr) == 0 && a->fileid == b->fileid &&
	    timens_cmp(a->mtime, b->mtime) == 0 &&
	    timens_cmp(a->ctime, b->ctime) == 0;
}

/* The difference at a name, 0: none; *into: its names are to be compared. */
static uint8_t
kind_of(const struct look *a, const struct look *b, int same_object,
    uint8_t *into)
{
	*into = 0;
	if (!a->present || !b->present)
		return a->present ? DIFF_GONE : b->present ? DIFF_NEW : 0;
	if (a->type != b->type ||
	    (a->type != ENTRY_DIR && hash_cmp(&a->content, &b->content) != 0))
		return DIFF_OTHER;
	*into = a->type == ENTRY_DIR;
	/* Another object behind the same path: fuse has to look at it.  Of other
	   names in it these tell. */
	return !same_object || !attr_same(a, b) ? DIFF_ATTR : 0;
}

static struct both *
name_new(struct snap_cmp *c, struct names *ns, const uint8_t *name, size_t len,
    size_t more)
{
	struct both *b;
	size_t cap;

	if (++c->names > diff_names_max) {
		errno = EFBIG;
		return NULL;
	}
	if (ns->n == ns->cap) {
		cap = ns->cap == 0 ? 16 : ns->cap * 2;
		if ((b = reallocarray(ns->v, cap, sizeof(*b))) == NULL)
			return NULL;
		ns->v = b;
		ns->cap = cap;
	}
	b = &ns->v[ns->n];
	memset(b, 0, sizeof(*b));
	if ((b->name = malloc(len + more + 1)) == NULL)
		return NULL;
	memcpy(b->name, name, len);
	b->len = len;
	ns->n++;
	return b;
}

static int
add_name(void *arg, const uint8_t *name, size_t len, const struct entry *a,
    const struct entry *b)
{
	struct snap_cmp *c = arg;
	struct names *ns = &c->levels[c->n - 1].ns;
	const struct both *last = ns->n > 0 ? &ns->v[ns->n - 1] : NULL;
	struct look x, y;
	uint8_t kind, into;
	struct both *out;

	/* The one that the step before ended with. */
	if (last != NULL && last->len == len &&
	    memcmp(last->name, name, len) == 0)
		return 0;
	if (c->in_step == 0) {
		errno = ECANCELED;
		return -1;
	}
	c->in_step--;
	look_of(&x, a);
	look_of(&y, b);
	kind = kind_of(&x, &y, 1, &into);
	out = name_new(c, ns, name, len, into ? 2 * sizeof(a->root) : 0);
	if (out == NULL)
		return -1;
	out->looked = 1;
	out->kind = kind;
	out->into = into;
	if (into) {
		memcpy(out->name + len, &a->root, sizeof(a->root));
		memcpy(out->name + len + sizeof(a->root), &b->root,
		    sizeof(b->root));
	}
	return 0;
}

static int
name_qcmp(const void *a, const void *b)
{
	const struct both *x = a, *y = b;
	int c = memcmp(x->name, y->name, x->len < y->len ? x->len : y->len);

	if (c == 0)
		c = x->len < y->len ? -1 : x->len > y->len;
	/* Those of the overlay first: they are what is shown. */
	return c != 0 ? c : x->looked - y->looked;
}

static int
name_same(const struct both *a, const struct both *b)
{
	return a->len == b->len && memcmp(a->name, b->name, a->len) == 0;
}

static int
add_children(struct snap_cmp *c, struct names *ns, const struct snap *s)
{
	size_t i;

	for (i = 0; s != NULL && i < s->n; i++)
		if (name_new(c, ns, s->children[i].name, s->children[i].len,
			0) == NULL)
			return -1;
	return 0;
}

static const struct snap *
child_of(const struct snap *s, const struct both *name)
{
	struct both key;
	size_t lo = 0, hi = s != NULL ? s->n : 0, mid;
	int c;

	memset(&key, 0, sizeof(key));
	key.looked = name->looked;
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
side_of(const struct side *dir, const struct both *name, struct side *out,
    struct node_miss *miss)
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
	rc = place_child(&dir->place, name->name, name->len, &e, &keep, miss);
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

/* The side of a name that the nodes alone have, by what was kept of it. */
static int
side_of_known(const struct side *dir, const struct both *name, size_t which,
    struct side *out)
{
	struct entry e;

	memset(out, 0, sizeof(*out));
	if (!name->into)
		return 0;
	memset(&e, 0, sizeof(e));
	memcpy(&e.root, name->name + name->len + which * sizeof(e.root),
	    sizeof(e.root));
	out->has_place = out->owned = 1;
	return place_down(&dir->place, name->name, name->len, &e, &out->place);
}

static void
side_free(struct side *s)
{
	if (s->owned)
		place_free(&s->place);
}

static int
same_content(struct snap_cmp *c, const struct side *a)
{
	struct snap_diff *d = &c->d;
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

/* The directory at the path of the walk is next; its sides are taken. */
static int
level_push(struct snap_cmp *c, struct side *a, struct side *b, long before)
{
	struct level *l;
	size_t cap;

	if (c->n > SAIL_DEPTH_MAX) {
		errno = ENAMETOOLONG;
		return -1;
	}
	if (c->n == c->cap) {
		cap = c->cap == 0 ? 16 : c->cap * 2;
		if ((l = reallocarray(c->levels, cap, sizeof(*l))) == NULL)
			return -1;
		c->levels = l;
		c->cap = cap;
	}
	l = &c->levels[c->n++];
	memset(l, 0, sizeof(*l));
	l->a = *a;
	l->b = *b;
	l->before = before;
	l->count = c->d.count;
	a->owned = b->owned = 0;
	return 0;
}

/* It has the names of its place, and no other. */
static int
is_clean(const struct side *s)
{
	return s->snap == NULL || s->snap->n == 0;
}

static const struct hash *
side_root(const struct side *s)
{
	return s->has_place ? &s->place.root : NULL;
}

static void
level_pop(struct snap_cmp *c)
{
	struct level *l = &c->levels[--c->n];
	size_t i;

	/* What came of these nodes, comes of them elsewhere. */
	if (l->open && is_clean(&l->a) && is_clean(&l->b) && l->at == l->ns.n &&
	    l->count == c->d.count)
		pairs_add(&c->same, side_root(&l->a), side_root(&l->b));
	for (i = 0; i < l->ns.n; i++)
		free(l->ns.v[i].name);
	free(l->ns.v);
	side_free(&l->a);
	side_free(&l->b);
	pathbuf_pop(&c->path, l->before);
}

/* 1 when a side is this path of the base that was compared before. */
static int
is_known(const struct snap_cmp *c, const struct side *s, const struct place *of)
{
	const struct place *p = &s->place;
	int slash = of->len > 0 && c->path.len > 0;

	if (!is_clean(s) || !s->has_place ||
	    hash_cmp(&p->commit, &of->commit) != 0 ||
	    p->len != of->len + (size_t)slash + c->path.len ||
	    memcmp(p->path, of->path, of->len) != 0)
		return 0;
	return memcmp(p->path + p->len - c->path.len, c->path.b, c->path.len) ==
	    0;
}

/* Its differences are in the known ones, which come in the same order. */
static int
copy_known(struct snap_cmp *c)
{
	const uint8_t *path;
	struct rbuf before;
	uint8_t kind;
	size_t len;
	int rc;

	for (;;) {
		before = c->known_at;
		if ((rc = diff_decode(&c->known_at, &kind, &path, &len)) != 1)
			break;
		if (!path_is_below(path, len, c->path.b, c->path.len)) {
			if (path_cmp(path, len, c->path.b, c->path.len) < 0)
				continue;
			c->known_at = before;
			break;
		}
		if (len == c->path.len)
			continue;
		diff_encode(&c->d.out, kind, path, len);
		c->d.count++;
	}
	if (rc != -1 && (errno = c->d.out.error) == 0)
		return 0;
	if (rc == -1)
		errno = EBADMSG;
	return -1;
}

/* Names of the directory, as many as a step may; as step_one(). */
static int
level_open(struct snap_cmp *c, struct level *l, struct node_miss *miss)
{
	const struct place *a = l->a.has_place ? &l->a.place : NULL;
	const struct place *b = l->b.has_place ? &l->b.place : NULL;
	const struct both *last = l->ns.n > 0 ? &l->ns.v[l->ns.n - 1] : NULL;
	int clean = is_clean(&l->a) && is_clean(&l->b);

	if (clean &&
	    ((a != NULL && b != NULL && place_same(a, b)) ||
		pairs_has(&c->same, side_root(&l->a), side_root(&l->b)))) {
		level_pop(c);
		return 1;
	}
	if (c->known != NULL && is_known(c, &l->a, &c->known->a) &&
	    is_known(c, &l->b, &c->known->b)) {
		if (copy_known(c) == -1)
			return -1;
		level_pop(c);
		return 1;
	}
	if (place_diff(a, b, c->attempt, last != NULL ? last->name : NULL,
		last != NULL ? last->len : 0, add_name, c, miss) == -1)
		return errno == ECANCELED ? 1 : -1;
	if (!clean) {
		if (add_children(c, &l->ns, l->a.snap) == -1 ||
		    add_children(c, &l->ns, l->b.snap) == -1)
			return -1;
		if (l->ns.n > 1)
			qsort(l->ns.v, l->ns.n, sizeof(*l->ns.v), name_qcmp);
	}
	l->open = 1;
	return 1;
}

/* Both sides of a name, and what differs; may push a level. */
static int
compare_name(struct snap_cmp *c, struct level *l, const struct both *name,
    long before, struct node_miss *miss)
{
	uint8_t kind = name->kind, into = name->into;
	struct side x, y;
	int rc;

	memset(&y, 0, sizeof(y));
	if (name->looked) {
		if ((rc = side_of_known(&l->a, name, 0, &x)) == 0)
			rc = side_of_known(&l->b, name, 1, &y);
	} else {
		if ((rc = side_of(&l->a, name, &x, miss)) == 0)
			rc = side_of(&l->b, name, &y, miss);
		if (rc == 0) {
			kind = kind_of(&x.look, &y.look,
			    (x.snap != NULL ? x.snap->ovl : 0) ==
				(y.snap != NULL ? y.snap->ovl : 0),
			    &into);
			if (kind == DIFF_ATTR && !into &&
			    (x.snap != NULL ? x.snap->ovl : 0) !=
				(y.snap != NULL ? y.snap->ovl : 0))
				rc = same_content(c, &x);
		}
	}
	if (rc == 0 && kind != 0)
		rc = emit(c, kind);
	if (rc == 0 && into) {
		l->at++; /* the levels may move */
		if ((rc = level_push(c, &x, &y, before)) == 0)
			rc = 1;
	}
	side_free(&x);
	side_free(&y);
	return rc;
}

/* 1: there is more to do; 0: that was all; -1: ENODATA: may be done again. */
static int
step_one(struct snap_cmp *c, struct node_miss *miss)
{
	const struct both *name;
	struct level *l;
	long before;
	int rc;

	if (c->n == 0)
		return 0;
	l = &c->levels[c->n - 1];
	if (!l->open)
		return level_open(c, l, miss);
	if (l->at == l->ns.n) {
		level_pop(c);
		return 1;
	}
	name = &l->ns.v[l->at];
	c->in_step -= c->in_step > 0;
	if (l->at > 0 && name_same(name - 1, name)) {
		l->at++;
		return 1;
	}
	if ((before = pathbuf_push(&c->path, name->name, name->len)) == -1)
		return -1;
	if ((rc = compare_name(c, l, name, before, miss)) == 1)
		return 1; /* the level below has the path now */
	pathbuf_pop(&c->path, before);
	if (rc == -1)
		return -1;
	l->at++;
	return 1;
}

int
snap_cmp_step(struct snap_cmp *c, size_t names, struct node_miss *miss)
{
	int rc;

	c->in_step = names;
	do
		rc = step_one(c, miss);
	while (rc == 1 && c->in_step > 0);
	if (rc == -1 && errno == ENODATA)
		c->attempt++;
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

struct snap_cmp *
snap_cmp_begin(struct snap *before, struct snap *after,
    const struct snap_diff *known)
{
	struct side a, b;
	struct snap_cmp *c;
	uint8_t kind, into;

	if ((c = calloc(1, sizeof(*c))) == NULL) {
		snap_free(before);
		snap_free(after);
		return NULL;
	}
	c->before = before;
	c->after = after;
	wbuf_init(&c->d.out, DIFF_MAX_BYTES);
	side_of_root(&a, before);
	side_of_root(&b, after);
	if (known != NULL) {
		c->known = known;
		rbuf_init(&c->known_at, known->out.data, known->out.len);
	} else if ((a.has_place && place_copy(&c->d.a, &a.place) == -1) ||
	    (b.has_place && place_copy(&c->d.b, &b.place) == -1))
		goto fail;
	kind = kind_of(&a.look, &b.look, before->ovl == after->ovl, &into);
	if ((kind != 0 && emit(c, kind) == -1) ||
	    (into && level_push(c, &a, &b, 0) == -1))
		goto fail;
	return c;
fail:
	snap_cmp_free(c);
	return NULL;
}

void
snap_cmp_take(struct snap_cmp *c, struct snap_diff *d)
{
	*d = c->d;
	memset(&c->d, 0, sizeof(c->d));
	snap_cmp_free(c);
}

void
snap_cmp_free(struct snap_cmp *c)
{
	if (c == NULL)
		return;
	while (c->n > 0)
		level_pop(c);
	free(c->levels);
	pairs_free(&c->same);
	snap_diff_free(&c->d);
	snap_free(c->before);
	snap_free(c->after);
	free(c);
}

void
snap_diff_free(struct snap_diff *d)
{
	wbuf_free(&d->out);
	free(d->same);
	place_free(&d->a);
	place_free(&d->b);
	memset(d, 0, sizeof(*d));
}
