/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * rebase: moves the overlay of a mount to another base.  In manifest.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/json_name.h"
#include "sailvold/rebase.h"

static int
set_entry(struct obj *o, const struct entry *e)
{
	struct entry *copy;

	if ((copy = entry_dup(e)) == NULL)
		return -1;
	free(o->entry);
	o->entry = copy;
	return 0;
}

static int
set_origin(struct obj *o, const struct hash *commit, const void *path,
    size_t len)
{
	uint8_t *copy;

	if ((copy = mem_dup(path, len)) == NULL)
		return -1;
	free(o->origin_path);
	o->has_origin = 1;
	o->origin_commit = *commit;
	o->origin_path = copy;
	o->origin_path_len = len;
	return 0;
}

/* The entry of a directory of the new base; ENOENT: it has none there. */
static int
new_directory(const struct hash *base, const void *path, size_t len,
    struct entry *e, struct blob **keep, struct node_miss *miss)
{
	struct place p;
	size_t depth;

	/* This says what to ask for when a node is missing. */
	if (place_open(&p, base, path, len, miss) == -1) {
		if (errno == ENOTDIR)
			errno = ENOENT;
		return -1;
	}
	place_free(&p);
	return nodes_lookup(base, path, len, e, keep, &depth);
}

static void
take_attributes(struct entry *to, const struct entry *from)
{
	to->mode = from->mode;
	to->uid = from->uid;
	to->gid = from->gid;
	to->xattrs = from->xattrs;
	to->xattrs_len = from->xattrs_len;
	to->xattr_node = from->xattr_node;
	to->fileid = from->fileid;
	if (timens_cmp(from->mtime, to->mtime) > 0)
		to->mtime = from->mtime;
	if (timens_cmp(from->ctime, to->ctime) > 0)
		to->ctime = from->ctime;
}

static int
rebase_root(struct db *db, struct mount_row *row, int keep_attributes,
    int keep_times, struct node_miss *miss)
{
	struct entry *e, mine;
	struct obj o;
	size_t len = strlen(row->subpath);
	int rc = -1;

	/* Whole: nothing is above it where its attributes could be asked for
	   later, and a mount starts without a server. */
	if (place_entry(&row->base, row->subpath, len, &e, miss) == -1) {
		if (errno == ENOTDIR)
			errno = ENOENT;
		return -1;
	}
	if (db_obj_get(db, row->row, OVL_ROOT, &o) == -1)
		goto done;
	mine = *o.entry;
	if (!keep_attributes)
		take_attributes(&mine, e);
	if (!keep_times) {
		mine.mtime = e->mtime;
		mine.ctime = e->ctime;
	}
	mine.root = e->root;
	mine.files = e->files;
	mine.bytes = e->bytes;
	if (!keep_attributes)
		o.changed_attr = o.changed_content = 0;
	if (set_entry(&o, &mine) == 0 &&
	    set_origin(&o, &row->base, row->subpath, len) == 0)
		rc = db_obj_put(db, row->row, &o);
	obj_free(&o);
done:
	free(e);
	return rc;
}

static int
rebase_row(struct db *db, struct mount_row *row, const struct hash *base,
    uint64_t number)
{
	row->flags &= ~(uint32_t)ROW_SEEN;
	row->base = *base;
	row->base_number = number;
	row->epoch++;
	row->has_last = 0;
	row->last_number = 0;
	return db_mount_update(db, row);
}

int
rebase_drop(struct db *db, struct mount_row *row, const struct hash *base,
    uint64_t number, struct rebase_gone *gone, struct node_miss *miss)
{
	memset(gone, 0, sizeof(*gone));
	if (rebase_row(db, row, base, number) == -1 ||
	    rebase_root(db, row, 0, 0, miss) == -1 ||
	    db_names_lose_all(db, row->row, &gone->ovls, &gone->n) == -1)
		return -1;
	return 0;
}

/* ---- keeping ------------------------------------------------------------------------ */

struct kept {
	uint64_t dir, ovl;
	enum keep keep;
	struct seen seen;
	uint8_t *name, *path;
	size_t name_len, len;
};
/* A row of `seen', as it is to be. */
struct new_seen {
	uint8_t *path, *tree_path;
	struct seen_row row;
};
struct keeping {
	struct db *db;
	struct mount_row *row;
	struct node_miss *miss;
	struct kept *v;
	size_t n, cap;
	struct new_seen *seen;
	size_t nseen, seen_cap;
	struct rebase_gone *gone;
	int sockets; /* nothing else is kept */
};

static int
remember(void *arg, uint64_t dir, const void *name, size_t name_len,
    const void *path, size_t len, uint64_t ovl, enum keep keep,
    const struct seen *seen)
{
	struct keeping *k = arg;
	struct kept *x;
	size_t cap;

	if (k->n == k->cap) {
		cap = k->cap == 0 ? 64 : k->cap * 2;
		if ((x = reallocarray(k->v, cap, sizeof(*x))) == NULL)
			return -1;
		k->v = x;
		k->cap = cap;
	}
	x = &k->v[k->n];
	x->dir = dir;
	x->ovl = ovl;
	x->keep = k->sockets && keep == KEEP_OWN ? KEEP_NOT : keep;
	x->seen = *seen;
	x->name_len = name_len;
	x->len = len;
	x->name = mem_dup(name, name_len);
	x->path = mem_dup(path, len);
	k->n++;
	return x->name == NULL || x->path == NULL ? -1 : 0;
}

static void
keeping_free(struct keeping *k)
{
	size_t i;

	for (i = 0; i < k->n; i++) {
		free(k->v[i].name);
		free(k->v[i].path);
	}
	free(k->v);
	for (i = 0; i < k->nseen; i++) {
		free(k->seen[i].path);
		free(k->seen[i].tree_path);
	}
	free(k->seen);
}

static int
add_seen(struct keeping *k, const struct seen_row *r)
{
	struct new_seen *x;
	size_t cap;

	if (k->nseen == k->seen_cap) {
		cap = k->seen_cap == 0 ? 64 : k->seen_cap * 2;
		if ((x = reallocarray(k->seen, cap, sizeof(*x))) == NULL)
			return -1;
		k->seen = x;
		k->seen_cap = cap;
	}
	x = &k->seen[k->nseen];
	x->row = *r;
	x->path = mem_dup(r->path, r->len);
	x->tree_path =
	    mem_dup(r->tree_path, r->has_tree ? r->tree_path_len : 0);
	k->nseen++;
	if (x->path == NULL || x->tree_path == NULL)
		return -1;
	x->row.path = x->path;
	x->row.tree_path = x->tree_path;
	return 0;
}

/* A directory that was seen is removed or replaced: as it was seen, with all
   that is known below it. */
static int
seen_directory(struct keeping *k, const struct delta_item *it,
    unsigned int attempt)
{
	struct seen_ctx c = { k->db, k->row, k->miss, attempt, 0, 0 };
	struct seen_row r, *rows;
	struct seen_at at;
	size_t n, i;
	int rc;

	if (seen_lookup(&c, it->path, it->len, &at) == -1)
		return -1;
	memset(&r, 0, sizeof(r));
	r.path = it->path;
	r.len = it->len;
	r.seen = at.seen;
	r.has_tree = at.has_tree;
	if (at.has_tree) {
		r.tree_commit = at.tree.commit;
		r.tree_path = at.tree.path;
		r.tree_path_len = at.tree.len;
	}
	rc = add_seen(k, &r);
	seen_at_free(&at);
	if (rc == -1 ||
	    db_seen_below(k->db, k->row->row, it->path, it->len, &rows, &n) ==
		-1)
		return -1;
	for (i = 0; i < n && rc == 0; i++)
		rc = add_seen(k, &rows[i]);
	free(rows);
	return rc;
}

/* *type: of what a commit has at a path, 0: nothing. */
static int
type_there(struct keeping *k, const struct hash *base, const uint8_t *path,
    size_t len, uint8_t *type)
{
	size_t up = len;
	struct blob *keep;
	struct place dir;
	struct entry e;
	int rc;

	*type = 0;
	while (up > 0 && path[up - 1] != '/')
		up--;
	if (place_open(&dir, base, path, up > 0 ? up - 1 : 0, k->miss) == -1)
		return errno == ENOENT || errno == ENOTDIR ? 0 : -1;
	rc = place_child(&dir, path + up, len - up, &e, &keep, k->miss);
	if (rc == 1) {
		*type = e.type;
		blob_unref(keep);
	}
	place_free(&dir);
	return rc == -1 ? -1 : 0;
}

/*
 * What others removed needs no removal, and gets no attributes: as the merge has
 * it when such a change is published.
 */
static int
is_moot(struct keeping *k, const struct delta_item *it, const struct hash *base,
    int *moot)
{
	uint8_t type;

	*moot = 0;
	if (it->kind != DELTA_DELETE && it->kind != DELTA_TREE &&
	    it->kind != DELTA_ATTR)
		return 0;
	if (it->len == strlen(k->row->subpath))
		return 0; /* the root */
	if (type_there(k, base, it->path, it->len, &type) == -1)
		return -1;
	*moot = it->kind == DELTA_ATTR ? type != it->entry->type : type == 0;
	return 0;
}

static int
seen_of_item(struct keeping *k, const struct delta_item *it,
    const struct hash *base, unsigned int attempt)
{
	struct blob *keep;
	struct seen_row r;
	struct entry e;
	int moot;

	if (it->kind == 0 && it->hash == HASH_KNOWN)
		return 0;
	if (is_moot(k, it, base, &moot) == -1 || moot)
		return moot ? 0 : -1;
	if (it->has_tree)
		return seen_directory(k, it, attempt);
	memset(&r, 0, sizeof(r));
	r.path = it->path;
	r.len = it->len;
	r.seen = it->seen;
	if (it->kind == DELTA_ATTR && it->seen.is_dir) {
		if (new_directory(base, it->path, it->len, &e, &keep,
			k->miss) == -1)
			return errno == ENOENT ? 0 : -1;
		blob_unref(keep);
		r.has_tree = 1;
		r.tree_commit = *base;
		r.tree_path = it->path;
		r.tree_path_len = it->len;
	}
	return add_seen(k, &r);
}

static int
lose_name(struct keeping *k, const struct kept *x)
{
	uint64_t *more;
	struct obj o;
	int rc = -1;

	if (db_name_delete(k->db, k->row->row, x->dir, x->name, x->name_len) ==
	    -1)
		return -1;
	if (x->ovl == 0)
		return 0;
	if (db_obj_get(k->db, k->row->row, x->ovl, &o) == -1)
		return -1;
	if (o.links > 0)
		o.links--;
	if (o.links == 0) {
		o.changed_content = o.changed_attr = 0;
		o.flags &= ~OBJ_SUSPECT;
		if (k->gone->n == k->gone->cap) {
			k->gone->cap =
			    k->gone->cap == 0 ? 64 : k->gone->cap * 2;
			more = reallocarray(k->gone->ovls, k->gone->cap,
			    sizeof(*more));
			if (more == NULL)
				goto done;
			k->gone->ovls = more;
		}
		k->gone->ovls[k->gone->n++] = x->ovl;
	}
	rc = db_obj_put(k->db, k->row->row, &o);
done:
	obj_free(&o);
	return rc;
}

/* fuse may have files open below it, and not know where they are from. */
static void
note_origin(struct keeping *k, const struct obj *o)
{
	struct diff_origin was = { o->ovl, o->origin_commit, o->origin_path,
		o->origin_path_len };

	if (o->has_origin)
		diff_origin_encode(&k->gone->origins, &was);
}

int
rebase_origins(struct rebase_gone *gone, struct wbuf *diff)
{
	struct wbuf *w = &gone->origins;

	if (w->error == 0 && w->len == 0)
		return 0;
	wbuf_bytes(w, diff->data, diff->len);
	if ((errno = w->error) != 0)
		return -1;
	wbuf_free(diff);
	*diff = *w;
	memset(w, 0, sizeof(*w));
	return 0;
}

/* A directory that stays where it is shows the new base from now on; where
   that has none, only what is kept: it was seen, and others took it away. */
static int
rebase_directory(struct keeping *k, const struct kept *x)
{
	struct seen_row r;
	struct blob *keep = NULL;
	struct entry e, mine;
	struct obj o;
	int rc = -1, has;

	has = new_directory(&k->row->base, x->path, x->len, &e, &keep,
		  k->miss) == 0;
	if (!has && errno != ENOENT)
		return -1;
	if (db_obj_get(k->db, k->row->row, x->ovl, &o) == -1)
		goto done;
	note_origin(k, &o);
	if (has) {
		mine = *o.entry;
		if (x->keep == KEEP_PASS)
			take_attributes(&mine, &e);
		mine.root = e.root;
		mine.files = e.files;
		mine.bytes = e.bytes;
		if (set_entry(&o, &mine) == -1 ||
		    set_origin(&o, &k->row->base, x->path, x->len) == -1)
			goto done_obj;
	} else {
		o.has_origin = 0;
		memset(&r, 0, sizeof(r));
		r.path = x->path;
		r.len = x->len;
		r.seen = x->seen;
		if (add_seen(k, &r) == -1)
			goto done_obj;
	}
	rc = db_obj_put(k->db, k->row->row, &o);
done_obj:
	obj_free(&o);
done:
	blob_unref(keep);
	return rc;
}

/* What is gone stays so, also where a directory without an origin gets one. */
static int
keep_whiteout(struct keeping *k, const struct kept *x)
{
	struct name_row r;

	if (db_name_get(k->db, k->row->row, x->dir, x->name, x->name_len, &r) ==
	    0)
		return 0;
	if (errno != ENOENT)
		return -1;
	return db_name_put(k->db, k->row->row, x->dir, x->name, x->name_len, 0,
	    k->row->applied > 0 ? k->row->applied : 1);
}

/* One stays where its directory does, and nothing is published for it. */
static int
keep_socket(struct keeping *k, const struct kept *x)
{
	struct seen_row r;
	struct entry e;
	struct blob *keep;
	size_t up = x->len - x->name_len;
	uint8_t type;

	if (new_directory(&k->row->base, x->path, up > 0 ? up - 1 : 0, &e,
		&keep, k->miss) == -1) {
		if (errno != ENOENT ||
		    json_array_append_new(k->gone->sockets,
			json_name(x->path, x->len)) == -1)
			return -1;
		return lose_name(k, x);
	}
	blob_unref(keep);
	if (x->seen.present)
		return 0; /* that was removed */
	if (type_there(k, &k->row->base, x->path, x->len, &type) == -1)
		return -1;
	if (type == 0)
		return 0;
	memset(&r, 0, sizeof(r));
	r.path = x->path;
	r.len = x->len;
	return add_seen(k, &r);
}

/* Children come before their directory. */
static int
keep_one(struct keeping *k, const struct kept *x)
{
	struct name_row *rows;
	uint8_t type;
	size_t n;

	switch (x->keep) {
	case KEEP_NOT:
		return lose_name(k, x);
	case KEEP_OWN:
		return x->ovl == 0 ? keep_whiteout(k, x) : 0;
	case KEEP_SOCKET:
		return keep_socket(k, x);
	case KEEP_FILE:
	case KEEP_GONE:
	case KEEP_ATTR:
		if (type_there(k, &k->row->base, x->path, x->len, &type) == -1)
			return -1;
		if (x->keep == KEEP_FILE)
			return type == ENTRY_FILE ? 0 : lose_name(k, x);
		if (x->keep == KEEP_GONE)
			return type != 0 ? keep_whiteout(k, x)
					 : lose_name(k, x);
		if (type == ENTRY_DIR)
			break;
		/* fall through */
	case KEEP_PASS:
		if (db_names_of_dir(k->db, k->row->row, x->ovl, "", 0, 0, 1,
			&rows, &n) == -1)
			return -1;
		free(rows);
		if (n == 0)
			return lose_name(k, x);
		break;
	}
	return rebase_directory(k, x);
}

int
rebase_keep(struct db *db, struct mount_row *row, const struct hash *base,
    uint64_t number, int sockets, unsigned int attempt,
    struct rebase_gone *gone, struct node_miss *miss)
{
	const struct delta_item *it, *put = NULL;
	struct delta_set set;
	struct keeping k;
	size_t i;
	int root_attr, rc = -1;

	memset(gone, 0, sizeof(*gone));
	memset(&k, 0, sizeof(k));
	k.db = db;
	k.row = row;
	k.miss = miss;
	k.gone = gone;
	k.sockets = sockets;
	wbuf_init(&gone->origins, DIFF_MAX_BYTES);
	if ((gone->sockets = json_array()) == NULL)
		return -1;
	if (delta_collect(db, row, &set, miss, attempt, 1, remember, &k) ==
	    -1) {
		keeping_free(&k);
		return -1;
	}
	for (i = 0; i < set.n && !sockets; i++) {
		it = &set.items[i];
		/* What was seen at a path that is put says it of all below. */
		if (put != NULL &&
		    path_is_below(it->path, it->len, put->path, put->len))
			continue;
		if (it->kind == DELTA_PUT || it->kind == DELTA_TREE)
			put = it;
		if (seen_of_item(&k, it, base, attempt) == -1)
			goto done;
	}
	root_attr = set.n > 0 && set.items[0].kind == DELTA_ATTR &&
	    set.items[0].len == strlen(row->subpath);
	if (rebase_row(db, row, base, number) == -1 ||
	    rebase_root(db, row, root_attr, 1, miss) == -1)
		goto done;
	for (i = 0; i < k.n; i++)
		if (keep_one(&k, &k.v[i]) == -1)
			goto done;
	if (db_seen_clear(db, row->row) == -1)
		goto done;
	if (k.nseen > 0)
		row->flags |= ROW_SEEN;
	if (db_mount_update(db, row) == -1)
		goto done;
	for (i = 0; i < k.nseen; i++)
		if (db_seen_put(db, row->row, &k.seen[i].row) == -1)
			goto done;
	rc = 0;
done:
	delta_set_free(&set);
	keeping_free(&k);
	return rc;
}
