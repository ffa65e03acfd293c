/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * A journal that was cut at any byte opens with exactly the whole records of
 * before, and nothing is cut that another version wrote; an append without room changes nothing; only whole applied segments
 * are removed, and one of them is kept; more than manifest may have open there
 * never are; where there is no room a journal opens, and says so when it is
 * written to; what is to be safe from a loss of power is all that was not, in
 * whichever segments it stands; what could not be written is never taken for safe.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <cmocka.h>

#include "lib/hash.h"
#include "sailvold/journal.h"
#include "sailvold/record.h"

static char dir[] = "/tmp/test_journal.XXXXXX";
static const uint8_t mount_id[16] = { 1 }, conn_a[16] = { 2 },
		     conn_b[16] = { 3 };

static int
in_dir(void **state)
{
	(void)state;
	strlcpy(dir, "/tmp/test_journal.XXXXXX", sizeof(dir));
	assert_non_null(mkdtemp(dir));
	return chdir(dir);
}

static int
out_of_dir(void **state)
{
	char cmd[64];

	(void)state;
	journal_close();
	assert_int_equal(chdir("/"), 0);
	snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
	return system(cmd);
}

static size_t
encode(struct wbuf *w, uint64_t unique, uint64_t ovl)
{
	struct record r;

	memset(&r, 0, sizeof(r));
	r.type = RECORD_DROP;
	r.unique = unique;
	r.ovl = ovl;
	wbuf_init(w, 1 << 20);
	record_encode(w, &r);
	assert_int_equal(w->error, 0);
	return w->len;
}

static int
append(uint64_t unique, uint64_t ovl)
{
	struct wbuf w;
	int rc, error;

	encode(&w, unique, ovl);
	rc = journal_append(w.data, w.len);
	error = errno;
	wbuf_free(&w);
	errno = error;
	return rc;
}

static int count_segments(void);

static void
torn(void **state)
{
	const struct journal_done *d;
	struct stat st;
	struct wbuf w;
	uint64_t end;
	size_t one, n;
	int i;

	(void)state;
	one = encode(&w, 1, 1);
	wbuf_free(&w);
	assert_int_equal(journal_open("journal", mount_id, conn_a, 0), 0);
	for (i = 1; i <= 5; i++)
		assert_int_equal(append((uint64_t)i * 2, (uint64_t)i), 0);
	end = journal_end();
	assert_int_equal(end, 5 * one);
	assert_int_equal(stat("journal/0000000000000000", &st), 0);
	for (n = 0; n <= 5 * one; n++) {
		journal_close();
		assert_int_equal(truncate("journal/0000000000000000",
				     st.st_size - (off_t)n),
		    0);
		assert_int_equal(journal_open("journal", mount_id, conn_a, 1),
		    0);
		assert_int_equal(journal_end(), (5 * one - n) / one * one);
		d = journal_find(2);
		assert_true((d != NULL) == (5 * one - n >= one));
		/* It goes on where the whole ones end. */
		for (i = (int)((5 * one - n) / one) + 1; i <= 5; i++)
			assert_int_equal(append((uint64_t)i * 2, (uint64_t)i),
			    0);
		assert_int_equal(journal_end(), end);
	}
	journal_close();
	assert_int_equal(journal_open("journal", mount_id, conn_a, 1), 0);
	d = journal_find(10);
	assert_non_null(d);
	assert_int_equal(d->ovl, 5);
	assert_int_equal(d->type, RECORD_DROP);
	assert_null(journal_find(11));
}

/* However many were done that are not applied yet, the last are known. */
static void
many(void **state)
{
	enum { ALL = 1200000, AT_ONCE = 20000 };
	struct wbuf all, w;
	uint64_t i = 1;
	size_t n;

	(void)state;
	assert_int_equal(journal_open("journal", mount_id, conn_a, 0), 0);
	while (i <= ALL) {
		wbuf_init(&all, 4 << 20);
		for (n = 0; n < AT_ONCE; n++, i++) {
			encode(&w, i * 2, i);
			wbuf_bytes(&all, w.data, w.len);
			wbuf_free(&w);
		}
		assert_int_equal(journal_append(all.data, all.len), 0);
		wbuf_free(&all);
	}
	journal_close();
	assert_int_equal(journal_open("journal", mount_id, conn_a, 1), 0);
	assert_null(journal_find(2));
	for (i = ALL - 500000; i <= ALL; i++) {
		assert_non_null(journal_find(i * 2));
		assert_int_equal(journal_find(i * 2)->ovl, i);
	}
	assert_null(journal_find(i * 2));
}

/* A record that another version wrote is somebody's change: nothing is cut. */
static void
not_understood(void **state)
{
	static const char path[] = "journal/0000000000000000";
	const uint8_t zeros[32] = { 0 };
	struct stat before, after;
	struct wbuf w;
	uint64_t end;
	int fd;

	(void)state;
	assert_int_equal(journal_open("journal", mount_id, conn_a, 0), 0);
	assert_int_equal(append(2, 1), 0);
	end = journal_end();
	encode(&w, 4, 2);
	w.data[4] = 200; /* its type */
	wbuf_set_u32(&w, w.len - 4, crc32c(0, w.data, w.len - 4));
	assert_int_equal(journal_append(w.data, w.len), 0);
	wbuf_free(&w);
	journal_close();
	assert_int_equal(stat(path, &before), 0);
	assert_int_equal(journal_open("journal", mount_id, conn_a, 1), -1);
	assert_int_equal(errno, EBADMSG);
	journal_close();
	assert_int_equal(stat(path, &after), 0);
	assert_int_equal(after.st_size, before.st_size);
	/* What is no record at all goes. */
	assert_int_equal(truncate(path, SEGMENT_HEADER_LEN + (off_t)end), 0);
	assert_int_not_equal(fd = open(path, O_WRONLY | O_APPEND), -1);
	assert_int_equal(write(fd, zeros, sizeof(zeros)), sizeof(zeros));
	close(fd);
	assert_int_equal(journal_open("journal", mount_id, conn_a, 1), 0);
	assert_int_equal(journal_end(), end);
}

/* Into a segment of before nothing is written that it does not have. */
static void
older_version(void **state)
{
	static const char path[] = "journal/0000000000000000";
	const uint8_t first = SEGMENT_VERSION_FIRST;
	struct stat before, after;
	uint64_t end;
	int fd;

	(void)state;
	assert_int_equal(journal_open("journal", mount_id, conn_a, 0), 0);
	assert_int_equal(append(2, 1), 0);
	end = journal_end();
	journal_close();
	assert_int_not_equal(fd = open(path, O_WRONLY), -1);
	assert_int_equal(pwrite(fd, &first, 1, 8), 1);
	close(fd);
	assert_int_equal(stat(path, &before), 0);
	assert_int_equal(journal_open("journal", mount_id, conn_a, 1), 0);
	assert_int_equal(journal_end(), end);
	assert_non_null(journal_find(2));
	assert_int_equal(append(4, 2), 0);
	assert_int_equal(stat(path, &after), 0);
	assert_int_equal(after.st_size, before.st_size);
	journal_close();
	assert_int_equal(journal_open("journal", mount_id, conn_a, 1), 0);
	assert_non_null(journal_find(2));
	assert_non_null(journal_find(4));
}

static void
other_mount_and_connection(void **state)
{
	static const uint8_t other[16] = { 9 };
	uint64_t end;

	(void)state;
	assert_int_equal(journal_open("journal", mount_id, conn_a, 0), 0);
	assert_int_equal(append(2, 1), 0);
	end = journal_end();
	journal_close();
	assert_int_equal(journal_open("journal", other, conn_a, 0), -1);
	journal_close();
	/* Another connection: its requests' numbers begin anew. */
	assert_int_equal(journal_open("journal", mount_id, conn_b, 0), 0);
	assert_int_equal(journal_end(), end);
	assert_int_equal(append(4, 1), 0);
	journal_close();
	assert_int_equal(journal_open("journal", mount_id, conn_b, 1), 0);
	assert_null(journal_find(2));
	assert_non_null(journal_find(4));
}

/* The disk has less than this; -1: there is room. */
static off_t disk_room = -1;
static off_t taken; /* of it, the last time */

int
fallocate(int fd, int mode, off_t at, off_t len)
{
	if (disk_room != -1 && len > disk_room) {
		errno = ENOSPC;
		return -1;
	}
	taken = len;
	return (int)syscall(SYS_fallocate, fd, mode, at, len);
}

static unsigned int begun;

static void
on_begun(uint64_t first, int fd, void *arg)
{
	(void)first;
	(void)arg;
	close(fd);
	begun++;
}

/* A new connection begins on a disk that is nearly full, or full. */
static void
no_room_at_open(void **state)
{
	struct rlimit old, rl;
	uint64_t end;

	(void)state;
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	assert_int_equal(journal_open("journal", mount_id, conn_a, 0), 0);
	assert_int_equal(append(2, 1), 0);
	end = journal_end();
	journal_close();
	/* Less than a segment, and more than nothing. */
	disk_room = 2 << 20;
	assert_int_equal(journal_open("journal", mount_id, conn_b, 0), 0);
	assert_int_equal(taken, 1 << 20);
	assert_int_equal(append(2, 1), 0);
	assert_int_equal(count_segments(), 2);
	end = journal_end();
	journal_close();
	disk_room = 0;
	assert_int_equal(journal_open("journal", mount_id, conn_a, 0), 0);
	assert_int_equal(append(2, 1), 0);
	assert_true(journal_end() > end);
	end = journal_end();
	journal_close();
	/* Not even its header. */
	rl = old;
	rl.rlim_cur = 0;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &rl), 0);
	assert_int_equal(journal_open("journal", mount_id, conn_b, 0), 0);
	journal_on_segment(on_begun, NULL);
	begun = 0;
	assert_int_equal(journal_end(), end);
	assert_int_equal(append(8, 1), -1);
	assert_int_equal(errno, ENOSPC);
	assert_int_equal(count_segments(), 3);
	assert_int_equal(journal_end(), end);
	/* What was before is lost, and there is no room to say so. */
	assert_int_equal(journal_skip(end + 100), 0);
	assert_int_equal(journal_end(), end + 100);
	assert_int_equal(append(8, 1), -1);
	assert_int_equal(errno, ENOSPC);
	assert_int_equal(journal_end(), end + 100);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	assert_int_equal(begun, 0);
	assert_int_equal(append(8, 1), 0);
	assert_int_equal(begun, 1);
	disk_room = -1;
	journal_close();
	assert_int_equal(journal_open("journal", mount_id, conn_b, 1), 0);
	assert_non_null(journal_find(8));
	assert_true(journal_end() > end + 100);
	assert_int_equal(count_segments(), 1);
}

static void
no_room(void **state)
{
	struct rlimit old, rl;
	uint64_t end;
	int i, rc = 0;

	(void)state;
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	assert_int_equal(journal_open("journal", mount_id, conn_a, 0), 0);
	rl = old;
	rl.rlim_cur = 1000; /* in the middle of a record */
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &rl), 0);
	for (i = 0; i < 100 && rc == 0; i++) {
		end = journal_end();
		rc = append(2, 1);
	}
	assert_int_equal(rc, -1);
	assert_int_equal(errno, ENOSPC);
	assert_int_equal(journal_end(), end);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	assert_int_equal(append(6, 2), 0);
	journal_close();
	assert_int_equal(journal_open("journal", mount_id, conn_a, 1), 0);
	assert_non_null(journal_find(6));
	assert_true(journal_end() > end);
}

static int
count_segments(void)
{
	char name[64];
	int n = 0;
	FILE *p = popen("ls journal | grep -vc unsafe", "r");

	assert_non_null(p);
	assert_non_null(fgets(name, sizeof(name), p));
	n = (int)strtol(name, NULL, 10);
	pclose(p);
	return n;
}

/* Many records at once, n times. */
static void
append_many(int n)
{
	static uint8_t many[1024 * 1024];
	struct wbuf w;
	size_t one, len = 0;

	one = encode(&w, 2, 1);
	while (len + one <= sizeof(many)) {
		memcpy(many + len, w.data, one);
		len += one;
	}
	wbuf_free(&w);
	while (n-- > 0)
		assert_int_equal(journal_append(many, len), 0);
}

static void
cut(void **state)
{
	uint64_t end;

	(void)state;
	assert_int_equal(journal_open("journal", mount_id, conn_a, 0), 0);
	append_many(70);
	assert_int_equal(count_segments(), 5);
	journal_cut(0);
	assert_int_equal(count_segments(), 5);
	end = journal_end();
	/* All is applied: the last, and one whole one. */
	journal_cut(end);
	assert_int_equal(count_segments(), 2);
	journal_close();
	assert_int_equal(journal_open("journal", mount_id, conn_a, 0), 0);
	assert_int_equal(journal_end(), end);
	assert_int_equal(journal_skip(end + 12345), 0);
	assert_int_equal(journal_end(), end + 12345);
	assert_int_equal(count_segments(), 1);
}

/* As many segments as may be, each of one record. */
static void
make_full(void)
{
	uint8_t header[SEGMENT_HEADER_LEN];
	struct segment_header h;
	struct wbuf w;
	char name[32];
	size_t one;
	int fd, i;

	one = encode(&w, 2, 1);
	memcpy(h.mount, mount_id, 16);
	memcpy(h.connection, conn_a, 16);
	assert_int_equal(mkdir("journal", 0700), 0);
	for (i = 0; i < SEGMENTS_MAX; i++) {
		h.first = (uint64_t)i * one;
		segment_header_encode(header, &h);
		snprintf(name, sizeof(name), "journal/%016zx", (size_t)h.first);
		fd = open(name, O_WRONLY | O_CREAT | O_EXCL, 0600);
		assert_true(fd != -1);
		assert_int_equal(write(fd, header, sizeof(header)),
		    (ssize_t)sizeof(header));
		assert_int_equal(write(fd, w.data, one), (ssize_t)one);
		close(fd);
	}
	wbuf_free(&w);
}

static void
full(void **state)
{
	uint64_t end;

	(void)state;
	make_full();
	assert_int_equal(journal_open("journal", mount_id, conn_a, 1), 0);
	append_many(15);
	end = journal_end();
	while (append(4, 1) == 0)
		end = journal_end();
	assert_int_equal(errno, ENOSPC);
	assert_int_equal(journal_end(), end);
	assert_int_equal(count_segments(), SEGMENTS_MAX);
	journal_cut(end);
	assert_int_equal(append(4, 1), 0);
	assert_int_equal(count_segments(), 3);
}

static uint64_t told_first;

static void
told(uint64_t first, int fd, void *arg)
{
	(void)arg;
	told_first = first;
	close(fd);
}

/* After a loss of power manifest may know more than the journal holds. */
static void
ends_before_applied(void **state)
{
	uint64_t applied, end;

	(void)state;
	assert_int_equal(journal_open("journal", mount_id, conn_a, 0), 0);
	assert_int_equal(append(2, 1), 0);
	end = journal_end();
	journal_close();
	assert_int_equal(journal_open("journal", mount_id, conn_b, 0), 0);
	applied = journal_end() + 777;
	journal_on_segment(told, NULL);
	assert_int_equal(journal_skip(applied), 0);
	/* manifest is handed the one new segment, which begins there. */
	assert_int_equal(told_first, applied);
	assert_int_equal(append(4, 2), 0);
	assert_int_equal(journal_end(), applied + end);
	journal_close();
	/* The next fuse finds that one, and what was done in it. */
	assert_int_equal(journal_open("journal", mount_id, conn_b, 1), 0);
	assert_int_equal(count_segments(), 1);
	assert_int_equal(journal_end(), applied + end);
	assert_non_null(journal_find(4));
	assert_null(journal_find(2));
}

/* The numbers of the segments that fdatasync is to be called for. */
static size_t
unsynced(ino_t *inodes, size_t max, uint64_t *end)
{
	struct stat st;
	size_t n, i;
	int *fds;

	assert_int_equal(journal_unsynced(&fds, &n, end), 0);
	assert_true(n <= max);
	for (i = 0; i < n; i++) {
		assert_int_equal(fstat(fds[i], &st), 0);
		inodes[i] = st.st_ino;
		close(fds[i]);
	}
	free(fds);
	return n;
}

static void
synced_over_segments(void **state)
{
	ino_t a[4], b[4];
	uint64_t end;

	(void)state;
	assert_int_equal(journal_open("journal", mount_id, conn_a, 0), 0);
	assert_int_equal(append(2, 1), 0);
	assert_int_equal(unsynced(a, 4, &end), 1);
	journal_synced(end);
	/* What was appended since stands in two. */
	assert_int_equal(append(4, 2), 0);
	append_many(17);
	assert_int_equal(append(6, 3), 0);
	assert_int_equal(unsynced(b, 4, &end), 2);
	assert_int_equal(a[0], b[0]);
	assert_true(a[0] != b[1]);
	/* Synced to before the end of the first: it is none yet. */
	journal_synced(1);
	assert_int_equal(unsynced(a, 4, &end), 2);
	journal_synced(end);
	assert_int_equal(unsynced(a, 4, &end), 1);
	assert_int_equal(a[0], b[1]);
}

static int
is_marked(void)
{
	return access("journal/unsafe", F_OK) == 0;
}

/* Where a sync has failed nothing is safe before all of it is applied, and
   something behind it: then it is gone, for the disk may have holes in it. */
static void
sync_failed(void **state)
{
	uint64_t end, until;
	ino_t a[4], b[4];
	size_t n;
	int *fds;

	(void)state;
	assert_int_equal(journal_open("journal", mount_id, conn_a, 0), 0);
	assert_int_equal(append(2, 1), 0);
	assert_int_equal(unsynced(a, 4, &end), 1);
	journal_synced(end);
	assert_true(journal_is_synced());
	assert_int_equal(append(4, 2), 0);
	assert_false(journal_is_synced());
	assert_int_equal(journal_mark_unsafe(), 0);
	journal_not_synced(0);
	until = journal_end();
	assert_int_equal(count_segments(), 2);
	assert_int_equal(journal_unsynced(&fds, &n, &end), -1);
	assert_int_equal(errno, EIO);
	/* Applied, which a loss of power may yet take back. */
	journal_cut(until);
	assert_int_equal(journal_unsynced(&fds, &n, &end), -1);
	/* Another process finds it so. */
	assert_int_equal(append(6, 3), 0);
	journal_close();
	assert_true(is_marked());
	assert_int_equal(journal_open("journal", mount_id, conn_a, 1), 0);
	assert_int_equal(count_segments(), 3);
	assert_non_null(journal_find(4));
	assert_int_equal(journal_unsynced(&fds, &n, &end), -1);
	assert_int_equal(append(8, 4), 0);
	journal_cut(until + 1);
	assert_int_equal(count_segments(), 2);
	assert_int_equal(journal_unsynced(&fds, &n, &end), -1);
	journal_cut(journal_end());
	assert_int_equal(count_segments(), 1);
	assert_false(is_marked());
	assert_int_equal(unsynced(b, 4, &end), 1);
	journal_synced(end);
	assert_true(journal_is_synced());
}

static uint64_t heard[8];
static unsigned int nheard;

static void
hear(uint64_t first, int fd, void *arg)
{
	(void)arg;
	close(fd);
	assert_true(nheard < 8);
	heard[nheard++] = first;
}

/* Also before the first record: manifest never hears of two with one name. */
static void
sync_failed_empty(void **state)
{
	uint64_t end;
	unsigned int i;
	size_t n;
	int *fds;

	(void)state;
	nheard = 0;
	assert_int_equal(journal_open("journal", mount_id, conn_a, 0), 0);
	journal_segments(hear, NULL);
	journal_on_segment(hear, NULL);
	assert_int_equal(nheard, 1);
	assert_int_equal(journal_mark_unsafe(), 0);
	journal_not_synced(0);
	journal_not_synced(0);
	assert_int_equal(journal_unsynced(&fds, &n, &end), -1);
	assert_int_equal(errno, EIO);
	assert_int_equal(append(2, 1), 0);
	assert_int_equal(append(4, 2), 0);
	assert_int_equal(append(6, 3), 0);
	for (i = 1; i < nheard; i++)
		assert_true(heard[i] > heard[i - 1]);
	assert_int_equal(nheard, 2);
	assert_int_equal(count_segments(), 2);
	journal_cut(journal_end());
	assert_int_equal(count_segments(), 1);
	assert_false(is_marked());
	assert_int_equal(append(8, 4), 0);
}

/* And a loss of power in between leaves the mount what was safe. */
static void
sync_failed_and_power_lost(void **state)
{
	char name[64];
	uint64_t whole, first;

	(void)state;
	assert_int_equal(journal_open("journal", mount_id, conn_a, 0), 0);
	assert_int_equal(append(2, 1), 0);
	whole = journal_end();
	assert_int_equal(append(4, 2), 0);
	assert_int_equal(journal_mark_unsafe(), 0);
	journal_not_synced(0);
	first = journal_end();
	assert_int_equal(append(6, 3), 0);
	journal_close();
	snprintf(name, sizeof(name), "journal/%016llx", 0ULL);
	assert_int_equal(truncate(name,
			     (off_t)(SEGMENT_HEADER_LEN + whole + 3)),
	    0);
	/* Without a word of it that is damage. */
	assert_int_equal(unlink("journal/unsafe"), 0);
	assert_int_equal(journal_open("journal", mount_id, conn_a, 0), -1);
	assert_int_equal(errno, EBADMSG);
	journal_close();
	assert_int_equal(close(
			     open("journal/unsafe", O_CREAT | O_WRONLY, 0600)),
	    0);
	assert_int_equal(journal_open("journal", mount_id, conn_b, 0), 0);
	assert_int_equal(journal_end(), whole);
	assert_true(whole < first);
	assert_int_equal(count_segments(), 2);
	assert_int_equal(append(8, 4), 0);
}

static rlim_t
no_files(rlim_t n)
{
	struct rlimit rl;
	rlim_t old;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &rl), 0);
	old = rl.rlim_cur;
	rl.rlim_cur = n;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &rl), 0);
	return old;
}

/* Where that cannot be noted no other segment is begun: a loss of power finds
   holes at the end only.  It is noted later. */
static void
not_marked(void **state)
{
	uint64_t end;
	int *fds, error;
	ino_t a[4];
	rlim_t old;
	size_t n;

	(void)state;
	assert_int_equal(journal_open("journal", mount_id, conn_a, 0), 0);
	assert_int_equal(append(2, 1), 0);
	old = no_files(3);
	error = journal_mark_unsafe();
	assert_int_equal(error, EMFILE);
	journal_not_synced(error);
	assert_int_equal(append(4, 2), 0);
	assert_int_equal(journal_unsynced(&fds, &n, &end), -1);
	assert_int_equal(errno, EIO);
	journal_cut(journal_end());
	assert_int_equal(journal_unsynced(&fds, &n, &end), -1);
	assert_int_equal(errno, EIO);
	no_files(old);
	assert_false(is_marked());
	assert_int_equal(count_segments(), 1);
	assert_int_equal(journal_safety(), JOURNAL_UNSAFE);
	/* Who syncs, or changes something, has it noted. */
	assert_int_equal(journal_unsynced(&fds, &n, &end), -1);
	assert_true(is_marked());
	assert_int_equal(append(6, 3), 0);
	assert_int_equal(journal_safety(), JOURNAL_UNSAFE_BEHIND);
	assert_int_equal(count_segments(), 2);
	journal_cut(journal_end());
	assert_int_equal(journal_safety(), JOURNAL_SAFE);
	assert_false(is_marked());
	assert_int_equal(unsynced(a, 4, &end), 1);
}

static int may_cut;
static uint64_t cut_first, cut_end;

static int
on_cut(uint64_t first, uint64_t cut_to)
{
	cut_first = first;
	cut_end = cut_to;
	return may_cut ? 0 : -1;
}

/* What is still needed of a segment is asked for before it goes. */
static void
cut_asks(void **state)
{
	struct stat st;
	uint64_t end;
	size_t n;
	int *fds;

	(void)state;
	assert_int_equal(journal_open("journal", mount_id, conn_a, 0), 0);
	journal_on_cut(on_cut);
	append_many(40);
	may_cut = 0;
	cut_end = 0;
	journal_cut(journal_end());
	assert_int_equal(cut_first, 0);
	assert_int_equal(stat("journal/0000000000000000", &st), 0);
	assert_int_equal(cut_end, st.st_size - SEGMENT_HEADER_LEN);
	assert_int_equal(count_segments(), 3);
	may_cut = 1;
	journal_cut(journal_end());
	assert_int_equal(count_segments(), 2);
	assert_int_equal(journal_mark_unsafe(), 0);
	journal_not_synced(0);
	assert_int_equal(append(2, 1), 0);
	end = journal_end();
	may_cut = 0;
	journal_cut(end);
	assert_int_equal(count_segments(), 3);
	assert_true(is_marked());
	assert_int_equal(journal_unsynced(&fds, &n, &end), -1);
	may_cut = 1;
	journal_cut(end);
	assert_int_equal(count_segments(), 1);
	assert_false(is_marked());
}

/* What a disk may have of a segment that was never synced. */
enum left { EMPTY, SHORT, ZEROS, OTHERS, OLD, WHOLE, LEFT };

static void
leave(uint64_t first, enum left what)
{
	static const uint8_t zeros[4096];
	uint8_t header[SEGMENT_HEADER_LEN];
	struct segment_header h;
	char name[64];
	int fd;

	snprintf(name, sizeof(name), "journal/%016llx",
	    (unsigned long long)first);
	fd = open(name, O_RDWR);
	assert_true(fd != -1);
	switch (what) {
	case EMPTY:
		assert_int_equal(ftruncate(fd, 0), 0);
		break;
	case SHORT:
		assert_int_equal(ftruncate(fd, SEGMENT_HEADER_LEN - 1), 0);
		break;
	case ZEROS:
		assert_int_equal(pwrite(fd, zeros, sizeof(zeros), 0), 4096);
		break;
	case OTHERS:
		assert_int_equal(pwrite(fd, "something else", 14, 0), 14);
		break;
	case OLD:
		/* Its blocks are those of one that is gone. */
		memcpy(h.mount, mount_id, 16);
		memcpy(h.connection, conn_a, 16);
		h.first = first + 1000;
		segment_header_encode(header, &h);
		assert_int_equal(pwrite(fd, header, sizeof(header), 0),
		    (ssize_t)sizeof(header));
		break;
	default:
		break;
	}
	close(fd);
}

/* Three segments, of which two failed to be synced: where each begins. */
static void
three(uint64_t first[3], uint64_t *end)
{
	int i;

	assert_int_equal(journal_open("journal", mount_id, conn_a, 0), 0);
	for (i = 0; i < 3; i++) {
		assert_int_equal(append(2, 1), 0);
		assert_int_equal(append(4, 2), 0);
		if (i == 2)
			break;
		assert_int_equal(journal_mark_unsafe(), 0);
		journal_not_synced(0);
	}
	*end = journal_end();
	journal_close();
	for (i = 0; i < 3; i++)
		first[i] = *end / 3 * (uint64_t)i;
	assert_int_equal(count_segments(), 3);
}

/* One of which not even the header was synced counts as empty, and what is
   behind it was never safe. */
static void
header_lost(void **state)
{
	uint64_t first[3], end;
	int i, j, k;

	(void)state;
	for (i = 0; i < 3; i++)
		for (j = EMPTY; j < WHOLE; j++)
			for (k = EMPTY; k < LEFT; k++) {
				three(first, &end);
				leave(first[i], (enum left)j);
				if (i < 2)
					leave(first[2], (enum left)k);
				assert_int_equal(journal_open("journal",
						     mount_id, conn_b, 0),
				    0);
				assert_int_equal(journal_end(), first[i]);
				assert_int_equal(append(8, 4), 0);
				end = journal_end();
				journal_close();
				assert_int_equal(journal_open("journal",
						     mount_id, conn_b, 1),
				    0);
				assert_int_equal(journal_end(), end);
				assert_non_null(journal_find(8));
				journal_close();
				assert_int_equal(system("rm -r journal"), 0);
			}
}

/* Also where no sync has failed: of several at the end the disk may have
   nothing.  What is not at the end, or not empty, is damage. */
static void
unborn(void **state)
{
	uint64_t first[3], end;
	int i;

	(void)state;
	for (i = EMPTY; i < LEFT; i++) {
		three(first, &end);
		assert_int_equal(unlink("journal/unsafe"), 0);
		leave(first[1], EMPTY);
		leave(first[2], (enum left)i);
		if (i <= ZEROS) {
			assert_int_equal(journal_open("journal", mount_id,
					     conn_b, 0),
			    0);
			assert_int_equal(journal_end(), first[1]);
			assert_int_equal(append(8, 4), 0);
		} else {
			assert_int_equal(journal_open("journal", mount_id,
					     conn_b, 0),
			    -1);
			assert_int_equal(errno, EBADMSG);
			assert_int_equal(count_segments(), 3);
		}
		journal_close();
		assert_int_equal(system("rm -r journal"), 0);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(torn, in_dir, out_of_dir),
		cmocka_unit_test_setup_teardown(many, in_dir, out_of_dir),
		cmocka_unit_test_setup_teardown(not_understood, in_dir,
		    out_of_dir),
		cmocka_unit_test_setup_teardown(older_version, in_dir,
		    out_of_dir),
		cmocka_unit_test_setup_teardown(other_mount_and_connection,
		    in_dir, out_of_dir),
		cmocka_unit_test_setup_teardown(no_room, in_dir, out_of_dir),
		cmocka_unit_test_setup_teardown(no_room_at_open, in_dir,
		    out_of_dir),
		cmocka_unit_test_setup_teardown(sync_failed_empty, in_dir,
		    out_of_dir),
		cmocka_unit_test_setup_teardown(cut, in_dir, out_of_dir),
		cmocka_unit_test_setup_teardown(full, in_dir, out_of_dir),
		cmocka_unit_test_setup_teardown(synced_over_segments, in_dir,
		    out_of_dir),
		cmocka_unit_test_setup_teardown(sync_failed, in_dir,
		    out_of_dir),
		cmocka_unit_test_setup_teardown(sync_failed_and_power_lost,
		    in_dir, out_of_dir),
		cmocka_unit_test_setup_teardown(not_marked, in_dir, out_of_dir),
		cmocka_unit_test_setup_teardown(cut_asks, in_dir, out_of_dir),
		cmocka_unit_test_setup_teardown(header_lost, in_dir,
		    out_of_dir),
		cmocka_unit_test_setup_teardown(unborn, in_dir, out_of_dir),
		cmocka_unit_test_setup_teardown(ends_before_applied, in_dir,
		    out_of_dir),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
