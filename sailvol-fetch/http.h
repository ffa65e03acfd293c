/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * http: HTTP requests of sailvol-fetch(8), bounded in number, repeated where
 * that is safe.  No redirects, no proxies.
 */
#ifndef SAILVOL_FETCH_HTTP_H
#define SAILVOL_FETCH_HTTP_H

#include <sys/types.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/hash.h"
#include "lib/monotime.h"

/* Before the drop of privileges: what libcurl and OpenSSL load. */
void http_init(void);
/* In the chroot, once; and the settings, now and when they change. */
void http_start_loop(void);
struct http_config {
	const char *api_url; /* "" for none */
	const char *key;
	const void *ca;
	size_t ca_len;
	uint32_t concurrency; /* objects at a time; 0: the built-in */
	uint32_t deadline_ms; /* 0: the built-in */
};
/* Copies.  -1 after a message: the settings before stay. */
int http_configure(const struct http_config *);
uint32_t http_deadline_ms(void);

struct http; /* one request, with its repetitions */

struct http_result {
	unsigned int status; /* 0: no answer, see error and what */
	int error;           /* errno: ETIMEDOUT, EIO, EFBIG, EACCES, ... */
	const char *what;
	const char *content_type; /* "" none */
	int64_t length;           /* of the answer's Content-Length; -1 */
	/* Server's Date less our clock; 0 where they may well be equal. */
	int has_skew;
	int64_t skew_ms;
	monotime_t tried;    /* the last try began */
	int repeated;        /* an earlier try may have been done */
	int still;           /* ETIMEDOUT, and nobody had a byte meanwhile */
	const uint8_t *body; /* when there is no sink, and of failures */
	size_t body_len;
};

#define HTTP_PAUSE ((size_t)-1) /* of read: call http_resume() later */
#define HTTP_ABORT ((size_t)-2) /* of read: give up, ECANCELED */
#define HTTP_SINK_PAUSE 1       /* of sink: none taken, as HTTP_PAUSE */
#define HTTP_SINK_NO_MEMORY 2   /* of sink: give up, ENOMEM */

struct http_spec {
	uint8_t method; /* FETCH_METHOD_* */
	/* Of the API: target is put behind its URL, with the key.  Else a URL
	   of an object, with header lines "Name: value\n". */
	int api;
	const char *url;     /* copied */
	const char *headers; /* copied */
	size_t headers_len;
	const char
	    *content_type; /* API: of the body, copied; NULL or "" none */
	/* A lost answer may be repeated. */
	int repeat;
	/* Its turn has come before, and its URL was too old by then. */
	int first;
	/* All tries together; 0: as long as bytes flow, and the configured
	   deadline without any. */
	uint32_t total_ms;
	/* total_ms counts from the last bytes that moved, of answer and body. */
	int flows;
	int late;            /* total_ms counts from when it has a place */
	uint64_t max_answer; /* longer is EFBIG */
	/* What is to be found out of this object, of so many bytes: an answer
	   that was said of another is a lost one.  The caller's to the end. */
	const struct hash *object;
	uint64_t object_len;
	/* The body of the request: stays the caller's to the end. */
	const void *body;
	uint64_t body_len;
	/* Or its bytes one after another, from 0 again after rewind. */
	size_t (*read)(void *arg, void *buf, size_t n);
	/* A try begins. */
	void (*rewind)(void *arg);
	/* Bytes of a 2xx answer; -1: give up, ECANCELED; HTTP_SINK_*. */
	int (*sink)(void *arg, const void *, size_t);
	/* Called once, never before http_start() has returned. */
	void (*done)(const struct http_result *, void *arg);
	void *arg;
};
/* NULL and ENOMEM. */
struct http *http_start(const struct http_spec *);
/*
 * A question of sailvol-format(5) to the API, repeated within the configured
 * deadline when its answer is lost.  target: copied; body: until done.
 */
struct http *http_ask(const char *target, const void *body, size_t len,
    uint64_t max_answer, void (*done)(const struct http_result *, void *),
    void *arg);
/* Ends it without done().  Not from read, rewind and sink. */
void http_cancel(struct http *);
/* read() has bytes again, or sink() takes some, perhaps at once; it may end
   by that. */
void http_resume(struct http *);

/*
 * 1: a URL that came then and was refused by this answer was used at once: to
 * ask for another one is of no use for ever.  One that has waited is only old.
 */
#define HTTP_FRESH_MS 1000
int http_was_fresh(const struct http_result *, monotime_t url_came);

/* errno for a final answer that is no success. */
int http_errno(unsigned int status);
/* 1: who answers that will say no again, whenever it is asked. */
int http_is_refusal(unsigned int status);
/* The same of an answer of the API: also that its store refuses it. */
int http_is_final(unsigned int status, const uint8_t *body, size_t len);
/* Of an answer of a store: its status says no, but its words, to ask again. */
int http_is_passing(unsigned int status, const uint8_t *body, size_t len);

#endif
