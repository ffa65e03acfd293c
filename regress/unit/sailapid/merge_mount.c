/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * merge_mount: edits of a simulated mount, the generator of its deltas, and its
 * reloads.
 */
#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/path.h"
#include "regress/unit/sailapid/merge_mount.h"

uint64_t rng_state;

static const struct mnode nothing;

uint32_t
rnd(uint32_t n)
{
	rng_state ^= rng_state << 13;
	rng_state ^= rng_state >> 7;
	rng_state ^= rng_state << 17;
	return (uint32_t)((rng_state >> 20) % n);
}

struct mnode
mtree_get(const struct mtree *t, const char *path)
{
	const struct mpath *p = mtree_find(t, path);

	return p != NULL ? p->n : nothing;
}

/* ---- edits of a view ---- */

struct mnode
mount_fresh(struct history *h, uint8_t type)
{
	struct mnode n;

	memset(&n, 0, sizeof(n));
	n.type = type;
	n.mode = type == ENTRY_SYMLINK ? 0777 : (uint16_t)(0600 + rnd(3));
	n.uid = rnd(7);
	n.mtime = n.ctime = h->clock++;
	n.fileid = h->fileid++;
	if (type == ENTRY_FILE || type == ENTRY_SYMLINK)
		n.content = rnd(9);
	/* Now and then the same as somebody else's. */
	if (rnd(3) == 0) {
		n.uid = 1;
		n.mode = type == ENTRY_SYMLINK ? 0777 : 0600;
		n.mtime = 5;
		n.content = type == ENTRY_DIR || type == ENTRY_FIFO ? 0 : 3;
	}
	return n;
}

/* A path that the view has, of that type (0: any but the root). */
static const char *
pick(const struct mtree *t, uint8_t type)
{
	int i;

	for (i = 0; i < 8 && t->n > 1; i++) {
		const struct mpath *p = &t->v[1 + rnd((uint32_t)t->n - 1)];

		if (type == 0 || p->n.type == type)
			return p->path;
	}
	return NULL;
}

/* A name in a directory that the view has. */
static int
pick_new(const struct mtree *t, char out[MP_MAX])
{
	const char *dir = rnd(4) == 0 ? "" : pick(t, ENTRY_DIR);
	int tries;

	if (dir == NULL)
		dir = "";
	if (strlen(dir) + 6 > PATH_KEEP)
		return 0;
	/* Mostly one that is not there. */
	for (tries = 1 + (int)rnd(5); tries > 0; tries--) {
		if (rnd(12) == 0)
			(void)snprintf(out, MP_MAX, "%.40s%sn%03u", dir,
			    dir[0] ? "/" : "", rnd(400));
		else
			(void)snprintf(out, MP_MAX, "%.40s%s%c", dir,
			    dir[0] ? "/" : "", 'a' + rnd(6));
		if (mtree_find(t, out) == NULL)
			break;
	}
	return 1;
}

static void
remove_all(struct mtree *t, const char *path)
{
	char p[MP_MAX];
	struct mpath *at = mtree_find(t, path);
	size_t i;

	if (at == NULL)
		return;
	memcpy(p, path, strlen(path) + 1);
	i = (size_t)(at - t->v);
	while (i < t->n &&
	    (strcmp(t->v[i].path, p) == 0 || mp_below(t->v[i].path, p)))
		mtree_del(t, t->v[i].path);
}

static void
touch_parent(struct history *h, struct mtree *t, const char *path)
{
	char p[MP_MAX];
	char *slash;
	struct mpath *d;

	memcpy(p, path, strlen(path) + 1);
	if ((slash = strrchr(p, '/')) == NULL)
		return;
	*slash = '\0';
	if ((d = mtree_find(t, p)) != NULL)
		d->n.mtime = d->n.ctime = h->clock++;
}

static void
move_tree(struct history *h, struct mtree *t, const char *from_path,
    const char *to)
{
	struct mtree moved = { NULL, 0, 0 };
	char from[MP_MAX], p[3 * MP_MAX];
	struct mpath *n, *at;
	size_t i;

	memcpy(from, from_path, strlen(from_path) + 1);
	if ((at = mtree_find(t, from)) == NULL || strcmp(from, to) == 0 ||
	    mp_below(to, from) || mp_below(from, to))
		return;
	for (i = (size_t)(at - t->v); i < t->n; i++) {
		if (strcmp(t->v[i].path, from) != 0 &&
		    !mp_below(t->v[i].path, from))
			break;
		(void)snprintf(p, sizeof(p), "%s%s", to,
		    t->v[i].path + strlen(from));
		if (strlen(p) >= MP_MAX - 8) {
			mtree_free(&moved);
			return;
		}
		n = mtree_set(&moved, p, &t->v[i].n);
		n->oc = t->v[i].oc;
		memcpy(n->op, t->v[i].op, MP_MAX);
	}
	remove_all(t, to);
	remove_all(t, from);
	for (i = 0; i < moved.n; i++) {
		n = mtree_set(t, moved.v[i].path, &moved.v[i].n);
		n->oc = moved.v[i].oc;
		memcpy(n->op, moved.v[i].op, MP_MAX);
	}
	touch_parent(h, t, from);
	touch_parent(h, t, to);
	mtree_free(&moved);
}

void
mount_make(struct history *h, struct mtree *t, const char *path, uint8_t type)
{
	struct mnode n = mount_fresh(h, type);
	char p[MP_MAX];
	struct mpath *at;

	memcpy(p, path, strlen(path) + 1);
	remove_all(t, p);
	at = mtree_set(t, p, &n);
	at->oc = -1;
	touch_parent(h, t, p);
}

static void
edit_attributes(struct history *h, struct mtree *t)
{
	const char *path = rnd(12) == 0 ? "" : pick(t, 0);
	struct mpath *p;

	if (path == NULL)
		return;
	p = mtree_find(t, path);
	switch (rnd(3)) {
	case 0:
		if (p->n.type != ENTRY_SYMLINK)
			p->n.mode = (uint16_t)(0700 + rnd(3));
		break;
	case 1:
		p->n.uid = rnd(7);
		break;
	case 2:
		p->n.mtime = rnd(2) ? h->clock++ : 5;
		break;
	}
	p->n.ctime = h->clock++;
}

void
mount_edit(struct history *h, struct mount *m)
{
	static const uint8_t types[] = { ENTRY_FILE, ENTRY_FILE, ENTRY_DIR,
		ENTRY_SYMLINK, ENTRY_FIFO, ENTRY_DIR };
	static const uint8_t kinds[] = { 0, 0, 0, 0, 0, 0, 1, 1, 2, 2, 2, 2, 4,
		4, 4, 5, 6, 7, 7, 7, 7, 9, 10 };
	struct mtree *t = &m->view;
	char to[MP_MAX], from[MP_MAX];
	const char *path;
	struct mpath *p;

	switch (kinds[rnd(sizeof(kinds))]) {
	case 0: /* create or replace, also by another type */
	case 1:
		if (pick_new(t, to))
			mount_make(h, t, to, types[rnd(6)]);
		break;
	case 2:
	case 3: /* write */
		if ((path = pick(t, ENTRY_FILE)) != NULL) {
			p = mtree_find(t, path);
			p->n.content = rnd(9);
			p->n.mtime = p->n.ctime = h->clock++;
		}
		break;
	case 4:
		edit_attributes(h, t);
		break;
	case 5: /* delete, rm -r */
		if ((path = pick(t, rnd(4) ? ENTRY_FILE : ENTRY_DIR)) != NULL) {
			memcpy(to, path, strlen(path) + 1);
			remove_all(t, to);
			touch_parent(h, t, to);
		}
		break;
	case 6: /* rm -r, and made again, with some of it or not */
		if ((path = pick(t, ENTRY_DIR)) != NULL) {
			memcpy(to, path, strlen(path) + 1);
			mount_make(h, t, to, ENTRY_DIR);
			if (rnd(2) && strlen(to) < PATH_KEEP) {
				(void)snprintf(to + strlen(to), 3, "/%c",
				    'a' + rnd(4));
				mount_make(h, t, to, types[rnd(6)]);
			}
		}
		break;
	case 7:
	case 8: /* move */
		if ((path = pick(t, rnd(4) ? ENTRY_DIR : 0)) != NULL &&
		    pick_new(t, to)) {
			memcpy(from, path, strlen(path) + 1);
			memcpy(m->moved_from, from, MP_MAX);
			memcpy(m->moved_to, to, MP_MAX);
			move_tree(h, t, from, to);
		}
		break;
	case 9: /* move back, when its directory is still there */
		(void)snprintf(to, sizeof(to), "%s", m->moved_from);
		if (strrchr(to, '/') != NULL)
			*strrchr(to, '/') = '\0';
		else
			to[0] = '\0';
		if (m->moved_to[0] && mtree_find(t, m->moved_to) != NULL &&
		    mtree_get(t, to).type == ENTRY_DIR)
			move_tree(h, t, m->moved_to, m->moved_from);
		break;
	case 10: /* file to directory and back */
		if ((path = pick(t, 0)) != NULL) {
			p = mtree_find(t, path);
			mount_make(h, t, path,
			    p->n.type == ENTRY_DIR && rnd(4) == 0 ? ENTRY_FILE
								  : ENTRY_DIR);
		}
		break;
	}
}

/* ---- the delta between what a mount saw and what it shows ---- */

static const char *
below(const char *path, const char *dir)
{
	return dir[0] == '\0' ? path : path + strlen(dir) + 1;
}

static char *
join(char out[3 * MP_MAX], const char *dir, const char *rel)
{
	(void)snprintf(out, (size_t)3 * MP_MAX, "%s%s%s", dir,
	    dir[0] && rel[0] ? "/" : "", rel);
	return out;
}

static void
add_except(struct mref *r, const char *rel, const struct mnode *seen)
{
	r->x = realloc(r->x, (r->nx + 1) * sizeof(*r->x));
	if (r->x == NULL)
		err(1, "realloc");
	memset(&r->x[r->nx], 0, sizeof(r->x[r->nx]));
	memcpy(r->x[r->nx].path, rel, strlen(rel) + 1);
	r->x[r->nx++].seen = *seen;
}

/* Relative paths below either, in order. */
static void
both_below(const struct mtree *a, const char *dir_a, const struct mtree *b,
    const char *dir_b, struct mtree *u)
{
	size_t i;

	memset(u, 0, sizeof(*u));
	for (i = 0; i < a->n; i++)
		if (mp_below(a->v[i].path, dir_a))
			(void)mtree_set(u, below(a->v[i].path, dir_a),
			    &nothing);
	for (i = 0; i < b->n; i++)
		if (mp_below(b->v[i].path, dir_b))
			(void)mtree_set(u, below(b->v[i].path, dir_b),
			    &nothing);
}

/* The tree of a directory as the mount saw it. */
static void
make_tree(struct history *h, struct mount *m, const char *dir, struct mref *r)
{
	const struct mpath *s = mtree_find(&m->seen, dir);
	const struct mtree *c;
	struct mnode is, says;
	struct mtree u;
	char p[3 * MP_MAX];
	size_t i;

	r->commit = m->base;
	memcpy(r->path, dir, MP_MAX);
	if (s->oc >= 0) {
		r->commit = s->oc;
		memcpy(r->path, s->op, MP_MAX);
	}
	c = &h->commits[r->commit].flat;
	both_below(&m->seen, dir, c, r->path, &u);
	for (i = 0; i < u.n; i++) {
		is = mtree_get(&m->seen, join(p, dir, u.v[i].path));
		says = mref_seen(r, c, u.v[i].path);
		if (!mnode_same(&is, &says))
			add_except(r, u.v[i].path, &is);
	}
	mtree_free(&u);
}

/* A directory brought from a commit: what stands elsewhere is not brought. */
static void
make_ref(struct history *h, struct mount *m, const struct mpath *v,
    struct mref *r)
{
	const struct mtree *c = &h->commits[v->oc].flat;
	const struct mpath *at;
	char p[3 * MP_MAX], o[3 * MP_MAX];
	const char *rel;
	size_t i;
	int here;

	r->commit = v->oc;
	memcpy(r->path, v->op, MP_MAX);
	for (i = 0; i < c->n; i++) {
		if (!mp_below(c->v[i].path, v->op))
			continue;
		rel = below(c->v[i].path, v->op);
		if (r->nx > 0 && mp_below(rel, r->x[r->nx - 1].path))
			continue;
		at = mtree_find(&m->view, join(p, v->path, rel));
		here = at != NULL && at->oc == v->oc &&
		    strcmp(at->op, join(o, v->op, rel)) == 0;
		if (!here ||
		    (at->n.type != ENTRY_DIR &&
			!mnode_equal(&at->n, &c->v[i].n) && rnd(2)))
			add_except(r, rel, &nothing);
	}
}

static struct mop *
add_op(struct gen *g, const char *path, enum mkind kind)
{
	struct mop *op;

	if (g->d.nop == g->cap) {
		g->cap = g->cap == 0 ? 16 : g->cap * 2;
		g->d.op = realloc(g->d.op, g->cap * sizeof(*g->d.op));
		if (g->d.op == NULL)
			err(1, "realloc");
	}
	op = &g->d.op[g->d.nop++];
	memset(op, 0, sizeof(*op));
	memcpy(op->path, path, strlen(path) + 1);
	op->kind = kind;
	op->seen = mtree_get(&g->m->seen, path);
	op->e = mtree_get(&g->m->view, path);
	return op;
}

/* What the nearest reference above brings to a path; 0: nothing. */
static int
brought(const struct gen *g, const char *path, struct mnode *n)
{
	const struct mop *op, *ref = NULL;
	char p[3 * MP_MAX];
	const char *rel;
	size_t i;

	*n = nothing;
	for (i = 0; i < g->d.nop; i++) {
		op = &g->d.op[i];
		if (op->has_ref && mp_below(path, op->path))
			ref = op;
	}
	if (ref == NULL)
		return 0;
	rel = below(path, ref->path);
	for (i = 0; i < ref->ref.nx; i++)
		if (strcmp(ref->ref.x[i].path, rel) == 0 ||
		    mp_below(rel, ref->ref.x[i].path))
			return 0;
	*n = mtree_get(&g->h->commits[ref->ref.commit].flat,
	    join(p, ref->ref.path, rel));
	return n->type != 0;
}

/* A directory above was removed: its tree takes all that was seen. */
static int
below_tree(const struct gen *g, const char *path)
{
	size_t i;

	for (i = 0; i < g->d.nop; i++)
		if (g->d.op[i].has_tree && mp_below(path, g->d.op[i].path))
			return 1;
	return 0;
}

static void
gen_gone(struct gen *g, const char *path, const struct mnode *s)
{
	struct mop *op;

	if (below_tree(g, path))
		return;
	if (s->type != ENTRY_DIR) {
		(void)add_op(g, path, M_DELETE);
		return;
	}
	op = add_op(g, path, M_TREE);
	op->has_tree = 1;
	make_tree(g->h, g->m, path, &op->tree);
}

static void
gen_dir(struct gen *g, const struct mpath *v, const struct mnode *s)
{
	int in_tree = below_tree(g, v->path), by_ref;
	struct mnode from;
	struct mop *op;

	by_ref = brought(g, v->path, &from);
	if (by_ref && mnode_equal(&from, &v->n))
		return;
	if (s->type == ENTRY_DIR && s->fileid == v->n.fileid && !in_tree &&
	    !by_ref) {
		if (!mnode_same(s, &v->n))
			(void)add_op(g, v->path, rnd(4) ? M_ATTR : M_PUT);
		return;
	}
	if (by_ref && from.type == ENTRY_DIR && s->type == 0 && rnd(2)) {
		(void)add_op(g, v->path, M_ATTR);
		return;
	}
	op = add_op(g, v->path, M_PUT);
	if (s->type == ENTRY_DIR && (!in_tree || rnd(2))) {
		op->has_tree = 1;
		make_tree(g->h, g->m, v->path, &op->tree);
	}
	if (!by_ref && v->oc >= 0 && rnd(5) != 0 &&
	    mtree_get(&g->h->commits[v->oc].flat, v->op).type == ENTRY_DIR) {
		op->has_ref = 1;
		make_ref(g->h, g->m, v, &op->ref);
	} else if (op->has_tree && rnd(3) == 0)
		op->kind = M_ATTR;
}

static void
gen_other(struct gen *g, const struct mpath *v, const struct mnode *s)
{
	struct mnode from;
	struct mop *op;
	int by_ref = brought(g, v->path, &from);

	if (by_ref && mnode_equal(&from, &v->n))
		return;
	if (!by_ref && !below_tree(g, v->path)) {
		if (mnode_same(s, &v->n))
			return;
		if (s->type == ENTRY_FILE && v->n.type == ENTRY_FILE &&
		    s->content == v->n.content && rnd(4)) {
			(void)add_op(g, v->path, M_ATTR);
			return;
		}
	}
	op = add_op(g, v->path, M_PUT);
	if (s->type == ENTRY_DIR) {
		op->has_tree = 1;
		make_tree(g->h, g->m, v->path, &op->tree);
	}
}

static void
gen_context(struct gen *g)
{
	char p[MP_MAX];
	char *slash;
	size_t i;
	struct mnode n;

	for (i = 0; i < g->d.nop; i++) {
		if (g->d.op[i].kind != M_PUT && !g->d.op[i].has_tree)
			continue;
		memcpy(p, g->d.op[i].path, MP_MAX);
		while ((slash = strrchr(p, '/')) != NULL) {
			*slash = '\0';
			n = mtree_get(&g->m->view, p);
			if (n.type == 0)
				continue;
			(void)mtree_set(&g->d.context, p, &n);
		}
	}
}

void
mount_generate(struct gen *g)
{
	struct mtree u;
	struct mpath *v;
	struct mnode s;
	size_t i;

	both_below(&g->m->seen, "", &g->m->view, "", &u);
	s = mtree_get(&g->m->seen, "");
	v = mtree_find(&g->m->view, "");
	if (!mnode_same(&s, &v->n))
		(void)add_op(g, "", M_ATTR);
	for (i = 0; i < u.n; i++) {
		s = mtree_get(&g->m->seen, u.v[i].path);
		v = mtree_find(&g->m->view, u.v[i].path);
		if (v == NULL)
			gen_gone(g, u.v[i].path, &s);
		else if (v->n.type == ENTRY_DIR)
			gen_dir(g, v, &s);
		else
			gen_other(g, v, &s);
	}
	gen_context(g);
	mtree_free(&u);
}

void
gen_free(struct gen *g)
{
	size_t i;

	for (i = 0; i < g->d.nop; i++) {
		free(g->d.op[i].ref.x);
		free(g->d.op[i].tree.x);
	}
	free(g->d.op);
	mtree_free(&g->d.context);
}

/* ---- reload ---- */

void
mount_reload(struct history *h, struct mount *m, int commit)
{
	size_t i;

	m->base = commit;
	mtree_copy(&m->view, &h->commits[commit].flat);
	for (i = 0; i < m->view.n; i++) {
		m->view.v[i].oc = commit;
		memcpy(m->view.v[i].op, m->view.v[i].path, MP_MAX);
	}
	mtree_copy(&m->seen, &m->view);
	m->moved_to[0] = '\0';
}

static void
put_path(struct mtree *t, const struct mpath *from)
{
	struct mpath *to = mtree_set(t, from->path, &from->n);

	to->oc = from->oc;
	memcpy(to->op, from->op, MP_MAX);
}

/* The mount shows another directory than it saw there, or none, or one where
   none was: all below is its own. */
static int
replaced(const struct mpath *s, const struct mpath *v)
{
	int s_dir = s != NULL && s->n.type == ENTRY_DIR;
	int v_dir = v != NULL && v->n.type == ENTRY_DIR;

	if (!s_dir && !v_dir)
		return 0;
	return !s_dir || !v_dir || s->n.fileid != v->n.fileid;
}

/* Directories above a kept path are there, as the mount showed them. */
static void
keep_above(const struct mount *old, const char *path, struct mount *now)
{
	const struct mpath *s, *v;
	char p[MP_MAX];
	size_t i, len = strlen(path);

	for (i = 0; i < len; i++) {
		if (path[i] != '/')
			continue;
		memcpy(p, path, i);
		p[i] = '\0';
		if (mtree_get(&now->view, p).type == ENTRY_DIR)
			continue;
		remove_all(&now->view, p);
		remove_all(&now->seen, p);
		if ((v = mtree_find(&old->view, p)) != NULL)
			put_path(&now->view, v);
		if ((s = mtree_find(&old->seen, p)) != NULL)
			put_path(&now->seen, s);
	}
}

void
mount_reload_keep(struct history *h, struct mount *m, int commit)
{
	struct mount now;
	struct mpath *s, *v;
	struct mtree u;
	const char *own = NULL, *path;
	char parent[MP_MAX];
	size_t i;

	memset(&now, 0, sizeof(now));
	mount_reload(h, &now, commit);
	both_below(&m->seen, "", &m->view, "", &u);
	for (i = 0; i < u.n; i++) {
		path = u.v[i].path;
		s = mtree_find(&m->seen, path);
		v = mtree_find(&m->view, path);
		if (own != NULL && !mp_below(path, own))
			own = NULL;
		if (own == NULL && !replaced(s, v) && s != NULL && v != NULL &&
		    mnode_same(&s->n, &v->n))
			continue;
		if (v != NULL)
			keep_above(m, path, &now);
		if (own == NULL &&
		    (v == NULL || v->n.type != ENTRY_DIR || replaced(s, v))) {
			remove_all(&now.seen, path);
			remove_all(&now.view, path);
		}
		(void)snprintf(parent, sizeof(parent), "%.*s",
		    (int)path_parent(path, strlen(path)), path);
		if (own == NULL && v == NULL &&
		    mtree_get(&now.view, parent).type != ENTRY_DIR)
			continue;
		if (own == NULL && replaced(s, v))
			own = path;
		if (s != NULL)
			put_path(&now.seen, s);
		if (v != NULL)
			put_path(&now.view, v);
	}
	mtree_free(&u);
	mtree_free(&m->seen);
	mtree_free(&m->view);
	*m = now;
}
