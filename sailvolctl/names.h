/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * names: names of files between JSON, the terminal and bytes.  In sailvolctl.
 */
#ifndef SAILVOLCTL_NAMES_H
#define SAILVOLCTL_NAMES_H

#include <jansson.h>
#include <stdint.h>
#include <stdio.h>

/* A string when it is valid UTF-8, else {"b64": ".."}.  NULL and errno. */
json_t *name_to_json(const void *, size_t);
/*
 * The bytes of such a value, with a NUL behind, for free(3); NULL and errno
 * (EBADMSG: neither).
 */
char *name_from_json(const json_t *, size_t *len);
/* Through vis(3) when f is a terminal; else as they are. */
void name_print(FILE *f, const void *, size_t);
void name_print_json(FILE *f, const json_t *);
/* What a terminal shall get, for free(3). */
char *name_vis(const void *, size_t);

#endif
