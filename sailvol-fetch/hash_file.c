/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * hash_file: the chunk list of a file as it is on the disk.  In
 * sailvol-fetch: its two threads share the chunks of a large file.
 */
#include <sys/stat.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/chunklist.h"
#include "lib/fetch_imsg.h"
#include "lib/log.h"
#include "lib/path.h"
#include "sailvol-fetch/ops.h"
#include "sailvol-fetch/request.h"
#include "sailvol-fetch/worker.h"

#define LIST_MAX ((size_t)1 << 29) /* bytes of an encoded list */
#define NWORKS 2

struct hashed {
	uint64_t slot;
	struct hash hash; /* zero: a hole after all */
};

struct hash_work {
	struct work work;
	struct hash_file *file;
};

struct hash_file {
	struct request req;
	struct hash_work works[NWORKS];
	int fd;
	uint8_t shift;
	uint64_t slots;
	unsigned int ended; /* works, in the loop */
	struct fetch_hash_res res;
	int list_fd;

	/* Guards what follows: both works. */
	pthread_mutex_t lock;
	int begun;
	unsigned int active; /* works that have not ended */
	uint64_t next;       /* slot */
	struct hashed *done;
	size_t ndone, size;
	uint32_t error;
	int changed;
};

/* ---- in a thread ----------------------------------------------------------- */

/* Syncs it: from here on a store into a mapping of it shows. */
static int
hash_begin_file(struct hash_file *f)
{
	struct stat st;

	f->res.before = timens_now();
	if (fstat(f->fd, &st) == -1)
		return errno;
	if (!S_ISREG(st.st_mode))
		return EINVAL;
	if (fsync(f->fd) == -1 || fstat(f->fd, &st) == -1)
		return errno;
	if ((uintmax_t)st.st_size > SAIL_SIZE_MAX)
		return EFBIG;
	f->res.size = (uint64_t)st.st_size;
	f->res.ctime = timens_of(st.st_ctim);
	if (f->shift == 0)
		f->shift = chunk_shift_for(f->res.size);
	f->slots = (f->res.size + ((uint64_t)1 << f->shift) - 1) >> f->shift;
	return 0;
}

/* The next slot with data; 0: there is none. */
static int
take_slot(struct hash_file *f, size_t *index, uint64_t *slot)
{
	struct hashed *p;
	uint64_t at;
	size_t size;
	int found = 0;

	pthread_mutex_lock(&f->lock);
	if (f->next >= f->slots || f->error != 0 ||
	    atomic_load(&f->works[0].work.cancel))
		goto end;
	at = next_data(f->fd, f->next << f->shift, f->res.size);
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
end:
	pthread_mutex_unlock(&f->lock);
	return found;
}

static void
hash_slot(struct hash_file *f, size_t index, uint64_t slot)
{
	uint64_t offset = slot << f->shift, bytes = (uint64_t)1 << f->shift;
	struct hash h;
	int zero, error = 0;

	memset(&h, 0, sizeof(h));
	if (bytes > f->res.size - offset)
		bytes = f->res.size - offset;
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
	pthread_mutex_unlock(&f->lock);
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
	uint8_t *data;
	size_t len;
	int error = 0;

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
	if ((data = wbuf_take(&w, &len)) == NULL)
		return errno;
	if ((f->list_fd = memfd_new("chunks", data, len)) == -1)
		error = errno;
	free(data);
	return error;
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
	int error;

	if (!f->begun) {
		f->begun = 1;
		w->slow = 0;
		if (atomic_load(&f->works[0].work.cancel))
			return run_end(f);
		if ((error = hash_begin_file(f)) != 0) {
			f->error = (uint32_t)error;
			return run_end(f);
		}
		if (f->slots > 1) {
			f->active++;
			worker_add(&f->works[1].work);
		}
	}
	if (!take_slot(f, &index, &slot))
		return run_end(f);
	hash_slot(f, index, slot);
	return 1;
}

/* ---- in the loop ------------------------------------------------------------- */

static void
hash_answer(struct hash_file *f)
{
	if (f->req.cancelled && f->error == 0)
		f->error = ECANCELED;
	if (f->error != 0 && f->list_fd != -1) {
		close(f->list_fd);
		f->list_fd = -1;
	}
	f->res.error = f->error;
	if (f->req.peer != NULL &&
	    fetch_hash_res_send(f->req.peer, f->req.id, &f->res, f->list_fd) ==
		0)
		f->list_fd = -1;
	else if (f->req.peer != NULL)
		op_lost("hash");
	request_del(&f->req);
	if (f->list_fd != -1)
		close(f->list_fd);
	close(f->fd);
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

static void
hash_cancel(struct request *req)
{
	struct hash_file *f = (struct hash_file *)req;

	atomic_store(&f->works[0].work.cancel, 1);
}

int
op_hash(struct chan *c, uint32_t id, struct imsg *imsg, struct ibuf *body)
{
	struct hash_file *f;
	uint8_t shift;
	size_t i;

	if (fetch_hash_recv(body, &shift) == -1 ||
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
	f->list_fd = -1;
	f->shift = shift;
	f->active = 1;
	for (i = 0; i < NWORKS; i++) {
		f->works[i].file = f;
		f->works[i].work.run = hash_run;
		f->works[i].work.done = hash_done;
	}
	f->works[0].work.slow = 1;
	worker_add(&f->works[0].work);
	return 0;
}
