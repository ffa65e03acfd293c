/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * ballast: some room of the database's disk that is taken beforehand, and given
 * up when others have filled the disk, so that what was written can be committed.
 * In manifest.
 */
#ifndef SAILVOLD_BALLAST_H
#define SAILVOLD_BALLAST_H

/* Its file; from then on it is kept. */
void ballast_open(const char *path);
/* If there is no want of room it is taken again. */
void ballast_keep(void);
/* There is no room for the database. */
void ballast_drop(void);

#endif
