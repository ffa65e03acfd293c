/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * store_http: a request to the object store: its signature, what it asks for,
 * and the answers without a body from outside.  In store.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

#include "lib/log.h"
#include "sailapid/store.h"

/* So much is read and thrown away, so that a refusal reaches its client. */
#define DRAIN_MAX ((uint64_t)64 << 20)

struct store store = { .root = -1 };

void *
s3_begin(const char *target)
{
	struct s3_request *r = calloc(1, sizeof(*r));

	if (r == NULL)
		return NULL;
	r->put.fd = -1;
	if ((r->target = strdup(target)) == NULL) {
		free(r);
		return NULL;
	}
	r->query = "";
	return r;
}

void
s3_end(void *arg)
{
	struct s3_request *r = arg;

	s3_put_free(r);
	free(r->key);
	free(r->target);
	free(r);
}

/* What a worker has begun ends soon by itself. */
int
s3_drop(void *arg)
{
	struct s3_request *r = arg;

	return (r->stage == S3_WORKING || r->stage == S3_LOOKING) &&
	    work_cancel(&r->work);
}

const char *
s3_header(struct s3_request *r, const char *name)
{
	const char *value = NULL;
	size_t i;

	for (i = 0; i < r->nheaders; i++)
		if (strcasecmp(r->headers[i].name, name) == 0) {
			if (value != NULL)
				r->twice = name;
			value = r->headers[i].value;
		}
	return value;
}

enum MHD_Result
s3_reply(struct s3_request *r, unsigned int status, struct MHD_Response *res)
{
	r->stage = S3_ANSWERED;
	log_debug("%s %.*s: %u", r->method, (int)strcspn(r->target, "?"),
	    r->target, status);
	return httpd_reply(r->conn, status, res);
}

/* Will a body come that nobody asked for? */
static int
must_drain(struct s3_request *r)
{
	const char *len = NULL, *end;
	uint64_t n;
	char *e;

	if (httpd_header(r->conn, "Content-Length", &len) != 1 ||
	    httpd_header(r->conn, "Expect", NULL) != 0)
		return 0;
	end = len + strlen(len);
	n = strtoull(len, &e, 10);
	return e == end && n > 0 && n <= DRAIN_MAX;
}

enum MHD_Result
s3_refuse(struct s3_request *r, unsigned int status, const char *code,
    const char *message)
{
	if (r->stage == S3_BODY || (r->stage == S3_NEW && must_drain(r))) {
		s3_put_free(r);
		r->stage = S3_DRAIN;
		r->status = status;
		r->code = code;
		r->message = message;
		return MHD_YES;
	}
	return s3_reply(r, status, s3_error_response(code, message, r->target));
}

enum MHD_Result
s3_errno(struct s3_request *r, int error)
{
	switch (error) {
	case ENOENT:
		return s3_refuse(r, 404, "NoSuchKey",
		    "The specified key does not exist.");
	case EEXIST:
		return s3_refuse(r, 412, "PreconditionFailed",
		    "The object is there already.");
	case ENOSPC:
	case EDQUOT:
	case EFBIG:
		return s3_refuse(r, 507, "InsufficientStorage",
		    "The disk of the store is full.");
	case EROFS:
	case EMFILE:
	case ENFILE:
	case ENOMEM:
		errno = error;
		log_warn("object %.*s", (int)r->key_len, r->key);
		return s3_refuse(r, 503, "ServiceUnavailable",
		    error == EROFS ? "The disk of the store is read-only."
				   : "The store cannot take it at the moment.");
	}
	errno = error;
	log_warn("object %.*s", (int)r->key_len, r->key);
	return s3_refuse(r, 500, "InternalError", strerror(error));
}

/* Unique for each object that had the name: time and number of the file. */
void
s3_etag(const struct stat *st, char *out, size_t size)
{
	snprintf(out, size, "\"%llx-%llx-%llx\"",
	    (unsigned long long)st->st_mtim.tv_sec * 1000000000ULL +
		(unsigned long long)st->st_mtim.tv_nsec,
	    (unsigned long long)st->st_ino, (unsigned long long)st->st_size);
}

/* "Fri, 24 May 2013 00:00:00 GMT" */
static void
http_date(int64_t t, char *out, size_t size)
{
	static const char days[] = "ThuFriSatSunMonTueWed";
	static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
	char d[SIGV4_DATE_LEN + 1];
	int m;

	if (t < 0)
		t = 0;
	sigv4_date(t, d);
	m = (d[4] - '0') * 10 + d[5] - '0' - 1;
	snprintf(out, size, "%.3s, %.2s %.3s %.4s %.2s:%.2s:%.2s GMT",
	    days + t / 86400 % 7 * 3, d + 6, months + m % 12 * 3, d, d + 9,
	    d + 11, d + 13);
}

void
s3_object_headers(struct MHD_Response *res, const struct stat *st)
{
	char text[64];

	if (res == NULL)
		return;
	s3_etag(st, text, sizeof(text));
	MHD_add_response_header(res, "ETag", text);
	http_date(st->st_mtim.tv_sec, text, sizeof(text));
	MHD_add_response_header(res, "Last-Modified", text);
	MHD_add_response_header(res, "Accept-Ranges", "bytes");
}

/* ---- GET and HEAD -------------------------------------------------------- */

/* "bytes=a-b": 1 a span, 0 cannot be satisfied, -1 not a single range. */
static int
parse_range(const char *s, uint64_t size, uint64_t *from, uint64_t *len)
{
	uint64_t v[2] = { 0, 0 };
	int i, has[2] = { 0, 0 };

	if (strncmp(s, "bytes=", 6) != 0)
		return -1;
	for (i = 0, s += 6; i < 2; i++) {
		for (; *s >= '0' && *s <= '9'; s++) {
			if (has[i]++ == 18)
				return -1;
			v[i] = v[i] * 10 + (uint64_t)(*s - '0');
		}
		if (i == 0 && *s++ != '-')
			return -1;
	}
	if (*s != '\0' || (!has[0] && !has[1]) ||
	    (has[0] && has[1] && v[1] < v[0]))
		return -1;
	if (!has[0]) { /* the last v[1] bytes */
		*len = v[1] < size ? v[1] : size;
		*from = size - *len;
		return *len > 0;
	}
	*from = v[0];
	if (v[0] >= size)
		return 0;
	*len = has[1] && v[1] < size ? v[1] - v[0] + 1 : size - v[0];
	return 1;
}

/* If-Match and If-None-Match: 0, or the status instead. */
static unsigned int
check_conditions(struct s3_request *r, const struct stat *st)
{
	const char *match = s3_header(r, "If-Match");
	const char *none = s3_header(r, "If-None-Match");
	char etag[64];

	s3_etag(st, etag, sizeof(etag));
	if (match != NULL && strcmp(match, "*") != 0 &&
	    strcmp(match, etag) != 0)
		return 412;
	if (none != NULL && (strcmp(none, "*") == 0 || strcmp(none, etag) == 0))
		return 304;
	return 0;
}

static enum MHD_Result
send_object(struct s3_request *r, int fd, const struct stat *st, uint64_t from,
    uint64_t len, unsigned int status)
{
	struct MHD_Response *res;
	enum MHD_Result ret;
	char text[96];

	if (len == 0) {
		close(fd);
		res = httpd_response("", 0, NULL);
	} else if ((res = MHD_create_response_from_fd_at_offset64(len, fd,
			from)) == NULL)
		close(fd);
	if (res == NULL)
		return s3_errno(r, ENOMEM);
	s3_object_headers(res, st);
	MHD_add_response_header(res, "Content-Type",
	    "application/octet-stream");
	if (status == 206) {
		snprintf(text, sizeof(text),
		    "bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64, from,
		    from + len - 1, (uint64_t)st->st_size);
		MHD_add_response_header(res, "Content-Range", text);
	}
	ret = s3_reply(r, status, res);
	httpd_allow(r->conn, len);
	return ret;
}

static enum MHD_Result
get_object(struct s3_request *r)
{
	const char *range = s3_header(r, "Range");
	struct MHD_Response *res;
	uint64_t from = 0, len, size;
	unsigned int status;
	char text[64];
	struct stat st;
	int fd, span = 1;

	if (r->twice == NULL && range != NULL && strchr(range, ',') != NULL)
		return s3_refuse(r, 400, "InvalidArgument",
		    "One range at a time.");
	if ((fd = store_get(store.root, r->key, r->key_len, &st)) == -1)
		return s3_errno(r, errno);
	status = check_conditions(r, &st);
	size = len = (uint64_t)st.st_size;
	if (r->twice == NULL && status == 0 && range != NULL)
		span = parse_range(range, size, &from, &len);
	if (r->twice == NULL && status == 0 && span == 1)
		return send_object(r, fd, &st, from, len,
		    range == NULL ? 200 : 206);
	close(fd);
	if (r->twice != NULL || span == -1)
		return s3_refuse(r, 400, "InvalidArgument",
		    r->twice != NULL ? "A header is there twice."
				     : "The Range header is malformed.");
	if (status == 412)
		return s3_refuse(r, 412, "PreconditionFailed",
		    "The object is another one.");
	if (status == 304) {
		res = httpd_response("", 0, NULL);
		s3_object_headers(res, &st);
		return s3_reply(r, 304, res);
	}
	res = s3_error_response("InvalidRange",
	    "The requested range is not satisfiable", r->target);
	snprintf(text, sizeof(text), "bytes */%" PRIu64, size);
	if (res != NULL)
		MHD_add_response_header(res, "Content-Range", text);
	return s3_reply(r, 416, res);
}

/* ---- DELETE -------------------------------------------------------------- */

static void
delete_run(struct work *w)
{
	struct s3_request *r = (struct s3_request *)(void *)((char *)w -
	    offsetof(struct s3_request, work));

	r->error =
	    store_delete(store.root, r->key, r->key_len) == -1 ? errno : 0;
}

static void
delete_done(struct work *w)
{
	struct s3_request *r = (struct s3_request *)(void *)((char *)w -
	    offsetof(struct s3_request, work));

	httpd_resume(r->conn);
}

static enum MHD_Result
delete_object(struct s3_request *r)
{
	r->stage = S3_WORKING;
	r->work.run = delete_run;
	r->work.done = delete_done;
	httpd_suspend(r->conn);
	work_queue(&r->work);
	return MHD_YES;
}

/* ---- what is asked ------------------------------------------------------- */

static enum MHD_Result
on_header(void *cls, enum MHD_ValueKind kind, const char *name,
    const char *value)
{
	struct s3_request *r = cls;

	(void)kind;
	if (r->nheaders == SIGV4_HEADERS_MAX) {
		r->twice = "too many";
		return MHD_NO;
	}
	r->headers[r->nheaders].name = name;
	r->headers[r->nheaders++].value = value == NULL ? "" : value;
	return MHD_YES;
}

static enum MHD_Result
refuse_signature(struct s3_request *r, enum sigv4_verdict v,
    const struct sigv4_result *res)
{
	switch (v) {
	case SIGV4_MALFORMED:
		return s3_refuse(r, 400,
		    res->in_query ? "AuthorizationQueryParametersError"
				  : "AuthorizationHeaderMalformed",
		    res->why);
	case SIGV4_KEY:
		return s3_refuse(r, 403, "InvalidAccessKeyId", res->why);
	case SIGV4_SKEWED:
		return s3_refuse(r, 403, "RequestTimeTooSkewed", res->why);
	case SIGV4_MISMATCH:
		return s3_refuse(r, 403, "SignatureDoesNotMatch", res->why);
	default:
		return s3_refuse(r, 403, "AccessDenied", res->why);
	}
}

/* Parameters of the query that are ours to ignore: signatures, and the name
   of the operation that AWS's libraries add. */
static int
query_is_plain(const char *q)
{
	for (; *q != '\0'; q += strcspn(q, "&")) {
		q += strspn(q, "&");
		if (*q != '\0' && strncmp(q, "X-Amz-", 6) != 0 &&
		    strncmp(q, "x-id=", 5) != 0)
			return 0;
	}
	return 1;
}

/* Cuts the target: 0, or the refusal was sent and *ret says how. */
static int
split_target(struct s3_request *r, enum MHD_Result *ret)
{
	size_t len = strcspn(r->target, "?"), blen = strlen(store.bucket);
	const char *why;
	int n;

	if (r->target[len] == '?')
		r->query = r->target + len + 1;
	if (r->target[0] != '/' || (r->key = malloc(len + 1)) == NULL ||
	    (n = sigv4_decode(r->key, r->target + 1, len - 1)) == -1) {
		*ret =
		    s3_refuse(r, 400, "InvalidURI", "The path is malformed.");
		return -1;
	}
	if ((size_t)n < blen || memcmp(r->key, store.bucket, blen) != 0 ||
	    ((size_t)n > blen && r->key[blen] != '/')) {
		*ret = s3_refuse(r, 404, "NoSuchBucket",
		    "There is one bucket, and it has another name.");
		return -1;
	}
	r->key_len = (size_t)n > blen ? (size_t)n - blen - 1 : 0;
	memmove(r->key, r->key + (size_t)n - r->key_len, r->key_len);
	if (r->key_len > 0 &&
	    (why = store_key_problem(r->key, r->key_len)) != NULL) {
		*ret = s3_refuse(r, 400,
		    r->key_len > STORE_KEY_MAX ? "KeyTooLongError"
					       : "InvalidArgument",
		    why);
		return -1;
	}
	return 0;
}

static enum MHD_Result
bucket_request(struct s3_request *r)
{
	if (strcmp(r->method, "GET") == 0)
		return s3_list(r);
	if (strcmp(r->method, "HEAD") == 0)
		return s3_reply(r, 200, httpd_response("", 0, NULL));
	return s3_refuse(r, 405, "MethodNotAllowed",
	    "The bucket is neither made nor removed.");
}

static enum MHD_Result
object_request(struct s3_request *r)
{
	if (!query_is_plain(r->query))
		return s3_refuse(r, 501, "NotImplemented",
		    "This store has only whole objects.");
	if (strcmp(r->method, "PUT") == 0)
		return s3_put_begin(r);
	if (strcmp(r->method, "DELETE") == 0)
		return delete_object(r);
	return get_object(r);
}

static int
known_method(const char *m)
{
	return strcmp(m, "GET") == 0 || strcmp(m, "HEAD") == 0 ||
	    strcmp(m, "PUT") == 0 || strcmp(m, "DELETE") == 0;
}

static enum MHD_Result
first_call(struct s3_request *r)
{
	struct sigv4_keys keys = { store.access_key, store.secret, store.region,
		NULL };
	struct sigv4_request sig = { r->method, r->target, r->headers, 0 };
	struct sigv4_result res;
	enum sigv4_verdict v;
	enum MHD_Result ret;

	MHD_get_connection_values(r->conn, MHD_HEADER_KIND, on_header, r);
	if (r->twice != NULL)
		return s3_refuse(r, 400, "InvalidRequest", "Too many headers.");
	if (!known_method(r->method))
		return s3_refuse(r, 405, "MethodNotAllowed",
		    "Only GET, HEAD, PUT and DELETE.");
	sig.nheaders = r->nheaders;
	v = sigv4_verify(&sig, &keys, (int64_t)time(NULL), &res);
	if (v != SIGV4_OK)
		return refuse_signature(r, v, &res);
	/* Whose key that was no signature says. */
	httpd_known(r->conn, NULL);
	if (split_target(r, &ret) == -1)
		return ret;
	return r->key_len == 0 ? bucket_request(r) : object_request(r);
}

enum MHD_Result
s3_handle(void *arg, struct MHD_Connection *c, const char *method,
    const char *data, size_t *size)
{
	struct s3_request *r = arg;

	switch (r->stage) {
	case S3_NEW:
		r->conn = c;
		if (strlcpy(r->method, method, sizeof(r->method)) >=
		    sizeof(r->method))
			strlcpy(r->method, "?", sizeof(r->method));
		if (strcmp(r->method, "PUT") == 0)
			return first_call(r);
		/* Answered at once it would end the connection. */
		r->stage = S3_HEADERS;
		return MHD_YES;
	case S3_HEADERS:
		if (*size == 0)
			return first_call(r);
		break;
	case S3_LOOKING:
		return s3_put_looked(r);
	case S3_BODY:
		return *size > 0 ? s3_put_data(r, data, size) : s3_put_end(r);
	case S3_DRAIN:
		if (*size > 0) {
			*size = 0;
			return MHD_YES;
		}
		return s3_reply(r, r->status,
		    s3_error_response(r->code, r->message, r->target));
	case S3_WORKING:
		if (strcmp(r->method, "PUT") == 0)
			return s3_put_answer(r);
		if (r->error != 0)
			return s3_errno(r, r->error);
		return s3_reply(r, 204, httpd_response("", 0, NULL));
	case S3_ANSWERED:
		break;
	}
	*size = 0;
	return MHD_YES;
}
