/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * hash: SHA-256, the name of nodes, chunks, commits and objects.
 */
#ifndef LIB_HASH_H
#define LIB_HASH_H

#include <stddef.h>
#include <stdint.h>

#define HASH_LEN 32
#define HASH_HEX_LEN 64

struct hash {
	uint8_t b[HASH_LEN];
};

void hash_bytes(struct hash *, const void *, size_t);
int hash_cmp(const struct hash *, const struct hash *);
int hash_is_zero(const struct hash *);
void hash_hex(const struct hash *, char out[HASH_HEX_LEN + 1]);
/* Exactly 64 lower-case digits; -1 and EINVAL. */
int hash_parse(struct hash *, const char *, size_t len);

struct hash_ctx;
struct hash_ctx *hash_begin(void); /* NULL and ENOMEM */
void hash_update(struct hash_ctx *, const void *, size_t);
void hash_end(struct hash_ctx *, struct hash *); /* frees */

/* HMAC-SHA256. */
void hash_hmac(struct hash *, const void *key, size_t keylen, const void *,
    size_t);
/* CRC-32C (Castagnoli), for the journal; crc: 0, or that of what came before. */
uint32_t crc32c(uint32_t crc, const void *, size_t);
/* The same without the processor's instruction. */
uint32_t crc32c_table(uint32_t crc, const void *, size_t);
/* 1 when equal; time does not depend on the content. */
int hash_equal_ct(const struct hash *, const struct hash *);

#endif
