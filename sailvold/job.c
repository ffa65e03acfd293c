/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * job: the jobs of each mount, in order, with those who listen to them.  In
 * manifest.
 */
#include <errno.h>
#include <event2/event.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lib/log.h"
#include "sailvold/job.h"

#define PROGRESS_MS 200
#define KEEP_DONE_S (7 * 86400)
#define UNKEPT_S 1
#define NO_MEMORY                                                          \
	"{\"error\":{\"message\":\"out of memory\",\"type\":\"internal\"," \
	"\"code\":\"memory\"}}"

static int ending; /* sailvold is */

/* ---- words --------------------------------------------------------------------- */

void
hex_of(const uint8_t *b, size_t n, char *out)
{
	static const char digits[] = "0123456789abcdef";
	size_t i;

	for (i = 0; i < n; i++) {
		out[2 * i] = digits[b[i] >> 4];
		out[2 * i + 1] = digits[b[i] & 15];
	}
	out[2 * n] = '\0';
}

json_t *
json_hash(const struct hash *h)
{
	char hex[HASH_HEX_LEN + 1];

	hash_hex(h, hex);
	return json_string(hex);
}

json_t *
json_error_of(const char *type, const char *code, const char *message)
{
	return json_pack("{s:{s:o,s:s,s:s}}", "error", "message",
	    json_text(message), "type", type, "code", code);
}

/* ---- the queue ------------------------------------------------------------------- */

static int64_t
now_ms(void)
{
	return monotime_now().ns / 1000000;
}

static void
job_free(struct job *j)
{
	struct listener *l;

	while ((l = TAILQ_FIRST(&j->listeners)) != NULL) {
		TAILQ_REMOVE(&j->listeners, l, link);
		l->job = NULL;
	}
	json_decref(j->request);
	free(j);
}

static void
start_next(struct mount *m)
{
	struct job *j = TAILQ_FIRST(&m->jobs);

	if (j == NULL || j->running)
		return;
	j->running = 1;
	switch (j->kind) {
	case JOB_COMMIT:
		commit_start(j);
		break;
	case JOB_RELOAD:
		reload_start(j);
		break;
	case JOB_RESTORE:
		restore_start(j);
		break;
	default:
		job_error(j, "internal", "unknown_job", "an unknown job");
	}
}

/* No client can say so: it is no option of any request. */
static int
is_automatic(const json_t *request)
{
	return json_is_true(json_object_get(request, "automatic"));
}

struct job *
job_add(struct mount *m, uint8_t kind, uint64_t session, uint64_t mark,
    uint32_t uid, uint32_t gid, json_t *request)
{
	struct job *j;
	char *text;
	int rc;

	if ((j = calloc(1, sizeof(*j))) == NULL)
		return NULL;
	TAILQ_INIT(&j->listeners);
	j->m = m;
	j->kind = kind;
	j->session = session;
	j->mark = mark;
	j->uid = uid;
	j->gid = gid;
	j->created = (int64_t)time(NULL);
	j->request = json_incref(request);
	j->automatic = is_automatic(request);
	arc4random_buf(j->key, sizeof(j->key));
	text = json_dumps(request, JSON_COMPACT);
	rc = text != NULL ? db_job_insert(manifest_db, j, text) : -1;
	/* Some may have been made by that (ballast.h). */
	if (rc == -1 && text != NULL && errno == ENOSPC)
		rc = db_job_insert(manifest_db, j, text);
	free(text);
	if (rc == -1) {
		job_free(j);
		return NULL;
	}
	TAILQ_INSERT_TAIL(&m->jobs, j, link);
	return j;
}

static void
tell(struct job *j, const char *text, int last)
{
	struct listener *l, *next;

	for (l = TAILQ_FIRST(&j->listeners); l != NULL; l = next) {
		next = TAILQ_NEXT(l, link);
		if (last)
			listener_leave(l);
		l->line(l, text, last);
	}
}

static void
tell_ending(struct job *j)
{
	json_t *e = json_error_of("unavailable", "ending",
	    "sailvold ends; the job goes on when it is started anew");
	char *text = e != NULL ? json_dumps(e, JSON_COMPACT) : NULL;

	json_decref(e);
	tell(j, text != NULL ? text : NO_MEMORY, 1);
	free(text);
}

/* The first line is the number of the job, by which it can be cancelled. */
void
job_listen(struct job *j, struct listener *l)
{
	json_t *first = json_pack("{s:{s:I,s:s}}", "progress", "job",
	    (json_int_t)j->id, "phase", "queue");
	char *text = first != NULL ? json_dumps(first, JSON_COMPACT) : NULL;

	json_decref(first);
	if (text != NULL && !j->running)
		l->line(l, text, 0);
	free(text);
	l->job = j;
	TAILQ_INSERT_TAIL(&j->listeners, l, link);
	if (ending)
		tell_ending(j);
	else
		start_next(j->m);
}

void
listener_leave(struct listener *l)
{
	if (l->job == NULL)
		return;
	TAILQ_REMOVE(&l->job->listeners, l, link);
	l->job = NULL;
}

struct job *
job_find(struct mount *m, int64_t id)
{
	struct job *j;

	TAILQ_FOREACH (j, &m->jobs, link)
		if (id == 0 || j->id == id)
			return j;
	return NULL;
}

struct job *
job_find_session(struct mount *m, uint64_t session, uint64_t mark)
{
	struct job *j;

	TAILQ_FOREACH (j, &m->jobs, link)
		if (j->session == session && j->mark == mark)
			return j;
	return NULL;
}

int
jobs_running(const struct mount *m)
{
	return !TAILQ_EMPTY(&m->jobs);
}

int
job_progress_due(const struct job *j)
{
	return !TAILQ_EMPTY(&j->listeners) &&
	    now_ms() - j->last_progress_ms >= PROGRESS_MS;
}

void
job_progress(struct job *j, json_t *progress)
{
	char *text;

	if (!job_progress_due(j)) {
		json_decref(progress);
		return;
	}
	j->last_progress_ms = now_ms();
	json_object_set_new(progress, "job", json_integer(j->id));
	progress = json_pack("{s:o}", "progress", progress);
	text = progress != NULL ? json_dumps(progress, JSON_COMPACT) : NULL;
	json_decref(progress);
	if (text != NULL)
		tell(j, text, 0);
	free(text);
}

static int
store_text(int64_t id, const char *text)
{
	if (db_job_state(manifest_db, id, JOB_DONE, text) == -1)
		return -1;
	return db_job_items_delete(manifest_db, id);
}

int
job_store_answer(struct job *j, json_t *answer)
{
	char *text;
	int rc;

	if ((text = json_dumps(answer, JSON_COMPACT)) == NULL)
		return -1;
	rc = store_text(j->id, text);
	free(text);
	return rc;
}

/* ---- answers that the database did not take ---------------------------------------- */

/* What somebody was told has failed, or was cancelled, is not begun again. */
struct unkept {
	TAILQ_ENTRY(unkept) link;
	int64_t id;
	char *text;
};
static TAILQ_HEAD(, unkept) unkept = TAILQ_HEAD_INITIALIZER(unkept);
static struct event *unkept_timer;

static void
unkept_write(evutil_socket_t fd, short what, void *arg)
{
	struct timeval tv = { UNKEPT_S, 0 };
	struct unkept *u;

	(void)fd;
	(void)what;
	(void)arg;
	while ((u = TAILQ_FIRST(&unkept)) != NULL &&
	    store_text(u->id, u->text) == 0) {
		TAILQ_REMOVE(&unkept, u, link);
		free(u->text);
		free(u);
	}
	if (u == NULL)
		return;
	if (unkept_timer == NULL)
		unkept_timer =
		    event_new(proc_base(), -1, 0, unkept_write, NULL);
	if (unkept_timer == NULL || event_add(unkept_timer, &tv) == -1)
		log_warnx("job %lld: no timer for its answer",
		    (long long)u->id);
}

static int
is_unkept(int64_t id)
{
	const struct unkept *u;

	TAILQ_FOREACH (u, &unkept, link)
		if (u->id == id)
			return 1;
	return 0;
}

static void
keep_answer(struct job *j, json_t *answer)
{
	struct unkept *u;
	char *text;
	int rc;

	text = answer != NULL ? json_dumps(answer, JSON_COMPACT)
			      : strdup(NO_MEMORY);
	rc = text != NULL ? store_text(j->id, text) : -1;
	/* Some room may have been made by that (ballast.h). */
	if (rc == -1 && text != NULL && errno == ENOSPC)
		rc = store_text(j->id, text);
	if (rc == 0) {
		free(text);
		return;
	}
	log_warnx("mount %s: the answer of job %lld is not kept: it is tried "
		  "again",
	    j->m->row.path, (long long)j->id);
	if (text == NULL || (u = calloc(1, sizeof(*u))) == NULL) {
		free(text);
		return;
	}
	u->id = j->id;
	u->text = text;
	TAILQ_INSERT_TAIL(&unkept, u, link);
	unkept_write(-1, 0, NULL);
}

static void
count(const struct job *j, const json_t *answer)
{
	/* The database said which kind it is. */
	if (j->kind == 0 || j->kind > JOB_KINDS)
		return;
	if (answer == NULL || json_object_get(answer, "error") != NULL) {
		j->m->jobs_failed[j->kind]++;
		return;
	}
	j->m->jobs_done[j->kind]++;
	if (j->kind == JOB_COMMIT)
		j->m->committed = (int64_t)time(NULL);
}

void
job_done(struct job *j, json_t *answer, int stored)
{
	struct mount *m = j->m;
	char *text;

	count(j, answer);
	if (!stored)
		keep_answer(j, answer);
	if (j->stop != NULL)
		j->stop(j);
	TAILQ_REMOVE(&m->jobs, j, link);
	text = answer != NULL ? json_dumps(answer, JSON_COMPACT) : NULL;
	json_decref(answer);
	tell(j, text != NULL ? text : NO_MEMORY, 1);
	free(text);
	job_free(j);
	db_job_trim(manifest_db, (int64_t)time(NULL) - KEEP_DONE_S);
	namespace_sweep(m);
	start_next(m);
}

void
job_error(struct job *j, const char *type, const char *code, const char *fmt,
    ...)
{
	char what[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	job_log(j)("mount %s: %s: %s", j->m->row.path,
	    j->kind == JOB_COMMIT       ? "commit"
		: j->kind == JOB_RELOAD ? "reload"
					: "stash restore",
	    what);
	job_done(j, json_error_of(type, code, what), 0);
}

/* Who waits behind it hears the same: the next who asks waits for it first. */
void
job_suspend(struct job *j, const char *type, const char *code, const char *what)
{
	struct mount *m = j->m;
	struct job *next;
	json_t *e = json_error_of(type, code, what);
	char *text = e != NULL ? json_dumps(e, JSON_COMPACT) : NULL;

	job_log(j)("mount %s: job %lld waits: %s", m->row.path,
	    (long long)j->id, what);
	if (j->stop != NULL)
		j->stop(j);
	j->stop = NULL;
	tell(j, text != NULL ? text : NO_MEMORY, 1);
	while ((next = TAILQ_NEXT(j, link)) != NULL)
		job_done(next, json_incref(e), 0);
	free(text);
	json_decref(e);
	j->running = 0;
}

int
job_cancel(struct job *j)
{
	/* At the end all are told, one after the other. */
	if (ending || j->state == JOB_PUBLISHING ||
	    (j->running && (j->may_cancel == NULL || !j->may_cancel(j)))) {
		errno = EBUSY;
		return -1;
	}
	job_done(j,
	    json_error_of("cancelled", "cancelled",
		"it was cancelled; nothing was published"),
	    0);
	return 0;
}

/* ---- mounts come and go ------------------------------------------------------------ */

static int
take_pending(void *arg, struct job *row, const char *request)
{
	struct mount *m = arg;
	struct job *j;

	if (is_unkept(row->id))
		return 0;
	if ((j = malloc(sizeof(*j))) == NULL)
		return -1;
	*j = *row;
	TAILQ_INIT(&j->listeners);
	j->m = m;
	j->resumed = 1;
	j->request = json_loads(request != NULL ? request : "{}", 0, NULL);
	if (j->request == NULL)
		j->request = json_object();
	j->automatic = is_automatic(j->request);
	TAILQ_INSERT_TAIL(&m->jobs, j, link);
	return 0;
}

void
jobs_mount_started(struct mount *m)
{
	lease_renew(m);
	unkept_write(-1, 0, NULL);
	if (!TAILQ_EMPTY(&m->jobs))
		return;
	if (db_job_pending(manifest_db, m->row.row, take_pending, m) == -1)
		log_warn("mount %s: its interrupted jobs", m->row.path);
	start_next(m);
}

static void
mount_ends(struct mount *m, void *arg)
{
	struct job *j;

	(void)arg;
	TAILQ_FOREACH (j, &m->jobs, link)
		tell_ending(j);
}

void
jobs_daemon_ends(void)
{
	ending = 1;
	mount_foreach(mount_ends, NULL);
}

void
jobs_mount_gone(struct mount *m)
{
	struct job *j;
	char *text;
	json_t *e;

	while ((j = TAILQ_FIRST(&m->jobs)) != NULL) {
		if (j->stop != NULL)
			j->stop(j);
		TAILQ_REMOVE(&m->jobs, j, link);
		e = json_error_of("unavailable", "unmounted",
		    "the mount went away; the job goes on with the next mount "
		    "there");
		text = e != NULL ? json_dumps(e, JSON_COMPACT) : NULL;
		json_decref(e);
		tell(j, text != NULL ? text : "{}", 1);
		free(text);
		job_free(j);
	}
	lease_stop(m);
	control_fuse_down(m); /* what was asked besides */
}
