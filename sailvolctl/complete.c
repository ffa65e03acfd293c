/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * complete: from the table of commands to scripts of bash, zsh and fish, and to
 * the word that was meant.  In sailvolctl.
 */
#include <string.h>

#include "sailvolctl/commands.h"
#include "sailvolctl/complete.h"

#define ALWAYS (OPT_BIT(OPT_JSON) | OPT_BIT(OPT_SOCKET))
#define WORD_MAX 32

/* ---- the nearest word ------------------------------------------------------------ */

/* Letters that are to be added, left out, changed or swapped. */
static unsigned int
distance(const char *a, const char *b)
{
	unsigned int d[WORD_MAX + 1][WORD_MAX + 1], best;
	size_t n = strlen(a), m = strlen(b), i, j;

	if (n > WORD_MAX || m > WORD_MAX)
		return WORD_MAX;
	for (i = 0; i <= n; i++)
		for (j = 0; j <= m; j++) {
			if (i == 0 || j == 0) {
				d[i][j] = (unsigned int)(i + j);
				continue;
			}
			best = d[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
			if (d[i - 1][j] + 1 < best)
				best = d[i - 1][j] + 1;
			if (d[i][j - 1] + 1 < best)
				best = d[i][j - 1] + 1;
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] &&
			    a[i - 2] == b[j - 1] && d[i - 2][j - 2] + 1 < best)
				best = d[i - 2][j - 2] + 1;
			d[i][j] = best;
		}
	return d[n][m];
}

/* So far off that nobody meant it. */
static unsigned int
too_far(const char *word)
{
	return strlen(word) < 3 ? 2 : strlen(word) < 6 ? 3 : 4;
}

static void
command_text(const struct command *c, char *out, size_t size)
{
	snprintf(out, size, "%s%s%s", c->words[0],
	    c->words[1] != NULL ? " " : "",
	    c->words[1] != NULL ? c->words[1] : "");
}

const char *
command_nearest(const char *first, const char *second)
{
	static char found[2 * WORD_MAX + 2];
	char typed[2 * WORD_MAX + 2], text[2 * WORD_MAX + 2];
	unsigned int best, far;
	size_t i;

	if (second != NULL)
		snprintf(typed, sizeof(typed), "%.*s %.*s", WORD_MAX - 1, first,
		    WORD_MAX - 1, second);
	best = too_far(second != NULL ? typed : first);
	for (i = 0; i < ncommands; i++) {
		command_text(&commands[i], text, sizeof(text));
		/* One word may be what comes before an operand. */
		far = distance(first, text);
		if (second != NULL && commands[i].words[1] != NULL)
			far = distance(typed, text);
		if (far >= best)
			continue;
		best = far;
		snprintf(found, sizeof(found), "%s", text);
	}
	if (best < too_far(second != NULL ? typed : first))
		return found;
	/* The first word alone: `volum list' of no such second. */
	for (i = 0; i < ncommands; i++)
		if (strlen(first) > 2 &&
		    strncmp(commands[i].words[0], first, strlen(first)) == 0) {
			command_text(&commands[i], found, sizeof(found));
			return found;
		}
	return NULL;
}

const char *
option_nearest(const char *word)
{
	static char found[WORD_MAX + 4];
	unsigned int best = too_far(word), far;
	size_t i;

	word += strspn(word, "-");
	*found = '\0';
	for (i = 0; i < OPT_COUNT; i++) {
		if (option_defs[i].name == NULL ||
		    (far = distance(word, option_defs[i].name)) >= best)
			continue;
		best = far;
		snprintf(found, sizeof(found), "--%s", option_defs[i].name);
	}
	return *found != '\0' ? found : NULL;
}

/* ---- shells ------------------------------------------------------------------------- */

/* Each first word once. */
static int
is_first(size_t i)
{
	return i == 0 ||
	    strcmp(commands[i].words[0], commands[i - 1].words[0]) != 0;
}

static void
put_options(FILE *f, uint32_t allowed)
{
	const struct option_def *d;
	size_t o;

	for (o = 0; o < OPT_COUNT; o++) {
		d = &option_defs[o];
		if ((allowed & OPT_BIT(o)) == 0)
			continue;
		if (d->letter != 0)
			fprintf(f, " -%c", d->letter);
		if (d->name != NULL)
			fprintf(f, " --%s", d->name);
	}
}

/* Options whose argument is the next word: of a file, and of others. */
static void
put_arguments(FILE *f, int files)
{
	const struct option_def *d;
	const char *bar = "";
	size_t o;

	for (o = 0; o < OPT_COUNT; o++) {
		d = &option_defs[o];
		if (d->arg == NULL ||
		    (o == OPT_SOCKET || o == OPT_KEYFILE) != files)
			continue;
		if (d->letter != 0) {
			fprintf(f, "%s-%c", bar, d->letter);
			bar = "|";
		}
		if (d->name != NULL) {
			fprintf(f, "%s--%s", bar, d->name);
			bar = "|";
		}
	}
}

/*
 * Of bash; zsh reads the same by its bashcompinit.  What was typed before is
 * cut down to command words, and answered by a case.
 */
static void
bash_head(FILE *f)
{
	fputs("_sailvolctl()\n{\n"
	      "\tlocal cur=${COMP_WORDS[COMP_CWORD]} typed= w i n=0\n"
	      "\tlocal IFS=$' \\t\\n'\n"
	      "\tCOMPREPLY=()\n"
	      "\tfor ((i = 1; i < COMP_CWORD; i++)); do\n"
	      "\t\tw=${COMP_WORDS[i]}\n"
	      "\t\tcase $w in\n\t\t",
	    f);
	put_arguments(f, 1);
	fputs(")\n\t\t\tif ((i + 1 == COMP_CWORD)); then\n"
	      "\t\t\t\tIFS=$'\\n'\n"
	      "\t\t\t\tCOMPREPLY=($(compgen -f -- \"$cur\"))\n"
	      "\t\t\t\treturn\n\t\t\tfi\n\t\t\t((i++)) ;;\n\t\t",
	    f);
	put_arguments(f, 0);
	fputs(")\n\t\t\t((i + 1 == COMP_CWORD)) && return\n"
	      "\t\t\t((i++)) ;;\n"
	      "\t\t-*) ;;\n"
	      "\t\t*) ((n++ < 2)) && typed=\"$typed$w \" ;;\n"
	      "\t\tesac\n\tdone\n",
	    f);
}

static void
bash_words(FILE *f)
{
	size_t i;

	fputs("\tcase $typed in\n\t'') w='", f);
	for (i = 0; i < ncommands; i++)
		if (is_first(i))
			fprintf(f, "%s ", commands[i].words[0]);
	fputs("' ;;\n", f);
	for (i = 0; i < ncommands; i++) {
		if (commands[i].words[1] == NULL)
			continue;
		if (is_first(i))
			fprintf(f, "\t'%s ') w='", commands[i].words[0]);
		fprintf(f, "%s ", commands[i].words[1]);
		if (i + 1 == ncommands || is_first(i + 1))
			fputs("' ;;\n", f);
	}
	fputs("\t'completion ') w='bash fish zsh' ;;\n"
	      "\t*) w= ;;\n"
	      "\tesac\n",
	    f);
}

static void
bash_options(FILE *f)
{
	size_t i;

	fputs("\t[[ $cur == -* ]] && case $typed in\n", f);
	for (i = 0; i < ncommands; i++) {
		fprintf(f, "\t'%s %s%s'*) w='", commands[i].words[0],
		    commands[i].words[1] != NULL ? commands[i].words[1] : "",
		    commands[i].words[1] != NULL ? " " : "");
		put_options(f, commands[i].allowed | ALWAYS);
		fputs("' ;;\n", f);
	}
	fputs("\t*) w='", f);
	put_options(f, ALWAYS);
	fputs("' ;;\n\tesac\n", f);
}

static void
print_bash(FILE *f)
{
	fputs("# sailvolctl(8): made by `sailvolctl completion'.\n", f);
	bash_head(f);
	bash_words(f);
	bash_options(f);
	fputs("\tif [[ -n $w ]]; then\n"
	      "\t\tCOMPREPLY=($(compgen -W \"$w\" -- \"$cur\"))\n"
	      "\telse\n"
	      "\t\tcompopt -o filenames 2>/dev/null\n"
	      "\t\tIFS=$'\\n'\n"
	      "\t\tCOMPREPLY=($(compgen -f -- \"$cur\"))\n"
	      "\tfi\n"
	      "}\n"
	      "complete -F _sailvolctl sailvolctl\n",
	    f);
}

static void
print_zsh(FILE *f)
{
	fputs("#compdef sailvolctl\n"
	      "autoload -U +X bashcompinit && bashcompinit\n",
	    f);
	print_bash(f);
}

/* "mount", or "volume create": what fish is to look for in the line. */
static void
fish_condition(FILE *f, const struct command *c)
{
	fprintf(f, "'__fish_seen_subcommand_from %s", c->words[0]);
	if (c->words[1] != NULL)
		fprintf(f, "; and __fish_seen_subcommand_from %s", c->words[1]);
	fputs("'", f);
}

static void
fish_options(FILE *f, const struct command *c)
{
	const struct option_def *d;
	size_t o;

	for (o = 0; o < OPT_COUNT; o++) {
		d = &option_defs[o];
		if (((c != NULL ? c->allowed : ALWAYS) & OPT_BIT(o)) == 0)
			continue;
		fputs("complete -c sailvolctl", f);
		if (c != NULL) {
			fputs(" -n ", f);
			fish_condition(f, c);
		}
		if (d->letter != 0)
			fprintf(f, " -s %c", d->letter);
		if (d->name != NULL)
			fprintf(f, " -l %s", d->name);
		if (d->arg != NULL)
			fprintf(f, " -r -d %s", d->arg);
		fputc('\n', f);
	}
}

static void
print_fish(FILE *f)
{
	size_t i, j;

	fputs("# sailvolctl(8): made by `sailvolctl completion fish'.\n", f);
	fish_options(f, NULL);
	for (i = 0; i < ncommands; i++) {
		if (is_first(i))
			fprintf(f,
			    "complete -c sailvolctl -f -n "
			    "__fish_use_subcommand -a %s\n",
			    commands[i].words[0]);
		if (is_first(i) && commands[i].words[1] != NULL) {
			fprintf(f,
			    "complete -c sailvolctl -f -n "
			    "'__fish_seen_subcommand_from %s; and not "
			    "__fish_seen_subcommand_from",
			    commands[i].words[0]);
			for (j = i; j < ncommands && (j == i || !is_first(j));
			     j++)
				fprintf(f, " %s", commands[j].words[1]);
			fputs("' -a '", f);
			for (j = i; j < ncommands && (j == i || !is_first(j));
			     j++)
				fprintf(f, "%s ", commands[j].words[1]);
			fputs("'\n", f);
		}
		fish_options(f, &commands[i]);
	}
}

int
complete_print(FILE *f, const char *shell)
{
	static const struct {
		const char *shell;
		void (*print)(FILE *);
	} shells[] = { { "bash", print_bash }, { "fish", print_fish },
		{ "zsh", print_zsh } };
	size_t i;

	for (i = 0; i < sizeof(shells) / sizeof(shells[0]); i++)
		if (strcmp(shells[i].shell, shell) == 0) {
			shells[i].print(f);
			return 0;
		}
	return -1;
}
