/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * A unified diff makes the second text of the first when it is applied, is no
 * longer than need be, and has the form that patch(1) reads; texts that have
 * nothing in common do not take for ever.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

#include "lib/linediff.h"

static char *out;
static size_t out_len, out_cap;

static int
sink(void *arg, const void *p, size_t len)
{
	char *bigger;

	(void)arg;
	if (out_len + len + 1 > out_cap) {
		out_cap = 2 * (out_len + len + 1);
		bigger = realloc(out, out_cap);
		assert_non_null(bigger);
		out = bigger;
	}
	memcpy(out + out_len, p, len);
	out_len += len;
	out[out_len] = '\0';
	return 0;
}

static void
make_diff(const char *a, size_t alen, const char *b, size_t blen)
{
	out_len = 0;
	sink(NULL, "", 0);
	assert_int_equal(linediff(a, alen, b, blen, sink, NULL), 0);
}

/* "12,3" or "12": the end of it. */
static char *
read_range(char *p, size_t *from, size_t *n)
{
	*from = strtoul(p, &p, 10);
	*n = 1;
	if (*p == ',')
		*n = strtoul(p + 1, &p, 10);
	return p;
}

static const char *
next_line(const char *p, const char *end)
{
	const char *nl = p == end ? NULL : memchr(p, '\n', (size_t)(end - p));

	return nl != NULL ? nl + 1 : end;
}

/* Applies out to a: it must give b.  Returns lines that came and went. */
static size_t
check_apply(const char *a, size_t alen, const char *b, size_t blen)
{
	const char *p = a, *aend = a + alen, *q = b, *line;
	char *h = out;
	size_t at = 0, bat = 0, from, n, bfrom, bn, len, changed = 0;

	while (*h != '\0') {
		assert_int_equal(strncmp(h, "@@ -", 4), 0);
		h = read_range(h + 4, &from, &n);
		assert_int_equal(strncmp(h, " +", 2), 0);
		h = read_range(h + 2, &bfrom, &bn);
		assert_int_equal(strncmp(h, " @@\n", 4), 0);
		h += 4;
		for (; at + (n > 0) < from; at++, bat++) {
			line = next_line(p, aend);
			assert_memory_equal(p, q, (size_t)(line - p));
			q += line - p;
			p = line;
		}
		assert_int_equal(bat + (bn > 0), bfrom);
		while (n > 0 || bn > 0) {
			char mark = *h++;

			line = strchr(h, '\n');
			assert_non_null(line);
			len = (size_t)(line - h) + 1;
			if (line[1] == '\\')
				len--;
			if (mark != '+') {
				assert_true((size_t)(aend - p) >= len);
				assert_memory_equal(p, h, len);
				p += len;
				n--;
				at++;
			}
			if (mark != '-') {
				assert_true((size_t)(b + blen - q) >= len);
				assert_memory_equal(q, h, len);
				q += len;
				bn--;
				bat++;
			}
			changed += mark != ' ';
			h += len;
			if (*h == '\n') /* before the remark */
				h = strchr(h + 1, '\n') + 1;
		}
	}
	assert_int_equal(aend - p, b + blen - q);
	assert_memory_equal(p, q, (size_t)(aend - p));
	return changed;
}

/* The shortest: lines of both less twice those in common. */
static size_t
shortest(const char *a, size_t n, const char *b, size_t m)
{
	static size_t c[64][64];
	size_t i, j;

	for (i = 0; i <= n; i++)
		for (j = 0; j <= m; j++)
			c[i][j] = i == 0 || j == 0 ? 0
			    : memcmp(a + 2 * i - 2, b + 2 * j - 2, 2) == 0
			    ? c[i - 1][j - 1] + 1
			    : c[i - 1][j] > c[i][j - 1] ? c[i - 1][j]
							: c[i][j - 1];
	return n + m - 2 * c[n][m];
}

static void
test_random(void **state)
{
	char a[128] = "", b[128] = "";
	size_t n, m, i;
	int round, letters;

	(void)state;
	for (round = 0; round < 30000; round++) {
		letters = 1 + round % 7;
		n = arc4random_uniform(40);
		m = arc4random_uniform(40);
		for (i = 0; i < n; i++) {
			a[2 * i] =
			    (char)('a' + arc4random_uniform((uint32_t)letters));
			a[2 * i + 1] = '\n';
		}
		for (i = 0; i < m; i++) {
			b[2 * i] = i < n && arc4random_uniform(3) > 0
			    ? a[2 * i]
			    : (char)('a' +
				  arc4random_uniform((uint32_t)letters));
			b[2 * i + 1] = '\n';
		}
		make_diff(a, 2 * n, b, 2 * m);
		assert_int_equal(check_apply(a, 2 * n, b, 2 * m),
		    shortest(a, n, b, m));
	}
}

static void
expect(const char *a, const char *b, const char *want)
{
	make_diff(a, strlen(a), b, strlen(b));
	assert_string_equal(out, want);
	check_apply(a, strlen(a), b, strlen(b));
}

static void
test_form(void **state)
{
	(void)state;
	expect("", "", "");
	expect("x\n", "x\n", "");
	expect("", "x\n", "@@ -0,0 +1 @@\n+x\n");
	expect("x\n", "", "@@ -1 +0,0 @@\n-x\n");
	expect("x", "x\n",
	    "@@ -1 +1 @@\n-x\n\\ No newline at end of file\n+x\n");
	expect("x\n", "x",
	    "@@ -1 +1 @@\n-x\n+x\n\\ No newline at end of file\n");
	expect("y\nx", "z\nx",
	    "@@ -1,2 +1,2 @@\n-y\n+z\n x\n\\ No newline at end of file\n");
	expect("1\n2\n3\n4\n5\n6\n7\n8\n9\n", "1\n2\n3\n4\nx\n6\n7\n8\n9\n",
	    "@@ -2,7 +2,7 @@\n 2\n 3\n 4\n-5\n+x\n 6\n 7\n 8\n");
	/* Six lines between two changes: one hunk; seven: two. */
	expect("a\n1\n2\n3\n4\n5\n6\nb\n", "x\n1\n2\n3\n4\n5\n6\ny\n",
	    "@@ -1,8 +1,8 @@\n-a\n+x\n 1\n 2\n 3\n 4\n 5\n 6\n-b\n+y\n");
	expect("a\n1\n2\n3\n4\n5\n6\n7\nb\n", "x\n1\n2\n3\n4\n5\n6\n7\ny\n",
	    "@@ -1,4 +1,4 @@\n-a\n+x\n 1\n 2\n 3\n"
	    "@@ -6,4 +6,4 @@\n 5\n 6\n 7\n-b\n+y\n");
	expect("\r\n\xff\n", "\r\n\xfe\n",
	    "@@ -1,2 +1,2 @@\n \r\n-\xff\n+\xfe\n");
	assert_true(linediff_is_binary("a\0b", 3));
	assert_false(linediff_is_binary("a\xff\n", 3));
	assert_false(linediff_is_binary(NULL, 0));
}

static int
refusing(void *arg, const void *p, size_t len)
{
	int *left = arg;

	(void)p;
	(void)len;
	errno = EPIPE;
	return --*left == 0 ? -1 : 0;
}

static void
test_refused(void **state)
{
	char *big = calloc(1, LINEDIFF_MAX + 1);
	int i, left, r;

	(void)state;
	assert_non_null(big);
	for (i = 1; i < 8; i++) {
		left = i;
		errno = 0;
		r = linediff("a\nb\nc", 5, "a\nx\nc", 5, refusing, &left);
		assert_int_equal(r, -1);
		assert_int_equal(left, 0);
		assert_int_equal(errno, EPIPE);
	}
	assert_int_equal(linediff(big, LINEDIFF_MAX + 1, "", 0, sink, NULL),
	    -1);
	assert_int_equal(errno, EFBIG);
	free(big);
}

/* Half a million lines: all others, or the same in another order, or few of
   them changed. */
static void
test_large(void **state)
{
	size_t cap = 4 * 1024 * 1024, alen, blen, i;
	char *a = malloc(cap), *b = malloc(cap);
	clock_t start = clock();
	int kind;

	(void)state;
	assert_non_null(a);
	assert_non_null(b);
	for (kind = 0; kind < 4; kind++) {
		alen = blen = 0;
		for (i = 0; i < 300000; i++) {
			alen +=
			    (size_t)snprintf(a + alen, cap - alen, "%zu\n", i);
			if (kind == 0) /* all others */
				blen += (size_t)snprintf(b + blen, cap - blen,
				    "x%zu\n", i);
			else if (kind == 1) /* another order */
				blen += (size_t)snprintf(b + blen, cap - blen,
				    "%zu\n", i * 77777 % 300000);
			else if (kind == 2) /* few */
				blen += (size_t)snprintf(b + blen, cap - blen,
				    "%zu\n", i % 1000 == 0 ? i + 1 : i);
			else /* hardly any different lines */
				blen += (size_t)snprintf(b + blen, cap - blen,
				    "%u\n", arc4random_uniform(3));
		}
		make_diff(a, alen, b, blen);
		check_apply(a, alen, b, blen);
		if (kind == 2)
			assert_true(out_len < 300 * 100);
	}
	print_message("4 x 300,000 lines: %.1f s\n",
	    (double)(clock() - start) / CLOCKS_PER_SEC);
	free(a);
	free(b);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = { cmocka_unit_test(test_form),
		cmocka_unit_test(test_random), cmocka_unit_test(test_refused),
		cmocka_unit_test(test_large) };
	int r = cmocka_run_group_tests(tests, NULL, NULL);

	free(out);
	return r;
}
