/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * control_client: clients of the control socket, each a stream of lines; their
 * sockets come accepted from the parent.  In manifest.
 *
 * A line of root's that may be one for the parent stays in the socket while it
 * is worked on: the parent reads it there itself (warrant.h).
 */
#include <sys/socket.h>
#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/log.h"
#include "sailvold/asker.h"

#define CLIENTS_MAX 512
#define CLIENTS_UID_MAX 64
#define OUTPUT_HIGH (256 * 1024) /* no progress and no next request beyond it */
#define OUTPUT_LOW (64 * 1024)
#define IDLE_S 600
#define PIECES_S 10 /* for the rest of a line of root's */

struct client {
	TAILQ_ENTRY(client) link;
	struct bufferevent *bev; /* its socket, and what it is answered */
	/* Its socket once more: libevent tells of what comes anew (EV_ET), not
	   of what is left there, and of one descriptor in one way alone. */
	int in_fd;
	struct event *readable, *late;
	struct evbuffer *in; /* read, and not worked on yet */
	size_t line;   /* bytes of the line worked on that are left there */
	int in_pieces; /* PIECES_S are over */
	int gone;
	struct hash ticket;
	uint32_t uid, gid, pid;
	uint32_t *groups; /* supplementary ones; owned */
	size_t ngroups;
	struct asker *asker; /* of the request that is worked on */
	int closing;         /* ends when its output is written */
	int eof;             /* it sends nothing more, and may still read */
	int reading;
};
static TAILQ_HEAD(, client) clients = TAILQ_HEAD_INITIALIZER(clients);

/* What it has of its own. */
static void
client_drop(struct client *c)
{
	if (c->readable != NULL)
		event_free(c->readable);
	if (c->late != NULL)
		event_free(c->late);
	if (c->in_fd != -1)
		close(c->in_fd);
	if (c->in != NULL)
		evbuffer_free(c->in);
	if (c->bev != NULL)
		bufferevent_free(c->bev); /* and the socket */
	free(c->groups);
	free(c);
}

static void
client_free(struct client *c)
{
	if (c->asker != NULL)
		asker_gone(c->asker);
	TAILQ_REMOVE(&clients, c, link);
	client_drop(c);
}

int
client_in_group(const struct client *c, uint32_t gid)
{
	size_t i;

	for (i = 0; i < c->ngroups; i++)
		if (c->groups[i] == gid)
			return 1;
	return c->gid == gid;
}

static void
client_close_later(struct client *c)
{
	c->closing = 1;
	event_del(c->readable);
	evtimer_del(c->late);
	bufferevent_setwatermark(c->bev, EV_WRITE, 0, 0);
	if (evbuffer_get_length(bufferevent_get_output(c->bev)) == 0)
		client_free(c);
}

/* Who does not read what was answered is asked nothing more. */
static int
client_is_full(const struct client *c)
{
	return evbuffer_get_length(bufferevent_get_output(c->bev)) >
	    OUTPUT_HIGH;
}

static short
socket_state(const struct client *c)
{
	struct pollfd pfd = { .fd = c->in_fd, .events = POLLRDHUP };

	return poll(&pfd, 1, 0) == -1 ? POLLERR : pfd.revents;
}

/* Of what root sent: whole lines, up to the first that may be one for the
   parent.  Another that looks like one is only read later. */
static size_t
to_take(const struct client *c, const char *buf, size_t n)
{
	const char *nl = memchr(buf, '\n', n);
	size_t at = 0;

	if (evbuffer_get_length(c->in) > 0) /* the rest of it */
		return nl != NULL ? (size_t)(nl - buf) + 1 : n;
	if (nl == NULL && (c->in_pieces || n > CONTROL_LINE_MAX))
		return n;
	for (; nl != NULL; nl = memchr(buf + at, '\n', n - at)) {
		size_t len = (size_t)(nl - buf) - at;

		if (memmem(buf + at, len, "mount\"", 6) != NULL ||
		    memmem(buf + at, len, "restart\"", 8) != NULL)
			break;
		at += len + 1;
	}
	return at;
}

/* Takes n bytes out of the socket. */
static int
drop_input(struct client *c, size_t n)
{
	static char buf[CONTROL_LINE_MAX + 1];

	return recv(c->in_fd, buf, n, MSG_DONTWAIT) == (ssize_t)n ? 0 : -1;
}

/* The one that begins there, and is left there; NULL: it is not whole. */
static char *
line_left(struct client *c, const char *buf, size_t n, size_t *len)
{
	static const struct timeval wait = { PIECES_S, 0 };
	const char *nl = memchr(buf, '\n', n);
	char *line;

	if (nl == NULL) {
		/* Of pieces there is not room for many in a socket. */
		if (socket_state(c) & POLLRDHUP) {
			c->eof = 1;
			(void)drop_input(c, n); /* else it is reset */
		} else if (!evtimer_pending(c->late, NULL) &&
		    evtimer_add(c->late, &wait) == -1)
			c->closing = 1;
		return NULL;
	}
	evtimer_del(c->late);
	c->in_pieces = 0;
	*len = (size_t)(nl - buf);
	if ((line = malloc(*len + 1)) == NULL) {
		c->closing = 1;
		return NULL;
	}
	memcpy(line, buf, *len);
	line[*len] = '\0';
	c->line = *len + 1;
	return line;
}

/* Its next line, for free(3); NULL: none is whole. */
static char *
next_line(struct client *c, size_t *len)
{
	static char buf[CONTROL_LINE_MAX + 1];
	int look = c->uid == 0 ? MSG_PEEK : 0;
	size_t take;
	ssize_t n;
	char *line;

	for (;;) {
		line = evbuffer_readln(c->in, len, EVBUFFER_EOL_LF);
		if (line != NULL ||
		    evbuffer_get_length(c->in) > CONTROL_LINE_MAX)
			break;
		n = recv(c->in_fd, buf, sizeof(buf), MSG_DONTWAIT | look);
		if (n == -1 && errno == EINTR)
			continue;
		if (n == 0)
			c->eof = 1;
		else if (n == -1 && errno != EAGAIN)
			c->gone = 1;
		if (n <= 0)
			break;
		take = look != 0 ? to_take(c, buf, (size_t)n) : (size_t)n;
		if (take == 0)
			return line_left(c, buf, (size_t)n, len);
		if ((look != 0 && drop_input(c, take) == -1) ||
		    evbuffer_add(c->in, buf, take) == -1) {
			c->closing = 1;
			break;
		}
		evtimer_del(c->late);
		c->in_pieces = 0;
	}
	return line;
}

static int
wants_line(const struct client *c)
{
	return c->asker == NULL && !c->closing && !client_is_full(c);
}

/* Next line, one request at a time.  May end the client. */
static void
client_next(struct client *c)
{
	struct asker *a;
	size_t len;
	char *line;
	int too_long = 0;

	if (c->reading)
		return;
	c->reading = 1;
	while (wants_line(c) && (line = next_line(c, &len)) != NULL) {
		too_long = len > CONTROL_LINE_MAX;
		if (too_long ||
		    (a = asker_new(c->uid, c->gid, c->pid)) == NULL) {
			free(line);
			c->closing = 1;
			break;
		}
		a->client = c;
		c->asker = a;
		asker_request(a, line, len);
		free(line);
	}
	c->reading = 0;
	if (too_long ||
	    (wants_line(c) && evbuffer_get_length(c->in) > CONTROL_LINE_MAX)) {
		log_warnx("control: uid %u sent a line of more than 64 KiB",
		    c->uid);
		c->closing = 1;
	}
	/* What was asked before the end is answered. */
	if (c->eof && c->asker == NULL && !client_is_full(c))
		c->closing = 1;
	if (c->gone)
		client_free(c); /* who leaves does not end the job */
	else if (c->closing)
		client_close_later(c);
}

int
client_socket(const struct client *c, struct parent_req *p)
{
	/* What root has left without is not done (warrant.h). */
	if (c->uid == 0 && (socket_state(c) & POLLHUP)) {
		errno = EPIPE;
		return -1;
	}
	p->ticket = c->ticket;
	p->line = (uint32_t)c->line;
	return fcntl(c->in_fd, F_DUPFD_CLOEXEC, 3);
}

void
client_asked(struct client *c)
{
	c->line = 0;
}

/* Nothing is heard of it, asked by it, or read by it for so long.  (Who does not
   read what there is for it is seen to by bev.) */
static void
idle_from_now(struct client *c)
{
	static const struct timeval idle = { IDLE_S, 0 };

	if (!c->closing && event_add(c->readable, &idle) == -1)
		c->closing = 1;
}

void
client_refused(struct client *c)
{
	if (c->uid == 0)
		c->closing = 1;
}

void
client_line(struct client *c, const char *text, int last)
{
	struct evbuffer *out = bufferevent_get_output(c->bev);

	if (last) {
		c->asker = NULL;
		idle_from_now(c);
		if (c->line > 0 && drop_input(c, c->line) == -1)
			c->closing = 1;
		c->line = 0;
	}
	if (!last && client_is_full(c))
		return;
	if (evbuffer_add(out, text, strlen(text)) == -1 ||
	    evbuffer_add(out, "\n", 1) == -1) {
		log_warnx("control: out of memory: uid %u is not answered, "
			  "and sent away",
		    c->uid);
		c->gone = 1;
	}
	if (last)
		client_next(c);
}

/* shutdown(2) of what it sends alone is no hang-up. */
static void
on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct client *c = arg;

	(void)fd;
	if (what & EV_TIMEOUT) {
		/* Else it waits for us, or reads. */
		if (c->asker == NULL &&
		    evbuffer_get_length(bufferevent_get_output(c->bev)) == 0)
			client_free(c);
		return;
	}
	if (socket_state(c) & (POLLHUP | POLLERR))
		c->gone = 1;
	client_next(c);
}

static void
on_late(evutil_socket_t fd, short what, void *arg)
{
	struct client *c = arg;

	(void)fd;
	(void)what;
	c->in_pieces = 1;
	client_next(c);
}

/* There is little left, or nothing. */
static void
on_write(struct bufferevent *bev, void *arg)
{
	struct client *c = arg;

	if (!c->closing) {
		idle_from_now(c);
		client_next(c);
	} else if (evbuffer_get_length(bufferevent_get_output(bev)) == 0)
		client_free(c);
}

/* It cannot be answered. */
static void
on_event(struct bufferevent *bev, short what, void *arg)
{
	(void)bev;
	(void)what;
	client_free(arg);
}

/* What was answered in this turn is not written yet. */
void
control_clients_flush(void)
{
	struct evbuffer *out;
	struct client *c;

	TAILQ_FOREACH (c, &clients, link) {
		out = bufferevent_get_output(c->bev);
		evbuffer_unfreeze(out, 1);
		(void)evbuffer_write(out, bufferevent_getfd(c->bev));
	}
}

static struct client *
client_new(int fd, const struct control_peer *p)
{
	struct client *c;

	if ((c = calloc(1, sizeof(*c))) == NULL)
		return NULL;
	c->in_fd = -1;
	c->uid = p->uid;
	c->gid = p->gid;
	c->pid = p->pid;
	c->ticket = p->ticket;
	if ((c->groups = calloc(p->ngroups + 1, sizeof(*c->groups))) == NULL ||
	    evutil_make_socket_nonblocking(fd) == -1 ||
	    (c->in_fd = fcntl(fd, F_DUPFD_CLOEXEC, 3)) == -1 ||
	    (c->in = evbuffer_new()) == NULL ||
	    (c->readable = event_new(proc_base(), c->in_fd,
		 EV_READ | EV_ET | EV_PERSIST, on_readable, c)) == NULL ||
	    (c->late = evtimer_new(proc_base(), on_late, c)) == NULL ||
	    (c->bev = bufferevent_socket_new(proc_base(), fd,
		 BEV_OPT_CLOSE_ON_FREE | BEV_OPT_DEFER_CALLBACKS)) == NULL) {
		client_drop(c);
		return NULL;
	}
	if (p->ngroups > 0)
		memcpy(c->groups, p->groups, p->ngroups * sizeof(*c->groups));
	c->ngroups = p->ngroups;
	return c;
}

void
control_client(int fd, const struct control_peer *p)
{
	static const struct timeval unread = { IDLE_S, 0 };
	unsigned int all = 0, same = 0;
	struct client *c;

	if (fd == -1)
		return;
	TAILQ_FOREACH (c, &clients, link) {
		all++;
		same += c->uid == p->uid;
	}
	/* Some are left for root, who may have to end what the others do. */
	if (all >= CLIENTS_MAX ||
	    (p->uid != 0 &&
		(same >= CLIENTS_UID_MAX ||
		    all >= CLIENTS_MAX - CLIENTS_UID_MAX))) {
		log_warnx("control: too many clients, one of uid %u is sent "
			  "away",
		    p->uid);
		close(fd);
		return;
	}
	if ((c = client_new(fd, p)) == NULL) {
		log_warn("control: a client");
		close(fd);
		return;
	}
	TAILQ_INSERT_TAIL(&clients, c, link);
	bufferevent_setcb(c->bev, NULL, on_write, on_event, c);
	bufferevent_setwatermark(c->bev, EV_WRITE, OUTPUT_LOW, 0);
	bufferevent_set_timeouts(c->bev, NULL, &unread);
	bufferevent_enable(c->bev, EV_WRITE);
	bufferevent_disable(c->bev, EV_READ);
	idle_from_now(c);
	if (c->closing) {
		log_warn("control: a client");
		client_free(c);
	}
}
