/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * mounts: the mounts of the parent of sailvold(8): from the configuration or a
 * command to a session, its fuse and notify, and to its end.
 */
#ifndef SAILVOLD_MOUNTS_H
#define SAILVOLD_MOUNTS_H

#include <jansson.h>

#include "lib/proc.h"
#include "sailvold/config.h"
#include "sailvold/sailvold_imsg.h"

/* How a mount or umount ended: error 0 or an errno, with what in words. */
typedef void (*mounts_cb)(void *arg, int error, const char *what,
    const char *warning, uint32_t instance);

/* Folders, users and the file of mounts that commands made. */
int mounts_init(const struct config *);
/* What the configuration says of the mounts that come from now on. */
void mounts_configure(const struct config *);
/* Begins a mount; uid: whose it is (0: no check of the owner). done may be
   NULL: it is logged then, and tried again when it fails for lack of a
   server. */
void mounts_add(const struct conf_volume *, uid_t uid, mounts_cb done,
    void *arg);
/* By its mount point.  force: also while it is in use (detached). */
void mounts_remove(const char *path, uid_t uid, int force, mounts_cb done,
    void *arg);
/* One that waits for its server, of which manifest knows nothing. */
void mounts_forget(const char *path, uid_t uid, mounts_cb done, void *arg);
/* Those of the configuration and of the file. */
void mounts_begin_all(const struct config *);
/* After SIGHUP: what is new is mounted, what is gone unmounted, and what
   is another volume now, or otherwise mounted, changed if it is clean. */
void mounts_reconfigure(const struct config *);
/* manifest is ready (again): it is told of all mounts. */
void mounts_manifest_ready(struct proc *manifest);
/* For manifest: 1: a line of a mount that is tried again, as it was said before. */
int mounts_line_is_old(const char *line, void *arg);
/* cache starts (again): it is told which volume is whose. */
void mounts_tell_cache(struct proc *cache);
int mounts_on_mount_res(struct chan *, uint32_t, struct imsg *, struct ibuf *);
int mounts_on_start_res(struct chan *, uint32_t, struct imsg *, struct ibuf *);
int mounts_on_last_res(struct chan *, uint32_t, struct imsg *, struct ibuf *);
int mounts_on_ends_res(struct chan *, uint32_t, struct imsg *, struct ibuf *);
int mounts_on_dirty_res(struct chan *, uint32_t, struct imsg *, struct ibuf *);
int mounts_on_notify(struct chan *, uint32_t, struct imsg *, struct ibuf *);
/*
 * Their processes end, and their sessions are for the parent after this one;
 * -1 and why in words: some cannot be, and nothing was done.
 */
int mounts_hand_over(char *what, size_t size);
int mounts_are_handed_over(void);
/* 1: mounts were handed over, which mounts_adopt() goes on with. */
int mounts_came(void);
/* Goes on with what the parent before handed over; 1: there was some. */
int mounts_adopt(void);
/*
 * Commits those whose configuration says so, for half a minute.  Then it
 * unmounts all and calls done when the last has gone; their overlays and bases
 * stay for the next start.
 */
void mounts_end_all(void (*done)(void));
/* The commits are not waited for. */
void mounts_end_soon(void);
/* For metrics: struct metrics_mount of each (metrics_imsg.h); how many. */
struct wbuf;
uint32_t mounts_numbers(struct wbuf *);
/* For status: an array of objects. */
json_t *mounts_status(void);

#endif
