/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * put_session: a file in the user's folder of state for each put that has not
 * ended, named by what it puts where.  In sailvolctl.
 */
#include <sys/file.h>
#include <sys/stat.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/hash.h"
#include "sailvolctl/put_session.h"

#define KEY_LEN 32

/* Its folders are made; -1: there is no place. */
static int
state_path(struct put_session *s, const char *name)
{
	const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
	char *p;
	int n;

	if (state != NULL && *state == '/')
		n = snprintf(s->path, sizeof(s->path), "%s/sailvolctl/%s",
		    state, name);
	else if (home != NULL && *home == '/')
		n = snprintf(s->path, sizeof(s->path),
		    "%s/.local/state/sailvolctl/%s", home, name);
	else
		return -1;
	if (n < 0 || (size_t)n >= sizeof(s->path))
		return -1;
	for (p = strchr(s->path + 1, '/'); p != NULL; p = strchr(p + 1, '/')) {
		*p = '\0';
		(void)mkdir(s->path, 0700);
		*p = '/';
	}
	return 0;
}

static void
add_word(struct hash_ctx *c, const char *word)
{
	/* None is not the empty one. */
	if (word != NULL)
		hash_update(c, word, strlen(word) + 1);
	else
		hash_update(c, "\1", 2);
}

/* The same for the same put, with the same words of its commit. */
static int
state_name(const struct publish *p, const char *from, const char *to, char *out)
{
	char *real = strcmp(from, "-") != 0 ? realpath(from, NULL) : NULL;
	char hex[HASH_HEX_LEN + 1];
	struct hash_ctx *c;
	struct hash h;

	if ((c = hash_begin()) == NULL) {
		free(real);
		return -1;
	}
	add_word(c, p->volume);
	add_word(c, real != NULL ? real : from);
	add_word(c, to);
	add_word(c, p->inv->opt[OPT_MESSAGE]);
	add_word(c, p->inv->opt[OPT_IF_UNCHANGED]);
	hash_end(c, &h);
	hash_hex(&h, hex);
	snprintf(out, KEY_LEN + 5, "put-%.32s", hex);
	free(real);
	return 0;
}

void
put_session_find(struct put_session *s, struct publish *p, const char *from,
    const char *to)
{
	char name[KEY_LEN + 5], key[KEY_LEN + 1] = "";
	struct stat a, b;

	publish_new_session(p);
	if (state_name(p, from, to, name) == -1 || state_path(s, name) == -1)
		return;
	s->fd = open(s->path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (s->fd == -1)
		return;
	/* Another such put runs, or has just ended. */
	if (flock(s->fd, LOCK_EX | LOCK_NB) == -1 || fstat(s->fd, &a) == -1 ||
	    lstat(s->path, &b) == -1 || a.st_ino != b.st_ino ||
	    a.st_dev != b.st_dev || a.st_uid != geteuid()) {
		put_session_close(s);
		return;
	}
	if (pread(s->fd, key, KEY_LEN, 0) == KEY_LEN &&
	    strspn(key, "0123456789abcdef") == KEY_LEN)
		memcpy(p->session, key, sizeof(key));
	else
		put_session_renew(s, p);
}

void
put_session_renew(struct put_session *s, struct publish *p)
{
	publish_new_session(p);
	if (s->fd != -1 &&
	    pwrite(s->fd, p->session, KEY_LEN, 0) != (ssize_t)KEY_LEN)
		(void)unlink(s->path);
}

void
put_session_end(struct put_session *s)
{
	if (s->fd != -1)
		(void)unlink(s->path);
}

void
put_session_close(struct put_session *s)
{
	if (s->fd != -1)
		close(s->fd);
	s->fd = -1;
}
