/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * meta_ask: questions of requests to sign and sailvol-fetch: a bounded number
 * under way, the others wait; those of a peer that died are asked again.  In
 * meta.
 */
#include <errno.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>
#include <sys/cdefs.h>
#include <sys/tree.h>

#include "lib/api_url.h"
#include "lib/base64.h"
#include "lib/log.h"
#include "sailapid/hex.h"
#include "sailapid/meta_ask.h"

#define ASK_SIGN_N 16 /* URLs of one message */
#define ASK_WINDOW_SIGN 64
#define ASK_WINDOW_FETCH 256
#define ASK_TRIES 3 /* URLs of one object that the store refused */
#define HEADERS_MAX 2048
#define STORE_WITHIN_MS \
	5000 /* all tries of what is asked of the store itself */
#define LIST_WITHIN_MS 20000

enum { ASK_SIGN, ASK_FETCH, ASK_KINDS };

struct ask {
	RB_ENTRY(ask) node;
	TAILQ_ENTRY(ask) entry; /* while it waits */
	uint32_t id;
	uint8_t kind;
	uint8_t tries; /* of ASK_FETCH; while it has ASK_SIGN, it is old */
	struct req *req;
	size_t first, n;
	void *who; /* NULL: waits */
};
RB_HEAD(ask_tree, ask);
TAILQ_HEAD(ask_list, ask);

static struct {
	struct meta_backend backend;
	struct meta_settings settings;
	struct ask_tree tree;
	struct ask_list waiting[ASK_KINDS];
	unsigned int under_way[ASK_KINDS];
	uint32_t id;
} asks;

static int
ask_cmp(const struct ask *a, const struct ask *b)
{
	return a->id < b->id ? -1 : a->id > b->id;
}

RB_PROTOTYPE(ask_tree, ask, node, ask_cmp)
RB_GENERATE(ask_tree, ask, node, ask_cmp)

void
ask_init(const struct meta_backend *backend,
    const struct meta_settings *settings)
{
	int i;

	memset(&asks, 0, sizeof(asks));
	asks.backend = *backend;
	asks.settings = *settings;
	RB_INIT(&asks.tree);
	for (i = 0; i < ASK_KINDS; i++)
		TAILQ_INIT(&asks.waiting[i]);
}

static void
ask_free(struct ask *a)
{
	if (a->who == NULL)
		TAILQ_REMOVE(&asks.waiting[a->kind], a, entry);
	else
		asks.under_way[a->kind]--;
	RB_REMOVE(ask_tree, &asks.tree, a);
	free(a);
}

void
ask_fini(void)
{
	struct ask *a;

	while ((a = RB_MIN(ask_tree, &asks.tree)) != NULL)
		ask_free(a);
}

/*
 * What flows slowly would flow for hours, at a place that others need.  But what
 * is to be deleted either was or was not.
 */
static void
ask_cancel(const struct ask *a)
{
	if (a->kind == ASK_FETCH && a->who != NULL &&
	    a->req->objects[a->first].use != OBJECT_DELETE)
		asks.backend.cancel(a->who, a->id);
}

void
ask_drop(struct req *req)
{
	struct ask *a, *next;

	if (req->pending == 0)
		return;
	for (a = RB_MIN(ask_tree, &asks.tree); a != NULL; a = next) {
		next = RB_NEXT(ask_tree, &asks.tree, a);
		if (a->req != req)
			continue;
		ask_cancel(a);
		ask_free(a);
	}
	req->pending = 0;
}

/* ---- what is asked ------------------------------------------------------- */

void
object_key(const struct object_url *o, char out[OBJECT_KEY_LEN + 1])
{
	char hex[HASH_HEX_LEN + 1], family[2 * DB_ID_LEN + 1];

	if (o->key != NULL) {
		strlcpy(out, o->key, OBJECT_KEY_LEN + 1);
		return;
	}
	hash_hex(&o->hash, hex);
	hex_encode(o->family.public, DB_ID_LEN, family);
	snprintf(out, OBJECT_KEY_LEN + 1, "%s/%.2s/%s", family, hex, hex);
}

/* The store as this machine reaches it. */
static int
own_base(char *out, size_t size)
{
	return strlcpy(out, asks.settings.store_url, size) < size ? 0 : -1;
}

/*
 * Where a client finds the store: with an embedded one on the host that the
 * client has reached us by, and by TLS if it has a certificate.  Who comes
 * without TLS, and not through a proxy that speaks it, is on this machine.
 * -1: its Host header is none.
 */
static int
client_base(const struct req *req, char *out, size_t size)
{
	const char *h = req->host, *end;
	char host[256];

	/* A request of our own has no client. */
	if (h == NULL)
		return -1;
	if (asks.settings.store_port == 0)
		return own_base(out, size);
	if (*h == '[') {
		end = strchr(h, ']');
		if (end == NULL ||
		    strspn(h + 1, "0123456789abcdefABCDEF:.") !=
			(size_t)(end - h - 1))
			return -1;
		end++;
	} else
		end = h +
		    strspn(h,
			"abcdefghijklmnopqrstuvwxyz"
			"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_");
	if (end == h || end - h > 255 || (*end != '\0' && *end != ':'))
		return -1;
	snprintf(host, sizeof(host), "%.*s", (int)(end - h), h);
	if (asks.settings.store_tls && !req->tls && api_url_loopback(host))
		return own_base(out, size);
	snprintf(out, size, "%s://%s:%u",
	    asks.settings.store_tls ? "https" : "http", host,
	    asks.settings.store_port);
	return 0;
}

static void
upload_headers(const struct object_url *o, char *out, size_t size)
{
	char hex[HASH_HEX_LEN + 1], b64[BASE64_SIZE(HASH_LEN)];

	hash_hex(&o->hash, hex);
	base64_encode(o->hash.b, HASH_LEN, b64);
	snprintf(out, size,
	    "content-length:%u\nif-none-match:*\n"
	    "x-amz-checksum-sha256:%s\nx-amz-content-sha256:%s\n",
	    o->bytes, b64, hex);
}

/*
 * Headers that would make another object of an upload: for other readers, or for
 * nobody but who has a key of his own.  S3 refuses what is not signed of them;
 * where a store does not, their absence is signed.
 */
#define ABSENT                                               \
	"x-amz-acl:\n"                                       \
	"x-amz-copy-source:\n"                               \
	"x-amz-grant-full-control:\n"                        \
	"x-amz-grant-read:\n"                                \
	"x-amz-grant-read-acp:\n"                            \
	"x-amz-grant-write:\n"                               \
	"x-amz-grant-write-acp:\n"                           \
	"x-amz-object-lock-legal-hold:\n"                    \
	"x-amz-object-lock-mode:\n"                          \
	"x-amz-object-lock-retain-until-date:\n"             \
	"x-amz-server-side-encryption:\n"                    \
	"x-amz-server-side-encryption-aws-kms-key-id:\n"     \
	"x-amz-server-side-encryption-context:\n"            \
	"x-amz-server-side-encryption-customer-algorithm:\n" \
	"x-amz-server-side-encryption-customer-key:\n"       \
	"x-amz-server-side-encryption-customer-key-md5:\n"   \
	"x-amz-storage-class:\n"                             \
	"x-amz-tagging:\n"                                   \
	"x-amz-website-redirect-location:\n"

static void
range_header(const struct object_url *o, char *out, size_t size)
{
	snprintf(out, size, "range:bytes=%llu-%llu\n",
	    (unsigned long long)o->offset,
	    (unsigned long long)o->offset + o->length - 1);
}

static uint8_t
object_method(uint8_t use)
{
	switch (use) {
	case OBJECT_UPLOAD:
	case OBJECT_MARK:
		return API_PUT;
	case OBJECT_LOOK:
		return API_HEAD;
	case OBJECT_DELETE:
		return API_DELETE;
	default:
		return API_GET;
	}
}

static void *
send_sign(const struct ask *a)
{
	static char keys[ASK_SIGN_N][OBJECT_KEY_LEN + 1];
	static char headers[ASK_SIGN_N][HEADERS_MAX];
	struct sign_url u[ASK_SIGN_N];
	struct object_url *o;
	char base[2][768];
	size_t i;

	memset(u, 0, sizeof(u));
	if (client_base(a->req, base[0], sizeof(base[0])) == -1)
		base[0][0] = '\0';
	if (own_base(base[1], sizeof(base[1])) == -1)
		base[1][0] = '\0';
	for (i = 0; i < a->n; i++) {
		o = &a->req->objects[a->first + i];
		object_key(o, keys[i]);
		if (o->use == OBJECT_LIST) {
			keys[i][0] = '\0';
			u[i].query = api_str(o->query);
		}
		headers[i][0] = '\0';
		if (o->use == OBJECT_UPLOAD)
			upload_headers(o, headers[i], sizeof(headers[i]));
		else if (o->use == OBJECT_DOWNLOAD && o->length != 0)
			range_header(o, headers[i], sizeof(headers[i]));
		if (o->absent || (o->use == OBJECT_UPLOAD && store_absent()))
			strlcat(headers[i], ABSENT, sizeof(headers[i]));
		u[i].method = object_method(o->use);
		u[i].base = api_str(base[o->use >= OBJECT_LOOK]);
		u[i].key = api_str(keys[i]);
		u[i].headers = api_str(headers[i]);
		u[i].life_s = asks.settings.url_life_s;
		u[i].offset_s = clock_offset_s();
	}
	return asks.backend.sign(a->id, u, (uint16_t)a->n);
}

static uint8_t
fetch_method(uint8_t use)
{
	switch (use) {
	case OBJECT_LOOK:
		return FETCH_METHOD_HEAD;
	case OBJECT_DELETE:
		return FETCH_METHOD_DELETE;
	case OBJECT_MARK:
		return FETCH_METHOD_PUT;
	default:
		return FETCH_METHOD_GET;
	}
}

static void *
send_fetch(const struct ask *a)
{
	const struct object_url *o = &a->req->objects[a->first];
	static struct fetch_url u;

	memset(&u, 0, sizeof(u));
	u.method = fetch_method(o->use);
	u.url = o->url;
	u.url_len = strlen(o->url);
	u.hash = o->hash;
	u.length = o->bytes;
	u.verify = o->use == OBJECT_VERIFY;
	u.deadline_ms = o->res != NULL ? STORE_WITHIN_MS : 0;
	if ((u.list = o->use == OBJECT_LIST))
		u.deadline_ms = LIST_WITHIN_MS;
	u.parts = o->index;
	u.nparts = o->nindex;
	return asks.backend.fetch(a->id, &u);
}

static void
ask_pump(int kind)
{
	unsigned int window =
	    kind == ASK_SIGN ? ASK_WINDOW_SIGN : ASK_WINDOW_FETCH;
	struct ask *a;
	void *who;

	while (asks.under_way[kind] < window &&
	    (a = TAILQ_FIRST(&asks.waiting[kind])) != NULL) {
		who = kind == ASK_SIGN ? send_sign(a) : send_fetch(a);
		if (who == NULL)
			break;
		TAILQ_REMOVE(&asks.waiting[kind], a, entry);
		a->who = who;
		asks.under_way[kind]++;
	}
}

static int
ask_new(struct req *req, uint8_t kind, size_t first, size_t n)
{
	struct ask *a;

	if ((a = calloc(1, sizeof(*a))) == NULL)
		return -1;
	a->kind = kind;
	a->req = req;
	a->first = first;
	a->n = n;
	do
		a->id = ++asks.id;
	while (a->id == 0 || RB_FIND(ask_tree, &asks.tree, a) != NULL);
	RB_INSERT(ask_tree, &asks.tree, a);
	TAILQ_INSERT_TAIL(&asks.waiting[kind], a, entry);
	req->pending++;
	return 0;
}

int
ask_sign(struct req *req)
{
	size_t i, n;

	for (i = 0; i < req->nobjects; i += n) {
		n = req->nobjects - i;
		if (n > ASK_SIGN_N)
			n = ASK_SIGN_N;
		if (ask_new(req, ASK_SIGN, i, n) == -1)
			return -1;
	}
	ask_pump(ASK_SIGN);
	return 0;
}

int
ask_fetch(struct req *req)
{
	size_t i;

	for (i = 0; i < req->nobjects; i++) {
		if (req->objects[i].url == NULL ||
		    req->objects[i].url[0] == '\0') {
			errno = EIO;
			return -1;
		}
		req->objects[i].status = 0;
		req->objects[i].equal = 0;
		req->objects[i].said = 0;
		if (ask_new(req, ASK_FETCH, i, 1) == -1)
			return -1;
	}
	ask_pump(ASK_FETCH);
	return 0;
}

/* ---- answers ------------------------------------------------------------- */

static struct ask *
ask_find(uint32_t id, uint8_t kind)
{
	struct ask key, *a;

	key.id = id;
	a = RB_FIND(ask_tree, &asks.tree, &key);
	return a != NULL && a->kind == kind && a->who != NULL ? a : NULL;
}

static void
ask_answered(struct ask *a)
{
	struct req *req = a->req;
	uint8_t kind = a->kind;

	ask_free(a);
	/* While answers come, it is not given up. */
	req->since = monotime_now();
	if (--req->pending == 0)
		req_again(req, req->next);
	ask_pump(kind);
}

/* The same object, of the other kind. */
static void
ask_turn(struct ask *a, uint8_t kind)
{
	uint8_t old = a->kind;

	asks.under_way[old]--;
	a->kind = kind;
	a->who = NULL;
	TAILQ_INSERT_TAIL(&asks.waiting[kind], a, entry);
	a->req->since = monotime_now();
	ask_pump(ASK_SIGN);
	ask_pump(ASK_FETCH);
}

int
meta_signed(uint32_t id, const struct api_str *urls, uint16_t n)
{
	struct ask *a = ask_find(id, ASK_SIGN);
	struct object_url *o;
	size_t i;

	if (a == NULL)
		return 0;
	if (n != a->n) {
		errno = EBADMSG;
		return -1;
	}
	for (i = 0; i < n; i++) {
		o = &a->req->objects[a->first + i];
		free(o->url);
		o->url = strndup(urls[i].p, urls[i].len);
		if (o->url == NULL)
			log_warn("a signed URL");
	}
	o = &a->req->objects[a->first];
	if (a->tries > 0 && o->url != NULL && o->url[0] != '\0')
		ask_turn(a, ASK_FETCH);
	else
		ask_answered(a);
	return 0;
}

/*
 * The store says that it does not have the object: that its bucket is missing is
 * another matter, and so is what something before it says.  HEAD cannot say
 * which.
 */
static int
said_missing(const struct object_url *o, const struct fetch_url_res *res)
{
	return o->use == OBJECT_LOOK || strcmp(res->code, "NoSuchKey") == 0;
}

/* Of a pack that was read it says what each part is; of a bucket its page. */
static int
take_data(struct object_url *o, const uint8_t *data, size_t n)
{
	if (o->use == OBJECT_LIST) {
		fetch_list_free(o->page);
		o->page = fetch_list_decode(data, n);
		return o->page != NULL ? 0 : -1;
	}
	if (o->nindex > 0 && n != o->nindex)
		return -1;
	if (o->nindex > 0)
		memcpy(o->right, data, n);
	return 0;
}

void
meta_fetched(uint32_t id, const struct fetch_url_res *res, const uint8_t *data,
    size_t n)
{
	struct ask *a = ask_find(id, ASK_FETCH);
	uint16_t status = res->status;
	struct object_url *o;

	if (res->dated)
		clock_saw(res->skew_ms);
	if (a == NULL)
		return;
	o = &a->req->objects[a->first];
	store_said(o, res);
	/* It was too old, or our clock is wrong: that is known now. */
	if (status == 403 && ++a->tries < ASK_TRIES) {
		ask_turn(a, ASK_SIGN);
		return;
	}
	if (o->res != NULL)
		*o->res = *res;
	if (status == 404 && !said_missing(o, res))
		status = 0;
	/* Nor does what it has against all requests say anything of one. */
	if (status == 400 && store_code_of_all(res->code))
		status = 0;
	if (status == 200 && take_data(o, data, n) == -1)
		status = 0;
	o->status = status;
	o->equal = res->equal;
	o->said = res->length;
	ask_answered(a);
}

void
meta_peer_lost(const void *who)
{
	struct ask *a, *next;

	RB_FOREACH_SAFE (a, ask_tree, &asks.tree, next) {
		if (a->who != who)
			continue;
		if (a->kind == ASK_FETCH &&
		    a->req->objects[a->first].use == OBJECT_DELETE) {
			/* It may have been done: not twice. */
			ask_answered(a);
			continue;
		}
		a->who = NULL;
		asks.under_way[a->kind]--;
		TAILQ_INSERT_TAIL(&asks.waiting[a->kind], a, entry);
	}
	meta_peer_found();
}

void
meta_peer_found(void)
{
	ask_pump(ASK_SIGN);
	ask_pump(ASK_FETCH);
}
