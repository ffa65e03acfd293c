/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * hash_file: the chunk list of a file as it is on the disk.  In
 * sailvol-fetch: its two threads share the chunks of a large file; the bytes
 * of a small one can be kept, and need not be read again.
 */
#include <sys/stat.h>
#include <errno.h>
#include <event.h>
#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/chunklist.h"
#include "lib/fetch_imsg.h"
#include "lib/log.h"
#include "lib/path.h"
#include "lib/rest.h"
#include "lib/wire.h"
#include "sailvol-fetch/kept.h"
#include "sailvol-fetch/ops.h"
#include "sailvol-fetch/request.h"
#include "sailvol-fetch/worker.h"

#define LIST_MAX ((size_t)1 << 29) /* bytes of an encoded list */
#define NWORKS 2
#define PROGRESS_MS 100
#define PROGRESS_BYTES (32 << 20) /* a file that is worth it */
#define RESTS_PEER 64             /* whose question has not come */

/* What a file lacks, whose question has not come yet. */
struct rest_file {
	TAILQ_ENTRY(rest_file) entry;
	struct chan *peer;
	uint32_t id;
	int fd;
};
static TAILQ_HEAD(, rest_file) rests = TAILQ_HEAD_INITIALIZER(rests);

struct hashed {
	uint64_t slot;
	struct hash hash; /* zero: a hole after all */
	uint8_t done;
	uint8_t lacks; /* its bytes are not here */
};

struct hash_work {
	struct work work;
	struct hash_file *file;
};

struct hash_file {
	struct request req;
	struct hash_work works[NWORKS];
	int fd;
	int rest_fd; /* -1: it is whole */
	struct rest *rest;
	uint8_t shift;
	uint64_t slots;
	unsigned int ended; /* works, in the loop */
	struct event progress;
	uint64_t told;
	atomic_uint_fast64_t hashed; /* bytes */
	struct fetch_hash_res res;
	uint8_t *list; /* encoded */
	size_t list_len;
	uint8_t keep, sync, sync_all, tell;
	struct work note; /* some are hashed that were not told */
	atomic_int noted; /* it is with the loop */
	uint8_t *bytes;   /* of a small file; NULL: not to be kept */

	/* Guards what follows: both works. */
	pthread_mutex_t lock;
	int begun;
	unsigned int active; /* works that have not ended */
	uint64_t next;       /* slot */
	struct hashed *done;
	size_t ndone, size;
	size_t next_tell; /* of done */
	uint32_t error;
	int changed;
};

/* ---- in a thread ----------------------------------------------------------- */

/* Syncs it where it may be written to: from here on a store into a mapping
   shows. */
static int
hash_begin_file(struct hash_file *f)
{
	struct stat st;

	/* On a disk that fails it is safe in the store at least. */
	if (f->sync_all && syncfs(f->fd) == -1)
		log_warn("syncing the overlay's file system");
	f->res.before = timens_now();
	if (fstat(f->fd, &st) == -1)
		return errno;
	if (!S_ISREG(st.st_mode))
		return EINVAL;
	if (f->sync && (fsync(f->fd) == -1 || fstat(f->fd, &st) == -1))
		return errno;
	if ((uintmax_t)st.st_size > SAIL_SIZE_MAX)
		return EFBIG;
	f->res.size = (uint64_t)st.st_size;
	f->res.ctime = timens_of(st.st_ctim);
	if (f->rest_fd != -1 && (f->rest = rest_read(f->rest_fd)) == NULL)
		return errno;
	/* Without its rest its holes would be taken for zeros. */
	if ((st.st_mode & REST_MODE) && f->rest == NULL)
		return EBADMSG;
	if (f->rest != NULL && f->shift == 0)
		f->shift = chunklist_shift(f->rest->list);
	if (f->shift == 0)
		f->shift = chunk_shift_for(f->res.size);
	if (f->rest != NULL && f->shift != chunklist_shift(f->rest->list))
		return EBADMSG;
	f->slots = (f->res.size + ((uint64_t)1 << f->shift) - 1) >> f->shift;
	return 0;
}

static uint64_t
slot_bytes(const struct hash_file *f, uint64_t slot)
{
	uint64_t left = f->res.size - (slot << f->shift);

	return left < (uint64_t)1 << f->shift ? left : (uint64_t)1 << f->shift;
}

/* The next of those from f->next to end that lacks; 0: there is none. */
static int
next_absent(struct hash_file *f, uint64_t end, uint64_t *slot)
{
	if (f->rest == NULL)
		return 0;
	for (*slot = f->next; *slot <= end && *slot < f->rest->slots; (*slot)++)
		if (rest_absent(f->rest, *slot))
			return 1;
	return 0;
}

/* The next slot with data: 1; 2: it lacks them, and is done; 0: there is none. */
static int
take_slot(struct hash_file *f, size_t *index, uint64_t *slot)
{
	struct hashed *p;
	uint64_t at, absent;
	size_t size;
	int found = 0, lacks;

	pthread_mutex_lock(&f->lock);
	if (f->next >= f->slots || f->error != 0 ||
	    atomic_load(&f->works[0].work.cancel))
		goto end;
	at = next_data(f->fd, f->next << f->shift, f->res.size);
	lacks = next_absent(f,
	    at >= f->res.size ? f->slots - 1 : at >> f->shift, &absent);
	if (lacks)
		at = absent << f->shift;
	if (at >= f->res.size) {
		f->next = f->slots;
		goto end;
	}
	if (f->ndone == f->size) {
		size = f->size == 0 ? 16 : f->size * 2;
		p = reallocarray(f->done, size, sizeof(*p));
		if (p == NULL) {
			f->error = ENOMEM;
			goto end;
		}
		f->done = p;
		f->size = size;
	}
	*index = f->ndone++;
	*slot = at >> f->shift;
	memset(&f->done[*index], 0, sizeof(f->done[0]));
	f->done[*index].slot = *slot;
	f->next = *slot + 1;
	found = 1;
	if (!lacks)
		goto end;
	/* Its bytes are elsewhere, and what they are is known. */
	found = 2;
	if (chunklist_slot_bytes(f->rest->list, *slot) != slot_bytes(f, *slot))
		f->changed = 1;
	(void)chunklist_get(f->rest->list, *slot, &f->done[*index].hash);
	f->done[*index].done = f->done[*index].lacks = 1;
end:
	pthread_mutex_unlock(&f->lock);
	return found;
}

static void
hash_slot(struct hash_file *f, size_t index, uint64_t slot)
{
	uint64_t offset = slot << f->shift, bytes = slot_bytes(f, slot);
	struct hash h;
	int zero, error = 0;

	memset(&h, 0, sizeof(h));
	zero = range_is_zero(f->fd, offset, bytes);
	if (zero == -1 ||
	    (zero == 0 && hash_range(f->fd, offset, bytes, &h) == -1))
		error = errno;
	pthread_mutex_lock(&f->lock);
	if (error == ENODATA)
		f->changed = 1; /* shorter than it was */
	else if (error != 0)
		f->error = (uint32_t)error;
	f->done[index].hash = h;
	f->done[index].done = 1;
	pthread_mutex_unlock(&f->lock);
	atomic_fetch_add(&f->hashed, bytes);
	/* Never behind the works: they end later. */
	if (f->tell && f->slots > 1 && atomic_exchange(&f->noted, 1) == 0)
		worker_end(&f->note);
}

static struct chunklist *
make_list(struct hash_file *f)
{
	struct chunklist *l;
	uint64_t slot = 0;
	size_t i;

	if ((l = chunklist_new(f->res.size, f->shift)) == NULL)
		return NULL;
	for (i = 0; i < f->ndone; i++) {
		if (hash_is_zero(&f->done[i].hash))
			continue;
		if (f->done[i].slot > slot &&
		    chunklist_add_hole(l, f->done[i].slot - slot) == -1)
			goto fail;
		if (chunklist_add(l, &f->done[i].hash) == -1)
			goto fail;
		slot = f->done[i].slot + 1;
	}
	if (slot < f->slots && chunklist_add_hole(l, f->slots - slot) == -1)
		goto fail;
	return l;
fail:
	chunklist_free(l);
	return NULL;
}

/* All slots are hashed. */
static int
hash_end_file(struct hash_file *f)
{
	struct chunklist *l;
	struct timens ctime;
	struct wbuf w;
	struct stat st;

	if (fstat(f->fd, &st) == -1)
		return errno;
	ctime = timens_of(st.st_ctim);
	if ((uint64_t)st.st_size != f->res.size ||
	    timens_cmp(ctime, f->res.ctime) != 0)
		f->changed = 1;
	f->res.ctime = ctime;
	f->res.changed = (uint8_t)f->changed;
	if ((l = make_list(f)) == NULL)
		return errno != 0 ? errno : ENOMEM;
	wbuf_init(&w, LIST_MAX);
	chunklist_encode(&w, l);
	chunklist_free(l);
	f->list = wbuf_take(&w, &f->list_len);
	return f->list != NULL ? 0 : errno;
}

/* The only slot of a small file, whose bytes stay here. */
static void
hash_small(struct hash_file *f)
{
	size_t n = (size_t)f->res.size;
	struct hashed *h;

	if ((h = calloc(1, sizeof(*h))) == NULL ||
	    (f->bytes = malloc(n)) == NULL) {
		free(h);
		f->error = ENOMEM;
		return;
	}
	f->done = h;
	f->size = f->ndone = 1;
	f->next = 1;
	if (read_at(f->fd, f->bytes, n, 0) == -1) {
		if (errno == ENODATA)
			f->changed = 1; /* shorter than it was */
		else
			f->error = (uint32_t)errno;
		return;
	}
	/* Each byte is the one before, and the first is zero: a hole. */
	if (f->bytes[0] != 0 || memcmp(f->bytes, f->bytes + 1, n - 1) != 0)
		hash_bytes(&h->hash, f->bytes, n);
}

/* This work has ended; the last one ends the file. */
static int
run_end(struct hash_file *f)
{
	unsigned int left;
	int error;

	pthread_mutex_lock(&f->lock);
	left = --f->active;
	pthread_mutex_unlock(&f->lock);
	if (left > 0 || f->error != 0 || atomic_load(&f->works[0].work.cancel))
		return 0;
	if ((error = hash_end_file(f)) != 0)
		f->error = (uint32_t)error;
	return 0;
}

/* One slot at a time, so that many files advance side by side. */
static int
hash_run(struct work *w)
{
	struct hash_file *f = ((struct hash_work *)w)->file;
	uint64_t slot;
	size_t index;
	int error, found;

	if (!f->begun) {
		f->begun = 1;
		w->slow = 0;
		if (atomic_load(&f->works[0].work.cancel))
			return run_end(f);
		if ((error = hash_begin_file(f)) != 0) {
			f->error = (uint32_t)error;
			return run_end(f);
		}
		if (f->keep && f->rest_fd == -1 && f->slots == 1 &&
		    f->res.size < WIRE_PACK_CHUNK) {
			hash_small(f);
			return run_end(f);
		}
		if (f->slots > 1) {
			f->active++;
			worker_add(&f->works[1].work);
		}
	}
	while ((found = take_slot(f, &index, &slot)) == 2)
		;
	if (found == 0)
		return run_end(f);
	hash_slot(f, index, slot);
	return 1;
}

/* ---- in the loop ------------------------------------------------------------- */

static void
hash_answer(struct hash_file *f)
{
	int fd = -1;

	if (f->req.cancelled && f->error == 0)
		f->error = ECANCELED;
	if (f->error == 0 && f->list_len > FETCH_LIST_INLINE &&
	    (fd = memfd_new("chunks", f->list, f->list_len)) == -1)
		f->error = (uint32_t)errno;
	f->res.error = f->error;
	if (f->error == 0 && fd == -1) {
		f->res.list = f->list;
		f->res.list_len = f->list_len;
	}
	if (f->error == 0 && f->bytes != NULL && f->req.peer != NULL &&
	    !f->res.changed && !hash_is_zero(&f->done[0].hash)) {
		f->res.kept = kept_add(f->req.peer, &f->done[0].hash, f->bytes,
				  (uint32_t)f->res.size) == 0;
		f->bytes = NULL;
	}
	if (f->req.peer != NULL &&
	    fetch_hash_res_send(f->req.peer, f->req.id, &f->res, fd) == 0)
		fd = -1;
	else if (f->req.peer != NULL)
		op_lost("hash");
	request_del(&f->req);
	if (event_initialized(&f->progress))
		evtimer_del(&f->progress);
	if (fd != -1)
		close(fd);
	close(f->fd);
	if (f->rest_fd != -1)
		close(f->rest_fd);
	rest_free(f->rest);
	free(f->bytes);
	free(f->list);
	free(f->done);
	pthread_mutex_destroy(&f->lock);
	free(f);
}

static void
hash_done(struct work *w)
{
	struct hash_file *f = ((struct hash_work *)w)->file;

	f->ended++;
	if (f->ended == (f->slots > 1 ? NWORKS : 1U))
		hash_answer(f);
}

/* Those that are next in the file and are hashed; 0: there are none. */
static int
take_told(struct hash_file *f, struct fetch_hash_chunks *m)
{
	const struct hashed *h;

	m->size = f->res.size;
	m->shift = f->shift;
	m->n = 0;
	pthread_mutex_lock(&f->lock);
	for (; f->next_tell < f->ndone && m->n < FETCH_HASH_CHUNKS_MAX;
	     f->next_tell++) {
		h = &f->done[f->next_tell];
		if (!h->done || f->error != 0 || f->changed)
			break;
		if (h->lacks || hash_is_zero(&h->hash))
			continue;
		m->chunks[m->n].slot = h->slot;
		m->chunks[m->n++].hash = h->hash;
	}
	pthread_mutex_unlock(&f->lock);
	return m->n > 0;
}

/* What is hashed can be sent while the rest is. */
static void
hash_tell(struct work *w)
{
	static struct fetch_hash_chunks m;
	struct hash_file *f = (struct hash_file *)(void *)((char *)w -
	    offsetof(struct hash_file, note));

	atomic_store(&f->noted, 0);
	while (f->req.peer != NULL && !f->req.cancelled && take_told(f, &m))
		if (fetch_hash_chunks_send(f->req.peer, f->req.id, &m) == -1)
			op_lost("hash");
}

static void
on_progress(int fd, short ev, void *arg)
{
	struct timeval tv = { 0, PROGRESS_MS * 1000 };
	struct hash_file *f = arg;
	uint64_t hashed = atomic_load(&f->hashed);

	(void)fd;
	(void)ev;
	evtimer_add(&f->progress, &tv);
	if (f->req.peer == NULL || hashed == f->told)
		return;
	f->told = hashed;
	if (fetch_hash_progress_send(f->req.peer, f->req.id, hashed) == -1)
		op_lost("hash");
}

static void
watch(struct hash_file *f)
{
	struct timeval tv = { 0, PROGRESS_MS * 1000 };
	struct stat st;

	if (fstat(f->fd, &st) == -1 || st.st_size < PROGRESS_BYTES)
		return;
	evtimer_set(&f->progress, on_progress, f);
	evtimer_add(&f->progress, &tv);
}

static void
hash_cancel(struct request *req)
{
	struct hash_file *f = (struct hash_file *)req;

	atomic_store(&f->works[0].work.cancel, 1);
}

static void
rest_drop(struct rest_file *r)
{
	TAILQ_REMOVE(&rests, r, entry);
	if (r->fd != -1)
		close(r->fd);
	free(r);
}

void
hash_peer_down(struct chan *c)
{
	struct rest_file *r, *next;

	for (r = TAILQ_FIRST(&rests); r != NULL; r = next) {
		next = TAILQ_NEXT(r, entry);
		if (r->peer == c)
			rest_drop(r);
	}
}

int
op_hash_rest(struct chan *c, uint32_t id, struct imsg *imsg, struct ibuf *body)
{
	struct rest_file *r;
	unsigned int n = 0;

	(void)body;
	TAILQ_FOREACH (r, &rests, entry) {
		n += r->peer == c;
		if (r->peer == c && r->id == id)
			return -1;
	}
	if (n >= RESTS_PEER)
		return -1;
	if ((r = calloc(1, sizeof(*r))) == NULL)
		fatal("hash");
	r->peer = c;
	r->id = id;
	r->fd = imsg_get_fd(imsg);
	TAILQ_INSERT_TAIL(&rests, r, entry);
	return 0;
}

static int
take_rest(struct chan *c, uint32_t id)
{
	struct rest_file *r;
	int fd = -1;

	TAILQ_FOREACH (r, &rests, entry)
		if (r->peer == c && r->id == id)
			break;
	if (r != NULL) {
		fd = r->fd;
		r->fd = -1;
		rest_drop(r);
	}
	return fd;
}

void
hash_given_up(struct chan *c, uint32_t id)
{
	int fd = take_rest(c, id);

	if (fd != -1)
		close(fd);
}

int
op_hash(struct chan *c, uint32_t id, struct imsg *imsg, struct ibuf *body)
{
	struct hash_file *f;
	uint8_t shift, flags;
	size_t i;

	if (fetch_hash_recv(body, &shift, &flags) == -1 ||
	    (shift != 0 &&
		(shift < CHUNK_SHIFT_MIN || shift > CHUNK_SHIFT_MAX)))
		return -1;
	if ((f = calloc(1, sizeof(*f))) == NULL)
		fatal("hash");
	if (request_add(&f->req, c, id, hash_cancel) == -1) {
		free(f);
		return -1;
	}
	pthread_mutex_init(&f->lock, NULL);
	f->fd = imsg_get_fd(imsg);
	f->rest_fd = take_rest(c, id);
	f->shift = shift;
	f->keep = (flags & FETCH_HASH_KEEP) && kept_room(WIRE_PACK_CHUNK);
	f->sync = (flags & FETCH_HASH_SYNC) != 0;
	f->sync_all = (flags & FETCH_HASH_SYNC_ALL) != 0;
	f->tell = (flags & FETCH_HASH_TELL) != 0;
	f->note.done = hash_tell;
	f->active = 1;
	for (i = 0; i < NWORKS; i++) {
		f->works[i].file = f;
		f->works[i].work.run = hash_run;
		f->works[i].work.done = hash_done;
	}
	f->works[0].work.slow = f->sync | f->sync_all;
	watch(f);
	worker_add(&f->works[0].work);
	return 0;
}
