/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * Small things that come as text: paths, hashes, base64, lives, addresses; what
 * is left to be had of a file (rest); and the difference of two texts, which
 * makes the second of the first.  The first byte says which.
 */
#include "lib/base64.h"
#include "lib/hash.h"
#include "lib/life.h"
#include "lib/linediff.h"
#include "lib/inaddr.h"
#include "lib/memfd.h"
#include "lib/path.h"
#include "lib/rest.h"
#include "regress/fuzz/fuzz.h"

static void
paths(const uint8_t *p, size_t len)
{
	size_t n, parent;

	(void)name_problem(p, len);
	(void)volume_name_problem((const char *)p, len);
	(void)utf8_valid(p, len);
	if (path_problem(p, len) != NULL || len == 0)
		return;
	parent = path_parent(p, len);
	fuzz_check(path_problem(p, parent) == NULL);
	fuzz_check(path_is_below(p, len, p, parent));
	fuzz_check(
	    name_problem(path_base((const char *)p, len, &n), n) == NULL);
	fuzz_check(path_cmp(p, parent, p, len) < 0);
	fuzz_check(path_cmp(p, len, p, len) == 0);
}

static void
encodings(const uint8_t *p, size_t len)
{
	char *s = fuzz_string(p, len), *raw, hex[HASH_HEX_LEN + 1], *again;
	struct inaddr l;
	struct hash h;
	size_t n;

	if ((raw = base64_decode(s, len, &n)) != NULL) {
		again = malloc(BASE64_SIZE(n));
		fuzz_check(again != NULL);
		base64_encode(raw, n, again);
		fuzz_check(strlen(again) == len && memcmp(again, s, len) == 0);
		free(again);
		free(raw);
	}
	if (hash_parse(&h, s, len) == 0) {
		hash_hex(&h, hex);
		fuzz_check(len == HASH_HEX_LEN && memcmp(hex, s, len) == 0);
	}
	(void)life_parse(s);
	(void)inaddr_set_loopback(&l, s, 80);
	free(s);
}

static void
rest(const uint8_t *p, size_t len)
{
	uint32_t sum = crc32c(0, p, len);
	uint8_t *file = malloc(len + 4 + 64);
	struct rest *r;
	int fd;

	/* The right sum, and some slots behind it. */
	fuzz_check(file != NULL);
	memset(file, 1, len + 4 + 64);
	if (len > 0)
		memcpy(file, p, len);
	memcpy(file + len, &sum, 4);
	fd = memfd_new("rest", file, len + 4 + (len > 0 ? p[len - 1] % 64 : 0));
	fuzz_check(fd != -1);
	if ((r = rest_read(fd)) != NULL) {
		(void)rest_absent(r, 0);
		(void)rest_absent(r, r->slots);
	}
	rest_free(r);
	close(fd);
	free(file);
}

/* ---- hunks, applied ------------------------------------------------------ */

struct text {
	char *p;
	size_t len;
};

static int
collect(void *arg, const void *p, size_t len)
{
	struct text *t = arg;

	t->p = realloc(t->p, t->len + len + 1);
	fuzz_check(t->p != NULL);
	memcpy(t->p + t->len, p, len);
	t->len += len;
	t->p[t->len] = '\0';
	return 0;
}

/* Of two texts, the second of which begins behind the first 0xff. */
static void
difference(const uint8_t *p, size_t len)
{
	const uint8_t *cut = memchr(p, 0xff, len);
	size_t alen = cut != NULL ? (size_t)(cut - p) : len,
	       blen = cut != NULL ? len - alen - 1 : 0;
	const uint8_t *b = cut != NULL ? cut + 1 : p;
	struct text t = { NULL, 0 };

	fuzz_check(linediff(p, alen, b, blen, collect, &t) == 0);
	fuzz_check((t.len == 0) == (alen == blen && memcmp(p, b, alen) == 0));
	free(t.p);
}

static void
fuzz_one(const uint8_t *in, size_t len)
{
	static void (*const f[])(const uint8_t *, size_t) = { paths, encodings,
		rest, difference };

	fuzz_pick(f, sizeof(f) / sizeof(f[0]), in, len);
}
