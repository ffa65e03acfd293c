/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * hash: SHA-256 by libcrypto; HMAC over it; CRC-32C.  Used by every process.
 *
 * SHA-256 is called directly, not through libcrypto's EVP: to find a provider
 * takes a new process longer than all else that it does at its start (10 ms and
 * a megabyte), and needs files.  The functions are the ones behind EVP, and use
 * the same instructions.
 */
#include "lib/hash.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define OPENSSL_SUPPRESS_DEPRECATED
#include <openssl/crypto.h>
#include <openssl/sha.h>

#include "lib/log.h"

#define BLOCK_LEN 64 /* of SHA-256, for HMAC */

static pthread_once_t once = PTHREAD_ONCE_INIT;
static uint32_t crc_table[256];
static int crc_hw;

struct hash_ctx {
	SHA256_CTX md;
};

static void
setup(void)
{
	uint32_t c;
	int i, k;

	for (i = 0; i < 256; i++) {
		c = (uint32_t)i;
		for (k = 0; k < 8; k++)
			c = c & 1 ? (c >> 1) ^ 0x82f63b78u : c >> 1;
		crc_table[i] = c;
	}
#if defined(__x86_64__)
	crc_hw = __builtin_cpu_supports("sse4.2") != 0;
#endif
}

static void
begin(SHA256_CTX *md)
{
	if (!SHA256_Init(md))
		fatalx("hash: cannot begin SHA-256");
}

static void
update(SHA256_CTX *md, const void *data, size_t len)
{
	if (len != 0 && !SHA256_Update(md, data, len))
		fatalx("hash: cannot go on with SHA-256");
}

static void
finish(SHA256_CTX *md, struct hash *h)
{
	if (!SHA256_Final(h->b, md))
		fatalx("hash: cannot end SHA-256");
}

void
hash_bytes(struct hash *h, const void *data, size_t len)
{
	SHA256_CTX md;

	begin(&md);
	update(&md, data, len);
	finish(&md, h);
}

int
hash_cmp(const struct hash *a, const struct hash *b)
{
	return (memcmp(a->b, b->b, HASH_LEN));
}

int
hash_is_zero(const struct hash *h)
{
	static const struct hash zero;

	return (memcmp(h->b, zero.b, HASH_LEN) == 0);
}

void
hash_hex(const struct hash *h, char out[HASH_HEX_LEN + 1])
{
	static const char digits[] = "0123456789abcdef";
	int i;

	for (i = 0; i < HASH_LEN; i++) {
		out[2 * i] = digits[h->b[i] >> 4];
		out[2 * i + 1] = digits[h->b[i] & 15];
	}
	out[HASH_HEX_LEN] = '\0';
}

static int
digit(char c)
{
	if (c >= '0' && c <= '9')
		return (c - '0');
	if (c >= 'a' && c <= 'f')
		return (c - 'a' + 10);
	return (-1);
}

int
hash_parse(struct hash *h, const char *s, size_t len)
{
	struct hash r;
	int i, hi, lo;

	if (len != HASH_HEX_LEN)
		goto fail;
	for (i = 0; i < HASH_LEN; i++) {
		hi = digit(s[2 * i]);
		lo = digit(s[2 * i + 1]);
		if (hi == -1 || lo == -1)
			goto fail;
		r.b[i] = (uint8_t)(hi << 4 | lo);
	}
	*h = r;
	return (0);
fail:
	errno = EINVAL;
	return (-1);
}

struct hash_ctx *
hash_begin(void)
{
	struct hash_ctx *c;

	if ((c = malloc(sizeof(*c))) == NULL)
		return (NULL);
	begin(&c->md);
	return (c);
}

void
hash_update(struct hash_ctx *c, const void *data, size_t len)
{
	update(&c->md, data, len);
}

void
hash_end(struct hash_ctx *c, struct hash *h)
{
	finish(&c->md, h);
	free(c);
}

void
hash_hmac(struct hash *h, const void *hkey, size_t keylen, const void *data,
    size_t len)
{
	SHA256_CTX md;
	uint8_t k[BLOCK_LEN], pad[BLOCK_LEN];
	struct hash inner;
	int i;

	memset(k, 0, sizeof(k));
	if (keylen > BLOCK_LEN) {
		hash_bytes(&inner, hkey, keylen);
		memcpy(k, inner.b, HASH_LEN);
	} else if (keylen != 0)
		memcpy(k, hkey, keylen);
	for (i = 0; i < BLOCK_LEN; i++)
		pad[i] = k[i] ^ 0x36;
	begin(&md);
	update(&md, pad, sizeof(pad));
	update(&md, data, len);
	finish(&md, &inner);
	for (i = 0; i < BLOCK_LEN; i++)
		pad[i] = k[i] ^ 0x5c;
	begin(&md);
	update(&md, pad, sizeof(pad));
	update(&md, inner.b, HASH_LEN);
	finish(&md, h);
	explicit_bzero(k, sizeof(k));
	explicit_bzero(pad, sizeof(pad));
	explicit_bzero(&inner, sizeof(inner));
	explicit_bzero(&md, sizeof(md));
}

uint32_t
crc32c_table(uint32_t crc, const void *data, size_t len)
{
	const uint8_t *p = data;

	(void)pthread_once(&once, setup);
	crc = ~crc;
	while (len-- > 0)
		crc = crc_table[(crc ^ *p++) & 0xff] ^ (crc >> 8);
	return (~crc);
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static uint32_t
crc32c_hw(uint32_t crc, const void *data, size_t len)
{
	const uint8_t *p = data;
	uint64_t c = ~crc, v;

	for (; len >= 8; p += 8, len -= 8) {
		memcpy(&v, p, 8);
		c = __builtin_ia32_crc32di(c, v);
	}
	for (; len > 0; p++, len--)
		c = __builtin_ia32_crc32qi((uint32_t)c, *p);
	return (~(uint32_t)c);
}
#endif

uint32_t
crc32c(uint32_t crc, const void *data, size_t len)
{
	(void)pthread_once(&once, setup);
#if defined(__x86_64__)
	if (crc_hw)
		return (crc32c_hw(crc, data, len));
#endif
	return (crc32c_table(crc, data, len));
}

int
hash_equal_ct(const struct hash *a, const struct hash *b)
{
	return (CRYPTO_memcmp(a->b, b->b, HASH_LEN) == 0);
}
