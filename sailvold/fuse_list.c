/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * fuse_list: reading of directories, in the order of names.  The offset of an
 * entry is a hash of its name (1 and 2: "." and ".."), so that it stays what it
 * is while names come and go; the last ones given out are remembered, in case
 * that very name goes.  In fuse.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "sailvold/frontend.h"

#define BUFFER_MAX (1024 * 1024)

#define PLACES 64

/*
 * Names that were the last of an answer, in case that very name goes.  Whatever
 * directory it is in: a cookie is that of a name alone.  The last few stand in
 * the inode table, for the fuse after this one.
 */
static struct inode_place places[PLACES];
static unsigned int nplaces;

static struct inode_place *
place_among(struct inode_place *p, unsigned int n, uint64_t cookie)
{
	unsigned int i;

	for (i = 0; i < n; i++)
		if (p[i].cookie == cookie && p[i].len <= SAIL_NAME_MAX)
			return &p[i];
	return NULL;
}

static const struct inode_place *
place_of(uint64_t cookie)
{
	const struct inode_place *p;

	if ((p = place_among(places, PLACES, cookie)) != NULL)
		return p;
	return place_among(inode_places(), INODE_PLACES, cookie);
}

static void
place_set(struct inode_place *p, uint64_t cookie, const uint8_t *name,
    size_t len)
{
	__atomic_store_n(&p->cookie, 0, __ATOMIC_SEQ_CST);
	p->len = (uint16_t)len;
	memcpy(p->name, name, len);
	__atomic_store_n(&p->cookie, cookie, __ATOMIC_SEQ_CST);
}

static void
place_keep(uint64_t cookie, const uint8_t *name, size_t len)
{
	struct inode_place *shared = inode_places();

	if (place_among(places, PLACES, cookie) == NULL)
		place_set(&places[nplaces % PLACES], cookie, name, len);
	if (place_among(shared, INODE_PLACES, cookie) == NULL)
		place_set(&shared[nplaces % INODE_PLACES], cookie, name, len);
	nplaces++;
}

/*
 * Searches for a name that is not remembered, by another process's cookie:
 * where each of them goes on.  The names of a large directory do not stay in
 * memory until it is found.
 */
#define SEARCHES 16

static struct search {
	uint64_t dir;    /* node id */
	uint64_t cookie; /* 0: none */
	size_t len;
	uint8_t from[SAIL_NAME_MAX];
} searches[SEARCHES];
static unsigned int nsearches;

/* A request that did not wait begins at the front. */
static struct search *
search_of(uint64_t dir, uint64_t cookie)
{
	struct search *s = NULL;
	unsigned int i;

	for (i = 0; i < SEARCHES && s == NULL; i++)
		if (searches[i].dir == dir && searches[i].cookie == cookie)
			s = &searches[i];
	if (s != NULL && now.woken)
		return s;
	if (s == NULL)
		s = &searches[nsearches++ % SEARCHES];
	s->dir = dir;
	s->cookie = cookie;
	s->len = 0;
	return s;
}

/*
 * Directories have no handles.  A kernel that can do without is told once: it
 * does not ask again, and keeps lists of names until something changes there.
 */
void
op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	if (frontend_without_opendir()) {
		fuse_reply_err(req, ENOSYS);
		return;
	}
	fi->cache_readdir = 1;
	fi->keep_cache = 1;
	fuse_reply_open(req, fi);
}

void
op_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	(void)fi;
	fuse_reply_err(req, 0);
}

/* ---- the list ---------------------------------------------------------------- */

struct list {
	fuse_req_t req;
	struct vn *dir;
	int plus;
	char *buf;
	size_t size, used;
	struct vn **given; /* look-ups that the kernel gets */
	size_t ngiven, cap;
	uint64_t cookie; /* of the last that fits */
	uint8_t name[SAIL_NAME_MAX];
	size_t name_len;
};

/* 1: it fits. */
static int
add(struct list *l, const char *name, struct fuse_entry_param *e,
    uint64_t cookie)
{
	size_t n, left = l->size - l->used;

	n = l->plus ? fuse_add_direntry_plus(l->req, l->buf + l->used, left,
			  name, e, (off_t)cookie)
		    : fuse_add_direntry(l->req, l->buf + l->used, left, name,
			  &e->attr, (off_t)cookie);
	if (n > left)
		return 0;
	l->used += n;
	return 1;
}

static int
add_dot(struct list *l, const char *name, uint64_t cookie)
{
	struct fuse_entry_param e;
	uint32_t idx = l->dir->slot;
	struct vn *vn = l->dir;

	if (cookie == 2 && idx != INODE_ROOT && inode_slot(idx)->parent != 0)
		vn = inode_vn(inode_slot(idx)->parent);
	memset(&e, 0, sizeof(e));
	e.attr.st_mode = S_IFDIR;
	e.attr.st_ino = vn != NULL ? vn->fileid : l->dir->fileid;
	return add(l, name, &e, cookie);
}

static int
keep_given(struct list *l, struct vn *vn)
{
	struct vn **p;

	if (l->ngiven == l->cap) {
		l->cap = l->cap == 0 ? 256 : l->cap * 2;
		p = reallocarray(l->given, l->cap, sizeof(*p));
		if (p == NULL)
			return -1;
		l->given = p;
	}
	l->given[l->ngiven++] = vn;
	return 0;
}

/* 1: it fits, 0: not, or an errno below 0. */
static int
add_name(struct list *l, struct vname *n)
{
	struct fuse_entry_param e;
	int error = 0;

	if (l->plus && (error = node_entry(n->vn, &e)) == ENOMEM)
		return -error;
	/* Of one that cannot be looked at whoever looks hears why. */
	if (!l->plus || error != 0) {
		memset(&e, 0, sizeof(e));
		e.attr.st_ino = n->vn->fileid;
		e.attr.st_mode = vn_ifmt(n->vn->type);
		return add(l, n->name, &e, n->cookie);
	}
	if (!add(l, n->name, &e, n->cookie)) {
		node_unref(n->vn);
		return 0;
	}
	if (keep_given(l, n->vn) == -1) {
		node_unref(n->vn);
		return -ENOMEM;
	}
	return 1;
}

/* The names are gone through from the front.  0 and that which has the cookie,
   or NULL; E_WAIT, or an errno. */
static int
search(struct vn *dir, uint64_t cookie, struct vname **n)
{
	struct search *s = search_of(inode_id(dir->slot), cookie);
	int rc;

	rc = view_next(dir, s->from, s->len, 1, n, s->from, &s->len);
	while (rc == 1 && (*n)->cookie != cookie)
		rc = view_next(dir, (*n)->name, (*n)->len, 0, n, s->from,
		    &s->len);
	if (rc == -1)
		return query_load(dir, s->from, s->len);
	s->cookie = 0;
	return 0;
}

/* Where the offset points to: after which name to go on.  0, E_WAIT... */
static int
find_place(struct list *l, uint64_t off)
{
	const struct inode_place *p;
	struct vname *n;
	int error;

	l->name_len = 0;
	if (off <= 2)
		return 0;
	if ((n = view_by_cookie(l->dir, off)) == NULL &&
	    (p = place_of(off)) != NULL) {
		memcpy(l->name, p->name, p->len);
		l->name_len = p->len;
		return 0;
	}
	if (n == NULL && (error = search(l->dir, off, &n)) != 0)
		return error;
	/* Else it was removed under another process, long after it was given
	   out: from the front again. */
	if (n != NULL) {
		memcpy(l->name, n->name, n->len);
		l->name_len = n->len;
	}
	return 0;
}

/* That the parent is in memory, for the number of "..": 0, or E_WAIT. */
static int
find_parent(struct list *l, uint64_t off)
{
	uint32_t idx = l->dir->slot;
	struct vn *vn;

	if (off > 1 || idx == INODE_ROOT || inode_slot(idx)->parent == 0)
		return 0;
	return node_get_slot(inode_slot(idx)->parent, &vn) == E_WAIT ? E_WAIT
								     : 0;
}

static int
fill(struct list *l, uint64_t off)
{
	uint8_t from[SAIL_NAME_MAX];
	struct vname *n;
	size_t len;
	int rc;

	if (off == 0 && !add_dot(l, ".", 1))
		return 0;
	if (off <= 1 && !add_dot(l, "..", 2))
		return 0;
	for (;;) {
		rc = view_next(l->dir, l->name, l->name_len, l->name_len == 0,
		    &n, from, &len);
		if (rc == 0)
			return 0;
		if (rc == -1) {
			/* What is there goes first. */
			if (l->ngiven > 0 || l->cookie != 0)
				return 0;
			return query_load(l->dir, from, len);
		}
		if ((rc = add_name(l, n)) == 0)
			return 0;
		if (rc < 0)
			return l->cookie != 0 ? 0 : -rc;
		l->cookie = n->cookie;
		l->name_len = n->len;
		memcpy(l->name, n->name, n->len);
	}
}

static void
take_back(struct list *l)
{
	size_t i;

	for (i = 0; i < l->ngiven; i++)
		node_unref(l->given[i]);
}

/* What is in .sailvol: without look-ups. */
static void
list_door(struct list *l, uint64_t off)
{
	static const struct {
		const char *name;
		fuse_ino_t ino;
		mode_t type;
	} all[] = { { ".", INODE_DOOR, S_IFDIR }, { "..", INODE_ROOT, S_IFDIR },
		{ "ctl", INODE_CTL, S_IFREG },
		{ "volume.json", INODE_INFO, S_IFREG } };
	struct fuse_entry_param e;

	if ((l->buf = malloc(l->size)) == NULL) {
		fuse_reply_err(l->req, ENOMEM);
		return;
	}
	for (; off < sizeof(all) / sizeof(all[0]); off++) {
		memset(&e, 0, sizeof(e));
		e.attr.st_ino = all[off].ino;
		e.attr.st_mode = all[off].type;
		if (!add(l, all[off].name, &e, off + 1))
			break;
	}
	fuse_reply_buf(l->req, l->buf, l->used);
	free(l->buf);
}

static void
list_dir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, int plus)
{
	struct list l;
	int error;

	memset(&l, 0, sizeof(l));
	l.req = req;
	l.plus = plus;
	l.size = size < BUFFER_MAX ? size : BUFFER_MAX;
	if (ino == INODE_DOOR) {
		list_door(&l, (uint64_t)off);
		return;
	}
	if ((error = node_dir(ino, &l.dir)) != 0 ||
	    (error = find_parent(&l, (uint64_t)off)) != 0 ||
	    (error = find_place(&l, (uint64_t)off)) != 0) {
		request_fail(req, error);
		return;
	}
	if ((l.buf = malloc(l.size)) == NULL) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	error = fill(&l, (uint64_t)off);
	if (error != 0) {
		take_back(&l);
		request_fail(req, error);
	} else {
		if (l.cookie != 0)
			place_keep(l.cookie, l.name, l.name_len);
		if (fuse_reply_buf(req, l.buf, l.used) != 0)
			take_back(&l);
	}
	free(l.given);
	free(l.buf);
}

void
op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
    struct fuse_file_info *fi)
{
	(void)fi;
	list_dir(req, ino, size, off, 0);
}

void
op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
    struct fuse_file_info *fi)
{
	(void)fi;
	list_dir(req, ino, size, off, 1);
}
