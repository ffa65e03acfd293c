/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * metrics: the numbers of sailvold(8) for who watches it: metrics.c is the role
 * that answers HTTP, metrics_text.c writes the answer; metrics_parent.c hands it
 * what the parent knows and what the others answer, metrics_manifest.c is in
 * manifest.
 */
#ifndef SAILVOLD_METRICS_H
#define SAILVOLD_METRICS_H

#include "lib/chan.h"
#include "lib/fetch_imsg.h"
#include "sailvold/metrics_imsg.h"

/* A question that got no answer for so long is put again. */
#define METRICS_AGAIN_MS 30000

/* ---- in metrics ---- */

/* Of one round.  What did not come is not said. */
struct metrics_all {
	struct metrics_parent parent;
	struct metrics_manifest manifest;
	struct metrics_cache cache;
	struct fetch_numbers fetch[METRICS_FETCHERS];
	int manifest_in, cache_in, fetch_in[METRICS_FETCHERS];
};
/* 1: it is one that is asked, and has answered or cannot. */
int metrics_is_settled(const struct metrics_all *, const struct metrics_proc *);
/* The text form of Prometheus, for free(3); NULL and errno. */
char *metrics_text(const struct metrics_all *, size_t *len);

/* ---- in the parent ---- */

struct config;
/* The socket that a configuration wants, before it is taken: kept, or opened
   anew.  -1 after a message: all stays as it was. */
int metrics_prepare(const struct config *);
/* It is taken: the role is started, stopped, or left as it is; kept. */
int metrics_configure(const struct config *);
/* No more: the end of the daemon. */
void metrics_end(void);
/* Handlers: what manifest, cache and the fetchers answer. */
int metrics_on_manifest(struct chan *, uint32_t, struct imsg *, struct ibuf *);
int metrics_on_cache(struct chan *, uint32_t, struct imsg *, struct ibuf *);
int metrics_on_fetch(struct chan *, uint32_t, struct imsg *, struct ibuf *);
#define METRICS_ID 1 /* of PARENT_CACHE_STATUS and its answer */

/* ---- in manifest ---- */

/* PARENT_MANIFEST_NUMBERS */
int metrics_manifest(struct chan *, uint32_t, struct imsg *, struct ibuf *);

#endif
