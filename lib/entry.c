/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * entry: encoding, strict decoding and the two hashes of directory entries,
 * sailvol-format(5), ENTRIES.  Pure; used by manifest, fuse, meta and tools.
 */
#include "lib/entry.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/chunklist.h"
#include "lib/log.h"
#include "lib/node.h"
#include "lib/path.h"
#include "lib/tree.h"

enum xattr_form { XATTRS_NONE = 0, XATTRS_WHOLE = 1, XATTRS_NODE = 2 };

/* All runs and hashes of the inline form: 8 hashes, 9 holes around them. */
#define INLINE_BYTES_MAX (CHUNK_INLINE_MAX * HASH_LEN + 17 * 4)

uint8_t
chunk_shift_for(uint64_t size)
{
	if (size <= (uint64_t)1 << 30)
		return (CHUNK_SHIFT_MIN);
	if (size <= (uint64_t)1 << 36)
		return (CHUNK_SHIFT_MID);
	return (CHUNK_SHIFT_MAX);
}

uint64_t
entry_sum_add(uint64_t a, uint64_t b)
{
	return (a > UINT64_MAX - b ? UINT64_MAX : a + b);
}

const char *
entry_sums_problem(uint64_t files, uint64_t bytes)
{
	if (files < UINT64_MAX / SAIL_SIZE_MAX && bytes > files * SAIL_SIZE_MAX)
		return ("sums contradict: more bytes than the files can have");
	return (NULL);
}

static void
encode_file(struct wbuf *w, const struct entry *e)
{
	wbuf_u64(w, e->size);
	wbuf_u8(w, e->chunk_shift);
	wbuf_u8(w, e->chunk_form);
	if (e->chunk_form == CHUNKS_TREE)
		wbuf_hash(w, &e->chunk_root);
	else
		wbuf_str16(w, e->chunks, e->chunks_len);
}

void
entry_encode(struct wbuf *w, const struct entry *e)
{
	wbuf_u8(w, e->type);
	wbuf_u16(w, e->mode);
	wbuf_u32(w, e->uid);
	wbuf_u32(w, e->gid);
	wbuf_time(w, e->mtime);
	wbuf_time(w, e->ctime);
	wbuf_u64(w, e->fileid);
	switch (e->type) {
	case ENTRY_FILE:
		encode_file(w, e);
		break;
	case ENTRY_DIR:
		wbuf_hash(w, &e->root);
		wbuf_u64(w, e->files);
		wbuf_u64(w, e->bytes);
		break;
	case ENTRY_SYMLINK:
		wbuf_str16(w, e->target, e->target_len);
		break;
	case ENTRY_FIFO:
		break;
	default:
		if (w->error == 0)
			w->error = EINVAL;
		return;
	}
	if (!hash_is_zero(&e->xattr_node)) {
		wbuf_u8(w, XATTRS_NODE);
		wbuf_hash(w, &e->xattr_node);
	} else if (e->xattrs_len != 0) {
		wbuf_u8(w, XATTRS_WHOLE);
		wbuf_str32(w, e->xattrs, e->xattrs_len);
	} else
		wbuf_u8(w, XATTRS_NONE);
	wbuf_str16(w, e->tail, e->tail_len);
}

static void
decode_file(struct rbuf *r, struct entry *e)
{
	const char *why;

	e->size = rbuf_u64(r);
	e->chunk_shift = rbuf_u8(r);
	e->chunk_form = rbuf_u8(r);
	if (r->error != NULL)
		return;
	if (e->size > SAIL_SIZE_MAX) {
		rbuf_fail(r, "file is too large");
		return;
	}
	if (!chunk_shift_valid(e->chunk_shift)) {
		rbuf_fail(r, "bad chunk size");
		return;
	}
	switch (e->chunk_form) {
	case CHUNKS_INLINE:
		e->chunks = rbuf_str16(r, INLINE_BYTES_MAX, &e->chunks_len);
		if (r->error == NULL &&
		    (why = chunks_inline_check(e->chunks, e->chunks_len,
			 e->size, e->chunk_shift)) != NULL)
			rbuf_fail(r, why);
		break;
	case CHUNKS_TREE:
		rbuf_hash(r, &e->chunk_root);
		if (chunk_slots(e->size, e->chunk_shift) <= CHUNK_INLINE_MAX)
			rbuf_fail(r, "chunk tree of a file of 8 slots or less");
		if (hash_is_zero(&e->chunk_root))
			rbuf_fail(r, "chunk tree without a hash");
		break;
	default:
		rbuf_fail(r, "unknown form of chunks");
	}
}

static void
decode_dir(struct rbuf *r, struct entry *e)
{
	struct hash empty;
	const char *why;

	rbuf_hash(r, &e->root);
	e->files = rbuf_u64(r);
	e->bytes = rbuf_u64(r);
	if (r->error != NULL)
		return;
	if ((why = entry_sums_problem(e->files, e->bytes)) != NULL)
		rbuf_fail(r, why);
	if (e->files != 0) {
		tree_empty_root(&empty);
		if (hash_is_zero(&e->root) || hash_cmp(&e->root, &empty) == 0)
			rbuf_fail(r, "sums contradict: files below nothing");
	}
}

static void
decode_xattrs(struct rbuf *r, struct entry *e)
{
	const char *why;

	switch (rbuf_u8(r)) {
	case XATTRS_NONE:
		break;
	case XATTRS_WHOLE:
		e->xattrs = rbuf_str32(r, SAIL_XATTRS_MAX, &e->xattrs_len);
		if (r->error != NULL)
			break;
		if (e->xattrs_len == 0)
			rbuf_fail(r, "whole xattrs without one");
		else if ((why = xattrs_problem(e->xattrs, e->xattrs_len)) !=
		    NULL)
			rbuf_fail(r, why);
		break;
	case XATTRS_NODE:
		rbuf_hash(r, &e->xattr_node);
		if (hash_is_zero(&e->xattr_node))
			rbuf_fail(r, "xattr node without a hash");
		break;
	default:
		rbuf_fail(r, "unknown form of xattrs");
	}
}

const char *
tail_problem(struct rbuf *t)
{
	size_t n;
	int tag, last = -1;

	while (rbuf_left(t) > 0) {
		tag = rbuf_u16(t);
		(void)rbuf_str32(t, ENTRY_TAIL_MAX, &n);
		if (t->error != NULL)
			break;
		if (tag <= last)
			rbuf_fail(t, "tags are not strictly ascending");
		else if (tag & ENTRY_TAG_MUST_KNOW)
			rbuf_fail(t, "tag that a reader must know");
		last = tag;
	}
	return (t->error);
}

static void
decode_tail(struct rbuf *r, struct entry *e)
{
	struct rbuf t;
	const char *why;

	e->tail = rbuf_str16(r, ENTRY_TAIL_MAX, &e->tail_len);
	if (r->error != NULL)
		return;
	rbuf_init(&t, e->tail, e->tail_len);
	if ((why = tail_problem(&t)) != NULL)
		rbuf_fail(r, why);
}

int
entry_decode(struct rbuf *r, struct entry *e)
{
	memset(e, 0, sizeof(*e));
	e->type = rbuf_u8(r);
	e->mode = rbuf_u16(r);
	e->uid = rbuf_u32(r);
	e->gid = rbuf_u32(r);
	e->mtime = rbuf_time(r);
	e->ctime = rbuf_time(r);
	e->fileid = rbuf_u64(r);
	if (r->error != NULL)
		goto fail;
	if (e->mode > 07777)
		rbuf_fail(r, "mode has more than permissions");
	if (e->fileid <= 1)
		rbuf_fail(r, "file id is 0 or 1");
	switch (e->type) {
	case ENTRY_FILE:
		decode_file(r, e);
		break;
	case ENTRY_DIR:
		decode_dir(r, e);
		break;
	case ENTRY_SYMLINK:
		e->target = rbuf_str16(r, SAIL_TARGET_MAX, &e->target_len);
		if (r->error != NULL)
			break;
		if (e->target_len == 0)
			rbuf_fail(r, "empty target");
		else if (memchr(e->target, '\0', e->target_len) != NULL)
			rbuf_fail(r, "target has a NUL");
		break;
	case ENTRY_FIFO:
		break;
	default:
		rbuf_fail(r, "unknown type of entry");
	}
	decode_xattrs(r, e);
	decode_tail(r, e);
	if (r->error == NULL)
		return (0);
fail:
	errno = EBADMSG;
	return (-1);
}

const char *
entry_node_problem(const struct entry *e)
{
	if (hash_is_zero(&e->xattr_node) && e->xattrs_len > XATTRS_INLINE_MAX)
		return ("whole xattrs of over 1 KiB in a node");
	if (e->type == ENTRY_DIR && hash_is_zero(&e->root))
		return ("directory without a root in a node");
	return (NULL);
}

static void
copy_part(uint8_t **p, const uint8_t **part, size_t len)
{
	if (len == 0) {
		*part = NULL;
		return;
	}
	memcpy(*p, *part, len);
	*part = *p;
	*p += len;
}

struct entry *
entry_dup(const struct entry *e)
{
	struct entry *d;
	uint8_t *p;

	if ((d = malloc(sizeof(*d) + e->xattrs_len + e->chunks_len +
		 e->target_len + e->tail_len)) == NULL)
		return (NULL);
	*d = *e;
	p = (uint8_t *)(d + 1);
	copy_part(&p, &d->xattrs, d->xattrs_len);
	copy_part(&p, &d->chunks, d->chunks_len);
	copy_part(&p, &d->target, d->target_len);
	copy_part(&p, &d->tail, d->tail_len);
	return (d);
}

/* No hash at all would let two different entries be taken for equal. */
static void
hash_wbuf(struct wbuf *w, struct hash *h)
{
	if (w->error != 0)
		fatalx("entry: cannot hash: %s", strerror(w->error));
	hash_bytes(h, w->data, w->len);
	wbuf_free(w);
}

void
entry_content_hash(const struct entry *e, struct hash *h)
{
	struct wbuf w;

	wbuf_init(&w, 2 * SAIL_TARGET_MAX);
	wbuf_bytes(&w, "SVsc", 4);
	wbuf_u8(&w, e->type);
	if (e->type == ENTRY_SYMLINK)
		wbuf_str16(&w, e->target, e->target_len);
	else if (e->type == ENTRY_FILE && e->size == 0)
		wbuf_u64(&w, 0);
	else if (e->type == ENTRY_FILE)
		encode_file(&w, e);
	hash_wbuf(&w, h);
}

void
entry_attr_hash(const struct entry *e, struct hash *h)
{
	struct hash x = e->xattr_node;
	struct wbuf w;

	if (hash_is_zero(&x) && e->xattrs_len != 0) {
		wbuf_init(&w, NODE_MAX_BYTES);
		node_xattrs_encode(&w, e->xattrs, e->xattrs_len);
		hash_wbuf(&w, &x);
	}
	wbuf_init(&w, 128);
	wbuf_bytes(&w, "SVsa", 4);
	wbuf_u16(&w, e->mode);
	wbuf_u32(&w, e->uid);
	wbuf_u32(&w, e->gid);
	wbuf_hash(&w, &x);
	if (e->type == ENTRY_FILE)
		wbuf_time(&w, e->mtime);
	hash_wbuf(&w, h);
}
