/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * seen: what a mount saw at a path, and directories as seen.  In manifest.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/delta.h"
#include "sailvold/pairs.h"
#include "sailvold/seen.h"

size_t seen_names_max = SEEN_MAX_NAMES;

void
seen_at_free(struct seen_at *a)
{
	place_free(&a->tree);
}

/* 1: there is a row; 0: none. */
static int
from_row(struct seen_ctx *c, const void *path, size_t len, struct seen_at *a)
{
	struct seen_row row;
	void *mem;
	int rc = 1;

	if (db_seen_get(c->db, c->row->row, path, len, &row, &mem) == -1)
		return errno == ENOENT ? 0 : -1;
	a->seen = row.seen;
	if (row.has_tree) {
		a->has_tree = 1;
		if (place_open(&a->tree, &row.tree_commit, row.tree_path,
			row.tree_path_len, c->miss) == -1)
			rc = -1;
	}
	free(mem);
	return rc;
}

int
seen_root(struct seen_ctx *c, struct seen_at *a)
{
	struct blob *keep;
	struct entry e;
	int rc;

	memset(a, 0, sizeof(*a));
	if ((rc = from_row(c, "", 0, a)) != 0)
		return rc == 1 ? 0 : -1;
	if (nodes_commit_root(&c->row->base, &e, &keep) == -1) {
		if (errno == ENODATA)
			return miss_set(c->miss, &c->row->base, "", 0, "", 0);
		return -1;
	}
	seen_of(&e, &a->seen);
	blob_unref(keep);
	a->has_tree = 1;
	return place_open(&a->tree, &c->row->base, "", 0, c->miss);
}

int
seen_child(struct seen_ctx *c, const struct seen_at *parent, const void *path,
    size_t len, const void *name, size_t name_len, struct seen_at *a)
{
	struct blob *keep;
	struct entry e;
	int rc;

	memset(a, 0, sizeof(*a));
	if ((rc = from_row(c, path, len, a)) != 0)
		return rc == 1 ? 0 : -1;
	if (!parent->seen.present || !parent->seen.is_dir || !parent->has_tree)
		return 0;
	rc = place_child(&parent->tree, name, name_len, &e, &keep, c->miss);
	if (rc != 1)
		return rc;
	seen_of(&e, &a->seen);
	rc = 0;
	if (e.type == ENTRY_DIR) {
		a->has_tree = 1;
		rc = place_down(&parent->tree, name, name_len, &e, &a->tree);
	}
	blob_unref(keep);
	return rc;
}

int
seen_lookup(struct seen_ctx *c, const void *path, size_t len, struct seen_at *a)
{
	const uint8_t *p = path, *slash;
	struct seen_at next;
	size_t at = 0, n;
	int rc;

	if (seen_root(c, a) == -1)
		return -1;
	while (at < len) {
		slash = memchr(p + at, '/', len - at);
		n = slash != NULL ? (size_t)(slash - p) - at : len - at;
		rc = seen_child(c, a, path, at + n, p + at, n, &next);
		seen_at_free(a);
		*a = next;
		if (rc == -1) {
			seen_at_free(a);
			return -1;
		}
		at += n + (slash != NULL);
	}
	return 0;
}

/* ---- directories as seen ------------------------------------------------------ */

struct walk {
	struct seen_ctx *c;
	struct seen_tree *out;
	size_t cap;
	struct seen_row *rows; /* sorted by path_cmp */
	size_t skip;           /* length of the directory's path and '/' */
	struct pathbuf rel;
	struct pairs same; /* that gave no exception */
};

/* A name where two trees differ. */
struct differ {
	uint8_t *name;
	size_t len;
	struct seen a, b;
	struct hash a_root, b_root;
};
struct differs {
	struct differ *v;
	size_t n, cap;
	size_t *count; /* of all */
};

static void
differs_free(struct differs *d)
{
	size_t i;

	for (i = 0; i < d->n; i++)
		free(d->v[i].name);
	free(d->v);
}

static int
add_differ(void *arg, const uint8_t *name, size_t len, const struct entry *a,
    const struct entry *b)
{
	struct differs *ds = arg;
	struct differ *d;
	size_t cap;

	if (++*ds->count > seen_names_max) {
		errno = EFBIG;
		return -1;
	}
	if (ds->n == ds->cap) {
		cap = ds->cap == 0 ? 16 : ds->cap * 2;
		if ((d = reallocarray(ds->v, cap, sizeof(*d))) == NULL)
			return -1;
		ds->v = d;
		ds->cap = cap;
	}
	d = &ds->v[ds->n];
	memset(d, 0, sizeof(*d));
	if ((d->name = mem_dup(name, len)) == NULL)
		return -1;
	d->len = len;
	seen_of(a, &d->a);
	seen_of(b, &d->b);
	if (a != NULL)
		d->a_root = a->root;
	if (b != NULL)
		d->b_root = b->root;
	ds->n++;
	return 0;
}

static int
add_except(struct walk *w, const struct seen *seen)
{
	struct seen_except *x;
	size_t cap;

	if ((w->c->bytes += 2 + w->rel.len) > DELTA_MAX_BYTES) {
		errno = EFBIG;
		return -1;
	}
	if (w->out->n == w->cap) {
		cap = w->cap == 0 ? 16 : w->cap * 2;
		if ((x = reallocarray(w->out->x, cap, sizeof(*x))) == NULL)
			return -1;
		w->out->x = x;
		w->cap = cap;
	}
	x = &w->out->x[w->out->n];
	if ((x->path = mem_dup(w->rel.b, w->rel.len)) == NULL)
		return -1;
	x->len = w->rel.len;
	x->seen = *seen;
	w->out->n++;
	return 0;
}

static int
name_cmp(const uint8_t *a, size_t alen, const uint8_t *b, size_t blen)
{
	int c = memcmp(a, b, alen < blen ? alen : blen);

	return c != 0 ? c : alen < blen ? -1 : alen > blen;
}

/* The component of a row's path that begins at off. */
static size_t
component(const struct seen_row *r, size_t off)
{
	const uint8_t *slash = memchr(r->path + off, '/', r->len - off);

	return slash != NULL ? (size_t)(slash - r->path) - off : r->len - off;
}

static int walk_dir(struct walk *, const struct place *assumed,
    const struct place *actual, size_t lo, size_t hi);

/* What a tree has at a name, as a place when it is a directory. */
static int
child_place(struct walk *w, const struct place *dir, const uint8_t *name,
    size_t len, struct place *out, int *has)
{
	struct blob *keep;
	struct entry e;
	int rc;

	*has = 0;
	if (dir == NULL)
		return 0;
	rc = place_child(dir, name, len, &e, &keep, w->c->miss);
	if (rc != 1)
		return rc;
	rc = 0;
	if (e.type == ENTRY_DIR) {
		*has = 1;
		rc = place_down(dir, name, len, &e, out);
	}
	blob_unref(keep);
	return rc;
}

/*
 * One name: rows [lo, hi) are at and below it, x says where the trees differ
 * (NULL: they do not).  What the merge takes as seen without an exception is
 * `assumed'; an exception for a directory keeps the names of the assumed one.
 */
static int
walk_name(struct walk *w, const struct place *assumed,
    const struct place *actual, const uint8_t *name, size_t len,
    const struct differ *x, size_t lo, size_t hi)
{
	struct place a, b;
	struct entry e;
	const struct seen_row *row = NULL;
	int has_a = 0, has_b = 0, rc = -1;
	long before;

	memset(&a, 0, sizeof(a));
	memset(&b, 0, sizeof(b));
	if ((before = pathbuf_push(&w->rel, name, len)) == -1)
		return -1;
	if (lo < hi && w->rows[lo].len == w->skip + w->rel.len)
		row = &w->rows[lo++];
	memset(&e, 0, sizeof(e));
	if (x != NULL) {
		e.root = x->a_root;
		has_a = x->a.present && x->a.is_dir;
		if (has_a && place_down(assumed, name, len, &e, &a) == -1)
			goto done;
	} else if (child_place(w, assumed, name, len, &a, &has_a) == -1)
		goto done;
	if (row != NULL) {
		has_b = row->has_tree;
		if (add_except(w, &row->seen) == -1)
			goto done;
		if (!row->seen.present || !row->seen.is_dir) {
			rc = 0;
			goto done;
		}
		if (has_b &&
		    place_open(&b, &row->tree_commit, row->tree_path,
			row->tree_path_len, w->c->miss) == -1)
			goto done;
	} else {
		if (x != NULL) {
			if (!seen_equal(&x->a, &x->b) &&
			    add_except(w, &x->b) == -1)
				goto done;
			e.root = x->b_root;
			has_b = x->b.present && x->b.is_dir;
			if (!has_b) {
				rc = 0;
				goto done;
			}
			if (place_down(actual, name, len, &e, &b) == -1)
				goto done;
		} else if (child_place(w, actual, name, len, &b, &has_b) == -1)
			goto done;
	}
	rc = walk_dir(w, has_a ? &a : NULL, has_b ? &b : NULL, lo, hi);
done:
	place_free(&a);
	place_free(&b);
	pathbuf_pop(&w->rel, before);
	return rc;
}

static int
walk_dir(struct walk *w, const struct place *assumed,
    const struct place *actual, size_t lo, size_t hi)
{
	struct differs ds = { NULL, 0, 0, &w->c->names };
	const struct differ *d;
	const uint8_t *name;
	const struct hash *a = assumed != NULL ? &assumed->root : NULL;
	const struct hash *b = actual != NULL ? &actual->root : NULL;
	size_t off = w->skip + w->rel.len + (w->rel.len > 0);
	size_t i = 0, len, end, had = w->out->n;
	int c, rc = -1, rows = lo < hi;

	if (!rows && pairs_has(&w->same, a, b))
		return 0;
	if (place_diff(assumed, actual, w->c->attempt, NULL, 0, add_differ, &ds,
		w->c->miss) == -1)
		goto done;
	while (i < ds.n || lo < hi) {
		d = i < ds.n ? &ds.v[i] : NULL;
		c = -1;
		if (lo < hi) {
			len = component(&w->rows[lo], off);
			c = d == NULL ? 1
				      : name_cmp(d->name, d->len,
					    w->rows[lo].path + off, len);
		}
		end = lo;
		if (c >= 0) {
			name = w->rows[lo].path + off;
			while (end < hi &&
			    component(&w->rows[end], off) == len &&
			    memcmp(w->rows[end].path + off, name, len) == 0)
				end++;
		} else {
			name = d->name;
			len = d->len;
		}
		if (walk_name(w, assumed, actual, name, len, c <= 0 ? d : NULL,
			lo, end) == -1)
			goto done;
		lo = end;
		if (c <= 0)
			i++;
	}
	if (!rows && w->out->n == had)
		pairs_add(&w->same, a, b);
	rc = 0;
done:
	differs_free(&ds);
	return rc;
}

static int
row_cmp(const void *a, const void *b)
{
	const struct seen_row *x = a, *y = b;

	return path_cmp(x->path, x->len, y->path, y->len);
}

/* Where a directory that has no tree refers to; *has: the base has one there. */
static int
own_tree(struct seen_ctx *c, const void *path, size_t len, struct place *ref,
    int *has)
{
	*has = place_open(ref, &c->row->base, path, len, c->miss) == 0;
	if (*has)
		return 0;
	if (errno != ENOENT && errno != ENOTDIR)
		return -1;
	memset(ref, 0, sizeof(*ref));
	ref->commit = c->row->base;
	ref->len = len;
	return (ref->path = mem_dup(path, len)) == NULL ? -1 : 0;
}

int
seen_tree(struct seen_ctx *c, const void *path, size_t len,
    const struct seen_at *at, struct seen_tree *out)
{
	struct walk w;
	size_t n = 0;
	int has = 1, rc = -1;

	memset(out, 0, sizeof(*out));
	memset(&w, 0, sizeof(w));
	w.c = c;
	w.out = out;
	w.skip = len + (len > 0);
	if (db_seen_below(c->db, c->row->row, path, len, &w.rows, &n) == -1)
		return -1;
	if (n > 1)
		qsort(w.rows, n, sizeof(*w.rows), row_cmp);
	if (at->has_tree) {
		if (place_copy(&out->ref, &at->tree) == -1)
			goto done;
	} else if (own_tree(c, path, len, &out->ref, &has) == -1)
		goto done;
	rc = walk_dir(&w, has ? &out->ref : NULL,
	    at->has_tree ? &at->tree : NULL, 0, n);
done:
	if (rc == -1 && errno == EFBIG) {
		node_miss_free(c->miss);
		if ((c->miss->path = mem_dup(path, len)) != NULL)
			c->miss->path_len = len;
		errno = EFBIG;
	}
	free(w.rows);
	pairs_free(&w.same);
	if (rc == -1)
		seen_tree_free(out);
	return rc;
}

void
seen_too_many(const struct node_miss *miss, char *text, size_t size)
{
	char shown[400];

	miss_shown(miss, shown, sizeof(shown));
	snprintf(text, size,
	    "%s: more than %zu names below it are not as they were seen: move "
	    "it back, reload, and move or remove it then",
	    shown, SEEN_MAX_NAMES);
}

void
seen_tree_free(struct seen_tree *t)
{
	size_t i;

	for (i = 0; i < t->n; i++)
		free(t->x[i].path);
	free(t->x);
	place_free(&t->ref);
	t->x = NULL;
	t->n = 0;
}
