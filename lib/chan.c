/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * chan: messages between two processes of the suite, checked by one table
 * before any handler sees them.  In every process.
 */
#include <sys/socket.h>
#include <errno.h>
#include <event.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/chan.h"
#include "lib/log.h"
#include "lib/monotime.h"
#include "lib/proc.h"

/* Who does not read that much, and goes on to ask, is broken or hostile. */
#define QUEUE_MAX 65536
#define QUEUE_BYTES_MAX (128 * 1024 * 1024)
#define QUEUE_FDS_MAX 1024 /* each may be a file in memory */

/* After EMFILE, ENOMEM and ETOOMANYREFS: others may have closed some by then. */
#define RETRY_MS 50

struct chan {
	struct imsgbuf buf;
	struct chan_ops ops;
	void *arg;
	struct event rev;
	struct event wev;
	struct event later; /* reads what is buffered, or tries again */
	int fd;
	uint32_t instance;
	uint8_t from;
	int paused;
	int no_room; /* a descriptor or memory was lacking at the last read */
	int eof;     /* nothing more will come */
	int wdead;   /* nothing more can be sent */
	int full;    /* its peer does not read */
	int busy;    /* handlers of this channel on the stack */
	int freed;   /* chan_free() was called by one of them */
};

static void chan_on_read(int, short, void *);
static void chan_on_write(int, short, void *);
static void chan_on_later(int, short, void *);

struct chan *
chan_new(int fd, uint8_t from, uint32_t instance, size_t max_body,
    const struct chan_ops *ops, void *arg)
{
	struct chan *c;
	int flags;

	if (max_body > UINT32_MAX) {
		errno = ERANGE;
		return NULL;
	}
	if ((flags = fcntl(fd, F_GETFL)) == -1 ||
	    fcntl(fd, F_SETFL, flags | O_NONBLOCK) == -1)
		return NULL;
	if ((c = calloc(1, sizeof(*c))) == NULL)
		return NULL;
	if (imsgbuf_init(&c->buf, fd) == -1)
		goto fail;
	imsgbuf_allow_fdpass(&c->buf);
	if (imsgbuf_set_maxsize(&c->buf, (uint32_t)max_body) == -1)
		goto fail_buf;
	c->fd = fd;
	c->from = from;
	c->instance = instance;
	c->ops = *ops;
	c->arg = arg;
	event_set(&c->rev, fd, EV_READ | EV_PERSIST, chan_on_read, c);
	event_set(&c->wev, fd, EV_WRITE, chan_on_write, c);
	evtimer_set(&c->later, chan_on_later, c);
	if (event_add(&c->rev, NULL) == -1) {
		errno = ENOMEM;
		goto fail_buf;
	}
	return c;

fail_buf:
	imsgbuf_clear(&c->buf);
fail:
	free(c);
	return NULL;
}

void
chan_free(struct chan *c)
{
	if (c == NULL)
		return;
	if (!c->freed) {
		c->freed = 1;
		event_del(&c->rev);
		event_del(&c->wev);
		event_del(&c->later);
		imsgbuf_clear(&c->buf);
		close(c->fd);
		c->fd = -1;
	}
	if (c->busy == 0)
		free(c);
}

uint8_t
chan_role(const struct chan *c)
{
	return c->from;
}

uint32_t
chan_instance(const struct chan *c)
{
	return c->instance;
}

void *
chan_arg(const struct chan *c)
{
	return c->arg;
}

/* ---- receiving ----------------------------------------------------------- */

static void
run_later(struct chan *c, int ms)
{
	struct timeval tv = { 0, ms * 1000 };

	/* Without memory for a timer: at once, until there is some. */
	if (evtimer_add(&c->later, &tv) == -1)
		event_active(&c->later, EV_TIMEOUT, 1);
}

/* The caller counts as busy, and looks at freed afterwards. */
static void
chan_end(struct chan *c)
{
	if (c->freed)
		return;
	if (c->ops.on_close != NULL)
		c->ops.on_close(c, c->arg);
	if (!c->freed)
		chan_free(c);
}

static void chan_violation(struct chan *, const char *, ...)
    __attribute__((format(printf, 2, 3)));

static void
chan_violation(struct chan *c, const char *fmt, ...)
{
	char why[256], what[320];
	va_list ap;

	if (c->freed)
		return;
	va_start(ap, fmt);
	if (vsnprintf(why, sizeof(why), fmt, ap) < 0)
		why[0] = '\0';
	va_end(ap);
	snprintf(what, sizeof(what), "channel to %s %u: %s", role_name(c->from),
	    c->instance, why);
	if (c->ops.on_violation == NULL)
		fatalx("%s", what);
	c->ops.on_violation(c, what, c->arg);
	chan_end(c);
}

static const struct msg_rule *
chan_rule(const struct chan *c, uint32_t type)
{
	const struct msg_rule *r = c->ops.rules;
	size_t i;

	for (i = 0; i < c->ops.nrules; i++, r++)
		if (r->type == type && r->from == c->from)
			return r;
	return NULL;
}

static void
chan_dispatch(struct chan *c, struct imsg *imsg)
{
	const struct msg_rule *r;
	struct ibuf body;
	uint32_t type = imsg_get_type(imsg);
	size_t len = imsg_get_len(imsg);
	int has_fd = imsg->buf != NULL && ibuf_fd_avail(imsg->buf);

	if ((r = chan_rule(c, type)) == NULL) {
		chan_violation(c, "message %u is not allowed", type);
		return;
	}
	if (len < r->min || len > r->max) {
		chan_violation(c, "%s: %zu bytes, not %zu to %zu", r->name, len,
		    r->min, r->max);
		return;
	}
	if (has_fd && r->fd == CHAN_NOFD) {
		chan_violation(c, "%s: with a descriptor", r->name);
		return;
	}
	if (!has_fd && r->fd == CHAN_FD) {
		chan_violation(c, "%s: without a descriptor", r->name);
		return;
	}
	if (imsg_get_ibuf(imsg, &body) == -1) {
		chan_violation(c, "%s: no body", r->name);
		return;
	}
	if (r->handler(c, imsg_get_id(imsg), imsg, &body) == -1)
		chan_violation(c, "%s: malformed", r->name);
}

/* Handles what is complete in the buffer, then the end if it was seen. */
static void
chan_pump(struct chan *c)
{
	struct imsg imsg;
	int n;

	while (!c->freed && !c->paused) {
		n = imsgbuf_get(&c->buf, &imsg);
		if (n == -1 && errno == ENOMEM) {
			run_later(c, RETRY_MS);
			return;
		}
		if (n == -1) {
			chan_violation(c, "%s",
			    errno == ERANGE ? "message is too long"
					    : "broken message");
			return;
		}
		if (n == 0) {
			if (c->eof)
				chan_end(c);
			return;
		}
		chan_dispatch(c, &imsg);
		imsg_free(&imsg);
	}
}

static void
chan_enter(struct chan *c)
{
	c->busy++;
}

static void
chan_leave(struct chan *c)
{
	if (--c->busy == 0 && c->freed)
		chan_free(c);
}

/* Reads once, and handles what came. */
static void
chan_receive(struct chan *c)
{
	int n;

	n = imsgbuf_read(&c->buf);
	if (n == -1 && (errno == EMFILE || errno == ENOMEM)) {
		/* The socket stays readable: do not spin. */
		if (!c->no_room)
			log_warn("channel to %s %u", role_name(c->from),
			    c->instance);
		c->no_room = 1;
		event_del(&c->rev);
		run_later(c, RETRY_MS);
	} else if (n <= 0) {
		if (n == -1 && errno != ECONNRESET && errno != EPIPE)
			log_warn("channel to %s %u", role_name(c->from),
			    c->instance);
		c->eof = 1;
		event_del(&c->rev);
	} else
		c->no_room = 0;
	chan_pump(c);
}

static void
chan_on_read(int fd, short ev, void *arg)
{
	struct chan *c = arg;

	(void)fd;
	(void)ev;
	chan_enter(c);
	chan_receive(c);
	chan_leave(c);
}

/* 1: something was there. */
static int
receive_more(struct chan *c)
{
	struct pollfd pfd = { .fd = c->fd, .events = POLLIN };

	if (c->freed || c->eof || c->paused || poll(&pfd, 1, 0) != 1)
		return 0;
	chan_receive(c);
	return 1;
}

int
chan_more(struct chan *c)
{
	int r;

	chan_enter(c);
	r = receive_more(c);
	chan_leave(c);
	return r;
}

void
chan_drain(struct chan *c)
{
	chan_enter(c);
	chan_pump(c);
	while (receive_more(c))
		;
	chan_leave(c);
}

void
chan_pause(struct chan *c)
{
	if (c->freed || c->paused)
		return;
	c->paused = 1;
	event_del(&c->rev);
}

void
chan_resume(struct chan *c)
{
	if (c->freed || !c->paused)
		return;
	c->paused = 0;
	/* Not here: the caller may be in the middle of something. */
	run_later(c, 0);
}

/* ---- sending ------------------------------------------------------------- */

static void
chan_write(struct chan *c)
{
	if (c->freed || c->wdead)
		return;
	if (imsgbuf_write(&c->buf) == -1) {
		if (errno == ETOOMANYREFS) {
			run_later(c, RETRY_MS);
			return;
		}
		/* First, for the line may be for this channel.  What the peer
		   had sent before can still be read: the end is seen there. */
		c->wdead = 1;
		if (errno != EPIPE && errno != ECONNRESET)
			log_warn("channel to %s %u", role_name(c->from),
			    c->instance);
		return;
	}
	if (imsgbuf_queuelen(&c->buf) > 0 && event_add(&c->wev, NULL) == -1)
		run_later(c, RETRY_MS);
}

static void
chan_on_write(int fd, short ev, void *arg)
{
	(void)fd;
	(void)ev;
	chan_write(arg);
}

static void
chan_on_later(int fd, short ev, void *arg)
{
	struct chan *c = arg;

	(void)fd;
	(void)ev;
	chan_enter(c);
	if (c->full)
		chan_violation(c, "%u messages are not read",
		    imsgbuf_queuelen(&c->buf));
	if (!c->freed && !c->paused && !c->eof &&
	    event_add(&c->rev, NULL) == -1)
		run_later(c, RETRY_MS);
	chan_write(c);
	chan_pump(c);
	chan_leave(c);
}

/* Something is queued: write at once, unless older messages wait already. */
static void
chan_kick(struct chan *c)
{
	if (c->ops.on_violation != NULL && !c->full &&
	    (imsgbuf_queuelen(&c->buf) > QUEUE_MAX ||
		imsgbuf_queuefds(&c->buf) > QUEUE_FDS_MAX ||
		imsgbuf_queuebytes(&c->buf) > QUEUE_BYTES_MAX)) {
		/* Not here: the caller may be in the middle of something. */
		c->full = 1;
		run_later(c, 0);
	}
	if (!event_pending(&c->wev, EV_WRITE, NULL))
		chan_write(c);
}

int
chan_send(struct chan *c, uint32_t type, uint32_t id, int fd, const void *data,
    size_t len)
{
	if (c->freed || c->wdead || c->full) {
		errno = EPIPE;
		return -1;
	}
	if (imsg_compose(&c->buf, type, id, 0, fd, data, len) == -1)
		return -1;
	chan_kick(c);
	return 0;
}

int
chan_send_ibuf(struct chan *c, uint32_t type, uint32_t id, int fd,
    struct ibuf *body)
{
	int ret;

	if (c->freed || c->wdead || c->full) {
		ibuf_free(body);
		errno = EPIPE;
		return -1;
	}
	/* imsg_compose_ibuf() would take the descriptor of a failure too. */
	if (body == NULL || fd != -1) {
		ret = chan_send(c, type, id, fd,
		    body != NULL ? ibuf_data(body) : NULL,
		    body != NULL ? ibuf_size(body) : 0);
		ibuf_free(body);
		return ret;
	}
	if (imsg_compose_ibuf(&c->buf, type, id, 0, body) == -1)
		return -1;
	chan_kick(c);
	return 0;
}

static struct imsgbuf *
writable(const struct chan *c)
{
	union {
		const struct imsgbuf *in;
		struct imsgbuf *out;
	} b = { &c->buf };

	return b.out;
}

uint32_t
chan_queued(const struct chan *c)
{
	return c->freed ? 0 : imsgbuf_queuelen(writable(c));
}

uint32_t
chan_queued_fds(const struct chan *c)
{
	return c->freed ? 0 : imsgbuf_queuefds(writable(c));
}

int
chan_flush(struct chan *c, int ms)
{
	monotime_t end = monotime_add_ms(monotime_now(), ms);
	struct pollfd pfd = { .fd = c->fd, .events = POLLOUT };
	int64_t left;

	while (!c->freed && !c->wdead && imsgbuf_queuelen(&c->buf) > 0) {
		left = monotime_diff_ms(end, monotime_now());
		if (left < 0 ||
		    (poll(&pfd, 1, (int)left + 1) == -1 && errno != EINTR)) {
			errno = ETIMEDOUT;
			return -1;
		}
		chan_write(c);
	}
	if (c->freed || c->wdead) {
		errno = EPIPE;
		return -1;
	}
	return 0;
}
