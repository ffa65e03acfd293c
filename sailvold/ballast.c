/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * ballast: see ballast.h.  In manifest.
 */
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "lib/log.h"
#include "sailvold/ballast.h"

/* Enough for the rows of some ten thousand changes; less on a small disk. */
#define BALLAST ((off_t)8 << 20)
#define SHARE 32 /* of the disk, at most */
/* As much more is to be free when it is taken again. */
#define TIMES 4
#define BLOCK 512 /* of stat(2) */

static int fd = -1;

void
ballast_open(const char *path)
{
	if ((fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC,
		 0600)) == -1)
		log_warn("ballast");
	else
		ballast_keep();
}

void
ballast_keep(void)
{
	struct statvfs v;
	struct stat st;
	off_t size, unit;

	if (fd == -1 || fstat(fd, &st) == -1 || st.st_blocks > 0 ||
	    fstatvfs(fd, &v) == -1)
		return;
	unit = (off_t)v.f_frsize;
	size = (off_t)v.f_blocks / SHARE * unit;
	if (size > BALLAST)
		size = BALLAST;
	if (size == 0 || (off_t)v.f_bavail * unit < (TIMES + 1) * size)
		return;
	if (fallocate(fd, 0, 0, size) == -1) {
		if (errno != EOPNOTSUPP)
			log_warn("ballast");
		(void)ftruncate(fd, 0);
	}
}

void
ballast_drop(void)
{
	struct stat st;

	if (fd == -1 || fstat(fd, &st) == -1 || st.st_blocks == 0)
		return;
	if (ftruncate(fd, 0) == -1)
		log_warn("ballast");
	else
		log_warnx("the database has no room: %lld bytes that were kept "
			  "for that are given up",
		    (long long)st.st_blocks * BLOCK);
}
