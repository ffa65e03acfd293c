/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * cache_room: the cache's bytes below its limit, and bytes of its file system
 * left free: the longest unused files go, before others have no room.  In cache.
 */
#include <errno.h>
#include <event.h>
#include <stdlib.h>
#include <string.h>

#include "lib/log.h"
#include "lib/proc.h"
#include "sailvold/sailvold_imsg.h"
#include "sailvold/cache.h"
#include "sailvold/cache_coming.h"

/* How often is looked at what others write; more often when little is left:
   at a GiB a second they take no more than half of what is left free. */
#define LOOK_S 1
#define LOOK_NEAR_MS 100
#define NEAR ((int64_t)4 << 30)
#define BLOCK 4096
#define LET_GO_MS 20
#define ANSWER_MS 100
/* More than a writer asks for goes at once: it writes on. */
#define MORE ((uint64_t)32 << 20)

static uint64_t keep_free;
static struct event look_ev, let_go_ev;
static int looking;

/* Of a ROOM, in a while. */
struct answer {
	TAILQ_ENTRY(answer) entry;
	struct event ev;
	uint32_t instance, id;
	uint64_t given;
};
static TAILQ_HEAD(, answer) answers = TAILQ_HEAD_INITIALIZER(answers);

/* ---- files that others have open --------------------------------------------- */

/* What went takes its room until every fuse has closed it. */
static void
let_go(int fd, short ev, void *arg)
{
	struct cache_mount *m;
	struct chan *c;

	(void)fd;
	(void)ev;
	(void)arg;
	evtimer_del(&let_go_ev);
	for (m = cache_mount_next(NULL); m != NULL; m = cache_mount_next(m))
		if ((c = role_peer(ROLE_FUSE, m->instance)) != NULL &&
		    chan_send(c, IMSG_CACHE_FUSE_LET_GO, 0, -1, NULL, 0) ==
			-1 &&
		    errno != EPIPE)
			log_warn("cache: let go");
}

static void
let_go_soon(void)
{
	struct timeval tv = { 0, LET_GO_MS * 1000 };

	if (!evtimer_initialized(&let_go_ev))
		evtimer_set(&let_go_ev, let_go, NULL);
	if (!evtimer_pending(&let_go_ev, NULL))
		evtimer_add(&let_go_ev, &tv);
}

static void
let_go_now(void)
{
	if (evtimer_initialized(&let_go_ev) &&
	    evtimer_pending(&let_go_ev, NULL))
		let_go(-1, 0, NULL);
}

/* ---- giving up ----------------------------------------------------------------- */

/* Free bytes, however many are to be left so; 0 when nobody knows. */
static int64_t
free_now(void)
{
	int64_t room;

	return cache_store_free(1, &room) == -1 ? 0 : room;
}

static int
evict_until(uint64_t need, int64_t room)
{
	struct cache_entry *e;
	uint64_t lack;

	for (;;) {
		lack =
		    room < (int64_t)need ? (uint64_t)((int64_t)need - room) : 0;
		if (lack == 0 && cache_index_fits(&cache_index, need))
			return 0;
		e = cache_index_victim(&cache_index, need, lack);
		if (e == NULL) {
			errno = ENOSPC;
			return -1;
		}
		room += (int64_t)e->bytes;
		cache_give_up(e);
		if (lack > 0)
			let_go_soon();
	}
}

/*
 * Until that many bytes more fit and `room' bytes are need or more; -1 ENOSPC.
 * What is given up is free when nobody has it open any more, or later: until then
 * it counts as room, as far as `most', so that it is not given up twice.
 */
static int
evict(uint64_t need, int64_t room, int64_t most)
{
	uint64_t had = cache_index.used;
	int64_t before = free_now(), coming = (int64_t)cache_coming(before);
	int rc, saved;

	rc = evict_until(need, room + (coming < most ? coming : most));
	if (cache_index.used < had) {
		saved = errno;
		cache_coming_add(had - cache_index.used, before, free_now());
		errno = saved;
	}
	return rc;
}

/* -1: ENOSPC; EROFS. */
static int
make_room(uint64_t need)
{
	int64_t room, keep;

	if (cache_store_free(keep_free, &room) == -1)
		return -1;
	/* Should it not come in time, half of it is free all the same. */
	keep = free_now() + 1 - room;
	return evict(need, room - (int64_t)cache_index.reserved,
	    keep > 0 ? keep / 2 : 0);
}

int
cache_reserve(uint64_t bytes)
{
	if (make_room(bytes) == -1)
		return -1;
	cache_index.reserved += bytes;
	return 0;
}

void
cache_unreserve(uint64_t bytes)
{
	cache_index.reserved -= bytes;
}

void
cache_room_lacks(uint64_t bytes)
{
	(void)evict(0, -(int64_t)bytes, INT64_MAX);
}

uint64_t
cache_disk_bytes(uint32_t bytes)
{
	return ((uint64_t)bytes + BLOCK - 1) / BLOCK * BLOCK;
}

/* ---- others write, too ------------------------------------------------------------ */

static void
look_later(int ms)
{
	struct timeval tv = { ms / 1000, ms % 1000 * 1000 };

	evtimer_add(&look_ev, &tv);
}

static void
on_look(int fd, short ev, void *arg)
{
	int64_t room;

	(void)fd;
	(void)ev;
	(void)arg;
	(void)make_room(0);
	look_later(cache_index.files > 0 &&
		    cache_store_free(keep_free, &room) == 0 && room < NEAR
		? LOOK_NEAR_MS
		: LOOK_S * 1000);
}

void
cache_room_keep(uint64_t bytes)
{
	keep_free = bytes;
	if (looking)
		(void)make_room(0);
}

void
cache_room_start(void)
{
	looking = 1;
	evtimer_set(&look_ev, on_look, NULL);
	on_look(-1, 0, NULL);
}

/* ---- who has no room asks -------------------------------------------------------- */

static void
answer(struct chan *c, uint32_t id, uint64_t given)
{
	struct ibuf *b;

	if ((b = ibuf_open(8)) == NULL || ibuf_add_n64(b, given) == -1)
		fatal("cache: answer");
	if (chan_send_ibuf(c, IMSG_CACHE_FUSE_ROOM_RES, id, -1, b) == -1 &&
	    errno != EPIPE)
		log_warn("cache: answer");
}

/* Its fuse may be another one by then, which looks at the number. */
static void
on_answer(int fd, short ev, void *arg)
{
	struct answer *a = arg;
	struct chan *c = role_peer(ROLE_FUSE, a->instance);

	(void)fd;
	(void)ev;
	if (c != NULL)
		answer(c, a->id, a->given);
	TAILQ_REMOVE(&answers, a, entry);
	free(a);
}

/* -1: there is one already for it, or no memory. */
static int
answer_later(uint32_t instance, uint32_t id, uint64_t given)
{
	struct timeval tv = { 0, ANSWER_MS * 1000 };
	struct answer *a;

	TAILQ_FOREACH (a, &answers, entry)
		if (a->instance == instance)
			return -1;
	if ((a = calloc(1, sizeof(*a))) == NULL)
		return -1;
	a->instance = instance;
	a->id = id;
	a->given = given;
	evtimer_set(&a->ev, on_answer, a);
	if (evtimer_add(&a->ev, &tv) == -1) {
		free(a);
		return -1;
	}
	TAILQ_INSERT_TAIL(&answers, a, entry);
	return 0;
}

/*
 * A fuse has no room for what somebody writes.  What would not be enough for it,
 * or lies on another disk, is not given up.  *later: enough was before, and is not
 * free yet: it tries again in a while.
 */
static uint64_t
give_way(uint64_t wanted, uint64_t device, int *later)
{
	uint64_t had = cache_index.used, coming;
	int64_t room;

	*later = 0;
	/* keep 1: what there is. */
	if (device != cache_store_device() ||
	    cache_store_free(1, &room) == -1 || wanted > INT64_MAX ||
	    room >= (int64_t)wanted)
		return 0;
	coming = cache_coming(room);
	if (room + (int64_t)coming >= (int64_t)wanted) {
		*later = 1;
		return coming;
	}
	if (wanted - (uint64_t)(room > 0 ? room : 0) > had + coming)
		return 0;
	/* It may be less that goes: some of it is just coming. */
	(void)evict(0, room - (int64_t)wanted - (int64_t)MORE, INT64_MAX);
	return had - cache_index.used;
}

int
cache_room_ask(struct chan *c, uint32_t id, struct imsg *imsg,
    struct ibuf *body)
{
	uint64_t wanted, device, given;
	int later;

	(void)imsg;
	if (cache_mount_find(chan_instance(c)) == NULL ||
	    ibuf_get_n64(body, &wanted) == -1 ||
	    ibuf_get_n64(body, &device) == -1)
		return -1;
	given = give_way(wanted, device, &later);
	if (given > 0 && !later)
		log_info("cache: %llu bytes were given up: others have no room",
		    (unsigned long long)given);
	let_go_now();
	if (!later || answer_later(chan_instance(c), id, given) == -1)
		answer(c, id, given);
	return 0;
}
