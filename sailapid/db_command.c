/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * db_command: what sailapid(8) does on its command line with orgs and keys.
 * In a short-lived child of the parent that has become the user of meta.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/log.h"
#include "sailapid/db.h"
#include "sailapid/hex.h"

static struct db *
command_open(const char *dir, int create)
{
	char path[PATH_MAX];
	struct db *db;
	mode_t mask;

	if (snprintf(path, sizeof(path), "%s/%s", dir, DB_FILE) >=
	    (int)sizeof(path)) {
		log_warnx("%s: too long", dir);
		return NULL;
	}
	mask = umask(077);
	db = db_open(path, create);
	umask(mask);
	if (db == NULL)
		log_warnx("%s: cannot be opened", path);
	return db;
}

static int
command_org(struct db *db, const char *name, struct db_org *org)
{
	int r = db_org_by_name(db, name, org);

	if (r == 0)
		log_warnx("there is no org %s", name);
	return r == 1 ? 0 : -1;
}

static int
command_mint(struct db *db, int64_t org, const char *name, uint8_t role)
{
	char secret[DB_SECRET_LEN + 1];
	struct db_key key;

	if (db_key_mint(db, org, name, role, secret, &key) == -1 ||
	    db_end(db) == -1) {
		log_warn("the key was not made");
		return -1;
	}
	printf("%s\n", secret);
	explicit_bzero(secret, sizeof(secret));
	return fflush(stdout) == 0 ? 0 : -1;
}

int
db_init_org(const char *dir, const char *name)
{
	uint8_t public[DB_PUBLIC_LEN];
	struct db *db;
	const char *why;
	int64_t id;
	int r = -1;

	if ((why = db_name_problem(name)) != NULL) {
		log_warnx("org: %s", why);
		return -1;
	}
	if ((db = command_open(dir, 1)) == NULL)
		return -1;
	db_random_public(public);
	if (db_begin(db) == -1)
		log_warn("org %s", name);
	else if (db_org_add(db, public, name, db_now(), &id) == -1) {
		if (errno == EEXIST)
			log_warnx("there is an org %s already", name);
		else
			log_warn("org %s", name);
	} else
		r = command_mint(db, id, "admin", KEY_ADMIN);
	db_abort(db);
	db_close(db);
	return r;
}

int
db_key_create(const char *dir, const char *orgname, const char *role,
    const char *name)
{
	struct db_org org;
	struct db *db;
	const char *why;
	int n, r = -1;

	if ((n = key_role_parse(role)) == 0) {
		log_warnx("role %s: not read, write or admin", role);
		return -1;
	}
	if (name[0] != '\0' && (why = db_name_problem(name)) != NULL) {
		log_warnx("name of the key: %s", why);
		return -1;
	}
	if ((db = command_open(dir, 0)) == NULL)
		return -1;
	if (command_org(db, orgname, &org) == 0) {
		if (db_begin(db) == -1)
			log_warn("org %s", orgname);
		else
			r = command_mint(db, org.id, name, (uint8_t)n);
	}
	db_abort(db);
	db_close(db);
	return r;
}

static void
print_time(int64_t ns, char *out, size_t size)
{
	time_t t = (time_t)(ns / 1000000000);
	struct tm tm;

	if (ns == 0 || gmtime_r(&t, &tm) == NULL ||
	    strftime(out, size, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
		strlcpy(out, "-", size);
}

static int
key_print(void *arg, const struct db_key *key)
{
	char id[2 * DB_PUBLIC_LEN + 1], created[32], revoked[32];

	(void)arg;
	hex_encode(key->public, DB_PUBLIC_LEN, id);
	print_time(key->created, created, sizeof(created));
	print_time(key->revoked, revoked, sizeof(revoked));
	printf("key_%s %s %s %s %s\n", id, key_role_name(key->role), created,
	    revoked, key->name);
	return 0;
}

int
db_key_list(const char *dir, const char *orgname)
{
	struct db_org org;
	struct db *db;
	int r = -1;

	if ((db = command_open(dir, 0)) == NULL)
		return -1;
	if (command_org(db, orgname, &org) == 0)
		r = db_key_each(db, org.id, key_print, NULL);
	db_close(db);
	return fflush(stdout) == 0 ? r : -1;
}

int
db_key_revoke(const char *dir, const char *orgname, const char *id)
{
	uint8_t public[DB_PUBLIC_LEN];
	struct db_key key;
	struct db_org org;
	struct db *db;
	int r = -1;

	if (hex_id("key_", id, public, sizeof(public)) == -1) {
		log_warnx("%s: not the id of a key", id);
		return -1;
	}
	if ((db = command_open(dir, 0)) == NULL)
		return -1;
	if (command_org(db, orgname, &org) == -1)
		;
	else if ((r = db_key_by_public(db, org.id, public, &key)) != 1) {
		log_warnx("%s: org %s has no such key", id, orgname);
		r = -1;
	} else if ((r = db_begin(db)) == 0 &&
	    (r = db_key_revoked(db, key.id, db_now())) == 0)
		r = db_end(db);
	db_abort(db);
	db_close(db);
	return r;
}
