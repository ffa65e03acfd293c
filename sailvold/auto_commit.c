/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * auto_commit: when a mount is committed by itself, and what is said of it.
 * There is never more than one such commit of a mount: the timer is set anew
 * when one has ended, and skips its turn where others have something to do.
 * In manifest.
 */
#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>

#include "lib/backoff.h"
#include "lib/log.h"
#include "sailvold/auto_commit.h"
#include "sailvold/job.h"

#define BACKOFF_FIRST_MS 5000
#define BACKOFF_MAX_MS 300000

struct auto_commit {
	struct mount *m;
	struct event *timer;
	struct listener l;     /* of the job that runs */
	int looking;           /* whether something is to be published */
	int last;              /* before the end; 2: its last commit runs */
	unsigned int failures; /* since it last came through */
};

static void (*last_done)(void);

static void look(struct auto_commit *);

/* ---- the timer ------------------------------------------------------------- */

static void
set_timer(struct auto_commit *a, uint32_t seconds, uint32_t ms)
{
	struct timeval tv = { seconds + ms / 1000, (ms % 1000) * 1000 };

	if (evtimer_add(a->timer, &tv) == -1)
		log_warnx("mount %s: no timer: no more automatic commits",
		    a->m->row.path);
}

/* The next turn. */
static void
set_turn(struct auto_commit *a)
{
	if (a->m->policy.commit_every != 0 && !a->last)
		set_timer(a, a->m->policy.commit_every, 0);
}

/* Soon, then later and later, and not all mounts at once. */
static void
set_again(struct auto_commit *a)
{
	if (a->m->policy.commit_every == 0 || a->last)
		return;
	set_timer(a, 0,
	    (uint32_t)backoff_ms(a->failures, BACKOFF_FIRST_MS,
		BACKOFF_MAX_MS));
}

/* ---- the last ones ---------------------------------------------------------- */

static void
count_last(struct mount *m, void *arg)
{
	int *n = arg;

	*n += m->auto_commit != NULL && m->auto_commit->last;
}

static void
last_over(struct auto_commit *a)
{
	void (*done)(void) = last_done;
	int left = 0;

	if (!a->last)
		return;
	a->last = 0;
	mount_foreach(count_last, &left);
	if (left > 0 || done == NULL)
		return;
	last_done = NULL;
	done();
}

/* ---- how it ended ----------------------------------------------------------- */

static void
went_well(struct auto_commit *a)
{
	if (a->failures > 0)
		log_info("mount %s: automatic commits work again",
		    a->m->row.path);
	a->failures = 0;
	set_turn(a);
	last_over(a);
}

static void
failed(struct auto_commit *a, const char *why)
{
	if (a->last)
		log_warnx("mount %s: not committed before the end: %s; its "
			  "changes stay for the next start",
		    a->m->row.path, why);
	else if (a->m->policy.commit_every == 0)
		log_warnx("mount %s: an automatic commit failed: %s; its "
			  "changes stay here",
		    a->m->row.path, why);
	else if (a->failures == 0)
		log_warnx("mount %s: automatic commits fail: %s; it is tried "
			  "until they work",
		    a->m->row.path, why);
	a->failures++;
	set_again(a);
	last_over(a);
}

/* Neither well nor badly: somebody ended it, or the daemon ends. */
static void
was_ended(struct auto_commit *a)
{
	set_turn(a);
	last_over(a);
}

static void
job_says(struct listener *l, const char *text, int last)
{
	struct auto_commit *a = l->arg;
	const char *code, *what;
	const json_t *e, *left;
	json_t *answer;

	if (!last)
		return;
	if ((answer = json_loads(text, 0, NULL)) == NULL) {
		failed(a, "an answer that is none");
		return;
	}
	e = json_object_get(answer, "error");
	code = json_string_value(json_object_get(e, "code"));
	what = json_string_value(json_object_get(e, "message"));
	left = json_object_get(json_object_get(answer, "result"), "left_dirty");
	if (code != NULL &&
	    (strcmp(code, "cancelled") == 0 || strcmp(code, "ending") == 0))
		was_ended(a);
	else if (e != NULL)
		failed(a, what != NULL ? what : "without a reason");
	else if (a->last == 1)
		look(a); /* it was begun before */
	else if (a->last && json_array_size(left) > 0)
		failed(a, "files of it changed all the time");
	else
		went_well(a);
	json_decref(answer);
}

/* ---- a turn ------------------------------------------------------------------ */

static void
commit(struct auto_commit *a)
{
	struct mount *m = a->m;
	json_t *request;
	struct job *j = NULL;

	request = json_pack("{s:s,s:b,s:s}", "request", "commit", "automatic",
	    1, "message", a->last ? "at the end of sailvold" : "by the timer");
	if (request != NULL)
		j = job_add(m, JOB_COMMIT, 0, 0, idmap_name(&m->ids, m->uid),
		    idmap_name(&m->ids, 0), request);
	json_decref(request);
	if (a->last)
		a->last = 2;
	if (j == NULL)
		failed(a, "the job cannot be kept");
	else
		job_listen(j, &a->l);
}

/* All up to where fuse is stands in the rows. */
static void
applied(struct mount *m, void *arg)
{
	struct auto_commit *a = arg;
	uint64_t names = 0, objects = 0;

	a->looking = 0;
	if (db_dirty_count_most(manifest_db, m->row.row, 1, &names, &objects) ==
	    -1)
		failed(a, "the database does not answer");
	else if (names == 0 && objects == 0)
		went_well(a);
	else
		commit(a);
}

static void
broken(struct mount *m, void *arg)
{
	struct auto_commit *a = arg;

	(void)m;
	a->looking = 0;
	failed(a, "its changes cannot be looked at");
}

static void
offset_came(struct mount *m, void *arg, int error, uint64_t offset)
{
	if (error != 0 ||
	    applied_wait_or(m, offset, applied, broken, arg) == -1)
		broken(m, arg);
}

static void
look(struct auto_commit *a)
{
	a->looking = 1;
	if (ask_sync(a->m, offset_came, a) == -1)
		broken(a->m, a);
}

/* One whose end nobody knows stands in the queue, and has to be asked about
   before anything else. */
static void
turn(evutil_socket_t fd, short what, void *arg)
{
	struct auto_commit *a = arg;
	struct job *j = job_find(a->m, 0);

	(void)fd;
	(void)what;
	if (a->looking || a->l.job != NULL)
		return; /* its end sets the timer */
	if (!a->m->started || (j != NULL && j->running))
		set_turn(a);
	else if (j != NULL)
		job_listen(j, &a->l);
	else
		look(a);
}

/* ---- life -------------------------------------------------------------------- */

static struct auto_commit *
get(struct mount *m)
{
	struct auto_commit *a = m->auto_commit;

	if (a != NULL)
		return a;
	if ((a = calloc(1, sizeof(*a))) == NULL ||
	    (a->timer = evtimer_new(proc_base(), turn, a)) == NULL) {
		log_warn("mount %s: no automatic commits", m->row.path);
		free(a);
		return NULL;
	}
	a->m = m;
	a->l.line = job_says;
	a->l.arg = a;
	m->auto_commit = a;
	return a;
}

void
auto_commit_started(struct mount *m)
{
	struct job *j = job_find(m, 0);
	int before = j != NULL && j->automatic; /* a restart */
	struct auto_commit *a;

	if ((m->policy.commit_every == 0 && !before) || (a = get(m)) == NULL ||
	    a->looking || a->l.job != NULL)
		return;
	if (before)
		job_listen(j, &a->l);
	else if (!evtimer_pending(a->timer, NULL))
		set_turn(a);
}

void
auto_commit_changed(struct mount *m)
{
	struct auto_commit *a = m->auto_commit;

	if (a != NULL)
		evtimer_del(a->timer);
	if (m->started)
		auto_commit_started(m);
}

void
auto_commit_gone(struct mount *m)
{
	struct auto_commit *a = m->auto_commit;

	if (a == NULL)
		return;
	m->auto_commit = NULL;
	listener_leave(&a->l);
	ask_cancel(m, a);
	applied_wait_cancel(m, applied, a);
	event_free(a->timer);
	last_over(a);
	free(a);
}

static void
begin_last(struct mount *m, void *arg)
{
	struct auto_commit *a;

	(void)arg;
	if (!m->policy.commit_on_umount || (a = get(m)) == NULL)
		return;
	evtimer_del(a->timer);
	a->last = 1;
}

static void
look_last(struct mount *m, void *arg)
{
	struct auto_commit *a = m->auto_commit;

	(void)arg;
	/* One that runs is waited for first. */
	if (a == NULL || !a->last || a->looking || a->l.job != NULL)
		return;
	if (m->started)
		look(a);
	else
		failed(a, "its process is not ready");
}

void
auto_commit_last(void (*done)(void))
{
	int n = 0;

	mount_foreach(begin_last, NULL);
	mount_foreach(count_last, &n);
	if (n == 0) {
		done();
		return;
	}
	last_done = done;
	mount_foreach(look_last, NULL);
}
