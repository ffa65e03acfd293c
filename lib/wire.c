/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * wire: the binary bodies of the API, encoded and decoded, as sailvol-format(5)
 * HTTP BODIES has them.  Pure; used by manifest, sailvol-fetch, sailvolctl and
 * meta.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/node.h"
#include "lib/wire.h"

/* Every body begins with this, the type and the version. */
static const uint8_t wire_magic[4] = { 'S', 'V', 'W', 'B' };
#define WIRE_VERSION 1
#define WIRE_HEAD_LEN 6

enum wire_type {
	WIRE_NODES_REQ = 1,
	WIRE_BUNDLE = 2,
	WIRE_CHUNKS = 3,
	WIRE_UPLOADS = 4,
	WIRE_LOCATE_REQ = 5,
	WIRE_SPANS = 6,
	WIRE_PACK_REQ = 7
};

/* Of a bundle, after the head: flags and count are written at the end. */
#define BUNDLE_FLAGS_AT WIRE_HEAD_LEN
#define BUNDLE_COUNT_AT (WIRE_HEAD_LEN + 4)
#define BUNDLE_COMPLETE 1u
#define BUNDLE_CUT 2u
/* The budget, one node that passes it, and the commit. */
#define BUNDLE_MAX ((size_t)2 * WIRE_BUDGET_MAX)
#define COMMIT_BYTES_MAX (64 * 1024)

#define SLOT_MAX (SAIL_SIZE_MAX >> CHUNK_SHIFT_MIN)
#define PLAIN_MAX ((uint32_t)1 << CHUNK_SHIFT_MAX)
/* Codecs make nothing much larger than it was. */
#define STORED_MAX (PLAIN_MAX + PLAIN_MAX / 8)
#define SPAN_CHUNK_LEN (8 + HASH_LEN + 8 + 4 + 4 + 1)
#define SPAN_MIN_LEN (HASH_LEN + 8 + 8 + 2 + 1 + 2 + 4 + SPAN_CHUNK_LEN)
#define UPLOAD_MIN_LEN 1

static void
head_encode(struct wbuf *w, uint8_t type)
{
	wbuf_bytes(w, wire_magic, sizeof(wire_magic));
	wbuf_u8(w, type);
	wbuf_u8(w, WIRE_VERSION);
}

static void
head_decode(struct rbuf *r, const uint8_t *data, size_t len, uint8_t type)
{
	const uint8_t *magic;

	rbuf_init(r, data, len);
	magic = rbuf_bytes(r, sizeof(wire_magic));
	if (magic == NULL ||
	    memcmp(magic, wire_magic, sizeof(wire_magic)) != 0) {
		rbuf_fail(r, "body: not one of ours");
		return;
	}
	if (rbuf_u8(r) != type)
		rbuf_fail(r, "body: of another type");
	if (rbuf_u8(r) != WIRE_VERSION)
		rbuf_fail(r, "body: unknown version");
}

/* What is wrong after all was read; NULL: nothing. */
static const char *
finish(struct rbuf *r)
{
	if (rbuf_end(r) == 0)
		return NULL;
	return r->error != NULL ? r->error : "body: bytes left over";
}

static void
path_decode(struct rbuf *r, const uint8_t **path, size_t *len)
{
	const char *why;

	*path = rbuf_str16(r, SAIL_PATH_MAX, len);
	if (r->error == NULL && (why = path_problem(*path, *len)) != NULL)
		rbuf_fail(r, why);
}

/* ---- nodes ---- */

void
wire_nodes_req_encode(struct wbuf *w, const struct wire_nodes_req *q)
{
	head_encode(w, WIRE_NODES_REQ);
	wbuf_hash(w, &q->commit);
	wbuf_u8(w, q->has_have ? 1 : 0);
	if (q->has_have)
		wbuf_hash(w, &q->have);
	wbuf_u32(w, q->budget);
	wbuf_u16(w, q->depth);
	wbuf_str16(w, q->path, q->path_len);
	wbuf_str16(w, q->first, q->first_len);
}

const char *
wire_nodes_req_decode(const uint8_t *data, size_t len, struct wire_nodes_req *q)
{
	struct rbuf r;
	uint8_t have;

	memset(q, 0, sizeof(*q));
	head_decode(&r, data, len, WIRE_NODES_REQ);
	rbuf_hash(&r, &q->commit);
	have = rbuf_u8(&r);
	if (have > 1)
		rbuf_fail(&r, "nodes request: flag is not 0 or 1");
	q->has_have = have == 1;
	if (q->has_have)
		rbuf_hash(&r, &q->have);
	q->budget = rbuf_u32(&r);
	if (q->budget > WIRE_BUDGET_MAX)
		rbuf_fail(&r, "nodes request: budget too large");
	q->depth = rbuf_u16(&r);
	if (q->depth > SAIL_DEPTH_MAX)
		rbuf_fail(&r, "nodes request: too deep");
	path_decode(&r, &q->path, &q->path_len);
	q->first = rbuf_str16(&r, SAIL_NAME_MAX, &q->first_len);
	return finish(&r);
}

/* ---- bundles ---- */

void
wire_bundle_begin(struct wire_bundle_writer *b, const struct hash *commit,
    const uint8_t *commit_bytes, size_t commit_len)
{
	wbuf_init(&b->w, BUNDLE_MAX);
	b->count = 0;
	b->cut = 0;
	head_encode(&b->w, WIRE_BUNDLE);
	wbuf_u32(&b->w, 0);
	wbuf_u32(&b->w, 0);
	wbuf_hash(&b->w, commit);
	wbuf_str32(&b->w, commit_bytes, commit_len);
}

void
wire_bundle_add(struct wire_bundle_writer *b, const uint8_t *node, size_t len)
{
	wbuf_str32(&b->w, node, len);
	b->count++;
}

uint8_t *
wire_bundle_end(struct wire_bundle_writer *b, int complete, size_t *len)
{
	uint8_t *data;

	if (b->w.error == 0) {
		wbuf_set_u32(&b->w, BUNDLE_FLAGS_AT,
		    (complete ? BUNDLE_COMPLETE : 0) |
			(b->cut ? BUNDLE_CUT : 0));
		wbuf_set_u32(&b->w, BUNDLE_COUNT_AT, b->count);
	}
	data = wbuf_take(&b->w, len);
	if (data == NULL) {
		int saved = errno;

		wbuf_free(&b->w);
		errno = saved;
	}
	return data;
}

const char *
wire_bundle_open(struct wire_bundle *b, const uint8_t *data, size_t len)
{
	struct rbuf *r = &b->r;
	struct hash h;
	uint32_t flags;

	memset(b, 0, sizeof(*b));
	head_decode(r, data, len, WIRE_BUNDLE);
	flags = rbuf_u32(r);
	if (flags & ~(BUNDLE_COMPLETE | BUNDLE_CUT))
		rbuf_fail(r, "bundle: unknown flags");
	b->complete = (flags & BUNDLE_COMPLETE) != 0;
	b->cut = (flags & BUNDLE_CUT) != 0;
	b->count = rbuf_u32(r);
	rbuf_hash(r, &b->commit);
	b->commit_bytes = rbuf_str32(r, COMMIT_BYTES_MAX, &b->commit_len);
	if (r->error != NULL)
		return r->error;
	if (b->commit_len != 0 && !b->cut) {
		hash_bytes(&h, b->commit_bytes, b->commit_len);
		if (hash_cmp(&h, &b->commit) != 0)
			rbuf_fail(r, "bundle: commit is not what its id says");
	}
	if (b->count > rbuf_left(r) / 4)
		rbuf_fail(r, "bundle: count of nodes too large");
	return r->error;
}

int
wire_bundle_next(struct wire_bundle *b, const uint8_t **node, size_t *len,
    struct hash *h, uint8_t *kind)
{
	struct rbuf *r = &b->r;
	const char *why;

	if (r->error != NULL)
		return -1;
	if (b->next == b->count) {
		if (rbuf_left(r) != 0) {
			rbuf_fail(r, "bundle: bytes left over");
			return -1;
		}
		return 0;
	}
	*node = rbuf_str32(r, NODE_MAX_BYTES, len);
	if (r->error == NULL && (why = node_check(*node, *len, kind)) != NULL)
		rbuf_fail(r, why);
	if (r->error != NULL)
		return -1;
	hash_bytes(h, *node, *len);
	b->next++;
	return 1;
}

/* ---- chunk look-ups ---- */

void
wire_chunks_encode(struct wbuf *w, const struct wire_chunk *c, uint32_t n)
{
	uint32_t i;

	head_encode(w, WIRE_CHUNKS);
	wbuf_u32(w, n);
	for (i = 0; i < n; i++) {
		wbuf_hash(w, &c[i].hash);
		wbuf_u32(w, c[i].bytes);
	}
}

const char *
wire_chunks_decode(const uint8_t *data, size_t len, struct wire_chunk **chunks,
    uint32_t *n)
{
	struct rbuf r;
	struct wire_chunk *c = NULL;
	const char *why;
	uint32_t i, count;

	*chunks = NULL;
	*n = 0;
	head_decode(&r, data, len, WIRE_CHUNKS);
	count = rbuf_u32(&r);
	if (r.error == NULL && count > WIRE_BATCH_MAX)
		rbuf_fail(&r, "chunks: too many at once");
	if (r.error == NULL && rbuf_left(&r) != (size_t)count * (HASH_LEN + 4))
		rbuf_fail(&r, "chunks: length is not that of the count");
	if (r.error != NULL)
		return r.error;
	if ((c = calloc(count + 1, sizeof(*c))) == NULL)
		return "chunks: out of memory";
	for (i = 0; i < count; i++) {
		rbuf_hash(&r, &c[i].hash);
		c[i].bytes = rbuf_u32(&r);
		if (c[i].bytes == 0 || c[i].bytes > PLAIN_MAX)
			rbuf_fail(&r, "chunks: size of a chunk out of range");
	}
	if ((why = finish(&r)) != NULL) {
		free(c);
		return why;
	}
	*chunks = c;
	*n = count;
	return NULL;
}

/* ---- signed URLs ---- */

/*
 * A URL goes into a request line and headers go into a request as they stand:
 * nothing in them may begin a line of its own.
 */
static void
url_decode(struct rbuf *r, const uint8_t **url, size_t *len)
{
	size_t i;

	*url = rbuf_str16(r, WIRE_URL_MAX, len);
	if (r->error == NULL && *len == 0)
		rbuf_fail(r, "url: empty");
	for (i = 0; r->error == NULL && i < *len; i++)
		if ((*url)[i] <= 0x20 || (*url)[i] >= 0x7f)
			rbuf_fail(r, "url: character out of range");
}

static int
is_token(uint8_t c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	    (c >= '0' && c <= '9') || c == '-' || c == '_';
}

static void
headers_decode(struct rbuf *r, const uint8_t **headers, size_t *len)
{
	const uint8_t *p, *end, *name, *eol;

	*headers = rbuf_str16(r, WIRE_URL_MAX, len);
	if (r->error != NULL)
		return;
	for (p = *headers, end = p + *len; p < end; p = eol + 1) {
		if ((eol = memchr(p, '\n', (size_t)(end - p))) == NULL) {
			rbuf_fail(r, "header: line does not end");
			return;
		}
		for (name = p; p < eol && is_token(*p); p++)
			;
		if (p == name || eol - p < 3 || p[0] != ':' || p[1] != ' ') {
			rbuf_fail(r, "header: not of the form name: value");
			return;
		}
		for (p += 2; p < eol; p++)
			if (*p < 0x20 || *p >= 0x7f) {
				rbuf_fail(r, "header: character out of range");
				return;
			}
	}
}

void
wire_uploads_begin(struct wbuf *w, uint32_t n)
{
	head_encode(w, WIRE_UPLOADS);
	wbuf_u32(w, n);
}

void
wire_uploads_add(struct wbuf *w, const struct wire_upload *u)
{
	wbuf_u8(w, u->presence);
	if (u->presence != WIRE_UPLOAD)
		return;
	wbuf_hash(w, &u->object);
	wbuf_str16(w, u->url, u->url_len);
	wbuf_str16(w, u->headers, u->headers_len);
}

const char *
wire_uploads_decode(const uint8_t *data, size_t len, uint32_t expect,
    struct wire_upload **uploads)
{
	struct rbuf r;
	struct wire_upload *u = NULL;
	const char *why;
	uint32_t i, count;

	*uploads = NULL;
	head_decode(&r, data, len, WIRE_UPLOADS);
	count = rbuf_u32(&r);
	if (r.error == NULL && count != expect)
		rbuf_fail(&r, "uploads: not one answer for each chunk");
	if (r.error == NULL && count > rbuf_left(&r) / UPLOAD_MIN_LEN)
		rbuf_fail(&r, "uploads: count too large");
	if (r.error != NULL)
		return r.error;
	if ((u = calloc((size_t)count + 1, sizeof(*u))) == NULL)
		return "uploads: out of memory";
	for (i = 0; i < count && r.error == NULL; i++) {
		u[i].presence = rbuf_u8(&r);
		if (u[i].presence == WIRE_PRESENT || u[i].presence == WIRE_PACK)
			continue;
		if (u[i].presence != WIRE_UPLOAD) {
			rbuf_fail(&r, "uploads: unknown answer");
			break;
		}
		rbuf_hash(&r, &u[i].object);
		url_decode(&r, &u[i].url, &u[i].url_len);
		headers_decode(&r, &u[i].headers, &u[i].headers_len);
	}
	if ((why = finish(&r)) != NULL) {
		free(u);
		return why;
	}
	*uploads = u;
	return NULL;
}

/* ---- packs --------------------------------------------------------------- */

void
wire_pack_encode(struct wbuf *w, const struct wire_pack *p)
{
	uint32_t i;

	head_encode(w, WIRE_PACK_REQ);
	wbuf_hash(w, &p->object);
	wbuf_u32(w, p->length);
	wbuf_u32(w, p->n);
	for (i = 0; i < p->n; i++) {
		wbuf_hash(w, &p->chunks[i].hash);
		wbuf_u32(w, p->chunks[i].bytes);
	}
}

/* Adds up to the length, but for a tail, so that nothing can overlap or lie
   outside. */
static void
pack_chunks_decode(struct rbuf *r, struct wire_pack *p)
{
	uint64_t sum = 0;
	uint32_t i;

	for (i = 0; i < p->n && r->error == NULL; i++) {
		rbuf_hash(r, &p->chunks[i].hash);
		p->chunks[i].bytes = rbuf_u32(r);
		if (p->chunks[i].bytes == 0 ||
		    p->chunks[i].bytes >= WIRE_PACK_CHUNK)
			rbuf_fail(r, "pack: size of a chunk out of range");
		sum += p->chunks[i].bytes;
	}
	if (sum != p->length &&
	    (p->n == 1 || sum + WIRE_PACK_TAIL != p->length))
		rbuf_fail(r, "pack: length is not that of its chunks");
}

const char *
wire_pack_decode(const uint8_t *data, size_t len, struct wire_pack *p)
{
	const char *why;
	struct rbuf r;

	memset(p, 0, sizeof(*p));
	head_decode(&r, data, len, WIRE_PACK_REQ);
	rbuf_hash(&r, &p->object);
	p->length = rbuf_u32(&r);
	p->n = rbuf_u32(&r);
	if (r.error == NULL && (p->n == 0 || p->n > WIRE_PACK_MAX))
		rbuf_fail(&r, "pack: number of chunks out of range");
	if (r.error == NULL && p->length > WIRE_PACK_BYTES)
		rbuf_fail(&r, "pack: too long");
	if (r.error == NULL && rbuf_left(&r) != (size_t)p->n * (HASH_LEN + 4))
		rbuf_fail(&r, "pack: length is not that of the count");
	if (r.error != NULL) {
		p->n = 0;
		return r.error;
	}
	if ((p->chunks = calloc(p->n, sizeof(*p->chunks))) == NULL)
		return "pack: out of memory";
	pack_chunks_decode(&r, p);
	if ((why = finish(&r)) != NULL) {
		free(p->chunks);
		p->chunks = NULL;
	}
	return why;
}

void
wire_pack_free(struct wire_pack *p)
{
	if (p == NULL)
		return;
	free(p->chunks);
	free(p);
}

/* ---- locations ---- */

void
wire_locate_req_encode(struct wbuf *w, const struct wire_locate_req *q)
{
	uint32_t i;

	head_encode(w, WIRE_LOCATE_REQ);
	wbuf_hash(w, &q->commit);
	wbuf_str16(w, q->path, q->path_len);
	wbuf_u32(w, q->budget);
	wbuf_u32(w, q->nslots);
	for (i = 0; i < q->nslots; i++)
		wbuf_u64(w, q->slots[i]);
}

const char *
wire_locate_req_decode(const uint8_t *data, size_t len,
    struct wire_locate_req *q)
{
	struct rbuf r;
	const char *why;
	uint32_t i;

	memset(q, 0, sizeof(*q));
	head_decode(&r, data, len, WIRE_LOCATE_REQ);
	rbuf_hash(&r, &q->commit);
	path_decode(&r, &q->path, &q->path_len);
	if (r.error == NULL && q->path_len == 0)
		rbuf_fail(&r, "locate: the root is not a file");
	q->budget = rbuf_u32(&r);
	if (r.error == NULL && q->budget > WIRE_BUDGET_MAX)
		rbuf_fail(&r, "locate: budget too large");
	q->nslots = rbuf_u32(&r);
	if (r.error == NULL && (q->nslots == 0 || q->nslots > WIRE_BATCH_MAX))
		rbuf_fail(&r, "locate: number of chunks out of range");
	if (r.error == NULL && rbuf_left(&r) != (size_t)q->nslots * 8)
		rbuf_fail(&r, "locate: length is not that of the count");
	if (r.error != NULL)
		return r.error;
	if ((q->slots = calloc(q->nslots, sizeof(*q->slots))) == NULL)
		return "locate: out of memory";
	for (i = 0; i < q->nslots; i++) {
		q->slots[i] = rbuf_u64(&r);
		if (q->slots[i] >= SLOT_MAX)
			rbuf_fail(&r, "locate: slot out of range");
		if (i > 0 && q->slots[i] <= q->slots[i - 1])
			rbuf_fail(&r, "locate: slots not in order");
	}
	if ((why = finish(&r)) != NULL) {
		free(q->slots);
		q->slots = NULL;
	}
	return why;
}

void
wire_spans_begin(struct wbuf *w, uint32_t n)
{
	head_encode(w, WIRE_SPANS);
	wbuf_u32(w, n);
}

void
wire_spans_add(struct wbuf *w, const struct wire_span *s)
{
	const struct wire_span_chunk *c;
	uint32_t i;

	wbuf_hash(w, &s->object);
	wbuf_u64(w, s->offset);
	wbuf_u64(w, s->length);
	wbuf_str16(w, s->url, s->url_len);
	wbuf_str16(w, s->headers, s->headers_len);
	wbuf_u32(w, s->nchunks);
	for (i = 0; i < s->nchunks; i++) {
		c = &s->chunks[i];
		wbuf_u64(w, c->slot);
		wbuf_hash(w, &c->hash);
		wbuf_u64(w, c->offset);
		wbuf_u32(w, c->stored);
		wbuf_u32(w, c->plain);
		wbuf_u8(w, c->codec);
	}
}

static void
span_chunk_decode(struct rbuf *r, const struct wire_span *s, uint64_t from,
    struct wire_span_chunk *c)
{
	c->slot = rbuf_u64(r);
	rbuf_hash(r, &c->hash);
	c->offset = rbuf_u64(r);
	c->stored = rbuf_u32(r);
	c->plain = rbuf_u32(r);
	c->codec = rbuf_u8(r);
	if (r->error != NULL)
		return;
	if (c->slot != UINT64_MAX && c->slot >= SLOT_MAX)
		rbuf_fail(r, "span: slot out of range");
	else if (c->plain == 0 || c->plain > PLAIN_MAX || c->stored == 0 ||
	    c->stored > STORED_MAX)
		rbuf_fail(r, "span: size of a chunk out of range");
	else if (c->codec == 0 && c->stored != c->plain)
		rbuf_fail(r, "span: a raw chunk of two sizes");
	else if (c->offset < from)
		rbuf_fail(r, "span: chunks overlap or are not in order");
	else if (c->offset > s->length || c->stored > s->length - c->offset)
		rbuf_fail(r, "span: chunk outside of it");
}

/* 0, or -1 with r->error. */
static int
span_decode(struct rbuf *r, struct wire_span *s)
{
	uint64_t from = 0;
	uint32_t i;

	rbuf_hash(r, &s->object);
	s->offset = rbuf_u64(r);
	s->length = rbuf_u64(r);
	if (s->length == 0 || s->offset > SAIL_SIZE_MAX ||
	    s->length > SAIL_SIZE_MAX - s->offset)
		rbuf_fail(r, "span: out of range");
	url_decode(r, &s->url, &s->url_len);
	headers_decode(r, &s->headers, &s->headers_len);
	s->nchunks = rbuf_u32(r);
	if (r->error == NULL &&
	    (s->nchunks == 0 || s->nchunks > rbuf_left(r) / SPAN_CHUNK_LEN))
		rbuf_fail(r, "span: number of chunks out of range");
	if (r->error != NULL) {
		s->nchunks = 0;
		return -1;
	}
	if ((s->chunks = calloc(s->nchunks, sizeof(*s->chunks))) == NULL) {
		rbuf_fail(r, "span: out of memory");
		return -1;
	}
	for (i = 0; i < s->nchunks && r->error == NULL; i++) {
		span_chunk_decode(r, s, from, &s->chunks[i]);
		from = s->chunks[i].offset + s->chunks[i].stored;
	}
	return r->error == NULL ? 0 : -1;
}

const char *
wire_spans_decode(const uint8_t *data, size_t len, struct wire_span **spans,
    uint32_t *n)
{
	struct rbuf r;
	struct wire_span *s = NULL;
	const char *why;
	uint32_t i, count;

	*spans = NULL;
	*n = 0;
	head_decode(&r, data, len, WIRE_SPANS);
	count = rbuf_u32(&r);
	if (r.error == NULL &&
	    (count > WIRE_BATCH_MAX || count > rbuf_left(&r) / SPAN_MIN_LEN))
		rbuf_fail(&r, "spans: too many");
	if (r.error != NULL)
		return r.error;
	if ((s = calloc((size_t)count + 1, sizeof(*s))) == NULL)
		return "spans: out of memory";
	for (i = 0; i < count; i++)
		if (span_decode(&r, &s[i]) == -1)
			break;
	if ((why = finish(&r)) != NULL) {
		wire_spans_free(s, count);
		return why;
	}
	*spans = s;
	*n = count;
	return NULL;
}

void
wire_spans_free(struct wire_span *s, uint32_t n)
{
	uint32_t i;

	if (s == NULL)
		return;
	for (i = 0; i < n; i++)
		free(s[i].chunks);
	free(s);
}
