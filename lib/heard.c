/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * heard: lines by their hash.
 */
#include <string.h>

#include "lib/heard.h"

/* FNV-1a: two lines that are alike to it cost a line of the log. */
static uint64_t
sum(const char *line)
{
	uint64_t h = 14695981039346656037ULL;

	for (; *line != '\0'; line++)
		if (*line < '0' || *line > '9')
			h = (h ^ (uint8_t)*line) * 1099511628211ULL;
	return h;
}

static int
is_in(const uint64_t *lines, unsigned int n, uint64_t h)
{
	while (n > 0)
		if (lines[--n] == h)
			return 1;
	return 0;
}

int
heard_line(struct heard *s, const char *line)
{
	uint64_t h = sum(line);

	if (is_in(s->lines, s->n, h))
		return 1;
	if (s->n < HEARD_MAX)
		s->lines[s->n++] = h;
	return is_in(s->before, s->nbefore, h);
}

void
heard_next(struct heard *s)
{
	memcpy(s->before, s->lines, sizeof(s->before));
	s->nbefore = s->n;
	s->n = 0;
}
