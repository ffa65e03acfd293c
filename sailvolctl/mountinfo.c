/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * mountinfo: reads /proc/self/mountinfo.  In sailvolctl.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sailvolctl/mountinfo.h"

/* Octal of blanks and the like, in place. */
static void
unescape(char *s)
{
	char *o = s;

	for (; *s != '\0'; s++) {
		if (s[0] == '\\' && s[1] >= '0' && s[1] <= '3' && s[2] >= '0' &&
		    s[2] <= '7' && s[3] >= '0' && s[3] <= '7') {
			*o++ = (char)((s[1] - '0') << 6 | (s[2] - '0') << 3 |
			    (s[3] - '0'));
			s += 3;
		} else
			*o++ = *s;
	}
	*o = '\0';
}

static char *
word(char **p)
{
	char *w = strsep(p, " \n");
	char *copy = w != NULL ? strdup(w) : NULL;

	if (copy != NULL)
		unescape(copy);
	return copy;
}

int
mountinfo_parse(const char *line, struct mountinfo *mi)
{
	char *copy, *p, *w, *end;
	int i, saved;

	memset(mi, 0, sizeof(*mi));
	if ((copy = p = strdup(line)) == NULL)
		return -1;
	errno = EBADMSG;
	w = strsep(&p, " ");
	mi->id = strtoull(w, &end, 10);
	if (*w < '0' || *w > '9' || *end != '\0')
		goto fail;
	/* parent, major:minor */
	for (i = 0; i < 2; i++)
		strsep(&p, " ");
	if ((mi->root = word(&p)) == NULL || (mi->point = word(&p)) == NULL)
		goto fail;
	do
		w = strsep(&p, " ");
	while (w != NULL && strcmp(w, "-") != 0);
	if (w == NULL || (mi->type = word(&p)) == NULL ||
	    (mi->source = word(&p)) == NULL)
		goto fail;
	free(copy);
	return 0;

fail:
	saved = errno;
	free(copy);
	mountinfo_free(mi);
	errno = saved;
	return -1;
}

void
mountinfo_free(struct mountinfo *mi)
{
	free(mi->root);
	free(mi->point);
	free(mi->type);
	free(mi->source);
	memset(mi, 0, sizeof(*mi));
}

/* Stops with the first for which f is 1; that one is in *mi. */
static int
search(int (*f)(const struct mountinfo *, void *), void *arg,
    struct mountinfo *mi)
{
	FILE *list = fopen("/proc/self/mountinfo", "re");
	char *line = NULL;
	size_t size = 0;
	int found = 0;

	if (list == NULL)
		return -1;
	while (!found && getline(&line, &size, list) != -1) {
		if (mountinfo_parse(line, mi) == -1)
			continue;
		if (!(found = f(mi, arg)))
			mountinfo_free(mi);
	}
	free(line);
	fclose(list);
	return found;
}

static int
has_id(const struct mountinfo *mi, void *arg)
{
	return mi->id == *(const uint64_t *)arg;
}

int
mountinfo_by_id(uint64_t id, struct mountinfo *mi)
{
	return search(has_id, &id, mi);
}

struct longest {
	const char *path;
	char *point;
	size_t len;
};

static int
try_longest(const struct mountinfo *mi, void *arg)
{
	struct longest *l = arg;
	size_t n = strlen(mi->point);
	char *copy;

	if (strcmp(mi->type, MOUNTINFO_TYPE) != 0 || n < l->len ||
	    strncmp(l->path, mi->point, n) != 0 ||
	    (l->path[n] != '/' && l->path[n] != '\0' && n != 1) ||
	    (copy = strdup(mi->point)) == NULL)
		return 0;
	free(l->point);
	l->point = copy;
	l->len = n;
	return 0;
}

int
mountinfo_longest(const char *path, char **point)
{
	struct longest l = { .path = path };
	struct mountinfo mi;

	if (search(try_longest, &l, &mi) == -1)
		return -1;
	*point = l.point;
	return l.point != NULL;
}
