/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * view_names: the names of a directory in memory, and which stretches of them
 * are known.  In fuse.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "sailvold/inode.h"
#include "sailvold/view.h"
#include "sailvold/view_names.h"

#define RANGES_MAX 64

static int
bytes_cmp(const void *a, size_t alen, const void *b, size_t blen)
{
	size_t n = alen < blen ? alen : blen;
	int c = n == 0 ? 0 : memcmp(a, b, n);

	if (c != 0)
		return c;
	return alen < blen ? -1 : alen > blen;
}

static int
vname_cmp(const struct vname *a, const struct vname *b)
{
	return bytes_cmp(a->name, a->len, b->name, b->len);
}

RB_PROTOTYPE(vname_tree, vname, tree, vname_cmp)
RB_GENERATE(vname_tree, vname, tree, vname_cmp)

/*
 * Offset of a name in a directory: 61 bits of its hash, so that it is the same
 * whatever else is made or removed, and after a takeover.
 */
uint64_t
view_cookie(const void *name, size_t len)
{
	const uint8_t *p = name;
	uint64_t h = 14695981039346656037ULL;
	size_t i;

	for (i = 0; i < len; i++)
		h = (h ^ p[i]) * 1099511628211ULL;
	h ^= h >> 33;
	h *= 0xff51afd7ed558ccdULL;
	h ^= h >> 33;
	return (h >> 3) | (uint64_t)1 << 61;
}

/* ---- the directory ---------------------------------------------------------- */

static struct vdir *
dir_of(struct vn *vn)
{
	struct vdir *d;

	if (vn->dir != NULL)
		return vn->dir;
	if ((d = calloc(1, sizeof(*d))) == NULL)
		return NULL;
	if ((d->by_cookie = calloc(8, sizeof(*d->by_cookie))) == NULL) {
		free(d);
		return NULL;
	}
	d->mask = 7;
	d->vn = vn;
	RB_INIT(&d->names);
	vn->dir = d;
	view_dir_listed(d);
	view_came(d);
	view_came(d->by_cookie);
	return d;
}

static struct vname *
find(struct vdir *d, const void *name, size_t len)
{
	uint64_t cookie = view_cookie(name, len);
	struct vname *n;

	for (n = d->by_cookie[cookie & d->mask]; n != NULL; n = n->next_cookie)
		if (n->cookie == cookie && n->len == len &&
		    memcmp(n->name, name, len) == 0)
			return n;
	return NULL;
}

struct vname *
view_by_cookie(struct vn *dir, uint64_t cookie)
{
	struct vname *n;

	if (dir->dir == NULL)
		return NULL;
	for (n = dir->dir->by_cookie[cookie & dir->dir->mask]; n != NULL;
	     n = n->next_cookie)
		if (n->cookie == cookie)
			return n;
	return NULL;
}

static void
grow(struct vdir *d)
{
	struct vname **b, *n;
	uint32_t mask = d->mask * 2 + 1;

	if ((b = calloc((size_t)mask + 1, sizeof(*b))) == NULL)
		return; /* slower, not wrong */
	RB_FOREACH (n, vname_tree, &d->names) {
		n->next_cookie = b[n->cookie & mask];
		b[n->cookie & mask] = n;
	}
	view_came(b);
	view_goes(d->by_cookie);
	free(d->by_cookie);
	d->by_cookie = b;
	d->mask = mask;
}

static struct vname *
add(struct vdir *d, const void *name, size_t len)
{
	struct vname *n;

	if ((n = calloc(1, sizeof(*n) + len + 1)) == NULL)
		return NULL;
	n->dir = d->vn;
	n->len = (uint8_t)len;
	memcpy(n->name, name, len);
	n->cookie = view_cookie(name, len);
	n->next_cookie = d->by_cookie[n->cookie & d->mask];
	d->by_cookie[n->cookie & d->mask] = n;
	RB_INSERT(vname_tree, &d->names, n);
	d->count++;
	d->nothing++;
	view_came(n);
	if (d->count > d->mask * 2)
		grow(d);
	return n;
}

/* The thing that the name had, with one name less in memory. */
static struct vn *
unset(struct vdir *d, struct vname *n)
{
	struct vn *vn = n->vn;

	if (vn == NULL)
		return NULL;
	n->vn = NULL;
	d->nothing++;
	vn->names--;
	if (vn->name == n)
		vn->name = NULL;
	return vn;
}

static void
set(struct vdir *d, struct vname *n, struct vn *vn)
{
	n->vn = vn;
	if (vn == NULL)
		return;
	d->nothing--;
	vn->names++;
	vn->name = n;
}

static void
remove_name(struct vdir *d, struct vname *n)
{
	struct vname **p = &d->by_cookie[n->cookie & d->mask];

	while (*p != n)
		p = &(*p)->next_cookie;
	*p = n->next_cookie;
	RB_REMOVE(vname_tree, &d->names, n);
	d->count--;
	d->nothing--;
	view_goes(n);
	free(n);
}

static void
range_free(struct range *r)
{
	view_goes(r->lo);
	view_goes(r->hi);
	free(r->lo);
	free(r->hi);
}

void
view_dir_free(struct vn *dir)
{
	struct vdir *d = dir->dir;
	struct vname *n, *next;
	struct vn *vn;
	uint32_t i;

	if (d == NULL)
		return;
	for (n = RB_MIN(vname_tree, &d->names); n != NULL; n = next) {
		next = RB_NEXT(vname_tree, &d->names, n);
		if (n->vn != NULL && n->vn->pins != 0 && n->vn->ovl == 0)
			(void)vn_keep_origin(n->vn);
		vn = unset(d, n);
		remove_name(d, n);
		if (vn != NULL)
			vn_release(vn);
	}
	for (i = 0; i < d->nranges; i++)
		range_free(&d->ranges[i]);
	view_goes(d->ranges);
	free(d->ranges);
	view_goes(d->by_cookie);
	free(d->by_cookie);
	view_dir_unlisted(d);
	dir->dir = NULL;
	view_goes(d);
	free(d);
}

int
view_dir_evictable(struct vdir *d, uint64_t safe)
{
	struct vname *n;
	struct vn *vn;

	if (d->dirty > safe)
		return 0;
	RB_FOREACH (n, vname_tree, &d->names) {
		if ((vn = n->vn) == NULL)
			continue;
		if (vn->dirty > safe || vn->dir != NULL || vn->coming != 0 ||
		    vn->copy != NULL || (vn->pins != 0 && vn->ovl == 0))
			return 0;
	}
	return 1;
}

/* ---- what is known ------------------------------------------------------------ */

static int
in_range(const struct range *r, const void *name, size_t len)
{
	return bytes_cmp(r->lo, r->lo_len, name, len) <= 0 &&
	    (r->to_end || bytes_cmp(name, len, r->hi, r->hi_len) <= 0);
}

static const struct range *
range_of(const struct vdir *d, const void *name, size_t len)
{
	uint32_t i;

	for (i = 0; i < d->nranges; i++)
		if (in_range(&d->ranges[i], name, len))
			return &d->ranges[i];
	return NULL;
}

static void
range_drop(struct vdir *d, uint32_t i)
{
	range_free(&d->ranges[i]);
	d->ranges[i] = d->ranges[--d->nranges];
}

/* 1 when b begins right behind a. */
static int
follows(const struct range *a, const struct range *b)
{
	return !a->to_end && b->lo_len == a->hi_len + 1 &&
	    memcmp(a->hi, b->lo, a->hi_len) == 0 && b->lo[a->hi_len] == '\0';
}

/* Takes lo and hi over; ranges that touch it become one with it. */
static int
range_add(struct vdir *d, struct range *r)
{
	struct range *p, *o;
	uint8_t *keep;
	uint8_t len;
	uint32_t i;

	for (i = 0; i < d->nranges;) {
		o = &d->ranges[i];
		if (!(in_range(o, r->lo, r->lo_len) ||
			in_range(r, o->lo, o->lo_len) || follows(o, r) ||
			follows(r, o))) {
			i++;
			continue;
		}
		if (bytes_cmp(o->lo, o->lo_len, r->lo, r->lo_len) < 0) {
			keep = r->lo, len = r->lo_len;
			r->lo = o->lo, r->lo_len = o->lo_len;
			o->lo = keep, o->lo_len = len;
		}
		if (!r->to_end &&
		    (o->to_end ||
			bytes_cmp(o->hi, o->hi_len, r->hi, r->hi_len) > 0)) {
			keep = r->hi, len = r->hi_len;
			r->hi = o->hi, r->hi_len = o->hi_len;
			o->hi = keep, o->hi_len = len;
			r->to_end = o->to_end;
		}
		range_drop(d, i);
	}
	/* What is dropped here is asked again. */
	while (d->nranges >= RANGES_MAX)
		range_drop(d, 0);
	view_goes(d->ranges);
	p = reallocarray(d->ranges, d->nranges + 1, sizeof(*p));
	view_came(p != NULL ? p : d->ranges);
	if (p == NULL)
		return -1;
	d->ranges = p;
	d->ranges[d->nranges++] = *r;
	return 0;
}

static int
range_make(struct vdir *d, const void *lo, size_t lo_len, const void *hi,
    size_t hi_len, int to_end)
{
	struct range r;

	memset(&r, 0, sizeof(r));
	r.lo = malloc(lo_len + 1);
	r.hi = malloc(hi_len + 1);
	view_came(r.lo);
	view_came(r.hi);
	if (r.lo == NULL || r.hi == NULL)
		goto fail;
	if (lo_len > 0)
		memcpy(r.lo, lo, lo_len);
	if (hi_len > 0)
		memcpy(r.hi, hi, hi_len);
	r.lo_len = (uint8_t)lo_len;
	r.hi_len = (uint8_t)hi_len;
	r.to_end = to_end != 0;
	if (range_add(d, &r) == 0)
		return 0;
fail:
	range_free(&r);
	errno = ENOMEM;
	return -1;
}

/* ---- public ----------------------------------------------------------------- */

int
view_lookup(struct vn *dir, const void *name, size_t len, struct vn **vn)
{
	struct vname *n;

	*vn = NULL;
	if (dir->dir == NULL)
		return -1;
	view_dir_touched(dir->dir);
	if ((n = find(dir->dir, name, len)) != NULL) {
		*vn = n->vn;
		return n->vn != NULL;
	}
	return range_of(dir->dir, name, len) != NULL ? 0 : -1;
}

int
view_set(struct vn *dir, const void *name, size_t len, struct vn *vn)
{
	struct vdir *d;
	struct vname *n;
	struct vn *old;

	if ((d = dir_of(dir)) == NULL)
		return -1;
	if ((n = find(d, name, len)) == NULL && (n = add(d, name, len)) == NULL)
		return -1;
	if (n->vn == vn)
		return 0;
	old = unset(d, n);
	set(d, n, vn);
	if (old != NULL)
		vn_release(old);
	return 0;
}

int
view_set_empty(struct vn *dir)
{
	struct vdir *d;

	if ((d = dir_of(dir)) == NULL)
		return -1;
	return range_make(d, "", 0, "", 0, 1);
}

static struct vname *
first_from(struct vdir *d, const void *name, size_t len, int inclusive)
{
	union {
		struct vname n;
		uint8_t room[sizeof(struct vname) + SAIL_NAME_MAX + 1];
	} key;
	struct vname *n;

	key.n.len = (uint8_t)len;
	if (len > 0)
		memcpy(key.room + offsetof(struct vname, name), name, len);
	n = RB_NFIND(vname_tree, &d->names, &key.n);
	if (n != NULL && !inclusive && n->len == len &&
	    memcmp(n->name, name, len) == 0)
		n = RB_NEXT(vname_tree, &d->names, n);
	return n;
}

/* The first that can come behind: an equal one and a NUL. */
static void
behind(uint8_t *pos, size_t *len, int *inclusive)
{
	*inclusive = *len < SAIL_NAME_MAX;
	if (*inclusive)
		pos[(*len)++] = '\0';
}

int
view_next(struct vn *dir, const void *after, size_t len, int inclusive,
    struct vname **out, uint8_t from[SAIL_NAME_MAX], size_t *from_len)
{
	struct vdir *d = dir->dir;
	const struct range *r;
	struct vname *n;
	uint8_t pos[SAIL_NAME_MAX];
	size_t pos_len = len;

	*out = NULL;
	if (len > 0)
		memcpy(pos, after, len);
	if (!inclusive)
		behind(pos, &pos_len, &inclusive);
	while (d != NULL && (r = range_of(d, pos, pos_len)) != NULL) {
		n = first_from(d, pos, pos_len, inclusive);
		while (n != NULL && n->vn == NULL)
			n = RB_NEXT(vname_tree, &d->names, n);
		if (r->to_end ||
		    (n != NULL &&
			bytes_cmp(n->name, n->len, r->hi, r->hi_len) <= 0)) {
			*out = n;
			return n != NULL;
		}
		/* Nothing up to the end of what is known: from there. */
		if (!inclusive)
			break;
		pos_len = r->hi_len;
		memcpy(pos, r->hi, pos_len);
		behind(pos, &pos_len, &inclusive);
	}
	memcpy(from, pos, pos_len);
	*from_len = pos_len;
	return -1;
}

int
view_is_empty(struct vn *dir, uint8_t from[SAIL_NAME_MAX], size_t *from_len)
{
	struct vname *n;
	int rc;

	rc = view_next(dir, "", 0, 1, &n, from, from_len);
	return rc == -1 ? -1 : !rc;
}

static int
fill_one_name(struct vn *dir, const struct item *it)
{
	struct vname *n;
	struct vn *vn = NULL;
	struct vdir *d = dir->dir;

	if (find(d, it->name, it->name_len) != NULL)
		return 0;
	if (it->ovl != 0)
		vn = view_object(it->ovl);
	if (vn == NULL && (vn = vn_from_item(it)) == NULL)
		return -1;
	if ((n = add(d, it->name, it->name_len)) == NULL) {
		vn_release(vn);
		return -1;
	}
	set(d, n, vn);
	return 0;
}

int
view_fill(struct vn *dir, const void *first, size_t first_len, const void *upto,
    size_t upto_len, int end, struct rbuf *items, const char **why)
{
	struct item it;
	int rc;

	*why = NULL;
	if (dir_of(dir) == NULL)
		return -1;
	while ((rc = item_decode(items, &it)) == 1) {
		if (it.name_len == 0 ||
		    bytes_cmp(it.name, it.name_len, first, first_len) < 0 ||
		    (!end &&
			bytes_cmp(it.name, it.name_len, upto, upto_len) > 0)) {
			*why = "a name outside of what was asked for";
			errno = EBADMSG;
			return -1;
		}
		if (fill_one_name(dir, &it) == -1)
			return -1;
	}
	if (rc == -1) {
		*why = items->error;
		errno = EBADMSG;
		return -1;
	}
	if (!end && bytes_cmp(upto, upto_len, first, first_len) < 0) {
		*why = "an answer that says nothing";
		errno = EBADMSG;
		return -1;
	}
	return range_make(dir->dir, first, first_len, upto, upto_len, end);
}
