/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * conf_lex: reads a configuration file whole and cuts it into the tokens of
 * sailvold.conf(5) and sailapid.conf(5).  In the parents.
 */
#include <sys/stat.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/conf_lex.h"
#include "lib/log.h"

#define CONF_MAX_BYTES (1024 * 1024)
#define TOKEN_SHOWN 64

void
conf_lex_error(struct conf_lex *l, const char *fmt, ...)
{
	char msg[512];
	va_list ap;

	va_start(ap, fmt);
	if (vsnprintf(msg, sizeof(msg), fmt, ap) < 0)
		strlcpy(msg, fmt, sizeof(msg));
	va_end(ap);
	l->errors++;
	log_warnx("%s:%u: %s", l->path, l->at, msg);
}

void
conf_lex_unexpected(struct conf_lex *l, const char *but)
{
	const char *and = *but != '\0' ? ", but " : "";
	size_t n = strcspn(l->text + l->tok, "\r\n");

	if (n > l->pos - l->tok)
		n = l->pos - l->tok;
	if (n > TOKEN_SHOWN)
		n = TOKEN_SHOWN;
	if (n == 0)
		conf_lex_error(l,
		    "syntax error: the end of the file is not expected%s%s",
		    and, but);
	else
		conf_lex_error(l, "syntax error: %.*s is not expected%s%s",
		    (int)n, l->text + l->tok, and, but);
}

/* The rules for files that hold keys are those of sailvold.conf(5). */
static int
conf_check(const char *path, int fd, int secret)
{
	struct stat st;

	if (fstat(fd, &st) == -1) {
		log_warn("%s", path);
		return -1;
	}
	if (!S_ISREG(st.st_mode)) {
		log_warnx("%s: not a regular file", path);
		return -1;
	}
	if (secret && st.st_uid != 0 && st.st_uid != geteuid()) {
		log_warnx("%s: owner is neither root nor the caller", path);
		return -1;
	}
	if (secret && (st.st_mode & (S_IRWXG | S_IRWXO)) != 0) {
		log_warnx("%s: open to group or others", path);
		return -1;
	}
	if (st.st_size > CONF_MAX_BYTES) {
		log_warnx("%s: larger than %d bytes", path, CONF_MAX_BYTES);
		return -1;
	}
	return 0;
}

/* One byte more than allowed is room to see that the file has grown. */
static char *
conf_read(const char *path, int fd, size_t *len)
{
	char *text;
	size_t used = 0;
	ssize_t n;

	if ((text = malloc(CONF_MAX_BYTES + 1)) == NULL) {
		log_warn("%s", path);
		return NULL;
	}
	while (used <= CONF_MAX_BYTES) {
		n = read(fd, text + used, CONF_MAX_BYTES + 1 - used);
		if (n == -1 && errno == EINTR)
			continue;
		if (n == -1) {
			log_warn("%s", path);
			goto fail;
		}
		if (n == 0)
			break;
		used += (size_t)n;
	}
	if (used > CONF_MAX_BYTES) {
		log_warnx("%s: larger than %d bytes", path, CONF_MAX_BYTES);
		goto fail;
	}
	text[used] = '\0';
	*len = used;
	return text;

fail:
	free(text);
	return NULL;
}

int
conf_lex_open(struct conf_lex *l, const char *path, int secret,
    const struct conf_keyword *keywords, size_t nkeywords, int tok_string,
    int tok_number)
{
	const char *nul, *p;
	int fd;

	memset(l, 0, sizeof(*l));
	l->path = path;
	l->line = l->at = 1;
	l->keywords = keywords;
	l->nkeywords = nkeywords;
	l->tok_string = tok_string;
	l->tok_number = tok_number;

	/* A fifo in its place must not hang the daemon. */
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd == -1) {
		log_warn("%s", path);
		return -1;
	}
	if (conf_check(path, fd, secret) == 0)
		l->text = conf_read(path, fd, &l->len);
	close(fd);
	if (l->text == NULL)
		return -1;
	if ((nul = memchr(l->text, '\0', l->len)) != NULL) {
		for (p = l->text; p < nul; p++)
			if (*p == '\n')
				l->at++;
		conf_lex_error(l, "NUL byte");
		conf_lex_close(l);
		return -1;
	}
	return 0;
}

void
conf_lex_close(struct conf_lex *l)
{
	if (l->text != NULL)
		explicit_bzero(l->text, l->len);
	free(l->text);
	free(l->string);
	l->text = l->string = NULL;
	l->len = l->pos = 0;
}

static int
is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static int
is_word(char c)
{
	return (unsigned char)c > ' ' && c != 0x7f &&
	    strchr("{},\"#", c) == NULL;
}

/* White space and comments. */
static void
skip(struct conf_lex *l)
{
	while (l->pos < l->len) {
		char c = l->text[l->pos];

		if (c == '#') {
			while (l->pos < l->len && l->text[l->pos] != '\n')
				l->pos++;
			continue;
		}
		if (!is_space(c))
			return;
		if (c == '\n')
			l->line++;
		l->pos++;
	}
}

/* From behind the opening quote.  A new line is a character like others. */
static int
lex_string(struct conf_lex *l)
{
	size_t start = l->pos, n = 0;
	char c;

	/* No string is longer than what is left of the file. */
	if ((l->string = malloc(l->len - start + 1)) == NULL)
		fatal("%s", l->path);
	while (l->pos < l->len) {
		c = l->text[l->pos++];
		if (c == '"') {
			l->string[n] = '\0';
			return l->tok_string;
		}
		if (c == '\n')
			l->line++;
		if (c == '\\') {
			if (l->pos == l->len)
				break;
			c = l->text[l->pos++];
			if (c != '"' && c != '\\') {
				l->at = l->line;
				conf_lex_error(l,
				    "unknown escape in string: \\%c", c);
			}
		}
		l->string[n++] = c;
	}
	conf_lex_error(l, "string is not closed");
	free(l->string);
	l->string = NULL;
	return 0;
}

static int64_t
unit_factor(char unit)
{
	switch (unit) {
	case '\0':
	case 's':
		return 1;
	case 'm':
		return 60;
	case 'h':
		return 60 * 60;
	case 'd':
		return 24 * 60 * 60;
	case 'K':
		return 1LL << 10;
	case 'M':
		return 1LL << 20;
	case 'G':
		return 1LL << 30;
	case 'T':
		return 1LL << 40;
	}
	return 0;
}

/* 1 when the word is a number: digits and perhaps a unit. */
static int
lex_number(struct conf_lex *l, const char *word, size_t len)
{
	int64_t v = 0, factor = 1;
	int overflow = 0;
	size_t i;

	for (i = 0; i < len && word[i] >= '0' && word[i] <= '9'; i++)
		if (__builtin_mul_overflow(v, 10, &v) ||
		    __builtin_add_overflow(v, word[i] - '0', &v))
			overflow = 1;
	if (i == 0 || i + 1 < len)
		return 0;
	l->unit = '\0';
	if (i < len) {
		if ((factor = unit_factor(word[i])) == 0)
			return 0;
		l->unit = word[i];
	}
	if (overflow || __builtin_mul_overflow(v, factor, &v)) {
		conf_lex_error(l, "number is too large: %.*s", (int)len, word);
		v = 0;
	}
	l->number = v;
	return 1;
}

static int
keyword_cmp(const void *key, const void *member)
{
	const struct conf_keyword *k = member;

	return strcmp(key, k->word);
}

static int
lex_word(struct conf_lex *l)
{
	const struct conf_keyword *k;
	const char *word = l->text + l->pos;
	size_t n = 0;

	while (l->pos < l->len && is_word(l->text[l->pos])) {
		l->pos++;
		n++;
	}
	if (lex_number(l, word, n))
		return l->tok_number;
	if ((l->string = strndup(word, n)) == NULL)
		fatal("%s", l->path);
	k = bsearch(l->string, l->keywords, l->nkeywords, sizeof(*l->keywords),
	    keyword_cmp);
	if (k == NULL)
		return l->tok_string;
	free(l->string);
	l->string = NULL;
	return k->token;
}

int
conf_lex_next(struct conf_lex *l)
{
	char c;

	free(l->string);
	l->string = NULL;
	l->number = 0;
	l->unit = '\0';
	for (;;) {
		skip(l);
		l->at = l->line;
		l->tok = l->pos;
		if (l->pos == l->len)
			return 0;
		c = l->text[l->pos];
		if (is_word(c))
			return lex_word(l);
		l->pos++;
		if (c == '"')
			return lex_string(l);
		if (c == '{' || c == '}' || c == ',')
			return c;
		conf_lex_error(l, "control character 0x%02x",
		    (unsigned int)(unsigned char)c);
	}
}

void
conf_print_string(FILE *f, const char *s)
{
	putc('"', f);
	for (; *s != '\0'; s++) {
		if (*s == '"' || *s == '\\')
			putc('\\', f);
		putc(*s, f);
	}
	putc('"', f);
}
