/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * lines: of a session of .sailvol/ctl the line, in the folder `lines', for the fuse
 * after this one: while it is not whole, and when the segment that it stands in is
 * cut off the journal.  In fuse.
 */
#ifndef SAILVOLD_LINES_H
#define SAILVOLD_LINES_H

#include <stddef.h>
#include <stdint.h>

/* offset: of the journal, behind its record; 0: it is not whole.  0, or -1 and
   errno. */
int lines_put(uint64_t session, uint32_t uid, uint32_t gid, const uint8_t *line,
    size_t len, uint64_t offset);
/* Calls f, if there is one. */
typedef void (*lines_cb)(uint64_t session, uint32_t uid, uint32_t gid,
    const uint8_t *line, size_t len, uint64_t offset, void *arg);
void lines_get(uint64_t session, lines_cb f, void *arg);
void lines_drop(uint64_t session);
/* Of sessions that f does not know the lines go. */
void lines_tidy(int (*f)(uint64_t session));

#endif
