/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * db: the database of sailapid(8): orgs, keys, volumes, commits, nodes, chunks
 * and where they lie, upload sessions and leases.  One function a statement.
 * In meta, and in the short-lived children that run commands of the parent.
 *
 * Where nothing else is said a function returns 0, or -1 with errno: EBUSY
 * (another server holds the database), ENOSPC, ENOMEM, EEXIST (a constraint),
 * EIO (logged).  Those that look something up return 1 when it is there and 0
 * when not.  Times are nanoseconds since 1970.
 */
#ifndef SAILAPID_DB_H
#define SAILAPID_DB_H

#include "lib/commit.h"
#include "lib/node.h"
#include "lib/path.h"
#include "lib/tree.h"

#define DB_FILE "sailapi.db"
#define DB_VERSION 1     /* user_version of the schema */
#define DB_PUBLIC_LEN 8  /* bytes of the ids of orgs and keys */
#define DB_ID_LEN 16     /* bytes of the ids of volumes and families */
#define DB_SECRET_LEN 67 /* "sk_" and 64 digits */
#define DB_NAME_MAX 128  /* names of orgs and keys */

struct db;

/* ---- the whole (db.c) ---------------------------------------------------- */

/*
 * Opens the file path; create: makes it when it is missing.  Brings an older
 * schema to DB_VERSION; one that is newer, or something else, is refused with
 * a message (EINVAL).
 */
struct db *db_open(const char *path, int create);
void db_close(struct db *);

/*
 * One write transaction at a time: db_begin does nothing while it is open.
 * db_end commits it (nothing to do without one); -1: nothing of it was kept.
 */
int db_begin(struct db *);
int db_end(struct db *);
void db_abort(struct db *);
int db_writing(const struct db *);
/* Inside it: from db_save on, all is kept (db_keep) or undone (db_undo); may
   be nested. */
int db_save(struct db *);
int db_keep(struct db *);
int db_undo(struct db *);

int64_t db_now(void);

/* ---- orgs and keys (db_keys.c) ------------------------------------------- */

enum key_role { KEY_READ = 1, KEY_WRITE = 2, KEY_ADMIN = 3 };
const char *key_role_name(uint8_t role);
int key_role_parse(const char *); /* 0: no such role */

struct db_org {
	int64_t id;
	uint8_t public[DB_PUBLIC_LEN];
	char name[DB_NAME_MAX + 1];
};
struct db_key {
	int64_t id;
	uint8_t public[DB_PUBLIC_LEN];
	struct db_org org;
	char name[DB_NAME_MAX + 1];
	uint8_t role;
	int64_t created;
	int64_t revoked; /* 0: not */
	int64_t expires; /* 0: never */
	int has_prefix;  /* bound to a part of a volume */
};
int db_org_add(struct db *, const uint8_t public[DB_PUBLIC_LEN],
    const char *name, int64_t now, int64_t *id);
int db_org_by_name(struct db *, const char *name, struct db_org *);
int db_key_add(struct db *, int64_t org, const uint8_t public[DB_PUBLIC_LEN],
    const struct hash *secret, const char *name, uint8_t role, int64_t now);
/* By the hash of the secret; revoked ones too. */
int db_key_by_hash(struct db *, const struct hash *, struct db_key *);
int db_key_by_public(struct db *, int64_t org,
    const uint8_t public[DB_PUBLIC_LEN], struct db_key *);
/* Of an org, oldest first; stops at f's first -1. */
int db_key_each(struct db *, int64_t org,
    int (*f)(void *, const struct db_key *), void *);
int db_key_revoked(struct db *, int64_t id, int64_t now);

/* Random ids and secrets. */
void db_random_public(uint8_t public[DB_PUBLIC_LEN]);
/* A new key in an org: its secret is told once and not kept. */
int db_key_mint(struct db *, int64_t org, const char *name, uint8_t role,
    char secret[DB_SECRET_LEN + 1], struct db_key *);
/* NULL when it may be the name of an org or key; else why not. */
const char *db_name_problem(const char *);

/* ---- volumes and commits (db_volumes.c) ---------------------------------- */

struct db_volume {
	int64_t id;
	uint8_t public[DB_ID_LEN];
	int64_t org;
	char name[SAIL_VOLUME_NAME_MAX + 1];
	int64_t family;
	uint8_t family_public[DB_ID_LEN];
	uint8_t salt[TREE_SALT_LEN];
	int64_t created;
	struct hash head;
	struct volume_header header;
};
int db_family_add(struct db *, const uint8_t public[DB_ID_LEN],
    const uint8_t salt[TREE_SALT_LEN], int64_t *id);
/* public, org, name, family, created, head and header count. *id: its row. */
int db_volume_add(struct db *, const struct db_volume *, int64_t *id);
int db_volume_by_name(struct db *, int64_t org, const char *name,
    struct db_volume *);
int db_volume_by_public(struct db *, int64_t org,
    const uint8_t public[DB_ID_LEN], struct db_volume *);
/* Of an org by name, those after it, limit of them. */
int db_volume_each(struct db *, int64_t org, const char *after, int limit,
    int (*f)(void *, const struct db_volume *), void *);
int db_volume_deleted(struct db *, int64_t id, int64_t now);
/* Compare and set: 1 done, 0 another commit came between. */
int db_volume_swap(struct db *, int64_t id, const struct hash *from,
    const struct hash *to);

int db_commit_add(struct db *, int64_t volume, const struct hash *,
    uint64_t number, const void *, size_t);
/* Its encoding, which the caller unrefs; NULL: ENOENT, or as above. */
struct blob *db_commit_get(struct db *, int64_t volume, const struct hash *);
int db_commit_known(struct db *, int64_t volume, const struct hash *);
/* With numbers below `below', newest first. */
int db_commit_each(struct db *, int64_t volume, uint64_t below, int limit,
    int (*f)(void *, const struct hash *, const uint8_t *, size_t), void *);

/* ---- nodes (db_nodes.c) -------------------------------------------------- */

/* A store of the nodes of one family; valid as long as the struct. */
struct db_nodes {
	struct db *db;
	int64_t family;
	struct node_store store;
};
void db_nodes_init(struct db_nodes *, struct db *, int64_t family);

/* ---- chunks, objects, locations (db_chunks.c) ---------------------------- */

enum location_state {
	LOCATION_CLAIMED = 1,   /* a client was told to upload it */
	LOCATION_CONFIRMED = 2, /* the store says that it is there (HEAD) */
	LOCATION_VERIFIED = 3,  /* read and hashed */
	LOCATION_BAD = 4,       /* missing or wrong: quarantined */
	LOCATION_CONDEMNED = 5  /* to be deleted */
};
struct db_location {
	struct hash object;
	uint64_t object_size, offset;
	uint32_t stored, plain;
	uint8_t codec, state;
};
/* The best that is known of a chunk. */
int db_chunk_find(struct db *, int64_t family, const struct hash *,
    struct db_location *);
/* A chunk as an object of its own, in that state; made, or set. */
int db_chunk_set(struct db *, int64_t family, const struct hash *,
    uint32_t bytes, uint8_t state);
#define location_good(s) ((s) == LOCATION_CONFIRMED || (s) == LOCATION_VERIFIED)

/* ---- upload sessions and leases (db_sessions.c) -------------------------- */

enum session_state { SESSION_OPEN = 1, SESSION_PUBLISHED = 2 };
#define SESSION_LIFE_NS ((int64_t)86400 * 1000000000)
#define SESSION_RESULT_LIFE_NS (30 * SESSION_LIFE_NS)
#define LEASE_LIFE_NS (7 * SESSION_LIFE_NS)

struct db_session {
	int64_t id, volume;
	uint8_t key[DB_ID_LEN];
	uint8_t state;
	int64_t created;
	char *message, *author;
	int if_unchanged;
	char *result; /* JSON, once published */
};
int db_session_add(struct db *, int64_t volume, const uint8_t key[DB_ID_LEN],
    const char *message, const char *author, int if_unchanged,
    const uint8_t *mount, int64_t now);
/* 1: *s is filled, end with db_session_clear. */
int db_session_find(struct db *, int64_t volume, const uint8_t key[DB_ID_LEN],
    struct db_session *);
void db_session_clear(struct db_session *);
/* Keeps the result and lets the pins go. */
int db_session_published(struct db *, int64_t id, const char *result);
/* Forgets open ones older than a day and published ones older than thirty. */
int db_session_expire(struct db *, int64_t now);
int db_session_pin(struct db *, int64_t id, const struct hash *, uint32_t bytes,
    int64_t now);
int db_session_pinned(struct db *, int64_t id, const struct hash *,
    uint32_t *bytes);

/* The leases of a mount: cleared, then added one by one. */
int db_lease_clear(struct db *, int64_t volume, const uint8_t mount[DB_ID_LEN]);
int db_lease_add(struct db *, int64_t volume, const uint8_t mount[DB_ID_LEN],
    const struct hash *commit, int64_t expires);
int db_lease_count(struct db *, int64_t volume, int64_t now);
int db_lease_expire(struct db *, int64_t now);

/* ---- commands of the parent (db_command.c) ------------------------------- */

/*
 * Each opens the database in dir (db_init_org makes it if need be), does its
 * work, prints what the operator wants to see to standard output, and closes
 * it.  To be run in a child that has become the user of meta.  0, or -1 after a
 * message.
 */
/* A new org and its first admin key, which alone is printed; an org that is
   there is refused. */
int db_init_org(const char *dir, const char *org);
/* A key of an org: read, write or admin; prints it. */
int db_key_create(const char *dir, const char *org, const char *role,
    const char *name);
/* A line a key: id, role, created, revoked or -, name. */
int db_key_list(const char *dir, const char *org);
int db_key_revoke(const char *dir, const char *org, const char *id);

#endif
