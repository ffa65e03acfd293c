/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * overlay: overlay files and open descriptors.  In fuse.
 */
#include <sys/mman.h>
#include <sys/stat.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lib/log.h"
#include "lib/monotime.h"
#include "sailvold/journal.h"
#include "sailvold/overlay.h"
#include "sailvold/view.h"

#define BLOCK 4096 /* numbers taken at once */
#define KEPT_BYTES ((uint64_t)64 * 1024 * 1024)
#define ROOM_MS 200
#define PROBE_BYTES 4096 /* one page or less */
#define PROBE_TRIES 20   /* of a millisecond: longer than a tick */

static int files = -1;
static uint64_t next, taken; /* taken: numbers below stand in the journal */
static uint8_t made[256];
static TAILQ_HEAD(vn_fds, vn) fds = TAILQ_HEAD_INITIALIZER(fds);
static unsigned int nfds, max_fds = 256;

int
overlay_open(void)
{
	if (mkdir("files", 0700) == -1 && errno != EEXIST)
		return -1;
	files = open("files", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	return files == -1 ? -1 : 0;
}

/* Stores until ctime is another, each after a sync: 1, 0, or -1. */
static int
probe_file(int fd, volatile uint8_t *p)
{
	struct stat before, st;
	int i;

	p[0] = 1;
	if (fdatasync(fd) == -1 || fstat(fd, &before) == -1)
		return -1;
	for (i = 0; i < PROBE_TRIES; i++) {
		(void)poll(NULL, 0, 1);
		p[0]++;
		if (fdatasync(fd) == -1 || fstat(fd, &st) == -1)
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

void
overlay_set_next(uint64_t n)
{
	if (n <= OVL_ROOT)
		n = OVL_ROOT + 1;
	if (n > taken)
		next = taken = n;
}

uint64_t
overlay_number(void)
{
	struct record r;
	struct wbuf w;
	int error = 0;

	if (next < taken)
		return next++;
	memset(&r, 0, sizeof(r));
	r.type = RECORD_ALLOC;
	r.next = taken + BLOCK;
	wbuf_init(&w, RECORD_MAX_BYTES);
	record_encode(&w, &r);
	if (w.error != 0)
		error = w.error;
	else if (journal_append(w.data, w.len) == -1)
		error = errno;
	wbuf_free(&w);
	if (error != 0) {
		errno = error;
		return 0;
	}
	taken += BLOCK;
	return next++;
}

static void
file_name(uint64_t ovl, char out[32])
{
	snprintf(out, 32, "%02x/%016" PRIx64, (unsigned int)(ovl & 0xff), ovl);
}

int
overlay_create(uint64_t ovl, int again)
{
	char name[32], dir[3];
	int fd;

	snprintf(dir, sizeof(dir), "%02x", (unsigned int)(ovl & 0xff));
	if (!made[ovl & 0xff]) {
		if (mkdirat(files, dir, 0700) == -1 && errno != EEXIST)
			return -1;
		made[ovl & 0xff] = 1;
	}
	file_name(ovl, name);
	fd = openat(files, name,
	    O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW |
		(again ? O_TRUNC : O_EXCL),
	    0600);
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
overlay_unlink(uint64_t ovl)
{
	char name[32];

	file_name(ovl, name);
	return unlinkat(files, name, 0);
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
	if (bytes >= (uint64_t)st.f_bavail * st.f_frsize)
		return ENOSPC;
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
