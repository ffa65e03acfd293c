/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * merge_mount: simulated mounts on flat trees, for the random tests of the
 * merge: what programs do in one, what its delta is, what a reload makes of it.
 */
#ifndef REGRESS_MERGE_MOUNT_H
#define REGRESS_MERGE_MOUNT_H

#include "regress/unit/sailapid/merge_tree.h"

#define MOUNTS 3
#define COMMITS_MAX 32
#define PATH_KEEP 40 /* no edit makes a longer path */

struct mount {
	int base;
	/* What it saw, and what it shows; with where each path came from. */
	struct mtree seen, view;
	/* A directory that was moved, for moving it back. */
	char moved_to[MP_MAX], moved_from[MP_MAX];
};
struct history {
	struct mem_store store;
	struct state commits[COMMITS_MAX];
	int ncommits;
	struct mount m[MOUNTS];
	int64_t clock;
	uint64_t fileid;
};

struct gen {
	struct history *h;
	struct mount *m;
	struct mdelta d;
	size_t cap;
};

extern uint64_t rng_state;
uint32_t rnd(uint32_t n); /* below n */

/* The node at a path; of type 0 when there is none. */
struct mnode mtree_get(const struct mtree *, const char *path);
/* Something new in a tree, in place of what is there. */
struct mnode mount_fresh(struct history *, uint8_t type);
void mount_make(struct history *, struct mtree *, const char *path,
    uint8_t type);
/* One random edit of what the mount shows. */
void mount_edit(struct history *, struct mount *);
/* The delta from what was seen to what is shown; g->h and g->m are set. */
void mount_generate(struct gen *);
void gen_free(struct gen *);
void mount_reload(struct history *, struct mount *, int commit);
/* As reload --keep: what the mount changed stays above the new base, and what
   it had seen there too. */
void mount_reload_keep(struct history *, struct mount *, int commit);

#endif
