/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * get: one request for chunks of a file; get.c decides what is asked and what
 * became of each chunk, get_span.c brings one span of an object.  In
 * sailvol-fetch.
 */
#ifndef SAILVOL_FETCH_GET_H
#define SAILVOL_FETCH_GET_H

#include "lib/fetch_imsg.h"
#include "lib/path.h"
#include "lib/wire.h"
#include "sailvol-fetch/http.h"
#include "sailvol-fetch/pause.h"
#include "sailvol-fetch/request.h"
#include "sailvol-fetch/worker.h"

enum part_state {
	PART_PENDING = 0, /* the server is to be asked */
	PART_ASKED,
	PART_FOUND, /* in a span */
	PART_DONE,
	PART_FAILED
};

struct want {
	struct fetch_get_chunk chunk;
	int fd;        /* where its bytes go; -1: into a bundle */
	uint8_t state; /* enum part_state */
	uint8_t bad;   /* wrong or missing places */
	uint8_t same;  /* of them, those of bad_object in a row */
	struct hash bad_object;
	uint8_t refused; /* URLs that had just come */
	uint8_t stale;   /* those that were too old when their turn came */
	uint8_t first;   /* its turn has come before */
};

struct span;
struct report;

struct get {
	struct request req;
	struct pump pump;
	char volume[129];
	struct hash commit;
	uint8_t path[SAIL_PATH_MAX];
	size_t path_len;
	uint32_t budget;
	struct want *wants;
	uint16_t n;
	struct http *ask;
	struct pause pause; /* before it is asked again */
	uint8_t *ask_body;
	TAILQ_HEAD(, span) waiting;
	TAILQ_HEAD(, span) running;
	unsigned int nrunning;
	TAILQ_HEAD(, report) reports;
	uint32_t error; /* ends all; or that of a failed chunk */
	int abort;
	char what[256];
};

enum problem { PROBLEM_CORRUPT, PROBLEM_MISSING };

/* get.c */
struct want *want_find(struct get *, uint64_t slot);
/* What became of a span's chunk. */
void get_chunk_done(struct get *, struct want *);
void get_chunk_bad(struct get *, struct want *, const struct hash *object,
    enum problem);
/* Its URL was refused, fresh: as http_was_fresh() says; it is asked for again. */
void get_chunk_refused(struct get *, struct want *, int fresh);
/* Ends the whole, by that answer. */
void get_unanswered(struct get *, const struct http_result *, const char *who);
/* The same. */
void get_abort(struct get *, int error, const char *what);

/* get_span.c */
/* Makes a span of those of its chunks that are wanted; NULL none, or errno. */
struct span *span_new(struct get *, const struct wire_span *);
void span_free(struct span *);
/* Starts those that memory allows. */
void span_start_waiting(struct get *);
/* Those that wait are asked for again. */
void span_drop_waiting(struct get *);
/* Ends all, as soon as their threads let go. */
void span_cancel_all(struct get *);

#endif
