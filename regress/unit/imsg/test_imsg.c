/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */

/*
 * Claim: messages and their descriptors arrive whole, in order and with
 * their own message however the stream is cut, hostile input ends a channel
 * cleanly, and no descriptor is lost or left open.
 */

#include <sys/resource.h>
#include <sys/socket.h>
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

static int
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

static void
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

static void
pair_open(struct pair *p)
{
	pair_flags(p, SOCK_NONBLOCK);
}

static void
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
static int
fd_with(uint32_t mark)
{
	int fd = memfd_create("imsg", MFD_CLOEXEC);

	assert_int_not_equal(fd, -1);
	assert_int_equal(write(fd, &mark, sizeof(mark)), sizeof(mark));
	return fd;
}

/* It is that one, has close-on-exec, and is closed here. */
static void
assert_fd(int fd, uint32_t mark)
{
	uint32_t got = ~mark;

	assert_int_not_equal(fd, -1);
	assert_int_equal(pread(fd, &got, sizeof(got), 0), sizeof(got));
	assert_int_equal(got, mark);
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	close(fd);
}

static void
raw_header(unsigned char *p, uint32_t type, uint32_t len)
{
	uint32_t hdr[4] = { type, len, 0, 1 };

	memcpy(p, hdr, sizeof(hdr));
}

/* Send bytes and n descriptors in one control message, as anybody could. */
static void
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

static void
compose(struct pair *p, uint32_t type, int fd, const void *data, size_t len)
{
	assert_int_equal(imsg_compose(&p->a, type, type + 1000, 0, fd, data,
			     len),
	    1);
}

static void
all_functions(void **state)
{
	struct pair p;
	struct imsg m, f;
	struct ibuf *b, v;
	char ab[] = "ab", cde[] = "cde";
	struct iovec iov[3] = { { ab, 2 }, { NULL, 0 }, { cde, 3 } };
	char out[16];
	uint32_t n;

	(void)state;
	pair_open(&p);
	assert_int_equal(imsgbuf_get(&p.b, &m), 0);
	imsg_free(&m);
	assert_int_equal(imsgbuf_read(&p.b), 1);
	assert_int_equal(imsgbuf_write(&p.a), 0);

	assert_int_equal(imsg_compose(&p.a, 1, 2, 3, -1, "hello", 5), 1);
	assert_int_equal(imsg_compose(&p.a, 2, 0, 0, -1, NULL, 0), 1);
	assert_int_equal(imsg_composev(&p.a, 3, 0, 0, -1, iov, 3), 1);
	assert_non_null(b = ibuf_dynamic(0, 100));
	assert_int_equal(ibuf_add_n32(b, 7), 0);
	assert_int_equal(ibuf_add_strbuf(b, "name", 8), 0);
	assert_int_equal(ibuf_fd_set(b, fd_with(4)), 0);
	assert_int_equal(imsg_compose_ibuf(&p.a, 4, 0, 0, b), 1);
	assert_non_null(b = imsg_create(&p.a, 5, 6, 7, 4));
	assert_int_equal(imsg_add(b, "1234", 4), 4);
	assert_int_equal(ibuf_add(b, "56789", 5), 0);
	assert_int_equal(ibuf_size(b), 9);
	assert_int_equal(ibuf_fd_set(b, fd_with(5)), 0);
	imsg_close(&p.a, b);
	assert_non_null(b = imsg_create(&p.a, 9, 0, 0, 0));
	ibuf_free(b);
	assert_int_equal(imsgbuf_queuelen(&p.a), 5);
	assert_int_equal(imsgbuf_flush(&p.a), 0);
	assert_int_equal(imsgbuf_queuelen(&p.a), 0);

	while (imsgbuf_get(&p.b, &m) == 0)
		assert_int_equal(imsgbuf_read(&p.b), 1);
	assert_int_equal(imsg_get_type(&m), 1);
	assert_int_equal(imsg_get_id(&m), 2);
	assert_int_equal(imsg_get_pid(&m), 3);
	assert_int_equal(imsg_get_len(&m), 5);
	REFUSED(EBADMSG, imsg_get_data(&m, out, 4));
	REFUSED(EBADMSG, imsg_get_data(&m, out, 6));
	assert_int_equal(imsg_get_data(&m, out, 5), 0);
	assert_memory_equal(out, "hello", 5);
	assert_int_equal(imsg_get_len(&m), 0);
	assert_int_equal(imsg_get_fd(&m), -1);
	imsg_free(&m);
	imsg_free(&m);

	assert_int_equal(imsgbuf_get(&p.b, &m), 1);
	assert_int_equal(imsg_get_pid(&m), getpid());
	assert_int_equal(imsg_get_ibuf(&m, &v), 0);
	assert_int_equal(ibuf_size(&v), 0);
	imsg_free(&m);
	assert_int_equal(imsgbuf_get(&p.b, &m), 1);
	assert_int_equal(imsg_get_buf(&m, out, 2), 0);
	assert_int_equal(imsg_get_len(&m), 3);
	REFUSED(EBADMSG, imsg_get_buf(&m, out + 2, 4));
	assert_int_equal(imsg_get_data(&m, out + 2, 3), 0);
	assert_memory_equal(out, "abcde", 5);
	imsg_free(&m);

	/* Forwarded whole, though partly read, and without descriptor. */
	while (imsgbuf_get(&p.b, &m) == 0)
		assert_int_equal(imsgbuf_read(&p.b), 1);
	assert_int_equal(imsg_get_buf(&m, &n, 4), 0);
	assert_int_equal(imsg_forward(&p.b, &m), 1);
	assert_int_equal(imsg_get_strbuf(&m, out, 8), 0);
	assert_string_equal(out, "name");
	assert_int_equal(imsgbuf_flush(&p.b), 0);
	assert_int_equal(imsgbuf_read(&p.a), 1);
	assert_int_equal(imsgbuf_get(&p.a, &f), 1);
	assert_int_equal(imsg_get_type(&f), 4);
	assert_int_equal(imsg_get_len(&f), 12);
	assert_int_equal(imsg_get_fd(&f), -1);
	assert_int_equal(imsg_get_ibuf(&f, &v), 0);
	assert_int_equal(ibuf_get_n32(&v, &n), 0);
	assert_int_equal(n, 7);
	imsg_free(&f);
	REFUSED(EINVAL, imsg_forward(&p.b, &f));
	assert_fd(imsg_get_fd(&m), 4);
	assert_int_equal(imsg_get_fd(&m), -1);
	imsg_free(&m);

	/* Nobody takes this one's descriptor. */
	while (imsgbuf_get(&p.b, &m) == 0)
		assert_int_equal(imsgbuf_read(&p.b), 1);
	assert_int_equal(imsg_get_type(&m), 5);
	assert_int_equal(imsg_get_id(&m), 6);
	assert_int_equal(imsg_get_data(&m, out, 9), 0);
	assert_memory_equal(out, "123456789", 9);
	imsg_free(&m);
	assert_int_equal(imsgbuf_get(&p.b, &m), 0);
	pair_close(&p);
}

static void
limits_and_misuse(void **state)
{
	struct pair p;
	struct imsg m;
	struct ibuf *b, v;
	char abc[] = "abcde", fgh[] = "fghijk";
	struct iovec iov[2] = { { abc, 5 }, { fgh, 6 } };
	char big[MAX_IMSGSIZE];
	int fd;

	(void)state;
	memset(big, 'b', sizeof(big));
	pair_open(&p);
	fd = fd_with(1);
	REFUSED(ERANGE, imsg_compose(&p.a, 1, 0, 0, fd, big, sizeof(big) - 15));
	assert_int_not_equal(fcntl(fd, F_GETFD), -1);
	compose(&p, 1, fd, big, sizeof(big) - 16);
	assert_int_equal(imsgbuf_flush(&p.a), 0);
	REFUSED(EBADF, fcntl(fd, F_GETFD));
	while (imsgbuf_get(&p.b, &m) == 0)
		assert_int_equal(imsgbuf_read(&p.b), 1);
	assert_int_equal(imsg_get_len(&m), sizeof(big) - 16);
	imsg_free(&m);

	assert_int_equal(imsgbuf_set_maxsize(&p.a, 10), 0);
	REFUSED(ERANGE, imsg_composev(&p.a, 1, 0, 0, -1, iov, 2));
	REFUSED(ERANGE, imsg_compose(&p.a, 1, 0, 0, -1, big, SIZE_MAX));
	assert_null(imsg_create(&p.a, 1, 0, 0, 11));
	assert_non_null(b = imsg_create(&p.a, 1, 0, 0, 0));
	assert_int_equal(imsg_add(b, big, 10), 10);
	REFUSED(ERANGE, imsg_add(b, big, 1));
	assert_non_null(b = ibuf_open(11));
	assert_int_equal(ibuf_add_zero(b, 11), 0);
	assert_int_equal(ibuf_fd_set(b, fd_with(2)), 0);
	REFUSED(ERANGE, imsg_compose_ibuf(&p.a, 1, 0, 0, b));
	assert_int_equal(imsgbuf_set_maxsize(&p.a, 0), 0);
	assert_int_equal(imsg_compose(&p.a, 1, 0, 0, -1, NULL, 0), 1);
	REFUSED(ERANGE, imsg_compose(&p.a, 1, 0, 0, -1, "x", 1));
	REFUSED(ERANGE, imsgbuf_set_maxsize(&p.a, 0x7ffffff0));
	REFUSED(ERANGE, imsgbuf_set_maxsize(&p.a, UINT32_MAX));
	assert_int_equal(imsgbuf_set_maxsize(&p.a, 0x7fffffef), 0);
	assert_int_equal(imsgbuf_set_maxsize(&p.a, 100), 0);

	REFUSED(EINVAL, imsg_compose(&p.a, 1, 0, 0, -2, "x", 1));
	REFUSED(EINVAL, imsg_compose(&p.a, 1, 0, 0, -1, NULL, 1));
	REFUSED(EINVAL, imsg_composev(&p.a, 1, 0, 0, -1, iov, -1));
	REFUSED(EINVAL, imsg_compose_ibuf(&p.a, 1, 0, 0, NULL));
	ibuf_from_buffer(&v, big, 3);
	REFUSED(EINVAL, imsg_compose_ibuf(&p.a, 1, 0, 0, &v));
	assert_int_equal(imsgbuf_queuelen(&p.a), 1);

	/* A cleared channel. */
	fd = fd_with(3);
	assert_non_null(b = imsg_create(&p.a, 1, 0, 0, 0));
	imsgbuf_clear(&p.a);
	REFUSED(EINVAL, imsgbuf_read(&p.a));
	REFUSED(EINVAL, imsgbuf_get(&p.a, &m));
	REFUSED(EINVAL, imsgbuf_write(&p.a));
	REFUSED(EINVAL, imsg_compose(&p.a, 1, 0, 0, fd, "x", 1));
	assert_int_equal(imsgbuf_queuelen(&p.a), 0);
	imsg_close(&p.a, b);
	assert_non_null(b = ibuf_open(1));
	REFUSED(EINVAL, imsg_compose_ibuf(&p.a, 1, 0, 0, b));
	assert_int_equal(close(fd), 0);
	pair_close(&p);
}

/* Descriptors on a channel, or to a channel, that does not pass them. */
static void
fdpass_not_allowed(void **state)
{
	struct pair p;
	struct imsgbuf c;
	struct imsg m;
	struct ibuf *b;
	int fd;

	(void)state;
	pair_open(&p);
	assert_int_equal(imsgbuf_init(&c, p.sv[0]), 0);
	fd = fd_with(1);
	REFUSED(EINVAL, imsg_compose(&c, 1, 0, 0, fd, "x", 1));
	assert_int_not_equal(fcntl(fd, F_GETFD), -1);
	assert_non_null(b = ibuf_open(0));
	assert_int_equal(ibuf_fd_set(b, dup(fd)), 0);
	REFUSED(EINVAL, imsg_compose_ibuf(&c, 1, 0, 0, b));
	assert_non_null(b = imsg_create(&c, 1, 0, 0, 0));
	assert_int_equal(ibuf_fd_set(b, dup(fd)), 0);
	imsg_close(&c, b);
	REFUSED(EINVAL, imsgbuf_write(&c));
	imsgbuf_clear(&c);

	assert_int_equal(imsgbuf_init(&c, p.sv[1]), 0);
	compose(&p, 1, -1, "x", 1);
	compose(&p, 2, fd, "x", 1);
	assert_int_equal(imsgbuf_flush(&p.a), 0);
	assert_int_equal(imsgbuf_read(&c), 1);
	while (imsgbuf_get(&c, &m) == 0)
		assert_int_equal(imsgbuf_read(&c), 1);
	assert_int_equal(imsg_get_type(&m), 1);
	imsg_free(&m);
	while (imsgbuf_get(&c, &m) == 0)
		assert_int_equal(imsgbuf_read(&c), 1);
	REFUSED(EBADMSG, imsgbuf_get(&c, &m));
	REFUSED(EBADMSG, imsgbuf_read(&c));
	imsgbuf_clear(&c);
	pair_close(&p);
}

/* The stream byte by byte: sent so, and read with a get after each. */
static void
byte_by_byte(void **state)
{
	unsigned char wire[2 * 16 + 5 + 3 + 16], *w = wire;
	struct pair p;
	struct imsg m;
	size_t i, sum = 0;
	int fd, got = 0;
	char out[5];

	(void)state;
	pair_open(&p);
	raw_header(w, 1, 16 + 5);
	memcpy(w + 16, "first", 5);
	raw_header(w + 21, 2, (16 + 3) | IMSG_FD_MARK);
	memcpy(w + 37, "2nd", 3);
	raw_header(w + 40, 3, 16);
	for (i = 0; i < 56; i++) {
		fd = i == 21 ? fd_with(2) : -1;
		raw_send(p.sv[0], wire + i, 1, &fd, fd != -1);
		if (fd != -1)
			close(fd);
		assert_int_equal(imsgbuf_read(&p.b), 1);
		if (imsgbuf_get(&p.b, &m) != 1)
			continue;
		sum += i;
		switch (++got) {
		case 1:
			assert_int_equal(imsg_get_data(&m, out, 5), 0);
			assert_memory_equal(out, "first", 5);
			assert_int_equal(imsg_get_fd(&m), -1);
			break;
		case 2:
			assert_int_equal(imsg_get_data(&m, out, 3), 0);
			assert_fd(imsg_get_fd(&m), 2);
			break;
		default:
			assert_int_equal(imsg_get_len(&m), 0);
			assert_int_equal(imsg_get_fd(&m), -1);
		}
		imsg_free(&m);
	}
	assert_int_equal(got, 3);
	assert_int_equal(sum, 20 + 39 + 55);
	pair_close(&p);
}

/*
 * A full read buffer: what comes before the message with the descriptor
 * leaves room for 0 to 40 bytes of it, which cuts its header at each byte,
 * and its payload.
 */
static void
every_read_boundary(void **state)
{
	static char fill[MAX_IMSGSIZE];
	struct pair p;
	struct imsg m;
	size_t cut, len, left;
	uint32_t type;
	int size = 400000, variant;

	(void)state;
	for (cut = 0; cut <= 40; cut++)
		for (variant = 0; variant < 3; variant++) {
			pair_open(&p);
			assert_int_equal(setsockopt(p.sv[0], SOL_SOCKET,
					     SO_SNDBUF, &size, sizeof(size)),
			    0);
			type = 0;
			/* The reader takes 65536 bytes at once. */
			for (left = 65536 - cut; left > 0; left -= len) {
				len = left > 20000 ? 16000 : left;
				if (len > MAX_IMSGSIZE)
					len = 10000;
				compose(&p, type++, -1, fill, len - 16);
			}
			compose(&p, type, fd_with(type), "payload", 7);
			type++;
			if (variant > 0) {
				compose(&p, type, fd_with(type), NULL, 0);
				type++;
			}
			if (variant > 1)
				compose(&p, type++, -1, "x", 1);
			compose(&p, type, fd_with(type), "y", 1);
			assert_int_equal(imsgbuf_write(&p.a), 0);
			assert_int_equal(imsgbuf_queuelen(&p.a), 0);
			len = type + 1;
			for (type = 0; type < len;) {
				assert_int_equal(imsgbuf_read(&p.b), 1);
				while (imsgbuf_get(&p.b, &m) == 1) {
					int fd = imsg_get_fd(&m);

					assert_int_equal(m.hdr.type, type);
					if (fd != -1)
						assert_fd(fd, type);
					else
						assert_true(m.buf->wpos == 1 ||
						    m.buf->wpos > 1000);
					imsg_free(&m);
					type++;
				}
			}
			REFUSED(EAGAIN, recv(p.sv[1], fill, 1, 0));
			pair_close(&p);
		}
}

/* Every order of messages with and without, read at once or in pieces. */
static void
every_order(void **state)
{
	struct pair p;
	struct imsg m;
	uint32_t bits, i;
	int step, fd;

	(void)state;
	for (bits = 0; bits < 64; bits++)
		for (step = 0; step < 2; step++) {
			pair_open(&p);
			for (i = 0; i < 6; i++)
				compose(&p, i,
				    bits & (1U << i) ? fd_with(i) : -1,
				    "abcdefg", i);
			assert_int_equal(imsgbuf_flush(&p.a), 0);
			/* All into the buffer first, or one at a time. */
			for (i = 0; step == 0 && i < 12; i++)
				assert_int_equal(imsgbuf_read(&p.b), 1);
			for (i = 0; i < 6; i++) {
				while (imsgbuf_get(&p.b, &m) == 0)
					assert_int_equal(imsgbuf_read(&p.b), 1);
				assert_int_equal(imsg_get_type(&m), i);
				assert_int_equal(imsg_get_id(&m), i + 1000);
				assert_int_equal(imsg_get_len(&m), i);
				fd = imsg_get_fd(&m);
				if (bits & (1U << i))
					assert_fd(fd, i);
				else
					assert_int_equal(fd, -1);
				imsg_free(&m);
			}
			assert_int_equal(imsgbuf_get(&p.b, &m), 0);
			pair_close(&p);
		}
}

/* A reader that never takes anything is not filled without bound. */
static void
reader_is_bounded(void **state)
{
	struct pair p;
	struct imsg m;
	int i, fds, got = 0;

	(void)state;
	pair_open(&p);
	for (i = 0; i < 100; i++)
		compose(&p, (uint32_t)i, fd_with((uint32_t)i), "x", 1);
	fds = count_fds();
	assert_int_equal(imsgbuf_flush(&p.a), 0);
	assert_int_equal(count_fds(), fds - 100);
	fds = count_fds();
	for (i = 0; i < 300; i++)
		assert_int_equal(imsgbuf_read(&p.b), 1);
	assert_true(count_fds() <= fds + 17);
	while (got < 100) {
		while (imsgbuf_get(&p.b, &m) == 1) {
			assert_int_equal(imsg_get_type(&m), got);
			assert_fd(imsg_get_fd(&m), (uint32_t)got++);
			imsg_free(&m);
		}
		assert_int_equal(imsgbuf_read(&p.b), 1);
	}
	pair_close(&p);
}

/* A bad header ends the channel, after the good messages before it. */
static void
hostile_lengths(void **state)
{
	static const struct {
		uint32_t len;
		int error;
	} bad[] = { { 0, EBADMSG }, { 1, EBADMSG }, { 15, EBADMSG },
		{ 16385, ERANGE }, { 0x7fffffff, ERANGE },
		{ 0xffffffff, ERANGE }, { IMSG_FD_MARK, EBADMSG },
		{ 15 | IMSG_FD_MARK, EBADMSG }, { 16 | IMSG_FD_MARK, EBADMSG },
		{ 17 | IMSG_FD_MARK, EBADMSG } };
	unsigned char hdr[16];
	struct pair p;
	struct imsg m;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		pair_open(&p);
		compose(&p, 1, fd_with(1), "good", 4);
		assert_int_equal(imsgbuf_flush(&p.a), 0);
		raw_header(hdr, 2, bad[i].len);
		raw_send(p.sv[0], hdr, sizeof(hdr), NULL, 0);
		assert_int_equal(imsgbuf_read(&p.b), 1);
		assert_int_equal(imsgbuf_get(&p.b, &m), 1);
		assert_fd(imsg_get_fd(&m), 1);
		imsg_free(&m);
		if (imsgbuf_get(&p.b, &m) == 0)
			assert_int_equal(imsgbuf_read(&p.b), 1);
		REFUSED(bad[i].error, imsgbuf_get(&p.b, &m));
		REFUSED(bad[i].error, imsgbuf_get(&p.b, &m));
		REFUSED(bad[i].error, imsgbuf_read(&p.b));
		pair_close(&p);
	}

	/* Each end has its own limit, and the receiver's counts. */
	pair_open(&p);
	assert_int_equal(imsgbuf_set_maxsize(&p.a, 300000), 0);
	assert_int_equal(imsgbuf_set_maxsize(&p.b, 200000), 0);
	{
		struct ibuf *b = imsg_create(&p.a, 7, 0, 0, 200000);

		assert_non_null(b);
		assert_int_equal(ibuf_add_zero(b, 200000), 0);
		imsg_close(&p.a, b);
		b = imsg_create(&p.a, 8, 0, 0, 0);
		assert_int_equal(ibuf_add_zero(b, 200001), 0);
		imsg_close(&p.a, b);
	}
	while (imsgbuf_get(&p.b, &m) == 0) {
		assert_int_equal(imsgbuf_write(&p.a), 0);
		assert_int_equal(imsgbuf_read(&p.b), 1);
	}
	assert_int_equal(imsg_get_len(&m), 200000);
	imsg_free(&m);
	while (imsgbuf_get(&p.b, &m) == 0) {
		assert_int_equal(imsgbuf_write(&p.a), 0);
		assert_int_equal(imsgbuf_read(&p.b), 1);
	}
	REFUSED(ERANGE, imsgbuf_get(&p.b, &m));
	pair_close(&p);
}

static void
next_message(struct pair *p, struct imsg *m, uint32_t type)
{
	while (imsgbuf_get(&p->b, m) == 0)
		assert_int_equal(imsgbuf_read(&p->b), 1);
	assert_non_null(m->buf);
	assert_int_equal(imsg_get_type(m), type);
}

/* What belongs to no message is closed, and harms none. */
static void
too_many_descriptors(void **state)
{
	unsigned char wire[64];
	struct pair p;
	struct imsg m;
	int fds[50], other, i;

	(void)state;
	pair_open(&p);
	for (i = 0; i < 50; i++)
		fds[i] = fd_with((uint32_t)i);
	other = fd_with(100);

	/* With a message that is not marked; in a header; in a payload. */
	raw_header(wire, 1, 20);
	memset(wire + 16, 0, 4);
	raw_send(p.sv[0], wire, 20, fds, 1);
	raw_send(p.sv[0], wire, 8, fds, 1);
	raw_send(p.sv[0], wire + 8, 8, fds, 1);
	raw_send(p.sv[0], wire + 16, 1, fds, 1);
	raw_send(p.sv[0], wire + 17, 3, fds, 1);
	for (i = 0; i < 2; i++) {
		next_message(&p, &m, 1);
		assert_int_equal(imsg_get_fd(&m), -1);
		imsg_free(&m);
	}

	/* Two, and many, in one control message: the first is it. */
	raw_header(wire, 2, 16 | IMSG_FD_MARK);
	raw_send(p.sv[0], wire, 16, fds + 2, 2);
	raw_send(p.sv[0], wire, 16, fds + 7, 43);
	next_message(&p, &m, 2);
	assert_fd(imsg_get_fd(&m), 2);
	imsg_free(&m);
	next_message(&p, &m, 2);
	assert_fd(imsg_get_fd(&m), 7);
	imsg_free(&m);

	/* One more with the second half of a marked header. */
	raw_send(p.sv[0], wire, 5, &other, 1);
	raw_send(p.sv[0], wire + 5, 11, fds, 1);
	next_message(&p, &m, 2);
	assert_fd(imsg_get_fd(&m), 100);
	imsg_free(&m);

	/* Left behind by an unmarked message, it is not the next one's. */
	raw_header(wire, 1, 16);
	raw_send(p.sv[0], wire, 9, fds, 1);
	assert_int_equal(imsgbuf_read(&p.b), 1);
	raw_send(p.sv[0], wire + 9, 7, NULL, 0);
	raw_header(wire, 2, 16 | IMSG_FD_MARK);
	raw_send(p.sv[0], wire, 16, NULL, 0);
	next_message(&p, &m, 1);
	imsg_free(&m);
	REFUSED(EBADMSG, imsgbuf_get(&p.b, &m));

	for (i = 0; i < 50; i++)
		close(fds[i]);
	close(other);
	pair_close(&p);
}

/* Credentials in the control buffer leave room for the descriptor. */
static void
passcred(void **state)
{
	struct pair p;
	struct imsg m;
	int on = 1;

	(void)state;
	pair_open(&p);
	assert_int_equal(setsockopt(p.sv[1], SOL_SOCKET, SO_PASSCRED, &on,
			     sizeof(on)),
	    0);
	compose(&p, 1, fd_with(1), "x", 1);
	assert_int_equal(imsgbuf_flush(&p.a), 0);
	next_message(&p, &m, 1);
	assert_fd(imsg_get_fd(&m), 1);
	imsg_free(&m);
	pair_close(&p);
}

static rlim_t
set_limit(rlim_t cur)
{
	struct rlimit rl;
	rlim_t old;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &rl), 0);
	old = rl.rlim_cur;
	rl.rlim_cur = cur;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &rl), 0);
	return old;
}

/*
 * No descriptor is free: nothing is read, nothing is lost, and all arrives
 * once there is one.  With a spare one in hand, one arrives at once.
 */
static void
emfile_loses_nothing(void **state)
{
	struct pair p;
	struct imsg m;
	int fill[64], n, i, with_spare, fd, r;
	rlim_t old;

	(void)state;
	for (with_spare = 0; with_spare < 2; with_spare++) {
		pair_open(&p);
		for (i = 0; i < 4; i++)
			compose(&p, (uint32_t)i, fd_with((uint32_t)i), "x", 1);
		if (with_spare)
			assert_int_equal(imsgbuf_read(&p.b), 1);
		assert_int_equal(imsgbuf_flush(&p.a), 0);
		old = set_limit(64);
		for (n = 0; n < 64 && (fd = dup(p.sv[0])) != -1; n++)
			fill[n] = fd;
		assert_int_equal(errno, EMFILE);
		assert_true(n > 1);
		if (!with_spare) {
			REFUSED(EMFILE, imsgbuf_read(&p.b));
			REFUSED(EMFILE, imsgbuf_read(&p.b));
			close(fill[--n]);
		}
		for (i = 0; i < 4; i++) {
			assert_int_equal(imsgbuf_read(&p.b), 1);
			REFUSED(EMFILE, imsgbuf_read(&p.b));
			r = imsgbuf_get(&p.b, &m);
			assert_int_equal(r, 1);
			assert_fd(imsg_get_fd(&m), (uint32_t)i);
			imsg_free(&m);
		}
		set_limit(old);
		while (n > 0)
			close(fill[--n]);
		pair_close(&p);
	}
}

/* A descriptor that is lost all the same ends the channel with a word. */
static void
lost_descriptor_is_noticed(void **state)
{
	struct pair p;
	struct imsg m;
	rlim_t old;

	(void)state;
	pair_open(&p);
	compose(&p, 1, -1, "x", 1);
	assert_int_equal(imsgbuf_flush(&p.a), 0);
	assert_int_equal(imsgbuf_read(&p.b), 1);
	compose(&p, 2, fd_with(2), "x", 1);
	assert_int_equal(imsgbuf_flush(&p.a), 0);
	old = set_limit(1);
	errno = 0;
	assert_int_equal(imsgbuf_read(&p.b), -1);
	assert_int_equal(errno, ECONNABORTED);
	set_limit(old);
	assert_int_equal(imsgbuf_get(&p.b, &m), 1);
	assert_int_equal(imsg_get_type(&m), 1);
	imsg_free(&m);
	REFUSED(ECONNABORTED, imsgbuf_get(&p.b, &m));
	REFUSED(ECONNABORTED, imsgbuf_read(&p.b));
	pair_close(&p);
}

/* The sender dies: 0, after all it sent; no SIGPIPE towards it. */
static void
peer_death(void **state)
{
	unsigned char hdr[16];
	struct pair p;
	struct imsg m;

	(void)state;
	signal(SIGPIPE, SIG_DFL);
	pair_open(&p);
	compose(&p, 1, fd_with(1), "x", 1);
	assert_int_equal(imsgbuf_flush(&p.a), 0);
	raw_header(hdr, 2, 100);
	raw_send(p.sv[0], hdr, 10, NULL, 0);
	close(p.sv[0]);
	p.sv[0] = -1;
	next_message(&p, &m, 1);
	assert_fd(imsg_get_fd(&m), 1);
	imsg_free(&m);
	while (imsgbuf_read(&p.b) == 1)
		assert_int_equal(imsgbuf_get(&p.b, &m), 0);
	assert_int_equal(imsgbuf_read(&p.b), 0);
	assert_int_equal(imsgbuf_get(&p.b, &m), 0);
	assert_int_equal(imsg_compose(&p.b, 1, 0, 0, fd_with(3), "x", 1), 1);
	REFUSED(EPIPE, imsgbuf_write(&p.b));
	REFUSED(EPIPE, imsgbuf_flush(&p.b));
	assert_int_equal(imsgbuf_queuelen(&p.b), 1);
	pair_close(&p);

	/* With something unread in its socket. */
	pair_open(&p);
	assert_int_equal(imsg_compose(&p.b, 1, 0, 0, fd_with(1), "x", 1), 1);
	assert_int_equal(imsgbuf_flush(&p.b), 0);
	compose(&p, 2, -1, "x", 1);
	assert_int_equal(imsgbuf_flush(&p.a), 0);
	imsgbuf_clear(&p.a);
	close(p.sv[0]);
	p.sv[0] = -1;
	next_message(&p, &m, 2);
	imsg_free(&m);
	assert_int_equal(imsgbuf_read(&p.b), 0);
	assert_int_equal(imsgbuf_read(&p.b), 0);
	pair_close(&p);
}

/* A full socket stops writing without an error and without a loss. */
static void
full_socket(void **state)
{
	static char data[10000];
	struct pair p;
	struct imsg m;
	uint32_t i, got = 0, before;
	size_t j;

	(void)state;
	pair_open(&p);
	for (i = 0; i < 200; i++) {
		for (j = 0; j < sizeof(data); j++)
			data[j] = (char)(i + j);
		compose(&p, i, i % 3 == 0 ? fd_with(i) : -1, data,
		    sizeof(data) - i);
	}
	assert_int_equal(imsgbuf_write(&p.a), 0);
	before = imsgbuf_queuelen(&p.a);
	assert_true(before > 0 && before < 200);
	assert_int_equal(imsgbuf_write(&p.a), 0);
	assert_int_equal(imsgbuf_queuelen(&p.a), before);
	while (got < 200) {
		assert_int_equal(imsgbuf_read(&p.b), 1);
		while (imsgbuf_get(&p.b, &m) == 1) {
			assert_int_equal(imsg_get_type(&m), got);
			assert_int_equal(imsg_get_len(&m), sizeof(data) - got);
			for (j = 0; j < sizeof(data) - got; j++)
				data[j] = (char)(got + j);
			assert_memory_equal(ibuf_data(m.buf), data,
			    sizeof(data) - got);
			if (got % 3 == 0)
				assert_fd(imsg_get_fd(&m), got);
			imsg_free(&m);
			got++;
		}
		assert_int_equal(imsgbuf_write(&p.a), 0);
	}
	assert_int_equal(imsgbuf_queuelen(&p.a), 0);
	/* What is still queued is closed with the channel. */
	compose(&p, 1, fd_with(1), "x", 1);
	pair_close(&p);
}

static void
on_alarm(int sig)
{
	(void)sig;
}

/* Blocking sockets: a write takes all, a read survives signals. */
static void
blocking(void **state)
{
	static char data[10000];
	struct sigaction sa;
	struct pair p;
	struct imsg m;
	uint32_t i;
	pid_t pid;

	(void)state;
	pair_flags(&p, 0);
	memset(&sa, 0, sizeof(sa));
	sa.sa_handler = on_alarm;
	sigaction(SIGALRM, &sa, NULL);
	fflush(stdout);
	assert_int_not_equal(pid = fork(), -1);
	if (pid == 0) {
		close(p.sv[1]);
		usleep(20000);
		kill(getppid(), SIGALRM);
		usleep(20000);
		for (i = 0; i < 200; i++)
			if (imsg_compose(&p.a, i, 0, 0, i % 7 ? -1 : dup(2),
				data, sizeof(data)) != 1)
				_exit(1);
		if (imsgbuf_write(&p.a) != 0 || imsgbuf_queuelen(&p.a) != 0)
			_exit(2);
		_exit(0);
	}
	close(p.sv[0]);
	p.sv[0] = -1;
	for (i = 0; i < 200; i++) {
		next_message(&p, &m, i);
		assert_int_equal(imsg_get_len(&m), sizeof(data));
		assert_int_equal(ibuf_fd_avail(m.buf), i % 7 == 0);
		imsg_free(&m);
	}
	assert_int_equal(imsgbuf_read(&p.b), 0);
	{
		int status;

		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_int_equal(status, 0);
	}
	pair_close(&p);
}

static unsigned int
seeded(void)
{
	const char *env = getenv("SEED");
	unsigned int seed = env != NULL ? (unsigned int)strtoul(env, NULL, 10)
					: (unsigned int)time(NULL);

	printf("SEED=%u\n", seed);
	srandom(seed);
	return seed;
}

/* A random stream of good messages, with reads and writes in any order. */
static void
random_stream(void **state)
{
	static unsigned char data[30000];
	struct pair p;
	struct imsg m;
	uint32_t sent = 0, got = 0, want = 4000;
	size_t len, i;
	int size = 1 + (int)(seeded() % 60000), r;

	(void)state;
	for (i = 0; i < sizeof(data); i++)
		data[i] = (unsigned char)(i * 7 + i / 256);
	pair_open(&p);
	assert_int_equal(setsockopt(p.sv[0], SOL_SOCKET, SO_SNDBUF, &size,
			     sizeof(size)),
	    0);
	assert_int_equal(imsgbuf_set_maxsize(&p.a, sizeof(data)), 0);
	assert_int_equal(imsgbuf_set_maxsize(&p.b, sizeof(data)), 0);
	while (got < want) {
		/* Lengths and descriptors follow from the number. */
		for (r = (int)random() % 20;
		     r > 0 && sent < want && imsgbuf_queuelen(&p.a) < 100;
		     r--, sent++) {
			len = sent * 2654435761U % (sent % 8 ? 50 : 29990);
			compose(&p, sent,
			    sent * 40503U % 5 ? -1 : fd_with(sent),
			    data + sent % 10, len);
		}
		if (random() % 2)
			assert_int_equal(imsgbuf_write(&p.a), 0);
		for (r = (int)random() % 4; r > 0; r--)
			assert_int_equal(imsgbuf_read(&p.b), 1);
		for (r = (int)random() % 30; r > 0; r--) {
			if (imsgbuf_get(&p.b, &m) != 1)
				break;
			len = got * 2654435761U % (got % 8 ? 50 : 29990);
			assert_int_equal(imsg_get_type(&m), got);
			assert_int_equal(imsg_get_len(&m), len);
			assert_memory_equal(ibuf_data(m.buf), data + got % 10,
			    len);
			if (got * 40503U % 5)
				assert_int_equal(imsg_get_fd(&m), -1);
			else if (got % 3)
				assert_fd(imsg_get_fd(&m), got);
			imsg_free(&m);
			got++;
		}
	}
	assert_int_equal(imsgbuf_get(&p.b, &m), 0);
	pair_close(&p);
}

/* Nonsense with descriptors strewn in: an error perhaps, never a leak. */
static void
random_nonsense(void **state)
{
	unsigned char wire[300];
	struct pair p;
	struct imsg m;
	int fds[4], round, i, j, r;
	size_t n, k;

	(void)state;
	seeded();
	for (i = 0; i < 4; i++)
		fds[i] = fd_with((uint32_t)i);
	for (round = 0; round < 1500; round++) {
		pair_open(&p);
		for (i = 0; i < 20; i++) {
			n = 1 + (size_t)random() % sizeof(wire);
			for (k = 0; k < n; k++)
				wire[k] = (unsigned char)random();
			/* Mostly good lengths, so that it goes on. */
			if (n >= 16 && random() % 8)
				raw_header(wire, 1,
				    (uint32_t)(random() % 8 ? n : n / 2 + 9) |
					(random() % 2 ? IMSG_FD_MARK : 0));
			k = 1 + (size_t)random() % n;
			raw_send(p.sv[0], wire, k, fds, (size_t)random() % 4);
			if (k < n)
				raw_send(p.sv[0], wire + k, n - k, fds,
				    (size_t)random() % 8 ? 0 : 2);
			r = 1;
			for (j = (int)random() % 3; j > 0 && r == 1; j--)
				r = imsgbuf_read(&p.b);
			while ((r = imsgbuf_get(&p.b, &m)) == 1) {
				assert_true(imsg_get_len(&m) <= 16368);
				imsg_free(&m);
			}
			if (r == -1)
				break;
		}
		pair_close(&p);
	}
	for (i = 0; i < 4; i++)
		close(fds[i]);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_functions),
		cmocka_unit_test(limits_and_misuse),
		cmocka_unit_test(fdpass_not_allowed),
		cmocka_unit_test(byte_by_byte),
		cmocka_unit_test(every_read_boundary),
		cmocka_unit_test(every_order),
		cmocka_unit_test(reader_is_bounded),
		cmocka_unit_test(hostile_lengths),
		cmocka_unit_test(too_many_descriptors),
		cmocka_unit_test(passcred),
		cmocka_unit_test(emfile_loses_nothing),
		cmocka_unit_test(lost_descriptor_is_noticed),
		cmocka_unit_test(peer_death),
		cmocka_unit_test(full_socket),
		cmocka_unit_test(blocking),
		cmocka_unit_test(random_stream),
		cmocka_unit_test(random_nonsense),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
