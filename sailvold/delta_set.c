/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * delta_set: the operations of a commit: decided, written as a delta, and
 * recorded as published.  In manifest.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/chunklist.h"
#include "lib/delta.h"
#include "sailvold/delta_set.h"

static void
item_free(struct delta_item *it)
{
	size_t i;

	free(it->path);
	free(it->entry);
	chunklist_free(it->chunks);
	free(it->origin_path);
	place_free(&it->ref);
	for (i = 0; i < it->nref_x; i++)
		free(it->ref_x[i].path);
	free(it->ref_x);
	if (it->has_tree)
		seen_tree_free(&it->tree);
	place_free(&it->after);
}

int
delta_set_free_some(struct delta_set *s, size_t most)
{
	for (; most > 0 && s->n > 0; most--)
		item_free(&s->items[--s->n]);
	for (; most > 0 && s->ncontext > 0; most--)
		delta_set_context_cut(s, s->ncontext - 1);
	for (; most > 0 && s->nnot_kept > 0; most--)
		free(s->not_kept[--s->nnot_kept].path);
	if (most == 0)
		return 1;
	free(s->items);
	free(s->context);
	free(s->not_kept);
	memset(s, 0, sizeof(*s));
	return 0;
}

void
delta_set_free(struct delta_set *s)
{
	(void)delta_set_free_some(s, SIZE_MAX);
}

struct delta_item *
delta_set_add(struct delta_set *s, const uint8_t *path, size_t len)
{
	struct delta_item *it;
	size_t cap;

	if (s->n == s->cap) {
		cap = s->cap == 0 ? 64 : s->cap * 2;
		if ((it = reallocarray(s->items, cap, sizeof(*it))) == NULL)
			return NULL;
		s->items = it;
		s->cap = cap;
	}
	it = &s->items[s->n];
	memset(it, 0, sizeof(*it));
	if ((it->path = mem_dup(path, len)) == NULL)
		return NULL;
	it->len = len;
	s->n++;
	return it;
}

static struct delta_dir *
add_dir(struct delta_dir **v, size_t *n, size_t *cap, const uint8_t *path,
    size_t len)
{
	struct delta_dir *d;
	size_t more;

	if (*n == *cap) {
		more = *cap == 0 ? 16 : *cap * 2;
		if ((d = reallocarray(*v, more, sizeof(*d))) == NULL)
			return NULL;
		*v = d;
		*cap = more;
	}
	d = &(*v)[*n];
	memset(d, 0, sizeof(*d));
	if ((d->path = mem_dup(path, len)) == NULL)
		return NULL;
	d->len = len;
	(*n)++;
	return d;
}

int
delta_set_context(struct delta_set *s, const uint8_t *path, size_t len,
    const struct entry *e)
{
	struct entry copy = *e;
	struct delta_dir *d;

	d = add_dir(&s->context, &s->ncontext, &s->context_cap, path, len);
	if (d == NULL)
		return -1;
	memset(&copy.root, 0, sizeof(copy.root));
	copy.files = copy.bytes = 0;
	return (d->entry = entry_dup(&copy)) == NULL ? -1 : 0;
}

void
delta_set_context_cut(struct delta_set *s, size_t n)
{
	while (s->ncontext > n) {
		s->ncontext--;
		free(s->context[s->ncontext].path);
		free(s->context[s->ncontext].entry);
	}
}

int
delta_set_not_kept(struct delta_set *s, const uint8_t *path, size_t len)
{
	return add_dir(&s->not_kept, &s->nnot_kept, &s->not_kept_cap, path,
		   len) == NULL
	    ? -1
	    : 0;
}

/* ---- decisions --------------------------------------------------------------------- */

int
delta_item_decide(struct delta_item *it)
{
	struct seen v;

	seen_of(it->entry, &v);
	it->hash = HASH_KNOWN;
	if (!it->has_tree && seen_equal(&v, &it->base))
		it->kind = 0;
	else if (!it->renamed && !it->has_tree && it->base.present &&
	    !it->base.is_dir && it->entry->type == ENTRY_FILE &&
	    hash_cmp(&v.content, &it->base.content) == 0)
		it->kind = DELTA_ATTR;
	else
		it->kind = DELTA_PUT;
	return 0;
}

int
delta_item_hashed(struct delta_item *it, struct chunklist *cl)
{
	struct node_store store;
	struct entry e = *it->entry, *copy;
	struct wbuf w;
	int rc = -1;

	chunklist_free(it->chunks);
	it->chunks = cl;
	it->left = 0;
	db_node_store(manifest_db, &store);
	wbuf_init(&w, 64 * 1024);
	if (chunklist_to_entry(cl, &store, &e, &w) == -1 ||
	    (copy = entry_dup(&e)) == NULL)
		goto done;
	free(it->entry);
	it->entry = copy;
	rc = delta_item_decide(it);
done:
	wbuf_free(&w);
	return rc;
}

int
delta_item_known(struct delta_item *it, const uint8_t *list, size_t len)
{
	struct chunklist *cl;
	struct rbuf r;

	rbuf_init(&r, list, len);
	cl = chunklist_decode(&r, DELTA_MAX_HASHES);
	if (cl == NULL || rbuf_end(&r) == -1) {
		chunklist_free(cl);
		errno = EIO;
		return -1;
	}
	return delta_item_hashed(it, cl);
}

void
delta_item_leave(struct delta_item *it)
{
	it->kind = 0;
	it->left = 1;
}

size_t
delta_set_count(const struct delta_set *s)
{
	size_t i, n = 0;

	for (i = 0; i < s->n; i++)
		n += s->items[i].kind != 0;
	return n;
}

int
delta_link_new(struct db *db, const struct mount_row *row, const struct obj *o,
    uint64_t dir, const void *name, size_t len, uint64_t *fileid)
{
	uint8_t text[8 + 8 + 8 + SAIL_NAME_MAX];
	struct hash h;
	uint64_t id;

	if (len > SAIL_NAME_MAX) {
		errno = ENAMETOOLONG;
		return -1;
	}
	memcpy(text, &o->entry->fileid, 8);
	memcpy(text + 8, &o->ovl, 8);
	memcpy(text + 16, &dir, 8);
	memcpy(text + 24, name, len);
	hash_bytes(&h, text, 24 + len);
	memcpy(&id, h.b, sizeof(id));
	if (id <= 1)
		id = 2;
	*fileid = id;
	return db_link_id_put(db, row->row, o->ovl, dir, name, len, id);
}

/* ---- writing ------------------------------------------------------------------------ */

struct sink {
	int fd;
	uint64_t total;
	size_t used;
	uint8_t buf[64 * 1024];
};

static int
sink_flush(struct sink *s)
{
	size_t at = 0;
	ssize_t n;

	while (at < s->used) {
		n = write(s->fd, s->buf + at, s->used - at);
		if (n == -1 && errno == EINTR)
			continue;
		if (n <= 0)
			return -1;
		at += (size_t)n;
	}
	s->used = 0;
	return 0;
}

static int
sink_write(void *arg, const void *p, size_t len)
{
	const uint8_t *b = p;
	struct sink *s = arg;
	size_t n;

	if ((s->total += len) > DELTA_MAX_BYTES) {
		errno = EFBIG;
		return -1;
	}
	while (len > 0) {
		n = sizeof(s->buf) - s->used < len ? sizeof(s->buf) - s->used
						   : len;
		memcpy(s->buf + s->used, b, n);
		s->used += n;
		b += n;
		len -= n;
		if (s->used == sizeof(s->buf) && sink_flush(s) == -1)
			return -1;
	}
	return 0;
}

struct writing {
	const struct delta_set *set;
	struct delta_writer w;
	struct sink *sink;
	struct hash *commits;
	uint32_t ncommits;
	uint8_t *above; /* of each context: an operation is below it */
	struct node_miss *miss;
};

static int
add_commit(struct writing *w, const struct hash *h)
{
	struct hash *more;
	uint32_t i;

	for (i = w->ncommits; i > 0; i--)
		if (hash_cmp(&w->commits[i - 1], h) == 0)
			return (int)(i - 1);
	if (w->ncommits == DELTA_MAX_COMMITS) {
		errno = ENOTSUP;
		return -1;
	}
	more = reallocarray(w->commits, w->ncommits + 1, sizeof(*more));
	if (more == NULL)
		return -1;
	w->commits = more;
	w->commits[w->ncommits] = *h;
	return (int)w->ncommits++;
}

static void
mark_above(struct writing *w, const struct delta_item *it)
{
	const struct delta_set *s = w->set;
	size_t len = it->len, lo, hi, mid;
	int c;

	while (len > 0) {
		len = path_parent(it->path, len);
		if (len == 0)
			return;
		lo = 0;
		hi = s->ncontext;
		while (lo < hi) {
			mid = lo + (hi - lo) / 2;
			c = path_cmp(s->context[mid].path, s->context[mid].len,
			    it->path, len);
			if (c == 0) {
				if (w->above[mid])
					return; /* and all above it */
				w->above[mid] = 1;
				break;
			}
			if (c < 0)
				lo = mid + 1;
			else
				hi = mid;
		}
	}
}

static int
prepare(struct writing *w, uint32_t *ncontext, uint32_t *nops)
{
	const struct delta_item *it;
	size_t i;

	*ncontext = *nops = 0;
	if ((w->above = calloc(w->set->ncontext + 1, 1)) == NULL)
		return -1;
	for (i = 0; i < w->set->n; i++) {
		it = &w->set->items[i];
		if (it->kind == 0)
			continue;
		(*nops)++;
		mark_above(w, it);
		if ((it->has_ref && add_commit(w, &it->ref.commit) == -1) ||
		    (it->has_tree && add_commit(w, &it->tree.ref.commit) == -1))
			return -1;
	}
	for (i = 0; i < w->set->ncontext; i++)
		*ncontext += w->above[i];
	return 0;
}

/* Extended attributes stand whole in a delta. */
static int
whole(struct entry *e, struct blob **keep)
{
	struct node_store store;
	struct hash missing;

	db_node_store(manifest_db, &store);
	return node_xattrs_load(&store, e, keep, &missing);
}

static int
write_context(struct writing *w)
{
	struct delta_context c;
	struct blob *keep;
	size_t i;
	int rc;

	for (i = 0; i < w->set->ncontext; i++) {
		if (!w->above[i])
			continue;
		c.path = w->set->context[i].path;
		c.len = w->set->context[i].len;
		c.entry = *w->set->context[i].entry;
		if (whole(&c.entry, &keep) == -1)
			return -1;
		rc = delta_add_context(&w->w, &c);
		blob_unref(keep);
		if (rc == -1)
			return -1;
	}
	return 0;
}

static struct delta_except *
excepts(const struct seen_except *x, size_t n)
{
	struct delta_except *d;
	size_t i;

	if ((d = calloc(n + 1, sizeof(*d))) == NULL)
		return NULL;
	for (i = 0; i < n; i++) {
		d[i].path = x[i].path;
		d[i].len = x[i].len;
		d[i].seen = x[i].seen;
	}
	return d;
}

static int
set_chunks(struct writing *w, const struct delta_item *it, struct delta_op *op,
    struct chunklist **loaded)
{
	struct node_store store;
	struct hash missing;
	size_t parent;

	if (it->chunks != NULL) {
		op->chunks = it->chunks;
		return 0;
	}
	db_node_store(manifest_db, &store);
	*loaded =
	    chunklist_from_entry(it->entry, &store, DELTA_MAX_HASHES, &missing);
	if ((op->chunks = *loaded) != NULL)
		return 0;
	if (errno == EFBIG) { /* which one */
		(void)miss_set(w->miss, &it->origin_commit, it->path, it->len,
		    "", 0);
		errno = EFBIG;
		return -1;
	}
	if (errno != ENODATA || !it->has_origin)
		return -1;
	parent = path_parent(it->origin_path, it->origin_len);
	return miss_set(w->miss, &it->origin_commit, it->origin_path, parent,
	    it->origin_path + parent + (parent > 0),
	    it->origin_len - parent - (parent > 0));
}

static int
write_op(struct writing *w, const struct delta_item *it)
{
	struct chunklist *loaded = NULL;
	struct blob *keep = NULL;
	struct delta_op op;
	int rc = -1;

	memset(&op, 0, sizeof(op));
	op.path = it->path;
	op.len = it->len;
	op.kind = it->kind;
	op.seen = it->seen;
	if (it->kind == DELTA_PUT || it->kind == DELTA_ATTR) {
		op.entry = *it->entry;
		if (whole(&op.entry, &keep) == -1)
			return -1;
		if (op.entry.type == ENTRY_FILE && it->kind == DELTA_PUT &&
		    set_chunks(w, it, &op, &loaded) == -1)
			goto done;
		op.entry.chunks = NULL;
		op.entry.chunks_len = 0;
		memset(&op.entry.root, 0, sizeof(op.entry.root));
		op.entry.files = op.entry.bytes = 0;
	}
	if (it->has_ref) {
		op.has_ref = 1;
		op.ref.commit = (uint16_t)add_commit(w, &it->ref.commit);
		op.ref.path = it->ref.path;
		op.ref.len = it->ref.len;
		op.nref_except = (uint32_t)it->nref_x;
		op.ref_except = excepts(it->ref_x, it->nref_x);
		if (op.ref_except == NULL)
			goto done;
	}
	if (it->has_tree) {
		op.has_tree = 1;
		op.tree.commit = (uint16_t)add_commit(w, &it->tree.ref.commit);
		op.tree.path = it->tree.ref.path;
		op.tree.len = it->tree.ref.len;
		op.ntree_except = (uint32_t)it->tree.n;
		op.tree_except = excepts(it->tree.x, it->tree.n);
		if (op.tree_except == NULL)
			goto done;
	}
	rc = delta_add_op(&w->w, &op);
done:
	free(op.ref_except);
	free(op.tree_except);
	chunklist_free(loaded);
	blob_unref(keep);
	return rc;
}

int
delta_set_write(const struct delta_set *s, int fd, struct node_miss *miss)
{
	struct writing w;
	uint32_t ncontext, nops;
	size_t i;
	int rc = -1, begun = 0, saved;

	memset(&w, 0, sizeof(w));
	w.set = s;
	w.miss = miss;
	if ((w.sink = calloc(1, sizeof(*w.sink))) == NULL)
		return -1;
	w.sink->fd = fd;
	if (prepare(&w, &ncontext, &nops) == -1 ||
	    delta_begin(&w.w, sink_write, w.sink, w.commits, w.ncommits,
		ncontext, nops) == -1)
		goto done;
	begun = 1;
	if (write_context(&w) == -1)
		goto done;
	for (i = 0; i < s->n; i++)
		if (s->items[i].kind != 0 && write_op(&w, &s->items[i]) == -1)
			goto done;
	begun = 0;
	if (delta_end(&w.w) == -1)
		goto done;
	rc = sink_flush(w.sink);
done:
	saved = errno;
	if (begun)
		(void)delta_end(&w.w);
	free(w.sink);
	free(w.commits);
	free(w.above);
	errno = saved;
	return rc;
}

/* ---- published ---------------------------------------------------------------------- */

static int
put_absent(struct db *db, const struct mount_row *row,
    const struct delta_item *it, const struct seen_except *x)
{
	struct pathbuf p;
	struct seen_row r;

	memset(&r, 0, sizeof(r));
	memcpy(p.b, it->path, it->len);
	p.len = it->len;
	if (pathbuf_push(&p, x->path, x->len) == -1)
		return -1;
	r.path = p.b;
	r.len = p.len;
	return db_seen_put(db, row->row, &r);
}

static int
item_published(struct db *db, const struct mount_row *row,
    const struct delta_item *it)
{
	struct seen_row r;
	size_t i;

	if (it->kind == 0)
		return 0;
	memset(&r, 0, sizeof(r));
	r.path = it->path;
	r.len = it->len;
	if (it->kind != DELTA_ATTR &&
	    db_seen_delete_below(db, row->row, it->path, it->len) == -1)
		return -1;
	if (it->kind == DELTA_PUT || it->kind == DELTA_ATTR)
		seen_of(it->entry, &r.seen);
	if (it->has_after) {
		r.has_tree = 1;
		r.tree_commit = it->after.commit;
		r.tree_path = it->after.path;
		r.tree_path_len = it->after.len;
	}
	if (db_seen_put(db, row->row, &r) == -1)
		return -1;
	for (i = 0; i < it->nref_x; i++)
		if (put_absent(db, row, it, &it->ref_x[i]) == -1)
			return -1;
	return 0;
}

/*
 * What its overlay file looked like when it was hashed; and it is clean, as
 * object_clean() would make it: one write of the row for both, since nearly
 * every file of a commit is such a one.
 */
static int
object_hashed(struct db *db, const struct mount_row *row,
    const struct delta_item *it, uint64_t mark)
{
	struct wbuf w;
	struct obj o;
	size_t len;
	int rc = -1;

	if (db_obj_get(db, row->row, it->ovl, &o) == -1)
		return errno == ENOENT ? 0 : -1;
	wbuf_init(&w, SIZE_MAX / 2);
	chunklist_encode(&w, it->chunks);
	free(o.chunks);
	o.chunks = wbuf_take(&w, &len);
	o.chunks_len = len;
	if (o.chunks == NULL)
		goto done;
	o.hashed_ctime = it->hashed_ctime;
	o.hash_began = it->hash_began;
	o.hashed_size = it->hashed_size;
	o.flags &= ~OBJ_SUSPECT;
	if (it->writers)
		o.flags |= OBJ_SUSPECT;
	if (o.changed_content <= mark) {
		o.changed_content = 0;
		/* A writer that was looked at: suspect says as much. */
		if (it->writers)
			o.flags &= ~OBJ_UNSETTLED;
	}
	if (o.links > 0 && o.changed_attr <= mark)
		o.changed_attr = 0;
	rc = db_obj_put(db, row->row, &o);
done:
	obj_free(&o);
	return rc;
}

int
delta_ovl_cmp(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

static int
object_clean(struct db *db, const struct mount_row *row, uint64_t ovl,
    uint64_t mark)
{
	struct obj o;
	int rc = 0;

	if (db_obj_get(db, row->row, ovl, &o) == -1)
		return errno == ENOENT ? 0 : -1;
	/* What has no name was not published; its content is hashed when it
	   gets one. */
	if (o.links > 0 || ovl == OVL_ROOT) {
		if (o.changed_attr <= mark)
			o.changed_attr = 0;
		if (o.changed_content <= mark && !(o.flags & OBJ_LOCAL))
			o.changed_content = 0;
		rc = db_obj_put(db, row->row, &o);
	}
	obj_free(&o);
	return rc;
}

int
delta_set_published(struct db *db, const struct mount_row *row,
    const struct delta_set *s)
{
	uint64_t *left = NULL, *ovls = NULL;
	size_t i, n = 0, nleft = 0;
	int rc = -1;

	if ((left = calloc(s->n + 1, sizeof(*left))) == NULL)
		return -1;
	for (i = 0; i < s->n; i++)
		if (s->items[i].left)
			left[nleft++] = s->items[i].ovl;
	qsort(left, nleft, sizeof(*left), delta_ovl_cmp);
	for (i = 0; i < s->n; i++) {
		if (item_published(db, row, &s->items[i]) == -1)
			goto done;
		if (s->items[i].local && !s->items[i].left &&
		    s->items[i].hashed_ctime.sec != 0 &&
		    bsearch(&s->items[i].ovl, left, nleft, sizeof(*left),
			delta_ovl_cmp) == NULL &&
		    object_hashed(db, row, &s->items[i], s->mark) == -1)
			goto done;
	}
	if (db_names_published(db, row->row, s->mark) == -1 ||
	    db_obj_list_dirty(db, row->row, &ovls, &n) == -1)
		goto done;
	for (i = 0; i < n; i++)
		if (bsearch(&ovls[i], left, nleft, sizeof(*left),
			delta_ovl_cmp) == NULL &&
		    object_clean(db, row, ovls[i], s->mark) == -1)
			goto done;
	rc = 0;
done:
	free(left);
	free(ovls);
	return rc;
}
