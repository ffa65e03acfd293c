/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * uptake: does the other side of a TCP connection take what is sent to it?  What
 * it has had counts, and not what left us: buffers hide much of that.  In api,
 * store, metrics, tls and sailvol-fetch.
 */
#ifndef LIB_UPTAKE_H
#define LIB_UPTAKE_H

#include <stdint.h>

#include "lib/monotime.h"

struct uptake {
	uint64_t from, taken; /* bytes since the connection began */
	monotime_t since, moved;
};

/* What is sent from now on; -1: nobody knows, it is no TCP. */
int uptake_begin(struct uptake *, int fd);
/*
 * Until when it may go on: idle_s seconds, and as long as what it has had takes
 * at so many bytes a second; and when it has taken nothing for idle_s and as long
 * as that takes which may be on its way unseen.
 */
monotime_t uptake_until(struct uptake *, int fd, uint32_t idle_s,
    uint32_t rate);
/* Bytes that it has had since the connection began; -1: it is no TCP. */
int uptake_taken(int fd, uint64_t *bytes);
/* So many bytes have so much time. */
monotime_t uptake_deadline(monotime_t from, uint64_t bytes, uint32_t idle_s,
    uint32_t rate);

#endif
