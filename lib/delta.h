/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * delta: what a mount asks the server to publish: a set of operations, at most
 * one a path, sorted by path_cmp (sailvol-format(5), DELTAS).  Made by
 * manifest, applied by meta.
 */
#ifndef LIB_DELTA_H
#define LIB_DELTA_H

#include "lib/chunklist.h"
#include "lib/path.h"

#define DELTA_MAX_BYTES ((size_t)1 << 30)
#define DELTA_MAX_HASHES (DELTA_MAX_BYTES / HASH_LEN) /* of one file */
#define DELTA_MAX_OPS 20000000u
#define DELTA_MAX_COMMITS 65535u

/* What the committer saw at a path. */
struct seen {
	int present; /* 0: nothing was there */
	int is_dir;
	struct hash content, attr; /* zero when not present */
};

/* A tree as seen: path of a directory in a commit of the delta's table. */
struct tree_ref {
	uint16_t commit; /* index into the table */
	const uint8_t *path;
	size_t len;
};

/* Below a tree_ref, by relative path, strictly ascending by path_cmp. */
struct delta_except {
	const uint8_t *path;
	size_t len;
	struct seen seen; /* what counts as seen there instead; for a reference
			     (delta_op.ref) only present == 0: not brought */
};
/*
 * An exception that is no directory (and each one of a reference) holds for
 * all below it, and none may stand below it; one that is a directory is for its
 * own path alone.
 */

enum delta_kind {
	DELTA_PUT = 1,    /* a whole entry */
	DELTA_ATTR = 2,   /* attributes of a file or directory */
	DELTA_DELETE = 3, /* not a directory */
	DELTA_TREE = 4    /* delete tree: a directory as seen */
};

struct delta_op {
	const uint8_t *path;
	size_t len;
	uint8_t kind; /* enum delta_kind */
	struct seen seen;
	/*
	 * PUT, ATTR: the entry; a file's chunks stand in `chunks' and never in
	 * entry.chunks; xattrs are whole; root, files and bytes are zero.
	 * ATTR of a file: size and chunks say what the committer showed (used
	 * only if the server has to make nothing of them): absent.
	 */
	struct entry entry;
	struct chunklist *chunks; /* PUT of a file */
	/*
	 * A PUT of a directory by reference: its names are those of ref (the
	 * other operand of a `move'), less ref_except; the delete tree of the
	 * source is an operation at its path.
	 */
	int has_ref;
	struct tree_ref ref;
	struct delta_except *ref_except;
	uint32_t nref_except;
	/*
	 * The delete tree of what was there before: always with TREE, and
	 * with a PUT or ATTR at a path where a directory was seen that was
	 * removed.  Except: what this mount has published below it since.
	 * Where the commit has no such directory (the mount itself has made and
	 * published it), nothing was seen below but what the exceptions say.
	 */
	int has_tree;
	struct tree_ref tree;
	struct delta_except *tree_except;
	uint32_t ntree_except;
};

/*
 * 1 when something stands at the path of the operation afterwards, whatever
 * stood there: a put, or attributes with a tree (a directory that was removed
 * and made again is a put, by either kind).
 */
int delta_op_puts(const struct delta_op *);

/* A directory above an operation's path, as the mount showed it: made again
   with these attributes when it is gone. */
struct delta_context {
	const uint8_t *path;
	size_t len;
	struct entry entry; /* ENTRY_DIR */
};

/* Where an operation stands: a delta of millions is not held decoded. */
struct delta_place {
	const uint8_t *path;
	uint32_t at; /* of its encoding */
	uint16_t len;
	uint8_t sets, puts, leaves_dir; /* PUT or ATTR; delta_op_puts(); of a
					   directory */
};

struct delta {
	const uint8_t *data; /* its encoding */
	size_t data_len;
	struct hash *commits;
	uint32_t ncommits;
	struct delta_context *context; /* ascending by path_cmp, no "" */
	uint32_t ncontext;
	struct delta_place *ops; /* strictly ascending by path_cmp */
	uint32_t nops;
};

/*
 * Streaming encoder, so that a delta of millions of operations needs no memory
 * of its own: begin, commits, contexts, ops in order, end.  The sink gets
 * pieces of bytes; -1 of it sticks.  What the decoder refuses is the caller's
 * to avoid, but for the numbers announced: EINVAL.
 */
struct delta_writer {
	int (*sink)(void *, const void *, size_t);
	void *arg;
	struct wbuf w;
	uint32_t ncontext, nops; /* still to come */
	int error;
};
int delta_begin(struct delta_writer *,
    int (*sink)(void *, const void *, size_t), void *arg,
    const struct hash *commits, uint32_t ncommits, uint32_t ncontext,
    uint32_t nops);
int delta_add_context(struct delta_writer *, const struct delta_context *);
int delta_add_op(struct delta_writer *, const struct delta_op *);
int delta_end(struct delta_writer *); /* frees what the writer holds */

/*
 * Decodes and checks all (order, one operation a path, context or an operation
 * of its own for each directory above what puts, no commit twice in the table,
 * references in the table, limits).  Views into data,
 * which must outlive it.  NULL: *why says what is wrong.
 */
struct delta *delta_decode(const uint8_t *data, size_t len, const char **why);
/* The same; *path: of the operation that is to blame, into data, or NULL. */
struct delta *delta_decode_blame(const uint8_t *data, size_t len,
    const char **why, const uint8_t **path, size_t *path_len);
void delta_free(struct delta *);
/* Operation i; views into the encoding.  0, or -1 and ENOMEM.
   delta_op_clear() in every case. */
int delta_op_get(const struct delta *, uint32_t i, struct delta_op *);
void delta_op_clear(struct delta_op *);

/* seen of an entry as it stands in a tree or overlay (NULL: nothing). */
void seen_of(const struct entry *, struct seen *);
int seen_equal(const struct seen *, const struct seen *);
void seen_encode(struct wbuf *, const struct seen *);
int seen_decode(struct rbuf *, struct seen *);

#endif
