/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * mount_helper: sailvolctl under the names that mount(8) and umount(8) look for:
 * mount.sailvol and umount.fuse.sailvol (mount.sailvol(8)).  In sailvolctl.
 */
#ifndef SAILVOLCTL_MOUNT_HELPER_H
#define SAILVOLCTL_MOUNT_HELPER_H

#include <stddef.h>

#include "sailvolctl/output.h"

/* Exit statuses of mount(8). */
#define MOUNT_EX_USAGE 1 /* or not permitted */
#define MOUNT_EX_SYSERR 2
#define MOUNT_EX_FAIL 32

/* What -o says; strings point into the argument, which is cut up. */
struct mount_options {
	int readonly, noexec, create, commit_on_umount, netdev;
	const char *commit, *uids, *socket; /* NULL: not there */
};
/*
 * Options with commas between; sloppy: those that are not known are passed over.
 * 0, or -1 after a message in why.
 */
int mount_options_parse(struct mount_options *, char *text, int sloppy,
    char *why, size_t size);

/* 1 when a program of that path is meant to be one of the two. */
int mount_helper_named(const char *path);
/* An exit status; what is to be said was said. */
int mount_helper(int argc, char **argv);

#endif
