/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * delta_ops: all operations of a delta at once, for tests that look at them.
 */
#ifndef REGRESS_DELTA_OPS_H
#define REGRESS_DELTA_OPS_H

#include <err.h>
#include <stdlib.h>

#include "lib/delta.h"

static inline struct delta_op *
delta_ops(const struct delta *d)
{
	struct delta_op *ops = calloc((size_t)d->nops + 1, sizeof(*ops));
	uint32_t i;

	if (ops == NULL)
		err(1, "delta_ops");
	for (i = 0; i < d->nops; i++)
		if (delta_op_get(d, i, &ops[i]) == -1)
			err(1, "delta_op_get");
	return ops;
}

static inline void
delta_ops_free(const struct delta *d, struct delta_op *ops)
{
	uint32_t i;

	for (i = 0; i < d->nops; i++)
		delta_op_clear(&ops[i]);
	free(ops);
}

#endif
