/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * meta_apart: which chunks a key may name that may not see all of a family: what
 * it has uploaded itself, and what stands in the files that it may see.  To know
 * a hash is not enough, for the file that names it could then be read.
 */
#ifndef SAILAPID_META_APART_H
#define SAILAPID_META_APART_H

#include <stdatomic.h>

#include "lib/delta.h"
#include "sailapid/hashset.h"
#include "sailapid/view.h"

struct apart_search;

/* What is looked for.  All that it names outlives the search. */
struct apart_wanted {
	struct db *db; /* of the thread that it runs in */
	const struct db_volume *vol;
	const struct db_grant *grant;
	const struct delta *delta; /* or NULL */
	/* the mount of the session, whose leases name what it shows; or NULL */
	const uint8_t *mount;
	const struct hashset *chunks;
	const uint32_t *bytes;
	uint8_t *found; /* those whose mark is 0; 1: found */
	uint32_t lacking;
	/* a key: the mounts that it has leases for, too; or 0 */
	int64_t maker;
};
#define APART_ANY_BYTES 0 /* in bytes: whatever its length */

/* NULL and errno; EAGAIN: there are META_SEARCHES, each with trees of every
   directory on its way. */
struct apart_search *apart_new(const struct apart_wanted *);
/*
 * Marks those that files of the view name: of the head, of the commits of the
 * delta, and of the mount's leases; first at the paths of the delta's own
 * operations, where what has not changed stands, then everywhere, to an end.
 * 1: all was done; 0: some was, and the next call goes on; -1 and errno,
 * ECANCELED: *stop is set.  db: of the thread that this call is in.
 */
int apart_step(struct apart_search *, struct db *, const atomic_int *stop);
void apart_free(struct apart_search *);

/* Takes the directories above the path out of the context of a delta: they are
   not the key's to change. */
void apart_cut_context(struct delta *, const uint8_t *path, size_t len);

#endif
