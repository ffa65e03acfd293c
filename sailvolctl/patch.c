/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * patch: names before hunks, and how both look on a terminal.  In sailvolctl.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/linediff.h"
#include "sailvolctl/colour.h"
#include "sailvolctl/patch.h"

/* A name that could be taken for something else, as git(1) and patch(1) have
   it in quotes. */
static int
is_plain(const uint8_t *p, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++)
		if (p[i] < 0x20 || p[i] == 0x7f || p[i] == '"' || p[i] == '\\')
			return 0;
	return 1;
}

static void
put_quoted(FILE *f, const uint8_t *p, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++) {
		if (p[i] == '"' || p[i] == '\\')
			fprintf(f, "\\%c", p[i]);
		else if (p[i] < 0x20 || p[i] == 0x7f)
			fprintf(f, "\\%03o", p[i]);
		else
			fputc(p[i], f);
	}
}

/* "a/dir/file"; end: a tab behind a name with a space, which is no part of it. */
static void
put_name(FILE *f, char side, const uint8_t *path, size_t len,
    const struct version *v, int end)
{
	if (v->data == NULL)
		fputs("/dev/null", f);
	else if (is_plain(path, len)) {
		fprintf(f, "%c/", side);
		fwrite(path, 1, len, f);
		if (end && memchr(path, ' ', len) != NULL)
			fputc('\t', f);
	} else {
		fprintf(f, "\"%c/", side);
		put_quoted(f, path, len);
		fputc('"', f);
	}
}

struct sink {
	FILE *f;
	const uint8_t *path;
	size_t len;
	const struct version *was, *now;
	int begun;
};

static int
sink_write(void *arg, const void *p, size_t len)
{
	struct sink *s = arg;

	if (!s->begun) {
		s->begun = 1;
		fputs("--- ", s->f);
		put_name(s->f, 'a', s->path, s->len, s->was, 1);
		fputs("\n+++ ", s->f);
		put_name(s->f, 'b', s->path, s->len, s->now, 1);
		fputc('\n', s->f);
	}
	return fwrite(p, 1, len, s->f) == len ? 0 : -1;
}

static void
put_binary(const struct sink *s)
{
	fputs("Binary files ", s->f);
	put_name(s->f, 'a', s->path, s->len, s->was, 0);
	fputs(" and ", s->f);
	put_name(s->f, 'b', s->path, s->len, s->now, 0);
	fputs(" differ\n", s->f);
}

static int
is_equal(const struct version *a, const struct version *b)
{
	return a->len == b->len && (a->data == NULL) == (b->data == NULL) &&
	    (a->len == 0 || memcmp(a->data, b->data, a->len) == 0);
}

static const void *
text_of(const struct version *v)
{
	return v->data != NULL ? (const void *)v->data : "";
}

char *
patch_make(const void *path, size_t path_len, const struct version *was,
    const struct version *now, size_t *len)
{
	struct sink s = { NULL, path, path_len, was, now, 0 };
	char *out = NULL;
	int rc = 0;

	if ((s.f = open_memstream(&out, len)) == NULL)
		return NULL;
	if (is_equal(was, now))
		;
	else if (linediff_is_binary(was->data, was->len) ||
	    linediff_is_binary(now->data, now->len))
		put_binary(&s);
	else
		rc = linediff(text_of(was), was->len, text_of(now), now->len,
		    sink_write, &s);
	if (ferror(s.f))
		rc = -1;
	if (fclose(s.f) == EOF || rc == -1) {
		free(out);
		return NULL;
	}
	return out;
}

static enum colour
colour_of(const char *line, int in_hunk)
{
	if (*line == '@')
		return COLOUR_CYAN;
	if (!in_hunk)
		return COLOUR_NONE;
	return *line == '-' ? COLOUR_RED
	    : *line == '+'  ? COLOUR_GREEN
			    : COLOUR_NONE;
}

void
patch_print(FILE *f, const char *text, size_t len)
{
	const char *end = text + len, *nl;
	enum colour c;
	int in_hunk = 0;

	for (; text < end; text = nl + 1) {
		if ((nl = memchr(text, '\n', (size_t)(end - text))) == NULL)
			nl = end - 1;
		in_hunk = in_hunk || *text == '@';
		if ((c = colour_of(text, in_hunk)) != COLOUR_NONE)
			colour_set(f, c);
		line_print(f, text, (size_t)(nl - text));
		if (c != COLOUR_NONE)
			colour_set(f, COLOUR_NONE);
		line_print(f, nl, 1);
	}
}
