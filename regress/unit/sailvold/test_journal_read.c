/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * Claim: what stands in the segments of a journal comes into the database once
 * each, in order and in whole batches; who waits for an offset is called when it
 * is there; what cannot be applied stops this mount, and loses nothing that
 * stands before it; no fuse has us hold more descriptors than its bound; and
 * memory that is missing at any place undoes a batch whole, which is applied later
 * as if nothing had been.
 */
#include "regress/unit/sailvold/journal_read_harness.h"

/* ---- a journal ------------------------------------------------------------------- */

static char dir[] = "/tmp/journal.XXXXXX";
static struct hash base;
static struct wbuf seg; /* the segment that is being written */
static uint64_t seg_first, end;
static int fds_before;

static void
segment_begin(uint64_t first)
{
	struct segment_header h;
	uint8_t b[SEGMENT_HEADER_LEN];

	memset(&h, 0, sizeof(h));
	memset(h.mount, 0x22, sizeof(h.mount));
	h.first = first;
	segment_header_encode(b, &h);
	seg.len = 0;
	wbuf_bytes(&seg, b, sizeof(b));
	seg_first = end = first;
}

static void
add(struct record r)
{
	size_t before = seg.len;

	record_encode(&seg, &r);
	assert_int_equal(seg.error, 0);
	end += seg.len - before;
}

static void
path_of(uint64_t first, char *path, size_t size)
{
	snprintf(path, size, "%s/%016llx", dir, (unsigned long long)first);
}

/* The first len bytes of what was added stand in the file. */
static void
write_file(size_t len)
{
	char path[128];
	int fd;

	path_of(seg_first, path, sizeof(path));
	fd = open(path, O_WRONLY | O_CREAT, 0600);
	assert_true(fd != -1);
	assert_int_equal(pwrite(fd, seg.data, len, 0), (ssize_t)len);
	assert_int_equal(ftruncate(fd, (off_t)len), 0);
	close(fd);
}

static int
give(uint64_t first, uint64_t said)
{
	char path[128];
	int fd;

	path_of(first, path, sizeof(path));
	fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(fd != -1);
	return journal_segment(&h_mount, said, fd);
}

static void
flush(void)
{
	write_file(seg.len);
}

static int
setup(void **state)
{
	struct entry root, f;
	struct tree_edit in_root[1];

	(void)state;
	h_open();
	memcpy(dir + sizeof(dir) - 7, "XXXXXX", 6);
	assert_non_null(mkdtemp(dir));
	f = h_entry(ENTRY_FILE);
	in_root[0] = h_edit("a", &f);
	root = h_dir(in_root, 1);
	base = h_commit(&root, 0);
	h_mount_begin(&base, "", &root);
	h_mount.fuse = (struct chan *)&told;
	h_mount.started = 1;
	told = ntold = 0;
	wbuf_init(&seg, 64 << 20);
	fds_before = h_count_fds();
	return 0;
}

static int
teardown(void **state)
{
	char command[64];

	(void)state;
	journal_free(&h_mount);
	assert_int_equal(h_count_fds(), fds_before);
	wbuf_free(&seg);
	h_close();
	snprintf(command, sizeof(command), "rm -r %s", dir);
	return system(command);
}

/* Some turns of the loop: longer than the timers that matter. */
static void
run_for(int ms)
{
	struct timeval tv = { ms / 1000, (ms % 1000) * 1000 };

	event_base_loopexit(h_base, &tv);
	event_base_dispatch(h_base);
}

static void
run_to(uint64_t offset)
{
	int i;

	for (i = 0; i < 200 && h_mount.row.applied < offset; i++)
		run_for(10);
	assert_int_equal(h_mount.row.applied, offset);
}

static int64_t
name_at(const char *name)
{
	struct name_row n;

	if (db_name_get(manifest_db, h_mount.row.row, OVL_ROOT, name,
		strlen(name), &n) == -1)
		return -1;
	return (int64_t)n.ovl;
}

/* What a manifest that starts now would find. */
static uint64_t
stored_offset(void)
{
	struct mount_row row;
	uint64_t applied;

	assert_int_equal(db_mount_find(manifest_db, h_mount.row.id, &row), 0);
	applied = row.applied;
	mount_row_free(&row);
	return applied;
}

static unsigned int called, lost;
static uint64_t called_at;

static void
on_applied(struct mount *m, void *arg)
{
	called++;
	called_at = m->row.applied;
	if (arg != NULL)
		applied_wait_cancel(m, on_applied, NULL);
}

static void
on_broken(struct mount *m, void *arg)
{
	(void)arg;
	assert_true(m->broken || m->stuck || m->gone);
	lost++;
}

/* ---- tests ----------------------------------------------------------------------------- */

static void
test_applies(void **state)
{
	char name[32];
	unsigned int i;
	uint64_t half = 0;

	(void)state;
	called = 0;
	segment_begin(0);
	add(h_alloc(10000));
	for (i = 0; i < 3000; i++) {
		snprintf(name, sizeof(name), "file%u", i);
		add(h_make(OVL_ROOT, name, 10 + i, ENTRY_FILE));
		if (i == 1000)
			half = end;
	}
	flush();
	assert_int_equal(give(0, 0), 0);
	assert_int_equal(applied_wait_or(&h_mount, half, on_applied, NULL,
			     NULL),
	    0);
	assert_int_equal(called, 0);
	run_to(end);
	assert_int_equal(called, 1);
	assert_true(called_at >= half);
	assert_int_equal(told, end);
	assert_true(ntold > 1); /* more than one batch */
	assert_int_equal(stored_offset(), end);
	assert_int_equal(name_at("file2999"), 3009);
	assert_int_equal(h_mount.row.next, 10000);
	/* What is there already is there at once. */
	assert_int_equal(applied_wait_or(&h_mount, half, on_applied, NULL,
			     NULL),
	    0);
	assert_int_equal(called, 2);
}

static void
test_torn_end(void **state)
{
	size_t whole;

	(void)state;
	segment_begin(0);
	add(h_alloc(100));
	add(h_make(OVL_ROOT, "one", 10, ENTRY_FILE));
	whole = seg.len;
	add(h_make(OVL_ROOT, "two", 11, ENTRY_FILE));
	write_file(seg.len - 1);
	assert_int_equal(give(0, 0), 0);
	run_to(whole - SEGMENT_HEADER_LEN);
	run_for(60);
	assert_false(h_mount.broken);
	assert_int_equal(name_at("two"), -1);
	flush();
	run_to(end);
	assert_int_equal(name_at("two"), 11);
}

/* A disk that cannot read it is tried on, and nobody waits for that for ever. */
static void
test_unreadable(void **state)
{
	(void)state;
	lost = called = 0;
	journal_patience(700);
	segment_begin(0);
	add(h_alloc(100));
	add(h_make(OVL_ROOT, "one", 10, ENTRY_FILE));
	flush();
	reading_fails = EIO;
	assert_int_equal(applied_wait_or(&h_mount, end, on_applied, on_broken,
			     NULL),
	    0);
	assert_int_equal(give(0, 0), 0);
	run_for(400);
	assert_int_equal(lost, 0);
	run_for(1200);
	assert_int_equal(lost, 1);
	assert_false(h_mount.broken);
	assert_int_equal(applied_wait_or(&h_mount, end, on_applied, on_broken,
			     NULL),
	    -1);
	assert_int_equal(errno, EIO);
	reading_fails = 0;
	run_to(end);
	assert_int_equal(name_at("one"), 10);
	assert_int_equal(called, 0);
	/* What is short may take as long as it likes. */
	add(h_make(OVL_ROOT, "two", 11, ENTRY_FILE));
	flush();
	reading_fails = ENOMEM;
	assert_int_equal(applied_wait_or(&h_mount, end, on_applied, on_broken,
			     NULL),
	    0);
	run_for(1700);
	assert_int_equal(lost, 1);
	reading_fails = 0;
	run_to(end);
	assert_int_equal(called, 1);
	journal_patience(30000);
}

/* A bad segment is this mount's trouble, and no violation. */
static void
test_bad_segment(void **state)
{
	(void)state;
	lost = called = 0;
	segment_begin(0);
	seg.data[12] ^= 1; /* the mount's id */
	flush();
	assert_int_equal(applied_wait_or(&h_mount, 5, on_applied, on_broken,
			     NULL),
	    0);
	assert_int_equal(give(0, 0), 0);
	assert_true(h_mount.broken);
	assert_int_equal(lost, 1);
	assert_int_equal(called, 0);
	assert_int_equal(applied_wait_or(&h_mount, 5, on_applied, NULL, NULL),
	    -1);
	assert_int_equal(errno, EIO);
	journal_forget(&h_mount);
	assert_false(h_mount.broken);
	segment_begin(0);
	flush();
	assert_int_equal(give(0, 7), 0); /* another place than it says */
	assert_true(h_mount.broken);
	journal_forget(&h_mount);
	assert_int_equal(give(0, 0), 0);
	assert_false(h_mount.broken);
	assert_int_equal(give(0, 0), 0); /* not in order */
	assert_true(h_mount.broken);
	journal_forget(&h_mount);
	write_file(20);
	assert_int_equal(give(0, 0), 0);
	assert_true(h_mount.broken);
}

/* A record that was changed on the disk: those before it count. */
static void
test_broken_record(void **state)
{
	size_t at;
	uint64_t good;

	(void)state;
	lost = called = 0;
	segment_begin(0);
	add(h_alloc(100));
	add(h_make(OVL_ROOT, "one", 10, ENTRY_FILE));
	at = seg.len;
	good = end;
	add(h_make(OVL_ROOT, "two", 11, ENTRY_FILE));
	add(h_make(OVL_ROOT, "three", 12, ENTRY_FILE));
	seg.data[at + 30] ^= 1;
	flush();
	assert_int_equal(give(0, 0), 0);
	assert_int_equal(applied_wait_or(&h_mount, end, on_applied, on_broken,
			     NULL),
	    0);
	assert_int_equal(applied_wait_or(&h_mount, end, on_applied, NULL, NULL),
	    0);
	run_to(good);
	run_for(60);
	assert_true(h_mount.broken);
	assert_int_equal(lost, 1);
	assert_int_equal(called, 0);
	assert_int_equal(stored_offset(), good);
	assert_int_equal(name_at("one"), 10);
	assert_int_equal(name_at("three"), -1);
	assert_int_equal(journal_drain(&h_mount), -1);
}

/* One that a stranger made up, half of which would have been done. */
static void
test_refused_record(void **state)
{
	uint64_t good;
	struct obj o;

	(void)state;
	segment_begin(0);
	add(h_alloc(100));
	add(h_make(OVL_ROOT, "one", 10, ENTRY_FILE));
	good = end;
	add(h_rename(OVL_ROOT, "nothing", OVL_ROOT, "x", 0));
	flush();
	assert_int_equal(give(0, 0), 0);
	run_to(good);
	run_for(60);
	assert_true(h_mount.broken);
	assert_int_equal(name_at("one"), 10);
	assert_int_equal(db_obj_get(manifest_db, h_mount.row.row, OVL_ROOT, &o),
	    0);
	assert_int_equal(o.entry->mtime.sec, 1000); /* the rename's is 2000 */
	obj_free(&o);
}

static void
test_segments(void **state)
{
	uint64_t first;

	(void)state;
	segment_begin(0);
	add(h_alloc(100));
	add(h_make(OVL_ROOT, "one", 10, ENTRY_FILE));
	flush();
	assert_int_equal(give(0, 0), 0);
	run_to(end);
	first = end;
	segment_begin(first);
	add(h_make(OVL_ROOT, "two", 11, ENTRY_FILE));
	flush();
	assert_int_equal(give(first, first), 0);
	run_to(end);
	assert_int_equal(told, end);
	assert_int_equal(h_count_fds(), fds_before + 1); /* the old is closed */
	/* A new fuse brings them again: nothing is done twice. */
	journal_forget(&h_mount);
	assert_int_equal(h_count_fds(), fds_before);
	assert_int_equal(give(0, 0), 0);
	assert_int_equal(give(first, first), 0);
	run_for(60);
	assert_false(h_mount.broken);
	assert_int_equal(h_mount.row.applied, end);
	first = end;
	segment_begin(first);
	add(h_make(OVL_ROOT, "three", 12, ENTRY_FILE));
	flush();
	assert_int_equal(give(first, first), 0);
	run_to(end);
}

static void
test_too_many(void **state)
{
	struct rlimit rl;
	uint64_t i;

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &rl), 0);
	rl.rlim_cur = rl.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &rl), 0);
	for (i = 0; i < SEGMENTS_MAX; i++) {
		segment_begin(i * 100);
		flush();
		assert_int_equal(give(i * 100, i * 100), 0);
	}
	segment_begin(i * 100);
	flush();
	assert_int_equal(give(i * 100, i * 100), -1);
	assert_int_equal(h_count_fds(), fds_before + SEGMENTS_MAX);
	/* Of one that is broken nothing is kept. */
	run_for(60);
	assert_true(h_mount.broken);
	assert_int_equal(give(i * 100, i * 100), 0);
	assert_int_equal(h_count_fds(), fds_before + SEGMENTS_MAX);
	journal_forget(&h_mount);
	assert_int_equal(h_count_fds(), fds_before);
}

static void
test_missing_segment(void **state)
{
	uint64_t first;

	(void)state;
	segment_begin(0);
	add(h_alloc(100));
	flush();
	assert_int_equal(give(0, 0), 0);
	run_to(end);
	first = end + 10;
	segment_begin(first);
	add(h_make(OVL_ROOT, "two", 11, ENTRY_FILE));
	flush();
	assert_int_equal(give(first, first), 0);
	run_for(60);
	assert_true(h_mount.broken);
	journal_forget(&h_mount);
	assert_int_equal(give(first, first),
	    0); /* the first one is not there */
	run_for(60);
	assert_true(h_mount.broken);
}

/* Only the last segment may end in the middle of a record. */
static void
test_torn_middle(void **state)
{
	uint64_t first;

	(void)state;
	segment_begin(0);
	add(h_alloc(100));
	write_file(seg.len - 2);
	first = end;
	assert_int_equal(give(0, 0), 0);
	segment_begin(first);
	add(h_make(OVL_ROOT, "two", 11, ENTRY_FILE));
	flush();
	assert_int_equal(give(first, first), 0);
	run_for(60);
	assert_true(h_mount.broken);
	assert_int_equal(h_mount.row.applied, 0);
}

/* The database says no in the middle of a batch: nothing half; later all. */
static void
test_database_error(void **state)
{
	sqlite3 *sql = *(sqlite3 **)(void *)manifest_db;

	(void)state;
	called = 0;
	assert_int_equal(
	    sqlite3_exec(sql,
		"CREATE TEMP TRIGGER boom BEFORE"
		" INSERT ON main.name WHEN NEW.ovl = 11 BEGIN SELECT"
		" raise(ABORT, 'boom'); END",
		NULL, NULL, NULL),
	    SQLITE_OK);
	segment_begin(0);
	add(h_alloc(100));
	add(h_make(OVL_ROOT, "one", 10, ENTRY_FILE));
	add(h_make(OVL_ROOT, "two", 11, ENTRY_FILE));
	flush();
	assert_int_equal(give(0, 0), 0);
	assert_int_equal(applied_wait_or(&h_mount, end, on_applied, NULL, NULL),
	    0);
	run_for(100);
	assert_false(h_mount.broken);
	assert_int_equal(h_mount.row.applied, 0);
	assert_int_equal(h_mount.row.next, OVL_ROOT + 1);
	assert_int_equal(stored_offset(), 0);
	assert_int_equal(name_at("one"), -1);
	assert_int_equal(journal_drain(&h_mount), -1);
	assert_int_equal(sqlite3_exec(sql, "DROP TRIGGER boom", NULL, NULL,
			     NULL),
	    SQLITE_OK);
	run_to(end);
	assert_int_equal(called, 1);
	assert_int_equal(name_at("two"), 11);
}

/* What is said to be applied may be cut off: only what a loss of power leaves. */
static void
test_not_safe(void **state)
{
	(void)state;
	h_mount.fuse = (struct chan *)&ntold;
	h_mount.started = 1;
	segment_begin(0);
	add(h_alloc(100));
	flush();
	/* What was applied before could not be synced. */
	assert_int_equal(give(0, 0), 0);
	journal_now(&h_mount);
	assert_int_equal(ntold, 1);
	mem.count = 0;
	mem.at = 1;
	mem.all = 1;
	assert_int_equal(journal_sync(&h_mount), -1);
	mem.at = 0;
	syncs = 0;
	add(h_alloc(200));
	flush();
	journal_now(&h_mount);
	assert_int_equal(ntold, 2);
	assert_int_equal(syncs, 1);
	add(h_alloc(300));
	flush();
	journal_now(&h_mount);
	assert_int_equal(ntold, 3);
	assert_int_equal(syncs, 1);
	/* A new manifest knows nothing of the one before. */
	journal_free(&h_mount);
	add(h_alloc(400));
	flush();
	assert_int_equal(give(0, 0), 0);
	journal_now(&h_mount);
	assert_int_equal(ntold, 4);
	assert_int_equal(syncs, 2);
}

/* What could not be said is said when it can be, though nothing more is applied. */
static void
test_said_later(void **state)
{
	unsigned int i;

	(void)state;
	segment_begin(0);
	add(h_alloc(100));
	flush();
	assert_int_equal(give(0, 0), 0);
	sync_fails = 1;
	syncs = 0;
	/* It is tried now and then, not without end, nor with each batch. */
	for (i = 0; i < 50; i++) {
		add(h_alloc(200 + i));
		flush();
		run_for(26);
	}
	assert_true(ntold == 0 && syncs >= 2 && syncs <= 4);
	sync_fails = 0;
	for (i = 0; i < 1000 && ntold == 0; i++)
		run_for(10);
	run_for(100);
	assert_true(ntold == 1 && told == end);
}

/* Held, nothing is applied, unless the mount or its fuse goes; let, all is. */
static void
test_held(void **state)
{
	uint64_t changed, one;
	unsigned int i;

	(void)state;
	called = 0;
	segment_begin(0);
	add(h_alloc(100));
	one = end;
	flush();
	assert_int_equal(give(0, 0), 0);
	run_to(one);
	changed = h_mount.rows_changed;
	journal_hold(&h_mount);
	journal_hold(&h_mount);
	add(h_make(OVL_ROOT, "x", 10, ENTRY_FILE));
	flush();
	assert_int_equal(applied_wait_or(&h_mount, end, on_applied, NULL, NULL),
	    0);
	for (i = 0; i < 50; i++) {
		journal_now(&h_mount);
		event_base_loop(h_base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
	}
	journal_let(&h_mount);
	for (i = 0; i < 50; i++)
		event_base_loop(h_base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
	assert_int_equal(stored_offset(), one);
	assert_int_equal(h_mount.rows_changed, changed);
	assert_int_equal(called, 0);
	journal_let(&h_mount);
	run_to(end);
	assert_int_equal(called, 1);
	assert_int_equal(name_at("x"), 10);
	assert_true(h_mount.rows_changed > changed);
	/* One that is started anew. */
	journal_hold(&h_mount);
	changed = h_mount.rows_changed;
	add(h_make(OVL_ROOT, "y", 11, ENTRY_FILE));
	flush();
	h_mount.started = 0;
	assert_int_equal(applied_wait_or(&h_mount, end, on_applied, NULL, NULL),
	    0);
	run_to(end);
	assert_int_equal(called, 2);
	assert_true(h_mount.rows_changed > changed);
	h_mount.started = 1;
	/* And one that goes. */
	add(h_make(OVL_ROOT, "z", 12, ENTRY_FILE));
	flush();
	assert_int_equal(journal_drain(&h_mount), 0);
	assert_int_equal(name_at("z"), 12);
	journal_let(&h_mount);
}

static void
test_waits(void **state)
{
	uint64_t one;

	(void)state;
	called = 0;
	segment_begin(0);
	add(h_alloc(100));
	one = end;
	add(h_alloc(200));
	write_file(SEGMENT_HEADER_LEN + (size_t)one);
	assert_int_equal(give(0, 0), 0);
	assert_int_equal(applied_wait_or(&h_mount, end, on_applied, NULL, NULL),
	    0);
	assert_int_equal(applied_wait_or(&h_mount, end, on_applied, NULL, NULL),
	    0);
	applied_wait_cancel(&h_mount, on_applied, NULL);
	assert_true(TAILQ_EMPTY(&h_mount.waits));
	/* The first that is called ends the others that are due. */
	assert_int_equal(applied_wait_or(&h_mount, one, on_applied, NULL, &one),
	    0);
	assert_int_equal(applied_wait_or(&h_mount, one, on_applied, NULL, NULL),
	    0);
	assert_int_equal(applied_wait_or(&h_mount, end, on_applied, NULL, &end),
	    0);
	run_to(one);
	assert_int_equal(called, 1);
	flush();
	assert_int_equal(journal_drain(&h_mount), 0);
	assert_int_equal(h_mount.row.applied, end);
	assert_int_equal(called, 1); /* who drains calls nobody */
	/* The mount goes: it will never be there. */
	lost = 0;
	assert_int_equal(applied_wait_or(&h_mount, end + 9, on_applied,
			     on_broken, NULL),
	    0);
	h_mount.gone = 1;
	journal_free(&h_mount);
	run_for(30);
	assert_int_equal(called, 1);
	assert_int_equal(lost, 1);
}

/* A batch of all kinds, with names that its directory's origin has and has not,
   and some that takes more than one flush of objects. */
static void
add_all_kinds(void)
{
	struct record r;
	struct entry f = h_entry(ENTRY_FILE);

	segment_begin(0);
	add(h_alloc(100));
	add(h_make(OVL_ROOT, "one", 10, ENTRY_FILE));
	add(h_make(OVL_ROOT, "dir", 11, ENTRY_DIR));
	add(h_make(11, "two", 12, ENTRY_SYMLINK));
	add(h_copyup(OVL_ROOT, "a", 13, &f, &base, "a"));
	add(h_rename(OVL_ROOT, "a", 11, "b", 0));
	add(h_rename(OVL_ROOT, "one", OVL_ROOT, "a", 0));
	add(h_named(RECORD_LINK, 11, "one", 10));
	r = h_of(RECORD_ATTR, 10);
	r.flags = RECORD_ATTR_SIZE | RECORD_ATTR_MODE;
	r.entry = f;
	r.entry.size = 1000000;
	add(r);
	r = h_of(RECORD_SETTLE, 10);
	r.entry = f;
	r.entry.size = 1000001;
	add(r);
	add(h_of(RECORD_DIRTY, 10));
	add(h_named(RECORD_REMOVE, 11, "two", 0));
	add(h_of(RECORD_DROP, 12));
	add(h_alloc(200));
	add(h_make(OVL_ROOT, "three", 100, ENTRY_FILE));
	add(h_rename(OVL_ROOT, "three", 11, "b", 0));
	flush();
}

/* What the rows say: names, objects, and what the mount's row has. */
static void
dump(struct wbuf *w)
{
	static const uint64_t dirs[] = { OVL_ROOT, 11 };
	struct name_row *rows;
	struct mount_row row;
	struct obj o;
	uint64_t ovl;
	size_t i, j, n;

	w->len = 0;
	for (i = 0; i < 2; i++) {
		assert_int_equal(db_names_of_dir(manifest_db, h_mount.row.row,
				     dirs[i], "", 0, 0, 1000, &rows, &n),
		    0);
		for (j = 0; j < n; j++) {
			wbuf_str16(w, rows[j].name, rows[j].len);
			wbuf_u64(w, rows[j].ovl);
			wbuf_u64(w, rows[j].changed);
		}
		free(rows);
	}
	for (ovl = OVL_ROOT; ovl < 200; ovl++) {
		if (db_obj_get(manifest_db, h_mount.row.row, ovl, &o) == -1) {
			assert_int_equal(errno, ENOENT);
			continue;
		}
		wbuf_u64(w, ovl);
		wbuf_u32(w, o.flags);
		wbuf_u32(w, o.links);
		wbuf_u64(w, o.changed_content);
		wbuf_u64(w, o.changed_attr);
		entry_encode(w, o.entry);
		obj_free(&o);
	}
	assert_int_equal(db_mount_find(manifest_db, h_mount.row.id, &row), 0);
	wbuf_u64(w, row.applied);
	wbuf_u64(w, row.next);
	mount_row_free(&row);
	assert_int_equal(w->error, 0);
}

static void
assert_rows(const struct wbuf *want, struct wbuf *have)
{
	dump(have);
	assert_int_equal(want->len, have->len);
	assert_memory_equal(want->data, have->data, want->len);
}

/* The n-th allocation fails; 0 when there are not so many. */
static int
fails_at(unsigned int n, int all, const struct wbuf *done, unsigned int *undone)
{
	struct wbuf before, now;
	unsigned int seen;
	int rc;

	wbuf_init(&before, 1 << 20);
	wbuf_init(&now, 1 << 20);
	assert_int_equal(setup(NULL), 0);
	add_all_kinds();
	assert_int_equal(give(0, 0), 0);
	dump(&before);
	mem.at = n;
	mem.count = 0;
	mem.all = all;
	rc = journal_drain(&h_mount);
	mem.at = 0;
	seen = mem.count;
	assert_false(h_mount.broken);
	if (rc == -1) {
		++*undone;
		assert_int_equal(h_mount.row.applied, 0);
		assert_rows(&before, &now);
		assert_int_equal(h_mount.row.next, OVL_ROOT + 1);
		assert_int_equal(journal_drain(&h_mount), 0);
		assert_false(h_mount.broken);
	}
	assert_int_equal(h_mount.row.applied, end);
	assert_int_equal(h_mount.row.next, 200);
	assert_rows(done, &now);
	wbuf_free(&before);
	wbuf_free(&now);
	assert_int_equal(teardown(NULL), 0);
	return seen >= n;
}

static void
test_no_memory(void **state)
{
	struct wbuf done;
	unsigned int n, undone = 0;
	int all;

	(void)state;
	wbuf_init(&done, 1 << 20);
	assert_int_equal(setup(NULL), 0);
	add_all_kinds();
	assert_int_equal(give(0, 0), 0);
	assert_int_equal(journal_drain(&h_mount), 0);
	dump(&done);
	assert_int_equal(teardown(NULL), 0);
	for (all = 0; all < 2; all++)
		for (n = 1; fails_at(n, all, &done, &undone); n += 1 + all * 6)
			;
	assert_true(undone > 500);
	print_message("%u batches undone\n", undone);
	wbuf_free(&done);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_applies),
		T(test_torn_end),
		T(test_bad_segment),
		T(test_unreadable),
		T(test_broken_record),
		T(test_refused_record),
		T(test_segments),
		T(test_too_many),
		T(test_missing_segment),
		T(test_torn_middle),
		T(test_database_error),
		T(test_not_safe),
		T(test_said_later),
		T(test_held),
		T(test_waits),
		cmocka_unit_test(test_no_memory),
	};

	return cmocka_run_group_tests(tests, memory_setup, NULL);
}
