/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * meta: the role of sailapid(8) that has the database: takes requests from the
 * api processes, and asks sign and sailvol-fetch.  Chrooted to the folder of
 * the database.
 */
#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/delta.h"
#include "lib/log.h"
#include "lib/sandbox.h"
#include "sailapid/meta.h"
#include "sailapid/roles.h"

#define THREAD_STACK ((size_t)16 << 20) /* a merge goes as deep as a tree */
#define SEND_QUEUE_MAX 4096             /* messages waiting for a peer */

static struct {
	struct db *db, *thread_dbs[META_THREADS];
	struct meta_settings settings;
	struct event *turn, *tick;
	int configured;
} self;

/* ---- the others ---------------------------------------------------------- */

static void *
backend_sign(uint32_t id, const struct sign_url *urls, uint16_t n)
{
	struct chan *c = role_peer_any(ROLE_SIGN);

	if (c == NULL || chan_queued(c) > SEND_QUEUE_MAX)
		return NULL;
	return sign_urls_send(c, id, urls, n) == -1 ? NULL : c;
}

static void *
backend_fetch(uint32_t id, const struct fetch_url *url)
{
	struct chan *c = role_peer_any(ROLE_FETCH);

	if (c == NULL || chan_queued(c) > SEND_QUEUE_MAX)
		return NULL;
	if (url->list)
		return fetch_list_send(c, id, url->url, url->url_len,
			   url->deadline_ms) == -1
		    ? NULL
		    : c;
	return fetch_url_send(c, id, url) == -1 ? NULL : c;
}

static void
backend_cancel(void *who, uint32_t id)
{
	if (fetch_cancel_send(who, id) == -1)
		log_warn("cancel");
}

static void
backend_wake(void)
{
	event_active(self.turn, EV_TIMEOUT, 0);
}

static void
backend_refuse(void)
{
	(void)chan_send(role_parent(), IMSG_META_PARENT_REFUSE, 0, -1, NULL, 0);
}

static const struct meta_backend backend = { backend_sign, backend_fetch,
	backend_cancel, backend_wake, work_queue, work_end, backend_refuse };

/*
 * A message that has a descriptor ends a read: without this each would have a
 * turn, and a sync, of its own.
 */
static void
on_turn(evutil_socket_t fd, short what, void *arg)
{
	static const uint8_t from[] = { ROLE_SIGN, ROLE_FETCH, ROLE_API };
	size_t i;

	(void)fd;
	(void)what;
	(void)arg;
	for (i = 0; i < sizeof(from); i++)
		while (meta_room() && role_peers_more(from[i]))
			;
	meta_turn();
}

static void
on_tick(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
	meta_tick();
	clock_tick();
	store_tick();
}

/* ---- messages ------------------------------------------------------------ */

static int
on_config(struct chan *c, uint32_t id, struct imsg *imsg, struct ibuf *body)
{
	struct meta_config conf;

	(void)c;
	(void)id;
	(void)imsg;
	if (meta_config_recv(body, &conf) == -1 ||
	    conf.store_url.len >= sizeof(self.settings.store_url) ||
	    memchr(conf.store_url.p, '\0', conf.store_url.len) != NULL ||
	    conf.store_url.len == 0 || conf.url_life_s == 0)
		return -1;
	self.settings.store_port = conf.store_port;
	self.settings.store_tls = conf.store_tls;
	memcpy(self.settings.store_url, conf.store_url.p, conf.store_url.len);
	self.settings.store_url[conf.store_url.len] = '\0';
	self.settings.url_life_s = conf.url_life_s;
	self.settings.survey_s = conf.survey_s;
	/* Its keys may be others. */
	if (self.configured) {
		store_ask_soon();
		survey_every(conf.survey_s);
	}
	self.configured = 1;
	return 0;
}

static void
answer(void *arg, uint32_t id, const struct meta_answer *a)
{
	struct api_response r;
	struct chan *c = arg;
	int fd = -1;

	memset(&r, 0, sizeof(r));
	r.status = a->status;
	r.type = a->type;
	r.allow = a->allow;
	r.body = api_str("");
	if (a->len > API_ANSWER_INLINE) {
		if ((fd = memfd_new("answer", a->body, a->len)) == -1) {
			log_warn("answer");
			r.status = 503;
			r.type = API_TYPE_NONE;
		}
	} else if (a->len > 0) {
		r.body.p = (const char *)a->body;
		r.body.len = a->len;
	}
	if (api_response_send(c, id, &r, fd) == -1) {
		log_warn("answer");
		if (fd != -1)
			close(fd);
	}
}

static char *
text(struct api_str s)
{
	if (memchr(s.p, '\0', s.len) != NULL) {
		errno = EBADMSG;
		return NULL;
	}
	return strndup(s.p, s.len);
}

static int
on_request(struct chan *c, uint32_t id, struct imsg *imsg, struct ibuf *body)
{
	struct meta_answer busy = { 503, API_TYPE_NONE, NULL, 0, 0 };
	struct meta_request in;
	struct api_request r;
	char *t[4] = { NULL, NULL, NULL, NULL };
	int fd, i, result = -1;

	memset(&in, 0, sizeof(in));
	fd = imsg_get_fd(imsg);
	if (api_request_recv(body, &r) == -1)
		goto out;
	t[0] = text(r.target);
	t[1] = text(r.host);
	t[2] = text(r.authorization);
	t[3] = text(r.peer);
	for (i = 0; i < 4; i++) {
		if (t[i] == NULL && errno == EBADMSG)
			goto out;
	}
	result = 0;
	if (t[0] == NULL || t[1] == NULL || t[2] == NULL || t[3] == NULL ||
	    (fd != -1 && memfd_map(fd, DELTA_MAX_BYTES, &in.body) == -1)) {
		/* api keeps bodies within the limit. */
		if (errno == EBADMSG || errno == EFBIG)
			result = -1;
		else
			answer(c, id, &busy);
		goto out;
	}
	in.method = r.method;
	in.tls = r.whence == API_TLS;
	in.metrics = r.whence == API_METRICS;
	in.target = t[0];
	in.host = t[1];
	in.authorization = t[2];
	in.peer = t[3];
	meta_submit(&in, answer, c, id);
out:
	if (fd != -1)
		close(fd);
	for (i = 0; i < 4; i++)
		freezero(t[i], t[i] == NULL ? 0 : strlen(t[i]));
	return result;
}

static int
on_forget(struct chan *c, uint32_t id, struct imsg *imsg, struct ibuf *body)
{
	(void)imsg;
	(void)body;
	meta_unwanted(c, id);
	return 0;
}

static int
on_signed(struct chan *c, uint32_t id, struct imsg *imsg, struct ibuf *body)
{
	struct api_str urls[SIGN_URLS_MAX];
	uint16_t n = SIGN_URLS_MAX;

	(void)c;
	(void)imsg;
	if (signed_urls_recv(body, urls, &n) == -1)
		return -1;
	return meta_signed(id, urls, n);
}

static int
on_fetched(struct chan *c, uint32_t id, struct imsg *imsg, struct ibuf *body)
{
	struct memfd_view data = { NULL, 0, 0 };
	struct fetch_url_res res;
	int fd = imsg_get_fd(imsg), rc;

	(void)c;
	rc = fetch_url_res_recv(body, &res);
	if (rc == 0 && fd != -1)
		rc = memfd_map(fd, FETCH_LIST_PAGE_MAX, &data);
	if (fd != -1)
		close(fd);
	if (rc == -1)
		return -1;
	meta_fetched(id, &res, data.data, data.len);
	if (fd != -1)
		memfd_unmap(&data);
	return 0;
}

static const struct msg_rule rules[] = {
	{ IMSG_PARENT_META_CONFIG, ROLE_PARENT, CHAN_NOFD, 13, 4096, on_config,
	    "PARENT_META_CONFIG" },
	{ IMSG_API_META_REQUEST, ROLE_API, CHAN_MAYFD, 9, PROC_MAX_BODY,
	    on_request, "API_META_REQUEST" },
	{ IMSG_API_META_FORGET, ROLE_API, CHAN_NOFD, 0, 0, on_forget,
	    "API_META_FORGET" },
	{ IMSG_SIGN_META_URLS, ROLE_SIGN, CHAN_NOFD, 2, PROC_MAX_BODY,
	    on_signed, "SIGN_META_URLS" },
	{ IMSG_FETCH_URL_RES, ROLE_FETCH, CHAN_MAYFD, 26, PROC_MAX_BODY,
	    on_fetched, "FETCH_URL_RES" },
};

/* ---- the role ------------------------------------------------------------ */

static int
meta_configured(void)
{
	return self.configured;
}

static int
meta_prepare(void)
{
	return 0;
}

static int
open_databases(void)
{
	struct db **db;
	size_t i;

	if ((self.db = db_open("/" DB_FILE, 1)) == NULL)
		return -1;
	for (i = 0; i < META_THREADS; i++) {
		db = &self.thread_dbs[i];
		if ((*db = db_open("/" DB_FILE, 0)) == NULL ||
		    db_small(*db) == -1)
			return -1;
	}
	return 0;
}

static int
meta_start(void)
{
	static const struct timeval second = { 1, 0 };
	struct event_base *base = proc_base();

	umask(077);
	if (open_databases() == -1) {
		log_warn("database");
		return -1;
	}
	if (work_init(META_THREADS, THREAD_STACK) == -1)
		return -1;
	self.turn = event_new(base, -1, 0, on_turn, NULL);
	self.tick = event_new(base, -1, EV_PERSIST, on_tick, NULL);
	if (self.turn == NULL || self.tick == NULL ||
	    event_add(self.tick, &second) == -1)
		return -1;
	meta_init(self.db, self.thread_dbs, META_THREADS, &backend,
	    &self.settings);
	clock_init();
	store_tick();
	return 0;
}

static void
meta_peer_up(struct chan *c)
{
	(void)c;
	meta_peer_found();
}

static void
meta_peer_down(struct chan *c)
{
	if (chan_role(c) == ROLE_API)
		meta_forget(c);
	else
		meta_peer_lost(c);
}

static void
role_stop(void)
{
	size_t i;

	meta_fini();
	for (i = 0; i < META_THREADS; i++) {
		db_close(self.thread_dbs[i]);
		self.thread_dbs[i] = NULL;
	}
	db_close(self.db);
	self.db = NULL;
}

const struct role_def meta_role = {
	.role = ROLE_META,
	.rules = rules,
	.nrules = sizeof(rules) / sizeof(rules[0]),
	.configured = meta_configured,
	.prepare = meta_prepare,
	.start = meta_start,
	.peer_up = meta_peer_up,
	.peer_down = meta_peer_down,
	.stop = role_stop,
	.sandbox_flags = SANDBOX_THREADS,
};
