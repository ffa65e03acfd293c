/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * base64: of names that are not UTF-8, and of checksums in headers.  In every
 * program.
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base64.h"

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
			     "abcdefghijklmnopqrstuvwxyz0123456789+/";

void
base64_encode(const void *data, size_t len, char *out)
{
	const uint8_t *p = data;
	uint32_t v;
	size_t i, n;

	for (i = 0; i < len; i += 3) {
		n = len - i;
		v = (uint32_t)p[i] << 16;
		if (n > 1)
			v |= (uint32_t)p[i + 1] << 8;
		if (n > 2)
			v |= p[i + 2];
		*out++ = digits[v >> 18];
		*out++ = digits[v >> 12 & 63];
		*out++ = n > 1 ? digits[v >> 6 & 63] : '=';
		*out++ = n > 2 ? digits[v & 63] : '=';
	}
	*out = '\0';
}

/* The value of one digit, 64 for the padding, -1. */
static int
digit(char c)
{
	const char *p;

	if (c == '=')
		return (64);
	p = c != '\0' ? strchr(digits, c) : NULL;
	return (p != NULL ? (int)(p - digits) : -1);
}

char *
base64_decode(const char *s, size_t len, size_t *out_len)
{
	char *out;
	size_t i, j, n = 0;
	uint32_t v;
	int d, pad = 0;

	if (len % 4 != 0) {
		errno = EBADMSG;
		return (NULL);
	}
	if ((out = malloc(len / 4 * 3 + 1)) == NULL)
		return (NULL);
	for (i = 0; i < len; i += 4) {
		for (v = 0, j = 0; j < 4; j++) {
			d = digit(s[i + j]);
			if (d == -1 || (pad > 0 && d != 64) ||
			    (d == 64 && (j < 2 || i + 4 != len)))
				goto fail;
			pad += d == 64;
			v = v << 6 | (uint32_t)(d & 63);
		}
		/* Bits that the padding hides are 0. */
		if ((pad == 1 && (v & 0xff) != 0) ||
		    (pad == 2 && (v & 0xffff) != 0))
			goto fail;
		out[n++] = (char)(v >> 16);
		out[n++] = (char)(v >> 8);
		out[n++] = (char)v;
	}
	n -= (size_t)pad;
	out[n] = '\0';
	*out_len = n;
	return (out);

fail:
	free(out);
	errno = EBADMSG;
	return (NULL);
}
