/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * tls: what the files of the role that speaks TLS share.  In tls.
 */
#ifndef SAILAPID_TLS_H
#define SAILAPID_TLS_H

#include <sys/queue.h>
#include <sys/tree.h>
#include <event.h>
#include <tls.h>

#include "lib/monotime.h"
#include "lib/uptake.h"
#include "sailapid/config.h"
#include "sailapid/sailapid_imsg.h"

struct pair;
struct service;

/* Of one address: of IPv6 one network of 64 bits, which is one customer's. */
struct tls_peer {
	RB_ENTRY(tls_peer) entry;
	uint8_t addr[16];
	unsigned int n, young;
	int held; /* it stays, with nobody */
};

/* One way.  It is filled when it is empty, and emptied before that. */
struct half {
	uint8_t *buf; /* NULL: empty */
	size_t at, len;
	int end;    /* no more will come */
	short want; /* what its reading or writing waits for, on either side */
};

enum conn_state {
	CONN_HANDSHAKE,
	CONN_WAITING, /* for api or store, who are away */
	CONN_RELAY,
	CONN_ENDING, /* the end is being told */
	CONN_LINGER  /* told; what still comes is thrown away */
};

struct conn {
	TAILQ_ENTRY(conn) all, again;
	TAILQ_ENTRY(conn) young_entry; /* while is_young */
	struct service *service;
	struct tls_peer *peer;
	struct tls_client client;
	struct pair *pair; /* the certificate that it began with */
	struct tls *tls;
	int fd, plain; /* plain: -1 until CONN_RELAY */
	enum conn_state state;
	int is_young, is_again;
	int fin; /* the client sends no more */
	int has_deadline;
	monotime_t deadline;
	int looked_at; /* it is to take something, and has so long for it */
	struct uptake uptake;
	size_t budget; /* bytes that it may still receive in this turn */
	short tls_want;
	struct half up, down; /* to api or store, and from there */
	struct event fd_event, plain_event;
	short fd_mask, plain_mask; /* what is waited for */
};

struct service {
	uint8_t number; /* enum tls_service */
	RB_HEAD(tls_peers, tls_peer)
	peers;
	TAILQ_HEAD(, conn) young; /* the oldest first */
	unsigned int n, nyoung;
};

/* tls.c */
extern struct tls_limits tls_limits;
struct pair *tls_current(void); /* for a new connection: a reference */

/* tls_accept.c: listening sockets, and who may come. */
#define TLS_LISTEN_MAX (CONFIG_LISTEN_MAX + 1)
void accept_init(void);
/* These instead of those before; the descriptors are taken, and are sockets
   that do not block. */
struct tls_listen {
	uint8_t service;
	int fd;
};
void accept_on(const struct tls_listen *, size_t n);
/* It is handed on: no longer among those who can be turned out. */
void accept_grown(struct conn *);
void accept_gone(struct conn *);
/* The role of that service is there: whoever waits for it. */
void accept_peer_up(uint8_t service);

/* tls_conn.c: one connection.  fd is taken from a success on. */
struct conn *conn_new(struct service *, struct tls_peer *, int fd,
    const struct tls_client *);
void conn_free(struct conn *);
void conn_turn(struct conn *);
/* Those of the address with most that only have not been told that they are
   over. */
void conn_drop_over(struct service *);

/* tls_pair.c: a certificate and its key. */
struct pair *pair_new(const uint8_t *pem, size_t cert_len, size_t len,
    char *why, size_t size);
struct pair *pair_ref(struct pair *);
void pair_free(struct pair *); /* one reference */
struct tls *pair_tls(struct pair *);
/* From when until when the first certificate is good; -1: it is none. */
int pair_times(const uint8_t *pem, size_t cert_len, int64_t *from,
    int64_t *until);

#endif
