/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * sandbox: the drop of privileges, in one order, all of it or the end of the
 * process.  In the roles.
 */
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <linux/capability.h>
#include <linux/fs.h>
#include <linux/landlock.h>
#include <netinet/in.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "lib/log.h"
#include "lib/proc.h"
#include "lib/sandbox.h"
#include "lib/sandbox_calls.h"

#if defined(__SANITIZE_ADDRESS__) || defined(SAIL_SANDBOX_DEBUG)
#define FORBIDDEN SCMP_ACT_TRAP /* on_sigsys() names the call, then dies */
#else
#define FORBIDDEN SCMP_ACT_KILL_PROCESS
#endif

static char status[SANDBOX_STATUS_BYTES] = "none";

static void
status_add(const char *what)
{
	if (strcmp(status, "none") == 0)
		status[0] = '\0';
	else
		strlcat(status, ",", sizeof(status));
	strlcat(status, what, sizeof(status));
}

const char *
sandbox_status(void)
{
	return status;
}

/* ---- root, user, limits -------------------------------------------------- */

static void
drop_root(int dirfd, uid_t uid, gid_t gid)
{
	if (uid == 0 || gid == 0)
		fatalx("sandbox: user and group must not be root");
	if (fchdir(dirfd) == -1 || chroot(".") == -1)
		fatal("sandbox: chroot");
	if (chdir("/") == -1)
		fatal("sandbox: chdir");
	status_add("chroot");
	if (setgroups(1, &gid) == -1)
		fatal("sandbox: setgroups");
	if (setresgid(gid, gid, gid) == -1)
		fatal("sandbox: setresgid");
	if (setresuid(uid, uid, uid) == -1)
		fatal("sandbox: setresuid");
	/* Here, for the filter would not let it try. */
	if (setresuid(-1, 0, -1) != -1 || setresgid(-1, 0, -1) != -1 ||
	    setuid(0) != -1)
		fatalx("sandbox: got root back");
	status_add("uid");
}

static void
limit(int resource, rlim_t value)
{
	struct rlimit rl = { value, value };

	if (setrlimit((__rlimit_resource_t)resource, &rl) == -1)
		fatal("sandbox: setrlimit");
}

/* ---- Landlock ------------------------------------------------------------ */

/* What the headers of Debian 12 do not have; the kernel is asked. */
#define FS_TRUNCATE (1ULL << 14)        /* of version 3 */
#define FS_IOCTL_DEV (1ULL << 15)       /* of 5 */
#define NET_BIND_TCP (1ULL << 0)        /* of 4 */
#define NET_CONNECT_TCP (1ULL << 1)     /* of 4 */
#define SCOPE_ABSTRACT_UNIX (1ULL << 0) /* of 6 */
#define SCOPE_SIGNAL (1ULL << 1)        /* of 6 */
struct ruleset {
	uint64_t fs, net, scoped;
};
#define RULESET_FS 8 /* bytes of it that a version knows */
#define RULESET_NET 16
#define RULESET_ALL 24

/*
 * All that this kernel's version can withhold.  Below the role's own directory
 * that is execution alone; TCP ports are fetch's to connect to.  What the
 * filter withholds, too, is withheld twice.
 */
static void
landlock(uint8_t role, int dirfd, int has_files)
{
	struct ruleset attr = { 0 };
	struct landlock_path_beneath_attr beneath = { 0 };
	size_t size = RULESET_FS;
	int abi, fd;

	abi = (int)syscall(SYS_landlock_create_ruleset, NULL, 0,
	    LANDLOCK_CREATE_RULESET_VERSION);
	if (abi < 1)
		return; /* a kernel without it */
	attr.fs = (LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1;
	if (abi >= 2)
		attr.fs |= LANDLOCK_ACCESS_FS_REFER;
	if (abi >= 3)
		attr.fs |= FS_TRUNCATE;
	if (abi >= 4) {
		attr.net = NET_BIND_TCP;
		if (role != ROLE_FETCH)
			attr.net |= NET_CONNECT_TCP;
		size = RULESET_NET;
	}
	if (abi >= 5)
		attr.fs |= FS_IOCTL_DEV;
	if (abi >= 6) {
		attr.scoped = SCOPE_ABSTRACT_UNIX | SCOPE_SIGNAL;
		size = RULESET_ALL;
	}
	fd = (int)syscall(SYS_landlock_create_ruleset, &attr, size, 0);
	if (fd == -1)
		fatal("sandbox: landlock_create_ruleset");
	if (has_files) {
		beneath.parent_fd = dirfd;
		beneath.allowed_access =
		    attr.fs & ~(uint64_t)LANDLOCK_ACCESS_FS_EXECUTE;
		if (syscall(SYS_landlock_add_rule, fd,
			LANDLOCK_RULE_PATH_BENEATH, &beneath, 0) == -1)
			fatal("sandbox: landlock_add_rule");
	}
	if (syscall(SYS_landlock_restrict_self, fd, 0) == -1)
		fatal("sandbox: landlock_restrict_self");
	close(fd);
	log_debug("sandbox: landlock %d", abi);
	status_add("landlock");
}

/* ---- seccomp ------------------------------------------------------------- */

#define ARGS_MAX 3
/* Calls that are allowed only with these arguments. */
struct arg_rule {
	const char *name;
	uint32_t action;
	struct scmp_arg_cmp args[ARGS_MAX]; /* all of them; the rest is zero */
	int who;                            /* WHO_* */
};
enum { WHO_ALL, WHO_FILES, WHO_FETCH, WHO_NOT_FETCH };

#define ARG(n, op, ...)                       \
	{                                     \
		n, SCMP_CMP_##op, __VA_ARGS__ \
	}
#define LOW32 0xffffffffULL
#define TYPE 0xfULL /* of a socket, without SOCK_CLOEXEC and SOCK_NONBLOCK */
/* A send with it connects first: also a listener, after shutdown(2). */
#define NO_FASTOPEN(n) ARG(n, MASKED_EQ, MSG_FASTOPEN, 0)
#define OUTSIDE(family, type, protocol)                                     \
	{                                                                   \
		"socket", SCMP_ACT_ALLOW,                                   \
		    { ARG(0, EQ, family, 0), ARG(1, MASKED_EQ, TYPE, type), \
			    ARG(2, EQ, protocol, 0) },                      \
		    WHO_FETCH                                               \
	}

static const struct arg_rule arg_rules[] = {
	/* Nobody makes code at run time. */
	{ "mmap", SCMP_ACT_ALLOW, { ARG(2, MASKED_EQ, PROT_EXEC, 0) },
	    WHO_ALL },
	{ "mprotect", SCMP_ACT_ALLOW, { ARG(2, MASKED_EQ, PROT_EXEC, 0) },
	    WHO_ALL },
	/* Threads, no processes. */
	{ "clone", SCMP_ACT_ALLOW,
	    { ARG(0, MASKED_EQ, CLONE_THREAD, CLONE_THREAD) }, WHO_ALL },
	{ "prctl", SCMP_ACT_ALLOW, { ARG(0, EQ, PR_SET_NAME, 0) }, WHO_ALL },
	{ "prctl", SCMP_ACT_ERRNO(EINVAL), { ARG(0, NE, PR_SET_NAME, 0) },
	    WHO_ALL },
	/* Not F_SETOWN, F_SETSIG and the like: signals for others of the user. */
	{ "fcntl", SCMP_ACT_ALLOW, { ARG(1, MASKED_EQ, LOW32, F_GETFD) },
	    WHO_ALL },
	{ "fcntl", SCMP_ACT_ALLOW, { ARG(1, MASKED_EQ, LOW32, F_SETFD) },
	    WHO_ALL },
	{ "fcntl", SCMP_ACT_ALLOW, { ARG(1, MASKED_EQ, LOW32, F_GETFL) },
	    WHO_ALL },
	{ "fcntl", SCMP_ACT_ALLOW, { ARG(1, MASKED_EQ, LOW32, F_SETFL) },
	    WHO_ALL },
	{ "fcntl", SCMP_ACT_ALLOW, { ARG(1, MASKED_EQ, LOW32, F_DUPFD) },
	    WHO_ALL },
	{ "fcntl", SCMP_ACT_ALLOW,
	    { ARG(1, MASKED_EQ, LOW32, F_DUPFD_CLOEXEC) }, WHO_ALL },
	/* Memfds are sealed, and looked at. */
	{ "fcntl", SCMP_ACT_ALLOW, { ARG(1, MASKED_EQ, LOW32, F_ADD_SEALS) },
	    WHO_ALL },
	{ "fcntl", SCMP_ACT_ALLOW, { ARG(1, MASKED_EQ, LOW32, F_GET_SEALS) },
	    WHO_ALL },
	/* Has anybody an overlay file open for writing?  Its signal is one's own. */
	{ "fcntl", SCMP_ACT_ALLOW, { ARG(1, MASKED_EQ, LOW32, F_SETLEASE) },
	    WHO_FILES },
	/* SQLite. */
	{ "fcntl", SCMP_ACT_ALLOW, { ARG(1, MASKED_EQ, LOW32, F_GETLK) },
	    WHO_FILES },
	{ "fcntl", SCMP_ACT_ALLOW, { ARG(1, MASKED_EQ, LOW32, F_SETLK) },
	    WHO_FILES },
	{ "fcntl", SCMP_ACT_ALLOW, { ARG(1, MASKED_EQ, LOW32, F_SETLKW) },
	    WHO_FILES },
	/* Limits may be asked for. */
	{ "prlimit64", SCMP_ACT_ALLOW, { ARG(2, EQ, 0, 0) }, WHO_ALL },
	/* libevent and libmicrohttpd; stdio asks whether it is a terminal. */
	{ "ioctl", SCMP_ACT_ALLOW, { ARG(1, MASKED_EQ, LOW32, FIONREAD) },
	    WHO_ALL },
	{ "ioctl", SCMP_ACT_ALLOW, { ARG(1, MASKED_EQ, LOW32, FIONBIO) },
	    WHO_ALL },
	{ "ioctl", SCMP_ACT_ERRNO(ENOTTY), { ARG(1, MASKED_EQ, LOW32, TCGETS) },
	    WHO_ALL },
	/* Copy-up, and what goes from the overlay to the cache. */
	{ "ioctl", SCMP_ACT_ALLOW, { ARG(1, MASKED_EQ, LOW32, FICLONE) },
	    WHO_FILES },
	{ "ioctl", SCMP_ACT_ALLOW, { ARG(1, MASKED_EQ, LOW32, FICLONERANGE) },
	    WHO_FILES },
	/*
	 * Pairs have no outside; those of datagrams have, by a name that is
	 * given to sendto(2) or sendmsg(2).
	 */
	{ "socketpair", SCMP_ACT_ALLOW,
	    { ARG(0, EQ, AF_UNIX, 0), ARG(1, MASKED_EQ, TYPE, SOCK_STREAM) },
	    WHO_ALL },
	/* Nobody connects by sending; and evdns alone sends to an address. */
	{ "sendmsg", SCMP_ACT_ALLOW, { NO_FASTOPEN(2) }, WHO_ALL },
	{ "sendto", SCMP_ACT_ALLOW, { NO_FASTOPEN(3) }, WHO_FETCH },
	{ "sendto", SCMP_ACT_ALLOW, { NO_FASTOPEN(3), ARG(4, EQ, 0, 0) },
	    WHO_NOT_FETCH },
	/* The outside is TCP and UDP, and nothing that looks like them. */
	OUTSIDE(AF_INET, SOCK_STREAM, 0),
	OUTSIDE(AF_INET, SOCK_STREAM, IPPROTO_TCP),
	OUTSIDE(AF_INET, SOCK_DGRAM, 0),
	OUTSIDE(AF_INET, SOCK_DGRAM, IPPROTO_UDP),
	OUTSIDE(AF_INET6, SOCK_STREAM, 0),
	OUTSIDE(AF_INET6, SOCK_STREAM, IPPROTO_TCP),
	OUTSIDE(AF_INET6, SOCK_DGRAM, 0),
	OUTSIDE(AF_INET6, SOCK_DGRAM, IPPROTO_UDP),
	{ "socket", SCMP_ACT_ERRNO(EACCES), { ARG(0, EQ, AF_NETLINK, 0) },
	    WHO_FETCH },
	{ "socket", SCMP_ACT_ERRNO(EACCES), { ARG(0, EQ, AF_UNIX, 0) },
	    WHO_FETCH },
};
#define NARG_RULES (sizeof(arg_rules) / sizeof(arg_rules[0]))

/* Libraries look for files and do without: an error, not death.  glibc tries
   clone3 first, whose flags no filter can see. */
static const char *const deny_eacces[] = { "access", "faccessat", "faccessat2",
	"lstat", "open", "openat", "readlink", "readlinkat", "stat", "statx" };

static void
add_rule(scmp_filter_ctx ctx, uint32_t action, const char *name,
    const struct scmp_arg_cmp *args, unsigned int n)
{
	int nr = seccomp_syscall_resolve_name(name), error;

	if (nr == __NR_SCMP_ERROR)
		fatalx("sandbox: no system call %s", name);
	if (nr < 0)
		return; /* not on this processor */
	error = seccomp_rule_add_array(ctx, action, nr, n, args);
	if (error != 0) {
		errno = -error;
		fatal("sandbox: rule for %s", name);
	}
}

static void
add_call(scmp_filter_ctx ctx, uint8_t role, const char *name)
{
	const struct scmp_arg_cmp self = { 0, SCMP_CMP_EQ,
		(scmp_datum_t)getpid(), 0 };
	const struct arg_rule *r;
	unsigned int n;
	int limited = 0;
	size_t i;

	if (strcmp(name, "tgkill") == 0) {
		add_rule(ctx, SCMP_ACT_ALLOW, name, &self, 1);
		return;
	}
	for (i = 0; i < NARG_RULES; i++) {
		r = &arg_rules[i];
		if (strcmp(r->name, name) != 0)
			continue;
		limited = 1;
		if ((r->who == WHO_FILES && !sandbox_has_files(role)) ||
		    (r->who == WHO_FETCH && role != ROLE_FETCH) ||
		    (r->who == WHO_NOT_FETCH && role == ROLE_FETCH))
			continue;
		for (n = 0; n < ARGS_MAX && r->args[n].op != 0; n++)
			;
		add_rule(ctx, r->action, name, r->args, n);
	}
	if (!limited)
		add_rule(ctx, SCMP_ACT_ALLOW, name, NULL, 0);
}

#if defined(__SANITIZE_ADDRESS__) || defined(SAIL_SANDBOX_DEBUG)
/* Only in builds for finding out what is missing. */
static void
on_sigsys(int sig, siginfo_t *si, void *context)
{
	char *name;

	(void)context;
	name =
	    seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, si->si_syscall);
	signal(sig, SIG_DFL);
	log_warnx("sandbox: call %s (%d) is forbidden",
	    name != NULL ? name : "?", si->si_syscall);
	if (role_parent() != NULL)
		(void)chan_flush(role_parent(), 1000);
	syscall(SYS_tgkill, getpid(), gettid(), sig);
}
#endif

static void
load_filter(uint8_t role, unsigned int flags)
{
	const char *const *calls;
	scmp_filter_ctx ctx;
	size_t i, n;
	int error;

	if ((ctx = seccomp_init(FORBIDDEN)) == NULL)
		fatalx("sandbox: seccomp_init");
#if defined(__SANITIZE_ADDRESS__) || defined(SAIL_SANDBOX_DEBUG)
	struct sigaction sa = { .sa_sigaction = on_sigsys,
		.sa_flags = SA_SIGINFO | SA_NODEFER };

	sigaction(SIGSYS, &sa, NULL);
#endif
	(void)seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH,
	    SCMP_ACT_KILL_PROCESS);
	(void)seccomp_attr_set(ctx, SCMP_FLTATR_CTL_TSYNC, 1);
	(void)seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	calls = sandbox_calls(role, &n);
	if (n == 0)
		fatalx("sandbox: role %s has no filter", role_name(role));
	for (i = 0; i < n; i++)
		add_call(ctx, role, calls[i]);
	if (flags & SANDBOX_THREADS) {
		calls = sandbox_thread_calls(&n);
		for (i = 0; i < n; i++)
			add_call(ctx, role, calls[i]);
		add_rule(ctx, SCMP_ACT_ERRNO(ENOSYS), "clone3", NULL, 0);
	}
	n = sizeof(deny_eacces) / sizeof(deny_eacces[0]);
	for (i = 0; i < n && !sandbox_has_files(role); i++)
		add_rule(ctx, SCMP_ACT_ERRNO(EACCES), deny_eacces[i], NULL, 0);
	if ((error = seccomp_load(ctx)) != 0) {
		errno = -error;
		fatal("sandbox: seccomp_load");
	}
	seccomp_release(ctx);
	status_add("seccomp");
}

/* ---- all of it ----------------------------------------------------------- */

static void
prove(uid_t uid, gid_t gid)
{
	struct __user_cap_header_struct head = {
		.version = _LINUX_CAPABILITY_VERSION_3,
	};
	struct __user_cap_data_struct caps[2];
	uid_t r, e, s;
	gid_t rg, eg, sg;
	int i;

	if (getresuid(&r, &e, &s) == -1 || r != uid || e != uid || s != uid ||
	    uid == 0)
		fatalx("sandbox: still another user");
	if (getresgid(&rg, &eg, &sg) == -1 || rg != gid || eg != gid ||
	    sg != gid)
		fatalx("sandbox: still another group");
	memset(caps, 0, sizeof(caps));
	if (syscall(SYS_capget, &head, caps) == -1)
		fatal("sandbox: capget");
	for (i = 0; i < 2; i++)
		if (caps[i].effective != 0 || caps[i].permitted != 0)
			fatalx("sandbox: still has capabilities");
}

void
sandbox_enter(uint8_t role, int dirfd, uid_t uid, gid_t gid, unsigned int flags)
{
	if (geteuid() == 0)
		drop_root(dirfd, uid, gid);
	else if (uid != geteuid() || gid != getegid())
		fatalx("sandbox: not root, and not user %u", (unsigned int)uid);
	limit(RLIMIT_CORE, 0);
	if (!(flags & SANDBOX_THREADS))
		limit(RLIMIT_NPROC, 0);
	if (prctl(PR_SET_DUMPABLE, 0) == -1)
		fatal("sandbox: not dumpable");
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == -1)
		fatal("sandbox: no_new_privs");
	status_add("nnp");
	landlock(role, dirfd, sandbox_has_files(role));
	load_filter(role, flags);
	prove(uid, gid);
}
