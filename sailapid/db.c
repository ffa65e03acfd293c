/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * db: opens the database of sailapid(8), makes or migrates its schema,
 * prepares all statements, and runs transactions.  In meta, after its drop of
 * privileges: the database's folder is its chroot.
 */
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/db_anew.h"
#include "lib/db_errno.h"
#include "lib/log.h"
#include "lib/monotime.h"
#include "sailapid/db_sql.h"

#define DB_APPLICATION_ID 0x5361696c /* "Sail" */
#define DB_BUSY_MS 5000
#define CHECKPOINT_PAGES 4000
/* What could not be made sure is not tried again before: all of the log may be
   written for it. */
#define DOUBT_MS 500
#define DOUBT_MS_MAX 4000

/* What brings a database from version i to i + 1. */
static const char *const migrations[DB_VERSION] = {
	"CREATE TABLE org("
	" id INTEGER PRIMARY KEY, public BLOB NOT NULL UNIQUE,"
	" name TEXT NOT NULL UNIQUE, created INTEGER NOT NULL);"
	"CREATE TABLE key("
	" id INTEGER PRIMARY KEY, org INTEGER NOT NULL REFERENCES org,"
	" public BLOB NOT NULL UNIQUE, hash BLOB NOT NULL UNIQUE,"
	" name TEXT NOT NULL, role INTEGER NOT NULL,"
	" created INTEGER NOT NULL, revoked INTEGER, expires INTEGER,"
	" prefix BLOB);"
	"CREATE INDEX key_org ON key(org);"
	"CREATE TABLE family("
	" id INTEGER PRIMARY KEY, public BLOB NOT NULL UNIQUE,"
	" salt BLOB NOT NULL);"
	"CREATE TABLE volume("
	" id INTEGER PRIMARY KEY, public BLOB NOT NULL UNIQUE,"
	" org INTEGER NOT NULL REFERENCES org, name TEXT NOT NULL,"
	" family INTEGER NOT NULL REFERENCES family,"
	" created INTEGER NOT NULL, deleted INTEGER, head BLOB NOT NULL,"
	" header BLOB NOT NULL);"
	"CREATE UNIQUE INDEX volume_name ON volume(org, name)"
	" WHERE deleted IS NULL;"
	"CREATE TABLE \"commit\"("
	" id INTEGER PRIMARY KEY, volume INTEGER NOT NULL REFERENCES volume,"
	" hash BLOB NOT NULL, number INTEGER NOT NULL, data BLOB NOT NULL,"
	" UNIQUE(volume, hash), UNIQUE(volume, number));"
	"CREATE TABLE node("
	" id INTEGER PRIMARY KEY, family INTEGER NOT NULL,"
	" hash BLOB NOT NULL, kind INTEGER NOT NULL, data BLOB NOT NULL,"
	" UNIQUE(family, hash));"
	"CREATE TABLE chunk("
	" family INTEGER NOT NULL, hash BLOB NOT NULL,"
	" bytes INTEGER NOT NULL, PRIMARY KEY(family, hash)) WITHOUT ROWID;"
	"CREATE TABLE object("
	" id INTEGER PRIMARY KEY, family INTEGER NOT NULL,"
	" hash BLOB NOT NULL, size INTEGER NOT NULL, state INTEGER NOT NULL,"
	" UNIQUE(family, hash));"
	"CREATE TABLE location("
	" family INTEGER NOT NULL, hash BLOB NOT NULL,"
	" object INTEGER NOT NULL, offset INTEGER NOT NULL,"
	" stored INTEGER NOT NULL, plain INTEGER NOT NULL,"
	" codec INTEGER NOT NULL, state INTEGER NOT NULL,"
	" PRIMARY KEY(family, hash, object, offset)) WITHOUT ROWID;"
	"CREATE TABLE session("
	" id INTEGER PRIMARY KEY AUTOINCREMENT, volume INTEGER NOT NULL,"
	" key BLOB NOT NULL, state INTEGER NOT NULL,"
	" created INTEGER NOT NULL, message TEXT NOT NULL,"
	" author TEXT NOT NULL, if_unchanged INTEGER NOT NULL, mount BLOB,"
	" result TEXT, UNIQUE(volume, key));"
	"CREATE INDEX session_created ON session(created);"
	"CREATE TABLE session_chunk("
	" session INTEGER NOT NULL, hash BLOB NOT NULL,"
	" bytes INTEGER NOT NULL, pinned INTEGER NOT NULL,"
	" PRIMARY KEY(session, hash)) WITHOUT ROWID;"
	"CREATE TABLE lease("
	" volume INTEGER NOT NULL, mount BLOB NOT NULL,"
	" \"commit\" BLOB NOT NULL, expires INTEGER NOT NULL,"
	" PRIMARY KEY(volume, mount, \"commit\")) WITHOUT ROWID;"
	"CREATE INDEX lease_expires ON lease(expires);",

	/* Packs: objects with the places of many chunks; a session knows into
	   which it has put a chunk.  The table of chunks said nothing that
	   their places do not say. */
	"DROP TABLE chunk;"
	"ALTER TABLE object ADD COLUMN pack INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE session_chunk ADD COLUMN pack INTEGER;"
	"CREATE INDEX location_object ON location(object);"
	"CREATE INDEX object_due ON object(id) WHERE pack = 1 AND state = 2;",

	/* Deleted volumes are listed, and come back. */
	"CREATE INDEX volume_deleted ON volume(org, id)"
	" WHERE deleted IS NOT NULL;",

	/* Keys that are limited to volumes, and to a path below each: annex is
	   the family of what such a key uploads, and its sessions are its own.
	   No program has ever set a prefix; such a key would see nothing. */
	"ALTER TABLE key ADD COLUMN limited INTEGER NOT NULL DEFAULT 0;"
	"UPDATE key SET limited = 1 WHERE prefix IS NOT NULL;"
	"ALTER TABLE key DROP COLUMN prefix;"
	"CREATE TABLE key_volume("
	" key INTEGER NOT NULL REFERENCES key,"
	" volume INTEGER NOT NULL REFERENCES volume, path BLOB NOT NULL,"
	" annex INTEGER NOT NULL REFERENCES family, PRIMARY KEY(key, volume))"
	" WITHOUT ROWID;"
	"ALTER TABLE session ADD COLUMN owner INTEGER;"
	"CREATE INDEX volume_family ON volume(family);",

	/* Open sessions are counted. */
	"CREATE INDEX session_open ON session(id) WHERE state = 1;",

	/* What a key may have open is bounded: whose it is, and how many chunks
	   a session was asked for. */
	"ALTER TABLE session ADD COLUMN maker INTEGER;"
	"ALTER TABLE session ADD COLUMN pins INTEGER NOT NULL DEFAULT 0;"
	"CREATE INDEX session_maker ON session(maker, pins) WHERE state = 1;"
	"ALTER TABLE lease ADD COLUMN maker INTEGER;"
	"CREATE INDEX lease_maker ON lease(maker, expires)"
	" WHERE maker IS NOT NULL;",

	/* The store has an object with the name of the database, once it was
	   seen to be its store. */
	"CREATE TABLE store(public BLOB NOT NULL, mark INTEGER NOT NULL);"
	"INSERT INTO store(public, mark) VALUES(randomblob(16), 0);",

	/* A pack has thousands of places, which are set one by one; and who has
	   read an object sees whether another has condemned it meanwhile. */
	"DROP INDEX location_object;"
	"CREATE INDEX location_object ON location(object, hash);"
	"ALTER TABLE object ADD COLUMN condemned INTEGER NOT NULL DEFAULT 0;",

	/* Whose place it is that others have adopted, and of which volume a fork
	   was made. */
	"CREATE INDEX key_volume_annex ON key_volume(annex);"
	"ALTER TABLE volume ADD COLUMN origin INTEGER;",

	/* When a server is to survey the store the next time. */
	"ALTER TABLE store ADD COLUMN survey INTEGER NOT NULL DEFAULT 0;",
};

static const char *const sql[ST_COUNT] = {
#define X(name, text) text,
	DB_STATEMENTS(X)
#undef X
};

/* Of all connections of this process one writes; SQLite would have the others
   look again after a while. */
static pthread_mutex_t writer = PTHREAD_MUTEX_INITIALIZER;

/*
 * After a sync that has failed nothing that is in the log, or comes behind it, is
 * safe from a loss of power before all of it is written anew, see lib/db_anew.h; nor
 * where a process before this may have heard of one.  Of all connections: who has
 * heard of it may not be the one that commits next.
 */
static struct {
	atomic_uint heard, mended; /* the same: there is no doubt */
	atomic_int connections;
	/* With the writer's lock: after a failure. */
	monotime_t until;
	int ms, error;
} doubt;

static int
is_doubted(void)
{
	return atomic_load(&doubt.heard) != atomic_load(&doubt.mended);
}

/* Of a thread that cannot log. */
static __thread char *thread_says;
static __thread size_t thread_says_size;

void
db_thread_says(char *buf, size_t size)
{
	thread_says = buf;
	thread_says_size = size;
	if (buf != NULL)
		*buf = '\0';
}

void
db_warn(const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (thread_says != NULL)
		strlcpy(thread_says, text, thread_says_size);
	else
		log_warnx("database: %s", text);
}

/* With what can be done, once. */
static void
db_damaged(void)
{
	static atomic_int told;

	if (!atomic_exchange(&told, 1))
		db_warn("it is damaged (" DB_FILE " of its folder), and says "
			"what is published: stop all sailapid, save the "
			"folder, and put back a copy of it or recover it by "
			"sqlite3(1), .recover, see sailapid(8); the objects of "
			"the store are not touched");
}

static void
look_at_sync(int rc)
{
	if (!db_sync_failed(rc))
		return;
	atomic_fetch_add(&doubt.heard, 1);
	db_warn(
	    "a sync has failed: nothing is taken for safe from a loss of power "
	    "until the log is written anew");
}

static int
db_error(struct db *db, int rc, const char *what)
{
	int error;

	switch (rc & 0xff) {
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		errno = EBUSY;
		return -1;
	case SQLITE_CONSTRAINT:
		errno = EEXIST;
		return -1;
	}
	error = db_errno(rc, errno);
	if (error != ENOMEM)
		db_warn("%s: %s", what, sqlite3_errmsg(db->h));
	if ((rc & 0xff) == SQLITE_CORRUPT || (rc & 0xff) == SQLITE_NOTADB)
		db_damaged();
	look_at_sync(rc);
	errno = error;
	return -1;
}

static int
db_run(struct db *db, const char *text)
{
	int rc;

	errno = 0;
	rc = sqlite3_exec(db->h, text, NULL, NULL, NULL);
	return rc == SQLITE_OK ? 0 : db_error(db, rc, text);
}

static int64_t
db_number(struct db *db, const char *text)
{
	sqlite3_stmt *st;
	int64_t n = -1;

	if (sqlite3_prepare_v2(db->h, text, -1, &st, NULL) != SQLITE_OK)
		return -1;
	if (sqlite3_step(st) == SQLITE_ROW)
		n = sqlite3_column_int64(st, 0);
	sqlite3_finalize(st);
	return n;
}

/* The steps from its version to ours, in one transaction. */
static int
db_migrate(struct db *db)
{
	char text[64];
	int64_t i, version;

	if (db_run(db, "BEGIN IMMEDIATE") == -1)
		return -1;
	version = db_number(db, "PRAGMA user_version");
	if (version < 0)
		goto fail;
	for (i = version; i < DB_VERSION; i++) {
		if (db_run(db, migrations[i]) == -1)
			goto fail;
	}
	snprintf(text, sizeof(text), "PRAGMA user_version=%d", DB_VERSION);
	if (db_run(db, text) == -1)
		goto fail;
	snprintf(text, sizeof(text), "PRAGMA application_id=%d",
	    DB_APPLICATION_ID);
	if (db_run(db, text) == -1)
		goto fail;
	return db_run(db, "COMMIT");
fail:
	sqlite3_exec(db->h, "ROLLBACK", NULL, NULL, NULL);
	return -1;
}

static int
db_schema(struct db *db)
{
	int64_t app, version;

	app = db_number(db, "PRAGMA application_id");
	version = db_number(db, "PRAGMA user_version");
	if (app < 0 || version < 0)
		return db_error(db, sqlite3_errcode(db->h), "cannot be read");
	if (version == 0 &&
	    db_number(db, "SELECT count(*) FROM sqlite_schema") == 0)
		return db_migrate(db);
	if (app != DB_APPLICATION_ID || version == 0) {
		log_warnx("database: it is not one of sailapid");
		errno = EINVAL;
		return -1;
	}
	if (version > DB_VERSION) {
		log_warnx("database: its schema is %lld, this program knows %d",
		    (long long)version, DB_VERSION);
		errno = EINVAL;
		return -1;
	}
	return version < DB_VERSION ? db_migrate(db) : 0;
}

/* Of what has written something.  The checkpoint is as SQLite makes it by itself,
   which does not say how it went.  While there is doubt
   the log grows: half of a checkpoint would be all that is left of it. */
static int
on_commit(void *arg, sqlite3 *h, const char *name, int pages)
{
	struct db *db = arg;
	int rc;

	db->unsynced = db->lazy;
	if (pages < CHECKPOINT_PAGES || is_doubted())
		return SQLITE_OK;
	errno = 0;
	rc = sqlite3_wal_checkpoint_v2(h, name, SQLITE_CHECKPOINT_PASSIVE, NULL,
	    NULL);
	if (rc != SQLITE_OK)
		(void)db_error(db, rc, "checkpoint");
	return SQLITE_OK;
}

static int
db_setup(struct db *db)
{
	static const char *const pragmas[] = { "PRAGMA temp_store=MEMORY",
		"PRAGMA page_size=8192", "PRAGMA journal_mode=WAL",
		"PRAGMA synchronous=FULL", "PRAGMA foreign_keys=ON",
		"PRAGMA trusted_schema=OFF", "PRAGMA cache_size=-65536",
		"PRAGMA journal_size_limit=67108864" };
	size_t i;
	int rc;

	sqlite3_busy_timeout(db->h, DB_BUSY_MS);
	sqlite3_extended_result_codes(db->h, 1);
	sqlite3_wal_hook(db->h, on_commit, db);
	for (i = 0; i < sizeof(pragmas) / sizeof(pragmas[0]); i++) {
		if (db_run(db, pragmas[i]) == -1)
			return -1;
	}
	if (db_schema(db) == -1)
		return -1;
	for (i = 0; i < ST_COUNT; i++) {
		rc = sqlite3_prepare_v3(db->h, sql[i], -1,
		    SQLITE_PREPARE_PERSISTENT, &db->st[i], NULL);
		if (rc != SQLITE_OK)
			return db_error(db, rc, sql[i]);
	}
	return 0;
}

int
db_small(struct db *db)
{
	return db_run(db, "PRAGMA cache_size=-4096");
}

struct db *
db_open(const char *path, int create)
{
	struct db *db;
	int flags, rc;

	if ((db = calloc(1, sizeof(*db))) == NULL)
		return NULL;
	if (atomic_fetch_add(&doubt.connections, 1) == 0)
		atomic_fetch_add(&doubt.heard, 1);
	flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX |
	    (create ? SQLITE_OPEN_CREATE : 0);
	rc = sqlite3_open_v2(path, &db->h, flags, NULL);
	if (rc != SQLITE_OK) {
		db_error(db, rc, path);
		goto fail;
	}
	if (db_setup(db) == -1)
		goto fail;
	return db;
fail:
	rc = errno;
	db_close(db);
	errno = rc;
	return NULL;
}

static void
db_unlock(struct db *db)
{
	if (db->writing)
		pthread_mutex_unlock(&writer);
	db->writing = db->begun = 0;
}

void
db_close(struct db *db)
{
	size_t i;

	if (db == NULL)
		return;
	db_unlock(db);
	for (i = 0; i < ST_COUNT; i++)
		sqlite3_finalize(db->st[i]);
	/* The last one would make a checkpoint. */
	if (db->h != NULL && is_doubted())
		(void)sqlite3_db_config(db->h, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE,
		    1, NULL);
	sqlite3_close(db->h);
	atomic_fetch_sub(&doubt.connections, 1);
	free(db);
}

/* ---- statements ---------------------------------------------------------- */

static int
db_bind(sqlite3_stmt *st, const char *types, va_list ap)
{
	const struct hash *h;
	const char *t;
	const void *p;
	size_t len;
	int i, rc = SQLITE_OK;

	for (i = 1; types[i - 1] != '\0' && rc == SQLITE_OK; i++) {
		switch (types[i - 1]) {
		case 'i':
			rc = sqlite3_bind_int64(st, i, va_arg(ap, int64_t));
			break;
		case 'h':
			h = va_arg(ap, const struct hash *);
			rc = sqlite3_bind_blob(st, i, h->b, HASH_LEN,
			    SQLITE_STATIC);
			break;
		case 'b':
			p = va_arg(ap, const void *);
			len = va_arg(ap, size_t);
			rc = sqlite3_bind_blob64(st, i, p, len, SQLITE_STATIC);
			break;
		case 't':
			t = va_arg(ap, const char *);
			rc = sqlite3_bind_text(st, i, t, -1, SQLITE_STATIC);
			break;
		default:
			return SQLITE_MISUSE;
		}
	}
	return rc;
}

static sqlite3_stmt *
db_vquery(struct db *db, enum db_st which, const char *types, va_list ap)
{
	sqlite3_stmt *st = db->st[which];
	int rc;

	sqlite3_reset(st);
	sqlite3_clear_bindings(st);
	rc = db_bind(st, types, ap);
	if (rc != SQLITE_OK) {
		db_error(db, rc, sql[which]);
		return NULL;
	}
	return st;
}

sqlite3_stmt *
db_query(struct db *db, enum db_st which, const char *types, ...)
{
	sqlite3_stmt *st;
	va_list ap;

	va_start(ap, types);
	st = db_vquery(db, which, types, ap);
	va_end(ap);
	return st;
}

int
db_next(struct db *db, sqlite3_stmt *st)
{
	int rc;

	if (st == NULL)
		return -1;
	/* What came behind a lost transaction would be on its own, and stay. */
	if (db->begun && sqlite3_get_autocommit(db->h)) {
		errno = EIO;
		db_done(st);
		return -1;
	}
	errno = 0;
	rc = sqlite3_step(st);
	if (rc == SQLITE_ROW)
		return 1;
	if (rc != SQLITE_DONE)
		db_error(db, rc, sqlite3_sql(st));
	db_done(st);
	return rc == SQLITE_DONE ? 0 : -1;
}

void
db_done(sqlite3_stmt *st)
{
	int saved = errno;

	if (st != NULL) {
		sqlite3_reset(st);
		sqlite3_clear_bindings(st);
	}
	errno = saved;
}

int
db_exec(struct db *db, enum db_st which, const char *types, ...)
{
	sqlite3_stmt *st;
	va_list ap;
	int r;

	va_start(ap, types);
	st = db_vquery(db, which, types, ap);
	va_end(ap);
	while ((r = db_next(db, st)) == 1)
		;
	return r;
}

int
db_changes(struct db *db)
{
	return sqlite3_changes(db->h);
}

int
db_col_bytes(sqlite3_stmt *st, int col, void *to, size_t len)
{
	const void *p = sqlite3_column_blob(st, col);

	if (p == NULL || (size_t)sqlite3_column_bytes(st, col) != len) {
		db_warn("%s: column %d is not of %zu bytes", sqlite3_sql(st),
		    col, len);
		errno = EIO;
		return -1;
	}
	memcpy(to, p, len);
	return 0;
}

int
db_col_text(sqlite3_stmt *st, int col, char *to, size_t size)
{
	const char *p = (const char *)sqlite3_column_text(st, col);

	if (p == NULL || strlcpy(to, p, size) >= size) {
		db_warn("%s: column %d is not such a text", sqlite3_sql(st),
		    col);
		errno = EIO;
		return -1;
	}
	return 0;
}

int
db_col_dup(sqlite3_stmt *st, int col, char **to)
{
	const char *p = (const char *)sqlite3_column_text(st, col);

	*to = NULL;
	if (p == NULL)
		return 0;
	return (*to = strdup(p)) == NULL ? -1 : 0;
}

/* ---- transactions -------------------------------------------------------- */

/*
 * After a full disk or an I/O error SQLite may have ended the transaction by
 * itself: then nothing more may be written until db_end has said so.
 */
static int
db_lost(struct db *db)
{
	if (!db->writing || !sqlite3_get_autocommit(db->h))
		return 0;
	errno = EIO;
	return 1;
}

/* SQLite takes it between transactions alone. */
static int
db_synced(struct db *db, int lazy)
{
	if (db->lazy == lazy)
		return 0;
	if (db_run(db,
		lazy ? "PRAGMA synchronous=NORMAL"
		     : "PRAGMA synchronous=FULL") == -1)
		return -1;
	db->lazy = lazy;
	return 0;
}

/* Within a transaction: nobody else writes to the log.  -1: EAGAIN, or what db_errno
   has of it. */
static int
be_sure(struct db *db)
{
	const char *path = sqlite3_db_filename(db->h, "main");
	unsigned int heard = atomic_load(&doubt.heard);

	if (!is_doubted())
		return 0;
	if (doubt.ms != 0 && !monotime_reached(doubt.until)) {
		errno = doubt.error;
		return -1;
	}
	if (path == NULL || *path == '\0' || db_anew(path) == 0) {
		if (doubt.ms != 0 && thread_says == NULL)
			log_info("database: its log is whole again");
		doubt.ms = 0;
		db->unsynced = 0;
		atomic_store(&doubt.mended, heard);
		return 0;
	}
	db_warn("its log cannot be written anew: %s", strerror(errno));
	doubt.error = db_errno(SQLITE_IOERR, errno);
	if (doubt.error == EIO)
		doubt.error = EAGAIN;
	doubt.ms = doubt.ms == 0 ? DOUBT_MS : doubt.ms * 2;
	if (doubt.ms > DOUBT_MS_MAX)
		doubt.ms = DOUBT_MS_MAX;
	doubt.until = monotime_add_ms(monotime_now(), doubt.ms);
	errno = doubt.error;
	return -1;
}

static int
db_begin_as(struct db *db, int lazy)
{
	if (db->writing)
		return db_lost(db) ? -1 : 0;
	pthread_mutex_lock(&writer);
	db->writing = 1;
	if (db_synced(db, lazy) == -1 || db_exec(db, ST_BEGIN, "") == -1) {
		db_unlock(db);
		return -1;
	}
	db->begun = 1;
	if (!lazy && be_sure(db) == -1) {
		db_abort(db);
		return -1;
	}
	return 0;
}

int
db_begin(struct db *db)
{
	return db_begin_as(db, 0);
}

int
db_begin_lazy(struct db *db)
{
	return db_begin_as(db, 1);
}

int
db_lazy(const struct db *db)
{
	return db->writing && db->lazy;
}

int
db_end(struct db *db)
{
	if (!db->writing)
		return 0;
	if (db_lost(db)) {
		db_warn("a transaction was lost");
		db_unlock(db);
		errno = EIO;
		return -1;
	}
	if (db_exec(db, ST_COMMIT, "") == -1) {
		db_abort(db);
		return -1;
	}
	db_unlock(db);
	return 0;
}

/* busy, frames in the log, and of them those that are in the database. */
static int
on_checkpoint(void *left, int n, char **value, char **name)
{
	(void)name;
	*(int *)left = n != 3 || strcmp(value[0], "0") != 0 ||
	    strcmp(value[1], value[2]) != 0;
	return 0;
}

int
db_settle(struct db *db)
{
	int left = 1, rc;

	/* Who cannot has said so. */
	if (is_doubted() && (db_begin(db) == -1 || db_end(db) == -1))
		return 0;
	if (!db->unsynced)
		return 0;
	/* It syncs the log first, if nobody stands in the way of all of it. */
	errno = 0;
	rc = sqlite3_exec(db->h, "PRAGMA wal_checkpoint", on_checkpoint, &left,
	    NULL);
	if (rc != SQLITE_OK)
		return db_error(db, rc, "checkpoint");
	db->unsynced = left;
	return 0;
}

void
db_abort(struct db *db)
{
	int saved = errno;

	if (db->writing && !sqlite3_get_autocommit(db->h))
		db_exec(db, ST_ROLLBACK, "");
	db_unlock(db);
	errno = saved;
}

int
db_view(struct db *db)
{
	return db_exec(db, ST_SAVE, "");
}

void
db_view_end(struct db *db)
{
	int saved = errno;

	if (db_exec(db, ST_KEEP, "") == -1)
		db_warn("the end of a view");
	errno = saved;
}

int
db_writing(const struct db *db)
{
	return db->writing;
}

int
db_save(struct db *db)
{
	if (!db->writing || db_lost(db)) {
		errno = EIO;
		return -1;
	}
	return db_exec(db, ST_SAVE, "");
}

int
db_keep(struct db *db)
{
	return db_lost(db) ? -1 : db_exec(db, ST_KEEP, "");
}

int
db_undo(struct db *db)
{
	int saved = errno;

	if (db_lost(db) || db_exec(db, ST_UNDO, "") == -1 ||
	    db_exec(db, ST_KEEP, "") == -1)
		return -1;
	errno = saved;
	return 0;
}

int64_t
db_now(void)
{
	struct timens t = timens_now();

	return t.sec * 1000000000 + t.nsec;
}
