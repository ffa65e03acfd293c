/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * linediff: the difference of two texts by lines, as a unified diff (diff(1)).
 * In sailvolctl.
 */
#ifndef LIB_LINEDIFF_H
#define LIB_LINEDIFF_H

#include <stddef.h>
#include <stdint.h>

#define LINEDIFF_CONTEXT 3              /* lines around a change */
#define LINEDIFF_MAX (16 * 1024 * 1024) /* bytes of a text; else EFBIG */

/* 1: there is a NUL in it, so it is no text. */
int linediff_is_binary(const void *, size_t);
/*
 * Writes the hunks, without the two lines of names before them; nothing when
 * the texts are equal.  As short as can be where the texts differ in few
 * lines, and correct always: time and memory grow with the texts, not with
 * their product.  0, or -1 and errno: EFBIG, ENOMEM, or that of f, which
 * returns 0 or -1.
 */
int linediff(const void *a, size_t alen, const void *b, size_t blen,
    int (*f)(void *, const void *, size_t), void *);

#endif
