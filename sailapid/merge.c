/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * merge: what becomes of each path that a delta or a difference names,
 * sailvol-format(5), MERGE.  Runs in meta.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "sailapid/merge_walk.h"

/* What is put at a path, by an operation or by a reference. */
struct put {
	int on;
	int replaces; /* what was there was removed first: nothing of it stays */
	struct entry e;
	struct wbuf chunks; /* e's views */
};

int
merge_fail(struct merge *m, int error, const char *why, const uint8_t *path,
    size_t len)
{
	m->out->why = why;
	m->out->why_path = path;
	m->out->why_path_len = len;
	errno = error;
	return -1;
}

static struct timens
later(struct timens a, struct timens b)
{
	return timens_cmp(a, b) >= 0 ? a : b;
}

static int
is_dir(const struct entry *e)
{
	return e != NULL && e->type == ENTRY_DIR;
}

static int
op_removes(const struct delta_op *op)
{
	return op != NULL &&
	    (op->kind == DELTA_DELETE || op->kind == DELTA_TREE);
}

static int
op_puts(const struct delta_op *op)
{
	return op != NULL && delta_op_puts(op);
}

/* 1 when the path is not what the committer saw there. */
static int
unseen(const struct spot *s)
{
	struct seen h;

	if (!s->seen_known)
		return 1;
	seen_of(s->head, &h);
	return !seen_equal(&h, &s->seen);
}

static int
set_attributes(struct merge *m, struct entry *e, const struct entry *from)
{
	e->mode = from->mode;
	e->uid = from->uid;
	e->gid = from->gid;
	e->xattrs = from->xattrs;
	e->xattrs_len = from->xattrs_len;
	e->xattr_node = from->xattr_node;
	if (e->type == ENTRY_FILE)
		e->mtime = from->mtime;
	e->ctime = later(e->ctime, from->ctime);
	return node_xattrs_store(&m->store, e);
}

static int
find_put(struct merge *m, const struct spot *s, struct put *p)
{
	const struct delta_op *op = s->op;

	memset(p, 0, sizeof(*p));
	wbuf_init(&p->chunks, NODE_MAX_BYTES);
	if (op_puts(op)) {
		p->on = 1;
		p->e = op->entry;
		if (node_xattrs_store(&m->store, &p->e) == -1)
			return -1;
		if (op->entry.type != ENTRY_FILE)
			return 0;
		if (op->chunks == NULL)
			return merge_fail(m, EINVAL,
			    "put of a file without "
			    "chunks",
			    op->path, op->len);
		return chunklist_to_entry(op->chunks, &m->store, &p->e,
		    &p->chunks);
	}
	if (s->ref == NULL)
		return 0;
	p->on = 1;
	p->e = *s->ref;
	p->replaces = s->seen.present && (op == NULL || op_removes(op));
	if (op == NULL || op->kind != DELTA_ATTR || op->entry.type != p->e.type)
		return 0;
	return set_attributes(m, &p->e, &op->entry);
}

/* ---- what is known of the names below ---- */

static int
seen_below(struct merge *m, const struct dir *parent, struct spot *s)
{
	const struct delta_op *op = s->op;
	struct scope *b = &s->below.seen;

	if (op != NULL && op->has_tree)
		return merge_open_scope(m, op, &op->tree, op->tree_except,
		    op->ntree_except, 0, b);
	if (parent != NULL && parent->seen.kind == SCOPE_TREE) {
		if (s->seen_x != NULL &&
		    !(s->seen_x->seen.present && s->seen_x->seen.is_dir))
			return 0;
		if (is_dir(s->seen_entry)) {
			b->has_root = 1;
			b->root = s->seen_entry->root;
		}
		return 0;
	}
	b->kind = parent != NULL ? parent->seen.kind : SCOPE_UNKNOWN;
	if (op_puts(op) &&
	    (op->has_ref || !op->seen.present || !op->seen.is_dir))
		b->kind = SCOPE_NOTHING;
	return 0;
}

static int
ref_below(struct merge *m, struct spot *s)
{
	const struct delta_op *op = s->op;
	struct scope *b = &s->below.ref;

	if (op_puts(op) && op->has_ref)
		return merge_open_scope(m, op, &op->ref, op->ref_except,
		    op->nref_except, 1, b);
	if (b->kind != SCOPE_TREE || s->ref_closed || s->below.wipe) {
		memset(b, 0, sizeof(*b));
		b->kind = SCOPE_NOTHING;
	} else if (is_dir(s->ref)) {
		b->has_root = 1;
		b->root = s->ref->root;
	}
	return 0;
}

/* Names below that may change; else the directory is as in the head. */
static int
must_walk(const struct dir *b, const struct put *p)
{
	if (b->lo < b->hi || (p->on && p->e.type == ENTRY_DIR))
		return 1;
	return b->has_head &&
	    (b->wipe || b->seen.has_root || b->seen.nx > 0 || b->ref.has_root);
}

static int
walk_below(struct merge *m, const struct dir *parent, struct spot *s,
    const struct put *p, struct outcome *o)
{
	struct dir *b = &s->below;

	if (is_dir(s->head)) {
		b->has_head = 1;
		b->head_root = s->head->root;
	}
	b->wipe = (parent != NULL && parent->wipe) ||
	    (p->on && p->e.type != ENTRY_DIR);
	if (s->has_prior && !b->wipe && is_dir(s->head) &&
	    is_dir(s->prior_head) && is_dir(s->prior_result)) {
		b->has_prior = 1;
		b->prior_head = s->prior_head->root;
		b->prior_root = s->prior_result->root;
	}
	if (seen_below(m, parent, s) == -1 || ref_below(m, s) == -1)
		return -1;
	memset(o, 0, sizeof(*o));
	o->empty = 1;
	if (must_walk(b, p))
		return merge_children(m, b, o);
	if (b->has_head) {
		o->root = s->head->root;
		o->sums.files = s->head->files;
		o->sums.bytes = s->head->bytes;
		o->empty = hash_cmp(&o->root, &m->empty_root) == 0;
	}
	return 0;
}

/* ---- what stands at the path ---- */

static const struct delta_context *
find_context(const struct merge *m, const struct dir *b)
{
	const struct delta *d = m->delta;
	const uint8_t *path;
	uint32_t lo = 0, hi = d->ncontext, mid;
	int order;

	if (b->lo == b->hi || b->path_len == 0)
		return NULL;
	path = d->ops[b->lo].path;
	while (lo < hi) {
		mid = lo + (hi - lo) / 2;
		order = path_cmp(d->context[mid].path, d->context[mid].len,
		    path, b->path_len);
		if (order == 0)
			return &d->context[mid];
		if (order < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return NULL;
}

/* The names of a directory that stays, and its times when they differ from
   the head's; from: what the committer showed there, or NULL. */
static void
set_names(const struct spot *s, const struct outcome *o,
    const struct entry *from, struct entry *e)
{
	e->root = o->root;
	e->files = o->sums.files;
	e->bytes = o->sums.bytes;
	if (from != NULL && hash_cmp(&o->root, &s->head->root) != 0) {
		e->mtime = later(e->mtime, from->mtime);
		e->ctime = later(e->ctime, from->ctime);
	}
}

static int
give(struct merge *m, const struct spot *s, const struct entry *e,
    struct result *res)
{
	struct wbuf a, b;
	int rc = -1;

	wbuf_init(&a, NODE_MAX_BYTES);
	wbuf_init(&b, NODE_MAX_BYTES);
	if (s->head != NULL) {
		entry_encode(&a, s->head);
		entry_encode(&b, e);
		if (a.error != 0 || b.error != 0) {
			(void)merge_fail(m, a.error ? a.error : b.error,
			    "entry cannot be encoded", NULL, 0);
			goto done;
		}
		res->same =
		    a.len == b.len && memcmp(a.data, b.data, a.len) == 0;
	}
	if ((res->e = entry_dup(e)) != NULL)
		rc = 0;
done:
	wbuf_free(&a);
	wbuf_free(&b);
	return rc;
}

static int
settle_put(struct merge *m, const struct spot *s, const struct put *p,
    const struct outcome *o, struct result *res)
{
	struct seen h, w;
	struct entry e = p->e;
	int equal;

	seen_of(s->head, &h);
	seen_of(&p->e, &w);
	equal = seen_equal(&h, &w);
	if (!equal && unseen(s) && merge_report(m, &s->below) == -1)
		return -1;
	if (equal && !p->replaces)
		e = *s->head;
	if (e.type == ENTRY_DIR) {
		e.root = o->root;
		e.files = o->sums.files;
		e.bytes = o->sums.bytes;
		if (is_dir(s->head) && !p->replaces &&
		    (!equal || hash_cmp(&o->root, &s->head->root) != 0)) {
			e.mtime = later(s->head->mtime, p->e.mtime);
			e.ctime = later(s->head->ctime, p->e.ctime);
		}
	}
	return give(m, s, &e, res);
}

/* The head has no directory here, but something stands below it. */
static int
settle_made(struct merge *m, const struct spot *s, const struct outcome *o,
    struct result *res)
{
	const struct delta_context *c;
	const struct dir *b = &s->below;
	struct entry e;

	if (s->op != NULL && s->op->kind == DELTA_ATTR &&
	    s->op->entry.type == ENTRY_DIR)
		e = s->op->entry;
	else if ((c = find_context(m, b)) != NULL)
		e = c->entry;
	else
		return merge_fail(m, EINVAL,
		    "no context of a directory that "
		    "is to be made again",
		    m->delta->ops[b->lo].path, b->path_len);
	if (node_xattrs_store(&m->store, &e) == -1)
		return -1;
	e.root = o->root;
	e.files = o->sums.files;
	e.bytes = o->sums.bytes;
	if (unseen(s) && merge_report(m, b) == -1)
		return -1;
	return give(m, s, &e, res);
}

static int
settle_attr(struct merge *m, const struct spot *s, const struct outcome *o,
    struct result *res)
{
	const struct delta_op *op = s->op;
	struct entry e = *s->head;
	struct hash h, w;

	if (e.type == op->entry.type) {
		entry_attr_hash(s->head, &h);
		entry_attr_hash(&op->entry, &w);
		if (hash_cmp(&h, &w) != 0) {
			if ((!s->seen.present ||
				hash_cmp(&h, &s->seen.attr) != 0) &&
			    merge_report(m, &s->below) == -1)
				return -1;
			if (set_attributes(m, &e, &op->entry) == -1)
				return -1;
			if (e.type == ENTRY_DIR)
				e.mtime = later(e.mtime, op->entry.mtime);
		}
	}
	if (e.type == ENTRY_DIR)
		set_names(s, o, op->entry.type == ENTRY_DIR ? &op->entry : NULL,
		    &e);
	return give(m, s, &e, res);
}

/* No operation and no reference puts anything here, or one removes it. */
static int
settle_rest(struct merge *m, const struct dir *parent, const struct spot *s,
    const struct outcome *o, struct result *res)
{
	const struct delta_context *c;
	struct entry e = *s->head;
	int removed;

	removed = op_removes(s->op) ||
	    (s->op == NULL && parent != NULL &&
		parent->seen.kind == SCOPE_TREE && s->seen.present);
	if (removed && (e.type != ENTRY_DIR || o->empty))
		return unseen(s) ? merge_report(m, &s->below) : 0;
	if (e.type == ENTRY_DIR) {
		c = find_context(m, &s->below);
		set_names(s, o, c != NULL ? &c->entry : NULL, &e);
	}
	return give(m, s, &e, res);
}

static int
settle(struct merge *m, const struct dir *parent, const struct spot *s,
    const struct put *p, const struct outcome *o, struct result *res)
{
	if (parent != NULL && parent->wipe) {
		if (s->head != NULL && unseen(s))
			return merge_report(m, &s->below);
		return 0;
	}
	if (p->on)
		return settle_put(m, s, p, o, res);
	if (!is_dir(s->head) && !o->empty)
		return settle_made(m, s, o, res);
	if (s->head == NULL)
		return 0;
	if (s->op != NULL && s->op->kind == DELTA_ATTR)
		return settle_attr(m, s, o, res);
	return settle_rest(m, parent, s, o, res);
}

/* What becomes of the path, and what that counts. */
static int
merge_path(struct merge *m, const struct dir *parent, const struct spot *s,
    const struct put *p, const struct outcome *o, struct result *res)
{
	struct merge_out *out = m->out;

	if (settle(m, parent, s, p, o, res) == -1)
		return -1;
	if (res->e == NULL)
		res->same = s->head == NULL;
	if (s->op != NULL && !res->same) {
		if (op_removes(s->op))
			out->deletes += m->take_back ? (uint64_t)-1 : 1;
		else
			out->puts += m->take_back ? (uint64_t)-1 : 1;
	}
	return 0;
}

/* What the path alone counted in the prior merge. */
static int
take_back_path(struct merge *m, const struct dir *parent, const struct spot *s,
    const struct put *p)
{
	struct spot before = *s;
	struct result old = { NULL, 0 };
	struct outcome o;
	int rc;

	before.head = s->prior_head;
	o.root = s->prior_result->root;
	o.sums.files = s->prior_result->files;
	o.sums.bytes = s->prior_result->bytes;
	o.empty = hash_cmp(&o.root, &m->empty_root) == 0;
	m->take_back = 1;
	rc = merge_path(m, parent, &before, p, &o, &old);
	m->take_back = 0;
	free(old.e);
	return rc;
}

int
merge_spot(struct merge *m, const struct dir *parent, struct spot *s,
    struct result *res)
{
	struct outcome o;
	struct put p;
	int rc = -1;

	res->e = NULL;
	res->same = 0;
	if (parent != NULL && parent->wipe) {
		memset(&p, 0, sizeof(p));
		s->ref = NULL;
		if (s->op != NULL && !op_removes(s->op)) {
			(void)merge_fail(m, EINVAL,
			    "operation below what is "
			    "no directory",
			    s->op->path, s->op->len);
			goto done;
		}
	} else if (find_put(m, s, &p) == -1)
		goto done;
	if (walk_below(m, parent, s, &p, &o) == -1 ||
	    merge_path(m, parent, s, &p, &o, res) == -1)
		goto done;
	if (s->below.has_prior && take_back_path(m, parent, s, &p) == -1)
		goto done;
	rc = 0;
done:
	wbuf_free(&p.chunks);
	return rc;
}

int
merge_spot_again(struct merge *m, const struct dir *parent, struct spot *s,
    struct result *res)
{
	struct result old = { NULL, 0 };
	struct spot before = *s;
	int rc;

	if (merge_spot(m, parent, s, res) == -1)
		return -1;
	/* Else the names below were taken back one by one. */
	if (s->below.has_prior)
		return 0;
	before.head = s->prior_head;
	before.has_prior = 0;
	m->take_back = 1;
	rc = merge_spot(m, parent, &before, &old);
	m->take_back = 0;
	free(old.e);
	return rc;
}

/* ---- the whole ---- */

static struct blob *
store_get(void *ctx, const struct hash *h)
{
	struct merge *m = ctx;
	struct blob *b = m->in->store->get(m->in->store->ctx, h);

	if (b == NULL && errno == ENOENT)
		m->out->missing = *h;
	return b;
}

static int
store_put(void *ctx, const struct hash *h, const uint8_t *data, size_t len)
{
	struct merge *m = ctx;

	return m->in->store->put(m->in->store->ctx, h, data, len);
}

static int
merge_root(struct merge *m, struct result *res)
{
	const struct delta *d = m->delta;
	struct spot s;
	int r;

	memset(&s, 0, sizeof(s));
	s.head = m->in->head_root;
	s.below.hi = d->nops;
	s.below.ref.kind = SCOPE_NOTHING;
	if (d->nops > 0 && d->ops[0].len == 0) {
		if (delta_op_get(d, 0, &s.op_mem) == -1) {
			delta_op_clear(&s.op_mem);
			return -1;
		}
		s.op = &s.op_mem;
		s.seen = s.op->seen;
		s.seen_known = 1;
		s.below.lo = 1;
	}
	if (m->in->prior != NULL) {
		s.has_prior = 1;
		s.prior_head = m->in->prior_head;
		s.prior_result = &m->in->prior->root;
		r = merge_spot_again(m, NULL, &s, res);
	} else
		r = merge_spot(m, NULL, &s, res);
	delta_op_clear(&s.op_mem);
	return r;
}

static const char *
default_why(int error)
{
	switch (error) {
	case ENODATA:
		return "a node is missing";
	case EBADMSG:
		return "a node is bad";
	case ENOMEM:
		return "out of memory";
	default:
		return "the store failed";
	}
}

int
merge_apply(const struct merge_in *in, struct merge_out *out)
{
	struct merge m;
	struct result res = { NULL, 0 };
	uint32_t i;
	int saved, rc = -1;

	memset(out, 0, sizeof(*out));
	memset(&m, 0, sizeof(m));
	m.in = in;
	m.out = out;
	m.delta = in->delta;
	m.store.get = store_get;
	m.store.put = store_put;
	m.store.ctx = &m;
	tree_empty_root(&m.empty_root);
	m.roots = calloc((size_t)in->delta->ncommits + 1, sizeof(*m.roots));
	if (m.roots == NULL)
		goto done;
	if (in->prior != NULL) {
		out->puts = in->prior->puts;
		out->deletes = in->prior->deletes;
		out->overwritten = in->prior->overwritten;
		if ((m.old_gone = calloc(in->prior->npaths + 1, 1)) == NULL)
			goto done;
	}
	if (merge_root(&m, &res) == -1)
		goto done;
	out->refused = in->if_unchanged && out->overwritten > 0;
	out->changed = !out->refused && !res.same;
	if (!out->changed) {
		free(res.e);
		if ((res.e = entry_dup(in->head_root)) == NULL)
			goto done;
	}
	if (out->refused)
		out->puts = out->deletes = 0;
	out->root_mem = res.e;
	out->root = *res.e;
	res.e = NULL;
	rc = merge_report_end(&m);
done:
	saved = errno;
	free(res.e);
	for (i = 0; m.roots != NULL && i < in->delta->ncommits; i++)
		free(m.roots[i]);
	free(m.roots);
	free(m.old_gone);
	if (rc == -1 && out->why == NULL)
		out->why = default_why(saved);
	errno = saved;
	return rc;
}

void
merge_out_free(struct merge_out *out)
{
	size_t i;

	if (out == NULL)
		return;
	for (i = 0; i < out->npaths; i++)
		free(out->paths[i].path);
	free(out->paths);
	free(out->root_mem);
	out->paths = NULL;
	out->npaths = 0;
	out->root_mem = NULL;
}
