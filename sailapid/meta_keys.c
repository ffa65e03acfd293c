/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * meta_keys: the routes about API keys.  In meta.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/life.h"
#include "sailapid/hex.h"
#include "sailapid/meta.h"

static int
grant_append(void *arg, const struct db_grant *g)
{
	return json_array_append_new(arg,
	    json_pack("{s:o, s:s, s:o}", "id",
		json_id("vol_", g->volume_public, DB_ID_LEN), "name",
		g->volume_name, "path", json_name(g->path, g->len)));
}

/* What every answer says of a key; NULL and errno. */
static json_t *
key_json(const struct db_key *k)
{
	json_t *j, *grants = json_null();

	if (k->limited) {
		grants = json_array();
		if (db_grant_each(meta_db(), k->id, grant_append, grants) ==
		    -1) {
			json_decref(grants);
			return NULL;
		}
	}
	j = json_pack("{s:o, s:s, s:s, s:o, s:o, s:o}", "id",
	    json_id("key_", k->public, DB_PUBLIC_LEN), "name", k->name, "role",
	    key_role_name(k->role), "created", json_time(k->created), "expires",
	    k->expires == 0 ? json_null() : json_time(k->expires), "volumes",
	    grants);
	if (j == NULL)
		errno = ENOMEM;
	return j;
}

void
meta_whoami(struct req *req)
{
	const struct db_key *k = &req->key;
	json_t *key = key_json(k);

	if (key == NULL)
		req_errno(req, "key");
	else
		req_json(req, 200,
		    json_pack("{s:{s:o, s:s}, s:o}", "org", "id",
			json_id("org_", k->org.public, DB_PUBLIC_LEN), "name",
			k->org.name, "key", key));
}

static int
key_append(void *arg, const struct db_key *k)
{
	json_t *j = key_json(k);

	if (j == NULL)
		return -1;
	json_object_set_new(j, "revoked",
	    k->revoked == 0 ? json_null() : json_time(k->revoked));
	return json_array_append_new(arg, j);
}

void
meta_key_list(struct req *req)
{
	json_t *list = json_array();

	if (db_key_each(meta_db(), req->key.org.id, key_append, list) == -1) {
		json_decref(list);
		req_errno(req, "keys");
		return;
	}
	req_json(req, 200, json_pack("{s:o}", "keys", list));
}

/* ---- a new key ----------------------------------------------------------- */

/*
 * Each member is one of names: what is misspelt would make a key that may more
 * than was meant; -1: answered.
 */
static int
only_members(struct req *req, json_t *j, const char *const *names)
{
	const char *name;
	json_t *value;
	size_t i;

	json_object_foreach(j, name, value)
	{
		for (i = 0; names[i] != NULL; i++)
			if (strcmp(name, names[i]) == 0)
				break;
		if (names[i] != NULL)
			continue;
		req_error(req, 400, "bad_json", "%.64s: unknown", name);
		return -1;
	}
	return 0;
}

/* 0 and the key's role and name; -1: answered. */
static int
take_words(struct req *req, json_t *body, struct key_new *new)
{
	const char *role = NULL, *why;

	new->name = "";
	if (req_member_string(req, body, "role", &role) == -1 ||
	    req_member_string(req, body, "name", &new->name) == -1)
		return -1;
	if (role == NULL || (new->role = (uint8_t)key_role_parse(role)) == 0) {
		req_error(req, 400, "bad_role",
		    "role: not read, write or admin");
		return -1;
	}
	if (new->name[0] != '\0' &&
	    (why = db_name_problem(new->name)) != NULL) {
		req_error(req, 400, "bad_name", "name: %s", why);
		return -1;
	}
	return 0;
}

/* Seconds from now; -1: answered. */
static int
take_life(struct req *req, json_t *body, struct key_new *new)
{
	json_t *j = json_object_get(body, "life");
	json_int_t s = json_integer_value(j);

	if (j == NULL || json_is_null(j))
		return 0;
	if (!json_is_integer(j) || s < 1 || s > LIFE_MAX_S) {
		req_error(req, 400, "bad_life", "life: not 1 to %lld seconds",
		    (long long)LIFE_MAX_S);
		return -1;
	}
	new->expires = db_now() + s * 1000000000;
	return 0;
}

/* The directory, if there is one in the body: it must be there, for nobody makes
   it with such a key; -1: answered. */
static int
take_path(struct req *req, json_t *j, const struct db_volume *v,
    struct db_grant *g)
{
	const char *why = NULL;
	json_t *value = json_object_get(j, "path");
	char *path;
	int r = -1;

	/* An empty one would be all of the volume, and is somebody's mistake. */
	if (value == NULL)
		return 0;
	if ((path = json_name_get(value, &g->len)) == NULL || g->len == 0 ||
	    (why = path_problem(path, g->len)) != NULL)
		req_error(req, 400, "bad_json", "path: %s",
		    why != NULL ? why : "not one");
	else {
		memcpy(g->path, path, g->len);
		r = view_has_dir(meta_db(), v, g->path, g->len);
		if (r == -1)
			req_errno(req, "path");
		else if (r == 0)
			req_error(req, 404, "path_not_found",
			    "volume %s has no such directory", v->name);
		r = r == 1 ? 0 : -1;
	}
	free(path);
	return r;
}

/* A volume by name or id; -1: answered. */
static int
take_volume(struct req *req, const char *name, struct db_volume *v)
{
	int r = db_volume_find(meta_db(), req->key.org.id, name, v);

	if (r == -1)
		req_errno(req, "volume");
	else if (r == 0)
		req_error(req, 404, "volume_not_found", "no volume %s", name);
	return r == 1 ? 0 : -1;
}

static int
take_grant(struct req *req, json_t *j, struct db_grant *g)
{
	static const char *const members[] = { "volume", "path", NULL };
	const char *name = NULL;
	struct db_volume v;

	if (!json_is_object(j)) {
		req_error(req, 400, "bad_json", "volumes: not objects");
		return -1;
	}
	if (only_members(req, j, members) == -1)
		return -1;
	if (req_member_string(req, j, "volume", &name) == -1)
		return -1;
	if (name == NULL) {
		req_error(req, 400, "bad_json", "volume: missing");
		return -1;
	}
	if (take_volume(req, name, &v) == -1)
		return -1;
	g->volume = v.id;
	return take_path(req, j, &v, g);
}

/* The volumes, for free(3); -1: answered. */
static int
take_grants(struct req *req, json_t *body, struct key_new *new,
    struct db_grant **list)
{
	json_t *j = json_object_get(body, "volumes");
	size_t i, k, n = json_array_size(j);

	*list = NULL;
	if (j == NULL || json_is_null(j))
		return 0;
	if (n < 1 || n > KEY_GRANTS_MAX) {
		req_error(req, 400, "bad_json",
		    "volumes: not an array of 1 to %d", KEY_GRANTS_MAX);
		return -1;
	}
	if ((*list = calloc(n, sizeof(**list))) == NULL) {
		req_errno(req, "key");
		return -1;
	}
	for (i = 0; i < n; i++) {
		if (take_grant(req, json_array_get(j, i), &(*list)[i]) == -1)
			return -1;
		if ((*list)[i].len > 0 && new->role == KEY_ADMIN) {
			req_error(req, 400, "bad_role",
			    "role: a key of a path is read or write");
			return -1;
		}
		for (k = 0; k < i; k++) {
			if ((*list)[k].volume != (*list)[i].volume)
				continue;
			req_error(req, 400, "bad_json",
			    "volumes: one stands there twice");
			return -1;
		}
	}
	new->grants = *list;
	new->ngrants = n;
	return 0;
}

static void
key_mint(struct req *req, const struct key_new *new)
{
	char secret[DB_SECRET_LEN + 1], id[2 * DB_PUBLIC_LEN + 1];
	struct db_key key;
	json_t *j;

	if (db_key_mint(meta_db(), new, secret, &key) == -1 ||
	    (j = key_json(&key)) == NULL) {
		req_errno(req, "key");
		return;
	}
	hex_encode(key.public, DB_PUBLIC_LEN, id);
	req_audit(req, "key-create id=key_%s role=%s%s", id,
	    key_role_name(key.role), key.limited ? " limited" : "");
	json_object_set_new(j, "key", json_string(secret));
	explicit_bzero(secret, sizeof(secret));
	req_json_secret(req, 201, j, "key");
}

void
meta_key_create(struct req *req)
{
	static const char *const members[] = { "role", "name", "life",
		"volumes", NULL };
	struct key_new new = { .org = req->key.org.id };
	struct db_grant *grants = NULL;
	json_t *body;

	if ((body = req_body_json(req)) == NULL)
		return;
	if (only_members(req, body, members) == 0 &&
	    take_words(req, body, &new) == 0 &&
	    take_life(req, body, &new) == 0 &&
	    take_grants(req, body, &new, &grants) == 0 && req_write(req) == 0)
		key_mint(req, &new);
	free(grants);
	json_decref(body);
}

void
meta_key_revoke(struct req *req)
{
	char id[2 * DB_PUBLIC_LEN + 1];
	uint8_t public[DB_PUBLIC_LEN];
	struct db_key key;
	int r = 0;

	/* Before it is looked at, for another server may do the same. */
	if (req_write(req) == -1)
		return;
	if (hex_id("key_", req->args[0], public, sizeof(public)) == 0)
		r = db_key_by_public(meta_db(), req->key.org.id, public, &key);
	if (r == 0)
		req_error(req, 404, "key_not_found", "no such key");
	else if (r == -1)
		req_errno(req, "key");
	else if (key.revoked != 0)
		req_none(req, 204); /* since then, and no change */
	else if (db_key_revoked(meta_db(), key.id, db_now()) == -1)
		req_errno(req, "key");
	else {
		hex_encode(public, sizeof(public), id);
		req_audit(req, "key-revoke id=key_%s", id);
		req_none(req, 204);
	}
}
