/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * cache_job: one content on its way into the cache: verified where it stands,
 * fetched, or copied from an overlay file and verified.  All who want the same
 * content of the same volume wait for one job.  In cache.
 */
#include <sys/stat.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/log.h"
#include "sailvold/sailvold_imsg.h"
#include "sailvold/cache.h"

#define RUNNING_MAX 64 /* jobs; each has a file open */
#define BLOCK 4096

RB_HEAD(job_tree, job);
static struct job_tree jobs = RB_INITIALIZER(&jobs);
static TAILQ_HEAD(, job) queued = TAILQ_HEAD_INITIALIZER(queued);
static unsigned int nrunning;

static void job_run(struct job *);
static void job_fetch(struct job *);
static void job_copy(int, short, void *);

static int
job_cmp(struct job *a, struct job *b)
{
	return hash_cmp(&a->key, &b->key);
}

RB_PROTOTYPE(job_tree, job, node, job_cmp)
RB_GENERATE(job_tree, job, node, job_cmp)

/* ---- the end of a job ----------------------------------------------------------- */

static void
queue_run(void)
{
	static int inside;
	struct job *j;

	/* A job that ends at once comes back to here. */
	if (inside)
		return;
	inside = 1;
	while (nrunning < RUNNING_MAX && (j = TAILQ_FIRST(&queued)) != NULL) {
		TAILQ_REMOVE(&queued, j, entry);
		nrunning++;
		job_run(j);
	}
	inside = 0;
}

static void
waiter_free(struct job *j, struct waiter *w)
{
	TAILQ_REMOVE(&j->waiters, w, entry);
	cache_mount_answered(w->mount, w->put, w->list_len);
	free(w);
}

/* The file that grew is given up. */
static void
job_drop_file(struct job *j)
{
	ask_cancel_all(j);
	evtimer_del(&j->slice);
	if (j->fd != -1) {
		close(j->fd);
		j->fd = -1;
		cache_store_tmp_drop(j->tmp);
	}
	cache_unreserve(j->reserved, j->written);
	j->reserved = j->written = 0;
	j->next = 0;
	j->no_more = 0;
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
		TAILQ_REMOVE(&queued, j, entry);
	else
		nrunning--;
	if (j->source != -1)
		close(j->source);
	chunklist_free(j->list);
	free(j->flat);
	free(j->path);
	free(j);
}

static void
job_succeeded(struct job *j)
{
	struct waiter *w;
	int error;

	TAILQ_FOREACH (w, &j->waiters, entry) {
		if (w->put) {
			cache_answer_error(w, 0, "");
			continue;
		}
		if ((error = cache_answer_file(w, &j->key)) != 0)
			cache_answer_error(w, error, strerror(error));
	}
	job_free(j);
	queue_run();
}

static void
job_failed(struct job *j, int error, const char *what)
{
	struct waiter *w;

	log_warnx("cache: volume %s: \"%.*s\": %s: %s", j->volume_id,
	    (int)j->path_len, (const char *)j->path, what, strerror(error));
	/* To who reads, whatever it was is one thing. */
	TAILQ_FOREACH (w, &j->waiters, entry)
		cache_answer_error(w, EIO, what);
	job_free(j);
	queue_run();
}

/*
 * It could not be copied, or was not what it should be: who gave it hears so,
 * and who only wants it gets it from the store.
 */
static void
put_failed(struct job *j, int error)
{
	struct waiter *w, *next;

	close(j->source);
	j->source = -1;
	for (w = TAILQ_FIRST(&j->waiters); w != NULL; w = next) {
		next = TAILQ_NEXT(w, entry);
		if (!w->put)
			continue;
		cache_answer_error(w, error, "");
		waiter_free(j, w);
	}
	job_drop_file(j);
	if (!TAILQ_EMPTY(&j->waiters)) {
		job_fetch(j);
		return;
	}
	job_free(j);
	queue_run();
}

/* The file is whole and good. */
static void
job_keep(struct job *j)
{
	uint64_t bytes = j->reserved;

	if (cache_store_keep(j->tmp, &j->key) == -1) {
		job_failed(j, EIO, strerror(errno));
		return;
	}
	close(j->fd);
	j->fd = -1;
	cache_unreserve(j->reserved, j->written);
	j->reserved = j->written = 0;
	cache_kept(&j->key, bytes);
	job_succeeded(j);
}

/* ---- fetching --------------------------------------------------------------------- */

/* What its chunks take on the disk. */
static uint64_t
job_bytes(const struct job *j)
{
	struct hash h;
	uint64_t slot = 0, sum = BLOCK, slots = chunklist_slots(j->list);

	while (slot < slots && chunklist_next(j->list, slot, &slot, &h)) {
		sum += ((uint64_t)chunklist_slot_bytes(j->list, slot) + BLOCK -
			   1) /
		    BLOCK * BLOCK;
		slot++;
	}
	return sum;
}

/* Room, and a file; -1 and errno. */
static int
job_make_file(struct job *j)
{
	uint64_t bytes = job_bytes(j);

	if (cache_reserve(bytes) == -1)
		return -1;
	j->reserved = bytes;
	j->fd = cache_store_tmp(j->tmp, j->size);
	return j->fd != -1 ? 0 : -1;
}

static void
fetch_more(struct job *j)
{
	int rc = 0;

	while (j->nasks < ASKS_MAX && (rc = ask_get(j)) == 0)
		;
	if (rc == -1)
		job_failed(j, errno, strerror(errno));
	else if (j->nasks == 0)
		job_keep(j);
}

static void
job_fetch(struct job *j)
{
	j->state = JOB_FETCH;
	if (job_make_file(j) == -1)
		job_failed(j, errno == ENOSPC ? EIO : errno,
		    errno == ENOSPC ? "no room in the cache" : strerror(errno));
	else
		fetch_more(j);
}

void
job_got(struct job *j, uint64_t bytes, uint32_t error, const char *what)
{
	if (error == ENOSPC && !j->retried) {
		/* Others fill the file system: the old ones give way. */
		j->retried = 1;
		job_drop_file(j);
		job_fetch(j);
	} else if (error != 0)
		job_failed(j, error == ENOSPC ? EIO : (int)error, what);
	else {
		cache_fetched += bytes;
		j->written += bytes;
		cache_wrote(bytes);
		fetch_more(j);
	}
}

/* ---- copying ------------------------------------------------------------------------ */

static void
slice_later(struct job *j)
{
	struct timeval now = { 0, 0 };

	evtimer_add(&j->slice, &now);
}

static void
job_copy(int fd, short ev, void *arg)
{
	struct job *j = arg;
	int rc;

	(void)fd;
	(void)ev;
	rc = cache_store_copy(j->source, j->fd, &j->next, j->size);
	if (rc == 1) {
		slice_later(j);
		return;
	}
	if (rc == -1) {
		put_failed(j, errno);
		return;
	}
	j->state = JOB_VERIFY_COPY;
	if ((fd = cache_store_tmp_open(j->tmp)) == -1 ||
	    ask_verify(j, fd) == -1)
		put_failed(j, errno);
}

static void
job_put(struct job *j)
{
	struct stat st;

	j->state = JOB_COPY;
	if (fstat(j->source, &st) == -1)
		put_failed(j, errno);
	else if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size != j->size)
		put_failed(j, EBADMSG);
	else if (job_make_file(j) == -1)
		put_failed(j, errno);
	else
		slice_later(j);
}

/* ---- verifying ------------------------------------------------------------------------ */

static void
job_verify_kept(struct job *j, struct cache_entry *e)
{
	uint64_t size = 0;
	int fd;

	j->state = JOB_VERIFY_KEPT;
	e->busy = 1;
	fd = cache_store_open(&j->key, &size);
	if (fd == -1 || size != j->size) {
		if (fd != -1)
			close(fd);
		job_verified(j, fd == -1 ? (uint32_t)errno : EBADMSG);
		return;
	}
	if (ask_verify(j, fd) == -1)
		job_failed(j, errno, strerror(errno));
}

void
job_verified(struct job *j, uint32_t error)
{
	struct cache_entry *e;
	char hex[HASH_HEX_LEN + 1];

	if (j->state == JOB_VERIFY_COPY) {
		if (error != 0)
			put_failed(j, (int)error);
		else
			job_keep(j);
		return;
	}
	if ((e = cache_index_find(&cache_index, &j->key)) != NULL) {
		e->busy = 0;
		if (error == 0) {
			e->verified = 1;
			job_succeeded(j);
			return;
		}
		hash_hex(&j->key, hex);
		log_warnx("cache: file %s is not what it was: thrown away",
		    hex);
		cache_index_remove(&cache_index, e);
		cache_store_remove(&j->key);
	}
	if (j->source != -1)
		job_put(j);
	else
		job_fetch(j);
}

/* ---- start -------------------------------------------------------------------------------- */

static void
job_run(struct job *j)
{
	struct cache_entry *e;

	if ((e = cache_index_find(&cache_index, &j->key)) != NULL)
		job_verify_kept(j, e);
	else if (j->source != -1)
		job_put(j);
	else
		job_fetch(j);
}

static struct job *
job_new(const struct cache_mount *m, const struct hash *key,
    const struct cache_get *get)
{
	struct job *j;

	if ((j = calloc(1, sizeof(*j))) == NULL)
		return NULL;
	if ((j->path = malloc(get->path_len + 1)) == NULL) {
		free(j);
		return NULL;
	}
	if (get->path_len > 0)
		memcpy(j->path, get->path, get->path_len);
	j->path_len = get->path_len;
	j->key = *key;
	j->size = get->size;
	j->commit = get->commit;
	strlcpy(j->volume_id, m->volume_id, sizeof(j->volume_id));
	j->source = j->fd = -1;
	TAILQ_INIT(&j->waiters);
	TAILQ_INIT(&j->asks);
	evtimer_set(&j->slice, job_copy, j);
	return j;
}

int
job_want(struct chan *c, uint32_t id, struct cache_mount *m,
    const struct cache_get *get, struct chunklist *list, uint8_t *flat,
    size_t flat_len, int source)
{
	struct job key, *j;
	struct waiter *w;

	if ((w = calloc(1, sizeof(*w))) == NULL)
		return -1;
	w->peer = c;
	w->id = id;
	w->put = source != -1;
	w->mount = m;
	w->list_len = flat_len;
	cache_mount_key(m, &get->content, &key.key);
	if ((j = RB_FIND(job_tree, &jobs, &key)) != NULL) {
		cache_mount_waits(m, w->put, flat_len);
		TAILQ_INSERT_TAIL(&j->waiters, w, entry);
		chunklist_free(list);
		free(flat);
		if (source != -1)
			close(source);
		return 0;
	}
	if ((j = job_new(m, &key.key, get)) == NULL) {
		free(w);
		return -1;
	}
	j->list = list;
	j->flat = flat;
	j->flat_len = flat_len;
	j->source = source;
	cache_mount_waits(m, w->put, flat_len);
	TAILQ_INSERT_TAIL(&j->waiters, w, entry);
	RB_INSERT(job_tree, &jobs, j);
	TAILQ_INSERT_TAIL(&queued, j, entry);
	queue_run();
	return 0;
}

/* Waiters of that peer leave (all, or one); a job that nobody wants ends. */
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
			if (w->peer != c || (one && w->id != id))
				continue;
			left = 1;
			/* Only its peer's end takes an answer away. */
			if (one)
				cache_answer_error(w, ECANCELED, "cancelled");
			waiter_free(j, w);
		}
		if (left && TAILQ_EMPTY(&j->waiters))
			job_free(j);
	}
	queue_run();
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
