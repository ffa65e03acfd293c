/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * journal_mark: files beside the segments of a journal, which say what a loss of
 * power may have left of these.  In fuse.
 */
#include <sys/stat.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/bytes.h"
#include "lib/hash.h"
#include "lib/log.h"
#include "sailvold/journal_mark.h"

/* The offset, and the CRC-32C of that. */
#define MARK_LEN (8 + 4)

int
mark_is_there(int dir, const char *name)
{
	struct stat st;

	return fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 ||
	    errno != ENOENT;
}

static int
mark_open(int dir, const char *name)
{
	return openat(dir, name, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW,
	    0600);
}

int
mark_make(int dir, const char *name)
{
	int fd = mark_open(dir, name);

	if (fd == -1)
		return errno;
	close(fd);
	return fsync(dir) == -1 ? errno : 0;
}

int
mark_write(int dir, const char *name, uint64_t offset)
{
	int fd = mark_open(dir, name), error = 0;
	struct wbuf w;

	if (fd == -1)
		return errno;
	wbuf_init(&w, MARK_LEN);
	wbuf_u64(&w, offset);
	wbuf_u32(&w, crc32c(0, w.data, w.len));
	if ((w.error != 0 ||
		pwrite(fd, w.data, w.len, 0) != (ssize_t)MARK_LEN) &&
	    ftruncate(fd, 0) == -1)
		error = errno;
	wbuf_free(&w);
	close(fd);
	return error;
}

uint64_t
mark_read(int dir, const char *name)
{
	uint8_t p[MARK_LEN + 1];
	uint64_t offset;
	struct rbuf r;
	ssize_t n;
	int fd;

	fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd == -1)
		return 0;
	n = pread(fd, p, sizeof(p), 0);
	close(fd);
	if (n != MARK_LEN)
		return 0;
	rbuf_init(&r, p, MARK_LEN);
	offset = rbuf_u64(&r);
	return rbuf_u32(&r) == crc32c(0, p, 8) ? offset : 0;
}

uint8_t *
mark_segment_read(int fd, off_t size)
{
	size_t len = (size_t)size, done = 0;
	ssize_t n;
	uint8_t *p;

	if ((p = malloc(len)) == NULL)
		return NULL;
	while (done < len) {
		n = pread(fd, p + done, len - done, (off_t)done);
		if (n == -1 && errno == EINTR)
			continue;
		if (n <= 0) {
			free(p);
			errno = EIO;
			return NULL;
		}
		done += (size_t)n;
	}
	return p;
}

/* How many there are, and the first in order. */
static unsigned int
count(DIR *d, const char *begin, char first[NAME_MAX + 1])
{
	struct dirent *e;
	unsigned int n = 0;

	rewinddir(d);
	while ((e = readdir(d)) != NULL) {
		if (strncmp(e->d_name, begin, strlen(begin)) != 0)
			continue;
		if (n++ == 0 || strcmp(e->d_name, first) < 0)
			strlcpy(first, e->d_name, NAME_MAX + 1);
	}
	return n;
}

void
mark_keep_last(int dir, const char *begin, unsigned int most)
{
	char first[NAME_MAX + 1];
	DIR *d;
	int fd;

	if ((fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)) == -1)
		return;
	if ((d = fdopendir(fd)) == NULL) {
		close(fd);
		return;
	}
	while (count(d, begin, first) > most) {
		if (unlinkat(dir, first, 0) == -1) {
			log_warn("journal: %s", first);
			break;
		}
		log_warnx("journal: %s: removed: there are younger ones",
		    first);
	}
	closedir(d);
}

int
mark_open_flag(int dir, const char *name, int *is_set)
{
	uint8_t byte = 0;
	ssize_t n;
	int fd, error;

	fd = openat(dir, name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd == -1) {
		error = errno;
		*is_set = mark_is_there(dir, name);
		errno = error;
		return -1;
	}
	n = pread(fd, &byte, 1, 0);
	*is_set = n == -1 || byte != 0;
	/* So that there is room later. */
	if (n == 0 && (error = mark_set(fd, 0)) != 0) {
		close(fd);
		errno = error;
		return -1;
	}
	return fd;
}

int
mark_set(int fd, int on)
{
	uint8_t byte = on != 0;
	ssize_t n = pwrite(fd, &byte, 1, 0);

	if (n == 1)
		return 0;
	return n == -1 ? errno : ENOSPC;
}
