/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * crowd: who has to go.  All is found by looking at all of them: they are few,
 * and nobody has to go before there are many.
 */
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "lib/crowd.h"

/* Of an address; of IPv6 of one network of 64 bits, which is one customer's. */
struct crowd_peer {
	RB_ENTRY(crowd_peer) entry;
	uint8_t addr[16];
	uint32_t n, known;
};

/* Of a key. */
struct crowd_owner {
	RB_ENTRY(crowd_owner) entry;
	struct hash key;
	uint32_t n;
};

static int
peer_cmp(const struct crowd_peer *a, const struct crowd_peer *b)
{
	return memcmp(a->addr, b->addr, sizeof(a->addr));
}

static int
owner_cmp(const struct crowd_owner *a, const struct crowd_owner *b)
{
	return hash_cmp(&a->key, &b->key);
}

RB_PROTOTYPE(crowd_peers, crowd_peer, entry, peer_cmp)
RB_GENERATE(crowd_peers, crowd_peer, entry, peer_cmp)
RB_PROTOTYPE(crowd_owners, crowd_owner, entry, owner_cmp)
RB_GENERATE(crowd_owners, crowd_owner, entry, owner_cmp)

void
crowd_init(struct crowd *c, uint32_t max, uint32_t per_peer)
{
	memset(c, 0, sizeof(*c));
	c->max = max;
	c->per_peer = per_peer;
	TAILQ_INIT(&c->guests);
	RB_INIT(&c->peers);
	RB_INIT(&c->owners);
}

/* Of so many places, how many those with a key may have. */
static uint32_t
for_known(uint32_t places)
{
	uint32_t new = places / 8;

	if (new == 0 && places > 1)
		new = 1;
	return places - new;
}

/* ---- addresses and keys -------------------------------------------------- */

static void
addr_of(const struct sockaddr *sa, uint8_t addr[16])
{
	const struct sockaddr_in6 *six = (const void *)sa;
	const struct sockaddr_in *four = (const void *)sa;

	memset(addr, 0, 16);
	if (sa != NULL && sa->sa_family == AF_INET)
		memcpy(addr + 12, &four->sin_addr, 4);
	else if (sa == NULL || sa->sa_family != AF_INET6)
		return;
	else if (IN6_IS_ADDR_V4MAPPED(&six->sin6_addr))
		memcpy(addr + 12, six->sin6_addr.s6_addr + 12, 4);
	else {
		memcpy(addr, &six->sin6_addr, 8);
		addr[8] = 1; /* none of the other kind is equal */
	}
}

static struct crowd_peer *
peer_find(const struct crowd *c, const struct sockaddr *sa)
{
	struct crowd_peer key;

	addr_of(sa, key.addr);
	/* It changes nothing there. */
	return RB_FIND(crowd_peers, (struct crowd_peers *)(uintptr_t)&c->peers,
	    &key);
}

static void
owner_drop(struct crowd *c, struct guest *g)
{
	struct crowd_owner *o = g->owner;

	if (o == NULL)
		return;
	g->owner = NULL;
	g->peer->known--;
	c->known--;
	if (--o->n > 0)
		return;
	RB_REMOVE(crowd_owners, &c->owners, o);
	free(o);
}

static struct crowd_owner *
owner_get(struct crowd *c, const struct hash *key)
{
	struct crowd_owner *o, find = { .key = *key };

	if ((o = RB_FIND(crowd_owners, &c->owners, &find)) != NULL)
		return o;
	if ((o = calloc(1, sizeof(*o))) == NULL)
		return NULL;
	o->key = *key;
	RB_INSERT(crowd_owners, &c->owners, o);
	return o;
}

/* ---- who has to go ------------------------------------------------------- */

/* The oldest without a key of p, or of whoever has most of them. */
static struct guest *
worst_unknown(const struct crowd *c, const struct crowd_peer *p)
{
	struct guest *g, *worst = NULL;

	TAILQ_FOREACH (g, &c->guests, entry) {
		if (g->owner != NULL || (p != NULL && g->peer != p))
			continue;
		if (worst == NULL ||
		    g->peer->n - g->peer->known >
			worst->peer->n - worst->peer->known)
			worst = g;
	}
	return worst;
}

/* The one with a key, of p if that is not NULL, that is served or not: of whose
   key there are most; the one that has nothing to do for the longest time. */
static struct guest *
worst_known(const struct crowd *c, const struct crowd_peer *p, int busy)
{
	struct guest *g, *worst = NULL;

	TAILQ_FOREACH (g, &c->guests, entry) {
		if (g->owner == NULL || (p != NULL && g->peer != p) ||
		    g->busy != busy)
			continue;
		if (worst == NULL || g->owner->n > worst->owner->n ||
		    (g->owner->n == worst->owner->n && !busy &&
			g->idle.ns < worst->idle.ns))
			worst = g;
	}
	return worst;
}

static struct guest *
for_one_more(const struct crowd *c, const struct crowd_peer *p)
{
	struct guest *g = worst_unknown(c, p);

	return g != NULL ? g : worst_known(c, p, 0);
}

int
crowd_room(const struct crowd *c, const struct sockaddr *sa, struct guest **go)
{
	const struct crowd_peer *p = peer_find(c, sa);

	if (p != NULL && p->n >= c->per_peer)
		*go = for_one_more(c, p);
	else if (c->n >= c->max)
		*go = for_one_more(c, NULL);
	else
		return 1;
	return 0;
}

/* Whoever has to go for a guest of that key, of which there are so many. */
static struct guest *
for_key(const struct crowd *c, const struct crowd_peer *p, uint32_t n)
{
	struct guest *g = worst_known(c, p, 0);

	if (g != NULL)
		return g;
	g = worst_known(c, p, 1);
	return g != NULL && g->owner->n > n + 1 ? g : NULL;
}

/* ---- who comes, and goes ------------------------------------------------- */

int
crowd_enter(struct crowd *c, struct guest *g, const struct sockaddr *sa)
{
	struct crowd_peer *p = peer_find(c, sa);

	if (p == NULL) {
		if ((p = calloc(1, sizeof(*p))) == NULL)
			return -1;
		addr_of(sa, p->addr);
		RB_INSERT(crowd_peers, &c->peers, p);
	}
	g->peer = p;
	g->owner = NULL;
	g->busy = 0;
	g->idle = monotime_now();
	p->n++;
	c->n++;
	TAILQ_INSERT_TAIL(&c->guests, g, entry);
	return 0;
}

void
crowd_leave(struct crowd *c, struct guest *g)
{
	struct crowd_peer *p = g->peer;

	if (p == NULL)
		return;
	owner_drop(c, g);
	TAILQ_REMOVE(&c->guests, g, entry);
	g->peer = NULL;
	c->n--;
	if (--p->n > 0)
		return;
	RB_REMOVE(crowd_peers, &c->peers, p);
	free(p);
}

void
crowd_busy(struct guest *g, int busy)
{
	if (g->busy && !busy)
		g->idle = monotime_now();
	g->busy = busy;
}

int
crowd_know(struct crowd *c, struct guest *g, const struct hash *key,
    struct guest **go)
{
	struct crowd_owner *o;
	struct hash by_peer;

	*go = NULL;
	if (g->peer == NULL)
		return 0;
	if (key == NULL) {
		memset(&by_peer, 0, sizeof(by_peer));
		memcpy(by_peer.b, g->peer->addr, sizeof(g->peer->addr));
		key = &by_peer;
	}
	if (g->owner != NULL && hash_cmp(&g->owner->key, key) == 0)
		return 1;
	owner_drop(c, g);
	if ((o = owner_get(c, key)) == NULL)
		return 0;
	if (g->peer->known >= for_known(c->per_peer))
		*go = for_key(c, g->peer, o->n);
	else if (c->known >= for_known(c->max))
		*go = for_key(c, NULL, o->n);
	else {
		g->owner = o;
		o->n++;
		g->peer->known++;
		c->known++;
		return 1;
	}
	if (o->n == 0) {
		RB_REMOVE(crowd_owners, &c->owners, o);
		free(o);
	}
	return 0;
}

void
crowd_forget(struct crowd *c, struct guest *g)
{
	owner_drop(c, g);
}
