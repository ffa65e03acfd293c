/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * cache_job: one chunk on its way into the cache: verified where it stands,
 * fetched, or copied from an overlay file and verified.  All who want the same
 * chunk of the same volume wait for one job.  In cache.
 */
#include <sys/stat.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/log.h"
#include "lib/memfd.h"
#include "lib/monotime.h"
#include "lib/rest.h"
#include "sailvold/sailvold_imsg.h"
#include "sailvold/cache.h"

#define RUNNING_MAX 64 /* jobs of a queue; each has a file open */
/* Of chunks on their way that the directory has no room for. */
#define MEMORY_MAX ((uint64_t)64 << 20)
#define TOLD_MS 60000
/* Descriptors or memory lack: between two tries, and of all of them. */
#define LACKS_MS 100
#define LACKS_MAX_MS 30000

RB_HEAD(job_tree, job);
static struct job_tree jobs = RB_INITIALIZER(&jobs);
/* What is here is not kept waiting by a store that does not answer. */
struct job_queue {
	TAILQ_HEAD(, job) jobs;
	unsigned int running;
};
static struct job_queue here = { .jobs = TAILQ_HEAD_INITIALIZER(here.jobs) };
static struct job_queue far = { .jobs = TAILQ_HEAD_INITIALIZER(far.jobs) };
/* The same, but it needs room. */
static struct job_queue given = { .jobs = TAILQ_HEAD_INITIALIZER(given.jobs) };
static int full;    /* one found no room */
static int scarce;  /* the same, of descriptors or memory */
static int lacking; /* the queues rest until later_ev */
static struct event later_ev;
static uint64_t memory; /* bytes of chunks on their way there */

static void job_run(struct job *);
static void job_copy(int, short, void *);
static int waiter_join(struct waiter *);

/* What one says of the length of a chunk is nothing to who says another. */
static int
job_cmp(struct job *a, struct job *b)
{
	int c = hash_cmp(&a->key, &b->key);

	return c != 0 ? c : a->bytes < b->bytes ? -1 : a->bytes > b->bytes;
}

RB_PROTOTYPE(job_tree, job, node, job_cmp)
RB_GENERATE(job_tree, job, node, job_cmp)

static struct job *
job_find(const struct hash *key, uint32_t bytes)
{
	struct job k = { .key = *key, .bytes = bytes };

	return RB_FIND(job_tree, &jobs, &k);
}

/* ---- the end of a job ----------------------------------------------------------- */

static void
waiter_free(struct job *j, struct waiter *w)
{
	TAILQ_REMOVE(&j->waiters, w, entry);
	if (w->put == NULL)
		w->mount->gets--;
	place_unref(w->place);
	put_unref(w->put);
	free(w);
}

static void
job_unreserve(struct job *j)
{
	if (j->memory)
		memory -= j->reserved;
	else
		cache_unreserve(j->reserved);
	j->reserved = 0;
}

/* The file that grew is given up, and what was asked for. */
static void
job_drop_file(struct job *j)
{
	ask_leave(j);
	evtimer_del(&j->slice);
	if (j->fd != -1) {
		close(j->fd);
		j->fd = -1;
		if (!j->memory)
			cache_store_tmp_drop(j->tmp);
	}
	job_unreserve(j);
	j->copied = 0;
}

/* Out of everything; nobody is answered any more. */
static void
job_free(struct job *j)
{
	struct cache_entry *e;
	struct waiter *w;

	if (j->state == JOB_VERIFY_KEPT &&
	    (e = cache_index_find(&cache_index, &j->key)) != NULL)
		e->busy = 0;
	job_drop_file(j);
	while ((w = TAILQ_FIRST(&j->waiters)) != NULL)
		waiter_free(j, w);
	RB_REMOVE(job_tree, &jobs, j);
	if (j->state == JOB_QUEUED)
		TAILQ_REMOVE(&j->q->jobs, j, entry);
	else
		j->q->running--;
	place_unref(j->place);
	put_unref(j->source);
	free(j);
}

/* What is here of it, verified or not; NULL. */
static struct cache_entry *
job_entry(const struct job *j)
{
	struct cache_entry *e;

	if (j->bytes == 0)
		e = cache_index_find(&cache_index, &j->key);
	else
		e = cache_index_having(&cache_index, &j->key);
	if (e == NULL || e->verified)
		return e;
	/* Of a bundle the job is another. */
	return (cache_kind(e) == CACHE_BUNDLE) == !j->bytes && !j->elsewhere
	    ? e
	    : NULL;
}

static struct job_queue *
job_queue(const struct job *j)
{
	const struct waiter *w;

	if (job_entry(j) != NULL)
		return &here;
	TAILQ_FOREACH (w, &j->waiters, entry)
		if (w->put != NULL)
			return &given;
	return &far;
}

static void
job_enqueue(struct job *j, int first)
{
	j->state = JOB_QUEUED;
	j->q = job_queue(j);
	if (first)
		TAILQ_INSERT_HEAD(&j->q->jobs, j, entry);
	else
		TAILQ_INSERT_TAIL(&j->q->jobs, j, entry);
}

/* It has come, or is given, while it waits. */
static void
job_requeue(struct job *j)
{
	if (j->state != JOB_QUEUED || j->q == job_queue(j))
		return;
	TAILQ_REMOVE(&j->q->jobs, j, entry);
	job_enqueue(j, 0);
}

/* It may begin again, as one of the first. */
static void
job_again(struct job *j)
{
	struct cache_entry *e;

	if (j->state == JOB_VERIFY_KEPT &&
	    (e = cache_index_find(&cache_index, &j->key)) != NULL)
		e->busy = 0;
	job_drop_file(j);
	place_unref(j->place);
	j->place = NULL;
	j->q->running--;
	job_enqueue(j, 1);
}

static int
same_place(const struct place *a, const struct place *b)
{
	return a == b ||
	    (a != NULL && b != NULL && hash_cmp(&a->commit, &b->commit) == 0 &&
		a->path_len == b->path_len &&
		memcmp(a->path, b->path, a->path_len) == 0);
}

/* For those who asked of the same file; the others', and what is there to be
   copied, may be better. */
static void
job_failed(struct job *j, int error, const char *what)
{
	struct waiter *w, *next;

	log_warnx("cache: volume %s: \"%.*s\": %s: %s",
	    j->place != NULL ? j->place->volume_id : "",
	    j->place != NULL ? (int)j->place->path_len : 0,
	    j->place != NULL ? (const char *)j->place->path : "", what,
	    strerror(error));
	for (w = TAILQ_FIRST(&j->waiters); w != NULL; w = next) {
		next = TAILQ_NEXT(w, entry);
		if (w->put != NULL && j->place == NULL)
			cache_put_part(w->put, error);
		else if (w->put == NULL &&
		    (j->place == NULL || same_place(w->place, j->place)))
			/* To who reads, whatever it was is one thing. */
			cache_answer_error(w, EIO, what);
		else
			continue;
		waiter_free(j, w);
	}
	if (TAILQ_EMPTY(&j->waiters))
		job_free(j);
	else
		job_again(j);
}

static void
on_later(int fd, short ev, void *arg)
{
	(void)fd;
	(void)ev;
	(void)arg;
	lacking = 0;
	job_run_queue();
}

/* Descriptors or memory lack: it begins again, a little later. */
static void
job_later(struct job *j, int error)
{
	struct timeval tv = { 0, LACKS_MS * 1000 };
	monotime_t now = monotime_now();

	if (j->lacked.ns == 0)
		j->lacked = now;
	if (monotime_diff_ms(now, j->lacked) > LACKS_MAX_MS) {
		job_failed(j, error, strerror(error));
		return;
	}
	job_again(j);
	scarce = 1;
	if (!evtimer_initialized(&later_ev))
		evtimer_set(&later_ev, on_later, NULL);
	/* Without it, what happens next is the next try. */
	lacking = evtimer_add(&later_ev, &tv) == 0;
}

/* All have what they wait for: give answers one of them, 0 or an errno. */
static void
job_answer(struct job *j, int put_error,
    int (*give)(const struct waiter *, void *), void *arg)
{
	struct waiter *w, *next;
	int error, lacked = 0;

	for (w = TAILQ_FIRST(&j->waiters); w != NULL; w = next) {
		next = TAILQ_NEXT(w, entry);
		if (w->put != NULL)
			cache_put_part(w->put, put_error);
		else if (is_lack(error = give(w, arg))) {
			lacked = error; /* it waits on */
			continue;
		} else if (error != 0)
			cache_answer_error(w, error, strerror(error));
		waiter_free(j, w);
	}
	if (lacked == 0)
		job_free(j);
	else
		job_later(j, lacked);
}

static int
give_entry(const struct waiter *w, void *e)
{
	return cache_answer_entry(w, e);
}

static void
job_succeeded(struct job *j, struct cache_entry *e)
{
	job_answer(j, 0, give_entry, e);
}

/*
 * It could not be copied, or was not what it should be: who gave it hears so;
 * who gave another, or only wants it, waits on.
 */
static void
put_failed(struct job *j, int error)
{
	struct waiter *w, *next;

	for (w = TAILQ_FIRST(&j->waiters); w != NULL; w = next) {
		next = TAILQ_NEXT(w, entry);
		if (w->put == NULL || w->put != j->source)
			continue;
		cache_put_part(w->put, error);
		waiter_free(j, w);
	}
	put_unref(j->source);
	j->source = NULL;
	if (TAILQ_EMPTY(&j->waiters))
		job_free(j);
	else
		job_again(j);
}

/* ---- without the directory ----------------------------------------------------- */

/* The directory takes nothing, whatever the chunk is. */
static int
is_of_disk(int error)
{
	return error == ENOSPC || error == EDQUOT || error == EROFS;
}

/*
 * It begins again, and is handed out as memory that nobody keeps: what can be
 * read does not depend on room for it.
 */
static void
job_to_memory(struct job *j, int error)
{
	static monotime_t told;

	if (told.ns == 0 || monotime_diff_ms(monotime_now(), told) > TOLD_MS) {
		told = monotime_now();
		log_warnx("cache: it takes no more (%s): what is read is not "
			  "kept",
		    strerror(error));
	}
	job_drop_file(j);
	j->memory = 1;
}

/*
 * error is of the own directory, and says nothing of the chunk: it begins again,
 * when there may be room, or without.
 */
static void
job_not_kept(struct job *j, int error)
{
	if (is_lack(error)) {
		job_later(j, error);
		return;
	}
	if (j->memory) {
		job_failed(j, error, strerror(error));
		return;
	}
	if ((error == ENOSPC || error == EDQUOT) && !j->retried) {
		/* Others fill the file system, or there is a quota, which
		   statvfs(3) does not show: the old ones give way. */
		j->retried = 1;
		cache_room_lacks(cache_disk_bytes(j->bytes));
	} else
		job_to_memory(j, error);
	job_again(j);
}

static int
give_file(const struct waiter *w, void *fd)
{
	return cache_answer_file(w, *(int *)fd) == -1 ? errno : 0;
}

/* Who wanted it in the cache hears that it is not there. */
static void
job_hand_out(struct job *j)
{
	if (memfd_seal(j->fd) == -1) {
		job_failed(j, errno, strerror(errno));
		return;
	}
	job_answer(j, ENOSPC, give_file, &j->fd);
}

/* The file is whole and good. */
static void
job_keep(struct job *j)
{
	uint64_t bytes = j->reserved;
	struct cache_stamp is;
	struct cache_entry *e;

	if (j->memory) {
		job_hand_out(j);
		return;
	}
	if (cache_store_stamp(j->fd, &is) == -1 ||
	    cache_store_keep(j->tmp, &j->key, CACHE_CHUNK) == -1) {
		if (j->source != NULL)
			put_failed(j, errno);
		else
			job_not_kept(j, errno);
		return;
	}
	close(j->fd);
	j->fd = -1;
	job_unreserve(j);
	if ((e = cache_kept(&j->key, bytes, &is)) == NULL)
		job_later(j, ENOMEM);
	else
		job_succeeded(j, e);
}

/* Room for its bytes; 1: when another job has ended, or a file of a bundle is
   written; -1 and errno. */
static int
job_room(struct job *j)
{
	uint64_t bytes = cache_disk_bytes(j->bytes);

	if (j->reserved > 0)
		return 0;
	if (cache_reserve(bytes) == -1) {
		full = errno == ENOSPC &&
		    (cache_index.reserved > 0 ||
			cache_index_busy(&cache_index));
		return full ? 1 : -1;
	}
	j->reserved = bytes;
	return 0;
}

/* The same of memory; one goes always. */
static int
job_memory(struct job *j)
{
	if (j->reserved == 0 && memory > 0 && memory + j->bytes > MEMORY_MAX) {
		full = 1;
		return 1;
	}
	if (j->reserved == 0)
		memory += j->reserved = j->bytes;
	return 0;
}

/* ---- fetching --------------------------------------------------------------------- */

/* The first who says of which file it is a chunk. */
static void
take_place(struct job *j)
{
	struct waiter *w;

	TAILQ_FOREACH (w, &j->waiters, entry)
		if (w->place != NULL)
			break;
	place_unref(j->place);
	j->place = NULL;
	if (w == NULL)
		return;
	j->place = w->place;
	j->place->refs++;
	j->slot = w->chunk.slot;
}

/* The file that its bytes go to; -1 and errno. */
static int
job_file(struct job *j)
{
	if (!j->memory && (j->fd = cache_store_tmp(j->tmp)) == -1 &&
	    !is_lack(errno))
		job_to_memory(j, errno);
	if (j->memory)
		j->fd = memfd_empty("chunk");
	return j->fd == -1 ? -1 : 0;
}

static void
job_fetch(struct job *j)
{
	int rc = -1;

	j->state = JOB_FETCH;
	take_place(j);
	if (!j->memory && (rc = job_room(j)) == -1)
		job_to_memory(j, errno);
	if (j->memory)
		rc = job_memory(j);
	if (rc == 0 && j->bytes >= FETCH_BUNDLE_CHUNK) {
		if ((rc = job_file(j)) == 0 && j->memory)
			rc = job_memory(j);
	}
	if (rc == 1) {
		job_again(j);
		return;
	}
	if (rc == 0)
		rc = ask_get(j);
	if (rc == -1 && is_lack(errno))
		job_later(j, errno);
	else if (rc == -1)
		job_failed(j, errno, strerror(errno));
}

/* A file from before that is broken. */
static void
throw_away(struct cache_entry *e)
{
	char hex[HASH_HEX_LEN + 1];

	if (e->verified)
		return; /* a good one has come meanwhile */
	hash_hex(&e->key, hex);
	log_warnx("cache: file %s is not what it was: thrown away", hex);
	cache_give_up(e);
}

void
job_got_not(struct job *j, int error, const char *what)
{
	struct cache_entry *e;

	if (j->state == JOB_VERIFY_KEPT && error == EBADMSG) {
		if ((e = cache_index_find(&cache_index, &j->key)) != NULL)
			throw_away(e);
		job_again(j); /* from the store */
	} else if (error == FETCH_NO_FILE)
		job_not_kept(j, EIO); /* its file takes nothing */
	else if (is_lack(error) || (is_of_disk(error) && !j->memory))
		job_not_kept(j, error);
	else
		job_failed(j, error, what);
}

void
job_got(struct job *j)
{
	struct stat st;

	if (fstat(j->fd, &st) == -1 || st.st_size != (off_t)j->bytes) {
		job_failed(j, EIO, "a chunk of another size");
		return;
	}
	cache_fetched += j->bytes;
	job_keep(j);
}

void
job_bytes(const char *volume_id, const struct hash *h, const uint8_t *data,
    uint32_t bytes)
{
	struct hash key;
	struct job *j;

	cache_key(volume_id, h, &key);
	j = job_find(&key, bytes);
	if (j == NULL) {
		cache_keep_neighbour(&key, data, bytes);
		return;
	}
	/* One that is copied or verified goes its own way. */
	if (j->state != JOB_FETCH || j->fd != -1)
		return;
	if (job_file(j) == -1 || cache_store_write(j->fd, data, bytes) == -1) {
		job_not_kept(j, errno);
		return;
	}
	ask_leave(j);
	cache_fetched += bytes;
	job_keep(j);
}

/* One that waits for sailvol-fetch; one that is copied goes its own way. */
static struct job *
fetching(const struct hash *key, uint32_t bytes)
{
	struct job *j = job_find(key, bytes);

	return j != NULL && j->state == JOB_FETCH && j->fd == -1 ? j : NULL;
}

void
job_give_room(const struct hash *key, uint32_t bytes)
{
	struct job *j = fetching(key, bytes);

	if (j != NULL)
		job_unreserve(j);
}

static int
give_bundle(const struct waiter *w, void *b)
{
	return cache_bundle_answer(b, w) == -1 ? errno : 0;
}

void
job_bundled(const struct hash *key, uint32_t bytes, struct cache_bundle *b)
{
	struct job *j = job_find(key, bytes);
	struct cache_entry *e;

	if (j != NULL)
		job_requeue(j);
	if ((j = fetching(key, bytes)) == NULL)
		return;
	/* Of another length, or it would have been verified. */
	if ((e = cache_index_find(&cache_index, key)) != NULL && !e->busy)
		throw_away(e);
	e = cache_index_having(&cache_index, key);
	job_answer(j, e != NULL && e->verified ? 0 : ENOSPC, give_bundle, b);
}

/* ---- copying ------------------------------------------------------------------------ */

static void
slice_later(struct job *j)
{
	struct timeval now = { 0, 0 };

	evtimer_add(&j->slice, &now);
}

static void
copy_slice(struct job *j)
{
	int fd, rc;

	rc = cache_store_copy(j->source->fd, j->offset, j->fd, &j->copied,
	    j->bytes);
	if (rc == 1) {
		slice_later(j);
		return;
	}
	if (rc == -1) {
		put_failed(j, errno == ENODATA ? EBADMSG : errno);
		return;
	}
	j->state = JOB_VERIFY_COPY;
	if ((fd = cache_store_tmp_open(j->tmp)) == -1 ||
	    ask_verify(j, fd) == -1)
		put_failed(j, errno);
}

static void
job_copy(int fd, short ev, void *arg)
{
	(void)fd;
	(void)ev;
	copy_slice(arg);
	job_run_queue();
}

static void
job_put(struct job *j)
{
	struct stat st;
	int rc;

	j->state = JOB_COPY;
	if (fstat(j->source->fd, &st) == -1)
		put_failed(j, errno);
	else if (!S_ISREG(st.st_mode) || (st.st_mode & REST_MODE))
		put_failed(j, EBADMSG);
	else if ((rc = job_room(j)) == 1)
		job_again(j);
	else if (rc == -1 || (j->fd = cache_store_tmp(j->tmp)) == -1)
		put_failed(j, errno);
	else
		slice_later(j);
}

/* ---- verifying ------------------------------------------------------------------------ */

/* A copy of what the first PUT that waits has, or from the store. */
static void
job_bring(struct job *j)
{
	struct waiter *w;

	TAILQ_FOREACH (w, &j->waiters, entry)
		if (w->put != NULL && j->source == NULL) {
			j->source = w->put;
			j->source->refs++;
			j->offset = w->chunk.slot << w->shift;
		}
	if (j->source != NULL)
		job_put(j);
	else
		job_fetch(j);
}

static void
job_verify_kept(struct job *j, struct cache_entry *e)
{
	int fd;

	fd = cache_store_open(&j->key, cache_kind(e), &e->is);
	if (fd != -1 && j->bytes != 0 && e->is.size != j->bytes) {
		/* Which of both lies the store shows. */
		close(fd);
		j->elsewhere = 1;
		job_again(j);
		return;
	}
	j->state = JOB_VERIFY_KEPT;
	e->busy = 1;
	if (fd == -1 || ask_verify(j, fd) == -1)
		job_verified(j, (uint32_t)errno);
}

/* There is no such bundle any more: each who waits for a chunk of it. */
static void
job_split(struct job *j)
{
	struct waiter *w;
	int error;

	while ((w = TAILQ_FIRST(&j->waiters)) != NULL) {
		TAILQ_REMOVE(&j->waiters, w, entry);
		if (waiter_join(w) == 0)
			continue;
		error = errno;
		TAILQ_INSERT_HEAD(&j->waiters, w, entry);
		if (w->put != NULL)
			cache_put_part(w->put, error);
		else
			cache_answer_error(w, error, strerror(error));
		waiter_free(j, w);
	}
	job_free(j);
}

void
job_verified(struct job *j, uint32_t error)
{
	struct cache_entry *e;

	if (j->state == JOB_VERIFY_COPY) {
		if (error != 0)
			put_failed(j, (int)error);
		else
			job_keep(j);
		return;
	}
	if (is_lack((int)error)) {
		job_later(j, (int)error);
		return;
	}
	if ((e = cache_index_find(&cache_index, &j->key)) != NULL) {
		e->busy = 0;
		if (error == 0) {
			e->verified = 1;
			job_succeeded(j, e);
			return;
		}
		throw_away(e);
	}
	if (j->bytes == 0)
		job_split(j);
	else
		job_again(j); /* from the store */
}

/* ---- start -------------------------------------------------------------------------------- */

static void
job_run(struct job *j)
{
	struct cache_entry *e = job_entry(j);

	if (e != NULL && e->verified) {
		/* A neighbour of another, meanwhile. */
		j->state = JOB_FETCH; /* in the queue no more */
		job_succeeded(j, e);
	} else if (e != NULL) {
		job_verify_kept(j, e);
	} else if (j->bytes == 0) {
		/* It was given up. */
		j->state = JOB_FETCH;
		job_split(j);
	} else if (j->q != job_queue(j)) {
		job_again(j);
	} else
		job_bring(j);
}

static int
may_run(const struct job_queue *q)
{
	return !scarce && (q == &here || !full) && q->running < RUNNING_MAX &&
	    !TAILQ_EMPTY(&q->jobs);
}

void
job_run_queue(void)
{
	static int inside;
	struct job_queue *q;
	struct job *j;

	/* A job that ends at once may come back to here. */
	if (inside || lacking)
		return;
	inside = 1;
	full = scarce = 0;
	do {
		while (may_run(q = &here) || may_run(q = &far) ||
		    may_run(q = &given)) {
			j = TAILQ_FIRST(&q->jobs);
			TAILQ_REMOVE(&q->jobs, j, entry);
			q->running++;
			job_run(j);
		}
		ask_flush();
	} while (may_run(&here) || may_run(&far) || may_run(&given));
	inside = 0;
}

/* Who waits for its turn is as late as who has it, from when he came. */
void
job_late(void)
{
	struct job *j, *next;
	struct waiter *w, *wnext;
	unsigned int n = 0;

	TAILQ_FOREACH_SAFE (j, &far.jobs, entry, next) {
		TAILQ_FOREACH_SAFE (w, &j->waiters, entry, wnext) {
			if (monotime_diff_ms(monotime_now(), w->since) <
			    CACHE_LATE_MS)
				continue;
			cache_answer_error(w, EIO, "nothing comes");
			waiter_free(j, w);
			n++;
		}
		if (TAILQ_EMPTY(&j->waiters))
			job_free(j);
	}
	if (n > 0)
		log_warnx("cache: nothing comes for %u that wait", n);
}

/* bytes 0: of a bundle. */
static struct job *
job_new(const struct hash *key, const struct hash *hash, uint32_t bytes)
{
	struct job *j;

	if ((j = calloc(1, sizeof(*j))) == NULL)
		return NULL;
	j->key = *key;
	j->hash = *hash;
	j->bytes = bytes;
	j->fd = -1;
	TAILQ_INIT(&j->waiters);
	evtimer_set(&j->slice, job_copy, j);
	RB_INSERT(job_tree, &jobs, j);
	job_enqueue(j, 0);
	return j;
}

/* w waits for the job of its chunk, or of the bundle that has it. */
static int
waiter_join(struct waiter *w)
{
	struct cache_entry *e;
	uint32_t bytes = w->chunk.bytes;
	struct hash key;
	struct job *j;

	cache_key(w->mount->volume_id, &w->chunk.hash, &key);
	e = cache_index_having(&cache_index, &key);
	if (e != NULL && cache_kind(e) == CACHE_BUNDLE && !e->verified) {
		key = e->key;
		bytes = 0;
	}
	if ((j = job_find(&key, bytes)) == NULL &&
	    (j = job_new(&key, &w->chunk.hash, bytes)) == NULL)
		return -1;
	TAILQ_INSERT_TAIL(&j->waiters, w, entry);
	job_requeue(j);
	return 0;
}

static int
want_one(struct chan *c, uint32_t id, struct cache_mount *m,
    const struct fetch_get_chunk *k, uint8_t shift, struct place *place,
    struct put *put)
{
	struct waiter *w;

	if ((w = calloc(1, sizeof(*w))) == NULL)
		return -1;
	w->peer = c;
	w->id = id;
	w->mount = m;
	w->shift = shift;
	w->chunk = *k;
	w->put = put;
	w->place = place;
	w->since = monotime_now();
	if (waiter_join(w) == -1) {
		free(w);
		return -1;
	}
	if (put != NULL) {
		put->refs++;
		put->left++;
	} else {
		place->refs++;
		m->gets++;
	}
	return 0;
}

int
job_want(struct chan *c, uint32_t id, struct cache_mount *m,
    const struct cache_want *g, const uint8_t *lacks, struct put *put)
{
	struct waiter w = { .peer = c, .id = id };
	struct place *place = NULL;
	int error = 0;
	uint16_t i;

	if (put == NULL && (place = place_new(m, g)) == NULL)
		return -1;
	for (i = 0; i < g->n; i++) {
		if (!lacks[i] ||
		    want_one(c, id, m, &g->chunks[i], g->shift, place, put) ==
			0)
			continue;
		error = errno;
		if (put != NULL)
			break;
		w.chunk = g->chunks[i];
		cache_answer_error(&w, error, strerror(error));
	}
	place_unref(place);
	errno = error;
	return put != NULL && error != 0 ? -1 : 0;
}

/* Waiters of that peer leave (all, or of one question); a job that nobody
   wants ends. */
static void
waiters_leave(struct chan *c, int one, uint32_t id)
{
	struct job *j, *jnext;
	struct waiter *w, *next;
	int left;

	for (j = RB_MIN(job_tree, &jobs); j != NULL; j = jnext) {
		jnext = RB_NEXT(job_tree, &jobs, j);
		left = 0;
		for (w = TAILQ_FIRST(&j->waiters); w != NULL; w = next) {
			next = TAILQ_NEXT(w, entry);
			if (w->peer != c ||
			    (one && (w->put != NULL || w->id != id)))
				continue;
			left = 1;
			/* Only its peer's end takes an answer away. */
			if (one)
				cache_answer_error(w, ECANCELED, "cancelled");
			else if (w->put != NULL)
				w->put->peer = NULL;
			waiter_free(j, w);
		}
		if (left && TAILQ_EMPTY(&j->waiters))
			job_free(j);
	}
	job_run_queue();
}

void
cache_cancel(struct chan *c, uint32_t id)
{
	waiters_leave(c, 1, id);
}

void
job_peer_down(struct chan *c)
{
	waiters_leave(c, 0, 0);
}
