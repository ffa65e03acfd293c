/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * pool: empty overlay files that are made by a thread and registered with the
 * kernel before a file is created, some at a time: creation of a file that is
 * passed through needs no trip to the parent then.  A burst of new files, which
 * are small as a rule, uses them up: the rest of it is plain, since to make and
 * register a file costs more than the few writes that are saved.  Their numbers
 * stand in the file `pool' before they are made, so that the next process finds
 * those that were not used.  In fuse.
 */
#include <sys/stat.h>
#include <errno.h>
#include <event.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/log.h"
#include "sailvold/frontend.h"
#include "sailvold/overlay.h"
#include "sailvold/passthrough.h"
#include "sailvold/tally.h"
#include "sailvold/worker.h"

/* Two halves: the second is used while the first is made anew. */
#define HALF 16
#define POOL_MAX (2 * HALF)
#define LIST_MAX (POOL_MAX + HALF) /* of one that left a refill too */
#define REFILL_MS 20
#define RETRY_MS 1000

struct pool_file {
	uint64_t ovl;
	int fd;
	uint32_t id; /* of the kernel */
};

/* Files on their way. */
struct refill {
	struct work work;
	uint16_t n;
	struct pool_file f[HALF];
};

static struct pool_file ready[POOL_MAX];
static unsigned int nready;
static struct refill *making;      /* by a thread */
static struct refill *registering; /* by the parent */
static struct event ev_refill;
static atomic_int closed;
/* Held by the thread that makes files: pool_close() waits for it. */
static pthread_mutex_t making_lock = PTHREAD_MUTEX_INITIALIZER;
static int list_fd = -1;
static uint64_t left[LIST_MAX]; /* of a process before, until manifest knows */
static uint16_t nleft;

/* ---- the list ------------------------------------------------------------------- */

void
pool_open(void)
{
	uint64_t ovls[LIST_MAX];
	ssize_t n, i;
	int fd;

	list_fd = open("pool", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (list_fd == -1 ||
	    (n = pread(list_fd, ovls, sizeof(ovls), 0)) == -1) {
		log_warn("pool");
		return;
	}
	n /= (ssize_t)sizeof(ovls[0]);
	for (i = 0; i < n; i++) {
		if (ovls[i] == 0 ||
		    (fd = overlay_open_file(ovls[i], O_RDONLY)) == -1)
			continue;
		close(fd);
		left[nleft++] = ovls[i];
	}
}

static void
add_numbers(uint64_t *ovls, size_t *n, const struct pool_file *f, size_t nf)
{
	size_t i;

	for (i = 0; i < nf && *n < LIST_MAX; i++)
		ovls[(*n)++] = f[i].ovl;
}

/* What there is and what is about to be; 0 ends none. */
static int
write_list(const struct refill *r)
{
	uint64_t ovls[LIST_MAX];
	size_t n = 0, i;

	memset(ovls, 0, sizeof(ovls));
	for (i = 0; i < nleft; i++)
		ovls[n++] = left[i];
	add_numbers(ovls, &n, ready, nready);
	if (r != NULL)
		add_numbers(ovls, &n, r->f, r->n);
	if (pwrite(list_fd, ovls, sizeof(ovls), 0) != (ssize_t)sizeof(ovls))
		return -1;
	return 0;
}

void
pool_tell(void)
{
	struct chan *c = frontend_manifest();

	if (c == NULL || nleft == 0)
		return;
	if (numbers_send(c, IMSG_FUSE_MANIFEST_POOL, 0, left, nleft) == -1)
		log_warn("pool");
}

int
pool_rules_res(struct chan *c, uint32_t id, struct imsg *imsg,
    struct ibuf *body)
{
	(void)c;
	(void)id;
	(void)imsg;
	(void)body;
	nleft = 0; /* UNLINK came before, for those that nobody has */
	return 0;
}

/* ---- what is ready --------------------------------------------------------------- */

static void
add_ready(struct pool_file f)
{
	ready[nready++] = f;
	tally->pool = nready;
}

static struct pool_file *
take_ready(void)
{
	tally->pool = nready - 1;
	return &ready[--nready];
}

/* ---- making ----------------------------------------------------------------------- */

static void
refill_in(int ms)
{
	struct timeval tv = { ms / 1000, (suseconds_t)(ms % 1000) * 1000 };

	if (!closed && !evtimer_pending(&ev_refill, NULL))
		evtimer_add(&ev_refill, &tv);
}

static void
remove_made(struct refill *r)
{
	uint16_t i;

	for (i = 0; i < r->n; i++)
		if (r->f[i].fd != -1) {
			close(r->f[i].fd);
			r->f[i].fd = -1;
			(void)overlay_unlink(r->f[i].ovl);
		}
}

static void
refill_failed(struct refill *r, int error)
{
	remove_made(r);
	free(r);
	log_debug("pool: %s", strerror(error));
	refill_in(RETRY_MS);
}

static void
make_run(struct work *w)
{
	struct refill *r = (struct refill *)w;
	uint16_t i;

	pthread_mutex_lock(&making_lock);
	for (i = 0; i < r->n && w->error == 0 && !closed; i++)
		if ((r->f[i].fd = overlay_create(r->f[i].ovl, 0)) == -1)
			w->error = errno;
	pthread_mutex_unlock(&making_lock);
}

static void
make_done(struct work *w)
{
	struct refill *r = (struct refill *)w;
	uint64_t ovls[HALF];
	uint16_t i;

	making = NULL;
	for (i = 0; i < r->n; i++)
		ovls[i] = r->f[i].ovl;
	if (closed || w->error != 0) {
		refill_failed(r, closed ? ECANCELED : w->error);
		return;
	}
	registering = r;
	if (passthrough_register(ovls, r->n) == -1) {
		registering = NULL;
		refill_failed(r, errno);
	}
}

static void
refill(void)
{
	struct refill *r;
	uint64_t ovl;

	if (making != NULL || registering != NULL || closed || list_fd == -1 ||
	    !passthrough_on() || frontend_readonly() || nready > HALF)
		return;
	if (overlay_room(0) != 0 || (r = calloc(1, sizeof(*r))) == NULL) {
		refill_in(RETRY_MS);
		return;
	}
	while (r->n < HALF) {
		if ((ovl = overlay_number()) == 0)
			break;
		r->f[r->n].fd = -1;
		r->f[r->n++].ovl = ovl;
	}
	if (r->n == 0 || write_list(r) == -1) {
		refill_failed(r, errno);
		return;
	}
	r->work.run = make_run;
	r->work.done = make_done;
	making = r;
	worker_submit(&r->work);
}

int
pool_registered(const struct backing_res *res)
{
	struct refill *r = registering;
	uint16_t i;

	if (r == NULL)
		return 0;
	for (i = 0; i < r->n; i++)
		if (r->f[i].ovl == res->ovl)
			break;
	if (i == r->n)
		return 0;
	if (res->error == 0 && !closed)
		add_ready((struct pool_file){ res->ovl, r->f[i].fd, res->id });
	else {
		close(r->f[i].fd);
		(void)overlay_unlink(res->ovl);
		refill_in(RETRY_MS);
	}
	r->f[i] = r->f[--r->n];
	if (r->n == 0) {
		free(r);
		registering = NULL;
		if (nready <= HALF)
			refill_in(REFILL_MS);
	}
	return 1;
}

static void
on_refill(int fd, short ev, void *arg)
{
	(void)fd;
	(void)ev;
	(void)arg;
	refill();
}

void
pool_begin(void)
{
	evtimer_set(&ev_refill, on_refill, NULL);
	tally->pool = 0; /* not of a process before */
	refill();
}

/* ---- taking ----------------------------------------------------------------------- */

int
pool_take(uint64_t *ovl, int *fd)
{
	struct pool_file *f;

	if (nready == 0)
		return -1;
	f = take_ready();
	*ovl = f->ovl;
	*fd = f->fd;
	(void)passthrough_take(f->ovl, f->id);
	if (nready <= HALF)
		refill_in(REFILL_MS);
	return 0;
}

void
pool_close(void)
{
	const struct pool_file *f;

	closed = 1;
	while (nready > 0) {
		f = take_ready();
		close(f->fd);
		(void)overlay_unlink(f->ovl);
	}
	pthread_mutex_lock(&making_lock);
	if (making != NULL)
		remove_made(making);
	pthread_mutex_unlock(&making_lock);
	if (registering != NULL)
		remove_made(registering);
}
