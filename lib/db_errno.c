/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * db_errno: SQLite has a code for ENOSPC of a write alone; what else says
 * that there is no room is an I/O error to it, and its sqlite3_system_errno(3)
 * is 0 when that was at a commit (3.40).  In manifest and meta.
 */
#include <errno.h>

#include <sqlite3.h>

#include "lib/db_errno.h"

int
db_errno(int rc, int system)
{
	switch (rc & 0xff) {
	case SQLITE_FULL:
		return ENOSPC;
	case SQLITE_NOMEM:
		return ENOMEM;
	case SQLITE_READONLY:
		return EROFS;
	case SQLITE_IOERR:
	case SQLITE_CANTOPEN:
		if (system == ENOSPC || system == EDQUOT || system == EFBIG)
			return ENOSPC;
		if (system == ENOMEM || system == EROFS || system == EMFILE ||
		    system == ENFILE)
			return system;
		break;
	}
	return EIO;
}
