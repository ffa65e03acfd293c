/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * control_client: the clients of the control socket: their lines, what they may
 * do, and mount, umount and status, which the parent does.  In manifest.
 */
#include <sys/socket.h>
#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/log.h"
#include "sailvold/control_client.h"

#define LINE_MAX_BYTES (64 * 1024)
#define CLIENTS_MAX 512
#define CLIENTS_PER_UID 64
#define OUTPUT_MAX ((size_t)64 << 20) /* not read by the client */
#define IDLE_S 60		      /* without a line */

struct client {
	struct asker a; /* the first: an asker is its client */
	struct bufferevent *bev;
	int asked;  /* a line was taken: one a connection */
	int ending; /* closed when all is written */
};
static TAILQ_HEAD(, asker) clients = TAILQ_HEAD_INITIALIZER(clients);
static size_t nclients;
static uint32_t last_number;

static void
client_free(struct client *c)
{
	asker_leave(&c->a);
	TAILQ_REMOVE(&clients, &c->a, link);
	nclients--;
	bufferevent_free(c->bev);
	free(c);
}

static void
client_send(struct asker *a, const char *text, int last)
{
	struct client *c = (struct client *)(void *)a;
	struct evbuffer *out = bufferevent_get_output(c->bev);

	/* Progress is dropped for one that does not read; answers are not. */
	if (last || evbuffer_get_length(out) < OUTPUT_MAX) {
		evbuffer_add(out, text, strlen(text));
		evbuffer_add(out, "\n", 1);
	}
	if (last)
		c->ending = 1;
}

static void
client_written(struct bufferevent *bev, void *arg)
{
	struct client *c = arg;

	if (c->ending && evbuffer_get_length(bufferevent_get_output(bev)) == 0)
		client_free(c);
}

static void
client_read(struct bufferevent *bev, void *arg)
{
	struct evbuffer *in = bufferevent_get_input(bev);
	struct client *c = arg;
	char *line;
	size_t len;

	if (c->asked) {
		evbuffer_drain(in, evbuffer_get_length(in));
		return;
	}
	if ((line = evbuffer_readln(in, &len, EVBUFFER_EOL_LF)) == NULL) {
		if (evbuffer_get_length(in) >= LINE_MAX_BYTES) {
			c->asked = 1;
			asker_error(&c->a, "invalid_request", "line_too_long",
			    "a line of over %d bytes", LINE_MAX_BYTES);
		}
		return;
	}
	c->asked = 1;
	bufferevent_set_timeouts(bev, NULL, NULL);
	asker_line(&c->a, line, len);
	free(line);
}

static void
client_event(struct bufferevent *bev, short what, void *arg)
{
	struct client *c = arg;

	(void)bev;
	(void)what;
	client_free(c); /* it went, or said nothing for too long */
}

static size_t
count_uid(uint32_t uid)
{
	struct asker *a;
	size_t n = 0;

	TAILQ_FOREACH(a, &clients, link)
		if (a->uid == uid)
			n++;
	return n;
}

void
control_client(int fd, uint32_t uid, uint32_t gid, uint32_t pid)
{
	static const char full[] = "{\"error\":{\"message\":\"too many clients\","
	    "\"type\":\"unavailable\",\"code\":\"too_many_clients\"}}\n";
	struct timeval idle = { IDLE_S, 0 };
	struct client *c;

	if (nclients >= CLIENTS_MAX || count_uid(uid) >= CLIENTS_PER_UID ||
	    (c = calloc(1, sizeof(*c))) == NULL) {
		(void)!send(fd, full, sizeof(full) - 1, MSG_NOSIGNAL);
		close(fd);
		return;
	}
	c->bev = bufferevent_socket_new(proc_base(), fd, BEV_OPT_CLOSE_ON_FREE);
	if (c->bev == NULL) {
		close(fd);
		free(c);
		return;
	}
	c->a.uid = uid;
	c->a.gid = gid;
	c->a.pid = pid;
	c->a.send = client_send;
	asker_init(&c->a);
	TAILQ_INSERT_TAIL(&clients, &c->a, link);
	nclients++;
	bufferevent_setcb(c->bev, client_read, client_written, client_event, c);
	bufferevent_setwatermark(c->bev, EV_READ, 0, LINE_MAX_BYTES + 1);
	bufferevent_set_timeouts(c->bev, &idle, NULL);
	bufferevent_enable(c->bev, EV_READ | EV_WRITE);
}

/* ---- mount and umount ---------------------------------------------------------------- */

static uint32_t
new_number(void)
{
	if (++last_number == 0)
		last_number = 1;
	return last_number;
}

static struct asker *
find_number(uint32_t number)
{
	struct asker *a;

	TAILQ_FOREACH(a, &clients, link)
		if (number != 0 && a->parent_number == number)
			return a;
	return NULL;
}

static void
ask_parent(struct asker *a, struct parent_req *req)
{
	req->uid = a->uid;
	req->gid = a->gid;
	req->pid = a->pid;
	a->parent_number = new_number();
	if (parent_req_send(role_parent(), a->parent_number, req) == -1) {
		a->parent_number = 0;
		asker_error(a, "internal", "not_asked", "asking the parent: %s",
		    strerror(errno));
	}
}

/* A string of the request, "" when it is missing. */
static const char *
string_of(json_t *request, const char *name)
{
	const char *s = json_string_value(json_object_get(request, name));

	return s != NULL ? s : "";
}

void
control_mount(struct asker *a, struct mount *m, json_t *request)
{
	const char *volume = string_of(request, "volume");
	const char *commit = string_of(request, "commit");
	const char *why;
	struct parent_req req;

	(void)m;
	memset(&req, 0, sizeof(req));
	req.verb = PARENT_MOUNT;
	if ((why = volume_name_problem(volume, strlen(volume))) != NULL) {
		asker_error(a, "invalid_request", "bad_volume_name",
		    "volume %s: %s", volume, why);
		return;
	}
	if (*commit != '\0' && hash_parse(&req.mount.commit, commit,
	    strlen(commit)) == -1) {
		asker_error(a, "invalid_request", "bad_commit",
		    "%s: not the id of a commit", commit);
		return;
	}
	req.mount.has_commit = *commit != '\0';
	strlcpy(req.mount.volume, volume, sizeof(req.mount.volume));
	req.mount.subpath = strdup(string_of(request, "subpath"));
	req.mount.path = strdup(string_of(request, "path"));
	if (json_is_true(json_object_get(request, "readonly")))
		req.mount.flags |= MOUNT_READONLY;
	if (json_is_true(json_object_get(request, "create")))
		req.mount.flags |= MOUNT_CREATE;
	if (req.mount.subpath == NULL || req.mount.path == NULL)
		asker_error(a, "internal", "memory", "out of memory");
	else
		ask_parent(a, &req);
	mount_req_free(&req.mount);
}

static void
umount_now(struct asker *a, const char *path, int force)
{
	struct parent_req req;

	memset(&req, 0, sizeof(req));
	req.verb = PARENT_UMOUNT;
	req.force = force != 0;
	req.mount.subpath = strdup("");
	req.mount.path = strdup(path);
	if (req.mount.subpath == NULL || req.mount.path == NULL)
		asker_error(a, "internal", "memory", "out of memory");
	else
		ask_parent(a, &req);
	mount_req_free(&req.mount);
}

/* The journal is applied to where fuse was: what is dirty is known. */
static void
umount_synced(struct mount *m, void *arg)
{
	struct asker *a = find_number((uint32_t)(uintptr_t)arg);
	uint64_t names, objects;

	if (a == NULL)
		return;
	a->parent_number = 0;
	if (db_dirty_count(manifest_db, m->row.row, &names, &objects) == -1)
		asker_error(a, "internal", "database", "the database does not "
		    "answer");
	else if (names + objects > 0)
		asker_error(a, "conflict", "dirty", "%s has unpublished changes "
		    "(%llu names, %llu files or attributes): commit them "
		    "(--commit), or leave them for the next mount there "
		    "(--force)", m->row.path, (unsigned long long)names,
		    (unsigned long long)objects);
	else
		umount_now(a, m->row.path, 0);
}

static void
umount_offset(struct mount *m, void *arg, int error, uint64_t offset)
{
	struct asker *a = find_number((uint32_t)(uintptr_t)arg);

	if (a == NULL)
		return;
	if (error != 0 || applied_wait_for(m, offset, umount_synced,
	    arg) == -1) {
		a->parent_number = 0;
		asker_error(a, "failed", "not_synced", "%s: its changes cannot "
		    "be looked at: %s", m->row.path, strerror(error != 0 ?
		    error : errno));
	}
}

void
control_umount(struct asker *a, struct mount *m, json_t *request)
{
	const char *path = string_of(request, "path");
	struct job *j;

	if (m == NULL || json_is_true(json_object_get(request, "force"))) {
		umount_now(a, path, json_is_true(json_object_get(request,
		    "force")));
		return;
	}
	if (json_is_true(json_object_get(request, "commit"))) {
		j = job_add(m, JOB_COMMIT, 0, 0, a->uid, a->gid, request);
		if (j == NULL) {
			asker_error(a, "internal", "not_stored",
			    "the commit cannot be kept: %s", strerror(errno));
			return;
		}
		a->after = json_incref(request);
		job_listen(j, &a->listener);
		return;
	}
	a->parent_number = new_number();
	if (ask_sync(m, umount_offset, (void *)(uintptr_t)a->parent_number) ==
	    -1) {
		a->parent_number = 0;
		asker_error(a, "internal", "not_asked", "asking fuse: %s",
		    strerror(errno));
	}
}

void
control_commit_done(struct asker *a, const char *answer)
{
	json_t *request = a->after, *root;
	int ok;

	a->after = NULL;
	root = json_loads(answer, 0, NULL);
	ok = json_object_get(root, "result") != NULL;
	json_decref(root);
	if (!ok)
		a->send(a, answer, 1);
	else {
		json_object_del(request, "commit");
		control_umount(a, mount_by_path(string_of(request, "path")),
		    request);
	}
	json_decref(request);
}

static const char *
error_type(uint32_t error)
{
	switch (error) {
	case EBUSY:
		return "conflict";
	case ENOENT:
		return "not_found";
	case EPERM:
	case EACCES:
		return "permission";
	case EINVAL:
	case ENOTDIR:
	case ELOOP:
		return "invalid_request";
	default:
		return "failed";
	}
}

void
control_parent_done(uint32_t id, uint32_t error, const char *what,
    const char *warning, uint32_t instance)
{
	struct asker *a = find_number(id);
	struct mount *m = mount_by_instance(instance);
	json_t *result;

	if (a == NULL)
		return;
	a->parent_number = 0;
	if (error != 0) {
		asker_error(a, error_type(error), "mount_failed", "%s",
		    *what != '\0' ? what : strerror((int)error));
		return;
	}
	result = json_object();
	if (m != NULL) {
		json_object_set_new(result, "volume",
		    json_string(m->row.volume));
		json_object_set_new(result, "volume_id",
		    json_string(m->row.volume_id));
		json_object_set_new(result, "path", json_string(m->row.path));
		json_object_set_new(result, "commit", json_hash(&m->row.base));
	}
	if (*warning != '\0')
		json_object_set_new(result, "warning", json_string(warning));
	asker_answer(a, json_pack("{s:o}", "result", result));
}

/* ---- status -------------------------------------------------------------------------------- */

void
control_ask_status(struct asker *a)
{
	a->parent_number = new_number();
	if (chan_send(role_parent(), IMSG_MANIFEST_PARENT_STATUS,
	    a->parent_number, -1, NULL, 0) == -1) {
		a->parent_number = 0;
		asker_error(a, "internal", "not_asked", "asking the parent: %s",
		    strerror(errno));
	}
}

void
control_parent_status(uint32_t id, int fd)
{
	struct memfd_view view = { (const uint8_t *)"", 0, 0 };
	struct asker *a = find_number(id);

	if (a != NULL) {
		a->parent_number = 0;
		if (memfd_map(fd, (size_t)16 << 20, &view) == -1)
			asker_error(a, "internal", "status", "status: %s",
			    strerror(errno));
		else {
			asker_answer(a, status_of_all(a->uid, a->gid,
			    (const char *)view.data, view.len));
			memfd_unmap(&view);
		}
	}
	close(fd);
}
