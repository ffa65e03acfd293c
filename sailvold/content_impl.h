/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * content_impl: what content.c and partial.c share and nobody else needs.  In
 * fuse.
 */
#ifndef SAILVOLD_CONTENT_IMPL_H
#define SAILVOLD_CONTENT_IMPL_H

#include "lib/rest.h"
#include "sailvold/content.h"

struct piece;
RB_HEAD(piece_tree, piece);

/* Of one file; vn->content. */
struct content {
	TAILQ_ENTRY(content) lru;
	struct vn *vn;
	struct chunklist *list; /* NULL: on its way */
	struct rest *rest;      /* of an overlay file: what it lacks */
	int rest_fd;
	unsigned int busy; /* threads that change the overlay file */
	struct waitq idle;
	size_t list_bytes;
	struct piece_tree pieces;
	struct waitq q; /* for the list */
	uint64_t next;  /* end of the last read */
	uint64_t run;   /* bytes that were read one after the other */
};

/* NULL and ENOMEM; vn has none. */
struct content *content_new(struct vn *);
void content_free(struct vn *);
void content_have_list(struct content *, struct chunklist *);
/* SEEK_DATA, SEEK_HOLE of a file that is not whole. */
int partial_seek(struct vn *, const struct rest *, uint64_t off, int data,
    uint64_t *at);

#endif
