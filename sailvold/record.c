/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * record: encodes and decodes the records and segment headers of a mount's
 * journal.  In fuse (which writes them) and manifest (which applies them).
 */
#include <errno.h>
#include <string.h>

#include "sailvold/record.h"

/* u32 length, u8 type, u64 unique, i32 result; u32 CRC behind the payload. */
#define RECORD_FRONT (1 + 8 + 4)
#define ATTR_ALL 0x3f
#define RENAME_ALL 0x3 /* RENAME_NOREPLACE, RENAME_EXCHANGE */

/* What would not be read again is not written: no object, and a size. */
static void
put_ovl(struct wbuf *w, uint64_t ovl)
{
	if (ovl == 0)
		w->error = EINVAL;
	wbuf_u64(w, ovl);
}

static void
put_size(struct wbuf *w, uint64_t size)
{
	if (size > SAIL_SIZE_MAX)
		w->error = EFBIG;
	wbuf_u64(w, size);
}

/* ---- entries --------------------------------------------------------------- */

void
record_entry_encode(struct wbuf *w, const struct entry *e)
{
	struct entry copy = *e;

	wbuf_u8(w, e->type);
	put_size(w, e->type == ENTRY_FILE ? e->size : 0);
	wbuf_str32(w, e->xattrs, e->xattrs_len);
	if (copy.xattrs_len != 0) {
		copy.xattrs = NULL;
		copy.xattrs_len = 0;
		memset(&copy.xattr_node, 0, sizeof(copy.xattr_node));
	}
	if (copy.type == ENTRY_SOCKET)
		copy.type = ENTRY_FIFO;
	if (copy.type == ENTRY_FILE && copy.chunk_form == CHUNKS_INLINE &&
	    copy.chunks_len == 0) {
		copy.size = 0;
		copy.chunk_shift = chunk_shift_for(0);
	}
	entry_encode(w, &copy);
}

int
record_entry_decode(struct rbuf *r, struct entry *e)
{
	const uint8_t *xattrs;
	size_t xattrs_len;
	uint64_t size;
	uint8_t type;

	type = rbuf_u8(r);
	size = rbuf_u64(r);
	xattrs = rbuf_str32(r, SAIL_XATTRS_MAX, &xattrs_len);
	if (r->error != NULL || entry_decode(r, e) == -1)
		return -1;
	if (type == ENTRY_SOCKET && e->type == ENTRY_FIFO)
		e->type = ENTRY_SOCKET;
	if (e->type != type) {
		rbuf_fail(r, "entry: two types");
		return -1;
	}
	if (type == ENTRY_FILE && e->size == 0 &&
	    e->chunk_form == CHUNKS_INLINE && e->chunks_len == 0)
		e->size = size;
	if (size > SAIL_SIZE_MAX ||
	    size != (type == ENTRY_FILE ? e->size : 0)) {
		rbuf_fail(r, "entry: two sizes");
		return -1;
	}
	if (xattrs_len == 0)
		return 0;
	if (e->xattrs_len != 0 || !hash_is_zero(&e->xattr_node) ||
	    xattrs_check(xattrs, xattrs_len) == -1) {
		rbuf_fail(r, "entry: bad xattrs");
		return -1;
	}
	e->xattrs = xattrs;
	e->xattrs_len = xattrs_len;
	return 0;
}

/* ---- encoding -------------------------------------------------------------- */

static void
put_name(struct wbuf *w, uint64_t parent, const uint8_t *name, size_t len)
{
	wbuf_u64(w, parent);
	wbuf_str16(w, name, len);
}

static void
put_attr(struct wbuf *w, const struct record *r)
{
	put_ovl(w, r->ovl);
	wbuf_u32(w, r->flags);
	wbuf_u16(w, r->entry.mode);
	wbuf_u32(w, r->entry.uid);
	wbuf_u32(w, r->entry.gid);
	wbuf_time(w, r->entry.mtime);
	wbuf_time(w, r->entry.ctime);
	put_size(w, r->entry.size);
}

static void
put_payload(struct wbuf *w, const struct record *r)
{
	switch (r->type) {
	case RECORD_ALLOC:
		wbuf_u64(w, r->next);
		break;
	case RECORD_COPYUP:
		put_name(w, r->parent, r->name, r->name_len);
		wbuf_u64(w, r->ovl);
		wbuf_hash(w, &r->origin_commit);
		wbuf_str16(w, r->origin_path, r->origin_path_len);
		record_entry_encode(w, &r->entry);
		break;
	case RECORD_MAKE:
		put_name(w, r->parent, r->name, r->name_len);
		wbuf_u64(w, r->ovl);
		wbuf_time(w, r->time);
		record_entry_encode(w, &r->entry);
		break;
	case RECORD_LINK:
	case RECORD_REMOVE:
		put_name(w, r->parent, r->name, r->name_len);
		wbuf_u64(w, r->ovl);
		wbuf_time(w, r->time);
		break;
	case RECORD_RENAME:
		put_name(w, r->parent, r->name, r->name_len);
		put_name(w, r->parent2, r->name2, r->name2_len);
		wbuf_u32(w, r->flags);
		wbuf_time(w, r->time);
		break;
	case RECORD_ATTR:
		put_attr(w, r);
		break;
	case RECORD_XATTR:
		put_ovl(w, r->ovl);
		wbuf_time(w, r->time);
		wbuf_str32(w, r->entry.xattrs, r->entry.xattrs_len);
		break;
	case RECORD_CONTENT:
	case RECORD_SETTLE:
	case RECORD_LOOK:
		put_ovl(w, r->ovl);
		put_size(w, r->entry.size);
		wbuf_time(w, r->entry.mtime);
		wbuf_time(w, r->entry.ctime);
		break;
	case RECORD_DIRTY:
	case RECORD_DROP:
		put_ovl(w, r->ovl);
		break;
	case RECORD_CTL:
		wbuf_u64(w, r->session);
		wbuf_u32(w, r->uid);
		wbuf_u32(w, r->gid);
		wbuf_str32(w, r->line, r->line_len);
		break;
	default:
		w->error = EINVAL;
	}
}

void
record_encode(struct wbuf *w, const struct record *r)
{
	size_t at = w->len, len;

	wbuf_u32(w, 0);
	wbuf_u8(w, r->type);
	wbuf_u64(w, r->unique);
	wbuf_u32(w, (uint32_t)r->result);
	put_payload(w, r);
	if (w->error != 0)
		return;
	len = w->len - at - 4;
	if (len > RECORD_MAX_BYTES) {
		w->error = EFBIG;
		return;
	}
	wbuf_set_u32(w, at, (uint32_t)len);
	wbuf_u32(w, crc32c(0, w->data + at, len + 4));
}

/* ---- decoding -------------------------------------------------------------- */

static void
get_name(struct rbuf *r, uint64_t *parent, const uint8_t **name, size_t *len)
{
	const char *why;

	*parent = rbuf_u64(r);
	*name = rbuf_str16(r, SAIL_NAME_MAX, len);
	if (r->error != NULL)
		return;
	if (*parent == 0)
		rbuf_fail(r, "no parent");
	if ((why = name_problem(*name, *len)) != NULL)
		rbuf_fail(r, why);
}

static uint64_t
get_ovl(struct rbuf *r)
{
	uint64_t ovl = rbuf_u64(r);

	if (ovl == 0)
		rbuf_fail(r, "no object");
	return ovl;
}

static void
get_path(struct rbuf *r, const uint8_t **path, size_t *len)
{
	const char *why;

	*path = rbuf_str16(r, SAIL_PATH_MAX, len);
	if (r->error == NULL && (why = path_problem(*path, *len)) != NULL)
		rbuf_fail(r, why);
}

static void
get_attr(struct rbuf *r, struct record *rec)
{
	struct entry *e = &rec->entry;

	rec->ovl = get_ovl(r);
	rec->flags = rbuf_u32(r);
	e->mode = rbuf_u16(r);
	e->uid = rbuf_u32(r);
	e->gid = rbuf_u32(r);
	e->mtime = rbuf_time(r);
	e->ctime = rbuf_time(r);
	e->size = rbuf_u64(r);
	if (rec->flags == 0 || (rec->flags & ~(uint32_t)ATTR_ALL) != 0)
		rbuf_fail(r, "attr: unknown mask");
	if (e->mode > 07777 || e->size > SAIL_SIZE_MAX)
		rbuf_fail(r, "attr: out of range");
}

static void
get_xattr(struct rbuf *r, struct record *rec)
{
	struct entry *e = &rec->entry;

	rec->ovl = get_ovl(r);
	rec->time = rbuf_time(r);
	e->xattrs = rbuf_str32(r, SAIL_XATTRS_MAX, &e->xattrs_len);
	if (r->error == NULL && e->xattrs_len != 0 &&
	    xattrs_check(e->xattrs, e->xattrs_len) == -1)
		rbuf_fail(r, "xattr: not canonical");
}

static void
get_rename(struct rbuf *r, struct record *rec)
{
	get_name(r, &rec->parent, &rec->name, &rec->name_len);
	get_name(r, &rec->parent2, &rec->name2, &rec->name2_len);
	rec->flags = rbuf_u32(r);
	rec->time = rbuf_time(r);
	if ((rec->flags & ~(uint32_t)RENAME_ALL) != 0 ||
	    rec->flags == RENAME_ALL)
		rbuf_fail(r, "rename: unknown flags");
}

static void
get_payload(struct rbuf *r, struct record *rec)
{
	struct entry *e = &rec->entry;

	switch (rec->type) {
	case RECORD_ALLOC:
		rec->next = rbuf_u64(r);
		break;
	case RECORD_COPYUP:
		get_name(r, &rec->parent, &rec->name, &rec->name_len);
		rec->ovl = get_ovl(r);
		rbuf_hash(r, &rec->origin_commit);
		get_path(r, &rec->origin_path, &rec->origin_path_len);
		(void)record_entry_decode(r, e);
		break;
	case RECORD_MAKE:
		get_name(r, &rec->parent, &rec->name, &rec->name_len);
		rec->ovl = get_ovl(r);
		rec->time = rbuf_time(r);
		(void)record_entry_decode(r, e);
		break;
	case RECORD_LINK:
	case RECORD_REMOVE:
		get_name(r, &rec->parent, &rec->name, &rec->name_len);
		rec->ovl = rec->type == RECORD_LINK ? get_ovl(r) : rbuf_u64(r);
		rec->time = rbuf_time(r);
		break;
	case RECORD_RENAME:
		get_rename(r, rec);
		break;
	case RECORD_ATTR:
		get_attr(r, rec);
		break;
	case RECORD_XATTR:
		get_xattr(r, rec);
		break;
	case RECORD_CONTENT:
	case RECORD_SETTLE:
	case RECORD_LOOK:
		rec->ovl = get_ovl(r);
		e->size = rbuf_u64(r);
		e->mtime = rbuf_time(r);
		e->ctime = rbuf_time(r);
		if (e->size > SAIL_SIZE_MAX)
			rbuf_fail(r, "size out of range");
		break;
	case RECORD_DIRTY:
	case RECORD_DROP:
		rec->ovl = get_ovl(r);
		break;
	case RECORD_CTL:
		rec->session = rbuf_u64(r);
		rec->uid = rbuf_u32(r);
		rec->gid = rbuf_u32(r);
		rec->line = rbuf_str32(r, RECORD_LINE_MAX, &rec->line_len);
		break;
	default:
		rbuf_fail(r, "unknown type");
	}
}

int
record_is_whole(const uint8_t *data, size_t len)
{
	struct rbuf r;
	uint32_t body;

	if (len < 4)
		return 0;
	rbuf_init(&r, data, 4);
	body = rbuf_u32(&r);
	if (body < RECORD_FRONT || body > RECORD_MAX_BYTES ||
	    len < (size_t)body + 8)
		return 0;
	rbuf_init(&r, data + 4 + body, 4);
	return rbuf_u32(&r) == crc32c(0, data, (size_t)body + 4);
}

int
record_decode(const uint8_t *data, size_t len, struct record *rec,
    size_t *taken, const char **why)
{
	struct rbuf r;
	uint32_t body, crc;

	memset(rec, 0, sizeof(*rec));
	*taken = 0;
	*why = NULL;
	if (len < 4)
		return 0;
	rbuf_init(&r, data, 4);
	body = rbuf_u32(&r);
	if (body < RECORD_FRONT || body > RECORD_MAX_BYTES) {
		*why = "length out of range";
		return -1;
	}
	if (len < (size_t)body + 8)
		return 0;
	rbuf_init(&r, data + 4 + body, 4);
	crc = rbuf_u32(&r);
	if (crc != crc32c(0, data, (size_t)body + 4)) {
		*why = "checksum";
		return -1;
	}
	rbuf_init(&r, data + 4, body);
	rec->type = rbuf_u8(&r);
	rec->unique = rbuf_u64(&r);
	rec->result = (int32_t)rbuf_u32(&r);
	get_payload(&r, rec);
	if (rbuf_end(&r) == -1) {
		*why = r.error != NULL ? r.error : "bytes left over";
		return -1;
	}
	*taken = (size_t)body + 8;
	return 1;
}

/* ---- segments -------------------------------------------------------------- */

void
segment_header_encode(uint8_t out[SEGMENT_HEADER_LEN],
    const struct segment_header *h)
{
	uint8_t *p = out;
	int i;

	memcpy(p, SEGMENT_MAGIC, 8);
	p[8] = SEGMENT_VERSION;
	p[9] = 0;
	memcpy(p + 10, h->mount, 16);
	memcpy(p + 26, h->connection, 16);
	for (i = 0; i < 8; i++)
		p[42 + i] = (uint8_t)(h->first >> (8 * i));
}

const char *
segment_header_decode(const uint8_t *p, size_t len, struct segment_header *h)
{
	int i;

	if (len < SEGMENT_HEADER_LEN)
		return "too short";
	if (memcmp(p, SEGMENT_MAGIC, 8) != 0)
		return "not a segment";
	h->version = (uint16_t)(p[8] | p[9] << 8);
	if (h->version < SEGMENT_VERSION_FIRST || h->version > SEGMENT_VERSION)
		return "of another version of sailvold";
	memcpy(h->mount, p + 10, 16);
	memcpy(h->connection, p + 26, 16);
	h->first = 0;
	for (i = 0; i < 8; i++)
		h->first |= (uint64_t)p[42 + i] << (8 * i);
	return NULL;
}
