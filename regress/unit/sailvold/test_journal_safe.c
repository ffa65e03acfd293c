/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * What is to be safe from a loss of power is all of a journal that was not, in
 * whichever segments it stands; what could not be written is never taken for safe,
 * and kept from what comes after it; and whatever a loss of power leaves of what
 * nobody was told to be safe, the journal opens with what was.
 */
#include "regress/unit/sailvold/journal_harness.h"

static int asks_folder;

/* The numbers of the segments that fdatasync is to be called for, and in
   asks_folder whether fsync is for that. */
static size_t
unsynced(ino_t *inodes, size_t max, uint64_t *end)
{
	size_t n, i, segments = 0;
	struct stat st;
	int *fds;

	assert_int_equal(journal_unsynced(&fds, &n, end), 0);
	asks_folder = 0;
	for (i = 0; i < n; i++) {
		assert_int_equal(fstat(fds[i], &st), 0);
		close(fds[i]);
		if (S_ISDIR(st.st_mode)) {
			asks_folder++;
			continue;
		}
		assert_true(segments < max);
		inodes[segments++] = st.st_ino;
	}
	free(fds);
	return segments;
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
	assert_int_equal(unlink("journal/unsynced"), 0);
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

static int
sync_error(void)
{
	uint64_t end;
	size_t n;
	int *fds;

	return journal_unsynced(&fds, &n, &end) == -1 ? errno : 0;
}

/* The kernel says once that it could not write: when who asked it is killed before
   that is noted, the next takes for safe what is in the database. */
static void
killed_meanwhile(void **state)
{
	uint64_t end, until = 0;
	ino_t a[4];
	int takeover, i;

	(void)state;
	for (takeover = 0; takeover < 2; takeover++) {
		assert_int_equal(journal_open("journal", mount_id, conn_a, 0),
		    0);
		assert_int_equal(append(2, 1), 0);
		assert_int_equal(unsynced(a, 4, &end), 1);
		/* It is killed, and so is the next. */
		for (i = 0; i < 2; i++) {
			journal_close();
			assert_int_equal(journal_open("journal", mount_id,
					     conn_a, takeover),
			    0);
			assert_int_equal(count_segments(), 1 + i);
			assert_int_equal(sync_error(), EAGAIN);
			assert_false(is_marked());
			until = journal_end();
			assert_int_equal(append(4, 2), 0);
			assert_int_equal(count_segments(), 2 + i);
		}
		journal_cut(until);
		assert_int_equal(sync_error(), EAGAIN);
		assert_int_equal(journal_safety(), JOURNAL_UNSAFE_BEHIND);
		journal_cut(journal_end());
		assert_int_equal(journal_safety(), JOURNAL_SAFE);
		assert_int_equal(count_segments(), 1);
		assert_int_equal(unsynced(a, 4, &end), 1);
		journal_synced(end);
		journal_close();
		/* Who is killed between two syncs leaves no doubt. */
		assert_int_equal(journal_open("journal", mount_id, conn_a,
				     takeover),
		    0);
		assert_int_equal(count_segments(), 1);
		assert_int_equal(unsynced(a, 4, &end), 1);
		/* And who has noted it another one. */
		assert_int_equal(journal_mark_unsafe(), 0);
		journal_close();
		assert_int_equal(journal_open("journal", mount_id, conn_a,
				     takeover),
		    0);
		assert_int_equal(sync_error(), EIO);
		journal_close();
		assert_int_equal(system("rm -r journal"), 0);
	}
}

/* Nor is one begun that cannot be noted; what a disk that has failed could not be
   told is still known to the next process. */
static void
not_noted(void **state)
{
	uint64_t end;
	ino_t a[4];
	int error;

	(void)state;
	assert_int_equal(system("mkdir -p journal/syncing"), 0);
	assert_int_equal(journal_open("journal", mount_id, conn_a, 0), 0);
	assert_int_equal(append(2, 1), 0);
	assert_int_equal(sync_error(), EISDIR);
	assert_int_equal(rmdir("journal/syncing"), 0);
	assert_int_equal(unsynced(a, 4, &end), 1);
	dir_sync_fails = 1;
	error = journal_mark_unsafe();
	assert_int_equal(error, EIO);
	journal_not_synced(error);
	assert_int_equal(unlink("journal/unsafe"), 0);
	dir_sync_fails = 0;
	journal_close();
	assert_int_equal(journal_open("journal", mount_id, conn_a, 1), 0);
	assert_int_equal(sync_error(), EAGAIN);
}

/* Where that cannot be noted no other segment is begun: a loss of power finds
   holes at the end only.  It is noted later. */
static void
not_marked(void **state)
{
	uint64_t end;
	int *fds, error;
	ino_t a[4];
	size_t n;

	(void)state;
	assert_int_equal(journal_open("journal", mount_id, conn_a, 0), 0);
	assert_int_equal(append(2, 1), 0);
	files_left = 0;
	error = journal_mark_unsafe();
	assert_int_equal(error, EMFILE);
	journal_not_synced(error);
	assert_int_equal(append(4, 2), 0);
	assert_int_equal(journal_unsynced(&fds, &n, &end), -1);
	assert_int_equal(errno, EIO);
	journal_cut(journal_end());
	assert_int_equal(journal_unsynced(&fds, &n, &end), -1);
	assert_int_equal(errno, EIO);
	files_left = -1;
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

/* The mark itself is safe, or it counts as none. */
static void
mark_is_safe(void **state)
{
	int syncs;

	(void)state;
	assert_int_equal(journal_open("journal", mount_id, conn_a, 0), 0);
	assert_int_equal(append(2, 1), 0);
	dir_sync_fails = 1;
	assert_int_equal(journal_mark_unsafe(), EIO);
	journal_not_synced(EIO);
	assert_int_equal(count_segments(), 1);
	dir_sync_fails = 0;
	syncs = dir_syncs;
	assert_int_equal(journal_mark_unsafe(), 0);
	assert_int_equal(dir_syncs, syncs + 1);
}

/* What was unsafe before is cut while a sync fails: the mark goes, and comes back. */
static void
marked_again(void **state)
{
	uint64_t end;
	int *fds;
	size_t n;

	(void)state;
	assert_int_equal(journal_open("journal", mount_id, conn_a, 0), 0);
	assert_int_equal(append(2, 1), 0);
	assert_int_equal(journal_mark_unsafe(), 0);
	assert_int_equal(unlink("journal/unsafe"), 0);
	journal_not_synced(0);
	assert_true(is_marked());
	/* Also where it is empty, at the latest with the next one. */
	journal_cut(journal_end());
	assert_int_equal(unlink("journal/unsafe"), 0);
	journal_not_synced(0);
	assert_int_equal(journal_unsynced(&fds, &n, &end), -1);
	assert_true(is_marked());
}

/* A loss of power brings back what it likes of one that was not synced, and is
   gone, until the folder is synced. */
static void
unlinked_unsynced(void **state)
{
	uint64_t end;
	ino_t a[8];
	int syncs;

	(void)state;
	assert_int_equal(journal_open("journal", mount_id, conn_a, 0), 0);
	assert_int_equal(append(2, 1), 0);
	/* A process before this one may have removed some. */
	assert_int_equal(unsynced(a, 8, &end), 1);
	assert_int_equal(asks_folder, 1);
	journal_synced(end);
	append_many(40);
	assert_int_equal(count_segments(), 3);
	assert_int_equal(unsynced(a, 8, &end), 3);
	assert_int_equal(asks_folder, 0);
	/* While it runs, and it is not synced for that. */
	journal_cut(journal_end());
	assert_int_equal(count_segments(), 2);
	journal_synced(end);
	assert_int_equal(append(4, 2), 0);
	assert_int_equal(unsynced(a, 8, &end), 1);
	assert_int_equal(asks_folder, 1);
	/* It fails, and what was unsafe is gone for good before the mark is. */
	assert_int_equal(journal_mark_unsafe(), 0);
	journal_not_synced(0);
	assert_int_equal(append(6, 3), 0);
	syncs = dir_syncs;
	dir_sync_fails = 1;
	journal_cut(journal_end());
	assert_true(is_marked());
	dir_sync_fails = 0;
	journal_cut(journal_end());
	assert_false(is_marked());
	assert_int_equal(dir_syncs, syncs + 1);
	assert_int_equal(unsynced(a, 8, &end), 1);
	assert_int_equal(asks_folder, 1);
	journal_synced(end);
	assert_int_equal(append(8, 4), 0);
	assert_int_equal(unsynced(a, 8, &end), 1);
	assert_int_equal(asks_folder, 0);
}

/* The kernel writes files in the order that it likes: of a segment a loss of power
   may leave less than of the one behind it, while nobody has synced them. */
static void
torn_before_another(void **state)
{
	static const char path[] = "journal/0000000000000000";
	uint64_t end, whole;
	struct stat st;
	ino_t a[4];
	int i;

	(void)state;
	for (i = 0; i < 3; i++) {
		assert_int_equal(journal_open("journal", mount_id, conn_a, 0),
		    0);
		assert_int_equal(append(2, 1), 0);
		whole = journal_end();
		append_many(17);
		assert_int_equal(count_segments(), 2);
		if (i == 1) {
			assert_int_equal(unsynced(a, 4, &end), 2);
			journal_synced(end);
		}
		journal_close();
		assert_int_equal(stat(path, &st), 0);
		assert_int_equal(truncate(path,
				     i == 2 ? 0
					    : (off_t)(SEGMENT_HEADER_LEN +
						  whole + 3)),
		    0);
		if (i == 1) {
			/* Somebody was told that it is safe: this is damage. */
			assert_int_equal(journal_open("journal", mount_id,
					     conn_b, 0),
			    -1);
			assert_int_equal(errno, EBADMSG);
		} else {
			assert_int_equal(journal_open("journal", mount_id,
					     conn_b, 0),
			    0);
			assert_int_equal(journal_end(), i == 2 ? 0 : whole);
			assert_int_equal(append(8, 4), 0);
			assert_true(unsynced(a, 4, &end) > 0);
			journal_synced(end);
			assert_int_equal(access("journal/unsynced", F_OK), -1);
		}
		journal_close();
		assert_int_equal(system("rm -r journal"), 0);
	}
}

/* Also when they were begun while a sync had failed, and that is mended. */
static void
torn_when_mended(void **state)
{
	uint64_t until, first;
	char name[64];

	(void)state;
	assert_int_equal(journal_open("journal", mount_id, conn_a, 0), 0);
	assert_int_equal(append(2, 1), 0);
	assert_int_equal(journal_mark_unsafe(), 0);
	journal_not_synced(0);
	first = journal_end();
	assert_int_equal(append(4, 2), 0);
	until = journal_end();
	append_many(17);
	assert_int_equal(count_segments(), 3);
	journal_cut(until);
	assert_false(is_marked());
	assert_int_equal(count_segments(), 2);
	journal_close();
	snprintf(name, sizeof(name), "journal/%016llx",
	    (unsigned long long)first);
	assert_int_equal(truncate(name,
			     (off_t)(SEGMENT_HEADER_LEN + until - first + 3)),
	    0);
	assert_int_equal(journal_open("journal", mount_id, conn_b, 0), 0);
	assert_int_equal(journal_end(), until);
}

static void
spoil(off_t at)
{
	int fd = open("journal/0000000000000000", O_WRONLY);

	assert_true(fd != -1);
	assert_int_equal(pwrite(fd, "spoilt", 6, at), 6);
	close(fd);
}

/* Two segments, of which so many MiB were synced. */
static void
synced_half(int mib)
{
	uint64_t end;
	ino_t a[4];

	assert_int_equal(journal_open("journal", mount_id, conn_a, 0), 0);
	append_many(mib);
	assert_true(unsynced(a, 4, &end) > 0);
	journal_synced(end);
	append_many(20 - mib);
	assert_int_equal(count_segments(), 2);
	assert_int_equal(access("journal/unsynced", F_OK), 0);
}

static void
opens(const uint8_t *conn, int takeover, int does)
{
	assert_int_equal(journal_open("journal", mount_id, conn, takeover),
	    does ? 0 : -1);
	if (!does) {
		assert_int_equal(errno, EBADMSG);
		assert_int_equal(count_segments(), 2);
	}
	journal_close();
}

/* What was synced, and all without a loss of power, is damage all the same. */
static void
damage_is_not_a_hole(void **state)
{
	static const off_t at[] = { 5000, 9 << 20, 11 << 20 };
	unsigned int i;

	(void)state;
	for (i = 0; i < 3; i++) {
		synced_half(10);
		journal_close();
		spoil(at[i]);
		opens(conn_a, 1, 0);
		opens(conn_b, 0, i == 2);
		if (i < 2) {
			/* Nobody knows where that begins. */
			if (i == 0)
				assert_int_equal(truncate("journal/unsynced",
						     0),
				    0);
			else
				assert_int_equal(system("echo 12345678901 >"
							"journal/unsynced"),
				    0);
			opens(conn_b, 0, 1);
		}
		/* It can be looked at. */
		assert_int_equal(system("ls journal/bad.0000000000f* >ls"), 0);
		assert_int_equal(system("rm -r journal"), 0);
	}
}

/* Where that begins moves on. */
static void
synced_meanwhile(void **state)
{
	uint64_t end;
	ino_t a[4];

	(void)state;
	synced_half(2);
	assert_int_equal(unsynced(a, 4, &end), 2);
	append_many(16);
	assert_int_equal(count_segments(), 3);
	journal_synced(end);
	assert_int_equal(access("journal/unsynced", F_OK), 0);
	journal_close();
	spoil(10 << 20);
	assert_int_equal(journal_open("journal", mount_id, conn_b, 0), -1);
	assert_int_equal(errno, EBADMSG);
	assert_int_equal(count_segments(), 3);
}

/* Nor is what comes where something was lost. */
static void
synced_and_lost(void **state)
{
	static const char path[] = "journal/0000000000000000";
	char name[64];
	uint64_t whole;

	(void)state;
	synced_half(10);
	journal_close();
	assert_int_equal(system("rm journal/0000000000f*"), 0);
	assert_int_equal(truncate(path, 5 << 20), 0);
	assert_int_equal(journal_open("journal", mount_id, conn_b, 0), 0);
	whole = journal_end();
	append_many(17);
	assert_int_equal(count_segments(), 3);
	journal_close();
	snprintf(name, sizeof(name), "journal/%016llx",
	    (unsigned long long)whole);
	assert_int_equal(truncate(name, 5000), 0);
	assert_int_equal(journal_open("journal", mount_id, conn_a, 0), 0);
}

/* One that manifest cannot be told of is not begun. */
static void
no_descriptor(void **state)
{
	int n, rc = -1, error;

	(void)state;
	assert_int_equal(journal_open("journal", mount_id, conn_a, 0), 0);
	journal_on_segment(on_begun, NULL);
	append_many(17);
	begun = 0;
	for (n = 0; rc == -1; n++) {
		static uint8_t many[16 << 20];
		struct wbuf w;
		size_t one = encode(&w, 2, 1), len = 0;

		while (len + one <= SEGMENT_BYTES) {
			memcpy(many + len, w.data, one);
			len += one;
		}
		wbuf_free(&w);
		files_left = n;
		rc = journal_append(many, len);
		error = errno;
		files_left = -1;
		assert_int_equal(count_segments(), rc == -1 ? 2 : 3);
		assert_int_equal(begun, rc == 0);
		if (rc == -1)
			assert_int_equal(error, EMFILE);
	}
	assert_true(n > 2);
}

static uint64_t cut_first, cut_end;

static void
on_cut(uint64_t first, uint64_t cut_to)
{
	char name[64];

	snprintf(name, sizeof(name), "journal/%016llx",
	    (unsigned long long)first);
	assert_int_equal(access(name, F_OK), 0);
	cut_first = first;
	cut_end = cut_to;
}

/* What is still needed of a segment can be kept before it goes. */
static void
cut_asks(void **state)
{
	uint64_t first;
	struct stat st;

	(void)state;
	assert_int_equal(journal_open("journal", mount_id, conn_a, 0), 0);
	journal_on_cut(on_cut);
	append_many(40);
	assert_int_equal(stat("journal/0000000000000000", &st), 0);
	cut_end = 0;
	journal_cut(journal_end());
	assert_int_equal(cut_first, 0);
	assert_int_equal(cut_end, st.st_size - SEGMENT_HEADER_LEN);
	assert_int_equal(count_segments(), 2);
	assert_int_equal(journal_mark_unsafe(), 0);
	journal_not_synced(0);
	first = journal_end();
	assert_int_equal(append(2, 1), 0);
	journal_cut(journal_end());
	assert_int_equal(cut_end, first);
	assert_int_equal(count_segments(), 1);
	assert_false(is_marked());
}

/* What a disk may have of a segment that was never synced. */
enum left { EMPTY, SHORT, ZEROS, OTHERS, OLD, FOREIGN, WHOLE, LEFT };

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
	case FOREIGN:
		/* Its blocks are those of one that is gone, or of another
		   mount. */
		memcpy(h.mount, what == OLD ? mount_id : conn_b, 16);
		memcpy(h.connection, conn_a, 16);
		h.first = what == OLD ? first + 1000 : first;
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
		assert_int_equal(unlink("journal/unsynced"), 0);
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

/* What was put aside does not fill the disk. */
static void
put_aside_few(void **state)
{
	(void)state;
	synced_half(10);
	journal_close();
	spoil(11 << 20);
	assert_int_equal(system("cd journal; for i in 0 1 2 3 4 5 6 7 8; do "
				"echo >bad.000000000000000$i; done; echo >bad"),
	    0);
	opens(conn_b, 0, 1);
	assert_int_equal(system("cd journal; test $(ls bad.* | wc -l) = 9 && "
				"ls bad.0000000000f* bad.0000000000000001 bad "
				">/dev/null && ! ls bad.0000000000000000 "
				"2>/dev/null"),
	    0);
}

/* One that cannot be put aside stays, and nothing is begun; a name that is taken
   is not taken again. */
static void
put_aside_fails(void **state)
{
	(void)state;
	synced_half(10);
	journal_close();
	spoil(11 << 20);
	renames_fail = 1;
	assert_int_equal(journal_open("journal", mount_id, conn_b, 0), -1);
	assert_int_equal(errno, EIO);
	journal_close();
	renames_fail = 0;
	assert_int_equal(system("cd journal; f=$(ls 0* | tail -n 1); "
				"echo mine >bad.$f; cp $f ../was"),
	    0);
	opens(conn_b, 0, 1);
	assert_int_equal(system("cd journal; grep -q mine bad.*0 || "
				"grep -q mine bad.*f; cmp ../was bad.*.1"),
	    0);
}

/* With a record behind it a header of zeros is damage. */
static void
header_of_zeros(void **state)
{
	static const uint8_t zeros[SEGMENT_HEADER_LEN];
	int i, fd;

	(void)state;
	for (i = 0; i < 2; i++) {
		assert_int_equal(journal_open("journal", mount_id, conn_a, 0),
		    0);
		assert_int_equal(append(2, 1), 0);
		if (i == 1)
			assert_int_equal(journal_mark_unsafe(), 0);
		journal_close();
		fd = open("journal/0000000000000000", O_WRONLY);
		assert_int_equal(pwrite(fd, zeros, sizeof(zeros), 0),
		    (ssize_t)sizeof(zeros));
		close(fd);
		assert_int_equal(journal_open("journal", mount_id, conn_b, 0),
		    i == 0 ? -1 : 0);
		if (i == 0)
			assert_int_equal(errno, EBADMSG);
		assert_int_equal(count_segments(), 1);
		assert_int_equal(access("journal/bad.0000000000000000", F_OK),
		    i == 0 ? -1 : 0);
		journal_close();
		assert_int_equal(system("rm -r journal"), 0);
	}
}

#define T(f) cmocka_unit_test_setup_teardown(f, in_dir, out_of_dir)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(sync_failed_empty),
		T(synced_over_segments),
		T(sync_failed),
		T(sync_failed_and_power_lost),
		T(killed_meanwhile),
		T(not_noted),
		T(not_marked),
		T(mark_is_safe),
		T(marked_again),
		T(unlinked_unsynced),
		T(cut_asks),
		T(torn_before_another),
		T(torn_when_mended),
		T(damage_is_not_a_hole),
		T(synced_meanwhile),
		T(synced_and_lost),
		T(no_descriptor),
		T(header_lost),
		T(unborn),
		T(header_of_zeros),
		T(put_aside_few),
		T(put_aside_fails),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
