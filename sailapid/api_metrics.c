/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * api_metrics: answers /metrics, and nothing else, at a socket of its own, with
 * what api counts and what meta says of itself when it is asked.  In api.
 */
#include <sys/queue.h>
#include <event.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/log.h"
#include "sailapid/api.h"
#include "sailapid/numbers.h"
#include "sailapid/roles.h"

#define CONNECTIONS 8
#define ASKED_MAX 16 /* who comes and goes fills no queue */
#define IDLE_S 10
#define RATE 1024
#define MEMORY ((size_t)16 * 1024)
#define TEXT_MAX ((size_t)64 * 1024)
/* Without an answer of meta's: less than those who come wait, mostly 10 s. */
#define META_WAIT_S 3

enum stage { SCRAPE_NEW = 0, SCRAPE_WAITING, SCRAPE_READY, SCRAPE_ANSWERED };

/* Somebody who came. */
struct scrape {
	LIST_ENTRY(scrape) entry; /* of waiting, while it is SCRAPE_WAITING */
	char *target;
	struct MHD_Connection *conn;
	enum stage stage;
	uint32_t id;
	struct event late;
	int meta_up;
	struct meta_numbers meta;
};
static LIST_HEAD(, scrape) waiting = LIST_HEAD_INITIALIZER(waiting);
static uint32_t last_id;
static unsigned int asked; /* and not answered, whoever still waits for it */
static struct timens start;
static monotime_t since;

/* ---- the text ------------------------------------------------------------ */

static void
roles_text(struct promtext *p, const struct scrape *s)
{
	static const struct promtext_label api = { "role", "api" },
					   meta = { "role", "meta" };

	promtext_family(p, "sailapid_start_time_seconds", PROMTEXT_GAUGE,
	    "When a role was started, since 1970: its counters begin anew "
	    "then.");
	promtext_sample_milli(p, &api, 1,
	    (uint64_t)start.sec * 1000 + start.nsec / 1000000);
	if (s->meta_up)
		promtext_sample_milli(p, &meta, 1, s->meta.start_ms);
	promtext_family(p, "sailapid_uptime_seconds", PROMTEXT_GAUGE,
	    "How long a role has been running.");
	promtext_sample_milli(p, &api, 1,
	    (uint64_t)monotime_diff_ms(monotime_now(), since));
	if (s->meta_up)
		promtext_sample_milli(p, &meta, 1, s->meta.uptime_ms);
	promtext_family(p, "sailapid_meta_up", PROMTEXT_GAUGE,
	    "1, or 0: the role meta did not answer, and what it counts is not "
	    "here.");
	promtext_sample(p, NULL, 0, (uint64_t)s->meta_up);
}

static void
meta_text(struct promtext *p, const struct meta_numbers *m)
{
	static const struct {
		enum promtext_type type;
		const char *name, *help;
	} t[] = {
#define X(id, type, name, help) { PROMTEXT_##type, name, help },
		META_NUMBERS(X)
#undef X
	};
	size_t i;

	for (i = 0; i < META_NUMBERS_COUNT; i++) {
		promtext_family(p, t[i].name, t[i].type, t[i].help);
		promtext_sample(p, NULL, 0, m->n[i]);
	}
}

static struct MHD_Response *
text_response(const struct scrape *s)
{
	struct MHD_Response *res;
	struct promtext p;
	uint8_t *text;
	size_t len;

	promtext_init(&p, TEXT_MAX);
	roles_text(&p, s);
	count_text(&p);
	if (s->meta_up)
		meta_text(&p, &s->meta);
	text = wbuf_take(&p.out, &len);
	wbuf_free(&p.out);
	if (text == NULL) {
		log_warn("metrics");
		return NULL;
	}
	res = httpd_response(text, len, PROMTEXT_TYPE);
	free(text);
	return res;
}

/* ---- meta ---------------------------------------------------------------- */

/* It waits no more. */
static void
leave(struct scrape *s)
{
	LIST_REMOVE(s, entry);
	evtimer_del(&s->late);
	s->stage = SCRAPE_READY;
}

/* What meta says, or nothing. */
static void
resume(struct scrape *s)
{
	leave(s);
	httpd_resume(s->conn);
}

static void
on_late(int fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	resume(arg);
}

static struct scrape *
scrape_of(uint32_t id)
{
	struct scrape *s;

	LIST_FOREACH (s, &waiting, entry)
		if (s->id == id)
			return s;
	return NULL;
}

void
metrics_answer(uint32_t id, const struct api_response *r, int fd)
{
	struct scrape *s = scrape_of(id);

	asked -= asked > 0;
	if (fd != -1)
		close(fd);
	if (s == NULL)
		return;
	s->meta_up = fd == -1 && r->status == 200 &&
	    meta_numbers_decode(&s->meta, r->body.p, r->body.len) == 0;
	resume(s);
}

void
metrics_meta_down(void)
{
	struct scrape *s;

	asked = 0;
	while ((s = LIST_FIRST(&waiting)) != NULL)
		resume(s);
}

/* It takes no turn: also a server with too much to do says how much. */
static int
ask_meta(struct scrape *s)
{
	struct api_request r = { .method = API_GET,
		.whence = API_METRICS,
		.target = api_str("/metrics"),
		.host = api_str(""),
		.authorization = api_str(""),
		.peer = api_str("") };
	struct timeval tv = { META_WAIT_S, 0 };
	struct chan *meta = role_peer_any(ROLE_META);

	if (meta == NULL || asked >= ASKED_MAX)
		return -1;
	/* More than there are connections lie between two of one number. */
	last_id = (last_id + 1) & ~API_ID_METRICS;
	s->id = last_id | API_ID_METRICS;
	evtimer_set(&s->late, on_late, s);
	if (evtimer_add(&s->late, &tv) == -1)
		return -1;
	if (api_request_send(meta, s->id, &r, -1) == -1) {
		log_warn("request to meta");
		evtimer_del(&s->late);
		return -1;
	}
	asked++;
	LIST_INSERT_HEAD(&waiting, s, entry);
	s->stage = SCRAPE_WAITING;
	return 0;
}

/* ---- HTTP ---------------------------------------------------------------- */

static void *
scrape_begin(const char *target)
{
	struct scrape *s = calloc(1, sizeof(*s));

	if (s != NULL && (s->target = strdup(target)) == NULL) {
		free(s);
		return NULL;
	}
	return s;
}

static void
scrape_end(void *arg)
{
	struct scrape *s = arg;

	if (s->stage == SCRAPE_WAITING)
		leave(s);
	free(s->target);
	free(s);
}

static int
scrape_drop(void *arg)
{
	struct scrape *s = arg;

	if (s->stage != SCRAPE_WAITING)
		return 0;
	leave(s);
	return 1;
}

static enum MHD_Result
scrape_reply(struct scrape *s, unsigned int status, struct MHD_Response *res)
{
	s->stage = SCRAPE_ANSWERED;
	if (res != NULL && status == 405)
		MHD_add_response_header(res, "Allow", "GET, HEAD");
	return httpd_reply(s->conn, status, res);
}

static enum MHD_Result
refuse(struct scrape *s, unsigned int status, const char *text)
{
	return scrape_reply(s, status,
	    httpd_response(text, strlen(text), "text/plain; charset=utf-8"));
}

static enum MHD_Result
scrape_handle(void *arg, struct MHD_Connection *c, const char *method,
    const char *data, size_t *size)
{
	struct scrape *s = arg;

	(void)data;
	*size = 0;
	if (s->stage == SCRAPE_READY)
		return scrape_reply(s, 200, text_response(s));
	if (s->stage != SCRAPE_NEW)
		return MHD_YES;
	s->conn = c;
	if (strncmp(s->target, "/metrics", 8) != 0 ||
	    (s->target[8] != '\0' && s->target[8] != '?'))
		return refuse(s, 404, "there is /metrics here\n");
	if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0)
		return refuse(s, 405, "only GET and HEAD\n");
	if (ask_meta(s) == -1)
		return scrape_reply(s, 200, text_response(s));
	httpd_suspend(c);
	return MHD_YES;
}

int
metrics_start(int listen_fd)
{
	static const struct httpd_conf conf = { 0, CONNECTIONS, CONNECTIONS,
		IDLE_S, RATE, MEMORY, scrape_begin, scrape_handle, scrape_end,
		scrape_drop };

	start = timens_now();
	since = monotime_now();
	if (listen_fd == -1)
		return 0;
	return httpd_new(listen_fd, &conf) == NULL ? -1 : 0;
}
