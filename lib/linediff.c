/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * linediff: E. Myers, "An O(ND) Difference Algorithm and Its Variations" (1986),
 * in linear space, with an end to the search where texts have little in common.
 * In sailvolctl.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/linediff.h"

/* Steps from each end before the best place so far is taken. */
#define STEPS_MAX 1024

struct text {
	const uint8_t *data;
	size_t len;
	size_t n;       /* lines */
	uint32_t *at;   /* n + 1: where each begins */
	uint32_t *line; /* equal lines have equal numbers */
	uint8_t *only;  /* 1: the other text has not that line */
};

/* Furthest position on each diagonal from one end; -1 none. */
struct front {
	int32_t v[2 * STEPS_MAX + 5];
};
#define ON(f, k) ((f)->v[(k) + STEPS_MAX + 2])

struct search {
	struct text a, b;
	struct front forward, backward;
};

int
linediff_is_binary(const void *data, size_t len)
{
	return (len > 0 && memchr(data, '\0', len) != NULL);
}

/* ---- lines ------------------------------------------------------------------- */

static void
text_free(struct text *t)
{
	free(t->at);
	free(t->line);
	free(t->only);
}

static int
text_init(struct text *t, const void *data, size_t len)
{
	const uint8_t *p, *end = (const uint8_t *)data + len, *nl;
	size_t i = 0;

	t->data = data;
	t->len = len;
	for (p = data; p < end; p = nl + 1, t->n++)
		if ((nl = memchr(p, '\n', (size_t)(end - p))) == NULL)
			nl = end - 1;
	t->at = calloc(t->n + 1, sizeof(*t->at));
	t->line = calloc(t->n + 1, sizeof(*t->line));
	t->only = calloc(t->n + 1, 1);
	if (t->at == NULL || t->line == NULL || t->only == NULL)
		return (-1);
	for (p = data; p < end; p = nl + 1) {
		if ((nl = memchr(p, '\n', (size_t)(end - p))) == NULL)
			nl = end - 1;
		t->at[i++] = (uint32_t)(p - t->data);
	}
	t->at[i] = (uint32_t)len;
	return (0);
}

static size_t
line_len(const struct text *t, size_t i)
{
	return (t->at[i + 1] - t->at[i]);
}

/* Different lines that are known: open addressing. */
struct known {
	struct {
		const struct text *t; /* NULL: free */
		uint32_t i, hash;
	} * v;
	size_t mask;
};

static uint32_t
line_hash(const uint8_t *p, size_t len)
{
	uint64_t h = 0x9e3779b97f4a7c15;

	for (; len > 0; len--)
		h = (h ^ *p++) * 0x100000001b3;
	return ((uint32_t)(h ^ h >> 32));
}

/* Numbers the lines: the place of the first equal one. */
static void
number_lines(struct known *k, struct text *t)
{
	const uint8_t *p;
	size_t i, len, at;
	uint32_t h;

	for (i = 0; i < t->n; i++) {
		p = t->data + t->at[i];
		len = line_len(t, i);
		h = line_hash(p, len);
		for (at = h & k->mask; k->v[at].t != NULL;
		     at = (at + 1) & k->mask)
			if (k->v[at].hash == h &&
			    line_len(k->v[at].t, k->v[at].i) == len &&
			    memcmp(k->v[at].t->data +
				    k->v[at].t->at[k->v[at].i],
				p, len) == 0)
				break;
		if (k->v[at].t == NULL) {
			k->v[at].t = t;
			k->v[at].i = (uint32_t)i;
			k->v[at].hash = h;
		}
		t->line[i] = (uint32_t)at;
	}
}

static int
number_all(struct text *a, struct text *b)
{
	struct known k;
	size_t cap = 16;

	while (cap < 2 * (a->n + b->n))
		cap *= 2;
	k.mask = cap - 1;
	if ((k.v = calloc(cap, sizeof(*k.v))) == NULL)
		return (-1);
	number_lines(&k, a);
	number_lines(&k, b);
	free(k.v);
	return (0);
}

/* ---- the search --------------------------------------------------------------- */

/* A part of both texts; from: 1 its end is where it is looked at from. */
struct box {
	const uint32_t *a, *b;
	int32_t n, m;
};

static int
equal_at(const struct box *x, int32_t i, int32_t j, int from_end)
{
	return (from_end ? x->a[x->n - 1 - i] == x->b[x->m - 1 - j]
			 : x->a[i] == x->b[j]);
}

/* The furthest on diagonal k after one step more; -1: outside. */
static int32_t
advance(const struct box *x, const struct front *f, int32_t k, int from_end)
{
	int32_t down = ON(f, k + 1), right = ON(f, k - 1), i;

	if (down >= 0 && down - k > x->m)
		down = -1;
	right = right >= 0 && right < x->n ? right + 1 : -1;
	i = down > right ? down : right;
	if (i < 0)
		return (-1);
	while (i < x->n && i - k < x->m && equal_at(x, i, i - k, from_end))
		i++;
	return (i);
}

/* One step of one end; 1 and the place where it met the other. */
static int
step(const struct box *x, struct front *mine, const struct front *other,
    int32_t d, int32_t reach, int from_end, int32_t *i, int32_t *j)
{
	int32_t k, opposite, delta = x->n - x->m;

	for (k = -d; k <= d; k += 2) {
		if (k < -x->m || k > x->n)
			continue;
		ON(mine, k) = advance(x, mine, k, from_end);
		opposite = delta - k;
		if (ON(mine, k) < 0 || opposite < -reach || opposite > reach ||
		    ON(other, opposite) < 0 ||
		    ON(mine, k) + ON(other, opposite) < x->n)
			continue;
		*i = ON(mine, k);
		*j = *i - k;
		if (from_end) {
			*i = x->n - *i;
			*j = x->m - *j;
		}
		return (1);
	}
	return (0);
}

static void
front_clear(struct front *f)
{
	memset(f->v, 0xff, sizeof(f->v)); /* -1 */
	ON(f, 1) = 0;
}

/*
 * A place in the middle of a shortest way through the box, whose ends differ;
 * or, where that is far, the furthest that was reached.
 */
static void
middle(struct search *s, const struct box *x, int32_t *i, int32_t *j)
{
	int odd = (x->n - x->m) & 1;
	int32_t d, k;

	front_clear(&s->forward);
	front_clear(&s->backward);
	for (d = 0; d <= STEPS_MAX; d++) {
		if (step(x, &s->forward, &s->backward, d, odd ? d - 1 : -1, 0,
			i, j) ||
		    step(x, &s->backward, &s->forward, d, odd ? -1 : d, 1, i,
			j))
			return;
	}
	*i = *j = 0;
	for (k = -STEPS_MAX; k <= STEPS_MAX; k += 2) {
		if (ON(&s->forward, k) < 0 ||
		    2 * ON(&s->forward, k) - k <= *i + *j)
			continue;
		*i = ON(&s->forward, k);
		*j = *i - k;
	}
}

/* Marks what each has alone in [a0, a1) and [b0, b1).  The part before the
   middle is at most half as far, so this does not go deep. */
static void
compare(struct search *s, size_t a0, size_t a1, size_t b0, size_t b1)
{
	struct box x;
	int32_t i, j;

	for (;;) {
		while (a0 < a1 && b0 < b1 && s->a.line[a0] == s->b.line[b0]) {
			a0++;
			b0++;
		}
		while (a0 < a1 && b0 < b1 &&
		    s->a.line[a1 - 1] == s->b.line[b1 - 1]) {
			a1--;
			b1--;
		}
		if (a0 == a1 || b0 == b1)
			break;
		x.a = s->a.line + a0;
		x.b = s->b.line + b0;
		x.n = (int32_t)(a1 - a0);
		x.m = (int32_t)(b1 - b0);
		middle(s, &x, &i, &j);
		compare(s, a0, a0 + (size_t)i, b0, b0 + (size_t)j);
		a0 += (size_t)i;
		b0 += (size_t)j;
	}
	memset(s->a.only + a0, 1, a1 - a0);
	memset(s->b.only + b0, 1, b1 - b0);
}

/* ---- the hunks ------------------------------------------------------------------ */

struct out {
	int (*f)(void *, const void *, size_t);
	void *arg;
};

static int
put_line(const struct out *o, char mark, const struct text *t, size_t i)
{
	static const char no_end[] = "\n\\ No newline at end of file\n";
	const uint8_t *p = t->data + t->at[i];
	size_t len = line_len(t, i);

	if (o->f(o->arg, &mark, 1) == -1 || o->f(o->arg, p, len) == -1)
		return (-1);
	if (p[len - 1] != '\n')
		return (o->f(o->arg, no_end, sizeof(no_end) - 1));
	return (0);
}

/* "12,3": of no lines the one before. */
static void
range_text(char *out, size_t size, size_t from, size_t n)
{
	if (n == 1)
		snprintf(out, size, "%zu", from + 1);
	else
		snprintf(out, size, "%zu,%zu", n == 0 ? from : from + 1, n);
}

static int
put_hunk(const struct search *s, const struct out *o, size_t a0, size_t a1,
    size_t b0, size_t b1)
{
	char ra[48], rb[48], head[128];
	int n;

	range_text(ra, sizeof(ra), a0, a1 - a0);
	range_text(rb, sizeof(rb), b0, b1 - b0);
	n = snprintf(head, sizeof(head), "@@ -%s +%s @@\n", ra, rb);
	if (o->f(o->arg, head, (size_t)n) == -1)
		return (-1);
	while (a0 < a1 || b0 < b1) {
		if (a0 < a1 && s->a.only[a0]) {
			if (put_line(o, '-', &s->a, a0++) == -1)
				return (-1);
		} else if (b0 < b1 && s->b.only[b0]) {
			if (put_line(o, '+', &s->b, b0++) == -1)
				return (-1);
		} else {
			if (put_line(o, ' ', &s->a, a0++) == -1)
				return (-1);
			b0++;
		}
	}
	return (0);
}

/* Over what is the same, at most max lines; how many. */
static size_t
same_run(const struct search *s, size_t a, size_t b, size_t max)
{
	size_t n = 0;

	while (n < max && a + n < s->a.n && b + n < s->b.n &&
	    !s->a.only[a + n] && !s->b.only[b + n])
		n++;
	return (n);
}

static int
put_hunks(const struct search *s, const struct out *o)
{
	size_t a = 0, b = 0, a0, b0, n, before;

	for (;;) {
		n = same_run(s, a, b, SIZE_MAX);
		a += n;
		b += n;
		if (a == s->a.n && b == s->b.n)
			return (0);
		before = n < LINEDIFF_CONTEXT ? n : LINEDIFF_CONTEXT;
		a0 = a - before;
		b0 = b - before;
		do {
			while (a < s->a.n && s->a.only[a])
				a++;
			while (b < s->b.n && s->b.only[b])
				b++;
			n = same_run(s, a, b, 2 * LINEDIFF_CONTEXT + 1);
			if (n > 2 * LINEDIFF_CONTEXT ||
			    (a + n == s->a.n && b + n == s->b.n))
				break;
			a += n;
			b += n;
		} while (1);
		n = n < LINEDIFF_CONTEXT ? n : LINEDIFF_CONTEXT;
		if (put_hunk(s, o, a0, a + n, b0, b + n) == -1)
			return (-1);
		a += n;
		b += n;
	}
}

int
linediff(const void *a, size_t alen, const void *b, size_t blen,
    int (*f)(void *, const void *, size_t), void *arg)
{
	struct out o = { f, arg };
	struct search *s;
	int r = -1;

	if (alen > LINEDIFF_MAX || blen > LINEDIFF_MAX) {
		errno = EFBIG;
		return (-1);
	}
	if ((s = calloc(1, sizeof(*s))) == NULL)
		return (-1);
	if (text_init(&s->a, a, alen) == 0 && text_init(&s->b, b, blen) == 0 &&
	    number_all(&s->a, &s->b) == 0) {
		compare(s, 0, s->a.n, 0, s->b.n);
		r = put_hunks(s, &o);
	}
	text_free(&s->a);
	text_free(&s->b);
	free(s);
	return (r);
}
