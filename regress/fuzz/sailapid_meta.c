/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * The role meta: requests with bodies of any kind, from an api that may be
 * hostile too, and hostile sign and sailvol-fetch.  0xe0 begins a request (u8
 * method, u8 key, u16 length and target, u16 length and body) that is answered
 * in the end, and never with an internal error where the others are honest.
 */
#include "regress/fuzz/role.h"
#include "sailapid/db.h"
#include "sailapid/roles.h"
#include "sailapid/sailapid_imsg.h"
#include "lib/fetch_imsg.h"

#define KEYS 4
static char secrets[KEYS][DB_SECRET_LEN + 1];
static int answered;

static void
mint(struct db *db, int i, int64_t org, const char *name, uint8_t role)
{
	struct key_new n = { .org = org, .name = name, .role = role };
	struct db_key k;

	if (db_key_mint(db, &n, secrets[i], &k) == -1)
		abort();
}

static void
configure(struct chan *parent_end)
{
	static const uint8_t public[DB_PUBLIC_LEN] = { 1 },
			     other[DB_PUBLIC_LEN] = { 2 };
	struct meta_config c = { 9000, 0, api_str("http://127.0.0.1:9000"), 900,
		60 };
	struct db *db = db_open("/" DB_FILE, 1);
	int64_t a, b;

	if (db == NULL || db_begin(db) == -1 ||
	    db_org_add(db, public, "acme", 1, &a) == -1 ||
	    db_org_add(db, other, "other", 1, &b) == -1)
		abort();
	mint(db, 0, a, "root", KEY_ADMIN);
	mint(db, 1, a, "ci", KEY_WRITE);
	mint(db, 2, a, "look", KEY_READ);
	mint(db, 3, b, "root", KEY_ADMIN);
	if (db_end(db) == -1)
		abort();
	db_close(db);
	if (meta_config_send(parent_end, &c) == -1)
		abort();
}

static void
sign(struct imsg *imsg)
{
	struct sign_url u[SIGN_URLS_MAX];
	struct api_str out[SIGN_URLS_MAX];
	uint16_t i, n = SIGN_URLS_MAX;
	struct ibuf body;

	if (imsg_get_ibuf(imsg, &body) == -1 ||
	    sign_urls_recv(&body, u, &n) == -1)
		abort();
	for (i = 0; i < n; i++)
		out[i] = api_str("http://127.0.0.1:9000/sail/object");
	(void)signed_urls_send(far_of(ROLE_SIGN)->chan, imsg_get_id(imsg), out,
	    n);
}

static void
heard(uint8_t peer, struct imsg *imsg)
{
	struct fetch_url_res res = { .status = 200, .equal = 1, .what = "" };
	struct api_response a;
	struct ibuf body;

	if (peer == ROLE_SIGN)
		sign(imsg);
	else if (peer == ROLE_FETCH &&
	    (imsg_get_type(imsg) == IMSG_FETCH_URL ||
		imsg_get_type(imsg) == IMSG_FETCH_LIST))
		(void)fetch_url_res_send(far_of(ROLE_FETCH)->chan,
		    imsg_get_id(imsg), &res, -1);
	else if (peer == ROLE_API) {
		if (imsg_get_ibuf(imsg, &body) == -1 ||
		    api_response_recv(&body, &a) == -1)
			abort();
		answered++;
		fuzz_check(nmessages > 0 || a.status != 500);
	}
}

static void
submit(struct fuzz_in *in)
{
	struct api_request r = { .method = API_GET };
	struct far *f = far_of(ROLE_API);
	char authorization[128], *target;
	uint8_t key;
	const uint8_t *p;
	size_t len;
	int fd, n, before = answered;

	r.method = (uint8_t)(API_GET + fuzz_u8(in) % API_HEAD);
	key = fuzz_u8(in);
	snprintf(authorization, sizeof(authorization), "Bearer %s",
	    secrets[key % KEYS]);
	p = fuzz_bytes(in, API_TARGET_MAX, &len);
	target = fuzz_string(p, len);
	r.target = api_str(target);
	r.host = api_str("api.example:8470");
	r.authorization = api_str(authorization);
	r.peer = api_str("127.0.0.1");
	p = fuzz_bytes(in, 65535, &len);
	fd = len > 0 ? memfd_new("body", p, len) : -1;
	if (f == NULL || api_request_send(f->chan, 77, &r, fd) == -1)
		abort();
	free(target);
	/* A thread may work on it. */
	for (n = 0; n < (nmessages > 0 ? 5 : 1000) && answered == before; n++) {
		struct timeval ms = { 0, 1000 };

		role_pump();
		if (answered == before) {
			event_loopexit(&ms);
			event_dispatch();
		}
	}
	fuzz_check(nmessages > 0 || answered > before);
}

static const struct fuzz_role fuzz_role = {
	.def = &meta_role,
	.peers = { ROLE_API, ROLE_SIGN, ROLE_FETCH },
	.configure = configure,
	.heard = heard,
	.other = submit,
};

static void
fuzz_one(const uint8_t *p, size_t len)
{
	(void)role_fuzz(p, len);
}
