/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * merge_walk: finds the names of a directory that a merge has to look at, and
 * makes the directory anew from what became of them.  What the delta does not
 * name and what does not differ is never read.  Runs in meta.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "sailapid/merge_walk.h"

#define CURSOR_STEPS 32
#define ARENA_BLOCK (32 * 1024)
#define SLICE 16384 /* names whose entries are held at a time */

static int
name_cmp(const void *a, size_t alen, const void *b, size_t blen)
{
	int r = memcmp(a, b, alen < blen ? alen : blen);

	return r != 0 ? r : alen < blen ? -1 : alen > blen;
}

/* ---- a directory that is asked for names in ascending order ---- */

struct cursor {
	const struct node_store *store;
	const struct hash *root; /* NULL: no directory, no names */
	struct tree_iter *it;
	int state; /* of the last tree_iter_next: 1 a name, 0 the end */
	const uint8_t *name;
	size_t len;
	struct entry e;
};

/*
 * Steps over some names to the wanted one; starts anew from the root where it
 * is farther away.  So many names cost one pass, and few cost a look-up each.
 * *e is NULL when there is none, and lives until the next call.
 */
static int
cursor_find(struct cursor *c, const uint8_t *name, size_t len,
    const struct entry **e)
{
	int steps = 0, order = -1;

	*e = NULL;
	if (c->root == NULL)
		return 0;
	for (;;) {
		if (c->it != NULL && c->state == 0)
			return 0;
		if (c->it != NULL &&
		    (order = name_cmp(c->name, c->len, name, len)) >= 0)
			break;
		if (c->it == NULL || steps++ == CURSOR_STEPS) {
			tree_iter_end(c->it);
			c->it =
			    tree_iter_begin(c->store, c->root, name, len, 0);
			if (c->it == NULL)
				return -1;
		}
		c->state = tree_iter_next(c->it, &c->name, &c->len, &c->e);
		if (c->state == -1)
			return -1;
	}
	if (order == 0)
		*e = &c->e;
	return 0;
}

static void
cursor_init(struct cursor *c, const struct merge *m, const struct hash *root)
{
	memset(c, 0, sizeof(*c));
	c->store = &m->store;
	c->root = root;
}

static void
cursor_end(struct cursor *c)
{
	if (c->it != NULL)
		tree_iter_end(c->it);
	c->it = NULL;
}

/* ---- the names to look at ---- */

struct name {
	const uint8_t *p;
	size_t len;
};
struct block {
	struct block *next;
	size_t used;
	uint8_t data[ARENA_BLOCK];
};
struct names {
	struct name *v;
	size_t n, cap;
	struct block *blocks; /* copies of names that come from nodes */
};

static void
names_free(struct names *ns)
{
	struct block *b;

	while ((b = ns->blocks) != NULL) {
		ns->blocks = b->next;
		free(b);
	}
	free(ns->v);
}

static int
names_add(struct names *ns, const uint8_t *p, size_t len)
{
	struct name *v;
	size_t cap;

	if (ns->n > 0 &&
	    name_cmp(ns->v[ns->n - 1].p, ns->v[ns->n - 1].len, p, len) == 0)
		return 0;
	if (ns->n == ns->cap) {
		cap = ns->cap == 0 ? 16 : ns->cap * 2;
		if ((v = reallocarray(ns->v, cap, sizeof(*v))) == NULL)
			return -1;
		ns->v = v;
		ns->cap = cap;
	}
	ns->v[ns->n].p = p;
	ns->v[ns->n++].len = len;
	return 0;
}

static int
diff_name(void *arg, const uint8_t *name, size_t len, const struct entry *a,
    const struct entry *b)
{
	struct names *ns = arg;
	struct block *bl = ns->blocks;

	(void)a;
	(void)b;
	if (bl == NULL || sizeof(bl->data) - bl->used < len) {
		if ((bl = malloc(sizeof(*bl))) == NULL)
			return -1;
		bl->used = 0;
		bl->next = ns->blocks;
		ns->blocks = bl;
	}
	memcpy(bl->data + bl->used, name, len);
	bl->used += len;
	return names_add(ns, bl->data + bl->used - len, len);
}

/* The component of a path that begins at off. */
static struct name
component(const uint8_t *path, size_t len, size_t off)
{
	struct name n = { path + off, len - off };
	const uint8_t *slash = memchr(n.p, '/', n.len);

	if (slash != NULL)
		n.len = (size_t)(slash - n.p);
	return n;
}

/* Where the paths of operations go on below d. */
static size_t
op_offset(const struct dir *d)
{
	return d->path_len + (d->path_len != 0);
}

static int
names_of_scope(struct names *ns, const struct scope *s)
{
	struct name c;
	uint32_t i;

	for (i = 0; i < s->nx; i++) {
		c = component(s->x[i].path, s->x[i].len, s->skip);
		if (names_add(ns, c.p, c.len) == -1)
			return -1;
	}
	return 0;
}

static int
name_qcmp(const void *a, const void *b)
{
	const struct name *p = a, *q = b;

	return name_cmp(p->p, p->len, q->p, q->len);
}

static void
names_sort(struct names *ns)
{
	size_t i, k;

	if (ns->n < 2)
		return;
	qsort(ns->v, ns->n, sizeof(*ns->v), name_qcmp);
	for (i = k = 1; i < ns->n; i++)
		if (name_qcmp(&ns->v[k - 1], &ns->v[i]) != 0)
			ns->v[k++] = ns->v[i];
	ns->n = k;
}

/*
 * Names with operations or exceptions, and those where two trees differ:
 *  - a tree was seen: where the head differs from it.  What is as seen goes
 *    without a look, and where a reference comes after it, that stands.
 *  - else a reference on a directory of the head: where these two differ.
 * After a prior merge: where the heads differ.
 */
static int
names_collect(struct merge *m, const struct dir *d, struct names *ns)
{
	const struct hash *head = d->has_head ? &d->head_root : NULL;
	const struct hash *seen = d->seen.has_root ? &d->seen.root : NULL;
	const struct hash *ref = d->ref.has_root ? &d->ref.root : NULL;
	struct name c;
	uint32_t i;
	int rc = 0;

	if (d->has_prior)
		return tree_diff(&m->store, &d->prior_head, head, diff_name,
		    ns);
	for (i = d->lo; i < d->hi; i++) {
		c = component(m->delta->ops[i].path, m->delta->ops[i].len,
		    op_offset(d));
		if (names_add(ns, c.p, c.len) == -1)
			return -1;
	}
	if (names_of_scope(ns, &d->seen) == -1 ||
	    names_of_scope(ns, &d->ref) == -1)
		return -1;
	if (d->wipe) {
		if (head != NULL)
			rc = tree_diff(&m->store, seen, head, diff_name, ns);
	} else if (seen != NULL) {
		if (head != NULL || ref != NULL)
			rc = tree_diff(&m->store, seen, head, diff_name, ns);
	} else if (ref != NULL && head != NULL)
		rc = tree_diff(&m->store, ref, head, diff_name, ns);
	if (rc == -1)
		return -1;
	names_sort(ns);
	return 0;
}

/* ---- one name ---- */

struct walk {
	const struct dir *d;
	struct cursor head, seen, ref, prior_head, prior_result;
	uint32_t op, seen_x, ref_x; /* the next of each */
};

/* The first operation from i on that is at, below or behind a name. */
static uint32_t
op_seek(const struct merge *m, const struct dir *d, uint32_t i, struct name c)
{
	const struct delta_place *ops = m->delta->ops;
	size_t off = op_offset(d);
	uint32_t hi = d->hi, mid = i;
	struct name k;

	/* Most often it is the next. */
	for (; i < hi; mid = i + (hi - i) / 2) {
		k = component(ops[mid].path, ops[mid].len, off);
		if (name_cmp(k.p, k.len, c.p, c.len) < 0)
			i = mid + 1;
		else
			hi = mid;
	}
	return i;
}

/*
 * The exceptions of a scope at and below a name: *exact is the one at it or
 * NULL, those below go to sub.
 */
static void
scope_step(const struct scope *s, uint32_t *next, struct name c,
    const struct delta_except **exact, struct scope *sub)
{
	struct name k;
	uint32_t i = *next;

	*exact = NULL;
	for (; i < s->nx; i++) {
		k = component(s->x[i].path, s->x[i].len, s->skip);
		if (name_cmp(k.p, k.len, c.p, c.len) >= 0)
			break;
	}
	sub->kind = s->kind;
	sub->skip = s->skip + c.len + 1;
	if (i < s->nx && s->x[i].len == s->skip + c.len &&
	    memcmp(s->x[i].path + s->skip, c.p, c.len) == 0)
		*exact = &s->x[i++];
	sub->x = &s->x[i];
	for (; i < s->nx; i++) {
		k = component(s->x[i].path, s->x[i].len, s->skip);
		if (name_cmp(k.p, k.len, c.p, c.len) != 0)
			break;
		sub->nx++;
	}
	*next = i;
}

/* What was seen at a name, when no operation says it. */
static void
spot_seen(const struct dir *d, struct spot *s)
{
	memset(&s->seen, 0, sizeof(s->seen));
	s->seen_known = 1;
	if (s->op != NULL)
		s->seen = s->op->seen;
	else if (d->seen.kind == SCOPE_UNKNOWN)
		s->seen_known = 0;
	else if (s->seen_x != NULL)
		s->seen = s->seen_x->seen;
	else
		seen_of(s->seen_entry, &s->seen);
}

static int
spot_fill(struct merge *m, struct walk *w, struct name c, struct spot *s)
{
	const struct dir *d = w->d;
	const struct delta_place *ops = m->delta->ops;
	const struct delta_except *ref_x;
	struct dir *b = &s->below;
	size_t off = op_offset(d);
	struct name k;

	memset(s, 0, sizeof(*s));
	b->up = d;
	b->name = c.p;
	b->len = c.len;
	b->depth = d->depth + 1;
	b->path_len = off + c.len;
	if (b->depth > SAIL_DEPTH_MAX)
		return merge_fail(m, EINVAL, "tree is too deep", NULL, 0);
	w->op = op_seek(m, d, w->op, c);
	if (w->op < d->hi && ops[w->op].len == b->path_len &&
	    memcmp(ops[w->op].path + off, c.p, c.len) == 0) {
		if (delta_op_get(m->delta, w->op++, &s->op_mem) == -1)
			return -1;
		s->op = &s->op_mem;
	}
	for (b->lo = w->op; w->op < d->hi; w->op++) {
		k = component(ops[w->op].path, ops[w->op].len, off);
		if (name_cmp(k.p, k.len, c.p, c.len) != 0)
			break;
	}
	b->hi = w->op;
	scope_step(&d->seen, &w->seen_x, c, &s->seen_x, &b->seen);
	scope_step(&d->ref, &w->ref_x, c, &ref_x, &b->ref);
	s->ref_closed = ref_x != NULL;
	if (cursor_find(&w->head, c.p, c.len, &s->head) == -1 ||
	    cursor_find(&w->seen, c.p, c.len, &s->seen_entry) == -1 ||
	    cursor_find(&w->ref, c.p, c.len, &s->ref) == -1)
		return -1;
	if (s->ref_closed)
		s->ref = NULL;
	spot_seen(d, s);
	s->has_prior = d->has_prior;
	if (cursor_find(&w->prior_head, c.p, c.len, &s->prior_head) == -1 ||
	    cursor_find(&w->prior_result, c.p, c.len, &s->prior_result) == -1)
		return -1;
	return 0;
}

/* ---- the directory made anew ---- */

static int
outcome_of(struct merge *m, const struct hash *root, struct outcome *o)
{
	if (root == NULL) {
		if (tree_put_empty(&m->store) == -1)
			return -1;
		o->root = m->empty_root;
		memset(&o->sums, 0, sizeof(o->sums));
	} else {
		o->root = *root;
		if (tree_get_sums(&m->store, root, &o->sums) == -1)
			return -1;
	}
	o->empty = hash_cmp(&o->root, &m->empty_root) == 0;
	return 0;
}

/* What becomes of a directory, some names at a time. */
struct making {
	int has_base, made;
	struct hash base; /* to which the edits are applied */
	struct tree_sums sums;
	struct tree_edit *edits;
	struct entry **entries;
	size_t n, room;
};

static void
making_drop(struct making *mk)
{
	while (mk->n > 0)
		free(mk->entries[--mk->n]);
}

static int
making_apply(struct merge *m, struct making *mk)
{
	int r;

	r = tree_apply(&m->store, m->in->salt, mk->has_base ? &mk->base : NULL,
	    mk->edits, mk->n, &mk->base, &mk->sums);
	making_drop(mk);
	mk->has_base = mk->made = 1;
	return r;
}

/* Takes e. */
static int
making_add(struct merge *m, struct making *mk, struct name name,
    struct entry *e)
{
	struct tree_edit *edits;
	struct entry **entries;
	size_t room;

	if (mk->n == SLICE && making_apply(m, mk) == -1)
		goto fail;
	if (mk->n == mk->room) {
		room = mk->room == 0 ? 16 : mk->room * 2;
		edits = reallocarray(mk->edits, room, sizeof(*edits));
		if (edits == NULL)
			goto fail;
		mk->edits = edits;
		entries = reallocarray(mk->entries, room, sizeof(*entries));
		if (entries == NULL)
			goto fail;
		mk->entries = entries;
		mk->room = room;
	}
	mk->edits[mk->n].name = name.p;
	mk->edits[mk->n].len = name.len;
	mk->edits[mk->n].entry = e;
	mk->entries[mk->n++] = e;
	return 0;
fail:
	free(e);
	return -1;
}

/*
 * Visits each name, and gathers what becomes of it as edits of the base.  An
 * entry that is in the base already makes no edit.
 */
static int
visit(struct merge *m, struct walk *w, const struct names *ns, int base_is_head,
    struct making *mk)
{
	struct result res;
	struct spot s;
	size_t i;
	int r;

	for (i = 0; i < ns->n; i++) {
		res.e = NULL;
		r = spot_fill(m, w, ns->v[i], &s);
		if (r == 0)
			r = s.has_prior ? merge_spot_again(m, w->d, &s, &res)
					: merge_spot(m, w->d, &s, &res);
		delta_op_clear(&s.op_mem);
		if (r == -1) {
			free(res.e);
			return -1;
		}
		if (w->d->wipe || (base_is_head && res.same))
			free(res.e);
		else if (making_add(m, mk, ns->v[i], res.e) == -1)
			return -1;
	}
	return 0;
}

static int
children_made(struct merge *m, const struct dir *d, struct making *mk,
    struct outcome *o)
{
	memset(o, 0, sizeof(*o));
	o->empty = 1;
	if (d->wipe)
		return 0;
	if (!mk->made && mk->n == 0)
		return outcome_of(m, mk->has_base ? &mk->base : NULL, o);
	if (mk->n > 0 && making_apply(m, mk) == -1)
		return -1;
	o->root = mk->base;
	o->sums = mk->sums;
	o->empty = o->sums.entries == 0;
	return 0;
}

int
merge_children(struct merge *m, const struct dir *d, struct outcome *o)
{
	const struct hash *base = NULL;
	struct names ns = { NULL, 0, 0, NULL };
	struct making mk;
	struct walk w;
	int base_is_head = 0, rc = -1;

	memset(&w, 0, sizeof(w));
	memset(&mk, 0, sizeof(mk));
	w.d = d;
	w.op = d->lo;
	cursor_init(&w.head, m, d->has_head ? &d->head_root : NULL);
	cursor_init(&w.seen, m, d->seen.has_root ? &d->seen.root : NULL);
	cursor_init(&w.ref, m, d->ref.has_root ? &d->ref.root : NULL);
	cursor_init(&w.prior_head, m, d->has_prior ? &d->prior_head : NULL);
	cursor_init(&w.prior_result, m, d->has_prior ? &d->prior_root : NULL);
	if (d->has_prior)
		base = &d->prior_root;
	else if (d->ref.has_root)
		base = &d->ref.root;
	else if (d->has_head && !d->seen.has_root) {
		base = &d->head_root;
		base_is_head = 1;
	}
	if (base != NULL) {
		mk.has_base = 1;
		mk.base = *base;
	}
	if (names_collect(m, d, &ns) == 0 &&
	    visit(m, &w, &ns, base_is_head, &mk) == 0)
		rc = children_made(m, d, &mk, o);
	cursor_end(&w.head);
	cursor_end(&w.seen);
	cursor_end(&w.ref);
	cursor_end(&w.prior_head);
	cursor_end(&w.prior_result);
	making_drop(&mk);
	free(mk.edits);
	free(mk.entries);
	names_free(&ns);
	return rc;
}

/* ---- trees that the delta names ---- */

static int
commit_root(struct merge *m, const struct delta_op *op, uint16_t n,
    struct entry **root)
{
	struct blob *keep = NULL;
	struct entry e;

	if (n >= m->delta->ncommits)
		return merge_fail(m, EINVAL, "reference to no commit", op->path,
		    op->len);
	if (m->roots[n] == NULL) {
		if (m->in->commit_root(m->in->arg, &m->delta->commits[n], &e,
			&keep) == -1) {
			if (errno == ENOENT)
				return merge_fail(m, EINVAL,
				    "reference to an unknown commit", op->path,
				    op->len);
			return -1;
		}
		m->roots[n] = entry_dup(&e);
		blob_unref(keep);
		if (m->roots[n] == NULL)
			return -1;
	}
	*root = m->roots[n];
	return 0;
}

int
merge_open_scope(struct merge *m, const struct delta_op *op,
    const struct tree_ref *ref, const struct delta_except *x, uint32_t nx,
    int must, struct scope *s)
{
	struct entry *root = NULL, e;
	struct blob *keep = NULL;
	struct hash missing, at;
	struct name c;
	size_t off;
	uint8_t type = ENTRY_DIR;

	memset(s, 0, sizeof(*s));
	s->kind = SCOPE_TREE;
	s->x = x;
	s->nx = nx;
	if (commit_root(m, op, ref->commit, &root) == -1)
		return -1;
	at = root->root;
	for (off = 0; off < ref->len && type == ENTRY_DIR; off += c.len + 1) {
		c = component(ref->path, ref->len, off);
		if (tree_lookup(&m->store, &at, c.p, c.len, &e, &keep,
			&missing) == -1) {
			if (errno == ENOENT)
				goto absent;
			return -1;
		}
		type = e.type;
		at = e.root;
		blob_unref(keep);
		keep = NULL;
		if (type != ENTRY_DIR)
			goto absent;
	}
	s->has_root = 1;
	s->root = at;
	return 0;
absent:
	if (!must)
		return 0;
	return merge_fail(m, EINVAL,
	    "reference to a directory that the commit "
	    "does not have",
	    op->path, op->len);
}
