/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * crowd: the connections of a service, of whom they are, and which of them has
 * to go when there is no place for one more.  It knows no sockets.  In api,
 * store and metrics.
 *
 * Who has shown no good key goes first: the oldest one, of the address that has
 * most of them.  For those there is always an eighth of the places, and one where
 * there are two, so that a client that comes has the time to show its key.  Those with a key share the
 * others: of that key that has most goes the one that is silent longest, and
 * one that is served only for a key that has less.
 */
#ifndef LIB_CROWD_H
#define LIB_CROWD_H

#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/tree.h>
#include <stdint.h>

#include "lib/hash.h"
#include "lib/monotime.h"

struct crowd_peer;
struct crowd_owner;

/* A connection. */
struct guest {
	TAILQ_ENTRY(guest) entry;
	struct crowd_peer *peer;   /* NULL: it is not, or no longer, there */
	struct crowd_owner *owner; /* NULL: no good key was shown */
	int busy;                  /* it has a request */
	monotime_t idle;           /* since then it has none */
};

struct crowd {
	uint32_t max, per_peer;
	uint32_t n, known;
	TAILQ_HEAD(, guest) guests; /* the oldest first */
	RB_HEAD(crowd_peers, crowd_peer)
	peers;
	RB_HEAD(crowd_owners, crowd_owner)
	owners;
};

void crowd_init(struct crowd *, uint32_t max, uint32_t per_peer);
/*
 * Is there a place for one more of that address?  1; 0: when *go has left, or
 * NULL: none, for nobody there has to go.
 */
int crowd_room(const struct crowd *, const struct sockaddr *,
    struct guest **go);
/* -1 and ENOMEM. */
int crowd_enter(struct crowd *, struct guest *, const struct sockaddr *);
void crowd_leave(struct crowd *, struct guest *);
void crowd_busy(struct guest *, int busy);
/*
 * It has shown a good key; NULL: one that nobody can tell from others, so that
 * its address counts.  1; 0: when *go has left, or NULL: it stays as one without,
 * for its key has most already.
 */
int crowd_know(struct crowd *, struct guest *, const struct hash *key,
    struct guest **go);
/* That key is none any more. */
void crowd_forget(struct crowd *, struct guest *);

#endif
