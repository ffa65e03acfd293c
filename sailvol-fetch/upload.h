/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * upload: one request to see that chunks are in the store; upload.c decides
 * what is asked and sent, upload_put.c sends one chunk, upload_pack.c makes and
 * sends a pack of small ones.  In sailvol-fetch.
 */
#ifndef SAILVOL_FETCH_UPLOAD_H
#define SAILVOL_FETCH_UPLOAD_H

#include <event.h>

#include "lib/fetch_imsg.h"
#include "lib/wire.h"
#include "sailvol-fetch/http.h"
#include "sailvol-fetch/kept.h"
#include "sailvol-fetch/pause.h"
#include "sailvol-fetch/request.h"
#include "sailvol-fetch/worker.h"

#define UPLOAD_PRESENT 0
#define UPLOAD_SENT 1
#define UPLOAD_CHANGED 2
#define UPLOAD_NOT_DONE 3
#define UPLOAD_GONE 4

#define UPLOAD_REFUSED_MAX 4 /* URLs of one object that had just come */
#define UPLOAD_STALE_MAX 8   /* those that had not */

enum group_state {
	GROUP_ASK = 0, /* the server is to be asked */
	GROUP_ASKING,
	GROUP_READY, /* url is here */
	GROUP_PACK,  /* to be put into a pack */
	GROUP_SENDING,
	GROUP_DONE
};

/* Chunks of one hash: sent once, from the first whose file still has it. */
struct group {
	uint32_t cur, end; /* in order[] */
	uint8_t state;     /* enum group_state */
	uint8_t result;    /* UPLOAD_* of those from cur on */
	uint8_t refused;   /* URLs that had just come */
	uint8_t stale;     /* those that were too old when their turn came */
	uint8_t first;     /* its turn has come before */
	uint8_t gone;      /* the chunk before cur was kept, and is not */
	char *url, *headers;
	monotime_t url_came;
};

struct put;  /* one object under way (upload_put.c) */
struct pack; /* upload_pack.c */

struct upload {
	struct request req;
	struct pump pump;
	char volume[129], session[129];
	int files[FETCH_UPLOAD_FILES]; /* -1 none */
	struct fetch_upload_chunk *chunks;
	uint32_t n;
	uint32_t *order;    /* indices of chunks, by hash */
	struct kept **kept; /* of chunks whose bytes are kept; NULL gone */
	struct group *groups;
	uint32_t *by_chunk; /* group + 1 of its first chunk */
	uint32_t ngroups, ndone, nready;
	uint32_t npack;      /* groups that wait for a pack */
	uint64_t pack_bytes; /* of these */
	uint32_t next_ask, next_ready, next_pack; /* where to look first */
	/* the question under way */
	struct http *ask;
	struct pause pause; /* before it is asked again */
	uint32_t batch[WIRE_BATCH_MAX], nbatch;
	uint8_t *ask_body;
	TAILQ_HEAD(, put) puts;
	TAILQ_HEAD(, pack) packs;
	unsigned int nputs; /* and packs */
	uint64_t bytes_done, bytes_sent;
	uint32_t chunks_done, told;
	uint64_t told_sent;
	struct event progress;
	uint32_t error;
	char what[256];
	/* of the API's answer, when that was it */
	unsigned int status;
	char *refusal;
	size_t refusal_len;
};

/* upload.c */
struct fetch_upload_chunk *upload_chunk(struct upload *, const struct group *);
void upload_fail(struct upload *, int error, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* What the API answered is no success: it fails by that. */
void upload_refused(struct upload *, const struct http_result *,
    const char *who);
/* Ends of a put: the group is done with that result; its bytes are no longer
   there; its URL was refused, fresh: as http_was_fresh() says. */
void upload_group_done(struct upload *, struct group *, uint8_t result);
void upload_group_changed(struct upload *, struct group *);
/* The same, of bytes that were kept and are not any more. */
void upload_group_gone(struct upload *, struct group *);
void upload_group_again(struct upload *, struct group *, int fresh);

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

/* upload_pack.c */
/* Makes packs of the groups that wait, as far as memory allows; those of a pack
   that is not full only if no more will come. */
void pack_start(struct upload *, int last);
void pack_cancel_all(struct upload *);
uint64_t pack_sent(const struct upload *);

#endif
