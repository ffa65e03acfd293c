/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * delta_names: which names of a mount have to be looked at for a delta, read
 * from the rows page by page: there may be millions.  In manifest.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/path.h"
#include "sailvold/delta_names.h"
#include "sailvold/delta_set.h"

#define BLOCK_BYTES (64 * 1024)
#define BUCKETS 1024

size_t delta_page = PAGE_NAMES;

enum phase { PHASE_NAMES, PHASE_SORT, PHASE_DIRTY, PHASE_SOCKETS, PHASE_END };

/* ---- memory: given back in large pieces, not name by name ------------------- */

struct block {
	struct block *next;
	size_t used;
	_Alignas(max_align_t) uint8_t data[];
};

static void *
take(struct delta_names *d, size_t len)
{
	struct block *b = d->blocks;
	void *p;

	len = (len + 15) & ~(size_t)15;
	if (b == NULL || BLOCK_BYTES - b->used < len) {
		if ((b = malloc(sizeof(*b) + BLOCK_BYTES)) == NULL)
			return NULL;
		b->used = 0;
		b->next = d->blocks;
		d->blocks = b;
	}
	p = b->data + b->used;
	b->used += len;
	return p;
}

/* ---- numbers of objects ------------------------------------------------------ */

static int
set_add(struct ovl_set *s, uint64_t ovl)
{
	struct ovl_bucket *b = &s->buckets[ovl % BUCKETS];
	uint64_t *v;
	size_t cap;

	if (b->n == b->cap) {
		cap = b->cap == 0 ? 16 : b->cap * 2;
		if ((v = reallocarray(b->v, cap, sizeof(*v))) == NULL)
			return -1;
		b->v = v;
		b->cap = cap;
	}
	b->v[b->n++] = ovl;
	return 0;
}

static int
set_has(const struct ovl_set *s, uint64_t ovl)
{
	const struct ovl_bucket *b = &s->buckets[ovl % BUCKETS];

	return b->n > 0 &&
	    bsearch(&ovl, b->v, b->n, sizeof(ovl), delta_ovl_cmp) != NULL;
}

/* ---- the tree ------------------------------------------------------------------ */

static int
tnode_cmp(const struct tnode *a, const struct tnode *b)
{
	return a->ovl < b->ovl ? -1 : a->ovl > b->ovl;
}
RB_PROTOTYPE(ovl_tree, tnode, by_ovl, tnode_cmp)
RB_GENERATE(ovl_tree, tnode, by_ovl, tnode_cmp)

static struct tnode *
tnode_add(struct delta_names *d, struct tnode *up, const void *name, size_t len)
{
	struct tnode *t;

	if ((t = take(d, sizeof(*t) + len)) == NULL)
		return NULL;
	memset(t, 0, sizeof(*t));
	if (len > 0)
		memcpy(t->name, name, len);
	t->len = len;
	if (up != NULL) {
		t->next = up->children;
		up->children = t;
		t->placed = up->placed;
	}
	return t;
}

static struct tnode *
tnode_of_dir(struct delta_names *d, uint64_t ovl, unsigned int depth)
{
	struct tnode key, *t, *up;
	struct name_row *rows;
	size_t n;

	key.ovl = ovl;
	if ((t = RB_FIND(ovl_tree, &d->dirs, &key)) != NULL)
		return t;
	if (depth > SAIL_DEPTH_MAX) {
		errno = ELOOP;
		return NULL;
	}
	if (db_names_of_obj(d->db, d->mount, ovl, &rows, &n) == -1)
		return NULL;
	if (n > 0) {
		if ((up = tnode_of_dir(d, rows[0].dir, depth + 1)) != NULL)
			t = tnode_add(d, up, rows[0].name, rows[0].len);
	} else
		t = tnode_add(d, NULL, "", 0);
	free(rows);
	if (t == NULL)
		return NULL;
	t->ovl = ovl;
	RB_INSERT(ovl_tree, &d->dirs, t);
	return t;
}

static int
add_name(struct delta_names *d, const struct name_row *r, int first)
{
	struct tnode *dir;
	struct obj o;
	int is_dir = 0, rc = 0;

	if ((dir = tnode_of_dir(d, r->dir, 0)) == NULL)
		return -1;
	if (!dir->placed)
		return 0;
	if (r->ovl != 0) {
		if (db_obj_get(d->db, d->mount, r->ovl, &o) == -1)
			return errno == ENOENT ? 0 : -1;
		is_dir = o.entry->type == ENTRY_DIR;
		if (first && o.links == 1 && !is_dir)
			rc = set_add(&d->whole, r->ovl);
		obj_free(&o);
		if (rc == -1)
			return -1;
	}
	if (is_dir)
		return tnode_of_dir(d, r->ovl, 0) == NULL ? -1 : 0;
	return tnode_add(d, dir, r->name, r->len) == NULL ? -1 : 0;
}

/* Some of the names of an object.  1: there are more. */
static int
rows_page(struct delta_names *d)
{
	size_t n;

	for (n = 0; d->row < d->nrows && n < delta_page; n++)
		if (add_name(d, &d->rows[d->row++], 0) == -1)
			return -1;
	return d->row < d->nrows;
}

static int
add_object(struct delta_names *d, uint64_t ovl)
{
	if (ovl == OVL_ROOT)
		return 0; /* the walk begins there */
	if (set_has(&d->whole, ovl))
		return 0;
	free(d->rows);
	d->rows = NULL;
	d->row = d->nrows = 0;
	if (db_names_of_obj(d->db, d->mount, ovl, &d->rows, &d->nrows) == -1)
		return -1;
	return rows_page(d);
}

/* ---- names of hard links ------------------------------------------------------- */

static int
oldest_cmp(const struct oldest *a, const struct oldest *b)
{
	return a->ovl < b->ovl ? -1 : a->ovl > b->ovl;
}
RB_PROTOTYPE(oldest_tree, oldest, by_ovl, oldest_cmp)
RB_GENERATE(oldest_tree, oldest, by_ovl, oldest_cmp)

const struct oldest *
delta_names_oldest(struct delta_names *d, uint64_t ovl)
{
	struct oldest key, *o;
	struct name_row *rows;
	size_t n, len;

	key.ovl = ovl;
	if ((o = RB_FIND(oldest_tree, &d->oldest, &key)) != NULL)
		return o;
	if (db_name_oldest(d->db, d->mount, ovl, &rows, &n) == -1)
		return NULL;
	len = n > 0 ? rows[0].len : 0;
	if ((o = take(d, sizeof(*o) + len)) != NULL) {
		memset(o, 0, sizeof(*o));
		o->ovl = ovl;
		o->dir = n > 0 ? rows[0].dir : 0;
		o->len = len;
		if (len > 0)
			memcpy(o->name, rows[0].name, len);
		RB_INSERT(oldest_tree, &d->oldest, o);
	}
	free(rows);
	return o;
}

/* ---- step by step -------------------------------------------------------------- */

int
delta_names_begin(struct delta_names *d, struct db *db, int64_t mount)
{
	memset(d, 0, sizeof(*d));
	RB_INIT(&d->dirs);
	RB_INIT(&d->oldest);
	d->db = db;
	d->mount = mount;
	d->whole.buckets = calloc(BUCKETS, sizeof(*d->whole.buckets));
	if (d->whole.buckets == NULL ||
	    (d->root = tnode_add(d, NULL, "", 0)) == NULL) {
		delta_names_free(d);
		return -1;
	}
	d->root->ovl = OVL_ROOT;
	d->root->placed = 1;
	RB_INSERT(ovl_tree, &d->dirs, d->root);
	return 0;
}

static int
names_page(struct delta_names *d)
{
	struct name_row *rows;
	size_t n, i;

	if (db_names_changed(d->db, d->mount,
		d->nrows > 0 ? &d->rows[d->nrows - 1] : NULL, delta_page, &rows,
		&n) == -1)
		return -1;
	free(d->rows);
	d->rows = rows;
	d->nrows = n;
	if (n == 0)
		d->phase = PHASE_SORT;
	for (i = 0; i < n; i++)
		if (add_name(d, &rows[i], 1) == -1)
			return -1;
	return 1;
}

static int
sort_some(struct delta_names *d)
{
	struct ovl_bucket *b;
	size_t n = 0;

	while (d->whole.sorted < BUCKETS && n < delta_page) {
		b = &d->whole.buckets[d->whole.sorted++];
		if (b->n > 1)
			qsort(b->v, b->n, sizeof(*b->v), delta_ovl_cmp);
		n += b->n;
	}
	if (d->whole.sorted == BUCKETS)
		d->phase = PHASE_DIRTY;
	return 1;
}

static int
objects_page(struct delta_names *d,
    int (*list)(struct db *, int64_t, uint64_t, uint64_t *, size_t, size_t *))
{
	uint64_t ovls[PAGE_NAMES];
	size_t n, i;
	int rc;

	if (list(d->db, d->mount, d->ovl, ovls, delta_page, &n) == -1)
		return -1;
	for (i = 0; i < n; i++) {
		d->ovl = ovls[i];
		if ((rc = add_object(d, ovls[i])) != 0)
			return rc;
	}
	if (n == 0) {
		d->ovl = 0;
		d->phase++;
	}
	return 1;
}

int
delta_names_step(struct delta_names *d)
{
	if (d->phase > PHASE_SORT && d->row < d->nrows)
		return rows_page(d) == -1 ? -1 : 1;
	switch (d->phase) {
	case PHASE_NAMES:
		return names_page(d);
	case PHASE_SORT:
		return sort_some(d);
	case PHASE_DIRTY:
		return objects_page(d, db_obj_dirty_after);
	case PHASE_SOCKETS: /* each commit and reload names them */
		return objects_page(d, db_obj_sockets_after);
	default:
		return 0;
	}
}

void
delta_names_free(struct delta_names *d)
{
	struct block *b;
	size_t i;

	while ((b = d->blocks) != NULL) {
		d->blocks = b->next;
		free(b);
	}
	for (i = 0; d->whole.buckets != NULL && i < BUCKETS; i++)
		free(d->whole.buckets[i].v);
	free(d->whole.buckets);
	free(d->rows);
	memset(d, 0, sizeof(*d));
}

/* ---- the names of a directory -------------------------------------------------- */

static int
look_cmp(const struct look *x, const struct look *y)
{
	int c = memcmp(x->name, y->name, x->len < y->len ? x->len : y->len);

	if (c != 0)
		return c;
	return x->len < y->len ? -1 : x->len > y->len;
}

int
looks_add(struct looks *l, const uint8_t *name, size_t len, struct tnode *t)
{
	struct look look = { name, len, t }, *v;
	size_t i, up, cap;

	if (l->n == l->cap) {
		cap = l->cap == 0 ? 16 : l->cap * 2;
		if ((v = reallocarray(l->v, cap, sizeof(*v))) == NULL)
			return -1;
		l->v = v;
		l->cap = cap;
	}
	for (i = l->n++; i > 0; i = up) {
		up = (i - 1) / 2;
		if (look_cmp(&l->v[up], &look) <= 0)
			break;
		l->v[i] = l->v[up];
	}
	l->v[i] = look;
	return 0;
}

int
looks_add_copy(struct looks *l, struct delta_names *d, const uint8_t *name,
    size_t len)
{
	uint8_t *copy;

	if ((copy = take(d, len)) == NULL)
		return -1;
	memcpy(copy, name, len);
	return looks_add(l, copy, len, NULL);
}

static void
take_first(struct looks *l, struct look *first)
{
	struct look last;
	size_t i = 0, down;

	*first = l->v[0];
	last = l->v[--l->n];
	while ((down = 2 * i + 1) < l->n) {
		if (down + 1 < l->n &&
		    look_cmp(&l->v[down + 1], &l->v[down]) < 0)
			down++;
		if (look_cmp(&last, &l->v[down]) <= 0)
			break;
		l->v[i] = l->v[down];
		i = down;
	}
	if (l->n > 0)
		l->v[i] = last;
}

int
looks_take(struct looks *l, struct look *look)
{
	struct look same;

	if (l->n == 0)
		return 0;
	take_first(l, look);
	while (l->n > 0 && look_cmp(look, &l->v[0]) == 0) {
		take_first(l, &same);
		if (same.t != NULL &&
		    (look->t == NULL || look->t->children == NULL))
			look->t = same.t;
	}
	return 1;
}

void
looks_free(struct looks *l)
{
	free(l->v);
	memset(l, 0, sizeof(*l));
}
