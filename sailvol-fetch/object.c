/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * object: looks at, verifies, deletes and makes (an empty) one object by a
 * signed URL.  In sailvol-fetch.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/fetch_imsg.h"
#include "lib/log.h"
#include "sailvol-fetch/ops.h"
#include "sailvol-fetch/request.h"

struct object {
	struct request req;
	struct http *http;
	struct fetch_url msg; /* its url is not kept */
	struct hash_ctx *ctx;
	uint64_t got;
};

static void
object_answer(struct object *o, const struct fetch_url_res *res)
{
	struct hash h;

	if (o->req.peer != NULL &&
	    fetch_url_res_send(o->req.peer, o->req.id, res, -1) == -1)
		op_lost("url");
	request_del(&o->req);
	if (o->ctx != NULL)
		hash_end(o->ctx, &h);
	free(o);
}

static void
object_cancel(struct request *req)
{
	static const struct fetch_url_res res = { .what = "cancelled" };
	struct object *o = (struct object *)req;

	http_cancel(o->http);
	object_answer(o, &res);
}

/* A try begins. */
static void
object_rewind(void *arg)
{
	struct object *o = arg;
	struct hash h;

	if (o->ctx != NULL)
		hash_end(o->ctx, &h);
	o->ctx = NULL;
	o->got = 0;
}

static int
object_sink(void *arg, const void *data, size_t n)
{
	struct object *o = arg;

	/* More than expected is not equal, however much it is. */
	if (n > o->msg.length - o->got)
		return -1;
	if (o->msg.verify) {
		if (o->ctx == NULL && (o->ctx = hash_begin()) == NULL)
			return HTTP_SINK_NO_MEMORY;
		hash_update(o->ctx, data, n);
	}
	o->got += n;
	return 0;
}

static int
object_equal(struct object *o, const struct http_result *r)
{
	struct hash h;

	if (r->status != 200)
		return 0;
	if (o->msg.method == FETCH_METHOD_HEAD)
		return r->length >= 0 && (uint64_t)r->length == o->msg.length;
	if (o->msg.method != FETCH_METHOD_GET || o->got != o->msg.length)
		return 0;
	if (!o->msg.verify)
		return 1;
	if (o->ctx == NULL)
		hash_bytes(&h, "", 0);
	else
		hash_end(o->ctx, &h);
	o->ctx = NULL;
	return hash_cmp(&h, &o->msg.hash) == 0;
}

/* What stands in an element of the store's error, if it is such a thing. */
static void
element(const struct http_result *r, const char *name,
    int (*ok)(const char *, size_t), char *out)
{
	char begin[32], end[32];
	const char *p, *q;
	size_t left;

	snprintf(begin, sizeof(begin), "<%s>", name);
	snprintf(end, sizeof(end), "</%s>", name);
	p = memmem(r->body, r->body_len, begin, strlen(begin));
	if (p == NULL)
		return;
	p += strlen(begin);
	left = r->body_len - (size_t)(p - (const char *)r->body);
	q = memmem(p, left, end, strlen(end));
	if (q == NULL || !ok(p, (size_t)(q - p)))
		return;
	memcpy(out, p, (size_t)(q - p));
	out[q - p] = '\0';
}

void
object_error(const struct http_result *r, struct fetch_url_res *res)
{
	res->code[0] = res->elsewhere[0] = '\0';
	if (r->status < 300 || r->body_len == 0)
		return;
	element(r, "Code", fetch_code_ok, res->code);
	element(r, "Region", fetch_elsewhere_ok, res->elsewhere);
	if (res->elsewhere[0] == '\0')
		element(r, "Endpoint", fetch_elsewhere_ok, res->elsewhere);
}

static void
object_done(const struct http_result *r, void *arg)
{
	struct object *o = arg;
	struct fetch_url_res res = { .dated = r->has_skew != 0,
		.skew_ms = r->skew_ms,
		.length = r->length > 0 ? (uint64_t)r->length : 0 };

	/* Refused by object_sink(): there, and not what it should be. */
	if (r->status == 0 && (r->error == ECANCELED || r->error == EFBIG)) {
		res.status = 200;
		res.what = "longer than it should be";
	} else {
		res.status = (uint16_t)r->status;
		res.equal = (uint8_t)object_equal(o, r);
		res.what = r->what;
		object_error(r, &res);
	}
	object_answer(o, &res);
}

int
op_url(struct chan *c, uint32_t id, struct imsg *imsg, struct ibuf *body)
{
	static const struct fetch_url_res none = { .what = "out of memory" };
	struct http_spec spec = { 0 };
	struct object *o;
	char *url;
	int fd, rc;

	if ((o = calloc(1, sizeof(*o))) == NULL)
		fatal("url");
	if (fetch_url_recv(body, &o->msg) == -1) {
		free(o);
		return -1;
	}
	if ((fd = imsg_get_fd(imsg)) != -1) {
		rc = pack_check(c, id, &o->msg, fd);
		free(o);
		return rc;
	}
	if (request_add(&o->req, c, id, object_cancel) == -1) {
		free(o);
		return -1;
	}
	if ((url = strndup(o->msg.url, o->msg.url_len)) == NULL)
		fatal("url");
	o->msg.url = NULL;
	spec.method = o->msg.method;
	spec.url = url;
	/* What was brought anew after the first would go by a second. */
	spec.repeat = o->msg.method != FETCH_METHOD_DELETE;
	spec.total_ms = o->msg.deadline_ms;
	/* Not for its turn: others of a store that hangs may have all places. */
	spec.late = spec.first = o->msg.deadline_ms != 0;
	spec.max_answer = o->msg.length;
	if (!hash_is_zero(&o->msg.hash) && o->msg.length > 0 &&
	    (o->msg.method == FETCH_METHOD_HEAD || o->msg.verify)) {
		spec.object = &o->msg.hash;
		spec.object_len = o->msg.length;
	}
	spec.rewind = object_rewind;
	spec.sink = object_sink;
	spec.done = object_done;
	spec.arg = o;
	o->http = http_start(&spec);
	free(url);
	if (o->http == NULL)
		object_answer(o, &none);
	return 0;
}
