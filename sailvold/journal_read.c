/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * journal_read: reads the journals of the mounts behind fuse, applies them to
 * the database in batches, one transaction each with the offset it reached, and
 * tells fuse.  By timer: waking up for each change would cost more than all the
 * rest.  In manifest.
 */
#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/log.h"
#include "lib/monotime.h"
#include "sailvold/manifest.h"
#include "sailvold/obj_batch.h"

#define READ_BYTES (1024 * 1024)
#define BATCH_RECORDS 2000
#define BUSY_MS 20
#define IDLE_MS 250
#define SWEEP_BUSY_MS 1000
#define IDLE_AFTER 50 /* empty reads */
#define ERROR_MS 500  /* the database said no */
#define TELL_MS_MAX 4000
#define PATIENCE_MS 30000 /* with what cannot be read */

struct segment {
	TAILQ_ENTRY(segment) link;
	uint64_t first;
	int fd;
};

/* Each segment is an open descriptor. */
struct journal_read {
	monotime_t sweep; /* while it is busy: not before then */
	TAILQ_HEAD(segments_head, segment) segments;
	unsigned int nsegments;
	struct event *timer;
	unsigned int empty; /* reads in a row that found nothing */
	int unsynced;       /* applied, and not yet safe from a loss of power */
	int untold;         /* which could not be made so: again at tell */
	monotime_t tell;
	int tell_ms; /* after that another one */
	int failing; /* it, or the database, cannot be read; from then on: */
	monotime_t lost;
};

struct applied_wait {
	TAILQ_ENTRY(applied_wait) link;
	uint64_t offset;
	applied_cb f, broken;
	void *arg;
};

static uint8_t *read_buffer;
/* The record that was not applied, of the last batch of which one was not. */
static struct {
	uint8_t type;
	uint64_t ovl;
} bad;
static int patience_ms = PATIENCE_MS;

static void journal_timer(int, short, void *);

static void
journal_arm(struct mount *m, int ms)
{
	struct timeval tv = { ms / 1000, (ms % 1000) * 1000 };

	if (event_add(m->journal->timer, &tv) == -1)
		fatalx("mount %s: no timer for its journal", m->row.path);
}

static struct journal_read *
journal_get(struct mount *m)
{
	struct journal_read *j = m->journal;

	if (j != NULL)
		return j;
	if (read_buffer == NULL && (read_buffer = malloc(READ_BYTES)) == NULL)
		return NULL;
	if ((j = calloc(1, sizeof(*j))) == NULL)
		return NULL;
	TAILQ_INIT(&j->segments);
	/* What the manifest before has applied may not be safe yet. */
	j->unsynced = 1;
	j->timer = event_new(proc_base(), -1, 0, journal_timer, m);
	if (j->timer == NULL) {
		free(j);
		return NULL;
	}
	return m->journal = j;
}

/* Who can be told that nothing more is applied is told. */
static void
call_broken(struct mount *m)
{
	struct applied_wait *w;

	do {
		TAILQ_FOREACH (w, &m->waits, link)
			if (w->broken != NULL)
				break;
		if (w != NULL) {
			TAILQ_REMOVE(&m->waits, w, link);
			w->broken(m, w->arg);
			free(w);
		}
	} while (w != NULL);
}

/* Nothing behind this place can be applied. */
static void
journal_broken(struct mount *m, uint64_t offset, const char *why)
{
	log_warnx("mount %s: journal at %llu: %s: its changes stay in the "
		  "journal, and nothing of it can be committed",
	    m->row.path, (unsigned long long)offset, why);
	m->broken = 1;
	call_broken(m);
}

static void
record_broken(struct mount *m, const char *why)
{
	char text[160];

	snprintf(text, sizeof(text), "record of type %u, object %llu: %s",
	    bad.type, (unsigned long long)bad.ovl, why);
	journal_broken(m, m->row.applied, text);
}

void
journal_patience(int ms)
{
	patience_ms = ms;
}

/* What passes when somebody makes room, or ends. */
static int
is_shortage(int error)
{
	return error == ENOSPC || error == EDQUOT || error == ENOMEM ||
	    error == EROFS || error == EBUSY || error == EAGAIN;
}

/* Nobody waits for ever for a disk that does not read; it is tried on. */
static void
applying_failed(struct mount *m, int error)
{
	struct journal_read *j = m->journal;

	if (is_shortage(error)) {
		j->failing = 0;
		return;
	}
	if (!j->failing) {
		log_warnx("mount %s: its journal cannot be applied: %s: it is "
			  "tried again",
		    m->row.path, strerror(error));
		j->failing = 1;
		j->lost = monotime_add_ms(monotime_now(), patience_ms);
	}
	/* Its start is waited for by a mount that lives. */
	if (!monotime_reached(j->lost) || (!m->started && !m->fresh))
		return;
	if (!m->stuck)
		log_warnx("mount %s: nothing of it can be committed until its "
			  "journal can be applied",
		    m->row.path);
	m->stuck = 1;
}

static void
applying_works(struct mount *m)
{
	log_info("mount %s: its journal is applied again", m->row.path);
	m->journal->failing = m->stuck = 0;
}

int
journal_segment(struct mount *m, uint64_t first, int fd)
{
	struct segment_header h = { 0 };
	uint8_t header[SEGMENT_HEADER_LEN];
	struct journal_read *j;
	struct segment *s = NULL, *last;
	const char *why = NULL;

	/* Nothing of it is read any more; a new fuse brings it again. */
	if (m->broken) {
		close(fd);
		return 0;
	}
	if ((j = journal_get(m)) == NULL || (s = calloc(1, sizeof(*s))) == NULL)
		fatal("mount %s: a segment of its journal", m->row.path);
	if (j->nsegments >= SEGMENTS_MAX) {
		free(s);
		close(fd);
		return -1;
	}
	if (pread(fd, header, sizeof(header), 0) != (ssize_t)sizeof(header))
		why = "too short";
	else
		why = segment_header_decode(header, sizeof(header), &h);
	if (why == NULL &&
	    (h.first != first ||
		memcmp(h.mount, m->row.id, sizeof(h.mount)) != 0))
		why = "of another mount or place";
	last = TAILQ_LAST(&j->segments, segments_head);
	if (why == NULL && last != NULL && last->first >= first)
		why = "not in order";
	if (why != NULL) {
		/* A bad disk is not the other mounts' business. */
		free(s);
		close(fd);
		journal_broken(m, first, why);
		return 0;
	}
	s->first = first;
	s->fd = fd;
	TAILQ_INSERT_TAIL(&j->segments, s, link);
	j->nsegments++;
	j->empty = 0;
	journal_arm(m, BUSY_MS);
	return 0;
}

static void
segment_close(struct journal_read *j, struct segment *s)
{
	TAILQ_REMOVE(&j->segments, s, link);
	j->nsegments--;
	close(s->fd);
	free(s);
}

void
journal_forget(struct mount *m)
{
	struct segment *s;

	if (m->journal == NULL)
		return;
	while ((s = TAILQ_FIRST(&m->journal->segments)) != NULL)
		segment_close(m->journal, s);
	event_del(m->journal->timer);
	m->broken = m->stuck = 0; /* it is read again, and found so again */
	m->journal->failing = 0;
}

void
journal_free(struct mount *m)
{
	struct applied_wait *w;

	call_broken(m);
	while ((w = TAILQ_FIRST(&m->waits)) != NULL) {
		TAILQ_REMOVE(&m->waits, w, link);
		free(w);
	}
	if (m->journal == NULL)
		return;
	journal_forget(m);
	m->broken = m->stuck = 0;
	event_free(m->journal->timer);
	free(m->journal);
	m->journal = NULL;
}

/* The segment that offset lies in or at the end of; earlier ones are closed. */
static struct segment *
segment_at(struct journal_read *j, uint64_t offset)
{
	struct segment *s, *next;

	while ((s = TAILQ_FIRST(&j->segments)) != NULL) {
		next = TAILQ_NEXT(s, link);
		if (next == NULL || next->first > offset)
			break;
		segment_close(j, s);
		j->unsynced = 1; /* fuse may cut it */
	}
	return s != NULL && s->first <= offset ? s : NULL;
}

/*
 * Applies what data holds, up to a batch.  *good: bytes of the records that
 * were applied.  -1: *why what is wrong with the next one, or NULL: the
 * database said no.
 */
static int
apply_bytes(struct mount *m, const uint8_t *data, size_t len, size_t *good,
    const char **why)
{
	struct record rec;
	size_t taken;
	unsigned int n;
	int rc;

	*good = 0;
	for (n = 0; n < BATCH_RECORDS && *good < len; n++) {
		rc =
		    record_decode(data + *good, len - *good, &rec, &taken, why);
		if (rc == 0)
			break;
		if (rc == -1 ||
		    namespace_apply(manifest_db, &m->row, &rec,
			m->row.applied + taken, why) == -1) {
			bad.type = rec.type;
			bad.ovl = rec.ovl;
			return -1;
		}
		*good += taken;
		m->row.applied += taken;
	}
	return 0;
}

/* All or nothing of a batch. */
static int
apply_transaction(struct mount *m, const uint8_t *data, size_t len,
    size_t *good, const char **why)
{
	uint64_t applied = m->row.applied, next = m->row.next;
	int error;

	*why = NULL;
	*good = 0;
	if (db_begin(manifest_db) == -1)
		return -1;
	obj_batch_begin(m->row.row);
	if (apply_bytes(m, data, len, good, why) == 0 &&
	    obj_batch_flush(manifest_db) == 0 &&
	    (*good == 0 || db_mount_update(manifest_db, &m->row) == 0) &&
	    db_commit(manifest_db) == 0) {
		obj_batch_end();
		if (*good > 0)
			m->rows_changed++;
		return 0;
	}
	error = errno;
	obj_batch_end();
	db_rollback(manifest_db);
	m->row.applied = applied;
	m->row.next = next;
	errno = error;
	return -1;
}

/* Nothing whole is there to be read: is more to be expected? */
static void
check_end(struct mount *m, size_t len)
{
	struct segment *s = TAILQ_FIRST(&m->journal->segments);

	if (s == NULL)
		return;
	if (s->first > m->row.applied)
		journal_broken(m, m->row.applied, "a segment is missing");
	else if (TAILQ_NEXT(s, link) != NULL)
		journal_broken(m, m->row.applied,
		    len == 0 ? "a segment is missing"
			     : "a segment ends in the middle of a record");
}

static ssize_t
try_batch(struct mount *m)
{
	const char *why = NULL;
	struct segment *s;
	size_t good = 0;
	ssize_t n = 0;

	s = segment_at(m->journal, m->row.applied);
	if (s != NULL &&
	    (n = pread(s->fd, read_buffer, READ_BYTES,
		 (off_t)(SEGMENT_HEADER_LEN + (m->row.applied - s->first)))) ==
		-1)
		return -1;
	if (n > 0 &&
	    apply_transaction(m, read_buffer, (size_t)n, &good, &why) == -1) {
		if (why == NULL)
			return -1; /* tried again */
		/* What stands before the bad record counts. */
		if (good == 0)
			record_broken(m, why);
		else if (apply_transaction(m, read_buffer, good, &good, &why) ==
		    -1)
			return -1;
		return (ssize_t)good;
	}
	if (good == 0)
		check_end(m, (size_t)n);
	else if ((s = TAILQ_NEXT(s, link)) != NULL &&
	    s->first <= m->row.applied)
		m->journal->unsynced = 1; /* fuse may cut a segment */
	if (good > 0)
		m->unswept = 1;
	return (ssize_t)good;
}

/* One batch: bytes applied, 0 nothing there, -1. */
static ssize_t
apply_batch(struct mount *m)
{
	ssize_t n;

	if (m->journal == NULL || m->broken)
		return 0;
	errno = 0;
	if ((n = try_batch(m)) == -1)
		applying_failed(m, errno != 0 ? errno : EIO);
	/* Where nothing was there to be applied the database was not asked. */
	else if ((m->journal->failing || m->stuck) &&
	    (n > 0 || m->row.applied == journal_reach(m)))
		applying_works(m);
	return n;
}

int
journal_sync(struct mount *m)
{
	int rc = -1;

	if (db_begin_durable(manifest_db) == 0) {
		if (db_mount_update(manifest_db, &m->row) == 0 &&
		    db_commit(manifest_db) == 0)
			rc = 0;
		else
			db_rollback(manifest_db);
	}
	/* Nothing of it is said to be applied before it has worked. */
	if (m->journal != NULL)
		m->journal->unsynced = rc != 0;
	return rc;
}

int
journal_drain(struct mount *m)
{
	ssize_t n;

	while ((n = apply_batch(m)) > 0)
		;
	if (n == -1 || m->broken) {
		errno = EIO;
		return -1;
	}
	return 0;
}

static void
tell_applied(struct mount *m)
{
	struct journal_read *j = m->journal;
	struct ibuf *b;

	if (m->fuse == NULL || !m->started)
		return;
	/* Each batch would try it, which may be much work. */
	if (j->untold && j->unsynced && !monotime_reached(j->tell))
		return;
	if (j->unsynced && journal_sync(m) == -1) {
		j->tell_ms = j->untold ? j->tell_ms * 2 : ERROR_MS;
		if (j->tell_ms > TELL_MS_MAX)
			j->tell_ms = TELL_MS_MAX;
		j->untold = 1;
		j->tell = monotime_add_ms(monotime_now(), j->tell_ms);
		return;
	}
	j->untold = 0;
	if ((b = ibuf_dynamic(8, 8)) == NULL ||
	    ibuf_add_n64(b, m->row.applied) == -1) {
		ibuf_free(b);
		return;
	}
	chan_send_ibuf(m->fuse, IMSG_MANIFEST_FUSE_APPLIED, 0, -1, b);
}

/* A fuse that is started anew does not wait for who looks at the rows. */
static int
is_held(const struct mount *m)
{
	return m->held > 0 && m->started;
}

void
journal_hold(struct mount *m)
{
	m->held++;
}

void
journal_let(struct mount *m)
{
	if (--m->held == 0 && m->journal != NULL && !m->broken)
		journal_arm(m, 0);
}

void
journal_now(struct mount *m)
{
	if (!is_held(m) && apply_batch(m) > 0) {
		m->journal->empty = 0;
		tell_applied(m);
		journal_arm(m, 0);
	}
}

/* In order; each may add others, cancel others, and wait again. */
static void
call_waits(struct mount *m)
{
	struct applied_wait *w;

	do {
		TAILQ_FOREACH (w, &m->waits, link)
			if (w->offset <= m->row.applied)
				break;
		if (w != NULL) {
			TAILQ_REMOVE(&m->waits, w, link);
			w->f(m, w->arg);
			free(w);
		}
	} while (w != NULL);
}

/* Where files have a limit, those that nobody needs are not kept until there is
   nothing else to do. */
static void
sweep_busy(struct mount *m)
{
	if (m->overlay_limit == 0 || !monotime_reached(m->journal->sweep))
		return;
	(void)namespace_sweep_on(m);
	m->journal->sweep = monotime_add_ms(monotime_now(), SWEEP_BUSY_MS);
}

/* One batch, then the loop gets its turn again. */
static void
journal_timer(int fd, short what, void *arg)
{
	struct mount *m = arg;
	ssize_t n = 0;

	(void)fd;
	(void)what;
	if (is_held(m))
		return; /* journal_let() */
	n = apply_batch(m);
	if (m->broken)
		return;
	if (n > 0)
		m->journal->empty = 0;
	if (n > 0 ||
	    (n == 0 && m->journal->untold &&
		monotime_reached(m->journal->tell)))
		tell_applied(m);
	/* Of what journal_now() has applied, too. */
	if (n >= 0 && !TAILQ_EMPTY(&m->waits))
		call_waits(m);
	if (n > 0) {
		sweep_busy(m);
	} else if (n == 0) {
		if (m->journal->empty < IDLE_AFTER)
			m->journal->empty++;
		if (m->journal->empty == IDLE_AFTER &&
		    namespace_sweep_on(m) == 1)
			m->journal->empty--; /* there is more of it */
	}
	if (n == -1 && m->stuck)
		call_broken(m);
	if (n == -1)
		journal_arm(m, ERROR_MS);
	else if (n > 0 && (size_t)n > READ_BYTES / 4)
		journal_arm(m, 0);
	else if (!TAILQ_EMPTY(&m->waits))
		journal_arm(m, 1);
	else
		journal_arm(m,
		    m->journal->empty < IDLE_AFTER ? BUSY_MS : IDLE_MS);
}

uint64_t
journal_reach(const struct mount *m)
{
	const struct segment *s = NULL;
	struct stat st;

	if (m->journal != NULL)
		s = TAILQ_LAST(&m->journal->segments, segments_head);
	if (s == NULL || fstat(s->fd, &st) == -1 ||
	    st.st_size < SEGMENT_HEADER_LEN)
		return m->row.applied;
	return s->first + (uint64_t)st.st_size - SEGMENT_HEADER_LEN;
}

int
applied_wait_or(struct mount *m, uint64_t offset, applied_cb f,
    applied_cb broken, void *arg)
{
	struct applied_wait *w;

	if (offset <= m->row.applied) {
		f(m, arg);
		return 0;
	}
	if (m->broken || m->stuck) {
		errno = EIO;
		return -1;
	}
	if ((w = calloc(1, sizeof(*w))) == NULL)
		return -1;
	w->offset = offset;
	w->f = f;
	w->broken = broken;
	w->arg = arg;
	TAILQ_INSERT_TAIL(&m->waits, w, link);
	if (m->journal != NULL)
		journal_arm(m, 0);
	return 0;
}

void
applied_wait_cancel(struct mount *m, applied_cb f, void *arg)
{
	struct applied_wait *w, *next;

	for (w = TAILQ_FIRST(&m->waits); w != NULL; w = next) {
		next = TAILQ_NEXT(w, link);
		if (w->f != f || w->arg != arg)
			continue;
		TAILQ_REMOVE(&m->waits, w, link);
		free(w);
	}
}
