/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * names: bytes, {"b64": ".."} and vis(3).  In sailvolctl.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <vis.h>

#include "lib/path.h"
#include "sailvolctl/names.h"

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
			     "abcdefghijklmnopqrstuvwxyz0123456789+/";

static char *
base64_encode(const uint8_t *p, size_t len)
{
	char *out, *o;
	uint32_t v;
	size_t i, n;

	if ((out = o = malloc((len + 2) / 3 * 4 + 1)) == NULL)
		return NULL;
	for (i = 0; i < len; i += 3) {
		n = len - i;
		v = (uint32_t)p[i] << 16;
		if (n > 1)
			v |= (uint32_t)p[i + 1] << 8;
		if (n > 2)
			v |= p[i + 2];
		*o++ = digits[v >> 18];
		*o++ = digits[v >> 12 & 63];
		*o++ = n > 1 ? digits[v >> 6 & 63] : '=';
		*o++ = n > 2 ? digits[v & 63] : '=';
	}
	*o = '\0';
	return out;
}

/* The value of one digit, 64 for the padding, -1. */
static int
digit(char c)
{
	const char *p;

	if (c == '=')
		return 64;
	p = c != '\0' ? strchr(digits, c) : NULL;
	return p != NULL ? (int)(p - digits) : -1;
}

static char *
base64_decode(const char *s, size_t len, size_t *out_len)
{
	char *out;
	size_t i, j, n = 0;
	uint32_t v;
	int d, pad = 0;

	if (len % 4 != 0 || (out = malloc(len / 4 * 3 + 1)) == NULL) {
		if (len % 4 != 0)
			errno = EBADMSG;
		return NULL;
	}
	for (i = 0; i < len; i += 4) {
		for (v = 0, j = 0; j < 4; j++) {
			d = digit(s[i + j]);
			if (d == -1 || (pad > 0 && d != 64) ||
			    (d == 64 && (j < 2 || i + 4 != len)))
				goto fail;
			pad += d == 64;
			v = v << 6 | (uint32_t)(d & 63);
		}
		out[n++] = (char)(v >> 16);
		out[n++] = (char)(v >> 8);
		out[n++] = (char)v;
	}
	n -= (size_t)pad;
	out[n] = '\0';
	*out_len = n;
	return out;

fail:
	free(out);
	errno = EBADMSG;
	return NULL;
}

json_t *
name_to_json(const void *p, size_t len)
{
	json_t *j;
	char *b64;

	if (utf8_valid(p, len) && memchr(p, '\0', len) == NULL)
		return json_stringn(p, len);
	if ((b64 = base64_encode(p, len)) == NULL)
		return NULL;
	j = json_pack("{s:s}", "b64", b64);
	free(b64);
	return j;
}

char *
name_from_json(const json_t *j, size_t *len)
{
	const json_t *b64;
	char *copy;

	if (json_is_string(j)) {
		*len = json_string_length(j);
		if ((copy = malloc(*len + 1)) != NULL)
			memcpy(copy, json_string_value(j), *len + 1);
		return copy;
	}
	if ((b64 = json_object_get(j, "b64")) == NULL || !json_is_string(b64)) {
		errno = EBADMSG;
		return NULL;
	}
	return base64_decode(json_string_value(b64), json_string_length(b64),
	    len);
}

/* Valid UTF-8 without control characters shows as it is. */
static int
harmless(const uint8_t *p, size_t len)
{
	size_t i;

	if (!utf8_valid(p, len))
		return 0;
	for (i = 0; i < len; i++)
		if (p[i] < 0x20 || p[i] == 0x7f || p[i] == '\\' ||
		    (p[i] == 0xc2 && i + 1 < len && p[i + 1] < 0xa0))
			return 0;
	return 1;
}

char *
name_vis(const void *p, size_t len)
{
	const char *s = p;
	char *out, *o;
	size_t i;

	if ((out = o = malloc(4 * len + 1)) == NULL)
		return NULL;
	if (harmless(p, len)) {
		memcpy(out, p, len);
		out[len] = '\0';
		return out;
	}
	for (i = 0; i < len; i++)
		o = vis(o, (unsigned char)s[i], VIS_CSTYLE | VIS_NL | VIS_TAB,
		    i + 1 < len ? (unsigned char)s[i + 1] : 0);
	*o = '\0';
	return out;
}

void
name_print(FILE *f, const void *p, size_t len)
{
	char *shown;

	if (!isatty(fileno(f))) {
		fwrite(p, 1, len, f);
		return;
	}
	shown = name_vis(p, len);
	fputs(shown != NULL ? shown : "?", f);
	free(shown);
}

void
name_print_json(FILE *f, const json_t *j)
{
	size_t len;
	char *name = name_from_json(j, &len);

	if (name != NULL)
		name_print(f, name, len);
	else
		fputs("?", f);
	free(name);
}
