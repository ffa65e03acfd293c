/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * journal_kill PID WHAT before|after|stop: kills a fuse process of sailvold(8) at
 * one system call: where WHAT is a number, when it writes a record of that type
 * (sailvold/record.h) into its journal, "name": of any that makes, moves or
 * removes one; where it is "fdatasync", when one of its threads syncs a segment of
 * that; where it is "getrandom", at that call; else when it first does anything with
 * the file of memory (memfd_create(2)) of that name.  before: the call is not done;
 * after: it is, and nothing else yet; stop: the same, and it is not killed, but
 * stopped.  Prints "armed" when it watches, then "killed" or "stopped".
 */
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <dirent.h>
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

#include "sailvold/record.h"

static pid_t pid;
static int mem;

/* Whether that is in the path of what is open. */
static int
is_open(uint64_t fd, const char *part)
{
	char link[64], path[4096];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/%d/fd/%llu", (int)pid,
	    (unsigned long long)fd);
	if ((n = readlink(link, path, sizeof(path) - 1)) == -1)
		return 0;
	path[n] = '\0';
	return strstr(path, part) != NULL;
}

/* u32 length of what follows but the CRC, u8 type. */
static int
has_type(uint64_t at, uint64_t len, int first, int last)
{
	uint8_t front[5];
	uint64_t end = at + len;

	while (at + sizeof(front) <= end) {
		if (pread(mem, front, sizeof(front), (off_t)at) !=
		    (ssize_t)sizeof(front))
			err(2, "memory");
		if (front[4] >= first && front[4] <= last)
			return 1;
		at += 8 +
		    ((uint32_t)front[0] | (uint32_t)front[1] << 8 |
			(uint32_t)front[2] << 16 | (uint32_t)front[3] << 24);
	}
	return 0;
}

static int
is_the_call(const struct ptrace_syscall_info *info, const char *what)
{
	int first = (int)strtol(what, NULL, 10), last = first;
	char memory[64];

	if (strcmp(what, "name") == 0) {
		first = RECORD_MAKE;
		last = RECORD_RENAME;
	}
	if (strcmp(what, "getrandom") == 0)
		return info->entry.nr == SYS_getrandom;
	if (strcmp(what, "fdatasync") == 0)
		return info->entry.nr == SYS_fdatasync &&
		    is_open(info->entry.args[0], "/journal/");
	if (first == 0) {
		snprintf(memory, sizeof(memory), "/memfd:%s ", what);
		return is_open(info->entry.args[0], memory);
	}
	return info->entry.nr == SYS_write &&
	    is_open(info->entry.args[0], "/journal/") &&
	    has_type(info->entry.args[1], info->entry.args[2], first, last);
}

static void
resume(pid_t tid)
{
	if (ptrace(PTRACE_SYSCALL, tid, 0, 0) == -1)
		err(2, "pid %d", (int)tid);
}

static void
seize(pid_t tid)
{
	int status;

	if (ptrace(PTRACE_SEIZE, tid, 0, PTRACE_O_TRACESYSGOOD) == -1 ||
	    ptrace(PTRACE_INTERRUPT, tid, 0, 0) == -1)
		err(2, "pid %d", (int)tid);
	if (waitpid(tid, &status, __WALL) != tid || !WIFSTOPPED(status))
		errx(2, "pid %d is gone", (int)tid);
}

/* Its threads but the first, which goes on last. */
static void
seize_threads(void)
{
	struct dirent *e;
	char path[64];
	pid_t tid;
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	if ((d = opendir(path)) == NULL)
		err(2, "%s", path);
	while ((e = readdir(d)) != NULL) {
		tid = (pid_t)strtol(e->d_name, NULL, 10);
		if (tid == 0 || tid == pid)
			continue;
		seize(tid);
		resume(tid);
	}
	closedir(d);
}

int
main(int argc, char **argv)
{
	pid_t tid, found_tid = 0;
	struct ptrace_syscall_info info;
	int status, stop, after;
	char path[64];

	if (argc != 4)
		errx(2, "usage: journal_kill pid what before|after|stop");
	pid = (pid_t)strtol(argv[1], NULL, 10);
	stop = strcmp(argv[3], "stop") == 0;
	after = stop || strcmp(argv[3], "after") == 0;
	seize(pid);
	if (strcmp(argv[2], "fdatasync") == 0)
		seize_threads();
	snprintf(path, sizeof(path), "/proc/%d/mem", (int)pid);
	if ((mem = open(path, O_RDONLY | O_CLOEXEC)) == -1)
		err(2, "%s", path);
	puts("armed");
	fflush(stdout);
	for (tid = pid;;) {
		resume(tid);
		if ((tid = waitpid(-1, &status, __WALL)) == -1 ||
		    !WIFSTOPPED(status))
			errx(2, "pid %d is gone", (int)pid);
		if (WSTOPSIG(status) != (SIGTRAP | 0x80) ||
		    ptrace(PTRACE_GET_SYSCALL_INFO, tid, sizeof(info), &info) ==
			-1)
			continue;
		if (info.op == PTRACE_SYSCALL_INFO_ENTRY &&
		    is_the_call(&info, argv[2]))
			found_tid = tid;
		if (found_tid == tid &&
		    after == (info.op == PTRACE_SYSCALL_INFO_EXIT))
			break;
	}
	if (kill(pid, stop ? SIGSTOP : SIGKILL) == -1)
		err(2, "kill");
	if (stop) {
		if (ptrace(PTRACE_DETACH, tid, 0, 0) == -1)
			err(2, "pid %d", (int)tid);
		puts("stopped");
		return 0;
	}
	while ((tid = waitpid(-1, &status, __WALL)) != -1 &&
	    (tid != pid || !WIFSIGNALED(status)))
		;
	puts("killed");
	return 0;
}
