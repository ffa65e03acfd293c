/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * privileged: every act of the parent of sailvold(8) that needs root, each with
 * its check.  What can block on a mount is done by a short-lived child.
 */
#ifndef SAILVOLD_PRIVILEGED_H
#define SAILVOLD_PRIVILEGED_H

#include <sys/types.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Makes the folders of the path that are missing (root, 0711), and the last
 * one with that owner and mode; opened without following links.  0, or -1
 * after a message; also when it is there and belongs to somebody else.
 */
int priv_make_folder(const char *path, uid_t, gid_t, mode_t);

/*
 * A listening socket at path: an old one that nobody serves is removed.
 * -1 after a message.
 */
int priv_listen(const char *path, uid_t, gid_t, mode_t);
/* 0: that descriptor listens there, and the socket is whose it is to be; -1 and
   errno. */
int priv_listen_on(int fd, const char *path, uid_t, gid_t, mode_t);

/*
 * A listening socket there; the port that it got is written to the file, whole,
 * readable for all (NULL: nowhere).  -1 after a message.
 */
struct inaddr;
int priv_listen_loopback(const struct inaddr *, const char *port_file);
/* The port of a socket, the same way. */
int priv_write_port(int fd, const char *port_file);

/* What a look at a mount point said. */
struct point {
	int fd;    /* O_PATH; the caller's */
	int error; /* errno, and what in words */
	char what[512];
	char warning[512]; /* "" or "... is not empty ..." */
	char real[4096];   /* the path without doubled slashes */
};
/*
 * Looks at a mount point in a child: a directory, no links in its path, not
 * `/', nothing of ours mounted there, and, for others than root, owned by uid.
 * A dead mount of sailvold there is taken away first.  done is called once,
 * from the event loop.  0, or -1 and errno.  What does not answer in time is
 * waited for no longer, ETIMEDOUT: here, or to done.
 */
typedef void (*point_cb)(void *arg, struct point *);
int priv_open_point(const char *path, uid_t uid, point_cb done, void *arg);

/*
 * Makes the folder if need be, and keeps every other sailvold from it as long
 * as this process lives.  -1 after a message.
 */
int priv_lock_state(const char *path);

/*
 * A connection to the kernel of type fuse.sailvol, with the volume as source,
 * and its INIT request.  *mount_fd is not attached yet.  -1 and what.
 */
struct session {
	int fuse_fd, mount_fd;
	uint8_t init[512];
	size_t init_len;
	uint64_t mount_id; /* of statx(2), once attached */
	uint8_t connection[16];
};
#define PRIV_READONLY 0x1
#define PRIV_SUID 0x2
#define PRIV_NOEXEC 0x4
int priv_make_session(struct session *, const char *volume, int flags,
    char *what, size_t size);
/* Attaches it to the directory; -1 and errno. */
int priv_attach(struct session *, int point_fd);
/* 1 when the kernel has ended it: no mount is left that shows it, or it was
   aborted (fuse_dev_poll() of the kernel: POLLERR). */
int priv_session_is_over(const struct session *);

/* The folder of a mount, for priv_backing_open(); -1 and errno. */
int priv_open_folder(const char *path);
/*
 * Registers the overlay file with that number, in that folder of a mount, with
 * the mount's connection to the kernel, which will read and write it with the
 * rights of that user, not with root's.  It must be a regular file of his with
 * one name, reached without links.  An id, or -1 and errno.
 */
int32_t priv_backing_open(int fuse_fd, int folder_fd, uint64_t ovl, uid_t uid,
    gid_t gid);
/* -1 and errno. */
int priv_backing_close(int fuse_fd, uint32_t id);

/*
 * Takes the mount with that id at path away, in a child; detach: also while it
 * is busy.  done(arg, errno).  ETIMEDOUT, here or to done: the folders that lead
 * there do not answer, and the mount is there still; it may go when they do.
 */
typedef void (*umount_cb)(void *arg, int error);
int priv_umount(const char *path, uint64_t mount_id, int detach, umount_cb done,
    void *arg);

/* 1 when FUSE works here, else what says what to install or load. */
int priv_fuse_works(char *what, size_t size);

/*
 * /dev/cpu_dma_latency, for whoever may keep all processors of the machine
 * awake; -1 where there is none, or no idle driver that heeds it.
 */
int priv_open_latency(void);

#endif
