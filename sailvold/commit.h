/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * commit: a commit that runs; shared by commit.c (its course), commit_files.c
 * (hashing and uploading), commit_chunks.c and delta_save.c.  In manifest.
 */
#ifndef SAILVOLD_COMMIT_H
#define SAILVOLD_COMMIT_H

#include <event2/event.h>

#include "lib/delta.h"
#include "sailvold/delta_make.h"
#include "sailvold/job.h"
#include "sailvold/rate.h"

#define COMMIT_TRIES 3 /* of a file that changes */
/* After a step's first failure, for which sailvol-fetch(8) has tried for half a
   minute; then the commit fails: about a minute without any answer. */
#define COMMIT_PATIENCE_MS 25000
#define COMMIT_SYNC_EACH 8   /* files; of more the file system, once */
#define COMMIT_IN_FLIGHT 128 /* files that are opened and hashed at a time */
#define COMMIT_UPLOADS 3
#define COMMIT_BATCH_FILES 128             /* with a descriptor */
#define COMMIT_LIST_SLOTS DELTA_MAX_HASHES /* of a list that is read */

/* Small chunks wait until there are enough for a pack; large ones do not. */
enum batch_kind { BATCH_PACKS, BATCH_LARGE, BATCH_KINDS };

struct old_chunks;

struct cfile {
	uint64_t ovl;
	size_t lo, hi; /* its items: c->by_ovl[lo, hi) */
	unsigned int tries;
	int writers;
	int fd;      /* while it is hashed; else -1 */
	int hashed;  /* what is to be known of its chunks is known */
	int no_keep; /* its bytes were kept once, and were lost */
	struct fetch_hash_res res;
	uint8_t *list; /* flat chunk list; owned */
	size_t list_len;
	struct rest *rest; /* of one that is not whole: what it lacks; owned */
	unsigned int pending; /* batches with chunks of it */
	struct {
		uint64_t batch; /* the last one */
		uint32_t file;  /* it, in that */
	} in[BATCH_KINDS];
	struct old_chunks *old;        /* NULL: not looked up; owned */
	struct fetch_get_chunk *early; /* sent before the list came; owned */
	size_t nearly, early_size;
	int again; /* a chunk was no longer what was hashed */
	int done;
};

struct batch {
	struct batch *next; /* that waits to be sent */
	uint64_t serial;
	struct commit_run *c;
	uint32_t number; /* of server_upload; 0: not sent */
	struct event *timer;
	unsigned int tries; /* since more than `most' was done */
	uint32_t most;      /* chunks, of all tries */
	monotime_t deadline;
	uint32_t nfds, n;
	int fds[COMMIT_BATCH_FILES];
	struct batch_chunk {
		struct cfile *file; /* side by side for one file */
		struct fetch_upload_chunk chunk;
	} * chunks; /* n, owned: most have few of FETCH_UPLOAD_MAX */
	uint32_t size;
	uint64_t small; /* bytes of chunks for packs */
	uint64_t reported;
};

struct commit_run {
	struct job *job;
	unsigned int refs; /* callbacks that will come */
	int dead;
	struct collecting *collecting; /* NULL: it is not, or not yet */
	struct delta_set set;
	int has_set;
	int delta;        /* of the set, as it is sent; -1 */
	struct hash sent; /* SHA-256 of it */
	int has_sent;
	/* What was sent before all began again: it may still come through. */
	struct delta_set before;
	struct hash before_sent;
	int has_before;
	int doubt; /* the delta may have been published */
	/* Why it is not taken, while that is found out; "": it is not. */
	char refused_code[64], refused_what[512];
	const char *refused_type;
	unsigned int attempt;
	size_t *by_ovl; /* indices of local items, by object */
	size_t nby_ovl;
	struct cfile *files;
	size_t nfiles, next, in_flight, ndone;
	int synced; /* a sync of all of them was asked for */
	struct batch *filling[BATCH_KINDS];
	uint64_t nbatches; /* made so far */
	struct batch *up[COMMIT_UPLOADS];
	struct batch *waiting, **waiting_tail;
	struct cfile **redo;
	size_t nredo, redo_cap;
	uint64_t bytes, hashed, bytes_done, bytes_sent, skipped;
	struct rate rate;
	uint32_t request; /* of server_request */
	struct event *timer;
	unsigned int tries, missing;
	monotime_t deadline;
	void (*retry)(struct commit_run *);
	int publishing;
};

/* commit_files.c: hashes and uploads all that needs it, then commit_hashed. */
int commit_files_gather(struct commit_run *);
void commit_files_begin(struct commit_run *);
/* Uploads end; what was asked of fuse and of hashes is still to come. */
void commit_files_stop(struct commit_run *);
void commit_files_free(struct commit_run *);
void commit_files_pump(struct commit_run *);
/* A chunk to be sent of a file that is open; -1, or the commit is dead. */
int commit_batch_add(struct commit_run *, struct cfile *, uint64_t offset,
    uint32_t bytes, const struct hash *);
/* Large ones go up when an upload is free. */
void commit_batch_idle(struct commit_run *);

/* commit_chunks.c: a file is about to be hashed: which of its chunks were
   published before. */
void commit_chunks_begin(struct commit_run *, struct cfile *,
    const struct obj *);
/* Those of a file that is being hashed, in the order of its
   slots; all of them, -1 when they cannot be queued. */
void commit_chunks_some(struct commit_run *, struct cfile *,
    const struct fetch_hash_chunks *);
int commit_chunks_all(struct commit_run *, struct cfile *,
    const struct chunklist *);
void commit_chunks_free(struct cfile *);
/* commit.c */
void commit_hashed(struct commit_run *);
void commit_fail(struct commit_run *, const char *type, const char *code,
    const char *what);
/* By what the server answered. */
void commit_refused_by(struct commit_run *, const struct server_answer *);
/* 1: the server has forgotten the session, as it may by a loss of power; it is
   told again, and what it refused goes up once more.  What of this one it has
   forgotten, too, it says before it publishes. */
int commit_session_again(struct commit_run *, const struct server_answer *);
/* The server has lost some of what it was told: all is looked up again, some
   times. */
void commit_again(struct commit_run *, const char *code, const char *what);
void commit_release(struct commit_run *);
/* Milliseconds to wait before that try, doubling, with jitter. */
int commit_backoff_ms(unsigned int tries);
void commit_progress(struct commit_run *, const char *phase);

/* delta_save.c: inside of the caller's transaction. */
enum delta_saved {
	DELTA_SENT,
	DELTA_BEFORE
}; /* the first one ends the second */
int delta_save(struct db *, int64_t job, enum delta_saved,
    const struct delta_set *, const struct hash *sent);
int delta_load(struct db *, int64_t job, enum delta_saved, struct delta_set *,
    struct hash *sent);

#endif
