/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/* base64: padded, of RFC 4648. */
#ifndef LIB_BASE64_H
#define LIB_BASE64_H

#include <stddef.h>

#define BASE64_SIZE(n) (((n) + 2) / 3 * 4 + 1)

/* Into BASE64_SIZE(len) bytes. */
void base64_encode(const void *, size_t len, char *out);
/*
 * For free(3), with a NUL behind; NULL and errno (EBADMSG: not the one form
 * that base64_encode() gives).
 */
char *base64_decode(const char *, size_t len, size_t *out_len);

#endif
