/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * A journal that was cut at any byte opens with exactly the whole records of
 * before, and nothing is cut that another version wrote; an append without room changes nothing; only whole applied segments
 * are removed, and one of them is kept; more than manifest may have open there
 * never are; where there is no room a journal opens, and says so when it is
 * written to.
 */
#include "regress/unit/sailvold/journal_harness.h"

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

/* A disk that cannot read it is an error, and changes nothing. */
static void
bad_sector(void **state)
{
	static const off_t at[] = { 0, SEGMENT_HEADER_LEN, 100 };
	uint64_t end;
	size_t i;

	(void)state;
	assert_int_equal(journal_open("journal", mount_id, conn_a, 0), 0);
	for (i = 1; i < 10; i++)
		assert_int_equal(append(2 * i, i), 0);
	end = journal_end();
	for (i = 0; i < sizeof(at) / sizeof(at[0]); i++) {
		journal_close();
		bad_from = at[i];
		assert_int_equal(journal_open("journal", mount_id, conn_b, 0),
		    -1);
		assert_int_equal(errno, EIO);
		journal_close();
		bad_from = -1;
		assert_int_equal(journal_open("journal", mount_id, conn_a, 0),
		    0);
		assert_int_equal(journal_end(), end);
	}
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

#define T(f) cmocka_unit_test_setup_teardown(f, in_dir, out_of_dir)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(torn),
		T(many),
		T(not_understood),
		T(bad_sector),
		T(older_version),
		T(other_mount_and_connection),
		T(no_room),
		T(no_room_at_open),
		T(cut),
		T(full),
		T(ends_before_applied),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
