/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * tree: a directory as a sorted map over content-defined nodes
 * (sailvol-format(5)): look up, iterate, edit, compare.  One directory at a
 * time; what is below is the caller's walk.
 */
#ifndef LIB_TREE_H
#define LIB_TREE_H

#include "lib/node.h"

#define TREE_SALT_LEN 32 /* of the family */

/* The root of a directory without names; the same in all volumes. */
void tree_empty_root(struct hash *);
int tree_put_empty(const struct node_store *);

/*
 * 0 and the entry, whose views live as long as *keep (which the caller
 * unrefs); -1 and ENOENT (no such name), ENODATA (a node is not in the store:
 * *missing tells which), EBADMSG (a bad node), or the store's errno.
 */
int tree_lookup(const struct node_store *, const struct hash *root,
    const void *name, size_t len, struct entry *, struct blob **keep,
    struct hash *missing);

/* From the first name that is not less than `from' (or, with after set,
   greater than it).  Ends with tree_iter_end. */
struct tree_iter;
struct tree_iter *tree_iter_begin(const struct node_store *,
    const struct hash *root, const void *from, size_t len, int after);
/* 1 and views that live until the next call; 0 at the end; -1 as tree_lookup,
   after which a new iterator begins after the last name. */
int tree_iter_next(struct tree_iter *, const uint8_t **name, size_t *len,
    struct entry *);
/* The node that was missing, after ENODATA. */
const struct hash *tree_iter_missing(const struct tree_iter *);
void tree_iter_end(struct tree_iter *);

struct tree_edit {
	const void *name;
	size_t len;
	const struct entry *entry; /* NULL: delete; deleting nothing is fine */
};
struct tree_sums {
	uint64_t entries; /* names in this directory */
	uint64_t files;   /* below: what is not a directory */
	uint64_t bytes;   /* below: sizes of files */
};
/*
 * Applies edits (strictly ascending names) to the directory root (NULL: an
 * empty one), puts the new nodes, gives the new root and its sums.  The same
 * directory has the same nodes whatever the edits were.  Entries of
 * directories carry their own sums.  Old nodes are not touched.  -1: ENODATA,
 * EBADMSG, EINVAL (order, name, entry), ENOMEM, the store's.
 */
int tree_apply(const struct node_store *, const uint8_t salt[TREE_SALT_LEN],
    const struct hash *root, const struct tree_edit *, size_t n,
    struct hash *newroot, struct tree_sums *);
int tree_get_sums(const struct node_store *, const struct hash *root,
    struct tree_sums *);

/*
 * Names whose entries differ, in order; a or b is NULL where there is none.
 * Equal nodes are not looked into.  f returns 0, or -1 to stop (which is
 * returned).  Either root may be NULL: empty.
 */
typedef int (*tree_diff_cb)(void *, const uint8_t *name, size_t len,
    const struct entry *a, const struct entry *b);
int tree_diff(const struct node_store *, const struct hash *a,
    const struct hash *b, tree_diff_cb f, void *);
/* Of the names that are not less than `from' alone; the nodes before it are
   not looked into. */
int tree_diff_from(const struct node_store *, const struct hash *a,
    const struct hash *b, const void *from, size_t len, tree_diff_cb f, void *);

#endif
