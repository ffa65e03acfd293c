/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * proc: a daemon as a parent and its roles.  The parent starts each role as an
 * exec of its own with a socket on descriptor 3, watches it, restarts it, and
 * makes the channels between roles.  Parent side in parents, role side
 * (role_main) in the roles.
 */
#ifndef LIB_PROC_H
#define LIB_PROC_H

#include <sys/types.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/chan.h"

struct event_base;

/* All roles of the suite.  The parent of a daemon is ROLE_PARENT. */
enum role_id {
	ROLE_PARENT = 0,
	ROLE_FUSE,
	ROLE_NOTIFY, /* has the user of ROLE_FUSE */
	ROLE_MANIFEST,
	ROLE_CACHE,
	ROLE_FETCH,
	ROLE_METRICS,
	ROLE_TLS,
	ROLE_API,
	ROLE_META,
	ROLE_SIGN,
	ROLE_STORE,
	ROLE_CTL,    /* sailvolctl, as the parent of a fetch */
	ROLE_CLIENT, /* a program at the control socket */
	ROLE_MAX
};
const char *role_name(uint8_t role); /* "fuse"; "?" when unknown */

/*
 * The event base of this process, once proc_parent_init() or role_main() has
 * made it: also libevent's current one, so that event_set(3), event_dispatch(3)
 * and event_loopexit(3) mean it.
 */
struct event_base *proc_base(void);

/* Messages of every daemon, below those of its own (which start at 100). */
enum {
	IMSG_PARENT_ROLE_START = 1, /* struct role_start, field by field */
	IMSG_PARENT_ROLE_PEER,      /* u8 role, u32 instance; fd; the number is
				       the channel's, for BLAME */
	IMSG_PARENT_ROLE_STOP,      /* empty: end cleanly */
	IMSG_PARENT_ROLE_VERBOSE,   /* u8 */
	IMSG_ROLE_PARENT_READY,     /* sandbox_status(), without NUL */
	IMSG_ROLE_PARENT_LOG,       /* u8 priority, line without NUL */
	IMSG_ROLE_PARENT_BLAME,     /* empty: the peer at the channel of that
				       number sent what no rule allows */
	IMSG_DAEMON_FIRST = 100
};

/*
 * Of every channel between roles.  The largest is a root with all the extended
 * attributes that it may have: 64 KiB, and what stands around them.
 */
#define PROC_MAX_BODY (80 * 1024 - 16)

/* ---- the parent ---------------------------------------------------------- */

struct proc; /* one child: running, or dead and to be restarted */

struct proc_spec {
	uint8_t role;
	uint32_t instance; /* number of the mount, fetcher, ... */
	const char *title; /* setproctitle and log: "fuse shared-data" */
	const char *exec;  /* NULL: /proc/self/exe, else a path */
	uid_t uid;
	gid_t gid;
	/* NULL: an empty directory of proc's own making, unlinked: nothing. */
	const char *chroot_dir;
	/* Messages from this child, besides proc's own; chan_arg() is the
	   struct proc. */
	const struct msg_rule *rules;
	size_t nrules;
	/* Sends what the role needs before its drop of privileges: called after
	   START was queued, at the first start and each restart. */
	int (*configure)(struct proc *, void *arg);
	void (*on_ready)(struct proc *, void *arg);
	/* It died (status of waitpid(2)); before the restart is decided.
	   1: restart it, 0: it is finished with, and freed.  NULL: 1.  Also,
	   with status 0, when it is stopped while it waits to be restarted. */
	int (*on_death)(struct proc *, int status, void *arg);
	/* 1: a line that it says, or that is to be said of its end, was said
	   before, and is for -v alone.  NULL: none was. */
	int (*is_old)(const char *line, void *arg);
	void *arg;
};

/* Once, before anything else: event base, signals, SIGCHLD, limits. */
int proc_parent_init(int verbose);
/* Copies the spec.  NULL and errno: it could not be started (ECANCELED: all are
   being stopped). */
struct proc *proc_start(const struct proc_spec *);
/*
 * A channel between two children, now and again whenever either was
 * restarted.  Both get IMSG_PARENT_ROLE_PEER when both are ready.
 */
int proc_connect(struct proc *, struct proc *);
struct chan *proc_chan(struct proc *); /* NULL while it is dead */
pid_t proc_pid(const struct proc *);   /* -1 while it is dead */
uint8_t proc_role(const struct proc *);
uint32_t proc_instance(const struct proc *);
void *proc_arg(const struct proc *);
int proc_ready(const struct proc *);
unsigned int proc_starts(const struct proc *); /* how often, this one too */
/* 1: it dies again and again without being ready, or just after. */
int proc_fails(const struct proc *);
/* What confines it, as it said itself; "" before it is ready. */
const char *proc_sandbox(const struct proc *);
struct proc *proc_find(uint8_t role, uint32_t instance);
/* A line will be logged for what this child said; 1: it had too many. */
int proc_floods(struct proc *);
/* For status: calls f for each. */
void proc_foreach(void (*f)(struct proc *, void *), void *arg);
/* To this process and all roles, now and at a restart. */
void proc_set_verbose(int verbose);
/* STOP, SIGTERM after grace_ms, SIGKILL after twice that; on_death is called
   and no restart follows. */
void proc_stop(struct proc *, int grace_ms);
/* Stops all and leaves the event loop when the last has gone.  None can be
   started before that. */
void proc_stop_all(int grace_ms);

/*
 * A child that sends its parent what no rule allows is killed, and started again
 * with back-off.  Of what is sent to a peer the peer tells (BLAME), and loses that
 * channel alone: the other one is killed, and started again at once, for nobody
 * knows whether that is true.  More than six such in a minute, of one by another,
 * end nobody: the channel between the two is up again when that minute is over, or
 * when one of them has been restarted.
 * Death of a child: logged with role, pid and signal (a SIGSYS says that it
 * broke its filter), restarted at once; with back-off (doubling from 100 ms to
 * 10 s) only if it died before READY or twice within a second.  A child that
 * is not READY after 30 s is killed.
 */

/* ---- a role -------------------------------------------------------------- */

struct role_start {
	uint8_t role;
	uint32_t instance;
	uint32_t uid, gid;
	uint8_t verbose;
	char title[128];
	/* fd of the message: the directory to chroot to */
};

struct role_def {
	uint8_t role;
	/* What may come, from the parent and from each peer. */
	const struct msg_rule *rules;
	size_t nrules;
	/*
	 * Messages from the parent are handled from the first on, as root
	 * still; configured() returns 1 when the last needed one was seen (NULL:
	 * nothing is needed).  Then, once and still as root, prepare() opens what
	 * needs privilege or the world's files; then the drop; then, in the
	 * chroot, start(), and READY.
	 */
	int (*configured)(void);
	int (*prepare)(void); /* may be NULL */
	int (*start)(void);   /* may be NULL */
	/* PEER messages are taken only after start(): never as root. */
	void (*peer_up)(struct chan *);   /* may be NULL */
	void (*peer_down)(struct chan *); /* may be NULL */
	void (*stop)(void);               /* may be NULL: before a clean end */
	unsigned int sandbox_flags;       /* SANDBOX_* of lib/sandbox.h */
};

/*
 * 1 when argv says that this exec is a role (argv[1] is "-R" and argv[2] a
 * role's name); nobody else may use that option.
 */
int role_wanted(int argc, char **argv, uint8_t *role);
/*
 * Runs the role to its end: never returns.  Whether it ends by STOP, SIGTERM or
 * the death of its parent, stop() is called first.  A process that is not root,
 * started by one that is not either, keeps its user and its root directory: the
 * rest of the sandbox is in force.
 */
void role_main(const struct role_def *, int argc, char **argv)
    __attribute__((noreturn));
/* Ends this role as a STOP does; status: of exit, 0: its work is done. */
void role_end(int status) __attribute__((noreturn));
struct chan *role_parent(void);
/* The channel to a peer, NULL when there is none at the moment. */
struct chan *role_peer(uint8_t role, uint32_t instance);
/* Any peer of that role: the one with the shortest queue; NULL. */
struct chan *role_peer_any(uint8_t role);
/* Reads once from each peer of that role that has sent something; 0: none has. */
int role_peers_more(uint8_t role);
const struct role_start *role_self(void);
/* In prepare(): the directory that the role will be chrooted to (O_PATH); -1
   afterwards.  It stays proc's. */
int role_dirfd(void);

#endif
