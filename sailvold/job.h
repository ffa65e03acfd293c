/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * job: what is done to a mount by request: in order, one at a time, kept in the
 * database with its last answer before anybody hears it.  In manifest.
 */
#ifndef SAILVOLD_JOB_H
#define SAILVOLD_JOB_H

#include <jansson.h>

#include "lib/json_name.h"
#include "lib/log.h"
#include "sailvold/control.h"
#include "sailvold/manifest.h"

enum job_kind {
	JOB_COMMIT = 1,
	JOB_RELOAD,
	JOB_RESTORE = JOB_KINDS /* stash restore */
};
enum job_state {
	JOB_QUEUED = 0, /* also while it runs: it would begin again */
	/* A commit whose delta was sent, a reload whose rows have moved: what
	   is needed to end it is kept as its items. */
	JOB_PUBLISHING,
	JOB_DONE
};

/* Who hears a job: a session of ctl, a client of the control socket. */
struct listener {
	TAILQ_ENTRY(listener) link;
	/* last: the answer; the listener is off the list before the call. */
	void (*line)(struct listener *, const char *text, int last);
	void *arg;
	struct job *job; /* NULL: of none (any more) */
};

struct job {
	TAILQ_ENTRY(job) link;
	TAILQ_HEAD(, listener) listeners;
	struct mount *m;
	int64_t id;
	uint8_t kind, state;
	uint64_t session, mark; /* of ctl; 0: of the control socket */
	uint32_t uid, gid;
	uint8_t key[16]; /* idempotency key of a commit */
	json_t *request;
	int64_t created;
	int automatic; /* nobody asked: who began it says what became of it */
	int running;
	int resumed; /* taken from the database: it may have begun before */
	void *run;   /* of the kind */
	/* Frees run, and what it waits for is called no more. */
	void (*stop)(struct job *);
	int (*may_cancel)(const struct job *);
	int64_t last_progress_ms;
};

/* One that nobody asked for, and that nobody waits behind, need not wait itself. */
#define job_may_wait(j) (!(j)->automatic || TAILQ_NEXT(j, link) != NULL)

/* Failures of one that nobody asked for come again and again. */
#define job_log(j) ((j)->automatic ? log_debug : log_warnx)

/* Stores, queues, and starts it when nothing else runs.  request: a new
   reference is taken.  NULL and errno. */
struct job *job_add(struct mount *, uint8_t kind, uint64_t session,
    uint64_t mark, uint32_t uid, uint32_t gid, json_t *request);
void job_listen(struct job *, struct listener *);
void listener_leave(struct listener *);
/* Of the mount, waiting or running; 0 for id: the running one. */
struct job *job_find(struct mount *, int64_t id);
struct job *job_find_session(struct mount *, uint64_t session, uint64_t mark);
/* It cannot be ended now, nor forgotten: who listens is told the error, and it
   goes on, first in the queue, when the next job is asked for. */
void job_suspend(struct job *, const char *type, const char *code,
    const char *what);
/* 0, or -1: EBUSY: it publishes already. */
int job_cancel(struct job *);
/* Ends it: stores the answer (taken), tells it, frees it, starts the next.
   With in_transaction the answer was stored by job_store_answer(). */
void job_done(struct job *, json_t *answer, int stored);
int job_store_answer(struct job *, json_t *answer);
void job_error(struct job *, const char *type, const char *code,
    const char *fmt, ...) __attribute__((format(printf, 4, 5)));
/* 1 when somebody listens, and it is time to tell them something. */
int job_progress_due(const struct job *);
/* {"progress": ...}; at most five a second. Taken. */
void job_progress(struct job *, json_t *progress);

/* The kinds: begin, or begin again. */
void commit_start(struct job *);
void reload_start(struct job *);
void restore_start(struct job *);

/* ---- db_job.c ----------------------------------------------------------------- */

int db_job_insert(struct db *, struct job *, const char *request); /* sets id */
int db_job_state(struct db *, int64_t id, uint8_t state, const char *answer);
/* The caller frees *answer (NULL: none yet); ENOENT. */
int db_job_answer(struct db *, int64_t mount, int64_t id, char **answer);
int db_job_of_session(struct db *, int64_t mount, uint64_t session,
    uint64_t mark, int64_t *id);
/* Those of a mount that are not done, in order; request is read. */
int db_job_pending(struct db *, int64_t mount,
    int (*f)(void *, struct job *, const char *request), void *arg);
/* Of the oldest, so many that it costs the same however many there are, the
   done ones that were created before that time go. */
int db_job_trim(struct db *, int64_t before);
/* Parts of a job: data of a commit's set. */
int db_job_item_put(struct db *, int64_t job, uint64_t seq, uint64_t ovl,
    const void *data, size_t len);
int db_job_item_get(struct db *, int64_t job, uint64_t seq, uint8_t **data,
    size_t *len); /* ENOENT: no more */
int db_job_items_delete(struct db *, int64_t job);
/* 1 when a stash, or a job that is not done, needs the overlay file. */
int db_ovl_is_held(struct db *, const uint8_t mount_id[16], int64_t mount,
    uint64_t ovl);

/* Commits that the overlay, what was seen, and the stashes refer to. */
int db_commits_used(struct db *, int64_t mount, const uint8_t mount_id[16],
    int (*f)(void *, const struct hash *), void *arg);

/* ---- words -------------------------------------------------------------------- */

json_t *json_hash(const struct hash *);
/* {"error":{...}} */
json_t *json_error_of(const char *type, const char *code, const char *message);
void hex_of(const uint8_t *, size_t, char *out); /* 2 * n + 1 bytes */

/* PUT of the mount's lease (lease.c): at mount, reload, and daily; what fails is
   tried again, later and later. */
void lease_renew(struct mount *);
/* The same after a commit, which the server has added to it: within a minute,
   so that earlier ones are let go. */
void lease_soon(struct mount *);
/* The mount goes away. */
void lease_stop(struct mount *);

/* Objects of a running commit (commit.c): held as long as it runs. */
int commit_holds(const struct job *, uint64_t ovl);

#endif
