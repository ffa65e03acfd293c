/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * obj_batch: the objects that a batch of the journal reads and changes, in
 * memory until its transaction ends: a file that is made, written and closed is
 * one row written, and its directory another for all of them.  In manifest.
 */
#ifndef SAILVOLD_OBJ_BATCH_H
#define SAILVOLD_OBJ_BATCH_H

#include "sailvold/db.h"

/* From now on, until obj_batch_end(); of one mount.  Without it the two below
   are db_obj_get() and db_obj_put(). */
void obj_batch_begin(int64_t mount);
int obj_batch_get(struct db *, int64_t mount, uint64_t ovl, struct obj *);
/* What has no encoding is refused at once, as by db_obj_put(). */
int obj_batch_put(struct db *, int64_t mount, const struct obj *);
/* Writes what was changed; -1: the transaction cannot be committed. */
int obj_batch_flush(struct db *);
/* Forgets all, written or not. */
void obj_batch_end(void);

#endif
