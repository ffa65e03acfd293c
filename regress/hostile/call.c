/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * call PID NUMBER [ARGUMENT ...]: makes a running process make a system call, as
 * if somebody had taken it over, and prints what came of it: "returned N", or
 * "died by N".  An argument is a number, or ":" and a string that is put into the
 * process.
 * call PID take FD: stops it, says "stopped", waits for a line, makes it take the
 * descriptor that has come to its socket FD meanwhile, and prints "took N".
 */
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <elf.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ARGS 6
#define BELOW 65536 /* of the stack, where nobody looks */

#if defined(__x86_64__)
static const unsigned char instruction[] = { 0x0f, 0x05 };
#elif defined(__aarch64__)
static const unsigned char instruction[] = { 0x01, 0x00, 0x00, 0xd4 };
#else
static const unsigned char instruction[] = { 0 };
#endif

static pid_t pid;
static int mem;

/* Where in the process the instruction of a system call is. */
static unsigned long
find_instruction(void)
{
	static unsigned char code[16384];
	unsigned long from, to;
	char path[64], line[256];
	ssize_t n, i;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/maps", (int)pid);
	if ((f = fopen(path, "re")) == NULL)
		err(2, "%s", path);
	while (fgets(line, sizeof(line), f) != NULL) {
		if (strstr(line, "[vdso]") == NULL ||
		    sscanf(line, "%lx-%lx", &from, &to) != 2)
			continue;
		n = pread(mem, code,
		    to - from < sizeof(code) ? to - from : sizeof(code),
		    (off_t)from);
		for (i = 0; i + (ssize_t)sizeof(instruction) <= n; i++)
			if (memcmp(code + i, instruction,
				sizeof(instruction)) == 0) {
				fclose(f);
				return from + (unsigned long)i;
			}
	}
	errx(2, "pid %d: no system call in its vdso", (int)pid);
}

static void
set_call(struct user_regs_struct *r, unsigned long at, unsigned long nr,
    const unsigned long *a)
{
#if defined(__x86_64__)
	r->rip = at;
	r->rax = nr;
	r->orig_rax = (unsigned long)-1; /* nothing is to be made again */
	r->rdi = a[0];
	r->rsi = a[1];
	r->rdx = a[2];
	r->r10 = a[3];
	r->r8 = a[4];
	r->r9 = a[5];
#elif defined(__aarch64__)
	int i;

	r->pc = at;
	r->regs[8] = nr;
	for (i = 0; i < ARGS; i++)
		r->regs[i] = a[i];
#else
	(void)r;
	(void)at;
	(void)nr;
	(void)a;
	errx(77, "not for this processor");
#endif
}

static long
result(const struct user_regs_struct *r)
{
#if defined(__x86_64__)
	return (long)r->rax;
#elif defined(__aarch64__)
	return (long)r->regs[0];
#else
	(void)r;
	return -1;
#endif
}

static unsigned long
stack_of(const struct user_regs_struct *r)
{
#if defined(__x86_64__)
	return r->rsp;
#elif defined(__aarch64__)
	return r->sp;
#else
	(void)r;
	return 0;
#endif
}

static void
registers(int set, struct user_regs_struct *r)
{
	struct iovec iov = { r, sizeof(*r) };

	if (ptrace(set ? PTRACE_SETREGSET : PTRACE_GETREGSET, pid, NT_PRSTATUS,
		&iov) == -1)
		err(2, "pid %d: registers", (int)pid);
}

/* Its signal when it is dead; 0: it stands still. */
static int
await(void)
{
	int status, forbidden = 0;

	for (;;) {
		if (waitpid(pid, &status, __WALL) != pid)
			err(2, "waitpid");
		if (WIFSIGNALED(status))
			return WTERMSIG(status);
		if (WIFEXITED(status))
			return 255;
		/* A build that says which call it was before it dies. */
		forbidden |= WSTOPSIG(status) == SIGSYS;
		if (!forbidden)
			return 0;
		/* The trap of the single step is none of its own. */
		if (ptrace(PTRACE_CONT, pid, 0,
			WSTOPSIG(status) == SIGTRAP ? 0 : WSTOPSIG(status)) ==
		    -1)
			err(2, "pid %d", (int)pid);
	}
}

/* ---- a descriptor -------------------------------------------------------- */

/* For recvmsg(2), in the process: its pointers are those of there. */
struct take {
	struct msghdr m;
	struct iovec iov;
	char byte;
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control;
};

static void
take_put(unsigned long room)
{
	struct take t = { .iov = { NULL, 1 } };

	t.iov.iov_base = (void *)(room + offsetof(struct take, byte));
	t.m.msg_iov = (void *)(room + offsetof(struct take, iov));
	t.m.msg_iovlen = 1;
	t.m.msg_control = (void *)(room + offsetof(struct take, control));
	t.m.msg_controllen = sizeof(t.control);
	if (pwrite(mem, &t, sizeof(t), (off_t)room) != sizeof(t))
		err(2, "memory");
}

static int
taken(unsigned long room)
{
	struct take t;
	int fd;

	if (pread(mem, &t, sizeof(t), (off_t)room) != sizeof(t) ||
	    t.control.header.cmsg_type != SCM_RIGHTS)
		errx(2, "no descriptor came");
	memcpy(&fd, t.control.bytes + CMSG_LEN(0), sizeof(fd));
	return fd;
}

int
main(int argc, char **argv)
{
	struct user_regs_struct old, new;
	unsigned long a[ARGS] = { 0 }, room, nr;
	int takes = argc > 2 && strcmp(argv[2], "take") == 0, i, sig;
	char path[64];

	if (argc < 3 || argc > 3 + ARGS)
		errx(2, "usage: call pid number [argument ...]");
	pid = (pid_t)strtol(argv[1], NULL, 10);
	if (ptrace(PTRACE_SEIZE, pid, 0, 0) == -1 ||
	    ptrace(PTRACE_INTERRUPT, pid, 0, 0) == -1)
		err(2, "pid %d", (int)pid);
	if ((sig = await()) != 0)
		errx(2, "pid %d died by %d before its call", (int)pid, sig);
	snprintf(path, sizeof(path), "/proc/%d/mem", (int)pid);
	if ((mem = open(path, O_RDWR | O_CLOEXEC)) == -1)
		err(2, "%s", path);
	registers(0, &old);
	room = stack_of(&old) - BELOW;
	for (i = 3; i < argc; i++) {
		if (argv[i][0] != ':') {
			a[i - 3] = strtoul(argv[i], NULL, 0);
			continue;
		}
		a[i - 3] = room;
		if (pwrite(mem, argv[i] + 1, strlen(argv[i]), (off_t)room) ==
		    -1)
			err(2, "%s", path);
		room += 4096;
	}
	nr = strtoul(argv[2], NULL, 0);
	if (takes) {
		nr = SYS_recvmsg;
		a[1] = room;
		a[2] = MSG_DONTWAIT | MSG_CMSG_CLOEXEC;
		take_put(room);
		puts("stopped");
		fflush(stdout);
		(void)getchar();
	}
	new = old;
	set_call(&new, find_instruction(), nr, a);
	registers(1, &new);
	if (ptrace(PTRACE_SINGLESTEP, pid, 0, 0) == -1)
		err(2, "pid %d", (int)pid);
	if ((sig = await()) != 0) {
		printf("died by %d\n", sig);
		return 0;
	}
	registers(0, &new);
	registers(1, &old);
	if (ptrace(PTRACE_DETACH, pid, 0, 0) == -1)
		err(2, "detach");
	if (takes && result(&new) == 1)
		printf("took %d\n", taken(room));
	else
		printf("returned %ld\n", result(&new));
	return 0;
}
