/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * sigv4: signatures of S3 requests, AWS Signature Version 4, in the query of a
 * URL and in the Authorization header.  Pure functions, in sign and store.
 */
#ifndef SAILAPID_SIGV4_H
#define SAILAPID_SIGV4_H

#include <stddef.h>
#include <stdint.h>

#include "lib/bytes.h"

#define SIGV4_DATE_LEN 16 /* 20130524T000000Z */
#define SIGV4_SIGNATURE_LEN 64
#define SIGV4_HEADERS_MAX 64 /* of a request */
#define SIGV4_QUERY_MAX 64   /* parameters */
#define SIGV4_CANONICAL_MAX (64 * 1024)
#define SIGV4_EXPIRES_MAX 604800 /* seconds, as AWS has it */
#define SIGV4_SKEW_S 900

struct sigv4_keys {
	const char *access_key, *secret, *region;
	const char *token; /* of a session; NULL or "": there is none */
};

struct sigv4_header {
	const char *name; /* any case */
	/* NULL, in what is signed: it must not be sent.  Its name is signed, and
	   has no line: as the Ceph Object Gateway reads it. */
	const char *value;
};

/*
 * A request as it was sent: target is raw, path and query, percent-encoded as
 * the client liked it.
 */
struct sigv4_request {
	const char *method, *target;
	const struct sigv4_header *headers;
	size_t nheaders;
};

/* "20130524T000000Z"; seconds since 1970, between the years 1970 and 9999. */
void sigv4_date(int64_t t, char out[SIGV4_DATE_LEN + 1]);
int sigv4_date_parse(const char *, size_t len, int64_t *t); /* -1: it is none */

/* Appends s with all but A-Z a-z 0-9 - _ . ~ encoded; slash: nor '/'. */
void sigv4_encode(struct wbuf *, const void *s, size_t len, int slash);
/*
 * Percent-decodes into out (len bytes are enough) and returns the length; -1
 * when an escape is malformed.  '+' is '+'.
 */
int sigv4_decode(char *out, const char *s, size_t len);

/*
 * The canonical request: signed names the headers, "host;range", lower case
 * and sorted, of which each must be there exactly once (ENOENT, EEXIST);
 * payload is its last line.  X-Amz-Signature is left out of the query.  0, or
 * -1 with errno: EBADMSG a malformed escape, E2BIG too many parameters, or the
 * buffer's.
 */
int sigv4_canonical(struct wbuf *, const struct sigv4_request *,
    const char *signed_names, const char *payload);
/* date: 16 characters, of which 8 are the scope's. */
int sigv4_signature(const struct sigv4_keys *, const char *date,
    const void *canonical, size_t len, char out[SIGV4_SIGNATURE_LEN + 1]);

/*
 * The whole presigned URL: base "http://host:port", path decoded
 * ("/bucket/key"), and the headers that must be sent, besides host.  The
 * payload is the value of x-amz-content-sha256 when that is one of them, else
 * UNSIGNED-PAYLOAD.  Appended without a NUL.  0, or -1 and errno: EINVAL a
 * header that cannot be one, life outside 1 to SIGV4_EXPIRES_MAX, a bad base.
 */
int sigv4_presign(struct wbuf *, const struct sigv4_keys *, const char *method,
    const char *base, const char *path, const struct sigv4_header *,
    size_t nheaders, int64_t now, uint32_t life_s);
/* The same with parameters of its own, "a=b&c=%2F", which are encoded already;
   "": none. */
int sigv4_presign_query(struct wbuf *, const struct sigv4_keys *,
    const char *method, const char *base, const char *path, const char *query,
    const struct sigv4_header *, size_t nheaders, int64_t now, uint32_t life_s);

enum sigv4_verdict {
	SIGV4_OK = 0,
	SIGV4_NONE,      /* it is not signed */
	SIGV4_MALFORMED, /* what is needed is missing, twice or wrong */
	SIGV4_KEY,       /* not our access key */
	SIGV4_EXPIRED,
	SIGV4_SKEWED, /* from the future, or an old header */
	SIGV4_HEADER, /* a signed header is missing, or there twice */
	SIGV4_MISMATCH
};
struct sigv4_result {
	const char *why; /* a constant string */
	int in_query;
	char payload[65]; /* x-amz-content-sha256 as signed, "" in a query
			     that does not sign it */
};
enum sigv4_verdict sigv4_verify(const struct sigv4_request *,
    const struct sigv4_keys *, int64_t now, struct sigv4_result *);

#endif
