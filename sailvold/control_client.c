/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * control_client: clients of the control socket, each a stream of lines; their
 * sockets come accepted from the parent.  In manifest.
 */
#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
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

struct client {
	TAILQ_ENTRY(client) link;
	struct bufferevent *bev;
	uint32_t uid, gid, pid;
	uint32_t *groups; /* supplementary ones; owned */
	size_t ngroups;
	struct asker *asker; /* of the request that is worked on */
	int closing;         /* ends when its output is written */
	int eof;             /* it sends nothing more, and may still read */
	int reading;
};
static TAILQ_HEAD(, client) clients = TAILQ_HEAD_INITIALIZER(clients);

static void
client_free(struct client *c)
{
	if (c->asker != NULL)
		asker_gone(c->asker);
	TAILQ_REMOVE(&clients, c, link);
	bufferevent_free(c->bev); /* and the socket */
	free(c->groups);
	free(c);
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
	bufferevent_disable(c->bev, EV_READ);
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

/* Next line, one request at a time. */
static void
client_next(struct client *c)
{
	struct evbuffer *in = bufferevent_get_input(c->bev);
	struct asker *a;
	size_t len;
	char *line;

	if (c->reading)
		return;
	c->reading = 1;
	while (c->asker == NULL && !c->closing && !client_is_full(c) &&
	    (line = evbuffer_readln(in, &len, EVBUFFER_EOL_LF)) != NULL) {
		if ((a = asker_new(c->uid, c->gid, c->pid)) == NULL) {
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
	if (!c->closing && c->asker == NULL && !client_is_full(c) &&
	    evbuffer_get_length(in) > CONTROL_LINE_MAX) {
		log_warnx("control: uid %u sent a line of more than 64 KiB",
		    c->uid);
		c->closing = 1;
	}
	/* What was asked before the end is answered. */
	if (c->eof && c->asker == NULL && !client_is_full(c))
		c->closing = 1;
	if (c->closing)
		client_close_later(c);
}

void
client_line(struct client *c, const char *text, int last)
{
	struct evbuffer *out = bufferevent_get_output(c->bev);

	if (last)
		c->asker = NULL;
	if (!last && client_is_full(c))
		return;
	evbuffer_add(out, text, strlen(text));
	evbuffer_add(out, "\n", 1);
	if (last)
		client_next(c);
}

static void
on_read(struct bufferevent *bev, void *arg)
{
	(void)bev;
	client_next(arg);
}

/* There is little left, or nothing. */
static void
on_write(struct bufferevent *bev, void *arg)
{
	struct client *c = arg;

	if (!c->closing)
		client_next(c);
	else if (evbuffer_get_length(bufferevent_get_output(bev)) == 0)
		client_free(c);
}

/* shutdown(2) of what it sends alone is no hang-up. */
static int
has_gone(struct bufferevent *bev)
{
	struct pollfd pfd = { .fd = bufferevent_getfd(bev) };

	return poll(&pfd, 1, 0) == -1 || (pfd.revents & (POLLHUP | POLLERR));
}

static void
on_event(struct bufferevent *bev, short what, void *arg)
{
	struct client *c = arg;

	if ((what & BEV_EVENT_EOF) && (what & BEV_EVENT_READING) &&
	    !has_gone(bev)) {
		c->eof = 1;
		client_next(c);
		return;
	}
	if ((what & BEV_EVENT_TIMEOUT) && (what & BEV_EVENT_READING) &&
	    c->asker != NULL) {
		bufferevent_enable(bev, EV_READ); /* it waits for us */
		return;
	}
	/* Who leaves does not end the job. */
	client_free(c);
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

void
control_client(int fd, const struct control_peer *p)
{
	static const struct timeval idle = { IDLE_S, 0 };
	unsigned int all = 0, same = 0;
	struct client *c;

	if (fd == -1)
		return;
	TAILQ_FOREACH (c, &clients, link) {
		all++;
		same += c->uid == p->uid;
	}
	if (all >= CLIENTS_MAX || (p->uid != 0 && same >= CLIENTS_UID_MAX)) {
		log_warnx("control: too many clients, one of uid %u is sent "
			  "away",
		    p->uid);
		close(fd);
		return;
	}
	if ((c = calloc(1, sizeof(*c))) == NULL ||
	    (c->groups = calloc(p->ngroups + 1, sizeof(*c->groups))) == NULL ||
	    evutil_make_socket_nonblocking(fd) == -1 ||
	    (c->bev = bufferevent_socket_new(proc_base(), fd,
		 BEV_OPT_CLOSE_ON_FREE | BEV_OPT_DEFER_CALLBACKS)) == NULL) {
		log_warn("control: a client");
		if (c != NULL)
			free(c->groups);
		free(c);
		close(fd);
		return;
	}
	c->uid = p->uid;
	c->gid = p->gid;
	c->pid = p->pid;
	if (p->ngroups > 0)
		memcpy(c->groups, p->groups, p->ngroups * sizeof(*c->groups));
	c->ngroups = p->ngroups;
	TAILQ_INSERT_TAIL(&clients, c, link);
	bufferevent_setcb(c->bev, on_read, on_write, on_event, c);
	bufferevent_setwatermark(c->bev, EV_READ, 0, CONTROL_LINE_MAX + 1024);
	bufferevent_setwatermark(c->bev, EV_WRITE, OUTPUT_LOW, 0);
	bufferevent_set_timeouts(c->bev, &idle, &idle);
	bufferevent_enable(c->bev, EV_READ | EV_WRITE);
}
