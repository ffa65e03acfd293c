/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * http: a client of a role that speaks HTTP sends bytes over a connection that
 * tls hands to it. 
 */
#ifndef REGRESS_FUZZ_HTTP_H
#define REGRESS_FUZZ_HTTP_H

#include "regress/fuzz/role.h"
#include "sailapid/sailapid_imsg.h"

/* The other end of it, at which these bytes were sent, and no more come. */
static int
http_connect(uint32_t type, const uint8_t *p, size_t len)
{
	struct tls_client from = { .family = 4,
		.addr = { 192, 0, 2, 1 },
		.port = 1234 };
	int sv[2];

	no_sockets(sv, SOCK_STREAM);
	if (len > 0 && send(sv[0], p, len, MSG_DONTWAIT) != (ssize_t)len)
		abort();
	shutdown(sv[0], SHUT_WR);
	if (tls_client_send(far_of(ROLE_TLS)->chan, type, &from, sv[1]) == -1)
		abort();
	return sv[0];
}

/*
 * Reads to the end of the connection; calls more() while nothing comes.  NULL:
 * nothing came in that time.  Else a string, for free(3): who keeps the
 * connection may have more time than that.
 */
static UNUSED char *
http_answer(int fd, void (*more)(void))
{
	struct timeval ms = { 0, 1000 };
	size_t len = 0, size = 1 << 20;
	char *out = malloc(size);
	ssize_t n;
	int i;

	fuzz_check(out != NULL);
	for (i = 0; i < 200; i++) {
		role_pump();
		n = recv(fd, out + len, size - 1 - len, MSG_DONTWAIT);
		if (n == 0 || (n == -1 && errno == ECONNRESET) ||
		    len + 1 == size) {
			out[len] = '\0';
			close(fd);
			return out;
		}
		if (n > 0) {
			len += (size_t)n;
			continue;
		}
		if (more != NULL)
			more();
		event_loopexit(&ms);
		event_dispatch();
	}
	close(fd);
	out[len] = '\0';
	if (len > 0)
		return out;
	free(out);
	return NULL;
}

#endif
