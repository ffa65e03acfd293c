/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * fetch_put: files are hashed and chunks brought to the store by our
 * sailvol-fetch, several at a time.  In sailvolctl.
 */
#ifndef SAILVOLCTL_FETCH_PUT_H
#define SAILVOLCTL_FETCH_PUT_H

#include "lib/chunklist.h"
#include "sailvolctl/fetch.h"

/*
 * The chunks of a file as it is: list is the callee's, or NULL and an errno:
 * EAGAIN when it changed meanwhile.  sync: it is written out first, so that a
 * store into a mapping shows.  told: of a file of several chunks those that are
 * hashed so far, in their order; NULL: nobody wants to know.  shift 0: chosen
 * by size.  fd stays the caller's.  -1 with failure set.
 */
typedef void (*fetch_hash_cb)(void *, int error, struct chunklist *list);
typedef void (*fetch_told_cb)(void *, const struct fetch_hash_chunks *);
int fetch_hash(int fd, uint8_t shift, int sync, fetch_told_cb told,
    fetch_hash_cb f, void *, struct failure *);
/* The same, waiting: NULL with failure set. */
struct chunklist *fetch_hash_now(int fd, uint8_t shift, struct failure *);

/*
 * Chunks of files, into the session of a volume: status has one byte for each
 * chunk (fetch_imsg.h, UPLOAD_RES), and is NULL when the result has an error and
 * says why.  sent: bytes that went out since the last call, which may be any
 * number of times before.
 */
struct fetch_upload_cbs {
	void (*sent)(void *, uint64_t bytes);
	void (*done)(void *, const struct fetch_upload_res *,
	    const uint8_t *status);
};
int fetch_upload(const char *volume, const char *session, const int *fds,
    uint32_t nfds, const struct fetch_upload_chunk *, uint32_t n,
    const struct fetch_upload_cbs *, void *, struct failure *);

/* For the table of messages in fetch.c. */
int fetch_on_hashed(struct chan *, uint32_t, struct imsg *, struct ibuf *);
int fetch_on_hash_chunks(struct chan *, uint32_t, struct imsg *, struct ibuf *);
int fetch_on_hash_progress(struct chan *, uint32_t, struct imsg *,
    struct ibuf *);
int fetch_on_upload_progress(struct chan *, uint32_t, struct imsg *,
    struct ibuf *);
int fetch_on_uploaded(struct chan *, uint32_t, struct imsg *, struct ibuf *);

#endif
