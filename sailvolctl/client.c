/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * client: finds the door of a sailvold(8), knocks and listens.  In sailvolctl.
 */
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/vfs.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/json_name.h"
#include "sailvolctl/client.h"
#include "sailvolctl/mountinfo.h"

#ifndef FUSE_SUPER_MAGIC
#define FUSE_SUPER_MAGIC 0x65735546
#endif

#define LINE_MAX_OUT (64 * 1024)       /* of a request */
#define LINE_MAX_IN (64 * 1024 * 1024) /* of an answer */

static const char not_mount[] = "%s is not in a mount of sailvold";

/* ---- .sailvol/ctl ---------------------------------------------------------------- */

/* Takes fd: the root of the mount that it is in, O_PATH.  -1 and errno. */
static int
climb(int fd)
{
	struct statx here, above;
	int up;

	if (statx(fd, "", AT_EMPTY_PATH, STATX_MNT_ID | STATX_INO, &here) == -1)
		goto fail;
	for (;;) {
		up = openat(fd, "..", O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (up == -1)
			goto fail;
		if (statx(up, "", AT_EMPTY_PATH, STATX_MNT_ID | STATX_INO,
			&above) == -1) {
			close(up);
			goto fail;
		}
		if (above.stx_mnt_id != here.stx_mnt_id ||
		    (above.stx_ino == here.stx_ino &&
			above.stx_dev_major == here.stx_dev_major &&
			above.stx_dev_minor == here.stx_dev_minor)) {
			close(up);
			return fd;
		}
		close(fd);
		fd = up;
		here = above;
	}

fail:
	close(fd);
	return -1;
}

/* The directory of path (of a file, the one that it is in), O_PATH. */
static int
open_directory(const char *path)
{
	char *real, *slash;
	struct stat st;
	int fd;

	if ((real = realpath(path, NULL)) == NULL)
		return -1;
	if (lstat(real, &st) == 0 && !S_ISDIR(st.st_mode) &&
	    (slash = strrchr(real, '/')) != NULL)
		slash[slash == real ? 1 : 0] = '\0';
	fd = open(real, O_PATH | O_DIRECTORY | O_CLOEXEC);
	free(real);
	return fd;
}

/* 1: the kernel's list says that it is a mount of something else. */
static int
is_foreign(int root)
{
	struct mountinfo mi;
	struct statx st;
	int foreign;

	if (statx(root, "", AT_EMPTY_PATH, STATX_MNT_ID, &st) == -1 ||
	    mountinfo_by_id(st.stx_mnt_id, &mi) != 1)
		return 0;
	foreign = strcmp(mi.type, MOUNTINFO_TYPE) != 0;
	mountinfo_free(&mi);
	return foreign;
}

/* A regular file of the device dev; -1 and errno (EXDEV: not that). */
static int
open_ours(int dir, const char *name, int flags, dev_t dev)
{
	struct stat st;
	int fd;

	fd = openat(dir, name,
	    flags | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd == -1)
		return -1;
	if (fstat(fd, &st) == -1 || !S_ISREG(st.st_mode) || st.st_dev != dev ||
	    fcntl(fd, F_SETFL, 0) == -1) {
		close(fd);
		errno = EXDEV;
		return -1;
	}
	return fd;
}

static int
open_ctl(int root, const char *path, struct failure *f)
{
	struct stat st, ds;
	int dir, fd = -1, json = -1;

	dir = openat(root, ".sailvol",
	    O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (dir == -1) {
		failure_set(f, "", "no_door",
		    errno == ENOENT
			? "%s: no .sailvol at the top of this mount: it is a "
			  "directory of a volume, bound without the volume's root; "
			  "bind the root, or use the mount outside"
			: errno == ENOTCONN
			? "%s: the mount is dead: sailvold does "
			  "not run"
			: "%s: .sailvol cannot be opened",
		    path);
		return -1;
	}
	if (fstat(root, &st) == -1 || fstat(dir, &ds) == -1 ||
	    ds.st_dev != st.st_dev ||
	    (json = open_ours(dir, "volume.json", O_RDONLY, st.st_dev)) == -1)
		failure_set(f, "", "not_a_mount",
		    "%s: .sailvol is not that "
		    "of a mount of sailvold",
		    path);
	else if ((fd = open_ours(dir, "ctl", O_RDWR, st.st_dev)) == -1) {
		if (errno == EROFS)
			failure_set(f, "permission", "read_only",
			    "%s: the mount is read-only", path);
		else if (errno == EACCES || errno == EPERM)
			failure_set(f, "permission", "ctl",
			    "%s: who may write "
			    "in the root of the mount may do that, and you may "
			    "not: %s",
			    path, strerror(errno));
		else if (errno == EXDEV)
			failure_set(f, "", "not_a_mount",
			    "%s: .sailvol is not "
			    "that of a mount of sailvold",
			    path);
		else
			failure_set(f, "", "ctl", "%s: .sailvol/ctl: %s", path,
			    strerror(errno));
	}
	if (json != -1)
		close(json);
	close(dir);
	return fd;
}

/* Absolute, of a descriptor, for free(3); NULL: failure is set. */
static char *
path_of(int fd, struct failure *f)
{
	char link[64], point[PATH_MAX], *copy = NULL;
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	if ((n = readlink(link, point, sizeof(point))) > 0 &&
	    n < (ssize_t)sizeof(point))
		copy = strndup(point, (size_t)n);
	if (copy == NULL)
		failure_set(f, "", "path", "%s: %s", link, strerror(errno));
	return copy;
}

int
client_open_root(const char *path, struct failure *f)
{
	struct statfs sfs;
	int dir;

	if ((dir = open_directory(path)) == -1 || (dir = climb(dir)) == -1) {
		failure_set(f, "", "path",
		    errno == ENOTCONN ? "%s: the mount "
					"is dead (%s): sailvold does not run"
				      : "%s: %s",
		    path, strerror(errno));
		return -1;
	}
	if (fstatfs(dir, &sfs) == -1)
		failure_set(f, "", "path", "%s: %s", path, strerror(errno));
	else if ((unsigned long)sfs.f_type != FUSE_SUPER_MAGIC ||
	    is_foreign(dir))
		failure_set(f, "", "not_a_mount", not_mount, path);
	else
		return dir;
	close(dir);
	return -1;
}

/* ctl, or -1 and, when the mount is read-only, where that is. */
static int
open_mount(const char *path, char **point, struct failure *f)
{
	int dir, fd;

	if ((dir = client_open_root(path, f)) == -1)
		return -1;
	fd = open_ctl(dir, path, f);
	if (fd == -1 && strcmp(f->code, "read_only") == 0)
		*point = path_of(dir, f);
	close(dir);
	return fd;
}

/* ---- the control socket ------------------------------------------------------------ */

int
client_open_socket(const char *path, struct failure *f)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int fd;

	if (path == NULL && (path = getenv("SAILVOLD_SOCKET")) == NULL)
		path = CLIENT_SOCKET;
	if (strlen(path) >= sizeof(sun.sun_path)) {
		failure_set(f, "", "socket", "%s: too long for a socket", path);
		return -1;
	}
	memcpy(sun.sun_path, path, strlen(path) + 1);
	if ((fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) == -1) {
		failure_set(f, "", "socket", "socket: %s", strerror(errno));
		return -1;
	}
	if (connect(fd, (struct sockaddr *)&sun, sizeof(sun)) == 0)
		return fd;
	if (errno == ENOENT || errno == ECONNREFUSED)
		failure_set(f, "unavailable", "no_daemon",
		    "sailvold does not "
		    "run: nobody listens at %s",
		    path);
	else if (errno == EACCES || errno == EPERM)
		failure_set(f, "permission", "socket",
		    "%s: permission denied: "
		    "users of the group sailvol and root may connect",
		    path);
	else
		failure_set(f, "", "socket", "%s: %s", path, strerror(errno));
	close(fd);
	return -1;
}

int
client_open_mount(const char *path, const char *socket_path, json_t *request,
    struct failure *f)
{
	char *point = NULL, why[sizeof(f->message) / 2];
	json_t *j;
	int fd;

	if (request == NULL) {
		return failure_memory(f);
	}
	if ((fd = open_mount(path, &point, f)) != -1 || point == NULL)
		return fd;
	j = json_name(point, strlen(point));
	free(point);
	if (j == NULL || json_object_set_new(request, "path", j) == -1) {
		return failure_memory(f);
	}
	if ((fd = client_open_socket(socket_path, f)) == -1) {
		strlcpy(why, f->message, sizeof(why));
		failure_set(f, "permission", "read_only",
		    "%s: the mount is read-only, so that it is asked by the "
		    "control socket: %s",
		    path, why);
	}
	return fd;
}

/* ---- question and answer ------------------------------------------------------------- */

static int
write_all(int fd, const char *p, size_t len)
{
	struct stat st;
	int is_socket = fstat(fd, &st) == 0 && S_ISSOCK(st.st_mode);
	ssize_t n;

	while (len > 0) {
		n = is_socket ? send(fd, p, len, MSG_NOSIGNAL)
			      : write(fd, p, len);
		if (n == -1 && errno == EINTR)
			continue;
		if (n <= 0)
			return -1;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

static int
send_line(int fd, const json_t *request, struct failure *f)
{
	char *text = json_dumps(request, JSON_COMPACT), *line;
	size_t len;
	int rc = -1;

	if (text == NULL || (line = realloc(text, strlen(text) + 2)) == NULL) {
		free(text);
		return failure_memory(f);
	}
	len = strlen(line);
	line[len++] = '\n';
	if (len > LINE_MAX_OUT)
		failure_set(f, "invalid_request", "too_long",
		    "the request is longer than 64 KiB");
	else if (write_all(fd, line, len) == -1)
		failure_set(f, "unavailable", "write",
		    errno == EAGAIN
			? "sailvold has too many requests at the moment: %s"
			: "sailvold does not take the request: %s",
		    strerror(errno));
	else
		rc = 0;
	free(line);
	return rc;
}

/* One line of the answer.  1: done, result or failure is set; 0: go on. */
static int
take_line(char *line, size_t len, const struct output *out, json_t **result,
    struct failure *f)
{
	json_t *j = json_loadb(line, len, JSON_ALLOW_NUL, NULL), *part;

	if ((part = json_object_get(j, "progress")) != NULL) {
		out->progress(part);
		json_decref(j);
		return 0;
	}
	if ((part = json_object_get(j, "result")) != NULL)
		*result = json_incref(part);
	else if (failure_from_json(f, j) == -1)
		failure_set(f, "", "answer",
		    "sailvold's answer is not as in "
		    "sailvol-ctl(5)");
	json_decref(j);
	return 1;
}

/* Lines from fd, until the one that ends it. */
json_t *
client_ask(int fd, const json_t *request, const struct output *out,
    struct failure *f)
{
	char *buf = NULL, *bigger, *nl;
	size_t len = 0, size = 0, from;
	json_t *result = NULL;
	ssize_t n;

	if (send_line(fd, request, f) == -1)
		return NULL;
	for (;;) {
		if (size - len < 65536) {
			size = size == 0 ? 131072 : 2 * size;
			if (size > LINE_MAX_IN ||
			    (bigger = realloc(buf, size)) == NULL) {
				failure_set(f, "", "answer",
				    "sailvold's answer does not end");
				break;
			}
			buf = bigger;
		}
		n = read(fd, buf + len, size - len);
		if (n == -1 && errno == EINTR)
			continue;
		if (n <= 0) {
			failure_set(f, "unavailable", "no_answer",
			    "sailvold "
			    "ended before it answered%s%s",
			    n == -1 ? ": " : "",
			    n == -1 ? strerror(errno) : "");
			break;
		}
		from = len;
		len += (size_t)n;
		while ((nl = memchr(buf + from, '\n', len - from)) != NULL) {
			if (take_line(buf, (size_t)(nl - buf), out, &result, f))
				goto done;
			len -= (size_t)(nl + 1 - buf);
			memmove(buf, nl + 1, len);
			from = 0;
		}
	}

done:
	free(buf);
	return result;
}

/* ---- paths ------------------------------------------------------------------------------ */

/* Absolute, without "//", "." and "..": by its letters alone. */
static char *
lexical(const char *path)
{
	char cwd[PATH_MAX] = "", *out, *o;
	const char *p, *end;
	size_t n;

	if (*path == '\0') {
		errno = ENOENT;
		return NULL;
	}
	if (*path != '/' && getcwd(cwd, sizeof(cwd)) == NULL)
		return NULL;
	n = strlen(cwd);
	if ((out = malloc(n + strlen(path) + 3)) == NULL)
		return NULL;
	memcpy(out, cwd, n);
	if (n == 1)
		n = 0; /* "/" */
	o = out + n;
	for (p = path; *p != '\0'; p = end) {
		while (*p == '/')
			p++;
		for (end = p; *end != '\0' && *end != '/'; end++)
			;
		n = (size_t)(end - p);
		if (n == 0 || (n == 1 && *p == '.'))
			continue;
		if (n == 2 && p[0] == '.' && p[1] == '.') {
			while (o > out && *--o != '/')
				;
			continue;
		}
		*o++ = '/';
		memcpy(o, p, n);
		o += n;
	}
	if (o == out)
		*o++ = '/';
	*o = '\0';
	return out;
}

char *
client_mount_point(const char *path, struct failure *f)
{
	char *abs, *found = NULL, *real;

	if ((abs = lexical(path)) == NULL) {
		failure_set(f, "", "path", "%s: %s", path, strerror(errno));
		return NULL;
	}
	if (mountinfo_longest(abs, &found) == 1 && strcmp(found, abs) == 0) {
		free(abs);
		return found;
	}
	/* Perhaps through a link, which may lead out of that mount. */
	if ((real = realpath(abs, NULL)) != NULL) {
		free(found);
		free(abs);
		found = NULL;
		abs = real;
		mountinfo_longest(abs, &found);
	}
	if (found == NULL)
		return abs;
	free(abs);
	return found;
}

char *
client_real_path(const char *path, struct failure *f)
{
	char *real = realpath(path, NULL);

	/* What is wrong with it is sailvold's to say. */
	if (real == NULL && (real = lexical(path)) == NULL)
		failure_set(f, "", "path", "%s: %s", path, strerror(errno));
	return real;
}
