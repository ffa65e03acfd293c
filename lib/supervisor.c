/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * supervisor: the protocol of sd_notify(3).  What its socket does not take waits,
 * in order: a descriptor that it never hears of would end with this process.
 */
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "lib/fd_message.h"
#include "lib/log.h"
#include "lib/proc.h"
#include "lib/supervisor.h"

#define AGAIN_MS 20
#define LAST_TRIES 250 /* before it becomes another program: 5 s */

struct words {
	TAILQ_ENTRY(words) link;
	char *state;
	int passed; /* -1: none */
};

static struct sockaddr_un address;
static socklen_t address_len; /* 0: nobody wants to know */
static int sock = -1;         /* made once: later there may be none to be had */
static TAILQ_HEAD(, words) waiting = TAILQ_HEAD_INITIALIZER(waiting);
static struct event *again;

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
		sock = socket(AF_UNIX,
		    SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		if (sock == -1)
			log_warn("the socket to the supervisor");
	} else if (len > 0)
		log_warnx("NOTIFY_SOCKET: %s: not the address of a socket",
		    path);
	unsetenv("NOTIFY_SOCKET");
}

/* 1: it has it, or never will; 0: later. */
static int
send_words(const char *state, int passed)
{
	union fd_message control;
	struct iovec iov = { (void *)(uintptr_t)state, strlen(state) };
	struct msghdr msg = { .msg_name = &address,
		.msg_namelen = address_len,
		.msg_iov = &iov,
		.msg_iovlen = 1 };

	if (passed != -1)
		fd_message(&msg, &control, passed);
	while (sendmsg(sock, &msg, MSG_NOSIGNAL) == -1) {
		if (errno == EINTR)
			continue;
		if (errno == EAGAIN || errno == ENOBUFS || errno == ENOMEM)
			return 0;
		log_warn("telling the supervisor %s", state);
		break;
	}
	return 1;
}

static void
words_free(struct words *w)
{
	if (w->passed != -1)
		close(w->passed);
	free(w->state);
	free(w);
}

static void send_waiting(int, short, void *);

static int
set_again(void)
{
	struct timeval tv = { 0, AGAIN_MS * 1000 };

	if (again == NULL && proc_base() != NULL)
		again = evtimer_new(proc_base(), send_waiting, NULL);
	return again != NULL ? evtimer_add(again, &tv) : -1;
}

static void
send_waiting(int fd, short what, void *arg)
{
	struct words *w;

	(void)fd;
	(void)what;
	(void)arg;
	while ((w = TAILQ_FIRST(&waiting)) != NULL) {
		if (!send_words(w->state, w->passed)) {
			(void)set_again();
			return;
		}
		TAILQ_REMOVE(&waiting, w, link);
		words_free(w);
	}
}

/* A descriptor of its own: the caller's may be closed meanwhile. */
static void
wait_for_room(const char *state, int passed)
{
	struct words *w;

	if ((w = calloc(1, sizeof(*w))) == NULL)
		goto fail;
	w->passed = -1;
	if ((w->state = strdup(state)) == NULL ||
	    (passed != -1 &&
		(w->passed = fcntl(passed, F_DUPFD_CLOEXEC, 0)) == -1) ||
	    set_again() == -1)
		goto fail;
	TAILQ_INSERT_TAIL(&waiting, w, link);
	return;
fail:
	log_warn("telling the supervisor %s", state);
	if (w != NULL)
		words_free(w);
}

/* passed: a descriptor that goes with it; -1. */
static void
tell(const char *state, int passed)
{
	if (sock == -1)
		return;
	if (!TAILQ_EMPTY(&waiting) || !send_words(state, passed))
		wait_for_room(state, passed);
}

void
supervisor_flush(void)
{
	const struct timespec nap = { 0, AGAIN_MS * 1000000 };
	int tries;

	for (tries = 0; !TAILQ_EMPTY(&waiting) && tries < LAST_TRIES; tries++) {
		send_waiting(-1, 0, NULL);
		if (!TAILQ_EMPTY(&waiting))
			nanosleep(&nap, NULL);
	}
	if (!TAILQ_EMPTY(&waiting))
		log_warnx("the supervisor was not told all");
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
