/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * passthrough: which files are passed through, and the kernel's ids of them.
 * In fuse.
 */
#include <sys/stat.h>
#include <sys/tree.h>
#include <errno.h>
#include <event.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "lib/log.h"
#include "sailvold/content.h"
#include "sailvold/frontend.h"
#include "sailvold/overlay.h"
#include "sailvold/overlay_use.h"
#include "sailvold/passthrough.h"

/* Registered files that are kept while nobody has them open. */
#define IDS_KEPT 1024
#define EVICT_LOOK 8
#define CLOSES_MS 100
#define ROOM_S 1
/* To read less than that, once, is no dearer than to have it registered. */
#define SMALL_BYTES ((uint64_t)64 * 1024)
/*
 * A store through a mapping moves times that the kernel keeps of a file without
 * telling itself: of one that is open for writing they are short-lived.
 */
#define ATTR_TIMEOUT 0.01
#define KEPT_MS 50

#define BARRIERS 64
#define BARRIER 2               /* number of a question that asks for nothing */
#define BARRIER_OPEN UINT32_MAX /* in barriers: an open waits for it */

enum { ASKED, READY, FAILED };

struct file_id {
	RB_ENTRY(file_id) tree;
	TAILQ_ENTRY(file_id) lru;
	struct waitq q;
	uint64_t ovl;
	int32_t id;
	uint8_t state;
	uint8_t shared; /* SHARED_MAY... */
};

/* It was open in a way that it may be mapped and written. */
#define SHARED_MAY 0x1
#define SHARED_WAS 0x2 /* it was mapped when it was registered */

static int file_id_cmp(const struct file_id *, const struct file_id *);
RB_HEAD(id_tree, file_id);
RB_PROTOTYPE(id_tree, file_id, tree, file_id_cmp)

static struct id_tree tree = RB_INITIALIZER(&tree);
TAILQ_HEAD(id_list, file_id);
static struct id_list lru = TAILQ_HEAD_INITIALIZER(lru);
static unsigned int count;
static int state;  /* enum passthrough_state */
static int leases; /* tell who maps; also of what was passed through before */
static int low;    /* what is kept of the file system is being used */
static uint32_t barriers[BARRIERS]; /* questions of SYNC that wait, in order */
static size_t nbarriers;
static struct waitq barrier_q = { TAILQ_HEAD_INITIALIZER(barrier_q.parks) };
static int
    unconfirmed; /* closes were sent, and nothing came from behind them */
static uint64_t closes[BACKING_BATCH];
static uint16_t ncloses;
static struct event ev_closes, ev_room, ev_kept;

static int
file_id_cmp(const struct file_id *a, const struct file_id *b)
{
	return a->ovl < b->ovl ? -1 : a->ovl > b->ovl;
}
RB_GENERATE(id_tree, file_id, tree, file_id_cmp)

/* ---- giving back ---------------------------------------------------------------- */

static void
send_closes(void)
{
	if (ncloses > 0 &&
	    numbers_send(role_parent(), IMSG_FUSE_PARENT_BACKING_CLOSE, 0,
		closes, ncloses) == -1)
		log_warn("backing files");
	unconfirmed |= ncloses > 0;
	ncloses = 0;
}

static void
on_closes(int fd, short ev, void *arg)
{
	(void)fd;
	(void)ev;
	(void)arg;
	send_closes();
}

static void
close_id(uint64_t ovl)
{
	struct timeval tv = { 0, CLOSES_MS * 1000 };

	closes[ncloses++] = ovl;
	if (ncloses == BACKING_BATCH)
		send_closes();
	else if (!evtimer_pending(&ev_closes, NULL))
		evtimer_add(&ev_closes, &tv);
}

static struct file_id *
find(uint64_t ovl)
{
	struct file_id key = { .ovl = ovl };

	return RB_FIND(id_tree, &tree, &key);
}

static int
in_use(const struct file_id *b)
{
	uint32_t idx = inode_by_ovl(b->ovl);

	return b->state == ASKED ||
	    (idx != 0 && inode_slot(idx)->mode == MODE_PASSTHROUGH);
}

static void
drop(struct file_id *b)
{
	if (b->state == READY)
		close_id(b->ovl);
	RB_REMOVE(id_tree, &tree, b);
	TAILQ_REMOVE(&lru, b, lru);
	count--;
	free(b);
}

static void
touch(struct file_id *b)
{
	if (TAILQ_FIRST(&lru) == b)
		return;
	TAILQ_REMOVE(&lru, b, lru);
	TAILQ_INSERT_HEAD(&lru, b, lru);
}

static void
evict(void)
{
	struct file_id *b;
	int n;

	for (n = 0; count >= IDS_KEPT && n < EVICT_LOOK; n++) {
		b = TAILQ_LAST(&lru, id_list);
		if (in_use(b))
			touch(b);
		else
			drop(b);
	}
}

static struct file_id *
add(uint64_t ovl, uint8_t st, int32_t id)
{
	struct file_id *b;

	evict();
	if (count >= BACKING_MAX / 2 || (b = calloc(1, sizeof(*b))) == NULL)
		return NULL;
	waitq_init(&b->q);
	b->ovl = ovl;
	b->state = st;
	b->id = id;
	RB_INSERT(id_tree, &tree, b);
	TAILQ_INSERT_HEAD(&lru, b, lru);
	count++;
	return b;
}

void
passthrough_forget(uint64_t ovl)
{
	struct file_id *b = find(ovl);

	if (b != NULL && !in_use(b))
		drop(b);
}

/* ---- asking ----------------------------------------------------------------------- */

int
passthrough_register(const uint64_t *ovls, uint16_t n)
{
	/* One of them may be among those that are given back. */
	send_closes();
	return numbers_send(role_parent(), IMSG_FUSE_PARENT_BACKING, 1, ovls,
	    n);
}

void
passthrough_new_manifest(void)
{
	size_t i;

	for (i = 0; i < nbarriers; i++)
		if (barriers[i] != BARRIER_OPEN)
			barriers[i] = 0;
}

void
passthrough_tell(void)
{
	struct chan *c = frontend_manifest();
	uint8_t b = (uint8_t)state;

	if (c != NULL &&
	    chan_send(c, IMSG_FUSE_MANIFEST_PASSTHROUGH, 0, -1, &b, 1) == -1 &&
	    errno != EPIPE)
		log_warn("passthrough");
}

static void
give_up(uint32_t error)
{
	log_info("files are not passed through: %s", strerror((int)error));
	state = PASSTHROUGH_NONE;
	passthrough_tell();
}

/* Not of that file alone: here it does not work at all. */
static int
is_final(uint32_t error)
{
	return error == ENOTTY || error == EOPNOTSUPP || error == ENOSYS ||
	    error == ELOOP || error == EINVAL;
}

static void
one_res(const struct backing_res *r, int asked)
{
	struct file_id *b;

	if (r->error != 0 && is_final(r->error) && state == PASSTHROUGH_ON)
		give_up(r->error);
	if (asked && pool_registered(r))
		return;
	if ((b = find(r->ovl)) == NULL) {
		if (r->error != 0)
			return;
		if (asked || (b = add(r->ovl, READY, (int32_t)r->id)) == NULL)
			close_id(r->ovl);
		else
			b->shared = SHARED_MAY; /* the process before knew */
		return;
	}
	if (b->state != ASKED)
		return;
	b->state = r->error == 0 ? READY : FAILED;
	b->id = (int32_t)r->id;
	if (r->error != 0)
		log_debug("overlay file %016llx is not registered: %s",
		    (unsigned long long)r->ovl, strerror((int)r->error));
	waitq_wake(&b->q, 0);
}

/* Whether the kernel keeps what it has for ever nobody knows any more. */
static void
may_be_kept(struct handle *h, void *arg)
{
	struct inode_slot *s = inode_slot(h->inode);
	struct timeval tv = { 0, KEPT_MS * 1000 };

	(void)arg;
	if (s->mode != MODE_PASSTHROUGH || !handle_writes(h))
		return;
	s->untold = s->kept = 1;
	if (!evtimer_pending(&ev_kept, NULL))
		evtimer_add(&ev_kept, &tv);
}

/*
 * What has no file any more is of one that the process before has unlinked and
 * whose registration it did not live to give back: nobody asks for it again,
 * and the kernel keeps the space for it.
 */
void
passthrough_begin(void)
{
	struct file_id *b, *next;
	struct stat st;

	TAILQ_FOREACH_SAFE (b, &lru, lru, next)
		if (b->state == READY && !in_use(b) &&
		    overlay_stat(b->ovl, &st) == -1 && errno == ENOENT)
			drop(b);
	handle_foreach(may_be_kept, NULL);
}

static int
barrier_came(void)
{
	uint32_t id;

	if (nbarriers == 0)
		return -1;
	id = barriers[0];
	memmove(barriers, barriers + 1, --nbarriers * sizeof(barriers[0]));
	if (nbarriers == 0)
		unconfirmed = 0;
	if (id == BARRIER_OPEN)
		waitq_wake(&barrier_q, 0);
	else if (id != 0)
		switch_synced(id);
	return 0;
}

int
passthrough_rules_res(struct chan *c, uint32_t id, struct imsg *imsg,
    struct ibuf *body)
{
	struct backing_res r[BACKING_BATCH];
	uint16_t i, n;

	(void)c;
	(void)imsg;
	if (backing_res_recv(body, r, &n) == -1)
		return -1;
	if (id == BARRIER)
		return n != 0 ? -1 : barrier_came();
	for (i = 0; i < n; i++)
		one_res(&r[i], id != 0);
	return 0;
}

int
passthrough_take(uint64_t ovl, uint32_t id)
{
	if (add(ovl, READY, (int32_t)id) != NULL)
		return 0;
	close_id(ovl);
	return -1;
}

/* ---- which ------------------------------------------------------------------------ */

int
passthrough_on(void)
{
	return state == PASSTHROUGH_ON;
}

/*
 * May a file be passed through that nobody has open?  Its bits of set ids are
 * ours to clear when it is written to; and what is passed through is not held
 * up before the last of the room is gone.
 */
static int
may(struct vn *vn)
{
	return state == PASSTHROUGH_ON && !low && !use_tight() &&
	    content_is_whole(vn) && (vn->mode & (S_ISUID | S_ISGID)) == 0;
}

static void
on_room(int fd, short ev, void *arg)
{
	struct timeval tv = { ROOM_S, 0 };
	int was = low;

	(void)fd;
	(void)ev;
	(void)arg;
	low = overlay_room(0) != 0;
	if (low)
		room_wanted();
	if (low && !was)
		log_warnx("the file system is full but for what is kept: "
			  "files are not passed through until there is room");
	if (low || inode_passthrough() > 0)
		evtimer_add(&ev_room, &tv);
}

static void
watch_room(void)
{
	struct timeval tv = { ROOM_S, 0 };

	if (!evtimer_pending(&ev_room, NULL))
		evtimer_add(&ev_room, &tv);
}

/* A mapping may live from when it was registered before. */
static int
was_mapped(struct vn *vn)
{
	int fd, rc;

	if (!leases)
		return 0;
	if ((fd = overlay_open_file(vn->ovl, O_RDONLY)) == -1)
		return 1;
	rc = passthrough_mapped(vn, vn->ovl, fd);
	close(fd);
	return rc;
}

/* They are closed when a question behind them is answered: 1, and id hears it. */
static int
ask_behind_closes(uint32_t id)
{
	send_closes();
	if (!unconfirmed || nbarriers == BARRIERS ||
	    numbers_send(role_parent(), IMSG_FUSE_PARENT_BACKING, BARRIER, NULL,
		0) == -1)
		return 0;
	barriers[nbarriers++] = id;
	return 1;
}

/*
 * Of one that would rather not be passed through: 0, or 1 where a mapping that
 * is passed through lives, with which no other way of opening agrees; E_WAIT.
 * Nobody knows of one that is registered, which is open for writing: it is given
 * back before.
 */
static int
must(struct vn *vn, struct file_id **b)
{
	if (state != PASSTHROUGH_ON || !content_is_whole(vn) ||
	    now.opcode == FUSE_CREATE)
		return 0;
	if (*b != NULL && (*b)->state == ASKED)
		return wait_on(&(*b)->q);
	if (*b != NULL && (*b)->state == READY) {
		if ((*b)->shared == 0)
			return 0;
		if ((*b)->shared & SHARED_WAS)
			return 1;
		drop(*b);
		*b = NULL;
		if (ask_behind_closes(BARRIER_OPEN))
			return wait_on(&barrier_q);
	}
	return was_mapped(vn) != 0;
}

int
passthrough_choose(struct vn *vn, uint32_t flags, int32_t *id)
{
	int reads = (flags & O_ACCMODE) == O_RDONLY && !(flags & O_TRUNC);
	struct file_id *b = vn->ovl != 0 ? find(vn->ovl) : NULL;
	uint8_t mode = inode_slot(vn->slot)->mode;
	int shared, rc;

	*id = 0;
	if (mode == MODE_PASSTHROUGH) {
		if (b == NULL || b->state != READY) {
			log_warnx("node %u: its registration is lost",
			    vn->slot);
			return EIO;
		}
	} else {
		if (mode == MODE_PLAIN)
			return 0;
		/* The writes of the latter would come to us, and splice(2) read
		   it through pages that nobody drops. */
		if ((!may(vn) ||
			((flags & (O_APPEND | O_DSYNC)) &&
			    (flags & O_ACCMODE) == O_RDWR)) &&
		    (rc = must(vn, &b)) != 1)
			return rc;
		if (b == NULL) {
			/* A new one that the pool had no file for. */
			if (now.opcode == FUSE_CREATE)
				return 0;
			/* What a mapping stores shows through it alone. */
			shared = was_mapped(vn);
			if (reads && vn->size <= SMALL_BYTES && !shared)
				return 0;
			if ((b = add(vn->ovl, ASKED, 0)) == NULL)
				return 0;
			b->shared = shared ? SHARED_MAY | SHARED_WAS : 0;
			if (passthrough_register(&vn->ovl, 1) == -1) {
				b->state = FAILED;
				return 0;
			}
		}
		if (b->state == ASKED)
			return wait_on(&b->q);
		if (b->state == FAILED)
			return 0;
		watch_room();
	}
	touch(b);
	if ((flags & O_ACCMODE) == O_RDWR)
		b->shared |= SHARED_MAY;
	*id = b->id;
	return 0;
}

int
passthrough_writers(const struct vn *vn)
{
	return vn->slot != 0 &&
	    inode_slot(vn->slot)->mode == MODE_PASSTHROUGH &&
	    inode_writers(vn->slot) > 0;
}

int
passthrough_let_go(uint32_t id)
{
	struct file_id *b, *next;

	TAILQ_FOREACH_SAFE (b, &lru, lru, next)
		if (b->shared && !in_use(b)) {
			drop(b);
		}
	return ask_behind_closes(id);
}

/* What is registered is open for writing: it was looked at before. */
int
passthrough_mapped(struct vn *vn, uint64_t ovl, int fd)
{
	struct file_id *b = find(ovl);

	if (!leases)
		return 0;
	if (b != NULL && b->state != FAILED)
		return b->shared != 0;
	if (vn != NULL && vn->fd_local)
		overlay_fd_drop(vn);
	return overlay_mapped(fd);
}

/* An open handle holds the inode. */
static void
forget_kept(struct handle *h, void *arg)
{
	struct inode_slot *s = inode_slot(h->inode);

	(void)arg;
	if (s->kept && handle_writes(h)) {
		s->kept = 0;
		request_forget_attr(inode_id(h->inode));
	}
}

static void
on_kept(int fd, short ev, void *arg)
{
	(void)fd;
	(void)ev;
	(void)arg;
	handle_foreach(forget_kept, NULL);
}

/* Most are closed before: an open would cost a GETATTR more each time. */
void
passthrough_attr_kept(struct vn *vn)
{
	struct timeval tv = { 0, KEPT_MS * 1000 };

	inode_slot(vn->slot)->kept = 1;
	if (!evtimer_pending(&ev_kept, NULL))
		evtimer_add(&ev_kept, &tv);
}

double
passthrough_attr_timeout(const struct vn *vn)
{
	return passthrough_writers(vn) ? ATTR_TIMEOUT : FOREVER;
}

void
passthrough_init(int wanted, const uint8_t *init, size_t len, int overlaid)
{
	leases = overlay_leases();
	/* It comes to who has a lease (passthrough_mapped). */
	if (signal(SIGIO, SIG_IGN) == SIG_ERR)
		fatal("signal");
	evtimer_set(&ev_closes, on_closes, NULL);
	evtimer_set(&ev_room, on_room, NULL);
	evtimer_set(&ev_kept, on_kept, NULL);
	state = PASSTHROUGH_OFF;
	if (wanted && !leases) {
		log_info("files are not passed through: the file system does "
			 "not tell who has them mapped");
		state = PASSTHROUGH_NONE;
	} else if (wanted)
		state = request_want_passthrough(init, len, overlaid ? 2 : 1)
		    ? PASSTHROUGH_ON
		    : PASSTHROUGH_NONE;
}
