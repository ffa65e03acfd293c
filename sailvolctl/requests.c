/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * requests: the commands that go to a sailvold(8): those of one mount by its
 * .sailvol/ctl, the others by the control socket.  In sailvolctl.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/hash.h"
#include "lib/json_name.h"
#include "lib/path.h"
#include "sailvolctl/client.h"
#include "sailvolctl/commands.h"
#include "sailvolctl/output.h"
#include "sailvolctl/requests.h"

/* ---- ends ---------------------------------------------------------------------- */

static int
failed(const struct invocation *inv, struct failure *f)
{
	int status = inv->out->error(f);

	failure_clear(f);
	return status;
}

/* Takes request (NULL: out of memory) and fd. */
static int
ask(const struct invocation *inv, int fd, json_t *request, struct failure *f)
{
	json_t *result = NULL;

	if (request == NULL)
		failure_memory(f);
	else
		result = client_ask(fd, request, inv->out, f);
	json_decref(request);
	close(fd);
	if (result == NULL)
		return failed(inv, f);
	inv->out->result(inv, result);
	json_decref(result);
	return EXIT_DONE;
}

/* ---- one mount ------------------------------------------------------------------- */

static int
ask_mount(const struct invocation *inv, const char *path, json_t *request)
{
	struct failure f = { .whole = NULL };
	int fd;

	fd = client_open_mount(path, inv->opt[OPT_SOCKET], request, &f);
	if (fd == -1) {
		json_decref(request);
		return failed(inv, &f);
	}
	return ask(inv, fd, request, &f);
}

static int
ask_socket(const struct invocation *inv, json_t *request)
{
	struct failure f = { .whole = NULL };
	int fd;

	if ((fd = client_open_socket(inv->opt[OPT_SOCKET], &f)) == -1) {
		json_decref(request);
		return failed(inv, &f);
	}
	return ask(inv, fd, request, &f);
}

int
run_commit(const struct invocation *inv)
{
	struct failure f = { .whole = NULL };
	const char *m = inv->opt[OPT_MESSAGE];
	json_t *request;
	int fd;

	if (m != NULL && !utf8_valid(m, strlen(m))) {
		failure_set(&f, "invalid_request", "bad_message",
		    "the message is not UTF-8");
		return failed(inv, &f);
	}
	request = json_pack("{s:s, s:s*, s:b}", "request", "commit", "message",
	    m, "if_unchanged", inv->opt[OPT_IF_UNCHANGED] != NULL);
	fd = client_open_mount(inv->operand[0], inv->opt[OPT_SOCKET], request,
	    &f);
	if (fd == -1) {
		json_decref(request);
		return failed(inv, &f);
	}
	/* What programs stored through mappings goes to the mount before the
	   request does. */
	if (syncfs(fd) == -1) {
		failure_set(&f, "", "sync", "%s: syncfs: %s", inv->operand[0],
		    strerror(errno));
		json_decref(request);
		close(fd);
		return failed(inv, &f);
	}
	return ask(inv, fd, request, &f);
}

int
run_reload(const struct invocation *inv)
{
	return ask_mount(inv, inv->operand[0],
	    json_pack("{s:s, s:b, s:b}", "request", "reload", "keep",
		inv->opt[OPT_KEEP] != NULL, "if_clean",
		inv->opt[OPT_IF_CLEAN] != NULL));
}

int
run_status(const struct invocation *inv)
{
	json_t *request = json_pack("{s:s}", "request", "status");

	return inv->noperands > 0 ? ask_mount(inv, inv->operand[0], request)
				  : ask_socket(inv, request);
}

/* ---- stash ----------------------------------------------------------------------- */

static int
stash(const struct invocation *inv, const char *action)
{
	json_t *request = json_pack("{s:s, s:s}", "request", "stash", "action",
		   action),
	       *id;
	const char *word = inv->noperands > 1 ? inv->operand[1] : NULL;
	char *end;
	long long n;

	if (request != NULL && word != NULL) {
		/* Numbers are numbers there. */
		errno = 0;
		n = strtoll(word, &end, 10);
		id = errno == 0 && *word != '\0' && *end == '\0'
		    ? json_integer(n)
		    : json_string(word);
		if (id == NULL ||
		    json_object_set_new(request, "id", id) == -1) {
			json_decref(request);
			request = NULL;
		}
	}
	return inv->noperands > 0 ? ask_mount(inv, inv->operand[0], request)
				  : ask_socket(inv, request);
}

int
run_stash_list(const struct invocation *inv)
{
	return stash(inv, "list");
}

int
run_stash_show(const struct invocation *inv)
{
	return stash(inv, "show");
}

int
run_stash_restore(const struct invocation *inv)
{
	return stash(inv, "restore");
}

int
run_stash_drop(const struct invocation *inv)
{
	return stash(inv, "drop");
}

/* ---- mounts ------------------------------------------------------------------------ */

static int
usage_error(const struct invocation *inv, struct failure *f)
{
	failed(inv, f);
	return EXIT_USAGE;
}

/* VOLUME[:/SUBPATH] into *request; -1 with failure set. */
int
request_add_volume(json_t *request, const char *arg, struct failure *f)
{
	const char *colon = strchr(arg, ':'), *sub, *why;
	size_t len = colon != NULL ? (size_t)(colon - arg) : strlen(arg), n;
	json_t *j;

	if ((why = volume_name_problem(arg, len)) != NULL) {
		failure_set(f, "invalid_request", "bad_name", "volume %.*s: %s",
		    (int)len, arg, why);
		return -1;
	}
	if (json_object_set_new(request, "volume", json_stringn(arg, len)) ==
	    -1)
		goto memory;
	if (colon == NULL)
		return 0;
	sub = colon + 1 + strspn(colon + 1, "/");
	for (n = strlen(sub); n > 0 && sub[n - 1] == '/'; n--)
		;
	if (colon[1] != '/' || (why = path_problem(sub, n)) != NULL) {
		failure_set(f, "invalid_request", "bad_path", "%s: %s", arg,
		    colon[1] != '/' ? "a subpath begins with /" : why);
		return -1;
	}
	j = json_name(sub, n);
	if (j != NULL && json_object_set_new(request, "subpath", j) == 0)
		return 0;

memory:
	return failure_memory(f);
}

int
request_add_path(json_t *request, char *path, struct failure *f)
{
	json_t *j;

	if (path == NULL)
		return -1;
	j = json_name(path, strlen(path));
	free(path);
	if (j != NULL && json_object_set_new(request, "path", j) == 0)
		return 0;
	return failure_memory(f);
}

/* BASE:COUNT as [base, count]; the daemon says what can be one. */
json_t *
request_uids(const char *arg)
{
	unsigned long long base, count;
	char *end;

	/* strtoull(3) takes a sign, and white space before it. */
	if (*arg < '0' || *arg > '9')
		return NULL;
	errno = 0;
	base = strtoull(arg, &end, 10);
	if (*end != ':' || end[1] < '0' || end[1] > '9')
		return NULL;
	count = strtoull(end + 1, &end, 10);
	if (errno != 0 || *end != '\0' || base > UINT32_MAX ||
	    count > UINT32_MAX)
		return NULL;
	return json_pack("[I, I]", (json_int_t)base, (json_int_t)count);
}

int
run_mount(const struct invocation *inv)
{
	struct failure f = { .whole = NULL };
	const char *at = inv->opt[OPT_AT], *uids = inv->opt[OPT_UIDS];
	struct hash h;
	json_t *request, *ids = NULL;
	int fd;

	if (at != NULL && hash_parse(&h, at, strlen(at)) == -1) {
		failure_set(&f, "invalid_request", "bad_commit",
		    "-c %s: a commit is 64 hexadecimal digits", at);
		return usage_error(inv, &f);
	}
	if (uids != NULL && (ids = request_uids(uids)) == NULL) {
		failure_set(&f, "invalid_request", "bad_uids",
		    "--uids %s: two numbers are needed, as in 100000:65536",
		    uids);
		return usage_error(inv, &f);
	}
	request = json_pack("{s:s, s:s*, s:b, s:b, s:o*}", "request", "mount",
	    "commit", at, "readonly",
	    at != NULL || inv->opt[OPT_READONLY] != NULL, "create",
	    inv->opt[OPT_CREATE] != NULL, "uids", ids);
	if (request == NULL ||
	    request_add_volume(request, inv->operand[0], &f) == -1 ||
	    request_add_path(request, client_real_path(inv->operand[1], &f),
		&f) == -1 ||
	    (fd = client_open_socket(inv->opt[OPT_SOCKET], &f)) == -1) {
		json_decref(request);
		return failed(inv, &f);
	}
	return ask(inv, fd, request, &f);
}

int
run_umount(const struct invocation *inv)
{
	struct failure f = { .whole = NULL };
	json_t *request;
	int fd;

	/* No word of a commit leaves it to the configuration. */
	request = json_pack("{s:s, s:o*, s:b}", "request", "umount", "commit",
	    inv->opt[OPT_COMMIT] != NULL ? json_true() : NULL, "force",
	    inv->opt[OPT_FORCE] != NULL);
	if (request == NULL ||
	    request_add_path(request, client_mount_point(inv->operand[0], &f),
		&f) == -1 ||
	    (fd = client_open_socket(inv->opt[OPT_SOCKET], &f)) == -1) {
		json_decref(request);
		return failed(inv, &f);
	}
	return ask(inv, fd, request, &f);
}
