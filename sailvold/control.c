/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * control: askers of requests, and the sessions of .sailvol/ctl.  In manifest.
 */
#include <errno.h>
#include <event2/event.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/log.h"
#include "lib/memfd.h"
#include "sailvold/asker.h"

static TAILQ_HEAD(, asker) askers = TAILQ_HEAD_INITIALIZER(askers);
/*
 * Begun at random: an answer to the manifest that died finds nobody here.  The
 * parent knows the lower half alone.
 */
static uint64_t last_asker;
static int ends; /* sailvold does */

static void
asker_free(struct asker *a)
{
	listener_leave(&a->l);
	TAILQ_REMOVE(&askers, a, link);
	free(a->umount_path);
	free(a->umount_commit);
	json_decref(a->umount_stash);
	free(a->umount_note);
	if (a->umount_late != NULL)
		event_free(a->umount_late);
	free(a);
}

/* Who waits for the last one would do so for ever: the next manifest is asked
   again.  A fuse that went asks again itself. */
static void
line_lost(const struct asker *a, int last)
{
	if (last && errno != EPIPE)
		fatal("mount %s: ctl: the answer", a->m->row.path);
	log_warn("mount %s: ctl: a line is lost", a->m->row.path);
}

static void
ctl_line(struct asker *a, const char *text, int last)
{
	size_t len = strlen(text);
	struct ibuf *b;
	int fd = -1;

	if (a->m->fuse == NULL)
		return; /* the next fuse asks again */
	if (len > CTL_ANSWER_MAX) {
		text = "{\"error\":{\"message\":\"the answer is too large\","
		       "\"type\":\"too_large\",\"code\":\"answer\"}}";
		len = strlen(text);
	}
	if ((b = ibuf_dynamic(9, 9)) == NULL ||
	    ibuf_add_n64(b, a->session) == -1 ||
	    ibuf_add_n8(b, last != 0) == -1 ||
	    (fd = memfd_new("line", text, len)) == -1) {
		ibuf_free(b);
		line_lost(a, last);
		return;
	}
	if (chan_send_ibuf(a->m->fuse, IMSG_MANIFEST_FUSE_CTL_LINE, 0, fd, b) ==
	    -1) {
		line_lost(a, last);
		close(fd);
	}
}

static void
asker_line(struct asker *a, const char *text, int last)
{
	struct client *c = a->client;

	if (c == NULL)
		ctl_line(a, text, last);
	if (last)
		asker_free(a);
	if (c != NULL)
		client_line(c, text, last);
}

static void
job_line(struct listener *l, const char *text, int last)
{
	struct asker *a = l->arg;

	if (last && a->umount_path != NULL)
		umount_continue(a, text);
	else
		asker_line(a, text, last);
}

struct asker *
asker_by_number(uint32_t number)
{
	struct asker *a;

	TAILQ_FOREACH (a, &askers, link)
		if ((uint32_t)a->id == number)
			return a;
	return NULL;
}

struct asker *
asker_new(uint32_t uid, uint32_t gid, uint32_t pid)
{
	struct asker *a;

	if ((a = calloc(1, sizeof(*a))) == NULL)
		return NULL;
	if (last_asker == 0)
		last_asker = arc4random();
	while (asker_by_number((uint32_t)++last_asker) != NULL)
		;
	a->id = last_asker;
	a->uid = uid;
	a->gid = gid;
	a->pid = pid;
	a->l.line = job_line;
	a->l.arg = a;
	TAILQ_INSERT_TAIL(&askers, a, link);
	return a;
}

struct asker *
asker_find(uint64_t id)
{
	struct asker *a;

	TAILQ_FOREACH (a, &askers, link)
		if (a->id == id)
			return a;
	return NULL;
}

void
asker_gone(struct asker *a)
{
	asker_free(a);
}

void
asker_answer(struct asker *a, json_t *answer)
{
	char *text;

	text = answer != NULL ? json_dumps(answer, JSON_COMPACT) : NULL;
	json_decref(answer);
	asker_line(a,
	    text != NULL
		? text
		: "{\"error\":{\"message\":"
		  "\"out of memory\",\"type\":\"internal\",\"code\":\"memory\"}}",
	    1);
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
asker_request(struct asker *a, const char *line, size_t len)
{
	json_error_t why;
	json_t *req;

	req = json_loadb(line, len, JSON_REJECT_DUPLICATES, &why);
	if (!json_is_object(req))
		asker_error(a, "invalid_request", "bad_json",
		    "not a JSON object: %s", why.text);
	else
		request_dispatch(a, req);
	json_decref(req);
}

int
control_is_ending(void)
{
	return ends;
}

void
control_ends(void)
{
	struct asker *a, *next;

	ends = 1;
	for (a = TAILQ_FIRST(&askers); a != NULL; a = next) {
		next = TAILQ_NEXT(a, link);
		umount_soon(a);
	}
}

/* ---- ctl ----------------------------------------------------------------------------- */

static struct asker *
ctl_find(const struct mount *m, uint64_t session)
{
	struct asker *a;

	TAILQ_FOREACH (a, &askers, link)
		if (a->m == m && a->client == NULL && a->session == session)
			return a;
	return NULL;
}

/* 1 when that line is a job already: its answer, or the job itself, is given
   to who asks again.  Also where nobody can say whether it is one. */
static int
ctl_again(struct asker *a)
{
	struct job *j;
	int64_t id;
	char *text;

	if ((j = job_find_session(a->m, a->session, a->offset)) != NULL) {
		job_listen(j, &a->l);
		return 1;
	}
	if (db_job_of_session(manifest_db, a->m->row.row, a->session, a->offset,
		&id) == -1 ||
	    db_job_answer(manifest_db, a->m->row.row, id, &text) == -1) {
		if (errno == ENOENT)
			return 0;
		asker_error(a, "unavailable", "database",
		    "whether it was done already cannot be found out: %s",
		    strerror(errno));
		return 1;
	}
	if (text == NULL)
		return 0;
	asker_line(a, text, 1);
	free(text);
	return 1;
}

void
control_ctl(struct mount *m, uint64_t session, uint32_t uid, uint32_t gid,
    uint64_t offset, const void *line, size_t len)
{
	struct asker *a;

	if ((a = ctl_find(m, session)) != NULL)
		asker_gone(a);
	if ((a = asker_new(uid, gid, 0)) == NULL)
		fatal("mount %s: ctl", m->row.path); /* nobody can be told */
	a->m = m;
	a->session = session;
	a->offset = offset;
	if (len > CONTROL_LINE_MAX)
		asker_error(a, "invalid_request", "too_long",
		    "a line of more than 64 KiB");
	else if (!ctl_again(a))
		asker_request(a, line, len);
}

void
control_ctl_close(struct mount *m, uint64_t session)
{
	struct asker *a;

	if ((a = ctl_find(m, session)) != NULL)
		asker_gone(a);
}

void
control_fuse_down(struct mount *m)
{
	struct asker *a, *next;

	for (a = TAILQ_FIRST(&askers); a != NULL; a = next) {
		next = TAILQ_NEXT(a, link);
		if (a->m == m && a->client == NULL)
			asker_gone(a);
	}
}
