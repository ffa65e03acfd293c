/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * entry: what a directory says of a name: type, attributes, content.  Encoding
 * and limits: sailvol-format(5).
 */
#ifndef LIB_ENTRY_H
#define LIB_ENTRY_H

#include <sys/types.h>

#include "lib/bytes.h"
#include "lib/hash.h"
#include "lib/monotime.h"

enum entry_type {
	ENTRY_FILE = 1,
	ENTRY_DIR = 2,
	ENTRY_SYMLINK = 3,
	ENTRY_FIFO = 4
	/* 5 socket, 6 and 7 devices: reserved, refused */
};

/*
 * The chunks of a file: slot i holds bytes [i << shift, (i + 1) << shift), the
 * last one less.  A slot whose bytes are all zero has no hash: it is a hole,
 * always, so that one content has one encoding.  Up to eight hashes stand in
 * the entry; more are a tree (chunklist.h), of which the entry has the root.
 */
#define CHUNK_SHIFT_MIN 23 /* 8 MiB: files up to 1 GiB */
#define CHUNK_SHIFT_MID 25 /* 32 MiB: up to 64 GiB */
#define CHUNK_SHIFT_MAX 26
#define CHUNK_INLINE_MAX 8
/* The shift that a new file of that size gets. */
uint8_t chunk_shift_for(uint64_t size);

enum chunk_form { CHUNKS_INLINE = 0, CHUNKS_TREE = 1 };

/*
 * All pointers are views into the memory that the entry was decoded from or
 * that its maker holds; an entry of entry_dup() is one piece of memory, and
 * free(3) ends it.
 */
struct entry {
	uint8_t type;  /* enum entry_type */
	uint16_t mode; /* 07777 */
	uint32_t uid, gid;
	struct timens mtime, ctime;
	uint64_t fileid; /* st_ino; not 0 and not 1 */
	/* Encoded extended attributes (below), or none; over 1 KiB they are
	   a node of their own in the encoding, here they are always whole
	   or, after decoding, named by xattr_node until somebody loads it. */
	const uint8_t *xattrs;
	size_t xattrs_len;
	struct hash xattr_node; /* zero: none, or xattrs are here */
	/* file */
	uint64_t size;
	uint8_t chunk_shift;
	uint8_t chunk_form; /* enum chunk_form */
	const uint8_t
	    *chunks; /* INLINE: encoded runs and hashes (chunklist.h) */
	size_t chunks_len;
	struct hash chunk_root; /* TREE */
	/* directory */
	struct hash root; /* of its root node */
	uint64_t files,
	    bytes; /* sums of all below: not directories; file sizes */
	/* symlink */
	const uint8_t *target;
	size_t target_len;
	/* unknown harmless tags, encoded and kept */
	const uint8_t *tail;
	size_t tail_len;
};

#define ENTRY_TAIL_MAX 1024
#define XATTRS_INLINE_MAX 1024     /* more are a node of their own */
#define ENTRY_TAG_MUST_KNOW 0x8000 /* bit of a tag: refuse if unknown */

/*
 * The part after the name, as it stands in nodes and deltas.  Writes the form
 * that e has: xattr_node when it is not zero, else the whole xattrs.
 */
void entry_encode(struct wbuf *, const struct entry *);
/*
 * Views into r's memory.  0, or -1 with r->error.  Takes the two forms that
 * stand in deltas only too: whole xattrs of any length, a directory without a
 * root; node_leaf_next and commit_decode do not.
 */
int entry_decode(struct rbuf *r, struct entry *);
/* NULL when e may stand in a node or commit, else why not: whole xattrs of
   over 1 KiB (node_xattrs_store makes their node), a directory without root. */
const char *entry_node_problem(const struct entry *);
/* NULL when a tail (of an entry or commit) is canonical and has no tag that a
   reader must know. */
const char *tail_problem(struct rbuf *);
/* NULL when these sums of a directory can be true together. */
const char *entry_sums_problem(uint64_t files, uint64_t bytes);
/* The sums of directories end at 2^64 - 1. */
uint64_t entry_sum_add(uint64_t, uint64_t);
/* A deep copy in one piece of memory; NULL and ENOMEM. */
struct entry *entry_dup(const struct entry *);

/*
 * The two hashes of "seen" (sailvol-format(5)): content: type, and of a file
 * chunk shift, size and chunks, of a symlink the target; of a directory the
 * type alone.  Attributes: mode, uid, gid, xattrs; of a file also mtime.
 * A file of size 0 has the same content whatever its shift.
 */
void entry_content_hash(const struct entry *, struct hash *);
void entry_attr_hash(const struct entry *, struct hash *);

/* Extended attributes: names strictly ascending, "user." only. */
struct xattr_iter {
	struct rbuf r;
};
/* 0, or -1 and EBADMSG: not canonical, or over the limits. */
int xattrs_check(const uint8_t *, size_t len);
/* The same: NULL, or what is wrong. */
const char *xattrs_problem(const uint8_t *, size_t len);
/* Value of a name, a view; NULL and ENODATA. */
const uint8_t *xattrs_get(const uint8_t *, size_t len, const char *name,
    size_t *vlen);
/* A new encoding with name set (value NULL: removed), which the caller frees.
   flags: XATTR_CREATE, XATTR_REPLACE.  -1: EEXIST ENODATA ENOSPC ERANGE
   ENOMEM EOPNOTSUPP (a name not below "user.") EBADMSG. *out is NULL when none
   is left. */
int xattrs_set(const uint8_t *, size_t len, const char *name, const void *value,
    size_t vlen, int flags, uint8_t **out, size_t *outlen);
void xattrs_first(struct xattr_iter *, const uint8_t *, size_t len);
/* 1 and the next pair as views, 0 at the end. */
int xattrs_next(struct xattr_iter *, const char **name, size_t *namelen,
    const uint8_t **value, size_t *vlen);

#endif
