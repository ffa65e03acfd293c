/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * patch: two states of a file as a unified diff that patch(1) takes with -p1.
 * In sailvolctl.
 */
#ifndef SAILVOLCTL_PATCH_H
#define SAILVOLCTL_PATCH_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define PATCH_MAX ((uint64_t)8 * 1024 * 1024) /* bytes of a file */

/* data NULL: there is no such file. */
struct version {
	uint8_t *data;
	size_t len;
};

/*
 * What differs between the two, for free(3): names, then hunks, or a sentence
 * when one is no text.  Nothing when they are equal: a length of 0.  NULL and
 * errno.
 */
char *patch_make(const void *path, size_t path_len, const struct version *was,
    const struct version *now, size_t *len);
/* In colours, on a terminal. */
void patch_print(FILE *, const char *, size_t);

#endif
