/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * bytes: the sticky writer and reader of the little-endian formats, and
 * counted memory.  Used by every process.
 */
#include "lib/bytes.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/hash.h"
#include "lib/monotime.h"

void
wbuf_init(struct wbuf *w, size_t max)
{
	memset(w, 0, sizeof(*w));
	w->max = max;
}

void
wbuf_free(struct wbuf *w)
{
	if (w == NULL)
		return;
	free(w->data);
	w->data = NULL;
	w->len = w->cap = 0;
}

/* Room for n more bytes at the end; NULL when an error stuck. */
static uint8_t *
wbuf_grow(struct wbuf *w, size_t n)
{
	uint8_t *p;
	size_t cap;

	if (w->error != 0)
		return (NULL);
	if (w->len > w->max || n > w->max - w->len) {
		w->error = EFBIG;
		return (NULL);
	}
	if (n > w->cap - w->len) {
		cap = w->cap > w->max / 2 ? w->max : w->cap * 2;
		if (cap < w->len + n)
			cap = w->len + n;
		if (cap < 64)
			cap = 64;
		if ((p = realloc(w->data, cap)) == NULL) {
			w->error = ENOMEM;
			return (NULL);
		}
		w->data = p;
		w->cap = cap;
	}
	p = w->data + w->len;
	w->len += n;
	return (p);
}

static void
wbuf_le(struct wbuf *w, uint64_t v, size_t n)
{
	uint8_t *p;
	size_t i;

	if ((p = wbuf_grow(w, n)) == NULL)
		return;
	for (i = 0; i < n; i++)
		p[i] = (uint8_t)(v >> (8 * i));
}

void
wbuf_u8(struct wbuf *w, uint8_t v)
{
	wbuf_le(w, v, 1);
}

void
wbuf_u16(struct wbuf *w, uint16_t v)
{
	wbuf_le(w, v, 2);
}

void
wbuf_u32(struct wbuf *w, uint32_t v)
{
	wbuf_le(w, v, 4);
}

void
wbuf_u64(struct wbuf *w, uint64_t v)
{
	wbuf_le(w, v, 8);
}

void
wbuf_i64(struct wbuf *w, int64_t v)
{
	wbuf_le(w, (uint64_t)v, 8);
}

void
wbuf_bytes(struct wbuf *w, const void *data, size_t n)
{
	uint8_t *p;

	if (n != 0 && (p = wbuf_grow(w, n)) != NULL)
		memcpy(p, data, n);
}

void
wbuf_hash(struct wbuf *w, const struct hash *h)
{
	wbuf_bytes(w, h->b, HASH_LEN);
}

void
wbuf_time(struct wbuf *w, struct timens t)
{
	wbuf_i64(w, t.sec);
	wbuf_u32(w, t.nsec);
}

void
wbuf_str16(struct wbuf *w, const void *data, size_t n)
{
	if (n > UINT16_MAX) {
		if (w->error == 0)
			w->error = EFBIG;
		return;
	}
	wbuf_u16(w, (uint16_t)n);
	wbuf_bytes(w, data, n);
}

void
wbuf_str32(struct wbuf *w, const void *data, size_t n)
{
	if (n > UINT32_MAX) {
		if (w->error == 0)
			w->error = EFBIG;
		return;
	}
	wbuf_u32(w, (uint32_t)n);
	wbuf_bytes(w, data, n);
}

void
wbuf_set_u32(struct wbuf *w, size_t offset, uint32_t v)
{
	size_t i;

	if (w->error != 0)
		return;
	if (w->len < 4 || offset > w->len - 4) {
		w->error = EFBIG;
		return;
	}
	for (i = 0; i < 4; i++)
		w->data[offset + i] = (uint8_t)(v >> (8 * i));
}

uint8_t *
wbuf_take(struct wbuf *w, size_t *len)
{
	uint8_t *p;

	if (w->error == 0 && w->data == NULL && (w->data = malloc(1)) == NULL)
		w->error = ENOMEM;
	if (w->error != 0) {
		wbuf_free(w);
		errno = w->error;
		return (NULL);
	}
	p = w->data;
	*len = w->len;
	w->data = NULL;
	w->len = w->cap = 0;
	return (p);
}

void
rbuf_init(struct rbuf *r, const void *data, size_t len)
{
	r->data = data;
	r->len = len;
	r->pos = 0;
	r->error = NULL;
}

void
rbuf_fail(struct rbuf *r, const char *what)
{
	if (r->error == NULL)
		r->error = what;
}

const uint8_t *
rbuf_bytes(struct rbuf *r, size_t n)
{
	/* A pointer that is not NULL, for a view of nothing in nothing. */
	static const uint8_t empty[1];
	const uint8_t *p;

	if (r->error != NULL)
		return (NULL);
	if (n > r->len - r->pos) {
		r->error = "truncated";
		return (NULL);
	}
	p = r->data == NULL ? empty : r->data + r->pos;
	r->pos += n;
	return (p);
}

uint8_t
rbuf_u8(struct rbuf *r)
{
	const uint8_t *p = rbuf_bytes(r, 1);

	return (p == NULL ? 0 : *p);
}

uint16_t
rbuf_u16(struct rbuf *r)
{
	const uint8_t *p = rbuf_bytes(r, 2);
	uint16_t v = 0;

	if (p != NULL)
		memcpy(&v, p, sizeof(v));
	return (le16toh(v));
}

uint32_t
rbuf_u32(struct rbuf *r)
{
	const uint8_t *p = rbuf_bytes(r, 4);
	uint32_t v = 0;

	if (p != NULL)
		memcpy(&v, p, sizeof(v));
	return (le32toh(v));
}

uint64_t
rbuf_u64(struct rbuf *r)
{
	const uint8_t *p = rbuf_bytes(r, 8);
	uint64_t v = 0;

	if (p != NULL)
		memcpy(&v, p, sizeof(v));
	return (le64toh(v));
}

int64_t
rbuf_i64(struct rbuf *r)
{
	return ((int64_t)rbuf_u64(r));
}

void
rbuf_hash(struct rbuf *r, struct hash *h)
{
	const uint8_t *p;

	if ((p = rbuf_bytes(r, HASH_LEN)) == NULL)
		memset(h, 0, sizeof(*h));
	else
		memcpy(h->b, p, HASH_LEN);
}

struct timens
rbuf_time(struct rbuf *r)
{
	struct timens t;

	t.sec = rbuf_i64(r);
	t.nsec = rbuf_u32(r);
	if (t.nsec >= 1000000000u)
		rbuf_fail(r, "nanoseconds of a second or more");
	if (r->error != NULL)
		memset(&t, 0, sizeof(t));
	return (t);
}

static const uint8_t *
rbuf_str(struct rbuf *r, size_t n, size_t max, size_t *len)
{
	const uint8_t *p;

	*len = 0;
	if (n > max)
		rbuf_fail(r, "string is too long");
	if ((p = rbuf_bytes(r, n)) != NULL)
		*len = n;
	return (p);
}

const uint8_t *
rbuf_str16(struct rbuf *r, size_t max, size_t *len)
{
	return (rbuf_str(r, rbuf_u16(r), max, len));
}

const uint8_t *
rbuf_str32(struct rbuf *r, size_t max, size_t *len)
{
	return (rbuf_str(r, rbuf_u32(r), max, len));
}

size_t
rbuf_left(const struct rbuf *r)
{
	return (r->error != NULL ? 0 : r->len - r->pos);
}

int
rbuf_end(struct rbuf *r)
{
	if (r->error == NULL && r->pos != r->len)
		r->error = "trailing bytes";
	if (r->error != NULL) {
		errno = EBADMSG;
		return (-1);
	}
	return (0);
}

struct blob *
blob_new(const void *data, size_t len)
{
	struct blob *b;

	if (len > SIZE_MAX - sizeof(*b)) {
		errno = ENOMEM;
		return (NULL);
	}
	if ((b = malloc(sizeof(*b) + len)) == NULL)
		return (NULL);
	b->refs = 1;
	b->len = len;
	if (data != NULL && len != 0)
		memcpy(b->data, data, len);
	return (b);
}

struct blob *
blob_ref(struct blob *b)
{
	b->refs++;
	return (b);
}

void
blob_unref(struct blob *b)
{
	if (b != NULL && --b->refs == 0)
		free(b);
}
