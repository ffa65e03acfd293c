/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * delta_names: the names of a mount that have to be looked at for a delta: those
 * that changed, and of what changed, directory by directory.  A part of
 * delta_make, which alone includes it.  In manifest.
 */
#ifndef SAILVOLD_DELTA_NAMES_H
#define SAILVOLD_DELTA_NAMES_H

#include <sys/tree.h>

#include "sailvold/db.h"

#define PAGE_NAMES 100    /* of the rows that are read at a time */
extern size_t delta_page; /* PAGE_NAMES or, for tests, less */

/* What changed, as a tree of names. */
struct tnode {
	RB_ENTRY(tnode) by_ovl; /* directories */
	struct tnode *next;     /* of the same directory */
	struct tnode *children;
	uint64_t ovl;
	int placed; /* it is shown */
	size_t len;
	uint8_t name[];
};
RB_HEAD(ovl_tree, tnode);

/* Of the names of a file, the oldest without a fileid of its own. */
struct oldest {
	RB_ENTRY(oldest) by_ovl;
	uint64_t ovl, dir;
	size_t len;
	uint8_t name[];
};
RB_HEAD(oldest_tree, oldest);

/* Numbers, to be found again once all are there. */
struct ovl_set {
	struct ovl_bucket {
		uint64_t *v;
		size_t n, cap;
	} * buckets;
	size_t sorted; /* buckets that are */
};

struct block;
struct delta_names {
	struct db *db;
	int64_t mount;
	struct block *blocks; /* all memory of tnodes and of names */
	struct ovl_tree dirs;
	struct tnode *root;
	struct oldest_tree oldest; /* so far as they were asked for */
	struct ovl_set whole;      /* objects whose only name is in the tree */
	int phase;
	struct name_row *rows; /* the last that were read */
	size_t nrows, row;     /* the next of them, of an object's */
	uint64_t ovl;          /* the last object that was */
};
int delta_names_begin(struct delta_names *, struct db *, int64_t mount);
/* A page of names, or what takes no longer.  1: there is more; 0: that was
   all; -1. */
int delta_names_step(struct delta_names *);
/* As long as the rows do not change, it is looked up once a file: one may have
   very many names. */
const struct oldest *delta_names_oldest(struct delta_names *, uint64_t ovl);
/* It need not have begun. */
void delta_names_free(struct delta_names *);

/* The names of a directory that are looked at: a heap, so that putting them in
   order takes no time of its own. */
struct look {
	const uint8_t *name;
	size_t len;
	struct tnode *t; /* or NULL */
};
struct looks {
	struct look *v;
	size_t n, cap;
};
int looks_add(struct looks *, const uint8_t *name, size_t len, struct tnode *);
/* Of a name that is kept with the others. */
int looks_add_copy(struct looks *, struct delta_names *, const uint8_t *name,
    size_t len);
/* The first one, which is there once; with the tnode that has children.  0:
   there is none. */
int looks_take(struct looks *, struct look *);
void looks_free(struct looks *);

#endif
