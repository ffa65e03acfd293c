/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * conf_lex: the lexer that the yacc grammars of sailvold.conf(5) and
 * sailapid.conf(5) share.  In the parents.
 *
 * A file is words, numbers, "strings" with \" and \\, { } , and # comments;
 * new lines are white space.  A number may have a suffix K M G T (1024) or
 * s m h d (seconds): the grammar says which is meant.
 */
#ifndef LIB_CONF_LEX_H
#define LIB_CONF_LEX_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct conf_keyword {
	const char *word; /* table sorted by strcmp(3) */
	int token;
};

struct conf_lex {
	const char *path; /* for messages */
	char *text;       /* whole file, owned */
	size_t len, pos;
	unsigned int line; /* at pos */
	unsigned int at;   /* that errors name: of the last token, at first */
	unsigned int errors;
	const struct conf_keyword *keywords;
	size_t nkeywords;
	int tok_string, tok_number; /* the grammar's numbers */
	size_t tok;                 /* where the last token begins */
	/* its value */
	char *string; /* owned by the caller once taken */
	int64_t number;
	char unit; /* 0 K M G T s m h d */
};

/*
 * Reads path (a regular file of at most 1 MiB; with secret set it must belong
 * to root or the caller and be closed to group and others).  A word that is no
 * keyword is a string.  0, or -1 after a message.
 */
int conf_lex_open(struct conf_lex *, const char *path, int secret,
    const struct conf_keyword *, size_t nkeywords, int tok_string,
    int tok_number);
void conf_lex_close(struct conf_lex *);
/* The next token: a keyword's, tok_string, tok_number, a character, 0 end. */
int conf_lex_next(struct conf_lex *);
/*
 * "path:line: message" to the log; counts.  The line is that in at: a grammar,
 * which has often read one token more, sets it to that of what it means.
 */
void conf_lex_error(struct conf_lex *, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* The last token is not expected here; but: what is, or an empty string. */
void conf_lex_unexpected(struct conf_lex *, const char *but);
/* Writes s as a "string" that the lexer reads back equal. */
void conf_print_string(FILE *, const char *s);

#endif
