/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * tls_conn: one connection: its handshake, its plain bytes to api or store and
 * back, its end.  Whatever a client does, a turn is short, and who keeps
 * others waiting has a deadline.  In tls.
 */
#include <sys/socket.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/log.h"
#include "lib/proc.h"
#include "sailapid/tls.h"

#define HALF ((size_t)64 * 1024) /* bytes under way, each way */
#define ROUNDS 4                 /* of a turn */
#define BUDGET (ROUNDS * HALF)   /* bytes that a client sends in it */
#define SPARE_MAX 16             /* buffers that are kept */
#define SWEEP_MS 500
#define LINGER_MS 2000
#define QUEUE_MAX 4096 /* messages to api or store */

static TAILQ_HEAD(conns, conn) conns = TAILQ_HEAD_INITIALIZER(conns);
static struct conns agains = TAILQ_HEAD_INITIALIZER(agains);
static struct event sweeper, again_timer;
static uint8_t *spare[SPARE_MAX];
static size_t nspare;

/* ---- buffers ------------------------------------------------------------- */

/* -1: out of memory. */
static int
half_open(struct half *h)
{
	if (h->buf == NULL)
		h->buf = nspare > 0 ? spare[--nspare] : malloc(HALF);
	h->at = 0;
	return h->buf == NULL ? -1 : 0;
}

static void
half_close(struct half *h)
{
	if (h->buf == NULL || h->len > 0)
		return;
	if (nspare < SPARE_MAX)
		spare[nspare++] = h->buf;
	else
		free(h->buf);
	h->buf = NULL;
}

/* ---- deadlines and turns ------------------------------------------------- */

static void
set_deadline(struct conn *c, int64_t ms)
{
	c->deadline = monotime_add_ms(monotime_now(), ms);
	c->has_deadline = 1;
}

/* By what the client takes, if it is known. */
static void
look_on(struct conn *c)
{
	c->deadline =
	    uptake_until(&c->uptake, c->fd, tls_limits.idle_s, tls_limits.rate);
	c->has_deadline = 1;
}

static void
look_from_now(struct conn *c)
{
	if (c->looked_at)
		return;
	c->looked_at = uptake_begin(&c->uptake, c->fd) == 0;
	if (c->looked_at)
		look_on(c);
	else
		set_deadline(c, (int64_t)tls_limits.idle_s * 1000);
}

static void
on_sweep(int fd, short what, void *arg)
{
	struct timeval tv = { 0, SWEEP_MS * 1000 };
	struct conn *c, *next;

	(void)fd;
	(void)what;
	(void)arg;
	for (c = TAILQ_FIRST(&conns); c != NULL; c = next) {
		next = TAILQ_NEXT(c, all);
		if (c->looked_at)
			look_on(c);
		if (c->has_deadline && monotime_reached(c->deadline)) {
			log_debug("a connection is too slow");
			conn_free(c);
		} else if (c->state == CONN_WAITING)
			conn_turn(c); /* its service may take it now */
	}
	if (!TAILQ_EMPTY(&conns) && evtimer_add(&sweeper, &tv) == -1)
		fatalx("evtimer_add");
}

/* What libtls has read of a record no descriptor shows. */
static void
turn_again(struct conn *c)
{
	struct timeval now = { 0, 0 };

	if (c->is_again)
		return;
	c->is_again = 1;
	TAILQ_INSERT_TAIL(&agains, c, again);
	if (evtimer_add(&again_timer, &now) == -1)
		fatalx("evtimer_add");
}

static void
on_again(int fd, short what, void *arg)
{
	struct conn *c, *last = TAILQ_LAST(&agains, conns);
	int end = 0;

	(void)fd;
	(void)what;
	(void)arg;
	/* Not those that are put there meanwhile; a turn ends no other. */
	while (!end && (c = TAILQ_FIRST(&agains)) != NULL) {
		end = c == last;
		TAILQ_REMOVE(&agains, c, again);
		c->is_again = 0;
		conn_turn(c);
	}
}

static void
on_event(int fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	conn_turn(arg);
}

static void
watch(struct conn *c, struct event *ev, int fd, short *have, short want)
{
	if (*have == want)
		return;
	if (*have != 0)
		event_del(ev);
	*have = want;
	if (want == 0)
		return;
	event_set(ev, fd, want | EV_PERSIST, on_event, c);
	if (event_add(ev, NULL) == -1)
		fatalx("event_add");
}

/* ---- what libtls calls --------------------------------------------------- */

static ssize_t
on_read(struct tls *tls, void *buf, size_t len, void *arg)
{
	struct conn *c = arg;
	ssize_t n;

	(void)tls;
	/* It would go on as long as records come that carry nothing. */
	if (c->budget == 0) {
		turn_again(c);
		return TLS_WANT_POLLIN;
	}
	n = read(c->fd, buf, len < c->budget ? len : c->budget);
	if (n == -1 && (errno == EAGAIN || errno == EINTR))
		return TLS_WANT_POLLIN;
	/* For libtls an end that was not told breaks both ways.  What is cut
	   short by it HTTP sees. */
	if (n == 0) {
		c->fin = 1;
		return TLS_WANT_POLLIN;
	}
	if (n > 0)
		c->budget -= (size_t)n;
	return n;
}

static ssize_t
on_write(struct tls *tls, const void *buf, size_t len, void *arg)
{
	struct conn *c = arg;
	ssize_t n;

	(void)tls;
	n = write(c->fd, buf, len);
	if (n == -1 && (errno == EAGAIN || errno == EINTR))
		return TLS_WANT_POLLOUT;
	return n;
}

/* ---- begin and end ------------------------------------------------------- */

struct conn *
conn_new(struct service *s, struct tls_peer *p, int fd,
    const struct tls_client *client)
{
	struct timeval tv = { 0, SWEEP_MS * 1000 };
	struct conn *c = calloc(1, sizeof(*c));

	if (c == NULL)
		return NULL;
	if (!event_initialized(&sweeper)) {
		evtimer_set(&sweeper, on_sweep, NULL);
		evtimer_set(&again_timer, on_again, NULL);
	}
	c->pair = tls_current();
	if (tls_accept_cbs(pair_tls(c->pair), &c->tls, on_read, on_write, c) ==
	    -1) {
		pair_free(c->pair);
		free(c);
		return NULL;
	}
	c->service = s;
	c->peer = p;
	c->client = *client;
	c->fd = fd;
	c->plain = -1;
	set_deadline(c, (int64_t)tls_limits.handshake_s * 1000);
	if (TAILQ_EMPTY(&conns) && evtimer_add(&sweeper, &tv) == -1)
		fatalx("evtimer_add");
	TAILQ_INSERT_TAIL(&conns, c, all);
	return c;
}

/* What only the relay needs. */
static void
drop_plain(struct conn *c)
{
	watch(c, &c->plain_event, c->plain, &c->plain_mask, 0);
	if (c->plain != -1)
		close(c->plain);
	c->plain = -1;
	c->up.len = c->down.len = 0;
	half_close(&c->up);
	half_close(&c->down);
}

void
conn_free(struct conn *c)
{
	drop_plain(c);
	watch(c, &c->fd_event, c->fd, &c->fd_mask, 0);
	if (c->is_again)
		TAILQ_REMOVE(&agains, c, again);
	TAILQ_REMOVE(&conns, c, all);
	tls_free(c->tls);
	close(c->fd);
	pair_free(c->pair);
	accept_gone(c);
	free(c);
}

/* Its service has ended it, though what came before may still be here. */
static int
is_over(const struct conn *c)
{
	struct pollfd p = { c->plain, POLLRDHUP, 0 };

	return c->state == CONN_ENDING || c->state == CONN_LINGER ||
	    (c->state == CONN_RELAY && poll(&p, 1, 0) == 1);
}

void
conn_drop_over(struct service *s)
{
	const struct tls_peer *worst = NULL;
	struct conn *c, *next;

	TAILQ_FOREACH (c, &conns, all)
		if (c->service == s &&
		    (worst == NULL || c->peer->n > worst->n) && is_over(c))
			worst = c->peer;
	for (c = TAILQ_FIRST(&conns); c != NULL; c = next) {
		next = TAILQ_NEXT(c, all);
		/* The last one takes the peer with it. */
		if (worst != NULL && c->service == s && c->peer == worst &&
		    is_over(c)) {
			if (worst->n == 1)
				next = NULL;
			conn_free(c);
		}
	}
}

/*
 * What is unread when a socket is closed takes with it what the other side has
 * not read yet: an answer before the end of the request, an alert.
 */
static void
linger(struct conn *c)
{
	drop_plain(c);
	(void)shutdown(c->fd, SHUT_WR);
	c->state = CONN_LINGER;
	c->looked_at = 0;
	set_deadline(c, LINGER_MS);
}

/* ---- the handshake ------------------------------------------------------- */

/* The short of what libtls waits for; 0: for nothing, or for what will not
   come. */
static short
wants(const struct conn *c, ssize_t n)
{
	return n == TLS_WANT_POLLIN && !c->fin ? EV_READ
	    : n == TLS_WANT_POLLOUT            ? EV_WRITE
					       : 0;
}

static const char *
why(const struct conn *c)
{
	return c->fin ? "it has ended" : tls_error(c->tls);
}

/* To api or store. */
static void
hand_on(struct conn *c)
{
	int to_api = c->service->number == TLS_FOR_API, sv[2];
	struct chan *to = role_peer_any(to_api ? ROLE_API : ROLE_STORE);

	c->tls_want = 0;
	if (to == NULL || chan_queued(to) > QUEUE_MAX) {
		c->state = CONN_WAITING;
		return;
	}
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0,
		sv) == -1) {
		log_warn("connection");
		linger(c);
		return;
	}
	c->plain = sv[0];
	if (tls_client_send(to,
		to_api ? IMSG_TLS_API_CONNECTION : IMSG_TLS_STORE_CONNECTION,
		&c->client, sv[1]) == -1) {
		log_warn("connection");
		close(sv[1]);
		linger(c);
		return;
	}
	c->state = CONN_RELAY;
	c->has_deadline = 0;
	accept_grown(c);
}

/* 1: it is over, and went well. */
static int
handshake(struct conn *c)
{
	int n = tls_handshake(c->tls);

	if (n == 0)
		return 1;
	c->tls_want = wants(c, n);
	if (c->tls_want != 0)
		return 0;
	log_debug("handshake: %s", why(c));
	linger(c);
	return 0;
}

/* ---- the relay ----------------------------------------------------------- */

/* Each moves what goes at the moment: 1 something, 0 nothing, -1: the
   connection is of no use any more. */
static int
from_client(struct conn *c)
{
	struct half *h = &c->up;
	ssize_t n;

	if (h->end || h->len > 0)
		return 0;
	h->want = 0;
	if (half_open(h) == -1)
		return -1;
	while (h->len < HALF) {
		n = tls_read(c->tls, h->buf + h->len, HALF - h->len);
		if (n > 0) {
			h->len += (size_t)n;
			continue;
		}
		h->want = wants(c, n);
		if (n == -1) {
			log_debug("from a client: %s", why(c));
			return -1;
		}
		h->end = n == 0 || (n == TLS_WANT_POLLIN && c->fin);
		break;
	}
	if (h->len == 0 && h->end)
		(void)shutdown(c->plain, SHUT_WR);
	return h->len > 0;
}

static int
to_service(struct conn *c)
{
	struct half *h = &c->up;
	ssize_t n;
	int moved = 0;

	while (h->len > 0) {
		n = write(c->plain, h->buf + h->at, h->len);
		if (n == -1 && (errno == EAGAIN || errno == EINTR))
			return moved;
		if (n == -1) {
			/* It has closed; what it said last is still to come. */
			h->len = 0;
			h->end = 1;
			return 1;
		}
		h->at += (size_t)n;
		h->len -= (size_t)n;
		moved = 1;
	}
	if (moved && h->end)
		(void)shutdown(c->plain, SHUT_WR);
	return moved;
}

static int
from_service(struct conn *c)
{
	struct half *h = &c->down;
	ssize_t n;

	if (h->end || h->len > 0)
		return 0;
	if (half_open(h) == -1)
		return -1;
	n = read(c->plain, h->buf, HALF);
	if (n == -1 && (errno == EAGAIN || errno == EINTR)) {
		/* It has taken all that there was. */
		c->has_deadline = c->looked_at = 0;
		return 0;
	}
	if (n <= 0)
		h->end = 1;
	else
		h->len = (size_t)n;
	return n > 0;
}

static int
to_client(struct conn *c)
{
	struct half *h = &c->down;
	int moved = 0;
	ssize_t n;

	h->want = 0;
	while (h->len > 0) {
		n = tls_write(c->tls, h->buf + h->at, h->len);
		if (n <= 0) {
			h->want = wants(c, n);
			if (h->want != 0)
				break;
			log_debug("to a client: %s", why(c));
			return -1;
		}
		h->at += (size_t)n;
		h->len -= (size_t)n;
		moved = 1;
	}
	/* Who does not take what it has asked for. */
	if (h->len > 0)
		look_from_now(c);
	return moved;
}

static int
relay(struct conn *c)
{
	int (*const steps[])(struct conn *) = { from_client, to_service,
		from_service, to_client };
	int i, round, moved = 1, r;

	for (round = 0; moved && round < ROUNDS; round++) {
		moved = 0;
		for (i = 0; i < 4; i++) {
			if ((r = steps[i](c)) == -1)
				return -1;
			moved |= r;
		}
	}
	if (moved)
		turn_again(c);
	half_close(&c->up);
	half_close(&c->down);
	if (c->down.end && c->down.len == 0) {
		c->state = CONN_ENDING;
		c->looked_at = 0;
		set_deadline(c, (int64_t)tls_limits.idle_s * 1000);
	}
	return 0;
}

/* ---- the end ------------------------------------------------------------- */

static void
ending(struct conn *c)
{
	c->tls_want = wants(c, tls_close(c->tls));
	if (c->tls_want == 0)
		linger(c);
	/* It comes behind what is not taken yet. */
	else if (c->tls_want == EV_WRITE)
		look_from_now(c);
}

/* 1: there is more to be thrown away, later. */
static int
throw_away(struct conn *c)
{
	static uint8_t waste[HALF];
	ssize_t n;
	int i;

	for (i = 0; i < ROUNDS; i++) {
		n = read(c->fd, waste, sizeof(waste));
		if (n == 0 || (n == -1 && errno != EAGAIN && errno != EINTR))
			return 0;
		if (n == -1)
			break;
	}
	return 1;
}

/* ---- a turn -------------------------------------------------------------- */

static void
rest(struct conn *c)
{
	short fd = 0, plain = 0;

	switch (c->state) {
	case CONN_HANDSHAKE:
	case CONN_ENDING:
		fd = c->tls_want;
		break;
	case CONN_WAITING:
		break;
	case CONN_RELAY:
		if (!c->up.end && c->up.len == 0)
			fd |= c->up.want;
		if (c->down.len > 0)
			fd |= c->down.want;
		if (c->up.len > 0)
			plain |= EV_WRITE;
		if (!c->down.end && c->down.len == 0)
			plain |= EV_READ;
		break;
	case CONN_LINGER:
		fd = EV_READ;
		break;
	}
	/* Its turn comes by itself. */
	if (c->is_again)
		return;
	watch(c, &c->fd_event, c->fd, &c->fd_mask, fd);
	watch(c, &c->plain_event, c->plain, &c->plain_mask, plain);
}

void
conn_turn(struct conn *c)
{
	c->budget = BUDGET;
	if (c->state == CONN_HANDSHAKE && handshake(c))
		c->state = CONN_WAITING;
	if (c->state == CONN_WAITING)
		hand_on(c);
	if (c->state == CONN_RELAY && relay(c) == -1)
		linger(c);
	if (c->state == CONN_ENDING)
		ending(c);
	if (c->state == CONN_LINGER && !throw_away(c))
		conn_free(c);
	else
		rest(c);
}
