/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * The walls of each role, each alone: the filter lets through what is named
 * here, in the forms that it may have, and kills for every other number; and
 * without the filter Landlock denies files, sockets and signals outside.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <netinet/in.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/fs.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/log.h"
#include "lib/proc.h"
#include "lib/sandbox.h"
#include "lib/sandbox_calls.h"

#define UID 54321
#define GID 54322
#define NUMBERS 4096 /* system calls have fewer */
#define X32 0x40000000U
#if defined(__SANITIZE_ADDRESS__)
#define KILLS SECCOMP_RET_TRAP
#else
#define KILLS SECCOMP_RET_KILL_PROCESS
#endif
#if defined(__x86_64__)
#define OWN_ARCH AUDIT_ARCH_X86_64
#else
#define OWN_ARCH AUDIT_ARCH_AARCH64
#endif

#define CHECK(cond, ...)                                              \
	do {                                                          \
		if (!(cond)) {                                        \
			fprintf(stderr, "%s: ", role_name(now_role)); \
			fprintf(stderr, __VA_ARGS__);                 \
			fprintf(stderr, "\n");                        \
			_exit(1);                                     \
		}                                                     \
	} while (0)

int __real_seccomp_load(const scmp_filter_ctx);
int __wrap_seccomp_load(const scmp_filter_ctx);

static uint8_t now_role;
static int now_threads, in_force;
static struct sock_filter program[8192];
static size_t nprogram;

/* It is taken, and not put in force unless it shall be. */
int
__wrap_seccomp_load(const scmp_filter_ctx ctx)
{
	int fd = memfd_create("filter", 0);
	ssize_t n;

	if (in_force) {
		close(fd);
		return __real_seccomp_load(ctx);
	}
	if (fd == -1 || seccomp_export_bpf(ctx, fd) != 0)
		return -EINVAL;
	n = pread(fd, program, sizeof(program), 0);
	close(fd);
	if (n <= 0 || n == (ssize_t)sizeof(program))
		return -E2BIG;
	nprogram = (size_t)n / sizeof(program[0]);
	return 0;
}

/* ---- what a filter says -------------------------------------------------- */

static size_t
jump(const struct sock_filter *f, uint32_t a)
{
	int yes;

	switch (BPF_OP(f->code)) {
	case BPF_JA:
		return f->k;
	case BPF_JEQ:
		yes = a == f->k;
		break;
	case BPF_JGT:
		yes = a > f->k;
		break;
	case BPF_JGE:
		yes = a >= f->k;
		break;
	case BPF_JSET:
		yes = (a & f->k) != 0;
		break;
	default:
		CHECK(0, "filter: jump %#x", f->code);
		return 0;
	}
	return yes ? f->jt : f->jf;
}

static uint32_t
verdict_of(const struct seccomp_data *data)
{
	const struct sock_filter *f;
	uint32_t a = 0;
	size_t at;

	for (at = 0; at < nprogram; at++) {
		f = &program[at];
		if (f->code == (BPF_LD | BPF_W | BPF_ABS)) {
			CHECK(f->k + 4 <= sizeof(*data), "filter: loads");
			memcpy(&a, (const uint8_t *)data + f->k, sizeof(a));
		} else if (f->code == (BPF_ALU | BPF_AND | BPF_K))
			a &= f->k;
		else if (f->code == (BPF_RET | BPF_K))
			return f->k;
		else if (BPF_CLASS(f->code) == BPF_JMP)
			at += jump(f, a);
		else
			CHECK(0, "filter: instruction %#x", f->code);
	}
	CHECK(0, "filter: has no end");
	return 0;
}

static uint32_t
verdict(int nr, unsigned int arg, uint64_t value)
{
	struct seccomp_data data = { .nr = nr, .arch = OWN_ARCH };

	data.args[arg] = value;
	return verdict_of(&data);
}

static int
number(const char *name)
{
	int nr = seccomp_syscall_resolve_name(name);

	CHECK(nr != __NR_SCMP_ERROR, "no call %s", name);
	return nr;
}

/* ---- what it must say ---------------------------------------------------- */

/*
 * The names that each role may call, written out a second time: who adds one to
 * the table of lib/sandbox_calls.c has to come here, too, and to say why.
 */
#define BASE                                                              \
	"brk capget clock_getres clock_gettime clock_nanosleep close "    \
	"close_range dup dup3 epoll_create1 epoll_ctl epoll_pwait "       \
	"epoll_pwait2 epoll_wait eventfd2 exit exit_group fcntl fstat "   \
	"fstatfs ftruncate futex getcpu getegid geteuid getgid "          \
	"getgroups getpgrp getpid getppid getrandom getresgid getresuid " \
	"getrusage getsockopt gettid gettimeofday getuid ioctl lseek "    \
	"madvise memfd_create mincore mmap mprotect mremap munmap "       \
	"nanosleep newfstatat pipe2 poll ppoll prctl pread64 preadv "     \
	"preadv2 prlimit64 pselect6 pwrite64 pwritev pwritev2 read "      \
	"readv recvfrom recvmsg restart_syscall rt_sigaction "            \
	"rt_sigprocmask rt_sigreturn sched_getaffinity sched_yield "      \
	"select sendmsg sendto shutdown sigaltstack sysinfo tgkill time " \
	"timerfd_create timerfd_gettime timerfd_settime times uname "     \
	"write writev "
#define THREADS                                                  \
	"clone get_robust_list membarrier rseq set_robust_list " \
	"set_tid_address "
#define FILES                                                             \
	"access chmod copy_file_range faccessat faccessat2 fadvise64 "    \
	"fallocate fchdir fchmod fchmodat fchown fdatasync flock fsync "  \
	"futimesat getcwd getdents64 link linkat lstat mkdir mkdirat "    \
	"msync open openat openat2 readahead readlink readlinkat rename " \
	"renameat renameat2 rmdir stat statfs statx sync_file_range "     \
	"syncfs umask unlink unlinkat utimensat "
#define BULK "copy_file_range fadvise64 fallocate fdatasync fsync syncfs "
#define SERVER "accept4 getpeername getsockname sendfile setsockopt "
#define CLIENT                                                    \
	"bind connect getpeername getsockname setsockopt socket " \
	"socketpair "
#if defined(__SANITIZE_ADDRESS__)
#define SANITIZER                                               \
	"get_robust_list getpriority getrlimit sched_getparam " \
	"sched_getscheduler set_robust_list sigaltstack "
#else
#define SANITIZER ""
#endif

static const char *const wanted[ROLE_MAX] = {
	[ROLE_FUSE] = BASE FILES BULK SANITIZER,
	[ROLE_NOTIFY] = BASE SANITIZER,
	[ROLE_MANIFEST] = BASE FILES SANITIZER,
	[ROLE_CACHE] = BASE FILES BULK SANITIZER,
	[ROLE_FETCH] = BASE BULK CLIENT SANITIZER,
	[ROLE_METRICS] = BASE SERVER SANITIZER,
	[ROLE_TLS] = BASE SERVER "socketpair " SANITIZER,
	[ROLE_API] = BASE SERVER SANITIZER,
	[ROLE_META] = BASE FILES SANITIZER,
	[ROLE_SIGN] = BASE SANITIZER,
	[ROLE_STORE] = BASE FILES BULK SERVER SANITIZER,
};

static char listed[NUMBERS]; /* 1: it may, 2: it gets an error */

static void
list(const char *names, char how)
{
	char name[64];
	size_t n;
	int nr;

	for (; *names != '\0'; names += n + 1) {
		n = strcspn(names, " ");
		CHECK(n < sizeof(name) && names[n] == ' ', "names");
		memcpy(name, names, n);
		name[n] = '\0';
		/* Some are not on this processor. */
		if ((nr = number(name)) >= 0 && listed[nr] == 0)
			listed[nr] = how;
	}
}

static void
list_all(void)
{
	list(wanted[now_role], 1);
	if (now_threads) {
		list(THREADS, 1);
		list("clone3 ", 2);
	}
	list("access faccessat faccessat2 lstat open openat readlink "
	     "readlinkat stat statx ",
	    2);
}

/* Whose argument is looked at: not in every form. */
static int
is_limited(int nr)
{
	static const char *const names[] = { "mmap", "mprotect", "clone",
		"prctl", "fcntl", "prlimit64", "ioctl", "socketpair", "socket",
		"tgkill" };
	size_t i;

	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (number(names[i]) == nr)
			return 1;
	return 0;
}

static void
check_numbers(void)
{
	struct seccomp_data data = { .arch = OWN_ARCH };
	static const uint32_t others[] = { AUDIT_ARCH_I386, AUDIT_ARCH_X86_64,
		AUDIT_ARCH_AARCH64, AUDIT_ARCH_ARM, 0 };
	uint32_t got;
	size_t i;
	int nr;

	list_all();
	for (nr = 0; nr < NUMBERS; nr++) {
		got = verdict(nr, 0, 0);
		if (is_limited(nr))
			continue;
		switch (listed[nr]) {
		case 0:
			CHECK(got == KILLS, "call %d: %#x", nr, got);
			break;
		case 1:
			CHECK(got == SECCOMP_RET_ALLOW, "call %d: %#x", nr,
			    got);
			break;
		default:
			CHECK((got & SECCOMP_RET_ACTION_FULL) ==
				SECCOMP_RET_ERRNO,
			    "call %d: %#x", nr, got);
			break;
		}
		/* Another table of numbers. */
		got = verdict((int)((unsigned int)nr | X32), 0, 0);
		CHECK(got == KILLS || got == SECCOMP_RET_KILL_PROCESS,
		    "call %d of x32: %#x", nr, got);
		data.nr = nr;
		for (i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
			data.arch = others[i];
			got = verdict_of(&data);
			CHECK(others[i] == OWN_ARCH ||
				got == SECCOMP_RET_KILL_PROCESS,
			    "call %d of %#x: %#x", nr, others[i], got);
		}
	}
	CHECK(verdict(-1, 0, 0) == KILLS, "call -1");
}

/* Of all values below max: those in allowed are, the rest is not. */
static void
check_values(const char *name, unsigned int arg, uint64_t max,
    const uint64_t *allowed, size_t n, uint32_t rest)
{
	uint64_t v;
	uint32_t got;
	size_t i;

	for (v = 0; v < max; v++) {
		got = verdict(number(name), arg, v);
		for (i = 0; i < n && allowed[i] != v; i++)
			;
		CHECK(got == (i < n ? SECCOMP_RET_ALLOW : rest),
		    "%s(%#llx): %#x", name, (unsigned long long)v, got);
	}
	for (i = 0; i < n; i++)
		CHECK(verdict(number(name), arg, allowed[i]) ==
			SECCOMP_RET_ALLOW,
		    "%s(%#llx)", name, (unsigned long long)allowed[i]);
}

static void
check_ioctl(int files)
{
	static const uint64_t quiet = TCGETS;
	uint64_t v;
	uint32_t got;

	/* All of the kernel's own groups by their numbers, without sizes; and
	   those with sizes that somebody has. */
	for (v = 0; v < 0x10000; v++) {
		got = verdict(number("ioctl"), 1, v);
		CHECK(v == FIONREAD || v == FIONBIO ? got == SECCOMP_RET_ALLOW
			: v == quiet ? got == (SECCOMP_RET_ERRNO | ENOTTY)
				     : got == KILLS,
		    "ioctl(%#llx): %#x", (unsigned long long)v, got);
	}
	CHECK(verdict(number("ioctl"), 1, FICLONE) ==
		(files ? SECCOMP_RET_ALLOW : KILLS),
	    "FICLONE");
	CHECK(verdict(number("ioctl"), 1, FICLONERANGE) ==
		(files ? SECCOMP_RET_ALLOW : KILLS),
	    "FICLONERANGE");
	CHECK(verdict(number("ioctl"), 1, FS_IOC_SETFLAGS) == KILLS,
	    "FS_IOC_SETFLAGS");
}

static uint32_t
verdict3(const char *name, uint64_t a, uint64_t b, uint64_t c)
{
	struct seccomp_data data = { .nr = number(name),
		.arch = OWN_ARCH,
		.args = { a, b, c } };

	return verdict_of(&data);
}

/* TCP and UDP, with the flags that a type may have. */
static int
is_outside(int family, int type, int protocol)
{
	if (now_role != ROLE_FETCH || (family != AF_INET && family != AF_INET6))
		return 0;
	type &= ~(SOCK_CLOEXEC | SOCK_NONBLOCK);
	return (type == SOCK_STREAM &&
		   (protocol == 0 || protocol == IPPROTO_TCP)) ||
	    (type == SOCK_DGRAM && (protocol == 0 || protocol == IPPROTO_UDP));
}

static void
check_socket(void)
{
	static const int flags[] = { 0, SOCK_CLOEXEC, SOCK_NONBLOCK,
		SOCK_CLOEXEC | SOCK_NONBLOCK };
	int pairs = now_role == ROLE_FETCH || now_role == ROLE_TLS;
	int family, type, protocol, f;
	uint32_t got, want;

	for (family = 0; family < 64; family++)
		for (type = 0; type < 16; type++)
			for (f = 0; f < 4; f++) {
				got = verdict3("socketpair", (uint64_t)family,
				    (uint64_t)(type | flags[f]), 0);
				CHECK(got ==
					(pairs && family == AF_UNIX &&
						    type == SOCK_STREAM
						? SECCOMP_RET_ALLOW
						: KILLS),
				    "socketpair(%d, %d): %#x", family,
				    type | flags[f], got);
			}
	for (family = 0; family < 64; family++)
		for (type = 0; type < 16; type++)
			for (protocol = 0; protocol < 300; protocol++) {
				f = flags[protocol % 4];
				want = KILLS;
				if (is_outside(family, type, protocol))
					want = SECCOMP_RET_ALLOW;
				else if (now_role == ROLE_FETCH &&
				    (family == AF_UNIX || family == AF_NETLINK))
					want = SECCOMP_RET_ERRNO | EACCES;
				got = verdict3("socket", (uint64_t)family,
				    (uint64_t)(type | f), (uint64_t)protocol);
				CHECK(got == want, "socket(%d, %d, %d): %#x",
				    family, type | f, protocol, got);
			}
}

/* Every flag alone, and with all others; to an address, and to none. */
static void
check_send(void)
{
	struct seccomp_data data = { .arch = OWN_ARCH };
	uint64_t flags;
	int bit, both, bad;
	uint32_t got;

	for (bit = 0; bit < 32; bit++)
		for (both = 0; both < 4; both++) {
			flags = 1ULL << bit;
			if (both & 1)
				flags = 0xffffffffULL & ~flags;
			bad = (flags & MSG_FASTOPEN) != 0;
			data.nr = number("sendmsg");
			memset(data.args, 0, sizeof(data.args));
			data.args[2] = flags;
			got = verdict_of(&data);
			CHECK(got == (bad ? KILLS : SECCOMP_RET_ALLOW),
			    "sendmsg(%#llx): %#x", (unsigned long long)flags,
			    got);
			data.nr = number("sendto");
			memset(data.args, 0, sizeof(data.args));
			data.args[3] = flags;
			data.args[4] = both & 2 ? 0x7f0000001000ULL : 0;
			bad |= (both & 2) && now_role != ROLE_FETCH;
			got = verdict_of(&data);
			CHECK(got == (bad ? KILLS : SECCOMP_RET_ALLOW),
			    "sendto(%#llx, %#llx): %#x",
			    (unsigned long long)flags,
			    (unsigned long long)data.args[4], got);
		}
}

static void
check_filter(void)
{
	static const uint64_t data_only[] = { 0, PROT_READ, PROT_WRITE,
		PROT_READ | PROT_WRITE };
	/* The last four are for SQLite and leases: of who has files. */
	static const uint64_t fcntls[] = { F_DUPFD, F_GETFD, F_SETFD, F_GETFL,
		F_SETFL, F_DUPFD_CLOEXEC, F_ADD_SEALS, F_GET_SEALS, F_GETLK,
		F_SETLK, F_SETLKW, F_SETLEASE };
	static const uint64_t no_limit[] = { 0 };
	const uint64_t self = (uint64_t)getpid(), name = PR_SET_NAME;
	int files = sandbox_has_files(now_role);

	check_numbers();
	check_values("mmap", 2, 8, data_only, 4, KILLS);
	check_values("mprotect", 2, 8, data_only, 4, KILLS);
	CHECK(verdict(number("mmap"), 2, PROT_EXEC | 0x1000000) == KILLS,
	    "mmap");
	check_values("fcntl", 1, 2048, fcntls, files ? 12 : 8, KILLS);
	check_values("prlimit64", 2, 64, no_limit, 1, KILLS);
	check_values("prctl", 0, 128, &name, 1, SECCOMP_RET_ERRNO | EINVAL);
	check_values("tgkill", 0, self + 100, &self, 1, KILLS);
	check_ioctl(files);
	check_socket();
	check_send();
	CHECK(verdict(number("clone"), 0, SIGCHLD) == KILLS, "clone");
	CHECK(verdict(number("clone"), 0, CLONE_VFORK | CLONE_VM | SIGCHLD) ==
		KILLS,
	    "clone, as vfork");
	CHECK(verdict(number("clone"), 0, CLONE_THREAD) ==
		(now_threads ? SECCOMP_RET_ALLOW : KILLS),
	    "clone of a thread");
}

/* ---- Landlock alone ------------------------------------------------------ */

static char dir[64];
static int outside = -1; /* "/", which no chroot hides */
static struct sockaddr_in tcp;
static struct sockaddr_un abstract;
static pid_t other; /* of their user */

static int
landlock_version(void)
{
	return (int)syscall(SYS_landlock_create_ruleset, NULL, 0,
	    LANDLOCK_CREATE_RULESET_VERSION);
}

static void
denied(const char *what, int rc)
{
	int error = errno;

	CHECK(rc == -1 && (error == EACCES || error == EPERM), "%s: %d, %s",
	    what, rc, rc == -1 ? strerror(error) : "done");
}

static void
check_files(void)
{
	int fd;

	denied("open", openat(outside, "etc/passwd", O_RDONLY | O_CLOEXEC));
	denied("list", openat(outside, "etc", O_RDONLY | O_DIRECTORY));
	denied("make",
	    openat(outside, "tmp/sail-walls", O_CREAT | O_WRONLY, 0600));
	denied("mkdir", mkdirat(outside, "tmp/sail-walls", 0700));
	denied("symlink", symlinkat("x", outside, "tmp/sail-walls"));
	denied("execute",
	    (int)syscall(SYS_execveat, outside, "bin/true", (char *[]){ NULL },
		(char *[]){ NULL }, 0));
	if (!sandbox_has_files(now_role)) {
		denied("open of its own folder", open("/", O_RDONLY));
		denied("make in it", open("/new", O_CREAT | O_WRONLY, 0600));
		return;
	}
	fd = open("/new", O_CREAT | O_RDWR, 0700);
	CHECK(fd != -1 && close(fd) == 0, "its own files");
	CHECK(rename("/new", "/moved") == 0 && truncate("/moved", 0) == 0,
	    "its own files");
	denied("execute of its own",
	    (int)syscall(SYS_execveat, AT_FDCWD, "/program", (char *[]){ NULL },
		(char *[]){ NULL }, 0));
	CHECK(unlink("/moved") == 0, "its own files");
}

static void
check_net(int version)
{
	struct sockaddr_in any = { .sin_family = AF_INET };
	int s;

	if (version >= 4) {
		s = socket(AF_INET, SOCK_STREAM, 0);
		denied("bind", bind(s, (struct sockaddr *)&any, sizeof(any)));
		if (now_role == ROLE_FETCH)
			CHECK(connect(s, (struct sockaddr *)&tcp,
				  sizeof(tcp)) == 0,
			    "connect: %s", strerror(errno));
		else
			denied("connect",
			    connect(s, (struct sockaddr *)&tcp, sizeof(tcp)));
		close(s);
	}
	if (version >= 6) {
		s = socket(AF_UNIX, SOCK_STREAM, 0);
		denied("connect to an abstract name",
		    connect(s, (struct sockaddr *)&abstract, sizeof(abstract)));
		close(s);
	}
}

/* ---- each role ----------------------------------------------------------- */

/* 1: with a user of its own, 2: as who runs sailvolctl; it keeps its root. */
static pid_t
start(uint8_t role, unsigned int flags, int user, void (*f)(void))
{
	pid_t pid = fork();
	int fd;

	if (pid != 0)
		return pid;
	now_role = role;
	now_threads = (flags & SANDBOX_THREADS) != 0;
	fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (user == 2 &&
	    (setresgid(GID, GID, GID) == -1 || setresuid(UID, UID, UID) == -1))
		_exit(2);
	sandbox_enter(role, fd, UID, GID, flags);
	f();
	_exit(0);
}

static void
finish(pid_t pid)
{
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void
test_filters(void **state)
{
	uint8_t role;

	(void)state;
	for (role = ROLE_FUSE; role <= ROLE_STORE; role++) {
		finish(start(role, 0, 1, check_filter));
		finish(start(role, SANDBOX_THREADS, 1, check_filter));
	}
	finish(start(ROLE_FETCH, SANDBOX_THREADS, 2, check_filter));
}

static void
check_landlock(void)
{
	int version = landlock_version();

	check_files();
	check_net(version);
	/* Of the same user, whom else nothing would stop. */
	if (version >= 6)
		denied("kill", kill(other, 0));
}

static void
test_landlock(void **state)
{
	uint8_t role;

	(void)state;
	if (landlock_version() < 1)
		skip();
	for (role = ROLE_FUSE; role <= ROLE_STORE; role++)
		finish(start(role, 0, 1, check_landlock));
	finish(start(ROLE_FETCH, SANDBOX_THREADS, 2, check_landlock));
}

/* ---- the filter in force ------------------------------------------------- */

static int listener = -1;
static int is_flagged; /* by sendmsg(2) */

/* A connection out of a listening socket, without connect(2). */
static void
connect_by_sending(void)
{
	struct iovec iov = { (char[]){ "x" }, 1 };
	struct msghdr m = { .msg_name = &tcp,
		.msg_namelen = sizeof(tcp),
		.msg_iov = &iov,
		.msg_iovlen = 1 };
	ssize_t n;

	CHECK(shutdown(listener, SHUT_RDWR) == 0, "shutdown");
	n = is_flagged ? sendmsg(listener, &m, MSG_FASTOPEN)
		       : sendto(listener, "x", 1, MSG_FASTOPEN,
			     (struct sockaddr *)&tcp, sizeof(tcp));
	CHECK(n == 1, "sent: %s", strerror(errno));
}

/* A name in the file system, by a pair. */
static void
send_to_a_name(void)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int sv[2] = { -1, -1 };

	strlcpy(sun.sun_path, "/datagrams", sizeof(sun.sun_path));
	CHECK(socketpair(AF_UNIX, SOCK_DGRAM, 0, sv) == 0, "socketpair");
	CHECK(sendto(sv[0], "x", 1, 0, (struct sockaddr *)&sun, sizeof(sun)) ==
		1,
	    "sent: %s", strerror(errno));
}

static int
ends(uint8_t role, void (*f)(void))
{
	int status;

	assert_true(waitpid(start(role, 0, 1, f), &status, 0) != -1);
	return status;
}

static void
dies(uint8_t role, void (*f)(void))
{
	int status;

	in_force = 1;
	status = ends(role, f);
	in_force = 0;
	if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGSYS)
		fail_msg("%s: %#x", role_name(role), (unsigned int)status);
}

static void
test_no_way_out(void **state)
{
	static const uint8_t with[] = { ROLE_METRICS, ROLE_TLS, ROLE_API,
		ROLE_STORE };
	struct sockaddr_in any = { .sin_family = AF_INET };
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	char fastopen[8] = "";
	size_t i;
	int fd, u, works;

	(void)state;
	fd = open("/proc/sys/net/ipv4/tcp_fastopen", O_RDONLY | O_CLOEXEC);
	works = read(fd, fastopen, sizeof(fastopen) - 1) > 0 &&
	    (strtol(fastopen, NULL, 10) & 1);
	close(fd);
	for (i = 0; i < 2 * sizeof(with); i++) {
		listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		assert_return_code(bind(listener, (struct sockaddr *)&any,
				       sizeof(any)),
		    errno);
		assert_return_code(listen(listener, 5), errno);
		is_flagged = i % 2;
		/* Without the filter it is a way. */
		if (works)
			assert_int_equal(ends(with[i / 2], connect_by_sending),
			    0);
		dies(with[i / 2], connect_by_sending);
		close(listener);
	}
	u = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	snprintf(sun.sun_path, sizeof(sun.sun_path), "%s/datagrams", dir);
	assert_return_code(bind(u, (struct sockaddr *)&sun, sizeof(sun)),
	    errno);
	assert_return_code(chmod(sun.sun_path, 0666), errno);
	assert_int_equal(ends(ROLE_FETCH, send_to_a_name), 0);
	dies(ROLE_FETCH, send_to_a_name);
	dies(ROLE_TLS, send_to_a_name);
	close(u);
}

/* ---- the place ------------------------------------------------------------ */

static int
setup_net(void)
{
	socklen_t len = sizeof(tcp);
	int s, u;

	tcp.sin_family = AF_INET;
	tcp.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (bind(s, (struct sockaddr *)&tcp, sizeof(tcp)) == -1 ||
	    listen(s, 64) == -1 ||
	    getsockname(s, (struct sockaddr *)&tcp, &len) == -1)
		return -1;
	abstract.sun_family = AF_UNIX;
	snprintf(abstract.sun_path + 1, sizeof(abstract.sun_path) - 1,
	    "sail-walls-%d", (int)getpid());
	u = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (bind(u, (struct sockaddr *)&abstract, sizeof(abstract)) == -1)
		return -1;
	return listen(u, 5);
}

static int
setup(void **state)
{
	char path[128];
	int fd;

	(void)state;
	strlcpy(dir, "/tmp/test_walls.XXXXXX", sizeof(dir));
	if (mkdtemp(dir) == NULL || chown(dir, UID, GID) == -1)
		return -1;
	snprintf(path, sizeof(path), "%s/program", dir);
	fd = open(path, O_CREAT | O_WRONLY, 0755);
	if (fd == -1 || write(fd, "#!/bin/sh\n", 10) != 10 || close(fd) == -1)
		return -1;
	outside = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if ((other = fork()) == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (setresuid(UID, UID, UID) == -1)
			_exit(1);
		for (;;)
			pause();
	}
	return outside == -1 || other == -1 ? -1 : setup_net();
}

static int
teardown(void **state)
{
	char cmd[128];

	(void)state;
	kill(other, SIGKILL);
	waitpid(other, NULL, 0);
	snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
	return system(cmd);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_filters),
		cmocka_unit_test(test_landlock),
		cmocka_unit_test(test_no_way_out),
	};

	if (geteuid() != 0) {
		printf("skipped: needs root\n");
		return 0;
	}
	return cmocka_run_group_tests(tests, setup, teardown);
}
