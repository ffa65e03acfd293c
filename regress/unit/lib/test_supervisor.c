/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * Claim: the supervisor hears all that it is told, in order and with its
 * descriptors: also when there is no descriptor to be had, and when it does not
 * listen for a while, and before this process becomes another program.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <unistd.h>

#include "lib/log.h"
#include "lib/proc.h"
#include "lib/proc_base.h"
#include "lib/supervisor.h"

#define MANY 1200 /* more than any queue of datagrams is long */

static int listener;

static int
begin(void **state)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	char name[64];
	int n;

	(void)state;
	log_init("test", 1, 0);
	n = snprintf(name, sizeof(name), "@sail-test-supervisor-%d",
	    (int)getpid());
	memcpy(sun.sun_path + 1, name + 1, (size_t)n - 1);
	listener =
	    socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(listener, (struct sockaddr *)&sun,
			     (socklen_t)(offsetof(struct sockaddr_un,
					     sun_path) +
				 (size_t)n)),
	    0);
	setenv("NOTIFY_SOCKET", name, 1);
	supervisor_init();
	assert_null(getenv("NOTIFY_SOCKET"));
	return proc_base_init();
}

/* The next that came; 0: none.  fd: what came with it, or -1. */
static int
hear(char text[160], int *fd)
{
	union {
		struct cmsghdr hdr;
		char buf[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec iov = { text, 159 };
	struct msghdr msg = { .msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.buf,
		.msg_controllen = sizeof(control.buf) };
	struct cmsghdr *c;
	ssize_t n;

	if ((n = recvmsg(listener, &msg, MSG_CMSG_CLOEXEC)) == -1) {
		assert_int_equal(errno, EAGAIN);
		return 0;
	}
	text[n] = '\0';
	*fd = -1;
	if ((c = CMSG_FIRSTHDR(&msg)) != NULL)
		memcpy(fd, CMSG_DATA(c), sizeof(*fd));
	return 1;
}

static void
number_name(char name[32], int i)
{
	snprintf(name, 32, "table-%d", i);
}

/* Number i, stored with its file or dropped. */
static void
expect(const char *text, int fd, int i)
{
	char want[160], name[32];
	int number = -1;

	number_name(name, i);
	snprintf(want, sizeof(want), "FDSTORE%s=1\nFDNAME=%s",
	    i % 2 ? "REMOVE" : "", name);
	assert_string_equal(text, want);
	if (i % 2) {
		assert_int_equal(fd, -1);
		return;
	}
	assert_int_equal(pread(fd, &number, sizeof(number), 0), sizeof(number));
	assert_int_equal(number, i);
	close(fd);
}

static void
say(int i)
{
	char name[32];
	int fd;

	number_name(name, i);
	if (i % 2) {
		supervisor_drop(name);
		return;
	}
	fd = memfd_create("test", MFD_CLOEXEC);
	assert_int_equal(write(fd, &i, sizeof(i)), sizeof(i));
	supervisor_store(name, fd);
	close(fd); /* it has what it needs */
}

static void
no_descriptor(void **state)
{
	int fd = memfd_create("test", MFD_CLOEXEC), got, i;
	struct rlimit rl, none;
	char text[160];

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &rl), 0);
	none = rl;
	none.rlim_cur = 3;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	supervisor_store("table-0", fd);
	supervisor_drop("table-1");
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &rl), 0);
	assert_int_equal(write(fd, "\0\0\0\0", 4), 4);
	for (i = 0; i < 2; i++) {
		assert_int_equal(hear(text, &got), 1);
		expect(text, got, i);
	}
	assert_int_equal(hear(text, &got), 0);
	close(fd);
}

static void
does_not_listen(void **state)
{
	char text[160];
	int fd, i = 0, n = 0;

	(void)state;
	for (n = 0; n < MANY; n++)
		say(n);
	while (i < MANY) {
		if (hear(text, &fd))
			expect(text, fd, i++);
		else
			event_base_loop(proc_base(), EVLOOP_ONCE);
	}
	/* Nothing is left over, nor waited for. */
	assert_int_equal(hear(text, &fd), 0);
	say(0);
	assert_int_equal(hear(text, &fd), 1);
	expect(text, fd, 0);
}

/* All before the exec, and the address is there for the next. */
static void
before_exec(void **state)
{
	int fd, i = 0, status;
	char text[160];
	pid_t pid;

	(void)state;
	if ((pid = fork()) == 0) {
		for (i = 0; i < MANY; i++)
			say(i);
		supervisor_flush();
		if (supervisor_restore() == -1 ||
		    getenv("NOTIFY_SOCKET") == NULL)
			_exit(1);
		_exit(0);
	}
	while (i < MANY)
		if (hear(text, &fd))
			expect(text, fd, i++);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_descriptor),
		cmocka_unit_test(does_not_listen),
		cmocka_unit_test(before_exec),
	};

	return cmocka_run_group_tests(tests, begin, NULL);
}
