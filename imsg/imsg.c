/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */

/*
 * The framing of messages: where each begins, how long it may be, and which
 * descriptor is its own.  Used by every process.
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "imsg/msgbuf.h"

#define ALLOW_FDPASS 1

static void
put_header(unsigned char *p, const struct imsg_hdr *hdr)
{
	memcpy(p, &hdr->type, 4);
	memcpy(p + 4, &hdr->len, 4);
	memcpy(p + 8, &hdr->peerid, 4);
	memcpy(p + 12, &hdr->pid, 4);
}

static void
get_header(const unsigned char *p, struct imsg_hdr *hdr)
{
	memcpy(&hdr->type, p, 4);
	memcpy(&hdr->len, p + 4, 4);
	memcpy(&hdr->peerid, p + 8, 4);
	memcpy(&hdr->pid, p + 12, 4);
}

static int
fdpass(const struct imsgbuf *b)
{
	return (b->flags & ALLOW_FDPASS) != 0;
}

/* A channel that was cleared cannot be used. */
static int
usable(const struct imsgbuf *b)
{
	if (b->w == NULL) {
		errno = EINVAL;
		return 0;
	}
	return 1;
}

int
imsgbuf_init(struct imsgbuf *b, int fd)
{
	memset(b, 0, sizeof(*b));
	b->fd = fd;
	b->pid = getpid();
	b->maxsize = MAX_IMSGSIZE;
	if ((b->w = msgbuf_new()) == NULL)
		return -1;
	return 0;
}

void
imsgbuf_allow_fdpass(struct imsgbuf *b)
{
	b->flags |= ALLOW_FDPASS;
}

int
imsgbuf_set_maxsize(struct imsgbuf *b, uint32_t max)
{
	if (max >= IMSG_FD_MARK - IMSG_HEADER_SIZE) {
		errno = ERANGE;
		return -1;
	}
	b->maxsize = max + IMSG_HEADER_SIZE;
	return 0;
}

/*
 * Look at the header at next, which is complete.  fd is a descriptor that
 * may be its own, or -1.  Returns 1 if it took fd, 0 if not, -1 with the
 * channel's error set.
 */
static int
accept_header(struct imsgbuf *b, int fd)
{
	struct msgbuf *w = b->w;
	struct imsg_hdr hdr;
	uint32_t len;

	get_header(w->rbuf + w->next, &hdr);
	len = hdr.len & ~IMSG_FD_MARK;
	if (len < IMSG_HEADER_SIZE) {
		w->error = EBADMSG;
		return -1;
	}
	if (len > b->maxsize) {
		w->error = ERANGE;
		return -1;
	}
	if ((hdr.len & IMSG_FD_MARK) == 0) {
		w->next += len;
		return 0;
	}
	if (fd == -1) {
		w->error = EBADMSG;
		return -1;
	}
	w->fds[w->nfds++] = fd;
	w->next += len;
	return 1;
}

/*
 * Go over the headers that are complete now.  fd, or -1, came together with
 * the bytes from lo on: it belongs to the first marked message that begins
 * there, whose header may still be incomplete.  One that belongs to none is
 * closed.
 */
static void
accept_bytes(struct imsgbuf *b, size_t lo, int fd)
{
	struct msgbuf *w = b->w;
	int pend, took;

	while (w->error == 0 && w->next <= w->wpos &&
	    w->wpos - w->next >= IMSG_HEADER_SIZE) {
		pend = w->pendfd;
		if (pend == -1 && w->next >= lo)
			took = accept_header(b, fd);
		else
			took = accept_header(b, pend);
		if (pend != -1) {
			if (took != 1)
				close(pend);
			w->pendfd = -1;
		} else if (took == 1)
			fd = -1;
	}
	if (fd == -1)
		return;
	if (w->error == 0 && w->pendfd == -1 && w->next >= lo &&
	    w->next < w->wpos)
		w->pendfd = fd;
	else
		close(fd);
}

int
imsgbuf_read(struct imsgbuf *b)
{
	struct msgbuf *w = b->w;
	ssize_t n;
	size_t lo;
	int fd, room;

	if (!usable(b))
		return -1;
	if (w->error != 0) {
		errno = w->error;
		return -1;
	}
	/* One receive adds two at most; with these there is a message. */
	if (w->nfds + 2 > MSGBUF_MAXFDS)
		return 1;
	if ((room = msgbuf_room(w, b->maxsize)) != 1)
		return room == 0 ? 1 : -1;
	if ((n = msgbuf_recv(w, b->fd, fdpass(b), &fd)) == -1) {
		if (errno == EAGAIN)
			return 1;
		/* It died with something unread. */
		if (errno == ECONNRESET)
			return 0;
		if (errno == ECONNABORTED)
			w->error = errno;
		return -1;
	}
	if (n == 0) {
		if (fd != -1)
			close(fd);
		return 0;
	}
	lo = w->wpos;
	w->wpos += (size_t)n;
	accept_bytes(b, lo, fd);
	return 1;
}

int
imsgbuf_get(struct imsgbuf *b, struct imsg *imsg)
{
	struct msgbuf *w = b->w;
	struct imsg_hdr hdr;
	struct ibuf *buf;
	size_t len;
	int marked;

	memset(imsg, 0, sizeof(*imsg));
	if (!usable(b))
		return -1;
	if (w->rpos == w->next)
		goto none;
	get_header(w->rbuf + w->rpos, &hdr);
	marked = (hdr.len & IMSG_FD_MARK) != 0;
	hdr.len &= ~IMSG_FD_MARK;
	if (w->wpos - w->rpos < hdr.len)
		goto none;

	len = hdr.len - IMSG_HEADER_SIZE;
	if ((buf = ibuf_open(len)) == NULL)
		return -1;
	if (ibuf_add(buf, w->rbuf + w->rpos + IMSG_HEADER_SIZE, len) == -1) {
		ibuf_free(buf);
		return -1;
	}
	if (marked) {
		ibuf_fd_set(buf, w->fds[0]);
		w->nfds--;
		memmove(w->fds, w->fds + 1, w->nfds * sizeof(w->fds[0]));
	}
	explicit_bzero(w->rbuf + w->rpos, hdr.len);
	w->rpos += hdr.len;
	if (w->rpos == w->wpos)
		w->rpos = w->wpos = w->next = 0;
	imsg->hdr = hdr;
	imsg->buf = buf;
	return 1;
none:
	if (w->error != 0) {
		errno = w->error;
		return -1;
	}
	return 0;
}

int
imsgbuf_write(struct imsgbuf *b)
{
	if (!usable(b))
		return -1;
	return msgbuf_write(b->w, b->fd, fdpass(b));
}

int
imsgbuf_flush(struct imsgbuf *b)
{
	while (imsgbuf_queuelen(b) > 0)
		if (imsgbuf_write(b) == -1)
			return -1;
	return 0;
}

void
imsgbuf_clear(struct imsgbuf *b)
{
	msgbuf_free(b->w);
	b->w = NULL;
}

uint32_t
imsgbuf_queuelen(struct imsgbuf *b)
{
	return b->w == NULL ? 0 : b->w->count;
}

size_t
imsgbuf_queuebytes(struct imsgbuf *b)
{
	return b->w == NULL ? 0 : b->w->bytes;
}

uint32_t
imsgbuf_queuefds(struct imsgbuf *b)
{
	return b->w == NULL ? 0 : b->w->descriptors;
}

static void
set_header(struct imsgbuf *b, struct ibuf *buf, uint32_t type, uint32_t id,
    pid_t pid)
{
	struct imsg_hdr hdr = { type, 0, id,
		(uint32_t)(pid == 0 ? b->pid : pid) };

	put_header(buf->hdr, &hdr);
}

struct ibuf *
imsg_create(struct imsgbuf *b, uint32_t type, uint32_t id, pid_t pid,
    size_t len)
{
	size_t max = b->maxsize - IMSG_HEADER_SIZE;
	struct ibuf *buf;

	if (!usable(b))
		return NULL;
	if (len > max) {
		errno = ERANGE;
		return NULL;
	}
	buf = max == 0 ? ibuf_open(0) : ibuf_dynamic(len, max);
	if (buf == NULL)
		return NULL;
	set_header(b, buf, type, id, pid);
	return buf;
}

int
imsg_add(struct ibuf *buf, const void *data, size_t len)
{
	if (ibuf_add(buf, data, len) == -1) {
		ibuf_free(buf);
		return -1;
	}
	return (int)len;
}

void
imsg_close(struct imsgbuf *b, struct ibuf *buf)
{
	struct imsg_hdr hdr;

	if (buf == NULL || buf->view)
		return;
	if (b->w == NULL) {
		ibuf_free(buf);
		return;
	}
	get_header(buf->hdr, &hdr);
	hdr.len = (uint32_t)ibuf_size(buf) + IMSG_HEADER_SIZE;
	if (ibuf_fd_avail(buf))
		hdr.len |= IMSG_FD_MARK;
	put_header(buf->hdr, &hdr);
	msgbuf_push(b->w, buf);
}

int
imsg_composev(struct imsgbuf *b, uint32_t type, uint32_t id, pid_t pid, int fd,
    const struct iovec *iov, int iovcnt)
{
	struct ibuf *buf;
	size_t len = 0;
	int i;

	if (fd < -1 || (fd != -1 && !fdpass(b)) || iovcnt < 0) {
		errno = EINVAL;
		return -1;
	}
	for (i = 0; i < iovcnt; i++) {
		if (iov[i].iov_len > b->maxsize - IMSG_HEADER_SIZE - len) {
			errno = ERANGE;
			return -1;
		}
		len += iov[i].iov_len;
	}
	if ((buf = imsg_create(b, type, id, pid, len)) == NULL)
		return -1;
	for (i = 0; i < iovcnt; i++)
		if (imsg_add(buf, iov[i].iov_base, iov[i].iov_len) == -1)
			return -1;
	buf->fd = fd;
	imsg_close(b, buf);
	return 1;
}

int
imsg_compose(struct imsgbuf *b, uint32_t type, uint32_t id, pid_t pid, int fd,
    const void *data, size_t len)
{
	struct iovec iov = { (void *)(uintptr_t)data, len };

	return imsg_composev(b, type, id, pid, fd, &iov, 1);
}

int
imsg_compose_ibuf(struct imsgbuf *b, uint32_t type, uint32_t id, pid_t pid,
    struct ibuf *buf)
{
	if (buf == NULL || buf->view || (ibuf_fd_avail(buf) && !fdpass(b))) {
		errno = EINVAL;
		goto fail;
	}
	if (!usable(b))
		goto fail;
	if (ibuf_size(buf) > b->maxsize - IMSG_HEADER_SIZE) {
		errno = ERANGE;
		goto fail;
	}
	set_header(b, buf, type, id, pid);
	imsg_close(b, buf);
	return 1;
fail:
	ibuf_free(buf);
	return -1;
}

int
imsg_forward(struct imsgbuf *b, struct imsg *imsg)
{
	if (imsg->buf == NULL) {
		errno = EINVAL;
		return -1;
	}
	/* From the beginning, whatever was read. */
	return imsg_compose(b, imsg->hdr.type, imsg->hdr.peerid,
	    (pid_t)imsg->hdr.pid, -1, imsg->buf->buf, imsg->buf->wpos);
}

uint32_t
imsg_get_type(struct imsg *imsg)
{
	return imsg->hdr.type;
}

uint32_t
imsg_get_id(struct imsg *imsg)
{
	return imsg->hdr.peerid;
}

pid_t
imsg_get_pid(struct imsg *imsg)
{
	return (pid_t)imsg->hdr.pid;
}

size_t
imsg_get_len(struct imsg *imsg)
{
	return ibuf_size(imsg->buf);
}

int
imsg_get_data(struct imsg *imsg, void *data, size_t len)
{
	if (ibuf_size(imsg->buf) != len) {
		errno = EBADMSG;
		return -1;
	}
	return ibuf_get(imsg->buf, data, len);
}

int
imsg_get_buf(struct imsg *imsg, void *data, size_t len)
{
	return ibuf_get(imsg->buf, data, len);
}

int
imsg_get_strbuf(struct imsg *imsg, char *str, size_t len)
{
	return ibuf_get_strbuf(imsg->buf, str, len);
}

int
imsg_get_ibuf(struct imsg *imsg, struct ibuf *view)
{
	return ibuf_get_ibuf(imsg->buf, ibuf_size(imsg->buf), view);
}

int
imsg_get_fd(struct imsg *imsg)
{
	return imsg->buf == NULL ? -1 : ibuf_fd_get(imsg->buf);
}

void
imsg_free(struct imsg *imsg)
{
	ibuf_free(imsg->buf);
	imsg->buf = NULL;
}
