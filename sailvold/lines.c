/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * lines: files of lines of ctl, each named by its session, 16 hex digits: u64
 * offset, and the record.  A loss of power ends all sessions: nothing is synced.
 * In fuse.
 */
#include <sys/stat.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/bytes.h"
#include "lib/log.h"
#include "sailvold/lines.h"
#include "sailvold/record.h"

#define FOLDER "lines"
#define NEW FOLDER "/new"
#define BYTES_MAX (8 + RECORD_MAX_BYTES)

static void
name_of(uint64_t session, char out[32])
{
	snprintf(out, 32, FOLDER "/%016" PRIx64, session);
}

static int
write_file(const char *name, const uint8_t *data, size_t len)
{
	const int flags = O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW;
	ssize_t n;
	int fd, error;

	/* What is there stays whole until this is. */
	if ((fd = open(NEW, flags, 0600)) == -1 && errno == ENOENT) {
		if (mkdir(FOLDER, 0700) == -1 && errno != EEXIST)
			return -1;
		fd = open(NEW, flags, 0600);
	}
	if (fd == -1)
		return -1;
	n = write(fd, data, len);
	error = n == -1 ? errno : ENOSPC;
	close(fd);
	if (n == (ssize_t)len)
		return rename(NEW, name);
	(void)unlink(NEW);
	errno = error;
	return -1;
}

int
lines_put(uint64_t session, uint32_t uid, uint32_t gid, const uint8_t *line,
    size_t len, uint64_t offset)
{
	struct record r;
	struct wbuf w;
	char name[32];
	int rc, error;

	memset(&r, 0, sizeof(r));
	r.type = RECORD_CTL;
	r.session = session;
	r.uid = uid;
	r.gid = gid;
	r.line = line;
	r.line_len = len;
	wbuf_init(&w, BYTES_MAX);
	wbuf_u64(&w, offset);
	record_encode(&w, &r);
	name_of(session, name);
	if ((errno = w.error) != 0)
		rc = -1;
	else
		rc = write_file(name, w.data, w.len);
	error = errno;
	wbuf_free(&w);
	errno = error;
	return rc;
}

static ssize_t
read_file(const char *name, uint8_t *data, size_t size)
{
	ssize_t n;
	int fd;

	fd = open(name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd == -1)
		return -1;
	n = read(fd, data, size);
	close(fd);
	return n;
}

void
lines_get(uint64_t session, lines_cb f, void *arg)
{
	const char *why = NULL;
	struct record r;
	struct rbuf b;
	char name[32];
	uint64_t offset;
	uint8_t *data;
	size_t taken;
	ssize_t n;

	if ((data = malloc(BYTES_MAX)) == NULL)
		fatal("lines");
	name_of(session, name);
	n = read_file(name, data, BYTES_MAX);
	if (n == -1 && errno != ENOENT)
		log_warn("%s", name);
	if (n > 8) {
		rbuf_init(&b, data, 8);
		offset = rbuf_u64(&b);
		if (record_decode(data + 8, (size_t)n - 8, &r, &taken, &why) ==
			1 &&
		    r.type == RECORD_CTL && r.session == session)
			f(session, r.uid, r.gid, r.line, r.line_len, offset,
			    arg);
	}
	free(data);
}

void
lines_drop(uint64_t session)
{
	char name[32];

	name_of(session, name);
	if (unlink(name) == -1 && errno != ENOENT)
		log_warn("%s", name);
}

void
lines_tidy(int (*f)(uint64_t session))
{
	unsigned long long session;
	struct dirent *e;
	char *end;
	DIR *d;

	if ((d = opendir(FOLDER)) == NULL) {
		if (errno != ENOENT)
			log_warn(FOLDER);
		return;
	}
	while ((e = readdir(d)) != NULL) {
		session = strtoull(e->d_name, &end, 16);
		if (end == e->d_name + 16 && *end == '\0' && !f(session))
			lines_drop(session);
	}
	closedir(d);
}
