/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * meta_threads: whose work the threads do next.  A key has one of them at a
 * time, and another for what is large, or is found to be; the keys take turns.  Of what is large
 * there is one at a time, for its memory, and it never has all threads: who
 * publishes little does not wait for those who publish much.  Into a volume one
 * of each kind merges at a time, and the others wait without work.  In meta.
 */
#include <stddef.h>
#include <string.h>

#include "lib/log.h"
#include "sailapid/meta.h"

#define LARGE_BYTES ((size_t)1 << 20) /* of a body */

static struct {
	struct db *dbs[META_THREADS];
	struct req *running[META_THREADS];
	size_t n;
	void (*work)(struct work *);
	struct req_list asked, waiting; /* in this turn; and before it */
	TAILQ_HEAD(, req) holders;      /* of volumes */
} self;

void
threads_init(struct db *const *dbs, size_t n, void (*work)(struct work *))
{
	memset(&self, 0, sizeof(self));
	memcpy(self.dbs, dbs, n * sizeof(*dbs));
	self.n = n;
	self.work = work;
	TAILQ_INIT(&self.asked);
	TAILQ_INIT(&self.waiting);
	TAILQ_INIT(&self.holders);
}

static struct req *
req_of(struct work *w)
{
	return (struct req *)(void *)((char *)w - offsetof(struct req, work));
}

static void
work_run(struct work *w)
{
	struct req *req = req_of(w);

	db_thread_says(req->said, sizeof(req->said));
	req->run(req, self.dbs[req->thread]);
	db_thread_says(NULL, 0);
}

static void
work_done(struct work *w)
{
	struct req *req = req_of(w);

	self.running[req->thread] = NULL;
	if (req->said[0] != '\0')
		log_warnx("database: %s", req->said);
	/* The turn that this brings gives the thread to another. */
	req_again_first(req, req->next);
}

void
req_work(struct req *req, void (*run)(struct req *, struct db *), req_step next)
{
	req->run = run;
	req->next = next;
	req->work.run = work_run;
	req->work.done = work_done;
	req->to_work = 1;
	req->merges = 0;
	TAILQ_INSERT_TAIL(&self.asked, req, entry);
}

void
req_work_alone(struct req *req, void (*run)(struct req *, struct db *),
    req_step next)
{
	threads_release(req);
	req_work(req, run, next);
	req->merges = req->vol.id;
}

void
threads_release(struct req *req)
{
	if (req->holds)
		TAILQ_REMOVE(&self.holders, req, held);
	req->holds = 0;
}

void
threads_forget(struct req *req)
{
	if (req->to_work)
		TAILQ_REMOVE(&self.asked, req, entry);
	req->to_work = 0;
}

/* ---- turns ----------------------------------------------------------------- */

int
threads_large(const struct req *req)
{
	return req->large || req->body.len > LARGE_BYTES;
}

static int
same_kind(const struct req *a, const struct req *b)
{
	return a->key.id == b->key.id && threads_large(a) == threads_large(b);
}

/* Those that hold a search; *own: one of them is of that key. */
static unsigned int
searches(int64_t key, int *own)
{
	const struct req *req;
	unsigned int n = 0;
	size_t i;

	*own = 0;
	TAILQ_FOREACH (req, &self.waiting, entry) {
		n += req->search == REQ_SEARCHES;
		*own |= req->search == REQ_SEARCHES && req->key.id == key;
	}
	for (i = 0; i < self.n; i++) {
		if ((req = self.running[i]) == NULL)
			continue;
		n += req->search == REQ_SEARCHES;
		*own |= req->search == REQ_SEARCHES && req->key.id == key;
	}
	return n;
}

static int
search_full(const struct req *req)
{
	unsigned int n;
	int own;

	if (req->search == REQ_SEARCHES)
		return 0;
	n = searches(req->key.id, &own);
	return own || (req->search == REQ_WOULD_SEARCH && n >= META_SEARCHES);
}

/* Small ones do not wait for a large one: of what it did not see it merges no more
   than that. */
static int
volume_held(const struct req *req)
{
	const struct req *other;

	TAILQ_FOREACH (other, &self.holders, held)
		if (other->merges == req->merges &&
		    threads_large(other) == threads_large(req))
			return 1;
	return 0;
}

static int
may_run(const struct req *req)
{
	const struct req *other;
	size_t i, small = 0;

	for (i = 0; i < self.n; i++) {
		if ((other = self.running[i]) == NULL)
			continue;
		if (same_kind(req, other) ||
		    (threads_large(req) && threads_large(other)))
			return 0;
		small += !threads_large(other);
	}
	if (!threads_large(req) && self.n > 1 && small == self.n - 1)
		return 0;
	if (req->merges != 0 && volume_held(req))
		return 0;
	return !search_full(req);
}

/* The others of its key come behind those of all others. */
static void
others_last(const struct req *req)
{
	struct req *other, *next, *last = TAILQ_LAST(&self.waiting, req_list);

	if (last == NULL)
		return;
	/* The last too, if it is one: they stay in their order. */
	for (other = TAILQ_FIRST(&self.waiting); other != NULL; other = next) {
		next = other == last ? NULL : TAILQ_NEXT(other, entry);
		if (!same_kind(req, other))
			continue;
		TAILQ_REMOVE(&self.waiting, other, entry);
		TAILQ_INSERT_TAIL(&self.waiting, other, entry);
	}
}

static struct req *
next_to_run(void)
{
	struct req *req;

	TAILQ_FOREACH (req, &self.waiting, entry)
		if (may_run(req))
			return req;
	return NULL;
}

void
threads_start(void)
{
	struct req *req;
	size_t i;

	while ((req = TAILQ_FIRST(&self.asked)) != NULL) {
		threads_forget(req);
		TAILQ_INSERT_TAIL(&self.waiting, req, entry);
	}
	for (i = 0; i < self.n; i++) {
		if (self.running[i] != NULL)
			continue;
		if ((req = next_to_run()) == NULL)
			return;
		TAILQ_REMOVE(&self.waiting, req, entry);
		others_last(req);
		if (req->merges != 0) {
			TAILQ_INSERT_TAIL(&self.holders, req, held);
			req->holds = 1;
		}
		req->thread = i;
		self.running[i] = req;
		self.work(&req->work);
	}
}

void
threads_tick(void)
{
	struct db_key key;
	struct req *req;
	size_t i;

	for (i = 0; i < self.n; i++) {
		req = self.running[i];
		if (req != NULL && req->merges != 0 && req->authorized &&
		    (db_key_by_id(meta_db(), req->key.id, &key) != 1 ||
			db_key_problem(&key, db_now()) != NULL))
			atomic_store(&req->stop, 1);
	}
}
