/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * mountinfo: the kernel's list of mounts, /proc/self/mountinfo (proc(5)).  In
 * sailvolctl.
 */
#ifndef SAILVOLCTL_MOUNTINFO_H
#define SAILVOLCTL_MOUNTINFO_H

#include <stdint.h>

#define MOUNTINFO_TYPE "fuse.sailvol"

struct mountinfo {
	uint64_t id;
	char *root, *point, *type, *source;
};
/* One line, cut up in place of a copy.  -1 and errno (EBADMSG, ENOMEM). */
int mountinfo_parse(const char *line, struct mountinfo *);
void mountinfo_free(struct mountinfo *);
/* 1 found (end with mountinfo_free), 0 not in the list, -1 no list. */
int mountinfo_by_id(uint64_t id, struct mountinfo *);
/*
 * The longest mount point of MOUNTINFO_TYPE that is a prefix of the absolute
 * path, for free(3).  1, 0, -1 as above.
 */
int mountinfo_longest(const char *path, char **point);

#endif
