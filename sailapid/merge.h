/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * merge: applies a delta to the tree of a head (sailvol-format(5), MERGE).  A
 * pure function of head, delta and the commits that the delta names; runs in
 * meta.
 */
#ifndef SAILAPID_MERGE_H
#define SAILAPID_MERGE_H

#include "lib/delta.h"
#include "lib/tree.h"

struct merge_out;

struct merge_in {
	/* Nodes are read from it; new ones are put into it, also when the
	   merge is refused or fails: the caller makes that a transaction. */
	const struct node_store *store;
	const uint8_t *salt;           /* TREE_SALT_LEN bytes, of the family */
	const struct entry *head_root; /* root directory of the head */
	/*
	 * The root directory of a commit of the delta's table; *keep is a
	 * blob that root's views need, or NULL; the merge unrefs it.  0, or -1
	 * and errno; ENOENT: the volume has no such commit.  Asked at most
	 * once for each, and only for those that an operation names.
	 */
	int (*commit_root)(void *arg, const struct hash *commit,
	    struct entry *root, struct blob **keep);
	void *arg;
	const struct delta *delta; /* as delta_decode() checks it */
	int if_unchanged;          /* refuse where something is overwritten */
	size_t max_report;         /* paths to keep of those overwritten */
	/*
	 * Or NULL: the merge of the same delta with an earlier head, not
	 * refused, and the root directory of that head.  Then only what differs
	 * between the heads is looked at, and the outcome is the same.
	 */
	const struct merge_out *prior;
	const struct entry *prior_head;
};

struct merge_path {
	uint8_t *path;
	size_t len;
};

struct merge_out {
	/* The new root directory with its root hash and sums; the head's when
	   nothing changed or it was refused.  Views into root_mem. */
	struct entry root;
	struct entry *root_mem;
	int changed; /* 0: root is the head's, byte by byte */
	int refused; /* if_unchanged, and overwritten is not 0: not applied */
	/*
	 * Operations that changed something at or below their path: put and
	 * attr; delete and delete tree.  A moved directory is one of each,
	 * however much is in it.
	 */
	uint64_t puts, deletes;
	uint64_t overwritten;     /* paths reported, all of them */
	struct merge_path *paths; /* ascending by path_cmp, no path twice;
				     max_report of them at most (and after a
				     prior with more, perhaps fewer) */
	size_t npaths;
	/* After -1: what is wrong, a constant string; with EINVAL the path of
	   the operation, with ENODATA the node. */
	const char *why;
	const uint8_t *why_path; /* view into the delta, or NULL */
	size_t why_path_len;
	struct hash missing;
};

/*
 * 0 (look at refused first), or -1 with errno: EINVAL (the delta refers to
 * what is not there, or is not one that delta_decode() gives), ENODATA (a node
 * is not in the store), EBADMSG (a bad node), ENOMEM, the store's.
 * merge_out_free() in every case.
 */
int merge_apply(const struct merge_in *, struct merge_out *);
void merge_out_free(struct merge_out *);

/*
 * For a key that is bound to a part of the volume: NULL when every operation
 * lies below the directory prefix (or sets attributes of that directory
 * itself), every reference is to it or below it, and every context is above or
 * below it; else what is wrong, and the path in question, a view.
 */
const char *merge_check_prefix(const struct delta *, const void *prefix,
    size_t len, const uint8_t **path, size_t *path_len);

#endif
