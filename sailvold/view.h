/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * view: what the mount shows, as far as it is in memory: things, the names of
 * directories, and which stretches of a directory's names are known.  Clean
 * things can be asked again and are dropped when memory is short; changed ones
 * once manifest has them (sailvold(8)).  In fuse.
 */
#ifndef SAILVOLD_VIEW_H
#define SAILVOLD_VIEW_H

#include <sys/queue.h>
#include <sys/tree.h>

#include "sailvold/sailvold_imsg.h"

struct content;
struct copy;

struct origin {
	struct hash commit;
	uint32_t len;
	uint8_t path[]; /* in the volume */
};

#define VN_LOCAL 0x01     /* content is the overlay file */
#define VN_UNSETTLED 0x02 /* fstat says size and times */
#define VN_CLEAN 0x04     /* published as it is */
#define VN_GONE 0x08      /* has no name any more */
#define VN_ATIME 0x10     /* atime is known; else it is mtime */
#define VN_WHOLE 0x20     /* its overlay file was looked at: nothing lacks */
#define VN_LOOKED 0x40    /* settled, with a writer: once more without it */

/* A thing that has, or had, a name. */
struct vn {
	struct vn *next_ovl;   /* chain of objects */
	uint64_t ovl;          /* 0: clean */
	uint64_t plan;         /* number it is about to get, within a change */
	uint64_t dirty;        /* journal offset of its last change */
	struct vname *name;    /* one of its names in memory, or NULL */
	struct origin *origin; /* of an object, or of a clean one that lost
				  its name; NULL: none, or that of its name */
	struct vdir *dir;      /* names that are known; NULL: none */
	uint8_t *enc;          /* clean content: record_entry_encode() */
	uint8_t *xattrs;
	char *target;            /* symlink */
	struct content *content; /* chunks of clean content; or NULL */
	struct copy *copy;       /* they are being copied up */
	TAILQ_ENTRY(vn) fd_link;
	uint64_t size, fileid;
	struct timens mtime, ctime;
	struct timens atime; /* in memory only: a commit does not keep it */
	uint32_t enc_len, xattrs_len;
	uint32_t uid, gid;
	uint32_t links; /* names of it in the mount */
	uint32_t names; /* names of it in memory */
	uint32_t pins;
	uint32_t slot;   /* of the inode table, or 0 */
	uint32_t coming; /* chunks and lists that are asked for */
	int fd;          /* overlay file, or -1 */
	uint16_t mode;
	uint8_t type, flags;
	uint8_t fd_local; /* fd is the overlay file, for writing */
};

/* A name in memory; vn NULL: nothing is there. */
struct vname {
	RB_ENTRY(vname) tree;
	struct vname *next_cookie;
	struct vn *dir, *vn;
	uint64_t cookie;
	uint8_t len;
	char name[];
};
RB_HEAD(vname_tree, vname);

struct range {
	uint8_t *lo, *hi; /* both belong to it */
	uint8_t lo_len, hi_len;
	uint8_t to_end;
};

struct vdir {
	TAILQ_ENTRY(vdir) lru;
	struct vn *vn;
	struct vname_tree names;
	struct vname **by_cookie;
	uint32_t mask, count, nothing; /* names; of them with vn NULL */
	struct range *ranges;
	uint32_t nranges;
	uint64_t dirty; /* journal offset of the last change of a name */
};

/* Memory as malloc counts it, of all of the view. */
void view_init(uint64_t limit_bytes);
uint64_t view_bytes(void);
struct vn *view_root(void);
/* The root's attributes and origin, at start and after a reload. */
int view_set_root(const struct item *);

/* ---- things */
struct vn *view_object(uint64_t ovl); /* NULL: not in memory */
struct vn *vn_new(uint8_t type);      /* no names; NULL and ENOMEM */
struct vn *vn_from_item(const struct item *);
void vn_free(struct vn *);
/* Frees vn->content: set by who makes one. */
extern void (*vn_content_free)(struct vn *);
void vn_pin(struct vn *);
void vn_unpin(struct vn *);
/* Frees it when nothing holds it in memory. */
void vn_release(struct vn *);
void vn_set_ovl(struct vn *, uint64_t ovl);
/* mtime is about to change by a write, which is no access. */
void vn_keep_atime(struct vn *);
int vn_set_xattrs(struct vn *, const uint8_t *, size_t);
int vn_set_target(struct vn *, const void *, size_t); /* of a symlink */
void vn_drop_clean(struct vn *); /* its content is no commit's any more */
/* The whole entry, views into vn; 0 or -1. */
int vn_entry(const struct vn *, struct entry *);
/* Where it comes from: 0 and the path; -1 ENOENT: from nowhere. */
int vn_origin(const struct vn *, struct hash *commit,
    uint8_t path[SAIL_PATH_MAX], size_t *len);
int vn_set_origin(struct vn *, const struct hash *commit, const void *path,
    size_t len);
mode_t vn_ifmt(uint8_t type); /* S_IF* */

/* ---- names */
/* 1 and the thing, 0: known not to be there, -1: not known. */
int view_lookup(struct vn *dir, const void *name, size_t len, struct vn **);
/* (dir, name) is vn from now on, or nothing (NULL). -1 and ENOMEM. */
int view_set(struct vn *dir, const void *name, size_t len, struct vn *);
/* A new directory: all of its names are known, it has none. */
int view_set_empty(struct vn *dir);
uint64_t view_cookie(const void *name, size_t len);
/* The name of a cookie, also one where nothing is any more; NULL. */
struct vname *view_by_cookie(struct vn *dir, uint64_t cookie);
/*
 * The first name after `after' (or from it on, when inclusive): 1; 0 at the
 * end; -1: not known from *from on (copied to 255 bytes).
 */
int view_next(struct vn *dir, const void *after, size_t len, int inclusive,
    struct vname **, uint8_t from[SAIL_NAME_MAX], size_t *from_len);
/*
 * Merges an answer of manifest: names from first to upto (or to the end).
 * What is in memory already stays as it is.  -1: not sound (*why), or ENOMEM.
 */
int view_fill(struct vn *dir, const void *first, size_t first_len,
    const void *upto, size_t upto_len, int end, struct rbuf *items,
    const char **why);
/* 1 when no name is in the directory, 0 there is one, -1 not known. */
int view_is_empty(struct vn *dir, uint8_t from[SAIL_NAME_MAX],
    size_t *from_len);
/* Drops what can be asked again, down to the limit; safe: changes up to this
   offset are in manifest's answers.  In slices: 1, there is more to do. */
int view_evict(uint64_t safe);
/* Drops all names of all directories, whatever they are: for a reload. */
void view_forget_names(void);

#endif
