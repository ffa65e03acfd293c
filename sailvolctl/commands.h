/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * commands: what sailvolctl(8) can be told: the table of its commands, and an
 * invocation as it was typed.  In sailvolctl.
 */
#ifndef SAILVOLCTL_COMMANDS_H
#define SAILVOLCTL_COMMANDS_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* Exit statuses. */
#define EXIT_DONE 0
#define EXIT_FAILED 1
#define EXIT_USAGE 2
#define EXIT_REFUSED 3

#define OPERANDS_MAX 66 /* key create: role, name, volumes */

enum option_id {
	OPT_JSON = 0,
	OPT_SOCKET,
	OPT_URL,
	OPT_KEYFILE,
	OPT_AT,       /* mount -c */
	OPT_READONLY, /* mount -r; rm -r */
	OPT_CREATE,
	OPT_UIDS,
	OPT_COMMIT, /* umount --commit */
	OPT_FORCE,
	OPT_MESSAGE,
	OPT_IF_UNCHANGED,
	OPT_KEEP,
	OPT_IF_CLEAN,
	OPT_LIMIT,
	OPT_MINT,
	OPT_PATCH,
	OPT_DELETED,
	OPT_LONG,
	OPT_RECURSIVE, /* ls -R */
	OPT_ONE,       /* a line: ls -1 */
	OPT_EXPIRES,
	OPT_COUNT
};
#define OPT_BIT(o) (1u << (o))

struct option_def {
	char letter;      /* 0: none */
	const char *name; /* without --; NULL: none */
	const char *arg;  /* name of its argument; NULL: it has none */
};
extern const struct option_def option_defs[OPT_COUNT];

struct invocation;

struct command {
	const char *words[2]; /* "volume", "create"; the second may be NULL */
	const char *options;  /* as usage() shows them */
	const char *operands; /* likewise */
	uint32_t allowed;     /* OPT_BIT, besides -j and -s */
	uint32_t exclusive;   /* at most one of these */
	int min, max;         /* operands */
	/* An exit status; what is to be said was said. */
	int (*run)(const struct invocation *);
	/* Shows the result on standard output, without -j. */
	void (*text)(const json_t *result);
	uint32_t text_with; /* OPT_BIT: only when that is given */
};
extern const struct command commands[];
extern const size_t ncommands;

struct output;
struct invocation {
	const struct command *command;
	const struct output *out;
	const char *opt[OPT_COUNT]; /* NULL: not there; "" without argument */
	const char *operand[OPERANDS_MAX];
	int noperands;
};

/*
 * Reads the arguments: options before or after the command and its operands,
 * `--' ends them.  0, or -1 after a message in why.
 */
int invocation_parse(struct invocation *, int argc, char **argv, char *why,
    size_t size);
/* One line a command, each beginning with "sailvolctl", as in SYNOPSIS. */
void usage_print(FILE *);
/* Of the commands that begin with these words (second may be NULL); how many. */
int usage_of(FILE *, const char *first, const char *second);

#endif
