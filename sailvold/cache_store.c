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

#define NAME_LEN (1 + HASH_HEX_LEN + 1) /* HH/HEX62 */
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
name_of(const struct hash *h, char name[NAME_LEN])
{
	char hex[HASH_HEX_LEN + 1];

	hash_hex(h, hex);
	snprintf(name, NAME_LEN, "%.2s/%s", hex, hex + 2);
}

int
cache_store_open(const struct hash *h, uint64_t *size)
{
	char name[NAME_LEN];
	struct stat st;
	int fd;

	name_of(h, name);
	if ((fd = openat(ro_fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC)) == -1)
		return -1;
	if (fstat(fd, &st) == -1 || !S_ISREG(st.st_mode)) {
		close(fd);
		errno = EBADMSG;
		return -1;
	}
	if (size != NULL)
		*size = (uint64_t)st.st_size;
	return fd;
}

void
cache_store_remove(const struct hash *h)
{
	char name[NAME_LEN];

	name_of(h, name);
	if (unlinkat(dir_fd, name, 0) == -1 && errno != ENOENT)
		log_warn("cache: %s", name);
}

void
cache_store_touch(const struct hash *h)
{
	struct timespec t[2] = { { 0, UTIME_NOW }, { 0, UTIME_OMIT } };
	char name[NAME_LEN];

	name_of(h, name);
	if (utimensat(dir_fd, name, t, AT_SYMLINK_NOFOLLOW) == -1)
		log_debug("cache: %s: utimensat: %s", name, strerror(errno));
}

/*
 * One name of a folder.  64 digits are a file of a former version, named by
 * content alone: of whom it is nobody knows.
 */
static void
scan_name(int fd, const char *folder, const char *name,
    void (*f)(const struct hash *, uint64_t, int64_t))
{
	char hex[HASH_HEX_LEN + 1];
	struct hash h;
	struct stat st;

	if (name[0] == '.')
		return;
	if (fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) == -1)
		return;
	if (S_ISREG(st.st_mode) && hash_parse(&h, name, strlen(name)) == 0) {
		if (unlinkat(fd, name, 0) == -1)
			log_warn("cache: %s/%s", folder, name);
		return;
	}
	snprintf(hex, sizeof(hex), "%s%s", folder, name);
	if (!S_ISREG(st.st_mode) || strlen(name) != HASH_HEX_LEN - 2 ||
	    hash_parse(&h, hex, HASH_HEX_LEN) == -1) {
		log_warnx("cache: %s/%s is not ours", folder, name);
		return;
	}
	f(&h, (uint64_t)st.st_blocks * 512, st.st_atim.tv_sec);
}

void
cache_store_scan(unsigned int i,
    void (*f)(const struct hash *, uint64_t, int64_t))
{
	struct dirent *d;
	char folder[4];
	DIR *dir;
	int fd;

	snprintf(folder, sizeof(folder), "%02x", i & 0xff);
	if ((fd = open_dir(folder)) == -1) {
		if (errno != ENOENT)
			log_warn("cache: %s", folder);
		return;
	}
	if ((dir = fdopendir(fd)) == NULL) {
		log_warn("cache: %s", folder);
		close(fd);
		return;
	}
	while ((d = readdir(dir)) != NULL)
		scan_name(dirfd(dir), folder, d->d_name, f);
	closedir(dir);
}

/* ---- files that grow ---------------------------------------------------------- */

int
cache_store_tmp(char name[CACHE_TMP_LEN], uint64_t size)
{
	int fd, saved;

	snprintf(name, CACHE_TMP_LEN, "tmp/%u", tmp_next++);
	fd = openat(dir_fd, name,
	    O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd == -1)
		return -1;
	if (ftruncate(fd, (off_t)size) == -1) {
		saved = errno;
		close(fd);
		cache_store_tmp_drop(name);
		errno = saved;
		return -1;
	}
	return fd;
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
cache_store_keep(const char *name, const struct hash *h)
{
	char to[NAME_LEN], folder[4];

	name_of(h, to);
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
copy_by_hand(int from, int to, uint64_t offset, size_t n)
{
	static uint8_t buf[256 * 1024];
	ssize_t r, w;

	if (n > sizeof(buf))
		n = sizeof(buf);
	if ((r = pread(from, buf, n, (off_t)offset)) <= 0)
		return r;
	w = pwrite(to, buf, (size_t)r, (off_t)offset);
	return w;
}

static ssize_t
copy_some(int from, int to, uint64_t offset, size_t n)
{
	off_t in = (off_t)offset, out = (off_t)offset;
	ssize_t c;

	c = copy_file_range(from, &in, to, &out, n, 0);
	if (c == -1 &&
	    (errno == EXDEV || errno == EINVAL || errno == EOPNOTSUPP ||
		errno == ENOSYS))
		c = copy_by_hand(from, to, offset, n);
	return c;
}

int
cache_store_copy(int from, int to, uint64_t *offset, uint64_t size)
{
	uint64_t left = SLICE, n;
	off_t at;
	ssize_t c;

	if (*offset == 0 && ioctl(to, FICLONE, from) == 0)
		return 0;
	while (left > 0) {
		at = lseek(from, (off_t)*offset, SEEK_DATA);
		if (at == -1 && errno != ENXIO)
			at = (off_t)*offset;
		if (at == -1 || (uint64_t)at >= size)
			break;
		n = size - (uint64_t)at < left ? size - (uint64_t)at : left;
		if ((c = copy_some(from, to, (uint64_t)at, (size_t)n)) == -1)
			return -1;
		if (c == 0)
			break; /* shorter than it was: verification finds it */
		*offset = (uint64_t)at + (uint64_t)c;
		left -= (uint64_t)c;
	}
	if (left == 0 && *offset < size)
		return 1;
	(void)posix_fadvise(from, 0, 0, POSIX_FADV_DONTNEED);
	(void)posix_fadvise(to, 0, 0, POSIX_FADV_DONTNEED);
	return 0;
}

int64_t
cache_store_free(uint64_t keep)
{
	struct statvfs v;
	uint64_t size;

	if (fstatvfs(dir_fd, &v) == -1) {
		log_warn("cache: statvfs");
		return 0;
	}
	if (keep == 0) {
		size = (uint64_t)v.f_blocks * v.f_frsize / 50;
		keep = size > KEEP_MIN ? size : KEEP_MIN;
	}
	return (int64_t)((uint64_t)v.f_bavail * v.f_frsize) - (int64_t)keep;
}
