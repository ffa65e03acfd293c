/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * overlay: the files of a mount's local changes, files/HH/HEX16 by their
 * number, and the descriptors of files that are open.  In fuse.
 */
#ifndef SAILVOLD_OVERLAY_H
#define SAILVOLD_OVERLAY_H

#include <sys/statvfs.h>
#include <stdint.h>

struct stat;
struct vn;

/* The folder `files' in the current directory. */
int overlay_open(void);
/*
 * 1 when a store through a shared mapping, after the file was synced, moves its
 * ctime here (not on tmpfs); 0 also when that cannot be tried.
 */
int overlay_probe(void);
/*
 * 1 when a read lease (F_SETLEASE) is refused here for a file that is mapped for
 * writing, and given when it is not: not on overlayfs, nor where there are none.
 */
int overlay_leases(void);
/* Where that is so: 1 when somebody has the file open or mapped for writing, fd
   is open for reading alone. */
int overlay_mapped(int fd);
/* 1: the folder lies on an overlayfs. */
int overlay_on_overlayfs(void);
/* Numbers from here on were never taken. */
void overlay_set_next(uint64_t next);
/* A number that nothing has; 0 and errno (ENOSPC: of the journal). */
uint64_t overlay_number(void);
/* A record that changes nothing, for who waits until it is applied; -1. */
int overlay_say_again(void);
/* A new empty file, read and write; -1 and errno.  Also from a thread. */
int overlay_create(uint64_t ovl, int again);
int overlay_open_file(uint64_t ovl, int flags);
int overlay_stat(uint64_t ovl, struct stat *);
/* What the files of one of the folders that they lie in take on disk; also from
   a thread. */
#define OVERLAY_BUCKETS 256
int overlay_bucket_bytes(unsigned int bucket, uint64_t *bytes);
/* And what is beside it. */
int overlay_unlink(uint64_t ovl);
/* As futimens(2), and what is mtime then: file systems do not hold all of them. */
struct timens;
int overlay_set_times(int fd, const struct timespec ts[2],
    struct timens *mtime);
/* The file beside it (lib/rest.h); flags of open(2). */
int overlay_rest_open(uint64_t ovl, int flags);
int overlay_rest_unlink(uint64_t ovl);
/* Where they lie: st_dev of stat(2); 0: not known. */
uint64_t overlay_device(void);
/* Of the file system below, less the room that is kept. */
int overlay_statvfs(struct statvfs *);
/*
 * 0 when that many bytes more may be asked for, or ENOSPC: the last 64 MiB, or
 * quarter, of the file system are kept for the journal and for manifest's
 * database, so that what is full can be committed and removed (sailvold(8)).
 */
int overlay_room(uint64_t bytes);
/* After ENOSPC, of that or of something else of so many bytes: what would have to
   be free of the file system; 0: it is. */
uint64_t overlay_lacks(uint64_t bytes);

/* ---- descriptors of things: the longest unused are closed. */
void overlay_fd_limit(unsigned int max);
/* Gives fd to vn; local: it is the overlay file. */
void overlay_fd_set(struct vn *, int fd, int local);
/* Its overlay file; -1 and errno. */
int overlay_fd(struct vn *);
void overlay_fd_drop(struct vn *);
void overlay_fd_used(struct vn *);

#endif
