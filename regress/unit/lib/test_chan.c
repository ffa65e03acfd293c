/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * A handler sees only messages of the allowed type, sender, size and
 * descriptor; all else ends the channel, and a closed peer is told once; without
 * descriptors it waits, and says so once, and so it does without memory.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <errno.h>
#include <event.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/chan.h"
#include "lib/log.h"
#include "lib/proc.h"

#define MAX_BODY 4096

enum { M_TEXT = 100, M_FD, M_MAYFD, M_OTHER, M_BAD, M_STOP, M_FREE };

static struct chan *a, *b;
static int texts, fds, closes, violations;
static uint32_t last_id;
static char last_text[MAX_BODY + 1], last_why[512];

static int fail_reads, fail_adds;

int __real_imsgbuf_read(struct imsgbuf *);
int __wrap_imsgbuf_read(struct imsgbuf *);
int
__wrap_imsgbuf_read(struct imsgbuf *buf)
{
	if (fail_reads == 0)
		return __real_imsgbuf_read(buf);
	fail_reads--;
	errno = ENOMEM;
	return -1;
}

int __real_event_add(struct event *, const struct timeval *);
int __wrap_event_add(struct event *, const struct timeval *);
int
__wrap_event_add(struct event *ev, const struct timeval *tv)
{
	if (fail_adds == 0)
		return __real_event_add(ev, tv);
	fail_adds--;
	return -1;
}

static int
on_text(struct chan *c, uint32_t id, struct imsg *imsg, struct ibuf *body)
{
	size_t len = ibuf_size(body);

	(void)c;
	(void)imsg;
	texts++;
	last_id = id;
	assert_int_equal(ibuf_get(body, last_text, len), 0);
	last_text[len] = '\0';
	return 0;
}

static int
on_fd(struct chan *c, uint32_t id, struct imsg *imsg, struct ibuf *body)
{
	int fd = imsg_get_fd(imsg);
	char ch = 0;

	(void)c;
	(void)id;
	(void)body;
	if (fd == -1)
		return 0;
	assert_int_equal(read(fd, &ch, 1), 1);
	assert_int_equal(ch, 'x');
	close(fd);
	fds++;
	return 0;
}

static int
on_bad(struct chan *c, uint32_t id, struct imsg *imsg, struct ibuf *body)
{
	(void)c;
	(void)id;
	(void)imsg;
	(void)body;
	return -1;
}

static int
on_stop(struct chan *c, uint32_t id, struct imsg *imsg, struct ibuf *body)
{
	(void)id;
	(void)imsg;
	(void)body;
	chan_pause(c);
	return 0;
}

static int
on_free(struct chan *c, uint32_t id, struct imsg *imsg, struct ibuf *body)
{
	(void)id;
	(void)imsg;
	(void)body;
	chan_free(c);
	b = NULL;
	return 0;
}

static const struct msg_rule rules[] = {
	{ M_TEXT, ROLE_FUSE, CHAN_NOFD, 1, 8, on_text, "text" },
	{ M_TEXT, ROLE_CACHE, CHAN_NOFD, 0, MAX_BODY, on_text, "text" },
	{ M_FD, ROLE_FUSE, CHAN_FD, 0, 0, on_fd, "fd" },
	{ M_MAYFD, ROLE_FUSE, CHAN_MAYFD, 0, 0, on_fd, "mayfd" },
	{ M_OTHER, ROLE_CACHE, CHAN_NOFD, 0, 8, on_text, "other" },
	{ M_BAD, ROLE_FUSE, CHAN_NOFD, 0, 8, on_bad, "bad" },
	{ M_STOP, ROLE_CACHE, CHAN_NOFD, 0, 0, on_stop, "stop" },
	{ M_FREE, ROLE_FUSE, CHAN_NOFD, 0, 0, on_free, "free" },
};

static void
on_close(struct chan *c, void *arg)
{
	assert_ptr_equal(chan_arg(c), arg);
	closes++;
	if (c == b)
		b = NULL;
	if (c == a)
		a = NULL;
}

static void
on_violation(struct chan *c, const char *why, void *arg)
{
	assert_ptr_equal(chan_arg(c), arg);
	violations++;
	strlcpy(last_why, why, sizeof(last_why));
}

static const struct chan_ops ops = {
	.rules = rules,
	.nrules = sizeof(rules) / sizeof(rules[0]),
	.on_close = on_close,
	.on_violation = on_violation,
};

static int
group_setup(void **state)
{
	(void)state;
	log_init("test_chan", 1, 0);
	return event_init() == NULL;
}

static void
make_pair(uint8_t from)
{
	int sv[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv),
	    0);
	assert_non_null(
	    a = chan_new(sv[0], ROLE_PARENT, 0, MAX_BODY * 2, &ops, &a));
	assert_non_null(b = chan_new(sv[1], from, 7, MAX_BODY, &ops, &b));
	texts = fds = closes = violations = 0;
	last_text[0] = last_why[0] = '\0';
}

static int
setup(void **state)
{
	(void)state;
	make_pair(ROLE_FUSE);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	chan_free(a);
	chan_free(b);
	return 0;
}

static void
spin(void)
{
	int i;

	for (i = 0; i < 20; i++)
		event_loop(EVLOOP_NONBLOCK);
}

static void
refused(const char *why)
{
	spin();
	assert_int_equal(violations, 1);
	assert_string_equal(last_why, why);
	/* b, by the violation, and a, whose peer has gone. */
	assert_int_equal(closes, 2);
	assert_null(a);
	assert_null(b);
	assert_int_equal(texts + fds, 0);
}

static int
pipe_with_x(void)
{
	int p[2];

	assert_int_equal(pipe(p), 0);
	assert_int_equal(write(p[1], "x", 1), 1);
	close(p[1]);
	return p[0];
}

static void
test_good(void **state)
{
	struct ibuf *body;

	(void)state;
	assert_int_equal(chan_role(b), ROLE_FUSE);
	assert_int_equal(chan_instance(b), 7);
	assert_int_equal(chan_send(a, M_TEXT, 42, -1, "hello", 5), 0);
	assert_non_null(body = ibuf_open(8));
	assert_int_equal(ibuf_add(body, "world", 5), 0);
	assert_int_equal(chan_send_ibuf(a, M_TEXT, 43, -1, body), 0);
	/* Handled from the loop only. */
	assert_int_equal(texts, 0);
	spin();
	assert_int_equal(texts, 2);
	assert_int_equal(last_id, 43);
	assert_string_equal(last_text, "world");
	assert_int_equal(chan_send(a, M_FD, 1, pipe_with_x(), NULL, 0), 0);
	assert_int_equal(chan_send_ibuf(a, M_MAYFD, 1, pipe_with_x(), NULL), 0);
	assert_int_equal(chan_send_ibuf(a, M_MAYFD, 1, -1, NULL), 0);
	spin();
	assert_int_equal(fds, 2);
	assert_int_equal(violations + closes, 0);
}

static void
test_unknown_type(void **state)
{
	(void)state;
	chan_send(a, 999, 0, -1, NULL, 0);
	chan_send(a, M_TEXT, 0, -1, "after", 5);
	refused("channel to fuse 7: message 999 is not allowed");
}

static void
test_wrong_sender(void **state)
{
	(void)state;
	chan_send(a, M_OTHER, 0, -1, NULL, 0);
	refused("channel to fuse 7: message 103 is not allowed");
}

static void
test_too_short(void **state)
{
	(void)state;
	chan_send(a, M_TEXT, 0, -1, NULL, 0);
	refused("channel to fuse 7: text: 0 bytes, not 1 to 8");
}

static void
test_too_long(void **state)
{
	(void)state;
	chan_send(a, M_TEXT, 0, -1, "123456789", 9);
	refused("channel to fuse 7: text: 9 bytes, not 1 to 8");
}

static void
test_over_channel_limit(void **state)
{
	static char big[MAX_BODY + 1];

	(void)state;
	chan_send(a, M_TEXT, 0, -1, big, sizeof(big));
	refused("channel to fuse 7: message is too long");
}

static void
test_fd_missing(void **state)
{
	(void)state;
	chan_send(a, M_FD, 0, -1, NULL, 0);
	refused("channel to fuse 7: fd: without a descriptor");
}

static void
test_fd_too_much(void **state)
{
	(void)state;
	chan_send(a, M_TEXT, 0, pipe_with_x(), "x", 1);
	refused("channel to fuse 7: text: with a descriptor");
}

static void
test_malformed(void **state)
{
	(void)state;
	chan_send(a, M_BAD, 0, -1, NULL, 0);
	refused("channel to fuse 7: bad: malformed");
}

static void
test_no_handler_is_fatal(void **state)
{
	struct chan_ops none = ops;
	int sv[2], status;
	pid_t pid;

	(void)state;
	none.on_violation = NULL;
	pid = fork();
	if (pid == 0) {
		event_reinit(event_init());
		socketpair(AF_UNIX, SOCK_STREAM, 0, sv);
		a = chan_new(sv[0], ROLE_PARENT, 0, MAX_BODY, &ops, NULL);
		b = chan_new(sv[1], ROLE_FUSE, 0, MAX_BODY, &none, NULL);
		close(2);
		chan_send(a, 999, 0, -1, NULL, 0);
		spin();
		_exit(77);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 1);
}

static void
test_close(void **state)
{
	(void)state;
	/* What came before the end is handled before it. */
	chan_send(a, M_TEXT, 1, -1, "one", 3);
	chan_send(a, M_TEXT, 2, -1, "two", 3);
	chan_free(a);
	a = NULL;
	spin();
	assert_int_equal(texts, 2);
	assert_int_equal(closes, 1);
	assert_null(b);
}

static void
test_send_to_dead_peer(void **state)
{
	int fd = pipe_with_x();

	(void)state;
	chan_send(b, M_TEXT, 1, -1, "x", 1);
	chan_free(a);
	a = NULL;
	chan_send(b, M_TEXT, 1, -1, "x", 1);
	assert_int_equal(chan_send(b, M_FD, 1, fd, NULL, 0), -1);
	assert_int_equal(errno, EPIPE);
	assert_int_equal(close(fd), 0);
	assert_int_equal(chan_flush(b, 100), -1);
	spin();
	assert_int_equal(closes, 1);
	assert_null(b);
}

static void
test_failed_send_keeps_fd(void **state)
{
	static char big[3 * MAX_BODY];
	int fd = pipe_with_x();
	struct ibuf *body;

	(void)state;
	assert_int_equal(chan_send(a, M_FD, 1, fd, big, sizeof(big)), -1);
	assert_int_equal(errno, ERANGE);
	assert_non_null(body = ibuf_open(sizeof(big)));
	assert_int_equal(ibuf_add(body, big, sizeof(big)), 0);
	assert_int_equal(chan_send_ibuf(a, M_FD, 1, fd, body), -1);
	assert_int_equal(close(fd), 0);
}

static void
test_back_pressure(void **state)
{
	static char big[MAX_BODY];
	int i, sent = 0;

	(void)state;
	teardown(state);
	make_pair(ROLE_CACHE);
	chan_pause(b);
	while (chan_queued(a) < 10 && sent < 100000) {
		assert_int_equal(chan_send(a, M_TEXT, 1, -1, big, sizeof(big)),
		    0);
		sent++;
	}
	assert_in_range(sent, 20, 99999);
	spin();
	assert_int_equal(texts, 0);
	assert_int_equal(chan_flush(a, 50), -1);
	assert_int_equal(errno, ETIMEDOUT);
	chan_resume(b);
	for (i = 0; i < 1000 && texts < sent; i++)
		spin();
	assert_int_equal(texts, sent);
	assert_int_equal(chan_queued(a), 0);
	assert_int_equal(chan_flush(a, 50), 0);
}

/* Whose peer asks and never reads does not fill the memory. */
static void
test_unread(void **state)
{
	static char big[MAX_BODY];
	int i, sent;

	(void)state;
	for (i = 0; i < 2; i++) {
		teardown(state);
		make_pair(ROLE_CACHE);
		chan_pause(b);
		for (sent = 0; sent < 200000; sent++)
			if (chan_send(a, M_TEXT, 1, -1, big,
				i == 0 ? 1 : sizeof(big)) == -1)
				break;
		assert_int_equal(errno, EPIPE);
		if (i == 0)
			assert_in_range(sent, 65536, 66500);
		else
			assert_in_range(sent, 32768, 33500);
		assert_int_equal(violations, 0);
		chan_resume(b);
		spin();
		assert_int_equal(violations, 1);
		assert_non_null(strstr(last_why, " messages are not read"));
		assert_null(a);
	}
}

/* For a moment there is no memory: nothing is lost, and nobody forgotten. */
static void
test_no_memory(void **state)
{
	int i;

	(void)state;
	fail_reads = 3;
	chan_send(a, M_TEXT, 1, -1, "x", 1);
	for (i = 0; i < 100 && texts == 0; i++) {
		spin();
		usleep(10000);
	}
	assert_int_equal(fail_reads, 0);
	assert_int_equal(texts, 1);
	chan_pause(b);
	chan_send(a, M_TEXT, 1, -1, "x", 1);
	fail_adds = 3;
	chan_resume(b);
	spin();
	assert_int_equal(fail_adds, 0);
	assert_int_equal(texts, 2);
	assert_int_equal(closes + violations, 0);
}

static void
test_no_memory_to_send(void **state)
{
	static char big[MAX_BODY];
	int i, sent = 0;

	(void)state;
	teardown(state);
	make_pair(ROLE_CACHE);
	chan_pause(b);
	fail_adds = 1000;
	while (chan_queued(a) < 10 && sent < 100000) {
		assert_int_equal(chan_send(a, M_TEXT, 1, -1, big, sizeof(big)),
		    0);
		sent++;
	}
	fail_adds = 30;
	chan_resume(b);
	for (i = 0; i < 1000 && texts < sent; i++) {
		spin();
		usleep(1000);
	}
	assert_int_equal(texts, sent);
	assert_int_equal(fail_adds, 0);
	assert_int_equal(closes + violations, 0);
}

/* Nor does it take the descriptors of all others. */
static void
test_unread_descriptors(void **state)
{
	int fd, sent;

	(void)state;
	chan_pause(b);
	for (sent = 0; sent < 20000; sent++) {
		fd = pipe_with_x();
		if (chan_send(a, M_FD, 1, fd, NULL, 0) == -1) {
			assert_int_equal(errno, EPIPE);
			assert_int_equal(close(fd), 0);
			break;
		}
	}
	/* Some are in the socket. */
	assert_in_range(sent, 1024, 3000);
	assert_int_equal(violations, 0);
	chan_resume(b);
	spin();
	assert_int_equal(violations, 1);
	assert_non_null(strstr(last_why, " messages are not read"));
	assert_null(a);
}

static void
test_pause_in_handler(void **state)
{
	int i;

	(void)state;
	teardown(state);
	make_pair(ROLE_CACHE);
	chan_send(a, M_TEXT, 1, -1, "x", 1);
	for (i = 0; i < 3; i++) {
		chan_send(a, M_STOP, 1, -1, NULL, 0);
		chan_send(a, M_TEXT, 1, -1, "x", 1);
	}
	chan_free(a);
	a = NULL;
	for (i = 1; i <= 4; i++) {
		spin();
		assert_int_equal(texts, i);
		assert_int_equal(closes, i == 4);
		if (b != NULL)
			chan_resume(b);
	}
	assert_null(b);
}

static void
test_free_in_handler(void **state)
{
	(void)state;
	chan_send(a, M_FREE, 1, -1, NULL, 0);
	chan_send(a, M_TEXT, 1, -1, "x", 1);
	spin();
	assert_null(b);
	assert_int_equal(texts, 0);
	assert_int_equal(closes, 1);
}

static void
test_more(void **state)
{
	(void)state;
	assert_int_equal(chan_more(b), 0);
	chan_send(a, M_TEXT, 1, -1, "x", 1);
	assert_int_equal(chan_more(b), 1);
	assert_int_equal(texts, 1);
	assert_int_equal(chan_more(b), 0);
	chan_pause(b);
	chan_send(a, M_TEXT, 1, -1, "x", 1);
	assert_int_equal(chan_more(b), 0);
	chan_resume(b);
	assert_int_equal(chan_more(b), 1);
	assert_int_equal(texts, 2);
	chan_free(a);
	a = NULL;
	assert_int_equal(chan_more(b), 1);
	assert_int_equal(closes, 1);
	assert_null(b);
}

static void
test_drain(void **state)
{
	int i;

	(void)state;
	for (i = 0; i < 200; i++)
		chan_send(a, M_TEXT, 1, -1, "x", 1);
	assert_int_equal(chan_queued(a), 0);
	chan_drain(b);
	assert_int_equal(texts, 200);
	chan_send(a, M_TEXT, 1, -1, "x", 1);
	chan_free(a);
	a = NULL;
	chan_drain(b);
	assert_int_equal(texts, 201);
	assert_int_equal(closes, 1);
	assert_null(b);
}

static void
count_line(int priority, const char *line, void *arg)
{
	int *n = arg;

	(void)priority;
	if (strstr(line, "channel to fuse 7") != NULL)
		(*n)++;
}

/* Nothing can be opened any more; the limit that was. */
static struct rlimit
no_more_fds(void)
{
	struct rlimit old, rl;
	int next = dup(0);

	assert_true(next != -1);
	close(next);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	rl = old;
	rl.rlim_cur = (rlim_t)next;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &rl), 0);
	return old;
}

static void
test_no_descriptors(void **state)
{
	struct rlimit old;
	int lines = 0, i;

	(void)state;
	log_set_sink(count_line, &lines);
	assert_int_equal(chan_send(a, M_FD, 1, pipe_with_x(), NULL, 0), 0);
	old = no_more_fds();
	for (i = 0; i < 5; i++) {
		spin();
		usleep(60 * 1000);
	}
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	assert_int_equal(fds, 0);
	assert_int_equal(lines, 1);
	for (i = 0; i < 50 && fds == 0; i++) {
		usleep(20 * 1000);
		spin();
	}
	assert_int_equal(fds, 1);
	log_set_sink(NULL, NULL);
	assert_int_equal(violations + closes, 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_good),
		T(test_unknown_type),
		T(test_wrong_sender),
		T(test_too_short),
		T(test_too_long),
		T(test_over_channel_limit),
		T(test_fd_missing),
		T(test_fd_too_much),
		T(test_malformed),
		T(test_no_handler_is_fatal),
		T(test_close),
		T(test_send_to_dead_peer),
		T(test_failed_send_keeps_fd),
		T(test_back_pressure),
		T(test_unread),
		T(test_unread_descriptors),
		T(test_no_memory),
		T(test_no_memory_to_send),
		T(test_pause_in_handler),
		T(test_free_in_handler),
		T(test_more),
		T(test_drain),
		T(test_no_descriptors),
	};

	return cmocka_run_group_tests(tests, group_setup, NULL);
}
