/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * meta_json: how the API shows times, hashes, names, ids and commits
 * (sailapi(7)).  In meta.
 */
#include <stdlib.h>
#include <string.h>

#include "sailapid/hex.h"
#include "sailapid/meta.h"

json_t *
json_time(int64_t ns)
{
	return json_real((double)(ns / 1000) / 1e6);
}

json_t *
json_hash(const struct hash *h)
{
	char hex[HASH_HEX_LEN + 1];

	hash_hex(h, hex);
	return json_string(hex);
}

void
base64_encode(const uint8_t *p, size_t len, char *out)
{
	static const char set[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				  "abcdefghijklmnopqrstuvwxyz0123456789+/";
	uint32_t v;
	size_t i, n;

	for (i = 0; i < len; i += 3) {
		n = len - i;
		v = (uint32_t)p[i] << 16;
		if (n > 1)
			v |= (uint32_t)p[i + 1] << 8;
		if (n > 2)
			v |= p[i + 2];
		*out++ = set[v >> 18];
		*out++ = set[v >> 12 & 63];
		*out++ = n > 1 ? set[v >> 6 & 63] : '=';
		*out++ = n > 2 ? set[v & 63] : '=';
	}
	*out = '\0';
}

json_t *
json_name(const void *p, size_t len)
{
	json_t *j;
	char *b64;

	if (utf8_valid(p, len) && memchr(p, '\0', len) == NULL)
		return json_stringn(p, len);
	if ((b64 = malloc((len + 2) / 3 * 4 + 1)) == NULL)
		return NULL;
	base64_encode(p, len, b64);
	j = json_pack("{s:s}", "b64", b64);
	free(b64);
	return j;
}

json_t *
json_id(const char *word, const uint8_t *p, size_t len)
{
	char hex[2 * DB_ID_LEN + 1];

	if (len > DB_ID_LEN)
		return NULL;
	hex_encode(p, len, hex);
	return json_sprintf("%s%s", word, hex);
}

json_int_t
json_count(uint64_t n)
{
	return n > INT64_MAX ? INT64_MAX : (json_int_t)n;
}

json_t *
json_commit(const struct hash *id, const struct commit *c)
{
	return json_pack(
	    "{s:o, s:I, s:o, s:o, s:o, s:o, s:I, s:I, s:I, s:I, s:I}", "id",
	    json_hash(id), "number", (json_int_t)c->number, "parent",
	    c->has_parent ? json_hash(&c->parent) : json_null(), "time",
	    json_time(c->time.sec * 1000000000 + c->time.nsec), "author",
	    json_name(c->author, c->author_len), "message",
	    json_name(c->message, c->message_len), "puts", (json_int_t)c->puts,
	    "deletes", (json_int_t)c->deletes, "overwritten",
	    (json_int_t)c->overwritten, "files", json_count(c->root.files),
	    "bytes", json_count(c->root.bytes));
}
