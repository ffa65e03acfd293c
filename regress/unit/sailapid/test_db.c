/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * The database keeps what was committed and nothing that was undone, refuses a
 * file that is not its own or is newer, tells keys, volumes, chunks, sessions
 * and leases apart by their owners, and never keeps the secret of a key.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include <sqlite3.h>

#include "lib/log.h"
#include "sailapid/db.h"
#include "sailapid/hex.h"

static char dir[] = "/tmp/test_db.XXXXXX";
static char path[64];
static struct db *db;

static void
fill(void *p, size_t len, uint8_t with)
{
	memset(p, with, len);
}

static int
setup(void **state)
{
	(void)state;
	log_init("test_db", 1, 0);
	strlcpy(dir + sizeof(dir) - 7, "XXXXXX", 7);
	if (mkdtemp(dir) == NULL)
		return -1;
	snprintf(path, sizeof(path), "%s/%s", dir, DB_FILE);
	return (db = db_open(path, 1)) == NULL ? -1 : 0;
}

static int
teardown(void **state)
{
	static const char *const ends[] = { "", "-wal", "-shm" };
	char name[96];
	size_t i;

	(void)state;
	db_close(db);
	for (i = 0; i < 3; i++) {
		snprintf(name, sizeof(name), "%s%s", path, ends[i]);
		unlink(name);
	}
	return rmdir(dir);
}

static int64_t
org(const char *name)
{
	uint8_t public[DB_PUBLIC_LEN];
	int64_t id;

	db_random_public(public);
	assert_int_equal(db_org_add(db, public, name, 1, &id), 0);
	return id;
}

static void
sql(const char *text)
{
	sqlite3 *h;

	assert_int_equal(sqlite3_open(path, &h), SQLITE_OK);
	assert_int_equal(sqlite3_exec(h, text, NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(h);
}

static void
test_open(void **state)
{
	struct db_org o;

	(void)state;
	org("a");
	db_close(db);
	db = db_open(path, 0);
	assert_non_null(db);
	assert_int_equal(db_org_by_name(db, "a", &o), 1);
	assert_string_equal(o.name, "a");
	db_close(db);

	sql("PRAGMA user_version=99");
	db = db_open(path, 1);
	assert_null(db);
	assert_int_equal(errno, EINVAL);
	sql("PRAGMA user_version=1; PRAGMA application_id=7");
	assert_null(db_open(path, 1));
	assert_int_equal(errno, EINVAL);
	unlink(path);
	assert_null(db_open(path, 0));
	sql("CREATE TABLE mine(x)");
	assert_null(db_open(path, 1));
	assert_int_equal(errno, EINVAL);
}

static void
test_transactions(void **state)
{
	struct db_org o;

	(void)state;
	assert_int_equal(db_end(db), 0);
	assert_int_equal(db_save(db), -1);
	assert_int_equal(db_begin(db), 0);
	assert_int_equal(db_begin(db), 0);
	assert_true(db_writing(db));
	org("kept");
	assert_int_equal(db_save(db), 0);
	org("undone");
	assert_int_equal(db_undo(db), 0);
	assert_int_equal(db_save(db), 0);
	org("also");
	assert_int_equal(db_keep(db), 0);
	assert_int_equal(db_end(db), 0);
	assert_false(db_writing(db));
	assert_int_equal(db_org_by_name(db, "kept", &o), 1);
	assert_int_equal(db_org_by_name(db, "also", &o), 1);
	assert_int_equal(db_org_by_name(db, "undone", &o), 0);

	assert_int_equal(db_begin(db), 0);
	org("aborted");
	db_abort(db);
	assert_int_equal(db_org_by_name(db, "aborted", &o), 0);
}

static int
count_keys(void *arg, const struct db_key *key)
{
	(void)key;
	(*(int *)arg)++;
	return 0;
}

static void
test_keys(void **state)
{
	char secret[DB_SECRET_LEN + 1], *found, buf[4096];
	int64_t a = org("a"), b = org("b");
	struct db_key key, got;
	struct hash h;
	FILE *f;
	size_t n;
	int count = 0;

	(void)state;
	assert_int_equal(db_key_mint(db, a, "ci", KEY_WRITE, secret, &key), 0);
	assert_int_equal(strlen(secret), DB_SECRET_LEN);
	hash_bytes(&h, secret, DB_SECRET_LEN);
	assert_int_equal(db_key_by_hash(db, &h, &got), 1);
	assert_int_equal(got.role, KEY_WRITE);
	assert_string_equal(got.name, "ci");
	assert_string_equal(got.org.name, "a");
	assert_int_equal(got.revoked, 0);
	assert_int_equal(db_key_by_public(db, b, key.public, &got), 0);
	assert_int_equal(db_key_by_public(db, a, key.public, &got), 1);
	assert_int_equal(db_key_revoked(db, got.id, 5), 0);
	assert_int_equal(db_key_revoked(db, got.id, 6), 0);
	assert_int_equal(db_key_by_hash(db, &h, &got), 1);
	assert_int_equal(got.revoked, 5);
	assert_int_equal(db_key_each(db, a, count_keys, &count), 0);
	assert_int_equal(db_key_each(db, b, count_keys, &count), 0);
	assert_int_equal(count, 1);
	h.b[0] ^= 1;
	assert_int_equal(db_key_by_hash(db, &h, &got), 0);

	/* The file does not have it. */
	db_close(db);
	db = db_open(path, 0);
	f = fopen(path, "r");
	assert_non_null(f);
	while ((n = fread(buf, 1, sizeof(buf), f)) > 0) {
		found = memmem(buf, n, secret + 3, 32);
		assert_null(found);
	}
	fclose(f);
}

static int
collect(void *arg, const struct db_volume *v)
{
	strlcat(arg, v->name, 64);
	strlcat(arg, " ", 64);
	return 0;
}

static void
volume(struct db_volume *v, int64_t owner, const char *name, uint8_t n)
{
	memset(v, 0, sizeof(*v));
	fill(v->public, sizeof(v->public), n);
	fill(v->family_public, sizeof(v->family_public), n);
	fill(v->salt, sizeof(v->salt), n);
	fill(v->head.b, sizeof(v->head.b), n);
	strlcpy(v->name, name, sizeof(v->name));
	v->org = owner;
	v->created = 77;
	v->header.version = VOLUME_VERSION;
	assert_int_equal(db_family_add(db, v->family_public, v->salt,
			     &v->family),
	    0);
	assert_int_equal(db_volume_add(db, v, &v->id), 0);
}

static void
test_volumes(void **state)
{
	int64_t a = org("a"), b = org("b"), id;
	struct db_volume v, w, got;
	struct hash next;
	char names[64] = "";

	(void)state;
	volume(&v, a, "data", 1);
	volume(&w, b, "data", 2);
	assert_int_equal(db_volume_by_name(db, a, "data", &got), 1);
	assert_memory_equal(got.public, v.public, DB_ID_LEN);
	assert_memory_equal(got.salt, v.salt, TREE_SALT_LEN);
	assert_int_equal(got.header.version, VOLUME_VERSION);
	assert_int_equal(db_volume_by_public(db, b, v.public, &got), 0);
	assert_int_equal(db_volume_by_public(db, b, w.public, &got), 1);
	fill(w.public, DB_ID_LEN, 3);
	w.org = a;
	assert_int_equal(db_volume_add(db, &w, &id), -1);
	assert_int_equal(errno, EEXIST);

	fill(next.b, HASH_LEN, 9);
	assert_int_equal(db_volume_swap(db, v.id, &next, &next), 0);
	assert_int_equal(db_volume_swap(db, v.id, &v.head, &next), 1);
	assert_int_equal(db_volume_swap(db, v.id, &v.head, &next), 0);
	assert_int_equal(db_volume_by_name(db, a, "data", &got), 1);
	assert_int_equal(hash_cmp(&got.head, &next), 0);

	volume(&w, a, "Z", 4);
	volume(&w, a, "b", 5);
	assert_int_equal(db_volume_each(db, a, "", 10, collect, names), 0);
	assert_string_equal(names, "Z b data ");
	names[0] = '\0';
	assert_int_equal(db_volume_each(db, a, "Z", 1, collect, names), 0);
	assert_string_equal(names, "b ");

	assert_int_equal(db_volume_deleted(db, v.id, 5), 0);
	assert_int_equal(db_volume_by_name(db, a, "data", &got), 0);
	assert_int_equal(db_volume_by_public(db, a, v.public, &got), 0);
	volume(&w, a, "data", 6);
}

static int
last_number(void *arg, const struct hash *h, const uint8_t *p, size_t len)
{
	(void)h;
	strncat(arg, (const char *)p, len);
	return 0;
}

static void
test_commits(void **state)
{
	struct db_volume v;
	struct hash h;
	struct blob *b;
	char seen[16] = "";
	uint8_t i;

	(void)state;
	volume(&v, org("a"), "data", 1);
	for (i = 0; i < 4; i++) {
		fill(h.b, HASH_LEN, i);
		assert_int_equal(db_commit_add(db, v.id, &h, i, "0123" + i, 1),
		    0);
	}
	assert_int_equal(db_commit_add(db, v.id, &h, 9, "x", 1), -1);
	assert_int_equal(errno, EEXIST);
	assert_int_equal(db_commit_known(db, v.id, &h), 1);
	assert_int_equal(db_commit_known(db, v.id + 1, &h), 0);
	assert_null(db_commit_get(db, v.id + 1, &h));
	assert_int_equal(errno, ENOENT);
	b = db_commit_get(db, v.id, &h);
	assert_non_null(b);
	assert_int_equal(b->len, 1);
	assert_int_equal(b->data[0], '3');
	blob_unref(b);
	assert_int_equal(db_commit_each(db, v.id, UINT64_MAX, 10, last_number,
			     seen),
	    0);
	assert_string_equal(seen, "3210");
	seen[0] = '\0';
	assert_int_equal(db_commit_each(db, v.id, 2, 1, last_number, seen), 0);
	assert_string_equal(seen, "1");
}

static void
test_nodes(void **state)
{
	struct db_nodes a, b;
	struct hash root;
	struct blob *blob;

	(void)state;
	db_nodes_init(&a, db, 1);
	db_nodes_init(&b, db, 2);
	assert_int_equal(tree_put_empty(&a.store), 0);
	assert_int_equal(tree_put_empty(&a.store), 0);
	tree_empty_root(&root);
	assert_null(b.store.get(&b, &root));
	assert_int_equal(errno, ENOENT);
	blob = a.store.get(&a, &root);
	assert_non_null(blob);
	hash_bytes(&root, blob->data, blob->len);
	blob_unref(blob);
	assert_int_equal(a.store.put(&a, &root, (const uint8_t *)"junk", 4), 0);
	fill(root.b, HASH_LEN, 1);
	assert_int_equal(a.store.put(&a, &root, (const uint8_t *)"junk", 4),
	    -1);
	assert_int_equal(errno, EBADMSG);
}

static void
test_chunks(void **state)
{
	struct db_location l;
	struct hash h;

	(void)state;
	fill(h.b, HASH_LEN, 7);
	assert_int_equal(db_chunk_find(db, 1, &h, &l), 0);
	assert_int_equal(db_chunk_set(db, 1, &h, 100, LOCATION_CLAIMED), 0);
	assert_int_equal(db_chunk_find(db, 1, &h, &l), 1);
	assert_false(location_good(l.state));
	assert_int_equal(db_chunk_set(db, 1, &h, 101, LOCATION_CONFIRMED), 0);
	assert_int_equal(db_chunk_find(db, 1, &h, &l), 1);
	assert_true(location_good(l.state));
	assert_int_equal(l.plain, 101);
	assert_int_equal(l.stored, 101);
	assert_int_equal(l.object_size, 101);
	assert_int_equal(hash_cmp(&l.object, &h), 0);
	assert_int_equal(db_chunk_find(db, 2, &h, &l), 0);
}

static void
test_sessions(void **state)
{
	uint8_t key[DB_ID_LEN];
	struct db_session s;
	struct hash h;
	int64_t now = 100 * SESSION_LIFE_NS;
	uint32_t bytes;

	(void)state;
	fill(key, sizeof(key), 1);
	fill(h.b, HASH_LEN, 7);
	assert_int_equal(db_session_add(db, 1, key, "m", "a", 1, NULL, now), 0);
	assert_int_equal(db_session_add(db, 1, key, "m", "a", 1, NULL, now),
	    -1);
	assert_int_equal(errno, EEXIST);
	assert_int_equal(db_session_find(db, 2, key, &s), 0);
	assert_int_equal(db_session_find(db, 1, key, &s), 1);
	assert_int_equal(s.state, SESSION_OPEN);
	assert_true(s.if_unchanged);
	assert_string_equal(s.message, "m");
	assert_null(s.result);
	assert_int_equal(db_session_pin(db, s.id, &h, 5, now), 0);
	assert_int_equal(db_session_pin(db, s.id, &h, 6, now), 0);
	assert_int_equal(db_session_pinned(db, s.id, &h, &bytes), 1);
	assert_int_equal(bytes, 6);
	assert_int_equal(db_session_pinned(db, s.id + 1, &h, &bytes), 0);
	assert_int_equal(db_session_expire(db, now), 0);
	assert_int_equal(db_session_published(db, s.id, "{}"), 0);
	assert_int_equal(db_session_pinned(db, s.id, &h, &bytes), 0);
	db_session_clear(&s);
	assert_int_equal(db_session_expire(db, now + 2 * SESSION_LIFE_NS), 0);
	assert_int_equal(db_session_find(db, 1, key, &s), 1);
	assert_string_equal(s.result, "{}");
	db_session_clear(&s);
	fill(key, sizeof(key), 2);
	assert_int_equal(db_session_add(db, 1, key, "", "", 0, key, now), 0);
	assert_int_equal(db_session_expire(db, now + 2 * SESSION_LIFE_NS), 0);
	assert_int_equal(db_session_find(db, 1, key, &s), 0);
}

static void
test_leases(void **state)
{
	uint8_t mount[DB_ID_LEN];
	struct hash h;

	(void)state;
	fill(mount, sizeof(mount), 1);
	fill(h.b, HASH_LEN, 7);
	assert_int_equal(db_lease_add(db, 1, mount, &h, 50), 0);
	assert_int_equal(db_lease_add(db, 1, mount, &h, 60), 0);
	h.b[0] = 1;
	assert_int_equal(db_lease_add(db, 1, mount, &h, 40), 0);
	assert_int_equal(db_lease_count(db, 1, 30), 2);
	assert_int_equal(db_lease_count(db, 1, 45), 1);
	assert_int_equal(db_lease_expire(db, 45), 0);
	assert_int_equal(db_lease_count(db, 1, 30), 1);
	assert_int_equal(db_lease_clear(db, 1, mount), 0);
	assert_int_equal(db_lease_count(db, 1, 30), 0);
}

static void
test_commands(void **state)
{
	struct db_org o;
	int count = 0;

	(void)state;
	assert_int_equal(db_init_org(dir, ""), -1);
	assert_int_equal(db_init_org(dir, "acme"), 0);
	assert_int_equal(db_init_org(dir, "acme"), -1);
	assert_int_equal(db_key_create(dir, "acme", "root", "x"), -1);
	assert_int_equal(db_key_create(dir, "nobody", "read", "x"), -1);
	assert_int_equal(db_key_create(dir, "acme", "read", "x"), 0);
	assert_int_equal(db_key_list(dir, "acme"), 0);
	assert_int_equal(db_key_list(dir, "nobody"), -1);
	assert_int_equal(db_org_by_name(db, "acme", &o), 1);
	assert_int_equal(db_key_each(db, o.id, count_keys, &count), 0);
	assert_int_equal(count, 2);
	assert_int_equal(db_key_revoke(dir, "acme", "key_zz"), -1);
	assert_int_equal(db_key_revoke(dir, "acme", "key_0123456789abcdef"),
	    -1);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = { T(test_open), T(test_transactions),
		T(test_keys), T(test_volumes), T(test_commits), T(test_nodes),
		T(test_chunks), T(test_sessions), T(test_leases),
		T(test_commands) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
