/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * kept: the bytes of small files that were hashed and will be uploaded, so that
 * they are read once and nobody holds a descriptor for them.  Bounded; those
 * that nobody comes for are given up.  In sailvol-fetch.
 */
#ifndef SAILVOL_FETCH_KEPT_H
#define SAILVOL_FETCH_KEPT_H

#include "lib/chan.h"
#include "lib/hash.h"

struct kept;

/* Takes data, of malloc(3), also when it fails: 0; -1 there is no room. */
int kept_add(struct chan *, const struct hash *, uint8_t *data, uint32_t n);
/* Room for so many bytes at the moment? */
int kept_room(size_t);
/* Holds it until kept_release; NULL: it is not there. */
struct kept *kept_hold(struct chan *, const struct hash *, uint32_t n);
const uint8_t *kept_data(const struct kept *);
/* done: nobody will come for it again. */
void kept_release(struct kept *, int done);
void kept_peer_down(struct chan *);

#endif
