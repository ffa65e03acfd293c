/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * manifest: what the files of the manifest role share: its mounts, its
 * requests to the server, questions to fuse, and waiting for the journal.  In
 * manifest alone.
 */
#ifndef SAILVOLD_MANIFEST_H
#define SAILVOLD_MANIFEST_H

#include <sys/queue.h>

#include "lib/fetch_imsg.h"
#include "sailvold/db.h"
#include "sailvold/sailvold_imsg.h"

extern struct db *manifest_db;

#define JOB_KINDS 3 /* enum job_kind of job.h: 1 to 3 */

struct journal_read;
struct job;
TAILQ_HEAD(job_queue, job);
struct ask;
TAILQ_HEAD(ask_queue, ask);
struct reload_run;
struct applied_wait;
TAILQ_HEAD(applied_queue, applied_wait);

/* A mount that is served, from PARENT_MANIFEST_MOUNT to PARENT_MANIFEST_GONE. */
struct mount {
	TAILQ_ENTRY(mount) link;
	uint32_t instance;
	uint32_t flags;       /* MOUNT_* */
	uint32_t uid;         /* who mounted it, and may unmount it */
	struct mount_row row; /* as in the database */
	struct idmap ids;     /* of the machine, to those of its entries */
	struct mount_policy policy;
	uint64_t overlay_used, overlay_limit; /* as fuse said; 0: no limit */
	struct auto_commit *auto_commit;      /* NULL: it never did */
	int has_commit;    /* -c: the base that was asked for */
	struct chan *fuse; /* NULL while it is down */
	struct chan *notify;
	struct event *settle_again; /* mount_start.c; NULL: it never was */
	struct event *start_again;  /* the same */
	int fresh;   /* a new connection to the kernel: no handle survived */
	int started; /* START was sent to this fuse */
	int whole;   /* to some fuse: its journal was applied to the end once */
	int gone;    /* it ends: fuse is asked nothing more */
	int broken;  /* its journal cannot be applied */
	int stuck;   /* nor now; it is tried on */
	uint8_t passthrough; /* enum passthrough_state, as fuse said */
	int stores_show;     /* in ctime, also those through mappings (HELLO) */
	int unswept;         /* something was let go */
	unsigned int questions; /* of its fuse, not yet answered */
	uint64_t swept;         /* so far; 0: all (namespace_sweep()) */
	/* lease.c */
	monotime_t lease_at;      /* its next turn; 0: that of all */
	uint32_t lease_request;   /* under way; 0: none is */
	int lease_again;          /* once more after that one */
	unsigned int lease_tries; /* that failed, one after the other */
	int ask_left; /* fuse may not have heard what it may let go of */
	int asking;   /* it is told as the sweep goes on */
	struct ask_queue asks;
	struct journal_read *journal;
	struct applied_queue waits;
	unsigned int held;     /* by so many its journal is (journal_hold()) */
	uint64_t rows_changed; /* so often, for who looks at them in slices */
	uint64_t fuses;        /* that came, the one of now the last of them */
	struct job_queue jobs; /* job.c: in order, the first one runs */
	unsigned int letting_go;     /* reloads whose files fuse still has */
	struct reload_run *restores; /* once these are let go */
	/* Since this process has it, for metrics; by enum job_kind. */
	uint64_t jobs_done[JOB_KINDS + 1], jobs_failed[JOB_KINDS + 1];
	int64_t committed; /* when the last commit was done; 0: none was */
	struct {
		unsigned int turn;       /* in which it was counted; 0: never */
		uint64_t applied, ended; /* what had been done by then */
		uint64_t names, objects;
	} dirty;
};
struct mount *mount_by_instance(uint32_t instance);
struct mount *mount_by_path(const char *path); /* the mount point itself */
void mount_foreach(void (*f)(struct mount *, void *), void *arg);

/* ---- the journal (journal_read.c) ----------------------------------------- */

typedef void (*applied_cb)(struct mount *, void *arg);
/* Where what fuse has written, and told of, ends. */
uint64_t journal_reach(const struct mount *m);
/*
 * Calls f once the journal is applied and durable up to offset (at once, when
 * it is); reads on as far as needed instead of waiting for the timer.  broken is
 * called instead when the journal turns out to be broken or the mount goes
 * (NULL: no call comes then), or cannot be applied for half a minute.  -1: it is
 * so already, or no memory.
 */
int applied_wait_or(struct mount *, uint64_t offset, applied_cb f,
    applied_cb broken, void *arg);
#define JOURNAL_BROKEN                                                      \
	"the changes cannot be read from the journal of the mount; umount " \
	"--force keeps them for the next mount there"
/* Those with that f and arg will not be called. */
void applied_wait_cancel(struct mount *, applied_cb f, void *arg);
/* A segment, read-only, taken; reading begins at row.applied.  One that is not
   of this journal makes the mount broken.  -1: no memory, or SEGMENTS_MAX are
   open already: no fuse of ours has more. */
int journal_segment(struct mount *, uint64_t first, int fd);
/* Forgets the segments: a new fuse brings them again.  (Those of one that died
   are read to their end until then.) */
void journal_forget(struct mount *);
/* Applies all that is there, without calling who waits.  -1: there is more. */
int journal_drain(struct mount *);
void journal_patience(int ms); /* tests */
/* Some of it, at once, for who is to see what was just done: who waits for it is
   called soon. */
void journal_now(struct mount *);
/* While somebody looks at the rows in slices nothing is applied, but to the end
   when the mount goes, or its fuse is started anew.  Counted. */
void journal_hold(struct mount *);
void journal_let(struct mount *);
/* What was applied survives a loss of power: before fuse may cut it off. */
int journal_sync(struct mount *);
/* The mount goes: what waits for its journal hears of it as above. */
void journal_free(struct mount *);

/* START, from then on fuse answers (mount_start.c). */
int start_fill(struct mount *, struct start *, void **keep);

/* ---- fuse is asked (ask.c) ------------------------------------------------- */

/*
 * Answers come once each, in any order; when fuse dies before, the question is
 * put again to the next one, so that an answer always comes while the mount is
 * there; when it goes, error is ENODEV.
 */
typedef void (
    *ask_offset_cb)(struct mount *, void *arg, int error, uint64_t offset);
int ask_sync(struct mount *, ask_offset_cb, void *arg);
/* Questions with that arg get no answer any more. */
void ask_cancel(struct mount *, const void *arg);
/* Parks all changes until switch_send(). */
int ask_reload(struct mount *, ask_offset_cb, void *arg);
/* fd: the callee's, read-only, or -1 with error. */
typedef void (*ask_open_cb)(struct mount *, void *arg, int error, int fd,
    int writers, int rest_fd);
int ask_open(struct mount *, uint64_t ovl, ask_open_cb, void *arg);
typedef void (*ask_switch_cb)(struct mount *, void *arg, int error,
    uint32_t open_writers, int tell_fd);
/* diff_fd: memfd of differences, taken; -1 ends a failed reload. */
int ask_switch(struct mount *, int diff_fd, ask_switch_cb, void *arg);
typedef void (*ask_done_cb)(struct mount *, void *arg, int error);
int ask_cache_put(struct mount *, uint64_t ovl, const struct hash *content,
    uint64_t size, const uint8_t *list, size_t list_len, ask_done_cb,
    void *arg);
/* Starts notify if need be; tell_fd is taken. */
int ask_tell(struct mount *, int tell_fd, ask_done_cb, void *arg);
/* These overlay files may go: nothing holds them any more. */
void tell_unlink(struct mount *, const uint64_t *ovls, size_t n);
/* 1 when no job item and no stash item needs that overlay file (hold.c). */
int ovl_is_held(struct mount *, uint64_t ovl);

/* ---- the server is asked (server.c) ---------------------------------------- */

struct server_answer {
	uint16_t status;   /* 0: no answer; what says why */
	uint8_t type;      /* 0 none 1 JSON 2 binary */
	uint8_t untrusted; /* status 0: no waiting mends its certificate */
	uint8_t repeated;  /* it was sent before, and may have been done */
	int64_t skew_ms;
	char *what;          /* status 0 */
	const uint8_t *data; /* of the body */
	size_t len;
};
typedef void (*server_cb)(void *arg, const struct server_answer *);
/*
 * method: 1 GET 2 PUT 3 POST 4 DELETE.  body_fd: taken (memfd) or -1.  retry:
 * the request may be repeated.  When sailvol-fetch dies the question is put
 * again if retry is set, else answered with status 0.  Returns the number for
 * server_cancel, or 0 and errno.
 */
uint32_t server_request(uint8_t method, const char *target,
    const char *content_type, int body_fd, int retry, uint64_t max_answer,
    server_cb, void *arg);
/* The callback will not be called. */
void server_cancel(uint32_t number);
/* Puts message and code of an error answer into words: "volume x: no such
   volume (not_found)"; out is cut to size. */
void server_error(const struct server_answer *, char *out, size_t size,
    char *code, size_t code_size);
/* The type of the error that such a status is (sailvol-ctl(5)). */
static inline const char *
server_error_type(unsigned int status)
{
	return status == 0 || status >= 500 || status == 429 ? "unavailable"
	    : status == 401                                  ? "authentication"
	    : status == 403                                  ? "permission"
	    : status == 404                                  ? "not_found"
							     : "conflict";
}

/* HASH and UPLOAD of fetch_imsg.h, asked again when a fetch dies. */
typedef void (*hash_cb)(void *arg, const struct fetch_hash_res *, int list_fd);
/* flags: FETCH_HASH_*.  rest_fd: what a file lacks that is
   not whole, or -1.  Takes both.  A number for server_cancel, or 0. */
uint32_t server_hash(uint8_t shift, uint8_t flags, int fd, int rest_fd, hash_cb,
    void *arg);
/* While a large file is read: bytes so far, and chunks that can be sent
   (FETCH_HASH_TELL), which may come again when a fetch dies; with the same arg. */
typedef void (*hash_progress_cb)(void *arg, uint64_t bytes);
typedef void (*hash_chunks_cb)(void *arg, const struct fetch_hash_chunks *);
void server_hash_watch(uint32_t number, hash_progress_cb, hash_chunks_cb);
struct upload_file {
	int fd; /* taken */
};
/* error: answer says how the API refused, or, with status 0, what went wrong. */
typedef void (*upload_cb)(void *arg, uint32_t error,
    const struct server_answer *, const uint8_t *status, uint32_t n);
typedef void (*upload_progress_cb)(void *arg, uint32_t chunks, uint64_t bytes,
    uint64_t sent);
uint32_t server_upload(const char *volume_id, const char *session,
    struct upload_file *, uint32_t nfiles, const struct fetch_upload_chunk *,
    uint32_t n, upload_progress_cb, upload_cb, void *arg);

/* ---- nodes (nodes.c) -------------------------------------------------------- */

/* The root directory of a commit in the volume (not of a subpath). The views
   live as long as *keep.  -1: ENODATA when the commit is not here. */
int nodes_commit_root(const struct hash *commit, struct entry *,
    struct blob **keep);
/*
 * The entry at path of a commit; "" is the root.  -1: ENOENT, ENOTDIR; ENODATA:
 * a node is not here: *depth is the length of the path of the directory whose
 * node it is, for nodes_want.
 */
int nodes_lookup(const struct hash *commit, const void *path, size_t len,
    struct entry *, struct blob **keep, size_t *depth);
/*
 * Brings nodes of the directory at path (a path in the volume) of the commit,
 * from `first' on, and the commit itself; then f(arg, 0), or an errno (ENOENT:
 * the server has no such commit; EIO...).  Equal questions join.  have: a
 * commit of which we have the nodes, or NULL.
 */
typedef void (*nodes_cb)(void *arg, int error);
int nodes_want(const char *volume_id, const struct hash *commit,
    const struct hash *have, const void *path, size_t len, const void *first,
    size_t first_len, nodes_cb, void *arg);
/*
 * Takes a bundle of the server into the database: each node checked.  NULL,
 * or what is wrong.  commit: that of the bundle; complete.
 */
const char *nodes_take_bundle(const char *volume_id, const uint8_t *, size_t,
    struct hash *commit, int *complete);
/* 1: the commit is one of that volume, as far as it is here; 0, or -1. */
int nodes_of_volume(const struct hash *commit, const char *volume_id);
/* 1: the commit is here, and is what its id says; 0: it was cut for a key that
   sees a part of the volume alone.  A mount of the whole shows no such one. */
int nodes_commit_whole(const struct hash *);

/* ---- what a mount shows (fill.c, namespace.c) ------------------------------- */

/*
 * A directory as the mount shows it: base (origin) and overlay merged.
 * dir: 0 with origin, or an object's number.
 */
struct shown_dir {
	uint64_t ovl; /* 0: not in the overlay */
	int has_origin;
	struct hash origin_commit;
	uint8_t *origin_path; /* owned */
	size_t origin_path_len;
};
void shown_dir_free(struct shown_dir *);
/* Fills items from `first' on until max items or about max_bytes; *end: no
   more.  -1: ENODATA with where a node is missing in miss. */
struct node_miss {
	struct hash commit;
	uint8_t *path; /* of the directory; owned */
	size_t path_len;
	uint8_t first[SAIL_NAME_MAX];
	size_t first_len;
};
void node_miss_free(struct node_miss *);
int fill_dir(struct mount *, const struct shown_dir *, const void *first,
    size_t first_len, int after, size_t max, size_t max_bytes, struct wbuf *,
    uint32_t *count, int *end, struct node_miss *);
/* One name.  1 found (item's views live as long as *keep, freed by free(3)),
   0 nothing there, -1. */
int fill_one(struct mount *, const struct shown_dir *, const void *name,
    size_t len, struct item *, void **keep, struct node_miss *);
/* An object by its number, with an empty name. */
int fill_object(struct mount *, uint64_t ovl, struct item *, void **keep,
    struct node_miss *);
/* Path in the mount -> item, the same way. */
int fill_path(struct mount *, const void *path, size_t len, struct item *,
    void **keep, struct node_miss *);
/* The item's directory, to go on below it. */
int shown_dir_of_item(const struct item *, struct shown_dir *);
/* The path in the mount of a name in an overlay directory, *path freed by the
   caller; -1 ENOENT: the directory has no name (any more). */
int namespace_path(struct mount *, uint64_t dir, const void *name, size_t len,
    uint8_t **path, size_t *path_len);

/*
 * Applies a record of the journal to the overlay's rows, as one stranger checks
 * another: -1 and *why when it cannot be (a violation).  offset: behind it.
 * Inside of the caller's transaction.
 */
int namespace_apply(struct db *, struct mount_row *, const struct record *,
    uint64_t offset, const char **why);
/*
 * Objects that lost their last name and handle and that nothing holds go, after
 * something was let go.  Some at a time: 1, the timer of the journal goes on
 * with it.  Nothing happens without a fuse.
 */
int namespace_sweep(struct mount *);
int namespace_sweep_on(struct mount *);
#define NAMELESS_BATCH 1024

#endif
