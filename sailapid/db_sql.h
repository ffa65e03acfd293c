/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * db_sql: all statements of the database, prepared once when it is opened, and
 * how the db_*.c bind and run them.  Not for use outside db*.c.
 */
#ifndef SAILAPID_DB_SQL_H
#define SAILAPID_DB_SQL_H

#include <sqlite3.h>

#include "sailapid/db.h"

#define KEY_COLUMNS                                                           \
	"k.id, k.public, k.name, k.role, k.created, ifnull(k.revoked, 0), "   \
	"ifnull(k.expires, 0), k.prefix IS NOT NULL, o.id, o.public, o.name " \
	"FROM key k JOIN org o ON o.id = k.org "
#define VOLUME_COLUMNS                                                \
	"v.id, v.public, v.org, v.name, v.family, f.public, f.salt, " \
	"v.created, v.head, v.header "                                \
	"FROM volume v JOIN family f ON f.id = v.family "

#define DB_STATEMENTS(X)                                                       \
	X(BEGIN, "BEGIN IMMEDIATE")                                            \
	X(COMMIT, "COMMIT")                                                    \
	X(ROLLBACK, "ROLLBACK")                                                \
	X(SAVE, "SAVEPOINT s")                                                 \
	X(KEEP, "RELEASE s")                                                   \
	X(UNDO, "ROLLBACK TO s")                                               \
	X(ORG_ADD, "INSERT INTO org(public, name, created) VALUES(?, ?, ?)")   \
	X(ORG_BY_NAME, "SELECT id, public, name FROM org WHERE name = ?")      \
	X(KEY_ADD,                                                             \
	    "INSERT INTO key(org, public, hash, name, role, created) "         \
	    "VALUES(?, ?, ?, ?, ?, ?)")                                        \
	X(KEY_BY_HASH, "SELECT " KEY_COLUMNS "WHERE k.hash = ?")               \
	X(KEY_BY_PUBLIC,                                                       \
	    "SELECT " KEY_COLUMNS "WHERE k.org = ? AND k.public = ?")          \
	X(KEY_EACH, "SELECT " KEY_COLUMNS "WHERE k.org = ? ORDER BY k.id")     \
	X(KEY_REVOKED,                                                         \
	    "UPDATE key SET revoked = ? WHERE id = ? AND revoked IS NULL")     \
	X(FAMILY_ADD, "INSERT INTO family(public, salt) VALUES(?, ?)")         \
	X(VOLUME_ADD,                                                          \
	    "INSERT INTO volume(public, org, name, family, created, head, "    \
	    "header) VALUES(?, ?, ?, ?, ?, ?, ?)")                             \
	X(VOLUME_BY_NAME,                                                      \
	    "SELECT " VOLUME_COLUMNS                                           \
	    "WHERE v.org = ? AND v.name = ? AND v.deleted IS NULL")            \
	X(VOLUME_BY_PUBLIC,                                                    \
	    "SELECT " VOLUME_COLUMNS                                           \
	    "WHERE v.public = ? AND v.org = ? AND v.deleted IS NULL")          \
	X(VOLUME_EACH,                                                         \
	    "SELECT " VOLUME_COLUMNS "WHERE v.org = ? AND v.name > ? "         \
	    "AND v.deleted IS NULL ORDER BY v.name LIMIT ?")                   \
	X(VOLUME_DELETED,                                                      \
	    "UPDATE volume SET deleted = ? WHERE id = ? AND deleted IS NULL")  \
	X(VOLUME_SWAP, "UPDATE volume SET head = ? WHERE id = ? AND head = ?") \
	X(COMMIT_ADD,                                                          \
	    "INSERT INTO \"commit\"(volume, hash, number, data) "              \
	    "VALUES(?, ?, ?, ?)")                                              \
	X(COMMIT_GET,                                                          \
	    "SELECT data FROM \"commit\" WHERE volume = ? AND hash = ?")       \
	X(COMMIT_KNOWN,                                                        \
	    "SELECT 1 FROM \"commit\" WHERE volume = ? AND hash = ?")          \
	X(COMMIT_EACH,                                                         \
	    "SELECT hash, data FROM \"commit\" WHERE volume = ? AND "          \
	    "number < ? ORDER BY number DESC LIMIT ?")                         \
	X(NODE_GET, "SELECT data FROM node WHERE family = ? AND hash = ?")     \
	X(NODE_KNOWN, "SELECT 1 FROM node WHERE family = ? AND hash = ?")      \
	X(NODE_PUT,                                                            \
	    "INSERT OR IGNORE INTO node(family, hash, kind, data) "            \
	    "VALUES(?, ?, ?, ?)")                                              \
	X(CHUNK_FIND,                                                          \
	    "SELECT o.hash, o.size, l.offset, l.stored, l.plain, l.codec, "    \
	    "l.state FROM location l JOIN object o ON o.id = l.object "        \
	    "WHERE l.family = ? AND l.hash = ? ORDER BY CASE l.state "         \
	    "WHEN 3 THEN 0 WHEN 2 THEN 1 WHEN 1 THEN 2 ELSE 3 END LIMIT 1")    \
	X(CHUNK_SET,                                                           \
	    "INSERT INTO chunk(family, hash, bytes) VALUES(?1, ?2, ?3) "       \
	    "ON CONFLICT DO UPDATE SET bytes = ?3")                            \
	X(OBJECT_SET,                                                          \
	    "INSERT INTO object(family, hash, size, state) "                   \
	    "VALUES(?1, ?2, ?3, ?4) "                                          \
	    "ON CONFLICT DO UPDATE SET size = ?3, state = ?4")                 \
	X(LOCATION_SET,                                                        \
	    "INSERT INTO location(family, hash, object, offset, stored, "      \
	    "plain, codec, state) SELECT ?1, ?2, id, 0, ?3, ?3, 0, ?4 FROM "   \
	    "object WHERE family = ?1 AND hash = ?2 "                          \
	    "ON CONFLICT DO UPDATE SET stored = ?3, plain = ?3, state = ?4")   \
	X(SESSION_ADD,                                                         \
	    "INSERT INTO session(volume, key, state, created, message, "       \
	    "author, if_unchanged, mount) VALUES(?, ?, 1, ?, ?, ?, ?, ?)")     \
	X(SESSION_FIND,                                                        \
	    "SELECT id, state, created, message, author, if_unchanged, "       \
	    "result FROM session WHERE volume = ? AND key = ?")                \
	X(SESSION_PUBLISHED,                                                   \
	    "UPDATE session SET state = 2, result = ? WHERE id = ? AND "       \
	    "state = 1")                                                       \
	X(SESSION_UNPIN, "DELETE FROM session_chunk WHERE session = ?")        \
	X(SESSION_EXPIRE_PINS,                                                 \
	    "DELETE FROM session_chunk WHERE session IN (SELECT id FROM "      \
	    "session WHERE state = 1 AND created < ?)")                        \
	X(SESSION_EXPIRE,                                                      \
	    "DELETE FROM session WHERE state = 1 AND created < ?1 "            \
	    "OR state = 2 AND created < ?2")                                   \
	X(SESSION_PIN,                                                         \
	    "INSERT INTO session_chunk(session, hash, bytes, pinned) "         \
	    "VALUES(?1, ?2, ?3, ?4) "                                          \
	    "ON CONFLICT DO UPDATE SET bytes = ?3, pinned = ?4")               \
	X(SESSION_PINNED,                                                      \
	    "SELECT bytes FROM session_chunk WHERE session = ? AND hash = ?")  \
	X(LEASE_CLEAR, "DELETE FROM lease WHERE volume = ? AND mount = ?")     \
	X(LEASE_ADD,                                                           \
	    "INSERT INTO lease(volume, mount, \"commit\", expires) "           \
	    "VALUES(?1, ?2, ?3, ?4) ON CONFLICT DO UPDATE SET expires = ?4")   \
	X(LEASE_COUNT,                                                         \
	    "SELECT count(*) FROM lease WHERE volume = ? AND expires > ?")     \
	X(LEASE_EXPIRE, "DELETE FROM lease WHERE expires < ?")

enum db_st {
#define X(name, sql) ST_##name,
	DB_STATEMENTS(X)
#undef X
	    ST_COUNT
};

struct db {
	sqlite3 *h;
	sqlite3_stmt *st[ST_COUNT];
	int writing; /* a transaction was begun */
};

/*
 * types, one letter a parameter, with its arguments: i int64_t; h const struct
 * hash *; b const void *, size_t (NULL: NULL); t const char * (NULL: NULL).
 * The bytes must live until the statement is done.
 */
sqlite3_stmt *db_query(struct db *, enum db_st, const char *types, ...);
/* 1 a row, 0 the end, -1; the statement is reset at the last two. */
int db_next(struct db *, sqlite3_stmt *);
void db_done(sqlite3_stmt *);
/* Binds, runs to its end. */
int db_exec(struct db *, enum db_st, const char *types, ...);
int db_changes(struct db *); /* rows of the last db_exec */

/* Columns of exactly that length, or -1 and EIO after a message. */
int db_col_bytes(sqlite3_stmt *, int col, void *, size_t len);
/* A text into a field; -1 and EIO when it does not fit. */
int db_col_text(sqlite3_stmt *, int col, char *, size_t size);
/* A copy, NULL for NULL; -1 and ENOMEM. */
int db_col_dup(sqlite3_stmt *, int col, char **);

#endif
