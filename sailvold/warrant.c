/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * warrant: in whose name manifest asks.  In the parent.
 */
#include <sys/socket.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "sailvold/parent_ask.h"
#include "sailvold/warrant.h"

int
warrant_ticket(int fd, struct hash *ticket)
{
	static uint8_t key[HASH_LEN];
	static int has_key;
	uint64_t cookie;
	socklen_t len = sizeof(cookie);
	int domain, type;

	if (getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &len) == -1)
		return -1;
	len = sizeof(domain);
	if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) == -1)
		return -1;
	len = sizeof(type);
	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == -1)
		return -1;
	if (domain != AF_UNIX || type != SOCK_STREAM) {
		errno = EPERM;
		return -1;
	}
	if (!has_key) {
		arc4random_buf(key, sizeof(key));
		has_key = 1;
	}
	hash_hmac(ticket, key, sizeof(key), &cookie, sizeof(cookie));
	return 0;
}

/*
 * A whole line is taken out of the socket: in one call, for what comes in
 * several could be pieces of it between which manifest took one away.
 */
static int
take_line(int fd, char *line, size_t len)
{
	ssize_t got = recv(fd, line, len, MSG_DONTWAIT), n = got;
	size_t at;

	if (got == (ssize_t)len)
		return line[len - 1] == '\n' &&
			memchr(line, '\n', len - 1) == NULL
		    ? 0
		    : -1;
	/* The rest is no line of its own. */
	for (at = 0; n > 0 && (at += (size_t)n) < len;)
		n = recv(fd, line, len - at, MSG_DONTWAIT);
	return -1;
}

/* Who only sends no more, by shutdown(2), waits for an answer. */
static int
has_left(int fd)
{
	struct pollfd pfd = { .fd = fd };

	return poll(&pfd, 1, 0) != 0;
}

static int
root_asks(int fd, struct parent_req *req, const char **why)
{
	static char line[CONTROL_LINE_MAX + 1];
	size_t len = req->line;
	struct parent_req asked;
	uint8_t verb = req->verb;

	errno = PARENT_REFUSED;
	*why = "root has left";
	if (has_left(fd))
		return -1;
	*why = "root's line is too long";
	if (len > sizeof(line))
		return -1;
	*why = "root's line came in pieces, or is not there: ask again";
	if (len == 0 || take_line(fd, line, len) == -1) {
		errno = EPERM;
		return -1;
	}
	*why = parent_ask_line(&asked, line, len - 1);
	/* Which of both it is manifest knows: is the mount its own? */
	if (*why == NULL && asked.verb == PARENT_UMOUNT &&
	    verb == PARENT_FORGET)
		asked.verb = PARENT_FORGET;
	if (*why == NULL && asked.verb != verb)
		*why = "that is not what root asked for";
	if (*why != NULL) {
		mount_req_free(&asked.mount);
		errno = EPERM;
		return -1;
	}
	mount_req_free(&req->mount);
	*req = asked;
	return 0;
}

int
warrant_check(int fd, struct parent_req *req, uid_t *uid, const char **why)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);
	struct hash ticket;

	*why = "not a client of the control socket";
	if (fd == -1 || warrant_ticket(fd, &ticket) == -1 ||
	    !hash_equal_ct(&ticket, &req->ticket) ||
	    getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) == -1) {
		errno = PARENT_REFUSED;
		return -1;
	}
	*uid = cred.uid;
	return cred.uid == 0 ? root_asks(fd, req, why) : 0;
}
