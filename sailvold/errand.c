/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * errand: something that may block, done by a short-lived child.  In the parent
 * of sailvold(8).
 */
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

struct errand {
	int fd;
	pid_t pid;
	size_t size;
	struct event *event;
	void (*done)(void *, void *, int);
	void *arg;
};

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
errand_answer(int sock, short what, void *arg)
{
	struct errand *e = arg;
	uint64_t answer[ANSWER_MAX / sizeof(uint64_t)]; /* aligned */
	int fd;

	(void)what;
	memset(answer, 0, e->size);
	if (recv_answer(sock, answer, e->size, &fd) == -1)
		memset(answer, 0, e->size);
	event_free(e->event);
	close(e->fd);
	/* It has answered or died: its end is a matter of microseconds. */
	while (waitpid(e->pid, NULL, 0) == -1 && errno == EINTR)
		;
	e->done(e->arg, answer, fd);
	free(e);
}

static int parents_own = -1;

void
errand_closes(int fd)
{
	parents_own = fd;
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
	if (parents_own != -1)
		close(parents_own);
	memset(answer, 0, size);
	fd = run(arg, answer);
	_exit(send_answer(sock, answer, size, fd) == -1);
}

int
errand_run(int (*run)(void *, void *), void (*done)(void *, void *, int),
    void *arg, size_t size)
{
	struct errand *e = NULL;
	int sv[2] = { -1, -1 };
	pid_t pid;

	if (size > ANSWER_MAX || (e = calloc(1, sizeof(*e))) == NULL ||
	    socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv) == -1)
		goto fail;
	e->fd = sv[0];
	e->size = size;
	e->done = done;
	e->arg = arg;
	e->event = event_new(proc_base(), sv[0], EV_READ, errand_answer, e);
	if (e->event == NULL || event_add(e->event, NULL) == -1)
		goto fail;
	if ((pid = fork()) == -1)
		goto fail;
	if (pid == 0)
		child(sv[1], run, arg, size);
	e->pid = pid;
	close(sv[1]);
	return 0;
fail:
	if (e != NULL && e->event != NULL)
		event_free(e->event);
	if (sv[0] != -1) {
		close(sv[0]);
		close(sv[1]);
	}
	free(e);
	return -1;
}
