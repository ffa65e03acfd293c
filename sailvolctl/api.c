/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * api: asks the API server through whom there is.  In sailvolctl, which is then
 * the parent of a sailvol-fetch.
 */
#include <errno.h>
#include <event.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/api_url.h"
#include "lib/fetch_imsg.h"
#include "lib/log.h"
#include "lib/program.h"
#include "sailvolctl/api.h"
#include "sailvolctl/client.h"

#define ANSWER_MAX (16 * 1024 * 1024)
#define STOP_MS 1000
#define DEADLINE_MS 10000 /* somebody waits before a terminal */
#define NOBODY 65534

static const char *const method_names[] = { [FETCH_METHOD_GET] = "GET",
	[FETCH_METHOD_PUT] = "PUT",
	[FETCH_METHOD_POST] = "POST",
	[FETCH_METHOD_DELETE] = "DELETE" };

/* The fetch, and the one request that it has. */
static struct {
	struct proc *proc;
	char url[2048], key[256];
	int ready, dead, done;
	uint16_t status;
	char what[512];
	json_t *body;
} direct;

/* ---- where the server and the key are ------------------------------------------- */

static int
read_key(const char *path, struct failure *f)
{
	FILE *file = fopen(path, "re");

	if (file == NULL ||
	    fgets(direct.key, sizeof(direct.key), file) == NULL) {
		failure_set(f, "", "key_file", "key file %s: %s", path,
		    file == NULL ? strerror(errno) : "is empty");
		if (file != NULL)
			fclose(file);
		return -1;
	}
	fclose(file);
	direct.key[strcspn(direct.key, "\r\n")] = '\0';
	return 0;
}

/* 1: a server of our own, 0: that of sailvold, -1: failure is set. */
static int
find_server(const struct invocation *inv, struct failure *f)
{
	const char *url = inv->opt[OPT_URL], *file = inv->opt[OPT_KEYFILE];
	const char *key = NULL, *why;

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
	    strlen(url) >= sizeof(direct.url)) {
		failure_set(f, "", "settings", "%s %s: %s",
		    inv->opt[OPT_URL] != NULL ? "-u" : "SAIL_API_URL", url,
		    why != NULL ? why : "too long");
		return -1;
	}
	if (key != NULL && strlen(key) >= sizeof(direct.key)) {
		failure_set(f, "", "settings", "the key is too long");
		return -1;
	}
	snprintf(direct.url, sizeof(direct.url), "%s", url);
	if (key != NULL)
		snprintf(direct.key, sizeof(direct.key), "%s", key);
	return file != NULL && read_key(file, f) == -1 ? -1 : 1;
}

/* ---- a fetch of our own ------------------------------------------------------------ */

static int
on_api_res(struct chan *c, uint32_t id, struct imsg *imsg, struct ibuf *body)
{
	struct fetch_api_res res;
	struct memfd_view v;
	int fd, rc;

	(void)c;
	(void)id;
	if (fetch_api_res_recv(body, &res) == -1)
		return -1;
	direct.status = res.status;
	snprintf(direct.what, sizeof(direct.what), "%.*s", (int)res.what_len,
	    res.what_len > 0 ? res.what : "");
	if ((fd = imsg_get_fd(imsg)) != -1) {
		rc = memfd_map(fd, ANSWER_MAX, &v);
		close(fd);
		if (rc == -1)
			return -1;
		direct.body = json_loadb((const char *)v.data, v.len,
		    JSON_ALLOW_NUL, NULL);
		memfd_unmap(&v);
	}
	direct.done = 1;
	event_loopexit(NULL);
	return 0;
}

static const struct msg_rule rules[] = {
	{ IMSG_FETCH_API_RES, ROLE_FETCH, CHAN_MAYFD, 13, PROC_MAX_BODY,
	    on_api_res, "api answer" },
};

static int
configure(struct proc *p, void *arg)
{
	struct fetch_config c = { direct.url, direct.key, NULL, 2,
		DEADLINE_MS };

	(void)arg;
	return fetch_configure(proc_chan(p), &c);
}

static void
on_ready(struct proc *p, void *arg)
{
	(void)p;
	(void)arg;
	direct.ready = 1;
	event_loopexit(NULL);
}

static int
on_death(struct proc *p, int status, void *arg)
{
	(void)p;
	(void)status;
	(void)arg;
	direct.dead = 1;
	direct.proc = NULL;
	event_loopexit(NULL);
	return 0;
}

/* Not root's: of a user that owns nothing. */
static void
fetch_user(struct proc_spec *spec)
{
	const struct passwd *pw;

	spec->uid = getuid();
	spec->gid = getgid();
	if (geteuid() != 0)
		return;
	if ((pw = getpwnam("_sailvolnet")) == NULL)
		pw = getpwnam("nobody");
	spec->uid = pw != NULL ? pw->pw_uid : NOBODY;
	spec->gid = pw != NULL ? pw->pw_gid : NOBODY;
}

static int
start_fetch(struct failure *f)
{
	char path[PATH_MAX];
	struct proc_spec spec = { .role = ROLE_FETCH,
		.title = "fetch",
		.exec = path,
		.rules = rules,
		.nrules = sizeof(rules) / sizeof(rules[0]),
		.configure = configure,
		.on_ready = on_ready,
		.on_death = on_death };

	if (program_find("sailvol-fetch", path, sizeof(path)) == -1) {
		failure_set(f, "", "fetch", "sailvol-fetch is not installed");
		return -1;
	}
	fetch_user(&spec);
	if (proc_parent_init(0) == -1 ||
	    (direct.proc = proc_start(&spec)) == NULL) {
		failure_set(f, "", "fetch", "%s: %s", path, strerror(errno));
		return -1;
	}
	while (!direct.ready && !direct.dead)
		event_dispatch();
	if (direct.dead) {
		failure_set(f, "", "fetch", "sailvol-fetch does not start");
		return -1;
	}
	return 0;
}

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

	if (direct.proc == NULL && start_fetch(f) == -1)
		goto fail;
	direct.done = 0;
	if (fetch_api_send(proc_chan(direct.proc), 1, &api, body_fd) == -1) {
		failure_set(f, "", "fetch", "sailvol-fetch: %s",
		    strerror(errno));
		goto fail;
	}
	while (!direct.done && !direct.dead)
		event_dispatch();
	if (direct.dead)
		failure_set(f, "unavailable", "fetch",
		    "sailvol-fetch ended before it answered");
	else if (direct.status == 0)
		failure_set(f, "unavailable", "no_answer", "%s: %s", direct.url,
		    direct.what);
	else
		return json_pack("{s:i, s:o?}", "status", (int)direct.status,
		    "body", direct.body);
	return NULL;

fail:
	if (body_fd != -1)
		close(body_fd);
	return NULL;
}

/* ---- through sailvold ---------------------------------------------------------------- */

static json_t *
ask_daemon(const struct invocation *inv, uint8_t method, const char *target,
    const json_t *body, struct failure *f)
{
	json_t *request, *answer = NULL;
	int fd;

	if (geteuid() != 0) {
		failure_set(f, "permission", "not_root",
		    "only root may use "
		    "the key of sailvold: give a server and a key by -u and "
		    "-k, or by SAIL_API_URL and SAIL_API_KEY");
		return NULL;
	}
	if ((fd = client_open_socket(inv->opt[OPT_SOCKET], f)) == -1)
		return NULL;
	request = json_pack("{s:s, s:s, s:s, s:O?}", "request", "api", "method",
	    method_names[method], "target", target, "body", body);
	if (request != NULL && body == NULL)
		json_object_del(request, "body");
	if (request != NULL)
		answer = client_ask(fd, request, inv->out, f);
	json_decref(request);
	close(fd);
	return answer;
}

/* ---- an answer -------------------------------------------------------------------------- */

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
	else if (failure_from_json(f, body) == -1)
		failure_set(f, "", "answer",
		    "the server answered with status "
		    "%lld, without a word",
		    (long long)status);
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
		return check_answer(ask_daemon(inv, method, target, body, f),
		    f);
	if (body != NULL &&
	    ((text = json_dumps(body, JSON_COMPACT)) == NULL ||
		(fd = memfd_new("body", text, strlen(text))) == -1)) {
		failure_set(f, "", "memory", "out of memory");
		free(text);
		return NULL;
	}
	free(text);
	direct.body = NULL;
	return check_answer(ask_direct(method, retry, target, fd, f), f);
}

void
api_end(void)
{
	if (direct.proc != NULL) {
		proc_stop_all(STOP_MS);
		event_dispatch();
	}
	explicit_bzero(direct.key, sizeof(direct.key));
}
