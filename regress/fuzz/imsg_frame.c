/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * Bytes at a channel: whatever they are, complete messages come out or the
 * channel ends, and no descriptor is left over.  u8 flags, then pieces: u8 how
 * many descriptors, u16 length and bytes.
 */
#include <sys/socket.h>
#include <dirent.h>
#include <fcntl.h>

#include "imsg/imsg.h"
#include "regress/fuzz/fuzz.h"

static int
open_files(void)
{
	DIR *d = opendir("/proc/self/fd");
	int n = 0;

	fuzz_check(d != NULL);
	while (readdir(d) != NULL)
		n++;
	closedir(d);
	return n;
}

static void
piece(int to, struct fuzz_in *in)
{
	union {
		struct cmsghdr hdr;
		char buf[CMSG_SPACE(sizeof(int) * 3)];
	} u;
	struct msghdr m = { 0 };
	struct cmsghdr *c;
	struct iovec iov;
	int i, fd[3], nfd = fuzz_u8(in) % 4;
	uint8_t none = 0;

	iov.iov_base = (void *)(uintptr_t)fuzz_bytes(in, 4096, &iov.iov_len);
	if (iov.iov_len == 0) {
		iov.iov_base = &none;
		iov.iov_len = 1;
	}
	m.msg_iov = &iov;
	m.msg_iovlen = 1;
	for (i = 0; i < nfd; i++)
		fd[i] = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (nfd > 0) {
		m.msg_control = u.buf;
		m.msg_controllen = CMSG_SPACE(sizeof(int) * (size_t)nfd);
		c = CMSG_FIRSTHDR(&m);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int) * (size_t)nfd);
		memcpy(CMSG_DATA(c), fd, sizeof(int) * (size_t)nfd);
	}
	(void)sendmsg(to, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
	while (nfd > 0)
		close(fd[--nfd]);
}

static void
fuzz_one(const uint8_t *p, size_t len)
{
	struct fuzz_in in = { p, len };
	struct imsgbuf b;
	struct imsg m;
	struct ibuf body;
	uint8_t flags = fuzz_u8(&in);
	size_t size;
	int sv[2], n, rc = 1, files = open_files();

	fuzz_check(socketpair(AF_UNIX,
		       SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, sv) == 0);
	fuzz_check(imsgbuf_init(&b, sv[0]) == 0);
	if (flags & 1)
		imsgbuf_allow_fdpass(&b);
	fuzz_check(imsgbuf_set_maxsize(&b, 1000) == 0);
	for (n = 0; n < 32 && in.left > 0 && rc != -1; n++) {
		piece(sv[1], &in);
		if (imsgbuf_read(&b) == -1)
			break;
		while ((rc = imsgbuf_get(&b, &m)) == 1) {
			size = imsg_get_len(&m);
			fuzz_check(size <= 1000);
			fuzz_check(imsg_get_ibuf(&m, &body) == 0 &&
			    ibuf_size(&body) == size);
			imsg_free(&m);
		}
	}
	imsgbuf_clear(&b);
	close(sv[0]);
	close(sv[1]);
	fuzz_check(open_files() == files);
}
