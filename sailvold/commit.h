/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * commit: a commit that runs; shared by commit.c (its course), commit_files.c
 * (hashing and uploading) and delta_save.c.  In manifest.
 */
#ifndef SAILVOLD_COMMIT_H
#define SAILVOLD_COMMIT_H

#include <event2/event.h>

#include "sailvold/delta_make.h"
#include "sailvold/job.h"

#define COMMIT_TRIES 3 /* of a file that changes */
/* After a step's first failure, for which sailvol-fetch(8) has tried for half a
   minute; then the commit fails: about a minute without any answer. */
#define COMMIT_PATIENCE_MS 25000
#define COMMIT_IN_FLIGHT 8 /* files that are opened and hashed at a time */
#define COMMIT_UPLOADS 2
#define COMMIT_BATCH_FILES 128

struct cfile {
	uint64_t ovl;
	size_t lo, hi; /* its items: c->by_ovl[lo, hi) */
	unsigned int tries;
	int writers;
	int fd; /* while its chunks are gathered; else -1 */
	struct fetch_hash_res res;
	uint8_t *list; /* flat chunk list; owned */
	size_t list_len;
	unsigned int pending; /* batches with chunks of it */
	int again;            /* a chunk was no longer what was hashed */
	int done;
};

struct batch {
	struct batch *next; /* that waits to be sent */
	struct commit_run *c;
	uint32_t number; /* of server_upload; 0: not sent */
	struct event *timer;
	unsigned int tries; /* since more than `most' was done */
	uint32_t most;      /* chunks, of all tries */
	monotime_t deadline;
	uint32_t nfiles, n;
	int fds[COMMIT_BATCH_FILES];
	struct cfile *files[COMMIT_BATCH_FILES];
	struct fetch_upload_chunk chunks[FETCH_UPLOAD_MAX];
	uint64_t bytes, reported;
};

struct commit_run {
	struct job *job;
	unsigned int refs; /* callbacks that will come */
	int dead;
	struct delta_set set;
	int has_set;
	unsigned int attempt;
	size_t *by_ovl; /* indices of local items, by object */
	size_t nby_ovl;
	struct cfile *files;
	size_t nfiles, next, in_flight, ndone;
	struct batch *batch; /* that is filled */
	struct batch *up[COMMIT_UPLOADS];
	struct batch *waiting, **waiting_tail;
	struct cfile **redo;
	size_t nredo, redo_cap;
	uint64_t bytes, bytes_done, bytes_sent, skipped;
	monotime_t files_began; /* of which the rate is */
	uint32_t request;       /* of server_request */
	struct event *timer;
	unsigned int tries, missing;
	monotime_t deadline;
	void (*retry)(struct commit_run *);
	int publishing;
};

/* commit_files.c: hashes and uploads all that needs it, then commit_hashed. */
int commit_files_begin(struct commit_run *);
/* Uploads end; what was asked of fuse and of hashes is still to come. */
void commit_files_stop(struct commit_run *);
void commit_files_free(struct commit_run *);
void commit_files_pump(struct commit_run *);
/* commit.c */
void commit_hashed(struct commit_run *);
void commit_fail(struct commit_run *, const char *type, const char *code,
    const char *what);
void commit_release(struct commit_run *);
/* Milliseconds to wait before that try, doubling, with jitter. */
int commit_backoff_ms(unsigned int tries);
void commit_progress(struct commit_run *, const char *phase);

/* delta_save.c: inside of the caller's transaction. */
int delta_save(struct db *, int64_t job, const struct delta_set *);
int delta_load(struct db *, int64_t job, struct delta_set *);

#endif
