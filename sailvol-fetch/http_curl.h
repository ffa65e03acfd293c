/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * http_curl: between http.c, which decides, and http_curl.c, which transfers.
 * In sailvol-fetch.
 */
#ifndef SAILVOL_FETCH_HTTP_CURL_H
#define SAILVOL_FETCH_HTTP_CURL_H

#include <sys/queue.h>
#include <event.h>
#include <curl/curl.h>

#include "lib/monotime.h"
#include "lib/wire.h"
#include "sailvol-fetch/etag.h"
#include "sailvol-fetch/http.h"
#include "sailvol-fetch/resolve.h"
#include "sailvol-fetch/url.h"

struct http_settings {
	char *api_url, *key, *ca;
	size_t ca_len;
	uint32_t concurrency, deadline_ms;
};
extern struct http_settings http_settings;

enum http_state {
	HTTP_WAITING,   /* in the queue */
	HTTP_RESOLVING, /* these two have a place */
	HTTP_RUNNING,
	HTTP_BACKOFF,
	HTTP_ENDING /* its timer calls done() */
};

struct http {
	TAILQ_ENTRY(http) entry;
	struct http_spec spec;
	char *url, *headers, *content_type; /* what spec points to */
	struct url_host host;
	enum http_state state;
	struct event timer;
	struct resolve *resolve;
	unsigned int tries;
	monotime_t began;  /* http_start */
	monotime_t placed; /* the first try */
	monotime_t flowed; /* the last bytes; before the first, others' */
	monotime_t flowed_before; /* when this try began */
	uint64_t most;            /* that an earlier try has got */
	int repeated;             /* one of those may have been done */
	int fresh; /* by a new connection: a kept one had a foreign answer */
	uint64_t moved; /* bytes of all tries, there and back */
	/* of this try */
	monotime_t tried;
	uint64_t moved_now;
	int fd;           /* -1: there is none yet */
	uint64_t taken;   /* of it, by the server; UINT64_MAX: not looked yet */
	monotime_t first; /* its first bytes */
	monotime_t sent;  /* its first bytes, or after a pause */
	struct timens tried_at;
	CURL *easy;
	struct curl_slist *lines, *addrs;
	uint64_t offset; /* of the body that is sent */
	uint64_t got;
	uint8_t *buf;
	size_t buf_len, buf_size;
	int too_long, refused; /* by us */
	size_t heads;          /* their bytes */
	int long_head;
	int has_head; /* all of it, with the empty line */
	char number[WIRE_REQUEST_LEN + 1];
	enum http_named {
		HTTP_NAMELESS, /* the answer has no number, or */
		HTTP_OURS,
		HTTP_FOREIGN
	} named;
	int foreign; /* it is the answer to another request */
	char etag[ETAG_MAX];
	int64_t said; /* Content-Length; -1 */
	/* its result */
	unsigned int status;
	int error;
	char what[512];
	char answer_type[64];
	int64_t length, retry_after_ms;
	int has_skew;
	int64_t skew_ms;
};

void http_curl_start(void);
/* Starts a try; -1 with h's error and what. */
int http_curl_begin(struct http *, const char *addrs, int64_t left_ms);
/* Frees what the try had; may be called twice. */
void http_curl_end(struct http *);
void http_curl_resume(struct http *);
/* Bytes of the try that the server has taken since that was asked last. */
uint64_t http_curl_taken(struct http *);
/* Its time is over. */
void http_curl_timeout(struct http *);
/* In http.c: so many bytes have come, or, 0, some have gone out. */
void http_flowed(struct http *, size_t came);
/* A try has ended. */
void http_tried(struct http *, int again);

#endif
