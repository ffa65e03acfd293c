/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * meta_place: to which of the places of a chunk a reader is sent.
 *
 * A key that may not see all of a family must not learn by a place who else has
 * what it has: it could upload a guess, and look.  So it is sent to its own annex
 * for what it has brought itself; for what keys of its path, or of one below or
 * above, have brought, to theirs, which those who work together cannot tell from
 * their own doing; and to what others have put where it sees it only then.
 */
#ifndef SAILAPID_META_PLACE_H
#define SAILAPID_META_PLACE_H

#include "sailapid/meta.h"

/*
 * The places of a chunk of the request's volume that its key may hear of, into
 * out, which has room for LOCATIONS_MAX, the best first.  How many; -1.
 */
int place_list(const struct req *, const struct hash *, struct db_location *);
/*
 * The best that may be read; one of another length than the file says, or whose
 * object is in doubt, only if there is no other.  1, 0 nowhere, -1.
 */
int place_choose(const struct req *, const struct hash *, uint32_t bytes,
    struct db_location *);
/* There is none: what was lost is looked for.  1: it is under way, 0, -1. */
int place_again(struct req *, const struct hash *);

#endif
