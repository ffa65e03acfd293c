/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * transfer: bytes of files, read, written and hashed at their place.  In
 * sailvol-fetch, mostly in its threads.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lib/log.h"
#include "sailvol-fetch/ops.h"

#define NO_ROOM 507 /* RFC 4918, 11.5: Insufficient Storage */

/* A thread's own, for hashing. */
static __thread uint8_t scratch[READ_STEP];

int
read_at(int fd, void *buf, size_t n, uint64_t offset)
{
	uint8_t *p = buf;
	ssize_t r;

	while (n > 0) {
		r = pread(fd, p, n, (off_t)offset);
		if (r == -1 && errno == EINTR)
			continue;
		if (r == 0)
			errno = ENODATA;
		if (r <= 0)
			return -1;
		p += r;
		offset += (uint64_t)r;
		n -= (size_t)r;
	}
	return 0;
}

int
write_at(int fd, const void *buf, size_t n, uint64_t offset)
{
	const uint8_t *p = buf;
	ssize_t w;

	while (n > 0) {
		w = pwrite(fd, p, n, (off_t)offset);
		if (w == -1 && errno == EINTR)
			continue;
		if (w <= 0) {
			if (w == 0)
				errno = EIO;
			return -1;
		}
		p += w;
		offset += (uint64_t)w;
		n -= (size_t)w;
	}
	return 0;
}

int
hash_range(int fd, uint64_t offset, uint64_t bytes, struct hash *h)
{
	struct hash_ctx *c;
	size_t n;
	int rc = 0;

	if (bytes <= READ_STEP) {
		if (read_at(fd, scratch, (size_t)bytes, offset) == -1)
			return -1;
		hash_bytes(h, scratch, (size_t)bytes);
		return 0;
	}
	if ((c = hash_begin()) == NULL)
		return -1;
	for (; bytes > 0 && rc == 0; bytes -= n, offset += n) {
		n = bytes < READ_STEP ? (size_t)bytes : READ_STEP;
		if ((rc = read_at(fd, scratch, n, offset)) == 0)
			hash_update(c, scratch, n);
	}
	n = (size_t)errno;
	hash_end(c, h);
	errno = (int)n;
	return rc;
}

int
range_is_zero(int fd, uint64_t offset, uint64_t bytes)
{
	size_t n;

	for (; bytes > 0; bytes -= n, offset += n) {
		n = bytes < READ_STEP ? (size_t)bytes : READ_STEP;
		if (read_at(fd, scratch, n, offset) == -1)
			return -1;
		/* Each byte is the one before, and the first is zero. */
		if (scratch[0] != 0 || memcmp(scratch, scratch + 1, n - 1) != 0)
			return 0;
	}
	return 1;
}

uint64_t
next_data(int fd, uint64_t offset, uint64_t size)
{
	off_t at;

	if ((at = lseek(fd, (off_t)offset, SEEK_DATA)) == -1)
		/* Of a file system that cannot tell, all is data. */
		return errno == ENXIO ? size : offset;
	return (uint64_t)at < size ? (uint64_t)at : size;
}

int
result_errno(const struct http_result *r)
{
	return r->status == 0 ? r->error : http_errno(r->status);
}

void
result_what(const struct http_result *r, const char *who, char *buf,
    size_t size)
{
	if (r->status == 0)
		snprintf(buf, size, "%s: %s", who, r->what);
	else
		snprintf(buf, size, "%s answered %u%s", who, r->status,
		    r->status == NO_ROOM ? ": it has no room" : "");
}

void
op_lost(const char *what)
{
	log_warn("%s: answer", what);
}
