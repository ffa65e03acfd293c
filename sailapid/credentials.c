/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * credentials: the keys of an S3 store, of a file or of the environment, under
 * the names that its users know.  In the parent.
 */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "lib/log.h"
#include "sailapid/credentials.h"
#include "sailapid/privileged.h"

#define BLANK " \t\r"

static const struct {
	const char *file, *environment;
	size_t offset, size;
} names[] = {
#define FIELD(f) \
	offsetof(struct store_keys, f), sizeof(((struct store_keys *)NULL)->f)
	{ "aws_access_key_id", "AWS_ACCESS_KEY_ID", FIELD(access_key) },
	{ "aws_secret_access_key", "AWS_SECRET_ACCESS_KEY", FIELD(secret) },
	{ "aws_session_token", "AWS_SESSION_TOKEN", FIELD(token) },
#undef FIELD
};
#define NNAMES (sizeof(names) / sizeof(names[0]))

/* A value has neither blanks nor what is not ASCII in it. */
static const char *
set(struct store_keys *k, size_t i, const char *value, size_t len)
{
	char *to = (char *)k + names[i].offset;
	size_t j;

	/* An empty token is none. */
	if (len == 0 && to != k->token)
		return "a value is empty";
	if (len >= names[i].size)
		return "a value is too long";
	for (j = 0; j < len; j++)
		if (value[j] <= ' ' || value[j] > '~')
			return "a value has a character that none can have";
	memcpy(to, value, len);
	to[len] = '\0';
	return NULL;
}

static const char *
whole(const struct store_keys *k)
{
	if (*k->access_key == '\0')
		return "no access key";
	return *k->secret == '\0' ? "no secret access key" : NULL;
}

static int
is_name(const char *s, size_t len, const char *name)
{
	return len == strlen(name) && strncasecmp(s, name, len) == 0;
}

static void
trim(const char **s, size_t *len)
{
	while (*len > 0 && strchr(BLANK, **s) != NULL) {
		(*s)++;
		(*len)--;
	}
	while (*len > 0 && strchr(BLANK, (*s)[*len - 1]) != NULL)
		(*len)--;
}

/* name = value; what we do not know is another program's. */
static const char *
assignment(struct store_keys *k, const char *s, size_t len)
{
	const char *eq = memchr(s, '=', len), *value;
	size_t i, name_len, value_len;

	if (eq == NULL)
		return "a line is neither [section] nor name = value";
	name_len = (size_t)(eq - s);
	value = eq + 1;
	value_len = len - name_len - 1;
	trim(&s, &name_len);
	trim(&value, &value_len);
	for (i = 0; i < NNAMES; i++)
		if (is_name(s, name_len, names[i].file))
			return set(k, i, value, value_len);
	return NULL;
}

const char *
credentials_parse(const char *text, struct store_keys *k)
{
	const char *line, *why = NULL;
	int ours = 1;
	size_t len, all;

	memset(k, 0, sizeof(*k));
	for (; *text != '\0' && why == NULL; text += all) {
		line = text;
		len = strcspn(text, "\n");
		all = len + (text[len] == '\n');
		trim(&line, &len);
		if (len == 0 || *line == '#' || *line == ';')
			continue;
		if (*line == '[')
			ours = is_name(line, len, "[default]");
		else if (ours)
			why = assignment(k, line, len);
	}
	if (why == NULL)
		why = whole(k);
	if (why != NULL)
		explicit_bzero(k, sizeof(*k));
	return why;
}

static int
from_environment(struct store_keys *k)
{
	const char *value, *why = NULL;
	size_t i;

	memset(k, 0, sizeof(*k));
	for (i = 0; i < NNAMES && why == NULL; i++)
		if ((value = getenv(names[i].environment)) != NULL)
			why = set(k, i, value, strlen(value));
	if (why == NULL && (why = whole(k)) == NULL)
		return 0;
	log_warnx("keys of the store: environment: %s; set %s and %s, or name "
		  "a file in the configuration: credentials file \"/path\"",
	    why, names[0].environment, names[1].environment);
	return -1;
}

int
credentials_read(const char *path, struct store_keys *k)
{
	char text[CREDENTIALS_FILE_MAX + 1];
	const char *why;
	int ret = -1;

	if (path == NULL)
		return from_environment(k);
	if (privileged_read_closed(path, text, sizeof(text)) == -1)
		return -1;
	if ((why = credentials_parse(text, k)) != NULL)
		log_warnx("%s: %s", path, why);
	else
		ret = 0;
	explicit_bzero(text, sizeof(text));
	return ret;
}

void
credentials_clear_environment(void)
{
	char *value;
	size_t i;

	for (i = 0; i < NNAMES; i++) {
		/* The kernel shows what is there, set or not. */
		if ((value = getenv(names[i].environment)) != NULL)
			explicit_bzero(value, strlen(value));
		(void)unsetenv(names[i].environment);
	}
}
