/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * lease: tells the server which commits a mount still needs, so that nothing of
 * them is collected (sailvold(8)).  In manifest.
 */
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/backoff.h"
#include "lib/log.h"
#include "sailvold/job.h"

#define LEASE_ANSWER_MAX 65536
#define LEASE_EVERY_S 86400
#define LEASE_SOON_MS 60000
#define LEASE_RETRY_MS 60000
#define LEASE_RETRY_MAX_MS 3600000

static struct event *daily, *soon;

static void on_soon(evutil_socket_t, short, void *);

/* ---- whose turn it is -------------------------------------------------------------- */

static void
renew_one(struct mount *m, void *arg)
{
	(void)arg;
	if (m->started)
		lease_renew(m);
}

static void
renew_all(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
	mount_foreach(renew_one, NULL);
}

/* From the first mount on, all are renewed each day. */
static void
renew_daily(void)
{
	static const struct timeval day = { LEASE_EVERY_S, 0 };

	if (daily != NULL)
		return;
	daily = event_new(proc_base(), -1, EV_PERSIST, renew_all, NULL);
	if (daily == NULL || event_add(daily, &day) == -1)
		log_warnx("leases are not renewed each day");
}

static void
earliest(struct mount *m, void *arg)
{
	monotime_t *at = arg;

	if (m->started && m->lease_at.ns != 0 &&
	    (at->ns == 0 || m->lease_at.ns < at->ns))
		*at = m->lease_at;
}

/* The timer is that of the first one whose turn comes. */
static int
wait_for_turn(void)
{
	monotime_t at = { 0 };
	struct timeval tv;
	int64_t ms;

	mount_foreach(earliest, &at);
	if (at.ns == 0)
		return 0;
	if ((ms = monotime_diff_ms(at, monotime_now())) < 0)
		ms = 0;
	/* A turn that is not quite there would be waited for in a circle. */
	ms++;
	tv.tv_sec = ms / 1000;
	tv.tv_usec = (ms % 1000) * 1000;
	if (soon == NULL)
		soon = evtimer_new(proc_base(), on_soon, NULL);
	return soon == NULL ? -1 : evtimer_add(soon, &tv);
}

static int
turn_in(struct mount *m, int64_t ms)
{
	monotime_t at = monotime_add_ms(monotime_now(), ms);

	if (m->lease_at.ns == 0 || at.ns < m->lease_at.ns)
		m->lease_at = at;
	return wait_for_turn();
}

static void
renew_due(struct mount *m, void *arg)
{
	(void)arg;
	if (m->started && m->lease_at.ns != 0 && monotime_reached(m->lease_at))
		lease_renew(m);
}

static void
on_soon(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
	mount_foreach(renew_due, NULL);
	if (wait_for_turn() == -1)
		log_warnx("leases are not renewed before the day is over");
}

void
lease_soon(struct mount *m)
{
	if (turn_in(m, LEASE_SOON_MS) == -1)
		lease_renew(m);
}

/* ---- one lease ------------------------------------------------------------------------ */

static void
failed(struct mount *m, const char *what)
{
	if (m->lease_tries++ == 0)
		log_warnx("mount %s: its lease was not renewed, and is tried "
			  "again: %s",
		    m->row.path, what);
	if (turn_in(m,
		backoff_ms(m->lease_tries, LEASE_RETRY_MS,
		    LEASE_RETRY_MAX_MS)) == -1)
		log_warnx("mount %s: its lease is not renewed before the day "
			  "is over",
		    m->row.path);
}

static void
lease_answer(void *arg, const struct server_answer *a)
{
	char what[256], code[64];
	struct mount *m = arg;
	int again = m->lease_again;

	m->lease_request = 0;
	m->lease_again = 0;
	if (a->status / 100 != 2) {
		server_error(a, what, sizeof(what), code, sizeof(code));
		failed(m, what); /* that try is also for who came since */
		return;
	}
	if (m->lease_tries > 0)
		log_info("mount %s: its lease is renewed again", m->row.path);
	m->lease_tries = 0;
	if (again)
		lease_renew(m);
}

static int
add_hash(void *arg, const struct hash *h)
{
	return json_array_append_new(arg, json_hash(h));
}

/* All that it needs, or NULL: of what is left out of a lease nothing may be kept. */
static json_t *
commits_of(const struct mount *m)
{
	json_t *commits = json_array();

	if (add_hash(commits, &m->row.base) == 0 &&
	    (!m->row.has_last || add_hash(commits, &m->row.last) == 0) &&
	    db_commits_used(manifest_db, m->row.row, m->row.id, add_hash,
		commits) == 0)
		return commits;
	json_decref(commits);
	return NULL;
}

/* One at a time: of two the earlier one might come last. */
void
lease_renew(struct mount *m)
{
	char target[160], hex[33], *text = NULL;
	json_t *commits, *body = NULL;
	int fd = -1;

	renew_daily();
	m->lease_at.ns = 0;
	if (m->lease_request != 0) {
		m->lease_again = 1;
		return;
	}
	if ((commits = commits_of(m)) == NULL) {
		failed(m, "the commits that it needs cannot be read");
		return;
	}
	body = json_pack("{s:o}", "commits", commits);
	text = body != NULL ? json_dumps(body, JSON_COMPACT) : NULL;
	json_decref(body);
	if (text != NULL)
		fd = memfd_new("lease", text, strlen(text));
	free(text);
	hex_of(m->row.lease, sizeof(m->row.lease), hex);
	snprintf(target, sizeof(target), "/v1/volumes/%s/leases/%s",
	    m->row.volume_id, hex);
	if (fd != -1)
		m->lease_request = server_request(2, target, "application/json",
		    fd, 1, LEASE_ANSWER_MAX, lease_answer, m);
	if (m->lease_request == 0)
		failed(m, "sailvol-fetch cannot be asked");
}

void
lease_stop(struct mount *m)
{
	if (m->lease_request != 0)
		server_cancel(m->lease_request);
	m->lease_request = 0;
	m->lease_again = 0;
	m->lease_at.ns = 0;
}
