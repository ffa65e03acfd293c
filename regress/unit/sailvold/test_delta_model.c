/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * Claim: whatever is changed in a mount, the delta that is made of it gives the
 * server exactly what the mount shows, overwrites nothing, and after it was
 * published, rebased or left out in part, the next delta does so again.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "lib/commit.h"
#include "lib/log.h"
#include "regress/unit/sailvold/model_tree.h"
#include "sailvold/rebase.h"

#include "regress/unit/sailvold/merge_all.h"

struct db *manifest_db;

/* ---- stand-ins ---------------------------------------------------------------------- */

uint32_t
server_request(uint8_t method, const char *target, const char *type, int fd,
    int retry, uint64_t max, server_cb f, void *arg)
{
	(void)method;
	(void)target;
	(void)type;
	(void)fd;
	(void)retry;
	(void)max;
	(void)f;
	(void)arg;
	fail_msg("the server was asked");
	return 0;
}

void
server_error(const struct server_answer *a, char *out, size_t size, char *code,
    size_t code_size)
{
	(void)a;
	(void)out;
	(void)size;
	(void)code;
	(void)code_size;
}

int
ovl_is_held(struct mount *m, uint64_t ovl)
{
	(void)m;
	(void)ovl;
	return 0;
}

void
tell_unlink(struct mount *m, const uint64_t *ovls, size_t n)
{
	(void)m;
	(void)ovls;
	(void)n;
}

/* ---- random ---------------------------------------------------------------------------- */

static uint64_t rand_state;

uint32_t
model_rand(uint32_t below)
{
	rand_state ^= rand_state << 13;
	rand_state ^= rand_state >> 7;
	rand_state ^= rand_state << 17;
	return (uint32_t)(rand_state >> 32) % below;
}

static struct timens
now(void)
{
	static int64_t t = 1000;
	struct timens n = { ++t, 5 };

	return n;
}

struct chunklist *
model_chunks(uint32_t c)
{
	struct chunklist *cl;
	struct hash h;

	cl = chunklist_new(c == 0 ? 0 : 100 + c, CHUNK_SHIFT_MIN);
	assert_non_null(cl);
	if (c != 0) {
		hash_bytes(&h, &c, sizeof(c));
		assert_int_equal(chunklist_add(cl, &h), 0);
	}
	return cl;
}

static void
set_content(struct entry *e, uint32_t c, struct wbuf *w)
{
	struct node_store store;
	struct chunklist *cl = model_chunks(c);

	db_node_store(manifest_db, &store);
	assert_int_equal(chunklist_to_entry(cl, &store, e, w), 0);
	chunklist_free(cl);
}

/* ---- the model ---------------------------------------------------------------------------- */

static void
ino_free(struct ino *i)
{
	if (--i->refs > 0)
		return;
	free(i->entry);
	free(i->path);
	free(i);
}

void
model_free(struct mnode *n)
{
	struct mnode *c;

	if (n == NULL)
		return;
	while ((c = n->children) != NULL) {
		n->children = c->next;
		model_free(c);
	}
	ino_free(n->ino);
	free(n);
}

static struct mnode *
node_new(struct mnode *up, const char *name, size_t len, struct ino *ino)
{
	struct mnode *n = calloc(1, sizeof(*n));

	assert_non_null(n);
	assert_true(len < sizeof(n->name));
	memcpy(n->name, name, len);
	n->ino = ino;
	ino->refs++;
	n->up = up;
	if (up != NULL) {
		n->next = up->children;
		up->children = n;
	}
	return n;
}

static void
unhook(struct mnode *n)
{
	struct mnode **p;

	for (p = &n->up->children; *p != n; p = &(*p)->next)
		;
	*p = n->next;
	n->up = NULL;
	n->next = NULL;
}

static struct mnode *
child(struct mnode *dir, const char *name)
{
	struct mnode *c;

	for (c = dir->children; c != NULL; c = c->next)
		if (strcmp(c->name, name) == 0)
			return c;
	return NULL;
}

static int
node_is_dir(const struct mnode *n)
{
	return n->ino->entry->type == ENTRY_DIR;
}

static struct ino *
ino_of_item(const struct item *it)
{
	struct ino *i = calloc(1, sizeof(*i));

	assert_non_null(i);
	i->ovl = it->ovl;
	i->entry = entry_dup(&it->entry);
	i->has_origin = it->has_origin;
	if (it->has_origin) {
		i->commit = it->origin_commit;
		i->len = it->origin_path_len;
		i->path = mem_dup(it->origin_path, i->len);
	}
	return i;
}

static struct ino *
find_ovl(struct mnode *n, uint64_t ovl)
{
	struct mnode *c;
	struct ino *i;

	if (n->ino->ovl == ovl)
		return n->ino;
	for (c = n->children; c != NULL; c = c->next)
		if ((i = find_ovl(c, ovl)) != NULL)
			return i;
	return NULL;
}

static void
load_dir(struct model *md, struct mnode *n, const struct item *self)
{
	struct node_miss miss;
	struct shown_dir d;
	struct rbuf r;
	struct wbuf w;
	struct item it;
	struct ino *ino;
	struct mnode *c;
	uint32_t count;
	int end;

	assert_int_equal(shown_dir_of_item(self, &d), 0);
	wbuf_init(&w, 1 << 24);
	assert_int_equal(fill_dir(&md->m, &d, "", 0, 0, 100000, 1 << 24, &w,
	    &count, &end, &miss), 0);
	assert_true(end);
	rbuf_init(&r, w.data, w.len);
	while (item_decode(&r, &it) == 1) {
		ino = it.ovl != 0 ? find_ovl(md->root, it.ovl) : NULL;
		if (ino == NULL)
			ino = ino_of_item(&it);
		c = node_new(n, (const char *)it.name, it.name_len, ino);
		if (it.entry.type == ENTRY_DIR)
			load_dir(md, c, &it);
	}
	assert_null(r.error);
	wbuf_free(&w);
	shown_dir_free(&d);
}

void
model_load(struct model *md)
{
	struct node_miss miss;
	struct item it;
	void *keep;

	assert_int_equal(fill_object(&md->m, OVL_ROOT, &it, &keep, &miss), 1);
	md->root = node_new(NULL, "", 0, ino_of_item(&it));
	load_dir(md, md->root, &it);
	free(keep);
}

static void
same_tree(const struct mnode *a, const struct mnode *b)
{
	const struct mnode *c, *d;
	unsigned int na = 0, nb = 0;

	assert_int_equal(a->ino->ovl, b->ino->ovl);
	assert_int_equal(a->ino->entry->type, b->ino->entry->type);
	assert_int_equal(a->ino->entry->mode, b->ino->entry->mode);
	for (c = a->children; c != NULL; c = c->next) {
		na++;
		for (d = b->children; d != NULL; d = d->next)
			if (strcmp(c->name, d->name) == 0)
				break;
		if (d == NULL)
			fail_msg("fill does not show %s", c->name);
		else
			same_tree(c, d);
	}
	for (d = b->children; d != NULL; d = d->next)
		nb++;
	assert_int_equal(na, nb);
}

void
model_check(struct model *md)
{
	struct mnode *mine = md->root;

	md->root = NULL;
	model_load(md);
	same_tree(mine, md->root);
	model_free(md->root);
	md->root = mine;
}

static unsigned int
count_nodes(const struct mnode *n)
{
	const struct mnode *c;
	unsigned int sum = 1;

	for (c = n->children; c != NULL; c = c->next)
		sum += count_nodes(c);
	return sum;
}

static struct mnode *
nth(struct mnode *n, unsigned int *i)
{
	struct mnode *c, *found;

	if ((*i)-- == 0)
		return n;
	for (c = n->children; c != NULL; c = c->next)
		if ((found = nth(c, i)) != NULL)
			return found;
	return NULL;
}

struct mnode *
model_pick(struct model *md, int want_dir)
{
	unsigned int i, tries;
	struct mnode *n;

	for (tries = 0; tries < 20; tries++) {
		i = model_rand(count_nodes(md->root));
		n = nth(md->root, &i);
		if (want_dir == 2 || node_is_dir(n) == want_dir)
			return n;
	}
	return md->root;
}

static int
is_above(const struct mnode *dir, const struct mnode *n)
{
	for (; n != NULL; n = n->up)
		if (n == dir)
			return 1;
	return 0;
}

static int
depth_of(const struct mnode *n)
{
	int d = 0;

	for (; n->up != NULL; n = n->up)
		d++;
	return d;
}

/* ---- changes, as records ---------------------------------------------------------------- */

static void
put(struct model *md, struct record *r)
{
	const char *why;

	md->offset += 10;
	md->records++;
	if (getenv("TRACE") != NULL)
		print_message("%u: %llu/%.*s ovl %llu -> %llu/%.*s %.*s\n",
		    r->type, (unsigned long long)r->parent, (int)r->name_len,
		    r->name != NULL ? (const char *)r->name : "",
		    (unsigned long long)r->ovl, (unsigned long long)r->parent2,
		    (int)r->name2_len, r->name2 != NULL ?
		    (const char *)r->name2 : "", (int)r->origin_path_len,
		    r->origin_path != NULL ? (const char *)r->origin_path : "");
	if (namespace_apply(manifest_db, &md->m.row, r, md->offset, &why) == -1)
		fail_msg("record %u: %s", r->type, why != NULL ? why : "error");
	md->m.row.applied = md->offset;
}

static void
name_of(struct record *r, const struct mnode *dir, const char *name)
{
	r->parent = dir->ino->ovl;
	r->name = (const uint8_t *)name;
	r->name_len = strlen(name);
	r->time = now();
}

static void
object(struct model *md, struct mnode *n)
{
	struct record r;

	if (n->ino->ovl != 0)
		return;
	object(md, n->up);
	memset(&r, 0, sizeof(r));
	r.type = RECORD_COPYUP;
	name_of(&r, n->up, n->name);
	r.ovl = n->ino->ovl = md->next_ovl++;
	r.entry = *n->ino->entry;
	r.origin_commit = n->ino->commit;
	r.origin_path = n->ino->path;
	r.origin_path_len = n->ino->len;
	put(md, &r);
}

static struct mnode *
make(struct model *md, struct mnode *dir, const char *name, uint8_t type)
{
	struct ino *ino = calloc(1, sizeof(*ino));
	struct record r;
	struct entry e;
	struct wbuf w;

	object(md, dir);
	memset(&e, 0, sizeof(e));
	wbuf_init(&w, 4096);
	e.type = type;
	e.mode = (uint16_t)(0700 + model_rand(3));
	e.mtime = e.ctime = now();
	e.fileid = 1000 + model_rand(1u << 30);
	if (type == ENTRY_FILE)
		set_content(&e, 0, &w);
	if (type == ENTRY_SYMLINK) {
		e.target = (const uint8_t *)"somewhere";
		e.target_len = 1 + model_rand(9);
	}
	memset(&r, 0, sizeof(r));
	r.type = RECORD_MAKE;
	name_of(&r, dir, name);
	r.ovl = ino->ovl = md->next_ovl++;
	r.entry = e;
	put(md, &r);
	ino->entry = entry_dup(&e);
	wbuf_free(&w);
	return node_new(dir, name, strlen(name), ino);
}

static void
write_file(struct model *md, struct mnode *n)
{
	uint32_t c = model_rand(6);
	struct record r;
	struct obj o;

	object(md, n);
	memset(&r, 0, sizeof(r));
	assert_int_equal(db_obj_get(manifest_db, md->m.row.row, n->ino->ovl,
	    &o), 0);
	r.ovl = n->ino->ovl;
	r.entry.mtime = r.entry.ctime = now();
	r.entry.size = c == 0 ? 0 : 100 + c;
	if (!(o.flags & OBJ_LOCAL))
		r.type = RECORD_CONTENT;
	else
		r.type = RECORD_DIRTY;
	put(md, &r);
	r.type = RECORD_SETTLE;
	put(md, &r);
	obj_free(&o);
	assert_true(r.ovl < 4096);
	md->content[r.ovl] = c;
}

static void
change_mode(struct model *md, struct mnode *n)
{
	struct record r;

	object(md, n);
	memset(&r, 0, sizeof(r));
	r.type = RECORD_ATTR;
	r.ovl = n->ino->ovl;
	r.flags = RECORD_ATTR_MODE | RECORD_ATTR_CTIME;
	r.entry.mode = (uint16_t)(0700 + model_rand(4));
	r.entry.ctime = now();
	put(md, &r);
	n->ino->entry->mode = r.entry.mode;
}

static void
remove_node(struct model *md, struct mnode *n)
{
	struct record r;

	while (n->children != NULL)
		remove_node(md, n->children);
	object(md, n->up);
	memset(&r, 0, sizeof(r));
	r.type = RECORD_REMOVE;
	name_of(&r, n->up, n->name);
	put(md, &r);
	unhook(n);
	model_free(n);
}

static void
link_node(struct model *md, struct mnode *n, struct mnode *dir,
    const char *name)
{
	struct record r;

	object(md, n);
	object(md, dir);
	memset(&r, 0, sizeof(r));
	r.type = RECORD_LINK;
	name_of(&r, dir, name);
	r.ovl = n->ino->ovl;
	put(md, &r);
	node_new(dir, name, strlen(name), n->ino);
}

static void
hook(struct mnode *n, struct mnode *dir, const char *name)
{
	n->up = dir;
	n->next = dir->children;
	dir->children = n;
	if (n->name != name)
		memcpy(n->name, name, strlen(name) + 1);
}

static void
rename_node(struct model *md, struct mnode *n, struct mnode *dir,
    const char *name, int exchange)
{
	struct mnode *to = child(dir, name), *from_dir = n->up;
	char from[16];
	struct record r;

	object(md, n);
	object(md, dir);
	if (exchange)
		object(md, to);
	memset(&r, 0, sizeof(r));
	r.type = RECORD_RENAME;
	name_of(&r, n->up, n->name);
	r.parent2 = dir->ino->ovl;
	r.name2 = (const uint8_t *)name;
	r.name2_len = strlen(name);
	r.flags = exchange ? RENAME_EXCHANGE : 0;
	put(md, &r);
	memcpy(from, n->name, sizeof(from));
	unhook(n);
	if (to != NULL) {
		unhook(to);
		if (exchange)
			hook(to, from_dir, from);
		else
			model_free(to);
	}
	hook(n, dir, name);
}

static void
try_rename(struct model *md, const char *name)
{
	struct mnode *n = model_pick(md, 2), *dir = model_pick(md, 1), *to;
	int exchange = model_rand(4) == 0;

	if (n == md->root || is_above(n, dir) || depth_of(dir) > 3)
		return;
	to = child(dir, name);
	if (to == NULL && exchange)
		return;
	if (to != NULL) {
		if (to == n || to->ino == n->ino || is_above(to, n))
			return;
		if (!exchange && (node_is_dir(to) != node_is_dir(n) ||
		    to->children != NULL))
			return;
		if (exchange && node_is_dir(to) && is_above(to, n->up))
			return;
	}
	rename_node(md, n, dir, name, exchange);
}

static const char *const names[] = { "a", "b", "c", "d", "e.x", "e" };

void
model_change(struct model *md)
{
	const char *name = names[model_rand(6)];
	struct mnode *dir = model_pick(md, 1), *n;

	switch (model_rand(12)) {
	case 0:
	case 1:
		if (child(dir, name) == NULL && depth_of(dir) < 4)
			make(md, dir, name, ENTRY_DIR);
		break;
	case 2:
	case 3:
		if (child(dir, name) == NULL)
			write_file(md, make(md, dir, name, ENTRY_FILE));
		break;
	case 4:
		if (child(dir, name) == NULL)
			make(md, dir, name, model_rand(2) ? ENTRY_SYMLINK :
			    ENTRY_FIFO);
		break;
	case 5:
		n = model_pick(md, 0);
		if (n->ino->entry->type == ENTRY_FILE)
			write_file(md, n);
		break;
	case 6:
		change_mode(md, model_pick(md, 2));
		break;
	case 7:
		n = model_pick(md, 2);
		if (n != md->root && count_nodes(n) < 12)
			remove_node(md, n);
		break;
	case 8:
		n = model_pick(md, 0);
		if (!node_is_dir(n) && child(dir, name) == NULL)
			link_node(md, n, dir, name);
		break;
	default:
		try_rename(md, name);
		break;
	}
}

/* ---- what stands where ----------------------------------------------------------------- */

struct line {
	uint8_t *path;
	size_t len;
	struct seen seen;
};
struct lines {
	struct line *v;
	size_t n, cap;
};

static void
add_line(struct lines *l, const struct pathbuf *p, const struct entry *e)
{
	if (l->n == l->cap) {
		l->cap = l->cap == 0 ? 64 : l->cap * 2;
		l->v = reallocarray(l->v, l->cap, sizeof(*l->v));
		assert_non_null(l->v);
	}
	l->v[l->n].path = mem_dup(p->b, p->len);
	l->v[l->n].len = p->len;
	seen_of(e, &l->v[l->n++].seen);
}

static void
lines_free(struct lines *l)
{
	size_t i;

	for (i = 0; i < l->n; i++)
		free(l->v[i].path);
	free(l->v);
	memset(l, 0, sizeof(*l));
}

static int
line_cmp(const void *a, const void *b)
{
	const struct line *x = a, *y = b;

	return path_cmp(x->path, x->len, y->path, y->len);
}

static const struct line *
find_line(const struct lines *l, const uint8_t *path, size_t len)
{
	struct line key;

	memset(&key, 0, sizeof(key));
	key.path = mem_dup(path, len);
	key.len = len;
	const struct line *f = l->n == 0 ? NULL :
	    bsearch(&key, l->v, l->n, sizeof(key), line_cmp);
	free(key.path);
	return f;
}

static void
shown(struct model *md, const struct mnode *n, struct pathbuf *p,
    struct lines *l)
{
	const struct mnode *c;
	struct entry e;
	struct wbuf w;
	struct obj o;
	long before;

	wbuf_init(&w, 4096);
	if (n->ino->ovl != 0) {
		assert_int_equal(db_obj_get(manifest_db, md->m.row.row,
		    n->ino->ovl, &o), 0);
		e = *o.entry;
		if (o.flags & OBJ_LOCAL)
			set_content(&e, md->content[n->ino->ovl], &w);
		add_line(l, p, &e);
		obj_free(&o);
	} else
		add_line(l, p, n->ino->entry);
	wbuf_free(&w);
	for (c = n->children; c != NULL; c = c->next) {
		before = pathbuf_push(p, c->name, strlen(c->name));
		shown(md, c, p, l);
		pathbuf_pop(p, before);
	}
}

static void
stored(const struct hash *root, struct pathbuf *p, struct lines *l)
{
	struct node_store store;
	struct tree_iter *it;
	const uint8_t *name;
	struct entry e;
	size_t len;
	long before;

	db_node_store(manifest_db, &store);
	it = tree_iter_begin(&store, root, "", 0, 0);
	assert_non_null(it);
	while (tree_iter_next(it, &name, &len, &e) == 1) {
		before = pathbuf_push(p, name, len);
		add_line(l, p, &e);
		if (e.type == ENTRY_DIR)
			stored(&e.root, p, l);
		pathbuf_pop(p, before);
	}
	tree_iter_end(it);
}

static void
lines_of_mount(struct model *md, struct lines *l)
{
	struct pathbuf p;

	memset(l, 0, sizeof(*l));
	p.len = strlen(md->m.row.subpath);
	memcpy(p.b, md->m.row.subpath, p.len);
	shown(md, md->root, &p, l);
	qsort(l->v, l->n, sizeof(*l->v), line_cmp);
}

static void
lines_of_entry(const struct entry *root, struct lines *l)
{
	struct pathbuf p;

	memset(l, 0, sizeof(*l));
	p.len = 0;
	add_line(l, &p, root);
	stored(&root->root, &p, l);
	qsort(l->v, l->n, sizeof(*l->v), line_cmp);
}

/* ---- commits --------------------------------------------------------------------------- */

static const uint8_t salt[TREE_SALT_LEN];
static struct hash head; /* of the volume */
static struct entry *head_root;
static uint64_t head_number;

static void
commit_new(const struct entry *root)
{
	struct commit c;
	struct wbuf w;
	struct hash id;

	memset(&c, 0, sizeof(c));
	c.has_parent = head_number > 0;
	c.parent = head;
	c.number = head_number++;
	c.root = *root;
	c.time = now();
	c.author = c.message = (const uint8_t *)"";
	wbuf_init(&w, 65536);
	commit_encode(&w, &c);
	assert_int_equal(w.error, 0);
	hash_bytes(&id, w.data, w.len);
	assert_int_equal(db_commit_put(manifest_db, &id, w.data, w.len), 0);
	wbuf_free(&w);
	head = id;
	struct entry *copy = entry_dup(root);

	free(head_root);
	head_root = copy;
}

static void
base_entry(struct entry *e, uint8_t type)
{
	memset(e, 0, sizeof(*e));
	e->type = type;
	e->mode = 0755;
	e->mtime = e->ctime = now();
	e->fileid = 10 + model_rand(1u << 30);
}

static void
make_tree(struct entry *dir, int depth, int forced)
{
	struct tree_edit edits[6];
	struct entry e[6];
	struct wbuf w[6];
	struct node_store store;
	struct tree_sums sums;
	size_t i, n = 0, k;

	db_node_store(manifest_db, &store);
	static const char *const sorted[] = { "a", "b", "c", "d", "e", "e.x" };

	for (i = 0; i < 6; i++) {
		wbuf_init(&w[i], 4096);
		if (!(forced && i == 0) && model_rand(5) < 2)
			continue;
		k = n++;
		if ((forced && i == 0) || (depth < 3 && model_rand(2) == 0)) {
			base_entry(&e[k], ENTRY_DIR);
			make_tree(&e[k], depth + 1, forced > 0 ? forced - 1 : 0);
		} else {
			base_entry(&e[k], ENTRY_FILE);
			set_content(&e[k], model_rand(6), &w[i]);
		}
		edits[k].name = sorted[i];
		edits[k].len = strlen(sorted[i]);
		edits[k].entry = &e[k];
	}
	assert_int_equal(tree_apply(&store, salt, NULL, edits, n, &dir->root,
	    &sums), 0);
	dir->files = sums.files;
	dir->bytes = sums.bytes;
	for (i = 0; i < 6; i++)
		wbuf_free(&w[i]);
}

#define FOREIGN_MAX 100000
static unsigned int foreign_files;
static char foreign_known[FOREIGN_MAX]; /* the mount had it in a base */

/* Somebody else makes a file F... in a random directory of the head. */
static void
foreign_in(struct entry *dir, int depth)
{
	struct node_store store;
	struct tree_iter *it;
	struct tree_edit edit;
	struct tree_sums sums;
	struct entry e, *pick = NULL;
	const uint8_t *name;
	char text[16], found[16];
	struct wbuf w;
	size_t len, found_len = 0;
	unsigned int seen = 0;

	db_node_store(manifest_db, &store);
	it = tree_iter_begin(&store, &dir->root, "", 0, 0);
	while (tree_iter_next(it, &name, &len, &e) == 1)
		if (e.type == ENTRY_DIR && model_rand(++seen) == 0) {
			free(pick);
			pick = entry_dup(&e);
			memcpy(found, name, len);
			found_len = len;
		}
	tree_iter_end(it);
	wbuf_init(&w, 4096);
	if (pick != NULL && depth < 4 && model_rand(4) != 0) {
		foreign_in(pick, depth + 1);
		edit.name = found;
		edit.len = found_len;
		edit.entry = pick;
	} else {
		snprintf(text, sizeof(text), "F%u",
		    ++foreign_files % FOREIGN_MAX);
		foreign_known[foreign_files % FOREIGN_MAX] = 0;
		base_entry(&e, ENTRY_FILE);
		set_content(&e, 1 + model_rand(5), &w);
		edit.name = text;
		edit.len = strlen(text);
		edit.entry = &e;
	}
	assert_int_equal(tree_apply(&store, salt, &dir->root, &edit, 1,
	    &dir->root, &sums), 0);
	dir->files = sums.files;
	dir->bytes = sums.bytes;
	wbuf_free(&w);
	free(pick);
}

static void
trace(const char *what)
{
	if (getenv("TRACE") != NULL)
		print_message("%s\n", what);
}

static void
foreign_commit(void)
{
	struct entry e = *head_root;

	foreign_in(&e, 0);
	commit_new(&e);
}

static int
root_of_commit(void *arg, const struct hash *id, struct entry *root,
    struct blob **keep)
{
	(void)arg;
	return nodes_commit_root(id, root, keep);
}

/* ---- one commit of the mount ------------------------------------------------------------ */

static int left_any; /* something was left dirty: views need not be equal */

static void
collect(struct model *md, struct delta_set *set)
{
	struct node_miss miss;
	size_t i;

	memset(&miss, 0, sizeof(miss));
	md->m.row.flags |= ROW_SEEN;
	if (delta_collect(manifest_db, &md->m.row, set, &miss, 0, 0, NULL,
	    NULL) == -1)
		fail_msg("collect: %s", strerror(errno));
	left_any = 0;
	for (i = 0; i < set->n; i++) {
		struct delta_item *it = &set->items[i];

		if (it->hash == HASH_KNOWN)
			continue;
		if (model_rand(40) == 0) {
			delta_item_leave(it);
			if (getenv("TRACE") != NULL)
				print_message("left %s\n", it->path);
			left_any = 1;
			continue;
		}
		assert_int_equal(delta_item_hashed(it,
		    model_chunks(md->content[it->ovl])), 0);
		it->hashed_ctime = it->hash_began = now();
		it->writers = model_rand(5) == 0;
	}
}

static void
print_op(const struct delta_op *op)
{
	uint32_t i;

	print_error("  op %u %.*s seen %d%s%s\n", op->kind, (int)op->len,
	    (const char *)op->path, op->seen.present,
	    op->has_ref ? " ref" : "", op->has_tree ? " tree" : "");
	if (op->has_ref)
		print_error("     ref %u:%.*s\n", op->ref.commit,
		    (int)op->ref.len, (const char *)op->ref.path);
	for (i = 0; i < op->nref_except; i++)
		print_error("     not %.*s\n", (int)op->ref_except[i].len,
		    (const char *)op->ref_except[i].path);
	if (op->has_tree)
		print_error("     tree %u:%.*s\n", op->tree.commit,
		    (int)op->tree.len, (const char *)op->tree.path);
	for (i = 0; i < op->ntree_except; i++)
		print_error("     except %.*s %d\n",
		    (int)op->tree_except[i].len,
		    (const char *)op->tree_except[i].path,
		    op->tree_except[i].seen.present);
}

static void
bad(const char *what, const uint8_t *path, size_t len, const struct delta *d)
{
	uint32_t i;

	for (i = 0; d != NULL && i < d->nops; i++)
		print_op(&d->ops[i]);
	fail_msg("%s: %.*s", what, (int)len, (const char *)path);
}

static int
is_foreign(const uint8_t *path, size_t len)
{
	size_t base;
	const char *b = path_base((const char *)path, len, &base);

	return base > 0 && b[0] == 'F';
}

static unsigned int
foreign_number(const uint8_t *path, size_t len)
{
	size_t base;
	const char *b = path_base((const char *)path, len, &base);

	return (unsigned int)strtoul(b + 1, NULL, 10) % FOREIGN_MAX;
}

/* What the mount showed is in the result; and what else is there, others
   made. */
static void
compare(struct model *md, const struct lines *view, const struct lines *result,
    const struct delta *d)
{
	const char *sub = md->m.row.subpath;
	const struct line *l;
	size_t i, k;
	int foreign;

	for (i = 0; i < view->n; i++) {
		l = find_line(result, view->v[i].path, view->v[i].len);
		if (l == NULL)
			bad("shown, and not there", view->v[i].path,
			    view->v[i].len, d);
		else if (!seen_equal(&l->seen, &view->v[i].seen))
			bad("shown with other content or attributes", l->path,
			    l->len, d);
	}
	for (i = 0; i < result->n; i++) {
		l = &result->v[i];
		if (!path_is_below(l->path, l->len, sub, strlen(sub)) ||
		    find_line(view, l->path, l->len) != NULL)
			continue;
		foreign = is_foreign(l->path, l->len);
		for (k = i + 1; k < result->n && !foreign && path_is_below(
		    result->v[k].path, result->v[k].len, l->path, l->len); k++)
			foreign = is_foreign(result->v[k].path,
			    result->v[k].len);
		if (!foreign)
			bad("not shown, and there", l->path, l->len, d);
	}
}

/* Files of others that this mount never saw are still there, where no file
   took the place of a directory above them. */
static void
foreign_stay(const struct lines *before, const struct lines *view,
    const struct lines *result, const struct merge_out *out,
    const struct delta *d)
{
	const struct line *l, *up;
	size_t i, k, len;
	int may;

	for (i = 0; i < before->n; i++) {
		l = &before->v[i];
		if (!is_foreign(l->path, l->len) ||
		    find_line(result, l->path, l->len) != NULL)
			continue;
		may = foreign_known[foreign_number(l->path, l->len)];
		for (len = l->len; len > 0;) {
			len = path_parent(l->path, len);
			up = find_line(view, l->path, len);
			if (up != NULL && !up->seen.is_dir)
				may = 1;
		}
		if (!may)
			bad("lost of others", l->path, l->len, d);
	}
	/* Only directories that others keep in being, or their files. */
	for (k = 0; k < out->npaths; k++) {
		for (i = 0, may = 0; i < before->n && !may; i++)
			may = is_foreign(before->v[i].path, before->v[i].len) &&
			    path_is_below(before->v[i].path, before->v[i].len,
			    out->paths[k].path, out->paths[k].len);
		if (!may)
			bad("overwritten", out->paths[k].path,
			    out->paths[k].len, d);
	}
}

static struct delta *
written(const struct delta_set *set, uint8_t **mem)
{
	const char *why;
	struct node_miss miss;
	struct delta *d;
	FILE *f = tmpfile();
	long len;

	memset(&miss, 0, sizeof(miss));
	assert_non_null(f);
	if (delta_set_write(set, fileno(f), &miss) == -1)
		fail_msg("writing: %s", strerror(errno));
	fseek(f, 0, SEEK_END);
	len = ftell(f);
	rewind(f);
	*mem = malloc((size_t)len + 1);
	assert_int_equal(fread(*mem, 1, (size_t)len, f), len);
	fclose(f);
	if ((d = delta_decode(*mem, (size_t)len, &why)) == NULL) {
		size_t i;

		for (i = 0; i < set->n; i++)
			if (set->items[i].kind != 0)
				print_error("  item %u %s\n",
				    set->items[i].kind, set->items[i].path);
		fail_msg("delta: %s", why);
	}
	return d;
}

static void
record_published(struct model *md, const struct delta_set *set)
{
	assert_int_equal(db_begin(manifest_db), 0);
	assert_int_equal(delta_set_published(manifest_db, &md->m.row, set), 0);
	md->m.row.has_last = 1;
	md->m.row.last = head;
	assert_int_equal(db_mount_update(manifest_db, &md->m.row), 0);
	assert_int_equal(db_commit(manifest_db), 0);
}

static void
mount_commit(struct model *md)
{
	struct lines view, result, before;
	struct node_store store;
	struct merge_out out;
	struct merge_in in;
	struct delta_set set;
	struct delta *d;
	uint8_t *mem;
	unsigned int i;

	collect(md, &set);
	trace("-- commit");
	lines_of_mount(md, &view);
	for (i = model_rand(3); i > 0 && model_rand(3) == 0; i--)
		model_change(md);
	d = written(&set, &mem);
	db_node_store(manifest_db, &store);
	memset(&in, 0, sizeof(in));
	in.store = &store;
	in.salt = salt;
	in.head_root = head_root;
	in.commit_root = root_of_commit;
	in.delta = d;
	in.max_report = 10;
	if (merge_apply(&in, &out) == -1)
		bad(out.why, out.why_path, out.why_path_len, d);
	lines_of_entry(&out.root, &result);
	lines_of_entry(head_root, &before);
	for (size_t k = 0; k < out.npaths && getenv("VERBOSE") != NULL; k++)
		print_message("overwritten: %s\n", out.paths[k].path);
	if (!left_any) {
		compare(md, &view, &result, d);
		foreign_stay(&before, &view, &result, &out, d);
	}
	if (getenv("TRACE") != NULL)
		for (uint32_t k = 0; k < d->nops; k++)
			print_op(&d->ops[k]);
	if (out.changed)
		commit_new(&out.root);
	record_published(md, &set);
	merge_out_free(&out);
	delta_free(d);
	delta_set_free(&set);
	free(mem);
	lines_free(&view);
	lines_free(&result);
	lines_free(&before);
}

static void
mount_reload(struct model *md, int keep)
{
	struct rebase_gone gone;
	struct node_miss miss;
	struct lines view, base;
	size_t i;
	int rc;

	memset(&miss, 0, sizeof(miss));
	trace(keep ? "-- keep" : "-- reload");
	assert_int_equal(db_begin(manifest_db), 0);
	if (keep)
		rc = rebase_keep(manifest_db, &md->m.row, &head, head_number,
		    0, &gone, &miss);
	else
		rc = rebase_drop(manifest_db, &md->m.row, &head, head_number,
		    &gone, &miss);
	if (rc == -1)
		fail_msg("reload: %s", strerror(errno));
	assert_int_equal(db_commit(manifest_db), 0);
	free(gone.ovls);
	model_free(md->root);
	md->root = NULL;
	model_load(md);
	lines_of_entry(head_root, &base);
	for (i = 0; i < base.n; i++)
		if (is_foreign(base.v[i].path, base.v[i].len))
			foreign_known[foreign_number(base.v[i].path,
			    base.v[i].len)] = 1;
	if (keep) {
		lines_free(&base);
		return;
	}
	lines_of_mount(md, &view);
	compare(md, &view, &base, NULL);
	lines_free(&view);
	lines_free(&base);
}

/* What is kept is in view: the delta that was made before gives the same. */
static void
mount_reload_keep(struct model *md)
{
	struct lines before, after;
	struct delta_set set;
	size_t i;

	collect(md, &set);
	lines_of_mount(md, &before);
	mount_reload(md, 1);
	lines_of_mount(md, &after);
	for (i = 0; i < set.n; i++) {
		const struct delta_item *it = &set.items[i];
		const struct line *x = find_line(&before, it->path, it->len);
		const struct line *y = find_line(&after, it->path, it->len);

		if (it->kind == 0)
			continue;
		if ((x == NULL) != (y == NULL) ||
		    (x != NULL && !seen_equal(&x->seen, &y->seen)))
			bad("not kept", it->path, it->len, NULL);
	}
	delta_set_free(&set);
	lines_free(&before);
	lines_free(&after);
}

/* ---- the test ------------------------------------------------------------------------------ */

static void
mount_new_model(struct model *md)
{
	static unsigned int serial;
	struct entry e, *root;
	struct blob *keep;
	struct record r;
	struct obj o;
	size_t depth;

	memset(md, 0, sizeof(*md));
	base_entry(&e, ENTRY_DIR);
	make_tree(&e, 0, 2);
	head_number = 0;
	commit_new(&e);
	serial++;
	memcpy(md->m.row.id, &serial, sizeof(serial));
	md->m.row.path = strdup("/mnt");
	md->m.row.volume_id = strdup("vol_1");
	md->m.row.volume = strdup("v");
	md->m.row.org = strdup("o");
	md->m.row.subpath = strdup(model_rand(4) == 0 ? "a/a" :
	    model_rand(4) == 0 ? "a" : "");
	md->m.row.base = head;
	md->m.row.next = 2;
	assert_int_equal(db_mount_insert(manifest_db, &md->m.row), 0);
	assert_int_equal(nodes_lookup(&head, md->m.row.subpath,
	    strlen(md->m.row.subpath), &e, &keep, &depth), 0);
	root = entry_dup(&e);
	blob_unref(keep);
	memset(&o, 0, sizeof(o));
	o.ovl = OVL_ROOT;
	o.links = 1;
	o.entry = root;
	o.has_origin = 1;
	o.origin_commit = head;
	o.origin_path = (uint8_t *)md->m.row.subpath;
	o.origin_path_len = strlen(md->m.row.subpath);
	assert_int_equal(db_obj_put(manifest_db, md->m.row.row, &o), 0);
	free(root);
	memset(&r, 0, sizeof(r));
	r.type = RECORD_ALLOC;
	r.next = 4096;
	md->next_ovl = 2;
	put(md, &r);
	model_load(md);
}

static void
scenario(unsigned int *rounds)
{
	struct model md;
	unsigned int i, k;

	mount_new_model(&md);
	for (i = 0; i < 12 && md.next_ovl < 3500; i++, (*rounds)++) {
		for (k = 1 + model_rand(10); k > 0; k--)
			model_change(&md);
		if (model_rand(8) == 0)
			model_check(&md);
		if (model_rand(3) == 0)
			foreign_commit();
		switch (model_rand(6)) {
		case 0:
			mount_reload(&md, 0);
			break;
		case 1:
			mount_reload_keep(&md);
			break;
		case 2:
			break;
		default:
			mount_commit(&md);
			break;
		}
	}
	mount_commit(&md);
	model_free(md.root);
	assert_int_equal(db_mount_delete(manifest_db, md.m.row.row), 0);
	mount_row_free(&md.m.row);
}

static void
random_changes(void **state)
{
	const char *text = getenv("SEED"), *count = getenv("ROUNDS");
	uint64_t seed = text != NULL ? strtoull(text, NULL, 10) :
	    (uint64_t)time(NULL) * 1000003 + (uint64_t)getpid();
	unsigned int rounds = 0, want = count != NULL ?
	    (unsigned int)strtoul(count, NULL, 10) : 20000, n = 0;

	(void)state;
	print_message("SEED=%llu\n", (unsigned long long)seed);
	manifest_db = db_open(":memory:");
	assert_non_null(manifest_db);
	while (rounds < want) {
		if (++n % 500 == 0) { /* old nodes are only ballast */
			db_close(manifest_db);
			manifest_db = db_open(":memory:");
		}
		rand_state = seed * 2654435761u + 88172645463325252ull + n;
		if (getenv("ONLY") != NULL &&
		    strtoul(getenv("ONLY"), NULL, 10) != n) {
			rounds += 12;
			continue;
		}
		if (getenv("VERBOSE") != NULL)
			print_message("ONLY=%u\n", n);
		scenario(&rounds);
	}
	db_close(manifest_db);
	free(head_root);
	head_root = NULL;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_changes),
	};

	hash_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
