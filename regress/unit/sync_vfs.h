/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * sync_vfs: counts the syncs of SQLite, and makes one, or writes, fail on demand.
 * Included by tests, before they open a database.
 */
#ifndef REGRESS_SYNC_VFS_H
#define REGRESS_SYNC_VFS_H

#include <errno.h>
#include <sqlite3.h>

static struct {
	sqlite3_vfs vfs, *real;
	/* A database, which has locks, and all other files. */
	sqlite3_io_methods methods[2];
	int (*sync)(sqlite3_file *, int);
	int (*write)(sqlite3_file *, const void *, int, sqlite3_int64);
	int syncs, failing;
	int no_write; /* errno */
} sv;

static int
sv_sync(sqlite3_file *f, int flags)
{
	if (sv.failing)
		return SQLITE_IOERR_FSYNC;
	sv.syncs++;
	return sv.sync(f, flags);
}

static int
sv_write(sqlite3_file *f, const void *data, int n, sqlite3_int64 at)
{
	if (sv.no_write == 0)
		return sv.write(f, data, n, at);
	/* As the real one does it. */
	errno = sv.no_write;
	return errno == ENOSPC ? SQLITE_FULL : SQLITE_IOERR_WRITE;
}

/* The file of the real one, with another xSync and xWrite. */
static int
sv_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *f, int flags,
    int *out)
{
	sqlite3_io_methods *m = &sv.methods[(flags & SQLITE_OPEN_MAIN_DB) != 0];
	int rc = sv.real->xOpen(sv.real, name, f, flags, out);

	(void)vfs;
	if (rc == SQLITE_OK && f->pMethods != NULL) {
		*m = *f->pMethods;
		sv.sync = m->xSync;
		m->xSync = sv_sync;
		sv.write = m->xWrite;
		m->xWrite = sv_write;
		f->pMethods = m;
	}
	return rc;
}

static void
sync_vfs_install(void)
{
	sv.real = sqlite3_vfs_find(NULL);
	sv.vfs = *sv.real;
	sv.vfs.zName = "counting";
	sv.vfs.xOpen = sv_open;
	sqlite3_vfs_register(&sv.vfs, 1);
}

#endif
