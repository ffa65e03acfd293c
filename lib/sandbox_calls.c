/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * sandbox: the system calls that each role may make, in groups by who needs
 * them.  A name added to a group is all that a missing call takes.  In the
 * roles.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/proc.h"
#include "lib/sandbox.h"
#include "lib/sandbox_calls.h"

#define CALLS_MAX 256

/* malloc(3), thread stacks, memfds; sandbox.c forbids PROT_EXEC. */
static const char *const memory[] = { "brk", "madvise", "mincore", "mmap",
	"mprotect", "mremap", "munmap" };

/* libevent: the loop, its timers, its own wake-ups and signals. */
static const char *const loop[] = { "clock_getres", "clock_gettime",
	"clock_nanosleep", "epoll_create1", "epoll_ctl", "epoll_pwait",
	"epoll_pwait2", "epoll_wait", "eventfd2", "gettimeofday", "nanosleep",
	"pipe2", "poll", "ppoll", "pselect6", "restart_syscall", "rt_sigaction",
	"rt_sigprocmask", "rt_sigreturn", "select", "sigaltstack", "time",
	"timerfd_create", "timerfd_gettime", "timerfd_settime" };

/* Channels to parent and peers, and the payloads beside their messages. */
static const char *const channel[] = { "close", "dup", "dup3", "fcntl", "fstat",
	"fstatfs", "ftruncate", "getsockopt", "ioctl", "lseek", "memfd_create",
	"newfstatat", "pread64", "preadv", "preadv2", "pwrite64", "pwritev",
	"pwritev2", "read", "readv", "recvfrom", "recvmsg", "sendmsg", "sendto",
	"shutdown", "write", "writev" };

/* glibc and OpenSSL: random numbers, locks, sysconf(3), who am I; abort(3)
   needs tgkill, of its own process only. */
static const char *const libc[] = { "capget", "close_range", "exit",
	"exit_group", "futex", "getcpu", "getegid", "geteuid", "getgid",
	"getgroups", "getpgrp", "getpid", "getppid", "getrandom", "getresgid",
	"getresuid", "getrusage", "gettid", "getuid", "prctl", "prlimit64",
	"sched_getaffinity", "sched_yield", "sysinfo", "tgkill", "times",
	"uname" };

/* Workers: SANDBOX_THREADS.  clone only with CLONE_THREAD. */
static const char *const threads[] = { "clone", "get_robust_list", "membarrier",
	"rseq", "set_robust_list", "set_tid_address" };

/* A role with a directory of its own: below its chroot, and nowhere else. */
static const char *const files[] = { "access", "chmod", "copy_file_range",
	"faccessat", "faccessat2", "fadvise64", "fallocate", "fchdir", "fchmod",
	"fchmodat", "fchown", "fdatasync", "flock", "fsync", "futimesat",
	"getcwd", "getdents64", "link", "linkat", "lstat", "mkdir", "mkdirat",
	"msync", "open", "openat", "openat2", "readahead", "readlink",
	"readlinkat", "rename", "renameat", "renameat2", "rmdir", "stat",
	"statfs", "statx", "sync_file_range", "syncfs", "umask", "unlink",
	"unlinkat", "utimensat" };

/* The cache's descriptors: content that others gave, told to the kernel. */
static const char *const bulk[] = { "copy_file_range", "fadvise64", "fallocate",
	"fdatasync", "fsync", "syncfs" };

/* Accepted connections: tls, api and store from the network, metrics from this
   machine.  None can make one to the outside: neither connect(2), nor what
   sandbox.c withholds of sendto(2), sendmsg(2) and sockets. */
static const char *const server[] = { "accept4", "getpeername", "getsockname",
	"sendfile", "setsockopt" };

/* tls: the plain ends of its connections, for api and store. */
static const char *const relay[] = { "socketpair" };

/* curl and evdns: the only ones who reach out. */
static const char *const client[] = { "bind", "connect", "getpeername",
	"getsockname", "setsockopt", "socket", "socketpair" };

/* What the sanitizers' run-time makes, in builds with SAN=1 only: reports to
   descriptor 2, and stacks for them. */
static const char *const sanitizer[] = { "get_robust_list", "getpriority",
	"getrlimit", "sched_getparam", "sched_getscheduler", "set_robust_list",
	"sigaltstack" };

enum {
	G_MEMORY,
	G_LOOP,
	G_CHANNEL,
	G_LIBC,
	G_THREADS,
	G_FILES,
	G_BULK,
	G_SERVER,
	G_RELAY,
	G_CLIENT,
	G_SANITIZER,
	G_MAX
};

#define GROUP(g)                                  \
	{                                         \
#g, g, sizeof(g) / sizeof((g)[0]) \
	}
static const struct sandbox_group groups[G_MAX] = {
	[G_MEMORY] = GROUP(memory),
	[G_LOOP] = GROUP(loop),
	[G_CHANNEL] = GROUP(channel),
	[G_LIBC] = GROUP(libc),
	[G_THREADS] = GROUP(threads),
	[G_FILES] = GROUP(files),
	[G_BULK] = GROUP(bulk),
	[G_SERVER] = GROUP(server),
	[G_RELAY] = GROUP(relay),
	[G_CLIENT] = GROUP(client),
	[G_SANITIZER] = GROUP(sanitizer),
};

#define BIT(g) (1U << (g))
#define BASE (BIT(G_MEMORY) | BIT(G_LOOP) | BIT(G_CHANNEL) | BIT(G_LIBC))

/* Which groups a role has.  One with G_FILES has a directory. */
static const unsigned int roles[ROLE_MAX] = {
	/* The overlay and the journal; the session. */
	[ROLE_FUSE] = BASE | BIT(G_FILES) | BIT(G_BULK),
	/* The session's descriptor, to write notifications to. */
	[ROLE_NOTIFY] = BASE,
	/* The database; clients that the parent has accepted. */
	[ROLE_MANIFEST] = BASE | BIT(G_FILES),
	/* The cache directory. */
	[ROLE_CACHE] = BASE | BIT(G_FILES) | BIT(G_BULK),
	/* TCP; files only as descriptors. */
	[ROLE_FETCH] = BASE | BIT(G_CLIENT) | BIT(G_BULK),
	/* TCP of this machine. */
	[ROLE_METRICS] = BASE | BIT(G_SERVER),
	/* TCP that it is handed; the key only in its memory. */
	[ROLE_TLS] = BASE | BIT(G_SERVER) | BIT(G_RELAY),
	[ROLE_API] = BASE | BIT(G_SERVER),
	/* The database. */
	[ROLE_META] = BASE | BIT(G_FILES),
	/* Computes. */
	[ROLE_SIGN] = BASE,
	/* The objects' directory. */
	[ROLE_STORE] = BASE | BIT(G_FILES) | BIT(G_BULK) | BIT(G_SERVER),
};

size_t
sandbox_ngroups(void)
{
	return G_MAX;
}

const struct sandbox_group *
sandbox_group(size_t i)
{
	return &groups[i];
}

int
sandbox_has_files(uint8_t role)
{
	return role < ROLE_MAX && (roles[role] & BIT(G_FILES)) != 0;
}

const char *const *
sandbox_thread_calls(size_t *n)
{
	*n = groups[G_THREADS].n;
	return groups[G_THREADS].names;
}

static int
name_cmp(const void *a, const void *b)
{
	const char *const *x = a, *const *y = b;

	return strcmp(*x, *y);
}

const char *const *
sandbox_calls(uint8_t role, size_t *n)
{
	static const char *calls[CALLS_MAX];
	unsigned int mask = role < ROLE_MAX ? roles[role] : 0;
	size_t g, i, used = 0, out = 0;

#ifdef __SANITIZE_ADDRESS__
	if (mask != 0)
		mask |= BIT(G_SANITIZER);
#endif
	for (g = 0; g < G_MAX; g++)
		for (i = 0; (mask & BIT(g)) && i < groups[g].n; i++)
			if (used < CALLS_MAX)
				calls[used++] = groups[g].names[i];
	qsort(calls, used, sizeof(calls[0]), name_cmp);
	for (i = 0; i < used; i++)
		if (i == 0 || strcmp(calls[i], calls[out - 1]) != 0)
			calls[out++] = calls[i];
	*n = out;
	return calls;
}
