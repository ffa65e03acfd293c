/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * restart: has sailvold(8) become the program that is installed, and waits
 * until that answers.  In sailvolctl.
 */
#include <errno.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "lib/monotime.h"
#include "sailvolctl/client.h"
#include "sailvolctl/commands.h"
#include "sailvolctl/output.h"
#include "sailvolctl/requests.h"

#define WAIT_MS (60 * 1000)
#define NAP_MS 50

static json_t *
ask_once(const struct invocation *inv, const char *request, struct failure *f)
{
	json_t *j, *result = NULL;
	int fd;

	if ((fd = client_open_socket(inv->opt[OPT_SOCKET], f)) == -1)
		return NULL;
	if ((j = json_pack("{s:s}", "request", request)) == NULL)
		failure_memory(f);
	else
		result = client_ask(fd, j, inv->out, f);
	json_decref(j);
	close(fd);
	return result;
}

/* How often it has become a new program; -1 with failure set. */
static json_int_t
ask_restarts(const struct invocation *inv, struct failure *f)
{
	json_t *status, *n;
	json_int_t restarts = -1;

	if ((status = ask_once(inv, "status", f)) == NULL)
		return -1;
	n = json_object_get(json_object_get(status, "daemon"), "restarts");
	if (json_is_integer(n))
		restarts = json_integer_value(n);
	else
		failure_set(f, "unavailable", "status",
		    "sailvold does not say how often it was restarted: is it "
		    "older than this program?");
	json_decref(status);
	return restarts;
}

static int
wait_for_it(const struct invocation *inv, json_int_t before, struct failure *f)
{
	static const struct timespec nap = { 0, NAP_MS * 1000000L };
	monotime_t from = monotime_now();

	while (ask_restarts(inv, f) <= before) {
		if (monotime_diff_ms(monotime_now(), from) > WAIT_MS) {
			failure_clear(f);
			failure_set(f, "unavailable", "restart",
			    "sailvold has not answered for %d s since it was "
			    "to restart: its log says why",
			    WAIT_MS / 1000);
			return -1;
		}
		failure_clear(f);
		nanosleep(&nap, NULL);
	}
	return 0;
}

int
run_restart(const struct invocation *inv)
{
	struct failure f = { .whole = NULL };
	json_t *result = NULL;
	json_int_t before;
	int status;

	if ((before = ask_restarts(inv, &f)) == -1 ||
	    (result = ask_once(inv, "restart", &f)) == NULL ||
	    wait_for_it(inv, before, &f) == -1) {
		json_decref(result);
		status = inv->out->error(&f);
		failure_clear(&f);
		return status;
	}
	inv->out->result(inv, result);
	json_decref(result);
	return EXIT_DONE;
}
