/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * Claim: a fuse that reads no requests, for a reload is not done with the names,
 * ends with its mount all the same, and does not run in circles meanwhile.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include <sys/syscall.h>
#include <sys/wait.h>
#include <event2/event.h>
#include <poll.h>
#include <unistd.h>

#include "lib/log.h"
#include "lib/proc.h"
#include "lib/proc_base.h"
#include "sailvold/privileged.h"
#include "sailvold/request.h"
#include "sailvold/tally.h"
#include "sailvold/given.h"
#include "sailvold/wakeful.h"

#define ENDED 42
#define LATE_S 60

static struct session session;
static unsigned int polls;

void
role_end(int status)
{
	_exit(status == 0 ? ENDED : 1);
}

void
tally_request(uint32_t opcode)
{
	(void)opcode;
}

void
given_begin(uint64_t unique, int resent)
{
	(void)unique;
	(void)resent;
}

void
given_end(void)
{
}

int
wakeful_look(void)
{
	return 0;
}

void
wakeful_request(void)
{
}

/* As libc has it, and counted. */
int
poll(struct pollfd *fds, nfds_t n, int timeout)
{
	struct timespec ts = { timeout / 1000, timeout % 1000 * 1000000L };

	polls++;
	return (
	    int)syscall(SYS_ppoll, fds, n, timeout < 0 ? NULL : &ts, NULL, 0);
}

static void
unmount(int fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
	close(session.mount_fd);
}

/* In a child: role_end() is its end. */
static int
served(int paused, int before)
{
	const struct timeval soon = { 0, 10000 };
	const struct fuse_lowlevel_ops ops = { .init = NULL };
	struct event *timer;
	int i;

	alarm(LATE_S);
	if (proc_base_init() == -1 ||
	    request_start(session.fuse_fd, &ops, session.init, session.init_len,
		0) == -1)
		return 2;
	if (before)
		unmount(-1, 0, NULL);
	request_pause(1);
	if (!before) {
		polls = 0;
		for (i = 0; i < 50; i++)
			event_base_loop(proc_base(), EVLOOP_NONBLOCK);
		if (polls > 3)
			return 3;
	}
	if (!paused)
		request_pause(0);
	timer = evtimer_new(proc_base(), unmount, NULL);
	if (timer == NULL || (!before && evtimer_add(timer, &soon) == -1))
		return 4;
	event_base_dispatch(proc_base());
	return 5;
}

static void
ends(int paused, int before)
{
	char what[512];
	int status;
	pid_t pid;

	if (geteuid() != 0 ||
	    priv_make_session(&session, "v", 0, what, sizeof(what)) == -1)
		skip();
	if ((pid = fork()) == 0)
		_exit(served(paused, before));
	close(session.fuse_fd);
	close(session.mount_fd);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), ENDED);
}

static void
while_paused(void **state)
{
	(void)state;
	ends(1, 0);
}

static void
before_pause(void **state)
{
	(void)state;
	ends(1, 1);
}

static void
after_pause(void **state)
{
	(void)state;
	ends(0, 0);
}

static unsigned int resents;

static void
resent(void)
{
	resents++;
}

/* Nothing is sent again: that is found out at once, and no sooner than it is
   looked for. */
static void
none_resent(void **state)
{
	const struct fuse_lowlevel_ops ops = { .init = NULL };
	char what[512];
	int status, i;
	pid_t pid;

	(void)state;
	if (geteuid() != 0 ||
	    priv_make_session(&session, "v", 0, what, sizeof(what)) == -1)
		skip();
	if ((pid = fork()) == 0) {
		alarm(LATE_S);
		request_on_resent(resent);
		if (proc_base_init() == -1 ||
		    request_start(session.fuse_fd, &ops, session.init,
			session.init_len, 0) == -1)
			_exit(2);
		request_pause(1);
		for (i = 0; i < 3; i++)
			event_base_loop(proc_base(), EVLOOP_NONBLOCK);
		if (resents != 0)
			_exit(3);
		request_pause(0);
		for (i = 0; i < 3; i++)
			event_base_loop(proc_base(), EVLOOP_NONBLOCK);
		_exit(resents == 1 ? 0 : 4);
	}
	close(session.fuse_fd);
	close(session.mount_fd);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(while_paused),
		cmocka_unit_test(before_pause),
		cmocka_unit_test(after_pause),
		cmocka_unit_test(none_resent),
	};

	log_init("test", 1, 0);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
