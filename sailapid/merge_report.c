/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * merge_report: the paths that a merge overwrote, and the check of a delta
 * against the part of the volume that a key may see.  Runs in meta.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "sailapid/merge_walk.h"

/* Counts the path of d, and keeps it while there is room. */
int
merge_report(struct merge *m, const struct dir *d)
{
	struct merge_out *out = m->out;
	const struct dir *p;
	struct merge_path *mp;
	size_t len = 0, cap;

	out->overwritten++;
	if (out->npaths >= m->in->max_report)
		return 0;
	if ((out->npaths & (out->npaths - 1)) == 0) {
		cap = out->npaths == 0 ? 1 : out->npaths * 2;
		mp = reallocarray(out->paths, cap, sizeof(*mp));
		if (mp == NULL)
			return merge_fail(m, ENOMEM, "out of memory", NULL, 0);
		out->paths = mp;
	}
	for (p = d; p->up != NULL; p = p->up)
		len += p->len + (p->up->up != NULL);
	mp = &out->paths[out->npaths];
	if ((mp->path = malloc(len + 1)) == NULL)
		return merge_fail(m, ENOMEM, "out of memory", NULL, 0);
	mp->path[len] = '\0';
	mp->len = len;
	for (p = d; p->up != NULL; p = p->up) {
		len -= p->len;
		memcpy(mp->path + len, p->name, p->len);
		if (p->up->up != NULL)
			mp->path[--len] = '/';
	}
	out->npaths++;
	return 0;
}

static int
path_qcmp(const void *a, const void *b)
{
	const struct merge_path *p = a, *q = b;

	return path_cmp(p->path, p->len, q->path, q->len);
}

int
merge_report_end(struct merge *m)
{
	if (m->out->npaths > 1)
		qsort(m->out->paths, m->out->npaths, sizeof(*m->out->paths),
		    path_qcmp);
	return 0;
}

const char *
merge_check_prefix(const struct delta *d, const void *prefix, size_t len,
    const uint8_t **path, size_t *path_len)
{
	const struct delta_op *op;
	const struct delta_context *c;
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
		op = &d->ops[i];
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
	}
	*path = NULL;
	*path_len = 0;
	return NULL;
}
