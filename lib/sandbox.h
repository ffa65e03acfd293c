/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * sandbox: how a role drops what it does not need, and the array of system
 * calls that each role may make.  In every role, once.
 */
#ifndef LIB_SANDBOX_H
#define LIB_SANDBOX_H

#include <sys/types.h>
#include <stddef.h>
#include <stdint.h>

#define SANDBOX_THREADS 0x1 /* may make threads */

/*
 * In this order: chroot to dirfd, chdir("/"), setgroups, setresgid, setresuid,
 * limits, not dumpable, no_new_privs, Landlock where the kernel has it, seccomp
 * filter of the role; then it proves to itself that it is not root, has no
 * capability and cannot get root back.  Anything that fails is fatal: in force,
 * or the process does not start.  Who is not root keeps user and root directory.
 */
void sandbox_enter(uint8_t role, int dirfd, uid_t uid, gid_t gid,
    unsigned int flags);

#define SANDBOX_STATUS_BYTES 64
/* What is in force here, for status: "chroot,uid,nnp,landlock,seccomp". */
const char *sandbox_status(void);

/*
 * The names of the calls that a role may make, sorted, without threads'; valid
 * until the next call.  The table is in sandbox_calls.c.
 */
const char *const *sandbox_calls(uint8_t role, size_t *n);

#endif
