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
#include <strings.h>
#include <sys/cdefs.h>
#include <sys/tree.h>

#include "lib/base64.h"
#include "lib/log.h"
#include "sailapid/hex.h"
#include "sailapid/meta_ask.h"

#define ASK_SIGN_N 16 /* URLs of one message */
#define ASK_WINDOW_SIGN 64
#define ASK_WINDOW_FETCH 256
#define OBJECT_KEY_LEN (2 * DB_ID_LEN + 4 + HASH_HEX_LEN)
#define HEADERS_MAX 512

enum { ASK_SIGN, ASK_FETCH, ASK_KINDS };

struct ask {
	RB_ENTRY(ask) node;
	TAILQ_ENTRY(ask) entry; /* while it waits */
	uint32_t id;
	uint8_t kind;
	struct req *req;
	size_t first, n;
	const void *who; /* NULL: waits */
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

void
ask_drop(struct req *req)
{
	struct ask *a, *next;

	if (req->pending == 0)
		return;
	for (a = RB_MIN(ask_tree, &asks.tree); a != NULL; a = next) {
		next = RB_NEXT(ask_tree, &asks.tree, a);
		if (a->req == req)
			ask_free(a);
	}
	req->pending = 0;
}

/* ---- what is asked ------------------------------------------------------- */

static void
object_key(const struct req *req, const struct hash *hash,
    char out[OBJECT_KEY_LEN + 1])
{
	char hex[HASH_HEX_LEN + 1], family[2 * DB_ID_LEN + 1];

	hash_hex(hash, hex);
	hex_encode(req->vol.family_public, DB_ID_LEN, family);
	snprintf(out, OBJECT_KEY_LEN + 1, "%s/%.2s/%s", family, hex, hex);
}

/*
 * Where a client finds the store: with an embedded one on the host that the
 * client has reached us by.  -1: its Host header is none.
 */
static int
client_base(const struct req *req, char *out, size_t size)
{
	const char *h = req->host, *end, *scheme = "http";

	/* A request of our own has no client. */
	if (h == NULL)
		return -1;
	if (asks.settings.store_port == 0)
		return strlcpy(out, asks.settings.store_url, size) < size ? 0
									  : -1;
	if (strncasecmp(asks.settings.store_url, "https:", 6) == 0)
		scheme = "https";
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
	snprintf(out, size, "%s://%.*s:%u", scheme, (int)(end - h), h,
	    asks.settings.store_port);
	return 0;
}

static int
own_base(char *out, size_t size)
{
	if (asks.settings.store_url[0] != '\0')
		return strlcpy(out, asks.settings.store_url, size) < size ? 0
									  : -1;
	snprintf(out, size, "http://127.0.0.1:%u", asks.settings.store_port);
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

static uint8_t
object_method(uint8_t use)
{
	switch (use) {
	case OBJECT_UPLOAD:
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
		object_key(a->req, &o->hash, keys[i]);
		headers[i][0] = '\0';
		if (o->use == OBJECT_UPLOAD)
			upload_headers(o, headers[i], sizeof(headers[i]));
		u[i].method = object_method(o->use);
		u[i].base = api_str(base[o->use >= OBJECT_LOOK]);
		u[i].key = api_str(keys[i]);
		u[i].headers = api_str(headers[i]);
		u[i].life_s = asks.settings.url_life_s;
	}
	return asks.backend.sign(a->id, u, (uint16_t)a->n);
}

static void *
send_fetch(const struct ask *a)
{
	const struct object_url *o = &a->req->objects[a->first];
	static struct fetch_url u;

	memset(&u, 0, sizeof(u));
	u.method = o->use == OBJECT_LOOK ? 5 : o->use == OBJECT_DELETE ? 4 : 1;
	u.url = o->url;
	u.url_len = strlen(o->url);
	u.hash = o->hash;
	u.length = o->bytes;
	u.verify = o->use == OBJECT_VERIFY;
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
	ask_answered(a);
	return 0;
}

void
meta_fetched(uint32_t id, uint16_t status, uint8_t equal)
{
	struct ask *a = ask_find(id, ASK_FETCH);

	if (a == NULL)
		return;
	a->req->objects[a->first].status = status;
	a->req->objects[a->first].equal = equal;
	ask_answered(a);
}

void
meta_peer_lost(const void *who)
{
	struct ask *a;

	RB_FOREACH (a, ask_tree, &asks.tree) {
		if (a->who != who)
			continue;
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
