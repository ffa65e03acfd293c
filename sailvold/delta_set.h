/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * delta_set: the operations of a commit in memory; what the parts of
 * delta_make share, nobody else includes it.  In manifest.
 */
#ifndef SAILVOLD_DELTA_SET_H
#define SAILVOLD_DELTA_SET_H

#include "sailvold/delta_make.h"

struct delta_item *delta_set_add(struct delta_set *, const uint8_t *path,
    size_t len);
int delta_set_context(struct delta_set *, const uint8_t *path, size_t len,
    const struct entry *);
/* Forgets those from n on: nothing came below. */
void delta_set_context_cut(struct delta_set *, size_t n);
/* So much of it, from its end.  0: that was all. */
int delta_set_free_some(struct delta_set *, size_t most);
int delta_set_not_kept(struct delta_set *, const uint8_t *path, size_t len);
/* Of two numbers of overlay files, for qsort and bsearch. */
int delta_ovl_cmp(const void *, const void *);
/* Content is known: put, attr, or nothing. */
int delta_item_decide(struct delta_item *);
/* Of an overlay file that has not changed: its flat chunk list. */
int delta_item_known(struct delta_item *, const uint8_t *list, size_t len);
/* Hard links: a name that the file was not made under gets a fileid of its own,
   which is stored. */
int delta_link_new(struct db *, const struct mount_row *, const struct obj *,
    uint64_t dir, const void *name, size_t, uint64_t *fileid);

#endif
