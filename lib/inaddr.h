/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * inaddr: an address and a port of this machine, as configurations name them,
 * and a socket that listens there.  In the parents.
 */
#ifndef LIB_INADDR_H
#define LIB_INADDR_H

#include <sys/socket.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>

struct inaddr {
	union {
		struct sockaddr sa;
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
	} u;           /* with the port, 0: the kernel picks */
	socklen_t len; /* 0: none */
};

/* address: of either family, without brackets, or localhost.  NULL, or a
   constant string that says what is wrong. */
const char *inaddr_set(struct inaddr *, const char *address, int64_t port);
/* The same of an address that nobody but this machine can reach. */
const char *inaddr_set_loopback(struct inaddr *, const char *address,
    int64_t port);
/* All addresses of IPv4. */
void inaddr_set_any4(struct inaddr *, uint16_t port);
void inaddr_set_port(struct inaddr *, uint16_t port);
int inaddr_is_loopback(const struct inaddr *);
int inaddr_is_six(const struct inaddr *);
uint16_t inaddr_port(const struct inaddr *);
/* "127.0.0.1", "::1" */
void inaddr_host(const struct inaddr *, char *, size_t);
/* "127.0.0.1 port 9100" */
void inaddr_text(const struct inaddr *, char *, size_t);
int inaddr_equal(const struct inaddr *, const struct inaddr *);
/* That of a socket; -1 and errno. */
int inaddr_of(struct inaddr *, int fd);
/* A listening socket, of IPv6 with both: for IPv4 too; -1 and errno. */
int inaddr_listen(const struct inaddr *, int both, int backlog);

#endif
