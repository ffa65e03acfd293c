/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * journal_done: the table of what this connection's requests did, as its journal
 * says; journal_find() looks there.  In fuse.
 */
#ifndef SAILVOLD_JOURNAL_DONE_H
#define SAILVOLD_JOURNAL_DONE_H

struct record;

void done_add(const struct record *);
/* All: no request comes again. */
void done_forget(void);

#endif
