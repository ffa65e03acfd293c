/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * colour: escape sequences of terminals, and how others are kept away from
 * them.  In sailvolctl.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/path.h"
#include "sailvolctl/colour.h"

int
colour_wanted(FILE *f)
{
	const char *no = getenv("NO_COLOR"), *term = getenv("TERM");

	return isatty(fileno(f)) && (no == NULL || *no == '\0') &&
	    term != NULL && *term != '\0' && strcmp(term, "dumb") != 0;
}

void
colour_set(FILE *f, enum colour c)
{
	static const char *const codes[] = { [COLOUR_NONE] = "\033[0m",
		[COLOUR_RED] = "\033[31m",
		[COLOUR_GREEN] = "\033[32m",
		[COLOUR_CYAN] = "\033[36m" };

	if (colour_wanted(f))
		fputs(codes[c], f);
}

/* Bytes of the character at p that may go to a terminal; 0: it may not. */
static size_t
harmless(const unsigned char *p, size_t left)
{
	size_t n;

	if (*p < 0x80)
		return *p == '\t' || (*p >= 0x20 && *p != 0x7f);
	for (n = 2; n <= 4 && n <= left; n++)
		if (utf8_valid(p, n))
			return p[0] == 0xc2 && p[1] < 0xa0 ? 0 : n;
	return 0;
}

void
line_print(FILE *f, const void *data, size_t len)
{
	const unsigned char *p = data;
	size_t n;

	if (!isatty(fileno(f))) {
		fwrite(data, 1, len, f);
		return;
	}
	for (; len > 0; p += n, len -= n) {
		if (len == 1 && *p == '\n') {
			n = 1;
			fputc('\n', f);
		} else if ((n = harmless(p, len)) > 0)
			fwrite(p, 1, n, f);
		else {
			n = 1;
			fprintf(f, "\\%03o", *p);
		}
	}
}
