/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * mnt: one mount of the parent of sailvold(8), shared by mounts.c (its states),
 * mounts_end.c (the end of all), mounts_file.c (which there are to be),
 * mounts_kept.c (what the next parent goes on with), mounts_proc.c (its
 * processes) and mounts_status.c (what is said of it).
 */
#ifndef SAILVOLD_MNT_H
#define SAILVOLD_MNT_H

#include <sys/queue.h>

#include "lib/heard.h"
#include "sailvold/backing.h"
#include "sailvold/kept.h"
#include "sailvold/mounts.h"
#include "sailvold/privileged.h"

struct event;

enum mount_state {
	MOUNT_POINT,    /* its mount point is looked at */
	MOUNT_MANIFEST, /* manifest looks for its volume */
	MOUNT_FUSE,     /* its fuse starts */
	MOUNT_UP,
	MOUNT_UMOUNT, /* umount runs */
	MOUNT_GONE,   /* its fuse ends */
	MOUNT_RETRY   /* it could not be: tried again */
};

struct mnt {
	TAILQ_ENTRY(mnt) link;
	uint32_t instance;
	enum mount_state state;
	struct conf_volume *volume;
	uint8_t id[16];
	char volume_id[64]; /* of manifest; "" until it was found */
	uid_t uid;
	int kept; /* in the file of mounts */
	char folder[1200];
	struct session session;
	struct kept *record; /* for the next parent; NULL: none */
	int record_fd;
	char key[40]; /* of the names of what is handed over */
	int point_fd, table_fd;
	int passthrough; /* as the configuration said when it was made */
	struct backings backings;
	int answered; /* its fuse had START, after which it answers INIT */
	unsigned int deaths; /* of its fuse, before it was mounted */
	int failed;          /* errno: it is given up when its fuse has ended */
	char failure[512];
	char said[1200];    /* in the log: why it could not be */
	struct heard heard; /* what else was said of it then */
	unsigned int tries; /* to come back */
	struct proc *fuse, *notify;
	int notify_wanted; /* asked for while the last one still ended */
	/* RETRY, FUSE, GONE: what comes when it is late; UMOUNT: once more */
	struct event *timer;
	struct conf_volume *again; /* mounted there when this one has gone */
	char warning[512];
	mounts_cb done; /* of the mount, later of the umount */
	void *arg;
	int ending;
	int cancelled;     /* unmounted before it was: that is no failure */
	int attaching;     /* in the file though it is not UP yet */
	unsigned int busy; /* so often it was in use when it was to go */
};
TAILQ_HEAD(mnts, mnt);

/* ---- mounts.c ---- */

extern struct mnts mnts_all;
struct mnt *mnt_by_instance(uint32_t instance);
struct mnt *mnt_by_path(const char *path);
/* In no state yet; id: which overlay is its. */
struct mnt *mnt_new(const struct conf_volume *, uid_t);
void mnt_free(struct mnt *);
/* One that waits to be tried again. */
void mnt_try_now(struct mnt *);
void mnt_umount(struct mnt *, int detach);
/* One that is only tried, and that nobody waits for: it is forgotten. */
void mnt_cancel(struct mnt *);
/* All end from now on; 0: there was none, and done was called. */
int mnt_ends(void (*done)(void));
void mnt_umount_all(void);
/* Handlers of its fuse. */
int mnt_line_is_old(const char *line, void *arg);
void mnt_fuse_ready(struct proc *, void *arg);
int mnt_fuse_death(struct proc *, int status, void *arg);

/* ---- mounts_end.c ---- */

/* 1: the last commits run. */
int mnt_last_commits(void);

/* ---- mounts_kept.c ---- */

/* Makes the record; without one the mount ends with this process. */
void mnt_record(struct mnt *, uid_t fuse_uid);
/* It is mounted: from now on its session outlives this process. */
void mnt_keep(struct mnt *);
/* Its session ends, and nothing is registered for it any more; before its
   descriptors are closed. */
void mnt_unkeep(struct mnt *);
/* All that came from the parent before; 1: there was one. */
int mnt_adopt_all(uid_t fuse_uid);

/* ---- mounts_file.c ---- */

void mnt_file_init(const char *state_dir);
/* Writes the file of the mounts that commands made anew. */
void mnt_file_write(void);
/* Whether it is clean, and what the configuration says can take its place, is asked
   (again: of a manifest that died there comes no answer). */
void mnt_ask_change(struct mnt *);
/* It stays what it is. */
void mnt_no_change(struct mnt *);
/* The volume (taken) stays in the file though its mount goes: all end. */
void mnt_file_keep(struct conf_volume *);
/* One of these is not to come back, if there is one there; -1: it is not that
   user's. */
int mnt_file_drop(const char *path, uid_t);
/* 1 when path is that one, which volume_dup() has cleaned. */
int mnt_is_path(const char *path, const char *clean);
/* A copy whose path is as the kernel writes it; NULL: no memory. */
struct conf_volume *mnt_volume_dup(const struct conf_volume *);

/* ---- mounts_proc.c ---- */

void mnt_proc_init(uid_t fuse_uid, gid_t fuse_gid);
/* Whether processors are kept awake: for those that run too. */
void mnt_set_awake(int on);
/* The memory of the inode table; -1 and errno. */
int mnt_make_table(void);
/* 1: it is one, of this program. */
int mnt_is_table(int fd);
/* cache is told which volume is the mount's; "": it is gone. */
void mnt_tell_cache(struct mnt *, struct proc *cache);
/* The limit of its overlay is another now. */
int mnt_tell_limit(struct mnt *);
/* Starts its fuse, and connects it; -1 and errno. */
int mnt_start_fuse(struct mnt *);

#endif
