/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * verify_file: does a file hold what a chunk list says?  In sailvol-fetch.
 */
#include <sys/stat.h>
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/chunklist.h"
#include "lib/fetch_imsg.h"
#include "lib/log.h"
#include "sailvol-fetch/ops.h"
#include "sailvol-fetch/request.h"
#include "sailvol-fetch/worker.h"

#define LIST_MAX ((size_t)1 << 29)
#define SLOTS_MAX ((uint64_t)1 << 24)
#define LISTS_PEER 64 /* lists whose VERIFY has not come yet */

struct list {
	TAILQ_ENTRY(list) entry;
	struct chan *peer;
	uint32_t id;
	int fd;
};
static TAILQ_HEAD(, list) lists = TAILQ_HEAD_INITIALIZER(lists);

struct verify {
	struct work work; /* first: its work is it */
	struct request req;
	int fd;
	uint64_t size;
	struct chunklist *list;
	uint64_t slot; /* the next */
	uint32_t error;
};

static struct verify *
verify_of(struct request *r)
{
	return (
	    struct verify *)(void *)((char *)r - offsetof(struct verify, req));
}

/* ---- in a thread ------------------------------------------------------------- */

/* What lies between, which the list says is zero. */
static int
check_hole(struct verify *v, uint64_t from, uint64_t to)
{
	uint8_t shift = chunklist_shift(v->list);
	uint64_t offset = from << shift, end, at, n;
	int zero;

	end = to >= chunklist_slots(v->list) ? v->size : to << shift;
	while (offset < end) {
		if ((at = next_data(v->fd, offset, end)) >= end)
			break;
		n = end - at < (uint64_t)1 << shift ? end - at
						    : (uint64_t)1 << shift;
		if ((zero = range_is_zero(v->fd, at, n)) != 1)
			return zero == 0 ? EBADMSG : errno;
		offset = at + n;
	}
	return 0;
}

static int
check_slot(struct verify *v, uint64_t slot, const struct hash *expect)
{
	uint64_t offset = slot << chunklist_shift(v->list);
	struct hash h;

	if (hash_range(v->fd, offset, chunklist_slot_bytes(v->list, slot),
		&h) == -1)
		return errno == ENODATA ? EBADMSG : errno;
	return hash_cmp(&h, expect) == 0 ? 0 : EBADMSG;
}

static int
verify_run(struct work *w)
{
	struct verify *v = (struct verify *)w;
	struct hash h;
	struct stat st;
	uint64_t slot = 0, slots = chunklist_slots(v->list);
	int found;

	if (atomic_load(&w->cancel)) {
		v->error = ECANCELED;
		return 0;
	}
	if (v->slot == 0 &&
	    (fstat(v->fd, &st) == -1 || !S_ISREG(st.st_mode) ||
		(uint64_t)st.st_size != v->size)) {
		v->error = EBADMSG;
		return 0;
	}
	found = chunklist_next(v->list, v->slot, &slot, &h);
	if (!found)
		slot = slots;
	v->error = (uint32_t)check_hole(v, v->slot, slot);
	if (v->error == 0 && found)
		v->error = (uint32_t)check_slot(v, slot, &h);
	v->slot = slot + 1;
	return v->error == 0 && found && v->slot < slots;
}

/* ---- in the loop --------------------------------------------------------------- */

static void
verify_done(struct work *w)
{
	struct verify *v = (struct verify *)w;

	if (v->req.peer != NULL &&
	    fetch_verify_res_send(v->req.peer, v->req.id, v->error) == -1)
		op_lost("verify");
	request_del(&v->req);
	chunklist_free(v->list);
	close(v->fd);
	free(v);
}

static void
verify_cancel(struct request *req)
{
	atomic_store(&verify_of(req)->work.cancel, 1);
}

static struct list *
list_find(struct chan *c, uint32_t id, unsigned int *n)
{
	struct list *l, *found = NULL;

	*n = 0;
	TAILQ_FOREACH (l, &lists, entry) {
		*n += l->peer == c;
		if (l->peer == c && l->id == id)
			found = l;
	}
	return found;
}

static void
list_drop(struct list *l)
{
	TAILQ_REMOVE(&lists, l, entry);
	close(l->fd);
	free(l);
}

void
verify_peer_down(struct chan *c)
{
	struct list *l, *next;

	for (l = TAILQ_FIRST(&lists); l != NULL; l = next) {
		next = TAILQ_NEXT(l, entry);
		if (l->peer == c)
			list_drop(l);
	}
}

int
op_verify_list(struct chan *c, uint32_t id, struct imsg *imsg,
    struct ibuf *body)
{
	struct list *l;
	unsigned int n;

	if (ibuf_size(body) != 0 || list_find(c, id, &n) != NULL ||
	    n >= LISTS_PEER)
		return -1;
	if ((l = calloc(1, sizeof(*l))) == NULL)
		fatal("verify");
	l->peer = c;
	l->id = id;
	l->fd = imsg_get_fd(imsg);
	TAILQ_INSERT_TAIL(&lists, l, entry);
	return 0;
}

static struct chunklist *
list_read(int fd)
{
	struct memfd_view m;
	struct chunklist *l;
	struct rbuf r;

	if (memfd_map(fd, LIST_MAX, &m) == -1)
		return NULL;
	rbuf_init(&r, m.data, m.len);
	l = chunklist_decode(&r, SLOTS_MAX);
	if (l != NULL && rbuf_end(&r) == -1) {
		chunklist_free(l);
		l = NULL;
	}
	memfd_unmap(&m);
	return l;
}

int
op_verify(struct chan *c, uint32_t id, struct imsg *imsg, struct ibuf *body)
{
	struct verify *v;
	struct list *l;
	unsigned int n;

	if ((l = list_find(c, id, &n)) == NULL)
		return -1;
	if ((v = calloc(1, sizeof(*v))) == NULL)
		fatal("verify");
	v->list = list_read(l->fd);
	list_drop(l);
	if (v->list == NULL || fetch_verify_recv(body, &v->size) == -1 ||
	    v->size != chunklist_size(v->list) ||
	    request_add(&v->req, c, id, verify_cancel) == -1) {
		chunklist_free(v->list);
		free(v);
		return -1;
	}
	v->fd = imsg_get_fd(imsg);
	v->work.run = verify_run;
	v->work.done = verify_done;
	worker_add(&v->work);
	return 0;
}
