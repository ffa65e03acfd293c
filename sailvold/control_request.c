/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * control_request: what can be asked through .sailvol/ctl and the control
 * socket, and by whom (sailvol-ctl(5)).  In manifest.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/log.h"
#include "sailvold/asker.h"
#include "sailvold/stash.h"

#define LOG_ANSWER_MAX (1024 * 1024)
#define API_ANSWER_MAX (4 * 1024 * 1024)
#define PARENT_JSON_MAX (1024 * 1024)
#define SHOW_MAX 500 /* changes that one answer names */

/* Who may: ASK_CTL through ctl; else through the control socket. */
#define NEED_MOUNT 0x1 /* of the session, or named by "path" */
#define NEED_WRITE 0x2
#define NEED_ROOT 0x4
#define NEED_SOCKET 0x8 /* never through ctl */

static const char *
string_of(const json_t *req, const char *key)
{
	return json_string_value(json_object_get(req, key));
}

void
add_job(struct asker *a, struct mount *m, uint8_t kind, json_t *req)
{
	uint32_t uid = a->uid, gid = a->gid;
	struct job *j;

	/* A commit names the volume's users. */
	if (a->client != NULL) {
		uid = idmap_name(&m->ids, uid);
		gid = idmap_name(&m->ids, gid);
	}
	j = job_add(m, kind, a->client == NULL ? a->session : 0,
	    a->client == NULL ? a->offset : 0, uid, gid, req);
	if (j == NULL)
		asker_error(a, "internal", "database",
		    "the job cannot be kept: %s", strerror(errno));
	else
		job_listen(j, &a->l);
}

/* ---- jobs -------------------------------------------------------------------------------- */

static void
do_commit(struct asker *a, struct mount *m, json_t *req)
{
	const char *message = string_of(req, "message");

	if (message != NULL && strlen(message) > 4096)
		asker_error(a, "invalid_request", "message",
		    "a message of more than 4096 bytes");
	else
		add_job(a, m, JOB_COMMIT, req);
}

static void
do_reload(struct asker *a, struct mount *m, json_t *req)
{
	if (json_is_true(json_object_get(req, "keep")) &&
	    json_is_true(json_object_get(req, "if_clean")))
		asker_error(a, "invalid_request", "options",
		    "keep and if_clean together");
	else
		add_job(a, m, JOB_RELOAD, req);
}

/* 0: it was not said, which would be any job. */
static int64_t
job_of(struct asker *a, const json_t *req)
{
	int64_t id = json_integer_value(json_object_get(req, "job"));

	if (id > 0)
		return id;
	asker_error(a, "invalid_request", "job", "the number of a job");
	return 0;
}

/* What it ended with; NULL: it did not, or that is not kept any more. */
static json_t *
job_answer(const struct mount *m, int64_t id)
{
	json_t *answer;
	char *text;

	if (db_job_answer(manifest_db, m->row.row, id, &text) == -1 ||
	    text == NULL)
		return NULL;
	answer = json_loads(text, 0, NULL);
	free(text);
	return answer;
}

/*
 * A line of ctl may come again after fuse died, also when it was done and its
 * answer was not read: what was cancelled is, and what was dropped.
 */
static int
was_cancelled(const struct asker *a, const struct mount *m, int64_t id)
{
	json_t *answer = a->client == NULL ? job_answer(m, id) : NULL;
	const char *type = string_of(json_object_get(answer, "error"), "type");
	int was = type != NULL && strcmp(type, "cancelled") == 0;

	json_decref(answer);
	return was;
}

static void
do_cancel(struct asker *a, struct mount *m, json_t *req)
{
	int64_t id = job_of(a, req);
	struct job *j;

	if (id == 0)
		return;
	if ((j = job_find(m, id)) == NULL) {
		if (was_cancelled(a, m, id))
			asker_answer(a,
			    json_pack("{s:{s:b}}", "result", "cancelled", 1));
		else
			asker_error(a, "not_found", "no_job", "no such job");
	} else if (job_cancel(j) == -1)
		asker_error(a, "conflict", "publishing",
		    "it cannot be cancelled any more");
	else
		asker_answer(a,
		    json_pack("{s:{s:b}}", "result", "cancelled", 1));
}

static void
do_attach(struct asker *a, struct mount *m, json_t *req)
{
	int64_t id = job_of(a, req);
	json_t *answer;
	struct job *j;

	if (id == 0)
		return;
	if ((j = job_find(m, id)) != NULL)
		job_listen(j, &a->l);
	else if ((answer = job_answer(m, id)) != NULL)
		asker_answer(a, answer);
	else
		asker_error(a, "not_found", "no_job", "no such job");
}

/* ---- stashes ------------------------------------------------------------------------------ */

static int
add_stash(void *arg, const struct stash_row *s)
{
	uint64_t items = 0;

	(void)db_stash_item_count(manifest_db, s->id, &items);
	return json_array_append_new(arg,
	    json_pack("{s:I,s:s,s:o,s:o,s:I,s:I,s:I,s:I}", "id",
		(json_int_t)s->id, "volume", s->volume, "path",
		json_name(s->path, strlen(s->path)), "base",
		json_hash(&s->base), "created", (json_int_t)s->created,
		"changes", (json_int_t)items, "files", (json_int_t)s->files,
		"bytes", (json_int_t)s->bytes));
}

const char *
item_kind(uint8_t kind)
{
	return kind == DELTA_PUT   ? "put"
	    : kind == DELTA_ATTR   ? "attr"
	    : kind == DELTA_DELETE ? "delete"
	    : kind == DELTA_TREE   ? "delete tree"
				   : "hidden";
}

static void
stash_show(struct asker *a, int64_t id)
{
	json_t *l = json_array();
	struct stash_item it;
	uint64_t seq;

	for (seq = 0; seq < SHOW_MAX &&
	     db_stash_item_get(manifest_db, id, seq, &it) == 0;
	     seq++) {
		json_array_append_new(l,
		    json_pack("{s:o,s:s,s:I}", "path",
			json_name(it.path, it.len), "kind", item_kind(it.kind),
			"size",
			(json_int_t)(it.entry != NULL ? it.entry->size : 0)));
		stash_item_free(&it);
	}
	asker_answer(a,
	    json_pack("{s:{s:I,s:o,s:b}}", "result", "id", (json_int_t)id,
		"items", l, "more", seq == SHOW_MAX));
}

/* Changes that wait for the next mount at their place. */
static int
add_unmounted(void *arg, const struct mount_row *row)
{
	const struct mount *m = mount_by_path(row->path);
	uint64_t names, objects;

	if (m != NULL && memcmp(m->row.id, row->id, sizeof(row->id)) == 0)
		return 0;
	if (db_dirty_count(manifest_db, row->row, &names, &objects) == -1)
		return -1;
	if (names == 0 && objects == 0)
		return 0;
	return json_array_append_new(arg,
	    json_pack("{s:s,s:o,s:o,s:o,s:I,s:I}", "volume", row->volume,
		"path", json_name(row->path, strlen(row->path)), "subpath",
		json_name(row->subpath, strlen(row->subpath)), "base",
		json_hash(&row->base), "names", (json_int_t)names, "objects",
		(json_int_t)objects));
}

/* Of a mount, or of the whole daemon. */
static void
stash_list(struct asker *a, const struct mount *m)
{
	json_t *l = json_array(), *result;

	if (db_stash_foreach(manifest_db, m != NULL ? m->row.id : NULL,
		add_stash, l) == -1)
		log_warn("stashes");
	result = json_pack("{s:o}", "stashes", l);
	if (m == NULL) {
		l = json_array();
		if (db_mount_foreach(manifest_db, add_unmounted, l) == -1)
			log_warn("changes of mounts that are gone");
		json_object_set_new(result, "unmounted", l);
	}
	asker_answer(a, json_pack("{s:o}", "result", result));
}

static void
answer_dropped(struct asker *a, int64_t id)
{
	asker_answer(a,
	    json_pack("{s:{s:I}}", "result", "dropped", (json_int_t)id));
}

static void
do_stash(struct asker *a, struct mount *m, json_t *req)
{
	const char *action = string_of(req, "action");
	int64_t id = json_integer_value(json_object_get(req, "id"));
	struct stash_row s;
	int same, gone;

	if (m == NULL && !asker_is_root(a)) {
		asker_error(a, "permission", "denied",
		    "only root may without a mount");
		return;
	}
	if (action == NULL || strcmp(action, "list") == 0) {
		stash_list(a, m);
		return;
	}
	if (m == NULL) {
		asker_error(a, "invalid_request", "path", "a mount is needed");
		return;
	}
	same = db_stash_get(manifest_db, id, &s) == 0;
	/* As was_cancelled(). */
	gone = !same && errno == ENOENT && a->client == NULL &&
	    strcmp(action, "drop") == 0 && db_stash_was(manifest_db, id);
	if (same) {
		same = memcmp(s.mount, m->row.id, sizeof(s.mount)) == 0;
		stash_row_free(&s);
	}
	if (gone) {
		answer_dropped(a, id);
	} else if (!same) {
		asker_error(a, "not_found", "no_stash", "no such stash");
	} else if (strcmp(action, "show") == 0) {
		stash_show(a, id);
	} else if (strcmp(action, "restore") == 0) {
		add_job(a, m, JOB_RESTORE, req);
	} else if (strcmp(action, "drop") == 0) {
		if (stash_drop(manifest_db, id) == -1) {
			asker_error(a, "internal", "database",
			    "the database does not take it");
			return;
		}
		namespace_sweep(m);
		answer_dropped(a, id);
	} else
		asker_error(a, "invalid_request", "action",
		    "list, show, restore or drop");
}

/* ---- questions to the server ---------------------------------------------------------------------- */

static void
log_came(void *arg, const struct server_answer *s)
{
	struct asker *a = asker_find((uint64_t)(uintptr_t)arg);
	char what[512], code[64];
	json_t *r;

	if (a == NULL)
		return;
	if (s->status == 200 &&
	    (r = json_loadb((const char *)s->data, s->len, 0, NULL)) != NULL) {
		asker_answer(a, json_pack("{s:o}", "result", r));
		return;
	}
	server_error(s, what, sizeof(what), code, sizeof(code));
	asker_error(a, server_error_type(s->status), code, "%s", what);
}

static void
do_log(struct asker *a, struct mount *m, json_t *req)
{
	const char *before = string_of(req, "before");
	json_int_t limit = json_integer_value(json_object_get(req, "limit"));
	char target[256], part[96] = "";
	struct hash h;

	if (before != NULL && hash_parse(&h, before, strlen(before)) == -1) {
		asker_error(a, "invalid_request", "before",
		    "not the id of a commit");
		return;
	}
	if (limit < 1 || limit > 1000)
		limit = 50;
	if (before != NULL)
		snprintf(part, sizeof(part), "&before=%s", before);
	snprintf(target, sizeof(target), "/v1/volumes/%s/commits?limit=%d%s",
	    m->row.volume_id, (int)limit, part);
	if (server_request(1, target, NULL, -1, 1, LOG_ANSWER_MAX, log_came,
		(void *)(uintptr_t)a->id) == 0)
		asker_error(a, "unavailable", "no_answer",
		    "sailvol-fetch cannot be asked");
}

static void
api_came(void *arg, const struct server_answer *s)
{
	struct asker *a = asker_find((uint64_t)(uintptr_t)arg);
	json_t *body = NULL;

	if (a == NULL)
		return;
	if (s->status == 0) {
		asker_error(a, "unavailable", "no_answer", "%s", s->what);
		return;
	}
	if (s->len > 0)
		body = json_loadb((const char *)s->data, s->len, 0, NULL);
	asker_answer(a,
	    json_pack("{s:{s:i,s:o}}", "result", "status", s->status, "body",
		body != NULL ? body : json_null()));
}

static void
do_api(struct asker *a, struct mount *m, json_t *req)
{
	static const char *const methods[] = { "", "GET", "PUT", "POST",
		"DELETE" };
	const char *method = string_of(req, "method");
	const char *target = string_of(req, "target");
	json_t *body = json_object_get(req, "body");
	int retry = json_is_true(json_object_get(req, "retry"));
	uint8_t i;
	char *text;
	int fd = -1;

	(void)m;
	for (i = 1;
	     i < 5 && (method == NULL || strcmp(method, methods[i]) != 0); i++)
		;
	if (i == 5 || target == NULL || strncmp(target, "/v1/", 4) != 0 ||
	    strpbrk(target, "\r\n ") != NULL) {
		asker_error(a, "invalid_request", "target",
		    "a method and a target below /v1/ are needed");
		return;
	}
	if (body != NULL) {
		text = json_dumps(body, JSON_COMPACT | JSON_ENCODE_ANY);
		if (text != NULL)
			fd = memfd_new("body", text, strlen(text));
		free(text);
		if (fd == -1) {
			asker_error(a, "internal", "memory", "out of memory");
			return;
		}
	}
	if (server_request(i, target, body != NULL ? "application/json" : NULL,
		fd, i == 1 || retry, API_ANSWER_MAX, api_came,
		(void *)(uintptr_t)a->id) == 0)
		asker_error(a, "unavailable", "no_answer",
		    "sailvol-fetch cannot be asked");
}

/* ---- status ---------------------------------------------------------------------------------------------- */

struct listing {
	const struct asker *a;
	json_t *mounts;
};

static void
list_mount(struct mount *m, void *arg)
{
	struct listing *l = arg;

	if (mount_permits(m, l->a, 0))
		json_array_append_new(l->mounts, status_of_mount(m));
}

static void
status_applied(struct mount *m, void *arg)
{
	struct asker *a = asker_by_number((uint32_t)(uintptr_t)arg);

	if (a != NULL)
		asker_answer(a,
		    json_pack("{s:o}", "result", status_of_mount(m)));
}

/* Through ctl with all that was changed before the question. */
static void
do_status(struct asker *a, struct mount *m, json_t *req)
{
	(void)req;
	if (m != NULL && a->client == NULL &&
	    applied_wait_or(m, a->offset, status_applied, status_applied,
		(void *)(uintptr_t)asker_number(a)) == 0)
		return;
	if (m != NULL)
		asker_answer(a,
		    json_pack("{s:o}", "result", status_of_mount(m)));
	else if (chan_send(role_parent(), IMSG_MANIFEST_PARENT_STATUS,
		     asker_number(a), -1, NULL, 0) == -1)
		asker_error(a, "internal", "parent", "%s", strerror(errno));
}

/* What of the daemon is told: no mount that he may not read, but for his own,
   whose root is not there yet, and where the server and its key are to root
   alone. */
static void
hide_others(const struct asker *a, json_t *daemon)
{
	json_t *all = json_object_get(daemon, "mounts"), *seen = json_array();
	struct mount *m;
	json_t *one;
	char *path;
	size_t i;

	json_array_foreach(all, i, one)
	{
		path = request_path(one, "path");
		m = path != NULL ? mount_by_path(path) : NULL;
		free(path);
		if ((m != NULL && mount_permits(m, a, 0)) ||
		    (json_int_t)a->uid ==
			json_integer_value(json_object_get(one, "uid")))
			json_array_append(seen, one);
	}
	json_object_set_new(daemon, "mounts", seen);
	json_object_del(daemon, "server");
}

void
control_parent_status(uint32_t id, int fd)
{
	struct asker *a = asker_by_number(id);
	struct memfd_view v;
	struct listing l;
	json_t *daemon = NULL;

	if (fd != -1 && memfd_map(fd, PARENT_JSON_MAX, &v) == 0) {
		daemon = json_loadb((const char *)v.data, v.len, 0, NULL);
		memfd_unmap(&v);
	}
	if (fd != -1)
		close(fd);
	if (a == NULL) {
		json_decref(daemon);
		return;
	}
	if (daemon != NULL && !asker_is_root(a))
		hide_others(a, daemon);
	l.a = a;
	l.mounts = json_array();
	mount_foreach(list_mount, &l);
	asker_answer(a,
	    json_pack("{s:{s:o,s:o}}", "result", "mounts", l.mounts, "daemon",
		daemon != NULL ? daemon : json_null()));
}

/* ---- mount and umount --------------------------------------------------------------------------------- */

void
ask_parent(struct asker *a, struct parent_req *p)
{
	int fd = client_socket(a->client, p), error;

	if (fd == -1 ||
	    parent_req_send(role_parent(), asker_number(a), p, fd) == -1) {
		error = errno;
		if (fd != -1)
			close(fd);
		asker_error(a, "internal", "parent", "%s", strerror(error));
	} else
		client_asked(a->client);
}

static void
do_mount(struct asker *a, struct mount *m, json_t *req)
{
	struct parent_req p;
	const char *why = parent_ask_mount(&p, req);

	(void)m;
	if (why != NULL)
		asker_error(a, "invalid_request", "mount", "%s", why);
	else
		ask_parent(a, &p);
	mount_req_free(&p.mount);
}

static void
do_restart(struct asker *a, struct mount *m, json_t *req)
{
	struct parent_req p;

	(void)m;
	(void)req;
	if (parent_ask(&p, PARENT_RESTART, "") == -1)
		asker_error(a, "internal", "memory", "out of memory");
	else
		ask_parent(a, &p);
	mount_req_free(&p.mount);
}

void
control_parent_done(uint32_t id, uint32_t error, const char *what,
    const char *warning, uint32_t instance)
{
	struct asker *a = asker_by_number(id);
	char before[128];
	struct mount *m;
	json_t *r;

	if (a == NULL)
		return;
	/* It was there when it was asked for. */
	if (error == ENOENT && a->umount_keep &&
	    mount_by_path(a->umount_path) == NULL)
		error = 0;
	if (error != 0)
		umount_done_before(a, before, sizeof(before));
	if (error == ENOENT && a->umount_path != NULL) {
		asker_error(a, "not_found", "not_mounted",
		    "%s is not a mount of this daemon%s", a->umount_path,
		    before);
		return;
	}
	/* Its line is in the socket still, and would be asked again. */
	if (error == PARENT_REFUSED && a->client != NULL)
		client_refused(a->client);
	if (error != 0) {
		asker_error(a,
		    error == EPERM || error == EACCES || error == PARENT_REFUSED
			? "permission"
			: error == ENOENT ? "not_found"
			: error == EBUSY  ? "conflict"
					  : "unavailable",
		    "failed", "%s%s",
		    what[0] != '\0' ? what : strerror((int)error), before);
		return;
	}
	r = json_object();
	if (warning[0] != '\0')
		json_object_set_new(r, "warning", json_text(warning));
	if ((m = mount_by_instance(instance)) != NULL) {
		json_object_set_new(r, "volume", json_string(m->row.volume));
		json_object_set_new(r, "path",
		    json_name(m->row.path, strlen(m->row.path)));
		json_object_set_new(r, "commit", json_hash(&m->row.base));
		json_object_set_new(r, "number",
		    json_integer((json_int_t)m->row.base_number));
	}
	if (a->umount_commit != NULL) {
		json_object_set_new(r, "commit", json_string(a->umount_commit));
		if (a->umount_unasked)
			json_object_set_new(r, "note",
			    json_pack("s++", "its changes were committed: ",
				a->umount_commit, ""));
	}
	if (a->umount_stash != NULL)
		json_object_set(r, "stash", a->umount_stash);
	if (a->umount_note != NULL)
		json_object_set_new(r, "kept", json_text(a->umount_note));
	asker_answer(a, json_pack("{s:o}", "result", r));
}

/* ---- the table ----------------------------------------------------------------------------------------------- */

static const struct request {
	const char *name;
	unsigned int need;
	void (*f)(struct asker *, struct mount *, json_t *);
} requests[] = {
	{ "api", NEED_SOCKET | NEED_ROOT, do_api },
	{ "attach", NEED_MOUNT | NEED_WRITE, do_attach },
	{ "cancel", NEED_MOUNT | NEED_WRITE, do_cancel },
	{ "commit", NEED_MOUNT | NEED_WRITE, do_commit },
	{ "diff", NEED_MOUNT, diff_request },
	{ "log", NEED_MOUNT, do_log },
	{ "mount", NEED_SOCKET, do_mount },
	{ "reload", NEED_MOUNT | NEED_WRITE, do_reload },
	{ "restart", NEED_SOCKET | NEED_ROOT, do_restart },
	{ "stash", NEED_WRITE, do_stash },
	{ "status", 0, do_status },
	{ "umount", NEED_SOCKET, umount_request },
};

static struct mount *
mount_of(const json_t *req)
{
	char *path = request_path(req, "path");
	struct mount *m = path != NULL ? mount_by_path(path) : NULL;

	free(path);
	return m;
}

void
request_dispatch(struct asker *a, json_t *req)
{
	const char *name = string_of(req, "request"), *bad;
	const struct request *r = NULL;
	struct mount *m = a->m;
	size_t i;

	for (i = 0; name != NULL && i < sizeof(requests) / sizeof(requests[0]);
	     i++)
		if (strcmp(requests[i].name, name) == 0)
			r = &requests[i];
	if (r == NULL || (a->client == NULL && (r->need & NEED_SOCKET))) {
		asker_error(a, "invalid_request", "unknown_request",
		    "no such request");
		return;
	}
	if ((bad = request_bad_option(r->name, req)) != NULL) {
		asker_error(a, "invalid_request", "option",
		    "%s: not an option of %s, or not of its type", bad,
		    r->name);
		return;
	}
	if ((r->need & NEED_ROOT) && !asker_is_root(a)) {
		asker_error(a, "permission", "denied", "only root may");
		return;
	}
	/* Through ctl the mode of that file has decided. */
	if (a->client != NULL && !(r->need & NEED_SOCKET)) {
		m = mount_of(req);
		if (m == NULL &&
		    ((r->need & NEED_MOUNT) ||
			json_object_get(req, "path") != NULL)) {
			asker_error(a, "not_found", "not_mounted",
			    "no mount of this daemon is there");
			return;
		}
		if (m != NULL &&
		    !mount_permits(m, a, (r->need & NEED_WRITE) != 0)) {
			asker_error(a, "permission", "denied",
			    "you may not do that there");
			return;
		}
	}
	r->f(a, m, req);
}
