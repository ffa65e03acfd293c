/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * far: the other ends of the channels of a process that is fuzzed whole, what
 * they send, and a folder for each input.  For role.h and parent.h.
 */
#ifndef REGRESS_FUZZ_FAR_H
#define REGRESS_FUZZ_FAR_H

#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <bsd/unistd.h>
#include <net/if.h>
#include <fcntl.h>
#include <ftw.h>
#include <sched.h>

#include "lib/memfd.h"
#include "lib/proc.h"
#include "regress/fuzz/fuzz.h"

#define FLAG_FIT 0x01   /* the body is made as long as the rule wants it */
#define FLAG_ASKED 0x02 /* number: of a question */
#define FLAG_FD 0x04    /* where it may be or not */
#define FLAG_WRONG 0x08 /* with a descriptor where there is none, and so on */
#define FLAG_LATER 0x10 /* sent together with the next */
#define FLAG_AGAIN 0x20 /* twice */

/* Runs an input, in its folder. */
static void far_run(const uint8_t *, size_t);

/* ---- the other ends ------------------------------------------------------ */

#define ASKED_MAX 16

struct far {
	uint8_t role;
	struct chan *chan;     /* it writes */
	struct imsgbuf reader; /* of the same socket */
	uint32_t asked[ASKED_MAX];
	uint32_t nasked;
};
static UNUSED int nmessages; /* of the input's own */

static UNUSED void
no_sockets(int out[2], int type)
{
	int sv[2], i;

	if (socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, sv) == -1)
		abort();
	/* Not on descriptor 3. */
	for (i = 0; i < 2; i++) {
		out[i] = fcntl(sv[i], F_DUPFD_CLOEXEC, 20);
		close(sv[i]);
		if (out[i] == -1)
			abort();
	}
}

static void
far_open(struct far *f, uint8_t role, int fd)
{
	static const struct chan_ops ops;

	memset(f, 0, sizeof(*f));
	f->role = role;
	f->chan = chan_new(fd, role, 1, PROC_MAX_BODY, &ops, NULL);
	if (f->chan == NULL || imsgbuf_init(&f->reader, fd) == -1 ||
	    imsgbuf_set_maxsize(&f->reader, PROC_MAX_BODY) == -1)
		abort();
	imsgbuf_allow_fdpass(&f->reader);
	chan_pause(f->chan);
}

/* A socket at which these bytes have come, and then the end. */
static int
socket_with(const uint8_t *p, size_t len)
{
	int sv[2];

	no_sockets(sv, SOCK_STREAM);
	if (write(sv[0], p, len) != (ssize_t)len)
		abort();
	shutdown(sv[0], SHUT_WR);
	/* The other end stays open: an answer has somewhere to go. */
	return sv[1];
}

static int
file_with(const uint8_t *p, size_t len)
{
	int fd = open("/file", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd == -1 || write(fd, p, len) != (ssize_t)len || unlink("/file"))
		abort();
	return fd;
}

static UNUSED int
some_descriptor(uint8_t kind, const uint8_t *p, size_t len)
{
	int fd, ends[2];

	switch (kind & 15) {
	case 1:
		return file_with(p, len);
	case 2:
		if ((fd = memfd_create("open", MFD_CLOEXEC)) == -1 ||
		    write(fd, p, len) != (ssize_t)len)
			abort();
		return fd;
	case 3:
		return socket_with(p, len);
	case 4:
		if (pipe2(ends, O_CLOEXEC) == -1)
			abort();
		close(ends[1]);
		return ends[0];
	case 5:
		return open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	case 6:
		return open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	default:
		return memfd_new("fuzz", p, len);
	}
}

static UNUSED uint32_t
some_number(const struct far *f, uint8_t flags, uint8_t number)
{
	uint32_t have = f->nasked < ASKED_MAX ? f->nasked : ASKED_MAX;

	if (!(flags & FLAG_ASKED) || have == 0)
		return number;
	return f->asked[(f->nasked - 1 - number % have) % ASKED_MAX];
}

/* ---- a folder for each input --------------------------------------------- */

static char fuzz_folder[64];

static int
remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st;
	(void)flag;
	return ftw->level == 0 && strcmp(path, fuzz_folder) == 0 ? 0
								 : remove(path);
}

static void
remove_folder(void)
{
	(void)nftw(fuzz_folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	(void)rmdir(fuzz_folder);
}

static void
loopback_up(void)
{
	struct ifreq r = { .ifr_name = "lo", .ifr_flags = IFF_UP };
	int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (s == -1 || ioctl(s, SIOCSIFFLAGS, &r) == -1)
		abort();
	close(s);
}

static void
in_folder(const uint8_t *p, size_t len)
{
	if (geteuid() != 0) {
		if (unshare(CLONE_NEWUSER | CLONE_NEWNET) == -1)
			abort();
		loopback_up();
	}
	if (chroot(fuzz_folder) == -1 || chdir("/") == -1)
		abort();
	far_run(p, len);
}

/* How it ended. */
static UNUSED int
far_fuzz(const uint8_t *p, size_t len)
{
	if (fuzz_folder[0] == '\0') {
		(void)strlcpy(fuzz_folder,
		    access("/dev/shm", W_OK) == 0 ? "/dev/shm/sail-fuzz.XXXXXX"
						  : "/tmp/sail-fuzz.XXXXXX",
		    sizeof(fuzz_folder));
		if (mkdtemp(fuzz_folder) == NULL)
			abort();
		(void)atexit(remove_folder);
		/* Nothing goes out, whatever address an input has. */
		if (geteuid() == 0) {
			if (unshare(CLONE_NEWNET) == -1)
				abort();
			loopback_up();
		}
	}
	(void)nftw(fuzz_folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	return fuzz_forked(in_folder, p, len);
}

#endif
