/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * get: asks the server where chunks lie, shortly before they are brought;
 * reports wrong places and asks once for others.  In sailvol-fetch.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/log.h"
#include "sailvol-fetch/get.h"
#include "sailvol-fetch/ops.h"
#include "sailvol-fetch/url.h"

#define BAD_MAX 2     /* wrong places, and the chunk is given up */
#define REFUSED_MAX 4 /* URLs of one chunk in a row */
#define ANSWER_MAX ((uint64_t)8 * 1024 * 1024)

struct report {
	TAILQ_ENTRY(report) entry;
	struct get *get;
	struct http *http;
	char body[256];
};

/* ---- the end ------------------------------------------------------------------ */

static void
report_free(struct report *r)
{
	TAILQ_REMOVE(&r->get->reports, r, entry);
	http_cancel(r->http);
	free(r);
}

static void
get_answer(struct get *g)
{
	struct report *r;

	while ((r = TAILQ_FIRST(&g->reports)) != NULL)
		report_free(r);
	if (g->req.peer != NULL &&
	    fetch_get_res_send(g->req.peer, g->req.id, g->error, g->what) == -1)
		op_lost("get");
	request_del(&g->req);
	pump_del(&g->pump);
	close(g->fd);
	free(g->wants);
	free(g->ask_body);
	free(g);
}

static void
set_error(struct get *g, int error, const char *what)
{
	if (g->error != 0)
		return;
	g->error = (uint32_t)error;
	strlcpy(g->what, what, sizeof(g->what));
}

void
get_abort(struct get *g, int error, const char *what)
{
	set_error(g, error, what);
	g->abort = 1;
	pump_kick();
}

static void
get_cancel(struct request *req)
{
	get_abort((struct get *)req, ECANCELED, "cancelled");
}

/* ---- chunks ---------------------------------------------------------------------- */

void
get_chunk_done(struct get *g, struct want *w)
{
	w->state = PART_DONE;
	if (g->req.peer != NULL &&
	    fetch_get_done_send(g->req.peer, g->req.id, w->chunk.slot) == -1)
		op_lost("get");
}

static void
report_done(const struct http_result *result, void *arg)
{
	struct report *r = arg;

	if (result->status < 200 || result->status > 299)
		log_warnx("report to the server: %s%u", result->what,
		    result->status);
	r->http = NULL;
	report_free(r);
	pump_kick();
}

static void
report(struct get *g, const struct want *w, const struct hash *object,
    const char *problem)
{
	struct http_spec spec = {
		.method = FETCH_METHOD_POST,
		.api = 1,
		.content_type = "application/json",
		.repeat = 1,
		.total_ms = http_deadline_ms(),
		.max_answer = 64 * 1024,
		.done = report_done,
	};
	char o[HASH_HEX_LEN + 1], c[HASH_HEX_LEN + 1], target[256];
	struct report *r;

	if ((r = calloc(1, sizeof(*r))) == NULL)
		return;
	hash_hex(object, o);
	hash_hex(&w->chunk.hash, c);
	r->get = g;
	snprintf(r->body, sizeof(r->body),
	    "{\"object\":\"%s\",\"chunk\":\"%s\",\"problem\":\"%s\"}", o, c,
	    problem);
	snprintf(target, sizeof(target), "/v1/volumes/%s/report", g->volume);
	spec.url = target;
	spec.body = r->body;
	spec.body_len = strlen(r->body);
	spec.arg = r;
	TAILQ_INSERT_TAIL(&g->reports, r, entry);
	if ((r->http = http_start(&spec)) == NULL)
		report_free(r);
}

void
get_chunk_bad(struct get *g, struct want *w, const struct hash *object,
    enum problem problem)
{
	const char *p = problem == PROBLEM_MISSING ? "missing" : "corrupt";
	char c[HASH_HEX_LEN + 1], o[HASH_HEX_LEN + 1], what[128];

	hash_hex(&w->chunk.hash, c);
	hash_hex(object, o);
	log_warnx("volume %s: \"%.*s\": chunk %s is %s in object %s", g->volume,
	    (int)g->path_len, (const char *)g->path, c, p, o);
	report(g, w, object, p);
	if (++w->bad < BAD_MAX) {
		w->state = PART_PENDING;
		return;
	}
	w->state = PART_FAILED;
	snprintf(what, sizeof(what), "chunk %s is %s in the store", c, p);
	set_error(g, EIO, what);
}

void
get_chunk_refused(struct get *g, struct want *w)
{
	w->state = PART_PENDING;
	if (++w->refused >= REFUSED_MAX)
		get_abort(g, EACCES, "store refuses the server's URLs");
}

/* ---- the question ------------------------------------------------------------------ */

/* What was asked and not answered has no place. */
static void
check_asked(struct get *g)
{
	char c[HASH_HEX_LEN + 1], what[128];
	struct want *w;
	uint16_t i;

	for (i = 0; i < g->n; i++) {
		w = &g->wants[i];
		if (w->state != PART_ASKED)
			continue;
		w->state = PART_FAILED;
		hash_hex(&w->chunk.hash, c);
		log_warnx("volume %s: \"%.*s\": chunk %s: the server knows no "
			  "good copy",
		    g->volume, (int)g->path_len, (const char *)g->path, c);
		snprintf(what, sizeof(what), "no good copy of chunk %s", c);
		set_error(g, EIO, what);
	}
}

static void
ask_done(const struct http_result *r, void *arg)
{
	struct get *g = arg;
	struct wire_span *spans = NULL;
	struct span *s;
	const char *why;
	char what[256];
	uint32_t i, n = 0;

	g->ask = NULL;
	free(g->ask_body);
	g->ask_body = NULL;
	pump_kick();
	if (r->status != 200) {
		result_what(r, "locate: server", what, sizeof(what));
		get_abort(g, result_errno(r), what);
		return;
	}
	why = wire_spans_decode(r->body, r->body_len, &spans, &n);
	if (why != NULL) {
		snprintf(what, sizeof(what), "locate: server's answer: %s",
		    why);
		get_abort(g, EPROTO, what);
		return;
	}
	for (i = 0; i < n; i++)
		if ((s = span_new(g, &spans[i])) == NULL && errno == ENOMEM)
			get_abort(g, ENOMEM, "out of memory");
	wire_spans_free(spans, n);
	check_asked(g);
}

/* Bytes of the question for those that are pending; 0: there are none. */
static int
ask_body(struct get *g, size_t *len)
{
	struct wire_locate_req req = { .commit = g->commit,
		.path = g->path,
		.path_len = g->path_len };
	struct wbuf w;
	uint16_t i;

	req.slots = calloc((size_t)g->n + 1, sizeof(*req.slots));
	if (req.slots == NULL)
		return -1;
	for (i = 0; i < g->n; i++)
		if (g->wants[i].state == PART_PENDING) {
			g->wants[i].state = PART_ASKED;
			req.slots[req.nslots++] = g->wants[i].chunk.slot;
		}
	if (req.nslots == 0) {
		free(req.slots);
		return 0;
	}
	wbuf_init(&w, 1024 * 1024);
	wire_locate_req_encode(&w, &req);
	free(req.slots);
	return (g->ask_body = wbuf_take(&w, len)) != NULL ? 1 : -1;
}

/* 1: asked; 0: nothing is left to ask. */
static int
ask(struct get *g)
{
	struct http_spec spec = {
		.method = FETCH_METHOD_POST,
		.api = 1,
		.content_type = WIRE_CONTENT_TYPE,
		.repeat = 1,
		.total_ms = http_deadline_ms(),
		.max_answer = ANSWER_MAX,
		.done = ask_done,
		.arg = g,
	};
	char target[256];
	size_t len = 0;
	int rc;

	if ((rc = ask_body(g, &len)) == 0)
		return 0;
	snprintf(target, sizeof(target), "/v1/volumes/%s/locate", g->volume);
	spec.url = target;
	spec.body = g->ask_body;
	spec.body_len = len;
	if (rc == -1 || (g->ask = http_start(&spec)) == NULL)
		get_abort(g, ENOMEM, "out of memory");
	return 1;
}

/* ---- steps ----------------------------------------------------------------------------- */

/* Does what can be done now; may end the request. */
static void
get_step(void *arg)
{
	struct get *g = arg;

	if (g->abort) {
		http_cancel(g->ask);
		g->ask = NULL;
		span_cancel_all(g);
		if (g->nrunning == 0)
			get_answer(g);
		return;
	}
	span_start_waiting(g);
	if (g->abort || g->ask != NULL || !TAILQ_EMPTY(&g->waiting) ||
	    g->nrunning > 0 || !TAILQ_EMPTY(&g->reports))
		return;
	/* Reports are there before another place is asked for. */
	if (!ask(g))
		get_answer(g);
}

int
op_get(struct chan *c, uint32_t id, struct imsg *imsg, struct ibuf *body)
{
	struct fetch_get msg;
	struct get *g;
	uint16_t i;

	if (fetch_get_recv(body, &msg) == -1 ||
	    !url_plain(msg.volume, msg.volume_len))
		return -1;
	if ((g = calloc(1, sizeof(*g))) == NULL ||
	    (g->wants = calloc(msg.n, sizeof(*g->wants))) == NULL)
		fatal("get");
	memcpy(g->volume, msg.volume, msg.volume_len);
	memcpy(g->path, msg.path, msg.path_len);
	g->path_len = msg.path_len;
	g->commit = msg.commit;
	g->shift = msg.shift;
	g->n = msg.n;
	for (i = 0; i < msg.n; i++)
		g->wants[i].chunk = msg.chunks[i];
	TAILQ_INIT(&g->waiting);
	TAILQ_INIT(&g->running);
	TAILQ_INIT(&g->reports);
	if (request_add(&g->req, c, id, get_cancel) == -1) {
		free(g->wants);
		free(g);
		return -1;
	}
	g->fd = imsg_get_fd(imsg);
	pump_add(&g->pump, get_step, g);
	return 0;
}
