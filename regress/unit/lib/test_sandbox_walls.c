/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * The walls of each role, each alone: the filter lets through what its list
 * names, in the forms that it may have, and kills for every other number; and
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

int __wrap_seccomp_load(const scmp_filter_ctx);

static uint8_t now_role;
static int now_threads;
static struct sock_filter program[8192];
static size_t nprogram;

/* It is taken, and not put in force. */
int
__wrap_seccomp_load(const scmp_filter_ctx ctx)
{
	int fd = memfd_create("filter", 0);
	ssize_t n;

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

/* In some form, for some argument. */
static int
is_listed(int nr)
{
	static const char *const quietly[] = { "access", "faccessat",
		"faccessat2", "lstat", "open", "openat", "readlink",
		"readlinkat", "stat", "statx" };
	const char *const *calls;
	size_t i, n;

	calls = sandbox_calls(now_role, &n);
	for (i = 0; i < n; i++)
		if (number(calls[i]) == nr)
			return 1;
	calls = sandbox_thread_calls(&n);
	for (i = 0; now_threads && i < n; i++)
		if (number(calls[i]) == nr)
			return 1;
	if (now_threads && nr == number("clone3"))
		return 2;
	for (i = 0; i < sizeof(quietly) / sizeof(quietly[0]); i++)
		if (number(quietly[i]) == nr)
			return 2;
	return 0;
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

	for (nr = 0; nr < NUMBERS; nr++) {
		got = verdict(nr, 0, 0);
		if (is_limited(nr))
			continue;
		switch (is_listed(nr)) {
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

static void
check_socket(void)
{
	static const uint64_t unix_only[] = { AF_UNIX };
	int family;
	uint32_t got, want;

	for (family = 0; family < 64; family++) {
		got = verdict(number("socket"), 0, (uint64_t)family);
		want = KILLS;
		if (now_role == ROLE_FETCH &&
		    (family == AF_INET || family == AF_INET6))
			want = SECCOMP_RET_ALLOW;
		else if (now_role == ROLE_FETCH &&
		    (family == AF_UNIX || family == AF_NETLINK))
			want = SECCOMP_RET_ERRNO | EACCES;
		CHECK(got == want, "socket(%d): %#x", family, got);
	}
	check_values("socketpair", 0, 64, unix_only,
	    now_role == ROLE_FETCH || now_role == ROLE_TLS, KILLS);
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
	    listen(s, 5) == -1 ||
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
	};

	if (geteuid() != 0) {
		printf("skipped: needs root\n");
		return 0;
	}
	return cmocka_run_group_tests(tests, setup, teardown);
}
