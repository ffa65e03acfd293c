/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * node: encoding and strict decoding of the pieces of metadata,
 * sailvol-format(5), NODES.  Pure; used by manifest, fuse, meta and tools.
 */
#include "lib/node.h"

#include <errno.h>
#include <string.h>

#include "lib/chunklist.h"
#include "lib/commit.h"
#include "lib/path.h"

static const uint8_t magic[4] = { 'S', 'V', 'o', 'l' };

int
node_put(const struct node_store *s, const uint8_t *data, size_t len,
    struct hash *h)
{
	hash_bytes(h, data, len);
	return (s->put(s->ctx, h, data, len));
}

static int
kind_has_level(uint8_t kind)
{
	return (kind == NODE_INDEX || kind == NODE_CHUNK_INDEX);
}

const char *
node_header(const uint8_t *data, size_t len, uint8_t *kind)
{
	*kind = 0;
	if (len < NODE_HEADER_LEN)
		return ("node is shorter than its header");
	if (len > NODE_MAX_BYTES)
		return ("node is too long");
	if (memcmp(data, magic, sizeof(magic)) != 0)
		return ("bad magic of a node");
	if (data[4] < NODE_LEAF || data[4] > NODE_COMMIT)
		return ("unknown kind of node");
	if (data[5] != NODE_VERSION)
		return ("unknown version of a node");
	if (data[6] != NODE_HASH_SHA256)
		return ("unknown hash algorithm");
	if (kind_has_level(data[4])) {
		if (data[7] < 1 || data[7] > NODE_LEVEL_MAX)
			return ("bad level of an index node");
	} else if (data[7] != 0)
		return ("level of a node that is no index");
	*kind = data[4];
	return (NULL);
}

uint8_t
node_level(const uint8_t *data)
{
	return (data[7]);
}

void
node_begin(struct wbuf *w, uint8_t kind, uint8_t level)
{
	wbuf_bytes(w, magic, sizeof(magic));
	wbuf_u8(w, kind);
	wbuf_u8(w, NODE_VERSION);
	wbuf_u8(w, NODE_HASH_SHA256);
	wbuf_u8(w, level);
}

static int
bad(struct rbuf *r, const char *why)
{
	rbuf_fail(r, why);
	errno = EBADMSG;
	return (-1);
}

/* Header and count of a directory node, behind which its items begin. */
static int
open_counted(struct rbuf *r, const uint8_t *data, size_t len, uint8_t want,
    uint32_t *count)
{
	const char *why;
	uint8_t kind;

	rbuf_init(r, data, len);
	if ((why = node_header(data, len, &kind)) != NULL)
		return (bad(r, why));
	if (kind != want)
		return (bad(r, "node of another kind"));
	(void)rbuf_bytes(r, NODE_HEADER_LEN);
	*count = rbuf_u32(r);
	if (r->error != NULL)
		return (bad(r, r->error));
	if (*count > NODE_LEAF_MAX)
		return (bad(r, "node has too many items"));
	if (rbuf_left(r) > NODE_LEAF_BYTES)
		return (bad(r, "items of a node are too long"));
	return (0);
}

/* The name of the next item, strictly greater than the one before. */
static int
next_name(struct rbuf *r, const uint8_t **last, size_t *last_len)
{
	const uint8_t *name;
	const char *why;
	size_t len, min;
	int c;

	len = rbuf_u8(r);
	if ((name = rbuf_bytes(r, len)) == NULL)
		return (bad(r, r->error));
	if ((why = name_problem(name, len)) != NULL)
		return (bad(r, why));
	if (*last != NULL) {
		min = *last_len < len ? *last_len : len;
		c = memcmp(*last, name, min);
		if (c > 0 || (c == 0 && *last_len >= len))
			return (bad(r, "names are not strictly ascending"));
	}
	*last = name;
	*last_len = len;
	return (0);
}

int
node_leaf_open(struct node_leaf *l, const uint8_t *data, size_t len)
{
	memset(l, 0, sizeof(*l));
	return (open_counted(&l->r, data, len, NODE_LEAF, &l->count));
}

int
node_leaf_next(struct node_leaf *l, const uint8_t **name, size_t *len,
    struct entry *e)
{
	const char *why;

	if (l->r.error != NULL)
		return (bad(&l->r, l->r.error));
	if (l->next == l->count)
		return (rbuf_end(&l->r));
	if (next_name(&l->r, &l->last, &l->last_len) == -1 ||
	    entry_decode(&l->r, e) == -1)
		return (-1);
	if ((why = entry_node_problem(e)) != NULL)
		return (bad(&l->r, why));
	l->next++;
	*name = l->last;
	*len = l->last_len;
	return (1);
}

int
node_index_open(struct node_index *x, const uint8_t *data, size_t len)
{
	memset(x, 0, sizeof(*x));
	if (open_counted(&x->r, data, len, NODE_INDEX, &x->count) == -1)
		return (-1);
	x->level = node_level(data);
	if (x->count == 0)
		return (bad(&x->r, "index node without children"));
	return (0);
}

int
node_index_next(struct node_index *x, struct node_child *c)
{
	const char *why;

	if (x->r.error != NULL)
		return (bad(&x->r, x->r.error));
	if (x->next == x->count)
		return (rbuf_end(&x->r));
	if (next_name(&x->r, &x->last, &x->last_len) == -1)
		return (-1);
	rbuf_hash(&x->r, &c->hash);
	c->entries = rbuf_u64(&x->r);
	c->files = rbuf_u64(&x->r);
	c->bytes = rbuf_u64(&x->r);
	if (x->r.error != NULL)
		return (bad(&x->r, x->r.error));
	if (hash_is_zero(&c->hash))
		return (bad(&x->r, "child without a hash"));
	if (c->entries == 0)
		return (bad(&x->r, "sums contradict: child without entries"));
	if (x->level == 1 && c->entries > NODE_LEAF_MAX)
		return (bad(&x->r, "sums contradict: too many for a leaf"));
	if ((why = entry_sums_problem(c->files, c->bytes)) != NULL)
		return (bad(&x->r, why));
	c->last = x->last;
	c->last_len = x->last_len;
	x->next++;
	return (1);
}

const char *
node_xattrs_open(const uint8_t *data, size_t len, const uint8_t **xattrs,
    size_t *xlen)
{
	const char *why;
	uint8_t kind;

	if ((why = node_header(data, len, &kind)) != NULL)
		return (why);
	if (kind != NODE_XATTRS)
		return ("node of another kind");
	*xattrs = data + NODE_HEADER_LEN;
	*xlen = len - NODE_HEADER_LEN;
	if (*xlen <= XATTRS_INLINE_MAX)
		return ("node of xattrs of 1 KiB or less");
	return (xattrs_problem(*xattrs, *xlen));
}

void
node_xattrs_encode(struct wbuf *w, const uint8_t *xattrs, size_t len)
{
	node_begin(w, NODE_XATTRS, 0);
	wbuf_bytes(w, xattrs, len);
}

int
node_xattrs_store(const struct node_store *s, struct entry *e)
{
	struct wbuf w;
	int r = -1;

	if (!hash_is_zero(&e->xattr_node) || e->xattrs_len <= XATTRS_INLINE_MAX)
		return (0);
	wbuf_init(&w, NODE_HEADER_LEN + SAIL_XATTRS_MAX);
	node_xattrs_encode(&w, e->xattrs, e->xattrs_len);
	if (w.error != 0)
		errno = w.error;
	else
		r = node_put(s, w.data, w.len, &e->xattr_node);
	wbuf_free(&w);
	if (r == -1) {
		memset(&e->xattr_node, 0, sizeof(e->xattr_node));
		return (-1);
	}
	e->xattrs = NULL;
	e->xattrs_len = 0;
	return (0);
}

int
node_xattrs_load(const struct node_store *s, struct entry *e,
    struct blob **keep, struct hash *missing)
{
	const uint8_t *xattrs;
	size_t len;

	*keep = NULL;
	if (hash_is_zero(&e->xattr_node))
		return (0);
	if ((*keep = s->get(s->ctx, &e->xattr_node)) == NULL) {
		if (errno == ENOENT) {
			*missing = e->xattr_node;
			errno = ENODATA;
		}
		return (-1);
	}
	if (node_xattrs_open((*keep)->data, (*keep)->len, &xattrs, &len) !=
	    NULL) {
		blob_unref(*keep);
		*keep = NULL;
		errno = EBADMSG;
		return (-1);
	}
	e->xattrs = xattrs;
	e->xattrs_len = len;
	memset(&e->xattr_node, 0, sizeof(e->xattr_node));
	return (0);
}

const char *
node_check(const uint8_t *data, size_t len, uint8_t *kind)
{
	struct node_child child;
	struct node_index x;
	struct node_leaf l;
	struct commit commit;
	struct entry e;
	const uint8_t *p;
	const char *why;
	uint64_t hashes;
	size_t n;
	int r;

	if ((why = node_header(data, len, kind)) != NULL)
		return (why);
	switch (*kind) {
	case NODE_LEAF:
		if (node_leaf_open(&l, data, len) == -1)
			return (l.r.error);
		while ((r = node_leaf_next(&l, &p, &n, &e)) == 1)
			;
		return (r == 0 ? NULL : l.r.error);
	case NODE_INDEX:
		if (node_index_open(&x, data, len) == -1)
			return (x.r.error);
		while ((r = node_index_next(&x, &child)) == 1)
			;
		return (r == 0 ? NULL : x.r.error);
	case NODE_CHUNK_LEAF:
	case NODE_CHUNK_INDEX:
		return (chunk_node_check(data, len, &hashes));
	case NODE_XATTRS:
		return (node_xattrs_open(data, len, &p, &n));
	default:
		return (commit_decode(data, len, &commit));
	}
}

typedef int (*reference_cb)(void *, const struct hash *, uint8_t);

static int
entry_references(const struct entry *e, reference_cb f, void *arg)
{
	uint8_t level;

	if (!hash_is_zero(&e->xattr_node) &&
	    f(arg, &e->xattr_node, NODE_XATTRS) == -1)
		return (-1);
	if (e->type == ENTRY_DIR)
		return (f(arg, &e->root, 0));
	if (e->type == ENTRY_FILE && e->chunk_form == CHUNKS_TREE) {
		level = chunk_tree_level(chunk_slots(e->size, e->chunk_shift));
		return (f(arg, &e->chunk_root,
		    level == 0 ? NODE_CHUNK_LEAF : NODE_CHUNK_INDEX));
	}
	return (0);
}

static int
leaf_references(const uint8_t *data, size_t len, reference_cb f, void *arg)
{
	const uint8_t *name;
	struct node_leaf l;
	struct entry e;
	size_t n;
	int r;

	if (node_leaf_open(&l, data, len) == -1)
		return (-1);
	while ((r = node_leaf_next(&l, &name, &n, &e)) == 1) {
		if (entry_references(&e, f, arg) == -1)
			return (-1);
	}
	return (r);
}

static int
index_references(const uint8_t *data, size_t len, reference_cb f, void *arg)
{
	struct node_child c;
	struct node_index x;
	int r;

	if (node_index_open(&x, data, len) == -1)
		return (-1);
	while ((r = node_index_next(&x, &c)) == 1) {
		if (f(arg, &c.hash, x.level == 1 ? NODE_LEAF : NODE_INDEX) ==
		    -1)
			return (-1);
	}
	return (r);
}

static int
chunk_references(const uint8_t *data, size_t len, reference_cb f, void *arg)
{
	struct hash h;
	struct rbuf r;
	uint64_t n;
	uint8_t kind;

	if (chunk_node_check(data, len, &n) != NULL) {
		errno = EBADMSG;
		return (-1);
	}
	kind = node_level(data) == 1 ? NODE_CHUNK_LEAF : NODE_CHUNK_INDEX;
	rbuf_init(&r, data + len - n * HASH_LEN, n * HASH_LEN);
	while (rbuf_left(&r) > 0) {
		rbuf_hash(&r, &h);
		if (f(arg, &h, kind) == -1)
			return (-1);
	}
	return (0);
}

int
node_references(const uint8_t *data, size_t len, reference_cb f, void *arg)
{
	struct commit commit;
	uint8_t kind;

	if (node_header(data, len, &kind) != NULL)
		goto bad;
	switch (kind) {
	case NODE_LEAF:
		return (leaf_references(data, len, f, arg));
	case NODE_INDEX:
		return (index_references(data, len, f, arg));
	case NODE_CHUNK_INDEX:
		return (chunk_references(data, len, f, arg));
	case NODE_COMMIT:
		if (commit_decode(data, len, &commit) != NULL)
			goto bad;
		return (entry_references(&commit.root, f, arg));
	default:
		return (0);
	}
bad:
	errno = EBADMSG;
	return (-1);
}

void
node_leaf_begin(struct wbuf *w)
{
	node_begin(w, NODE_LEAF, 0);
	wbuf_u32(w, 0);
}

void
node_leaf_add(struct wbuf *w, const uint8_t *name, size_t len,
    const struct entry *e)
{
	if (name_problem(name, len) != NULL || entry_node_problem(e) != NULL) {
		if (w->error == 0)
			w->error = EINVAL;
		return;
	}
	wbuf_u8(w, (uint8_t)len);
	wbuf_bytes(w, name, len);
	entry_encode(w, e);
}

void
node_leaf_end(struct wbuf *w, uint32_t count)
{
	wbuf_set_u32(w, NODE_HEADER_LEN, count);
}

void
node_index_begin(struct wbuf *w, uint8_t level)
{
	node_begin(w, NODE_INDEX, level);
	wbuf_u32(w, 0);
}

void
node_index_add(struct wbuf *w, const struct node_child *c)
{
	wbuf_u8(w, (uint8_t)c->last_len);
	wbuf_bytes(w, c->last, c->last_len);
	wbuf_hash(w, &c->hash);
	wbuf_u64(w, c->entries);
	wbuf_u64(w, c->files);
	wbuf_u64(w, c->bytes);
}

void
node_index_end(struct wbuf *w, uint32_t count)
{
	wbuf_set_u32(w, NODE_HEADER_LEN, count);
}
