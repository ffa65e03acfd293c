/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * db: opening of manifest's database, its schema, transactions, and the table
 * of prepared statements.  In manifest.
 */
#include <errno.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

#include "lib/db_anew.h"
#include "lib/db_errno.h"
#include "lib/log.h"
#include "lib/monotime.h"
#include "sailvold/db.h"
#include "sailvold/db_sql.h"

/*
 * A sync that has failed is forgotten: the kernel takes what it could not write for
 * clean, and says with the next sync that all is well.  What the log of SQLite has
 * is safe then when all of it was written once more, the database itself has it, and
 * the log is begun anew.
 */
enum doubt { DOUBT_NONE, DOUBT_START /* by a process before this */, DOUBT };
#define CHECKPOINT_PAGES 1000
/* What has failed is not tried again before: all of the log may be written for it. */
#define DOUBT_MS 500
#define DOUBT_MS_MAX 4000

struct db {
	sqlite3 *sql;
	sqlite3_stmt *stmts[DB_STATEMENT_COUNT];
	int durable; /* until the transaction ends */
	int open;    /* begun, and neither committed nor rolled back by us */
	int ended;   /* errno: SQLite rolled it back by itself */
	enum doubt doubt;
	struct {
		monotime_t until; /* it is not tried */
		int ms;           /* 0: it has not failed */
		int rc, error;
	} brake;
};

static const char *const statement_text[] = {
#define X(name, text) text,
	DB_STATEMENTS(X)
#undef X
};

/* Once a process; "delete" of a page is never left to the file system.  Nobody
   else opens it while manifest lives: a lock for each statement would cost more
   than most statements do. */
static const char *const settings =
    "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;"
    "PRAGMA temp_store = MEMORY; PRAGMA cache_size = -8192;"
    "PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON;"
    "PRAGMA journal_size_limit = 67108864; PRAGMA mmap_size = 0;";

static void (*on_full)(void);

void
db_on_full(void (*f)(void))
{
	on_full = f;
}

/* No memory and no room are needed any more to end a transaction. */
static int
prepare_ends(struct db *db)
{
	return db_stmt(db, DB_COMMIT) == NULL ||
		db_stmt(db, DB_ROLLBACK) == NULL
	    ? -1
	    : 0;
}

static int
schema_number(struct db *db, int *number)
{
	sqlite3_stmt *st = NULL;
	int rc = -1;

	if (sqlite3_prepare_v2(db->sql, "PRAGMA user_version", -1, &st, NULL) ==
		SQLITE_OK &&
	    sqlite3_step(st) == SQLITE_ROW) {
		*number = sqlite3_column_int(st, 0);
		rc = 0;
	}
	sqlite3_finalize(st);
	return rc;
}

static int
schema_make(struct db *db)
{
	char *text;
	int rc;

	text = sqlite3_mprintf("BEGIN EXCLUSIVE; %s PRAGMA user_version = %d;"
			       " COMMIT;",
	    DB_SCHEMA, DB_SCHEMA_NUMBER);
	if (text == NULL)
		return -1;
	rc = sqlite3_exec(db->sql, text, NULL, NULL, NULL);
	sqlite3_free(text);
	return rc == SQLITE_OK ? 0 : -1;
}

/* One of a program before this one. */
static int
schema_mend(struct db *db, const char *path)
{
	char *text;
	int rc;

	text = sqlite3_mprintf("BEGIN EXCLUSIVE; %s PRAGMA user_version = %d;"
			       " COMMIT;",
	    DB_SCHEMA_3, DB_SCHEMA_NUMBER);
	if (text == NULL)
		return -1;
	rc = sqlite3_exec(db->sql, text, NULL, NULL, NULL);
	sqlite3_free(text);
	if (rc != SQLITE_OK)
		return -1;
	log_info("database %s: schema %d from now on", path, DB_SCHEMA_NUMBER);
	return 0;
}

/* With what can be done, once. */
static void
say(struct sqlite3 *sql, const char *what)
{
	static int told;
	int code = sql != NULL ? sqlite3_errcode(sql) : SQLITE_NOMEM;

	log_warnx("database: %s: %s", what, sqlite3_errstr(code));
	if (told || (code != SQLITE_CORRUPT && code != SQLITE_NOTADB))
		return;
	told = 1;
	log_warnx("the database is damaged (db/sailvold.db of the state "
		  "folder), and says what is not published: stop sailvold, "
		  "save the folder, and put back a copy of the database or "
		  "recover it by sqlite3(1), .recover; what is published is "
		  "not touched");
}

/* After a call that has failed. */
static void
look_at_sync(struct db *db)
{
	if (!db_sync_failed(sqlite3_extended_errcode(db->sql)))
		return;
	if (db->doubt != DOUBT)
		log_warnx(
		    "database: a sync has failed: nothing is taken for "
		    "safe from a loss of power until all of it is written "
		    "anew");
	db->doubt = DOUBT;
}

static void
brake(struct db *db, int rc, int error)
{
	/* That is over soon: a question is not at its end. */
	if ((rc & 0xff) == SQLITE_BUSY || (rc & 0xff) == SQLITE_LOCKED)
		return;
	db->brake.rc = rc;
	db->brake.error = error;
	db->brake.ms = db->brake.ms == 0 ? DOUBT_MS : db->brake.ms * 2;
	if (db->brake.ms > DOUBT_MS_MAX)
		db->brake.ms = DOUBT_MS_MAX;
	db->brake.until = monotime_add_ms(monotime_now(), db->brake.ms);
}

static int
is_braked(const struct db *db)
{
	return db->brake.ms != 0 && !monotime_reached(db->brake.until);
}

/* The log alone has what a checkpoint may leave half of. */
static int
log_anew(struct db *db)
{
	const char *path = sqlite3_db_filename(db->sql, "main");

	if (path == NULL || *path == '\0' || db_anew(path) == 0)
		return 0;
	log_warn("database: its log cannot be written anew");
	return -1;
}

static int
checkpoint(struct db *db)
{
	int mode = db->doubt != DOUBT_NONE ? SQLITE_CHECKPOINT_TRUNCATE
					   : SQLITE_CHECKPOINT_PASSIVE;
	int rc;

	if (is_braked(db)) {
		errno = db->brake.error;
		return db->brake.rc;
	}
	if (mode == SQLITE_CHECKPOINT_TRUNCATE && log_anew(db) == -1) {
		brake(db, SQLITE_IOERR, errno);
		return SQLITE_IOERR;
	}
	errno = 0;
	rc = sqlite3_wal_checkpoint_v2(db->sql, "main", mode, NULL, NULL);
	if (rc != SQLITE_OK) {
		if (mode == SQLITE_CHECKPOINT_TRUNCATE)
			brake(db, rc, errno);
		look_at_sync(db);
		return rc;
	}
	db->brake.ms = 0;
	if (mode == SQLITE_CHECKPOINT_TRUNCATE) {
		if (db->doubt == DOUBT)
			log_info(
			    "database: what is on the disk is whole again");
		db->doubt = DOUBT_NONE;
	}
	return rc;
}

/* As SQLite does it by itself, which does not say how it went. */
static int
on_commit(void *arg, sqlite3 *sql, const char *name, int pages)
{
	(void)sql;
	(void)name;
	if (pages >= CHECKPOINT_PAGES)
		(void)checkpoint(arg);
	return SQLITE_OK;
}

struct db *
db_open(const char *path)
{
	struct db *db;
	int number;

	if ((db = calloc(1, sizeof(*db))) == NULL)
		return NULL;
	if (sqlite3_open_v2(path, &db->sql,
		SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE |
		    SQLITE_OPEN_NOMUTEX,
		NULL) != SQLITE_OK)
		goto fail;
	sqlite3_busy_timeout(db->sql, 5000);
	db->doubt = DOUBT_START;
	sqlite3_wal_hook(db->sql, on_commit, db);
	if (sqlite3_exec(db->sql, settings, NULL, NULL, NULL) != SQLITE_OK ||
	    schema_number(db, &number) == -1)
		goto fail;
	if (number == 0) {
		if (schema_make(db) == -1)
			goto fail;
	} else if (number == DB_SCHEMA_FIRST) {
		if (schema_mend(db, path) == -1)
			goto fail;
	} else if (number != DB_SCHEMA_NUMBER) {
		log_warnx("database %s: schema %d, this program knows %d", path,
		    number, DB_SCHEMA_NUMBER);
		db_close(db);
		errno = EPROTONOSUPPORT;
		return NULL;
	}
	if (prepare_ends(db) == 0)
		return db;
fail:
	say(db->sql, path);
	db_close(db);
	errno = EIO;
	return NULL;
}

void
db_close(struct db *db)
{
	size_t i;

	if (db == NULL)
		return;
	for (i = 0; i < DB_STATEMENT_COUNT; i++)
		sqlite3_finalize(db->stmts[i]);
	/* It would make a checkpoint. */
	if (db->sql != NULL && db->doubt != DOUBT_NONE)
		(void)sqlite3_db_config(db->sql,
		    SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
	sqlite3_close(db->sql);
	free(db);
}

struct sqlite3_stmt *
db_stmt(struct db *db, enum db_statement which)
{
	sqlite3_stmt **st = &db->stmts[which];

	if (*st == NULL) {
		if (sqlite3_prepare_v3(db->sql, statement_text[which], -1,
			SQLITE_PREPARE_PERSISTENT, st, NULL) != SQLITE_OK) {
			say(db->sql, statement_text[which]);
			errno = EIO;
			return NULL;
		}
		return *st;
	}
	sqlite3_reset(*st);
	sqlite3_clear_bindings(*st);
	return *st;
}

/*
 * Whatever fails for memory, room or the disk, a question too, may have SQLite
 * roll back the whole transaction: what came behind it would be on its own, and
 * stay.  1: so it is, with errno.
 */
static int
has_ended(struct db *db, int error)
{
	if (!db->open || !sqlite3_get_autocommit(db->sql))
		return 0;
	if (db->ended == 0)
		db->ended = error;
	errno = db->ended;
	return 1;
}

int
db_step(struct db *db, struct sqlite3_stmt *st)
{
	int rc, error;

	if (has_ended(db, EIO))
		return -1;
	errno = 0;
	rc = sqlite3_step(st);
	if (rc == SQLITE_ROW)
		return 1;
	error = db_errno(rc, errno);
	if (rc != SQLITE_DONE) {
		say(db->sql, sqlite3_sql(st));
		look_at_sync(db);
	}
	sqlite3_reset(st);
	if (rc == SQLITE_DONE)
		return 0;
	(void)has_ended(db, error);
	if (error == ENOSPC && on_full != NULL)
		on_full();
	errno = error;
	return -1;
}

int
db_exec_stmt(struct db *db, struct sqlite3_stmt *st)
{
	if (st == NULL)
		return -1;
	return db_step(db, st) == -1 ? -1 : 0;
}

int
db_begin(struct db *db)
{
	if (db_exec_stmt(db, db_stmt(db, DB_BEGIN)) == -1)
		return -1;
	db->open = 1;
	db->ended = 0;
	return 0;
}

/* Not within a transaction. */
static int
set_durable(struct db *db, int on)
{
	if (sqlite3_exec(db->sql,
		on ? "PRAGMA synchronous = FULL"
		   : "PRAGMA synchronous = NORMAL",
		NULL, NULL, NULL) == SQLITE_OK)
		return 0;
	say(db->sql, "synchronous");
	errno = EIO;
	return -1;
}

/* Without room what a process before this may not have heard of is left. */
static int
be_sure(struct db *db)
{
	int rc, error = 0, i, tried;

	for (i = 0; i < 2 && db->doubt != DOUBT_NONE; i++) {
		tried = !is_braked(db);
		if ((rc = checkpoint(db)) == SQLITE_OK)
			return 0;
		error = db_errno(rc, errno);
		if (!tried)
			break;
		if (sqlite3_errcode(db->sql) != SQLITE_OK)
			say(db->sql, "checkpoint");
		if (error != ENOSPC)
			break;
		if (on_full != NULL)
			on_full();
		db->brake.ms = i == 0 ? 0 : db->brake.ms; /* there is now */
	}
	if (db->doubt == DOUBT_NONE ||
	    (db->doubt == DOUBT_START && error == ENOSPC))
		return 0;
	errno = error;
	return -1;
}

int
db_begin_durable(struct db *db)
{
	if (be_sure(db) == -1 || set_durable(db, 1) == -1)
		return -1;
	db->durable = 1;
	if (db_begin(db) == 0)
		return 0;
	db_rollback(db);
	return -1;
}

static void
end_durable(struct db *db)
{
	/* Left as it is, all is only slower. */
	if (db->durable && set_durable(db, 0) == 0)
		db->durable = 0;
}

int
db_commit(struct db *db)
{
	if (db_exec_stmt(db, db_stmt(db, DB_COMMIT)) == -1)
		return -1;
	db->open = 0;
	end_durable(db);
	return 0;
}

void
db_rollback(struct db *db)
{
	int saved = errno;

	db->open = 0;
	if (!sqlite3_get_autocommit(db->sql) &&
	    db_exec_stmt(db, db_stmt(db, DB_ROLLBACK)) == -1 &&
	    !sqlite3_get_autocommit(db->sql))
		fatalx("database: a transaction that cannot be ended");
	end_durable(db);
	errno = saved;
}
