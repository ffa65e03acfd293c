/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * etag: which objects the last ETags were said of.  In sailvol-fetch.
 */
#include <string.h>

#include "sailvol-fetch/etag.h"

/* More than come on all connections between an answer and its second. */
#define LAST 1024

static struct {
	struct hash object;
	char etag[ETAG_MAX];
} last[LAST];
static unsigned int next;

int
etag_is_other(const char *etag, const struct hash *object)
{
	unsigned int i;

	for (i = 0; i < LAST; i++)
		if (strcmp(last[i].etag, etag) == 0 &&
		    hash_cmp(&last[i].object, object) != 0)
			return 1;
	return 0;
}

void
etag_note(const char *etag, const struct hash *object)
{
	last[next].object = *object;
	strlcpy(last[next].etag, etag, sizeof(last[next].etag));
	next = (next + 1) % LAST;
}
