/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * hex: ids as the API shows them: a word and lower-case digits.
 */
#ifndef SAILAPID_HEX_H
#define SAILAPID_HEX_H

#include <stddef.h>
#include <stdint.h>

void hex_encode(const uint8_t *, size_t len, char *out); /* 2 * len + 1 */
/* Exactly that many lower-case digits and no more; -1 and EINVAL. */
int hex_decode(const char *, uint8_t *, size_t len);
/* The same behind a word: "vol_0123...". */
int hex_id(const char *word, const char *, uint8_t *, size_t len);

#endif
