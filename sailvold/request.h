/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * request: the session with the kernel: requests as they are read, those that
 * wait (parked as the bytes that they came in, and done again from the
 * beginning when what they wait for has come), and their answers.  In fuse.
 */
#ifndef SAILVOLD_REQUEST_H
#define SAILVOLD_REQUEST_H

#include <sys/queue.h>
#include <stddef.h>
#include <stdint.h>

#include <fuse_lowlevel.h>

#include "lib/monotime.h"

/* What an operation returns: 0, an errno, or that it waits. */
#define E_WAIT (-1)
/* Seconds that names and attributes live in the kernel: for ever. */
#define FOREVER 1e9

struct park;
struct waitq {
	TAILQ_HEAD(park_list, park) parks;
};

/* The request that is being done. */
struct request {
	const uint8_t *raw; /* struct fuse_in_header and its body */
	size_t len;
	uint64_t unique; /* without bit 63 */
	uint32_t opcode;
	int resent; /* the kernel sent it again after a takeover */
	int woken;  /* it waited before; error: what came of that */
	int error;
	monotime_t since; /* it waited */
	int roomed;       /* so many times room was asked for it */
	int again;        /* by request_again() */
	struct waitq *wait;
};
extern struct request now;

/*
 * Starts the session on fd with the INIT that the kernel sent.  takeover: INIT
 * was answered by another process, and the kernel is asked to send again what
 * nobody answered.  Requests are read from then on.
 */
int request_start(int fd, const struct fuse_lowlevel_ops *, const uint8_t *init,
    size_t init_len, int takeover);
/* While it is on, none is read, or done that waited. */
void request_pause(int on);

/* Before the start: files may be passed through, with so many file systems
   one above the other (0: not).  0 when this kernel does not offer it. */
int request_want_passthrough(const uint8_t *init, size_t len,
    uint32_t stack_depth);
/*
 * The kernel forgets the attributes of a node id.  Only of one that an open
 * handle, or a request which is not answered yet, holds: of others it might
 * wait for who frees them, and that for our answers.
 */
void request_forget_attr(uint64_t nodeid);

/*
 * The kernel gets these bytes, the first of a file, as its pages.  It locks each,
 * so nobody may have one locked who waits for an answer of ours: only of a file
 * without a handle, and while an OPEN of it, not answered yet, holds it.  -1 and
 * errno.
 */
int request_store(uint64_t nodeid, const void *, size_t len);

void waitq_init(struct waitq *);
int waitq_empty(const struct waitq *);
/* The operation is to return this: it will be done again after a wake. */
int wait_on(struct waitq *);
/* All that wait there are done again, with now.error set. */
void waitq_wake(struct waitq *, int error);
/* Called when the last that waited there was interrupted. */
typedef void (*abandoned_cb)(struct waitq *);
void request_on_abandoned(abandoned_cb);
/* Called once, when nothing that the kernel has sent again is still to be looked
   at. */
void request_on_resent(void (*)(void));
/*
 * Where a request that has no room (ENOSPC) may wait, to be done again; NULL:
 * that is its answer.  *tries: how often it was so, 0 at first.
 */
typedef struct waitq *(*no_room_cb)(int *tries);
void request_on_no_room(no_room_cb);
/* Answers with the errno, or parks. */
void request_fail(fuse_req_t, int error);
/*
 * For an operation that a thread ends: what is done now, to be done once more if
 * that fails.  NULL: it was, or ENOMEM; free(3) ends it.
 */
struct park *request_copy(void);
void request_copy_free(struct park *);
/* Takes the copy, and the request. */
void request_again(fuse_req_t, struct park *);
/* The rest of the body of the request, of at least len bytes; NULL. */
const void *request_body(size_t len);
/* Requests that wait, for the log. */
unsigned int request_parked(void);

#endif
