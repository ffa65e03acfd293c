/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * The binary bodies of the API, both ways: what is taken is the one encoding of
 * what it says.  The first byte says which.
 */
#include "lib/wire.h"
#include "regress/fuzz/fuzz.h"

static void
same(struct wbuf *w, const uint8_t *p, size_t len)
{
	fuzz_check(w->error == 0);
	fuzz_check(w->len == len && memcmp(w->data, p, len) == 0);
	wbuf_free(w);
}

static void
nodes_req(const uint8_t *p, size_t len)
{
	struct wire_nodes_req q;
	struct wbuf w;

	if (wire_nodes_req_decode(p, len, &q) != NULL)
		return;
	wbuf_init(&w, 1 << 20);
	wire_nodes_req_encode(&w, &q);
	same(&w, p, len);
}

static void
bundle(const uint8_t *p, size_t len)
{
	struct wire_bundle b;
	const uint8_t *node;
	struct hash h;
	uint8_t kind;
	size_t n;
	int rc;

	if (wire_bundle_open(&b, p, len) != NULL)
		return;
	while ((rc = wire_bundle_next(&b, &node, &n, &h, &kind)) == 1)
		fuzz_check(node >= p && n <= len);
	fuzz_check(rc == 0 || b.r.error != NULL);
}

static void
chunks(const uint8_t *p, size_t len)
{
	struct wire_chunk *c;
	struct wbuf w;
	uint32_t n;

	if (wire_chunks_decode(p, len, &c, &n) != NULL)
		return;
	wbuf_init(&w, 1 << 24);
	wire_chunks_encode(&w, c, n);
	same(&w, p, len);
	free(c);
}

static void
uploads(const uint8_t *p, size_t len)
{
	struct wire_upload *u;
	struct wbuf w;
	uint32_t i, n = len < 10 ? 0 : p[6];

	if (wire_uploads_decode(p, len, n, &u) != NULL)
		return;
	wbuf_init(&w, 1 << 24);
	wire_uploads_begin(&w, n);
	for (i = 0; i < n; i++)
		wire_uploads_add(&w, &u[i]);
	same(&w, p, len);
	free(u);
}

static void
pack(const uint8_t *p, size_t len)
{
	struct wire_pack k;
	struct wbuf w;

	if (wire_pack_decode(p, len, &k) != NULL)
		return;
	wbuf_init(&w, 1 << 24);
	wire_pack_encode(&w, &k);
	same(&w, p, len);
	free(k.chunks);
}

static void
locate(const uint8_t *p, size_t len)
{
	struct wire_locate_req q;
	struct wbuf w;

	if (wire_locate_req_decode(p, len, &q) != NULL)
		return;
	wbuf_init(&w, 1 << 24);
	wire_locate_req_encode(&w, &q);
	same(&w, p, len);
	free(q.slots);
}

static void
spans(const uint8_t *p, size_t len)
{
	struct wire_span *s;
	struct wbuf w;
	uint32_t i, n;

	if (wire_spans_decode(p, len, &s, &n) != NULL)
		return;
	wbuf_init(&w, 1 << 24);
	wire_spans_begin(&w, n);
	for (i = 0; i < n; i++)
		wire_spans_add(&w, &s[i]);
	same(&w, p, len);
	wire_spans_free(s, n);
}

static void
fuzz_one(const uint8_t *in, size_t len)
{
	static void (*const f[])(const uint8_t *, size_t) = { nodes_req, bundle,
		chunks, uploads, pack, locate, spans };

	fuzz_pick(f, sizeof(f) / sizeof(f[0]), in, len);
}
