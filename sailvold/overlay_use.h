/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * overlay_use: what the overlay files of a mount take, and a limit of that
 * (`overlay size' of sailvold.conf(5)).  Without a limit nothing is counted.  In
 * fuse.
 */
#ifndef SAILVOLD_OVERLAY_USE_H
#define SAILVOLD_OVERLAY_USE_H

#include <sys/statvfs.h>
#include <stdint.h>

/* From now on; 0: none.  The threads of worker.h run. */
void use_set_limit(uint64_t bytes);
/* 0, or ENOSPC: that many bytes more are too many. */
int use_room(uint64_t bytes);
/* 1: so little is left that each write is to be looked at. */
int use_tight(void);
/* That file is about to be changed. */
void use_touch(uint64_t ovl);
/* It was. */
void use_look(uint64_t ovl);
/* Bytes are about to be written there: both, and 0 or ENOSPC. */
int use_write(uint64_t ovl, uint64_t off, uint64_t len);
/* Nobody needs it any more: its room may be used, though it goes later. */
void use_dropped(uint64_t ovl);
/* It is about to be removed. */
void use_unlink(uint64_t ovl);
/* What no request tells of is looked at, once a second at most. */
void use_tick(void);
/* manifest is there: it is told, for status; later when it changes. */
void use_tell(void);
/* The limit is the size of the file system. */
void use_statvfs(struct statvfs *);

#endif
