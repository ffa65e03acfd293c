/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * overlay_use: counting of what overlay files take on disk.  A thread adds up
 * all of them, a folder of files/ at a time; from then on the files that are
 * being changed are watched, each with what it took at the last look.  What
 * file systems do by themselves (allocation that comes late, or is given back)
 * adds up to errors: at the limit all is counted anew.  In fuse.
 */
#include <sys/stat.h>
#include <sys/tree.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/log.h"
#include "lib/monotime.h"
#include "sailvold/frontend.h"
#include "sailvold/overlay.h"
#include "sailvold/overlay_use.h"
#include "sailvold/worker.h"

#define TICK_MS 1000
#define RECOUNT_MS 10000 /* at least, between two counts of all */
#define COUNT_TRIES 4    /* of a folder in which files change meanwhile */
#define TIGHT_MAX ((uint64_t)1 << 30)

struct watched {
	RB_ENTRY(watched) tree;
	uint64_t ovl;
	uint64_t bytes; /* at the last look */
	int dropped;    /* these are not counted any more */
};

struct count_work {
	struct work work;
	unsigned int bucket, tries;
	uint64_t sum;
};

static int watched_cmp(const struct watched *, const struct watched *);
RB_HEAD(watch_tree, watched);
RB_PROTOTYPE(watch_tree, watched, tree, watched_cmp)

static struct watch_tree watches = RB_INITIALIZER(&watches);
static uint64_t limit;
static int64_t used[OVERLAY_BUCKETS], all_used;
static int64_t at_begin; /* of the folder that is counted */
static unsigned int counted_bucket;
static int disturbed; /* something of it came or went since */
static int counting, warned;
static monotime_t next_count, next_tick;
static uint64_t told_used, told_limit;

static int
watched_cmp(const struct watched *a, const struct watched *b)
{
	return a->ovl < b->ovl ? -1 : a->ovl > b->ovl;
}
RB_GENERATE(watch_tree, watched, tree, watched_cmp)

static uint64_t
in_use(void)
{
	return all_used > 0 ? (uint64_t)all_used : 0;
}

static void
disturb(uint64_t ovl)
{
	if (ovl % OVERLAY_BUCKETS == counted_bucket)
		disturbed = 1;
}

static void
add(uint64_t ovl, int64_t bytes)
{
	if (bytes != 0)
		disturb(ovl);
	used[ovl % OVERLAY_BUCKETS] += bytes;
	all_used += bytes;
}

/* ---- files that are changed ------------------------------------------------------ */

static struct watched *
find(uint64_t ovl)
{
	struct watched key = { .ovl = ovl };

	return RB_FIND(watch_tree, &watches, &key);
}

static void
drop(struct watched *w)
{
	RB_REMOVE(watch_tree, &watches, w);
	free(w);
}

/* 0: it is not there. */
static uint64_t
bytes_of(uint64_t ovl)
{
	struct stat st;

	return overlay_stat(ovl, &st) == 0 ? (uint64_t)st.st_blocks * 512 : 0;
}

static void
look(struct watched *w)
{
	uint64_t bytes;

	if (w->dropped)
		return;
	bytes = bytes_of(w->ovl);
	add(w->ovl, (int64_t)bytes - (int64_t)w->bytes);
	w->bytes = bytes;
}

static struct watched *
touch(uint64_t ovl)
{
	struct watched *w;

	if ((w = find(ovl)) != NULL) {
		look(w);
		return w;
	}
	if ((w = calloc(1, sizeof(*w))) == NULL)
		return NULL; /* the next count of all finds it */
	w->ovl = ovl;
	w->bytes = bytes_of(ovl);
	RB_INSERT(watch_tree, &watches, w);
	return w;
}

/* ---- all are counted ---------------------------------------------------------- */

static void
count_run(struct work *w)
{
	struct count_work *c = (struct count_work *)w;

	if (overlay_bucket_bytes(c->bucket, &c->sum) == -1)
		w->error = errno;
}

static void
count_next(struct count_work *c)
{
	at_begin = used[c->bucket];
	counted_bucket = c->bucket;
	disturbed = 0;
	c->sum = 0;
	c->work.error = 0;
	worker_submit(&c->work);
}

/* What was changed meanwhile may be in the sum or not: it is counted again, and
   if that does not end, rather too much. */
static void
count_done(struct work *w)
{
	struct count_work *c = (struct count_work *)w;
	int64_t *u = &used[c->bucket], more = *u - at_begin;
	struct watched *d;

	if (w->error == 0 && disturbed && ++c->tries < COUNT_TRIES &&
	    limit != 0) {
		count_next(c);
		return;
	}
	if (w->error != 0)
		log_warnx("overlay files cannot be counted: %s",
		    strerror(w->error));
	else {
		all_used -= *u;
		*u = (int64_t)c->sum + (more > 0 ? more : 0);
		RB_FOREACH (d, watch_tree, &watches)
			if (d->dropped && d->ovl % OVERLAY_BUCKETS == c->bucket)
				*u -= (int64_t)d->bytes;
		all_used += *u;
	}
	c->tries = 0;
	if (++c->bucket < OVERLAY_BUCKETS && limit != 0) {
		count_next(c);
		return;
	}
	free(c);
	counting = 0;
	next_count = monotime_add_ms(monotime_now(), RECOUNT_MS);
}

static void
count_all(void)
{
	struct count_work *c;

	if (counting || (c = calloc(1, sizeof(*c))) == NULL)
		return;
	counting = 1;
	c->work.run = count_run;
	c->work.done = count_done;
	count_next(c);
}

/* ---- what becomes of a file -------------------------------------------------- */

void
use_touch(uint64_t ovl)
{
	if (limit != 0 && ovl != 0)
		(void)touch(ovl);
}

void
use_look(uint64_t ovl)
{
	struct watched *w;

	if (limit != 0 && (w = find(ovl)) != NULL)
		look(w);
}

void
use_unlink(uint64_t ovl)
{
	struct watched *w;

	if (limit == 0)
		return;
	disturb(ovl);
	if ((w = find(ovl)) == NULL) {
		add(ovl, -(int64_t)bytes_of(ovl));
		return;
	}
	if (!w->dropped)
		add(ovl, -(int64_t)w->bytes);
	drop(w);
}

void
use_dropped(uint64_t ovl)
{
	struct watched *w;

	if (limit == 0 || (w = touch(ovl)) == NULL || w->dropped)
		return;
	add(ovl, -(int64_t)w->bytes);
	w->dropped = 1;
}

/* ---- the limit ------------------------------------------------------------------- */

int
use_room(uint64_t bytes)
{
	if (limit == 0)
		return 0;
	if (bytes <= limit && in_use() <= limit - bytes) {
		warned = 0;
		return 0;
	}
	if (monotime_reached(next_count))
		count_all();
	if (!warned)
		log_warnx("the overlay has reached its limit, %llu of %llu "
			  "bytes: no more is written to it",
		    (unsigned long long)in_use(), (unsigned long long)limit);
	warned = 1;
	return ENOSPC;
}

int
use_write(uint64_t ovl, uint64_t off, uint64_t len)
{
	uint64_t end = off + len, more = len;
	struct watched *w;

	if (limit == 0 || (w = touch(ovl)) == NULL)
		return 0;
	/* Over what is there nothing is added; in a hole it is seen later. */
	if (end <= w->bytes)
		return 0;
	if (end - w->bytes < more)
		more = end - w->bytes;
	return use_room(more);
}

int
use_tight(void)
{
	uint64_t left = limit / 8 < TIGHT_MAX ? limit / 8 : TIGHT_MAX;

	return limit != 0 && in_use() > limit - left;
}

static void
touch_writer(struct handle *h, void *arg)
{
	(void)arg;
	if (h->kind == HANDLE_FILE && handle_writes(h))
		use_touch(inode_slot(h->inode)->ovl);
}

void
use_set_limit(uint64_t bytes)
{
	struct watched *w;

	if (bytes == limit)
		return;
	limit = bytes;
	warned = 0;
	if (limit == 0)
		while ((w = RB_MIN(watch_tree, &watches)) != NULL)
			drop(w);
	else {
		/* A fuse before this one opened them. */
		handle_foreach(touch_writer, NULL);
		count_all();
	}
}

/* ---- now and then ------------------------------------------------------------------ */

static int
is_written(uint64_t ovl)
{
	uint32_t idx = inode_by_ovl(ovl);

	return idx != 0 &&
	    (inode_writers(idx) > 0 ||
		(inode_vn(idx) != NULL && inode_vn(idx)->copy != NULL));
}

void
use_tick(void)
{
	struct watched *w, *next;

	if ((limit == 0 && told_limit == 0) || !monotime_reached(next_tick))
		return;
	next_tick = monotime_add_ms(monotime_now(), TICK_MS);
	RB_FOREACH_SAFE (w, watch_tree, &watches, next) {
		look(w);
		if (!w->dropped && !is_written(w->ovl))
			drop(w);
	}
	if (in_use() != told_used || limit != told_limit)
		use_tell();
}

void
use_tell(void)
{
	struct chan *c = frontend_manifest();
	struct ibuf *b;

	if (c == NULL || (limit == 0 && told_limit == 0))
		return;
	if ((b = ibuf_dynamic(16, 16)) == NULL ||
	    ibuf_add_n64(b, in_use()) == -1 || ibuf_add_n64(b, limit) == -1) {
		ibuf_free(b);
		return;
	}
	if (chan_send_ibuf(c, IMSG_FUSE_MANIFEST_USE, 0, -1, b) == -1 &&
	    errno != EPIPE)
		log_warn("use of the overlay");
	told_used = in_use();
	told_limit = limit;
}

void
use_statvfs(struct statvfs *st)
{
	fsblkcnt_t all, left;

	if (limit == 0)
		return;
	all = limit / st->f_frsize;
	left = in_use() < limit ? (limit - in_use()) / st->f_frsize : 0;
	if (st->f_blocks > all)
		st->f_blocks = all;
	if (st->f_bavail > left)
		st->f_bavail = left;
	if (st->f_bfree > left)
		st->f_bfree = left;
}
