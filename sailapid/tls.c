/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * tls: the role of sailapid(8) that speaks TLS with the clients of the API and
 * of the embedded store, and hands their plain bytes on.  It has the private
 * key, knows no HTTP, and can reach nobody.
 */
#include <string.h>
#include <unistd.h>

#include "lib/log.h"
#include "sailapid/roles.h"
#include "sailapid/tls.h"

#define PAIR_MAX ((size_t)1024 * 1024)

struct tls_limits tls_limits;
static struct pair *current;
static struct tls_listen fresh[TLS_LISTEN_MAX]; /* from PAIR until CONFIG */
static size_t nfresh;
static int have_limits, running, pair_fd = -1;
static uint32_t pair_cert_len;

struct pair *
tls_current(void)
{
	return pair_ref(current);
}

/* Takes fd.  NULL with a word in why. */
static struct pair *
pair_read(int fd, uint32_t cert_len, char *why, size_t size)
{
	struct pair *p = NULL;
	struct memfd_view v;

	if (memfd_map(fd, PAIR_MAX, &v) == -1)
		strlcpy(why, "not readable", size);
	else {
		if (cert_len > v.len)
			strlcpy(why, "is cut", size);
		else
			p = pair_new(v.data, cert_len, v.len, why, size);
		memfd_unmap(&v);
	}
	close(fd);
	return p;
}

static int
on_pair(struct chan *c, uint32_t id, struct imsg *imsg, struct ibuf *body)
{
	uint32_t cert_len;
	struct pair *p;
	char why[256];
	int fd;

	(void)c;
	(void)id;
	if (tls_pair_recv(body, &cert_len) == -1)
		return -1;
	fd = imsg_get_fd(imsg);
	/* It is the first of a configuration: one before did not come to its
	   end. */
	while (nfresh > 0)
		close(fresh[--nfresh].fd);
	if (!running) {
		if (pair_fd != -1)
			close(pair_fd);
		pair_fd = fd;
		pair_cert_len = cert_len;
		return 0;
	}
	if ((p = pair_read(fd, cert_len, why, sizeof(why))) == NULL) {
		log_warnx("certificate: %s; the old one stays", why);
		return 0;
	}
	/* Connections that are open keep theirs. */
	pair_free(current);
	current = p;
	return 0;
}

static int
on_listen(struct chan *c, uint32_t id, struct imsg *imsg, struct ibuf *body)
{
	uint8_t service;

	(void)c;
	(void)id;
	if (nfresh == TLS_LISTEN_MAX || tls_listen_recv(body, &service) == -1)
		return -1;
	fresh[nfresh].service = service;
	fresh[nfresh++].fd = imsg_get_fd(imsg);
	return 0;
}

static int
on_config(struct chan *c, uint32_t id, struct imsg *imsg, struct ibuf *body)
{
	(void)c;
	(void)id;
	(void)imsg;
	if (tls_limits_recv(body, &tls_limits) == -1)
		return -1;
	have_limits = 1;
	if (running) {
		accept_on(fresh, nfresh);
		nfresh = 0;
	}
	return 0;
}

static int
configured(void)
{
	return have_limits && pair_fd != -1;
}

/* What it reads of settings it reads now. */
static int
prepare(void)
{
	return tls_init();
}

static int
start(void)
{
	char why[256];

	current = pair_read(pair_fd, pair_cert_len, why, sizeof(why));
	pair_fd = -1;
	if (current == NULL)
		fatalx("certificate: %s", why);
	running = 1;
	accept_init();
	accept_on(fresh, nfresh);
	nfresh = 0;
	return 0;
}

static void
peer_up(struct chan *c)
{
	if (chan_role(c) == ROLE_API)
		accept_peer_up(TLS_FOR_API);
	else if (chan_role(c) == ROLE_STORE)
		accept_peer_up(TLS_FOR_STORE);
}

static const struct msg_rule rules[] = {
	{ IMSG_PARENT_TLS_LISTEN, ROLE_PARENT, CHAN_FD, 1, 1, on_listen,
	    "listen" },
	{ IMSG_PARENT_TLS_PAIR, ROLE_PARENT, CHAN_FD, 4, 4, on_pair,
	    "certificate" },
	{ IMSG_PARENT_TLS_CONFIG, ROLE_PARENT, CHAN_NOFD, 20, 20, on_config,
	    "config" },
};

const struct role_def tls_role = {
	.role = ROLE_TLS,
	.rules = rules,
	.nrules = sizeof(rules) / sizeof(rules[0]),
	.configured = configured,
	.prepare = prepare,
	.start = start,
	.peer_up = peer_up,
};
