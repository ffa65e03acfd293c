/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * journal: segments of a mount's journal: opening, appending, cutting.  In fuse.
 */
#include <sys/queue.h>
#include <sys/stat.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/log.h"
#include "sailvold/journal.h"
#include "sailvold/journal_done.h"
#include "sailvold/journal_mark.h"
#include "sailvold/record.h"

#define ROOM_MIN (256 * 1024) /* less is not taken beforehand */
#define NOT_SYNCED UINT64_MAX
#define NOWHERE UINT64_MAX
/* In the folder: of some segment a sync has failed; some but the last may not have
   been synced yet, from the offset that stands in it; a sync runs, of which who
   runs it has not said yet how it went. */
#define UNSAFE "unsafe"
#define UNSYNCED "unsynced"
#define SYNCING "syncing"
#define BAD_MAX 8 /* put aside; then the oldest goes */
#define BAD_NAMES 64
#define READ_MAX ((off_t)2 * SEGMENT_BYTES) /* what is larger is no segment */

struct segment {
	TAILQ_ENTRY(segment) link;
	uint64_t first;
	uint64_t len; /* bytes of records */
	int synced;   /* all of a segment that is not the last */
	int unsafe;   /* a sync of it has failed */
	uint16_t version;
	uint8_t connection[16];
};
TAILQ_HEAD(segment_list, segment);

static struct {
	int dir, fd; /* fd: the last segment, for appending; -1: there is to be
			a new one first */
	uint8_t mount[16], connection[16];
	struct segment_list segments;
	uint64_t begin;  /* where the first is to begin, while there is none */
	uint64_t synced; /* up to here; NOT_SYNCED */
	int unsafe;      /* some segment is */
	int doubt;       /* as one may be that another process synced */
	int syncing;     /* the mark of that */
	int unmarked;    /* and the file that says so may not be there */
	int unsynced;    /* the other file is there */
	uint64_t unsynced_from;
	/* One that was not synced was unlinked: a loss of power brings back what
	   it likes of it until the folder is synced, too. */
	int unlinked, unlinked_asked;
	uint64_t holes_from; /* while it is opened: there may be some */
	void (*on_cut)(uint64_t, uint64_t);
	void (*on_segment)(uint64_t, int, void *);
	void *on_segment_arg;
} j = { .dir = -1, .fd = -1, .syncing = -1, .synced = NOT_SYNCED };

static void
segment_name(uint64_t first, char out[17])
{
	snprintf(out, 17, "%016" PRIx64, first);
}

static int
segment_open(uint64_t first, int flags)
{
	char name[17];

	segment_name(first, name);
	return openat(j.dir, name, flags | O_CLOEXEC | O_NOFOLLOW, 0600);
}

static struct segment *
last(void)
{
	return TAILQ_LAST(&j.segments, segment_list);
}

uint64_t
journal_end(void)
{
	struct segment *s = last();

	return s == NULL ? j.begin : s->first + s->len;
}

/* ---- opening ------------------------------------------------------------------ */

typedef void (*record_cb)(const struct record *, uint64_t offset, void *);

/*
 * Walks the records of a segment.  The bytes that are whole records, of which
 * *why says what ends them (NULL: the end).
 */
static uint64_t
walk(const struct segment *s, const uint8_t *p, uint64_t len, record_cb f,
    void *arg, const char **why)
{
	struct record r;
	uint64_t at = 0;
	size_t n;
	int rc;

	*why = NULL;
	while (at < len) {
		rc = record_decode(p + at, len - at, &r, &n, why);
		if (rc == 0)
			*why = "torn";
		if (rc != 1)
			break;
		at += n;
		if (f != NULL)
			f(&r, s->first + at, arg);
	}
	return at;
}

/* 0, or -1 and errno; what is torn is cut off behind cut_from, and damage before
   it. */
static int
segment_scan(struct segment *s, uint64_t cut_from, record_cb f, void *arg)
{
	struct segment_header h;
	const char *why = "not a regular file";
	struct stat st;
	uint8_t *p = NULL;
	uint64_t whole, len;
	int fd, rc = -1, error = EBADMSG;

	fd = segment_open(s->first, cut_from == NOWHERE ? O_RDONLY : O_RDWR);
	if (fd == -1) {
		log_warn("journal %016" PRIx64, s->first);
		return -1;
	}
	if (fstat(fd, &st) == -1 || !S_ISREG(st.st_mode))
		goto bad;
	why = "too short";
	if (st.st_size < SEGMENT_HEADER_LEN)
		goto bad;
	why = "too long";
	if (st.st_size > READ_MAX)
		goto bad;
	if ((p = mark_segment_read(fd, st.st_size)) == NULL) {
		error = errno;
		why = "it cannot be read from its disk";
		goto bad;
	}
	if ((why = segment_header_decode(p, (size_t)st.st_size, &h)) != NULL)
		goto bad;
	why = "of another mount, or with another name";
	if (memcmp(h.mount, j.mount, 16) != 0 || h.first != s->first)
		goto bad;
	memcpy(s->connection, h.connection, 16);
	s->version = h.version;
	len = (uint64_t)st.st_size - SEGMENT_HEADER_LEN;
	whole = walk(s, p + SEGMENT_HEADER_LEN, len, f, arg, &why);
	if (whole < len) {
		/* Whole, and not understood: somebody's change. */
		if (s->first + whole < cut_from ||
		    record_is_whole(p + SEGMENT_HEADER_LEN + whole,
			len - whole))
			goto bad;
		log_warnx("journal %016" PRIx64 ": %s: cut by %" PRIu64
			  " bytes",
		    s->first, why, len - whole);
		if (ftruncate(fd, (off_t)(SEGMENT_HEADER_LEN + whole)) == -1) {
			why = "cannot be cut";
			goto bad;
		}
	}
	s->len = whole;
	rc = 0;
bad:
	if (rc == -1)
		log_warnx("journal %016" PRIx64 ": %s", s->first, why);
	free(p);
	close(fd);
	errno = error;
	return rc;
}

static int
name_parse(const char *name, uint64_t *first)
{
	size_t i;

	*first = 0;
	for (i = 0; i < 16; i++) {
		const char *digits = "0123456789abcdef", *d;

		if (name[i] == '\0' || (d = strchr(digits, name[i])) == NULL)
			return -1;
		*first = *first << 4 | (uint64_t)(d - digits);
	}
	return name[16] == '\0' ? 0 : -1;
}

static int
list_segments(void)
{
	struct segment *s, *p;
	struct dirent *e;
	uint64_t first;
	DIR *d;
	int fd;

	if ((fd = openat(j.dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)) == -1)
		return -1;
	if ((d = fdopendir(fd)) == NULL) {
		close(fd);
		return -1;
	}
	while ((e = readdir(d)) != NULL) {
		if (name_parse(e->d_name, &first) == -1)
			continue;
		if ((s = calloc(1, sizeof(*s))) == NULL)
			fatal("journal");
		s->first = first;
		TAILQ_FOREACH (p, &j.segments, link)
			if (p->first > first)
				break;
		if (p != NULL)
			TAILQ_INSERT_BEFORE(p, s, link);
		else
			TAILQ_INSERT_TAIL(&j.segments, s, link);
	}
	closedir(d);
	return 0;
}

static void
drop_segment(struct segment *s)
{
	char name[17];

	segment_name(s->first, name);
	if (unlinkat(j.dir, name, 0) == -1 && errno != ENOENT)
		log_warn("journal %s", name);
	j.unlinked |= !s->synced;
	TAILQ_REMOVE(&j.segments, s, link);
	free(s);
}

/*
 * A loss of power may leave less of one than of the next: nobody was told then
 * that anything behind it is safe.  Where a process takes over from another
 * there was none.
 */
static uint64_t
find_holes(int takeover)
{
	if (j.unsafe)
		return 0;
	return j.unsynced && !takeover ? j.unsynced_from : NOWHERE;
}

/* 1: there is a whole record in it, or nobody knows. */
static int
holds_records(const struct segment *s)
{
	struct stat st;
	uint8_t *p;
	int fd, holds = 0;

	fd = segment_open(s->first, O_RDONLY | O_NONBLOCK);
	if (fd == -1)
		return errno != ENOENT;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
	    st.st_size > SEGMENT_HEADER_LEN) {
		p = st.st_size <= READ_MAX ? mark_segment_read(fd, st.st_size)
					   : NULL;
		holds = p == NULL ||
		    record_is_whole(p + SEGMENT_HEADER_LEN,
			(size_t)st.st_size - SEGMENT_HEADER_LEN);
		free(p);
	}
	close(fd);
	return holds;
}

/* Somebody may want to see what was in it: -1 where that cannot be kept. */
static int
put_aside(struct segment *s)
{
	char name[17], bad[32];
	unsigned int i;

	segment_name(s->first, name);
	if (holds_records(s)) {
		snprintf(bad, sizeof(bad), "bad.%s", name);
		for (i = 1; i < BAD_NAMES && mark_is_there(j.dir, bad); i++)
			snprintf(bad, sizeof(bad), "bad.%s.%u", name, i);
		if (i == BAD_NAMES || renameat(j.dir, name, j.dir, bad) == -1) {
			log_warn("journal %s: it has records, and cannot be "
				 "kept as %s",
			    name, bad);
			errno = EIO;
			return -1;
		}
		log_warnx("journal %s: it has records: kept as %s", name, bad);
	}
	drop_segment(s);
	return 0;
}

/*
 * Of one that was never synced a loss of power may leave no header, and a disk
 * that had failed what was in its blocks before, be it one of our own: it has no
 * record.
 */
static int
is_unborn(const struct segment *s)
{
	static const uint8_t nothing[SEGMENT_HEADER_LEN];
	uint8_t p[SEGMENT_HEADER_LEN];
	struct segment_header h;
	ssize_t n;
	int fd;

	if ((fd = segment_open(s->first, O_RDONLY | O_NONBLOCK)) == -1)
		return 0;
	n = pread(fd, p, sizeof(p), 0);
	close(fd);
	if (n < (ssize_t)sizeof(p))
		return n >= 0;
	/* With a record behind that it was there once. */
	if (memcmp(p, nothing, sizeof(p)) == 0)
		return s->first >= j.holes_from || !holds_records(s);
	if (!j.unsafe)
		return 0;
	if (segment_header_decode(p, sizeof(p), &h) == NULL)
		return h.first != s->first || memcmp(h.mount, j.mount, 16) != 0;
	/* Another version is somebody's change. */
	return memcmp(p, SEGMENT_MAGIC, 8) != 0;
}

/* Those at the end, and what is behind the first where there may be holes. */
static int
drop_unborn(void)
{
	struct segment *s, *first = NULL;

	TAILQ_FOREACH (s, &j.segments, link) {
		if (first == NULL && is_unborn(s))
			first = s;
		else if (first != NULL && first->first < j.holes_from &&
		    !is_unborn(s))
			first = NULL;
	}
	for (; first != NULL; first = s) {
		s = TAILQ_NEXT(first, link);
		log_info("journal %016" PRIx64
			 ": dropped: nothing of it, or of "
			 "one before it, came to the disk",
		    first->first);
		if (put_aside(first) == -1)
			return -1;
	}
	return 0;
}

static void
remember(const struct record *r, uint64_t offset, void *arg)
{
	(void)offset;
	(void)arg;
	done_add(r);
}

static int
scan_all(int takeover)
{
	struct segment *s, *next;
	uint64_t end = 0;

	TAILQ_FOREACH (s, &j.segments, link) {
		next = TAILQ_NEXT(s, link);
		if (s != TAILQ_FIRST(&j.segments) && s->first != end) {
			log_warnx("journal: nothing from %016" PRIx64
				  " to %016" PRIx64,
			    end, s->first);
			errno = EBADMSG;
			return -1;
		}
		if (segment_scan(s, next == NULL ? 0 : j.holes_from, NULL,
			NULL) == -1)
			return -1;
		while (s->first + s->len >= j.holes_from && next != NULL &&
		    next->first != s->first + s->len) {
			log_warnx("journal %016" PRIx64
				  ": dropped: it is behind "
				  "what did not come to the disk",
			    next->first);
			if (put_aside(next) == -1)
				return -1;
			next = TAILQ_NEXT(s, link);
		}
		s->unsafe = j.unsafe;
		if (takeover && memcmp(s->connection, j.connection, 16) == 0 &&
		    segment_scan(s, NOWHERE, remember, NULL) == -1)
			return -1;
		end = s->first + s->len;
	}
	return 0;
}

/* ---- segments ------------------------------------------------------------------ */

/* Room is taken beforehand where that is possible.  Of a disk that is nearly full
   as much as there is: an append says when there is none. */
static int
take_room(int fd)
{
	off_t len;

	for (len = SEGMENT_BYTES; len >= ROOM_MIN; len /= 4) {
		if (fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, len) == 0 ||
		    errno == EOPNOTSUPP || errno == EFBIG)
			return 0;
		if (errno != ENOSPC && errno != EDQUOT)
			return -1;
		/* What it got of it is not held back from others. */
		if (ftruncate(fd, 0) == -1)
			return -1;
	}
	return 0;
}

static int
segment_begin_at(uint64_t first)
{
	uint8_t header[SEGMENT_HEADER_LEN];
	struct segment_header h;
	struct segment *new;
	int fd, fd_reader = -1, error;

	if ((new = calloc(1, sizeof(*new))) == NULL)
		return -1;
	new->first = first;
	new->version = SEGMENT_VERSION;
	memcpy(new->connection, j.connection, 16);
	memcpy(h.mount, j.mount, 16);
	memcpy(h.connection, j.connection, 16);
	h.first = first;
	segment_header_encode(header, &h);
	fd = segment_open(first, O_RDWR | O_APPEND | O_CREAT | O_EXCL);
	if (fd == -1)
		goto fail;
	if (take_room(fd) == -1)
		goto fail_file;
	/* Who reads behind must hear of it. */
	if (j.on_segment != NULL &&
	    (fd_reader = segment_open(first, O_RDONLY)) == -1)
		goto fail_file;
	errno = 0;
	if (write(fd, header, sizeof(header)) != (ssize_t)sizeof(header))
		goto fail_file;
	if (j.fd != -1)
		close(j.fd);
	j.fd = fd;
	TAILQ_INSERT_TAIL(&j.segments, new, link);
	if (fd_reader != -1)
		j.on_segment(first, fd_reader, j.on_segment_arg);
	return 0;
fail_file:
	error = errno != 0 && errno != EFBIG ? errno : ENOSPC;
	close(fd);
	if (fd_reader != -1)
		close(fd_reader);
	{
		char name[17];

		segment_name(first, name);
		(void)unlinkat(j.dir, name, 0);
	}
	errno = error;
fail:
	free(new);
	return -1;
}

/* 1, or 0 and errno. */
static int
is_marked(void)
{
	int error;

	if (j.unmarked && (error = mark_make(j.dir, UNSAFE)) != 0) {
		errno = error;
		return 0;
	}
	j.unmarked = 0;
	return 1;
}

/* 0, or -1 and errno. */
static int
mark_unsynced(uint64_t from)
{
	int error = mark_write(j.dir, UNSYNCED, from);

	if (error != 0) {
		errno = error;
		return -1;
	}
	j.unsynced = 1;
	j.unsynced_from = from;
	return 0;
}

/*
 * Who opens it after a loss of power must know that behind one with holes others
 * may stand: without a mark there are none.  The mark is first on the disk, too.
 */
static int
mark_holes(void)
{
	const struct segment *s = last();

	if (j.unsafe && !is_marked())
		return -1;
	/* It is needed when the other one is gone, too. */
	if (j.unsynced || s == NULL || j.synced == journal_end())
		return 0;
	return mark_unsynced(j.synced != NOT_SYNCED
		? j.synced
		: TAILQ_FIRST(&j.segments)->first);
}

static int
segment_begin(void)
{
	struct segment *s;
	uint64_t first = journal_end();
	unsigned int n = 0;

	if (mark_holes() == -1)
		return -1;
	/* manifest has each of them open. */
	TAILQ_FOREACH (s, &j.segments, link)
		n++;
	s = last();
	if (n >= SEGMENTS_MAX) {
		errno = ENOSPC;
		return -1;
	}
	/* An empty one would have the same name: only before manifest hears of it. */
	j.begin = first;
	if (s != NULL && s->len == 0) {
		drop_segment(s);
		if (j.fd != -1)
			close(j.fd);
		j.fd = -1;
	}
	return segment_begin_at(first);
}

/* Without room now what is there can be read all the same; the next append tries
   again. */
static int
begun_or_later(int rc)
{
	int error = errno;

	if (rc == 0)
		return 0;
	log_warn("journal: a new segment");
	if (j.fd != -1)
		close(j.fd);
	j.fd = -1;
	errno = error;
	return error == ENOSPC || error == EDQUOT ? 0 : -1;
}

/* Who was here before was killed during a sync. */
static void
look_for_doubt(void)
{
	struct segment *s;
	int is_set;

	j.syncing = mark_open_flag(j.dir, SYNCING, &is_set);
	if (!is_set || j.unsafe)
		return;
	log_info("journal: nobody knows how a sync went: fsync waits until all "
		 "of it is in the database");
	j.unsafe = j.doubt = 1;
	TAILQ_FOREACH (s, &j.segments, link)
		s->unsafe = 1;
}

int
journal_open(const char *folder, const uint8_t mount[16],
    const uint8_t connection[16], int takeover)
{
	struct segment *s;

	TAILQ_INIT(&j.segments);
	memcpy(j.mount, mount, 16);
	memcpy(j.connection, connection, 16);
	if (mkdir(folder, 0700) == -1 && errno != EEXIST)
		return -1;
	j.dir = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (j.dir == -1 || list_segments() == -1)
		return -1;
	j.unsafe = mark_is_there(j.dir, UNSAFE);
	if ((j.unsynced = mark_is_there(j.dir, UNSYNCED)))
		j.unsynced_from = mark_read(j.dir, UNSYNCED);
	j.holes_from = find_holes(takeover);
	j.unlinked = 1; /* by the one before, it may be */
	/* Of what is put aside now all stays until the next start. */
	mark_keep_last(j.dir, "bad.", BAD_MAX);
	if (drop_unborn() == -1 || scan_all(takeover) == -1)
		return -1;
	look_for_doubt();
	/* What comes where something was lost is not synced. */
	if (j.unsynced && j.unsynced_from > journal_end() &&
	    mark_unsynced(journal_end()) == -1)
		return -1;
	s = last();
	if (s == NULL || s->version != SEGMENT_VERSION ||
	    (s->unsafe && !j.doubt) ||
	    memcmp(s->connection, connection, 16) != 0)
		return begun_or_later(segment_begin());
	j.fd = segment_open(s->first, O_RDWR | O_APPEND);
	return j.fd == -1 ? -1 : 0;
}

void
journal_close(void)
{
	struct segment *s;

	while ((s = TAILQ_FIRST(&j.segments)) != NULL) {
		TAILQ_REMOVE(&j.segments, s, link);
		free(s);
	}
	if (j.fd != -1)
		close(j.fd);
	if (j.dir != -1)
		close(j.dir);
	if (j.syncing != -1)
		close(j.syncing);
	done_forget();
	memset(&j, 0, sizeof(j));
	j.fd = j.dir = j.syncing = -1;
	j.synced = NOT_SYNCED;
}

int
journal_append(const void *data, size_t len)
{
	struct segment *s = last();
	ssize_t n;
	int error;

	if (len == 0)
		return 0;
	/* Without room for another it goes here: who syncs it hears of that. */
	if (s != NULL && j.fd != -1 && s->unsafe && s->len > 0) {
		(void)segment_begin();
		s = last();
	}
	if (s == NULL || j.fd == -1 || s->len + len > SEGMENT_BYTES) {
		if (segment_begin() == -1) {
			error = errno;
			if (j.fd != -1)
				log_warn("journal");
			errno = error;
			return -1;
		}
		s = last();
	}
	n = write(j.fd, data, len);
	if (n == (ssize_t)len) {
		s->len += len;
		return 0;
	}
	error = n == -1 ? errno : ENOSPC;
	/* What went in of it is nobody's change. */
	if (n > 0 &&
	    ftruncate(j.fd, (off_t)(SEGMENT_HEADER_LEN + s->len)) == -1)
		fatal("journal: a part of a record cannot be cut off");
	errno = error == EFBIG ? ENOSPC : error;
	return -1;
}

int
journal_skip(uint64_t offset)
{
	struct segment *s;

	log_warnx("journal: nothing from %016" PRIx64 " to %016" PRIx64
		  ", which is applied",
	    journal_end(), offset);
	while ((s = TAILQ_FIRST(&j.segments)) != NULL)
		drop_segment(s);
	j.begin = offset;
	return begun_or_later(segment_begin_at(offset));
}

/* What somebody still needs of it is kept elsewhere first. */
static void
let_go(struct segment *s)
{
	if (j.on_cut != NULL)
		j.on_cut(s->first, s->first + s->len);
	drop_segment(s);
}

/*
 * What is behind the offset is in the database, and that is safe, when something
 * of the next segment is applied.  Until then a loss of power leaves a hole in
 * this one, which is therefore not kept.
 */
static void
cut_unsafe(uint64_t applied)
{
	struct segment *s, *until = NULL;
	int left = 0;

	if (!j.unsafe)
		return;
	TAILQ_FOREACH (s, &j.segments, link) {
		if (s != last() && s->first + s->len < applied)
			until = s->unsafe ? s : until;
		else
			left |= s->unsafe;
	}
	while (until != NULL && (s = TAILQ_FIRST(&j.segments)) != NULL) {
		if (s == until)
			until = NULL;
		let_go(s);
	}
	if (left)
		return;
	if (fsync(j.dir) == -1)
		log_warn("journal");
	else if (unlinkat(j.dir, UNSAFE, 0) == 0 || errno == ENOENT) {
		j.unsafe = j.unmarked = j.doubt = 0;
		log_info("journal: what is on the disk is whole again");
	}
}

void
journal_cut(uint64_t applied)
{
	struct segment *s, *next;

	cut_unsafe(applied);
	/* The next one is applied too: it is the one that is kept. */
	while ((s = TAILQ_FIRST(&j.segments)) != NULL &&
	    (next = TAILQ_NEXT(s, link)) != NULL &&
	    TAILQ_NEXT(next, link) != NULL &&
	    next->first + next->len <= applied)
		let_go(s);
}

void
journal_on_cut(void (*f)(uint64_t, uint64_t))
{
	j.on_cut = f;
}

void
journal_segments(void (*f)(uint64_t, int, void *), void *arg)
{
	struct segment *s;
	int fd;

	TAILQ_FOREACH (s, &j.segments, link) {
		if ((fd = segment_open(s->first, O_RDONLY)) == -1)
			fatal("journal %016" PRIx64, s->first);
		f(s->first, fd, arg);
	}
}

void
journal_on_segment(void (*f)(uint64_t, int, void *), void *arg)
{
	j.on_segment = f;
	j.on_segment_arg = arg;
}

/* From here on a process after this one does not know; 0, or an errno. */
static int
begin_sync(void)
{
	int is_set;

	if (j.syncing == -1)
		j.syncing = mark_open_flag(j.dir, SYNCING, &is_set);
	return j.syncing == -1 ? errno : mark_set(j.syncing, 1);
}

int
journal_unsynced(int **fds, size_t *n, uint64_t *end)
{
	struct segment *s;
	size_t count = 0;
	int error;

	TAILQ_FOREACH (s, &j.segments, link) {
		count += !s->synced;
		if (s->unsafe) {
			(void)is_marked();
			errno = j.doubt ? EAGAIN : EIO;
			return -1;
		}
	}
	*n = 0;
	*end = journal_end();
	if ((*fds = calloc(count + 1, sizeof(**fds))) == NULL)
		return -1;
	if (j.unlinked || j.unlinked_asked) {
		if (((*fds)[*n] = fcntl(j.dir, F_DUPFD_CLOEXEC, 0)) == -1)
			goto fail;
		(*n)++;
	}
	TAILQ_FOREACH (s, &j.segments, link) {
		if (s->synced)
			continue;
		if (((*fds)[*n] = segment_open(s->first, O_RDONLY)) == -1)
			goto fail;
		(*n)++;
	}
	if ((errno = begin_sync()) != 0)
		goto fail;
	j.unlinked_asked |= j.unlinked;
	j.unlinked = 0;
	return 0;
fail:
	error = errno;
	while (*n > 0)
		close((*fds)[--*n]);
	free(*fds);
	*fds = NULL;
	errno = error;
	return -1;
}

void
journal_synced(uint64_t end)
{
	struct segment *s;
	int all = 1;

	(void)mark_set(j.syncing, 0);
	TAILQ_FOREACH (s, &j.segments, link) {
		if (s == last())
			break;
		if (s->first + s->len <= end)
			s->synced = 1;
		all &= s->synced;
	}
	j.synced = end;
	j.unlinked_asked = 0;
	if (!j.unsynced)
		return;
	if (!all)
		(void)mark_unsynced(end);
	else if (unlinkat(j.dir, UNSYNCED, 0) == 0 || errno == ENOENT)
		j.unsynced = 0;
}

int
journal_mark_unsafe(void)
{
	return mark_make(j.dir, UNSAFE);
}

/*
 * Records of all programs lie in pages that the kernel takes for clean from now
 * on, and to write them once more is no help: ext4 has forgotten too that their
 * blocks are not yet the file's.  So what is appended goes into another segment,
 * and these are safe when they are not needed.
 */
void
journal_not_synced(int error)
{
	struct segment *s;

	log_warnx(
	    "journal: it cannot be written to the disk: fsync fails until "
	    "all of it is in the database");
	j.unsafe = 1;
	j.doubt = 0;
	/* Of what the thread made journal_cut() may have thought that it is
	   over. */
	j.unmarked = 1;
	if (error != 0)
		log_warnx("journal: that this is so cannot be noted: %s: it is "
			  "tried again, and fsync fails until it is",
		    strerror(error));
	else
		(void)mark_set(j.syncing, 0);
	TAILQ_FOREACH (s, &j.segments, link)
		s->unsafe |= !s->synced;
	j.synced = NOT_SYNCED;
	/* manifest has an empty one by its name, which another would have, too:
	   it takes a record more. */
	if ((s = last()) != NULL && s->len > 0 && segment_begin() == -1)
		log_warn("journal");
}

int
journal_is_synced(void)
{
	return j.synced == journal_end();
}

enum journal_safety
journal_safety(void)
{
	const struct segment *s, *end = last();

	TAILQ_FOREACH (s, &j.segments, link)
		if (s->unsafe)
			return end->unsafe || end->len == 0
			    ? JOURNAL_UNSAFE
			    : JOURNAL_UNSAFE_BEHIND;
	return JOURNAL_SAFE;
}

struct lines {
	void (*f)(uint64_t, uint32_t, uint32_t, const uint8_t *, size_t,
	    uint64_t, void *);
	void *arg;
};

static void
line_found(const struct record *r, uint64_t offset, void *arg)
{
	struct lines *l = arg;

	if (r->type == RECORD_CTL)
		l->f(r->session, r->uid, r->gid, r->line, r->line_len, offset,
		    l->arg);
}

void
journal_lines(void (*f)(uint64_t, uint32_t, uint32_t, const uint8_t *, size_t,
		  uint64_t, void *),
    void *arg)
{
	struct lines l = { f, arg };
	struct segment *s;

	TAILQ_FOREACH (s, &j.segments, link)
		if (memcmp(s->connection, j.connection, 16) == 0)
			(void)segment_scan(s, NOWHERE, line_found, &l);
}

struct since {
	uint64_t offset;
	void (*f)(const struct record *, void *);
	void *arg;
};

static void
is_since(const struct record *r, uint64_t end, void *arg)
{
	struct since *s = arg;

	if (end > s->offset)
		s->f(r, s->arg);
}

void
journal_since(uint64_t offset, void (*f)(const struct record *, void *),
    void *arg)
{
	struct since since = { offset, f, arg };
	struct segment *s;

	TAILQ_FOREACH (s, &j.segments, link)
		if (s->first + s->len > offset)
			(void)segment_scan(s, NOWHERE, is_since, &since);
}
