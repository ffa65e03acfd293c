/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * cache: what the files of the role share: cache.c has its messages, space and
 * index; cache_job.c brings one content; cache_ask.c asks sailvol-fetch.
 */
#ifndef SAILVOLD_CACHE_H
#define SAILVOLD_CACHE_H

#include <sys/queue.h>
#include <event.h>

#include "lib/chunklist.h"
#include "lib/fetch_imsg.h"
#include "lib/path.h"
#include "sailvold/cache_index.h"
#include "sailvold/cache_store.h"

/* A mount, as the parent says: its fuse may have contents of that volume. */
struct cache_mount {
	TAILQ_ENTRY(cache_mount) entry;
	uint32_t instance;
	char volume_id[64];
	int gone;                /* forgotten with its channel */
	unsigned int gets, puts; /* that wait for their answer */
	uint64_t lists;          /* bytes of the lists of these */
};

/* Who wants a content. */
struct waiter {
	TAILQ_ENTRY(waiter) entry;
	struct chan *peer;
	struct cache_mount *mount;
	uint32_t id;
	int put; /* gave it, and waits for the end */
	uint64_t list_len;
};

enum job_state {
	JOB_QUEUED = 0,
	JOB_VERIFY_KEPT, /* a file from before this process */
	JOB_FETCH,
	JOB_COPY,
	JOB_VERIFY_COPY
};

struct ask;
struct cache_get;

/* One content on its way. */
struct job {
	RB_ENTRY(job) node;
	TAILQ_ENTRY(job) entry; /* in the queue, or among the running */
	TAILQ_HEAD(, waiter) waiters;
	enum job_state state;
	struct hash key; /* of content and volume */
	uint64_t size;
	struct chunklist *list;
	uint8_t *flat; /* the list as it came */
	size_t flat_len;
	char volume_id[64];
	struct hash commit;
	uint8_t *path;
	size_t path_len;
	int source; /* PUT: the file; else -1 */
	/* of the file that grows */
	char tmp[CACHE_TMP_LEN];
	int fd; /* -1 none */
	uint64_t reserved;
	uint64_t written; /* of these, on the disk already */
	uint64_t next;    /* slot that is asked for, or byte that is copied */
	int no_more;      /* slots */
	int retried;      /* after ENOSPC */
	TAILQ_HEAD(, ask) asks;
	unsigned int nasks;
	struct event slice;
};

/* cache_mount.c */
/* PARENT_CACHE_VOLUME; -1: malformed. */
int cache_mount_tell(struct ibuf *);
/* NULL: the parent never said so. */
struct cache_mount *cache_mount_find(uint32_t instance);
/* The channel to its fuse ended. */
void cache_mount_down(uint32_t instance);
/* One more question with a list of that length waits; -1: it may not. */
int cache_mount_room(const struct cache_mount *, int put, uint64_t list_len);
void cache_mount_waits(struct cache_mount *, int put, uint64_t list_len);
void cache_mount_answered(struct cache_mount *, int put, uint64_t list_len);
/*
 * What stands for that content in the index and in the directory: of another
 * volume it is another, so that who knows a hash gets nothing by it.
 */
void cache_mount_key(const struct cache_mount *, const struct hash *content,
    struct hash *key);

/* cache.c */
extern struct cache_index cache_index;
extern uint64_t cache_fetched; /* bytes, for status */
/* Takes that many bytes out of the limit; -1 ENOSPC. */
int cache_reserve(uint64_t);
/* Gives them back; written: how many of them cache_wrote() was told of. */
void cache_unreserve(uint64_t, uint64_t written);
/* The file system has fewer free bytes by these. */
void cache_wrote(uint64_t);
/* The file stands in the directory under its name. */
void cache_kept(const struct hash *, uint64_t bytes);
/* Answers one who waits for a file that is there and verified: 0, or errno. */
int cache_answer_file(struct waiter *, const struct hash *);
void cache_answer_error(struct waiter *, int error, const char *what);

/* cache_job.c */
/* Takes what get points to no longer than the call; list and flat for good,
   and source (-1: GET). -1: ENOMEM, and nothing was taken. */
int job_want(struct chan *, uint32_t id, struct cache_mount *,
    const struct cache_get *, struct chunklist *, uint8_t *flat,
    size_t flat_len, int source);
void cache_cancel(struct chan *, uint32_t id);
void job_peer_down(struct chan *);
/* From cache_ask.c: an answer of sailvol-fetch. */
void job_got(struct job *, uint64_t bytes, uint32_t error, const char *what);
void job_verified(struct job *, uint32_t error);

/* cache_ask.c */
#define ASKS_MAX 4 /* of one job, at a time */
/* The chunks from job->next on that one question takes; 0: asked, 1: there
   are none left, -1 and errno. */
int ask_get(struct job *);
/* Does fd (taken, also on failure) hold the job's list? */
int ask_verify(struct job *, int fd);
/* Nobody wants the answers any more. */
void ask_cancel_all(struct job *);
/* A sailvol-fetch is there; one is gone. */
void ask_fetch_up(void);
void ask_fetch_down(struct chan *);
int ask_get_done(struct chan *, uint32_t, struct imsg *, struct ibuf *);
int ask_get_res(struct chan *, uint32_t, struct imsg *, struct ibuf *);
int ask_verify_res(struct chan *, uint32_t, struct imsg *, struct ibuf *);

#endif
