/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * api_http: one request of a client of the API: its limits, its body, and its
 * answer.  In api.
 */
#include <sys/mman.h>
#include <sys/stat.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "lib/log.h"
#include "lib/memfd.h"
#include "lib/wire.h"
#include "sailapid/api.h"

#define BODY_INLINE (32 * 1024) /* larger bodies stream into a memfd */
#define DRAIN_MAX ((uint64_t)64 << 20)
#define ANSWER_MAX ((off_t)1 << 32)
#define RETRY_AFTER "1"

static const struct refusal {
	unsigned int status;
	const char *type, *code, *message;
} refusals[] = {
#define X(name, status, type, code, message) { status, type, code, message },
	API_REFUSALS(X)
#undef X
};

void *
api_begin(const char *target)
{
	struct api_call *call = calloc(1, sizeof(*call));

	if (call == NULL)
		return NULL;
	call->body_fd = -1;
	if ((call->target = strdup(target)) == NULL) {
		free(call);
		return NULL;
	}
	return call;
}

static void
drop_body(struct api_call *call)
{
	free(call->body);
	call->body = NULL;
	call->body_len = 0;
	if (call->body_fd != -1)
		close(call->body_fd);
	call->body_fd = -1;
	body_free(call->share);
}

void
api_end(void *arg)
{
	struct api_call *call = arg;

	if (call->stage != API_ANSWERED)
		count_unanswered();
	api_forget(call);
	api_turn();
	drop_body(call);
	answer_free(call);
	if (call->response != NULL)
		MHD_destroy_response(call->response);
	free(call->target);
	/* It has the key of a client. */
	freezero(call, sizeof(*call));
}

int
api_drop(void *arg)
{
	struct api_call *call = arg;

	if (call->stage != API_WAITING)
		return 0;
	api_forget(call);
	drop_body(call);
	return 1;
}

static const struct {
	const char *name;
	uint8_t method;
} methods[] = { { "GET", API_GET }, { "HEAD", API_HEAD }, { "PUT", API_PUT },
	{ "POST", API_POST }, { "DELETE", API_DELETE } };
#define NMETHODS (sizeof(methods) / sizeof(methods[0]))

static uint8_t
method_of(const char *s)
{
	size_t i;

	for (i = 0; i < NMETHODS; i++)
		if (strcmp(s, methods[i].name) == 0)
			return methods[i].method;
	return 0;
}

/* allow: 1 << enum api_method each. */
static void
add_allow(struct MHD_Response *res, uint8_t allow)
{
	char text[64] = "";
	size_t i;

	for (i = 0; i < NMETHODS; i++) {
		if (!(allow >> methods[i].method & 1))
			continue;
		if (text[0] != '\0')
			strlcat(text, ", ", sizeof(text));
		strlcat(text, methods[i].name, sizeof(text));
	}
	MHD_add_response_header(res, "Allow", text);
}

static struct MHD_Response *
refusal_response(enum api_refusal which)
{
	const struct refusal *r = &refusals[which];
	struct MHD_Response *res;
	char body[256];
	int n;

	count_refusal(which);
	n = snprintf(body, sizeof(body),
	    "{\"error\":{\"message\":\"%s\",\"type\":\"%s\",\"code\":\"%s\"}}\n",
	    r->message, r->type, r->code);
	if (n < 0 || (size_t)n >= sizeof(body))
		return NULL;
	res = httpd_response(body, (size_t)n, "application/json");
	if (res == NULL)
		return NULL;
	if (r->status == 503)
		MHD_add_response_header(res, "Retry-After", RETRY_AFTER);
	if (r->status == 405)
		add_allow(res, UINT8_MAX);
	return res;
}

/* By this its client tells the answer from one to another request. */
static void
add_request(const struct api_call *call, struct MHD_Response *res)
{
	const char *v = NULL;

	if (httpd_header(call->conn, WIRE_REQUEST, &v) == 1 &&
	    strlen(v) == WIRE_REQUEST_LEN &&
	    strspn(v, "0123456789abcdef") == WIRE_REQUEST_LEN)
		MHD_add_response_header(res, WIRE_REQUEST, v);
}

static enum MHD_Result
reply(struct api_call *call)
{
	struct MHD_Response *res = call->response;
	enum MHD_Result ret;

	call->response = NULL;
	call->stage = API_ANSWERED;
	if (res != NULL)
		add_request(call, res);
	count_answer(call->method, call->status);
	if (call->whole.ns != 0)
		count_duration(call->whole);
	/* The target may name paths: without its query. */
	log_debug("%.*s: %u", (int)strcspn(call->target, "?"), call->target,
	    call->status);
	ret = httpd_reply(call->conn, call->status, res);
	httpd_allow(call->conn, call->answer_len);
	return ret;
}

/* An answer before the body ends the connection: nothing of it, or too much,
   is still to come. */
static int
must_end(const struct api_call *call, uint64_t left)
{
	return left == 0 || left > DRAIN_MAX ||
	    httpd_header(call->conn, "Expect", NULL) != 0;
}

/* left: bytes of the body that are still to come. */
static enum MHD_Result
refuse(struct api_call *call, enum api_refusal which, uint64_t left)
{
	drop_body(call);
	call->response = refusal_response(which);
	call->status = refusals[which].status;
	if (must_end(call, left))
		return reply(call);
	call->stage = API_DRAIN;
	return MHD_YES;
}

/* ---- the request --------------------------------------------------------- */

/* 0 also when it is not there. */
static int
copy_header(struct api_call *call, const char *name, char *out, size_t size)
{
	const char *v = "";
	int n = httpd_header(call->conn, name, &v);

	if (n > 1 || strlcpy(out, v, size) >= size)
		return -1;
	return 0;
}

/* Content-Length: 0, or -1 with the refusal in *why. */
static int
body_length(struct api_call *call, uint64_t *len, enum api_refusal *why)
{
	const char *v = NULL;
	char *end;
	int n = httpd_header(call->conn, "Content-Length", &v);

	*len = 0;
	if (httpd_header(call->conn, "Transfer-Encoding", NULL) != 0) {
		*why = REFUSED_NO_LENGTH;
		return -1;
	}
	if (n == 0)
		return 0;
	errno = 0;
	if (n > 1 || *v < '0' || *v > '9' ||
	    (*len = strtoull(v, &end, 10), *end != '\0') || errno != 0) {
		*len = 0;
		*why = REFUSED_BAD_HEADER;
		return -1;
	}
	if (*len > api_limits.max_body) {
		*why = REFUSED_TOO_LARGE;
		return -1;
	}
	return 0;
}

/*
 * Who has no key shall not fill the memory: of a large body meta, which knows
 * the keys, is asked before the first byte is taken.
 */
static int
has_key(const struct api_call *call)
{
	const char *a = call->authorization;

	return strncasecmp(a, API_SCHEME, API_SCHEME_LEN) == 0 &&
	    strncmp(a + API_SCHEME_LEN, "sk_", 3) == 0 && strlen(a) == 74 &&
	    strspn(a + API_SCHEME_LEN + 3, "0123456789abcdef") == 64;
}

void
api_key_hash(const struct api_call *call, struct hash *key)
{
	size_t skip = has_key(call) ? API_SCHEME_LEN : 0;

	hash_bytes(key, call->authorization + skip,
	    strlen(call->authorization + skip));
}

static enum MHD_Result
ask_key(struct api_call *call)
{
	if (api_ask(call, API_GET, "/v1/whoami") == -1)
		return refuse(call, REFUSED_UNAVAILABLE, call->body_max);
	call->asks_key = 1;
	call->stage = API_WAITING;
	httpd_suspend(call->conn);
	return MHD_YES;
}

/* The call that was suspended for the key comes again. */
static enum MHD_Result
keyed(struct api_call *call)
{
	httpd_begin_body(call->conn);
	if (call->response == NULL)
		call->stage = API_BODY;
	else if (must_end(call, call->body_max))
		return reply(call);
	else
		call->stage = API_DRAIN;
	return MHD_YES;
}

static enum MHD_Result
first_call(struct api_call *call, const char *method)
{
	enum api_refusal why = REFUSED_INTERNAL;
	uint64_t len = 0;

	if ((call->method = method_of(method)) == 0)
		return refuse(call, REFUSED_NOT_ALLOWED, 0);
	if (body_length(call, &len, &why) == -1)
		return refuse(call, why, len);
	if (call->target[0] != '/' || strlen(call->target) > API_TARGET_MAX)
		return refuse(call, REFUSED_BAD_TARGET, len);
	if (copy_header(call, "Host", call->host, sizeof(call->host)) == -1 ||
	    copy_header(call, "Authorization", call->authorization,
		sizeof(call->authorization)) == -1)
		return refuse(call, REFUSED_BAD_HEADER, len);
	if (len > BODY_INLINE && !has_key(call))
		return refuse(call, REFUSED_NO_KEY, len);
	call->body_max = len;
	if (len > BODY_INLINE)
		return ask_key(call);
	call->stage = API_BODY;
	return MHD_YES;
}

/* ---- the body ------------------------------------------------------------ */

static int
write_all(int fd, const char *p, size_t len)
{
	ssize_t n;

	while (len > 0) {
		n = write(fd, p, len);
		if (n == -1 && errno == EINTR)
			continue;
		if (n == -1)
			return -1;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

static int
add_body(struct api_call *call, const char *data, size_t len)
{
	if (len > call->body_max - call->body_len) {
		errno = EFBIG;
		return -1;
	}
	if (call->body_max > BODY_INLINE) {
		/* What has come counts, not what is promised: a slow client
		   keeps nobody out. */
		if (body_grow(call, len) == -1)
			return -1;
		if (call->body_fd == -1 &&
		    (call->body_fd = memfd_create("body",
			 MFD_CLOEXEC | MFD_ALLOW_SEALING)) == -1)
			return -1;
		if (write_all(call->body_fd, data, len) == -1)
			return -1;
	} else {
		if (call->body == NULL &&
		    (call->body = malloc(call->body_max)) == NULL)
			return -1;
		memcpy(call->body + call->body_len, data, len);
	}
	call->body_len += len;
	return 0;
}

/* The whole body as a sealed memfd, if there is one. */
static int
finish_body(struct api_call *call)
{
	if (call->body_len != call->body_max) {
		errno = EBADMSG;
		return -1;
	}
	if (call->body_len == 0)
		return 0;
	if (call->body_fd == -1) {
		call->body_fd = memfd_new("body", call->body, call->body_len);
		return call->body_fd == -1 ? -1 : 0;
	}
	if (lseek(call->body_fd, 0, SEEK_SET) == -1)
		return -1;
	return fcntl(call->body_fd, F_ADD_SEALS,
	    F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE);
}

/* What there is too little of comes again. */
static enum api_refusal
body_refusal(int error)
{
	switch (error) {
	case ENOMEM:
	case EMFILE:
	case ENFILE:
	case ENOSPC:
	case EFBIG:
		return REFUSED_UNAVAILABLE;
	default:
		return REFUSED_INTERNAL;
	}
}

static enum MHD_Result
whole_request(struct api_call *call)
{
	enum api_refusal why;

	call->whole = monotime_now();
	if (finish_body(call) == -1) {
		why = body_refusal(errno);
		log_warn("body of a request");
		return refuse(call, why, 0);
	}
	if (api_ask(call, call->method, call->target) == -1)
		return refuse(call, REFUSED_UNAVAILABLE, 0);
	free(call->body);
	call->body = NULL;
	call->stage = API_WAITING;
	httpd_suspend(call->conn);
	return MHD_YES;
}

enum MHD_Result
api_handle(void *arg, struct MHD_Connection *c, const char *method,
    const char *data, size_t *size)
{
	struct api_call *call = arg;
	enum api_refusal why;
	size_t n = *size;

	*size = 0;
	switch (call->stage) {
	case API_NEW:
		call->conn = c;
		return first_call(call, method);
	case API_KEYED:
		return keyed(call);
	case API_BODY:
		if (n == 0)
			return whole_request(call);
		if (add_body(call, data, n) == 0)
			return MHD_YES;
		why = body_refusal(errno);
		log_warn("body of a request");
		return refuse(call, why, call->body_max - call->body_len);
	case API_DRAIN:
		return n > 0 ? MHD_YES : reply(call);
	case API_READY:
		return reply(call);
	case API_WAITING:
	case API_ANSWERED:
		break;
	}
	return MHD_YES;
}

void
api_take_body(struct api_call *call)
{
	if (call->stage == API_WAITING) {
		api_forget(call);
		api_unavailable(call);
		return;
	}
	/* What still comes of it is read, and not kept. */
	drop_body(call);
	call->response = refusal_response(REFUSED_UNAVAILABLE);
	call->status = refusals[REFUSED_UNAVAILABLE].status;
	call->stage = API_DRAIN;
}

/* ---- the answer ---------------------------------------------------------- */

static struct MHD_Response *
file_response(struct api_call *call, int fd)
{
	struct MHD_Response *res;
	struct stat st;

	if (fstat(fd, &st) == -1 || !S_ISREG(st.st_mode) ||
	    st.st_size > ANSWER_MAX) {
		close(fd);
		return NULL;
	}
	if (st.st_size == 0) {
		close(fd);
		return httpd_response("", 0, NULL);
	}
	res = MHD_create_response_from_fd64((uint64_t)st.st_size, fd);
	if (res == NULL) {
		close(fd);
		return NULL;
	}
	call->answer_len = (uint64_t)st.st_size;
	return res;
}

static void
set_answer(struct api_call *call, unsigned int status, struct MHD_Response *res)
{
	if (res == NULL) {
		status = refusals[REFUSED_INTERNAL].status;
		res = refusal_response(REFUSED_INTERNAL);
	}
	call->status = status;
	call->response = res;
	call->stage = call->asks_key ? API_KEYED : API_READY;
	call->asks_key = 0;
	httpd_resume(call->conn);
}

/* There is no room for it, until others have taken theirs. */
static int
is_too_much(struct api_call *call, int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && st.st_size > 0 &&
	    answer_take(call, (uint64_t)st.st_size) == -1;
}

/* What meta says of its key: others have to go for it (lib/crowd.h), or it for
   others. */
static void
note_key(const struct api_call *call, unsigned int status)
{
	struct hash key;

	if (status == 401)
		httpd_unknown(call->conn);
	/* It looks at the key first: what it says else is said to a good one. */
	if (status == 401 || status >= 500)
		return;
	api_key_hash(call, &key);
	httpd_known(call->conn, &key);
}

void
api_answer(struct api_call *call, const struct api_response *r, int fd)
{
	struct MHD_Response *res;

	if (has_key(call))
		note_key(call, r->status);
	if (call->asks_key && r->status == 200) {
		if (fd != -1)
			close(fd);
		call->asks_key = 0;
		call->stage = API_KEYED;
		httpd_resume(call->conn);
		return;
	}
	if (fd != -1 && is_too_much(call, fd)) {
		close(fd);
		api_unavailable(call);
		return;
	}
	res = fd != -1 ? file_response(call, fd)
		       : httpd_response(r->body.p, r->body.len, NULL);
	if (res != NULL && r->type != API_TYPE_NONE)
		MHD_add_response_header(res, "Content-Type",
		    r->type == API_TYPE_JSON ? "application/json"
					     : WIRE_CONTENT_TYPE);
	if (res != NULL && r->status == 503)
		MHD_add_response_header(res, "Retry-After", RETRY_AFTER);
	if (res != NULL && r->status == 401)
		MHD_add_response_header(res, "WWW-Authenticate", "Bearer");
	if (res != NULL && r->status == 405)
		add_allow(res, r->allow);
	set_answer(call, r->status, res);
}

void
api_unavailable(struct api_call *call)
{
	drop_body(call);
	set_answer(call, refusals[REFUSED_UNAVAILABLE].status,
	    refusal_response(REFUSED_UNAVAILABLE));
}
