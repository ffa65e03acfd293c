/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * cache: what the files of the role share: cache.c has its messages and index;
 * cache_room.c its space; cache_job.c brings one chunk; cache_ask.c asks sailvol-fetch.
 */
#ifndef SAILVOLD_CACHE_H
#define SAILVOLD_CACHE_H

#include <sys/queue.h>
#include <errno.h>
#include <event.h>

#include "lib/fetch_imsg.h"
#include "lib/lack.h"
#include "lib/monotime.h"
#include "lib/path.h"
#include "sailvold/cache_index.h"
#include "sailvold/cache_store.h"

/* A mount, as the parent says: its fuse may have chunks of that volume. */
struct cache_mount {
	TAILQ_ENTRY(cache_mount) entry;
	uint32_t instance;
	char volume_id[64];
	int gone;                 /* forgotten with its channel */
	unsigned int gets, puts;  /* that wait for their answer */
	unsigned int bundle_turn; /* of that bundle it has had its copy */
};

/* A file of a commit: of whom chunks are asked. */
struct place {
	unsigned int refs;
	char volume_id[64];
	struct hash commit;
	size_t path_len;
	uint8_t path[];
};

/* A PUT: its file, and what is still to be answered. */
struct put {
	unsigned int refs; /* waiters, and jobs that copy from it */
	unsigned int left; /* waiters */
	struct chan *peer; /* NULL: gone */
	struct cache_mount *mount;
	uint32_t id;
	int fd;
	int error; /* the first */
};

/* Who wants a chunk. */
struct waiter {
	TAILQ_ENTRY(waiter) entry;
	struct chan *peer;
	struct cache_mount *mount;
	uint32_t id;
	uint8_t shift;
	struct fetch_get_chunk chunk;
	struct place *place; /* GET */
	struct put *put;     /* else */
	monotime_t since;
};

enum job_state {
	JOB_QUEUED = 0,
	JOB_VERIFY_KEPT, /* a file from before this process */
	JOB_FETCH,
	JOB_COPY,
	JOB_VERIFY_COPY
};

struct ask;
struct cache_want;
struct job_queue;

/* What nothing has come for in that time is given up (sailvold(8), READING). */
#define CACHE_LATE_MS 30000

/* One chunk on its way; or a bundle from before, that is verified. */
struct job {
	RB_ENTRY(job) node;
	TAILQ_ENTRY(job) entry; /* in its queue, which is q */
	struct job_queue *q;
	int elsewhere; /* what is here is of another length */
	TAILQ_HEAD(, waiter) waiters;
	enum job_state state;
	struct hash key; /* of the chunk and its volume, or of the bundle */
	struct hash hash;
	uint32_t bytes; /* as who waits says; 0: a bundle */
	/* FETCH: of which file it is asked. */
	struct place *place;
	uint64_t slot;
	struct ask *ask;
	TAILQ_ENTRY(job) in_ask;
	/* COPY */
	struct put *source;
	uint64_t offset; /* in it */
	uint64_t copied;
	/* the file that grows */
	char tmp[CACHE_TMP_LEN];
	int fd; /* -1 none */
	uint64_t reserved;
	int retried; /* after ENOSPC */
	int memory;  /* its file is a memfd, and is not kept */
	struct event slice;
	monotime_t lacked; /* first, descriptors or memory */
};

/* cache_mount.c */
/* PARENT_CACHE_VOLUME; -1: malformed. */
int cache_mount_tell(struct ibuf *);
/* NULL: the parent never said so. */
struct cache_mount *cache_mount_find(uint32_t instance);
/* The first (of NULL), or the next. */
struct cache_mount *cache_mount_next(struct cache_mount *);
/* The channel to its fuse ended. */
void cache_mount_down(uint32_t instance);
/* n more chunks, or one more PUT; -1: it may not. */
int cache_mount_room(const struct cache_mount *, int put, unsigned int n);
/*
 * What stands for that chunk in the index and in the directory: of another
 * volume it is another, so that who knows a hash gets nothing by it.
 */
void cache_key(const char *volume_id, const struct hash *, struct hash *key);
/* The same of a bundle, by the hash of its list: never that of a chunk. */
void cache_bundle_key(const char *volume_id, const struct hash *,
    struct hash *key);

/* cache.c */
extern struct cache_index cache_index;
extern uint64_t cache_fetched; /* bytes, for status */
enum cache_kind cache_kind(const struct cache_entry *);
/* Out of the index and of the directory. */
void cache_give_up(struct cache_entry *);
/* The file stands in the directory under its name, and is good; NULL: ENOMEM. */
struct cache_entry *cache_kept(const struct hash *, uint64_t bytes,
    const struct cache_stamp *);
/* A chunk that nobody waits for, if there is room. */
void cache_keep_neighbour(const struct hash *, const uint8_t *data,
    uint32_t bytes);
/* Answers one who waits for what is there and verified: 0, or errno; EBADMSG:
   it is not what was verified, and is to be so anew. */
int cache_answer_entry(const struct waiter *, struct cache_entry *);
/* The same, by that file; -1 and errno. */
int cache_answer_file(const struct waiter *, int fd);
/* The same: a bundle that was sent before has it. */
int cache_answer_bundled(const struct waiter *);
void cache_answer_error(const struct waiter *, int error, const char *what);
/* PUT_RES, when nothing of it is left. */
void cache_put_part(struct put *, int error);

/* cache_room.c */
/* Takes that many bytes out of the limit; -1: ENOSPC, EROFS. */
int cache_reserve(uint64_t);
void cache_unreserve(uint64_t);
/* There was no room for so many, though there seemed to be. */
void cache_room_lacks(uint64_t);
/* What that many bytes take of the disk. */
uint64_t cache_disk_bytes(uint32_t);
/* So many are to be free of the file system (cache_store_free). */
void cache_room_keep(uint64_t);
/* The index has all that is there: from now on that is looked after. */
void cache_room_start(void);
int cache_room_ask(struct chan *, uint32_t, struct imsg *, struct ibuf *);

/* cache_place.c */
struct place *place_new(const struct cache_mount *, const struct cache_want *);
struct put *put_new(struct chan *, uint32_t id, struct cache_mount *, int fd);
void put_unref(struct put *);
void place_unref(struct place *);

/* cache_job.c */
/*
 * GET of those chunks that are marked in lacks (put NULL), or PUT: each is on
 * its way from then on.  -1: ENOMEM, and none was taken.
 */
int job_want(struct chan *, uint32_t id, struct cache_mount *,
    const struct cache_want *, const uint8_t *lacks, struct put *);
void cache_cancel(struct chan *, uint32_t id);
void job_peer_down(struct chan *);
/* From cache_ask.c: what became of a chunk that was asked for. */
void job_got(struct job *);
void job_got_not(struct job *, int error, const char *what);
void job_verified(struct job *, uint32_t error);
/* A chunk of a volume as bytes, whether somebody asked for it or not. */
void job_bytes(const char *volume_id, const struct hash *, const uint8_t *,
    uint32_t bytes);
/* It has come in a bundle, which has its own room in the cache. */
void job_give_room(const struct hash *key, uint32_t bytes);
/* It is in that bundle: who waits for it is answered. */
void job_bundled(const struct hash *key, uint32_t bytes, struct cache_bundle *);
/* All that may begin, begins; what was asked for is sent. */
void job_run_queue(void);
/* Nothing comes at all: who has waited for it for long is not kept waiting for
   a turn. */
void job_late(void);

/* cache_bundle.c */
/* fd (taken, also on failure) has these verified chunks; -1: they lie. */
int cache_bundle_came(const char *volume_id, const struct fetch_bundle *,
    int fd);
/* Sends one that is in the index, and verified; -1 and errno. */
int cache_bundle_give(struct chan *, struct cache_entry *);
/* One that just came, and that it has the chunk; -1 and errno. */
int cache_bundle_answer(struct cache_bundle *, const struct waiter *);
/* Asks whether the file is what it should be; fd is taken if 0; -1 and errno. */
int cache_bundle_verify(struct chan *fetch, uint32_t number, int fd);
/* The chunks of a file that was found; NULL and errno, EBADMSG: it is none of
   ours. */
struct cache_part *cache_bundle_scan(const struct hash *, uint16_t *n);

/* cache_ask.c */
/* Puts j, of j->place, into the next question; -1 and errno. */
int ask_get(struct job *);
/* Sends what was gathered. */
void ask_flush(void);
/* Does fd (taken, also on failure) hold the job's chunk? */
int ask_verify(struct job *, int fd);
/* It does not want its answer any more. */
void ask_leave(struct job *);
/* A sailvol-fetch is there; one is gone. */
void ask_fetch_up(void);
void ask_fetch_down(struct chan *);
int ask_get_done(struct chan *, uint32_t, struct imsg *, struct ibuf *);
int ask_get_bundle(struct chan *, uint32_t, struct imsg *, struct ibuf *);
int ask_get_res(struct chan *, uint32_t, struct imsg *, struct ibuf *);
int ask_verify_res(struct chan *, uint32_t, struct imsg *, struct ibuf *);

#endif
