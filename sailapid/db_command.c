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
#include <syslog.h>
#include <vis.h>

#include "lib/log.h"
#include "sailapid/hex.h"
#include "sailapid/view.h"

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

/* As meta's lines, of a change that a shell has made: sailapid(8). */
static void
command_audit(const char *org, const char *what, const struct db_key *key)
{
	char id[2 * DB_PUBLIC_LEN + 1];

	hex_encode(key->public, DB_PUBLIC_LEN, id);
	syslog(LOG_INFO,
	    "audit: key=- org=%s peer=shell %s id=key_%s role=%s%s", org, what,
	    id, key_role_name(key->role), key->limited ? " limited" : "");
}

static int
command_mint(struct db *db, const struct key_new *n, const char *org)
{
	char secret[DB_SECRET_LEN + 1];
	struct db_key key;

	if (db_key_mint(db, n, secret, &key) == -1 || db_end(db) == -1) {
		log_warn("the key was not made");
		return -1;
	}
	command_audit(org, "key-create", &key);
	printf("%s\n", secret);
	explicit_bzero(secret, sizeof(secret));
	return fflush(stdout) == 0 ? 0 : -1;
}

int
db_init_org(const char *dir, const char *name)
{
	struct key_new first = { .name = "admin", .role = KEY_ADMIN };
	uint8_t public[DB_PUBLIC_LEN];
	struct db *db;
	const char *why;
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
	else if (db_org_add(db, public, name, db_now(), &first.org) == -1) {
		if (errno == EEXIST)
			log_warnx("there is an org %s already", name);
		else
			log_warn("org %s", name);
	} else
		r = command_mint(db, &first, name);
	db_abort(db);
	db_close(db);
	return r;
}

static int
take_path(const char *text, const char *path, struct db_grant *g)
{
	const char *p = path + strspn(path, "/"), *why;
	size_t len = strlen(p);

	while (len > 0 && p[len - 1] == '/')
		len--;
	why = *path == '/' ? path_problem(p, len) : "a path begins with /";
	if (why != NULL) {
		log_warnx("%s: %s", text, why);
		return -1;
	}
	memcpy(g->path, p, len);
	g->len = len;
	return 0;
}

/* VOLUME[:/PATH] of an org. */
static int
command_grant(struct db *db, int64_t org, const char *text, struct db_grant *g)
{
	char name[SAIL_VOLUME_NAME_MAX + 1];
	const char *colon = strchr(text, ':');
	size_t len = colon == NULL ? strlen(text) : (size_t)(colon - text);
	struct db_volume v = { .id = 0 };
	int r = 0;

	memset(g, 0, sizeof(*g));
	if (colon != NULL && take_path(text, colon + 1, g) == -1)
		return -1;
	if (len < sizeof(name)) {
		memcpy(name, text, len);
		name[len] = '\0';
		r = db_volume_find(db, org, name, &v);
	}
	if (r == 0)
		log_warnx("there is no volume %.*s", (int)len, text);
	g->volume = v.id;
	if (r == 1 && (r = view_has_dir(db, &v, g->path, g->len)) == 0)
		log_warnx("%s: there is no such directory", text);
	return r == 1 ? 0 : -1;
}

/* With its transaction. */
static int
command_create(struct db *db, struct key_new *new, char *const *grants,
    size_t n, const char *org)
{
	struct db_grant *list;
	size_t i, k;
	int r = 0;

	if ((list = calloc(n + 1, sizeof(*list))) == NULL ||
	    db_begin(db) == -1) {
		log_warn("the key was not made");
		free(list);
		return -1;
	}
	for (i = 0; i < n && r == 0; i++) {
		r = command_grant(db, new->org, grants[i], &list[i]);
		if (r == 0 && list[i].len > 0 && new->role == KEY_ADMIN) {
			log_warnx("a key of a path is read or write");
			r = -1;
		}
		for (k = 0; k < i && r == 0; k++) {
			if (list[k].volume != list[i].volume)
				continue;
			log_warnx("%s: the volume stands there twice",
			    grants[i]);
			r = -1;
		}
	}
	new->grants = list;
	new->ngrants = n;
	if (r == 0)
		r = command_mint(db, new, org);
	free(list);
	return r;
}

int
db_key_create(const char *dir, const char *orgname, const char *role,
    const char *name, int64_t life_s, char *const *grants, size_t n)
{
	struct key_new new = { .name = name };
	struct db_org org;
	struct db *db;
	const char *why;
	int r = -1;

	if ((new.role = (uint8_t)key_role_parse(role)) == 0) {
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
		new.org = org.id;
		if (life_s != 0)
			new.expires = db_now() + life_s * 1000000000;
		r = command_create(db, &new, grants, n, orgname);
	}
	db_abort(db);
	db_close(db);
	return r;
}

int
db_store_accept(const char *dir)
{
	struct db *db;
	int r;

	if ((db = command_open(dir, 0)) == NULL)
		return -1;
	if ((r = db_begin(db)) == -1 ||
	    (r = db_store_mark(db, STORE_ACCEPTED)) == -1 ||
	    (r = db_end(db)) == -1)
		log_warn("store accept");
	else
		syslog(LOG_INFO, "audit: key=- org=- peer=shell store-accept");
	db_abort(db);
	db_close(db);
	return r;
}

int
db_store_survey(const char *dir)
{
	struct db *db;
	int r;

	if ((db = command_open(dir, 0)) == NULL)
		return -1;
	if ((r = db_begin(db)) == -1 || (r = db_survey_ask(db)) == -1 ||
	    (r = db_end(db)) == -1)
		log_warn("store survey");
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

/* Behind the name, which may have blanks: a tab each. */
static int
grant_print(void *arg, const struct db_grant *g)
{
	char path[4 * SAIL_PATH_MAX + 1];

	(void)arg;
	printf("\t%s", g->volume_name);
	if (g->len > 0) {
		strvisx(path, (const char *)g->path, g->len,
		    VIS_CSTYLE | VIS_NL | VIS_TAB);
		printf(":/%s", path);
	}
	return 0;
}

static int
key_print(void *arg, const struct db_key *key)
{
	char id[2 * DB_PUBLIC_LEN + 1], created[32], revoked[32], expires[32];
	char name[4 * DB_NAME_MAX + 1];
	int r = 0;

	hex_encode(key->public, DB_PUBLIC_LEN, id);
	print_time(key->created, created, sizeof(created));
	print_time(key->revoked, revoked, sizeof(revoked));
	print_time(key->expires, expires, sizeof(expires));
	/* There is no locale: of UTF-8 nothing goes to a terminal as it is. */
	strvis(name, key->name, VIS_CSTYLE | VIS_NL | VIS_TAB);
	printf("key_%s %s %s %s %s %s", id, key_role_name(key->role), created,
	    revoked, expires, name);
	if (key->limited)
		r = db_grant_each(arg, key->id, grant_print, NULL);
	putchar('\n');
	return r;
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
		r = db_key_each(db, org.id, key_print, db);
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
	/* Before it is looked at, for a server may do the same. */
	if (command_org(db, orgname, &org) == -1)
		;
	else if (db_begin(db) == -1)
		log_warn("the key was not revoked");
	else if ((r = db_key_by_public(db, org.id, public, &key)) != 1) {
		log_warnx("%s: org %s has no such key", id, orgname);
		r = -1;
	} else if (key.revoked != 0)
		r = 0; /* since then, and no change */
	else if ((r = db_key_revoked(db, key.id, db_now())) == -1 ||
	    (r = db_end(db)) == -1)
		log_warn("the key was not revoked");
	else
		command_audit(orgname, "key-revoke", &key);
	db_abort(db);
	db_close(db);
	return r;
}
