/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * proc_exec: how a role is executed: what it finds open, and where.  In the
 * parents, and between their fork(2) and execve(2).
 */
#ifndef LIB_PROC_EXEC_H
#define LIB_PROC_EXEC_H

#define ROLE_FD 3 /* where a role finds the channel to its parent */

/* A directory that has no name any more: nothing is in it, nothing can be.  -1
   and errno. */
int proc_empty_dir(void);
/* fd: the role's end of that channel.  Only what is safe in the child of a
   program with threads. */
_Noreturn void proc_exec(int fd, const char *path, char *const argv[],
    char *const envp[]);

#endif
