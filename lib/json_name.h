/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/* json_name: names and paths, which are bytes, in JSON, which is UTF-8. */
#ifndef LIB_JSON_NAME_H
#define LIB_JSON_NAME_H

#include <jansson.h>

/* A string when it is valid UTF-8, else {"b64": ".."}.  NULL and errno. */
json_t *json_name(const void *, size_t);
/*
 * The bytes of such a value, with a NUL behind, for free(3); NULL and errno
 * (EBADMSG: neither).
 */
char *json_name_get(const json_t *, size_t *len);
/* A sentence with a name in it: bytes that are no UTF-8 as \ooo. */
json_t *json_text(const char *);

#endif
