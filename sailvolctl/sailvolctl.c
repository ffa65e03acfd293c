/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * sailvolctl(8): what people and scripts type.
 */
#include <locale.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lib/log.h"
#include "sailvolctl/commands.h"
#include "sailvolctl/mount_helper.h"
#include "sailvolctl/output.h"

/* Standard output is a pipe that nobody reads: as of `| head'. */
static int
reader_left(void)
{
	struct pollfd p = { .fd = STDOUT_FILENO, .events = POLLOUT };

	return poll(&p, 1, 0) == 1 && (p.revents & POLLERR);
}

int
main(int argc, char **argv)
{
	struct failure f = { .whole = NULL };
	struct invocation inv;
	char why[256];
	int status;

	setlocale(LC_CTYPE, "");
	signal(SIGPIPE, SIG_IGN);
	log_init("sailvolctl", 1, 0);
	if (mount_helper_named(argv[0]))
		return mount_helper(argc, argv);
	if (invocation_parse(&inv, argc, argv, why, sizeof(why)) == -1) {
		failure_set(&f, "invalid_request", "usage", "%s", why);
		inv.out->error(&f);
		if (inv.opt[OPT_JSON] == NULL && inv.command != NULL)
			usage_of(stderr, inv.command->words[0],
			    inv.command->words[1]);
		else if (inv.opt[OPT_JSON] == NULL)
			usage_print(stderr);
		return EXIT_USAGE;
	}
	status = inv.command->run(&inv);
	/* An id that nobody got was not given. */
	if (fflush(stdout) == EOF || ferror(stdout)) {
		if (reader_left()) {
			signal(SIGPIPE, SIG_DFL);
			raise(SIGPIPE);
		}
		fprintf(stderr, "sailvolctl: standard output failed\n");
		return status == EXIT_DONE ? EXIT_FAILED : status;
	}
	return status;
}
