/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * shown: one character after the other.  Used by every process.
 */
#include <string.h>
#include <vis.h>

#include "lib/shown.h"

int
shown_encode(char *dst, size_t size, const void *src, size_t len, int encoded)
{
	const unsigned char *s = src;
	size_t used = 0, i, n;
	char one[8];

	for (i = 0; i < len; i++) {
		/* vis() takes memory, which may be what a line is about. */
		if (s[i] >= ' ' && s[i] <= '~' && (s[i] != '\\' || encoded)) {
			one[0] = (char)s[i];
			one[1] = '\0';
		} else if (vis(one, s[i], VIS_CSTYLE | VIS_NL | VIS_TAB,
			       i + 1 < len ? s[i + 1] : '\0') == NULL)
			strlcpy(one, "?", sizeof(one));
		n = strlen(one);
		if (used + n >= size)
			break;
		memcpy(dst + used, one, n);
		used += n;
	}
	dst[used] = '\0';
	return i == len;
}
