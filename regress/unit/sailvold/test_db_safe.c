/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * What a durable transaction says is safe is there after a loss of power, whatever
 * the disk did before: where a sync has failed the kernel has forgotten what it did
 * not write, and what is written over it, until the file is cut.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "lib/log.h"
#include "sailvold/db.h"

/* What has failed is tried again later. */
static time_t later;

int
clock_gettime(clockid_t clock, struct timespec *ts)
{
	int rc = (int)syscall(SYS_clock_gettime, clock, ts);

	ts->tv_sec += later;
	return rc;
}

#define DISK_BYTES ((size_t)32 << 20)
#define BLOCK 4096

/* ---- a disk ---------------------------------------------------------------------- */

struct change {
	struct change *next;
	size_t at, len; /* of a cut: at */
	int is_cut;
	uint8_t data[];
};

/* The database, and its log. */
enum { DB, WAL, FILES };
static struct disk {
	sqlite3_io_methods methods;
	uint8_t *data; /* what a loss of power leaves */
	uint8_t *lost; /* blocks that nothing reaches any more */
	size_t size;
	struct change *first, **end; /* not synced */
	int failing;
	int half;     /* of that some come to the disk */
	int no_write; /* errno */
	unsigned int failed;
} disks[FILES];
static sqlite3_vfs vfs, *real;
static sqlite3_io_methods real_methods[FILES];

static struct disk *
disk_of(const sqlite3_file *f)
{
	return f->pMethods == &disks[DB].methods ? &disks[DB] : &disks[WAL];
}

static void
keep(struct disk *d, const void *data, size_t at, size_t len)
{
	struct change *c = calloc(1, sizeof(*c) + len);

	assert_non_null(c);
	assert_true(at + len <= DISK_BYTES);
	c->at = at;
	c->len = len;
	c->is_cut = data == NULL;
	if (len > 0)
		memcpy(c->data, data, len);
	*d->end = c;
	d->end = &c->next;
}

static int
on_write(sqlite3_file *f, const void *data, int n, sqlite3_int64 at)
{
	struct disk *d = disk_of(f);

	if (d->no_write != 0) {
		errno = d->no_write;
		return errno == ENOSPC ? SQLITE_FULL : SQLITE_IOERR_WRITE;
	}
	keep(d, data, (size_t)at, (size_t)n);
	return real_methods[d - disks].xWrite(f, data, n, at);
}

static int
on_truncate(sqlite3_file *f, sqlite3_int64 size)
{
	struct disk *d = disk_of(f);

	keep(d, NULL, (size_t)size, 0);
	return real_methods[d - disks].xTruncate(f, size);
}

static void
cut(struct disk *d, size_t size)
{
	size_t block = (size + BLOCK - 1) / BLOCK;

	if (size < d->size)
		memset(d->data + size, 0, d->size - size);
	d->size = size;
	memset(d->lost + block, 0, DISK_BYTES / BLOCK - block);
}

static void
write_to(struct disk *d, const struct change *c, int fails)
{
	size_t i;

	for (i = c->at; i < c->at + c->len; i++)
		if (fails && i >= d->size)
			d->lost[i / BLOCK] = 1;
		else if (!fails && !d->lost[i / BLOCK])
			d->data[i] = c->data[i - c->at];
	if (!fails && c->at + c->len > d->size)
		d->size = c->at + c->len;
}

static int
sync_disk(struct disk *d)
{
	struct change *c;
	unsigned int n = 0;

	while ((c = d->first) != NULL) {
		d->first = c->next;
		if (c->is_cut)
			cut(d, c->at);
		else
			write_to(d, c, d->failing && !(d->half && (n++ & 1)));
		free(c);
	}
	d->end = &d->first;
	d->failed += (unsigned int)d->failing;
	return d->failing ? SQLITE_IOERR_FSYNC : SQLITE_OK;
}

static int
on_sync(sqlite3_file *f, int flags)
{
	(void)flags;
	return sync_disk(disk_of(f));
}

/* How the log is written anew: SQLite does it by pwrite64.  What goes beside the
   memory comes to any block. */
ssize_t
pwrite(int fd, const void *data, size_t len, off_t at)
{
	struct disk *d = &disks[WAL];

	if (fcntl(fd, F_GETFL) & O_DIRECT)
		memset(d->lost + (size_t)at / BLOCK, 0,
		    (len + BLOCK - 1) / BLOCK);
	keep(d, data, (size_t)at, len);
	return syscall(SYS_pwrite64, fd, data, len, at);
}

int
fsync(int fd)
{
	struct stat log, st;

	if (stat("db-wal", &log) == -1 || fstat(fd, &st) == -1 ||
	    st.st_ino != log.st_ino)
		return (int)syscall(SYS_fsync, fd);
	if (sync_disk(&disks[WAL]) == SQLITE_OK)
		return 0;
	errno = EIO;
	return -1;
}

static int
on_open(sqlite3_vfs *v, const char *name, sqlite3_file *f, int flags, int *out)
{
	int rc = real->xOpen(real, name, f, flags, out), i;

	(void)v;
	if (rc != SQLITE_OK || f->pMethods == NULL ||
	    !(flags & (SQLITE_OPEN_MAIN_DB | SQLITE_OPEN_WAL)))
		return rc;
	i = (flags & SQLITE_OPEN_WAL) != 0;
	real_methods[i] = disks[i].methods = *f->pMethods;
	disks[i].methods.xWrite = on_write;
	disks[i].methods.xTruncate = on_truncate;
	disks[i].methods.xSync = on_sync;
	f->pMethods = &disks[i].methods;
	return rc;
}

/* ---- tests ----------------------------------------------------------------------- */

static char dir[] = "/tmp/test_db_safe.XXXXXX";
static struct db *db;
static unsigned int made; /* rows */

static void
row_hash(unsigned int i, struct hash *h)
{
	hash_bytes(h, (const uint8_t *)&i, sizeof(i));
}

static int
is_there(struct db *in, unsigned int i)
{
	struct hash h;
	struct blob *b;

	row_hash(i, &h);
	if ((b = db_commit_get(in, &h)) == NULL)
		return 0;
	blob_unref(b);
	return 1;
}

/* One row more: what begins or ends it says. */
static int
make(int durable)
{
	static uint8_t bytes[9000];
	struct hash h;

	row_hash(made, &h);
	if ((durable ? db_begin_durable(db) : db_begin(db)) == -1)
		return -1;
	if (db_commit_put(db, &h, bytes, sizeof(bytes)) == 0 &&
	    db_commit(db) == 0) {
		made++;
		return 0;
	}
	db_rollback(db);
	return -1;
}

static void
write_disk(const char *name, const struct disk *d)
{
	FILE *f = fopen(name, "w");

	assert_non_null(f);
	assert_int_equal(fwrite(d->data, 1, d->size, f), d->size);
	assert_int_equal(fclose(f), 0);
}

/* Rows that would be there after a loss of power now, as long as each is. */
static unsigned int
left(void)
{
	sqlite3_vfs *ours = sqlite3_vfs_find("disk");
	struct db *after;
	unsigned int n = 0;

	write_disk("after", &disks[DB]);
	write_disk("after-wal", &disks[WAL]);
	sqlite3_vfs_register(real, 1);
	assert_non_null(after = db_open("after"));
	while (is_there(after, n))
		n++;
	db_close(after);
	sqlite3_vfs_register(ours, 1);
	(void)unlink("after");
	(void)unlink("after-wal");
	return n;
}

static int
setup(void **state)
{
	int i;

	(void)state;
	strlcpy(dir, "/tmp/test_db_safe.XXXXXX", sizeof(dir));
	assert_non_null(mkdtemp(dir));
	assert_int_equal(chdir(dir), 0);
	for (i = 0; i < FILES; i++) {
		disks[i].data = calloc(1, DISK_BYTES);
		disks[i].lost = calloc(1, DISK_BYTES / BLOCK);
		disks[i].size = 0;
		disks[i].first = NULL;
		disks[i].end = &disks[i].first;
		disks[i].failing = disks[i].no_write = disks[i].half = 0;
		disks[i].failed = 0;
	}
	made = 0;
	assert_non_null(db = db_open("db"));
	assert_int_equal(make(1), 0);
	assert_int_equal(left(), made);
	return 0;
}

static int
teardown(void **state)
{
	struct change *c;
	char cmd[64];
	int i;

	(void)state;
	db_close(db);
	for (i = 0; i < FILES; i++) {
		while ((c = disks[i].first) != NULL) {
			disks[i].first = c->next;
			free(c);
		}
		free(disks[i].data);
		free(disks[i].lost);
	}
	assert_int_equal(chdir("/"), 0);
	snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
	return system(cmd);
}

static void
commit_fails(void **state)
{
	unsigned int before;

	(void)state;
	assert_int_equal(make(0), 0);
	assert_int_equal(make(0), 0);
	before = left();
	assert_true(before < made);
	disks[WAL].failing = 1;
	assert_int_equal(make(1), -1);
	/* In order all goes on. */
	assert_int_equal(make(0), 0);
	assert_int_equal(make(1), -1);
	assert_int_equal(errno, EIO);
	disks[WAL].failing = 0;
	assert_int_equal(left(), before);
	later += 10;
	assert_int_equal(make(1), 0);
	assert_int_equal(left(), made);
	assert_int_equal(make(0), 0);
	assert_int_equal(make(1), 0);
	assert_int_equal(left(), made);
}

/* What SQLite does in passing fails, of which nobody is told, and then the next
   attempt does in another way. */
static void
checkpoint_fails(void **state)
{
	(void)state;
	disks[WAL].failing = 1;
	while (disks[WAL].failed == 0)
		assert_int_equal(make(0), 0);
	disks[WAL].failing = 0;
	disks[DB].failing = 1;
	assert_int_equal(make(1), -1);
	assert_int_equal(errno, EIO);
	/* The log was written anew. */
	assert_int_equal(left(), made);
	disks[DB].failing = 0;
	/* What it has is written once more, in its place. */
	memset(disks[DB].lost, 0, DISK_BYTES / BLOCK);
	later += 10;
	assert_int_equal(make(1), 0);
	assert_int_equal(left(), made);
}

/* And is in the middle of it when the power goes. */
static void
half_a_checkpoint(void **state)
{
	int i;

	(void)state;
	for (i = 0; i < 20; i++)
		assert_int_equal(make(0), 0);
	disks[WAL].failing = 1;
	assert_int_equal(make(1), -1);
	disks[WAL].failing = 0;
	disks[DB].failing = disks[DB].half = 1;
	assert_int_equal(make(1), -1);
	/* What has failed may come back. */
	assert_true(left() >= made);
	disks[DB].failing = 0;
	memset(disks[DB].lost, 0, DISK_BYTES / BLOCK);
	later += 10;
	assert_int_equal(make(1), 0);
	assert_int_equal(left(), made);
}

/* Each attempt would write all of the log: they are few, and what needs it fails
   meanwhile. */
static void
braked(void **state)
{
	unsigned int failed;
	int i;

	(void)state;
	disks[WAL].failing = 1;
	assert_int_equal(make(1), -1);
	disks[DB].failing = 1;
	/* Of a second each ten attempts; each has the log grow, too. */
	failed = disks[DB].failed + disks[WAL].failed;
	for (i = 0; i < 300; i++) {
		assert_int_equal(make(0), 0);
		assert_int_equal(make(1), -1);
		assert_int_equal(errno, EIO);
		later += i % 10 == 0;
	}
	failed = disks[DB].failed + disks[WAL].failed - failed;
	/* Two syncs each. */
	assert_true(failed >= 10 && failed <= 24);
	disks[WAL].failing = disks[DB].failing = 0;
	memset(disks[DB].lost, 0, DISK_BYTES / BLOCK);
	later += 5;
	assert_int_equal(make(1), 0);
	assert_int_equal(left(), made);
	/* It is soon tried when it fails another time. */
	disks[WAL].failing = 1;
	assert_int_equal(make(1), -1);
	assert_int_equal(make(1), -1);
	disks[WAL].failing = 0;
	later += 1;
	assert_int_equal(make(1), 0);
	assert_int_equal(left(), made);
}

/* The process that has heard of it is not there any more. */
static void
before_this(void **state)
{
	sqlite3 *sql = *(sqlite3 **)(void *)db;

	(void)state;
	assert_int_equal(make(0), 0);
	disks[WAL].failing = 1;
	assert_int_equal(make(1), -1);
	disks[WAL].failing = 0;
	assert_int_equal(make(0), 0);
	/* As if it had been killed. */
	assert_int_equal(sqlite3_db_config(sql,
			     SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL),
	    SQLITE_OK);
	db_close(db);
	assert_non_null(db = db_open("db"));
	assert_true(is_there(db, made - 1));
	assert_int_equal(make(1), 0);
	assert_int_equal(left(), made);
}

static unsigned int nfull;

static void
full(void)
{
	nfull++;
}

/* Where there is no room for that, what could be kept can. */
static void
no_room(void **state)
{
	(void)state;
	db_on_full(full);
	disks[WAL].failing = 1;
	assert_int_equal(make(1), -1);
	disks[WAL].failing = 0;
	disks[DB].no_write = ENOSPC;
	nfull = 0;
	assert_int_equal(make(1), -1);
	assert_int_equal(errno, ENOSPC);
	assert_int_equal(nfull, 2);
	assert_int_equal(make(0), 0);
	disks[DB].no_write = 0;
	later += 10;
	assert_int_equal(make(1), 0);
	assert_int_equal(left(), made);
	/* As it is of one that has just been started. */
	disks[DB].no_write = ENOSPC;
	db_close(db);
	assert_non_null(db = db_open("db"));
	assert_int_equal(make(1), 0);
	assert_int_equal(left(), made);
	disks[DB].no_write = 0;
	db_on_full(NULL);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = { T(commit_fails),
		T(checkpoint_fails), T(half_a_checkpoint), T(braked),
		T(before_this), T(no_room) };

	log_init("test_db_safe", 1, 0);
	real = sqlite3_vfs_find(NULL);
	vfs = *real;
	vfs.zName = "disk";
	vfs.xOpen = on_open;
	sqlite3_vfs_register(&vfs, 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
