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
