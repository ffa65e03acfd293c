/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * content: where the bytes of a file are: of a clean one in chunk files of the
 * cache, which are asked for when somebody reads there, and a little ahead of
 * who reads on.  copyup.c brings them into the overlay file.  In fuse.
 */
#ifndef SAILVOLD_CONTENT_H
#define SAILVOLD_CONTENT_H

#include "sailvold/request.h"
#include "sailvold/sailvold_imsg.h"
#include "sailvold/view.h"

struct rest;

/* At most so many chunk files are open. */
void content_init(unsigned int max_fds);

/* Bytes that lie one after the other in a file. */
struct extent {
	int fd; /* its owner's; -1: zeros */
	off_t at;
	size_t len;
	int give_up; /* pages that were read */
	int memory;  /* it never waits for a disk */
	/* Of a chunk, which has all these bytes, or is bad. */
	int clean;
	int whole; /* all of that chunk */
	struct hash hash;
};
#define EXTENTS_MAX 2
#define EXTENTS_BYTES ((size_t)1 << CHUNK_SHIFT_MIN)
/*
 * Where size bytes (at most EXTENTS_BYTES) from off on are: 0 and *n extents,
 * less at the end of a clean file; E_WAIT, or an errno.
 */
int content_extents(struct vn *, uint64_t off, size_t size, struct extent *,
    int *n);
/* 1: all bytes of a clean file of one chunk are in that extent, and nobody had
   to be asked. */
int content_at_hand(struct vn *, struct extent *);
/* 1: it is a small clean file whose bytes are not at hand: they are on their way
   now, or were before. */
int content_bring_small(struct vn *);
/* What an overlay file lacks: 0 and *rest, the content's (NULL: nothing); or an
   errno. */
int content_rest(struct vn *, struct rest **rest, int *rest_fd);
/* 1: the bytes of the overlay file are the content (so it may be passed through
   to the kernel). */
int content_is_whole(struct vn *);
/* SEEK_DATA, SEEK_HOLE of a file that is clean or not whole: 0 and *at; E_WAIT; an errno. */
int content_seek(struct vn *, uint64_t off, int data, uint64_t *at);

/*
 * What fd has of that chunk cannot be read, or is not it: nobody reads from that
 * file any more, and cache looks at it before it gives it out again.
 */
void content_bad(const struct hash *, int fd);

/* In a thread: 0 when these bytes have that hash, else EIO; or ENOMEM. */
int content_check(int fd, off_t at, off_t len, const struct hash *);

/* The chunks of a clean file: 0; E_WAIT, or an errno. */
int content_list(struct vn *, struct chunklist **);
/*
 * The file of a chunk, for who is no request: 0 and fd, its owner's, and where
 * in it; E_WAIT: copyup_step() is called when it is there, or not to be had; an
 * errno.
 */
int content_chunk(struct vn *, uint64_t slot, int *fd, off_t *at);

void content_resend(void); /* cache is there again */
/* From query.c: the list of a file's chunks. */
void content_chunks(struct vn *, int error, int fd);
void content_abandoned(struct waitq *);
/* Pages that the kernel has twice are given up. */
void content_tidy(void);
int content_rules_get(struct chan *, uint32_t, struct imsg *, struct ibuf *);
int content_rules_bundle(struct chan *, uint32_t, struct imsg *, struct ibuf *);
int content_rules_let_go(struct chan *, uint32_t, struct imsg *, struct ibuf *);

/* ---- content_put.c */
/* For a reload: hands an overlay file, published as that list, to the cache;
   n: how many answers come.  0 or an errno. */
int content_put(uint64_t ovl, uint32_t id, const struct chunklist *,
    unsigned int *n);
int content_rules_put(struct chan *, uint32_t, struct imsg *, struct ibuf *);

/* ---- copyup.c */
/*
 * Makes the content the overlay file; empty: nothing of it is kept.  Of a large
 * file only what is needed is brought: content_prepare() says of what.
 */
int content_local(struct vn *, int empty);
/*
 * Bytes from off to end are about to be changed: the chunks there that lack are
 * brought; in_full: all of these bytes will be, so that only those at both ends
 * are, and content_written() is called then.  0; E_WAIT; an errno.
 */
int content_prepare(struct vn *, uint64_t off, uint64_t end, int in_full);
/* The same, of a file that is to have that size. */
int content_prepare_size(struct vn *, uint64_t size);
/* Between these two a thread changes them. */
void content_busy(struct vn *);
void content_idle(struct vn *);
/* They were written: 0, or an errno. */
int content_written(struct vn *, uint64_t off, uint64_t end);
/* It was cut, or grew, to that size. */
int content_was_cut(struct vn *, uint64_t size);
/* Brings one chunk that lacks; vn->copy is NULL.  E_WAIT, or an errno. */
int copyup_fill(struct vn *, uint64_t slot);
/* Waits for what vn->copy brings. */
int copyup_wait(struct vn *);
/* A chunk that content_chunk() waits for is there: 0, or an errno. */
void copyup_step(struct vn *, int error);

#endif
