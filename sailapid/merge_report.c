/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * merge_report: the paths that a merge overwrote, and the check of a delta
 * against the part of the volume that a key may see.  Runs in meta.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "sailapid/merge_walk.h"

static int
path_qcmp(const void *a, const void *b)
{
	const struct merge_path *p = a, *q = b;

	return path_cmp(p->path, p->len, q->path, q->len);
}

/* The path of d, for free(). */
static int
path_of(const struct dir *d, struct merge_path *mp)
{
	const struct dir *p;
	size_t len = 0;

	for (p = d; p->up != NULL; p = p->up)
		len += p->len + (p->up->up != NULL);
	if ((mp->path = malloc(len + 1)) == NULL)
		return -1;
	mp->path[len] = '\0';
	mp->len = len;
	for (p = d; p->up != NULL; p = p->up) {
		len -= p->len;
		memcpy(mp->path + len, p->name, p->len);
		if (p->up->up != NULL)
			mp->path[--len] = '/';
	}
	return 0;
}

static int
add_path(struct merge_out *out, const struct merge_path *p)
{
	struct merge_path *mp;
	size_t cap;

	if ((out->npaths & (out->npaths - 1)) == 0) {
		cap = out->npaths == 0 ? 1 : out->npaths * 2;
		mp = reallocarray(out->paths, cap, sizeof(*mp));
		if (mp == NULL)
			return -1;
		out->paths = mp;
	}
	out->paths[out->npaths++] = *p;
	return 0;
}

/* The prior merge reported the path of d. */
static int
take_back(struct merge *m, const struct dir *d)
{
	const struct merge_out *old = m->in->prior;
	struct merge_path mp;
	const struct merge_path *found;

	m->out->overwritten--;
	if (old->npaths == 0)
		return 0;
	if (path_of(d, &mp) == -1)
		return merge_fail(m, ENOMEM, "out of memory", NULL, 0);
	found = bsearch(&mp, old->paths, old->npaths, sizeof(mp), path_qcmp);
	if (found != NULL)
		m->old_gone[found - old->paths] = 1;
	free(mp.path);
	return 0;
}

/* Counts the path of d, and keeps it while there is room. */
int
merge_report(struct merge *m, const struct dir *d)
{
	struct merge_out *out = m->out;
	struct merge_path mp;

	if (m->take_back)
		return take_back(m, d);
	out->overwritten++;
	if (out->npaths >= m->in->max_report)
		return 0;
	if (path_of(d, &mp) == -1)
		return merge_fail(m, ENOMEM, "out of memory", NULL, 0);
	if (add_path(out, &mp) == -1) {
		free(mp.path);
		return merge_fail(m, ENOMEM, "out of memory", NULL, 0);
	}
	return 0;
}

/* What the prior merge reported, and nobody took back. */
static int
keep_prior(struct merge *m)
{
	const struct merge_out *old = m->in->prior;
	struct merge_path mp;
	size_t i;

	for (i = 0; i < old->npaths && m->out->npaths < m->in->max_report;
	     i++) {
		if (m->old_gone[i])
			continue;
		mp.len = old->paths[i].len;
		if ((mp.path = malloc(mp.len + 1)) == NULL)
			return merge_fail(m, ENOMEM, "out of memory", NULL, 0);
		memcpy(mp.path, old->paths[i].path, mp.len + 1);
		if (add_path(m->out, &mp) == -1) {
			free(mp.path);
			return merge_fail(m, ENOMEM, "out of memory", NULL, 0);
		}
	}
	return 0;
}

int
merge_report_end(struct merge *m)
{
	if (m->in->prior != NULL && keep_prior(m) == -1)
		return -1;
	if (m->out->npaths > 1)
		qsort(m->out->paths, m->out->npaths, sizeof(*m->out->paths),
		    path_qcmp);
	return 0;
}

/* Operation op of a delta, for a key that is bound to prefix. */
static const char *
check_op(const struct delta_op *op, const void *prefix, size_t len,
    const uint8_t **path, size_t *path_len)
{
	*path = op->path;
	*path_len = op->len;
	if (!path_is_below(op->path, op->len, prefix, len))
		return "operation outside of what the key may see";
	if (op->len == len &&
	    (op->kind != DELTA_ATTR || op->has_tree ||
		op->entry.type != ENTRY_DIR))
		return "operation on the directory of the key itself";
	if (op->has_ref &&
	    !path_is_below(op->ref.path, op->ref.len, prefix, len)) {
		*path = op->ref.path;
		*path_len = op->ref.len;
		return "reference outside of what the key may see";
	}
	if (op->has_tree &&
	    !path_is_below(op->tree.path, op->tree.len, prefix, len)) {
		*path = op->tree.path;
		*path_len = op->tree.len;
		return "tree outside of what the key may see";
	}
	return NULL;
}

const char *
merge_check_prefix(const struct delta *d, const void *prefix, size_t len,
    const uint8_t **path, size_t *path_len)
{
	const struct delta_context *c;
	struct delta_op op;
	const char *why;
	uint32_t i;

	*path = NULL;
	*path_len = 0;
	if (len == 0)
		return NULL;
	for (i = 0; i < d->ncontext; i++) {
		c = &d->context[i];
		*path = c->path;
		*path_len = c->len;
		if (!path_is_below(c->path, c->len, prefix, len) &&
		    !path_is_below(prefix, len, c->path, c->len))
			return "context outside of what the key may see";
	}
	for (i = 0; i < d->nops; i++) {
		why = delta_op_get(d, i, &op) == -1
		    ? "out of memory"
		    : check_op(&op, prefix, len, path, path_len);
		delta_op_clear(&op);
		if (why != NULL)
			return why;
	}
	*path = NULL;
	*path_len = 0;
	return NULL;
}
