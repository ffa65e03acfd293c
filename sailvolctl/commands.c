/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * commands: the table of commands, and the reading of arguments by it.  In
 * sailvolctl.
 */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "sailvolctl/commands.h"
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
	[OPT_COMMIT] = { 0, "commit", NULL },
	[OPT_FORCE] = { 0, "force", NULL },
	[OPT_MESSAGE] = { 'm', NULL, "message" },
	[OPT_IF_UNCHANGED] = { 0, "if-unchanged", NULL },
	[OPT_KEEP] = { 0, "keep", NULL },
	[OPT_IF_CLEAN] = { 0, "if-clean", NULL },
	[OPT_LIMIT] = { 'n', NULL, "number" },
	[OPT_MINT] = { 0, "mint-if-missing", NULL },
};

#define API_BITS (OPT_BIT(OPT_URL) | OPT_BIT(OPT_KEYFILE))
#define API_TEXT "[-u url -k keyfile]"

const struct command commands[] = {
	{ { "mount", NULL }, "[-r] [-c commit | --create]",
	    "volume[:/subpath] path",
	    OPT_BIT(OPT_READONLY) | OPT_BIT(OPT_AT) | OPT_BIT(OPT_CREATE),
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
	{ { "status", NULL }, "", "[path]", 0, 0, 0, 1, run_status, text_status,
	    0 },
	{ { "log", NULL }, "[-n number] " API_TEXT, "volume | path",
	    OPT_BIT(OPT_LIMIT) | API_BITS, 0, 1, 1, run_log, text_log, 0 },
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
	{ { "volume", "list" }, API_TEXT, "", API_BITS, 0, 0, 0,
	    run_volume_list, text_volume_list, 0 },
	{ { "volume", "get" }, API_TEXT, "volume", API_BITS, 0, 1, 1,
	    run_volume_get, text_tree, 0 },
	{ { "volume", "delete" }, API_TEXT, "volume", API_BITS, 0, 1, 1,
	    run_volume_delete, text_nothing, 0 },
	{ { "key", "create" }, API_TEXT, "role [name]", API_BITS, 0, 1, 2,
	    run_key_create, text_key, 0 },
	{ { "key", "list" }, API_TEXT, "", API_BITS, 0, 0, 0, run_key_list,
	    text_key_list, 0 },
	{ { "key", "revoke" }, API_TEXT, "id", API_BITS, 0, 1, 1,
	    run_key_revoke, text_nothing, 0 },
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

	snprintf(why, size,
	    ch == ':' ? "%s needs an argument" : "unknown option: %s",
	    optopt > 0 && optopt < NAMED ? letter : word);
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
	if (!known)
		snprintf(why, size, "unknown command: %s", w->word[0]);
	else if (w->n > 1)
		snprintf(why, size, "unknown command: %s %s", w->word[0],
		    w->word[1]);
	else
		snprintf(why, size, "%s: what of it?", w->word[0]);
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
		snprintf(why, size, "%s: %s operands", inv->command->words[0],
		    inv->noperands < inv->command->min ? "too few"
						       : "too many");
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

void
usage_print(FILE *f)
{
	const struct command *c;
	size_t i;

	for (i = 0; i < ncommands; i++) {
		c = &commands[i];
		fprintf(f, "%ssailvolctl [-j] [-s socket] %s%s%s%s%s%s%s\n",
		    i == 0 ? "usage: " : "       ", c->words[0],
		    c->words[1] != NULL ? " " : "",
		    c->words[1] != NULL ? c->words[1] : "",
		    *c->options != '\0' ? " " : "", c->options,
		    *c->operands != '\0' ? " " : "", c->operands);
	}
}
