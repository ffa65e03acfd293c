/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * request: reading, parking and answering of FUSE requests.  In fuse.
 */
#include <sys/uio.h>
#include <errno.h>
#include <event.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/log.h"
#include "lib/proc.h"
#include "sailvold/given.h"
#include "sailvold/request.h"
#include "sailvold/tally.h"
#include "sailvold/wakeful.h"

#define MAX_WRITE (1024 * 1024)
#define READ_BYTES (MAX_WRITE + 8192)
#define BURST 64 /* requests in one go of the loop */
#define UNIQUE_RESENT ((uint64_t)1 << 63)
#define NOTIFY_RESEND 7 /* FUSE_NOTIFY_RESEND, of a newer linux/fuse.h */
#define INIT2_PASSTHROUGH ((uint32_t)1 << 5) /* FUSE_PASSTHROUGH >> 32 */

struct park {
	TAILQ_ENTRY(park) link; /* of its queue, or of those that are ready */
	TAILQ_ENTRY(park) all;
	struct waitq *q; /* NULL: ready */
	uint8_t *raw;
	size_t len;
	uint64_t unique; /* as the kernel has it */
	int error;
	int roomed;
	int again;
	monotime_t since; /* the first time */
};

struct request now;
static TAILQ_HEAD(, park) all = TAILQ_HEAD_INITIALIZER(all);
static struct park_list ready = TAILQ_HEAD_INITIALIZER(ready);
static unsigned int nparked, nresent; /* of these, sent again */
static struct fuse_session *se;
static int session_fd = -1;
static uint8_t *buffer;
static struct park *running; /* the park that `now' came from */
static struct event ev_read, ev_paused, ev_ready;
static uint64_t init_unique;
static int init_answered, swallow_init, paused;
static uint32_t init_flags, stack_depth;
static abandoned_cb on_abandoned;
static void (*on_resent)(void); /* the kernel is to send some, or has */
static no_room_cb on_no_room;

/* ---- waiting ------------------------------------------------------------------ */

void
waitq_init(struct waitq *q)
{
	TAILQ_INIT(&q->parks);
}

int
waitq_empty(const struct waitq *q)
{
	return TAILQ_EMPTY(&q->parks);
}

int
wait_on(struct waitq *q)
{
	now.wait = q;
	return E_WAIT;
}

static void
kick(void)
{
	struct timeval tv = { 0, 0 };

	if (!event_pending(&ev_ready, EV_TIMEOUT, NULL))
		evtimer_add(&ev_ready, &tv);
}

void
waitq_wake(struct waitq *q, int error)
{
	struct park *p;

	while ((p = TAILQ_FIRST(&q->parks)) != NULL) {
		TAILQ_REMOVE(&q->parks, p, link);
		p->q = NULL;
		p->error = error;
		TAILQ_INSERT_TAIL(&ready, p, link);
		kick();
	}
}

void
request_on_abandoned(abandoned_cb f)
{
	on_abandoned = f;
}

void
request_on_resent(void (*f)(void))
{
	on_resent = f;
}

/*
 * The device is empty, and what the kernel sent again stood at its front: none of
 * that is still to be looked at.
 */
static void
none_resent(void)
{
	void (*f)(void) = on_resent;

	if (f == NULL || nresent > 0)
		return;
	on_resent = NULL;
	f();
}

unsigned int
request_parked(void)
{
	return nparked;
}

/* An answer without a body, past libfuse, which has forgotten the request. */
static void
answer_raw(uint64_t unique, int error)
{
	struct fuse_out_header h = {
		.len = sizeof(h),
		.error = -error,
		.unique = unique,
	};

	if (write(session_fd, &h, sizeof(h)) == -1 && errno != ENOENT)
		log_warn("answer");
}

void
request_copy_free(struct park *p)
{
	if (p == NULL)
		return;
	free(p->raw);
	free(p);
}

static void
park_free(struct park *p)
{
	TAILQ_REMOVE(&all, p, all);
	nparked--;
	nresent -= (p->unique & UNIQUE_RESENT) != 0;
	request_copy_free(p);
}

/* Of what is done now; NULL. */
static struct park *
park_new(void)
{
	struct park *p;

	if ((p = calloc(1, sizeof(*p))) == NULL ||
	    (p->raw = malloc(now.len)) == NULL) {
		free(p);
		return NULL;
	}
	memcpy(p->raw, now.raw, now.len);
	p->len = now.len;
	p->since = monotime_now();
	p->unique =
	    ((const struct fuse_in_header *)(const void *)now.raw)->unique;
	return p;
}

static void
park_add(struct park *p)
{
	TAILQ_INSERT_TAIL(&all, p, all);
	nparked++;
	nresent += (p->unique & UNIQUE_RESENT) != 0;
}

static void
park(fuse_req_t req)
{
	struct park *p = running;

	if (now.wait == NULL)
		fatalx("request %u waits for nothing", now.opcode);
	if (p == NULL) {
		if ((p = park_new()) == NULL) {
			fuse_reply_err(req, ENOMEM);
			return;
		}
		park_add(p);
	}
	running = NULL; /* it lives on */
	p->q = now.wait;
	p->error = 0;
	p->roomed = now.roomed;
	TAILQ_INSERT_TAIL(&p->q->parks, p, link);
	fuse_reply_none(req);
}

void
request_on_no_room(no_room_cb f)
{
	on_no_room = f;
}

/* What failed has changed nothing: it may be done again when there is room. */
static int
room_comes(void)
{
	struct waitq *q;

	if (on_no_room == NULL || (q = on_no_room(&now.roomed)) == NULL)
		return 0;
	(void)wait_on(q);
	return 1;
}

void
request_fail(fuse_req_t req, int error)
{
	if (error == E_WAIT ||
	    ((error == ENOSPC || error == EDQUOT) && room_comes()))
		park(req);
	else
		fuse_reply_err(req, error);
}

struct park *
request_copy(void)
{
	struct park *p;

	if (now.again || (p = park_new()) == NULL)
		return NULL;
	p->again = 1;
	p->roomed = now.roomed;
	return p;
}

void
request_again(fuse_req_t req, struct park *p)
{
	park_add(p);
	TAILQ_INSERT_TAIL(&ready, p, link);
	kick();
	fuse_reply_none(req);
}

/* ---- doing ------------------------------------------------------------------------ */

const void *
request_body(size_t len)
{
	if (now.len < sizeof(struct fuse_in_header) + len)
		return NULL;
	return now.raw + sizeof(struct fuse_in_header);
}

static void
interrupt(const uint8_t *raw, size_t len)
{
	struct fuse_interrupt_in in;
	struct waitq *q;
	struct park *p;

	if (len < sizeof(struct fuse_in_header) + sizeof(in))
		return;
	memcpy(&in, raw + sizeof(struct fuse_in_header), sizeof(in));
	TAILQ_FOREACH (p, &all, all)
		if (p->unique == in.unique)
			break;
	if (p == NULL || p == running)
		return; /* it is being answered */
	q = p->q;
	TAILQ_REMOVE(q != NULL ? &q->parks : &ready, p, link);
	answer_raw(p->unique, EINTR);
	park_free(p);
	if (q != NULL && waitq_empty(q) && on_abandoned != NULL)
		on_abandoned(q);
}

/* Of the others the kernel sends one when it likes. */
static int
is_waited_for(uint32_t opcode)
{
	return opcode != FUSE_FORGET && opcode != FUSE_BATCH_FORGET &&
	    opcode != FUSE_RELEASE && opcode != FUSE_RELEASEDIR;
}

static void
process(uint8_t *raw, size_t len, struct park *from)
{
	struct fuse_in_header h;
	struct fuse_buf b;

	if (len < sizeof(h))
		return;
	memcpy(&h, raw, sizeof(h));
	if (from == NULL)
		tally_request(h.opcode);
	if (h.opcode == FUSE_INTERRUPT) {
		interrupt(raw, len);
		return;
	}
	memset(&now, 0, sizeof(now));
	now.raw = raw;
	now.len = len;
	now.unique = h.unique & ~UNIQUE_RESENT;
	now.resent = (h.unique & UNIQUE_RESENT) != 0;
	now.opcode = h.opcode;
	now.woken = from != NULL;
	now.error = from != NULL ? from->error : 0;
	now.roomed = from != NULL ? from->roomed : 0;
	now.again = from != NULL ? from->again : 0;
	if (from != NULL)
		now.since = from->since;
	running = from;
	memset(&b, 0, sizeof(b));
	b.mem = raw;
	b.size = len;
	given_begin(now.unique, now.resent);
	fuse_session_process_buf(se, &b);
	given_end();
	if (running != NULL)
		park_free(running);
	running = NULL;
	if (is_waited_for(h.opcode))
		wakeful_request();
}

static void
on_ready(int fd, short ev, void *arg)
{
	struct park *p;
	int n;

	(void)fd;
	(void)ev;
	(void)arg;
	for (n = 0; n < BURST && !paused && (p = TAILQ_FIRST(&ready)) != NULL;
	     n++) {
		TAILQ_REMOVE(&ready, p, link);
		process(p->raw, p->len, p);
	}
	if (!paused && !TAILQ_EMPTY(&ready))
		kick();
}

static void mount_is_gone(void) __attribute__((noreturn));

static void
mount_is_gone(void)
{
	log_debug("the mount is gone");
	role_end(0);
}

static void
on_read(int fd, short ev, void *arg)
{
	ssize_t n;
	int i;

	(void)ev;
	(void)arg;
	for (i = 0; i < BURST;) {
		n = read(fd, buffer, READ_BYTES);
		if (n > 0) {
			process(buffer, (size_t)n, NULL);
			i++;
			continue;
		}
		if (n == -1 && (errno == EINTR || errno == ENOENT))
			continue;
		if (n == -1 && errno == EAGAIN) {
			none_resent();
			if (wakeful_look())
				continue;
			return;
		}
		if (n == -1 && errno != ENODEV)
			fatal("fuse device");
		mount_is_gone();
	}
}

/* ---- the session --------------------------------------------------------------------- */

static ssize_t
io_read(int fd, void *buf, size_t len, void *arg)
{
	(void)arg;
	return read(fd, buf, len);
}

/* What this kernel offers and libfuse does not know of is added to INIT. */
static void
patch_init(struct iovec *iov, int count)
{
	struct fuse_init_out *out;

	if (count < 2 || iov[1].iov_len < sizeof(*out))
		return;
	out = iov[1].iov_base;
	out->flags |= init_flags & (FUSE_HANDLE_KILLPRIV_V2 | FUSE_INIT_EXT);
	out->max_background = out->congestion_threshold = 65535;
	if (stack_depth != 0) {
		out->flags |= FUSE_INIT_EXT;
		out->flags2 |= INIT2_PASSTHROUGH;
		/* max_stack_depth: of a newer linux/fuse.h, behind flags2. */
		out->unused[0] = stack_depth;
	}
}

int
request_want_passthrough(const uint8_t *raw, size_t len, uint32_t depth)
{
	const struct fuse_init_in *in =
	    (const void *)(raw + sizeof(struct fuse_in_header));

	if (len < sizeof(struct fuse_in_header) + sizeof(*in) ||
	    !(in->flags & FUSE_INIT_EXT) || !(in->flags2 & INIT2_PASSTHROUGH))
		return 0;
	stack_depth = depth;
	return 1;
}

void
request_forget_attr(uint64_t nodeid)
{
	struct {
		struct fuse_out_header h;
		struct fuse_notify_inval_inode_out out;
	} m;

	memset(&m, 0, sizeof(m));
	m.h.len = sizeof(m);
	m.h.error = FUSE_NOTIFY_INVAL_INODE;
	m.out.ino = nodeid;
	m.out.off = -1; /* attributes alone: pages are waited for */
	if (write(session_fd, &m, sizeof(m)) == -1 && errno != ENOENT &&
	    errno != ENODEV)
		log_warn("attributes of node %llu", (unsigned long long)nodeid);
}

int
request_store(uint64_t nodeid, const void *data, size_t len)
{
	struct {
		struct fuse_out_header h;
		struct fuse_notify_store_out out;
	} m;
	struct iovec iov[2] = { { &m, sizeof(m) },
		{ (void *)(uintptr_t)data, len } };

	memset(&m, 0, sizeof(m));
	m.h.len = (uint32_t)(sizeof(m) + len);
	m.h.error = FUSE_NOTIFY_STORE;
	m.out.nodeid = nodeid;
	m.out.size = (uint32_t)len;
	return writev(session_fd, iov, 2) == -1 ? -1 : 0;
}

static ssize_t
io_writev(int fd, struct iovec *iov, int count, void *arg)
{
	const struct fuse_out_header *h = iov[0].iov_base;

	(void)arg;
	if (!init_answered && h->unique == init_unique) {
		init_answered = 1;
		if (h->error != 0)
			log_warnx("the kernel's INIT is refused");
		if (swallow_init)
			return (ssize_t)h->len;
		if (h->error == 0)
			patch_init(iov, count);
	}
	return writev(fd, iov, count);
}

static int
ask_resend(void)
{
	struct fuse_out_header h = {
		.len = sizeof(h),
		.error = NOTIFY_RESEND,
	};

	return write(session_fd, &h, sizeof(h)) == -1 ? -1 : 0;
}

static int
feed_init(const uint8_t *init, size_t len)
{
	const struct fuse_in_header *h = (const void *)init;
	const struct fuse_init_in *in =
	    (const void *)(init + sizeof(struct fuse_in_header));
	uint8_t copy[1024];
	struct fuse_buf b;

	if (len < sizeof(*h) + 16 || len > sizeof(copy) ||
	    h->opcode != FUSE_INIT || h->len != len) {
		errno = EBADMSG;
		return -1;
	}
	init_unique = h->unique;
	init_flags = in->flags;
	memcpy(copy, init, len);
	memset(&b, 0, sizeof(b));
	b.mem = copy;
	b.size = len;
	fuse_session_process_buf(se, &b);
	if (!init_answered) {
		errno = EPROTO;
		return -1;
	}
	return 0;
}

/*
 * While nothing is read, an umount shows in an error that epoll(7) tells of
 * whatever it was asked for; for libevent it must be asked for something, which a
 * session is always ready for: by edges, that is once.
 */
static void
on_paused(int fd, short ev, void *arg)
{
	struct pollfd pfd = { .fd = fd };

	(void)ev;
	(void)arg;
	if (poll(&pfd, 1, 0) == 1 && (pfd.revents & (POLLERR | POLLHUP)))
		mount_is_gone();
}

/* There may be nothing to read, which on_read() has to see. */
static void
look(void)
{
	if (on_resent != NULL)
		event_active(&ev_read, EV_READ, 0);
}

void
request_pause(int on)
{
	struct event *off = on ? &ev_read : &ev_paused;

	if (on == paused)
		return;
	if (event_del(off) == -1 ||
	    event_add(on ? &ev_paused : &ev_read, NULL) == -1)
		fatalx("requests");
	paused = on;
	if (!on) {
		kick();
		look();
	}
}

int
request_start(int fd, const struct fuse_lowlevel_ops *ops, const uint8_t *init,
    size_t init_len, int takeover)
{
	static char name[] = "sailvold";
	static char *argv[] = { name, NULL };
	struct fuse_args args = FUSE_ARGS_INIT(1, argv);
	const struct fuse_custom_io io = {
		.writev = io_writev,
		.read = io_read,
	};
	int flags;

	if ((flags = fcntl(fd, F_GETFL)) == -1 ||
	    fcntl(fd, F_SETFL, flags | O_NONBLOCK) == -1)
		return -1;
	if ((buffer = malloc(READ_BYTES)) == NULL)
		return -1;
	se = fuse_session_new(&args, ops, sizeof(*ops), NULL);
	if (se == NULL || fuse_session_custom_io(se, &io, fd) != 0) {
		errno = EINVAL;
		return -1;
	}
	session_fd = fd;
	swallow_init = takeover;
	evtimer_set(&ev_ready, on_ready, NULL);
	event_set(&ev_read, fd, EV_READ | EV_PERSIST, on_read, NULL);
	event_set(&ev_paused, fd, EV_WRITE | EV_ET | EV_PERSIST, on_paused,
	    NULL);
	if (feed_init(init, init_len) == -1)
		return -1;
	if (takeover && ask_resend() == -1)
		log_warn("requests in flight cannot be asked for again");
	if (event_add(&ev_read, NULL) == -1)
		return -1;
	look();
	return 0;
}
