/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * Claim: the parent does for manifest what a client of the control socket may
 * and, when that is root, what it has written; nothing for another socket,
 * whatever the kernel says of that, and nothing twice.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sailvold/parent_ask.h"
#include "sailvold/warrant.h"

#define MOUNT                                                          \
	"{\"request\":\"mount\",\"volume\":\"v\",\"path\":\"/mnt/x\"," \
	"\"subpath\":\"a/b\",\"create\":true,\"uids\":[100000,10]}\n"
#define UMOUNT "{\"request\":\"umount\",\"path\":\"/mnt/x\",\"force\":true}\n"
#define RESTART "{\"request\":\"restart\"}\n"

static int listener;
static char dir[] = "/tmp/sail-warrant.XXXXXX", path[64];
static struct parent_req req;
static const char *why;
static uid_t uid;

static int
setup(void **state)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };

	(void)state;
	assert_int_equal(getuid(), 0);
	assert_non_null(mkdtemp(dir));
	assert_int_equal(chmod(dir, 0711), 0);
	snprintf(path, sizeof(path), "%s/s", dir);
	strlcpy(sun.sun_path, path, sizeof(sun.sun_path));
	listener = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(bind(listener, (struct sockaddr *)&sun, sizeof(sun)),
	    0);
	assert_int_equal(chmod(path, 0666), 0);
	assert_int_equal(listen(listener, 10), 0);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	close(listener);
	unlink(path);
	return rmdir(dir);
}

/* The client's end of a connection; said: sent before. */
static int
dial(const char *said)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	size_t n = strlen(said);

	strlcpy(sun.sun_path, path, sizeof(sun.sun_path));
	if (connect(fd, (struct sockaddr *)&sun, sizeof(sun)) == -1 ||
	    write(fd, said, n) != (ssize_t)n)
		return -1;
	return fd;
}

/* Its accepted end, with its ticket in the request. */
static int
take(uint8_t verb, size_t line)
{
	int fd = accept(listener, NULL, NULL);

	assert_true(fd != -1);
	assert_int_equal(parent_ask(&req, verb, "/etc"), 0);
	req.line = (uint32_t)line;
	assert_int_equal(warrant_ticket(fd, &req.ticket), 0);
	return fd;
}

static int
check(int fd)
{
	int ok;

	uid = 99;
	ok = warrant_check(fd, &req, &uid, &why);
	assert_true(ok == 0 || why != NULL);
	return ok;
}

/* What manifest says of it counts for nothing. */
static void
of_root(void **state)
{
	int far = dial(MOUNT UMOUNT RESTART), fd;

	(void)state;
	fd = take(PARENT_MOUNT, strlen(MOUNT));
	assert_int_equal(check(fd), 0);
	assert_int_equal(uid, 0);
	assert_string_equal(req.mount.path, "/mnt/x");
	assert_string_equal(req.mount.subpath, "a/b");
	assert_string_equal(req.mount.volume, "v");
	assert_int_equal(req.mount.flags, MOUNT_CREATE);
	assert_int_equal(req.mount.ids.base, 100000);
	mount_req_free(&req.mount);
	assert_int_equal(parent_ask(&req, PARENT_FORGET, "/etc"), 0);
	req.line = strlen(UMOUNT);
	assert_int_equal(warrant_ticket(fd, &req.ticket), 0);
	/* It sends no more, and waits. */
	assert_int_equal(shutdown(far, SHUT_WR), 0);
	assert_int_equal(check(fd), 0);
	assert_int_equal(req.verb, PARENT_FORGET);
	assert_string_equal(req.mount.path, "/mnt/x");
	assert_int_equal(req.force, 1);
	mount_req_free(&req.mount);
	assert_int_equal(parent_ask(&req, PARENT_RESTART, ""), 0);
	req.line = strlen(RESTART);
	assert_int_equal(warrant_ticket(fd, &req.ticket), 0);
	assert_int_equal(check(fd), 0);
	assert_int_equal(req.verb, PARENT_RESTART);
	assert_int_equal(uid, 0);
	/* Nothing twice. */
	assert_int_equal(check(fd), -1);
	mount_req_free(&req.mount);
	close(far);
	close(fd);
}

/* What root has left without is not done later; nor is it read. */
static void
of_root_who_left(void **state)
{
	int far = dial(RESTART), fd;

	(void)state;
	fd = take(PARENT_RESTART, strlen(RESTART));
	close(far);
	assert_int_equal(check(fd), -1);
	assert_int_equal(errno, PARENT_REFUSED);
	assert_string_equal(why, "root has left");
	mount_req_free(&req.mount);
	close(fd);
}

/* Root asks for something else, or for nothing, or is asked for more or less of
   its words than a line. */
static void
not_of_root(void **state)
{
	static const char inner[] = "{\"request\":\"api\",\"body\":" UMOUNT;
	static const struct {
		const char *said;
		size_t skip, line;
		uint8_t verb;
	} lies[] = {
		{ "", 0, 0, PARENT_UMOUNT },
		{ "", 0, 10, PARENT_UMOUNT },
		{ UMOUNT, 0, 0, PARENT_UMOUNT },
		{ UMOUNT, 0, UINT32_MAX, PARENT_UMOUNT },
		{ UMOUNT, 0, sizeof(UMOUNT) - 1, PARENT_MOUNT },
		{ UMOUNT, 0, sizeof(UMOUNT) - 1, PARENT_RESTART },
		{ UMOUNT, 0, sizeof(UMOUNT) - 2, PARENT_UMOUNT },
		{ UMOUNT, 1, sizeof(UMOUNT) - 2, PARENT_UMOUNT },
		{ UMOUNT RESTART, 0, sizeof(UMOUNT RESTART) - 1,
		    PARENT_UMOUNT },
		{ MOUNT, 0, sizeof(MOUNT) - 1, PARENT_FORGET },
		{ RESTART, 0, sizeof(RESTART) - 1, PARENT_UMOUNT },
		{ "{\"request\":\"status\"}\n", 0, 21, PARENT_UMOUNT },
		{ "{\"request\":\"umount\"}\n", 0, 21, PARENT_UMOUNT },
		{ "{\"request\":\"umount\",\"path\":\"x\"}\n", 0, 32,
		    PARENT_UMOUNT },
		{ "{\"request\":\"mount\",\"path\":\"/x\"}\n", 0, 32,
		    PARENT_MOUNT },
		{ "{\"request\":\"umount\",\"path\":\"/x\",\"forced\":true}\n",
		    0, 47, PARENT_UMOUNT },
		{ "{\"request\":\"umount\",\"path\":\"/x\",\"force\":1}\n", 0,
		    43, PARENT_UMOUNT },
		{ "[]\n", 0, 3, PARENT_UMOUNT },
		{ "\n", 0, 1, PARENT_UMOUNT },
	};
	char junk[64];
	size_t i;
	int far, fd;

	(void)state;
	for (i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
		far = dial(lies[i].said);
		fd = take(lies[i].verb, lies[i].line);
		if (lies[i].skip > 0)
			assert_int_equal(recv(fd, junk, lies[i].skip, 0),
			    lies[i].skip);
		if (check(fd) != -1)
			fail_msg("lie %zu is believed", i);
		assert_string_equal(req.mount.path, "/etc");
		mount_req_free(&req.mount);
		close(fd);
		close(far);
	}
	/* What is in a line, its begin taken away. */
	for (i = 1; i < sizeof(inner) - 1; i++) {
		char line[sizeof(inner) + 1];

		snprintf(line, sizeof(line), "%.*s}\n", (int)sizeof(inner) - 2,
		    inner);
		far = dial(line);
		fd = take(PARENT_UMOUNT, strlen(line) - i);
		assert_int_equal(recv(fd, junk, 1, MSG_PEEK), 1);
		while (recv(fd, line, i, 0) != (ssize_t)i)
			fail();
		if (check(fd) != -1)
			fail_msg("from %zu on", i);
		mount_req_free(&req.mount);
		close(fd);
		close(far);
	}
}

/* Root made these: the kernel says that it is root, and there is a line. */
static void
of_nobody(void **state)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);
	int far = dial(""), fd, sv[2], pipes[2];

	(void)state;
	fd = take(PARENT_UMOUNT, strlen(UMOUNT));
	assert_int_equal(check(-1), -1);
	/* As the channels between processes of ours are made. */
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
	assert_int_equal(write(sv[1], UMOUNT, strlen(UMOUNT)), strlen(UMOUNT));
	assert_int_equal(getsockopt(sv[0], SOL_SOCKET, SO_PEERCRED, &cred,
			     &len),
	    0);
	assert_int_equal(cred.uid, 0);
	assert_int_equal(check(sv[0]), -1);
	assert_string_equal(why, "not a client of the control socket");
	/* The other end of a client's own connection, which says who listens. */
	assert_int_equal(write(fd, UMOUNT, strlen(UMOUNT)), strlen(UMOUNT));
	assert_int_equal(check(far), -1);
	assert_int_equal(pipe(pipes), 0);
	assert_int_equal(check(pipes[0]), -1);
	assert_int_equal(check(listener), -1);
	/* One client's ticket for another. */
	close(far);
	far = dial(UMOUNT);
	close(sv[0]);
	sv[0] = accept(listener, NULL, NULL);
	assert_int_equal(check(sv[0]), -1);
	/* The line is still there for who asks rightly. */
	assert_int_equal(warrant_ticket(sv[0], &req.ticket), 0);
	assert_int_equal(check(sv[0]), 0);
	mount_req_free(&req.mount);
	close(far);
	close(fd);
	close(sv[0]);
	close(sv[1]);
	close(pipes[0]);
	close(pipes[1]);
}

/* manifest's words are taken, and are that user's: also when he has gone. */
static void
of_a_user(void **state)
{
	int fd, status;
	pid_t pid;

	(void)state;
	if ((pid = fork()) == 0)
		_exit(setgid(54321) == -1 || setuid(54321) == -1 ||
		    dial(UMOUNT) == -1);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	fd = take(PARENT_UMOUNT, 0);
	assert_int_equal(check(fd), 0);
	assert_int_equal(uid, 54321);
	assert_string_equal(req.mount.path, "/etc");
	assert_int_equal(req.force, 0);
	mount_req_free(&req.mount);
	close(fd);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(of_root),
		cmocka_unit_test(of_root_who_left),
		cmocka_unit_test(not_of_root),
		cmocka_unit_test(of_nobody),
		cmocka_unit_test(of_a_user),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
