/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * stash: local changes that a reload took out of view, kept within a limit of
 * size and age (sailvold(8), STASHES).  In manifest.
 */
#ifndef SAILVOLD_STASH_H
#define SAILVOLD_STASH_H

#include "sailvold/delta_make.h"
#include "sailvold/job.h"

#define STASH_HIDDEN 5 /* beside enum delta_kind: nothing is there */

struct stash_row {
	int64_t id;
	uint8_t mount[16];
	char *path, *volume_id, *volume; /* owned */
	struct hash base;
	int64_t created;
	uint64_t files, bytes;
};
struct stash_item {
	uint8_t *path; /* in the volume; owned, as all here */
	size_t len;
	uint8_t kind; /* enum delta_kind, or STASH_HIDDEN */
	uint64_t ovl; /* 0: the content is clean */
	struct entry *entry;
	int has_origin;
	struct hash origin_commit;
	uint8_t *origin_path;
	size_t origin_len;
};
void stash_row_free(struct stash_row *);
void stash_item_free(struct stash_item *);

/* Inside of the caller's transaction: the dirty items of set as a new stash;
   *id is 0 when there are none.  EDQUOT: with what is to be kept of the other
   mounts it is too much of all. */
int stash_put(struct db *, const struct mount_row *, const struct delta_set *,
    int64_t *id, uint64_t *files);
/*
 * Inside of the caller's transaction, while fuse is parked: the entries become
 * unpublished changes of the mount, above its present base; the stash goes.
 * ENODATA (miss), ENOENT: no such stash of this mount.
 */
int stash_restore(struct db *, struct mount_row *, int64_t id,
    struct node_miss *);
/* All of it or nothing. */
int stash_drop(struct db *, int64_t id);
/* Drops what is too old or, oldest first, too much of one mount or of all; the
   newest of a mount is never too much. */
int stash_trim(struct db *);
/* What to do about EDQUOT, in words. */
void stash_full_text(char *, size_t);

/* ---- db_stash.c ------------------------------------------------------------- */

int db_stash_insert(struct db *, struct stash_row *);          /* sets id */
int db_stash_get(struct db *, int64_t id, struct stash_row *); /* ENOENT */
int db_stash_was(struct db *, int64_t id); /* 1: there was one, or is */
/* All, or of one mount (id not NULL), oldest first. */
int db_stash_foreach(struct db *, const uint8_t *mount,
    int (*f)(void *, const struct stash_row *), void *arg);
/* The oldest of those made before that time, or which with the newer ones of
   their mount, if there are any, are more than so many bytes; 0: none. */
int db_stash_excess(struct db *, int64_t before, uint64_t bytes, int64_t *id,
    int64_t *created);
/* The oldest of all, but for the newest of each mount, when all are more than
   so many bytes; 0: none. */
int db_stash_excess_of_all(struct db *, uint64_t bytes, int64_t *id);
/* Bytes of the newest of each mount but that one, made since then. */
int db_stash_newest(struct db *, const uint8_t mount[16], int64_t since,
    uint64_t *bytes);
int db_stash_delete(struct db *, int64_t id);
int db_stash_item_put(struct db *, int64_t id, uint64_t seq,
    const struct stash_item *);
int db_stash_item_get(struct db *, int64_t id, uint64_t seq,
    struct stash_item *); /* ENOENT: no more */
/* How many changes it holds. */
int db_stash_item_count(struct db *, int64_t id, uint64_t *n);

#endif
