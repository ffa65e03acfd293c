/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * control_umount: umount of the control socket: what is committed before, and
 * what of the changes is a reason to refuse it (sailvol-ctl(5)).  In manifest.
 */
#include <errno.h>
#include <event2/event.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sailvold/asker.h"

#define KEEP_WAIT_S 30 /* for its commit, where the changes may be kept */

/* What goes with the answer; several are joined. */
static void
umount_note(struct asker *a, const char *fmt, ...)
{
	char text[1024];
	va_list ap;
	size_t n = 0;

	if (a->umount_note != NULL)
		n = (size_t)snprintf(text, sizeof(text), "%.700s; ",
		    a->umount_note);
	va_start(ap, fmt);
	vsnprintf(text + n, sizeof(text) - n, fmt, ap);
	va_end(ap);
	free(a->umount_note);
	a->umount_note = strdup(text);
}

void
umount_done_before(const struct asker *a, char *text, size_t size)
{
	const json_t *id = json_object_get(a->umount_stash, "id");

	text[0] = '\0';
	if (a->umount_commit != NULL)
		snprintf(text, size, "; its changes were committed: %s",
		    a->umount_commit);
	else if (id != NULL)
		snprintf(text, size, "; its changes are stash %lld",
		    (long long)json_integer_value(id));
}

static void
ask_umount(struct asker *a, uint8_t verb, int force)
{
	struct parent_req p;

	if (parent_ask(&p, verb, a->umount_path) == -1)
		asker_error(a, "internal", "memory", "out of memory");
	else {
		p.force = force != 0;
		ask_parent(a, &p);
	}
	mount_req_free(&p.mount);
}

/* What manifest does not know is none, or waits for its server. */
static void
umount_waiting(struct asker *a, const json_t *req)
{
	if (json_is_true(json_object_get(req, "commit")) ||
	    json_is_true(json_object_get(req, "stash")))
		asker_error(a, "not_found", "not_mounted",
		    "%s is not a mount of this daemon, or waits for its "
		    "server: without commit and stash it is unmounted, and "
		    "what was changed stays for the next mount there",
		    a->umount_path);
	else if (json_is_true(json_object_get(req, "force")))
		ask_umount(a, PARENT_UMOUNT, 1);
	else
		ask_umount(a, PARENT_FORGET, 0);
}

static void
umount_now(struct asker *a, int force)
{
	const char *path = a->umount_path;
	uint64_t names = 0, objects = 0;
	struct mount *m = mount_by_path(path);
	char before[128];
	int dirty;

	dirty = m != NULL && !force &&
	    (db_dirty_count(manifest_db, m->row.row, &names, &objects) == -1 ||
		names > 0 || objects > 0);
	if (dirty && !a->umount_keep) {
		umount_done_before(a, before, sizeof(before));
		asker_error(a, "refused", "dirty",
		    "%s has changes that are "
		    "not published: %llu names, %llu files; commit them, or "
		    "force it: they stay for the next mount there%s",
		    path, (unsigned long long)names,
		    (unsigned long long)objects, before);
		return;
	}
	if (dirty)
		umount_note(a,
		    "changes that are not published are kept for the next "
		    "mount there: %llu names, %llu files",
		    (unsigned long long)names, (unsigned long long)objects);
	if (a->umount_late != NULL)
		evtimer_del(a->umount_late);
	a->umount_sent = 1;
	ask_umount(a, PARENT_UMOUNT, force);
}

/* NULL: it is gone, or went on without this answer. */
static struct asker *
waiting_asker(void *arg)
{
	struct asker *a = asker_by_number((uint32_t)(uintptr_t)arg);

	return a != NULL && !a->umount_sent ? a : NULL;
}

/* What is dirty is known once the journal is applied to where fuse is. */
static void
umount_applied(struct mount *m, void *arg)
{
	struct asker *a = waiting_asker(arg);

	(void)m;
	if (a != NULL)
		umount_now(a, 0);
}

static void
umount_broken(struct mount *m, void *arg)
{
	struct asker *a = waiting_asker(arg);

	if (a == NULL)
		return;
	if (a->umount_keep)
		umount_now(a, 0);
	else
		asker_error(a, "unavailable", "journal",
		    "the changes of %s cannot be looked at; umount --force "
		    "keeps them for the next mount there",
		    m->row.path);
}

static void
umount_offset(struct mount *m, void *arg, int error, uint64_t offset)
{
	if (error != 0 ||
	    applied_wait_or(m, offset, umount_applied, umount_broken, arg) ==
		-1)
		umount_broken(m, arg);
}

static void
umount_if_clean(struct asker *a, struct mount *m)
{
	if (control_is_ending()) {
		umount_soon(a); /* its fuse goes, too */
		return;
	}
	if (ask_sync(m, umount_offset, (void *)(uintptr_t)asker_number(a)) == 0)
		return;
	if (a->umount_keep)
		umount_now(a, 0);
	else
		asker_error(a, "internal", "fuse", "%s", strerror(errno));
}

/* What its job was to do. */
static const char *
job_word(const struct asker *a)
{
	return a->umount_to_stash ? "put away" : "committed";
}

/* What was changed while it was committed or put away is not: it is looked at
   as ever. */
void
umount_continue(struct asker *a, const char *answer)
{
	json_t *all = json_loads(answer, 0, NULL);
	const json_t *r = json_object_get(all, "result");
	const json_t *error = json_object_get(all, "error");
	const char *id = json_string_value(json_object_get(r, "commit"));
	const char *why = json_string_value(json_object_get(error, "message"));
	json_t *stash = json_object_get(r, "stash");
	struct mount *m = mount_by_path(a->umount_path);

	if (a->umount_sent) {
		json_decref(all);
		return;
	}
	if (r == NULL && !a->umount_keep)
		asker_answer(a, json_incref(all));
	else if (m == NULL && !a->umount_keep)
		asker_error(a, "not_found", "not_mounted", "it went meanwhile");
	else {
		if (r == NULL)
			umount_note(a, "not %s: %.500s", job_word(a),
			    why != NULL ? why : "no answer");
		if (json_is_object(stash))
			a->umount_stash = json_incref(stash);
		else if (stash == NULL && id != NULL &&
		    (!a->umount_unasked ||
			json_is_true(json_object_get(r, "changed"))))
			a->umount_commit = strdup(id);
		if (m != NULL)
			umount_if_clean(a, m);
		else
			control_parent_done(asker_number(a), 0, "", "", 0);
	}
	json_decref(all);
}

/* A commit goes on with the next mount there.  What is to be put away stays in
   view there: a stash that comes so late is of what was made since, too. */
static void
leave_job(struct asker *a)
{
	struct job *j = a->l.job;

	listener_leave(&a->l);
	if (a->umount_to_stash && job_cancel(j) == -1)
		umount_note(a, "being put away after %d seconds", KEEP_WAIT_S);
	else
		umount_note(a, "not %s in %d seconds", job_word(a),
		    KEEP_WAIT_S);
}

static void
umount_is_late(evutil_socket_t fd, short what, void *arg)
{
	struct asker *a = waiting_asker(arg);

	(void)fd;
	(void)what;
	if (a == NULL)
		return;
	if (a->l.job != NULL)
		leave_job(a);
	umount_now(a, 0);
}

void
umount_soon(struct asker *a)
{
	if (a->umount_path == NULL || a->umount_sent)
		return;
	if (a->umount_keep)
		umount_now(a, 0);
	else
		asker_error(a, "unavailable", "ending",
		    "sailvold ends: %s is mounted again when it is started, "
		    "and is to be unmounted then",
		    a->umount_path);
}

static int
set_late(struct asker *a)
{
	static const struct timeval tv = { KEEP_WAIT_S, 0 };

	a->umount_late = evtimer_new(proc_base(), umount_is_late,
	    (void *)(uintptr_t)asker_number(a));
	return a->umount_late == NULL ? -1 : evtimer_add(a->umount_late, &tv);
}

static void
umount_of(struct asker *a, struct mount *m, json_t *req)
{
	int force = json_is_true(json_object_get(req, "force"));
	int stash = json_is_true(json_object_get(req, "stash"));
	const json_t *asked = json_object_get(req, "commit");
	json_t *job;

	/* First: what is dirty there is not everybody's to know. */
	if (!asker_is_root(a) && a->uid != m->uid) {
		asker_error(a, "permission", "denied",
		    "it was mounted by somebody else");
		return;
	}
	if (force) {
		umount_now(a, 1);
		return;
	}
	a->umount_keep = json_is_true(json_object_get(req, "keep"));
	a->umount_to_stash = stash;
	a->umount_unasked = !stash && !json_is_true(asked);
	if (a->umount_keep && set_late(a) == -1) {
		asker_error(a, "internal", "memory", "out of memory");
		return;
	}
	if (a->umount_unasked &&
	    (!m->policy.commit_on_umount || json_is_false(asked))) {
		umount_if_clean(a, m);
		return;
	}
	if (!a->umount_unasked && !mount_permits(m, a, 1)) {
		asker_error(a, "permission", "denied", "you may not %s there",
		    stash ? "put changes away" : "commit");
		return;
	}
	if (m->has_commit && stash) {
		umount_if_clean(a, m); /* it has no changes */
		return;
	}
	job = stash ? json_pack("{s:s,s:b}", "request", "reload", "stash", 1)
		    : json_pack("{s:s}", "request", "commit");
	if (job == NULL) {
		asker_error(a, "internal", "memory", "out of memory");
		return;
	}
	add_job(a, m, stash ? JOB_RELOAD : JOB_COMMIT, job);
	json_decref(job);
}

void
umount_request(struct asker *a, struct mount *m, json_t *req)
{
	char *path = request_path(req, "path");

	a->umount_path = path; /* the asker's to free */
	if (path == NULL || path[0] != '/' || strlen(path) >= MOUNT_POINT_MAX)
		asker_error(a, "invalid_request", "path",
		    "an absolute path is needed");
	else if (json_is_true(json_object_get(req, "force")) &&
	    json_is_true(json_object_get(req, "keep")))
		asker_error(a, "invalid_request", "options",
		    "keep and force together");
	else if (json_is_true(json_object_get(req, "stash")) &&
	    (json_is_true(json_object_get(req, "commit")) ||
		json_is_true(json_object_get(req, "force"))))
		asker_error(a, "invalid_request", "options",
		    "stash together with commit or force");
	else if ((m = mount_by_path(path)) == NULL)
		umount_waiting(a, req);
	else
		umount_of(a, m, req);
}
