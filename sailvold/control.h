/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * control: requests of people and programs: lines of JSON that come through
 * .sailvol/ctl of a mount, or through the control socket (sailvol-ctl(5)).  In
 * manifest.
 */
#ifndef SAILVOLD_CONTROL_H
#define SAILVOLD_CONTROL_H

#include <sys/types.h>

#include <stddef.h>
#include <stdint.h>

#include "lib/hash.h"

struct mount;

/* ---- called by the loop of manifest ----------------------------------------- */

/*
 * FUSE_MANIFEST_CTL.  offset: behind its record, the mark of a commit.  The same
 * line of the same session may come again, from a fuse that was started anew:
 * it is the same job, and its answer is given again.
 */
void control_ctl(struct mount *, uint64_t session, uint32_t uid, uint32_t gid,
    uint64_t offset, const void *line, size_t len);
/* FUSE_MANIFEST_CTL_CLOSE: nobody listens any more; the job goes on. */
void control_ctl_close(struct mount *, uint64_t session);
/* fuse is gone: its sessions are; a new one asks again for those it has. */
void control_fuse_down(struct mount *);
/* PARENT_MANIFEST_CLIENT: fd is taken; the groups are copied. */
struct control_peer {
	uint32_t uid, gid, pid;
	struct hash ticket; /* with which the parent knows its socket again */
	const uint32_t *groups; /* supplementary ones */
	size_t ngroups;
};
void control_client(int fd, const struct control_peer *);
/* sailvold ends, and nothing is waited for: umounts with keep are asked for. */
void control_ends(void);
/* Before the end: writes what their sockets take at once. */
void control_clients_flush(void);
/* PARENT_MANIFEST_DONE and PARENT_MANIFEST_STATUS_RES (fd is taken) answer
   MANIFEST_PARENT_DO and MANIFEST_PARENT_STATUS of that number. */
void control_parent_done(uint32_t id, uint32_t error, const char *what,
    const char *warning, uint32_t instance);
void control_parent_status(uint32_t id, int fd);

/* START was sent to the mount's fuse: interrupted jobs go on. Also after each
   later start of a fuse; only the first has an effect. */
void jobs_mount_started(struct mount *);
/* The mount goes: its jobs end in memory, and stay in the database. Before
   the struct mount is freed. */
void jobs_mount_gone(struct mount *);
/* sailvold ends: who listens to a job is let go, the jobs stay. */
void jobs_daemon_ends(void);
/* 1 while a job of the mount runs or waits. */
int jobs_running(const struct mount *);

/* PARENT_MANIFEST_CONFIG: how much is kept in the stashes of a mount, in all
   (0: no limit), and for how long. */
void stash_limits(uint64_t bytes, uint64_t total, uint32_t days);

#endif
