/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * fetch: a sailvol-fetch(8) of our own, one question at a time.  In sailvolctl,
 * which is its parent.
 */
#ifndef SAILVOLCTL_FETCH_H
#define SAILVOLCTL_FETCH_H

#include <limits.h>

#include "lib/fetch_imsg.h"
#include "lib/memfd.h"
#include "sailvolctl/output.h"

/* Chunks of one file that are held in memory, as sailapid(8) holds them. */
#define FETCH_CHUNKS_MAX (1UL << 24)

struct fetch_server {
	char url[2048], key[256];
	char ca[PATH_MAX]; /* "": the system's */
};

/* Starts it, if it does not run yet: with these settings from then on.  -1
   with failure set. */
int fetch_begin(const struct fetch_server *, struct failure *);
/*
 * From now on SIGINT, SIGTERM and SIGHUP do not end the program, but the
 * question that waits, or the next one: its failure has the code interrupted,
 * and what was begun can be taken back.
 */
int fetch_interrupts(struct failure *);
/* Who works for long without a question asks here often: -1 with that failure. */
int fetch_go_on(struct failure *);
/* Ends it, if there is one, and forgets the key. */
void fetch_end(void);

/* For fetch_put.h: its channel, or NULL; and what has come, at least one event.
   -1 with failure set: it has ended, or was interrupted. */
struct chan *fetch_chan(void);
int fetch_turn(struct failure *);

/* An answer of the API; its bytes are there when have is set, and for
   memfd_unmap(). */
struct fetch_answer {
	uint16_t status;
	int repeated; /* an earlier try may have been done */
	int have;
	struct memfd_view body;
};
/* One request to the API; body_fd (-1: none) is taken. */
int fetch_ask(const struct fetch_api *, int body_fd, struct fetch_answer *,
    struct failure *);

/*
 * Chunks of one file.  fds: for each chunk an empty file, which stays the
 * caller's, or -1 for one that is to come in a bundle (of under
 * FETCH_BUNDLE_CHUNK bytes).  bundle: called with small chunks, those asked for
 * and their neighbours; what a chunk says of its place lies within the view.
 */
typedef int (*fetch_bundle_cb)(void *, const struct fetch_bundle *,
    const struct memfd_view *);
int fetch_chunks(const struct fetch_get *, const int *fds,
    fetch_bundle_cb bundle, void *arg, struct failure *);

#endif
