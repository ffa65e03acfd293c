/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * json_name: names and paths in JSON (sailvol-ctl(5), sailapi(7)).  In sailvold,
 * sailapid and sailvolctl.
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base64.h"
#include "lib/json_name.h"
#include "lib/path.h"

json_t *
json_name(const void *p, size_t len)
{
	json_t *j;
	char *b64;

	if (utf8_valid(p, len) && memchr(p, '\0', len) == NULL)
		return (json_stringn(p, len));
	if ((b64 = malloc(BASE64_SIZE(len))) == NULL)
		return (NULL);
	base64_encode(p, len, b64);
	j = json_pack("{s:s}", "b64", b64);
	free(b64);
	return (j);
}

char *
json_name_get(const json_t *j, size_t *len)
{
	const json_t *b64 = json_object_get(j, "b64");
	char *name = NULL;

	if (json_is_string(j)) {
		*len = json_string_length(j);
		if ((name = malloc(*len + 1)) != NULL)
			memcpy(name, json_string_value(j), *len + 1);
	} else if (json_is_string(b64) && json_object_size(j) == 1)
		name = base64_decode(json_string_value(b64),
		    json_string_length(b64), len);
	else
		errno = EBADMSG;
	return (name);
}

/* Of the character at p, or 1 when there is none. */
static size_t
character(const char *p, size_t left)
{
	size_t n;

	for (n = 1; n <= 4 && n <= left; n++)
		if (utf8_valid(p, n))
			return (n);
	return (1);
}

json_t *
json_text(const char *text)
{
	static const char octal[] = "01234567";
	size_t left = strlen(text), n;
	char *shown, *o;
	json_t *j;

	if ((shown = o = malloc(4 * left + 1)) == NULL)
		return (NULL);
	for (; left > 0; text += n, left -= n) {
		n = character(text, left);
		if (utf8_valid(text, n)) {
			memcpy(o, text, n);
			o += n;
			continue;
		}
		*o++ = '\\';
		*o++ = octal[(uint8_t)*text >> 6];
		*o++ = octal[(uint8_t)*text >> 3 & 7];
		*o++ = octal[(uint8_t)*text & 7];
	}
	*o = '\0';
	j = json_string(shown);
	free(shown);
	return (j);
}
