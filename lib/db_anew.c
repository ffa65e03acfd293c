/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * db_anew: makes the log of an SQLite database durable after a sync that has failed.
 * In manifest and meta.
 *
 * A sync that has failed is forgotten: the kernel takes what it could not write for
 * clean, and says with the next sync that all is well.  SQLite's log has a hole on the
 * disk then, and recovery ends there, whatever was synced behind it; and a checkpoint
 * in the middle of which the power goes leaves half of itself, which nothing covers.
 */
#include <sys/stat.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <sqlite3.h>

#include "lib/db_anew.h"

#define SLICE ((size_t)1 << 20)
#define ALIGN ((size_t)4096) /* of O_DIRECT */

int
db_sync_failed(int rc)
{
	return rc == SQLITE_IOERR_FSYNC || rc == SQLITE_IOERR_DIR_FSYNC;
}

/* The file's descriptor, which stays open: with any that is closed all locks of the
   process would go that SQLite has there. */
static int
database_fd(const char *path)
{
	static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
	static int fd = -1;
	struct stat now, st;
	int found = -1;

	if (stat(path, &st) == -1)
		return -1;
	pthread_mutex_lock(&mutex);
	if (fd == -1 || fstat(fd, &now) == -1 || now.st_dev != st.st_dev ||
	    now.st_ino != st.st_ino)
		fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	found = fd;
	pthread_mutex_unlock(&mutex);
	return found;
}

/* Bytes of it that the buffer has; to a multiple of ALIGN zeros. */
static ssize_t
read_slice(int fd, uint8_t *buf, off_t at)
{
	size_t len = 0;
	ssize_t n;

	while (len < SLICE) {
		n = pread(fd, buf + len, SLICE - len, at + (off_t)len);
		if (n == -1 && errno == EINTR)
			continue;
		if (n == -1)
			return -1;
		if (n == 0)
			break;
		len += (size_t)n;
	}
	for (n = (ssize_t)len; (size_t)n % ALIGN != 0; n++)
		buf[n] = 0;
	return (ssize_t)len;
}

static int
write_slice(int fd, const uint8_t *buf, size_t len, off_t at)
{
	size_t done = 0;
	ssize_t n;

	while (done < len) {
		n = pwrite(fd, buf + done, len - done, at + (off_t)done);
		if (n == -1 && errno == EINTR)
			continue;
		if (n <= 0) {
			errno = n == 0 ? EIO : errno;
			return -1;
		}
		done += (size_t)n;
	}
	return 0;
}

/* All of the file, from what the kernel has of it, to where `to' leads: beside what
   the kernel has, then a whole block at the end. */
static int
rewrite(int fd, int to, uint8_t *buf)
{
	off_t at;
	ssize_t n;
	size_t len;
	int error;

	for (at = 0; (n = read_slice(fd, buf, at)) > 0; at += n) {
		len = (size_t)n;
		if (to != fd)
			len = (len + ALIGN - 1) / ALIGN * ALIGN;
		if (write_slice(to, buf, len, at) == -1) {
			error = errno;
			/* Nor does the kernel have it any more. */
			if (to != fd)
				(void)write_slice(fd, buf, (size_t)n, at);
			errno = error;
			return -1;
		}
		if ((size_t)n < SLICE)
			break;
	}
	return n == -1 ? -1 : fsync(to);
}

static int
log_anew(const char *path, uint8_t *buf)
{
	int fd, direct = -1, error = 0;

	if ((fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW)) == -1)
		return errno == ENOENT ? 0 : -1;
	/* It may say what was said to others; what is dirty goes first. */
	(void)fsync(fd);
	if (rewrite(fd, fd, buf) == -1)
		goto fail;
	/*
	 * The disk takes it again.  But blocks that were new when they could not be
	 * written are written ones to ext4 for as long as it has them in memory,
	 * and then read as zeros (6.18): what goes beside its memory makes them so.
	 */
	direct = open(path, O_RDWR | O_DIRECT | O_CLOEXEC | O_NOFOLLOW);
	if (direct == -1 && errno != EINVAL)
		goto fail;
	if (direct != -1 && rewrite(fd, direct, buf) == -1 &&
	    /* It has no such writes, or none so small: what it has taken counts. */
	    ((errno != EINVAL && errno != EOPNOTSUPP) || fsync(fd) == -1))
		goto fail;
	goto done;
fail:
	error = errno;
done:
	if (direct != -1)
		close(direct);
	close(fd);
	errno = error;
	return error == 0 ? 0 : -1;
}

int
db_anew(const char *path)
{
	uint8_t *buf;
	char *log = NULL;
	int fd, rc = -1, error;

	if ((buf = aligned_alloc(ALIGN, SLICE)) == NULL)
		return -1;
	if (asprintf(&log, "%s-wal", path) == -1) {
		free(buf);
		errno = ENOMEM;
		return -1;
	}
	rc = log_anew(log, buf);
	error = errno;
	/* A checkpoint writes its pages again: as if to new blocks, for the same
	   reason. */
	if (rc == 0 && (fd = database_fd(path)) != -1)
		(void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	free(log);
	free(buf);
	errno = error;
	return rc;
}
