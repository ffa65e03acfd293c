/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * pack_check: reads a pack and says which of its parts are what somebody has
 * claimed.  For the server; in its sailvol-fetch.
 */
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/fetch_imsg.h"
#include "lib/log.h"
#include "lib/memfd.h"
#include "lib/wire.h"
#include "sailvol-fetch/ops.h"
#include "sailvol-fetch/request.h"
#include "sailvol-fetch/worker.h"

#define LIST_MAX (4 + (size_t)FETCH_PARTS_MAX * FETCH_PART_LEN)

struct pack_check {
	struct work work; /* first: its work is it */
	struct request req;
	struct pump pump;
	struct http *http;
	char *url;
	struct hash hash;
	size_t length, got;
	struct fetch_part *parts;
	uint32_t n;
	uint8_t *buf; /* NULL: waits for memory */
	uint8_t *right;
	int busy; /* with a thread */
	int equal;
	int cancelled;
	int longer; /* than it should be */
	uint8_t dated;
	int64_t skew_ms;
	uint64_t said; /* the store, of its length */
};

static void
check_free(struct pack_check *p)
{
	pump_del(&p->pump);
	if (p->buf != NULL)
		budget_give(p->length);
	free(p->buf);
	free(p->right);
	free(p->parts);
	free(p->url);
	free(p);
}

static void
check_answer(struct pack_check *p, uint16_t status, const char *what,
    const struct http_result *r)
{
	struct fetch_url_res res = { .equal = (uint8_t)p->equal,
		.dated = p->dated,
		.skew_ms = p->skew_ms,
		.length = p->said };
	int fd = -1;

	if (p->req.peer != NULL) {
		if (status == 200 &&
		    (fd = memfd_new("parts", p->right, p->n)) == -1) {
			status = 0;
			what = "out of memory";
		}
		res.status = status;
		res.what = what;
		if (r != NULL)
			object_error(r, &res);
		if (fetch_url_res_send(p->req.peer, p->req.id, &res, fd) ==
		    -1) {
			op_lost("url");
			if (fd != -1)
				close(fd);
		}
	}
	request_del(&p->req);
	check_free(p);
}

/* ---- in a thread --------------------------------------------------------- */

/* What did not come is not right. */
static int
check_run(struct work *w)
{
	struct pack_check *p = (struct pack_check *)w;
	const struct fetch_part *part;
	struct hash h;
	uint32_t i;

	memset(p->right, 0, p->n);
	for (i = 0; i < p->n; i++) {
		part = &p->parts[i];
		if ((size_t)part->offset + part->bytes > p->got)
			continue;
		hash_bytes(&h, p->buf + part->offset, part->bytes);
		p->right[i] = hash_cmp(&h, &part->hash) == 0;
	}
	hash_bytes(&h, p->buf, p->got);
	p->equal =
	    p->got == p->length && !p->longer && hash_cmp(&h, &p->hash) == 0;
	return 0;
}

/* ---- in the loop --------------------------------------------------------- */

static void
check_ran(struct work *w)
{
	struct pack_check *p = (struct pack_check *)w;

	p->busy = 0;
	check_answer(p, p->cancelled ? 0 : 200, "", NULL);
}

static void
check_rewind(void *arg)
{
	struct pack_check *p = arg;

	p->got = 0;
	p->longer = 0;
}

/* What lies behind its end is of no interest. */
static int
check_sink(void *arg, const void *data, size_t n)
{
	struct pack_check *p = arg;

	size_t room = p->length - p->got;

	memcpy(p->buf + p->got, data, n < room ? n : room);
	p->got += n < room ? n : room;
	p->longer = n > room;
	return p->longer ? -1 : 0;
}

static void
check_done(const struct http_result *r, void *arg)
{
	struct pack_check *p = arg;

	p->http = NULL;
	p->dated = r->has_skew != 0;
	p->skew_ms = r->skew_ms;
	p->said = r->length > 0 ? (uint64_t)r->length : 0;
	/* Shorter, or longer: there, and not what it should be. */
	if (r->status == 200 ||
	    (r->status == 0 && (r->error == ECANCELED || r->error == EFBIG))) {
		p->busy = 1;
		p->work.run = check_run;
		p->work.done = check_ran;
		worker_add(&p->work);
		return;
	}
	check_answer(p, (uint16_t)r->status, r->what, r);
}

static void
check_cancel(struct request *req)
{
	struct pack_check *p = (struct pack_check *)(void *)((char *)req -
	    offsetof(struct pack_check, req));

	p->cancelled = 1;
	if (p->busy)
		return;
	http_cancel(p->http);
	check_answer(p, 0, "cancelled", NULL);
}

/* Begins when there is memory. */
static void
check_step(void *arg)
{
	struct pack_check *p = arg;
	struct http_spec spec = {
		.method = FETCH_METHOD_GET,
		.url = p->url,
		.repeat = 1,
		.max_answer = FETCH_OBJECT_MAX,
		.object = &p->hash,
		.object_len = p->length,
		.rewind = check_rewind,
		.sink = check_sink,
		.done = check_done,
		.arg = p,
	};

	if (p->buf != NULL || !budget_take(p->length))
		return;
	if ((p->buf = big_alloc(p->length)) == NULL) {
		budget_give(p->length);
		check_answer(p, 0, "out of memory", NULL);
	} else if ((p->http = http_start(&spec)) == NULL)
		check_answer(p, 0, "out of memory", NULL);
}

/* 0; -1 malformed. */
static int
check_read(struct pack_check *p, const struct fetch_url *msg, int fd)
{
	struct memfd_view m;
	int rc;

	if (msg->method != FETCH_METHOD_GET || !msg->verify ||
	    msg->length == 0 || msg->length > WIRE_PACK_BYTES ||
	    memfd_map(fd, LIST_MAX, &m) == -1)
		return -1;
	rc = fetch_parts_decode(m.data, m.len, msg->length, &p->parts, &p->n);
	memfd_unmap(&m);
	return rc;
}

int
pack_check(struct chan *c, uint32_t id, const struct fetch_url *msg, int fd)
{
	struct pack_check *p;
	int rc;

	if ((p = calloc(1, sizeof(*p))) == NULL)
		fatal("url");
	rc = check_read(p, msg, fd);
	close(fd);
	if (rc == -1 || request_add(&p->req, c, id, check_cancel) == -1) {
		free(p->parts);
		free(p);
		return -1;
	}
	p->hash = msg->hash;
	p->length = (size_t)msg->length;
	if ((p->url = strndup(msg->url, msg->url_len)) == NULL ||
	    (p->right = calloc(p->n, 1)) == NULL)
		fatal("url");
	pump_add(&p->pump, check_step, p);
	return 0;
}
