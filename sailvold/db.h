/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * db: the SQLite database of manifest: nodes, commits, and of each mount its
 * overlay (objects, names, what was seen), jobs and stashes.  One prepared
 * statement and one function for each question.  In manifest alone.
 *
 * Functions return 0, or -1 with errno (ENOENT: no such row; EIO: SQLite said
 * no, which was logged) unless something else is said.
 */
#ifndef SAILVOLD_DB_H
#define SAILVOLD_DB_H

#include "lib/delta.h"
#include "lib/entry.h"
#include "lib/node.h"

struct db;

#define DB_SCHEMA_NUMBER 3
#define DB_SCHEMA_FIRST 2 /* what it can make that of */

/* path: inside the chroot, or ":memory:".  NULL after a log line: also when the
   schema is one that this program does not know. */
/* Called when a statement has failed with ENOSPC, before that is returned. */
void db_on_full(void (*)(void));
struct db *db_open(const char *path);
void db_close(struct db *);
/* A failure within a transaction may have ended it: nothing behind it is done
   then, and the transaction not committed, until db_rollback(). */
int db_begin(struct db *);
/* When it is committed, it and all before it is safe from a loss of power; after
   db_begin() it is only in order.  For what no journal has: above all before
   something is removed that the rows of before need.  Where that has failed it may
   fail for some seconds without another attempt. */
int db_begin_durable(struct db *);
int db_commit(struct db *);
void db_rollback(struct db *);

/* ---- nodes and commits (db_node.c) --------------------------------------- */

/* A counted blob, or NULL: ENOENT, EIO. */
struct blob *db_node_get(struct db *, const struct hash *);
int db_node_put(struct db *, const struct hash *, const uint8_t *, size_t);
/* The database as a store of nodes. */
void db_node_store(struct db *, struct node_store *);
/* Forgets the nodes that were not used longest, until max bytes are left. */
int db_node_trim(struct db *, uint64_t max_bytes);
struct blob *db_commit_get(struct db *, const struct hash *);
int db_commit_put(struct db *, const struct hash *, const uint8_t *, size_t);

/* ---- mounts (db_mount.c) ------------------------------------------------- */

/* What was seen is more than the base (from the mark of the first commit on, or
   after a reload that keeps): removing a name leaves a whiteout. */
#define ROW_SEEN 0x1
#define ROW_PINNED 0x2 /* mounted at a commit (-c): there are no changes */

#define BOOT_ID_LEN 36

struct mount_row {
	int64_t row;
	uint8_t id[16]; /* of (volume, subpath, mount point) */
	char *path;     /* mount point; owned, as all strings here */
	char *volume_id, *volume, *org, *subpath;
	struct hash base; /* commit; zero: none yet */
	uint64_t base_number;
	uint64_t epoch, applied, next;
	int has_last;
	struct hash last; /* newest own commit since the base */
	uint64_t last_number;
	uint8_t lease[16]; /* mount id of its leases, random */
	uint32_t flags;    /* ROW_* */
	/* Of the kernel under which its files were last looked at: a loss of power
	   may have shortened them since; "": nobody knows. */
	char boot[BOOT_ID_LEN + 1];
};
int db_mount_find(struct db *, const uint8_t id[16], struct mount_row *);
int db_mount_insert(struct db *, struct mount_row *); /* sets row */
int db_mount_update(struct db *, const struct mount_row *);
/* With all that belongs to it, but its stashes. */
int db_mount_delete(struct db *, int64_t row);
int db_mount_foreach(struct db *, int (*f)(void *, const struct mount_row *),
    void *);
void mount_row_free(struct mount_row *); /* what it points to */

/* ---- the overlay (db_overlay.c) ------------------------------------------ */

#define OBJ_LOCAL 0x01     /* content is the overlay file */
#define OBJ_SOCKET 0x02    /* entry says fifo, it is a socket */
#define OBJ_UNSETTLED 0x04 /* size and times: fstat of the overlay file */
#define OBJ_SUSPECT 0x08   /* a writer was there when it was published */
#define OBJ_DROPPED 0x10   /* no name, no handle: waits for holds to end */

struct obj {
	uint64_t ovl;
	uint32_t flags; /* OBJ_* */
	uint32_t links;
	/* Of a LOCAL file its chunks say nothing (one hole of its size). */
	struct entry *entry; /* owned, by entry_dup */
	int has_origin;
	struct hash origin_commit;
	uint8_t *origin_path; /* owned */
	size_t origin_path_len;
	/* Journal offsets of the last changes not yet published; 0: none. */
	uint64_t changed_content, changed_attr;
	/* LOCAL and published or hashed before: flat chunk list, and what the
	   file looked like then; owned, or NULL. */
	uint8_t *chunks;
	size_t chunks_len;
	struct timens hashed_ctime, hash_began;
	uint64_t hashed_size;
};
void obj_free(struct obj *); /* what it points to */
int db_obj_get(struct db *, int64_t mount, uint64_t ovl, struct obj *);
int db_obj_put(struct db *, int64_t mount, const struct obj *);
int db_obj_delete(struct db *, int64_t mount, uint64_t ovl);
/* Numbers of objects: with unpublished changes or OBJ_SUSPECT; with a local
   file (most at most); with OBJ_UNSETTLED, or a local file that is
   OBJ_SUSPECT, and not dropped; settled local files with content that is not
   published.  The caller frees *ovls. */
int db_obj_list_dirty(struct db *, int64_t mount, uint64_t **ovls, size_t *n);
int db_obj_list_local(struct db *, int64_t mount, uint64_t most,
    uint64_t **ovls, size_t *n);
int db_obj_list_unsettled(struct db *, int64_t mount, uint64_t **ovls,
    size_t *n);
int db_obj_list_settled(struct db *, int64_t mount, uint64_t **ovls, size_t *n);
/* Those without a name, but the root; with unpublished changes or OBJ_SUSPECT;
   sockets; in order: the first most after that number. */
int db_obj_list_nameless(struct db *, int64_t mount, uint64_t after,
    uint64_t *ovls, size_t most, size_t *n);
int db_obj_dirty_after(struct db *, int64_t mount, uint64_t after,
    uint64_t *ovls, size_t most, size_t *n);
int db_obj_sockets_after(struct db *, int64_t mount, uint64_t after,
    uint64_t *ovls, size_t most, size_t *n);
/* All objects but the root lose their names and handles; what was seen is
   forgotten. */
int db_overlay_reset(struct db *, int64_t mount);
/* Unpublished: names and objects, for status: rows, not paths. */
int db_dirty_count(struct db *, int64_t mount, uint64_t *names,
    uint64_t *objects);
/* The same, but no further than most of each. */
int db_dirty_count_most(struct db *, int64_t mount, uint64_t most,
    uint64_t *names, uint64_t *objects);

struct name_row {
	uint64_t dir, ovl; /* ovl 0: whiteout */
	uint64_t changed;  /* journal offset; 0: published */
	const uint8_t *name;
	size_t len;
};
int db_name_get(struct db *, int64_t mount, uint64_t dir, const void *name,
    size_t, struct name_row *); /* name_row.name: the caller's */
int db_name_put(struct db *, int64_t mount, uint64_t dir, const void *name,
    size_t, uint64_t ovl, uint64_t changed);
int db_name_delete(struct db *, int64_t mount, uint64_t dir, const void *name,
    size_t);
int db_name_delete_dir(struct db *, int64_t mount, uint64_t dir);
/* 1 when an object has a name in that directory, 0, -1. */
int db_name_any(struct db *, int64_t mount, uint64_t dir);
/*
 * Rows in one piece of memory that the caller frees: of a directory from
 * `from' on (after: greater than it), at most max; of an object; changed, some at a
 * time: those after that row (NULL: the first).
 */
int db_names_of_dir(struct db *, int64_t mount, uint64_t dir, const void *from,
    size_t, int after, size_t max, struct name_row **, size_t *n);
int db_names_of_obj(struct db *, int64_t mount, uint64_t ovl,
    struct name_row **, size_t *n);
/* The same: of those without a fileid of their own the oldest. */
int db_name_oldest(struct db *, int64_t mount, uint64_t ovl, struct name_row **,
    size_t *n);
int db_names_changed(struct db *, int64_t mount, const struct name_row *after,
    size_t max, struct name_row **, size_t *n);
/* All names of a mount go, and what was seen; *ovls: objects that had one
   (db_job.c). */
int db_names_lose_all(struct db *, int64_t mount, uint64_t **ovls, size_t *n);
/* Names changed up to that journal offset are published (db_job.c). */
int db_names_published(struct db *, int64_t mount, uint64_t offset);
/* The fileid that a name made by link(2) got; ENOENT: none (db_job.c). */
int db_link_id_get(struct db *, int64_t mount, uint64_t ovl, uint64_t dir,
    const void *name, size_t, uint64_t *fileid);
int db_link_id_put(struct db *, int64_t mount, uint64_t ovl, uint64_t dir,
    const void *name, size_t, uint64_t fileid);

/* What was seen at a path, where it is not what the base has there. */
struct seen_row {
	const uint8_t *path;
	size_t len;
	struct seen seen;
	/* A directory: its names are those of this one, less other rows below. */
	int has_tree;
	struct hash tree_commit;
	const uint8_t *tree_path;
	size_t tree_path_len;
};
/* *mem: what the views point to; the caller frees it. */
int db_seen_get(struct db *, int64_t mount, const void *path, size_t,
    struct seen_row *, void **mem);
int db_seen_put(struct db *, int64_t mount, const struct seen_row *);
int db_seen_delete(struct db *, int64_t mount, const void *path, size_t);
int db_seen_delete_below(struct db *, int64_t mount, const void *path, size_t);
int db_seen_clear(struct db *, int64_t mount);
/* All rows strictly below path ("" : all but the root's), by memcmp; or the
   first max of them after that path. */
int db_seen_below(struct db *, int64_t mount, const void *path, size_t,
    struct seen_row **, size_t *n);
int db_seen_below_after(struct db *, int64_t mount, const void *path, size_t,
    const void *after, size_t after_len, size_t max, struct seen_row **,
    size_t *n);

/* ---- jobs and stashes: db_job.c, db_stash.c, and their own headers -------- */

/* ---- for the db_*.c files themselves ------------------------------------- */

struct sqlite3_stmt;
enum db_statement;
/* The prepared statement, reset and without bindings. NULL and EIO. */
struct sqlite3_stmt *db_stmt(struct db *, enum db_statement);
/* sqlite3_step: 1 a row, 0 done, -1 and EIO (logged); done and -1 reset it. */
int db_step(struct db *, struct sqlite3_stmt *);
/* Steps a statement without rows. */
int db_exec_stmt(struct db *, struct sqlite3_stmt *);

#endif
