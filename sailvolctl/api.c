/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * api: asks the API server through whom there is.  In sailvolctl.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/api_url.h"
#include "lib/wire.h"
#include "sailvolctl/api.h"
#include "sailvolctl/client.h"
#include "sailvolctl/fetch.h"

#define ANSWER_MAX (16 * 1024 * 1024)

static const char *const method_names[] = { [FETCH_METHOD_GET] = "GET",
	[FETCH_METHOD_PUT] = "PUT",
	[FETCH_METHOD_POST] = "POST",
	[FETCH_METHOD_DELETE] = "DELETE" };

static struct fetch_server server;

/* ---- where the server and the key are ------------------------------------------- */

static int
read_key(const char *path, struct failure *f)
{
	FILE *file = fopen(path, "re");

	if (file == NULL ||
	    fgets(server.key, sizeof(server.key), file) == NULL) {
		failure_set(f, "", "key_file", "key file %s: %s", path,
		    file == NULL ? strerror(errno) : "is empty");
		if (file != NULL)
			fclose(file);
		return -1;
	}
	fclose(file);
	server.key[strcspn(server.key, "\r\n")] = '\0';
	return 0;
}

/* 1: a server of our own, 0: that of sailvold, -1: failure is set. */
static int
find_server(const struct invocation *inv, struct failure *f)
{
	const char *url = inv->opt[OPT_URL], *file = inv->opt[OPT_KEYFILE];
	const char *key = NULL, *ca = getenv("SAIL_CA_FILE"), *why;

	if (url == NULL && file == NULL && inv->opt[OPT_SOCKET] != NULL)
		return 0;
	if (url == NULL)
		url = getenv("SAIL_API_URL");
	if (file == NULL)
		key = getenv("SAIL_API_KEY");
	if (url == NULL && file == NULL && key == NULL)
		return 0;
	if (url == NULL || (file == NULL && key == NULL)) {
		failure_set(f, "", "settings",
		    url == NULL ? "a key but no URL: -u, or SAIL_API_URL"
				: "a URL but no key: -k, or SAIL_API_KEY");
		return -1;
	}
	if ((why = api_url_problem(url)) != NULL ||
	    strlen(url) >= sizeof(server.url)) {
		failure_set(f, "", "settings", "%s %s: %s",
		    inv->opt[OPT_URL] != NULL ? "-u" : "SAIL_API_URL", url,
		    why != NULL ? why : "too long");
		return -1;
	}
	if (key != NULL && strlen(key) >= sizeof(server.key)) {
		failure_set(f, "", "settings", "the key is too long");
		return -1;
	}
	snprintf(server.url, sizeof(server.url), "%s", url);
	if (key != NULL)
		snprintf(server.key, sizeof(server.key), "%s", key);
	if (ca != NULL &&
	    strlcpy(server.ca, ca, sizeof(server.ca)) >= sizeof(server.ca)) {
		failure_set(f, "", "settings", "SAIL_CA_FILE: too long");
		return -1;
	}
	return file != NULL && read_key(file, f) == -1 ? -1 : 1;
}

/* ---- a fetch of our own ------------------------------------------------------------ */

/* Takes body_fd.  {"status","body"}. */
static json_t *
ask_direct(uint8_t method, int retry, const char *target, int body_fd,
    struct failure *f)
{
	struct fetch_api api = { .method = method,
		.retry = retry != 0,
		.max_answer = ANSWER_MAX,
		.target = target,
		.target_len = strlen(target),
		.content_type = body_fd != -1 ? "application/json" : "",
		.content_type_len = body_fd != -1 ? 16 : 0 };
	struct fetch_answer answer;
	json_t *body = NULL;

	if (fetch_begin(&server, f) == -1) {
		if (body_fd != -1)
			close(body_fd);
		return NULL;
	}
	if (fetch_ask(&api, body_fd, &answer, f) == -1)
		return NULL;
	if (answer.have) {
		body = json_loadb((const char *)answer.body.data,
		    answer.body.len, JSON_ALLOW_NUL, NULL);
		memfd_unmap(&answer.body);
	}
	return json_pack("{s:i, s:o?}", "status", (int)answer.status, "body",
	    body);
}

/* ---- through sailvold ---------------------------------------------------------------- */

static void
not_root(struct failure *f)
{
	failure_set(f, "permission", "not_root",
	    "only root may use the key of sailvold: give a server and a key by "
	    "-u and -k, or by SAIL_API_URL and SAIL_API_KEY");
}

static json_t *
ask_daemon(const struct invocation *inv, uint8_t method, int retry,
    const char *target, const json_t *body, struct failure *f)
{
	json_t *request, *answer = NULL;
	int fd;

	if (geteuid() != 0) {
		not_root(f);
		return NULL;
	}
	if ((fd = client_open_socket(inv->opt[OPT_SOCKET], f)) == -1)
		return NULL;
	request = json_pack("{s:s, s:s, s:s, s:O?}", "request", "api", "method",
	    method_names[method], "target", target, "body", body);
	if (request != NULL && body == NULL)
		json_object_del(request, "body");
	/* Of what only reads it is known, also to an older one. */
	if (request != NULL && retry && method != FETCH_METHOD_GET)
		json_object_set_new(request, "retry", json_true());
	if (request != NULL)
		answer = client_ask(fd, request, inv->out, f);
	json_decref(request);
	close(fd);
	return answer;
}

/* ---- an answer -------------------------------------------------------------------------- */

void
api_refused(int status, json_t *body, struct failure *f)
{
	if (failure_from_json(f, body) == -1)
		failure_set(f, "", "answer",
		    "the server answered with status %d, without a word",
		    status);
}

/* Takes {"status","body"}. */
static json_t *
check_answer(json_t *answer, struct failure *f)
{
	json_int_t status =
	    json_integer_value(json_object_get(answer, "status"));
	json_t *body = json_object_get(answer, "body"), *good = NULL;

	if (answer == NULL)
		return NULL;
	if (status >= 200 && status < 300)
		good = json_is_object(body) ? json_incref(body) : json_object();
	else
		api_refused((int)status, body, f);
	json_decref(answer);
	return good;
}

json_t *
api_request(const struct invocation *inv, uint8_t method, int retry,
    const char *target, const json_t *body, struct failure *f)
{
	char *text = NULL;
	int where, fd = -1;

	if ((where = find_server(inv, f)) == -1)
		return NULL;
	if (where == 0)
		return check_answer(ask_daemon(inv, method, retry, target, body,
					f),
		    f);
	if (body != NULL &&
	    ((text = json_dumps(body, JSON_COMPACT)) == NULL ||
		(fd = memfd_new("body", text, strlen(text))) == -1)) {
		failure_memory(f);
		free(text);
		return NULL;
	}
	free(text);
	return check_answer(ask_direct(method, retry, target, fd, f), f);
}

/* ---- what only a fetch of our own brings ---------------------------------------- */

/* A member of the settings of sailvold; "" when it has none. */
static int
setting(const json_t *settings, const char *name, char *out, size_t size,
    struct failure *f)
{
	const json_t *j = json_object_get(settings, name);
	const char *s = json_string_value(j);

	*out = '\0';
	if (s == NULL || strlcpy(out, s, size) < size)
		return 0;
	failure_set(f, "", "settings", "%s of sailvold is too long", name);
	return -1;
}

/* Root may read what sailvold was configured with. */
static int
server_of_daemon(const struct invocation *inv, struct failure *f)
{
	json_t *request, *answer = NULL, *settings;
	char key_file[PATH_MAX];
	int fd, rc = -1;

	if (geteuid() != 0) {
		not_root(f);
		return -1;
	}
	if ((fd = client_open_socket(inv->opt[OPT_SOCKET], f)) == -1)
		return -1;
	request = json_pack("{s:s}", "request", "status");
	if (request != NULL)
		answer = client_ask(fd, request, inv->out, f);
	json_decref(request);
	close(fd);
	if (answer == NULL)
		return -1;
	settings = json_object_get(json_object_get(answer, "daemon"), "server");
	if (setting(settings, "url", server.url, sizeof(server.url), f) == 0 &&
	    setting(settings, "ca_file", server.ca, sizeof(server.ca), f) ==
		0 &&
	    setting(settings, "key_file", key_file, sizeof(key_file), f) == 0) {
		if (*server.url == '\0' || *key_file == '\0')
			failure_set(f, "", "settings",
			    "sailvold does not say what server it has");
		else
			rc = read_key(key_file, f);
	}
	json_decref(answer);
	return rc;
}

int
api_direct(const struct invocation *inv, struct failure *f)
{
	int where = find_server(inv, f);

	if (where == -1 || (where == 0 && server_of_daemon(inv, f) == -1))
		return -1;
	return fetch_begin(&server, f);
}

int
api_post(const char *target, const void *body, size_t len,
    struct memfd_view *out, struct failure *f)
{
	int fd;

	if ((fd = memfd_new("body", body, len)) != -1)
		return api_post_file(target, fd, 0, out, NULL, f);
	return failure_memory(f);
}

int
api_post_file(const char *target, int fd, uint32_t deadline_ms,
    struct memfd_view *out, int *doubt, struct failure *f)
{
	struct fetch_api api = { .method = FETCH_METHOD_POST,
		.retry = 1,
		.deadline_ms = deadline_ms,
		.max_answer = ANSWER_MAX,
		.target = target,
		.target_len = strlen(target),
		.content_type = WIRE_CONTENT_TYPE,
		.content_type_len = sizeof(WIRE_CONTENT_TYPE) - 1 };
	struct fetch_answer answer;
	json_t *j;

	if (fetch_ask(&api, fd, &answer, f) == -1) {
		if (doubt != NULL)
			*doubt = strcmp(f->code, "no_answer") == 0;
		return -1;
	}
	if (answer.status == 200 && answer.have) {
		*out = answer.body;
		return 0;
	}
	if (doubt != NULL)
		*doubt = answer.repeated || answer.status < 400 ||
		    answer.status >= 500;
	j = !answer.have ? NULL
			 : json_loadb((const char *)answer.body.data,
			       answer.body.len, JSON_ALLOW_NUL, NULL);
	api_refused(answer.status, j, f);
	json_decref(j);
	if (answer.have)
		memfd_unmap(&answer.body);
	return -1;
}

void
api_end(void)
{
	fetch_end();
	explicit_bzero(&server, sizeof(server));
}
