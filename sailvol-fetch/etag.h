/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * etag: which objects the last ETags were said of.  An answer that a store sends
 * twice, or late, is told by it from that to the next question on its connection.
 */
#ifndef SAILVOL_FETCH_ETAG_H
#define SAILVOL_FETCH_ETAG_H

#include "lib/hash.h"

#define ETAG_MAX 64 /* with its end; a longer one is as none */

/* 1: it was said of another object not long ago. */
int etag_is_other(const char *etag, const struct hash *object);
void etag_note(const char *etag, const struct hash *object);

#endif
