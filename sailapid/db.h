/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * db: the database of sailapid(8): orgs, keys, volumes, commits, nodes, chunks
 * and where they lie, upload sessions and leases.  One function a statement.
 * In meta, and in the short-lived children that run commands of the parent.
 *
 * Where nothing else is said a function returns 0, or -1 with errno: EBUSY
 * (another server holds the database), EAGAIN (a transaction would not be safe from
 * a loss of power), ENOMEM, EEXIST (a constraint), ENOSPC,
 * EROFS, EMFILE, EIO (logged).  Those that look something up return 1 when it is there and 0
 * when not.  Times are nanoseconds since 1970.
 */
#ifndef SAILAPID_DB_H
#define SAILAPID_DB_H

#include <stdatomic.h>

#include "lib/commit.h"
#include "lib/node.h"
#include "lib/path.h"
#include "lib/tree.h"

#define DB_FILE "sailapi.db"
#define DB_VERSION 10    /* user_version of the schema */
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
/* Of a second connection: a small cache of pages. */
int db_small(struct db *);
/* In a thread that cannot log: from now on messages of the database go to buf,
   the last one stays. */
void db_thread_says(char *buf, size_t size);
/* What is wrong with what is in it: to the log, or there. */
void db_warn(const char *, ...) __attribute__((format(printf, 1, 2)));

/*
 * One write transaction at a time, of all connections of the process (others
 * wait for it): db_begin does nothing while it is open.
 * db_end commits it (nothing to do without one); -1: nothing of it was kept.  When it
 * is 0 it and all before it is safe from a loss of power: after a sync that has
 * failed, or at the start, db_begin writes the log anew first.
 */
int db_begin(struct db *);
/*
 * The same for what may be lost: it outlives the death of this process, and is
 * synced with the next transaction of db_begin, or by db_settle.  Without
 * effect while a transaction is open.
 */
int db_begin_lazy(struct db *);
/* 1: the transaction that is open is such a one. */
int db_lazy(const struct db *);
/* Syncs what such ones have left, between transactions. */
int db_settle(struct db *);
int db_end(struct db *);
void db_abort(struct db *);
int db_writing(const struct db *);
/* Inside it: from db_save on, all is kept (db_keep) or undone (db_undo); may
   be nested. */
int db_save(struct db *);
int db_keep(struct db *);
int db_undo(struct db *);

/* In between all is read from one state, and nothing is written: not a lock for
   each statement. */
int db_view(struct db *);
void db_view_end(struct db *);

int64_t db_now(void);

/* ---- orgs and keys (db_keys.c) ------------------------------------------- */

enum key_role { KEY_READ = 1, KEY_WRITE = 2, KEY_ADMIN = 3 };
const char *key_role_name(uint8_t role);
int key_role_parse(const char *); /* 0: no such role */

/* What shares chunks, and under which name its objects lie in the store. */
struct db_family {
	int64_t id;
	uint8_t public[DB_ID_LEN];
};

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
	int limited;     /* to the volumes of its grants */
};
int db_org_add(struct db *, const uint8_t public[DB_PUBLIC_LEN],
    const char *name, int64_t now, int64_t *id);
int db_org_by_name(struct db *, const char *name, struct db_org *);
/* By the hash of the secret; revoked ones too. */
int db_key_by_hash(struct db *, const struct hash *, struct db_key *);
int db_key_by_public(struct db *, int64_t org,
    const uint8_t public[DB_PUBLIC_LEN], struct db_key *);
int db_key_by_id(struct db *, int64_t id, struct db_key *);
/* Of an org, oldest first; stops at f's first -1. */
int db_key_each(struct db *, int64_t org,
    int (*f)(void *, const struct db_key *), void *);
int db_key_revoked(struct db *, int64_t id, int64_t now);
/* NULL when the key opens anything at that time, else why not. */
const char *db_key_problem(const struct db_key *, int64_t now);

/* What a limited key may see of one volume: a directory, and what is below. */
struct db_grant {
	int64_t volume; /* its row */
	uint8_t volume_public[DB_ID_LEN];
	char volume_name[SAIL_VOLUME_NAME_MAX + 1];
	uint8_t path[SAIL_PATH_MAX]; /* "": all of it */
	size_t len;
	/* The family of what this key itself uploads, where it may not see
	   all of the volume's: it says nothing of what others have. */
	struct db_family annex;
};
#define KEY_GRANTS_MAX 64
/* The key's grant of that volume: 1, 0 it may not see it, -1. */
int db_grant_find(struct db *, int64_t key, int64_t volume, struct db_grant *);
/* By the names of the volumes, until f's first -1. */
int db_grant_each(struct db *, int64_t key,
    int (*f)(void *, const struct db_grant *), void *);

/* Random ids and secrets. */
void db_random_public(uint8_t public[DB_PUBLIC_LEN]);
/*
 * A new key in an org: its secret is told once and not kept.  With grants
 * (volume and path count) it is limited to them; inside a transaction then.
 */
struct key_new {
	int64_t org;
	const char *name;
	uint8_t role;
	int64_t expires; /* 0: never */
	const struct db_grant *grants;
	size_t ngrants;
};
int db_key_mint(struct db *, const struct key_new *,
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
	int64_t deleted; /* 0: not */
	struct hash head;
	struct volume_header header;
	int64_t
	    origin; /* of a new one: the volume that it is a fork of, or 0 */
};
int db_family_add(struct db *, const uint8_t public[DB_ID_LEN],
    const uint8_t salt[TREE_SALT_LEN], int64_t *id);
int db_family_find(struct db *, int64_t id, struct db_family *);
/* Other volumes, deleted ones too, are or were of its family: 1, 0, -1. */
int db_family_shared(struct db *, const struct db_volume *);
/* public, org, name, family, created, head, header and origin count. *id: its
   row. */
int db_volume_add(struct db *, const struct db_volume *, int64_t *id);
int db_volume_by_name(struct db *, int64_t org, const char *name,
    struct db_volume *);
int db_volume_by_public(struct db *, int64_t org,
    const uint8_t public[DB_ID_LEN], struct db_volume *);
/* By what people type: vol_ and its id, or its name. */
int db_volume_find(struct db *, int64_t org, const char *, struct db_volume *);
/* Of an org by name, those after it, limit of them; key: those of its grants
   alone, or 0. */
int db_volume_each(struct db *, int64_t org, int64_t key, const char *after,
    int limit, int (*f)(void *, const struct db_volume *), void *);
int db_volume_deleted(struct db *, int64_t id, int64_t now);
/* Deleted ones can be brought back for so long; then they are as never there. */
#define VOLUME_DELETED_LIFE_NS ((int64_t)30 * 86400 * 1000000000)
/* One of those deleted since then. */
int db_volume_trash(struct db *, int64_t org, const uint8_t public[DB_ID_LEN],
    int64_t since, struct db_volume *);
/* All of them, by row, those after it; key as above. */
int db_volume_trash_each(struct db *, int64_t org, int64_t key, int64_t since,
    int64_t after, int limit, int (*f)(void *, const struct db_volume *),
    void *);
/* Under that name; EEXIST: another has it. */
int db_volume_restored(struct db *, int64_t id, const char *name);
/* EEXIST likewise. */
int db_volume_renamed(struct db *, int64_t id, const char *name);
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
	uint32_t left; /* of the limit, and one; 0: none */
	struct node_store store;
};
void db_nodes_init(struct db_nodes *, struct db *, int64_t family);
/* Reads and writes so many nodes, and fails with EOVERFLOW then; 0: no end. */
void db_nodes_limit(struct db_nodes *, uint32_t);

/* ---- nodes in a thread (db_stage.c) -------------------------------------- */

struct staged;
struct db_stage {
	struct db_nodes nodes;
	struct node_store store;
	struct staged *v; /* put, and not in the database yet */
	size_t n, bytes;
	const atomic_int *stop, *also; /* one is set: fails with ECANCELED */
};
int db_stage_init(struct db_stage *, struct db *, int64_t family,
    const atomic_int *stop, const atomic_int *also);
/* All that was put is in the database. */
int db_stage_flush(struct db_stage *);
void db_stage_free(struct db_stage *);

/* ---- chunks, objects, locations (db_chunks.c) ---------------------------- */

enum location_state {
	LOCATION_CLAIMED = 1,   /* a client was told to upload it */
	LOCATION_CONFIRMED = 2, /* the store says that it is there (HEAD) */
	LOCATION_VERIFIED = 3,  /* read and hashed */
	LOCATION_BAD = 4,       /* missing or wrong: quarantined */
	LOCATION_CONDEMNED = 5  /* to be deleted */
};
struct db_location {
	int64_t row;    /* of the object */
	int64_t family; /* under which it lies in the store */
	struct hash object;
	uint64_t object_size, offset;
	uint32_t stored, plain;
	uint8_t codec, state, object_state;
	uint8_t own; /* the object is this chunk and nothing else */
};
#define LOCATIONS_MAX 8 /* of one chunk that are looked at */
#define ADOPTED_MAX 16  /* places of one chunk that are in annexes */
/*
 * What is known of a chunk, the best first: verified, of the family itself, objects
 * of its own, those in packs by age, and the bad ones.  How many, max at most; -1.
 */
int db_chunk_places(struct db *, int64_t family, const struct hash *,
    struct db_location *, int max);
/*
 * The same for a key of that grant: first what lies in the annexes of keys of the
 * same volume whose path is its own or below it, then of those above it, the next
 * first, then of keys of the volumes that it was forked from, then in the family
 * itself, then in other annexes; the bad ones last.
 */
int db_chunk_places_for(struct db *, int64_t family, const struct db_grant *,
    const struct hash *, struct db_location *, int max);
/* The first of them. */
int db_chunk_find(struct db *, int64_t family, const struct hash *,
    struct db_location *);
/* The best; where nobody has seen yet which length it has, one of that length
   rather, for another is somebody's word. */
int db_chunk_find_long(struct db *, int64_t family, const struct hash *,
    uint32_t bytes, struct db_location *);
/* In that object, of several one of that length if there is one (0: any), of
   those the best. */
int db_chunk_find_in(struct db *, int64_t family, const struct hash *,
    int64_t row, uint32_t bytes, struct db_location *);
/* As an object of its own. */
int db_chunk_own(struct db *, int64_t family, const struct hash *,
    struct db_location *);
/* A chunk as an object of its own, in that state; made, or set. */
int db_chunk_set(struct db *, int64_t family, const struct hash *,
    uint32_t bytes, uint8_t state);
/*
 * Where it is present in the annex of a key is a place of this family, too, whatever
 * else the family has: but one for all keys of the same path, and ADOPTED_MAX in all,
 * which are as many as nobody takes for a secret.
 */
int db_chunk_adopt(struct db *, int64_t family, int64_t from,
    const struct hash *);
/* May be read. */
#define location_good(s) ((s) == LOCATION_CONFIRMED || (s) == LOCATION_VERIFIED)
/* Counts as present for everybody: of a pack only what was read and hashed. */
int location_present(const struct db_location *);

/* ---- packs (db_packs.c) -------------------------------------------------- */

struct db_object {
	int64_t row, family;
	struct hash hash;
	uint64_t size;
	uint8_t state; /* of a pack: enum location_state */
	uint8_t pack;
	int64_t condemned; /* how often it was found wrong or missing */
	/* of db_pack_due, db_store_known and db_objects_after alone */
	uint8_t family_public[DB_ID_LEN];
};
int db_object_find(struct db *, int64_t family, const struct hash *,
    struct db_object *);
/* That object, of whatever family, in which a chunk of the family lies. */
int db_object_of(struct db *, int64_t family, const struct hash *chunk,
    const struct hash *object, struct db_object *);
/*
 * A pack that a client says it will bring: made, or begun again when it was bad.
 * Its row and state.  1; 0: the store has said another size (o->size).  Until it
 * has said one each client's own word counts for what it brings, and the row has
 * the first.
 */
int db_pack_claim(struct db *, int64_t family, const struct hash *,
    uint64_t size, struct db_object *);
/* That chunk lies in it, says a client. */
int db_pack_add(struct db *, int64_t family, int64_t row, const struct hash *,
    uint64_t offset, uint32_t bytes);
/* How many places clients have named in it; what was never confirmed or is
   wrong is forgotten first when there are more than max. */
int db_pack_places(struct db *, int64_t row, int max);
/* The store has it, and says that size (0: it is not known): what the session
   has claimed of it, with the lengths that it says, is there. */
int db_pack_confirm(struct db *, int64_t row, int64_t session, uint64_t size);
/* The next after that row whose places are to be verified. */
int db_pack_due(struct db *, int64_t after, struct db_object *);
/* Its places by offset, until f's first -1. */
int db_pack_each(struct db *, int64_t row,
    int (*f)(void *, const struct hash *, const struct db_location *), void *);
/* Notes that it was read and found wrong or missing: db_object.condemned. */
int db_object_condemn(struct db *, int64_t row);
/* What came of one place of an object, of so many bytes (one that has others by
   now was not looked at), in all families that have it; then of the
   whole pack: verified, unless more was claimed meanwhile, or bad when nothing in
   it is good.  1: nothing is. */
int db_place_set(struct db *, int64_t row, const struct hash *, uint64_t offset,
    uint64_t bytes, uint8_t state);
int db_pack_checked(struct db *, int64_t row);
/* The same of one that is wrong as a whole: what was only claimed is not there. */
int db_pack_wrong(struct db *, int64_t row);

/* ---- the store (db_store.c) ----------------------------------------------- */

enum store_mark {
	STORE_UNMARKED = 0, /* as far as is known */
	STORE_MARKED = 1,  /* it has an object with the name of this database */
	STORE_ACCEPTED = 2 /* the next one is it, marked or not */
};
struct db_store {
	uint8_t public[DB_ID_LEN]; /* of this database */
	uint8_t mark;
};
int db_store_get(struct db *, struct db_store *);
int db_store_mark(struct db *, uint8_t mark);
/* Some objects that the store has or had, the first and the last: how many, max at
   most; -1.  Their names alone. */
int db_store_known(struct db *, struct db_object *, int max);

/* ---- the survey of the store (db_survey.c) --------------------------------- */

/*
 * When the next one may begin, ns since 1970; SURVEY_UNSET: nobody has said it
 * yet; SURVEY_ASKED: at once, by whichever server.  The one that makes it puts it
 * off meanwhile, and is the only one that does: no other changes what it was.
 */
#define SURVEY_UNSET 0
#define SURVEY_ASKED 1
int db_survey_due(struct db *, int64_t *due);
/* 1; 0: it was another than that. */
int db_survey_put_off(struct db *, int64_t from, int64_t to);
int db_survey_ask(struct db *);

/* All objects in the order of their names in the store. */
struct db_order {
	int64_t family; /* 0: the next after public */
	uint8_t public[DB_ID_LEN];
	struct hash hash; /* the last that was seen of it */
	int any, some;    /* there is such a public, such a hash */
	int end;          /* there are no more */
};
/* The next, max at most, and perhaps none though there are more; at goes behind
   them. */
int db_objects_after(struct db *, struct db_order *at, struct db_object *,
    int max);
/* Just behind that one. */
void db_order_set(struct db_order *, const struct db_object *);

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
	int has_mount;
	uint8_t mount[DB_ID_LEN];
	char *result;  /* JSON, once published */
	int64_t owner; /* the key that alone may use it, or 0 */
};
int db_session_add(struct db *, int64_t volume, const uint8_t key[DB_ID_LEN],
    const char *message, const char *author, int if_unchanged,
    const uint8_t *mount, int64_t owner, int64_t now);
/* 1: *s is filled, end with db_session_clear. */
int db_session_find(struct db *, int64_t volume, const uint8_t key[DB_ID_LEN],
    struct db_session *);
void db_session_clear(struct db_session *);
/* Keeps the result and lets the pins go, so many at a time: 0, or 1 when there
   are more, for db_session_unpin (the same result). */
int db_session_published(struct db *, int64_t id, const char *result);
int db_session_unpin(struct db *, int64_t id);
/* Forgets open ones older than a day and published ones older than thirty. */
int db_session_expire(struct db *, int64_t now);
int db_session_pin(struct db *, int64_t id, const struct hash *, uint32_t bytes,
    int64_t now);
/* *pack: the row of the pack that the session has put it into, or 0. */
int db_session_pinned(struct db *, int64_t id, const struct hash *,
    uint32_t *bytes, int64_t *pack);
int db_session_packed(struct db *, int64_t id, const struct hash *,
    uint32_t bytes, int64_t pack, int64_t now);

/* ---- what a key may have (db_bounds.c) ------------------------------------ */

#define DB_SESSIONS_MAX 10000            /* open */
#define DB_PINS_MAX ((uint64_t)32 << 20) /* asked for by those */
#define DB_LEASES_MAX 100000

/* It may open another session: 1, 0, -1; and that one is its. */
int db_session_room(struct db *, int64_t maker);
int db_session_made(struct db *, int64_t volume, const uint8_t key[DB_ID_LEN],
    int64_t maker);
/* So many chunks more are pinned by the session: 1, 0 too many, -1. */
int db_session_charge(struct db *, int64_t id, uint32_t chunks, int64_t maker);
/* The mount's leases are the key's, and its oldest go that are too many. */
int db_lease_bound(struct db *, int64_t volume, const uint8_t mount[DB_ID_LEN],
    int64_t maker);

/* How many there are, of all volumes. */
int db_session_open_count(struct db *, uint64_t *n);

/* The leases of a mount: cleared, then added one by one. */
int db_lease_clear(struct db *, int64_t volume, const uint8_t mount[DB_ID_LEN]);
int db_lease_add(struct db *, int64_t volume, const uint8_t mount[DB_ID_LEN],
    const struct hash *commit, int64_t expires);
/* It has one on that commit: 1, 0, -1. */
int db_lease_has(struct db *, int64_t volume, const uint8_t mount[DB_ID_LEN],
    const struct hash *commit);
/* The commits of a mount's leases, some of them. */
int db_lease_each(struct db *, int64_t volume, const uint8_t mount[DB_ID_LEN],
    int limit, int (*f)(void *, const struct hash *), void *);
/* The same of all mounts for which that key has leases there. */
int db_lease_each_of(struct db *, int64_t volume, int64_t maker, int limit,
    int (*f)(void *, const struct hash *), void *);
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
/* A key of an org: read, write or admin, that lives so many seconds (0: for
   ever), with grants VOLUME[:/PATH] limited to them; prints it. */
int db_key_create(const char *dir, const char *org, const char *role,
    const char *name, int64_t life_s, char *const *grants, size_t n);
/* A line a key: id, role, created, revoked or -, expires or -, name, grants. */
int db_key_list(const char *dir, const char *org);
int db_key_revoke(const char *dir, const char *org, const char *id);
/* The store that is found next is that of the database, whatever is in it. */
int db_store_accept(const char *dir);
/* A survey of the store is to begin. */
int db_store_survey(const char *dir);

#endif
