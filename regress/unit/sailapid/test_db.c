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
#include "sailapid/db_sql.h"
#include "sailapid/hex.h"
#include "regress/unit/sync_vfs.h"

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

/* A database of version 1 is brought to ours, with what is in it. */
static void
test_migrate(void **state)
{
	struct db_location l;
	struct db_key key;
	struct hash h;
	struct db_store store;

	(void)state;
	memset(h.b, 3, HASH_LEN);
	assert_int_equal(db_chunk_set(db, 1, &h, 100, LOCATION_CONFIRMED), 0);
	db_close(db);
	sql("ALTER TABLE volume DROP COLUMN origin;"
	    "DROP INDEX session_maker; DROP INDEX lease_maker;"
	    "ALTER TABLE session DROP COLUMN maker;"
	    "ALTER TABLE session DROP COLUMN pins;"
	    "ALTER TABLE lease DROP COLUMN maker;"
	    "DROP INDEX session_open;"
	    "DROP TABLE key_volume; DROP INDEX volume_family;"
	    " ALTER TABLE session DROP COLUMN owner;"
	    "ALTER TABLE key DROP COLUMN limited;"
	    "ALTER TABLE key ADD COLUMN prefix BLOB;"
	    "INSERT INTO org VALUES(1, x'01', 'o', 1);"
	    "INSERT INTO key VALUES(1, 1, zeroblob(8), zeroblob(32), 'k', 1, 1,"
	    " NULL, NULL, NULL);"
	    "INSERT INTO key VALUES(2, 1, x'0101010101010101', x'01', 'k', 1,"
	    " 1, NULL, NULL, x'61');"
	    "UPDATE org SET public = zeroblob(8);"
	    "DROP INDEX volume_deleted; DROP INDEX object_due; DROP INDEX location_object;"
	    "ALTER TABLE object DROP COLUMN pack;"
	    "ALTER TABLE object DROP COLUMN condemned;"
	    "ALTER TABLE session_chunk DROP COLUMN pack;"
	    "CREATE TABLE chunk(family INTEGER NOT NULL, hash BLOB NOT NULL,"
	    " bytes INTEGER NOT NULL, PRIMARY KEY(family, hash)) WITHOUT ROWID;"
	    "DROP TABLE store;"
	    "PRAGMA user_version=1");
	db = db_open(path, 0);
	assert_non_null(db);
	assert_int_equal(db_store_get(db, &store), 0);
	assert_int_equal(store.mark, STORE_UNMARKED);
	assert_int_equal(db_chunk_find(db, 1, &h, &l), 1);
	assert_int_equal(l.own, 1);
	assert_int_equal(location_present(&l), 1);
	/* Nobody knows what a prefix meant: that key sees nothing. */
	assert_int_equal(db_key_by_id(db, 1, &key), 1);
	assert_int_equal(key.limited, 0);
	assert_int_equal(db_key_by_id(db, 2, &key), 1);
	assert_int_equal(key.limited, 1);
}

/* A pack has thousands of places, and each is set: none may read them all. */
static void
test_place_plan(void **state)
{
	static const char *const text[] = {
#define X(name, text) text,
		DB_STATEMENTS(X)
#undef X
	};
	char plan[512];
	const char *says;
	sqlite3 *h;
	sqlite3_stmt *st;

	(void)state;
	snprintf(plan, sizeof(plan), "EXPLAIN QUERY PLAN %s",
	    text[ST_PLACE_SET]);
	assert_int_equal(sqlite3_open(path, &h), SQLITE_OK);
	assert_int_equal(sqlite3_prepare_v2(h, plan, -1, &st, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_step(st), SQLITE_ROW);
	says = (const char *)sqlite3_column_text(st, 3);
	if (strstr(says, "(object=? AND hash=?)") == NULL)
		fail_msg("%s", says);
	sqlite3_finalize(st);
	sqlite3_close(h);
}

/* Each database has a name of its own, which stays; and of the objects that the
   store has some are known. */
static void
test_store(void **state)
{
	struct db_store a, b;
	uint8_t public[DB_ID_LEN] = { 4 }, salt[TREE_SALT_LEN] = { 5 };
	struct db_object o[4];
	struct hash h[8];
	int64_t family;
	int i;

	(void)state;
	assert_int_equal(db_store_get(db, &a), 0);
	assert_int_equal(a.mark, STORE_UNMARKED);
	assert_int_equal(db_store_known(db, o, 4), 0);
	assert_int_equal(db_store_mark(db, STORE_MARKED), 0);
	db_close(db);
	db = db_open(path, 0);
	assert_non_null(db);
	assert_int_equal(db_store_get(db, &b), 0);
	assert_memory_equal(a.public, b.public, DB_ID_LEN);
	assert_int_equal(b.mark, STORE_MARKED);
	assert_int_equal(db_family_add(db, public, salt, &family), 0);
	for (i = 0; i < 8; i++) {
		hash_bytes(&h[i], &i, sizeof(i));
		/* 0 is only claimed; 7 was lost, and is perhaps there. */
		assert_int_equal(db_chunk_set(db, family, &h[i], 9,
				     i == 0       ? LOCATION_CLAIMED
					 : i == 7 ? LOCATION_BAD
						  : LOCATION_CONFIRMED),
		    0);
	}
	assert_int_equal(db_store_known(db, o, 4), 4);
	assert_int_equal(hash_cmp(&o[0].hash, &h[1]), 0);
	assert_int_equal(hash_cmp(&o[1].hash, &h[2]), 0);
	assert_int_equal(hash_cmp(&o[2].hash, &h[6]), 0);
	assert_int_equal(hash_cmp(&o[3].hash, &h[7]), 0);
	assert_int_equal(o[3].family, family);
	assert_int_equal(db_store_accept(dir), 0);
	assert_int_equal(db_store_get(db, &b), 0);
	assert_int_equal(b.mark, STORE_ACCEPTED);
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
	struct key_new n = { .org = a, .name = "ci", .role = KEY_WRITE };
	struct db_key key, got;
	struct hash h;
	FILE *f;
	size_t len;
	int count = 0;

	(void)state;
	assert_int_equal(db_key_mint(db, &n, secret, &key), 0);
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
	while ((len = fread(buf, 1, sizeof(buf), f)) > 0) {
		found = memmem(buf, len, secret + 3, 32);
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
	assert_int_equal(db_volume_each(db, a, 0, "", 10, collect, names), 0);
	assert_string_equal(names, "Z b data ");
	names[0] = '\0';
	assert_int_equal(db_volume_each(db, a, 0, "Z", 1, collect, names), 0);
	assert_string_equal(names, "b ");

	assert_int_equal(db_volume_deleted(db, v.id, 5), 0);
	assert_int_equal(db_volume_by_name(db, a, "data", &got), 0);
	assert_int_equal(db_volume_by_public(db, a, v.public, &got), 0);
	assert_int_equal(db_volume_trash(db, a, v.public, 5, &got), 0);
	assert_int_equal(db_volume_trash(db, b, v.public, 4, &got), 0);
	assert_int_equal(db_volume_trash(db, a, v.public, 4, &got), 1);
	assert_int_equal(got.deleted, 5);
	*names = '\0';
	assert_int_equal(db_volume_trash_each(db, a, 0, 4, 0, 9, collect,
			     names),
	    0);
	assert_string_equal(names, "data ");
	assert_int_equal(db_volume_trash_each(db, a, 0, 4, v.id, 9, collect,
			     names),
	    0);
	assert_string_equal(names, "data ");
	volume(&w, a, "data", 6);
}

/* A limited key has a grant for each of its volumes, and sees no others in the
   list. */
static void
test_grants(void **state)
{
	char secret[DB_SECRET_LEN + 1], names[64] = "";
	int64_t a = org("a");
	struct db_grant list[2], g;
	struct key_new n = { .org = a,
		.name = "box",
		.role = KEY_READ,
		.expires = 77,
		.grants = list,
		.ngrants = 2 };
	struct db_volume v, w, x;
	struct db_key key, got;

	(void)state;
	volume(&v, a, "v", 1);
	volume(&w, a, "w", 2);
	volume(&x, a, "x", 3);
	memset(list, 0, sizeof(list));
	list[0].volume = w.id;
	list[1].volume = v.id;
	memcpy(list[1].path, "a/b", 3);
	list[1].len = 3;
	assert_int_equal(db_key_mint(db, &n, secret, &key), 0);
	assert_int_equal(db_key_by_id(db, key.id, &got), 1);
	assert_int_equal(got.limited, 1);
	assert_int_equal(got.expires, 77);
	assert_null(db_key_problem(&got, 76));
	assert_non_null(db_key_problem(&got, 77));
	assert_int_equal(db_grant_find(db, key.id, x.id, &g), 0);
	assert_int_equal(db_grant_find(db, key.id + 1, v.id, &g), 0);
	assert_int_equal(db_grant_find(db, key.id, w.id, &g), 1);
	assert_int_equal(g.len, 0);
	assert_int_not_equal(g.annex.id, 0);
	assert_int_equal(db_grant_find(db, key.id, v.id, &g), 1);
	assert_int_equal(g.len, 3);
	assert_memory_equal(g.path, "a/b", 3);
	assert_int_not_equal(g.annex.id, 0);
	assert_int_not_equal(g.annex.id, v.family);
	assert_int_equal(db_volume_each(db, a, key.id, "", 9, collect, names),
	    0);
	assert_string_equal(names, "v w ");
	assert_int_equal(db_key_revoked(db, key.id, 5), 0);
	assert_int_equal(db_key_by_id(db, key.id, &got), 1);
	assert_non_null(db_key_problem(&got, 1));
	/* One of a volume that is not there, or twice, is not made. */
	list[0].volume = v.id;
	assert_int_equal(db_begin(db), 0);
	assert_int_equal(db_key_mint(db, &n, secret, &key), -1);
	list[0].volume = 99;
	assert_int_equal(db_key_mint(db, &n, secret, &key), -1);
	db_abort(db);
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

static int
count_place(void *arg, const struct hash *hash, const struct db_location *l)
{
	unsigned int *n = arg;

	(void)hash;
	n[l->state]++;
	return 0;
}

/* It stays bad until it was read; and of its size the first word stays until the
   store has said it, whoever says another. */
static void
bad_pack_comes_again(int64_t family, const struct hash *pack,
    struct db_object *o)
{
	assert_int_equal(db_pack_claim(db, family, pack, 30, o), 1);
	assert_int_equal(o->state, LOCATION_BAD);
	assert_int_equal(db_chunk_set(db, family, pack, 99, LOCATION_CLAIMED),
	    0);
	assert_int_equal(db_object_find(db, family, pack, o), 1);
	assert_int_equal(o->size, 30);
	assert_int_equal(db_pack_claim(db, family, pack, 30, o), 1);
	assert_int_equal(o->state, LOCATION_BAD);
	assert_int_equal(db_pack_confirm(db, o->row, 7, 29), 0);
	assert_int_equal(db_pack_claim(db, family, pack, 30, o), 0);
	assert_int_equal(o->size, 29);
	assert_int_equal(db_pack_confirm(db, o->row, 7, 30), 0);
	assert_int_equal(db_pack_claim(db, family, pack, 31, o), 0);
	assert_int_equal(o->size, 30);
	assert_int_equal(db_pack_confirm(db, o->row, 7, 0), 0);
	assert_int_equal(db_pack_claim(db, family, pack, 30, o), 1);
	assert_int_equal(o->size, 30);
}

/* An object of its own comes before a pack, verified before both. */
static void
own_before_pack(int64_t family, const struct hash *a, int64_t row)
{
	struct db_location l, all[LOCATIONS_MAX];

	assert_int_equal(db_pack_add(db, family, row, a, 0, 10), 0);
	assert_int_equal(db_pack_confirm(db, row, 7, 30), 0);
	assert_int_equal(db_chunk_set(db, family, a, 10, LOCATION_CONFIRMED),
	    0);
	assert_int_equal(db_chunk_places(db, family, a, all, LOCATIONS_MAX), 2);
	assert_int_equal(all[0].own, 1);
	assert_int_equal(all[1].row, row);
	assert_int_equal(db_place_set(db, row, a, 0, 10, LOCATION_VERIFIED), 0);
	assert_int_equal(db_chunk_find(db, family, a, &l), 1);
	assert_int_equal(l.row, row);
	assert_int_equal(db_chunk_own(db, family, a, &l), 1);
	assert_int_equal(l.own, 1);
}

/* What lies in a pack is claimed, confirmed, and verified place by place. */
static void
test_packs(void **state)
{
	struct db_object o, due;
	struct db_location l;
	struct hash pack, a, b;
	unsigned int n[8] = { 0 };
	uint8_t public[DB_ID_LEN] = { 1 }, salt[TREE_SALT_LEN] = { 2 };
	int64_t family, ps;
	uint32_t bytes;

	(void)state;
	fill(pack.b, HASH_LEN, 1);
	fill(a.b, HASH_LEN, 2);
	fill(b.b, HASH_LEN, 3);
	assert_int_equal(db_family_add(db, public, salt, &family), 0);
	assert_int_equal(db_object_find(db, family, &pack, &o), 0);
	assert_int_equal(db_pack_claim(db, family, &pack, 31, &o), 1);
	assert_int_equal(db_pack_claim(db, family, &pack, 30, &o), 1);
	assert_int_equal(o.pack, 1);
	assert_int_equal(o.state, LOCATION_CLAIMED);
	assert_int_equal(o.size, 31);
	assert_int_equal(db_pack_add(db, family, o.row, &a, 0, 10), 0);
	assert_int_equal(db_pack_add(db, family, o.row, &b, 10, 20), 0);
	assert_int_equal(db_session_packed(db, 7, &a, 10, o.row, 1), 0);
	assert_int_equal(db_session_pin(db, 7, &a, 10, 2), 0);
	assert_int_equal(db_session_pinned(db, 7, &a, &bytes, &ps), 1);
	assert_int_equal(ps, o.row);
	assert_int_equal(db_chunk_find(db, family, &b, &l), 1);
	assert_int_equal(l.own, 0);
	assert_int_equal(l.offset, 10);
	assert_int_equal(l.object_size, 31);
	assert_int_equal(db_pack_due(db, 0, &due), 0);

	/* Another says that it is shorter, and that it lies elsewhere too. */
	assert_int_equal(db_pack_add(db, family, o.row, &a, 0, 9), 0);
	assert_int_equal(db_pack_add(db, family, o.row, &a, 25, 9), 0);
	assert_int_equal(db_chunk_find_in(db, family, &a, o.row, 10, &l), 1);
	assert_int_equal(l.plain, 9);

	/* Confirmed is what that session has put there, as it says, and nothing
	   else; in an object of the length that the store says. */
	assert_int_equal(db_pack_confirm(db, o.row, 7, 30), 0);
	assert_int_equal(db_object_find(db, family, &pack, &o), 1);
	assert_int_equal(o.size, 30);
	assert_int_equal(db_pack_places(db, o.row, 2), 1);
	assert_int_equal(db_pack_add(db, family, o.row, &b, 10, 20), 0);
	assert_int_equal(db_chunk_find(db, family, &b, &l), 1);
	assert_int_equal(l.state, LOCATION_CLAIMED);
	assert_int_equal(db_chunk_find_in(db, family, &a, o.row, 10, &l), 1);
	assert_int_equal(l.state, LOCATION_CONFIRMED);
	assert_int_equal(l.plain, 10);
	assert_int_equal(location_present(&l), 0);
	assert_int_equal(db_pack_due(db, 0, &due), 1);
	assert_int_equal(due.row, o.row);
	assert_memory_equal(due.family_public, public, DB_ID_LEN);
	assert_int_equal(db_pack_due(db, o.row, &due), 0);

	/* Not due any more only when all that was confirmed was looked at. */
	assert_int_equal(db_pack_checked(db, o.row), 0);
	/* By what was looked at in another length, nothing. */
	for (bytes = 9; bytes <= 10; bytes++) {
		assert_int_equal(db_pack_due(db, 0, &due), 1);
		assert_int_equal(db_place_set(db, o.row, &a, 0, bytes,
				     LOCATION_VERIFIED),
		    0);
		assert_int_equal(db_pack_checked(db, o.row), 0);
	}
	assert_int_equal(db_pack_due(db, 0, &due), 0);
	assert_int_equal(db_chunk_find(db, family, &a, &l), 1);
	assert_int_equal(location_present(&l), 1);

	/* A claim of what is verified changes nothing; of the bad it begins
	   again; nothing good left: 1. */
	assert_int_equal(db_place_set(db, o.row, &b, 10, 20, LOCATION_BAD), 0);
	assert_int_equal(db_pack_add(db, family, o.row, &a, 0, 5), 0);
	assert_int_equal(db_pack_add(db, family, o.row, &b, 10, 20), 0);
	assert_int_equal(db_pack_each(db, o.row, count_place, n), 0);
	assert_int_equal(n[LOCATION_VERIFIED], 1);
	assert_int_equal(n[LOCATION_CLAIMED], 1);
	assert_int_equal(db_pack_places(db, o.row, 2), 2);
	assert_int_equal(db_pack_places(db, o.row, 1), 1);
	assert_int_equal(db_place_set(db, o.row, &a, 0, 10, LOCATION_BAD), 0);
	assert_int_equal(db_pack_checked(db, o.row), 1);
	assert_int_equal(db_object_find(db, family, &pack, &o), 1);
	assert_int_equal(o.state, LOCATION_BAD);
	bad_pack_comes_again(family, &pack, &o);

	own_before_pack(family, &a, o.row);
}

static void
test_sessions(void **state)
{
	uint8_t key[DB_ID_LEN];
	struct db_session s;
	struct hash h;
	int64_t now = 100 * SESSION_LIFE_NS, pack;
	uint32_t bytes;

	(void)state;
	fill(key, sizeof(key), 1);
	fill(h.b, HASH_LEN, 7);
	assert_int_equal(db_session_add(db, 1, key, "m", "a", 1, NULL, 0, now),
	    0);
	assert_int_equal(db_session_add(db, 1, key, "m", "a", 1, NULL, 0, now),
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
	assert_int_equal(db_session_pinned(db, s.id, &h, &bytes, &pack), 1);
	assert_int_equal(bytes, 6);
	assert_int_equal(db_session_pinned(db, s.id + 1, &h, &bytes, &pack), 0);
	assert_int_equal(db_session_expire(db, now), 0);
	assert_int_equal(db_session_published(db, s.id, "{}"), 0);
	assert_int_equal(db_session_pinned(db, s.id, &h, &bytes, &pack), 0);
	db_session_clear(&s);
	assert_int_equal(db_session_expire(db, now + 2 * SESSION_LIFE_NS), 0);
	assert_int_equal(db_session_find(db, 1, key, &s), 1);
	assert_string_equal(s.result, "{}");
	db_session_clear(&s);
	fill(key, sizeof(key), 2);
	assert_int_equal(db_session_add(db, 1, key, "", "", 0, key, 0, now), 0);
	assert_int_equal(db_session_expire(db, now + 2 * SESSION_LIFE_NS), 0);
	assert_int_equal(db_session_find(db, 1, key, &s), 0);
}

/* The pins of a large session go some at a time, and those of one that is not
   published stay. */
static void
test_many_pins(void **state)
{
	enum { N = 2500 };
	uint8_t key[DB_ID_LEN];
	struct db_session s;
	struct hash h;
	int64_t now = 200 * SESSION_LIFE_NS;
	int64_t pack;
	uint32_t bytes;
	int i, left = 0;

	(void)state;
	fill(key, sizeof(key), 9);
	fill(h.b, HASH_LEN, 7);
	assert_int_equal(db_session_add(db, 1, key, "m", "a", 1, NULL, 0, now),
	    0);
	assert_int_equal(db_session_find(db, 1, key, &s), 1);
	assert_int_equal(db_begin(db), 0);
	for (i = 0; i < N; i++) {
		memcpy(h.b, &i, sizeof(i));
		assert_int_equal(db_session_pin(db, s.id, &h, 5, now), 0);
	}
	assert_int_equal(db_session_unpin(db, s.id), 0);
	assert_int_equal(db_session_pinned(db, s.id, &h, &bytes, &pack), 1);
	assert_int_equal(db_session_published(db, s.id, "{}"), 1);
	for (i = 0; i < N; i++) {
		memcpy(h.b, &i, sizeof(i));
		left += db_session_pinned(db, s.id, &h, &bytes, &pack);
	}
	assert_int_equal(left, N - 1000);
	assert_int_equal(db_session_unpin(db, s.id), 1);
	/* A crash comes between: they go with the session. */
	assert_int_equal(db_session_expire(db,
			     now + SESSION_RESULT_LIFE_NS + 1),
	    0);
	for (left = i = 0; i < N; i++) {
		memcpy(h.b, &i, sizeof(i));
		left += db_session_pinned(db, s.id, &h, &bytes, &pack);
	}
	assert_int_equal(left, 0);
	assert_int_equal(db_end(db), 0);
	db_session_clear(&s);
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

/* What a key has open is bounded, and says nothing of what others have. */
static void
test_bounds(void **state)
{
	enum { A = 5, B = 6 };
	uint8_t key[DB_ID_LEN];
	struct db_session s;
	struct hash h;
	int64_t now = 100 * SESSION_LIFE_NS;
	int i;

	(void)state;
	fill(key, sizeof(key), 1);
	fill(h.b, HASH_LEN, 7);
	assert_int_equal(db_begin(db), 0);
	for (i = 0; i < DB_SESSIONS_MAX; i++) {
		assert_int_equal(db_session_room(db, A), 1);
		memcpy(key, &i, sizeof(i));
		assert_int_equal(db_session_add(db, i % 3, key, "", "", 0, NULL,
				     0, now),
		    0);
		assert_int_equal(db_session_made(db, i % 3, key, A), 0);
	}
	assert_int_equal(db_session_room(db, A), 0);
	assert_int_equal(db_session_room(db, B), 1);
	assert_int_equal(db_session_find(db, (i - 1) % 3, key, &s), 1);
	assert_int_equal(db_session_charge(db, s.id, DB_PINS_MAX, A), 1);
	assert_int_equal(db_session_charge(db, s.id - 1, 1, A), 0);
	assert_int_equal(db_session_charge(db, s.id - 1, 1, B), 1);
	assert_int_equal(db_session_published(db, s.id, "{}"), 0);
	assert_int_equal(db_session_room(db, A), 1);
	assert_int_equal(db_session_charge(db, s.id - 1, 1, A), 1);
	db_session_clear(&s);
	/* The oldest leases go, and none of others. */
	assert_int_equal(db_lease_add(db, 1, key, &h, 1), 0);
	assert_int_equal(db_lease_bound(db, 1, key, B), 0);
	fill(key, sizeof(key), 2);
	for (i = 0; i < DB_LEASES_MAX + 3; i++) {
		memcpy(h.b, &i, sizeof(i));
		assert_int_equal(db_lease_add(db, 1, key, &h, 100 + i), 0);
	}
	assert_int_equal(db_lease_bound(db, 1, key, A), 0);
	assert_int_equal(db_lease_count(db, 1, 0), DB_LEASES_MAX + 1);
	assert_int_equal(db_lease_count(db, 1, 102), DB_LEASES_MAX);
	assert_int_equal(db_end(db), 0);
}

static void
test_commands(void **state)
{
	static char none[] = "none", *const grants[] = { none };
	struct db_org o;
	int count = 0;

	(void)state;
	assert_int_equal(db_init_org(dir, ""), -1);
	assert_int_equal(db_init_org(dir, "acme"), 0);
	assert_int_equal(db_init_org(dir, "acme"), -1);
	assert_int_equal(db_key_create(dir, "acme", "root", "x", 0, NULL, 0),
	    -1);
	assert_int_equal(db_key_create(dir, "nobody", "read", "x", 0, NULL, 0),
	    -1);
	assert_int_equal(db_key_create(dir, "acme", "read", "x", 60, NULL, 0),
	    0);
	assert_int_equal(db_key_create(dir, "acme", "read", "x", 0, grants, 1),
	    -1);
	assert_int_equal(db_key_list(dir, "acme"), 0);
	assert_int_equal(db_key_list(dir, "nobody"), -1);
	assert_int_equal(db_org_by_name(db, "acme", &o), 1);
	assert_int_equal(db_key_each(db, o.id, count_keys, &count), 0);
	assert_int_equal(count, 2);
	assert_int_equal(db_key_revoke(dir, "acme", "key_zz"), -1);
	assert_int_equal(db_key_revoke(dir, "acme", "key_0123456789abcdef"),
	    -1);
}

/* A quota and a limit of the process are no room, too, and nothing else is. */
static void
test_no_room(void **state)
{
	static const struct {
		int system, error;
	} cases[] = { { ENOSPC, ENOSPC }, { EDQUOT, ENOSPC }, { EFBIG, ENOSPC },
		{ EIO, EIO } };
	static const uint8_t public[DB_PUBLIC_LEN];
	struct db_org o;
	int64_t id;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(db_begin(db), 0);
		assert_int_equal(db_org_add(db, public, "acme", 1, &id), 0);
		sv.no_write = cases[i].system;
		errno = 0;
		assert_int_equal(db_end(db), -1);
		assert_int_equal(errno, cases[i].error);
		sv.no_write = 0;
		db_abort(db);
		assert_int_equal(db_org_by_name(db, "acme", &o), 0);
	}
	assert_int_equal(db_begin(db), 0);
	assert_int_equal(db_org_add(db, public, "acme", 1, &id), 0);
	assert_int_equal(db_end(db), 0);
}

/* As SQLite does it by itself when there is no memory: nothing that comes behind
   it in the same transaction is written. */
static void
test_lost(void **state)
{
	static const uint8_t public[DB_PUBLIC_LEN],
	    other[DB_PUBLIC_LEN] = { 1 };
	struct db_org o;
	int64_t id;

	(void)state;
	assert_int_equal(db_begin(db), 0);
	assert_int_equal(db_org_add(db, public, "acme", 1, &id), 0);
	assert_int_equal(sqlite3_exec(db->h, "ROLLBACK", NULL, NULL, NULL),
	    SQLITE_OK);
	assert_int_equal(db_org_add(db, other, "other", 1, &id), -1);
	assert_int_equal(errno, EIO);
	assert_int_equal(db_end(db), -1);
	assert_int_equal(db_org_by_name(db, "acme", &o), 0);
	assert_int_equal(db_org_by_name(db, "other", &o), 0);
	assert_int_equal(db_begin(db), 0);
	assert_int_equal(db_org_add(db, other, "other", 1, &id), 0);
	assert_int_equal(db_end(db), 0);
	assert_int_equal(db_org_by_name(db, "other", &o), 1);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

/* A checkpoint that somebody's view stands in the way of syncs nothing. */
static void
test_settle(void **state)
{
	struct db *other = db_open(path, 0);
	struct db_store s;

	(void)state;
	assert_non_null(other);
	assert_int_equal(db_begin(db), 0);
	org("before");
	assert_int_equal(db_end(db), 0);
	sql("PRAGMA wal_checkpoint");
	assert_int_equal(db_view(other), 0);
	assert_int_equal(db_store_get(other, &s), 0);
	/* The first one writes the head of the log. */
	assert_int_equal(db_begin_lazy(db), 0);
	org("first");
	assert_int_equal(db_end(db), 0);
	sv.syncs = 0;
	assert_int_equal(db_begin_lazy(db), 0);
	org("lazy");
	assert_int_equal(db_end(db), 0);
	assert_int_equal(sv.syncs, 0);
	assert_int_equal(db_settle(db), 0);
	assert_int_equal(sv.syncs, 0);
	/* Nor does one that is not lazy and writes nothing. */
	assert_int_equal(db_begin(db), 0);
	assert_int_equal(db_end(db), 0);
	db_view_end(other);
	assert_int_equal(sv.syncs, 0);
	assert_int_equal(db_settle(db), 0);
	assert_true(sv.syncs > 0);
	/* Once. */
	sv.syncs = 0;
	assert_int_equal(db_settle(db), 0);
	assert_int_equal(sv.syncs, 0);
	db_close(other);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { T(test_migrate), T(test_place_plan),
		T(test_packs), T(test_store), T(test_open),
		T(test_transactions), T(test_keys), T(test_volumes),
		T(test_grants), T(test_commits), T(test_nodes), T(test_chunks),
		T(test_sessions), T(test_many_pins), T(test_leases),
		T(test_bounds), T(test_commands), T(test_no_room),
		T(test_settle), T(test_lost) };

	sync_vfs_install();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
