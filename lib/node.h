/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * node: the immutable pieces of metadata, each named by the SHA-256 of its
 * encoding: directory leaves and index nodes, chunk nodes, attribute nodes.
 * Pure encoding and decoding; a decoder refuses all that is not the one
 * encoding of its value.
 */
#ifndef LIB_NODE_H
#define LIB_NODE_H

#include "lib/entry.h"

enum node_kind {
	NODE_LEAF = 1,        /* entries of a directory */
	NODE_INDEX = 2,       /* children: leaves, or indices one level below */
	NODE_CHUNK_LEAF = 3,  /* up to 1,024 slots */
	NODE_CHUNK_INDEX = 4, /* up to 1,024 children */
	NODE_XATTRS = 5,
	NODE_COMMIT = 6 /* commit.h; not a node of a tree */
};

#define NODE_VERSION 1
#define NODE_HASH_SHA256 1
#define NODE_MAX_BYTES (256 * 1024)  /* of any node's encoding */
#define NODE_LEAF_MIN 64             /* entries between two cuts */
#define NODE_LEAF_MAX 1024           /* entries of a node */
#define NODE_LEAF_BYTES (128 * 1024) /* of the entries of a node */
#define NODE_LEVEL_MAX 8
#define NODE_HEADER_LEN 8 /* magic, kind, version, hash algorithm, level */
#define NODE_CHUNK_FANOUT 1024

/*
 * Where nodes come from and go to.  get: a counted blob (the caller unrefs) or
 * NULL and errno (ENOENT: not here).  The store checks that bytes hash to
 * their name where they enter it.  put: takes a copy; 0 or -1 and errno.
 */
struct node_store {
	struct blob *(*get)(void *ctx, const struct hash *);
	int (*put)(void *ctx, const struct hash *, const uint8_t *, size_t);
	void *ctx;
};
/* Hashes, puts, tells the name. */
int node_put(const struct node_store *, const uint8_t *, size_t, struct hash *);

/* Checks the header of any node; NULL, or what is wrong. */
const char *node_header(const uint8_t *, size_t, uint8_t *kind);
/* Level of a checked node: of an index node of either kind, else 0. */
uint8_t node_level(const uint8_t *);
/* Writes the header. */
void node_begin(struct wbuf *, uint8_t kind, uint8_t level);

/* A leaf as it is read, entry by entry. */
struct node_leaf {
	struct rbuf r;
	uint32_t count, next;
	const uint8_t *last;
	size_t last_len;
};
int node_leaf_open(struct node_leaf *, const uint8_t *, size_t);
/* -1 of these: r.error says why.  1 and views of the next, 0 after the last (all was consumed), -1 EBADMSG. */
int node_leaf_next(struct node_leaf *, const uint8_t **name, size_t *len,
    struct entry *);

/* A child of an index node. */
struct node_child {
	const uint8_t *last; /* the last name below it */
	size_t last_len;
	struct hash hash;
	uint64_t entries;      /* names of this directory below it */
	uint64_t files, bytes; /* sums */
};
struct node_index {
	struct rbuf r;
	uint8_t level; /* 1: children are leaves */
	uint32_t count, next;
	const uint8_t *last;
	size_t last_len;
};
int node_index_open(struct node_index *, const uint8_t *, size_t);
int node_index_next(struct node_index *, struct node_child *);

/*
 * Decodes a node of any kind to its end: NULL when it is canonical, else what
 * is wrong, a constant string.  For what comes from the network or from disk.
 */
const char *node_check(const uint8_t *, size_t, uint8_t *kind);
/* Calls f with the hash of each node that this one (or a commit) names:
   children, roots of directories (kind 0: NODE_LEAF or NODE_INDEX), chunk trees,
   xattr nodes; stops at its first -1.  -1 and EBADMSG: a bad node. */
int node_references(const uint8_t *, size_t,
    int (*f)(void *, const struct hash *, uint8_t kind), void *);

/*
 * The node of xattrs, as views; and its encoding, for xattrs of any length
 * (entry_attr_hash hashes it).
 */
const char *node_xattrs_open(const uint8_t *, size_t, const uint8_t **xattrs,
    size_t *xlen);
void node_xattrs_encode(struct wbuf *, const uint8_t *xattrs, size_t len);
/* Whole xattrs of over 1 KiB become a node, which e then names; nothing is
   done to others.  0, or -1 and errno. */
int node_xattrs_store(const struct node_store *, struct entry *);
/* e's xattrs are whole afterwards; *keep (NULL when nothing was to load) is
   what they are a view of, and the caller's to unref.  -1: ENODATA and
   *missing, EBADMSG, the store's. */
int node_xattrs_load(const struct node_store *, struct entry *,
    struct blob **keep, struct hash *missing);

/* Builders (they stick EINVAL when the entry may not stand in a node): begin, add in order, finish into w. */
void node_leaf_begin(struct wbuf *);
void node_leaf_add(struct wbuf *, const uint8_t *name, size_t,
    const struct entry *);
void node_leaf_end(struct wbuf *, uint32_t count);
void node_index_begin(struct wbuf *, uint8_t level);
void node_index_add(struct wbuf *, const struct node_child *);
void node_index_end(struct wbuf *, uint32_t count);

#endif
