/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * writers: the kernel gives a read lease only on a file that nobody has open or
 * mapped for writing.  In sailvolctl.
 */
#include <sys/stat.h>
#include <sys/vfs.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <signal.h>

#include "lib/monotime.h"
#include "sailvolctl/writers.h"

/* A ctime younger than this may hide a change: of the same tick of the clock. */
#define TICK_NS 20000000

/* Of them the few pages are read in one piece. */
#define SMALL_BYTES 65536

/*
 * A store into a new mapping moves ctime, and each mapping keeps the inode open
 * for writing.  Not so a store on tmpfs; and a mapping on overlayfs, or on FUSE
 * with passthrough, is of a file below, and only that is open.
 */
static int
fs_shows(int fd)
{
	struct statfs fs;
	struct stat st;

	if (fstatfs(fd, &fs) == -1)
		return 0;
	switch ((unsigned long)fs.f_type) {
	case BTRFS_SUPER_MAGIC:
	case EXT4_SUPER_MAGIC:
	case F2FS_SUPER_MAGIC:
	case XFS_SUPER_MAGIC:
		return 1;
	case TMPFS_MAGIC:
		/* Who comes while such a one is read is there afterwards. */
		return fstat(fd, &st) == 0 && st.st_size <= SMALL_BYTES;
	default:
		return 0;
	}
}

static int
is_young(const struct timespec *ctime)
{
	struct timens then = timens_now();

	if (then.nsec < TICK_NS) {
		then.sec--;
		then.nsec += 1000000000;
	}
	then.nsec -= TICK_NS;
	return timens_cmp(timens_of(*ctime), then) > 0;
}

/* Who opens it in between waits until its end. */
static int
lease_refused(int fd)
{
	/* It comes to who has a lease when another opens the file. */
	if (signal(SIGIO, SIG_IGN) == SIG_ERR ||
	    fcntl(fd, F_SETLEASE, F_RDLCK) == -1)
		return errno;
	(void)fcntl(fd, F_SETLEASE, F_UNLCK);
	return 0;
}

enum writers
writers_of(int fd, const struct timespec *ctime)
{
	int error = lease_refused(fd);

	if (error == EAGAIN)
		return WRITERS_SOME;
	return error == 0 && fs_shows(fd) && !is_young(ctime) ? WRITERS_NONE
							      : WRITERS_DOUBT;
}

int
writers_came(int fd)
{
	return lease_refused(fd) != 0;
}
