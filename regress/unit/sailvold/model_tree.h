/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * model_tree: a mount as a test imagines it: a tree of names in memory, each
 * change of which is also given to manifest as a record of the journal; with
 * stand-ins for what is not to be asked.  Included by one file of a test alone.
 */
#ifndef MODEL_TREE_H
#define MODEL_TREE_H

#include "lib/chunklist.h"
#include "sailvold/place.h"

struct ino {
	unsigned int refs;
	uint64_t ovl; /* 0: clean */
	struct entry *entry;
	int has_origin;
	struct hash commit;
	uint8_t *path;
	size_t len;
};
struct mnode {
	struct mnode *up, *next, *children;
	char name[16];
	struct ino *ino;
};

/* What the test keeps of one mount. */
struct model {
	struct mount m;
	struct mnode *root;
	uint64_t offset, next_ovl;
	uint32_t content[4096]; /* of overlay files, by number */
	unsigned int records;
};

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

static uint32_t
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

static struct chunklist *
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

static void
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
			     &count, &end, &miss),
	    0);
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

static void
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

static void
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

static struct mnode *
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
		    (int)r->name2_len,
		    r->name2 != NULL ? (const char *)r->name2 : "",
		    (int)r->origin_path_len,
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
			     &o),
	    0);
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
		if (!exchange &&
		    (node_is_dir(to) != node_is_dir(n) || to->children != NULL))
			return;
		if (exchange && node_is_dir(to) && is_above(to, n->up))
			return;
	}
	rename_node(md, n, dir, name, exchange);
}

static const char *const names[] = { "a", "b", "c", "d", "e.x", "e" };

static void
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
			make(md, dir, name,
			    model_rand(2) ? ENTRY_SYMLINK : ENTRY_FIFO);
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

#endif
