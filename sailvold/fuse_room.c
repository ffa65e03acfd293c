/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * fuse_room: a request that has no room waits until the cache has given up what
 * it can, and is done again.  In fuse.
 */
#include "lib/proc.h"
#include "sailvold/frontend.h"
#include "sailvold/overlay.h"
#include "sailvold/sailvold_imsg.h"

#define TRIES 8

static struct waitq waiting;
static uint64_t asked; /* bytes; 0: nothing is */
static uint32_t number;
static int gave; /* something, as the last answer said */

/* Or waits for the cache, which comes again. */
static int
ask(uint64_t bytes)
{
	struct chan *c = frontend_cache();
	struct ibuf *b;

	/* Who comes later needs as much, or asks again. */
	if (c == NULL || (asked != 0 && bytes <= asked))
		return 0;
	if ((b = ibuf_dynamic(16, 16)) == NULL)
		return -1;
	if (ibuf_add_n64(b, bytes) == -1 ||
	    ibuf_add_n64(b, overlay_device()) == -1) {
		ibuf_free(b);
		return -1;
	}
	if (chan_send_ibuf(c, IMSG_FUSE_CACHE_ROOM, number + 1, -1, b) == -1)
		return -1;
	number++;
	asked = bytes;
	return 0;
}

static struct waitq *
no_room(int *tries)
{
	uint64_t lacks = overlay_lacks(now.len);

	/* As long as something is given up: others may have taken it. */
	if (lacks == 0 || *tries >= TRIES || (*tries > 0 && !gave) ||
	    ask(lacks) == -1)
		return NULL;
	++*tries;
	return &waiting;
}

void
room_wanted(void)
{
	uint64_t lacks = overlay_lacks(0);

	if (lacks != 0)
		(void)ask(lacks);
}

static void
room_answered(int given)
{
	asked = 0;
	gave = given;
	waitq_wake(&waiting, 0);
}

int
room_rules_res(struct chan *c, uint32_t id, struct imsg *imsg,
    struct ibuf *body)
{
	uint64_t given;

	(void)c;
	(void)imsg;
	if (ibuf_get_n64(body, &given) == -1)
		return -1;
	if (id != number)
		return 0; /* there is a younger question */
	room_answered(given > 0);
	return 0;
}

void
room_cache_gone(void)
{
	asked = 0;
}

void
room_cache_came(void)
{
	room_answered(1);
}

void
room_init(void)
{
	waitq_init(&waiting);
	request_on_no_room(no_room);
}
