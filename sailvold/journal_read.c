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
#include "sailvold/manifest.h"

#define READ_BYTES (1024 * 1024)
#define BATCH_RECORDS 2000
#define BUSY_MS 20
#define IDLE_MS 250
#define IDLE_AFTER 50 /* empty reads */

struct segment {
	TAILQ_ENTRY(segment) link;
	uint64_t first;
	int fd;
};

struct journal_read {
	TAILQ_HEAD(segments_head, segment) segments;
	struct event *timer;
	unsigned int empty; /* reads in a row that found nothing */
};

struct applied_wait {
	TAILQ_ENTRY(applied_wait) link;
	uint64_t offset;
	applied_cb f;
	void *arg;
};

static uint8_t *read_buffer;

static void journal_timer(int, short, void *);

static int
journal_arm(struct mount *m, int ms)
{
	struct timeval tv = { ms / 1000, (ms % 1000) * 1000 };

	return event_add(m->journal->timer, &tv);
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
	j->timer = event_new(proc_base(), -1, 0, journal_timer, m);
	if (j->timer == NULL) {
		free(j);
		return NULL;
	}
	return m->journal = j;
}

int
journal_segment(struct mount *m, uint64_t first, int fd)
{
	struct segment_header h;
	uint8_t header[SEGMENT_HEADER_LEN];
	struct journal_read *j;
	struct segment *s = NULL, *last;
	const char *why = NULL;

	if ((j = journal_get(m)) == NULL || (s = calloc(1, sizeof(*s))) == NULL)
		goto fail;
	if (pread(fd, header, sizeof(header), 0) != (ssize_t)sizeof(header))
		why = "too short";
	else
		why = segment_header_decode(header, sizeof(header), &h);
	if (why == NULL && (h.first != first ||
	    memcmp(h.mount, m->row.id, sizeof(h.mount)) != 0))
		why = "of another mount or place";
	last = TAILQ_LAST(&j->segments, segments_head);
	if (why == NULL && last != NULL && last->first >= first)
		why = "not in order";
	if (why != NULL) {
		log_warnx("mount %s: journal segment %llx: %s", m->row.path,
		    (unsigned long long)first, why);
		errno = EBADMSG;
		goto fail;
	}
	s->first = first;
	s->fd = fd;
	TAILQ_INSERT_TAIL(&j->segments, s, link);
	return journal_arm(m, BUSY_MS);
fail:
	free(s);
	close(fd);
	return -1;
}

void
journal_forget(struct mount *m)
{
	struct segment *s;

	if (m->journal == NULL)
		return;
	while ((s = TAILQ_FIRST(&m->journal->segments)) != NULL) {
		TAILQ_REMOVE(&m->journal->segments, s, link);
		close(s->fd);
		free(s);
	}
	event_del(m->journal->timer);
}

void
journal_free(struct mount *m)
{
	struct applied_wait *w;

	while ((w = TAILQ_FIRST(&m->waits)) != NULL) {
		TAILQ_REMOVE(&m->waits, w, link);
		free(w);
	}
	if (m->journal == NULL)
		return;
	journal_forget(m);
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
		TAILQ_REMOVE(&j->segments, s, link);
		close(s->fd);
		free(s);
	}
	return s != NULL && s->first <= offset ? s : NULL;
}

static void
journal_broken(struct mount *m, uint64_t offset, const char *why)
{
	log_warnx("mount %s: journal at %llu: %s: its changes stay in the "
	    "journal, and nothing of it can be committed", m->row.path,
	    (unsigned long long)offset, why);
	m->broken = 1;
}

/* Applies what data holds, up to a batch. Bytes taken, or -1. */
static ssize_t
apply_bytes(struct mount *m, const uint8_t *data, size_t len)
{
	struct record rec;
	const char *why;
	size_t at = 0, taken;
	unsigned int n;
	int rc;

	for (n = 0; n < BATCH_RECORDS && at < len; n++) {
		rc = record_decode(data + at, len - at, &rec, &taken, &why);
		if (rc == 0)
			break;
		if (rc == 1 && namespace_apply(manifest_db, &m->row, &rec,
		    m->row.applied + taken, &why) == -1) {
			if (why == NULL)
				return -1; /* the database: tried again */
			rc = -1;
		}
		if (rc == -1) {
			journal_broken(m, m->row.applied, why);
			return -1;
		}
		at += taken;
		m->row.applied += taken;
	}
	return (ssize_t)at;
}

/* One batch in one transaction: bytes applied, 0 nothing there, -1. */
static ssize_t
apply_batch(struct mount *m)
{
	struct mount_row before = m->row;
	struct segment *s;
	ssize_t n;

	if ((s = segment_at(m->journal, m->row.applied)) == NULL)
		return 0;
	n = pread(s->fd, read_buffer, READ_BYTES, (off_t)(SEGMENT_HEADER_LEN +
	    (m->row.applied - s->first)));
	if (n <= 0)
		return n;
	if (db_begin(manifest_db) == -1)
		return -1;
	if ((n = apply_bytes(m, read_buffer, (size_t)n)) == -1)
		goto fail;
	if (n == 0) {
		db_rollback(manifest_db);
		return 0;
	}
	if (db_mount_update(manifest_db, &m->row) == -1 ||
	    db_commit(manifest_db) == -1)
		goto fail;
	return n;
fail:
	db_rollback(manifest_db);
	m->row.applied = before.applied;
	m->row.next = before.next;
	return -1;
}

static void
tell_applied(struct mount *m)
{
	struct ibuf *b;

	if (m->fuse == NULL || !m->started)
		return;
	if ((b = ibuf_dynamic(8, 8)) == NULL ||
	    ibuf_add_n64(b, m->row.applied) == -1) {
		ibuf_free(b);
		return;
	}
	chan_send_ibuf(m->fuse, IMSG_MANIFEST_FUSE_APPLIED, 0, -1, b);
}

static void
call_waits(struct mount *m)
{
	struct applied_wait *w, *next;
	struct applied_queue ready = TAILQ_HEAD_INITIALIZER(ready);

	for (w = TAILQ_FIRST(&m->waits); w != NULL; w = next) {
		next = TAILQ_NEXT(w, link);
		if (w->offset > m->row.applied)
			continue;
		TAILQ_REMOVE(&m->waits, w, link);
		TAILQ_INSERT_TAIL(&ready, w, link);
	}
	while ((w = TAILQ_FIRST(&ready)) != NULL) {
		TAILQ_REMOVE(&ready, w, link);
		w->f(m, w->arg);
		free(w);
	}
}

/* One batch, then the loop gets its turn again. */
static void
journal_timer(int fd, short what, void *arg)
{
	struct mount *m = arg;
	ssize_t n = 0;

	(void)fd;
	(void)what;
	if (m->broken)
		return;
	n = apply_batch(m);
	if (n > 0) {
		m->journal->empty = 0;
		tell_applied(m);
		if (!TAILQ_EMPTY(&m->waits))
			call_waits(m);
	} else if (n == 0 && m->journal->empty < IDLE_AFTER) {
		if (++m->journal->empty == IDLE_AFTER)
			namespace_sweep(m);
	}
	if (n > 0 && (size_t)n > READ_BYTES / 4)
		journal_arm(m, 0);
	else if (!TAILQ_EMPTY(&m->waits))
		journal_arm(m, n == -1 ? 100 : 1);
	else
		journal_arm(m, m->journal->empty < IDLE_AFTER ? BUSY_MS :
		    IDLE_MS);
}

int
applied_wait_for(struct mount *m, uint64_t offset, applied_cb f, void *arg)
{
	struct applied_wait *w;

	if (offset <= m->row.applied) {
		f(m, arg);
		return 0;
	}
	if (m->broken) {
		errno = EIO;
		return -1;
	}
	if ((w = calloc(1, sizeof(*w))) == NULL)
		return -1;
	w->offset = offset;
	w->f = f;
	w->arg = arg;
	TAILQ_INSERT_TAIL(&m->waits, w, link);
	if (m->journal != NULL)
		journal_arm(m, 0);
	return 0;
}
