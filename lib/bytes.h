/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * bytes: writing and reading of the little-endian formats of
 * sailvol-format(5).  Both ends are sticky: after the first error all further
 * calls do nothing, so that it is looked at once, at the end.
 */
#ifndef LIB_BYTES_H
#define LIB_BYTES_H

#include <stddef.h>
#include <stdint.h>

struct hash;
struct timens;

/* A buffer that grows, to max bytes at most. */
struct wbuf {
	uint8_t *data;
	size_t len, cap, max;
	int error; /* 0, ENOMEM, EFBIG; EINVAL: has no encoding */
};

void wbuf_init(struct wbuf *, size_t max);
void wbuf_free(struct wbuf *);
void wbuf_u8(struct wbuf *, uint8_t);
void wbuf_u16(struct wbuf *, uint16_t);
void wbuf_u32(struct wbuf *, uint32_t);
void wbuf_u64(struct wbuf *, uint64_t);
void wbuf_i64(struct wbuf *, int64_t);
void wbuf_bytes(struct wbuf *, const void *, size_t);
void wbuf_hash(struct wbuf *, const struct hash *);
void wbuf_time(struct wbuf *, struct timens); /* i64, u32 */
/* u16 or u32 length, then the bytes; EFBIG when the length does not fit. */
void wbuf_str16(struct wbuf *, const void *, size_t);
void wbuf_str32(struct wbuf *, const void *, size_t);
/* Overwrites 4 bytes at offset, written before. */
void wbuf_set_u32(struct wbuf *, size_t offset, uint32_t);
/* The bytes, which the caller frees; NULL and errno when an error stuck. */
uint8_t *wbuf_take(struct wbuf *, size_t *len);

/* A view that is read from front to back. */
struct rbuf {
	const uint8_t *data;
	size_t len, pos;
	const char *error; /* NULL, or what is wrong, a constant string */
};

void rbuf_init(struct rbuf *, const void *, size_t);
/* Sets error when none stuck yet; what: a constant string. */
void rbuf_fail(struct rbuf *, const char *what);
uint8_t rbuf_u8(struct rbuf *);
uint16_t rbuf_u16(struct rbuf *);
uint32_t rbuf_u32(struct rbuf *);
uint64_t rbuf_u64(struct rbuf *);
int64_t rbuf_i64(struct rbuf *);
/* A view of n bytes; NULL on error. */
const uint8_t *rbuf_bytes(struct rbuf *, size_t n);
void rbuf_hash(struct rbuf *, struct hash *);
struct timens rbuf_time(struct rbuf *); /* refuses nsec >= 10^9 */
const uint8_t *rbuf_str16(struct rbuf *, size_t max, size_t *len);
const uint8_t *rbuf_str32(struct rbuf *, size_t max, size_t *len);
size_t rbuf_left(const struct rbuf *);
/* 0, or -1 and EBADMSG when an error stuck or bytes are left over. */
int rbuf_end(struct rbuf *);

/* A counted piece of memory that several hold. */
struct blob {
	unsigned int refs;
	size_t len;
	uint8_t data[];
};
struct blob *blob_new(const void *data, size_t len); /* data may be NULL */
struct blob *blob_ref(struct blob *);
void blob_unref(struct blob *); /* NULL is fine */

#endif
