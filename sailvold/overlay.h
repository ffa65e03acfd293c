/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * overlay: the files of a mount's local changes, files/HH/HEX16 by their
 * number, and the descriptors of files that are open.  In fuse.
 */
#ifndef SAILVOLD_OVERLAY_H
#define SAILVOLD_OVERLAY_H

#include <sys/statvfs.h>
#include <stdint.h>

struct vn;

/* The folder `files' in the current directory. */
int overlay_open(void);
/*
 * 1 when a store through a shared mapping, after the file was synced, moves its
 * ctime here (not on tmpfs); 0 also when that cannot be tried.
 */
int overlay_probe(void);
/* Numbers from here on were never taken. */
void overlay_set_next(uint64_t next);
/* A number that nothing has; 0 and errno (ENOSPC: of the journal). */
uint64_t overlay_number(void);
/* A new empty file, read and write; -1 and errno. */
int overlay_create(uint64_t ovl, int again);
int overlay_open_file(uint64_t ovl, int flags);
int overlay_unlink(uint64_t ovl);
/* Of the file system below, less the room that is kept. */
int overlay_statvfs(struct statvfs *);
/*
 * 0 when that many bytes more may be asked for, or ENOSPC: the last 64 MiB, or
 * quarter, of the file system are kept for the journal and for manifest's
 * database, so that what is full can be committed and removed (sailvold(8)).
 */
int overlay_room(uint64_t bytes);

/* ---- descriptors of things: the longest unused are closed. */
void overlay_fd_limit(unsigned int max);
/* Gives fd to vn; local: it is the overlay file. */
void overlay_fd_set(struct vn *, int fd, int local);
/* Its overlay file; -1 and errno. */
int overlay_fd(struct vn *);
void overlay_fd_drop(struct vn *);
void overlay_fd_used(struct vn *);

#endif
