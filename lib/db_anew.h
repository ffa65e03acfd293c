/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
#ifndef LIB_DB_ANEW_H
#define LIB_DB_ANEW_H

/* SQLite's extended code says that a sync has failed. */
int db_sync_failed(int rc);

/*
 * The log of the database at path (its name with "-wal") is written once more, byte
 * by byte, and synced: when that is done, 0, all of it is on the disk, whatever a
 * sync before has said; and nothing is taken for written of the database itself that
 * may not be.  Nobody may write to the log meanwhile.  -1: errno; all is as it was.
 */
int db_anew(const char *path);

#endif
