/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * api: requests to the API server that others compose, and their answers as
 * they are.  In sailvol-fetch, which alone adds the key.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/fetch_imsg.h"
#include "lib/log.h"
#include "lib/wire.h"
#include "sailvol-fetch/ops.h"
#include "sailvol-fetch/request.h"

#define BODY_MAX ((size_t)1 << 30) /* a delta */
#define ANSWER_MAX ((uint64_t)1 << 30)

struct api {
	struct request req;
	struct http *http;
	struct memfd_view body;
};

static void
api_free(struct api *a)
{
	if (a == NULL)
		return;
	memfd_unmap(&a->body);
	free(a);
}

static void
api_answer(struct api *a, const struct fetch_api_res *r, int fd)
{
	if (a->req.peer != NULL &&
	    fetch_api_res_send(a->req.peer, a->req.id, r, fd) == 0)
		fd = -1;
	else if (a->req.peer != NULL)
		op_lost("api");
	if (fd != -1)
		close(fd);
	request_del(&a->req);
	api_free(a);
}

static void
api_cancel(struct request *req)
{
	struct api *a = (struct api *)req;
	struct fetch_api_res r = { .what = "cancelled", .what_len = 9 };

	http_cancel(a->http);
	api_answer(a, &r, -1);
}

static uint8_t
answer_type(const char *s)
{
	size_t n = strcspn(s, "; \t");

	if (n == strlen("application/json") &&
	    strncasecmp(s, "application/json", n) == 0)
		return 1;
	if (n == strlen(WIRE_CONTENT_TYPE) &&
	    strncasecmp(s, WIRE_CONTENT_TYPE, n) == 0)
		return 2;
	return 0;
}

static void
api_done(const struct http_result *result, void *arg)
{
	struct api *a = arg;
	struct fetch_api_res r = {
		.status = (uint16_t)result->status,
		.type = answer_type(result->content_type),
		.dated = result->has_skew != 0,
		.untrusted =
		    result->status == 0 && result->error == FETCH_UNTRUSTED,
		.repeated = result->repeated != 0,
		.skew_ms = result->has_skew ? result->skew_ms : 0,
		.what = result->what,
		.what_len = strlen(result->what),
	};
	int fd = -1;

	if (r.status != 0) {
		fd = memfd_new("answer", result->body, result->body_len);
		if (fd == -1) {
			log_warn("api: answer");
			r.status = 0;
			r.type = 0;
			r.what = "out of memory";
			r.what_len = strlen(r.what);
		} else
			r.what_len = 0;
	}
	api_answer(a, &r, fd);
}

static int
target_ok(const char *p, size_t len)
{
	size_t i;

	if (len < 4 || memcmp(p, "/v1/", 4) != 0)
		return 0;
	for (i = 0; i < len; i++)
		if (p[i] <= 0x20 || p[i] > 0x7e || p[i] == '#')
			return 0;
	return 1;
}

static int
content_type_ok(const char *p, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++)
		if (p[i] < 0x20 || p[i] > 0x7e)
			return 0;
	return 1;
}

static int
api_begin(struct api *a, const struct fetch_api *msg)
{
	struct http_spec spec = {
		.method = msg->method,
		.api = 1,
		/* A GET changes nothing. */
		.repeat = msg->retry || msg->method == FETCH_METHOD_GET,
		.total_ms = msg->deadline_ms != 0 ? msg->deadline_ms
						  : http_deadline_ms(),
		.flows = 1,
		.max_answer =
		    msg->max_answer < ANSWER_MAX ? msg->max_answer : ANSWER_MAX,
		.body = a->body.data,
		.body_len = a->body.len,
		.done = api_done,
		.arg = a,
	};
	char *target, *type;

	target = strndup(msg->target, msg->target_len);
	type = strndup(msg->content_type, msg->content_type_len);
	if (target != NULL && type != NULL) {
		spec.url = target;
		spec.content_type = type;
		a->http = http_start(&spec);
	}
	free(target);
	free(type);
	return a->http != NULL ? 0 : -1;
}

int
op_api(struct chan *c, uint32_t id, struct imsg *imsg, struct ibuf *body)
{
	struct fetch_api_res r = { .what = "out of memory", .what_len = 13 };
	struct fetch_api msg;
	struct api *a;
	int fd, bad;

	if (fetch_api_recv(body, &msg) == -1 ||
	    !target_ok(msg.target, msg.target_len) ||
	    !content_type_ok(msg.content_type, msg.content_type_len))
		return -1;
	if ((a = calloc(1, sizeof(*a))) == NULL)
		fatal("api");
	if ((fd = imsg_get_fd(imsg)) != -1) {
		bad = memfd_map(fd, BODY_MAX, &a->body);
		close(fd);
		if (bad == -1 && errno == EBADMSG) {
			free(a);
			return -1;
		}
		if (bad == -1) {
			r.what = strerror(errno);
			r.what_len = strlen(r.what);
		}
	} else
		bad = 0;
	if (request_add(&a->req, c, id, api_cancel) == -1) {
		api_free(a);
		return -1;
	}
	if (bad == -1 || api_begin(a, &msg) == -1)
		api_answer(a, &r, -1);
	return 0;
}
