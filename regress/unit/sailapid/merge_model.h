/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * merge_model: the merge as a dictionary of paths, to check sailapid/merge.c
 * against.  It knows no nodes and no hashes: whole trees as sorted arrays.
 */
#ifndef REGRESS_MERGE_MODEL_H
#define REGRESS_MERGE_MODEL_H

#include <stddef.h>
#include <stdint.h>

#define MP_MAX 64 /* bytes of a path, with its end */

struct mnode {
	/*
	 * enum entry_type; 0: nothing.  As wide as mode: gcc compares the first
	 * 8 bytes at once, and valgrind would blame it for a hole in them.
	 */
	uint16_t type;
	uint16_t mode;
	uint32_t uid;
	int64_t mtime, ctime;
	uint64_t fileid;
	uint32_t content; /* of a file or symlink */
};
struct mpath {
	char path[MP_MAX];
	struct mnode n;
	/* For the simulated mounts: where it came from. */
	int oc; /* commit, -1: made by the mount */
	char op[MP_MAX];
};
struct mtree { /* ascending by path_cmp; "" is the root */
	struct mpath *v;
	size_t n, cap;
};

enum mkind { M_PUT = 1, M_ATTR = 2, M_DELETE = 3, M_TREE = 4 };
struct mexcept {
	char path[MP_MAX];
	struct mnode seen;
};
struct mref {
	int commit;
	char path[MP_MAX];
	struct mexcept *x;
	size_t nx;
};
struct mop {
	char path[MP_MAX];
	enum mkind kind;
	struct mnode seen, e;
	int has_ref, has_tree;
	struct mref ref, tree;
};
struct mdelta {
	struct mop *op; /* ascending */
	size_t nop;
	struct mtree context;
	const struct mtree *const *commits;
};
struct mreport {
	char (*path)[MP_MAX]; /* ascending */
	size_t n;
	uint64_t puts, deletes;
	int refused;
};

int mp_cmp(const char *, const char *);
int mp_below(const char *path, const char *dir); /* strictly */
struct mpath *mtree_find(const struct mtree *, const char *);
struct mpath *mtree_set(struct mtree *, const char *, const struct mnode *);
void mtree_del(struct mtree *, const char *);
void mtree_copy(struct mtree *, const struct mtree *);
void mtree_free(struct mtree *);
/* Content and attributes are the same: what "seen" compares. */
int mnode_same(const struct mnode *, const struct mnode *);
int mnode_same_attr(const struct mnode *, const struct mnode *);
int mnode_equal(const struct mnode *, const struct mnode *); /* all */
/* What an mref says of a relative path: with the exceptions, as seen. */
struct mnode mref_seen(const struct mref *, const struct mtree *,
    const char *rel);

void model_merge(const struct mtree *head, const struct mdelta *,
    int if_unchanged, struct mtree *result, struct mreport *);
void mreport_free(struct mreport *);

/* merge_steps.c: 1 when a result and its report are not what the steps give. */
int steps_differ(const struct mtree *head, const struct mdelta *,
    const struct mtree *got, const struct mreport *);

#endif
