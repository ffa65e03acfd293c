/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * Nodes, commits, entries, extended attributes and chunk lists: what is taken
 * is the one encoding of its value.  The first byte says which.
 */
#include "lib/chunklist.h"
#include "lib/commit.h"
#include "lib/delta.h"
#include "lib/node.h"
#include "regress/fuzz/fuzz.h"

static int
reference(void *arg, const struct hash *h, uint8_t kind)
{
	(void)arg;
	(void)h;
	(void)kind;
	return 0;
}

static void
same(struct wbuf *w, const uint8_t *p, size_t len)
{
	fuzz_check(w->error == 0);
	fuzz_check(w->len == len && (len == 0 || memcmp(w->data, p, len) == 0));
	wbuf_free(w);
}

static void
leaf(const uint8_t *p, size_t len)
{
	struct node_leaf l;
	const uint8_t *name;
	struct entry e;
	struct wbuf w;
	size_t n;
	uint32_t count = 0;
	int rc;

	wbuf_init(&w, 1 << 20);
	node_leaf_begin(&w);
	fuzz_check(node_leaf_open(&l, p, len) == 0);
	while ((rc = node_leaf_next(&l, &name, &n, &e)) == 1) {
		fuzz_check(name_problem(name, n) == NULL);
		fuzz_check(entry_node_problem(&e) == NULL);
		node_leaf_add(&w, name, n, &e);
		count++;
	}
	fuzz_check(rc == 0);
	node_leaf_end(&w, count);
	same(&w, p, len);
}

static void
index_node(const uint8_t *p, size_t len)
{
	struct node_index x;
	struct node_child c;
	struct wbuf w;
	uint32_t count = 0;
	int rc;

	wbuf_init(&w, 1 << 20);
	fuzz_check(node_index_open(&x, p, len) == 0);
	node_index_begin(&w, x.level);
	while ((rc = node_index_next(&x, &c)) == 1) {
		node_index_add(&w, &c);
		count++;
	}
	fuzz_check(rc == 0);
	node_index_end(&w, count);
	same(&w, p, len);
}

static void
node(const uint8_t *p, size_t len)
{
	const uint8_t *x;
	uint8_t kind = 0;
	size_t n;
	struct wbuf w;
	int refs = node_references(p, len, reference, NULL);

	if (node_check(p, len, &kind) != NULL)
		return;
	fuzz_check(refs == 0);
	if (kind == NODE_LEAF)
		leaf(p, len);
	else if (kind == NODE_INDEX)
		index_node(p, len);
	else if (kind == NODE_XATTRS) {
		fuzz_check(node_xattrs_open(p, len, &x, &n) == NULL);
		wbuf_init(&w, 1 << 20);
		node_xattrs_encode(&w, x, n);
		same(&w, p, len);
	}
}

static void
commit(const uint8_t *p, size_t len)
{
	struct commit c;
	struct wbuf w;

	if (commit_decode(p, len, &c) != NULL)
		return;
	wbuf_init(&w, 1 << 20);
	commit_encode(&w, &c);
	same(&w, p, len);
}

static void
header(const uint8_t *p, size_t len)
{
	struct volume_header v;
	struct rbuf r;
	struct wbuf w;

	rbuf_init(&r, p, len);
	if (volume_header_decode(&r, &v) != NULL)
		return;
	wbuf_init(&w, 1 << 20);
	volume_header_encode(&w, &v);
	same(&w, p, r.pos);
}

static void
entry(const uint8_t *p, size_t len)
{
	struct entry e, *copy;
	struct chunklist *l;
	struct hash h;
	struct rbuf r;
	struct wbuf w;
	struct seen s;

	rbuf_init(&r, p, len);
	if (entry_decode(&r, &e) == -1)
		return;
	wbuf_init(&w, 1 << 20);
	entry_encode(&w, &e);
	same(&w, p, r.pos);
	copy = entry_dup(&e);
	fuzz_check(copy != NULL);
	seen_of(copy, &s);
	if (e.type == ENTRY_FILE && e.chunk_form == CHUNKS_INLINE) {
		l = chunklist_from_entry(&e, NULL, 4096, &h);
		chunklist_free(l);
		(void)chunks_inline_bytes(e.chunks, e.chunks_len, e.size,
		    e.chunk_shift);
	}
	free(copy);
}

static void
xattrs(const uint8_t *p, size_t len)
{
	struct xattr_iter i;
	const char *name;
	const uint8_t *value;
	uint8_t *out;
	size_t n, v, m;

	if (xattrs_check(p, len) == -1)
		return;
	xattrs_first(&i, p, len);
	while (xattrs_next(&i, &name, &n, &value, &v) == 1)
		fuzz_check(n > 5 && n <= 255);
	if (xattrs_set(p, len, "user.fuzz", "value", 5, 0, &out, &m) == 0) {
		fuzz_check(xattrs_check(out, m) == 0);
		fuzz_check(
		    xattrs_get(out, m, "user.fuzz", &v) != NULL && v == 5);
		free(out);
	}
}

static void
chunks(const uint8_t *p, size_t len)
{
	struct chunklist *l;
	struct rbuf r;
	struct wbuf w;
	struct hash h;
	uint64_t slot = 0;

	rbuf_init(&r, p, len);
	if ((l = chunklist_decode(&r, 65536)) == NULL)
		return;
	while (chunklist_next(l, slot, &slot, &h) == 1)
		(void)chunklist_slot_bytes(l, slot++);
	wbuf_init(&w, 1 << 24);
	chunklist_encode(&w, l);
	same(&w, p, r.pos);
	chunklist_free(l);
}

static void
seen(const uint8_t *p, size_t len)
{
	struct rbuf r;
	struct wbuf w;
	struct seen s;

	rbuf_init(&r, p, len);
	if (seen_decode(&r, &s) == -1)
		return;
	wbuf_init(&w, 4096);
	seen_encode(&w, &s);
	same(&w, p, r.pos);
}

static void
fuzz_one(const uint8_t *in, size_t len)
{
	static void (*const f[])(const uint8_t *, size_t) = { node, commit,
		header, entry, xattrs, chunks, seen };

	fuzz_pick(f, sizeof(f) / sizeof(f[0]), in, len);
}
