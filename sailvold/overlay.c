/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * overlay: overlay files and open descriptors.  In fuse.
 */
#include <sys/mman.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lib/log.h"
#include "lib/monotime.h"
#include "lib/rest.h"
#include "sailvold/journal.h"
#include "sailvold/overlay.h"
#include "sailvold/view.h"

#define BLOCK 4096 /* numbers taken at once */
#define KEPT_BYTES ((uint64_t)64 * 1024 * 1024)
#define NEEDED_MIN ((uint64_t)1 << 20)
#define ROOM_MS 200
#define PROBE_BYTES 4096 /* one page or less */
#define PROBE_TRIES 20   /* of a millisecond: longer than a tick */

static int files = -1;
static uint64_t next, taken; /* taken: numbers below stand in the journal */
static TAILQ_HEAD(vn_fds, vn) fds = TAILQ_HEAD_INITIALIZER(fds);
static unsigned int nfds, max_fds = 256;

int
overlay_open(void)
{
	if (mkdir("files", 0700) == -1 && errno != EEXIST)
		return -1;
	files = open("files", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (files == -1)
		return -1;
	/* A fuse whose parent has just died may still be about to end. */
	return flock(files, LOCK_EX);
}

/*
 * Writes dirty pages out, as a sync does before all else, so that the next store
 * into a mapping is seen.  The sync would wait for the file system's journal too,
 * and a mount for the sync.
 */
static int
probe_sync(int fd)
{
#if defined(__linux__)
	return sync_file_range(fd, 0, 0,
	    SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE |
		SYNC_FILE_RANGE_WAIT_AFTER);
#else
	return fdatasync(fd);
#endif
}

/*
 * Stores into the mapping, by the kernel: where the disk has no room that fails,
 * and a store of our own would end the process.
 */
static int
probe_store(int fd, void *p)
{
	return pread(fd, p, 1, PROBE_BYTES - 1) == 1 ? 0 : -1;
}

/* Stores until ctime is another, each after a sync: 1, 0, or -1. */
static int
probe_file(int fd, void *p)
{
	struct stat before, st;
	int i;

	if (probe_store(fd, p) == -1 || probe_sync(fd) == -1 ||
	    fstat(fd, &before) == -1)
		return -1;
	for (i = 0; i < PROBE_TRIES; i++) {
		(void)poll(NULL, 0, 1);
		if (probe_store(fd, p) == -1 || probe_sync(fd) == -1 ||
		    fstat(fd, &st) == -1)
			return -1;
		if (st.st_ctim.tv_sec != before.st_ctim.tv_sec ||
		    st.st_ctim.tv_nsec != before.st_ctim.tv_nsec)
			return 1;
	}
	return 0;
}

int
overlay_probe(void)
{
	void *p = MAP_FAILED;
	int fd, rc = -1;

	fd = openat(files, "probe",
	    O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd != -1 && unlinkat(files, "probe", 0) == 0 &&
	    ftruncate(fd, PROBE_BYTES) == 0)
		p = mmap(NULL, PROBE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED,
		    fd, 0);
	if (p != MAP_FAILED) {
		rc = probe_file(fd, p);
		munmap(p, PROBE_BYTES);
	}
	if (rc == -1)
		log_warn("overlay: probe of ctime");
	if (fd != -1)
		close(fd);
	return rc == 1;
}

/* 1: the lease was given, and given back. */
static int
lease(int fd)
{
	return fcntl(fd, F_SETLEASE, F_RDLCK) == 0 &&
	    fcntl(fd, F_SETLEASE, F_UNLCK) == 0;
}

int
overlay_leases(void)
{
	void *p = MAP_FAILED;
	int fd, ro, rc = 0;

	fd = openat(files, "probe",
	    O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	ro = openat(files, "probe", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	(void)unlinkat(files, "probe", 0);
	if (fd != -1 && ro != -1 && ftruncate(fd, PROBE_BYTES) == 0)
		p = mmap(NULL, PROBE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED,
		    fd, 0);
	if (fd != -1)
		close(fd);
	if (p != MAP_FAILED) {
		rc = !lease(ro);
		munmap(p, PROBE_BYTES);
		rc = rc && lease(ro);
	}
	if (ro != -1)
		close(ro);
	return rc;
}

int
overlay_mapped(int fd)
{
	return !lease(fd);
}

int
overlay_on_overlayfs(void)
{
	struct statfs st;

	return fstatfs(files, &st) == 0 && st.f_type == OVERLAYFS_SUPER_MAGIC;
}

void
overlay_set_next(uint64_t n)
{
	if (n <= OVL_ROOT)
		n = OVL_ROOT + 1;
	if (n > taken)
		next = taken = n;
}

static int
append_taken(uint64_t upto)
{
	struct record r;
	struct wbuf w;
	int error = 0;

	memset(&r, 0, sizeof(r));
	r.type = RECORD_ALLOC;
	r.next = upto;
	wbuf_init(&w, RECORD_MAX_BYTES);
	record_encode(&w, &r);
	if (w.error != 0)
		error = w.error;
	else if (journal_append(w.data, w.len) == -1)
		error = errno;
	wbuf_free(&w);
	errno = error;
	return error == 0 ? 0 : -1;
}

int
overlay_say_again(void)
{
	return append_taken(taken);
}

uint64_t
overlay_number(void)
{
	if (next < taken)
		return next++;
	if (append_taken(taken + BLOCK) == -1)
		return 0;
	taken += BLOCK;
	return next++;
}

static void
file_name(uint64_t ovl, char out[32])
{
	snprintf(out, 32, "%02x/%016" PRIx64, (unsigned int)(ovl & 0xff), ovl);
}

static int
create(const char *name, int flags)
{
	char dir[3] = { name[0], name[1], '\0' };
	int fd;

	fd = openat(files, name, flags, 0600);
	if (fd != -1 || errno != ENOENT)
		return fd;
	if (mkdirat(files, dir, 0700) == -1 && errno != EEXIST)
		return -1;
	return openat(files, name, flags, 0600);
}

/* One that a copy-up left when all died is not that copy-up's any more. */
static int
make_whole(int fd, uint64_t ovl)
{
	struct stat st;

	if (fstat(fd, &st) == -1)
		return -1;
	if (!(st.st_mode & REST_MODE))
		return 0;
	if (overlay_rest_unlink(ovl) == -1 && errno != ENOENT)
		return -1;
	return fchmod(fd, 0600);
}

int
overlay_create(uint64_t ovl, int again)
{
	const int flags = O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW;
	char name[32];
	int fd, error;

	file_name(ovl, name);
	if (!again) {
		fd = create(name, flags | O_EXCL);
		/* The number was taken before power was lost, and the record of
		   that went with it: no row and no stash has that file. */
		if (fd == -1 && errno == EEXIST && overlay_unlink(ovl) == 0)
			fd = create(name, flags | O_EXCL);
		return fd;
	}
	if ((fd = create(name, flags | O_TRUNC)) == -1)
		return -1;
	if (make_whole(fd, ovl) == -1) {
		error = errno;
		close(fd);
		errno = error;
		return -1;
	}
	return fd;
}

int
overlay_open_file(uint64_t ovl, int flags)
{
	char name[32];

	file_name(ovl, name);
	return openat(files, name, flags | O_CLOEXEC | O_NOFOLLOW);
}

int
overlay_set_times(int fd, const struct timespec ts[2], struct timens *mtime)
{
	struct stat st;

	if (futimens(fd, ts) == -1 || fstat(fd, &st) == -1)
		return -1;
	*mtime = timens_of(st.st_mtim);
	return 0;
}

static void
rest_name(uint64_t ovl, char out[40])
{
	file_name(ovl, out);
	strlcat(out, ".rest", 40);
}

int
overlay_rest_open(uint64_t ovl, int flags)
{
	char name[40];

	rest_name(ovl, name);
	return openat(files, name, flags | O_CLOEXEC | O_NOFOLLOW, 0600);
}

int
overlay_rest_unlink(uint64_t ovl)
{
	char name[40];

	rest_name(ovl, name);
	return unlinkat(files, name, 0);
}

int
overlay_unlink(uint64_t ovl)
{
	char name[32];

	file_name(ovl, name);
	if (unlinkat(files, name, 0) == -1)
		return -1;
	/* A file without it would be taken for whole; this one for nothing. */
	if (overlay_rest_unlink(ovl) == -1 && errno != ENOENT)
		return -1;
	return 0;
}

int
overlay_stat(uint64_t ovl, struct stat *st)
{
	char name[32];

	file_name(ovl, name);
	return fstatat(files, name, st, AT_SYMLINK_NOFOLLOW);
}

/* One that goes meanwhile takes nothing. */
int
overlay_bucket_bytes(unsigned int bucket, uint64_t *bytes)
{
	struct dirent *e;
	struct stat st;
	char name[3];
	DIR *dir;
	int fd;

	*bytes = 0;
	snprintf(name, sizeof(name), "%02x", bucket % OVERLAY_BUCKETS);
	fd = openat(files, name,
	    O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (fd == -1)
		return errno == ENOENT ? 0 : -1;
	if ((dir = fdopendir(fd)) == NULL) {
		close(fd);
		return -1;
	}
	while ((e = readdir(dir)) != NULL)
		if (fstatat(fd, e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
		    S_ISREG(st.st_mode))
			*bytes += (uint64_t)st.st_blocks * 512;
	closedir(dir);
	return 0;
}

/* Bytes that are kept. */
static uint64_t
kept(const struct statvfs *st)
{
	uint64_t quarter = (uint64_t)st->f_blocks * st->f_frsize / 4;

	return quarter < KEPT_BYTES ? quarter : KEPT_BYTES;
}

int
overlay_statvfs(struct statvfs *st)
{
	fsblkcnt_t blocks;

	if (fstatvfs(files, st) == -1)
		return -1;
	blocks = kept(st) / st->f_frsize;
	st->f_bavail = st->f_bavail > blocks ? st->f_bavail - blocks : 0;
	return 0;
}

uint64_t
overlay_device(void)
{
	struct stat st;

	return fstat(files, &st) == -1 ? 0 : st.st_dev;
}

static uint64_t refused; /* the last */

uint64_t
overlay_lacks(uint64_t bytes)
{
	struct statvfs st;

	bytes = refused > bytes ? refused : bytes;
	refused = 0;
	if (fstatvfs(files, &st) == -1)
		return 0;
	bytes += kept(&st) + NEEDED_MIN;
	return (uint64_t)st.f_bavail * st.f_frsize < bytes ? bytes : 0;
}

int
overlay_room(uint64_t bytes)
{
	/* What may be taken until the file system is looked at again. */
	static uint64_t room;
	static monotime_t until;
	struct statvfs st;

	if (bytes < room && !monotime_reached(until)) {
		room -= bytes;
		return 0;
	}
	room = 0;
	if (overlay_statvfs(&st) == -1)
		return errno;
	if (bytes >= (uint64_t)st.f_bavail * st.f_frsize) {
		refused = bytes;
		return ENOSPC;
	}
	/* Others write there too. */
	room = ((uint64_t)st.f_bavail * st.f_frsize - bytes) / 4;
	until = monotime_add_ms(monotime_now(), ROOM_MS);
	return 0;
}

/* ---- descriptors ------------------------------------------------------------- */

void
overlay_fd_limit(unsigned int max)
{
	max_fds = max < 16 ? 16 : max;
}

void
overlay_fd_drop(struct vn *vn)
{
	if (vn->fd == -1)
		return;
	TAILQ_REMOVE(&fds, vn, fd_link);
	nfds--;
	close(vn->fd);
	vn->fd = -1;
}

void
overlay_fd_used(struct vn *vn)
{
	if (vn->fd == -1 || TAILQ_FIRST(&fds) == vn)
		return;
	TAILQ_REMOVE(&fds, vn, fd_link);
	TAILQ_INSERT_HEAD(&fds, vn, fd_link);
}

void
overlay_fd_set(struct vn *vn, int fd, int local)
{
	overlay_fd_drop(vn);
	while (nfds >= max_fds)
		overlay_fd_drop(TAILQ_LAST(&fds, vn_fds));
	vn->fd = fd;
	vn->fd_local = local != 0;
	TAILQ_INSERT_HEAD(&fds, vn, fd_link);
	nfds++;
}

int
overlay_fd(struct vn *vn)
{
	int fd;

	if (vn->fd != -1 && vn->fd_local) {
		overlay_fd_used(vn);
		return vn->fd;
	}
	if ((fd = overlay_open_file(vn->ovl, O_RDWR)) == -1) {
		log_warn("overlay file %016" PRIx64, vn->ovl);
		if (errno == ENOENT)
			errno = EIO;
		return -1;
	}
	overlay_fd_set(vn, fd, 1);
	return fd;
}
