/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * upload_put: sends one object.  A small one is read whole and checked before
 * it goes out.  Of a large one, which was hashed just now, what is in memory is
 * read where it is sent from; else a thread reads a part while another is sent.
 * The store, which knows its hash, refuses what has changed.  In sailvol-fetch.
 */
#include <sys/uio.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "sailvol-fetch/ops.h"
#include "sailvol-fetch/upload.h"

struct part {
	uint8_t *data;
	size_t len, pos; /* len 0: empty */
};

enum job {
	JOB_READ,  /* the next part */
	JOB_CHECK, /* refused: are these the bytes? */
};

struct put {
	struct work work; /* first: its work is it */
	TAILQ_ENTRY(put) entry;
	struct upload *upload;
	struct group *group;
	struct http *http;
	struct fetch_upload_chunk chunk;
	int fd; /* -1: its bytes are kept */
	const uint8_t *kept;
	struct part parts[2];
	unsigned int cur;  /* part that is sent */
	uint64_t read_off; /* bytes that were read */
	uint64_t sent_off; /* bytes that were sent */
	int busy;          /* the work is with a thread */
	int stale;         /* what it reads is not wanted */
	int paused;
	int dead; /* nobody wants it */
	unsigned int status;
	int fresh; /* the URL that was refused */
	/* of the work */
	enum job job;
	struct part *target;
	uint64_t job_off;
	size_t job_len;
	int job_error; /* ENODATA, EBADMSG: changed */
};

size_t
put_memory(uint32_t bytes)
{
	return bytes <= PUT_WHOLE ? bytes : 2 * PUT_PART;
}

static int
is_whole(const struct put *p)
{
	return p->chunk.bytes <= PUT_WHOLE;
}

static void
put_free(struct put *p)
{
	TAILQ_REMOVE(&p->upload->puts, p, entry);
	p->upload->nputs--;
	http_cancel(p->http);
	budget_give(put_memory(p->chunk.bytes));
	free(p->parts[0].data);
	free(p->parts[1].data);
	free(p);
}

/* ---- in a thread ------------------------------------------------------------ */

static int
put_run(struct work *w)
{
	struct put *p = (struct put *)w;
	struct hash h;
	int rc;

	p->job_error = 0;
	if (p->kept != NULL) {
		memcpy(p->target->data, p->kept, p->job_len);
		return 0;
	}
	if (p->job == JOB_CHECK) {
		rc = hash_range(p->fd, p->chunk.offset, p->chunk.bytes, &h);
		if (rc == -1)
			p->job_error = errno;
		else if (hash_cmp(&h, &p->chunk.hash) != 0)
			p->job_error = EBADMSG;
		return 0;
	}
	if (read_at(p->fd, p->target->data, p->job_len,
		p->chunk.offset + p->job_off) == -1) {
		p->job_error = errno;
		return 0;
	}
	if (is_whole(p)) {
		hash_bytes(&h, p->target->data, p->job_len);
		if (hash_cmp(&h, &p->chunk.hash) != 0)
			p->job_error = EBADMSG;
	}
	return 0;
}

/* ---- in the loop -------------------------------------------------------------- */

/* Has the next part read, if there is room and more to read. */
static void
fill(struct put *p)
{
	struct part *part = &p->parts[p->cur];
	uint64_t left = p->chunk.bytes - p->read_off;
	size_t max = is_whole(p) ? PUT_WHOLE : PUT_PART;

	if (p->busy || left == 0)
		return;
	if (part->len != 0 && !is_whole(p))
		part = &p->parts[!p->cur];
	if (part->len != 0)
		return;
	if (part->data == NULL && (part->data = malloc(PUT_PART)) == NULL) {
		p->job_error = ENOMEM;
		return;
	}
	p->job = JOB_READ;
	p->target = part;
	p->job_off = p->read_off;
	p->job_len = left < max ? (size_t)left : max;
	p->busy = 1;
	worker_add(&p->work);
}

/* The next bytes if they are in memory; else 0, and a thread is to read. */
static size_t
read_here(struct put *p, void *buf, size_t n)
{
	struct iovec iov = { buf, n };
	ssize_t r;

	if (is_whole(p) || p->busy || p->read_off != p->sent_off)
		return 0;
	if (n > p->chunk.bytes - p->read_off)
		iov.iov_len = (size_t)(p->chunk.bytes - p->read_off);
	r = preadv2(p->fd, &iov, 1, (off_t)(p->chunk.offset + p->read_off),
	    RWF_NOWAIT);
	if (r <= 0)
		return 0;
	p->read_off += (uint64_t)r;
	p->sent_off += (uint64_t)r;
	return (size_t)r;
}

static size_t
put_read(void *arg, void *buf, size_t n)
{
	struct put *p = arg;
	struct part *part = &p->parts[p->cur];
	size_t here;

	if (!p->busy && p->job_error != 0)
		return HTTP_ABORT;
	if (part->len == 0) {
		if (p->sent_off == p->chunk.bytes)
			return 0;
		if ((here = read_here(p, buf, n)) > 0)
			return here;
		fill(p);
		if (!p->busy)
			return HTTP_ABORT;
		p->paused = 1;
		return HTTP_PAUSE;
	}
	if (n > part->len - part->pos)
		n = part->len - part->pos;
	memcpy(buf, part->data + part->pos, n);
	part->pos += n;
	p->sent_off += n;
	if (part->pos == part->len && !is_whole(p)) {
		part->len = part->pos = 0;
		p->cur = !p->cur;
		fill(p);
	}
	return n;
}

/* The body from its start again. */
static void
put_rewind(void *arg)
{
	struct put *p = arg;

	p->paused = 0;
	if (p->sent_off == 0)
		return;
	p->sent_off = 0;
	if (is_whole(p)) {
		p->parts[0].pos = 0;
		return;
	}
	p->parts[0].len = p->parts[0].pos = 0;
	p->parts[1].len = p->parts[1].pos = 0;
	p->cur = 0;
	p->read_off = 0;
	p->stale = p->busy;
}

/* A store said no: the bytes may have changed, or the URL is too old. */
static void
refused(struct put *p)
{
	if (!is_whole(p) && p->job != JOB_CHECK) {
		p->job = JOB_CHECK;
		p->busy = 1;
		worker_add(&p->work);
		return;
	}
	if (p->status == 403)
		upload_group_again(p->upload, p->group, p->fresh);
	else
		upload_fail(p->upload, EIO, "store answered %u", p->status);
	put_free(p);
}

static void
changed_or_failed(struct put *p, int error)
{
	if (error == ENODATA || error == EBADMSG)
		upload_group_changed(p->upload, p->group);
	else
		upload_fail(p->upload, error, "file: %s", strerror(error));
	put_free(p);
}

static void
put_ended(struct put *p)
{
	struct upload *u = p->upload;

	switch (p->status) {
	case 200:
	case 201:
	case 204:
		u->bytes_sent += p->chunk.bytes;
		upload_group_done(u, p->group, UPLOAD_SENT);
		put_free(p);
		break;
	case 412:
		upload_group_done(u, p->group, UPLOAD_PRESENT);
		put_free(p);
		break;
	default:
		refused(p);
		break;
	}
}

static void
put_http_done(const struct http_result *r, void *arg)
{
	struct put *p = arg;
	char what[256];

	p->http = NULL;
	p->status = r->status;
	p->fresh = http_was_fresh(r, p->group->url_came);
	if (p->busy) {
		/* A part is being read: put_work_done() goes on. */
		p->stale = 1;
	}
	if (r->status == 200 || r->status == 201 || r->status == 204 ||
	    r->status == 400 || r->status == 403 || r->status == 412) {
		if (!p->busy)
			put_ended(p);
		return;
	}
	if (r->status == 0 && r->error == ECANCELED && p->job_error != 0 &&
	    !p->busy) {
		changed_or_failed(p, p->job_error);
		return;
	}
	result_what(r, "store", what, sizeof(what));
	upload_fail(p->upload, result_errno(r), "%s", what);
	p->dead = 1;
	if (!p->busy)
		put_free(p);
}

static int
put_send(struct put *p)
{
	struct http_spec spec = {
		.method = FETCH_METHOD_PUT,
		.url = p->group->url,
		.headers = p->group->headers,
		.headers_len = strlen(p->group->headers),
		.repeat = 1,
		.first = p->group->first,
		.max_answer = 64 * 1024,
		.body_len = p->chunk.bytes,
		.read = put_read,
		.rewind = put_rewind,
		.done = put_http_done,
		.arg = p,
	};

	p->http = http_start(&spec);
	return p->http != NULL ? 0 : -1;
}

static void
part_read(struct put *p)
{
	if (p->job_error != 0 && p->http == NULL) {
		changed_or_failed(p, p->job_error);
		return;
	}
	if (p->job_error == 0) {
		p->target->len = p->job_len;
		p->target->pos = 0;
		p->read_off += p->job_len;
	}
	if (p->http == NULL && put_send(p) == -1) {
		upload_fail(p->upload, ENOMEM, "out of memory");
		put_free(p);
		return;
	}
	if (p->job_error == 0)
		fill(p);
	if (p->paused) {
		p->paused = 0;
		http_resume(p->http);
	}
}

static void
put_work_done(struct work *w)
{
	struct put *p = (struct put *)w;

	p->busy = 0;
	if (p->dead) {
		put_free(p);
		pump_kick();
	} else if (p->job == JOB_CHECK) {
		if (p->job_error != 0)
			changed_or_failed(p, p->job_error);
		else
			refused(p);
	} else if (p->stale) {
		p->stale = 0;
		p->job_error = 0;
		if (p->http == NULL)
			put_ended(p);
		else
			fill(p);
	} else
		part_read(p);
}

int
put_start(struct upload *u, struct group *g)
{
	struct put *p;

	if ((p = calloc(1, sizeof(*p))) == NULL)
		return -1;
	p->upload = u;
	p->group = g;
	p->chunk = *upload_chunk(u, g);
	if (p->chunk.file == FETCH_UPLOAD_KEPT) {
		p->fd = -1;
		p->kept = kept_data(u->kept[u->order[g->cur]]);
	} else
		p->fd = u->files[p->chunk.file];
	p->work.run = put_run;
	p->work.done = put_work_done;
	if (is_whole(p))
		p->parts[0].data = malloc(p->chunk.bytes);
	if ((is_whole(p) && p->parts[0].data == NULL) ||
	    (!is_whole(p) && put_send(p) == -1)) {
		free(p->parts[0].data);
		free(p);
		return -1;
	}
	TAILQ_INSERT_TAIL(&u->puts, p, entry);
	u->nputs++;
	if (is_whole(p))
		fill(p);
	return 0;
}

void
put_cancel_all(struct upload *u)
{
	struct put *p, *next;

	for (p = TAILQ_FIRST(&u->puts); p != NULL; p = next) {
		next = TAILQ_NEXT(p, entry);
		http_cancel(p->http);
		p->http = NULL;
		p->dead = 1;
		if (!p->busy)
			put_free(p);
	}
}

uint64_t
put_sent(const struct upload *u)
{
	const struct put *p;
	uint64_t n = 0;

	TAILQ_FOREACH (p, &u->puts, entry)
		n += p->sent_off;
	return n;
}
