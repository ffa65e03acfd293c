/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */

/*
 * Claim: every descriptor arrives with its own message wherever the stream
 * is cut, and none is lost in silence, mixed up or left open.
 */

#include <sys/syscall.h>

#include "regress/unit/imsg/pair.h"

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

/* One that comes after the first byte of a marked header is not its own. */
static void
descriptor_too_late(void **state)
{
	unsigned char wire[16];
	struct pair p;
	struct imsg m;
	size_t end;
	int fd;

	(void)state;
	raw_header(wire, 1, 16 | IMSG_FD_MARK);
	for (end = 8; end <= 16; end += 8) {
		pair_open(&p);
		fd = fd_with(1);
		raw_send(p.sv[0], wire, 5, NULL, 0);
		assert_int_equal(imsgbuf_read(&p.b), 1);
		raw_send(p.sv[0], wire + 5, end - 5, &fd, 1);
		assert_int_equal(imsgbuf_read(&p.b), 1);
		if (end < 16) {
			raw_send(p.sv[0], wire + end, 16 - end, NULL, 0);
			assert_int_equal(imsgbuf_read(&p.b), 1);
		}
		REFUSED(EBADMSG, imsgbuf_get(&p.b, &m));
		close(fd);
		pair_close(&p);
	}
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

/* Does the limit hold for received descriptors?  Not under valgrind. */
static int
limit_holds(void)
{
	char byte, control[CMSG_SPACE(sizeof(int))];
	struct iovec iov = { &byte, 1 };
	struct msghdr msg;
	rlim_t old;
	int sv[2], fd;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
	raw_send(sv[0], "x", 1, sv, 1);
	memset(&msg, 0, sizeof(msg));
	msg.msg_iov = &iov;
	msg.msg_iovlen = 1;
	msg.msg_control = control;
	msg.msg_controllen = sizeof(control);
	old = set_limit(1);
	assert_int_equal(recvmsg(sv[1], &msg, 0), 1);
	set_limit(old);
	if (msg.msg_controllen > 0) {
		memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(fd));
		close(fd);
	}
	close(sv[0]);
	close(sv[1]);
	return (msg.msg_flags & MSG_CTRUNC) != 0;
}

/*
 * The limit falls below the place that is kept: nothing is read, as without
 * one, and all arrives when it rises.
 */
static void
falling_limit_loses_nothing(void **state)
{
	struct pair p;
	struct imsg m;
	rlim_t old;

	(void)state;
	pair_open(&p);
	compose(&p, 1, -1, "x", 1);
	assert_int_equal(imsgbuf_flush(&p.a), 0);
	assert_int_equal(imsgbuf_read(&p.b), 1);
	next_message(&p, &m, 1);
	imsg_free(&m);
	compose(&p, 2, fd_with(2), "x", 1);
	assert_int_equal(imsgbuf_flush(&p.a), 0);
	old = set_limit(1);
	REFUSED(EMFILE, imsgbuf_read(&p.b));
	REFUSED(EMFILE, imsgbuf_read(&p.b));
	set_limit(old);
	next_message(&p, &m, 2);
	assert_fd(imsg_get_fd(&m), 2);
	imsg_free(&m);
	pair_close(&p);
}

/* In front of the C library's: a limit that falls at the worst moment. */
static int falls;

ssize_t
recvmsg(int fd, struct msghdr *msg, int flags)
{
	rlim_t old;
	ssize_t n;

	if (!falls)
		return syscall(SYS_recvmsg, fd, msg, flags);
	old = set_limit(1);
	n = syscall(SYS_recvmsg, fd, msg, flags);
	set_limit(old);
	return n;
}

/* A descriptor that is lost all the same ends the channel with a word. */
static void
lost_descriptor_is_noticed(void **state)
{
	struct pair p;
	struct imsg m;

	(void)state;
	if (!limit_holds())
		skip();
	pair_open(&p);
	compose(&p, 1, -1, "x", 1);
	assert_int_equal(imsgbuf_flush(&p.a), 0);
	assert_int_equal(imsgbuf_read(&p.b), 1);
	compose(&p, 2, fd_with(2), "x", 1);
	assert_int_equal(imsgbuf_flush(&p.a), 0);
	falls = 1;
	REFUSED(ECONNABORTED, imsgbuf_read(&p.b));
	falls = 0;
	assert_int_equal(imsgbuf_get(&p.b, &m), 1);
	assert_int_equal(imsg_get_type(&m), 1);
	imsg_free(&m);
	REFUSED(ECONNABORTED, imsgbuf_get(&p.b, &m));
	REFUSED(ECONNABORTED, imsgbuf_read(&p.b));
	pair_close(&p);
}

/*
 * Too many descriptors under way: the writer is told, loses nothing, and
 * goes on when the reader has taken some.  Not for root, so in a child.
 */
static void
too_many_under_way(void **state)
{
	struct pair p;
	struct imsg m;
	uint32_t got = 0;
	pid_t pid;
	int i, refused = 0, status;

	(void)state;
	if (!limit_holds())
		skip();
	fflush(stdout);
	assert_int_not_equal(pid = fork(), -1);
	if (pid != 0) {
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_int_equal(status, 0);
		return;
	}
	if (getuid() == 0 && setresuid(54321, 54321, 54321) == -1)
		_exit(2);
	pair_open(&p);
	for (i = 0; i < 60; i++)
		compose(&p, (uint32_t)i, fd_with((uint32_t)i), "x", 1);
	set_limit(30);
	while (got < 60) {
		if (imsgbuf_write(&p.a) == -1) {
			if (errno != ETOOMANYREFS)
				_exit(3);
			refused++;
		}
		set_limit(200);
		if (imsgbuf_read(&p.b) != 1)
			_exit(4);
		while (imsgbuf_get(&p.b, &m) == 1) {
			if (imsg_get_type(&m) != got)
				_exit(5);
			assert_fd(imsg_get_fd(&m), got++);
			imsg_free(&m);
		}
		set_limit(30);
	}
	if (imsgbuf_queuelen(&p.a) != 0 || refused == 0)
		_exit(6);
	imsgbuf_clear(&p.a);
	imsgbuf_clear(&p.b);
	_exit(0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fdpass_not_allowed),
		cmocka_unit_test(every_read_boundary),
		cmocka_unit_test(every_order),
		cmocka_unit_test(reader_is_bounded),
		cmocka_unit_test(too_many_descriptors),
		cmocka_unit_test(descriptor_too_late),
		cmocka_unit_test(passcred),
		cmocka_unit_test(emfile_loses_nothing),
		cmocka_unit_test(falling_limit_loses_nothing),
		cmocka_unit_test(lost_descriptor_is_noticed),
		cmocka_unit_test(too_many_under_way),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
