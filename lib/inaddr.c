/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * inaddr: addresses and ports of this machine, as configurations name them, and
 * sockets that listen there.  In the parents.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lib/inaddr.h"

const char *
inaddr_set(struct inaddr *a, const char *address, int64_t port)
{
	memset(a, 0, sizeof(*a));
	if (port < 0 || port > 65535)
		return "port is not 0 to 65535";
	if (strcmp(address, "localhost") == 0)
		address = "127.0.0.1";
	if (inet_pton(AF_INET, address, &a->u.in.sin_addr) == 1) {
		a->u.in.sin_family = AF_INET;
		a->len = sizeof(a->u.in);
	} else if (inet_pton(AF_INET6, address, &a->u.in6.sin6_addr) == 1) {
		a->u.in6.sin6_family = AF_INET6;
		a->len = sizeof(a->u.in6);
	} else
		return "not an address";
	inaddr_set_port(a, (uint16_t)port);
	return NULL;
}

const char *
inaddr_set_loopback(struct inaddr *a, const char *address, int64_t port)
{
	const char *why;

	/* All addresses are known as such. */
	why = inaddr_set(a, strcmp(address, "*") == 0 ? "::" : address, port);
	if (why != NULL)
		return why;
	return inaddr_is_loopback(a)
	    ? NULL
	    : "not a loopback address (127.0.0.1, ::1)";
}

void
inaddr_set_any4(struct inaddr *a, uint16_t port)
{
	memset(a, 0, sizeof(*a));
	a->u.in.sin_family = AF_INET;
	a->len = sizeof(a->u.in);
	inaddr_set_port(a, port);
}

void
inaddr_set_port(struct inaddr *a, uint16_t port)
{
	if (inaddr_is_six(a))
		a->u.in6.sin6_port = htons(port);
	else
		a->u.in.sin_port = htons(port);
}

int
inaddr_is_six(const struct inaddr *a)
{
	return a->u.sa.sa_family == AF_INET6;
}

int
inaddr_is_loopback(const struct inaddr *a)
{
	return inaddr_is_six(a) ? IN6_IS_ADDR_LOOPBACK(&a->u.in6.sin6_addr)
				: ntohl(a->u.in.sin_addr.s_addr) >> 24 == 127;
}

uint16_t
inaddr_port(const struct inaddr *a)
{
	return ntohs(inaddr_is_six(a) ? a->u.in6.sin6_port : a->u.in.sin_port);
}

void
inaddr_host(const struct inaddr *a, char *out, size_t size)
{
	char text[INET6_ADDRSTRLEN] = "?";

	if (inaddr_is_six(a))
		inet_ntop(AF_INET6, &a->u.in6.sin6_addr, text, sizeof(text));
	else
		inet_ntop(AF_INET, &a->u.in.sin_addr, text, sizeof(text));
	snprintf(out, size, "%s", text);
}

void
inaddr_text(const struct inaddr *a, char *out, size_t size)
{
	char host[INET6_ADDRSTRLEN];

	inaddr_host(a, host, sizeof(host));
	snprintf(out, size, "%s port %u", host, inaddr_port(a));
}

int
inaddr_equal(const struct inaddr *a, const struct inaddr *b)
{
	return a->len == b->len && memcmp(&a->u, &b->u, a->len) == 0;
}

int
inaddr_of(struct inaddr *a, int fd)
{
	memset(a, 0, sizeof(*a));
	a->len = sizeof(a->u);
	return getsockname(fd, &a->u.sa, &a->len);
}

int
inaddr_listen(const struct inaddr *a, int both, int backlog)
{
	int fd, on = 1, six_only = !both, saved;

	fd = socket(a->u.sa.sa_family,
	    SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd == -1)
		return -1;
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == 0 &&
	    (!inaddr_is_six(a) ||
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &six_only,
		    sizeof(six_only)) == 0) &&
	    bind(fd, &a->u.sa, a->len) == 0 && listen(fd, backlog) == 0)
		return fd;
	saved = errno;
	close(fd);
	errno = saved;
	return -1;
}
