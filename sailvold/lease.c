/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * lease: tells the server which commits a mount still needs, so that nothing of
 * them is collected (sailvold(8)).  In manifest.
 */
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/log.h"
#include "sailvold/job.h"

#define LEASE_ANSWER_MAX 65536
#define LEASE_EVERY_S 86400
#define LEASE_SOON_S 60

static struct event *daily, *soon;

static int
add_hash(void *arg, const struct hash *h)
{
	return json_array_append_new(arg, json_hash(h));
}

static void
lease_answer(void *arg, const struct server_answer *a)
{
	char what[256], code[64], *path = arg;

	if (a->status / 100 != 2) {
		server_error(a, what, sizeof(what), code, sizeof(code));
		log_warnx("mount %s: its lease was not renewed: %s", path,
		    what);
	}
	free(path);
}

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
renew_due(struct mount *m, void *arg)
{
	(void)arg;
	if (m->started && m->lease_due)
		lease_renew(m);
}

static void
on_soon(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
	mount_foreach(renew_due, NULL);
}

void
lease_soon(struct mount *m)
{
	static const struct timeval tv = { LEASE_SOON_S, 0 };

	m->lease_due = 1;
	if (soon == NULL)
		soon = evtimer_new(proc_base(), on_soon, NULL);
	if (soon == NULL ||
	    (!evtimer_pending(soon, NULL) && evtimer_add(soon, &tv) == -1))
		lease_renew(m);
}

void
lease_renew(struct mount *m)
{
	char target[160], hex[33], *text = NULL, *path;
	json_t *commits, *body;
	int fd = -1;

	m->lease_due = 0;
	renew_daily();
	if ((path = strdup(m->row.path)) == NULL)
		return;
	commits = json_array();
	json_array_append_new(commits, json_hash(&m->row.base));
	if (m->row.has_last)
		json_array_append_new(commits, json_hash(&m->row.last));
	if (db_commits_used(manifest_db, m->row.row, m->row.id, add_hash,
		commits) == -1)
		log_warn("mount %s: the commits that it needs", m->row.path);
	body = json_pack("{s:o}", "commits", commits);
	text = body != NULL ? json_dumps(body, JSON_COMPACT) : NULL;
	json_decref(body);
	if (text != NULL)
		fd = memfd_new("lease", text, strlen(text));
	free(text);
	hex_of(m->row.lease, sizeof(m->row.lease), hex);
	snprintf(target, sizeof(target), "/v1/volumes/%s/leases/%s",
	    m->row.volume_id, hex);
	if (fd == -1 ||
	    server_request(2, target, "application/json", fd, 1,
		LEASE_ANSWER_MAX, lease_answer, path) == 0) {
		log_warnx("mount %s: its lease was not renewed", m->row.path);
		free(path);
	}
}
