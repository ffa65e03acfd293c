/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * sign: the role of sailapid(8) that knows the secret of the object store, and
 * makes signed URLs for meta.  It has no network and no files.
 *
 * What the server does with S3 is in two processes: who has the secret talks to
 * nobody but meta, and whom the store talks to has no secret.  Here and in
 * sigv4.c is the signing of every request; sailvol-fetch sends them, object.c
 * (looks at, reads, deletes and makes one object) and list.c (a page of the
 * bucket).  In between meta says what is asked (meta_ask.c), of whom the store
 * is (meta_store.c), of objects that may be lost (meta_check.c), and of all
 * objects (meta_survey.c).  store_*.c is the other side, the embedded store.
 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "lib/hash.h"
#include "lib/log.h"
#include "sailapid/roles.h"
#include "sailapid/sailapid_imsg.h"
#include "sailapid/sigv4.h"

static char access_key[S3_ACCESS_KEY_MAX + 1], secret[S3_SECRET_MAX + 1];
static char token[S3_TOKEN_MAX + 1], region[S3_REGION_MAX + 1];
static char bucket[S3_BUCKET_MAX + 1]; /* "": the host names it */
static int have_config;

/* A terminated copy; -1 when it does not fit or has a NUL. */
static int
copy_str(char *to, size_t size, struct api_str s)
{
	if (s.len >= size || (s.len > 0 && memchr(s.p, '\0', s.len) != NULL))
		return -1;
	memcpy(to, s.p, s.len);
	to[s.len] = '\0';
	return 0;
}

static int
on_config(struct chan *c, uint32_t id, struct imsg *imsg, struct ibuf *body)
{
	struct s3_config conf;

	(void)c;
	(void)id;
	(void)imsg;
	if (s3_config_recv(body, &conf) == -1 ||
	    copy_str(access_key, sizeof(access_key), conf.access_key) == -1 ||
	    copy_str(secret, sizeof(secret), conf.secret) == -1 ||
	    copy_str(region, sizeof(region), conf.region) == -1 ||
	    copy_str(bucket, sizeof(bucket), conf.bucket) == -1 ||
	    copy_str(token, sizeof(token), conf.token) == -1)
		return -1;
	have_config = 1;
	return 0;
}

static int
configured(void)
{
	return have_config;
}

/* Cuts the lines Name:value in place (without a value: not to be sent); the number of headers, or -1. */
static int
split_headers(char *text, struct sigv4_header *h, int max)
{
	char *end, *colon;
	int n = 0;

	for (; *text != '\0'; text = end + 1) {
		if ((end = strchr(text, '\n')) == NULL ||
		    (colon = memchr(text, ':', (size_t)(end - text))) == NULL ||
		    n == max)
			return -1;
		*end = *colon = '\0';
		h[n].name = text;
		h[n].value = colon[1] == '\0' ? NULL : colon + 1;
		n++;
	}
	return n;
}

/* Of the bucket itself nothing is signed but that. */
static int
is_list(uint8_t method, const char *query)
{
	static const char first[] = "list-type=2&";

	return method == API_GET &&
	    strncmp(query, first, sizeof(first) - 1) == 0;
}

static int
sign_one(struct wbuf *out, const struct sign_url *u)
{
	static const char *const methods[] = { "", "GET", "PUT", "POST",
		"DELETE", "HEAD" };
	struct sigv4_keys keys = { access_key, secret, region, token };
	struct sigv4_header h[SIGV4_HEADERS_MAX];
	char base[API_HOST_MAX + 32], key[SIGN_KEY_MAX + 1], headers[4100];
	char path[SIGN_KEY_MAX + 80], query[SIGN_QUERY_MAX + 1];
	int n, n_path;

	if (copy_str(base, sizeof(base), u->base) == -1 ||
	    copy_str(key, sizeof(key), u->key) == -1 ||
	    copy_str(query, sizeof(query), u->query) == -1 ||
	    (*key == '\0') != (*query != '\0') ||
	    (*query != '\0' && !is_list(u->method, query)) ||
	    copy_str(headers, sizeof(headers), u->headers) == -1 ||
	    (n = split_headers(headers, h, SIGV4_HEADERS_MAX - 1)) == -1)
		return -1;
	n_path =
	    snprintf(path, sizeof(path), "%s%s%s%s", *bucket == '\0' ? "" : "/",
		bucket, *key == '\0' && *bucket != '\0' ? "" : "/", key);
	if (n_path < 0 || (size_t)n_path >= sizeof(path))
		return -1;
	return sigv4_presign_query(out, &keys, methods[u->method], base, path,
	    query, h, (size_t)n, (int64_t)time(NULL) + u->offset_s, u->life_s);
}

static int
on_urls(struct chan *c, uint32_t id, struct imsg *imsg, struct ibuf *body)
{
	struct sign_url urls[SIGN_URLS_MAX];
	struct api_str out[SIGN_URLS_MAX];
	size_t start[SIGN_URLS_MAX + 1], before;
	struct wbuf w;
	uint16_t n = SIGN_URLS_MAX, i;

	(void)imsg;
	if (sign_urls_recv(body, urls, &n) == -1)
		return -1;
	wbuf_init(&w, PROC_MAX_BODY - 2 - 2 * SIGN_URLS_MAX);
	for (i = 0; i < n; i++) {
		start[i] = before = w.len;
		if (sign_one(&w, &urls[i]) == 0)
			continue;
		log_debug("url %u of %u cannot be signed", i + 1, n);
		w.len = before;
		w.error = 0;
	}
	start[n] = w.len;
	for (i = 0; i < n; i++) {
		out[i].len = start[i + 1] - start[i];
		out[i].p =
		    out[i].len > 0 ? (const char *)w.data + start[i] : "";
	}
	if (signed_urls_send(c, id, out, n) == -1)
		fatal("answer to meta");
	wbuf_free(&w);
	return 0;
}

static int
prepare(void)
{
	return 0;
}

static const struct msg_rule rules[] = {
	{ IMSG_PARENT_SIGN_CONFIG, ROLE_PARENT, CHAN_NOFD, 10,
	    10 + S3_ACCESS_KEY_MAX + S3_SECRET_MAX + S3_TOKEN_MAX +
		S3_REGION_MAX + S3_BUCKET_MAX,
	    on_config, "config" },
	{ IMSG_META_SIGN_URLS, ROLE_META, CHAN_NOFD, 2, PROC_MAX_BODY, on_urls,
	    "urls" },
};

const struct role_def sign_role = {
	.role = ROLE_SIGN,
	.rules = rules,
	.nrules = sizeof(rules) / sizeof(rules[0]),
	.configured = configured,
	.prepare = prepare,
};
