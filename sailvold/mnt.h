/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * mnt: one mount of the parent of sailvold(8), shared by mounts.c (its states),
 * mounts_file.c (which there are to be) and mounts_proc.c (its processes).
 */
#ifndef SAILVOLD_MNT_H
#define SAILVOLD_MNT_H

#include <sys/queue.h>

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
	MOUNT_RETRY   /* there was no server: tried again */
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
	int point_fd, table_fd;
	int answered; /* its fuse had START, after which it answers INIT */
	unsigned int deaths; /* of its fuse, before it was mounted */
	int failed;          /* errno: it is given up when its fuse has ended */
	char failure[512];
	struct proc *fuse, *notify;
	int notify_wanted;   /* asked for while the last one still ended */
	struct event *timer; /* RETRY, FUSE, GONE: what comes when it is late */
	struct conf_volume *again; /* mounted there when this one has gone */
	char warning[512];
	mounts_cb done; /* of the mount, later of the umount */
	void *arg;
	int force, ending;
};
TAILQ_HEAD(mnts, mnt);

/* ---- mounts.c ---- */

extern struct mnts mnts_all;
struct mnt *mnt_by_instance(uint32_t instance);
struct mnt *mnt_by_path(const char *path);
void mnt_free(struct mnt *);
void mnt_umount(struct mnt *, int detach);
/* Handlers of its fuse. */
void mnt_fuse_ready(struct proc *, void *arg);
int mnt_fuse_death(struct proc *, int status, void *arg);

/* ---- mounts_file.c ---- */

void mnt_file_init(const char *state_dir);
/* Writes the file of the mounts that commands made anew. */
void mnt_file_write(void);
/* 1 when path is that one, which volume_dup() has cleaned. */
int mnt_is_path(const char *path, const char *clean);
/* A copy whose path is as the kernel writes it; NULL: no memory. */
struct conf_volume *mnt_volume_dup(const struct conf_volume *);

/* ---- mounts_proc.c ---- */

void mnt_proc_init(uid_t fuse_uid, gid_t fuse_gid);
/* The memory of the inode table; -1 and errno. */
int mnt_make_table(void);
/* cache is told which volume is the mount's; "": it is gone. */
void mnt_tell_cache(struct mnt *, struct proc *cache);
/* Starts its fuse, and connects it; -1 and errno. */
int mnt_start_fuse(struct mnt *);

#endif
