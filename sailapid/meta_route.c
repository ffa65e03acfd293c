/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * meta_route: the routes of sailapi(7): who may do what, and which handler
 * does it.  In meta.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "lib/log.h"
#include "sailapid/hex.h"
#include "sailapid/meta.h"

/*
 * Which keys get to a handler at all, whatever their role.  A route without
 * one, or without a role, is not served: the server does not start.
 */
enum reach {
	REACH_ORG = 1, /* of the whole org: no limited ones */
	REACH_VOLUME,  /* and those of a volume, as a whole */
	REACH_PATH     /* and those of a path: what is below it is served */
};

/* "*" in a pattern is an argument; with volume set the first one is a volume,
   with DELETED one that was deleted and can come back, by its id, with EITHER
   any of both. */
#define DELETED 2
#define EITHER 3
static const struct route {
	uint8_t method;
	uint8_t role;
	uint8_t reach;
	uint8_t volume;
	const char *pattern;
	req_step handler;
} routes[] = {
	{ API_GET, KEY_READ, REACH_PATH, 0, "whoami", meta_whoami },
	{ API_GET, KEY_ADMIN, REACH_ORG, 0, "keys", meta_key_list },
	{ API_POST, KEY_ADMIN, REACH_ORG, 0, "keys", meta_key_create },
	{ API_DELETE, KEY_ADMIN, REACH_ORG, 0, "keys/*", meta_key_revoke },
	{ API_GET, KEY_READ, REACH_PATH, 0, "volumes", meta_volume_list },
	{ API_POST, KEY_WRITE, REACH_PATH, 0, "volumes", meta_volume_create },
	{ API_GET, KEY_READ, REACH_PATH, 1, "volumes/*", meta_volume_show },
	{ API_DELETE, KEY_ADMIN, REACH_VOLUME, EITHER, "volumes/*",
	    meta_volume_delete },
	/* They say which names the org has. */
	{ API_POST, KEY_ADMIN, REACH_ORG, DELETED, "volumes/*/restore",
	    meta_volume_restore },
	{ API_POST, KEY_ADMIN, REACH_ORG, 1, "volumes/*/rename",
	    meta_volume_rename },
	{ API_POST, KEY_WRITE, REACH_ORG, 1, "volumes/*/fork",
	    meta_volume_fork },
	{ API_GET, KEY_READ, REACH_PATH, 1, "volumes/*/head", meta_head },
	{ API_POST, KEY_READ, REACH_PATH, 1, "volumes/*/nodes", meta_nodes },
	{ API_PUT, KEY_WRITE, REACH_PATH, 1, "volumes/*/sessions/*",
	    meta_session_put },
	{ API_GET, KEY_READ, REACH_PATH, 1, "volumes/*/sessions/*",
	    meta_session_get },
	{ API_POST, KEY_WRITE, REACH_PATH, 1, "volumes/*/sessions/*/chunks",
	    meta_session_chunks },
	{ API_POST, KEY_WRITE, REACH_PATH, 1, "volumes/*/sessions/*/packs",
	    meta_session_packs },
	{ API_POST, KEY_WRITE, REACH_PATH, 1, "volumes/*/sessions/*/commit",
	    meta_commit },
	{ API_POST, KEY_READ, REACH_PATH, 1, "volumes/*/locate", meta_locate },
	{ API_POST, KEY_READ, REACH_PATH, 1, "volumes/*/report", meta_report },
	{ API_PUT, KEY_READ, REACH_PATH, 1, "volumes/*/leases/*",
	    meta_lease_put },
	{ API_DELETE, KEY_READ, REACH_PATH, 1, "volumes/*/leases/*",
	    meta_lease_delete },
	{ API_GET, KEY_READ, REACH_PATH, 1, "volumes/*/commits",
	    meta_log_list },
	{ API_GET, KEY_READ, REACH_PATH, 1, "volumes/*/commits/*",
	    meta_log_show },
	{ API_POST, KEY_READ, REACH_PATH, 1, "volumes/*/diff", meta_diff },
};

void
meta_route_init(void)
{
	const struct route *r;
	size_t i;

	for (i = 0; i < sizeof(routes) / sizeof(routes[0]); i++) {
		r = &routes[i];
		if (r->role < KEY_READ || r->role > KEY_ADMIN ||
		    r->reach < REACH_ORG || r->reach > REACH_PATH ||
		    r->handler == NULL)
			fatalx("route %s: who may come is not said",
			    r->pattern);
	}
}

static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* In place; -1: not an escape, or a NUL. */
static int
unescape(char *s)
{
	char *to = s;
	int hi, lo;

	for (; *s != '\0'; s++) {
		if (*s != '%') {
			*to++ = *s;
			continue;
		}
		hi = hex_digit(s[1]);
		lo = hi == -1 ? -1 : hex_digit(s[2]);
		if (lo == -1 || (hi == 0 && lo == 0))
			return -1;
		*to++ = (char)(hi << 4 | lo);
		s += 2;
	}
	*to = '\0';
	return 0;
}

#define SEGMENTS_MAX 8

/* The path's segments, unescaped; -1: not a path of this API. */
static int
split_target(struct req *req, char *segs[SEGMENTS_MAX])
{
	char *p, *next;
	int n = 0;

	if ((req->path = strdup(req->target)) == NULL)
		return -1;
	if ((p = strchr(req->path, '#')) != NULL)
		return -1;
	if ((req->query = strchr(req->path, '?')) != NULL)
		*req->query++ = '\0';
	if (strncmp(req->path, "/v1/", 4) != 0)
		return -1;
	for (p = req->path + 4; p != NULL; p = next) {
		if ((next = strchr(p, '/')) != NULL)
			*next++ = '\0';
		if (n == SEGMENTS_MAX || *p == '\0' || unescape(p) == -1)
			return -1;
		segs[n++] = p;
	}
	return n;
}

/* 1 when it is the pattern's; args are set then. */
static int
pattern_match(const char *pattern, char *const *segs, int n,
    const char *args[REQ_ARGS])
{
	const char *p = pattern, *end;
	size_t len;
	int i, nargs = 0;

	for (i = 0; i < n; i++) {
		if (p == NULL)
			return 0;
		end = strchr(p, '/');
		len = end == NULL ? strlen(p) : (size_t)(end - p);
		if (len == 1 && *p == '*') {
			if (nargs == REQ_ARGS)
				return 0;
			args[nargs++] = segs[i];
		} else if (strlen(segs[i]) != len ||
		    memcmp(segs[i], p, len) != 0)
			return 0;
		p = end == NULL ? NULL : end + 1;
	}
	return p == NULL;
}

/* HEAD is a GET whose body api leaves out. */
static const struct route *
route_find(struct req *req)
{
	char *segs[SEGMENTS_MAX];
	const char *args[REQ_ARGS];
	const struct route *r;
	size_t i;
	int n;

	n = split_target(req, segs);
	for (i = 0; n > 0 && i < sizeof(routes) / sizeof(routes[0]); i++) {
		r = &routes[i];
		memset(args, 0, sizeof(args));
		if (!pattern_match(r->pattern, segs, n, args))
			continue;
		req->allow |= 1U << r->method;
		if (r->method == API_GET)
			req->allow |= 1U << API_HEAD;
		if (r->method == req->method ||
		    (r->method == API_GET && req->method == API_HEAD)) {
			req->allow = 0;
			memcpy(req->args, args, sizeof(args));
			return r;
		}
	}
	if (req->allow != 0)
		req_error(req, 405, "method_not_allowed",
		    "this is not done to that");
	else
		req_error(req, 404, "no_such_route", "there is nothing here");
	return NULL;
}

static void
bad_key(struct req *req, const char *why)
{
	if (why == NULL)
		req_error(req, 401, "bad_key", "no such API key");
	else
		req_error(req, 401, "bad_key", "the API key %s", why);
}

int
meta_route_key(struct req *req)
{
	static const char scheme[] = "Bearer ";
	const char *secret = req->authorization + sizeof(scheme) - 1;
	struct hash hash;
	int r = 0;

	if (req->metrics)
		return 0;
	if (strncasecmp(req->authorization, scheme, sizeof(scheme) - 1) == 0 &&
	    strlen(secret) == DB_SECRET_LEN && strncmp(secret, "sk_", 3) == 0) {
		hash_bytes(&hash, secret, DB_SECRET_LEN);
		r = db_key_by_hash(meta_db(), &hash, &req->key);
	}
	if (r == -1)
		req_errno(req, "key");
	else if (r == 0)
		bad_key(req, NULL);
	else if (db_key_problem(&req->key, db_now()) != NULL)
		bad_key(req, db_key_problem(&req->key, db_now()));
	else {
		req->authorized = 1;
		return 0;
	}
	return -1;
}

/*
 * What the key may know of was all of the family, and the volume has been forked
 * since: what was found out until now may be of the fork.  1: it has not; or it
 * was answered.
 */
static int
still_alone(struct req *req)
{
	int r = 0;

	if (req->grant != NULL && !req->apart)
		r = db_family_shared(meta_db(), &req->vol);
	if (r == 1)
		req_error(req, 503, "busy",
		    "the volume was forked meanwhile: ask again");
	else if (r == -1)
		req_errno(req, "family");
	return r == 0;
}

/* It may have been revoked while the request waited for somebody. */
int
meta_route_still(struct req *req)
{
	struct db_key now;
	const char *why;
	int r = db_key_by_id(meta_db(), req->key.id, &now);

	if (r == 1 && (why = db_key_problem(&now, db_now())) == NULL)
		return still_alone(req);
	if (r == -1)
		req_errno(req, "key");
	else
		bad_key(req, r == 1 ? why : NULL);
	return 0;
}

int64_t
req_limited(const struct req *req)
{
	return req->key.limited ? req->key.id : 0;
}

int
req_sees(const struct req *req, const struct db_volume *v, struct db_grant *g)
{
	if (!req->key.limited)
		return 1;
	return db_grant_find(meta_db(), req->key.id, v->id, g);
}

int
req_cut(const struct req *req)
{
	return req->grant != NULL && req->grant->len > 0;
}

struct db_family
req_family(const struct req *req)
{
	struct db_family f;

	if (req->apart)
		return req->grant->annex;
	f.id = req->vol.family;
	memcpy(f.public, req->vol.family_public, sizeof(f.public));
	return f;
}

/*
 * Chunks are shared by the volumes of a family: a key that may not see all of
 * them must not learn which there are, nor have one for knowing its hash.
 */
static int
route_apart(struct req *req)
{
	int r = req->grant->len > 0;

	if (r == 0)
		r = db_family_shared(meta_db(), &req->vol);
	req->apart = r == 1;
	return r;
}

static int
route_find_volume(struct req *req, int which)
{
	uint8_t public[DB_ID_LEN];
	int r = 0;

	if (which != DELETED)
		r = db_volume_find(meta_db(), req->key.org.id, req->args[0],
		    &req->vol);
	if (r == 0 && (which == DELETED || which == EITHER) &&
	    hex_id("vol_", req->args[0], public, sizeof(public)) == 0)
		r = db_volume_trash(meta_db(), req->key.org.id, public,
		    db_now() - VOLUME_DELETED_LIFE_NS, &req->vol);
	return r;
}

/* One that the key may not see is as one that is not there. */
static int
route_volume(struct req *req, int which)
{
	int r = route_find_volume(req, which);

	if (r == 1 && req->key.limited) {
		req->grant = calloc(1, sizeof(*req->grant));
		r = req->grant == NULL ? -1
				       : req_sees(req, &req->vol, req->grant);
		if (r == 1 && route_apart(req) == -1)
			r = -1;
	}
	if (r == -1)
		req_errno(req, "volume");
	else if (r == 0)
		req_error(req, 404, "volume_not_found",
		    which == DELETED ? "no deleted volume of that id"
				     : "no such volume");
	return r == 1 ? 0 : -1;
}

/* What a limited key is for is not here. */
static int
route_reach(struct req *req, const struct route *r)
{
	if (!req->key.limited ||
	    (r->reach == REACH_VOLUME &&
		(req->grant == NULL || req->grant->len == 0)) ||
	    r->reach == REACH_PATH)
		return 0;
	req_error(req, 403, "key_limited",
	    r->reach == REACH_ORG
		? "this needs a key that is not limited to volumes"
		: "this needs a key that is not limited to a path");
	return -1;
}

/* All that decides who comes to a handler. */
void
meta_route(struct req *req)
{
	const struct route *r;

	if (req->metrics) {
		meta_metrics(req);
		return;
	}
	if ((r = route_find(req)) == NULL)
		return;
	if (req->key.role < r->role) {
		req_error(req, 403, "role",
		    "this needs a key with the role %s, and this one has %s",
		    key_role_name(r->role), key_role_name(req->key.role));
		return;
	}
	/* Before it is looked for: the answer says nothing of it. */
	if (r->reach == REACH_ORG && route_reach(req, r) == -1)
		return;
	if (r->volume && route_volume(req, r->volume) == -1)
		return;
	if (route_reach(req, r) == 0)
		r->handler(req);
}

/* ---- query and body ------------------------------------------------------ */

int
req_query(const struct req *req, const char *name, char *out, size_t size)
{
	const char *p = req->query, *end;
	size_t len, n = strlen(name);

	for (; p != NULL; p = end == NULL ? NULL : end + 1) {
		end = strchr(p, '&');
		len = end == NULL ? strlen(p) : (size_t)(end - p);
		if (len <= n || strncmp(p, name, n) != 0 || p[n] != '=')
			continue;
		len -= n + 1;
		if (len >= size)
			return -1;
		memcpy(out, p + n + 1, len);
		out[len] = '\0';
		return unescape(out) == -1 ? -1 : 1;
	}
	return 0;
}

int
req_query_number(struct req *req, const char *name, uint32_t max, uint32_t *n)
{
	char text[16];
	const char *why = NULL;
	long long v = 0;
	int r;

	if ((r = req_query(req, name, text, sizeof(text))) == 0)
		return 0;
	if (r == 1)
		v = strtonum(text, 0, UINT32_MAX, &why);
	if (r == -1 || why != NULL) {
		req_error(req, 400, "bad_query", "%s: not a number", name);
		return -1;
	}
	*n = v > max ? max : (uint32_t)v;
	return 0;
}

int
req_query_hash(struct req *req, const char *name, struct hash *h)
{
	char text[HASH_HEX_LEN + 2];
	int r;

	if ((r = req_query(req, name, text, sizeof(text))) == 0)
		return 0;
	if (r == -1 || hash_parse(h, text, strlen(text)) == -1) {
		req_error(req, 400, "bad_query", "%s: not a hash", name);
		return -1;
	}
	return 1;
}

json_t *
req_body_json(struct req *req)
{
	json_error_t error;
	json_t *j;

	if (req->body.len > META_JSON_MAX) {
		req_error(req, 413, "body_too_large",
		    "a JSON body has at most %d bytes", META_JSON_MAX);
		return NULL;
	}
	if (req->body.len == 0)
		j = json_object();
	else
		j = json_loadb((const char *)req->body.data, req->body.len,
		    JSON_REJECT_DUPLICATES, &error);
	if (j == NULL || !json_is_object(j)) {
		json_decref(j);
		req_error(req, 400, "bad_json", "the body is no JSON object");
		return NULL;
	}
	return j;
}

int
req_member_string(struct req *req, json_t *j, const char *name,
    const char **out)
{
	json_t *v = json_object_get(j, name);

	if (v == NULL || json_is_null(v))
		return 0;
	if (!json_is_string(v)) {
		req_error(req, 400, "bad_json", "%s: not a string", name);
		return -1;
	}
	*out = json_string_value(v);
	return 1;
}

int
req_member_bool(struct req *req, json_t *j, const char *name, int *out)
{
	json_t *v = json_object_get(j, name);

	if (v == NULL || json_is_null(v))
		return 0;
	if (!json_is_boolean(v)) {
		req_error(req, 400, "bad_json", "%s: not true or false", name);
		return -1;
	}
	*out = json_is_true(v);
	return 1;
}
