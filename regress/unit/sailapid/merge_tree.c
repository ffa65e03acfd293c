/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * merge_tree: conversions between the model and real trees, for the tests.
 */
#include <err.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "regress/unit/sailapid/merge_tree.h"

const uint8_t test_salt[TREE_SALT_LEN] = { 1, 2, 3 };

/* ---- store ---- */

struct mem_node {
	struct mem_node *next;
	struct hash h;
	struct blob *b;
};

static size_t
slot_of(const struct mem_store *s, const struct hash *h)
{
	uint32_t k;

	memcpy(&k, h->b, sizeof(k));
	return k & (s->nslots - 1);
}

static struct blob *
mem_get(void *ctx, const struct hash *h)
{
	struct mem_store *s = ctx;
	struct mem_node *n;

	s->gets++;
	for (n = s->slot[slot_of(s, h)]; n != NULL; n = n->next)
		if (hash_cmp(&n->h, h) == 0)
			return blob_ref(n->b);
	errno = ENOENT;
	return NULL;
}

static int
mem_put(void *ctx, const struct hash *h, const uint8_t *data, size_t len)
{
	struct mem_store *s = ctx;
	struct mem_node *n, **slot = &s->slot[slot_of(s, h)];

	for (n = *slot; n != NULL; n = n->next)
		if (hash_cmp(&n->h, h) == 0)
			return 0;
	if ((n = malloc(sizeof(*n))) == NULL ||
	    (n->b = blob_new(data, len)) == NULL)
		err(1, "malloc");
	n->h = *h;
	n->next = *slot;
	*slot = n;
	s->n++;
	return 0;
}

void
mem_store_init(struct mem_store *s)
{
	memset(s, 0, sizeof(*s));
	s->nslots = 1024;
	if ((s->slot = calloc(s->nslots, sizeof(struct mem_node *))) == NULL)
		err(1, "calloc");
	s->store.get = mem_get;
	s->store.put = mem_put;
	s->store.ctx = s;
	if (tree_put_empty(&s->store) == -1)
		err(1, "tree_put_empty");
}

void
mem_store_free(struct mem_store *s)
{
	struct mem_node *n;
	size_t i;

	for (i = 0; i < s->nslots; i++)
		while ((n = s->slot[i]) != NULL) {
			s->slot[i] = n->next;
			blob_unref(n->b);
			free(n);
		}
	free(s->slot);
	memset(s, 0, sizeof(*s));
}

void
mem_store_remove(struct mem_store *s, const struct hash *h)
{
	struct mem_node *n, **p;

	for (p = &s->slot[slot_of(s, h)]; (n = *p) != NULL; p = &n->next)
		if (hash_cmp(&n->h, h) == 0) {
			*p = n->next;
			blob_unref(n->b);
			free(n);
			return;
		}
}

/* ---- entries ---- */

#define BIG_XATTR 1500

static struct chunklist *
content_chunks(uint32_t content)
{
	uint64_t size = content, i, slots;
	struct chunklist *c;
	struct hash h;

	if (content % 7 == 6)
		size = ((uint64_t)content % 5 + 8) << CHUNK_SHIFT_MIN;
	if ((c = chunklist_new(size, CHUNK_SHIFT_MIN)) == NULL)
		err(1, "chunklist_new");
	slots = chunklist_slots(c);
	for (i = 0; i < slots; i++) {
		memset(&h, 0, sizeof(h));
		h.b[0] = (uint8_t)i + 1;
		memcpy(h.b + 8, &content, sizeof(content));
		if ((content % 7 == 6 && i % 3 == 2)
			? chunklist_add_hole(c, 1) == -1
			: chunklist_add(c, &h) == -1)
			err(1, "chunklist_add");
	}
	return c;
}

/* Memory that the converted entries look into, freed all at once. */
struct pool {
	void *v[512];
	size_t n;
};

static void *
pool_keep(struct pool *p, void *mem)
{
	if (mem == NULL || p->n == sizeof(p->v) / sizeof(p->v[0]))
		errx(1, "pool");
	return p->v[p->n++] = mem;
}

static void
pool_free(struct pool *p)
{
	while (p->n > 0)
		free(p->v[--p->n]);
}

/* Of uid: the same for the same, so that it counts as owner does. */
static void
set_xattrs(struct pool *pool, struct entry *e, uint32_t uid)
{
	char value[BIG_XATTR];
	uint8_t *out;
	size_t len = uid % 5 == 4 ? sizeof(value) : 3;

	if (uid % 5 < 3 || e->type == ENTRY_SYMLINK)
		return;
	memset(value, 'x', sizeof(value));
	if (xattrs_set(NULL, 0, "user.test", value, len, 0, &out,
		&e->xattrs_len) == -1)
		err(1, "xattrs_set");
	e->xattrs = pool_keep(pool, out);
}

/* Without chunks. */
static void
entry_of(struct pool *pool, const struct mnode *n, struct entry *e)
{
	char t[32];

	memset(e, 0, sizeof(*e));
	e->type = n->type;
	e->mode = n->mode;
	e->uid = n->uid;
	e->gid = n->uid + 7;
	e->mtime.sec = n->mtime;
	e->ctime.sec = n->ctime;
	e->ctime.nsec = 5;
	e->fileid = n->fileid;
	if (n->type == ENTRY_FILE)
		e->chunk_shift = CHUNK_SHIFT_MIN;
	if (n->type == ENTRY_SYMLINK) {
		(void)snprintf(t, sizeof(t), "t%u", n->content);
		e->target = pool_keep(pool, strdup(t));
		e->target_len = strlen(t);
	}
	set_xattrs(pool, e, n->uid);
}

/* As in a tree: chunks and attribute nodes go to the store. */
static void
tree_entry_of(struct mem_store *s, struct pool *pool, const struct mnode *n,
    struct entry *e)
{
	struct chunklist *c;
	struct wbuf w;

	entry_of(pool, n, e);
	if (n->type == ENTRY_FILE) {
		wbuf_init(&w, NODE_MAX_BYTES);
		c = content_chunks(n->content);
		if (chunklist_to_entry(c, &s->store, e, &w) == -1)
			err(1, "chunklist_to_entry");
		chunklist_free(c);
		if (w.data != NULL)
			(void)pool_keep(pool, w.data);
	}
	if (node_xattrs_store(&s->store, e) == -1)
		err(1, "node_xattrs_store");
}

static void
seen_make(struct mem_store *s, const struct mnode *n, struct seen *seen)
{
	struct pool pool = { { NULL }, 0 };
	struct entry e;

	if (n->type == 0) {
		seen_of(NULL, seen);
		return;
	}
	tree_entry_of(s, &pool, n, &e);
	seen_of(&e, seen);
	pool_free(&pool);
}

/* ---- trees ---- */

static const char *
last_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash == NULL ? path : slash + 1;
}

/* The directory at t->v[*i], which goes to the first path that is not below;
   views into the pool. */
static void
build_dir(struct mem_store *s, struct pool *outer, const struct mtree *t,
    size_t *i, struct entry *dir)
{
	const char *path = t->v[*i].path;
	struct pool pool = { { NULL }, 0 };
	struct tree_edit *edits;
	struct tree_sums sums;
	struct entry e;
	size_t n = 0, k;

	entry_of(outer, &t->v[*i].n, dir);
	if (node_xattrs_store(&s->store, dir) == -1)
		err(1, "node_xattrs_store");
	if ((edits = calloc(t->n, sizeof(*edits))) == NULL)
		err(1, "calloc");
	for ((*i)++; *i < t->n && mp_below(t->v[*i].path, path);) {
		edits[n].name = last_name(t->v[*i].path);
		edits[n].len = strlen(edits[n].name);
		if (t->v[*i].n.type == ENTRY_DIR)
			build_dir(s, &pool, t, i, &e);
		else
			tree_entry_of(s, &pool, &t->v[(*i)++].n, &e);
		if ((edits[n++].entry = entry_dup(&e)) == NULL)
			err(1, "entry_dup");
		pool_free(&pool);
	}
	if (tree_apply(&s->store, test_salt, NULL, edits, n, &dir->root,
		&sums) == -1)
		err(1, "tree_apply");
	dir->files = sums.files;
	dir->bytes = sums.bytes;
	for (k = 0; k < n; k++)
		free((void *)(uintptr_t)edits[k].entry);
	free(edits);
}

void
state_build(struct mem_store *s, struct state *st, uint32_t id)
{
	struct pool pool = { { NULL }, 0 };
	struct entry e;
	size_t i = 0;

	build_dir(s, &pool, &st->flat, &i, &e);
	if ((st->mem = entry_dup(&e)) == NULL)
		err(1, "entry_dup");
	st->root = *st->mem;
	pool_free(&pool);
	state_name(st, id);
}

void
state_name(struct state *st, uint32_t id)
{
	memset(&st->id, 0, sizeof(st->id));
	memcpy(st->id.b, &id, sizeof(id));
	st->id.b[31] = 1;
}

void
state_free(struct state *st)
{
	mtree_free(&st->flat);
	free(st->mem);
	memset(st, 0, sizeof(*st));
}

static void
node_of(const struct entry *e, struct mnode *n)
{
	char t[32];

	memset(n, 0, sizeof(*n));
	n->type = e->type;
	n->mode = e->mode;
	n->uid = e->uid;
	n->mtime = e->mtime.sec;
	n->ctime = e->ctime.sec;
	n->fileid = e->fileid;
	if (e->gid != e->uid + 7)
		errx(1, "gid is not of uid");
	if (e->type != ENTRY_SYMLINK &&
	    (e->uid % 5 == 4) != !hash_is_zero(&e->xattr_node))
		errx(1, "xattrs are not of uid");
	if (e->type == ENTRY_SYMLINK) {
		memcpy(t, e->target, e->target_len);
		t[e->target_len] = '\0';
		n->content = (uint32_t)strtoul(t + 1, NULL, 10);
	}
}

/* The content number of a file, from a hash of its chunks. */
static uint32_t
content_of(struct mem_store *s, const struct entry *e)
{
	struct chunklist *c;
	struct hash h, missing;
	uint32_t n = 0;

	if (e->size == 0)
		return 0;
	if ((c = chunklist_from_entry(e, &s->store, 1000, &missing)) == NULL)
		err(1, "chunklist_from_entry");
	if (chunklist_get(c, 0, &h) == 1)
		memcpy(&n, h.b + 8, sizeof(n));
	chunklist_free(c);
	return n;
}

static void
read_dir(struct mem_store *s, const char *path, const struct entry *dir,
    struct mtree *t, struct tree_sums *sums)
{
	struct tree_iter *it;
	struct tree_sums below;
	const uint8_t *name;
	char p[MP_MAX];
	struct entry e;
	struct mnode n;
	size_t len;
	int rc;

	memset(sums, 0, sizeof(*sums));
	it = tree_iter_begin(&s->store, &dir->root, "", 0, 0);
	if (it == NULL)
		err(1, "tree_iter_begin");
	while ((rc = tree_iter_next(it, &name, &len, &e)) == 1) {
		if ((size_t)snprintf(p, sizeof(p), "%s%s%.*s", path,
			path[0] != '\0' ? "/" : "", (int)len,
			(const char *)name) >= sizeof(p))
			errx(1, "path too long");
		node_of(&e, &n);
		if (e.type == ENTRY_FILE)
			n.content = content_of(s, &e);
		(void)mtree_set(t, p, &n);
		if (e.type == ENTRY_DIR) {
			read_dir(s, p, &e, t, &below);
			sums->files += below.files;
			sums->bytes += below.bytes;
		} else
			sums->files++;
		if (e.type == ENTRY_FILE)
			sums->bytes += e.size;
	}
	if (rc == -1)
		err(1, "tree_iter_next");
	tree_iter_end(it);
	if (sums->files != dir->files || sums->bytes != dir->bytes)
		errx(1, "sums of '%s' are wrong", path);
}

void
tree_read(struct mem_store *s, const struct entry *root, struct mtree *t)
{
	struct tree_sums sums;
	struct mnode n;

	mtree_free(t);
	node_of(root, &n);
	(void)mtree_set(t, "", &n);
	read_dir(s, "", root, t, &sums);
}

/* ---- deltas ---- */

static int
sink(void *arg, const void *data, size_t len)
{
	wbuf_bytes(arg, data, len);
	return 0;
}

static struct delta_except *
excepts(struct mem_store *s, const struct mref *r)
{
	struct delta_except *x;
	size_t i;

	if ((x = calloc(r->nx + 1, sizeof(*x))) == NULL)
		err(1, "calloc");
	for (i = 0; i < r->nx; i++) {
		x[i].path = (const uint8_t *)r->x[i].path;
		x[i].len = strlen(r->x[i].path);
		seen_make(s, &r->x[i].seen, &x[i].seen);
	}
	return x;
}

static void
ref_of(const struct mref *r, struct tree_ref *ref)
{
	ref->commit = (uint16_t)r->commit;
	ref->path = (const uint8_t *)r->path;
	ref->len = strlen(r->path);
}

static void
add_op(struct mem_store *s, struct delta_writer *w, const struct mop *op)
{
	struct pool pool = { { NULL }, 0 };
	struct delta_op o;

	memset(&o, 0, sizeof(o));
	o.path = (const uint8_t *)op->path;
	o.len = strlen(op->path);
	o.kind = (uint8_t)op->kind;
	seen_make(s, &op->seen, &o.seen);
	if (op->kind == M_PUT || op->kind == M_ATTR)
		entry_of(&pool, &op->e, &o.entry);
	if (op->kind == M_PUT && op->e.type == ENTRY_FILE)
		o.chunks = content_chunks(op->e.content);
	if ((o.has_ref = op->has_ref)) {
		ref_of(&op->ref, &o.ref);
		o.ref_except = excepts(s, &op->ref);
		o.nref_except = (uint32_t)op->ref.nx;
	}
	if ((o.has_tree = op->has_tree)) {
		ref_of(&op->tree, &o.tree);
		o.tree_except = excepts(s, &op->tree);
		o.ntree_except = (uint32_t)op->tree.nx;
	}
	if (delta_add_op(w, &o) == -1)
		err(1, "delta_add_op");
	chunklist_free(o.chunks);
	free(o.ref_except);
	free(o.tree_except);
	pool_free(&pool);
}

/* Through the encoding, so that this is tested too. */
struct delta *
delta_of(struct mem_store *s, const struct mdelta *d,
    const struct state *const *commits, uint32_t ncommits, uint8_t **bytes,
    size_t *len)
{
	struct pool pool = { { NULL }, 0 };
	struct delta_writer w;
	struct delta_context c;
	struct delta *real;
	struct hash ids[64];
	struct wbuf out;
	const char *why;
	size_t i;

	for (i = 0; i < ncommits; i++)
		ids[i] = commits[i]->id;
	wbuf_init(&out, DELTA_MAX_BYTES);
	(void)delta_begin(&w, sink, &out, ids, ncommits, (uint32_t)d->context.n,
	    (uint32_t)d->nop);
	for (i = 0; i < d->context.n; i++) {
		memset(&c, 0, sizeof(c));
		c.path = (const uint8_t *)d->context.v[i].path;
		c.len = strlen(d->context.v[i].path);
		entry_of(&pool, &d->context.v[i].n, &c.entry);
		(void)delta_add_context(&w, &c);
		pool_free(&pool);
	}
	for (i = 0; i < d->nop; i++)
		add_op(s, &w, &d->op[i]);
	if (delta_end(&w) == -1)
		err(1, "delta_end");
	if ((*bytes = wbuf_take(&out, len)) == NULL)
		err(1, "wbuf_take");
	if ((real = delta_decode(*bytes, *len, &why)) == NULL) {
		mdelta_print(d);
		errx(1, "delta_decode: %s", why);
	}
	return real;
}

/* ---- both ---- */

struct known {
	const struct state *const *commits;
	uint32_t n;
};

static int
find_commit(void *arg, const struct hash *id, struct entry *root,
    struct blob **keep)
{
	struct known *k = arg;
	uint32_t i;

	*keep = NULL;
	for (i = 0; i < k->n; i++)
		if (hash_cmp(&k->commits[i]->id, id) == 0) {
			*root = k->commits[i]->root;
			return 0;
		}
	errno = ENOENT;
	return -1;
}

static int
trees_differ(const struct mtree *want, const struct mtree *got)
{
	size_t i;

	for (i = 0; i < want->n && i < got->n; i++)
		if (strcmp(want->v[i].path, got->v[i].path) != 0 ||
		    !mnode_equal(&want->v[i].n, &got->v[i].n)) {
			fprintf(stderr, "trees differ at %s, %s\n",
			    want->v[i].path, got->v[i].path);
			return 1;
		}
	if (want->n != got->n) {
		fprintf(stderr, "trees have %zu and %zu paths\n", want->n,
		    got->n);
		return 1;
	}
	return 0;
}

static int
reports_differ(const struct mreport *want, const struct merge_out *out)
{
	size_t i;

	if (want->n != out->overwritten || want->n != out->npaths ||
	    want->puts != out->puts || want->deletes != out->deletes ||
	    want->refused != out->refused) {
		fprintf(stderr,
		    "expected %zu overwritten %ju puts %ju deletes "
		    "refused %d, got %ju %ju %ju %d\n",
		    want->n, (uintmax_t)want->puts, (uintmax_t)want->deletes,
		    want->refused, (uintmax_t)out->overwritten,
		    (uintmax_t)out->puts, (uintmax_t)out->deletes,
		    out->refused);
		for (i = 0; i < want->n; i++)
			fprintf(stderr, "  expected %s\n", want->path[i]);
		for (i = 0; i < out->npaths; i++)
			fprintf(stderr, "  got %s\n", out->paths[i].path);
		return 1;
	}
	for (i = 0; i < want->n; i++)
		if (strlen(want->path[i]) != out->paths[i].len ||
		    memcmp(want->path[i], out->paths[i].path,
			out->paths[i].len) != 0) {
			fprintf(stderr, "expected %s overwritten, got %s\n",
			    want->path[i], out->paths[i].path);
			return 1;
		}
	return 0;
}

static int
outs_differ(const struct merge_out *want, const struct merge_out *got)
{
	struct wbuf a, b;
	size_t i;
	int bad;

	wbuf_init(&a, NODE_MAX_BYTES);
	wbuf_init(&b, NODE_MAX_BYTES);
	entry_encode(&a, &want->root);
	entry_encode(&b, &got->root);
	bad = a.len != b.len || memcmp(a.data, b.data, a.len) != 0 ||
	    want->changed != got->changed || want->refused != got->refused ||
	    want->puts != got->puts || want->deletes != got->deletes ||
	    want->overwritten != got->overwritten ||
	    want->npaths != got->npaths;
	for (i = 0; !bad && i < want->npaths; i++)
		bad = want->paths[i].len != got->paths[i].len ||
		    memcmp(want->paths[i].path, got->paths[i].path,
			want->paths[i].len) != 0;
	wbuf_free(&a);
	wbuf_free(&b);
	return bad;
}

/*
 * The same after a merge with each of some earlier states as the head: want.
 * Only what differs between the two is read.
 */
static int
prior_differs(struct mem_store *s, const struct merge_in *in,
    const struct merge_out *want, const struct state *const *commits,
    uint32_t ncommits)
{
	struct merge_in first = *in, again = *in;
	struct merge_out before, out;
	struct mtree got = { NULL, 0, 0 };
	uint32_t i, step = ncommits > 3 ? ncommits / 3 : 1;
	int bad = 0;

	first.if_unchanged = 0;
	for (i = 0; i < ncommits && !bad; i += step) {
		first.head_root = &commits[i]->root;
		if (merge_apply(&first, &before) == -1) {
			fprintf(stderr, "prior: %s\n", before.why);
			merge_out_free(&before);
			return 1;
		}
		again.prior = &before;
		again.prior_head = first.head_root;
		if (merge_apply(&again, &out) == -1) {
			fprintf(stderr, "after a prior: %s\n", out.why);
			bad = 1;
		} else if ((bad = outs_differ(want, &out)) != 0) {
			mtree_print("prior head", &commits[i]->flat);
			tree_read(s, &out.root, &got);
			mtree_print("after a prior", &got);
			mtree_free(&got);
			fprintf(stderr,
			    "changed %d puts %ju deletes %ju overwritten "
			    "%ju, expected %d %ju %ju %ju\n",
			    out.changed, (uintmax_t)out.puts,
			    (uintmax_t)out.deletes, (uintmax_t)out.overwritten,
			    want->changed, (uintmax_t)want->puts,
			    (uintmax_t)want->deletes,
			    (uintmax_t)want->overwritten);
		}
		merge_out_free(&out);
		merge_out_free(&before);
	}
	return bad;
}

int
merge_both(struct mem_store *s, const struct state *head,
    const struct mdelta *d, const struct state *const *commits,
    uint32_t ncommits, int if_unchanged, struct state *result,
    struct mreport *rep)
{
	struct known known = { commits, ncommits };
	struct merge_out out;
	struct merge_in in;
	struct delta *real;
	uint8_t *bytes;
	size_t len;
	struct mtree got = { NULL, 0, 0 };
	int bad;

	real = delta_of(s, d, commits, ncommits, &bytes, &len);
	memset(&in, 0, sizeof(in));
	in.store = &s->store;
	in.salt = test_salt;
	in.head_root = &head->root;
	in.commit_root = find_commit;
	in.arg = &known;
	in.delta = real;
	in.if_unchanged = if_unchanged;
	in.max_report = 1000000;
	if (merge_apply(&in, &out) == -1) {
		fprintf(stderr, "merge_apply: %s: %.*s\n", out.why,
		    (int)out.why_path_len, (const char *)out.why_path);
		mtree_print("head", &head->flat);
		mdelta_print(d);
		memset(rep, 0, sizeof(*rep));
		bad = 1;
		goto done;
	}
	model_merge(&head->flat, d, if_unchanged, &result->flat, rep);
	tree_read(s, &out.root, &got);
	bad = trees_differ(&result->flat, &got) || reports_differ(rep, &out) ||
	    steps_differ(&head->flat, d, &got, rep) ||
	    prior_differs(s, &in, &out, commits, ncommits);
	if (out.changed ==
	    (hash_cmp(&out.root.root, &head->root.root) == 0 &&
		mnode_equal(&result->flat.v[0].n, &head->flat.v[0].n))) {
		fprintf(stderr, "changed is %d\n", out.changed);
		bad = 1;
	}
	if (bad) {
		mtree_print("head", &head->flat);
		mdelta_print(d);
		mtree_print("expected", &result->flat);
		mtree_print("got", &got);
	}
	result->mem = out.root_mem;
	result->root = *out.root_mem;
	out.root_mem = NULL;
done:
	merge_out_free(&out);
	mtree_free(&got);
	delta_free(real);
	free(bytes);
	return bad;
}

uint64_t
merge_flipped(struct mem_store *s, const struct state *head,
    const struct mdelta *d, const struct state *const *commits,
    uint32_t ncommits, unsigned int times, uint32_t (*rnd)(uint32_t))
{
	struct known known = { commits, ncommits };
	struct merge_out out;
	struct merge_in in;
	struct delta *real;
	const char *why;
	uint8_t *bytes;
	uint8_t was[3];
	size_t len, at, i;
	uint64_t merged = 0;

	delta_free(delta_of(s, d, commits, ncommits, &bytes, &len));
	memset(&in, 0, sizeof(in));
	in.store = &s->store;
	in.salt = test_salt;
	in.head_root = &head->root;
	in.commit_root = find_commit;
	in.arg = &known;
	in.max_report = 100;
	while (times-- > 0) {
		at = rnd((uint32_t)len - 3);
		memcpy(was, bytes + at, sizeof(was));
		for (i = 0; i < 1 + rnd(3); i++)
			bytes[at + i] = (uint8_t)(rnd(2) ? rnd(256)
				: rnd(2)                 ? rnd(5)
							 : 'a' + rnd(6));
		real = delta_decode(bytes, len, &why);
		if (real != NULL) {
			in.delta = real;
			if (merge_apply(&in, &out) == 0)
				merged++;
			else if (errno != EINVAL)
				errx(1, "flipped delta: %s: %s", out.why,
				    strerror(errno));
			merge_out_free(&out);
		}
		delta_free(real);
		memcpy(bytes + at, was, sizeof(was));
	}
	free(bytes);
	return merged;
}

static void
print_node(const struct mnode *n)
{
	if (n->type == 0)
		fprintf(stderr, " nothing");
	else
		fprintf(stderr, " %c %o uid %u mtime %jd ctime %jd id %ju c%u",
		    "?fdlp"[n->type], n -> mode, n -> uid, (intmax_t)n -> mtime,
		    (intmax_t)n -> ctime, (uintmax_t)n -> fileid, n -> content);
}

static void
print_ref(const char *what, const struct mref *r)
{
	size_t i;

	fprintf(stderr, "    %s %d:%s\n", what, r->commit, r->path);
	for (i = 0; i < r->nx; i++) {
		fprintf(stderr, "      except %s", r->x[i].path);
		print_node(&r->x[i].seen);
		fprintf(stderr, "\n");
	}
}

void
mdelta_print(const struct mdelta *d)
{
	static const char *const kind[] = { "", "put", "attr", "delete",
		"tree" };
	const struct mop *op;

	mtree_print("context", &d->context);
	for (op = d->op; op < d->op + d->nop; op++) {
		fprintf(stderr, "  %s %s", kind[op->kind], op->path);
		print_node(&op->e);
		fprintf(stderr, "; seen");
		print_node(&op->seen);
		fprintf(stderr, "\n");
		if (op->has_ref)
			print_ref("ref", &op->ref);
		if (op->has_tree)
			print_ref("tree", &op->tree);
	}
}

void
mtree_print(const char *what, const struct mtree *t)
{
	size_t i;

	fprintf(stderr, "%s:\n", what);
	for (i = 0; i < t->n; i++) {
		fprintf(stderr, "  /%s", t->v[i].path);
		print_node(&t->v[i].n);
		fprintf(stderr, "\n");
	}
}
