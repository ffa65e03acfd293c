/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * tls_accept: who may come: listening sockets, and connections of each service
 * and of each address whose handshake is not over: the oldest is turned out for
 * a new one.  Of the others api and store, who see their keys, end those that
 * have to go (lib/crowd.h).  In tls.
 */
#include <sys/socket.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/log.h"
#include "sailapid/tls.h"

#define ACCEPTS_A_TURN 16
#define RETRY_MS 200 /* without descriptors or memory */

struct socket {
	struct service *service;
	int fd;
	struct event ev;
};

static struct service services[TLS_SERVICES];
static struct socket sockets[TLS_LISTEN_MAX];
static size_t nsockets;
static struct event retry;
static int paused; /* until retry */

static int
peer_cmp(const struct tls_peer *a, const struct tls_peer *b)
{
	return memcmp(a->addr, b->addr, sizeof(a->addr));
}

RB_PROTOTYPE(tls_peers, tls_peer, entry, peer_cmp);
RB_GENERATE(tls_peers, tls_peer, entry, peer_cmp)

/* ---- the sockets --------------------------------------------------------- */

static void
listen_all(void)
{
	struct socket *s;
	size_t i;

	for (i = 0; i < nsockets; i++) {
		s = &sockets[i];
		if (paused)
			event_del(&s->ev);
		else if (event_add(&s->ev, NULL) == -1)
			fatalx("event_add");
	}
}

static void
on_retry(int fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
	paused = 0;
	listen_all();
}

static void
pause_all(void)
{
	struct timeval tv = { 0, RETRY_MS * 1000 };

	log_warn("accept");
	paused = 1;
	listen_all();
	if (evtimer_add(&retry, &tv) == -1)
		fatalx("evtimer_add");
}

/* ---- addresses ----------------------------------------------------------- */

static int
client_of(const struct sockaddr_storage *ss, struct tls_client *c)
{
	const struct sockaddr_in6 *six = (const void *)ss;
	const struct sockaddr_in *four = (const void *)ss;

	memset(c, 0, sizeof(*c));
	if (ss->ss_family == AF_INET) {
		c->family = 4;
		memcpy(c->addr, &four->sin_addr, 4);
		c->port = ntohs(four->sin_port);
		return 0;
	}
	if (ss->ss_family != AF_INET6)
		return -1;
	c->family = 6;
	memcpy(c->addr, &six->sin6_addr, 16);
	c->port = ntohs(six->sin6_port);
	if (IN6_IS_ADDR_V4MAPPED(&six->sin6_addr)) {
		c->family = 4;
		memmove(c->addr, c->addr + 12, 4);
		memset(c->addr + 4, 0, 12);
	}
	return 0;
}

static struct tls_peer *
peer_of(struct service *s, const struct tls_client *c)
{
	struct tls_peer key, *p;

	memset(&key, 0, sizeof(key));
	memcpy(key.addr, c->addr, c->family == 4 ? 4 : 8);
	/* No address of the other kind is equal. */
	key.addr[15] = c->family;
	if ((p = RB_FIND(tls_peers, &s->peers, &key)) != NULL)
		return p;
	if ((p = calloc(1, sizeof(*p))) == NULL)
		return NULL;
	memcpy(p->addr, key.addr, sizeof(p->addr));
	RB_INSERT(tls_peers, &s->peers, p);
	return p;
}

static void
peer_drop(struct service *s, struct tls_peer *p)
{
	if (p->n > 0 || p->held)
		return;
	RB_REMOVE(tls_peers, &s->peers, p);
	free(p);
}

/* ---- who has to go ------------------------------------------------------- */

/* The oldest young one of p; NULL: of whoever has most of them. */
static void
turn_out(struct service *s, const struct tls_peer *p)
{
	struct conn *c, *worst = NULL;

	TAILQ_FOREACH (c, &s->young, young_entry)
		if ((p == NULL || c->peer == p) &&
		    (worst == NULL || c->peer->young > worst->peer->young))
			worst = c;
	if (worst != NULL) {
		log_debug("too many handshakes: the oldest is ended");
		conn_free(worst);
	}
}

/* 0: there is no place for p. */
static int
make_room(struct service *s, struct tls_peer *p)
{
	unsigned int max = tls_limits.max_connections;

	if (p->young > 0 && p->young >= tls_limits.per_peer / 2)
		turn_out(s, p);
	if (s->nyoung > 0 && s->nyoung >= max / 2)
		turn_out(s, NULL);
	/* As many as that there are only when those that were ended take their
	   time. */
	if (s->n >= 2 * max)
		conn_drop_over(s);
	return s->n < 2 * max;
}

static void
grow(struct conn *c)
{
	if (!c->is_young)
		return;
	c->is_young = 0;
	c->service->nyoung--;
	c->peer->young--;
	TAILQ_REMOVE(&c->service->young, c, young_entry);
}

void
accept_grown(struct conn *c)
{
	grow(c);
}

void
accept_gone(struct conn *c)
{
	grow(c);
	c->service->n--;
	c->peer->n--;
	peer_drop(c->service, c->peer);
}

/* ---- who comes ----------------------------------------------------------- */

static void
begin(struct service *s, struct tls_peer *p, int fd,
    const struct tls_client *client)
{
	struct conn *c = conn_new(s, p, fd, client);

	if (c == NULL) {
		log_warnx("connection: out of memory");
		close(fd);
		return;
	}
	s->n++;
	p->n++;
	s->nyoung++;
	p->young++;
	c->is_young = 1;
	TAILQ_INSERT_TAIL(&s->young, c, young_entry);
	conn_turn(c);
}

static void
one(struct service *s, int fd, const struct sockaddr_storage *ss)
{
	struct tls_client client;
	struct tls_peer *p;
	int on = 1;

	if (client_of(ss, &client) == -1 || (p = peer_of(s, &client)) == NULL) {
		close(fd);
		return;
	}
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	/* It stays, whoever is turned out. */
	p->held = 1;
	if (make_room(s, p))
		begin(s, p, fd, &client);
	else
		close(fd);
	p->held = 0;
	peer_drop(s, p);
}

static void
on_accept(int listen_fd, short what, void *arg)
{
	struct socket *s = arg;
	struct sockaddr_storage ss;
	socklen_t len;
	int fd, i;

	(void)what;
	for (i = 0; i < ACCEPTS_A_TURN; i++) {
		len = sizeof(ss);
		fd = accept4(listen_fd, (struct sockaddr *)&ss, &len,
		    SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd != -1)
			one(s->service, fd, &ss);
		else if (errno == EMFILE || errno == ENFILE ||
		    errno == ENOBUFS || errno == ENOMEM) {
			pause_all();
			return;
		} else if (errno != ECONNABORTED && errno != EINTR)
			return;
	}
}

void
accept_init(void)
{
	size_t i;

	evtimer_set(&retry, on_retry, NULL);
	for (i = 0; i < TLS_SERVICES; i++) {
		services[i].number = (uint8_t)i;
		RB_INIT(&services[i].peers);
		TAILQ_INIT(&services[i].young);
	}
}

void
accept_on(const struct tls_listen *l, size_t n)
{
	struct socket *s;
	size_t i;

	while (nsockets > 0) {
		s = &sockets[--nsockets];
		event_del(&s->ev);
		close(s->fd);
	}
	for (i = 0; i < n; i++) {
		s = &sockets[nsockets++];
		s->service = &services[l[i].service];
		s->fd = l[i].fd;
		event_set(&s->ev, s->fd, EV_READ | EV_PERSIST, on_accept, s);
	}
	listen_all();
}

void
accept_peer_up(uint8_t service)
{
	struct conn *c, *next;

	for (c = TAILQ_FIRST(&services[service].young); c != NULL; c = next) {
		next = TAILQ_NEXT(c, young_entry);
		if (c->state == CONN_WAITING)
			conn_turn(c);
	}
}
