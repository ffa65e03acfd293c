/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * meta_keys: the routes about API keys.  In meta.
 */
#include <string.h>

#include "sailapid/hex.h"
#include "sailapid/meta.h"

void
meta_whoami(struct req *req)
{
	const struct db_key *k = &req->key;

	req_json(req, 200,
	    json_pack("{s:{s:o, s:s}, s:{s:o, s:s, s:s}}", "org", "id",
		json_id("org_", k->org.public, DB_PUBLIC_LEN), "name",
		k->org.name, "key", "id",
		json_id("key_", k->public, DB_PUBLIC_LEN), "name", k->name,
		"role", key_role_name(k->role)));
}

static json_t *
key_json(const struct db_key *k)
{
	return json_pack("{s:o, s:s, s:s, s:o}", "id",
	    json_id("key_", k->public, DB_PUBLIC_LEN), "name", k->name, "role",
	    key_role_name(k->role), "created", json_time(k->created));
}

static int
key_append(void *arg, const struct db_key *k)
{
	json_t *j = key_json(k);

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

void
meta_key_create(struct req *req)
{
	char secret[DB_SECRET_LEN + 1];
	const char *role_text = NULL, *name = "", *why = NULL;
	struct db_key key;
	json_t *body, *j;
	int role;

	if ((body = req_body_json(req)) == NULL)
		return;
	if (req_member_string(req, body, "role", &role_text) == -1 ||
	    req_member_string(req, body, "name", &name) == -1)
		goto out;
	if (role_text == NULL || (role = key_role_parse(role_text)) == 0) {
		req_error(req, 400, "bad_role",
		    "role: not read, write or admin");
		goto out;
	}
	if (name[0] != '\0' && (why = db_name_problem(name)) != NULL) {
		req_error(req, 400, "bad_name", "name: %s", why);
		goto out;
	}
	if (req_write(req) == -1)
		goto out;
	if (db_key_mint(meta_db(), req->key.org.id, name, (uint8_t)role, secret,
		&key) == -1) {
		req_errno(req, "key");
		goto out;
	}
	j = key_json(&key);
	json_object_set_new(j, "key", json_string(secret));
	explicit_bzero(secret, sizeof(secret));
	req_json(req, 201, j);
out:
	json_decref(body);
}

void
meta_key_revoke(struct req *req)
{
	uint8_t public[DB_PUBLIC_LEN];
	struct db_key key;
	int r = 0;

	if (hex_id("key_", req->args[0], public, sizeof(public)) == 0)
		r = db_key_by_public(meta_db(), req->key.org.id, public, &key);
	if (r == 0)
		req_error(req, 404, "key_not_found", "no such key");
	else if (r == -1)
		req_errno(req, "key");
	else if (req_write(req) == -1)
		return;
	else if (db_key_revoked(meta_db(), key.id, db_now()) == -1)
		req_errno(req, "key");
	else
		req_none(req, 204);
}
