/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * request: what others have asked of sailvol-fetch(8) and still wait for.
 */
#ifndef SAILVOL_FETCH_REQUEST_H
#define SAILVOL_FETCH_REQUEST_H

#include <sys/queue.h>
#include <stdint.h>

#include "lib/chan.h"

/* Over this the channel of a peer is not read until some have ended. */
#define REQUESTS_PEER 512
#define REQUESTS_RESUME 384
/* Files of uploads whose list has not come yet; more is a violation. */
#define REQUEST_FILES_PEER 2048

/* The first member of each operation. */
struct request {
	TAILQ_ENTRY(request) entry;
	struct chan *peer; /* NULL: it is gone, or nobody is to be answered */
	uint32_t id;
	/* Nobody wants it any more: end it, now or as soon as may be.  It
	   answers ECANCELED if it still has a peer. */
	void (*cancel)(struct request *);
	int cancelled;
};

/* 0, or -1: this peer has a request of that number under way. */
int request_add(struct request *, struct chan *, uint32_t id,
    void (*cancel)(struct request *));
/* It has ended: its owner frees it. */
void request_del(struct request *);
struct request *request_find(struct chan *, uint32_t id);
/* Cancels one; nothing when there is none. */
void request_cancel(struct chan *, uint32_t id);
/* The peer is gone: all of its requests are. */
void request_peer_down(struct chan *);
/* Requests under way, for the log. */
unsigned int request_count(void);

#endif
