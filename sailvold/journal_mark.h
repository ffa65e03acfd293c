/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * journal_mark: files beside the segments of a journal, which say what a loss of
 * power may have left of these.  In fuse.
 */
#ifndef SAILVOLD_JOURNAL_MARK_H
#define SAILVOLD_JOURNAL_MARK_H

#include <sys/types.h>
#include <stdint.h>

/* Also when that cannot be found out. */
int mark_is_there(int dir, const char *name);
/* An empty one, which is on the disk then.  0, or an errno. */
int mark_make(int dir, const char *name);
/* With the offset in it, and not on the disk yet; where there is no room for that
   it is empty.  0, or an errno. */
int mark_write(int dir, const char *name, uint64_t offset);
/* 0 where it is empty, or bad: all offsets are behind that. */
uint64_t mark_read(int dir, const char *name);
/* All of a segment, or NULL and errno: of a mapping a bad sector would end the
   process, at each start. */
uint8_t *mark_segment_read(int fd, off_t size);
/* Of the files with names that begin so the last, in order, stay. */
void mark_keep_last(int dir, const char *begin, unsigned int most);
/*
 * One that stays, and is set or not: as often as one likes, and without room.  A
 * process after this one finds it as it is; a loss of power leaves it as it likes.
 * A descriptor, or -1 and errno; is_set also where that cannot be found out.
 */
int mark_open_flag(int dir, const char *name, int *is_set);
int mark_set(int fd, int on); /* 0, or an errno */

#endif
