/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * output_json: one JSON object on standard output, and nothing besides;
 * progress as lines of JSON on standard error.  In sailvolctl.
 */
#include <stdio.h>
#include <stdlib.h>

#include "lib/json_name.h"
#include "sailvolctl/commands.h"
#include "sailvolctl/output.h"

static void
dump(const json_t *j)
{
	/* What failed of standard output is said at the end. */
	if (json_dumpf(j, stdout, JSON_COMPACT) == -1 && !ferror(stdout))
		fprintf(stderr, "sailvolctl: the answer cannot be shown\n");
	putchar('\n');
}

static void
json_result(const struct invocation *inv, const json_t *result)
{
	(void)inv;
	dump(result);
}

static int
json_failure(const struct failure *f)
{
	json_t *j;

	if (f->whole != NULL)
		dump(f->whole);
	else {
		j = json_pack("{s:{s:o, s:s, s:s}}", "error", "message",
		    json_text(f->message), "type",
		    *f->type != '\0' ? f->type : "client", "code",
		    *f->code != '\0' ? f->code : "failed");
		if (j != NULL)
			dump(j);
		json_decref(j);
	}
	return failure_status(f);
}

static void
json_note(const char *message)
{
	(void)message;
}

static void
json_progress(const json_t *progress)
{
	json_t *j =
	    json_pack("{s:O}", "progress", (json_t *)(uintptr_t)progress);

	if (j != NULL && json_dumpf(j, stderr, JSON_COMPACT) == 0)
		fputc('\n', stderr);
	json_decref(j);
}

const struct output output_json = { json_result, json_failure, json_note,
	json_progress };
