/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * path: checks and order of names and paths.  Pure; used by every process.
 */
#include "lib/path.h"

#include <string.h>

static const char *const reserved[] = { ".sailvol", ".sail_volume.json" };

int
name_is_reserved(const void *name, size_t len)
{
	size_t i;

	for (i = 0; i < sizeof(reserved) / sizeof(reserved[0]); i++) {
		if (len == strlen(reserved[i]) &&
		    memcmp(name, reserved[i], len) == 0)
			return (1);
	}
	return (0);
}

const char *
name_problem(const void *name, size_t len)
{
	const char *p = name;

	if (len == 0)
		return ("empty name");
	if (len > SAIL_NAME_MAX)
		return ("name is too long");
	if (memchr(p, '/', len) != NULL)
		return ("name has a slash");
	if (memchr(p, '\0', len) != NULL)
		return ("name has a NUL");
	if (p[0] == '.') {
		if (len == 1 || (len == 2 && p[1] == '.'))
			return ("name is . or ..");
		if (name_is_reserved(name, len))
			return ("name is reserved");
	}
	return (NULL);
}

const char *
path_problem(const void *path, size_t len)
{
	const char *p = path, *end, *slash, *why;
	size_t depth = 0;

	if (len == 0)
		return (NULL);
	if (len > SAIL_PATH_MAX)
		return ("path is too long");
	for (end = p + len;; p = slash + 1) {
		if ((slash = memchr(p, '/', (size_t)(end - p))) == NULL)
			slash = end;
		if ((why = name_problem(p, (size_t)(slash - p))) != NULL)
			return (why);
		if (++depth > SAIL_DEPTH_MAX)
			return ("path is too deep");
		if (slash == end)
			return (NULL);
	}
}

int
path_cmp(const void *a, size_t alen, const void *b, size_t blen)
{
	const uint8_t *p = a, *q = b;
	size_t i, n = alen < blen ? alen : blen;

	for (i = 0; i < n && p[i] == q[i]; i++)
		;
	if (i == n)
		return (alen < blen ? -1 : alen > blen);
	/* The end of a component comes before every byte of a name. */
	if (p[i] == '/')
		return (-1);
	if (q[i] == '/')
		return (1);
	return (p[i] < q[i] ? -1 : 1);
}

int
path_is_below(const void *path, size_t len, const void *dir, size_t dirlen)
{
	if (dirlen == 0)
		return (1);
	if (len < dirlen || memcmp(path, dir, dirlen) != 0)
		return (0);
	return (len == dirlen || ((const char *)path)[dirlen] == '/');
}

size_t
path_parent(const void *path, size_t len)
{
	const char *slash;

	if (len == 0 || (slash = memrchr(path, '/', len)) == NULL)
		return (0);
	return ((size_t)(slash - (const char *)path));
}

const char *
path_base(const char *path, size_t len, size_t *baselen)
{
	const char *slash;

	if (len == 0 || (slash = memrchr(path, '/', len)) == NULL) {
		*baselen = len;
		return (path);
	}
	*baselen = len - (size_t)(slash + 1 - path);
	return (slash + 1);
}

static int
is_alnum(char c)
{
	return ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	    (c >= '0' && c <= '9'));
}

const char *
volume_name_problem(const char *name, size_t len)
{
	size_t i;

	if (len == 0)
		return ("empty name of a volume");
	if (len > SAIL_VOLUME_NAME_MAX)
		return ("name of a volume is too long");
	if (!is_alnum(name[0]))
		return ("name of a volume begins with no letter or digit");
	for (i = 1; i < len; i++) {
		if (!is_alnum(name[i]) && name[i] != '.' && name[i] != '_' &&
		    name[i] != '-')
			return ("name of a volume has a forbidden character");
	}
	return (NULL);
}

int
utf8_valid(const void *data, size_t len)
{
	const uint8_t *p = data, *end = p + len;
	uint32_t c, min;
	int n;

	while (p < end) {
		c = *p++;
		if (c < 0x80)
			continue;
		if (c >= 0xc2 && c <= 0xdf) {
			n = 1;
			c &= 0x1f;
			min = 0x80;
		} else if ((c & 0xf0) == 0xe0) {
			n = 2;
			c &= 0x0f;
			min = 0x800;
		} else if (c >= 0xf0 && c <= 0xf4) {
			n = 3;
			c &= 0x07;
			min = 0x10000;
		} else
			return (0);
		if (end - p < n)
			return (0);
		for (; n > 0; n--, p++) {
			if ((*p & 0xc0) != 0x80)
				return (0);
			c = c << 6 | (*p & 0x3f);
		}
		if (c < min || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
			return (0);
	}
	return (1);
}
