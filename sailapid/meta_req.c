/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * meta_req: requests from the queue to their answers, in turns: steps of many requests share
 * one transaction, so that one sync of the disk serves all of them, and no
 * answer leaves before it.  What may be lost has one of its own before it,
 * without a sync.  In meta.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/log.h"
#include "sailapid/meta.h"
#include "sailapid/meta_ask.h"

#define TURN_MS 20
#define TURN_STEPS 256
#define EXPIRE_MS (10 * 60 * 1000)

static struct {
	struct db *db;
	struct meta_backend backend;
	/* fresh: whose key nobody has looked at; the others that are ready
	   stand in the lines of their keys */
	struct req_list all, fresh, finished;
	atomic_int stop;
	unsigned int n, nfresh;
	monotime_t expired;
	int turning;
	int failed; /* a part of this turn was not kept */
} meta;

struct db *
meta_db(void)
{
	return meta.db;
}

const atomic_int *
meta_stop(void)
{
	return &meta.stop;
}

void
meta_init(struct db *db, struct db *const *thread_dbs, size_t nthreads,
    const struct meta_backend *backend, const struct meta_settings *settings)
{
	memset(&meta, 0, sizeof(meta));
	meta.db = db;
	meta.backend = *backend;
	TAILQ_INIT(&meta.all);
	TAILQ_INIT(&meta.fresh);
	TAILQ_INIT(&meta.finished);
	meta.expired = monotime_now();
	threads_init(thread_dbs, nthreads, backend->work);
	ask_init(backend, settings);
	store_init(backend, settings);
	check_init();
	survey_init(settings);
	metrics_init();
	meta_route_init();
}

static void
objects_free(struct req *req)
{
	size_t i;

	for (i = 0; i < req->nobjects; i++) {
		free(req->objects[i].url);
		fetch_list_free(req->objects[i].page);
	}
	free(req->objects);
	req->objects = NULL;
	req->nobjects = 0;
}

static void
req_free(struct req *req)
{
	ask_drop(req);
	if (req->state_free != NULL)
		req->state_free(req->state);
	objects_free(req);
	memfd_unmap(&req->body);
	free(req->target);
	free(req->host);
	if (req->authorization != NULL)
		explicit_bzero(req->authorization, strlen(req->authorization));
	free(req->authorization);
	free(req->peer);
	free(req->path);
	free(req->audit);
	free(req->grant);
	/* A new key may stand in it. */
	if (req->answer != NULL)
		explicit_bzero(req->answer, req->answer_len);
	free(req->answer);
	threads_release(req);
	line_leave(req);
	TAILQ_REMOVE(&meta.all, req, all);
	meta.n--;
	free(req);
}

static void
req_unready(struct req *req)
{
	if (req->line != NULL)
		line_remove(req);
	else {
		TAILQ_REMOVE(&meta.fresh, req, entry);
		meta.nfresh--;
	}
	req->queued = 0;
}

void
meta_fini(void)
{
	struct req *req;

	atomic_store(&meta.stop, 1);
	meta.backend.work_end();
	while ((req = TAILQ_FIRST(&meta.all)) != NULL) {
		if (req->queued)
			req_unready(req);
		req_free(req);
	}
	db_abort(meta.db);
	ask_fini();
}

/* max: with so many there are too many. */
static struct req *
req_new(unsigned int max)
{
	struct req *req;

	if (meta.n >= max || (req = calloc(1, sizeof(*req))) == NULL)
		return NULL;
	req->since = monotime_now();
	TAILQ_INSERT_TAIL(&meta.all, req, all);
	meta.n++;
	return req;
}

void
meta_submit(const struct meta_request *in, meta_done done, void *arg,
    uint32_t id)
{
	static const char busy[] =
	    "{\"error\":{\"message\":\"too many requests\","
	    "\"type\":\"unavailable\",\"code\":\"busy\"}}";
	struct meta_answer a = { 503, API_TYPE_JSON, (const uint8_t *)busy,
		sizeof(busy) - 1, 0 };
	struct memfd_view body = in->body;
	struct req *req;

	if ((req = req_new(META_QUEUE_MAX)) == NULL) {
		memfd_unmap(&body);
		done(arg, id, &a);
		return;
	}
	req->body = body;
	req->method = in->method;
	req->tls = in->tls;
	req->metrics = in->metrics;
	req->target = strdup(in->target);
	req->host = strdup(in->host);
	req->authorization = strdup(in->authorization);
	req->peer = strdup(in->peer);
	if (req->target == NULL || req->host == NULL ||
	    req->authorization == NULL || req->peer == NULL) {
		req_free(req);
		done(arg, id, &a);
		return;
	}
	req->done = done;
	req->arg = arg;
	req->id = id;
	req_again(req, meta_route);
}

struct req *
req_spawn(const struct req *from, req_step step)
{
	struct req *req;

	if ((req = req_new(META_QUEUE_MAX / 2)) == NULL)
		return NULL;
	req->vol = from->vol;
	req->key = from->key;
	if (line_join(req) == -1) {
		req_free(req);
		return NULL;
	}
	req_again(req, step);
	return req;
}

struct req *
req_first(req_step step)
{
	struct req *req;

	/* There is one at a time. */
	if ((req = req_new(META_QUEUE_MAX + 1)) == NULL)
		return NULL;
	strlcpy(req->vol.name, "-", sizeof(req->vol.name));
	if (line_join(req) == -1) {
		req_free(req);
		return NULL;
	}
	req_again(req, step);
	return req;
}

struct req *
req_own(const char *name, int64_t family,
    const uint8_t family_public[DB_ID_LEN], req_step step)
{
	struct req from;

	memset(&from, 0, sizeof(from));
	strlcpy(from.vol.name, name, sizeof(from.vol.name));
	from.vol.family = family;
	memcpy(from.vol.family_public, family_public, DB_ID_LEN);
	return req_spawn(&from, step);
}

void
meta_forget(void *arg)
{
	struct req *req, *tmp;

	for (req = TAILQ_FIRST(&meta.all); req != NULL; req = tmp) {
		tmp = TAILQ_NEXT(req, all);
		if (req->done == NULL || req->arg != arg)
			continue;
		req->done = NULL;
		/* What has not begun need not begin. */
		if (req->queued && req->next == meta_route) {
			req_unready(req);
			req_free(req);
		}
	}
}

void
meta_unwanted(void *arg, uint32_t id)
{
	static const struct meta_answer none = { 503, API_TYPE_NONE, NULL, 0,
		0 };
	struct req *req;

	TAILQ_FOREACH (req, &meta.all, all)
		if (req->done != NULL && req->arg == arg && req->id == id)
			break;
	/* What was begun may have been told to others. */
	if (req == NULL || !req->queued || req->next != meta_route)
		return;
	req_unready(req);
	req->done(arg, id, &none);
	req_free(req);
}

static void
req_ready(struct req *req, req_step next, int first)
{
	req->next = next;
	req->queued = 1;
	if (req->line != NULL)
		line_add(req, first);
	else {
		/* turn_admit() begins it, when its key is good. */
		if (next != meta_route)
			fatalx("a request that was begun stands in no line");
		TAILQ_INSERT_TAIL(&meta.fresh, req, entry);
		meta.nfresh++;
	}
	if (!meta.turning)
		meta.backend.wake();
}

void
req_again(struct req *req, req_step next)
{
	req_ready(req, next, 0);
}

void
req_again_first(struct req *req, req_step next)
{
	req_ready(req, next, 1);
}

/* ---- a turn -------------------------------------------------------------- */

static int
write_begin(struct req *req, int lazy)
{
	if (req->saved) {
		if (req->lazy > lazy)
			fatalx("a step that began to write what may be lost");
		return 0;
	}
	/* What may be lost ends here, and comes before this in the log. */
	if (!lazy && db_lazy(meta.db) && db_end(meta.db) == -1)
		meta.failed = 1;
	errno = EIO;
	if (meta.failed ||
	    (lazy ? db_begin_lazy(meta.db) : db_begin(meta.db)) == -1 ||
	    db_save(meta.db) == -1) {
		req_errno(req, "database");
		return -1;
	}
	req->saved = 1;
	req->lazy = lazy;
	/* It may have waited for another server, which took the key away. */
	return !req->authorized || meta_route_still(req) ? 0 : -1;
}

int
req_write(struct req *req)
{
	return write_begin(req, 0);
}

int
req_write_lazy(struct req *req)
{
	return write_begin(req, 1);
}

static void
req_run(struct req *req)
{
	int r, kept = 1;

	/* The key is looked at when it comes, and before each step. */
	if (!req->authorized || meta_route_still(req))
		req->next(req);
	if (req->saved) {
		kept = !req->finished || req->status < 400;
		r = kept ? db_keep(meta.db) : db_undo(meta.db);
		req->saved = 0;
		/* Said to all when the turn ends. */
		req->lost = 1;
		if (r == -1)
			log_warn("database: savepoint");
	}
	threads_release(req);
	metrics_step(kept);
}

static void
req_send(struct req *req)
{
	struct meta_answer a = { req->status, req->type, req->answer,
		req->answer_len, req->allow };

	audit_log(req);
	if (req->done != NULL)
		req->done(req->arg, req->id, &a);
	req_free(req);
}

/* Nothing of the turn was kept: who wrote in it begins again from the client's
   side, and whoever read may have read what is not there. */
static void
turn_lost(void)
{
	struct req *req, *tmp;

	log_warn("database: the changes of a turn were not kept");
	for (req = TAILQ_FIRST(&meta.all); req != NULL; req = tmp) {
		tmp = TAILQ_NEXT(req, all);
		if (!req->lost && !req->finished && !req->to_work)
			continue;
		ask_drop(req);
		req_error(req, 503, "database", "the database did not keep it");
	}
}

int
meta_room(void)
{
	return meta.nfresh < TURN_STEPS;
}

/*
 * Those that have come go into the lines of their keys.  Whoever has none is
 * answered for the price of looking, and has no part in the turns.
 */
static void
turn_admit(void)
{
	struct req *req;

	while ((req = TAILQ_FIRST(&meta.fresh)) != NULL) {
		req_unready(req);
		if (meta_route_key(req) == -1)
			continue;
		if (line_join(req) == -1)
			req_errno(req, "line");
		else
			req_again(req, meta_route);
	}
}

int
meta_turn(void)
{
	monotime_t end = monotime_add_ms(monotime_now(), TURN_MS);
	struct req *req;
	int i, kept;

	meta.turning = 1;
	turn_admit();
	for (i = 0; i < TURN_STEPS && (req = line_next()) != NULL; i++) {
		req_unready(req);
		req_run(req);
		if (monotime_reached(end))
			break;
	}
	kept = db_end(meta.db) == 0 && !meta.failed;
	if (!kept)
		turn_lost();
	metrics_turn(kept);
	meta.failed = 0;
	threads_start();
	TAILQ_FOREACH (req, &meta.all, all)
		req->lost = 0;
	while ((req = TAILQ_FIRST(&meta.finished)) != NULL) {
		TAILQ_REMOVE(&meta.finished, req, entry);
		req_send(req);
	}
	meta.turning = 0;
	if (TAILQ_EMPTY(&meta.fresh) && !line_any())
		return 0;
	meta.backend.wake();
	return 1;
}

void
meta_tick(void)
{
	monotime_t now = monotime_now();
	struct req *req, *tmp;
	int64_t t;

	for (req = TAILQ_FIRST(&meta.all); req != NULL; req = tmp) {
		tmp = TAILQ_NEXT(req, all);
		if (req->queued || req->finished ||
		    (req->pending == 0 && !req->at_store) ||
		    monotime_diff_ms(now, req->since) < META_WAIT_MS)
			continue;
		ask_drop(req);
		req_error(req, 503, "timeout",
		    "the store or the signer did not answer in time");
		meta.backend.wake();
	}
	/* Their places, and those of whom a turn has given up. */
	meta_peer_found();
	check_tick();
	threads_tick();
	survey_tick();
	if (db_settle(meta.db) == -1)
		log_warn("database: sync");
	if (monotime_diff_ms(now, meta.expired) < EXPIRE_MS)
		return;
	meta.expired = now;
	t = db_now();
	if (db_begin(meta.db) == -1 || db_session_expire(meta.db, t) == -1 ||
	    db_lease_expire(meta.db, t) == -1 || db_end(meta.db) == -1) {
		log_warn("database: expiry");
		db_abort(meta.db);
	}
}

/* ---- questions ----------------------------------------------------------- */

int
req_objects(struct req *req, size_t n)
{
	size_t i;

	objects_free(req);
	if ((req->objects = calloc(n == 0 ? 1 : n, sizeof(*req->objects))) ==
	    NULL) {
		req_errno(req, "objects");
		return -1;
	}
	req->nobjects = n;
	for (i = 0; i < n; i++)
		req->objects[i].family = req_family(req);
	return 0;
}

static void
req_ask(struct req *req, req_step next, int (*ask)(struct req *))
{
	req->next = next;
	req->since = monotime_now();
	if (ask(req) == -1) {
		ask_drop(req);
		req_errno(req, "questions");
	} else if (req->pending == 0)
		req_again(req, next);
}

void
req_sign(struct req *req, req_step next)
{
	req_ask(req, next, ask_sign);
}

void
req_fetch(struct req *req, req_step next)
{
	req_ask(req, next, ask_fetch);
}

void
req_store(struct req *req, req_step next, int anew)
{
	req->next = next;
	req->since = monotime_now();
	req->at_store = anew ? 2 : 1;
	store_ask();
}

size_t
req_store_judged(monotime_t began)
{
	struct req *req;
	size_t n = 0;

	if (atomic_load(&meta.stop))
		return 0;
	TAILQ_FOREACH (req, &meta.all, all) {
		if (!req->at_store)
			continue;
		if (req->at_store == 2 && req->since.ns > began.ns) {
			n++;
			continue;
		}
		req->at_store = 0;
		req_again(req, req->next);
	}
	return n;
}

/* ---- answers ------------------------------------------------------------- */

static void
req_finish(struct req *req, uint16_t status, uint8_t type, uint8_t *answer,
    size_t len)
{
	if (req->answer != NULL)
		explicit_bzero(req->answer, req->answer_len);
	free(req->answer);
	req->status = status;
	req->type = type;
	req->answer = answer;
	req->answer_len = len;
	if (req->queued)
		req_unready(req);
	threads_forget(req);
	req->at_store = 0;
	if (!req->finished)
		TAILQ_INSERT_TAIL(&meta.finished, req, entry);
	req->finished = 1;
}

void
req_none(struct req *req, uint16_t status)
{
	req_finish(req, status, API_TYPE_NONE, NULL, 0);
}

void
req_json(struct req *req, uint16_t status, json_t *j)
{
	char *text;

	text = j == NULL ? NULL : json_dumps(j, JSON_COMPACT);
	json_decref(j);
	if (text == NULL)
		req_none(req, 503);
	else
		req_finish(req, status, API_TYPE_JSON, (uint8_t *)text,
		    strlen(text));
}

/* json_dumps() would leave copies behind, of its own and of the value. */
void
req_json_secret(struct req *req, uint16_t status, json_t *j, const char *member)
{
	const char *secret = json_string_value(json_object_get(j, member));
	size_t len = json_dumpb(j, NULL, 0, JSON_COMPACT);
	char *text = len == 0 || secret == NULL ? NULL : malloc(len);

	if (text != NULL && json_dumpb(j, text, len, JSON_COMPACT) != len) {
		freezero(text, len);
		text = NULL;
	}
	if (secret != NULL)
		explicit_bzero((void *)(uintptr_t)secret, strlen(secret));
	json_decref(j);
	if (text == NULL)
		req_none(req, 503);
	else
		req_finish(req, status, API_TYPE_JSON, (uint8_t *)text, len);
}

void
req_text(struct req *req, uint16_t status, const char *text)
{
	char *copy = strdup(text);

	if (copy == NULL)
		req_none(req, 503);
	else
		req_finish(req, status, API_TYPE_JSON, (uint8_t *)copy,
		    strlen(copy));
}

void
req_binary(struct req *req, uint8_t *p, size_t len)
{
	req_finish(req, 200, API_TYPE_BINARY, p, len);
}

json_t *
error_json(uint16_t status, const char *code, const char *message)
{
	static const struct {
		uint16_t status;
		const char *type;
	} types[] = { { 400, "invalid_request" }, { 401, "authentication" },
		{ 403, "permission" }, { 404, "not_found" },
		{ 405, "invalid_request" }, { 409, "conflict" },
		{ 413, "too_large" }, { 503, "unavailable" } };
	const char *type = "internal";
	size_t i;

	for (i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		if (types[i].status == status)
			type = types[i].type;
	}
	return json_pack("{s:s, s:s, s:s}", "message", message, "type", type,
	    "code", code);
}

void
req_error(struct req *req, uint16_t status, const char *code, const char *fmt,
    ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	req_json(req, status,
	    json_pack("{s:o}", "error", error_json(status, code, text)));
}

void
req_errno(struct req *req, const char *what)
{
	switch (errno) {
	case EBUSY:
		req_error(req, 503, "busy", "the database is busy");
		break;
	case EAGAIN:
		/* db_begin: said by whom it is about. */
		req_error(req, 503, "database",
		    "the server's disk does not take what is written, try again");
		break;
	case ENOMEM:
		req_error(req, 503, "no_memory", "out of memory");
		break;
	case ENOSPC:
		log_warn("%s", what);
		req_error(req, 503, "no_space", "the server's disk is full");
		break;
	case EROFS:
		log_warn("%s", what);
		req_error(req, 503, "no_space",
		    "the server's disk is read-only");
		break;
	case EMFILE:
	case ENFILE:
		log_warn("%s", what);
		req_error(req, 503, "unavailable",
		    "the server cannot answer at the moment, try again");
		break;
	default:
		log_warn("volume %s: %s",
		    req->vol.id == 0 ? "-" : req->vol.name, what);
		req_error(req, 500, "internal", "%s: an error of the server",
		    what);
		break;
	}
}
