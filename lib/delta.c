/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * delta: the encoding of deltas, sailvol-format(5), DELTAS.  The writer runs
 * in manifest, the reader in meta, which believes nothing of what it reads.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/delta.h"

static const uint8_t delta_magic[4] = { 'S', 'V', 'D', 'L' };
#define DELTA_VERSION 1

/* Flags of an operation. */
#define OP_REF 1u
#define OP_TREE 2u
#define OP_FLAGS (OP_REF | OP_TREE)

/* The least bytes of a context, of an operation, of an exception. */
#define CONTEXT_MIN 16
#define OP_MIN 8
#define EXCEPT_MIN 3

/* The first byte of a seen. */
#define SEEN_NOTHING 0
#define SEEN_OTHER 1
#define SEEN_DIR 2

/* ---- seen ---- */

static void
dir_content(struct hash *h)
{
	struct entry e;

	memset(&e, 0, sizeof(e));
	e.type = ENTRY_DIR;
	entry_content_hash(&e, h);
}

void
seen_of(const struct entry *e, struct seen *s)
{
	memset(s, 0, sizeof(*s));
	if (e == NULL)
		return;
	s->present = 1;
	s->is_dir = e->type == ENTRY_DIR;
	entry_content_hash(e, &s->content);
	entry_attr_hash(e, &s->attr);
}

int
seen_equal(const struct seen *a, const struct seen *b)
{
	if (!a->present || !b->present)
		return !a->present && !b->present;
	return hash_cmp(&a->content, &b->content) == 0 &&
	    hash_cmp(&a->attr, &b->attr) == 0;
}

void
seen_encode(struct wbuf *w, const struct seen *s)
{
	if (!s->present) {
		wbuf_u8(w, SEEN_NOTHING);
		return;
	}
	wbuf_u8(w, s->is_dir ? SEEN_DIR : SEEN_OTHER);
	if (!s->is_dir)
		wbuf_hash(w, &s->content);
	wbuf_hash(w, &s->attr);
}

int
seen_decode(struct rbuf *r, struct seen *s)
{
	struct hash dir;

	memset(s, 0, sizeof(*s));
	dir_content(&dir);
	switch (rbuf_u8(r)) {
	case SEEN_NOTHING:
		break;
	case SEEN_OTHER:
		s->present = 1;
		rbuf_hash(r, &s->content);
		rbuf_hash(r, &s->attr);
		if (r->error == NULL && hash_cmp(&s->content, &dir) == 0)
			rbuf_fail(r, "seen: content of a directory");
		break;
	case SEEN_DIR:
		s->present = s->is_dir = 1;
		s->content = dir;
		rbuf_hash(r, &s->attr);
		break;
	default:
		rbuf_fail(r, "seen: unknown kind");
	}
	return r->error == NULL ? 0 : -1;
}

/* ---- entries: as in a node, but that extended attributes are whole ---- */

static void
entry_put(struct wbuf *w, const struct entry *e)
{
	struct entry bare = *e;

	if (e->type == ENTRY_FILE) {
		/* The chunks of a put follow in their flat form. */
		bare.size = 0;
		bare.chunk_shift = CHUNK_SHIFT_MIN;
		bare.chunk_form = CHUNKS_INLINE;
		bare.chunks = NULL;
		bare.chunks_len = 0;
		memset(&bare.chunk_root, 0, sizeof(bare.chunk_root));
	}
	entry_encode(w, &bare);
	if (w->error == 0 && !hash_is_zero(&e->xattr_node))
		w->error = EINVAL;
}

static void
entry_get(struct rbuf *r, struct entry *e)
{
	if (entry_decode(r, e) == -1)
		return;
	if (!hash_is_zero(&e->xattr_node))
		rbuf_fail(r, "delta: entry with a node of attributes");
	if (e->type == ENTRY_DIR &&
	    (!hash_is_zero(&e->root) || e->files != 0 || e->bytes != 0))
		rbuf_fail(r, "delta: entry of a directory with a root");
	if (e->type == ENTRY_FILE &&
	    (e->size != 0 || e->chunk_shift != CHUNK_SHIFT_MIN))
		rbuf_fail(r, "delta: entry of a file with a size");
}

/* ---- writer ---- */

/* Hands over what was encoded; the first error sticks. */
static int
flush(struct delta_writer *dw)
{
	if (dw->error == 0 && dw->w.error != 0)
		dw->error = dw->w.error;
	if (dw->error == 0 && dw->sink(dw->arg, dw->w.data, dw->w.len) == -1)
		dw->error = errno != 0 ? errno : EIO;
	dw->w.len = 0;
	if (dw->error != 0) {
		errno = dw->error;
		return -1;
	}
	return 0;
}

int
delta_begin(struct delta_writer *dw, int (*sink)(void *, const void *, size_t),
    void *arg, const struct hash *commits, uint32_t ncommits, uint32_t ncontext,
    uint32_t nops)
{
	uint32_t i;

	memset(dw, 0, sizeof(*dw));
	dw->sink = sink;
	dw->arg = arg;
	dw->ncontext = ncontext;
	dw->nops = nops;
	wbuf_init(&dw->w, DELTA_MAX_BYTES);
	if (ncommits > DELTA_MAX_COMMITS || nops > DELTA_MAX_OPS)
		dw->error = E2BIG;
	wbuf_bytes(&dw->w, delta_magic, sizeof(delta_magic));
	wbuf_u8(&dw->w, DELTA_VERSION);
	wbuf_u8(&dw->w, NODE_HASH_SHA256);
	wbuf_u32(&dw->w, ncommits);
	wbuf_u32(&dw->w, ncontext);
	wbuf_u32(&dw->w, nops);
	for (i = 0; i < ncommits; i++)
		wbuf_hash(&dw->w, &commits[i]);
	return flush(dw);
}

int
delta_add_context(struct delta_writer *dw, const struct delta_context *c)
{
	if (dw->error == 0 && dw->ncontext-- == 0)
		dw->error = EINVAL;
	wbuf_str16(&dw->w, c->path, c->len);
	entry_put(&dw->w, &c->entry);
	return flush(dw);
}

static void
ref_put(struct wbuf *w, const struct tree_ref *ref,
    const struct delta_except *x, uint32_t n, int with_seen)
{
	uint32_t i;

	wbuf_u16(w, ref->commit);
	wbuf_str16(w, ref->path, ref->len);
	wbuf_u32(w, n);
	for (i = 0; i < n; i++) {
		wbuf_str16(w, x[i].path, x[i].len);
		if (with_seen)
			seen_encode(w, &x[i].seen);
	}
}

int
delta_add_op(struct delta_writer *dw, const struct delta_op *op)
{
	struct wbuf *w = &dw->w;

	if (dw->error == 0 && (dw->ncontext != 0 || dw->nops-- == 0))
		dw->error = EINVAL;
	wbuf_u8(w, op->kind);
	wbuf_u8(w, (op->has_ref ? OP_REF : 0) | (op->has_tree ? OP_TREE : 0));
	wbuf_str16(w, op->path, op->len);
	seen_encode(w, &op->seen);
	if (op->kind == DELTA_PUT || op->kind == DELTA_ATTR)
		entry_put(w, &op->entry);
	if (op->kind == DELTA_PUT && op->entry.type == ENTRY_FILE) {
		if (op->chunks != NULL)
			chunklist_encode(w, op->chunks);
		else if (dw->error == 0)
			dw->error = EINVAL;
	}
	if (op->has_ref)
		ref_put(w, &op->ref, op->ref_except, op->nref_except, 0);
	if (op->has_tree)
		ref_put(w, &op->tree, op->tree_except, op->ntree_except, 1);
	return flush(dw);
}

int
delta_end(struct delta_writer *dw)
{
	if (dw->error == 0 && (dw->ncontext != 0 || dw->nops != 0))
		dw->error = EINVAL;
	wbuf_free(&dw->w);
	if (dw->error != 0) {
		errno = dw->error;
		return -1;
	}
	return 0;
}

/* ---- reader ---- */

static void
path_get(struct rbuf *r, const uint8_t **path, size_t *len)
{
	const char *why;

	*path = rbuf_str16(r, SAIL_PATH_MAX, len);
	if (r->error == NULL && (why = path_problem(*path, *len)) != NULL)
		rbuf_fail(r, why);
}

static int
hash_qcmp(const void *a, const void *b)
{
	return hash_cmp(a, b);
}

static void
commits_get(struct rbuf *r, struct delta *d)
{
	struct hash *sorted;
	uint32_t i;

	if (d->ncommits > rbuf_left(r) / HASH_LEN) {
		rbuf_fail(r, "delta: truncated table of commits");
		return;
	}
	d->commits = calloc((size_t)d->ncommits + 1, sizeof(*d->commits));
	sorted = calloc((size_t)d->ncommits + 1, sizeof(*sorted));
	if (d->commits == NULL || sorted == NULL) {
		rbuf_fail(r, "delta: out of memory");
		free(sorted);
		return;
	}
	for (i = 0; i < d->ncommits; i++) {
		rbuf_hash(r, &d->commits[i]);
		sorted[i] = d->commits[i];
	}
	qsort(sorted, d->ncommits, sizeof(*sorted), hash_qcmp);
	for (i = 1; i < d->ncommits; i++)
		if (hash_cmp(&sorted[i - 1], &sorted[i]) == 0)
			rbuf_fail(r, "delta: a commit stands twice");
	free(sorted);
}

static void
context_get(struct rbuf *r, struct delta *d)
{
	struct delta_context *c, *prev = NULL;
	uint32_t i;

	if (d->ncontext > rbuf_left(r) / CONTEXT_MIN) {
		rbuf_fail(r, "delta: truncated context");
		return;
	}
	d->context = calloc((size_t)d->ncontext + 1, sizeof(*d->context));
	if (d->context == NULL) {
		rbuf_fail(r, "delta: out of memory");
		return;
	}
	for (i = 0; i < d->ncontext && r->error == NULL; i++, prev = c) {
		c = &d->context[i];
		path_get(r, &c->path, &c->len);
		if (r->error != NULL)
			return;
		if (c->len == 0)
			rbuf_fail(r, "delta: context of the root");
		else if (prev != NULL &&
		    path_cmp(prev->path, prev->len, c->path, c->len) >= 0)
			rbuf_fail(r, "delta: context not in order");
		entry_get(r, &c->entry);
		if (r->error == NULL && c->entry.type != ENTRY_DIR)
			rbuf_fail(r, "delta: context is no directory");
	}
}

/*
 * An exception of a reference takes all that is below it, so that none lies
 * below another; below an exception of a tree that is no directory nothing
 * was seen.
 */
static void
except_order(struct rbuf *r, const struct delta_except *x, uint32_t i,
    const struct delta_except **closed, int with_seen)
{
	if (x[i].len == 0)
		rbuf_fail(r, "delta: exception without a path");
	else if (i > 0 &&
	    path_cmp(x[i - 1].path, x[i - 1].len, x[i].path, x[i].len) >= 0)
		rbuf_fail(r, "delta: exceptions not in order");
	else if (*closed != NULL &&
	    path_is_below(x[i].path, x[i].len, (*closed)->path, (*closed)->len))
		rbuf_fail(r, "delta: exception below one that ends there");
	else if (!with_seen || !x[i].seen.present || !x[i].seen.is_dir)
		*closed = &x[i];
}

static void
ref_get(struct rbuf *r, const struct delta *d, struct tree_ref *ref,
    struct delta_except **except, uint32_t *nexcept, int with_seen)
{
	const struct delta_except *closed = NULL;
	struct delta_except *x;
	uint32_t i, n;

	ref->commit = rbuf_u16(r);
	if (r->error == NULL && ref->commit >= d->ncommits)
		rbuf_fail(r, "delta: reference to no commit of the table");
	path_get(r, &ref->path, &ref->len);
	n = rbuf_u32(r);
	if (r->error == NULL && n > rbuf_left(r) / EXCEPT_MIN)
		rbuf_fail(r, "delta: truncated exceptions");
	if (r->error != NULL || n == 0)
		return;
	if ((x = calloc(n, sizeof(*x))) == NULL) {
		rbuf_fail(r, "delta: out of memory");
		return;
	}
	*except = x;
	*nexcept = n;
	for (i = 0; i < n && r->error == NULL; i++) {
		path_get(r, &x[i].path, &x[i].len);
		if (with_seen)
			(void)seen_decode(r, &x[i].seen);
		if (r->error == NULL)
			except_order(r, x, i, &closed, with_seen);
		if (r->error == NULL && x[i].len + 1 + ref->len > SAIL_PATH_MAX)
			rbuf_fail(r, "delta: path of an exception too long");
	}
}

/* What the kind of an operation demands of its parts. */
static const char *
op_problem(const struct delta_op *op)
{
	int dir_seen = op->seen.present && op->seen.is_dir;
	int has_entry = op->kind == DELTA_PUT || op->kind == DELTA_ATTR;
	int is_dir = has_entry && op->entry.type == ENTRY_DIR;

	if (op->len == 0 && (op->kind != DELTA_ATTR || op->has_tree || !is_dir))
		return "delta: the root can have its attributes set only";
	if (op->has_ref && (op->kind != DELTA_PUT || !is_dir))
		return "delta: only a put directory has a reference";
	if (op->has_tree && !dir_seen)
		return "delta: a tree goes where no directory was seen";
	switch (op->kind) {
	case DELTA_ATTR:
		if (op->entry.type != ENTRY_DIR && op->entry.type != ENTRY_FILE)
			return "delta: attributes of no file or directory";
		if (op->has_tree && !is_dir)
			return "delta: attributes of a file with a tree";
		break;
	case DELTA_DELETE:
		if (!op->seen.present || dir_seen)
			return "delta: delete of what was not seen";
		if (op->has_tree)
			return "delta: delete with a tree";
		break;
	case DELTA_TREE:
		if (!op->has_tree)
			return "delta: delete tree without a tree";
		break;
	}
	return NULL;
}

static void
op_get(struct rbuf *r, const struct delta *d, struct delta_op *op)
{
	const char *why;
	uint8_t flags;

	op->kind = rbuf_u8(r);
	if (op->kind < DELTA_PUT || op->kind > DELTA_TREE)
		rbuf_fail(r, "delta: unknown operation");
	flags = rbuf_u8(r);
	if (flags & ~OP_FLAGS)
		rbuf_fail(r, "delta: unknown flags");
	op->has_ref = (flags & OP_REF) != 0;
	op->has_tree = (flags & OP_TREE) != 0;
	path_get(r, &op->path, &op->len);
	(void)seen_decode(r, &op->seen);
	if (r->error != NULL)
		return;
	if (op->kind == DELTA_PUT || op->kind == DELTA_ATTR) {
		entry_get(r, &op->entry);
		if (r->error != NULL)
			return;
	}
	if ((why = op_problem(op)) != NULL) {
		rbuf_fail(r, why);
		return;
	}
	if (op->kind == DELTA_PUT && op->entry.type == ENTRY_FILE) {
		op->chunks = chunklist_decode(r, DELTA_MAX_HASHES);
		if (op->chunks == NULL) {
			rbuf_fail(r, "delta: bad chunks");
			return;
		}
		op->entry.size = chunklist_size(op->chunks);
		op->entry.chunk_shift = chunklist_shift(op->chunks);
	}
	if (op->has_ref)
		ref_get(r, d, &op->ref, &op->ref_except, &op->nref_except, 0);
	if (op->has_tree)
		ref_get(r, d, &op->tree, &op->tree_except, &op->ntree_except,
		    1);
}

int
delta_op_puts(const struct delta_op *op)
{
	return op->kind == DELTA_PUT ||
	    (op->kind == DELTA_ATTR && op->has_tree);
}

void
delta_op_clear(struct delta_op *op)
{
	chunklist_free(op->chunks);
	free(op->ref_except);
	free(op->tree_except);
	memset(op, 0, sizeof(*op));
}

int
delta_op_get(const struct delta *d, uint32_t i, struct delta_op *op)
{
	struct rbuf r;

	memset(op, 0, sizeof(*op));
	rbuf_init(&r, d->data, d->data_len);
	r.pos = d->ops[i].at;
	op_get(&r, d, op);
	if (r.error == NULL)
		return 0;
	/* It was good when it was read first. */
	errno = ENOMEM;
	return -1;
}

/* Checks the operation at r, and notes where it is. */
static void
place_get(struct rbuf *r, const struct delta *d, struct delta_place *at)
{
	struct delta_op op;

	memset(&op, 0, sizeof(op));
	at->at = (uint32_t)r->pos;
	op_get(r, d, &op);
	at->path = op.path;
	at->len = (uint16_t)op.len;
	at->puts = delta_op_puts(&op) != 0;
	at->leaves_dir = (op.kind == DELTA_PUT || op.kind == DELTA_ATTR) &&
	    op.entry.type == ENTRY_DIR;
	at->sets = op.kind == DELTA_PUT || op.kind == DELTA_ATTR;
	delta_op_clear(&op);
}

static void
ops_get(struct rbuf *r, struct delta *d, const struct delta_place **blame)
{
	const struct delta_place *closed = NULL;
	struct delta_place *op, *prev = NULL;
	uint32_t i;

	if (d->nops > rbuf_left(r) / OP_MIN) {
		rbuf_fail(r, "delta: truncated operations");
		return;
	}
	if ((d->ops = calloc((size_t)d->nops + 1, sizeof(*d->ops))) == NULL) {
		rbuf_fail(r, "delta: out of memory");
		return;
	}
	for (i = 0; i < d->nops && r->error == NULL; i++, prev = op) {
		*blame = op = &d->ops[i];
		place_get(r, d, op);
		if (r->error != NULL)
			return;
		if (prev != NULL &&
		    path_cmp(prev->path, prev->len, op->path, op->len) >= 0) {
			rbuf_fail(r, "delta: operations not in order");
			return;
		}
		if (closed != NULL &&
		    path_is_below(op->path, op->len, closed->path,
			closed->len)) {
			if (op->sets)
				rbuf_fail(r,
				    "delta: operation below what is gone");
			continue;
		}
		closed = op->leaves_dir ? NULL : op;
	}
	if (r->error == NULL)
		*blame = NULL;
}

static size_t
path_depth(const uint8_t *path, size_t len)
{
	size_t i, n = len != 0;

	for (i = 0; i < len; i++)
		n += path[i] == '/';
	return n;
}

/*
 * Each directory above a put stands in the context or is put, or set, itself.
 * One pass over both lists in their common order, with the directories above
 * the present path on a stack.
 */
static const char *
context_check(const struct delta *d, const struct delta_place **blame)
{
	struct {
		const uint8_t *path;
		size_t len;
	} stack[SAIL_DEPTH_MAX + 1];
	const struct delta_place *op;
	const struct delta_context *c;
	const uint8_t *path;
	size_t n = 0, len;
	uint32_t ic = 0, io = 0;
	int both, order, push;

	while (ic < d->ncontext || io < d->nops) {
		c = ic < d->ncontext ? &d->context[ic] : NULL;
		op = io < d->nops ? &d->ops[io] : NULL;
		order = c == NULL ? 1
		    : op == NULL  ? -1
				 : path_cmp(c->path, c->len, op->path, op->len);
		both = order == 0;
		path = order <= 0 ? c->path : op->path;
		len = order <= 0 ? c->len : op->len;
		ic += order <= 0;
		io += order >= 0;
		while (n > 0 &&
		    !path_is_below(path, len, stack[n - 1].path,
			stack[n - 1].len))
			n--;
		push = order < 0 || op->leaves_dir;
		if (order >= 0 && op->puts && path_depth(path, len) != n + 1) {
			*blame = op;
			return "delta: no context above a put";
		}
		if (both && !op->leaves_dir) {
			*blame = op;
			return "delta: context of what is no directory";
		}
		if (push && len != 0) {
			stack[n].path = path;
			stack[n++].len = len;
		}
	}
	return NULL;
}

struct delta *
delta_decode(const uint8_t *data, size_t len, const char **why)
{
	const uint8_t *path;
	size_t path_len;

	return delta_decode_blame(data, len, why, &path, &path_len);
}

struct delta *
delta_decode_blame(const uint8_t *data, size_t len, const char **why,
    const uint8_t **path, size_t *path_len)
{
	const struct delta_place *blame = NULL;
	struct rbuf r;
	struct delta *d;
	const uint8_t *magic;

	*why = NULL;
	*path = NULL;
	*path_len = 0;
	if (len > DELTA_MAX_BYTES) {
		*why = "delta: too large";
		errno = EFBIG;
		return NULL;
	}
	if ((d = calloc(1, sizeof(*d))) == NULL) {
		*why = "delta: out of memory";
		return NULL;
	}
	d->data = data;
	d->data_len = len;
	rbuf_init(&r, data, len);
	magic = rbuf_bytes(&r, sizeof(delta_magic));
	if (magic != NULL &&
	    memcmp(magic, delta_magic, sizeof(delta_magic)) != 0)
		rbuf_fail(&r, "delta: not one");
	if (rbuf_u8(&r) != DELTA_VERSION)
		rbuf_fail(&r, "delta: unknown version");
	if (rbuf_u8(&r) != NODE_HASH_SHA256)
		rbuf_fail(&r, "delta: unknown hash algorithm");
	d->ncommits = rbuf_u32(&r);
	d->ncontext = rbuf_u32(&r);
	d->nops = rbuf_u32(&r);
	if (r.error == NULL &&
	    (d->ncommits > DELTA_MAX_COMMITS || d->nops > DELTA_MAX_OPS))
		rbuf_fail(&r, "delta: too many commits or operations");
	if (r.error == NULL)
		commits_get(&r, d);
	if (r.error == NULL)
		context_get(&r, d);
	if (r.error == NULL)
		ops_get(&r, d, &blame);
	(void)rbuf_end(&r);
	if (r.error == NULL)
		r.error = context_check(d, &blame);
	if (r.error != NULL) {
		*why = r.error;
		if (blame != NULL && blame->path != NULL) {
			*path = blame->path;
			*path_len = blame->len;
		}
		delta_free(d);
		errno = EBADMSG;
		return NULL;
	}
	return d;
}

void
delta_free(struct delta *d)
{
	if (d == NULL)
		return;
	free(d->ops);
	free(d->context);
	free(d->commits);
	free(d);
}
