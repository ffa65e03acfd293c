/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * list: asks for a page of a bucket by a signed URL of ListObjectsV2, and reads
 * the XML that comes.  For the server; in its sailvol-fetch.
 */
#include <curl/curl.h>
#include <expat.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/log.h"
#include "lib/memfd.h"
#include "sailvol-fetch/list.h"
#include "sailvol-fetch/ops.h"
#include "sailvol-fetch/request.h"

/* Of a thousand keys of the longest kind, each byte of them escaped. */
#define ANSWER_MAX ((uint64_t)4 << 20)
#define TEXT_MAX (3 * FETCH_LIST_KEY_MAX)
#define DEPTH_MAX 8

static const char no_memory[] = "out of memory";

/* ---- the XML ------------------------------------------------------------- */

enum element { E_NONE, E_MORE, E_ENCODING, E_KEY, E_BYTES, E_WRITTEN, E_ALL };

static const struct {
	const char *name;
	int depth; /* 2: of the page, 3: of an object */
} elements[E_ALL] = {
	[E_MORE] = { "IsTruncated", 2 },
	[E_ENCODING] = { "EncodingType", 2 },
	[E_KEY] = { "Key", 3 },
	[E_BYTES] = { "Size", 3 },
	[E_WRITTEN] = { "LastModified", 3 },
};

struct parsing {
	XML_Parser xml;
	struct list *list;
	const char *wrong;
	int depth, in_object, escaped;
	unsigned int seen; /* 1 << enum element, each once */
	enum element at;
	char text[TEXT_MAX + 1];
	size_t len;
};

static void
wrong(struct parsing *p, const char *why)
{
	if (p->wrong == NULL)
		p->wrong = why;
	XML_StopParser(p->xml, XML_FALSE);
}

/* Without one there are no entities but the five of XML. */
static void
on_doctype(void *arg, const XML_Char *name, const XML_Char *system,
    const XML_Char *public, int internal)
{
	(void)name;
	(void)system;
	(void)public;
	(void)internal;
	wrong(arg, "the listing has a DOCTYPE");
}

static void
on_begin(void *arg, const XML_Char *name, const XML_Char **attributes)
{
	struct parsing *p = arg;
	int i;

	(void)attributes;
	if (p->wrong != NULL)
		return;
	p->depth++;
	if (p->at != E_NONE || p->depth > DEPTH_MAX)
		wrong(p, "the listing is nested otherwise");
	else if (p->depth == 1 && strcmp(name, "ListBucketResult") != 0)
		wrong(p, "the answer is no listing");
	else if (p->depth == 2 && strcmp(name, "Contents") == 0) {
		if (p->list->page.n == FETCH_LIST_KEYS)
			wrong(p, "the listing has more than a thousand keys");
		p->in_object = 1;
		p->seen &= ~(1U << E_KEY | 1U << E_BYTES | 1U << E_WRITTEN);
	}
	for (i = E_NONE + 1; i < E_ALL; i++)
		if (elements[i].depth == p->depth &&
		    strcmp(elements[i].name, name) == 0 &&
		    (p->depth == 2 || p->in_object)) {
			if (p->seen & 1U << i)
				wrong(p, "the listing says a thing twice");
			p->seen |= 1U << i;
			p->at = (enum element)i;
			p->len = 0;
		}
}

static void
on_text(void *arg, const XML_Char *s, int n)
{
	struct parsing *p = arg;

	if (p->at == E_NONE || p->wrong != NULL)
		return;
	if ((size_t)n > TEXT_MAX - p->len) {
		wrong(p, "the listing has a text that is too long");
		return;
	}
	memcpy(p->text + p->len, s, (size_t)n);
	p->len += (size_t)n;
}

/* "2026-11-29T17:00:00.000Z"; libc's would look for time zones. */
static int
read_time(const char *s, int64_t *t)
{
	char text[40];

	if (strlen(s) < 20 || s[4] != '-' || s[7] != '-' || s[10] != 'T')
		return -1;
	snprintf(text, sizeof(text), "%.4s%.2s%.2s %.8s GMT", s, s + 5, s + 8,
	    s + 11);
	*t = curl_getdate(text, NULL);
	return *t == -1 ? -1 : 0;
}

static int
read_bytes(const char *s, uint64_t *n)
{
	char *end;

	if (*s < '0' || *s > '9' || strlen(s) > 18)
		return -1;
	*n = strtoull(s, &end, 10);
	return *end == '\0' ? 0 : -1;
}

static void
read_text(struct parsing *p)
{
	struct fetch_list *page = &p->list->page;
	struct fetch_listed *k = &page->keys[page->n];

	p->text[p->len] = '\0';
	switch (p->at) {
	case E_MORE:
		page->more = strcmp(p->text, "true") == 0;
		if (!page->more && strcmp(p->text, "false") != 0)
			wrong(p, "IsTruncated is not true or false");
		break;
	case E_ENCODING:
		p->escaped = strcmp(p->text, "url") == 0;
		if (!p->escaped)
			wrong(p, "EncodingType is not url");
		break;
	case E_KEY:
		free(p->list->text[page->n]);
		k->key = p->list->text[page->n] = strndup(p->text, p->len);
		k->len = p->len;
		if (k->key == NULL)
			wrong(p, no_memory);
		break;
	case E_BYTES:
		if (read_bytes(p->text, &k->bytes) == -1)
			wrong(p, "Size is no number");
		break;
	case E_WRITTEN:
		if (read_time(p->text, &k->written_s) == -1)
			wrong(p, "LastModified is no time");
		break;
	default:
		break;
	}
	p->at = E_NONE;
}

static void
on_end(void *arg, const XML_Char *name)
{
	const unsigned int all = 1U << E_KEY | 1U << E_BYTES | 1U << E_WRITTEN;
	struct parsing *p = arg;

	(void)name;
	if (p->wrong != NULL)
		return;
	if (p->at != E_NONE)
		read_text(p);
	if (p->depth-- != 2 || !p->in_object)
		return;
	p->in_object = 0;
	if ((p->seen & all) != all)
		wrong(p,
		    "an object of the listing lacks its key, size or time");
	else
		p->list->page.n++;
}

/* As S3 escapes keys, so that XML can have all of them. */
static int
unescape(char *s, size_t *len)
{
	static const char digits[] = "0123456789abcdef0123456789ABCDEF";
	const char *hi, *lo;
	size_t i, n = 0;

	for (i = 0; i < *len; i++, n++) {
		s[n] = s[i] == '+' ? ' ' : s[i];
		if (s[i] != '%')
			continue;
		if (*len - i < 3 || s[i + 1] == '\0' || s[i + 2] == '\0' ||
		    (hi = strchr(digits, s[i + 1])) == NULL ||
		    (lo = strchr(digits, s[i + 2])) == NULL)
			return -1;
		s[n] = (char)((hi - digits) % 16 << 4 | (lo - digits) % 16);
		i += 2;
	}
	*len = n;
	return 0;
}

const char *
list_parse(struct list *l, const void *xml, size_t len)
{
	struct parsing p = { .list = l };
	uint16_t i;

	memset(l, 0, sizeof(*l));
	if ((p.xml = XML_ParserCreate("UTF-8")) == NULL)
		return no_memory;
	XML_SetUserData(p.xml, &p);
	XML_SetStartDoctypeDeclHandler(p.xml, on_doctype);
	XML_SetElementHandler(p.xml, on_begin, on_end);
	XML_SetCharacterDataHandler(p.xml, on_text);
	/* In one piece: none is looked at twice. */
	if (XML_Parse(p.xml, xml, (int)len, 1) != XML_STATUS_OK &&
	    p.wrong == NULL)
		p.wrong = "the answer is no XML";
	XML_ParserFree(p.xml);
	if (p.wrong == NULL && !(p.seen & 1U << E_MORE))
		p.wrong = "the listing does not say whether it is all";
	for (i = 0; i < l->page.n && p.escaped && p.wrong == NULL; i++)
		if (unescape(l->text[i], &l->page.keys[i].len) == -1)
			p.wrong = "a key of the listing is malformed";
	return p.wrong;
}

void
list_end(struct list *l)
{
	size_t i;

	for (i = 0; i < FETCH_LIST_KEYS; i++)
		free(l->text[i]);
	memset(l, 0, sizeof(*l));
}

/* ---- the request --------------------------------------------------------- */

struct listing {
	struct request req;
	struct http *http;
};

static void
listing_answer(struct listing *l, const struct fetch_url_res *res, int fd)
{
	if (l->req.peer == NULL ||
	    fetch_url_res_send(l->req.peer, l->req.id, res, fd) == -1) {
		if (l->req.peer != NULL)
			op_lost("list");
		if (fd != -1)
			close(fd);
	}
	request_del(&l->req);
	free(l);
}

static void
listing_cancel(struct request *req)
{
	static const struct fetch_url_res res = { .what = "cancelled" };
	struct listing *l = (struct listing *)req;

	http_cancel(l->http);
	listing_answer(l, &res, -1);
}

/* The memfd of the page; -1, and why. */
static int
page_fd(const struct http_result *r, const char **why)
{
	struct list *l;
	uint8_t *data;
	size_t len;
	int fd = -1;

	*why = no_memory;
	if ((l = malloc(sizeof(*l))) == NULL)
		return -1;
	if ((*why = list_parse(l, r->body, r->body_len)) == NULL) {
		*why = "the keys of the listing do not ascend";
		if ((data = fetch_list_encode(&l->page, &len)) != NULL) {
			*why = no_memory;
			fd = memfd_new("list", data, len);
			free(data);
		}
	}
	list_end(l);
	free(l);
	return fd;
}

static void
listing_done(const struct http_result *r, void *arg)
{
	struct fetch_url_res res = { .status = (uint16_t)r->status,
		.dated = r->has_skew != 0,
		.skew_ms = r->skew_ms,
		.what = r->what };
	int fd = -1;

	if (r->status != 200)
		object_error(r, &res);
	else if ((fd = page_fd(r, &res.what)) != -1)
		res.what = "";
	else if (res.what == no_memory)
		res.status = 0;
	listing_answer(arg, &res, fd);
}

int
op_list(struct chan *c, uint32_t id, struct imsg *imsg, struct ibuf *body)
{
	static const struct fetch_url_res none = { .what = no_memory };
	struct http_spec spec = { 0 };
	struct listing *l;
	const char *url;
	char *copy;
	size_t len;

	(void)imsg;
	if (fetch_list_recv(body, &url, &len, &spec.total_ms) == -1)
		return -1;
	if ((l = calloc(1, sizeof(*l))) == NULL ||
	    (copy = strndup(url, len)) == NULL)
		fatal("list");
	if (request_add(&l->req, c, id, listing_cancel) == -1) {
		free(copy);
		free(l);
		return -1;
	}
	spec.method = FETCH_METHOD_GET;
	spec.url = copy;
	spec.repeat = 1;
	spec.late = spec.total_ms != 0;
	spec.max_answer = ANSWER_MAX;
	spec.done = listing_done;
	spec.arg = l;
	l->http = http_start(&spec);
	free(copy);
	if (l->http == NULL)
		listing_answer(l, &none, -1);
	return 0;
}
