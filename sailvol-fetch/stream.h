/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * stream: bytes of one large chunk, from its beginning, hashed and written to
 * its file by a thread while the next ones come.  In sailvol-fetch.
 */
#ifndef SAILVOL_FETCH_STREAM_H
#define SAILVOL_FETCH_STREAM_H

#include <sys/types.h>
#include <stddef.h>

#include "lib/hash.h"

#define STREAM_PART ((size_t)512 * 1024)
#define STREAM_PARTS 3
/* Memory of one, however long it is. */
#define STREAM_MEMORY (STREAM_PARTS * STREAM_PART)

struct stream;

/* The file stays the caller's.  NULL and ENOMEM. */
struct stream *stream_new(int fd, size_t length,
    /* It takes bytes again, after HTTP_SINK_PAUSE. */
    void (*ready)(void *),
    /* Once, then it is gone: 0 and its hash after stream_end(), ECANCELED after
       stream_stop(), or an errno at any time.  Not from inside of a call but
       stream_end(). */
    void (*done)(void *, int error, const struct hash *), void *arg);
/* As http_spec's sink; -1: more than its length; no memory: it takes no more. */
int stream_take(struct stream *, const void *, size_t);
/* From the beginning again. */
void stream_rewind(struct stream *);
/* 1 when all bytes are here. */
int stream_full(const struct stream *);
/* They are: done() is called when they are in the file. */
void stream_end(struct stream *);
/* 1: it is gone; 0: done() will be called.  NULL is gone. */
int stream_stop(struct stream *);

#endif
