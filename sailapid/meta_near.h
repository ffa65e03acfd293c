/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * meta_near: what follows a file in the tree of a commit and lies in the same
 * pack: a reader of one will want the others.
 */
#ifndef SAILAPID_META_NEAR_H
#define SAILAPID_META_NEAR_H

#include "sailapid/meta.h"

#define NEAR_MAX 4096        /* chunks */
#define NEAR_SLOT UINT64_MAX /* of a chunk that was not asked for */

struct place {
	uint64_t slot;
	struct hash hash;
	struct db_location loc;
};

/*
 * The chunks of the small files behind path that lie in the pack of that row,
 * up to a budget in bytes, into out, which has room for NEAR_MAX.  How many;
 * -1 and errno.  Whoever may not see all hears of those that it would be sent
 * there for if it asked for them alone.
 */
int near_find(const struct req *, const struct node_store *,
    const struct entry *root, const uint8_t *path, size_t len, int64_t row,
    uint32_t budget, struct place *out);

#endif
