/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * upload: one request to see that chunks are in the store; upload.c decides
 * what is asked and sent, upload_put.c sends one object.  In sailvol-fetch.
 */
#ifndef SAILVOL_FETCH_UPLOAD_H
#define SAILVOL_FETCH_UPLOAD_H

#include <event.h>

#include "lib/fetch_imsg.h"
#include "sailvol-fetch/http.h"
#include "sailvol-fetch/request.h"
#include "sailvol-fetch/worker.h"

#define UPLOAD_PRESENT 0
#define UPLOAD_SENT 1
#define UPLOAD_CHANGED 2
#define UPLOAD_NOT_DONE 3

enum group_state {
	GROUP_ASK = 0, /* the server is to be asked */
	GROUP_ASKING,
	GROUP_READY, /* url is here */
	GROUP_SENDING,
	GROUP_DONE
};

/* Chunks of one hash: sent once, from the first whose file still has it. */
struct group {
	uint32_t cur, end; /* in order[] */
	uint8_t state;     /* enum group_state */
	uint8_t result;    /* UPLOAD_* of those from cur on */
	uint8_t asked;
	char *url, *headers;
};

struct put; /* one object under way (upload_put.c) */

struct upload {
	struct request req;
	struct pump pump;
	char volume[129], session[129];
	int files[FETCH_UPLOAD_FILES]; /* -1 none */
	struct fetch_upload_chunk *chunks;
	uint32_t n;
	uint32_t *order; /* indices of chunks, by hash */
	struct group *groups;
	uint32_t ngroups, ndone, nready;
	uint32_t next_ask, next_ready; /* where to look first */
	/* the question under way */
	struct http *ask;
	uint32_t batch[512], nbatch;
	uint8_t *ask_body;
	TAILQ_HEAD(, put) puts;
	unsigned int nputs;
	uint64_t bytes_done, bytes_sent;
	uint32_t chunks_done, told;
	uint64_t told_sent;
	struct event progress;
	uint32_t error;
	char what[256];
};

/* upload.c */
struct fetch_upload_chunk *upload_chunk(struct upload *, const struct group *);
void upload_fail(struct upload *, int error, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Ends of a put: the group is done with that result; its bytes are no longer
   there; its URL was refused. */
void upload_group_done(struct upload *, struct group *, uint8_t result);
void upload_group_changed(struct upload *, struct group *);
void upload_group_again(struct upload *, struct group *);

/* upload_put.c */
#define PUT_WHOLE ((uint32_t)1 << 20) /* up to here in one piece of memory */
#define PUT_PART ((size_t)512 * 1024) /* of larger ones, two at a time */
size_t put_memory(uint32_t bytes);
/* Memory was taken from the budget, and is given back.  -1 ENOMEM. */
int put_start(struct upload *, struct group *);
/* Ends them all, as soon as their threads let go. */
void put_cancel_all(struct upload *);
/* Bytes of those under way. */
uint64_t put_sent(const struct upload *);

#endif
