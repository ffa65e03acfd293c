/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * commands: the table of commands, and the reading of arguments by it.  In
 * sailvolctl.
 */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "sailvolctl/commands.h"
#include "sailvolctl/complete.h"
#include "sailvolctl/output.h"
#include "sailvolctl/requests.h"

#define NAMED 256 /* getopt_long(3)'s values of options without a letter */

const struct option_def option_defs[OPT_COUNT] = {
	[OPT_JSON] = { 'j', NULL, NULL },
	[OPT_SOCKET] = { 's', NULL, "socket" },
	[OPT_URL] = { 'u', NULL, "url" },
	[OPT_KEYFILE] = { 'k', NULL, "keyfile" },
	[OPT_AT] = { 'c', NULL, "commit" },
	[OPT_READONLY] = { 'r', NULL, NULL },
	[OPT_CREATE] = { 0, "create", NULL },
	[OPT_UIDS] = { 0, "uids", "base:count" },
	[OPT_COMMIT] = { 0, "commit", NULL },
	[OPT_FORCE] = { 0, "force", NULL },
	[OPT_MESSAGE] = { 'm', NULL, "message" },
	[OPT_IF_UNCHANGED] = { 0, "if-unchanged", NULL },
	[OPT_KEEP] = { 0, "keep", NULL },
	[OPT_IF_CLEAN] = { 0, "if-clean", NULL },
	[OPT_LIMIT] = { 'n', NULL, "number" },
	[OPT_MINT] = { 0, "mint-if-missing", NULL },
	[OPT_PATCH] = { 'p', NULL, NULL },
	[OPT_DELETED] = { 0, "deleted", NULL },
	[OPT_LONG] = { 'l', NULL, NULL },
	[OPT_RECURSIVE] = { 'R', NULL, NULL },
	[OPT_ONE] = { '1', NULL, NULL },
	[OPT_EXPIRES] = { 0, "expires", "life" },
};

#define API_BITS (OPT_BIT(OPT_URL) | OPT_BIT(OPT_KEYFILE))
#define API_TEXT "[-u url -k keyfile]"

const struct command commands[] = {
	{ { "mount", NULL }, "[-r] [-c commit | --create] [--uids base:count]",
	    "volume[:/subpath] path",
	    OPT_BIT(OPT_READONLY) | OPT_BIT(OPT_AT) | OPT_BIT(OPT_CREATE) |
		OPT_BIT(OPT_UIDS),
	    OPT_BIT(OPT_AT) | OPT_BIT(OPT_CREATE), 2, 2, run_mount, text_mount,
	    0 },
	{ { "umount", NULL }, "[--commit | --force]", "path",
	    OPT_BIT(OPT_COMMIT) | OPT_BIT(OPT_FORCE),
	    OPT_BIT(OPT_COMMIT) | OPT_BIT(OPT_FORCE), 1, 1, run_umount,
	    text_umount, OPT_BIT(OPT_COMMIT) },
	{ { "commit", NULL }, "[-m message] [--if-unchanged]", "path",
	    OPT_BIT(OPT_MESSAGE) | OPT_BIT(OPT_IF_UNCHANGED), 0, 1, 1,
	    run_commit, text_commit, 0 },
	{ { "reload", NULL }, "[--keep | --if-clean]", "path",
	    OPT_BIT(OPT_KEEP) | OPT_BIT(OPT_IF_CLEAN),
	    OPT_BIT(OPT_KEEP) | OPT_BIT(OPT_IF_CLEAN), 1, 1, run_reload,
	    text_reload, 0 },
	{ { "restart", NULL }, "", "", 0, 0, 0, 0, run_restart, text_nothing,
	    0 },
	{ { "status", NULL }, "", "[path]", 0, 0, 0, 1, run_status, text_status,
	    0 },
	{ { "log", NULL }, "[-n number] " API_TEXT, "volume | path",
	    OPT_BIT(OPT_LIMIT) | API_BITS, 0, 1, 1, run_log, text_log, 0 },
	{ { "diff", NULL }, "[-p] " API_TEXT, "[path | volume commit commit]",
	    OPT_BIT(OPT_PATCH) | API_BITS, 0, 0, 3, run_diff, text_nothing, 0 },
	{ { "show", NULL }, "[-p] " API_TEXT, "volume [commit]",
	    OPT_BIT(OPT_PATCH) | API_BITS, 0, 1, 2, run_show, text_nothing, 0 },
	{ { "restore", NULL }, "[--force] " API_TEXT, "path file@commit",
	    OPT_BIT(OPT_FORCE) | API_BITS, 0, 2, 2, run_restore, text_nothing,
	    0 },
	{ { "ls", NULL }, "[-1] [-l] [-R] " API_TEXT, "volume[@commit]:path",
	    OPT_BIT(OPT_ONE) | OPT_BIT(OPT_LONG) | OPT_BIT(OPT_RECURSIVE) |
		API_BITS,
	    0, 1, 1, run_ls, text_nothing, 0 },
	{ { "get", NULL }, "[--force] " API_TEXT,
	    "volume[@commit]:path [target]", OPT_BIT(OPT_FORCE) | API_BITS, 0,
	    1, 2, run_get, text_nothing, 0 },
	{ { "put", NULL }, "[-m message] [--if-unchanged] " API_TEXT,
	    "source volume:path",
	    OPT_BIT(OPT_MESSAGE) | OPT_BIT(OPT_IF_UNCHANGED) | API_BITS, 0, 2,
	    2, run_put, text_commit, 0 },
	{ { "rm", NULL }, "[-r] [-m message] [--if-unchanged] " API_TEXT,
	    "volume:path",
	    OPT_BIT(OPT_READONLY) | OPT_BIT(OPT_MESSAGE) |
		OPT_BIT(OPT_IF_UNCHANGED) | API_BITS,
	    0, 1, 1, run_rm, text_commit, 0 },
	{ { "stash", "list" }, "", "[path]", 0, 0, 0, 1, run_stash_list,
	    text_stash_list, 0 },
	{ { "stash", "show" }, "", "path id", 0, 0, 2, 2, run_stash_show,
	    text_stash_show, 0 },
	{ { "stash", "restore" }, "", "path id", 0, 0, 2, 2, run_stash_restore,
	    text_stash_done, 0 },
	{ { "stash", "drop" }, "", "path id", 0, 0, 2, 2, run_stash_drop,
	    text_stash_done, 0 },
	{ { "volume", "create" }, "[--mint-if-missing] " API_TEXT, "volume",
	    OPT_BIT(OPT_MINT) | API_BITS, 0, 1, 1, run_volume_create, text_id,
	    0 },
	{ { "volume", "list" }, "[--deleted] " API_TEXT, "",
	    OPT_BIT(OPT_DELETED) | API_BITS, 0, 0, 0, run_volume_list,
	    text_volume_list, 0 },
	{ { "volume", "get" }, API_TEXT, "volume", API_BITS, 0, 1, 1,
	    run_volume_get, text_tree, 0 },
	{ { "volume", "rename" }, API_TEXT, "volume name", API_BITS, 0, 2, 2,
	    run_volume_rename, text_nothing, 0 },
	{ { "volume", "fork" }, "[-c commit] " API_TEXT, "volume name",
	    OPT_BIT(OPT_AT) | API_BITS, 0, 2, 2, run_volume_fork, text_id, 0 },
	{ { "volume", "delete" }, API_TEXT, "volume", API_BITS, 0, 1, 1,
	    run_volume_delete, text_nothing, 0 },
	{ { "volume", "restore" }, API_TEXT, "id [name]", API_BITS, 0, 1, 2,
	    run_volume_restore, text_nothing, 0 },
	{ { "key", "create" }, "[--expires life] " API_TEXT,
	    "role [name [volume[:/path] ...]]", OPT_BIT(OPT_EXPIRES) | API_BITS,
	    0, 1, OPERANDS_MAX, run_key_create, text_key, 0 },
	{ { "key", "list" }, API_TEXT, "", API_BITS, 0, 0, 0, run_key_list,
	    text_key_list, 0 },
	{ { "key", "revoke" }, API_TEXT, "id", API_BITS, 0, 1, 1,
	    run_key_revoke, text_nothing, 0 },
	{ { "completion", NULL }, "", "shell", 0, 0, 1, 1, run_completion,
	    text_nothing, 0 },
	{ { "help", NULL }, "", "[command]", 0, 0, 0, 2, run_help, text_nothing,
	    0 },
};
const size_t ncommands = sizeof(commands) / sizeof(commands[0]);

/* ---- getopt_long(3) from the table ------------------------------------------ */

static void
options_fill(char *letters, struct option *names)
{
	const struct option_def *d;
	size_t i;

	/* '-': operands come in their order, wherever the options are. */
	*letters++ = '-';
	*letters++ = ':';
	for (i = 0; i < OPT_COUNT; i++) {
		d = &option_defs[i];
		if (d->letter != 0) {
			*letters++ = d->letter;
			if (d->arg != NULL)
				*letters++ = ':';
		}
		if (d->name != NULL) {
			names->name = d->name;
			names->has_arg =
			    d->arg != NULL ? required_argument : no_argument;
			names->flag = NULL;
			names->val = NAMED + (int)i;
			names++;
		}
	}
	*letters = '\0';
	memset(names, 0, sizeof(*names));
}

static int
option_of(int ch)
{
	int i;

	if (ch >= NAMED && ch < NAMED + OPT_COUNT)
		return ch - NAMED;
	for (i = 0; i < OPT_COUNT; i++)
		if (option_defs[i].letter != 0 && option_defs[i].letter == ch)
			return i;
	return -1;
}

static void
option_text(int o, char *out, size_t size)
{
	const struct option_def *d = &option_defs[o];

	if (d->letter != 0)
		snprintf(out, size, "-%c", d->letter);
	else
		snprintf(out, size, "--%s", d->name);
}

/* ---- an invocation ---------------------------------------------------------- */

struct words {
	const char *word[OPERANDS_MAX + 2];
	int n;
};

static int
word_add(struct words *w, const char *s, char *why, size_t size)
{
	if (w->n == (int)(sizeof(w->word) / sizeof(w->word[0]))) {
		snprintf(why, size, "too many operands: %s", s);
		return -1;
	}
	w->word[w->n++] = s;
	return 0;
}

static int
option_add(struct invocation *inv, int ch, char *why, size_t size)
{
	char text[32];
	int o = option_of(ch);

	option_text(o, text, sizeof(text));
	if (inv->opt[o] != NULL && o != OPT_JSON) {
		snprintf(why, size, "%s is there twice", text);
		return -1;
	}
	inv->opt[o] = option_defs[o].arg != NULL ? optarg : "";
	return 0;
}

/* A letter, perhaps one of several in a word; else the word. */
static void
option_bad(int ch, const char *word, char *why, size_t size)
{
	char letter[3] = { '-', (char)optopt, '\0' };
	const char *near = NULL;

	if (ch != ':' && strncmp(word, "--", 2) == 0)
		near = option_nearest(word);
	snprintf(why, size,
	    ch == ':'          ? "%s needs an argument"
		: near != NULL ? "unknown option: %s: was %s meant?"
			       : "unknown option: %s",
	    optopt > 0 && optopt < NAMED ? letter : word, near);
}

static int
read_all(struct invocation *inv, struct words *w, int argc, char **argv,
    char *why, size_t size)
{
	struct option names[OPT_COUNT + 1];
	char letters[3 * OPT_COUNT + 3];
	int ch, rc = 0;

	options_fill(letters, names);
	optind = 0; /* from the beginning: this may be called again */
	while ((ch = getopt_long(argc, argv, letters, names, NULL)) != -1) {
		if (rc == -1) { /* only whether there is a -j, too */
			if (ch == option_defs[OPT_JSON].letter)
				inv->opt[OPT_JSON] = "";
		} else if (ch == ':' || ch == '?') {
			option_bad(ch, argv[optind - 1], why, size);
			rc = -1;
		} else
			rc = ch == 1 ? word_add(w, optarg, why, size)
				     : option_add(inv, ch, why, size);
	}
	while (rc == 0 && optind < argc)
		rc = word_add(w, argv[optind++], why, size);
	return rc;
}

/* How many words name it. */
static int
command_words(const struct command *c)
{
	return c->words[1] != NULL ? 2 : 1;
}

/* Says what could have been meant. */
static void
command_unknown(const struct words *w, int known, char *why, size_t size)
{
	const char *second = w->n > 1 ? w->word[1] : NULL;
	const char *near = command_nearest(w->word[0], second);
	const char *blank = known && second != NULL ? " " : "";

	if (!known || second == NULL)
		second = "";
	if (known && *second == '\0')
		snprintf(why, size, "%s: what of it? See sailvolctl help %s",
		    w->word[0], w->word[0]);
	else if (near != NULL)
		snprintf(why, size,
		    "unknown command: %s%s%s: was sailvolctl %s meant?",
		    w->word[0], blank, second, near);
	else
		snprintf(why, size,
		    "unknown command: %s%s%s: see sailvolctl help", w->word[0],
		    blank, second);
}

static const struct command *
command_find(const struct words *w, char *why, size_t size)
{
	const struct command *c;
	int known = 0;
	size_t i;

	if (w->n == 0) {
		snprintf(why, size, "a command is needed");
		return NULL;
	}
	for (i = 0; i < ncommands; i++) {
		c = &commands[i];
		if (strcmp(c->words[0], w->word[0]) != 0)
			continue;
		if (c->words[1] == NULL ||
		    (w->n > 1 && strcmp(c->words[1], w->word[1]) == 0))
			return c;
		known = 1;
	}
	command_unknown(w, known, why, size);
	return NULL;
}

static int
options_check(const struct invocation *inv, char *why, size_t size)
{
	uint32_t allowed =
	    inv->command->allowed | OPT_BIT(OPT_JSON) | OPT_BIT(OPT_SOCKET);
	char text[32], first[32] = "";
	int o;

	for (o = 0; o < OPT_COUNT; o++) {
		if (inv->opt[o] == NULL)
			continue;
		option_text(o, text, sizeof(text));
		if ((allowed & OPT_BIT(o)) == 0) {
			snprintf(why, size, "%s has no option %s",
			    inv->command->words[0], text);
			return -1;
		}
		if ((inv->command->exclusive & OPT_BIT(o)) == 0)
			continue;
		if (*first != '\0') {
			snprintf(why, size, "%s and %s exclude each other",
			    first, text);
			return -1;
		}
		snprintf(first, sizeof(first), "%s", text);
	}
	return 0;
}

int
invocation_parse(struct invocation *inv, int argc, char **argv, char *why,
    size_t size)
{
	struct words w = { .n = 0 };
	int i, skip;

	memset(inv, 0, sizeof(*inv));
	if (read_all(inv, &w, argc, argv, why, size) == -1)
		goto fail;
	if ((inv->command = command_find(&w, why, size)) == NULL ||
	    options_check(inv, why, size) == -1)
		goto fail;
	skip = command_words(inv->command);
	inv->noperands = w.n - skip;
	if (inv->noperands < inv->command->min ||
	    inv->noperands > inv->command->max) {
		snprintf(why, size, "%s%s%s: %s operands: %s",
		    inv->command->words[0], skip > 1 ? " " : "",
		    skip > 1 ? inv->command->words[1] : "",
		    inv->noperands < inv->command->min ? "too few" : "too many",
		    *inv->command->operands != '\0' ? inv->command->operands
						    : "there are none");
		goto fail;
	}
	for (i = 0; i < inv->noperands; i++)
		inv->operand[i] = w.word[skip + i];
	inv->out = inv->opt[OPT_JSON] != NULL ? &output_json : &output_text;
	return 0;

fail:
	inv->out = inv->opt[OPT_JSON] != NULL ? &output_json : &output_text;
	return -1;
}

int
usage_of(FILE *f, const char *first, const char *second)
{
	const struct command *c;
	size_t i;
	int n = 0;

	for (i = 0; i < ncommands; i++) {
		c = &commands[i];
		if ((first != NULL && strcmp(c->words[0], first) != 0) ||
		    (second != NULL &&
			(c->words[1] == NULL ||
			    strcmp(c->words[1], second) != 0)))
			continue;
		fprintf(f, "%ssailvolctl [-j] [-s socket] %s%s%s%s%s%s%s\n",
		    n++ == 0 ? "usage: " : "       ", c->words[0],
		    c->words[1] != NULL ? " " : "",
		    c->words[1] != NULL ? c->words[1] : "",
		    *c->options != '\0' ? " " : "", c->options,
		    *c->operands != '\0' ? " " : "", c->operands);
	}
	return n;
}

void
usage_print(FILE *f)
{
	usage_of(f, NULL, NULL);
}
