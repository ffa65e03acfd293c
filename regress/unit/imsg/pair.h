/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */

/*
 * What the tests of channels share: a pair of channels that notices leaked
 * descriptors, files that can be told apart, and a sender without manners.
 */

#ifndef UNIT_IMSG_PAIR_H
#define UNIT_IMSG_PAIR_H

#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <sys/mman.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "imsg/imsg.h"
#include "regress/unit/seed.h"

#define REFUSED(err, expr)                      \
	do {                                    \
		errno = 0;                      \
		assert_int_equal((expr), -1);   \
		assert_int_equal(errno, (err)); \
	} while (0)

struct pair {
	int sv[2];
	struct imsgbuf a; /* sends */
	struct imsgbuf b; /* receives */
	int open_before;
};

static inline int
count_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int n = 0;

	assert_non_null(dir);
	while (readdir(dir) != NULL)
		n++;
	closedir(dir);
	return n;
}

static inline void
pair_flags(struct pair *p, int flags)
{
	p->open_before = count_fds();
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | flags,
			     0, p->sv),
	    0);
	assert_int_equal(imsgbuf_init(&p->a, p->sv[0]), 0);
	assert_int_equal(imsgbuf_init(&p->b, p->sv[1]), 0);
	imsgbuf_allow_fdpass(&p->a);
	imsgbuf_allow_fdpass(&p->b);
}

static inline void
pair_open(struct pair *p)
{
	pair_flags(p, SOCK_NONBLOCK);
}

static inline void
pair_close(struct pair *p)
{
	imsgbuf_clear(&p->a);
	imsgbuf_clear(&p->b);
	imsgbuf_clear(&p->b);
	if (p->sv[0] != -1)
		close(p->sv[0]);
	close(p->sv[1]);
	assert_int_equal(count_fds(), p->open_before);
}

/* A file that can be told from others. */
static inline int
fd_with(uint32_t mark)
{
	int fd = memfd_create("imsg", MFD_CLOEXEC);

	assert_int_not_equal(fd, -1);
	assert_int_equal(write(fd, &mark, sizeof(mark)), sizeof(mark));
	return fd;
}

/* It is that one, has close-on-exec, and is closed here. */
static inline void
assert_fd(int fd, uint32_t mark)
{
	uint32_t got = ~mark;

	assert_int_not_equal(fd, -1);
	assert_int_equal(pread(fd, &got, sizeof(got), 0), sizeof(got));
	assert_int_equal(got, mark);
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	close(fd);
}

static inline void
raw_header(unsigned char *p, uint32_t type, uint32_t len)
{
	uint32_t hdr[4] = { type, len, 0, 1 };

	memcpy(p, hdr, sizeof(hdr));
}

/* Send bytes and n descriptors in one control message, as anybody could. */
static inline void
raw_send(int s, const void *data, size_t len, const int *fds, size_t n)
{
	struct iovec iov = { (void *)(uintptr_t)data, len };
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(64 * sizeof(int))];
	} control;
	struct msghdr msg;
	struct cmsghdr *cmsg;

	memset(&msg, 0, sizeof(msg));
	memset(&control, 0, sizeof(control));
	msg.msg_iov = &iov;
	msg.msg_iovlen = 1;
	if (n > 0) {
		msg.msg_control = &control;
		msg.msg_controllen = CMSG_SPACE(n * sizeof(int));
		cmsg = CMSG_FIRSTHDR(&msg);
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(n * sizeof(int));
		memcpy(CMSG_DATA(cmsg), fds, n * sizeof(int));
	}
	assert_int_equal(sendmsg(s, &msg, MSG_NOSIGNAL), (ssize_t)len);
}

static inline void
compose(struct pair *p, uint32_t type, int fd, const void *data, size_t len)
{
	assert_int_equal(imsg_compose(&p->a, type, type + 1000, 0, fd, data,
			     len),
	    1);
}

static inline void
next_message(struct pair *p, struct imsg *m, uint32_t type)
{
	while (imsgbuf_get(&p->b, m) == 0)
		assert_int_equal(imsgbuf_read(&p->b), 1);
	assert_non_null(m->buf);
	assert_int_equal(imsg_get_type(m), type);
}

#endif /* UNIT_IMSG_PAIR_H */
