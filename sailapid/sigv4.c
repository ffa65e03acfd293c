/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * sigv4: the canonical request, the string to sign, the signature and the
 * presigned URL of AWS Signature Version 4.  In sign and store.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "lib/hash.h"
#include "sailapid/sigv4.h"

#define ALGORITHM "AWS4-HMAC-SHA256"

static void
add(struct wbuf *w, const char *s)
{
	wbuf_bytes(w, s, strlen(s));
}

/* ---- dates: libc's would look for time zones, which a chroot has not ----- */

void
sigv4_date(int64_t t, char out[SIGV4_DATE_LEN + 1])
{
	int64_t days = t / 86400, rest = t % 86400, era, doe, yoe, doy, mp;
	int64_t y, m, d;

	if (rest < 0) {
		rest += 86400;
		days--;
	}
	/* Days since 1 March of the year 0, in eras of 400 years. */
	days += 719468;
	era = days / 146097;
	doe = days - era * 146097;
	yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
	doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
	mp = (5 * doy + 2) / 153;
	d = doy - (153 * mp + 2) / 5 + 1;
	m = mp < 10 ? mp + 3 : mp - 9;
	y = yoe + era * 400 + (m <= 2);
	snprintf(out, SIGV4_DATE_LEN + 1, "%04u%02u%02uT%02u%02u%02uZ",
	    (unsigned int)(y % 10000), (unsigned int)(m % 100),
	    (unsigned int)(d % 100), (unsigned int)(rest / 3600 % 100),
	    (unsigned int)(rest / 60 % 60), (unsigned int)(rest % 60));
}

static int64_t
digits(const char *s, size_t n)
{
	int64_t v = 0;

	while (n-- > 0) {
		if (*s < '0' || *s > '9')
			return -1;
		v = v * 10 + (*s++ - '0');
	}
	return v;
}

int
sigv4_date_parse(const char *s, size_t len, int64_t *t)
{
	int64_t y, m, d, h, mi, se, era, yoe, doy, doe;
	char again[SIGV4_DATE_LEN + 1];

	if (len != SIGV4_DATE_LEN || s[8] != 'T' || s[15] != 'Z')
		return -1;
	y = digits(s, 4);
	m = digits(s + 4, 2);
	d = digits(s + 6, 2);
	h = digits(s + 9, 2);
	mi = digits(s + 11, 2);
	se = digits(s + 13, 2);
	if (y < 1970 || m < 1 || m > 12 || d < 1 || d > 31 || h < 0 || h > 23 ||
	    mi < 0 || mi > 59 || se < 0 || se > 59)
		return -1;
	y -= m <= 2;
	era = y / 400;
	yoe = y - era * 400;
	doy = (153 * (m > 2 ? m - 3 : m + 9) + 2) / 5 + d - 1;
	doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
	*t = (era * 146097 + doe - 719468) * 86400 + h * 3600 + mi * 60 + se;
	/* The 31st of April is not a day. */
	sigv4_date(*t, again);
	return memcmp(again, s, SIGV4_DATE_LEN) == 0 ? 0 : -1;
}

/* ---- percent encoding ---------------------------------------------------- */

static int
is_plain(unsigned char c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
	    (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.' ||
	    c == '~';
}

void
sigv4_encode(struct wbuf *w, const void *s, size_t len, int slash)
{
	static const char hex[] = "0123456789ABCDEF";
	const unsigned char *p = s;
	char esc[3] = { '%', 0, 0 };
	size_t i;

	for (i = 0; i < len; i++) {
		if (is_plain(p[i]) || (slash && p[i] == '/')) {
			wbuf_u8(w, p[i]);
			continue;
		}
		esc[1] = hex[p[i] >> 4];
		esc[2] = hex[p[i] & 15];
		wbuf_bytes(w, esc, 3);
	}
}

static int
hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

int
sigv4_decode(char *out, const char *s, size_t len)
{
	size_t i, n = 0;
	int hi, lo;

	for (i = 0; i < len; i++) {
		if (s[i] != '%') {
			out[n++] = s[i];
			continue;
		}
		if (len - i < 3 || (hi = hex_value(s[i + 1])) == -1 ||
		    (lo = hex_value(s[i + 2])) == -1) {
			errno = EBADMSG;
			return -1;
		}
		out[n++] = (char)(hi << 4 | lo);
		i += 2;
	}
	return (int)n;
}

/* Decodes and encodes again: the client may have escaped more or less. */
static void
add_recoded(struct wbuf *w, const char *s, size_t len, int slash)
{
	char *tmp;
	int n;

	if (w->error != 0)
		return;
	if ((tmp = malloc(len + 1)) == NULL) {
		w->error = ENOMEM;
		return;
	}
	if ((n = sigv4_decode(tmp, s, len)) == -1)
		w->error = EBADMSG;
	else
		sigv4_encode(w, tmp, (size_t)n, slash);
	free(tmp);
}

/* ---- the canonical request ----------------------------------------------- */

struct param {
	size_t name, name_len, value, value_len; /* in the scratch buffer */
};

static const uint8_t *param_base; /* of qsort's comparison, one thread */

static int
part_cmp(size_t a, size_t alen, size_t b, size_t blen)
{
	size_t n = alen < blen ? alen : blen;
	int c = n == 0 ? 0 : memcmp(param_base + a, param_base + b, n);

	if (c != 0)
		return c;
	return alen < blen ? -1 : alen > blen;
}

static int
param_cmp(const void *va, const void *vb)
{
	const struct param *a = va, *b = vb;
	int c = part_cmp(a->name, a->name_len, b->name, b->name_len);

	if (c != 0)
		return c;
	return part_cmp(a->value, a->value_len, b->value, b->value_len);
}

static int
param_is(const struct wbuf *scratch, const struct param *p, const char *name)
{
	return p->name_len == strlen(name) &&
	    memcmp(scratch->data + p->name, name, p->name_len) == 0;
}

/* One "name=value" of a raw query, encoded anew, into scratch. */
static void
param_read(struct wbuf *scratch, struct param *p, const char *s, size_t len)
{
	const char *eq = memchr(s, '=', len);
	size_t name_len = eq == NULL ? len : (size_t)(eq - s);

	p->name = scratch->len;
	add_recoded(scratch, s, name_len, 0);
	p->name_len = scratch->len - p->name;
	p->value = scratch->len;
	if (eq != NULL)
		add_recoded(scratch, eq + 1, len - name_len - 1, 0);
	p->value_len = scratch->len - p->value;
}

static int
canonical_query(struct wbuf *w, const char *query)
{
	struct param params[SIGV4_QUERY_MAX];
	struct wbuf scratch;
	size_t i, n = 0, len;
	int error, first = 1;

	wbuf_init(&scratch, SIGV4_CANONICAL_MAX);
	for (; query != NULL && *query != '\0'; query += len) {
		if (*query == '&') {
			len = 1;
			continue;
		}
		len = strcspn(query, "&");
		if (n == SIGV4_QUERY_MAX) {
			wbuf_free(&scratch);
			errno = E2BIG;
			return -1;
		}
		param_read(&scratch, &params[n], query, len);
		if (scratch.error == 0 &&
		    !param_is(&scratch, &params[n], "X-Amz-Signature"))
			n++;
	}
	if ((error = scratch.error) == 0) {
		param_base = scratch.data;
		if (n > 1)
			qsort(params, n, sizeof(params[0]), param_cmp);
		for (i = 0; i < n; i++, first = 0) {
			if (!first)
				add(w, "&");
			wbuf_bytes(w, scratch.data + params[i].name,
			    params[i].name_len);
			add(w, "=");
			wbuf_bytes(w, scratch.data + params[i].value,
			    params[i].value_len);
		}
	}
	wbuf_free(&scratch);
	if (error == 0)
		return 0;
	errno = error;
	return -1;
}

/* Spaces around are cut, and several inside are one. */
static void
add_value(struct wbuf *w, const char *v)
{
	int space = 0, any = 0;

	for (; *v != '\0'; v++) {
		if (*v == ' ' || *v == '\t') {
			space = any;
			continue;
		}
		if (space)
			add(w, " ");
		space = 0;
		any = 1;
		wbuf_u8(w, (uint8_t)*v);
	}
}

/* The one header of that name; NULL with ENOENT or EEXIST. */
static const char *
header_one(const struct sigv4_request *r, const char *name, size_t len)
{
	const char *value = NULL;
	size_t i;

	for (i = 0; i < r->nheaders; i++) {
		if (strlen(r->headers[i].name) != len ||
		    strncasecmp(r->headers[i].name, name, len) != 0)
			continue;
		if (value != NULL) {
			errno = EEXIST;
			return NULL;
		}
		value = r->headers[i].value;
	}
	if (value == NULL)
		errno = ENOENT;
	return value;
}

/* One that is signed not to be there. */
static int
header_absent(const struct sigv4_request *r, const char *name, size_t len)
{
	size_t i;

	for (i = 0; i < r->nheaders; i++)
		if (r->headers[i].value == NULL &&
		    strlen(r->headers[i].name) == len &&
		    strncasecmp(r->headers[i].name, name, len) == 0)
			return 1;
	return 0;
}

static int
canonical_headers(struct wbuf *w, const struct sigv4_request *r,
    const char *names)
{
	const char *value;
	size_t len;

	for (; *names != '\0'; names += len) {
		len = strcspn(names, ";");
		if (!header_absent(r, names, len)) {
			if ((value = header_one(r, names, len)) == NULL)
				return -1;
			wbuf_bytes(w, names, len);
			add(w, ":");
			add_value(w, value);
			add(w, "\n");
		}
		if (names[len] == ';')
			len++;
	}
	return 0;
}

int
sigv4_canonical(struct wbuf *w, const struct sigv4_request *r,
    const char *signed_names, const char *payload)
{
	size_t path_len = strcspn(r->target, "?");
	const char *query =
	    r->target[path_len] == '?' ? r->target + path_len + 1 : NULL;

	add(w, r->method);
	add(w, "\n");
	add_recoded(w, r->target, path_len, 1);
	add(w, "\n");
	if (canonical_query(w, query) == -1)
		return -1;
	add(w, "\n");
	if (canonical_headers(w, r, signed_names) == -1)
		return -1;
	add(w, "\n");
	add(w, signed_names);
	add(w, "\n");
	add(w, payload);
	if (w->error == 0)
		return 0;
	errno = w->error;
	return -1;
}

static void
signing_key(const struct sigv4_keys *k, const char *date, struct hash *out)
{
	struct wbuf w;

	wbuf_init(&w, 256);
	add(&w, "AWS4");
	add(&w, k->secret);
	hash_hmac(out, w.data, w.len, date, 8);
	hash_hmac(out, out->b, HASH_LEN, k->region, strlen(k->region));
	hash_hmac(out, out->b, HASH_LEN, "s3", 2);
	hash_hmac(out, out->b, HASH_LEN, "aws4_request", 12);
	if (w.data != NULL)
		explicit_bzero(w.data, w.len);
	wbuf_free(&w);
}

int
sigv4_signature(const struct sigv4_keys *k, const char *date,
    const void *canonical, size_t len, char out[SIGV4_SIGNATURE_LEN + 1])
{
	char hex[HASH_HEX_LEN + 1];
	struct hash h, key;
	struct wbuf w;
	int error;

	hash_bytes(&h, canonical, len);
	hash_hex(&h, hex);
	wbuf_init(&w, 1024);
	add(&w, ALGORITHM "\n");
	wbuf_bytes(&w, date, SIGV4_DATE_LEN);
	add(&w, "\n");
	wbuf_bytes(&w, date, 8);
	add(&w, "/");
	add(&w, k->region);
	add(&w, "/s3/aws4_request\n");
	add(&w, hex);
	if ((error = w.error) == 0) {
		signing_key(k, date, &key);
		hash_hmac(&h, key.b, HASH_LEN, w.data, w.len);
		hash_hex(&h, out);
		explicit_bzero(&key, sizeof(key));
	}
	wbuf_free(&w);
	if (error == 0)
		return 0;
	errno = error;
	return -1;
}

/* ---- presigned URLs ------------------------------------------------------ */

static int
header_cmp(const void *a, const void *b)
{
	const struct sigv4_header *x = a, *y = b;

	return strcasecmp(x->name, y->name);
}

static int
header_ok(const struct sigv4_header *h)
{
	const unsigned char *p;

	if (*h->name == '\0')
		return 0;
	for (p = (const unsigned char *)h->name; *p != '\0'; p++)
		if (!is_plain(*p))
			return 0;
	if (h->value == NULL)
		return 1;
	for (p = (const unsigned char *)h->value; *p != '\0'; p++)
		if (*p < ' ' || *p > '~')
			return 0;
	return 1;
}

/* Adds host, sorts, and writes "a;b;c" in lower case. */
static int
signed_names(struct sigv4_header *h, size_t n, char *out, size_t size)
{
	size_t i;
	char *p;

	qsort(h, n, sizeof(*h), header_cmp);
	*out = '\0';
	for (i = 0; i < n; i++) {
		if (!header_ok(&h[i]) ||
		    (i > 0 && strcasecmp(h[i - 1].name, h[i].name) == 0) ||
		    (i > 0 && strlcat(out, ";", size) >= size) ||
		    strlcat(out, h[i].name, size) >= size) {
			errno = EINVAL;
			return -1;
		}
	}
	for (p = out; *p != '\0'; p++)
		if (*p >= 'A' && *p <= 'Z')
			*p = (char)(*p - 'A' + 'a');
	return 0;
}

/* Path and query of the URL but the signature, into target. */
static void
presign_target(struct wbuf *target, const struct sigv4_keys *k,
    const char *path, const char *query, const char *date, uint32_t life_s,
    const char *names)
{
	char expires[16];

	sigv4_encode(target, path, strlen(path), 1);
	add(target, "?");
	add(target, query);
	add(target, *query == '\0' ? "" : "&");
	add(target, "X-Amz-Algorithm=" ALGORITHM "&X-Amz-Credential=");
	sigv4_encode(target, k->access_key, strlen(k->access_key), 0);
	add(target, "%2F");
	wbuf_bytes(target, date, 8);
	add(target, "%2F");
	sigv4_encode(target, k->region, strlen(k->region), 0);
	add(target, "%2Fs3%2Faws4_request&X-Amz-Date=");
	add(target, date);
	snprintf(expires, sizeof(expires), "%u", life_s);
	add(target, "&X-Amz-Expires=");
	add(target, expires);
	add(target, "&X-Amz-SignedHeaders=");
	sigv4_encode(target, names, strlen(names), 0);
	if (k->token == NULL || *k->token == '\0')
		return;
	add(target, "&X-Amz-Security-Token=");
	sigv4_encode(target, k->token, strlen(k->token), 0);
}

/* Nothing in it ends it, or the URL. */
static int
query_ok(const char *s)
{
	for (; *s != '\0'; s++)
		if (!is_plain((unsigned char)*s) && strchr("%=&", *s) == NULL)
			return 0;
	return 1;
}

int
sigv4_presign(struct wbuf *out, const struct sigv4_keys *k, const char *method,
    const char *base, const char *path, const struct sigv4_header *headers,
    size_t nheaders, int64_t now, uint32_t life_s)
{
	return sigv4_presign_query(out, k, method, base, path, "", headers,
	    nheaders, now, life_s);
}

int
sigv4_presign_query(struct wbuf *out, const struct sigv4_keys *k,
    const char *method, const char *base, const char *path, const char *query,
    const struct sigv4_header *headers, size_t nheaders, int64_t now,
    uint32_t life_s)
{
	struct sigv4_header h[SIGV4_HEADERS_MAX];
	struct sigv4_request r = { method, NULL, h, nheaders + 1 };
	char date[SIGV4_DATE_LEN + 1], sig[SIGV4_SIGNATURE_LEN + 1];
	char names[1024];
	const char *host = strstr(base, "://"), *payload = "UNSIGNED-PAYLOAD";
	struct wbuf target, canon;
	size_t i;
	int ret = -1;

	if (nheaders >= SIGV4_HEADERS_MAX || host == NULL ||
	    strchr(host + 3, '/') != NULL || *path != '/' || !query_ok(query) ||
	    life_s < 1 || life_s > SIGV4_EXPIRES_MAX) {
		errno = EINVAL;
		return -1;
	}
	wbuf_init(&target, SIGV4_CANONICAL_MAX);
	wbuf_init(&canon, SIGV4_CANONICAL_MAX);
	h[0].name = "host";
	h[0].value = host + 3;
	for (i = 0; i < nheaders; i++) {
		h[i + 1] = headers[i];
		if (strcasecmp(headers[i].name, "x-amz-content-sha256") == 0)
			payload = headers[i].value;
	}
	if (signed_names(h, nheaders + 1, names, sizeof(names)) == -1)
		goto out;
	sigv4_date(now, date);
	presign_target(&target, k, path, query, date, life_s, names);
	wbuf_u8(&target, '\0');
	if (target.error != 0) {
		errno = target.error;
		goto out;
	}
	r.target = (const char *)target.data;
	if (sigv4_canonical(&canon, &r, names, payload) == -1 ||
	    sigv4_signature(k, date, canon.data, canon.len, sig) == -1)
		goto out;
	add(out, base);
	wbuf_bytes(out, target.data, target.len - 1);
	add(out, "&X-Amz-Signature=");
	add(out, sig);
	if ((errno = out->error) == 0)
		ret = 0;

out:
	wbuf_free(&canon);
	wbuf_free(&target);
	return ret;
}
