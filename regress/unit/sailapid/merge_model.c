/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * merge_model: the table of sailvol-format(5), MERGE, path by path on whole
 * trees.  Slow and plain on purpose.
 */
#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/entry.h"
#include "lib/path.h"
#include "regress/unit/sailapid/merge_model.h"

static const struct mnode nothing;

int
mp_cmp(const char *a, const char *b)
{
	return path_cmp(a, strlen(a), b, strlen(b));
}

int
mp_below(const char *path, const char *dir)
{
	size_t n = strlen(dir);

	if (n == 0)
		return path[0] != '\0';
	return strncmp(path, dir, n) == 0 && path[n] == '/';
}

static size_t
lower(const struct mtree *t, const char *path)
{
	size_t lo = 0, hi = t->n, mid;

	while (lo < hi) {
		mid = (lo + hi) / 2;
		if (mp_cmp(t->v[mid].path, path) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

struct mpath *
mtree_find(const struct mtree *t, const char *path)
{
	size_t i = lower(t, path);

	if (i < t->n && strcmp(t->v[i].path, path) == 0)
		return &t->v[i];
	return NULL;
}

struct mpath *
mtree_set(struct mtree *t, const char *path, const struct mnode *n)
{
	size_t i = lower(t, path);

	if (i == t->n || strcmp(t->v[i].path, path) != 0) {
		if (t->n == t->cap) {
			t->cap = t->cap == 0 ? 32 : t->cap * 2;
			t->v = realloc(t->v, t->cap * sizeof(*t->v));
			if (t->v == NULL)
				err(1, "realloc");
		}
		memmove(&t->v[i + 1], &t->v[i], (t->n - i) * sizeof(*t->v));
		t->n++;
		memset(&t->v[i], 0, sizeof(t->v[i]));
		memcpy(t->v[i].path, path, strlen(path) + 1);
		t->v[i].oc = -1;
	}
	t->v[i].n = *n;
	return &t->v[i];
}

void
mtree_del(struct mtree *t, const char *path)
{
	size_t i = lower(t, path);

	if (i < t->n && strcmp(t->v[i].path, path) == 0) {
		t->n--;
		memmove(&t->v[i], &t->v[i + 1], (t->n - i) * sizeof(*t->v));
	}
}

void
mtree_copy(struct mtree *to, const struct mtree *from)
{
	mtree_free(to);
	to->n = from->n;
	to->cap = from->n + 8;
	if ((to->v = malloc(to->cap * sizeof(*to->v))) == NULL)
		err(1, "malloc");
	if (from->n > 0)
		memcpy(to->v, from->v, from->n * sizeof(*to->v));
}

void
mtree_free(struct mtree *t)
{
	free(t->v);
	memset(t, 0, sizeof(*t));
}

int
mnode_same_attr(const struct mnode *a, const struct mnode *b)
{
	return a->mode == b->mode && a->uid == b->uid &&
	    (a->type == ENTRY_FILE) == (b->type == ENTRY_FILE) &&
	    (a->type != ENTRY_FILE || a->mtime == b->mtime);
}

int
mnode_same(const struct mnode *a, const struct mnode *b)
{
	if (a->type != b->type)
		return 0;
	if (a->type == 0)
		return 1;
	if ((a->type == ENTRY_FILE || a->type == ENTRY_SYMLINK) &&
	    a->content != b->content)
		return 0;
	return mnode_same_attr(a, b);
}

int
mnode_equal(const struct mnode *a, const struct mnode *b)
{
	return mnode_same(a, b) &&
	    (a->type == 0 ||
		(a->mtime == b->mtime && a->ctime == b->ctime &&
		    a->fileid == b->fileid));
}

static struct mnode
get(const struct mtree *t, const char *path)
{
	const struct mpath *p = mtree_find(t, path);

	return p != NULL ? p->n : nothing;
}

static const char *
join(char out[2 * MP_MAX], const char *dir, const char *rel)
{
	(void)snprintf(out, (size_t)2 * MP_MAX, "%s%s%s", dir,
	    dir[0] != '\0' ? "/" : "", rel);
	return out;
}

/* Below dir, as a path relative to it. */
static const char *
relative(const char *path, const char *dir)
{
	return dir[0] == '\0' ? path : path + strlen(dir) + 1;
}

struct mnode
mref_seen(const struct mref *r, const struct mtree *commit, const char *rel)
{
	char p[2 * MP_MAX];
	size_t i;

	for (i = 0; i < r->nx; i++) {
		if (strcmp(r->x[i].path, rel) == 0)
			return r->x[i].seen;
		if (mp_below(rel, r->x[i].path) &&
		    r->x[i].seen.type != ENTRY_DIR)
			return nothing;
	}
	return get(commit, join(p, r->path, rel));
}

/* ---- what the delta says of a path ---- */

struct fact {
	char path[MP_MAX];
	const struct mop *op;
	struct mnode head, put, seen, result;
	int seen_known, in_tree, wiped;
	int is_put, brought; /* put holds; by a reference */
	const struct mnode *context;
};
struct model {
	const struct mtree *head;
	const struct mdelta *d;
	struct fact *f;
	size_t n;
	struct mreport *rep;
};

static int
puts_whole(const struct mop *op)
{
	return op != NULL &&
	    (op->kind == M_PUT || (op->kind == M_ATTR && op->has_tree));
}

static int
removes(const struct mop *op)
{
	return op != NULL && (op->kind == M_DELETE || op->kind == M_TREE);
}

static const struct mop *
find_op(const struct mdelta *d, const char *path)
{
	size_t i;

	for (i = 0; i < d->nop; i++)
		if (strcmp(d->op[i].path, path) == 0)
			return &d->op[i];
	return NULL;
}

static void
fact_seen(const struct model *m, struct fact *f)
{
	const struct mop *op, *tree = NULL;
	size_t i;
	int fresh = 0;

	for (i = 0; i < m->d->nop; i++) {
		op = &m->d->op[i];
		if (!mp_below(f->path, op->path))
			continue;
		if (op->has_tree)
			tree = op; /* the nearest comes last */
		else if (puts_whole(op) &&
		    (op->has_ref || op->seen.type != ENTRY_DIR))
			fresh = 1;
	}
	f->in_tree = tree != NULL;
	f->seen_known = 1;
	if (f->op != NULL)
		f->seen = f->op->seen;
	else if (tree != NULL)
		f->seen =
		    mref_seen(&tree->tree, m->d->commits[tree->tree.commit],
			relative(f->path, tree->path));
	else
		f->seen_known = fresh;
}

static void
fact_put(const struct model *m, struct fact *f)
{
	const struct mop *op, *ref = NULL;
	char p[2 * MP_MAX];
	const char *rel;
	size_t i;

	if (puts_whole(f->op)) {
		f->is_put = 1;
		f->put = f->op->e;
		return;
	}
	for (i = 0; i < m->d->nop; i++) {
		op = &m->d->op[i];
		if (op->has_ref && mp_below(f->path, op->path))
			ref = op;
	}
	if (ref == NULL)
		return;
	rel = relative(f->path, ref->path);
	for (i = 0; i < ref->ref.nx; i++)
		if (strcmp(rel, ref->ref.x[i].path) == 0 ||
		    mp_below(rel, ref->ref.x[i].path))
			return;
	f->put =
	    get(m->d->commits[ref->ref.commit], join(p, ref->ref.path, rel));
	f->is_put = f->brought = f->put.type != 0;
	if (f->is_put && f->op != NULL && f->op->kind == M_ATTR &&
	    f->op->e.type == f->put.type) {
		f->put.mode = f->op->e.mode;
		f->put.uid = f->op->e.uid;
		if (f->put.type == ENTRY_FILE)
			f->put.mtime = f->op->e.mtime;
		if (f->put.ctime < f->op->e.ctime)
			f->put.ctime = f->op->e.ctime;
	}
}

static void
add_path(struct mtree *u, const char *path)
{
	char p[2 * MP_MAX];
	char *slash;

	(void)snprintf(p, sizeof(p), "%s", path);
	while (p[0] != '\0') {
		(void)mtree_set(u, p, &nothing);
		if ((slash = strrchr(p, '/')) == NULL)
			break;
		*slash = '\0';
	}
}

/* Every path that the head, an operation or a reference has. */
static void
universe(const struct model *m, struct mtree *u)
{
	const struct mtree *c;
	const struct mop *op;
	char p[2 * MP_MAX];
	size_t i, k;

	mtree_copy(u, m->head);
	for (i = 0; i < m->d->nop; i++) {
		op = &m->d->op[i];
		add_path(u, op->path);
		if (!op->has_ref)
			continue;
		c = m->d->commits[op->ref.commit];
		for (k = 0; k < c->n; k++)
			if (mp_below(c->v[k].path, op->ref.path))
				add_path(u,
				    join(p, op->path,
					relative(c->v[k].path, op->ref.path)));
	}
}

static void
gather(struct model *m)
{
	struct mtree u = { NULL, 0, 0 };
	struct mpath *c;
	struct fact *f;
	size_t i, k;

	universe(m, &u);
	m->n = u.n;
	if ((m->f = calloc(u.n, sizeof(*m->f))) == NULL)
		err(1, "calloc");
	for (i = 0; i < u.n; i++) {
		f = &m->f[i];
		memcpy(f->path, u.v[i].path, MP_MAX);
		f->head = get(m->head, f->path);
		f->op = find_op(m->d, f->path);
		if ((c = mtree_find(&m->d->context, f->path)) != NULL)
			f->context = &c->n;
		fact_seen(m, f);
		fact_put(m, f);
	}
	/* What is below something that is no directory goes. */
	for (i = 0; i < m->n; i++) {
		f = &m->f[i];
		if (f->wiped || !f->is_put || f->put.type == ENTRY_DIR)
			continue;
		for (k = i + 1; k < m->n; k++) {
			if (!mp_below(m->f[k].path, f->path))
				break;
			m->f[k].wiped = 1;
			m->f[k].is_put = 0;
		}
	}
	mtree_free(&u);
}

/* ---- the rows of the table ---- */

static void
report(struct model *m, const struct fact *f)
{
	struct mreport *r = m->rep;

	if ((r->n & (r->n - 1)) == 0) {
		r->path = realloc(r->path,
		    (r->n == 0 ? 1 : r->n * 2) * sizeof(*r->path));
		if (r->path == NULL)
			err(1, "realloc");
	}
	memcpy(r->path[r->n++], f->path, MP_MAX);
}

/* The head's entry differs from what the committer saw. */
static int
changed_since(const struct fact *f)
{
	return !f->seen_known || !mnode_same(&f->head, &f->seen);
}

static int64_t
later(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

static void
row_put(struct model *m, struct fact *f, int below_differs)
{
	int equal = mnode_same(&f->head, &f->put);
	int both_dirs = f->head.type == ENTRY_DIR && f->put.type == ENTRY_DIR;
	/* Removed by the same delta, then brought: nothing of it stays. */
	int replaced = f->brought && f->seen.type != 0 &&
	    (f->op == NULL || removes(f->op));

	f->result = f->put;
	if (equal && !replaced)
		f->result = f->head;
	else if (!equal && changed_since(f))
		report(m, f);
	if (both_dirs && !replaced && (!equal || below_differs)) {
		f->result.mtime = later(f->head.mtime, f->put.mtime);
		f->result.ctime = later(f->head.ctime, f->put.ctime);
	}
}

static void
row_attr(struct model *m, struct fact *f)
{
	const struct mnode *e = &f->op->e;

	f->result = f->head;
	if (f->head.type != e->type || mnode_same_attr(&f->head, e))
		return;
	if (f->seen.type == 0 || !mnode_same_attr(&f->head, &f->seen))
		report(m, f);
	f->result.mode = e->mode;
	f->result.uid = e->uid;
	f->result.mtime = f->head.type == ENTRY_FILE
	    ? e->mtime
	    : later(f->head.mtime, e->mtime);
	f->result.ctime = later(f->head.ctime, e->ctime);
}

static void
row_made_again(struct model *m, struct fact *f)
{
	if (f->op != NULL && f->op->kind == M_ATTR)
		f->result = f->op->e;
	else if (f->context != NULL)
		f->result = *f->context;
	else
		errx(1, "model: no context of %s", f->path);
	if (changed_since(f))
		report(m, f);
}

static void
settle(struct model *m, struct fact *f, int has_below, int below_differs,
    int ops_below)
{
	const struct mnode *shown = NULL;

	if (f->wiped) {
		if (f->head.type != 0 && changed_since(f))
			report(m, f);
		return;
	}
	if (f->is_put) {
		row_put(m, f, below_differs);
		return;
	}
	if (f->head.type != ENTRY_DIR && has_below) {
		row_made_again(m, f);
		return;
	}
	if (f->head.type == 0)
		return;
	if (f->op != NULL && f->op->kind == M_ATTR) {
		row_attr(m, f);
		if (f->op->e.type == ENTRY_DIR)
			shown = &f->op->e;
	} else if ((removes(f->op) ||
		       (f->op == NULL && f->in_tree && f->seen.type != 0)) &&
	    !has_below) {
		if (changed_since(f))
			report(m, f);
		return;
	} else {
		f->result = f->head;
		shown = ops_below ? f->context : NULL;
	}
	if (f->head.type == ENTRY_DIR && shown != NULL && below_differs) {
		f->result.mtime = later(f->result.mtime, shown->mtime);
		f->result.ctime = later(f->result.ctime, shown->ctime);
	}
}

static int
report_cmp(const void *a, const void *b)
{
	return mp_cmp(a, b);
}

void
model_merge(const struct mtree *head, const struct mdelta *d, int if_unchanged,
    struct mtree *result, struct mreport *rep)
{
	struct model m = { head, d, NULL, 0, rep };
	struct fact *f, *g;
	size_t i, k;
	int has_below, differs, ops_below;

	memset(rep, 0, sizeof(*rep));
	gather(&m);
	for (i = m.n; i-- > 0;) {
		f = &m.f[i];
		has_below = differs = ops_below = 0;
		for (k = i + 1; k < m.n; k++) {
			g = &m.f[k];
			if (!mp_below(g->path, f->path))
				break;
			has_below |= g->result.type != 0;
			differs |= !mnode_equal(&g->head, &g->result);
			ops_below |= g->op != NULL;
		}
		settle(&m, f, has_below, differs, ops_below);
		if (f->op != NULL &&
		    (differs || !mnode_equal(&f->head, &f->result))) {
			if (removes(f->op))
				rep->deletes++;
			else
				rep->puts++;
		}
	}
	if (rep->n > 0)
		qsort(rep->path, rep->n, sizeof(*rep->path), report_cmp);
	rep->refused = if_unchanged && rep->n > 0;
	if (rep->refused)
		rep->puts = rep->deletes = 0;
	mtree_free(result);
	for (i = 0; i < m.n; i++)
		if (rep->refused ? m.f[i].head.type : m.f[i].result.type)
			(void)mtree_set(result, m.f[i].path,
			    rep->refused ? &m.f[i].head : &m.f[i].result);
	free(m.f);
}

void
mreport_free(struct mreport *r)
{
	free(r->path);
	memset(r, 0, sizeof(*r));
}
