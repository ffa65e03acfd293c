/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * supervisor: the protocol of sd_notify(3).
 */
#include <sys/socket.h>
#include <sys/un.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/fd_message.h"
#include "lib/log.h"
#include "lib/supervisor.h"

static struct sockaddr_un address;
static socklen_t address_len; /* 0: nobody wants to know */

void
supervisor_init(void)
{
	const char *path = getenv("NOTIFY_SOCKET");
	size_t len = path != NULL ? strlen(path) : 0;

	if (len > 1 && len < sizeof(address.sun_path) &&
	    (*path == '/' || *path == '@')) {
		memset(&address, 0, sizeof(address));
		address.sun_family = AF_UNIX;
		memcpy(address.sun_path, path, len);
		/* '@' is how an abstract one is written. */
		if (*path == '@')
			address.sun_path[0] = '\0';
		address_len =
		    (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
	} else if (len > 0)
		log_warnx("NOTIFY_SOCKET: %s: not the address of a socket",
		    path);
	unsetenv("NOTIFY_SOCKET");
}

int
supervisor_restore(void)
{
	char path[sizeof(address.sun_path) + 1];
	size_t len = address_len;

	if (len == 0)
		return 0;
	len -= offsetof(struct sockaddr_un, sun_path);
	memcpy(path, address.sun_path, len);
	path[len] = '\0';
	if (path[0] == '\0')
		path[0] = '@';
	return setenv("NOTIFY_SOCKET", path, 1);
}

/* passed: a descriptor that goes with it; -1. */
static void
tell(const char *state, int passed)
{
	union fd_message control;
	struct iovec iov = { (void *)(uintptr_t)state, strlen(state) };
	struct msghdr msg = { .msg_name = &address,
		.msg_namelen = address_len,
		.msg_iov = &iov,
		.msg_iovlen = 1 };
	int fd;

	if (address_len == 0)
		return;
	if (passed != -1)
		fd_message(&msg, &control, passed);
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd == -1 || sendmsg(fd, &msg, MSG_NOSIGNAL) == -1)
		log_warn("telling the supervisor %s", state);
	if (fd != -1)
		close(fd);
}

void
supervisor_tell(const char *state)
{
	tell(state, -1);
}

void
supervisor_store(const char *name, int passed)
{
	char state[160];

	snprintf(state, sizeof(state), "FDSTORE=1\nFDNAME=%s", name);
	tell(state, passed);
}

void
supervisor_drop(const char *name)
{
	char state[160];

	snprintf(state, sizeof(state), "FDSTOREREMOVE=1\nFDNAME=%s", name);
	tell(state, -1);
}
