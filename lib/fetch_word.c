/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * fetch_word: what of a store's error may go into messages and logs.  In
 * sailvol-fetch, and in who asks it.
 */
#include <ctype.h>

#include "lib/fetch_imsg.h"

int
fetch_code_ok(const char *s, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++)
		if (!isalnum((unsigned char)s[i]))
			return 0;
	return len <= FETCH_CODE_MAX;
}

int
fetch_elsewhere_ok(const char *s, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++)
		if (!isalnum((unsigned char)s[i]) && s[i] != '-' && s[i] != '.')
			return 0;
	return len <= FETCH_ELSEWHERE_MAX;
}

/* Words for a log and for people far away. */
void
fetch_printable(char *to, const char *s, size_t len)
{
	size_t i;

	if (len > FETCH_SAID_MAX)
		len = FETCH_SAID_MAX;
	for (i = 0; i < len; i++)
		to[i] = s[i] >= ' ' && s[i] <= '~' ? s[i] : '?';
	to[len] = '\0';
}
