/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * errand: something that may block, done by a short-lived child.  In the parent
 * of sailvold(8).
 */
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <errno.h>
#include <event2/event.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/fd_message.h"
#include "lib/log.h"
#include "lib/proc.h"
#include "sailvold/errand.h"

#define ANSWER_MAX 16384
#define LATE_UID_MAX 8
#define UID_MAX 64 /* with those that are not late yet */

struct errand {
	TAILQ_ENTRY(errand) link;
	int fd;
	pid_t pid;
	size_t size;
	struct event *event;
	void (*done)(void *, void *, int); /* NULL: it is late */
	void *arg;
	char *about;
	uid_t uid;
};
static TAILQ_HEAD(, errand) errands = TAILQ_HEAD_INITIALIZER(errands);

/* One message with the whole answer, and the descriptor if there is one. */
static int
send_answer(int sock, const void *answer, size_t size, int fd)
{
	union fd_message control;
	struct iovec iov = { (void *)(uintptr_t)answer, size };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (fd != -1)
		fd_message(&msg, &control, fd);
	return sendmsg(sock, &msg, MSG_NOSIGNAL) == (ssize_t)size ? 0 : -1;
}

static int
recv_answer(int sock, void *answer, size_t size, int *fd)
{
	union {
		struct cmsghdr hdr;
		char buf[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec iov = { answer, size };
	struct msghdr msg = { .msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.buf,
		.msg_controllen = sizeof(control.buf) };
	struct cmsghdr *c;
	ssize_t n;

	*fd = -1;
	n = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC);
	c = n > 0 ? CMSG_FIRSTHDR(&msg) : NULL;
	if (c != NULL && c->cmsg_level == SOL_SOCKET &&
	    c->cmsg_type == SCM_RIGHTS && c->cmsg_len == CMSG_LEN(sizeof(int)))
		memcpy(fd, CMSG_DATA(c), sizeof(*fd));
	if (n == (ssize_t)size)
		return 0;
	if (*fd != -1) {
		close(*fd);
		*fd = -1;
	}
	return -1;
}

static void
errand_free(struct errand *e)
{
	if (e->event != NULL)
		event_free(e->event);
	if (e->fd != -1)
		close(e->fd);
	free(e->about);
	free(e);
}

/* It stays until it has ended. */
static void
errand_late(struct errand *e)
{
	uint64_t answer[ANSWER_MAX / sizeof(uint64_t)]; /* aligned */
	void (*done)(void *, void *, int) = e->done;

	log_warnx("%s: it does not answer: nobody waits for it any longer",
	    e->about);
	kill(e->pid, SIGKILL);
	if (event_add(e->event, NULL) == -1)
		log_warn("the end of process %d", (int)e->pid);
	memset(answer, 0, e->size);
	e->done = NULL;
	errno = ETIMEDOUT;
	done(e->arg, answer, -1);
}

static void
errand_answer(int sock, short what, void *arg)
{
	struct errand *e = arg;
	uint64_t answer[ANSWER_MAX / sizeof(uint64_t)];
	int fd, error = 0;

	if (what & EV_TIMEOUT) {
		errand_late(e);
		return;
	}
	memset(answer, 0, e->size);
	if (recv_answer(sock, answer, e->size, &fd) == -1) {
		memset(answer, 0, e->size);
		error = EAGAIN;
	}
	TAILQ_REMOVE(&errands, e, link);
	/* It has answered or died: its end is a matter of microseconds. */
	while (waitpid(e->pid, NULL, 0) == -1 && errno == EINTR)
		;
	if (e->done != NULL) {
		errno = error;
		e->done(e->arg, answer, fd);
	} else if (fd != -1)
		close(fd);
	errand_free(e);
}

/* One that hangs keeps nothing: neither the next sailvold from its start nor a
   session of a mount from its end. */
static int
keep_alone(int sock)
{
	if (sock != 3 && dup2(sock, 3) == -1)
		return -1;
	return close_range(4, ~0U, 0) == -1 ? -1 : 3;
}

static void child(int, int (*)(void *, void *), void *, size_t)
    __attribute__((noreturn));

static void
child(int sock, int (*run)(void *, void *), void *arg, size_t size)
{
	uint64_t answer[ANSWER_MAX / sizeof(uint64_t)];
	sigset_t none;
	int fd;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGTERM, SIG_DFL);
	signal(SIGHUP, SIG_DFL);
	signal(SIGCHLD, SIG_DFL);
	if ((sock = keep_alone(sock)) == -1)
		_exit(1);
	memset(answer, 0, size);
	fd = run(arg, answer);
	_exit(send_answer(sock, answer, size, fd) == -1);
}

static int
would_be_late(const char *about, uid_t uid)
{
	const struct errand *e;
	unsigned int late = 0, all = 0;

	TAILQ_FOREACH (e, &errands, link) {
		all += e->uid == uid;
		if (e->done != NULL)
			continue;
		if (strcmp(e->about, about) == 0)
			return 1;
		late += e->uid == uid;
	}
	return uid != 0 && (late >= LATE_UID_MAX || all >= UID_MAX);
}

static struct errand *
errand_new(const struct errand_spec *spec, int fd)
{
	struct timeval tv = { (time_t)spec->seconds, 0 };
	struct errand *e;

	if ((e = calloc(1, sizeof(*e))) == NULL)
		return NULL;
	e->fd = -1;
	e->size = spec->size;
	e->done = spec->done;
	e->arg = spec->arg;
	e->uid = spec->uid;
	e->about = strdup(spec->about);
	e->event = event_new(proc_base(), fd, EV_READ, errand_answer, e);
	if (e->about == NULL || e->event == NULL ||
	    event_add(e->event, &tv) == -1) {
		errand_free(e);
		return NULL;
	}
	e->fd = fd;
	return e;
}

int
errand_run(const struct errand_spec *spec)
{
	struct errand *e;
	int sv[2], error;

	if (would_be_late(spec->about, spec->uid)) {
		errno = ETIMEDOUT;
		return -1;
	}
	if (spec->size > ANSWER_MAX) {
		errno = EINVAL;
		return -1;
	}
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv) == -1)
		return -1;
	if ((e = errand_new(spec, sv[0])) == NULL) {
		close(sv[0]);
		close(sv[1]);
		errno = ENOMEM;
		return -1;
	}
	if ((e->pid = fork()) == 0)
		child(sv[1], spec->run, spec->arg, spec->size);
	error = errno;
	close(sv[1]);
	if (e->pid == -1) {
		errand_free(e);
		errno = error;
		return -1;
	}
	TAILQ_INSERT_TAIL(&errands, e, link);
	return 0;
}
