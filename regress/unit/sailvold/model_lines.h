/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * model_lines: what stands where, as sorted lists of paths with what would be
 * seen there: of a mount and of a commit.  Included after model_tree.h.
 */
#ifndef MODEL_LINES_H
#define MODEL_LINES_H

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
	const struct line *f =
	    l->n == 0 ? NULL : bsearch(&key, l->v, l->n, sizeof(key), line_cmp);
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
				     n->ino->ovl, &o),
		    0);
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

#endif
