/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * metrics_imsg: the numbers that the parent and manifest send to metrics, in
 * memfds.  Nothing but numbers: no name and no path is among them.  Little
 * endian (lib/bytes.h).
 */
#ifndef SAILVOLD_METRICS_IMSG_H
#define SAILVOLD_METRICS_IMSG_H

#include "lib/bytes.h"
#include "sailvold/manifest.h"
#include "sailvold/tally.h"

#define METRICS_MAX ((size_t)64 << 20) /* bytes of a memfd */
#define METRICS_FETCHERS 64            /* as many as can be configured */

/* A process that is, or is to be, there. */
struct metrics_proc {
	uint8_t role; /* enum role_id */
	uint32_t instance;
	uint8_t ready;
	uint32_t starts;
};
/* What the parent knows of a mount. */
struct metrics_mount {
	uint32_t instance;
	uint8_t up;
	struct tally tally;
};
/* What manifest knows of one. */
struct metrics_work {
	uint32_t instance;
	uint32_t jobs;                /* that wait or run */
	uint8_t counted;              /* these were: */
	uint64_t names, objects;      /* dirty ones */
	uint64_t journal;             /* applied so far */
	uint64_t overlay_used, limit; /* 0: none */
	uint64_t done[JOB_KINDS + 1], failed[JOB_KINDS + 1];
	int64_t committed; /* when; 0: never */
};

/* The parent's: u64 when it started (seconds since the epoch), u32 n, n of
   proc, u32 n, n of mount.  Manifest's: u32 n, n of work. */
void metrics_proc_encode(struct wbuf *, const struct metrics_proc *);
void metrics_mount_encode(struct wbuf *, const struct metrics_mount *);
void metrics_work_encode(struct wbuf *, const struct metrics_work *);

struct metrics_parent {
	uint64_t started;
	uint32_t nprocs, nmounts;
	struct metrics_proc *procs;
	struct metrics_mount *mounts;
};
struct metrics_manifest {
	uint32_t nworks;
	struct metrics_work *works;
};
/* Whole; -1: malformed (errno EBADMSG), or ENOMEM.  Freed by the caller, also
   then. */
int metrics_parent_decode(const void *, size_t, struct metrics_parent *);
void metrics_parent_free(struct metrics_parent *);
int metrics_manifest_decode(const void *, size_t, struct metrics_manifest *);
void metrics_manifest_free(struct metrics_manifest *);

/* The body of CACHE_PARENT_STATUS_RES. */
#define METRICS_CACHE_LEN 40
struct metrics_cache {
	uint64_t used, limit, files, hits, fetched;
};

#endif
