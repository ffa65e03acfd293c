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

/* Wrong places, and the chunk is given up: the same one again, or several. */
#define BAD_SAME 2
#define BAD_MAX 4
#define REFUSED_MAX 4 /* URLs of one chunk that had just come */
#define STALE_MAX 8   /* those that had not */
#define ANSWER_MAX ((uint64_t)8 * 1024 * 1024)

struct report {
	TAILQ_ENTRY(report) entry;
	struct get *get;
	struct http *http;
	char body[256];
};

/* A file whose question has not come yet. */
struct file {
	TAILQ_ENTRY(file) entry;
	struct chan *peer;
	uint32_t id;
	uint64_t slot;
	int fd;
};
static TAILQ_HEAD(, file) files = TAILQ_HEAD_INITIALIZER(files);

/* ---- the end ------------------------------------------------------------------ */

static void
report_free(struct report *r)
{
	TAILQ_REMOVE(&r->get->reports, r, entry);
	http_cancel(r->http);
	free(r);
}

static void
wants_free(struct get *g)
{
	uint16_t i;

	for (i = 0; i < g->n; i++)
		if (g->wants[i].fd != -1)
			close(g->wants[i].fd);
	free(g->wants);
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
	pause_end(&g->pause);
	wants_free(g);
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

void
get_unanswered(struct get *g, const struct http_result *r, const char *who)
{
	char what[256];

	result_what(r, who, what, sizeof(what));
	get_abort(g, r->still ? FETCH_STILL : result_errno(r), what);
}

static void
get_cancel(struct request *req)
{
	get_abort((struct get *)req, ECANCELED, "cancelled");
}

/* ---- chunks ---------------------------------------------------------------------- */

struct want *
want_find(struct get *g, uint64_t slot)
{
	size_t lo = 0, hi = g->n, mid;

	while (lo < hi) {
		mid = (lo + hi) / 2;
		if (g->wants[mid].chunk.slot == slot)
			return &g->wants[mid];
		if (g->wants[mid].chunk.slot < slot)
			lo = mid + 1;
		else
			hi = mid;
	}
	return NULL;
}

void
get_chunk_done(struct get *g, struct want *w)
{
	w->state = PART_DONE;
	/* One without a file has gone in a bundle. */
	if (w->fd != -1 && g->req.peer != NULL &&
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
	if (w->bad > 0 && hash_cmp(&w->bad_object, object) != 0)
		w->same = 0;
	w->bad_object = *object;
	if (++w->bad < BAD_MAX && ++w->same < BAD_SAME) {
		w->state = PART_PENDING;
		return;
	}
	w->state = PART_FAILED;
	snprintf(what, sizeof(what), "chunk %s is %s in the store", c, p);
	set_error(g, EIO, what);
}

void
get_chunk_refused(struct get *g, struct want *w, int fresh)
{
	w->state = PART_PENDING;
	w->first = !fresh;
	if (fresh ? ++w->refused == REFUSED_MAX : ++w->stale == STALE_MAX)
		get_abort(g, EACCES, "store refuses the server's URLs");
	else if (fresh)
		pause_begin(&g->pause, w->refused);
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
		get_unanswered(g, r, "locate: server");
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
		.path_len = g->path_len,
		.budget = g->budget };
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
	char target[256];
	size_t len = 0;
	int rc;

	if ((rc = ask_body(g, &len)) == 0)
		return 0;
	snprintf(target, sizeof(target), "/v1/volumes/%s/locate", g->volume);
	if (rc == 1)
		g->ask =
		    http_ask(target, g->ask_body, len, ANSWER_MAX, ask_done, g);
	if (g->ask == NULL)
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
	if (pause_lasts(&g->pause))
		return;
	if (!ask(g))
		get_answer(g);
}

/* ---- questions ------------------------------------------------------------------------- */

static void
file_drop(struct file *f)
{
	TAILQ_REMOVE(&files, f, entry);
	if (f->fd != -1)
		close(f->fd);
	free(f);
}

void
get_peer_down(struct chan *c)
{
	struct file *f, *next;

	for (f = TAILQ_FIRST(&files); f != NULL; f = next) {
		next = TAILQ_NEXT(f, entry);
		if (f->peer == c)
			file_drop(f);
	}
}

void
get_given_up(struct chan *c, uint32_t id)
{
	struct file *f, *next;

	for (f = TAILQ_FIRST(&files); f != NULL; f = next) {
		next = TAILQ_NEXT(f, entry);
		if (f->peer == c && f->id == id)
			file_drop(f);
	}
}

int
op_get_file(struct chan *c, uint32_t id, struct imsg *imsg, struct ibuf *body)
{
	unsigned int n = 0;
	struct file *f;
	uint64_t slot;

	if (fetch_get_file_recv(body, &slot) == -1)
		return -1;
	TAILQ_FOREACH (f, &files, entry)
		n += f->peer == c;
	if (n >= REQUEST_FILES_PEER)
		return -1;
	if ((f = calloc(1, sizeof(*f))) == NULL)
		fatal("get");
	f->peer = c;
	f->id = id;
	f->slot = slot;
	f->fd = imsg_get_fd(imsg);
	TAILQ_INSERT_TAIL(&files, f, entry);
	return 0;
}

/* Each file to its chunk; -1: one is of none, or a chunk of that size has none. */
static int
take_files(struct get *g, struct chan *c, uint32_t id)
{
	struct file *f, *next;
	struct want *w;
	uint16_t i;

	for (f = TAILQ_FIRST(&files); f != NULL; f = next) {
		next = TAILQ_NEXT(f, entry);
		if (f->peer != c || f->id != id)
			continue;
		if ((w = want_find(g, f->slot)) == NULL || w->fd != -1)
			return -1;
		w->fd = f->fd;
		f->fd = -1;
		file_drop(f);
	}
	for (i = 0; i < g->n; i++)
		if (g->wants[i].fd == -1 &&
		    g->wants[i].chunk.bytes >= FETCH_BUNDLE_CHUNK)
			return -1;
	return 0;
}

int
op_get(struct chan *c, uint32_t id, struct imsg *imsg, struct ibuf *body)
{
	static struct fetch_get msg;
	struct get *g;
	uint16_t i;

	(void)imsg;
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
	g->budget = msg.budget;
	g->n = msg.n;
	for (i = 0; i < msg.n; i++) {
		g->wants[i].chunk = msg.chunks[i];
		g->wants[i].fd = -1;
	}
	TAILQ_INIT(&g->waiting);
	TAILQ_INIT(&g->running);
	TAILQ_INIT(&g->reports);
	if (take_files(g, c, id) == -1 ||
	    request_add(&g->req, c, id, get_cancel) == -1) {
		wants_free(g);
		free(g);
		return -1;
	}
	pump_add(&g->pump, get_step, g);
	return 0;
}
