/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */

/*
 * Framed messages and file descriptors over a stream socket pair, and the
 * buffers that they are made of.  Used by every process; imsg_init(3) and
 * ibuf_add(3) are the manual.
 *
 * Where nothing else is said a function returns 0, or -1 with errno:
 * ERANGE too large, EBADMSG short or of the wrong size, EINVAL misuse,
 * EOVERFLOW a string without its NUL, ENOMEM.
 */

#ifndef IMSG_IMSG_H
#define IMSG_IMSG_H

#include <sys/queue.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <stddef.h>
#include <stdint.h>

#define IMSG_HEADER_SIZE 16      /* type, len, peerid, pid: host order */
#define MAX_IMSGSIZE 16384       /* default limit of len, header included */
#define IMSG_FD_MARK 0x80000000U /* in len on the wire: a descriptor */

/*
 * A buffer.  The members belong to imsg/; others use the functions.  Unread
 * bytes are buf[rpos..wpos).  A view borrows its bytes, is never freed, and
 * can only be read.
 */
struct ibuf {
	TAILQ_ENTRY(ibuf) entry;
	unsigned char *buf;
	size_t size; /* allocated */
	size_t max;  /* never grows beyond */
	size_t wpos;
	size_t rpos;
	int fd; /* -1, or owned */
	int view;
	unsigned char hdr[IMSG_HEADER_SIZE]; /* of a message to be sent */
};

struct imsg_hdr {
	uint32_t type;
	uint32_t len; /* with the header, without IMSG_FD_MARK */
	uint32_t peerid;
	uint32_t pid;
};

/* A received message; buf is its payload and owns its descriptor. */
struct imsg {
	struct imsg_hdr hdr;
	struct ibuf *buf;
};

struct msgbuf;

/* A channel.  Users may read fd; the rest is for the functions. */
struct imsgbuf {
	struct msgbuf *w;
	pid_t pid;
	uint32_t maxsize; /* of a message, with the header */
	int fd;           /* the user's, never closed here */
	int flags;
};

/* ---- channel ----------------------------------------------------------- */

/*
 * Start a channel on the stream socket fd, blocking or not.  fd stays the
 * caller's: closed by the caller, after imsgbuf_clear.
 */
int imsgbuf_init(struct imsgbuf *, int fd);

/*
 * Let descriptors pass, both ways.  Both ends must do so before the first
 * message.  Without it a compose with a descriptor fails with EINVAL, and
 * a message that should have one ends the channel with EBADMSG.
 */
void imsgbuf_allow_fdpass(struct imsgbuf *);

/* The limit of a payload in bytes; ERANGE from 2^31 - 16 on. */
int imsgbuf_set_maxsize(struct imsgbuf *, uint32_t max);

/*
 * Read once.  1: something was read, or there was nothing, or what was read
 * before must be taken with imsgbuf_get first; 0: the peer has closed (a
 * peer that died with unread messages too), what came before can still be
 * taken; -1: error.
 *
 * EMFILE: nothing was read and nothing is lost; read again when a
 * descriptor has been closed (the socket stays readable: take it out of the
 * event loop until then).  ECONNABORTED: a descriptor was lost all the same
 * (another thread took the last one); the channel is over, as it is after
 * every other error.  After imsgbuf_read call imsgbuf_get until it is 0.
 */
int imsgbuf_read(struct imsgbuf *);

/*
 * Take the next complete message: 1 and the caller must imsg_free it; 0:
 * none is complete; -1: the channel is over.  EBADMSG: a header with a
 * length below 16, or a message marked as having a descriptor without one;
 * ERANGE: longer than the limit; nothing was allocated for either.  ENOMEM
 * can be tried again.  A message that the peer sent with a descriptor has
 * it: imsg_get_fd is -1 only where none was sent.  Descriptors that belong
 * to no message are closed.
 */
int imsgbuf_get(struct imsgbuf *, struct imsg *);

/*
 * Write what the socket takes.  0: all, or the socket is full
 * (imsgbuf_queuelen tells which); -1: error, EPIPE when the peer is gone;
 * never SIGPIPE.  ETOOMANYREFS: too many descriptors of this user under
 * way: nothing is lost, write again later.  A descriptor that was sent is
 * closed.
 */
int imsgbuf_write(struct imsgbuf *);

/*
 * Write until all is written.  Spins on a full non-blocking socket: never
 * in an event loop.
 */
int imsgbuf_flush(struct imsgbuf *);

/*
 * Free all that is queued in both directions, descriptors too, and wipe
 * it.  Not fd.  May be called twice; the channel is unusable then (EINVAL).
 */
void imsgbuf_clear(struct imsgbuf *);

/* Messages not yet written completely. */
uint32_t imsgbuf_queuelen(struct imsgbuf *);
/* Bytes of their bodies. */
size_t imsgbuf_queuebytes(struct imsgbuf *);
/* Descriptors of them. */
uint32_t imsgbuf_queuefds(struct imsgbuf *);

/* ---- sending ----------------------------------------------------------- */

/*
 * Queue a message: 1, or -1 with errno (ERANGE over the limit, EINVAL a
 * descriptor on a channel that does not pass them).  pid 0 is the own pid.
 * fd is -1 or a descriptor, which the channel owns after success and the
 * caller still owns after failure.  Nothing is written: imsgbuf_write.
 */
int imsg_compose(struct imsgbuf *, uint32_t type, uint32_t id, pid_t pid,
    int fd, const void *data, size_t len);
int imsg_composev(struct imsgbuf *, uint32_t type, uint32_t id, pid_t pid,
    int fd, const struct iovec *iov, int iovcnt);

/*
 * The same with the unread bytes of an ibuf, and the descriptor that was
 * put into it.  Takes the ibuf and its descriptor, also when it fails.
 */
int imsg_compose_ibuf(struct imsgbuf *, uint32_t type, uint32_t id, pid_t pid,
    struct ibuf *);

/*
 * A message in the making: len is a guess of its payload, the limit is the
 * channel's.  Then ibuf_add and others (offsets and sizes count the
 * payload only), ibuf_fd_set, and imsg_close, or ibuf_free to drop it.
 * NULL with errno.
 */
struct ibuf *imsg_create(struct imsgbuf *, uint32_t type, uint32_t id,
    pid_t pid, size_t len);

/* Append to it: len, or -1 with errno and the ibuf is freed. */
int imsg_add(struct ibuf *, const void *data, size_t len);

/*
 * Queue it; the channel owns it.  A descriptor in it on a channel that does
 * not pass them makes imsgbuf_write fail with EINVAL.
 */
void imsg_close(struct imsgbuf *, struct ibuf *);

/*
 * Queue the whole payload of a received message with its type, id and pid,
 * never its descriptor: 1, or -1 with errno.  The message stays the
 * caller's, and what was read of it does not matter.
 */
int imsg_forward(struct imsgbuf *, struct imsg *);

/* ---- a received message ------------------------------------------------ */

uint32_t imsg_get_type(struct imsg *);
uint32_t imsg_get_id(struct imsg *);
pid_t imsg_get_pid(struct imsg *);

/* Bytes of the payload that were not yet read. */
size_t imsg_get_len(struct imsg *);

/* The unread payload, which must have exactly len bytes, or EBADMSG. */
int imsg_get_data(struct imsg *, void *data, size_t len);

/* The next len bytes; EBADMSG when there are fewer. */
int imsg_get_buf(struct imsg *, void *data, size_t len);

/* The next len bytes, a string padded with NUL: as ibuf_get_strbuf. */
int imsg_get_strbuf(struct imsg *, char *str, size_t len);

/*
 * All that is unread as a view, valid until imsg_free; it may be empty.
 * Read it with ibuf_get_*, and refuse the message unless ibuf_size is 0
 * afterwards.
 */
int imsg_get_ibuf(struct imsg *, struct ibuf *view);

/* Its descriptor, which the caller owns then, once; -1 when there is none. */
int imsg_get_fd(struct imsg *);

/* Free and wipe, close a descriptor that nobody took.  Twice is fine. */
void imsg_free(struct imsg *);

/* ---- buffers ----------------------------------------------------------- */

/* A buffer of len bytes that never grows; NULL with errno. */
struct ibuf *ibuf_open(size_t len);

/* One of len bytes that grows up to max; EINVAL if max is 0 or below len. */
struct ibuf *ibuf_dynamic(size_t len, size_t max);

/* Views, without allocation: valid as long as the bytes, never freed. */
void ibuf_from_buffer(struct ibuf *view, const void *data, size_t len);
void ibuf_from_ibuf(struct ibuf *view, const struct ibuf *from);

/*
 * Wipe and free the buffer, close its descriptor.  errno is kept; NULL is
 * fine; a view is left alone.
 */
void ibuf_free(struct ibuf *);

/*
 * Append.  ERANGE when the buffer is full; EINVAL for a value that does not
 * fit into its type, and for a view.  The buffer is unchanged then.
 * n: network order, h: host order.  ibuf_add_ibuf appends what is unread
 * in the other and does not read it.
 */
int ibuf_add(struct ibuf *, const void *data, size_t len);
int ibuf_add_ibuf(struct ibuf *, const struct ibuf *from);
int ibuf_add_zero(struct ibuf *, size_t len);
int ibuf_add_n8(struct ibuf *, uint64_t);
int ibuf_add_n16(struct ibuf *, uint64_t);
int ibuf_add_n32(struct ibuf *, uint64_t);
int ibuf_add_n64(struct ibuf *, uint64_t);
int ibuf_add_h16(struct ibuf *, uint64_t);
int ibuf_add_h32(struct ibuf *, uint64_t);
int ibuf_add_h64(struct ibuf *, uint64_t);

/*
 * Append str in a field of len bytes, padded with NUL; EOVERFLOW when it
 * and one NUL do not fit.
 */
int ibuf_add_strbuf(struct ibuf *, const char *str, size_t len);

/* Append len zero bytes and return where they are; NULL as ibuf_add. */
void *ibuf_reserve(struct ibuf *, size_t len);

/* Overwrite len bytes at pos, counted from the first unread; ERANGE. */
int ibuf_set(struct ibuf *, size_t pos, const void *data, size_t len);

/* Where these bytes are, or NULL with ERANGE; until the next append. */
void *ibuf_seek(struct ibuf *, size_t pos, size_t len);

/* Make len bytes unread: cut, or append zeros (ERANGE in a view). */
int ibuf_truncate(struct ibuf *, size_t len);

/* Read; EBADMSG when there is less, and nothing is read then. */
int ibuf_get(struct ibuf *, void *data, size_t len);
int ibuf_get_n8(struct ibuf *, uint8_t *);
int ibuf_get_n16(struct ibuf *, uint16_t *);
int ibuf_get_n32(struct ibuf *, uint32_t *);
int ibuf_get_n64(struct ibuf *, uint64_t *);
int ibuf_get_h16(struct ibuf *, uint16_t *);
int ibuf_get_h32(struct ibuf *, uint32_t *);
int ibuf_get_h64(struct ibuf *, uint64_t *);

/* The next len bytes as a view of the same memory. */
int ibuf_get_ibuf(struct ibuf *, size_t len, struct ibuf *view);

/*
 * The next len bytes as an allocated string that the caller frees; NULL
 * with EBADMSG also when there is a NUL among them.
 */
char *ibuf_get_string(struct ibuf *, size_t len);

/*
 * The next len bytes, a string padded with NUL; what follows its NUL is
 * zero in str.  EOVERFLOW without NUL (they are read, str is cut); EINVAL
 * if len is 0.
 */
int ibuf_get_strbuf(struct ibuf *, char *str, size_t len);

/* Skip len bytes; EBADMSG when there are fewer. */
int ibuf_skip(struct ibuf *, size_t len);

/* Make all bytes unread again. */
void ibuf_rewind(struct ibuf *);

/* The first unread byte, the number of them, and how many can be added. */
void *ibuf_data(const struct ibuf *);
size_t ibuf_size(const struct ibuf *);
size_t ibuf_left(const struct ibuf *);

/*
 * Put a descriptor into the buffer, which owns it then; one that was there
 * is closed; -1 takes it out so.  EINVAL in a view: the caller keeps it.
 */
int ibuf_fd_set(struct ibuf *, int fd);

/* Take it out: the caller owns it; -1 when there is none. */
int ibuf_fd_get(struct ibuf *);

/* 1 if there is one. */
int ibuf_fd_avail(const struct ibuf *);

#endif /* IMSG_IMSG_H */
