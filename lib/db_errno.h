/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * db_errno: what a failure of SQLite is in errno's words.  In manifest and
 * meta.
 */
#ifndef LIB_DB_ERRNO_H
#define LIB_DB_ERRNO_H

/*
 * Of a result code, and errno, which was 0 before the call: ENOSPC (also of a
 * quota, or of a limit of the process), EROFS, ENOMEM, EMFILE, ENFILE, EIO.
 */
int db_errno(int rc, int system);

#endif
