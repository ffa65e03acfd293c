/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * request: the table of requests under way, their limits and their
 * cancellation.  In sailvol-fetch.
 */
#include <stdlib.h>

#include "sailvol-fetch/request.h"

static TAILQ_HEAD(, request) requests = TAILQ_HEAD_INITIALIZER(requests);

static unsigned int
count_of(const struct chan *peer)
{
	const struct request *r;
	unsigned int n = 0;

	TAILQ_FOREACH (r, &requests, entry)
		n += r->peer == peer;
	return n;
}

unsigned int
request_count(void)
{
	const struct request *r;
	unsigned int n = 0;

	TAILQ_FOREACH (r, &requests, entry)
		n++;
	return n;
}

struct request *
request_find(struct chan *peer, uint32_t id)
{
	struct request *r;

	TAILQ_FOREACH (r, &requests, entry)
		if (r->peer == peer && r->id == id)
			return r;
	return NULL;
}

int
request_add(struct request *r, struct chan *peer, uint32_t id,
    void (*cancel)(struct request *))
{
	if (request_find(peer, id) != NULL)
		return -1;
	r->peer = peer;
	r->id = id;
	r->cancel = cancel;
	TAILQ_INSERT_TAIL(&requests, r, entry);
	if (count_of(peer) >= REQUESTS_PEER)
		chan_pause(peer);
	return 0;
}

void
request_del(struct request *r)
{
	struct chan *peer = r->peer;

	TAILQ_REMOVE(&requests, r, entry);
	r->peer = NULL;
	if (peer != NULL && count_of(peer) == REQUESTS_RESUME)
		chan_resume(peer);
}

void
request_cancel(struct chan *peer, uint32_t id)
{
	struct request *r = request_find(peer, id);

	if (r == NULL || r->cancelled)
		return;
	r->cancelled = 1;
	r->cancel(r);
}

void
request_peer_down(struct chan *peer)
{
	struct request *r;

	/* cancel() may end it, and others of its kind. */
	for (;;) {
		TAILQ_FOREACH (r, &requests, entry)
			if (r->peer == peer)
				break;
		if (r == NULL)
			return;
		r->peer = NULL;
		if (!r->cancelled) {
			r->cancelled = 1;
			r->cancel(r);
		}
	}
}
