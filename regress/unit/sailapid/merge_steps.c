/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * merge_steps: the merge told as steps on one dictionary of paths: deletes,
 * references, puts, attributes, one after the other; then what was overwritten
 * is where the result is not the head's and the head's was not seen.  It
 * decides nothing by rows of the table, so that it is wrong elsewhere than
 * merge_model.
 */
#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/entry.h"
#include "lib/path.h"
#include "regress/unit/sailapid/merge_model.h"

static const struct mnode none;

struct steps {
	const struct mtree *head;
	const struct mdelta *d;
	struct mtree now;
	struct mtree leave; /* directories that go when they are empty */
};

static struct mnode
at(const struct mtree *t, const char *path)
{
	const struct mpath *p = mtree_find(t, path);

	return p != NULL ? p->n : none;
}

static const struct mop *
op_at(const struct mdelta *d, const char *path)
{
	size_t i;

	for (i = 0; i < d->nop; i++)
		if (strcmp(d->op[i].path, path) == 0)
			return &d->op[i];
	return NULL;
}

static int
is_put(const struct mop *op)
{
	return op->kind == M_PUT || (op->kind == M_ATTR && op->has_tree);
}

/* What the committer saw at a path; 0 when the delta does not say it. */
static int
saw(const struct mdelta *d, const char *path, struct mnode *n)
{
	const struct mop *op, *up = NULL;
	size_t i;

	*n = none;
	if ((op = op_at(d, path)) != NULL) {
		*n = op->seen;
		return 1;
	}
	for (i = 0; i < d->nop; i++) {
		op = &d->op[i];
		if (mp_below(path, op->path) &&
		    (op->has_tree ||
			(is_put(op) && op->seen.type != ENTRY_DIR)))
			up = op;
	}
	if (up == NULL)
		return 0;
	if (up->has_tree)
		*n = mref_seen(&up->tree, d->commits[up->tree.commit],
		    path + strlen(up->path) + 1);
	return 1;
}

static void
wipe(struct mtree *t, const char *path, int itself)
{
	char p[MP_MAX];
	size_t i;

	(void)snprintf(p, sizeof(p), "%s", path);
	for (i = t->n; i-- > 0;)
		if (mp_below(t->v[i].path, p) ||
		    (itself && strcmp(t->v[i].path, p) == 0))
			mtree_del(t, t->v[i].path);
}

/* Directories above a path are there. */
static void
stand(struct steps *s, const char *path)
{
	char p[MP_MAX];
	struct mnode n;
	const struct mop *op;
	size_t i;

	for (i = 0; path[i] != '\0'; i++) {
		if (path[i] != '/')
			continue;
		memcpy(p, path, i);
		p[i] = '\0';
		if (at(&s->now, p).type == ENTRY_DIR)
			continue;
		n = at(&s->d->context, p);
		if ((op = op_at(s->d, p)) != NULL)
			n = op->e;
		if (n.type != ENTRY_DIR)
			errx(1, "steps: nothing says what %s was", p);
		(void)mtree_set(&s->now, p, &n);
	}
}

static void
lay(struct steps *s, const char *path, const struct mnode *n)
{
	stand(s, path);
	if (n->type != ENTRY_DIR)
		wipe(&s->now, path, 0);
	mtree_del(&s->leave, path);
	(void)mtree_set(&s->now, path, n);
}

static void
step_delete(struct steps *s)
{
	const struct mpath *h;
	const struct mop *op, *up;
	struct mnode seen;
	size_t i, k;

	for (i = 0; i < s->head->n; i++) {
		h = &s->head->v[i];
		op = op_at(s->d, h->path);
		for (up = NULL, k = 0; k < s->d->nop; k++)
			if (s->d->op[k].has_tree &&
			    mp_below(h->path, s->d->op[k].path))
				up = &s->d->op[k];
		if (op != NULL ? op->kind == M_PUT || op->kind == M_ATTR
			       : up == NULL)
			continue;
		if (!saw(s->d, h->path, &seen) || seen.type == 0)
			continue;
		if (h->n.type == ENTRY_DIR)
			(void)mtree_set(&s->leave, h->path, &h->n);
		else
			mtree_del(&s->now, h->path);
	}
}

/* Only the nearest reference above a path brings something there. */
static void
step_refs(struct steps *s)
{
	const struct mop *op, *o;
	const struct mtree *c;
	char p[2 * MP_MAX];
	const char *rel;
	size_t i, k, x;

	for (i = 0; i < s->d->nop; i++) {
		op = &s->d->op[i];
		if (!op->has_ref)
			continue;
		lay(s, op->path, &op->e);
		c = s->d->commits[op->ref.commit];
		for (k = 0; k < c->n; k++) {
			if (!mp_below(c->v[k].path, op->ref.path))
				continue;
			rel = c->v[k].path + strlen(op->ref.path);
			rel += *rel == '/';
			for (x = 0; x < op->ref.nx; x++)
				if (strcmp(rel, op->ref.x[x].path) == 0 ||
				    mp_below(rel, op->ref.x[x].path))
					break;
			if (x < op->ref.nx)
				continue;
			(void)snprintf(p, sizeof(p), "%s/%s", op->path, rel);
			for (o = op + 1; o < s->d->op + s->d->nop; o++)
				if (o->has_ref && mp_below(p, o->path))
					break;
			if (o == s->d->op + s->d->nop)
				lay(s, p, &c->v[k].n);
		}
	}
}

static void
step_puts(struct steps *s)
{
	const struct mop *op;
	struct mnode n;
	size_t i;

	for (i = 0; i < s->d->nop; i++) {
		op = &s->d->op[i];
		if (is_put(op)) {
			lay(s, op->path, &op->e);
			continue;
		}
		n = at(&s->now, op->path);
		if (op->kind != M_ATTR || n.type != op->e.type)
			continue;
		n.mode = op->e.mode;
		n.uid = op->e.uid;
		if (n.type == ENTRY_FILE)
			n.mtime = op->e.mtime;
		(void)mtree_set(&s->now, op->path, &n);
	}
}

static void
step_leave(struct steps *s)
{
	const struct mpath *l;
	size_t i, k;

	for (i = s->leave.n; i-- > 0;) {
		l = &s->leave.v[i];
		if (at(&s->now, l->path).type != ENTRY_DIR)
			continue;
		for (k = 0; k < s->now.n; k++)
			if (mp_below(s->now.v[k].path, l->path))
				break;
		if (k == s->now.n)
			mtree_del(&s->now, l->path);
	}
}

static int
overwritten(const struct steps *s, const char *path)
{
	const struct mop *op = op_at(s->d, path);
	struct mnode h = at(s->head, path), n = at(&s->now, path), seen;

	if (mnode_same(&h, &n))
		return 0;
	if (!saw(s->d, path, &seen))
		return 1;
	if (op != NULL && op->kind == M_ATTR && !op->has_tree &&
	    h.type == n.type && h.content == n.content)
		return seen.type == 0 || !mnode_same_attr(&h, &seen);
	return !mnode_same(&h, &seen);
}

int
steps_differ(const struct mtree *head, const struct mdelta *d,
    const struct mtree *got, const struct mreport *rep)
{
	struct steps s = { head, d, { NULL, 0, 0 }, { NULL, 0, 0 } };
	struct mtree all = { NULL, 0, 0 };
	struct mnode g, n;
	size_t i, r = 0;
	int bad = 0;

	mtree_copy(&s.now, head);
	step_delete(&s);
	step_refs(&s);
	step_puts(&s);
	step_leave(&s);
	mtree_copy(&all, head);
	for (i = 0; i < s.now.n; i++)
		(void)mtree_set(&all, s.now.v[i].path, &none);
	for (i = 0; i < got->n; i++)
		(void)mtree_set(&all, got->v[i].path, &none);
	for (i = 0; i < all.n && !bad; i++) {
		g = at(got, all.v[i].path);
		n = rep->refused ? at(head, all.v[i].path)
				 : at(&s.now, all.v[i].path);
		if (!mnode_same(&g, &n)) {
			fprintf(stderr,
			    "steps: %s: type %d mode %o content %u"
			    ", got type %d mode %o content %u\n",
			    all.v[i].path, n.type, n.mode, n.content, g.type,
			    g.mode, g.content);
			bad = 1;
		}
		if (!overwritten(&s, all.v[i].path))
			continue;
		if (r == rep->n || strcmp(rep->path[r], all.v[i].path) != 0) {
			fprintf(stderr, "steps: %s is overwritten, got %s\n",
			    all.v[i].path, r < rep->n ? rep->path[r] : "none");
			bad = 1;
		}
		r++;
	}
	if (!bad && r != rep->n) {
		fprintf(stderr, "steps: %zu overwritten, got %zu\n", r, rep->n);
		bad = 1;
	}
	mtree_free(&s.now);
	mtree_free(&s.leave);
	mtree_free(&all);
	return bad;
}
