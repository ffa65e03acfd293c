/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * Claim: each record does to the rows of an overlay what sailvold(8) says, a
 * record that a stranger made up is refused with a reason and leaves nothing
 * behind, and what nobody needs goes, once fuse has heard of it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>

#include "regress/unit/sailvold/manifest_harness.h"
#include "sailvold/obj_batch.h"

/* ---- stand-ins ------------------------------------------------------------------ */

static uint64_t held, told[4096];
static size_t ntold;

uint32_t
server_request(uint8_t method, const char *target, const char *type, int fd,
    int retry, uint64_t max, server_cb f, void *arg)
{
	(void)method;
	(void)target;
	(void)type;
	(void)fd;
	(void)retry;
	(void)max;
	(void)f;
	(void)arg;
	fail_msg("the server was asked");
	return 0;
}

void
server_error(const struct server_answer *a, char *out, size_t size, char *code,
    size_t code_size)
{
	(void)a;
	(void)out;
	(void)size;
	(void)code;
	(void)code_size;
}

int
ovl_is_held(struct mount *m, uint64_t ovl)
{
	(void)m;
	return ovl == held;
}

static int safe, cannot_be_safe; /* errno */

int
journal_sync(struct mount *m)
{
	(void)m;
	safe = !cannot_be_safe;
	errno = cannot_be_safe;
	return safe ? 0 : -1;
}

void
tell_unlink(struct mount *m, const uint64_t *ovls, size_t n)
{
	(void)m;
	/* A loss of power brings back no row that needs what goes now. */
	assert_true(safe || cannot_be_safe == ENOSPC);
	safe = 0;
	assert_true(ntold + n <= sizeof(told) / sizeof(told[0]));
	memcpy(told + ntold, ovls, n * sizeof(*ovls));
	ntold += n;
}

/* ---- small things ------------------------------------------------------------------ */

static struct hash base;
static struct entry file_a, dir_d;
static uint64_t offset;

/* Base: a (file), d (directory with f), s (symlink). */
static int
setup(void **state)
{
	struct entry root, link;
	struct tree_edit in_d[1], in_root[3];

	(void)state;
	h_open();
	file_a = h_entry(ENTRY_FILE);
	link = h_entry(ENTRY_SYMLINK);
	in_d[0] = h_edit("f", &file_a);
	dir_d = h_dir(in_d, 1);
	in_root[0] = h_edit("a", &file_a);
	in_root[1] = h_edit("d", &dir_d);
	in_root[2] = h_edit("s", &link);
	root = h_dir(in_root, 3);
	base = h_commit(&root, 0);
	h_mount_begin(&base, "", &root);
	offset = 0;
	ntold = 0;
	held = 0;
	h_mount.fuse = (struct chan *)&held; /* only looked at for NULL */
	h_mount.started = 1;
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	h_close();
	return 0;
}

static int
apply(struct record r, const char **why)
{
	int rc;

	offset += 100;
	assert_int_equal(db_begin(manifest_db), 0);
	obj_batch_begin(h_mount.row.row);
	rc = namespace_apply(manifest_db, &h_mount.row, &r, offset, why);
	if (rc == 0)
		assert_int_equal(obj_batch_flush(manifest_db), 0);
	obj_batch_end();
	if (rc == 0)
		assert_int_equal(db_commit(manifest_db), 0);
	else
		db_rollback(manifest_db);
	return rc;
}

static void
ok(struct record r)
{
	const char *why = NULL;

	if (apply(r, &why) == -1)
		fail_msg("refused: %s", why != NULL ? why : "the database");
}

static void
refused(struct record r)
{
	const char *why = NULL;

	assert_int_equal(apply(r, &why), -1);
	assert_non_null(why);
	assert_int_equal(errno, EBADMSG);
}

/* What (dir, name) points to: a number, 0 a whiteout, -1 nothing. */
static int64_t
name_at(uint64_t dir, const char *name)
{
	struct name_row n;

	if (db_name_get(manifest_db, h_mount.row.row, dir, name, strlen(name),
		&n) == -1) {
		assert_int_equal(errno, ENOENT);
		return -1;
	}
	return (int64_t)n.ovl;
}

static struct obj
obj(uint64_t ovl)
{
	struct obj o;

	assert_int_equal(db_obj_get(manifest_db, h_mount.row.row, ovl, &o), 0);
	return o;
}

static uint32_t
links_of(uint64_t ovl)
{
	struct obj o = obj(ovl);

	obj_free(&o);
	return o.links;
}

static struct record
sized(uint8_t type, uint64_t ovl, uint64_t size)
{
	struct record r = h_of(type, ovl);

	r.entry.size = size;
	r.entry.mtime.sec = r.entry.ctime.sec = 3000;
	return r;
}

/* ---- what records do ---------------------------------------------------------------- */

static void
test_make(void **state)
{
	struct obj o;

	(void)state;
	ok(h_alloc(100));
	ok(h_make(1, "new", 10, ENTRY_FILE));
	assert_int_equal(name_at(1, "new"), 10);
	o = obj(10);
	assert_int_equal(o.links, 1);
	assert_int_equal(o.flags & OBJ_LOCAL, OBJ_LOCAL);
	assert_int_equal(o.changed_content, offset);
	assert_false(o.has_origin);
	obj_free(&o);
	ok(h_make(1, "sock", 11, ENTRY_SOCKET));
	o = obj(11);
	assert_int_equal(o.entry->type, ENTRY_FIFO);
	assert_int_equal(o.flags & OBJ_SOCKET, OBJ_SOCKET);
	obj_free(&o);
	o = obj(1);
	assert_int_equal(o.entry->mtime.sec, 1000); /* ctime of what was made */
	obj_free(&o);
	/* A change that was refused stands for its answer alone. */
	{
		struct record r = h_make(1, "not", 12, ENTRY_FILE);

		r.result = ENOSPC;
		ok(r);
		assert_int_equal(name_at(1, "not"), -1);
	}
}

static void
test_make_refused(void **state)
{
	struct record r;

	(void)state;
	refused(h_make(1, "new", 10, ENTRY_FILE)); /* not taken */
	ok(h_alloc(100));
	refused(h_alloc(99));
	refused(h_alloc(UINT64_MAX));
	ok(h_make(1, "new", 10, ENTRY_FILE));
	refused(h_make(1, "other", 10, ENTRY_FILE));
	refused(h_make(1, "new", 11, ENTRY_FILE));
	refused(h_make(50, "x", 11, ENTRY_FILE));
	refused(h_make(10, "x", 11, ENTRY_FILE));
	refused(h_make(1, "x", 1, ENTRY_DIR));
	refused(h_make(1, "x", 100, ENTRY_DIR));
	refused(h_make(1, ".sailvol", 11, ENTRY_DIR));
	refused(h_make(1, "..", 11, ENTRY_DIR));
	refused(h_make(1, "a/b", 11, ENTRY_DIR));
	r = h_make(1, "x", 11, ENTRY_FILE);
	r.entry.size = 5;
	refused(r);
	r = h_make(1, "x", 11, ENTRY_FILE);
	r.entry.mode = 0100644;
	refused(r);
	refused(h_record(200));
	refused(h_record(0));
	assert_int_equal(name_at(1, "x"), -1);
	/* A directory that lost its name takes no names. */
	ok(h_make(1, "dead", 20, ENTRY_DIR));
	ok(h_named(RECORD_REMOVE, 1, "dead", 0));
	refused(h_make(20, "x", 21, ENTRY_FILE));
}

static void
test_copyup(void **state)
{
	struct hash other = base;
	struct record r;
	struct obj o;

	(void)state;
	ok(h_alloc(100));
	refused(h_copyup(40, "a", 10, &file_a, &base, "a"));
	refused(h_copyup(1, "a", 10, &file_a, &base, "d/f"));
	refused(h_copyup(1, "a", 10, &file_a, &base, "b"));
	other.b[0] ^= 1;
	refused(h_copyup(1, "a", 10, &file_a, &other, "a"));
	r = h_copyup(1, "a", 10, &file_a, &base, "a");
	r.entry.size = 5; /* and no chunks */
	refused(r);
	ok(h_copyup(1, "d", 10, &dir_d, &base, "d"));
	ok(h_copyup(10, "f", 11, &file_a, &base, "d/f"));
	refused(h_copyup(10, "f", 12, &file_a, &base, "d/f"));
	refused(h_copyup(11, "f", 12, &file_a, &base, "d/f/f"));
	o = obj(11);
	assert_true(o.has_origin);
	assert_memory_equal(o.origin_path, "d/f", 3);
	assert_int_equal(o.changed_content, 0);
	obj_free(&o);
	/* A directory made here shows nothing of the base. */
	ok(h_make(1, "new", 13, ENTRY_DIR));
	refused(h_copyup(13, "a", 14, &file_a, &base, "a"));
}

static void
test_link(void **state)
{
	(void)state;
	ok(h_alloc(100));
	ok(h_make(1, "f", 10, ENTRY_FILE));
	ok(h_make(1, "g", 11, ENTRY_DIR));
	ok(h_named(RECORD_LINK, 11, "l", 10));
	assert_int_equal(links_of(10), 2);
	refused(h_named(RECORD_LINK, 11, "l", 10));
	refused(h_named(RECORD_LINK, 11, "m", 11));
	refused(h_named(RECORD_LINK, 11, "m", 99));
	refused(h_named(RECORD_LINK, 10, "m", 10));
	/* One that has names stays. */
	ok(h_of(RECORD_DROP, 10));
	assert_int_equal(links_of(10), 2);
	ok(h_named(RECORD_REMOVE, 1, "f", 0));
	ok(h_named(RECORD_REMOVE, 11, "l", 0));
	assert_int_equal(links_of(10), 0);
	/* Open still, and linked again; once dropped never more. */
	ok(h_named(RECORD_LINK, 1, "again", 10));
	ok(h_named(RECORD_REMOVE, 1, "again", 0));
	ok(h_of(RECORD_DROP, 10));
	refused(h_named(RECORD_LINK, 1, "again", 10));
}

static void
test_remove(void **state)
{
	(void)state;
	ok(h_alloc(100));
	ok(h_named(RECORD_REMOVE, 1, "a", 0)); /* of the base */
	assert_int_equal(name_at(1, "a"), 0);
	refused(h_named(RECORD_REMOVE, 1, "a", 0));
	ok(h_make(1, "a", 10, ENTRY_FILE)); /* in place of a whiteout */
	assert_int_equal(name_at(1, "a"), 10);
	ok(h_named(RECORD_REMOVE, 1, "a", 0));
	assert_int_equal(name_at(1, "a"), 0);
	ok(h_make(1, "own", 11, ENTRY_DIR));
	refused(h_named(RECORD_REMOVE, 11, "x", 0));
	ok(h_make(11, "x", 12, ENTRY_FILE));
	refused(h_named(RECORD_REMOVE, 1, "own", 0)); /* not empty */
	ok(h_named(RECORD_REMOVE, 11, "x", 0));
	ok(h_named(RECORD_REMOVE, 1, "own", 0));
	assert_int_equal(name_at(1, "own"), -1);
	refused(h_named(RECORD_REMOVE, 77, "x", 0));
	/* What may have been published is always whited out. */
	h_mount.row.flags = ROW_SEEN;
	ok(h_make(1, "pub", 13, ENTRY_FILE));
	ok(h_named(RECORD_REMOVE, 1, "pub", 0));
	assert_int_equal(name_at(1, "pub"), 0);
}

static void
test_rename(void **state)
{
	(void)state;
	ok(h_alloc(100));
	ok(h_make(1, "f", 10, ENTRY_FILE));
	ok(h_make(1, "g", 11, ENTRY_FILE));
	ok(h_copyup(1, "d", 12, &dir_d, &base, "d"));
	ok(h_rename(1, "f", 12, "g", 0));
	assert_int_equal(name_at(1, "f"), -1);
	assert_int_equal(name_at(12, "g"), 10);
	ok(h_rename(12, "g", 1, "g", 0)); /* over another */
	assert_int_equal(name_at(1, "g"), 10);
	assert_int_equal(links_of(11), 0);
	ok(h_rename(1, "d", 1, "e", 0));
	assert_int_equal(name_at(1, "d"), 0); /* the base has it */
	assert_int_equal(name_at(1, "e"), 12);
	ok(h_rename(1, "e", 1, "g", RENAME_EXCHANGE));
	assert_int_equal(name_at(1, "e"), 10);
	assert_int_equal(name_at(1, "g"), 12);
	/* Two names of one file. */
	ok(h_named(RECORD_LINK, 1, "two", 10));
	ok(h_rename(1, "e", 1, "two", 0));
	assert_int_equal(links_of(10), 1);
	assert_int_equal(name_at(1, "two"), 10);
}

static void
test_rename_refused(void **state)
{
	(void)state;
	ok(h_alloc(100));
	ok(h_make(1, "p", 10, ENTRY_DIR));
	ok(h_make(10, "q", 11, ENTRY_DIR));
	ok(h_make(11, "r", 12, ENTRY_FILE));
	ok(h_make(1, "f", 13, ENTRY_FILE));
	refused(h_rename(1, "p", 11, "x", 0)); /* cycles */
	refused(h_rename(1, "p", 10, "x", 0));
	refused(h_rename(1, "p", 10, "q", RENAME_EXCHANGE));
	refused(h_rename(10, "q", 1, "p", RENAME_EXCHANGE));
	refused(h_rename(1, "nothing", 1, "x", 0));
	refused(h_rename(1, "f", 1, "x", RENAME_EXCHANGE));
	refused(h_rename(1, "f", 99, "x", 0));
	refused(h_rename(1, "f", 13, "x", 0));
	refused(h_rename(1, "f", 1, "f", 0)); /* onto itself */
	refused(h_rename(1, "f", 1, "p", 0)); /* a file over a directory */
	refused(h_rename(1, "p", 1, "f", 0));
	refused(h_rename(1, "f", 11, "r", RENAME_NOREPLACE));
	ok(h_make(1, "z", 14, ENTRY_DIR));
	refused(h_rename(1, "z", 1, "p", 0)); /* not empty */
	assert_int_equal(links_of(13), 1);
	assert_int_equal(name_at(1, "f"), 13);
	ok(h_rename(1, "z", 11, "z", 0));
	assert_int_equal(name_at(11, "z"), 14);
}

static void
test_attributes(void **state)
{
	struct record r;
	struct obj o;
	uint64_t made;

	(void)state;
	ok(h_alloc(100));
	ok(h_make(1, "f", 10, ENTRY_FILE));
	ok(h_copyup(1, "d", 11, &dir_d, &base, "d"));
	ok(h_copyup(1, "a", 12, &file_a, &base, "a"));
	made = offset;
	r = h_of(RECORD_ATTR, 11);
	r.flags = RECORD_ATTR_MTIME | RECORD_ATTR_CTIME;
	r.entry.mtime.sec = 5;
	ok(r);
	o = obj(11);
	assert_int_equal(o.changed_attr, 0); /* not seen by anybody */
	obj_free(&o);
	r.flags |= RECORD_ATTR_MODE | RECORD_ATTR_UID | RECORD_ATTR_GID;
	r.entry.mode = 04711;
	r.entry.uid = 5;
	r.entry.gid = 6;
	ok(r);
	o = obj(11);
	assert_true(o.changed_attr > made);
	assert_int_equal(o.entry->mode, 04711);
	assert_int_equal(o.entry->uid, 5);
	obj_free(&o);
	/* A size is that of an overlay file, however large. */
	r = h_of(RECORD_ATTR, 12);
	r.flags = RECORD_ATTR_SIZE;
	r.entry.size = 1;
	refused(r);
	r.ovl = 10;
	r.entry.size = SAIL_SIZE_MAX;
	ok(r);
	o = obj(10);
	assert_true(o.entry->size == SAIL_SIZE_MAX);
	obj_free(&o);
	r.entry.size = SAIL_SIZE_MAX + 1;
	refused(r);
	r.ovl = 99;
	refused(r);
}

static void
test_xattrs(void **state)
{
	struct record r = h_of(RECORD_XATTR, 1);
	char value[60000];
	uint8_t *x = NULL;
	size_t len;
	struct obj o;

	(void)state;
	memset(value, 'v', sizeof(value));
	assert_int_equal(xattrs_set(NULL, 0, "user.big", value, sizeof(value),
			     0, &x, &len),
	    0);
	r.entry.xattrs = x;
	r.entry.xattrs_len = len;
	ok(r);
	o = obj(1);
	assert_int_equal(o.entry->xattrs_len, len);
	assert_memory_equal(o.entry->xattrs, x, len);
	obj_free(&o);
	r.entry.xattrs_len = len - 1;
	refused(r);
	r.entry.xattrs = NULL;
	r.entry.xattrs_len = 0;
	ok(r);
	o = obj(1);
	assert_int_equal(o.entry->xattrs_len, 0);
	obj_free(&o);
	free(x);
}

static void
test_content(void **state)
{
	struct record later;
	uint64_t content;
	struct obj o;

	(void)state;
	ok(h_alloc(100));
	ok(h_copyup(1, "a", 10, &file_a, &base, "a"));
	ok(h_copyup(1, "d", 11, &dir_d, &base, "d"));
	refused(sized(RECORD_SETTLE, 10, 5));
	refused(h_of(RECORD_DIRTY, 10));
	refused(sized(RECORD_CONTENT, 11, 5));
	refused(sized(RECORD_CONTENT, 99, 5));
	ok(sized(RECORD_SETTLE, 99, 5));
	refused(sized(RECORD_CONTENT, 10, SAIL_SIZE_MAX + 1));
	ok(sized(RECORD_CONTENT, 10, 5));
	content = offset;
	o = obj(10);
	assert_int_equal(o.flags, OBJ_LOCAL | OBJ_UNSETTLED);
	assert_int_equal(o.entry->size, 5);
	assert_int_equal(o.changed_content, content);
	obj_free(&o);
	ok(sized(RECORD_SETTLE, 10, 5));
	o = obj(10);
	assert_int_equal(o.flags, OBJ_LOCAL);
	assert_int_equal(o.changed_content, content);
	obj_free(&o);
	ok(h_of(RECORD_DIRTY, 10));
	o = obj(10);
	assert_int_equal(o.flags, OBJ_LOCAL | OBJ_UNSETTLED);
	assert_int_equal(o.changed_content, offset);
	content = offset;
	obj_free(&o);
	/* It was written to after somebody had settled it. */
	later = sized(RECORD_SETTLE, 10, 5);
	ok(later);
	o = obj(10);
	assert_int_equal(o.changed_content, content);
	obj_free(&o);
	later.entry.mtime.sec++;
	ok(later);
	o = obj(10);
	assert_int_equal(o.changed_content, offset);
	assert_int_equal(o.changed_attr, offset);
	obj_free(&o);
}

/* ---- what nobody needs ------------------------------------------------------------------ */

static int
exists(uint64_t ovl)
{
	struct obj o;

	if (db_obj_get(manifest_db, h_mount.row.row, ovl, &o) == -1)
		return 0;
	obj_free(&o);
	return 1;
}

static void
test_sweep(void **state)
{
	(void)state;
	ok(h_alloc(100));
	ok(h_make(1, "f", 10, ENTRY_FILE));
	ok(h_make(1, "g", 11, ENTRY_FILE));
	ok(h_make(1, "open", 12, ENTRY_FILE));
	ok(h_copyup(1, "d", 13, &dir_d, &base, "d"));
	ok(h_named(RECORD_REMOVE, 13, "f", 0)); /* a whiteout */
	ok(h_named(RECORD_REMOVE, 1, "f", 0));
	ok(h_named(RECORD_REMOVE, 1, "g", 0));
	ok(h_named(RECORD_REMOVE, 1, "open", 0));
	ok(h_named(RECORD_REMOVE, 1, "d", 0));
	ok(h_of(RECORD_DROP, 10));
	ok(h_of(RECORD_DROP, 11));
	ok(h_of(RECORD_DROP, 13));
	held = 11;
	h_mount.started = 0; /* nobody would hear of it */
	assert_int_equal(namespace_sweep(&h_mount), 0);
	assert_true(exists(10));
	h_mount.started = 1;
	cannot_be_safe = EIO;
	assert_int_equal(namespace_sweep(&h_mount), -1);
	assert_int_equal(ntold, 0);
	assert_true(exists(10));
	/* What goes gives room. */
	cannot_be_safe = ENOSPC;
	assert_int_equal(namespace_sweep(&h_mount), 0);
	cannot_be_safe = 0;
	assert_int_equal(ntold, 1);
	assert_int_equal(told[0], 10);
	assert_false(exists(10));
	assert_true(exists(11));
	assert_true(exists(12));
	assert_false(exists(13));
	/* Dropped twice: by a reload, and when the kernel forgot it. */
	ok(h_of(RECORD_DROP, 10));
	refused(h_of(RECORD_DIRTY, 10));
	assert_false(exists(10));
	assert_int_equal(name_at(13, "f"), -1);
	held = 0;
	assert_int_equal(namespace_sweep(&h_mount), 0);
	assert_int_equal(ntold, 2);
	assert_true(exists(1));
}

/* Many go in rounds, each of them told once. */
static void
test_sweep_many(void **state)
{
	unsigned int i, rounds = 0;
	char name[16];
	int rc;

	(void)state;
	ok(h_alloc(10000));
	for (i = 10; i < 3010; i++) {
		snprintf(name, sizeof(name), "n%u", i);
		ok(h_make(1, name, i, ENTRY_FILE));
		ok(h_named(RECORD_REMOVE, 1, name, 0));
		ok(h_of(RECORD_DROP, i));
	}
	do {
		rc = namespace_sweep(&h_mount);
		rounds++;
		assert_true(rounds < 10);
	} while (rc == 1);
	assert_int_equal(rc, 0);
	assert_true(rounds > 1);
	assert_int_equal(ntold, 3000);
	for (i = 0; i < ntold; i++)
		assert_int_equal(told[i], 10 + i);
}

/* Those that are still open are not gone through at one go, and none is left
   out that is let go while the others are looked at. */
static void
test_sweep_open(void **state)
{
	unsigned int i, rounds;
	char name[16];
	int rc;

	(void)state;
	ok(h_alloc(10000));
	for (i = 10; i < 3020; i++) {
		snprintf(name, sizeof(name), "n%u", i);
		ok(h_make(1, name, i, ENTRY_FILE));
		ok(h_named(RECORD_REMOVE, 1, name, 0));
	}
	ok(h_of(RECORD_DROP, 3019));
	assert_int_equal(namespace_sweep(&h_mount), 1);
	assert_int_equal(ntold, 0);
	ok(h_of(RECORD_DROP, 11));
	rc = namespace_sweep(&h_mount);
	for (rounds = 0; rc == 1 && rounds < 20; rounds++)
		rc = namespace_sweep_on(&h_mount);
	assert_int_equal(rc, 0);
	assert_int_equal(ntold, 2);
	assert_int_equal(told[0], 3019);
	assert_int_equal(told[1], 11);
	assert_int_equal(namespace_sweep_on(&h_mount), 0);
}

static void
test_path(void **state)
{
	uint8_t *path;
	size_t len;

	(void)state;
	ok(h_alloc(100));
	ok(h_make(1, "p", 10, ENTRY_DIR));
	ok(h_make(10, "q", 11, ENTRY_DIR));
	assert_int_equal(namespace_path(&h_mount, 11, "r", 1, &path, &len), 0);
	assert_string_equal((char *)path, "p/q/r");
	assert_int_equal(len, 5);
	free(path);
	assert_int_equal(namespace_path(&h_mount, 1, "r", 1, &path, &len), 0);
	assert_string_equal((char *)path, "r");
	free(path);
	ok(h_named(RECORD_REMOVE, 10, "q", 0));
	assert_int_equal(namespace_path(&h_mount, 11, "r", 1, &path, &len), -1);
	assert_int_equal(errno, ENOENT);
}

/* ---- batches ----------------------------------------------------------------- */

/* A row as text: what it holds, without where it is. */
static void
row_text(struct wbuf *w, uint64_t ovl)
{
	struct obj o;

	if (db_obj_get(manifest_db, h_mount.row.row, ovl, &o) == -1) {
		assert_int_equal(errno, ENOENT);
		wbuf_u8(w, 0);
		return;
	}
	wbuf_u8(w, 1);
	wbuf_u32(w, o.flags);
	wbuf_u32(w, o.links);
	wbuf_u64(w, o.changed_content);
	wbuf_u64(w, o.changed_attr);
	wbuf_u8(w, (uint8_t)o.has_origin);
	wbuf_bytes(w, o.origin_path, o.origin_path_len);
	entry_encode(w, o.entry);
	obj_free(&o);
}

/* Files and directories that come, change, move and go; each n records are one
   batch.  All rows then. */
static void
run_batches(unsigned int n, struct wbuf *rows)
{
	struct record r[64];
	const char *why;
	unsigned int i, count = 0;
	uint64_t ovl;

	r[count++] = h_alloc(100);
	r[count++] = h_make(1, "p", 10, ENTRY_DIR);
	r[count++] = h_make(10, "f", 11, ENTRY_FILE);
	r[count++] = h_of(RECORD_DIRTY, 11);
	r[count++] = sized(RECORD_SETTLE, 11, 4096);
	r[count++] = h_make(10, "g", 12, ENTRY_FILE);
	r[count++] = h_of(RECORD_DIRTY, 12);
	r[count++] = h_named(RECORD_LINK, 1, "l", 12);
	r[count++] = h_rename(10, "f", 1, "f2", 0);
	r[count++] = h_copyup(1, "a", 13, &file_a, &base, "a");
	r[count] = h_of(RECORD_ATTR, 13);
	r[count].flags = RECORD_ATTR_MODE | RECORD_ATTR_CTIME;
	r[count++].entry.mode = 0600;
	r[count++] = h_rename(1, "f2", 1, "a", 0);
	r[count++] = h_named(RECORD_REMOVE, 10, "g", 0);
	r[count++] = h_named(RECORD_REMOVE, 1, "l", 0);
	r[count++] = h_of(RECORD_DROP, 12);
	r[count++] = h_named(RECORD_REMOVE, 1, "p", 0);
	offset = 0;
	for (i = 0; i < count; i++) {
		if (i % n == 0) {
			assert_int_equal(db_begin(manifest_db), 0);
			obj_batch_begin(h_mount.row.row);
		}
		offset += 100;
		if (namespace_apply(manifest_db, &h_mount.row, &r[i], offset,
			&why) == -1)
			fail_msg("record %u: %s", i, why);
		if (i % n == n - 1 || i == count - 1) {
			assert_int_equal(obj_batch_flush(manifest_db), 0);
			obj_batch_end();
			assert_int_equal(db_commit(manifest_db), 0);
		}
	}
	wbuf_init(rows, 65536);
	for (ovl = OVL_ROOT; ovl < 20; ovl++)
		row_text(rows, ovl);
	assert_int_equal(rows->error, 0);
}

/* Rows are the same however the records were gathered. */
static void
test_batches(void **state)
{
	static const unsigned int sizes[] = { 2, 3, 5, 64 };
	struct wbuf one, more;
	size_t i;

	run_batches(1, &one);
	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		assert_int_equal(teardown(state), 0);
		assert_int_equal(setup(state), 0);
		run_batches(sizes[i], &more);
		assert_int_equal(more.len, one.len);
		assert_memory_equal(more.data, one.data, one.len);
		wbuf_free(&more);
	}
	wbuf_free(&one);
}

/* What is too large for memory is written early, and there for the next. */
static void
test_large_batch(void **state)
{
	static uint8_t value[60000];
	uint8_t *x;
	size_t len;
	struct record r;
	struct obj o;
	const char *why;
	unsigned int i;

	(void)state;
	ok(h_alloc(1000));
	assert_int_equal(xattrs_set(NULL, 0, "user.big", value, sizeof(value),
			     0, &x, &len),
	    0);
	assert_int_equal(db_begin(manifest_db), 0);
	obj_batch_begin(h_mount.row.row);
	for (i = 0; i < 200; i++) {
		char name[16];

		snprintf(name, sizeof(name), "f%u", i);
		r = h_make(1, name, 10 + i, ENTRY_FILE);
		assert_int_equal(namespace_apply(manifest_db, &h_mount.row, &r,
				     offset, &why),
		    0);
		r = h_of(RECORD_XATTR, 10 + i);
		r.entry.xattrs = x;
		r.entry.xattrs_len = len;
		assert_int_equal(namespace_apply(manifest_db, &h_mount.row, &r,
				     offset, &why),
		    0);
	}
	for (i = 0; i < 200; i++) {
		assert_int_equal(obj_batch_get(manifest_db, h_mount.row.row,
				     10 + i, &o),
		    0);
		assert_int_equal(o.entry->xattrs_len, len);
		obj_free(&o);
	}
	assert_int_equal(obj_batch_flush(manifest_db), 0);
	obj_batch_end();
	assert_int_equal(db_commit(manifest_db), 0);
	for (i = 0; i < 200; i++) {
		o = obj(10 + i);
		assert_int_equal(o.entry->xattrs_len, len);
		obj_free(&o);
	}
	free(x);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_make),
		T(test_make_refused),
		T(test_copyup),
		T(test_link),
		T(test_remove),
		T(test_rename),
		T(test_rename_refused),
		T(test_attributes),
		T(test_xattrs),
		T(test_content),
		T(test_sweep),
		T(test_sweep_many),
		T(test_sweep_open),
		T(test_path),
		T(test_batches),
		T(test_large_batch),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
