/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * conf: a configuration, of sailvold or sailapid: what is taken is printed in a
 * form that is taken again, and printed the same.  Its struct config comes from
 * the file that includes this.
 */
#ifndef REGRESS_FUZZ_CONF_H
#define REGRESS_FUZZ_CONF_H

#include "lib/memfd.h"
#include "regress/fuzz/fuzz.h"

/* A memfd is a file. */
static struct config *
parse(const void *p, size_t len)
{
	struct config *c;
	char path[64];
	int fd = memfd_new("conf", p, len);

	if (fd == -1)
		abort();
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	c = config_parse(path);
	close(fd);
	return c;
}

static char *
print(const struct config *c, size_t *len)
{
	char *text = NULL;
	FILE *f = open_memstream(&text, len);

	if (f == NULL)
		abort();
	config_print(c, f);
	if (fclose(f) != 0)
		abort();
	return text;
}

static void
fuzz_one(const uint8_t *p, size_t len)
{
	struct config *c, *again;
	char *text, *text_again;
	size_t n, m;

	if ((c = parse(p, len)) == NULL)
		return;
	text = print(c, &n);
	again = parse(text, n);
	fuzz_check(again != NULL);
	text_again = print(again, &m);
	fuzz_check(n == m && memcmp(text, text_again, n) == 0);
	free(text);
	free(text_again);
	config_free(c);
	config_free(again);
}

#endif
