/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * db_sql: the schema of manifest's database and all its statements.  Included
 * by the db_*.c files alone.
 */
#ifndef SAILVOLD_DB_SQL_H
#define SAILVOLD_DB_SQL_H

/* From the number before it. */
#define DB_SCHEMA_3 \
	"ALTER TABLE mount ADD COLUMN boot TEXT NOT NULL DEFAULT '';"

#define DB_SCHEMA                                                                 \
	"CREATE TABLE node (hash BLOB PRIMARY KEY, used INTEGER NOT NULL,"        \
	" data BLOB NOT NULL) WITHOUT ROWID;"                                     \
	"CREATE INDEX node_used ON node (used);"                                  \
	"CREATE TABLE commits (id BLOB PRIMARY KEY, data BLOB NOT NULL)"          \
	" WITHOUT ROWID;"                                                         \
	"CREATE TABLE mount (row INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE,"   \
	" path TEXT NOT NULL, volume_id TEXT NOT NULL, volume TEXT NOT NULL,"     \
	" org TEXT NOT NULL, subpath BLOB NOT NULL, base BLOB NOT NULL,"          \
	" base_number INTEGER NOT NULL, epoch INTEGER NOT NULL,"                  \
	" applied INTEGER NOT NULL, next INTEGER NOT NULL, last BLOB,"            \
	" last_number INTEGER NOT NULL, lease BLOB NOT NULL,"                     \
	" flags INTEGER NOT NULL, boot TEXT NOT NULL DEFAULT '');"                \
	"CREATE TABLE obj (mount INTEGER NOT NULL, ovl INTEGER NOT NULL,"         \
	" flags INTEGER NOT NULL, links INTEGER NOT NULL, entry BLOB NOT NULL,"   \
	" origin_commit BLOB, origin_path BLOB,"                                  \
	" changed_content INTEGER NOT NULL, changed_attr INTEGER NOT NULL,"       \
	" chunks BLOB, hashed_s INTEGER NOT NULL, hashed_ns INTEGER NOT NULL,"    \
	" began_s INTEGER NOT NULL, began_ns INTEGER NOT NULL,"                   \
	" hashed_size INTEGER NOT NULL, PRIMARY KEY (mount, ovl))"                \
	" WITHOUT ROWID;"                                                         \
	"CREATE INDEX obj_dirty ON obj (mount, ovl) WHERE changed_content > 0"    \
	" OR changed_attr > 0 OR (flags & 8) != 0;"                               \
	"CREATE INDEX obj_nameless ON obj (mount, ovl) WHERE links = 0;"          \
	"CREATE INDEX obj_unsettled ON obj (mount, ovl)"                          \
	" WHERE (flags & 4) != 0;"                                                \
	"CREATE INDEX obj_socket ON obj (mount, ovl) WHERE (flags & 2) != 0;"     \
	"CREATE TABLE name (mount INTEGER NOT NULL, dir INTEGER NOT NULL,"        \
	" name BLOB NOT NULL, ovl INTEGER NOT NULL, changed INTEGER NOT NULL,"    \
	" PRIMARY KEY (mount, dir, name)) WITHOUT ROWID;"                         \
	"CREATE INDEX name_ovl ON name (mount, ovl) WHERE ovl != 0;"              \
	"CREATE INDEX name_changed ON name (mount, changed)"                      \
	" WHERE changed > 0;"                                                     \
	"CREATE TABLE seen (mount INTEGER NOT NULL, path BLOB NOT NULL,"          \
	" present INTEGER NOT NULL, is_dir INTEGER NOT NULL, content BLOB,"       \
	" attr BLOB, tree_commit BLOB, tree_path BLOB,"                           \
	" PRIMARY KEY (mount, path)) WITHOUT ROWID;"                              \
	"CREATE TABLE job (id INTEGER PRIMARY KEY AUTOINCREMENT,"                 \
	" mount INTEGER NOT NULL, kind INTEGER NOT NULL, state INTEGER NOT NULL," \
	" session INTEGER NOT NULL, key BLOB, mark INTEGER NOT NULL,"             \
	" uid INTEGER NOT NULL, gid INTEGER NOT NULL, created INTEGER NOT NULL,"  \
	" request TEXT NOT NULL, answer TEXT);"                                   \
	"CREATE INDEX job_mount ON job (mount, state);"                           \
	"CREATE TABLE job_item (job INTEGER NOT NULL, seq INTEGER NOT NULL,"      \
	" path BLOB NOT NULL, ovl INTEGER NOT NULL, kind INTEGER NOT NULL,"       \
	" changed INTEGER NOT NULL, data BLOB, PRIMARY KEY (job, seq))"           \
	" WITHOUT ROWID;"                                                         \
	"CREATE INDEX job_item_ovl ON job_item (ovl) WHERE ovl != 0;"             \
	"CREATE TABLE stash (id INTEGER PRIMARY KEY AUTOINCREMENT,"               \
	" mount BLOB NOT NULL, path TEXT NOT NULL, volume_id TEXT NOT NULL,"      \
	" volume TEXT NOT NULL, base BLOB NOT NULL, created INTEGER NOT NULL,"    \
	" files INTEGER NOT NULL, bytes INTEGER NOT NULL);"                       \
	"CREATE TABLE stash_item (stash INTEGER NOT NULL, seq INTEGER NOT NULL,"  \
	" path BLOB NOT NULL, kind INTEGER NOT NULL, ovl INTEGER NOT NULL,"       \
	" entry BLOB, origin_commit BLOB, origin_path BLOB,"                      \
	" PRIMARY KEY (stash, seq)) WITHOUT ROWID;"                               \
	"CREATE INDEX stash_item_ovl ON stash_item (ovl) WHERE ovl != 0;"         \
	"CREATE TABLE link_id (mount INTEGER NOT NULL, ovl INTEGER NOT NULL,"     \
	" dir INTEGER NOT NULL, name BLOB NOT NULL, fileid INTEGER NOT NULL,"     \
	" PRIMARY KEY (mount, ovl, dir, name)) WITHOUT ROWID;"

#define OBJ_COLUMNS                                                         \
	"flags, links, entry, origin_commit, origin_path, changed_content," \
	" changed_attr, chunks, hashed_s, hashed_ns, began_s, began_ns,"    \
	" hashed_size"
#define MOUNT_COLUMNS                                                        \
	"row, id, path, volume_id, volume, org, subpath, base, base_number," \
	" epoch, applied, next, last, last_number, lease, flags, boot"
#define SEEN_COLUMNS \
	"path, present, is_dir, content, attr, tree_commit, tree_path"

/* X(name, text): bindings are numbered in the order of the functions. */
#define DB_STATEMENTS(X)                                                       \
	X(BEGIN, "BEGIN IMMEDIATE")                                            \
	X(COMMIT, "COMMIT")                                                    \
	X(ROLLBACK, "ROLLBACK")                                                \
	X(NODE_GET, "SELECT data, used FROM node WHERE hash = ?1")             \
	X(NODE_PUT, "INSERT OR IGNORE INTO node VALUES (?1, ?2, ?3)")          \
	X(NODE_USED, "UPDATE node SET used = ?2 WHERE hash = ?1")              \
	X(NODE_SUM, "SELECT coalesce(sum(length(data)), 0) FROM node")         \
	X(NODE_OLDEST,                                                         \
	    "SELECT hash, length(data) FROM node ORDER BY used"                \
	    " LIMIT 1000")                                                     \
	X(NODE_DELETE, "DELETE FROM node WHERE hash = ?1")                     \
	X(COMMIT_GET, "SELECT data FROM commits WHERE id = ?1")                \
	X(COMMIT_PUT, "INSERT OR REPLACE INTO commits VALUES (?1, ?2)")        \
	X(MOUNT_FIND, "SELECT " MOUNT_COLUMNS " FROM mount WHERE id = ?1")     \
	X(MOUNT_ALL, "SELECT " MOUNT_COLUMNS " FROM mount ORDER BY row")       \
	X(MOUNT_INSERT,                                                        \
	    "INSERT INTO mount (" MOUNT_COLUMNS ") VALUES (NULL,"              \
	    " ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14,"    \
	    " ?15, ?16)")                                                      \
	X(MOUNT_UPDATE,                                                        \
	    "UPDATE mount SET id = ?1, path = ?2, volume_id = ?3,"             \
	    " volume = ?4, org = ?5, subpath = ?6, base = ?7,"                 \
	    " base_number = ?8, epoch = ?9, applied = ?10, next = ?11,"        \
	    " last = ?12, last_number = ?13, lease = ?14, flags = ?15,"        \
	    " boot = ?16 WHERE row = ?17")                                     \
	X(MOUNT_DELETE, "DELETE FROM mount WHERE row = ?1")                    \
	X(MOUNT_DELETE_OBJ, "DELETE FROM obj WHERE mount = ?1")                \
	X(MOUNT_DELETE_NAME, "DELETE FROM name WHERE mount = ?1")              \
	X(MOUNT_DELETE_JOB_ITEM,                                               \
	    "DELETE FROM job_item WHERE job IN"                                \
	    " (SELECT id FROM job WHERE mount = ?1)")                          \
	X(MOUNT_DELETE_JOB, "DELETE FROM job WHERE mount = ?1")                \
	X(OBJ_GET,                                                             \
	    "SELECT " OBJ_COLUMNS " FROM obj WHERE mount = ?1 AND"             \
	    " ovl = ?2")                                                       \
	X(OBJ_PUT,                                                             \
	    "INSERT OR REPLACE INTO obj (mount, ovl, " OBJ_COLUMNS ")"         \
	    " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13," \
	    " ?14, ?15)")                                                      \
	X(OBJ_DELETE, "DELETE FROM obj WHERE mount = ?1 AND ovl = ?2")         \
	X(OBJ_LIST_DIRTY,                                                      \
	    "SELECT ovl FROM obj INDEXED BY obj_dirty WHERE mount = ?1 AND"    \
	    " (changed_content > 0 OR changed_attr > 0 OR (flags & 8) != 0)")  \
	X(OBJ_LIST_NAMELESS,                                                   \
	    "SELECT ovl FROM obj INDEXED BY obj_nameless"                      \
	    " WHERE mount = ?1 AND links = 0 AND ovl != 1 AND ovl > ?2"        \
	    " ORDER BY ovl LIMIT ?3")                                          \
	X(OBJ_LIST_UNSETTLED,                                                  \
	    "SELECT ovl FROM obj INDEXED BY obj_unsettled"                     \
	    " WHERE mount = ?1 AND (flags & 4) != 0 AND (flags & 16) = 0"      \
	    " UNION SELECT ovl FROM obj INDEXED BY obj_dirty"                  \
	    " WHERE mount = ?1 AND"                                            \
	    " (changed_content > 0 OR changed_attr > 0 OR (flags & 8) != 0)"   \
	    " AND (flags & 25) = 9")                                           \
	X(OBJ_LIST_SETTLED,                                                    \
	    "SELECT ovl FROM obj INDEXED BY obj_dirty"                         \
	    " WHERE mount = ?1 AND"                                            \
	    " (changed_content > 0 OR changed_attr > 0 OR (flags & 8) != 0)"   \
	    " AND changed_content > 0 AND (flags & 29) = 1")                   \
	X(OBJ_DIRTY_AFTER,                                                     \
	    "SELECT ovl FROM obj INDEXED BY obj_dirty WHERE mount = ?1 AND"    \
	    " (changed_content > 0 OR changed_attr > 0 OR (flags & 8) != 0)"   \
	    " AND ovl > ?2 ORDER BY ovl LIMIT ?3")                             \
	X(OBJ_SOCKETS_AFTER,                                                   \
	    "SELECT ovl FROM obj INDEXED BY obj_socket WHERE mount = ?1 AND"   \
	    " (flags & 2) != 0 AND ovl > ?2 ORDER BY ovl LIMIT ?3")            \
	X(OBJ_LIST_LOCAL,                                                      \
	    "SELECT ovl FROM obj WHERE mount = ?1 AND"                         \
	    " (flags & 1) != 0 LIMIT ?2")                                      \
	X(OBJ_DROP_ALL,                                                        \
	    "UPDATE obj SET links = 0, flags = flags | 16,"                    \
	    " changed_content = 0, changed_attr = 0 WHERE mount = ?1 AND"      \
	    " ovl != 1")                                                       \
	X(NAME_DELETE_ALL, "DELETE FROM name WHERE mount = ?1")                \
	X(OBJ_COUNT_DIRTY,                                                     \
	    "SELECT count(*) FROM (SELECT 1 FROM obj INDEXED BY obj_dirty"     \
	    " WHERE mount = ?1 AND"                                            \
	    " (changed_content > 0 OR changed_attr > 0 OR (flags & 8) != 0)"   \
	    " AND links > 0 LIMIT ?2)")                                        \
	X(NAME_COUNT_DIRTY,                                                    \
	    "SELECT count(*) FROM (SELECT 1 FROM name WHERE mount = ?1 AND"    \
	    " changed > 0 LIMIT ?2)")                                          \
	X(NAME_GET,                                                            \
	    "SELECT ovl, changed FROM name WHERE mount = ?1 AND"               \
	    " dir = ?2 AND name = ?3")                                         \
	X(NAME_PUT, "INSERT OR REPLACE INTO name VALUES (?1, ?2, ?3, ?4, ?5)") \
	X(NAME_DELETE,                                                         \
	    "DELETE FROM name WHERE mount = ?1 AND dir = ?2 AND"               \
	    " name = ?3")                                                      \
	X(NAME_DELETE_DIR, "DELETE FROM name WHERE mount = ?1 AND dir = ?2")   \
	X(NAME_ANY,                                                            \
	    "SELECT 1 FROM name WHERE mount = ?1 AND dir = ?2 AND"             \
	    " ovl != 0 LIMIT 1")                                               \
	X(NAMES_FROM,                                                          \
	    "SELECT dir, ovl, changed, name FROM name WHERE"                   \
	    " mount = ?1 AND dir = ?2 AND name >= ?3 ORDER BY name LIMIT ?4")  \
	X(NAMES_AFTER,                                                         \
	    "SELECT dir, ovl, changed, name FROM name WHERE"                   \
	    " mount = ?1 AND dir = ?2 AND name > ?3 ORDER BY name LIMIT ?4")   \
	X(NAMES_OF_OBJ,                                                        \
	    "SELECT dir, ovl, changed, name FROM name INDEXED BY name_ovl"     \
	    " WHERE mount = ?1 AND ovl = ?2 AND ovl != 0")                     \
	X(NAME_OLDEST,                                                         \
	    "SELECT dir, ovl, changed, name FROM name INDEXED BY name_ovl"     \
	    " WHERE mount = ?1 AND ovl = ?2 AND ovl != 0 AND NOT EXISTS"       \
	    " (SELECT 1 FROM link_id WHERE link_id.mount = name.mount AND"     \
	    " link_id.ovl = name.ovl AND link_id.dir = name.dir AND"           \
	    " link_id.name = name.name) ORDER BY changed, dir, name LIMIT 1")  \
	X(NAMES_CHANGED_AT,                                                    \
	    "SELECT dir, ovl, changed, name FROM name"                         \
	    " INDEXED BY name_changed WHERE mount = ?1 AND changed > 0 AND"    \
	    " changed = ?2 AND (dir, name) > (?3, ?4)"                         \
	    " ORDER BY dir, name LIMIT ?5")                                    \
	X(NAMES_CHANGED_AFTER,                                                 \
	    "SELECT dir, ovl, changed, name FROM name"                         \
	    " INDEXED BY name_changed WHERE mount = ?1 AND changed > ?2 AND"   \
	    " changed > 0 ORDER BY changed, dir, name LIMIT ?3")               \
	X(SEEN_GET,                                                            \
	    "SELECT " SEEN_COLUMNS " FROM seen WHERE mount = ?1 AND"           \
	    " path = ?2")                                                      \
	X(SEEN_PUT,                                                            \
	    "INSERT OR REPLACE INTO seen (mount, " SEEN_COLUMNS ")"            \
	    " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")                        \
	X(SEEN_DELETE, "DELETE FROM seen WHERE mount = ?1 AND path = ?2")      \
	X(SEEN_DELETE_BELOW,                                                   \
	    "DELETE FROM seen WHERE mount = ?1 AND"                            \
	    " path > ?2 AND path < ?3")                                        \
	X(SEEN_CLEAR, "DELETE FROM seen WHERE mount = ?1")                     \
	X(SEEN_BELOW,                                                          \
	    "SELECT " SEEN_COLUMNS " FROM seen WHERE mount = ?1 AND"           \
	    " path > ?2 AND path < ?3 ORDER BY path LIMIT ?4")                 \
	DB_STATEMENTS_JOB(X)                                                   \
	DB_STATEMENTS_STASH(X)

/* Those of db_job.c and db_stash.c. */
#define JOB_COLUMNS \
	"id, kind, state, session, key, mark, uid, gid, created, request"
#define DB_STATEMENTS_JOB(X)                                                   \
	X(JOB_INSERT,                                                          \
	    "INSERT INTO job (mount, kind, state, session, key,"               \
	    " mark, uid, gid, created, request) VALUES (?1, ?2, 0, ?3, ?4,"    \
	    " ?5, ?6, ?7, ?8, ?9)")                                            \
	X(JOB_STATE, "UPDATE job SET state = ?2, answer = ?3 WHERE id = ?1")   \
	X(JOB_ANSWER, "SELECT answer FROM job WHERE mount = ?1 AND id = ?2")   \
	X(JOB_OF_SESSION,                                                      \
	    "SELECT id FROM job WHERE mount = ?1 AND"                          \
	    " session = ?2 AND mark = ?3 AND session != 0")                    \
	X(JOB_PENDING,                                                         \
	    "SELECT " JOB_COLUMNS " FROM job WHERE mount = ?1 AND"             \
	    " state < 2 ORDER BY id")                                          \
	X(JOB_TRIM,                                                            \
	    "DELETE FROM job WHERE id IN (SELECT id FROM job ORDER BY id "     \
	    "LIMIT 64) AND state = 2 AND created < ?1")                        \
	X(JOB_ITEM_PUT,                                                        \
	    "INSERT OR REPLACE INTO job_item VALUES (?1, ?2, x'',"             \
	    " ?3, 0, 0, ?4)")                                                  \
	X(JOB_ITEM_GET,                                                        \
	    "SELECT data FROM job_item WHERE job = ?1 AND"                     \
	    " seq = ?2")                                                       \
	X(JOB_ITEMS_DELETE, "DELETE FROM job_item WHERE job = ?1")             \
	X(OVL_HELD,                                                            \
	    "SELECT 1 FROM job_item, job WHERE job_item.ovl = ?3 AND"          \
	    " job_item.ovl != 0 AND"                                           \
	    " job.id = job_item.job AND job.mount = ?2 UNION ALL SELECT 1"     \
	    " FROM stash_item, stash WHERE stash_item.ovl = ?3 AND"            \
	    " stash_item.ovl != 0 AND"                                         \
	    " stash.id = stash_item.stash AND stash.mount = ?1 LIMIT 1")       \
	X(COMMITS_USED,                                                        \
	    "SELECT origin_commit FROM obj WHERE mount = ?1 AND"               \
	    " origin_commit IS NOT NULL UNION SELECT tree_commit FROM seen"    \
	    " WHERE mount = ?1 AND tree_commit IS NOT NULL UNION SELECT"       \
	    " origin_commit FROM stash_item, stash WHERE stash.id ="           \
	    " stash_item.stash AND stash.mount = ?2 AND origin_commit IS NOT"  \
	    " NULL UNION SELECT base FROM stash WHERE mount = ?2")             \
	X(OBJ_LIST_NAMED,                                                      \
	    "SELECT ovl FROM obj WHERE mount = ?1 AND ovl != 1"                \
	    " AND links > 0")                                                  \
	X(OBJ_LOSE_NAMES,                                                      \
	    "UPDATE obj SET links = 0, changed_content = 0,"                   \
	    " changed_attr = 0, flags = flags & ~8 WHERE mount = ?1 AND"       \
	    " ovl != 1")                                                       \
	X(NAME_PUBLISHED,                                                      \
	    "UPDATE name SET changed = 0 WHERE mount = ?1 AND"                 \
	    " changed > 0 AND changed <= ?2")                                  \
	X(LINK_ID_GET,                                                         \
	    "SELECT fileid FROM link_id WHERE mount = ?1 AND"                  \
	    " ovl = ?2 AND dir = ?3 AND name = ?4")                            \
	X(LINK_ID_PUT,                                                         \
	    "INSERT OR REPLACE INTO link_id"                                   \
	    " VALUES (?1, ?2, ?3, ?4, ?5)")                                    \
	X(LINK_ID_DELETE, "DELETE FROM link_id WHERE mount = ?1 AND ovl = ?2") \
	X(LINK_ID_CLEAR, "DELETE FROM link_id WHERE mount = ?1")
#define STASH_COLUMNS \
	"id, mount, path, volume_id, volume, base, created, files, bytes"
#define DB_STATEMENTS_STASH(X)                                                  \
	X(STASH_INSERT,                                                         \
	    "INSERT INTO stash (mount, path, volume_id, volume,"                \
	    " base, created, files, bytes) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7," \
	    " ?8)")                                                             \
	X(STASH_GET, "SELECT " STASH_COLUMNS " FROM stash WHERE id = ?1")       \
	X(STASH_ALL,                                                            \
	    "SELECT " STASH_COLUMNS " FROM stash WHERE ?1 IS NULL"              \
	    " OR mount = ?1 ORDER BY id")                                       \
	X(STASH_EXCESS,                                                         \
	    "SELECT id, created FROM (SELECT id, created,"                      \
	    " total(bytes) OVER newer AS bytes, row_number() OVER newer AS n"   \
	    " FROM stash WINDOW newer AS (PARTITION BY mount ORDER BY id DESC)" \
	    ") WHERE created < ?1 OR (bytes > ?2 AND n > 1)"                    \
	    " ORDER BY id LIMIT 1")                                             \
	X(STASH_EXCESS_OF_ALL,                                                  \
	    "SELECT id FROM (SELECT id, row_number() OVER"                      \
	    " (PARTITION BY mount ORDER BY id DESC) AS n FROM stash)"           \
	    " WHERE n > 1 AND (SELECT total(bytes) FROM stash) > ?1"            \
	    " ORDER BY id LIMIT 1")                                             \
	X(STASH_NEWEST,                                                         \
	    "SELECT CAST(total(bytes) AS INTEGER) FROM (SELECT bytes, created," \
	    " row_number() OVER (PARTITION BY mount ORDER BY id DESC) AS n"     \
	    " FROM stash WHERE mount <> ?1) WHERE n = 1 AND created >= ?2")     \
	X(STASH_LAST, "SELECT seq FROM sqlite_sequence WHERE name = 'stash'")   \
	X(STASH_DELETE, "DELETE FROM stash WHERE id = ?1")                      \
	X(STASH_DELETE_ITEMS, "DELETE FROM stash_item WHERE stash = ?1")        \
	X(STASH_ITEM_PUT,                                                       \
	    "INSERT INTO stash_item VALUES (?1, ?2, ?3, ?4, ?5,"                \
	    " ?6, ?7, ?8)")                                                     \
	X(STASH_ITEM_GET,                                                       \
	    "SELECT path, kind, ovl, entry, origin_commit,"                     \
	    " origin_path FROM stash_item WHERE stash = ?1 AND seq = ?2")       \
	X(STASH_ITEM_COUNT, "SELECT count(*) FROM stash_item WHERE stash = ?1")

enum db_statement {
#define X(name, text) DB_##name,
	DB_STATEMENTS(X)
#undef X
	    DB_STATEMENT_COUNT
};

#endif
