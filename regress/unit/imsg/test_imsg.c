/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */

/*
 * Claim: messages arrive whole and in order however the stream is cut,
 * hostile input and dead peers end a channel cleanly, and nothing leaks.
 */

#include "regress/unit/imsg/pair.h"

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
	static const struct itimerval tick = { { 0, 3000 }, { 0, 3000 } };
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
		/* The reader sleeps; the writer waits, and is interrupted. */
		setitimer(ITIMER_REAL, &tick, NULL);
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
		if (i == 0)
			usleep(30000);
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
		cmocka_unit_test(byte_by_byte),
		cmocka_unit_test(hostile_lengths),
		cmocka_unit_test(peer_death),
		cmocka_unit_test(full_socket),
		cmocka_unit_test(blocking),
		cmocka_unit_test(random_stream),
		cmocka_unit_test(random_nonsense),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
