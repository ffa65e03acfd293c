/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * help: what sailvolctl says of itself: usage, and completions of shells.  In
 * sailvolctl.
 */
#include <stdio.h>

#include "sailvolctl/commands.h"
#include "sailvolctl/complete.h"
#include "sailvolctl/output.h"
#include "sailvolctl/requests.h"

int
run_completion(const struct invocation *inv)
{
	struct failure f = { .whole = NULL };

	if (complete_print(stdout, inv->operand[0]) == 0)
		return EXIT_DONE;
	failure_set(&f, "invalid_request", "usage",
	    "completion: %s: bash, fish or zsh", inv->operand[0]);
	return misused(inv, &f);
}

int
run_help(const struct invocation *inv)
{
	const char *first = inv->noperands > 0 ? inv->operand[0] : NULL;
	const char *second = inv->noperands > 1 ? inv->operand[1] : NULL;
	struct failure f = { .whole = NULL };
	const char *near;

	if (usage_of(stdout, first, second) > 0) {
		puts("See sailvolctl(8).");
		return EXIT_DONE;
	}
	near = command_nearest(first, second);
	failure_set(&f, "invalid_request", "usage",
	    near != NULL ? "no command %s%s%s: was %s meant?"
			 : "no command %s%s%s: see sailvolctl help",
	    first, second != NULL ? " " : "", second != NULL ? second : "",
	    near);
	return misused(inv, &f);
}
