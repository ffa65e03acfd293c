/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * control: the requests that come as lines of JSON, from a table, and the
 * sessions of .sailvol/ctl.  In manifest.
 */
#include <errno.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/commit.h"
#include "lib/log.h"
#include "sailvold/asker.h"
#include "sailvold/control_client.h"

#define LOG_ANSWER_MAX ((uint64_t)4 << 20)
#define API_ANSWER_MAX ((uint64_t)16 << 20)

#define DOOR_CTL 0x1	/* .sailvol/ctl */
#define DOOR_SOCKET 0x2 /* the control socket */
#define DOOR_ROOT 0x4	/* there for root alone */
#define NEEDS_MOUNT 0x8 /* at the control socket: by its path */

static TAILQ_HEAD(, asker) sessions = TAILQ_HEAD_INITIALIZER(sessions);

/* ---- answers ------------------------------------------------------------------------- */

static void
listener_line(struct listener *l, const char *text, int last)
{
	struct asker *a = l->arg;

	if (last && a->after != NULL)
		control_commit_done(a, text);
	else
		a->send(a, text, last);
}

void
asker_init(struct asker *a)
{
	a->listener.line = listener_line;
	a->listener.arg = a;
}

void
asker_answer(struct asker *a, json_t *json)
{
	char *text;

	text = json != NULL ? json_dumps(json, JSON_COMPACT) : NULL;
	json_decref(json);
	a->send(a, text != NULL ? text : "{\"error\":{\"message\":"
	    "\"out of memory\",\"type\":\"internal\",\"code\":\"memory\"}}", 1);
	free(text);
}

void
asker_error(struct asker *a, const char *type, const char *code,
    const char *fmt, ...)
{
	char what[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	asker_answer(a, json_error_of(type, code, what));
}

void
asker_leave(struct asker *a)
{
	listener_leave(&a->listener);
	if (a->server_number != 0)
		server_cancel(a->server_number);
	a->server_number = a->parent_number = 0;
	json_decref(a->after);
	a->after = NULL;
}

/* ---- jobs ------------------------------------------------------------------------------ */

static void
add_job(struct asker *a, struct mount *m, uint8_t kind, json_t *request)
{
	struct job *j;

	j = job_add(m, kind, a->m != NULL ? a->session : 0, a->m != NULL ?
	    a->offset : 0, a->uid, a->gid, request);
	if (j == NULL)
		asker_error(a, "internal", "not_stored", "the request cannot be "
		    "kept: %s", strerror(errno));
	else
		job_listen(j, &a->listener);
}

static int
changes_allowed(struct asker *a, struct mount *m)
{
	if (!(m->flags & MOUNT_READONLY) && !m->has_commit)
		return 1;
	asker_error(a, "refused", "read_only", m->has_commit ?
	    "%s shows one commit, and always the same" :
	    "%s is mounted read-only", m->row.path);
	return 0;
}

static void
do_commit(struct asker *a, struct mount *m, json_t *request)
{
	const char *text;

	text = json_string_value(json_object_get(request, "message"));
	if (text != NULL && strlen(text) > COMMIT_MESSAGE_MAX)
		asker_error(a, "invalid_request", "message_too_long",
		    "the message is longer than %d bytes", COMMIT_MESSAGE_MAX);
	else if (changes_allowed(a, m))
		add_job(a, m, JOB_COMMIT, request);
}

static void
do_reload(struct asker *a, struct mount *m, json_t *request)
{
	if (m->has_commit)
		asker_error(a, "refused", "fixed_commit",
		    "%s shows one commit, and always the same", m->row.path);
	else if (json_is_true(json_object_get(request, "keep")) &&
	    json_is_true(json_object_get(request, "if_clean")))
		asker_error(a, "invalid_request", "keep_and_if_clean",
		    "keep and if_clean exclude each other");
	else
		add_job(a, m, JOB_RELOAD, request);
}

static void
do_stash(struct asker *a, struct mount *m, json_t *request)
{
	const char *action;

	action = json_string_value(json_object_get(request, "action"));
	if (action == NULL || strcmp(action, "restore") != 0)
		asker_answer(a, stash_request(m, request));
	else if (m == NULL)
		asker_error(a, "invalid_request", "no_mount",
		    "restore: into which mount?");
	else if (changes_allowed(a, m))
		add_job(a, m, JOB_RESTORE, request);
}

static void
do_diff(struct asker *a, struct mount *m, json_t *request)
{
	asker_answer(a, diff_request(m, request));
}

static int64_t
job_number(json_t *request)
{
	return json_integer_value(json_object_get(request, "job"));
}

static void
do_cancel(struct asker *a, struct mount *m, json_t *request)
{
	struct job *j = job_find(m, job_number(request));

	if (j == NULL)
		asker_error(a, "not_found", "no_such_job", "no such job runs");
	else if (a->uid != 0 && a->uid != j->uid)
		asker_error(a, "permission", "not_yours",
		    "the job is somebody else's");
	else if (job_cancel(j) == -1)
		asker_error(a, "conflict", "publishing", "it publishes already: "
		    "it cannot be cancelled any more");
	else
		asker_answer(a, json_pack("{s:{s:b}}", "result", "cancelled",
		    1));
}

static void
do_attach(struct asker *a, struct mount *m, json_t *request)
{
	int64_t id = job_number(request);
	struct job *j = job_find(m, id);
	char *answer;

	if (j != NULL)
		job_listen(j, &a->listener);
	else if (id == 0 || db_job_answer(manifest_db, m->row.row, id,
	    &answer) == -1)
		asker_error(a, "not_found", "no_such_job", "no such job");
	else {
		a->send(a, answer != NULL ? answer : "{}", 1);
		free(answer);
	}
}

/* ---- what the server is asked for ---------------------------------------------------------- */

static void
log_came(void *arg, const struct server_answer *s)
{
	struct asker *a = arg;
	char what[512], code[64];
	json_t *root;

	a->server_number = 0;
	root = s->status == 200 ? json_loadb((const char *)s->data, s->len, 0,
	    NULL) : NULL;
	if (root != NULL) {
		asker_answer(a, json_pack("{s:o}", "result", root));
		return;
	}
	server_error(s, what, sizeof(what), code, sizeof(code));
	asker_error(a, s->status == 0 ? "unavailable" : "failed", code, "%s",
	    what);
}

static void
do_log(struct asker *a, struct mount *m, json_t *request)
{
	const char *before;
	char target[256];
	json_int_t limit;
	struct hash h;
	int n;

	before = json_string_value(json_object_get(request, "before"));
	limit = json_integer_value(json_object_get(request, "limit"));
	if (before != NULL && hash_parse(&h, before, strlen(before)) == -1) {
		asker_error(a, "invalid_request", "bad_commit",
		    "before: not the id of a commit");
		return;
	}
	n = snprintf(target, sizeof(target), "/v1/volumes/%s/commits?limit=%d",
	    m->row.volume_id, limit > 0 && limit <= 1000 ? (int)limit : 100);
	if (before != NULL)
		snprintf(target + n, sizeof(target) - (size_t)n, "&before=%s",
		    before);
	a->server_number = server_request(1, target, NULL, -1, 1,
	    LOG_ANSWER_MAX, log_came, a);
	if (a->server_number == 0)
		asker_error(a, "internal", "not_asked", "asking the server: %s",
		    strerror(errno));
}

static void
api_came(void *arg, const struct server_answer *s)
{
	struct asker *a = arg;
	json_t *body;

	a->server_number = 0;
	if (s->status == 0) {
		asker_error(a, "unavailable", "no_answer", "%s", s->what);
		return;
	}
	body = s->type == 1 ? json_loadb((const char *)s->data, s->len,
	    JSON_DECODE_ANY, NULL) : NULL;
	asker_answer(a, json_pack("{s:{s:i, s:o}}", "result", "status",
	    (int)s->status, "body", body != NULL ? body : json_null()));
}

static uint8_t
method_number(const char *method)
{
	static const char *const names[] = { "GET", "PUT", "POST", "DELETE" };
	uint8_t i;

	for (i = 0; method != NULL && i < 4; i++)
		if (strcmp(method, names[i]) == 0)
			return (uint8_t)(i + 1);
	return 0;
}

static void
do_api(struct asker *a, struct mount *m, json_t *request)
{
	const char *target;
	json_t *body = json_object_get(request, "body");
	uint8_t method;
	char *text;
	int fd = -1;

	(void)m;
	method = method_number(json_string_value(json_object_get(request,
	    "method")));
	target = json_string_value(json_object_get(request, "target"));
	if (method == 0 || target == NULL || strncmp(target, "/v1/", 4) != 0 ||
	    strpbrk(target, " \r\n") != NULL) {
		asker_error(a, "invalid_request", "bad_api_request",
		    "method and target of a request to the API are wrong");
		return;
	}
	if (body != NULL && !json_is_null(body)) {
		text = json_dumps(body, JSON_COMPACT | JSON_ENCODE_ANY);
		if (text != NULL)
			fd = memfd_new("api", text, strlen(text));
		free(text);
		if (fd == -1) {
			asker_error(a, "internal", "memory", "out of memory");
			return;
		}
	}
	/* A volume or key must not be made twice by a lost answer. */
	a->server_number = server_request(method, target, "application/json",
	    fd, method != 3, API_ANSWER_MAX, api_came, a);
	if (a->server_number == 0)
		asker_error(a, "internal", "not_asked", "asking the server: %s",
		    strerror(errno));
}

/* ---- the table ------------------------------------------------------------------------------ */

static void
do_status(struct asker *a, struct mount *m, json_t *request)
{
	(void)request;
	if (m != NULL)
		asker_answer(a, status_of_mount(m));
	else
		control_ask_status(a);
}

static const struct request {
	const char *name;
	unsigned int doors; /* DOOR_*, NEEDS_MOUNT */
	void (*f)(struct asker *, struct mount *, json_t *request);
} requests[] = {
	{ "api", DOOR_SOCKET | DOOR_ROOT, do_api },
	{ "attach", DOOR_CTL | DOOR_SOCKET | DOOR_ROOT | NEEDS_MOUNT,
	    do_attach },
	{ "cancel", DOOR_CTL | DOOR_SOCKET | DOOR_ROOT | NEEDS_MOUNT,
	    do_cancel },
	{ "commit", DOOR_CTL | DOOR_SOCKET | DOOR_ROOT | NEEDS_MOUNT,
	    do_commit },
	{ "diff", DOOR_CTL | DOOR_SOCKET | DOOR_ROOT | NEEDS_MOUNT, do_diff },
	{ "log", DOOR_CTL | DOOR_SOCKET | DOOR_ROOT | NEEDS_MOUNT, do_log },
	{ "mount", DOOR_SOCKET, control_mount },
	{ "reload", DOOR_CTL | DOOR_SOCKET | DOOR_ROOT | NEEDS_MOUNT,
	    do_reload },
	{ "stash", DOOR_CTL | DOOR_SOCKET | DOOR_ROOT, do_stash },
	{ "status", DOOR_CTL | DOOR_SOCKET, do_status },
	{ "umount", DOOR_SOCKET, control_umount },
};

static const struct request *
find_request(const char *name)
{
	size_t i;

	for (i = 0; name != NULL && i < sizeof(requests) / sizeof(requests[0]);
	    i++)
		if (strcmp(requests[i].name, name) == 0)
			return &requests[i];
	return NULL;
}

/* The mount that a request is about; 0 when it was answered by an error. */
static int
find_mount(struct asker *a, const struct request *r, json_t *request,
    struct mount **m)
{
	const char *path;

	*m = a->m;
	if (a->m != NULL)
		return 1;
	path = json_string_value(json_object_get(request, "path"));
	if (path != NULL && r->f != control_mount)
		*m = mount_by_path(path);
	if (*m == NULL && (r->doors & NEEDS_MOUNT)) {
		asker_error(a, "not_found", "not_mounted",
		    "no volume is mounted on %s", path != NULL ? path : "?");
		return 0;
	}
	return 1;
}

static void
dispatch(struct asker *a, const char *name, json_t *request)
{
	const struct request *r = find_request(name);
	unsigned int door = a->m != NULL ? DOOR_CTL : DOOR_SOCKET;
	struct mount *m;

	if (r == NULL)
		asker_error(a, "invalid_request", "unknown_request",
		    "unknown request: %s", name != NULL ? name : "none named");
	else if (!(r->doors & door))
		asker_error(a, "permission", "wrong_door", "%s: not through %s",
		    name, a->m != NULL ? ".sailvol/ctl" : "the control socket");
	else if (a->m == NULL && (r->doors & DOOR_ROOT) && a->uid != 0)
		asker_error(a, "permission", "not_root",
		    "%s: for root alone at the control socket", name);
	else if (find_mount(a, r, request, &m))
		r->f(a, m, request);
}

void
asker_line(struct asker *a, const void *line, size_t len)
{
	json_error_t e;
	json_t *request;

	request = json_loadb(line, len, JSON_REJECT_DUPLICATES, &e);
	if (!json_is_object(request))
		asker_error(a, "invalid_request", "bad_json",
		    "not a line with a JSON object: %s", request == NULL ?
		    e.text : "another value");
	else
		dispatch(a, json_string_value(json_object_get(request,
		    "request")), request);
	json_decref(request);
}

/* ---- sessions of .sailvol/ctl ------------------------------------------------------------------ */

static void
session_free(struct asker *a)
{
	asker_leave(a);
	TAILQ_REMOVE(&sessions, a, link);
	free(a);
}

/* Lines that do not fit a message end with an error that says so. */
static void
session_send(struct asker *a, const char *text, int last)
{
	static const char long_text[] = "{\"error\":{\"message\":\"the answer is "
	    "too long for this door\",\"type\":\"failed\",\"code\":"
	    "\"answer_too_long\"}}";
	size_t len = strlen(text);
	struct ibuf *b;

	if (len > PROC_MAX_BODY - 64) {
		text = long_text;
		len = sizeof(long_text) - 1;
		last = 1;
	}
	b = ibuf_dynamic(64 + len, PROC_MAX_BODY);
	if (b == NULL || ibuf_add_n64(b, a->session) == -1 ||
	    ibuf_add_n8(b, last != 0) == -1 ||
	    ibuf_add_n32(b, (uint32_t)len) == -1 ||
	    ibuf_add(b, text, len) == -1) {
		ibuf_free(b);
		log_warn("mount %s: ctl", a->m->row.path);
	} else if (a->m->fuse == NULL || chan_send_ibuf(a->m->fuse,
	    IMSG_MANIFEST_FUSE_CTL_LINE, 0, -1, b) == -1)
		log_debug("mount %s: ctl: nobody hears it", a->m->row.path);
	if (last)
		session_free(a);
}

static struct asker *
session_find(struct mount *m, uint64_t session)
{
	struct asker *a;

	TAILQ_FOREACH(a, &sessions, link)
		if (a->m == m && a->session == session)
			return a;
	return NULL;
}

/* The same line again, from a fuse that was started anew. 1: it was known. */
static int
session_known(struct asker *a)
{
	struct job *j;
	char *answer;
	int64_t id;

	if ((j = job_find_session(a->m, a->session, a->offset)) != NULL) {
		job_listen(j, &a->listener);
		return 1;
	}
	if (db_job_of_session(manifest_db, a->m->row.row, a->session,
	    a->offset, &id) == -1 || db_job_answer(manifest_db, a->m->row.row,
	    id, &answer) == -1 || answer == NULL)
		return 0;
	a->send(a, answer, 1);
	free(answer);
	return 1;
}

void
control_ctl(struct mount *m, uint64_t session, uint32_t uid, uint32_t gid,
    uint64_t offset, const void *line, size_t len)
{
	struct asker *a;

	if ((a = session_find(m, session)) != NULL)
		session_free(a);
	if ((a = calloc(1, sizeof(*a))) == NULL)
		return;
	a->m = m;
	a->session = session;
	a->offset = offset;
	a->uid = uid;
	a->gid = gid;
	a->send = session_send;
	asker_init(a);
	TAILQ_INSERT_TAIL(&sessions, a, link);
	if (!session_known(a))
		asker_line(a, line, len);
}

void
control_ctl_close(struct mount *m, uint64_t session)
{
	struct asker *a = session_find(m, session);

	if (a != NULL)
		session_free(a);
}

void
control_fuse_down(struct mount *m)
{
	struct asker *a, *next;

	for (a = TAILQ_FIRST(&sessions); a != NULL; a = next) {
		next = TAILQ_NEXT(a, link);
		if (a->m == m)
			session_free(a);
	}
}
