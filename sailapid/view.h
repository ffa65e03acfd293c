/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * view: the commits of a volume as a key may see them.  For a key that is
 * limited to a path the tree of a commit has that directory, the names that
 * lead to it, and nothing else: handlers walk it like any other, and there is
 * nothing that they could forget to hide.  In meta, and in commands of the
 * parent.
 */
#ifndef SAILAPID_VIEW_H
#define SAILAPID_VIEW_H

#include "sailapid/db.h"

struct view {
	struct db *db;
	const struct db_volume *vol;
	const uint8_t *path; /* NULL: all is seen */
	size_t len;
	struct db_nodes nodes;   /* of the family: for limits */
	struct node_store store; /* that trees of view_commit() are read by */
	/* nodes of the way to the path, which are nowhere else */
	struct made_node *made;
	size_t nmade;
};

/* grant: NULL, or what the key is limited to; it, db and the volume outlive
   the view, which is not moved. */
void view_init(struct view *, struct db *, const struct db_volume *,
    const struct db_grant *);
void view_free(struct view *);
/* 1: commits are cut, and their bytes are not those that their ids name. */
int view_is_cut(const struct view *);

/*
 * A commit as the key sees it: a blob, which the caller unrefs, that *c has
 * views into.  A cut one has no author, message and counts.  NULL: ENOENT, EIO
 * (logged), or the database's.
 */
struct blob *view_commit(struct view *, const struct hash *, struct commit *);

/* What a commit did, for the key. */
enum view_change {
	VIEW_NOTHING, /* that it could see */
	VIEW_PART,    /* and more that it may not */
	VIEW_ALL      /* all of it is seen */
};
/*
 * The same for people who read the history: with author, message and counts
 * where all that the commit did is seen.
 */
struct blob *view_history(struct view *, const struct hash *, struct commit *,
    enum view_change *);

/* A commit as it is; the results of view_commit(). */
struct blob *commit_load(struct db *, const struct db_volume *,
    const struct hash *, struct commit *);
/*
 * The entry at path below root.  0 and views that need *keep (or NULL); -1 and
 * ENOENT, or EIO after a log line.
 */
int tree_find(const struct node_store *, const struct entry *root,
    const uint8_t *path, size_t len, struct entry *, struct blob **keep);
/* The head has a directory at that path: 1, 0, -1. */
int view_has_dir(struct db *, const struct db_volume *, const uint8_t *path,
    size_t len);

#endif
