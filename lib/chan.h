/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * chan: a channel to another process of the suite: an imsgbuf, its libevent
 * events, and the table of the messages that may come through it.  In every
 * process.
 */
#ifndef LIB_CHAN_H
#define LIB_CHAN_H

#include <stddef.h>
#include <stdint.h>

#include "imsg/imsg.h"
#include "lib/memfd.h"

struct chan;

#define CHAN_NOFD 0 /* a descriptor with it is a violation */
#define CHAN_FD 1   /* without a descriptor it is one */
#define CHAN_MAYFD 2

/*
 * What may come from whom.  A message that no row allows, whose body is
 * shorter than min or longer than max, or whose descriptor is missing or too
 * much, comes from a peer that is broken or hostile: fatalx, or, for a channel
 * with on_violation set, that.
 */
struct msg_rule {
	uint32_t type;
	uint8_t from; /* role of the sender (proc.h) */
	uint8_t fd;   /* CHAN_* */
	size_t min;   /* bytes of the body */
	size_t max;
	/*
	 * body is a view: read with ibuf_get_*, and refuse what is left over.
	 * id: the number of the request, which an answer repeats.  The handler
	 * takes the descriptor with imsg_get_fd(), else it is closed.  Returns
	 * 0, or -1 when the message is malformed (a violation as above).
	 */
	int (*handler)(struct chan *, uint32_t id, struct imsg *,
	    struct ibuf *body);
	const char *name;
};

struct chan_ops {
	const struct msg_rule *rules;
	size_t nrules;
	/* The peer closed or died, and all that it had sent was handled; the
	   channel is freed after the call. */
	void (*on_close)(struct chan *, void *arg);
	/* Called once; then the channel ends as if the peer had closed it. */
	void (*on_violation)(struct chan *, const char *why, void *arg);
};

/*
 * Owns fd (a stream socket, made non-blocking) from now on.  from: role of the
 * process at the other end; instance: which one of that role (a mount's
 * number, a fetcher's).  max_body: bytes of the largest body either way.
 * Reading starts at once; messages are handled from the event loop only (of
 * the current base: event_init(3)).  NULL and errno: fd stays with the caller.
 */
struct chan *chan_new(int fd, uint8_t from, uint32_t instance, size_t max_body,
    const struct chan_ops *, void *arg);
/* Also from its own handlers; no on_close. */
void chan_free(struct chan *);

uint8_t chan_role(const struct chan *);
uint32_t chan_instance(const struct chan *);
void *chan_arg(const struct chan *);

/*
 * Queue a message, and write what the socket takes.  data/len or ibuf is its
 * body (the ibuf is taken, also on failure; NULL: empty).  A peer that leaves
 * 65,536 messages unread, or 128 MiB, is broken: with on_violation set, that.  fd: passed along and owned from a success on, -1:
 * none; on failure it stays with the caller.  0, or -1 and errno.
 */
int chan_send(struct chan *, uint32_t type, uint32_t id, int fd,
    const void *data, size_t len);
int chan_send_ibuf(struct chan *, uint32_t type, uint32_t id, int fd,
    struct ibuf *);

/* Messages that wait to be sent: high and low water is the sender's business. */
uint32_t chan_queued(const struct chan *);
/* Of them, with a descriptor: who sends more than some hundreds before its peer
   has read them takes it for one that does not read. */
uint32_t chan_queued_fds(const struct chan *);
/* Stop or go on reading: back-pressure towards the sender. */
void chan_pause(struct chan *);
void chan_resume(struct chan *);
/* Reads once and handles what came, without waiting; 0: nothing had come.  May
   end the channel. */
int chan_more(struct chan *);
/* Handles all that has arrived, without waiting; may end the channel. */
void chan_drain(struct chan *);
/* Writes what is queued, waiting for at most ms milliseconds; before exit. */
int chan_flush(struct chan *, int ms);

#endif
