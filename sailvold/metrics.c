/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * metrics: the role of sailvold(8) that answers who watches the daemon, by HTTP
 * on loopback.  It has numbers alone, which it asks of the parent, and waits
 * for no process longer than an answer may take.
 */
#include <errno.h>
#include <event.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/httpd.h"
#include "lib/log.h"
#include "lib/memfd.h"
#include "lib/monotime.h"
#include "lib/promtext.h"
#include "sailvold/metrics.h"
#include "sailvold/roles.h"

#define WAIT_MS 700  /* for the numbers of a round */
#define FRESH_MS 500 /* so long its text is the answer for all */
#define CONNECTIONS 32
#define IDLE_S 10
#define RATE 4096
#define MEMORY (16 * 1024)

enum stage { ASK_NEW, ASK_HEADERS, ASK_WAITS, ASK_READY };

struct request {
	TAILQ_ENTRY(request) link; /* ASK_WAITS */
	struct MHD_Connection *conn;
	enum stage stage;
	int known; /* its path is the one */
};

static TAILQ_HEAD(, request) waiting = TAILQ_HEAD_INITIALIZER(waiting);
static int listen_fd = -1;

static struct metrics_all numbers;
static int running;    /* a round */
static int parent_in;  /* in this round */
static int parent_due; /* it was asked, and has not answered */
static monotime_t parent_asked;
static struct event late;
static char *text; /* of the last round; NULL: the parent did not answer */
static size_t text_len;
static monotime_t text_at;

/* ---- rounds --------------------------------------------------------------------- */

static void
round_end(void)
{
	struct request *r;

	running = 0;
	evtimer_del(&late);
	free(text);
	text = parent_in ? metrics_text(&numbers, &text_len) : NULL;
	if (text == NULL && parent_in)
		log_warn("text of the numbers");
	text_at = monotime_now();
	while ((r = TAILQ_FIRST(&waiting)) != NULL) {
		TAILQ_REMOVE(&waiting, r, link);
		r->stage = ASK_READY;
		httpd_resume(r->conn);
	}
}

static void
on_late(int fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
	round_end();
}

static int
may_ask(void)
{
	return !parent_due ||
	    (chan_queued(role_parent()) == 0 &&
		monotime_diff_ms(monotime_now(), parent_asked) >
		    METRICS_AGAIN_MS);
}

/* 0, or -1: no numbers can be had. */
static int
round_begin(void)
{
	struct timeval tv = { 0, WAIT_MS * 1000 };

	numbers.manifest_in = numbers.cache_in = parent_in = 0;
	memset(numbers.fetch_in, 0, sizeof(numbers.fetch_in));
	if (may_ask()) {
		if (chan_send(role_parent(), IMSG_METRICS_PARENT_ASK, 0, -1,
			NULL, 0) == -1)
			return -1;
		parent_due = 1;
		parent_asked = monotime_now();
	}
	running = 1;
	if (evtimer_add(&late, &tv) == -1)
		fatalx("evtimer_add");
	return 0;
}

/* Ends it when all that can have come has. */
static void
something_came(void)
{
	uint32_t i;

	if (!running || !parent_in)
		return;
	for (i = 0; i < numbers.parent.nprocs; i++)
		if (!metrics_is_settled(&numbers, &numbers.parent.procs[i]))
			return;
	round_end();
}

/* ---- what the parent sends ------------------------------------------------------- */

static int
on_listen(struct chan *c, uint32_t id, struct imsg *im, struct ibuf *body)
{
	(void)c;
	(void)id;
	(void)body;
	if (listen_fd != -1)
		return -1;
	listen_fd = imsg_get_fd(im);
	return 0;
}

/* The memfd of a message. */
static int
map_numbers(struct imsg *im, struct memfd_view *v)
{
	int fd = imsg_get_fd(im), rc = memfd_map(fd, METRICS_MAX, v);

	close(fd);
	return rc;
}

static int
on_parent(struct chan *c, uint32_t id, struct imsg *im, struct ibuf *body)
{
	struct metrics_parent got;
	struct memfd_view v;
	int rc;

	(void)c;
	(void)id;
	(void)body;
	if (map_numbers(im, &v) == -1)
		return -1;
	rc = metrics_parent_decode(v.data, v.len, &got);
	memfd_unmap(&v);
	if (rc == -1) {
		metrics_parent_free(&got);
		return -1;
	}
	metrics_parent_free(&numbers.parent);
	numbers.parent = got;
	parent_due = 0;
	parent_in = 1;
	something_came();
	return 0;
}

static int
on_manifest(struct chan *c, uint32_t id, struct imsg *im, struct ibuf *body)
{
	struct metrics_manifest got;
	struct memfd_view v;
	int rc;

	(void)c;
	(void)id;
	(void)body;
	if (map_numbers(im, &v) == -1)
		return -1;
	rc = metrics_manifest_decode(v.data, v.len, &got);
	memfd_unmap(&v);
	if (rc == -1) {
		metrics_manifest_free(&got);
		return -1;
	}
	metrics_manifest_free(&numbers.manifest);
	numbers.manifest = got;
	numbers.manifest_in = 1;
	something_came();
	return 0;
}

static int
on_cache(struct chan *c, uint32_t id, struct imsg *im, struct ibuf *body)
{
	struct metrics_cache *n = &numbers.cache;

	(void)c;
	(void)id;
	(void)im;
	if (ibuf_get_n64(body, &n->used) == -1 ||
	    ibuf_get_n64(body, &n->limit) == -1 ||
	    ibuf_get_n64(body, &n->files) == -1 ||
	    ibuf_get_n64(body, &n->hits) == -1 ||
	    ibuf_get_n64(body, &n->fetched) == -1 || ibuf_size(body) != 0)
		return -1;
	numbers.cache_in = 1;
	something_came();
	return 0;
}

static int
on_fetch(struct chan *c, uint32_t id, struct imsg *im, struct ibuf *body)
{
	uint32_t which;

	(void)c;
	(void)id;
	(void)im;
	if (ibuf_get_n32(body, &which) == -1 || which >= METRICS_FETCHERS ||
	    fetch_numbers_recv(body, &numbers.fetch[which]) == -1)
		return -1;
	numbers.fetch_in[which] = 1;
	something_came();
	return 0;
}

/* ---- HTTP ------------------------------------------------------------------------ */

static void *
begin(const char *target)
{
	struct request *r = calloc(1, sizeof(*r));

	if (r != NULL)
		r->known = strcmp(target, "/metrics") == 0 ||
		    strncmp(target, "/metrics?", 9) == 0;
	return r;
}

static void
end(void *arg)
{
	struct request *r = arg;

	if (r->stage == ASK_WAITS)
		TAILQ_REMOVE(&waiting, r, link);
	free(r);
}

static int
drop(void *arg)
{
	struct request *r = arg;

	if (r->stage != ASK_WAITS)
		return 0;
	TAILQ_REMOVE(&waiting, r, link);
	r->stage = ASK_READY;
	return 1;
}

static enum MHD_Result
say(struct MHD_Connection *c, unsigned int status, const char *what)
{
	struct MHD_Response *res;

	res = httpd_response(what, strlen(what), "text/plain; charset=utf-8");
	if (res != NULL && status == MHD_HTTP_METHOD_NOT_ALLOWED)
		MHD_add_response_header(res, MHD_HTTP_HEADER_ALLOW,
		    "GET, HEAD");
	return httpd_reply(c, status, res);
}

/* The answer to HEAD has its body left out by libmicrohttpd. */
static enum MHD_Result
answer(struct MHD_Connection *c)
{
	enum MHD_Result rc;

	if (text == NULL)
		return say(c, MHD_HTTP_SERVICE_UNAVAILABLE,
		    "sailvold does not answer: try again\n");
	rc = httpd_reply(c, MHD_HTTP_OK,
	    httpd_response(text, text_len, PROMTEXT_TYPE));
	if (rc == MHD_YES)
		httpd_allow(c, text_len);
	return rc;
}

static enum MHD_Result
whole(struct request *r, struct MHD_Connection *c, const char *method)
{
	if (!r->known)
		return say(c, MHD_HTTP_NOT_FOUND, "there is /metrics only\n");
	if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0)
		return say(c, MHD_HTTP_METHOD_NOT_ALLOWED,
		    "GET and HEAD only\n");
	if (!running && text != NULL &&
	    monotime_diff_ms(monotime_now(), text_at) < FRESH_MS)
		return answer(c);
	if (!running && round_begin() == -1)
		return say(c, MHD_HTTP_SERVICE_UNAVAILABLE,
		    "sailvold does not answer: try again\n");
	r->stage = ASK_WAITS;
	r->conn = c;
	TAILQ_INSERT_TAIL(&waiting, r, link);
	httpd_suspend(c);
	return MHD_YES;
}

static enum MHD_Result
handle(void *arg, struct MHD_Connection *c, const char *method,
    const char *data, size_t *size)
{
	struct request *r = arg;
	size_t n = *size;

	(void)data;
	*size = 0; /* a body is of no use */
	switch (r->stage) {
	case ASK_NEW:
		r->stage = ASK_HEADERS;
		return MHD_YES;
	case ASK_HEADERS:
		return n > 0 ? MHD_YES : whole(r, c, method);
	case ASK_READY:
		return answer(c);
	case ASK_WAITS:
		break;
	}
	return MHD_YES;
}

/* ---- the role -------------------------------------------------------------------- */

static int
configured(void)
{
	return listen_fd != -1;
}

static int
prepare(void)
{
	httpd_prepare();
	return 0;
}

static int
start(void)
{
	static const struct httpd_conf conf = { .max_connections = CONNECTIONS,
		.per_peer = CONNECTIONS,
		.idle_s = IDLE_S,
		.rate = RATE,
		.memory = MEMORY,
		.begin = begin,
		.handle = handle,
		.end = end,
		.drop = drop };

	evtimer_set(&late, on_late, NULL);
	return httpd_new(listen_fd, &conf) == NULL ? -1 : 0;
}

#define RULE(m, fd, min, max, f)                                  \
	{                                                         \
		IMSG_##m, ROLE_PARENT, CHAN_##fd, min, max, f, #m \
	}
static const struct msg_rule rules[] = {
	RULE(PARENT_METRICS_LISTEN, FD, 0, 0, on_listen),
	RULE(PARENT_METRICS_PARENT, FD, 0, 0, on_parent),
	RULE(PARENT_METRICS_MANIFEST, FD, 0, 0, on_manifest),
	RULE(PARENT_METRICS_CACHE, NOFD, METRICS_CACHE_LEN, METRICS_CACHE_LEN,
	    on_cache),
	RULE(PARENT_METRICS_FETCH, NOFD, 4 + FETCH_NUMBERS_LEN,
	    4 + FETCH_NUMBERS_LEN, on_fetch),
};

const struct role_def metrics_role = {
	.role = ROLE_METRICS,
	.rules = rules,
	.nrules = sizeof(rules) / sizeof(rules[0]),
	.configured = configured,
	.prepare = prepare,
	.start = start,
};
