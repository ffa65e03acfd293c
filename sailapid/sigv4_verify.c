/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * sigv4_verify: decides whether a request bears a signature that is ours and
 * still holds.  In store.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <openssl/crypto.h>

#include "sailapid/sigv4.h"

#define ALGORITHM "AWS4-HMAC-SHA256"

/* What a request says of its signature, from the query or the header. */
struct claim {
	char algorithm[32], credential[256], date[SIGV4_DATE_LEN + 1];
	char names[1024], signature[SIGV4_SIGNATURE_LEN + 1], expires[16];
};

struct field {
	const char *name;
	size_t offset, size;
};
#define FIELD(name, member)                             \
	{                                               \
		name, offsetof(struct claim, member),   \
		    sizeof(((struct claim *)0)->member) \
	}

static const struct field query_fields[] = {
	FIELD("X-Amz-Algorithm", algorithm),
	FIELD("X-Amz-Credential", credential),
	FIELD("X-Amz-Date", date),
	FIELD("X-Amz-Expires", expires),
	FIELD("X-Amz-Signature", signature),
	FIELD("X-Amz-SignedHeaders", names),
};
static const struct field header_fields[] = {
	FIELD("Credential", credential),
	FIELD("Signature", signature),
	FIELD("SignedHeaders", names),
};
#define N(a) (sizeof(a) / sizeof((a)[0]))

/* 1 taken, 0 none of ours, -1 twice, too long or malformed. */
static int
claim_take(struct claim *c, const struct field *f, size_t n, const char *name,
    size_t name_len, const char *value, size_t value_len, int decode)
{
	char *to;
	int len;

	for (; n > 0; n--, f++)
		if (strlen(f->name) == name_len &&
		    memcmp(f->name, name, name_len) == 0)
			break;
	if (n == 0)
		return 0;
	to = (char *)c + f->offset;
	if (*to != '\0' || value_len == 0 || value_len >= 3 * f->size)
		return -1;
	if (!decode) {
		if (value_len >= f->size)
			return -1;
		memcpy(to, value, value_len);
		to[value_len] = '\0';
		return 1;
	}
	{
		char tmp[3 * sizeof(c->names)];

		len = sigv4_decode(tmp, value, value_len);
		if (len < 1 || (size_t)len >= f->size ||
		    memchr(tmp, '\0', (size_t)len) != NULL)
			return -1;
		memcpy(to, tmp, (size_t)len);
		to[len] = '\0';
	}
	return 1;
}

/* 1 all are there, 0 none, -1 malformed. */
static int
claim_query(struct claim *c, const char *target)
{
	const char *q = strchr(target, '?'), *eq;
	size_t len, name_len, found = 0;
	int r;

	for (q = q == NULL ? "" : q + 1; *q != '\0';
	     q += len + (q[len] == '&')) {
		len = strcspn(q, "&");
		if ((eq = memchr(q, '=', len)) == NULL)
			continue;
		name_len = (size_t)(eq - q);
		r = claim_take(c, query_fields, N(query_fields), q, name_len,
		    eq + 1, len - name_len - 1, 1);
		if (r == -1)
			return -1;
		found += (size_t)r;
	}
	if (found == 0)
		return 0;
	return found == N(query_fields) ? 1 : -1;
}

static int
claim_header(struct claim *c, const char *v)
{
	const char *eq;
	size_t len = strcspn(v, " "), name_len, found = 0;

	if (len >= sizeof(c->algorithm))
		return -1;
	memcpy(c->algorithm, v, len);
	c->algorithm[len] = '\0';
	for (v += len; *v != '\0'; v += len) {
		if (*v == ' ' || *v == ',') {
			len = 1;
			continue;
		}
		len = strcspn(v, ", ");
		if ((eq = memchr(v, '=', len)) == NULL)
			return -1;
		name_len = (size_t)(eq - v);
		if (claim_take(c, header_fields, N(header_fields), v, name_len,
			eq + 1, len - name_len - 1, 0) != 1)
			return -1;
		found++;
	}
	return found == N(header_fields) ? 1 : -1;
}

/* How often the header is there; its last value in *value. */
static int
header_get(const struct sigv4_request *r, const char *name, const char **value)
{
	size_t i;
	int n = 0;

	for (i = 0; i < r->nheaders; i++)
		if (strcasecmp(r->headers[i].name, name) == 0) {
			*value = r->headers[i].value;
			n++;
		}
	return n;
}

/* Lower case, ascending, none empty or twice; host among them. */
static int
names_ok(const char *names)
{
	const char *prev = NULL;
	size_t len, prev_len = 0, n;
	int host = 0, c;

	for (;; names += len + 1) {
		len = strcspn(names, ";");
		if (len == 0 ||
		    strcspn(names, "ABCDEFGHIJKLMNOPQRSTUVWXYZ \t\r\n:") < len)
			return 0;
		if (prev != NULL) {
			n = len < prev_len ? len : prev_len;
			c = memcmp(prev, names, n);
			if (c > 0 || (c == 0 && prev_len >= len))
				return 0;
		}
		if (len == 4 && memcmp(names, "host", 4) == 0)
			host = 1;
		prev = names;
		prev_len = len;
		if (names[len] == '\0')
			return host;
	}
}

static int
names_has(const char *names, const char *name)
{
	size_t len, want = strlen(name);

	for (;; names += len + 1) {
		len = strcspn(names, ";");
		if (len == want && memcmp(names, name, len) == 0)
			return 1;
		if (names[len] == '\0')
			return 0;
	}
}

static enum sigv4_verdict
verdict(struct sigv4_result *res, enum sigv4_verdict v, const char *why)
{
	res->why = why;
	return v;
}

/* "KEY/20130524/us-east-1/s3/aws4_request" */
static enum sigv4_verdict
check_credential(const struct claim *c, const struct sigv4_keys *k,
    struct sigv4_result *res)
{
	const char *p = strchr(c->credential, '/');
	size_t key_len = p == NULL ? 0 : (size_t)(p - c->credential);
	size_t region_len = strlen(k->region);

	if (p == NULL)
		return verdict(res, SIGV4_MALFORMED, "malformed credential");
	if (key_len != strlen(k->access_key) ||
	    memcmp(c->credential, k->access_key, key_len) != 0)
		return verdict(res, SIGV4_KEY, "no such access key");
	p++;
	if (strncmp(p, c->date, 8) != 0 || p[8] != '/')
		return verdict(res, SIGV4_MALFORMED,
		    "the credential's date is not that of the request");
	p += 9;
	if (strncmp(p, k->region, region_len) != 0 ||
	    strcmp(p + region_len, "/s3/aws4_request") != 0)
		return verdict(res, SIGV4_MALFORMED,
		    "the credential's region or service is wrong");
	return SIGV4_OK;
}

static enum sigv4_verdict
check_time(const struct claim *c, int in_query, int64_t now,
    struct sigv4_result *res)
{
	int64_t t, life = 0;
	const char *p;

	if (sigv4_date_parse(c->date, strlen(c->date), &t) == -1)
		return verdict(res, SIGV4_MALFORMED, "malformed date");
	if (t > now + SIGV4_SKEW_S)
		return verdict(res, SIGV4_SKEWED, "signed in the future");
	if (!in_query) {
		if (t < now - SIGV4_SKEW_S)
			return verdict(res, SIGV4_SKEWED,
			    "signed more than 15 minutes ago");
		return SIGV4_OK;
	}
	for (p = c->expires; *p != '\0'; p++) {
		if (*p < '0' || *p > '9' || p - c->expires > 7)
			return verdict(res, SIGV4_MALFORMED,
			    "malformed X-Amz-Expires");
		life = life * 10 + (*p - '0');
	}
	if (life < 1 || life > SIGV4_EXPIRES_MAX)
		return verdict(res, SIGV4_MALFORMED,
		    "X-Amz-Expires must be 1 to 604800");
	if (now > t + life)
		return verdict(res, SIGV4_EXPIRED, "Request has expired");
	return SIGV4_OK;
}

/* The last line of the canonical request. */
static enum sigv4_verdict
find_payload(const struct sigv4_request *r, const struct claim *c,
    struct sigv4_result *res)
{
	const char *v = "";
	int n = header_get(r, "x-amz-content-sha256", &v);

	if (n > 1)
		return verdict(res, SIGV4_HEADER,
		    "x-amz-content-sha256 is there twice");
	if (res->in_query && !names_has(c->names, "x-amz-content-sha256"))
		return SIGV4_OK;
	if (n == 0)
		return verdict(res, SIGV4_HEADER,
		    "x-amz-content-sha256 is missing");
	if (strlcpy(res->payload, v, sizeof(res->payload)) >=
		sizeof(res->payload) ||
	    *v == '\0')
		return verdict(res, SIGV4_MALFORMED,
		    "malformed x-amz-content-sha256");
	return SIGV4_OK;
}

/* Finds where the signature is, and what it claims. */
static enum sigv4_verdict
find_claim(const struct sigv4_request *r, struct claim *c,
    struct sigv4_result *res)
{
	const char *auth = NULL, *date = NULL;
	int n, q;

	n = header_get(r, "authorization", &auth);
	if ((q = claim_query(c, r->target)) == -1)
		return verdict(res, SIGV4_MALFORMED,
		    "malformed signature in the query");
	if (q == 0 && n == 0)
		return verdict(res, SIGV4_NONE, "the request is not signed");
	if (q + n > 1)
		return verdict(res, SIGV4_MALFORMED,
		    "more than one way to sign");
	res->in_query = q;
	if (q)
		return SIGV4_OK;
	if (claim_header(c, auth) != 1)
		return verdict(res, SIGV4_MALFORMED,
		    "malformed Authorization header");
	if (header_get(r, "x-amz-date", &date) != 1 ||
	    strlcpy(c->date, date, sizeof(c->date)) >= sizeof(c->date))
		return verdict(res, SIGV4_MALFORMED,
		    "one x-amz-date header is needed");
	return SIGV4_OK;
}

static enum sigv4_verdict
check_signature(const struct sigv4_request *r, const struct sigv4_keys *k,
    const struct claim *c, struct sigv4_result *res)
{
	char sig[SIGV4_SIGNATURE_LEN + 1];
	enum sigv4_verdict v = SIGV4_OK;
	struct wbuf w;

	wbuf_init(&w, SIGV4_CANONICAL_MAX);
	if (sigv4_canonical(&w, r, c->names,
		*res->payload != '\0' ? res->payload : "UNSIGNED-PAYLOAD") ==
	    -1) {
		if (errno == ENOENT)
			v = verdict(res, SIGV4_HEADER,
			    "a signed header is missing");
		else if (errno == EEXIST)
			v = verdict(res, SIGV4_HEADER,
			    "a signed header is there twice");
		else
			v = verdict(res, SIGV4_MALFORMED, "malformed request");
	} else if (sigv4_signature(k, c->date, w.data, w.len, sig) == -1)
		v = verdict(res, SIGV4_MALFORMED, "malformed request");
	else if (strlen(c->signature) != SIGV4_SIGNATURE_LEN ||
	    CRYPTO_memcmp(sig, c->signature, SIGV4_SIGNATURE_LEN) != 0)
		v = verdict(res, SIGV4_MISMATCH,
		    "the signature is not that of this request");
	wbuf_free(&w);
	return v;
}

enum sigv4_verdict
sigv4_verify(const struct sigv4_request *r, const struct sigv4_keys *k,
    int64_t now, struct sigv4_result *res)
{
	struct claim c;
	enum sigv4_verdict v;

	memset(&c, 0, sizeof(c));
	memset(res, 0, sizeof(*res));
	if ((v = find_claim(r, &c, res)) != SIGV4_OK)
		return v;
	if (strcmp(c.algorithm, ALGORITHM) != 0)
		return verdict(res, SIGV4_MALFORMED, "unknown algorithm");
	if (!names_ok(c.names))
		return verdict(res, SIGV4_MALFORMED,
		    "malformed list of signed headers");
	if ((v = check_credential(&c, k, res)) != SIGV4_OK ||
	    (v = check_time(&c, res->in_query, now, res)) != SIGV4_OK ||
	    (v = find_payload(r, &c, res)) != SIGV4_OK)
		return v;
	return check_signature(r, k, &c, res);
}
