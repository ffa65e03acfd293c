/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * content: brings files into memory, up to a size.  In sailvolctl.
 */
#include <sys/stat.h>
#include <sys/syscall.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/path.h"
#include "sailvolctl/content.h"

void
content_free(struct version *v)
{
	free(v->data);
	memset(v, 0, sizeof(*v));
}

/* Zeros: what is not written to is a hole. */
static int
content_alloc(struct version *v, uint64_t len, struct failure *f)
{
	v->len = (size_t)len;
	if ((v->data = calloc(1, v->len + 1)) != NULL)
		return 0;
	return failure_memory(f);
}

/* ---- of a commit ----------------------------------------------------------------- */

static int
take_bytes(void *arg, uint64_t offset, const void *p, size_t len,
    struct failure *f)
{
	struct version *v = arg;

	(void)f;
	memcpy(v->data + offset, p, len);
	return 0;
}

static enum content
content_of_entry(struct remote *r, struct download *d, const void *path,
    size_t len, const struct entry *e, struct version *v, struct failure *f)
{
	if (e->type == ENTRY_SYMLINK) {
		if (content_alloc(v, e->target_len, f) == -1)
			return CONTENT_FAILED;
		memcpy(v->data, e->target, e->target_len);
		return CONTENT_HERE;
	}
	if (e->type != ENTRY_FILE)
		return CONTENT_NONE;
	if (e->size > PATCH_MAX)
		return CONTENT_LARGE;
	if (content_alloc(v, e->size, f) == -1)
		return CONTENT_FAILED;
	if (download_file(d, r, path, len, e, NULL, take_bytes, v, f) == -1) {
		content_free(v);
		return CONTENT_FAILED;
	}
	return CONTENT_HERE;
}

enum content
content_of_commit(struct remote *r, struct download *d, const void *path,
    size_t len, const struct hash *wanted, struct version *v, struct failure *f)
{
	enum content c = CONTENT_NONE;
	struct blob *keep;
	struct entry e;
	struct hash h;

	memset(v, 0, sizeof(*v));
	if (remote_find(r, path, len, &e, &keep, f) == -1) {
		if (strcmp(f->code, "path_not_found") != 0)
			return CONTENT_FAILED;
		failure_clear(f);
		return CONTENT_NONE;
	}
	entry_content_hash(&e, &h);
	if (wanted == NULL || hash_cmp(wanted, &h) == 0)
		c = content_of_entry(r, d, path, len, &e, v, f);
	blob_unref(keep);
	return c;
}

/* ---- of a mount ---------------------------------------------------------------------- */

int
open_below(int root, const char *path, int flags, unsigned int mode)
{
	struct open_how how = { .flags =
				    (uint64_t)(unsigned int)flags | O_CLOEXEC,
		.mode = mode,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS };

	return (int)syscall(SYS_openat2, root, path, &how, sizeof(how));
}

static enum content
read_whole(int fd, const struct stat *st, struct version *v, struct failure *f)
{
	size_t done = 0;
	ssize_t n;

	if (st->st_size > (off_t)PATCH_MAX)
		return CONTENT_LARGE;
	if (content_alloc(v, (uint64_t)st->st_size, f) == -1)
		return CONTENT_FAILED;
	while (done < v->len) {
		n = read(fd, v->data + done, v->len - done);
		if (n == -1 && errno == EINTR)
			continue;
		if (n == -1) {
			failure_set(f, "", "read", "%s", strerror(errno));
			content_free(v);
			return CONTENT_FAILED;
		}
		if (n == 0)
			break;
		done += (size_t)n;
	}
	v->len = done; /* it is shorter by now */
	return CONTENT_HERE;
}

static enum content
read_link(int fd, const struct stat *st, struct version *v, struct failure *f)
{
	ssize_t n;

	if (content_alloc(v, (uint64_t)st->st_size + 1, f) == -1)
		return CONTENT_FAILED;
	n = readlinkat(fd, "", (char *)v->data, v->len);
	if (n == -1) {
		failure_set(f, "", "read", "%s", strerror(errno));
		content_free(v);
		return CONTENT_FAILED;
	}
	v->len = (size_t)n;
	return CONTENT_HERE;
}

enum content
content_of_mount(int root, const void *path, size_t len, struct version *v,
    struct failure *f)
{
	enum content c = CONTENT_NONE;
	char name[SAIL_PATH_MAX + 1];
	struct stat st;
	int fd, file;

	memset(v, 0, sizeof(*v));
	if (len == 0 || len >= sizeof(name))
		return CONTENT_NONE;
	memcpy(name, path, len);
	name[len] = '\0';
	/* RESOLVE_NO_SYMLINKS lets O_NOFOLLOW open the link itself. */
	fd = open_below(root, name, O_PATH | O_NOFOLLOW, 0);
	if (fd == -1) {
		if (errno == ENOENT || errno == ENOTDIR || errno == ELOOP)
			return CONTENT_NONE;
		failure_set(f, "", "open", "%s: %s", name, strerror(errno));
		return CONTENT_FAILED;
	}
	if (fstat(fd, &st) == -1) {
		failure_set(f, "", "open", "%s: %s", name, strerror(errno));
		c = CONTENT_FAILED;
	} else if (S_ISLNK(st.st_mode))
		c = read_link(fd, &st, v, f);
	else if (S_ISREG(st.st_mode)) {
		file = open_below(root, name,
		    O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0);
		if (file == -1 || fstat(file, &st) == -1) {
			failure_set(f, "", "open", "%s: %s", name,
			    strerror(errno));
			c = CONTENT_FAILED;
		} else
			c = read_whole(file, &st, v, f);
		if (file != -1)
			close(file);
	}
	close(fd);
	return c;
}
