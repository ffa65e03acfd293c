/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * memfd: makes sealed memory files, and reads those of others without
 * trusting them.  In every process.
 */
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <linux/magic.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/memfd.h"

#define SEALS (F_SEAL_SHRINK | F_SEAL_WRITE)
/* Up to here a copy costs less than a mapping and its end. */
#define COPY_MAX (32 * 1024)

int
memfd_empty(const char *name)
{
	return memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
}

int
memfd_seal(int fd)
{
	return fcntl(fd, F_ADD_SEALS, SEALS | F_SEAL_GROW | F_SEAL_SEAL) == -1
	    ? -1
	    : 0;
}

int
memfd_new(const char *name, const void *data, size_t len)
{
	const uint8_t *p = data;
	size_t done = 0;
	ssize_t n;
	int fd, saved;

	if ((fd = memfd_empty(name)) == -1)
		return -1;
	while (done < len) {
		n = pwrite(fd, p + done, len - done, (off_t)done);
		if (n == -1 && errno == EINTR)
			continue;
		if (n == -1)
			goto fail;
		done += (size_t)n;
	}
	if (memfd_seal(fd) == -1)
		goto fail;
	return fd;

fail:
	saved = errno;
	close(fd);
	errno = saved;
	return -1;
}

/*
 * Only of a sealed file of memory: another's pages could be taken away or
 * changed under the reader.
 */
int
memfd_is_sealed(int fd)
{
	struct statfs fs;
	int seals;

	if (fstatfs(fd, &fs) == -1 || fs.f_type != TMPFS_MAGIC)
		return 0;
	seals = fcntl(fd, F_GET_SEALS);
	return seals != -1 && (seals & SEALS) == SEALS;
}

static int
copy(int fd, size_t len, struct memfd_view *v)
{
	uint8_t *p;
	size_t done = 0;
	ssize_t n;

	if ((p = malloc(len)) == NULL)
		return -1;
	while (done < len) {
		n = pread(fd, p + done, len - done, (off_t)done);
		if (n == -1 && errno == EINTR)
			continue;
		if (n <= 0) {
			/* Not open for reading, or made shorter meanwhile. */
			if (n == 0 || errno == EBADF)
				errno = EBADMSG;
			goto fail;
		}
		done += (size_t)n;
	}
	v->data = p;
	v->len = len;
	return 0;

fail:
	free(p);
	return -1;
}

int
memfd_map(int fd, size_t max, struct memfd_view *v)
{
	struct stat st;
	size_t len;
	void *p;

	memset(v, 0, sizeof(*v));
	if (fstat(fd, &st) == -1)
		return -1;
	if (!S_ISREG(st.st_mode)) {
		errno = EBADMSG;
		return -1;
	}
	if (st.st_size < 0 || (uintmax_t)st.st_size > max) {
		errno = EFBIG;
		return -1;
	}
	if ((len = (size_t)st.st_size) == 0) {
		v->data = (const uint8_t *)"";
		return 0;
	}
	if (len <= COPY_MAX || !memfd_is_sealed(fd))
		return copy(fd, len, v);
	p = mmap(NULL, len, PROT_READ, MAP_PRIVATE, fd, 0);
	if (p == MAP_FAILED)
		return copy(fd, len, v);
	v->data = p;
	v->len = len;
	v->mapped = 1;
	return 0;
}

void
memfd_unmap(struct memfd_view *v)
{
	union {
		const uint8_t *in;
		void *out;
	} p = { v->data };

	if (v->mapped)
		munmap(p.out, v->len);
	else if (v->len > 0)
		free(p.out);
	memset(v, 0, sizeof(*v));
}
