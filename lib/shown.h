/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * shown: text from outside, as a line of a log or a message may show it.
 * strnvis(3) is not for that: libbsd's writes one byte behind its buffer when
 * the text does not fit.
 */
#ifndef LIB_SHOWN_H
#define LIB_SHOWN_H

#include <stddef.h>

/*
 * vis(3) of the len bytes at src into the size bytes at dst, size at least 1;
 * NUL ends it.  It is cut between two characters, never in an escape: 0 when it
 * was, 1 when all is there.  encoded: a backslash is one of an earlier encoding
 * and stands for itself.  Needs no memory for what is printable.
 */
int shown_encode(char *dst, size_t size, const void *src, size_t len,
    int encoded);

#endif
