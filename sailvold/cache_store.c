/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * cache_store: opens, makes, names and removes the files of the cache.  In
 * cache; the read-only tree is made before its drop of privileges.
 */
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <linux/fs.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "lib/log.h"
#include "sailvold/cache_store.h"

#define SUFFIX ".b"                         /* of a bundle */
#define NAME_LEN (1 + HASH_HEX_LEN + 2 + 1) /* HH/HEX62.b */
#define SLICE ((uint64_t)16 * 1024 * 1024)
#define KEEP_MIN ((uint64_t)1 << 30)

static int dir_fd = -1; /* the cache directory */
static int ro_fd = -1;  /* the same, read-only for the kernel */
static int lock_fd = -1;
static unsigned int tmp_next;

/* ---- start ---------------------------------------------------------------- */

static int
read_only_tree(int fd)
{
	struct mount_attr attr = {
		.attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID |
		    MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC,
	};
	int tree;

	tree = open_tree(fd, "",
	    AT_EMPTY_PATH | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	if (tree == -1)
		return -1;
	if (mount_setattr(tree, "", AT_EMPTY_PATH, &attr, sizeof(attr)) == -1) {
		close(tree);
		return -1;
	}
	return tree;
}

int
cache_store_prepare(int dirfd)
{
	dir_fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir_fd == -1) {
		log_warn("cache directory");
		return -1;
	}
	if ((ro_fd = read_only_tree(dir_fd)) != -1)
		return 0;
	if (errno != ENOSYS && geteuid() == 0) {
		log_warn("cache: read-only copy of its tree");
		return -1;
	}
	/* An old kernel; or no daemon of root at all. */
	log_warn("cache: files go out without a read-only tree");
	ro_fd = fcntl(dir_fd, F_DUPFD_CLOEXEC, 0);
	return ro_fd != -1 ? 0 : -1;
}

static int
open_dir(const char *name)
{
	return openat(dir_fd, name,
	    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

/* What was under way when the last process ended. */
static void
clean_tmp(void)
{
	struct dirent *d;
	DIR *dir;
	int fd;

	if ((fd = open_dir("tmp")) == -1)
		return;
	if ((dir = fdopendir(fd)) == NULL) {
		close(fd);
		return;
	}
	while ((d = readdir(dir)) != NULL)
		if (d->d_name[0] != '.' &&
		    unlinkat(dirfd(dir), d->d_name, 0) == -1)
			log_warn("cache: tmp/%s", d->d_name);
	closedir(dir);
}

int
cache_store_start(void)
{
	lock_fd = openat(dir_fd, "lock",
	    O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (lock_fd == -1) {
		log_warn("cache: lock");
		return -1;
	}
	if (flock(lock_fd, LOCK_EX | LOCK_NB) == -1) {
		if (errno == EWOULDBLOCK)
			log_warnx("cache directory is in use by another "
				  "sailvold");
		else
			log_warn("cache: lock");
		return -1;
	}
	if (mkdirat(dir_fd, "tmp", 0700) == -1 && errno != EEXIST) {
		log_warn("cache: tmp");
		return -1;
	}
	clean_tmp();
	return 0;
}

/* ---- names ------------------------------------------------------------------ */

static void
name_of(const struct hash *h, enum cache_kind kind, char name[NAME_LEN])
{
	char hex[HASH_HEX_LEN + 1];

	hash_hex(h, hex);
	snprintf(name, NAME_LEN, "%.2s/%s%s", hex, hex + 2,
	    kind == CACHE_BUNDLE ? SUFFIX : "");
}

int
cache_store_stamp(int fd, struct cache_stamp *is)
{
	struct stat st;

	if (fstat(fd, &st) == -1)
		return -1;
	if (!S_ISREG(st.st_mode)) {
		errno = EBADMSG;
		return -1;
	}
	is->size = (uint64_t)st.st_size;
	is->mtime_s = st.st_mtim.tv_sec;
	is->mtime_ns = st.st_mtim.tv_nsec;
	return 0;
}

int
cache_stamp_same(const struct cache_stamp *a, const struct cache_stamp *b)
{
	return a->size == b->size && a->mtime_s == b->mtime_s &&
	    a->mtime_ns == b->mtime_ns;
}

int
cache_store_open(const struct hash *h, enum cache_kind kind,
    struct cache_stamp *is)
{
	char name[NAME_LEN];
	int fd;

	name_of(h, kind, name);
	if ((fd = openat(ro_fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC)) == -1)
		return -1;
	if (cache_store_stamp(fd, is) == -1) {
		close(fd);
		errno = EBADMSG;
		return -1;
	}
	return fd;
}

void
cache_store_remove(const struct hash *h, enum cache_kind kind)
{
	char name[NAME_LEN];

	name_of(h, kind, name);
	if (unlinkat(dir_fd, name, 0) == -1 && errno != ENOENT)
		log_warn("cache: %s", name);
}

void
cache_store_touch(const struct hash *h, enum cache_kind kind)
{
	struct timespec t[2] = { { 0, UTIME_NOW }, { 0, UTIME_OMIT } };
	char name[NAME_LEN];

	name_of(h, kind, name);
	if (utimensat(dir_fd, name, t, AT_SYMLINK_NOFOLLOW) == -1)
		log_debug("cache: %s: utimensat: %s", name, strerror(errno));
}

/*
 * One name of a folder.  64 digits are a file of a former version, named by
 * content alone: of whom it is nobody knows.
 */
static int
scan_name(int fd, const char *folder, const char *name,
    int (*f)(const struct hash *, enum cache_kind, uint64_t, int64_t))
{
	enum cache_kind kind = CACHE_CHUNK;
	char hex[HASH_HEX_LEN + 8];
	size_t len = strlen(name);
	struct hash h;
	struct stat st;

	if (name[0] == '.')
		return 0;
	if (fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) == -1)
		return 0;
	if (S_ISREG(st.st_mode) && hash_parse(&h, name, len) == 0) {
		if (unlinkat(fd, name, 0) == -1)
			log_warn("cache: %s/%s", folder, name);
		return 0;
	}
	snprintf(hex, sizeof(hex), "%.2s%.*s", folder, HASH_HEX_LEN - 2, name);
	if (len == HASH_HEX_LEN &&
	    strcmp(name + HASH_HEX_LEN - 2, SUFFIX) == 0) {
		kind = CACHE_BUNDLE;
		len -= strlen(SUFFIX);
	}
	if (!S_ISREG(st.st_mode) || len != HASH_HEX_LEN - 2 ||
	    hash_parse(&h, hex, HASH_HEX_LEN) == -1) {
		log_warnx("cache: %s/%s is not ours", folder, name);
		return 0;
	}
	return f(&h, kind, (uint64_t)st.st_blocks * 512, st.st_atim.tv_sec);
}

int
cache_store_scan(unsigned int i,
    int (*f)(const struct hash *, enum cache_kind, uint64_t, int64_t))
{
	struct dirent *d;
	char folder[4];
	DIR *dir;
	int fd, rc = 0, saved;

	snprintf(folder, sizeof(folder), "%02x", i & 0xff);
	if ((fd = open_dir(folder)) == -1) {
		if ((saved = errno) == ENOENT)
			return 0;
		log_warn("cache: %s", folder);
		errno = saved;
		return -1;
	}
	if ((dir = fdopendir(fd)) == NULL) {
		saved = errno;
		log_warn("cache: %s", folder);
		close(fd);
		errno = saved;
		return -1;
	}
	while (rc == 0 && (d = readdir(dir)) != NULL)
		rc = scan_name(dirfd(dir), folder, d->d_name, f);
	saved = errno;
	closedir(dir);
	errno = saved;
	return rc;
}

/* ---- files that grow ---------------------------------------------------------- */

static int
tmp_make(const char *name)
{
	return openat(dir_fd, name,
	    O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
}

int
cache_store_tmp(char name[CACHE_TMP_LEN])
{
	int fd;

	snprintf(name, CACHE_TMP_LEN, "tmp/%u", tmp_next++);
	if ((fd = tmp_make(name)) != -1 || errno != ENOENT)
		return fd;
	/* Somebody has emptied the directory. */
	if (mkdirat(dir_fd, "tmp", 0700) == -1)
		return -1;
	return tmp_make(name);
}

int
cache_store_write(int fd, const void *data, size_t n)
{
	const uint8_t *p = data;
	size_t done = 0;
	ssize_t w;

	while (done < n) {
		w = pwrite(fd, p + done, n - done, (off_t)done);
		if (w == -1 && errno == EINTR)
			continue;
		if (w <= 0) {
			if (w == 0)
				errno = EIO;
			return -1;
		}
		done += (size_t)w;
	}
	return 0;
}

int
cache_store_tmp_open(const char *name)
{
	return openat(ro_fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
}

void
cache_store_tmp_drop(const char *name)
{
	if (unlinkat(dir_fd, name, 0) == -1 && errno != ENOENT)
		log_warn("cache: %s", name);
}

int
cache_store_keep(const char *name, const struct hash *h, enum cache_kind kind)
{
	char to[NAME_LEN], folder[4];

	name_of(h, kind, to);
	if (renameat(dir_fd, name, dir_fd, to) == 0)
		return 0;
	if (errno != ENOENT)
		return -1;
	snprintf(folder, sizeof(folder), "%.2s", to);
	if (mkdirat(dir_fd, folder, 0700) == -1 && errno != EEXIST)
		return -1;
	return renameat(dir_fd, name, dir_fd, to);
}

/* Between file systems that copy_file_range(2) does not join. */
static ssize_t
copy_by_hand(int from, uint64_t in, int to, uint64_t out, size_t n)
{
	static uint8_t buf[256 * 1024];
	ssize_t r;

	if (n > sizeof(buf))
		n = sizeof(buf);
	if ((r = pread(from, buf, n, (off_t)in)) <= 0)
		return r;
	return pwrite(to, buf, (size_t)r, (off_t)out);
}

static ssize_t
copy_some(int from, uint64_t in, int to, uint64_t out, size_t n)
{
	off_t i = (off_t)in, o = (off_t)out;
	ssize_t c;

	c = copy_file_range(from, &i, to, &o, n, 0);
	if (c == -1 &&
	    (errno == EXDEV || errno == EINVAL || errno == EOPNOTSUPP ||
		errno == ENOSYS))
		c = copy_by_hand(from, in, to, out, n);
	return c;
}

int
cache_store_copy(int from, uint64_t at, int to, uint64_t *done, uint64_t size)
{
	struct file_clone_range range = {
		.src_fd = from,
		.src_offset = at,
		.src_length = size,
	};
	uint64_t left = SLICE, n;
	ssize_t c;

	if (*done == 0 && ioctl(to, FICLONERANGE, &range) == 0)
		*done = size;
	while (left > 0 && *done < size) {
		n = size - *done < left ? size - *done : left;
		c = copy_some(from, at + *done, to, *done, (size_t)n);
		if (c == 0)
			errno = ENODATA;
		if (c <= 0)
			return -1;
		*done += (uint64_t)c;
		left -= (uint64_t)c;
	}
	return *done < size;
}

uint64_t
cache_store_device(void)
{
	struct stat st;

	return fstat(dir_fd, &st) == -1 ? 0 : st.st_dev;
}

int
cache_store_free(uint64_t keep, int64_t *bytes)
{
	struct statvfs v;
	uint64_t size;

	if (fstatvfs(dir_fd, &v) == -1) {
		log_warn("cache: statvfs");
		return -1;
	}
	/* Nothing of it can be removed, either. */
	if (v.f_flag & ST_RDONLY) {
		errno = EROFS;
		return -1;
	}
	if (keep == 0) {
		size = (uint64_t)v.f_blocks * v.f_frsize / 50;
		keep = size > KEEP_MIN ? size : KEEP_MIN;
	}
	*bytes = (int64_t)((uint64_t)v.f_bavail * v.f_frsize) - (int64_t)keep;
	return 0;
}
