/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */

/*
 * What imsg.c and msgbuf.c share: the two queues of a channel.  Not for use
 * outside imsg/.
 */

#ifndef IMSG_MSGBUF_H
#define IMSG_MSGBUF_H

#include "imsg/imsg.h"

#define MSGBUF_READ_SIZE 65536 /* at least this much is read at once */
#define MSGBUF_MAXFDS 16       /* received and not yet taken */

/*
 * Offsets are into rbuf: rpos <= wpos, and everything before next has a
 * header that was found good; next is beyond wpos while a payload is being
 * received.
 */
struct msgbuf {
	TAILQ_HEAD(msgbuf_queue, ibuf) queue;
	uint32_t count;
	uint32_t descriptors; /* of the queue, not yet sent */
	size_t bytes;         /* of the queue's bodies */
	size_t sent;          /* of the first in the queue, header included */

	unsigned char *rbuf;
	size_t rsize;
	size_t rpos;
	size_t wpos;
	size_t next;
	int fds[MSGBUF_MAXFDS]; /* of marked messages before next, in order */
	unsigned int nfds;
	int pendfd; /* came with the beginning of the header at next */
	int spare;  /* a descriptor's place, given up while receiving */
	int error;  /* what ended the channel, or 0 */
};

struct msgbuf *msgbuf_new(void);
void msgbuf_free(struct msgbuf *);

/* Append to the write queue, which owns the ibuf then. */
void msgbuf_push(struct msgbuf *, struct ibuf *);

/* Send what the socket takes: 0, or -1 with errno. */
int msgbuf_write(struct msgbuf *, int fd, int fdpass);

/* Make room for one message of size bytes: 1 some, 0 full, -1 with errno. */
int msgbuf_room(struct msgbuf *, size_t size);

/*
 * Receive once behind wpos, which is not moved: the number of bytes, 0 at
 * the end, -1 with errno.  *fdp is the descriptor that came, or -1; errno
 * ECONNABORTED if one came and was lost.
 */
ssize_t msgbuf_recv(struct msgbuf *, int fd, int fdpass, int *fdp);

#endif /* IMSG_MSGBUF_H */
