/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * Two servers have one database: what the other one changes after a request has
 * looked at its volume or key, and before it may write, is seen; nothing is
 * changed twice, and nothing that is not there any more.
 */
#include <fcntl.h>

#include "meta_harness.h"
#include "sailapid/db_sql.h"

/* The other server has changed something, and not yet ended that. */
static sqlite3 *other;
static int waited;

/* Meta waits for it. */
static int
other_ends(void *arg, int tries)
{
	(void)arg;
	(void)tries;
	waited++;
	return sqlite3_exec(other, "COMMIT", NULL, NULL, NULL) == SQLITE_OK;
}

/* From the next write of meta's on what is said there is done. */
static void
other_begins(const char *what)
{
	waited = 0;
	assert_int_equal(sqlite3_open(h.path, &other), SQLITE_OK);
	assert_int_equal(sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL,
			     NULL),
	    SQLITE_OK);
	assert_int_equal(sqlite3_exec(other, what, NULL, NULL, NULL),
	    SQLITE_OK);
	assert_int_equal(sqlite3_changes(other), 1);
	sqlite3_busy_handler(h.db->h, other_ends, NULL);
}

/* Such an answer, after that was done. */
static void
overtaken(const char *what, uint8_t method, const char *target,
    const char *body, uint16_t status, const char *code)
{
	other_begins(what);
	expect(method, target, h.admin, body, status, code);
	assert_int_equal(waited, 1);
	sqlite3_close(other);
}

#define VOLUME(name) "UPDATE volume SET " name " WHERE id = 1"
#define GONE VOLUME("deleted = strftime('%s') * 1000000000")

static void
id_of(const char *name, char *out, size_t size)
{
	struct got g;
	char target[128];

	snprintf(target, sizeof(target), "/v1/volumes/%s", name);
	call(&g, API_GET, target, h.admin, NULL, 0);
	assert_int_equal(g.status, 200);
	strlcpy(out, member(g.json, "id"), size);
	got_clear(&g);
}

static void
test_volume(void **state)
{
	char id[64], back[128];
	struct hash head;

	(void)state;
	make_volume("v", &head);
	id_of("v", id, sizeof(id));
	snprintf(back, sizeof(back), "/v1/volumes/%s/restore", id);
	overtaken(GONE, API_DELETE, "/v1/volumes/v", NULL, 204, "");
	overtaken(VOLUME("deleted = NULL, name = 'y'"), API_POST, back,
	    "{\"name\":\"x\"}", 404, "volume_not_found");
	expect(API_GET, "/v1/volumes/x", h.admin, NULL, 404,
	    "volume_not_found");
	overtaken(VOLUME("name = 'z'"), API_DELETE, "/v1/volumes/y", NULL, 404,
	    "volume_not_found");
	overtaken(VOLUME("name = 'y'"), API_POST, "/v1/volumes/z/rename",
	    "{\"name\":\"x\"}", 404, "volume_not_found");
	overtaken(GONE, API_POST, "/v1/volumes/y/rename", "{\"name\":\"x\"}",
	    404, "volume_not_found");
	overtaken(VOLUME("name = 'x'"), API_POST, back, NULL, 200, "");
	expect(API_GET, "/v1/volumes/x", h.admin, NULL, 200, "");
	overtaken(GONE, API_POST, "/v1/volumes/x/fork", "{\"name\":\"f\"}", 404,
	    "volume_not_found");
	expect(API_GET, "/v1/volumes/f", h.admin, NULL, 404,
	    "volume_not_found");
}

/* Its name is another volume's meanwhile. */
static void
test_volume_swapped(void **state)
{
	struct hash head;

	(void)state;
	make_volume("v", &head);
	make_volume("w", &head);
	other_begins(VOLUME("name = 'x'"));
	assert_int_equal(sqlite3_exec(other,
			     "UPDATE volume SET name = 'v' WHERE id = 2", NULL,
			     NULL, NULL),
	    SQLITE_OK);
	expect(API_DELETE, "/v1/volumes/v", h.admin, NULL, 404,
	    "volume_not_found");
	assert_int_equal(waited, 1);
	sqlite3_close(other);
	expect(API_GET, "/v1/volumes/v", h.admin, NULL, 200, "");
	expect(API_GET, "/v1/volumes/x", h.admin, NULL, 200, "");
}

/* What the log says: how often that word. */
static int
logged(int fd, const char *word)
{
	static char text[65536];
	const char *p;
	ssize_t len;
	int n = 0;

	len = pread(fd, text, sizeof(text) - 1, 0);
	assert_true(len >= 0);
	text[len] = '\0';
	for (p = text; (p = strstr(p, word)) != NULL; p++)
		n++;
	return n;
}

/* A key is revoked once, however many say so, and one line says it. */
static void
test_key(void **state)
{
	char target[64], path[64];
	struct db_key k;
	struct hash hash;
	int fd, was;

	(void)state;
	hash_bytes(&hash, h.read, DB_SECRET_LEN);
	assert_int_equal(db_key_by_hash(h.db, &hash, &k), 1);
	strlcpy(target, "/v1/keys/key_", sizeof(target));
	hex_encode(k.public, DB_PUBLIC_LEN, target + strlen(target));
	snprintf(path, sizeof(path), "%s/log", h.dir);
	fd =
	    open(path, O_RDWR | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
	assert_true(fd != -1 && unlink(path) == 0);
	was = dup(STDERR_FILENO);
	assert_int_equal(dup2(fd, STDERR_FILENO), STDERR_FILENO);
	overtaken("UPDATE key SET revoked = 5 WHERE name = 'look'", API_DELETE,
	    target, NULL, 204, "");
	assert_int_equal(logged(fd, "key-revoke"), 0);
	other_server("UPDATE key SET revoked = NULL WHERE name = 'look'");
	expect(API_DELETE, target, h.admin, NULL, 204, "");
	expect(API_DELETE, target, h.admin, NULL, 204, "");
	assert_int_equal(logged(fd, "key-revoke"), 1);
	assert_int_equal(dup2(was, STDERR_FILENO), STDERR_FILENO);
	close(was);
	close(fd);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { T(test_volume),
		T(test_volume_swapped), T(test_key) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
