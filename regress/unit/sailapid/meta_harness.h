/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * meta_harness: meta with a database in a folder of its own, and stand-ins for
 * sign, sailvol-fetch and the object store.  Included by test_meta_*.c.
 */
#ifndef REGRESS_META_HARNESS_H
#define REGRESS_META_HARNESS_H

#include <errno.h>
#include <setjmp.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "lib/delta.h"
#include "lib/log.h"
#include "sailapid/hashset.h"
#include "sailapid/hex.h"
#include "sailapid/meta.h"

#define UNUSED __attribute__((unused))

/* ---- the others ---------------------------------------------------------- */

struct asked {
	TAILQ_ENTRY(asked) entry;
	uint32_t id;
	uint16_t n;
	char *urls[SIGN_URLS_MAX]; /* of sign */
	uint8_t method;            /* of fetch */
	struct hash hash;
	uint64_t length;
	struct fetch_part *parts;
	uint32_t nparts;
	int mark;   /* the object that marks the store */
	char *list; /* the URL of a page of the bucket */
};
TAILQ_HEAD(asked_list, asked);

/* A pack that is in the store: what really lies in it. */
struct packed {
	struct hash object;
	struct fetch_part parts[8];
	uint32_t n;
};

static struct {
	char dir[32], path[64];
	struct db *db, *thread_db;
	struct work *working; /* held back, where hold_work is set */
	int hold_work;        /* once it has run; 2: before */
	unsigned int works;   /* that the thread has done */
	char admin[DB_SECRET_LEN + 1], write[DB_SECRET_LEN + 1],
	    read[DB_SECRET_LEN + 1], other[DB_SECRET_LEN + 1];
	struct asked_list sign, fetch;
	int sign_down, fetch_down; /* nobody is there */
	int hold_fetch;            /* nothing is answered; 2: no DELETE */
	unsigned int cancels;
	uint16_t store_status;  /* 0: as it is, else that answer */
	const char *store_code; /* of its errors; NULL: NoSuchKey */
	struct hashset store;   /* objects */
	uint8_t gone[1 << 20];  /* by index in it */
	struct packed packs[16];
	unsigned int npacks;
	unsigned int looks, verifies, deletes;
	/* what another server does to the database while an object is read */
	const char *overtaken_by;
	int lose_delete;     /* who is asked to delete ends */
	int fail_deletes;    /* so many of them are refused */
	unsigned int refuse; /* so many times the store says 403 */
	int64_t store_skew_ms;
	int32_t last_offset_s; /* of what was signed */
	char last_url[1024];
	/* of what comes in, from the next meta_submit on */
	const char *host; /* NULL: api.example:8470 */
	uint8_t tls, store_tls, metrics;
	/* what marks the store as that of the database */
	int marked, s3;
	unsigned int mark_asks, marks, refused;
	const char *elsewhere, *said;
	uint16_t mark_status; /* 0: as it is, else that answer to PUT */
	/* HEAD has no answer: 1 of how signatures are read, 2 of anything */
	int silent;
	uint16_t
	    absent_status;    /* 0: it reads signatures so; else that answer */
	unsigned int endless; /* questions without a deadline */
	/* Answers for a page; and the seconds between surveys. */
	void (*list)(uint32_t id, const char *url);
	uint32_t survey_s;
} h;

static void *
stand_in_sign(uint32_t id, const struct sign_url *u, uint16_t n)
{
	struct asked *a;
	uint16_t i;

	if (h.sign_down)
		return NULL;
	a = calloc(1, sizeof(*a));
	assert_non_null(a);
	a->id = id;
	a->n = n;
	for (i = 0; i < n; i++) {
		assert_true(u[i].base.len > 0);
		h.last_offset_s = u[i].offset_s;
		assert_true(
		    asprintf(&a->urls[i], "%.*s/sail/%.*s?m=%u%s%.*s",
			(int)u[i].base.len, u[i].base.p, (int)u[i].key.len,
			u[i].key.p, u[i].method, u[i].query.len > 0 ? "&" : "",
			(int)u[i].query.len, u[i].query.p) > 0);
	}
	TAILQ_INSERT_TAIL(&h.sign, a, entry);
	return &h.sign;
}

static void
other_server(const char *text)
{
	sqlite3 *other;

	assert_int_equal(sqlite3_open(h.path, &other), SQLITE_OK);
	assert_int_equal(sqlite3_exec(other, text, NULL, NULL, NULL),
	    SQLITE_OK);
	sqlite3_close(other);
}

static void *
stand_in_fetch(uint32_t id, const struct fetch_url *u)
{
	struct asked *a;

	if (h.fetch_down)
		return NULL;
	a = calloc(1, sizeof(*a));
	assert_non_null(a);
	a->id = id;
	a->method = u->method;
	a->hash = u->hash;
	a->length = u->length;
	a->nparts = u->nparts;
	a->parts = calloc((size_t)u->nparts + 1, sizeof(*a->parts));
	assert_non_null(a->parts);
	if (u->nparts > 0)
		memcpy(a->parts, u->parts, u->nparts * sizeof(*a->parts));
	a->mark = memmem(u->url, u->url_len, "/sailapid/", 10) != NULL;
	if (u->list) {
		a->list = strndup(u->url, u->url_len);
		assert_non_null(a->list);
		TAILQ_INSERT_TAIL(&h.fetch, a, entry);
		return &h.fetch;
	}
	h.mark_asks += a->mark;
	h.looks += u->method == 5;
	h.endless += u->deadline_ms == 0;
	h.verifies += u->method == 1 && !a->mark;
	h.deletes += u->method == 4;
	if (h.overtaken_by != NULL && u->method == 1 && !a->mark)
		other_server(h.overtaken_by);
	if (!a->mark)
		snprintf(h.last_url, sizeof(h.last_url), "%.*s",
		    (int)u->url_len, u->url);
	TAILQ_INSERT_TAIL(&h.fetch, a, entry);
	return &h.fetch;
}

/* Only what was asked, of whom, and has had no answer. */
static void
stand_in_cancel(void *who, uint32_t id)
{
	struct asked *a;

	assert_ptr_equal(who, &h.fetch);
	TAILQ_FOREACH (a, &h.fetch, entry)
		if (a->id == id)
			break;
	assert_non_null(a);
	assert_int_not_equal(a->method, 4);
	TAILQ_REMOVE(&h.fetch, a, entry);
	free(a->list);
	free(a->parts);
	free(a);
	h.cancels++;
}

static void
stand_in_wake(void)
{
}

static void
stand_in_work(struct work *w)
{
	if (h.hold_work != 2) {
		w->run(w);
		h.works++;
	}
	if (h.hold_work) {
		assert_null(h.working);
		h.working = w;
	} else
		w->done(w);
}

/* What was held back goes on: to its end, or with 1 what it had not run yet. */
static UNUSED void
let_work(int run)
{
	struct work *w = h.working;

	assert_non_null(w);
	h.working = NULL;
	if (run) {
		w->run(w);
		h.works++;
	}
	w->done(w);
}

static void
stand_in_work_end(void)
{
	h.working = NULL;
}

static void
stand_in_refuse(void)
{
	h.refused++;
}

/* Its object is: 0 not there, 1 good, 2 corrupt, 3 readable with somebody's key
   alone. */
static void
store_set(const struct hash *hash, uint8_t what)
{
	uint32_t i;

	assert_true(hashset_add(&h.store, hash, &i) >= 0);
	assert_true(i < sizeof(h.gone));
	h.gone[i] = what == 1 ? 0 : what == 0 ? 1 : what;
}

/* 1 when that part lies in a pack of the store. */
static uint8_t
part_right(const struct hash *object, const struct fetch_part *p)
{
	const struct packed *k;
	uint32_t i, n;

	for (i = 0; i < h.npacks; i++) {
		k = &h.packs[i];
		for (n = 0; n < k->n; n++) {
			if (hash_cmp(&k->object, object) == 0 &&
			    hash_cmp(&k->parts[n].hash, &p->hash) == 0 &&
			    k->parts[n].offset == p->offset &&
			    k->parts[n].bytes == p->bytes)
				return 1;
		}
	}
	return 0;
}

static int
store_answer(struct asked *a)
{
	struct fetch_url_res res = { .status = 404, .equal = 1 };
	const char *code = h.store_code != NULL ? h.store_code : "NoSuchKey";
	static const struct hash none;
	int nameless = hash_cmp(&a->hash, &none) == 0;
	uint8_t right[64];
	uint32_t i;

	if (hashset_has(&h.store, &a->hash) &&
	    hashset_add(&h.store, &a->hash, &i) == 0 && h.gone[i] != 1) {
		res.status = a->method == 4 ? 204 : 200;
		res.equal = h.gone[i] == 0 || a->method == 5;
		if (a->method == 4 && h.fail_deletes > 0) {
			h.fail_deletes--;
			res.status = 500;
		}
		if (h.gone[i] == 3 && a->method != 4)
			res.status = 400;
		if (a->method == 4 && res.status == 204)
			h.gone[i] = 1;
	}
	if (nameless && a->method == 5 && h.absent_status != 0)
		res.status = h.absent_status;
	if (a->mark)
		res.status = a->method == 2 ? 200 : h.marked ? 200 : 404;
	if (h.refuse > 0) {
		h.refuse--;
		res.status = 403;
	}
	if (h.store_status != 0)
		res.status = h.store_status;
	if (a->mark && a->method == 2 && h.mark_status != 0)
		res.status = h.mark_status;
	if (a->mark && a->method == 2 && res.status == 200) {
		h.marked = 1;
		h.marks++;
	}
	/* The answer to HEAD has no body. */
	if (res.status >= 400 && a->method != 5)
		strlcpy(res.code, code, sizeof(res.code));
	if (h.said != NULL ||
	    (a->method == 5 &&
		(h.silent == 2 || (h.silent == 1 && nameless)))) {
		res.status = 0;
		res.code[0] = '\0';
		strlcpy(res.said, h.said != NULL ? h.said : "x.test: no answer",
		    sizeof(res.said));
	}
	if (h.elsewhere != NULL)
		strlcpy(res.elsewhere, h.elsewhere, sizeof(res.elsewhere));
	assert_true(a->nparts <= sizeof(right));
	for (i = 0; i < a->nparts; i++)
		right[i] = res.equal && part_right(&a->hash, &a->parts[i]);
	res.dated = h.store_skew_ms != 0;
	res.skew_ms = h.store_skew_ms;
	meta_fetched(a->id, &res, right, a->nparts);
	return 1;
}

static struct asked *
next_fetch(void)
{
	struct asked *a;

	TAILQ_FOREACH (a, &h.fetch, entry)
		if (h.hold_fetch == 0 || (h.hold_fetch == 2 && a->method != 4))
			return a;
	return NULL;
}

/* One round of everybody; 0: nothing is left to do. */
static int
pump(void)
{
	struct api_str urls[SIGN_URLS_MAX];
	struct asked *a;
	uint16_t i;
	int did = meta_turn();

	while ((a = TAILQ_FIRST(&h.sign)) != NULL) {
		TAILQ_REMOVE(&h.sign, a, entry);
		for (i = 0; i < a->n; i++)
			urls[i] = api_str(a->urls[i]);
		assert_int_equal(meta_signed(a->id, urls, a->n), 0);
		for (i = 0; i < a->n; i++)
			free(a->urls[i]);
		free(a);
		did = 1;
	}
	while ((a = next_fetch()) != NULL) {
		TAILQ_REMOVE(&h.fetch, a, entry);
		if (a->method == 4 && h.lose_delete) {
			h.lose_delete = 0;
			meta_peer_lost(&h.fetch);
		} else if (a->list != NULL)
			h.list(a->id, a->list);
		else
			store_answer(a);
		free(a->list);
		free(a->parts);
		free(a);
		did = 1;
	}
	return did;
}

static void
drop_asked(struct asked_list *l)
{
	struct asked *a;
	uint16_t i;

	while ((a = TAILQ_FIRST(l)) != NULL) {
		TAILQ_REMOVE(l, a, entry);
		for (i = 0; i < a->n; i++)
			free(a->urls[i]);
		free(a->list);
		free(a->parts);
		free(a);
	}
}

/* ---- requests ------------------------------------------------------------ */

struct got {
	int done;
	uint16_t status;
	uint8_t type;
	uint8_t *body;
	size_t len;
	json_t *json;
};

static void
got_clear(struct got *g)
{
	free(g->body);
	json_decref(g->json);
	memset(g, 0, sizeof(*g));
}

static void
got_answer(void *arg, uint32_t id, const struct meta_answer *a)
{
	struct got *g = arg;

	(void)id;
	assert_int_equal(g->done, 0);
	g->done = 1;
	g->status = a->status;
	g->type = a->type;
	g->len = a->len;
	g->body = malloc(a->len + 1);
	assert_non_null(g->body);
	if (a->len > 0)
		memcpy(g->body, a->body, a->len);
	g->body[a->len] = '\0';
	if (a->type == API_TYPE_JSON) {
		g->json = json_loads((char *)g->body, 0, NULL);
		assert_non_null(g->json);
	}
}

/* Only queued. */
static void
submit(struct got *g, uint8_t method, const char *target, const char *key,
    const void *body, size_t len)
{
	struct meta_request in;
	uint8_t *copy;
	char auth[256];

	memset(&in, 0, sizeof(in));
	memset(g, 0, sizeof(*g));
	snprintf(auth, sizeof(auth), "Bearer %s", key);
	in.method = method;
	in.target = target;
	in.host = h.host != NULL ? h.host : "api.example:8470";
	in.tls = h.tls;
	in.metrics = h.metrics;
	in.authorization = auth;
	in.peer = "127.0.0.1";
	if (len > 0) {
		copy = malloc(len + 1);
		assert_non_null(copy);
		memcpy(copy, body, len);
		in.body.data = copy;
		in.body.len = len;
	}
	meta_submit(&in, got_answer, g, 1);
}

static void
call(struct got *g, uint8_t method, const char *target, const char *key,
    const void *body, size_t len)
{
	int i;

	submit(g, method, target, key, body, len);
	for (i = 0; i < 100000 && !g->done; i++)
		pump();
	assert_true(g->done);
}

static UNUSED const char *
member(const json_t *j, const char *name)
{
	const char *s = json_string_value(json_object_get(j, name));

	return s == NULL ? "" : s;
}

static UNUSED const char *
code_of(const struct got *g)
{
	return member(json_object_get(g->json, "error"), "code");
}

/* Expects status and code, JSON or no body. */
static UNUSED void
expect(uint8_t method, const char *target, const char *key, const char *body,
    uint16_t status, const char *code)
{
	struct got g;

	call(&g, method, target, key, body, body == NULL ? 0 : strlen(body));
	if (g.status != status || strcmp(code_of(&g), code) != 0)
		print_error("%s: %u %s\n", target, g.status, (char *)g.body);
	assert_int_equal(g.status, status);
	assert_string_equal(code_of(&g), code);
	got_clear(&g);
}

/* ---- start and end ------------------------------------------------------- */

static void
begin_meta(void)
{
	static const struct meta_backend b = { stand_in_sign, stand_in_fetch,
		stand_in_cancel, stand_in_wake, stand_in_work,
		stand_in_work_end, stand_in_refuse };
	struct meta_settings s;

	memset(&s, 0, sizeof(s));
	s.store_port = h.s3 ? 0 : 9000;
	s.store_tls = h.store_tls;
	strlcpy(s.store_url, "http://127.0.0.1:9000", sizeof(s.store_url));
	s.url_life_s = 900;
	s.survey_s = h.survey_s;
	h.db = db_open(h.path, 1);
	assert_non_null(h.db);
	h.thread_db = db_open(h.path, 0);
	assert_non_null(h.thread_db);
	meta_init(h.db, &h.thread_db, 1, &b, &s);
	clock_init();
}

static void
end_meta(void)
{
	meta_fini();
	db_close(h.thread_db);
	db_close(h.db);
	drop_asked(&h.sign);
	drop_asked(&h.fetch);
}

/* A key that expires so many seconds from now, or never. */
static void
mint(int64_t org, const char *name, uint8_t role, int64_t life_s, char *secret)
{
	struct key_new n = { .org = org,
		.name = name,
		.role = role,
		.expires = life_s == 0 ? 0 : db_now() + life_s * 1000000000 };
	struct db_key k;

	assert_int_equal(db_key_mint(h.db, &n, secret, &k), 0);
}

static int
setup(void **state)
{
	uint8_t public[DB_PUBLIC_LEN];
	int64_t a, b;

	(void)state;
	memset(&h, 0, sizeof(h));
	log_init("test_meta", 1, 0);
	TAILQ_INIT(&h.sign);
	TAILQ_INIT(&h.fetch);
	hashset_init(&h.store);
	strlcpy(h.dir, "/tmp/test_meta.XXXXXX", sizeof(h.dir));
	if (mkdtemp(h.dir) == NULL)
		return -1;
	snprintf(h.path, sizeof(h.path), "%s/%s", h.dir, DB_FILE);
	begin_meta();
	db_random_public(public);
	assert_int_equal(db_begin(h.db), 0);
	assert_int_equal(db_org_add(h.db, public, "acme", 1, &a), 0);
	db_random_public(public);
	assert_int_equal(db_org_add(h.db, public, "other", 1, &b), 0);
	mint(a, "root", KEY_ADMIN, 0, h.admin);
	mint(a, "ci", KEY_WRITE, 0, h.write);
	mint(a, "look", KEY_READ, 0, h.read);
	mint(b, "root", KEY_ADMIN, 0, h.other);
	return db_end(h.db);
}

static int
teardown(void **state)
{
	static const char *const ends[] = { "", "-wal", "-shm" };
	char name[96];
	size_t i;

	(void)state;
	end_meta();
	hashset_free(&h.store);
	for (i = 0; i < 3; i++) {
		snprintf(name, sizeof(name), "%s%s", h.path, ends[i]);
		unlink(name);
	}
	return rmdir(h.dir);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

/* ---- trees --------------------------------------------------------------- */

/* A change of a file: its content, or NULL to delete it; and what was seen. */
struct change {
	const char *path;
	const char *content;
	const char *seen; /* NULL: nothing was there */
};

static UNUSED void
file_entry(struct entry *e, struct chunklist **l, const char *content,
    struct hash *chunk)
{
	memset(e, 0, sizeof(*e));
	e->type = ENTRY_FILE;
	e->mode = 0644;
	e->mtime.sec = e->ctime.sec = 1000;
	e->fileid = 77;
	e->size = strlen(content);
	e->chunk_shift = chunk_shift_for(e->size);
	*l = chunklist_new(e->size, e->chunk_shift);
	assert_non_null(*l);
	hash_bytes(chunk, content, e->size);
	if (e->size > 0)
		assert_int_equal(chunklist_add(*l, chunk), 0);
}

static UNUSED void
dir_entry(struct entry *e)
{
	memset(e, 0, sizeof(*e));
	e->type = ENTRY_DIR;
	e->mode = 0755;
	e->mtime.sec = e->ctime.sec = 1000;
	e->fileid = 78;
}

static UNUSED int
delta_sink(void *arg, const void *p, size_t len)
{
	wbuf_bytes(arg, p, len);
	return 0;
}

/* What was seen of a file of that content, as the server will find it. */
static UNUSED void
seen_file(struct seen *s, const char *content)
{
	struct chunklist *l;
	struct entry e;
	struct hash chunk;
	struct wbuf w;

	memset(s, 0, sizeof(*s));
	if (content == NULL)
		return;
	file_entry(&e, &l, content, &chunk);
	wbuf_init(&w, 65536);
	assert_int_equal(chunklist_to_entry(l, NULL, &e, &w), 0);
	seen_of(&e, s);
	wbuf_free(&w);
	chunklist_free(l);
}

/* As a file made there has it: each with an id of its own. */
static UNUSED void
put_entry(struct delta_op *op, const char *content)
{
	struct hash hash;

	file_entry(&op->entry, &op->chunks, content, &hash);
	hash_bytes(&hash, op->path, op->len);
	memcpy(&op->entry.fileid, hash.b, sizeof(op->entry.fileid));
	op->entry.fileid |= 2;
}

/* Directories above the paths, each once, in order. */
static UNUSED uint32_t
contexts(const struct change *c, size_t n, struct delta_context **out)
{
	struct delta_context *v;
	const char *slash;
	size_t i, len;
	uint32_t m = 0;

	v = calloc(n * 4 + 1, sizeof(*v));
	assert_non_null(v);
	for (i = 0; i < n; i++) {
		for (slash = strchr(c[i].path, '/'); slash != NULL;
		     slash = strchr(slash + 1, '/')) {
			len = (size_t)(slash - c[i].path);
			/* What is below a directory is side by side. */
			if (i > 0 &&
			    path_is_below(c[i - 1].path, strlen(c[i - 1].path),
				c[i].path, len))
				continue;
			v[m].path = (const uint8_t *)c[i].path;
			v[m].len = len;
			dir_entry(&v[m].entry);
			m++;
		}
	}
	*out = v;
	return m;
}

/* Changes ascending by path_cmp. */
static UNUSED void
make_delta(struct wbuf *w, const struct hash *base, const struct change *c,
    size_t n)
{
	struct delta_context *ctx;
	struct delta_writer dw;
	struct delta_op op;
	uint32_t i, nctx = contexts(c, n, &ctx);

	wbuf_init(w, DELTA_MAX_BYTES);
	assert_int_equal(delta_begin(&dw, delta_sink, w, base, 1, nctx,
			     (uint32_t)n),
	    0);
	for (i = 0; i < nctx; i++)
		assert_int_equal(delta_add_context(&dw, &ctx[i]), 0);
	for (i = 0; i < n; i++) {
		memset(&op, 0, sizeof(op));
		op.path = (const uint8_t *)c[i].path;
		op.len = strlen(c[i].path);
		op.kind = c[i].content == NULL ? DELTA_DELETE : DELTA_PUT;
		seen_file(&op.seen, c[i].seen);
		if (c[i].content != NULL)
			put_entry(&op, c[i].content);
		assert_int_equal(delta_add_op(&dw, &op), 0);
		chunklist_free(op.chunks);
	}
	assert_int_equal(delta_end(&dw), 0);
	assert_int_equal(w->error, 0);
	free(ctx);
}

/* Says that these chunks lie in an object that will come. */
static UNUSED void
claim_pack(const char *vol, const char *session, const struct hash *object,
    struct wire_chunk *chunks, uint32_t n, uint16_t status, const char *code)
{
	struct wire_pack p = { .object = *object, .n = n, .chunks = chunks };
	struct wire_upload *up;
	char target[256];
	struct got g;
	struct wbuf w;
	uint32_t i;

	for (i = 0; i < n; i++)
		p.length += chunks[i].bytes;
	snprintf(target, sizeof(target), "/v1/volumes/%s/sessions/%.32s/packs",
	    vol, session);
	wbuf_init(&w, 1 << 20);
	wire_pack_encode(&w, &p);
	call(&g, API_POST, target, h.write, w.data, w.len);
	wbuf_free(&w);
	assert_int_equal(g.status, status);
	if (status == 200) {
		assert_null(wire_uploads_decode(g.body, g.len, 1, &up));
		assert_int_equal(up[0].presence, WIRE_UPLOAD);
		assert_int_equal(hash_cmp(&up[0].object, object), 0);
		assert_true(up[0].url_len > 0);
		free(up);
	} else
		assert_string_equal(code_of(&g), code);
	got_clear(&g);
}

/* Tells the session about the chunks, and uploads what is lacking when store
   is set.  Returns how many were lacking. */
static UNUSED uint32_t
send_chunks(const char *vol, const char *session, const struct change *c,
    size_t n, int store)
{
	struct wire_upload *up;
	struct wire_chunk *v;
	struct got g;
	struct wbuf w;
	char target[256];
	uint32_t m, i, lacking = 0;
	size_t at = 0;

	v = calloc(WIRE_BATCH_MAX, sizeof(*v));
	assert_non_null(v);
	snprintf(target, sizeof(target), "/v1/volumes/%s/sessions/%.32s/chunks",
	    vol, session);
	while (at < n) {
		for (m = 0; at < n && m < WIRE_BATCH_MAX; at++) {
			if (c[at].content == NULL || c[at].content[0] == '\0')
				continue;
			v[m].bytes = (uint32_t)strlen(c[at].content);
			hash_bytes(&v[m].hash, c[at].content, v[m].bytes);
			m++;
		}
		if (m == 0)
			break;
		wbuf_init(&w, 1 << 20);
		wire_chunks_encode(&w, v, m);
		call(&g, API_POST, target, h.write, w.data, w.len);
		assert_int_equal(g.status, 200);
		assert_int_equal(g.type, API_TYPE_BINARY);
		assert_null(wire_uploads_decode(g.body, g.len, m, &up));
		for (i = 0; i < m; i++) {
			if (up[i].presence == WIRE_PRESENT)
				continue;
			if (up[i].presence == WIRE_PACK) {
				claim_pack(vol, session, &v[i].hash, &v[i], 1,
				    200, "");
				lacking++;
				if (store)
					store_set(&v[i].hash, 1);
				continue;
			}
			assert_int_equal(hash_cmp(&up[i].object, &v[i].hash),
			    0);
			assert_true(up[i].url_len > 0);
			lacking++;
			if (store)
				store_set(&v[i].hash, 1);
		}
		free(up);
		wbuf_free(&w);
		got_clear(&g);
	}
	free(v);
	return lacking;
}

static UNUSED void
open_session(const char *vol, const char *session, const char *body)
{
	char target[256];

	snprintf(target, sizeof(target), "/v1/volumes/%s/sessions/%.32s", vol,
	    session);
	expect(API_PUT, target, h.write, body, 201, "");
}

/* The commit request alone. */
static UNUSED void
send_commit(struct got *g, const char *vol, const char *session,
    const struct hash *base, const struct change *c, size_t n)
{
	struct wbuf w;
	char target[256];

	snprintf(target, sizeof(target), "/v1/volumes/%s/sessions/%.32s/commit",
	    vol, session);
	make_delta(&w, base, c, n);
	call(g, API_POST, target, h.write, w.data, w.len);
	wbuf_free(&w);
}

static UNUSED void
new_session(char out[33])
{
	uint8_t raw[16];

	arc4random_buf(raw, sizeof(raw));
	hex_encode(raw, sizeof(raw), out);
}

static UNUSED void
parse_hash(struct hash *out, const char *text)
{
	assert_int_equal(hash_parse(out, text, strlen(text)), 0);
}

/* The whole of it; the commit's id into id. */
static UNUSED void
publish(const char *vol, const struct hash *base, const struct change *c,
    size_t n, struct hash *id)
{
	struct got g;
	char session[33];

	new_session(session);
	open_session(vol, session, "{}");
	send_chunks(vol, session, c, n, 1);
	send_commit(&g, vol, session, base, c, n);
	if (g.status != 200)
		print_error("commit: %u %s\n", g.status, (char *)g.body);
	assert_int_equal(g.status, 200);
	parse_hash(id, member(g.json, "commit"));
	got_clear(&g);
}

/* What /metrics would say now. */
static UNUSED uint64_t
number(enum meta_number which)
{
	struct meta_numbers m;
	struct got g;

	h.metrics = 1;
	call(&g, API_GET, "/metrics", "", NULL, 0);
	h.metrics = 0;
	assert_int_equal(g.status, 200);
	assert_int_equal(meta_numbers_decode(&m, g.body, g.len), 0);
	got_clear(&g);
	return m.n[which];
}

/* Makes a volume, gives its head. */
static UNUSED void
make_volume(const char *name, struct hash *head)
{
	struct got g;
	char body[256];

	snprintf(body, sizeof(body), "{\"name\":\"%s\"}", name);
	call(&g, API_POST, "/v1/volumes", h.write, body, strlen(body));
	assert_int_equal(g.status, 201);
	parse_hash(head, member(g.json, "head"));
	got_clear(&g);
}

static UNUSED void
head_of(const char *name, struct hash *head)
{
	struct got g;
	char target[256];

	snprintf(target, sizeof(target), "/v1/volumes/%s", name);
	call(&g, API_GET, target, h.read, NULL, 0);
	assert_int_equal(g.status, 200);
	parse_hash(head, member(g.json, "head"));
	got_clear(&g);
}

#endif
