/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * xattr: the encoded list of extended attributes of an entry,
 * sailvol-format(5), EXTENDED ATTRIBUTES.  Pure; used by fuse, manifest, meta.
 */
#include <sys/xattr.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/entry.h"
#include "lib/path.h"

#define PREFIX "user."
#define PREFIX_LEN 5
#define NAME_MAX_LEN 255

static int
name_cmp(const void *a, size_t alen, const void *b, size_t blen)
{
	int c = memcmp(a, b, alen < blen ? alen : blen);

	if (c != 0)
		return (c);
	return (alen < blen ? -1 : alen > blen);
}

static int
next_pair(struct rbuf *r, const uint8_t **name, size_t *namelen,
    const uint8_t **value, size_t *vlen)
{
	if (r->error != NULL || rbuf_left(r) == 0)
		return (0);
	*namelen = rbuf_u8(r);
	*name = rbuf_bytes(r, *namelen);
	*value = rbuf_str16(r, SAIL_XATTRS_MAX, vlen);
	return (r->error == NULL);
}

const char *
xattrs_problem(const uint8_t *data, size_t len)
{
	const uint8_t *name, *value, *last = NULL;
	size_t namelen, vlen, last_len = 0;
	struct rbuf r;

	if (len > SAIL_XATTRS_MAX)
		return ("xattrs are too long");
	rbuf_init(&r, data, len);
	while (next_pair(&r, &name, &namelen, &value, &vlen)) {
		if (namelen <= PREFIX_LEN ||
		    memcmp(name, PREFIX, PREFIX_LEN) != 0)
			return ("xattr is not below user.");
		if (memchr(name, '\0', namelen) != NULL)
			return ("name of an xattr has a NUL");
		if (last != NULL &&
		    name_cmp(last, last_len, name, namelen) >= 0)
			return ("xattrs are not strictly ascending");
		last = name;
		last_len = namelen;
	}
	return (r.error);
}

int
xattrs_check(const uint8_t *data, size_t len)
{
	if (xattrs_problem(data, len) == NULL)
		return (0);
	errno = EBADMSG;
	return (-1);
}

void
xattrs_first(struct xattr_iter *it, const uint8_t *data, size_t len)
{
	rbuf_init(&it->r, data, len);
}

int
xattrs_next(struct xattr_iter *it, const char **name, size_t *namelen,
    const uint8_t **value, size_t *vlen)
{
	const uint8_t *p;

	if (!next_pair(&it->r, &p, namelen, value, vlen))
		return (0);
	*name = (const char *)p;
	return (1);
}

const uint8_t *
xattrs_get(const uint8_t *data, size_t len, const char *want, size_t *vlen)
{
	const uint8_t *name, *value;
	size_t namelen, want_len = strlen(want);
	struct rbuf r;

	rbuf_init(&r, data, len);
	while (next_pair(&r, &name, &namelen, &value, vlen)) {
		if (namelen == want_len && memcmp(name, want, want_len) == 0)
			return (value);
	}
	*vlen = 0;
	errno = ENODATA;
	return (NULL);
}

static void
put_pair(struct wbuf *w, const void *name, size_t namelen, const void *value,
    size_t vlen)
{
	wbuf_u8(w, (uint8_t)namelen);
	wbuf_bytes(w, name, namelen);
	wbuf_str16(w, value, vlen);
}

/* 0, or the errno of a name or a change that cannot be. */
static int
set_problem(const uint8_t *data, size_t len, const char *name,
    const void *value, int flags)
{
	size_t n = strlen(name);
	int there;

	if (n > NAME_MAX_LEN)
		return (ERANGE);
	if (n <= PREFIX_LEN || memcmp(name, PREFIX, PREFIX_LEN) != 0)
		return (EOPNOTSUPP);
	if (xattrs_problem(data, len) != NULL)
		return (EBADMSG);
	there = xattrs_get(data, len, name, &n) != NULL;
	if (there && value != NULL && (flags & XATTR_CREATE))
		return (EEXIST);
	if (!there && (value == NULL || (flags & XATTR_REPLACE)))
		return (ENODATA);
	return (0);
}

int
xattrs_set(const uint8_t *data, size_t len, const char *name, const void *value,
    size_t vlen, int flags, uint8_t **out, size_t *outlen)
{
	const uint8_t *n, *v;
	size_t nlen, l, want = strlen(name);
	struct rbuf r;
	struct wbuf w;
	int c, e, done = value == NULL;

	*out = NULL;
	*outlen = 0;
	if ((e = set_problem(data, len, name, value, flags)) != 0) {
		errno = e;
		return (-1);
	}
	wbuf_init(&w, SAIL_XATTRS_MAX);
	rbuf_init(&r, data, len);
	while (next_pair(&r, &n, &nlen, &v, &l)) {
		c = name_cmp(n, nlen, name, want);
		if (c >= 0 && !done) {
			put_pair(&w, name, want, value, vlen);
			done = 1;
		}
		if (c != 0)
			put_pair(&w, n, nlen, v, l);
	}
	if (!done)
		put_pair(&w, name, want, value, vlen);
	if (w.error == 0 && w.len == 0) {
		wbuf_free(&w);
		return (0);
	}
	if ((*out = wbuf_take(&w, outlen)) == NULL) {
		if (errno == EFBIG)
			errno = ENOSPC;
		return (-1);
	}
	return (0);
}
