/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * journal_kill PID TYPE before|after: kills a fuse process of sailvold(8) when
 * it writes a record of that type (sailvold/record.h) into its journal: before
 * the write is done, or when it was done and nothing else yet.  Prints "armed"
 * when it watches, and "killed".
 */
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <err.h>
#include <fcntl.h>
#include <linux/ptrace.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static pid_t pid;
static int mem;

static int
is_journal(uint64_t fd)
{
	char link[64], path[4096];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/%d/fd/%llu", (int)pid,
	    (unsigned long long)fd);
	if ((n = readlink(link, path, sizeof(path) - 1)) == -1)
		return 0;
	path[n] = '\0';
	return strstr(path, "/journal/") != NULL;
}

/* u32 length of what follows but the CRC, u8 type. */
static int
has_type(uint64_t at, uint64_t len, int type)
{
	uint8_t front[5];
	uint64_t end = at + len;

	while (at + sizeof(front) <= end) {
		if (pread(mem, front, sizeof(front), (off_t)at) !=
		    (ssize_t)sizeof(front))
			err(2, "memory");
		if (front[4] == type)
			return 1;
		at += 8 +
		    ((uint32_t)front[0] | (uint32_t)front[1] << 8 |
			(uint32_t)front[2] << 16 | (uint32_t)front[3] << 24);
	}
	return 0;
}

int
main(int argc, char **argv)
{
	struct ptrace_syscall_info info;
	int status, type, after, found = 0;
	char path[64];

	if (argc != 4)
		errx(2, "usage: journal_kill pid type before|after");
	pid = (pid_t)strtol(argv[1], NULL, 10);
	type = (int)strtol(argv[2], NULL, 10);
	after = strcmp(argv[3], "after") == 0;
	if (ptrace(PTRACE_SEIZE, pid, 0, PTRACE_O_TRACESYSGOOD) == -1 ||
	    ptrace(PTRACE_INTERRUPT, pid, 0, 0) == -1)
		err(2, "pid %d", (int)pid);
	snprintf(path, sizeof(path), "/proc/%d/mem", (int)pid);
	if ((mem = open(path, O_RDONLY | O_CLOEXEC)) == -1)
		err(2, "%s", path);
	if (waitpid(pid, &status, __WALL) != pid || !WIFSTOPPED(status))
		errx(2, "pid %d is gone", (int)pid);
	puts("armed");
	fflush(stdout);
	for (;;) {
		if (ptrace(PTRACE_SYSCALL, pid, 0, 0) == -1)
			err(2, "pid %d", (int)pid);
		if (waitpid(pid, &status, __WALL) != pid || !WIFSTOPPED(status))
			errx(2, "pid %d is gone", (int)pid);
		if (WSTOPSIG(status) != (SIGTRAP | 0x80) ||
		    ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof(info), &info) ==
			-1)
			continue;
		if (info.op == PTRACE_SYSCALL_INFO_ENTRY)
			found = info.entry.nr == SYS_write &&
			    is_journal(info.entry.args[0]) &&
			    has_type(info.entry.args[1], info.entry.args[2],
				type);
		if (found && after == (info.op == PTRACE_SYSCALL_INFO_EXIT))
			break;
	}
	if (kill(pid, SIGKILL) == -1)
		err(2, "kill");
	while (waitpid(pid, &status, __WALL) == pid && !WIFSIGNALED(status))
		;
	puts("killed");
	return 0;
}
