/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * corrupt: good encodings with one named part changed, and what a decoder must
 * say of each; random damage for decoders that must refuse or give the bytes
 * back.
 */
#ifndef REGRESS_CORRUPT_H
#define REGRESS_CORRUPT_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/bytes.h"

#define CUT_HERE SIZE_MAX /* n of a refusal: the bytes from `at' on are gone */

struct refusal {
	const char *part;  /* what is changed */
	const void *good;  /* passed to encode */
	size_t at;         /* offset */
	const char *bytes; /* instead of the old */
	size_t n;
	const char *why; /* what the decoder says */
};

/* NULL when it was taken. */
typedef const char *(*decode_fn)(const uint8_t *, size_t);
typedef void (*encode_fn)(struct wbuf *, const void *);

static inline void
check_refusals(const struct refusal *r, size_t count, encode_fn encode,
    decode_fn decode)
{
	const char *why;
	struct wbuf w;
	size_t i, bad = 0;

	for (i = 0; i < count; i++) {
		wbuf_init(&w, 1 << 20);
		encode(&w, r[i].good);
		assert_int_equal(w.error, 0);
		why = decode(w.data, w.len);
		if (why != NULL)
			fail_msg("%s: the good one: %s", r[i].part, why);
		if (r[i].n == CUT_HERE)
			w.len = r[i].at;
		else {
			/* Behind the end: bytes that are too many. */
			while (w.len < r[i].at + r[i].n)
				wbuf_u8(&w, 0);
			memcpy(w.data + r[i].at, r[i].bytes, r[i].n);
		}
		why = decode(w.data, w.len);
		if (why == NULL || strcmp(why, r[i].why) != 0) {
			printf("%s: expected \"%s\", got \"%s\"\n", r[i].part,
			    r[i].why, why == NULL ? "taken" : why);
			bad++;
		}
		wbuf_free(&w);
	}
	assert_int_equal(bad, 0);
	printf("%zu refusals\n", count);
}

/* Bits flipped, bytes cut, bytes of chance: f looks at each. */
static inline void
check_damage(const uint8_t *good, size_t len, int rounds,
    uint64_t (*random)(void), void (*f)(const uint8_t *, size_t))
{
	uint8_t *p;
	size_t n, i;
	int round;

	for (round = 0; round < rounds; round++) {
		n = random() % 8 == 0 ? random() % (len + 1) : len;
		/* Of the exact size, so that the sanitizer sees an overrun. */
		p = malloc(n + 1);
		memcpy(p + 1, good, n);
		for (i = random() % 4; n > 0 && i > 0; i--)
			p[1 + random() % n] ^= (uint8_t)(1 << random() % 8);
		if (random() % 8 == 0)
			for (i = random() % (n + 1); i < n; i++)
				p[1 + i] = (uint8_t)random();
		f(p + 1, n);
		free(p);
	}
}

#endif
