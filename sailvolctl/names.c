/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * names: of files, as the terminal shall get them.  In sailvolctl.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <vis.h>

#include "lib/json_name.h"
#include "lib/path.h"
#include "sailvolctl/names.h"

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
	char *name = json_name_get(j, &len);

	if (name != NULL)
		name_print(f, name, len);
	else
		fputs("?", f);
	free(name);
}
