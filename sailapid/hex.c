/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * hex: ids as the API shows them.  In meta and in commands of the parent.
 */
#include <errno.h>
#include <string.h>

#include "sailapid/hex.h"

static const char digits[] = "0123456789abcdef";

void
hex_encode(const uint8_t *p, size_t len, char *out)
{
	size_t i;

	for (i = 0; i < len; i++) {
		out[2 * i] = digits[p[i] >> 4];
		out[2 * i + 1] = digits[p[i] & 15];
	}
	out[2 * len] = '\0';
}

int
hex_decode(const char *s, uint8_t *out, size_t len)
{
	const char *hi, *lo;
	size_t i;

	if (strlen(s) != 2 * len)
		goto bad;
	for (i = 0; i < len; i++) {
		hi = strchr(digits, s[2 * i]);
		lo = strchr(digits, s[2 * i + 1]);
		if (hi == NULL || lo == NULL)
			goto bad;
		out[i] = (uint8_t)((hi - digits) << 4 | (lo - digits));
	}
	return 0;
bad:
	errno = EINVAL;
	return -1;
}

int
hex_id(const char *word, const char *s, uint8_t *out, size_t len)
{
	size_t n = strlen(word);

	if (strncmp(s, word, n) != 0) {
		errno = EINVAL;
		return -1;
	}
	return hex_decode(s + n, out, len);
}
