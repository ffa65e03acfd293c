/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * rebuild: from entries of a commit to files, directory by directory, each
 * relative to the descriptor of the one above.  In sailvolctl.
 */
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/path.h"
#include "sailvolctl/fetch_put.h"
#include "sailvolctl/names.h"
#include "sailvolctl/rebuild.h"

#define PROGRESS_BYTES ((uint64_t)4 * 1024 * 1024)

static int
failed(struct failure *f, const void *path, size_t len, const char *what)
{
	int e = errno;

	failure_set(f, "", "restore", "%.*s: %s: %s", (int)len,
	    (const char *)path, what, strerror(e));
	return -1;
}

void
rebuild_tell(struct rebuild *r)
{
	json_t *j;

	j = json_pack("{s:s, s:I, s:I, s:I, s:I}", "phase", "download", "files",
	    (json_int_t)r->files, "files_total", (json_int_t)r->files_total,
	    "bytes", (json_int_t)r->bytes, "bytes_total",
	    (json_int_t)r->bytes_total);
	if (j != NULL)
		r->out->progress(j);
	json_decref(j);
}

/* ---- attributes ------------------------------------------------------------------ */

/* Those that an earlier try has left. */
static void
clear_xattrs(int fd)
{
	char *names, *p;
	ssize_t n;

	if ((names = malloc(XATTR_LIST_MAX)) == NULL)
		return;
	n = flistxattr(fd, names, XATTR_LIST_MAX);
	for (p = names; n > 0 && p < names + n; p += strlen(p) + 1)
		if (strncmp(p, "user.", 5) == 0)
			(void)fremovexattr(fd, p);
	free(names);
}

/* fd O_PATH of a link or fifo, or open.  1 when the owner is as it should be. */
static int
set_owner(int fd, const struct entry *e)
{
	struct stat st;

	if (fchownat(fd, "", e->uid, e->gid, AT_EMPTY_PATH) == 0)
		return 1;
	if (errno != EPERM && errno != EINVAL)
		return -1;
	if (fstat(fd, &st) == -1)
		return -1;
	return st.st_uid == e->uid && st.st_gid == e->gid;
}

static int
set_xattrs(struct rebuild *r, int fd, const void *path, size_t len,
    struct entry e, struct failure *f)
{
	char name[SAIL_NAME_MAX + 1];
	struct xattr_iter it;
	struct blob *keep = NULL;
	const uint8_t *value;
	const char *p;
	size_t n, vlen;
	int rc = 0;

	if (remote_xattrs(r->remote, path, len, &e, &keep, f) == -1)
		return -1;
	if (r->resume)
		clear_xattrs(fd);
	xattrs_first(&it, e.xattrs, e.xattrs_len);
	while (rc == 0 && xattrs_next(&it, &p, &n, &value, &vlen) == 1) {
		if (n >= sizeof(name))
			continue;
		memcpy(name, p, n);
		name[n] = '\0';
		if (fsetxattr(fd, name, value, vlen, 0) == 0)
			continue;
		/* A file system of any kind: it need not have them. */
		if (r->resume && (errno == EOPNOTSUPP || errno == ENOSPC))
			r->xattrs++;
		else
			rc = failed(f, path, len, name);
	}
	blob_unref(keep);
	return rc;
}

static void
times_of(const struct entry *e, struct timespec ts[2])
{
	ts[0].tv_sec = 0;
	ts[0].tv_nsec = UTIME_OMIT;
	ts[1].tv_sec = (time_t)e->mtime.sec;
	ts[1].tv_nsec = (long)e->mtime.nsec;
}

/* Of an open file or directory. */
int
rebuild_attributes(struct rebuild *r, int fd, const void *path, size_t len,
    const struct entry *e, struct failure *f)
{
	struct timespec ts[2];
	mode_t mode = e->mode;
	int own;

	if ((own = set_owner(fd, e)) == -1)
		return failed(f, path, len, "owner");
	if (!own) {
		/* Not with somebody else's rights. */
		r->owners++;
		if (e->type == ENTRY_FILE)
			mode &= ~(mode_t)(S_ISUID | S_ISGID);
	}
	if (set_xattrs(r, fd, path, len, *e, f) == -1)
		return -1;
	times_of(e, ts);
	if (fchmod(fd, mode) == -1)
		return failed(f, path, len, "mode");
	if (futimens(fd, ts) == -1)
		return failed(f, path, len, "time");
	return 0;
}

/* Of what is open with O_PATH, and no link. */
static int
set_mode(int fd, mode_t mode)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return chmod(path, mode);
}

/* Opens what was just made; who can write to the directory may have put
   something else in its place. */
static int
open_made(int dir, const char *name, mode_t type)
{
	struct stat st;
	int fd;

	fd = openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (fd == -1)
		return -1;
	if (fstat(fd, &st) == 0 && (st.st_mode & S_IFMT) == type &&
	    (type == S_IFDIR || st.st_nlink == 1))
		return fd;
	close(fd);
	errno = EBUSY;
	return -1;
}

/* Lets us into what an earlier try has left with its attributes. */
static int
open_up(int dir, const char *name, mode_t type, mode_t mode)
{
	int fd, rc;

	if ((fd = open_made(dir, name, type)) == -1)
		return -1;
	rc = set_mode(fd, mode);
	close(fd);
	return rc;
}

/* Of a link or fifo that was just made. */
static int
special_attributes(struct rebuild *r, int dir, const char *name,
    const void *path, size_t len, const struct entry *e, struct failure *f)
{
	struct timespec ts[2];
	int fd, own, rc = 0;

	fd = open_made(dir, name, e->type == ENTRY_FIFO ? S_IFIFO : S_IFLNK);
	if (fd == -1)
		return failed(f, path, len, "open");
	times_of(e, ts);
	if ((own = set_owner(fd, e)) == -1)
		rc = failed(f, path, len, "owner");
	else if (e->type == ENTRY_FIFO && set_mode(fd, e->mode) == -1)
		rc = failed(f, path, len, "mode");
	else if (utimensat(fd, "", ts, AT_EMPTY_PATH) == -1)
		rc = failed(f, path, len, "time");
	else
		r->owners += !own;
	close(fd);
	return rc;
}

/* ---- files ------------------------------------------------------------------------- */

struct writing {
	struct rebuild *r;
	int fd;
	const void *path;
	size_t len;
};

/* Over what an earlier try has left. */
static int
write_hole(struct writing *w, uint64_t offset, size_t n, struct failure *f)
{
	static const uint8_t zeros[64 * 1024];
	ssize_t done;

	if (fallocate(w->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
		(off_t)offset, (off_t)n) == 0)
		return 0;
	for (; n > 0; n -= (size_t)done, offset += (uint64_t)done) {
		done = pwrite(w->fd, zeros,
		    n < sizeof(zeros) ? n : sizeof(zeros), (off_t)offset);
		if (done == -1 && errno != EINTR)
			return failed(f, w->path, w->len, "write");
		if (done == -1)
			done = 0;
	}
	return 0;
}

static int
write_bytes(void *arg, uint64_t offset, const void *data, size_t n,
    struct failure *f)
{
	struct writing *w = arg;
	const uint8_t *p = data;
	uint64_t before = w->r->bytes;
	ssize_t done;

	if (data == NULL)
		return write_hole(w, offset, n, f);
	while (n > 0) {
		done = pwrite(w->fd, p, n, (off_t)offset);
		if (done == -1 && errno == EINTR)
			continue;
		if (done == -1)
			return failed(f, w->path, w->len, "write");
		p += done;
		offset += (uint64_t)done;
		n -= (size_t)done;
		w->r->bytes += (uint64_t)done;
	}
	if (before / PROGRESS_BYTES != w->r->bytes / PROGRESS_BYTES)
		rebuild_tell(w->r);
	return 0;
}

/*
 * What an earlier try has left where others may write is only taken up from
 * one's own hand; below the first directory nobody else was.
 */
static int
is_ours(const struct rebuild *r, const struct stat *st)
{
	return r->depth > 0 ||
	    (st->st_uid == geteuid() && (st->st_mode & 077) == 0);
}

static int
is_still(int fd, int dir, const char *name)
{
	struct stat a, b;

	return fstat(fd, &a) == 0 &&
	    fstatat(dir, name, &b, AT_SYMLINK_NOFOLLOW) == 0 &&
	    a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

static int
busy(struct failure *f)
{
	failure_set(f, "conflict", "busy",
	    "another sailvolctl gets the same here: wait for its end");
	return -1;
}

/* Nobody else makes the same in the meantime: until it has its place. */
static int
lock_first(struct rebuild *r, int fd, int dir, const char *name,
    const void *path, size_t len, struct failure *f)
{
	if (!r->resume || r->depth > 0)
		return 0;
	/* Some file systems have no locks: then it is up to who types. */
	if (flock(fd, LOCK_EX | LOCK_NB) == -1 && errno != EOPNOTSUPP &&
	    errno != ENOLCK)
		return errno == EWOULDBLOCK ? busy(f)
					    : failed(f, path, len, "lock");
	if (!is_still(fd, dir, name))
		return busy(f);
	if ((r->lock = fcntl(fd, F_DUPFD_CLOEXEC, 0)) == -1)
		return failed(f, path, len, "lock");
	return 0;
}

/* What is in the way of a new one; EBUSY when somebody still works on it. */
static int
remove_left(const struct rebuild *r, int dir, const char *name)
{
	int fd = -1, rc;

	if (r->depth == 0 &&
	    (fd = openat(dir, name,
		 O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)) != -1 &&
	    flock(fd, LOCK_EX | LOCK_NB) == -1 && errno == EWOULDBLOCK) {
		errno = EBUSY;
		rc = -1;
	} else
		rc = rebuild_remove(dir, name);
	if (fd != -1)
		close(fd);
	return rc;
}

static int
cannot_create(struct failure *f, const void *path, size_t len)
{
	return errno == EBUSY ? busy(f) : failed(f, path, len, "create");
}

/* Is it what rebuild_finish() finishes? */
static int
is_last(const struct rebuild *r)
{
	return r->resume && r->depth == 0;
}

static int
create_file(int dir, const char *name)
{
	return openat(dir, name,
	    O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
}

/* A new one, or, with *before, one that is there with some of its bytes. */
static int
open_file(struct rebuild *r, int dir, const char *name, int *before)
{
	struct stat st;
	int fd;

	*before = 0;
	fd = create_file(dir, name);
	if (fd != -1 || errno != EEXIST || !r->resume)
		return fd;
	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == -1)
		return -1;
	if (S_ISREG(st.st_mode) && st.st_nlink == 1 && is_ours(r, &st)) {
		*before = r->found = 1;
		if ((st.st_mode & 0600) != 0600 &&
		    open_up(dir, name, S_IFREG, 0600) == -1)
			return -1;
		return openat(dir, name,
		    O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	}
	return remove_left(r, dir, name) == -1 ? -1 : create_file(dir, name);
}

/* The chunks that are there; *have NULL: it is new. */
static int
look_before(int dir, const char *name, const struct entry *e,
    struct chunklist **have, struct failure *f)
{
	int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);

	if (fd == -1) {
		failure_set(f, "", "read", "%s: %s", name, strerror(errno));
		return -1;
	}
	*have = fetch_hash_now(fd, e->chunk_shift, f);
	close(fd);
	return *have == NULL ? -1 : 0;
}

static int
make_file(struct rebuild *r, int dir, const char *name, const void *path,
    size_t len, const struct entry *e, struct failure *f)
{
	struct writing w = { r, -1, path, len };
	struct chunklist *have = NULL;
	uint64_t start = r->bytes;
	int rc = -1, before;

	if ((w.fd = open_file(r, dir, name, &before)) == -1)
		return cannot_create(f, path, len);
	if (lock_first(r, w.fd, dir, name, path, len, f) == -1)
		;
	else if (ftruncate(w.fd, (off_t)e->size) == -1)
		failed(f, path, len, "size");
	else if ((!before || look_before(dir, name, e, &have, f) == 0) &&
	    download_file(r->download, r->remote, path, len, e, have,
		write_bytes, &w, f) == 0 &&
	    (is_last(r) || rebuild_attributes(r, w.fd, path, len, e, f) == 0))
		rc = r->resume          ? 0
		    : fsync(w.fd) == -1 ? failed(f, path, len, "sync")
					: 0;
	close(w.fd);
	chunklist_free(have);
	r->came += r->bytes - start;
	r->bytes = start + e->size; /* holes, too */
	r->files++;
	return rc;
}

static int
make_link(int dir, const char *name, const void *path, size_t len,
    const struct entry *e, struct failure *f)
{
	char target[SAIL_TARGET_MAX + 1];

	if (e->target_len >= sizeof(target)) {
		errno = ENAMETOOLONG;
		return failed(f, path, len, "link");
	}
	memcpy(target, e->target, e->target_len);
	target[e->target_len] = '\0';
	return symlinkat(target, dir, name) == -1 ? failed(f, path, len, "link")
						  : 0;
}

/* ---- directories --------------------------------------------------------------------- */

struct filling {
	struct rebuild *r;
	int dir;
	const uint8_t *path;
	size_t len;
	uint8_t *child; /* room for a path; not on the stack, which is deep */
};

static int
fill_name(void *arg, const uint8_t *name, size_t len, const struct entry *e,
    struct failure *f)
{
	struct filling *d = arg;
	uint8_t *path = d->child;
	char text[SAIL_NAME_MAX + 1];
	size_t n = d->len;

	if (name_problem(name, len) != NULL || n + len + 1 > SAIL_PATH_MAX) {
		errno = EBADMSG;
		return failed(f, d->path, d->len, "a name in it");
	}
	memcpy(path, d->path, n);
	if (n > 0)
		path[n++] = '/';
	memcpy(path + n, name, len);
	memcpy(text, name, len);
	text[len] = '\0';
	return rebuild(d->r, d->dir, text, path, n + len, e, f);
}

/* A new one, or, with *before, one that is there with some of its names. */
static int
take_dir(struct rebuild *r, int dir, const char *name, int *before)
{
	const int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
	struct stat st;

	*before = 0;
	if (mkdirat(dir, name, 0700) == 0)
		return openat(dir, name, flags);
	if (errno != EEXIST || !r->resume ||
	    fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == -1)
		return -1;
	if (S_ISDIR(st.st_mode) && is_ours(r, &st)) {
		*before = r->found = 1;
		if ((st.st_mode & 0700) != 0700 &&
		    open_up(dir, name, S_IFDIR, 0700) == -1)
			return -1;
		return openat(dir, name, flags);
	}
	if (remove_left(r, dir, name) == -1 || mkdirat(dir, name, 0700) == -1)
		return -1;
	return openat(dir, name, flags);
}

/* Is it in the commit?  1, 0, -1. */
static int
is_wanted(struct rebuild *r, const void *path, size_t len, const char *name,
    struct failure *f)
{
	uint8_t full[SAIL_PATH_MAX];
	struct blob *keep = NULL;
	size_t n = strlen(name);
	struct entry e;
	int rc;

	if (len + 1 + n > sizeof(full))
		return 0;
	memcpy(full, path, len);
	if (len > 0)
		full[len++] = '/';
	memcpy(full + len, name, n);
	rc = remote_find(r->remote, full, len + n, &e, &keep, f);
	blob_unref(keep);
	if (rc == 0)
		return 1;
	if (strcmp(f->code, "path_not_found") != 0)
		return -1;
	failure_clear(f);
	return 0;
}

/* What an earlier try, of another commit, has left. */
static int
prune(struct rebuild *r, int fd, const void *path, size_t len,
    struct failure *f)
{
	int copy = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc = 1;
	struct dirent *e;
	DIR *d;

	if (copy == -1 || (d = fdopendir(copy)) == NULL) {
		if (copy != -1)
			close(copy);
		return failed(f, path, len, "read");
	}
	while (rc != -1 && (errno = 0, e = readdir(d)) != NULL) {
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		rc = is_wanted(r, path, len, e->d_name, f);
		if (rc == 0 && rebuild_remove(fd, e->d_name) == -1)
			rc = failed(f, path, len, e->d_name);
	}
	if (rc != -1 && errno != 0)
		rc = failed(f, path, len, "read");
	closedir(d);
	return rc == -1 ? -1 : 0;
}

static int
make_dir(struct rebuild *r, int dir, const char *name, const void *path,
    size_t len, const struct entry *e, struct failure *f)
{
	struct filling d = { r, -1, path, len, NULL };
	int rc = -1, before;

	/* The server's trees may be deeper than it lets anybody make one. */
	if (path_problem(path, len) != NULL) {
		errno = ENAMETOOLONG;
		return failed(f, path, len, "create");
	}
	if ((d.child = malloc(SAIL_PATH_MAX)) == NULL ||
	    (d.dir = take_dir(r, dir, name, &before)) == -1) {
		free(d.child);
		return cannot_create(f, path, len);
	}
	if (lock_first(r, d.dir, dir, name, path, len, f) == -1) {
		close(d.dir);
		free(d.child);
		return -1;
	}
	r->depth++;
	if (remote_each(r->remote, path, len, e, fill_name, &d, f) == 0 &&
	    (!before || prune(r, d.dir, path, len, f) == 0))
		rc = 0;
	r->depth--;
	if (rc == 0 && !is_last(r))
		rc = rebuild_attributes(r, d.dir, path, len, e, f);
	close(d.dir);
	free(d.child);
	return rc;
}

int
rebuild(struct rebuild *r, int dir, const char *name, const void *path,
    size_t len, const struct entry *e, struct failure *f)
{
	int rc;

	if (fetch_go_on(f) == -1)
		return -1;
	if (r->resume && e->type != ENTRY_FILE && e->type != ENTRY_DIR &&
	    rebuild_remove(dir, name) == -1)
		return failed(f, path, len, "remove");
	switch (e->type) {
	case ENTRY_FILE:
		return make_file(r, dir, name, path, len, e, f);
	case ENTRY_DIR:
		return make_dir(r, dir, name, path, len, e, f);
	case ENTRY_SYMLINK:
		rc = make_link(dir, name, path, len, e, f);
		break;
	default:
		rc = mkfifoat(dir, name, 0600) == -1
		    ? failed(f, path, len, "create")
		    : 0;
	}
	r->files++;
	return rc == -1 ? -1
			: special_attributes(r, dir, name, path, len, e, f);
}

/* ---- the end of what was there ---------------------------------------------------------- */

static int
open_dir(int dir, const char *name)
{
	return openat(dir, name,
	    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

/* A mode that shuts us out is no obstacle to who owns it. */
static int
open_shut(int dir, const char *name)
{
	int path, fd = -1;

	path = openat(dir, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (path == -1)
		return -1;
	if (set_mode(path, 0700) == 0)
		fd = open_dir(path, ".");
	close(path);
	return fd;
}

static int
remove_below(int dir, const char *name)
{
	struct dirent *e;
	int fd, rc = 0;
	DIR *d;

	fd = open_dir(dir, name);
	if (fd == -1 && errno == EACCES)
		fd = open_shut(dir, name);
	if (fd == -1)
		return -1;
	(void)fchmod(fd, 0700);
	if ((d = fdopendir(fd)) == NULL) {
		close(fd);
		return -1;
	}
	while (rc == 0 && (errno = 0, e = readdir(d)) != NULL)
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			rc = rebuild_remove(fd, e->d_name);
	if (rc == 0 && errno != 0)
		rc = -1;
	closedir(d);
	return rc == -1 ? -1 : unlinkat(dir, name, AT_REMOVEDIR);
}

int
rebuild_remove(int dir, const char *name)
{
	if (unlinkat(dir, name, 0) == 0 || errno == ENOENT)
		return 0;
	if (errno != EISDIR && errno != EPERM)
		return -1;
	return remove_below(dir, name);
}

/* ---- its place -------------------------------------------------------------------------- */

int
rebuild_finish(struct rebuild *r, int dir, const char *name, const void *path,
    size_t len, const struct entry *e, struct failure *f)
{
	/* A link or fifo has all that it will have. */
	if (r->lock == -1)
		return 0;
	if (!is_still(r->lock, dir, name))
		return busy(f);
	/* First what takes long: a kill then leaves what can be taken up. */
	if ((e->type == ENTRY_DIR ? syncfs(r->lock) : fsync(r->lock)) == -1)
		return failed(f, path, len, "sync");
	if (rebuild_attributes(r, r->lock, path, len, e, f) == -1)
		return -1;
	if (fsync(r->lock) == -1)
		return failed(f, path, len, "sync");
	return is_still(r->lock, dir, name) ? 0 : busy(f);
}

void
rebuild_unfinish(struct rebuild *r)
{
	struct stat st;

	if (r->lock == -1 || fstat(r->lock, &st) == -1)
		return;
	(void)fchown(r->lock, geteuid(), (gid_t)-1);
	(void)fchmod(r->lock, S_ISDIR(st.st_mode) ? 0700 : 0600);
}

int
rebuild_place(int dir, const char *temp, const char *name,
    const struct entry *e)
{
	struct stat st;

	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == -1) {
		if (errno != ENOENT)
			return -1;
		if (renameat2(dir, temp, dir, name, RENAME_NOREPLACE) == 0)
			return 0;
		/* Some file systems, as NFS, know no flags. */
		if (errno != EINVAL ||
		    fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 ||
		    errno != ENOENT)
			return -1;
		return renameat(dir, temp, dir, name);
	}
	if (!S_ISDIR(st.st_mode) && e->type != ENTRY_DIR)
		return renameat(dir, temp, dir, name);
	if (renameat2(dir, temp, dir, name, RENAME_EXCHANGE) == 0)
		return 0;
	if (errno == EINVAL)
		errno = ENOTSUP;
	return -1;
}

void
rebuild_more_files(void)
{
	struct rlimit rl;

	if (getrlimit(RLIMIT_NOFILE, &rl) == 0) {
		rl.rlim_cur = rl.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &rl);
	}
}
