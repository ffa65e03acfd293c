/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * volpath: a path of a volume as it is typed, and what is there.  In
 * sailvolctl.
 */
#include <stdlib.h>
#include <string.h>

#include "sailvolctl/history.h"
#include "sailvolctl/names.h"
#include "sailvolctl/requests.h"
#include "sailvolctl/volpath.h"

/* The volume, and perhaps a commit of it. */
static int
take_volume(struct volpath *v, const char *text, size_t len, struct failure *f)
{
	const char *at = memchr(text, '@', len);
	size_t n = at != NULL ? (size_t)(at - text) : len;

	if (n >= sizeof(v->volume)) {
		failure_set(f, "invalid_request", "bad_name",
		    "%.*s: the name of a volume has at most %d bytes", (int)n,
		    text, SAIL_VOLUME_NAME_MAX);
		return -1;
	}
	memcpy(v->volume, text, n);
	v->volume[n] = '\0';
	if (check_volume(v->volume, f) == -1)
		return -1;
	if (at == NULL)
		return 0;
	if ((v->commit = strndup(at + 1, len - n - 1)) == NULL)
		return failure_memory(f);
	if (*v->commit != '\0')
		return 0;
	failure_set(f, "invalid_request", "usage",
	    "%.*s: no commit behind the @: the digits of its id, or head",
	    (int)len, text);
	return -1;
}

int
volpath_parse(struct volpath *v, const char *text, struct failure *f)
{
	const char *colon = strchr(text, ':'), *path, *why;
	size_t len;

	memset(v, 0, sizeof(*v));
	if (colon == NULL) {
		failure_set(f, "invalid_request", "usage",
		    "%s: no path: VOLUME:PATH is needed, as in %s:", text,
		    text);
		return -1;
	}
	if (take_volume(v, text, (size_t)(colon - text), f) == -1)
		return -1;
	path = colon + 1 + strspn(colon + 1, "/");
	for (len = strlen(path); len > 0 && path[len - 1] == '/'; len--)
		v->slash = 1;
	if ((v->path = strndup(path, len)) == NULL)
		return failure_memory(f);
	v->len = len;
	if ((why = path_problem(v->path, len)) == NULL)
		return 0;
	failure_set(f, "invalid_request", "bad_path", "%s: %s", text, why);
	return -1;
}

int
volpath_writable(const struct volpath *v, struct failure *f)
{
	if (v->commit == NULL)
		return 0;
	failure_set(f, "invalid_request", "usage",
	    "a commit does not change: leave @%s away", v->commit);
	return -1;
}

void
volpath_free(struct volpath *v)
{
	free(v->commit);
	free(v->path);
	memset(v, 0, sizeof(*v));
}

void
volpath_explain(const char *volume, struct failure *f)
{
	char said[sizeof(f->message)];

	if (strcmp(f->code, "volume_not_found") == 0)
		failure_set(f, "not_found", "volume_not_found",
		    "volume %s: the key sees no volume of that name: see "
		    "sailvolctl volume list",
		    volume);
	else if (strcmp(f->code, "role") == 0) {
		strlcpy(said, f->message, sizeof(said));
		failure_set(f, "permission", "role",
		    "volume %s: %.200s: another key is needed (-k, "
		    "SAIL_API_KEY)",
		    volume, said);
	}
}

struct remote *
volpath_open(const struct invocation *inv, const struct volpath *v,
    struct failure *f)
{
	struct remote *r = NULL;
	struct hash h;

	if (v->commit == NULL)
		r = remote_open(inv, v->volume, NULL, f);
	else if (history_resolve(inv, v->volume, v->commit, &h, f) == 0)
		r = remote_open(inv, v->volume, &h, f);
	if (r == NULL)
		volpath_explain(v->volume, f);
	else if (remote_allows(r, v->path, v->len, f) == -1) {
		remote_free(r);
		r = NULL;
	}
	return r;
}

int
volpath_find(const struct volpath *v, struct remote *r, struct entry *e,
    struct blob **keep, struct failure *f)
{
	if (remote_find(r, v->path, v->len, e, keep, f) == -1)
		return -1;
	if (!v->slash || v->len == 0 || e->type == ENTRY_DIR)
		return 0;
	blob_unref(*keep);
	*keep = NULL;
	failure_set(f, "", "not_a_directory",
	    "%s: not a directory: leave the "
	    "slash away",
	    v->path);
	return -1;
}

char *
volpath_base(const struct volpath *v, struct failure *f)
{
	const char *base = v->volume;
	size_t len = strlen(base);
	char *name;

	if (v->len > 0)
		base = path_base(v->path, v->len, &len);
	if ((name = strndup(base, len)) == NULL)
		failure_memory(f);
	return name;
}
