/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * db_keys: orgs and their API keys.  Of a key only the hash of its secret is
 * kept.  In meta and in commands of the parent.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "sailapid/db_sql.h"

static const char *const role_names[] = { NULL, "read", "write", "admin" };

const char *
key_role_name(uint8_t role)
{
	return role >= KEY_READ && role <= KEY_ADMIN ? role_names[role] : "?";
}

int
key_role_parse(const char *name)
{
	int i;

	for (i = KEY_READ; i <= KEY_ADMIN; i++) {
		if (strcmp(name, role_names[i]) == 0)
			return i;
	}
	return 0;
}

const char *
db_name_problem(const char *name)
{
	const unsigned char *p;
	size_t len = strlen(name);

	if (len == 0)
		return "empty";
	if (len > DB_NAME_MAX)
		return "longer than 128 bytes";
	if (!utf8_valid(name, len))
		return "not valid UTF-8";
	for (p = (const unsigned char *)name; *p != '\0'; p++) {
		if (*p < 0x20 || *p == 0x7f)
			return "has a control character";
	}
	return NULL;
}

void
db_random_public(uint8_t public[DB_PUBLIC_LEN])
{
	arc4random_buf(public, DB_PUBLIC_LEN);
}

int
db_org_add(struct db *db, const uint8_t public[DB_PUBLIC_LEN], const char *name,
    int64_t now, int64_t *id)
{
	if (db_exec(db, ST_ORG_ADD, "bti", public, (size_t)DB_PUBLIC_LEN, name,
		now) == -1)
		return -1;
	*id = sqlite3_last_insert_rowid(db->h);
	return 0;
}

int
db_org_by_name(struct db *db, const char *name, struct db_org *org)
{
	sqlite3_stmt *st = db_query(db, ST_ORG_BY_NAME, "t", name);
	int r = db_next(db, st);

	if (r != 1)
		return r;
	org->id = sqlite3_column_int64(st, 0);
	if (db_col_bytes(st, 1, org->public, DB_PUBLIC_LEN) == -1 ||
	    db_col_text(st, 2, org->name, sizeof(org->name)) == -1)
		r = -1;
	db_done(st);
	return r;
}

static int
key_row(sqlite3_stmt *st, struct db_key *key)
{
	memset(key, 0, sizeof(*key));
	key->id = sqlite3_column_int64(st, 0);
	if (db_col_bytes(st, 1, key->public, DB_PUBLIC_LEN) == -1 ||
	    db_col_text(st, 2, key->name, sizeof(key->name)) == -1 ||
	    db_col_bytes(st, 9, key->org.public, DB_PUBLIC_LEN) == -1 ||
	    db_col_text(st, 10, key->org.name, sizeof(key->org.name)) == -1)
		return -1;
	key->role = (uint8_t)sqlite3_column_int(st, 3);
	key->created = sqlite3_column_int64(st, 4);
	key->revoked = sqlite3_column_int64(st, 5);
	key->expires = sqlite3_column_int64(st, 6);
	key->limited = sqlite3_column_int(st, 7);
	key->org.id = sqlite3_column_int64(st, 8);
	return 1;
}

static int
key_one(struct db *db, sqlite3_stmt *st, struct db_key *key)
{
	int r = db_next(db, st);

	if (r == 1) {
		r = key_row(st, key);
		db_done(st);
	}
	return r;
}

int
db_key_by_hash(struct db *db, const struct hash *hash, struct db_key *key)
{
	return key_one(db, db_query(db, ST_KEY_BY_HASH, "h", hash), key);
}

int
db_key_by_id(struct db *db, int64_t id, struct db_key *key)
{
	return key_one(db, db_query(db, ST_KEY_BY_ID, "i", id), key);
}

int
db_key_by_public(struct db *db, int64_t org,
    const uint8_t public[DB_PUBLIC_LEN], struct db_key *key)
{
	return key_one(db,
	    db_query(db, ST_KEY_BY_PUBLIC, "ib", org, public,
		(size_t)DB_PUBLIC_LEN),
	    key);
}

int
db_key_each(struct db *db, int64_t org, int (*f)(void *, const struct db_key *),
    void *arg)
{
	struct db_key key;
	sqlite3_stmt *st = db_query(db, ST_KEY_EACH, "i", org);
	int r;

	while ((r = db_next(db, st)) == 1) {
		if (key_row(st, &key) == -1 || f(arg, &key) == -1) {
			db_done(st);
			return -1;
		}
	}
	return r;
}

int
db_key_revoked(struct db *db, int64_t id, int64_t now)
{
	return db_exec(db, ST_KEY_REVOKED, "ii", now, id);
}

const char *
db_key_problem(const struct db_key *key, int64_t now)
{
	if (key->revoked != 0)
		return "was revoked";
	if (key->expires != 0 && key->expires <= now)
		return "has expired";
	return NULL;
}

/* ---- what a limited key may see ------------------------------------------ */

static int
grant_row(sqlite3_stmt *st, struct db_grant *g)
{
	size_t len = (size_t)sqlite3_column_bytes(st, 3);

	memset(g, 0, sizeof(*g));
	g->volume = sqlite3_column_int64(st, 0);
	g->annex.id = sqlite3_column_int64(st, 4);
	if (len > sizeof(g->path)) {
		errno = EIO;
		return -1;
	}
	g->len = len;
	if (db_col_bytes(st, 1, g->volume_public, DB_ID_LEN) == -1 ||
	    db_col_text(st, 2, g->volume_name, sizeof(g->volume_name)) == -1 ||
	    (len > 0 && db_col_bytes(st, 3, g->path, len) == -1) ||
	    db_col_bytes(st, 5, g->annex.public, DB_ID_LEN) == -1)
		return -1;
	return 1;
}

int
db_grant_find(struct db *db, int64_t key, int64_t volume, struct db_grant *g)
{
	sqlite3_stmt *st = db_query(db, ST_GRANT_FIND, "ii", key, volume);
	int r = db_next(db, st);

	if (r == 1) {
		r = grant_row(st, g);
		db_done(st);
	}
	return r;
}

int
db_grant_each(struct db *db, int64_t key,
    int (*f)(void *, const struct db_grant *), void *arg)
{
	sqlite3_stmt *st = db_query(db, ST_GRANT_EACH, "i", key);
	struct db_grant g;
	int r;

	while ((r = db_next(db, st)) == 1) {
		if (grant_row(st, &g) == -1 || f(arg, &g) == -1) {
			db_done(st);
			return -1;
		}
	}
	return r;
}

static int
grant_add(struct db *db, int64_t key, const struct db_grant *g)
{
	uint8_t public[DB_ID_LEN], salt[TREE_SALT_LEN];
	int64_t annex;

	arc4random_buf(public, sizeof(public));
	arc4random_buf(salt, sizeof(salt));
	if (db_family_add(db, public, salt, &annex) == -1)
		return -1;
	return db_exec(db, ST_GRANT_ADD, "iibi", key, g->volume, g->path,
	    g->len, annex);
}

/* ---- a new key ----------------------------------------------------------- */

/* EINVAL: its name is too long. */
static int
key_add(struct db *db, const struct key_new *n, const struct hash *hash,
    struct db_key *key)
{
	size_t i;

	memset(key, 0, sizeof(*key));
	db_random_public(key->public);
	key->org.id = n->org;
	key->role = n->role;
	key->created = db_now();
	key->expires = n->expires;
	key->limited = n->ngrants > 0;
	if (strlcpy(key->name, n->name, sizeof(key->name)) >=
	    sizeof(key->name)) {
		errno = EINVAL;
		return -1;
	}
	if (db_exec(db, ST_KEY_ADD, "ibhtiiii", n->org, key->public,
		(size_t)DB_PUBLIC_LEN, hash, key->name, (int64_t)key->role,
		key->created, key->expires, (int64_t)key->limited) == -1)
		return -1;
	key->id = sqlite3_last_insert_rowid(db->h);
	for (i = 0; i < n->ngrants; i++) {
		if (grant_add(db, key->id, &n->grants[i]) == -1)
			return -1;
	}
	return 0;
}

int
db_key_mint(struct db *db, const struct key_new *n,
    char secret[DB_SECRET_LEN + 1], struct db_key *key)
{
	struct hash raw, hash;
	int r;

	arc4random_buf(raw.b, sizeof(raw.b));
	memcpy(secret, "sk_", 3);
	hash_hex(&raw, secret + 3);
	explicit_bzero(&raw, sizeof(raw));
	hash_bytes(&hash, secret, DB_SECRET_LEN);
	r = key_add(db, n, &hash, key);
	if (r == -1)
		explicit_bzero(secret, DB_SECRET_LEN + 1);
	return r;
}
