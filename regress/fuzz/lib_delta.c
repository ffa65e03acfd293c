/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/* A delta that is taken is the one encoding of what it says. */
#include "lib/chunklist.h"
#include "lib/delta.h"
#include "regress/fuzz/fuzz.h"

static void
operations(const struct delta *d, uint32_t n)
{
	struct delta_op op;
	uint32_t i;

	for (i = 0; i < n; i++) {
		fuzz_check(delta_op_get(d, i, &op) == 0);
		fuzz_check(path_problem(op.path, op.len) == NULL);
		delta_op_clear(&op);
	}
}

static void
fuzz_one(const uint8_t *in, size_t len)
{
	uint8_t *p = fuzz_copy(in, len);
	const uint8_t *path;
	const char *why = NULL;
	struct delta *d;
	size_t n;

	if ((d = delta_decode_blame(p, len, &why, &path, &n)) == NULL) {
		fuzz_check(why != NULL);
		fuzz_check(path == NULL ||
		    (path >= p && n <= len && (size_t)(path - p) <= len - n));
	} else
		operations(d, d->nops);
	delta_free(d);
	free(p);
}
