/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */

/*
 * The two ends of a channel's socket: the queue of messages to be sent, and
 * the raw receiving of bytes and descriptors.  Used by every process.
 */

#include <sys/socket.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "imsg/msgbuf.h"

#define IOVS 64

/* Credentials come first if somebody asked for them, then the descriptor. */
union control {
	struct cmsghdr align;
	char buf[CMSG_SPACE(sizeof(struct ucred)) + CMSG_SPACE(sizeof(int))];
};

struct msgbuf *
msgbuf_new(void)
{
	struct msgbuf *w;

	if ((w = calloc(1, sizeof(*w))) == NULL)
		return NULL;
	TAILQ_INIT(&w->queue);
	w->pendfd = -1;
	w->spare = -1;
	return w;
}

void
msgbuf_free(struct msgbuf *w)
{
	struct ibuf *buf;
	unsigned int i;

	if (w == NULL)
		return;
	while ((buf = TAILQ_FIRST(&w->queue)) != NULL) {
		TAILQ_REMOVE(&w->queue, buf, entry);
		ibuf_free(buf);
	}
	for (i = 0; i < w->nfds; i++)
		close(w->fds[i]);
	if (w->pendfd != -1)
		close(w->pendfd);
	if (w->spare != -1)
		close(w->spare);
	freezero(w->rbuf, w->rsize);
	free(w);
}

void
msgbuf_push(struct msgbuf *w, struct ibuf *buf)
{
	TAILQ_INSERT_TAIL(&w->queue, buf, entry);
	w->count++;
	w->descriptors += buf->fd != -1;
	w->bytes += ibuf_size(buf);
}

/* Add what is left of buf behind its first skip bytes; the new count. */
static size_t
gather(struct iovec *iov, size_t n, struct ibuf *buf, size_t skip)
{
	if (skip < IMSG_HEADER_SIZE) {
		iov[n].iov_base = buf->hdr + skip;
		iov[n++].iov_len = IMSG_HEADER_SIZE - skip;
		skip = 0;
	} else
		skip -= IMSG_HEADER_SIZE;
	if (skip < ibuf_size(buf)) {
		iov[n].iov_base = (unsigned char *)ibuf_data(buf) + skip;
		iov[n++].iov_len = ibuf_size(buf) - skip;
	}
	return n;
}

/*
 * The kernel gives a descriptor to the reader with the first byte of the
 * sendmsg that carried it, so a message with one always begins a sendmsg.
 */
static ssize_t
send_some(struct msgbuf *w, int fd)
{
	struct iovec iov[IOVS];
	struct msghdr msg;
	struct cmsghdr *cmsg;
	struct ibuf *buf, *first = TAILQ_FIRST(&w->queue);
	union control control;
	size_t n;

	memset(&msg, 0, sizeof(msg));
	memset(&control, 0, sizeof(control));
	n = gather(iov, 0, first, w->sent);
	buf = first;
	while ((buf = TAILQ_NEXT(buf, entry)) != NULL) {
		if (buf->fd != -1 || n > IOVS - 2)
			break;
		n = gather(iov, n, buf, 0);
	}
	msg.msg_iov = iov;
	msg.msg_iovlen = n;
	if (first->fd != -1) {
		msg.msg_control = &control;
		msg.msg_controllen = CMSG_SPACE(sizeof(int));
		cmsg = CMSG_FIRSTHDR(&msg);
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(cmsg), &first->fd, sizeof(int));
	}
	return sendmsg(fd, &msg, MSG_NOSIGNAL);
}

/* Take n sent bytes off the queue. */
static void
drain(struct msgbuf *w, size_t n)
{
	struct ibuf *buf;
	size_t left;

	while (n > 0 && (buf = TAILQ_FIRST(&w->queue)) != NULL) {
		if (buf->fd != -1) {
			close(ibuf_fd_get(buf));
			w->descriptors--;
		}
		left = IMSG_HEADER_SIZE + ibuf_size(buf) - w->sent;
		if (n < left) {
			w->sent += n;
			return;
		}
		n -= left;
		w->sent = 0;
		w->count--;
		w->bytes -= ibuf_size(buf);
		TAILQ_REMOVE(&w->queue, buf, entry);
		ibuf_free(buf);
	}
}

int
msgbuf_write(struct msgbuf *w, int fd, int fdpass)
{
	struct ibuf *buf;
	ssize_t n;

	while ((buf = TAILQ_FIRST(&w->queue)) != NULL) {
		if (buf->fd != -1 && !fdpass) {
			errno = EINVAL;
			return -1;
		}
		if ((n = send_some(w, fd)) == -1) {
			if (errno == EINTR)
				continue;
			if (errno == EAGAIN || errno == ENOBUFS)
				return 0;
			return -1;
		}
		drain(w, (size_t)n);
	}
	return 0;
}

int
msgbuf_room(struct msgbuf *w, size_t size)
{
	unsigned char *p;

	if (size < MSGBUF_READ_SIZE)
		size = MSGBUF_READ_SIZE;
	if (w->rsize < size) {
		p = recallocarray(w->rbuf, w->rsize, size, 1);
		if (p == NULL)
			return -1;
		w->rbuf = p;
		w->rsize = size;
	}
	if (w->rpos > 0) {
		memmove(w->rbuf, w->rbuf + w->rpos, w->wpos - w->rpos);
		w->wpos -= w->rpos;
		w->next -= w->rpos;
		explicit_bzero(w->rbuf + w->wpos, w->rpos);
		w->rpos = 0;
	}
	return w->wpos < w->rsize;
}

/* The first descriptor of the control data, or -1; the others are closed. */
static int
take_fds(struct msghdr *msg)
{
	struct cmsghdr *cmsg;
	size_t i, n;
	int fd, first = -1;

	for (cmsg = CMSG_FIRSTHDR(msg); cmsg != NULL;
	     cmsg = CMSG_NXTHDR(msg, cmsg)) {
		if (cmsg->cmsg_level != SOL_SOCKET ||
		    cmsg->cmsg_type != SCM_RIGHTS)
			continue;
		n = (cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (i = 0; i < n; i++) {
			memcpy(&fd, CMSG_DATA(cmsg) + i * sizeof(int),
			    sizeof(fd));
			if (first == -1)
				first = fd;
			else
				close(fd);
		}
	}
	return first;
}

/*
 * Without a free place for it the kernel drops a descriptor and says so
 * only afterwards.  So the place is kept by a duplicate, given up just
 * before, and taken again at once: when that fails, nothing is received
 * until it does not.  A limit that has fallen below the place since it was
 * taken (setrlimit(2)) makes it none: it is taken once more before.
 */
static int
spare_place(struct msgbuf *w, int fd)
{
	if (w->spare != -1)
		close(w->spare);
	if ((w->spare = fcntl(fd, F_DUPFD_CLOEXEC, 0)) == -1)
		return -1;
	close(w->spare);
	w->spare = -1;
	return 0;
}

ssize_t
msgbuf_recv(struct msgbuf *w, int fd, int fdpass, int *fdp)
{
	struct iovec iov = { w->rbuf + w->wpos, w->rsize - w->wpos };
	struct msghdr msg;
	union control control;
	ssize_t n;
	int save_errno;

	*fdp = -1;
	do {
		if (fdpass && spare_place(w, fd) == -1)
			return -1;
		memset(&msg, 0, sizeof(msg));
		memset(&control, 0, sizeof(control));
		msg.msg_iov = &iov;
		msg.msg_iovlen = 1;
		if (fdpass) {
			msg.msg_control = &control;
			msg.msg_controllen = sizeof(control);
		}
		n = recvmsg(fd, &msg, MSG_CMSG_CLOEXEC);
	} while (n == -1 && errno == EINTR);
	save_errno = errno;
	if (fdpass) {
		w->spare = fcntl(fd, F_DUPFD_CLOEXEC, 0);
		if (n != -1)
			*fdp = take_fds(&msg);
		/* With one here, what was cut off was too much anyway. */
		if (n != -1 && *fdp == -1 && (msg.msg_flags & MSG_CTRUNC)) {
			errno = ECONNABORTED;
			return -1;
		}
	}
	errno = save_errno;
	return n;
}
