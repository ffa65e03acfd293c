/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * place: a directory as it stands in a commit: what deltas, reloads and
 * differences compare, without asking the server.  In manifest.
 */
#ifndef SAILVOLD_PLACE_H
#define SAILVOLD_PLACE_H

#include "lib/tree.h"
#include "sailvold/manifest.h"

struct place {
	struct hash commit;
	uint8_t *path; /* in the volume; owned */
	size_t len;
	struct hash root; /* of its nodes */
};
void place_free(struct place *); /* what it points to; may be done twice */
int place_copy(struct place *, const struct place *);
/*
 * 0; -1: ENOENT or ENOTDIR: the commit has no directory there; ENODATA: miss
 * (freed and filled anew) says what has to be asked for.
 */
int place_open(struct place *, const struct hash *commit, const void *path,
    size_t len, struct node_miss *);
/*
 * The entry of the directory there, its extended attributes whole; to be freed.
 * -1 as place_open().
 */
int place_entry(const struct hash *commit, const void *path, size_t len,
    struct entry **, struct node_miss *);
/* A name in it: 1 and the entry (*keep holds its views), 0 nothing, -1. */
int place_child(const struct place *, const void *name, size_t len,
    struct entry *, struct blob **keep, struct node_miss *);
/* The directory of that name, of which the entry is known. */
int place_down(const struct place *, const void *name, size_t len,
    const struct entry *, struct place *);
/* 1 when both are the same names: equal nodes. */
int place_same(const struct place *, const struct place *);
/* 1 when it is that place of that commit. */
int place_is(const struct place *, const struct hash *commit, const void *path,
    size_t len);

/*
 * Names where two directories differ (NULL: none), from that one on (NULL:
 * all), tree_diff_from() of both.  A node that is missing may be of either: an
 * even attempt asks for a's.
 */
int place_diff(const struct place *a, const struct place *b,
    unsigned int attempt, const void *from, size_t len, tree_diff_cb f,
    void *arg, struct node_miss *);

/* What is to be asked for; frees what it held. Always -1 with ENODATA, or
   ENOMEM. */
int miss_set(struct node_miss *, const struct hash *commit, const void *path,
    size_t len, const void *first, size_t first_len);

/* Its path as a message shows it. */
void miss_shown(const struct node_miss *, char *shown, size_t size);

/* A path that grows and shrinks by names. */
struct pathbuf {
	uint8_t b[SAIL_PATH_MAX + SAIL_NAME_MAX + 2];
	size_t len;
};
/* Returns the length before, for pathbuf_pop; -1 and ENAMETOOLONG. */
long pathbuf_push(struct pathbuf *, const void *name, size_t len);
void pathbuf_pop(struct pathbuf *, long len);

/* A copy with a NUL behind it. */
void *mem_dup(const void *, size_t);

#endif
