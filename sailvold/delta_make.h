/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * delta_make: what a commit publishes: the difference between what a mount
 * shows and what it saw (sailvol-format(5), DELTAS).  A function of the rows of
 * the overlay and of nodes; content of overlay files comes from who hashed
 * them.  In manifest.
 */
#ifndef SAILVOLD_DELTA_MAKE_H
#define SAILVOLD_DELTA_MAKE_H

#include "sailvold/seen.h"

enum item_hash {
	HASH_KNOWN = 0, /* content is as the entry says */
	HASH_NEEDED,    /* an overlay file that changed */
	HASH_SUSPECT    /* a writer was there when it was published */
};

struct delta_item {
	uint8_t *path; /* in the volume; owned, as all pointers here */
	size_t len;
	uint8_t kind; /* enum delta_kind; 0: no operation */
	uint8_t hash; /* enum item_hash; kind is 0 until it is known */
	uint64_t ovl; /* object, or 0 */
	int local;    /* content is the overlay file */
	struct seen seen;
	struct seen base; /* what stands there without an operation */
	int renamed;      /* the name is of another thing than it was there */
	struct entry *entry;      /* PUT, ATTR */
	struct chunklist *chunks; /* local and hashed */
	/* Clean content: where it is. */
	int has_origin;
	struct hash origin_commit;
	uint8_t *origin_path;
	size_t origin_len;
	int has_ref; /* PUT of a directory by reference */
	struct place ref;
	struct seen_except *ref_x;
	size_t nref_x, ref_x_cap;
	int has_tree;
	struct seen_tree tree;
	/* A directory after publication: its names are those of this place. */
	int has_after;
	struct place after;
	int left; /* not published this time, and named in the result */
	/* Local and hashed: what the file looked like. */
	int writers; /* a handle that may write lived: it becomes suspect */
	struct timens hashed_ctime, hash_began;
	uint64_t hashed_size;
};

struct delta_dir {
	uint8_t *path;
	size_t len;
	struct entry *entry;
};

struct delta_set {
	uint64_t mark;            /* journal offset that it was made at */
	struct delta_item *items; /* ascending by path_cmp */
	size_t n, cap;
	struct delta_dir *context; /* directories above them, ascending */
	size_t ncontext, context_cap;
	struct delta_dir *not_kept; /* sockets; without entry */
	size_t nnot_kept, not_kept_cap;
};

/*
 * Walks what changed.  ENODATA: a node is missing, miss says which; ask, and
 * begin again with attempt + 1.  all: every name of the overlay is looked at,
 * and f (may be NULL) is told of each what becomes of it at a reload that keeps;
 * names in a directory come before the directory.  ovl 0: nothing is shown; there
 * may be no row that says so yet.  seen: what was seen there.
 */
enum keep {
	KEEP_NOT,  /* as seen: the base shows it */
	KEEP_PASS, /* a directory as seen, on the way to what is kept or not */
	KEEP_ATTR, /* the same, but that its attributes changed */
	KEEP_FILE, /* a file of which the attributes alone changed */
	KEEP_GONE, /* what was seen is removed */
	KEEP_SOCKET,
	KEEP_OWN /* changed */
};
typedef int (*delta_keep_cb)(void *arg, uint64_t dir, const void *name,
    size_t name_len, const void *path, size_t len, uint64_t ovl, enum keep,
    const struct seen *seen);
/* -1: ENODATA, miss says which node; ENAMETOOLONG, it says below which path;
   EFBIG, seen_too_many() says why. */
int delta_collect(struct db *, const struct mount_row *, struct delta_set *,
    struct node_miss *, unsigned int attempt, int all, delta_keep_cb f,
    void *arg);
/*
 * The same, step by step, each about as long as one name takes; the rows must
 * not change between them (collect.h).  1: there is more to do; 0: that was all;
 * -1: as above, nothing more can be done with it.
 */
struct delta_walk;
struct delta_walk *delta_walk_begin(struct db *, const struct mount_row *,
    unsigned int attempt, int all, delta_keep_cb f, void *arg);
int delta_walk_step(struct delta_walk *, struct node_miss *);
void delta_walk_take(struct delta_walk *, struct delta_set *);
void delta_walk_free(struct delta_walk *);
void delta_set_free(struct delta_set *);
/* A local file is hashed: decides its operation.  chunks: taken. */
int delta_item_hashed(struct delta_item *, struct chunklist *chunks);
/* It stays dirty. */
void delta_item_leave(struct delta_item *);
/* Operations that are in it. */
size_t delta_set_count(const struct delta_set *);
/*
 * Writes the delta to fd.  ENODATA: chunks of a clean file are not here;
 * ENOTSUP: the delta names too many commits; EFBIG: it is too large, or the
 * chunks of the file that miss names.
 */
int delta_set_write(const struct delta_set *, int fd, struct node_miss *);
/* It was published: what is seen, and what is no longer dirty.  Inside of the
   caller's transaction. */
int delta_set_published(struct db *, const struct mount_row *,
    const struct delta_set *);

#endif
