/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * merge_walk: what the parts of the merge share; nobody else includes it.
 * merge.c decides about one path, merge_walk.c visits the paths of a
 * directory that matter, merge_report.c keeps what was overwritten.
 */
#ifndef SAILAPID_MERGE_WALK_H
#define SAILAPID_MERGE_WALK_H

#include "sailapid/merge.h"

/*
 * A tree of the delta at some directory: for `seen' what the committer saw
 * below, for `ref' what a reference brings there.
 */
enum scope_kind {
	SCOPE_UNKNOWN, /* nothing is said about what was seen */
	SCOPE_NOTHING, /* nothing was seen, nothing is brought */
	SCOPE_TREE
};
struct scope {
	enum scope_kind kind;
	int has_root; /* the tree has a directory here */
	struct hash root;
	/* Exceptions below here; `skip' bytes of their paths lead here. */
	const struct delta_except *x;
	uint32_t nx;
	size_t skip;
};

/* A directory that is walked: of the head, of the delta's trees, or both. */
struct dir {
	const struct dir *up; /* NULL: the root */
	const uint8_t *name;
	size_t len;
	unsigned int depth;
	size_t path_len; /* of its path */
	int has_head;    /* the head has a directory here */
	struct hash head_root;
	struct scope seen, ref;
	int wipe;        /* something else takes its place: all goes */
	uint32_t lo, hi; /* operations strictly below */
	/* In the prior merge the head's directory was prior_head and became
	   prior_root, and all else was the same. */
	int has_prior;
	struct hash prior_head, prior_root;
};

/* One path and all that is known of it. */
struct spot {
	struct dir below; /* the path as a directory, with its name */
	const struct entry *head;
	const struct delta_op *op; /* op_mem, or NULL */
	struct delta_op op_mem;
	const struct entry *ref;           /* what a reference brings */
	const struct entry *seen_entry;    /* in the tree as seen */
	const struct delta_except *seen_x; /* that stands here */
	int ref_closed;                    /* an exception of it stands here */
	int seen_known;
	struct seen seen;
	/* of the prior merge: what the head had, and what it became */
	int has_prior;
	const struct entry *prior_head, *prior_result;
};

struct result {
	struct entry *e; /* owned; NULL: nothing stands there */
	int same;        /* as in the head, byte by byte */
};

/* The names of a directory after the merge. */
struct outcome {
	struct hash root;
	struct tree_sums sums;
	int empty;
};

struct merge {
	const struct merge_in *in;
	struct merge_out *out;
	const struct delta *delta;
	struct node_store store; /* in's; remembers which node was missing */
	struct entry **roots;    /* of the commits of the table, as needed */
	/* The spot is walked as the prior head had it: what it added to out
	   is taken back. */
	int take_back;
	uint8_t *old_gone; /* which of the prior's paths were */
	struct hash empty_root;
};

/* merge.c */
int merge_spot(struct merge *, const struct dir *parent, struct spot *,
    struct result *);
/* The same of a spot that has a prior, and takes back what that counted. */
int merge_spot_again(struct merge *, const struct dir *parent, struct spot *,
    struct result *);
/* Says what is wrong; -1 and errno. */
int merge_fail(struct merge *, int error, const char *why, const uint8_t *path,
    size_t len);

/* merge_walk.c */
int merge_children(struct merge *, const struct dir *, struct outcome *);
/* Opens a tree of the delta.  A commit that has no directory there is an error
   of op with must, else a tree without names. */
int merge_open_scope(struct merge *, const struct delta_op *,
    const struct tree_ref *, const struct delta_except *, uint32_t nx, int must,
    struct scope *);

/* merge_report.c */
int merge_report(struct merge *, const struct dir *);
int merge_report_end(struct merge *);

#endif
