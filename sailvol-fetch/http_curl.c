/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * http_curl: transfers by libcurl's multi interface in libevent's loop.  In
 * sailvol-fetch.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/fetch_imsg.h"
#include "lib/log.h"
#include "lib/uptake.h"
#include "sailvol-fetch/http_curl.h"
#include "sailvol-fetch/numbers.h"

#define CONNECT_MS 10000
#define STALL_S 20
#define STALL_BYTES 1024L /* a second */
#define IDLE_CONNECTIONS 32L
#define POOL_MAX 32
#define OTHER_ANSWER_MAX (64 * 1024)   /* of an object's failure: for the log */
#define HEADS_MAX ((size_t)256 * 1024) /* of one answer, with 1xx */

static CURLM *multi;
static struct event multi_timer;
static CURL *pool[POOL_MAX]; /* handles to be used again */
static unsigned int npool;

struct sock {
	struct event ev;
};

static void check_done(void);

void
http_init(void)
{
	const curl_version_info_data *v;
	CURL *easy;

	if (curl_global_init(CURL_GLOBAL_ALL) != CURLE_OK)
		fatalx("curl_global_init");
	v = curl_version_info(CURLVERSION_NOW);
	if (!(v->features & CURL_VERSION_SSL))
		fatalx("libcurl without TLS");
	/* Loads what the first handle loads. */
	if ((easy = curl_easy_init()) == NULL)
		fatalx("curl_easy_init");
	pool[npool++] = easy;
}

/* ---- libevent ------------------------------------------------------------ */

static void
on_socket(int fd, short ev, void *arg)
{
	int bits = 0, left;

	(void)arg;
	if (ev & EV_READ)
		bits |= CURL_CSELECT_IN;
	if (ev & EV_WRITE)
		bits |= CURL_CSELECT_OUT;
	curl_multi_socket_action(multi, fd, bits, &left);
	check_done();
}

static void
on_multi_timer(int fd, short ev, void *arg)
{
	int left;

	(void)fd;
	(void)ev;
	(void)arg;
	curl_multi_socket_action(multi, CURL_SOCKET_TIMEOUT, 0, &left);
	check_done();
}

static int
curl_timer(CURLM *m, long ms, void *arg)
{
	struct timeval tv = { ms / 1000, (ms % 1000) * 1000 };

	(void)m;
	(void)arg;
	evtimer_del(&multi_timer);
	if (ms >= 0)
		evtimer_add(&multi_timer, &tv);
	return 0;
}

static int
curl_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *sockp)
{
	struct sock *s = sockp;
	struct http *h = NULL;
	short bits = EV_PERSIST;

	(void)arg;
	curl_easy_getinfo(easy, CURLINFO_PRIVATE, (char **)&h);
	if (h != NULL && what != CURL_POLL_REMOVE)
		h->fd = fd;
	else if (h != NULL && h->fd == fd)
		h->fd = -1;
	if (s != NULL)
		event_del(&s->ev);
	if (what == CURL_POLL_REMOVE) {
		free(s);
		curl_multi_assign(multi, fd, NULL);
		return 0;
	}
	if (s == NULL) {
		if ((s = calloc(1, sizeof(*s))) == NULL)
			return -1;
		curl_multi_assign(multi, fd, s);
	}
	if (what & CURL_POLL_IN)
		bits |= EV_READ;
	if (what & CURL_POLL_OUT)
		bits |= EV_WRITE;
	event_set(&s->ev, fd, bits, on_socket, NULL);
	event_add(&s->ev, NULL);
	return 0;
}

void
http_curl_start(void)
{
	evtimer_set(&multi_timer, on_multi_timer, NULL);
	if ((multi = curl_multi_init()) == NULL)
		fatalx("curl_multi_init");
	curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, curl_socket);
	curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, curl_timer);
	curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, IDLE_CONNECTIONS);
}

/* ---- what curl calls ----------------------------------------------------- */

static int
is_success(struct http *h)
{
	long status = 0;

	curl_easy_getinfo(h->easy, CURLINFO_RESPONSE_CODE, &status);
	return status >= 200 && status < 300;
}

static int
keep(struct http *h, const void *data, size_t n)
{
	uint8_t *p;
	size_t size;

	if (n > h->buf_size - h->buf_len) {
		size = h->buf_size < 4096 ? 4096 : h->buf_size * 2;
		while (size - h->buf_len < n)
			size *= 2;
		if ((p = realloc(h->buf, size)) == NULL)
			return -1;
		h->buf = p;
		h->buf_size = size;
	}
	memcpy(h->buf + h->buf_len, data, n);
	h->buf_len += n;
	return 0;
}

static size_t
curl_write(char *data, size_t one, size_t n, void *arg)
{
	struct http *h = arg;
	int good = is_success(h), rc;
	uint64_t max =
	    good || h->spec.api ? h->spec.max_answer : OTHER_ANSWER_MAX;

	(void)one;
	/* What an error says is nothing of what was asked for. */
	if (good)
		http_flowed(h, n);
	if (n > max - h->got) {
		h->too_long = 1;
		return 0;
	}
	if (good && h->spec.sink != NULL) {
		rc = h->spec.sink(h->spec.arg, data, n);
		if (rc == HTTP_SINK_PAUSE)
			return CURL_WRITEFUNC_PAUSE;
		if (rc != 0) {
			h->refused = rc != HTTP_SINK_NO_MEMORY;
			return 0;
		}
		h->got += n;
		NUMBERS_OF(h->spec.api)->received += n;
		return n;
	}
	h->got += n;
	NUMBERS_OF(h->spec.api)->received += n;
	return keep(h, data, n) == 0 ? n : 0;
}

static size_t
curl_read(char *buf, size_t one, size_t count, void *arg)
{
	struct http *h = arg;
	size_t n = one * count;

	http_flowed(h, 0);
	if (h->spec.read != NULL) {
		n = h->spec.read(h->spec.arg, buf, n);
		if (n == HTTP_PAUSE) {
			h->sent.ns = 0;
			return CURL_READFUNC_PAUSE;
		}
		if (n == HTTP_ABORT) {
			h->refused = 1;
			return CURL_READFUNC_ABORT;
		}
		NUMBERS_OF(h->spec.api)->sent += n;
		return n;
	}
	if (n > h->spec.body_len - h->offset)
		n = (size_t)(h->spec.body_len - h->offset);
	if (n > 0)
		memcpy(buf, (const uint8_t *)h->spec.body + h->offset, n);
	h->offset += n;
	NUMBERS_OF(h->spec.api)->sent += n;
	return n;
}

/* A connection that was kept had been closed: the body from its start. */
static int
curl_seek(void *arg, curl_off_t offset, int origin)
{
	struct http *h = arg;

	if (offset != 0 || origin != SEEK_SET)
		return CURL_SEEKFUNC_CANTSEEK;
	h->offset = 0;
	h->repeated = 1;
	if (h->spec.rewind != NULL)
		h->spec.rewind(h->spec.arg);
	return CURL_SEEKFUNC_OK;
}

/*
 * Date has whole seconds, and was written between the request and its answer:
 * 0 if the clocks may be equal by that, else the middle of what may be.
 */
static int64_t
skew_of(int64_t date_s, struct timens asked, struct timens now)
{
	int64_t least = (date_s - now.sec) * 1000 - now.nsec / 1000000;
	int64_t most = (date_s - asked.sec) * 1000 + 999 - asked.nsec / 1000000;

	if (least <= 0 && most >= 0)
		return 0;
	return (least + most) / 2;
}

/* 1: the line is that header; value has it without the space around, or "" when
   it is too long. */
static int
is_header(const char *line, size_t n, const char *name, char *value,
    size_t size)
{
	size_t len = strlen(name);

	if (n <= len || line[len] != ':' || strncasecmp(line, name, len) != 0)
		return 0;
	line += len + 1;
	n -= len + 1;
	while (n > 0 && strchr(" \t\r\n", line[n - 1]) != NULL)
		n--;
	while (n > 0 && (*line == ' ' || *line == '\t')) {
		line++;
		n--;
	}
	if (n >= size)
		n = 0;
	memcpy(value, line, n);
	value[n] = '\0';
	return 1;
}

/*
 * The head is there: 1 if the answer is that to this try.  To libcurl the next
 * one that comes on a kept connection always is, even if it is a second one to
 * the request before.  An error may come from something on the way to the API.
 */
static int
is_ours(struct http *h)
{
	long status = 0;

	curl_easy_getinfo(h->easy, CURLINFO_RESPONSE_CODE, &status);
	if (!h->spec.api || status < 200)
		return 1;
	return h->named == HTTP_OURS ||
	    (h->named == HTTP_NAMELESS && !is_success(h));
}

/*
 * The same of an answer of a store, which has no number.  Two objects have not
 * the same ETag: one that was said of another, on a connection that was used
 * before, is that answer again.  Where another answer is certainly not this one's,
 * its connection has no next request: that would get what is still to come.  (To
 * begin with a new connection each time would be simpler, and costs 50 ms by TLS:
 * libcurl reads all authorities each time.)
 */
static int
is_of_object(struct http *h)
{
	long status = 0, connects = 0;

	curl_easy_getinfo(h->easy, CURLINFO_RESPONSE_CODE, &status);
	if (h->spec.object == NULL || status < 200)
		return 1;
	if (status != 200 || h->etag[0] == '\0' || h->said < 0 ||
	    (uint64_t)h->said != h->spec.object_len) {
		curl_easy_setopt(h->easy, CURLOPT_FORBID_REUSE, 1L);
		return 1;
	}
	curl_easy_getinfo(h->easy, CURLINFO_NUM_CONNECTS, &connects);
	if (connects == 0 && etag_is_other(h->etag, h->spec.object))
		return 0;
	etag_note(h->etag, h->spec.object);
	return 1;
}

/* -1: not a number. */
static int64_t
length_of(const char *s)
{
	if (*s == '\0' || strlen(s) > 18 ||
	    strspn(s, "0123456789") != strlen(s))
		return -1;
	return strtoll(s, NULL, 10);
}

static void
head_new(struct http *h)
{
	h->has_head = 0;
	h->named = HTTP_NAMELESS;
	h->etag[0] = '\0';
	h->said = -1;
}

static size_t
curl_header(char *data, size_t one, size_t n, void *arg)
{
	struct http *h = arg;
	char value[ETAG_MAX];
	time_t t;

	(void)one;
	/* libcurl keeps all of it. */
	if (n > HEADS_MAX - h->heads) {
		h->long_head = 1;
		return 0;
	}
	h->heads += n;
	if (data[0] == '\r' || data[0] == '\n') {
		h->has_head = 1;
		h->foreign = !is_ours(h) || !is_of_object(h);
		/* Its end, and that of the connection. */
		return h->foreign ? 0 : n;
	}
	if (n > 5 && memcmp(data, "HTTP/", 5) == 0)
		head_new(h);
	else if (!h->has_head &&
	    is_header(data, n, "ETag", value, sizeof(value)))
		strlcpy(h->etag, value, sizeof(h->etag));
	else if (!h->has_head &&
	    is_header(data, n, "Content-Length", value, sizeof(value)))
		h->said = length_of(value);
	else if (is_header(data, n, "Date", value, sizeof(value))) {
		if ((t = curl_getdate(value, NULL)) != -1) {
			h->skew_ms = skew_of(t, h->tried_at, timens_now());
			h->has_skew = 1;
		}
	} else if (!h->has_head &&
	    is_header(data, n, WIRE_REQUEST, value, sizeof(value)))
		h->named =
		    h->named != HTTP_FOREIGN && strcmp(value, h->number) == 0
		    ? HTTP_OURS
		    : HTTP_FOREIGN;
	return n;
}

/* ---- a try --------------------------------------------------------------- */

static int
add_line(struct http *h, const char *name, const char *value, size_t len)
{
	struct curl_slist *l;
	char *line;

	if (asprintf(&line, "%s%.*s", name, (int)len, value) == -1)
		return -1;
	l = curl_slist_append(h->lines, line);
	explicit_bzero(line, strlen(line));
	free(line);
	if (l == NULL)
		return -1;
	h->lines = l;
	return 0;
}

static int
set_lines(struct http *h)
{
	const char *p = h->spec.headers, *nl;
	size_t len;

	/* No waiting for a "100 Continue". */
	if (add_line(h, "Expect:", "", 0) == -1)
		return -1;
	if (h->spec.api && http_settings.key[0] != '\0' &&
	    add_line(h, "Authorization: Bearer ", http_settings.key,
		strlen(http_settings.key)) == -1)
		return -1;
	if (h->spec.api &&
	    add_line(h, WIRE_REQUEST ": ", h->number, WIRE_REQUEST_LEN) == -1)
		return -1;
	if (h->spec.content_type[0] != '\0' &&
	    add_line(h, "Content-Type: ", h->spec.content_type,
		strlen(h->spec.content_type)) == -1)
		return -1;
	while ((nl = strchr(p, '\n')) != NULL) {
		len = (size_t)(nl - p);
		if (add_line(h, "", p, len) == -1)
			return -1;
		p = nl + 1;
	}
	curl_easy_setopt(h->easy, CURLOPT_HTTPHEADER, h->lines);
	return 0;
}

static void
set_method(struct http *h)
{
	curl_off_t len = (curl_off_t)h->spec.body_len;

	switch (h->spec.method) {
	case FETCH_METHOD_PUT:
		curl_easy_setopt(h->easy, CURLOPT_UPLOAD, 1L);
		curl_easy_setopt(h->easy, CURLOPT_INFILESIZE_LARGE, len);
		curl_easy_setopt(h->easy, CURLOPT_UPLOAD_BUFFERSIZE,
		    512L * 1024);
		break;
	case FETCH_METHOD_POST:
		curl_easy_setopt(h->easy, CURLOPT_POST, 1L);
		curl_easy_setopt(h->easy, CURLOPT_POSTFIELDSIZE_LARGE, len);
		break;
	case FETCH_METHOD_DELETE:
		curl_easy_setopt(h->easy, CURLOPT_CUSTOMREQUEST, "DELETE");
		break;
	case FETCH_METHOD_HEAD:
		curl_easy_setopt(h->easy, CURLOPT_NOBODY, 1L);
		break;
	default:
		curl_easy_setopt(h->easy, CURLOPT_HTTPGET, 1L);
		if (!h->spec.api)
			curl_easy_setopt(h->easy, CURLOPT_BUFFERSIZE,
			    256L * 1024);
		break;
	}
}

static void
set_limits(struct http *h, int64_t left_ms)
{
	int64_t stall = http_deadline_ms() / 2000,
		left_s = (left_ms + 999) / 1000;
	long connect_ms = left_ms < CONNECT_MS ? (long)left_ms : CONNECT_MS;

	if (connect_ms < 1)
		connect_ms = 1;
	curl_easy_setopt(h->easy, CURLOPT_CONNECTTIMEOUT_MS, connect_ms);
	if (h->spec.flows)
		return; /* http.c looks */
	if (h->spec.total_ms != 0) {
		curl_easy_setopt(h->easy, CURLOPT_TIMEOUT_MS,
		    left_ms < 1 ? 1L : (long)left_ms);
		return;
	}
	if (stall > STALL_S)
		stall = STALL_S;
	if (stall > left_s)
		stall = left_s;
	curl_easy_setopt(h->easy, CURLOPT_LOW_SPEED_LIMIT, STALL_BYTES);
	curl_easy_setopt(h->easy, CURLOPT_LOW_SPEED_TIME,
	    stall < 1 ? 1L : (long)stall);
}

static void
set_tls(struct http *h)
{
	struct curl_blob ca = { http_settings.ca, http_settings.ca_len,
		CURL_BLOB_COPY };

	if (!h->host.https)
		return;
	/* The built-in places are not in the chroot. */
	curl_easy_setopt(h->easy, CURLOPT_CAPATH, NULL);
	curl_easy_setopt(h->easy, CURLOPT_CAINFO, NULL);
	curl_easy_setopt(h->easy, CURLOPT_CAINFO_BLOB, &ca);
	curl_easy_setopt(h->easy, CURLOPT_SSL_VERIFYPEER, 1L);
	curl_easy_setopt(h->easy, CURLOPT_SSL_VERIFYHOST, 2L);
	curl_easy_setopt(h->easy, CURLOPT_SSLVERSION,
	    (long)CURL_SSLVERSION_TLSv1_2);
}

static int
set_addrs(struct http *h, const char *addrs)
{
	char *line;

	if (addrs == NULL)
		return 0;
	if (asprintf(&line, "%s:%s:%s", h->host.host, h->host.port, addrs) ==
	    -1)
		return -1;
	h->addrs = curl_slist_append(NULL, line);
	free(line);
	if (h->addrs == NULL)
		return -1;
	curl_easy_setopt(h->easy, CURLOPT_RESOLVE, h->addrs);
	return 0;
}

static void
set_rest(struct http *h)
{
	CURL *e = h->easy;

	curl_easy_setopt(e, CURLOPT_URL, h->url);
	curl_easy_setopt(e, CURLOPT_PATH_AS_IS, 1L);
	curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR,
	    h->host.https ? "https" : "http");
	curl_easy_setopt(e, CURLOPT_FOLLOWLOCATION, 0L);
	curl_easy_setopt(e, CURLOPT_PROXY, "");
	curl_easy_setopt(e, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
	curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(e, CURLOPT_USERAGENT, "sailvol-fetch");
	curl_easy_setopt(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, curl_write);
	curl_easy_setopt(e, CURLOPT_WRITEDATA, h);
	curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, curl_header);
	curl_easy_setopt(e, CURLOPT_HEADERDATA, h);
	curl_easy_setopt(e, CURLOPT_READFUNCTION, curl_read);
	curl_easy_setopt(e, CURLOPT_READDATA, h);
	curl_easy_setopt(e, CURLOPT_SEEKFUNCTION, curl_seek);
	curl_easy_setopt(e, CURLOPT_SEEKDATA, h);
	curl_easy_setopt(e, CURLOPT_PRIVATE, h);
	/* On a connection that was kept, and that the server has closed, curl
	   would send it a second time by itself. */
	curl_easy_setopt(e, CURLOPT_FRESH_CONNECT,
	    h->spec.repeat && !h->fresh ? 0L : 1L);
	/* Nor is it known what is still to come behind what it said. */
	if (!h->spec.api && !h->spec.repeat)
		curl_easy_setopt(e, CURLOPT_FORBID_REUSE, 1L);
}

int
http_curl_begin(struct http *h, const char *addrs, int64_t left_ms)
{
	uint64_t number;

	h->easy = npool > 0 ? pool[--npool] : curl_easy_init();
	h->got = h->heads = h->moved_now = 0;
	h->fd = -1;
	h->taken = UINT64_MAX;
	h->too_long = h->long_head = h->refused = h->foreign = 0;
	head_new(h);
	arc4random_buf(&number, sizeof(number));
	snprintf(h->number, sizeof(h->number), "%016" PRIx64, number);
	if (h->easy == NULL)
		goto fail;
	set_rest(h);
	set_method(h);
	set_limits(h, left_ms);
	set_tls(h);
	if (set_addrs(h, addrs) == -1 || set_lines(h) == -1 ||
	    curl_multi_add_handle(multi, h->easy) != CURLM_OK)
		goto fail;
	return 0;

fail:
	h->error = ENOMEM;
	strlcpy(h->what, "out of memory", sizeof(h->what));
	http_curl_end(h);
	return -1;
}

void
http_curl_end(struct http *h)
{
	if (h->easy != NULL) {
		curl_multi_remove_handle(multi, h->easy);
		curl_easy_reset(h->easy);
		if (npool < POOL_MAX)
			pool[npool++] = h->easy;
		else
			curl_easy_cleanup(h->easy);
		h->easy = NULL;
	}
	curl_slist_free_all(h->lines);
	curl_slist_free_all(h->addrs);
	h->lines = h->addrs = NULL;
}

/* ---- its end ------------------------------------------------------------- */

/* 1: a status that another try may change. */
static int
answered(struct http *h)
{
	curl_off_t length = -1, after = 0;
	const char *type = NULL;
	long status = 0;

	curl_easy_getinfo(h->easy, CURLINFO_RESPONSE_CODE, &status);
	curl_easy_getinfo(h->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
	curl_easy_getinfo(h->easy, CURLINFO_CONTENT_TYPE, &type);
	curl_easy_getinfo(h->easy, CURLINFO_RETRY_AFTER, &after);
	h->length = length;
	h->retry_after_ms = after > 3600 ? 3600 * 1000 : after * 1000;
	strlcpy(h->answer_type, type != NULL ? type : "",
	    sizeof(h->answer_type));
	if (status < 200 || status > 599) {
		h->status = 0;
		h->error = EPROTO;
		snprintf(h->what, sizeof(h->what), "%s: status %ld",
		    h->host.host, status);
		return 0;
	}
	h->status = (unsigned int)status;
	/* It was not done; but of the API's store nothing else is to be had. */
	if (status == 429 || status == 503)
		return !h->spec.api ||
		    !http_is_final(h->status, h->buf, h->buf_len);
	return h->spec.repeat &&
	    (status == 408 || status == 500 || status == 502 || status == 504 ||
		(!h->spec.api &&
		    http_is_passing(h->status, h->buf, h->buf_len)));
}

/* 1: another try may have another end. */
static int
failed(struct http *h, CURLcode code)
{
	const char *what = curl_easy_strerror(code), *hint = "";
	int again = h->spec.repeat;

	/* An object's failure with a long text is a failure like others. */
	if (h->too_long && !h->spec.api && !is_success(h))
		return answered(h);
	h->error = EIO;
	if (h->refused) {
		h->error = ECANCELED;
		again = 0;
	} else if (h->too_long) {
		h->error = EFBIG;
		what = "answer is too long";
		again = 0;
	} else if (h->long_head) {
		h->error = EPROTO;
		what = "head of the answer is too long";
		again = 0;
	} else if (h->foreign) {
		what = h->named == HTTP_FOREIGN || !h->spec.api
		    ? "answer to another request"
		    : "answer has no " WIRE_REQUEST
		      ": an older server, or something on the way to it";
		h->has_skew = 0;
		h->fresh = 1;
	} else
		switch (code) {
		case CURLE_COULDNT_CONNECT:
		case CURLE_COULDNT_RESOLVE_HOST:
			/* Nothing was sent. */
			h->error = EHOSTUNREACH;
			again = 1;
			break;
		case CURLE_OPERATION_TIMEDOUT:
			h->error = ETIMEDOUT;
			break;
		case CURLE_PEER_FAILED_VERIFICATION:
		case CURLE_SSL_CACERT_BADFILE:
		case CURLE_SSL_ISSUER_ERROR:
			h->error = FETCH_UNTRUSTED;
			hint = ": if it is the right one, its authority "
			       "belongs into the ca file";
			again = 0;
			break;
		case CURLE_OUT_OF_MEMORY:
		case CURLE_WRITE_ERROR:
			h->error = ENOMEM;
			again = 0;
			break;
		default:
			break;
		}
	h->status = 0;
	snprintf(h->what, sizeof(h->what), "%s: %s%s", h->host.host, what,
	    hint);
	return again;
}

uint64_t
http_curl_taken(struct http *h)
{
	uint64_t now, n = 0;

	if (h->fd == -1 || uptake_taken(h->fd, &now) == -1)
		return 0;
	/* A connection that was kept has had others; a new one has less. */
	if (h->taken != UINT64_MAX && now > h->taken)
		n = now - h->taken;
	h->taken = now;
	return n;
}

void
http_curl_timeout(struct http *h)
{
	http_tried(h, failed(h, CURLE_OPERATION_TIMEDOUT));
}

void
http_curl_resume(struct http *h)
{
	CURLcode code;

	if (h->easy == NULL)
		return;
	/* What was kept back goes to the sink from here, and a refusal of it
	   comes to nobody else. */
	code = curl_easy_pause(h->easy, CURLPAUSE_CONT);
	if (code != CURLE_OK)
		http_tried(h, failed(h, code));
}

static void
check_done(void)
{
	struct http *h;
	CURLMsg *msg;
	CURLcode code;
	CURL *easy;
	int left, again;

	while ((msg = curl_multi_info_read(multi, &left)) != NULL) {
		if (msg->msg != CURLMSG_DONE)
			continue;
		easy = msg->easy_handle;
		code = msg->data.result;
		h = NULL;
		curl_easy_getinfo(easy, CURLINFO_PRIVATE, (char **)&h);
		/* To libcurl a head that breaks off is one with no body. */
		if (code == CURLE_OK && !h->has_head)
			code = CURLE_PARTIAL_FILE;
		again = code == CURLE_OK ? answered(h) : failed(h, code);
		http_tried(h, again);
	}
}
