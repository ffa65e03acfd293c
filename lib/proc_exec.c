/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * proc_exec: how a role is executed.  In the parents.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "lib/log.h"
#include "lib/proc_exec.h"

int
proc_empty_dir(void)
{
	char run[] = "/run/sail.XXXXXXXXXX", tmp[] = "/tmp/sail.XXXXXXXXXX";
	const char *path = run;
	int fd;

	/* /run is root's; a tool of a user has /tmp. */
	if (mkdtemp(run) == NULL) {
		path = tmp;
		if (mkdtemp(tmp) == NULL)
			return -1;
	}
	fd = open(path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (rmdir(path) == -1)
		log_warn("%s", path);
	return fd;
}

_Noreturn void
proc_exec(int fd, const char *path, char *const argv[], char *const envp[])
{
	sigset_t none;
	int null;

	if (fd == ROLE_FD) {
		if (fcntl(fd, F_SETFD, 0) == -1)
			_exit(127);
	} else if (dup2(fd, ROLE_FD) == -1)
		_exit(127);
	if ((null = open("/dev/null", O_RDWR | O_CLOEXEC)) == -1 ||
	    dup2(null, 0) == -1 || dup2(null, 1) == -1)
		_exit(127);
#ifndef __SANITIZE_ADDRESS__
	/* A sanitizer's report must be seen. */
	if (dup2(null, 2) == -1)
		_exit(127);
#endif
	if (close_range(ROLE_FD + 1, ~0U, 0) == -1)
		_exit(127);
	/* An interrupt typed at the terminal is the parent's to decide. */
	setsid();
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	execve(path, argv, envp);
	_exit(127);
}
