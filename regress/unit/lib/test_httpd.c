/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * Claim: a connection that libmicrohttpd took, and closed before it began, is
 * forgotten: nothing is done to the descriptor that has its number since.
 */
#include <sys/socket.h>
#include <netinet/in.h>
#include <event.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/httpd.h"

/* In place of the library's: it had no memory, or no place in its epoll. */
enum MHD_Result
MHD_add_connection(struct MHD_Daemon *d, int fd, const struct sockaddr *sa,
    socklen_t len)
{
	(void)d;
	(void)sa;
	(void)len;
	close(fd);
	return MHD_YES;
}

static void *
begin(const char *target)
{
	(void)target;
	return NULL;
}

static void
never_begins(struct httpd *h, int sv[2])
{
	struct sockaddr_in sa = { .sin_family = AF_INET };
	int was;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
	was = sv[0];
	httpd_add(h, sv[0], (void *)&sa, sizeof(sa));
	close(sv[1]);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
	assert_int_equal(sv[0], was);
}

static int
is_shut(int fd)
{
	struct pollfd p = { fd, POLLRDHUP, 0 };

	return poll(&p, 1, 0) == 1;
}

static void
test_never_begun(void **state)
{
	static const struct httpd_conf conf = { .max_connections = 1,
		.per_peer = 1,
		.idle_s = 1,
		.rate = 1,
		.memory = 4096,
		.begin = begin };
	struct timeval tv = { 3, 0 };
	struct httpd *h;
	int late[2], turned[2];

	(void)state;
	event_init();
	h = httpd_new(-1, &conf);
	assert_non_null(h);
	/* It gives way to another one. */
	never_begins(h, turned);
	never_begins(h, late);
	assert_false(is_shut(turned[1]));
	/* Its time ends. */
	event_loopexit(&tv);
	event_dispatch();
	assert_false(is_shut(late[1]));
	httpd_free(h);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_never_begun),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
