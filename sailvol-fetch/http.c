/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * http: requests in their queue, their tries, repetitions and results; the
 * transfers themselves are in http_curl.c.  In sailvol-fetch.
 */
#include <errno.h>
#include <event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/backoff.h"
#include "lib/fetch_imsg.h"
#include "lib/log.h"
#include "lib/wire.h"
#include "sailvol-fetch/http.h"
#include "sailvol-fetch/http_curl.h"
#include "sailvol-fetch/numbers.h"

#define CONCURRENCY 16
#define CONCURRENCY_MAX 256
#define CONCURRENCY_API 16
#define DEADLINE_MS 30000
#define TRIES_MAX 12
#define TRY_LEAST_MS 250 /* for one more, where there is an answer */
#define BACKOFF_MIN_MS 100
#define BACKOFF_MAX_MS 5000
#define RETRY_AFTER_MAX_MS 30000
/* What a store that hangs takes, the buffers on the way, it takes at once. */
#define BUFFERS_MS 1000
/*
 * How often it is looked whether the body of a request flows; what goes out again
 * at once with each try, which says nothing; and what a second is good for at
 * least, or a byte now and then would do for ever.
 */
#define LOOK_MS 1000
#define LOOKS 8 /* within total_ms */
#define AT_ONCE (64 * 1024)
#define RATE_MIN 1024

struct http_settings http_settings;

TAILQ_HEAD(queue, http);
/* Those that wait for their turn; by class: objects, API. */
static struct queue waiting[2] = { TAILQ_HEAD_INITIALIZER(waiting[0]),
	TAILQ_HEAD_INITIALIZER(waiting[1]) };
static unsigned int running[2];
/* When bytes came last, or were taken for the first time, of any of them. */
static monotime_t moved[2];

static void on_timer(int, short, void *);
static void http_try(struct http *);
static void queue_run(void);

/* ---- settings ------------------------------------------------------------ */

uint32_t
http_deadline_ms(void)
{
	return http_settings.deadline_ms != 0 ? http_settings.deadline_ms
					      : DEADLINE_MS;
}

static unsigned int
limit(int api)
{
	unsigned int n = http_settings.concurrency;

	if (api)
		return CONCURRENCY_API;
	return n == 0 ? CONCURRENCY : n > CONCURRENCY_MAX ? CONCURRENCY_MAX : n;
}

int
http_configure(const struct http_config *conf)
{
	struct http_settings s = { .concurrency = conf->concurrency,
		.deadline_ms = conf->deadline_ms };
	struct url_host host;
	size_t len = strlen(conf->api_url), i;
	const char *why;

	/* A slash at its end, and there would be two. */
	while (len > 0 && conf->api_url[len - 1] == '/')
		len--;
	if (len > 0 && (why = url_check(conf->api_url, len, &host)) != NULL) {
		log_warnx("api \"%s\": %s", conf->api_url, why);
		return -1;
	}
	for (i = 0; conf->key[i] != '\0'; i++)
		if (conf->key[i] <= 0x20 || conf->key[i] > 0x7e) {
			log_warnx("api: the key has bytes that no key has");
			return -1;
		}
	s.api_url = strndup(conf->api_url, len);
	s.key = strdup(conf->key);
	s.ca = malloc(conf->ca_len + 1);
	if (s.api_url == NULL || s.key == NULL || s.ca == NULL)
		fatal("http: settings");
	if (conf->ca_len > 0)
		memcpy(s.ca, conf->ca, conf->ca_len);
	s.ca_len = conf->ca_len;
	free(http_settings.api_url);
	if (http_settings.key != NULL)
		explicit_bzero(http_settings.key, strlen(http_settings.key));
	free(http_settings.key);
	free(http_settings.ca);
	http_settings = s;
	return 0;
}

void
http_start_loop(void)
{
	http_curl_start();
}

int
http_errno(unsigned int status)
{
	switch (status) {
	case 401:
	case 403:
		return EACCES;
	case 404:
	case 410:
		return ENOENT;
	case 409:
		return EBUSY;
	case 413:
		return EFBIG;
	default:
		return EIO;
	}
}

int
http_is_refusal(unsigned int status)
{
	return status >= 400 && status <= 499 && status != 408 && status != 429;
}

int
http_is_final(unsigned int status, const uint8_t *body, size_t len)
{
	/* As sailapid writes it: there is no parser in this process. */
	static const char code[] = "\"code\":\"store_unusable\"";

	return http_is_refusal(status) ||
	    (status == 503 && len > 0 &&
		memmem(body, len, code, sizeof(code) - 1) != NULL);
}

int
http_is_passing(unsigned int status, const uint8_t *body, size_t len)
{
	static const struct {
		unsigned int status;
		const char *code;
	} all[] = {
		/* Bytes came too slowly. */
		{ 400, "<Code>RequestTimeout</Code>" },
		/* Another sends the same object, or changes something else. */
		{ 409, "<Code>ConditionalRequestConflict</Code>" },
		{ 409, "<Code>OperationAborted</Code>" },
	};
	size_t i;

	for (i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		if (all[i].status == status && len > 0 &&
		    memmem(body, len, all[i].code, strlen(all[i].code)) != NULL)
			return 1;
	return 0;
}

int
http_was_fresh(const struct http_result *r, monotime_t url_came)
{
	return monotime_diff_ms(r->tried, url_came) < HTTP_FRESH_MS;
}

/* ---- the end of a request ------------------------------------------------ */

static void
http_free(struct http *h)
{
	if (h == NULL)
		return;
	if (event_initialized(&h->timer))
		evtimer_del(&h->timer);
	free(h->url);
	free(h->headers);
	free(h->content_type);
	free(h->buf);
	free(h);
}

/* Out of whatever it is in. */
static void
http_detach(struct http *h)
{
	switch (h->state) {
	case HTTP_WAITING:
		TAILQ_REMOVE(&waiting[h->spec.api], h, entry);
		break;
	case HTTP_RESOLVING:
		evtimer_del(&h->timer);
		resolve_cancel(h->resolve);
		h->resolve = NULL;
		running[h->spec.api]--;
		break;
	case HTTP_RUNNING:
		http_curl_end(h);
		evtimer_del(&h->timer);
		running[h->spec.api]--;
		break;
	case HTTP_BACKOFF:
	case HTTP_ENDING:
		evtimer_del(&h->timer);
		break;
	}
	h->state = HTTP_ENDING;
}

/* Since when nothing has flowed, neither for it nor for who has a place. */
static monotime_t
still_since(const struct http *h)
{
	monotime_t last = moved[h->spec.api];

	return monotime_diff_ms(last, h->flowed) > 0 ? last : h->flowed;
}

/* How long another may yet have no byte: to give it a place is of use. */
static int64_t
still_left(const struct http *h)
{
	return http_deadline_ms() -
	    monotime_diff_ms(monotime_now(), still_since(h));
}

static int
is_over(const struct http *h)
{
	return h->spec.total_ms == 0 && still_left(h) <= 0;
}

/* Nobody of its class has had a byte since it has had none. */
static int
is_still(const struct http *h)
{
	return h->status == 0 && h->error == ETIMEDOUT &&
	    (is_over(h) ||
		monotime_diff_ms(moved[h->spec.api],
		    h->spec.total_ms != 0 ? h->began : h->flowed) <= 0);
}

static void
http_finish(struct http *h)
{
	struct http_result r = {
		.still = is_still(h),
		.repeated = h->repeated,
		.status = h->status,
		.error = h->error,
		.what = h->what,
		.content_type = h->answer_type,
		.length = h->length,
		.has_skew = h->has_skew,
		.skew_ms = h->skew_ms,
		.tried = h->tried,
		.body = h->buf,
		.body_len = h->buf_len,
	};

	if (h->state != HTTP_ENDING)
		http_detach(h);
	if (h->status == 0 && h->error != ECANCELED)
		NUMBERS_OF(h->spec.api)->failed++;
	h->spec.done(&r, h->spec.arg);
	http_free(h);
	queue_run();
}

void
http_cancel(struct http *h)
{
	if (h == NULL)
		return;
	http_detach(h);
	http_free(h);
	queue_run();
}

void
http_resume(struct http *h)
{
	if (h != NULL && h->state == HTTP_RUNNING)
		http_curl_resume(h);
}

static void
timer_set(struct http *h, int64_t ms)
{
	struct timeval tv = { ms / 1000, (ms % 1000) * 1000 };

	if (evtimer_add(&h->timer, &tv) == -1)
		fatalx("http: evtimer_add");
}

/* Ends it from the loop, for its starter does not expect it now. */
static void
fail_later(struct http *h, int error, const char *what)
{
	h->status = 0;
	h->error = error;
	strlcpy(h->what, what, sizeof(h->what));
	h->state = HTTP_ENDING;
	timer_set(h, 0);
}

/* ---- tries --------------------------------------------------------------- */

/* The same of one whose time counts from the last bytes: those that have moved so
   far must not have taken for ever. */
static int64_t
flow_left(const struct http *h)
{
	monotime_t now = monotime_now();
	int64_t silent, slow;

	silent = h->spec.total_ms - monotime_diff_ms(now, h->flowed);
	if (h->tries == 0)
		return silent;
	slow = h->spec.total_ms + (int64_t)(h->moved / RATE_MIN) * 1000 -
	    monotime_diff_ms(now, h->placed);
	return silent < slow ? silent : slow;
}

/* Milliseconds that are left for this request. */
static int64_t
time_left(const struct http *h)
{
	if (h->spec.flows)
		return flow_left(h);
	if (h->spec.total_ms != 0)
		return h->spec.total_ms -
		    monotime_diff_ms(monotime_now(), h->began);
	return http_deadline_ms() - monotime_diff_ms(monotime_now(), h->flowed);
}

/* The same of the try that begins now: as long as nobody has a byte. */
static int64_t
try_left(const struct http *h)
{
	return h->spec.total_ms != 0 ? time_left(h) : still_left(h);
}

/*
 * A try that was refused, or got no further than one before, moved bytes that go
 * again with the next, as those of an upload do: the deadline goes on from where
 * it was before that try.  While they flowed it stood, but for one that stalled,
 * which may have had some all the time.
 */
static void
look_at_flow(struct http *h)
{
	int64_t ms = 0;

	if (h->status == 0 && (h->tries == 1 || h->got > h->most)) {
		h->most = h->got;
		return;
	}
	if (h->error != ETIMEDOUT && h->first.ns != 0)
		ms = monotime_diff_ms(h->flowed, h->first);
	h->flowed = monotime_add_ms(h->flowed_before, ms);
}

static void
has_moved(struct http *h, uint64_t n)
{
	monotime_t now = monotime_now();

	h->moved += n;
	h->moved_now += n;
	if (n == 0 || (h->tries > 1 && h->moved_now <= AT_ONCE))
		return;
	h->flowed = now;
	if (h->first.ns == 0)
		h->first = now;
}

void
http_flowed(struct http *h, size_t came)
{
	monotime_t now = monotime_now();

	if (h->spec.flows)
		has_moved(h, came);
	else {
		h->flowed = now;
		if (h->first.ns == 0)
			h->first = now;
	}
	if (h->sent.ns == 0)
		h->sent = now;
	/* What goes out again says nothing of who takes it. */
	if (came > 0 ||
	    (h->tries == 1 && monotime_diff_ms(now, h->sent) >= BUFFERS_MS))
		moved[h->spec.api] = now;
}

/* Until the next look at whether it flows. */
static void
look_later(struct http *h)
{
	int64_t ms = h->spec.total_ms / LOOKS, left = time_left(h);

	if (ms > LOOK_MS)
		ms = LOOK_MS;
	if (ms > left)
		ms = left;
	timer_set(h, ms > 0 ? ms : 0);
}

static void
look(struct http *h)
{
	uint64_t n = http_curl_taken(h);

	has_moved(h, n);
	if (n > 0 && h->tries == 1 &&
	    monotime_diff_ms(h->flowed, h->sent) >= BUFFERS_MS)
		moved[h->spec.api] = h->flowed;
	if (time_left(h) <= 0)
		http_curl_timeout(h);
	else
		look_later(h);
}

static int
curl_begin(struct http *h, const char *addrs)
{
	int rc = http_curl_begin(h, addrs, try_left(h));

	if (rc == 0 && h->spec.flows)
		look_later(h);
	return rc;
}

/* It has waited long enough, for its place. */
static void
give_up(struct http *h)
{
	fail_later(h, ETIMEDOUT, "");
	snprintf(h->what, sizeof(h->what), "%s: nothing comes", h->host.host);
}

/*
 * One has ended by its deadline: who waits for a place, and nobody has had a byte
 * for as long, does not wait for another such end.
 */
static void
expire(int api)
{
	struct http *h, *next;

	TAILQ_FOREACH_SAFE (h, &waiting[api], entry, next) {
		if (!is_over(h))
			continue;
		TAILQ_REMOVE(&waiting[api], h, entry);
		give_up(h);
	}
}

/*
 * A try has ended: h has its status, or error and what; again says that
 * another may have another end.
 */
void
http_tried(struct http *h, int again)
{
	int64_t ms, left;

	http_curl_end(h);
	evtimer_del(&h->timer);
	running[h->spec.api]--;
	h->state = HTTP_BACKOFF;
	if (h->status != 0)
		moved[h->spec.api] = monotime_now();
	if (h->spec.api && !h->refused)
		numbers_api(h->status != 0 && h->status < 500);
	if (!again) {
		http_finish(h);
		return;
	}
	look_at_flow(h);
	ms = backoff_asked_ms(backoff_ms(h->tries, BACKOFF_MIN_MS,
				  BACKOFF_MAX_MS),
	    h->retry_after_ms, RETRY_AFTER_MAX_MS);
	left = time_left(h);
	/* What chance adds to what was asked for is no reason to give up. */
	if (h->retry_after_ms != 0 && h->retry_after_ms < left && ms >= left)
		ms = h->retry_after_ms + (left - h->retry_after_ms) / 2;
	/* An answer is worth more than a try that has no time. */
	if (h->tries >= TRIES_MAX ||
	    left - ms < (h->status != 0 ? TRY_LEAST_MS : 1)) {
		if (h->status == 0)
			h->error = ETIMEDOUT;
		expire(h->spec.api);
		http_finish(h);
		return;
	}
	/* Where nobody was reached nobody has done it. */
	if (h->status != 0 || h->error != EHOSTUNREACH)
		h->repeated = 1;
	NUMBERS_OF(h->spec.api)->again++;
	log_debug("%s: %s: again in %lld ms", h->host.host,
	    h->status == 0 ? h->what : "server error", (long long)ms);
	timer_set(h, ms);
	queue_run();
}

static void
on_resolved(const char *addrs, const char *why, void *arg)
{
	struct http *h = arg;

	evtimer_del(&h->timer);
	h->resolve = NULL;
	h->state = HTTP_RUNNING;
	if (addrs == NULL) {
		h->status = 0;
		h->error = EHOSTUNREACH;
		snprintf(h->what, sizeof(h->what), "%s: %s", h->host.host, why);
		http_tried(h, 1);
		return;
	}
	if (curl_begin(h, addrs) == -1)
		http_tried(h, 0);
}

/* It has a place. */
static void
http_try(struct http *h)
{
	h->tries++;
	NUMBERS_OF(h->spec.api)->tries++;
	h->tried = monotime_now();
	h->tried_at = timens_now();
	h->status = 0;
	h->error = 0;
	h->what[0] = '\0';
	h->answer_type[0] = '\0';
	h->length = -1;
	h->buf_len = 0;
	h->retry_after_ms = 0;
	h->offset = 0;
	h->first.ns = h->sent.ns = 0;
	/* It has waited as well as tried while others had something. */
	if (h->tries == 1) {
		h->flowed = still_since(h);
		h->placed = h->tried;
	}
	h->flowed_before = h->flowed;
	if (h->tries == 1 && h->spec.late)
		h->began = h->tried;
	if (h->spec.rewind != NULL)
		h->spec.rewind(h->spec.arg);
	if (h->host.literal) {
		h->state = HTTP_RUNNING;
		if (curl_begin(h, NULL) == -1)
			fail_later(h, h->error, h->what);
		return;
	}
	h->state = HTTP_RESOLVING;
	h->resolve = resolve_start(h->host.host, on_resolved, h);
	if (h->resolve == NULL)
		fail_later(h, ENOMEM, "out of memory");
	else
		timer_set(h, try_left(h) > 0 ? try_left(h) : 0);
}

static void
queue_run(void)
{
	struct http *h;
	int api;

	for (api = 0; api < 2; api++)
		while (running[api] < limit(api) &&
		    (h = TAILQ_FIRST(&waiting[api])) != NULL) {
			TAILQ_REMOVE(&waiting[api], h, entry);
			if (is_over(h)) {
				give_up(h);
				continue;
			}
			running[api]++;
			http_try(h);
			if (h->state == HTTP_ENDING)
				running[api]--;
		}
}

static void
on_timer(int fd, short ev, void *arg)
{
	struct http *h = arg;

	(void)fd;
	(void)ev;
	if (h->state == HTTP_ENDING) {
		http_finish(h);
		return;
	}
	if (h->state == HTTP_RUNNING) {
		look(h);
		return;
	}
	if (h->state == HTTP_RESOLVING) {
		resolve_cancel(h->resolve);
		on_resolved(NULL, "name server does not answer", h);
		return;
	}
	h->state = HTTP_WAITING;
	TAILQ_INSERT_HEAD(&waiting[h->spec.api], h, entry);
	queue_run();
}

void
http_count(int api, uint64_t *has_place, uint64_t *has_none)
{
	const struct http *h;

	*has_place = running[api];
	*has_none = 0;
	TAILQ_FOREACH (h, &waiting[api], entry)
		(*has_none)++;
}

/* ---- start --------------------------------------------------------------- */

static const char *
check_headers(const char *p, size_t len)
{
	const char *nl, *why;
	size_t n;

	while (len > 0) {
		if ((nl = memchr(p, '\n', len)) == NULL)
			return "not a header";
		n = (size_t)(nl - p);
		if ((why = url_header_check(p, n)) != NULL)
			return why;
		p += n + 1;
		len -= n + 1;
	}
	return NULL;
}

static int
copy_spec(struct http *h, const struct http_spec *spec)
{
	const char *base = spec->api ? http_settings.api_url : "";

	h->spec = *spec;
	h->spec.api = spec->api != 0;
	if (base == NULL)
		base = "";
	if (asprintf(&h->url, "%s%s", base, spec->url) == -1) {
		h->url = NULL;
		return -1;
	}
	h->headers = malloc(spec->headers_len + 1);
	h->content_type =
	    strdup(spec->content_type != NULL ? spec->content_type : "");
	if (h->headers == NULL || h->content_type == NULL)
		return -1;
	if (spec->headers_len > 0)
		memcpy(h->headers, spec->headers, spec->headers_len);
	h->headers[spec->headers_len] = '\0';
	h->spec.url = h->url;
	h->spec.headers = h->headers;
	h->spec.content_type = h->content_type;
	return 0;
}

struct http *
http_start(const struct http_spec *spec)
{
	struct http *h;
	const char *why;

	if ((h = calloc(1, sizeof(*h))) == NULL)
		return NULL;
	evtimer_set(&h->timer, on_timer, h);
	if (copy_spec(h, spec) == -1) {
		http_free(h);
		errno = ENOMEM;
		return NULL;
	}
	h->began = h->flowed = monotime_now();
	if (h->spec.api &&
	    (http_settings.api_url == NULL ||
		http_settings.api_url[0] == '\0')) {
		fail_later(h, EINVAL, "no API server is configured");
		return h;
	}
	if ((why = url_check(h->url, strlen(h->url), &h->host)) != NULL ||
	    (why = check_headers(h->headers, h->spec.headers_len)) != NULL) {
		fail_later(h, EINVAL, why);
		return h;
	}
	h->state = HTTP_WAITING;
	if (spec->first)
		TAILQ_INSERT_HEAD(&waiting[h->spec.api], h, entry);
	else
		TAILQ_INSERT_TAIL(&waiting[h->spec.api], h, entry);
	queue_run();
	return h;
}

struct http *
http_ask(const char *target, const void *body, size_t len, uint64_t max_answer,
    void (*done)(const struct http_result *, void *), void *arg)
{
	const struct http_spec spec = {
		.method = FETCH_METHOD_POST,
		.api = 1,
		.url = target,
		.content_type = WIRE_CONTENT_TYPE,
		.body = body,
		.body_len = len,
		.repeat = 1,
		.total_ms = http_deadline_ms(),
		.flows = 1,
		.max_answer = max_answer,
		.done = done,
		.arg = arg,
	};

	return http_start(&spec);
}
