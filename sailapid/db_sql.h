/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * db_sql: all statements of the database, prepared once when it is opened, and
 * how the db_*.c bind and run them.  Not for use outside db*.c.
 */
#ifndef SAILAPID_DB_SQL_H
#define SAILAPID_DB_SQL_H

#include <sqlite3.h>

#include "sailapid/db.h"

#define KEY_COLUMNS                                                         \
	"k.id, k.public, k.name, k.role, k.created, ifnull(k.revoked, 0), " \
	"ifnull(k.expires, 0), k.limited, o.id, o.public, o.name "          \
	"FROM key k JOIN org o ON o.id = k.org "
#define VOLUME_COLUMNS                                                \
	"v.id, v.public, v.org, v.name, v.family, f.public, f.salt, " \
	"v.created, v.head, v.header, ifnull(v.deleted, 0) "          \
	"FROM volume v JOIN family f ON f.id = v.family "
#define GRANT_COLUMNS                                                  \
	"g.volume, v.public, v.name, g.path, g.annex, "                \
	"f.public FROM key_volume g JOIN volume v ON v.id = g.volume " \
	"JOIN family f ON f.id = g.annex "
/* ?2: a key, those of its grants alone; 0: all. */
#define GRANTED                                                      \
	"(?2 = 0 OR v.id IN (SELECT volume FROM key_volume g WHERE " \
	"g.key = ?2)) "

#define FROM_PLACES "FROM location l JOIN object o ON o.id = l.object "
#define PLACE_COLUMNS                                                       \
	"o.id, o.hash, o.size, l.offset, l.stored, l.plain, l.codec, "      \
	"l.state, l.hash = o.hash AND l.offset = 0 AND l.stored = o.size, " \
	"o.state, o.family "
/* Of an object whose size the store has said, not only a client. */
#define SIZE_KNOWN                                                    \
	"(state IN (2, 3) OR EXISTS (SELECT 1 FROM location l WHERE " \
	"l.object = object.id AND l.state IN (2, 3))) "
/* As db_chunk_places() says. */
#define PLACE_ORDER                                                      \
	"CASE l.state WHEN 3 THEN 0 WHEN 2 THEN 1 WHEN 1 THEN 2 ELSE 3 " \
	"END, o.family != l.family, l.hash != o.hash, o.id "
/* As location_present() says. */
#define PRESENT_IN(l, o)                                                  \
	"(" l ".state = 3 OR " l ".state = 2 AND " l ".offset = 0 AND " o \
	".hash = " l ".hash AND " l ".stored = " o ".size) "
#define PRESENT PRESENT_IN("l", "o")
#define M_PRESENT PRESENT_IN("m", "mo")
/* Path a is that of b, or below it; both are blobs. */
#define IS_BELOW(a, b)                                                   \
	"(length(" b ") = 0 OR substr(" a ", 1, length(" b ")) = " b     \
	" AND (length(" a ") = length(" b ") OR substr(" a ", length(" b \
	") + 1, 1) = x'2f')) "
/* As db_chunk_places_for() says: of a grant on volume ?3 with path ?4. */
#define UP                                                                \
	"WITH RECURSIVE up(id, far) AS (SELECT ?3, 0 UNION ALL "          \
	"SELECT v.origin, far + 1 FROM up JOIN volume v ON v.id = up.id " \
	"WHERE v.origin IS NOT NULL AND far < 64) "
#define BELOW_MINE IS_BELOW("g.path", "?4")
#define ABOVE_MINE IS_BELOW("?4", "g.path")
#define PLACE_ORDER_FOR                                                     \
	"l.state NOT IN (2, 3), CASE WHEN far IS NOT NULL AND (" BELOW_MINE \
	"OR " ABOVE_MINE ") THEN 0 WHEN o.family = ?1 THEN 1 ELSE 2 END, "  \
	"far, NOT " BELOW_MINE ", length(g.path) DESC, " PLACE_ORDER

#define DB_STATEMENTS(X)                                                                  \
	X(BEGIN, "BEGIN IMMEDIATE")                                                       \
	X(COMMIT, "COMMIT")                                                               \
	X(ROLLBACK, "ROLLBACK")                                                           \
	X(SAVE, "SAVEPOINT s")                                                            \
	X(KEEP, "RELEASE s")                                                              \
	X(UNDO, "ROLLBACK TO s")                                                          \
	X(ORG_ADD, "INSERT INTO org(public, name, created) VALUES(?, ?, ?)")              \
	X(ORG_BY_NAME, "SELECT id, public, name FROM org WHERE name = ?")                 \
	X(KEY_ADD,                                                                        \
	    "INSERT INTO key(org, public, hash, name, role, created, "                    \
	    "expires, limited) VALUES(?, ?, ?, ?, ?, ?, nullif(?, 0), ?)")                \
	X(KEY_BY_HASH, "SELECT " KEY_COLUMNS "WHERE k.hash = ?")                          \
	X(KEY_BY_PUBLIC,                                                                  \
	    "SELECT " KEY_COLUMNS "WHERE k.org = ? AND k.public = ?")                     \
	X(KEY_BY_ID, "SELECT " KEY_COLUMNS "WHERE k.id = ?")                              \
	X(KEY_EACH, "SELECT " KEY_COLUMNS "WHERE k.org = ? ORDER BY k.id")                \
	X(KEY_REVOKED,                                                                    \
	    "UPDATE key SET revoked = ? WHERE id = ? AND revoked IS NULL")                \
	X(GRANT_ADD,                                                                      \
	    "INSERT INTO key_volume(key, volume, path, annex) "                           \
	    "VALUES(?, ?, ?, ?)")                                                         \
	X(GRANT_FIND,                                                                     \
	    "SELECT " GRANT_COLUMNS "WHERE g.key = ? AND g.volume = ?")                   \
	X(GRANT_EACH,                                                                     \
	    "SELECT " GRANT_COLUMNS "WHERE g.key = ? ORDER BY v.name, v.id")              \
	X(FAMILY_ADD, "INSERT INTO family(public, salt) VALUES(?, ?)")                    \
	X(FAMILY_FIND, "SELECT id, public FROM family WHERE id = ?")                      \
	X(FAMILY_SHARED,                                                                  \
	    "SELECT 1 FROM volume WHERE family = ? AND id != ? LIMIT 1")                  \
	X(VOLUME_ADD,                                                                     \
	    "INSERT INTO volume(public, org, name, family, created, head, "               \
	    "header, origin) VALUES(?, ?, ?, ?, ?, ?, ?, nullif(?, 0))")                  \
	X(VOLUME_BY_NAME,                                                                 \
	    "SELECT " VOLUME_COLUMNS                                                      \
	    "WHERE v.org = ? AND v.name = ? AND v.deleted IS NULL")                       \
	X(VOLUME_BY_PUBLIC,                                                               \
	    "SELECT " VOLUME_COLUMNS                                                      \
	    "WHERE v.public = ? AND v.org = ? AND v.deleted IS NULL")                     \
	X(VOLUME_EACH,                                                                    \
	    "SELECT " VOLUME_COLUMNS "WHERE v.org = ?1 AND v.name > ?3 "                  \
	    "AND v.deleted IS NULL AND " GRANTED "ORDER BY v.name LIMIT ?4")              \
	X(VOLUME_DELETED,                                                                 \
	    "UPDATE volume SET deleted = ? WHERE id = ? AND deleted IS NULL")             \
	X(VOLUME_TRASH,                                                                   \
	    "SELECT " VOLUME_COLUMNS                                                      \
	    "WHERE v.public = ? AND v.org = ? AND v.deleted > ?")                         \
	X(VOLUME_TRASH_EACH,                                                              \
	    "SELECT " VOLUME_COLUMNS "WHERE v.org = ?1 AND v.deleted > ?3 "               \
	    "AND v.id > ?4 AND " GRANTED "ORDER BY v.id LIMIT ?5")                        \
	X(VOLUME_RESTORED,                                                                \
	    "UPDATE volume SET deleted = NULL, name = ? WHERE id = ?")                    \
	X(VOLUME_RENAMED,                                                                 \
	    "UPDATE volume SET name = ? WHERE id = ? AND deleted IS NULL")                \
	X(VOLUME_SWAP, "UPDATE volume SET head = ? WHERE id = ? AND head = ?")            \
	X(COMMIT_ADD,                                                                     \
	    "INSERT INTO \"commit\"(volume, hash, number, data) "                         \
	    "VALUES(?, ?, ?, ?)")                                                         \
	X(COMMIT_GET,                                                                     \
	    "SELECT data FROM \"commit\" WHERE volume = ? AND hash = ?")                  \
	X(COMMIT_KNOWN,                                                                   \
	    "SELECT 1 FROM \"commit\" WHERE volume = ? AND hash = ?")                     \
	X(COMMIT_EACH,                                                                    \
	    "SELECT hash, data FROM \"commit\" WHERE volume = ? AND "                     \
	    "number < ? ORDER BY number DESC LIMIT ?")                                    \
	X(NODE_GET, "SELECT data FROM node WHERE family = ? AND hash = ?")                \
	X(NODE_KNOWN, "SELECT 1 FROM node WHERE family = ? AND hash = ?")                 \
	X(NODE_PUT,                                                                       \
	    "INSERT OR IGNORE INTO node(family, hash, kind, data) "                       \
	    "VALUES(?, ?, ?, ?)")                                                         \
	X(CHUNK_PLACES,                                                                   \
	    "SELECT " PLACE_COLUMNS FROM_PLACES                                           \
	    "WHERE l.family = ? AND l.hash = ? "                                          \
	    "ORDER BY " PLACE_ORDER "LIMIT ?")                                            \
	X(CHUNK_PLACES_FOR,                                                               \
	    UP "SELECT " PLACE_COLUMNS FROM_PLACES                                        \
	       "LEFT JOIN key_volume g ON g.annex = o.family "                            \
	       "LEFT JOIN up ON up.id = g.volume "                                        \
	       "WHERE l.family = ?1 AND l.hash = ?2 "                                     \
	       "ORDER BY " PLACE_ORDER_FOR "LIMIT ?5")                                    \
	X(CHUNK_FEW,                                                                      \
	    "SELECT " PLACE_COLUMNS FROM_PLACES                                           \
	    "WHERE l.family = ? AND l.hash = ? LIMIT 2")                                  \
	X(CHUNK_FIND_IN,                                                                  \
	    "SELECT " PLACE_COLUMNS FROM_PLACES                                           \
	    "WHERE l.family = ? AND l.hash = ? "                                          \
	    "AND l.object = ? ORDER BY l.plain != ?, " PLACE_ORDER "LIMIT 1")             \
	X(CHUNK_OWN,                                                                      \
	    "SELECT " PLACE_COLUMNS FROM_PLACES "WHERE l.family = ? AND "                 \
	    "l.hash = ? AND o.hash = l.hash AND l.offset = 0 AND "                        \
	    "l.stored = o.size LIMIT 1")                                                  \
	X(OBJECT_SET,                                                                     \
	    "INSERT INTO object(family, hash, size, state) "                              \
	    "VALUES(?1, ?2, ?3, ?4) ON CONFLICT DO UPDATE SET "                           \
	    "size = CASE WHEN ?4 = 1 OR pack = 1 AND " SIZE_KNOWN                         \
	    "THEN size ELSE ?3 END, "                                                     \
	    "state = CASE pack WHEN 1 THEN state ELSE ?4 END")                            \
	X(OBJECT_FIND,                                                                    \
	    "SELECT id, family, hash, size, state, pack, condemned FROM object "          \
	    "WHERE family = ? AND hash = ?")                                              \
	X(OBJECT_AFTER,                                                                   \
	    "SELECT id, family, hash, size, state, pack, condemned FROM object "          \
	    "WHERE family = ? AND hash > ? ORDER BY hash LIMIT ?")                        \
	X(FAMILY_AFTER,                                                                   \
	    "SELECT id, public FROM family WHERE public > ? "                             \
	    "ORDER BY public LIMIT 1")                                                    \
	X(SURVEY_DUE, "SELECT survey FROM store")                                         \
	X(SURVEY_PUT_OFF, "UPDATE store SET survey = ?2 WHERE survey = ?1")               \
	X(SURVEY_ASK, "UPDATE store SET survey = ?")                                      \
	X(PACK_CLAIM,                                                                     \
	    "INSERT INTO object(family, hash, size, state, pack) "                        \
	    "VALUES(?1, ?2, ?3, 1, 1) ON CONFLICT DO UPDATE SET pack = 1, "               \
	    "size = CASE state WHEN 4 THEN ?3 ELSE size END, "                            \
	    "state = CASE pack WHEN 0 THEN 1 ELSE state END "                             \
	    "WHERE size = ?3 OR state = 4 OR NOT " SIZE_KNOWN)                            \
	X(PACK_ADD,                                                                       \
	    "INSERT INTO location(family, hash, object, offset, stored, "                 \
	    "plain, codec, state) VALUES(?1, ?2, ?3, ?4, ?5, ?5, 0, 1) "                  \
	    "ON CONFLICT DO UPDATE SET stored = ?5, plain = ?5, state = 1 "               \
	    "WHERE state NOT IN (2, 3)")                                                  \
	X(PACK_COUNT,                                                                     \
	    "SELECT count(*) " FROM_PLACES "WHERE l.object = ? AND "                      \
	    "l.family = o.family")                                                        \
	X(PACK_TRIM,                                                                      \
	    "DELETE FROM location WHERE object = ? AND state NOT IN (2, 3)")              \
	X(PACK_CONFIRM,                                                                   \
	    "UPDATE location SET state = 2, stored = s.bytes, "                           \
	    "plain = s.bytes FROM session_chunk s WHERE "                                 \
	    "location.object = ?1 AND location.state = 1 AND "                            \
	    "s.session = ?2 AND s.hash = location.hash AND s.pack = ?1 "                  \
	    "AND location.offset + s.bytes <= (SELECT size FROM object "                  \
	    "WHERE id = ?1)")                                                             \
	X(PACK_SIZE,                                                                      \
	    "UPDATE object SET state = ?1, size = CASE ?2 WHEN 0 THEN size "              \
	    "ELSE ?2 END WHERE id = ?3")                                                  \
	X(PACK_STATE, "UPDATE object SET state = ? WHERE id = ?")                         \
	X(PACK_DUE,                                                                       \
	    "SELECT o.id, o.family, o.hash, o.size, o.state, o.pack, "                    \
	    "o.condemned, f.public FROM object o JOIN family f ON f.id = o.family WHERE " \
	    "o.pack = 1 AND o.state = 2 AND o.id > ? ORDER BY o.id LIMIT 1")              \
	X(PACK_EACH,                                                                      \
	    "SELECT " PLACE_COLUMNS ", l.hash " FROM_PLACES                               \
	    "WHERE l.object = ? AND l.family = o.family ORDER BY l.offset")               \
	X(PLACE_SET,                                                                      \
	    "UPDATE location SET state = ? WHERE object = ? AND hash = ? "                \
	    "AND offset = ? AND stored = ?")                                              \
	X(PACK_LEFT,                                                                      \
	    "SELECT ifnull(sum(state = 2), 0), ifnull(sum(state IN (?2, 2, "              \
	    "3)), 0) FROM location WHERE object = ?1")                                    \
	X(OBJECT_CONDEMN,                                                                 \
	    "UPDATE object SET condemned = condemned + 1 WHERE id = ?")                   \
	X(PLACE_OBJECT,                                                                   \
	    "SELECT o.id, o.family, o.hash, o.size, o.state, o.pack, "                    \
	    "o.condemned " FROM_PLACES                                                    \
	    "WHERE l.family = ? AND l.hash = ? AND o.hash = ? "                           \
	    "ORDER BY " PLACE_ORDER "LIMIT 1")                                            \
	/* One for all keys of that path of that volume. */                               \
	X(PLACE_ADOPT,                                                                    \
	    "INSERT INTO location(family, hash, object, offset, stored, "                 \
	    "plain, codec, state) SELECT ?1, l.hash, l.object, l.offset, "                \
	    "l.stored, l.plain, l.codec, l.state " FROM_PLACES                            \
	    "WHERE l.family = ?2 AND l.hash = ?3 AND " PRESENT                            \
	    "AND NOT EXISTS (SELECT 1 FROM key_volume mine, location m "                  \
	    "JOIN object mo ON mo.id = m.object "                                         \
	    "JOIN key_volume g ON g.annex = mo.family "                                   \
	    "WHERE mine.annex = ?2 AND m.family = ?1 AND m.hash = ?3 "                    \
	    "AND " M_PRESENT "AND g.volume = mine.volume "                                \
	    "AND g.path = mine.path) AND (SELECT count(*) FROM location m "               \
	    "JOIN object mo ON mo.id = m.object WHERE m.family = ?1 "                     \
	    "AND m.hash = ?3 AND mo.family != ?1 AND " M_PRESENT ") < ?4 "                \
	    "LIMIT 1 ON CONFLICT DO UPDATE SET state = excluded.state")                   \
	X(LOCATION_SET,                                                                   \
	    "INSERT INTO location(family, hash, object, offset, stored, "                 \
	    "plain, codec, state) SELECT ?1, ?2, id, 0, ?3, ?3, 0, ?4 FROM "              \
	    "object WHERE family = ?1 AND hash = ?2 "                                     \
	    "ON CONFLICT DO UPDATE SET stored = ?3, plain = ?3, state = ?4")              \
	X(SESSION_ADD,                                                                    \
	    "INSERT INTO session(volume, key, state, created, message, "                  \
	    "author, if_unchanged, mount, owner) "                                        \
	    "VALUES(?, ?, 1, ?, ?, ?, ?, ?, nullif(?, 0))")                               \
	X(SESSION_FIND,                                                                   \
	    "SELECT id, state, created, message, author, if_unchanged, "                  \
	    "result, mount, ifnull(owner, 0) FROM session "                               \
	    "WHERE volume = ? AND key = ?")                                               \
	X(SESSION_PUBLISHED,                                                              \
	    "UPDATE session SET state = 2, result = ? WHERE id = ? AND "                  \
	    "state = 1")                                                                  \
	X(SESSION_UNPIN,                                                                  \
	    "DELETE FROM session_chunk WHERE session = ?1 AND hash IN "                   \
	    "(SELECT hash FROM session_chunk WHERE session = ?1 LIMIT ?2) "               \
	    "AND EXISTS (SELECT 1 FROM session WHERE id = ?1 AND state = 2)")             \
	X(SESSION_EXPIRE_PINS,                                                            \
	    "DELETE FROM session_chunk WHERE session IN (SELECT id FROM "                 \
	    "session WHERE state = 1 AND created < ?1 "                                   \
	    "OR state = 2 AND created < ?2)")                                             \
	X(SESSION_EXPIRE,                                                                 \
	    "DELETE FROM session WHERE state = 1 AND created < ?1 "                       \
	    "OR state = 2 AND created < ?2")                                              \
	X(SESSION_PIN,                                                                    \
	    "INSERT INTO session_chunk(session, hash, bytes, pinned) "                    \
	    "VALUES(?1, ?2, ?3, ?4) "                                                     \
	    "ON CONFLICT DO UPDATE SET bytes = ?3, pinned = ?4")                          \
	X(SESSION_PACKED,                                                                 \
	    "INSERT INTO session_chunk(session, hash, bytes, pinned, pack) "              \
	    "VALUES(?1, ?2, ?3, ?4, ?5) ON CONFLICT DO UPDATE SET "                       \
	    "bytes = ?3, pinned = ?4, pack = ?5")                                         \
	X(SESSION_PINNED,                                                                 \
	    "SELECT bytes, ifnull(pack, 0) FROM session_chunk "                           \
	    "WHERE session = ? AND hash = ?")                                             \
	X(SESSION_OPEN, "SELECT count(*) FROM session WHERE state = 1")                   \
	X(SESSION_MADE,                                                                   \
	    "UPDATE session SET maker = ? WHERE volume = ? AND key = ?")                  \
	X(SESSION_COUNT_OF,                                                               \
	    "SELECT count(*) FROM session WHERE maker = ? AND state = 1")                 \
	X(SESSION_CHARGE, "UPDATE session SET pins = pins + ? WHERE id = ?")              \
	X(SESSION_PINS_OF,                                                                \
	    "SELECT ifnull(sum(pins), 0) FROM session "                                   \
	    "WHERE maker = ? AND state = 1")                                              \
	X(LEASE_MADE,                                                                     \
	    "UPDATE lease SET maker = ? WHERE volume = ? AND mount = ?")                  \
	X(LEASE_BOUND,                                                                    \
	    "DELETE FROM lease WHERE maker = ?1 AND expires <= "                          \
	    "(SELECT expires FROM lease WHERE maker = ?1 "                                \
	    "ORDER BY expires DESC LIMIT 1 OFFSET ?2)")                                   \
	X(LEASE_CLEAR, "DELETE FROM lease WHERE volume = ? AND mount = ?")                \
	X(LEASE_ADD,                                                                      \
	    "INSERT INTO lease(volume, mount, \"commit\", expires) "                      \
	    "VALUES(?1, ?2, ?3, ?4) ON CONFLICT DO UPDATE SET expires = ?4")              \
	X(LEASE_COUNT,                                                                    \
	    "SELECT count(*) FROM lease WHERE volume = ? AND expires > ?")                \
	X(LEASE_HAS,                                                                      \
	    "SELECT 1 FROM lease WHERE volume = ? AND mount = ? AND "                     \
	    "\"commit\" = ?")                                                             \
	X(LEASE_EACH,                                                                     \
	    "SELECT \"commit\" FROM lease WHERE volume = ? AND mount = ? "                \
	    "ORDER BY expires DESC LIMIT ?")                                              \
	X(LEASE_EACH_OF,                                                                  \
	    "SELECT \"commit\" FROM lease WHERE volume = ?1 AND mount IN "                \
	    "(SELECT mount FROM lease WHERE maker = ?2 AND volume = ?1) "                 \
	    "GROUP BY \"commit\" ORDER BY max(expires) DESC LIMIT ?3")                    \
	X(LEASE_EXPIRE, "DELETE FROM lease WHERE expires < ?")                            \
	X(STORE_GET, "SELECT public, mark FROM store")                                    \
	X(STORE_MARK, "UPDATE store SET mark = ?")                                        \
	X(STORE_KNOWN,                                                                    \
	    "SELECT o.id, o.family, o.hash, f.public FROM object o "                      \
	    "JOIN family f ON f.id = o.family WHERE o.id IN (SELECT id FROM "             \
	    "(SELECT id FROM object WHERE state <> 1 "                                    \
	    "ORDER BY id LIMIT ?1)) OR o.id IN (SELECT id FROM "                          \
	    "(SELECT id FROM object WHERE state <> 1 "                                    \
	    "ORDER BY id DESC LIMIT ?1)) ORDER BY o.id")

enum db_st {
#define X(name, sql) ST_##name,
	DB_STATEMENTS(X)
#undef X
	    ST_COUNT
};

struct db {
	sqlite3 *h;
	sqlite3_stmt *st[ST_COUNT];
	int writing;  /* a transaction was begun */
	int begun;    /* and SQLite knows of it, or has lost it */
	int lazy;     /* such a one; what SQLite is set to */
	int unsynced; /* what such ones have written */
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

/* The columns of OBJECT_FIND (db_packs.c). */
int db_object_read(sqlite3_stmt *, struct db_object *);
/* The columns of PLACE_COLUMNS (db_chunks.c). */
int db_place_read(sqlite3_stmt *, struct db_location *);

/* Columns of exactly that length, or -1 and EIO after a message. */
int db_col_bytes(sqlite3_stmt *, int col, void *, size_t len);
/* A text into a field; -1 and EIO when it does not fit. */
int db_col_text(sqlite3_stmt *, int col, char *, size_t size);
/* A copy, NULL for NULL; -1 and ENOMEM. */
int db_col_dup(sqlite3_stmt *, int col, char **);

#endif
