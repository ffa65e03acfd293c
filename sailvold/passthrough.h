/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * passthrough: files of the overlay that the kernel reads, writes and maps by
 * itself once they are open (sailvold(8)).  The kernel wants all handles of an
 * inode that are open at a time, with their mappings, to be passed through to
 * one registered file, or none: the mode is the slot's (inode.h), chosen at the
 * first.  The parent registers files by their number; its ids are kept over
 * closes, the longest unused ones are given back.  In fuse.
 */
#ifndef SAILVOLD_PASSTHROUGH_H
#define SAILVOLD_PASSTHROUGH_H

#include <stddef.h>
#include <stdint.h>

#include "lib/chan.h"
#include "sailvold/view.h"

/*
 * Before the session.  wanted: by the configuration; init: the kernel's;
 * overlaid: the overlay lies on an overlayfs itself.
 */
void passthrough_init(int wanted, const uint8_t *init, size_t len,
    int overlaid);
/* 1: files are passed through, as far as is known. */
int passthrough_on(void);
/* A session is there, maybe with registrations of a process before. */
void passthrough_begin(void);
/* Another manifest: it did not ask what its predecessor asked. */
void passthrough_new_manifest(void);
/* manifest is there: it is told, for status. */
void passthrough_tell(void);
/*
 * How the next handle of the file is to be open, by the flags of open(2): 0 and
 * *id (0: plain), E_WAIT, or an errno.
 */
int passthrough_choose(struct vn *, uint32_t flags, int32_t *id);
/* A file of its own that the pool had registered. */
int passthrough_take(uint64_t ovl, uint32_t id);
/* Its overlay file goes. */
void passthrough_forget(uint64_t ovl);
/* 1: somebody may write to it, and nobody asks us. */
int passthrough_writers(const struct vn *);
/* A commit begins: what is registered and not open shall be no writer.  1: that
   takes until switch_synced(id); 0: it is so. */
int passthrough_let_go(uint32_t id);
/*
 * 1: a mapping may live that writes to the overlay file, of which fd is open for
 * reading alone; vn is its node, or NULL.  Of what is passed through a mapping
 * does not hold the handle: release comes at close(2), whatever is mapped.
 */
int passthrough_mapped(struct vn *vn, uint64_t ovl, int fd);
/* It is open for writing, and the kernel may keep for ever the attributes that
   it has: when it stays open, it forgets them soon. */
void passthrough_attr_kept(struct vn *);
/* Seconds that the kernel may keep its attributes. */
double passthrough_attr_timeout(const struct vn *);
/* Asks the parent; its answer is the pool's, or for who waits. -1 and errno. */
int passthrough_register(const uint64_t *ovls, uint16_t n);
int passthrough_rules_res(struct chan *, uint32_t, struct imsg *,
    struct ibuf *);

/* ---- files that are made and registered before they are needed (pool.c) */

/* Reads what the process before left; before the session. */
void pool_open(void);
/* The session is there: the first are made, which shows whether files can be
   passed through here. */
void pool_begin(void);
/* manifest is there: it says which of those nobody has. */
void pool_tell(void);
/* An empty file, its number and its registration taken: 0, or -1: there are none
   at the moment. */
int pool_take(uint64_t *ovl, int *fd);
int pool_rules_res(struct chan *, uint32_t, struct imsg *, struct ibuf *);
/* 1: the answer was for the pool. */
int pool_registered(const struct backing_res *);
/* The mount ends: they are removed. */
void pool_close(void);

#endif
