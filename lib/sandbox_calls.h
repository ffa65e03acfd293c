/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * sandbox_calls: between sandbox.c and the table of system calls; and for its
 * test.  In the roles.
 */
#ifndef LIB_SANDBOX_CALLS_H
#define LIB_SANDBOX_CALLS_H

#include <stddef.h>
#include <stdint.h>

struct sandbox_group {
	const char *who;          /* needs it */
	const char *const *names; /* sorted by strcmp(3) */
	size_t n;
};

size_t sandbox_ngroups(void);
const struct sandbox_group *sandbox_group(size_t i);
/* 1: the role has a directory, and may open what is in it. */
int sandbox_has_files(uint8_t role);
/* What SANDBOX_THREADS adds. */
const char *const *sandbox_thread_calls(size_t *n);

#endif
