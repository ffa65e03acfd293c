/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * parent_ask: what the parent is to do for a line of the control socket.  In
 * manifest, and in the parent.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/json_name.h"
#include "lib/path.h"
#include "sailvold/parent_ask.h"

static const char *
string_of(const json_t *req, const char *key)
{
	return json_string_value(json_object_get(req, key));
}

static int
is_set(const json_t *req, const char *key)
{
	return json_is_true(json_object_get(req, key));
}

char *
request_path(const json_t *req, const char *key)
{
	size_t len;
	char *path = json_name_get(json_object_get(req, key), &len);

	if (path != NULL && strlen(path) != len) {
		free(path);
		path = NULL;
	}
	return path;
}

/* ---- options ---------------------------------------------------------------- */

/* s: string, n: name, b: boolean, i: number, a: list, *: any. */
static const struct option {
	const char *request, *name;
	char type;
} options[] = {
	{ "api", "body", '*' },
	{ "api", "method", 's' },
	{ "api", "retry", 'b' },
	{ "api", "target", 's' },
	{ "attach", "job", 'i' },
	{ "cancel", "job", 'i' },
	{ "commit", "if_unchanged", 'b' },
	{ "commit", "message", 's' },
	{ "diff", "after", 'n' },
	{ "diff", "limit", 'i' },
	{ "log", "before", 's' },
	{ "log", "limit", 'i' },
	{ "mount", "commit", 's' },
	{ "mount", "commit_on_umount", 'b' },
	{ "mount", "create", 'b' },
	{ "mount", "noexec", 'b' },
	{ "mount", "readonly", 'b' },
	{ "mount", "subpath", 'n' },
	{ "mount", "uids", 'a' },
	{ "mount", "volume", 's' },
	{ "reload", "if_clean", 'b' },
	{ "reload", "keep", 'b' },
	{ "stash", "action", 's' },
	{ "stash", "id", 'i' },
	{ "umount", "commit", 'b' },
	{ "umount", "force", 'b' },
	{ "umount", "keep", 'b' },
	{ "umount", "stash", 'b' },
};

static int
is_name(const json_t *j)
{
	return json_is_string(j) ||
	    (json_object_size(j) == 1 &&
		json_is_string(json_object_get(j, "b64")));
}

static int
is_option(const char *request, const char *name, const json_t *value)
{
	const struct option *o;
	size_t i;

	if (strcmp(name, "request") == 0)
		return 1;
	if (strcmp(name, "path") == 0)
		return is_name(value);
	for (i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
		o = &options[i];
		if (strcmp(o->request, request) == 0 &&
		    strcmp(o->name, name) == 0)
			return o->type == '*' ||
			    (o->type == 's' && json_is_string(value)) ||
			    (o->type == 'n' && is_name(value)) ||
			    (o->type == 'b' && json_is_boolean(value)) ||
			    (o->type == 'i' && json_is_integer(value)) ||
			    (o->type == 'a' && json_is_array(value));
	}
	return 0;
}

const char *
request_bad_option(const char *request, json_t *req)
{
	const char *name;
	json_t *value;

	json_object_foreach(req, name,
	    value) if (!is_option(request, name, value)) return name;
	return NULL;
}

/* ---- requests of the parent ---------------------------------------------------- */

int
parent_ask(struct parent_req *p, uint8_t verb, const char *path)
{
	memset(p, 0, sizeof(*p));
	p->verb = verb;
	p->mount.path = strdup(path);
	p->mount.subpath = strdup("");
	return p->mount.path == NULL || p->mount.subpath == NULL ? -1 : 0;
}

/* [base, count]: NULL, or what is wrong. */
static const char *
ids_of(const json_t *req, struct idmap *ids)
{
	json_t *l = json_object_get(req, "uids");
	const json_t *base = json_array_get(l, 0),
		     *count = json_array_get(l, 1);
	json_int_t b = json_integer_value(base), n = json_integer_value(count);
	const char *why;

	if (l == NULL)
		return NULL;
	if (json_array_size(l) != 2 || !json_is_integer(base) ||
	    !json_is_integer(count) || b < 0 || n < 0)
		return "uids: not [base, count]";
	if ((why = idmap_problem((uint64_t)b, (uint64_t)n)) != NULL)
		return why;
	ids->base = (uint32_t)b;
	ids->count = (uint32_t)n;
	return NULL;
}

/* Of a mount, all but its ids. */
static const char *
problem(const struct parent_req *p, const json_t *req, struct hash *id)
{
	const char *volume = string_of(req, "volume"),
		   *commit = string_of(req, "commit"), *path = p->mount.path,
		   *sub = p->mount.subpath, *why;

	if (volume == NULL)
		return "a volume is needed";
	if ((why = volume_name_problem(volume, strlen(volume))) != NULL)
		return why;
	if (path == NULL || path[0] != '/')
		return "an absolute path is needed";
	if (strlen(path) >= MOUNT_POINT_MAX)
		return "the path of the mount point is too long";
	if (sub == NULL)
		return "the subpath cannot be one";
	if ((why = path_problem(sub, strlen(sub))) != NULL)
		return why;
	if (commit != NULL && hash_parse(id, commit, strlen(commit)) == -1)
		return "not the id of a commit";
	if (commit != NULL && is_set(req, "create"))
		return "commit and create: a new volume has no commits";
	if (is_set(req, "commit_on_umount") &&
	    (commit != NULL || is_set(req, "readonly")))
		return "commit_on_umount: it is read only";
	return NULL;
}

const char *
parent_ask_mount(struct parent_req *p, const json_t *req)
{
	struct mount_req *m = &p->mount;
	const char *why;

	memset(p, 0, sizeof(*p));
	p->verb = PARENT_MOUNT;
	m->path = request_path(req, "path");
	m->subpath = json_object_get(req, "subpath") != NULL
	    ? request_path(req, "subpath")
	    : strdup("");
	if ((why = problem(p, req, &m->commit)) != NULL ||
	    (why = ids_of(req, &m->ids)) != NULL)
		return why;
	strlcpy(m->volume, string_of(req, "volume"), sizeof(m->volume));
	m->has_commit = string_of(req, "commit") != NULL;
	if (m->has_commit || is_set(req, "readonly"))
		m->flags |= MOUNT_READONLY;
	if (is_set(req, "create"))
		m->flags |= MOUNT_CREATE;
	if (is_set(req, "noexec"))
		m->flags |= MOUNT_NOEXEC;
	m->policy.commit_on_umount = is_set(req, "commit_on_umount");
	return NULL;
}

static const char *
ask_other(struct parent_req *p, const json_t *req, const char *name)
{
	int restart = name != NULL && strcmp(name, "restart") == 0;
	char *path = restart ? strdup("") : request_path(req, "path");
	const char *why = NULL;

	if (name == NULL || (!restart && strcmp(name, "umount") != 0))
		why = "neither mount, umount nor restart";
	else if (path == NULL || (!restart && path[0] != '/'))
		why = "an absolute path is needed";
	if (parent_ask(p, restart ? PARENT_RESTART : PARENT_UMOUNT,
		why == NULL ? path : "") == -1)
		why = "out of memory";
	p->force = !restart && is_set(req, "force");
	free(path);
	return why;
}

const char *
parent_ask_line(struct parent_req *p, const char *line, size_t len)
{
	const char *name, *why;
	json_t *req;

	req = json_loadb(line, len, JSON_REJECT_DUPLICATES, NULL);
	name = string_of(req, "request");
	if (name != NULL && strcmp(name, "mount") == 0)
		why = parent_ask_mount(p, req);
	else
		why = ask_other(p, req, name);
	if (why == NULL && request_bad_option(name, req) != NULL)
		why = "an option that it does not have, or not of its type";
	json_decref(req);
	return why;
}
