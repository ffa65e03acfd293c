/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * store_xml: the answers of the object store that have a body in XML: errors
 * and ListObjectsV2.  In store.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sailapid/store.h"

#define XML_HEAD "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
#define KEYS_MAX 1000
#define XML_MAX (16 * 1024 * 1024)

static void
add(struct wbuf *w, const char *s)
{
	wbuf_bytes(w, s, strlen(s));
}

static void
add_xml(struct wbuf *w, const char *s, size_t len)
{
	char num[8];
	size_t i;

	for (i = 0; i < len; i++) {
		unsigned char c = (unsigned char)s[i];

		switch (c) {
		case '&':
			add(w, "&amp;");
			break;
		case '<':
			add(w, "&lt;");
			break;
		case '>':
			add(w, "&gt;");
			break;
		case '"':
			add(w, "&quot;");
			break;
		default:
			if (c >= ' ' && c != 0x7f) {
				wbuf_u8(w, c);
				break;
			}
			snprintf(num, sizeof(num), "&#x%X;", c);
			add(w, num);
		}
	}
}

static struct MHD_Response *
xml_response(struct wbuf *w)
{
	struct MHD_Response *res = NULL;

	if (w->error == 0)
		res = httpd_response(w->data, w->len, "application/xml");
	wbuf_free(w);
	return res;
}

struct MHD_Response *
s3_error_response(const char *code, const char *message, const char *target)
{
	struct wbuf w;

	wbuf_init(&w, 64 * 1024);
	add(&w, XML_HEAD "<Error><Code>");
	add(&w, code);
	add(&w, "</Code><Message>");
	add_xml(&w, message, strlen(message));
	add(&w, "</Message><Resource>");
	add_xml(&w, target, strcspn(target, "?"));
	add(&w, "</Resource></Error>");
	return xml_response(&w);
}

/* ---- ListObjectsV2 ------------------------------------------------------- */

struct list_param {
	const char *name;
	char *value; /* decoded; NULL: not there */
	int len;
};

enum {
	P_TYPE,
	P_PREFIX,
	P_DELIMITER,
	P_AFTER,
	P_TOKEN,
	P_KEYS,
	P_ENCODING,
	P_OWNER,
	P_MAX
};

struct listing {
	struct list_param p[P_MAX];
	struct wbuf body;
	long max, count;
	int url, truncated;
	char last[STORE_KEY_MAX]; /* where the next page begins, after it */
	size_t last_len;
};

/* NULL, or what is wrong with the query. */
static const char *
read_params(struct listing *l, const char *q)
{
	size_t len, nlen, i;
	const char *eq;

	for (; *q != '\0'; q += len + (q[len] == '&')) {
		len = strcspn(q, "&");
		eq = memchr(q, '=', len);
		nlen = eq == NULL ? len : (size_t)(eq - q);
		if (len == 0 || (nlen > 6 && strncmp(q, "X-Amz-", 6) == 0) ||
		    (nlen == 4 && strncmp(q, "x-id", 4) == 0))
			continue;
		for (i = 0; i < P_MAX; i++)
			if (strlen(l->p[i].name) == nlen &&
			    strncmp(l->p[i].name, q, nlen) == 0)
				break;
		if (i == P_MAX)
			return "a parameter of the query is not known";
		if (eq == NULL || l->p[i].value != NULL)
			return "a parameter of the query is malformed";
		if ((l->p[i].value = calloc(1, len + 1)) == NULL ||
		    (l->p[i].len = sigv4_decode(l->p[i].value, eq + 1,
			 len - nlen - 1)) == -1)
			return "a parameter of the query is malformed";
	}
	return NULL;
}

/* The token of a page is "k" and the last key in hexadecimal. */
static int
read_token(struct listing *l)
{
	const char *s = l->p[P_TOKEN].value, *digits = "0123456789abcdef";
	const char *hi, *lo;
	size_t n = (size_t)l->p[P_TOKEN].len, i;

	if (n % 2 != 1 || s[0] != 'k' || n / 2 > STORE_KEY_MAX)
		return -1;
	for (i = 1; i < n; i += 2) {
		hi = s[i] == '\0' ? NULL : strchr(digits, s[i]);
		lo = s[i + 1] == '\0' ? NULL : strchr(digits, s[i + 1]);
		if (hi == NULL || lo == NULL)
			return -1;
		l->last[l->last_len++] =
		    (char)((hi - digits) << 4 | (lo - digits));
	}
	return 0;
}

static const char *
check_params(struct listing *l)
{
	const struct list_param *p = l->p;
	char *end;

	if (p[P_TYPE].value == NULL || strcmp(p[P_TYPE].value, "2") != 0)
		return "only ListObjectsV2 is known (list-type=2)";
	l->max = KEYS_MAX;
	if (p[P_KEYS].value != NULL) {
		l->max = strtol(p[P_KEYS].value, &end, 10);
		if (*end != '\0' || end == p[P_KEYS].value || l->max < 0)
			return "max-keys is malformed";
		if (l->max > KEYS_MAX)
			l->max = KEYS_MAX;
	}
	if (p[P_ENCODING].value != NULL) {
		if (strcmp(p[P_ENCODING].value, "url") != 0)
			return "encoding-type is not url";
		l->url = 1;
	}
	if (p[P_PREFIX].len > STORE_KEY_MAX || p[P_AFTER].len > STORE_KEY_MAX)
		return "a parameter of the query is too long";
	if (p[P_TOKEN].value != NULL)
		return read_token(l) == -1
		    ? "continuation-token is not one of ours"
		    : NULL;
	if (p[P_AFTER].value != NULL) {
		memcpy(l->last, p[P_AFTER].value, (size_t)p[P_AFTER].len);
		l->last_len = (size_t)p[P_AFTER].len;
	}
	return NULL;
}

static void
add_key(struct listing *l, const char *s, size_t len)
{
	if (l->url)
		sigv4_encode(&l->body, s, len, 1);
	else
		add_xml(&l->body, s, len);
}

static void
add_object(struct listing *l, const char *key, size_t len,
    const struct stat *st)
{
	char d[SIGV4_DATE_LEN + 1], etag[64], text[160];

	add(&l->body, "<Contents><Key>");
	add_key(l, key, len);
	sigv4_date(st->st_mtim.tv_sec, d);
	snprintf(text, sizeof(text),
	    "</Key><LastModified>%.4s-%.2s-%.2sT"
	    "%.2s:%.2s:%.2s.000Z</LastModified><ETag>",
	    d, d + 4, d + 6, d + 9, d + 11, d + 13);
	add(&l->body, text);
	s3_etag(st, etag, sizeof(etag));
	add_xml(&l->body, etag, strlen(etag));
	snprintf(text, sizeof(text),
	    "</ETag><Size>%lld</Size>"
	    "<StorageClass>STANDARD</StorageClass></Contents>",
	    (long long)st->st_size);
	add(&l->body, text);
}

static int
on_key(void *arg, const char *key, size_t len, const struct stat *st)
{
	struct listing *l = arg;
	const struct list_param *d = &l->p[P_DELIMITER];
	size_t prefix = (size_t)l->p[P_PREFIX].len, common = 0;
	const char *at;

	if (d->len > 0 &&
	    (at = memmem(key + prefix, len - prefix, d->value,
		 (size_t)d->len)) != NULL)
		common = (size_t)(at - key) + (size_t)d->len;
	/* The page before ended in this common prefix: it is not told again. */
	if (common > 0 && l->last_len == common &&
	    memcmp(l->last, key, common) == 0)
		return (int)common;
	if (l->count >= l->max) {
		l->truncated = 1;
		return STORE_LIST_STOP;
	}
	l->count++;
	l->last_len = common > 0 ? common : len;
	memcpy(l->last, key, l->last_len);
	if (common == 0) {
		add_object(l, key, len, st);
		return STORE_LIST_NEXT;
	}
	add(&l->body, "<CommonPrefixes><Prefix>");
	add_key(l, key, common);
	add(&l->body, "</Prefix></CommonPrefixes>");
	return (int)common;
}

static void
add_param(struct wbuf *w, struct listing *l, int i, const char *tag)
{
	if (l->p[i].value == NULL)
		return;
	add(w, "<");
	add(w, tag);
	add(w, ">");
	if (l->url && i != P_TOKEN)
		sigv4_encode(w, l->p[i].value, (size_t)l->p[i].len, 1);
	else
		add_xml(w, l->p[i].value, (size_t)l->p[i].len);
	add(w, "</");
	add(w, tag);
	add(w, ">");
}

static void
list_body(struct wbuf *w, struct listing *l)
{
	char text[160];
	size_t i;

	add(w,
	    XML_HEAD
	    "<ListBucketResult "
	    "xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Name>");
	add_xml(w, store.bucket, strlen(store.bucket));
	add(w, "</Name>");
	if (l->p[P_PREFIX].value == NULL)
		add(w, "<Prefix></Prefix>");
	add_param(w, l, P_PREFIX, "Prefix");
	add_param(w, l, P_DELIMITER, "Delimiter");
	add_param(w, l, P_AFTER, "StartAfter");
	add_param(w, l, P_TOKEN, "ContinuationToken");
	add_param(w, l, P_ENCODING, "EncodingType");
	snprintf(text, sizeof(text),
	    "<KeyCount>%ld</KeyCount><MaxKeys>%ld"
	    "</MaxKeys><IsTruncated>%s</IsTruncated>",
	    l->count, l->max, l->truncated ? "true" : "false");
	add(w, text);
	if (l->truncated && l->count > 0) {
		add(w, "<NextContinuationToken>k");
		for (i = 0; i < l->last_len; i++) {
			snprintf(text, sizeof(text), "%02x",
			    (unsigned int)(unsigned char)l->last[i]);
			add(w, text);
		}
		add(w, "</NextContinuationToken>");
	}
	wbuf_bytes(w, l->body.data, l->body.len);
	add(w, "</ListBucketResult>");
}

enum MHD_Result
s3_list(struct s3_request *r)
{
	struct listing *l = calloc(1, sizeof(*l));
	static const char *const names[P_MAX] = { "list-type", "prefix",
		"delimiter", "start-after", "continuation-token", "max-keys",
		"encoding-type", "fetch-owner" };
	struct MHD_Response *res = NULL;
	enum MHD_Result ret;
	char after[STORE_KEY_MAX];
	const char *why;
	struct wbuf w;
	int i;

	if (l == NULL)
		return s3_errno(r, ENOMEM);
	wbuf_init(&l->body, XML_MAX);
	wbuf_init(&w, XML_MAX);
	for (i = 0; i < P_MAX; i++)
		l->p[i].name = names[i];
	if ((why = read_params(l, r->query)) != NULL ||
	    (why = check_params(l)) != NULL)
		ret = s3_refuse(r, 400, "InvalidArgument", why);
	else {
		memcpy(after, l->last, l->last_len);
		if (store_list(store.root,
			l->p[P_PREFIX].value == NULL ? ""
						     : l->p[P_PREFIX].value,
			(size_t)l->p[P_PREFIX].len, after, l->last_len, on_key,
			l) == -1)
			ret = s3_errno(r, errno);
		else {
			if (l->body.error == 0)
				list_body(&w, l);
			else
				w.error = l->body.error;
			res = xml_response(&w);
			ret = s3_reply(r, 200, res);
		}
	}
	for (i = 0; i < P_MAX; i++)
		free(l->p[i].value);
	wbuf_free(&l->body);
	free(l);
	return ret;
}
