/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * model_tree: a mount as a test imagines it: a tree of names in memory, each
 * change of which is also given to manifest as a record of the journal.
 */
#ifndef MODEL_TREE_H
#define MODEL_TREE_H

#include "sailvold/manifest.h"

struct ino {
	unsigned int refs;
	uint64_t ovl; /* 0: clean */
	struct entry *entry;
	int has_origin;
	struct hash commit;
	uint8_t *path;
	size_t len;
};
struct mnode {
	struct mnode *up, *next, *children;
	char name[16];
	struct ino *ino;
};

/* What the test keeps of one mount. */
struct model {
	struct mount m;
	struct mnode *root;
	uint64_t offset, next_ovl;
	uint32_t content[4096]; /* of overlay files, by number */
	unsigned int records;
};

uint32_t model_rand(uint32_t below);
/* Content number c as chunks; 0: an empty file. */
struct chunklist *model_chunks(uint32_t c);
/* Loads what the mount shows (fill) as the model. */
void model_load(struct model *);
void model_free(struct mnode *);
/* One random change. */
void model_change(struct model *);
/* Compares the model with what fill shows; fails the test. */
void model_check(struct model *);
struct mnode *model_pick(struct model *, int want_dir);

#endif
